//! Fixed-width lines: every field has its place. Files of several record types nest the detail lines in their header.
//!
//! Places and widths are counted in characters. Nothing is cut: a value that is too long rejects its record.

use std::sync::Arc;

use super::lines::Lines;
use super::text::quoted;
use super::{Bytes, Format, Input, Next, Pieces, RecordReader, RecordWriter, Remark, Room, Writing};
use crate::error::{Error, Result};
use crate::options::{Kind, Opt, Options, Side, Val};
use crate::record::{Columns, Entries, Key, Record, Reject, Value};

/// The format.
#[derive(Debug)]
pub struct Fixed;

/// A record of more lines than this is no record: something that opens a new one is missing.
const RECORD_LINES_MAX: usize = 1_000_000;

const FIELD: &[Opt] = &[
    Opt { name: "name", kind: Kind::Text, default: None, doc: "The column." },
    Opt { name: "start", kind: Kind::Integer(1), default: None, doc: "Its first character, from 1; default: behind the field before." },
    Opt { name: "width", kind: Kind::Integer(1), default: None, doc: "Its characters; only the last field of a line that is read may do without." },
    Opt { name: "align", kind: Kind::Choice(&["left", "right"]), default: Some("\"left\""), doc: "On output: where a shorter value stands." },
    Opt { name: "pad", kind: Kind::Char, default: Some("\" \""), doc: "On output: what fills the rest." },
];

const INPUT: &[Opt] = &[
    Opt { name: "columns", kind: Kind::OneOrMoreTables(FIELD), default: None, doc: "The fields of a line." },
    Opt { name: "records", kind: Kind::TableLists(FIELD), default: None, doc: "The fields of each record type, which stands at the line's start." },
    Opt { name: "nest", kind: Kind::TextMap, default: None, doc: "Which record types are lists in which: { \"05\" = \"04\" }." },
    Opt { name: "trim", kind: Kind::Flag, default: Some("false"), doc: "Remove spaces around values." },
    Opt { name: "skip", kind: Kind::Integer(0), default: Some("0"), doc: "Lines to pass over at the beginning." },
    Opt { name: "skip_last", kind: Kind::Integer(0), default: Some("0"), doc: "Lines to pass over at the end, blank ones too." },
    Opt { name: "line_ending", kind: Kind::Text, default: None, doc: "What ends a line; default: LF, CRLF and CR are recognised." },
];

const OUTPUT: &[Opt] = &[
    Opt { name: "columns", kind: Kind::OneOrMoreTables(FIELD), default: None, doc: "The fields of a line; gaps are spaces." },
    Opt { name: "line_ending", kind: Kind::Text, default: Some("\"\\n\""), doc: "What ends a line." },
];

impl Format for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }
    fn extension(&self) -> &'static str {
        "txt"
    }
    fn input_options(&self) -> &'static [Opt] {
        INPUT
    }
    fn output_options(&self) -> &'static [Opt] {
        OUTPUT
    }
    fn may_be_empty(&self) -> bool {
        true
    }
    fn joins(&self) -> bool {
        true
    }
    fn has_columns(&self) -> bool {
        true
    }
    fn declared(&self, o: &Options) -> Option<Columns> {
        Layout::new(o).map(|l| l.columns).ok()
    }
    fn mistakes(&self, o: &Options, side: Side) -> Vec<(&'static str, String)> {
        let layout = match side {
            Side::Input => Layout::new(o).map(drop),
            Side::Output => {
                fields(o, "columns").and_then(|f| if f.is_empty() { Err(("columns", "a fixed output needs `columns`".into())) } else { bounded(&f) })
            }
        };
        layout.err().into_iter().collect()
    }
    fn reader(&self, o: &Options, input: Input, _: &Room) -> Result<Box<dyn RecordReader>> {
        let layout = Layout::new(o).map_err(|(key, why)| Error::config(format!("input.{key}: {why}")))?;
        Ok(Box::new(Reader::new(Lines::new(o, input)?, Arc::new(layout), o.flag("trim"))))
    }
    fn writer(&self, o: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>> {
        let fields = fields(o, "columns").map_err(|(key, why)| Error::config(format!("output.{key}: {why}")))?;
        let at = |f: &Field| writing.columns.iter().position(|c| *c == *f.name);
        let mut fields: Vec<(Field, Option<usize>)> = fields.into_iter().map(|f| (f.clone(), at(&f))).collect();
        fields.sort_by_key(|(f, _)| f.start);
        Ok(Box::new(Writer { fields, writing, ending: o.word("line_ending"), line: String::new() }))
    }
}

