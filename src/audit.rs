//! Samples of A and B: what they are, how far the exchange can be automated, and a draft of the route.
//!
//! A sample is read by the product's own readers, and what is proposed is tried by its own evaluator, so that a draft
//! does what the audit says. Every guess carries what tells for it; none is ever made in silence.

mod believed;
pub mod codes;
pub mod combine;
mod computed;
pub mod conversions;
pub mod delimited;
pub mod dialect;
pub mod draft;
pub mod encoding;
pub mod fixed;
mod glued;
pub mod grade;
mod guard;
pub mod likeness;
mod lines;
pub mod mapping;
mod money;
pub mod names;
pub mod near;
pub mod pair;
pub mod profile;
pub mod read;
pub mod sample;
pub mod schema;
pub mod sheet;
pub mod signs;
mod spellings;
pub mod tree;
pub mod values;
pub mod xsd;

use std::collections::{BTreeMap, HashSet};

use crate::error::Result;
use crate::formats::Room;
use dialect::{Dialect, Note};
use grade::Grade;
use mapping::{Match, Search};
use pair::{Loose, Pairs};
use profile::{Kind, Profile, Profiler};
use read::{Layout, Reach, Reading};
use sample::Sample;
use signs::Signs;

/// Records that are kept at hand, to be compared with the other side's.
const ROWS_MAX: usize = 5000;
/// Cells of them, so that wide records keep few.
const CELLS_MAX: usize = 2_000_000;

/// Of a longer cell, the beginning is kept.
const CELL_BYTES_MAX: usize = 4096;

