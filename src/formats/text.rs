//! How A and B write text: encodings, decimals, dates and booleans.
//!
//! Conversions are exact or refused: a text that does not fit its type, a byte that the encoding lacks and a
//! character that B's encoding lacks are told, never repaired in silence.

mod fast;

pub use super::charset::{Charset, Encoder, Lossy, REPLACED, open, utf8};

use std::borrow::Cow;

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use rust_decimal::Decimal;

use crate::error::Result;
use crate::record::Value;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// As it stands.
    Text,
    /// A whole number.
    Integer,
    /// An exact decimal.
    Decimal,
    /// A day.
    Date,
    /// A day and a time.
    DateTime,
    /// True or false.
    Bool,
}

/// The names of the types in the configuration.
pub const TYPES: &[&str] = &["text", "integer", "decimal", "date", "datetime", "bool"];

impl Type {
    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Type::Text,
            "integer" => Type::Integer,
            "decimal" => Type::Decimal,
            "date" => Type::Date,
            "datetime" => Type::DateTime,
            "bool" => Type::Bool,
            _ => return None,
        })
    }
}

/// How A writes numbers, dates and booleans.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The decimal sign.
    pub decimal: char,
    /// The sign between groups of three digits; a space also stands for U+00A0 and U+202F.
    pub thousands: Option<char>,
    /// The pattern of dates; none is ISO 8601.
    pub dates: Option<String>,
    /// The pattern of dates with time; none is ISO 8601.
    pub datetimes: Option<String>,
    /// The texts for true and for false.
    pub bools: (Vec<String>, Vec<String>),
}

impl Default for Reading {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
        Self { decimal: '.', thousands: None, dates: None, datetimes: None, bools: (words(&["true", "1"]), words(&["false", "0"])) }
    }
}

