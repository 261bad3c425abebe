//! The records of a sample, read by the product's own readers under a guessed dialect, as one table of columns.
//!
//! Nested records are laid out flat: each path is a column, with the expression that reaches it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::conversions::literal;
use super::dialect::{Dialect, Note, quoted};
use super::sample::{Extent, Sample};
use crate::config::{self, Route};
use crate::error::{Error, Result};
use crate::formats::text::Style;
use crate::formats::{Next, Room};
use crate::record::{Columns, Record, Value};
use crate::transform::expr::RESERVED;

/// More columns than that are no record.
pub const COLUMNS_MAX: usize = 20_000;
/// Records of a sample that is not read in full.
const RECORDS_MAX: u64 = 400_000;

/// A column: how it is shown, and the expression that reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// As it is shown: `adresse.ville`.
    pub name: String,
    /// As an expression.
    pub expr: String,
    /// The expression as a list, where it reaches one.
    pub list: bool,
}

/// The record in hand.
pub struct Row<'r> {
    /// Its number among those read, from 0.
    pub index: u64,
    /// Its line; 0 where the file was entered somewhere in the middle.
    pub line: u64,
    /// The record.
    pub record: &'r Record,
    /// The element of `each` that it is.
    pub item: Option<Item<'r>>,
}

/// An element of a list.
#[derive(Clone, Copy)]
pub struct Item<'r> {
    /// The element.
    pub value: &'r Value<'static>,
    /// Its place in the list, from 0.
    pub index: usize,
    /// How many the list has.
    pub length: usize,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Records.
    pub records: u64,
    /// Those that could not be read, with the first reasons.
    pub bad: u64,
    /// All of the sample was read.
    pub complete: bool,
    /// About how many records the whole sample holds, where it was not all read.
    pub estimate: u64,
    /// What the reader remarks.
    pub notes: Vec<Note>,
}

/// A route that reads as the dialect says: further keys of `input`, and what follows, as TOML.
pub fn route(keys: &[(&str, String)], rest: &str) -> Result<Arc<Route>> {
    let input: String = keys.iter().map(|(k, v)| format!("{k} = {v}\n")).collect();
    let text = format!("[routes.sample.source]\npath = \"a\"\n[routes.sample.destination]\npath = \"b\"\n[routes.sample.input]\n{input}{rest}");
    let (config, report) = config::read_text(Path::new("sample.toml"), text);
    match config {
        Some(config) => config.routes.first().cloned().ok_or_else(|| Error::relay("the sample has no route")),
        None => Err(Error::relay(format!("the guessed dialect is refused: {}", report.unwrap_or_default()))),
    }
}

/// Keys of `output` that any records can be read for.
pub const ANY_OUTPUT: &str = "[routes.sample.output]\nformat = \"ndjson\"\n";

