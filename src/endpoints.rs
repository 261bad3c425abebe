//! Servers and local folders as destinations, behind one pair of small traits.
//!
//! A transport is one file (or folder) beside this one and one line in [`TRANSPORTS`]. It translates its library's
//! errors once, says what it is able to do before the first byte, and never retries or reconnects by itself: that is
//! the engine's business.

pub mod check;
mod encoded;
pub mod ftp;
pub mod http;
pub mod local;
#[cfg(debug_assertions)]
mod numbered;
pub mod pool;
pub mod reach;
pub mod sftp;
mod tls;
mod veil;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::EndpointConfig;
use crate::durable;
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;
use reach::Told;

/// A file at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its size, where the server tells.
    pub size: Option<u64>,
    /// It is a folder.
    pub folder: bool,
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A link, a device, or what the server does not tell.
    Other,
}

/// An entry of a folder, as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, byte for byte.
    pub name: Vec<u8>,
    /// What it is.
    pub entry: Entry,
    /// Its size, where the server tells.
    pub size: Option<u64>,
    /// When it was changed last, in seconds since 1970, where the server tells.
    pub modified: Option<i64>,
}

/// What a server tells of when a file was changed, beside its listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// Nothing more: the second is listed.
    Listed,
    /// The second (since 1970), where less is listed.
    At(i64),
    /// Nothing, and less than the second is listed: a minute, or a day.
    Untold,
}

/// Which version of a file a server has, in its own words (HTTP).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Version {
    /// Its entity tag.
    pub etag: Option<String>,
    /// When it was changed last.
    pub modified: Option<String>,
}

/// What a rename does with an existing name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It is replaced, atomically where the server can.
    Replace,
    /// It is left alone: the answer is [`Kind::Exists`].
    New,
}

/// How a file that is there may be written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumes {
    /// Not at all: it is written anew.
    Never,
    /// On one connection, from some byte on to its end.
    ToItsEnd,
    /// In any part, also over several connections at once.
    Anywhere,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file; its path is the file's.
    File,
    /// Records as JSON; the path is the API's.
    Records,
}

/// How a file is sent straight to its final name (HTTP).
#[derive(Clone, Debug)]
pub struct Direct {
    /// The delivery's own number, the same on every attempt.
    pub idempotency_key: String,
    /// What an existing name does.
    pub rename: Rename,
    /// So many bytes.
    pub size: u64,
    /// What it is.
    pub content: Content,
}

/// A small file that is written beside others.
pub struct Outgoing<'o> {
    /// Where to.
    pub path: &'o Path,
    /// Its bytes.
    pub from: &'o mut dyn Read,
    /// So many.
    pub size: u64,
    /// Its permissions.
    pub mode: Option<u32>,
}

