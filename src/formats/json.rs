//! JSON (one document with an array of records) and NDJSON (one record a line).
//!
//! The array is cut into its elements by a small scanner that keeps no more than one element; `serde_json` judges
//! each element. Numbers keep all their digits: nothing here goes through a float.

mod value;
mod writer;

use super::names::Names;
use writer::Writer;
pub use writer::to_text;

/// The value that a JSON text is; none: it is no JSON.
pub fn from_text(text: &str) -> Option<crate::record::Value<'static>> {
    value::parse(text.as_bytes(), &mut super::names::Names::default()).ok()
}

pub(super) use writer::{Slot, slots_of};

use super::text::{self, Charset};
use super::{Bytes, Format, Input, Next, Pieces, RecordReader, RecordWriter, Remark, Room, Writing};
use crate::error::{Error, Result};
use crate::options::{Kind, Opt, Options};
use crate::record::{Columns, Record, Reject};

/// One element that grows beyond this is refused: a record must fit in memory.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What ends a line of the output, as for every text format.
const LINE_ENDING: Opt = Opt { name: "line_ending", kind: Kind::Text, default: Some("\"\\n\""), doc: "What ends a line." };

/// One JSON document.
#[derive(Debug)]
pub struct Json;

/// One JSON value a line.
#[derive(Debug)]
pub struct Ndjson;

const JSON_INPUT: &[Opt] =
    &[Opt { name: "records", kind: Kind::Text, default: Some("\"\""), doc: "JSON Pointer to the array of records; default: the document itself." }];
const JSON_OUTPUT: &[Opt] = &[
    LINE_ENDING,
    Opt { name: "wrap", kind: Kind::Text, default: Some("\"\""), doc: "JSON Pointer at which the array of records stands." },
    Opt { name: "indent", kind: Kind::Integer(0), default: Some("0"), doc: "Spaces by which each level is indented; 0: one record a line." },
];

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }
    fn extension(&self) -> &'static str {
        "json"
    }
    fn input_options(&self) -> &'static [Opt] {
        JSON_INPUT
    }
    fn output_options(&self) -> &'static [Opt] {
        JSON_OUTPUT
    }
    fn has_columns(&self) -> bool {
        false
    }
    fn declared(&self, _: &Options) -> Option<Columns> {
        Some(Columns::nested())
    }
    fn reader(&self, o: &Options, input: Input, _: &Room) -> Result<Box<dyn RecordReader>> {
        Reader::new(o, input, Some(pointer(&o.word("records")))).map(|r| Box::new(r) as Box<dyn RecordReader>)
    }
    fn writer(&self, o: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>> {
        Ok(Box::new(Writer::new(writing, Some(pointer(&o.word("wrap"))), o.count("indent").unwrap_or(0), o.word("line_ending"))))
    }
}

impl Format for Ndjson {
    fn name(&self) -> &'static str {
        "ndjson"
    }
    fn extension(&self) -> &'static str {
        "ndjson"
    }
    fn input_options(&self) -> &'static [Opt] {
        &[]
    }
    fn output_options(&self) -> &'static [Opt] {
        &[LINE_ENDING]
    }
    fn may_be_empty(&self) -> bool {
        true
    }
    fn joins(&self) -> bool {
        true
    }
    fn has_columns(&self) -> bool {
        false
    }
    fn declared(&self, _: &Options) -> Option<Columns> {
        Some(Columns::nested())
    }
    fn reader(&self, o: &Options, input: Input, _: &Room) -> Result<Box<dyn RecordReader>> {
        Reader::new(o, input, None).map(|r| Box::new(r) as Box<dyn RecordReader>)
    }
    fn writer(&self, o: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>> {
        Ok(Box::new(Writer::new(writing, None, 0, o.word("line_ending"))))
    }
}

