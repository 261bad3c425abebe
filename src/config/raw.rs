//! The configuration as written: TOML with the place of every value, checked against the schema key by key.
//!
//! Every mistake is collected, none is guessed away. Values of unknown keys and of keys that may hold a secret are
//! masked in everything that is shown.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::masks::{may_hold_a_secret, places, secret_lines, value_on_line};
use super::read::Purpose;
use super::schema;
use crate::formats::{self, text};
use crate::options::{Entry, Kind, Opt, Options, Side, Val, duration, nearest, size};

/// One mistake in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// Where, in bytes.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What is expected there.
    pub label: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A file that is being checked.
#[derive(Debug)]
pub struct Document {
    /// Where it lies.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What must not be shown.
    masks: Vec<Range<usize>>,
    /// What is wrong.
    pub mistakes: Vec<Mistake>,
    /// The format of the input, while the keys of its route are read.
    input_format: String,
    /// Secrets that stand in the environment or in a file may be missing: nothing is sent with them.
    spares_secrets: bool,
}

impl Document {
    /// Parses and checks `text`; what is wrong stands in `mistakes`.
    pub fn read(path: &Path, text: String, purpose: Purpose) -> (Self, Options) {
        let mut doc = Self {
            path: path.to_owned(),
            text: String::new(),
            masks: Vec::new(),
            mistakes: Vec::new(),
            input_format: String::new(),
            spares_secrets: purpose != Purpose::Relay,
        };
        let (table, errors) = DeTable::parse_recoverable(&text);
        for e in &errors {
            let span = e.span().unwrap_or(0..0);
            // What stands on a line that can't be read may be a secret: only its key is shown.
            doc.masks.extend(value_on_line(&text, &span));
            doc.masks.extend(secret_lines(&text));
            doc.mistakes.push(Mistake { span, message: format!("this is not TOML: {}", e.message().replace('\n', ", ")), label: String::new(), hint: None });
        }
        let options = doc.table(table.get_ref(), table.span(), vec![schema::ROOT], "");
        doc.text = text;
        (doc, options)
    }

    /// Notes a mistake.
    pub fn mistake(&mut self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>, hint: Option<String>) {
        self.mistakes.push(Mistake { span, message: message.into(), label: label.into(), hint });
    }

    /// All mistakes as text, in the order of the file, each with file:line:column and the line it stands on.
    pub fn report(&self) -> String {
        let mut shown = self.text.clone().into_bytes();
        for mask in &self.masks {
            for byte in shown.get_mut(mask.clone()).unwrap_or_default() {
                if !matches!(byte, b'\n' | b'\r') {
                    *byte = b'*';
                }
            }
        }
        let shown = String::from_utf8_lossy(&shown).into_owned();
        let path = self.path.display().to_string();
        let mut mistakes: Vec<&Mistake> = self.mistakes.iter().collect();
        mistakes.sort_by_key(|m| m.span.start);
        let renderer = Renderer::plain().decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for m in mistakes {
            // A place within an expression may be told in the middle of a character.
            let start = shown.floor_char_boundary(m.span.start);
            let end = shown.ceil_char_boundary(m.span.end.max(start)).max(start);
            let annotation = AnnotationKind::Primary.span(start..end).label(m.label.as_str());
            let mut group = Level::ERROR.primary_title(m.message.as_str()).element(Snippet::source(shown.as_str()).path(path.as_str()).annotation(annotation));
            if let Some(hint) = &m.hint {
                group = group.element(Level::HELP.message(hint.as_str()));
            }
            out.push_str(&renderer.render(&[group]).to_string());
            out.push_str("\n\n");
        }
        out
    }

