//! The one error of the relay, and whose fault it is.
//!
//! Rules: an adapter translates its library's error here, once, and says whose fault it is ([`Blame`]);
//! nobody downgrades it later, callers only add where it happened ([`Error::at`], [`Error::on_file`]).
//! The text says what failed and why, the hint says what to do about it. No secret is ever put into either:
//! they are stored in the journal, in error notes and in logs.

use std::fmt;
use std::io;
use std::path::Path;

/// Whose fault a failure is. This alone decides what happens to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The file itself is wrong: it goes to `errors` at once.
    File,
    /// A server, a folder or a disk is in trouble: the file waits.
    Endpoint,
    /// The relay's own journal or folders cannot be used: the relay stops with status 4.
    Relay,
    /// The configuration or the command line is wrong: status 2.
    Config,
    /// The relay was told to stop; nothing is recorded and the step is redone later.
    Stopped,
}

/// What a caller may have to decide on, beside the blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing a caller decides on.
    Other,
    /// There is no such file or folder.
    NotFound,
    /// The name is already there.
    Exists,
    /// A sync failed: what the disk holds is unknown, and another sync would not tell.
    Unsynced,
    /// It lies on another file system.
    OtherDevice,
    /// Permission denied by the file system or the server.
    Denied,
    /// The login or the host key was refused: trying again soon is useless and may lock an account.
    Login,
    /// No space, quota or inode left.
    Full,
    /// The connection broke or timed out: whether the last request was carried out is unknown.
    Lost,
    /// The kept connection was closed before the request was made: it is made again on another one.
    Stale,
    /// The server failed at it, and may have carried it out all the same.
    Doubtful,
    /// The host answers, and nothing listens on that port.
    Refused,
    /// The server answered that it can't do this.
    Unsupported,
    /// Whether B has the file can't be known.
    Unconfirmed,
    /// An operator must decide whether the file may go on.
    Held,
}

