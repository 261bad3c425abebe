//! A Jinja template that gets all records at once, for files with headers, trailers and totals.
//!
//! The records are held in memory, within `max_memory`. The template sees the relay's own filters, so that sums are
//! exact and amounts look as `output` writes them.

mod exact;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ObjectExt, ObjectRepr, Rest, ValueKind};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::text::Style;
use super::{Format, Input, RecordReader, RecordWriter, Room, Tools, Writing};
use crate::error::{Error, Result};
use crate::options::{Kind, Opt, Options, Side};
use crate::record::{Key, Reject, Value};

/// The format.
#[derive(Debug)]
pub struct Template;

const OUTPUT: &[Opt] = &[
    Opt { name: "file", kind: Kind::Path, default: None, doc: "The template; it gets `records`, and `file`, `job`, `route`." },
    Opt { name: "line_ending", kind: Kind::Text, default: Some("\"\\n\""), doc: "What ends a line." },
];

impl Format for Template {
    fn name(&self) -> &'static str {
        "template"
    }
    fn extension(&self) -> &'static str {
        "txt"
    }
    fn input_options(&self) -> &'static [Opt] {
        &[]
    }
    fn output_options(&self) -> &'static [Opt] {
        OUTPUT
    }
    fn reads(&self) -> bool {
        false
    }
    fn has_columns(&self) -> bool {
        false
    }
    fn mistakes(&self, o: &Options, side: Side) -> Vec<(&'static str, String)> {
        let text = match (side, o.text("file")) {
            (Side::Input, _) => return Vec::new(),
            (Side::Output, None) => return vec![("file", "a template output needs `file`, the template".into())],
            (Side::Output, Some(_)) => o.text(TEXT),
        };
        let Some(text) = text else { return Vec::new() };
        match exact::compiled(&exact::spelt_out(&text)) {
            Err(e) => vec![("file", told(&e))],
            Ok(compiled) => unknown(&compiled, &o.word(NAMES)).into_iter().map(|why| ("file", why)).collect(),
        }
    }
    fn reader(&self, _: &Options, _: Input, _: &Room) -> Result<Box<dyn RecordReader>> {
        Err(Error::config("a template is written, not read"))
    }
    fn writer(&self, o: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>> {
        // Its own line ends and mark are those of whoever wrote it; B's are set by `line_ending`.
        let text = o.word(TEXT).trim_start_matches('\u{feff}').replace("\r\n", "\n");
        Ok(Box::new(Writer { text, ending: o.word("line_ending"), records: Vec::new(), names: Arc::default(), bytes: 0, writing }))
    }
}

/// The key under which the configuration hands over the template's text.
pub const TEXT: &str = "template text";

/// The key under which the configuration hands over the relay's own filters and tests, a name a line, after what it is.
pub const NAMES: &str = "template names";

/// The filters and tests that neither Jinja nor the relay has.
fn unknown(compiled: &exact::Compiled<'_>, ours: &str) -> Vec<String> {
    let env = Environment::new();
    let jinjas = |expression: &str, missing| match env.compile_expression(expression).and_then(|e| e.eval(())) {
        Err(e) => e.kind() != missing,
        Ok(_) => true,
    };
    let mut out = Vec::new();
    for (name, line) in exact::named(compiled) {
        let (kind, name, is_jinjas) = match name {
            exact::Named::Filter(name) => ("filter", name, jinjas(&format!("'' | {name}"), minijinja::ErrorKind::UnknownFilter)),
            exact::Named::Test(name) => ("test", name, jinjas(&format!("'' is {name}"), minijinja::ErrorKind::UnknownTest)),
        };
        let own = || ours.lines().filter_map(|l| l.strip_prefix(kind)?.strip_prefix(' '));
        if !is_jinjas && !own().any(|n| n == name) {
            let near = crate::options::nearest(name, own()).map_or_else(String::new, |near| format!(": did you mean {near}?"));
            let line = line.map_or_else(String::new, |l| format!("line {l}: "));
            let lookup = if name == "lookup" { ": look it up in the map, and name the target here" } else { near.as_str() };
            out.push(format!("{line}there is no {kind} {name} in templates{lookup}"));
        }
    }
    out
}

fn told(e: &minijinja::Error) -> String {
    let line = e.line().map_or_else(String::new, |l| format!("line {l}: "));
    let detail = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
    let cause = std::error::Error::source(e).map(|c| format!(": {c}")).unwrap_or_default();
    format!("{line}{detail}{cause}")
}

struct Writer {
    text: String,
    ending: String,
    records: Vec<minijinja::Value>,
    names: Arc<[Key]>,
    bytes: u64,
    writing: Writing,
}