    fn table(&mut self, table: &DeTable<'_>, span: Range<usize>, schema: Vec<&'static [Opt]>, path: &str) -> Options {
        let mut schema = schema;
        let side = schema.iter().flat_map(|part| part.iter()).find_map(|o| if let (Kind::FormatKeys(side), "") = (o.kind, o.name) { Some(side) } else { None });
        if let Some(side) = side {
            schema.push(if side == Side::Input { schema::INPUT } else { schema::OUTPUT });
            schema.extend(format_schema(table, side, "csv"));
        }
        let mut entries = Vec::new();
        let outer = std::mem::take(&mut self.input_format);
        self.input_format = table.get("input").and_then(|i| i.get_ref().as_table()?.get("format")?.get_ref().as_str().map(str::to_owned)).unwrap_or_default();
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            let known = schema.iter().flat_map(|part| part.iter()).find(|o| o.name == name && !name.is_empty());
            let Some(known) = known else {
                self.masks.extend(places(value));
                let names = schema.iter().flat_map(|part| part.iter()).map(|o| o.name).filter(|n| !n.is_empty());
                let near = nearest(name, names.clone());
                let hint = near.map_or_else(|| format!("the keys here are: {}", names.collect::<Vec<_>>().join(", ")), |n| format!("did you mean `{n}`?"));
                let place = if path.is_empty() { "at the top".to_owned() } else { format!("in [{path}]") };
                self.mistake(key.span(), format!("there is no key `{name}` {place}"), "unknown key", Some(hint));
                continue;
            };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if let Some(entry) = self.value(value, key.span(), known, &path) {
                entries.push((name.to_owned(), entry));
            }
        }
        self.input_format = outer;
        Options::new(entries, span, schema)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, key_span: Range<usize>, opt: &'static Opt, path: &str) -> Option<Entry> {
        let span = value.span();
        let secret = matches!(opt.kind, Kind::Secret | Kind::SecretMap);
        // A password may stand in any address, and a key where its file is meant: what looks like one is never shown.
        let maybe = matches!(opt.kind, Kind::Text | Kind::Path) && value.get_ref().as_str().is_none_or(may_hold_a_secret);
        if secret || maybe {
            self.masks.extend(places(value));
        }
        let mut is_secret = secret;
        let checked = self.checked(value, opt, path, &mut is_secret)?;
        Some(Entry { value: checked, span, key_span, secret: is_secret })
    }

    fn expected(&mut self, value: &Spanned<DeValue<'_>>, wanted: &str, path: &str) -> Option<Val> {
        self.mistake(value.span(), format!("`{path}` takes {wanted}"), format!("expected {wanted}"), None);
        None
    }

    fn checked(&mut self, value: &Spanned<DeValue<'_>>, opt: &'static Opt, path: &str, secret: &mut bool) -> Option<Val> {
        let v = value.get_ref();
        match opt.kind {
            Kind::Flag => v.as_bool().map(Val::Flag).or_else(|| self.expected(value, "true or false", path)),
            Kind::Integer(least) => match v.as_integer().and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok()) {
                Some(n) if n >= least => Some(Val::Integer(n)),
                _ => self.expected(value, &format!("a whole number from {least}"), path),
            },
            Kind::Size => match v.as_integer() {
                Some(i) => Some(Val::Text(i.as_str().to_owned())),
                None => self.text(value, opt, path, secret),
            },
            Kind::Share => match v.as_integer() {
                Some(i) if i.as_str().parse::<u64>().is_ok() => Some(Val::Text(i.as_str().to_owned())),
                _ => self.text(value, opt, path, secret),
            },
            Kind::Texts | Kind::Command => match v.as_array() {
                Some(_) => self.texts(value, opt, path, secret),
                None => self.expected(value, "a list of texts", path),
            },
            Kind::OneOrMoreTexts => match v.as_array() {
                Some(_) => self.texts(value, opt, path, secret),
                None => self.text(value, opt, path, secret),
            },
            Kind::TextMap | Kind::SecretMap | Kind::TypeMap | Kind::Expressions => self.map(value, opt, path),
            Kind::Bools => self.bools(value, opt, path),
            Kind::TextOrNumber if v.as_integer().is_some() => v.as_integer().and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok()).map(Val::Integer),
            Kind::TableLists(keys) => self.table_lists(value, keys, path),
            Kind::Table(keys) => match v.as_table() {
                Some(t) => Some(Val::Table(self.table(t, value.span(), vec![keys], path))),
                None => self.expected(value, "a table", path),
            },
            Kind::FormatKeys(side) => match v.as_table() {
                Some(t) => Some(Val::Table(self.format_table(t, value.span(), side, path))),
                None => self.expected(value, "a table", path),
            },
            Kind::Tables(keys) => {
                let Some(t) = v.as_table() else { return self.expected(value, "a table of tables", path) };
                let mut out = Vec::new();
                for (name, inner) in t.iter() {
                    let inner_path = format!("{path}.{}", name.get_ref());
                    match inner.get_ref().as_table() {
                        Some(table) => {
                            let options = self.table(table, inner.span(), vec![keys], &inner_path);
                            out.push((
                                name.get_ref().to_string(),
                                Entry { value: Val::Table(options), span: inner.span(), key_span: name.span(), secret: false },
                            ));
                        }
                        None => {
                            self.masks.push(inner.span());
                            self.expected(inner, "a table", &inner_path);
                        }
                    }
                }
                Some(Val::Map(out))
            }
            Kind::OneOrMoreTables(keys) => match (v.as_table(), v.as_array()) {
                (Some(t), _) => Some(Val::Table(self.table(t, value.span(), vec![keys], path))),
                (None, Some(items)) => Some(self.tables(items, keys, path)),
                _ => self.expected(value, "a table, or more than one", path),
            },
            _ => self.text(value, opt, path, secret),
        }
    }

    fn format_table(&mut self, table: &DeTable<'_>, span: Range<usize>, side: Side, path: &str) -> Options {
        let mut schema = vec![if side == Side::Input { schema::INPUT } else { schema::OUTPUT }];
        let format = table.get("format").and_then(|f| f.get_ref().as_str().map(str::to_owned));
        if let Some(wrong) = format.as_ref().filter(|f| formats::named(f).is_none() && *f != "raw") {
            let names = formats::FORMATS.iter().filter(|f| if side == Side::Input { f.reads() } else { f.writes() }).map(|f| f.name()).chain(["raw"]);
            let hint = nearest(wrong, names.clone())
                .map_or_else(|| format!("the formats are {}", names.collect::<Vec<_>>().join(", ")), |n| format!("did you mean \"{n}\"?"));
            if let Some(value) = table.get("format") {
                self.mistake(value.span(), format!("there is no format {}", text::quoted(wrong)), "unknown format", Some(hint));
            }
        }
        // Without a format, the output has the input's.
        let default = if side == Side::Output { self.input_format.clone() } else { "raw".into() };
        schema.splice(0..0, format_schema(table, side, &default));
        self.table(table, span, schema, path)
    }

    fn table_lists(&mut self, value: &Spanned<DeValue<'_>>, keys: &'static [Opt], path: &str) -> Option<Val> {
        let Some(table) = value.get_ref().as_table() else { return self.expected(value, "a table of lists, as in { \"04\" = [{ … }] }", path) };
        let mut entries: Vec<(String, Entry)> = Vec::new();
        for (name, inner) in table.iter() {
            let inner_path = format!("{path}.{}", name.get_ref());
            let Some(items) = inner.get_ref().as_array() else {
                self.expected(inner, "a list of tables", &inner_path);
                continue;
            };
            let list = self.tables(items, keys, &inner_path);
            entries.push((name.get_ref().to_string(), Entry { value: list, span: inner.span(), key_span: name.span(), secret: false }));
        }
        entries.sort_by_key(|(_, e)| e.key_span.start);
        Some(Val::Map(entries))
    }

    fn tables(&mut self, items: &toml::de::DeArray<'_>, keys: &'static [Opt], path: &str) -> Val {
        let mut out = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(t) => {
                    let options = self.table(t, item.span(), vec![keys], path);
                    out.push(Entry { value: Val::Table(options), span: item.span(), key_span: item.span(), secret: false });
                }
                None => {
                    self.expected(item, "a table", path);
                }
            }
        }
        Val::List(out)
    }

    fn texts(&mut self, value: &Spanned<DeValue<'_>>, opt: &'static Opt, path: &str, secret: &mut bool) -> Option<Val> {
        let items = value.get_ref().as_array()?;
        let mut out = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(_) => {
                    let text = self.text(item, opt, path, secret)?;
                    out.push(Entry { value: text, span: item.span(), key_span: item.span(), secret: *secret });
                }
                None => {
                    self.expected(item, "a list of texts", path);
                }
            }
        }
        if matches!(opt.kind, Kind::Command) && out.is_empty() {
            return self.expected(value, "a program and its arguments", path);
        }
        Some(Val::List(out))
    }

    fn map(&mut self, value: &Spanned<DeValue<'_>>, opt: &'static Opt, path: &str) -> Option<Val> {
        let Some(table) = value.get_ref().as_table() else { return self.expected(value, "a table", path) };
        let mut entries: Vec<(String, Entry)> = Vec::new();
        let mut open: Vec<(String, &Spanned<_>, &Spanned<DeValue<'_>>)> = table.iter().map(|(n, inner)| (n.get_ref().to_string(), n, inner)).collect();
        while let Some((full, name, inner)) = open.pop() {
            let inner_path = format!("{path}.{full}");
            // To TOML, a name with dots is a table in a table; to us it is one name, which nests.
            if let (Kind::Expressions | Kind::TypeMap, Some(below)) = (opt.kind, inner.get_ref().as_table()) {
                open.extend(below.iter().map(|(n, inner)| (format!("{full}.{}", n.get_ref()), n, inner)));
                continue;
            }
            let mut secret = matches!(opt.kind, Kind::SecretMap);
            if inner.get_ref().as_str().is_none() {
                self.masks.push(inner.span());
                let wanted = if matches!(opt.kind, Kind::Expressions) { "an expression in quotes" } else { "a text in quotes" };
                self.expected(inner, wanted, &inner_path);
                continue;
            }
            if let Some(text) = self.text(inner, opt, &inner_path, &mut secret) {
                entries.push((full, Entry { value: text, span: inner.span(), key_span: name.span(), secret }));
            }
        }
        // TOML tables have no order of their own; the file's counts (B's columns).
        entries.sort_by_key(|(_, e)| e.key_span.start);
        Some(Val::Map(entries))
    }

    fn bools(&mut self, value: &Spanned<DeValue<'_>>, opt: &'static Opt, path: &str) -> Option<Val> {
        let Some(table) = value.get_ref().as_table() else { return self.expected(value, "a table { true = […], false = […] }", path) };
        let mut entries = Vec::new();
        for (name, inner) in table.iter() {
            if !matches!(name.get_ref().as_ref(), "true" | "false") {
                self.mistake(name.span(), format!("`{path}` has the keys true and false"), "unknown key", None);
                continue;
            }
            let mut secret = false;
            let text = match inner.get_ref().as_array() {
                Some(_) => self.texts(inner, opt, path, &mut secret),
                None => self.text(inner, opt, path, &mut secret),
            };
            if let Some(text) = text {
                entries.push((name.get_ref().to_string(), Entry { value: text, span: inner.span(), key_span: name.span(), secret }));
            }
        }
        Some(Val::Map(entries))
    }

    fn text(&mut self, value: &Spanned<DeValue<'_>>, opt: &'static Opt, path: &str, secret: &mut bool) -> Option<Val> {
        let Some(written) = value.get_ref().as_str() else {
            return self.expected(value, wanted(opt.kind), path);
        };
        let text = self.interpolate(written, value.span(), opt.kind, secret)?;
        let ok = match opt.kind {
            Kind::Char => text.chars().count() == 1,
            Kind::CharOrNone => text.chars().count() <= 1,
            Kind::Duration => duration(&text).is_some(),
            Kind::Size => size(&text).is_some(),
            Kind::Share => text.parse::<u64>().is_ok() || percent(&text).is_some(),
            Kind::Mode => mode(&text).is_some(),
            _ => true,
        };
        if !ok {
            return self.expected(value, wanted(opt.kind), path);
        }
        match opt.kind {
            Kind::Choice(words) if !words.contains(&text.as_str()) => {
                let hint = nearest(&text, words.iter().copied()).map(|n| format!("did you mean \"{n}\"?"));
                let list = words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ");
                self.mistake(value.span(), format!("`{path}` is one of {list}"), "not one of them", hint);
                return None;
            }
            Kind::Encoding if text::Charset::named(&text).is_none() => {
                let hint = nearest(&text, ["utf-8", "windows-1252", "iso-8859-1", "iso-8859-15", "cp850", "cp437", "utf-16le"].into_iter())
                    .map(|n| format!("did you mean \"{n}\"?"));
                self.mistake(value.span(), format!("`{path}`: there is no encoding of that name"), "unknown encoding", hint);
                return None;
            }
            Kind::Pattern => {
                if let Some(why) = text::pattern_mistake(&text) {
                    self.mistake(value.span(), format!("`{path}` is no pattern for dates: {why}"), "expected a pattern as in \"%d/%m/%Y\"", None);
                    return None;
                }
            }
            Kind::TypeMap if text::Type::named(&text).is_none() => {
                let hint = nearest(&text, schema::TYPE_NAMES.iter().copied()).map(|n| format!("did you mean \"{n}\"?"));
                self.mistake(value.span(), format!("`{path}` is one of {}", schema::TYPE_NAMES.join(", ")), "unknown type", hint);
                return None;
            }
            _ => {}
        }
        Some(Val::Text(text))
    }

    /// Fills in `${env:NAME}` and `${file:PATH}`.
    fn interpolate(&mut self, written: &str, span: Range<usize>, kind: Kind, secret: &mut bool) -> Option<String> {
        let spared = self.spares_secrets && matches!(kind, Kind::Secret | Kind::SecretMap);
        let mut out = String::new();
        let mut rest = written;
        while let Some(at) = rest.find("${") {
            out.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                if rest[at..].starts_with("${env:") || rest[at..].starts_with("${file:") {
                    self.mistake(span, "a `${` is not closed", "expected ${env:NAME} or ${file:PATH}", None);
                    return None;
                }
                break;
            };
            let inner = &rest[at + 2..at + end];
            // The sign written twice is the text itself.
            if rest[..at].ends_with('$') && (inner.starts_with("env:") || inner.starts_with("file:")) {
                out.pop();
                out.push_str(&rest[at..at + end + 1]);
                rest = &rest[at + end + 1..];
                continue;
            }
            let found = match inner.split_once(':') {
                Some(("env", name)) => match std::env::var(name) {
                    Ok(value) => Ok(value),
                    Err(_) => Err((
                        format!("the environment has no variable {name}"),
                        format!("set it, for instance with `export {name}=…` or in the service's EnvironmentFile"),
                    )),
                },
                Some(("file", file)) => {
                    let full = self.path.parent().unwrap_or(Path::new(".")).join(file);
                    std::fs::read_to_string(&full).map(|t| t.strip_suffix('\n').map_or(t.clone(), |t| t.strip_suffix('\r').unwrap_or(t).to_owned())).map_err(
                        |e| {
                            (
                                format!("can't read {}: {}", full.display(), crate::error::reason(&e)),
                                "create the file, readable by the relay's user only".to_owned(),
                            )
                        },
                    )
                }
                _ => {
                    out.push_str(&rest[at..at + end + 1]);
                    rest = &rest[at + end + 1..];
                    continue;
                }
            };
            match found {
                Ok(value) => {
                    *secret = true;
                    out.push_str(&value);
                }
                Err(_) if spared => *secret = true,
                Err((message, hint)) => {
                    self.mistake(span, message, "is not there", Some(hint));
                    return None;
                }
            }
            rest = &rest[at + end + 1..];
        }
        out.push_str(rest);
        Some(out)
    }
}

