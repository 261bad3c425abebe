//! What the memory holds of one key: what each side last exported, what both agree on, and what was delivered since.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::cell::{Cell, Row};
use super::judge::Same;
use crate::error::{Error, Kind, Result};

/// How an entry is found: the hash of its key.
pub type Id = [u8; 12];

/// The hash of a key.
pub fn id_of(key: &[String]) -> Id {
    // One part, as most keys have, needs no copy of its text.
    let hash = if let [only] = key {
        xxh3_128(only.as_bytes())
    } else {
        let mut text = Vec::new();
        for part in key {
            text.extend_from_slice(&(part.len() as u32).to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        xxh3_128(&text)
    };
    let mut id = Id::default();
    id.copy_from_slice(&hash.to_be_bytes()[..12]);
    id
}

/// One of the two sides of a group: the one whose exports the first route reads, or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Whose exports the group's first route reads.
    A,
    /// Whose exports its second route reads.
    B,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
    /// Its place in a pair.
    pub fn at(self) -> usize {
        self as usize
    }
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Side::A => "a",
            Side::B => "b",
        }
    }
}

/// So many exports of a side are looked through for what a delivery, that is no news any more, has overwritten there.
const CARRIED_EXPORTS_MAX: u32 = 8;

/// What was delivered to a side, which has not exported it yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The record; none: its deletion.
    pub row: Option<Row>,
    /// The other side's record that it was made of.
    pub from: Option<Row>,
    /// The columns that went with it as the side was known to have them: seen, they tell nothing, but they may have
    /// overwritten what the side had changed meanwhile.
    #[serde(skip)]
    pub carried: Row,
    /// What it brings there that the other side has lost meanwhile: seen, it counts as a change, and goes back from here.
    /// Until then it goes with all that is sent here, lest that takes it away again.
    #[serde(skip)]
    pub back: Row,
    /// The columns that the side has changed by itself since, and that this delivery says nothing of any more.
    pub over: Vec<u16>,
    /// The job that delivered it.
    pub job: u64,
    /// So many exports of this side have not shown it.
    pub exports: u32,
}

/// In `over` of a deletion: the side's own record stands against it, and won.
const WHOLE_RECORD: u16 = u16::MAX;

impl Pending {
    /// Whether it says something that the side has not said otherwise since.
    pub fn is_news(&self) -> bool {
        self.row.as_ref().map_or(!self.is_void(), |row| !row.is_empty())
    }
    /// Whether it is a deletion that the side's own edit has won against: the side may take it all the same.
    pub fn is_void(&self) -> bool {
        self.row.is_none() && !self.over.is_empty()
    }
}

/// What is known of one side's record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// As it was last exported; none: the side has no such record, as far as is known.
    pub exported: Option<Row>,
    /// As it was when both sides last agreed.
    pub base: Option<Row>,
    /// Delivered since, oldest first.
    pub pending: Vec<Pending>,
    /// The side has deleted it, and that is sent with its next full export.
    pub deleting: bool,
    /// The job whose export showed it as it was last exported, where exports do not hold all records; 0: it is not known.
    #[serde(skip)]
    pub seen: u64,
    /// What it has changed and loses to deliveries that do not know of that, where its exports may never show it: it gets that
    /// back.
    #[serde(skip)]
    pub due: Row,
    /// The columns of that which the other side was not told of either: seen again, they count as changes.
    #[serde(skip)]
    pub untold: Vec<u16>,
    /// What it was sent beside what it exports, where that is wanted for deletions: a constant, or a text made of several columns.
    #[serde(skip)]
    pub beyond: Row,
}

