//! The configuration, resolved once: routes, endpoints and code tables that are ready to use.
//!
//! `raw` checks what is written key by key; this file checks what only makes sense together, and builds. Nothing above
//! it ever sees TOML.

mod masks;
pub mod names;
pub mod raw;
mod read;
pub mod reference;
pub mod resolve;
pub mod schema;
pub mod show;
mod taken;

pub use read::{Purpose, load, load_for, read, read_text};
pub use taken::Names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::naming::Template;
use crate::options::Options;
use crate::schedule::Schedule;
use crate::transform::Transformation;
use crate::transform::lookup::Duplicates;

/// A whole configuration.
#[derive(Debug)]
pub struct Config {
    /// The file.
    pub file: PathBuf,
    /// Journal, archive, errors, work.
    pub home: PathBuf,
    /// Where originals are archived: `archive` in home, or the disk that a link of that name leads to.
    pub archive: PathBuf,
    /// Where files go that can't be relayed.
    pub errors: PathBuf,
    /// What jobs have made so far.
    pub work: PathBuf,
    /// Files in flight at once.
    pub jobs: usize,
    /// What memory-hungry keys may hold, in bytes.
    pub max_memory: u64,
    /// Permissions of archived and errors files.
    pub archive_mode: u32,
    /// How archived originals are stored.
    pub archive_compress: ArchiveCompress,
    /// How long they are kept; none: for ever.
    pub archive_keep: Option<Duration>,
    /// How long finished jobs are kept in the journal.
    pub history_keep: Duration,
    /// The servers, by name.
    pub endpoints: BTreeMap<String, Arc<EndpointConfig>>,
    /// The exchanges, in the order of the file.
    pub routes: Vec<Arc<Route>>,
    /// As checked, for `config show`.
    pub options: Options,
    /// What is allowed but worth a warning.
    pub warnings: Vec<String>,
}

/// How archived originals are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveCompress {
    /// As they are.
    None,
    /// Compressed, with `.zst` behind their names.
    Zstd,
}

/// A server.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Its name.
    pub name: String,
    /// Where it is; without a password.
    pub url: url::Url,
    /// The user, decoded.
    pub user: String,
    /// The password.
    pub password: Option<SecretString>,
    /// The private key.
    pub identity_file: Option<PathBuf>,
    /// The key's passphrase.
    pub passphrase: Option<SecretString>,
    /// Use the agent's keys.
    pub agent: bool,
    /// The known host keys.
    pub known_hosts: PathBuf,
    /// Connections at once.
    pub connections: usize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long no byte may move.
    pub timeout: Duration,
    /// Bytes a second.
    pub limit_rate: Option<u64>,
    /// How often an idle connection is kept alive.
    pub keepalive: Duration,
    /// ftps on port 990.
    pub implicit_tls: bool,
    /// Certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// ftp: passive mode.
    pub passive: bool,
    /// http: PUT, POST or multipart.
    pub method: String,
    /// http: the form field.
    pub field: String,
    /// http: PUT the temporary name, then WebDAV MOVE.
    pub webdav_move: bool,
    /// How names are written there; none: in UTF-8.
    pub names: Option<names::Names>,
    /// The password is proved by a digest, and not sent.
    pub digest: bool,
    /// Records are sent by themselves, not files.
    pub records: Option<Batch>,
    /// http: headers of each request.
    pub headers: Vec<(String, SecretString)>,
    /// The client's certificate and key.
    pub client_cert: Option<(PathBuf, Option<PathBuf>)>,
}

impl SourceConfig {
    /// Whether a relayed file may still lie at A while nothing here shows that it was relayed, but the journal.
    pub fn leaves_no_trace(&self) -> bool {
        self.on_success == OnSuccess::Keep || (self.on_success == OnSuccess::Delete && self.remote.is_some())
    }
    /// Whether its files stay where A has put them.
    pub fn leaves_files(&self) -> bool {
        self.remote.as_ref().map_or(self.on_success == OnSuccess::Keep, |remote| remote.leave == Leave::Keep)
    }
}

