//! Writes XML: targets with dots nest, `@name` is an attribute, null is no element.

use super::super::json::{Slot, slots_of};
use super::super::text::Style;
use super::super::{RecordWriter, Writing};
use super::is_legal;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::record::{Reject, Value};

/// Whether `name` may be the name of an element (XML 1.0, section 2.3, without the colon).
pub(super) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    let start = |c: char| c.is_alphabetic() || c == '_';
    chars.next().is_some_and(start)
        && chars.all(|c| start(c) || c.is_alphanumeric() || matches!(c, '-' | '.' | '\u{b7}') || ('\u{300}'..='\u{36f}').contains(&c))
}

/// Whether `part` may stand in a target: an element, an attribute or the text.
pub(super) fn is_part(part: &str) -> bool {
    part == "#text" || is_name(part.strip_prefix('@').unwrap_or(part))
}

/// The first part of a path that can't stand where it does: attributes and text have nothing below them.
pub(super) fn misnamed<'n>(path: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut path = path.peekable();
    while let Some(part) = path.next() {
        let fits = if path.peek().is_some() { is_name(part) } else { is_part(part) };
        if !fits {
            return Some(part);
        }
    }
    None
}

pub(super) struct Writer {
    writing: Writing,
    slots: Vec<(String, Slot)>,
    root: Vec<String>,
    record: String,
    namespace: Option<String>,
    indent: usize,
    ending: String,
    text: String,
}

impl Writer {
    pub(super) fn new(o: &Options, writing: Writing) -> Result<Self> {
        for column in &writing.columns {
            let wrong = if writing.mapped { misnamed(column.split('.')) } else { misnamed([column.as_str()].into_iter()) };
            if let Some(part) = wrong {
                return Err(Error::file(format!("{} can't be the name of an element", super::quoted(part)))
                    .hint("write a map, with targets of letters, digits, - and _"));
            }
        }
        Ok(Self {
            slots: slots_of(&writing),
            root: o.word("root").trim_matches('/').split('/').map(str::to_owned).collect(),
            record: o.word("record").trim_matches('/').to_owned(),
            namespace: o.text("namespace"),
            indent: o.count("indent").unwrap_or(0),
            ending: o.word("line_ending"),
            text: String::new(),
            writing,
        })
    }

    fn line(&mut self, level: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', self.indent * level));
    }

    fn emit(&mut self, out: &mut Vec<u8>) -> Result<(), char> {
        if self.ending != "\n" {
            self.text = self.text.replace('\n', &self.ending);
        }
        let before = out.len();
        let encoded = self.writing.encoder.encode(&self.text, out);
        if encoded.is_err() {
            out.truncate(before);
        }
        encoded
    }
}

/// Puts one element: its attributes first, whatever the order of the targets.
struct Put<'w> {
    out: &'w mut String,
    style: &'w Style,
    indent: usize,
    wrong: Option<Reject>,
}