impl Reading {
    /// The value of `text` as `kind`; blank is null. `Err` is the reason why it does not fit.
    pub fn convert<'r>(&self, kind: Type, text: &'r str) -> Result<Value<'r>, String> {
        if kind == Type::Text {
            return Ok(Value::text(text));
        }
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Value::Null);
        }
        match kind {
            Type::Text => Ok(Value::text(text)),
            Type::Decimal => self.decimal(trimmed).map(Value::Number),
            Type::Integer => self.integer(trimmed).map(Value::Number),
            Type::Date => self.date(trimmed, self.dates.as_deref()),
            Type::DateTime => self.datetime(trimmed, self.datetimes.as_deref()),
            Type::Bool => self.boolean(trimmed),
        }
    }

    /// The boolean that `text` stands for.
    pub fn boolean(&self, text: &str) -> Result<Value<'static>, String> {
        let is = |words: &[String]| words.iter().any(|w| w == text);
        if is(&self.bools.0) {
            Ok(Value::Bool(true))
        } else if is(&self.bools.1) {
            Ok(Value::Bool(false))
        } else {
            Err(format!("{} is neither {} nor {}", quoted(text), self.bools.0.join(", "), self.bools.1.join(", ")))
        }
    }

    /// The whole number that `text` stands for.
    pub fn integer(&self, text: &str) -> Result<Decimal, String> {
        let number = self.decimal(text).map_err(|_| format!("{} is not a whole number", quoted(text)))?;
        if number.fract().is_zero() && number.scale() == 0 { Ok(number) } else { Err(format!("{} is not a whole number", quoted(text))) }
    }

    /// The exact decimal that `text` stands for.
    pub fn decimal(&self, text: &str) -> Result<Decimal, String> {
        if let (true, Ok(sign)) = (self.decimal.is_ascii(), u8::try_from(self.decimal))
            && let Some(n) = fast::decimal(text.as_bytes(), sign)
        {
            return Ok(n);
        }
        let fail = || format!("{} is not a number with {} as decimal sign", quoted(text), quoted(&self.decimal.to_string()));
        // Accountants put what is negative in brackets, and some programs put the minus behind.
        let bracketed = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).map(str::trim);
        let behind = text.strip_suffix('-').filter(|t| !t.starts_with(['-', '+']));
        let (negative, digits) = match (bracketed.or(behind), text.as_bytes().first()) {
            (Some(amount), _) => (true, amount.trim_end()),
            (None, Some(b'-')) => (true, text[1..].trim_start()),
            (None, Some(b'+')) => (false, &text[1..]),
            (None, _) => (false, text),
        };
        let mut plain = String::with_capacity(digits.len() + 1);
        if negative {
            plain.push('-');
        }
        let mut group: Option<usize> = None; // digits since the last thousands sign
        let mut fraction = false;
        let mut any = false;
        for c in digits.chars() {
            if c.is_ascii_digit() {
                any = true;
                plain.push(c);
                group = group.map(|n| n + 1);
            } else if c == self.decimal && !fraction {
                if group.is_some_and(|n| n != 3) {
                    return Err(fail());
                }
                group = None;
                fraction = true;
                plain.push('.');
            } else if self.is_thousands(c) && !fraction && any {
                // Before the first sign stand one to three digits and no zero: 0.567 and 1234.567 have a decimal sign.
                let first = plain.trim_start_matches('-');
                if group.map_or(first.len() > 3 || first.starts_with('0'), |n| n != 3) {
                    return Err(fail());
                }
                group = Some(0);
            } else {
                return Err(fail());
            }
        }
        if !any || group.is_some_and(|n| n != 3) {
            return Err(fail());
        }
        let plain = plain.trim_end_matches('.');
        let significant = plain.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count();
        let exact = if significant > 28 { None } else { Decimal::from_str_exact(plain).ok() };
        exact.ok_or_else(|| format!("{} has more than 28 digits", quoted(text)))
    }

    fn is_thousands(&self, c: char) -> bool {
        match self.thousands {
            Some(' ') => matches!(c, ' ' | '\u{a0}' | '\u{202f}'),
            Some(sign) => c == sign,
            None => false,
        }
    }

    /// The day that `text` stands for, by `pattern` or ISO 8601.
    pub fn date(&self, text: &str, pattern: Option<&str>) -> Result<Value<'static>, String> {
        let pattern = pattern.unwrap_or("%Y-%m-%d");
        if pattern == SERIAL {
            return self.serial(text).and_then(|n| from_serial(n, Type::Date));
        }
        if pattern == SECONDS
            && let Value::DateTime(at, _) = self.datetime(text, Some(pattern))?
        {
            return Ok(Value::Date(at.date()));
        }
        if let Some(t) = fast::date_time(pattern, text)
            && t.time() == jiff::civil::Time::midnight()
        {
            return Ok(Value::Date(t.date()));
        }
        let date = Date::strptime(pattern, text).ok().filter(|d| has_century(pattern, d.year()) && is_full(pattern, text));
        date.map(Value::Date).ok_or_else(|| format!("{} is not a date of the form {pattern}", quoted(text)))
    }

    /// The day and time that `text` stands for, by `pattern` or ISO 8601.
    pub fn datetime(&self, text: &str, pattern: Option<&str>) -> Result<Value<'static>, String> {
        let fail = || match pattern {
            Some(pattern) => format!("{} is not a date and time of the form {pattern}", quoted(text)),
            None => format!("{} is not a date and time as in 2025-12-31T23:59:00", quoted(text)),
        };
        // A leap second, which would be read as the second before it.
        let leaps =
            |at: usize| text[..at].bytes().rev().take(3).zip([0, 0, b':']).all(|(c, wanted)| if wanted == 0 { c.is_ascii_digit() } else { c == wanted });
        if pattern.is_none_or(|p| p.contains("%M:%S")) && text.find(":60").is_some_and(leaps) {
            return Err(fail());
        }
        let Some(pattern) = pattern else {
            return iso_datetime(text).ok_or_else(fail);
        };
        if pattern == SERIAL {
            return self.serial(text).and_then(|n| from_serial(n, Type::DateTime));
        }
        if pattern == SECONDS {
            return self.serial(text).ok().and_then(from_seconds).ok_or_else(fail);
        }
        if let Some(t) = fast::date_time(pattern, text) {
            return Ok(Value::DateTime(t, None));
        }
        let parts = BrokenDownTime::parse(pattern, text).map_err(|_| fail())?;
        let day = parts.to_datetime().or_else(|_| parts.to_date().map(|d| d.at(0, 0, 0, 0))).map_err(|_| fail())?;
        if has_century(pattern, day.year()) && is_full(pattern, text) { Ok(Value::DateTime(day, parts.offset())) } else { Err(fail()) }
    }

    /// A spreadsheet's number of days: as A writes numbers, or as a sheet's own cell shows itself.
    fn serial(&self, text: &str) -> Result<Decimal, String> {
        self.decimal(text).or_else(|why| fast::decimal(text.as_bytes(), b'.').ok_or(why))
    }
}

