//! Filters that make text.

use rust_decimal::prelude::*;

use super::super::eval::{Eval, Fault, number};
use super::{Call, rounded, texts};
use crate::formats::text::{formatted, quoted, with_offset};
use crate::record::Value;

/// In capitals, made in the record's arena.
pub(super) fn upper<'r>(c: &Call<'_, 'r>, v: &Value<'r>) -> Value<'r> {
    let text = c.env.style.text(v);
    let mut out = bumpalo::collections::String::with_capacity_in(text.len() + 8, c.env.arena);
    if text.is_ascii() {
        out.push_str(&text);
        out.as_mut_str().make_ascii_uppercase();
    } else {
        for c in text.chars() {
            match c {
                c if c.is_ascii() => out.push(c.to_ascii_uppercase()),
                // The letters of Latin-1 stand 32 behind their capitals.
                'à'..='ö' | 'ø'..='þ' => out.push(char::from(c as u8 - 32)),
                c => c.to_uppercase().for_each(|u| out.push(u)),
            }
        }
    }
    Value::text(out.into_bump_str())
}

/// In small letters, made in the record's arena.
pub(super) fn lower<'r>(c: &Call<'_, 'r>, v: &Value<'r>) -> Value<'r> {
    let text = c.env.style.text(v);
    if !text.is_ascii() {
        return Value::text(c.env.arena.alloc_str(&text.to_lowercase()));
    }
    let out = c.env.arena.alloc_str(&text);
    out.make_ascii_lowercase();
    Value::text(out)
}

pub(super) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect())
}

pub(super) fn titled(text: &str) -> String {
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

pub(super) fn trim<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let chars = c.text(0, "chars");
    match (v, chars) {
        (Value::Text(std::borrow::Cow::Borrowed(t)), None) => Ok(Value::text(t.trim())),
        (v, None) => Ok(Value::owned(c.shown(&v).trim())),
        (v, Some(set)) => Ok(Value::owned(c.shown(&v).trim_matches(|x| set.contains(x)))),
    }
}

pub(super) fn replace<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let (text, from, to) = (c.shown(&v), c.text(0, "old").unwrap_or_default(), c.text(1, "new").unwrap_or_default());
    super::not_too_long(text.len() + text.matches(from.as_str()).count().saturating_mul(to.len()))?;
    Ok(Value::owned(match c.whole(2, "count")? {
        Some(n) => text.replacen(&from, &to, usize::try_from(n).unwrap_or(usize::MAX)),
        None => text.replace(&from, &to),
    }))
}

/// What `\1` to `\7` are in a text of an expression.
const GROUP_SIGNS: [char; 7] = ['\u{1}', '\u{2}', '\u{3}', '\u{4}', '\u{5}', '\u{6}', '\u{7}'];

