//! Which of A's columns give B's, and how sure that is.
//!
//! Where the samples share records, every conversion that could be meant is tried on them, and the simplest is taken
//! that gives what B holds. Where they share none, names, types and values speak, and are believed less.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use xxhash_rust::xxh3::Xxh3Builder;

pub use super::conversions::Tried;
use super::conversions::{self, Candidate, sort};
use super::near::Near;
use super::pair::{self, Loose, Pairs};
use super::profile::{Kind, Profile};
use super::read;
use super::sample::Sample;
use super::{Side, unmatched};
use super::{codes, combine};
use crate::config::Route;
use crate::error::Result;
use crate::formats::Room;
use crate::transform::trial::Trial;

/// Expressions that are tried at once.
const TRIED_MAX: usize = 12_000;
/// Columns of A that are tried for a target.
const SOURCES_MAX: usize = 12;
/// From this share of the records on, an expression gives what B holds.
pub const EXACT: f64 = 0.985;

/// What a target is made of.
#[derive(Clone, Debug)]
pub struct Match {
    /// B's column, by its place.
    pub target: usize,
    /// The expression.
    pub expression: String,
    /// 0 … 1.
    pub confidence: f64,
    /// What tells for it.
    pub reason: String,
    /// A's columns in it.
    pub sources: Vec<usize>,
    /// The code table that it looks values up in.
    pub table: Option<Table>,
    /// What else it could be made of.
    pub others: Vec<String>,
    /// What it is.
    pub found: Found,
}

/// How likely a column must be to be tried.
struct Least(f64);

/// A code table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its name in the configuration.
    pub name: String,
    /// A's values, each with B's.
    pub values: Vec<(String, String)>,
}

/// Where a target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// From A's columns.
    Source,
    /// It is the same in all records.
    Constant,
    /// From nowhere: A exports nothing like it.
    Nowhere,
}

/// What is known while targets are looked for.
pub struct Search<'s> {
    /// A.
    pub a: &'s Side,
    /// B.
    pub b: &'s Side,
    /// Records that both hold: those that everything is tried on.
    pub pairs: Vec<(usize, usize)>,
    /// All of them, for code tables: a rare code stands in few.
    pub all: Vec<(usize, usize)>,
    /// The columns that are worth a look for each target.
    pub near: Near,
    /// How many of B's records were found in A.
    pub(super) shared: usize,
    pub(super) loose: (Loose, Loose),
    hasher: Xxh3Builder,
}

impl<'s> Search<'s> {
    /// A search over two samples and the records that they share.
    pub fn new(a: &'s Side, b: &'s Side, loose: (Loose, Loose), pairs: Option<&Pairs>) -> Self {
        let shared = pairs.map_or(0, |p| p.pairs.len());
        let all = pairs.map_or_else(Vec::new, |p| p.pairs.clone());
        let pairs = pair::spread(&all);
        let near = Near::new((a, &loose.0), (b, &loose.1), &pairs);
        Self { a, b, pairs, all, shared, near, loose, hasher: Xxh3Builder::new() }
    }

    /// B's value of a target in a pair; empty where there is none.
    pub fn wanted(&self, target: usize, pair: usize) -> &str {
        self.b.rows[self.pairs[pair].1][target].as_deref().unwrap_or("")
    }

