//! Writes CSV: quotes where they must be, the encoding that B wants.

use std::io::Write;

use super::super::{Output, RecordWriter, Writing};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::record::{Reject, Value};

/// Writes CSV.
pub(super) struct Writer {
    output: Output,
    writing: Writing,
    quoting: Quoting,
    ending: String,
    line: String,
    starts: Vec<usize>,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(o: &Options, writing: Writing, mut output: Output) -> Result<Self> {
        let prefix = writing.encoder.prefix();
        output.write_all(&prefix).map_err(|e| super::super::write_error(&e))?;
        let mut writer =
            Self { output, quoting: Quoting::new(o), ending: o.word("line_ending"), line: String::new(), starts: Vec::new(), bytes: Vec::new(), writing };
        if o.flag("header") {
            let names: Vec<Value<'static>> = writer.writing.columns.iter().map(|c| Value::owned(c.clone())).collect();
            if let Err(reject) = writer.write(&names)? {
                return Err(Error::file(format!("the header can't be written: {}", reject.reason))
                    .hint("rename the target, or choose an output.encoding that has the character"));
            }
        }
        Ok(writer)
    }
}

/// How fields are set apart.
struct Quoting {
    delimiter: char,
    quote: char,
    escape: Option<char>,
    which: Which,
}

/// Which fields get quotes.
enum Which {
    Minimal,
    All,
    Nonnumeric,
    None,
}

impl Quoting {
    fn new(o: &Options) -> Self {
        let which = match o.word("quoting").as_str() {
            "all" => Which::All,
            "nonnumeric" => Which::Nonnumeric,
            "none" => Which::None,
            _ => Which::Minimal,
        };
        Self { delimiter: o.char("delimiter").unwrap_or(','), quote: o.char("quote").unwrap_or('"'), escape: o.char("escape"), which }
    }

    /// Adds a field to a line, or says why it can't stand there.
    fn put(&self, line: &mut String, text: &str, numeric: bool, alone: bool) -> Result<(), String> {
        let special = text.contains([self.delimiter, '\n', '\r', self.quote]) || self.escape.is_some_and(|e| text.contains(e));
        let quoted = match self.which {
            Which::All => true,
            Which::Nonnumeric => special || !numeric,
            Which::None => {
                if text.contains([self.delimiter, '\n', '\r']) {
                    return Err("the value holds the delimiter or a line end, and quoting is \"none\"".into());
                }
                false
            }
            // A record of one empty field would be an empty line, which is no record.
            Which::Minimal => special || (alone && text.is_empty()),
        };
        if !quoted {
            line.push_str(text);
            return Ok(());
        }
        line.push(self.quote);
        for c in text.chars() {
            if c == self.quote || Some(c) == self.escape {
                line.push(self.escape.unwrap_or(self.quote));
            }
            line.push(c);
        }
        line.push(self.quote);
        Ok(())
    }
}

impl RecordWriter for Writer {
    fn write(&mut self, values: &[Value<'_>]) -> Result<Result<(), Reject>> {
        self.line.clear();
        self.starts.clear();
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.line.push(self.quoting.delimiter);
            }
            self.starts.push(self.line.len());
            let numeric = matches!(value, Value::Number(_) | Value::Digits(_));
            let text = self.writing.style.text(value);
            if let Err(why) = self.quoting.put(&mut self.line, &text, numeric, values.len() == 1) {
                return Ok(Err(Reject::new(self.writing.columns.get(i).cloned().unwrap_or_default(), why)));
            }
        }
        self.line.push_str(&self.ending);
        self.bytes.clear();
        if let Err(c) = self.writing.encoder.encode(&self.line, &mut self.bytes) {
            let at = self.line.find(c).unwrap_or(0);
            let field = self.starts.iter().rposition(|start| *start <= at).unwrap_or(0);
            return Ok(Err(super::super::unencodable(c, &self.writing, field)));
        }
        self.output.write_all(&self.bytes).map_err(|e| super::super::write_error(&e))?;
        Ok(Ok(()))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.output.flush().map_err(|e| super::super::write_error(&e))
    }
}
