//! How A writes and how B reads: the formats, behind one pair of small traits.
//!
//! A reader turns a stream of bytes into records, a writer the reverse. Neither opens files or knows routes.
//! A new format is one file beside this one and one line in [`FORMATS`].

mod charset;
pub mod csv;
pub mod json;
pub mod text;

use std::io::{Read, Write};

use crate::error::{Blame, Error, Result, reason};
use crate::options::{Opt, Options};
use crate::record::{Columns, Record, Reject, Value};
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
    /// Reads the next record into `record`, whose buffers are reused.
    fn read(&mut self, record: &mut Record) -> Result<Next>;
    /// What was passed over or repaired without harm, for the operator; asked for at the end.
    fn remarks(&self) -> Vec<String>;
}

/// Writes records one after the other.
pub trait RecordWriter: Send {
    /// Writes one record: the values of the targets in their order. A record that can't be written leaves nothing behind.
    fn write(&mut self, values: &[Value<'_>]) -> Result<Result<(), Reject>>;
    /// Writes what stands at the end, and flushes.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Where a writer's bytes go.
pub type Output = Box<dyn Write + Send>;
/// Where a reader's bytes come from.
pub type Input = Box<dyn Read + Send>;

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
    /// Whether names are columns of the whole file (`false`: records are trees).
    fn has_columns(&self) -> bool;
    /// A reader over `input`.
    fn reader(&self, options: &Options, input: Input) -> Result<Box<dyn RecordReader>>;
    /// A writer to `output`.
    fn writer(&self, options: &Options, writing: Writing, output: Output) -> Result<Box<dyn RecordWriter>>;
}

/// All formats that are transformed; `raw` relays bytes and has no reader.
pub static FORMATS: &[&dyn Format] = &[&csv::Csv, &json::Json, &json::Ndjson];

/// Formats of the contract whose work comes later.
pub static LATER: &[&str] = &["fixed", "xml", "xlsx", "dbf", "edifact", "template"];

/// The format of that name.
pub fn named(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// Reads what is there, at least one byte unless the stream ends. A stream that can't be read is its disk's fault, not the file's.
pub(crate) fn read_some(input: &mut Input, to: &mut [u8]) -> Result<usize> {
    loop {
        match input.read(to) {
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::file(format!("can't read: {}", reason(&e))).blamed_on(Blame::Endpoint)),
        }
    }
}

/// A failure of the local disk under a writer.
fn write_error(e: &std::io::Error) -> Error {
    Error::io(Blame::Endpoint, "write", std::path::Path::new("the transformed file"), e)
}

/// The reject of a character that B's encoding lacks.
fn unencodable(c: char, writing: &Writing, field: usize) -> Reject {
    let name = writing.columns.get(field).cloned().unwrap_or_default();
    let code = c as u32;
    Reject::new(name, format!("the character \"{c}\" (U+{code:04X}) does not exist in {}", writing.encoder.charset.name()))
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
                    None => record.fields().collect::<Vec<_>>().join("|"),
                },
            };
            out.push(format!("{}:{} {line}", record.line, record.number));
        }
    }

    pub(crate) fn read_all(format: &'static dyn Format, keys: &str, bytes: &[u8]) -> Vec<String> {
        match format.reader(&options(format, keys), Box::new(std::io::Cursor::new(bytes.to_vec()))) {
            Ok(mut reader) => drain(&mut *reader),
            Err(e) => vec![format!("ERROR {e} ({})", e.advice().unwrap_or("no hint"))],
        }
    }

    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn write_all(format: &'static dyn Format, keys: &str, columns: &[&str], rows: &[Vec<Value<'_>>]) -> String {
        let out = Shared::default();
        let writing = Writing {
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            style: Style::default(),
            encoder: Encoder::named("utf-8", false).unwrap(),
            mapped: true,
        };
        let mut rejects = String::new();
        let mut writer = format.writer(&crate::config::testing::format_output_options(format, keys), writing, Box::new(out.clone())).unwrap();
        for row in rows {
            if let Err(reject) = writer.write(row).unwrap() {
                rejects.push_str(&format!("REJECT {}: {}\n", reject.field, reject.reason));
            }
        }
        writer.finish().unwrap();
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap() + &rejects
    }
}
