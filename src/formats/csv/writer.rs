//! Writes CSV: quotes where they must be, the encoding that B wants.

use super::super::{RecordWriter, Writing};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::record::{Reject, Value};

/// Writes CSV.
pub(super) struct Writer {
    writing: Writing,
    header: bool,
    quoting: Quoting,
    ending: String,
    /// UTF-8, minimal quotes and ASCII signs: most fields are copied as they stand.
    plain: bool,
    line: String,
    starts: Vec<usize>,
}

impl Writer {
    pub(super) fn new(o: &Options, writing: Writing) -> Self {
        let quoting = Quoting::new(o);
        let plain = writing.encoder.charset.is_utf8() && matches!(quoting.which, Which::Minimal) && quoting.delimiter.is_ascii();
        Self { header: o.flag("header"), plain, quoting, ending: o.word("line_ending"), line: String::new(), starts: Vec::new(), writing }
    }
}

/// How fields are set apart.
struct Quoting {
    delimiter: char,
    quote: char,
    escape: Option<char>,
    which: Which,
    /// The first bytes of the signs that need quotes: a field without any of them needs none.
    special: [bool; 256],
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
            _ if o.char("quote").is_none() => Which::None,
            _ => Which::Minimal,
        };
        let (delimiter, quote, escape) = (o.char("delimiter").unwrap_or(','), o.char("quote").unwrap_or('"'), o.char("escape"));
        let mut special = [false; 256];
        for c in [Some(delimiter), Some(quote), escape, Some('\n'), Some('\r')].into_iter().flatten() {
            special[usize::from(c.encode_utf8(&mut [0; 4]).as_bytes()[0])] = true;
        }
        Self { delimiter, quote, escape, which, special }
    }

    /// Puts what was added to the line from `start` on into quotes where it must be, or says why it can't stand there.
    fn set_apart(&self, line: &mut String, start: usize, numeric: bool, alone: bool) -> Result<(), String> {
        let text = &line.as_bytes()[start..];
        let special = text.iter().any(|b| self.special[usize::from(*b)]) && self.holds_special(&line[start..]);
        let quoted = match self.which {
            Which::All => true,
            Which::Nonnumeric => special || !numeric,
            Which::None => {
                if line[start..].contains([self.delimiter, '\n', '\r']) {
                    return Err("the value holds the delimiter or a line end, and values get no quotes: see output.quote and output.quoting".into());
                }
                false
            }
            // A record of one empty field would be an empty line, which is no record.
            Which::Minimal => special || (alone && text.is_empty()),
        };
        if !quoted {
            return Ok(());
        }
        let text = line.split_off(start);
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

    fn holds_special(&self, text: &str) -> bool {
        text.contains([self.delimiter, '\n', '\r', self.quote]) || self.escape.is_some_and(|e| text.contains(e))
    }
}

impl Writer {
    /// Adds a field to the line, with quotes where it needs them; on a reject the line is empty.
    fn field(&mut self, value: &Value<'_>, alone: bool) -> Result<(), String> {
        let start = self.line.len();
        self.writing.style.push(&mut self.line, value);
        let numeric = matches!(value, Value::Number(_) | Value::Digits(_));
        let apart = self.quoting.set_apart(&mut self.line, start, numeric, alone);
        if apart.is_err() {
            self.line.clear();
        }
        apart
    }
}

impl RecordWriter for Writer {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(self.writing.encoder.prefix());
        if !self.header || self.writing.columns.is_empty() {
            return Ok(());
        }
        let names: Vec<Value<'static>> = self.writing.columns.iter().map(|c| Value::owned(c.clone())).collect();
        self.write(&names, out)?.map_err(|reject| {
            Error::file(format!("the header can't be written: {}", reject.reason))
                .hint("rename the target, or choose an output.encoding that has the character")
        })
    }

    fn write(&mut self, values: &[Value<'_>], out: &mut Vec<u8>) -> Result<Result<(), Reject>> {
        let before = out.len();
        if self.plain {
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(self.quoting.delimiter as u8);
                }
                if let Value::Text(text) = value
                    && !text.bytes().any(|b| self.quoting.special[usize::from(b)])
                    && (values.len() > 1 || !text.is_empty())
                {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                if let Err(why) = self.field(value, values.len() == 1) {
                    out.truncate(before);
                    return Ok(Err(Reject::new(self.writing.columns.get(i).cloned().unwrap_or_default(), why)));
                }
                out.extend_from_slice(self.line.as_bytes());
                self.line.clear();
            }
            out.extend_from_slice(self.ending.as_bytes());
            return Ok(Ok(()));
        }
        self.starts.clear();
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.line.push(self.quoting.delimiter);
            }
            self.starts.push(self.line.len());
            if let Err(why) = self.field(value, values.len() == 1) {
                return Ok(Err(Reject::new(self.writing.columns.get(i).cloned().unwrap_or_default(), why)));
            }
        }
        self.line.push_str(&self.ending);
        let encoded = self.writing.encoder.encode(&self.line, out);
        let reject = encoded.err().map(|c| {
            out.truncate(before);
            let at = self.line.find(c).unwrap_or(0);
            let field = self.starts.iter().rposition(|start| *start <= at).unwrap_or(0);
            self.writing.unencodable(c, field)
        });
        self.line.clear();
        Ok(reject.map_or(Ok(()), Err))
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}
