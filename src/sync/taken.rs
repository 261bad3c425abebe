//! Which of the deliveries that wait at a side it has taken. Only what its exports show tells, and deliveries are taken in
//! their order. Pure.

use std::borrow::Cow;

use super::cell::{Cell, Row};
use super::entry::{Entry, Pending};
use super::judge::{Turn, grounds};

/// The last delivery that this export shows to be taken, by its place; none: it shows none.
pub(super) fn last_taken(entry: &Entry, turn: &Turn<'_>, was: Option<&Row>) -> Option<usize> {
    let at = turn.from.at();
    // What was said before it, unless something else was said in between: then it is the later one that shows.
    let said = |p: &'_ Pending, column: u16| p.row.as_ref().and_then(|r| r.get(column)).or_else(|| p.carried.get(column)).map(|cell| turn.shows(column, cell));
    let before = |earlier: &[Pending], column: u16| earlier.iter().rev().find_map(|p| said(p, column)) == Some(true);
    let mut seen = None;
    let mut awaited = false;
    // As the side was once it had taken those before, where each of them may be seen.
    let mut state = was.map(Cow::Borrowed);
    for (i, pending) in entry.sides[at].pending.iter().enumerate() {
        let Some(row) = &pending.row else { continue };
        let here = || row.iter().filter(|(c, _)| turn.shown.get(*c).is_some());
        // What it carried along tells too, where this side had it otherwise: nobody else would bring that back, unless an
        // earlier delivery says so itself.
        let earlier = &entry.sides[at].pending[..i];
        let carried = pending.carried.iter().filter(|(c, _)| was.is_some() && turn.shown.get(*c).is_some() && !before(earlier, *c));
        let mut news = here().chain(carried).filter(|(c, cell)| state.as_ref().is_none_or(|was| was.get(*c).is_none_or(|w| !(turn.same)(w, cell)))).peekable();
        if row.is_empty() && news.peek().is_none() {
            // Its news were given back: that nothing is seen of what it carried tells nothing, and it may still be taken.
            continue;
        }
        let taken = match was {
            // What changes nothing that is exported leaves no trace, unless what came before it did.
            _ if news.peek().is_none() => !awaited,
            // Of what the delivery changed, one column that is seen tells that the side has taken it. Anybody may have emptied
            // one: that tells only where the delivery says nothing else.
            Some(_) => {
                let says = here().any(|(_, cell)| !cell.text().is_empty());
                let tells = |c: u16, cell: &Cell| !(says && cell.text().is_empty() && row.get(c).is_some());
                news.any(|(c, cell)| tells(c, cell) && turn.shows(c, cell) && !before(earlier, c))
            }
            // It has what an earlier delivery said: this one is still to come.
            None if i > 0 && here().all(|(c, cell)| !turn.shows(c, cell) && before(earlier, c)) => false,
            // A record that was new to it may have been made by its own users too: it came from there if half of what was
            // delivered, beside the key and what tells when it was edited, is seen in an export that is no older than that.
            None => {
                let says = |cell: &Cell| !cell.text().is_empty() && !entry.key.iter().any(|part| part == cell.text());
                let rest = here().filter(|(c, cell)| says(cell) && !grounds(turn, turn.newest.as_slice()).contains(c));
                let (all, seen) = rest.fold((0, 0), |(all, seen), (c, cell)| (all + 1, seen + usize::from(turn.shows(c, cell))));
                seen == all || ((turn.after)(pending.job) && seen * 2 >= all)
            }
        };
        if taken {
            drop(news);
            if let Some(state) = state.as_mut().filter(|_| turn.parts != [false; 2]) {
                let state = state.to_mut();
                state.overlay(&pending.carried);
                state.overlay(row);
            }
            seen = Some(i);
            awaited = false;
        } else {
            awaited = true;
        }
    }
    seen
}
