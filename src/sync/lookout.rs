//! Tells on any thread which records are as they were, without a look into the memory.

use std::cell::RefCell;
use std::sync::Arc;

use super::Keeps;
use super::index::Index;
use super::prepared::{Prepared, Scratch};
use crate::record::Value;
use crate::transform::changes::{Scout, Sighting};
use crate::transform::eval::Env;
use crate::transform::plan::Plan;

/// Knows without a look into the memory which records are as they were.
pub(super) struct Lookout {
    pub(super) index: Arc<Index>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) keeps: Keeps,
}

impl Scout for Lookout {
    fn sight(&self, plan: &Plan, env: &Env<'_>, values: &[Value<'_>]) -> Option<Sighting> {
        SCRATCH.with_borrow_mut(|scratch| {
            let key = self.prepared.id_of(plan, env, values, scratch)?;
            let mark = match &self.prepared.shown {
                Some(_) => self.prepared.shown_mark(env, scratch),
                None => self.prepared.mapped_mark(values, scratch),
            };
            Some(Sighting { key, mark })
        })
    }

    fn unchanged(&self, sighting: &Sighting) -> Option<usize> {
        let at = self.index.find(&sighting.key)?;
        let known = self.index.is_quiet(at, sighting.mark) && (self.prepared.shown.is_some() || self.keeps == Keeps::Marks || self.index.has_rows(at));
        known.then_some(at)
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