pub(super) fn regex_replace<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let pattern = c.env.state.pattern(&c.borrowed(0, ""))?;
    let mut written = c.borrowed(1, "");
    let text = c.env.style.text(&v);
    // A text of an expression makes the first character there is of `\1`; with two backslashes it stays what it is.
    if written.contains(GROUP_SIGNS) {
        let sign = |c: char| if GROUP_SIGNS.contains(&c) { format!("\\{}", u32::from(c)) } else { c.to_string() };
        written = written.chars().map(sign).collect::<String>().into();
    }
    if !written.contains('\\') {
        let mut out = bumpalo::collections::String::with_capacity_in(text.len() + written.len(), c.env.arena);
        let mut from = 0;
        for found in pattern.find_iter(&text) {
            out.push_str(&text[from..found.start()]);
            out.push_str(&written);
            from = found.end();
        }
        out.push_str(&text[from..]);
        return Ok(Value::text(out.into_bump_str()));
    }
    // As in Ansible and Python, \1 stands for the first group; a $ is a $.
    let written = written.replace('$', "$$");
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
    Ok(Value::owned(pattern.replace_all(&text, with.as_str())))
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
            'ħ' => out.push('h'),
            'Ħ' => out.push('H'),
            'ŧ' => out.push('t'),
            'Ŧ' => out.push('T'),
            'ŋ' => out.push('n'),
            'Ŋ' => out.push('N'),
            'ŉ' => out.push_str("'n"),
            'ĸ' => out.push('q'),
            'ƒ' => out.push('f'),
            'đ' | 'ð' => out.push('d'),
            'Đ' | 'Ð' => out.push('D'),
            'þ' => out.push_str("th"),
            'Þ' => out.push_str("TH"),
            'ı' => out.push('i'),
            '‘' | '’' | '‛' | '′' | 'ʼ' | 'ʹ' => out.push('\''),
            '‚' => out.push(','),
            '“' | '”' | '‟' | '″' => out.push('"'),
            '„' => out.push_str(",,"),
            '‹' => out.push('<'),
            '›' => out.push('>'),
            '¡' => out.push('!'),
            '¿' => out.push('?'),
            '©' => out.push_str("(C)"),
            '®' => out.push_str("(R)"),
            '±' => out.push_str("+/-"),
            '×' => out.push('*'),
            '÷' => out.push('/'),
            '‖' => out.push_str("||"),
            '℃' => out.push_str("°C"),
            '℉' => out.push_str("°F"),
            'Ё' => out.push('Е'),
            'ё' => out.push('е'),
            // Greek letters lose their accents and stay Greek.
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => {
                out.extend(std::iter::once(c).nfd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)))
            }
            '«' => out.push_str("<<"),
            '»' => out.push_str(">>"),
            '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => out.push('-'),
            '\u{ad}' => out.push('-'),
            '\u{a0}' | '\u{202f}' | '\u{2009}' => out.push(' '),
            c => {
                // A mark that stands behind its letter goes, and 5½ is 5 1/2: a fraction begins with a space.
                if unicode_normalization::char::is_combining_mark(c) {
                    continue;
                }
                let plain: String = std::iter::once(c).nfkd().map(|c| if c == '\u{2044}' { '/' } else { c }).filter(char::is_ascii).collect();
                if plain.contains('/') && plain.starts_with(|c: char| c.is_ascii_digit()) {
                    out.push(' ');
                }
                if plain.is_empty() { out.push(c) } else { out.push_str(&plain) }
            }
        }
    }
    out
}

/// JSON on several lines, each level indented by so many spaces.
pub(super) fn indented(compact: &str, by: usize) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::with_capacity(compact.len() * 2), 0usize, false, false);
    let mut chars = compact.chars().peekable();
    while let Some(c) = chars.next() {
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', depth * by));
        };
        if quoted {
            out.push(c);
            (quoted, escaped) = (escaped || c != '"', c == '\\' && !escaped);
            continue;
        }
        match c {
            '[' | '{' if chars.peek().is_some_and(|next| !matches!(next, ']' | '}')) => {
                depth += 1;
                out.push(c);
                line(&mut out, depth);
            }
            ']' | '}' if !out.ends_with(['[', '{']) => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => {
                quoted = c == '"';
                out.push(c);
            }
        }
    }
    out
}

/// As a part of an address; of a map, or of a list of pairs, a query.
pub(super) fn urlencode<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let query = |text: &str| url_encoded(text).replace('/', "%2F").replace("%20", "+");
    let pair = |key: &str, value: &Value<'static>| format!("{}={}", query(key), query(&c.env.style.text(value)));
    Ok(Value::owned(match &v {
        Value::Map(entries) => entries.iter().map(|(key, value)| pair(key, value)).collect::<Vec<_>>().join("&"),
        Value::List(items) => {
            let of = |item: &Value<'static>| match item {
                Value::List(both) if both.len() == 2 => Ok(pair(&c.env.style.text(&both[0]), &both[1])),
                _ => Err(Fault::Message("urlencode takes a text, a map, or a list of pairs".into())),
            };
            items.iter().map(of).collect::<Eval<Vec<_>>>()?.join("&")
        }
        _ => url_encoded(&c.shown(&v)),
    }))
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

