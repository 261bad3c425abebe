//! Keys that differ from known ones by blanks around or zeros before alone. Where most new keys of an export are like that, a
//! program (a spreadsheet, most often) has written them otherwise, and they are no new records: nothing is sent.

use super::entry::{Id, id_of};
use crate::error::{Error, Kind, Result};
use crate::formats::text::quoted;

/// Keys are known with so many digits at most, zeros before included.
const DIGITS_MAX: usize = 18;
/// One such key may be a record of its own.
const LEAST: u64 = 2;
/// So many new keys are looked at: what a program writes otherwise shows in any of them.
const LOOKED_AT: u64 = 10_000;

/// What was seen of an export's new keys.
#[derive(Default)]
pub(super) struct Alike {
    new: u64,
    alike: u64,
    first: Option<(String, String)>,
}

impl Alike {
    /// Takes in a key that is not known; `known` tells whether another one is.
    pub(super) fn see(&mut self, key: &[String], known: impl Fn(&Id) -> bool) {
        if self.new == LOOKED_AT {
            return;
        }
        self.new += 1;
        for (at, part) in key.iter().enumerate() {
            let mut looked_for = key.to_vec();
            let is_known = |other: &String| {
                looked_for[at].clone_from(other);
                known(&id_of(&looked_for))
            };
            if let Some(other) = spellings(part).into_iter().find(is_known) {
                self.alike += 1;
                self.first.get_or_insert_with(|| (part.clone(), other));
                return;
            }
        }
    }

    /// Holds an export whose keys are written otherwise.
    pub(super) fn allowed(&self, group: &str) -> Result<()> {
        let Some((new, known)) = self.first.as_ref().filter(|_| self.alike >= LEAST && self.alike * 2 > self.new) else { return Ok(()) };
        let message = format!(
            "{} of {} new keys that were looked at differ from known ones by zeros before or blanks around alone, the first is {} for {}: nothing is sent",
            self.alike,
            self.new,
            quoted(new),
            quoted(known)
        );
        Err(Error::file(message).kind_of(Kind::Held).at("sync").hint(format!(
            "let the program write its keys as before, or map them so, as in \"'%0{}d' | format(code | integer)\" or \"code | trim\"; then retry. If they are other records: passerelle sync rebuild {group}",
            known.trim().chars().count()
        )))
    }
}

/// How else the same key may have been written.
fn spellings(key: &str) -> Vec<String> {
    let bare = key.trim();
    let mut out: Vec<String> = Vec::new();
    if bare != key {
        out.push(bare.to_owned());
    }
    if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit()) {
        let digits = bare.trim_start_matches('0');
        let widths = digits.len().max(1)..=DIGITS_MAX;
        out.extend(widths.map(|width| format!("{digits:0>width$}")).filter(|other| other != key && other != bare));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_looked_for_with_zeros_and_without_blanks() {
        assert_eq!(spellings(" C1 "), ["C1"]);
        assert!(spellings("7").contains(&"007".to_owned()) && !spellings("7").contains(&"7".to_owned()));
        assert!(spellings("007").contains(&"7".to_owned()) && spellings("000").contains(&"0".to_owned()));
        assert!(spellings("C1").is_empty() && spellings("").is_empty());
    }
}
