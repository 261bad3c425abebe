//! Computes expressions on records. Pure: what it needs of the world is in [`Env`].
//!
//! The rules that differ from Jinja's are the contract's: decimals are exact, null is told from text, text is never
//! compared with a number, and what is undefined rejects the record unless `default` follows.

use super::compute::{self, arithmetic, compares, fault, position};
pub use super::compute::{contains, digits, equal, number, order, truth, whole};

use super::changes::Change;
use super::expr::{Args, Cmp, Fact, Node};
use super::filters;
use super::lookup::Lookups;
use super::typed::{self, Declared};
use super::written::{key, present};
use crate::formats::text::{Reading, Style, Type, quoted};
use crate::record::{Columns, Nodes, Record, Value};
use jiff::civil::DateTime;
use jiff::tz::Offset;
use rust_decimal::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering as Memory};

/// Why a value can't be computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A name, key or code that is not there; `default` catches it.
    Undefined(String),
    /// Anything else.
    Message(String),
}

impl Fault {
    /// The reason in words.
    pub fn reason(self) -> String {
        match self {
            Fault::Undefined(what) | Fault::Message(what) => what,
        }
    }
}

/// The result of computing.
pub type Eval<T> = Result<T, Fault>;

/// The facts of a job that expressions may use. They are the job's, not the clock's: a repeated transformation gives the same bytes.
#[derive(Clone, Debug)]
pub struct Context {
    /// A's name of the file.
    pub file_name: String,
    /// The file relative to the source.
    pub file_path: String,
    /// When A changed it last.
    pub file_modified: (DateTime, Option<Offset>),
    /// Its size in bytes.
    pub file_size: u64,
    /// The job's number.
    pub job: u64,
    /// When the job was received.
    pub time: (DateTime, Option<Offset>),
    /// The route.
    pub route: String,
}

impl Context {
    /// No facts at all, where expressions see none.
    pub fn none() -> Self {
        let epoch = (jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0), None);
        Self { file_name: String::new(), file_path: String::new(), file_modified: epoch, file_size: 0, job: 0, time: epoch, route: String::new() }
    }
    /// The name without its last extension, and the extension.
    pub fn stem_and_ext(name: &str) -> (&str, &str) {
        match name.rfind('.') {
            Some(at) if at > 0 => (&name[..at], &name[at + 1..]),
            _ => (name, ""),
        }
    }
}

/// What changes while the records of one file go by.
#[derive(Debug, Default)]
pub struct State {
    counters: RefCell<HashMap<String, u64>>,
    /// What `nextval` gave to the record in hand: one number for a key, however often it is asked.
    drawn: RefCell<HashMap<String, u64>>,
    /// Shared, not cloned: a clone of a pattern begins with an empty cache.
    patterns: RefCell<HashMap<String, Arc<regex::Regex>>>,
    /// Of each name of nested records, whether some record was asked for it, and whether some had it.
    pub fields: Vec<AtomicU8>,
}

const ASKED: u8 = 1;
const SEEN: u8 = 2;

impl State {
    /// A state for a plan that looks at so many names of nested records.
    pub fn new(fields: usize) -> Self {
        Self { fields: (0..fields).map(|_| AtomicU8::new(0)).collect(), ..Self::default() }
    }

    /// Begins a record: numbers that the one before drew and did not keep are given again.
    pub fn begin(&self) {
        self.drawn.borrow_mut().clear();
    }

    /// The record is written: its numbers are used up.
    pub fn keep(&self) {
        let mut drawn = self.drawn.borrow_mut();
        if !drawn.is_empty() {
            self.counters.borrow_mut().extend(drawn.drain());
        }
    }

    /// The record's number for `key`.
    fn nextval(&self, key: String) -> u64 {
        let mut drawn = self.drawn.borrow_mut();
        *drawn.entry(key).or_insert_with_key(|key| self.counters.borrow().get(key).copied().unwrap_or(0) + 1)
    }

