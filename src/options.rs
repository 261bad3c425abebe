//! Configuration keys as data: one definition gives validation, the nearest name in a message, the JSON Schema,
//! the reference table and the default. No key is read from a document that does not stand in such a table.

use std::ops::Range;
use std::time::Duration;

/// One key: its name, what it takes, its default as TOML (none: absent), and one line for the reference.
#[derive(Debug)]
pub struct Opt {
    /// The name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default, written as in TOML.
    pub default: Option<&'static str>,
    /// One line for the reference.
    pub doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown.
    Secret,
    /// A path, relative to the configuration's folder.
    Path,
    /// A text, or a number that stands for one.
    TextOrNumber,
    /// Exactly one character.
    Char,
    /// One character, or "" for none.
    CharOrNone,
    /// True or false.
    Flag,
    /// A whole number from 0 (or from the given one).
    Integer(i64),
    /// "500ms", "2s", "5m", "3d".
    Duration,
    /// "64KiB", "10MB", or a number of bytes.
    Size,
    /// A number, or a percentage "5%".
    Share,
    /// A table of true and false, each with its texts.
    Bools,
    /// A table of names, each with a list of tables with these keys.
    TableLists(&'static [Opt]),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An encoding's label.
    Encoding,
    /// A pattern for dates, as strftime has it.
    Pattern,
    /// Permissions in octal, "0640".
    Mode,
    /// A list of texts.
    Texts,
    /// One text, or a list of texts.
    OneOrMoreTexts,
    /// An argument list: at least one text.
    Command,
    /// A table of names and texts.
    TextMap,
    /// A table of names and texts that are never shown.
    SecretMap,
    /// A table of columns and types.
    TypeMap,
    /// An expression.
    Expression,
    /// A table of names and expressions, whose order counts.
    Expressions,
    /// A table with these keys.
    Table(&'static [Opt]),
    /// A table of names, each with these keys.
    Tables(&'static [Opt]),
    /// A table with these keys, or more than one of them.
    OneOrMoreTables(&'static [Opt]),
    /// The format-dependent keys of `input` (true: reading) or `output`.
    FormatKeys(Side),
}

/// The two sides of a transformation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// How A writes.
    Input,
    /// How B reads.
    Output,
}

/// A value that was checked against its [`Kind`].
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    /// A text, a word, a path, an expression.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A number.
    Integer(i64),
    /// A list.
    List(Vec<Entry>),
    /// A table with known keys.
    Table(Options),
    /// A table with free names.
    Map(Vec<(String, Entry)>),
}

/// A value and where it stands in the file (bytes).
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Val,
    /// Where it stands; empty for a default.
    pub span: Range<usize>,
    /// Where its key stands.
    pub key_span: Range<usize>,
    /// It is never shown: a secret by its key, or filled in from the environment or a file.
    pub secret: bool,
}

impl Entry {
    /// Its text, empty if it is none.
    pub fn as_text(&self) -> &str {
        match &self.value {
            Val::Text(t) => t,
            _ => "",
        }
    }
}

/// A checked table. Its getters give the default of the schema where the key is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    entries: Vec<(String, Entry)>,
    /// Where the table stands in the file.
    pub span: Range<usize>,
    schema: Schema,
}

