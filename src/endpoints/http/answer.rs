//! What a server answers, and whose fault it is.

use std::path::Path;
use std::time::Duration;

use crate::config::EndpointConfig;
use crate::endpoints::WAITS;
use crate::error::{Error, Kind};

/// What is of use in the head of an answer.
#[derive(Debug, Default)]
pub(super) struct Head {
    status: u32,
    pub(super) length: Option<u64>,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
    pub(super) location: Option<String>,
    retry_after: Option<Duration>,
}

impl Head {
    /// Takes in a line; an answer that follows another one (100, 401 before a digest) begins anew.
    pub(super) fn take(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if line.starts_with("HTTP/") {
            let status = line.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            *self = Self { status, ..Self::default() };
        }
        let Some((name, value)) = line.split_once(':') else { return };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => self.length = value.parse().ok(),
            "etag" => self.etag = Some(value.to_owned()),
            "last-modified" => self.modified = Some(value.to_owned()),
            "location" => self.location = Some(value.to_owned()),
            "retry-after" => self.retry_after = pause(value),
            _ => {}
        }
    }
    /// Whether it sends on to that address, by its path.
    pub(super) fn leads_to(&self, url: &str) -> bool {
        let base = url::Url::parse(url).ok();
        let to = base.as_ref().zip(self.location.as_ref()).and_then(|(base, to)| base.join(to).ok());
        to.zip(base).is_some_and(|(to, base)| to.path() == base.path())
    }
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A number of seconds, or a date (RFC 9110, 10.2.3).
fn pause(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(until.duration_since(jiff::Timestamp::now())).ok()
}

/// An answer.
pub(super) struct Answer {
    pub(super) code: u32,
    pub(super) words: String,
    pub(super) head: Head,
    /// libcurl sent the request a second time: what is refused now may have been carried out the first time.
    pub(super) repeated: bool,
}

/// Whose fault an answer is, and what to do.
pub(super) fn answer_error(answer: &Answer, what: &str, path: &Path, config: &EndpointConfig) -> Error {
    let text = format!(
        "the server answers {} to {what} {}{}{}{}",
        answer.code,
        crate::error::shown(path),
        answer.head.location.as_ref().filter(|_| (300..400).contains(&answer.code)).map_or_else(String::new, |to| {
            // What stands behind the question mark may be a secret.
            let to: String = to.split('?').next().unwrap_or_default().chars().take(200).collect();
            format!(", which it redirects to {}", crate::error::shown_bytes(to.as_bytes()))
        }),
        if answer.words.is_empty() { "" } else { ": " },
        answer.words
    );
    let error = match answer.code {
        400 if config.url.scheme() == "http" && wants_tls(&answer.words) => {
            Error::endpoint(text).kind_of(Kind::Lost).hint(format!("the port speaks TLS: set endpoints.{}.url to https://", config.name))
        }
        400 | 413 | 414 | 415 | 422 => Error::file(text).hint("B refuses this file: see its words, correct the mapping or the export, then retry"),
        401 | 403 | 407 => {
            let right = if matches!(what, "GET" | "HEAD" | "PROPFIND") { "read" } else { "write" };
            let hint = format!("check user, password or the Authorization header; ask the server's keeper for the right to {right} there");
            Error::endpoint(text).kind_of(Kind::Login).hint(hint)
        }
        404 | 410 => Error::endpoint(text).kind_of(Kind::NotFound).hint(format!("check endpoints.{}.url and the route's path", config.name)),
        409 => Error::endpoint(text).kind_of(Kind::NotFound).hint("most often the folder does not exist at the server: create it, or set create = true"),
        // What has to do with the request, and would be the same the next time.
        406 | 411 | 428 | 431 | 451 => Error::endpoint(text).hint("the server refuses every such request: ask its keeper, with these words"),
        405 | 501 => Error::endpoint(text)
            .kind_of(Kind::Unsupported)
            .hint("the server does not know this method there: check `method` and `publish`, or ask its keeper to allow it"),
        412 => Error::endpoint(text).kind_of(Kind::Exists).hint("the name is taken at the server: the file waits until it is free, or see `if_exists`"),
        // A gateway gave up on the server behind it: whether that one did what was asked is unknown.
        408 | 502 | 504 => Error::endpoint(text).kind_of(Kind::Lost).hint(WAITS),
        207 => Error::endpoint(text).hint("what it says there has failed: ask the server's keeper, with these words"),
        200..=299 if what == "PROPFIND" => {
            Error::endpoint(text).kind_of(Kind::Unsupported).hint("it is no WebDAV server, and lists no folders: name the files in `include`")
        }
        // No part of a file was asked for, and one that is still made is none.
        200..=299 => Error::endpoint(text).hint("that is no whole file: it is asked for again by itself"),
        // A server that fails while it takes a file may have it all the same.
        500 if what == "PUT" => Error::endpoint(text).kind_of(Kind::Doubtful).hint(WAITS),
        507 => Error::endpoint(text).kind_of(Kind::Full).hint("the server's disk or quota is full: ask its keeper"),
        // Who posted has posted: such an answer may come after the work is done.
        300..=303 if matches!(what, "POST" | "multipart") => {
            Error::endpoint(text).kind_of(Kind::Lost).hint("put the final address into the endpoint's url; look at B whether it has the file")
        }
        300..=399 => Error::endpoint(text).hint("the server redirects: put the final address into the endpoint's url"),
        _ => Error::endpoint(text).hint(WAITS),
    };
    match answer.head.retry_after {
        Some(pause) => error.not_before(pause),
        None => error,
    }
}

