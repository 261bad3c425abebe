//! CSV as business programs write it: delimiter, quotes, escapes, headers, ragged rows, any single-byte encoding.
//!
//! Our own scanner rather than a crate's, for one reason: the `csv` crates prefer *a* parse to *no* parse, and a text
//! after a closing quote or a quote that is never closed would change values in silence. Here both are told.

mod scan;
mod writer;

use super::lines::Lines;
use super::text::{self, Charset};
use super::{Bytes, Format, Input, Next, Pieces, RecordReader, RecordWriter, Remark, Room, Side, Writing};
use crate::error::{Error, Result};
use crate::options::{Kind, Opt, Options};
use crate::record::{Columns, Record, Reject};
use scan::{Dialect, Fields, Scan, scan};
pub(super) use scan::{HoldBack, line_end, terminator};
use writer::Writer;

/// A record that grows beyond this is an unclosed quote or no CSV at all.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The format.
#[derive(Debug)]
pub struct Csv;

const INPUT: &[Opt] = &[
    Opt { name: "delimiter", kind: Kind::Char, default: Some("\",\""), doc: "The sign between two fields." },
    Opt { name: "quote", kind: Kind::CharOrNone, default: Some("\"\\\"\""), doc: "The sign around a field; \"\": quotes are data." },
    Opt { name: "escape", kind: Kind::CharOrNone, default: None, doc: "A sign that takes the next character as it is." },
    Opt { name: "header", kind: Kind::Flag, default: Some("true"), doc: "The first record names the columns." },
    Opt { name: "columns", kind: Kind::Texts, default: None, doc: "The columns of a file without a header." },
    Opt { name: "comment", kind: Kind::CharOrNone, default: None, doc: "Lines that begin with this sign are passed over." },
    Opt { name: "skip", kind: Kind::Integer(0), default: Some("0"), doc: "Lines to pass over at the beginning." },
    Opt { name: "skip_last", kind: Kind::Integer(0), default: Some("0"), doc: "Lines to pass over at the end, blank ones too." },
    Opt { name: "trim", kind: Kind::Flag, default: Some("false"), doc: "Remove spaces around values and column names." },
    Opt { name: "line_ending", kind: Kind::Text, default: None, doc: "What ends a line; default: LF, CRLF and CR are recognised." },
    Opt { name: "allow_extra_columns", kind: Kind::Flag, default: Some("false"), doc: "Surplus cells are dropped instead of rejecting the record." },
    Opt { name: "allow_optional_columns", kind: Kind::Flag, default: Some("false"), doc: "Missing cells are empty instead of rejecting the record." },
];

const OUTPUT: &[Opt] = &[
    Opt { name: "delimiter", kind: Kind::Char, default: Some("\",\""), doc: "The sign between two fields." },
    Opt {
        name: "quote",
        kind: Kind::CharOrNone,
        default: Some("\"\\\"\""),
        doc: "The sign around a field; \"\": values stand as they are, as with quoting = \"none\".",
    },
    Opt { name: "escape", kind: Kind::CharOrNone, default: None, doc: "Stands before a quote inside a field; default: the quote is doubled." },
    Opt { name: "header", kind: Kind::Flag, default: Some("true"), doc: "Write the names of the targets first." },
    Opt { name: "quoting", kind: Kind::Choice(&["minimal", "all", "nonnumeric", "none"]), default: Some("\"minimal\""), doc: "Which fields get quotes." },
    Opt { name: "line_ending", kind: Kind::Text, default: Some("\"\\n\""), doc: "What ends a line." },
];

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }
    fn extension(&self) -> &'static str {
        "csv"
    }
    fn input_options(&self) -> &'static [Opt] {
        INPUT
    }
    fn output_options(&self) -> &'static [Opt] {
        OUTPUT
    }
    fn may_be_empty(&self) -> bool {
        true
    }
    fn joins(&self) -> bool {
        true
    }
    fn has_columns(&self) -> bool {
        true
    }
    fn mistakes(&self, o: &Options, side: Side) -> Vec<(&'static str, String)> {
        let quoting = o.word("quoting");
        let clash = side == Side::Output && o.char("quote").is_none() && matches!(quoting.as_str(), "all" | "nonnumeric");
        let named = side == Side::Input && o.has("header") && o.flag("header") && o.has("columns");
        let named = named.then(|| ("header", "`columns` names the columns of a file without a header: its first line would be a record".to_owned()));
        let clash = clash.then(|| ("quoting", format!("{quoting:?} needs a quote, and quote = \"\" sets none")));
        clash.into_iter().chain(named).collect()
    }
    fn reader(&self, options: &Options, input: Input, _: &Room) -> Result<Box<dyn RecordReader>> {
        Ok(Box::new(Reader::new(options, input)?))
    }
    fn writer(&self, options: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>> {
        Ok(Box::new(Writer::new(options, writing)))
    }
}

