//! Code tables and other exports that expressions look values up in: `Pays | lookup('pays', 'iso2')`.
//!
//! A table is read whole into memory, within the limit it is given; it never reads a file by itself but through the
//! records it is handed.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::formats::text::{Reading, Type};
use crate::formats::{Next, RecordReader};
use crate::record::{Columns, Record, Value};

/// Separates the parts of a key; it does not occur in text exports.
const SEPARATOR: &str = "\u{1f}";

/// One table.
#[derive(Debug, Default)]
pub struct Lookup {
    columns: Columns,
    /// The column of a plain `lookup('table')`.
    value: Option<usize>,
    rows: HashMap<String, Vec<String>>,
    /// How the table's file writes values, and the types declared for its columns.
    reading: Reading,
    types: Vec<(String, Type)>,
}

/// What the second record with a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// The first one counts.
    First,
    /// The table is wrong.
    Error,
}

impl Lookup {
    /// The table that stands in the configuration itself.
    pub fn from_values(values: impl Iterator<Item = (String, String)>) -> Self {
        let columns = Columns::from_header(["value"].into_iter());
        Self { columns, value: Some(0), rows: values.map(|(k, v)| (k, vec![v])).collect(), ..Self::default() }
    }

    /// The table that `reader` gives, by its columns `key`; `bytes_max` bounds what it may hold.
    pub fn read(name: &str, reader: &mut dyn RecordReader, key: &[String], value: Option<&str>, duplicates: Duplicates, bytes_max: u64) -> Result<Self> {
        let columns = reader.columns().clone();
        let position = |column: &str| {
            let near = crate::options::nearest(column, columns.names.iter().map(String::as_str));
            columns.position(column).ok_or_else(|| {
                Error::config(format!("lookups.{name}: the file has no column {column}"))
                    .hint(near.map_or_else(|| format!("it has {}", columns.names.join(", ")), |n| format!("did you mean {n}?")))
            })
        };
        let keys = key.iter().map(|k| position(k)).collect::<Result<Vec<_>>>()?;
        let value = value.map(position).transpose()?;
        let mut rows: HashMap<String, Vec<String>> = HashMap::new();
        let mut record = Record::default();
        let mut bytes = 0u64;
        loop {
            match reader.read(&mut record)? {
                Next::End => break,
                Next::Bad(reject) => {
                    return Err(Error::config(format!("lookups.{name}: {}", reject.reason))
                        .on_line(record.line)
                        .hint("a code table must be right as a whole: correct that line"));
                }
                Next::Record => {}
            }
            let key = keys.iter().map(|at| record.field(*at)).collect::<Vec<_>>().join(SEPARATOR);
            let fields: Vec<String> = record.fields().map(str::to_owned).collect();
            bytes += (key.len() + fields.iter().map(|f| f.len() + 24).sum::<usize>() + 64) as u64;
            if bytes > bytes_max {
                return Err(Error::config(format!("lookups.{name} needs more than max_memory")).hint("raise max_memory, or make the table smaller"));
            }
            match rows.entry(key) {
                std::collections::hash_map::Entry::Occupied(e) if duplicates == Duplicates::Error => {
                    return Err(Error::config(format!("lookups.{name}: the key {} stands twice", e.key().replace(SEPARATOR, ", ")))
                        .on_line(record.line)
                        .hint("remove one, or set duplicates = \"first\""));
                }
                std::collections::hash_map::Entry::Occupied(_) => {}
                std::collections::hash_map::Entry::Vacant(e) => {
                    e.insert(fields);
                }
            }
        }
        Ok(Self { columns, value, rows, ..Self::default() })
    }

    /// With the types of its columns, read as its file writes them.
    #[must_use]
    pub fn typed(mut self, reading: Reading, types: Vec<(String, Type)>) -> Self {
        (self.reading, self.types) = (reading, types);
        self
    }

    fn find(&self, name: &str, key: &str, column: Option<&str>) -> Result<Option<Value<'_>>, String> {
        let at = match column {
            Some(column) => {
                self.columns.position(column).ok_or_else(|| format!("the lookup {name} has no column {column}: it has {}", self.columns.names.join(", ")))?
            }
            None => self.value.ok_or_else(|| {
                format!("lookup('{name}') needs a column, as in lookup('{name}', '{}')", self.columns.names.last().cloned().unwrap_or_default())
            })?,
        };
        let Some(row) = self.rows.get(key) else { return Ok(None) };
        let text = row.get(at).map_or("", String::as_str);
        let kind = self.columns.names.get(at).and_then(|n| self.types.iter().find(|(t, _)| t == n)).map_or(Type::Text, |(_, t)| *t);
        self.reading.convert(kind, text).map(Some).map_err(|why| format!("lookup {name}: {why}"))
    }
}

/// All tables of a route.
#[derive(Debug, Default)]
pub struct Lookups(pub HashMap<String, std::sync::Arc<Lookup>>);

impl Lookups {
    /// The value in `column` of the record with that key; none where there is no such key.
    pub fn find(&self, table: &str, key: &[Cow<'_, str>], column: Option<&str>) -> Result<Option<Value<'_>>, String> {
        let lookup = self.0.get(table).ok_or_else(|| format!("there is no lookup {table}"))?;
        lookup.find(table, &key.join(SEPARATOR), column)
    }
}
