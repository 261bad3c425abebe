//! Character encodings: those of the WHATWG list and the old PC code pages that it lacks.
//!
//! What can't be decoded or encoded is told, never repaired in silence.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use oem_cp::code_table;

use crate::error::Result;

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

pub(super) static CODE_PAGES: &[(&str, &[char; 128])] = &[
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
    /// Whether this is UTF-16, in either order.
    pub fn is_wide(&self) -> bool {
        matches!(self, Charset::Whatwg(e) if *e == UTF_16LE || *e == UTF_16BE)
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
/// The last part tells whether that happened.
pub fn open(mut input: Box<dyn Read + Send>, charset: Charset) -> Result<(Box<dyn Read + Send>, Charset, bool)> {
    let mut head = Vec::new();
    super::append(&mut input, &mut head, 3)?;
    let (charset, skip) = match head[..] {
        [0xef, 0xbb, 0xbf] => (Charset::Whatwg(UTF_8), 3),
        [0xff, 0xfe, ..] => (Charset::Whatwg(UTF_16LE), 2),
        [0xfe, 0xff, ..] => (Charset::Whatwg(UTF_16BE), 2),
        _ => (charset, 0),
    };
    let rest = io::Cursor::new(head.split_off(skip)).chain(input);
    match charset {
        Charset::Whatwg(e) if e != UTF_8 && !e.is_single_byte() => {
            let decoder = e.new_decoder_without_bom_handling();
            Ok((Box::new(Transcoder { input: Box::new(rest), decoder, bytes: vec![0; 64 * 1024], text: Vec::new(), at: 0, end: false }), Charset::utf8(), true))
        }
        _ => Ok((Box::new(rest), charset, false)),
    }
}

/// The stream as UTF-8, whatever it is written in. UTF-8 itself is not judged here: the readers do it. Of other encodings
/// (then true), U+FFFD stands for what can't be decoded.
pub fn utf8(input: Box<dyn Read + Send>, charset: Charset) -> Result<(Box<dyn Read + Send>, bool)> {
    let (input, charset, transcoded) = open(input, charset)?;
    if charset.is_utf8() {
        return Ok((input, transcoded));
    }
    Ok((Box::new(Decoded { input, charset, text: Vec::new(), at: 0 }), true))
}

/// The replacement character in UTF-8.
pub const REPLACED: &[u8] = "\u{fffd}".as_bytes();

/// UTF-8 in which U+FFFD stands for what is none, for readers that can't go on behind it.
pub struct Lossy {
    input: Box<dyn Read + Send>,
    bytes: Vec<u8>,
    text: Vec<u8>,
    at: usize,
    end: bool,
    replaced: Arc<AtomicBool>,
}

impl Lossy {
    /// The stream, and whether something was replaced so far.
    pub fn new(input: Box<dyn Read + Send>) -> (Self, Arc<AtomicBool>) {
        let replaced = Arc::new(AtomicBool::new(false));
        (Self { input, bytes: Vec::new(), text: Vec::new(), at: 0, end: false, replaced: replaced.clone() }, replaced)
    }
}

impl Read for Lossy {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() && !self.end {
            // What was left of a character that the last read cut.
            let before = self.bytes.len();
            self.bytes.resize(64 * 1024, 0);
            let n = match self.input.read(&mut self.bytes[before..]) {
                Ok(n) => n,
                Err(e) => {
                    self.bytes.truncate(before);
                    return Err(e);
                }
            };
            self.bytes.truncate(before + n);
            (self.end, self.at) = (n == 0, 0);
            self.text.clear();
            if simdutf8::basic::from_utf8(&self.bytes).is_ok() {
                std::mem::swap(&mut self.bytes, &mut self.text);
                self.bytes.clear();
                continue;
            }
            let mut rest = Vec::new();
            let mut chunks = self.bytes.utf8_chunks().peekable();
            while let Some(chunk) = chunks.next() {
                self.text.extend_from_slice(chunk.valid().as_bytes());
                // Four bytes are the longest character: a shorter one at the end may go on.
                if chunks.peek().is_none() && !self.end && std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none()) {
                    rest = chunk.invalid().to_vec();
                } else if !chunk.invalid().is_empty() {
                    self.text.extend_from_slice(REPLACED);
                    self.replaced.store(true, Relaxed);
                }
            }
            self.bytes = rest;
        }
        let n = to.len().min(self.text.len() - self.at);
        to[..n].copy_from_slice(&self.text[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// A single-byte encoding as UTF-8.
struct Decoded {
    input: Box<dyn Read + Send>,
    charset: Charset,
    text: Vec<u8>,
    at: usize,
}

impl Read for Decoded {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.text.len() {
            let mut bytes = vec![0; 64 * 1024];
            let n = self.input.read(&mut bytes)?;
            let mut text = String::new();
            self.charset.decode_into(&bytes[..n], &mut text);
            self.text = text.into_bytes();
            self.at = 0;
        }
        let n = to.len().min(self.text.len() - self.at);
        to[..n].copy_from_slice(&self.text[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// A stream in UTF-8 of a stream in another encoding.
pub(super) struct Transcoder {
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
    /// What B gets of `text`, where that is another one; none also where the record is rejected.
    pub fn replaced(&self, text: &str) -> Option<String> {
        let mut bytes = Vec::new();
        self.encode(text, &mut bytes).ok()?;
        let read = match self.charset {
            Charset::Whatwg(encoding) => encoding.decode_without_bom_handling(&bytes).0.into_owned(),
            Charset::CodePage(_, table) => bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { table[usize::from(*b) - 0x80] }).collect(),
        };
        Some(read).filter(|read| read != text)
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
