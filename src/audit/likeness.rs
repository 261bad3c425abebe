//! Matches where samples share no records: by names first, then by types, patterns and values. They are believed less.

use std::collections::HashSet;

use super::conversions;
use super::mapping::{Found, Match, Search};
use super::profile::{Kind, Profile};
use super::schema::Given;
use super::unmatched;
use super::values::BOOLS;

/// A match by likeness below this is none.
const LEAST: f64 = 0.42;

/// Matches for all targets: each of A's columns is given to the target that it is nearest to.
pub fn matches(search: &Search<'_>) -> Vec<Match> {
    let targets = search.b.columns.len();
    let mut scored: Vec<(f64, usize, usize)> = Vec::new();
    for target in 0..targets {
        scored.extend(search.near.sources(target).map(|source| (score(search, source, target), source, target)).filter(|(s, ..)| *s >= LEAST));
    }
    scored.sort_by(|x, y| y.0.total_cmp(&x.0));
    let mut taken = HashSet::new();
    let mut out: Vec<Option<Match>> = vec![None; targets];
    for (score, source, target) in &scored {
        // The nearest target takes a column; another may have it too if its name says the same.
        if out[*target].is_none() && (!taken.contains(source) || *score >= 0.8) {
            taken.insert(*source);
            out[*target] = Some(proposed(search, *source, *target, *score));
        }
    }
    let found = |(target, found): (usize, Option<Match>)| fixed(search, target).or(found).unwrap_or_else(|| without(search, target));
    out.into_iter().enumerate().map(found).collect()
}

/// The likeliest column for one target that the shared records gave nothing for.
pub fn one(search: &Search<'_>, target: usize) -> Option<Match> {
    let best = search.near.sources(target).map(|s| (score(search, s, target), s)).filter(|(s, _)| *s >= 0.6).max_by(|x, y| x.0.total_cmp(&y.0))?;
    let mut found = proposed(search, best.1, target, best.0);
    found.confidence = found.confidence.min(0.35);
    found.reason = format!("{}, but the records that both hold do not bear it out", found.reason);
    Some(found)
}

/// What a schema leaves no choice about.
fn fixed(search: &Search<'_>, target: usize) -> Option<Match> {
    let Some(Given::Always(value)) = &search.b.columns[target].given else { return None };
    Some(unmatched(target, value, Found::Constant, 0.95, "the schema allows nothing else".to_owned()))
}

fn without(search: &Search<'_>, target: usize) -> Match {
    let b = &search.b.columns[target];
    if let Some(Given::Unless(value)) = &b.given {
        return unmatched(target, value, Found::Constant, 0.6, "the schema's default".to_owned());
    }
    let records = search.b.reading.records;
    if records > 0 && b.filled == 0 {
        return unmatched(target, "''", Found::Constant, if records >= 10 { 0.8 } else { 0.6 }, format!("empty in all {records} records of B"));
    }
    if records >= 3 && b.distinct == 1 && b.nulls == 0 {
        let value = b.examples.first().map_or("", String::as_str);
        return unmatched(target, &conversions::literal_of(b, value), Found::Constant, 0.6, format!("the same in all {records} records of B"));
    }
    unmatched(target, "null", Found::Nowhere, 0.0, "no column of A is like it".to_owned())
}

/// How likely it is that a column gives a target: 0 … 1.
fn score(search: &Search<'_>, source: usize, target: usize) -> f64 {
    let (a, b) = (&search.a.columns[source], &search.b.columns[target]);
    let name = search.near.alike(source, target);
    if a.list || name < 0.2 && (b.filled == 0 || a.filled == 0) {
        return 0.0;
    }
    let mut score = name;
    if a.filled > 0 && b.kind != Kind::Empty {
        let kinds = fits(a, b);
        let values = overlap(a, b);
        score = match kinds {
            Fit::Same => name * 0.9 + 0.05,
            Fit::Convertible => name * 0.85,
            Fit::No => name * 0.55,
        };
        // Values that both sides use tell as much as names, where they are no mere numbers.
        if !a.kind.is_number() && a.kind != Kind::Bool && b.distinct > 1 {
            score = score.max(values * 0.75 + name * 0.25);
        }
    }
    score
}

enum Fit {
    Same,
    Convertible,
    No,
}

fn fits(a: &Profile, b: &Profile) -> Fit {
    let time = |k: Kind| matches!(k, Kind::Date | Kind::DateTime);
    match (a.kind, b.kind) {
        (x, y) if x == y => Fit::Same,
        (x, y) if x.is_number() && y.is_number() => Fit::Same,
        (x, y) if time(x) && time(y) => Fit::Convertible,
        (Kind::Bool, Kind::Integer | Kind::Text) | (Kind::Integer | Kind::Text, Kind::Bool) if a.distinct <= 3 && b.distinct <= 3 => Fit::Convertible,
        // Codes are numbers in one sample and texts in another.
        (Kind::Integer, Kind::Text) | (Kind::Text, Kind::Integer) => Fit::Convertible,
        _ => Fit::No,
    }
}

