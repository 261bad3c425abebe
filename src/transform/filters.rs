//! The filters: Jinja's, and those of business data. One table gives names, arguments, null rules, examples and code.
//!
//! Adding a filter is one line in [`FILTERS`] and one function; the reference table and its test come from the line.

mod lists;
mod text;

use lists::{batch, dictsort, end, entries_of, extreme, filtered, groupby, items_of, join, length, map, pairs, slice, sort, sum, unique};
pub use text::ascii;
use text::{
    capitalized, file_size, format_text, indent, indented, lower, regex_replace, replace, split, strftime, titled, trim, truncate, upper, urlencode, wordwrap,
};

use super::compile::last_line;
use super::eval::{Env, Eval, Fault, digits, number, truth, whole};
use super::expr::{Args, Known, Node};
use crate::formats::text::{Reading, Style, Type, pattern_mistake, quoted, reads_a_day};
use crate::record::Value;
use Known::{Number, Text, Time, Unknown};
use rust_decimal::prelude::*;

/// What a filter does with null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// Text filters take it for an empty text.
    Empty,
    /// It passes through.
    Pass,
    /// The filter decides.
    Sees,
}

/// A filter's arguments and surroundings while it runs.
pub struct Call<'e, 'r> {
    env: &'e Env<'r>,
    positional: Vec<Value<'r>>,
    named: Vec<(&'e str, Value<'r>)>,
}

impl<'r> Call<'_, 'r> {
    fn get(&self, at: usize, name: &str) -> Option<&Value<'r>> {
        self.positional.get(at).or_else(|| self.named.iter().find(|(n, _)| *n == name).map(|(_, v)| v))
    }
    fn text(&self, at: usize, name: &str) -> Option<String> {
        self.get(at, name).map(|v| self.env.style.text(v).into_owned())
    }
    /// The same, borrowed where it is text; empty where there is none.
    fn borrowed(&self, at: usize, name: &str) -> std::borrow::Cow<'_, str> {
        self.get(at, name).map_or_else(Default::default, |v| self.env.style.text(v))
    }
    fn whole(&self, at: usize, name: &str) -> Eval<Option<i64>> {
        self.get(at, name).map_or(Ok(None), whole)
    }
    fn flag(&self, at: usize, name: &str) -> bool {
        self.get(at, name).is_some_and(truth)
    }
    fn shown(&self, v: &Value<'r>) -> String {
        self.env.style.text(v).into_owned()
    }
}

type Run = for<'e, 'r> fn(&Call<'e, 'r>, Value<'r>) -> Eval<Value<'r>>;

/// One filter.
pub struct Filter {
    /// Its name.
    pub name: &'static str,
    /// At least and at most so many arguments.
    pub args: (usize, usize),
    /// The names of its arguments, where they may be given by name.
    pub named: &'static [&'static str],
    /// What it does with null.
    nulls: Nulls,
    /// What is known of its result.
    pub gives: Known,
    /// An example and what it gives, for the reference and its test.
    pub example: (&'static str, &'static str),
    run: Run,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const fn text(name: &'static str, args: (usize, usize), named: &'static [&'static str], example: (&'static str, &'static str), run: Run) -> Filter {
    Filter { name, args, named, nulls: Nulls::Empty, gives: Known::Text, example, run }
}

const fn other(
    name: &'static str,
    args: (usize, usize),
    named: &'static [&'static str],
    gives: Known,
    example: (&'static str, &'static str),
    run: Run,
) -> Filter {
    Filter { name, args, named, nulls: Nulls::Pass, gives, example, run }
}

const fn seeing(
    name: &'static str,
    args: (usize, usize),
    named: &'static [&'static str],
    gives: Known,
    example: (&'static str, &'static str),
    run: Run,
) -> Filter {
    Filter { nulls: Nulls::Sees, ..other(name, args, named, gives, example, run) }
}

/// No text is filled up to more characters than that.
const WIDTH_MAX: usize = 1_000_000;

