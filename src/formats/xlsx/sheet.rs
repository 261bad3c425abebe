//! The rows of one sheet, read by a thread of their own: workbooks hand out cells by borrowing from themselves.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use calamine::{Data, DataRef, ExcelDateTime, Reader as _, Xls, Xlsb, Xlsx};

use super::super::text::quoted;
use crate::error::{Error, Result};
use crate::record::Value;

/// Rows that are handed over at once.
const BATCH_ROWS: usize = 512;

/// The cells that are asked for, from 0; no end: all that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Area {
    start: (u32, u32),
    end: (Option<u32>, Option<u32>),
}

impl Area {
    /// "A3:F200", "A3:", "A3:F" or "A3".
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once(':').unwrap_or((text, ""));
        let (row, column) = position(from)?;
        let (end_row, end_column) = if to.is_empty() { (None, None) } else { position(to)? };
        let area = Self { start: (row.unwrap_or(0), column.unwrap_or(0)), end: (end_row, end_column) };
        let ordered = area.end.0.is_none_or(|r| r >= area.start.0) && area.end.1.is_none_or(|c| c >= area.start.1);
        ordered.then_some(area)
    }
    fn holds(&self, row: u32, column: u32) -> bool {
        row >= self.start.0 && column >= self.start.1 && self.end.0.is_none_or(|r| row <= r) && self.end.1.is_none_or(|c| column <= c)
    }
}

