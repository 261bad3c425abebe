//! `output.order_by`: sorts any number of records in bounded memory. What does not fit is sorted in runs, spilled to
//! files without a name, and merged (Knuth, TAOCP 3, 5.4).

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use rust_decimal::Decimal;

use super::compute::order;
use super::regroup::Place;
use crate::error::{Blame, Error, Result};
use crate::formats::Room;
use crate::formats::packed::rewound;
use crate::record::{Node, Nodes, Value};

/// One column of `order_by`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Where its values stand.
    pub(super) place: Place,
    /// Largest first.
    pub(super) descending: bool,
}

type Row = Vec<Value<'static>>;

/// Takes records in any order, gives them back in the order of the keys; equal ones as they came.
pub(super) struct Sorter {
    keys: Vec<Key>,
    room: Room,
    rows: Vec<Row>,
    bytes: u64,
    runs: Vec<File>,
}

impl Sorter {
    pub(super) fn new(keys: Vec<Key>, room: Room) -> Self {
        Self { keys, room, rows: Vec::new(), bytes: 0, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Row) -> Result<()> {
        self.bytes += row.iter().map(size).sum::<u64>() + 24;
        self.rows.push(row);
        // Half is left for the merge and for what else the file needs.
        if self.bytes > self.room.bytes_max / 2 { self.spill() } else { Ok(()) }
    }

    fn sort(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        self.rows.sort_by(|a, b| compare(&keys, a, b));
        self.keys = keys;
    }

    fn spill(&mut self) -> Result<()> {
        self.sort();
        let failed = |e: std::io::Error| Error::io(Blame::Endpoint, "spill to", &self.room.folder, &e);
        let mut out = BufWriter::new(self.room.spill()?);
        let mut bytes = Vec::new();
        for row in self.rows.drain(..) {
            bytes.clear();
            put_list(&mut bytes, &row);
            out.write_all(&bytes).map_err(failed)?;
        }
        self.runs.push(out.into_inner().map_err(|e| failed(e.into_error()))?);
        self.bytes = 0;
        Ok(())
    }

    /// All records in order.
    pub(super) fn finish(mut self, mut each: impl FnMut(Row) -> Result<()>) -> Result<()> {
        self.sort();
        if self.runs.is_empty() {
            return self.rows.into_iter().try_for_each(each);
        }
        let mut runs: Vec<Run> = Vec::new();
        for file in self.runs {
            runs.push(Run::Spilled(rewound(file, &self.room)?));
        }
        runs.push(Run::Held(self.rows.into_iter()));
        let mut heads: Vec<Option<Row>> = runs.iter_mut().map(|run| run.next(&self.room)).collect::<Result<_>>()?;
        loop {
            let mut best: Option<usize> = None;
            for (i, head) in heads.iter().enumerate() {
                let Some(row) = head else { continue };
                let before = best.and_then(|b| heads[b].as_ref()).is_none_or(|top| compare(&self.keys, row, top) == Ordering::Less);
                if before {
                    best = Some(i);
                }
            }
            let Some(best) = best else { return Ok(()) };
            if let Some(row) = heads[best].take() {
                each(row)?;
            }
            heads[best] = runs[best].next(&self.room)?;
        }
    }
}

enum Run {
    Spilled(BufReader<File>),
    Held(std::vec::IntoIter<Row>),
}

impl Run {
    fn next(&mut self, room: &Room) -> Result<Option<Row>> {
        match self {
            Run::Held(rows) => Ok(rows.next()),
            Run::Spilled(file) => get_list(file, Start::MayEnd).map_err(|e| Error::io(Blame::Endpoint, "read", &room.folder, &e)),
        }
    }
}

/// Empty values first; values that can't be compared by what they are.
fn compare(keys: &[Key], a: &[Value<'static>], b: &[Value<'static>]) -> Ordering {
    for key in keys {
        let (x, y) = (key.place.value(a), key.place.value(b));
        let found = match (x, y) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Less,
            (_, Value::Null) => Ordering::Greater,
            _ => order(x, y).ok().flatten().unwrap_or_else(|| x.kind().cmp(y.kind())),
        };
        let found = if key.descending { found.reverse() } else { found };
        if found != Ordering::Equal {
            return found;
        }
    }
    Ordering::Equal
}

