//! The filters: Jinja's, and those of business data. One table gives names, arguments, null rules, examples and code.
//!
//! Adding a filter is one line in [`FILTERS`] and one function; the reference table and its test come from the line.

use std::sync::Arc;

use rust_decimal::prelude::*;

use super::eval::{Env, Eval, Fault, digits, equal, number, order, truth, whole};
use super::expr::{Args, Known, Node, last_line};
use crate::formats::text::{Type, formatted, quoted, with_offset};
use crate::record::Value;

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
    Filter { name, args, named, nulls: Nulls::Sees, gives, example, run }
}

use Known::{Number, Text, Time, Unknown};

/// All filters; `default` and `lookup` are the compiler's, since they see what is not there.
pub static FILTERS: &[Filter] = &[
    text("upper", (0, 0), &[], ("'é' | upper", "É"), |c, v| Ok(Value::owned(c.shown(&v).to_uppercase()))),
    text("lower", (0, 0), &[], ("'É' | lower", "é"), |c, v| Ok(Value::owned(c.shown(&v).to_lowercase()))),
    text("capitalize", (0, 0), &[], ("'jean PAUL' | capitalize", "Jean paul"), |c, v| Ok(Value::owned(capitalized(&c.shown(&v))))),
    text("title", (0, 0), &[], ("'saint-denis' | title", "Saint-Denis"), |c, v| Ok(Value::owned(titled(&c.shown(&v))))),
    text("trim", (0, 1), &["chars"], ("'  a ' | trim", "a"), trim),
    text("replace", (2, 3), &["count"], ("'a-b' | replace('-', ' ')", "a b"), replace),
    text("regex_replace", (2, 2), &[], ("'a  b' | regex_replace('\\\\s+', ' ')", "a b"), regex_replace),
    text("ascii", (0, 0), &[], ("'Cœur Éloïse' | ascii", "Coeur Eloise"), |c, v| Ok(Value::owned(ascii(&c.shown(&v))))),
    text("digits", (0, 0), &[], ("'+33 (0)6 12' | digits", "330612"), |c, v| {
        Ok(Value::owned(c.shown(&v).chars().filter(char::is_ascii_digit).collect::<String>()))
    }),
    text("string", (0, 0), &[], ("1.50 | string", "1.50"), |c, v| Ok(Value::owned(c.shown(&v)))),
    text("truncate", (0, 4), &["length", "killwords", "end", "leeway"], ("'abcdef' | truncate(4, true, '.')", "abc."), truncate),
    text("center", (0, 1), &["width"], ("'a' | center(3)", " a "), |c, v| {
        let (s, width) = (c.shown(&v), usize::try_from(c.whole(0, "width")?.unwrap_or(80)).unwrap_or(0));
        Ok(Value::owned(format!("{s:^width$}")))
    }),
    text("indent", (0, 1), &["width"], ("'a\nb' | indent(2)", "a\n  b"), |c, v| {
        let pad = " ".repeat(usize::try_from(c.whole(0, "width")?.unwrap_or(4)).unwrap_or(0).min(1000));
        Ok(Value::owned(c.shown(&v).replace('\n', &format!("\n{pad}"))))
    }),
    text("urlencode", (0, 0), &[], ("'a b&é' | urlencode", "a%20b%26%C3%A9"), |c, v| Ok(Value::owned(url_encoded(&c.shown(&v))))),
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
    other("float", (0, 0), &[], Number, ("'1.50' | float", "1.50"), |c, v| convert(c.env, Type::Decimal, None, v)),
    other("integer", (0, 0), &[], Number, ("'007' | integer", "7"), |c, v| convert(c.env, Type::Integer, None, v)),
    other("int", (0, 0), &[], Number, ("'7.9' | int", "7"), |c, v| match convert(c.env, Type::Decimal, None, v)? {
        Value::Number(n) => Ok(Value::Number(n.trunc().normalize())),
        v => Ok(v),
    }),
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
    other("dictsort", (0, 0), &[], Unknown, ("{'b': 1, 'a': 2} | dictsort | first | first", "a"), |_, v| {
        let mut entries = entries_of(&v)?.to_vec();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        pairs(&Value::Map(Arc::new(entries)))
    }),
    other("attr", (1, 1), &[], Unknown, ("{'a': 1} | attr('a')", "1"), |c, v| c.env.part(v, &c.text(0, "").unwrap_or_default())),
    other("batch", (1, 2), &["fill_with"], Unknown, ("[1, 2, 3] | batch(2) | length", "2"), batch),
    other("list", (0, 0), &[], Unknown, ("'ab' | list | length", "2"), |c, v| Ok(Value::list(items_of(c, v)?))),
    seeing("length", (0, 0), &[], Number, ("'été' | length", "3"), length),
    seeing("count", (0, 0), &[], Number, ("[1, 2] | count", "2"), length),
    seeing("join", (0, 2), &["d", "attribute"], Text, ("['a', 'b'] | join(', ')", "a, b"), join),
    seeing("tojson", (0, 1), &["indent"], Text, ("{'a': [1, null]} | tojson", "{\"a\":[1,null]}"), |c, v| {
        Ok(Value::owned(crate::formats::json::to_text(&v, c.env.style)))
    }),
];

