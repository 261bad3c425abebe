//! What an audit found, for the eye: each sample with its columns, the mapping, and how far it can be automated.

use std::fmt::Write;

use crate::audit::mapping::Found;
use crate::audit::profile::Profile;
use crate::audit::sample::Sample;
use crate::audit::{Audit, Side, names};
use crate::error::shown;

/// Wider cells are cut.
const CELL_CHARS_MAX: usize = 44;
/// More columns than that are counted, and not shown.
const COLUMNS_MAX: usize = 200;
/// The same for remarks.
const NOTES_MAX: usize = 30;

/// The whole report.
pub(super) fn text(audit: &Audit, a: &Sample, b: Option<&Sample>) -> String {
    let mut out = String::new();
    side(&mut out, "A", &audit.a, a);
    if let (Some(found), Some(sample)) = (&audit.b, b) {
        side(&mut out, "B", found, sample);
        mapping(&mut out, audit, found);
    }
    let _ = writeln!(out, "Automation: {}", audit.grade.level.words());
    for reason in &audit.grade.reasons {
        let _ = writeln!(out, "  - {}", line(reason));
    }
    let second = b.map_or_else(|| " SAMPLE_OF_B".to_owned(), |b| format!(" {}", shown(&b.path)));
    let _ = writeln!(out, "\nNext: passerelle audit {}{second} --draft route.toml", shown(&a.path));
    out
}

fn side(out: &mut String, name: &str, side: &Side, sample: &Sample) {
    let d = &side.dialect;
    let mut facts = vec![d.format.to_owned()];
    if let Some(packing) = sample.packing {
        facts.push(format!("packed ({})", packing.extension()));
    }
    if let Some(e) = &d.encoding {
        facts.push(if e.mark { format!("{} with a byte order mark", e.label) } else { e.label.clone() });
    }
    if let Some(csv) = &d.delimited {
        facts.push(format!("delimiter {}", sign(csv.delimiter)));
        if let Some(q) = csv.quote {
            facts.push(format!("quotes {q}"));
        }
        facts.push(if csv.header { "header".into() } else { "no header".into() });
        if csv.skip > 0 {
            facts.push(format!("{} lines before it", csv.skip));
        }
    }
    if let Some(fixed) = &d.fixed {
        facts.push(format!("lines of {} characters", fixed.length));
    }
    if let Some(records) = d.records.as_ref().filter(|r| !r.is_empty()) {
        facts.push(format!("records at {records}"));
    }
    if let Some(each) = &side.each {
        facts.push(format!("each of {}", each.name));
    }
    if let Some(decimal) = side.signs.decimal {
        facts.push(format!("decimals {}", sign(decimal)));
    }
    if let Some(thousands) = side.signs.thousands {
        facts.push(format!("thousands {}", sign(thousands)));
    }
    facts.extend(side.dates().map(|d| format!("dates {d}")));
    facts.extend(side.signs.datetimes.as_ref().map(|d| format!("times {d}")));
    let _ = writeln!(out, "{name}: {}", shown(&sample.path));
    let _ = writeln!(out, "  {}", line(&facts.join(", ")));
    let r = &side.reading;
    let counted = if r.complete {
        format!("{} records", r.records)
    } else {
        format!("about {} records, of which {} were read (--full reads all)", r.estimate, r.records)
    };
    let _ = writeln!(out, "  {counted}{}", if r.bad > 0 { format!(", {} can't be read", r.bad) } else { String::new() });
    if let Some(e) = &d.encoding {
        let _ = writeln!(out, "  encoding: {}", line(&e.evidence));
    }
    if let Some(csv) = d.delimited.as_ref().filter(|c| !c.header_evidence.is_empty()) {
        let _ = writeln!(out, "  header: {}", line(&csv.header_evidence));
    }
    out.push('\n');
    columns(out, side);
    let keys: Vec<&str> = side.columns.iter().filter(|c| c.key).map(|c| c.name.as_str()).collect();
    if !keys.is_empty() && r.records > 1 {
        let _ = writeln!(out, "\n  could be the key: {}", line(&keys.join(", ")));
    }
    for (x, y) in &side.keys {
        let _ = writeln!(out, "\n  could be the key: {} with {}", line(&side.columns[*x].name), line(&side.columns[*y].name));
    }
    if !side.notes.is_empty() {
        out.push('\n');
    }
    for note in side.notes.iter().take(NOTES_MAX) {
        let place = if note.line > 0 { format!("line {}: ", note.line) } else { String::new() };
        let _ = writeln!(out, "  ! {place}{}", line(&note.text));
    }
    if side.notes.len() > NOTES_MAX {
        let _ = writeln!(out, "  ! and {} more: --json has them all", side.notes.len() - NOTES_MAX);
    }
    out.push('\n');
}

