//! Which of A's columns are worth a look for a target, so that tables of thousands of columns are compared in a
//! bounded time: by their names, and by the values of a few records.

use std::collections::{BTreeSet, HashMap};

use super::Side;
use super::names::{self, Meaning};
use super::pair::Loose;

/// Up to so many pairs of columns, all are looked at.
const ALL_MAX: usize = 40_000;
/// A word or a value that more columns than that share tells nothing.
const SHARED_MAX: usize = 40;
/// Columns that are looked at for a target, where not all are.
const NEAR_MAX: usize = 60;
/// Records whose values are looked up.
const RECORDS: usize = 8;

/// The columns near each target.
pub struct Near {
    sources: Vec<Vec<usize>>,
    alike: Vec<HashMap<usize, f64>>,
}

impl Near {
    /// Looks for them; `pairs` are records that both sides hold.
    pub fn new(a: (&Side, &Loose), b: (&Side, &Loose), pairs: &[(usize, usize)]) -> Self {
        let means = |side: &Side| -> Vec<Meaning> { side.columns.iter().map(|c| names::meaning(&c.name)).collect() };
        let (ma, mb) = (means(a.0), means(b.0));
        let sources: Vec<Vec<usize>> =
            if ma.len() * mb.len() <= ALL_MAX { vec![(0..ma.len()).collect(); mb.len()] } else { shortlists((&ma, a.1), (&mb, b.1), pairs) };
        // Of `Address.Street` the last word says what it is, and those before where it belongs.
        let leaf =
            |side: &Side| -> Vec<Option<Meaning>> { side.columns.iter().map(|c| c.name.rsplit_once('.').map(|(_, leaf)| names::meaning(leaf))).collect() };
        let (la, lb) = (leaf(a.0), leaf(b.0));
        let alike = |s: usize, t: usize| {
            let whole = names::similarity(&ma[s], &mb[t]);
            if la[s].is_none() && lb[t].is_none() {
                return whole;
            }
            let leaves = names::similarity(la[s].as_ref().unwrap_or(&ma[s]), lb[t].as_ref().unwrap_or(&mb[t]));
            whole.max(leaves * 0.9 + whole * 0.1)
        };
        let alike = sources.iter().enumerate().map(|(t, list)| list.iter().map(|s| (*s, alike(*s, t))).collect()).collect();
        Self { sources, alike }
    }

    /// The columns to look at for a target, in A's order.
    pub fn sources(&self, target: usize) -> impl Iterator<Item = usize> + '_ {
        self.sources[target].iter().copied()
    }

    /// How alike the names of a column and a target are: 0 … 1.
    pub fn alike(&self, source: usize, target: usize) -> f64 {
        self.alike[target].get(&source).copied().unwrap_or(0.0)
    }
}

fn shortlists(a: (&[Meaning], &Loose), b: (&[Meaning], &Loose), pairs: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut by_word: HashMap<&str, Vec<usize>> = HashMap::new();
    for (source, meaning) in a.0.iter().enumerate() {
        meaning.terms().for_each(|term| by_word.entry(term).or_default().push(source));
    }
    let step = pairs.len().div_ceil(RECORDS).max(1);
    let records: Vec<(usize, usize)> = pairs.iter().step_by(step).copied().collect();
    // The columns that hold a value in a record: of A's columns, by the record and the value's key.
    let mut by_value: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    for source in 0..a.0.len() {
        for (n, (row, _)) in records.iter().enumerate() {
            keys(a.1, source, *row).for_each(|key| by_value.entry((n, key)).or_default().push(source));
        }
    }
    let found = |target: usize| -> Vec<usize> {
        let mut score: HashMap<usize, usize> = HashMap::new();
        for term in b.0[target].terms() {
            let list = by_word.get(term).filter(|l| l.len() <= SHARED_MAX);
            list.into_iter().flatten().for_each(|s| *score.entry(*s).or_default() += 1);
        }
        for (n, (_, row)) in records.iter().enumerate() {
            for key in keys(b.1, target, *row) {
                let list = by_value.get(&(n, key)).filter(|l| l.len() <= SHARED_MAX);
                list.into_iter().flatten().for_each(|s| *score.entry(*s).or_default() += 2);
            }
        }
        let mut order: Vec<(usize, usize)> = score.into_iter().collect();
        order.sort_by_key(|(s, n)| (std::cmp::Reverse(*n), *s));
        let kept: BTreeSet<usize> = order.into_iter().take(NEAR_MAX).map(|(s, _)| s).collect();
        kept.into_iter().collect()
    };
    (0..b.0.len()).map(found).collect()
}

fn keys(loose: &Loose, column: usize, row: usize) -> impl Iterator<Item = u64> + '_ {
    let of = move |keys: &Vec<u64>| keys.get(row).copied().filter(|k| *k != 0);
    of(&loose.texts[column]).into_iter().chain(of(&loose.values[column]))
}
