//! A route's mapping, compiled for one header: what is computed for each record, in B's order, and what B demands of it.
//!
//! Every mistake of a mapping is found at once, with the key and the place in its expression. A plan is immutable and
//! may be used by several threads; what changes from record to record is in [`super::eval::State`].

use super::eval::{Env, truth};
use super::expr::{Changes, Each, Fact, Mistake, Named, Node, Scope, walk};
pub use super::place::Place;
use super::rules::sameness;
pub use super::rules::{Rule, Unique};
use super::typed::{self, Declared};
use super::{compile, lets};
use crate::formats::text::{Style, Type, quoted};
use crate::options::nearest;
use crate::record::{Columns, Reject, Value};

/// The mapping of a route as configured: names and the texts of expressions.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// `let`
    pub lets: Vec<(String, String)>,
    /// `where`
    pub condition: Option<String>,
    /// `check`
    pub checks: Vec<(String, String)>,
    /// `input.each`
    pub each: Option<String>,
    /// `input.group_into`
    pub list: Option<String>,
    /// `map`; none: every column as it is.
    pub map: Option<Vec<(String, String)>>,
    /// `types`
    pub types: Vec<(String, Type)>,
    /// `output.columns`
    pub columns: Option<Vec<String>>,
    /// `output.fields`
    pub rules: Vec<(String, Rule)>,
    /// The configured lookups.
    pub lookups: Vec<Named>,
    /// `sync.key`: the targets that tell records apart; none on a route without `sync`.
    pub key: Option<Vec<String>>,
}

impl Mapping {
    /// Whether some expression holds `name` as a text, as `lookup('name')` does.
    pub fn names(&self, name: &str) -> bool {
        let texts = self.lets.iter().chain(&self.checks).chain(self.map.iter().flatten()).map(|(_, text)| text);
        let held = |text: &String| text.contains(&format!("'{name}'")) || text.contains(&format!("\"{name}\""));
        texts.chain(&self.condition).chain(&self.each).any(held)
    }
}

/// How the targets are computed.
#[derive(Debug)]
enum Targets {
    /// One node a target; none: it is left empty.
    Mapped(Vec<Option<Node>>),
    /// A nested record goes as it is.
    Whole,
}

/// A mapping for one header.
#[derive(Debug)]
pub struct Plan {
    /// A's columns.
    pub columns: Columns,
    /// B's columns; empty when whole nested records go as they are.
    pub targets: Vec<String>,
    compute: Targets,
    /// What gives the elements that each make a record.
    each: Option<Node>,
    condition: Option<Node>,
    checks: Vec<(String, String, Node)>,
    /// The columns with a declared type: what does not fit rejects the record, used or not.
    typed: Vec<(String, Node)>,
    /// The types of records that are trees, for those that go as they are.
    trees: Vec<(String, Declared)>,
    /// Those of `typed` that no target computes in any case.
    unused: Vec<usize>,
    /// The target's name, its place among the targets (none: a name of a whole record), and what B demands of it.
    rules: Vec<(String, Option<usize>, Rule)>,
    /// The names of nested records that the expressions look at.
    pub fields: Vec<String>,
    /// The targets that tell records apart, by their places.
    key: Vec<usize>,
    /// What each target rests on.
    grounds: Vec<Ground>,
}

/// What a target rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The record alone: the same record gives the same value.
    Record,
    /// The job, the file or the record's place in it too.
    Job,
    /// What became of the record since the other side knew it.
    Change,
}

/// What an expression reads of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// A column, or a name at the top of a nested record.
    Column(String),
    /// The element of `each`.
    Item,
    /// What stands around the record.
    Parent,
    /// The record as a whole.
    Row,
}

/// The values of a record's targets, in the record's arena.
pub type Values<'r> = bumpalo::collections::Vec<'r, Value<'r>>;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is written.
    Write,
    /// `where` leaves it out.
    Skip,
}