    /// Whether records were asked for that name, and none had it, as far as any of these has seen.
    pub fn missing_in(states: &[State], field: usize) -> bool {
        states.iter().filter_map(|s| s.fields.get(field)).fold(0, |all, f| all | f.load(Memory::Relaxed)) == ASKED
    }

    /// The compiled pattern.
    pub fn pattern(&self, text: &str) -> Eval<Arc<regex::Regex>> {
        if let Some(found) = self.patterns.borrow().get(text) {
            return Ok(found.clone());
        }
        let compiled = regex::Regex::new(text)
            .map(Arc::new)
            .map_err(|e| Fault::Message(format!("the pattern is no regular expression: {}", super::compile::last_line(&e.to_string()))))?;
        self.patterns.borrow_mut().insert(text.to_owned(), compiled.clone());
        Ok(compiled)
    }
}

/// An element of `each`, and where it stands among them.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'r> {
    /// The element.
    pub item: &'r Value<'static>,
    /// Its place, from 0.
    pub index: usize,
    /// How many there are.
    pub length: usize,
}

/// All that an expression may see.
#[derive(Clone, Copy)]
pub struct Env<'r> {
    /// The record in hand.
    pub record: &'r Record,
    /// Its columns.
    pub columns: &'r Columns,
    /// How A writes.
    pub reading: &'r Reading,
    /// How B wants to read.
    pub style: &'r Style,
    /// The code tables.
    pub lookups: &'r Lookups,
    /// The facts of the job.
    pub context: &'r Context,
    /// The element of `each` in hand.
    pub turn: Option<Turn<'r>>,
    /// What became of the record since the other side knew it, once that is known.
    pub change: Option<&'r Change>,
    /// What changes from record to record.
    pub state: &'r State,
    /// Holds the texts that are made for the record in hand.
    pub arena: &'r bumpalo::Bump,
}