impl Config {
    /// With the folders as they really lie: links in what the user wrote are followed here, once, and nowhere later.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        self.home = real(&self.home);
        (self.archive, self.errors, self.work) = (real(&self.home.join("archive")), real(&self.home.join("errors")), real(&self.home.join("work")));
        for route in &mut self.routes {
            // Nobody else holds the routes of a configuration that was just read.
            let Some(route) = Arc::get_mut(route) else { continue };
            route.source.path = real(&route.source.path);
            for d in route.destinations.iter_mut().filter(|d| d.endpoint.is_none()) {
                d.path = real_text(&d.path);
                d.temp_path = d.temp_path.as_deref().map(real_text);
            }
        }
        let known: Vec<(PathBuf, Names)> = self.routes.iter().filter(|r| r.source.records).map(|r| (r.source.path.clone(), r.source.names.clone())).collect();
        for route in &mut self.routes {
            let Some(route) = Arc::get_mut(route) else { continue };
            route.source.beside = known.iter().filter(|(path, _)| *path == route.source.path).map(|(_, names)| names.clone()).collect();
        }
        self
    }
}

fn real_text(path: &str) -> String {
    // A folder whose name is no text stays as it is written.
    real(Path::new(path)).into_os_string().into_string().unwrap_or_else(|_| path.to_owned())
}

/// A path without links, as far as it exists.
pub(crate) fn real(path: &Path) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

impl EndpointConfig {
    /// The same without what tells who asks: for another server than this one.
    pub fn without_credentials(&self) -> Self {
        Self { user: String::new(), password: None, passphrase: None, identity_file: None, headers: Vec::new(), client_cert: None, ..self.clone() }
    }
    /// The host.
    pub fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
    }
    /// The port, by the scheme where none is written.
    pub fn port(&self) -> u16 {
        let default = match self.url.scheme() {
            "sftp" => 22,
            "ftps" if self.implicit_tls => 990,
            "ftp" | "ftps" => 21,
            "http" => 80,
            _ => 443,
        };
        self.url.port().unwrap_or(default)
    }
}

/// A code table.
#[derive(Debug)]
pub struct LookupConfig {
    /// Its name.
    pub name: String,
    /// The file it is read from; placeholders are those of the file in hand.
    pub file: Option<Template>,
    /// The folder its file is relative to.
    pub base: PathBuf,
    /// The columns by which records are found.
    pub key: Vec<String>,
    /// The column of a plain lookup.
    pub value: Option<String>,
    /// What a second record with the same key does.
    pub duplicates: Duplicates,
    /// The table itself.
    pub values: Vec<(String, String)>,
    /// How its file is read.
    pub format: &'static dyn crate::formats::Format,
    /// The keys of its format.
    pub input: Options,
}

impl std::fmt::Debug for dyn crate::formats::Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One direction of one exchange.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// When it is looked at; none: as soon as a file is ready.
    pub schedule: Option<Schedule>,
    /// Later files wait behind a failed one.
    pub halt_on_error: bool,
    /// Where A leaves its exports.
    pub source: SourceConfig,
    /// What is done with the records; none: bytes go untouched.
    pub transformation: Option<Transformation>,
    /// A's delimiter, for the rejects file.
    pub rejects_delimiter: char,
    /// The code tables that the expressions name.
    pub lookups: Vec<Arc<LookupConfig>>,
    /// The published name; none: A's name with the format's extension.
    pub output_name: Option<Template>,
    /// Where it goes.
    pub destinations: Vec<DestinationConfig>,
    /// How a delivery is tried again.
    pub retry: Retry,
    /// Which records are sent; none: all.
    pub sync: Option<crate::sync::Spec>,
}

/// Where A leaves its exports.
#[derive(Debug)]
pub struct SourceConfig {
    /// The folder.
    pub path: PathBuf,
    /// The names that are taken.
    pub names: Names,
    /// Subfolders too.
    pub recursive: bool,
    /// How long size and time must be unchanged; none: 2 s, or 30 s on a network share.
    pub settle: Option<Duration>,
    /// Ready when this file exists.
    pub done_file: Option<Template>,
    /// Ready when this file exists and matches.
    pub checksum_file: Option<Template>,
    /// Smaller files wait.
    pub min_size: Option<u64>,
    /// What becomes of files without a byte.
    pub empty: Empty,
    /// No native events.
    pub poll_only: bool,
    /// The rescan.
    pub poll_interval: Duration,
    /// The order of publishing.
    pub sort: Sort,
    /// Taken at most in one look.
    pub max_files: Option<usize>,
    /// What becomes of the original.
    pub on_success: OnSuccess,
    /// A name and content relayed before is not relayed again.
    pub skip_duplicates: bool,
    /// Its files hold records: corrected rejects files come back too.
    pub records: bool,
    /// What the routes of records take that share the folder, this one among them: each gets its own rejects back.
    pub beside: Vec<Names>,
    /// A's own export function.
    pub before: Option<Vec<String>>,
    /// Make the folder if it is missing.
    pub create: bool,
    /// The server that it is on; `path` is then the relay's own folder for what was fetched. None: it is local.
    pub remote: Option<RemoteSource>,
}

