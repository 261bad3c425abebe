//! Code tables: targets whose values stand for A's, one by one.

use std::collections::{BTreeSet, HashMap};

use super::mapping::{Found, Match, Search, Table};

/// From here on, names say that two columns hold the same thing, in whatever words.
const SAME_THING: f64 = 0.6;

/// With each value of a source, what stands beside it in the target, most often first.
type Seen<'s> = HashMap<&'s str, Vec<(&'s str, usize)>>;

/// What stands beside each value of a source.
fn beside<'s>(search: &Search<'s>, source: usize, target: usize) -> Seen<'s> {
    let mut counts: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    for (a, b) in &search.all {
        let given = search.a.rows[*a][source].as_deref().unwrap_or("");
        let wanted = search.b.rows[*b][target].as_deref().unwrap_or("");
        *counts.entry(given).or_default().entry(wanted).or_default() += 1;
    }
    let sorted = |counts: HashMap<&'s str, usize>| {
        let mut images: Vec<(&str, usize)> = counts.into_iter().collect();
        images.sort_by(|x, y| y.1.cmp(&x.1).then(x.0.cmp(y.0)));
        images
    };
    counts.into_iter().map(|(given, images)| (given, sorted(images))).collect()
}

/// What stands most often beside each value.
fn images<'s>(seen: &Seen<'s>) -> BTreeSet<&'s str> {
    seen.values().map(|images| images[0].0).collect()
}

/// How many records hold something else beside their value.
fn odd_ones(seen: &Seen<'_>) -> usize {
    seen.values().flat_map(|images| &images[1..]).map(|(_, n)| n).sum()
}

/// Each value with what stands most often beside it, in order.
fn pairs_of(seen: &Seen<'_>) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = seen.iter().map(|(given, images)| ((*given).to_owned(), images[0].0.to_owned())).collect();
    pairs.sort();
    pairs
}

fn by_table(search: &Search<'_>, (source, target): (usize, usize), values: Vec<(String, String)>, confidence: f64, reason: String) -> Match {
    Match {
        target,
        expression: search.a.columns[source].expr.clone(),
        confidence,
        reason,
        sources: vec![source],
        table: Some(Table { values, ..Table::default() }),
        others: Vec::new(),
        found: Found::Source,
    }
}

/// Columns of A that tell a target's values apart, one by one, though no conversion was found: they may hold it in another form.
pub fn telling(search: &Search<'_>, target: usize) -> Vec<String> {
    if search.all.len() < 3 || search.b.columns[target].distinct < 2 {
        return Vec::new();
    }
    let one_to_one = |source: usize| {
        let seen = beside(search, source, target);
        let exact = seen.len() >= 2 && odd_ones(&seen) == 0 && images(&seen).len() == seen.len();
        // Where nothing repeats, anything tells it apart: then names must agree.
        exact && (seen.len() * 3 <= search.all.len() * 2 || search.near.alike(source, target) >= 0.4)
    };
    let columns = search.columns(target).filter(|(_, a)| a.filled > 0 && !a.list && !super::names::is_secret(&a.name));
    columns.filter(|(source, _)| one_to_one(*source)).map(|(_, a)| a.name.clone()).take(3).collect()
}

