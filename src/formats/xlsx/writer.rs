//! Writes one sheet. Rows go to a temporary file as they come; the workbook is put together at the end.

use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, XlsxError};

use super::super::text::{Style, quoted};
use super::super::{RecordWriter, Writing};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::record::{Reject, Value};

/// What a sheet takes (ECMA-376 and the program's own limits).
const ROWS_MAX: u32 = 1_048_576;
const COLUMNS_MAX: usize = 16_384;
const CELL_CHARS_MAX: usize = 32_767;

pub(super) struct Writer {
    writing: Writing,
    book: Workbook,
    header: bool,
    row: u32,
    date: Format,
    date_time: Format,
}

fn failed(e: &XlsxError) -> Error {
    Error::file(format!("the workbook can't be written: {e}"))
}

impl Writer {
    pub(super) fn new(o: &Options, writing: Writing) -> Result<Self> {
        let mut book = Workbook::new();
        book.set_tempdir(&writing.room.folder).map_err(|e| failed(&e))?;
        let sheet = book.add_worksheet_with_constant_memory().map_err(|e| failed(&e))?;
        sheet.set_name(o.word("sheet")).map_err(|e| Error::config(format!("output.sheet: {e}")))?;
        if writing.columns.len() > COLUMNS_MAX {
            return Err(Error::file(format!("{} columns are more than a sheet has", writing.columns.len())));
        }
        let date = Format::new().set_num_format("yyyy-mm-dd");
        let date_time = Format::new().set_num_format("yyyy-mm-dd hh:mm:ss");
        Ok(Self { writing, book, header: o.flag("header"), row: 0, date, date_time })
    }

    /// What keeps a value from standing in a cell.
    fn wrong(&self, values: &[Value<'_>]) -> Option<Reject> {
        values.iter().enumerate().find_map(|(i, v)| {
            let text = match v {
                Value::Text(t) => t.chars().count(),
                Value::List(_) | Value::Map(_) | Value::Nodes(_) => self.writing.style.text(v).chars().count(),
                _ => 0,
            };
            let name = self.writing.columns.get(i).cloned().unwrap_or_default();
            (text > CELL_CHARS_MAX).then(|| Reject::new(name, format!("{text} characters are more than the {CELL_CHARS_MAX} that a cell takes")))
        })
    }

    fn put(&mut self, values: &[Value<'_>]) -> Result<(), XlsxError> {
        let (row, style) = (self.row, Style::default());
        let (date_format, time_format) = (self.date.clone(), self.date_time.clone());
        let sheet = self.book.worksheet_from_index(0)?;
        for (i, value) in values.iter().enumerate() {
            let column = u16::try_from(i).unwrap_or(u16::MAX);
            match value {
                Value::Null => {}
                Value::Bool(b) if self.writing.style.bools.is_none() => {
                    sheet.write_boolean(row, column, *b)?;
                }
                // A spreadsheet's number is a float of 15 digits: more would be changed in silence, and stay text.
                Value::Number(_) | Value::Digits(_) => {
                    let text = style.text(value);
                    let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count();
                    match text.parse::<f64>() {
                        Ok(n) if n.is_finite() && digits <= 15 => sheet.write_number(row, column, n)?,
                        _ => sheet.write_string(row, column, &*text)?,
                    };
                }
                Value::Date(d) if self.writing.style.dates.is_none() && d.year() >= 1900 => {
                    let month = u8::try_from(d.month()).unwrap_or(1);
                    let when = ExcelDateTime::from_ymd(u16::try_from(d.year()).unwrap_or(1900), month, u8::try_from(d.day()).unwrap_or(1))?;
                    sheet.write_datetime_with_format(row, column, &when, &date_format)?;
                }
                Value::DateTime(t, None) if self.writing.style.datetimes.is_none() && t.year() >= 1900 => {
                    let part = |n: i8| u8::try_from(n).unwrap_or(0);
                    let second = f64::from(t.second()) + f64::from(t.subsec_nanosecond()) / 1e9;
                    let when = ExcelDateTime::from_ymd(u16::try_from(t.year()).unwrap_or(1900), part(t.month()), part(t.day()))?.and_hms(
                        u16::from(part(t.hour())),
                        part(t.minute()),
                        second,
                    )?;
                    sheet.write_datetime_with_format(row, column, &when, &time_format)?;
                }
                other => {
                    // Written as text, "=1+1" is never computed.
                    sheet.write_string(row, column, self.writing.style.text(other))?;
                }
            }
        }
        Ok(())
    }
}

impl RecordWriter for Writer {
    fn begin(&mut self, _: &mut Vec<u8>) -> Result<()> {
        if self.header {
            let names: Vec<Value<'static>> = self.writing.columns.iter().map(|c| Value::owned(c.clone())).collect();
            self.put(&names).map_err(|e| failed(&e))?;
            self.row += 1;
        }
        Ok(())
    }

    fn write(&mut self, values: &[Value<'_>], _: &mut Vec<u8>) -> Result<Result<(), Reject>> {
        if self.row >= ROWS_MAX {
            return Err(Error::file(format!("more than the {ROWS_MAX} rows of a sheet")).hint("set output.split, or choose csv"));
        }
        if let Some(reject) = self.wrong(values) {
            return Ok(Err(reject));
        }
        if let Err(e) = self.put(values) {
            return Ok(Err(Reject::record(format!(
                "{} can't stand in a sheet: {e}",
                quoted(&self.writing.style.text(values.first().unwrap_or(&Value::Null)))
            ))));
        }
        self.row += 1;
        Ok(Ok(()))
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.book.save_to_buffer().map_err(|e| failed(&e))?);
        Ok(())
    }
}
