//! HTTP(S) and WebDAV (libcurl): PUT, POST and multipart straight to the final name, or PUT and MOVE.
//!
//! Certificates are always verified. Only a GET follows redirects, and no other server is told a secret. What a server
//! says is cut short before it is shown. A POST that was cut after its body is never sent again by itself.

mod answer;
mod propfind;
mod request;
mod stream;

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use curl::easy::Easy;

use super::reach::{Told, connect_tcp};
use super::{Content, Dated, Direct, Endpoint, Entry, Listed, Rename, Session, Stat, Transport, Version, missing_folder, source_error, tls};
use crate::config::EndpointConfig;
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;
use answer::{Answer, answer_error, wants_tls};
use stream::{Counted, Sink};

/// How often a server may send on to another address.
const REDIRECTS_MAX: usize = 5;

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
        Ok(Box::new(HttpSession::new(&self.config, stop)))
    }
    fn greet(&self, stop: &Stop, told: &mut Told<'_>) -> Result<()> {
        let config = &self.config;
        if config.url.scheme() == "https" && !proxied() {
            let tcp = connect_tcp(config, &mut |_, _| Ok(()))?;
            let connector = tls::connector(config)?.build();
            let stream = connector.connect(&config.host(), tcp).map_err(|e| tls::error(&tls::reason(&e)))?;
            told("handshake", tls::described(stream.ssl()))?;
        }
        let mut session = HttpSession::new(config, stop);
        let url = session.folder_url(Path::new(""));
        let answer = session.request("OPTIONS", &url, &[], None, None)?;
        if config.url.scheme() == "http" {
            if answer.code == 400 && wants_tls(&answer.words) {
                return Err(Error::endpoint(format!("the server answers {}: {}", answer.code, answer.words))
                    .at("handshake")
                    .hint("the port wants TLS: use https://"));
            }
            told("handshake", "no TLS: everything goes in clear".to_owned())?;
        }
        // What is said of this question alone tells nothing of others.
        let words = answer.words.clone();
        let (what, answer) = match answer.code {
            403 | 500..=599 => ("HEAD", Answer { words, ..session.request("HEAD", &url, &[], None, None)? }),
            _ => ("OPTIONS", answer),
        };
        match answer.code {
            401 | 403 | 407 | 500..=599 if answer.code != 501 => Err(session.fail(&answer, what, Path::new("/")).at("login")),
            300..=399 if !answer.head.leads_to(&url) => Err(session.fail(&answer, what, Path::new("/")).at("login")),
            code => {
                let who = if config.user.is_empty() { "no user is configured" } else { config.user.as_str() };
                told("login", format!("{who}; the server answers {code}"))?;
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
    /// Folders are there to PROPFIND alone: HEAD answers that there is nothing (Apache without an index).
    hides_folders: Option<bool>,
    /// The server had closed the kept connection: the request that follows is made on a new one, and is made again.
    stale: bool,
}

/// A request's body: its stream and its size.
struct Body<'b> {
    from: &'b mut dyn Read,
    size: u64,
}

impl HttpSession {
    fn new(config: &Arc<EndpointConfig>, stop: &Stop) -> Self {
        Self { easy: Easy::new(), config: config.clone(), stop: stop.clone(), hides_folders: None, stale: false }
    }

    fn url(&self, path: &Path) -> String {
        let (base, query) = split_at_query(self.config.url.as_str());
        let base = base.trim_end_matches('/');
        let path = path.as_os_str().as_bytes();
        if path.is_empty() {
            return format!("{base}{query}");
        }
        let mut out = format!("{base}/");
        for &b in path.strip_prefix(b"/").unwrap_or(path) {
            if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) { out.push(char::from(b)) } else { out.push_str(&format!("%{b:02X}")) }
        }
        out + query
    }

    /// The same of a folder, which ends in a slash.
    fn folder_url(&self, path: &Path) -> String {
        let url = self.url(path);
        let (whole, query) = split_at_query(&url);
        format!("{}/{query}", whole.trim_end_matches('/'))
    }

    /// Makes one request. `method` has a body only where `body` is given.
    fn request(&mut self, method: &str, url: &str, headers: &[String], body: Option<Body<'_>>, sink: Option<&mut dyn Write>) -> Result<Answer> {
        self.request_as(&self.config.clone(), method, url, headers, body, sink)
    }

    /// Gets what is at `url`, or where the server says that it is now. Another server is told neither user nor password nor
    /// any header of ours.
    fn get(&mut self, url: &str, headers: &[String], sink: &mut dyn Write) -> Result<Answer> {
        let mut at = url::Url::parse(url).map_err(|e| Error::endpoint(format!("{url} is no address: {e}")))?;
        let mut config = self.config.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.request_as(&config, "GET", at.as_str(), headers, None, Some(&mut *sink))?;
            let Some(next) = answer.head.location.as_ref().filter(|_| matches!(answer.code, 301 | 302 | 303 | 307 | 308)) else { return Ok(answer) };
            let next = at.join(next).map_err(|e| Error::endpoint(format!("the server redirects to what is no address: {e}")))?;
            if !matches!(next.scheme(), "http" | "https") || (at.scheme() == "https" && next.scheme() == "http") {
                return Err(Error::endpoint(format!("the server redirects from {} to {}://", at.scheme(), next.scheme()))
                    .at("fetch")
                    .hint("what was asked in secret is not asked in clear: tell the server's keeper, or put the final address into the endpoint's url"));
            }
            if next.origin() != at.origin() {
                config = Arc::new(self.config.without_credentials());
            }
            at = next;
        }
        Err(Error::endpoint(format!("the server redirects more than {REDIRECTS_MAX} times")).at("fetch").hint("put the final address into the endpoint's url"))
    }

    fn plain(&mut self, method: &str, path: &Path, headers: &[String]) -> Result<Answer> {
        let url = self.url(path);
        self.request(method, &url, headers, None, None)
    }

    /// Whether the server's folders are seen by PROPFIND alone, as that of the endpoint tells.
    fn hides_folders(&mut self) -> Result<bool> {
        if let Some(known) = self.hides_folders {
            return Ok(known);
        }
        let base = self.folder_url(Path::new(""));
        let seen = !matches!(self.request("HEAD", &base, &[], None, None)?.code, 403..=405);
        let hides = !seen && self.folder_at(&base)?.is_some();
        self.hides_folders = Some(hides);
        Ok(hides)
    }

    /// The folder of that address, as WebDAV tells (RFC 4918, 9.1, depth 0); none: there is no folder.
    fn folder_at(&mut self, url: &str) -> Result<Option<Stat>> {
        let ask = propfind::ASK.as_bytes();
        let headers = ["Depth: 0".to_owned(), "Content-Type: application/xml".to_owned()];
        let mut sink = std::io::sink();
        let answer = self.request("PROPFIND", url, &headers, Some(Body { from: &mut &*ask, size: ask.len() as u64 }), Some(&mut sink))?;
        Ok((answer.code == 207).then_some(Stat { size: None, folder: true }))
    }

    /// Why a file was refused: a missing folder, which servers answer in many ways, is told as such.
    fn refused(&mut self, answer: &Answer, what: &str, path: &Path) -> Error {
        if matches!(answer.code, 403 | 404 | 409 | 500) && what == "PUT" {
            let mut folder = path.parent().unwrap_or(Path::new("")).as_os_str().to_owned();
            folder.push("/");
            let url = self.folder_url(Path::new(&folder));
            let gone = self.request("HEAD", &url, &[], None, None).is_ok_and(|a| a.code == 404);
            // An interface may hold what it has no folder for.
            let held = answer.code == 500 && self.plain("HEAD", path, &[]).is_ok_and(|a| a.code == 200);
            if gone && !held && self.folder_at(&url).is_ok_and(|found| found.is_none()) {
                // What stands behind the question mark may be a secret.
                let missing = missing_folder(Path::new(split_at_query(&url).0));
                let hint = missing.advice().unwrap_or_default().to_owned();
                // An interface that has no folders says here what it dislikes.
                let words = self.fail(answer, what, path).message().to_owned();
                return Error::endpoint(format!("{}; {words}", missing.message())).kind_of(missing.kind()).hint(hint);
            }
        }
        self.fail(answer, what, path)
    }

    fn fail(&self, answer: &Answer, what: &str, path: &Path) -> Error {
        answer_error(answer, what, path, &self.config)
    }
}