/// All filters; `default` and `lookup` are the compiler's, since they see what is not there.
pub static FILTERS: &[Filter] = &[
    text("upper", (0, 0), &[], ("'é' | upper", "É"), |c, v| Ok(upper(c, &v))),
    text("lower", (0, 0), &[], ("'É' | lower", "é"), |c, v| Ok(lower(c, &v))),
    text("capitalize", (0, 0), &[], ("'jean PAUL' | capitalize", "Jean paul"), |c, v| Ok(Value::owned(capitalized(&c.shown(&v))))),
    text("title", (0, 0), &[], ("'saint-denis' | title", "Saint-Denis"), |c, v| Ok(Value::owned(titled(&c.shown(&v))))),
    text("trim", (0, 1), &["chars"], ("'  a ' | trim", "a"), trim),
    text("replace", (2, 3), &["old", "new", "count"], ("'a-b' | replace('-', ' ')", "a b"), replace),
    text("regex_replace", (2, 2), &[], ("'Jean DUPONT' | regex_replace('(\\\\w+) (\\\\w+)', '\\\\2 \\\\1')", "DUPONT Jean"), regex_replace),
    text("ascii", (0, 0), &[], ("'Cœur Éloïse' | ascii", "Coeur Eloise"), |c, v| Ok(Value::owned(ascii(&c.shown(&v))))),
    text("escape", (0, 0), &[], ("'<a>' | escape", "&lt;a&gt;"), |c, v| Ok(Value::owned(escaped(&c.shown(&v))))),
    text("striptags", (0, 0), &[], ("'<p>a <b>b</b></p>' | striptags", "a b"), |c, v| {
        let tags = c.env.state.pattern("(?s)<!--.*?-->|<[^>]*>")?;
        Ok(Value::owned(tags.replace_all(&c.shown(&v), "").split_whitespace().collect::<Vec<_>>().join(" ")))
    }),
    text("safe", (0, 0), &[], ("'a' | safe", "a"), |c, v| Ok(Value::owned(c.shown(&v)))),
    text("digits", (0, 0), &[], ("'+33 (0)6 12' | digits", "330612"), |c, v| {
        Ok(Value::owned(c.shown(&v).chars().filter(char::is_ascii_digit).collect::<String>()))
    }),
    text("string", (0, 0), &[], ("1.50 | string", "1.50"), |c, v| Ok(Value::owned(c.shown(&v)))),
    text("truncate", (0, 4), &["length", "killwords", "end", "leeway"], ("'abcdef' | truncate(4, true, '.')", "abc."), truncate),
    text("center", (0, 1), &["width"], ("'a' | center(3)", " a "), |c, v| {
        let (s, width) = (c.shown(&v), usize::try_from(c.whole(0, "width")?.unwrap_or(80)).unwrap_or(0).min(WIDTH_MAX));
        let lacks = width.saturating_sub(s.chars().count());
        Ok(Value::owned(format!("{}{s}{}", " ".repeat(lacks / 2), " ".repeat(lacks - lacks / 2))))
    }),
    text("indent", (0, 3), &["width", "first", "blank"], ("'a\nb' | indent(2)", "a\n  b"), indent),
    text("wordwrap", (0, 4), &["width", "break_long_words", "wrapstring", "break_on_hyphens"], ("'aa bb cc' | wordwrap(5)", "aa bb\ncc"), wordwrap),
    text("filesizeformat", (0, 1), &["binary"], ("1500 | filesizeformat", "1.5 kB"), file_size),
    text("forceescape", (0, 0), &[], ("'<a>' | forceescape", "&lt;a&gt;"), |c, v| Ok(Value::owned(escaped(&c.shown(&v))))),
    text("urlencode", (0, 0), &[], ("'a b&é' | urlencode", "a%20b%26%C3%A9"), urlencode),
    text("format", (0, usize::MAX), &[], ("'%05.1f %s' | format(2.25, 'x')", "002.3 x"), format_text),
    text("strftime", (1, 1), &[], ("('2025-12-31' | date) | strftime('%d/%m/%y')", "31/12/25"), strftime),
    Filter {
        name: "wordcount",
        args: (0, 0),
        named: &[],
        nulls: Nulls::Empty,
        gives: Number,
        example: ("'a b' | wordcount", "2"),
        run: |c, v| Ok(count(c.shown(&v).split_whitespace().count())),
    },
    Filter {
        name: "split",
        args: (0, 2),
        named: &["maxsplit"],
        nulls: Nulls::Empty,
        gives: Unknown,
        example: ("'a;b;c' | split(';') | last", "c"),
        run: split,
    },
    Filter {
        name: "lines",
        args: (0, 0),
        named: &[],
        nulls: Nulls::Empty,
        gives: Unknown,
        example: ("'a\nb' | lines | length", "2"),
        run: |c, v| Ok(texts(c.shown(&v).lines())),
    },
    other("decimal", (0, 0), &[], Number, ("'1.50' | decimal", "1.50"), |c, v| convert(c.env, Type::Decimal, None, v)),
    seeing("float", (0, 1), &["default"], Number, ("'1.50' | float", "1.50"), |c, v| or_default(c, convert(c.env, Type::Decimal, None, v))),
    other("integer", (0, 0), &[], Number, ("'007' | integer", "7"), |c, v| convert(c.env, Type::Integer, None, v)),
    seeing("int", (0, 2), &["default", "base"], Number, ("'7.9' | int", "7"), int),
    other("date", (0, 1), &[], Time, ("'31-12-2025' | date('%d-%m-%Y')", "2025-12-31"), |c, v| convert(c.env, Type::Date, c.text(0, "").as_deref(), v)),
    other("datetime", (0, 1), &[], Time, ("'2025-12-31 23:59' | datetime", "2025-12-31T23:59:00"), |c, v| {
        convert(c.env, Type::DateTime, c.text(0, "").as_deref(), v)
    }),
    other("bool", (0, 0), &[], Unknown, ("'true' | bool", "true"), |c, v| convert(c.env, Type::Bool, None, v)),
    other("overpunch", (0, 1), &["decimals"], Number, ("'0001234E' | overpunch(2)", "123.45"), overpunch),
    other("round", (0, 2), &["precision", "method"], Number, ("2.345 | round(2)", "2.35"), round),
    other("abs", (0, 0), &[], Number, ("-1.50 | abs", "1.50"), |_, v| Ok(number(&v)?.map_or(Value::Null, |n| Value::Number(n.abs())))),
    other("normalize", (0, 0), &[], Number, ("1.500 | normalize", "1.5"), |_, v| Ok(number(&v)?.map_or(Value::Null, |n| Value::Number(n.normalize())))),
    other("first", (0, 0), &[], Unknown, ("[] | first | default('none')", "none"), |c, v| end(c, v, |items| items.first().cloned())),
    other("last", (0, 0), &[], Unknown, ("[1, 2] | last", "2"), |c, v| end(c, v, |items| items.last().cloned())),
    other("min", (0, 1), &["attribute"], Unknown, ("[2, 1.5] | min", "1.5"), |c, v| extreme(c, v, std::cmp::Ordering::Less)),
    other("max", (0, 1), &["attribute"], Unknown, ("[2, 1.5] | max", "2"), |c, v| extreme(c, v, std::cmp::Ordering::Greater)),
    other("sum", (0, 2), &["attribute", "start"], Number, ("[0.1, 0.2] | sum", "0.3"), sum),
    other("reverse", (0, 0), &[], Unknown, ("'abc' | reverse", "cba"), |c, v| match v {
        Value::List(l) => Ok(Value::list(l.iter().rev().cloned().collect())),
        Value::Nodes(n) => Ok(Value::list(n.items().collect::<Vec<_>>().into_iter().rev().collect())),
        Value::Map(m) => Ok(Value::list(m.iter().rev().map(|(k, _)| Value::owned(k.to_string())).collect())),
        v => Ok(Value::owned(c.shown(&v).chars().rev().collect::<String>())),
    }),
    other("sort", (0, 3), &["reverse", "case_sensitive", "attribute"], Unknown, ("['b', 'A'] | sort | join", "Ab"), sort),
    other("unique", (0, 2), &["case_sensitive", "attribute"], Unknown, ("['A', 'a', 'A'] | unique | join", "Aa"), unique),
    other("groupby", (1, 1), &["attribute"], Unknown, ("[{'k': 1}, {'k': 1}] | groupby('k') | length", "1"), groupby),
    other("map", (0, usize::MAX), &["attribute", "default"], Unknown, ("['a'] | map('upper') | first", "A"), map),
    other("select", (0, usize::MAX), &[], Unknown, ("[1, 2, 3] | select('odd') | join", "13"), |c, v| filtered(c, v, true, None)),
    other("reject", (0, usize::MAX), &[], Unknown, ("[1, 2, 3] | reject('odd') | join", "2"), |c, v| filtered(c, v, false, None)),
    other("selectattr", (1, usize::MAX), &[], Unknown, ("[{'a': 1}, {'a': 2}] | selectattr('a', 'eq', 2) | length", "1"), |c, v| {
        filtered(c, v, true, c.text(0, ""))
    }),
    other("rejectattr", (1, usize::MAX), &[], Unknown, ("[{'a': 1}, {'a': 2}] | rejectattr('a', 'eq', 2) | length", "1"), |c, v| {
        filtered(c, v, false, c.text(0, ""))
    }),
    other("items", (0, 0), &[], Unknown, ("{'a': 1} | items | first | first", "a"), |_, v| pairs(&v)),
    other("dictsort", (0, 3), &["case_sensitive", "by", "reverse"], Unknown, ("{'b': 1, 'a': 2} | dictsort | first | first", "a"), dictsort),
    other("attr", (1, 1), &[], Unknown, ("{'a': 1} | attr('a')", "1"), |c, v| c.env.part(v, &c.text(0, "").unwrap_or_default())),
    other("batch", (1, 2), &["fill_with"], Unknown, ("[1, 2, 3] | batch(2) | length", "2"), batch),
    other("slice", (1, 2), &["fill_with"], Unknown, ("[1, 2, 3] | slice(2) | first | join(',')", "1,2"), slice),
    other("xmlattr", (0, 0), &[], Text, ("{'id': 1, 'x': null} | xmlattr", " id=\"1\""), |c, v| {
        let pairs = entries_of(&v)?.iter().filter(|(_, v)| !matches!(v, Value::Null));
        Ok(Value::owned(pairs.map(|(k, v)| format!(" {k}=\"{}\"", escaped(&c.env.style.text(v)))).collect::<String>()))
    }),
    other("pprint", (0, 0), &[], Text, ("[1, 'a'] | pprint", "[1,\"a\"]"), |c, v| Ok(Value::owned(crate::formats::json::to_text(&v, c.env.style)))),
    other("list", (0, 0), &[], Unknown, ("'ab' | list | length", "2"), |c, v| Ok(Value::list(items_of(c, v)?))),
    seeing("length", (0, 0), &[], Number, ("'été' | length", "3"), length),
    seeing("count", (0, 0), &[], Number, ("[1, 2] | count", "2"), length),
    seeing("join", (0, 2), &["d", "attribute"], Text, ("['a', 'b'] | join(', ')", "a, b"), join),
    seeing("tojson", (0, 1), &["indent"], Text, ("{'a': [1, null]} | tojson", "{\"a\":[1,null]}"), |c, v| {
        let text = crate::formats::json::to_text(&v, c.env.style);
        Ok(Value::owned(match c.whole(0, "indent")? {
            None => text,
            Some(n) => indented(&text, usize::try_from(n).unwrap_or(0).min(100)),
        }))
    }),
];

