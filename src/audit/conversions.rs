//! The expressions by which one column could become another: each a guess, to be tried on the records of the samples.

use super::money;
use super::profile::{Kind, Profile};
use super::signs::Signs;
use super::spellings;
use crate::transform::filters::ascii;

/// An expression that could give a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The expression.
    pub expr: String,
    /// A's columns in it, by their places.
    pub sources: Vec<usize>,
    /// What it does, in words.
    pub does: String,
    /// How far it is from taking the value as it is.
    pub cost: u32,
    /// It gives a number or a boolean, and not a text.
    pub typed: bool,
}

impl Candidate {
    /// A candidate of one column.
    pub fn new(source: usize, expr: impl Into<String>, does: &str, cost: u32) -> Self {
        Self { expr: expr.into(), sources: vec![source], does: does.to_owned(), cost, typed: false }
    }

    pub(super) fn number(source: usize, expr: impl Into<String>, does: &str, cost: u32) -> Self {
        Self { typed: true, ..Self::new(source, expr, does, cost) }
    }
}

/// An expression and the pairs of records for which it gives what B holds.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The expression.
    pub candidate: Candidate,
    /// One for each pair: it gave B's value.
    pub right: Vec<bool>,
    /// The share of the pairs.
    pub share: f64,
}

/// The best first: what is right most often; of equals, the simplest with the likeliest name.
pub(super) fn sort(tried: &mut [Tried], likeness: impl Fn(&Candidate) -> f64) {
    let rank = |t: &Tried| {
        let step = (t.share * 200.0).round();
        (step, likeness(&t.candidate) * 6.0 - f64::from(t.candidate.cost))
    };
    tried.sort_by(|x, y| {
        let (x, y) = (rank(x), rank(y));
        y.0.total_cmp(&x.0).then(y.1.total_cmp(&x.1))
    });
}

/// The expression in brackets where a filter behind it would otherwise take only its last part.
pub(super) fn bracketed(expr: &str) -> String {
    if [" | ", " ~ ", " if "].iter().any(|operator| expr.contains(operator)) { format!("({expr})") } else { expr.to_owned() }
}

/// A text as an expression.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
}

/// A value of a column as an expression compares it: what is a number or a boolean by itself is no text.
pub fn literal_of(a: &Profile, value: &str) -> String {
    match a.kind {
        _ if !a.typed || value.is_empty() => literal(value),
        Kind::Integer | Kind::Decimal => value.to_owned(),
        Kind::Bool => value.to_lowercase(),
        _ => literal(value),
    }
}

/// Whether a column has one of these values, as an expression.
pub fn is_one_of(a: &Profile, values: &[&str]) -> String {
    let listed: Vec<String> = values.iter().map(|v| literal_of(a, v)).collect();
    // What may be missing is compared as if it were empty.
    let expr = if values.contains(&"") { format!("({} | default(''))", bracketed(&a.expr)) } else { a.expr.clone() };
    if let [one] = &listed[..] { format!("{expr} == {one}") } else { format!("{expr} in [{}]", listed.join(", ")) }
}

