//! Where rejected records go: a file that an office worker corrects in a spreadsheet, or lines on a terminal.
//!
//! The file is written for a spreadsheet: UTF-8 with its mark, A's delimiter, and no cell that a spreadsheet would
//! take for a formula (OWASP, "CSV injection").

use std::io::Write;

use super::corrected::{OWN, RAW, UNREAD};
use crate::error::{Blame, Error, Result};
use crate::formats::text::Style;
use crate::record::{Columns, Record, Reject, Value};

/// Takes rejected records.
pub trait Rejects {
    /// A file begins; its columns are these, and its records are shown by them or as they stand in the file. It is
    /// named where there are several.
    fn start(&mut self, file: Option<&str>, columns: &Columns, shown: Shown) -> Result<()>;
    /// Takes one record with its reason.
    fn put(&mut self, record: &Record, reject: &Reject) -> Result<()>;
    /// All files are through.
    fn finish(&mut self) -> Result<()>;
}

/// How a rejects file shows records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// By A's columns: CSV.
    ByColumns,
    /// As they stand in A's file, in one column.
    Raw,
}

/// Where a [`RejectsCsv`] gets its stream from, at the first reject: a file without rejects has no rejects file.
pub type Open<'o> = Box<dyn FnMut() -> Result<Box<dyn Write + Send>> + 'o>;

/// The rejects file.
pub struct RejectsCsv<'o> {
    open: Open<'o>,
    out: Option<Box<dyn Write + Send>>,
    delimiter: char,
    columns: Columns,
    shown: Shown,
    file: Option<String>,
    /// What the columns after the relay's own are called, and what the file's first line calls them.
    names: Vec<String>,
    header: Vec<String>,
    /// The record that was put last: one of which several elements are bad stands there once, with all reasons.
    last: Option<Last>,
}

/// A record that is not written yet.
struct Last {
    /// Its line, its number, and of how many records it was made.
    of: (u64, u64, usize),
    /// Its lines of the file, each with its number in A's.
    rows: Vec<(u64, Vec<String>)>,
    field: String,
    reasons: Vec<String>,
}

/// So many reasons of one record are told.
const REASONS_MAX: usize = 20;

impl<'o> RejectsCsv<'o> {
    /// A rejects file that is opened at the first reject.
    pub fn new(delimiter: char, open: Open<'o>) -> Self {
        Self { open, out: None, delimiter, columns: Columns::default(), shown: Shown::ByColumns, file: None, names: Vec::new(), header: Vec::new(), last: None }
    }

    /// A row of a sheet as a JSON object.
    fn row(&self, record: &Record) -> String {
        let shown = |i: usize| match record.faults.iter().find(|(at, _)| *at == i) {
            // The error itself, or what could not be read: an empty cell would pass the next time.
            Some((_, why)) => Value::owned(why.split_whitespace().find(|w| w.starts_with('#')).map_or_else(|| format!("{UNREAD}{why}"), str::to_owned)),
            None => record.value(i).into_owned(),
        };
        let entries = self.columns.names.iter().enumerate().map(|(i, name)| (name.as_str().into(), shown(i)));
        crate::formats::json::to_text(&Value::map(entries.collect()), &Style::default())
    }

    fn line<'c>(&mut self, cells: impl Iterator<Item = &'c str>) -> Result<()> {
        let line = line_of(cells, self.delimiter);
        match &mut self.out {
            Some(out) => out.write_all(line.as_bytes()).map_err(|e| failed(&e)),
            None => Ok(()),
        }
    }
}

fn failed(e: &std::io::Error) -> Error {
    Error::io(Blame::Endpoint, "write", std::path::Path::new("the rejects file"), e)
}

/// A line of a table for a spreadsheet, with its end.
pub fn line_of<'c>(cells: impl Iterator<Item = &'c str>, delimiter: char) -> String {
    let mut line = String::new();
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            line.push(delimiter);
        }
        push_cell(&mut line, cell, delimiter);
    }
    line.push_str("\r\n");
    line
}

/// Adds a cell, quoted where it must be, and disarmed where a spreadsheet would compute it.
fn push_cell(line: &mut String, cell: &str, delimiter: char) {
    let number = cell
        .strip_prefix('-')
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | ' ' | '\u{a0}' | '\u{202f}')));
    // One that A wrote with that sign gets another: the first is taken off again.
    let formula = cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r']) && !number;
    let quoted = cell.contains([delimiter, '"', '\n', '\r']) || formula;
    if quoted {
        line.push('"');
    }
    if formula {
        line.push('\'');
    }
    if quoted {
        line.push_str(&cell.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(cell);
    }
}

