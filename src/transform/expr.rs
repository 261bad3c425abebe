//! Expressions: Jinja's grammar (minijinja's parser), our own meanings, compiled once into a tree of [`Node`]s.
//!
//! This file only parses, resolves names and finds mistakes; `eval` computes. It never sees a record.

use std::ops::Range;
use std::sync::Arc;

use super::filters::Filter;
use super::predicates::Predicate;
use super::typed::Declared;
use crate::formats::text::Type;
use crate::record::{Columns, Value};

/// How the message of an unknown column begins.
pub const NO_COLUMN: &str = "there is no column ";

/// A mistake in an expression: where (bytes of its text), what, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// Where in the expression.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What is expected, or the nearest name.
    pub hint: Option<String>,
}

impl Mistake {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { span, message: message.into(), hint }
    }
}

/// An expression, ready to be evaluated.
#[derive(Debug)]
pub enum Node {
    /// A constant.
    Const(Value<'static>),
    /// A column of a flat record.
    Column(usize, Type),
    /// A typed cell of a flat record, as it is.
    Cell(usize),
    /// A name at the top of a nested record; the number is where it is noted that some record has it.
    Field(String, usize),
    /// A value of a nested record with the types that are declared at it or in it.
    Typed(Box<Node>, Vec<Declared>),
    /// The record as a map.
    Row,
    /// What stands around the record.
    Parent,
    /// The element of `each` in hand.
    Item,
    /// A fact of the relay about the record or the job.
    Fact(Fact),
    /// `sync.op`: what became of the record since the other side knew it.
    Op,
    /// `sync.before`: the targets as the other side knew them; null for a record that is new to it.
    Before,
    /// A name of `let`.
    Let(Arc<Node>),
    /// A name that the file does not have; `default` may follow.
    Undefined(String),
    /// The named part of a value.
    Attr(Box<Node>, String),
    /// The part of a value at an index or under a name.
    Index(Box<Node>, Box<Node>),
    /// A part of a text or list.
    Slice(Box<Node>, [Option<Box<Node>>; 3]),
    /// `not`.
    Not(Box<Node>),
    /// `-x`.
    Neg(Box<Node>),
    /// `and`.
    And(Box<Node>, Box<Node>),
    /// `or`.
    Or(Box<Node>, Box<Node>),
    /// `+ - * / // % **`.
    Arithmetic(Op, Box<Node>, Box<Node>),
    /// `~`.
    Concat(Box<Node>, Box<Node>),
    /// `a < b <= c`, `in`, `not in`.
    Compare(Box<Node>, Vec<(Cmp, Node)>),
    /// `a if test else b`.
    If(Box<Node>, Box<Node>, Option<Box<Node>>),
    /// `x | filter(…)`.
    Filter(&'static Filter, Box<Node>, Args),
    /// `x | default(y)`, which sees what is undefined.
    Default(Box<Node>, Box<Node>, Option<Box<Node>>),
    /// `x is test(…)`.
    Test(&'static Predicate, Box<Node>, Args),
    /// `x is defined`.
    Defined(Box<Node>),
    /// `x | lookup('table', 'column')`.
    Lookup(Box<Node>, String, Option<String>),
    /// `nextval(key)`: 1, 2, … for each key in the file; the same for all that one record asks for.
    Nextval(Box<Node>),
    /// `range(…)`.
    Range(Vec<Node>),
    /// `[a, b]`.
    List(Vec<Node>),
    /// `{a: b}`.
    Map(Vec<(Node, Node)>),
}

/// Facts of the relay that expressions may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `row.number`
    RowNumber,
    /// `row.line`
    RowLine,
    /// `file.name`
    FileName,
    /// `file.stem`
    FileStem,
    /// `file.ext`
    FileExt,
    /// `file.path`
    FilePath,
    /// `file.modified`
    FileModified,
    /// `file.size`
    FileSize,
    /// `job.number`
    JobNumber,
    /// `job.time`
    JobTime,
    /// `route.name`
    RouteName,
    /// `loop.index`, from 1
    LoopIndex,
    /// `loop.index0`
    LoopIndex0,
    /// `loop.first`
    LoopFirst,
    /// `loop.last`
    LoopLast,
    /// `loop.length`
    LoopLength,
}

/// Names that are the relay's wherever they stand bare; a column of such a name is reached by brackets on `row`.
pub const RESERVED: &[&str] = &["row", "file", "job", "route", "item", "loop", "parent", "sync"];

/// Arithmetic operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `+`
    Add,
    /// `+` beside a text that stands in the expression: texts are joined.
    Join,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `*` behind a text that stands in the expression: it is repeated.
    Repeat,
    /// `/`
    Div,
    /// `//`
    FloorDiv,
    /// `%`
    Rem,
    /// `**`
    Pow,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `in`
    In,
    /// `not in`
    NotIn,
}

/// The arguments of a filter or test.
#[derive(Debug, Default)]
pub struct Args {
    /// By position.
    pub positional: Vec<Node>,
    /// By name.
    pub named: Vec<(String, Node)>,
}

impl Args {
    /// The one of that name.
    pub fn named(&self, name: &str) -> Option<&Node> {
        self.named.iter().find_map(|(known, node)| (known == name).then_some(node))
    }
}

/// Whether an expression stands where the elements of `each` go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Each {
    /// One by one.
    Element,
    /// Not yet, or never.
    None,
}

/// Whether an expression stands where it is known what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// In the map of a route with `sync`.
    Told,
    /// Elsewhere.
    NotTold,
}

/// A configured lookup, as far as expressions know it.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The column of a plain `lookup('name')`.
    pub value: Option<String>,
    /// All it gives, where the configuration itself holds it.
    pub columns: Option<Vec<String>>,
}

