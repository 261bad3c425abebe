//! Arithmetic, comparison and truth of values: exact decimals, and text that is never taken for a number.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use rust_decimal::prelude::*;

use super::eval::{Eval, Fault};
use super::expr::{Cmp, Op};
use crate::formats::text::{Style, quoted};
use crate::record::Value;

pub(super) fn fault<T>(message: impl Into<String>) -> Eval<T> {
    Err(Fault::Message(message.into()))
}

pub(super) fn position(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at + i64::try_from(len).ok()? } else { at };
    usize::try_from(at).ok().filter(|at| *at < len)
}

/// What a Python slice picks of a list or a text.
pub(super) fn slice<'r>(value: Value<'r>, bounds: [Option<i64>; 3], style: &Style) -> Eval<Value<'r>> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::List(items) => Ok(Value::list(picks(bounds, items.len())?.into_iter().map(|i| items[i].clone()).collect())),
        other => {
            let text = style.text(&other).into_owned();
            let chars: Vec<char> = text.chars().collect();
            Ok(Value::owned(picks(bounds, chars.len())?.into_iter().map(|i| chars[i]).collect::<String>()))
        }
    }
}

/// The positions that a Python slice picks.
pub(super) fn picks([start, stop, step]: [Option<i64>; 3], len: usize) -> Eval<Vec<usize>> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let step = step.unwrap_or(1);
    if step == 0 {
        return fault("the step of a slice is 0");
    }
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let bound = |at: Option<i64>, default: i64| at.map_or(default, |at| if at < 0 { (at + len).max(low) } else { at.min(high) });
    let (mut at, end) = if step > 0 { (bound(start, 0), bound(stop, len)) } else { (bound(start, len - 1), bound(stop, -1)) };
    let mut out = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        out.extend(usize::try_from(at));
        at += step;
    }
    Ok(out)
}

/// Whether a value counts as true.
pub fn truth(value: &Value<'_>) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => !n.is_zero(),
        Value::Digits(d) => d.chars().take_while(|c| !matches!(c, 'e' | 'E')).any(|c| ('1'..='9').contains(&c)),
        Value::Text(t) => !t.is_empty(),
        Value::Date(_) | Value::DateTime(..) => true,
        Value::List(l) => !l.is_empty(),
        Value::Map(m) => !m.is_empty(),
        Value::Nodes(n) => n.all().len() > 1 || n.first().is_some_and(|first| !first.children.is_empty()) || truth(&n.scalar()),
    }
}

/// What stands for a value where one text is wanted: of several elements, the first one's.
pub(super) fn scalar<'v>(value: &'v Value<'_>) -> Value<'v> {
    match value {
        Value::Nodes(nodes) => nodes.scalar(),
        other => other.borrowed(),
    }
}

/// The number of a value, none for null. Text is never taken for a number.
pub fn number(value: &Value<'_>) -> Eval<Option<Decimal>> {
    match value {
        Value::Null => Ok(None),
        Value::Number(n) => Ok(Some(*n)),
        Value::Digits(d) => digits(d).map(Some),
        Value::Nodes(n) => number(&n.scalar()),
        Value::Text(t) => fault(format!("{} is text, not a number: convert it with | decimal or `types`", quoted(t))),
        other => fault(format!("{} is not a number", other.kind())),
    }
}

/// A JSON number as an exact decimal.
pub fn digits(text: &str) -> Eval<Decimal> {
    let exact = if text.contains(['e', 'E']) { Decimal::from_scientific(text).ok() } else { Decimal::from_str_exact(text).ok() };
    exact.ok_or_else(|| Fault::Message(format!("the number {text} has more than 28 digits")))
}

/// The whole number of a value, none for null.
pub fn whole(value: &Value<'_>) -> Eval<Option<i64>> {
    let Some(n) = number(value)? else { return Ok(None) };
    match n.to_i64() {
        Some(i) if n.fract().is_zero() => Ok(Some(i)),
        _ => fault(format!("{n} is not a whole number")),
    }
}