type Wrong = (&'static str, String);

/// One field of a line: characters from `start` (0-based) on; no width: to the end of the line.
#[derive(Clone, Debug)]
struct Field {
    name: Key,
    start: usize,
    width: Option<usize>,
    right: bool,
    pad: char,
}

/// The fields that a list of tables declares.
fn fields(o: &Options, key: &'static str) -> Result<Vec<Field>, Wrong> {
    layout_of(o.tables(key).into_iter(), key)
}

fn layout_of<'o>(tables: impl Iterator<Item = &'o Options>, key: &'static str) -> Result<Vec<Field>, Wrong> {
    let mut out: Vec<Field> = Vec::new();
    for t in tables {
        let Some(name) = t.text("name") else { return Err((key, "a field has no `name`".into())) };
        let behind = out.last().map_or(Some(0), |f| f.width.map(|w| f.start + w));
        let start = match (t.count("start"), behind) {
            (Some(start), _) => start - 1,
            (None, Some(behind)) => behind,
            (None, None) => return Err((key, format!("the field {name} needs `start`: the one before has no `width`"))),
        };
        if out.iter().any(|f| *f.name == *name) {
            return Err((key, format!("the field {name} stands twice")));
        }
        out.push(Field { name: name.into(), start, width: t.count("width"), right: t.word("align") == "right", pad: t.char("pad").unwrap_or(' ') });
    }
    Ok(out)
}

/// Fields that are written need a width, and may not overlap.
fn bounded(fields: &[Field]) -> Result<(), Wrong> {
    let mut sorted: Vec<&Field> = fields.iter().collect();
    sorted.sort_by_key(|f| f.start);
    let mut before: Option<&Field> = None;
    for field in sorted {
        if field.width.is_none() {
            return Err(("columns", format!("the field {} needs a `width`", field.name)));
        }
        if let Some(b) = before.filter(|b| b.start + b.width.unwrap_or(0) > field.start) {
            return Err(("columns", format!("the fields {} and {} overlap", b.name, field.name)));
        }
        before = Some(field);
    }
    Ok(())
}

/// One record type: what stands at the start of its lines, its fields, the type it stands in, and the types that stand in it.
#[derive(Debug)]
struct Type {
    mark: String,
    fields: Vec<Field>,
    within: Option<usize>,
    inner: Vec<(usize, Key)>,
}

/// What the lines of a file are.
#[derive(Debug)]
struct Layout {
    /// Longer marks first, so that "04B" is not taken for "04".
    types: Vec<Type>,
    columns: Columns,
}

impl Layout {
    /// Whether lines of one type stand in those of another, over any levels.
    fn is_below(&self, kind: usize, outer: usize) -> bool {
        std::iter::successors(self.types[kind].within, |at| self.types[*at].within).any(|at| at == outer)
    }

    fn new(o: &Options) -> Result<Self, Wrong> {
        let plain = fields(o, "columns")?;
        let typed = o.map("records");
        if plain.is_empty() == typed.is_empty() {
            return Err(("columns", "a fixed input needs either `columns` or `records`".into()));
        }
        if !plain.is_empty() {
            let columns = Columns { names: plain.iter().map(|f| f.name.to_string()).collect(), ..Columns::default() };
            return Ok(Self { types: vec![Type { mark: String::new(), fields: plain, within: None, inner: Vec::new() }], columns });
        }
        let mut types = Vec::new();
        for (mark, entry) in typed {
            let Val::List(items) = &entry.value else { continue };
            let tables = items.iter().filter_map(|e| if let Val::Table(t) = &e.value { Some(t) } else { None });
            types.push(Type { mark: mark.clone(), fields: layout_of(tables, "records")?, within: None, inner: Vec::new() });
        }
        types.sort_by_key(|t| std::cmp::Reverse(t.mark.len()));
        let find = |mark: &str| types.iter().position(|t| t.mark == mark).ok_or_else(|| ("nest", format!("there is no record type {mark} among `records`")));
        let pairs = o.map("nest").iter().map(|(inner, outer)| Ok((find(inner)?, find(outer.as_text())?))).collect::<Result<Vec<_>, Wrong>>()?;
        for (inner, outer) in pairs {
            let mark: Key = types[inner].mark.as_str().into();
            if types[outer].fields.iter().any(|f| f.name == mark) {
                return Err(("nest", format!("{mark} is also a column of {}", types[outer].mark)));
            }
            types[inner].within = Some(outer);
            types[outer].inner.push((inner, mark));
        }
        for start in 0..types.len() {
            let (mut at, mut steps) = (types[start].within, 0);
            while let Some(outer) = at {
                steps += 1;
                if steps > types.len() {
                    return Err(("nest", format!("{} nests in itself", types[start].mark)));
                }
                at = types[outer].within;
            }
        }
        let mut names: Vec<String> = Vec::new();
        for t in types.iter().filter(|t| t.within.is_none()) {
            for name in t.fields.iter().map(|f| &f.name).chain(t.inner.iter().map(|(_, mark)| mark)) {
                if !names.iter().any(|n| **n == **name) {
                    names.push(name.to_string());
                }
            }
        }
        Ok(Self { types, columns: Columns::tree(names) })
    }

