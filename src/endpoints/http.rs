//! HTTP(S) and WebDAV (libcurl): PUT, POST and multipart straight to the final name, or PUT and MOVE.
//!
//! Certificates are always verified, redirects are never followed by themselves, and what a server says is cut short
//! before it is shown. A POST that was cut after its body is never sent again by itself.

mod propfind;

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use curl::easy::{Auth, Easy, InfoType, List};
use secrecy::ExposeSecret;

use super::reach::{Told, connect_tcp};
use super::{Content, Direct, Endpoint, Listed, Rename, Session, Stat, Transport, missing_folder, source_error, tls};
use crate::config::EndpointConfig;
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;

/// What is kept of a server's words.
const ANSWER_BYTES_MAX: usize = 4096;

/// The transport.
#[derive(Debug)]
pub struct Http;

impl Transport for Http {
    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }
    fn open(&self, config: Arc<EndpointConfig>) -> Result<Arc<dyn Endpoint>> {
        Ok(Arc::new(Server { config }))
    }
}

struct Server {
    config: Arc<EndpointConfig>,
}

impl Endpoint for Server {
    fn connect(&self, stop: &Stop, told: &mut Told<'_>) -> Result<Box<dyn Session>> {
        // Behind a proxy, only the proxy can be reached; else a refused port is told in our own words.
        if !proxied() {
            connect_tcp(&self.config, told)?;
        }
        Ok(Box::new(HttpSession { easy: Easy::new(), config: self.config.clone(), stop: stop.clone() }))
    }
    fn greet(&self, stop: &Stop, told: &mut Told<'_>) -> Result<()> {
        let config = &self.config;
        if config.url.scheme() == "https" && !proxied() {
            let tcp = connect_tcp(config, &mut |_, _| {})?;
            let connector = tls::connector(config)?.build();
            let stream = connector.connect(&config.host(), tcp).map_err(|e| tls::error(&tls::reason(&e)))?;
            told("handshake", tls::described(stream.ssl()));
        }
        let mut session = HttpSession { easy: Easy::new(), config: config.clone(), stop: stop.clone() };
        let url = format!("{}/", session.url(Path::new("")));
        let answer = session.request("OPTIONS", &url, &[], None, None)?;
        if config.url.scheme() == "http" {
            let plain = answer.words.to_lowercase();
            if answer.code == 400 && plain.contains("https port") {
                return Err(Error::endpoint(format!("the server answers {}: {}", answer.code, answer.words))
                    .at("handshake")
                    .hint("the port wants TLS: use https://"));
            }
            told("handshake", "no TLS: everything goes in clear".to_owned());
        }
        match answer.code {
            401 | 403 | 407 => Err(session.fail(&answer, "OPTIONS", Path::new("")).at("login")),
            code => {
                let who = if config.user.is_empty() { "no user is configured" } else { config.user.as_str() };
                told("login", format!("{who}; the server answers {code}"));
                Ok(())
            }
        }
    }
    fn direct(&self) -> bool {
        !self.config.webdav_move
    }
    fn repeatable(&self) -> bool {
        self.config.method == "PUT" || self.config.webdav_move
    }
}

/// Whether the environment names a proxy.
fn proxied() -> bool {
    std::env::vars_os().any(|(name, _)| name.to_string_lossy().to_lowercase().ends_with("_proxy"))
}

struct HttpSession {
    easy: Easy,
    config: Arc<EndpointConfig>,
    stop: Stop,
}

struct Answer {
    code: u32,
    length: Option<u64>,
    words: String,
    /// libcurl sent the request a second time: what is refused now may have been carried out the first time.
    repeated: bool,
}

/// A request's body: its stream and its size.
struct Body<'b> {
    from: &'b mut dyn Read,
    size: u64,
}

