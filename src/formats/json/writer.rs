//! Writes JSON and NDJSON: targets with dots nest, the array may be wrapped and indented.

use std::io::Write;

use super::super::text::Style;
use super::super::{Output, RecordWriter, Writing};
use crate::error::{Error, Result};
use crate::record::{Reject, Value};

/// A value as compact JSON.
pub fn to_text(value: &Value<'_>, style: &Style) -> String {
    let mut out = String::new();
    put(&mut out, value, style, 0, 0);
    out
}

pub(super) fn put_string(out: &mut String, text: &str) {
    // A string always serialises.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
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
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::Digits(d) => out.push_str(d),
        Value::Bool(_) | Value::Date(_) | Value::DateTime(..) | Value::Text(_) => put_string(out, &style.text(value)),
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
        Value::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Map(entries) => {
            put_object(out, entries.iter().map(|(k, v)| (k.as_str(), Node::Value(v))), style, indent, level);
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
pub(super) enum Slot {
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

/// Names with dots nest: `adresse.ville` is `ville` in `adresse`.
pub(super) fn slots(columns: &[String], nest: Nesting) -> Vec<(String, Slot)> {
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
    for (index, name) in columns.iter().enumerate() {
        match nest {
            Nesting::Dots => insert(&mut out, &name.split('.').collect::<Vec<_>>(), index),
            Nesting::Flat => out.push((name.clone(), Slot::Value(index))),
        }
    }
    out
}

#[derive(Clone, Copy)]
pub(super) enum Nesting {
    Dots,
    Flat,
}

pub(super) struct Writer {
    output: Output,
    writing: Writing,
    slots: Vec<(String, Slot)>,
    /// The names around the array; none: one record a line.
    wrap: Option<Vec<String>>,
    indent: usize,
    ending: String,
    first: bool,
    text: String,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(writing: Writing, output: Output, wrap: Option<Vec<String>>, indent: usize, ending: String) -> Result<Self> {
        let nest = if writing.mapped { Nesting::Dots } else { Nesting::Flat };
        let slots = slots(&writing.columns, nest);
        let mut writer = Self { output, writing, slots, wrap, indent, ending, first: true, text: String::new(), bytes: Vec::new() };
        let prefix = writer.writing.encoder.prefix();
        writer.output.write_all(&prefix).map_err(|e| super::super::write_error(&e))?;
        if let Some(wrap) = writer.wrap.clone() {
            for (level, name) in wrap.iter().enumerate() {
                writer.text.push('{');
                line(&mut writer.text, indent, level + 1);
                put_string(&mut writer.text, name);
                writer.text.push_str(if indent > 0 { ": " } else { ":" });
            }
            writer.text.push('[');
            if let Err(c) = writer.emit()? {
                return Err(Error::file(format!("output.wrap: {}", super::super::unencodable(c, &writer.writing, usize::MAX).reason)));
            }
        }
        Ok(writer)
    }

    /// Writes `text` out; a character that the encoding lacks leaves nothing behind.
    pub(super) fn emit(&mut self) -> Result<Result<(), char>> {
        self.bytes.clear();
        // Line ends inside values are escaped: every one that stands here is ours.
        if self.ending != "\n" {
            self.text = self.text.replace('\n', &self.ending);
        }
        if let Err(c) = self.writing.encoder.encode(&self.text, &mut self.bytes) {
            return Ok(Err(c));
        }
        self.text.clear();
        self.output.write_all(&self.bytes).map_err(|e| super::super::write_error(&e))?;
        Ok(Ok(()))
    }
}

impl RecordWriter for Writer {
    fn write(&mut self, values: &[Value<'_>]) -> Result<Result<(), Reject>> {
        self.text.clear();
        let level = self.wrap.as_ref().map_or(0, |w| w.len() + 1);
        if self.wrap.is_some() {
            self.text.push_str(if self.first { "" } else { "," });
            if self.indent > 0 { line(&mut self.text, self.indent, level) } else { self.text.push('\n') }
        }
        match values {
            // Without a map, a nested record goes as it is.
            [whole @ Value::Map(_)] if self.slots.is_empty() => put(&mut self.text, whole, &self.writing.style, self.indent, level),
            _ => put_slots(&mut self.text, &self.slots, values, &self.writing.style, self.indent, level),
        }
        if self.wrap.is_none() {
            self.text.push('\n');
        }
        match self.emit()? {
            Ok(()) => {
                self.first = false;
                Ok(Ok(()))
            }
            Err(c) => {
                let style = &self.writing.style;
                let field = values.iter().position(|v| style.text(v).contains(c)).unwrap_or(usize::MAX);
                Ok(Err(super::super::unencodable(c, &self.writing, field)))
            }
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.text.clear();
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
            let _: Result<(), char> = self.emit()?;
        }
        self.output.flush().map_err(|e| super::super::write_error(&e))
    }
}