/// Whether a year that was read by `%Y` has four digits: 25 is no year of anybody's export.
fn has_century(pattern: &str, year: i16) -> bool {
    year >= 1000 || !pattern.contains("%Y")
}

/// Whether numbers that stand without a sign between them have all their digits: 50112 is no day of the form %y%m%d, since
/// it may be one of two. What stands behind a part of another kind is not looked at.
fn is_full(pattern: &str, text: &str) -> bool {
    let (mut codes, mut rest) = (pattern.as_bytes(), text.trim_start().as_bytes());
    loop {
        let mut widths = Vec::new();
        while let [b'%', code, after @ ..] = codes
            && let Some(width) = width_of(*code)
        {
            widths.push(width);
            codes = after;
        }
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        match widths[..] {
            [] => {}
            [width] => rest = &rest[digits.min(width)..],
            _ if digits < widths.iter().sum() => return false,
            _ => rest = &rest[widths.iter().sum::<usize>()..],
        }
        match (codes, rest) {
            ([b'%', ..] | [], _) => return true,
            ([literal, after @ ..], [found, others @ ..]) if literal == found => (codes, rest) = (after, others),
            _ => return true,
        }
    }
}

/// How many digits a part of a date has that is always a number.
fn width_of(code: u8) -> Option<usize> {
    match code {
        b'Y' => Some(4),
        b'y' | b'm' | b'd' | b'H' | b'M' | b'S' => Some(2),
        b'j' => Some(3),
        _ => None,
    }
}

/// The date that a spreadsheet's number of days stands for: day 1 is 1900-01-01, and 1900 counts as a leap year.
pub fn from_serial(n: Decimal, kind: Type) -> Result<Value<'static>, String> {
    use rust_decimal::prelude::ToPrimitive;
    let fail = || format!("{n} is no date of a spreadsheet, which counts the days since 1900");
    let days = n.trunc().to_i64().filter(|d| (1..=2_958_465).contains(d)).ok_or_else(fail)?;
    // The day that never was, 1900-02-29, is 60: what comes before it stands one day later.
    let origin = if days < 60 { jiff::civil::date(1899, 12, 31) } else { jiff::civil::date(1899, 12, 30) };
    let date = origin.checked_add(jiff::Span::new().days(days)).map_err(|_| fail())?;
    let millis = (n.fract() * Decimal::from(86_400_000)).round().to_i64().unwrap_or(0);
    if kind == Type::Date {
        return Ok(Value::Date(date));
    }
    let time = date.at(0, 0, 0, 0).checked_add(jiff::Span::new().milliseconds(millis)).map_err(|_| fail())?;
    Ok(Value::DateTime(time, None))
}

/// The pattern that stands for a spreadsheet's number of days.
pub const SERIAL: &str = "excel";
/// The pattern of the seconds since 1970, in UTC, as programs count them.
pub const SECONDS: &str = "%s";

