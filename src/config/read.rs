//! Reads a configuration for a purpose; every mistake is told at once.

use std::path::Path;

use super::{Config, raw, resolve};
use crate::error::{Error, Result, reason};

/// What reading a configuration gave: the configuration, or a report of every mistake.
pub fn load(path: &Path) -> Result<Config> {
    load_for(path, Purpose::Relay)
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To relay files.
    Relay,
    /// To run a route's transformation alone: it may have neither a source nor a destination.
    Transform,
    /// To look at the relay's work, and to say what becomes of it: the secrets of the service need not be at hand.
    Operate,
}

/// A configuration that is enough for this.
pub fn load_for(path: &Path, purpose: Purpose) -> Result<Config> {
    match read_for(path, text_of(path)?, purpose) {
        (Some(config), None) => Ok(config),
        (_, report) => Err(Error::config(report.unwrap_or_default().trim_end().to_owned())),
    }
}

/// Reads and checks a configuration; the report holds every mistake.
pub fn read(path: &Path) -> Result<(Option<Config>, Option<String>)> {
    Ok(read_text(path, text_of(path)?))
}

fn text_of(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| {
        if e.kind() == std::io::ErrorKind::InvalidData {
            return Error::config(format!("the configuration {} is not in UTF-8", path.display()))
                .hint("save it as UTF-8: `iconv -f windows-1252 -t utf-8`, or the editor's \"save as\"");
        }
        Error::config(format!("can't read the configuration {}: {}", path.display(), reason(&e)))
            .hint("name it with --config FILE or PASSERELLE_CONFIG, or start in its folder; `passerelle demo` lays out an example")
    })
}

/// The same for a text that lies nowhere yet, or at `path`.
pub fn read_text(path: &Path, text: String) -> (Option<Config>, Option<String>) {
    read_for(path, text, Purpose::Relay)
}

fn read_for(path: &Path, text: String, purpose: Purpose) -> (Option<Config>, Option<String>) {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (mut doc, options) = raw::Document::read(path, text, purpose);
    let config = resolve::resolve(&mut doc, options, &absolute, purpose);
    let report = if doc.mistakes.is_empty() { None } else { Some(doc.report()) };
    (config.filter(|_| report.is_none()), report)
}