    fn type_of(&self, line: &str) -> Option<usize> {
        self.types.iter().position(|t| line.starts_with(&t.mark))
    }
}

/// A line with its type and its number.
type Typed = (usize, u64, String);

struct Reader {
    lines: Lines,
    layout: Arc<Layout>,
    trim: bool,
    text: String,
    bounds: Vec<usize>,
    /// The line that ended the record before.
    held: Option<Typed>,
    number: u64,
    passed: u64,
}

impl Reader {
    fn new(lines: Lines, layout: Arc<Layout>, trim: bool) -> Self {
        Self { lines, layout, trim, text: String::new(), bounds: Vec::new(), held: None, number: 0, passed: 0 }
    }

    /// The next line that is not empty, decoded into `text`; false at the end. `Err` in the inner result: bytes that can't be decoded.
    fn line(&mut self) -> Result<Option<Result<(), Reject>>> {
        loop {
            let Some(range) = self.lines.next_line()? else { return Ok(None) };
            let bytes = self.lines.bytes(range);
            if bytes.is_empty() || Lines::is_end_mark(bytes) {
                continue;
            }
            self.text.clear();
            let bad = self.lines.charset.decode_into(bytes, &mut self.text);
            return Ok(Some(match bad {
                None => Ok(()),
                Some(byte) => Err(Reject::record(format!("the line holds the byte 0x{byte:02X}, which is not {}", self.lines.charset.name()))),
            }));
        }
    }

