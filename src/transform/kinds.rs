//! Mistakes that the kinds of values tell before any record is seen.

use minijinja::machinery::ast::Expr;

use super::compile::range_of;
use super::expr::{Cmp, Known, Mistake, Node, Op, Scope, walk_own};

/// Comparisons of text with a number, and arithmetic on text, are told before any record is seen.
pub(super) fn check_kinds(expr: &Expr<'_>, node: &Node, scope: &mut Scope<'_>) {
    walk_own(node, &mut |inner| {
        let clash = |a: &Node, b: &Node| {
            let (a, b) = (a.known(), b.known());
            a != b && a != Known::Unknown && b != Known::Unknown
        };
        match inner {
            Node::Compare(first, rest) => {
                let mut left: &Node = first;
                for (cmp, right) in rest {
                    if !matches!(cmp, Cmp::In | Cmp::NotIn) && clash(left, right) {
                        let message = format!("{} is compared with {}", word(left.known()), word(right.known()));
                        let days = [left.known(), right.known()].contains(&Known::Time);
                        scope.mistakes.push(Mistake::new(range_of(expr), message, Some(if days { CONVERT_DAYS } else { CONVERT }.into())));
                    }
                    left = right;
                }
            }
            Node::Arithmetic(op, a, b) if [a, b].into_iter().any(|n| n.known() == Known::Text) => {
                let fits = match op {
                    Op::Join => !clash(a, b),
                    Op::Repeat => matches!(b.known(), Known::Number | Known::Unknown),
                    _ => false,
                };
                if fits {
                    return;
                }
                let hint = if *op == Op::Add { format!("{CONVERT}; texts are joined by ~") } else { CONVERT.into() };
                scope.mistakes.push(Mistake::new(range_of(expr), "text is used as a number", Some(hint)));
            }
            _ => {}
        }
    });
}

pub(super) const CONVERT: &str = "convert it first: `types = { Column = \"decimal\" }`, or the filter | decimal";

const CONVERT_DAYS: &str = "convert it first: the filter | date, or | date('%d/%m/%Y') where it is written so";

pub(super) fn word(known: Known) -> &'static str {
    match known {
        Known::Text => "text",
        Known::Number => "a number",
        Known::Time => "a date",
        Known::Unknown => "a value",
    }
}
