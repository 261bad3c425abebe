//! Expressions tried on records before they stand in any route: what each would give, or that it gives nothing.

use bumpalo::Bump;

use super::Transformation;
use super::eval::{Context, Env, State, Turn};
use super::lookup::Lookups;
use super::plan::{Mapping, Plan};
use crate::record::{Columns, Record, Value};

/// Expressions over the records of one sample.
pub struct Trial<'t> {
    spec: &'t Transformation,
    /// The columns, once for all plans.
    columns: Columns,
    /// None: it does not compile.
    plans: Vec<Option<(Plan, State)>>,
    context: Context,
    lookups: Lookups,
    arena: Bump,
}

impl<'t> Trial<'t> {
    /// Compiles `expressions` for records with these columns; `each` is the list whose elements are the records.
    pub fn new(spec: &'t Transformation, columns: &Columns, each: Option<&str>, expressions: &[String]) -> Self {
        let plan = |expression: &String| {
            let map = Some(vec![("target".to_owned(), expression.clone())]);
            let mapping = Mapping { each: each.map(str::to_owned), map, ..Mapping::default() };
            Plan::compile(&mapping, Some(columns)).ok().map(|mut plan| {
                // Thousands of plans for thousands of columns: none needs a copy of them.
                plan.columns = Columns::default();
                let state = State::new(plan.fields.len());
                (plan, state)
            })
        };
        Self {
            spec,
            columns: columns.clone(),
            plans: expressions.iter().map(plan).collect(),
            context: Context::none(),
            lookups: Lookups::default(),
            arena: Bump::new(),
        }
    }

    /// What each expression gives for a record, or for an element of its list with its place in it and the list's length, as B
    /// would read it; none: it rejects the record.
    pub fn texts(&mut self, record: &Record, item: Option<(&Value<'static>, usize, usize)>) -> Vec<Option<String>> {
        self.arena.reset();
        let text = |(plan, state): &(Plan, State)| {
            let env = Env {
                record,
                columns: &self.columns,
                reading: &self.spec.reading,
                style: &self.spec.style,
                lookups: &self.lookups,
                context: &self.context,
                turn: item.map(|(item, index, length)| Turn { item, index, length }),
                change: None,
                state,
                arena: &self.arena,
            };
            let value = plan.target(0, &env).ok()?;
            Some(self.spec.style.text(&value).into_owned())
        };
        self.plans.iter().map(|plan| plan.as_ref().and_then(text)).collect()
    }
}