/// What names mean where an expression stands.
pub struct Scope<'s> {
    /// A's columns; none where they are known only when a file is read.
    pub columns: Option<&'s Columns>,
    /// The types declared for columns.
    pub types: &'s [(String, Type)],
    /// The names of `let`, already compiled.
    pub lets: &'s [(String, Arc<Node>)],
    /// The configured lookups.
    pub lookups: &'s [Named],
    /// `item` and `loop` have a meaning here.
    pub each: Each,
    /// `sync` has a meaning here.
    pub changes: Changes,
    /// The map: its targets are what `sync.before` has.
    pub map: &'s [(String, String)],
    /// The column that holds the rows of a group, of a flat file whose columns are not known yet.
    pub list: Option<&'s str>,
    /// The path that `each` is, if it is one.
    pub each_path: Option<Vec<String>>,
    /// The names of nested records seen so far: a `Field` is noted by its place here.
    pub fields: Vec<String>,
    /// What was found wrong.
    pub mistakes: Vec<Mistake>,
    /// The text of the expression in hand.
    pub(super) source: String,
}

impl<'s> Scope<'s> {
    /// A scope with nothing in it but columns.
    pub fn new(columns: Option<&'s Columns>, types: &'s [(String, Type)]) -> Self {
        Self {
            columns,
            types,
            lets: &[],
            lookups: &[],
            each: Each::None,
            changes: Changes::NotTold,
            map: &[],
            list: None,
            each_path: None,
            fields: Vec::new(),
            mistakes: Vec::new(),
            source: String::new(),
        }
    }
}

/// What is known of a value before any record is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A date or a date with time.
    Time,
    /// Anything.
    Unknown,
}

impl Type {
    fn known(self) -> Known {
        match self {
            Type::Text => Known::Text,
            Type::Integer | Type::Decimal => Known::Number,
            Type::Date | Type::DateTime => Known::Time,
            Type::Bool => Known::Unknown,
        }
    }
}

impl Node {
    /// What is known of this node's value.
    pub fn known(&self) -> Known {
        match self {
            Node::Const(Value::Text(_)) | Node::Concat(..) | Node::Column(_, Type::Text) => Known::Text,
            Node::Const(Value::Number(_)) | Node::Neg(_) | Node::Nextval(..) => Known::Number,
            Node::Column(_, kind) => kind.known(),
            Node::Typed(_, types) => match &types[..] {
                [Declared { path, kind }] if path.is_empty() => kind.known(),
                _ => Known::Unknown,
            },
            Node::Fact(Fact::RowNumber | Fact::RowLine | Fact::JobNumber | Fact::FileSize | Fact::LoopIndex | Fact::LoopIndex0 | Fact::LoopLength) => {
                Known::Number
            }
            Node::Fact(Fact::LoopFirst | Fact::LoopLast) => Known::Unknown,
            Node::Fact(Fact::FileModified | Fact::JobTime) => Known::Time,
            Node::Fact(_) | Node::Op => Known::Text,
            Node::Let(inner) => inner.known(),
            // It joins lists where it starts with one.
            Node::Filter(f, _, args) if f.name == "sum" && args.positional.get(1).or(args.named("start")).is_some_and(|s| s.known() != Known::Number) => {
                Known::Unknown
            }
            Node::Filter(f, ..) => f.gives,
            Node::Arithmetic(op, ..) if !matches!(op, Op::Add | Op::Join | Op::Repeat) => Known::Number,
            Node::Slice(inner, _) => inner.known(),
            Node::If(_, a, Some(b)) if a.known() == b.known() => a.known(),
            _ => Known::Unknown,
        }
    }
}

/// Visits a node and all below it.
pub fn walk(node: &Node, visit: &mut dyn FnMut(&Node)) {
    visit(node);
    children(node, &mut |n| walk(n, visit));
}

/// The same without what a `let` stands for, of which the text is another.
pub fn walk_own(node: &Node, visit: &mut dyn FnMut(&Node)) {
    visit(node);
    if !matches!(node, Node::Let(_)) {
        children(node, &mut |n| walk_own(n, visit));
    }
}

fn children(node: &Node, each: &mut dyn FnMut(&Node)) {
    let args = |a: &Args, each: &mut dyn FnMut(&Node)| {
        a.positional.iter().chain(a.named.iter().map(|(_, n)| n)).for_each(each);
    };
    match node {
        Node::Const(_)
        | Node::Column(..)
        | Node::Cell(_)
        | Node::Field(..)
        | Node::Row
        | Node::Parent
        | Node::Item
        | Node::Fact(_)
        | Node::Op
        | Node::Before
        | Node::Undefined(_) => {}
        Node::Let(n) => each(n),
        Node::Typed(n, _) | Node::Attr(n, _) | Node::Not(n) | Node::Neg(n) | Node::Defined(n) | Node::Lookup(n, ..) | Node::Nextval(n) => each(n),
        Node::Index(a, b) | Node::And(a, b) | Node::Or(a, b) | Node::Arithmetic(_, a, b) | Node::Concat(a, b) => {
            each(a);
            each(b);
        }
        Node::Slice(n, parts) => {
            each(n);
            parts.iter().flatten().for_each(|p| each(p));
        }
        Node::Compare(n, rest) => {
            each(n);
            rest.iter().for_each(|(_, n)| each(n));
        }
        Node::If(a, b, c) | Node::Default(a, b, c) => {
            each(a);
            each(b);
            c.iter().for_each(|n| each(n));
        }
        Node::Filter(_, n, a) | Node::Test(_, n, a) => {
            each(n);
            args(a, each);
        }
        Node::Range(items) | Node::List(items) => items.iter().for_each(each),
        Node::Map(entries) => entries.iter().for_each(|(k, v)| {
            each(k);
            each(v);
        }),
    }
}