/// Reads a sample's records one after the other; `look` says whether to go on.
pub fn each(
    sample: &Sample,
    dialect: &Dialect,
    list: Option<&Reach>,
    room: &Room,
    look: &mut dyn FnMut(&Row<'_>, &Columns) -> Result<bool>,
) -> Result<Reading> {
    let keys = dialect.keys();
    let whole = route(&keys, ANY_OUTPUT)?;
    let mut out = Reading { complete: true, ..Reading::default() };
    let mut names: Vec<String> = Vec::new();
    let mut bytes_read = 0u64;
    for part in sample.parts(dialect.by_lines, room)? {
        let inside = part.inside;
        out.complete &= !inside;
        let spec = if inside && dialect.delimited.is_some() {
            let mut keys: Vec<(&str, String)> = keys.iter().filter(|(k, _)| !matches!(*k, "skip" | "header")).cloned().collect();
            keys.push(("header", "false".into()));
            keys.push(("columns", format!("[{}]", names.iter().map(|n| quoted(n)).collect::<Vec<_>>().join(", "))));
            route(&keys, ANY_OUTPUT)?
        } else {
            whole.clone()
        };
        let Some(spec) = &spec.transformation else { return Err(Error::relay("the sample's route transforms nothing")) };
        let counted = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let input = Box::new(Counted(part.input, counted.clone()));
        let room = Room { beside: Some(sample.path.clone()), ..room.clone() };
        let mut reader = match spec.reader(input, &room) {
            Ok(reader) => reader,
            Err(e) if inside => {
                out.notes.push(Note::new(format!("the middle of the file can't be read: {e}"), 0));
                continue;
            }
            Err(e) => return Err(e.on_file(&sample.path)),
        };
        let columns = reader.columns().clone();
        if columns.names.len() > COLUMNS_MAX {
            return Err(Error::file(format!("the file has {} columns", columns.names.len()))
                .on_file(&sample.path)
                .hint("check the delimiter: no export is that wide"));
        }
        if names.is_empty() {
            names.clone_from(&columns.names);
        }
        let mut record = Record::default();
        let (mut good, mut leading) = (0u64, 0u64);
        let most = RECORDS_MAX / if part.cut_at == Some(0) || inside { 3 } else { 1 };
        let is_cut = || part.cut_at.is_some_and(|at| counted.load(std::sync::atomic::Ordering::Relaxed) >= at);
        loop {
            match reader.read(&mut record) {
                Ok(Next::End) => break,
                // Reading began between two line ends, which may be within quotes.
                Ok(Next::Bad(_)) if inside && good == 0 && leading < 1000 => leading += 1,
                Ok(Next::Bad(reject)) => {
                    out.bad += 1;
                    if out.notes.len() < 5 {
                        out.notes.push(Note::new(format!("a record can't be read: {}", reject.reason), if inside { 0 } else { record.line }));
                    }
                }
                Ok(Next::Record) => {
                    good += 1;
                    let mut row = Row { index: out.records, line: if inside { 0 } else { record.line }, record: &record, item: None };
                    let go_on = match list {
                        None => {
                            out.records += 1;
                            look(&row, &columns)?
                        }
                        Some(list) => {
                            let items = elements(&record, &list.name);
                            let mut on = true;
                            for (index, value) in items.iter().enumerate() {
                                let item = Item { value, index, length: items.len() };
                                row = Row { index: out.records, item: Some(item), ..row };
                                out.records += 1;
                                on &= look(&row, &columns)?;
                            }
                            on
                        }
                    };
                    if !go_on || (sample.extent == Extent::Sampled && good >= most) {
                        out.complete = false;
                        break;
                    }
                }
                Err(_) if is_cut() && good > 0 => break,
                Err(e) if good > 0 => {
                    out.notes.push(Note::new(format!("reading stops here: {e}"), record.line));
                    out.complete = false;
                    break;
                }
                Err(e) => return Err(e.on_file(&sample.path)),
            }
        }
        out.complete &= !is_cut();
        bytes_read += counted.load(std::sync::atomic::Ordering::Relaxed);
        let remarks = reader.remarks();
        out.notes.extend(remarks.iter().map(|r| Note::new(if r.count > 0 { format!("{} {}", r.count, r.what) } else { r.what.to_owned() }, r.line)));
    }
    let total = if sample.packing.is_none() { sample.size } else { bytes_read };
    // Sizes of files stay far below 2^52.
    out.estimate = if out.complete { out.records } else { (out.records as f64 * (total as f64 / bytes_read.max(1) as f64).max(1.0)) as u64 };
    Ok(out)
}

struct Counted(crate::formats::Input, Arc<std::sync::atomic::AtomicU64>);

impl std::io::Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(to)?;
        self.1.fetch_add(n as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(n)
    }
}

/// The elements that a dotted path of a nested record reaches.
fn elements(record: &Record, path: &str) -> Vec<Value<'static>> {
    let Some(tree) = &record.tree else { return Vec::new() };
    if let Value::Nodes(_) = tree {
        // As a route has them: an element with attributes is still a text.
        let below = |at: Value<'static>, name: &str| if let Value::Nodes(nodes) = at { nodes.part(name) } else { Value::Null };
        return if let Value::Nodes(nodes) = path.split('.').fold(tree.clone(), below) { nodes.items().collect() } else { Vec::new() };
    }
    let mut found = vec![tree.clone()];
    for name in path.split('.') {
        found = found
            .iter()
            .filter_map(|v| v.get(name))
            .flat_map(|v| match v {
                Value::List(items) => items.to_vec(),
                other => vec![other.clone()],
            })
            .collect();
    }
    found.into_iter().filter(|v| !matches!(v, Value::Null)).collect()
}