/// The filter of that name.
pub fn named(name: &str) -> Option<&'static Filter> {
    let name = match name {
        "upper_case" => "upper",
        other => other,
    };
    FILTERS.iter().find(|f| f.name == name)
}

/// Applies a filter to a value.
pub fn apply<'r>(env: &Env<'r>, filter: &'static Filter, input: Value<'r>, args: &'r Args) -> Eval<Value<'r>> {
    let call = Call {
        env,
        positional: args.positional.iter().map(|a| env.eval(a)).collect::<Eval<_>>()?,
        named: args.named.iter().map(|(n, a)| Ok((n.as_str(), env.eval(a)?))).collect::<Eval<_>>()?,
    };
    run(filter, &call, input)
}

fn run<'r>(filter: &Filter, call: &Call<'_, 'r>, input: Value<'r>) -> Eval<Value<'r>> {
    match (input, filter.nulls) {
        (Value::Null, Nulls::Pass) => Ok(Value::Null),
        (Value::Null, Nulls::Empty) if filter.name == "strftime" => Ok(Value::Null),
        (Value::Null, Nulls::Empty) => (filter.run)(call, Value::text("")),
        (input, _) => (filter.run)(call, input),
    }
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
            crate::formats::text::pattern_mistake(constant).map(|why| format!("{} is no pattern for dates: {why}", quoted(constant)))
        }
        "map" if args.positional.len() == 1 => named(constant).is_none().then(|| format!("there is no filter {constant}")),
        "select" | "reject" => super::predicates::named(constant).is_none().then(|| format!("there is no test {constant}")),
        _ => None,
    }
}

/// A value as one of the types of the configuration, by its own pattern or by how A writes.
pub fn convert<'r>(env: &Env<'_>, kind: Type, pattern: Option<&str>, v: Value<'r>) -> Eval<Value<'r>> {
    let r = env.reading;
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
        (Value::Number(_) | Value::Digits(_), Type::Bool) => env.style.text(&v).into_owned(),
        (Value::DateTime(d, _), Type::Date) => return Ok(Value::Date(d.date())),
        (Value::Date(d), Type::DateTime) => return Ok(Value::DateTime(d.at(0, 0, 0, 0), None)),
        (_, Type::Text) => return Ok(Value::owned(env.style.text(&v).into_owned())),
        (Value::Text(t), _) => t.to_string(),
        // A number of a JSON file or a fixed field may hold a date, as in 20251231.
        (Value::Number(_) | Value::Digits(_), _) => env.style.text(&v).into_owned(),
        (other, _) => return Err(Fault::Message(format!("{} can't be converted", other.kind()))),
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(Value::Null);
    }
    let converted = match (kind, pattern) {
        (Type::Date, Some(pattern)) => r.date(trimmed, Some(pattern)),
        (Type::DateTime, Some(pattern)) => r.datetime(trimmed, Some(pattern)),
        _ => r.convert(kind, trimmed).map(Value::into_owned),
    };
    converted.map_err(Fault::Message)
}