/// A code table: each value of a column stands beside the same value of the target, but for a few mistakes in a hundred.
pub fn table(search: &Search<'_>, target: usize) -> Option<Match> {
    let b = &search.b.columns[target];
    let filled = (0..search.pairs.len()).filter(|p| !search.wanted(target, *p).is_empty()).count();
    if b.distinct < 2 && b.nulls == 0 || filled < 3 {
        return None;
    }
    let mut best: Option<(f64, usize, Seen<'_>)> = None;
    for (source, _) in search.columns(target).filter(|(_, a)| a.filled > 0 && !a.list && a.distinct <= 200 && !super::names::is_secret(&a.name)) {
        let seen = beside(search, source, target);
        let wrong = odd_ones(&seen);
        // What stands beside a value must stand there far more often than anything else.
        let clear = seen.values().all(|images| images.len() == 1 || images[0].1 >= 4 * images[1..].iter().map(|(_, n)| n).sum::<usize>());
        let often = seen.values().filter(|images| images[0].1 >= 2).count();
        let images = images(&seen);
        // A key tells everything apart, and proves nothing.
        let keys = seen.len() < 2 || images.len() < 2 || seen.len() * 2 > search.all.len() || often * 2 < seen.len();
        if keys || !clear || wrong * 50 > search.all.len() {
            continue;
        }
        let likeness = search.near.alike(source, target);
        // Few values that each stand for one of B's are a code; many that fall together are chance.
        let score = likeness * 2.0 + images.len() as f64 / seen.len() as f64 + 1.0 / seen.len() as f64;
        if best.as_ref().is_none_or(|(most, ..)| score > *most) {
            best = Some((score, source, seen));
        }
    }
    let (_, source, seen) = best?;
    let images = images(&seen);
    let likeness = search.near.alike(source, target);
    // Values that fall together by chance do so without a name in common.
    let apart = images.len() == seen.len() && seen.values().all(|images| images[0].1 >= 3) && search.all.len() >= 12;
    // How likely chance puts the same one beside each, by how often it stands there at all.
    let mut times: HashMap<&str, usize> = HashMap::new();
    seen.values().flatten().for_each(|(image, n)| *times.entry(image).or_default() += n);
    let all = times.values().sum::<usize>().max(1) as f64;
    let chance: f64 = seen.values().map(|images| (times[images[0].0] as f64 / all).powf(images[0].1 as f64 - 1.0)).product();
    let code = !search.a.columns[source].is_amount() && seen.len() <= 16;
    if likeness < 0.25 && !apart && !(code && chance < 1e-6) {
        return None;
    }
    let twice = seen.values().filter(|images| images[0].1 >= 2).count() as f64 / seen.len() as f64;
    let wrong = odd_ones(&seen);
    let confidence = (0.45 + 0.2 * twice + 0.25 * likeness).min(if wrong > 0 { 0.7 } else { 0.85 });
    let pairs = pairs_of(&seen);
    let a = &search.a.columns[source];
    let odd = seen.iter().filter(|(_, images)| images.len() > 1).min_by_key(|(k, _)| **k);
    let how = match odd {
        None => "each always beside the same one".to_owned(),
        Some((value, images)) => format!(
            "each beside the same one but in {wrong} of {} records ({value:?} beside {:?} and, more often, {:?})",
            search.all.len(),
            images[1].0,
            images[0].0
        ),
    };
    let reason = format!("{} by a code table: {} values were seen, {how}", a.name, pairs.len());
    Some(by_table(search, (source, target), pairs, confidence, reason))
}

/// A table of one value, where B always holds the same and A has a column of nearly that name that always holds the same
/// too: in a sample of active records, all are active. Another value is then told, and is not passed off as this one.
pub fn one_value(search: &Search<'_>, target: usize) -> Option<Match> {
    let alike = |source: usize| search.near.alike(source, target);
    let columns = search.columns(target).filter(|(source, a)| a.distinct == 1 && a.filled >= 2 && !a.list && alike(*source) >= SAME_THING);
    let (source, a) = columns.max_by(|x, y| alike(x.0).total_cmp(&alike(y.0)))?;
    let seen = beside(search, source, target);
    let values = pairs_of(&seen);
    let filled = values.iter().filter(|(given, _)| !given.trim().is_empty()).count();
    if filled != 1 || search.all.len() < 3 || values.iter().any(|(_, image)| image.is_empty()) {
        return None;
    }
    let reason = format!("{} by a code table: one value was seen on each side, and the names are alike ({:.2})", a.name, alike(source));
    Some(by_table(search, (source, target), values, 0.5 + 0.1 * (alike(source) - SAME_THING), reason))
}