/// What the compiler knows by itself, for the reference and its test: kind, name, example and what it gives.
pub static BUILT_IN: &[(&str, &str, (&str, &str))] = &[
    ("filter", "default", ("absent | default('-')", "-")),
    ("filter", "lookup", ("'M' | lookup('civ')", "Monsieur")),
    ("test", "defined", ("absent is defined", "false")),
    ("test", "undefined", ("absent is undefined", "true")),
    ("function", "nextval", ("nextval('key')", "1")),
    ("function", "range", ("range(1, 7, 2) | join(',')", "1,3,5")),
    ("function", "dict", ("dict(a=1).a", "1")),
];

/// The filter of that name.
pub fn named(name: &str) -> Option<&'static Filter> {
    let name = match name {
        "e" => "escape",
        other => other,
    };
    FILTERS.iter().find(|f| f.name == name)
}

/// Applies a filter to a value.
pub fn apply<'r>(env: &Env<'r>, filter: &'static Filter, input: Value<'r>, args: &'r Args) -> Eval<Value<'r>> {
    let mut call = Call { env, positional: Vec::new(), named: Vec::new() };
    for arg in &args.positional {
        call.positional.push(env.plain(arg)?);
    }
    for (name, arg) in &args.named {
        call.named.push((name.as_str(), env.plain(arg)?));
    }
    run(filter, &call, input)
}

