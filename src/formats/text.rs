//! How A and B write text: encodings, decimals, dates and booleans.
//!
//! Conversions are exact or refused: a text that does not fit its type, a byte that the encoding lacks and a
//! character that B's encoding lacks are told, never repaired in silence.

use std::borrow::Cow;
use std::io::{self, Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use oem_cp::code_table;
use rust_decimal::Decimal;

use crate::error::{Blame, Error, Result};
use crate::record::Value;

/// A character encoding: one of the WHATWG list, or an old PC code page that the list lacks.
#[derive(Clone, Copy)]
pub enum Charset {
    /// One of the WHATWG list.
    Whatwg(&'static Encoding),
    /// A PC code page: its name, and the characters of the bytes from 0x80 on.
    CodePage(&'static str, &'static [char; 128]),
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

static CODE_PAGES: &[(&str, &[char; 128])] = &[
    ("cp437", &code_table::DECODING_TABLE_CP437),
    ("cp850", &code_table::DECODING_TABLE_CP850),
    ("cp852", &code_table::DECODING_TABLE_CP852),
    ("cp858", &code_table::DECODING_TABLE_CP858),
];

impl Charset {
    /// The encoding of that label, in any case; `utf-8-sig` is UTF-8 (the mark is the writer's business).
    pub fn named(label: &str) -> Option<Self> {
        let lower = label.trim().to_ascii_lowercase();
        if lower == "utf-8-sig" {
            return Some(Charset::Whatwg(UTF_8));
        }
        let bare = lower.replacen("ibm", "cp", 1);
        if let Some((name, table)) = CODE_PAGES.iter().find(|(name, _)| *name == bare) {
            return Some(Charset::CodePage(name, table));
        }
        // Python and Java users write "latin-1" and "cp1252"; the WHATWG list spells them otherwise.
        Encoding::for_label(lower.as_bytes())
            .or_else(|| Encoding::for_label(lower.replacen("latin-", "latin", 1).as_bytes()))
            .or_else(|| Encoding::for_label(lower.replacen("cp", "windows-", 1).as_bytes()))
            .map(Charset::Whatwg)
    }
    /// The name shown to users.
    pub fn name(&self) -> String {
        match self {
            Charset::Whatwg(e) => e.name().to_lowercase(),
            Charset::CodePage(name, _) => (*name).to_owned(),
        }
    }
    /// UTF-8, the default.
    pub fn utf8() -> Self {
        Charset::Whatwg(UTF_8)
    }
    /// Whether each byte is one character and the first 128 are ASCII: then records may be cut before they are decoded.
    pub fn single_byte(&self) -> bool {
        match self {
            Charset::Whatwg(e) => e.is_single_byte(),
            Charset::CodePage(..) => true,
        }
    }
    /// Whether this is UTF-8.
    pub fn is_utf8(&self) -> bool {
        matches!(self, Charset::Whatwg(e) if *e == UTF_8)
    }
    /// Decodes `bytes` and appends them to `out`; the first byte that can't be decoded is returned, and the replacement character stands for it.
    pub fn decode_into(&self, bytes: &[u8], out: &mut String) -> Option<u8> {
        if self.is_utf8() {
            return match std::str::from_utf8(bytes) {
                Ok(text) => {
                    out.push_str(text);
                    None
                }
                Err(e) => {
                    out.push_str(&String::from_utf8_lossy(bytes));
                    Some(bytes[e.valid_up_to()])
                }
            };
        }
        if bytes.is_ascii() {
            // Every encoding that is decoded record by record has ASCII below 0x80.
            out.push_str(std::str::from_utf8(bytes).unwrap_or_default());
            return None;
        }
        match self {
            Charset::Whatwg(encoding) => {
                let (text, bad) = encoding.decode_without_bom_handling(bytes);
                out.push_str(&text);
                if bad { bytes.iter().copied().find(|b| *b >= 0x80) } else { None }
            }
            Charset::CodePage(_, table) => {
                out.extend(bytes.iter().map(|&byte| if byte < 0x80 { char::from(byte) } else { table[usize::from(byte) - 0x80] }));
                None
            }
        }
    }
}

/// What stands before the first byte of text, and what the rest is written in: a byte order mark wins over the configuration.
/// Encodings whose bytes are not ASCII-compatible (UTF-16, Shift-JIS, GB18030 …) come out as UTF-8, decoded on the way;
/// there a byte that can't be decoded becomes U+FFFD, which the readers refuse.
pub fn open(mut input: Box<dyn Read + Send>, charset: Charset) -> Result<(Box<dyn Read + Send>, Charset)> {
    let mut head = [0u8; 3];
    let mut n = 0;
    while n < 3 {
        match input.read(&mut head[n..]) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::file(format!("can't read: {}", crate::error::reason(&e))).blamed_on(Blame::Endpoint)),
        }
    }
    let (charset, skip) = match &head[..n] {
        [0xef, 0xbb, 0xbf] => (Charset::Whatwg(UTF_8), 3),
        [0xff, 0xfe, ..] => (Charset::Whatwg(UTF_16LE), 2),
        [0xfe, 0xff, ..] => (Charset::Whatwg(UTF_16BE), 2),
        _ => (charset, 0),
    };
    let rest = io::Cursor::new(head[skip..n].to_vec()).chain(input);
    match charset {
        Charset::Whatwg(e) if e != UTF_8 && !e.is_single_byte() => {
            let decoder = e.new_decoder_without_bom_handling();
            Ok((Box::new(Transcoder { input: Box::new(rest), decoder, bytes: vec![0; 64 * 1024], text: Vec::new(), at: 0, end: false }), Charset::utf8()))
        }
        _ => Ok((Box::new(rest), charset)),
    }
}

/// A stream in UTF-8 of a stream in another encoding.
struct Transcoder {
    input: Box<dyn Read + Send>,
    decoder: encoding_rs::Decoder,
    bytes: Vec<u8>,
    text: Vec<u8>,
    at: usize,
    end: bool,
}

impl Read for Transcoder {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() && !self.end {
            let n = self.input.read(&mut self.bytes)?;
            self.end = n == 0;
            self.text.resize(self.bytes.len() * 3 + 16, 0);
            let (_, _, written, _) = self.decoder.decode_to_utf8(&self.bytes[..n], &mut self.text, self.end);
            self.text.truncate(written);
            self.at = 0;
        }
        let n = to.len().min(self.text.len() - self.at);
        to[..n].copy_from_slice(&self.text[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Writes text in B's encoding.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The encoding.
    pub charset: Charset,
    /// A byte order mark stands first.
    pub mark: bool,
    /// Characters that the encoding lacks become `?` instead of rejecting the record.
    pub replace: bool,
}

impl Encoder {
    /// An encoder for the label as written in the configuration.
    pub fn named(label: &str, replace: bool) -> Option<Self> {
        let charset = Charset::named(label)?;
        let utf16 = matches!(charset, Charset::Whatwg(e) if e == UTF_16LE || e == UTF_16BE);
        Some(Self { charset, mark: utf16 || label.trim().eq_ignore_ascii_case("utf-8-sig"), replace })
    }
    /// The bytes that stand before all text.
    pub fn prefix(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.mark {
            // The mark is the same character in each of these encodings; it always encodes.
            let _ = self.encode("\u{feff}", &mut out);
        }
        out
    }
    /// Appends `text` to `out`, or says which character the encoding lacks; `out` may then hold a part of it.
    pub fn encode(&self, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
        let utf16 = match self.charset {
            Charset::Whatwg(e) if e == UTF_8 => {
                out.extend_from_slice(text.as_bytes());
                return Ok(());
            }
            Charset::Whatwg(e) if e == UTF_16LE => Some(u16::to_le_bytes as fn(u16) -> [u8; 2]),
            Charset::Whatwg(e) if e == UTF_16BE => Some(u16::to_be_bytes as fn(u16) -> [u8; 2]),
            _ => None,
        };
        if let Some(bytes) = utf16 {
            out.extend(text.encode_utf16().flat_map(bytes));
            return Ok(());
        }
        if text.is_ascii() {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        match self.charset {
            Charset::Whatwg(encoding) => self.encode_whatwg(encoding, text, out),
            Charset::CodePage(_, table) => {
                for c in text.chars() {
                    let high = || table.iter().position(|t| *t == c).and_then(|at| u8::try_from(at + 0x80).ok());
                    match u8::try_from(c).ok().filter(u8::is_ascii).or_else(high) {
                        Some(byte) => out.push(byte),
                        None if self.replace => out.push(b'?'),
                        None => return Err(c),
                    }
                }
                Ok(())
            }
        }
    }

    fn encode_whatwg(&self, encoding: &'static Encoding, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
        let mut encoder = encoding.new_encoder();
        let mut rest = text;
        loop {
            let start = out.len();
            let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len()).unwrap_or(rest.len() * 4 + 16);
            out.resize(start + room, 0);
            let (result, read, written) = encoder.encode_from_utf8_without_replacement(rest, &mut out[start..], true);
            out.truncate(start + written);
            rest = &rest[read..];
            match result {
                encoding_rs::EncoderResult::InputEmpty => return Ok(()),
                encoding_rs::EncoderResult::Unmappable(_) if self.replace => out.push(b'?'),
                encoding_rs::EncoderResult::Unmappable(c) => return Err(c),
                encoding_rs::EncoderResult::OutputFull => {}
            }
        }
    }
}

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
        let number = self.decimal(text)?;
        if number.fract().is_zero() && number.scale() == 0 { Ok(number) } else { Err(format!("{} is not a whole number", quoted(text))) }
    }

    /// The exact decimal that `text` stands for.
    pub fn decimal(&self, text: &str) -> Result<Decimal, String> {
        let fail = || format!("{} is not a number with {} as decimal sign", quoted(text), quoted(&self.decimal.to_string()));
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
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
                if group.is_some_and(|n| n != 3) {
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
        Date::strptime(pattern, text).map(Value::Date).map_err(|_| format!("{} is not a date of the form {pattern}", quoted(text)))
    }

    /// The day and time that `text` stands for, by `pattern` or ISO 8601.
    pub fn datetime(&self, text: &str, pattern: Option<&str>) -> Result<Value<'static>, String> {
        let fail = || match pattern {
            Some(pattern) => format!("{} is not a date and time of the form {pattern}", quoted(text)),
            None => format!("{} is not a date and time as in 2025-12-31T23:59:00", quoted(text)),
        };
        let Some(pattern) = pattern else {
            return iso_datetime(text).ok_or_else(fail);
        };
        let parts = BrokenDownTime::parse(pattern, text).map_err(|_| fail())?;
        let day = parts.to_datetime().or_else(|_| parts.to_date().map(|d| d.at(0, 0, 0, 0))).map_err(|_| fail())?;
        Ok(Value::DateTime(day, parts.offset()))
    }
}

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
            Value::Number(n) => Cow::Owned(self.signed(n.to_string())),
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
            Value::List(_) | Value::Map(_) => Cow::Owned(super::json::to_text(value, self)),
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

/// `parts` by a pattern that was checked when the configuration was read.
pub fn formatted(pattern: &str, parts: BrokenDownTime) -> String {
    parts.to_string(pattern).unwrap_or_default()
}

/// Why `pattern` is no pattern for dates, if so.
pub fn pattern_mistake(pattern: &str) -> Option<String> {
    let sample = with_offset(jiff::civil::date(2025, 12, 31).at(23, 59, 58, 0), Some(jiff::tz::Offset::UTC));
    if !pattern.contains('%') {
        return Some("it has no % directive, as in %d/%m/%Y".into());
    }
    strtime::BrokenDownTime::to_string(&sample, pattern).err().map(|e| e.to_string())
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
            (",5", "0.5"),
        ] {
            let Value::Number(n) = r.convert(Type::Decimal, text).unwrap() else { panic!("{text}") };
            assert_eq!(n.to_string(), wanted, "{text}");
        }
        for text in ["1.5", "1 23,5", "12 34", "1,2,3", "1e5", "-", ",", "douze", "12345678901234567890123456789"] {
            assert!(r.convert(Type::Decimal, text).is_err(), "{text}");
        }
        assert_eq!(r.convert(Type::Decimal, "  ").unwrap(), Value::Null);
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
        let (mut input, charset) = open(Box::new(io::Cursor::new(utf16)), Charset::named("windows-1252").unwrap()).unwrap();
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), charset.is_utf8()), ("é;1", true));
    }
}
