//! XML, streamed: one record's element in memory at a time, whatever the size of the document.
//!
//! Names are local names. A DTD is passed over and its entities are never expanded: a document that needs them is
//! refused, so that neither its size nor a file of this host can get into B's file (OWASP, "XML External Entity").

mod counted;
mod writer;

use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use quick_xml::Reader as Parser;
use quick_xml::events::{BytesStart, Event};

use super::names::Names;
use super::text::{self, Charset, Lossy, quoted};
use super::{Format, Input, Next, RecordReader, RecordWriter, Remark, Room, Writing, peek};
use crate::error::{Blame, Error, Result, reason};
use crate::options::{Kind, Opt, Options, Side};
use crate::record::{Columns, Key, Node, Nodes, Record, Reject};
use counted::Counted;
use writer::Writer;

/// The format.
#[derive(Debug)]
pub struct Xml;

/// One record that grows beyond this is refused: a record must fit in memory.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is kept of the elements around the records, for `parent`.
const AROUND_BYTES_MAX: usize = 1024 * 1024;
/// So many elements are kept for the next record, and none with more room in it: together they stay below some MiB.
const SPARE_MAX: usize = 1024;
const SPARE_TEXT_MAX: usize = 1024;
const SPARE_PARTS_MAX: usize = 64;
/// Elements that nest deeper than this are an attack, no business data.
const DEPTH_MAX: usize = 256;

const INPUT: &[Opt] =
    &[Opt { name: "records", kind: Kind::Text, default: Some("\"/*/*\""), doc: "Path of the repeated element, as in /clients/client; * for any name." }];
const OUTPUT: &[Opt] = &[
    Opt { name: "root", kind: Kind::Text, default: Some("\"records\""), doc: "The element around all records; a/b for one in another." },
    Opt { name: "record", kind: Kind::Text, default: Some("\"record\""), doc: "The element of a record." },
    Opt { name: "namespace", kind: Kind::Text, default: None, doc: "The default namespace of the root." },
    Opt { name: "indent", kind: Kind::Integer(0), default: Some("0"), doc: "Spaces by which each level is indented; 0: one record a line." },
    Opt { name: "line_ending", kind: Kind::Text, default: Some("\"\\n\""), doc: "What ends a line." },
];

impl Format for Xml {
    fn name(&self) -> &'static str {
        "xml"
    }
    fn extension(&self) -> &'static str {
        "xml"
    }
    fn input_options(&self) -> &'static [Opt] {
        INPUT
    }
    fn output_options(&self) -> &'static [Opt] {
        OUTPUT
    }
    fn joins(&self) -> bool {
        true
    }
    fn has_columns(&self) -> bool {
        false
    }
    fn declared(&self, _: &Options) -> Option<Columns> {
        Some(Columns::within())
    }
    fn mistakes(&self, o: &Options, side: Side) -> Vec<(&'static str, String)> {
        match side {
            Side::Input => path_of(&o.word("records")).err().map(|why| ("records", why)).into_iter().collect(),
            Side::Output => [("root", '/'), ("record", '\0')]
                .into_iter()
                .filter_map(|(key, between)| {
                    let text = o.word(key);
                    let wrong = text.trim_matches(between).split(between).find(|n| !writer::is_name(n)).map(str::to_owned);
                    wrong.map(|n| (key, format!("{} is no name of an element", quoted(&n))))
                })
                .collect(),
        }
    }
    fn target(&self, name: &str) -> Option<String> {
        writer::misnamed(name.split('.')).map(|wrong| format!("{} can't be the name of an element", quoted(wrong)))
    }
    fn reader(&self, o: &Options, input: Input, _: &Room) -> Result<Box<dyn RecordReader>> {
        Ok(Box::new(Reader::new(o, input)?))
    }
    fn writer(&self, o: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>> {
        Ok(Box::new(Writer::new(o, writing)?))
    }
}

fn path_of(text: &str) -> Result<Vec<String>, String> {
    let steps: Vec<String> = text.strip_prefix('/').unwrap_or(text).split('/').map(|s| s.rsplit(':').next().unwrap_or(s).to_owned()).collect();
    if steps.iter().any(|s| s.is_empty() || s.contains(['@', '[', ' '])) {
        return Err("it is a path of elements as in \"/clients/client\", each a name or *".into());
    }
    Ok(steps)
}

