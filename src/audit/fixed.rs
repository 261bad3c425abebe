//! The fields of fixed-width lines: where they begin, of which record types, and which lines belong to the one before.

use std::collections::HashMap;

/// What the guess is made from.
const LINES_MAX: usize = 5000;
/// A longer line is none of fixed fields.
const LINE_CHARS_MAX: usize = 8192;

/// One field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name: from a header line, or by its number.
    pub name: String,
    /// Its first character, from 1.
    pub start: usize,
    /// Its characters.
    pub width: usize,
    /// Shorter values stand at its end.
    pub right: bool,
}

/// Lines of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineType {
    /// What such lines begin with; empty: all lines are of one type.
    pub prefix: String,
    /// How many there are among those looked at.
    pub count: usize,
    /// Their fields.
    pub fields: Vec<Field>,
}

/// Fixed-width lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The types, the one that the records are of first, and behind it those nested in it.
    pub types: Vec<LineType>,
    /// Which types belong to the line of another type before them: inner and outer.
    pub nest: Vec<(String, String)>,
    /// Types that are passed over: the beginnings and ends of files, most often.
    pub others: Vec<(String, usize)>,
    /// The first line names the fields.
    pub header: bool,
    /// The characters of a line.
    pub length: usize,
}

/// The layout of `text`; `cut`: its last line is not whole. None: its lines are not of fixed width.
pub fn guess(text: &str, cut: bool) -> Option<Fixed> {
    let mut lines: Vec<Vec<char>> =
        text.lines().take(LINES_MAX).map(|l| l.chars().collect::<Vec<char>>()).filter(|l: &Vec<char>| l.iter().any(|c| *c != ' ')).collect();
    if cut {
        lines.pop();
    }
    if lines.len() < 2 || lines.iter().any(|l| l.len() > LINE_CHARS_MAX) {
        return None;
    }
    let prefixes = types_of(&lines);
    let typed = prefixes.is_some();
    let group = |line: &[char]| prefixes.map_or_else(String::new, |k| line.iter().take(k).collect());
    let mut names: Vec<String> = Vec::new();
    let mut by_type: HashMap<String, Vec<&Vec<char>>> = HashMap::new();
    for line in &lines {
        let name = group(line);
        if !by_type.contains_key(&name) {
            names.push(name.clone());
        }
        by_type.entry(name).or_default().push(line);
    }
    // Lines of one type have one length.
    let regular: usize = by_type.values().map(|l| same_length(l)).sum();
    if regular * 10 < lines.len() * 9 {
        return None;
    }
    let order: Vec<String> = lines.iter().map(|l| group(l)).collect();
    let nest = if typed { nested(&names, &order) } else { Vec::new() };
    let count = |name: &String| by_type.get(name).map_or(0, Vec::len);
    let inner = |name: &String| nest.iter().any(|(i, _)| i == name);
    let with_inner = |name: &String| count(name) + nest.iter().filter(|(_, o)| o == name).map(|(i, _)| count(i)).sum::<usize>();
    let main = names.iter().filter(|n| !inner(n)).max_by_key(|n| with_inner(n))?.clone();
    let mut kept = vec![main.clone()];
    kept.extend(nest.iter().filter(|(_, o)| *o == main).map(|(i, _)| i.clone()));
    let header = !typed && has_header(&lines);
    let types: Vec<LineType> = kept
        .iter()
        .map(|name| {
            let own = &by_type[name];
            let body = if header { &own[1..] } else { &own[..] };
            LineType { prefix: name.clone(), count: body.len(), fields: fields(body, name.chars().count(), header.then(|| own[0])) }
        })
        .collect();
    if types[0].fields.len() < 2 {
        return None;
    }
    let others = names.iter().filter(|n| !kept.contains(n)).map(|n| (n.clone(), count(n))).collect();
    let nest = nest.into_iter().filter(|(_, o)| *o == main).collect();
    Some(Fixed { length: by_type[&main].iter().map(|l| l.len()).max().unwrap_or(0), types, nest, others, header })
}

fn same_length(lines: &[&Vec<char>]) -> usize {
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for line in lines {
        *lengths.entry(line.len()).or_default() += 1;
    }
    lengths.into_iter().filter(|(length, _)| *length >= 8).map(|(_, n)| n).max().unwrap_or(0)
}