impl Rejects for RejectsCsv<'_> {
    fn start(&mut self, file: Option<&str>, columns: &Columns, shown: Shown) -> Result<()> {
        self.write_last()?;
        self.columns = columns.clone();
        self.shown = shown;
        self.names = if shown == Shown::Raw { vec![RAW.to_owned()] } else { columns.names.clone() };
        self.file = file.map(str::to_owned);
        Ok(())
    }

    fn put(&mut self, record: &Record, reject: &Reject) -> Result<()> {
        let of = (record.line, record.number, record.members.len());
        let mut reason = self.file.as_ref().map_or_else(|| reject.reason.clone(), |file| format!("{file}: {}", reject.reason));
        if let Some(last) = self.last.as_mut().filter(|last| last.of == of) {
            if !reject.field.is_empty() && reject.field != last.field {
                reason = format!("{}: {reason}", reject.field);
            }
            if last.reasons.len() < REASONS_MAX && !last.reasons.contains(&reason) {
                last.reasons.push(reason);
            }
            return Ok(());
        }
        self.write_last()?;
        self.open()?;
        // A group goes whole: each of its records has a line.
        let members = if record.members.is_empty() { std::slice::from_ref(record) } else { &record.members };
        let rows = members.iter().map(|member| (member.line, self.cells(member))).collect();
        self.last = Some(Last { of, rows, field: reject.field.clone(), reasons: vec![reason] });
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.write_last()?;
        match &mut self.out {
            Some(out) => out.flush().map_err(|e| failed(&e)),
            None => Ok(()),
        }
    }
}

impl RejectsCsv<'_> {
    /// Opens the file at the first reject.
    fn open(&mut self) -> Result<()> {
        if self.out.is_none() {
            let mut out = (self.open)()?;
            out.write_all("\u{feff}".as_bytes()).map_err(|e| failed(&e))?;
            self.out = Some(out);
            self.header.clone_from(&self.names);
            let header = self.header.clone();
            self.line(OWN.into_iter().chain(header.iter().map(String::as_str)))?;
        }
        if self.header != self.names {
            return Err(Error::file("its rejects can't stand in one file with those of the files before: the columns differ")
                .hint("transform the files one by one, each with its own --rejects"));
        }
        Ok(())
    }

    /// A record as it stands behind the relay's own columns.
    fn cells(&self, record: &Record) -> Vec<String> {
        match self.shown {
            Shown::ByColumns => record.fields().map(str::to_owned).collect(),
            Shown::Raw if record.cells.is_empty() => vec![String::from_utf8_lossy(&record.raw).into_owned()],
            Shown::Raw => vec![self.row(record)],
        }
    }

    /// Writes the record of which no more reasons will come.
    fn write_last(&mut self) -> Result<()> {
        let Some(last) = self.last.take() else { return Ok(()) };
        let reason = last.reasons.join("; ");
        for (line, cells) in &last.rows {
            let line = line.to_string();
            self.line([line.as_str(), &last.field, &reason].into_iter().chain(cells.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

/// Rejects as lines on a stream (`transform` on a terminal).
pub struct RejectLines<W> {
    out: W,
    file: Option<String>,
}

impl<W: Write> RejectLines<W> {
    /// Lines on `out`.
    pub fn new(out: W) -> Self {
        Self { out, file: None }
    }
}

impl<W: Write> Rejects for RejectLines<W> {
    fn start(&mut self, file: Option<&str>, _: &Columns, _: Shown) -> Result<()> {
        self.file = file.map(str::to_owned);
        Ok(())
    }
    fn put(&mut self, record: &Record, reject: &Reject) -> Result<()> {
        let field = if reject.field.is_empty() { String::new() } else { format!("{}: ", reject.field) };
        // A closed terminal is no reason to stop.
        let file = self.file.as_ref().map_or_else(String::new, |file| format!("{file}: "));
        let _ = writeln!(self.out, "rejected: {file}line {}: {field}{}", record.line, reject.reason);
        Ok(())
    }
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_a_spreadsheet_would_compute_are_disarmed_and_amounts_are_not() {
        let shown = |cell: &str| {
            let mut line = String::new();
            push_cell(&mut line, cell, ';');
            line
        };
        assert_eq!(shown("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(shown("@SUM(1)"), "\"'@SUM(1)\"");
        assert_eq!(shown("-12,50"), "-12,50");
        assert_eq!(shown("+cmd|' /C calc'!A0"), "\"'+cmd|' /C calc'!A0\"");
        assert_eq!(shown("a;b"), "\"a;b\"");
    }
}
