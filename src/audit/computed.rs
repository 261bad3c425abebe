//! Numbers made of other numbers: a sum, a product, an amount with its tax, a price less its discount.
//!
//! They are found in floats, and proved by the evaluator like everything else.

use std::collections::BTreeSet;

use super::conversions::{Candidate, numbers};
use super::mapping::{EXACT, Search, Tried};
use super::pair;
use super::profile::{Kind, Profile};
use crate::formats::text::Reading;

/// Numbers that are tried with one another.
const NUMBERS_MAX: usize = 24;
/// Numbers of which three are tried together.
const OF_THREE_MAX: usize = 10;
/// Amounts are rounded to two decimals.
const ROUNDING: f64 = 0.006;

/// A number of A's, or what another target is made of.
struct Number {
    sources: Vec<usize>,
    expr: String,
    /// Some records have nothing there, which counts as zero.
    gaps: bool,
    values: Vec<f64>,
}

impl Number {
    fn filled(&self) -> String {
        if self.gaps { format!("({} | decimal | default(0))", self.expr) } else { self.read() }
    }
    fn read(&self) -> String {
        format!("({} | decimal)", self.expr)
    }
}

/// What a target is computed of, where two or three numbers give it.
pub(super) fn candidates(search: &Search<'_>, target: usize, all: &[Vec<Tried>]) -> Vec<Candidate> {
    let b = &search.b.columns[target];
    if !b.is_amount() {
        return Vec::new();
    }
    let readings = (pair::reading_of(search.a), pair::reading_of(search.b));
    let number = |r: &Reading, t: &str| pair::float(r, t).unwrap_or(0.0);
    let wanted_of = |t: usize| -> Vec<f64> { (0..search.pairs.len()).map(|p| number(&readings.1, search.wanted(t, p))).collect() };
    let columns = search.near.sources(target).filter(|s| search.a.columns[*s].kind.is_number() && search.a.columns[*s].distinct > 1);
    let mut given: Vec<Number> = columns
        .take(NUMBERS_MAX)
        .map(|s| Number {
            sources: vec![s],
            expr: search.a.columns[s].expr.clone(),
            gaps: search.a.columns[s].nulls > 0,
            values: (0..search.pairs.len()).map(|p| number(&readings.0, search.given(s, p))).collect(),
        })
        .collect();
    // A total is made of a net amount that is itself computed.
    let computed = |t: &usize| *t != target && search.b.columns[*t].is_amount() && search.b.columns[*t].distinct > 1;
    for other in (0..all.len()).filter(computed) {
        if let Some(best) = all[other].first().filter(|t| t.share >= EXACT && t.candidate.sources.len() > 1) {
            given.push(Number { sources: best.candidate.sources.clone(), expr: format!("({})", best.candidate.expr), gaps: false, values: wanted_of(other) });
        }
    }
    let wanted = wanted_of(target);
    let found = of_one(&given, &wanted);
    let found = if found.is_empty() { of_two(&given, &wanted) } else { found };
    let found = if found.is_empty() { of_three(&given, &wanted) } else { found };
    let mut out = Vec::new();
    for (sources, expr, does, cost) in found {
        let made = Profile { expr, kind: Kind::Decimal, ..search.a.columns[sources[0]].clone() };
        for candidate in numbers(sources[0], &made, b, None) {
            out.push(Candidate { sources: sources.clone(), does: does.to_owned(), cost: candidate.cost + cost, ..candidate });
        }
    }
    out
}