fn count(n: usize) -> Value<'static> {
    Value::Number(Decimal::from(n))
}

fn texts<'t>(parts: impl Iterator<Item = &'t str>) -> Value<'static> {
    Value::list(parts.map(Value::owned).collect())
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect())
}

fn titled(text: &str) -> String {
    let mut start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        start = c.is_whitespace() || "-([{<".contains(c);
    }
    out
}

fn trim<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let chars = c.text(0, "chars");
    match (v, chars) {
        (Value::Text(std::borrow::Cow::Borrowed(t)), None) => Ok(Value::text(t.trim())),
        (v, None) => Ok(Value::owned(c.shown(&v).trim())),
        (v, Some(set)) => Ok(Value::owned(c.shown(&v).trim_matches(|x| set.contains(x)))),
    }
}

fn replace<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (text, from, to) = (c.shown(&v), c.text(0, "").unwrap_or_default(), c.text(1, "").unwrap_or_default());
    Ok(Value::owned(match c.whole(2, "count")? {
        Some(n) => text.replacen(&from, &to, usize::try_from(n).unwrap_or(usize::MAX)),
        None => text.replace(&from, &to),
    }))
}

fn regex_replace<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let pattern = c.env.state.pattern(&c.text(0, "").unwrap_or_default())?;
    // As in Ansible and Python, \1 stands for the first group; a $ is a $.
    let written = c.text(1, "").unwrap_or_default().replace('$', "$$");
    let mut with = String::with_capacity(written.len());
    let mut chars = written.chars().peekable();
    while let Some(x) = chars.next() {
        match (x, chars.peek()) {
            ('\\', Some(d)) if d.is_ascii_digit() => {
                with.push_str(&format!("${{{d}}}"));
                chars.next();
            }
            ('\\', Some('\\')) => {
                with.push('\\');
                chars.next();
            }
            _ => with.push(x),
        }
    }
    Ok(Value::owned(pattern.replace_all(&c.shown(&v), with.as_str())))
}

/// Accents and ligatures removed, as PostgreSQL's `unaccent` does; what has no plain form stays.
pub fn ascii(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            'œ' => out.push_str("oe"),
            'Œ' => out.push_str("OE"),
            'æ' => out.push_str("ae"),
            'Æ' => out.push_str("AE"),
            'ß' => out.push_str("ss"),
            'ẞ' => out.push_str("SS"),
            'ø' => out.push('o'),
            'Ø' => out.push('O'),
            'ł' => out.push('l'),
            'Ł' => out.push('L'),
            'đ' | 'ð' => out.push('d'),
            'Đ' | 'Ð' => out.push('D'),
            'þ' => out.push_str("th"),
            'Þ' => out.push_str("TH"),
            'ı' => out.push('i'),
            '‘' | '’' | '‚' | '‛' | '′' => out.push('\''),
            '“' | '”' | '„' | '‟' => out.push('"'),
            '«' => out.push_str("<<"),
            '»' => out.push_str(">>"),
            '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => out.push('-'),
            '\u{a0}' | '\u{202f}' | '\u{2009}' => out.push(' '),
            c => {
                let plain: String = std::iter::once(c).nfkd().filter(char::is_ascii).collect();
                if plain.is_empty() { out.push(c) } else { out.push_str(&plain) }
            }
        }
    }
    out
}

fn url_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn truncate<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let text = c.shown(&v);
    let length = usize::try_from(c.whole(0, "length")?.unwrap_or(255)).unwrap_or(0);
    let end = c.text(2, "end").unwrap_or_else(|| "...".into());
    let leeway = usize::try_from(c.whole(3, "leeway")?.unwrap_or(5)).unwrap_or(0);
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= length + if c.flag(1, "killwords") { 0 } else { leeway } {
        return Ok(Value::owned(text));
    }
    let kept: String = chars[..length.saturating_sub(end.chars().count()).min(chars.len())].iter().collect();
    let kept = if c.flag(1, "killwords") { kept } else { kept.rsplit_once(' ').map_or(kept.clone(), |(head, _)| head.to_owned()) };
    Ok(Value::owned(kept + &end))
}

