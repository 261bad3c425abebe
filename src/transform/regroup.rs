//! `output.group_by`: adjacent rows with equal keys become one record with a list of them, the reverse of `each`.
//!
//! It holds one group at a time.

use std::sync::Arc;

use super::compute::equal;
use super::group::Grouping;
use crate::record::{Entries, Key, Value};

const NULL: Value<'static> = Value::Null;

/// Where in a row a name is found: a target, or what stands below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    at: usize,
    below: String,
}

impl Place {
    /// Where `name` stands; none: no target has it. A whole nested record (no targets) may have any name.
    pub(super) fn of(name: &str, targets: &[String]) -> Option<Self> {
        if targets.is_empty() {
            return Some(Self { at: 0, below: name.to_owned() });
        }
        let exact = targets.iter().position(|t| t == name).map(|at| Self { at, below: String::new() });
        exact.or_else(|| {
            let below = |t: &String| name.strip_prefix(t.as_str())?.strip_prefix('.');
            targets.iter().enumerate().find_map(|(at, t)| Some(Self { at, below: below(t)?.to_owned() }))
        })
    }

    /// The value there, null where there is none.
    pub(super) fn value<'v>(&self, row: &'v [Value<'static>]) -> &'v Value<'static> {
        row.get(self.at).map_or(&NULL, |value| if self.below.is_empty() { value } else { value.at(&self.below).unwrap_or(&NULL) })
    }
}

/// Takes what stands under a name with dots out of `entries`, and what is then left empty around it.
fn remove(entries: &mut Entries, name: &str) {
    if entries.iter().any(|(n, _)| **n == *name) {
        return entries.retain(|(n, _)| **n != *name);
    }
    let Some((head, rest)) = name.split_once('.') else { return };
    if let Some((_, Value::Map(inner))) = entries.iter_mut().find(|(n, _)| **n == *head) {
        remove(Arc::make_mut(inner), rest);
        if inner.is_empty() {
            entries.retain(|(n, _)| **n != *head);
        }
    }
}

/// What a column of a group holds.
enum Slot {
    /// A target of the first row.
    Own(usize),
    /// The list of the rows.
    List,
}

enum Shape {
    /// The slots in B's order, and the targets of the rows with their names there.
    Targets(Vec<Slot>, Vec<(usize, Key)>),
    /// Rows are whole nested records: the names that are the group's.
    Whole(Vec<String>),
}

/// `output.group_by` with the rows that it has in hand.
pub(super) struct Group {
    by: Vec<Place>,
    shape: Shape,
    into: Key,
    rows: Vec<Vec<Value<'static>>>,
}

impl Group {
    /// A grouping of rows of these targets; gives back the name that none of them has.
    pub(super) fn new(grouping: &Grouping, targets: &[String]) -> Result<Self, String> {
        let by = grouping.by.iter().map(|name| Place::of(name, targets).ok_or_else(|| name.clone())).collect::<Result<Vec<_>, _>>()?;
        let group = |shape| Ok(Self { by: by.clone(), shape, into: grouping.into.as_str().into(), rows: Vec::new() });
        if targets.is_empty() {
            return group(Shape::Whole(grouping.by.clone()));
        }
        // Targets below the list's name are the rows'; without any, all but the keys are.
        let below = |t: &String| Some(t.strip_prefix(&grouping.into)?.strip_prefix('.')?.into());
        let mut inner: Vec<(usize, Key)> = targets.iter().enumerate().filter_map(|(i, t)| Some((i, below(t)?))).collect();
        if inner.is_empty() {
            let is_key = |i: usize| by.iter().any(|place| place.at == i);
            inner = targets.iter().enumerate().filter(|(i, _)| !is_key(*i)).map(|(i, t)| (i, t.as_str().into())).collect();
        }
        // The list stands where the first of its rows' targets does.
        let first = inner.first().map_or(targets.len(), |(i, _)| *i);
        let own = |i: usize| (!inner.iter().any(|(at, _)| *at == i)).then_some(Slot::Own(i));
        let slots = (0..=targets.len()).flat_map(|i| [(i == first).then_some(Slot::List), (i < targets.len()).then(|| own(i)).flatten()]).flatten();
        group(Shape::Targets(slots.collect(), inner.clone()))
    }

    /// The columns of the groups; none: they are whole nested records.
    pub(super) fn columns(&self, targets: &[String]) -> Vec<String> {
        let Shape::Targets(slots, _) = &self.shape else { return Vec::new() };
        let name = |slot: &Slot| match slot {
            Slot::Own(i) => targets[*i].clone(),
            Slot::List => self.into.to_string(),
        };
        slots.iter().map(name).collect()
    }

    /// Takes a row; gives the values of the group before, if the row begins another.
    pub(super) fn push(&mut self, row: Vec<Value<'static>>) -> Option<Vec<Value<'static>>> {
        let same = self.rows.first().is_none_or(|first| self.by.iter().all(|key| equal(key.value(first), key.value(&row)).unwrap_or(false)));
        let done = if same { None } else { self.close() };
        self.rows.push(row);
        done
    }

    /// The values of the group in hand, if there is one.
    pub(super) fn close(&mut self) -> Option<Vec<Value<'static>>> {
        let rows = std::mem::take(&mut self.rows);
        let first = rows.first()?;
        Some(match &self.shape {
            Shape::Targets(slots, inner) => {
                let row = |row: &Vec<Value<'static>>| nested(inner.iter().map(|(i, name)| (&**name, row[*i].clone())));
                let value = |slot: &Slot| match slot {
                    Slot::Own(i) => first[*i].clone(),
                    Slot::List => Value::list(rows.iter().map(row).collect()),
                };
                slots.iter().map(value).collect()
            }
            Shape::Whole(names) => {
                let keys = names.iter().zip(&self.by).map(|(name, key)| (name.as_str(), key.value(first).clone()));
                let Value::Map(mut group) = nested(keys) else { return None };
                let rows = rows.into_iter().flatten().map(|mut row| {
                    if let Value::Map(entries) = &mut row {
                        names.iter().for_each(|name| remove(Arc::make_mut(entries), name));
                    }
                    row
                });
                Arc::make_mut(&mut group).push((self.into.clone(), Value::list(rows.collect())));
                vec![Value::Map(group)]
            }
        })
    }
}

/// Names with dots as maps in maps.
fn nested<'n>(entries: impl Iterator<Item = (&'n str, Value<'static>)>) -> Value<'static> {
    fn insert(into: &mut Entries, path: &str, value: Value<'static>) {
        let Some((head, rest)) = path.split_once('.') else {
            into.push((path.into(), value));
            return;
        };
        if !into.iter().any(|(n, v)| **n == *head && matches!(v, Value::Map(_))) {
            into.push((head.into(), Value::map(Vec::new())));
        }
        if let Some((_, Value::Map(inner))) = into.iter_mut().find(|(n, v)| **n == *head && matches!(v, Value::Map(_))) {
            insert(Arc::make_mut(inner), rest, value);
        }
    }
    let mut out = Vec::new();
    entries.for_each(|(name, value)| insert(&mut out, name, value));
    Value::map(out)
}