/// One side: a sample, read in one way.
#[derive(Debug)]
pub struct Side {
    /// How it is written.
    pub dialect: Dialect,
    /// The list whose elements are the records.
    pub each: Option<Reach>,
    /// What was read.
    pub reading: Reading,
    /// Its columns.
    pub columns: Vec<Profile>,
    /// How it writes numbers and dates.
    pub signs: Signs,
    /// Pairs of columns that tell records apart, where no column does.
    pub keys: Vec<(usize, usize)>,
    /// The column whose adjacent equal values make one record of several.
    pub runs: Option<usize>,
    /// Its rows are elements of lists in its records.
    pub grouped: Option<draft::Grouped>,
    /// What was noticed, with lines.
    pub notes: Vec<Note>,
    /// The first records: a text for each column, none where there is none.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Side {
    /// A side of which nothing was read.
    fn empty(dialect: Dialect) -> Self {
        let reading = Reading { complete: true, ..Reading::default() };
        Self {
            dialect,
            each: None,
            reading,
            columns: Vec::new(),
            signs: Signs::default(),
            keys: Vec::new(),
            runs: None,
            grouped: None,
            notes: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Reads `sample` as `dialect` says; `each` is the list whose elements are the records.
    pub fn examine(sample: &Sample, dialect: &Dialect, each: Option<&Reach>, room: &Room) -> Result<Self> {
        let mut layout = Layout::default();
        let width = dialect.delimited.as_ref().map_or(50, |d| d.names.len());
        let mut profiler = Profiler::new(width);
        let mut rows: Vec<Vec<Option<String>>> = Vec::new();
        let mut cells = Vec::new();
        let mut kept = 0;
        let mut totals = Totals::default();
        let mut reading = read::each(sample, dialect, each, room, &mut |row, columns| {
            layout.cells(row, &columns.names, &mut cells);
            profiler.record(row.line, &cells);
            totals.see(row.line, &cells);
            if rows.len() < ROWS_MAX && kept < CELLS_MAX {
                let mut texts = vec![None; layout.columns.len()];
                for (at, text, _) in &cells {
                    texts[*at] = text.as_ref().map(|t| if t.len() > CELL_BYTES_MAX { t.chars().take(CELL_BYTES_MAX / 4).collect() } else { t.clone() });
                }
                kept += texts.iter().map(|t| 2 + t.as_ref().map_or(0, String::len) / 16).sum::<usize>();
                rows.push(texts);
            }
            Ok(true)
        })?;
        let total = totals.line(reading.complete);
        let tried = dialect.extra.iter().any(|(key, _)| *key == "skip_last");
        if let Some(line) = total.filter(|_| dialect.delimited.is_some() && !tried) {
            let mut without = dialect.clone();
            without.extra.push(("skip_last", "1".to_owned()));
            // A total in several lines, or with blank lines behind it, goes otherwise.
            if let Ok(mut side) = Self::examine(sample, &without, each, room)
                && side.reading.records + 1 == reading.records
            {
                side.notes.push(Note::new("the last record is a total: skip_last = 1 leaves it out", line));
                return Ok(side);
            }
        }
        // A header alone names columns that no record has shown.
        if layout.columns.is_empty() {
            let names = dialect.delimited.as_ref().map_or(&dialect.names, |d| &d.names);
            let header = crate::record::Columns::from_header(names.iter().map(String::as_str));
            layout.columns = header.names.iter().map(|n| Reach { name: n.clone(), expr: read::by_name(n), list: false }).collect();
        }
        rows.truncate((CELLS_MAX / layout.columns.len().max(1)).max(10));
        for row in &mut rows {
            row.resize(layout.columns.len(), None);
        }
        let (columns, signs, mut notes) = profiler.finish(&layout.columns);
        notes.splice(0..0, dialect.notes.iter().cloned());
        notes.append(&mut reading.notes);
        if let Some(encoding) = &dialect.encoding
            && let Some((line, other)) = encoding.strangers.first()
        {
            notes.push(Note::new(format!("mixed encodings: {} lines are {other} in a file of {}", encoding.strangers.len(), encoding.label), *line));
        }
        notes.extend(total.map(|line| Note::new("the last record is a total: leave it out with skip_last, or by `where`", line)));
        let runs = runs(&columns, &rows);
        notes.extend(runs.iter().map(|c| {
            Note::new(
                format!("{} repeats in adjacent records, of which only the first is filled in whole: they look like one record together", columns[*c].name),
                0,
            )
        }));
        notes.extend(columns.iter().flat_map(|c| c.notes.iter().map(|n| Note::new(format!("{}: {}", c.name, n.text), n.line))));
        let mut side = Self { dialect: dialect.clone(), each: each.cloned(), reading, columns, signs, keys: Vec::new(), runs, grouped: None, notes, rows };
        side.keys = side.pairs();
        Ok(side)
    }

    /// The format that the values of the sample tell of: `input.decimal` and its like.
    pub fn value_keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = Vec::new();
        let by_text = self.dialect.holds_texts();
        // Where points group thousands, none stands before decimals, though no value has any.
        let decimal = self.signs.decimal.or(self.signs.thousands.filter(|t| *t == '.').map(|_| ','));
        if let Some(decimal) = decimal.filter(|d| *d != '.' && by_text) {
            keys.push(("decimal", dialect::quoted(&decimal.to_string())));
        }
        if let Some(thousands) = self.signs.thousands.filter(|_| by_text) {
            keys.push(("thousands", dialect::quoted(&thousands.to_string())));
        }
        if let Some(dates) = self.signs.dates.as_ref().filter(|_| by_text) {
            keys.push(("dates", dialect::quoted(dates)));
        }
        if let Some(datetimes) = self.signs.datetimes.as_ref().filter(|_| by_text) {
            keys.push(("datetimes", dialect::quoted(datetimes)));
        }
        keys
    }

    /// The pattern of its dates; none: there are no dates.
    pub fn dates(&self) -> Option<&str> {
        self.signs.has_dates.then(|| self.signs.dates.as_deref().unwrap_or("%Y-%m-%d"))
    }

    /// Pairs of columns whose values together stand once only; looked for where no column is a key by itself.
    fn pairs(&self) -> Vec<(usize, usize)> {
        if self.rows.len() < 3 || self.columns.iter().any(|c| c.key) {
            return Vec::new();
        }
        let mut order: Vec<usize> = (0..self.columns.len())
            .filter(|i| {
                self.columns[*i].nulls == 0 && self.columns[*i].distinct > 1 && self.columns[*i].kind != Kind::Decimal && self.columns[*i].lengths.1 <= 60
            })
            .collect();
        order.sort_by_key(|i| std::cmp::Reverse(self.columns[*i].distinct));
        order.truncate(16);
        let mut found = Vec::new();
        for (n, a) in order.iter().enumerate() {
            for b in &order[n + 1..] {
                if self.columns[*a].distinct * self.columns[*b].distinct < self.rows.len() as u64 {
                    continue;
                }
                let mut seen = HashSet::with_capacity(self.rows.len());
                if self.rows.iter().all(|row| seen.insert((row[*a].as_deref(), row[*b].as_deref()))) {
                    found.push((*a.min(b), *a.max(b)));
                }
            }
        }
        found.sort_unstable();
        found.truncate(5);
        found
    }
}

/// A column that stands still over adjacent records while others are filled in the first of them only.
fn runs(columns: &[Profile], rows: &[Vec<Option<String>>]) -> Option<usize> {
    if rows.len() < 4 {
        return None;
    }
    let filled = |row: &[Option<String>], c: usize| row[c].as_deref().is_some_and(|t| !t.is_empty());
    (0..columns.len().min(6)).find(|c| {
        if columns[*c].nulls > 0 || columns[*c].list || columns[*c].distinct * 10 > columns[*c].filled * 9 || columns[*c].distinct < 2 {
            return false;
        }
        let follows: Vec<usize> = (1..rows.len()).filter(|i| rows[*i][*c] == rows[*i - 1][*c]).collect();
        let begins = (0..rows.len()).filter(|i| *i == 0 || rows[*i][*c] != rows[*i - 1][*c]).count();
        let first_only = (0..columns.len()).filter(|o| {
            let in_first = (0..rows.len()).filter(|i| (*i == 0 || rows[*i][*c] != rows[*i - 1][*c]) && filled(&rows[*i], *o)).count();
            in_first * 10 >= begins * 9 && follows.iter().all(|i| !filled(&rows[*i], *o))
        });
        // Each value makes one run, and two columns at least belong to its first record.
        columns[*c].distinct <= begins as u64
            && begins as u64 <= columns[*c].distinct + columns[*c].distinct / 10
            && follows.len() >= 2
            && first_only.count() >= 2
    })
}

/// Whether the last records are totals and no records.
#[derive(Default)]
struct Totals {
    /// The last record: its line, and its first texts.
    last: (u64, Vec<String>),
    /// Totals within the file are records of some kind.
    seen: u64,
}

const TOTAL_WORDS: &[&str] =
    &["total", "totaux", "sous-total", "total general", "gesamt", "summe", "gesamtsumme", "somme", "totals", "grand total", "suma", "totale"];

impl Totals {
    fn see(&mut self, line: u64, cells: &[read::Cell]) {
        let texts: Vec<String> = cells.iter().take(8).filter_map(|(_, t, _)| t.clone()).filter(|t| !t.trim().is_empty()).take(2).collect();
        self.seen += u64::from(is_total(&texts));
        self.last = (line, texts);
    }

