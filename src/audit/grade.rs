//! How far an exchange can be automated, and why: the argument that an integrator puts before the owner of A or B.

use super::Side;
use super::mapping::{Found, Match};
use super::pair::Pairs;
use super::profile::{Kind, Profile};

/// Below this, a match is a guess that somebody must look at.
pub const SURE: f64 = 0.6;

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each target is a column, converted.
    Full,
    /// The same, with code tables or values that are always the same.
    WithTable,
    /// Somebody has to decide something.
    Decision,
    /// A's export lacks what B wants.
    Impossible,
}

impl Level {
    /// The level in words.
    pub fn words(self) -> &'static str {
        match self {
            Level::Full => "fully automatic",
            Level::WithTable => "automatic with a code table or default",
            Level::Decision => "needs a decision",
            Level::Impossible => "not possible as is",
        }
    }
}

/// How far, and what stands against more.
#[derive(Clone, Debug)]
pub struct Grade {
    /// How far.
    pub level: Level,
    /// Why, what is open, what is missing.
    pub reasons: Vec<String>,
}

impl Grade {
    /// The grade of a sample by itself.
    pub fn of_one(a: &Side) -> Self {
        let mut grade =
            Self { level: Level::Decision, reasons: vec!["what B imports is not known: audit again with a file that B accepts, or a template of it".into()] };
        grade.about(a, "A");
        grade
    }

    fn about(&mut self, side: &Side, name: &str) {
        if side.reading.bad > 0 {
            let of = side.reading.records + side.reading.bad;
            self.reasons.push(format!("{} of {name}'s {of} records can't be read and would be rejected", side.reading.bad));
        }
        for column in side.columns.iter().filter(|c| c.kind == Kind::Date) {
            if let Some(note) = column.notes.iter().find(|n| n.text.starts_with("ambiguous")) {
                self.raise(Level::Decision, format!("{name}'s {}: {}", column.name, note.text));
            }
        }
    }

    fn raise(&mut self, level: Level, reason: String) {
        self.level = self.level.max(level);
        self.reasons.push(reason);
    }

    /// B's records are in an order that no column tells.
    pub fn order_is_open(&mut self) {
        self.raise(Level::Decision, "B's records are in another order than A's, which no column tells: if it matters there, decide on output.order_by".into());
    }