/// "F200" as row and column from 0; either may be missing.
fn position(text: &str) -> Option<(Option<u32>, Option<u32>)> {
    let text = text.trim().replace('$', "");
    let split = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (letters, digits) = text.split_at(split);
    if text.is_empty() || letters.len() > 3 || !letters.bytes().all(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    let column = letters.bytes().fold(0u32, |n, b| n * 26 + u32::from(b.to_ascii_uppercase() - b'A') + 1);
    let row = if digits.is_empty() { None } else { Some(digits.parse::<u32>().ok()?.checked_sub(1)?) };
    Some((row, column.checked_sub(1)))
}

/// One cell that is not empty.
#[derive(Debug)]
pub(super) enum Cell {
    Value(Value<'static>),
    /// What the spreadsheet shows instead of a value, as `#N/A`.
    Error(String),
}

/// One row that is not empty.
#[derive(Debug)]
pub(super) struct Row {
    /// Its number in the sheet, from 1.
    pub(super) number: u32,
    /// Its cells, by their place from the area's first column on.
    pub(super) cells: Vec<(usize, Cell)>,
    /// How many columns the sheet says it has.
    pub(super) sheet_width: usize,
}

impl Row {
    /// How many columns the row reaches over.
    pub(super) fn width(&self) -> usize {
        self.cells.iter().map(|(at, _)| at + 1).max().unwrap_or(0)
    }
}

/// The sheet that is asked for.
pub(super) struct Sheet {
    pub(super) file: File,
    pub(super) name: String,
    pub(super) area: Area,
    pub(super) bytes_max: u64,
}

fn fail(message: impl Into<String>) -> Error {
    Error::file(message).hint("check that the file opens in a spreadsheet program, without a password")
}

impl Sheet {
    /// Starts reading; the rows come in batches, and end where the channel does.
    pub(super) fn start(mut self) -> Result<Receiver<Result<Vec<Row>>>> {
        let (sender, receiver) = sync_channel(4);
        let work = move || {
            // A workbook that the library stumbles over must not take the relay with it.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.read(&sender)));
            let error = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(e)) => e,
                Err(_) => fail("the workbook is damaged"),
            };
            // Nobody listens any more: then nobody wants to know.
            let _ = sender.send(Err(error));
        };
        std::thread::Builder::new().name("sheet".into()).spawn(work).map_err(|e| Error::relay(format!("can't start a thread: {e}")))?;
        Ok(receiver)
    }

    fn read(&mut self, to: &SyncSender<Result<Vec<Row>>>) -> Result<()> {
        let mut head = [0u8; 8];
        let n = self.file.read(&mut head).map_err(|e| fail(e.to_string()))?;
        self.rewind()?;
        let mut rows = Rows { to, area: self.area, sheet_width: 0, batch: Vec::new() };
        match &head[..n] {
            [0xd0, 0xcf, 0x11, 0xe0, ..] => {
                self.fits(self.file.metadata().map(|m| m.len()).unwrap_or(0).saturating_mul(4))?;
                let mut book = Xls::new(self.stream()?).map_err(|e| fail(format!("the workbook can't be read: {e}")))?;
                let name = self.pick(&book.sheet_names())?;
                let range = book.worksheet_range(&name).map_err(|e| fail(format!("the sheet can't be read: {e}")))?;
                rows.range(&range)?;
            }
            [b'P', b'K', ..] => self.read_zip(&mut rows)?,
            _ => return Err(fail("the file is no workbook: neither xlsx, xlsb, xls nor ods")),
        }
        rows.flush()?;
        Ok(())
    }

    fn read_zip(&mut self, rows: &mut Rows<'_>) -> Result<()> {
        let mut zip = zip::ZipArchive::new(self.stream()?).map_err(|e| fail(format!("the workbook can't be read: {e}")))?;
        // Texts and styles are held whole, an ods sheet too; cells of the others stream by.
        let (mut binary, mut open, mut held) = (false, false, 0u64);
        for i in 0..zip.len() {
            let Ok(entry) = zip.by_index_raw(i) else { continue };
            let name = entry.name().map(|n| n.to_lowercase()).unwrap_or_default();
            binary |= name == "xl/workbook.bin";
            open |= name == "content.xml";
            if !name.contains("worksheets/") && !name.contains("media/") {
                held = held.saturating_add(entry.size());
            }
        }
        drop(zip);
        self.fits(held)?;
        self.rewind()?;
        if open {
            let mut book = calamine::Ods::new(self.stream()?).map_err(|e| fail(format!("the workbook can't be read: {e}")))?;
            let name = self.pick(&book.sheet_names())?;
            let range = book.worksheet_range(&name).map_err(|e| fail(format!("the sheet can't be read: {e}")))?;
            return rows.range(&range);
        }
        if binary {
            let mut book = Xlsb::new(self.stream()?).map_err(|e| fail(format!("the workbook can't be read: {e}")))?;
            let name = self.pick(&book.sheet_names())?;
            let mut cells = book.worksheet_cells_reader(&name).map_err(|e| fail(format!("the sheet can't be read: {e}")))?;
            rows.sheet_width = width(cells.dimensions());
            while let Some(cell) = cells.next_cell().map_err(|e| fail(format!("the sheet can't be read: {e}")))? {
                rows.put(cell.get_position(), value_ref(cell.get_value()))?;
            }
            return Ok(());
        }
        let mut book = Xlsx::new(self.stream()?).map_err(|e| fail(format!("the workbook can't be read: {e}")))?;
        let name = self.pick(&book.sheet_names())?;
        let mut cells = book.worksheet_cells_reader(&name).map_err(|e| fail(format!("the sheet can't be read: {e}")))?;
        rows.sheet_width = width(cells.dimensions());
        while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(|e| fail(format!("the sheet can't be read: {e}")))? {
            // Programs that write formulas without computing them leave the value to whoever opens the sheet.
            let unknown = cell.formula.is_some() && cell.value == DataRef::Empty;
            let value = if unknown { Some(Cell::Error("a formula whose value is not in the file: let A save values".into())) } else { value_ref(&cell.value) };
            rows.put(cell.pos, value)?;
        }
        Ok(())
    }

    fn stream(&self) -> Result<BufReader<File>> {
        self.file.try_clone().map(BufReader::new).map_err(|e| fail(e.to_string()))
    }

    fn rewind(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).map(drop).map_err(|e| fail(e.to_string()))
    }

    fn fits(&self, held: u64) -> Result<()> {
        if held <= self.bytes_max {
            return Ok(());
        }
        Err(Error::file(format!("the workbook needs about {} MiB in memory, more than max_memory", held >> 20))
            .hint("raise max_memory, or let A export less at once"))
    }

    fn pick(&self, names: &[String]) -> Result<String> {
        let by_number = self.name.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).and_then(|n| names.get(n));
        let found = names.iter().find(|n| **n == self.name).or(by_number);
        found.cloned().ok_or_else(|| Error::file(format!("there is no sheet {}: there are {}", quoted(&self.name), names.join(", "))).hint("check input.sheet"))
    }
}