/// An element that is open.
struct Open {
    /// As it is so far. Records in it hold it as it was.
    node: Arc<Node>,
    /// It lies on the path to the records, or it is one.
    on_path: bool,
}

struct Reader {
    parser: Parser<Counted>,
    buf: Vec<u8>,
    path: Vec<String>,
    columns: Columns,
    open: Vec<Open>,
    /// How many elements are open around the record in hand; none outside of records.
    record_depth: Option<usize>,
    record_line: u64,
    names: Names,
    /// The elements of the record before, for those of the next: else they would take most of the time to make and drop.
    spare: Vec<Arc<Node>>,
    around: usize,
    forgotten: bool,
    number: u64,
    root_seen: bool,
    end: bool,
    /// U+FFFD stands for what can't be decoded.
    replaced: Arc<AtomicBool>,
}

impl Reader {
    fn new(o: &Options, input: Input) -> Result<Self> {
        let written = o.entry("encoding").and_then(|e| Charset::named(e.as_text()));
        let (declared, input) = peek(input, 1024, declared_encoding)?;
        let (input, decoded) = text::utf8(input, written.or(declared?).unwrap_or_else(Charset::utf8))?;
        let (input, replaced) = Lossy::new(input);
        replaced.store(decoded, Relaxed);
        let mut parser = Parser::from_reader(Counted::new(BufReader::with_capacity(256 * 1024, Box::new(input) as Input)));
        let config = parser.config_mut();
        config.check_comments = true;
        config.expand_empty_elements = true;
        config.allow_dangling_amp = false;
        Ok(Self {
            parser,
            buf: Vec::new(),
            path: path_of(&o.word("records")).map_err(|why| Error::config(format!("input.records: {why}")))?,
            columns: Columns::within(),
            open: Vec::new(),
            record_depth: None,
            record_line: 1,
            names: Names::default(),
            spare: Vec::new(),
            around: 0,
            forgotten: false,
            number: 0,
            root_seen: false,
            end: false,
            replaced,
        })
    }

    fn fail(&self, message: impl Into<String>) -> Error {
        Error::file(message).on_line(self.parser.get_ref().line()).hint("check that the file is whole and well-formed XML, as a browser or xmllint shows it")
    }

