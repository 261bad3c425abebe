//! `input.group_by`: adjacent records with equal keys become one, with a list of all of them.
//!
//! A group goes to B whole or not at all: a row that can't be read rejects the group it stands in.

use std::borrow::Cow;
use std::sync::Arc;

use super::filters::converted;
use super::typed::{Declared, retyped};
use crate::error::{Error, Result};
use crate::formats::text::{Reading, Style, Type};
use crate::formats::{Next, RecordReader, Remark};
use crate::record::{Columns, Entries, Key, Record, Reject, Value};

/// Which records belong together, and where their list goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// The columns that are equal in a group.
    pub by: Vec<String>,
    /// The name of the list.
    pub into: String,
}

/// A reader of groups over a reader of records.
pub struct Groups {
    inner: Box<dyn RecordReader>,
    columns: Columns,
    names: Vec<Key>,
    by: Vec<String>,
    into: Key,
    types: Vec<(String, Type)>,
    reading: Reading,
    bytes_max: u64,
    held: Option<(Record, Next)>,
    number: u64,
    /// The columns of the key that some record had.
    seen: Vec<bool>,
    /// A record without a readable key ended the group before: it may belong to the next one as well.
    doubt: Option<Reject>,
}

impl Groups {
    /// Groups of the records of `inner`; a group may hold `bytes_max`.
    pub fn new(inner: Box<dyn RecordReader>, grouping: &Grouping, types: &[(String, Type)], reading: &Reading, bytes_max: u64) -> Result<Self> {
        let of = inner.columns().clone();
        if of.closed() {
            let missing: Vec<&str> = grouping.by.iter().map(String::as_str).filter(|n| of.position(n).is_none()).collect();
            if !missing.is_empty() {
                return Err(
                    Error::file(format!("the file has no column {}", missing.join(", "))).hint("check input.group_by, input.delimiter and input.encoding")
                );
            }
        }
        if of.position(&grouping.into).is_some() {
            return Err(taken(&grouping.into));
        }
        let columns = if of.closed() {
            let mut names = of.names.clone();
            names.push(grouping.into.clone());
            let rows = (!of.nested).then(|| (grouping.into.clone(), of.names.clone()));
            Columns { around: of.around, rows, ..Columns::tree(names) }
        } else {
            of.clone()
        };
        Ok(Self {
            names: of.names.iter().map(|n| n.as_str().into()).collect(),
            inner,
            columns,
            by: grouping.by.clone(),
            into: grouping.into.as_str().into(),
            types: types.to_vec(),
            reading: reading.clone(),
            bytes_max,
            held: None,
            number: 0,
            seen: vec![of.closed(); grouping.by.len()],
            doubt: None,
        })
    }

    fn key(&mut self, record: &Record) -> Vec<String> {
        let style = Style::default();
        let value = |name: &String| match &record.tree {
            Some(Value::Nodes(nodes)) => name.split('.').fold(Value::Nodes(nodes.clone()), |v, part| match &v {
                Value::Nodes(nodes) => nodes.part(part),
                _ => Value::Null,
            }),
            Some(tree) => tree.at(name).map_or(Value::Null, Value::borrowed),
            None => self.inner.columns().position(name).map_or(Value::Null, |i| record.value(i)),
        };
        let values: Vec<Value<'_>> = self.by.iter().map(value).collect();
        self.seen.iter_mut().zip(&values).for_each(|(seen, v)| *seen |= !matches!(v, Value::Null));
        let text = |(name, v): (&String, Value<'_>)| {
            // By its type, 1 and 01 are one number; what does not fit rejects its record later.
            let kind = self.types.iter().find(|(n, _)| n == name).map(|(_, kind)| *kind);
            let typed = kind.and_then(|kind| converted(&self.reading, kind, None, v.borrowed()).ok().map(Value::into_owned));
            match typed {
                Some(Value::Number(n)) => n.normalize().to_string(),
                Some(typed) => style.text(&typed).into_owned(),
                None => style.text(&v).into_owned(),
            }
        };
        self.by.iter().zip(values).map(text).collect()
    }

    /// Whether a record that is bad can still be told to belong somewhere: its key was read.
    fn has_key(&self, record: &Record) -> bool {
        let place = |name: &String| self.inner.columns().position(name).is_some_and(|i| i < record.len() && record.faults.iter().all(|(at, _)| *at != i));
        record.tree.is_none() && self.by.iter().all(place)
    }

