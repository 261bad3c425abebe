//! What becomes of mapped records: ordered, grouped, split, written and compressed, in this order.

use super::regroup::{Group, Place};
use super::spill::{Key, Sorter};
use super::{Refused, Transformation};
use crate::error::{Error, Result};
use crate::formats::packed::Packer;
use crate::formats::{Output, RecordWriter, Room, Tools, Writing};
use crate::record::{Reject, Value};
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
    /// The names of `order_by` and `group_by` in whole nested records, until some record has them.
    unseen: Vec<(String, Place)>,
    group: Option<Group>,
    writer: Option<Box<dyn RecordWriter>>,
    packer: Option<Packer>,
    out: Vec<u8>,
    part: usize,
    in_part: usize,
}

impl<'t, 'p> Sink<'t, 'p> {
    pub(super) fn new(spec: &'t Transformation, targets: &[String], room: Room, tools: Arc<dyn Tools>, parts: &'p mut Parts<'p>) -> Result<Self> {
        let unknown =
            |name: &str, key: &str| Error::file(format!("output.{key}: there is no target {name}")).hint(format!("the targets are {}", targets.join(", ")));
        let key = |(name, descending): &(String, bool)| {
            let place = Place::of(name, targets).ok_or_else(|| unknown(name, "order_by"))?;
            Ok(Key { place, descending: *descending })
        };
        let keys = spec.order_by.iter().map(key).collect::<Result<Vec<_>>>()?;
        let group = match &spec.output_group {
            None => None,
            Some(grouping) => Some(Group::new(grouping, targets).map_err(|name| unknown(&name, "group_by"))?),
        };
        let columns = group.as_ref().map_or_else(|| targets.to_vec(), |group| group.columns(targets));
        let sorter = (!keys.is_empty()).then(|| Sorter::new(keys, room.clone()));
        let named = spec.order_by.iter().map(|(name, _)| name).chain(spec.output_group.iter().flat_map(|g| &g.by));
        let unseen = named.filter(|_| targets.is_empty()).filter_map(|name| Some((name.clone(), Place::of(name, targets)?))).collect();
        let mut sink =
            Self { spec, parts, room, tools, columns, probe: None, sorter, unseen, group, writer: None, packer: None, out: Vec::new(), part: 0, in_part: 0 };
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
            // The names of a flat file are written as they are.
            mapped: self.spec.mapping.map.is_some() || (self.spec.mapping.columns.is_some() && !self.spec.input.has_columns()),
            room: self.room.clone(),
            tools: self.tools.clone(),
        };
        self.spec.output.writer(&self.spec.output_options, writing)
    }

    /// Takes one record; a reject leaves nothing behind. Neither does one that B has refused.
    pub(super) fn put(&mut self, values: &[Value<'_>], refused: Option<&mut Refused>) -> Result<Result<(), Reject>> {
        if refused.is_some() && self.probe.is_none() {
            self.probe = Some(self.new_writer(self.columns.clone())?);
        }
        let Some(probe) = &mut self.probe else { return self.write(values) };
        let before = self.out.len();
        let mut fits = probe.write(values, &mut self.out)?;
        if fits.is_ok()
            && let Some(words) = refused.and_then(|r| r.take(&self.out[before..]))
        {
            fits = Err(Reject::record(words));
        }
        self.out.truncate(before);
        if fits.is_err() {
            return Ok(fits);
        }
        if self.sorter.is_none() && self.group.is_none() {
            return self.write(values);
        }
        let row: Vec<Value<'static>> = values.iter().map(|v| v.clone().into_owned()).collect();
        self.unseen.retain(|(_, place)| matches!(place.value(&row), Value::Null));
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
        if let Some(values) = group.push(row) {
            self.sure(&values)?;
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<()> {
        let Some(values) = self.group.as_mut().and_then(Group::close) else { return Ok(()) };
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

    /// The names that records were to be ordered or grouped by, and that none of them had.
    pub(super) fn unseen(&self) -> Vec<&str> {
        self.unseen.iter().map(|(name, _)| name.as_str()).collect()
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
