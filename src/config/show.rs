//! The effective configuration as TOML with secrets masked, and its JSON Schema. Both come from the schema's tables.

use serde_json::{Map, Value, json};

use super::schema;
use crate::formats;
use crate::options::{Entry, Kind, Opt, Options, Side, Val};

/// The effective configuration: every key that is set or has a default, secrets as `"***"`.
pub fn effective(options: &Options) -> String {
    let mut out = String::new();
    table(&mut out, options, "");
    out
}

fn table(out: &mut String, options: &Options, path: &str) {
    let mut inner = Vec::new();
    for opt in options.schema() {
        match options.entry(opt.name) {
            Some(entry) => match &entry.value {
                Val::Table(_) => inner.push((opt.name, entry)),
                Val::Map(entries)
                    if matches!(opt.kind, Kind::Tables(_) | Kind::Expressions) || entries.iter().any(|(_, e)| matches!(e.value, Val::Table(_))) =>
                {
                    inner.push((opt.name, entry))
                }
                Val::List(items) if items.iter().any(|i| matches!(i.value, Val::Table(_))) => inner.push((opt.name, entry)),
                _ => out.push_str(&format!("{} = {}\n", key(opt.name), literal(entry))),
            },
            // A code table's keys depend on its format: only what is set is shown.
            None if options.schema().any(|o| o.name.is_empty()) => {}
            None => {
                if let Some(default) = opt.default {
                    out.push_str(&format!("{} = {default}\n", key(opt.name)));
                }
            }
        }
    }
    for (name, entry) in inner {
        let path = if path.is_empty() { key(name) } else { format!("{path}.{}", key(name)) };
        match &entry.value {
            Val::Table(t) => {
                out.push_str(&format!("\n[{path}]\n"));
                table(out, t, &path);
            }
            Val::Map(entries) if entries.iter().any(|(_, e)| matches!(e.value, Val::Table(_))) => {
                for (name, entry) in entries {
                    if let Val::Table(t) = &entry.value {
                        let path = format!("{path}.{}", key(name));
                        out.push_str(&format!("\n[{path}]\n"));
                        table(out, t, &path);
                    }
                }
            }
            Val::Map(entries) => {
                out.push_str(&format!("\n[{path}]\n"));
                for (name, entry) in entries {
                    out.push_str(&format!("{} = {}\n", key(name), literal(entry)));
                }
            }
            Val::List(items) => {
                for item in items {
                    if let Val::Table(t) = &item.value {
                        out.push_str(&format!("\n[[{path}]]\n"));
                        table(out, t, &path);
                    }
                }
            }
            _ => {}
        }
    }
}

fn key(name: &str) -> String {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn literal(entry: &Entry) -> String {
    if entry.secret {
        return match &entry.value {
            Val::Map(entries) => format!("{{ {} }}", entries.iter().map(|(n, _)| format!("{} = \"***\"", key(n))).collect::<Vec<_>>().join(", ")),
            _ => "\"***\"".into(),
        };
    }
    match &entry.value {
        Val::Text(t) => quoted(&without_password(t)),
        Val::Flag(b) => b.to_string(),
        Val::Integer(n) => n.to_string(),
        Val::List(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Val::Map(entries) => format!("{{ {} }}", entries.iter().map(|(n, e)| format!("{} = {}", key(n), literal(e))).collect::<Vec<_>>().join(", ")),
        Val::Table(t) => format!("{{ {} }}", t.entries().iter().map(|(n, e)| format!("{} = {}", key(n), literal(e))).collect::<Vec<_>>().join(", ")),
    }
}

/// A URL with a password in it, without.
fn without_password(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.has_host() && (url.password().is_some() || url.query().is_some()) => {
            if url.password().is_some() {
                // A URL with a password has a host, so this can't fail.
                let _ = url.set_password(Some("***"));
            }
            if url.query().is_some() {
                // API keys often stand here.
                url.set_query(Some("***"));
            }
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

/// The JSON Schema of the configuration, for editors.
pub fn json_schema() -> Value {
    let mut root = object(&[schema::ROOT]);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("passerelle.toml");
    root
}

fn object(parts: &[&'static [Opt]]) -> Value {
    let mut properties = Map::new();
    for opt in parts.iter().flat_map(|p| p.iter()) {
        if let (Kind::FormatKeys(side), "") = (opt.kind, opt.name) {
            if let Value::Object(more) = format_object(side)["properties"].take() {
                more.into_iter().for_each(|(k, v)| {
                    properties.entry(k).or_insert(v);
                });
            }
            continue;
        }
        let mut value = of(opt.kind);
        value["description"] = json!(opt.doc);
        if let Some(default) =
            opt.default.and_then(|d| toml::from_str::<toml::Table>(&format!("x = {d}")).ok()).and_then(|t| serde_json::to_value(t.get("x")?).ok())
        {
            value["default"] = default;
        }
        match properties.get_mut(opt.name) {
            None => {
                properties.insert(opt.name.to_owned(), value);
            }
            // A key that two formats take in different ways.
            Some(known) if known["type"] != value["type"] || known["items"] != value["items"] => {
                let both = json!({ "anyOf": [known.take(), value], "description": opt.doc });
                *known = both;
            }
            Some(_) => {}
        }
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn format_object(side: Side) -> Value {
    let mut parts: Vec<&'static [Opt]> = vec![if side == Side::Input { schema::INPUT } else { schema::OUTPUT }];
    parts.extend(formats::FORMATS.iter().map(|f| if side == Side::Input { f.input_options() } else { f.output_options() }));
    object(&parts)
}

fn of(kind: Kind) -> Value {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    let map = || json!({ "type": "object", "additionalProperties": { "type": "string" } });
    match kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(least) => json!({ "type": "integer", "minimum": least }),
        Kind::Size | Kind::Share => json!({ "type": ["string", "integer"] }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        Kind::CharOrNone => json!({ "type": "string", "maxLength": 1 }),
        Kind::Texts | Kind::Command => texts(),
        Kind::OneOrMoreTexts => json!({ "anyOf": [text(), texts()] }),
        Kind::TextMap | Kind::SecretMap | Kind::Expressions => map(),
        Kind::TypeMap => json!({ "type": "object", "additionalProperties": { "enum": schema::TYPE_NAMES } }),
        Kind::Bools => {
            json!({ "type": "object", "properties": { "true": { "anyOf": [text(), texts()] }, "false": { "anyOf": [text(), texts()] } }, "additionalProperties": false })
        }
        Kind::TextOrNumber => json!({ "type": ["string", "integer"] }),
        Kind::TableLists(keys) => json!({ "type": "object", "additionalProperties": { "type": "array", "items": object(&[keys]) } }),
        Kind::Table(keys) => object(&[keys]),
        Kind::Tables(keys) => json!({ "type": "object", "additionalProperties": object(&[keys]) }),
        Kind::OneOrMoreTables(keys) => json!({ "anyOf": [object(&[keys]), { "type": "array", "items": object(&[keys]) }] }),
        Kind::FormatKeys(side) => format_object(side),
        _ => text(),
    }
}