impl Held {
    /// A record that both sides agree on.
    pub fn agreed(row: &Row) -> Self {
        Self { exported: Some(row.clone()), base: Some(row.clone()), ..Self::default() }
    }
    /// A record of this side, with what it was sent beside what it exports.
    pub fn whole(&self, mut row: Row) -> Row {
        let more = self.beyond.only(|c| row.get(c).is_none());
        row.overlay(&more);
        row
    }
    /// The record as the side will have it once it has taken what was delivered; none: it has none.
    pub fn view(&self) -> Option<Row> {
        self.taken(|_| None)
    }
    /// The same with what comes back from there.
    pub fn coming(&self) -> Option<Row> {
        self.taken(|pending| Some(&pending.back))
    }
    fn taken<'h>(&'h self, also: impl Fn(&'h Pending) -> Option<&'h Row>) -> Option<Row> {
        let mut view = self.exported.clone();
        for pending in &self.pending {
            view = match (view, &pending.row) {
                (view, Some(row)) => {
                    let mut view = view.unwrap_or_default();
                    row.iter().filter(|(c, _)| !pending.over.contains(c)).for_each(|(c, cell)| view.set(c, cell.clone()));
                    also(pending).into_iter().for_each(|back| view.overlay(back));
                    Some(view)
                }
                (view, None) if pending.is_void() => view,
                (_, None) => None,
            };
        }
        view.iter_mut().for_each(|view| view.overlay(&self.due));
        view
    }
    fn endangered(&self, same: Same<'_>) -> Row {
        let said = |column: u16| {
            let of = |p: &'_ Pending| match &p.row {
                None => Some(None),
                Some(row) => row.get(column).or_else(|| p.back.get(column)).or_else(|| p.carried.get(column)).cloned().map(Some),
            };
            self.pending.iter().rev().find_map(of)
        };
        let lost = |column: u16, cell: &Cell| self.due.get(column).is_some() || said(column).is_some_and(|said| said.is_none_or(|said| !same(&said, cell)));
        self.view().iter().flat_map(Row::iter).filter(|(c, cell)| lost(*c, cell)).map(|(c, cell)| (c, cell.clone())).collect()
    }
    /// The delivery, by its place, after which the side has just what it shows: a side that exports what it has imported
    /// shows each of them, even if a later one has some of the same values; none: there is none.
    pub fn shown_after(&self, shown: &Row, same: Same<'_>) -> Option<usize> {
        let alike = |row: &Row| shown.iter().all(|(c, cell)| row.get(c).is_none_or(|v| same(v, cell)));
        if self.exported.as_ref().is_some_and(alike) {
            return None;
        }
        let mut then = Self { exported: self.exported.clone(), ..Self::default() };
        for (at, pending) in self.pending.iter().enumerate() {
            let whole = |row: &Row| {
                let mut whole = pending.carried.clone();
                whole.overlay(row);
                whole.overlay(&pending.back);
                whole
            };
            then.pending.push(Pending { row: pending.row.as_ref().map(whole), over: Vec::new(), ..pending.clone() });
            if pending.row.is_some() && then.view().is_some_and(|view| alike(&view)) {
                return Some(at);
            }
        }
        None
    }
    /// What the other side, which holds `there`, was told of what it has in a column.
    pub fn told<'h>(&'h self, column: u16, there: &'h Held) -> impl Iterator<Item = &'h Cell> {
        self.base.iter().chain(there.pending.iter().filter_map(|p| p.from.as_ref())).filter_map(move |row| row.get(column))
    }
    /// What was delivered and not seen yet counts no more: the side's own record stands against it. The side may take it
    /// all the same, and lose its own by that.
    pub fn override_pending(&mut self) {
        for pending in &mut self.pending {
            pending.over = match &pending.row {
                Some(row) => row.iter().map(|(c, _)| c).collect(),
                None => vec![WHOLE_RECORD],
            };
        }
    }
    /// What the side has changed by itself since it was delivered is no news of the delivery any more; the side may take
    /// it all the same, and lose its own change by that.
    pub fn drop_overridden(&mut self) {
        for pending in self.pending.iter_mut().filter(|p| p.row.is_some() && !p.over.is_empty()) {
            let over = std::mem::take(&mut pending.over);
            let Some(row) = &mut pending.row else { continue };
            for column in over {
                if let Some(cell) = row.get(column).cloned() {
                    pending.carried.set(column, cell);
                    row.drop(column);
                }
            }
            if row.is_empty() {
                pending.from = None;
            }
        }
        self.pending.retain(|p| p.is_news() || p.exports < CARRIED_EXPORTS_MAX);
    }
    /// Whether all that was delivered, and that no export has shown yet, is shown now.
    pub fn shows_deliveries(&self, shown: &Row, same: Same<'_>) -> bool {
        let mut last = Row::default();
        for pending in &self.pending {
            let Some(row) = &pending.row else { return false };
            last.overlay(row);
        }
        !self.pending.is_empty() && last.iter().all(|(c, cell)| shown.get(c).is_none_or(|shown| same(shown, cell)))
    }
    /// Whether its deletion was delivered, and it was not seen to be gone.
    pub fn is_being_deleted(&self) -> bool {
        self.pending.iter().rev().find(|p| !p.is_void()).is_some_and(|p| p.row.is_none())
    }
    /// Whether it may take a deletion that its own edit has won against.
    pub fn may_lose_its_edit(&self) -> bool {
        !self.is_being_deleted() && self.pending.iter().any(Pending::is_void)
    }
    /// Whether a delivery is unseen for longer than `exports` of this side.
    pub fn awaits_for(&self, exports: u32) -> Option<&Pending> {
        // What it is to have no more shows by not being there.
        self.pending.iter().find(|p| p.exports > exports && p.is_news()).filter(|_| !(self.exported.is_none() && self.is_being_deleted()))
    }
    /// Counts an export that does not show what was delivered; what is unseen for too long is forgotten.
    pub fn unseen(&mut self) {
        self.pending.iter_mut().for_each(|p| p.exports += 1);
        if self.pending.iter().all(|p| p.exports > CARRIED_EXPORTS_MAX) {
            self.pending.clear();
        }
    }
    /// Whether nothing is known of it.
    pub fn is_empty(&self) -> bool {
        self.exported.is_none() && self.pending.is_empty() && !self.deleting
    }
}

