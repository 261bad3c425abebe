//! A corrected rejects file, dropped back into the source: its records are read as A's own.
//!
//! It went through a spreadsheet: the delimiter, the quotes and the encoding are the spreadsheet's, and the signs that kept
//! cells from being computed are taken off again. The relay's own columns never reach B.

use std::io::Cursor;

use super::Transformation;
use crate::error::{Error, Result};
use crate::formats::{self, Format, Input, Next, RecordReader, Remark, Room, peek};
use crate::options::{Entry, Kind, Opt, Options, Val};
use crate::record::{Columns, Record, Reject, Value};

/// The relay's own columns.
pub const OWN: [&str; 3] = ["_line", "_field", "_reason"];
/// The column that holds the records of other formats than CSV.
pub const RAW: &str = "_raw";
/// Stands in a row's cell before what it holds and nobody could read.
pub const UNREAD: &str = "#VALUE! ";
/// The keys of all formats that readers look at.
const KEYS: &[Opt] = &[Opt { name: "encoding", kind: Kind::Encoding, default: Some("\"utf-8\""), doc: "How the text is written." }];
/// How much tells whether a file is one.
const HEAD_BYTES: usize = 256;
/// How much tells what it is written in: rejects are few, so that this is the whole file.
const ENCODING_BYTES: usize = 16 * 1024 * 1024;

/// The delimiter of a rejects file that begins with these bytes; none: it is no rejects file.
pub fn delimiter_of(head: &[u8]) -> Option<char> {
    let head = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head);
    // A spreadsheet may have put every cell into quotes.
    let text: String = head.iter().filter(|b| **b != b'"').map(|b| char::from(*b)).collect();
    let delimiter = text.strip_prefix(OWN[0])?.chars().next().filter(|c| !c.is_alphanumeric() && *c != '_')?;
    let rest = text.strip_prefix(&format!("{}{delimiter}{}{delimiter}{}", OWN[0], OWN[1], OWN[2]))?;
    rest.starts_with([delimiter, '\r', '\n']).then_some(delimiter)
}

/// The delimiter if it is a rejects file, and the stream from its beginning.
pub(super) fn sniff(input: Input) -> Result<(Option<char>, Input)> {
    peek(input, HEAD_BYTES, delimiter_of)
}

/// A reader of the records that stand in a rejects file.
pub(super) fn reader(spec: &Transformation, input: Input, delimiter: char, room: &Room) -> Result<Box<dyn RecordReader>> {
    let inner = sheet(input, delimiter, room)?;
    if inner.columns().names.get(OWN.len()).is_some_and(|n| n == RAW) {
        return Raw::new(spec, inner, room).map(|r| Box::new(r) as Box<dyn RecordReader>);
    }
    let columns = Columns::from_header(inner.columns().names.iter().skip(OWN.len()).map(String::as_str));
    Ok(Box::new(Cells { inner, columns, row: Record::default() }))
}

/// A reader of a file of ours that a spreadsheet may have written since.
pub fn sheet(input: Input, delimiter: char, room: &Room) -> Result<Box<dyn RecordReader>> {
    let (encoding, input) = peek(input, ENCODING_BYTES, encoding_of)?;
    let text = |t: &str| Entry { value: Val::Text(t.to_owned()), span: 0..0, key_span: 0..0, secret: false };
    let keys = vec![("delimiter".to_owned(), text(&delimiter.to_string())), ("encoding".to_owned(), text(encoding))];
    let options = Options::new(keys, 0..0, vec![formats::csv::Csv.input_options(), KEYS]);
    formats::csv::Csv.reader(&options, input, room)
}

/// UTF-8 as it was written, or what a spreadsheet on Windows made of it.
fn encoding_of(head: &[u8]) -> &'static str {
    match std::str::from_utf8(head) {
        // The last character may be cut by the bound.
        Err(e) if e.error_len().is_some() => "windows-1252",
        _ => "utf-8",
    }
}

/// Why a cell is still not what A meant: bytes that could not be decoded stand in it as this sign.
fn undecoded(cell: &str) -> Option<Reject> {
    cell.contains('\u{fffd}').then(|| Reject::record("a character that could not be read stands there as \u{fffd}: write the right one"))
}

/// The same of a sheet's row: an error that its formula gave.
fn unread_cell(record: &Record) -> Option<Reject> {
    let Some(Value::Map(entries)) = &record.tree else { return None };
    entries.iter().find_map(|(name, value)| match value {
        Value::Text(text) if formats::xlsx::ERRORS.contains(&text.as_ref()) || text == "#GETTING_DATA" || text.starts_with(UNREAD) => {
            Some(Reject::new(&**name, format!("the cell holds the error {text}: write its value")))
        }
        _ => None,
    })
}

/// A row's dates were written as ISO has them, whatever the configuration says of texts: they are dates again, as their
/// neighbours' that came with the sheet.
fn with_types(record: &mut Record) {
    let Some(Value::Map(entries)) = &record.tree else { return };
    let typed = |value: &Value<'static>| match value {
        Value::Text(text) if text.len() == 10 => text.parse().map(Value::Date).ok(),
        Value::Text(text) if text.len() >= 19 && text.as_bytes()[10] == b'T' && !text.ends_with('Z') => text.parse().map(|t| Value::DateTime(t, None)).ok(),
        _ => None,
    };
    let entries = entries.iter().map(|(name, value)| (name.clone(), typed(value).unwrap_or_else(|| value.clone()))).collect();
    record.tree = Some(Value::map(entries));
}

/// The cell without the sign that kept a spreadsheet from computing it.
pub fn bare(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r']) => rest,
        _ => cell,
    }
}

