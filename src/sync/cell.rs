//! What the memory keeps of a value: enough to compare it with what either side writes later, and to write it again.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::formats::json;
use crate::formats::text::{Encoder, Reading, Style, Type};
use crate::record::Value;

/// What a value was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Null,
    Text,
    Number,
    Date,
    Time,
    Bool,
    /// A list or a map, as JSON.
    Nested,
}

/// A value as the memory keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    kind: Kind,
    /// One text for all ways of writing it: `1234.5` for `1 234,50`.
    text: Box<str>,
    /// As it is written for the other side, where that is another text.
    written: Option<Box<str>>,
}

impl Cell {
    /// What is kept of `value`, which `style` writes.
    pub fn of(value: &Value<'_>, style: &Style) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Text(_) | Value::Nodes(_) => Kind::Text,
            Value::Number(_) | Value::Digits(_) => Kind::Number,
            Value::Date(_) => Kind::Date,
            Value::DateTime(..) => Kind::Time,
            Value::Bool(_) => Kind::Bool,
            Value::List(_) | Value::Map(_) => Kind::Nested,
        };
        let mut text = String::new();
        push(&mut text, value);
        let written = match kind {
            Kind::Null | Kind::Text | Kind::Nested => None,
            Kind::Number | Kind::Date | Kind::Time | Kind::Bool => Some(style.text(value)).filter(|w| **w != *text).map(|w| w.into_owned().into()),
        };
        Self { kind, text: text.into(), written }
    }

    /// The same, for a side that gets `?` for what its encoding lacks: that is how it comes back from there.
    pub fn encoded(mut self, encoder: &Encoder) -> Self {
        if encoder.replace && self.kind == Kind::Text && !self.text.is_ascii() {
            self.written = encoder.replaced(&self.text).map(String::into_boxed_str);
        }
        self
    }

    /// The text that all ways of writing it have in common.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value.
    pub fn value(&self) -> Value<'static> {
        let text = || Value::owned(self.text.to_string());
        match self.kind {
            Kind::Null => Value::Null,
            Kind::Text => text(),
            // The scale that was written: 1.50 stays 1.50.
            Kind::Number => self.number().map_or_else(text, Value::Number),
            Kind::Bool => Value::Bool(&*self.text == "true"),
            Kind::Date => Reading::default().convert(Type::Date, &self.text).map_or_else(|_| text(), Value::into_owned),
            Kind::Time => Reading::default().convert(Type::DateTime, &self.text).map_or_else(|_| text(), Value::into_owned),
            Kind::Nested => json::from_text(&self.text).unwrap_or_else(text),
        }
    }

    fn number(&self) -> Option<Decimal> {
        let plain = |t: &str| t.replace(',', ".").parse::<Decimal>().ok();
        let exact: Decimal = self.text.parse().ok()?;
        self.written.as_deref().and_then(plain).filter(|w| *w == exact).or(Some(exact))
    }

    /// Whether both are the same value, however each side writes it; `reading` is how the side writes whose export the
    /// other one is.
    pub fn same(&self, other: &Cell, reading: &Reading) -> bool {
        if self.text == other.text {
            return true;
        }
        let written = |a: &Cell, b: &Cell| a.written.as_ref().is_some_and(|w| *w == b.text);
        if self.kind == Kind::Time
            && let (Value::DateTime(x, Some(a)), Value::DateTime(y, Some(b))) = (self.value(), other.value())
        {
            // One moment, in two zones.
            return a.to_timestamp(x).ok() == b.to_timestamp(y).ok();
        }
        if self.kind == other.kind {
            return self.comes_back_as(other, reading) || other.comes_back_as(self, reading);
        }
        written(self, other) || written(other, self) || self.reads_as(other, reading) || other.reads_as(self, reading)
    }

    /// Whether what was written of it, read again, is the other: `01/02/35` is all that a side gets of 1935, and `?` of what
    /// its encoding lacks.
    fn comes_back_as(&self, other: &Cell, reading: &Reading) -> bool {
        let kind = match self.kind {
            Kind::Date => Type::Date,
            Kind::Time => Type::DateTime,
            Kind::Text => return self.written.as_ref().is_some_and(|written| *written == other.text),
            Kind::Null | Kind::Number | Kind::Bool | Kind::Nested => return false,
        };
        let mut text = String::new();
        self.written.as_ref().is_some_and(|written| reading.convert(kind, written).is_ok_and(|value| push_same(&mut text, &value, &other.text)))
    }

    /// Whether this text, read as the other's type, is the other.
    fn reads_as(&self, other: &Cell, reading: &Reading) -> bool {
        let kind = match other.kind {
            Kind::Number => Type::Decimal,
            Kind::Date => Type::Date,
            Kind::Time => Type::DateTime,
            Kind::Bool => Type::Bool,
            Kind::Null | Kind::Text | Kind::Nested => return false,
        };
        let mut text = String::new();
        self.kind == Kind::Text && reading.convert(kind, &self.text).is_ok_and(|value| push_same(&mut text, &value, &other.text))
    }
}

fn push_same(text: &mut String, value: &Value<'_>, wanted: &str) -> bool {
    push(text, value);
    text == wanted
}