fn iso_datetime(text: &str) -> Option<Value<'static>> {
    for pattern in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"] {
        for zone in ["", "%:z", "%z"] {
            let Ok(parts) = BrokenDownTime::parse(format!("{pattern}{zone}").as_str(), text) else { continue };
            let day = parts.to_datetime().or_else(|_| parts.to_date().map(|d| d.at(0, 0, 0, 0))).ok()?;
            return Some(Value::DateTime(day, parts.offset()));
        }
    }
    let utc = text.strip_suffix('Z')?;
    match iso_datetime(utc)? {
        Value::DateTime(day, None) => Some(Value::DateTime(day, Some(jiff::tz::Offset::UTC))),
        _ => None,
    }
}

/// How B wants numbers, dates and booleans written.
#[derive(Clone, Debug)]
pub struct Style {
    /// The decimal sign.
    pub decimal: char,
    /// The pattern of dates; none is ISO 8601.
    pub dates: Option<String>,
    /// The pattern of dates with time; none is ISO 8601.
    pub datetimes: Option<String>,
    /// The texts for true and for false; none is `true`, `false` (and JSON's own).
    pub bools: Option<(String, String)>,
}

impl Default for Style {
    fn default() -> Self {
        Self { decimal: '.', dates: None, datetimes: None, bools: None }
    }
}

impl Style {
    /// The text of `value`, empty for null. Lists and maps are written as JSON.
    pub fn text<'v>(&'v self, value: &'v Value<'_>) -> Cow<'v, str> {
        match value {
            Value::Null => Cow::Borrowed(""),
            Value::Text(t) => Cow::Borrowed(t),
            Value::Number(n) => {
                let mut out = String::with_capacity(24);
                fast::push_decimal(&mut out, *n, self.decimal);
                Cow::Owned(out)
            }
            Value::Digits(d) if self.decimal == '.' => Cow::Borrowed(d),
            Value::Digits(d) => Cow::Owned(self.signed(d.to_string())),
            Value::Bool(b) => match (&self.bools, b) {
                (Some((yes, _)), true) => Cow::Borrowed(yes),
                (Some((_, no)), false) => Cow::Borrowed(no),
                (None, true) => Cow::Borrowed("true"),
                (None, false) => Cow::Borrowed("false"),
            },
            Value::Date(d) => Cow::Owned(match &self.dates {
                None => d.to_string(),
                Some(pattern) => formatted(pattern, BrokenDownTime::from(*d)),
            }),
            Value::DateTime(d, offset) => Cow::Owned(match &self.datetimes {
                None => format!("{d}{}", offset.map(offset_text).unwrap_or_default()),
                Some(pattern) => formatted(pattern, with_offset(*d, *offset)),
            }),
            Value::Nodes(nodes) => match nodes.scalar() {
                Value::Text(text) => text,
                typed => Cow::Owned(self.text(&typed).into_owned()),
            },
            Value::List(_) | Value::Map(_) => Cow::Owned(super::json::to_text(value, self)),
        }
    }

    /// Adds the text of `value`; the same as [`Style::text`] without making it first.
    pub fn push(&self, out: &mut String, value: &Value<'_>) {
        match value {
            Value::Text(t) => out.push_str(t),
            Value::Number(n) => fast::push_decimal(out, *n, self.decimal),
            Value::Date(d) if fast::push_date_time(out, self.dates.as_deref().unwrap_or("%Y-%m-%d"), d.at(0, 0, 0, 0)) => {}
            other => out.push_str(&self.text(other)),
        }
    }

    fn signed(&self, text: String) -> String {
        if self.decimal == '.' { text } else { text.replacen('.', self.decimal.encode_utf8(&mut [0; 4]), 1) }
    }
}

/// A day, a time and an offset as `strftime` takes them.
pub fn with_offset(d: DateTime, offset: Option<jiff::tz::Offset>) -> BrokenDownTime {
    let mut parts = BrokenDownTime::from(d);
    parts.set_offset(offset);
    parts
}

fn offset_text(offset: jiff::tz::Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn from_seconds(seconds: Decimal) -> Option<Value<'static>> {
    let whole = seconds.floor();
    let nanos = i32::try_from(((seconds - whole) * Decimal::from(1_000_000_000)).trunc()).ok()?;
    let at = jiff::Timestamp::new(i64::try_from(whole).ok()?, nanos).ok()?;
    Some(Value::DateTime(jiff::tz::Offset::UTC.to_datetime(at), Some(jiff::tz::Offset::UTC)))
}

