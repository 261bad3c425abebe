//! DBF tables (dBASE III and later, FoxPro), with their memo files.
//!
//! Read by ourselves: the crates turn numbers into floats, and amounts stay exact here.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::text::{Charset, Reading, quoted};
use super::{Format, Input, Next, RecordReader, RecordWriter, Remark, Room, Writing, read_some};
use crate::error::{Error, Result};
use crate::options::{Opt, Options};
use crate::record::{Columns, Record, Reject, Value};

/// The format.
#[derive(Debug)]
pub struct Dbf;

/// The largest memo that is taken.
const MEMO_BYTES_MAX: u32 = 16 * 1024 * 1024;

impl Format for Dbf {
    fn name(&self) -> &'static str {
        "dbf"
    }
    fn extension(&self) -> &'static str {
        "dbf"
    }
    fn input_options(&self) -> &'static [Opt] {
        &[]
    }
    fn output_options(&self) -> &'static [Opt] {
        &[]
    }
    fn writes(&self) -> bool {
        false
    }
    fn declared(&self, _: &Options) -> Option<Columns> {
        Some(Columns::cells(Vec::new()))
    }
    fn has_columns(&self) -> bool {
        true
    }
    fn reader(&self, o: &Options, input: Input, room: &Room) -> Result<Box<dyn RecordReader>> {
        Reader::new(o, input, room).map(|r| Box::new(r) as Box<dyn RecordReader>)
    }
    fn writer(&self, _: &Options, _: Writing) -> Result<Box<dyn RecordWriter>> {
        Err(Error::config("dbf is read, not written").hint("choose csv, fixed, json, ndjson, xml, xlsx or template"))
    }
}

struct Column {
    kind: u8,
    width: usize,
}

struct Reader {
    input: Input,
    charset: Charset,
    columns: Columns,
    fields: Vec<Column>,
    bytes: Vec<u8>,
    left: u32,
    memo: Option<Memo>,
    number: u64,
    row: u64,
    deleted: u64,
    /// The head names a code page that nobody here knows.
    unknown_page: bool,
    /// The head names no code page at all: that matters once a letter is not ASCII.
    unsaid_page: bool,
}

fn fail(message: impl Into<String>) -> Error {
    Error::file(message).hint("check that the file is a whole DBF table")
}

/// Reads `to` full; how many bytes there were.
fn read_full(input: &mut Input, to: &mut [u8]) -> Result<usize> {
    let mut n = 0;
    while n < to.len() {
        match read_some(input, &mut to[n..])? {
            0 => break,
            k => n += k,
        }
    }
    Ok(n)
}

impl Reader {
    fn new(o: &Options, mut input: Input, room: &Room) -> Result<Self> {
        let mut head = [0u8; 32];
        if read_full(&mut input, &mut head)? < 32 {
            return Err(fail("the file is shorter than the head of a DBF table"));
        }
        if !matches!(head[0], 0x02..=0x05 | 0x30..=0x32 | 0x43 | 0x63 | 0x83 | 0x8b | 0x8e | 0xcb | 0xf5 | 0xfb) {
            return Err(fail(format!("the first byte, 0x{:02X}, is that of no DBF table", head[0])));
        }
        let count = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let head_len = usize::from(u16::from_le_bytes([head[8], head[9]]));
        let record_len = usize::from(u16::from_le_bytes([head[10], head[11]]));
        let mut rest = vec![0u8; head_len.saturating_sub(32)];
        if rest.is_empty() || read_full(&mut input, &mut rest)? < rest.len() {
            return Err(fail("the head of the table is cut"));
        }
        let declared = if o.has("encoding") { o.text("encoding").and_then(|l| Charset::named(&l)) } else { None };
        let charset = declared.or_else(|| code_page(head[29])).unwrap_or_else(|| Charset::named("windows-1252").unwrap_or_else(Charset::utf8));
        let (mut fields, mut names) = (Vec::new(), Vec::new());
        for raw in rest.chunks_exact(32).take_while(|raw| raw[0] != 0x0d) {
            let end = raw[..11].iter().position(|b| *b == 0).unwrap_or(11);
            let mut name = String::new();
            charset.decode_into(&raw[..end], &mut name);
            names.push(name.trim_end().to_owned());
            // Long text fields of FoxPro and Clipper use the byte of the decimals too.
            let width = if raw[11] == b'C' { usize::from(raw[16]) + 256 * usize::from(raw[17]) } else { usize::from(raw[16]) };
            fields.push(Column { kind: raw[11], width });
        }
        if fields.is_empty() || fields.iter().map(|f| f.width).sum::<usize>() + 1 != record_len {
            return Err(fail("the fields of the table do not add up to its records"));
        }
        let memo = if fields.iter().any(|f| matches!(f.kind, b'M')) { Memo::beside(room)? } else { None };
        Ok(Self {
            input,
            charset,
            columns: Columns::cells(Columns::from_header(names.iter().map(String::as_str)).names),
            unknown_page: head[29] != 0 && !o.has("encoding") && code_page(head[29]).is_none(),
            unsaid_page: head[29] == 0 && !o.has("encoding"),
            fields,
            bytes: vec![0; record_len],
            left: count,
            memo,
            number: 0,
            row: 0,
            deleted: 0,
        })
    }

