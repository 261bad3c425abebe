//! The route as far as it is known, as TOML that passes `config check`: each guess with its confidence beside it.

use std::fmt::Write;
use std::sync::Arc;

use super::dialect::{key, quoted};
use super::mapping::{Found, Match};
use super::read;
use super::sample::Sample;
use super::signs::Signs;
use super::{Audit, Side};
use crate::config::Route;
use crate::error::Result;

/// A route that reads A's sample and writes as B does, to try expressions on.
pub fn trial_route(a: &Side, b: &Side) -> Result<Arc<Route>> {
    let mut keys = a.dialect.keys();
    keys.extend(a.value_keys());
    let mut output = String::from("[routes.sample.output]\nformat = \"ndjson\"\n");
    for (key, value) in style_keys(&b.signs, b) {
        let _ = writeln!(output, "{key} = {value}");
    }
    read::route(&keys, &output)
}

fn style_keys(signs: &Signs, b: &Side) -> Vec<(&'static str, String)> {
    if !b.dialect.holds_texts() {
        return Vec::new();
    }
    let mut keys = Vec::new();
    if let Some(decimal) = signs.decimal.filter(|d| *d != '.') {
        keys.push(("decimal", quoted(&decimal.to_string())));
    }
    if let Some(dates) = &signs.dates {
        keys.push(("dates", quoted(dates)));
    }
    if let Some(datetimes) = &signs.datetimes {
        keys.push(("datetimes", quoted(datetimes)));
    }
    keys
}

/// Gives each code table a name, and its match the expression that looks it up.
pub fn name_tables(mapping: &mut [Match], b: &Side, route: &str) {
    let mut names: Vec<String> = Vec::new();
    for m in mapping {
        let Some(table) = &mut m.table else { continue };
        let column = &b.columns[m.target];
        table.name = format!("{route}_{}", slug(&column.name));
        while names.contains(&table.name) {
            table.name.push('_');
        }
        names.push(table.name.clone());
        // What B writes as a number or a boolean is one again behind the table, which holds texts.
        let kind = if column.typed && column.kind != super::profile::Kind::Text { format!(" | {}", column.kind.name()) } else { String::new() };
        m.expression = format!("{} | lookup('{}'){kind}", m.expression, table.name);
    }
}

/// Rows that are elements of lists: the columns of the records around them, and the list's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    /// The columns.
    pub by: Vec<String>,
    /// The list.
    pub into: String,
}

/// A name of a table or a route.
pub fn slug(name: &str) -> String {
    let words = super::names::words(name);
    let joined: String = words.join("_").chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
    if joined.is_empty() { "table".to_owned() } else { joined }
}

/// The keys of `output` that B's sample tells of.
pub fn output_keys(b: &Side) -> Vec<(&'static str, String)> {
    let d = &b.dialect;
    let format = if crate::formats::named(d.format).is_some_and(crate::formats::Format::writes) { d.format } else { "csv" };
    let mut keys = vec![("format", quoted(format))];
    match &d.encoding {
        Some(e) if e.label == "utf-8" && e.mark && format == "csv" => keys.push(("encoding", quoted("utf-8-sig"))),
        Some(e) if e.label != "utf-8" => keys.push(("encoding", quoted(&e.label))),
        _ => {}
    }
    if let Some(csv) = &d.delimited {
        if csv.delimiter != ',' {
            keys.push(("delimiter", quoted(&csv.delimiter.to_string())));
        }
        if let Some(q) = csv.quote.filter(|q| *q != '"') {
            keys.push(("quote", quoted(&q.to_string())));
        }
        if !csv.header {
            keys.push(("header", "false".into()));
        }
        if csv.all_quoted {
            keys.push(("quoting", quoted("all")));
        }
    }
    if let Some(ending) = d.line_ending.filter(|e| *e != "\n" && !matches!(format, "xlsx")) {
        keys.push(("line_ending", quoted(ending)));
    }
    if format == "json"
        && let Some(pointer) = d.records.as_ref().filter(|p| !p.is_empty())
    {
        keys.push(("wrap", quoted(pointer)));
    }
    if d.indent > 0 && matches!(format, "json" | "xml") {
        keys.push(("indent", d.indent.to_string()));
    }
    if format == "xml"
        && let Some(path) = &d.records
    {
        let steps: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let Some((record, root)) = steps.split_last().filter(|(_, root)| !root.is_empty()) {
            keys.push(("root", quoted(&root.join("/"))));
            keys.push(("record", quoted(record)));
        }
    }
    if let Some(fixed) = &d.fixed {
        let fields = fixed.types[0].fields.iter().map(|f| {
            format!("{{ name = {}, start = {}, width = {}, align = {} }}", quoted(&f.name), f.start, f.width, quoted(if f.right { "right" } else { "left" }))
        });
        keys.push(("columns", format!("[\n    {},\n]", fields.collect::<Vec<_>>().join(",\n    "))));
    }
    keys.extend(style_keys(&b.signs, b));
    keys
}

