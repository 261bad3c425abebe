//! B's columns from a JSON Schema or an XSD instead of a sample: names, types, what must be there, lengths, codes.
//!
//! Only what a route can use is read; what a schema says beyond that is for B to check.

use serde_json::Value;

use super::Side;
use super::dialect::{Dialect, Note};
use super::profile::{Kind, Profile};
use super::sample::Sample;
use super::xsd;

/// Schemas that nest or refer deeper than this go round in circles.
const DEPTH_MAX: usize = 12;
/// More columns than that are no record.
pub const COLUMNS_MAX: usize = 5000;

/// What a schema says of B's records.
#[derive(Debug, Default)]
pub struct Described {
    /// Where the records stand, as `input.records` would have it.
    pub records: String,
    /// The columns.
    pub columns: Vec<Column>,
}

/// What a schema says of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, with dots where it is nested.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// It holds a list.
    pub list: bool,
    /// It must be there.
    pub required: bool,
    /// Its characters at most.
    pub max_length: Option<usize>,
    /// The values that it may have.
    pub values: Vec<String>,
    /// Its values have their type by themselves, as JSON's do.
    pub typed: bool,
    /// What the schema says it always is, or is where nothing else is known.
    pub given: Option<Given>,
}

/// A value that a schema names, as an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// It is always that.
    Always(String),
    /// It is that unless something else is said.
    Unless(String),
}

/// The side that a schema describes; none: the sample is no schema.
pub fn side(sample: &Sample) -> Option<Side> {
    if !sample.whole {
        return None;
    }
    let text = String::from_utf8_lossy(&sample.head);
    let start = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
    let (format, described) = if start.starts_with('{') { ("json", json_schema(start)?) } else { ("xml", xsd::described(start)?) };
    let mut dialect = Dialect::new(format);
    dialect.records = Some(described.records);
    dialect.notes = vec![Note::new("a schema, and no sample: the mapping rests on names and types", 0)];
    let notes = dialect.notes.clone();
    Some(Side { columns: described.columns.into_iter().map(profile).collect(), notes, ..Side::empty(dialect) })
}

fn profile(c: Column) -> Profile {
    let top: Vec<(String, u64)> = c.values.iter().map(|v| (v.clone(), 1)).collect();
    Profile {
        expr: super::read::by_name(&c.name),
        kind: c.kind,
        list: c.list,
        typed: c.typed && c.kind != Kind::Text,
        required: c.required,
        max_length: c.max_length,
        given: c.given,
        distinct: top.len() as u64,
        examples: c.values.into_iter().take(5).collect(),
        top,
        ..Profile::empty(c.name)
    }
}

/// What a JSON Schema says of its records: the array at the top, the first array of objects in it, or the object itself.
fn json_schema(text: &str) -> Option<Described> {
    let root: Value = serde_json::from_str(text).ok()?;
    let declared = root.get("$schema").is_some()
        || matches!(root.get("type").and_then(Value::as_str), Some("object" | "array"))
            && (root.get("items").is_some_and(Value::is_object)
                || root.get("properties").and_then(Value::as_object).is_some_and(|p| !p.is_empty() && p.values().all(Value::is_object)));
    if !declared {
        return None;
    }
    let top = follow(&root, &root, 0);
    if top["type"] == "array" {
        let mut out = Described::default();
        properties(&root, follow(&root, &top["items"], 0), "", &mut out.columns, 0);
        return Some(out);
    }
    for (name, property) in top["properties"].as_object()? {
        let property = follow(&root, property, 0);
        let items = follow(&root, &property["items"], 0);
        // The envelope of the records: all else in it is about the message.
        if property["type"] == "array" && items["properties"].is_object() && top["properties"].as_object().is_some_and(|p| p.len() <= 3) {
            let mut out = Described { records: format!("/{name}"), columns: Vec::new() };
            properties(&root, items, "", &mut out.columns, 0);
            return Some(out);
        }
    }
    let mut out = Described::default();
    properties(&root, top, "", &mut out.columns, 0);
    Some(out)
}