    /// The name without its prefix.
    fn name(&mut self, text: &str) -> Result<Key> {
        if let Some(known) = self.names.find(text) {
            return Ok(known);
        }
        if !text.split(':').all(writer::is_name) || text.matches(':').count() > 1 {
            return Err(self.fail(format!("{} is no name of an element or attribute", quoted(text))));
        }
        let local: Key = text.rsplit(':').next().unwrap_or(text).into();
        self.names.add(text, &local);
        Ok(local)
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<()> {
        if self.open.len() >= DEPTH_MAX {
            return Err(self.fail(format!("elements nest deeper than {DEPTH_MAX}")));
        }
        if self.open.is_empty() && std::mem::replace(&mut self.root_seen, true) {
            return Err(self.fail("a second element stands behind the root"));
        }
        let name = self.name(tag.name().as_ref())?;
        let mut shared = self.spare.pop().unwrap_or_default();
        let node = Arc::make_mut(&mut shared);
        node.name = name;
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|e| self.fail(format!("in <{}>: {e}", node.name)))?;
            let qname = attribute.key.as_ref();
            if attribute.value.contains('<') {
                return Err(self.fail(format!("an attribute of <{}> holds \"<\"", node.name)));
            }
            let value = attribute_text(&attribute.value).map_err(|why| self.fail(why))?;
            if qname == "xmlns" || qname.starts_with("xmlns:") {
                continue;
            }
            let mut name = self.name(qname)?;
            // Of two that differ by their prefix alone, the second is named as a column of that name would be.
            let mut n = 2;
            while node.attributes.iter().any(|(known, _)| *known == name) {
                name = format!("{}_{n}", qname.rsplit(':').next().unwrap_or(qname)).into();
                n += 1;
            }
            node.attributes.push((name, value));
        }
        let depth = self.open.len();
        let parent_on_path = self.open.last().is_none_or(|o| o.on_path);
        let on_path = self.record_depth.is_none() && parent_on_path && self.path.get(depth).is_some_and(|step| step == "*" || *step == *node.name);
        if depth == 0 && !on_path {
            // A file of another kind is no file without records.
            let message = format!("the root element is <{}>, not <{}>, with which input.records begins", node.name, self.path[0]);
            return Err(Error::file(message)
                .on_line(self.parser.get_ref().line())
                .hint("check that it is the export that the route is for, and input.records"));
        }
        if on_path && depth + 1 == self.path.len() {
            self.record_depth = Some(depth);
        }
        if on_path && self.record_depth.is_none() && depth > 0 {
            // What lies around the records knows what lies around itself.
            node.around = Some(self.open[depth - 1].node.clone());
        }
        self.open.push(Open { node: shared, on_path });
        Ok(())
    }

    /// Closes the innermost element; gives it when it is a record.
    fn close(&mut self, tag: &str) -> Result<Option<Arc<Node>>> {
        let Some(Open { node: mut closed, on_path }) = self.open.pop() else {
            return Err(self.fail(format!("</{tag}> closes nothing")));
        };
        if !closed.children.is_empty() && closed.text.chars().all(|c| c.is_ascii_whitespace()) {
            let node = Arc::make_mut(&mut closed);
            node.text.clear();
            node.children.iter_mut().for_each(|(at, _)| *at = 0);
        }
        if self.record_depth == Some(self.open.len()) {
            self.record_depth = None;
            return Ok(Some(closed));
        }
        // What led to records is not kept: its records were given already.
        if self.record_depth.is_none() && on_path {
            return Ok(None);
        }
        if self.record_depth.is_none() {
            self.around += closed.text.len() + 64 + closed.attributes.len() * 32;
            if self.around > AROUND_BYTES_MAX {
                self.forgotten = true;
                return Ok(None);
            }
        }
        if let Some(outer) = self.open.last_mut() {
            let outer = Arc::make_mut(&mut outer.node);
            outer.children.push((outer.text.len(), closed));
        }
        Ok(None)
    }

    fn undecodable(&self, bytes: &[u8]) -> bool {
        self.replaced.load(Relaxed) && memchr::memmem::find(bytes, text::REPLACED).is_some()
    }

    fn add_text(&mut self, text: &str) -> Result<()> {
        if self.record_depth.is_none() && self.undecodable(text.as_bytes()) {
            return Err(self.fail("what stands around the records holds bytes that can't be decoded: declare input.encoding"));
        }
        match self.open.last_mut() {
            // What only sets apart the elements around records would grow with their number.
            Some(open) if open.on_path && self.record_depth.is_none() && text.bytes().all(|b| b.is_ascii_whitespace()) => Ok(()),
            Some(open) => {
                let node = Arc::make_mut(&mut open.node);
                // Line ends are LF to whoever reads XML (XML 1.0, 2.11).
                if memchr::memchr(b'\r', text.as_bytes()).is_some() {
                    node.text.push_str(&text.replace("\r\n", "\n").replace('\r', "\n"))
                } else {
                    node.text.push_str(text)
                }
                if self.record_depth.is_none() && node.text.len() > AROUND_BYTES_MAX {
                    node.text.clear();
                    node.children.iter_mut().for_each(|(at, _)| *at = 0);
                    self.forgotten = true;
                }
                Ok(())
            }
            None if text.chars().all(|c| c.is_ascii_whitespace() || c == '\u{feff}') => Ok(()),
            None => Err(self.fail("text stands outside the root element")),
        }
    }

    /// Handles one event; gives a record when its element closes, and `None` at the end of the document.
    fn step(&mut self) -> Result<Option<Option<Arc<Node>>>> {
        if self.record_depth.is_none() {
            self.parser.get_mut().forget();
        }
        self.buf.clear();
        let line = self.parser.get_ref().began();
        let mut buf = std::mem::take(&mut self.buf);
        let event = self.parser.read_event_into(&mut buf).map_err(|e| match e {
            quick_xml::Error::Io(io) if io.kind() != std::io::ErrorKind::FileTooLarge => {
                Error::file(format!("can't read: {}", reason(&io))).blamed_on(Blame::Endpoint)
            }
            e => self.fail(format!("not well-formed: {e}")),
        })?;
        let record = match event {
            Event::Start(tag) => {
                let outside = self.record_depth.is_none();
                self.start(&tag)?;
                if outside {
                    self.record_line = line;
                }
                None
            }
            Event::Empty(_) => None, // expanded to a start and an end
            Event::End(tag) => self.close(tag.name().as_ref())?,
            Event::Text(text) => {
                if memchr::memchr(b']', text.as_bytes()).is_some() && text.contains("]]>") {
                    return Err(self.fail("not well-formed: \"]]>\" stands in a text"));
                }
                legal(&text).map_err(|why| self.fail(why))?;
                self.add_text(&text)?;
                None
            }
            Event::CData(text) => {
                if self.open.is_empty() {
                    return Err(self.fail("text stands outside the root element"));
                }
                legal(&text).map_err(|why| self.fail(why))?;
                self.add_text(&text)?;
                None
            }
            Event::GeneralRef(name) => {
                let c = reference(&name).map_err(|why| self.fail(why))?;
                match self.open.last_mut() {
                    Some(open) => Arc::make_mut(&mut open.node).text.push(c),
                    None => return Err(self.fail("text stands outside the root element")),
                }
                None
            }
            Event::DocType(_) if self.root_seen => return Err(self.fail("a DOCTYPE stands behind the root's beginning")),
            Event::DocType(text) if !text.trim_start().chars().next().is_some_and(|c| c.is_alphabetic() || c == '_') => {
                return Err(self.fail("not well-formed: the DOCTYPE has no name"));
            }
            Event::DocType(_) | Event::Decl(_) | Event::Comment(_) | Event::PI(_) => None,
            Event::Eof => {
                if let Some(open) = self.open.last() {
                    return Err(self.fail(format!("the file ends inside <{}>", open.node.name)));
                }
                if !self.root_seen {
                    return Err(self.fail("the file holds no element"));
                }
                self.end = true;
                return Ok(None);
            }
        };
        self.buf = buf;
        Ok(Some(record))
    }
}

