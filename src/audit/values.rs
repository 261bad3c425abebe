//! What a single value looks like: a number and its signs, a date and its patterns, a yes or no.
//!
//! Nothing here decides for a column: a value says what it could be, and the column what all of its values can be.

use crate::formats::text::Reading;

/// A text that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The sign before the decimals.
    pub decimal: Option<char>,
    /// The sign between groups of three digits.
    pub thousands: Option<char>,
    /// One sign with three digits behind it: `1.234` may be either.
    pub ambiguous: Option<char>,
    /// Its first digit is a zero that counts for nothing: `007`.
    pub leading_zero: bool,
    /// How many digits it has.
    pub digits: usize,
    /// Decimals written.
    pub decimals: usize,
}

/// The number that `text` is in some way of writing; none: it is no number.
pub fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    if text.is_empty() || text.len() > 40 {
        return None;
    }
    let bare = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let bare = bare.strip_prefix(['-', '+', '\u{2212}']).unwrap_or(bare);
    let bare = bare.strip_suffix('-').unwrap_or(bare).trim();
    if !bare.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',')) || !bare.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let is_space = |c: char| matches!(c, ' ' | '\u{a0}' | '\u{202f}');
    let mut signs: Vec<(usize, char)> = Vec::new();
    for (i, c) in bare.char_indices() {
        match c {
            '0'..='9' => {}
            c if is_space(c) => signs.push((i, ' ')),
            '.' | ',' | '\'' | '’' => signs.push((i, c)),
            _ => return None,
        }
    }
    let digits = bare.chars().filter(char::is_ascii_digit).count();
    let whole = bare.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let plain = Number { decimal: None, thousands: None, ambiguous: None, leading_zero: whole.len() > 1 && whole.starts_with('0'), digits, decimals: 0 };
    let Some((at, last)) = signs.last().copied() else { return Some(plain) };
    let behind = bare[at..].chars().skip(1).count();
    // Groups of three behind the first one, up to `end`.
    let grouped = |end: usize| {
        let mut parts = bare[..end].split(|c: char| !c.is_ascii_digit());
        parts.next().is_some_and(|first| (1..=3).contains(&first.len())) && parts.all(|part| part.len() == 3)
    };
    let before: Vec<char> = signs[..signs.len() - 1].iter().map(|(_, c)| *c).collect();
    let one_kind = |of: &[char]| of.first().copied().filter(|first| of.iter().all(|c| c == first));
    let can_be_decimal = matches!(last, '.' | ',');
    if before.is_empty() {
        return match last {
            _ if !can_be_decimal => (grouped(bare.len())).then_some(Number { thousands: Some(last), ..plain }),
            _ if behind == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0') => Some(Number { ambiguous: Some(last), decimals: 3, ..plain }),
            _ => Some(Number { decimal: Some(last), decimals: behind, ..plain }),
        };
    }
    match one_kind(&before) {
        Some(sign) if sign == last => grouped(bare.len()).then_some(Number { thousands: Some(sign), ..plain }),
        Some(sign) if can_be_decimal => grouped(at).then_some(Number { decimal: Some(last), thousands: Some(sign), decimals: behind, ..plain }),
        _ => None,
    }
}

/// How dates are written, the usual ones first. Those with a time come after those without.
pub const DATES: &[&str] = &[
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m/%d/%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d-%m-%y",
    "%m/%d/%y",
    "%m-%d-%y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%y",
    "%d/%b/%Y",
    "%Y-%b-%d",
    "%d%m%Y",
    "%d%m%y",
    "%y%m%d",
];

/// How dates with a time are written; `None` is ISO 8601 with all that it allows.
pub const DATETIMES: &[Option<&str>] = &[
    None,
    Some("%d/%m/%Y %H:%M:%S"),
    Some("%d/%m/%Y %H:%M"),
    Some("%d.%m.%Y %H:%M:%S"),
    Some("%d.%m.%Y %H:%M"),
    Some("%d-%m-%Y %H:%M:%S"),
    Some("%d-%m-%Y %H:%M"),
    Some("%m/%d/%Y %H:%M:%S"),
    Some("%m/%d/%Y %H:%M"),
    Some("%m/%d/%Y %I:%M:%S %p"),
    Some("%m/%d/%Y %I:%M %p"),
    Some("%Y/%m/%d %H:%M:%S"),
    Some("%Y/%m/%d %H:%M"),
    Some("%Y%m%d%H%M%S"),
    Some("%Y%m%d%H%M"),
    Some("%d/%m/%Y - %H:%M"),
    Some("%d/%m/%y %H:%M:%S"),
    Some("%d/%m/%y %H:%M"),
    Some("%d %b %Y %H:%M:%S"),
];