/// What a `$ref` within the document leads to.
fn follow<'v>(root: &'v Value, value: &'v Value, depth: usize) -> &'v Value {
    match value.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) {
        Some(pointer) if depth < DEPTH_MAX => root.pointer(pointer).map_or(value, |found| follow(root, found, depth + 1)),
        _ => value,
    }
}

fn properties(root: &Value, object: &Value, prefix: &str, out: &mut Vec<Column>, depth: usize) {
    let required = |name: &str| object["required"].as_array().is_some_and(|r| r.iter().any(|n| n == name));
    for (name, property) in object["properties"].as_object().into_iter().flatten() {
        if out.len() >= COLUMNS_MAX {
            return;
        }
        let property = follow(root, property, 0);
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        // `["string", "null"]`: the first type that is one.
        let kind = match &property["type"] {
            Value::Array(list) => list.iter().find(|t| **t != "null").and_then(Value::as_str).unwrap_or("string"),
            other => other.as_str().unwrap_or(if property["properties"].is_object() { "object" } else { "string" }),
        };
        if kind == "object" && depth < DEPTH_MAX {
            properties(root, property, &path, out, depth + 1);
            continue;
        }
        let format = property["format"].as_str().unwrap_or("");
        let kind_of = match (kind, format) {
            ("integer", _) => Kind::Integer,
            ("number", _) => Kind::Decimal,
            ("boolean", _) => Kind::Bool,
            (_, "date") => Kind::Date,
            (_, "date-time") => Kind::DateTime,
            _ => Kind::Text,
        };
        let listed: Vec<&Value> = property["enum"].as_array().into_iter().flatten().collect();
        let (kind, kind_of) = match &property["type"] {
            // A list of numbers says what their type is.
            Value::Null if !listed.is_empty() && listed.iter().all(|v| v.is_i64()) => ("integer", Kind::Integer),
            Value::Null if !listed.is_empty() && listed.iter().all(|v| v.is_number()) => ("number", Kind::Decimal),
            _ => (kind, kind_of),
        };
        let values = listed.into_iter().filter_map(|v| v.as_str().map_or_else(|| v.is_number().then(|| v.to_string()), |t| Some(t.to_owned()))).collect();
        let literal = |v: &Value| match v {
            Value::String(text) => Some(super::conversions::literal(text)),
            Value::Number(_) | Value::Bool(_) => Some(v.to_string()),
            _ => None,
        };
        let always = property.get("const").and_then(literal).map(Given::Always);
        let given = always.or_else(|| property.get("default").and_then(literal).map(Given::Unless));
        let max_length = property["maxLength"].as_u64().and_then(|n| usize::try_from(n).ok());
        let typed = matches!(kind, "integer" | "number" | "boolean");
        if name.is_empty() || out.iter().any(|c| c.name == path) {
            continue;
        }
        out.push(Column { name: path, kind: kind_of, list: kind == "array", required: required(name), max_length, values, typed, given });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_schema_names_types_and_demands() {
        let text = r##"{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"customers": {"type": "array", "items": {"$ref": "#/$defs/c"}}},
            "$defs": {"c": {"type": "object", "required": ["code"], "properties": {"code": {"type": "string", "maxLength": 10}, "balance": {"type": ["number", "null"]},
            "since": {"type": "string", "format": "date"}, "address": {"type": "object", "properties": {"city": {"type": "string"}}}, "country": {"enum": ["FR", "BE"]}}}}}"##;
        let found = json_schema(text).unwrap();
        assert_eq!(found.records, "/customers");
        let names: Vec<(&str, Kind, bool)> = found.columns.iter().map(|c| (c.name.as_str(), c.kind, c.required)).collect();
        assert_eq!(
            names,
            [
                ("code", Kind::Text, true),
                ("balance", Kind::Decimal, false),
                ("since", Kind::Date, false),
                ("address.city", Kind::Text, false),
                ("country", Kind::Text, false)
            ]
        );
        assert_eq!((found.columns[0].max_length, found.columns[4].values.len()), (Some(10), 2));
        assert!(json_schema("{\"a\": 1}").is_none());
    }
}