/// A record or a map, its parts in the order that they have; the names are those of all records.
#[derive(Debug)]
struct Fields {
    names: Arc<[Key]>,
    values: Vec<minijinja::Value>,
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let name = key.as_str()?;
        self.values.get(self.names.iter().rposition(|n| **n == *name)?).cloned()
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|this| Box::new(this.names.iter().map(|name| minijinja::Value::from(name.clone()))))
    }
}

/// One of our values that Jinja has no kind for: it shows itself as `output` writes it.
#[derive(Debug)]
struct Ours(Value<'static>, Arc<Style>);

impl Object for Ours {
    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.1.text(&self.0))
    }
    fn custom_cmp(self: &Arc<Self>, other: &minijinja::value::DynObject) -> Option<std::cmp::Ordering> {
        let other = other.downcast_ref::<Self>()?;
        // For sorting and grouping; what is compared by a template's own operators is computed exactly by them.
        match (&self.0, &other.0) {
            (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
            (Value::DateTime(a, _), Value::DateTime(b, _)) => Some(a.cmp(b)),
            (a, b) => Some(self.1.text(a).cmp(&self.1.text(b))),
        }
    }
    fn is_true(self: &Arc<Self>) -> bool {
        self.writing_truth()
    }
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.0 == Value::Null { ObjectRepr::Seq } else { ObjectRepr::Plain }
    }
    /// Null has no elements.
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if self.0 == Value::Null { Enumerator::Empty } else { Enumerator::NonEnumerable }
    }
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        match (&self.0, key.as_str()) {
            // An attribute of null is null.
            (Value::Null, _) => Some(theirs(Value::Null, &self.1)),
            (Value::Nodes(nodes), Some(name)) => Some(theirs(nodes.part(name), &self.1)),
            (value, Some(part)) => value.time_part(part).map(minijinja::Value::from),
            _ => None,
        }
    }
}

impl Ours {
    fn writing_truth(&self) -> bool {
        match &self.0 {
            Value::Null => false,
            Value::Number(n) => !n.is_zero(),
            Value::Digits(d) => d.bytes().any(|b| (b'1'..=b'9').contains(&b)),
            _ => true,
        }
    }
}

/// Our value as Jinja sees it. Whole numbers are its own, so that `{% if n > 3 %}` works; others compute by filters.
fn theirs(value: Value<'static>, style: &Arc<Style>) -> minijinja::Value {
    match value {
        Value::Bool(b) => b.into(),
        Value::Text(t) => t.into_owned().into(),
        Value::List(items) => items.iter().map(|v| theirs(v.clone(), style)).collect::<Vec<_>>().into(),
        Value::Map(entries) => {
            let values = entries.iter().map(|(_, v)| theirs(v.clone(), style)).collect();
            minijinja::Value::from_object(Fields { names: entries.iter().map(|(k, _)| k.clone()).collect(), values })
        }
        // What it is by its type; an element with others in it keeps them.
        Value::Nodes(nodes) if nodes.first().is_some_and(|n| n.typed.is_some() && n.children.is_empty() && n.attributes.is_empty()) => {
            theirs(nodes.scalar().into_owned(), style)
        }
        Value::Number(n) if n.scale() == 0 && i64::try_from(n).is_ok() => i64::try_from(n).unwrap_or(0).into(),
        other => minijinja::Value::from_object(Ours(other, style.clone())),
    }
}

/// What `groupby` gives: the key and its elements, by position or by Jinja's names.
#[derive(Debug)]
struct Group([minijinja::Value; 2]);

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let at = match key.as_str() {
            Some("grouper") => 0,
            Some("list") => 1,
            Some(_) => return None,
            None => key.as_usize()?,
        };
        self.0.get(at).cloned()
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }
}

fn groups(made: Value<'static>, style: &Arc<Style>) -> minijinja::Value {
    let Value::List(groups) = &made else { return theirs(made, style) };
    let group = |group: &Value<'static>| match group {
        Value::List(pair) if pair.len() == 2 => minijinja::Value::from_object(Group([theirs(pair[0].clone(), style), theirs(pair[1].clone(), style)])),
        other => theirs(other.clone(), style),
    };
    groups.iter().map(group).collect::<Vec<_>>().into()
}

fn is_null(value: &minijinja::Value) -> bool {
    value.is_none() || value.downcast_object_ref::<Ours>().is_some_and(|own| own.0 == Value::Null)
}

/// Jinja's value as ours.
fn ours(value: &minijinja::Value) -> Value<'static> {
    if let Some(ours) = value.downcast_object_ref::<Ours>() {
        return ours.0.clone();
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => Value::Digits(value.to_string().into()),
        ValueKind::Map => Value::map(
            value.try_iter().map(|keys| keys.map(|k| (k.to_string().into(), ours(&value.get_item(&k).unwrap_or_default()))).collect()).unwrap_or_default(),
        ),
        ValueKind::Seq | ValueKind::Iterable => Value::list(value.try_iter().map(|items| items.map(|v| ours(&v)).collect()).unwrap_or_default()),
        _ => Value::owned(value.to_string()),
    }
}