impl<'r> Env<'r> {
    /// The value of `node`.
    pub fn eval(&self, node: &'r Node) -> Eval<Value<'r>> {
        match node {
            Node::Const(v) => Ok(v.borrowed()),
            Node::Column(at, kind) => self.column(*at, *kind),
            Node::Cell(at) => self.cell(*at),
            Node::Field(name, at) => self.field(name, *at),
            Node::Typed(inner, types) => {
                let value = self.eval(inner)?;
                types.iter().try_fold(value, |value, declared| typed::retyped(self.reading, value, &declared.path, declared.kind))
            }
            Node::Row => self.row(),
            Node::Parent => Ok(self.record.parent.clone().map_or(Value::Null, Value::Nodes)),
            Node::Item => match self.turn {
                Some(turn) => Ok(turn.item.borrowed()),
                None => fault("`item` stands only where `each` gives records"),
            },
            Node::Fact(fact) => Ok(self.fact(*fact)),
            Node::Op => self.change.map_or_else(|| fault("`sync.op` is known only in `map`"), |c| Ok(Value::text(c.op.word()))),
            Node::Before => self.change.map_or_else(|| fault("`sync.before` is known only in `map`"), |c| Ok(c.before.borrowed())),
            Node::Let(inner) => self.eval(inner),
            Node::Undefined(name) => Err(Fault::Undefined(format!("there is no {name}"))),
            Node::Attr(inner, name) => {
                let value = self.eval(inner)?;
                present(inner, &value, &Value::text(name))?;
                self.part(value, name)
            }
            Node::Index(inner, index) => {
                let value = self.eval(inner)?;
                let index = key(&value, self.eval(index)?, self.style)?;
                present(inner, &value, &index)?;
                self.index(value, index)
            }
            Node::Slice(inner, parts) => self.slice(self.eval(inner)?, parts),
            Node::Not(inner) => Ok(Value::Bool(!truth(&self.eval(inner)?))),
            Node::Neg(inner) => match number(&self.plain(inner)?)? {
                Some(n) => Ok(Value::Number(-n)),
                None => fault("null has no opposite: | default(0) gives it a value"),
            },
            Node::And(a, b) => {
                let left = self.eval(a)?;
                if truth(&left) { self.eval(b) } else { Ok(left) }
            }
            Node::Or(a, b) => {
                let left = self.eval(a)?;
                if truth(&left) { Ok(left) } else { self.eval(b) }
            }
            Node::Arithmetic(op, a, b) => arithmetic(*op, self.eval(a)?, self.eval(b)?),
            Node::Concat(a, b) => {
                let (left, right) = (self.eval(a)?, self.eval(b)?);
                let (left, right) = (self.style.text(&left), self.style.text(&right));
                let mut out = bumpalo::collections::String::with_capacity_in(left.len() + right.len(), self.arena);
                out.push_str(&left);
                out.push_str(&right);
                Ok(Value::text(out.into_bump_str()))
            }
            Node::Compare(first, rest) => self.compare(first, rest),
            Node::If(test, yes, no) => {
                if truth(&self.eval(test)?) {
                    return self.eval(yes);
                }
                no.as_ref().map_or(Ok(Value::Null), |no| self.eval(no))
            }
            Node::Filter(filter, input, args) => filters::apply(self, filter, self.eval(input)?, args),
            Node::Default(inner, other, boolean) => self.default(inner, other, boolean.as_deref()),
            Node::Test(test, input, args) => self.test(test, input, args),
            Node::Defined(inner) => match self.eval(inner) {
                Ok(_) => Ok(Value::Bool(true)),
                Err(Fault::Undefined(_)) => Ok(Value::Bool(false)),
                Err(e) => Err(e),
            },
            Node::Lookup(key, table, column) => self.lookup(self.eval(key)?, table, column.as_deref()),
            Node::Nextval(key) => {
                let key = self.style.text(&self.eval(key)?).into_owned();
                Ok(Value::Number(Decimal::from(self.state.nextval(key))))
            }
            Node::Range(args) => self.range(args),
            Node::List(items) => items.iter().map(|n| self.eval(n).map(Value::into_owned)).collect::<Eval<Vec<_>>>().map(Value::list),
            Node::Map(entries) => {
                let entries = entries.iter().map(|(k, v)| Ok::<_, Fault>((self.style.text(&self.eval(k)?).as_ref().into(), self.eval(v)?.into_owned())));
                // A key that stands twice has its last value, in its first place.
                let mut out = crate::record::Entries::new();
                for entry in entries {
                    let (key, value) = entry?;
                    match out.iter_mut().find(|(known, _)| *known == key) {
                        Some(known) => known.1 = value,
                        None => out.push((key, value)),
                    }
                }
                Ok(Value::map(out))
            }
        }
    }

    /// The value of `node` where one is wanted: of typed elements, the first one's.
    pub fn plain(&self, node: &'r Node) -> Eval<Value<'r>> {
        if let Node::Typed(inner, types) = node
            && let [Declared { path, kind }] = &types[..]
            && path.is_empty()
        {
            let value = self.eval(inner)?;
            // What most typed names reach is one element: no list of it is made.
            return match value {
                Value::Nodes(Nodes::One(_)) => filters::convert(self, *kind, None, value),
                other => Ok(typed::retyped(self.reading, other, path, *kind)?.plain()),
            };
        }
        self.eval(node).map(Value::plain)
    }

    fn column(&self, at: usize, kind: Type) -> Eval<Value<'r>> {
        let record = self.record;
        if record.cells.is_empty() {
            return self.reading.convert(kind, record.field(at)).map_err(Fault::Message);
        }
        filters::convert(self, kind, None, self.cell(at)?)
    }

    fn cell(&self, at: usize) -> Eval<Value<'r>> {
        match self.record.faults.iter().find(|(place, _)| *place == at) {
            Some((_, why)) => fault(why.clone()),
            None => Ok(self.record.value(at)),
        }
    }

