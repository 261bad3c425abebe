//! How A writes and how B reads: the formats, behind one pair of small traits.
//!
//! A reader turns a stream of bytes into records, a writer the reverse. Neither opens files or knows routes.
//! A new format is one file beside this one and one line in [`FORMATS`].

mod charset;
pub mod csv;
pub mod dbf;
pub mod edifact;
pub mod fixed;
pub mod json;
mod lines;
mod names;
pub mod packed;
pub mod template;
pub mod text;
pub mod xlsx;
pub mod xml;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use template::{NAMES as TEMPLATE_NAMES, TEXT as TEMPLATE_TEXT};

use crate::error::{Blame, Error, Result, reason};
use crate::options::{Opt, Options, Side};
use crate::record::{Columns, Key, Record, Reject, Value};
use text::{Encoder, Style};

/// What a reader found when asked for the next record.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// A record.
    Record,
    /// A record that can't be used; what could be read of it is in the record, for the rejects file.
    Bad(Reject),
    /// No more.
    End,
}

/// Reads records one after the other. An `Err` is the end: the whole file is wrong.
pub trait RecordReader: Send {
    /// A's columns, known before the first record.
    fn columns(&self) -> &Columns;
    /// The columns of the records in A's file, where records are made of several.
    fn own_columns(&self) -> &Columns {
        self.columns()
    }
    /// The decimal sign that the file itself declares.
    fn decimal_sign(&self) -> Option<char> {
        None
    }
    /// Reads the next record into `record`, whose buffers are reused.
    fn read(&mut self, record: &mut Record) -> Result<Next>;
    /// What was passed over or repaired without harm, for the operator; asked for at the end.
    fn remarks(&self) -> Vec<Remark>;
    /// Hands over what follows, to be read piece by piece; the reader itself then has no more. None: it can't be cut.
    fn pieces(&mut self) -> Option<Pieces> {
        None
    }
    /// The bytes of a piece, once it is read.
    fn into_bytes(self: Box<Self>) -> Vec<u8> {
        Vec::new()
    }
}

/// Something that happened to many records, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What, to be read behind the count.
    pub what: &'static str,
    /// How often; 0: it is not counted.
    pub count: u64,
    /// The first line; 0: it stands on none.
    pub line: u64,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.count, self.line) {
            (0, _) => f.write_str(self.what),
            (count, 0) => write!(f, "{count} {}", self.what),
            (count, line) => write!(f, "{count} {} (first on line {line})", self.what),
        }
    }
}

/// Records that can be read piece by piece: each line end outside of quotes ends one.
pub struct Pieces {
    /// The stream behind the header.
    pub rest: Input,
    /// The line that it begins on.
    pub line: u64,
    /// The sign between which line ends are data.
    pub quote: Option<u8>,
    /// A reader of a piece, or of all that is left.
    pub reader: Box<PieceReader>,
}

/// Makes a reader of bytes that begin on that line.
pub type PieceReader = dyn Fn(Bytes, u64) -> Box<dyn RecordReader> + Send + Sync;

/// Records without their header.
pub enum Bytes {
    /// A piece, whole.
    Piece(Vec<u8>),
    /// All that is left.
    Stream(Input),
}

impl Bytes {
    /// What a reader begins with: the stream to come, the bytes at hand, and whether they are all there is.
    fn open(self) -> (Input, Vec<u8>, bool) {
        match self {
            Bytes::Piece(buf) => (Box::new(std::io::empty()), buf, true),
            Bytes::Stream(input) => (input, Vec::new(), false),
        }
    }
}