/// A's folder on a server.
#[derive(Debug)]
pub struct RemoteSource {
    /// The server.
    pub endpoint: Arc<EndpointConfig>,
    /// The folder below the endpoint's.
    pub path: String,
    /// How long a file must be the same in two listings; none: 2 s.
    pub settle: Option<Duration>,
    /// The files that are got by their names, where the server lists none (HTTP).
    pub named: Option<Vec<String>>,
    /// What is left of a file there once it is relayed.
    pub leave: Leave,
    /// Make the folder if it is missing.
    pub create: bool,
}

/// What is left of a file at A's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Nothing: it is in the archive here, or deleted.
    Nothing,
    /// The file itself, which is never taken twice.
    Keep,
    /// The file, in another folder.
    Move(String),
}

/// What becomes of files without a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// Archived, delivered with 0 written.
    Skip,
    /// Relayed as any other.
    Send,
    /// Into errors.
    Fail,
}

/// The order in which files are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Oldest first.
    Modified,
    /// By name.
    Name,
}

/// What becomes of the original once every destination has the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSuccess {
    /// Into the archive.
    Archive,
    /// Removed.
    Delete,
    /// Left in place, and never taken twice.
    Keep,
}

/// The final name is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfExists {
    /// Until B took it.
    Wait,
    /// It is replaced.
    Replace,
    /// The next free name is taken.
    Rename,
    /// The file fails.
    Fail,
}

/// How the temporary file is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// By its size.
    Size,
    /// By its content.
    Hash,
    /// Not at all.
    None,
}

/// B's import folder.
#[derive(Debug)]
pub struct DestinationConfig {
    /// The server; none: local.
    pub endpoint: Option<Arc<EndpointConfig>>,
    /// The folder: local, or below the endpoint's.
    pub path: String,
    /// The final name is still there.
    pub if_exists: IfExists,
    /// The name while it is written.
    pub temp_name: Template,
    /// Another folder to write in.
    pub temp_path: Option<String>,
    /// How the temporary file is verified.
    pub verify: Verify,
    /// Permissions of the published file.
    pub mode: Option<u32>,
    /// Written after the file is published.
    pub done_file: Option<Template>,
    /// When an operator is told that B has not taken the file.
    pub confirm: Option<Duration>,
    /// B's own import function, an argument list.
    pub after: Option<Vec<Template>>,
    /// The same at the server.
    pub after_remote: Option<Vec<Template>>,
    /// Make the folder if it is missing.
    pub create: bool,
}

impl DestinationConfig {
    /// How many records go in a request, where records are sent by themselves.
    pub fn records(&self) -> Option<Batch> {
        self.endpoint.as_ref().and_then(|e| e.records)
    }
    /// The name of where it goes: the endpoint's, or "local".
    pub fn endpoint_name(&self) -> &str {
        self.endpoint.as_ref().map_or("local", |e| e.name.as_str())
    }
}

/// How many records go in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Batch {
    /// One, as an object.
    One,
    /// So many at most, as a list.
    Many(usize),
}

/// How a delivery is tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Before the second attempt.
    pub initial_delay: Duration,
    /// Each further delay is so many times the one before.
    pub multiplier: u32,
    /// At most.
    pub max_delay: Duration,
    /// Then the file goes to errors.
    pub give_up: Duration,
}

impl Retry {
    /// The delay after so many failed attempts in a row, without jitter.
    pub fn delay(&self, failures: u32) -> Duration {
        let factor = self.multiplier.saturating_pow(failures.saturating_sub(1));
        self.initial_delay.saturating_mul(factor).min(self.max_delay)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::formats::Format;

    fn section(format: &'static dyn Format, keys: &str, table: &str) -> Options {
        let text = format!("[routes.r]\n[routes.r.{table}]\nformat = \"{}\"\n{keys}\n", format.name());
        let (doc, options) = raw::Document::read(Path::new("test.toml"), text, Purpose::Relay);
        assert!(doc.mistakes.is_empty(), "{}", doc.report());
        let Some((_, entry)) = options.map("routes").first() else { panic!("no route") };
        let crate::options::Val::Table(route) = &entry.value else { panic!("no table") };
        route.table(table).unwrap().clone()
    }
    pub(crate) fn format_options(format: &'static dyn Format, keys: &str) -> Options {
        section(format, keys, "input")
    }
    pub(crate) fn format_output_options(format: &'static dyn Format, keys: &str) -> Options {
        section(format, keys, "output")
    }
}