impl Session for HttpSession {
    fn syncs(&self) -> bool {
        false
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>> {
        let answer = self.plain("HEAD", path, &[])?;
        match answer.code {
            200..=299 => Ok(Some(Stat { size: answer.head.length, folder: false })),
            404 | 410 if self.hides_folders()? => {
                let url = self.url(path);
                self.folder_at(&url)
            }
            404 | 410 => Ok(None),
            // A folder without its slash is redirected to the one with it; any other place may be a page to log in.
            300..=399 if answer.head.leads_to(&self.folder_url(path)) => Ok(Some(Stat { size: None, folder: true })),
            _ => Err(self.fail(&answer, "HEAD", path)),
        }
    }

    fn dated(&mut self, _: &Path) -> Result<Dated> {
        Ok(Dated::Listed)
    }

    fn list(&mut self, path: &Path, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let url = self.folder_url(path);
        // A folder of two hundred files is a hundred kilobytes of XML, one of two hundred thousand a hundred megabytes.
        let mut spool = tempfile::tempfile().map_err(|e| source_error(&e))?;
        let ask = propfind::ASK.as_bytes();
        let headers = ["Depth: 1".to_owned(), "Content-Type: application/xml".to_owned()];
        let answer = self.request("PROPFIND", &url, &headers, Some(Body { from: &mut &*ask, size: ask.len() as u64 }), Some(&mut spool))?;
        match answer.code {
            207 => propfind::entries(spool, &url, &mut |mut listed| {
                // Its size need not be told (RFC 4918, 15.4).
                if listed.entry == Entry::File && listed.size.is_none() {
                    listed.size = self.stat(&path.join(std::ffi::OsStr::from_bytes(&listed.name)))?.and_then(|stat| stat.size);
                }
                each(listed)
            }),
            404 => Err(missing_folder(Path::new(&url))),
            405 | 501 => Err(Error::endpoint("the server lists no folders (PROPFIND)").at("list").kind_of(Kind::Unsupported)),
            _ => Err(self.fail(&answer, "PROPFIND", path)),
        }
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read, size: u64, _: Option<u32>) -> Result<u64> {
        let mut bytes = Counted { inner: from, total: 0 };
        let url = self.url(path);
        let put = self.request("PUT", &url, &[], Some(Body { from: &mut bytes, size }), None);
        let answer = put.map_err(super::stale_is_lost)?;
        match answer.code {
            200..=299 => Ok(bytes.total),
            _ => Err(self.refused(&answer, "PUT", path)),
        }
    }

    fn read(&mut self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        let mut sink = Sink { inner: to, total: 0 };
        let url = self.url(path);
        let answer = self.get(&url, &[], &mut sink)?;
        match answer.code {
            200 | 203 | 204 => Ok(sink.total),
            _ => Err(self.fail(&answer, "GET", path)),
        }
    }

    fn read_changed(&mut self, path: &Path, known: &Version, to: &mut dyn Write) -> Result<Option<Version>> {
        let url = self.url(path);
        let unless = [("If-None-Match", &known.etag), ("If-Modified-Since", &known.modified)];
        let headers: Vec<String> = unless.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_ref()?))).collect();
        let answer = self.get(&url, &headers, to)?;
        match answer.code {
            200 | 203 | 204 => Ok(Some(Version { etag: answer.head.etag, modified: answer.head.modified })),
            304 => Ok(None),
            _ => Err(self.fail(&answer, "GET", path)),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, how: Rename) -> Result<()> {
        let overwrite = if how == Rename::Replace { "T" } else { "F" };
        // Servers compare it with their own address, which has no user.
        let mut destination = url::Url::parse(&self.url(to)).map_err(|e| Error::endpoint(format!("{} is no address: {e}", crate::error::shown(to))))?;
        // An http address may always be without one.
        let _ = destination.set_username("").and_then(|()| destination.set_password(None));
        let headers = [format!("Destination: {destination}"), format!("Overwrite: {overwrite}")];
        let answer = self.plain("MOVE", from, &headers)?;
        match answer.code {
            // That something has failed, and was told elsewhere in the answer (RFC 4918, 9.9.4).
            207 => Err(self.fail(&answer, "MOVE", from)),
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
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
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
                let headers = [key, "Content-Type: application/octet-stream".into(), format!("Content-Disposition: attachment; {}", file_name(&name))];
                self.request("POST", &url, &headers, Some(Body { from, size: how.size }), None)?
            }
            "multipart" => {
                let boundary = format!("passerelle-{}", how.idempotency_key);
                let (field, name) = (form_name(&self.config.field), form_name(&name));
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
            // An API's word on this record; of a PUT it would be about its folder.
            409 if how.content == Content::Records || method != "PUT" => {
                let error = Error::file(self.fail(&answer, &method, path).message());
                Err(error.hint("B refuses this: see its words, correct the mapping or the export, then retry"))
            }
            _ if how.content == Content::Records => Err(self.fail(&answer, &method, path)),
            _ => Err(self.refused(&answer, &method, path)),
        }
    }
}

/// What stands before the question mark of an address, and the rest, which may be a secret.
fn split_at_query(url: &str) -> (&str, &str) {
    url.find('?').map_or((url, ""), |at| url.split_at(at))
}

/// A name in a form (HTML, 4.10.22.8, multipart/form-data): a quote would end it, a line end begin a header.
fn form_name(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// A file's name in `Content-Disposition` (RFC 6266, 4.3): as it is where ASCII has it, and else in both ways.
fn file_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() && !matches!(c, '"' | '\\') { c } else { '_' }).collect();
    if plain == name {
        return format!("filename=\"{plain}\"");
    }
    let exact: String =
        name.bytes().map(|b| if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    format!("filename=\"{plain}\"; filename*=UTF-8''{exact}")
}
