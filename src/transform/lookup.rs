//! Code tables and other exports that expressions look values up in: `Pays | lookup('pays', 'iso2')`.
//!
//! A table is read whole into memory, within the limit it is given; it never reads a file by itself but through the
//! records it is handed.

use std::borrow::Cow;
use std::collections::HashMap;

use super::eval::{Context, Env, State};
use super::filters::converted;
use super::plan::{Mapping, Plan};
use crate::error::{Error, Result};
use crate::formats::text::{Reading, Style, Type};
use crate::formats::{Next, RecordReader};
use crate::record::{Columns, Entries, Record, Reject, Value};

/// Separates the parts of a key; it does not occur in text exports.
const SEPARATOR: &str = "\u{1f}";

/// One table.
#[derive(Debug, Default)]
pub struct Lookup {
    columns: Columns,
    /// The column of a plain `lookup('table')`.
    value: Option<String>,
    /// The columns of its key.
    key: Vec<String>,
    /// By their keys, as the types of its columns write them; as they stand where they fit none.
    rows: HashMap<String, Row>,
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
        Self {
            columns,
            value: Some("value".into()),
            key: vec!["key".into()],
            rows: values.map(|(k, v)| (k, Row::Flat(vec![Value::owned(v)]))).collect(),
            ..Self::default()
        }
    }

    /// The table that `records` gives, by its columns `key`; `bytes_max` bounds what it may hold. `types` are those of its
    /// columns, in the way in which its file writes them.
    pub fn read(
        (name, records): (&str, &mut Records),
        (key, value): (&[String], Option<&str>),
        duplicates: Duplicates,
        types: Vec<(String, Type)>,
        bytes_max: u64,
    ) -> Result<Self> {
        let columns = records.reader.columns().clone();
        let position = |column: &str| {
            if columns.closed() && records.each.is_none() && columns.position(column).is_none() {
                let near = crate::options::nearest(column, columns.names.iter().map(String::as_str));
                return Err(Error::config(format!("lookups.{name}: the file has no column {column}"))
                    .hint(near.map_or_else(|| format!("it has {}", columns.names.join(", ")), |n| format!("did you mean {n}?"))));
            }
            Ok(column.to_owned())
        };
        let key = key.iter().map(|k| position(k)).collect::<Result<Vec<_>>>()?;
        let value = value.map(position).transpose()?;
        let mut table = Self { value, key, reading: records.reading.clone(), types, ..Self::default() };
        let mut bytes = 0u64;
        while let Some(row) = records.next(name)? {
            let part = |column: &String| match &row.1 {
                Row::Flat(values) => columns.position(column).and_then(|at| values.get(at)).map_or(Value::Null, Value::borrowed),
                Row::Tree(tree) => tree.at(column).map_or(Value::Null, Value::borrowed),
            };
            let key = table.key_of(&table.key.iter().map(part).collect::<Vec<_>>());
            bytes += key.len() as u64 + 64 + row.1.size();
            if bytes > bytes_max {
                return Err(Error::config(format!("lookups.{name} needs more than max_memory")).hint("raise max_memory, or make the table smaller"));
            }
            match table.rows.entry(key) {
                std::collections::hash_map::Entry::Occupied(e) if duplicates == Duplicates::Error => {
                    return Err(Error::config(format!("lookups.{name}: the key {} stands twice", e.key().replace(SEPARATOR, ", ")))
                        .on_line(row.0)
                        .hint("remove one, or set duplicates = \"first\""));
                }
                std::collections::hash_map::Entry::Occupied(_) => {}
                std::collections::hash_map::Entry::Vacant(e) => {
                    e.insert(row.1);
                }
            }
        }
        let closed = columns.closed() && records.each.is_none();
        table.columns = if closed { columns } else { Columns::nested() };
        Ok(table)
    }

    fn kind_of(&self, column: &str) -> Option<Type> {
        self.types.iter().find_map(|(name, kind)| (name == column).then_some(*kind))
    }

    /// A key as the table has it: values by the types of its columns, others as they stand. Of numbers it is their worth.
    fn key_of(&self, values: &[Value<'_>]) -> String {
        let style = Style::default();
        let part = |(column, value): (&String, &Value<'_>)| {
            let typed = self.kind_of(column).and_then(|kind| converted(&self.reading, kind, None, value.borrowed()).ok());
            match typed {
                None | Some(Value::Null) => style.text(value).into_owned(),
                Some(Value::Number(n)) => n.normalize().to_string(),
                Some(typed) => style.text(&typed).into_owned(),
            }
        };
        self.key.iter().zip(values).map(part).collect::<Vec<_>>().join(SEPARATOR)
    }

    fn find(&self, name: &str, key: &str, column: Option<&str>) -> Result<Option<Value<'_>>, String> {
        let column = column
            .or(self.value.as_deref())
            .ok_or_else(|| format!("lookup('{name}') needs a column, as in lookup('{name}', '{}')", self.columns.names.last().cloned().unwrap_or_default()))?;
        if self.columns.closed() && self.columns.position(column).is_none() {
            return Err(format!("the lookup {name} has no column {column}: it has {}", self.columns.names.join(", ")));
        }
        let Some(row) = self.rows.get(key) else { return Ok(None) };
        let found = match row {
            Row::Flat(values) => self.columns.position(column).and_then(|at| values.get(at)).map_or(Value::Null, Value::borrowed),
            Row::Tree(tree) => tree.at(column).map_or(Value::Null, Value::borrowed),
        };
        match self.kind_of(column) {
            None => Ok(Some(found)),
            Some(kind) => converted(&self.reading, kind, None, found).map(Some).map_err(|f| format!("lookup {name}: {}", f.reason())),
        }
    }
}