/// Texts that become texts: spaces, case, accents, parts.
pub fn texts(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let e = bracketed(&a.expr);
    let mut out = vec![
        Candidate::new(at, e.clone(), "as it is", 0),
        Candidate::new(at, format!("{e} | trim"), "without spaces around", 1),
        Candidate::new(at, format!("{e} | upper"), "in capitals", 2),
        Candidate::new(at, format!("{e} | lower"), "in small letters", 2),
        Candidate::new(at, format!("{e} | title"), "with capitals at the words' beginnings", 2),
        Candidate::new(at, format!("{e} | capitalize"), "with a capital at the beginning", 2),
        Candidate::new(at, format!("{e} | trim | upper"), "in capitals, without spaces around", 3),
        Candidate::new(at, format!("{e} | ascii"), "without accents", 2),
        Candidate::new(at, format!("{e} | ascii | upper"), "in capitals without accents", 3),
        Candidate::new(at, format!("{e} | ascii | lower"), "in small letters without accents", 3),
        Candidate::new(at, format!("{e} | regex_replace('[\\\\r\\\\n]+', ' ')"), "on one line", 3),
        Candidate::new(at, format!("{e} | regex_replace('\\\\s+', ' ') | trim"), "with single spaces", 3),
        Candidate::new(at, format!("{e} | replace(' ', '')"), "without spaces", 2),
        Candidate::new(at, format!("{e} | replace('-', ' ')"), "with spaces for hyphens", 3),
        Candidate::new(at, format!("{e} | replace('.', '')"), "without points", 3),
        Candidate::new(at, format!("{e} | replace('-', '')"), "without hyphens", 3),
        Candidate::new(at, format!("{e} | regex_replace('[^A-Za-z0-9]', '')"), "letters and digits alone", 4),
        Candidate::new(at, format!("{e} | ascii | upper | regex_replace('[^A-Z0-9]+', ' ') | trim"), "in capitals without accents and signs", 5),
        Candidate::new(at, format!("{e} | lower | regex_replace('[^a-z0-9]+', '-') | trim('-')"), "as part of an address", 5),
    ];
    // A number's digits without its sign or its decimals are another number, and other digits may stand in a text.
    let bare = !b.is_amount() && !a.examples.iter().any(|x| x.chars().any(char::is_alphabetic));
    out.push(Candidate::new(at, format!("{e} | digits"), "its digits alone", if bare { 2 } else { 7 }));
    let digits = |p: &Profile| !p.examples.is_empty() && p.examples.iter().all(|x| x.bytes().all(|c| c.is_ascii_digit()));
    if digits(b) && b.lengths.0 == b.lengths.1 && b.lengths.1 >= 3 && a.lengths.1 > b.lengths.1 {
        out.push(Candidate::new(at, format!("({e} | digits)[:{}]", b.lengths.1), "its first digits", 5));
        out.push(Candidate::new(at, format!("({e} | digits)[-{}:]", b.lengths.1), "its last digits", 5));
    }
    if b.lengths == (2, 2) && b.examples.iter().all(|x| x.ends_with('.')) {
        out.push(Candidate::new(at, format!("{e}[:1] ~ '.'"), "its initial", 3));
    }
    if b.lengths.1 > 0 && a.lengths.1 > b.lengths.1 {
        let n = b.lengths.1;
        // A number is found by its signs, and a word by the blank behind it, not by its place in a text.
        let spaced = |p: &Profile| p.examples.iter().any(|x| x.trim().contains(' '));
        let far = if b.is_amount() || (spaced(a) && !spaced(b)) { 4 } else { 0 };
        out.push(Candidate::new(at, format!("{e}[:{n}]"), "cut", 2 + far));
        out.push(Candidate::new(at, format!("({e} | trim)[:{n}]"), "cut, without spaces around", 3 + far));
        out.push(Candidate::new(at, format!("({e}[:{n}]) | trim"), "cut, without spaces around", 3 + far));
        out.push(Candidate::new(at, format!("{e}[-{n}:]"), "its end", 3 + far));
        out.push(Candidate::new(at, format!("{e}[:{n}] | upper"), "cut, in capitals", 4));
        for sign in [" ", ",", "-", "/", ";", "_", "@", "."] {
            if a.examples.iter().any(|x| x.contains(sign)) {
                let split = format!("{e} | split({})", literal(sign));
                for (part, does) in [("first", "the part before the sign"), ("last", "the part behind the sign")] {
                    out.push(Candidate::new(at, format!("{split} | {part} | trim"), does, 4));
                    for case in ["upper", "lower", "capitalize"] {
                        out.push(Candidate::new(at, format!("{split} | {part} | trim | {case}"), does, 5));
                    }
                }
                out.push(Candidate::new(at, format!("({split})[1:] | join({}) | trim", literal(sign)), "what follows the sign", 5));
            }
        }
    }
    out.extend(headed(at, &e, b));
    out.extend(money::bare(at, a, b));
    out.extend(money::dressed(at, a, b));
    out.extend(spellings::candidates(at, a, b));
    // Digits of one width, shorter ones filled up with zeros.
    if b.lengths.0 == b.lengths.1 && a.lengths.0 < b.lengths.1 && a.kind == Kind::Integer {
        out.push(Candidate::new(at, format!("'%0{}d' | format({e} | integer)", b.lengths.1), "filled up with zeros", 3));
    }
    if b.kind.is_number() && a.examples.iter().any(|x| x.starts_with('0')) {
        out.push(Candidate::number(at, format!("{e} | integer"), "as a number", 2));
    }
    if b.kind.is_number() && is_overpunched(a) {
        // Digits of another field may stand before it.
        let ends = [String::new()].into_iter().chain((8..=14).rev().filter(|n| *n < a.lengths.1).map(|n| format!("[-{n}:]")));
        for (k, end) in ends.enumerate() {
            for decimals in [2, 0, 3] {
                let n = format!("{e}{end} | overpunch({decimals})");
                let cost = 3 + k.min(2) as u32;
                out.push(Candidate::number(at, n.clone(), "with the sign in its last digit", cost));
                for factor in [10, 100, 1000] {
                    out.push(Candidate::number(at, format!("(({n}) * {factor}) | normalize"), "with the sign in its last digit, in another unit", cost + 1));
                }
            }
        }
    }
    out
}

