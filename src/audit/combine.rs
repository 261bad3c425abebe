//! Targets that no column gives by itself: texts put together, one column instead of another, a column where another
//! has a value.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::computed;
use super::conversions::{Candidate, is_one_of, literal, literal_of};
use super::mapping::{EXACT, Search, Tried};
use super::pair;
use super::profile::Kind;
use super::values::DATES;

/// What is put together, to be tried by the evaluator.
pub fn candidates(search: &Search<'_>, target: usize, all: &[Vec<Tried>]) -> Vec<Candidate> {
    let mut out = instead(&all[target]);
    out.extend(defaulted(search, target, &all[target]));
    out.extend(together(search, target, all));
    out.extend(slices(search, target));
    out.extend(computed::candidates(search, target, all));
    out.extend(flags(search, target));
    let counted = (0..search.pairs.len()).all(|p| search.wanted(target, p) == (search.pairs[p].0 + 1).to_string());
    if search.a.each.is_some() && search.pairs.len() >= 3 {
        out.push(Candidate { expr: "loop.index".into(), sources: Vec::new(), does: "the number in its list".into(), cost: 3, typed: true });
    }
    if counted && search.pairs.len() >= 3 {
        out.push(Candidate { expr: "row.number".into(), sources: Vec::new(), does: "the record's number".into(), cost: 3, typed: true });
    }
    out
}

/// Different candidates that are right for some records, the best few.
fn partial(tried: &[Tried], least: f64) -> Vec<&Tried> {
    let mut out: Vec<&Tried> = Vec::new();
    for t in tried.iter().filter(|t| t.share >= least) {
        if out.len() < 10 && !out.iter().any(|o| o.right == t.right && o.candidate.sources == t.candidate.sources) {
            out.push(t);
        }
    }
    out
}

/// One column, and where it has nothing another.
fn instead(tried: &[Tried]) -> Vec<Candidate> {
    let mut out = Vec::new();
    let some = partial(tried, 0.1);
    for x in &some {
        for y in &some {
            let both = x.right.iter().zip(&y.right).filter(|(a, b)| **a || **b).count();
            if x.candidate.sources != y.candidate.sources && both as f64 >= x.right.len() as f64 * EXACT {
                let sources = [&x.candidate.sources[..], &y.candidate.sources[..]].concat();
                let expr = format!("({}) or ({})", x.candidate.expr, y.candidate.expr);
                out.push(Candidate {
                    expr,
                    sources,
                    does: "the first that has a value".into(),
                    cost: 5 + x.candidate.cost + y.candidate.cost,
                    typed: x.candidate.typed && y.candidate.typed,
                });
            }
        }
    }
    out
}

/// A column, and where it has nothing always the same.
fn defaulted(search: &Search<'_>, target: usize, tried: &[Tried]) -> Vec<Candidate> {
    let mut out = Vec::new();
    for t in partial(tried, 0.1) {
        let [source] = t.candidate.sources[..] else { continue };
        let wrong: Vec<usize> = (0..search.pairs.len()).filter(|p| !t.right[*p]).collect();
        let values: BTreeSet<&str> = wrong.iter().map(|p| search.wanted(target, *p)).collect();
        let nothing = wrong.iter().all(|p| search.given(source, *p).trim().is_empty());
        if let (true, 2.., [value]) = (nothing, wrong.len(), &values.into_iter().collect::<Vec<_>>()[..])
            && !value.is_empty()
        {
            let expr = format!("({}) or {}", t.candidate.expr, literal_of(&search.b.columns[target], value));
            let does = format!("{}, and {value} where there is none", t.candidate.does);
            out.push(Candidate { expr, does, cost: t.candidate.cost + 2, ..t.candidate.clone() });
        }
    }
    out
}

/// A part of a text that is put together: the expression that gives it, its column, its text in each pair.
struct Part {
    source: usize,
    expr: String,
    texts: Vec<String>,
}

