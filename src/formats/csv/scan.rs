//! The CSV scanner: cuts bytes into fields, and refuses what it can't cut without changing a value.

use std::io::Read;

use memchr::{memchr, memchr2, memchr3};

use super::super::text::{self, Charset};
use super::super::{CHUNK_BYTES, Input};
use crate::error::{Error, Result};
use crate::options::Options;

#[derive(Clone, Debug, Default)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// The bytes of the delimiter behind its first one: most have none.
    pub(super) delimiter_rest: Vec<u8>,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
    pub(super) terminator: Option<Vec<u8>>,
    pub(super) trim: bool,
    /// Nothing but a delimiter of one byte and the usual line ends ends a plain field.
    simple: bool,
    pub(super) extra: bool,
    pub(super) optional: bool,
}

impl Dialect {
    pub(super) fn new(o: &Options, charset: Charset) -> Result<Self> {
        let byte = |key: &str| -> Result<Option<u8>> {
            let Some(c) = o.char(key) else { return Ok(None) };
            let mut bytes = Vec::new();
            let encoder = text::Encoder { charset, mark: false, replace: false };
            match (encoder.encode(&c.to_string(), &mut bytes), bytes.as_slice()) {
                (Ok(()), [byte]) => Ok(Some(*byte)),
                _ => Err(Error::config(format!("{key} = {} is not one byte in {}", text::quoted(&c.to_string()), charset.name()))),
            }
        };
        let mut delimiter = Vec::new();
        let sign = o.char("delimiter").unwrap_or(',');
        if (text::Encoder { charset, mark: false, replace: false }).encode(&sign.to_string(), &mut delimiter).is_err() || delimiter.is_empty() {
            return Err(Error::config(format!("delimiter = {} does not exist in {}", text::quoted(&sign.to_string()), charset.name())));
        }
        let terminator = terminator(o, charset);
        let simple = delimiter.len() == 1 && !o.flag("trim") && o.char("escape").is_none() && terminator.is_none();
        Ok(Self {
            simple,
            delimiter: delimiter[0],
            delimiter_rest: delimiter.split_off(1),
            quote: byte("quote")?,
            escape: byte("escape")?,
            comment: byte("comment")?,
            terminator,
            trim: o.flag("trim"),
            extra: o.flag("allow_extra_columns"),
            optional: o.flag("allow_optional_columns"),
        })
    }
}

/// The bytes that end lines where `line_ending` says so.
pub(in crate::formats) fn terminator(o: &Options, charset: Charset) -> Option<Vec<u8>> {
    let text = o.text("line_ending").filter(|t| !t.is_empty())?;
    let mut bytes = Vec::new();
    // What the encoding lacks can't stand in the file: then no line ends there, and the file is one line.
    let _ = text::Encoder { charset, mark: false, replace: false }.encode(&text, &mut bytes);
    Some(bytes)
}

impl Dialect {
    /// Whether the delimiter stands at the start of `bytes`.
    fn delimits(&self, bytes: &[u8]) -> bool {
        bytes.first() == Some(&self.delimiter) && (self.delimiter_rest.is_empty() || bytes[1..].starts_with(&self.delimiter_rest))
    }
}

/// What the scanner found at the start of the buffer.
pub(super) enum Scan {
    /// The record needs more bytes than there are.
    More,
    /// A record of so many bytes.
    Record(usize),
    /// A record of so many bytes with text after the closing quote of this field (from 1).
    Stray(usize, usize),
    /// A quote that the end of the file leaves open in this field (from 1).
    Open(usize),
}

/// The length of the first line with its end, and without; none if its end is not in `bytes` yet.
pub(in crate::formats) fn line_end(bytes: &[u8], last: bool, terminator: Option<&[u8]>) -> Option<(usize, usize)> {
    if let Some(t) = terminator {
        return match memchr::memmem::find(bytes, t) {
            Some(at) => Some((at + t.len(), at)),
            None => (last && !bytes.is_empty()).then_some((bytes.len(), bytes.len())),
        };
    }
    match memchr2(b'\n', b'\r', bytes) {
        Some(at) if bytes[at] == b'\n' => Some((at + 1, at)),
        Some(at) => match bytes.get(at + 1) {
            Some(b'\n') => Some((at + 2, at)),
            Some(_) => Some((at + 1, at)),
            None => last.then_some((at + 1, at)),
        },
        None => (last && !bytes.is_empty()).then_some((bytes.len(), bytes.len())),
    }
}

/// The fields of one record: parts of its bytes as they stand, or, where quotes and escapes had to be undone, of `made`.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Where each field begins and ends: in the record's bytes, or behind them in `made`.
    pub(super) spans: Vec<Span>,
    /// Fields that do not stand in the file as they are.
    pub(super) made: Vec<u8>,
    /// Some field stands in quotes, so that the record may take more than one line.
    pub(super) quoted: bool,
    /// How many of the record's bytes its fields take: all but its line end.
    pub(super) len: usize,
}