/// Records whose columns are A's.
struct Cells {
    inner: Box<dyn RecordReader>,
    columns: Columns,
    row: Record,
}

impl RecordReader for Cells {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        record.clear();
        let mut next = self.inner.read(&mut self.row)?;
        // A row that was cleared in the spreadsheet is one no more.
        while next == Next::Record && self.row.fields().all(str::is_empty) {
            next = self.inner.read(&mut self.row)?;
        }
        (record.line, record.number) = (self.row.line, self.row.number);
        self.row.fields().skip(OWN.len()).for_each(|cell| record.push(bare(cell)));
        let lost = self.row.fields().skip(OWN.len()).find_map(undecoded);
        Ok(lost.map_or(next, Next::Bad))
    }

    fn remarks(&self) -> Vec<Remark> {
        self.inner.remarks()
    }
}

/// Records of another format, each in one cell.
struct Raw {
    spec_input: &'static dyn Format,
    /// The records are rows of typed cells.
    cells: bool,
    options: Options,
    room: Room,
    rows: Box<dyn RecordReader>,
    columns: Columns,
    /// What is read of a cell: its reader, its line, and the cell.
    held: Option<(Box<dyn RecordReader>, u64, String)>,
    first: Option<(Record, Next)>,
    number: u64,
}

impl Raw {
    fn new(spec: &Transformation, rows: Box<dyn RecordReader>, room: &Room) -> Result<Self> {
        // What a record stands in is gone: its path, its preamble, its encoding.
        let gone = ["records", "skip", "skip_last", "encoding", "line_ending", "header", "range", "sheet", "comment"];
        let keep = |name: &str| !gone.contains(&name) || (name == "records" && matches!(spec.input.name(), "fixed" | "edifact"));
        let mut keys: Vec<(String, Entry)> = spec.input_options.entries().iter().filter(|(n, _)| keep(n)).cloned().collect();
        let cells = matches!(spec.input.name(), "xlsx" | "dbf");
        // A sheet's row was written as a JSON object.
        let format: &'static dyn Format = if cells { &formats::json::Json } else { spec.input };
        if format.name() == "xml" {
            keys.push(("records".to_owned(), Entry { value: Val::Text("/*".to_owned()), span: 0..0, key_span: 0..0, secret: false }));
        }
        let options = Options::new(keys, 0..0, vec![format.input_options(), KEYS]);
        let mut reader = Self { spec_input: format, cells, options, room: room.clone(), rows, columns: Columns::default(), held: None, first: None, number: 0 };
        // The columns are known with the first record.
        let mut record = Record::default();
        let next = reader.next_record(&mut record)?;
        reader.columns = match (&reader.held, cells, &record.tree) {
            (_, true, Some(tree)) => Columns::tree(match tree {
                Value::Map(entries) => entries.iter().map(|(n, _)| n.to_string()).collect(),
                _ => Vec::new(),
            }),
            (Some((inner, ..)), _, _) => inner.columns().clone(),
            _ => spec.input.declared(&spec.input_options).unwrap_or_default(),
        };
        reader.first = Some((record, next));
        Ok(reader)
    }

    fn next_record(&mut self, record: &mut Record) -> Result<Next> {
        loop {
            if let Some((inner, line, raw)) = &mut self.held {
                let next = inner.read(record);
                record.line = *line;
                match next {
                    Ok(Next::End) => self.held = None,
                    Ok(next) => {
                        self.number += 1;
                        record.number = self.number;
                        let lost = if self.cells { unread_cell(record) } else { undecoded(raw) };
                        if self.cells {
                            with_types(record);
                        }
                        return Ok(lost.map_or(next, Next::Bad));
                    }
                    Err(e) => {
                        // The whole cell goes back: it may hold more than what was read of it.
                        record.clear();
                        record.line = *line;
                        record.raw = std::mem::take(raw).into_bytes();
                        self.held = None;
                        return self.bad(record, &e);
                    }
                }
            }
            let mut row = Record::default();
            let next = self.rows.read(&mut row)?;
            match next {
                Next::End => return Ok(Next::End),
                Next::Bad(_) => {
                    *record = row;
                    return Ok(next);
                }
                Next::Record => {}
            }
            let raw = bare(row.field(OWN.len())).to_owned();
            let input = Box::new(Cursor::new(raw.clone().into_bytes()));
            match self.spec_input.reader(&self.options, input, &self.room) {
                Ok(inner) => self.held = Some((inner, row.line, raw)),
                Err(e) => {
                    record.clear();
                    record.line = row.line;
                    record.raw = raw.into_bytes();
                    return self.bad(record, &e);
                }
            }
        }
    }

    fn bad(&mut self, record: &mut Record, e: &Error) -> Result<Next> {
        self.number += 1;
        record.number = self.number;
        Ok(Next::Bad(Reject::record(e.message().to_owned())))
    }
}

impl RecordReader for Raw {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        if let Some((first, next)) = self.first.take() {
            *record = first;
            return Ok(next);
        }
        record.clear();
        self.next_record(record)
    }

    fn remarks(&self) -> Vec<Remark> {
        self.rows.remarks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejects_file_is_known_by_its_first_columns_however_a_spreadsheet_writes_them() {
        assert_eq!(delimiter_of("\u{feff}_line;_field;_reason;Nom\r\n".as_bytes()), Some(';'));
        assert_eq!(delimiter_of(b"\"_line\",\"_field\",\"_reason\",\"Nom\"\n"), Some(','));
        assert_eq!(delimiter_of(b"_line;_field;Nom\n"), None);
        assert_eq!(delimiter_of(b"_line"), None);
        assert_eq!((bare("'=1+1"), bare("'t Hof"), bare("-5")), ("=1+1", "'t Hof", "-5"));
    }
}