/// Python's `%` formatting: `%s %d %f %x %c %%` with the flags `-`, `0`, `+`, space, a width and a precision.
fn format_text<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let pattern = c.shown(&v);
    let mut out = String::new();
    let mut args = c.positional.iter();
    let mut chars = pattern.chars().peekable();
    while let Some(x) = chars.next() {
        if x != '%' {
            out.push(x);
            continue;
        }
        let mut flags = String::new();
        while let Some(f) = chars.next_if(|f| "-0+ #".contains(*f)) {
            flags.push(f);
        }
        let take = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut n = String::new();
            while let Some(d) = chars.next_if(char::is_ascii_digit) {
                n.push(d);
            }
            n.parse::<usize>().ok().map(|n| n.min(4096))
        };
        let width = take(&mut chars).unwrap_or(0);
        let precision = if chars.next_if_eq(&'.').is_some() { Some(take(&mut chars).unwrap_or(0)) } else { None };
        let Some(kind) = chars.next() else { return Err(Fault::Message("the pattern ends after %".into())) };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args.next() else { return Err(Fault::Message("the pattern has more % than there are values".into())) };
        out.push_str(&padded(&directive(c, kind, arg, precision, &flags)?, width, &flags, kind));
    }
    if args.next().is_some() {
        return Err(Fault::Message("the pattern has fewer % than there are values".into()));
    }
    Ok(Value::owned(out))
}

fn directive(c: &Call<'_, '_>, kind: char, arg: &Value<'_>, precision: Option<usize>, flags: &str) -> Eval<String> {
    if kind == 's' {
        let text = c.env.style.text(arg);
        return Ok(precision.map_or_else(|| text.to_string(), |p| text.chars().take(p).collect()));
    }
    let number = number(arg)?.ok_or_else(|| Fault::Message(format!("%{kind} of null: | default(0) gives it a value")))?;
    let plus = if number.is_sign_negative() && !number.is_zero() {
        ""
    } else if flags.contains('+') {
        "+"
    } else if flags.contains(' ') {
        " "
    } else {
        ""
    };
    Ok(match kind {
        'd' | 'i' | 'u' => format!("{plus}{}", number.trunc().normalize()),
        'f' | 'F' => format!("{plus}{}", rounded(number, i64::try_from(precision.unwrap_or(6)).unwrap_or(6), RoundingStrategy::MidpointAwayFromZero)),
        'x' => format!("{:x}", number.trunc().to_i64().unwrap_or(0)),
        'X' => format!("{:X}", number.trunc().to_i64().unwrap_or(0)),
        'c' => number.to_u32().and_then(char::from_u32).map(String::from).unwrap_or_default(),
        other => return Err(Fault::Message(format!("%{other} is not known: use %s, %d or %f"))),
    })
}

fn padded(text: &str, width: usize, flags: &str, kind: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text.to_owned();
    }
    if flags.contains('-') {
        return format!("{text}{}", " ".repeat(missing));
    }
    if flags.contains('0') && kind != 's' {
        let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+', ' '])));
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    format!("{}{text}", " ".repeat(missing))
}

fn strftime<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let pattern = c.text(0, "").unwrap_or_default();
    match v {
        Value::Date(d) => Ok(Value::owned(formatted(&pattern, with_offset(d.at(0, 0, 0, 0), None)))),
        Value::DateTime(d, offset) => Ok(Value::owned(formatted(&pattern, with_offset(d, offset)))),
        other => Err(Fault::Message(format!("{} is {}, not a date: convert it first with | date or `types`", quoted(&c.shown(&other)), other.kind()))),
    }
}