/// Where one side alone exports, marks are enough to see what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Of the record as it was exported.
    pub raw: u64,
    /// Of what it was mapped to, and the other side holds.
    pub mapped: u64,
}

/// A record in conflict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parked {
    /// The job that found it.
    pub job: u64,
    /// The side whose export it was found in.
    pub from: Side,
    /// The columns of the other side that both have changed, each with the columns of this side that it is made of.
    pub columns: Vec<(u16, Vec<u16>)>,
    /// The side that has deleted the record, which the other one has changed.
    pub deleted_by: Option<Side>,
}

impl Parked {
    /// Whether a column of a side waits.
    pub fn waits(&self, side: Side, column: u16) -> bool {
        self.columns.iter().any(|(c, grounds)| if self.from == side { grounds.contains(&column) } else { *c == column })
    }
}

/// What the memory holds of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The key.
    pub key: Vec<String>,
    /// Where one side alone exports: what tells its last record.
    pub marks: Option<Marks>,
    /// What each side holds.
    pub sides: [Held; 2],
    /// An operator must decide.
    pub parked: Option<Parked>,
}

/// What can be told of an entry without reading all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// A record of that side with this mark needs no look: nothing has changed. 0: it needs one.
    pub quiet: [u64; 2],
    /// The side is known to hold the record.
    pub holds: [bool; 2],
    /// Something was delivered to the side that it has not exported yet.
    pub awaits: [bool; 2],
    /// It is parked.
    pub parked: bool,
    /// Its records are kept, not only their marks.
    pub rows: bool,
}

impl Entry {
    /// An entry that holds nothing yet.
    pub fn new(key: Vec<String>) -> Self {
        Self { key, ..Self::default() }
    }

    /// What a side holds.
    pub fn side(&self, side: Side) -> &Held {
        &self.sides[side.at()]
    }
    /// What a side holds.
    pub fn side_mut(&mut self, side: Side) -> &mut Held {
        &mut self.sides[side.at()]
    }
    /// What a side holds, and the other one.
    pub fn both_mut(&mut self, side: Side) -> [&mut Held; 2] {
        let [a, b] = &mut self.sides;
        if side == Side::A { [a, b] } else { [b, a] }
    }
    /// What a side is known to hold, and will lose once it takes what was delivered before that was known: another delivery
    /// must bring it again, after those. What waits for an operator is not brought.
    pub fn endangered(&self, side: Side, same: Same<'_>) -> Row {
        let mut lost = self.side(side).endangered(same);
        match &self.parked {
            Some(parked) if parked.deleted_by.is_some() => Row::default(),
            parked => {
                lost.retain(|c| !parked.as_ref().is_some_and(|p| p.waits(side, c)));
                lost
            }
        }
    }
    /// Takes what was delivered to a side for seen there: what the other one was like then is agreed on.
    pub fn agree_to_deliveries(&mut self, side: Side) {
        let [held, there] = self.both_mut(side);
        for from in held.pending.iter().filter_map(|p| p.from.as_ref()) {
            there.base.get_or_insert_default().overlay(from);
        }
    }
    /// Whether neither side has the record.
    pub fn is_empty(&self) -> bool {
        self.marks.is_none() && self.sides.iter().all(Held::is_empty)
    }