impl Plan {
    /// Compiles `mapping` for `columns`; none: they are not known yet, and any name is taken for one.
    pub fn compile(mapping: &Mapping, columns: Option<&Columns>) -> Result<Plan, Vec<(Place, Mistake)>> {
        let mut scope = Scope::new(columns, &mapping.types);
        let mut mistakes = Vec::new();
        scope.lookups = &mapping.lookups;
        scope.map = mapping.map.as_deref().unwrap_or_default();
        scope.each = if mapping.each.is_some() { Each::Element } else { Each::None };
        scope.list = mapping.list.as_deref();
        scope.each_path = mapping.each.as_ref().and_then(|text| typed::each_path(text, &mapping.lets));
        let lets = lets::compile(mapping, &mut scope, &mut mistakes);
        scope.lets = &lets;
        let element = std::mem::replace(&mut scope.each, Each::None);
        let each = mapping.each.as_ref().map(|text| typed::compile_each(text, &mut scope));
        mistakes.extend(scope.mistakes.drain(..).map(|m| (Place::Each, m)));
        scope.each = element;
        let told = if mapping.key.is_some() { Changes::Told } else { Changes::NotTold };
        let mut one = |text: &str, place: Place, scope: &mut Scope<'_>| {
            scope.changes = if matches!(place, Place::Map(_)) { told } else { Changes::NotTold };
            let node = compile::compile(text, scope);
            mistakes.extend(scope.mistakes.drain(..).map(|m| (place.clone(), m)));
            node
        };
        let condition = mapping.condition.as_ref().map(|text| one(text, Place::Where, &mut scope));
        let checks = mapping.checks.iter().map(|(n, text)| (n.clone(), text.clone(), one(text, Place::Check(n.clone()), &mut scope))).collect();
        let map: Option<Vec<(String, Node)>> =
            mapping.map.as_ref().map(|map| map.iter().map(|(n, text)| (n.clone(), one(text, Place::Map(n.clone()), &mut scope))).collect());
        let (typed, trees) = typed::compile_types(mapping, &mut scope, &mut mistakes);
        let (targets, compute) = targets(mapping, columns, map, &mut scope, &mut mistakes);
        let mut rules = Vec::new();
        let whole = matches!(compute, Targets::Whole);
        for (name, rule) in &mapping.rules {
            match targets.iter().position(|t| t == name) {
                None if !whole => mistakes.push((Place::Fields(name.clone()), unknown_target(name, &targets))),
                at => rules.push((name.clone(), at, rule.clone())),
            }
        }
        let always: Vec<&Node> = match &compute {
            Targets::Mapped(nodes) => nodes.iter().flatten().flat_map(always).collect(),
            Targets::Whole => Vec::new(),
        };
        let mut key = Vec::new();
        for name in mapping.key.iter().flatten() {
            match targets.iter().position(|t| t == name) {
                Some(at) => key.push(at),
                None if columns.is_none_or(|c| !c.closed()) && targets.is_empty() => {}
                None => mistakes.push((Place::Key(name.clone()), unknown_target(name, &targets))),
            }
        }
        let grounds = match &compute {
            Targets::Mapped(nodes) => nodes.iter().map(|node| node.as_ref().map_or(Ground::Record, ground)).collect(),
            Targets::Whole => Vec::new(),
        };
        for at in key.iter().filter(|at| grounds.get(**at).is_some_and(|g| *g != Ground::Record)) {
            let message = format!("the key {} must come from the record alone", targets[*at]);
            mistakes.push((Place::Key(targets[*at].clone()), Mistake { span: 0..0, message, hint: Some("name a target that is made of A's columns".into()) }));
        }
        let same = |a: &Node, b: &Node| matches!((a, b), (Node::Column(x, k), Node::Column(y, l)) if x == y && k == l && *x != usize::MAX);
        let unused = typed.iter().enumerate().filter(|(_, (_, node))| !always.iter().any(|a| same(a, node))).map(|(i, _)| i).collect();
        let plan = Plan {
            columns: columns.cloned().unwrap_or_default(),
            targets,
            compute,
            each,
            condition,
            checks,
            typed,
            trees,
            unused,
            rules,
            fields: scope.fields,
            key,
            grounds,
        };
        if mistakes.is_empty() { Ok(plan) } else { Err(mistakes) }
    }

    /// Whether no record depends on the ones before it.
    pub fn each_by_itself(&self) -> bool {
        let mut alone = self.each.is_none() && !self.rules.iter().any(|(_, _, rule)| rule.unique);
        let targets = self.nodes().filter_map(|(_, node)| node);
        let nodes = targets.chain(&self.condition).chain(self.checks.iter().map(|(_, _, n)| n)).chain(self.typed.iter().map(|(_, n)| n));
        nodes.for_each(|node| {
            super::expr::walk(node, &mut |inner| alone &= !matches!(inner, Node::Nextval(..) | Node::Fact(super::expr::Fact::RowNumber)));
        });
        alone
    }

    /// The elements that each make a record; none: the record is one itself.
    pub fn elements<'r>(&'r self, env: &Env<'r>) -> Result<Option<Vec<Value<'static>>>, Reject> {
        let Some(each) = &self.each else { return Ok(None) };
        let list = env.eval(each).map_err(|f| Reject::new("each", f.reason()))?;
        Ok(Some(match list {
            Value::Null => Vec::new(),
            Value::List(items) => items.to_vec(),
            Value::Nodes(nodes) => nodes.items().collect(),
            // One object where a list is usual: some programs write a single element that way.
            one @ Value::Map(_) => vec![one.into_owned()],
            other => return Err(Reject::new("each", format!("{} is {}, not a list", quoted(&env.style.text(&other)), other.kind()))),
        }))
    }

    /// The places of the targets that tell records apart.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// What each target rests on.
    pub fn grounds(&self) -> &[Ground] {
        &self.grounds
    }

    /// The value of one target.
    pub fn target<'r>(&'r self, at: usize, env: &Env<'r>) -> Result<Value<'r>, Reject> {
        let node = match &self.compute {
            Targets::Mapped(nodes) => nodes.get(at).and_then(Option::as_ref),
            Targets::Whole => None,
        };
        let name = self.targets.get(at).map_or("", String::as_str);
        node.map_or(Ok(Value::Null), |node| env.plain(node).map_err(|f| Reject::new(name, f.reason())))
    }

    /// What each target reads of a record.
    pub fn reads(&self) -> Vec<Vec<Read>> {
        self.nodes().map(|(_, node)| node.map(|n| self.reads_of(n)).unwrap_or_default()).collect()
    }

    fn reads_of(&self, node: &Node) -> Vec<Read> {
        let mut out = std::collections::BTreeSet::new();
        walk(node, &mut |inner| match inner {
            Node::Column(at, _) | Node::Cell(at) => out.extend(self.columns.names.get(*at).cloned().map(Read::Column)),
            Node::Field(name, _) => drop(out.insert(Read::Column(name.clone()))),
            Node::Item => drop(out.insert(Read::Item)),
            Node::Parent => drop(out.insert(Read::Parent)),
            Node::Row if self.columns.nested => drop(out.insert(Read::Row)),
            Node::Row => out.extend(self.columns.names.iter().cloned().map(Read::Column)),
            _ => {}
        });
        out.into_iter().collect()
    }

    /// The targets, each with what computes it.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Option<&Node>)> {
        let nodes: &[Option<Node>] = match &self.compute {
            Targets::Mapped(nodes) => nodes,
            Targets::Whole => &[],
        };
        self.targets.iter().map(String::as_str).zip(nodes.iter().map(Option::as_ref))
    }

    /// Computes the targets of a record into `out`.
    pub fn apply<'r>(&'r self, env: &Env<'r>, unique: &mut Unique, out: &mut Values<'r>) -> Result<Verdict, Reject> {
        if let Some(condition) = &self.condition {
            let holds = env.eval(condition).map_err(|f| Reject::new("where", f.reason()))?;
            if !truth(&holds) {
                return Ok(Verdict::Skip);
            }
        }
        // What does not fit its type is told before anything else, by the column's own name.
        self.compute(env, unique, out).map_err(|reject| {
            let wrong = self.typed.iter().find_map(|(name, node)| env.eval(node).err().map(|f| Reject::new(name, f.reason())));
            wrong.unwrap_or(reject)
        })?;
        Ok(Verdict::Write)
    }

    fn compute<'r>(&'r self, env: &Env<'r>, unique: &mut Unique, out: &mut Values<'r>) -> Result<(), Reject> {
        for at in &self.unused {
            let (name, node) = &self.typed[*at];
            env.eval(node).map_err(|f| Reject::new(name, f.reason()))?;
        }
        for (name, text, node) in &self.checks {
            let holds = env.eval(node).map_err(|f| Reject::new(name, f.reason()))?;
            if !truth(&holds) {
                return Err(Reject::new(name, format!("the check {} is not met: {text}", quoted(name))));
            }
        }
        match &self.compute {
            Targets::Whole => {
                let mut row = env.row().map_err(|f| Reject::record(f.reason()))?;
                for (name, declared) in &self.trees {
                    row = typed::retyped(env.reading, row, &declared.path, declared.kind).map_err(|f| Reject::new(name, f.reason()))?;
                }
                out.push(row);
            }
            Targets::Mapped(nodes) => {
                for (at, (name, node)) in self.targets.iter().zip(nodes).enumerate() {
                    out.push(match node {
                        Some(_) if self.grounds[at] == Ground::Change && env.change.is_none() => Value::Null,
                        Some(Node::Column(at, Type::Text)) if env.record.cells.is_empty() => Value::text(env.record.field(*at)),
                        Some(node) => env.plain(node).map_err(|f| Reject::new(name, f.reason()))?,
                        None => Value::Null,
                    });
                }
            }
        }
        for (i, (name, at, rule)) in self.rules.iter().enumerate() {
            if env.change.is_none() && at.is_some_and(|at| self.waits(at)) {
                continue;
            }
            rule.check(ruled(&out[..], name, *at), env.style, unique, i).map_err(|why| Reject::new(name, why))?;
        }
        Ok(())
    }

    /// Whether a target waits for what is known only when records are compared.
    fn waits(&self, at: usize) -> bool {
        self.grounds.get(at) == Some(&Ground::Change)
    }

    /// Computes the targets that say what became of the record, which is known now, into `out`.
    pub fn apply_change<'r>(&'r self, env: &Env<'r>, unique: &Unique, out: &mut Values<'r>) -> Result<(), Reject> {
        for at in (0..self.targets.len()).filter(|at| self.waits(*at)) {
            out[at] = self.target(at, env)?;
        }
        let rules = self.rules.iter().enumerate().filter(|(_, (_, at, _))| at.is_some_and(|at| self.waits(at)));
        for (i, (name, at, rule)) in rules {
            rule.check(ruled(&out[..], name, *at), env.style, unique, i).map_err(|why| Reject::new(name, why))?;
        }
        Ok(())
    }

    /// Notes the values of a record that was written, so that `unique` knows them.
    pub fn written(&self, values: &[Value<'_>], style: &Style, unique: &mut Unique) {
        for (i, (name, at, rule)) in self.rules.iter().enumerate() {
            if rule.unique {
                let value = ruled(values, name, *at);
                let text = style.text(value);
                let same = sameness(value, &text);
                unique.insert(i, &same);
                if rule.grouped {
                    unique.set_last(i, &same);
                }
            }
        }
    }
}

