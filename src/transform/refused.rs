//! Records that B refused after they were made for it: the transformation is made once more, and rejects them in B's words.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// Refused records, known by what was sent of them.
#[derive(Debug, Default)]
pub struct Refused {
    /// B's words on each record with that digest; two records may be the same.
    words: HashMap<[u8; 32], Vec<String>>,
    records: u64,
    last: String,
}

impl Refused {
    /// Adds a record as it was sent, and what B said.
    pub fn add(&mut self, record: &[u8], words: &str) {
        self.words.entry(digest(record)).or_default().push(words.to_owned());
        self.records += 1;
        words.clone_into(&mut self.last);
    }
    /// How many there are.
    pub fn records(&self) -> u64 {
        self.records
    }
    /// What B said last.
    pub fn last(&self) -> &str {
        &self.last
    }
    /// B's words on a record as it is written for B, each once.
    pub fn take(&mut self, record: &[u8]) -> Option<String> {
        let words = self.words.get_mut(&digest(record))?;
        (!words.is_empty()).then(|| words.remove(0))
    }
}

fn digest(record: &[u8]) -> [u8; 32] {
    Sha256::digest(record.trim_ascii_end()).into()
}
