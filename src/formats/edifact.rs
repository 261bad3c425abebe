//! EDIFACT interchanges (ISO 9735): each segment is a record, or the segments of a group one record.
//!
//! A data element is an element of the record (`e1`, `e2`, …), its components repeat it: `e2[0]`. As text an element is
//! its first component. What stands in the message before a record is its `parent`.

use std::collections::HashMap;
use std::sync::Arc;

use super::text::{self, Charset, quoted};
use super::{Format, Input, Next, RecordReader, RecordWriter, Remark, Room, Writing, peek, read_on};
use crate::error::{Error, Result};
use crate::options::{Kind, Opt, Options, Side};
use crate::record::{Columns, Key, Node, Nodes, Record, Value};

/// The format.
#[derive(Debug)]
pub struct Edifact;

/// A segment that grows beyond this is none: the segment terminator is another one.
const SEGMENT_BYTES_MAX: usize = 1024 * 1024;
/// More than that around or in a record is no business message.
const MESSAGE_SEGMENTS_MAX: usize = 200_000;

const INPUT: &[Opt] = &[
    Opt { name: "records", kind: Kind::OneOrMoreTexts, default: None, doc: "The segments that are records, as in [\"LIN\"]; default: every one." },
    Opt { name: "nest", kind: Kind::TextMap, default: None, doc: "Segments that are lists in the segment before them: { QTY = \"LIN\" }." },
];

impl Format for Edifact {
    fn name(&self) -> &'static str {
        "edifact"
    }
    fn extension(&self) -> &'static str {
        "edi"
    }
    fn input_options(&self) -> &'static [Opt] {
        INPUT
    }
    fn output_options(&self) -> &'static [Opt] {
        &[]
    }
    fn writes(&self) -> bool {
        false
    }
    fn has_columns(&self) -> bool {
        false
    }
    fn declared(&self, _: &Options) -> Option<Columns> {
        Some(Columns::within())
    }
    fn mistakes(&self, o: &Options, side: Side) -> Vec<(&'static str, String)> {
        let records = o.texts("records").unwrap_or_default();
        if side == Side::Output {
            return Vec::new();
        }
        let nest = o.map("nest");
        if !nest.is_empty() && records.is_empty() {
            return vec![("nest", "`nest` needs `records`: the segments that others stand in".into())];
        }
        let known = |outer: &str| records.iter().any(|r| r == outer) || nest.iter().any(|(n, _)| n == outer);
        let mut out: Vec<_> = nest
            .iter()
            .filter(|(_, e)| !known(e.as_text()))
            .map(|(n, e)| ("nest", format!("{n} stands in {}, which is neither among `records` nor nested itself", e.as_text())))
            .collect();
        out.extend(nest.iter().filter(|(n, _)| records.contains(n)).map(|(n, _)| ("nest", format!("{n} is a record, and can't stand in another one"))));
        out
    }
    fn reader(&self, o: &Options, input: Input, _: &Room) -> Result<Box<dyn RecordReader>> {
        let written = o.entry("encoding").and_then(|e| Charset::named(e.as_text()));
        let (named, input) = peek(input, 64, named_charset)?;
        let fallback = named.filter(|_| written.is_none());
        let charset = written.unwrap_or_else(Charset::utf8);
        let mut reader = Reader {
            input: text::utf8(input, charset)?.0,
            buf: Vec::new(),
            at: 0,
            end: false,
            line: 1,
            number: 0,
            signs: Signs::default(),
            fallback,
            una: Vec::new(),
            decimal: None,
            interchange: None,
            message_segments: None,
            miscounted: 0,
            grouped: false,
            records: o.texts("records"),
            nest: o.map("nest").iter().map(|(n, e)| (n.clone(), e.as_text().to_owned())).collect(),
            columns: Columns::within(),
            message: Arc::new(Node::default()),
            held: None,
            names: Vec::new(),
            passed: 0,
            alone: false,
        };
        reader.service_string()?;
        reader.alone = !reader.buf[reader.at..].starts_with(b"UN");
        Ok(Box::new(reader))
    }
    fn writer(&self, _: &Options, _: Writing) -> Result<Box<dyn RecordWriter>> {
        Err(Error::config("edifact is read, not written").hint("output.format = \"template\" writes any text"))
    }
}