impl Put<'_> {
    fn escape(&mut self, field: &str, text: &str, attribute: Attribute) {
        // Most texts hold nothing to escape.
        if text.bytes().all(|b| b >= 0x20 && !matches!(b, b'&' | b'<' | b'>' | b'"' | 0xef)) {
            self.out.push_str(text);
            return;
        }
        let mut from = 0;
        for (at, c) in text.char_indices() {
            let with = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' if attribute == Attribute::Yes => "&quot;",
                '\n' if attribute == Attribute::Yes => "&#10;",
                '\t' if attribute == Attribute::Yes => "&#9;",
                '\r' => "&#13;",
                c if !is_legal(c) => {
                    self.wrong.get_or_insert_with(|| Reject::new(field, format!("the character U+{:04X} is not allowed in XML", u32::from(c))));
                    continue;
                }
                _ => continue,
            };
            self.out.push_str(&text[from..at]);
            self.out.push_str(with);
            from = at + c.len_utf8();
        }
        self.out.push_str(&text[from..]);
    }

    fn line(&mut self, level: usize) {
        if self.indent > 0 {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', self.indent * level));
        }
    }

    /// `<name …>…</name>` with attributes and content given by the two closures.
    fn element(&mut self, name: &str, level: usize, attributes: impl FnOnce(&mut Self), content: impl FnOnce(&mut Self) -> Content) {
        self.line(level);
        self.out.push('<');
        self.out.push_str(name);
        attributes(self);
        self.out.push('>');
        let before = self.out.len();
        match content(self) {
            Content::Empty if self.out.len() == before => {
                self.out.pop();
                self.out.push_str("/>");
                return;
            }
            Content::Elements => self.line(level),
            Content::Empty | Content::Text => {}
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    fn attribute(&mut self, name: &str, value: &Value<'_>) {
        if let Some(attribute) = name.strip_prefix('@').filter(|_| !matches!(value, Value::Null)) {
            self.out.push(' ');
            self.out.push_str(attribute);
            self.out.push_str("=\"");
            let text = self.style.text(value);
            self.escape(name, &text, Attribute::Yes);
            self.out.push('"');
        }
    }

    /// The same under a name that a record brings along.
    fn named(&mut self, name: &str, value: &Value<'_>, level: usize) {
        if is_part(name) {
            self.value(name, value, level);
        } else {
            self.wrong.get_or_insert_with(|| Reject::new(name, format!("{} can't be the name of an element", super::quoted(name))));
        }
    }

    /// What stands under a name: nothing for null, an element for each of a list.
    fn value(&mut self, name: &str, value: &Value<'_>, level: usize) {
        match value {
            Value::Text(text) if !name.starts_with(['@', '#']) => {
                self.line(level);
                self.out.push('<');
                self.out.push_str(name);
                if text.is_empty() {
                    self.out.push_str("/>");
                    return;
                }
                self.out.push('>');
                self.escape(name, text, Attribute::No);
                self.out.push_str("</");
                self.out.push_str(name);
                self.out.push('>');
            }
            Value::Null => {}
            _ if name.starts_with('@') => {}
            _ if name == "#text" => {
                let text = self.style.text(value);
                self.escape(name, &text, Attribute::No);
            }
            Value::List(items) => items.iter().for_each(|item| self.value(name, item, level)),
            Value::Map(entries) => self.element(
                name,
                level,
                |put| entries.iter().for_each(|(k, v)| put.attribute(k, v)),
                |put| {
                    entries.iter().for_each(|(k, v)| put.named(k, v, level + 1));
                    content(entries.iter().map(|(k, _)| &**k))
                },
            ),
            Value::Nodes(nodes) if nodes.first().is_some_and(|n| !n.children.is_empty()) => {
                if let Some(first) = nodes.first() {
                    self.value(name, &first.to_value(), level);
                }
            }
            other => {
                let text = self.style.text(other);
                self.element(
                    name,
                    level,
                    |_| {},
                    |put| {
                        put.escape(name, &text, Attribute::No);
                        if text.is_empty() { Content::Empty } else { Content::Text }
                    },
                );
            }
        }
    }

    fn slots(&mut self, name: &str, slots: &[(String, Slot)], values: &[Value<'_>], level: usize) {
        if level > 1 && slots.iter().all(|(_, s)| is_null(s, values)) {
            return;
        }
        self.element(
            name,
            level,
            |put| {
                for (name, slot) in slots {
                    if let Slot::Value(i) = slot {
                        put.attribute(name, values.get(*i).unwrap_or(&Value::Null));
                    }
                }
            },
            |put| {
                for (name, slot) in slots {
                    match slot {
                        Slot::Value(i) => put.value(name, values.get(*i).unwrap_or(&Value::Null), level + 1),
                        Slot::Object(inner) => put.slots(name, inner, values, level + 1),
                    }
                }
                content(slots.iter().map(|(n, _)| n.as_str()))
            },
        );
    }
}

/// Whether nothing at all stands under a slot.
fn is_null(slot: &Slot, values: &[Value<'_>]) -> bool {
    match slot {
        Slot::Value(i) => values.get(*i).is_none_or(|v| matches!(v, Value::Null)),
        Slot::Object(inner) => inner.iter().all(|(_, s)| is_null(s, values)),
    }
}

fn content<'n>(mut names: impl Iterator<Item = &'n str>) -> Content {
    let mut any = false;
    if names.any(|n| {
        any |= !n.starts_with('@');
        n == "#text"
    }) {
        return Content::Text;
    }
    if any { Content::Elements } else { Content::Empty }
}

enum Content {
    Empty,
    Text,
    Elements,
}

#[derive(Clone, Copy, PartialEq)]
enum Attribute {
    Yes,
    No,
}

impl RecordWriter for Writer {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.writing.encoder.prefix());
        self.text = format!("<?xml version=\"1.0\" encoding=\"{}\"?>", self.writing.encoder.charset.name().to_uppercase());
        for (level, name) in self.root.clone().into_iter().enumerate() {
            self.line(level);
            let namespace = self
                .namespace
                .clone()
                .filter(|_| level == 0)
                .map(|n| format!(" xmlns=\"{}\"", n.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")));
            self.text.push_str(&format!("<{name}{}>", namespace.unwrap_or_default()));
        }
        self.emit(out).map_err(|c| Error::file(format!("output.root: {}", self.writing.lacks(c))))
    }

    fn write(&mut self, values: &[Value<'_>], out: &mut Vec<u8>) -> Result<Result<(), Reject>> {
        self.text.clear();
        let level = self.root.len();
        if self.indent == 0 {
            self.text.push('\n');
        }
        let mut put = Put { out: &mut self.text, style: &self.writing.style, indent: self.indent, wrong: None };
        match values {
            // Without a map, a nested record goes as it is.
            [whole] if self.slots.is_empty() => put.value(&self.record, whole, level),
            _ => put.slots(&self.record, &self.slots, values, level),
        }
        if let Some(wrong) = put.wrong {
            return Ok(Err(wrong));
        }
        if let Err(c) = self.emit(out) {
            return Ok(Err(self.writing.unencodable_in(c, values)));
        }
        Ok(Ok(()))
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.text.clear();
        for level in (0..self.root.len()).rev() {
            self.line(level);
            let name = self.root[level].clone();
            self.text.push_str(&format!("</{name}>"));
        }
        self.text.push('\n');
        // The same names were encoded at the beginning.
        let _ = self.emit(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Xml;
    use crate::formats::testing::write_all;
    use crate::record::Value;

    #[test]
    fn dots_nest_at_signs_are_attributes_and_null_is_no_element() {
        let row = vec![Value::text("7"), Value::text("A & <B>"), Value::Null, Value::text(""), Value::list(vec![Value::text("1"), Value::text("2")])];
        let columns = ["@id", "nom", "a.ville", "vide", "tel"];
        assert_eq!(
            write_all(&Xml, "root = 'clients'\nrecord = 'client'", &columns, std::slice::from_ref(&row)),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clients>\n<client id=\"7\"><nom>A &amp; &lt;B&gt;</nom><vide/><tel>1</tel><tel>2</tel></client>\n</clients>\n"
        );
        let indented = write_all(&Xml, "root = 'a/b'\nnamespace = 'urn:x'\nindent = 1", &["x.y"], &[vec![Value::text("1")]]);
        assert_eq!(
            indented,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns=\"urn:x\">\n <b>\n  <record>\n   <x>\n    <y>1</y>\n   </x>\n  </record>\n </b>\n</a>\n"
        );
        assert!(write_all(&Xml, "", &["a"], &[vec![Value::text("\u{1}")]]).contains("REJECT a: the character U+0001 is not allowed in XML"));
    }
}
