//! What is compared of a route's records: the targets, what they are made of, and the key. Made once for each header.

use super::cell::{Cell, Marker, Row, push};
use super::entry::{Id, Side, id_of};
use super::{Meta, Spec};
use crate::error::{Error, Result};
use crate::formats::text::{Encoder, Style};
use crate::record::{Columns, Reject, Value};
use crate::transform::Transformation;
use crate::transform::eval::Env;
use crate::transform::plan::{Ground, Mapping, Plan, Read, by_brackets};

/// What is known of the plan in hand.
pub(super) struct Prepared {
    /// The target's place and its number in the memory.
    pub(super) targets: Vec<(usize, u16)>,
    /// Those that are compared: the place, the number, and the columns of this side that it is made of.
    pub(super) compared: Vec<(usize, u16)>,
    pub(super) grounds: Vec<(u16, Vec<u16>)>,
    /// Gives the columns of the record that the memory keeps; none where marks are enough.
    pub(super) shown: Option<(Plan, Vec<u16>)>,
    /// The places of the columns in it that are the key; none: the key stands among the targets.
    pub(super) key: Option<Vec<usize>>,
    /// The columns of `shown` in the order of their numbers.
    order: Vec<(usize, u16)>,
    /// How many targets there are.
    pub(super) width: usize,
}

/// Room that is used for one record after the other.
#[derive(Default)]
pub(super) struct Scratch {
    marker: Marker,
    text: String,
}