/// Takes a record as it stands, quotes and delimiters between its fields included.
fn push_whole(out: &mut String, spans: &mut Vec<(usize, usize)>, text: &str, made: &str, fields: &Fields) {
    out.push_str(text);
    out.push_str(made);
    fields.joined(text.len(), spans);
}

/// What can't be decoded in a record.
enum Undecodable {
    /// This byte.
    Byte(u8),
    /// Something that was replaced when the stream was decoded as a whole.
    Replaced,
}

struct Reader {
    input: Input,
    charset: Charset,
    /// The stream was decoded as a whole, before it was cut into records.
    transcoded: bool,
    dialect: Dialect,
    columns: Columns,
    buf: Vec<u8>,
    at: usize,
    end: bool,
    line: u64,
    number: u64,
    /// A piece as text, decoded as a whole: then `buf` is what it was made of, and is not looked at.
    text: Option<String>,
    /// The fields of the record in hand, whose bytes begin at `start` in `buf`.
    fields: Fields,
    start: usize,
    surplus: u64,
    surplus_line: u64,
    comments: u64,
    /// The first record of a file without header and without declared columns was read to count them.
    replay: bool,
}

impl Reader {
    /// A reader of nothing.
    fn empty() -> Self {
        Self {
            input: Box::new(std::io::empty()),
            charset: Charset::utf8(),
            transcoded: false,
            dialect: Dialect::default(),
            columns: Columns::default(),
            buf: Vec::new(),
            text: None,
            at: 0,
            end: false,
            line: 1,
            number: 0,
            fields: Fields::default(),
            start: 0,
            surplus: 0,
            surplus_line: 0,
            comments: 0,
            replay: false,
        }
    }

    fn new(o: &Options, input: Input) -> Result<Self> {
        let label = o.text("encoding").unwrap_or_else(|| "utf-8".into());
        let charset = Charset::named(&label).unwrap_or_else(Charset::utf8);
        let (mut input, charset, transcoded) = text::open(input, charset)?;
        if let Some(lines) = o.count("skip_last").filter(|n| *n > 0) {
            input = Box::new(HoldBack::new(input, lines));
        }
        let mut reader = Self { dialect: Dialect::new(o, charset)?, input, charset, transcoded, buf: Vec::with_capacity(super::CHUNK_BYTES), ..Self::empty() };
        for _ in 0..o.count("skip").unwrap_or(0) {
            reader.skip_line()?;
        }
        if let Some(columns) = o.texts("columns") {
            reader.columns = Columns::from_header(columns.iter().map(String::as_str));
            if o.flag("header") && o.has("header") {
                reader.scan_record()?;
                reader.line += reader.lines_in_record();
            }
        } else if o.flag("header") {
            reader.read_header()?;
        } else if reader.scan_record()? {
            reader.columns = Columns::from_header(std::iter::repeat_n("", reader.fields.spans.len()));
            reader.replay = true;
        }
        Ok(reader)
    }

