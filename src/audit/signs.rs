//! How a file writes numbers and dates throughout: what some values leave open, the others decide.

use std::collections::HashMap;

use super::dialect::Note;
use super::profile::{Column, Kind, Profile, quoted};
use super::values::{self, DATES, DATETIMES};

/// How numbers and dates are written throughout a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signs {
    /// The sign before decimals; none: no number has any.
    pub decimal: Option<char>,
    /// The sign between groups of digits.
    pub thousands: Option<char>,
    /// The pattern of most dates; none: ISO 8601, or no dates.
    pub dates: Option<String>,
    /// The same for dates with a time.
    pub datetimes: Option<String>,
    /// There are dates.
    pub has_dates: bool,
}

/// The signs of a file's numbers: what no value leaves open decides for those that do.
pub(super) fn signs_of(columns: &[Column], notes: &mut Vec<Note>) -> Signs {
    let mut decimal: HashMap<char, u64> = HashMap::new();
    let mut thousands: HashMap<char, u64> = HashMap::new();
    let mut ambiguous: HashMap<char, u64> = HashMap::new();
    let mut plain = (0, 0);
    for c in columns.iter().filter(|c| c.is_number() && c.kinds.is_empty() && c.dates & !bare_bits() == 0) {
        if !c.ambiguous.is_empty() {
            plain = (plain.0 + c.plain.0, plain.1 + c.plain.1);
        }
        c.decimal.iter().for_each(|(s, (n, _))| *decimal.entry(*s).or_default() += n);
        c.thousands.iter().for_each(|(s, n)| *thousands.entry(*s).or_default() += n);
        c.ambiguous.iter().for_each(|(s, n)| *ambiguous.entry(*s).or_default() += n);
    }
    let most = |of: &HashMap<char, u64>| of.iter().max_by_key(|(c, n)| (**n, u32::from(**c == ','), **c)).map(|(c, _)| *c);
    let mut signs = Signs { decimal: most(&decimal), thousands: most(&thousands), ..Signs::default() };
    if let (Some(d), Some(t)) = (signs.decimal, signs.thousands)
        && d == t
    {
        // Columns that are written in two ways: the sign that more values have before their decimals.
        signs.thousands = None;
        notes.push(Note::new(format!("numbers are written in two ways: {} stands before decimals here, and groups thousands there", quoted(d)), 0));
    }
    let (open, count) = match most(&ambiguous) {
        Some(sign) => (sign, ambiguous[&sign]),
        None => return signs,
    };
    match (signs.decimal, signs.thousands) {
        (Some(d), None) if d != open => signs.thousands = Some(open),
        (None, Some(t)) if t != open => signs.decimal = Some(open),
        (None, Some(_)) | (Some(_), _) => {}
        // Numbers below a thousand have no sign, and those above all have one.
        (None, None) if plain.0 > 0 && plain.1 == 0 => signs.thousands = Some(open),
        (None, None) => {
            signs.decimal = Some(open);
            notes.push(Note::new(
                format!("{count} numbers have {} before three digits: whether it groups thousands or begins decimals, no value tells", quoted(open)),
                0,
            ));
        }
    }
    signs
}

/// The patterns that a number without signs fits too.
fn bare_bits() -> u64 {
    DATES.iter().enumerate().filter(|(_, p)| values::bare_digits(p)).fold(0, |bits, (i, _)| bits | (1 << i))
}

/// The patterns of the columns' dates: those left, and where two are, the one that the other columns have.
pub(super) fn settle_dates(columns: &[Column], profiles: &mut [Profile], signs: &mut Signs, notes: &mut Vec<Note>) {
    let left = |c: &Column, p: &Profile| -> Vec<usize> {
        (0..DATES.len()).filter(|i| c.dates & (1 << i) != 0 && (!values::bare_digits(DATES[*i]) || c.bare_dates(&p.name, *i))).collect()
    };
    let mut sure: HashMap<usize, u64> = HashMap::new();
    for (c, p) in columns.iter().zip(&*profiles).filter(|(_, p)| p.kind == Kind::Date && !p.typed) {
        let patterns = left(c, p);
        let open = patterns.first().is_some_and(|i| values::exchanged(DATES[*i]).is_some_and(|x| patterns.iter().any(|j| DATES[*j] == x)));
        if let Some(first) = patterns.first().filter(|_| !open) {
            *sure.entry(*first).or_default() += c.filled;
        }
    }
    let mut used: HashMap<Option<String>, u64> = HashMap::new();
    for (c, p) in columns.iter().zip(&mut *profiles).filter(|(_, p)| p.kind == Kind::Date && !p.typed) {
        let patterns = left(c, p);
        let chosen = patterns.iter().copied().max_by_key(|i| (sure.get(i).copied().unwrap_or(0), std::cmp::Reverse(*i))).unwrap_or(0);
        let other = values::exchanged(DATES[chosen]).and_then(|x| DATES.iter().position(|d| *d == x));
        if let Some(other) = other {
            if patterns.contains(&other) {
                let told = if sure.contains_key(&chosen) {
                    format!("read as {}: other columns have the day first or last alike", DATES[chosen])
                } else {
                    format!(
                        "ambiguous: day and month could be exchanged ({} or {}), no value tells; the day is taken to stand as in Europe",
                        DATES[chosen], DATES[other]
                    )
                };
                p.notes.push(Note::new(told, 0));
            } else if let Some((line, value)) = c.lost.get(&other) {
                p.notes.push(Note::new(format!("{value} can only be {}", DATES[chosen]), *line));
            }
        }
        p.pattern = (DATES[chosen] != "%Y-%m-%d").then(|| DATES[chosen].to_owned());
        *used.entry(p.pattern.clone()).or_default() += p.filled;
    }
    signs.has_dates = profiles.iter().any(|p| p.kind == Kind::Date);
    signs.dates = used.iter().max_by_key(|(p, n)| (**n, (*p).clone())).and_then(|(p, _)| p.clone());
    if used.len() > 1 {
        let mut patterns: Vec<&str> = used.keys().map(|p| p.as_deref().unwrap_or("%Y-%m-%d")).collect();
        patterns.sort_unstable();
        notes.push(Note::new(format!("dates are written in {} ways: {}", used.len(), patterns.join(", ")), 0));
    }
    let mut times: HashMap<Option<&str>, u64> = HashMap::new();
    for (c, p) in columns.iter().zip(&mut *profiles).filter(|(_, p)| p.kind == Kind::DateTime && !p.typed) {
        let first = (0..DATETIMES.len()).find(|i| c.datetimes & (1 << i) != 0).and_then(|i| DATETIMES[i]);
        p.pattern = first.map(str::to_owned);
        *times.entry(first).or_default() += p.filled;
    }
    signs.datetimes = times.into_iter().max_by_key(|(p, n)| (*n, *p)).and_then(|(p, _)| p.map(str::to_owned));
}