/// How many characters name the type of a line; none: all lines are of one type.
fn types_of(lines: &[Vec<char>]) -> Option<usize> {
    let digits = lines.iter().all(|l| l.len() > 4 && l[..2].iter().all(char::is_ascii_digit));
    let letters = |k: usize| lines.iter().all(|l| l.len() > k && l[..k].iter().all(char::is_ascii_uppercase));
    let k = if digits { 2 } else { (2..=4).rev().find(|k| letters(*k))? };
    let mut kinds: HashMap<&[char], Vec<&Vec<char>>> = HashMap::new();
    for line in lines {
        kinds.entry(&line[..k]).or_default().push(line);
    }
    if kinds.len() < 2 || kinds.len() > 30 || kinds.len() * 3 > lines.len() * 2 {
        return None;
    }
    // Types differ in more than their names: what is a number in one is a text or nothing in the other.
    let class = |lines: &[&Vec<char>], at: usize| {
        let mut seen = 0u8;
        for line in lines {
            seen |= match line.get(at) {
                None | Some(' ') => 1,
                Some(c) if c.is_ascii_digit() => 2,
                Some(_) => 4,
            };
        }
        seen
    };
    let groups: Vec<&Vec<&Vec<char>>> = kinds.values().collect();
    let length = lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut unlike = 0;
    for at in k..length {
        let classes: Vec<u8> = groups.iter().map(|g| class(g, at)).collect();
        unlike += usize::from(classes.iter().any(|c| c & classes[0] == 0));
    }
    (unlike * 10 >= length).then_some(k)
}

/// Which types stand only behind a line of another type or of their own.
fn nested(names: &[String], order: &[String]) -> Vec<(String, String)> {
    let count = |name: &String| order.iter().filter(|o| *o == name).count();
    let mut out: Vec<(String, String)> = Vec::new();
    for name in names {
        let before: Vec<Option<&String>> = order.iter().enumerate().filter(|(_, o)| *o == name).map(|(i, _)| i.checked_sub(1).map(|i| &order[i])).collect();
        let mut others: Vec<&String> = Vec::new();
        for b in before {
            match b {
                None => others.push(name), // it stands first
                Some(b) if b == name => {}
                Some(b) if !others.contains(&b) => others.push(b),
                Some(_) => {}
            }
        }
        if let [outer] = others[..]
            && outer != name
            && !out.iter().any(|(inner, _)| inner == outer)
            && count(name) * 2 >= count(outer)
            && count(outer) > 1
            && order.windows(2).any(|w| w[0] == *name && (w[1] == *name || w[1] == *outer))
        {
            out.push((name.clone(), outer.clone()));
        }
    }
    // What has lines nested in it is a record of its own.
    let outers: Vec<String> = out.iter().map(|(_, o)| o.clone()).collect();
    out.retain(|(inner, _)| !outers.contains(inner));
    out
}

/// Whether the first line holds words where the others hold numbers.
fn has_header(lines: &[Vec<char>]) -> bool {
    let digits = |line: &[char]| line.iter().filter(|c| c.is_ascii_digit()).count();
    let body = lines[1..].iter().map(|l| digits(l)).min().unwrap_or(0);
    lines.len() > 2 && digits(&lines[0]) == 0 && body >= 2 && lines[0].iter().any(|c| c.is_alphabetic())
}

/// A sign between digits belongs to the number, the date or the time.
fn is_decimal_sign(line: &[char], at: usize) -> bool {
    let digit = |at: Option<usize>| at.and_then(|at| line.get(at)).is_some_and(char::is_ascii_digit);
    matches!(line[at], '.' | ',' | '/' | '-' | ':') && digit(at.checked_sub(1)) && digit(Some(at + 1))
}

/// The last digit of a long number may carry its sign, as in CFONB.
fn is_signed_digit(line: &[char], at: usize) -> bool {
    let digits = at >= 6 && line[at - 6..at].iter().all(char::is_ascii_digit);
    digits && matches!(line[at], '{' | '}' | 'A'..='R') && line.get(at + 1).is_none_or(|c| !c.is_alphanumeric())
}

#[derive(Clone, Copy, Default)]
struct Place {
    spaces: usize,
    digits: usize,
    others: usize,
}

