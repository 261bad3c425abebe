//! The SHA-256 of what is written on its way to somewhere else.

use std::io::Write;

use sha2::{Digest, Sha256};

/// Digests and counts what goes by.
pub(super) struct Hashing<W> {
    inner: W,
    hash: Sha256,
    /// So many.
    pub(super) bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }
    /// In hexadecimal digits.
    pub(super) fn digest(self) -> String {
        crate::job::hex(&self.hash.finalize())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