impl HttpSession {
    fn url(&self, path: &Path) -> String {
        let base = self.config.url.as_str().trim_end_matches('/');
        let path = path.as_os_str().as_bytes();
        if path.is_empty() {
            return base.to_owned();
        }
        let mut out = format!("{base}/");
        for &b in path.strip_prefix(b"/").unwrap_or(path) {
            if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) { out.push(char::from(b)) } else { out.push_str(&format!("%{b:02X}")) }
        }
        out
    }

    /// Makes one request. `method` has a body only where `body` is given.
    fn request(&mut self, method: &str, url: &str, headers: &[String], body: Option<Body<'_>>, sink: Option<&mut dyn Write>) -> Result<Answer> {
        let config = self.config.clone();
        self.easy.reset();
        self.prepare(&config, method, url, headers, body.as_ref().map(|b| b.size)).map_err(|e| curl_error(&e, &config))?;
        let mut words = Vec::new();
        let mut length = None;
        let mut broken = None;
        // libcurl sends a request again by itself when a kept connection turns out to be cut.
        let mut sent = 0;
        let result = {
            let mut sink = sink;
            let mut body = body;
            let (stop, broken) = (self.stop.clone(), &mut broken);
            let mut transfer = self.easy.transfer();
            let set = || -> std::result::Result<(), curl::Error> {
                transfer.header_function(|line| {
                    let text = String::from_utf8_lossy(line);
                    if let Some((name, value)) = text.split_once(':')
                        && name.eq_ignore_ascii_case("content-length")
                    {
                        length = value.trim().parse().ok();
                    }
                    true
                })?;
                transfer.write_function(|bytes| {
                    if let Some(sink) = &mut sink {
                        return Ok(if sink.write_all(bytes).is_ok() { bytes.len() } else { 0 });
                    }
                    if words.len() < ANSWER_BYTES_MAX {
                        words.extend_from_slice(bytes);
                    }
                    Ok(bytes.len())
                })?;
                transfer.progress_function(move |_, _, _, _| !stop.is_set())?;
                transfer.debug_function(|what, _| sent += u32::from(matches!(what, InfoType::HeaderOut)))?;
                if let Some(body) = &mut body {
                    transfer.read_function(|to| match body.from.read(to) {
                        Ok(n) => Ok(n),
                        Err(e) => {
                            *broken = Some(source_error(&e));
                            Err(curl::easy::ReadError::Abort)
                        }
                    })?;
                }
                Ok(())
            };
            set().and_then(|()| transfer.perform())
        };
        if let Some(error) = broken {
            return Err(error);
        }
        if let Err(e) = result {
            if e.is_aborted_by_callback() && self.stop.is_set() {
                return Err(Error::stopped());
            }
            return Err(curl_error(&e, &config));
        }
        let code = self.easy.response_code().map_err(|e| curl_error(&e, &config))?;
        let text = String::from_utf8_lossy(&words);
        let words = crate::error::shown_bytes(text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect::<String>().as_bytes());
        Ok(Answer { code, length, words, repeated: sent > 1 })
    }

    fn prepare(&mut self, config: &EndpointConfig, method: &str, url: &str, headers: &[String], size: Option<u64>) -> std::result::Result<(), curl::Error> {
        let easy = &mut self.easy;
        easy.url(url)?;
        easy.connect_timeout(config.connect_timeout)?;
        easy.low_speed_limit(1)?;
        easy.low_speed_time(config.timeout)?;
        easy.progress(true)?;
        // Nothing is printed: it only makes libcurl tell what it sends.
        easy.verbose(true)?;
        easy.useragent(concat!("passerelle/", env!("CARGO_PKG_VERSION")))?;
        if let Some(ca) = &config.ca_file {
            easy.cainfo(ca)?;
        }
        if let Some((cert, key)) = &config.client_cert {
            easy.ssl_cert(cert)?;
            easy.ssl_key(key.as_ref().unwrap_or(cert))?;
        }
        if !config.user.is_empty() {
            easy.username(&config.user)?;
            easy.password(config.password.as_ref().map_or("", |p| p.expose_secret()))?;
            easy.http_auth(Auth::new().basic(true))?;
        }
        let mut list = List::new();
        // A server that never answers "100 Continue" would cost a second for each file.
        list.append("Expect:")?;
        for header in headers {
            list.append(header)?;
        }
        for (name, value) in &config.headers {
            list.append(&format!("{name}: {}", value.expose_secret()))?;
        }
        easy.http_headers(list)?;
        // A kept connection that is cut makes libcurl send the request again by itself, which a POST does not bear.
        easy.fresh_connect(method == "POST")?;
        match (method, size) {
            ("HEAD", _) => easy.nobody(true)?,
            ("GET", _) => easy.get(true)?,
            (_, Some(size)) => {
                easy.upload(true)?;
                easy.in_filesize(size)?;
                easy.custom_request(method)?;
            }
            (_, None) => easy.custom_request(method)?,
        }
        Ok(())
    }

    fn plain(&mut self, method: &str, path: &Path, headers: &[String]) -> Result<Answer> {
        let url = self.url(path);
        self.request(method, &url, headers, None, None)
    }

    /// Why a file was refused: a missing folder, which servers answer in many ways, is told as such.
    fn refused(&mut self, answer: &Answer, what: &str, path: &Path) -> Error {
        if matches!(answer.code, 403 | 404 | 409 | 500) && what == "PUT" {
            let mut folder = path.parent().unwrap_or(Path::new("")).as_os_str().to_owned();
            folder.push("/");
            let url = format!("{}/", self.url(Path::new(&folder)).trim_end_matches('/'));
            if self.request("HEAD", &url, &[], None, None).is_ok_and(|a| a.code == 404) {
                return missing_folder(Path::new(&url));
            }
        }
        self.fail(answer, what, path)
    }

    fn fail(&self, answer: &Answer, what: &str, path: &Path) -> Error {
        answer_error(answer, what, path, &self.config)
    }
}