    /// The columns that are worth a look for a target.
    pub fn columns(&self, target: usize) -> impl Iterator<Item = (usize, &'s Profile)> + '_ {
        self.near.sources(target).map(|s| (s, &self.a.columns[s]))
    }

    /// A's value of a column in a pair.
    pub fn given(&self, source: usize, pair: usize) -> &str {
        self.a.rows[self.pairs[pair].0][source].as_deref().unwrap_or("")
    }

    /// All matches, one a target.
    pub fn run(&self, sample: &Sample, spec: &Route, room: &Room) -> Result<Vec<Match>> {
        let targets = 0..self.b.columns.len();
        if self.pairs.is_empty() {
            return Ok(super::likeness::matches(self));
        }
        // Of thousands of targets, each gets its share of what can be tried.
        let share = (TRIED_MAX / targets.len().max(1)).max(2);
        let first: Vec<Vec<Candidate>> = targets
            .clone()
            .map(|t| {
                let mut candidates = self.candidates_of(t, Least(0.12));
                if candidates.len() > share {
                    candidates.sort_by_key(|c| c.cost);
                    candidates.truncate(share);
                }
                candidates
            })
            .collect();
        let mut all = self.tried(first, sample, spec, room)?;
        // What no likely column gives, any may.
        let wide: Vec<Vec<Candidate>> = targets
            .clone()
            .map(|t| {
                let mut candidates = if self.is_open(t, &all[t]) { self.candidates_of(t, Least(0.0)) } else { Vec::new() };
                candidates.sort_by_key(|c| c.cost);
                candidates.truncate(share);
                candidates
            })
            .collect();
        self.add(&mut all, self.tried(wide, sample, spec, room)?);
        // What no column gives by itself may be put together; once more, for what is put together of other targets.
        for _ in 0..2 {
            let more: Vec<Vec<Candidate>> =
                targets.clone().map(|t| if self.is_open(t, &all[t]) { combine::candidates(self, t, &all) } else { Vec::new() }).collect();
            self.add(&mut all, self.tried(more, sample, spec, room)?);
        }
        let shortened = self.shortened(&all, sample, spec, room)?;
        self.add(&mut all, self.tried(shortened, sample, spec, room)?);
        let mut conditions = vec![Vec::new(); targets.len()];
        for target in targets.clone().filter(|t| self.is_open(*t, &all[*t])) {
            conditions[target] = combine::conditions(self, target, &all[target]);
        }
        self.add(&mut all, self.tried(conditions, sample, spec, room)?);
        let mut found: Vec<Match> = targets.map(|target| self.judge(target, &all[target])).collect();
        super::guard::guarded(self, &mut found, sample, spec, room)?;
        Ok(found)
    }

    fn is_open(&self, target: usize, tried: &[Tried]) -> bool {
        !self.is_constant(target) && tried.first().is_none_or(|best| best.share < EXACT)
    }

    fn add(&self, all: &mut [Vec<Tried>], more: Vec<Vec<Tried>>) {
        for (target, more) in more.into_iter().enumerate() {
            all[target].extend(more);
            sort(&mut all[target], |c| self.likeness(c, target));
        }
    }

    /// Candidates for targets that a column nearly gives: abbreviations may be all that is missing.
    fn shortened(&self, all: &[Vec<Tried>], sample: &Sample, spec: &Route, room: &Room) -> Result<Vec<Vec<Candidate>>> {
        let near = |t: usize| all[t].first().filter(|best| self.is_open(t, &all[t]) && best.share >= 0.5 && self.b.columns[t].kind == Kind::Text);
        let targets: Vec<(usize, &Tried)> = (0..all.len()).filter_map(|t| Some((t, near(t)?))).collect();
        let mut out = vec![Vec::new(); all.len()];
        if targets.is_empty() {
            return Ok(out);
        }
        let expressions: Vec<String> = targets.iter().map(|(_, best)| best.candidate.expr.clone()).collect();
        let mut texts: Vec<Vec<Option<String>>> = vec![vec![None; self.pairs.len()]; expressions.len()];
        self.results(&expressions, sample, spec, room, &mut |at, pair, text| texts[at][pair] = text.map(str::to_owned))?;
        for ((target, best), given) in targets.into_iter().zip(&texts) {
            out[target].extend(combine::shortened(self, target, best, given));
        }
        Ok(out)
    }

    /// Whether B holds the same in all records that were read.
    pub fn is_constant(&self, target: usize) -> bool {
        let b = &self.b.columns[target];
        b.filled == 0 || (b.distinct == 1 && b.nulls == 0)
    }

    /// How alike the names of a candidate's columns and of the target are.
    pub fn likeness(&self, candidate: &Candidate, target: usize) -> f64 {
        candidate.sources.iter().map(|s| self.near.alike(*s, target)).fold(0.0, f64::max)
    }

    /// What each single column that is at least so likely could be turned into.
    fn candidates_of(&self, target: usize, least: Least) -> Vec<Candidate> {
        let b = &self.b.columns[target];
        if b.filled == 0 {
            return Vec::new();
        }
        let times = |p: &Profile| matches!(p.kind, Kind::Date | Kind::DateTime);
        // A month or a year of a day has no text in common with it.
        let period =
            !times(b) && b.lengths.0 == b.lengths.1 && (4..=8).contains(&b.lengths.0) && b.examples.iter().all(|x| x.bytes().all(|c| !c.is_ascii_alphabetic()));
        let mut sources: Vec<(f64, usize)> = self
            .near
            .sources(target)
            .filter(|s| self.a.columns[*s].filled > 0)
            .map(|s| {
                let (share, _) = pair::agreement((&self.loose.0, s), (&self.loose.1, target), &self.pairs);
                let unlike = if b.kind.is_number() && conversions::is_overpunched(&self.a.columns[s]) { 0.5 } else { 0.0 };
                let unlike = if period && times(&self.a.columns[s]) { 0.4 } else { unlike };
                (share.max(self.partly(s, target)).max(unlike) + self.near.alike(s, target) * 0.3, s)
            })
            .filter(|(score, _)| *score >= least.0)
            .collect();
        sources.sort_by(|x, y| y.0.total_cmp(&x.0));
        sources.truncate(SOURCES_MAX);
        let mut out = Vec::new();
        for (_, s) in sources {
            let a = &self.a.columns[s];
            let from = out.len();
            if a.list {
                out.extend(conversions::lists(s, a));
                continue;
            }
            if a.kind.is_number() && b.is_amount() {
                // A number by itself has as many decimals as it needs, and B's have all the same.
                let bare = a.typed && b.decimals.is_some_and(|d| d > 0) && !b.typed;
                out.push(Candidate::new(s, a.expr.clone(), "as it is", if bare { 3 } else { 0 }));
                out.extend(conversions::numbers(s, a, b, self.factor(s, target)));
            }
            if times(a) && times(b) {
                out.extend(conversions::dates(s, a, b, &self.a.signs, &self.b.signs));
            }
            if times(a) && !times(b) {
                out.extend(conversions::periods(s, a, &self.a.signs));
            }
            if !times(a) && times(b) {
                out.extend(conversions::bare_dates(s, a, b));
            }
            out.extend(conversions::months(s, a, b));
            let amounts = a.kind == Kind::Decimal && b.kind.is_number();
            let days = times(a) && times(b);
            if !amounts && !days {
                out.extend(conversions::texts(s, a, b));
            }
            // A field of the first of several is further away than one of the record.
            if a.expr.contains(" | first)") {
                out[from..].iter_mut().for_each(|c: &mut Candidate| c.cost += 3);
            }
        }
        out
    }

    /// The share of pairs in which B's text is a part of A's, or the other way round.
    fn partly(&self, source: usize, target: usize) -> f64 {
        let step = self.pairs.len().div_ceil(40).max(1);
        let (mut part, mut all) = (0u32, 0u32);
        for pair in (0..self.pairs.len()).step_by(step) {
            let (given, wanted) = (self.given(source, pair).trim(), self.wanted(target, pair).trim());
            if wanted.is_empty() {
                continue;
            }
            all += 1;
            let long = given.len().min(wanted.len()) >= 3 || given.len() == wanted.len();
            part += u32::from(long && (given.contains(wanted) || wanted.contains(given)));
        }
        // Counts stay far below 2^52.
        if all == 0 { 0.0 } else { f64::from(part) / f64::from(all) * 0.9 }
    }

    fn factor(&self, source: usize, target: usize) -> Option<&'static str> {
        let reading = (pair::reading_of(self.a), pair::reading_of(self.b));
        let ratios: Vec<f64> = (0..self.pairs.len())
            .filter_map(|p| {
                let given = pair::float(&reading.0, self.given(source, p))?;
                let wanted = pair::float(&reading.1, self.wanted(target, p))?;
                (given != 0.0 && wanted != 0.0).then_some(wanted / given)
            })
            .collect();
        conversions::factor(&ratios)
    }

