//! The names of nested records: the same name is the same allocation, however many records have it.

use std::collections::HashMap;

use crate::record::Key;

/// More names than that are not remembered: a document with ever new names gets no memory without end.
const NAMES_MAX: usize = 10_000;

/// The names that were seen. Records of one kind have the same names in the same order, so that the next one is mostly
/// known before it is looked for.
#[derive(Debug, Default)]
pub(super) struct Names {
    places: HashMap<Key, usize>,
    known: Vec<Key>,
    /// What came after each name when it was seen last.
    after: Vec<usize>,
    last: usize,
}

impl Names {
    /// The shared name, if it was seen before.
    pub(super) fn find(&mut self, name: &str) -> Option<Key> {
        let guess = self.after.get(self.last).copied().unwrap_or(0);
        if let Some(key) = self.known.get(guess).filter(|k| ***k == *name) {
            self.last = guess;
            return Some(key.clone());
        }
        let place = *self.places.get(name)?;
        self.go(place);
        Some(self.known[place].clone())
    }

    fn go(&mut self, place: usize) {
        if let Some(after) = self.after.get_mut(self.last) {
            *after = place;
        }
        self.last = place;
    }

    /// Remembers a name under which `key` is found.
    pub(super) fn add(&mut self, name: &str, key: &Key) {
        if self.known.len() >= NAMES_MAX {
            return;
        }
        // A name with a prefix is found by it, and shows itself without.
        let found: Key = if **key == *name { key.clone() } else { name.into() };
        let place = self.known.len();
        self.places.insert(found, place);
        self.known.push(key.clone());
        self.after.push(place);
        self.go(place);
    }

    /// The shared name.
    pub(super) fn key(&mut self, name: &str) -> Key {
        self.find(name).unwrap_or_else(|| {
            let key: Key = name.into();
            self.add(name, &key);
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_allocation_in_any_order() {
        let mut names = Names::default();
        let first: Vec<Key> = ["a", "b", "c"].map(|n| names.key(n)).into();
        for order in [["a", "b", "c"], ["c", "a", "b"], ["b", "b", "a"], ["a", "b", "c"]] {
            for name in order {
                let key = names.key(name);
                assert!(first.iter().any(|k| std::sync::Arc::ptr_eq(k, &key)) && *key == *name, "{name}");
            }
        }
        assert_eq!(names.find("d"), None);
    }
}