/// Whether two digits may stand without a sign between them and what follows: then any number of that length is such a date.
pub fn bare_digits(pattern: &str) -> bool {
    matches!(pattern, "%Y%m%d" | "%d%m%Y" | "%d%m%y" | "%y%m%d" | "%Y%m%d%H%M%S" | "%Y%m%d%H%M")
}

/// The pattern that reads the same texts with day and month exchanged.
pub fn exchanged(pattern: &str) -> Option<String> {
    if pattern.starts_with("%d") && pattern.get(3..5) == Some("%m") {
        Some(pattern.replacen("%d", "%\u{1}", 1).replacen("%m", "%d", 1).replacen("%\u{1}", "%m", 1))
    } else if pattern.starts_with("%m") && pattern.get(3..5) == Some("%d") {
        Some(pattern.replacen("%m", "%\u{1}", 1).replacen("%d", "%m", 1).replacen("%\u{1}", "%d", 1))
    } else {
        None
    }
}

/// Which of `patterns` read `text`, one bit each; those that are not in `among` are not tried.
pub fn dates(reading: &Reading, text: &str, among: u64) -> u64 {
    if among == 0 || !(6..=40).contains(&text.len()) || !text.bytes().any(|b| b.is_ascii_digit()) {
        return 0;
    }
    bits(DATES.len(), among, |i| {
        let pattern = DATES[i];
        shape_fits(pattern, text) && reading.date(text, Some(pattern)).is_ok_and(|v| v.time_part("year").is_some_and(|y| (1900..=2199).contains(&y)))
    })
}

/// The same for dates with a time.
pub fn datetimes(reading: &Reading, text: &str, among: u64) -> u64 {
    if among == 0 || !(10..=40).contains(&text.len()) || !text.as_bytes()[0].is_ascii_digit() {
        return 0;
    }
    bits(DATETIMES.len(), among, |i| match DATETIMES[i] {
        None => text.len() > 10 && text.contains(':') && reading.datetime(text, None).is_ok(),
        Some(pattern) => {
            (text.contains(':') != bare_digits(pattern))
                && reading.datetime(text, Some(pattern)).is_ok_and(|v| v.time_part("year").is_some_and(|y| (1900..=2199).contains(&y)))
        }
    })
}

fn bits(count: usize, among: u64, fits: impl Fn(usize) -> bool) -> u64 {
    (0..count).filter(|i| among & (1 << i) != 0 && fits(*i)).fold(0, |bits, i| bits | (1 << i))
}

/// Whether the signs between the parts are those of the pattern: `strptime` lets widths and spaces pass.
fn shape_fits(pattern: &str, text: &str) -> bool {
    let width = match pattern {
        "%Y%m%d" | "%d%m%Y" => Some(8),
        "%d%m%y" | "%y%m%d" => Some(6),
        _ => None,
    };
    match width {
        Some(width) => text.len() == width && text.bytes().all(|b| b.is_ascii_digit()),
        None => {
            let sign = pattern.as_bytes().iter().skip(2).find(|b| !b.is_ascii_alphanumeric() && **b != b'%').copied().unwrap_or(b'-');
            text.bytes().find(|b| !b.is_ascii_alphanumeric()) == Some(sign) && pattern.contains("%Y") == has_long_year(text)
        }
    }
}

fn has_long_year(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).any(|part| part.len() == 4)
}

