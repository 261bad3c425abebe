//! FTP and FTPS (suppaftp), with an OpenSSL connector of ours that resumes the control connection's TLS session.
//!
//! Always binary, never the address that a server gives for its data connection, never in clear once TLS is asked for.
//! A "226" alone is no proof that a file is whole: the engine compares sizes.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslSession, SslSessionCacheMode, SslStream, SslVersion};
use secrecy::ExposeSecret;
use suppaftp::types::FileType;
use suppaftp::{Encoding, FtpError, ImplFtpStream, Mode, Status};

use super::{Direct, Endpoint, Rename, Session, Stat, Transport, connect_tcp, lost, missing_folder, pump, source_error};
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

/// One control connection's TLS: its first session is what each data connection resumes, as vsftpd and ProFTPD demand.
struct Tls {
    context: SslConnector,
    session: Arc<Mutex<Option<SslSession>>>,
    timeout: Duration,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    fn new(config: &EndpointConfig) -> Result<Self> {
        let fail = |e: openssl::error::ErrorStack| Error::endpoint(format!("TLS can't be set up: {e}")).at("handshake");
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(fail)?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(fail)?;
        if let Some(ca) = &config.ca_file {
            builder.set_ca_file(ca).map_err(|e| {
                Error::endpoint(format!("ca_file {} can't be read: {e}", ca.display())).at("handshake").hint("it must hold certificates in PEM")
            })?;
        }
        if let Some((cert, key)) = &config.client_cert {
            builder
                .set_certificate_chain_file(cert)
                .and_then(|()| builder.set_private_key_file(key.as_ref().unwrap_or(cert), SslFiletype::PEM))
                .map_err(fail)?;
        }
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        let session = Arc::new(Mutex::new(None));
        let first = session.clone();
        builder.set_new_session_callback(move |_, s| {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(s);
        });
        Ok(Self { context: builder.build(), session, timeout: config.timeout })
    }
}

impl suppaftp::TlsConnector for Tls {
    type Stream = TlsData;
    fn connect(&self, domain: &str, tcp: TcpStream) -> suppaftp::FtpResult<TlsData> {
        let secure = |e: String| FtpError::SecureError(e);
        tcp.set_read_timeout(Some(self.timeout)).and_then(|()| tcp.set_write_timeout(Some(self.timeout))).map_err(FtpError::ConnectionError)?;
        let mut ssl = self.context.configure().and_then(|c| c.into_ssl(domain)).map_err(|e| secure(e.to_string()))?;
        let held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*held {
            // A used TLS 1.3 session is marked as not resumable: each data connection gets a fresh copy.
            let copy = session.to_der().and_then(|der| SslSession::from_der(&der)).map_err(|e| secure(e.to_string()))?;
            crate::sys::resume_tls_session(&mut ssl, &copy).map_err(|e| secure(e.to_string()))?;
        }
        drop(held);
        ssl.connect(tcp).map(|stream| TlsData { stream, open: true }).map_err(|e| secure(tls_reason(&e)))
    }
}

/// Why a TLS handshake failed, in words.
fn tls_reason<S: fmt::Debug>(e: &openssl::ssl::HandshakeError<S>) -> String {
    use openssl::ssl::HandshakeError;
    match e {
        HandshakeError::Failure(mid) => {
            let verify = mid.ssl().verify_result();
            if verify == openssl::x509::X509VerifyResult::OK { mid.error().to_string() } else { format!("the certificate is not valid: {verify}") }
        }
        other => format!("{other:?}").chars().take(120).collect(),
    }
}

/// A TLS stream that says goodbye when it is dropped: servers take a missing close_notify for a cut file.
#[derive(Debug)]
struct TlsData {
    stream: SslStream<TcpStream>,
    open: bool,
}