pub(super) fn arithmetic<'r>(op: Op, left: Value<'r>, right: Value<'r>) -> Eval<Value<'r>> {
    if matches!(op, Op::Add | Op::Join) {
        let list = |v: &Value<'r>| match v {
            Value::Nodes(nodes) => Value::list(nodes.items().collect()),
            other => other.clone(),
        };
        match (&left, &right) {
            (Value::Nodes(_), Value::List(_)) | (Value::List(_), Value::Nodes(_)) => return arithmetic(op, list(&left), list(&right)),
            (Value::Nodes(n), _) => return arithmetic(op, n.scalar().into_owned(), right),
            (_, Value::Nodes(n)) => return arithmetic(op, left, n.scalar().into_owned()),
            (Value::Text(a), Value::Text(b)) if op == Op::Join => return Ok(Value::owned(format!("{a}{b}"))),
            (Value::List(a), Value::List(b)) => return Ok(Value::list(a.iter().chain(b.iter()).cloned().collect())),
            (Value::List(_), Value::Null) => return Ok(left),
            (Value::Null, Value::List(_)) => return Ok(right),
            _ => {}
        }
    }
    if op == Op::Repeat
        && let (Value::Text(text), Value::Number(_)) = (&left, &right)
    {
        let times = whole(&right)?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        return if text.len().saturating_mul(times) > 65_536 { fault("the repeated text is longer than 64 KiB") } else { Ok(Value::owned(text.repeat(times))) };
    }
    let (Some(a), Some(b)) = (number(&left)?, number(&right)?) else {
        return fault("null can't be computed with: | default(0) gives it a value");
    };
    let zero = || Fault::Message("division by zero".into());
    let result = match op {
        Op::Add | Op::Join => a.checked_add(b),
        Op::Sub => a.checked_sub(b),
        // The library forgets the decimals of a product with zero.
        Op::Mul | Op::Repeat => a.checked_mul(b).map(|mut product| {
            if product.is_zero() {
                product.rescale((a.scale() + b.scale()).min(28));
            }
            product
        }),
        Op::Div if b.is_zero() => return Err(zero()),
        Op::Div => a.checked_div(b).map(|q| q.normalize()),
        Op::FloorDiv | Op::Rem if b.is_zero() => return Err(zero()),
        Op::FloorDiv => a.checked_div(b).map(|q| q.floor()),
        // As in Python, the remainder has the divisor's sign.
        Op::Rem => a.checked_rem(b).map(|r| if r.is_zero() || r.is_sign_negative() == b.is_sign_negative() { r } else { r + b }),
        Op::Pow => b.to_i64().filter(|_| b.fract().is_zero()).and_then(|n| a.checked_powi(n)),
    };
    result.map(Value::Number).ok_or_else(|| Fault::Message("the result has more than 28 digits".into()))
}

/// Whether two values are equal; what can't be compared is a fault.
pub fn equal(a: &Value<'_>, b: &Value<'_>) -> Eval<bool> {
    compares(Cmp::Eq, a, b)
}

/// How two values stand to each other; none where one of them is null.
pub fn order(a: &Value<'_>, b: &Value<'_>) -> Eval<Option<std::cmp::Ordering>> {
    if matches!(a, Value::Nodes(_)) || matches!(b, Value::Nodes(_)) {
        return order(&scalar(a), &scalar(b));
    }
    Ok(Some(match (a, b) {
        (Value::Null, _) | (_, Value::Null) => return Ok(None),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::DateTime(a, x), Value::DateTime(b, y)) => instant(*a, *x).cmp(&instant(*b, *y)),
        (Value::Date(a), Value::DateTime(b, _)) => a.at(0, 0, 0, 0).cmp(b),
        (Value::DateTime(a, _), Value::Date(b)) => a.cmp(&b.at(0, 0, 0, 0)),
        (Value::List(a), Value::List(b)) => {
            for (a, b) in a.iter().zip(b.iter()) {
                match order(a, b)? {
                    Some(std::cmp::Ordering::Equal) => {}
                    other => return Ok(other),
                }
            }
            a.len().cmp(&b.len())
        }
        (Value::Number(_) | Value::Digits(_), Value::Number(_) | Value::Digits(_)) => match (number(a)?, number(b)?) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => return Ok(None),
        },
        (a, b) => return fault(format!("{} is compared with {}: convert one of them, for instance with | decimal or | date", a.kind(), b.kind())),
    }))
}

pub(super) fn instant(d: DateTime, offset: Option<Offset>) -> DateTime {
    offset.map_or(d, |o| d.saturating_sub(jiff::Span::new().seconds(o.seconds())))
}

pub(super) fn compares(cmp: Cmp, a: &Value<'_>, b: &Value<'_>) -> Eval<bool> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let both_null = matches!((a, b), (Value::Null, Value::Null));
    if let (Value::Map(x), Value::Map(y)) = (a, b) {
        return Ok((x == y) == (cmp == Cmp::Eq));
    }
    let found = order(a, b)?;
    Ok(match cmp {
        Cmp::Eq => both_null || found == Some(Equal),
        Cmp::Ne => !both_null && found != Some(Equal),
        // As in SQL, nothing is smaller or greater than null.
        Cmp::Lt => found == Some(Less),
        Cmp::Le => matches!(found, Some(Less | Equal)),
        Cmp::Gt => found == Some(Greater),
        Cmp::Ge => matches!(found, Some(Greater | Equal)),
        Cmp::In | Cmp::NotIn => false,
    })
}

/// Whether `item` is in a list, among the names of a map, or part of a text.
pub fn contains(whole: &Value<'_>, item: &Value<'_>, style: &Style) -> Eval<bool> {
    match whole {
        Value::Null => Ok(false),
        Value::List(items) => {
            for each in items.iter() {
                if equal(each, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(_) => Ok(whole.get(&style.text(item)).is_some()),
        Value::Text(text) => match item {
            Value::Text(part) => Ok(text.contains(part.as_ref())),
            Value::Nodes(part) => contains(whole, &part.scalar(), style),
            Value::Null => Ok(false),
            other => fault(format!("{} is looked for in text: convert it first", other.kind())),
        },
        Value::Nodes(nodes) => contains(&nodes.scalar(), &scalar(item), style),
        other => fault(format!("nothing can be in {}", other.kind())),
    }
}
