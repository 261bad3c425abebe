//! Spreadsheets: xlsx, xlsm, xlsb, xls and ods are read, xlsx is written.
//!
//! Cells keep their types: dates are dates, numbers have the digits that the program shows at full precision. A cell
//! that holds an error rejects its record only where it is used.

mod sheet;
mod writer;

pub use sheet::ERRORS;

use std::sync::mpsc::Receiver;

use super::packed::{self, Archives};
use super::text::Style;
use super::{Format, Input, Next, RecordReader, RecordWriter, Remark, Room, Writing};
use crate::error::{Error, Result};
use crate::options::{Kind, Opt, Options, Side};
use crate::record::{Columns, Record, Reject, Value};
use sheet::{Area, Cell, Row, Sheet};

/// The format.
#[derive(Debug)]
pub struct Xlsx;

const INPUT: &[Opt] = &[
    Opt { name: "sheet", kind: Kind::TextOrNumber, default: Some("1"), doc: "The sheet: its name, or its number from 1." },
    Opt { name: "range", kind: Kind::Text, default: None, doc: "The cells, as in \"A3:F200\"; \"A3:\" for all from A3 on; default: the whole sheet." },
    Opt { name: "header", kind: Kind::Flag, default: Some("true"), doc: "The first row that is not empty names the columns." },
    Opt { name: "columns", kind: Kind::Texts, default: None, doc: "The columns of a sheet without a header." },
    Opt { name: "trim", kind: Kind::Flag, default: Some("false"), doc: "Remove spaces around texts and column names." },
    Opt { name: "allow_extra_columns", kind: Kind::Flag, default: Some("false"), doc: "Surplus cells are dropped instead of rejecting the record." },
];
const OUTPUT: &[Opt] = &[
    Opt { name: "sheet", kind: Kind::Text, default: Some("\"Sheet1\""), doc: "The name of the sheet." },
    Opt { name: "header", kind: Kind::Flag, default: Some("true"), doc: "Write the names of the targets first." },
];

impl Format for Xlsx {
    fn name(&self) -> &'static str {
        "xlsx"
    }
    fn extension(&self) -> &'static str {
        "xlsx"
    }
    fn input_options(&self) -> &'static [Opt] {
        INPUT
    }
    fn output_options(&self) -> &'static [Opt] {
        OUTPUT
    }
    fn archives(&self) -> Archives {
        Archives::Keep
    }
    fn declared(&self, _: &Options) -> Option<Columns> {
        Some(Columns::cells(Vec::new()))
    }
    fn has_columns(&self) -> bool {
        true
    }
    fn mistakes(&self, o: &Options, side: Side) -> Vec<(&'static str, String)> {
        let sheet = o.text("sheet").filter(|_| side == Side::Output).unwrap_or_default();
        if sheet.chars().count() > 31 || sheet.contains(['[', ']', ':', '*', '?', '/', '\\']) {
            return vec![("sheet", "a sheet's name has at most 31 characters, and none of [ ] : * ? / \\".to_owned())];
        }
        let range = o.text("range").filter(|_| side == Side::Input);
        range.and_then(|r| Area::parse(&r).is_none().then(|| ("range", "it is a range of cells as in \"A3:F200\" or \"A3:\"".to_owned()))).into_iter().collect()
    }
    fn reader(&self, o: &Options, input: Input, room: &Room) -> Result<Box<dyn RecordReader>> {
        Ok(Box::new(Reader::new(o, input, room)?))
    }
    fn writer(&self, o: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>> {
        Ok(Box::new(writer::Writer::new(o, writing)?))
    }
}

struct Reader {
    columns: Columns,
    rows: Receiver<Result<Vec<Row>>>,
    batch: std::vec::IntoIter<Row>,
    width: usize,
    extra: bool,
    trim: bool,
    number: u64,
}

impl Reader {
    fn new(o: &Options, mut input: Input, room: &Room) -> Result<Self> {
        // Workbooks are read here and there.
        let file = packed::workbook(room.spool(&mut input)?, room)?;
        let area = o.text("range").and_then(|r| Area::parse(&r)).unwrap_or_default();
        let rows = Sheet { file, name: o.word("sheet"), area, bytes_max: room.bytes_max }.start()?;
        let mut reader = Self {
            columns: Columns::default(),
            rows,
            batch: Vec::new().into_iter(),
            width: 0,
            extra: o.flag("allow_extra_columns"),
            trim: o.flag("trim"),
            number: 0,
        };
        let first = reader.next_row()?;
        let header = o.flag("header") && !o.has("columns");
        let names: Vec<String> = match (o.texts("columns"), first) {
            (Some(names), first) => {
                // Declared columns and a header that is asked for outright: the header is passed over.
                if let Some(first) = first.filter(|_| !(o.flag("header") && o.has("header"))) {
                    reader.put_back(first);
                }
                names
            }
            (None, None) if header => {
                return Err(Error::file("there is no header: the sheet holds no cell").hint("check input.sheet and input.range"));
            }
            (None, None) => Vec::new(),
            (None, Some(first)) if header => {
                let width = first.width();
                let mut names = vec![String::new(); width];
                for (at, cell) in &first.cells {
                    if let (Some(name), Cell::Value(value)) = (names.get_mut(*at), cell) {
                        let text = Style::default().text(value).into_owned();
                        *name = if reader.trim { text.trim().to_owned() } else { text };
                    }
                }
                names
            }
            (None, Some(first)) => {
                let width = reader.batch.as_slice().iter().map(Row::width).max().unwrap_or(0).max(first.width()).max(first.sheet_width);
                reader.put_back(first);
                vec![String::new(); width]
            }
        };
        reader.columns = Columns::cells(Columns::from_header(names.iter().map(String::as_str)).names);
        reader.width = reader.columns.names.len();
        Ok(reader)
    }

