//! What becomes of mapped records: ordered, grouped, split, written and compressed, in this order.

use super::Transformation;
use super::compute::equal;
use super::spill::{Key, Sorter};
use crate::error::{Error, Result};
use crate::formats::packed::Packer;
use crate::formats::{Output, RecordWriter, Room, Tools, Writing};
use crate::record::{Entries, Reject, Value};
use std::sync::Arc;

/// How much is made before it is handed on.
const FLUSH_BYTES: usize = 256 * 1024;

/// Opens the file for a part, from 1; its name is the one in a zip archive.
pub type Parts<'p> = dyn FnMut(usize) -> Result<(Output, String)> + 'p;

pub(super) struct Sink<'t, 'p> {
    spec: &'t Transformation,
    parts: &'p mut Parts<'p>,
    room: Room,
    tools: Arc<dyn Tools>,
    /// The names that the writer writes: the targets, or what grouping makes of them.
    columns: Vec<String>,
    /// Tells whether a record can be written, where that happens later.
    probe: Option<Box<dyn RecordWriter>>,
    sorter: Option<Sorter>,
    group: Option<Group>,
    writer: Option<Box<dyn RecordWriter>>,
    packer: Option<Packer>,
    out: Vec<u8>,
    part: usize,
    in_part: usize,
}

/// `output.group_by` with the rows that it has in hand.
struct Group {
    by: Vec<usize>,
    /// The targets that are the group's own.
    own: Vec<usize>,
    /// The targets of its rows, with their names there.
    inner: Vec<(usize, crate::record::Key)>,
    rows: Vec<Vec<Value<'static>>>,
}

impl<'t, 'p> Sink<'t, 'p> {
    pub(super) fn new(spec: &'t Transformation, targets: &[String], room: Room, tools: Arc<dyn Tools>, parts: &'p mut Parts<'p>) -> Result<Self> {
        let place = |name: &str, key: &str| {
            targets
                .iter()
                .position(|t| t == name)
                .ok_or_else(|| Error::file(format!("output.{key}: there is no target {name}")).hint(format!("the targets are {}", targets.join(", "))))
        };
        let keys =
            spec.order_by.iter().map(|(name, descending)| Ok(Key { at: place(name, "order_by")?, descending: *descending })).collect::<Result<Vec<_>>>()?;
        let mut columns = targets.to_vec();
        let group = match &spec.output_group {
            None => None,
            Some(grouping) => {
                let by = grouping.by.iter().map(|name| place(name, "group_by")).collect::<Result<Vec<_>>>()?;
                // Targets below the list's name are the rows'; without any, all but the keys are.
                let below: Vec<(usize, &str)> =
                    targets.iter().enumerate().filter_map(|(i, t)| Some((i, t.strip_prefix(&grouping.into)?.strip_prefix('.')?))).collect();
                let inner: Vec<(usize, crate::record::Key)> = if below.is_empty() {
                    targets.iter().enumerate().filter(|(i, _)| !by.contains(i)).map(|(i, t)| (i, t.as_str().into())).collect()
                } else {
                    below.into_iter().map(|(i, t)| (i, t.into())).collect()
                };
                let own: Vec<usize> = (0..targets.len()).filter(|i| !inner.iter().any(|(at, _)| at == i)).collect();
                columns = own.iter().map(|i| targets[*i].clone()).chain([grouping.into.clone()]).collect();
                Some(Group { by, own, inner, rows: Vec::new() })
            }
        };
        let sorter = (!keys.is_empty()).then(|| Sorter::new(keys, room.clone()));
        let mut sink = Self { spec, parts, room, tools, columns, probe: None, sorter, group, writer: None, packer: None, out: Vec::new(), part: 0, in_part: 0 };
        if sink.sorter.is_some() || sink.group.is_some() {
            sink.probe = Some(sink.new_writer(targets.to_vec())?);
        }
        sink.open()?;
        Ok(sink)
    }

