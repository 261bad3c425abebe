//! Which records of A and B are the same: what lets a mapping be read from the samples instead of guessed from names.
//!
//! Values are compared loosely, as letters and digits, as numbers or as days; how they are written is found later.

use std::collections::HashMap;
use std::hash::BuildHasher;

use xxhash_rust::xxh3::Xxh3Builder;

use super::Side;
use super::profile::{Kind, Profile};
use super::values;
use crate::formats::text::Reading;

/// Columns that are tried as the one by which records are found again.
const KEYS_MAX: usize = 60;
/// Pairs of records that are looked at.
pub const PAIRS_MAX: usize = 300;

/// Records that belong together.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// A's record and B's, by their places.
    pub pairs: Vec<(usize, usize)>,
    /// How they were found.
    pub how: String,
    /// A's records that B has not, where all of B's were found.
    pub only_a: Vec<usize>,
    /// B's records for one of A, and A's for one of B, on the average.
    pub fan: (f64, f64),
    /// The columns of A and B by which they were found; none: by their order.
    by: Option<(usize, usize)>,
    /// How many columns of B are found in A with it.
    pub agreement: f64,
}

impl Pairs {
    /// Pairs of which a column's values in fixed lines tell.
    pub fn placed(pairs: Vec<(usize, usize)>) -> Self {
        Self { pairs, how: "by values that stand in both".into(), only_a: Vec::new(), fan: (1.0, 1.0), by: None, agreement: 1.0 }
    }
    /// The name of A's column by which they were found.
    pub fn key<'s>(&self, a: &'s Side) -> Option<&'s str> {
        self.by.and_then(|(i, _)| a.columns.get(i)).map(|c| c.name.as_str())
    }
}

/// How much more than any other column a key that finds most records tells.
const KEY_WEIGHT: f64 = 1.6;

/// Values of a column as loose keys: equal if they mean the same. 0: nothing there.
type Keys = Vec<u64>;

/// The loose keys of all columns of a side.
pub struct Loose {
    /// By letters and digits.
    pub texts: Vec<Keys>,
    /// By what a number or a day is worth; empty where the column holds neither.
    pub values: Vec<Keys>,
}

impl Loose {
    /// The keys of the rows at hand.
    pub fn new(side: &Side) -> Self {
        let hasher = Xxh3Builder::new();
        let hash = |text: &str| if text.is_empty() { 0 } else { hasher.hash_one(text).max(1) };
        let reading = reading_of(side);
        let texts = (0..side.columns.len()).map(|c| side.rows.iter().map(|row| row[c].as_deref().map_or(0, |t| hash(&letters(t)))).collect()).collect();
        let values = side
            .columns
            .iter()
            .enumerate()
            .map(|(c, profile)| {
                if !(profile.is_amount() || matches!(profile.kind, Kind::Date | Kind::DateTime)) {
                    return Vec::new();
                }
                side.rows.iter().map(|row| row[c].as_deref().and_then(|t| worth(profile, &reading, t)).map_or(0, |t| hash(&t))).collect()
            })
            .collect();
        Self { texts, values }
    }
}

/// How the values of a side are read.
pub fn reading_of(side: &Side) -> Reading {
    let by_text = side.dialect.holds_texts();
    Reading { decimal: side.signs.decimal.filter(|_| by_text).unwrap_or('.'), thousands: side.signs.thousands.filter(|_| by_text), ..Reading::default() }
}

/// About what number a text is, for comparisons that allow for rounding.
pub fn float(reading: &Reading, text: &str) -> Option<f64> {
    reading.decimal(text.trim()).ok()?.to_string().parse().ok()
}

/// Letters and digits alone, without accents and in small letters.
fn letters(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    if text.is_ascii() {
        // Zeros before a number are how it is written, not what it means.
        if text.len() > 1 && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.trim_start_matches('0').to_owned() + if text.bytes().all(|b| b == b'0') { "0" } else { "" };
        }
        return text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    }
    let plain = text.nfd().filter(|c| !unicode_normalization::char::is_combining_mark(*c) && c.is_alphanumeric()).flat_map(char::to_lowercase);
    plain.collect::<String>().replace('œ', "oe").replace('ß', "ss")
}

/// A number without its sign and its trailing zeros, or a day, as one text.
fn worth(profile: &Profile, reading: &Reading, text: &str) -> Option<String> {
    if profile.is_amount() {
        values::number(text)?;
        let n = reading.decimal(text.trim()).ok()?.abs().normalize();
        return Some(format!("n{n}"));
    }
    day(profile, text.trim()).map(|d| format!("d{d}"))
}

