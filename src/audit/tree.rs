//! Where the records stand in a document: the array of a JSON text, the repeated element of an XML text, the segments
//! of an EDIFACT interchange. Best first: what can't be decided by one sample is decided by the other.

use std::collections::HashMap;

use quick_xml::events::Event;

/// Deeper than this nobody looks for records.
const DEPTH_MAX: usize = 32;
/// More paths than that are no record's.
const PATHS_MAX: usize = 1000;
/// More places than that are not weighed against each other.
const PLACES_MAX: usize = 6;

/// JSON Pointers to arrays, those with the most records first. The text may be cut.
pub fn pointers(text: &str) -> Vec<String> {
    let mut arrays: Vec<(String, usize, usize)> = Vec::new(); // pointer, objects in it, bytes
    let bytes = text.as_bytes();
    // What is open: the key or index under which it stands, whether it is an array, where it began.
    let mut open: Vec<(String, bool, usize, usize)> = Vec::new();
    let mut key = String::new();
    let mut last = String::new();
    let mut at = 0;
    let close = |open: &mut Vec<(String, bool, usize, usize)>, arrays: &mut Vec<(String, usize, usize)>, at: usize| {
        let Some((_, array, from, objects)) = open.last().cloned() else { return };
        // An array within an array belongs to a record.
        if array && objects > 0 && !open[..open.len() - 1].iter().any(|o| o.1) {
            let pointer: String =
                open.iter().map(|o| if o.0.is_empty() { String::new() } else { format!("/{}", o.0.replace('~', "~0").replace('/', "~1")) }).collect();
            arrays.push((pointer, objects, at - from));
        }
        open.pop();
    };
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let from = at + 1;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                last = text.get(from..at.min(bytes.len())).unwrap_or_default().to_owned();
            }
            b':' => key = std::mem::take(&mut last),
            c @ (b'{' | b'[') => {
                if let Some(parent) = open.last_mut() {
                    parent.3 += usize::from(parent.1 && c == b'{');
                }
                let name = if open.last().is_some_and(|o| !o.1) { std::mem::take(&mut key) } else { String::new() };
                open.push((name, c == b'[', at, 0));
                if open.len() > DEPTH_MAX {
                    break;
                }
            }
            b'}' | b']' => close(&mut open, &mut arrays, at),
            _ => {}
        }
        at += 1;
    }
    while !open.is_empty() {
        close(&mut open, &mut arrays, at.min(bytes.len()));
    }
    arrays.sort_by_key(|(_, objects, size)| std::cmp::Reverse((*size, *objects)));
    arrays.into_iter().take(PLACES_MAX).map(|(pointer, ..)| pointer).collect()
}

#[derive(Default)]
struct Element {
    count: usize,
    /// Names of elements without elements below, and of attributes, that belong to one of these and not to one of its repeated parts.
    leaves: usize,
    repeated: bool,
}

