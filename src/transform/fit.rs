//! Whether what a file holds and what B's columns are called go together, where no map says how.

use std::borrow::Cow;

use crate::record::{Columns, Entries, Record, Reject};

/// What stands under names in a nested record.
fn entries(record: &Record) -> Result<Cow<'_, Entries>, Reject> {
    let Some(tree) = &record.tree else { return Ok(Cow::Owned(Entries::new())) };
    tree.entries().ok_or_else(|| Reject::record(format!("the record is {}, which has no names for columns: write a map", tree.kind())))
}

/// The names of a nested record, which name the columns of a flat output where no map does.
pub(super) fn names_of(record: &Record) -> Result<Vec<String>, Reject> {
    Ok(entries(record)?.iter().map(|(name, _)| name.to_string()).collect())
}

/// What is told where B's columns and the file's are matched by name alone, and some on both sides match none.
pub(super) fn lost(wanted: &[String], columns: &Columns) -> Option<String> {
    let lacking: Vec<&str> = wanted.iter().map(String::as_str).filter(|w| columns.position(w).is_none()).collect();
    let unused: Vec<&str> = columns.names.iter().map(String::as_str).filter(|c| !wanted.iter().any(|w| w == c)).collect();
    let both = !lacking.is_empty() && !unused.is_empty();
    both.then(|| format!("no column of the file is called {}: empty for B; {} goes nowhere: a map could join them", lacking.join(", "), unused.join(", ")))
}

/// Why a nested record does not fit the columns of a flat output, which the first one named.
pub(super) fn misfit(record: &Record, targets: &[String]) -> Option<Reject> {
    match entries(record) {
        Ok(entries) => {
            let surplus = entries.iter().find(|(name, _)| !targets.iter().any(|t| **t == **name));
            surplus.map(|(name, _)| Reject::new(&**name, "the first record has no such name: write a map"))
        }
        Err(reject) => Some(reject),
    }
}