/// The day of a date, with or without a time.
pub fn day(profile: &Profile, text: &str) -> Option<jiff::civil::Date> {
    let reading = Reading::default();
    let value = match profile.kind {
        Kind::Date => reading.date(text, profile.pattern.as_deref().filter(|_| !profile.typed)),
        _ => reading.datetime(text, profile.pattern.as_deref().filter(|_| !profile.typed)).or_else(|_| reading.date(text.get(..10).unwrap_or(text), None)),
    };
    match value.ok()? {
        crate::record::Value::Date(d) => Some(d),
        crate::record::Value::DateTime(d, _) => Some(d.date()),
        _ => None,
    }
}

/// The share of pairs for which the two columns mean the same, and how many pairs both have something in.
pub fn agreement(a: (&Loose, usize), b: (&Loose, usize), pairs: &[(usize, usize)]) -> (f64, usize) {
    let (mut same, mut filled) = (0usize, 0usize);
    let (at, bt) = (&a.0.texts[a.1], &b.0.texts[b.1]);
    let (av, bv) = (&a.0.values[a.1], &b.0.values[b.1]);
    for (i, j) in pairs {
        if bt[*j] == 0 {
            continue;
        }
        filled += 1;
        let by_text = at[*i] == bt[*j];
        let by_value = !av.is_empty() && !bv.is_empty() && av[*i] != 0 && av[*i] == bv[*j];
        same += usize::from(by_text || by_value);
    }
    // Counts stay far below 2^52.
    (if filled == 0 { 0.0 } else { same as f64 / filled as f64 }, filled)
}

/// The records that belong together; none: the samples share too few, or none at all.
pub fn find(a: (&Side, &Loose), b: (&Side, &Loose)) -> Option<Pairs> {
    let mut candidates: Vec<Pairs> = Vec::new();
    let (rows_a, rows_b) = (a.0.rows.len(), b.0.rows.len());
    if rows_a == 0 || rows_b == 0 {
        return None;
    }
    let mut joins: Vec<(f64, usize, usize)> = Vec::new();
    for i in likely_keys(a.0) {
        for j in likely_keys(b.0) {
            for (ka, kb) in [(&a.1.texts[i], &b.1.texts[j]), (&a.1.values[i], &b.1.values[j])] {
                if ka.is_empty() || kb.is_empty() {
                    continue;
                }
                let score = join_score(ka, kb);
                if score > 0.0 {
                    joins.push((score, i, j));
                }
            }
        }
    }
    joins.sort_by(|x, y| y.0.total_cmp(&x.0));
    joins.truncate(6);
    for (_, i, j) in joins {
        candidates.extend(join(a, b, i, j));
    }
    if rows_a == rows_b {
        let pairs = (0..rows_a).map(|i| (i, i)).collect();
        candidates.push(Pairs { pairs, how: "by their order".into(), only_a: Vec::new(), fan: (1.0, 1.0), by: None, agreement: 0.0 });
    }
    for candidate in &mut candidates {
        candidate.agreement = agreeing(a, b, &spread(&candidate.pairs));
    }
    candidates.retain(|candidate| is_proved(a, b, candidate));
    // Records that stand for one another come before those that fan out.
    // A join that leaves out the records in which its columns differ proves itself: a key that finds more of them is believed
    // before it.
    let unique = |p: &Profile| p.distinct * 10 >= p.filled * 9;
    let keyed = |p: &Pairs| p.by.is_some_and(|(i, j)| unique(&a.0.columns[i]) && unique(&b.0.columns[j]));
    let most = candidates.iter().map(|p| p.pairs.len()).max().unwrap_or(0);
    let share = |p: &Pairs| {
        let key = if keyed(p) && p.pairs.len() * 20 >= most * 19 { KEY_WEIGHT } else { 1.0 };
        key * p.agreement * ((p.pairs.len() as f64 / rows_b as f64).min(1.0) / p.fan.0.max(p.fan.1).max(1.0)).sqrt()
    };
    candidates.into_iter().max_by(|x, y| share(x).total_cmp(&share(y)))
}