/// `parts` by a pattern that was checked when the configuration was read.
pub fn formatted(pattern: &str, mut parts: BrokenDownTime) -> String {
    if pattern == SECONDS {
        parts.set_offset(Some(parts.offset().unwrap_or(jiff::tz::Offset::UTC)));
        return parts.to_timestamp().map(|at| at.as_second().to_string()).unwrap_or_default();
    }
    // A zone that the value does not have leaves the rest as it is.
    parts.to_string(pattern).or_else(|_| parts.to_string(pattern.replace("%:z", "").replace("%z", "").trim_end())).unwrap_or_default()
}

/// Why `pattern` is no pattern for dates, if so.
pub fn pattern_mistake(pattern: &str) -> Option<String> {
    if matches!(pattern, SERIAL | SECONDS) {
        return None;
    }
    let offset = pattern.contains("%z") || pattern.contains("%:z");
    let sample = with_offset(jiff::civil::date(2025, 12, 31).at(23, 59, 58, 0), offset.then_some(jiff::tz::Offset::UTC));
    if pattern.contains("%Q") {
        return Some("%Q is a time zone's name, which no value has here".into());
    }
    if !pattern.contains('%') {
        return Some("it has no % directive, as in %d/%m/%Y".into());
    }
    strtime::BrokenDownTime::to_string(&sample, pattern).err().map(|e| e.to_string())
}

/// Whether a day can be read by a pattern that has no mistake: it must hold day, month and year.
pub fn reads_a_day(pattern: &str) -> bool {
    let day = jiff::civil::date(2025, 12, 31);
    let text = formatted(pattern, with_offset(day.at(23, 59, 58, 0), Some(jiff::tz::Offset::UTC)));
    matches!(pattern, SERIAL | SECONDS) || BrokenDownTime::parse(pattern, &text).ok().and_then(|parts| parts.to_date().ok()) == Some(day)
}

