//! Sources, destinations, endpoints and code tables, built from their keys.

use std::path::{Path, PathBuf};

use crate::formats::text::{Reading, Style};
use crate::options::{Entry, Options, Val};

pub(super) fn declared_names(input: &Options) -> Vec<String> {
    input.texts("columns").unwrap_or_default()
}

pub(super) fn find<'e>(entries: &'e [(String, Entry)], name: &str) -> Option<&'e Entry> {
    entries.iter().find(|(n, _)| n == name).map(|(_, e)| e)
}

/// The place in the file of a place in an expression, where the text stands in the file as it is.
pub(super) fn within(text: &str, entry: &Entry, span: &std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    let written = text.get(entry.span.clone())?;
    let quotes = if written.starts_with("'''") || written.starts_with("\"\"\"") { return None } else { 1 };
    let inner = written.get(quotes..written.len().checked_sub(quotes)?)?;
    (inner == entry.as_text()).then(|| entry.span.start + quotes + span.start..entry.span.start + quotes + span.end.max(span.start + 1).min(inner.len()))
}

/// How A writes, from the keys of `input`.
pub fn reading(o: &Options) -> Reading {
    let mut reading = Reading {
        decimal: o.char("decimal").unwrap_or('.'),
        thousands: o.char("thousands"),
        dates: o.text("dates"),
        datetimes: o.text("datetimes"),
        ..Reading::default()
    };
    for (name, entry) in o.map("bools") {
        let texts: Vec<String> = match &entry.value {
            Val::List(items) => items.iter().map(|e| e.as_text().to_owned()).collect(),
            _ => vec![entry.as_text().to_owned()],
        };
        if name == "true" { reading.bools.0 = texts } else { reading.bools.1 = texts }
    }
    reading
}

pub(super) fn style(o: &Options) -> Style {
    let bools = o.map("bools");
    let first = |name: &str| {
        find(bools, name).map(|e| match &e.value {
            Val::List(items) => items.first().map(|i| i.as_text().to_owned()).unwrap_or_default(),
            _ => e.as_text().to_owned(),
        })
    };
    let bools = match (first("true"), first("false")) {
        (None, None) => None,
        (yes, no) => Some((yes.unwrap_or_else(|| "true".into()), no.unwrap_or_else(|| "false".into()))),
    };
    Style { decimal: o.char("decimal").unwrap_or('.'), dates: o.text("dates"), datetimes: o.text("datetimes"), bools }
}

/// A path without `.` and `..` parts, as written: nothing is looked up.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// A percent-encoded text, decoded.
pub fn percent_decoded(text: &str) -> String {
    String::from_utf8_lossy(&percent_decoded_bytes(text)).into_owned()
}

/// The same byte for byte.
pub fn percent_decoded_bytes(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    out
}