/// Makes the bytes of records one after the other; where they go is the caller's business.
pub trait RecordWriter: Send {
    /// Adds what stands before the first record.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()>;
    /// Adds one record: the values of the targets in their order. A record that can't be written leaves nothing behind.
    fn write(&mut self, values: &[Value<'_>], out: &mut Vec<u8>) -> Result<Result<(), Reject>>;
    /// What stands between two records.
    fn between(&self) -> &[u8] {
        &[]
    }
    /// Adds what stands behind the last record.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<()>;
}

/// Where a writer's bytes go.
pub type Output = Box<dyn Write + Send>;
/// Where a reader's bytes come from.
pub type Input = Box<dyn Read + Send>;

/// What a format may hold in memory, and where it puts what must be at hand and does not fit.
#[derive(Clone, Debug)]
pub struct Room {
    /// At most so many bytes.
    pub bytes_max: u64,
    /// The folder of files that vanish with the process.
    pub folder: PathBuf,
    /// Where A's file stands, for a format that keeps a part of it in a second file.
    pub beside: Option<PathBuf>,
}

impl Room {
    /// What `max_memory` allows, spilling to `folder`.
    pub fn new(bytes_max: u64, folder: &Path) -> Self {
        Self { bytes_max, folder: folder.to_owned(), beside: None }
    }

    /// A file without a name: it vanishes with the process, however that ends.
    pub fn spill(&self) -> Result<File> {
        tempfile::tempfile_in(&self.folder).map_err(|e| Error::io(Blame::Endpoint, "spill to", &self.folder, &e))
    }

    /// All of a stream in a file without a name, from its beginning: for formats that are read here and there.
    pub fn spool(&self, input: &mut Input) -> Result<File> {
        use std::io::Seek;
        let failed = |e: std::io::Error| Error::io(Blame::Endpoint, "spill to", &self.folder, &e);
        let mut file = self.spill()?;
        let mut buf = vec![0; 256 * 1024];
        loop {
            match read_some(input, &mut buf)? {
                0 => break,
                n => file.write_all(&buf[..n]).map_err(failed)?,
            }
        }
        file.rewind().map_err(failed)?;
        Ok(file)
    }
}

/// What a writer needs to know beside its own keys.
#[derive(Clone, Debug)]
pub struct Writing {
    /// The targets in B's order.
    pub columns: Vec<String>,
    /// How numbers, dates and booleans are written.
    pub style: Style,
    /// The encoding, and what to do with characters it lacks.
    pub encoder: Encoder,
    /// The names were given by a map, so that dots nest where the format nests.
    pub mapped: bool,
    /// What it may hold.
    pub room: Room,
    /// What a template computes with.
    pub tools: Arc<dyn Tools>,
}

impl Writing {
    /// Why a character that B's encoding lacks can't be written.
    fn lacks(&self, c: char) -> String {
        format!("the character \"{c}\" (U+{:04X}) does not exist in {}", c as u32, self.encoder.charset.name())
    }

    /// The reject of a record whose target at `field` holds such a character.
    fn unencodable(&self, c: char, field: usize) -> Reject {
        Reject::new(self.columns.get(field).cloned().unwrap_or_default(), self.lacks(c))
    }

    /// The reject of a record that holds such a character, by the first target whose text has it.
    fn unencodable_in(&self, c: char, values: &[Value<'_>]) -> Reject {
        let field = values.iter().position(|v| self.style.text(v).contains(c));
        self.unencodable(c, field.unwrap_or(usize::MAX))
    }
}

/// What stands above the formats and templates need: the filters of expressions, and the facts of the job.
pub trait Tools: Send + Sync + std::fmt::Debug {
    /// The names of the filters.
    fn filters(&self) -> Vec<&'static str>;
    /// Applies a filter to a value; `Err` is the reason why it can't.
    fn apply(&self, name: &str, value: Value<'static>, positional: Vec<Value<'static>>, named: Vec<(String, Value<'static>)>)
    -> Result<Value<'static>, String>;
    /// The names of the tests, as in `x is iban`.
    fn tests(&self) -> Vec<&'static str>;
    /// Whether a value passes a test; `Err` is the reason why that can't be said.
    fn holds(&self, name: &str, value: Value<'static>, argument: Option<Value<'static>>) -> Result<bool, String>;
    /// Computes with an operator of expressions, `+` or `<=` or `in`; `Err` is the reason why it can't.
    fn operate(&self, operator: &str, left: Value<'static>, right: Value<'static>) -> Result<Value<'static>, String>;
    /// The places that start, stop and step of a slice pick among so many; `Err` is the reason why they can't.
    fn picks(&self, bounds: [Value<'static>; 3], len: usize) -> Result<Vec<usize>, String>;
    /// `file`, `job` and `route`.
    fn facts(&self) -> Vec<(Key, Value<'static>)>;
}

/// One format.
pub trait Format: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;
    /// The extension of its files.
    fn extension(&self) -> &'static str;
    /// Its keys of `input`, beside those of all formats.
    fn input_options(&self) -> &'static [Opt];
    /// Its keys of `output`, beside those of all formats.
    fn output_options(&self) -> &'static [Opt];
    /// Whether a file without a byte is one without records; else it is no file of this format.
    fn may_be_empty(&self) -> bool {
        false
    }
    /// What is made of zip archives: most formats are packed in them.
    fn archives(&self) -> packed::Archives {
        packed::Archives::Open
    }
    /// Whether records that were written apart make a file when they are put together.
    fn joins(&self) -> bool {
        false
    }
    /// Whether it can be written.
    fn writes(&self) -> bool {
        true
    }
    /// Whether it can be read.
    fn reads(&self) -> bool {
        true
    }
    /// Whether names are columns of the whole file (`false`: records are trees).
    fn has_columns(&self) -> bool;
    /// The columns that its keys of `input` declare, so that expressions can be checked before there is a file.
    fn declared(&self, options: &Options) -> Option<Columns> {
        options.texts("columns").map(|names| Columns::from_header(names.iter().map(String::as_str)))
    }
    /// What is wrong with its keys taken together, by the key it is about.
    fn mistakes(&self, _: &Options, _: Side) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// What stands against a target of that name, as a map gives it.
    fn target(&self, _: &str) -> Option<String> {
        None
    }
    /// A reader over `input`.
    fn reader(&self, options: &Options, input: Input, room: &Room) -> Result<Box<dyn RecordReader>>;
    /// A writer.
    fn writer(&self, options: &Options, writing: Writing) -> Result<Box<dyn RecordWriter>>;
}

/// All formats that are transformed; `raw` relays bytes and has no reader.
pub static FORMATS: &[&dyn Format] =
    &[&csv::Csv, &fixed::Fixed, &json::Json, &json::Ndjson, &xml::Xml, &xlsx::Xlsx, &dbf::Dbf, &edifact::Edifact, &template::Template];

/// The format of that name.
pub fn named(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// How much readers take from a stream at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Appends what is there: a chunk, or as much as `buf` holds already, so that what is long is not moved once a chunk.
/// How many bytes there were: at least one unless the stream ends.
fn read_on(input: &mut Input, buf: &mut Vec<u8>) -> Result<usize> {
    let held = buf.len();
    buf.resize(held + CHUNK_BYTES.max(held), 0);
    let n = read_some(input, &mut buf[held..])?;
    buf.truncate(held + n);
    Ok(n)
}

/// What `look` makes of the first bytes of a stream, at most so many, and the stream as if they had not been read.
pub(crate) fn peek<T>(mut input: Input, most: usize, look: impl FnOnce(&[u8]) -> T) -> Result<(T, Input)> {
    let mut head = Vec::new();
    append(&mut input, &mut head, most)?;
    let seen = look(&head);
    Ok((seen, Box::new(std::io::Cursor::new(head).chain(input))))
}

/// Appends up to `most` bytes; how many there were, fewer only at the end of the stream.
pub(crate) fn append(input: &mut Input, to: &mut Vec<u8>, most: usize) -> Result<usize> {
    let before = to.len();
    match input.take(most as u64).read_to_end(to) {
        Ok(_) => Ok(to.len() - before),
        Err(e) => Err(read_failed(&e)),
    }
}

fn read_failed(e: &std::io::Error) -> Error {
    // What has no number is no failure of the system: the bytes themselves are wrong.
    match e.raw_os_error() {
        None => Error::file(e.to_string()).hint("check that the file is whole"),
        Some(_) => Error::file(format!("can't read: {}", reason(e))).blamed_on(Blame::Endpoint),
    }
}

/// What a reader has ahead of it, as one stream: what it holds from `at` on, and what follows. The reader then has no more.
fn ahead(buf: &mut Vec<u8>, at: &mut usize, input: &mut Input) -> Input {
    let held = buf.split_off(*at);
    let stream = std::mem::replace(input, Box::new(std::io::empty()));
    *at = 0;
    buf.clear();
    Box::new(std::io::Cursor::new(held).chain(stream))
}

/// Reads what is there, at least one byte unless the stream ends. A stream that can't be read is its disk's fault, not the file's.
pub(crate) fn read_some(input: &mut Input, to: &mut [u8]) -> Result<usize> {
    loop {
        match input.read(to) {
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(read_failed(&e)),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn options(format: &'static dyn Format, keys: &str) -> Options {
        crate::config::testing::format_options(format, keys)
    }

    /// All that a reader gives, one line each.
    pub(crate) fn drain(reader: &mut dyn RecordReader) -> Vec<String> {
        let mut out = vec![format!("columns {}", reader.columns().names.join("|"))];
        let mut record = Record::default();
        loop {
            let line = match reader.read(&mut record) {
                Err(e) => {
                    out.push(format!("ERROR {e}"));
                    return out;
                }
                Ok(Next::End) => return out,
                Ok(Next::Bad(reject)) => format!("BAD {}", reject.reason),
                Ok(Next::Record) => match &record.tree {
                    Some(tree) => json::to_text(tree, &Style::default()),
                    None => (0..record.len()).map(|i| Style::default().text(&record.value(i)).into_owned()).collect::<Vec<_>>().join("|"),
                },
            };
            out.push(format!("{}:{} {line}", record.line, record.number));
        }
    }

    pub(crate) fn read_all(format: &'static dyn Format, keys: &str, bytes: &[u8]) -> Vec<String> {
        match format.reader(&options(format, keys), Box::new(std::io::Cursor::new(bytes.to_vec())), &room()) {
            Ok(mut reader) => drain(&mut *reader),
            Err(e) => vec![format!("ERROR {e} ({})", e.advice().unwrap_or("no hint"))],
        }
    }

    #[derive(Debug)]
    struct NoTools;
    impl Tools for NoTools {
        fn tests(&self) -> Vec<&'static str> {
            Vec::new()
        }
        fn holds(&self, name: &str, _: Value<'static>, _: Option<Value<'static>>) -> Result<bool, String> {
            Err(format!("there is no test {name}"))
        }
        fn filters(&self) -> Vec<&'static str> {
            Vec::new()
        }
        fn apply(&self, _: &str, v: Value<'static>, _: Vec<Value<'static>>, _: Vec<(String, Value<'static>)>) -> Result<Value<'static>, String> {
            Ok(v)
        }
        fn operate(&self, operator: &str, _: Value<'static>, _: Value<'static>) -> Result<Value<'static>, String> {
            Err(format!("no operator {operator}"))
        }
        fn picks(&self, _: [Value<'static>; 3], len: usize) -> Result<Vec<usize>, String> {
            Ok((0..len).collect())
        }
        fn facts(&self) -> Vec<(Key, Value<'static>)> {
            Vec::new()
        }
    }

    pub(crate) fn room() -> Room {
        Room::new(256 << 20, &std::env::temp_dir())
    }

    pub(crate) fn write_all(format: &'static dyn Format, keys: &str, columns: &[&str], rows: &[Vec<Value<'_>>]) -> String {
        String::from_utf8(write_bytes(format, keys, columns, rows)).unwrap()
    }

    pub(crate) fn write_bytes(format: &'static dyn Format, keys: &str, columns: &[&str], rows: &[Vec<Value<'_>>]) -> Vec<u8> {
        let writing = Writing {
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            style: Style::default(),
            encoder: Encoder::named("utf-8", false).unwrap(),
            mapped: true,
            room: room(),
            tools: Arc::new(NoTools),
        };
        let (mut out, mut rejects) = (Vec::new(), String::new());
        let mut writer = format.writer(&crate::config::testing::format_output_options(format, keys), writing).unwrap();
        writer.begin(&mut out).unwrap();
        let mut first = true;
        for row in rows {
            let mut record = if std::mem::take(&mut first) { Vec::new() } else { writer.between().to_vec() };
            match writer.write(row, &mut record).unwrap() {
                Ok(()) => out.extend(record),
                Err(reject) => rejects.push_str(&format!("REJECT {}: {}\n", reject.field, reject.reason)),
            }
        }
        writer.end(&mut out).unwrap();
        out.extend(rejects.into_bytes());
        out
    }
}