impl RecordReader for Reader {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        if let Some(crate::record::Value::Nodes(Nodes::One(node))) = record.tree.take() {
            reclaim(node, &mut self.spare);
        }
        record.clear();
        while !self.end {
            let Some(step) = self.step()? else { break };
            let Some(node) = step else { continue };
            self.number += 1;
            (record.number, record.line) = (self.number, self.record_line);
            self.parser.get_mut().start_over(&mut record.raw);
            if self.undecodable(&record.raw) {
                return Ok(Next::Bad(Reject::record(
                    "the record holds bytes that can't be decoded: declare input.encoding, as in \"windows-1252\"".to_owned(),
                )));
            }
            record.tree = Some(crate::record::Value::Nodes(Nodes::One(node)));
            record.parent = self.open.last().map(|around| Nodes::One(around.node.clone()));
            return Ok(Next::Record);
        }
        Ok(Next::End)
    }

    fn remarks(&self) -> Vec<Remark> {
        let forgotten = self.forgotten.then_some("`parent` holds only the first MiB of what stands around the records");
        let none = (self.end && self.number == 0).then_some("no element stands at input.records");
        forgotten.into_iter().chain(none).map(|what| Remark { what, count: 0, line: 0 }).collect()
    }
}

/// Empties an element and those in it, and keeps them, unless somebody holds them.
fn reclaim(mut shared: Arc<Node>, spare: &mut Vec<Arc<Node>>) {
    let Some(node) = Arc::get_mut(&mut shared).filter(|_| spare.len() < SPARE_MAX) else { return };
    for (_, child) in node.children.drain(..) {
        reclaim(child, spare);
    }
    node.attributes.clear();
    node.text.clear();
    (node.typed, node.around) = (None, None);
    if node.text.capacity() <= SPARE_TEXT_MAX && node.children.capacity().max(node.attributes.capacity()) <= SPARE_PARTS_MAX {
        spare.push(shared);
    }
}

