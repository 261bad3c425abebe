//! `types` of records that are trees: which of them a name stands for or holds, and values made by them.
//!
//! What is converted is a copy: the record stays as it was read, for the rejects file.

use std::sync::Arc;

use minijinja::machinery::ast::{Expr, UnaryOpKind};

use super::compile::{self, column};
use super::eval::Eval;
use super::expr::{Each, Mistake, Node, Scope};
use super::filters;
use super::parse::parse;
use super::plan::{Mapping, Place, by_brackets};
use crate::formats::text::{Reading, Type};
use crate::record::{Columns, Nodes, Value};

/// A type at or below some value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The names from the value down to what has the type; none: the value itself.
    pub path: Vec<String>,
    /// The type.
    pub kind: Type,
}

impl Declared {
    /// Of the tree's own names; a name with dots that the tree has is one name.
    pub(super) fn new(name: &str, kind: Type, columns: Option<&Columns>) -> Self {
        let whole = columns.is_some_and(|c| c.position(name).is_some());
        let path = if whole { vec![name.to_owned()] } else { name.split('.').map(str::to_owned).collect() };
        Self { path, kind }
    }
}

/// The path that an expression is, as `types` names it: brackets and dots are the same, and all elements have the list's.
pub(super) fn path<T>(expr: &Expr<'_>, lets: &[(String, T)]) -> Option<Vec<String>> {
    let below = |base: &Expr<'_>, name: &str| {
        let mut path = path(base, lets)?;
        path.push(name.to_owned());
        Some(path)
    };
    match expr {
        Expr::Var(var) if var.id == "row" => Some(Vec::new()),
        Expr::Var(var) if lets.iter().any(|(name, _)| name == var.id) => None,
        Expr::Var(var) => Some(vec![var.id.to_owned()]),
        Expr::GetAttr(a) => below(&a.expr, a.name),
        Expr::GetItem(i) => match &i.subscript_expr {
            Expr::Const(c) => match c.value.as_str() {
                Some(name) => below(&i.expr, name),
                None => path(&i.expr, lets).filter(|path| !path.is_empty()),
            },
            // Counted from the end.
            Expr::UnaryOp(u) if matches!((&u.op, &u.expr), (UnaryOpKind::Neg, Expr::Const(_))) => path(&i.expr, lets).filter(|path| !path.is_empty()),
            _ => None,
        },
        _ => None,
    }
}

/// The path that `each` is; none: it computes its list.
pub(super) fn each_path<T>(text: &str, lets: &[(String, T)]) -> Option<Vec<String>> {
    parse(text).ok().and_then(|expr| path(&expr, lets)).filter(|path| !path.is_empty())
}

/// Compiles `each`. If it is a path, its elements are typed one by one, so that a wrong one rejects itself alone.
pub(super) fn compile_each(text: &str, scope: &mut Scope<'_>) -> Node {
    match parse(text) {
        Ok(expr) if scope.each_path.is_some() => {
            text.clone_into(&mut scope.source);
            compile::reached(&expr, scope)
        }
        _ => compile::compile(text, scope),
    }
}

/// The types that are declared at `path` or below it. The element of `each` is reached by `item` and by its own path.
pub(super) fn declared(path: &[String], scope: &Scope<'_>) -> Vec<Declared> {
    let mut names = vec![path.join(".")];
    if let (Each::Element, Some(of), Some("item")) = (scope.each, &scope.each_path, path.first().map(String::as_str)) {
        names.push(of.iter().chain(&path[1..]).map(String::as_str).collect::<Vec<_>>().join("."));
    }
    let rest = |name: &str| {
        let rest = names.iter().find_map(|n| name.strip_prefix(n.as_str()))?;
        match rest.strip_prefix('.') {
            Some(below) => Some(below.split('.').map(str::to_owned).collect()),
            None => rest.is_empty().then(Vec::new),
        }
    };
    scope.types.iter().filter_map(|(name, kind)| Some(Declared { path: rest(name)?, kind: *kind })).collect()
}

/// The entries of `types` with what they are about.
type Typed = Vec<(String, Node)>;
/// Where in records that are trees they stand.
type Trees = Vec<(String, Declared)>;