/// Paths of repeated elements, those that carry the most first. The text may be cut.
pub fn element_paths(text: &str) -> Vec<String> {
    let mut parser = quick_xml::Reader::from_str(text);
    let mut stack: Vec<(String, HashMap<String, usize>)> = Vec::new();
    let mut found: HashMap<String, Element> = HashMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut open = |stack: &mut Vec<(String, HashMap<String, usize>)>, found: &mut HashMap<String, Element>, name: &str, attributes: usize| {
        let path = format!("{}/{name}", stack.last().map_or("", |(p, _)| p));
        let again = stack.last_mut().is_some_and(|(_, children)| {
            let n = children.entry(name.to_owned()).or_default();
            *n += 1;
            *n > 1
        });
        if !found.contains_key(&path) {
            order.push(path.clone());
        }
        let element = found.entry(path.clone()).or_default();
        element.count += 1;
        element.leaves = element.leaves.max(attributes);
        element.repeated |= again;
        stack.push((path, HashMap::new()));
    };
    loop {
        match parser.read_event() {
            Ok(Event::Start(e)) => {
                let name = e.local_name().as_ref().to_owned();
                open(&mut stack, &mut found, &name, e.attributes().count());
                if stack.len() > DEPTH_MAX || found.len() > PATHS_MAX {
                    break;
                }
            }
            Ok(Event::Empty(e)) => {
                let name = e.local_name().as_ref().to_owned();
                open(&mut stack, &mut found, &name, e.attributes().count());
                stack.pop();
            }
            Ok(Event::End(_)) => {
                stack.pop();
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let all = order;
    let leaf = |path: &String| !all.iter().any(|p| p.len() > path.len() && p.starts_with(path.as_str()) && p.as_bytes()[path.len()] == b'/');
    let mut scored: Vec<(f64, usize, String)> = Vec::new();
    for path in all.iter().filter(|p| p.matches('/').count() > 1 || all.len() == 1) {
        let element = &found[path];
        let below = |p: &&String| p.len() > path.len() && p.starts_with(path.as_str()) && p.as_bytes()[path.len()] == b'/';
        // What is repeated within this one is a part of it, not a column.
        let within_repeated =
            |p: &str| all.iter().filter(below).any(|r| found[r].repeated && p.starts_with(r.as_str()) && (p.len() == r.len() || p.as_bytes()[r.len()] == b'/'));
        let leaves = element.leaves + all.iter().filter(below).filter(|p| leaf(p) && !within_repeated(p)).count();
        if leaf(path) && element.leaves == 0 {
            continue;
        }
        // Counts stay far below 2^52.
        let share = element.count as f64 * leaves.max(1) as f64 * if element.repeated { 2.0 } else { 1.0 };
        scored.push((share, path.matches('/').count(), path.clone()));
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(PLACES_MAX).map(|(_, _, path)| path).collect()
}

/// The encoding that an XML text declares.
pub fn declared_encoding(head: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(&head[..head.len().min(200)]).into_owned();
    let declaration = start.strip_prefix('\u{feff}').unwrap_or(&start).strip_prefix("<?xml")?.split("?>").next()?.to_owned();
    let value = declaration.split("encoding").nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}

/// The segment that the lines of a message are, and the segments that follow it before the next one.
pub fn segments(text: &str) -> Option<(String, Vec<String>)> {
    let (signs, body) = match text.strip_prefix("UNA") {
        Some(rest) => (rest.chars().nth(5)?, rest.get(6..)?),
        None => ('\'', text),
    };
    let tags: Vec<&str> = body.split(signs).map(str::trim).filter_map(|s| s.get(..3)).collect();
    let count = |tag: &str| tags.iter().filter(|t| **t == tag).count();
    let line = ["LIN", "CLI", "INV", "DOC", "CNT"].into_iter().find(|t| count(t) > 0).map(str::to_owned).or_else(|| {
        let service = ["UNB", "UNH", "UNT", "UNZ", "UNS", "BGM", "DTM", "NAD", "RFF"];
        let mut names: Vec<&str> = tags.clone();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter(|t| !service.contains(t)).max_by_key(|t| count(t)).map(str::to_owned)
    })?;
    let mut inner: Vec<String> = Vec::new();
    let mut within = false;
    for tag in tags {
        match tag {
            t if t == line => within = true,
            "UNS" | "UNT" | "UNH" | "UNZ" => within = false,
            t if within && !inner.iter().any(|i| i == t) => inner.push(t.to_owned()),
            _ => {}
        }
    }
    Some((line, inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_array_of_the_records_is_found_in_a_document_that_is_cut() {
        assert_eq!(pointers("[{\"a\": 1}, {\"a\": [{\"b\": 2}]}]"), [""]);
        assert_eq!(pointers("{\"meta\": {\"tags\": [\"x\"]}, \"data\": {\"clients\": [{\"a\": \"}{\"}, {\"a\": 2"), ["/data/clients"]);
        assert_eq!(pointers("{\"a/b\": [{}]}"), ["/a~1b"]);
    }

    #[test]
    fn the_repeated_element_that_carries_the_most_is_the_record() {
        let text = "<r><meta><v>1</v></meta><clients><client id='1'><nom>a</nom><ville>b</ville><tel>1</tel><tel>2</tel></client><client id='2'><nom>c</nom></client></clients></r>";
        assert_eq!(element_paths(text)[0], "/r/clients/client");
        assert_eq!(declared_encoding(b"<?xml version=\"1.0\" encoding='ISO-8859-1'?><a/>").as_deref(), Some("ISO-8859-1"));
    }

    #[test]
    fn the_lines_of_a_message_carry_the_segments_behind_them() {
        let text = "UNB+UNOC:3'UNH+1'BGM+220'DTM+137'NAD+BY'LIN+1'QTY+21:5'PRI+AAA:2'LIN+2'QTY+21:1'UNS+S'CNT+2:2'UNT+9+1'UNZ+1'";
        assert_eq!(segments(text), Some(("LIN".into(), vec!["QTY".into(), "PRI".into()])));
    }
}