    fn field<'t>(&self, text: &'t str, f: &Field, bounds: &[usize]) -> &'t str {
        let field = cut(text, f, bounds);
        if self.trim { field.trim() } else { field }
    }

    /// The names and values of a line.
    fn entries(&mut self, kind: usize, text: &str) -> Entries {
        let mut bounds = std::mem::take(&mut self.bounds);
        char_bounds(text, &mut bounds);
        let fields = &self.layout.types[kind].fields;
        let entries = fields.iter().map(|f| (f.name.clone(), Value::owned(self.field(text, f, &bounds)))).collect();
        self.bounds = bounds;
        entries
    }

    /// The next line of a known type; a bad line is given as its reject.
    fn typed_line(&mut self) -> Result<Option<Result<Typed, (u64, Reject)>>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(Ok(held)));
        }
        loop {
            match self.line()? {
                None => return Ok(None),
                Some(Err(reject)) => return Ok(Some(Err((self.lines.number, reject)))),
                Some(Ok(())) => match self.layout.type_of(&self.text) {
                    Some(kind) => return Ok(Some(Ok((kind, self.lines.number, std::mem::take(&mut self.text))))),
                    None => self.passed += 1,
                },
            }
        }
    }

    fn read_tree(&mut self, record: &mut Record) -> Result<Next> {
        let (kind, line, text) = match self.typed_line()? {
            None => return Ok(Next::End),
            Some(Ok(first)) => first,
            Some(Err((line, reject))) => {
                self.number += 1;
                (record.line, record.number) = (line, self.number);
                record.raw.extend_from_slice(self.text.as_bytes());
                return Ok(Next::Bad(reject));
            }
        };
        self.number += 1;
        (record.line, record.number) = (line, self.number);
        record.raw.extend_from_slice(text.as_bytes());
        if let Some(outer) = self.layout.types[kind].within {
            let reason = format!("a {} line stands without a {} line before it", self.layout.types[kind].mark, self.layout.types[outer].mark);
            return Ok(Next::Bad(Reject::record(reason)));
        }
        // The types that are open, from the outermost, each with what it holds so far.
        let mut open: Vec<(usize, Entries)> = vec![(kind, self.opened(kind, &text))];
        let mut bad = None;
        let mut lines = 1;
        loop {
            let (kind, line, text) = match self.typed_line()? {
                None => break,
                Some(Ok(next)) => next,
                Some(Err((line, reject))) => {
                    record.raw.push(b'\n');
                    record.raw.extend_from_slice(self.text.as_bytes());
                    bad = bad.or(Some(Reject { reason: format!("line {line}: {}", reject.reason), ..reject }));
                    continue;
                }
            };
            // A line that stands in no line of this record's kind is none of it, and no record takes it along.
            let Some(within) = self.layout.types[kind].within.filter(|_| self.layout.is_below(kind, open[0].0)) else {
                self.held = Some((kind, line, text));
                break;
            };
            lines += 1;
            if lines > RECORD_LINES_MAX {
                return Err(Error::file(format!("the record has more than {RECORD_LINES_MAX} lines")).on_line(record.line).hint("check input.nest"));
            }
            record.raw.push(b'\n');
            record.raw.extend_from_slice(text.as_bytes());
            match open.iter().position(|(open, _)| *open == within) {
                Some(at) => {
                    self.close(&mut open, at + 1);
                    let entries = self.opened(kind, &text);
                    open.push((kind, entries));
                }
                None => {
                    let (own, outer) = (&self.layout.types[kind].mark, &self.layout.types[within].mark);
                    let reason = format!("line {line}: a {own} line stands without a {outer} line before it");
                    bad = bad.or(Some(Reject::record(reason)));
                }
            }
        }
        self.close(&mut open, 1);
        record.tree = open.pop().map(|(_, entries)| Value::map(entries));
        Ok(bad.map_or(Next::Record, Next::Bad))
    }

    /// A line with an empty list for each type that may follow in it.
    fn opened(&mut self, kind: usize, text: &str) -> Entries {
        let mut entries = self.entries(kind, text);
        entries.extend(self.layout.types[kind].inner.iter().map(|(_, mark)| (mark.clone(), Value::list(Vec::new()))));
        entries
    }

    /// Puts what is open beyond `keep` into the lists of what is around.
    fn close(&self, open: &mut Vec<(usize, Entries)>, keep: usize) {
        while open.len() > keep {
            let Some((kind, entries)) = open.pop() else { return };
            let mark = self.layout.types[kind].mark.as_str();
            if let Some((_, outer)) = open.last_mut()
                && let Some((_, Value::List(items))) = outer.iter_mut().find(|(name, v)| **name == *mark && matches!(v, Value::List(_)))
            {
                Arc::make_mut(items).push(Value::map(entries));
            }
        }
    }
}

impl RecordReader for Reader {
    fn columns(&self) -> &Columns {
        &self.layout.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<Next> {
        record.clear();
        if self.layout.columns.nested {
            return self.read_tree(record);
        }
        let line = self.line()?;
        let Some(line) = line else { return Ok(Next::End) };
        self.number += 1;
        (record.line, record.number) = (self.lines.number, self.number);
        record.raw.extend_from_slice(self.text.as_bytes());
        if let Err(reject) = line {
            return Ok(Next::Bad(reject));
        }
        char_bounds(&self.text, &mut self.bounds);
        let (text, bounds) = (&self.text, &self.bounds);
        record.fill(|out, spans| {
            out.push_str(text);
            spans.extend(self.layout.types[0].fields.iter().map(|f| span(text.len(), f, bounds)));
        });
        if self.trim {
            record.trim();
        }
        Ok(Next::Record)
    }

    fn remarks(&self) -> Vec<Remark> {
        if self.passed == 0 { Vec::new() } else { vec![Remark { what: "lines of other record types were passed over", count: self.passed, line: 0 }] }
    }

    fn pieces(&mut self) -> Option<Pieces> {
        if self.layout.columns.nested {
            return None; // a record takes the lines that follow it
        }
        let rest = self.lines.rest()?;
        let (layout, trim, charset) = (self.layout.clone(), self.trim, self.lines.charset);
        let reader = move |bytes: Bytes, line: u64| -> Box<dyn RecordReader> { Box::new(Reader::new(Lines::of(bytes, charset, line), layout.clone(), trim)) };
        Some(Pieces { rest, line: self.lines.number + 1, quote: None, reader: Box::new(reader) })
    }

    fn into_bytes(self: Box<Self>) -> Vec<u8> {
        self.lines.into_bytes()
    }
}

/// Where each character of `text` begins; empty for ASCII, where that is its number.
fn char_bounds(text: &str, bounds: &mut Vec<usize>) {
    bounds.clear();
    if !text.is_ascii() {
        bounds.extend(text.char_indices().map(|(at, _)| at));
    }
}

fn span(len: usize, f: &Field, bounds: &[usize]) -> (usize, usize) {
    let byte = |at: usize| if bounds.is_empty() { at.min(len) } else { bounds.get(at).copied().unwrap_or(len) };
    (byte(f.start), f.width.map_or(len, |w| byte(f.start + w)))
}

fn cut<'t>(text: &'t str, f: &Field, bounds: &[usize]) -> &'t str {
    let (start, end) = span(text.len(), f, bounds);
    text.get(start..end).unwrap_or("")
}