/// The signs of an interchange.
struct Signs {
    component: u8,
    element: u8,
    release: Option<u8>,
    segment: u8,
}

impl Default for Signs {
    fn default() -> Self {
        Self { component: b':', element: b'+', release: Some(b'?'), segment: b'\'' }
    }
}

/// The encoding that UNB names by its syntax identifier (ISO 9735); UTF-8 and ASCII need no name.
fn named_charset(head: &[u8]) -> Option<Charset> {
    let unb = head.windows(3).position(|w| w == b"UNB")?;
    let syntax = head.get(unb + 4..unb + 8)?;
    Charset::named(match syntax {
        b"UNOC" => "iso-8859-1",
        b"UNOD" => "iso-8859-2",
        b"UNOE" => "iso-8859-5",
        b"UNOF" => "iso-8859-7",
        b"UNOG" => "iso-8859-3",
        b"UNOH" => "iso-8859-4",
        b"UNOI" => "iso-8859-6",
        b"UNOJ" => "iso-8859-8",
        b"UNOK" => "windows-1254",
        _ => return None,
    })
}

const DEFAULT_SIGNS: &[u8] = b"UNA:+.? '";

struct Segment {
    tag: String,
    line: u64,
    raw: Vec<u8>,
    elements: Vec<Vec<String>>,
}

struct Reader {
    input: Input,
    buf: Vec<u8>,
    at: usize,
    end: bool,
    line: u64,
    number: u64,
    signs: Signs,
    /// How many messages the interchange that is open has had; none: none is open.
    interchange: Option<u64>,
    /// How many segments the message that is open has had; none: none is open.
    message_segments: Option<u64>,
    /// Messages stand in groups, which UNZ counts instead.
    grouped: bool,
    /// Messages and interchanges whose own counts are others.
    miscounted: u64,
    /// What UNB says the text is written in; many write UTF-8 all the same.
    fallback: Option<Charset>,
    /// UNA, where it sets other signs than the usual ones.
    una: Vec<u8>,
    /// The decimal sign that UNA declares (ISO 9735, 5.1).
    decimal: Option<char>,
    records: Option<Vec<String>>,
    nest: HashMap<String, String>,
    columns: Columns,
    /// What stands in the message so far and is in no record.
    message: Arc<Node>,
    held: Option<Segment>,
    names: Vec<Key>,
    passed: u64,
    /// The segments of one record alone, as a rejects file has them: the last one's end is theirs.
    alone: bool,
}

impl Reader {
    fn fail(&self, message: impl Into<String>) -> Error {
        Error::file(message).on_line(self.line).hint("check that the file is a whole EDIFACT interchange")
    }

    fn fill(&mut self) -> Result<bool> {
        if self.end {
            return Ok(false);
        }
        self.buf.drain(..self.at);
        self.at = 0;
        self.end = read_on(&mut self.input, &mut self.buf)? == 0;
        Ok(!self.end)
    }

    /// UNA, where it stands, sets the signs.
    fn service_string(&mut self) -> Result<()> {
        while self.buf.len() < 12 && self.fill()? {}
        self.skip_space()?;
        if let Some([b'U', b'N', b'A', component, element, decimal, release, _, segment]) = self.buf.get(self.at..self.at + 9) {
            self.decimal = Some(char::from(*decimal)).filter(|sign| matches!(sign, '.' | ','));
            self.una = if &self.buf[self.at..self.at + 9] == DEFAULT_SIGNS { Vec::new() } else { self.buf[self.at..self.at + 9].to_vec() };
            self.signs = Signs { component: *component, element: *element, release: Some(*release).filter(|r| *r != b' '), segment: *segment };
            self.at += 9;
        } else if !self.buf[self.at..].first().is_some_and(u8::is_ascii_uppercase) {
            return Err(self.fail("the file begins with no segment"));
        }
        Ok(())
    }