/// The steps of a JSON Pointer (RFC 6901).
fn pointer(text: &str) -> Vec<String> {
    text.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

struct Reader {
    input: Input,
    columns: Columns,
    buf: Vec<u8>,
    at: usize,
    end: bool,
    line: u64,
    number: u64,
    /// The containers around the array that are still open: what closes each, and the step that led into it; none: one
    /// record a line.
    around: Option<Vec<(u8, String)>>,
    first: bool,
    done: bool,
    names: Names,
    /// One document, not one value a line.
    document: bool,
    /// It is written in another encoding: U+FFFD stands for what can't be decoded.
    decoded: bool,
}

impl Reader {
    /// A reader of nothing.
    fn empty() -> Self {
        Self {
            input: Box::new(std::io::empty()),
            columns: Columns::nested(),
            buf: Vec::new(),
            at: 0,
            end: false,
            line: 1,
            number: 0,
            around: None,
            first: true,
            done: false,
            names: Names::default(),
            document: false,
            decoded: false,
        }
    }

    fn new(o: &Options, input: Input, records: Option<Vec<String>>) -> Result<Self> {
        let charset = o.text("encoding").and_then(|l| Charset::named(&l)).unwrap_or_else(Charset::utf8);
        let (input, decoded) = text::utf8(input, charset)?;
        let mut reader = Self { input, decoded, document: records.is_some(), ..Self::empty() };
        if let Some(steps) = records {
            reader.around = Some(Vec::new());
            reader.enter(&steps)?;
        }
        Ok(reader)
    }

    fn fail(&self, message: impl Into<String>) -> Error {
        Error::file(message).on_line(self.line).hint("check that the file is whole and that input.format and input.records fit it")
    }

    fn fill(&mut self) -> Result<bool> {
        if self.end {
            return Ok(false);
        }
        self.buf.drain(..self.at);
        self.at = 0;
        if self.buf.len() > RECORD_BYTES_MAX {
            return Err(self.fail(format!("a record is larger than {} MiB", RECORD_BYTES_MAX >> 20)));
        }
        self.end = super::read_on(&mut self.input, &mut self.buf)? == 0;
        Ok(!self.end)
    }

    /// The next byte that is no white space, without taking it.
    fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            while let Some(&b) = self.buf.get(self.at) {
                match b {
                    b'\n' => self.line += 1,
                    // A lone CR ends a line too.
                    b'\r' if self.buf.get(self.at + 1).is_some_and(|next| *next != b'\n') => self.line += 1,
                    b' ' | b'\t' | b'\r' => {}
                    _ => return Ok(Some(b)),
                }
                self.at += 1;
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn demand(&mut self, wanted: u8, place: &str) -> Result<()> {
        match self.peek()? {
            Some(b) if b == wanted => {
                self.at += 1;
                Ok(())
            }
            Some(b) => Err(self.fail(format!("\"{}\" stands where {place} needs \"{}\"", crate::error::shown_bytes(&[b]), char::from(wanted)))),
            None => Err(self.fail(format!("the file ends where {place} needs \"{}\"", char::from(wanted)))),
        }
    }

    /// Where the value at `at` ends; the whole value is then in the buffer.
    fn value_end(&mut self) -> Result<usize> {
        let mut len = 0;
        let mut depth = 0usize;
        let mut string = false;
        loop {
            while let Some(&b) = self.buf.get(self.at + len) {
                if string {
                    match b {
                        b'\\' => {
                            if self.buf.get(self.at + len + 1).is_none() {
                                break;
                            }
                            len += 1;
                        }
                        b'"' => {
                            string = false;
                            if depth == 0 {
                                return Ok(self.at + len + 1);
                            }
                        }
                        _ => {}
                    }
                } else {
                    match b {
                        b'"' if len == 0 || depth > 0 => string = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' if depth == 0 => return Ok(self.at + len),
                        b'}' | b']' => {
                            depth -= 1;
                            if depth == 0 {
                                return Ok(self.at + len + 1);
                            }
                        }
                        b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return Ok(self.at + len),
                        _ => {}
                    }
                }
                len += 1;
            }
            if !self.fill()? {
                if depth > 0 || string {
                    return Err(self.fail("the file ends inside a value"));
                }
                return Ok(self.at + len);
            }
        }
    }

    /// Takes a value; gives its bytes' range in the buffer and counts its lines.
    fn take(&mut self) -> Result<std::ops::Range<usize>> {
        let end = self.value_end()?;
        let range = self.at..end;
        if range.is_empty() {
            return Err(self.fail("a value is missing"));
        }
        self.at = end;
        Ok(range)
    }

    fn count_lines(&mut self, range: std::ops::Range<usize>) {
        self.line += memchr::memchr_iter(b'\n', &self.buf[range]).count() as u64;
    }

    /// Skips a value that is not asked for, but must be JSON all the same.
    fn skip_value(&mut self) -> Result<()> {
        let range = self.take()?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&self.buf[range.clone()]).map_err(|e| self.fail(json_reason(&self.buf[range.clone()], &e)))?;
        self.count_lines(range);
        Ok(())
    }

    fn key(&mut self) -> Result<String> {
        let range = self.take()?;
        let key = serde_json::from_slice::<String>(&self.buf[range.clone()]).map_err(|_| self.fail("a name in quotes is missing"))?;
        self.count_lines(range);
        self.peek()?;
        self.demand(b':', "an object")?;
        self.peek()?;
        Ok(key)
    }

    /// Walks down to the array of records.
    fn enter(&mut self, steps: &[String]) -> Result<()> {
        for step in steps {
            match self.peek()? {
                Some(b'{') => {
                    self.at += 1;
                    loop {
                        if self.peek()? == Some(b'}') {
                            return Err(self.fail(format!("input.records: there is no {} on the way to the records", text::quoted(step))));
                        }
                        if self.key()? == *step {
                            break;
                        }
                        self.skip_value()?;
                        if self.peek()? != Some(b',') {
                            return Err(self.fail(format!("input.records: there is no {} on the way to the records", text::quoted(step))));
                        }
                        self.at += 1;
                        self.peek()?;
                    }
                    self.open(b'}', step);
                }
                Some(b'[') => {
                    self.at += 1;
                    let index: usize = step.parse().map_err(|_| self.fail(format!("input.records: {} is no index of a list", text::quoted(step))))?;
                    for _ in 0..index {
                        self.peek()?;
                        self.skip_value()?;
                        self.demand(b',', "a list")?;
                    }
                    self.peek()?;
                    self.open(b']', step);
                }
                _ => return Err(self.fail(format!("input.records: nothing can be entered at {}", text::quoted(step)))),
            }
        }
        match self.peek()? {
            Some(b'[') => {
                self.at += 1;
                self.open(b']', "");
                Ok(())
            }
            Some(b'n') if !steps.is_empty() => Err(self.fail("input.records: null stands where the list of records is expected")),
            // A document that is no list is one record.
            Some(_) => Ok(()),
            None => Err(self.fail("the file holds no JSON")),
        }
    }

    fn open(&mut self, closing: u8, step: &str) {
        if let Some(around) = &mut self.around {
            around.push((closing, step.to_owned()));
        }
    }

    /// Behind the last record: what is open must be closed, and nothing may follow.
    fn leave(&mut self) -> Result<()> {
        self.done = true;
        for (closing, step) in self.around.take().unwrap_or_default().into_iter().rev() {
            while self.peek()? == Some(b',') {
                self.at += 1;
                self.peek()?;
                if closing == b'}' && self.key()? == step {
                    return Err(self.fail(format!("{} stands twice on the way to the records", text::quoted(&step))));
                }
                self.skip_value()?;
            }
            self.demand(closing, "the end of the records")?;
        }
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.fail("something follows the end of the document")),
        }
    }

    /// The next record's range in a document; none at its end.
    fn next_element(&mut self) -> Result<Option<std::ops::Range<usize>>> {
        let in_list = self.around.as_ref().is_some_and(|a| a.last().is_some_and(|(closing, _)| *closing == b']'));
        let next = self.peek()?;
        let last = if !in_list {
            !self.first
        } else if self.first {
            next == Some(b']')
        } else {
            next != Some(b',')
        };
        if last {
            self.leave()?;
            return Ok(None);
        }
        if in_list && !self.first {
            self.at += 1;
            self.peek()?;
        }
        self.first = false;
        self.take().map(Some)
    }

    /// The next line's range; none at the end of the file.
    fn next_line(&mut self) -> Result<Option<std::ops::Range<usize>>> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        loop {
            if let Some(len) = memchr::memchr2(b'\n', b'\r', &self.buf[self.at..]) {
                let range = self.at..self.at + len;
                self.at += len;
                return Ok(Some(range));
            }
            if !self.fill()? {
                let range = self.at..self.buf.len();
                self.at = self.buf.len();
                return Ok(Some(range));
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
        if self.done {
            return Ok(Next::End);
        }
        let range = if self.around.is_some() { self.next_element()? } else { self.next_line()? };
        let Some(range) = range else { return Ok(Next::End) };
        self.number += 1;
        record.number = self.number;
        record.line = self.line;
        record.raw.extend_from_slice(&self.buf[range.clone()]);
        let parsed = value::parse(&record.raw, &mut self.names).map_err(|e| json_reason(&record.raw, &e));
        let line = self.line;
        self.count_lines(range);
        match parsed {
            Ok(_) if self.decoded && memchr::memmem::find(&record.raw, text::REPLACED).is_some() => Ok(Next::Bad(undecodable())),
            Ok(value) => {
                record.tree = Some(value);
                Ok(Next::Record)
            }
            // A document that is wrong in one place is no JSON; lines stand each for itself.
            Err(why) if self.document && !only_undecodable(&record.raw) => Err(self.fail(why).on_line(line)),
            Err(why) => Ok(Next::Bad(Reject::record(why))),
        }
    }

    fn remarks(&self) -> Vec<Remark> {
        Vec::new()
    }

    fn pieces(&mut self) -> Option<Pieces> {
        // Lines stand each for itself; a document does not.
        if self.document {
            return None;
        }
        let rest = super::ahead(&mut self.buf, &mut self.at, &mut self.input);
        self.end = true;
        let decoded = self.decoded;
        let reader = move |bytes: Bytes, line: u64| -> Box<dyn RecordReader> {
            let (input, buf, end) = bytes.open();
            Box::new(Reader { input, buf, end, line, decoded, ..Reader::empty() })
        };
        Some(Pieces { rest, line: self.line, quote: None, reader: Box::new(reader) })
    }

    fn into_bytes(self: Box<Self>) -> Vec<u8> {
        self.buf
    }
}