/// Whether something else than the columns that were compared tells that the records belong together: a few small numbers
/// or days are found in any table.
fn is_proved(a: (&Side, &Loose), b: (&Side, &Loose), found: &Pairs) -> bool {
    let Some((i, j)) = found.by else { return found.agreement >= 1.5 || (found.agreement >= 0.9 && b.0.columns.len() <= 2) };
    let pairs = spread(&found.pairs);
    let turned: Vec<(usize, usize)> = pairs.iter().map(|(x, y)| (*y, *x)).collect();
    let others = (0..b.0.columns.len().min(150)).filter(|c| *c != j).any(|c| {
        let values: std::collections::HashSet<u64> = pairs.iter().map(|(_, r)| b.1.texts[c][*r]).filter(|k| *k != 0).collect();
        let least = if values.len() >= 3 { 0.8 } else { 0.95 };
        let alike =
            |s: usize| agreement((a.1, s), (b.1, c), &pairs).0 >= least || parts(a.0, s, b.0, c, &pairs) >= least || parts(b.0, c, a.0, s, &turned) >= least;
        values.len() >= 2 && (0..a.0.columns.len().min(150)).filter(|s| *s != i && a.0.columns[*s].distinct > 1).any(alike)
    });
    // A name that stands once on each side, and is found nearly always, is proof enough.
    let (x, y) = (&a.0.columns[i], &b.0.columns[j]);
    let coded = |p: &Profile| p.examples.iter().all(|e| e.bytes().any(|c| c.is_ascii_digit()) && e.bytes().any(|c| c.is_ascii_alphabetic()));
    let long = |p: &Profile| p.lengths.0 >= 4 || (p.lengths.0 >= 2 && p.filled >= 3 && coded(p));
    let telling = !matches!(y.kind, Kind::Date | Kind::DateTime | Kind::Decimal | Kind::Bool);
    let (codes, names) = (telling && long(x) && long(y), telling && x.lengths.0 >= 4 && y.lengths.0 >= 4);
    let few = a.0.rows.len().min(b.0.rows.len());
    let once = |p: &Profile| p.distinct * 10 >= p.filled * 9;
    let unique = once(x) && once(y);
    // Where a value stands for many records on both sides, as a town does, what goes with it (its post code) proves nothing:
    // records of one value must be told apart by something else that agrees.
    let repeats = |p: &Profile| p.distinct * 3 <= p.filled * 2;
    let others = others && (!repeats(x) || !repeats(y) || is_told_apart(a, b, found, (i, j)));
    // All of A's records belong to one of B's each: B has them summed up.
    let summed = once(y) && found.fan.1 > 1.2 && long(x) && long(y) && y.filled >= 3 && found.pairs.len() * 10 >= b.0.rows.len() * 9;
    summed || others || (codes && unique && found.pairs.len() * 10 >= few * 9) || (found.pairs.len() <= 3 && names)
}

/// Whether some column tells records apart that are alike in the columns by which they were found, and agrees.
fn is_told_apart(a: (&Side, &Loose), b: (&Side, &Loose), found: &Pairs, (i, j): (usize, usize)) -> bool {
    let mut groups: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
    found.pairs.iter().for_each(|pair| groups.entry(b.1.texts[j][pair.1]).or_default().push(*pair));
    let among: Vec<(usize, usize)> = groups.into_values().filter(|pairs| pairs.len() > 1).flatten().take(PAIRS_MAX).collect();
    (0..b.0.columns.len().min(150)).filter(|c| *c != j).any(|c| {
        // Within the groups it must vary, or it goes with the key.
        let mut seen: HashMap<u64, std::collections::HashSet<u64>> = HashMap::new();
        for (_, r) in &among {
            seen.entry(b.1.texts[j][*r]).or_default().insert(b.1.texts[c][*r]);
        }
        let varies = seen.values().filter(|values| values.len() > 1).count() * 2 >= seen.len().max(1);
        varies && (0..a.0.columns.len().min(150)).filter(|s| *s != i).any(|s| agreement((a.1, s), (b.1, c), &among).0 >= 0.8)
    })
}

/// At most so many pairs, from all over the samples.
pub fn spread(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let step = pairs.len().div_ceil(PAIRS_MAX).max(1);
    pairs.iter().step_by(step).copied().collect()
}

/// Columns whose values tell records apart well enough to find them again.
fn likely_keys(side: &Side) -> Vec<usize> {
    let mut order: Vec<usize> = (0..side.columns.len()).filter(|c| side.columns[*c].distinct > 0 && !side.columns[*c].list).collect();
    order.sort_by_key(|c| std::cmp::Reverse(side.columns[*c].distinct));
    order.truncate(KEYS_MAX);
    order
}

/// How much two columns of keys tell about which records are the same: the records found, each by a key that stands once in A.
fn join_score(a: &Keys, b: &Keys) -> f64 {
    let mut places: HashMap<u64, usize> = HashMap::with_capacity(a.len());
    for key in a.iter().filter(|k| **k != 0) {
        *places.entry(*key).or_default() += 1;
    }
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for key in b.iter().filter(|k| **k != 0) {
        *counts.entry(*key).or_default() += 1;
    }
    let found: f64 = counts
        .iter()
        .map(|(key, n)| match places.get(key) {
            Some(1) => *n as f64,
            Some(times) => *n as f64 / (*times * *times) as f64 * 0.5,
            None => 0.0,
        })
        .sum();
    // Many of A's belong to one of B's, which has them summed up.
    let summed = counts.len() >= 3 && a.len() > b.len() && counts.values().all(|n| *n == 1) && places.keys().all(|key| counts.contains_key(key));
    let found = if summed { found.max(counts.len() as f64 * 0.8) } else { found };
    let least = (a.len().min(b.len()) as f64 * 0.3).clamp(1.0, 10.0);
    if found >= least { found } else { 0.0 }
}

