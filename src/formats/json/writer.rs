//! Writes JSON and NDJSON: targets with dots nest, the array may be wrapped and indented.

use super::super::text::Style;
use super::super::{RecordWriter, Writing};
use crate::error::{Error, Result};
use crate::record::{Reject, Value};

/// A value as compact JSON.
pub fn to_text(value: &Value<'_>, style: &Style) -> String {
    let mut out = String::new();
    put(&mut out, value, style, 0, 0);
    out
}

pub(super) fn put_string(out: &mut String, text: &str) {
    // Few texts hold what must be escaped (RFC 8259, section 7).
    if text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        // A string always serialises.
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
        return;
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

pub(super) fn line(out: &mut String, indent: usize, level: usize) {
    if indent > 0 {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent * level));
    }
}

pub(super) fn put(out: &mut String, value: &Value<'_>, style: &Style, indent: usize, level: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) if style.bools.is_none() => out.push_str(if *b { "true" } else { "false" }),
        // JSON has one decimal sign, whatever B's other files have.
        Value::Number(_) => Style::default().push(out, value),
        Value::Digits(d) => out.push_str(d),
        Value::Text(text) => put_string(out, text),
        Value::Date(_) => {
            out.push('"');
            let start = out.len();
            style.push(out, value);
            // A pattern may hold anything.
            if out[start..].contains(['"', '\\']) {
                let text = out.split_off(start - 1);
                put_string(out, &text[1..]);
                return;
            }
            out.push('"');
        }
        Value::Bool(_) | Value::DateTime(..) => put_string(out, &style.text(value)),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(out, indent, level + 1);
                put(out, item, style, indent, level + 1);
            }
            line(out, indent, level);
            out.push(']');
        }
        // An element of nothing but elements is an object; where there is text, it is the first one's, as everywhere.
        Value::Nodes(nodes) => match nodes.first() {
            Some(first) if !first.children.is_empty() && first.text.is_empty() => put(out, &first.to_value(), style, indent, level),
            _ => put(out, &nodes.scalar(), style, indent, level),
        },
        Value::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Map(entries) => {
            put_object(out, entries.iter().map(|(k, v)| (&**k, Node::Value(v))), style, indent, level);
        }
    }
}

/// What stands under a name of an object that is written: a value, or the targets that nest there.
pub(super) enum Node<'v> {
    Value(&'v Value<'v>),
    Tree(&'v [(String, Slot)], &'v [Value<'v>]),
}

pub(super) fn put_object<'v>(out: &mut String, entries: impl Iterator<Item = (&'v str, Node<'v>)>, style: &Style, indent: usize, level: usize) {
    out.push('{');
    let mut first = true;
    for (name, node) in entries {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        line(out, indent, level + 1);
        put_string(out, name);
        out.push_str(if indent > 0 { ": " } else { ":" });
        match node {
            Node::Value(value) => put(out, value, style, indent, level + 1),
            Node::Tree(slots, values) => put_slots(out, slots, values, style, indent, level + 1),
        }
    }
    line(out, indent, level);
    out.push('}');
}

/// Where a target's value goes in the object of a record.
pub(in crate::formats) enum Slot {
    Value(usize),
    Object(Vec<(String, Slot)>),
}

pub(super) fn put_slots<'v>(out: &mut String, slots: &'v [(String, Slot)], values: &'v [Value<'v>], style: &Style, indent: usize, level: usize) {
    let entries = slots.iter().map(|(name, slot)| {
        let node = match slot {
            Slot::Value(i) => Node::Value(values.get(*i).unwrap_or(&Value::Null)),
            Slot::Object(inner) => Node::Tree(inner, values),
        };
        (name.as_str(), node)
    });
    put_object(out, entries, style, indent, level);
}