/// Adds the text that all ways of writing `value` have in common.
pub fn push(out: &mut String, value: &Value<'_>) {
    use std::fmt::Write;
    let number = match value {
        Value::Number(n) => Some(*n),
        Value::Digits(d) => d.parse().ok(),
        _ => None,
    };
    match (number, value) {
        // Writing to a text never fails.
        (Some(n), _) => drop(write!(out, "{}", n.normalize())),
        (None, Value::Text(t)) => out.push_str(t),
        (None, value) => Style::default().push(out, value),
    }
}

/// Some cells of a record, by the numbers of their columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row(Vec<(u16, Cell)>);

impl Row {
    /// The cell of a column.
    pub fn get(&self, column: u16) -> Option<&Cell> {
        self.0.binary_search_by_key(&column, |(c, _)| *c).ok().map(|at| &self.0[at].1)
    }
    /// Sets the cell of a column.
    pub fn set(&mut self, column: u16, cell: Cell) {
        match self.0.binary_search_by_key(&column, |(c, _)| *c) {
            Ok(at) => self.0[at].1 = cell,
            Err(at) => self.0.insert(at, (column, cell)),
        }
    }
    /// Drops the cell of a column.
    pub fn drop(&mut self, column: u16) {
        self.retain(|c| c != column);
    }
    /// The cells of some columns.
    pub fn only(&self, wanted: impl Fn(u16) -> bool) -> Row {
        Row(self.0.iter().filter(|(c, _)| wanted(*c)).cloned().collect())
    }
    /// Keeps the cells of some columns.
    pub fn retain(&mut self, kept: impl Fn(u16) -> bool) {
        self.0.retain(|(c, _)| kept(*c));
    }
    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The cells with the numbers of their columns, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Cell)> {
        self.0.iter().map(|(c, cell)| (*c, cell))
    }
    /// Takes over the cells of another one.
    pub fn overlay(&mut self, other: &Row) {
        other.iter().for_each(|(column, cell)| self.set(column, cell.clone()));
    }
    /// The same for the same values: what tells in eight bytes that nothing has changed.
    pub fn mark(&self) -> u64 {
        let mut marker = Marker::default();
        self.iter().for_each(|(column, cell)| marker.add(column, &cell.text));
        marker.finish()
    }
}

impl FromIterator<(u16, Cell)> for Row {
    fn from_iter<T: IntoIterator<Item = (u16, Cell)>>(cells: T) -> Self {
        let mut row = Row(cells.into_iter().collect());
        row.0.sort_by_key(|(c, _)| *c);
        row
    }
}

/// Makes the mark of a row. A mark is never 0.
#[derive(Default)]
pub struct Marker(Vec<u8>);

impl Marker {
    /// Forgets what was added, keeps the room for it.
    pub fn clear(&mut self) {
        self.0.clear();
    }
    /// Adds the text of a column; empty ones leave no trace, so that a new, empty column changes nothing.
    pub fn add(&mut self, column: u16, text: &str) {
        if !text.is_empty() {
            self.0.extend_from_slice(&column.to_le_bytes());
            self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.0.extend_from_slice(text.as_bytes());
        }
    }
    /// Adds the text that all ways of writing a value have in common.
    pub fn add_value(&mut self, column: u16, value: &Value<'_>, scratch: &mut String) {
        if let Value::Text(text) = value {
            return self.add(column, text);
        }
        scratch.clear();
        push(scratch, value);
        self.add(column, scratch);
    }
    /// The mark.
    pub fn finish(&self) -> u64 {
        xxh3_64(&self.0).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Cell {
        Cell::of(&Value::text(text), &Style::default())
    }
    fn number(text: &str, decimal: char) -> Cell {
        Cell::of(&Value::Number(text.parse().unwrap()), &Style { decimal, ..Style::default() })
    }

    #[test]
    fn the_same_value_is_the_same_however_it_is_written() {
        let french = Reading { decimal: ',', ..Reading::default() };
        assert!(number("1234.50", '.').same(&number("1234.5", ','), &Reading::default()));
        assert!(text("1234,50").same(&number("1234.5", '.'), &french));
        assert!(number("1234.50", ',').same(&text("1234,50"), &Reading::default()), "as it was written");
        assert!(text("").same(&Cell::of(&Value::Null, &Style::default()), &french));
        assert!(!text("1234,50").same(&text("1234,5"), &french), "text stays text");
        assert!(!text("x").same(&number("1", '.'), &french));
    }

    #[test]
    fn a_value_comes_back_as_it_was() {
        for value in [Value::Null, Value::text("01"), Value::Number("1.50".parse().unwrap()), Value::Bool(true), Value::Date(jiff::civil::date(2025, 12, 31))] {
            assert_eq!(Cell::of(&value, &Style::default()).value(), value.into_owned());
        }
        let nested = Value::map(vec![("a".into(), Value::list(vec![Value::owned("x"), Value::Null]))]);
        assert_eq!(Cell::of(&nested, &Style::default()).value(), nested);
    }

    #[test]
    fn a_row_is_marked_by_its_values_alone() {
        let row = |cells: &[(u16, &str)]| cells.iter().map(|(c, t)| (*c, text(t))).collect::<Row>();
        assert_eq!(row(&[(2, "b"), (1, "a")]).mark(), row(&[(1, "a"), (2, "b"), (3, "")]).mark());
        assert_ne!(row(&[(1, "ab"), (2, "c")]).mark(), row(&[(1, "a"), (2, "bc")]).mark());
    }
}