/// What a target rests on.
fn ground(node: &Node) -> Ground {
    let mut ground = Ground::Record;
    walk(node, &mut |inner| match inner {
        Node::Op | Node::Before => ground = Ground::Change,
        Node::Fact(Fact::RouteName | Fact::LoopIndex | Fact::LoopIndex0 | Fact::LoopFirst | Fact::LoopLast | Fact::LoopLength) => {}
        Node::Fact(_) | Node::Nextval(..) if ground == Ground::Record => ground = Ground::Job,
        _ => {}
    });
    ground
}

/// The columns that computing a node looks at in any case.
fn always(node: &Node) -> Vec<&Node> {
    match node {
        Node::Column(..) => vec![node],
        Node::Let(inner) => always(inner),
        Node::Filter(_, inner, _) | Node::Neg(inner) | Node::Not(inner) => always(inner),
        Node::Arithmetic(_, a, b) | Node::Concat(a, b) => always(a).into_iter().chain(always(b)).collect(),
        _ => Vec::new(),
    }
}

/// The value that a rule is about.
fn ruled<'v, 'r>(values: &'v [Value<'r>], name: &str, at: Option<usize>) -> &'v Value<'r> {
    let found = match at {
        Some(at) => values.get(at),
        None => values.first().and_then(|whole| whole.get(name)),
    };
    found.unwrap_or(&Value::Null)
}

