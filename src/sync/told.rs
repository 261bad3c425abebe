//! What operators are told while an export is compared: conflicts, and deliveries that are not seen.

use super::cell::Cell;
use super::compare::Compare;
use super::entry::{Entry, Side};
use super::export::{CHANGED, DELETED, Told, WHOLE, key_text};
use super::judge::{Conflict, EXPORTS_MAX};

impl Compare<'_> {
    pub(super) fn told(&self, entry: &Entry, c: &Conflict) -> Told {
        let text = |cell: &Option<Cell>| cell.as_ref().map(|c| c.text().to_owned()).unwrap_or_default();
        let (ours, theirs) = match c.column {
            Some(_) => (text(&c.ours), text(&c.theirs)),
            None if entry.parked.as_ref().is_some_and(|p| p.deleted_by == Some(self.side)) => (DELETED.to_owned(), CHANGED.to_owned()),
            None => (CHANGED.to_owned(), DELETED.to_owned()),
        };
        let (a, b) = if self.side == Side::A { (ours, theirs) } else { (theirs, ours) };
        let column = c.column.map_or_else(|| WHOLE.to_owned(), |column| self.meta.name(self.side.other(), column).to_owned());
        Told { key: key_text(&entry.key), column, base: text(&c.base), a, b }
    }

    /// Notes deliveries to a side that its exports do not show.
    pub(super) fn late(&mut self, entry: &Entry, side: Side) {
        if let Some(pending) = entry.side(side).awaits_for(EXPORTS_MAX) {
            self.unseen.0 += 1;
            self.unseen.1.get_or_insert_with(|| (key_text(&entry.key), pending.job));
        }
    }
}