fn columns(out: &mut String, side: &Side) {
    let head = ["column", "type", "empty", "distinct", "length", "values"].map(str::to_owned);
    let row = |c: &Profile| {
        let kind = match &c.pattern {
            Some(pattern) => format!("{} {pattern}", c.kind.name()),
            None if c.list => "list".to_owned(),
            None => c.kind.name().to_owned(),
        };
        let length = if c.lengths.0 == c.lengths.1 { c.lengths.1.to_string() } else { format!("{}–{}", c.lengths.0, c.lengths.1) };
        let frequent = c.top.first().is_some_and(|(_, n)| *n > 1);
        let values: Vec<String> =
            if frequent { c.top.iter().take(4).map(|(t, n)| format!("{t} ×{n}")).collect() } else { c.examples.iter().take(3).cloned().collect() };
        let values = if names::is_secret(&c.name) { "not shown".to_owned() } else { cut(&values.join(", ")) };
        [cut(&c.name), kind, c.nulls.to_string(), c.distinct.to_string(), length, values]
    };
    table(out, std::iter::once(head).chain(side.columns.iter().take(COLUMNS_MAX).map(row)).collect());
    if side.columns.len() > COLUMNS_MAX {
        let _ = writeln!(out, "  and {} more columns: --json has them all", side.columns.len() - COLUMNS_MAX);
    }
}

fn mapping(out: &mut String, audit: &Audit, b: &Side) {
    match &audit.pairs {
        Some(p) => {
            let _ = writeln!(out, "Mapping, proved on {} records that both samples hold ({}):", p.pairs.len(), line(&p.how));
        }
        None => {
            let _ = writeln!(out, "Mapping, by names and types: the samples share no records");
        }
    }
    if let Some((condition, why)) = &audit.condition {
        let _ = writeln!(out, "  where {} ({})", line(condition), line(why));
    }
    out.push('\n');
    let head = ["target", "sure", "expression", "why"].map(str::to_owned);
    let row = |m: &crate::audit::mapping::Match| {
        let sure = if m.found == Found::Nowhere { "?".to_owned() } else { format!("{:.2}", m.confidence) };
        [cut(&b.columns[m.target].name), sure, cut(&m.expression), line(&m.reason)]
    };
    table(out, std::iter::once(head).chain(audit.mapping.iter().take(COLUMNS_MAX).map(row)).collect());
    let mut unused = audit.unused();
    unused.truncate(60);
    if !unused.is_empty() {
        let _ = writeln!(out, "\n  A's columns that go nowhere: {}", line(&unused.join(", ")));
    }
    out.push('\n');
}

/// Rows under their head, each column as wide as its widest cell.
fn table<const N: usize>(out: &mut String, rows: Vec<[String; N]>) {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in &rows {
        let mut text = String::from(" ");
        for (i, cell) in row.iter().enumerate() {
            let pad = if i + 1 < N { widths[i].saturating_sub(cell.chars().count()) } else { 0 };
            let _ = write!(text, " {cell}{}", " ".repeat(pad + 1));
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
}

fn sign(c: char) -> String {
    match c {
        '\t' => "tab".into(),
        ' ' => "space".into(),
        c if c.is_control() => format!("U+{:04X}", u32::from(c)),
        c => c.to_string(),
    }
}

/// On one line, whatever A wrote.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\n' || c == '\r' {
                '⏎'
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}

fn cut(text: &str) -> String {
    let text = line(text);
    if text.chars().count() <= CELL_CHARS_MAX { text } else { text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect() }
}