/// Digits behind a text that is always the same: `K000301` of 301, `+33612345678` of `06 12 34 56 78`.
fn headed(at: usize, e: &str, b: &Profile) -> Vec<Candidate> {
    let mut out = Vec::new();
    let Some(first) = b.examples.first().filter(|_| b.examples.len() >= 2) else { return out };
    for n in (2..=4).filter(|n| first.starts_with('+') && first.is_char_boundary(*n)) {
        let head = &first[..n];
        if b.examples.iter().all(|x| x.starts_with(head)) {
            out.push(Candidate::new(at, format!("{} ~ ({e} | digits)[1:]", literal(head)), "with its country's number", 5));
            out.push(Candidate::new(at, format!("{} ~ ({e} | digits)", literal(head)), "with its country's number", 5));
        }
    }
    for head in ["00", "0", "1"] {
        if b.examples.iter().all(|x| x.starts_with(head) && x.bytes().all(|c| c.is_ascii_digit())) && b.lengths.1 >= 9 {
            for cut in ["", "[1:]", "[2:]"] {
                out.push(Candidate::new(at, format!("{} ~ ({e} | digits){cut}", literal(head)), "its digits behind B's", 5));
            }
            for country in 2..=4 {
                let known = first.get(..country).filter(|c| head == "00" && country > 2 && b.examples.iter().all(|x| x.starts_with(*c)));
                out.extend(known.map(|c| Candidate::new(at, format!("{} ~ ({e} | digits)[1:]", literal(c)), "with its country's number", 5)));
            }
        }
    }
    let pairs_with =
        |sign: char| b.examples.iter().all(|x| x.len() == 14 && x.chars().enumerate().all(|(i, c)| if i % 3 == 2 { c == sign } else { c.is_ascii_digit() }));
    if let Some(sign) = [' ', '.', '-', '/'].into_iter().find(|s| pairs_with(*s)) {
        let groups = (1..=5).map(|n| format!("\\{n}")).collect::<Vec<_>>().join(&sign.to_string());
        out.push(Candidate::new(at, format!("{e} | digits | regex_replace('(..)(..)(..)(..)(..)', {})", literal(&groups)), "its digits in pairs", 4));
    }
    let head: String = first.chars().take_while(|c| !c.is_ascii_digit()).collect();
    let tails: Option<Vec<&str>> =
        b.examples.iter().map(|x| x.strip_prefix(head.as_str()).filter(|t| !t.is_empty() && t.bytes().all(|c| c.is_ascii_digit()))).collect();
    if let Some(tails) = tails.filter(|_| !head.is_empty() && head.chars().count() <= 8) {
        out.push(Candidate::new(at, format!("{} ~ ({e} | digits)", literal(&head)), "its digits behind a text of B's", 4));
        let width = tails[0].len();
        if tails.iter().all(|t| t.len() == width) {
            let form = format!("{}%0{width}d", head.replace('%', "%%"));
            out.push(Candidate::new(
                at,
                format!("{} | format({e} | digits | integer)", literal(&form)),
                "its digits behind a text of B's, filled up with zeros",
                4,
            ));
        }
    }
    out
}