/// Texts of several columns with the same signs between them.
fn together(search: &Search<'_>, target: usize, all: &[Vec<Tried>]) -> Vec<Candidate> {
    let rows: Vec<usize> = (0..search.pairs.len()).filter(|p| !search.wanted(target, *p).is_empty()).take(80).collect();
    if rows.len() < 2 || search.b.columns[target].kind != Kind::Text {
        return Vec::new();
    }
    let mut parts: Vec<Part> = Vec::new();
    for (source, a) in search.columns(target).filter(|(_, a)| a.filled > 0 && !a.list && a.distinct > 1) {
        let texts = texts_of(search, source, &rows);
        if within(search, target, &rows, &texts) {
            parts.push(Part { source, expr: a.expr.clone(), texts });
        } else if a.kind == Kind::Text {
            for (filter, case) in [("upper", str::to_uppercase as fn(&str) -> String), ("lower", str::to_lowercase)] {
                let texts: Vec<String> = texts.iter().map(|t| case(t)).collect();
                if within(search, target, &rows, &texts) {
                    parts.push(Part { source, expr: format!("({} | {filter})", a.expr), texts });
                }
            }
        }
        // An initial stands at the beginning, with a point behind it.
        let initials: Vec<String> = texts_of(search, source, &rows).iter().map(|t| t.chars().take(1).collect()).collect();
        let initial = |(p, i): (&usize, &String)| i.is_empty() || search.wanted(target, *p).strip_prefix(i.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if a.kind == Kind::Text && rows.iter().zip(&initials).all(initial) {
            parts.push(Part { source, expr: format!("{}[:1]", a.expr), texts: initials });
        }
        if a.kind == Kind::Date {
            let days: Vec<Option<jiff::civil::Date>> = rows.iter().map(|p| pair::day(a, search.given(source, *p).trim())).collect();
            for pattern in DATES.iter().filter(|p| Some(**p) != a.pattern.as_deref()) {
                let texts: Vec<String> = days.iter().map(|d| d.map_or_else(String::new, |d| d.strftime(pattern).to_string())).collect();
                if within(search, target, &rows, &texts) {
                    let read =
                        if a.pattern == search.a.signs.dates { String::new() } else { format!("({})", literal(a.pattern.as_deref().unwrap_or("%Y-%m-%d"))) };
                    parts.push(Part { source, expr: format!("({} | date{read} | strftime({}))", a.expr, literal(pattern)), texts });
                }
            }
        }
    }
    // What other targets are made of may be a part of this one, as it is written there.
    for (other, best) in all.iter().enumerate().filter(|(other, _)| *other != target && search.b.columns[*other].distinct > 1) {
        let Some(best) = best.first().filter(|t| t.share >= EXACT && t.candidate.cost > 0 && !t.candidate.sources.is_empty()) else { continue };
        let texts: Vec<String> = rows.iter().map(|p| search.wanted(other, *p).to_owned()).collect();
        if within(search, target, &rows, &texts) {
            parts.push(Part { source: best.candidate.sources[0], expr: format!("({})", best.candidate.expr), texts });
        }
    }
    // Long parts first: a digit stands in many texts.
    parts.sort_by_key(|p| std::cmp::Reverse(p.texts.iter().map(String::len).sum::<usize>()));
    parts.truncate(12);
    let mut out = Vec::new();
    // A record that has them all spells what stands between them.
    let filled = |row: &usize| parts.iter().filter(|p| !p.texts[*row].is_empty()).count();
    let fullest = (0..rows.len()).rev().max_by_key(filled).unwrap_or(0);
    for first in 0..parts.len().min(4) {
        let order: Vec<&Part> = std::iter::once(&parts[first]).chain(parts.iter().enumerate().filter(|(i, _)| *i != first).map(|(_, p)| p)).collect();
        // A short part may stand in the text by chance: each number of them is tried.
        for count in 1..=order.len().min(6) {
            out.extend(laid_out(search.wanted(target, rows[fullest]), &order[..count], fullest));
        }
    }
    out
}

fn texts_of(search: &Search<'_>, source: usize, rows: &[usize]) -> Vec<String> {
    rows.iter().map(|p| search.given(source, *p).to_owned()).collect()
}

fn within(search: &Search<'_>, target: usize, rows: &[usize], texts: &[String]) -> bool {
    let filled = texts.iter().filter(|t| !t.is_empty()).count();
    let found = rows.iter().zip(texts).filter(|(p, t)| !t.is_empty() && search.wanted(target, **p).contains(t.as_str())).count();
    filled * 5 >= rows.len() && found * 10 >= filled * 9 && found > 0
}

/// The expressions that a record spells: parts where they stand, and what stands between them, always or where they have
/// something.
fn laid_out(text: &str, parts: &[&Part], row: usize) -> Vec<Candidate> {
    let mut places: Vec<(usize, usize, &Part)> = Vec::new();
    for part in parts {
        let own = &part.texts[row];
        if own.is_empty() || places.iter().any(|(_, _, p)| p.source == part.source) {
            continue;
        }
        let free = text.match_indices(own.as_str()).map(|(at, _)| (at, at + own.len())).find(|(from, to)| places.iter().all(|(f, t, _)| to <= f || from >= t));
        if let Some((from, to)) = free {
            places.push((from, to, part));
        }
    }
    places.sort_by_key(|p| p.0);
    let mut pieces: Vec<String> = Vec::new();
    let mut at = 0;
    for (from, to, part) in &places {
        if *from > at {
            pieces.push(literal(&text[at..*from]));
        }
        pieces.push(part.expr.clone());
        at = *to;
    }
    if at < text.len() {
        pieces.push(literal(&text[at..]));
    }
    let sources: Vec<usize> = places.iter().map(|p| p.2.source).collect();
    // The literal text must not be most of it: then it was met by chance.
    let spelled: usize = places.iter().map(|p| p.1 - p.0).sum();
    if pieces.len() < 2 || sources.is_empty() || spelled * 4 < text.len() {
        return Vec::new();
    }
    let cost = 3 + pieces.len() as u32;
    let made = |expr: String, does: &str, cost| Candidate { expr, sources: sources.clone(), does: does.to_owned(), cost, typed: false };
    let mut out = vec![made(pieces.join(" ~ "), "put together", cost)];
    out.extend(optional(text, &places).map(|expr| made(expr, "put together, as far as they have something", cost + 1)));
    out
}

/// Parts with what stands between them only where they have something; none: nothing of that kind stands there.
fn optional(text: &str, places: &[(usize, usize, &Part)]) -> Option<String> {
    let ((_, last, _), (first, ..)) = (places.last()?, places.first()?);
    if places.len() < 2 || *first > 0 || *last < text.len() {
        return None;
    }
    let gaps = |part: &Part| part.texts.iter().any(String::is_empty);
    let between = |i: usize| literal(&text[places[i].1..places[i + 1].0]);
    // The sign goes with the part that may be missing: one behind the first, or the first itself.
    let head = if gaps(places[0].2) { format!("(({0} ~ {1}) if {0} else '')", places[0].2.expr, between(0)) } else { places[0].2.expr.clone() };
    let mut expr = head;
    for (i, (_, _, part)) in places.iter().enumerate().skip(1) {
        let own = &part.expr;
        expr = match (i == 1 && gaps(places[0].2), gaps(part)) {
            (true, _) => format!("{expr} ~ {own}"),
            (false, true) => format!("{expr} ~ (({} ~ {own}) if {own} else '')", between(i - 1)),
            (false, false) => format!("{expr} ~ {} ~ {own}", between(i - 1)),
        };
    }
    places.iter().any(|(_, _, part)| gaps(part)).then_some(expr)
}

/// A part of a code that always stands at the same place in it.
fn slices(search: &Search<'_>, target: usize) -> Vec<Candidate> {
    let b = &search.b.columns[target];
    let rows: Vec<usize> = (0..search.pairs.len()).filter(|p| !search.wanted(target, *p).is_empty()).take(60).collect();
    if rows.len() < 2 || b.distinct < 2 {
        return Vec::new();
    }
    // A day may be written without signs in it.
    let mut spellings: Vec<(Option<&str>, Vec<String>)> = vec![(None, rows.iter().map(|p| search.wanted(target, *p).to_owned()).collect())];
    if b.kind == Kind::Date {
        let days: Option<Vec<jiff::civil::Date>> = rows.iter().map(|p| pair::day(b, search.wanted(target, *p))).collect();
        for pattern in ["%Y%m%d", "%d%m%y", "%d%m%Y", "%y%m%d"] {
            spellings.extend(days.as_ref().map(|days| (Some(pattern), days.iter().map(|d| d.strftime(pattern).to_string()).collect())));
        }
    }
    let mut out = Vec::new();
    for (source, a) in search.columns(target).filter(|(_, a)| !a.list && a.filled > 0 && a.lengths.1 > 2) {
        for (pattern, texts) in &spellings {
            let width = texts.iter().map(|t| t.chars().count()).max().unwrap_or(0);
            if width < 2 || a.lengths.1 <= width {
                continue;
            }
            let given = |p: usize| search.given(source, p);
            let places = given(rows[0]).match_indices(texts[0].as_str()).map(|(at, _)| given(rows[0])[..at].chars().count()).take(4);
            for from in places {
                let cut = |p: usize| -> String { given(p).chars().skip(from).take(width).collect() };
                let fits = rows.iter().zip(texts).filter(|(p, t)| cut(**p).trim() == t.trim()).count();
                if fits * 20 >= rows.len() * 19 {
                    let part = format!("{}[{from}:{}]", a.expr, from + width);
                    let expr = match pattern {
                        None => format!("{part} | trim"),
                        Some(pattern) if b.pattern == search.b.signs.dates => format!("{part} | date({})", literal(pattern)),
                        Some(pattern) => format!("{part} | date({}) | strftime({})", literal(pattern), literal(b.pattern.as_deref().unwrap_or("%Y-%m-%d"))),
                    };
                    // Where a sign stands beside it, or it is a number, that tells where it begins, and its place does not.
                    let beside = |p: usize| {
                        let chars: Vec<char> = given(p).chars().collect();
                        let sign = |at: Option<&char>| at.is_some_and(|c| !c.is_alphanumeric());
                        sign(from.checked_sub(1).and_then(|at| chars.get(at))) || sign(chars.get(from + width))
                    };
                    let varies = a.lengths.0 != a.lengths.1;
                    let cost = if b.is_amount() || varies && rows.iter().all(|p| beside(*p)) { 9 } else { 4 };
                    out.push(Candidate::new(source, expr, &format!("its characters {} to {}", from + 1, from + width), cost));
                }
            }
        }
    }
    out
}

/// The words that A writes out and B shortens, as `SAINT` and `ST`: the expression that shortens them too.
pub fn shortened(search: &Search<'_>, target: usize, best: &Tried, given: &[Option<String>]) -> Option<Candidate> {
    let mut words: BTreeMap<&str, &str> = BTreeMap::new();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for (p, given) in given.iter().enumerate() {
        let (Some(given), wanted) = (given, search.wanted(target, p)) else { continue };
        if best.right[p] || given.split(' ').count() != wanted.split(' ').count() {
            continue;
        }
        for (long, short) in given.split(' ').zip(wanted.split(' ')).filter(|(l, s)| l != s) {
            if *words.entry(long).or_insert(short) != short {
                return None;
            }
            *times.entry(long).or_default() += 1;
        }
    }
    // An abbreviation begins as its word does.
    let short = |long: &str, short: &str| short.len() < long.len() && long.len() >= 3 && long.chars().next() == short.chars().next();
    words.retain(|word, abbreviation| times.get(word).is_some_and(|n| *n >= 2) && word.chars().all(char::is_alphanumeric) && short(word, abbreviation));
    if words.is_empty() || words.len() > 8 {
        return None;
    }
    let mut expr = best.candidate.expr.clone();
    for (long, short) in &words {
        expr.push_str(&format!(" | regex_replace('\\\\b{long}\\\\b', {})", literal(short)));
    }
    let does = format!("{}, with {} shortened", best.candidate.does, words.keys().copied().collect::<Vec<_>>().join(", "));
    Some(Candidate { expr, does, cost: best.candidate.cost + 2 * words.len() as u32, ..best.candidate.clone() })
}

/// Two values, told apart by whether a column has one, or is zero, or negative.
fn flags(search: &Search<'_>, target: usize) -> Vec<Candidate> {
    let values: BTreeSet<&str> = (0..search.pairs.len()).map(|p| search.wanted(target, p)).collect();
    let values: Vec<&str> = values.into_iter().collect();
    let [x, y] = values[..] else { return Vec::new() };
    // What stands once may be anything.
    let times = |value: &str| (0..search.pairs.len()).filter(|p| search.wanted(target, *p) == value).count();
    if search.pairs.len() < 5 || times(x).min(times(y)) < 2 {
        return Vec::new();
    }
    let mut out = Vec::new();
    for (source, a) in search.columns(target).filter(|(_, a)| a.filled > 0 && !a.list) {
        let conditions: Vec<(String, &str)> = if a.kind.is_number() {
            vec![
                (format!("({} | decimal | default(0))", a.expr), "unless it is zero"),
                (format!("({} | decimal | default(0)) < 0", a.expr), "by its sign"),
                (format!("({} | decimal | default(0)) > 0", a.expr), "by its sign"),
            ]
        } else if a.nulls > 0 {
            vec![(a.expr.clone(), "whether there is one")]
        } else {
            continue;
        };
        for (condition, does) in conditions {
            for (yes, no) in [(x, y), (y, x)] {
                out.push(Candidate::new(source, format!("{} if {condition} else {}", literal(yes), literal(no)), does, 5));
            }
        }
    }
    out
}

/// One expression or another, as a third column says; to be tried like all others.
pub fn conditions(search: &Search<'_>, target: usize, tried: &[Tried]) -> Vec<Candidate> {
    let some: Vec<&Tried> = partial(tried, 0.1).into_iter().filter(|t| !t.candidate.expr.contains(" if ")).collect();
    if search.pairs.len() < 8 {
        return Vec::new();
    }
    let empty: Vec<bool> = (0..search.pairs.len()).map(|p| search.wanted(target, p).is_empty()).collect();
    let mut out = Vec::new();
    for (column, q) in search.columns(target).filter(|(_, q)| (2..=6).contains(&q.distinct) && !q.list && q.lengths.1 <= 40) {
        // The pairs of each value of that column.
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        (0..search.pairs.len()).for_each(|p| groups.entry(search.given(column, p)).or_default().push(p));
        if groups.len() < 2 || groups.len() * 3 > search.pairs.len() {
            continue;
        }
        let right_for = |right: &[bool]| -> BTreeSet<&str> {
            groups.iter().filter(|(_, pairs)| pairs.iter().filter(|p| right[**p]).count() as f64 >= pairs.len() as f64 * EXACT).map(|(v, _)| *v).collect()
        };
        for x in &some {
            let by_x = right_for(&x.right);
            if by_x.is_empty() || by_x.len() == groups.len() {
                continue;
            }
            let rest: Vec<(String, Vec<usize>, &Vec<bool>, u32)> = some
                .iter()
                .map(|y| (y.candidate.expr.clone(), y.candidate.sources.clone(), &y.right, y.candidate.cost))
                .chain([("''".to_owned(), Vec::new(), &empty, 0)])
                .collect();
            for (other, sources, right, cost) in rest {
                let by_y = right_for(right);
                if groups.keys().any(|v| !by_x.contains(v) && !by_y.contains(v)) {
                    continue;
                }
                let condition = is_one_of(q, &by_x.iter().copied().collect::<Vec<_>>());
                let expr = format!("({}) if {condition} else ({other})", x.candidate.expr);
                let all = [&x.candidate.sources[..], &sources[..], &[column]].concat();
                out.push(Candidate { expr, sources: all, does: format!("as {} says", q.name), cost: 6 + x.candidate.cost + cost, typed: x.candidate.typed });
            }
        }
    }
    out
}