    /// The grade of an exchange.
    pub fn of(a: &Side, b: &Side, mapping: &[Match], pairs: Option<&Pairs>, condition: Option<&(String, String)>) -> Self {
        let mut grade = Self { level: Level::Full, reasons: Vec::new() };
        if !crate::formats::named(b.dialect.format).is_some_and(crate::formats::Format::writes) {
            grade.raise(Level::Impossible, format!("{} is read, but not written: ask B for another import format", b.dialect.format));
        }
        if mapping.is_empty() {
            grade.raise(Level::Impossible, "B's sample names no column: take a file that B accepts, or a template with its header".into());
        } else if b.reading.records == 0 && b.dialect.has_flat_columns() {
            grade.raise(Level::Decision, "B's sample holds no record: how its values are written is not known".into());
        }
        if let Some(run) = a.runs {
            let name = &a.columns[run].name;
            grade.raise(Level::Decision, format!("several records of A make one: group them, with input.group_by = [\"{name}\"] and input.group_into"));
        }
        if let Some(p) = pairs.filter(|p| p.pairs.len() * 10 < b.rows.len() * 7) {
            let of = b.rows.len();
            grade.raise(
                Level::Decision,
                format!("{} of B's {of} records were not found in A: they are made of several, or of other exports", of - p.pairs.len()),
            );
        }
        match pairs {
            Some(p) if p.fan.1 > 1.2 && condition.is_none() => {
                let by = p.key(a).map_or_else(String::new, |name| format!(" = [\"{name}\"]"));
                let what = format!("B has one record for about {:.1} of A's", p.fan.1);
                grade.raise(Level::Decision, format!("{what}: group them with input.group_by{by} and group_into, and sum up or take the first"))
            }
            Some(p) if p.fan.0 > 1.2 && a.each.is_none() => {
                grade.raise(Level::Decision, format!("one record of A gives about {:.1} of B: group them and use input.each", p.fan.0))
            }
            Some(p) if !p.only_a.is_empty() && condition.is_none() => {
                grade.raise(Level::Decision, format!("{} of A's records are not in B's file, and no column tells which: decide on `where`", p.only_a.len()));
            }
            Some(_) => {}
            None => grade.reasons.push("the samples share no records: the mapping rests on names and types; samples of the same records would prove it".into()),
        }
        if let Some(list) = b.columns.iter().find(|c| c.list) {
            grade.raise(Level::Decision, format!("B nests records in {}: write them with output.group_by and group_into, or as a list", list.name));
        }
        let left = unused(a, mapping);
        for m in mapping {
            let column = &b.columns[m.target];
            let name = &column.name;
            match m.found {
                Found::Nowhere if !m.others.is_empty() => {
                    grade.raise(Level::Decision, format!("{name} may be made of {}: no conversion was found", m.others.join(" or ")));
                }
                Found::Nowhere if column.required || (b.reading.records > 0 && column.nulls == 0 && column.filled > 0) => {
                    let open: Vec<&str> = left.iter().filter(|c| pairs.is_none() && !c.list && may_be(c, column)).map(|c| c.name.as_str()).take(5).collect();
                    if open.is_empty() {
                        grade.raise(Level::Impossible, format!("{name} has no source: A's export must give it"));
                    } else {
                        let of = open.join(", ");
                        grade.raise(Level::Decision, format!("{name} has no source that its name tells: if none of {of} is it, A's export must give it"));
                    }
                }
                Found::Nowhere => grade.raise(Level::Decision, format!("{name} has no source in A: leave it empty, or ask A for it")),
                Found::Constant if column.filled == 0 && column.required => grade.raise(Level::Decision, format!("{name} must not be empty")),
                Found::Constant if column.filled == 0 => {}
                Found::Constant if m.confidence < SURE => grade.raise(Level::Decision, format!("{name} may always be {}: too few records tell", m.expression)),
                Found::Constant => grade.raise(Level::WithTable, format!("{name} is always {}", m.expression)),
                Found::Source if m.confidence < SURE => {
                    let others = if m.others.is_empty() { String::new() } else { format!(" (or {})", m.others.join(", ")) };
                    grade.raise(Level::Decision, format!("{name} is a guess: {}{others}", m.expression));
                }
                Found::Source => {
                    if let Some(table) = &m.table {
                        grade.raise(Level::WithTable, format!("{name} needs a code table, of which {} values were seen", table.values.len()));
                    }
                }
            }
        }
        grade.about(a, "A");
        if grade.reasons.is_empty() {
            grade.reasons.push("every target is given by a column of A".into());
        }
        grade
    }
}

/// A's columns that hold something and go nowhere.
pub(super) fn unused<'a>(a: &'a Side, mapping: &[Match]) -> Vec<&'a Profile> {
    let mut used = vec![false; a.columns.len()];
    mapping.iter().flat_map(|m| &m.sources).for_each(|s| used[*s] = true);
    a.columns.iter().zip(&used).filter(|(c, used)| !**used && c.filled > 0).map(|(c, _)| c).collect()
}

/// Whether a column's values could be a target's, as far as their types tell.
fn may_be(source: &Profile, target: &Profile) -> bool {
    let time = |k: Kind| matches!(k, Kind::Date | Kind::DateTime);
    source.kind == target.kind
        || (source.kind.is_number() && target.kind.is_number())
        || (time(source.kind) && time(target.kind))
        || matches!((source.kind, target.kind), (Kind::Text | Kind::Integer, Kind::Text | Kind::Integer | Kind::Empty))
}