    fn put_back(&mut self, row: Row) {
        let rest: Vec<Row> = std::iter::once(row).chain(self.batch.by_ref()).collect();
        self.batch = rest.into_iter();
    }

    fn next_row(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.batch.next() {
                return Ok(Some(row));
            }
            match self.rows.recv() {
                Ok(batch) => self.batch = batch?.into_iter(),
                Err(_) => return Ok(None),
            }
        }
    }
}

impl RecordReader for Reader {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        record.clear();
        let Some(row) = self.next_row()? else { return Ok(Next::End) };
        self.number += 1;
        (record.line, record.number) = (u64::from(row.number), self.number);
        record.cells.resize(self.width, Value::Null);
        let found = row.width();
        for (at, cell) in row.cells {
            let Some(slot) = record.cells.get_mut(at) else { continue };
            match cell {
                Cell::Value(Value::Text(text)) if self.trim => *slot = Value::owned(text.trim()),
                Cell::Value(value) => *slot = value,
                Cell::Error(what) => record.faults.push((at, format!("the cell holds {what}"))),
            }
        }
        if found > self.width && !self.extra {
            return Ok(Next::Bad(Reject::record(format!("{found} cells instead of {}", self.width))));
        }
        Ok(Next::Record)
    }

    fn remarks(&self) -> Vec<Remark> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{options, read_all, room, write_bytes};

    #[test]
    fn what_is_written_is_read_back_with_its_types() {
        let day = jiff::civil::date(2025, 12, 31);
        let rows = [
            vec![Value::text("007"), Value::Number("1234.50".parse().unwrap()), Value::Date(day), Value::Bool(true)],
            vec![Value::text("=1+1"), Value::Number("0.1".parse().unwrap()), Value::DateTime(day.at(12, 30, 0, 0), None), Value::Null],
        ];
        let bytes = write_bytes(&Xlsx, "sheet = 'Clients'", &["Code", "Solde", "Le", "Actif"], &rows);
        let got = read_all(&Xlsx, "sheet = 'Clients'", &bytes);
        assert_eq!(got, ["columns Code|Solde|Le|Actif", "2:1 007|1234.5|2025-12-31|true", "3:2 =1+1|0.1|2025-12-31T12:30:00|"]);
        assert_eq!(read_all(&Xlsx, "range = 'B3:C3'\nheader = false", &bytes)[1], "3:1 0.1|2025-12-31T12:30:00");
        assert!(read_all(&Xlsx, "sheet = 'Client'", &bytes)[0].contains("there is no sheet \"Client\": there are Clients"));
        assert!(read_all(&Xlsx, "", b"not a workbook")[0].starts_with("ERROR"));
    }

    #[test]
    fn a_formula_without_its_value_is_no_empty_cell() {
        use std::io::Write;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let rels = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="a" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
        let book = r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="a"/></sheets></workbook>"#;
        let sheet = r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row><row r="2"><c r="A2"><f>1+1</f></c></row><row r="3"><c r="A3"><f>1+1</f><v>2</v></c></row><row r="4"><c r="A4"><f>1+1</f><v></v></c></row></sheetData></worksheet>"#;
        let root = rels.replace("relationships/worksheet", "relationships/officeDocument").replace("worksheets/sheet1", "xl/workbook");
        for (name, text) in
            [("_rels/.rels", root.as_str()), ("xl/workbook.xml", book), ("xl/_rels/workbook.xml.rels", rels), ("xl/worksheets/sheet1.xml", sheet)]
        {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        let bytes = zip.finish().unwrap().into_inner();
        let mut reader = Xlsx.reader(&options(&Xlsx, ""), Box::new(std::io::Cursor::new(bytes)), &room()).unwrap();
        let mut seen = Vec::new();
        let mut record = Record::default();
        while let Next::Record = reader.read(&mut record).unwrap() {
            seen.push((record.line, record.faults.len()));
        }
        assert_eq!(seen, [(2, 1), (3, 0), (4, 1)]);
    }
}
