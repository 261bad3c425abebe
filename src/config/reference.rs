//! The tables of the reference, made of the same definitions that check the configuration and run the expressions.

use super::schema;
use crate::formats;
use crate::options::{Kind, Opt};
use crate::transform::{filters, predicates};

/// Every key, filter and test, as Markdown tables.
pub fn tables() -> String {
    let mut out = String::new();
    keys(&mut out, "the top of the file", schema::ROOT);
    out.push_str("### `input`, for every format\n\n");
    rows(&mut out, schema::INPUT);
    for format in formats::FORMATS.iter().filter(|f| f.reads()) {
        let title = format!("input` with format = \"{}\"", format.name());
        out.push_str(&format!("### `{title}\n\n"));
        rows(&mut out, format.input_options());
        parts(&mut out, &title, format.input_options());
    }
    out.push_str("### `output`, for every format\n\n");
    rows(&mut out, schema::OUTPUT);
    parts(&mut out, "output`", schema::OUTPUT);
    for format in formats::FORMATS.iter().filter(|f| f.writes()) {
        let title = format!("output` with format = \"{}\"", format.name());
        out.push_str(&format!("### `{title}\n\n"));
        rows(&mut out, format.output_options());
        parts(&mut out, &title, format.output_options());
    }
    out.push_str("### Filters\n\n| filter | example | gives |\n| --- | --- | --- |\n");
    let built_in = |out: &mut String, kind: &str| filters::BUILT_IN.iter().filter(|b| b.0 == kind).for_each(|b| example(out, b.1, b.2));
    built_in(&mut out, "filter");
    for f in filters::FILTERS {
        example(&mut out, f.name, f.example);
    }
    out.push_str("\n### Tests\n\n| test | example | gives |\n| --- | --- | --- |\n");
    built_in(&mut out, "test");
    for p in predicates::PREDICATES {
        example(&mut out, p.name, p.example);
    }
    out.push_str("\n### Functions\n\n| function | example | gives |\n| --- | --- | --- |\n");
    built_in(&mut out, "function");
    out.push_str("\n`default` also takes the place of a name that is not there; `nextval` counts the written records of a file for each key: 1, 2, …, the same however often a record asks; `lookup` gives the column of the record with that key, of several columns as in `[code, ville] | lookup('tarifs', 'prix')`; a dot leads into nested values.\n");
    out
}

fn example(out: &mut String, name: &str, (text, gives): (&str, &str)) {
    let cell = |t: &str| t.replace('|', "\\|").replace('\n', "\\n");
    out.push_str(&format!("| `{name}` | `{}` | `{}` |\n", cell(text), cell(gives)));
}

fn keys(out: &mut String, title: &str, opts: &'static [Opt]) {
    out.push_str(&format!("### {}\n\n", if title.starts_with("the ") { title.to_owned() } else { format!("`[{title}]`") }));
    rows(out, opts);
    for opt in opts {
        let path = if title.starts_with("the ") { opt.name.to_owned() } else { format!("{title}.{}", opt.name) };
        match opt.kind {
            Kind::Table(inner) | Kind::OneOrMoreTables(inner) => keys(out, &path, inner),
            Kind::Tables(inner) => keys(out, &format!("{path}.NAME"), inner),
            _ => {}
        }
    }
}

/// The keys of the tables in a table of `input` or `output`.
fn parts(out: &mut String, title: &str, opts: &'static [Opt]) {
    for opt in opts {
        if let Kind::Table(inner) | Kind::Tables(inner) | Kind::OneOrMoreTables(inner) = opt.kind {
            out.push_str(&format!("### each of `{}` in `{title}\n\n", opt.name));
            rows(out, inner);
        }
    }
}

fn rows(out: &mut String, opts: &'static [Opt]) {
    if opts.is_empty() {
        out.push_str("No keys of its own.\n\n");
        return;
    }
    out.push_str("| key | takes | default | |\n| --- | --- | --- | --- |\n");
    for opt in opts {
        if opt.name.is_empty() {
            out.push_str(&format!("| … | | | {} |\n", opt.doc));
            continue;
        }
        let default = opt.default.map_or_else(String::new, |d| format!("`{}`", d.replace('|', "\\|")));
        out.push_str(&format!("| `{}` | {} | {default} | {} |\n", opt.name, takes(opt.kind), opt.doc.replace('|', "\\|")));
    }
    out.push('\n');
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::TextOrNumber => "text or number".into(),
        Kind::Text | Kind::Path | Kind::Encoding | Kind::Pattern => "text".into(),
        Kind::Secret => "secret".into(),
        Kind::Char => "one character".into(),
        Kind::CharOrNone => "one character or `\"\"`".into(),
        Kind::Flag => "true, false".into(),
        Kind::Integer(least) => format!("number from {least}"),
        Kind::Duration => "time".into(),
        Kind::Size => "size".into(),
        Kind::Share => "number or `\"5%\"`".into(),
        Kind::Choice(words) => words.iter().map(|w| format!("`\"{w}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Mode => "`\"0640\"`".into(),
        Kind::Texts => "list".into(),
        Kind::OneOrMoreTexts => "text or list".into(),
        Kind::Command => "argument list".into(),
        Kind::TextMap | Kind::SecretMap | Kind::TypeMap | Kind::Bools => "table".into(),
        Kind::Expression => "expression".into(),
        Kind::Expressions => "table of expressions".into(),
        Kind::TableLists(_) => "table of lists of tables".into(),
        Kind::Table(_) | Kind::FormatKeys(_) => "table".into(),
        Kind::Tables(_) => "tables".into(),
        Kind::OneOrMoreTables(_) => "table, or several".into(),
    }
}