/// Lines of at most so many characters, broken between words and behind hyphens, as Python's `textwrap` does it: what is
/// blank goes only where a line is broken.
pub(super) fn wordwrap<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let width = usize::try_from(c.whole(0, "width")?.unwrap_or(79)).unwrap_or(79).max(1);
    let breaks = c.get(1, "break_long_words").is_none_or(super::super::eval::truth);
    let ending = c.text(2, "wrapstring").unwrap_or_else(|| "\n".into());
    let hyphens = c.get(3, "break_on_hyphens").is_none_or(super::super::eval::truth);
    let shown = c.shown(&v);
    let wrapped: Vec<String> = shown.lines().map(|line| wrapped(line, width, breaks, hyphens).join(&ending)).collect();
    Ok(Value::owned(wrapped.join(&ending)))
}

fn wrapped(line: &str, width: usize, breaks: bool, hyphens: bool) -> Vec<String> {
    let mut chunks: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    let chars: Vec<char> = line.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        let blank = |c: char| c.is_ascii_whitespace();
        let joint = hyphens && i >= 2 && chars[i - 1] == '-' && chars[i - 2].is_alphabetic() && c.is_alphabetic();
        match chunks.back_mut() {
            Some(last) if i > 0 && blank(chars[i - 1]) == blank(*c) && !joint => last.push(*c),
            _ => chunks.push_back(c.to_string()),
        }
    }
    let is_blank = |chunk: &String| chunk.chars().all(|c| c.is_ascii_whitespace());
    let mut lines: Vec<String> = Vec::new();
    while !chunks.is_empty() {
        if !lines.is_empty() && chunks.front().is_some_and(is_blank) {
            chunks.pop_front();
        }
        let (mut taken, mut length): (Vec<String>, usize) = (Vec::new(), 0);
        while let Some(chunk) = chunks.pop_front() {
            let size = chunk.chars().count();
            if length + size <= width {
                length += size;
                taken.push(chunk);
            } else if size > width && breaks {
                let room = width - length;
                taken.push(chunk.chars().take(room).collect());
                chunks.push_front(chunk.chars().skip(room).collect());
                break;
            } else if size > width && taken.is_empty() {
                taken.push(chunk);
                break;
            } else {
                chunks.push_front(chunk);
                break;
            }
        }
        if taken.last().is_some_and(is_blank) {
            taken.pop();
        }
        if !taken.is_empty() {
            lines.push(taken.concat());
        }
    }
    lines
}

/// Lines moved to the right: all but the first one and those that are blank, unless told otherwise.
pub(super) fn indent<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let pad = match c.get(0, "width") {
        Some(Value::Text(text)) => text.to_string(),
        _ => " ".repeat(usize::try_from(c.whole(0, "width")?.unwrap_or(4)).unwrap_or(0).min(1000)),
    };
    let (first, blank, text) = (c.flag(1, "first"), c.flag(2, "blank"), c.shown(&v));
    super::not_too_long(text.len() + text.matches('\n').count().saturating_mul(pad.len()))?;
    let moved = |(i, line): (usize, &str)| if (i > 0 || first) && (blank || !line.trim().is_empty()) { format!("{pad}{line}") } else { line.to_owned() };
    Ok(Value::owned(text.split('\n').enumerate().map(moved).collect::<Vec<_>>().join("\n")))
}

/// A number of bytes as people read it.
pub(super) fn file_size<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let Some(mut n) = number(&v)? else { return Ok(Value::Null) };
    let binary = c.flag(0, "binary");
    let step = Decimal::from(if binary { 1024 } else { 1000 });
    let units = if binary { ["KiB", "MiB", "GiB", "TiB", "PiB"] } else { ["kB", "MB", "GB", "TB", "PB"] };
    if n.abs() < step {
        return Ok(Value::owned(format!("{} Bytes", n.normalize())));
    }
    let mut unit = "";
    for name in units {
        if n.abs() < step {
            break;
        }
        n /= step;
        unit = name;
    }
    Ok(Value::owned(format!("{} {unit}", rounded(n, 1, RoundingStrategy::MidpointAwayFromZero))))
}