/// Text as it is quoted in messages: cut when long, control characters escaped.
pub fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("\"{}\"", crate::error::shown_bytes(short.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read};

    fn french() -> Reading {
        Reading { decimal: ',', thousands: Some(' '), dates: Some("%d/%m/%Y".into()), ..Reading::default() }
    }

    #[test]
    fn decimals_are_read_exactly_or_refused() {
        let r = french();
        for (text, wanted) in [
            ("1234,50", "1234.50"),
            (" -0,05 ", "-0.05"),
            ("+7", "7"),
            ("1 234 567,8", "1234567.8"),
            ("1\u{202f}234,50", "1234.50"),
            ("12,", "12"),
            ("(12,50)", "-12.50"),
            ("( 1 234,50 )", "-1234.50"),
            ("12,50-", "-12.50"),
            ("- 12,50", "-12.50"),
            (",5", "0.5"),
        ] {
            let Value::Number(n) = r.convert(Type::Decimal, text).unwrap() else { panic!("{text}") };
            assert_eq!(n.to_string(), wanted, "{text}");
        }
        for text in ["1.5", "1 23,5", "12 34", "1,2,3", "1e5", "-", ",", "()", "(-1)", "-1-", "(1", "--1", "douze", "12345678901234567890123456789"] {
            assert!(r.convert(Type::Decimal, text).is_err(), "{text}");
        }
        assert_eq!(r.convert(Type::Decimal, "  ").unwrap(), Value::Null);
        let german = Reading { decimal: ',', thousands: Some('.'), ..Reading::default() };
        for (text, wanted) in [
            ("1.234,5", Some("1234.5")),
            ("-12.345.678", Some("-12345678")),
            ("0.567", None),
            ("000.500", None),
            ("01.234", None),
            ("1234.567", None),
            ("1.23", None),
        ] {
            let got = german.convert(Type::Decimal, text).ok();
            assert_eq!(got.map(|v| Style::default().text(&v).into_owned()).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn a_date_of_digits_alone_has_them_all() {
        for (pattern, text, wanted) in [
            ("%y%m%d", "050112", Some("2005-01-12")),
            ("%y%m%d", "50112", None),
            ("%Y%m%d", "20251203", Some("2025-12-03")),
            ("%Y%m%d", "2025123", None),
            ("%d/%m/%Y", "1/2/2025", Some("2025-02-01")),
            ("D%d%m%y", "D010225", Some("2025-02-01")),
            ("D%d%m%y", "D10225", None),
            ("%d-%b-%Y", "1-Feb-2025", Some("2025-02-01")),
            ("%d.%m.%y", "1.2.25", Some("2025-02-01")),
        ] {
            let r = Reading { dates: Some(pattern.into()), ..Reading::default() };
            let got = r.convert(Type::Date, text).ok();
            assert_eq!(got.map(|v| Style::default().text(&v).into_owned()).as_deref(), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_sheets_number_of_days_is_read_whatever_the_decimal_sign_of_texts() {
        let r = Reading { decimal: ',', datetimes: Some(SERIAL.into()), ..Reading::default() };
        for text in ["45000.5", "45000,5"] {
            assert_eq!(Style::default().text(&r.convert(Type::DateTime, text).unwrap()), "2023-03-15T12:00:00", "{text}");
        }
    }

    #[test]
    fn dates_follow_the_pattern_of_a() {
        let r = french();
        assert_eq!(r.convert(Type::Date, "31/12/2025").unwrap(), Value::Date(jiff::civil::date(2025, 12, 31)));
        assert_eq!(r.convert(Type::Date, "31/02/2025").unwrap_err(), "\"31/02/2025\" is not a date of the form %d/%m/%Y");
        assert!(Reading::default().convert(Type::Date, "2025-12-31T10:00").is_err());
    }

    #[test]
    fn datetimes_keep_their_offset() {
        let r = Reading::default();
        for (text, wanted) in [
            ("2018-02-25 12:34:56 +0000", None),
            ("2018-02-25T12:34:56Z", Some("2018-02-25T12:34:56+00:00")),
            ("2018-02-25 12:34:56.25+02:00", Some("2018-02-25T12:34:56.25+02:00")),
            ("2018-02-25", Some("2018-02-25T00:00:00")),
        ] {
            let got = r.convert(Type::DateTime, text).ok().map(|v| Style::default().text(&v).into_owned());
            assert_eq!(got.as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn every_code_page_of_the_contract_reads_and_writes_french() {
        for label in ["cp437", "cp850", "cp852", "cp858", "cp866", "windows-1252", "iso-8859-15", "latin-1", "UTF-8", "utf-16le"] {
            let encoder = Encoder::named(label, false).unwrap_or_else(|| panic!("{label}"));
            let mut bytes = Vec::new();
            let text = if label == "cp866" { "Привет" } else { "Société é" };
            encoder.encode(text, &mut bytes).unwrap_or_else(|c| panic!("{label}: {c}"));
            if !label.starts_with("utf-16") {
                let mut back = String::new();
                assert_eq!(encoder.charset.decode_into(&bytes, &mut back), None);
                assert_eq!(back, text, "{label}");
            }
        }
        let mut bytes = Vec::new();
        Encoder::named("cp850", false).unwrap().encode("é", &mut bytes).unwrap();
        assert_eq!(bytes, [0x82]);
        assert_eq!(Encoder::named("cp850", false).unwrap().encode("€", &mut bytes), Err('€'));
        assert_eq!(Encoder::named("windows-1252", false).unwrap().encode("a→b", &mut bytes), Err('→'));
    }

    #[test]
    fn a_byte_order_mark_wins_over_the_configuration() {
        let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("é;1".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let (mut input, charset, _) = open(Box::new(io::Cursor::new(utf16)), Charset::named("windows-1252").unwrap()).unwrap();
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), charset.is_utf8()), ("é;1", true));
    }
}
