//! Where the table stands in a workbook: its first sheet with cells, behind titles and blank rows, with or without a header.

use super::delimited;
use super::dialect::{Dialect, Note, quoted};
use super::read;
use super::sample::Sample;
use crate::formats::text::Style;
use crate::formats::{Next, Room};
use crate::record::Record;

/// Sheets that are looked at.
const SHEETS_MAX: usize = 8;
/// Rows of each.
const ROWS_MAX: usize = 60;
/// Columns of each.
const COLUMNS_MAX: usize = 256;

/// The dialect of a workbook; where nothing is found, the one that takes the first sheet as it is.
pub fn dialect(sample: &Sample, room: &Room) -> Dialect {
    for sheet in 1..=SHEETS_MAX {
        let Some(rows) = rows(sample, sheet, room) else { break };
        if let Some(found) = table(&rows, sheet) {
            return found;
        }
    }
    Dialect::new("xlsx")
}

/// The first rows of a sheet: the row's number, and its texts. None: there is no such sheet.
fn rows(sample: &Sample, sheet: usize, room: &Room) -> Option<Vec<(usize, Vec<String>)>> {
    let columns: Vec<String> = (1..=COLUMNS_MAX).map(|i| quoted(&format!("c{i}"))).collect();
    let keys = [
        ("format", quoted("xlsx")),
        ("sheet", sheet.to_string()),
        ("header", "false".to_owned()),
        ("allow_extra_columns", "true".to_owned()),
        ("columns", format!("[{}]", columns.join(", "))),
    ];
    let route = read::route(&keys, read::ANY_OUTPUT).ok()?;
    let part = sample.parts(false, room).ok()?.into_iter().next()?;
    let mut reader = route.transformation.as_ref()?.reader(part.input, room).ok()?;
    let (mut record, mut out, style) = (Record::default(), Vec::new(), Style::default());
    while out.len() < ROWS_MAX {
        match reader.read(&mut record) {
            Ok(Next::Record) => {
                let mut texts: Vec<String> = (0..record.len()).map(|i| style.text(&record.value(i)).into_owned()).collect();
                while texts.last().is_some_and(|t| t.trim().is_empty()) {
                    texts.pop();
                }
                out.push((usize::try_from(record.line).unwrap_or(0), texts));
            }
            Ok(Next::Bad(_)) => {}
            Ok(Next::End) | Err(_) => break,
        }
    }
    Some(out)
}

fn table(rows: &[(usize, Vec<String>)], sheet: usize) -> Option<Dialect> {
    let filled = |texts: &[String]| texts.iter().filter(|t| !t.trim().is_empty()).count();
    let width = rows.iter().map(|(_, t)| filled(t)).max().filter(|w| *w > 0)?;
    // Titles stand in a cell or two above the table.
    let first = rows.iter().position(|(_, t)| filled(t) * 2 > width)?;
    let body: Vec<Vec<String>> = rows[first + 1..].iter().map(|(_, t)| t.clone()).collect();
    let (header, evidence) = delimited::heads(&rows[first].1, &body);
    let mut dialect = Dialect::new("xlsx");
    if sheet > 1 {
        dialect.extra.push(("sheet", sheet.to_string()));
        dialect.notes.push(Note::new(format!("the sheets before number {sheet} hold no table"), 0));
    }
    if first > 0 {
        dialect.extra.push(("range", quoted(&format!("A{}:", rows[first].0))));
        dialect.notes.push(Note::new(format!("the table begins in row {}: what stands above is passed over", rows[first].0), 1));
    }
    if header {
        dialect.names = rows[first].1.iter().map(|name| name.trim().to_owned()).collect();
    } else {
        dialect.extra.push(("header", "false".to_owned()));
        dialect.notes.push(Note::new(format!("no header: {evidence}"), 0));
    }
    Some(dialect)
}