impl Prepared {
    /// What is compared of the records that are mapped by this plan; columns that are new get a number.
    pub(super) fn new(spec: &Spec, transformation: &Transformation, side: Side, meta: &mut Meta, plan: &Plan) -> Result<Self> {
        let other = side.other();
        let grounds = plan.grounds();
        let kept = (0..plan.targets.len()).filter(|at| grounds.get(*at) != Some(&Ground::Change));
        let targets: Vec<(usize, u16)> = kept.map(|at| (at, meta.column(other, &plan.targets[at]))).collect();
        let compared: Vec<(usize, u16)> = targets.iter().copied().filter(|(at, _)| grounds.get(*at) == Some(&Ground::Record)).collect();
        let reads = plan.reads();
        let mut wanted: Vec<(String, String)> = Vec::new();
        let mut of = |read: &Read, columns: &Columns| {
            let (name, text) = match read {
                Read::Column(name) => (name.clone(), by_brackets(name, Some(columns))),
                Read::Item => ("(item)".to_owned(), "item".to_owned()),
                Read::Parent => ("(parent)".to_owned(), "parent".to_owned()),
                Read::Row => ("(row)".to_owned(), "row".to_owned()),
            };
            if !wanted.iter().any(|(n, _)| *n == name) {
                wanted.push((name.clone(), text));
            }
            name
        };
        let mut made_of = Vec::new();
        for (at, column) in &compared {
            let names: Vec<String> = reads.get(*at).into_iter().flatten().map(|r| of(r, &plan.columns)).collect();
            made_of.push((*column, names));
        }
        let theirs: Vec<String> = spec.opposite.iter().filter(|_| side == Side::B).flat_map(|o| o.key.clone()).collect();
        if let (Some(lacking), Some(o)) =
            (theirs.iter().find(|n| !plan.columns.names.is_empty() && plan.columns.closed() && plan.columns.position(n).is_none()), &spec.opposite)
        {
            let message = format!("the file has no column {lacking}, which is the key of the opposite route {}", o.route);
            return Err(Error::file(message).at("sync").hint("ask that program to export it, or change sync.key of the opposite route"));
        }
        for name in &theirs {
            of(&Read::Column(name.clone()), &plan.columns);
        }
        // What an element or a member that is absent means is only known of those that the map reads: a program may export a
        // record under other names than it imports it, and does not hold nothing under those.
        let own: Vec<String> = made_of.iter().flat_map(|(_, names): &(u16, Vec<String>)| names).chain(&theirs).cloned().collect();
        let is_read = |name: &str| own.iter().any(|column| name.strip_prefix(column.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
        for name in spec.opposite.iter().flat_map(|o| &o.targets) {
            let shown = if plan.columns.closed() { plan.columns.position(name).is_some() } else { is_read(name) };
            if shown {
                of(&Read::Column(name.clone()), &plan.columns);
            }
        }
        let key = (!theirs.is_empty()).then(|| theirs.iter().filter_map(|n| wanted.iter().position(|(w, _)| w == n)).collect());
        let grounds = made_of.iter().map(|(c, names)| (*c, names.iter().map(|n| meta.column(side, n)).collect())).collect();
        let shown = match &spec.opposite {
            None => None,
            Some(_) => {
                let own = &transformation.mapping;
                let columns: Vec<u16> = wanted.iter().map(|(n, _)| meta.column(side, n)).collect();
                let mapping = Mapping { map: Some(wanted), types: own.types.clone(), each: own.each.clone(), lets: own.lets.clone(), ..Mapping::default() };
                let columns_known = Some(&plan.columns).filter(|c| c.nested || !c.names.is_empty());
                let plan = Plan::compile(&mapping, columns_known).map_err(|_| Error::relay("the columns of the source can't be read"))?;
                Some((plan, columns))
            }
        };
        let mut order: Vec<(usize, u16)> = shown.iter().flat_map(|(_, columns)| columns.iter().copied().enumerate()).collect();
        order.sort_by_key(|(_, c)| *c);
        Ok(Self { order, width: plan.targets.len(), targets, compared, grounds, shown, key })
    }

    /// The key of a record. `values` are its targets, where they were computed.
    pub(super) fn key_of<'r>(&'r self, plan: &'r Plan, env: &Env<'r>, values: Option<&[Value<'r>]>) -> std::result::Result<Vec<String>, Reject> {
        let mut key = Vec::with_capacity(plan.key().len());
        let mut add = |value: &Value<'_>| {
            let mut text = String::new();
            push(&mut text, value);
            key.push(text);
        };
        match (&self.key, &self.shown) {
            // The other side names the key; this side's own may be written otherwise.
            (Some(places), Some((shown, _))) => {
                for at in places {
                    add(&shown.target(*at, env)?);
                }
            }
            _ => {
                for at in plan.key() {
                    match values.and_then(|v| v.get(*at)) {
                        Some(value) => add(value),
                        None => add(&plan.target(*at, env)?),
                    }
                }
            }
        }
        if key.iter().all(|k| k.trim().is_empty()) {
            let name = plan.key().first().and_then(|at| plan.targets.get(*at)).cloned().unwrap_or_default();
            return Err(Reject::new(name, "the key is empty, and tells the record from no other"));
        }
        Ok(key)
    }

    /// The record as it is exported.
    pub(super) fn shown(&self, env: &Env<'_>) -> Row {
        let Some((plan, _)) = &self.shown else { return Row::default() };
        let env = Env { columns: &plan.columns, ..*env };
        // What does not fit its type was told by the map: it rejects the record.
        self.order.iter().map(|(at, column)| (*column, Cell::of(&plan.target(*at, &env).unwrap_or(Value::Null), env.style))).collect()
    }

    /// The targets of a record, by their numbers.
    pub(super) fn row_of(&self, values: &[Value<'_>], style: &Style, encoder: &Encoder) -> Row {
        let cell = |at: &usize| Cell::of(values.get(*at).unwrap_or(&Value::Null), style).encoded(encoder);
        self.targets.iter().map(|(at, column)| (*column, cell(at))).collect()
    }

    /// The mark of what a record is mapped to.
    pub(super) fn mapped_mark(&self, values: &[Value<'_>], scratch: &mut Scratch) -> u64 {
        let Scratch { marker, text } = scratch;
        marker.clear();
        self.compared.iter().for_each(|(at, column)| marker.add_value(*column, values.get(*at).unwrap_or(&Value::Null), text));
        marker.finish()
    }

    /// The mark of the record as it is exported: that of [`Prepared::shown`].
    pub(super) fn shown_mark(&self, env: &Env<'_>, scratch: &mut Scratch) -> u64 {
        let Some((plan, _)) = &self.shown else { return 0 };
        let Scratch { marker, text } = scratch;
        marker.clear();
        let env = Env { columns: &plan.columns, ..*env };
        for (at, column) in &self.order {
            marker.add_value(*column, &plan.target(*at, &env).unwrap_or(Value::Null), text);
        }
        marker.finish()
    }

    /// The id of a record's key.
    pub(super) fn id_of(&self, plan: &Plan, env: &Env<'_>, values: &[Value<'_>], scratch: &mut Scratch) -> Option<Id> {
        if let (None, [only]) = (&self.key, plan.key()) {
            // One column among the targets, as most keys are.
            let text = &mut scratch.text;
            text.clear();
            push(text, values.get(*only)?);
            return (!text.trim().is_empty()).then(|| id_of(std::slice::from_ref(text)));
        }
        let arena = bumpalo::Bump::new();
        self.key_of(plan, &Env { arena: &arena, ..*env }, None).ok().map(|key| id_of(&key))
    }
}
