//! The CSV scanner: cuts bytes into fields, and refuses what it can't cut without changing a value.

use std::io::Read;

use memchr::{memchr, memchr2, memchr3};

use super::super::Input;
use super::super::text::{self, Charset};
use super::CHUNK_BYTES;
use crate::error::{Error, Result};
use crate::options::Options;

#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
    pub(super) terminator: Option<Vec<u8>>,
    pub(super) trim: bool,
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
        Ok(Self {
            delimiter: byte("delimiter")?.unwrap_or(b','),
            quote: byte("quote")?,
            escape: byte("escape")?,
            comment: byte("comment")?,
            terminator: o.text("line_ending").filter(|t| !t.is_empty()).map(|t| {
                let mut bytes = Vec::new();
                // What the encoding lacks can't stand in the file: then no line ends there, and the file is one line.
                let _ = text::Encoder { charset, mark: false, replace: false }.encode(&t, &mut bytes);
                bytes
            }),
            trim: o.flag("trim"),
            extra: o.flag("allow_extra_columns"),
            optional: o.flag("allow_optional_columns"),
        })
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
pub(super) fn line_end(bytes: &[u8], last: bool, terminator: Option<&[u8]>) -> Option<(usize, usize)> {
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

/// Cuts the record at the start of `bytes` into fields, without quotes and escapes. `last`: no byte follows.
pub(super) fn scan(bytes: &[u8], last: bool, d: &Dialect, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Scan {
    let mut at = 0;
    loop {
        if d.trim {
            while matches!(bytes.get(at), Some(b' ' | b'\t')) && bytes[at] != d.delimiter {
                at += 1;
            }
        }
        if d.quote.is_some() && bytes.get(at).copied() == d.quote {
            match quoted(bytes, at + 1, last, d, out) {
                Ok(next) => at = next,
                Err(true) => return Scan::Open(ends.len() + 1),
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
                Some(&b) => b == d.delimiter || starts_line_end(&bytes[at..], d.terminator.as_deref()),
            };
            if !clean {
                // The rest of the line belongs to the malformed record; the next line begins a new one.
                let Some((len, text)) = line_end(&bytes[at..], last, d.terminator.as_deref()) else { return Scan::More };
                out.extend_from_slice(&bytes[at..at + text]);
                ends.push(out.len());
                return Scan::Stray(at + len, ends.len());
            }
        } else {
            match plain(bytes, at, last, d, out) {
                Some(next) => at = next,
                None => return Scan::More,
            }
        }
        ends.push(out.len());
        match bytes.get(at) {
            None => return Scan::Record(at), // only at the end of the file: else `plain` and `quoted` asked for more
            Some(&b) if b == d.delimiter => {
                at += 1;
                if at == bytes.len() && !last {
                    return Scan::More;
                }
            }
            Some(_) => {
                let Some((len, _)) = line_end(&bytes[at..], last, d.terminator.as_deref()) else { return Scan::More };
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
pub(super) fn quoted(bytes: &[u8], mut at: usize, last: bool, d: &Dialect, out: &mut Vec<u8>) -> Result<usize, bool> {
    let quote = d.quote.unwrap_or(b'"');
    let escape = d.escape.filter(|e| *e != quote);
    loop {
        let rest = &bytes[at..];
        let hit = match escape {
            None => memchr(quote, rest),
            Some(e) => memchr2(quote, e, rest),
        };
        let Some(hit) = hit else { return Err(last) };
        out.extend_from_slice(&rest[..hit]);
        at += hit;
        let next = bytes.get(at + 1).copied();
        if bytes[at] != quote {
            match next {
                Some(b) => out.push(b),
                None => return Err(last),
            }
            at += 2;
        } else if next == Some(quote) {
            out.push(quote);
            at += 2;
        } else if next.is_none() && !last {
            return Err(false);
        } else {
            return Ok(at + 1);
        }
    }
}

/// Takes a field without quotes; gives where it ends, or none if more bytes are needed.
pub(super) fn plain(bytes: &[u8], mut at: usize, last: bool, d: &Dialect, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        let rest = &bytes[at..];
        let hit = match (&d.terminator, d.escape) {
            (None, None) => memchr3(d.delimiter, b'\n', b'\r', rest),
            _ => rest.iter().enumerate().position(|(i, b)| *b == d.delimiter || Some(*b) == d.escape || starts_line_end(&rest[i..], d.terminator.as_deref())),
        };
        let Some(hit) = hit else {
            if !last {
                return None;
            }
            out.extend_from_slice(rest);
            return Some(bytes.len());
        };
        out.extend_from_slice(&rest[..hit]);
        at += hit;
        if Some(bytes[at]) == d.escape && bytes[at] != d.delimiter {
            let Some(&next) = bytes.get(at + 1) else { return if last { Some(bytes.len()) } else { None } };
            out.push(next);
            at += 2;
            continue;
        }
        return Some(at);
    }
}

/// Keeps the last lines of a stream from its reader (`skip_last`): they are held until more follows, and dropped at the end.
pub(super) struct HoldBack {
    pub(super) input: Input,
    pub(super) lines: usize,
    pub(super) held: Vec<u8>,
    pub(super) ready: std::collections::VecDeque<u8>,
    pub(super) end: bool,
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