/// About how many bytes a value holds.
pub(super) fn size(value: &Value<'_>) -> u64 {
    let own = 40;
    own + match value {
        Value::Text(t) | Value::Digits(t) => t.len() as u64,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, v)| size(v) + 16).sum(),
        Value::Nodes(nodes) => nodes.all().iter().map(|n| node_size(n)).sum(),
        _ => 0,
    }
}

fn node_size(node: &Node) -> u64 {
    let attributes: u64 = node.attributes.iter().map(|(_, t)| t.len() as u64 + 40).sum();
    128 + node.typed.as_deref().map_or(0, size) + node.text.len() as u64 + attributes + node.children.iter().map(|(_, n)| node_size(n)).sum::<u64>()
}

fn put_u32(out: &mut Vec<u8>, n: usize) {
    out.extend(u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_list(out: &mut Vec<u8>, items: &[Value<'_>]) {
    put_u32(out, items.len());
    items.iter().for_each(|v| put(out, v));
}

fn put(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(false) => out.push(1),
        Value::Bool(true) => out.push(2),
        Value::Number(n) => {
            out.push(3);
            out.extend(n.serialize());
        }
        Value::Digits(t) => {
            out.push(4);
            put_text(out, t);
        }
        Value::Text(t) => {
            out.push(5);
            put_text(out, t);
        }
        Value::Date(d) => {
            out.push(6);
            put_date(out, *d);
        }
        Value::DateTime(t, offset) => {
            out.push(7);
            put_date(out, t.date());
            out.extend([t.hour(), t.minute(), t.second()].map(|n| n as u8));
            out.extend(t.subsec_nanosecond().to_le_bytes());
            out.extend(offset.map_or(i32::MAX, |o| o.seconds()).to_le_bytes());
        }
        Value::List(items) => {
            out.push(8);
            put_list(out, items);
        }
        Value::Map(entries) => {
            out.push(9);
            put_u32(out, entries.len());
            for (k, v) in entries.iter() {
                put_text(out, k);
                put(out, v);
            }
        }
        Value::Nodes(nodes) => {
            out.push(10);
            put_u32(out, nodes.all().len());
            nodes.all().iter().for_each(|n| put_node(out, n));
        }
    }
}

fn put_date(out: &mut Vec<u8>, d: Date) {
    out.extend(d.year().to_le_bytes());
    out.extend([d.month() as u8, d.day() as u8]);
}

fn put_node(out: &mut Vec<u8>, node: &Node) {
    put_text(out, &node.name);
    put_text(out, &node.text);
    put_u32(out, node.attributes.len());
    for (k, v) in &node.attributes {
        put_text(out, k);
        put_text(out, v);
    }
    put_u32(out, node.children.len());
    for (at, child) in &node.children {
        put_u32(out, *at);
        put_node(out, child);
    }
    put_list(out, node.typed.as_deref().map_or(&[], std::slice::from_ref));
}

/// Whether the file may end before a list.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    MayEnd,
    Inside,
}

fn take<const N: usize>(from: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn get_u32(from: &mut impl Read) -> std::io::Result<usize> {
    Ok(u32::from_le_bytes(take(from)?) as usize)
}

fn get_text(from: &mut impl Read) -> std::io::Result<String> {
    let mut bytes = vec![0; get_u32(from)?];
    from.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| damaged())
}

fn damaged() -> std::io::Error {
    std::io::Error::other("what was spilled has changed")
}

fn get_list(from: &mut BufReader<File>, start: Start) -> std::io::Result<Option<Row>> {
    use std::io::BufRead;
    if start == Start::MayEnd && from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let count = get_u32(from)?;
    (0..count).map(|_| get(from)).collect::<std::io::Result<Row>>().map(Some)
}

fn get(from: &mut BufReader<File>) -> std::io::Result<Value<'static>> {
    Ok(match take::<1>(from)?[0] {
        0 => Value::Null,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => Value::Number(Decimal::deserialize(take(from)?)),
        4 => Value::Digits(get_text(from)?.into()),
        5 => Value::owned(get_text(from)?),
        6 => Value::Date(get_date(from)?),
        7 => {
            let date = get_date(from)?;
            let [hour, minute, second] = take::<3>(from)?.map(|n| n as i8);
            let nanos = i32::from_le_bytes(take(from)?);
            let seconds = i32::from_le_bytes(take(from)?);
            let time = Time::new(hour, minute, second, nanos).map_err(|_| damaged())?;
            Value::DateTime(date.to_datetime(time), (seconds != i32::MAX).then(|| Offset::from_seconds(seconds)).transpose().map_err(|_| damaged())?)
        }
        8 => Value::list(get_list(from, Start::Inside)?.unwrap_or_default()),
        9 => {
            let count = get_u32(from)?;
            Value::map((0..count).map(|_| Ok((get_text(from)?.into(), get(from)?))).collect::<std::io::Result<_>>()?)
        }
        10 => {
            let count = get_u32(from)?;
            Nodes::value((0..count).map(|_| get_node(from).map(Arc::new)).collect::<std::io::Result<_>>()?)
        }
        _ => return Err(damaged()),
    })
}