    pub(super) fn new_writer(&self, columns: Vec<String>) -> Result<Box<dyn RecordWriter>> {
        let writing = Writing {
            columns,
            style: self.spec.style.clone(),
            encoder: self.spec.encoder.clone(),
            mapped: self.spec.mapping.map.is_some() || self.spec.mapping.columns.is_some(),
            room: self.room.clone(),
            tools: self.tools.clone(),
        };
        self.spec.output.writer(&self.spec.output_options, writing)
    }

    /// Takes one record; a reject leaves nothing behind.
    pub(super) fn put(&mut self, values: &[Value<'_>]) -> Result<Result<(), Reject>> {
        let Some(probe) = &mut self.probe else { return self.write(values) };
        let before = self.out.len();
        let fits = probe.write(values, &mut self.out)?;
        self.out.truncate(before);
        if fits.is_err() {
            return Ok(fits);
        }
        let row: Vec<Value<'static>> = values.iter().map(|v| v.clone().into_owned()).collect();
        match &mut self.sorter {
            Some(sorter) => sorter.push(row)?,
            None => self.grouped(row)?,
        }
        Ok(Ok(()))
    }

    /// Adds bytes that a writer of the same kind made.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.flush()?;
        match &mut self.packer {
            Some(packer) => packer.put(bytes),
            None => Ok(()),
        }
    }

    fn grouped(&mut self, row: Vec<Value<'static>>) -> Result<()> {
        let Some(group) = &mut self.group else { return self.sure(&row) };
        let same = group.rows.first().is_none_or(|first| group.by.iter().all(|i| equal(&first[*i], &row[*i]).unwrap_or(false)));
        if !same {
            self.close_group()?;
        }
        if let Some(group) = &mut self.group {
            group.rows.push(row);
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<()> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let rows = std::mem::take(&mut group.rows);
        let Some(first) = rows.first() else { return Ok(()) };
        let mut values: Vec<Value<'static>> = group.own.iter().map(|i| first[*i].clone()).collect();
        values.push(Value::list(rows.iter().map(|row| nested(group.inner.iter().map(|(i, name)| (&**name, row[*i].clone())))).collect()));
        self.sure(&values)
    }

    /// Writes what was found to fit before.
    fn sure(&mut self, values: &[Value<'_>]) -> Result<()> {
        self.write(values)?.map_err(|r| Error::file(format!("{}: {}", r.field, r.reason)).hint("the group as a whole can't be written"))
    }

    fn write(&mut self, values: &[Value<'_>]) -> Result<Result<(), Reject>> {
        if self.spec.split.is_some_and(|most| self.in_part >= most) {
            self.close()?;
            self.open()?;
        }
        let Some(writer) = &mut self.writer else { return Ok(Ok(())) };
        let before = self.out.len();
        if self.in_part > 0 {
            self.out.extend_from_slice(writer.between());
        }
        let written = writer.write(values, &mut self.out)?;
        if written.is_err() {
            self.out.truncate(before);
            return Ok(written);
        }
        self.in_part += 1;
        if self.out.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(Ok(()))
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(packer) = &mut self.packer {
            packer.put(&self.out)?;
        }
        self.out.clear();
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        self.part += 1;
        self.in_part = 0;
        let (output, name) = (self.parts)(self.part)?;
        self.packer = Some(Packer::new(self.spec.packing, &name, output)?);
        let mut writer = self.new_writer(self.columns.clone())?;
        writer.begin(&mut self.out)?;
        self.writer = Some(writer);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(mut writer) = self.writer.take() {
            writer.end(&mut self.out)?;
        }
        self.flush()?;
        match self.packer.take() {
            Some(packer) => packer.finish(),
            None => Ok(()),
        }
    }

    /// Writes what is held back, and what stands at the end; gives the number of parts.
    pub(super) fn finish(mut self) -> Result<usize> {
        if let Some(sorter) = self.sorter.take() {
            sorter.finish(|row| self.grouped(row))?;
        }
        self.close_group()?;
        self.close()?;
        Ok(self.part)
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