/// Where a field begins and ends: in the record's own bytes, or with [`MADE`] in `made`.
pub(super) type Span = (usize, usize);

/// Marks a span of `made`: no buffer has so many bytes.
const MADE: usize = 1 << (usize::BITS - 1);

impl Fields {
    fn clear(&mut self) {
        self.spans.clear();
        self.made.clear();
        self.quoted = false;
        self.len = 0;
    }
    /// The bytes of a field of the record that begins `raw`.
    pub(super) fn bytes<'b>(&'b self, raw: &'b [u8], span: Span) -> &'b [u8] {
        if span.0 & MADE == 0 { &raw[span.0..span.1] } else { &self.made[span.0 ^ MADE..span.1 ^ MADE] }
    }
    /// The spans in a text that is the record's bytes with `made` behind them.
    pub(super) fn joined(&self, raw_len: usize, into: &mut Vec<(usize, usize)>) {
        if self.made.is_empty() {
            into.extend_from_slice(&self.spans);
            return;
        }
        let place = |at: usize| if at & MADE == 0 { at } else { raw_len + (at ^ MADE) };
        into.extend(self.spans.iter().map(|span| (place(span.0), place(span.1))));
    }
}

/// Cuts the record at the start of `bytes` into fields, without quotes and escapes. `last`: no byte follows.
pub(super) fn scan(bytes: &[u8], last: bool, d: &Dialect, fields: &mut Fields) -> Scan {
    fields.clear();
    let mut at = 0;
    // Most fields of most files: plain ones, up to a delimiter or line end of one byte.
    if d.simple {
        while bytes.get(at).is_some_and(|b| Some(*b) != d.quote) {
            let Some(hit) = memchr3(d.delimiter, b'\n', b'\r', &bytes[at..]) else { break };
            let end = at + hit;
            if bytes[end] == d.delimiter {
                fields.spans.push((at, end));
                at = end + 1;
                if at == bytes.len() && !last {
                    return Scan::More;
                }
                continue;
            }
            let Some((len, _)) = line_end(&bytes[end..], last, None) else { return Scan::More };
            fields.spans.push((at, end));
            fields.len = end;
            return Scan::Record(end + len);
        }
    }
    loop {
        if d.trim {
            while matches!(bytes.get(at), Some(b' ' | b'\t')) && bytes[at] != d.delimiter {
                at += 1;
            }
        }
        if d.quote.is_some() && bytes.get(at).copied() == d.quote {
            fields.quoted = true;
            match quoted(bytes, at + 1, last, d, fields) {
                Ok(next) => at = next,
                Err(true) => return Scan::Open(fields.spans.len() + 1),
                Err(false) => return Scan::More,
            }
            if d.trim {
                while matches!(bytes.get(at), Some(b' ' | b'\t')) && bytes[at] != d.delimiter {
                    at += 1;
                }
            }
            let clean = match bytes.get(at) {
                None if last => true,
                None => return Scan::More,
                Some(_) if !last && bytes.len() - at <= d.delimiter_rest.len() => return Scan::More,
                Some(_) => d.delimits(&bytes[at..]) || starts_line_end(&bytes[at..], d.terminator.as_deref()),
            };
            if !clean {
                // The rest of the line belongs to the malformed record; the next line begins a new one.
                let Some((len, text)) = line_end(&bytes[at..], last, d.terminator.as_deref()) else { return Scan::More };
                if let Some(span) = fields.spans.pop() {
                    let start = fields.made.len();
                    let head = fields.bytes(bytes, span).to_vec();
                    fields.made.extend_from_slice(&head);
                    fields.made.extend_from_slice(&bytes[at..at + text]);
                    fields.spans.push((start | MADE, fields.made.len() | MADE));
                }
                fields.len = at + text;
                return Scan::Stray(at + len, fields.spans.len());
            }
        } else {
            match plain(bytes, at, last, d, fields) {
                Some(next) => at = next,
                None => return Scan::More,
            }
        }
        match bytes.get(at) {
            None => {
                fields.len = at;
                return Scan::Record(at); // only at the end of the file: else `plain` and `quoted` asked for more
            }
            Some(_) if d.delimits(&bytes[at..]) => {
                at += 1 + d.delimiter_rest.len();
                if at == bytes.len() && !last {
                    return Scan::More;
                }
            }
            Some(_) => {
                let Some((len, _)) = line_end(&bytes[at..], last, d.terminator.as_deref()) else { return Scan::More };
                fields.len = at;
                return Scan::Record(at + len);
            }
        }
    }
}