fn join(a: (&Side, &Loose), b: (&Side, &Loose), i: usize, j: usize) -> Option<Pairs> {
    let keyed = |values: bool| -> Option<(HashMap<u64, Vec<usize>>, &Keys)> {
        let (ka, kb) = if values { (&a.1.values[i], &b.1.values[j]) } else { (&a.1.texts[i], &b.1.texts[j]) };
        if ka.is_empty() || kb.is_empty() {
            return None;
        }
        let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
        for (row, key) in ka.iter().enumerate().filter(|(_, k)| **k != 0) {
            places.entry(*key).or_default().push(row);
        }
        Some((places, kb))
    };
    let matched = |values: bool| {
        let (places, kb) = keyed(values)?;
        // The n-th record of a key in B belongs to the n-th in A, where A has as many.
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let mut pairs = Vec::new();
        for (row, key) in kb.iter().enumerate().filter(|(_, k)| **k != 0) {
            if let Some(rows) = places.get(key) {
                let nth = seen.entry(*key).or_default();
                pairs.push((rows[(*nth).min(rows.len() - 1)], row));
                *nth += 1;
            }
        }
        Some(pairs)
    };
    let pairs = [matched(false), matched(true)].into_iter().flatten().max_by_key(Vec::len).filter(|p| !p.is_empty())?;
    let mut used = vec![0usize; a.0.rows.len()];
    pairs.iter().for_each(|(i, _)| used[*i] += 1);
    let used_a = used.iter().filter(|n| **n > 0).count();
    let all_found = pairs.len() * 10 >= b.0.rows.len() * 9;
    let only_a = if all_found { used.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| i).collect() } else { Vec::new() };
    // A's records whose key B has once: B has them summed up, or one of them.
    let once = pairs.iter().map(|(_, row)| b.1.texts[j][*row]).collect::<std::collections::HashSet<_>>().len() == pairs.len();
    let keyed_a = a.1.texts[i].iter().filter(|k| **k != 0).count();
    let known: std::collections::HashSet<u64> = pairs.iter().map(|(row, _)| a.1.texts[i][*row]).collect();
    let held = a.1.texts[i].iter().filter(|k| **k != 0 && known.contains(k)).count();
    let summed = if once && all_found && held == keyed_a { held } else { used_a };
    let fan = (pairs.len() as f64 / used_a.max(1) as f64, summed as f64 / pairs.len().max(1) as f64);
    Some(Pairs { pairs, how: format!("{} is {}", b.0.columns[j].name, a.0.columns[i].name), only_a, fan, by: Some((i, j)), agreement: 0.0 })
}

/// Over the columns of B that vary, how well the best column of A agrees with each.
fn agreeing(a: (&Side, &Loose), b: (&Side, &Loose), pairs: &[(usize, usize)]) -> f64 {
    let wide = a.0.columns.len() * b.0.columns.len() > 200_000;
    let first = |n: usize| if wide { n.min(120) } else { n };
    (0..first(b.0.columns.len()))
        .map(|j| {
            let distinct: std::collections::HashSet<u64> = pairs.iter().map(|(_, r)| b.1.texts[j][*r]).filter(|k| *k != 0).collect();
            if distinct.len() < 2 && pairs.len() > 1 {
                return 0.0;
            }
            let best =
                (0..first(a.0.columns.len())).map(|i| agreement((a.1, i), (b.1, j), pairs)).filter(|(_, n)| *n > 0).map(|(share, _)| share).fold(0.0, f64::max);
            if best >= 0.5 {
                return best;
            }
            // A value may be a part of a longer one: a date in a record's key, a name in a label.
            let part = if wide { 0.0 } else { (0..first(a.0.columns.len())).map(|i| parts(a.0, i, b.0, j, pairs)).fold(0.0, f64::max) };
            if part >= 0.8 { part * 0.6 } else { 0.0 }
        })
        .sum()
}

/// The share of some pairs in which B's text is a part of A's.
fn parts(a: &Side, i: usize, b: &Side, j: usize, pairs: &[(usize, usize)]) -> f64 {
    if a.columns[i].lengths.1 < 4 || b.columns[j].lengths.1 < 4 {
        return 0.0;
    }
    let step = pairs.len().div_ceil(30).max(1);
    let (mut found, mut all) = (0u32, 0u32);
    for (row_a, row_b) in pairs.iter().step_by(step) {
        let (given, wanted) = (a.rows[*row_a][i].as_deref().unwrap_or(""), b.rows[*row_b][j].as_deref().unwrap_or("").trim());
        if wanted.len() >= 4 {
            all += 1;
            found += u32::from(given.contains(wanted));
        }
    }
    if all == 0 { 0.0 } else { f64::from(found) / f64::from(all) }
}
