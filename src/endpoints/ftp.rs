//! FTP and FTPS (suppaftp), with an OpenSSL connector of ours that resumes the control connection's TLS session.
//!
//! Always binary, never the address that a server gives for its data connection, never in clear once TLS is asked for.
//! A "226" alone is no proof that a file is whole: the engine compares sizes.

mod answer;
mod listing;
mod look;
mod secure;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret;
use suppaftp::list::ListParser;
use suppaftp::types::FileType;
use suppaftp::{Encoding, FtpError, ImplFtpStream, Mode, Status};

use answer::{DataPort, code_of, features, ftp_error, latin, login_error, words};
use listing::{LINE_BYTES_MAX, Line, entry, listed_by_looks, pasv_address};
use secure::{Tls, TlsData};

use super::reach::{Told, connect_tcp, hung_up};
use super::{Dated, Direct, Endpoint, Listed, Rename, Resumes, Session, Stat, Transport, lost, missing_folder, pump, source_error};
use crate::config::EndpointConfig;
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;

/// The transport.
#[derive(Debug)]
pub struct Ftp;

impl Transport for Ftp {
    fn schemes(&self) -> &'static [&'static str] {
        &["ftp", "ftps"]
    }
    fn open(&self, config: Arc<EndpointConfig>) -> Result<Arc<dyn Endpoint>> {
        Ok(Arc::new(Server { config }))
    }
}

struct Server {
    config: Arc<EndpointConfig>,
}

type Stream = ImplFtpStream<TlsData>;

/// Names go to the server byte for byte: each byte is the character of that number on our side of suppaftp.
#[derive(Debug)]
struct Bytes;

impl Encoding for Bytes {
    fn decode(&self, bytes: &[u8]) -> String {
        bytes.iter().copied().map(char::from).collect()
    }
    fn encode(&self, text: &str) -> std::io::Result<Vec<u8>> {
        let byte = |c: char| u8::try_from(c).map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidInput));
        text.chars().map(byte).collect()
    }
}

impl Endpoint for Server {
    fn connect(&self, _: &Stop, told: &mut Told<'_>) -> Result<Box<dyn Session>> {
        let config = &self.config;
        let secure = config.url.scheme() == "ftps";
        let host = config.host();
        let mut agreed = None;
        let mut stream = if secure && config.implicit_tls {
            let tls = Tls::new(config)?;
            agreed = Some(tls.agreed.clone());
            connect_tcp(config, told)?; // names the step at which a firewall stops us; the library connects by itself
            let mut stream = Stream::connect_secure_implicit((host.as_str(), config.port()), tls, &host).map_err(|e| ftp_error(&e, "handshake"))?;
            // Without these, vsftpd refuses every data connection in implicit mode too.
            for command in ["PBSZ 0", "PROT P"] {
                stream.custom_command(command, &[Status::CommandOk]).map_err(|e| ftp_error(&e, "handshake"))?;
            }
            stream
        } else {
            let stream = Stream::connect_with_stream(connect_tcp(config, told)?).map_err(|e| {
                let hint =
                    if secure { "if the server speaks TLS from the first byte, set tls = \"implicit\"" } else { "check that the port is an FTP server's" };
                let error = ftp_error(&e, "handshake");
                Error::endpoint(format!("the server does not greet: {}", error.message())).at("handshake").kind_of(error.kind()).hint(hint)
            })?;
            if secure {
                let tls = Tls::new(config)?;
                agreed = Some(tls.agreed.clone());
                stream.into_secure(tls, &host).map_err(|e| match e {
                    FtpError::UnexpectedResponse(r) => Error::endpoint(format!("the server offers no TLS: it answers {} to AUTH TLS", words(&r.body)))
                        .at("handshake")
                        .hint("ask its keeper to switch TLS on, or use ftp://, by which password and files go in clear"),
                    e => ftp_error(&e, "handshake"),
                })?
            } else {
                stream
            }
        };
        stream.set_encoding(Bytes);
        let greeting = words(stream.get_welcome_msg().unwrap_or_default().as_bytes());
        let secured = agreed.map_or_else(|| "no TLS: password and files go in clear".to_owned(), |a| a.lock().unwrap_or_else(PoisonError::into_inner).clone());
        told("handshake", format!("{secured}; {greeting}"))?;
        let password = config.password.as_ref().map_or("", |p| p.expose_secret());
        let user = if config.user.is_empty() { "anonymous" } else { config.user.as_str() };
        stream.login(latin(user.as_bytes()), latin(password.as_bytes())).map_err(|e| login_error(&e, user, secure))?;
        stream.transfer_type(FileType::Binary).map_err(|e| ftp_error(&e, "login"))?;
        let able = features(stream.feat().unwrap_or_default().into_keys());
        told("login", format!("{user}, by password; {able}"))?;
        let data = Arc::new(Mutex::new(None));
        let opened = data.clone();
        let (connect_timeout, timeout) = (config.connect_timeout, config.timeout);
        let mut stream = stream.passive_stream_builder(move |address| {
            let refused = |e: std::io::Error| FtpError::ConnectionError(std::io::Error::new(e.kind(), DataPort(address, e.kind(), connect_timeout)));
            let tcp = TcpStream::connect_timeout(&address, connect_timeout).map_err(refused)?;
            opened.lock().unwrap_or_else(PoisonError::into_inner).replace(address);
            tcp.set_nodelay(true)
                .and_then(|()| tcp.set_read_timeout(Some(timeout)))
                .and_then(|()| tcp.set_write_timeout(Some(timeout)))
                .map_err(FtpError::ConnectionError)?;
            Ok(tcp)
        });
        // The control connection's address is used, whatever the server says its own is.
        stream.set_passive_nat_workaround(true);
        stream = if config.passive { stream } else { stream.active_mode(connect_timeout) };
        if config.passive {
            stream.set_mode(Mode::ExtendedPassive);
        }
        let path = crate::config::resolve::percent_decoded(config.url.path());
        // As curl has it: from the login folder; `//srv/in` from the root.
        let base = PathBuf::from(path.strip_prefix('/').unwrap_or(&path));
        Ok(Box::new(FtpSession { stream, base, passive: config.passive, extended: config.passive, data, here: None, exact: None, told_unread: false }))
    }
    fn direct(&self) -> bool {
        false
    }
    fn repeatable(&self) -> bool {
        true
    }
    fn resumes(&self) -> Resumes {
        Resumes::ToItsEnd
    }
}