    /// The line of the one that stands at the end.
    fn line(&self, complete: bool) -> Option<u64> {
        (complete && self.seen == 1 && is_total(&self.last.1)).then_some(self.last.0)
    }
}

fn is_total(texts: &[String]) -> bool {
    texts.iter().any(|t| {
        let word = t.trim().trim_end_matches([':', ' ', '.']).to_lowercase().replace('é', "e");
        TOTAL_WORDS.contains(&word.as_str())
    })
}

/// What two samples say together.
#[derive(Debug)]
pub struct Audit {
    /// A's export.
    pub a: Side,
    /// B's import file.
    pub b: Option<Side>,
    /// What each of B's columns is made of.
    pub mapping: Vec<Match>,
    /// Which records go: an expression, and what tells for it.
    pub condition: Option<(String, String)>,
    /// The targets by which B's records are ordered, where A's are not.
    pub order: Vec<String>,
    /// How the records were found that both hold; none: they share none.
    pub pairs: Option<Pairs>,
    /// How far the exchange can be automated.
    pub grade: Grade,
}

impl Audit {
    /// The names of A's columns that hold something and go nowhere.
    pub fn unused(&self) -> Vec<&str> {
        grade::unused(&self.a, &self.mapping).into_iter().map(|c| c.name.as_str()).collect()
    }
}

/// Audits a sample of A, and one of B; code tables are named after `route`.
pub fn audit(sample_a: &Sample, sample_b: Option<&Sample>, route: &str, room: &Room) -> Result<Audit> {
    let dialects = dialect::candidates(sample_a, room)?;
    let Some(sample_b) = sample_b else {
        let a = Side::examine(sample_a, &dialects[0], None, room)?;
        let grade = Grade::of_one(&a);
        return Ok(Audit { a, b: None, mapping: Vec::new(), condition: None, order: Vec::new(), pairs: None, grade });
    };
    let mut b = target(sample_b, room)?;
    let mut loose_b = Loose::new(&b);
    let mut best: Option<(f64, Side, Loose, Option<Pairs>)> = None;
    for (n, dialect) in dialects.iter().enumerate() {
        let plain = match Side::examine(sample_a, dialect, None, room) {
            Ok(side) => side,
            Err(e) if n == 0 => return Err(e),
            Err(_) => continue,
        };
        let lists: Vec<Reach> =
            plain.columns.iter().filter(|c| c.list).map(|c| Reach { name: c.name.clone(), expr: c.expr.clone(), list: true }).take(4).collect();
        let mut ways = vec![plain];
        for list in lists {
            ways.extend(Side::examine(sample_a, dialect, Some(&list), room).ok().filter(|side| !side.rows.is_empty()));
        }
        for side in ways {
            let loose = Loose::new(&side);
            let pairs = pair::find((&side, &loose), (&b, &loose_b));
            // The places of records that B's rows confirm come before those that only look likely.
            let (own, other) = (side.rows.len().max(1) as f64, b.rows.len().max(1) as f64);
            let depth = side.dialect.records.as_ref().map_or(0.0, |r| r.matches('/').count() as f64 * 0.01);
            let score = pairs.as_ref().map_or(0.0, |p| p.agreement * (p.pairs.len() as f64 / other).min(1.0) + own.min(other) / own.max(other) + depth);
            let margin = if side.each.is_some() { 0.02 } else { 0.0 };
            if best.as_ref().is_none_or(|(most, ..)| score > most + margin) {
                best = Some((score, side, loose, pairs));
            }
        }
    }
    let Some((_, mut a, mut loose, mut pairs)) = best else {
        return Err(crate::error::Error::file("the sample was read in no way").on_file(&sample_a.path).hint("check that the file is whole"));
    };
    // Where a side's fields touch each other, only the other one's values tell where one ends.
    if let Some(lines) = glued::lines(&b, sample_b)
        && let Some(found) = pairs.as_ref().map(|p| p.pairs.clone()).or_else(|| glued::pairs(&a, &lines))
    {
        if let Some(finer) = glued::refined(&a, &b, &lines, &found) {
            b = Side::examine(sample_b, &finer, None, room)?;
            loose_b = Loose::new(&b);
            pairs = pair::find((&a, &loose), (&b, &loose_b)).or(pairs);
        }
        pairs = pairs.or_else(|| Some(Pairs::placed(found)));
    }
    if let Some(lines) = glued::lines(&a, sample_a)
        && let Some(found) = pairs.as_ref().map(|p| p.pairs.iter().map(|(i, j)| (*j, *i)).collect()).or_else(|| glued::pairs(&b, &lines))
    {
        if let Some(finer) = glued::refined(&b, &a, &lines, &found) {
            a = Side::examine(sample_a, &finer, None, room)?;
            loose = Loose::new(&a);
            pairs = pair::find((&a, &loose), (&b, &loose_b)).or(pairs);
        }
        pairs = pairs.or_else(|| Some(Pairs::placed(found.into_iter().map(|(i, j)| (j, i)).collect())));
    }
    if let Some((side, keys, found)) = lines::by_line((&a, &loose), (&b, pairs.as_ref()), sample_b, room)? {
        (b, loose_b, pairs) = (side, keys, Some(found));
    }
    let spec = draft::trial_route(&a, &b)?;
    let search = Search::new(&a, &b, (loose, loose_b), pairs.as_ref());
    let mut mapping = search.run(sample_a, &spec, room)?;
    draft::name_tables(&mut mapping, &b, route);
    // Where B has one record for several of A's, and values that none of them has, it sums up: nothing was left out.
    let unproved = |m: &mapping::Match| m.confidence < 0.5 && b.columns[m.target].filled > 0;
    let sums_up = |p: &Pairs| p.fan.1 > 1.2 && mapping.iter().any(unproved);
    let condition = pairs.as_ref().filter(|p| !sums_up(p)).and_then(|p| condition(&a, p));
    let order = pairs.as_ref().map_or_else(Vec::new, |p| order(&b, p));
    let mut grade = Grade::of(&a, &b, &mapping, pairs.as_ref(), condition.as_ref());
    if let Some(hint) = pairs.as_ref().filter(|_| condition.is_none()).and_then(|p| perhaps(&a, p)) {
        grade.reasons.push(hint);
    }
    let shuffled = |p: &Pairs| order.is_empty() && b.rows.len() >= 5 && !p.pairs.is_sorted_by_key(|(i, _)| *i);
    if pairs.as_ref().is_some_and(|p| shuffled(p) && p.fan.1 <= 1.2) {
        grade.order_is_open();
    }
    Ok(Audit { a, b: Some(b), mapping, condition, order, pairs, grade })
}

/// B's side: an import file, or a schema of one.
fn target(sample: &Sample, room: &Room) -> Result<Side> {
    if let Some(side) = schema::side(sample) {
        return Ok(side);
    }
    Side::examine(sample, &dialect::candidates(sample, room)?[0], None, room)
}

/// How often a column has each of its values.
type Counts<'a> = BTreeMap<&'a str, usize>;

/// The columns that may tell A's records that B has from those that it has not, each with its values among the ones and the others.
fn apart<'a>(a: &'a Side, present: &HashSet<usize>, absent: &HashSet<usize>) -> impl Iterator<Item = (usize, Counts<'a>, Counts<'a>)> {
    let of = |column: usize, rows: &HashSet<usize>| {
        let mut counts = Counts::new();
        rows.iter().for_each(|r| *counts.entry(a.rows[*r][column].as_deref().unwrap_or("")).or_default() += 1);
        counts
    };
    let few = a.columns.iter().enumerate().filter(|(_, c)| !c.list && (2..=12).contains(&c.distinct) && c.lengths.1 <= 60);
    few.map(move |(column, _)| (column, of(column, present), of(column, absent)))
}