    /// Line ends between segments mean nothing.
    fn skip_space(&mut self) -> Result<()> {
        loop {
            while let Some(b' ' | b'\t' | b'\r' | b'\n' | 0x1a) = self.buf.get(self.at) {
                self.line += u64::from(self.buf[self.at] == b'\n');
                self.at += 1;
            }
            if self.at < self.buf.len() || !self.fill()? {
                return Ok(());
            }
        }
    }

    fn segment(&mut self) -> Result<Option<Segment>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        self.skip_space()?;
        if self.at == self.buf.len() {
            return Ok(None);
        }
        let mut len = 0;
        let end = loop {
            match self.buf.get(self.at + len).copied() {
                Some(b) if b == self.signs.segment => break len,
                Some(b) => len += if Some(b) == self.signs.release { 2 } else { 1 },
                None if len > SEGMENT_BYTES_MAX => return Err(self.fail(format!("a segment is larger than {} KiB", SEGMENT_BYTES_MAX >> 10))),
                None if !self.fill()? && self.alone => break self.buf.len() - self.at,
                None if self.end => return Err(self.fail("the file ends inside a segment")),
                None => {}
            }
        };
        let raw = self.buf[self.at..self.at + end].to_vec();
        let line = self.line;
        self.line += memchr::memchr_iter(b'\n', &raw).count() as u64;
        self.at = (self.at + end + 1).min(self.buf.len());
        let mut elements: Vec<Vec<String>> = vec![Vec::new()];
        let mut component: Vec<u8> = Vec::new();
        let mut bytes = raw.iter().copied();
        let mut done = false;
        while !done {
            let b = bytes.next();
            done = b.is_none();
            match b {
                Some(b) if Some(b) == self.signs.release => component.extend(bytes.next()),
                // A line that was wrapped by whoever sent it.
                Some(b'\r' | b'\n') => {}
                Some(b) if b != self.signs.element && b != self.signs.component => component.push(b),
                _ => {
                    let text = String::from_utf8(std::mem::take(&mut component)).or_else(|e| {
                        let Some(charset) = &self.fallback else { return Err(()) };
                        let mut text = String::new();
                        charset.decode_into(e.as_bytes(), &mut text);
                        Ok(text)
                    });
                    let text = text.map_err(|()| {
                        self.fail(format!("a segment holds bytes that are not UTF-8: {}", quoted(&String::from_utf8_lossy(&raw))))
                            .hint("declare input.encoding, as in \"iso-8859-1\"")
                    })?;
                    if let Some(element) = elements.last_mut() {
                        element.push(text);
                    }
                    if b == Some(self.signs.element) {
                        elements.push(Vec::new());
                    }
                }
            }
        }
        let tag = elements.remove(0).into_iter().next().unwrap_or_default();
        if tag.len() != 3 || !tag.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Err(self.fail(format!("{} is no tag of a segment", quoted(&tag))));
        }
        let segment = Segment { tag, line, raw, elements };
        self.follow(&segment);
        Ok(Some(segment))
    }

    /// Counts messages and their segments, as their ends say how many there are.
    fn follow(&mut self, segment: &Segment) {
        let said = || segment.elements.first().and_then(|e| e.first()).and_then(|n| n.parse::<u64>().ok());
        if let Some(n) = &mut self.message_segments {
            *n += 1;
        }
        match segment.tag.as_str() {
            "UNB" => self.interchange = Some(0),
            "UNH" => self.message_segments = Some(1),
            "UNT" => {
                self.miscounted += u64::from(self.message_segments.take() != said());
                self.interchange = self.interchange.map(|n| n + 1);
            }
            // Groups of messages are counted by their own ends.
            "UNE" => {}
            "UNZ" => {
                let messages = self.interchange.take();
                self.miscounted += u64::from(messages.is_some() && messages.filter(|n| Some(*n) != said()).is_some() && !self.grouped);
            }
            "UNG" => self.grouped = true,
            _ => {}
        }
    }

    /// An interchange that is cut between two segments is cut all the same.
    fn whole(&self) -> Result<()> {
        match (self.alone, self.message_segments, self.interchange) {
            (false, Some(_), _) => Err(self.fail("the file ends before the end of its message (UNT)")),
            (false, None, Some(_)) => Err(self.fail("the file ends before the end of its interchange (UNZ)")),
            _ => Ok(()),
        }
    }

    fn name(&mut self, i: usize) -> Key {
        while self.names.len() <= i {
            self.names.push(format!("e{}", self.names.len() + 1).into());
        }
        self.names[i].clone()
    }

    fn node(&mut self, segment: &Segment) -> Node {
        let leaf = |name: Key, text: &str| (0, Arc::new(Node { text: text.to_owned(), ..Node::new(name) }));
        let mut node = Node::new(segment.tag.as_str().into());
        node.children.push(leaf("tag".into(), &segment.tag));
        for (i, components) in segment.elements.iter().enumerate() {
            if components.iter().all(String::is_empty) {
                continue; // an element that is left out
            }
            let name = self.name(i);
            node.children.extend(components.iter().map(|c| leaf(name.clone(), c)));
        }
        node
    }

    fn is_record(&self, tag: &str) -> bool {
        self.records.as_ref().is_none_or(|r| r.iter().any(|r| r == tag))
    }

    /// Notes a segment that is no record, and stands in none.
    fn stand_before(&mut self, node: Node) -> Result<()> {
        self.passed += 1;
        if self.message.children.len() > MESSAGE_SEGMENTS_MAX {
            return Err(self.fail(format!("a message has more than {MESSAGE_SEGMENTS_MAX} segments outside of records")));
        }
        Arc::make_mut(&mut self.message).children.push((0, Arc::new(node)));
        Ok(())
    }

    /// The segments behind a record that nest in it.
    fn nested(&mut self, record: &mut Record, first: Node) -> Result<Node> {
        if self.nest.is_empty() {
            return Ok(first);
        }
        let mut open: Vec<Node> = vec![first];
        let mut count = 0;
        while let Some(segment) = self.segment()? {
            // A message has sections, UNS between them: what follows belongs to no record before it.
            let closes = self.records.as_ref().is_some_and(|r| r.contains(&segment.tag)) || segment.tag.starts_with("UN");
            let at = self.nest.get(&segment.tag).and_then(|outer| open.iter().position(|o| *o.name == **outer));
            let Some(at) = at.filter(|_| !closes) else {
                if closes {
                    self.held = Some(segment);
                    break;
                }
                // It stands before the records that follow.
                let node = self.node(&segment);
                self.stand_before(node)?;
                continue;
            };
            count += 1;
            if count > MESSAGE_SEGMENTS_MAX {
                return Err(self.fail(format!("a record has more than {MESSAGE_SEGMENTS_MAX} segments")));
            }
            fold(&mut open, at + 1);
            record.raw.push(self.signs.segment);
            record.raw.extend_from_slice(&segment.raw);
            let node = self.node(&segment);
            open.push(node);
        }
        fold(&mut open, 1);
        Ok(open.pop().unwrap_or_default())
    }
}