/// Names with dots nest where a map gave them: `adresse.ville` is `ville` in `adresse`.
pub(in crate::formats) fn slots_of(writing: &Writing) -> Vec<(String, Slot)> {
    fn insert(slots: &mut Vec<(String, Slot)>, path: &[&str], index: usize) {
        let [name, rest @ ..] = path else { return };
        if rest.is_empty() {
            slots.push(((*name).to_owned(), Slot::Value(index)));
            return;
        }
        let at = slots.iter().position(|(n, slot)| n == name && matches!(slot, Slot::Object(_)));
        let at = at.unwrap_or_else(|| {
            slots.push(((*name).to_owned(), Slot::Object(Vec::new())));
            slots.len() - 1
        });
        if let Slot::Object(inner) = &mut slots[at].1 {
            insert(inner, rest, index);
        }
    }
    let mut out = Vec::new();
    for (index, name) in writing.columns.iter().enumerate() {
        let path: Vec<&str> = if writing.mapped { name.split('.').collect() } else { vec![name] };
        insert(&mut out, &path, index);
    }
    out
}

pub(super) struct Writer {
    writing: Writing,
    slots: Vec<(String, Slot)>,
    /// The names around the array; none: one record a line.
    wrap: Option<Vec<String>>,
    indent: usize,
    ending: String,
    first: bool,
    between: Vec<u8>,
    text: String,
}

impl Writer {
    pub(super) fn new(writing: Writing, wrap: Option<Vec<String>>, indent: usize, ending: String) -> Self {
        let slots = slots_of(&writing);
        let mut between = Vec::new();
        if wrap.is_some() {
            // A comma exists in every encoding.
            let _ = writing.encoder.encode(",", &mut between);
        }
        Self { writing, slots, wrap, indent, ending, first: true, between, text: String::new() }
    }

    /// Encodes `text` to `out`; a character that the encoding lacks leaves nothing behind.
    fn emit(&mut self, out: &mut Vec<u8>) -> Result<(), char> {
        // Line ends inside values are escaped: every one that stands here is ours.
        if self.ending != "\n" {
            self.text = self.text.replace('\n', &self.ending);
        }
        let before = out.len();
        let encoded = self.writing.encoder.encode(&self.text, out);
        self.text.clear();
        if encoded.is_err() {
            out.truncate(before);
        }
        encoded
    }
}

impl RecordWriter for Writer {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.writing.encoder.prefix());
        let Some(wrap) = self.wrap.clone() else { return Ok(()) };
        for (level, name) in wrap.iter().enumerate() {
            self.text.push('{');
            line(&mut self.text, self.indent, level + 1);
            put_string(&mut self.text, name);
            self.text.push_str(if self.indent > 0 { ": " } else { ":" });
        }
        self.text.push('[');
        self.emit(out).map_err(|c| Error::file(format!("output.wrap: {}", self.writing.lacks(c))))
    }

    fn between(&self) -> &[u8] {
        &self.between
    }

    fn write(&mut self, values: &[Value<'_>], out: &mut Vec<u8>) -> Result<Result<(), Reject>> {
        self.text.clear();
        let level = self.wrap.as_ref().map_or(0, |w| w.len() + 1);
        if self.wrap.is_some() {
            if self.indent > 0 { line(&mut self.text, self.indent, level) } else { self.text.push('\n') }
        }
        match values {
            // Without a map, a nested record goes as it is.
            [whole] if self.slots.is_empty() => put(&mut self.text, whole, &self.writing.style, self.indent, level),
            _ => put_slots(&mut self.text, &self.slots, values, &self.writing.style, self.indent, level),
        }
        if self.wrap.is_none() {
            self.text.push('\n');
        }
        if let Err(c) = self.emit(out) {
            return Ok(Err(self.writing.unencodable_in(c, values)));
        }
        self.first = false;
        Ok(Ok(()))
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if let Some(wrap) = self.wrap.clone() {
            if !self.first {
                if self.indent > 0 { line(&mut self.text, self.indent, wrap.len()) } else { self.text.push('\n') }
            }
            self.text.push(']');
            for level in (0..wrap.len()).rev() {
                line(&mut self.text, self.indent, level);
                self.text.push('}');
            }
            self.text.push('\n');
            // Brackets and line ends exist in every encoding.
            let _ = self.emit(out);
        }
        Ok(())
    }
}