/// The share of B's most frequent values that A has too.
fn overlap(a: &Profile, b: &Profile) -> f64 {
    let plain = |t: &str| t.trim().to_lowercase();
    let own: HashSet<String> = a.top.iter().map(|(t, _)| plain(t)).collect();
    let shared = b.top.iter().filter(|(t, _)| own.contains(&plain(t))).count();
    if b.top.is_empty() { 0.0 } else { shared as f64 / b.top.len() as f64 }
}

/// The match, with the conversion that the two columns' types ask for.
fn proposed(search: &Search<'_>, source: usize, target: usize, score: f64) -> Match {
    let (a, b) = (&search.a.columns[source], &search.b.columns[target]);
    let name = search.near.alike(source, target);
    let mut reasons = Vec::new();
    if name >= 0.99 {
        reasons.push("the same name".to_owned());
    } else if name >= 0.3 {
        reasons.push(format!("names alike ({name:.2})"));
    }
    let mut confidence = if name >= 0.99 { 0.88 } else { score * 0.85 };
    let mut expression = a.expr.clone();
    let mut does = String::new();
    if a.filled > 0 && b.kind != Kind::Empty {
        let shared = overlap(a, b);
        if shared > 0.2 && b.distinct > 1 {
            reasons.push(format!("{:.0} % of B's values", shared * 100.0));
        }
        match fits(a, b) {
            Fit::Same => reasons.push(format!("both {}", b.kind.name())),
            Fit::Convertible => {}
            Fit::No => {
                reasons.push(format!("{} there, {} here", a.kind.name(), b.kind.name()));
                confidence = confidence.min(0.5);
            }
        }
        (expression, does) = converted(search, source, target);
        if let Some((most, why)) = contradiction(a, b).filter(|_| yes_no(a, b).is_none()) {
            confidence = confidence.min(most);
            reasons.push(why);
        }
    }
    if a.notes.iter().chain(&b.notes).any(|n| n.text.starts_with("ambiguous")) {
        confidence = confidence.min(0.55);
    }
    // Two columns that are as near make a choice, not a match.
    let mut rivals: Vec<(f64, usize)> =
        search.near.sources(target).filter(|s| *s != source).map(|s| (self::score(search, s, target), s)).filter(|(s, _)| *s >= score - 0.08).collect();
    rivals.sort_by(|x, y| y.0.total_cmp(&x.0));
    let others: Vec<String> = rivals.iter().take(3).map(|(_, s)| search.a.columns[*s].name.clone()).collect();
    if !others.is_empty() && (name < 0.99 || rivals.iter().any(|(_, s)| search.near.alike(*s, target) >= name)) {
        confidence = confidence.min(0.6);
        reasons.push(format!("{} is as near", others.join(", ")));
    }
    if !does.is_empty() {
        reasons.push(does);
    }
    let reason = format!("{}: {}", a.name, reasons.join(", "));
    Match { target, expression, confidence, reason, sources: vec![source], table: None, others, found: Found::Source }
}