/// A configured server. No connection is open yet.
pub trait Endpoint: Send + Sync {
    /// Opens a connection and logs in; `told` hears of each stage that was passed.
    fn connect(&self, stop: &Stop, told: &mut Told<'_>) -> Result<Box<dyn Session>>;
    /// The stages that a connection leaves to the first request, where there are any (HTTP).
    fn greet(&self, _: &Stop, _: &mut Told<'_>) -> Result<()> {
        Ok(())
    }
    /// Files go straight to their final name: there is no temporary one (HTTP PUT and POST).
    fn direct(&self) -> bool;
    /// A request that was cut may safely be sent again (PUT).
    fn repeatable(&self) -> bool;
    /// Whether [`Session::write_on`] may be asked for.
    fn resumes(&self) -> Resumes {
        Resumes::Never
    }
}

/// What becomes of a file that meets a failure which may pass.
const WAITS: &str = "the file waits and is tried again by itself";

/// One connection, owned by one worker. A call that fails with [`Kind::Lost`] leaves its outcome unknown.
pub trait Session: Send {
    /// What it wrote, renamed and synced survives a power cut of the server.
    fn syncs(&self) -> bool;
    /// The file or folder of that name; none if there is nothing.
    fn stat(&mut self, path: &Path) -> Result<Option<Stat>>;
    /// Whether the server is known to have hung up since the last request.
    fn is_over(&mut self) -> bool {
        false
    }
    /// Whether a name is taken, as far as a rename that must not replace is concerned; that one refuses a folder's by itself.
    fn is_taken(&mut self, path: &Path) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }
    /// Hands over the entries of a folder one by one, in the server's order; never the folder itself.
    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()>;
    /// What tells versions of a file of one size apart, beside the time that it is listed with.
    fn dated(&mut self, path: &Path) -> Result<Dated>;
    /// How files move beside the connection, once one has (FTP), for a check.
    fn data_channel(&mut self) -> Option<String> {
        None
    }
    /// Writes a file of ours of `size` bytes, emptying one of that name, and syncs it where the server can. A failure may leave a part of it.
    fn write(&mut self, path: &Path, from: &mut dyn Read, size: u64, mode: Option<u32>) -> Result<u64>;
    /// Writes on in a file that is there, from that byte on, and syncs it where the server can ([`Endpoint::resumes`]).
    fn write_on(&mut self, path: &Path, _from_byte: u64, _from: &mut dyn Read, _mode: Option<u32>) -> Result<u64> {
        Err(Error::endpoint(format!("this server does not write on in {}", path.display())).at("upload").kind_of(Kind::Unsupported))
    }
    /// Writes some small files, each like [`Session::write`]; where the server takes many requests at once, none waits for
    /// the answers to another. Each may fail on its own.
    fn write_all(&mut self, files: &mut [Outgoing<'_>]) -> Result<Vec<Result<u64>>> {
        let mut written = Vec::with_capacity(files.len());
        for file in files {
            let result = self.write(file.path, file.from, file.size, file.mode);
            let over = result.as_ref().is_err_and(|e| e.kind() == Kind::Lost);
            written.push(result);
            if over {
                break;
            }
        }
        Ok(written)
    }
    /// [`Session::stat`] of some names.
    fn stat_all(&mut self, paths: &[PathBuf]) -> Result<Vec<Option<Stat>>> {
        paths.iter().map(|path| self.stat(path)).collect()
    }
    /// Renames in this order. Gives an answer for each that was tried: where the server takes many requests at once, that
    /// is all of them, and those behind a lost answer are lost too; elsewhere the first failure ends it.
    fn rename_all(&mut self, names: &[(PathBuf, PathBuf)], how: Rename) -> Vec<Result<()>> {
        rename_one_by_one(names, |from, to| self.rename(from, to, how))
    }
    /// Reads a file to its end.
    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64>;
    /// Reads a file to its end unless it is that version still; none: it is.
    fn read_changed(&mut self, _: &Path, _: &Version, _: &mut dyn Write) -> Result<Option<Version>> {
        Err(Error::endpoint("this server knows no versions").at("fetch").kind_of(Kind::Unsupported))
    }
    /// Renames.
    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()>;
    /// Removes a file; one that is not there is fine.
    fn remove(&mut self, path: &Path) -> Result<()>;
    /// Makes a folder; one that is there is fine.
    fn make_folder(&mut self, path: &Path) -> Result<()>;
    /// Makes the names of a folder survive a power cut of the server, where it can.
    fn sync_folder(&mut self, path: &Path) -> Result<()>;
    /// Where programs at the server find a path.
    fn place(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
    /// Runs a command at the server, where it runs any (SSH), and waits for its end; no argument is more than one word.
    fn execute(&mut self, _args: &[Vec<u8>], _limit: Duration, _: &Stop) -> Result<()> {
        Err(Error::endpoint("this server runs no commands").at("after_remote").kind_of(Kind::Unsupported))
    }
    /// Sends a file straight to its final name.
    fn send(&mut self, path: &Path, from: &mut dyn Read, how: &Direct) -> Result<()>;
}

/// Renames in this order, each after the answer to the last; the first failure ends it.
fn rename_one_by_one(names: &[(PathBuf, PathBuf)], mut rename: impl FnMut(&Path, &Path) -> Result<()>) -> Vec<Result<()>> {
    let mut renamed = Vec::with_capacity(names.len());
    for (from, to) in names {
        renamed.push(rename(from, to));
        if renamed.last().is_some_and(Result::is_err) {
            break;
        }
    }
    renamed
}

/// One kind of server.
pub trait Transport: Sync {
    /// The schemes of its URLs.
    fn schemes(&self) -> &'static [&'static str];
    /// The endpoint of that configuration.
    fn open(&self, config: Arc<EndpointConfig>) -> Result<Arc<dyn Endpoint>>;
}

/// All transports; local folders need no server.
pub static TRANSPORTS: &[&dyn Transport] = &[&sftp::Sftp, &ftp::Ftp, &http::Http];

/// The endpoint of a configuration.
pub fn open(config: &Arc<EndpointConfig>) -> Result<Arc<dyn Endpoint>> {
    let scheme = config.url.scheme();
    match TRANSPORTS.iter().find(|t| t.schemes().contains(&scheme)) {
        Some(transport) => {
            let server = transport.open(config.clone())?;
            Ok(match config.names.clone() {
                Some(names) => Arc::new(encoded::Encoded { server, names }),
                None => server,
            })
        }
        None => Err(Error::config(format!("the scheme {scheme}:// has no transport"))),
    }
}

/// A broken or stalled connection: whether the last request was carried out is unknown.
pub fn lost(e: &std::io::Error) -> Error {
    let text = match e.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => "the server does not answer any more".to_owned(),
        _ => format!("the connection broke: {}", crate::error::reason(e)),
    };
    Error::endpoint(text).kind_of(Kind::Lost).hint(WAITS)
}