    /// The record as a map: its columns as they stand, or by their types.
    fn entries(&self, record: &Record, typed: Typed) -> Result<Entries, Reject> {
        if let Some(tree @ (Value::Map(_) | Value::Nodes(_))) = &record.tree {
            let mut tree = Value::map(tree.entries().map(Cow::into_owned).unwrap_or_default());
            for (name, kind) in self.types.iter().filter(|_| typed == Typed::Yes) {
                let path = Declared::new(name, *kind, None).path;
                tree = retyped(&self.reading, tree, &path, *kind).map_err(|f| Reject::new(name, f.reason()))?;
            }
            return Ok(tree.entries().map(Cow::into_owned).unwrap_or_default());
        }
        if let Some((at, why)) = record.faults.first() {
            return Err(Reject::new(self.names.get(*at).map_or("", |n| n), why.clone()));
        }
        let value = |(i, name): (usize, &Key)| {
            let raw = record.value(i).into_owned();
            let kind = self.types.iter().find(|(n, _)| **n == **name).map(|(_, kind)| *kind);
            let value = match kind.filter(|_| typed == Typed::Yes) {
                None => raw,
                Some(kind) => converted(&self.reading, kind, None, raw).map_err(|f| Reject::new(&**name, f.reason()))?,
            };
            Ok((name.clone(), value))
        };
        self.names.iter().enumerate().map(value).collect()
    }

    fn next_inner(&mut self) -> Result<(Record, Next)> {
        if let Some(held) = self.held.take() {
            return Ok(held);
        }
        let mut record = Record::default();
        let next = self.inner.read(&mut record)?;
        Ok((record, next))
    }
}

fn taken(into: &str) -> Error {
    Error::file(format!("input.group_into: the records have a {into} of their own")).hint("choose a name for the list that no column has")
}

/// Whether declared types apply.
#[derive(Clone, Copy, PartialEq)]
enum Typed {
    Yes,
    No,
}

impl RecordReader for Groups {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn own_columns(&self) -> &Columns {
        self.inner.columns()
    }

    fn decimal_sign(&self) -> Option<char> {
        self.inner.decimal_sign()
    }

    fn read(&mut self, group: &mut Record) -> Result<Next> {
        group.clear();
        let (first, next) = self.next_inner()?;
        if next == Next::End {
            let unseen = self.by.iter().zip(&self.seen).find(|(_, seen)| !**seen).filter(|_| self.number > 0);
            return match unseen {
                Some((name, _)) => {
                    Err(Error::file(format!("input.group_by: no record has a {name}")).hint("check input.group_by; a name inside of others has dots"))
                }
                None => Ok(Next::End),
            };
        }
        self.number += 1;
        (group.line, group.number) = (first.line, self.number);
        let key = self.key(&first);
        let mut bad = self.doubt.take();
        let keyless = |this: &Self, record: &Record, next: &Next| match next {
            Next::Bad(reject) if !this.has_key(record) => Some(reject.clone()),
            _ => None,
        };
        self.doubt = keyless(self, &first, &next);
        let (line, mut bytes) = (group.line, 0u64);
        let mut own: Option<Entries> = None;
        let mut rows: Vec<Value<'static>> = Vec::new();
        let mut take = |this: &Self, record: &Record, next: &Next| {
            // Of a group, the line that is wrong is told.
            let here =
                |reject: Reject| if record.line == line { reject } else { Reject { reason: format!("line {}: {}", record.line, reject.reason), ..reject } };
            if let Next::Bad(reject) = next {
                bad.get_or_insert_with(|| here(reject.clone()));
                return 0;
            }
            if own.is_none() {
                match this.entries(record, Typed::No) {
                    Ok(entries) => own = Some(entries),
                    Err(reject) => {
                        bad.get_or_insert(here(reject));
                    }
                }
            }
            match this.entries(record, Typed::Yes) {
                Ok(entries) => {
                    let size = entries.len() as u64 * 64 + record.raw.len() as u64;
                    rows.push(Value::map(entries));
                    size
                }
                Err(reject) => {
                    bad.get_or_insert(here(reject));
                    0
                }
            }
        };
        bytes += take(self, &first, &next);
        group.parent.clone_from(&first.parent);
        group.members.push(first);
        loop {
            let (record, next) = self.next_inner()?;
            let same = match &next {
                Next::End => false,
                // A record whose key can't be read belongs to what it stands in.
                Next::Bad(_) if !self.has_key(&record) => true,
                Next::Bad(_) | Next::Record => self.key(&record) == key,
            };
            if !same {
                self.held = Some((record, next));
                break;
            }
            self.doubt = keyless(self, &record, &next);
            bytes += take(self, &record, &next);
            if bytes > self.bytes_max {
                return Err(Error::file(format!("input.group_by: the group of {} needs more than max_memory", key.join(", ")))
                    .on_line(group.line)
                    .hint("check input.group_by, or raise max_memory"));
            }
            group.members.push(record);
        }
        let mut entries = own.unwrap_or_default();
        if entries.iter().any(|(name, _)| *name == self.into) {
            return Err(taken(&self.into).on_line(group.line));
        }
        entries.push((self.into.clone(), Value::List(Arc::new(rows))));
        group.tree = Some(Value::map(entries));
        Ok(bad.map_or(Next::Record, Next::Bad))
    }

    fn remarks(&self) -> Vec<Remark> {
        self.inner.remarks()
    }
}