pub(super) fn truncate<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
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
pub(super) fn format_text<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
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
            match n.parse::<usize>() {
                Ok(n) if n <= 4096 => Ok(Some(n)),
                _ if n.is_empty() => Ok(None),
                _ => Err(Fault::Message(format!("a width of {n} is more than 4096"))),
            }
        };
        let width = take(&mut chars)?.unwrap_or(0);
        let precision = if chars.next_if_eq(&'.').is_some() { Some(take(&mut chars)?.unwrap_or(0)) } else { None };
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

pub(super) fn directive(c: &Call<'_, '_>, kind: char, arg: &Value<'_>, precision: Option<usize>, flags: &str) -> Eval<String> {
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
    let sign = if number.is_sign_negative() && !number.trunc().is_zero() { "-" } else { plus };
    let whole = || number.trunc().abs().to_u128().ok_or_else(|| Fault::Message(format!("%{kind} takes no number that large")));
    let filled = |digits: String| format!("{sign}{digits:0>0$}", precision.unwrap_or(0));
    let marked = |mark: &str, digits: String| filled(if flags.contains('#') { format!("{mark}{digits}") } else { digits });
    Ok(match kind {
        'd' | 'i' | 'u' => filled(whole()?.to_string()),
        'o' => marked("0o", format!("{:o}", whole()?)),
        'f' | 'F' => format!("{plus}{}", rounded(number, i64::try_from(precision.unwrap_or(6)).unwrap_or(6), RoundingStrategy::MidpointAwayFromZero)),
        'x' => marked("0x", format!("{:x}", whole()?)),
        'X' => marked("0X", format!("{:X}", whole()?)),
        'c' => number.to_u32().and_then(char::from_u32).map(String::from).unwrap_or_default(),
        other => return Err(Fault::Message(format!("%{other} is not known: use %s, %d or %f"))),
    })
}

pub(super) fn padded(text: &str, width: usize, flags: &str, kind: char) -> String {
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

pub(super) fn strftime<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let pattern = c.text(0, "").unwrap_or_default();
    match v {
        Value::Date(d) => Ok(Value::owned(formatted(&pattern, with_offset(d.at(0, 0, 0, 0), None)))),
        Value::DateTime(d, offset) => Ok(Value::owned(formatted(&pattern, with_offset(d, offset)))),
        other => Err(Fault::Message(format!("{} is {}, not a date: convert it first with | date or `types`", quoted(&c.shown(&other)), other.kind()))),
    }
}

pub(super) fn split<'r>(c: &Call<'_, 'r>, v: Value<'r>) -> Eval<Value<'r>> {
    let text = c.shown(&v);
    let most = c.whole(1, "maxsplit")?.and_then(|n| usize::try_from(n).ok());
    Ok(match (c.text(0, "").filter(|s| !s.is_empty()), most) {
        (None, _) => texts(text.split_whitespace()),
        (Some(sep), Some(n)) => texts(text.splitn(n + 1, &sep)),
        (Some(sep), None) => texts(text.split(&sep)),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn accents_and_ligatures_go_as_postgresqls_unaccent_takes_them() {
        for (text, wanted) in [
            ("Ħal Għaxaq, Nuuŋ", "Hal Ghaxaq, Nuun"),
            ("Αθήνα Ώρα", "Αθηνα Ωρα"),
            ("Ёлка, Йод", "Елка, Йод"),
            ("5½ „x‚ ‹y› ¿© 20℃", "5 1/2 ,,x, <y> ?(C) 20°C"),
            ("e\u{301}té ﬁn Œuvre", "ete fin OEuvre"),
        ] {
            assert_eq!(super::ascii(text), wanted);
        }
    }

    #[test]
    fn the_letters_of_latin_1_stand_32_behind_their_capitals() {
        for c in ('à'..='ö').chain('ø'..='þ') {
            assert_eq!(c.to_uppercase().collect::<String>(), char::from(c as u8 - 32).to_string());
        }
    }
}