/// Pairs of words that stand for true and false.
pub const BOOLS: &[(&str, &str)] = &[
    ("true", "false"),
    ("TRUE", "FALSE"),
    ("True", "False"),
    ("oui", "non"),
    ("Oui", "Non"),
    ("OUI", "NON"),
    ("yes", "no"),
    ("Yes", "No"),
    ("YES", "NO"),
    ("vrai", "faux"),
    ("Vrai", "Faux"),
    ("VRAI", "FAUX"),
    ("O", "N"),
    ("Y", "N"),
    ("J", "N"),
    ("ja", "nein"),
    ("Ja", "Nein"),
    ("WAHR", "FALSCH"),
    ("T", "F"),
    ("o", "n"),
    ("Sí", "No"),
    ("SI", "NO"),
    ("si", "no"),
    ("S", "N"),
    ("sim", "não"),
    ("y", "n"),
];

/// Which pairs of [`BOOLS`] `text` belongs to.
pub fn bools(text: &str, among: u64) -> u64 {
    bits(BOOLS.len(), among, |i| BOOLS[i].0 == text || BOOLS[i].1 == text)
}

/// Whether a cell is of a kind that business files are made of, rather than a piece of a row cut in the wrong place
/// (the type score of van den Burg, Nazábal, Sutton: "Wrangling messy CSV files by detecting row and type patterns", 2019).
pub fn is_known(reading: &Reading, cell: &str) -> bool {
    let cell = cell.trim();
    if cell.is_empty() || number(cell).is_some() {
        return true;
    }
    if cell.len() <= 40 && (dates(reading, cell, !0) != 0 || datetimes(reading, cell, !0) != 0) {
        return true;
    }
    let unquoted = !cell.contains('"') || cell.matches('"').count().is_multiple_of(2);
    let first = cell.chars().next().unwrap_or(' ');
    let amount = cell.trim_matches(|c: char| "€$£%".contains(c) || c.is_whitespace());
    number(amount).is_some() || (unquoted && (first.is_alphanumeric() || "#@(*[_<'\"/-".contains(first)) && !cell.contains([';', '\t', '|', '\u{1f}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(text: &str) -> Option<(Option<char>, Option<char>, Option<char>)> {
        number(text).map(|n| (n.decimal, n.thousands, n.ambiguous))
    }

    #[test]
    fn a_number_shows_its_signs_or_says_that_it_could_be_either() {
        assert_eq!(signs("1 234,50"), Some((Some(','), Some(' '), None)));
        assert_eq!(signs("1\u{202f}234,50"), Some((Some(','), Some(' '), None)));
        assert_eq!(signs("1,234.50"), Some((Some('.'), Some(','), None)));
        assert_eq!(signs("1.234.567"), Some((None, Some('.'), None)));
        assert_eq!(signs("1.234"), Some((None, None, Some('.'))));
        assert_eq!(signs("0.234"), Some((Some('.'), None, None)));
        assert_eq!(signs("(12,50)"), Some((Some(','), None, None)));
        assert_eq!(signs("12,50-"), Some((Some(','), None, None)));
        assert_eq!(signs("-7"), Some((None, None, None)));
        for no in ["01 02 03 04", "1.2.3", "12a", "", "-", "1,23,4", "192.168.1.1", "+33 1 23 45 67 89"] {
            assert_eq!(signs(no), None, "{no}");
        }
        assert!(number("007").unwrap().leading_zero && !number("0,5").unwrap().leading_zero);
    }

    fn patterns(text: &str) -> Vec<&'static str> {
        let found = dates(&Reading::default(), text, !0);
        DATES.iter().enumerate().filter(|(i, _)| found & (1 << i) != 0).map(|(_, p)| *p).collect()
    }

    #[test]
    fn a_date_shows_every_pattern_that_reads_it() {
        assert_eq!(patterns("31/12/2025"), ["%d/%m/%Y"]);
        assert_eq!(patterns("03/04/2025"), ["%d/%m/%Y", "%m/%d/%Y"]);
        assert_eq!(patterns("2025-12-31"), ["%Y-%m-%d"]);
        assert_eq!(patterns("20251231"), ["%Y%m%d"]);
        assert_eq!(patterns("26.02.18"), ["%d.%m.%y"]);
        assert_eq!(patterns("12 Mar 2019"), ["%d %b %Y"]);
        assert_eq!(patterns("99999999"), [""; 0]);
        assert_eq!(exchanged("%d/%m/%Y").as_deref(), Some("%m/%d/%Y"));
        assert_eq!(exchanged("%Y-%m-%d"), None);
    }
}
