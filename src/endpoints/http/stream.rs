//! Bodies that are counted as they go by.

use std::io::{Read, Write};

pub(super) struct Counted<'c> {
    pub(super) inner: &'c mut dyn Read,
    pub(super) total: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(to)?;
        self.total += n as u64;
        Ok(n)
    }
}

pub(super) struct Sink<'s> {
    pub(super) inner: &'s mut dyn Write,
    pub(super) total: u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.total += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