/// A column by whose value most of A's records that B has not may be left out: B's file may lack some for other reasons.
fn perhaps(a: &Side, pairs: &Pairs) -> Option<String> {
    let absent: HashSet<usize> = pairs.only_a.iter().copied().collect();
    let present: HashSet<usize> = pairs.pairs.iter().map(|(i, _)| *i).collect();
    let mut best: Option<(usize, usize, Vec<&str>, usize)> = None;
    for (column, there, gone) in apart(a, &present, &absent) {
        let left: usize = gone.iter().filter(|(v, _)| !there.contains_key(*v)).map(|(_, n)| n).sum();
        let told = present.len() >= 5 && there.len() <= 3 && there.values().all(|n| *n >= 3) && left * 2 >= absent.len() && left >= 3;
        if told && best.as_ref().is_none_or(|(_, most, ..)| left > *most) {
            let all = there.values().sum::<usize>() + gone.iter().filter(|(v, _)| there.contains_key(*v)).map(|(_, n)| n).sum::<usize>();
            best = Some((column, left, there.into_keys().collect(), all));
        }
    }
    let (column, _, values, all) = best?;
    let (column, total) = (&a.columns[column], present.len() + absent.len());
    let condition = conversions::is_one_of(column, &values);
    Some(format!("perhaps where = \"{condition}\": so it is in all {} records that B has, and in {all} of A's {total}", present.len()))
}

