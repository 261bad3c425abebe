//! Filters over lists and maps.

use super::super::eval::{Eval, Fault, equal, number, order, truth};
use super::{Call, count, is_default, named, run};
use crate::formats::text::quoted;
use crate::record::{Nodes, Value};
use crate::transform::predicates::is_of_presence;

/// The elements of a list, the characters of a text, the names of a map.
pub(super) fn items_of<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Vec<Value<'static>>> {
    match v {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => Ok(items.to_vec()),
        Value::Text(t) => Ok(t.chars().map(Value::owned).collect()),
        Value::Map(m) => Ok(m.iter().map(|(k, _)| Value::owned(k.to_string())).collect()),
        Value::Nodes(n) => Ok(n.items().collect()),
        other => Err(Fault::Message(format!("{} is not a list ({})", quoted(&c.shown(&other)), other.kind()))),
    }
}

pub(super) fn entries_of<'v>(v: &'v Value<'_>) -> Eval<&'v crate::record::Entries> {
    match v {
        Value::Map(m) => Ok(m),
        other => Err(Fault::Message(format!("{} is not a map", other.kind()))),
    }
}

pub(super) fn pairs<'r>(v: &Value<'_>) -> Eval<Value<'r>> {
    Ok(Value::list(entries_of(v)?.iter().map(|(k, v)| Value::list(vec![Value::owned(k.to_string()), v.clone()])).collect()))
}

/// The pairs of a map in the order of its keys, or of its values.
pub(super) fn dictsort<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (exact, by_value, reverse) = (c.flag(0, "case_sensitive"), c.text(1, "by").as_deref() == Some("value"), c.flag(2, "reverse"));
    let key = |entry: &(_, Value<'static>)| {
        let key = if by_value { entry.1.clone() } else { Value::owned(ToString::to_string(&entry.0)) };
        if exact { key } else { caseless(key) }
    };
    let mut entries: Vec<_> = entries_of(&v)?.iter().map(|e| (key(e), e.clone())).collect();
    entries.sort_by(|a, b| {
        let order = order(&a.0, &b.0).ok().flatten().unwrap_or(std::cmp::Ordering::Equal);
        if reverse { order.reverse() } else { order }
    });
    pairs(&Value::map(entries.into_iter().map(|(_, entry)| entry).collect()))
}

pub(super) fn end<'r>(c: &Call<'_, 'r>, v: Value<'r>, pick: fn(&[Value<'static>]) -> Option<Value<'static>>) -> Eval<Value<'r>> {
    Ok(pick(&items_of(c, v)?).unwrap_or(Value::Null))
}

/// The attribute of an element that a filter looks at, or the element itself.
pub(super) fn attribute<'r>(c: &Call<'_, 'r>, item: &Value<'static>, path: Option<&str>) -> Eval<Value<'r>> {
    let mut v: Value<'r> = item.clone();
    if let (Some(whole), Value::Map(_)) = (path, &v)
        && let Some(found) = v.get(whole)
    {
        // In the rows of a flat file a dot is a character.
        return Ok(found.clone());
    }
    for part in path.into_iter().flat_map(|p| p.split('.')) {
        v = match (&v, part.parse::<usize>()) {
            (Value::List(l), Ok(at)) => l.get(at).cloned().unwrap_or(Value::Null),
            // Elements of one name, and the components of EDIFACT: no name of theirs is a number.
            (Value::Nodes(nodes), Ok(at)) => nodes.all().get(at).map_or(Value::Null, |node| Value::Nodes(Nodes::One(node.clone()))),
            _ => c.env.part(v, part)?,
        };
    }
    Ok(v)
}

/// A text as it is compared where case means nothing.
fn caseless(key: Value<'_>) -> Value<'_> {
    match key {
        Value::Text(text) => Value::owned(text.to_lowercase()),
        key => key,
    }
}

pub(super) fn extreme<'r>(c: &Call<'_, 'r>, v: Value<'r>, wanted: std::cmp::Ordering) -> Eval<Value<'r>> {
    let path = c.text(0, "attribute");
    let mut best: Option<(Value<'r>, Value<'static>)> = None;
    for item in items_of(c, v)? {
        // As `sort` has it, and Jinja.
        let key = match attribute(c, &item, path.as_deref())? {
            Value::Null => continue,
            key => caseless(key),
        };
        if best.as_ref().map_or(Ok(true), |(top, _)| order(&key, top).map(|o| o == Some(wanted)))? {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::Null, |(_, item)| item))
}

