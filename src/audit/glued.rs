//! Fixed lines whose fields touch each other: the other side's values tell where one ends, and which records are the same.

use std::collections::{HashMap, HashSet};

use super::Side;
use super::dialect::Dialect;
use super::fixed;
use super::pair;
use super::profile::{Kind, Profile};
use super::sample::Sample;

/// Lines that are looked at.
const LINES_MAX: usize = 300;
/// Columns whose values are looked for.
const COLUMNS_MAX: usize = 60;

/// Lines of one type without a header; none: this side has others.
pub(super) fn lines(side: &Side, sample: &Sample) -> Option<Vec<Vec<char>>> {
    let layout = side.dialect.fixed.as_ref().filter(|f| !f.header)?;
    let text = side.dialect.encoding.as_ref()?.decode(&sample.head);
    let lines: Vec<Vec<char>> = text.lines().filter(|l| !l.trim().is_empty()).map(|l| l.chars().collect()).collect();
    (layout.types.len() == 1).then_some(lines)
}

/// How a column's values may stand in fixed lines: as they are, in capitals without accents, as cents, as days of digits.
fn spellings(side: &Side, at: usize) -> Vec<Vec<String>> {
    let column = &side.columns[at];
    let texts = || side.rows.iter().map(|row| row[at].as_deref().unwrap_or("").trim());
    let mut out: Vec<Vec<String>> = vec![texts().map(str::to_owned).collect()];
    match column.kind {
        Kind::Text => {
            out.push(texts().map(|t| crate::transform::filters::ascii(t).to_uppercase()).collect());
            // A sign before a number may be left out, or stand in a field of its own.
            let digits: Vec<String> = texts().map(|t| t.chars().filter(char::is_ascii_digit).collect()).collect();
            out.extend(digits.iter().all(|d| !d.is_empty()).then_some(digits));
        }
        Kind::Date => {
            let days: Vec<Option<jiff::civil::Date>> = texts().map(|t| pair::day(column, t)).collect();
            let written = |pattern: &str| days.iter().map(|d| d.map_or_else(String::new, |d| d.strftime(pattern).to_string())).collect();
            out.extend(["%Y%m%d", "%d%m%Y", "%y%m%d", "%d%m%y"].map(written));
        }
        _ if column.is_amount() => out.extend(cents(side, column, at)),
        _ => {}
    }
    out.dedup();
    out
}

fn cents(side: &Side, column: &Profile, at: usize) -> Option<Vec<String>> {
    let reading = pair::reading_of(side);
    let decimals = column.decimals.unwrap_or(2).clamp(1, 6);
    let cents = |row: &Vec<Option<String>>| {
        let number = row[at].as_deref().and_then(|t| reading.decimal(t.trim()).ok());
        number.map_or_else(String::new, |n| format!("{:.*}", decimals, n.abs()).replace('.', "").trim_start_matches('0').to_owned())
    };
    Some(side.rows.iter().map(cents).collect())
}

/// The records that belong to fixed lines, by one column whose values stand at one place of them.
pub(super) fn pairs(side: &Side, lines: &[Vec<char>]) -> Option<Vec<(usize, usize)>> {
    let lines = &lines[..lines.len().min(LINES_MAX)];
    let mut order: Vec<usize> = (0..side.columns.len()).filter(|c| !side.columns[*c].list && side.columns[*c].distinct >= 5).collect();
    order.sort_by_key(|c| std::cmp::Reverse(side.columns[*c].distinct));
    for values in order.into_iter().take(COLUMNS_MAX).flat_map(|c| spellings(side, c)) {
        let plain = |text: &str| text.trim().trim_start_matches('0').to_owned();
        let mut rows: HashMap<String, usize> = HashMap::new();
        for (row, value) in values.iter().enumerate().filter(|(_, v)| !plain(v).is_empty()) {
            rows.entry(plain(value)).or_insert(row);
        }
        // Values that stand twice tell no records apart.
        let longest = values.iter().map(|v| v.chars().count()).max().unwrap_or(0);
        if rows.len() < 5 || rows.len() * 10 < side.rows.len() * 9 || longest < 3 {
            continue;
        }
        let length = lines.iter().map(Vec::len).max().unwrap_or(0);
        for width in (longest..=(longest + 8).min(length)).rev() {
            for at in 0..=length.saturating_sub(width) {
                let found: Vec<(usize, usize)> = lines
                    .iter()
                    .enumerate()
                    .filter_map(|(n, line)| Some((*rows.get(&plain(&line.iter().skip(at).take(width).collect::<String>()))?, n)))
                    .collect();
                let apart = found.iter().map(|(row, _)| row).collect::<HashSet<_>>().len();
                if found.len() >= 5 && found.len() * 10 >= lines.len() * 8 && apart * 10 >= found.len() * 9 {
                    return Some(found);
                }
            }
        }
    }
    None
}

/// The dialect with the fields that the other side's values show; `pairs`: a record of the other side, and a line.
pub(super) fn refined(other: &Side, side: &Side, lines: &[Vec<char>], pairs: &[(usize, usize)]) -> Option<Dialect> {
    let layout = side.dialect.fixed.as_ref()?;
    let pairs: Vec<(usize, usize)> = pair::spread(pairs).into_iter().filter(|(_, line)| *line < lines.len()).collect();
    let own: Vec<Vec<char>> = pairs.iter().map(|(_, line)| lines[*line].clone()).collect();
    let columns = (0..other.columns.len()).filter(|c| !other.columns[*c].list);
    let beside = |values: Vec<String>| pairs.iter().map(|(row, _)| values[*row].clone()).collect::<Vec<String>>();
    let values: Vec<Vec<String>> = columns.flat_map(|c| spellings(other, c)).map(beside).collect();
    let finer = fixed::refined(layout, &own, &values)?;
    Some(Dialect { fixed: Some(finer), ..side.dialect.clone() })
}
