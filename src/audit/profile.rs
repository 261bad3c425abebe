//! What a column holds: its type, how it is written, what is missing, what repeats — from all values that were read,
//! within a bounded memory.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use xxhash_rust::xxh3::Xxh3Builder;

use super::dialect::Note;
use super::read::Reach;
use super::signs::{Signs, settle_dates, signs_of};
use super::values::{self, BOOLS, DATES, DATETIMES};
use crate::formats::text::Reading;

/// Values that are counted one by one.
const COUNTED_MAX: usize = 256;
/// Hashes by which distinct values are counted, all columns together.
const HASHES_MAX: usize = 4_000_000;

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing at all.
    Empty,
    /// Text.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers with decimals.
    Decimal,
    /// Days.
    Date,
    /// Days and times.
    DateTime,
    /// Yes or no.
    Bool,
}

impl Profile {
    /// A column of which only the name is known.
    pub fn empty(name: String) -> Self {
        Self {
            expr: super::read::by_name(&name),
            name,
            list: false,
            kind: Kind::Empty,
            pattern: None,
            typed: false,
            filled: 0,
            nulls: 0,
            distinct: 0,
            key: false,
            lengths: (0, 0),
            top: Vec::new(),
            examples: Vec::new(),
            decimal: None,
            numeric: false,
            decimals: None,
            required: false,
            max_length: None,
            given: None,
            notes: Vec::new(),
        }
    }
    /// Whether its values are amounts, though zeros may fill them up to one width.
    pub fn is_amount(&self) -> bool {
        self.kind.is_number() || (self.numeric && self.decimals.is_some_and(|d| d > 0))
    }
}

impl Kind {
    /// The name of the type in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Empty | Kind::Text => "text",
            Kind::Integer => "integer",
            Kind::Decimal => "decimal",
            Kind::Date => "date",
            Kind::DateTime => "datetime",
            Kind::Bool => "bool",
        }
    }
    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Kind::Integer | Kind::Decimal)
    }
}

/// What is known of a column.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The expression that reaches it.
    pub expr: String,
    /// It holds lists.
    pub list: bool,
    /// What its values are.
    pub kind: Kind,
    /// The pattern of its dates; none: ISO 8601.
    pub pattern: Option<String>,
    /// Values that are by themselves what they are: JSON numbers, cells of workbooks.
    pub typed: bool,
    /// Values that are not empty.
    pub filled: u64,
    /// Records without a value.
    pub nulls: u64,
    /// Different values, exact or estimated.
    pub distinct: u64,
    /// No value stands twice, and none is missing.
    pub key: bool,
    /// The shortest and the longest value, in characters.
    pub lengths: (usize, usize),
    /// The most frequent values, where there are few.
    pub top: Vec<(String, u64)>,
    /// The first values.
    pub examples: Vec<String>,
    /// The sign before the decimals of its own numbers.
    pub decimal: Option<char>,
    /// All values are numbers, be they filled up with zeros or too long to be computed with.
    pub numeric: bool,
    /// How many decimals all its numbers have.
    pub decimals: Option<usize>,
    /// A schema says that it must not be empty.
    pub required: bool,
    /// A schema says how long it may be.
    pub max_length: Option<usize>,
    /// A schema says what it is.
    pub given: Option<super::schema::Given>,
    /// What was noticed.
    pub notes: Vec<Note>,
}

/// Counts distinct values: exactly while there are few, by the smallest hashes when there are many (Bar-Yossef et al.,
/// "Counting distinct elements in a data stream", 2002).
#[derive(Debug, Default)]
struct Distinct {
    smallest: BTreeSet<u64>,
    dropped: bool,
}