fn split<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let text = c.shown(&v);
    let most = c.whole(1, "maxsplit")?.and_then(|n| usize::try_from(n).ok());
    Ok(match (c.text(0, "").filter(|s| !s.is_empty()), most) {
        (None, _) => texts(text.split_whitespace()),
        (Some(sep), Some(n)) => texts(text.splitn(n + 1, &sep)),
        (Some(sep), None) => texts(text.split(&sep)),
    })
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

/// The elements of a list, the characters of a text, the names of a map.
fn items_of<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Vec<Value<'static>>> {
    match v {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => Ok(items.to_vec()),
        Value::Text(t) => Ok(t.chars().map(Value::owned).collect()),
        Value::Map(m) => Ok(m.iter().map(|(k, _)| Value::owned(k.clone())).collect()),
        other => Err(Fault::Message(format!("{} is not a list ({})", quoted(&c.shown(&other)), other.kind()))),
    }
}

fn entries_of<'v>(v: &'v Value<'_>) -> Eval<&'v [(String, Value<'static>)]> {
    match v {
        Value::Map(m) => Ok(m),
        other => Err(Fault::Message(format!("{} is not a map", other.kind()))),
    }
}

fn pairs<'r>(v: &Value<'_>) -> Eval<Value<'r>> {
    Ok(Value::list(entries_of(v)?.iter().map(|(k, v)| Value::list(vec![Value::owned(k.clone()), v.clone()])).collect()))
}

fn end<'r>(c: &Call<'_, 'r>, v: Value<'r>, pick: fn(&[Value<'static>]) -> Option<Value<'static>>) -> Eval<Value<'r>> {
    Ok(pick(&items_of(c, v)?).unwrap_or(Value::Null))
}

/// The attribute of an element that a filter looks at, or the element itself.
fn attribute<'r>(c: &Call<'_, 'r>, item: &Value<'static>, path: Option<&str>) -> Eval<Value<'r>> {
    let mut v: Value<'r> = item.clone();
    for part in path.into_iter().flat_map(|p| p.split('.')) {
        v = match (&v, part.parse::<usize>()) {
            (Value::List(l), Ok(at)) => l.get(at).cloned().unwrap_or(Value::Null),
            _ => c.env.part(v, part)?,
        };
    }
    Ok(v)
}

fn extreme<'r>(c: &Call<'_, 'r>, v: Value<'r>, wanted: std::cmp::Ordering) -> Eval<Value<'r>> {
    let path = c.text(0, "attribute");
    let mut best: Option<(Value<'r>, Value<'static>)> = None;
    for item in items_of(c, v)? {
        let key = attribute(c, &item, path.as_deref())?;
        if matches!(key, Value::Null) {
            continue;
        }
        if best.as_ref().map_or(Ok(true), |(top, _)| order(&key, top).map(|o| o == Some(wanted)))? {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::Null, |(_, item)| item))
}

fn sum<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let path = c.text(0, "attribute").filter(|p| !p.is_empty());
    let mut total = c.get(1, "start").map_or(Ok(None), number)?.unwrap_or_default();
    for item in items_of(c, v)? {
        if let Some(n) = number(&attribute(c, &item, path.as_deref())?)? {
            total = total.checked_add(n).ok_or_else(|| Fault::Message("the sum has more than 28 digits".into()))?;
        }
    }
    Ok(Value::Number(total))
}

fn sort<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (reverse, exact, path) = (c.flag(0, "reverse"), c.flag(1, "case_sensitive"), c.text(2, "attribute"));
    let mut keyed = Vec::new();
    for item in items_of(c, v)? {
        let key = match attribute(c, &item, path.as_deref())?.into_owned() {
            Value::Text(t) if !exact => Value::owned(t.to_lowercase()),
            key => key,
        };
        keyed.push((key, item));
    }
    let mut failed = None;
    keyed.sort_by(|a, b| {
        let order = order(&a.0, &b.0).unwrap_or_else(|e| {
            failed.get_or_insert(e);
            None
        });
        let order = order.unwrap_or_else(|| (a.0 != Value::Null).cmp(&(b.0 != Value::Null)));
        if reverse { order.reverse() } else { order }
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect())),
    }
}

