//! The table of `transform --explain`.

use crate::transform::explain::Explained;

/// Wider cells are cut: the table is for the eye.
const CELL_CHARS_MAX: usize = 48;

/// What is told of a record: a table of its targets.
pub(super) fn explained(record: &Explained) -> String {
    let head = ["target", "source", "expression", "result"].map(str::to_owned);
    let rows = record.targets.iter().map(|t| {
        let result = match &t.result {
            Ok(text) => short(text),
            Err(why) => format!("! {why}"),
        };
        [t.name.clone(), short(&t.source), short(&t.expression), result]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let verdict = record.verdict.as_ref().map_or_else(String::new, |v| format!(", {v}"));
    let mut text = format!("record on line {}{verdict}\n", record.line);
    for [name, source, expression, result] in &rows {
        let line = format!("  {name:a$}  {source:b$}  {expression:c$}  {result}", a = widths[0], b = widths[1], c = widths[2]);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn short(text: &str) -> String {
    let line = text.replace('\n', "⏎").replace('\r', "");
    if line.chars().count() <= CELL_CHARS_MAX { line } else { line.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect() }
}