/// Applies a filter to values that were computed elsewhere (templates).
pub fn apply_values<'r>(
    env: &Env<'r>,
    filter: &'static Filter,
    input: Value<'r>,
    positional: Vec<Value<'r>>,
    named: &[(String, Value<'static>)],
) -> Eval<Value<'r>> {
    run(filter, &Call { env, positional, named: named.iter().map(|(n, v)| (n.as_str(), v.clone())).collect() }, input)
}

fn run<'r>(filter: &Filter, call: &Call<'_, 'r>, input: Value<'r>) -> Eval<Value<'r>> {
    match (input, filter.nulls) {
        (Value::Null, Nulls::Pass) => Ok(Value::Null),
        (Value::Null, Nulls::Empty) if filter.name == "strftime" => Ok(Value::Null),
        (Value::Null, Nulls::Empty) => (filter.run)(call, Value::text("")),
        (input, Nulls::Empty) => (filter.run)(call, input.plain()),
        (input, _) => (filter.run)(call, input),
    }
}

/// `default` sees what is not there, and is therefore in no table.
pub(in crate::transform) fn is_default(name: &str) -> bool {
    matches!(name, "default" | "d")
}

fn no_test(name: &str) -> Option<String> {
    (super::predicates::named(name).is_none() && !super::predicates::is_of_presence(name)).then(|| format!("there is no test {name}"))
}