/// A failure with its place, its cause and what to do about it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Inner {
    blame: Blame,
    kind: Kind,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// So many seconds the server wants to be left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause: Option<u64>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(blame: Blame, message: impl Into<String>) -> Self {
        let inner = Inner { blame, kind: Kind::Other, message: message.into(), hint: None, step: None, file: None, line: None, endpoint: None, pause: None };
        Self(Box::new(inner))
    }

    /// The file is wrong.
    pub fn file(message: impl Into<String>) -> Self {
        Self::new(Blame::File, message)
    }
    /// A server, a folder or a disk is in trouble.
    pub fn endpoint(message: impl Into<String>) -> Self {
        Self::new(Blame::Endpoint, message)
    }
    /// The relay can't go on.
    pub fn relay(message: impl Into<String>) -> Self {
        Self::new(Blame::Relay, message)
    }
    /// The configuration or the command line is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Blame::Config, message)
    }
    /// The relay was told to stop.
    pub fn stopped() -> Self {
        Self::new(Blame::Stopped, "stopped before the step was finished")
    }

    /// An I/O error on `path` while doing `what` ("create", "read"), blamed on `blame`; full disks and missing folders are named.
    pub fn io(blame: Blame, what: &str, path: &Path, e: &io::Error) -> Self {
        let (kind, hint) = classify_io(e);
        let blame = if crate::points::planted("disk-condemns") { Blame::File } else { blame };
        let mut error = Self::new(blame, format!("can't {what} {}: {}", shown(path), reason(e)));
        error.0.kind = kind;
        error.0.hint = hint;
        error
    }

    /// The same error with the kind callers decide on.
    #[must_use]
    pub fn kind_of(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }
    /// What to do about it; the first hint given stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }
    /// The step in which it happened; the innermost stays.
    #[must_use]
    pub fn at(mut self, step: &str) -> Self {
        self.0.step.get_or_insert_with(|| step.to_owned());
        self
    }
    /// The file it is about; the innermost stays.
    #[must_use]
    pub fn on_file(mut self, path: &Path) -> Self {
        self.0.file.get_or_insert_with(|| shown(path));
        self
    }
    /// The line in the file, counted from 1.
    #[must_use]
    pub fn on_line(mut self, line: u64) -> Self {
        self.0.line.get_or_insert(line);
        self
    }
    /// The endpoint it is about.
    #[must_use]
    pub fn on_endpoint(mut self, name: &str) -> Self {
        self.0.endpoint.get_or_insert_with(|| name.to_owned());
        self
    }
    /// The same failure with its words as `cover` lets them be seen.
    #[must_use]
    pub fn covered(mut self, cover: impl Fn(&str) -> String) -> Self {
        self.0.message = cover(&self.0.message);
        self.0.hint = self.0.hint.as_deref().map(cover);
        self
    }
    /// The server asks not to be tried before that.
    #[must_use]
    pub fn not_before(mut self, pause: std::time::Duration) -> Self {
        self.0.pause = Some(pause.as_secs());
        self
    }
    /// How long the server asks to be left alone; an hour at most counts.
    pub fn pause(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0.pause.unwrap_or(0).min(3600))
    }
    /// The same failure, blamed on somebody else (an unreadable sample is the file's fault, an unreadable folder the endpoint's).
    #[must_use]
    pub fn blamed_on(mut self, blame: Blame) -> Self {
        self.0.blame = blame;
        self
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        self.0.blame
    }
    /// What callers decide on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
    /// What failed and why, without its place.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    /// What to do about it, as it is added to a log line; empty where nothing is known.
    pub fn remedy(&self) -> String {
        self.0.hint.as_ref().map(|h| format!(" — {h}")).unwrap_or_default()
    }
    /// The step in which it happened.
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }
    /// The line in the file.
    pub fn line(&self) -> Option<u64> {
        self.0.line
    }
    /// The exit status of a command that ends with this error.
    pub fn exit_status(&self) -> u8 {
        match self.0.blame {
            Blame::File => 1,
            Blame::Config => 2,
            Blame::Endpoint | Blame::Stopped => 3,
            Blame::Relay => 4,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(file) = &inner.file {
            write!(f, "{file}")?;
            if let Some(line) = inner.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": ")?;
        } else if let Some(line) = inner.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(step) = &inner.step {
            write!(f, "{step}: ")?;
        }
        if let Some(endpoint) = &inner.endpoint {
            write!(f, "{endpoint}: ")?;
        }
        write!(f, "{}", inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.0.blame)?;
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

fn classify_io(e: &io::Error) -> (Kind, Option<String>) {
    match e.raw_os_error() {
        Some(libc::ENOSPC) => (Kind::Full, Some("free some space (or inodes: `df -i`) there".into())),
        Some(libc::EDQUOT) => (Kind::Full, Some("raise the quota, or free some space there".into())),
        Some(libc::EROFS) => (Kind::Denied, Some("the file system is mounted read-only".into())),
        Some(libc::EACCES | libc::EPERM) => (Kind::Denied, Some("give the relay's user the right to read, write and rename there".into())),
        Some(libc::EXDEV) => (Kind::OtherDevice, Some("both must lie on one file system, in one mount".into())),
        Some(libc::ENOENT) => (Kind::NotFound, None),
        Some(libc::ELOOP) => (
            Kind::Denied,
            Some("a part of that path has become a link, and links are not followed: put the folder back, or reload if the link is meant".into()),
        ),
        Some(libc::EEXIST | libc::ENOTEMPTY) => (Kind::Exists, None),
        Some(libc::EMFILE | libc::ENFILE) => (Kind::Other, Some("raise the limit of open files (`ulimit -n`) or lower `jobs`".into())),
        _ => (Kind::Other, None),
    }
}

/// The system's words for an I/O error, without the "(os error 2)" that helps nobody.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    match text.rfind(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// A path as it may be printed: control characters and bytes that are no UTF-8 are escaped, so that a hostile name can't write to a terminal or a log.
pub fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    shown_bytes(path.as_os_str().as_bytes())
}

/// A name as it may be printed; see [`shown`].
pub fn shown_bytes(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            // The bidirectional controls reorder what stands around them on a screen.
            let bidi = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || bidi {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_path_and_remedy() {
        let e = Error::io(Blame::Endpoint, "write", Path::new("/b/in/x"), &io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(e.to_string(), "can't write /b/in/x: No space left on device");
        assert_eq!(e.kind(), Kind::Full);
        assert!(e.advice().is_some_and(|h| h.contains("free some space")));
    }

    #[test]
    fn a_hostile_name_is_escaped_when_shown() {
        assert_eq!(shown_bytes(b"a\nb\x1b[2J\xe9\xff"), "a\\nb\\u{1b}[2J\\xe9\\xff");
        assert_eq!(shown_bytes("caf\u{e9} \u{202e}gpj".as_bytes()), "café \\u{202e}gpj");
    }

    #[test]
    fn an_error_survives_the_journal() {
        let e = Error::file("2 columns instead of 3").hint("close the quote").at("transform").on_line(7);
        let text = serde_json::to_string(&e).unwrap();
        assert_eq!(serde_json::from_str::<Error>(&text).unwrap(), e);
        assert_eq!(e.to_string(), "line 7: transform: 2 columns instead of 3");
    }
}