/// What nginx, Apache and Go's servers say to a request in clear on a port that wants TLS.
pub(super) fn wants_tls(words: &str) -> bool {
    let words = words.to_lowercase();
    ["sent to https port", "to an https server", "plain http to an ssl", "plain http to an tls"].iter().any(|known| words.contains(known))
}

/// A connection over which nothing goes any more.
pub(super) fn stalled_for(timeout: Duration) -> Error {
    Error::endpoint(format!("HTTP: no byte moved for {timeout:?}")).kind_of(Kind::Lost).hint(WAITS)
}

/// What TLS answers to who shows no certificate, or one that it does not take (RFC 8446, 6.2): after the request, which it
/// does not hand on.
const UNWANTED: [&str; 5] = ["certificate required", "bad certificate", "unknown ca", "certificate expired", "access denied"];

pub(super) fn curl_error(e: &curl::Error, config: &EndpointConfig) -> Error {
    let detail = e.extra_description().unwrap_or_else(|| e.description());
    let detail: String = detail.chars().take(300).collect();
    let error = Error::endpoint(format!("HTTP: {detail}"));
    if e.is_couldnt_resolve_host() || e.is_couldnt_resolve_proxy() {
        error.at("name").hint(format!("check the host in endpoints.{}.url", config.name))
    } else if e.is_couldnt_connect() {
        error.at("port").hint("check the port, and that the server runs")
    } else if detail.contains(" alert ") && UNWANTED.iter().any(|words| detail.contains(words)) {
        error.at("handshake").hint(match config.client_cert {
            Some(_) => "the server does not take the certificate of client_cert: ask its keeper which one it takes, and until when",
            None => "the server wants a certificate of ours: set client_cert and client_key to those that its keeper gave you",
        })
    } else if e.is_peer_failed_verification() || e.is_ssl_connect_error() || e.is_ssl_cacert_badfile() || e.is_ssl_certproblem() {
        error.at("handshake").hint(crate::endpoints::tls::remedy(&detail))
    } else {
        error.kind_of(Kind::Lost).hint(WAITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_when_to_come_again_in_seconds_or_by_a_date() {
        assert_eq!(pause("120"), Some(Duration::from_secs(120)));
        assert_eq!(pause("Wed, 21 Oct 2015 07:28:00 GMT"), None, "it is past");
        assert!(pause("Sat, 21 Oct 2215 07:28:00 GMT").is_some());
        assert_eq!(pause("soon"), None);
    }
}