impl suppaftp::TlsStream for TlsData {
    type InnerStream = SslStream<TcpStream>;
    fn tcp_stream(mut self) -> suppaftp::FtpResult<TcpStream> {
        self.open = false;
        self.stream.get_ref().try_clone().map_err(FtpError::ConnectionError)
    }
    fn get_ref(&self) -> &TcpStream {
        self.stream.get_ref()
    }
    fn mut_ref(&mut self) -> &mut SslStream<TcpStream> {
        &mut self.stream
    }
}

impl Drop for TlsData {
    fn drop(&mut self) {
        if self.open && self.stream.shutdown().is_ok() {
            // What the server still sends (session tickets) is read, or the close would reset the connection.
            let _ = self.stream.get_ref().set_read_timeout(Some(Duration::from_secs(5)));
            let _ = self.stream.get_ref().shutdown(Shutdown::Write);
            let mut rest = [0; 4096];
            while matches!(self.stream.ssl_read(&mut rest), Ok(n) if n > 0) {}
        }
    }
}

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
    fn connect(&self, _: &Stop) -> Result<Box<dyn Session>> {
        let config = &self.config;
        let secure = config.url.scheme() == "ftps";
        let host = config.host();
        let mut stream = if secure && config.implicit_tls {
            let tls = Tls::new(config)?;
            connect_tcp(config)?; // names the step at which a firewall stops us; the library connects by itself
            let mut stream = Stream::connect_secure_implicit((host.as_str(), config.port()), tls, &host).map_err(|e| ftp_error(&e, "handshake"))?;
            // Without these, vsftpd refuses every data connection in implicit mode too.
            for command in ["PBSZ 0", "PROT P"] {
                stream.custom_command(command, &[Status::CommandOk]).map_err(|e| ftp_error(&e, "handshake"))?;
            }
            stream
        } else {
            let stream = Stream::connect_with_stream(connect_tcp(config)?).map_err(|e| {
                let hint =
                    if secure { "if the server speaks TLS from the first byte, set tls = \"implicit\"" } else { "check that the port is an FTP server's" };
                ftp_error(&e, "handshake").hint(hint)
            })?;
            if secure { stream.into_secure(Tls::new(config)?, &host).map_err(|e| ftp_error(&e, "handshake"))? } else { stream }
        };
        stream.set_encoding(Bytes);
        let password = config.password.as_ref().map_or("", |p| p.expose_secret());
        let user = if config.user.is_empty() { "anonymous" } else { config.user.as_str() };
        stream.login(latin(user.as_bytes()), latin(password.as_bytes())).map_err(|e| login_error(&e, user, secure))?;
        stream.transfer_type(FileType::Binary).map_err(|e| ftp_error(&e, "login"))?;
        let (connect_timeout, timeout) = (config.connect_timeout, config.timeout);
        let mut stream = stream.passive_stream_builder(move |address| {
            let tcp = TcpStream::connect_timeout(&address, connect_timeout).map_err(FtpError::ConnectionError)?;
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
        Ok(Box::new(FtpSession { stream, base, passive: config.passive }))
    }
    fn direct(&self) -> bool {
        false
    }
    fn repeatable(&self) -> bool {
        true
    }
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn login_error(e: &FtpError, user: &str, secure: bool) -> Error {
    let FtpError::UnexpectedResponse(r) = e else { return ftp_error(e, "login") };
    let words = words(&r.body);
    let hint = if !secure && words.to_lowercase().contains("ssl") || words.to_lowercase().contains("tls") {
        "the server wants TLS: use ftps://"
    } else {
        "check user and password; ask the server's keeper whether the account is active"
    };
    Error::endpoint(format!("the login of {user} was refused: {words}")).at("login").kind_of(Kind::Login).hint(hint)
}

fn words(body: &[u8]) -> String {
    crate::error::shown_bytes(String::from_utf8_lossy(body).trim().chars().take(200).collect::<String>().as_bytes())
}

fn ftp_error(e: &FtpError, step: &'static str) -> Error {
    let error = match e {
        FtpError::ConnectionError(e) => lost(e),
        FtpError::SecureError(why) => {
            let hint = if why.contains("certificate") {
                "if the server has its own authority, set ca_file to its certificate; the host in the url must be one that the certificate names"
            } else {
                "check that the server offers TLS 1.2 or later on this port"
            };
            Error::endpoint(format!("TLS: {why}")).hint(hint)
        }
        FtpError::UnexpectedResponse(r) => {
            let code = r.status.code();
            let error = Error::endpoint(format!("the server answers {code}: {}", words(&r.body)));
            match code {
                552 | 452 => error.kind_of(Kind::Full).hint("the server's disk or quota is full: ask its keeper"),
                421 => error.kind_of(Kind::Lost),
                425 | 522 => error.hint("the data connection failed: ask the firewall's keeper for the server's passive ports; some servers demand TLS session reuse, which is done here"),
                530 => error.kind_of(Kind::Login),
                500..=504 => error.kind_of(Kind::Unsupported),
                550 | 553 => error.kind_of(Kind::Denied),
                _ => error,
            }
        }
        other => Error::endpoint(format!("the server does not speak FTP: {other}")).kind_of(Kind::Lost),
    };
    error.at(step)
}

struct FtpSession {
    stream: Stream,
    base: PathBuf,
    passive: bool,
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

    /// Opens the data connection for an upload; a server without EPSV gets PASV.
    fn open_upload(&mut self, name: &str) -> suppaftp::FtpResult<suppaftp::TransferStream<TlsData>> {
        match self.stream.put_with_stream(name) {
            Err(FtpError::UnexpectedResponse(r)) if self.passive && matches!(r.status.code(), 500..=502 | 522) => {
                self.stream.set_mode(Mode::Passive);
                self.stream.put_with_stream(name)
            }
            other => other,
        }
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
        if missing { missing_folder(folder) } else { error.hint("ask the server's keeper for the right to write, rename and delete there") }
    }

    fn exists(&mut self, path: &Path) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }
}

impl Session for FtpSession {
    fn syncs(&self) -> bool {
        false
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        let name = self.at(path)?;
        match self.stream.size(&name) {
            Ok(size) => Ok(Some(Stat { size: Some(size as u64), folder: false })),
            Err(FtpError::UnexpectedResponse(r)) if r.status.code() == 550 => {
                // 550 is also the answer for a folder, and of servers that refuse SIZE: a folder can be entered.
                let here = self.stream.pwd().map_err(|e| ftp_error(&e, "stat"))?;
                if self.stream.cwd(&name).is_ok() {
                    self.stream.cwd(here).map_err(|e| ftp_error(&e, "stat"))?;
                    return Ok(Some(Stat { size: None, folder: true }));
                }
                Ok(None)
            }
            Err(FtpError::UnexpectedResponse(r)) if matches!(r.status.code(), 500..=504) => match self.stream.nlst(Some(&name)) {
                Ok(names) if names.is_empty() => Ok(None),
                Ok(_) => Ok(Some(Stat { size: None, folder: false })),
                Err(FtpError::UnexpectedResponse(_)) => Ok(None),
                Err(e) => Err(ftp_error(&e, "stat")),
            },
            Err(e) => Err(ftp_error(&e, "stat")),
        }
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read, _: u64, mode: Option<u32>) -> Result<u64> {
        let name = self.at(path)?;
        let mut data = match self.open_upload(&name) {
            Ok(data) => data,
            Err(e) => return Err(self.refused(ftp_error(&e, "upload"), path)),
        };
        let total = pump(from, &mut |bytes| data.write_all(bytes).map_err(|e| lost(&e).at("upload")))?;
        data.flush().map_err(|e| lost(&e).at("upload"))?;
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

    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        let name = self.at(path)?;
        let mut data = self.stream.retr_as_stream(&name).map_err(|e| ftp_error(&e, "read"))?;
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
        if how == Rename::New && self.exists(to)? {
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
                Err(error)
            }
        }
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let name = self.at(path)?;
        match self.stream.rm(&name) {
            Err(e) => {
                let error = ftp_error(&e, "remove");
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