/// Puts what is open beyond `keep` into what it stands in.
fn fold(open: &mut Vec<Node>, keep: usize) {
    while open.len() > keep {
        let Some(node) = open.pop() else { return };
        if let Some(outer) = open.last_mut() {
            outer.children.push((0, Arc::new(node)));
        }
    }
}

impl RecordReader for Reader {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn decimal_sign(&self) -> Option<char> {
        self.decimal
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        record.clear();
        while let Some(segment) = self.segment()? {
            let node = self.node(&segment);
            if segment.tag == "UNH" || segment.tag == "UNB" {
                self.message = Arc::new(Node::default());
            }
            if !self.is_record(&segment.tag) {
                self.stand_before(node)?;
                continue;
            }
            self.number += 1;
            (record.line, record.number) = (segment.line, self.number);
            // Signs of its own are needed to read it again.
            record.raw.extend_from_slice(&self.una);
            record.raw.extend_from_slice(&segment.raw);
            let before = self.message.clone();
            let node = self.nested(record, node)?;
            record.tree = Some(Value::Nodes(Nodes::One(Arc::new(node))));
            if self.records.is_some() {
                record.parent = Some(Nodes::One(before));
            }
            return Ok(Next::Record);
        }
        self.whole()?;
        Ok(Next::End)
    }