/// Days of which B wants a part: the month, the year.
pub fn periods(at: usize, a: &Profile, signs: &Signs) -> Vec<Candidate> {
    let day = bracketed(&day_of(a, signs));
    let patterns = [
        "%Y-%m", "%Y%m", "%m-%Y", "%m/%Y", "%Y/%m", "%m.%Y", "%Y", "%m", "%y%m", "%d%m", "%m%d", "%d/%m", "%d.%m", "%d.%m.", "%m/%y", "%y%m%d", "%d%m%y",
        "%d%m%Y", "%Y%m%d",
    ];
    patterns.iter().map(|p| Candidate::new(at, format!("{day} | strftime({})", literal(p)), "a part of its day", 3)).collect()
}

/// The expression that reads a column's days.
fn day_of(a: &Profile, signs: &Signs) -> String {
    let e = bracketed(&a.expr);
    match (a.kind, &a.pattern) {
        _ if a.typed => e,
        (Kind::Date, pattern) if *pattern == signs.dates => format!("{e} | date"),
        (Kind::Date, pattern) => format!("{e} | date({})", literal(pattern.as_deref().unwrap_or("%Y-%m-%d"))),
        (_, pattern) if *pattern == signs.datetimes => format!("{e} | datetime"),
        (_, pattern) => format!("{e} | datetime({})", literal(pattern.as_deref().unwrap_or("%Y-%m-%dT%H:%M:%S"))),
    }
}

/// Digits whose last one carries the sign, as CFONB and COBOL write them.
pub fn is_overpunched(a: &Profile) -> bool {
    !a.examples.is_empty()
        && a.examples.iter().all(|text| {
            let mut chars = text.trim().chars().rev();
            chars.next().is_some_and(|c| matches!(c, '{' | '}' | 'A'..='R')) && text.trim().len() > 1 && chars.take(6).all(|c| c.is_ascii_digit())
        })
}

