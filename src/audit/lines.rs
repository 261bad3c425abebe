//! B's records that hold lists of records, as orders hold lines: looked at line by line, each with its order's own columns.

use super::Side;
use super::dialect;
use super::draft::Grouped;
use super::pair::{self, Loose, Pairs};
use super::read::Reach;
use super::sample::Sample;
use crate::error::Result;
use crate::formats::Room;

/// Ways to read B that are tried.
const WAYS_MAX: usize = 4;

/// B line by line, if more of it is found in A so.
pub(super) fn by_line((a, loose): (&Side, &Loose), plain: (&Side, Option<&Pairs>), sample: &Sample, room: &Room) -> Result<Option<(Side, Loose, Pairs)>> {
    let (b, found) = plain;
    if b.dialect.has_flat_columns() || b.rows.is_empty() {
        return Ok(None);
    }
    let mut best: Option<(f64, Side, Loose, Pairs)> = None;
    for dialect in dialect::candidates(sample, room)?.iter().take(WAYS_MAX) {
        let Ok(outer) = Side::examine(sample, dialect, None, room) else { continue };
        for list in outer.columns.iter().filter(|c| c.list).take(WAYS_MAX) {
            let Some(side) = read(sample, &outer, &Reach { name: list.name.clone(), expr: list.expr.clone(), list: true }, room) else { continue };
            let keys = Loose::new(&side);
            let Some(pairs) = pair::find((a, loose), (&side, &keys)) else { continue };
            let score = pairs.agreement * (pairs.pairs.len() as f64 / side.rows.len().max(1) as f64);
            if best.as_ref().is_none_or(|(most, ..)| score > *most) {
                best = Some((score, side, keys, pairs));
            }
        }
    }
    // A column more that agrees in all of its lines, or records that were not found before.
    let better = |(score, _, _, pairs): &(f64, Side, Loose, Pairs)| {
        found.is_none_or(|found| {
            let before = found.agreement * (found.pairs.len() as f64 / b.rows.len().max(1) as f64);
            pairs.pairs.len() * 5 > found.pairs.len() * 6 || *score > before + 0.5
        })
    };
    Ok(best.filter(better).map(|(_, side, keys, pairs)| (side, keys, pairs)))
}

/// The elements of a list, each with the columns of the record around it, under the names of targets.
fn read(sample: &Sample, outer: &Side, list: &Reach, room: &Room) -> Option<Side> {
    let mut side = Side::examine(sample, &outer.dialect, Some(list), room).ok()?;
    let within = |name: &str| name == list.name || name.strip_prefix(&list.name).is_some_and(|rest| rest.starts_with('.'));
    // What holds the list holds other targets, and is none itself.
    let around = |name: &str| list.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let kept: Vec<usize> =
        (0..side.columns.len()).filter(|c| !within(&side.columns[*c].name) && !around(&side.columns[*c].name) && !side.columns[*c].list).collect();
    if kept.len() == side.columns.len() && !side.columns.iter().any(|c| c.name.starts_with("item.")) {
        return None;
    }
    side.columns = kept.iter().map(|c| side.columns[*c].clone()).collect();
    side.rows = side.rows.iter().map(|row| kept.iter().map(|c| row[*c].clone()).collect()).collect();
    (side.keys, side.runs) = (Vec::new(), None);
    let mut parents = Vec::new();
    for column in &mut side.columns {
        match column.name.strip_prefix("item.") {
            Some(name) => column.name = format!("{}.{name}", list.name),
            None => parents.push(column.name.clone()),
        }
    }
    side.each = None;
    side.grouped = (!parents.is_empty() && parents.len() < side.columns.len()).then(|| Grouped { by: parents, into: list.name.clone() });
    side.grouped.is_some().then_some(side)
}