fn get_date(from: &mut impl Read) -> std::io::Result<Date> {
    let year = i16::from_le_bytes(take(from)?);
    let [month, day] = take::<2>(from)?.map(|n| n as i8);
    Date::new(year, month, day).map_err(|_| damaged())
}

fn get_node(from: &mut BufReader<File>) -> std::io::Result<Node> {
    let (name, text) = (get_text(from)?.into(), get_text(from)?);
    let count = get_u32(from)?;
    let attributes = (0..count).map(|_| Ok((get_text(from)?.into(), get_text(from)?))).collect::<std::io::Result<_>>()?;
    let count = get_u32(from)?;
    let children = (0..count).map(|_| Ok((get_u32(from)?, Arc::new(get_node(from)?)))).collect::<std::io::Result<_>>()?;
    let typed = get_list(from, Start::Inside)?.unwrap_or_default().pop().map(Box::new);
    Ok(Node { name, text, attributes, children, typed, around: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(keys: Vec<Key>, rows: Vec<Row>, bytes_max: u64) -> Vec<Row> {
        let mut sorter = Sorter::new(keys, Room::new(bytes_max, &std::env::temp_dir()));
        rows.into_iter().for_each(|r| sorter.push(r).unwrap());
        let mut out = Vec::new();
        sorter
            .finish(|row| {
                out.push(row);
                Ok(())
            })
            .unwrap();
        out
    }

    #[test]
    fn what_is_spilled_comes_back_as_it_was_and_in_the_same_order() {
        let day = jiff::civil::date(2025, 12, 31);
        let rows: Vec<Row> = (0..500i64)
            .map(|i| {
                let key = if i % 7 == 0 { Value::Null } else { Value::Number((i * 37 % 50).into()) };
                let typed = (i % 3 != 0).then(|| Box::new(if i % 3 == 1 { Value::Null } else { Value::Number(i.into()) }));
                let node = Node { name: "n".into(), text: i.to_string(), attributes: vec![("a".into(), "é".into())], typed, ..Node::default() };
                let time = Value::DateTime(day.at(1, 2, 3, 4), (i % 2 == 0).then_some(Offset::UTC));
                let tree = Value::map(vec![("k".into(), Value::list(vec![Value::Bool(true), Value::Digits("1e5".into()), time]))]);
                vec![key, Value::owned(format!("é{}", i % 3)), Value::Date(day), Nodes::value(vec![Arc::new(node)]), tree, Value::Number(i.into())]
            })
            .collect();
        let targets: Vec<String> = ["key", "text"].map(str::to_owned).to_vec();
        let key = |name: &str, descending| Key { place: Place::of(name, &targets).unwrap(), descending };
        let keys = vec![key("key", true), key("text", false)];
        let held = sorted(keys.clone(), rows.clone(), 1 << 30);
        assert_eq!(sorted(keys, rows, 20_000), held);
        assert_eq!(held[0][0], Value::Number(49.into()));
        assert!(matches!(held[499][0], Value::Null));
    }
}