/// An operator: by Jinja's rules between its own values, by ours where one of ours or a decimal takes part.
fn operate(
    tools: &dyn Tools,
    style: &Arc<Style>,
    operator: &str,
    left: &minijinja::Value,
    right: &minijinja::Value,
) -> std::result::Result<minijinja::Value, minijinja::Error> {
    if left.is_undefined() || right.is_undefined() {
        return Err(minijinja::ErrorKind::UndefinedError.into());
    }
    let exact = |v: &minijinja::Value| v.downcast_object_ref::<Ours>().is_some() || (v.is_number() && !v.is_integer());
    if !exact(left) && !exact(right) {
        match operator {
            "==" | "!=" if left.kind() == right.kind() || left.is_none() || right.is_none() => return Ok(((left == right) == (operator == "==")).into()),
            "<" | "<=" | ">" | ">=" if left.kind() == right.kind() => {
                let order = left.cmp(right);
                return Ok(match operator {
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                }
                .into());
            }
            _ => {}
        }
    }
    let number = |v: &minijinja::Value| match ours(v) {
        Value::Digits(d) => d.parse().map_or(Value::Digits(d), Value::Number),
        other => other,
    };
    let made = tools.operate(operator, number(left), number(right));
    made.map(|v| theirs(v, style)).map_err(|why| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why))
}

/// A part of a list, or of the text that a value has: as in expressions.
fn sliced(
    tools: &dyn Tools,
    style: &Arc<Style>,
    value: &minijinja::Value,
    bounds: [minijinja::Value; 3],
) -> std::result::Result<minijinja::Value, minijinja::Error> {
    if value.is_undefined() {
        return Err(minijinja::ErrorKind::UndefinedError.into());
    }
    let picks = |len| {
        let picked = tools.picks(bounds.map(|b| ours(&b)), len);
        picked.map_err(|why| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why))
    };
    if is_null(value) {
        return Ok(value.clone());
    }
    if value.downcast_object_ref::<Ours>().is_none() && matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let items: Vec<minijinja::Value> = value.try_iter()?.collect();
        return Ok(picks(items.len())?.into_iter().map(|at| items[at].clone()).collect::<Vec<_>>().into());
    }
    let chars: Vec<char> = style.text(&ours(value)).chars().collect();
    Ok(picks(chars.len())?.into_iter().map(|at| chars[at]).collect::<String>().into())
}

fn environment(tools: &Arc<dyn Tools>, style: &Arc<Style>) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    let written = style.clone();
    env.set_formatter(move |out, state, value| {
        let text = match value.kind() {
            ValueKind::None => return Ok(()),
            ValueKind::Bool => written.text(&Value::Bool(value.is_true())).into_owned(),
            _ => return minijinja::escape_formatter(out, state, value),
        };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    for name in exact::OPERATORS {
        let (tools, style) = (tools.clone(), style.clone());
        let operator = move |left: minijinja::Value, right: minijinja::Value| operate(&*tools, &style, &name[exact::PREFIX.len()..], &left, &right);
        env.add_filter(name, operator);
    }
    let minus = tools.clone();
    let written = style.clone();
    env.add_filter(exact::MINUS, move |value: minijinja::Value| operate(&*minus, &written, "-", &0.into(), &value));
    let written = style.clone();
    // Null is an empty text, as in expressions.
    env.add_filter(exact::JOIN, move |left: minijinja::Value, right: minijinja::Value| match left.is_undefined() || right.is_undefined() {
        true => Err(minijinja::Error::from(minijinja::ErrorKind::UndefinedError)),
        false => Ok(format!("{}{}", written.text(&ours(&left)), written.text(&ours(&right)))),
    });
    for name in ["default", "d"] {
        env.add_filter(name, |value: minijinja::Value, other: Option<minijinja::Value>, falsy: Option<bool>| {
            let there = !value.is_undefined() && !is_null(&value) && (falsy != Some(true) || value.is_true());
            if there { value } else { other.unwrap_or_else(|| "".into()) }
        });
    }
    let (slicing, written) = (tools.clone(), style.clone());
    env.add_filter(exact::SLICE, move |value: minijinja::Value, start: minijinja::Value, stop: minijinja::Value, step: minijinja::Value| {
        sliced(&*slicing, &written, &value, [start, stop, step])
    });
    let written = style.clone();
    env.add_filter(exact::NUMBER, move |digits: String| match digits.parse() {
        Ok(number) => Ok(theirs(Value::Number(number), &written)),
        Err(_) => Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, format!("{digits} has more than 28 digits"))),
    });
    let others = [("e", "escape")];
    for (name, own) in tools.filters().into_iter().filter(|name| *name != "default").map(|name| (name, name)).chain(others) {
        let (tools, style) = (tools.clone(), style.clone());
        let filter = move |value: minijinja::Value, args: Rest<minijinja::Value>, named: Kwargs| -> std::result::Result<minijinja::Value, minijinja::Error> {
            let positional: Vec<Value<'static>> = args.iter().map(ours).collect();
            let named_args = named
                .args()
                .map(|n| Ok((n.to_owned(), ours(&named.get::<minijinja::Value>(n)?))))
                .collect::<std::result::Result<Vec<_>, minijinja::Error>>()?;
            let made = tools.apply(own, ours(&value), positional, named_args);
            let grouped = own == "groupby";
            made.map(|v| if grouped { groups(v, &style) } else { theirs(v, &style) })
                .map_err(|why| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why))
        };
        env.add_filter(name, filter);
    }
    for name in tools.tests() {
        let tools = tools.clone();
        env.add_test(name, move |value: minijinja::Value, argument: Option<minijinja::Value>| -> std::result::Result<bool, minijinja::Error> {
            if value.is_undefined() {
                return Err(minijinja::ErrorKind::UndefinedError.into());
            }
            let holds = tools.holds(name, ours(&value), argument.as_ref().map(ours));
            holds.map_err(|why| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why))
        });
    }
    let counts: std::sync::Mutex<BTreeMap<String, u64>> = std::sync::Mutex::default();
    // In a template no record is in hand: each call counts.
    env.add_function("nextval", move |key: minijinja::Value| {
        let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = counts.entry(key.to_string()).or_default();
        *count += 1;
        *count
    });
    env
}