/// Whose fault an answer is, and what to do.
fn answer_error(answer: &Answer, what: &str, path: &Path, config: &EndpointConfig) -> Error {
    let text = format!(
        "the server answers {} to {what} {}{}{}",
        answer.code,
        crate::error::shown(path),
        if answer.words.is_empty() { "" } else { ": " },
        answer.words
    );
    match answer.code {
        400 | 413 | 415 | 422 => Error::file(text).hint("B refuses this file: see its words, correct the mapping or the export, then retry"),
        401 | 403 | 407 => Error::endpoint(text)
            .kind_of(Kind::Login)
            .hint("check user, password or the Authorization header; ask the server's keeper for the right to write there"),
        404 => Error::endpoint(text).kind_of(Kind::NotFound).hint(format!("check endpoints.{}.url and the route's path", config.name)),
        409 => Error::endpoint(text).kind_of(Kind::NotFound).hint("most often the folder does not exist at the server: create it, or set create = true"),
        405 | 501 => Error::endpoint(text)
            .kind_of(Kind::Unsupported)
            .hint("the server does not know this method there: check `method` and `publish`, or ask its keeper to allow it"),
        412 => Error::endpoint(text).kind_of(Kind::Exists),
        // A gateway gave up on the server behind it: whether that one did what was asked is unknown.
        408 | 502 | 504 => Error::endpoint(text).kind_of(Kind::Lost).hint("the file waits and is tried again by itself"),
        507 => Error::endpoint(text).kind_of(Kind::Full).hint("the server's disk or quota is full: ask its keeper"),
        300..=399 => Error::endpoint(text).hint("the server redirects: put the final address into the endpoint's url"),
        _ => Error::endpoint(text).hint("the file waits and is tried again by itself"),
    }
}

fn curl_error(e: &curl::Error, config: &EndpointConfig) -> Error {
    let detail = e.extra_description().unwrap_or_else(|| e.description());
    let detail: String = detail.chars().take(300).collect();
    let error = Error::endpoint(format!("HTTP: {detail}"));
    if e.is_couldnt_resolve_host() || e.is_couldnt_resolve_proxy() {
        error.at("name").hint(format!("check the host in endpoints.{}.url", config.name))
    } else if e.is_couldnt_connect() {
        error.at("port").hint("check the port, and that the server runs")
    } else if e.is_peer_failed_verification() || e.is_ssl_connect_error() || e.is_ssl_cacert_badfile() || e.is_ssl_certproblem() {
        error
            .at("handshake")
            .hint("if the server has its own authority, set ca_file to its certificate; the host in the url must be one that the certificate names")
    } else {
        error.kind_of(Kind::Lost).hint("the file waits and is tried again by itself")
    }
}