    fn hash(&self, text: &str) -> u64 {
        if text.is_empty() { 1 } else { self.hasher.hash_one(text).max(2) }
    }

    /// Tries each target's candidates on the shared records; the best first.
    fn tried(&self, candidates: Vec<Vec<Candidate>>, sample: &Sample, spec: &Route, room: &Room) -> Result<Vec<Vec<Tried>>> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut expressions: Vec<String> = Vec::new();
        for candidate in candidates.iter().flatten() {
            if expressions.len() < TRIED_MAX && !places.contains_key(&candidate.expr) {
                places.insert(candidate.expr.clone(), expressions.len());
                expressions.push(candidate.expr.clone());
            }
        }
        // Of what each gives for each pair, the hash is enough; 0: it rejects the record.
        let mut given = vec![vec![0u64; self.pairs.len()]; expressions.len()];
        // Where B's numbers are numbers and no texts (JSON), 5.00 is 5.
        let is_number = |target: usize| self.b.columns[target].typed && self.b.columns[target].kind.is_number();
        let mut worth = if (0..self.b.columns.len()).any(is_number) { given.clone() } else { Vec::new() };
        if !expressions.is_empty() {
            self.results(&expressions, sample, spec, room, &mut |at, pair, text| {
                given[at][pair] = text.map_or(0, |t| self.hash(t));
                if let Some(worth) = worth.get_mut(at) {
                    worth[pair] = text.map_or(0, |t| self.hash(&by_worth(t)));
                }
            })?;
        }
        let mut out = Vec::new();
        for (target, list) in candidates.into_iter().enumerate() {
            let (given, wanted): (_, Vec<u64>) = match is_number(target) {
                true => (&worth, (0..self.pairs.len()).map(|p| self.hash(&by_worth(self.wanted(target, p)))).collect()),
                false => (&given, (0..self.pairs.len()).map(|p| self.hash(self.wanted(target, p))).collect()),
            };
            let mut tried: Vec<Tried> = list
                .into_iter()
                .filter_map(|candidate| {
                    let given = given.get(*places.get(&candidate.expr)?)?;
                    let right: Vec<bool> = wanted.iter().zip(given).map(|(w, g)| w == g).collect();
                    Some(self.weighed(candidate, right, target))
                })
                .filter(|t| t.share > 0.0)
                .collect();
            sort(&mut tried, |c| self.likeness(c, target));
            out.push(tried);
        }
        Ok(out)
    }

    /// An expression with the share of the pairs for which it is right; where B has nothing, being right tells little.
    fn weighed(&self, candidate: Candidate, right: Vec<bool>, target: usize) -> Tried {
        let filled = (0..self.pairs.len()).filter(|p| !self.wanted(target, *p).is_empty());
        let (mut good, mut all) = (0usize, 0usize);
        for p in filled {
            all += 1;
            good += usize::from(right[p]);
        }
        let whole = right.iter().filter(|r| **r).count() as f64 / right.len().max(1) as f64;
        Tried { candidate, right, share: if good == 0 { 0.0 } else { (good as f64 / all as f64).min(whole) } }
    }

    /// Hands over what each expression gives for each pair, by their places; none: it rejects the record.
    fn results(&self, expressions: &[String], sample: &Sample, spec: &Route, room: &Room, take: &mut dyn FnMut(usize, usize, Option<&str>)) -> Result<()> {
        let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (pair, (row, _)) in self.pairs.iter().enumerate() {
            wanted.entry(*row).or_default().push(pair);
        }
        let last = wanted.keys().last().copied().unwrap_or(0) as u64;
        let Some(transformation) = &spec.transformation else { return Ok(()) };
        let mut trial: Option<Trial<'_>> = None;
        let each = self.a.each.as_ref();
        read::each(sample, &self.a.dialect, each, room, &mut |row, columns| {
            let trial = trial.get_or_insert_with(|| Trial::new(transformation, columns, each.map(|e| e.expr.as_str()), expressions));
            if let Some(pairs) = wanted.get(&(row.index as usize)) {
                for (at, text) in trial.texts(row.record, row.item.map(|i| (i.value, i.index, i.length))).into_iter().enumerate() {
                    pairs.iter().for_each(|p| take(at, *p, text.as_deref()));
                }
            }
            Ok(row.index < last)
        })?;
        Ok(())
    }

    /// What is proposed for a target, of all that was tried.
    fn judge(&self, target: usize, tried: &[Tried]) -> Match {
        let b = &self.b.columns[target];
        let records = self.b.reading.records;
        if b.filled == 0 {
            let confidence = if records >= 10 { 0.85 } else { 0.6 };
            // What nests writes nothing as null, and an empty text as a text.
            let nothing = if self.b.dialect.has_flat_columns() { "''" } else { "null" };
            return unmatched(target, nothing, Found::Constant, confidence, format!("empty in all {records} records of B"));
        }
        let best = tried.first();
        if self.is_constant(target) && best.is_none_or(|t| t.share < EXACT || self.likeness(&t.candidate, target) < 0.75) {
            if let Some(table) = codes::one_value(self, target) {
                return table;
            }
            if super::names::is_secret(&b.name) {
                let reason =
                    format!("the same in all {records} records of B, and not shown: it is a secret. \"'${{env:NAME}}'\" takes it from the environment");
                return unmatched(target, "null", Found::Nowhere, 0.0, reason);
            }
            let value = b.examples.first().map_or("", String::as_str);
            let confidence = if records >= 10 {
                0.8
            } else if records >= 3 {
                0.65
            } else {
                0.4
            };
            return unmatched(target, &conversions::literal_of(b, value), Found::Constant, confidence, format!("the same in all {records} records of B"));
        }
        if best.is_none_or(|t| t.share < EXACT)
            && let Some(table) = codes::table(self, target)
        {
            return table;
        }
        match best {
            Some(best) if best.share >= 0.5 => self.believed(target, best, tried),
            _ => super::likeness::one(self, target).unwrap_or_else(|| {
                let others = codes::telling(self, target);
                let reason = if others.is_empty() {
                    "no column of A holds it".to_owned()
                } else {
                    format!("{} may hold it in another form: no conversion was found", others.join(", "))
                };
                Match { others, ..unmatched(target, "null", Found::Nowhere, 0.0, reason) }
            }),
        }
    }
}

/// A number without what its digits need not say.
fn by_worth(text: &str) -> String {
    text.parse::<rust_decimal::Decimal>().map_or_else(|_| text.to_owned(), |n| n.normalize().to_string())
}