struct FtpSession {
    stream: Stream,
    base: PathBuf,
    passive: bool,
    /// EPSV is asked for, as long as the server knows it.
    extended: bool,
    /// The data port that was opened last.
    data: Arc<Mutex<Option<SocketAddr>>>,
    /// The folder that the session stays in, once it was asked for.
    here: Option<String>,
    /// Whether it lists when files were changed last (MLSD), or tells it for each (MDTM): LIST tells minutes, or days.
    exact: Option<Exact>,
    /// That lines of its lists can't be read was told.
    told_unread: bool,
}

/// Where a server tells when files were changed last.
#[derive(Clone, Copy, PartialEq)]
enum Exact {
    /// In its listings.
    Listed,
    /// For each file (MDTM, RFC 3659, 3).
    Asked,
    /// Not at all.
    Nowhere,
}

impl FtpSession {
    /// The path as it goes to the server. A line end would smuggle in a second command.
    fn at(&self, path: &Path) -> Result<String> {
        let full = self.base.join(path);
        let bytes = full.as_os_str().as_bytes();
        if bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(Error::file(format!("the name {} holds a line end, which FTP can't carry", crate::error::shown(path)))
                .hint("rename the file, or set output.name"));
        }
        Ok(latin(bytes))
    }

    /// Opens a data connection; a server that refuses EPSV, in whatever words, gets PASV.
    fn open_data<T>(&mut self, open: impl Fn(&mut Stream) -> suppaftp::FtpResult<T>) -> suppaftp::FtpResult<T> {
        self.opened().take();
        let first = open(&mut self.stream);
        // What is refused before a port is opened is the port itself, not what was to go there.
        let refused = matches!(first, Err(FtpError::UnexpectedResponse(_))) && self.opened().is_none();
        if !self.passive || !self.extended || !refused {
            return first;
        }
        self.stream.set_mode(Mode::Passive);
        let second = open(&mut self.stream);
        if matches!(second, Err(FtpError::UnexpectedResponse(_))) && self.opened().is_none() {
            // Neither is known: the next attempt asks for the better one again.
            self.stream.set_mode(Mode::ExtendedPassive);
        } else {
            self.extended = false;
        }
        second
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a listing. MLSD tells times and kinds in one way; where a server lacks it, LIST is read by its looks.
    fn open_listing(&mut self, name: &str) -> suppaftp::FtpResult<(suppaftp::TransferStream<TlsData>, Line)> {
        let opening = [Status::AboutToSend, Status::AlreadyOpen];
        for (command, parse) in [("MLSD", ListParser::parse_mlsd as Line), ("LIST", listed_by_looks as Line)] {
            match self.open_data(|stream| stream.custom_data_command(format!("{command} {name}"), &opening)) {
                Ok((_, data)) => {
                    self.exact = Some(match self.exact {
                        _ if command == "MLSD" => Exact::Listed,
                        Some(Exact::Nowhere) => Exact::Nowhere,
                        _ => Exact::Asked,
                    });
                    return Ok((data, parse));
                }
                Err(FtpError::UnexpectedResponse(r)) if matches!(code_of(&r), 500..=504 | 522) => {}
                Err(e) => return Err(e),
            }
        }
        Err(FtpError::BadResponse)
    }

    /// Why an upload was refused: a missing folder is told as such.
    fn refused(&mut self, error: Error, path: &Path) -> Error {
        let full = self.base.join(path);
        let Some(folder) = full.parent().filter(|f| error.kind() == Kind::Denied && !f.as_os_str().is_empty()) else { return error };
        let here = self.stream.pwd();
        let missing = matches!(self.stream.cwd(latin(folder.as_os_str().as_bytes())), Err(FtpError::UnexpectedResponse(_)));
        if let Ok(here) = here {
            // A connection that can't go back is dropped by the pool after this error.
            let _ = self.stream.cwd(here);
        }
        // A folder may not be entered either where it may not be read: some servers say so.
        if missing && !error.message().to_lowercase().contains("permission denied") {
            return missing_folder(folder);
        }
        let right = if error.step() == Some("list") { "list and read" } else { "write, rename and delete" };
        error.hint(format!("ask the server's keeper for the right to {right} there"))
    }

    /// Stores a stream, from that byte of the file on (REST, RFC 3659, 5).
    fn store(&mut self, path: &Path, from_byte: usize, from: &mut dyn Read, mode: Option<u32>) -> Result<u64> {
        let name = self.at(path)?;
        let opened = self.open_data(|stream| {
            if from_byte > 0 {
                stream.resume_transfer(from_byte)?;
            }
            stream.put_with_stream(&name)
        });
        let mut data = match opened {
            Ok(data) => data,
            Err(e) => return Err(self.refused(ftp_error(&e, "upload"), path)),
        };
        let sent = pump(from, &mut |bytes| data.write_all(bytes).map_err(|e| lost(&e).at("upload")));
        let sent = sent.and_then(|total| data.flush().map(|()| total).map_err(|e| lost(&e).at("upload")));
        let total = match sent {
            Err(e) if e.kind() != Kind::Lost => return Err(e),
            // A server that can't write cuts the data connection, and says why on the other one.
            Err(e) => {
                return Err(data
                    .finish()
                    .err()
                    .filter(|answer| matches!(answer, FtpError::UnexpectedResponse(_)))
                    .map_or(e, |answer| ftp_error(&answer, "upload")));
            }
            Ok(total) => total,
        };
        data.finish().map_err(|e| ftp_error(&e, "upload"))?;
        if let Some(mode) = mode {
            match self.stream.site(format!("CHMOD {mode:o} {name}")) {
                Ok(_) => {}
                Err(FtpError::UnexpectedResponse(r)) => {
                    return Err(Error::endpoint(format!("the server can't set permissions: {}", words(&r.body)))
                        .at("upload")
                        .kind_of(Kind::Unsupported)
                        .hint("leave `mode` out of this destination"));
                }
                Err(e) => return Err(ftp_error(&e, "upload")),
            }
        }
        Ok(total)
    }
}