    fn read_header(&mut self) -> Result<()> {
        let line = self.line;
        let Some(malformed) = self.scan()? else {
            return Err(
                Error::file("there is no header: the file holds no record").hint("send files with a header, or set input.header = false and input.columns")
            );
        };
        if let Some(field) = malformed {
            return Err(Error::file(format!("the header: {}", stray(field))).on_line(line).hint("check input.delimiter and input.quote"));
        }
        let mut record = Record::default();
        if let Some(bad) = self.decode(&mut record) {
            return Err(self.undecodable(&bad, "the header").on_line(line));
        }
        self.line += self.lines_in_record();
        let trim = self.dialect.trim;
        self.columns = Columns::from_header(record.fields().map(|name| if trim { name.trim() } else { name }));
        Ok(())
    }

    fn undecodable(&self, bad: &Undecodable, what: &str) -> Error {
        let e = match bad {
            Undecodable::Byte(byte) => Error::file(format!("{what} holds the byte 0x{byte:02X}, which is not {}", self.charset.name())),
            Undecodable::Replaced => return Error::file(format!("{what} holds bytes that can't be decoded")),
        };
        if self.charset.is_utf8() { e.hint("declare how A writes, for instance input.encoding = \"windows-1252\"") } else { e }
    }

    fn bytes(&self) -> &[u8] {
        self.text.as_deref().map_or(&*self.buf, str::as_bytes)
    }

    /// Decodes a piece as a whole, if all of it can be.
    fn decoded(mut self) -> Self {
        if self.charset.is_utf8() {
            self.text = crate::sys::utf8(std::mem::take(&mut self.buf)).map_err(|bytes| self.buf = bytes).ok();
        } else if self.dialect.delimiter.is_ascii() && self.dialect.quote.is_none_or(|q| q.is_ascii()) {
            let mut text = String::with_capacity(self.buf.len() + self.buf.len() / 8);
            if self.charset.decode_into(&self.buf, &mut text).is_none() {
                self.text = Some(text);
            }
        }
        self
    }