impl Session for HttpSession {
    fn syncs(&self) -> bool {
        false
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        let answer = self.plain("HEAD", path, &[])?;
        match answer.code {
            200..=299 => Ok(Some(Stat { size: answer.length, folder: false })),
            404 | 410 => Ok(None),
            // A folder without its slash is redirected to the one with it.
            300..=399 => Ok(Some(Stat { size: None, folder: true })),
            _ => Err(self.fail(&answer, "HEAD", path)),
        }
    }

    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let url = format!("{}/", self.url(path).trim_end_matches('/'));
        // A folder of two hundred files is a hundred kilobytes of XML, one of two hundred thousand a hundred megabytes.
        let mut spool = tempfile::tempfile().map_err(|e| source_error(&e))?;
        let ask = propfind::ASK.as_bytes();
        let headers = ["Depth: 1".to_owned(), "Content-Type: application/xml".to_owned()];
        let answer = self.request("PROPFIND", &url, &headers, Some(Body { from: &mut &*ask, size: ask.len() as u64 }), Some(&mut spool))?;
        match answer.code {
            207 => propfind::entries(spool, &url, each),
            404 => Err(missing_folder(Path::new(&url))),
            405 | 501 => Err(Error::endpoint("the server lists no folders (PROPFIND)").at("list").kind_of(Kind::Unsupported)),
            _ => Err(self.fail(&answer, "PROPFIND", path)),
        }
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read, size: u64, _: Option<u32>) -> Result<u64> {
        let mut bytes = Counted { inner: from, total: 0 };
        let url = self.url(path);
        let answer = self.request("PUT", &url, &[], Some(Body { from: &mut bytes, size }), None)?;
        match answer.code {
            200..=299 => Ok(bytes.total),
            _ => Err(self.refused(&answer, "PUT", path)),
        }
    }

    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        let mut sink = Sink { inner: to, total: 0 };
        let url = self.url(path);
        let answer = self.request("GET", &url, &[], None, Some(&mut sink))?;
        match answer.code {
            200..=299 => Ok(sink.total),
            _ => Err(self.fail(&answer, "GET", path)),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()> {
        let overwrite = if how == Rename::Replace { "T" } else { "F" };
        let headers = [format!("Destination: {}", self.url(to)), format!("Overwrite: {overwrite}")];
        let answer = self.plain("MOVE", from, &headers)?;
        match answer.code {
            200..=299 => Ok(()),
            _ if answer.repeated => Err(self.fail(&answer, "MOVE", from).kind_of(Kind::Lost)),
            _ => Err(self.fail(&answer, "MOVE", from)),
        }
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let answer = self.plain("DELETE", path, &[])?;
        match answer.code {
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(self.fail(&answer, "DELETE", path)),
        }
    }

    fn make_folder(&mut self, path: &Path) -> Result<()> {
        let mut folder = path.as_os_str().to_owned();
        folder.push("/");
        let answer = self.plain("MKCOL", Path::new(&folder), &[])?;
        match answer.code {
            // 405: it is there already (RFC 4918, 9.3.1).
            200..=299 | 405 => Ok(()),
            _ => Err(self.fail(&answer, "MKCOL", path)),
        }
    }

    fn sync_folder(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn send(&mut self, path: &Path, from: &mut dyn Read, how: &Direct) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().replace(['"', '\r', '\n'], "_");
        let folder = path.parent().unwrap_or(Path::new(""));
        let key = format!("Idempotency-Key: {}", how.idempotency_key);
        let method = self.config.method.clone();
        let answer = match method.as_str() {
            _ if how.content == Content::Records => {
                let url = self.url(path);
                let headers = [key, "Content-Type: application/json".into(), "Accept: application/json".into()];
                self.request(&method, &url, &headers, Some(Body { from, size: how.size }), None)?
            }
            "POST" => {
                let url = self.url(folder);
                let headers = [key, "Content-Type: application/octet-stream".into(), format!("Content-Disposition: attachment; filename=\"{name}\"")];
                self.request("POST", &url, &headers, Some(Body { from, size: how.size }), None)?
            }
            "multipart" => {
                let boundary = format!("passerelle-{}", how.idempotency_key);
                let field = self.config.field.replace(['"', '\r', '\n'], "_");
                let head = format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
                );
                let tail = format!("\r\n--{boundary}--\r\n");
                let size = how.size + (head.len() + tail.len()) as u64;
                let mut body = head.as_bytes().chain(from).chain(tail.as_bytes());
                let url = self.url(folder);
                let headers = [key, format!("Content-Type: multipart/form-data; boundary={boundary}")];
                self.request("POST", &url, &headers, Some(Body { from: &mut body, size }), None)?
            }
            _ => {
                let url = self.url(path);
                let headers = if how.rename == Rename::New { vec!["If-None-Match: *".to_owned()] } else { Vec::new() };
                self.request("PUT", &url, &headers, Some(Body { from, size: how.size }), None)?
            }
        };
        match answer.code {
            200..=299 => Ok(()),
            _ if answer.repeated => Err(self.fail(&answer, &method, path).kind_of(Kind::Lost)),
            // An API's word on this record; a file's would be about its folder.
            409 if how.content == Content::Records => Err(Error::file(self.fail(&answer, &method, path).message())),
            _ if how.content == Content::Records => Err(self.fail(&answer, &method, path)),
            _ => Err(self.refused(&answer, &method, path)),
        }
    }
}

struct Counted<'c> {
    inner: &'c mut dyn Read,
    total: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(to)?;
        self.total += n as u64;
        Ok(n)
    }
}

struct Sink<'s> {
    inner: &'s mut dyn Write,
    total: u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.total += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
