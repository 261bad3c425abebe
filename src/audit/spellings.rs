//! The same code, time, name or amount, spelled otherwise.

use super::conversions::{Candidate, bracketed, literal};
use super::profile::{Kind, Profile};

/// Umlauts as they are written where there are none (DIN 5007-2).
const UMLAUTS: &str =
    "replace('ä', 'ae') | replace('ö', 'oe') | replace('ü', 'ue') | replace('Ä', 'Ae') | replace('Ö', 'Oe') | replace('Ü', 'Ue') | replace('ß', 'ss')";

pub(super) fn candidates(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let mut out = times(at, a, b);
    out.extend(filled_up(at, a, b));
    out.extend(signs(at, a, b));
    out.extend(middles(at, a, b));
    out.extend(cents(at, a, b));
    let e = bracketed(&a.expr);
    if a.examples.iter().any(|x| x.contains(['ä', 'ö', 'ü', 'Ä', 'Ö', 'Ü', 'ß'])) {
        out.push(Candidate::new(at, format!("{e} | {UMLAUTS}"), "without umlauts", 3));
        out.push(Candidate::new(at, format!("{e} | {UMLAUTS} | upper"), "in capitals without umlauts", 4));
        out.push(Candidate::new(at, format!("{e} | {UMLAUTS} | lower"), "in small letters without umlauts", 4));
    }
    if b.lengths.1 > 0 && a.lengths.1 > b.lengths.1 {
        let n = b.lengths.1;
        for case in ["upper", "lower", "ascii", "ascii | upper"] {
            out.push(Candidate::new(at, format!("({e} | {case})[:{n}] | trim"), "cut, in another case", 4));
        }
    }
    if b.kind == Kind::Integer && a.kind == Kind::Text && !b.examples.iter().any(|x| x.len() > 1 && x.starts_with('0')) {
        out.push(Candidate::number(at, format!("{e} | digits | integer"), "its digits as a number", 2));
    }
    out
}

/// A time of day: `8:32`, `8h32`, `0832` and `8:32:05` are B's `08:32`.
fn times(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let is_time = |x: &String| x.len() == 5 && x.bytes().enumerate().all(|(i, c)| if i == 2 { c == b':' } else { c.is_ascii_digit() });
    if b.examples.is_empty() || !b.examples.iter().all(is_time) {
        return Vec::new();
    }
    let e = bracketed(&a.expr);
    let of = |expr: String, cost| Candidate::new(at, expr, "a time of day", cost);
    let filled = if a.kind == Kind::Integer { format!("('%04d' | format({e} | integer))") } else { format!("('0' ~ {e})[-4:]") };
    vec![
        of(format!("('0' ~ ({e} | lower | replace('h', ':')))[-5:]"), 3),
        of(format!("('0' ~ {e})[-8:][:5]"), 3),
        of(format!("{filled}[:2] ~ ':' ~ {filled}[2:]"), 4),
    ]
}

/// A code of one width with zeros before it.
fn filled_up(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let width = b.lengths.1;
    if b.lengths.0 != width || !(2..=14).contains(&width) || a.lengths.0 >= width || a.lengths.1 > width {
        return Vec::new();
    }
    // As many as the shortest code that may come: the sample's shortest need not be.
    let zeros = "0".repeat(width);
    vec![Candidate::new(at, format!("('{zeros}' ~ {})[-{width}:]", bracketed(&a.expr)), "filled up with zeros", 4)]
}

/// Another sign between the parts: `F2025-01` is B's `F2025/01`.
fn signs(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    const SIGNS: [&str; 9] = ["-", "/", ".", "_", " ", "; ", ", ", "|", ";"];
    let has = |p: &Profile, sign: &str| p.examples.iter().any(|x| x.contains(sign));
    let mut out = Vec::new();
    for from in SIGNS.into_iter().filter(|s| has(a, s) && !has(b, s)) {
        for to in SIGNS.into_iter().filter(|s| has(b, s) && !has(a, s)) {
            out.push(Candidate::new(
                at,
                format!("{} | replace({}, {})", bracketed(&a.expr), literal(from), literal(to)),
                "with another sign between its parts",
                3,
            ));
        }
    }
    out
}

/// One of several parts: `40x30x8` holds B's `30`.
fn middles(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let mut out = Vec::new();
    for sign in ["-", "/", ".", " ", "x", "_", "|", ":", ",", ";", "*"] {
        let parts = |x: &String| x.split(sign).count();
        let most = a.examples.iter().map(parts).max().unwrap_or(0);
        if most < 2 || a.examples.iter().any(|x| parts(x) < 2 && !x.is_empty()) {
            continue;
        }
        let split = format!("({} | split({}))", bracketed(&a.expr), literal(sign));
        for part in 0..most.min(4) {
            out.push(Candidate::new(at, format!("{split}[{part}] | trim"), "one of its parts", 4));
            if b.kind.is_number() {
                out.push(Candidate::number(at, format!("{split}[{part}] | decimal"), "one of its parts", 5));
            }
        }
    }
    out
}

/// Digits without a sign, of which the last two are decimals.
fn cents(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let digits = |p: &Profile| !p.examples.is_empty() && p.examples.iter().all(|x| x.len() > 2 && x.bytes().all(|c| c.is_ascii_digit()));
    let e = bracketed(&a.expr);
    let mut out = Vec::new();
    if digits(a) && b.decimals == Some(2) && b.is_amount() {
        out.push(Candidate::number(at, format!("(({e} | decimal) / 100) | round(2)"), "its last two digits are decimals", 3));
    }
    if digits(b) && b.lengths.0 == b.lengths.1 && a.is_amount() {
        out.push(Candidate::new(at, format!("'%0{}d' | format((({e} | decimal) * 100) | integer)", b.lengths.1), "in cents, filled up with zeros", 4));
    }
    out
}