fn format_schema(table: &DeTable<'_>, side: Side, default: &str) -> Vec<&'static [Opt]> {
    let name = table.get("format").and_then(|f| f.get_ref().as_str().map(str::to_owned)).unwrap_or_else(|| default.to_owned());
    let options = |f: &'static dyn formats::Format| if side == Side::Input { f.input_options() } else { f.output_options() };
    match formats::named(&name) {
        Some(format) => vec![options(format)],
        None if name == "raw" => vec![],
        // The format is the input's, or misspelt: any format's key may stand.
        None => formats::FORMATS.iter().map(|f| options(*f)).collect(),
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Char => "exactly one character",
        Kind::CharOrNone => "one character, or \"\"",
        Kind::Duration => "a length of time, as in \"500ms\", \"2s\", \"5m\", \"3d\"",
        Kind::Size => "a size, as in \"64KiB\" or \"10MB\"",
        Kind::Share => "a number, or a share as in \"5%\"",
        Kind::Mode => "permissions in octal, as in \"0640\"",
        Kind::TextOrNumber => "a text, or a number",
        Kind::OneOrMoreTexts => "a text, or a list of texts",
        _ => "a text in quotes",
    }
}

/// "5%" as 5.0.
pub fn percent(text: &str) -> Option<f64> {
    text.strip_suffix('%')?.trim().parse::<f64>().ok().filter(|p| (0.0..=100.0).contains(p))
}

/// "0640" as permissions.
pub fn mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|m| *m <= 0o7777 && text.len() >= 3)
}