    fn remarks(&self) -> Vec<Remark> {
        let told = [("other segments were passed over", self.passed), ("messages or interchanges have other counts than their ends say", self.miscounted)];
        told.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| Remark { what, count, line: 0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{options, room};
    use crate::formats::text::Style;

    fn read(keys: &str, bytes: &[u8]) -> Vec<String> {
        let mut reader = Edifact.reader(&options(&Edifact, keys), Box::new(std::io::Cursor::new(bytes.to_vec())), &room()).unwrap();
        let (mut record, mut out) = (Record::default(), Vec::new());
        loop {
            match reader.read(&mut record) {
                Err(e) => out.push(format!("ERROR {e}")),
                Ok(Next::Record) => {
                    let Some(Value::Nodes(nodes)) = &record.tree else { panic!() };
                    let parent = record.parent.as_ref().map(|p| Style::default().text(&p.part("BGM")).into_owned()).unwrap_or_default();
                    out.push(format!("{}{parent}", crate::formats::json::to_text(&nodes.first().unwrap().to_value(), &Style::default())));
                    continue;
                }
                Ok(_) => {}
            }
            return out;
        }
    }

    #[test]
    fn segments_elements_components_and_the_release_sign_are_told_apart() {
        let got = read("", b"UNA:+.? 'UNB+UNOC:3+A?+B::x+'\r\nDTM+137:2025'UNZ+0'");
        assert_eq!(got, [r#"{"tag":"UNB","e1":["UNOC","3"],"e2":["A+B","","x"]}"#, r#"{"tag":"DTM","e1":["137","2025"]}"#, r#"{"tag":"UNZ","e1":"0"}"#]);
        assert!(read("", b"UNB+1'LIN+1'")[2].contains("ERROR line 1: the file ends before the end of its interchange (UNZ)"));
        assert!(read("", b"UNB+UNOC:3'NAD+K\xf6ln'UNZ+0'")[1].contains("Köln"));
        assert!(read("", b"UNB+UNOC:3'NAD+K\xc3\xb6ln'UNZ+0'")[1].contains("Köln"));
        assert!(read("", b"UNB+1'LIN+1")[1].contains("ERROR line 1: the file ends inside a segment"));
    }

    #[test]
    fn what_stands_between_records_is_before_those_that_follow_also_where_segments_nest() {
        let text = b"UNB+1'UNH+1+D'BGM+220'LIN+1'QTY+1'BGM+221'LIN+2'QTY+2'BGM+222'UNT+7+1'UNZ+1'";
        let got = read("records = ['LIN']\nnest = { QTY = 'LIN' }", text);
        assert_eq!(
            got,
            read("records = ['LIN']", text)
                .iter()
                .zip([1, 2])
                .map(|(flat, n)| { flat.replace("}", &format!(",\"QTY\":{{\"tag\":\"QTY\",\"e1\":\"{n}\"}}}}")) })
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_segments_of_a_group_make_one_record() {
        let text = b"UNH+1'BGM+220'QTY+9'LIN+1'QTY+21:2'PRI+AAA:5'LIN+2'UNS+S'QTY+7'UNT+1'";
        let got = read("records = ['LIN']\nnest = { QTY = 'LIN', PRI = 'QTY' }", text);
        assert_eq!(got[0], r#"{"tag":"LIN","e1":"1","QTY":{"tag":"QTY","e1":["21","2"],"PRI":{"tag":"PRI","e1":["AAA","5"]}}}BGM220"#);
        assert_eq!(got.len(), 2);
    }
}