    /// As it is stored. `judged` is the side whose record was judged just now: the same record needs no look again.
    pub fn to_bytes(&self, judged: Option<Side>) -> Result<Vec<u8>> {
        let mut head = Head { parked: self.parked.is_some(), rows: self.sides.iter().any(|s| s.exported.is_some()), ..Head::default() };
        for side in [Side::A, Side::B] {
            let held = self.side(side);
            head.holds[side.at()] = held.exported.is_some() || (side == Side::A && self.marks.is_some());
            head.awaits[side.at()] = !held.pending.is_empty() || held.deleting;
            // What the other side lacks, or will have lost, is sent whenever it is seen, until it was delivered.
            let parts = self.sides.iter().any(|s| s.seen != 0);
            let loses = parts && !self.endangered(side.other(), &|a, b| a.text() == b.text()).is_empty();
            let settled = (held.exported == held.base || judged == Some(side)) && !self.side(side.other()).is_empty() && !loses;
            if let Some(row) = held.exported.as_ref().filter(|_| held.pending.is_empty() && settled && self.marks.is_none()) {
                head.quiet[side.at()] = row.mark();
            }
        }
        if let Some(marks) = self.marks {
            head.quiet[Side::A.at()] = marks.mapped;
        }
        let mut out = head.to_bytes();
        if let Some(marks) = self.marks.filter(|_| self.sides.iter().all(Held::is_empty) && self.parked.is_none()) {
            // Most entries are like this one, and there may be millions: the mark of what was mapped stands in the head.
            out.push(MARKS);
            out.extend_from_slice(&marks.raw.to_le_bytes());
            return stored(&self.key, out);
        }
        let of = |part: fn(&Pending) -> &Row| -> Vec<Vec<&Row>> { self.sides.iter().map(|s| s.pending.iter().map(part).collect()).collect() };
        let (carried, back) = (of(|p| &p.carried), of(|p| &p.back));
        let any = |rows: &[Vec<&Row>]| rows.iter().flatten().any(|row| !row.is_empty());
        let more = [0, 1].map(|side| (self.sides[side].seen, &self.sides[side].due, &self.sides[side].untold));
        let beyond = [0, 1].map(|side| &self.sides[side].beyond);
        let kind = if beyond.iter().any(|row| !row.is_empty()) {
            BEYOND
        } else if more.iter().any(|(seen, due, _)| *seen != 0 || !due.is_empty()) {
            MORE
        } else if any(&back) {
            RETURNING
        } else if any(&carried) {
            CARRYING
        } else {
            WHOLE
        };
        out.push(kind);
        let mut packed = self.clone();
        // What both agree on is most often what was exported: it is stored once.
        let mut agreed = [false; 2];
        for (held, agreed) in packed.sides.iter_mut().zip(&mut agreed) {
            *agreed = held.base.is_some() && held.base == held.exported;
            if *agreed {
                held.base = None;
            }
        }
        match kind {
            BEYOND => stored(&(packed, agreed, carried, back, more, beyond), out),
            MORE => stored(&(packed, agreed, carried, back, more), out),
            RETURNING => stored(&(packed, agreed, carried, back), out),
            CARRYING => stored(&(packed, agreed, carried), out),
            _ => stored(&(packed, agreed), out),
        }
    }

