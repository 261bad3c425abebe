//! Amounts with a currency or a unit beside their digits, on either side.

use super::conversions::{Candidate, bracketed, literal};
use super::profile::Profile;

/// Longer texts beside the digits are no currency.
const UNIT_CHARS_MAX: usize = 8;

/// What stands around the digits in all of a column's examples: `("", " €")` of `12,50 €`; none: nothing, or not always the same.
fn around(p: &Profile) -> Option<(String, String)> {
    let parts = |text: &str| {
        let (from, to) = (text.find(|c: char| c.is_ascii_digit() || c == '-')?, text.rfind(|c: char| c.is_ascii_digit())? + 1);
        Some((text[..from].to_owned(), text[to..].to_owned()))
    };
    let first = parts(p.examples.first()?)?;
    let short = first.0.chars().count() <= UNIT_CHARS_MAX && first.1.chars().count() <= UNIT_CHARS_MAX;
    let same = p.examples.len() >= 2 && p.examples.iter().all(|x| parts(x).as_ref() == Some(&first));
    let plain = first.0.is_empty() && first.1.is_empty();
    let worded = |t: &str| t.chars().all(|c| !c.is_ascii_digit() && !matches!(c, ',' | '.' | '/'));
    (short && same && !plain && worded(&first.0) && worded(&first.1)).then_some(first)
}

/// A's amounts with their currency become B's numbers.
pub(super) fn bare(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    if !b.is_amount() || a.kind.is_number() || !a.examples.iter().any(|x| x.chars().any(|c| c.is_alphabetic() || matches!(c, '€' | '$' | '£' | '%'))) {
        return Vec::new();
    }
    let digits = format!("{} | regex_replace('[^0-9,.()-]', '')", bracketed(&a.expr));
    let mut out = Vec::new();
    for (k, signs) in ["", " | replace(',', '.')", " | replace('.', '') | replace(',', '.')", " | replace(',', '')"].into_iter().enumerate() {
        let number = format!("{digits}{signs} | decimal");
        let rounds = b.decimals.map_or_else(|| vec![String::new(), " | normalize".into()], |d| vec![String::new(), format!(" | round({d})")]);
        // Kilograms are B's grams.
        out.push(Candidate::number(at, format!("(({number}) * 1000) | normalize"), "its amount in a thousandth of the unit", 4 + k as u32));
        for (n, round) in rounds.into_iter().enumerate() {
            out.push(Candidate::number(at, format!("{number}{round}"), "its amount without the currency", 2 + (k + n) as u32));
        }
    }
    out
}

/// A's numbers become amounts with B's currency beside them.
pub(super) fn dressed(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let Some((before, behind)) = around(b).filter(|_| a.is_amount()) else { return Vec::new() };
    let core = |x: &str| x[before.len()..x.len() - behind.len()].to_owned();
    let decimals: Vec<Option<(char, usize)>> =
        b.examples.iter().map(|x| core(x).char_indices().rfind(|(_, c)| matches!(c, ',' | '.')).map(|(i, c)| (c, core(x).len() - i - 1))).collect();
    let Some(first) = decimals.first().copied().filter(|first| decimals.iter().all(|d| d == first)) else { return Vec::new() };
    let number = format!("({} | decimal)", bracketed(&a.expr));
    let text = match first {
        None => format!("({number} | round(0))"),
        Some((',', n)) => format!("(('%.{n}f' | format({number})) | replace('.', ','))"),
        Some((_, n)) => format!("('%.{n}f' | format({number}))"),
    };
    let around = |text: String| if before.is_empty() { text } else { format!("{} ~ {text}", literal(&before)) };
    let expr = if behind.is_empty() { around(text) } else { format!("{} ~ {}", around(text), literal(&behind)) };
    vec![Candidate::new(at, expr, "its amount with B's currency", 4)]
}