impl RecordWriter for Writer {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.writing.encoder.prefix());
        Ok(())
    }

    fn write(&mut self, values: &[Value<'_>], _: &mut Vec<u8>) -> Result<Result<(), Reject>> {
        let style = Arc::new(self.writing.style.clone());
        let record = match values {
            [whole @ (Value::Map(_) | Value::Nodes(_))] if self.writing.columns.is_empty() => theirs(whole.clone().into_owned(), &style),
            _ => {
                for (i, v) in values.iter().enumerate() {
                    let mut encoded = Vec::new();
                    if let Err(c) = self.writing.encoder.encode(&self.writing.style.text(v), &mut encoded) {
                        return Ok(Err(self.writing.unencodable(c, i)));
                    }
                    self.bytes += encoded.len() as u64 + 96;
                }
                if self.names.len() != self.writing.columns.len() {
                    self.names = self.writing.columns.iter().map(|n| Key::from(n.as_str())).collect();
                }
                let values = values.iter().map(|v| theirs(v.clone().into_owned(), &style)).collect();
                minijinja::Value::from_object(Fields { names: self.names.clone(), values })
            }
        };
        self.bytes += 128;
        if self.bytes > self.writing.room.bytes_max {
            return Err(Error::file("output.file: the records of the template need more than max_memory").hint("raise max_memory, or set output.split"));
        }
        self.records.push(record);
        Ok(Ok(()))
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let style = Arc::new(self.writing.style.clone());
        let env = environment(&self.writing.tools, &style);
        let mut context: Vec<(String, minijinja::Value)> =
            self.writing.tools.facts().into_iter().map(|(name, v)| (name.to_string(), theirs(v, &style))).collect();
        context.push(("records".into(), std::mem::take(&mut self.records).into()));
        context.push(("null".into(), theirs(Value::Null, &style)));
        let context: BTreeMap<String, minijinja::Value> = context.into_iter().collect();
        let wrong = |e: minijinja::Error| {
            // Which of its names is meant shows in the line itself.
            let line = e.line().and_then(|n| self.text.lines().nth(n.checked_sub(1)?));
            let line = line.map_or_else(String::new, |l| format!(", in {}", crate::formats::text::quoted(l.trim())));
            Error::file(format!("the template: {}{line}", told(&e))).hint("correct output.file")
        };
        let spelt_out = exact::spelt_out(&self.text);
        let (root, blocks) = exact::compiled(&spelt_out).map_err(wrong)?;
        let mut made = String::new();
        let mut target = minijinja::machinery::make_string_output(&mut made);
        minijinja::machinery::eval(&env, &root, context.into(), &blocks, &mut target, AutoEscape::None).map_err(wrong)?;
        // Jinja takes the last line end away; files end in one.
        let made = if self.text.ends_with('\n') { made + "\n" } else { made };
        let text = if self.ending == "\n" { made } else { made.replace("\r\n", "\n").replace('\n', &self.ending) };
        self.writing.encoder.encode(&text, out).map_err(|c| Error::file(format!("the template: {}", self.writing.lacks(c))))
    }
}