fn unique<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let path = c.text(1, "attribute");
    let mut seen = std::collections::HashSet::new();
    let mut out = Vec::new();
    for item in items_of(c, v)? {
        let key = attribute(c, &item, path.as_deref())?;
        if seen.insert(format!("{}{}", key.kind(), c.env.style.text(&key))) {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

fn groupby<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let path = c.text(0, "attribute");
    let mut groups: Vec<(Value<'static>, Vec<Value<'static>>)> = Vec::new();
    for item in items_of(c, v)? {
        let key = attribute(c, &item, path.as_deref())?.into_owned();
        let mut at = None;
        for (i, (known, _)) in groups.iter().enumerate() {
            if equal(known, &key)? {
                at = Some(i);
                break;
            }
        }
        match at {
            Some(i) => groups[i].1.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups.sort_by(|a, b| order(&a.0, &b.0).ok().flatten().unwrap_or(std::cmp::Ordering::Equal));
    let group = |(key, items): (Value<'static>, Vec<Value<'static>>)| Value::Map(Arc::new(vec![("grouper".into(), key), ("list".into(), Value::list(items))]));
    Ok(Value::list(groups.into_iter().map(group).collect()))
}

fn map<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let items = items_of(c, v)?;
    if let Some(path) = c.named.iter().find(|(n, _)| *n == "attribute").map(|(_, v)| c.shown(v)) {
        let default = c.named.iter().find(|(n, _)| *n == "default").map(|(_, v)| v.clone().into_owned());
        let part = |item: &Value<'static>| match attribute(c, item, Some(&path))?.into_owned() {
            Value::Null => Ok(default.clone().unwrap_or(Value::Null)),
            found => Ok(found),
        };
        return items.iter().map(part).collect::<Eval<Vec<_>>>().map(Value::list);
    }
    let name = c.text(0, "").unwrap_or_default();
    let filter = named(&name).ok_or_else(|| Fault::Message(format!("there is no filter {name}")))?;
    let rest = Call { env: c.env, positional: c.positional.iter().skip(1).cloned().collect(), named: Vec::new() };
    items.into_iter().map(|item| run(filter, &rest, item).map(Value::into_owned)).collect::<Eval<Vec<_>>>().map(Value::list)
}

fn filtered<'r>(c: &Call<'_, 'r>, v: Value<'r>, keep: bool, path: Option<String>) -> Eval<Value<'r>> {
    let at = usize::from(path.is_some());
    let test = match c.text(at, "") {
        Some(name) => Some(super::predicates::named(&name).ok_or_else(|| Fault::Message(format!("there is no test {name}")))?),
        None => None,
    };
    let mut out = Vec::new();
    for item in items_of(c, v)? {
        let value = attribute(c, &item, path.as_deref())?;
        let holds = match test {
            Some(test) => (test.holds)(c.env, &value, c.positional.get(at + 1))?,
            None => truth(&value),
        };
        if holds == keep {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

fn batch<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let size = usize::try_from(c.whole(0, "")?.unwrap_or(1)).unwrap_or(1).max(1);
    let fill = c.get(1, "fill_with").cloned().map(Value::into_owned);
    let items = items_of(c, v)?;
    let rows = items.chunks(size).map(|chunk| {
        let mut row = chunk.to_vec();
        if let Some(fill) = &fill {
            row.resize(size, fill.clone());
        }
        Value::list(row)
    });
    Ok(Value::list(rows.collect()))
}

fn length<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    Ok(match &v {
        Value::Null => count(0),
        Value::List(l) => count(l.len()),
        Value::Map(m) => count(m.len()),
        other => count(c.env.style.text(other).chars().count()),
    })
}

fn join<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (sep, path) = (c.text(0, "d").unwrap_or_default(), c.text(1, "attribute"));
    let mut out = Vec::new();
    for item in items_of(c, v)? {
        out.push(c.env.style.text(&attribute(c, &item, path.as_deref())?).into_owned());
    }
    Ok(Value::owned(out.join(&sep)))
}