impl Distinct {
    /// False: the value was there before, as far as that is known.
    fn add(&mut self, hash: u64, most: usize) -> bool {
        if self.dropped && self.smallest.last().is_some_and(|last| hash > *last) {
            return true;
        }
        let new = self.smallest.insert(hash);
        if self.smallest.len() > most {
            self.smallest.pop_last();
            self.dropped = true;
        }
        new
    }
    fn count(&self) -> u64 {
        match self.smallest.last() {
            // Hashes are spread evenly over 64 bits.
            Some(last) if self.dropped => ((self.smallest.len() - 1) as f64 / (*last as f64 / u64::MAX as f64)) as u64,
            _ => self.smallest.len() as u64,
        }
    }
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) filled: u64,
    distinct: Distinct,
    /// A value stood twice: its line.
    pub(super) repeated: Option<(u64, String)>,
    pub(super) counts: Option<HashMap<String, u64>>,
    pub(super) examples: Vec<String>,
    pub(super) lengths: (usize, usize),
    pub(super) integers: u64,
    pub(super) numbers: u64,
    /// Numbers by their signs: decimal, thousands, ambiguous.
    pub(super) decimal: HashMap<char, (u64, u64)>,
    pub(super) thousands: HashMap<char, u64>,
    pub(super) ambiguous: HashMap<char, u64>,
    /// Whole numbers without a sign: those below a thousand, and the others.
    pub(super) plain: (u64, u64),
    pub(super) decimals: BTreeSet<usize>,
    pub(super) leading_zero: Option<(u64, String)>,
    pub(super) long: Option<(u64, String)>,
    pub(super) not_number: Option<(u64, String)>,
    /// Values that no pattern reads which reads the others, and the first of them.
    no_date: (u64, Option<(u64, String)>),
    pub(super) dates: u64,
    pub(super) datetimes: u64,
    /// The value at which each pattern was given up.
    pub(super) lost: HashMap<usize, (u64, String)>,
    pub(super) bools: u64,
    pub(super) spaces: (u64, u64),
    pub(super) control: (u64, u64),
    pub(super) kinds: HashMap<&'static str, u64>,
}

impl Default for Column {
    fn default() -> Self {
        Self {
            filled: 0,
            distinct: Distinct::default(),
            repeated: None,
            counts: Some(HashMap::new()),
            examples: Vec::new(),
            lengths: (usize::MAX, 0),
            integers: 0,
            numbers: 0,
            decimal: HashMap::new(),
            thousands: HashMap::new(),
            ambiguous: HashMap::new(),
            plain: (0, 0),
            decimals: BTreeSet::new(),
            leading_zero: None,
            long: None,
            not_number: None,
            no_date: (0, None),
            dates: (1 << DATES.len()) - 1,
            datetimes: (1 << DATETIMES.len()) - 1,
            lost: HashMap::new(),
            bools: (1 << BOOLS.len()) - 1,
            spaces: (0, 0),
            control: (0, 0),
            kinds: HashMap::new(),
        }
    }
}

/// Profiles the columns of a sample while its records go by.
#[derive(Default)]
pub struct Profiler {
    columns: Vec<Column>,
    records: u64,
    reading: Reading,
    hasher: Xxh3Builder,
    hashes_each: usize,
}

impl Profiler {
    /// A profiler for about so many columns.
    pub fn new(columns: usize) -> Self {
        Self { hashes_each: (HASHES_MAX / columns.max(1)).clamp(256, 200_000), ..Self::default() }
    }

    /// Adds one record's cells.
    pub fn record(&mut self, line: u64, cells: &[super::read::Cell]) {
        self.records += 1;
        for (at, text, kind) in cells {
            if self.columns.len() <= *at {
                self.columns.resize_with(at + 1, Column::default);
            }
            let Some(text) = text.as_deref().filter(|t| !t.trim().is_empty()) else { continue };
            let hash = self.hasher.hash_one(text);
            self.columns[*at].add(&self.reading, line, text, *kind, hash, self.hashes_each);
        }
    }

    /// The profiles, and how the file writes numbers and dates.
    pub fn finish(self, reaches: &[Reach]) -> (Vec<Profile>, Signs, Vec<Note>) {
        let mut columns = self.columns;
        columns.resize_with(reaches.len(), Column::default);
        let mut notes = Vec::new();
        let mut signs = signs_of(&columns, &mut notes);
        let mut profiles: Vec<Profile> = columns.iter().zip(reaches).map(|(c, r)| c.profile(r, self.records, &signs, self.hashes_each)).collect();
        settle_dates(&columns, &mut profiles, &mut signs, &mut notes);
        (profiles, signs, notes)
    }
}