/// The columns, the expression, what it does, and how much it costs.
type Formula = (Vec<usize>, String, &'static str, u32);

fn is_right(wanted: &[f64], made: impl Fn(usize) -> f64) -> bool {
    let right = wanted.iter().enumerate().filter(|(p, w)| (made(*p).abs() - w.abs()).abs() <= ROUNDING).count();
    right as f64 >= wanted.len() as f64 * EXACT
}

/// A number times another that is always the same: the tax on an amount.
fn of_one(given: &[Number], wanted: &[f64]) -> Vec<Formula> {
    let distinct: BTreeSet<u64> = wanted.iter().map(|w| w.to_bits()).collect();
    let mut out = Vec::new();
    if distinct.len() < 4 {
        return out;
    }
    for x in given {
        // Of the largest, rounding tells least.
        let largest = (0..wanted.len()).filter(|p| x.values[*p] != 0.0).max_by(|p, q| x.values[*p].abs().total_cmp(&x.values[*q].abs()));
        let Some(largest) = largest else { continue };
        let exact = wanted[largest] / x.values[largest];
        for scale in [100.0, 1000.0, 10_000.0] {
            let factor = (exact * scale).round() / scale;
            let usual = factor.abs() >= 0.01 && factor.abs() <= 20.0 && (factor.abs() - 1.0).abs() > 1e-9;
            if usual && is_right(wanted, |p| x.values[p] * factor) {
                out.push((x.sources.clone(), format!("{} * {factor}", x.read()), "times a number that is always the same", 3 + x.sources.len() as u32));
                break;
            }
        }
    }
    out
}

fn of_two(given: &[Number], wanted: &[f64]) -> Vec<Formula> {
    let mut out = Vec::new();
    for (i, x) in given.iter().enumerate() {
        for (j, y) in given.iter().enumerate().filter(|(j, _)| *j != i) {
            let fits = |f: fn(f64, f64) -> f64| is_right(wanted, |p| f(x.values[p], y.values[p]));
            let forms = [
                (fits(|x, y| if x == 0.0 { y } else { x }), format!("{} or {}", x.read(), y.read()), "the one that is not zero"),
                (fits(|x, y| x - y), format!("{} - {}", x.filled(), y.filled()), "their difference"),
                (i < j && fits(|x, y| x + y), format!("{} + {}", x.filled(), y.filled()), "their sum"),
                (i < j && fits(|x, y| x * y), format!("{} * {}", x.read(), y.read()), "their product"),
                (fits(|x, y| x / y), format!("{} / {}", x.read(), y.read()), "their quotient"),
                (fits(|x, y| x * y / 100.0), format!("{} * {} / 100", x.read(), y.read()), "a share of it in percent"),
                (fits(|x, y| x * (1.0 + y / 100.0)), format!("{} * (1 + {} / 100)", x.read(), y.filled()), "with so many percent more"),
                (fits(|x, y| x * (1.0 - y / 100.0)), format!("{} * (1 - {} / 100)", x.read(), y.filled()), "with so many percent less"),
            ];
            let sources = [&x.sources[..], &y.sources[..]].concat();
            // What is itself computed comes behind what stands in A.
            let cost = 1 + sources.len() as u32;
            out.extend(forms.into_iter().filter(|f| f.0).map(|(_, expr, does)| (sources.clone(), expr, does, cost)));
        }
    }
    out
}

/// A quantity, a price and a rate in percent; three amounts.
fn of_three(given: &[Number], wanted: &[f64]) -> Vec<Formula> {
    type Form = (fn(f64, f64, f64) -> f64, fn(String, String, String) -> String, &'static str);
    // In each, the first two may change places.
    const FORMS: [Form; 6] = [
        (|x, y, z| x * y * (1.0 - z / 100.0), |x, y, z| format!("{x} * {y} * (1 - {z} / 100)"), "their product with so many percent less"),
        (|x, y, z| x * y * (1.0 + z / 100.0), |x, y, z| format!("{x} * {y} * (1 + {z} / 100)"), "their product with so many percent more"),
        (|x, y, z| x * y - z, |x, y, z| format!("{x} * {y} - {z}"), "their product less an amount"),
        (|x, y, z| x * y + z, |x, y, z| format!("{x} * {y} + {z}"), "their product and an amount"),
        (|x, y, z| x + y - z, |x, y, z| format!("{x} + {y} - {z}"), "a sum less an amount"),
        (|x, y, z| x + y + z, |x, y, z| format!("{x} + {y} + {z}"), "their sum"),
    ];
    let distinct: BTreeSet<u64> = wanted.iter().map(|w| w.to_bits()).collect();
    let mut out = Vec::new();
    // Three numbers make a few others by chance.
    if distinct.len() < 5 {
        return out;
    }
    let given = &given[..given.len().min(OF_THREE_MAX)];
    for (i, x) in given.iter().enumerate() {
        for (j, y) in given.iter().enumerate().skip(i + 1) {
            for (_, z) in given.iter().enumerate().filter(|(k, _)| *k != i && *k != j) {
                for (f, form, does) in FORMS {
                    if is_right(wanted, |p| f(x.values[p], y.values[p], z.values[p])) {
                        let sources = [&x.sources[..], &y.sources[..], &z.sources[..]].concat();
                        out.push((sources, form(x.filled(), y.filled(), z.filled()), does, 5));
                    }
                }
            }
        }
    }
    out
}