/// One record of a table.
#[derive(Debug)]
enum Row {
    Flat(Vec<Value<'static>>),
    Tree(Value<'static>),
}

impl Row {
    fn size(&self) -> u64 {
        match self {
            Row::Flat(values) => values.iter().map(super::spill::size).sum(),
            Row::Tree(tree) => super::spill::size(tree),
        }
    }
}

/// The records of a table's file, one for each element of `each` where it has one.
pub struct Records {
    reader: Box<dyn RecordReader>,
    each: Option<Plan>,
    reading: Reading,
    pending: std::vec::IntoIter<Value<'static>>,
    line: u64,
}

impl Records {
    /// The records that `reader` gives; `each` as in `input`.
    pub fn new(name: &str, reader: Box<dyn RecordReader>, each: Option<String>, reading: Reading) -> Result<Self> {
        let plan = match each {
            None => None,
            Some(each) => {
                let mapping = Mapping { each: Some(each), ..Mapping::default() };
                let plan = Plan::compile(&mapping, Some(reader.columns()));
                Some(plan.map_err(|m| Error::config(format!("lookups.{name}.each: {}", m.first().map_or("", |(_, m)| &m.message))))?)
            }
        };
        Ok(Self { reader, each: plan, reading, pending: Vec::new().into_iter(), line: 0 })
    }

    fn next(&mut self, name: &str) -> Result<Option<(u64, Row)>> {
        loop {
            if let Some(tree) = self.pending.next() {
                return Ok(Some((self.line, Row::Tree(tree))));
            }
            let mut record = Record::default();
            let bad = |reject: Reject, line: u64| {
                Error::config(format!("lookups.{name}: {}", reject.reason)).on_line(line).hint("a code table must be right as a whole: correct that line")
            };
            match self.reader.read(&mut record)? {
                Next::End => return Ok(None),
                Next::Bad(reject) => return Err(bad(reject, record.line)),
                Next::Record => {}
            }
            self.line = record.line;
            let Some(plan) = &self.each else {
                return Ok(Some((
                    record.line,
                    match record.tree.take() {
                        Some(Value::Nodes(nodes)) => Row::Tree(nodes.first().map_or(Value::Null, |n| n.to_value())),
                        Some(tree) => Row::Tree(tree),
                        None => Row::Flat((0..record.len()).map(|i| record.value(i).into_owned()).collect()),
                    },
                )));
            };
            let (style, lookups, state, arena) = (Style::default(), Lookups::default(), State::new(plan.fields.len()), bumpalo::Bump::new());
            let context = Context::none();
            let env = Env {
                record: &record,
                columns: &plan.columns,
                reading: &self.reading,
                style: &style,
                lookups: &lookups,
                context: &context,
                turn: None,
                change: None,
                state: &state,
                arena: &arena,
            };
            let row = env.row().map_err(|f| bad(Reject::record(f.reason()), record.line))?;
            let items = plan.elements(&env).map_err(|r| bad(r, record.line))?.unwrap_or_default();
            let trees: Vec<Value<'static>> = items.into_iter().map(|item| beside(&row, item)).collect();
            self.pending = trees.into_iter();
        }
    }
}

/// An element's names beside those of its record; where both have one, the element's counts.
fn beside(row: &Value<'_>, item: Value<'static>) -> Value<'static> {
    let parts = |v: &Value<'_>| v.entries().map(Cow::into_owned).unwrap_or_default();
    let (mut entries, own): (Entries, Entries) = (parts(row), parts(&item));
    entries.retain(|(name, _)| !own.iter().any(|(n, _)| n == name));
    entries.extend(own);
    entries.push(("item".into(), item));
    Value::map(entries)
}

/// All tables of a route.
#[derive(Debug, Default)]
pub struct Lookups(pub HashMap<String, std::sync::Arc<Lookup>>);

impl Lookups {
    /// The value in `column` of the record with that key; none where there is no such key.
    pub fn find(&self, table: &str, key: &[Value<'_>], column: Option<&str>) -> Result<Option<Value<'_>>, String> {
        let lookup = self.0.get(table).ok_or_else(|| format!("there is no lookup {table}"))?;
        // A key of another length is a mistake of the map, not an unknown code that `default` may stand for.
        if key.len() != lookup.key.len() {
            let wanted =
                if lookup.key.len() == 1 { "one value".to_owned() } else { format!("a list of {} values, as in [a, b] | lookup('{table}')", lookup.key.len()) };
            return Err(format!(
                "the lookup {table} is by {wanted}; {} given",
                if key.len() == 1 { "one is".to_owned() } else { format!("{} are", key.len()) }
            ));
        }
        let found = lookup.find(table, &lookup.key_of(key), column)?;
        if found.is_some() || !key.iter().any(|k| matches!(k, Value::Number(n) if n.scale() > 0)) {
            return Ok(found);
        }
        // 7.0 and 7 are the same number.
        let short = |k: &Value<'_>| if let Value::Number(n) = k { Value::owned(n.normalize().to_string()) } else { k.clone().into_owned() };
        lookup.find(table, &lookup.key_of(&key.iter().map(short).collect::<Vec<_>>()), column)
    }
}