impl Column {
    fn add(&mut self, reading: &Reading, line: u64, text: &str, kind: Option<&'static str>, hash: u64, hashes: usize) {
        self.filled += 1;
        if !self.distinct.add(hash, hashes) && self.repeated.is_none() {
            self.repeated = Some((line, brief(text)));
        }
        if let Some(counts) = &mut self.counts {
            if let Some(n) = counts.get_mut(text) {
                *n += 1;
            } else if counts.len() < COUNTED_MAX && text.len() <= 200 {
                counts.insert(text.to_owned(), 1);
            } else {
                self.counts = None;
            }
        }
        if self.examples.len() < 5 && !self.examples.iter().any(|e| e == text) {
            self.examples.push(text.chars().take(200).collect());
        }
        let length = text.chars().count();
        self.lengths = (self.lengths.0.min(length), self.lengths.1.max(length));
        if let Some(kind) = kind {
            *self.kinds.entry(kind).or_default() += 1;
        }
        let note = |slot: &mut (u64, u64)| {
            slot.0 += 1;
            if slot.1 == 0 {
                slot.1 = line;
            }
        };
        let trimmed = text.trim();
        if trimmed.len() != text.len() {
            note(&mut self.spaces);
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            note(&mut self.control);
        }
        match values::number(trimmed) {
            Some(n) => {
                self.numbers += 1;
                if n.leading_zero && self.leading_zero.is_none() {
                    self.leading_zero = Some((line, trimmed.to_owned()));
                }
                if n.digits > 15 && n.decimal.is_none() && self.long.is_none() {
                    self.long = Some((line, trimmed.to_owned()));
                }
                if let Some(sign) = n.decimal {
                    self.decimal.entry(sign).or_insert((0, line)).0 += 1;
                }
                if let Some(sign) = n.thousands {
                    *self.thousands.entry(sign).or_default() += 1;
                }
                if let Some(sign) = n.ambiguous {
                    *self.ambiguous.entry(sign).or_default() += 1;
                }
                if n.decimal.is_none() && n.thousands.is_none() && n.ambiguous.is_none() {
                    self.integers += 1;
                    if n.digits <= 3 { self.plain.0 += 1 } else { self.plain.1 += 1 }
                }
                if self.decimals.len() < 10 {
                    self.decimals.insert(n.decimals);
                }
            }
            None if self.not_number.is_none() => self.not_number = Some((line, brief(trimmed))),
            None => {}
        }
        if self.dates != 0 {
            let found = values::dates(reading, trimmed, self.dates);
            if found == 0 {
                self.no_date.0 += 1;
                self.no_date.1.get_or_insert_with(|| (line, brief(trimmed)));
                // A few values that are none make no column of texts.
                if self.no_date.0 * 10 > self.filled {
                    self.dates = 0;
                }
            }
            if found != 0 {
                for i in (0..DATES.len()).filter(|i| self.dates & !found & (1 << i) != 0) {
                    self.lost.entry(i).or_insert_with(|| (line, trimmed.to_owned()));
                }
                self.dates = found;
            }
        }
        self.datetimes = if self.datetimes == 0 { 0 } else { values::datetimes(reading, trimmed, self.datetimes) };
        self.bools = if self.bools == 0 { 0 } else { values::bools(trimmed, self.bools) };
    }

    /// Whether all of its values are numbers that may be computed with.
    pub(super) fn is_number(&self) -> bool {
        self.filled > 0 && self.numbers == self.filled && self.leading_zero.is_none() && self.long.is_none()
    }