    fn value(&mut self, i: usize, start: usize) -> Result<Result<Value<'static>, String>> {
        let Column { kind, width } = self.fields[i];
        let bytes = &self.bytes[start..start + width];
        let ascii = || String::from_utf8_lossy(bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned();
        Ok(Ok(match kind {
            b'N' | b'F' => {
                let text = ascii();
                if text.starts_with('*') {
                    return Ok(Err("its value did not fit the field, which holds stars instead".into()));
                }
                if text.is_empty() || text == "." {
                    Value::Null
                } else {
                    match Reading::default().decimal(&text) {
                        Ok(n) => Value::Number(n),
                        Err(why) => return Ok(Err(why)),
                    }
                }
            }
            b'D' => match ascii() {
                text if text.is_empty() || text.bytes().all(|b| b == b'0') => Value::Null,
                text => match Reading::default().date(&text, Some("%Y%m%d")) {
                    Ok(v) => v,
                    Err(why) => return Ok(Err(why)),
                },
            },
            b'L' => match bytes.first() {
                Some(b'T' | b't' | b'Y' | b'y') => Value::Bool(true),
                Some(b'F' | b'f' | b'N' | b'n') => Value::Bool(false),
                _ => Value::Null,
            },
            b'I' | b'+' if width == 4 => Value::Number(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into()),
            b'Y' if width == 8 => {
                let n = i64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
                Value::Number(rust_decimal::Decimal::new(n, 4))
            }
            b'B' | b'O' if width == 8 => {
                let n = f64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
                if n.is_finite() { Value::Digits(n.to_string().into()) } else { Value::Null }
            }
            b'T' | b'@' if width == 8 => date_time(bytes),
            b'M' => {
                let block = if width == 4 { u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) } else { ascii().parse().unwrap_or(0) };
                match (&mut self.memo, block) {
                    (_, 0) => Value::Null,
                    (None, _) => return Ok(Err("the memo file does not stand beside the table".into())),
                    (Some(memo), block) => {
                        let bytes = memo.read(block)?;
                        let mut text = String::new();
                        self.charset.decode_into(&bytes, &mut text);
                        Value::owned(text)
                    }
                }
            }
            _ => {
                self.unknown_page |= self.unsaid_page && !bytes.is_ascii();
                let mut text = String::new();
                if let Some(byte) = self.charset.decode_into(bytes, &mut text) {
                    return Ok(Err(format!("it holds the byte 0x{byte:02X}, which is not {}", self.charset.name())));
                }
                Value::owned(text.trim_end_matches([' ', '\0']))
            }
        }))
    }
}

/// A Julian day and milliseconds.
fn date_time(bytes: &[u8]) -> Value<'static> {
    let day = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let ms = i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    if day <= 0 {
        return Value::Null;
    }
    // 1970-01-01 is the Julian day 2 440 588.
    let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(i64::from(day) - 2_440_588));
    date.ok().and_then(|d| d.at(0, 0, 0, 0).checked_add(jiff::Span::new().milliseconds(i64::from(ms))).ok()).map_or(Value::Null, |t| Value::DateTime(t, None))
}

/// The encodings that the head may name (the language driver).
fn code_page(driver: u8) -> Option<Charset> {
    Charset::named(match driver {
        0x01 | 0x09 | 0x0b | 0x0d | 0x0f | 0x11 | 0x15 | 0x18 | 0x19 | 0x1b => "cp437",
        0x02 | 0x0a | 0x0e | 0x10 | 0x12 | 0x14 | 0x16 | 0x1a | 0x1d | 0x25 | 0x37 => "cp850",
        0x1f | 0x22 | 0x23 | 0x40 | 0x64 | 0x87 => "cp852",
        0x26 | 0x65 => "cp866",
        0x03 | 0x57 | 0x58 | 0x59 => "windows-1252",
        0xc8 => "windows-1250",
        0xc9 => "windows-1251",
        0xca => "windows-1254",
        0xcb => "windows-1253",
        _ => return None,
    })
}

