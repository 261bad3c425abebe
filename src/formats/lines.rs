//! Lines of a text stream, for formats whose records are lines.

use super::csv::{HoldBack, line_end, terminator};
use super::text::{self, Charset};
use super::{Bytes, Input, read_on};
use crate::error::{Error, Result};
use crate::options::Options;

/// A line that grows beyond this is no line of a record.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Takes lines one after the other, and knows their numbers.
pub(super) struct Lines {
    input: Input,
    /// What the lines are written in; what is not ASCII-compatible was made UTF-8 on the way.
    pub(super) charset: Charset,
    terminator: Option<Vec<u8>>,
    buf: Vec<u8>,
    at: usize,
    end: bool,
    /// The number of the line taken last, from 1.
    pub(super) number: u64,
}

impl Lines {
    /// The lines of `input` by the keys `encoding`, `line_ending`, `skip` and `skip_last`.
    pub(super) fn new(o: &Options, input: Input) -> Result<Self> {
        let charset = o.text("encoding").and_then(|l| Charset::named(&l)).unwrap_or_else(Charset::utf8);
        let (mut input, charset, _) = text::open(input, charset)?;
        if let Some(lines) = o.count("skip_last").filter(|n| *n > 0) {
            input = Box::new(HoldBack::new(input, lines));
        }
        let mut lines = Self { input, charset, terminator: terminator(o, charset), buf: Vec::new(), at: 0, end: false, number: 0 };
        for _ in 0..o.count("skip").unwrap_or(0) {
            lines.next_line()?;
        }
        Ok(lines)
    }

    /// The next line's place in the buffer, without its end; none at the end of the file. Empty lines count, and are given.
    pub(super) fn next_line(&mut self) -> Result<Option<std::ops::Range<usize>>> {
        loop {
            let rest = &self.buf[self.at..];
            if let Some((len, text)) = line_end(rest, self.end, self.terminator.as_deref()) {
                let range = self.at..self.at + text;
                self.at += len;
                self.number += 1;
                return Ok(Some(range));
            }
            if self.end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        self.buf.drain(..self.at);
        self.at = 0;
        if self.buf.len() > LINE_BYTES_MAX {
            return Err(Error::file(format!("the line is larger than {} MiB", LINE_BYTES_MAX >> 20)).on_line(self.number + 1).hint("check input.line_ending"));
        }
        self.end = read_on(&mut self.input, &mut self.buf)? == 0;
        Ok(())
    }

    /// What was read ahead and what follows; these lines then end.
    pub(super) fn rest(&mut self) -> Option<Input> {
        // Where something else ends lines, they can't be told by LF.
        if self.terminator.is_some() {
            return None;
        }
        let rest = super::ahead(&mut self.buf, &mut self.at, &mut self.input);
        self.end = true;
        Some(rest)
    }

    /// The lines of a piece, or of all that is left.
    pub(super) fn of(bytes: Bytes, charset: Charset, line: u64) -> Self {
        let (input, buf, end) = bytes.open();
        Self { input, charset, terminator: None, buf, at: 0, end, number: line - 1 }
    }

    /// The bytes of a piece.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    /// The bytes of a line that was just given.
    pub(super) fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.buf[range]
    }

    /// Whether a line holds nothing but what ends files on old systems (Ctrl-Z).
    pub(in crate::formats) fn is_end_mark(line: &[u8]) -> bool {
        line.first() == Some(&0x1a) && line.iter().all(|b| *b == 0x1a)
    }
}