/// The fields of lines of one type, the first of which is `prefix` characters wide.
fn fields(lines: &[&Vec<char>], prefix: usize, header: Option<&Vec<char>>) -> Vec<Field> {
    let length = lines.iter().map(|l| l.len()).max().unwrap_or(0);
    let mut places = vec![Place::default(); length];
    for line in lines {
        for (at, place) in places.iter_mut().enumerate() {
            match line.get(at) {
                None | Some(' ') => place.spaces += 1,
                Some(c) if c.is_ascii_digit() || is_decimal_sign(line, at) || is_signed_digit(line, at) => place.digits += 1,
                Some(_) => place.others += 1,
            }
        }
    }
    let n = lines.len();
    let mut starts: Vec<usize> = vec![0];
    if prefix > 0 {
        starts.push(prefix);
    }
    let from = prefix.max(1) + usize::from(prefix > 0);
    for at in from.min(length)..length {
        let (before, here) = (places[at - 1], places[at]);
        let blank_before = before.spaces == n;
        let starts_here = if blank_before {
            here.spaces < n
        } else {
            let full_before = before.spaces == 0;
            let full = here.spaces == 0;
            let number = |p: Place| p.digits == n;
            let padded_number = |p: Place| p.others == 0;
            let flag = starts.last() == Some(&(at - 1)) && at >= 2 && number(places[at - 2]);
            let text = |p: Place| p.spaces == 0 && p.digits == 0;
            // A number ends where letters begin, a padded text where something stands in every line.
            // A digit that more and more lines have is the left of a number; one that fewer have is the right of a code.
            let growing = at >= 2 && padded_number(before) && number(here) && places[at - 2].spaces >= before.spaces;
            let single = starts.last() == Some(&(at - 1));
            let next = places.get(at + 1).is_none_or(|p| p.spaces == 0 || p.spaces == n);
            (number(before) && here.digits == 0 && here.spaces < n)
                || (before.digits == 0 && number(here) && n > 1 && !(single && text(before)))
                || (before.spaces * 10 >= n * 7 && full && next && n > 2 && !growing)
                || (flag && full_before && text(before) && here.spaces * 10 >= n * 3 && n > 4)
                || (full_before && here.spaces * 10 >= n * 8 && n > 4 && places[at..].iter().take(3).any(|p| p.spaces < n))
        };
        // A word of the header is one name.
        let in_word = header.is_some_and(|h| h.get(at - 1).is_some_and(|c| *c != ' ') && h.get(at).is_some_and(|c| *c != ' '));
        if starts_here && !in_word {
            starts.push(at);
        }
    }
    starts.dedup();
    let mut out: Vec<Field> = Vec::new();
    for (i, start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(length);
        // Blank in all lines: nothing is known of it.
        if places[*start..end].iter().all(|p| p.spaces == n) {
            continue;
        }
        let named = header.map(|h| h.get(*start..end.min(h.len())).unwrap_or_default().iter().collect::<String>().trim().to_owned()).filter(|h| !h.is_empty());
        let name = named.unwrap_or_else(|| if i == 0 && prefix > 0 { "type".to_owned() } else { format!("field{}", start + 1) });
        let cell = |l: &Vec<char>| l.get(*start..end.min(l.len())).unwrap_or_default().to_vec();
        let shorter: Vec<Vec<char>> = lines.iter().map(|l| cell(l)).filter(|c| c.contains(&' ') && c.iter().any(|c| *c != ' ')).collect();
        let right = shorter.iter().filter(|c| c.first() == Some(&' ') && c.last() != Some(&' ')).count() * 2 > shorter.len();
        out.push(Field { name, start: start + 1, width: end - start, right });
    }
    out
}

/// Zeros before a number that fill up a field.
const FILLED_MAX: usize = 10;