/// What is wrong with constant arguments, told before any record is seen.
pub fn constant_mistake(filter: &Filter, args: &Args) -> Option<String> {
    let constant = match args.positional.first() {
        Some(Node::Const(Value::Text(t))) => t,
        _ => return None,
    };
    match filter.name {
        "regex_replace" => regex::Regex::new(constant).err().map(|e| format!("the pattern is no regular expression: {}", last_line(&e.to_string()))),
        "date" | "datetime" | "strftime" => {
            let unread = || (filter.name != "strftime" && !reads_a_day(constant)).then(|| "it has not all of day, month and year".to_owned());
            pattern_mistake(constant).or_else(unread).map(|why| format!("{} is no pattern for dates: {why}", quoted(constant)))
        }
        "map" if constant == "lookup" => Some("`lookup` can't stand in `map`: make a record of each element with input.each, and look that one up".to_owned()),
        "map" => (named(constant).is_none() && !is_default(constant)).then(|| format!("there is no filter {constant}")),
        "select" | "reject" => no_test(constant),
        "selectattr" | "rejectattr" => match args.positional.get(1) {
            Some(Node::Const(Value::Text(test))) => no_test(test),
            _ => None,
        },
        _ => None,
    }
}

/// A value as one of the types of the configuration, by its own pattern or by how A writes.
pub fn convert<'r>(env: &Env<'_>, kind: Type, pattern: Option<&str>, v: Value<'r>) -> Eval<Value<'r>> {
    converted(env.reading, kind, pattern, v)
}