/// The character of a reference. Entities of a DTD are none.
fn reference(name: &str) -> Result<char, String> {
    let number = match name.strip_prefix('#') {
        None => {
            return match name {
                "amp" => Ok('&'),
                "lt" => Ok('<'),
                "gt" => Ok('>'),
                "quot" => Ok('"'),
                "apos" => Ok('\''),
                _ => Err(format!("the entity &{name}; is not expanded: entities of a DTD never are")),
            };
        }
        Some(number) => match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+')),
            None => number.parse().ok().filter(|_| !number.starts_with('+')),
        },
    };
    number.and_then(char::from_u32).filter(|c| is_legal(*c)).ok_or_else(|| format!("&{name}; is no character of XML"))
}

/// Whether XML 1.0 allows the character (section 2.2).
fn is_legal(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

fn legal(text: &str) -> Result<(), String> {
    // What is not allowed are control characters, and two characters that begin with the byte 0xEF.
    // All bytes, whatever the first ones say: many are looked at in one step.
    if !text.bytes().fold(false, |odd, b| odd | ((b < 0x20) & (b != b'\t') & (b != b'\n') & (b != b'\r')) | (b == 0xef)) {
        return Ok(());
    }
    match text.chars().find(|c| !is_legal(*c)) {
        None => Ok(()),
        Some(c) => Err(format!("the character U+{:04X} is not allowed in XML", u32::from(c))),
    }
}

/// An attribute's text: references are replaced, white space is a space (XML 1.0, 3.3.3).
fn attribute_text(raw: &str) -> Result<String, String> {
    legal(raw)?;
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at].replace("\r\n", " ").replace(['\n', '\r', '\t'], " "));
        let end = rest[at..].find(';').ok_or("an & stands alone in an attribute")?;
        out.push(reference(&rest[at + 1..at + end])?);
        rest = &rest[at + end + 1..];
    }
    if rest.contains(['\n', '\r', '\t']) {
        out.push_str(&rest.replace("\r\n", " ").replace(['\n', '\r', '\t'], " "))
    } else {
        out.push_str(rest)
    }
    Ok(out)
}