struct Writer {
    fields: Vec<(Field, Option<usize>)>,
    writing: Writing,
    ending: String,
    line: String,
}

impl RecordWriter for Writer {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.writing.encoder.prefix());
        Ok(())
    }

    fn write(&mut self, values: &[Value<'_>], out: &mut Vec<u8>) -> Result<Result<(), Reject>> {
        self.line.clear();
        let mut at = 0;
        for (field, target) in &self.fields {
            self.line.extend(std::iter::repeat_n(' ', field.start.saturating_sub(at)));
            let width = field.width.unwrap_or(0);
            at = field.start + width;
            let value = target.and_then(|t| values.get(t)).unwrap_or(&Value::Null);
            let text = self.writing.style.text(value);
            let length = text.chars().count();
            if length > width {
                return Ok(Err(Reject::new(&*field.name, format!("{} has {length} characters, and its field takes {width}", quoted(&text)))));
            }
            if text.contains(['\n', '\r']) {
                return Ok(Err(Reject::new(&*field.name, "the value holds a line end, which would begin a new line")));
            }
            let fill = std::iter::repeat_n(field.pad, width - length);
            if field.right {
                // A minus stands before the zeros, not among them.
                let (sign, digits) = if field.pad == '0' && matches!(value, Value::Number(_) | Value::Digits(_)) && text.starts_with('-') {
                    text.split_at(1)
                } else {
                    ("", &*text)
                };
                self.line.push_str(sign);
                self.line.extend(fill);
                self.line.push_str(digits);
            } else {
                self.line.push_str(&text);
                self.line.extend(fill);
            }
        }
        self.line.push_str(&self.ending);
        let before = out.len();
        if let Err(c) = self.writing.encoder.encode(&self.line, out) {
            out.truncate(before);
            return Ok(Err(self.writing.unencodable_in(c, values)));
        }
        Ok(Ok(()))
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{read_all, write_all};

    #[test]
    fn fields_are_cut_by_characters_and_short_lines_give_shorter_fields() {
        let keys = "columns = [{ name = 'a', width = 3 }, { name = 'b', start = 5, width = 2 }, { name = 'c' }]";
        let got = read_all(&Fixed, keys, "éa x12rest\nab\n\nabcdefg\n".as_bytes());
        assert_eq!(got, ["columns a|b|c", "1:1 éa |12|rest", "2:2 ab||", "4:3 abc|ef|g"]);
        assert_eq!(read_all(&Fixed, &format!("{keys}\ntrim = true\nencoding = 'cp850'"), b"\x82  x12\n")[1], "1:1 é|12|");
    }

    #[test]
    fn record_types_nest_over_several_levels_and_others_are_passed_over() {
        let keys = "records = { '01' = [{ name = 'h', start = 3, width = 1 }], '04' = [{ name = 'o', start = 3, width = 1 }], '05' = [{ name = 't', start = 3 }] }\nnest = { '05' = '04', '04' = '01' }";
        let got = read_all(&Fixed, keys, b"01A\n04x\n05one\n05two\n04y\n99?\n01B\n05lost\n");
        assert_eq!(got[1], r#"1:1 {"h":"A","04":[{"o":"x","05":[{"t":"one"},{"t":"two"}]},{"o":"y","05":[]}]}"#);
        assert!(got[2].contains("BAD line 8: a 05 line stands without a 04 line before it"), "{got:?}");
    }

    #[test]
    fn values_are_aligned_padded_and_never_cut() {
        let keys = "columns = [{ name = 'n', width = 5, align = 'right', pad = '0' }, { name = 't', start = 7, width = 3 }]";
        let rows = [vec![Value::Number((-12).into()), Value::text("é")], vec![Value::Null, Value::text("long")]];
        assert_eq!(write_all(&Fixed, keys, &["n", "t"], &rows), "-0012 é  \nREJECT t: \"long\" has 4 characters, and its field takes 3\n");
    }
}