/// What stands behind a line: on one line, whatever it says.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(220).collect()
}

/// What a draft says beside what was found.
#[derive(Clone, Debug)]
pub struct Place {
    /// The route's name.
    pub name: String,
    /// A's folder, as it is written in the draft.
    pub source: String,
    /// B's folder.
    pub destination: String,
    /// Which of A's files the route takes.
    pub include: Option<String>,
}

/// A pattern of names that takes a sample and its like: by its extension.
pub fn by_extension(name: &str) -> Option<String> {
    let extension = std::path::Path::new(name).extension()?.to_string_lossy().into_owned();
    Some(format!("*.{}", escaped(&extension)))
}

/// A part of a name in a pattern.
pub fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| {
            if "*?[]{}".contains(c) {
                format!("[{c}]")
            } else if c == '\\' {
                "?".to_owned()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// How every draft begins.
pub const MARK: &str = "# Drafted by `passerelle";

/// One route as TOML.
pub fn text(audit: &Audit, sample_a: &Sample, sample_b: Option<&Sample>, place: &Place) -> String {
    let Place { name, source, destination, include } = place;
    let mut out = String::new();
    let b_name = sample_b.map_or_else(String::new, |b| format!(" {}", b.name));
    let _ = writeln!(out, "{MARK} audit {}{}`: {}.", comment(&sample_a.name), comment(&b_name), audit.grade.level.words());
    let _ = writeln!(out, "# Behind each target: how sure it is (1.00: certain), and what tells for it. Look at every guess before you run it:");
    let _ = writeln!(out, "#   passerelle -c THIS_FILE transform {name} {} --explain", comment(&sample_a.name));
    for reason in &audit.grade.reasons {
        let _ = writeln!(out, "# - {}", comment(reason));
    }
    for m in audit.mapping.iter() {
        if let (Some(table), Some(b)) = (&m.table, &audit.b) {
            let _ = writeln!(
                out,
                "\n[lookups.{}]  # {} by {}: a value that is not here rejects its record",
                table.name,
                comment(&b.columns[m.target].name),
                comment(&m.reason)
            );
            let pairs: Vec<String> = table.values.iter().map(|(k, v)| format!("{} = {}", key(k), quoted(v))).collect();
            let _ = writeln!(out, "values = {{ {} }}", pairs.join(", "));
        }
    }
    let _ = writeln!(out, "\n[routes.{name}]");
    if let Some((condition, why)) = &audit.condition {
        let _ = writeln!(out, "where = {}  # {}", quoted(condition), comment(why));
    }
    let _ = writeln!(out, "\n[routes.{name}.source]\npath = {}", quoted(source));
    if let Some(include) = include {
        let _ = writeln!(out, "include = [{}]", quoted(include));
    }
    let _ = writeln!(out, "\n[routes.{name}.input]");
    for (k, v) in audit.a.dialect.keys().into_iter().chain(audit.a.value_keys()) {
        let _ = writeln!(out, "{k} = {v}");
    }
    if let Some(each) = &audit.a.each {
        let _ = writeln!(out, "each = {}", quoted(&each.expr));
    }
    if let Some(encoding) = &audit.a.dialect.encoding {
        let _ = writeln!(out, "# {}: {}", encoding.label, comment(&encoding.evidence));
    }
    for note in audit.a.notes.iter().take(12) {
        let _ = writeln!(out, "# {}{}", if note.line > 0 { format!("line {}: ", note.line) } else { String::new() }, comment(&note.text));
    }
    match &audit.b {
        Some(b) => {
            targets(&mut out, audit, b, name);
            let _ = writeln!(out, "\n[routes.{name}.output]");
            for (k, v) in output_keys(b) {
                let _ = writeln!(out, "{k} = {v}");
            }
            if let Some(grouped) = &b.grouped {
                // What is known of the record around the lines tells one from the next.
                let known =
                    |name: &&String| audit.mapping.iter().any(|m| b.columns[m.target].name == **name && m.found == Found::Source && m.confidence >= 0.5);
                let by: Vec<String> = grouped.by.iter().filter(known).map(|n| quoted(n)).collect();
                let by = if by.is_empty() { grouped.by.iter().map(|n| quoted(n)).collect() } else { by };
                let _ = writeln!(out, "group_by = [{}]  # B's records hold lists: adjacent rows of A make one", by.join(", "));
                let _ = writeln!(out, "group_into = {}", quoted(&grouped.into));
            }
            if !audit.order.is_empty() {
                let names: Vec<String> = audit.order.iter().map(|n| quoted(n)).collect();
                let _ = writeln!(out, "order_by = [{}]  # B's sample is in this order, A's is not", names.join(", "));
            }
            let undecided = |target: usize| audit.mapping.iter().any(|m| m.target == target && m.found == Found::Nowhere);
            let rules: Vec<String> = b.columns.iter().enumerate().filter_map(|(at, column)| rule(column, undecided(at))).collect();
            let open: Vec<&str> = b.columns.iter().enumerate().filter(|(at, c)| c.required && undecided(*at)).map(|(_, c)| c.name.as_str()).collect();
            if !open.is_empty() {
                let _ = writeln!(out, "# B's schema demands these too, once they are decided (required = true): {}", comment(&open.join(", ")));
            }
            if !rules.is_empty() {
                let _ = writeln!(out, "fields = {{ {} }}", rules.join(", "));
            }
        }
        None => {
            let _ = writeln!(out, "\n[routes.{name}.map]  # every column as it is, until B's are known");
            let mut taken = std::collections::HashSet::new();
            for column in audit.a.columns.iter().filter(|c| !c.list && taken.insert(c.name.clone())) {
                let _ = writeln!(out, "{} = {}  # {}", key(&column.name), quoted(&column.expr), column.kind.name());
            }
            let _ = writeln!(out, "\n[routes.{name}.output]\nformat = \"csv\"");
        }
    }
    let _ = writeln!(out, "\n[routes.{name}.destination]\npath = {}", quoted(destination));
    out
}

fn targets(out: &mut String, audit: &Audit, b: &Side, name: &str) {
    let _ = writeln!(out, "\n[routes.{name}.map]");
    let width = audit.mapping.iter().map(|m| key(&b.columns[m.target].name).chars().count()).max().unwrap_or(0).min(32);
    for m in &audit.mapping {
        let name = &b.columns[m.target].name;
        // What holds other targets can't be a value itself.
        let holds = b.columns.iter().any(|c| c.name.len() > name.len() && c.name.starts_with(name.as_str()) && c.name.as_bytes()[name.len()] == b'.');
        let within_list = b.columns.iter().any(|c| c.list && name.len() > c.name.len() && name.starts_with(&c.name) && name.as_bytes()[c.name.len()] == b'.');
        if !b.dialect.has_flat_columns() && (holds || within_list) || b.dialect.fixed.is_some() && (b.columns[m.target].list || within_list) {
            let _ = writeln!(out, "# TO DECIDE: {} nests, or holds a list", comment(name));
            continue;
        }
        let remark = match m.found {
            Found::Nowhere => format!("TO DECIDE: {}", m.reason),
            _ => format!("{:.2} {}", m.confidence, m.reason),
        };
        let _ = writeln!(out, "{:width$} = {}  # {}", key(&b.columns[m.target].name), quoted(&m.expression), comment(&remark));
    }
    let unused = audit.unused();
    if !unused.is_empty() {
        let _ = writeln!(out, "# A's columns that go nowhere: {}", comment(&unused.join(", ")));
    }
}

/// What a schema demands of a target.
fn rule(column: &super::profile::Profile, undecided: bool) -> Option<String> {
    let mut parts = Vec::new();
    if column.required && !undecided {
        parts.push("required = true".to_owned());
    }
    if let Some(max) = column.max_length {
        parts.push(format!("max_length = {max}"));
    }
    (!parts.is_empty()).then(|| format!("{} = {{ {} }}", key(&column.name), parts.join(", ")))
}