/// Numbers that become numbers: their signs, decimals, factor, and the halves of debit and credit.
pub fn numbers(at: usize, a: &Profile, b: &Profile, factor: Option<&str>) -> Vec<Candidate> {
    let e = bracketed(&a.expr);
    let n = if a.kind == Kind::Integer && a.typed { e.clone() } else { format!("{e} | decimal") };
    let mut out = Vec::new();
    let mut forms = vec![(n.clone(), "as a number", 1)];
    if let Some(factor) = factor {
        forms.push((format!("({n}) {factor}"), "in another unit", 3));
    }
    let rounds: Vec<String> = match b.decimals {
        Some(d) => vec![String::new(), format!(" | round({d})")],
        None => vec![String::new(), " | normalize".into(), " | round(2)".into()],
    };
    if a.nulls > 0 {
        // What is missing counts as zero.
        for (k, round) in rounds.iter().enumerate() {
            out.push(Candidate::number(at, format!("{n} | default(0){round}"), "zero where there is none", 2 + k as u32));
        }
    }
    let negative = |t: &str| t.trim().starts_with(['-', '(', '\u{2212}']) || t.trim().ends_with('-');
    let negatives = a.examples.iter().chain(a.top.iter().map(|(t, _)| t)).any(|t| negative(t));
    for (form, does, cost) in &forms {
        // A quotient has as many decimals as it needs; B's have all the same.
        let quotient = *does == "in another unit" && b.decimals.is_some();
        let order: Vec<&String> = if quotient { rounds.iter().rev().collect() } else { rounds.iter().collect() };
        for (k, round) in order.into_iter().enumerate() {
            let cost = cost + k as u32;
            let value = if round.is_empty() { form.clone() } else { format!("({form}){round}") };
            let brief = if round.is_empty() || form.contains(' ') && form.starts_with('(') { value.clone() } else { format!("{form}{round}") };
            out.push(Candidate::number(at, brief, does, cost));
            out.push(Candidate::number(at, format!("({form}) | abs{round}"), "without its sign", cost + 2));
            out.push(Candidate::number(at, format!("(-({form})){round}"), "with the other sign", cost + 2));
            if b.nulls > 0 || b.top.iter().any(|(t, _)| t.trim_matches(['0', '.', ',']).is_empty()) {
                let plain = format!("({form}){round}");
                let turned = format!("(-({form})){round}");
                out.push(Candidate::number(at, format!("{turned} if ({form}) < 0 else ''"), "where it is negative, without its sign", cost + 3));
                // B's zero is written as its amounts are.
                let zero = |amount: &str, sign: &str| format!("({amount} if ({form}) {sign} 0 else 0){round}");
                out.push(Candidate::number(at, zero(&format!("-({form})"), "<"), "where it is negative, without its sign, else zero", cost + 3));
                if negatives {
                    out.push(Candidate::number(at, zero(form, ">"), "where it is positive, else zero", cost + 3));
                }
                out.push(Candidate::number(at, format!("{plain} if ({form}) >= 0 else ''"), "where it is not negative", cost + 3));
                out.push(Candidate::number(at, format!("{plain} if ({form}) > 0 else ''"), "where it is positive", cost + 3));
                out.push(Candidate::number(at, format!("{plain} if ({form}) < 0 else ''"), "where it is negative", cost + 4));
                out.push(Candidate::number(at, format!("{plain} if ({form}) else ''"), "where it is not zero", cost + 4));
            }
        }
    }
    if b.lengths.0 == b.lengths.1 && b.lengths.1 > 3 {
        let (width, decimals) = (b.lengths.1, b.decimals.unwrap_or(0));
        out.push(Candidate::new(at, format!("'%0{width}.{decimals}f' | format({n})"), "filled up with zeros", 4));
        out.push(Candidate::new(at, format!("'%0{width}.{decimals}f' | format(({n}) | abs)"), "filled up with zeros, without its sign", 5));
    }
    out
}

/// Days that become days, in B's pattern.
pub fn dates(at: usize, a: &Profile, b: &Profile, signs_a: &Signs, signs_b: &Signs) -> Vec<Candidate> {
    let e = bracketed(&a.expr);
    let read = day_of(a, signs_a);
    let pattern = b.pattern.clone().unwrap_or_else(|| if b.kind == Kind::Date { "%Y-%m-%d".into() } else { "%Y-%m-%dT%H:%M:%S".into() });
    let mut out = vec![Candidate::new(at, e.clone(), "as it is", 0)];
    if a.kind == b.kind && (b.pattern == if b.kind == Kind::Date { signs_b.dates.clone() } else { signs_b.datetimes.clone() }) {
        out.push(Candidate::new(at, read.clone(), "as a date", 1));
    }
    out.push(Candidate::new(at, format!("{} | strftime({})", bracketed(&read), literal(&pattern)), "as a date in B's form", 2));
    if b.lengths.0 != b.lengths.1 && b.kind == Kind::Date {
        let plain = pattern.replace("%d", "%-d").replace("%m", "%-m");
        out.push(Candidate::new(at, format!("{} | strftime({})", bracketed(&read), literal(&plain)), "as a date in B's form, without zeros before", 3));
    }
    if b.kind == Kind::Date && !b.typed {
        // What else B's values could mean: `250204` is a day in three orders, and A knows which.
        let reading = crate::formats::text::Reading::default();
        let fits = b.examples.iter().fold(!0, |fits, example| super::values::dates(&reading, example.trim(), fits));
        for other in super::values::DATES.iter().enumerate().filter(|(i, p)| fits & (1 << i) != 0 && **p != pattern).map(|(_, p)| p) {
            out.push(Candidate::new(at, format!("{} | strftime({})", bracketed(&read), literal(other)), "as a date in B's form", 3));
        }
    }
    if b.kind == Kind::DateTime && b.pattern.is_none() {
        let written = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.000Z", "%Y-%m-%dT%H:%M:%S+00:00"];
        for pattern in written {
            out.push(Candidate::new(at, format!("{} | strftime({})", bracketed(&read), literal(pattern)), "as a time in B's form", 3));
        }
    }
    // Where no value of A tells the day from the month, B's do.
    if let Some(other) = a.pattern.as_deref().filter(|_| a.kind == Kind::Date && !a.typed).and_then(super::values::exchanged) {
        out.push(Candidate::new(at, format!("{e} | date({}) | strftime({})", literal(&other), literal(&pattern)), "as a date with the month first or last", 3));
    }
    if a.kind == Kind::DateTime && a.pattern.is_none() && !a.typed {
        out.push(Candidate::new(at, format!("{e}[:10] | date('%Y-%m-%d') | strftime({})", literal(&pattern)), "its day", 3));
        out.push(Candidate::new(at, format!("{e}[:10]"), "its day", 2));
    }
    out
}

