//! The rows of a group (`input.group_by`), whose names are A's columns: one that a flat file does not have is a mistake there
//! as anywhere, and not an optional part that is absent. It would make a total of nothing.

use std::ops::Range;

use minijinja::machinery::ast::{self, Expr, UnaryOpKind};

use super::compile::{column, no_column, range_of};
use super::expr::{Args, Mistake, Node, Scope};
use super::typed::wrapped;
use crate::record::Value;

/// Filters that give some of the elements of a list.
const SOME: [&str; 8] = ["sort", "selectattr", "rejectattr", "select", "reject", "unique", "reverse", "list"];
/// Filters that give one of them.
const ONE: [&str; 4] = ["first", "last", "min", "max"];
/// Where a filter is told the part of each element that it looks at, if not by name.
const PARTS: [(&str, usize); 9] =
    [("sum", 0), ("min", 0), ("max", 0), ("sort", 2), ("unique", 1), ("groupby", 0), ("selectattr", 0), ("rejectattr", 0), ("join", 1)];

/// Notes a name that the rows of a group do not have; `named` is the part that is asked of `holder`.
pub(super) fn known(holder: &Node, named: &str, span: Range<usize>, scope: &mut Scope<'_>) {
    if is_row(holder, scope) {
        known_column(named, span, scope);
    }
}

/// The same for the part that a filter looks at in each element of a list.
pub(super) fn known_to(filter: &str, input: &Node, args: &Args, span: Range<usize>, scope: &mut Scope<'_>) {
    if !is_rows(input, scope) {
        return;
    }
    let place = PARTS.iter().find(|(name, _)| *name == filter).map(|(_, at)| *at);
    let by_name = args.named("attribute");
    let asks = |node: &Node| matches!(node, Node::Const(Value::Text(t)) if ["defined", "undefined"].contains(&&**t));
    if args.named.iter().any(|(name, _)| name == "default") || args.positional.iter().skip(1).any(asks) {
        // What is not there is expected.
        return;
    }
    if let Some(Node::Const(Value::Text(path))) = by_name.or_else(|| args.positional.get(place?)) {
        let path = path.to_string();
        let several = if filter == "sort" { path.split(',').map(str::trim).collect() } else { vec![path.as_str()] };
        several.into_iter().for_each(|part| known_column(part, span.clone(), scope));
    }
}

fn known_column(name: &str, span: Range<usize>, scope: &mut Scope<'_>) {
    let Some((_, columns)) = scope.columns.and_then(|c| c.rows.as_ref()) else { return };
    if name.is_empty() || columns.iter().any(|c| c == name) {
        return;
    }
    let mistake = no_column(name, span, columns, std::iter::empty());
    scope.mistakes.push(mistake);
}

/// Whether a node gives rows of the group.
fn is_rows(node: &Node, scope: &Scope<'_>) -> bool {
    let into = scope.columns.and_then(|c| c.rows.as_ref()).map(|(into, _)| into);
    match node {
        Node::Field(name, _) => Some(name) == into,
        Node::Typed(inner, _) | Node::Slice(inner, _) => is_rows(inner, scope),
        Node::Let(inner) => is_rows(inner, scope),
        Node::Filter(filter, inner, _) => SOME.contains(&filter.name) && is_rows(inner, scope),
        _ => false,
    }
}

/// Whether a node gives one row of it.
fn is_row(node: &Node, scope: &Scope<'_>) -> bool {
    match node {
        Node::Index(inner, at) => !matches!(**at, Node::Const(Value::Text(_))) && is_rows(inner, scope),
        Node::Typed(inner, _) => is_row(inner, scope),
        Node::Let(inner) => is_row(inner, scope),
        Node::Filter(filter, inner, _) => ONE.contains(&filter.name) && is_rows(inner, scope),
        Node::Item => {
            matches!((&scope.each_path, scope.columns.and_then(|c| c.rows.as_ref())), (Some(path), Some((into, _))) if path.as_slice() == [into.as_str()])
        }
        _ => false,
    }
}

/// A column of the record by its name in brackets, or by its position from 0; none: it is something else.
pub(super) fn column_of_row(i: &ast::GetItem<'_>, scope: &mut Scope<'_>) -> Option<Node> {
    if let (Expr::Var(root), Expr::Const(c)) = (&i.expr, &i.subscript_expr)
        && root.id == "row"
    {
        let span = range_of(&i.subscript_expr);
        if let Some(id) = c.value.as_str() {
            return Some(column(id, span, scope));
        }
        if let Some(columns) = scope.columns.filter(|c| c.closed()) {
            let at = c.value.to_string().parse::<usize>().ok();
            return Some(match at.and_then(|at| columns.names.get(at)).cloned() {
                // As by its name: with the type that is declared for it.
                Some(id) => wrapped(column(&id, span, scope), &[id], scope),
                None => {
                    let count = columns.names.len();
                    scope.mistakes.push(Mistake::new(
                        span,
                        format!("there is no column at position {}", c.value),
                        Some(format!("there are {count} columns, from row[0]")),
                    ));
                    Node::Const(Value::Null)
                }
            });
        }
    }
    if let (Expr::Var(root), Expr::UnaryOp(sign)) = (&i.expr, &i.subscript_expr)
        && root.id == "row"
        && matches!(sign.op, UnaryOpKind::Neg)
    {
        let message = "there is no column at a position before the first";
        scope.mistakes.push(Mistake::new(range_of(&i.subscript_expr), message, Some("positions count from row[0]".into())));
        return Some(Node::Const(Value::Null));
    }
    None
}
