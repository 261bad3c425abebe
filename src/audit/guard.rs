//! Expressions that hold for the records that both sides share, kept from rejecting those in which A has nothing.

use std::collections::BTreeSet;

use super::mapping::{Found, Match, Search};
use super::read;
use super::sample::Sample;
use crate::config::Route;
use crate::error::Result;
use crate::formats::Room;
use crate::transform::trial::Trial;

/// Where an expression rejects records of the sample because a column has nothing in them, makes it give nothing.
pub(super) fn guarded(search: &Search<'_>, found: &mut [Match], sample: &Sample, spec: &Route, room: &Room) -> Result<()> {
    let a = &search.a.columns;
    let computed = |m: &&mut Match| {
        let columns = || m.sources.iter().map(|s| &a[*s]);
        m.found == Found::Source && m.table.is_none() && columns().any(|c| c.nulls > 0) && columns().all(|c| c.expr != m.expression)
    };
    let mut computed: Vec<&mut Match> = found.iter_mut().filter(computed).collect();
    let Some(transformation) = spec.transformation.as_ref().filter(|_| !computed.is_empty()) else { return Ok(()) };
    let expressions: Vec<String> = computed.iter().map(|m| m.expression.clone()).collect();
    let mut empty: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); computed.len()];
    let each = search.a.each.as_ref();
    let mut trial: Option<Trial<'_>> = None;
    read::each(sample, &search.a.dialect, each, room, &mut |row, columns| {
        let trial = trial.get_or_insert_with(|| Trial::new(transformation, columns, each.map(|e| e.expr.as_str()), &expressions));
        let Some(cells) = search.a.rows.get(row.index as usize) else { return Ok(false) };
        for (at, _) in trial.texts(row.record, row.item.map(|i| (i.value, i.index, i.length))).iter().enumerate().filter(|(_, text)| text.is_none()) {
            empty[at].extend(computed[at].sources.iter().filter(|s| cells[**s].as_deref().is_none_or(|text| text.trim().is_empty())));
        }
        Ok(true)
    })?;
    for (m, empty) in computed.iter_mut().zip(empty).filter(|(_, empty)| !empty.is_empty()) {
        let condition = |s: &usize| if a[*s].typed { format!("{} is not none", a[*s].expr) } else { format!("({} | trim)", a[*s].expr) };
        let condition: Vec<String> = empty.iter().map(condition).collect();
        let nothing = if search.b.columns[m.target].typed { "null" } else { "''" };
        m.expression = format!("({}) if {} else {nothing}", m.expression, condition.join(" and "));
    }
    Ok(())
}