/// As [`convert`], of a value that stands in no record.
pub fn converted<'r>(r: &Reading, kind: Type, pattern: Option<&str>, v: Value<'r>) -> Eval<Value<'r>> {
    let text = match (&v, kind) {
        (Value::Null, _) => return Ok(Value::Null),
        (Value::Number(_), Type::Decimal) | (Value::Bool(_), Type::Bool) | (Value::Date(_), Type::Date) | (Value::DateTime(..), Type::DateTime) => {
            return Ok(v);
        }
        (Value::Digits(d), Type::Decimal) => return digits(d).map(Value::Number),
        (Value::Number(_) | Value::Digits(_), Type::Integer) => {
            let n = number(&v)?.unwrap_or_default();
            return if n.fract().is_zero() { Ok(Value::Number(n.normalize())) } else { Err(Fault::Message(format!("{n} is not a whole number"))) };
        }
        (Value::Number(_) | Value::Digits(_), Type::Bool) => Style::default().text(&v).into_owned(),
        (Value::DateTime(d, _), Type::Date) => return Ok(Value::Date(d.date())),
        (Value::Date(d), Type::DateTime) => return Ok(Value::DateTime(d.at(0, 0, 0, 0), None)),
        (Value::Text(_), Type::Text) => return Ok(v),
        // As it stands, not as B wants it.
        (_, Type::Text) => return Ok(Value::owned(Style::default().text(&v).into_owned())),
        (Value::Text(t), _) => t.to_string(),
        (Value::Nodes(n), _) => match n.scalar() {
            Value::Text(text) => text.into_owned(),
            typed => return converted(r, kind, pattern, typed.into_owned()),
        },
        // A spreadsheet counts days; a pattern says that the digits are a date written without signs.
        (Value::Number(_) | Value::Digits(_), Type::Date) if pattern.or(r.dates.as_deref()).is_none() => return serial(&v, kind),
        (Value::Number(_) | Value::Digits(_), Type::DateTime) if pattern.or(r.datetimes.as_deref()).is_none() => return serial(&v, kind),
        // A number of a JSON file or a fixed field may hold a date, as in 20251231.
        (Value::Number(_) | Value::Digits(_), _) => Style::default().text(&v).into_owned(),
        (other, _) => return Err(Fault::Message(format!("{} can't be converted", other.kind()))),
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(Value::Null);
    }
    let made = match (kind, pattern) {
        (Type::Date, Some(pattern)) => r.date(trimmed, Some(pattern)),
        (Type::DateTime, Some(pattern)) => r.datetime(trimmed, Some(pattern)),
        _ => r.convert(kind, trimmed).map(Value::into_owned),
    };
    made.map_err(Fault::Message)
}

/// The date that a spreadsheet's number of days stands for.
fn serial<'r>(v: &Value<'_>, kind: Type) -> Eval<Value<'r>> {
    let Some(n) = number(v)? else { return Ok(Value::Null) };
    crate::formats::text::from_serial(n, kind).map_err(Fault::Message)
}

/// No text is made longer than that, whatever a file holds.
const TEXT_MAX: usize = 64 * 1024 * 1024;

fn not_too_long(bytes: usize) -> Eval<()> {
    if bytes > TEXT_MAX { Err(Fault::Message(format!("a text of {bytes} bytes would be longer than {TEXT_MAX}"))) } else { Ok(()) }
}

