//! SFTP: the session is libssh2's (handshake, login, host keys), the packets are ours (`wire`).
//!
//! It never accepts a key that is not on file (`trust`), never deletes before it renames, and keeps a bounded number
//! of requests in flight.

mod command;
mod together;
pub mod trust;
mod wire;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use ssh2::{KeyboardInteractivePrompt, Prompt};

use super::reach::{Told, connect_tcp, hung_up};
use super::{Dated, Direct, Endpoint, Entry, Listed, Outgoing, Rename, Resumes, Session, Stat, Transport, WAITS, missing_folder, source_error};
use crate::config::EndpointConfig;
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;
use wire::{Answer, FOR_READING, FOR_WRITING, FOR_WRITING_ON, Status, Wire};

/// Bytes of one request: every server takes 32 KiB, in one SSH packet with what stands around them.
const PIECE_BYTES: usize = 32 * 1000;
/// Bytes of one request to a server that tells that it takes so many: the fewer requests, the less work for both.
const PIECE_BYTES_MAX: usize = 255 * 1024;
/// Bytes in flight: they fill a line of 50 ms at 80 MB/s.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// What the server's plain "failure" on a write is.
const FULL_HINT: &str = "most often a full disk or a quota at the server";

/// The transport.
#[derive(Debug)]
pub struct Sftp;

impl Transport for Sftp {
    fn schemes(&self) -> &'static [&'static str] {
        &["sftp"]
    }
    fn open(&self, config: Arc<EndpointConfig>) -> Result<Arc<dyn Endpoint>> {
        Ok(Arc::new(Server { config }))
    }
}

struct Server {
    config: Arc<EndpointConfig>,
}

/// Connects and shakes hands; who the server is has not been checked yet.
pub fn handshake(config: &EndpointConfig, told: &mut Told<'_>) -> Result<(ssh2::Session, Arc<TcpStream>)> {
    let tcp = Arc::new(connect_tcp(config, told)?);
    let mut session = ssh2::Session::new().map_err(|e| ssh_error(&e, "handshake"))?;
    session.set_timeout(millis(config.connect_timeout));
    session.set_tcp_stream(tcp.clone());
    trust::prefer_known(&session, config)?;
    prefer_fast(&session);
    session.handshake().map_err(|e| {
        let error = ssh_error(&e, "handshake");
        match e.code() {
            // LIBSSH2_ERROR_KEX_FAILURE, LIBSSH2_ERROR_METHOD_NONE
            ssh2::ErrorCode::Session(-5 | -8) => error.hint("server and relay have no algorithm in common: an old server may know only SHA-1, which is refused; ask its keeper for ed25519 or rsa-sha2 keys and a modern key exchange"),
            // LIBSSH2_ERROR_BANNER_RECV
            ssh2::ErrorCode::Session(-2 | -13) => error.hint("what answers on that port is no SSH server, or it refuses this host"),
            _ => error,
        }
    })?;
    session.set_timeout(millis(config.timeout));
    Ok((session, tcp))
}

/// Puts the ciphers first that processors compute themselves (AES-GCM, RFC 5647): what else the library knows stays, in its order.
fn prefer_fast(session: &ssh2::Session) {
    for direction in [ssh2::MethodType::CryptCs, ssh2::MethodType::CryptSc] {
        let Ok(mut known) = session.supported_algs(direction) else { continue };
        known.sort_by_key(|name| !name.contains("gcm"));
        // A preference that is not taken leaves the library's own.
        let _ = session.method_pref(direction, &known.join(","));
    }
}