    fn profile(&self, reach: &Reach, records: u64, signs: &Signs, hashes: usize) -> Profile {
        let distinct = self.distinct.count();
        let mut notes = Vec::new();
        let all = |bits: u64| self.filled > 0 && bits != 0;
        let own_kind = self.kinds.iter().max_by_key(|(_, n)| **n).map(|(k, _)| *k);
        let typed = own_kind.is_some() && self.kinds.values().sum::<u64>() == self.filled;
        let calendar =
            all(self.dates) && (0..DATES.len()).any(|i| self.dates & (1 << i) != 0 && (!values::bare_digits(DATES[i]) || self.bare_dates(&reach.name, i)));
        let kind = match own_kind {
            _ if self.filled == 0 => Kind::Empty,
            _ if reach.list => Kind::Text,
            Some("bool") if typed => Kind::Bool,
            Some("date") if typed => Kind::Date,
            Some("datetime" | "date") if typed => Kind::DateTime,
            Some("decimal" | "integer") if typed => {
                if self.kinds.contains_key("decimal") {
                    Kind::Decimal
                } else {
                    Kind::Integer
                }
            }
            _ if calendar => Kind::Date,
            _ if all(self.datetimes) && self.datetimes_fit() => Kind::DateTime,
            _ if all(self.bools) => Kind::Bool,
            _ if self.is_number() && !(super::names::is_code(&reach.name) && self.integers == self.filled) => {
                if self.integers == self.filled
                    || (self.decimal.is_empty()
                        && self.thousands.is_empty()
                        && signs.decimal.is_some_and(|d| !self.ambiguous.contains_key(&d))
                        && self.grouped(signs))
                {
                    Kind::Integer
                } else {
                    Kind::Decimal
                }
            }
            _ => Kind::Text,
        };
        if let Some((line, value)) = self.leading_zero.as_ref().filter(|_| self.numbers == self.filled && kind == Kind::Text) {
            notes.push(Note::new(format!("leading zeros, as in {value}: text that a spreadsheet or a numeric type would damage"), *line));
        }
        if let Some((line, value)) = self.long.as_ref().filter(|_| self.numbers == self.filled) {
            notes.push(Note::new(format!("numbers of more than 15 digits, as in {value}: text that a spreadsheet would round"), *line));
        }
        if self.filled >= 20
            && self.numbers < self.filled
            && self.numbers * 20 >= self.filled * 19
            && let Some((line, value)) = &self.not_number
        {
            let count = self.filled - self.numbers;
            let them = if count == 1 { "value is no number".to_owned() } else { "values are no numbers".to_owned() };
            notes.push(Note::new(format!("{count} {them}, as in {}", crate::formats::text::quoted(value)), *line));
        }
        if let Some((line, value)) = self.no_date.1.as_ref().filter(|_| self.dates != 0 && self.filled >= 5 && kind == Kind::Text && self.numbers < self.filled)
        {
            let them = if self.no_date.0 == 1 { "1 value is no date".to_owned() } else { format!("{} values are no dates", self.no_date.0) };
            notes.push(Note::new(format!("{them} among dates, as in {}", crate::formats::text::quoted(value)), *line));
        }
        if self.spaces.0 > 0 {
            notes.push(Note::new(format!("spaces around {} values", self.spaces.0), self.spaces.1));
        }
        if self.control.0 > 0 {
            notes.push(Note::new(format!("control characters in {} values", self.control.0), self.control.1));
        }
        // A candidate whose few repetitions are mistakes of the data is worth a word.
        let nulls = records.saturating_sub(self.filled);
        if let Some((line, value)) = self.repeated.as_ref().filter(|_| records >= 20 && nulls == 0 && distinct < records && distinct * 100 >= records * 98) {
            notes.push(Note::new(format!("almost a key, but {} stands more than once", crate::formats::text::quoted(value)), *line));
        }
        let decimal = self.decimal.iter().max_by_key(|(_, (n, _))| *n).map(|(c, _)| *c);
        if let (Some(own), Some(file)) = (decimal, signs.decimal)
            && own != file
            && kind == Kind::Decimal
        {
            let line = self.decimal.get(&own).map_or(0, |(_, line)| *line);
            notes.push(Note::new(format!("decimals are written with {}, elsewhere with {}", quoted(own), quoted(file)), line));
        }
        if let (Kind::Decimal, [(a, (_, _)), (b, (_, line))]) = (kind, &self.decimal.iter().collect::<Vec<_>>()[..]) {
            notes.push(Note::new(format!("decimals are written with {} and with {}", quoted(**a), quoted(**b)), *line));
        }
        let mut top: Vec<(String, u64)> = self.counts.iter().flatten().map(|(t, n)| (t.clone(), *n)).collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        if super::names::is_secret(&reach.name) {
            // Neither what it holds nor where: nobody needs to see that.
            notes.clear();
            top.clear();
        }
        let key = records > 0 && nulls == 0 && self.repeated.is_none() && !reach.list && !(self.distinct.dropped && records > hashes as u64 * 50);
        Profile {
            name: reach.name.clone(),
            expr: reach.expr.clone(),
            list: reach.list,
            kind,
            pattern: None,
            typed,
            filled: self.filled,
            nulls,
            distinct: distinct.min(self.filled),
            key,
            lengths: (if self.filled == 0 { 0 } else { self.lengths.0 }, self.lengths.1),
            top,
            examples: if super::names::is_secret(&reach.name) { Vec::new() } else { self.examples.clone() },
            decimal,
            decimals: match self.decimals.iter().collect::<Vec<_>>()[..] {
                // A number that is no text has no decimals of its own.
                [one] if self.numbers == self.filled && !typed => Some(*one),
                _ => None,
            },
            numeric: self.filled > 0 && self.numbers == self.filled,
            required: false,
            max_length: None,
            given: None,
            notes,
        }
    }

    /// Digits without a sign between them are dates where all are within a lifetime, or the name says so.
    pub(super) fn bare_dates(&self, name: &str, pattern: usize) -> bool {
        let named = super::names::is_date(name);
        match DATES[pattern] {
            "%Y%m%d" => named || self.filled >= 2 && self.lengths == (8, 8),
            _ => named,
        }
    }

    fn datetimes_fit(&self) -> bool {
        (0..DATETIMES.len()).any(|i| self.datetimes & (1 << i) != 0 && DATETIMES[i].is_none_or(|p| !values::bare_digits(p) || self.filled >= 2))
    }

    fn grouped(&self, signs: &Signs) -> bool {
        self.ambiguous.keys().all(|c| Some(*c) != signs.decimal)
    }
}

pub(super) fn quoted(c: char) -> String {
    crate::formats::text::quoted(&c.to_string())
}

/// The beginning of a value, for a remark.
fn brief(text: &str) -> String {
    text.chars().take(60).collect()
}
