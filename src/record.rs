//! What flows from a reader through the mapping to a writer: values, records and where they came from.
//!
//! A value never changes by being carried: text stays text, and a JSON number keeps its digits ([`Value::Digits`])
//! until an expression computes with it. Nothing here does any I/O.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use rust_decimal::Decimal;

/// One value. `'r` is the record it may borrow its text from.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'r> {
    /// Nothing: an empty typed field, JSON's `null`, an absent part.
    Null,
    /// True or false.
    Bool(bool),
    /// An exact decimal of up to 28 digits; its scale is shown as it is.
    Number(Decimal),
    /// A JSON number as A wrote it.
    Digits(Cow<'r, str>),
    /// Text.
    Text(Cow<'r, str>),
    /// A calendar day.
    Date(Date),
    /// A day and a time, with its offset where A gave one.
    DateTime(DateTime, Option<Offset>),
    /// A list.
    List(Arc<Vec<Value<'static>>>),
    /// Names and values, in A's order.
    Map(Arc<Vec<(String, Value<'static>)>>),
}

impl<'r> Value<'r> {
    /// Text that is borrowed from the record.
    pub fn text(text: &'r str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
    /// Text that was made.
    pub fn owned(text: impl Into<String>) -> Self {
        Value::Text(Cow::Owned(text.into()))
    }
    /// A list of values that outlive the record.
    pub fn list(items: Vec<Value<'static>>) -> Self {
        Value::List(Arc::new(items))
    }
    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(b) => Value::Bool(b),
            Value::Number(n) => Value::Number(n),
            Value::Digits(t) => Value::Digits(Cow::Owned(t.into_owned())),
            Value::Text(t) => Value::Text(Cow::Owned(t.into_owned())),
            Value::Date(d) => Value::Date(d),
            Value::DateTime(d, o) => Value::DateTime(d, o),
            Value::List(l) => Value::List(l),
            Value::Map(m) => Value::Map(m),
        }
    }
    /// A value that borrows from this one instead of copying its text.
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Text(t) => Value::Text(Cow::Borrowed(t)),
            Value::Digits(t) => Value::Digits(Cow::Borrowed(t)),
            other => other.clone(),
        }
    }
    /// The word for this kind of value in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) | Value::Digits(_) => "a number",
            Value::Text(_) => "text",
            Value::Date(_) => "a date",
            Value::DateTime(..) => "a date and time",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
    /// The entry of a map under `name`.
    pub fn get(&self, name: &str) -> Option<&Value<'static>> {
        match self {
            Value::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// The names of A's columns in order, unique. A reader of nested records has none: names are looked up in each record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// The names; empty when `nested`.
    pub names: Vec<String>,
    /// Records are trees (JSON): a name is looked up in each of them.
    pub nested: bool,
}

impl Columns {
    /// Columns as a file's header names them: a column without a name becomes `column4`, a repeated name `tb_2`.
    pub fn from_header<'a>(header: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut taken = std::collections::HashSet::new();
        for (i, name) in header.enumerate() {
            let base = if name.trim().is_empty() { format!("column{}", i + 1) } else { name.to_owned() };
            let mut unique = base.clone();
            let mut n = 2;
            while !taken.insert(unique.clone()) {
                unique = format!("{base}_{n}");
                n += 1;
            }
            names.push(unique);
        }
        Self { names, nested: false }
    }
    /// The columns of a reader of trees.
    pub fn nested() -> Self {
        Self { names: Vec::new(), nested: true }
    }
    /// Where the column `name` stands.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
}

/// One record as read. The caller owns it and hands it to the reader again: its buffers are reused.
#[derive(Debug, Default)]
pub struct Record {
    /// The line it starts on, from 1.
    pub line: u64,
    /// Its number among the records of the file, from 1.
    pub number: u64,
    /// Flat records: all fields, one after the other.
    text: String,
    /// Where each field of `text` ends.
    ends: Vec<usize>,
    /// Nested records: the tree.
    pub tree: Option<Value<'static>>,
    /// Nested records: the bytes as read, for the rejects file.
    pub raw: Vec<u8>,
}

impl Record {
    /// Forgets the fields, keeps the buffers.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.tree = None;
        self.raw.clear();
    }
    /// Adds a field.
    pub fn push(&mut self, field: &str) {
        self.text.push_str(field);
        self.ends.push(self.text.len());
    }
    /// Replaces all fields: `text` is taken as it is, cut at `ends`, which must be char boundaries in rising order.
    pub fn fill(&mut self, fill: impl FnOnce(&mut String, &mut Vec<usize>)) {
        self.text.clear();
        self.ends.clear();
        fill(&mut self.text, &mut self.ends);
    }
    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// The field at `i`, empty where there is none.
    pub fn field(&self, i: usize) -> &str {
        let Some(&end) = self.ends.get(i) else { return "" };
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..end]
    }
    /// All fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.field(i))
    }
    /// Drops the fields from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
    }
}

/// Why one record can't go to B; the others go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// The target or column it is about, empty for the whole record.
    pub field: String,
    /// The reason, in words for an office worker.
    pub reason: String,
}

impl Reject {
    /// A reason about `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
    /// A reason about the record as a whole.
    pub fn record(reason: impl Into<String>) -> Self {
        Self::new("", reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_a_name_and_repeated_names_are_told_apart() {
        let columns = Columns::from_header(["tb", "", "tb", "tb_2", " "].into_iter());
        assert_eq!(columns.names, ["tb", "column2", "tb_2", "tb_2_2", "column5"]);
    }

    #[test]
    fn a_record_gives_back_its_fields() {
        let mut record = Record::default();
        for field in ["a", "", "cé"] {
            record.push(field);
        }
        assert_eq!(record.fields().collect::<Vec<_>>(), ["a", "", "cé"]);
        record.truncate(1);
        assert_eq!((record.len(), record.field(0), record.field(7)), (1, "a", ""));
    }
}
