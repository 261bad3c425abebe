//! What B demands of its fields: told before a record is written, so that B never refuses a file for it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use rust_decimal::Decimal;

use crate::formats::text::{Style, quoted};
use crate::record::Value;

/// What B demands of one target.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// It may not be empty.
    pub required: bool,
    /// At most so many characters, as written.
    pub max_length: Option<usize>,
    /// No two records of a file have the same.
    pub unique: bool,
    /// Rows behind each other may share it, since `output.group_by` makes one record of them.
    pub grouped: bool,
    /// A regular expression that it matches.
    pub pattern: Option<regex::Regex>,
    /// The values that it may have.
    pub one_of: Option<Vec<String>>,
}

impl Rule {
    pub(super) fn check(&self, value: &Value<'_>, style: &Style, unique: &Unique, at: usize) -> Result<(), String> {
        let text = style.text(value);
        if text.is_empty() {
            return if self.required { Err("it is empty, and B requires it".into()) } else { Ok(()) };
        }
        if let Some(most) = self.max_length {
            let length = text.chars().count();
            if length > most {
                return Err(format!("{} has {length} characters, and B takes {most}", quoted(&text)));
            }
        }
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(&text)
        {
            return Err(format!("{} does not match {}", quoted(&text), pattern.as_str()));
        }
        if let Some(list) = &self.one_of
            && !list.iter().any(|l| *l == text)
        {
            return Err(format!("{} is none of {}", quoted(&text), list.join(", ")));
        }
        if self.unique {
            let same = sameness(value, &text);
            if unique.contains(at, &same) && !(self.grouped && unique.is_last(at, &same)) {
                return Err(format!("{} stands in an earlier record, and B wants it unique", quoted(&text)));
            }
        }
        Ok(())
    }
}

/// The values that `unique` has seen in this file: 16 bytes each, whatever their length.
#[derive(Debug)]
pub struct Unique {
    seen: HashSet<(usize, u64, u64)>,
    /// What each rule of grouped rows has seen last.
    last: HashMap<usize, (usize, u64, u64)>,
    keys: (RandomState, RandomState),
    most: usize,
    /// It holds as many as it may: the file can't be judged any further.
    pub full: bool,
}

impl Unique {
    /// A memory that holds at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        // A set entry of 24 bytes costs about twice that while the set grows.
        let most = usize::try_from(bytes_max / 56).unwrap_or(usize::MAX);
        Self { seen: HashSet::new(), last: HashMap::new(), keys: (RandomState::new(), RandomState::new()), most, full: false }
    }
    fn key(&self, at: usize, text: &str) -> (usize, u64, u64) {
        (at, self.keys.0.hash_one(text), self.keys.1.hash_one(text))
    }
    fn contains(&self, at: usize, text: &str) -> bool {
        self.seen.contains(&self.key(at, text))
    }
    fn is_last(&self, at: usize, text: &str) -> bool {
        self.last.get(&at) == Some(&self.key(at, text))
    }
    pub(super) fn insert(&mut self, at: usize, text: &str) {
        if self.seen.len() >= self.most {
            self.full = true;
            return;
        }
        let key = self.key(at, text);
        self.seen.insert(key);
    }
    pub(super) fn set_last(&mut self, at: usize, text: &str) {
        let key = self.key(at, text);
        self.last.insert(at, key);
    }
}

/// What two values have in common that B takes for the same: 1.0 is 1.
pub(super) fn sameness<'t>(value: &Value<'_>, text: &'t str) -> Cow<'t, str> {
    let number = match value {
        Value::Number(n) => Some(*n),
        Value::Digits(digits) => digits.parse().ok(),
        _ => None,
    };
    number.map_or(Cow::Borrowed(text), |n: Decimal| Cow::Owned(n.normalize().to_string()))
}