#[derive(Clone, Debug, Default)]
struct Schema(Vec<&'static [Opt]>);

impl PartialEq for Schema {
    fn eq(&self, _: &Self) -> bool {
        true // tables with equal entries are equal, whichever schema checked them
    }
}

impl Options {
    /// A table with the keys of `schema`, all of which were checked.
    pub fn new(entries: Vec<(String, Entry)>, span: Range<usize>, schema: Vec<&'static [Opt]>) -> Self {
        Self { entries, span, schema: Schema(schema) }
    }
    /// The keys that may stand here.
    pub fn schema(&self) -> impl Iterator<Item = &'static Opt> + '_ {
        self.schema.0.iter().flat_map(|part| part.iter())
    }
    /// All entries, in the file's order.
    pub fn entries(&self) -> &[(String, Entry)] {
        &self.entries
    }
    /// The entry as written, without its default.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, entry)| entry)
    }
    /// Where `name` stands, or the table where it does not.
    pub fn span_of(&self, name: &str) -> Range<usize> {
        self.entry(name).map_or(self.span.clone(), |e| e.span.clone())
    }
    /// Whether the key is written.
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    fn default_of(&self, name: &str) -> Option<&'static str> {
        self.schema.0.iter().flat_map(|part| part.iter()).find(|opt| opt.name == name).and_then(|opt| opt.default)
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.entry(name).map(|e| &e.value) {
            Some(Val::Text(t)) => Some(t.clone()),
            Some(Val::Integer(n)) => Some(n.to_string()),
            Some(_) => None,
            None => self.default_of(name).map(literal_text),
        }
    }
    /// A text that has a default.
    pub fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }
    /// One character.
    pub fn char(&self, name: &str) -> Option<char> {
        self.text(name).and_then(|t| t.chars().next())
    }
    /// True or false; false where there is neither a value nor a default.
    pub fn flag(&self, name: &str) -> bool {
        match self.entry(name).map(|e| &e.value) {
            Some(Val::Flag(b)) => *b,
            Some(_) => false,
            None => self.default_of(name) == Some("true"),
        }
    }
    /// A number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.entry(name).map(|e| &e.value) {
            Some(Val::Integer(n)) => Some(*n),
            Some(_) => None,
            None => self.default_of(name).and_then(|d| d.parse().ok()),
        }
    }
    /// A count.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.integer(name).and_then(|n| usize::try_from(n).ok())
    }
    /// A length of time.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(|t| duration(&t))
    }
    /// A number of bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|t| size(&t))
    }
    /// Texts, from a list or from a single one.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        match self.entry(name).map(|e| &e.value)? {
            Val::List(items) => Some(items.iter().map(|e| e.as_text().to_owned()).collect()),
            Val::Text(t) => Some(vec![t.clone()]),
            _ => None,
        }
    }
    /// A table with known keys.
    pub fn table(&self, name: &str) -> Option<&Options> {
        match self.entry(name).map(|e| &e.value)? {
            Val::Table(t) => Some(t),
            _ => None,
        }
    }
    /// Tables, from a list of them or from a single one.
    pub fn tables(&self, name: &str) -> Vec<&Options> {
        match self.entry(name).map(|e| &e.value) {
            Some(Val::Table(t)) => vec![t],
            Some(Val::List(items)) => items.iter().filter_map(|e| if let Val::Table(t) = &e.value { Some(t) } else { None }).collect(),
            _ => Vec::new(),
        }
    }
    /// A table with free names.
    pub fn map(&self, name: &str) -> &[(String, Entry)] {
        match self.entry(name).map(|e| &e.value) {
            Some(Val::Map(entries)) => entries,
            _ => &[],
        }
    }
}

fn literal_text(literal: &'static str) -> String {
    match literal.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
        Some(inner) => inner.replace("\\n", "\n").replace("\\\"", "\"").replace("\\t", "\t"),
        None => literal.to_owned(),
    }
}

/// A length of time as written: "500ms", "2s", "5m", "24h", "3d", "2w", "1y".
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..split].parse().ok()?;
    let seconds = match text[split..].trim() {
        "ms" => number / 1e3,
        "s" | "sec" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        "w" => number * 7.0 * 86_400.0,
        "y" => number * 365.0 * 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// A number of bytes as written: "1B", "64KiB", "10MB", "2GiB", or a bare number.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..split].parse().ok()?;
    let unit: f64 = match text[split..].trim() {
        "" | "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * unit;
    // Sizes beyond 2^53 bytes are no sizes of files.
    (bytes.is_finite() && (0.0..9e15).contains(&bytes)).then_some(bytes as u64)
}

/// The nearest of `names` to `wrong`, if one is near enough to be meant.
pub fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wrong = wrong.to_lowercase();
    names
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wrong.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_the_contract_writes_them() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("14d"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!((duration("2"), duration("s"), duration("2 parsecs")), (None, None, None));
        assert_eq!((size("64KiB"), size("10MB"), size("1B"), size("x")), (Some(65_536), Some(10_000_000), Some(1), None));
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let names = ["delimiter", "decimal", "encoding"];
        assert_eq!(nearest("delimeter", names.into_iter()), Some("delimiter"));
        assert_eq!(nearest("colour", names.into_iter()), None);
    }
}