fn targets(
    mapping: &Mapping,
    columns: Option<&Columns>,
    map: Option<Vec<(String, Node)>>,
    scope: &mut Scope<'_>,
    mistakes: &mut Vec<(Place, Mistake)>,
) -> (Vec<String>, Targets) {
    let source = |name: &str, scope: &mut Scope<'_>| {
        let node = compile::compile(&by_brackets(name, columns), scope);
        scope.mistakes.clear();
        node
    };
    match (map, &mapping.columns) {
        (Some(map), None) => {
            let (names, nodes): (Vec<_>, Vec<_>) = map.into_iter().map(|(n, node)| (n, Some(node))).unzip();
            (names, Targets::Mapped(nodes))
        }
        (Some(mut map), Some(wanted)) => {
            for (name, _) in map.iter().filter(|(n, _)| !wanted.contains(n)) {
                mistakes.push((
                    Place::Map(name.clone()),
                    Mistake {
                        span: 0..0,
                        message: format!("{name} is not among output.columns"),
                        hint: nearest(name, wanted.iter().map(String::as_str)).map(|n| format!("did you mean {n}?")),
                    },
                ));
            }
            let nodes = wanted.iter().map(|w| map.iter().position(|(n, _)| n == w).map(|at| map.swap_remove(at).1)).collect();
            (wanted.clone(), Targets::Mapped(nodes))
        }
        (None, Some(wanted)) => {
            let has = |name: &str| columns.is_none_or(|c| c.nested || !c.closed() || c.position(name).is_some());
            if let Some(columns) = columns.filter(|_| !wanted.iter().any(|w| has(w))) {
                let hint = format!("the file has {}: write a map, or check output.columns, columns_from and the delimiter", compile::listed(&columns.names));
                let message = "no column of the file is among them".to_owned();
                mistakes.push((Place::Columns(wanted.join(", ")), Mistake { span: 0..0, message, hint: Some(hint) }));
            }
            let nodes = wanted.iter().map(|w| has(w).then(|| source(w, scope))).collect();
            (wanted.clone(), Targets::Mapped(nodes))
        }
        (None, None) => match columns.filter(|c| !c.nested && c.closed()) {
            Some(columns) => {
                let nodes = columns.names.iter().map(|n| Some(source(n, scope))).collect();
                (columns.names.clone(), Targets::Mapped(nodes))
            }
            None => (Vec::new(), Targets::Whole),
        },
    }
}

/// The expression that names a column whatever its name holds; a dotted name of a nested record is a path.
pub fn by_brackets(name: &str, columns: Option<&Columns>) -> String {
    if columns.is_some_and(|c| c.nested) && name.contains('.') {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        return parts.fold(whole_name(first), |path, part| format!("{path}[{}]", literal(part)));
    }
    whole_name(name)
}

/// The expression that names a column of this name, dots and all.
pub fn whole_name(name: &str) -> String {
    format!("row[{}]", literal(name))
}

fn literal(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn unknown_target(name: &str, targets: &[String]) -> Mistake {
    let hint =
        nearest(name, targets.iter().map(String::as_str)).map_or_else(|| format!("the targets are {}", targets.join(", ")), |n| format!("did you mean {n}?"));
    Mistake { span: 0..0, message: format!("there is no target {name}"), hint: Some(hint) }
}