/// Digits that are days where B says so: `241007`, `07102024`, `10/2024`; a spreadsheet's numbers of days; months by name.
pub fn bare_dates(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let e = bracketed(&a.expr);
    let mut out = named_months(at, a, b);
    // From 1927 to 2118; a day of digits is larger or smaller.
    let serial = |x: &String| x.trim().replace(',', ".").parse::<f64>().is_ok_and(|n| (10_000.0..80_000.0).contains(&n));
    if a.kind.is_number() && !a.examples.is_empty() && a.examples.iter().all(serial) {
        let (filter, iso) = if b.kind == Kind::Date { ("date", "%Y-%m-%d") } else { ("datetime", "%Y-%m-%dT%H:%M:%S") };
        let pattern = b.pattern.as_deref().unwrap_or(iso);
        let read = format!("{e} | {filter}('excel') | strftime({})", literal(pattern));
        out.push(Candidate::new(at, read, "as a spreadsheet's number of a day", 4));
    }
    if a.lengths.0 != a.lengths.1 && !(a.kind == Kind::Integer && a.lengths.1 <= 8) {
        return out;
    }
    let pattern = b.pattern.as_deref().unwrap_or("%Y-%m-%d");
    let patterns: &[&str] = match a.lengths.1 {
        6 => &["%y%m%d", "%d%m%y", "%m%d%y"],
        8 => &["%Y%m%d", "%d%m%Y", "%m%d%Y"],
        _ => &[],
    };
    for own in patterns {
        // Zeros before are lost in a number.
        let text = if a.lengths.0 < a.lengths.1 { format!("('%0{}d' | format({e} | integer))", a.lengths.1) } else { e.clone() };
        out.push(Candidate::new(at, format!("{text} | date({}) | strftime({})", literal(own), literal(pattern)), "as a date of digits", 4));
    }
    out
}

/// The months as French and German programs write them, in small letters without accents.
const MONTHS: [[&str; 12]; 2] = [
    ["janvier", "fevrier", "mars", "avril", "mai", "juin", "juillet", "aout", "septembre", "octobre", "novembre", "decembre"],
    ["januar", "februar", "marz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november", "dezember"],
];