pub(super) fn sum<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let path = c.text(0, "attribute").filter(|p| !p.is_empty());
    let start = c.get(1, "start");
    if let Some(Value::List(first)) = start {
        // Lists are joined: of lists in lists one list, as `each` wants it.
        let mut joined = first.to_vec();
        for item in items_of(c, v)? {
            match attribute(c, &item, path.as_deref())? {
                list @ (Value::Null | Value::List(_) | Value::Nodes(_)) => joined.extend(items_of(c, list)?),
                other => return Err(Fault::Message(format!("{} is not a list ({}), as the start of the sum is", quoted(&c.shown(&other)), other.kind()))),
            }
        }
        return Ok(Value::list(joined));
    }
    let mut total = start.map_or(Ok(None), number)?.unwrap_or_default();
    for item in items_of(c, v)? {
        if let Some(n) = number(&attribute(c, &item, path.as_deref())?)? {
            total = total.checked_add(n).ok_or_else(|| Fault::Message("the sum has more than 28 digits".into()))?;
        }
    }
    Ok(Value::Number(total))
}

pub(super) fn sort<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (reverse, exact, path) = (c.flag(0, "reverse"), c.flag(1, "case_sensitive"), c.text(2, "attribute"));
    // One after the other, where several are named.
    let paths: Vec<Option<&str>> = path.as_deref().map_or_else(|| vec![None], |p| p.split(',').map(|p| Some(p.trim())).collect());
    let mut keyed = Vec::new();
    for item in items_of(c, v)? {
        let mut keys = Vec::with_capacity(paths.len());
        for path in &paths {
            let key = attribute(c, &item, *path)?.into_owned();
            keys.push(if exact { key } else { caseless(key) });
        }
        keyed.push((keys, item));
    }
    let mut failed = None;
    keyed.sort_by(|a, b| {
        let mut compared = |(a, b): (&Value<'_>, &Value<'_>)| {
            let order = order(a, b).unwrap_or_else(|e| {
                failed.get_or_insert(e);
                None
            });
            order.unwrap_or_else(|| (*a != Value::Null).cmp(&(*b != Value::Null)))
        };
        let order = a.0.iter().zip(&b.0).map(&mut compared).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal);
        if reverse { order.reverse() } else { order }
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect())),
    }
}

