//! The stream under the parser of XML: what it has taken since the last record, and on which line it stands.

use std::io::{BufRead, BufReader, Read};

use super::RECORD_BYTES_MAX;
use crate::formats::Input;

/// Knows the line, and keeps the bytes that the parser takes.
pub(super) struct Counted {
    inner: BufReader<Input>,
    /// The line on which `taken` begins.
    line: u64,
    taken: Vec<u8>,
}

impl Counted {
    pub(super) fn new(inner: BufReader<Input>) -> Self {
        Self { inner, line: 1, taken: Vec::new() }
    }

    /// The line on which what is kept begins.
    pub(super) fn began(&self) -> u64 {
        self.line
    }

    /// The line that the parser has come to. Lines are counted by the record: parts of elements are short.
    pub(super) fn line(&self) -> u64 {
        self.line + memchr::memchr_iter(b'\n', &self.taken).count() as u64
    }

    /// Takes what was kept, and keeps what comes from now on in `buffer`.
    pub(super) fn start_over(&mut self, buffer: &mut Vec<u8>) {
        self.line = self.line();
        std::mem::swap(&mut self.taken, buffer);
        self.taken.clear();
    }

    pub(super) fn forget(&mut self) {
        self.line = self.line();
        self.taken.clear();
    }
}

impl Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(to)?;
        self.line += memchr::memchr_iter(b'\n', &to[..n]).count() as u64;
        Ok(n)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.taken.len() > RECORD_BYTES_MAX {
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("a record is larger than {} MiB", RECORD_BYTES_MAX >> 20)));
        }
        self.inner.fill_buf()
    }
    fn consume(&mut self, n: usize) {
        let taken = &self.inner.buffer()[..n];
        self.taken.extend_from_slice(taken);
        self.inner.consume(n);
    }
}