/// The encoding that a document which begins like this declares.
fn declared_encoding(head: &[u8]) -> Result<Option<Charset>> {
    Ok(match head {
        // Without a mark, the first two characters tell UTF-16 (XML 1.0, appendix F).
        [b'<', 0, ..] => Charset::named("utf-16le"),
        [0, b'<', ..] => Charset::named("utf-16be"),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0xef, 0xbb, 0xbf, ..] => None,
        _ => {
            let text = String::from_utf8_lossy(head);
            let declaration = text.strip_prefix("<?xml").and_then(|t| t.split("?>").next()).unwrap_or("");
            let label = declaration.split("encoding").nth(1).and_then(|t| t.split(['"', '\'']).nth(1)).map(str::to_owned);
            match label {
                None => None,
                Some(label) => match Charset::named(&label) {
                    // A declaration that could be read byte by byte is not in UTF-16.
                    Some(c) if c.is_wide() => None,
                    Some(c) => Some(c),
                    None => {
                        return Err(
                            Error::file(format!("the document declares the encoding {}, which is not known", quoted(&label))).hint("set input.encoding")
                        );
                    }
                },
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{options, read_all, room};
    use crate::formats::text::Style;

    fn read(keys: &str, text: &str) -> Vec<String> {
        let mut reader = match Xml.reader(&options(&Xml, keys), Box::new(std::io::Cursor::new(text.as_bytes().to_vec())), &room()) {
            Ok(reader) => reader,
            Err(e) => return vec![format!("ERROR {e}")],
        };
        let (mut record, mut out) = (Record::default(), Vec::new());
        loop {
            match reader.read(&mut record) {
                Err(e) => out.push(format!("ERROR {e}")),
                Ok(Next::Record) => {
                    let Some(crate::record::Value::Nodes(nodes)) = &record.tree else { panic!() };
                    out.push(format!("{} {}", record.line, crate::formats::json::to_text(&nodes.first().unwrap().to_value(), &Style::default())));
                    continue;
                }
                Ok(other) => assert_eq!(other, Next::End),
            }
            return out;
        }
    }

    #[test]
    fn elements_attributes_and_texts_become_records_by_their_local_names() {
        let text = "<?xml version='1.0'?>\n<c:clients xmlns:c='u'>\n <c:client id='7'><c:nom>A &amp; B</c:nom><tel>1</tel><tel>2</tel></c:client>\n <client><p>x <b>y</b> z</p><![CDATA[<q>]]></client>\n</c:clients>";
        assert_eq!(
            read("records = '/clients/client'", text),
            [r##"3 {"@id":"7","nom":"A & B","tel":["1","2"]}"##, r##"4 {"p":{"b":"y","#text":"x  z"},"#text":"<q>"}"##]
        );
        assert_eq!(read("", "<a><b>1</b><c/></a>"), ["1 \"1\"", "1 \"\""]);
        assert_eq!(read("", "<a xmlns:x='u'><b t='1' x:t='2'/></a>"), [r#"1 {"@t":"1","@t_2":"2"}"#]);
    }

    #[test]
    fn what_stands_around_a_record_is_its_parent() {
        let text = "<d><s n='1'><iban>FR</iban><r>a</r><r>b</r></s><s n='2'><r>c</r></s></d>";
        let mut reader = Xml.reader(&options(&Xml, "records = '/d/s/r'"), Box::new(std::io::Cursor::new(text.as_bytes().to_vec())), &room()).unwrap();
        let (mut record, mut seen) = (Record::default(), Vec::new());
        while reader.read(&mut record).unwrap() == Next::Record {
            let parent = record.parent.clone().unwrap();
            let part = |name: &str| Style::default().text(&parent.part(name)).into_owned();
            seen.push(format!("{}{} {}", part("@n"), part("iban"), parent.first().unwrap().around.as_ref().unwrap().name));
        }
        assert_eq!(seen, ["1FR d", "1FR d", "2 d"]);
    }

    #[test]
    fn what_can_not_be_decoded_rejects_its_record_alone() {
        let long = "x".repeat(70_000);
        // Also where a character is cut by the end of a piece that is read.
        let text = format!("<a><b><c>\u{e9}t\u{e9}</c></b><b><c>{long}\u{20ac}</c></b><b><c>BAD</c></b></a>");
        let mut bytes = text.into_bytes();
        let at = bytes.windows(3).rposition(|w| w == b"BAD").unwrap();
        bytes[at..at + 3].copy_from_slice(b"\xe9t\xe9");
        let got = crate::formats::testing::read_all(&Xml, "", &bytes);
        assert!(got[1].contains("\u{e9}t\u{e9}") && got[2].contains("x\u{20ac}"), "{}", got[1]);
        assert!(got[3].contains("BAD the record holds bytes that can't be decoded"), "{}", got[3]);
        assert_eq!(got.len(), 4);
        let around = crate::formats::testing::read_all(&Xml, "records = '/a/b'", b"<a>\xe9<b/></a>");
        assert!(around.last().unwrap().contains("ERROR line 1: what stands around the records"), "{around:?}");
        let wide: Vec<u8> = "<a><b>x</b><b>y</b></a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut broken = wide.clone();
        let at = broken.windows(2).position(|w| w == b"y\0").unwrap();
        broken[at..at + 2].copy_from_slice(&[0, 0xd8]);
        let got = crate::formats::testing::read_all(&Xml, "encoding = 'utf-16le'", &broken);
        assert!(got[2].contains("BAD the record holds bytes"), "{got:?}");
        assert_eq!(crate::formats::testing::read_all(&Xml, "encoding = 'utf-16le'", &wide).len(), 3);
    }

    #[test]
    fn entities_are_never_expanded_and_broken_documents_are_refused() {
        for bad in [
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a><b>&x;</b></a>",
            "<a><b>1</b>",
            "<a><b></a></b>",
            "<a/><b/>",
            "<a b='1' b='2'/>",
            "<a>\u{1}</a>",
            "<a>&#0;</a>",
            "x",
            "",
            "<a b='<'/>",
            "<a>]]></a>",
            "<1a/>",
        ] {
            let got = read("records = '/*'", bad);
            assert!(got.last().is_some_and(|l| l.starts_with("ERROR")), "{bad}: {got:?}");
        }
        let deep = "<a>".repeat(300);
        assert!(read("", &deep)[0].contains("nest deeper than 256"));
        assert_eq!(read("records = '/*'", "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a>1</a>"), ["1 \"1\""]);
        assert!(read_all(&Xml, "", b"<?xml version='1.0' encoding='klingon'?><a/>")[0].contains("not known"));
    }
}