/// What each entry of `types` is about, and, of records that are trees, where in them that stands.
pub(super) fn compile_types(mapping: &Mapping, scope: &mut Scope<'_>, mistakes: &mut Vec<(Place, Mistake)>) -> (Typed, Trees) {
    let (mut typed, mut trees) = (Vec::new(), Vec::new());
    // A part of an element of `each`, or of what stands around, is no column of the record.
    let outside = |n: &str| (mapping.each.is_some() && (n == "item" || n.starts_with("item."))) || n.starts_with("parent.");
    for (name, kind) in &mapping.types {
        let node = if outside(name) {
            compile::compile(name, scope)
        } else if scope.columns.is_some_and(|c| c.nested) {
            let declared = Declared::new(name, *kind, scope.columns);
            trees.push((name.clone(), declared.clone()));
            of_record(&declared, scope)
        } else {
            compile::compile(&by_brackets(name, scope.columns), scope)
        };
        mistakes.extend(scope.mistakes.drain(..).map(|m| (Place::Types(name.clone()), m)));
        typed.push((name.clone(), node));
    }
    (typed, trees)
}

/// What a declaration of `types` is about, converted: in the record, or in the element of `each` in hand.
pub(super) fn of_record(declared: &Declared, scope: &mut Scope<'_>) -> Node {
    let in_element = match (&scope.each_path, scope.each) {
        (Some(of), Each::Element) => declared.path.strip_prefix(of.as_slice()),
        _ => None,
    };
    let (node, path) = match (in_element, declared.path.split_first()) {
        (Some(rest), _) => (Node::Item, rest.to_vec()),
        (None, Some((first, rest))) => (column(first, 0..0, scope), rest.to_vec()),
        (None, None) => return Node::Const(Value::Null),
    };
    Node::Typed(Box::new(node), vec![Declared { path, kind: declared.kind }])
}

/// `node`, which an expression reaches by `path`, with the types that are declared there.
pub(super) fn wrapped(node: Node, path: &[String], scope: &Scope<'_>) -> Node {
    if !matches!(node, Node::Field(..) | Node::Attr(..) | Node::Index(..) | Node::Item) {
        return node;
    }
    let types = declared(path, scope);
    if types.is_empty() { node } else { Node::Typed(Box::new(node), types) }
}

/// A value with what is declared in it; elements of lists each by itself.
pub(super) fn retyped<'r>(reading: &Reading, value: Value<'r>, path: &[String], kind: Type) -> Eval<Value<'r>> {
    let below = |value: Value<'static>, path: &[String]| retyped(reading, value, path, kind);
    Ok(match (value, path) {
        (Value::Null, _) => Value::Null,
        (Value::List(items), _) => Value::list(items.iter().map(|item| below(item.clone(), path)).collect::<Eval<_>>()?),
        (Value::Nodes(nodes), _) => {
            let typed = nodes.all().iter().map(|node| element(reading, node, path, kind)).collect::<Eval<Vec<_>>>()?;
            Nodes::value(typed)
        }
        (Value::Map(mut entries), path) => {
            // The text of an element that has attributes.
            let (name, rest) = match path.split_first() {
                Some((name, rest)) => (name.as_str(), rest),
                None if entries.iter().any(|(n, _)| **n == *"#text") => ("#text", path),
                None => return filters::converted(reading, kind, None, Value::Map(entries)),
            };
            for (_, value) in Arc::make_mut(&mut entries).iter_mut().filter(|(n, _)| **n == *name) {
                *value = below(std::mem::replace(value, Value::Null), rest)?;
            }
            Value::Map(entries)
        }
        (value, []) => filters::converted(reading, kind, None, value)?,
        (value, _) => value,
    })
}

fn element(reading: &Reading, node: &Arc<crate::record::Node>, path: &[String], kind: Type) -> Eval<Arc<crate::record::Node>> {
    let Some((name, rest)) = path.split_first() else {
        let value = filters::converted(reading, kind, None, Value::Text(node.string()))?.into_owned();
        return Ok(Arc::new(crate::record::Node { typed: Some(Box::new(value)), ..(**node).clone() }));
    };
    if node.named(name).next().is_none() {
        return Ok(node.clone());
    }
    let mut copy = (**node).clone();
    for (_, child) in copy.children.iter_mut().filter(|(_, child)| *child.name == **name) {
        *child = element(reading, child, rest, kind)?;
    }
    Ok(Arc::new(copy))
}