    /// Reads more bytes; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if self.end {
            return Ok(false);
        }
        if self.at > 0 {
            self.buf.drain(..self.at);
            self.at = 0;
        }
        if self.buf.len() > RECORD_BYTES_MAX {
            return Err(Error::file(format!("the record is larger than {} MiB", RECORD_BYTES_MAX >> 20))
                .hint("most often a quote that is never closed, or a file that is no CSV: check input.delimiter and input.quote")
                .on_line(self.line));
        }
        self.end = super::read_on(&mut self.input, &mut self.buf)? == 0;
        Ok(true)
    }

    fn skip_line(&mut self) -> Result<()> {
        loop {
            let rest = &self.bytes()[self.at..];
            if let Some((len, _)) = line_end(rest, self.end, self.dialect.terminator.as_deref()) {
                self.at += len;
                self.line += 1;
                return Ok(());
            }
            if !self.fill()? {
                self.at = self.bytes().len();
                return Ok(());
            }
        }
    }

    /// Takes the next record's fields; false at the end. Empty lines and comments are passed over.
    fn scan_record(&mut self) -> Result<bool> {
        self.scan().map(|found| found.is_some())
    }

    /// As `scan_record`, with the number of the field behind whose closing quote text stands, where one is malformed so.
    fn scan(&mut self) -> Result<Option<Option<usize>>> {
        loop {
            let rest = &self.bytes()[self.at..];
            if rest.is_empty() {
                if !self.fill()? {
                    return Ok(None);
                }
                continue;
            }
            if Lines::is_end_mark(rest) {
                if !self.fill()? {
                    self.at = self.bytes().len();
                    return Ok(None);
                }
                continue;
            }
            let comment = self.dialect.comment.is_some_and(|c| rest[0] == c);
            if comment || scan::starts_line_end(rest, self.dialect.terminator.as_deref()) {
                match line_end(rest, self.end, self.dialect.terminator.as_deref()) {
                    Some((len, text)) if text == 0 || comment => {
                        self.at += len;
                        self.line += 1;
                        self.comments += u64::from(comment);
                        continue;
                    }
                    None if self.fill()? => continue,
                    None if comment => {
                        self.at = self.bytes().len();
                        self.comments += 1;
                        continue;
                    }
                    _ => {}
                }
            }
            self.start = self.at;
            let bytes = self.text.as_deref().map_or(&*self.buf, str::as_bytes);
            match scan(&bytes[self.at..], self.end, &self.dialect, &mut self.fields) {
                Scan::More => {
                    self.fill()?;
                }
                Scan::Record(len) => {
                    self.at += len;
                    return Ok(Some(None));
                }
                Scan::Stray(len, field) => {
                    self.at += len;
                    return Ok(Some(Some(field)));
                }
                Scan::Open(field) => {
                    return Err(Error::file(format!("the quote that opens field {field} of this record is never closed"))
                        .hint("close the quote; if quotes are plain data in this export, set input.quote = \"\"")
                        .on_line(self.line));
                }
            }
        }
    }

    /// Decodes the fields into the record; the first byte that can't be decoded is returned.
    fn decode(&self, record: &mut Record) -> Option<Undecodable> {
        let (mut bad, mut unread) = (None, Vec::new());
        let raw = &self.bytes()[self.start..self.start + self.fields.len];
        let fields = &self.fields;
        record.fill(|out, spans| {
            // A record of plain UTF-8 is taken as it stands, quotes and delimiters between its fields included.
            if let Some(text) = self.text.as_ref().and_then(|t| t.get(self.start..self.start + fields.len))
                && let Ok(made) = std::str::from_utf8(&fields.made)
            {
                push_whole(out, spans, text, made, fields);
                return;
            }
            let utf8 = self.charset.is_utf8() || (raw.is_ascii() && fields.made.is_ascii());
            if utf8 && let (Ok(text), Ok(made)) = (std::str::from_utf8(raw), std::str::from_utf8(&fields.made)) {
                push_whole(out, spans, text, made, fields);
                return;
            }
            for span in &fields.spans {
                let start = out.len();
                let byte = self.charset.decode_into(fields.bytes(raw, *span), out);
                unread.extend(byte.map(|_| spans.len()));
                bad = bad.or(byte);
                spans.push((start, out.len()));
            }
        });
        if bad.is_none() && self.transcoded {
            unread.extend(record.fields().enumerate().filter(|(_, f)| f.contains('\u{fffd}')).map(|(i, _)| i));
        }
        let replaced = bad.is_none() && !unread.is_empty();
        record.faults.extend(unread.into_iter().map(|i| (i, "it can't be decoded".to_owned())));
        if replaced { Some(Undecodable::Replaced) } else { bad.map(Undecodable::Byte) }
    }

    fn check_width(&mut self, record: &mut Record) -> Option<Reject> {
        let (found, wanted) = (record.len(), self.columns.names.len());
        if found > wanted {
            if (wanted..found).all(|i| record.field(i).is_empty()) {
                self.surplus += 1;
                if self.surplus == 1 {
                    self.surplus_line = record.line;
                }
                record.truncate(wanted);
            } else if self.dialect.extra {
                record.truncate(wanted);
            } else {
                return Some(Reject::record(format!("{found} fields instead of {wanted}: a delimiter inside a value needs quotes around it")));
            }
        } else if found < wanted {
            if !self.dialect.optional {
                return Some(Reject::record(format!("{found} fields instead of {wanted}")));
            }
            for _ in found..wanted {
                record.push("");
            }
        }
        None
    }
}

fn stray(field: usize) -> String {
    format!("text stands after the closing quote of field {field}: a quote inside a quoted field must be doubled")
}