fn width(d: calamine::Dimensions) -> usize {
    // A sheet that declares all its columns has no width worth knowing.
    if d.end.1 < 4096 { d.end.1 as usize + 1 } else { 0 }
}

/// Collects cells into rows.
struct Rows<'s> {
    to: &'s SyncSender<Result<Vec<Row>>>,
    area: Area,
    sheet_width: usize,
    batch: Vec<Row>,
}

impl Rows<'_> {
    fn put(&mut self, (row, column): (u32, u32), cell: Option<Cell>) -> Result<()> {
        let Some(cell) = cell.filter(|_| self.area.holds(row, column)) else { return Ok(()) };
        let at = (column - self.area.start.1) as usize;
        if let Some(last) = self.batch.last_mut().filter(|r| r.number == row + 1) {
            last.cells.push((at, cell));
            return Ok(());
        }
        if self.batch.len() >= BATCH_ROWS {
            self.flush()?;
        }
        let last = self.area.end.1.map_or(self.sheet_width, |c| c as usize + 1);
        let sheet_width = last.saturating_sub(self.area.start.1 as usize);
        self.batch.push(Row { number: row + 1, cells: vec![(at, cell)], sheet_width });
        Ok(())
    }

    fn range(&mut self, range: &calamine::Range<Data>) -> Result<()> {
        let start = range.start().unwrap_or((0, 0));
        self.sheet_width = range.end().map_or(0, |e| e.1 as usize + 1);
        for (row, column, data) in range.used_cells() {
            let place = (start.0 + u32::try_from(row).unwrap_or(u32::MAX), start.1 + u32::try_from(column).unwrap_or(u32::MAX));
            self.put(place, value(data))?;
        }
        Ok(())
    }

    /// Hands over what there is; a reader that is gone ends the work.
    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.to.send(Ok(std::mem::take(&mut self.batch))).map_err(|_| Error::relay("the reader of the sheet is gone"))
    }
}

/// What a spreadsheet shows where a formula has no value.
pub const ERRORS: [&str; 7] = ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"];

/// "PT13H45M30S" as the time that is meant.
fn clock(iso: &str) -> Option<String> {
    let (hours, rest) = iso.strip_prefix("PT")?.split_once('H')?;
    let (minutes, rest) = rest.split_once('M')?;
    let seconds: f64 = rest.strip_suffix('S')?.replace(',', ".").parse().ok()?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(format!("{hours:02}:{minutes:02}:{:02}", seconds.trunc()))
}

fn value(data: &Data) -> Option<Cell> {
    Some(match data {
        Data::Empty => return None,
        // An ods file holds its errors as texts.
        Data::String(s) if ERRORS.contains(&s.as_str()) || s.starts_with("Err:") => Cell::Error(format!("the error {s}")),
        Data::Int(n) => Cell::Value(Value::Number((*n).into())),
        Data::Float(n) => number(*n),
        Data::String(s) => return text(s),
        Data::Bool(b) => Cell::Value(Value::Bool(*b)),
        Data::DateTime(d) => date_time(*d),
        Data::DateTimeIso(s) => iso(s),
        Data::DurationIso(s) => Cell::Value(Value::owned(clock(s).unwrap_or_else(|| s.clone()))),
        Data::Error(e) => Cell::Error(format!("the error {e}")),
    })
}