    /// The entry that was stored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (head, body) = Head::read(bytes)?;
        let (kind, body) = body.split_first().ok_or_else(damaged)?;
        if *kind == MARKS {
            let (raw, key) = body.split_first_chunk::<8>().ok_or_else(damaged)?;
            let marks = Marks { raw: u64::from_le_bytes(*raw), mapped: head.quiet[Side::A.at()] };
            let key = postcard::from_bytes(key).map_err(|_| damaged())?;
            return Ok(Entry { key, marks: Some(marks), ..Entry::default() });
        }
        type Rows = Vec<Vec<Row>>;
        type More = [(u64, Row, Vec<u16>); 2];
        type Beyond = [Row; 2];
        let none = Rows::new;
        let stored = match *kind {
            BEYOND => postcard::from_bytes(body),
            MORE => postcard::from_bytes(body).map(|(entry, agreed, carried, back, more)| (entry, agreed, carried, back, more, Beyond::default())),
            RETURNING => postcard::from_bytes(body).map(|(entry, agreed, carried, back)| (entry, agreed, carried, back, More::default(), Beyond::default())),
            CARRYING => postcard::from_bytes(body).map(|(entry, agreed, carried)| (entry, agreed, carried, none(), More::default(), Beyond::default())),
            _ => postcard::from_bytes(body).map(|(entry, agreed)| (entry, agreed, none(), none(), More::default(), Beyond::default())),
        };
        let (mut entry, agreed, carried, back, more, beyond): (Entry, [bool; 2], Rows, Rows, More, Beyond) = stored.map_err(|_| damaged())?;
        entry.sides.iter_mut().zip(beyond).for_each(|(held, beyond)| held.beyond = beyond);
        let set = |sides: &mut [Held; 2], rows: Rows, set: fn(&mut Pending, Row)| {
            let rows = sides.iter_mut().zip(rows);
            rows.for_each(|(held, rows)| held.pending.iter_mut().zip(rows).for_each(|(p, row)| set(p, row)));
        };
        set(&mut entry.sides, carried, |p, row| p.carried = row);
        set(&mut entry.sides, back, |p, row| p.back = row);
        for ((held, agreed), more) in entry.sides.iter_mut().zip(agreed).zip(more) {
            (held.seen, held.due, held.untold) = more;
            if agreed {
                held.base.clone_from(&held.exported);
            }
        }
        Ok(entry)
    }
}

impl Head {
    fn to_bytes(self) -> Vec<u8> {
        let flags = [self.quiet[0] != 0, self.quiet[1] != 0, self.holds[0], self.holds[1], self.awaits[0], self.awaits[1], self.parked, self.rows];
        let mut out = vec![flags.iter().enumerate().fold(0u8, |all, (i, flag)| all | (u8::from(*flag) << i))];
        self.quiet.iter().filter(|q| **q != 0).for_each(|q| out.extend_from_slice(&q.to_le_bytes()));
        out
    }

    /// The head of a stored entry, and the rest.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (flags, mut rest) = bytes.split_first().ok_or_else(damaged)?;
        let flag = |i: usize| flags & (1 << i) != 0;
        let mut quiet = [0; 2];
        for (_, quiet) in quiet.iter_mut().enumerate().filter(|(i, _)| flag(*i)) {
            let (mark, behind) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            *quiet = u64::from_le_bytes(*mark);
            rest = behind;
        }
        Ok((Self { quiet, holds: [flag(2), flag(3)], awaits: [flag(4), flag(5)], parked: flag(6), rows: flag(7) }, rest))
    }
}

/// An entry of which nothing but marks is known.
const MARKS: u8 = 1;
/// Any other.
const WHOLE: u8 = 0;
/// One that awaits deliveries which carried more than their news.
const CARRYING: u8 = 2;
/// One that awaits what goes back.
const RETURNING: u8 = 3;
/// One of programs whose exports hold what has changed: with those that showed it last, and what a side gets back.
const MORE: u8 = 4;
/// One of which more was sent than the side exports.
const BEYOND: u8 = 5;

fn stored<T: Serialize>(body: &T, out: Vec<u8>) -> Result<Vec<u8>> {
    postcard::to_extend(body, out).map_err(|e| Error::relay(format!("the memory can't be written: {e}")))
}

/// What is stored can't be read.
pub fn damaged() -> Error {
    Error::file("the memory of records is damaged").kind_of(Kind::Held)
}