impl Endpoint for Server {
    fn connect(&self, _: &Stop, told: &mut Told<'_>) -> Result<Box<dyn Session>> {
        let config = &self.config;
        let (session, tcp) = handshake(config, told)?;
        trust::check(&session, config)?;
        told("handshake", agreed(&session))?;
        let how = login(&session, &tcp, config)?;
        let mut channel = session.channel_session().map_err(|e| ssh_error(&e, "login"))?;
        channel.subsystem("sftp").map_err(|e| ssh_error(&e, "login").hint("the server has no SFTP subsystem for this user: ask its keeper"))?;
        let mut wire = Wire::start(channel).map_err(|e| e.at("login"))?;
        let mut able: Vec<&str> = wire.extensions.keys().map(String::as_str).filter(|n| n.ends_with("@openssh.com")).collect();
        able.sort_unstable();
        told("login", format!("{how}; SFTP with {}", if able.is_empty() { "no extensions".to_owned() } else { able.join(", ") }))?;
        let path = crate::config::resolve::percent_decoded(config.url.path());
        // As curl has it: from the root, or with /~/ from the login folder.
        let base = match path.strip_prefix("/~/").or(if path == "/~" { Some("") } else { None }) {
            Some(below) => PathBuf::from(below),
            None => PathBuf::from(&path),
        };
        session.set_keepalive(true, u32::try_from(config.keepalive.as_secs()).unwrap_or(30));
        let caps = Caps { atomic_replace: wire.extensions.contains_key("posix-rename@openssh.com"), sync: wire.extensions.contains_key("fsync@openssh.com") };
        let pieces = Pieces::Asked(wire.ask_limits()?);
        Ok(Box::new(SftpSession { wire, base, caps, pieces, session, tcp, timeout: config.timeout }))
    }
    fn direct(&self) -> bool {
        false
    }
    fn repeatable(&self) -> bool {
        true
    }
    fn resumes(&self) -> Resumes {
        Resumes::Anywhere
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// libssh2's words say what, not where nor what to do.
fn ssh_error(e: &ssh2::Error, step: &'static str) -> Error {
    let kind = match e.code() {
        // Timeout, socket errors, disconnect.
        ssh2::ErrorCode::Session(-9 | -13 | -7 | -43 | -30) => Kind::Lost,
        _ => Kind::Other,
    };
    Error::endpoint(format!("SSH: {}", e.message())).at(step).kind_of(kind)
}

struct Answers<'p>(&'p str);

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _: &str, _: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|_| self.0.to_owned()).collect()
    }
}

/// What a handshake agreed on.
fn agreed(session: &ssh2::Session) -> String {
    use ssh2::MethodType::{CryptCs, HostKey, Kex};
    let key = session.host_key().map(|(key, _)| format!("{} {}", trust::key_type(key), trust::fingerprint(key))).unwrap_or_default();
    let methods = [Kex, HostKey, CryptCs].map(|kind| session.methods(kind).unwrap_or("?"));
    format!("{}, host key {key}, {}", session.banner().unwrap_or("SSH"), methods.join(", "))
}