/// A column by whose value A's records are in B's file or not.
fn condition(a: &Side, pairs: &Pairs) -> Option<(String, String)> {
    let absent: HashSet<usize> = pairs.only_a.iter().copied().collect();
    if absent.is_empty() {
        return None;
    }
    let present: HashSet<usize> = pairs.pairs.iter().map(|(i, _)| *i).collect();
    let mut best: Option<(usize, usize, Vec<&str>)> = None;
    for (column, there, gone) in apart(a, &present, &absent) {
        let apart = there.keys().all(|v| !gone.contains_key(v));
        // What stands once may be anything: a key tells all records apart, and says nothing of the next ones.
        let told = there.values().all(|n| *n >= 2) && (there.len() + gone.len()) * 3 <= a.rows.len();
        if apart && told && !there.is_empty() && best.as_ref().is_none_or(|(_, n, _)| there.len() + gone.len() < *n) {
            best = Some((column, there.len() + gone.len(), there.into_keys().collect()));
        }
    }
    let (column, _, values) = best?;
    let condition = conversions::is_one_of(&a.columns[column], &values);
    let records = if absent.len() == 1 { "the record".to_owned() } else { format!("the {} records", absent.len()) };
    Some((condition, format!("{records} of A that B has not are told by {}", a.columns[column].name)))
}