pub(super) fn starts_line_end(bytes: &[u8], terminator: Option<&[u8]>) -> bool {
    match terminator {
        Some(t) => bytes.starts_with(t),
        None => matches!(bytes.first(), Some(b'\n' | b'\r')),
    }
}

/// Takes a quoted field from behind its opening quote; gives where it ends. `Err(true)`: it never ends; `Err(false)`: more bytes are needed.
fn quoted(bytes: &[u8], mut at: usize, last: bool, d: &Dialect, fields: &mut Fields) -> Result<usize, bool> {
    let quote = d.quote.unwrap_or(b'"');
    let escape = d.escape.filter(|e| *e != quote);
    let (start, made) = (at, fields.made.len());
    // The field is copied only once something in it must be undone.
    let mut copied = None;
    loop {
        let rest = &bytes[at..];
        let hit = match escape {
            None => memchr(quote, rest),
            Some(e) => memchr2(quote, e, rest),
        };
        let Some(hit) = hit else { return Err(last) };
        at += hit;
        let next = bytes.get(at + 1).copied();
        let kept = if bytes[at] != quote {
            match next {
                Some(b) => b,
                None => return Err(last),
            }
        } else if next == Some(quote) {
            quote
        } else if next.is_none() && !last {
            return Err(false);
        } else {
            fields.spans.push(match copied {
                None => (start, at),
                Some(from) => {
                    fields.made.extend_from_slice(&bytes[from..at]);
                    (made | MADE, fields.made.len() | MADE)
                }
            });
            return Ok(at + 1);
        };
        fields.made.extend_from_slice(&bytes[copied.unwrap_or(start)..at]);
        fields.made.push(kept);
        at += 2;
        copied = Some(at);
    }
}

/// Takes a field without quotes; gives where it ends, or none if more bytes are needed.
fn plain(bytes: &[u8], mut at: usize, last: bool, d: &Dialect, fields: &mut Fields) -> Option<usize> {
    let (start, made) = (at, fields.made.len());
    let mut copied = None;
    loop {
        let rest = &bytes[at..];
        let hit = match (&d.terminator, d.escape) {
            (None, None) if d.delimiter_rest.is_empty() => memchr3(d.delimiter, b'\n', b'\r', rest),
            _ => rest
                .iter()
                .enumerate()
                .position(|(i, b)| d.delimits(&rest[i..]) || Some(*b) == d.escape || starts_line_end(&rest[i..], d.terminator.as_deref())),
        };
        if hit.is_none() && !last {
            return None;
        }
        // A delimiter of several bytes may be cut by the end of what was read.
        if !last && !d.delimiter_rest.is_empty() && hit.is_some_and(|hit| rest.len() - hit <= d.delimiter_rest.len()) {
            return None;
        }
        let end = match hit {
            Some(hit) => at + hit,
            None => bytes.len(),
        };
        if hit.is_some() && Some(bytes[end]) == d.escape && bytes[end] != d.delimiter {
            let Some(&next) = bytes.get(end + 1) else { return if last { Some(bytes.len()) } else { None } };
            fields.made.extend_from_slice(&bytes[copied.unwrap_or(start)..end]);
            fields.made.push(next);
            at = end + 2;
            copied = Some(at);
            continue;
        }
        fields.spans.push(match copied {
            None => (start, end),
            Some(from) => {
                fields.made.extend_from_slice(&bytes[from..end]);
                (made | MADE, fields.made.len() | MADE)
            }
        });
        return Some(end);
    }
}

/// Keeps the last lines of a stream from its reader (`skip_last`): they are held until more follows, and dropped at the end.
pub(in crate::formats) struct HoldBack {
    input: Input,
    lines: usize,
    held: Vec<u8>,
    ready: std::collections::VecDeque<u8>,
    end: bool,
}

impl HoldBack {
    pub(in crate::formats) fn new(input: Input, lines: usize) -> Self {
        Self { input, lines, held: Vec::new(), ready: std::collections::VecDeque::new(), end: false }
    }
}

impl Read for HoldBack {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        while self.ready.is_empty() && !self.end {
            let old = self.held.len();
            self.held.resize(old + CHUNK_BYTES, 0);
            let n = self.input.read(&mut self.held[old..])?;
            self.held.truncate(old + n);
            self.end = n == 0;
            // Until the end is known, the last line end may be the file's last byte: one more line is held.
            let (body, lines) = if self.end { (self.held.trim_ascii_end().len(), self.lines) } else { (self.held.len(), self.lines + 1) };
            let sign = if memchr(b'\n', &self.held).is_some() { b'\n' } else { b'\r' };
            let cut = memchr::memrchr_iter(sign, &self.held[..body]).nth(lines - 1).map_or(0, |at| at + 1);
            self.ready.extend(self.held.drain(..cut));
        }
        self.ready.read(to)
    }
}