/// Logs in; tells as whom and how.
fn login(session: &ssh2::Session, tcp: &TcpStream, config: &EndpointConfig) -> Result<String> {
    let user = if config.user.is_empty() { std::env::var("USER").unwrap_or_else(|_| "root".into()) } else { config.user.clone() };
    let mut tried = Vec::new();
    let mut why = String::new();
    if let Some(key) = &config.identity_file {
        tried.push("key");
        let passphrase = config.passphrase.as_ref().map(ExposeSecret::expose_secret);
        match session.userauth_pubkey_file(&user, None, key, passphrase) {
            Ok(()) => return Ok(format!("{user}, by key")),
            Err(e) if matches!(e.code(), ssh2::ErrorCode::Session(-16)) => {
                let shown = key.display();
                let hint = if key.exists() && passphrase.is_some() {
                    "most often the passphrase is wrong; else check that it is a private key of OpenSSH or PEM"
                } else if key.exists() {
                    "if it is encrypted, set `passphrase`; check that it is a private key of OpenSSH or PEM"
                } else {
                    "there is no such file: check `identity_file`"
                };
                return Err(Error::endpoint(format!("the key {shown} can't be used: {}", e.message())).at("login").kind_of(Kind::Login).hint(hint));
            }
            Err(e) => e.message().clone_into(&mut why),
        }
    }
    if config.agent {
        tried.push("agent");
        match session.userauth_agent(&user) {
            Ok(()) => return Ok(format!("{user}, by the agent")),
            Err(e) => e.message().clone_into(&mut why),
        }
    }
    if let Some(password) = &config.password {
        tried.push("password");
        let password = password.expose_secret();
        match session.userauth_password(&user, password) {
            Ok(()) => return Ok(format!("{user}, by password")),
            Err(e) => e.message().clone_into(&mut why),
        }
        if session.userauth_keyboard_interactive(&user, &mut Answers(password)).is_ok() {
            return Ok(format!("{user}, by password (keyboard-interactive)"));
        }
    }
    let offered = session.auth_methods(&user).map(str::to_owned).unwrap_or_default();
    // The library's words where no answer came: a refusal has others.
    if offered.is_empty() && hung_up(tcp) && ["Waiting for", "Unable to send"].iter().any(|words| why.starts_with(words)) {
        return Err(Error::endpoint(format!("the connection broke while {user} logged in: {why}")).at("login").kind_of(Kind::Lost).hint(WAITS));
    }
    if tried.is_empty() {
        let error = Error::endpoint(format!("no way to log in is configured for {user}; the server offers {offered}"));
        return Err(error.at("login").kind_of(Kind::Login).hint("set identity_file, password or agent = true on the endpoint"));
    }
    let error = Error::endpoint(format!("the login of {user} was refused ({} tried, the server offers {offered}): {why}", tried.join(", ")));
    Err(error.at("login").kind_of(Kind::Login).hint("check user, key and password; ask the server's keeper whether the account is active"))
}

/// What a server is able to do, known once it is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Caps {
    /// An existing name can be replaced atomically.
    atomic_replace: bool,
    /// Files and folders can be made to survive a power cut of the server.
    sync: bool,
}

/// How many bytes a request may carry: (read, written).
#[derive(Clone, Copy)]
enum Pieces {
    /// The number of the request by which the server was asked, if it can be.
    Asked(Option<u32>),
    Known(usize, usize),
}

struct SftpSession {
    wire: Wire<ssh2::Channel>,
    base: PathBuf,
    caps: Caps,
    pieces: Pieces,
    /// Keeps the connection open as long as its channel.
    session: ssh2::Session,
    tcp: Arc<TcpStream>,
    timeout: Duration,
}

impl SftpSession {
    fn at(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// How many bytes a request may (read, write). The question was sent with the login: no file waits for its answer.
    fn pieces(&mut self) -> Result<(usize, usize)> {
        let asked = match self.pieces {
            Pieces::Known(read, write) => return Ok((read, write)),
            Pieces::Asked(asked) => asked,
        };
        let told = match asked {
            Some(id) => self.wire.limits(id)?,
            None => None,
        };
        let most = |limit: u64| if limit == 0 { PIECE_BYTES } else { usize::try_from(limit).unwrap_or(PIECE_BYTES_MAX).clamp(1024, PIECE_BYTES_MAX) };
        let (read, write) = told.map_or((PIECE_BYTES, PIECE_BYTES), |(read, write)| (most(read), most(write)));
        self.pieces = Pieces::Known(read, write);
        Ok((read, write))
    }

    fn fail_in_folder(&mut self, status: &Status, what: &str, path: &Path) -> Error {
        let error = status.error(what, path);
        if error.kind() == Kind::NotFound
            && let Some(folder) = path.parent()
            && matches!(self.wire.stat(folder), Ok(Ok(None)))
        {
            return missing_folder(folder);
        }
        error
    }

    /// Closes a file of which not all was written, and gives why: to a server that counts it as open, a rename of it may be
    /// one to come.
    fn left(&mut self, handle: &[u8], why: Error) -> Error {
        if why.kind() != Kind::Lost {
            // What went wrong first is told.
            let _ = self.wire.close(handle);
        }
        why
    }

    /// Writes a stream into an open file, from that byte on; gives how many bytes there were.
    fn write_pieces(&mut self, handle: &[u8], first: u64, from: &mut dyn Read, path: &Path) -> Result<u64> {
        let mut pending: VecDeque<u32> = VecDeque::new();
        let (_, most) = self.pieces()?;
        let mut piece = vec![0; most];
        let mut offset = first;
        loop {
            let mut filled = 0;
            while filled < piece.len() {
                match from.read(&mut piece[filled..]) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(source_error(&e)),
                }
            }
            if filled > 0 {
                pending.push_back(self.wire.send_write(handle, offset, &piece[..filled])?);
                offset += filled as u64;
            }
            let last = filled < piece.len();
            while pending.len() * most >= IN_FLIGHT_BYTES || (last && !pending.is_empty()) {
                if let Some(id) = pending.pop_front()
                    && let Answer::Status(Some(status)) = self.wire.answer(id)?
                {
                    return Err(status.error("write", path).hint(FULL_HINT));
                }
            }
            if last {
                return Ok(offset - first);
            }
        }
    }
}