    fn field(&self, name: &str, at: usize) -> Eval<Value<'r>> {
        let found = match &self.record.tree {
            Some(Value::Nodes(nodes)) => nodes.part(name),
            Some(tree @ Value::Map(_)) => tree.get(name).map_or(Value::Null, Value::borrowed),
            Some(other) => return fault(format!("the record is {}, no object that could have a {name}", other.kind())),
            None => Value::Null,
        };
        if let Some(seen) = self.state.fields.get(at) {
            let there = !matches!(found, Value::Null) || self.record.tree.as_ref().is_some_and(|t| t.get(name).is_some());
            seen.fetch_or(if there { SEEN } else { ASKED }, Memory::Relaxed);
        }
        Ok(found)
    }

    /// The record as a map of its columns.
    pub fn row(&self) -> Eval<Value<'r>> {
        match &self.record.tree {
            Some(Value::Nodes(nodes)) => Ok(match nodes.first().map(|n| n.to_value()) {
                Some(map @ Value::Map(_)) => map,
                // An element of text alone is a record of one name.
                Some(text) => Value::map(vec![("#text".into(), text)]),
                None => Value::Null,
            }),
            Some(tree) => Ok(tree.borrowed()),
            None => {
                let entries = self.columns.names.iter().enumerate();
                let entries = entries.map(|(i, name)| Ok((name.as_str().into(), self.cell(i)?.into_owned())));
                entries.collect::<Eval<_>>().map(Value::map)
            }
        }
    }

    fn fact(&self, fact: Fact) -> Value<'r> {
        let c = self.context;
        let (stem, ext) = Context::stem_and_ext(&c.file_name);
        match fact {
            Fact::RowNumber => Value::Number(self.record.number.into()),
            Fact::RowLine => Value::Number(self.record.line.into()),
            Fact::FileName => Value::text(&c.file_name),
            Fact::FileStem => Value::text(stem),
            Fact::FileExt => Value::text(ext),
            Fact::FilePath => Value::text(&c.file_path),
            Fact::FileModified => Value::DateTime(c.file_modified.0, c.file_modified.1),
            Fact::FileSize => Value::Number(c.file_size.into()),
            Fact::JobNumber => Value::Number(c.job.into()),
            Fact::JobTime => Value::DateTime(c.time.0, c.time.1),
            Fact::RouteName => Value::text(&c.route),
            Fact::LoopIndex => self.turn_value(|t| Value::Number((t.index + 1).into())),
            Fact::LoopIndex0 => self.turn_value(|t| Value::Number(t.index.into())),
            Fact::LoopFirst => self.turn_value(|t| Value::Bool(t.index == 0)),
            Fact::LoopLast => self.turn_value(|t| Value::Bool(t.index + 1 == t.length)),
            Fact::LoopLength => self.turn_value(|t| Value::Number(t.length.into())),
        }
    }

    fn turn_value(&self, of: impl FnOnce(Turn<'r>) -> Value<'r>) -> Value<'r> {
        self.turn.map_or(Value::Null, of)
    }

    /// The part of `value` under `name`: absent in a map is null (an optional part of a nested record), of null is null.
    pub fn part(&self, value: Value<'r>, name: &str) -> Eval<Value<'r>> {
        match &value {
            Value::Null => Ok(Value::Null),
            Value::Map(_) => Ok(value.get(name).cloned().unwrap_or(Value::Null)),
            Value::Nodes(nodes) => match nodes.scalar().time_part(name) {
                Some(part) => Ok(Value::Number(part.into())),
                None => Ok(nodes.part(name)),
            },
            Value::Date(_) | Value::DateTime(..) => match value.time_part(name) {
                Some(part) => Ok(Value::Number(part.into())),
                None => Err(Fault::Undefined(format!("a date has no part {name}"))),
            },
            // What `groupby` gives: a key and its elements, by position or by Jinja's names.
            Value::List(pair) if matches!(name, "grouper" | "list") && matches!(&pair[..], [_, Value::List(_)]) => {
                Ok(pair[usize::from(name == "list")].clone())
            }
            other => Err(Fault::Undefined(format!("{} has no part {name}", other.kind()))),
        }
    }

    fn index(&self, value: Value<'r>, index: Value<'r>) -> Eval<Value<'r>> {
        match (&value, &index) {
            (Value::Null, _) => Ok(Value::Null),
            (Value::Map(_), Value::Text(name)) => Ok(value.get(name).cloned().unwrap_or(Value::Null)),
            (Value::Nodes(nodes), Value::Text(name)) => Ok(nodes.part(name)),
            (Value::Nodes(nodes), _) => match whole(&index)? {
                Some(at) => Ok(position(at, nodes.all().len()).map_or(Value::Null, |i| Value::Nodes(Nodes::One(nodes.all()[i].clone())))),
                None => Ok(Value::Null),
            },
            (Value::List(items), _) => match whole(&index)? {
                // As an absent name of a nested record, an absent element is null.
                Some(at) => Ok(position(at, items.len()).map_or(Value::Null, |i| items[i].clone())),
                None => Ok(Value::Null),
            },
            (Value::Text(text), _) => match whole(&index)? {
                Some(at) => {
                    let chars: Vec<char> = text.chars().collect();
                    position(at, chars.len()).map(|i| Value::owned(chars[i])).ok_or_else(|| Fault::Undefined(format!("the text has no character {at}")))
                }
                None => Ok(Value::Null),
            },
            (other, _) => fault(format!("{} has no elements", other.kind())),
        }
    }

    fn slice(&self, value: Value<'r>, parts: &'r [Option<Box<Node>>; 3]) -> Eval<Value<'r>> {
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            if let Some(part) = part {
                *bound = whole(&self.eval(part)?)?;
            }
        }
        compute::slice(value, bounds, self.style)
    }

    fn compare(&self, first: &'r Node, rest: &'r [(Cmp, Node)]) -> Eval<Value<'r>> {
        // What most filters on records are: a column of text that is, or is not, a given one.
        if let (Node::Column(at, Type::Text), [(cmp @ (Cmp::Eq | Cmp::Ne), Node::Const(Value::Text(text)))]) = (first, rest)
            && self.record.cells.is_empty()
        {
            return Ok(Value::Bool((self.record.field(*at) == text) == (*cmp == Cmp::Eq)));
        }
        let mut left = self.plain(first)?;
        for (cmp, node) in rest {
            let right = self.plain(node)?;
            let holds = match cmp {
                Cmp::In => contains(&right, &left, self.style)?,
                Cmp::NotIn => !contains(&right, &left, self.style)?,
                other => compares(*other, &left, &right)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn default(&self, inner: &'r Node, other: &'r Node, boolean: Option<&'r Node>) -> Eval<Value<'r>> {
        let found = match self.eval(inner) {
            Err(Fault::Undefined(_)) | Ok(Value::Null) => None,
            Ok(value) => Some(value),
            Err(e) => return Err(e),
        };
        let also_empty = boolean.map(|b| self.eval(b)).transpose()?.is_some_and(|b| truth(&b));
        match found {
            Some(value) if !also_empty || truth(&value) => Ok(value),
            _ => self.eval(other),
        }
    }

    fn test(&self, test: &'static super::predicates::Predicate, input: &'r Node, args: &'r Args) -> Eval<Value<'r>> {
        let value = self.plain(input)?;
        let arg = args.positional.first().map(|a| self.plain(a)).transpose()?;
        (test.holds)(self, &value, arg.as_ref()).map(Value::Bool)
    }

    fn lookup(&self, key: Value<'r>, table: &str, column: Option<&str>) -> Eval<Value<'r>> {
        let keys: Vec<Value<'_>> = match &key {
            Value::Null => return Ok(Value::Null),
            Value::List(items) => items.iter().map(Value::borrowed).collect(),
            one => vec![one.borrowed()],
        };
        let found = self.lookups.find(table, &keys, column).map_err(Fault::Message)?;
        // A code is looked up as A's table has it, however B wants numbers and dates.
        let shown = || keys.iter().map(|k| Style::default().text(k).into_owned()).collect::<Vec<_>>().join(", ");
        match found {
            Some(found) => Ok(found),
            None => Err(Fault::Undefined(format!("{} is not in the lookup {table}", quoted(&shown())))),
        }
    }

    fn range(&self, args: &'r [Node]) -> Eval<Value<'r>> {
        let mut bounds = Vec::new();
        for arg in args {
            bounds.push(whole(&self.eval(arg)?)?.ok_or_else(|| Fault::Message("range of null".into()))?);
        }
        let (from, to, step) = match bounds[..] {
            [to] => (0, to, 1),
            [from, to] => (from, to, 1),
            [from, to, step, ..] => (from, to, step),
            [] => (0, 0, 1),
        };
        let count = if step == 0 { 0 } else { (to - from + step - step.signum()) / step };
        if !(0..=100_000).contains(&count) {
            return if count < 0 { Ok(Value::list(Vec::new())) } else { fault("range is longer than 100000") };
        }
        Ok(Value::list((0..count).map(|i| Value::Number((from + i * step).into())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile::compile;
    use super::super::expr::Scope;
    use super::super::{filters, predicates};
    use super::*;
    use std::sync::Arc;

    struct World {
        columns: Columns,
        record: Record,
        types: Vec<(String, Type)>,
    }

    fn csv(cells: &[(&str, &str)], types: &[(&str, Type)]) -> World {
        let mut record = Record::default();
        (record.line, record.number) = (7, 3);
        cells.iter().for_each(|(_, cell)| record.push(cell));
        World { columns: Columns::from_header(cells.iter().map(|(n, _)| *n)), record, types: types.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect() }
    }

    fn json(text: &str) -> World {
        let tree = crate::formats::json::testing::parsed(text);
        let mut record = Record::default();
        record.tree = Some(tree);
        World { columns: Columns::nested(), record, types: Vec::new() }
    }

    /// The result as B's text, or what is wrong.
    fn eval(world: &World, text: &str) -> String {
        let mut lookups = Lookups::default();
        let table = super::super::lookup::Lookup::from_values([("M".to_owned(), "Monsieur".to_owned())].into_iter());
        lookups.0.insert("civ".into(), Arc::new(table));
        let names = [super::super::expr::Named { name: "civ".to_owned(), value: Some("value".to_owned()), columns: None }];
        let mut scope = Scope::new(Some(&world.columns), &world.types);
        scope.lookups = &names;
        let node = compile(text, &mut scope);
        if let Some(m) = scope.mistakes.first() {
            return format!("MISTAKE {} [{}]", m.message, &text[m.span.clone()]);
        }
        let time = jiff::civil::date(2025, 12, 31).at(23, 59, 0, 0);
        let context = Context {
            file_name: "a.b.csv".into(),
            file_path: "x/a.b.csv".into(),
            file_modified: (time, None),
            file_size: 12,
            job: 17,
            time: (time, None),
            route: "clients".into(),
        };
        let (reading, style) = (Reading { decimal: ',', ..Reading::default() }, Style::default());
        let state = State::new(scope.fields.len());
        let arena = bumpalo::Bump::new();
        let env = Env {
            record: &world.record,
            columns: &world.columns,
            reading: &reading,
            style: &style,
            lookups: &lookups,
            context: &context,
            turn: None,
            change: None,
            state: &state,
            arena: &arena,
        };
        match env.eval(&node) {
            Ok(v @ Value::Null) => format!("null{}", style.text(&v)),
            Ok(v) => style.text(&v).into_owned(),
            Err(f) => format!("REJECT {}", f.reason()),
        }
    }

    fn check(world: &World, cases: &[(&str, &str)]) {
        for (text, wanted) in cases {
            assert_eq!(eval(world, text), *wanted, "{text}");
        }
    }

    #[test]
    fn every_example_of_the_reference_gives_what_it_says() {
        let mut reading_dot = csv(&[], &[]);
        reading_dot.types.clear();
        for (name, (text, wanted)) in filters::FILTERS
            .iter()
            .map(|f| (f.name, f.example))
            .chain(predicates::PREDICATES.iter().map(|p| (p.name, p.example)))
            .chain(filters::BUILT_IN.iter().map(|(_, name, example)| (*name, *example)))
        {
            // The examples are written for a plain decimal point.
            let got = eval(&reading_dot, &text.replace("'1.50' |", "'1,50' |").replace("'7.9'", "'7,9'"));
            assert_eq!(got, wanted, "{name}: {text}");
        }
    }

    #[test]
    fn text_stays_text_and_columns_are_reached_by_every_name() {
        let w = csv(&[("Code", "007"), ("Raison sociale", " Dupont "), ("file", "x"), ("Montant", "1,50")], &[]);
        check(
            &w,
            &[
                ("Code", "007"),
                ("row['Raison sociale'] | trim | upper", "DUPONT"),
                ("row[0] ~ '-' ~ row.Code", "007-007"),
                ("row['file']", "x"),
                ("Montant", "1,50"),
                ("Montant | decimal | round(1)", "1.5"),
                ("row.number ~ '/' ~ row.line", "3/7"),
                ("file.stem ~ '|' ~ file.ext ~ '|' ~ job.number ~ '|' ~ route.name", "a.b|csv|17|clients"),
                ("Codes", "MISTAKE there is no column Codes [Codes]"),
                ("Codes | default('-')", "-"),
                ("12345678901234567890 is even", "true"),
                ("[1, 1.0, '1'] | unique | length", "2"),
                ("['a', null] | map('default', 'x') | join", "ax"),
                ("['1', 'x'] | map('int', default=0) | join('-')", "1-0"),
                ("[{'a': 1}, {'b': 2}] | selectattr('a', 'defined') | length", "1"),
                ("[1, null] | select('undefined') | length", "1"),
                ("'a' | center(70000) | length", "70000"),
                ("Codes is defined", "false"),
                ("file", "MISTAKE `file` is the relay's and stands only with a dot [file]"),
                ("file.nam", "MISTAKE `file` has no `nam` [file.nam]"),
            ],
        );
    }

    #[test]
    fn decimals_are_exact_and_never_floats() {
        let w = csv(&[("a", "0,1"), ("b", "0,20"), ("vide", "")], &[("a", Type::Decimal), ("b", Type::Decimal), ("vide", Type::Decimal)]);
        check(
            &w,
            &[
                ("a + b", "0.30"),
                ("a + b == 0.3", "true"),
                ("2.5 | round", "3"),
                ("-2.5 | round", "-3"),
                ("(-2.5) | round", "-3"),
                ("1 | round(2)", "1.00"),
                ("1.005 | round(2)", "1.01"),
                ("-0.001 | abs | round(2)", "0.00"),
                ("7 / 2", "3.5"),
                ("7 // 2", "3"),
                ("-7 // 2", "-4"),
                ("-7 % 3", "2"),
                ("2 ** 10", "1024"),
                ("0.12345678901234567890123456 + 0", "0.12345678901234567890123456"),
                ("1 / 0", "REJECT division by zero"),
                ("vide", "null"),
                ("vide + 1", "REJECT null can't be computed with: | default(0) gives it a value"),
                ("(vide | default(0)) + 1", "1"),
                ("vide ~ 'x'", "x"),
                ("vide | round(2)", "null"),
                ("vide | upper ~ '.'", "."),
                ("'%013.2f' | format(a)", "0000000000.10"),
                ("[a, b, vide] | sum", "0.30"),
                ("[a, vide] | min", "0.1"),
                ("[] | max", "null"),
            ],
        );
    }

    #[test]
    fn text_is_never_compared_with_a_number() {
        let w = csv(&[("a", "5")], &[]);
        check(
            &w,
            &[
                ("a > 3", "MISTAKE text is compared with a number [a > 3]"),
                ("'5' == 5", "MISTAKE text is compared with a number ['5' == 5]"),
                ("(a | integer) > 3", "true"),
                ("a == '5'", "true"),
                ("a in ['5', '6']", "true"),
                ("a + 1", "MISTAKE text is used as a number [a + 1]"),
                ("null == ''", "false"),
                ("null < 1", "false"),
                ("not (null == none)", "false"),
            ],
        );
        assert_eq!(eval(&json("{\"a\": \"5\"}"), "a > 3"), "REJECT text is compared with a number: convert one of them, for instance with | decimal or | date");
    }

    #[test]
    fn nested_parts_that_are_absent_are_null() {
        let w = json(r#"{"n": 12.50, "big": 12345678901234567890123456789012345, "l": [{"v": "a", "q": 2}, {"v": "b", "q": 3}], "o": {"p": "x"}, "z": null}"#);
        check(
            &w,
            &[
                ("n", "12.50"),
                ("n * 2", "25.00"),
                ("n * 0.0", "0.000"),
                ("big", "12345678901234567890123456789012345"),
                ("big + 1", "REJECT the number 12345678901234567890123456789012345 has more than 28 digits"),
                ("o.p ~ o.absent ~ absent.deep ~ '!'", "x!"),
                ("l[0].v ~ l[-1].v", "ab"),
                ("l[9].v | default('none')", "none"),
                ("l | map(attribute='v') | join('+')", "a+b"),
                ("l | sum(attribute='q')", "5"),
                ("l | selectattr('q', 'gt', 2) | map(attribute='v') | first", "b"),
                ("z | default('d')", "d"),
                ("(l | length) if l else 0", "2"),
            ],
        );
    }

    #[test]
    fn the_other_rules_of_the_contract_hold() {
        let w = csv(&[("Nom", "Éloïse"), ("d", "31/12/2025"), ("t", "a1b2")], &[]);
        check(
            &w,
            &[
                ("Nom[:3]", "Élo"),
                ("Nom[-2:]", "se"),
                ("Nom[::-1]", "esïolÉ"),
                ("(d | date('%d/%m/%Y')) | strftime('%Y%m')", "202512"),
                ("d | date('%d/%m/%Y')", "2025-12-31"),
                ("d | date", "REJECT \"31/12/2025\" is not a date of the form %Y-%m-%d"),
                ("d | strftime('%Y')", "REJECT \"31/12/2025\" is text, not a date: convert it first with | date or `types`"),
                ("t | regex_replace('([a-z])([0-9])', '\\\\2\\\\1$')", "1a$2b$"),
                ("t | regex_replace('([a-z])([0-9])', '\\2\\1$')", "1a$2b$"),
                ("['A', 'a', 'A'] | unique | length", "2"),
                ("'M' | lookup('civ')", "Monsieur"),
                ("'X' | lookup('civ')", "REJECT \"X\" is not in the lookup civ"),
                ("'X' | lookup('civ') | default('?')", "?"),
                ("nextval('k') ~ nextval('k')", "11"),
                ("job.time", "2025-12-31T23:59:00"),
                ("1 < 2 < 3", "true"),
                ("'x' if Nom else 'y'", "x"),
                ("range(3) | join(',')", "0,1,2"),
                ("{'a': 1}.a", "1"),
            ],
        );
    }

    #[test]
    fn mistakes_name_their_place_and_the_nearest_name() {
        let w = csv(&[("Nom", "x")], &[]);
        check(
            &w,
            &[
                ("Nom | uper", "MISTAKE there is no filter uper [uper]"),
                ("Nom is emial", "MISTAKE there is no test emial [emial]"),
                ("Nom | replace('a')", "MISTAKE replace takes 2 to 3 arguments, not 1 [replace('a')]"),
                ("Nom | lookup('pay')", "MISTAKE there is no lookup pay [lookup('pay')]"),
                ("nextvall('x')", "MISTAKE there is no function nextvall [nextvall('x')]"),
                ("Nom.upper()", "MISTAKE methods can't be called [.upper()]"),
                ("Nom | regex_replace('(', '')", "MISTAKE the pattern is no regular expression: unclosed group ['(']"),
            ],
        );
        assert!(eval(&w, "(Nom | upper").starts_with("MISTAKE "), "{}", eval(&w, "(Nom | upper"));
        assert!(eval(&w, "'Nom").starts_with("MISTAKE "));
    }
}