impl RecordReader for Reader {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        record.clear();
        let malformed = if std::mem::take(&mut self.replay) {
            None
        } else {
            match self.scan()? {
                None => return Ok(Next::End),
                Some(malformed) => malformed,
            }
        };
        self.number += 1;
        record.number = self.number;
        // The scanner stands behind the record: its line is counted from what it consumed.
        record.line = self.line;
        let bad = self.decode(record);
        self.line += self.lines_in_record();
        if let Some(field) = malformed {
            let reason = stray(field);
            record.faults.push((field.saturating_sub(1), reason.clone()));
            return Ok(Next::Bad(Reject::record(reason)));
        }
        if let Some(bad) = bad {
            return Ok(Next::Bad(Reject::record(self.undecodable(&bad, "the record").message())));
        }
        if let Some(reject) = self.check_width(record) {
            return Ok(Next::Bad(reject));
        }
        if self.dialect.trim {
            record.trim();
        }
        Ok(Next::Record)
    }

    fn remarks(&self) -> Vec<Remark> {
        let surplus = Remark { what: "records have surplus empty cells, which were dropped", count: self.surplus, line: self.surplus_line };
        let comments = Remark { what: "comment lines were passed over", count: self.comments, line: 0 };
        [surplus, comments].into_iter().filter(|r| r.count > 0).collect()
    }

    fn pieces(&mut self) -> Option<Pieces> {
        let d = &self.dialect;
        // Where a quote may be escaped or stand in a comment, counting quotes says nothing.
        if d.escape.is_some() || d.comment.is_some() || d.terminator.is_some() || self.replay {
            return None;
        }
        let rest = super::ahead(&mut self.buf, &mut self.at, &mut self.input);
        self.end = true;
        let (charset, transcoded, dialect, columns) = (self.charset, self.transcoded, self.dialect.clone(), self.columns.clone());
        let reader = move |bytes: Bytes, line: u64| -> Box<dyn RecordReader> {
            let (input, buf, end) = bytes.open();
            let reader = Reader { input, charset, transcoded, dialect: dialect.clone(), columns: columns.clone(), buf, end, line, ..Reader::empty() };
            Box::new(if end { reader.decoded() } else { reader })
        };
        Some(Pieces { rest, line: self.line, quote: self.dialect.quote, reader: Box::new(reader) })
    }

    fn into_bytes(self: Box<Self>) -> Vec<u8> {
        match self.text {
            // The text of UTF-8 is the piece itself.
            Some(text) if self.charset.is_utf8() => text.into_bytes(),
            _ => self.buf,
        }
    }
}