/// The layout with fields cut where values that are known stand within them: of B's lines and, beside each, the values
/// of A's record. None: nothing is to be cut.
pub fn refined(layout: &Fixed, lines: &[Vec<char>], values: &[Vec<String>]) -> Option<Fixed> {
    let [own] = &layout.types[..] else { return None };
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    for field in &own.fields {
        for column in values {
            let longest = column.iter().map(|v| v.chars().count()).max().unwrap_or(0).min(field.width);
            let told: std::collections::HashSet<&String> = column.iter().filter(|v| !v.is_empty()).collect();
            // Zeros may fill a number up: the widest place that shows it is its field.
            let digits = told.iter().all(|v| v.bytes().all(|b| b.is_ascii_digit()));
            let widest = if digits { (longest + FILLED_MAX).min(field.width.saturating_sub(1)) } else { longest };
            if widest < 2 || longest >= field.width || told.len() < 2 && longest < 6 || told.len() < 4 && longest < 2 {
                continue;
            }
            // What fills the whole field needs no cut.
            let whole = |line: &Vec<char>| line.iter().skip(field.start - 1).take(field.width).collect::<String>().trim().trim_start_matches('0').to_owned();
            if digits && lines.iter().zip(column).all(|(line, value)| whole(line) == value.trim().trim_start_matches('0')) {
                continue;
            }
            let found = (longest..=widest).rev().find_map(|width| {
                let cell = |line: &[char], at: usize| -> String { line.iter().skip(at).take(width).collect::<String>().trim().to_owned() };
                let same =
                    |cell: &str, value: &str| cell == value || digits && cell.len() == width && cell.trim_start_matches('0') == value.trim_start_matches('0');
                let offset = (field.start - 1..field.start - 1 + field.width - width).chain([field.start - 1 + field.width - width]).find(|at| {
                    let filled = lines.iter().zip(column).filter(|(_, v)| !v.is_empty());
                    let (mut right, mut all) = (0usize, 0usize);
                    for (line, value) in filled {
                        all += 1;
                        right += usize::from(same(&cell(line, *at), value.trim()));
                    }
                    all * 2 > lines.len() && right * 50 >= all * 49
                });
                offset.map(|at| (at, width))
            });
            if let Some((at, width)) = found.filter(|(at, width)| cuts.iter().all(|(from, to)| at + width <= *from || at >= to)) {
                cuts.push((at, at + width));
            }
        }
    }
    if cuts.is_empty() {
        return None;
    }
    let mut fields: Vec<Field> = Vec::new();
    for field in &own.fields {
        let (from, to) = (field.start - 1, field.start - 1 + field.width);
        let mut edges: Vec<usize> = cuts.iter().flat_map(|(f, t)| [*f, *t]).filter(|e| *e > from && *e < to).chain([from, to]).collect();
        edges.sort_unstable();
        edges.dedup();
        for pair in edges.windows(2) {
            let blank = lines.iter().all(|l| l.iter().skip(pair[0]).take(pair[1] - pair[0]).all(|c| *c == ' '));
            if !blank {
                let shorter = lines.iter().filter(|l| l.get(pair[0]) == Some(&' ') && l.get(pair[1] - 1).is_some_and(|c| *c != ' ')).count();
                fields.push(Field { name: format!("field{}", pair[0] + 1), start: pair[0] + 1, width: pair[1] - pair[0], right: shorter * 2 > lines.len() });
            }
        }
    }
    Some(Fixed { types: vec![LineType { fields, ..own.clone() }], ..layout.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_begin_behind_blanks_and_where_numbers_meet_letters() {
        let text = "00017Dupont    20250101\n00018Martin    20250203\n00021Durand    20251231\n";
        let found = guess(text, false).unwrap();
        let starts: Vec<(usize, usize)> = found.types[0].fields.iter().map(|f| (f.start, f.width)).collect();
        assert_eq!(starts, [(1, 5), (6, 10), (16, 8)]);
        assert!(!found.header);
    }

    #[test]
    fn record_types_are_told_and_details_stand_in_the_line_before() {
        let text =
            "01HEAD    20250101\n04OP      00000100\n05DETAIL  ABCDEFGH\n05MORE    ABCDEFGH\n04OP      00000200\n05DETAIL  ABCDEFGH\n07END     00000300\n";
        let found = guess(text, false).unwrap();
        assert_eq!(found.types.iter().map(|t| t.prefix.as_str()).collect::<Vec<_>>(), ["04", "05"]);
        assert_eq!(found.nest, [("05".to_owned(), "04".to_owned())]);
        assert_eq!(found.others.len(), 2);
    }

    #[test]
    fn prose_and_tables_of_other_kinds_have_no_fixed_lines() {
        assert_eq!(guess("Dear Sir,\nplease find the export enclosed.\nYours\n", false), None);
        assert_eq!(guess("a;b;c\n1;2;3\n4;55;6\n", false), None);
    }
}