/// A whole number, of digits to a base where one is given.
fn int<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let base = c.whole(1, "base")?.filter(|base| *base != 10 && matches!(v, Value::Text(_)));
    let text = c.shown(&v).trim().to_lowercase();
    if let Some(base) = base.filter(|_| !text.is_empty()) {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |digits| (-1, digits));
        let own = [(16, "0x"), (8, "0o"), (2, "0b")].iter().find(|(of, _)| *of == base).map_or("", |(_, prefix)| prefix);
        let digits = digits.strip_prefix(own).unwrap_or(digits);
        let base = u32::try_from(base).ok().filter(|b| (2..=36).contains(b)).ok_or_else(|| Fault::Message(format!("{base} is no base from 2 to 36")))?;
        let read = i64::from_str_radix(digits, base).map(|n| Value::Number(Decimal::from(sign * n)));
        return or_default(c, read.map_err(|_| Fault::Message(format!("{} is no number to the base {base}", quoted(&text)))));
    }
    match or_default(c, convert(c.env, Type::Decimal, None, v))? {
        Value::Number(n) => Ok(Value::Number(n.trunc().normalize())),
        v => Ok(v),
    }
}

/// A conversion, or the argument that stands for what can't be converted.
fn or_default<'r>(c: &Call<'_, 'r>, converted: Eval<Value<'r>>) -> Eval<Value<'r>> {
    match (converted, c.get(0, "default")) {
        (Err(_) | Ok(Value::Null), Some(default)) => Ok(default.clone()),
        (converted, _) => converted,
    }
}

/// Text for HTML and XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

fn count(n: usize) -> Value<'static> {
    Value::Number(Decimal::from(n))
}

fn texts<'t>(parts: impl Iterator<Item = &'t str>) -> Value<'static> {
    Value::list(parts.map(Value::owned).collect())
}

/// The last character of a CFONB or COBOL number carries its sign: `{ A-I` for +0 to +9, `} J-R` for -0 to -9.
fn overpunch<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let text = c.shown(&v);
    let text = text.trim();
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let fail = || Fault::Message(format!("{} is not a number with an overpunched sign", quoted(text)));
    let last = text.chars().last().ok_or_else(fail)?;
    let (digit, sign) = match last {
        '0'..='9' => (last as u8 - b'0', ""),
        '{' => (0, ""),
        'A'..='I' => (last as u8 - b'A' + 1, ""),
        '}' => (0, "-"),
        'J'..='R' => (last as u8 - b'J' + 1, "-"),
        _ => return Err(fail()),
    };
    let head = &text[..text.len() - last.len_utf8()];
    if !head.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fail());
    }
    let mut n = Decimal::from_str_exact(&format!("{sign}{head}{digit}")).map_err(|_| fail())?;
    let decimals = u32::try_from(c.whole(0, "decimals")?.unwrap_or(0)).unwrap_or(0);
    n.set_scale(decimals).map_err(|_| fail())?;
    Ok(Value::Number(n))
}

/// `n` with exactly so many decimals.
fn rounded(n: Decimal, decimals: i64, how: RoundingStrategy) -> Decimal {
    if decimals < 0 {
        let unit = Decimal::TEN.checked_powi(-decimals).unwrap_or(Decimal::ONE);
        return n.checked_div(unit).map_or(n, |q| q.round_dp_with_strategy(0, how) * unit);
    }
    let places = u32::try_from(decimals).unwrap_or(0).min(28);
    let mut out = n.round_dp_with_strategy(places, how);
    out.rescale(places);
    // No minus before zero.
    if out.is_zero() {
        out.set_sign_positive(true);
    }
    out
}

fn round<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let Some(n) = number(&v)? else { return Ok(Value::Null) };
    let how = match c.text(1, "method").as_deref() {
        None | Some("common") => RoundingStrategy::MidpointAwayFromZero,
        Some("ceil") => RoundingStrategy::ToPositiveInfinity,
        Some("floor") => RoundingStrategy::ToNegativeInfinity,
        Some(other) => return Err(Fault::Message(format!("round has no method {other}: common, ceil or floor"))),
    };
    Ok(Value::Number(rounded(n, c.whole(0, "precision")?.unwrap_or(0), how)))
}