/// What the values say against two columns whose names agree, and how far they are still believed.
fn contradiction(a: &Profile, b: &Profile) -> Option<(f64, String)> {
    let few = |p: &Profile| p.distinct >= 2 && p.distinct <= 12 && p.filled >= 3 * p.distinct;
    let texts = [a.kind, b.kind].iter().all(|k| matches!(k, Kind::Text | Kind::Integer | Kind::Bool));
    let listed = b.filled == 0 && b.top.len() >= 2 && few(a);
    if texts && (few(a) && few(b) || listed) && overlap(a, b) == 0.0 {
        let shown = |p: &Profile| p.top.iter().take(3).map(|(t, _)| t.as_str()).collect::<Vec<_>>().join(", ");
        return Some((0.45, format!("but each has a few values of its own ({} here, {} there): a code table must say which is which", shown(b), shown(a))));
    }
    let middle = |p: &Profile| {
        let mut sizes: Vec<f64> = p.examples.iter().filter_map(|e| e.replace(',', ".").parse::<f64>().ok()).map(f64::abs).filter(|n| *n > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        (sizes.len() >= 3).then(|| sizes[sizes.len() / 2])
    };
    if a.kind.is_number()
        && b.kind.is_number()
        && let (Some(x), Some(y)) = (middle(a), middle(b))
        && !(0.02..=50.0).contains(&(x / y))
    {
        return Some((
            0.4,
            format!(
                "but its values are about {} times B's: another unit, or another thing",
                if x > y { format!("{:.0}", x / y) } else { format!("{:.3}", x / y) }
            ),
        ));
    }
    let apart = a.lengths.0 > b.lengths.1 || a.lengths.1 < b.lengths.0;
    (a.kind == Kind::Text && b.kind == Kind::Text && apart && a.filled >= 5 && b.filled >= 5)
        .then(|| (0.5, format!("but its values have {} to {} characters, B's {} to {}", a.lengths.0, a.lengths.1, b.lengths.0, b.lengths.1)))
}

/// B's word for yes where A has its own, and for no.
fn yes_no(a: &Profile, b: &Profile) -> Option<(String, String)> {
    let words = |p: &Profile| {
        let pairs = BOOLS.iter().chain(&[("1", "0")]);
        let fits = |(yes, no): &&(&'static str, &'static str)| p.top.iter().all(|(t, _)| t == yes || t == no);
        if p.distinct != 2 || p.top.len() != 2 { None } else { pairs.clone().find(fits).copied() }
    };
    // A schema wants true or false, and shows no words.
    let wants_bool = b.kind == Kind::Bool && b.top.is_empty();
    let (own, wanted) = (words(a)?, if wants_bool { ("true", "false") } else { words(b)? });
    if own == wanted && a.typed == b.typed {
        return None;
    }
    let is_yes = if a.typed && a.kind == Kind::Bool { a.expr.clone() } else { format!("{} == {}", a.expr, conversions::literal_of(a, own.0)) };
    let expression = match b.typed && b.kind == Kind::Bool {
        true => is_yes,
        false => format!("{} if {is_yes} else {}", conversions::literal_of(b, wanted.0), conversions::literal_of(b, wanted.1)),
    };
    Some((expression, format!("{} is B's {}", own.0, wanted.0)))
}

/// What turns the one column's values into the other's, by their types.
fn converted(search: &Search<'_>, source: usize, target: usize) -> (String, String) {
    let (a, b) = (&search.a.columns[source], &search.b.columns[target]);
    let time = |k: Kind| matches!(k, Kind::Date | Kind::DateTime);
    if let Some(found) = yes_no(a, b) {
        return found;
    }
    if time(a.kind) && time(b.kind) {
        if a.kind == b.kind && a.pattern == b.pattern {
            return (a.expr.clone(), String::new());
        }
        let last = conversions::dates(source, a, b, &search.a.signs, &search.b.signs).into_iter().skip(1).find(|c| !c.expr.contains("[:10]"));
        return last.map_or_else(|| (a.expr.clone(), String::new()), |c| (c.expr, format!("written as {}", b.pattern.as_deref().unwrap_or("ISO 8601"))));
    }
    if a.kind.is_number() && b.kind.is_number() {
        return match (a.kind, b.decimals) {
            (Kind::Integer, _) if b.kind == Kind::Integer && !b.typed => (a.expr.clone(), String::new()),
            (_, Some(d)) if b.kind == Kind::Decimal => (format!("{} | decimal | round({d})", a.expr), format!("with {d} decimals")),
            _ => (format!("{} | decimal", a.expr), String::new()),
        };
    }
    if a.kind == Kind::Text && b.kind == Kind::Text {
        let cased = |p: &Profile, f: fn(&str) -> String| !p.examples.is_empty() && p.examples.iter().all(|e| f(e) == *e && e.chars().any(char::is_alphabetic));
        if cased(b, |t| t.to_uppercase()) && !cased(a, |t| t.to_uppercase()) {
            return (format!("{} | upper", a.expr), "in capitals".into());
        }
        if cased(b, |t| t.to_lowercase()) && !cased(a, |t| t.to_lowercase()) {
            return (format!("{} | lower", a.expr), "in small letters".into());
        }
        // `PARIS` is B's `Paris`: told by values that both have.
        let capital = |t: &str| t.chars().next().map_or_else(String::new, |c| c.to_uppercase().chain(t[c.len_utf8()..].to_lowercase().chars()).collect());
        let one_case = cased(a, |t| t.to_uppercase()) || cased(a, |t| t.to_lowercase());
        // One that both write alike tells of no change.
        let changed = a.top.iter().any(|(t, _)| capital(t) != *t && b.top.iter().any(|(o, _)| *o == capital(t)));
        if changed && cased(b, capital) && one_case {
            return (format!("{} | capitalize", a.expr), "with a capital".into());
        }
    }
    if a.kind == Kind::Integer
        && b.kind == Kind::Text
        && b.lengths.0 == b.lengths.1
        && a.lengths.0 < b.lengths.1
        && b.top.iter().all(|(t, _)| t.bytes().all(|c| c.is_ascii_digit()))
    {
        return (format!("'%0{}d' | format({} | integer)", b.lengths.1, a.expr), "filled up with zeros".into());
    }
    (a.expr.clone(), String::new())
}
