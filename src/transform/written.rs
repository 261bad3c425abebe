//! Parts of what an expression writes itself: a table of codes, a list, the pieces of a text. Unlike a nested record of A, these
//! have no optional parts: a name or a place that they lack is undefined, and rejects the record unless `default` follows.

use super::compute::{position, whole};
use super::eval::{Eval, Fault};
use super::expr::Node;
use crate::formats::text::{Style, quoted};
use crate::record::Value;

/// What a part is asked for by: a table has texts as its keys, as a lookup has, so a number or an element of XML is looked for
/// by its text.
pub(super) fn key<'r>(holder: &Value<'_>, part: Value<'r>, style: &Style) -> Eval<Value<'r>> {
    match (holder, part) {
        (Value::Map(_), Value::Null) => Err(Fault::Undefined("nothing is no key of a table".into())),
        (Value::Map(_), part) if !matches!(part, Value::Text(_)) => Ok(Value::owned(style.text(&part).into_owned())),
        (_, part) => Ok(part),
    }
}

/// Refuses what the expression's own table or list does not have; parts of anything else are not looked at.
pub(super) fn present(holder: &Node, value: &Value<'_>, part: &Value<'_>) -> Eval<()> {
    if !is_written(holder) {
        return Ok(());
    }
    match (value, part) {
        (Value::Map(_), Value::Text(name)) if value.get(name).is_none() => Err(Fault::Undefined(format!("the table has no {}", quoted(name)))),
        (Value::List(items), _) => match whole(part)? {
            Some(at) if position(at, items.len()).is_none() => Err(Fault::Undefined(format!("the list has {} elements, and none at {at}", items.len()))),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whether an expression writes this table or list itself.
fn is_written(node: &Node) -> bool {
    match node {
        Node::Map(_) | Node::List(_) | Node::Const(Value::Map(_) | Value::List(_)) => true,
        Node::Let(inner) => is_written(inner),
        Node::If(_, yes, Some(no)) => is_written(yes) && is_written(no),
        Node::Filter(filter, of, _) => filter.name == "split" || (["list", "reverse", "sort"].contains(&filter.name) && is_written(of)),
        _ => false,
    }
}