/// A tree as names, lists and values.
fn plain(value: &Value<'static>) -> Value<'static> {
    match value {
        Value::Nodes(nodes) => nodes.to_value(),
        other => other.clone(),
    }
}

/// Lays records out flat.
#[derive(Debug, Default)]
pub struct Layout {
    /// The columns found so far.
    pub columns: Vec<Reach>,
    places: HashMap<String, usize>,
}

/// A cell: its column, its text (none: nothing there), and the kind of a value that has one by itself.
pub type Cell = (usize, Option<String>, Option<&'static str>);

impl Layout {
    /// The cells of a record; columns that are new are added.
    pub fn cells(&mut self, row: &Row<'_>, names: &[String], out: &mut Vec<Cell>) {
        out.clear();
        let style = Style::default();
        match &row.record.tree {
            None => {
                for (i, name) in names.iter().enumerate() {
                    let value = row.record.value(i);
                    let at = self.place(name, || by_name(name), false);
                    out.push((at, (!matches!(value, Value::Null)).then(|| style.text(&value).into_owned()), kind_of(&value)));
                }
            }
            Some(tree) => self.tree(&plain(tree), "", "", &style, out),
        }
        match row.item.map(|item| plain(item.value)) {
            None => {}
            Some(item @ Value::Map(_)) => self.tree(&item, "item", "item", &style, out),
            Some(item) => {
                let at = self.place("item", || "item".to_owned(), false);
                out.push((at, Some(style.text(&item).into_owned()), kind_of(&item)));
            }
        }
    }

    fn tree(&mut self, value: &Value<'static>, name: &str, expr: &str, style: &Style, out: &mut Vec<Cell>) {
        let Value::Map(entries) = value else { return };
        for (key, value) in entries.iter() {
            // The text of an element with attributes is the element itself.
            let own_text = &**key == "#text";
            let path = if own_text {
                name.to_owned()
            } else if name.is_empty() {
                key.to_string()
            } else {
                format!("{name}.{key}")
            };
            let reach = if own_text && !expr.is_empty() {
                expr.to_owned()
            } else if expr.is_empty() {
                by_name(key)
            } else if is_identifier(key) {
                format!("{expr}.{key}")
            } else {
                format!("{expr}[{}]", literal(key))
            };
            match value {
                Value::Map(_) => self.tree(value, &path, &reach, style, out),
                Value::List(items) => {
                    let at = self.place(&path, || reach.clone(), true);
                    let text: Vec<String> = items.iter().filter(|i| !matches!(i, Value::Map(_))).map(|i| style.text(i).into_owned()).collect();
                    out.push((at, (!text.is_empty()).then(|| text.join(" ")), Some("list")));
                    // What the first element holds, so that a field of a list can be found.
                    if let Some(first @ Value::Map(_)) = items.first() {
                        self.tree(first, &path, &format!("({reach} | first)"), style, out);
                    }
                }
                Value::Null => {
                    let at = self.place(&path, || reach.clone(), false);
                    out.push((at, None, None));
                }
                value => {
                    let at = self.place(&path, || reach.clone(), false);
                    out.push((at, Some(style.text(value).into_owned()), kind_of(value)));
                }
            }
        }
    }

    fn place(&mut self, name: &str, expr: impl FnOnce() -> String, list: bool) -> usize {
        if let Some(at) = self.places.get(name) {
            self.columns[*at].list |= list;
            return *at;
        }
        if self.columns.len() >= COLUMNS_MAX {
            return COLUMNS_MAX - 1;
        }
        self.columns.push(Reach { name: name.to_owned(), expr: expr(), list });
        self.places.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }
}

/// What a value is by itself; none: it is a text that may stand for anything.
fn kind_of(value: &Value<'_>) -> Option<&'static str> {
    match value {
        Value::Bool(_) => Some("bool"),
        Value::Number(n) => Some(if n.scale() == 0 { "integer" } else { "decimal" }),
        Value::Digits(d) => Some(if d.contains(['.', 'e', 'E']) { "decimal" } else { "integer" }),
        Value::Date(_) => Some("date"),
        Value::DateTime(..) => Some("datetime"),
        _ => None,
    }
}

/// Names that Jinja keeps for itself; the relay's own are told by the expressions.
const KEPT: &[&str] = &[
    "lookup",
    "nextval",
    "true",
    "false",
    "none",
    "null",
    "True",
    "False",
    "None",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "range",
    "dict",
    "namespace",
    "debug",
];

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    // Letters of which every reader of identifiers thinks alike.
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || (matches!(c, '\u{c0}'..='\u{24f}') && c.is_alphabetic());
    chars.next().is_some_and(letter) && chars.all(|c| letter(c) || c.is_ascii_digit())
}

/// The expression that names a column.
pub fn by_name(name: &str) -> String {
    if is_identifier(name) && !RESERVED.contains(&name) && !KEPT.contains(&name) { name.to_owned() } else { format!("row[{}]", literal(name)) }
}