impl Reader {
    /// How many lines the record in hand took: one, and one for each line end inside its fields.
    fn lines_in_record(&self) -> u64 {
        if !self.fields.quoted && self.dialect.terminator.is_none() && self.dialect.escape.is_none() {
            return 1;
        }
        let s = &self.bytes()[self.start..self.start + self.fields.len];
        let lf = memchr::memchr_iter(b'\n', s).count();
        let lone_cr = memchr::memchr_iter(b'\r', s).filter(|i| s.get(i + 1) != Some(&b'\n')).count();
        (1 + lf + lone_cr) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{options, read_all, write_all};
    use crate::record::Value;

    fn read(keys: &str, bytes: &[u8]) -> Vec<String> {
        read_all(&Csv, keys, bytes)
    }

    #[test]
    fn quotes_line_ends_and_doubled_quotes_are_taken_as_rfc_4180_says() {
        let got = read("", b"a,b\r\n\"x, \"\"y\"\"\",\"1\n2\"\r\n3,\r\n");
        assert_eq!(got, ["columns a|b", "2:1 x, \"y\"|1\n2", "4:2 3|"]);
    }

    #[test]
    fn lf_crlf_and_cr_end_lines() {
        assert_eq!(read("", b"a\r1\r2\n3\r\n4"), ["columns a", "2:1 1", "3:2 2", "4:3 3", "5:4 4"]);
    }

    #[test]
    fn text_behind_a_closing_quote_rejects_one_record_only() {
        let got = read("delimiter = ';'", b"a;b\n\"Jean \"Jo\" D\";1\nx;2\n");
        assert!(got[1].starts_with("2:1 BAD text stands after the closing quote of field 1"), "{got:?}");
        assert_eq!(got[2], "3:2 x|2");
        assert!(read("", b"\"a\"b,c\n1,2\n")[0].starts_with("ERROR line 1: the header: text stands after"), "a header gives no names then");
    }

    #[test]
    fn a_quote_that_is_never_closed_names_its_line() {
        let got = read("", b"a,b\n1,2\n3,\"4\n5,6\n");
        assert_eq!(got[2], "ERROR line 3: the quote that opens field 2 of this record is never closed");
    }

    #[test]
    fn ragged_rows_are_told_and_surplus_empty_cells_dropped() {
        let got = read("", b"a,b\n1,2,,\n1\n1,2,3\n");
        assert_eq!(got[1], "2:1 1|2");
        assert!(got[2].contains("BAD 1 fields instead of 2"), "{got:?}");
        assert!(got[3].contains("BAD 3 fields instead of 2"), "{got:?}");
        assert_eq!(read("allow_extra_columns = true\nallow_optional_columns = true", b"a,b\n1\n1,2,3\n")[1..], ["2:1 1|", "3:2 1|2"]);
    }

    #[test]
    fn bytes_that_the_encoding_lacks_reject_their_record() {
        let got = read("", b"a\ncaf\xe9\nok\n");
        assert!(got[1].contains("BAD the record holds the byte 0xE9, which is not utf-8"), "{got:?}");
        assert_eq!(got[2], "3:2 ok");
        assert_eq!(read("encoding = 'windows-1252'", b"a\ncaf\xe9 \x80\n")[1], "2:1 café €");
        assert!(read("", b"caf\xe9,b\n1,2\n")[0].contains("input.encoding = \"windows-1252\""));
    }

    #[test]
    fn lines_at_both_ends_and_comments_are_passed_over() {
        let keys = "skip = 2\nskip_last = 1\ncomment = '#'";
        assert_eq!(read(keys, b"Report\n\na,b\n#c\n1,2\n\n3,4\nTotal,6\n"), ["columns a|b", "5:1 1|2", "7:2 3|4"]);
    }

    #[test]
    fn a_file_without_header_has_numbered_or_declared_columns() {
        assert_eq!(read("header = false", b"1,2\n3,4\n"), ["columns column1|column2", "1:1 1|2", "2:2 3|4"]);
        assert_eq!(read("header = false\ncolumns = ['x', 'y']", b"1,2\n"), ["columns x|y", "1:1 1|2"]);
    }

    #[test]
    fn quotes_are_data_when_there_is_no_quote_and_escapes_are_undone() {
        assert_eq!(read("quote = ''", b"a,b\n\"1,2\"\n")[1], "2:1 \"1|2\"");
        assert_eq!(read("escape = '\\'", b"a,b\n\"x\\\"y\",z\\,\n")[1], "2:1 x\"y|z,");
        assert_eq!(read("line_ending = '||'\nquote = ''", b"a,b||1,2\n||3,4"), ["columns a|b", "2:1 1|2\n", "4:2 3|4"]);
    }

    #[test]
    fn fields_are_quoted_only_where_they_must_be() {
        let rows = [vec![Value::text("a,b"), Value::text("1\n2")], vec![Value::text("q\"q"), Value::Number(15.into())], vec![Value::Null, Value::text(" x")]];
        assert_eq!(write_all(&Csv, "", &["t", "n"], &rows), "t,n\n\"a,b\",\"1\n2\"\n\"q\"\"q\",15\n, x\n");
        assert_eq!(write_all(&Csv, "quoting = 'nonnumeric'\nheader = false", &["t", "n"], &rows[1..2]), "\"q\"\"q\",15\n");
        assert_eq!(write_all(&Csv, "", &["t"], &[vec![Value::Null]]), "t\n\"\"\n");
        assert!(write_all(&Csv, "quoting = 'none'", &["t", "n"], &rows).contains("REJECT t: the value holds the delimiter"));
    }

    #[test]
    fn records_are_the_same_however_the_bytes_arrive() {
        struct Slow(Vec<u8>, usize, usize);
        impl std::io::Read for Slow {
            fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
                let n = self.2.min(self.0.len() - self.1).min(to.len());
                to[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
                self.1 += n;
                Ok(n)
            }
        }
        let bytes = "a;b\r\n\"é\r\n\"\"x\";2\r\n\r\n;\n".repeat(3).into_bytes();
        let whole = read("delimiter = ';'", &bytes);
        for step in 1..12 {
            let input = Box::new(Slow(bytes.clone(), 0, step));
            let mut reader = Csv.reader(&options(&Csv, "delimiter = ';'"), input, &crate::formats::testing::room()).unwrap();
            assert_eq!(crate::formats::testing::drain(&mut *reader), whole, "{step} bytes at a time");
        }
    }
}