/// Days with their month by its name: `12 janvier 2025`, `12. März 2025`, `12-Jan-2025`.
fn named_months(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let e = bracketed(&a.expr);
    let pattern = b.pattern.as_deref().unwrap_or("%Y-%m-%d");
    let mut out = Vec::new();
    if !a.examples.iter().any(|x| x.chars().any(char::is_alphabetic) && x.chars().any(|c| c.is_ascii_digit())) {
        return out;
    }
    for own in ["%d %B %Y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y"] {
        let read = format!("{e} | date({}) | strftime({})", literal(own), literal(pattern));
        out.push(Candidate::new(at, read, "as a date with its month by name", 4));
    }
    let plain = |x: &String| ascii(x).to_lowercase();
    for months in MONTHS.iter().filter(|months| a.examples.iter().all(|x| plain(x).split(' ').nth(1).is_some_and(|m| months.contains(&m)))) {
        let numbers: Vec<String> = months.iter().enumerate().map(|(n, name)| format!("'{name}': '{:02}'", n + 1)).collect();
        let parts = format!("({e} | split(' '))");
        let month = format!("{{{}}}[{parts}[1] | ascii | lower]", numbers.join(", "));
        let day = format!("({parts}[2] ~ '-' ~ {month} ~ '-' ~ ('%02d' | format({parts}[0] | replace('.', '') | integer)))");
        let does = "as a date with its month by name";
        out.push(Candidate::new(at, format!("{day} | date('%Y-%m-%d') | strftime({})", literal(pattern)), does, 5));
    }
    out
}

/// A month and a year that change places: `10/2024` is `2024-10`.
pub fn months(at: usize, a: &Profile, b: &Profile) -> Vec<Candidate> {
    let month_first = |p: &Profile| !p.examples.is_empty() && p.examples.iter().all(|x| x.len() == 7 && !x.as_bytes()[2].is_ascii_digit() && x.is_ascii());
    let year_first = |p: &Profile| {
        !p.examples.is_empty() && p.examples.iter().all(|x| x.is_ascii() && matches!(x.len(), 6 | 7) && x.as_bytes()[..4].iter().all(u8::is_ascii_digit))
    };
    let e = bracketed(&a.expr);
    let sign = |p: &Profile, at: usize| {
        p.examples.first().and_then(|x| x.get(at..at + 1)).filter(|s| !s.as_bytes()[0].is_ascii_digit()).unwrap_or_default().to_owned()
    };
    let mut out = Vec::new();
    if month_first(a) && year_first(b) {
        let between = sign(b, 4);
        out.push(Candidate::new(at, format!("{e}[3:] ~ {} ~ {e}[:2]", literal(&between)), "its year and its month", 4));
    } else if year_first(a) && month_first(b) {
        let between = sign(b, 2);
        out.push(Candidate::new(at, format!("{e}[-2:] ~ {} ~ {e}[:4]", literal(&between)), "its month and its year", 4));
    }
    out
}

/// Lists that become a text.
pub fn lists(at: usize, a: &Profile) -> Vec<Candidate> {
    let e = bracketed(&a.expr);
    let mut out = vec![Candidate::new(at, format!("{e} | first"), "its first element", 1)];
    for sign in [" ", ", ", ",", ";", " / ", "|"] {
        out.push(Candidate::new(at, format!("{e} | join({})", literal(sign)), "its elements together", 2));
    }
    out.push(Candidate::new(at, format!("{e} | join(' ') | regex_replace('\\\\s+', ' ') | trim"), "its elements together, with single spaces", 3));
    out
}

/// The factor between two units, as an expression behind a number.
pub fn factor(ratios: &[f64]) -> Option<&'static str> {
    const FACTORS: &[(f64, &str)] = &[
        (100.0, "* 100"),
        (1000.0, "* 1000"),
        (10.0, "* 10"),
        (0.01, "/ 100"),
        (0.001, "/ 1000"),
        (0.1, "/ 10"),
        (60.0, "* 60"),
        (12.0, "* 12"),
        (1.2, "* 1.2"),
        (1.0 / 1.2, "/ 1.2"),
    ];
    if ratios.is_empty() {
        return None;
    }
    FACTORS.iter().find(|(f, _)| ratios.iter().filter(|r| (**r / f - 1.0).abs() < 0.006).count() * 10 >= ratios.len() * 9).map(|(_, text)| *text)
}