fn value_ref(data: &DataRef<'_>) -> Option<Cell> {
    Some(match data {
        DataRef::Empty => return None,
        DataRef::Int(n) => Cell::Value(Value::Number((*n).into())),
        DataRef::Float(n) => number(*n),
        DataRef::String(s) => return text(s),
        DataRef::SharedString(s) => return text(s),
        DataRef::Bool(b) => Cell::Value(Value::Bool(*b)),
        DataRef::DateTime(d) => date_time(*d),
        DataRef::DateTimeIso(s) => iso(s),
        DataRef::DurationIso(s) => Cell::Value(Value::owned(s.clone())),
        DataRef::Error(e) => Cell::Error(format!("the error {e}")),
    })
}

fn text(s: &str) -> Option<Cell> {
    // No text of a cell holds a NUL: where one comes out, the bytes were taken for another encoding.
    if s.contains('\0') {
        return Some(Cell::Error("a text whose encoding is not understood".into()));
    }
    (!s.is_empty()).then(|| Cell::Value(Value::owned(s)))
}

/// A number with the fewest digits that stand for it: what the file holds is a float already.
fn number(n: f64) -> Cell {
    // Zeros at the end may be meant; other digits beyond the fifteenth are what a float made of them.
    if n.abs() >= 1e15 && n.is_finite() && n.to_string().trim_start_matches('-').trim_end_matches('0').len() > 15 {
        return Cell::Error("a number of more than 15 digits, which a sheet does not hold exactly: let A write it as text".into());
    }
    if n.is_finite() { Cell::Value(Value::Digits(n.to_string().into())) } else { Cell::Error("the error #NUM!".into()) }
}

fn date_time(d: ExcelDateTime) -> Cell {
    let serial = d.as_f64();
    if d.is_duration() || serial < 0.0 {
        return number(serial);
    }
    let (year, month, day, hour, minute, second, milli) = d.to_ymd_hms_milli();
    let parts = |n: u8| i8::try_from(n).unwrap_or(0);
    if serial < 1.0 {
        return Cell::Value(Value::owned(format!("{hour:02}:{minute:02}:{second:02}")));
    }
    let date = jiff::civil::Date::new(i16::try_from(year).unwrap_or(0), parts(month), parts(day));
    let time = jiff::civil::Time::new(parts(hour), parts(minute), parts(second), i32::from(milli) * 1_000_000);
    match (date, time) {
        (Ok(date), Ok(time)) if time == jiff::civil::Time::midnight() => Cell::Value(Value::Date(date)),
        (Ok(date), Ok(time)) => Cell::Value(Value::DateTime(date.to_datetime(time), None)),
        _ => number(serial),
    }
}

fn iso(s: &str) -> Cell {
    let bare = s.trim_end_matches('Z');
    if let Ok(date) = bare.parse::<jiff::civil::Date>()
        && bare.len() == 10
    {
        return Cell::Value(Value::Date(date));
    }
    match bare.parse::<jiff::civil::DateTime>() {
        Ok(t) if t.time() == jiff::civil::Time::midnight() => Cell::Value(Value::Date(t.date())),
        Ok(t) => Cell::Value(Value::DateTime(t, None)),
        Err(_) => Cell::Value(Value::owned(s)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_an_ods_file_hold_errors_as_texts_and_times_as_durations() {
        assert!(matches!(value(&Data::String("#N/A".into())), Some(Cell::Error(_))));
        assert!(matches!(value(&Data::String("#1".into())), Some(Cell::Value(Value::Text(_)))));
        assert_eq!(clock("PT13H45M30.000S").as_deref(), Some("13:45:30"));
        assert_eq!(clock("P1D"), None);
    }

    #[test]
    fn ranges_are_read_as_spreadsheets_write_them() {
        assert_eq!(Area::parse("B3:D20"), Some(Area { start: (2, 1), end: (Some(19), Some(3)) }));
        assert_eq!(Area::parse("$A$3:"), Some(Area { start: (2, 0), end: (None, None) }));
        assert_eq!(Area::parse("AA1").map(|a| a.start), Some((0, 26)));
        assert_eq!(["", "3A", "D1:B2", "A0"].map(Area::parse), [None; 4]);
    }
}