impl Session for FtpSession {
    fn syncs(&self) -> bool {
        false
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        self.look(path)
    }

    fn is_over(&mut self) -> bool {
        hung_up(&*self.stream.get_ref())
    }

    fn is_taken(&mut self, path: &Path) -> Result<bool> {
        self.is_file(path)
    }

    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let name = self.at(path)?;
        let (data, parse) = match self.open_listing(&name) {
            Ok(opened) => opened,
            Err(FtpError::BadResponse) => return Err(Error::endpoint("the server lists no folders (MLSD, LIST)").at("list").kind_of(Kind::Unsupported)),
            Err(e) => return Err(self.refused(ftp_error(&e, "list"), &path.join("x"))),
        };
        let mut lines = std::io::BufReader::new(data);
        let (mut line, mut empty, mut understood) = (Vec::new(), true, false);
        let mut unread = None;
        loop {
            line.clear();
            // A line without end would fill the memory.
            let n = std::io::BufRead::read_until(&mut std::io::Read::take(&mut lines, LINE_BYTES_MAX), b'\n', &mut line).map_err(|e| lost(&e).at("list"))?;
            if n == 0 {
                break;
            }
            empty = false;
            let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |at| at + 1);
            match entry(latin(&line[..end]).as_str(), parse) {
                listing::Read::Entry(listed) => {
                    understood = true;
                    each(listed)?;
                }
                listing::Read::Passed => {}
                listing::Read::Unread if unread.is_none() => unread = Some(words(&line[..end])),
                listing::Read::Unread => {}
            }
        }
        lines.into_inner().finish().map_err(|e| ftp_error(&e, "list"))?;
        if let Some(line) = unread {
            let message = format!("the server lists its folder in a way that is not understood: {}", crate::formats::text::quoted(&line));
            if !understood {
                return Err(Error::endpoint(message)
                    .at("list")
                    .kind_of(Kind::Unsupported)
                    .hint("ask its keeper for MLSD, or for lists as `ls -l` writes them"));
            }
            if !std::mem::replace(&mut self.told_unread, true) {
                tracing::warn!("{message}: what stands there is passed over");
            }
        }
        // Some servers list a folder that is not there as one without files.
        if empty && !name.is_empty() && !self.is_folder(&name)? {
            return Err(missing_folder(&self.base.join(path)));
        }
        Ok(())
    }

    fn dated(&mut self, path: &Path) -> Result<Dated> {
        match self.exact {
            Some(Exact::Asked) => {}
            Some(Exact::Nowhere) => return Ok(Dated::Untold),
            Some(Exact::Listed) | None => return Ok(Dated::Listed),
        }
        let name = self.at(path)?;
        match self.stream.mdtm(&name) {
            Ok(time) => Ok(Dated::At(time.and_utc().timestamp())),
            // It is gone, or is not told.
            Err(FtpError::UnexpectedResponse(r)) if code_of(&r) == 550 => Ok(Dated::Untold),
            Err(FtpError::UnexpectedResponse(r)) if matches!(code_of(&r), 500..=504) => {
                self.exact = Some(Exact::Nowhere);
                Ok(Dated::Untold)
            }
            Err(e) => Err(ftp_error(&e, "list")),
        }
    }

    fn data_channel(&mut self) -> Option<String> {
        let port = *self.opened();
        let Some(address) = port else { return Some("active: the server connects to this host".to_owned()) };
        let mut out = format!("passive, {address} takes connections");
        let named = self.stream.custom_command("PASV", &[Status::PassiveMode]).ok().and_then(|r| pasv_address(&words(&r.body)));
        if let Some(named) = named.filter(|ip| *ip != address.ip()) {
            out.push_str(&format!("; to PASV the server names {named} (it stands behind NAT), which is not used"));
        }
        Some(out)
    }

    fn write_on(&mut self, path: &Path, from_byte: u64, from: &mut dyn Read, mode: Option<u32>) -> Result<u64> {
        let offset = usize::try_from(from_byte).map_err(|_| Error::endpoint("the file is too large to go on with").kind_of(Kind::Unsupported))?;
        self.store(path, offset, from, mode)
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read, _: u64, mode: Option<u32>) -> Result<u64> {
        self.store(path, 0, from, mode)
    }

    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        let name = self.at(path)?;
        let mut data = self.open_data(|stream| stream.retr_as_stream(&name)).map_err(|e| ftp_error(&e, "read"))?;
        let mut buf = vec![0; 256 * 1024];
        let mut total = 0;
        loop {
            let n = data.read(&mut buf).map_err(|e| lost(&e).at("read"))?;
            if n == 0 {
                break;
            }
            to.write_all(&buf[..n]).map_err(|e| source_error(&e))?;
            total += n as u64;
        }
        data.finish().map_err(|e| ftp_error(&e, "read"))?;
        Ok(total)
    }

    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()> {
        // RNTO replaces on most servers: a name that must be free is looked at first.
        // A folder of that name refuses the rename by itself.
        if how == Rename::New && self.is_file(to)? {
            return Err(Error::endpoint(format!("{} is there already", crate::error::shown(to))).kind_of(Kind::Exists));
        }
        let (source, target) = (self.at(from)?, self.at(to)?);
        match self.stream.rename(&source, &target) {
            Ok(()) => Ok(()),
            Err(e) => {
                let error = ftp_error(&e, "rename");
                if error.kind() == Kind::Denied && !self.exists(from)? {
                    return Err(error.kind_of(Kind::NotFound));
                }
                if error.kind() == Kind::Denied && how == Rename::New && self.exists(to)? {
                    return Err(Error::endpoint(format!("{} is there already", crate::error::shown(to))).kind_of(Kind::Exists));
                }
                Err(error)
            }
        }
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let name = self.at(path)?;
        match self.stream.rm(&name) {
            Err(e) => {
                let error = ftp_error(&e, "delete");
                if error.kind() == Kind::Denied && !self.exists(path)? { Ok(()) } else { Err(error) }
            }
            Ok(()) => Ok(()),
        }
    }

    fn make_folder(&mut self, path: &Path) -> Result<()> {
        let name = self.at(path)?;
        match self.stream.mkdir(&name) {
            Ok(()) => Ok(()),
            Err(e) => match self.stat(path)? {
                Some(stat) if stat.folder => Ok(()),
                _ => Err(ftp_error(&e, "folder")),
            },
        }
    }

    fn sync_folder(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn send(&mut self, path: &Path, _: &mut dyn Read, _: &Direct) -> Result<()> {
        Err(Error::endpoint(format!("FTP sends no file straight to {}", path.display())).kind_of(Kind::Unsupported))
    }
}