/// Makes a request, and once more where the kept connection turned out to be gone before it.
pub fn send_afresh(session: &mut dyn Session, send: &mut dyn FnMut(&mut dyn Session) -> Result<()>) -> Result<()> {
    match send(session) {
        Err(e) if e.kind() == Kind::Stale => send(session).map_err(stale_is_lost),
        sent => sent,
    }
}

/// A connection that is gone is a lost one to whoever does not try again.
fn stale_is_lost(e: Error) -> Error {
    if e.kind() == Kind::Stale { e.kind_of(Kind::Lost) } else { e }
}

/// A folder that is missing at B.
pub fn missing_folder(path: &Path) -> Error {
    Error::endpoint(format!("the folder {} does not exist", crate::error::shown(path)))
        .kind_of(Kind::NotFound)
        .hint("create it, mount its share, or set create = true on the destination")
}

/// Makes a folder and those around it, up to the first that is `present`.
pub fn make_missing(session: &mut dyn Session, folder: &Path, present: &dyn Fn(&mut dyn Session, &Path) -> Result<bool>) -> Result<()> {
    let mut missing = Vec::new();
    for folder in folder.ancestors() {
        if folder == Path::new("/") || present(session, folder)? {
            break;
        }
        missing.push(folder);
    }
    missing.into_iter().rev().try_for_each(|folder| session.make_folder(folder))
}

/// Whether there is a folder; the endpoint's own is taken to be there.
pub fn is_present(session: &mut dyn Session, folder: &Path) -> Result<bool> {
    Ok(folder.as_os_str().is_empty() || session.stat(folder)?.is_some())
}

/// A folder that is missing at A, as `message` says.
pub fn missing_source(message: &str) -> Error {
    Error::endpoint(message).kind_of(Kind::NotFound).hint("create it at the server, or set create = true on the source")
}

/// Follows a stream of bytes: looks at the wish to stop, and keeps to a rate.
pub struct Followed<'f> {
    inner: &'f mut dyn Read,
    stop: &'f Stop,
    rate: Option<&'f pool::Rate>,
    /// What was read so far.
    pub bytes: u64,
}

impl<'f> Followed<'f> {
    /// Follows `inner`.
    pub fn new(inner: &'f mut dyn Read, stop: &'f Stop, rate: Option<&'f pool::Rate>) -> Self {
        Self { inner, stop, rate, bytes: 0 }
    }
}

impl Read for Followed<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.is_set() {
            return Err(stopped());
        }
        let most = self.rate.map_or(to.len(), |r| r.slice().min(to.len()));
        let n = self.inner.read(&mut to[..most])?;
        if let Some(rate) = self.rate {
            rate.spend(n, self.stop);
        }
        self.bytes += n as u64;
        Ok(n)
    }
}

/// Hands a stream over piece by piece to its end; gives how many bytes there were.
pub fn pump(from: &mut dyn Read, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let mut buf = vec![0; durable::FIRST_CHUNK_BYTES];
    let mut total = 0;
    loop {
        match from.read(&mut buf) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                take(&buf[..n])?;
                total += n as u64;
                durable::widen(&mut buf, n);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(source_error(&e)),
        }
    }
}

/// The text of the I/O error by which a followed stream says that the relay stops.
const STOPPED: &str = "the relay stops";

/// By which a followed stream says that the relay stops.
pub fn stopped() -> std::io::Error {
    std::io::Error::other(STOPPED)
}

/// An error of the stream that is sent: the relay stops, or the file can't be read any more.
pub fn source_error(e: &std::io::Error) -> Error {
    if e.to_string() == STOPPED {
        return Error::stopped();
    }
    Error::endpoint(format!("can't read the file that is sent: {}", crate::error::reason(e)))
}