/// What can't be decoded rejects its record.
fn undecodable() -> Reject {
    Reject::record("the record holds bytes that can't be decoded".to_owned())
}

/// Whether what is no JSON would be, if all its bytes could be decoded.
fn only_undecodable(raw: &[u8]) -> bool {
    std::str::from_utf8(raw).is_err() && serde_json::from_str::<serde::de::IgnoredAny>(&String::from_utf8_lossy(raw)).is_ok()
}

/// Why `raw` is no JSON; bytes of another encoding are told as what they are.
fn json_reason(raw: &[u8], e: &serde_json::Error) -> String {
    if let Err(wrong) = std::str::from_utf8(raw)
        && let Some(byte) = raw.get(wrong.valid_up_to())
    {
        return format!("not JSON: it holds the byte 0x{byte:02X}, which is not UTF-8: declare input.encoding, as in \"windows-1252\"");
    }
    let text = e.to_string();
    format!("not JSON: {}", text.split(" at line ").next().unwrap_or(&text))
}

#[cfg(test)]
pub(crate) mod testing {
    /// The value of a JSON text.
    pub(crate) fn parsed(text: &str) -> crate::record::Value<'static> {
        super::value::parse(text.as_bytes(), &mut super::Names::default()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{read_all, write_all};
    use crate::record::Value;

    #[test]
    fn numbers_keep_their_digits() {
        let bytes = br#"[{"n": 0.10, "big": 12345678901234567890123456789012345, "e": 1e+400}]"#;
        assert_eq!(read_all(&Json, "", bytes)[1], r#"1:1 {"n":0.10,"big":12345678901234567890123456789012345,"e":1e+400}"#);
    }

    #[test]
    fn a_pointer_leads_to_the_records_and_the_rest_must_be_json() {
        let bytes = b"{\"meta\": {\"x\": [1]},\n \"a/b\": {\"rows\": [\n{\"k\": 1},\n{\"k\": 2}], \"more\": 1}, \"z\": null}\n";
        assert_eq!(read_all(&Json, "records = '/a~1b/rows'", bytes), ["columns ", "3:1 {\"k\":1}", "4:2 {\"k\":2}"]);
        let cut = read_all(&Json, "records = '/rows'", b"{\"rows\": [{\"k\": 1}");
        assert!(cut[2].contains("the file ends where the end of the records needs \"]\""), "{cut:?}");
        assert!(read_all(&Json, "records = '/rows'", b"{\"row\": []}")[0].contains("there is no \"rows\""));
        let twice = read_all(&Json, "records = '/rows'", b"{\"rows\": [{\"k\": 1}], \"rows\": [{\"k\": 2}]}");
        assert!(twice[2].contains("\"rows\" stands twice on the way to the records"), "{twice:?}");
    }

    #[test]
    fn documents_that_are_not_json_are_refused() {
        for bad in ["[{\"a\":1},]", "[{\"a\":1}] x", "[{\"a\":1} {\"b\":2}]", "[,{}]", "{\"a\":1}{", "", "[", "text", "[{\"a\":1}}", "[01]"] {
            let got = read_all(&Json, "", bad.as_bytes());
            assert!(got.last().unwrap().starts_with("ERROR"), "{bad}: {got:?}");
        }
        assert_eq!(read_all(&Json, "", b"{\"a\":1}")[1], "1:1 {\"a\":1}");
        assert_eq!(read_all(&Json, "", b" [ ] ").len(), 1);
    }

    #[test]
    fn a_bad_line_of_ndjson_rejects_one_record() {
        let got = read_all(&Ndjson, "", b"{\"a\":1}\n\n{\"a\":\n[1]\n{\"a\":\"\\u00e9\"}");
        assert_eq!(got[1], "1:1 {\"a\":1}");
        assert!(got[2].starts_with("3:2 BAD not JSON: EOF while parsing"), "{got:?}");
        assert_eq!(got[3], "4:3 [1]");
        assert_eq!(got[4], "5:4 {\"a\":\"é\"}");
    }

    #[test]
    fn what_can_not_be_decoded_rejects_its_record_alone() {
        let got = read_all(&Json, "", b"[{\"a\":\"\xe9t\xe9\"},\n{\"a\":\"b\"}]");
        assert!(got[1].starts_with("1:1 BAD") && got[1].contains("the byte 0xE9, which is not UTF-8"), "{got:?}");
        assert_eq!(got[2], "2:2 {\"a\":\"b\"}");
        assert!(read_all(&Json, "", b"[{\"a\":\xe9}]")[1].starts_with("ERROR"), "that is no JSON in any encoding");
        for format in [&Json as &'static dyn Format, &Ndjson] {
            let got = read_all(format, "encoding = 'windows-1253'", b"{\"a\":\"\xd2\"}\n");
            assert!(got[1].contains("BAD the record holds bytes that can't be decoded"), "{got:?}");
        }
    }

    #[test]
    fn targets_with_dots_nest_and_the_array_is_wrapped() {
        let row = vec![Value::text("x"), Value::text("Aix"), Value::Number("1.50".parse().unwrap()), Value::Null];
        assert_eq!(
            write_all(&Ndjson, "", &["n", "a.ville", "a.m", "z"], std::slice::from_ref(&row)),
            "{\"n\":\"x\",\"a\":{\"ville\":\"Aix\",\"m\":1.50},\"z\":null}\n"
        );
        assert_eq!(write_all(&Json, "", &["n"], &[row.clone(), row.clone()]), "[\n{\"n\":\"x\"},\n{\"n\":\"x\"}\n]\n");
        assert_eq!(write_all(&Json, "", &["n"], &[]), "[]\n");
        let wrapped = write_all(&Json, "wrap = '/t'\nindent = 2", &["n", "a.ville"], &[row]);
        assert_eq!(wrapped, "{\n  \"t\": [\n    {\n      \"n\": \"x\",\n      \"a\": {\n        \"ville\": \"Aix\"\n      }\n    }\n  ]\n}\n");
    }
}
