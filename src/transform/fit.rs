//! Whether what a file holds and what B's columns are called go together, where no map says how.

use std::borrow::Cow;

use crate::record::{Columns, Entries, Record, Reject, Value};

/// What stands under names in a nested record.
fn entries(record: &Record) -> Result<Cow<'_, Entries>, Reject> {
    let Some(tree) = &record.tree else { return Ok(Cow::Owned(Entries::new())) };
    tree.entries().ok_or_else(|| Reject::record(format!("the record is {}, which has no names for columns: write a map", tree.kind())))
}

/// The names of a nested record, which name the columns of a flat output where no map does.
pub(super) fn names_of(record: &Record) -> Result<Vec<String>, Reject> {
    let entries = entries(record)?;
    twice(&entries).map_or(Ok(()), Err)?;
    Ok(entries.iter().map(|(name, _)| name.to_string()).collect())
}

/// Why a name that stands twice in a record has no column of its own: one of the two would be lost.
fn twice(entries: &Entries) -> Option<Reject> {
    let (_, (name, _)) = entries.iter().enumerate().find(|(at, (name, _))| entries[..*at].iter().any(|(before, _)| before == name))?;
    Some(Reject::new(&**name, "the record has that name twice: write a map"))
}

/// Values that no map has asked for: elements go to a flat output as it writes lists and maps, and not as the text of the
/// first, where they are more than a text.
pub(super) fn spread(values: &mut [Value<'_>]) {
    for value in values {
        if let Value::Nodes(nodes) = value {
            *value = nodes.to_value();
        }
    }
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
            surplus.map(|(name, _)| Reject::new(&**name, "the first record has no such name: write a map")).or_else(|| twice(&entries))
        }
        Err(reject) => Some(reject),
    }
}