pub(super) fn unique<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (path, exact) = (c.text(1, "attribute"), c.get(0, "case_sensitive").is_none_or(truth));
    let mut seen = std::collections::HashSet::new();
    let mut out = Vec::new();
    for item in items_of(c, v)? {
        let key = attribute(c, &item, path.as_deref())?;
        let key = if exact { key } else { caseless(key) };
        // Numbers that are equal are one, however many digits they have.
        let text = number(&key).ok().flatten().filter(|_| matches!(key, Value::Number(_) | Value::Digits(_))).map(|n| n.normalize().to_string());
        if seen.insert(format!("{}{}", key.kind(), text.unwrap_or_else(|| c.env.style.text(&key).into_owned()))) {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

pub(super) fn groupby<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let path = c.text(0, "attribute");
    let mut groups: Vec<(Value<'static>, Vec<Value<'static>>)> = Vec::new();
    for item in items_of(c, v)? {
        let key = attribute(c, &item, path.as_deref())?.into_owned();
        let mut at = None;
        for (i, (known, _)) in groups.iter().enumerate() {
            if equal(known, &key)? {
                at = Some(i);
                break;
            }
        }
        match at {
            Some(i) => groups[i].1.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups.sort_by(|a, b| order(&a.0, &b.0).ok().flatten().unwrap_or(std::cmp::Ordering::Equal));
    let group = |(key, items): (Value<'static>, Vec<Value<'static>>)| Value::list(vec![key, Value::list(items)]);
    Ok(Value::list(groups.into_iter().map(group).collect()))
}

pub(super) fn map<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let items = items_of(c, v)?;
    if let Some(path) = c.named.iter().find(|(n, _)| *n == "attribute").map(|(_, v)| c.shown(v)) {
        let default = c.named.iter().find(|(n, _)| *n == "default").map(|(_, v)| v.clone().into_owned());
        let part = |item: &Value<'static>| match attribute(c, item, Some(&path))?.into_owned() {
            Value::Null => Ok(default.clone().unwrap_or(Value::Null)),
            found => Ok(found),
        };
        return items.iter().map(part).collect::<Eval<Vec<_>>>().map(Value::list);
    }
    let name = c.text(0, "").unwrap_or_default();
    if is_default(&name) {
        let default = c.get(1, "default_value").cloned().map_or(Value::Null, Value::into_owned);
        let empty_too = c.get(2, "boolean").is_some_and(truth);
        let lacks = |item: &Value<'static>| matches!(item, Value::Null) || (empty_too && !truth(item));
        return Ok(Value::list(items.into_iter().map(|item| if lacks(&item) { default.clone() } else { item }).collect()));
    }
    let filter = named(&name).ok_or_else(|| Fault::Message(format!("there is no filter {name}")))?;
    let rest = Call { env: c.env, positional: c.positional.iter().skip(1).cloned().collect(), named: c.named.clone() };
    items.into_iter().map(|item| run(filter, &rest, item).map(Value::into_owned)).collect::<Eval<Vec<_>>>().map(Value::list)
}

pub(super) fn filtered<'r>(c: &Call<'_, 'r>, v: Value<'r>, keep: bool, path: Option<String>) -> Eval<Value<'r>> {
    let at = usize::from(path.is_some());
    let test = match c.text(at, "") {
        Some(name) if is_of_presence(&name) => {
            let wanted = (name == "defined") == keep;
            let mut items = items_of(c, v)?;
            let is_there = |item: &Value<'static>| Ok(!matches!(attribute(c, item, path.as_deref())?, Value::Null));
            let there = items.iter().map(is_there).collect::<Eval<Vec<bool>>>()?;
            let mut there = there.into_iter();
            items.retain(|_| there.next() == Some(wanted));
            return Ok(Value::list(items));
        }
        Some(name) => Some(super::super::predicates::named(&name).ok_or_else(|| Fault::Message(format!("there is no test {name}")))?),
        None => None,
    };
    let mut out = Vec::new();
    for item in items_of(c, v)? {
        let value = attribute(c, &item, path.as_deref())?;
        let holds = match test {
            Some(test) => (test.holds)(c.env, &value, c.positional.get(at + 1))?,
            None => truth(&value),
        };
        if holds == keep {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

/// A list is filled up to so many elements.
const FILL_MAX: usize = 10_000;

pub(super) fn batch<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let size = usize::try_from(c.whole(0, "")?.unwrap_or(1)).unwrap_or(1).max(1);
    let fill = c.get(1, "fill_with").cloned().map(Value::into_owned);
    if fill.is_some() && size > FILL_MAX {
        return Err(Fault::Message(format!("batch fills up to {FILL_MAX} elements, not {size}")));
    }
    let items = items_of(c, v)?;
    let rows = items.chunks(size).map(|chunk| {
        let mut row = chunk.to_vec();
        if let Some(fill) = &fill {
            row.resize(size, fill.clone());
        }
        Value::list(row)
    });
    Ok(Value::list(rows.collect()))
}

/// So many lists of about the same length, the longer ones first.
pub(super) fn slice<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let slices = usize::try_from(c.whole(0, "")?.unwrap_or(1)).unwrap_or(1).clamp(1, 10_000);
    let fill = c.get(1, "fill_with").cloned().map(Value::into_owned);
    let items = items_of(c, v)?;
    let (each, more) = (items.len() / slices, items.len() % slices);
    let mut rest = items.into_iter();
    let lists = (0..slices).map(|i| {
        let mut list: Vec<Value<'static>> = rest.by_ref().take(each + usize::from(i < more)).collect();
        if let Some(fill) = fill.as_ref().filter(|_| more > 0 && i >= more) {
            list.push(fill.clone());
        }
        Value::list(list)
    });
    Ok(Value::list(lists.collect()))
}

pub(super) fn length<'r>(_: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    Ok(match &v {
        Value::Null => count(0),
        Value::List(l) => count(l.len()),
        Value::Map(m) => count(m.len()),
        Value::Nodes(n) => count(n.all().len()),
        Value::Text(t) => count(t.chars().count()),
        other => return Err(Fault::Message(format!("{} has no length: | string makes a text of it", other.kind()))),
    })
}

pub(super) fn join<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (sep, path) = (c.text(0, "d").unwrap_or_default(), c.text(1, "attribute"));
    let mut out = Vec::new();
    for item in items_of(c, v)? {
        out.push(c.env.style.text(&attribute(c, &item, path.as_deref())?).into_owned());
    }
    let length = out.iter().map(|t| t.len() + sep.len()).sum::<usize>();
    super::not_too_long(length)?;
    Ok(Value::owned(out.join(&sep)))
}