/// The columns by which B's records are in order, where A's are in another.
fn order(b: &Side, pairs: &Pairs) -> Vec<String> {
    let places: Vec<usize> = pairs.pairs.iter().map(|(i, _)| *i).collect();
    if b.rows.len() < 10 || places.is_sorted() {
        return Vec::new();
    }
    let text = |row: &Vec<Option<String>>, c: usize| row[c].clone().unwrap_or_default();
    let sorted = |c: usize| b.rows.is_sorted_by_key(|row| row[c].as_deref().unwrap_or(""));
    let falling = |c: usize| b.rows.is_sorted_by(|x, y| text(x, c) >= text(y, c));
    let telling = |c: &usize| b.columns[*c].distinct * 2 > b.reading.records;
    let Some(first) = (0..b.columns.len()).find(|c| telling(c) && sorted(*c)) else {
        return (0..b.columns.len()).find(|c| telling(c) && falling(*c)).map(|c| format!("-{}", b.columns[c].name)).into_iter().collect();
    };
    let mut order = vec![b.columns[first].name.clone()];
    let both = |c: usize| b.rows.is_sorted_by_key(|row| (row[first].as_deref().unwrap_or(""), row[c].as_deref().unwrap_or("")));
    if b.columns[first].distinct < b.reading.records {
        order.extend((0..b.columns.len()).find(|c| *c != first && b.columns[*c].distinct > 1 && both(*c)).map(|c| b.columns[c].name.clone()));
    }
    order
}

/// What is said of a target that no column gives.
fn unmatched(target: usize, expression: &str, found: mapping::Found, confidence: f64, reason: String) -> mapping::Match {
    mapping::Match { target, expression: expression.to_owned(), confidence, reason, sources: Vec::new(), table: None, others: Vec::new(), found }
}
