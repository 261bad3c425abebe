//! What flows from a reader through the mapping to a writer: values, records and where they came from.
//!
//! A value never changes by being carried: text stays text, and a JSON number keeps its digits ([`Value::Digits`])
//! until an expression computes with it. Nothing here does any I/O.

mod node;

pub use node::{Node, Nodes};

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
    Map(Arc<Entries>),
    /// The elements that a path of an XML or EDIFACT record reaches, one or more: as text the first, as a list all.
    Nodes(Nodes),
}

/// A name in a record. Readers hand out the same one for the same name, so that a million records share it.
pub type Key = Arc<str>;

/// Names and values, in A's order.
pub type Entries = Vec<(Key, Value<'static>)>;

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
            Value::Nodes(n) => Value::Nodes(n),
        }
    }
    /// Names and values.
    pub fn map(entries: Entries) -> Self {
        Value::Map(Arc::new(entries))
    }
    /// A value that borrows from this one instead of copying its text.
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Text(t) => Value::Text(Cow::Borrowed(t)),
            Value::Digits(t) => Value::Digits(Cow::Borrowed(t)),
            other => other.clone(),
        }
    }
    /// Of elements that have a type, the first one's value; any other value as it is.
    pub fn plain(self) -> Self {
        match &self {
            Value::Nodes(nodes) if nodes.first().is_some_and(|first| first.typed.is_some()) => nodes.scalar().into_owned(),
            _ => self,
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
            Value::Nodes(_) => "an element",
        }
    }
    /// Names and values of a map, or of what stands under the first element; none: it has no parts.
    pub fn entries(&self) -> Option<Cow<'_, Entries>> {
        match self {
            Value::Map(entries) => Some(Cow::Borrowed(entries)),
            Value::Nodes(nodes) => match nodes.first()?.to_value() {
                Value::Map(entries) => Some(Cow::Owned(Arc::unwrap_or_clone(entries))),
                _ => None,
            },
            _ => None,
        }
    }
    /// The part of a date or a time under `name`: `year`, `hour` …
    pub fn time_part(&self, name: &str) -> Option<i64> {
        let at = match self {
            Value::Date(d) => d.at(0, 0, 0, 0),
            Value::DateTime(d, _) => *d,
            _ => return None,
        };
        Some(match name {
            "year" => at.year().into(),
            "month" => at.month().into(),
            "day" => at.day().into(),
            "hour" => at.hour().into(),
            "minute" => at.minute().into(),
            "second" => at.second().into(),
            _ => return None,
        })
    }
    /// What stands under a name with dots; the name as a whole comes first.
    pub fn at(&self, path: &str) -> Option<&Value<'static>> {
        self.get(path).or_else(|| {
            let (head, rest) = path.split_once('.')?;
            self.get(head)?.at(rest)
        })
    }
    /// The entry of a map under `name`; the last one, as most readers of JSON have it, where a name stands twice.
    pub fn get(&self, name: &str) -> Option<&Value<'static>> {
        match self {
            Value::Map(entries) => entries.iter().rfind(|(key, _)| **key == *name).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// The names of A's columns in order, unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// The names; empty when `nested` and not known before a record is read.
    pub names: Vec<String>,
    /// Records are trees: a name is looked up in each of them.
    pub nested: bool,
    /// Records are rows of typed cells: a column without a declared type may hold anything.
    pub cells: bool,
    /// Records have something around them, which expressions reach as `parent`.
    pub around: bool,
    /// Of groups of flat records: the name of the list of them, and the columns that each of them has.
    pub rows: Option<(String, Vec<String>)>,
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
        Self { names, ..Self::default() }
    }
    /// The columns of a reader of trees whose names nobody declared.
    pub fn nested() -> Self {
        Self { nested: true, ..Self::default() }
    }
    /// The columns of a reader of trees that stand in other trees.
    pub fn within() -> Self {
        Self { nested: true, around: true, ..Self::default() }
    }
    /// The columns of a reader of trees whose names at the top are these.
    pub fn tree(names: Vec<String>) -> Self {
        Self { names, nested: true, ..Self::default() }
    }
    /// The columns of a reader of typed cells.
    pub fn cells(names: Vec<String>) -> Self {
        Self { names, cells: true, ..Self::default() }
    }
    /// Whether all names are known, so that another one is a mistake.
    pub fn closed(&self) -> bool {
        !self.names.is_empty() || !(self.nested || self.cells)
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
    /// Flat records: the text that the fields are parts of.
    text: String,
    /// Where each field of `text` begins and ends.
    spans: Vec<(usize, usize)>,
    /// Flat records of typed cells (spreadsheets, DBF): the values, instead of text.
    pub cells: Vec<Value<'static>>,
    /// Cells that hold no value but an error: where it stands, and why it rejects whatever uses it.
    pub faults: Vec<(usize, String)>,
    /// Nested records: the tree.
    pub tree: Option<Value<'static>>,
    /// Records of XML: the element around.
    pub parent: Option<Nodes>,
    /// What the rejects file shows of it where its fields are no text.
    pub raw: Vec<u8>,
    /// A group: the records that it was made of, for the rejects file.
    pub members: Vec<Record>,
}

impl Record {
    /// Forgets the fields, keeps the buffers.
    pub fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
        self.cells.clear();
        self.faults.clear();
        self.tree = None;
        self.parent = None;
        self.raw.clear();
        self.members.clear();
    }
    /// Adds a field.
    pub fn push(&mut self, field: &str) {
        let start = self.text.len();
        self.text.push_str(field);
        self.spans.push((start, self.text.len()));
    }
    /// Replaces all fields: what is put into `text` is cut by the spans, which must lie on char boundaries.
    pub fn fill(&mut self, fill: impl FnOnce(&mut String, &mut Vec<(usize, usize)>)) {
        self.text.clear();
        self.spans.clear();
        fill(&mut self.text, &mut self.spans);
    }
    /// How many fields there are.
    pub fn len(&self) -> usize {
        if self.cells.is_empty() { self.spans.len() } else { self.cells.len() }
    }
    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The field at `i`, empty where there is none.
    pub fn field(&self, i: usize) -> &str {
        self.spans.get(i).and_then(|(start, end)| self.text.get(*start..*end)).unwrap_or("")
    }
    /// The value at `i` of a flat record.
    pub fn value(&self, i: usize) -> Value<'_> {
        if self.cells.is_empty() { Value::text(self.field(i)) } else { self.cells.get(i).map_or(Value::Null, Value::borrowed) }
    }
    /// All fields of a record of texts.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.spans.len()).map(|i| self.field(i))
    }
    /// All fields without spaces around.
    pub fn trim(&mut self) {
        for (start, end) in &mut self.spans {
            let field = self.text.get(*start..*end).unwrap_or("");
            let left = field.len() - field.trim_start().len();
            let kept = field.trim().len();
            *start += left;
            *end = *start + kept;
        }
    }
    /// Drops the fields from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.spans.truncate(len);
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