impl RecordReader for Reader {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        record.clear();
        loop {
            if self.left == 0 {
                let mut next = [0];
                if read_full(&mut self.input, &mut next)? == 1 && matches!(next[0], b' ' | b'*') {
                    return Err(fail("more records follow than the head of the table gives"));
                }
                return Ok(Next::End);
            }
            let mut bytes = std::mem::take(&mut self.bytes);
            let n = read_full(&mut self.input, &mut bytes)?;
            self.bytes = bytes;
            if n == 0 || (n < self.bytes.len() && self.bytes[0] == 0x1a) {
                return Err(fail(format!("the file ends {} records before the number that its head gives", self.left)));
            }
            if n < self.bytes.len() {
                return Err(fail("the last record is cut"));
            }
            self.left -= 1;
            self.row += 1;
            if self.bytes[0] == b'*' {
                self.deleted += 1;
                continue;
            }
            break;
        }
        self.number += 1;
        (record.line, record.number) = (self.row, self.number);
        let mut start = 1;
        let mut bad = None;
        for i in 0..self.fields.len() {
            let value = self.value(i, start)?;
            start += self.fields[i].width;
            match value {
                Ok(value) => record.cells.push(value),
                Err(why) => {
                    let text = String::from_utf8_lossy(&self.bytes[start - self.fields[i].width..start]);
                    record.faults.push((i, text.trim().to_owned()));
                    record.cells.push(Value::Null);
                    bad = bad.or(Some(Reject::new(self.columns.names[i].clone(), why)));
                }
            }
        }
        Ok(bad.map_or(Next::Record, Next::Bad))
    }

    fn remarks(&self) -> Vec<Remark> {
        let deleted = (self.deleted > 0).then_some(Remark { what: "deleted records were passed over", count: self.deleted, line: 0 });
        let what = "the code page of the table is not known, and taken for windows-1252: declare input.encoding";
        deleted.into_iter().chain(self.unknown_page.then_some(Remark { what, count: 0, line: 0 })).collect()
    }
}

/// The file of long texts beside a table.
struct Memo {
    file: File,
    block: u64,
    foxpro: bool,
}

impl Memo {
    /// The memo file that stands beside A's table, if it does.
    fn beside(room: &Room) -> Result<Option<Self>> {
        let Some(table) = &room.beside else { return Ok(None) };
        for (extension, foxpro) in [("fpt", true), ("FPT", true), ("dbt", false), ("DBT", false)] {
            let Ok(mut file) = File::open(table.with_extension(extension)) else { continue };
            let mut head = [0u8; 24];
            let wrong = || fail(format!("the memo file {} has no head", quoted(&table.with_extension(extension).display().to_string())));
            file.read_exact(&mut head).map_err(|_| wrong())?;
            let block = if foxpro { u64::from(u16::from_be_bytes([head[6], head[7]])) } else { u64::from(u16::from_le_bytes([head[20], head[21]])) };
            return Ok(Some(Self { file, block: if block == 0 { 512 } else { block }, foxpro }));
        }
        Ok(None)
    }

    fn read(&mut self, block: u32) -> Result<Vec<u8>> {
        let cut = |_| fail(format!("the memo file has no text at block {block}"));
        self.file.seek(SeekFrom::Start(u64::from(block) * self.block)).map_err(cut)?;
        let mut head = [0u8; 8];
        self.file.read_exact(&mut head).map_err(cut)?;
        let length = if self.foxpro {
            u32::from_be_bytes([head[4], head[5], head[6], head[7]])
        } else if head[..4] == [0xff, 0xff, 0x08, 0x00] {
            u32::from_le_bytes([head[4], head[5], head[6], head[7]]).saturating_sub(8)
        } else {
            // dBASE III: the text ends with two bytes 0x1A.
            let mut text = head.to_vec();
            (&mut self.file).take(u64::from(MEMO_BYTES_MAX)).read_to_end(&mut text).map_err(cut)?;
            let end = text.windows(2).position(|w| w == [0x1a, 0x1a]).or_else(|| memchr::memchr(0x1a, &text)).unwrap_or(text.len());
            text.truncate(end);
            return Ok(text);
        };
        if length > MEMO_BYTES_MAX {
            return Err(fail(format!("a memo is larger than {} MiB", MEMO_BYTES_MAX >> 20)));
        }
        let mut text = vec![0; length as usize];
        self.file.read_exact(&mut text).map_err(cut)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::read_all;

    fn table() -> Vec<u8> {
        let mut out = vec![0u8; 32];
        out[0] = 3;
        out[4] = 3;
        let field = |name: &str, kind: u8, width: u8| {
            let mut f = [0u8; 32];
            f[..name.len()].copy_from_slice(name.as_bytes());
            (f[11], f[16]) = (kind, width);
            f
        };
        for f in [field("NOM", b'C', 6), field("SOLDE", b'N', 20), field("LE", b'D', 8), field("OK", b'L', 1)] {
            out.extend(f);
        }
        out.push(0x0d);
        let head = u16::try_from(out.len()).unwrap().to_le_bytes();
        out[8..10].copy_from_slice(&head);
        out[10..12].copy_from_slice(&36u16.to_le_bytes());
        out[29] = 0x02;
        out.extend(b" \x82t\x82   12345678901234567.9020251231T");
        out.extend(b"*gone                                "[..36].iter());
        out.extend(b" vide                              ?");
        out
    }

    #[test]
    fn numbers_stay_exact_and_deleted_records_are_passed_over() {
        let got = read_all(&Dbf, "", &table());
        assert_eq!(got, ["columns NOM|SOLDE|LE|OK", "1:1 été|12345678901234567.90|2025-12-31|true", "3:2 vide|||"]);
        let cut = read_all(&Dbf, "", &table()[..180]);
        assert!(cut.last().unwrap().starts_with("ERROR"), "{cut:?}");
        assert!(read_all(&Dbf, "", b"a;b;c\n1;2;3\n not a table at all, only text")[0].contains("is that of no DBF table"));
    }
}