impl Session for SftpSession {
    fn syncs(&self) -> bool {
        self.caps.sync
    }

    fn is_over(&mut self) -> bool {
        hung_up(&self.tcp)
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        let path = self.at(path);
        let asked = self.wire.send_stat(&path)?;
        self.stat_of(asked, &path)
    }

    fn dated(&mut self, _: &Path) -> Result<Dated> {
        Ok(Dated::Listed)
    }

    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let path = self.at(path);
        let handle = match self.wire.handle(wire::OPENDIR, &wire::Body::default().path(&path))? {
            Ok(handle) => handle,
            Err(status) if status.error("", &path).kind() == Kind::NotFound => return Err(missing_folder(&path)),
            Err(status) => return Err(status.error("list", &path)),
        };
        while let Some(names) = self.wire.read_folder(&handle)?.map_err(|s| s.error("list", &path))? {
            for name in names.into_iter().filter(|n| n.name != b"." && n.name != b"..") {
                let entry = match name.mode.map(|m| m & 0o170_000) {
                    Some(0o040_000) => Entry::Folder,
                    Some(0o100_000) => Entry::File,
                    _ => Entry::Other,
                };
                each(Listed { name: name.name, entry, size: name.size, modified: name.modified })?;
            }
        }
        self.wire.close(&handle)?;
        Ok(())
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read, _: u64, mode: Option<u32>) -> Result<u64> {
        let path = self.at(path);
        let handle = match self.wire.open(&path, FOR_WRITING)? {
            Ok(handle) => handle,
            Err(status) => return Err(self.fail_in_folder(&status, "create", &path)),
        };
        let written = self.write_pieces(&handle, 0, from, &path).map_err(|e| self.left(&handle, e))?;
        let ending = self.send_end(&handle, mode)?;
        self.end(ending, &path).map(|()| written)
    }

    fn write_on(&mut self, path: &Path, from_byte: u64, from: &mut dyn Read, mode: Option<u32>) -> Result<u64> {
        let path = self.at(path);
        let handle = self.wire.open(&path, FOR_WRITING_ON)?.map_err(|status| status.error("write on in", &path))?;
        let written = self.write_pieces(&handle, from_byte, from, &path).map_err(|e| self.left(&handle, e))?;
        let ending = self.send_end(&handle, mode)?;
        self.end(ending, &path).map(|()| written)
    }

    fn write_all(&mut self, files: &mut [Outgoing<'_>]) -> Result<Vec<Result<u64>>> {
        self.write_together(files)
    }

    fn stat_all(&mut self, paths: &[PathBuf]) -> Result<Vec<Option<Stat>>> {
        self.stat_together(paths)
    }

    fn rename_all(&mut self, names: &[(PathBuf, PathBuf)], how: Rename) -> Vec<Result<()>> {
        self.rename_together(names, how)
    }

    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        let path = self.at(path);
        let handle = self.wire.open(&path, FOR_READING)?.map_err(|s| s.error("open", &path))?;
        let (most, _) = self.pieces()?;
        let mut pending: VecDeque<u32> = VecDeque::new();
        let (mut asked, mut total) = (0u64, 0u64);
        let mut end = false;
        loop {
            while !end && pending.len() * most < IN_FLIGHT_BYTES {
                // At most `PIECE_BYTES_MAX`.
                pending.push_back(self.wire.send_read(&handle, asked, most as u32)?);
                asked += most as u64;
            }
            let Some(id) = pending.pop_front() else { break };
            match self.wire.answer(id)? {
                Answer::Data(bytes) if !end => {
                    to.write_all(&bytes).map_err(|e| source_error(&e))?;
                    total += bytes.len() as u64;
                    if bytes.len() < most {
                        // A short piece: what was asked beyond it stands at other offsets.
                        while let Some(id) = pending.pop_front() {
                            self.wire.answer(id)?;
                        }
                        asked = total;
                    }
                }
                Answer::Status(Some(s)) if s.code == Status::EOF => end = true,
                Answer::Status(Some(s)) => return Err(s.error("read", &path)),
                _ => {}
            }
        }
        match self.wire.close(&handle)? {
            None => Ok(total),
            Some(status) => Err(status.error("close", &path)),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()> {
        let (from, to) = (self.at(from), self.at(to));
        if how == Rename::Replace && self.caps.atomic_replace {
            let asked = self.wire.send_posix_rename(&from, &to)?;
            return self.renamed(asked, &to, how);
        }
        if how == Rename::New {
            let asked = self.wire.send_rename(&from, &to)?;
            return self.renamed(asked, &to, how);
        }
        let Some(status) = self.wire.rename(&from, &to)? else { return Ok(()) };
        if !matches!(self.wire.stat(&to)?, Ok(Some(_))) {
            return Err(status.error("rename to", &to));
        }
        // Without posix-rename there is a moment without the name; the old file is put back if the rename fails.
        let aside = from.with_extension("old");
        if let Some(status) = self.wire.rename(&to, &aside)? {
            return Err(status.error("move aside", &to));
        }
        match self.wire.rename(&from, &to)? {
            None => {
                self.wire.remove(&aside)?;
                Ok(())
            }
            Some(status) => {
                self.wire.rename(&aside, &to)?;
                Err(status.error("rename to", &to))
            }
        }
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let path = self.at(path);
        match self.wire.remove(&path)?.map(|s| s.error("delete", &path)) {
            Some(e) if e.kind() != Kind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn make_folder(&mut self, path: &Path) -> Result<()> {
        let path = self.at(path);
        match self.wire.make_folder(&path)? {
            None => Ok(()),
            Some(status) => match self.wire.stat(&path)? {
                Ok(Some(_)) => Ok(()),
                _ => Err(status.error("make the folder", &path)),
            },
        }
    }

    fn sync_folder(&mut self, path: &Path) -> Result<()> {
        if !self.caps.sync {
            return Ok(());
        }
        let path = self.at(path);
        // A server that gives no handle for a folder can't sync it; the file itself is synced already.
        let Ok(handle) = self.wire.open_folder(&path)? else { return Ok(()) };
        self.wire.sync(&handle)?;
        self.wire.close(&handle)?;
        Ok(())
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.at(path)
    }

    fn execute(&mut self, args: &[Vec<u8>], limit: Duration, stop: &Stop) -> Result<()> {
        command::run(&self.session, &command::line(args), limit, stop, self.timeout)
    }

    fn send(&mut self, path: &Path, _: &mut dyn Read, _: &Direct) -> Result<()> {
        Err(Error::endpoint(format!("SFTP sends no file straight to {}", path.display())).kind_of(Kind::Unsupported))
    }
}

impl Drop for SftpSession {
    fn drop(&mut self) {
        // A dead connection must not hold the worker for the whole time limit, once for each object that is closed.
        self.session.set_timeout(500);
    }
}
