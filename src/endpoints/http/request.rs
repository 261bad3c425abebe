//! One request and its answer, as libcurl makes it: what is told of its course decides what can be known when it is cut.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::Instant;

use curl::easy::{Auth, InfoType, List};
use secrecy::ExposeSecret;

use super::answer::{Answer, Head, curl_error, stalled_for};
use super::{Body, HttpSession};
use crate::config::EndpointConfig;
use crate::endpoints::source_error;
use crate::error::{Error, Kind, Result};

/// What is kept of a server's words.
const ANSWER_BYTES_MAX: usize = 4096;

impl HttpSession {
    /// Makes one request, with the endpoint's secrets or without them.
    pub(super) fn request_as(
        &mut self,
        config: &EndpointConfig,
        method: &str,
        url: &str,
        headers: &[String],
        body: Option<Body<'_>>,
        sink: Option<&mut dyn Write>,
    ) -> Result<Answer> {
        self.easy.reset();
        self.prepare(config, method, url, headers, body.as_ref().map(|b| b.size)).map_err(|e| curl_error(&e, config))?;
        let mut words = Vec::new();
        let head = RefCell::new(Head::default());
        let mut broken = None;
        // libcurl sends a request again by itself when a kept connection turns out to be cut, unless it has a body.
        let (sent, stale) = (Cell::new(0), std::mem::take(&mut self.stale));
        let (moved, stalled) = (Cell::new(Instant::now()), Cell::new(false));
        // Without a body, all of it goes with the first line.
        let mut lacking = body.as_ref().map_or(0, |b| b.size);
        let result = {
            let (mut sink, mut body) = (sink, body);
            let (stop, broken, lacking) = (self.stop.clone(), &mut broken, &mut lacking);
            let (sent, moved, stalled) = (&sent, &moved, &stalled);
            let mut transfer = self.easy.transfer();
            let set = || -> std::result::Result<(), curl::Error> {
                transfer.header_function(|line| {
                    head.borrow_mut().take(line);
                    true
                })?;
                transfer.write_function(|bytes| {
                    // What comes with a refusal is no file.
                    if let Some(sink) = sink.as_mut().filter(|_| head.borrow().is_success()) {
                        return Ok(if sink.write_all(bytes).is_ok() { bytes.len() } else { 0 });
                    }
                    if words.len() < ANSWER_BYTES_MAX {
                        words.extend_from_slice(bytes);
                    }
                    Ok(bytes.len())
                })?;
                transfer.progress_function(move |_, _, _, _| {
                    // Until the request goes out, the time to connect counts.
                    stalled.set(sent.get() > 0 && moved.get().elapsed() > config.timeout);
                    !stop.is_set() && !stalled.get()
                })?;
                transfer.debug_function(|what, _| {
                    sent.set(sent.get() + u32::from(matches!(what, InfoType::HeaderOut)));
                    if !matches!(what, InfoType::Text) {
                        moved.set(Instant::now());
                    }
                })?;
                if let Some(body) = &mut body {
                    transfer.read_function(|to| match body.from.read(to) {
                        Ok(n) => {
                            *lacking = lacking.saturating_sub(n as u64);
                            Ok(n)
                        }
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
            let error = if stalled.get() { stalled_for(config.timeout) } else { curl_error(&e, config) };
            // The body was begun on a connection that the server had closed before.
            self.stale = e.is_send_fail_rewind();
            return Err(match error.kind() {
                Kind::Lost if self.stale => error.kind_of(Kind::Stale),
                // A server that has not all of a request can't have carried it out; what it makes of half a PUT shows there.
                Kind::Lost if method == "POST" && (sent.get() == 0 || lacking > 0) => error.kind_of(Kind::Other),
                _ => error,
            });
        }
        let code = self.easy.response_code().map_err(|e| curl_error(&e, config))?;
        let text = String::from_utf8_lossy(&words);
        let words = crate::error::shown_bytes(text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect::<String>().as_bytes());
        // Digest needs a first request that is refused.
        let usual = if config.digest { 2 } else { 1 };
        Ok(Answer { code, words, repeated: stale || sent.get() > usual, head: head.into_inner() })
    }

    fn prepare(&mut self, config: &EndpointConfig, method: &str, url: &str, headers: &[String], size: Option<u64>) -> std::result::Result<(), curl::Error> {
        let easy = &mut self.easy;
        easy.url(url)?;
        easy.connect_timeout(config.connect_timeout)?;
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
            let mut auth = Auth::new();
            easy.http_auth(if config.digest { auth.digest(true) } else { auth.basic(true) })?;
        }
        let mut list = List::new();
        // A server that never answers "100 Continue" would cost a second for each file.
        list.append("Expect:")?;
        // As with curl's -H, the configured one stands for ours; but a form is of its own type alone.
        let is_form = |header: &str| header.contains("; boundary=");
        let named = |header: &str, name: &str| header.split(':').next().is_some_and(|own| own.eq_ignore_ascii_case(name));
        for header in headers.iter().filter(|h| is_form(h) || !config.headers.iter().any(|(name, _)| named(h, name))) {
            list.append(header)?;
        }
        for (name, value) in config.headers.iter().filter(|(name, _)| !headers.iter().any(|h| is_form(h) && named(h, name))) {
            list.append(&format!("{name}: {}", value.expose_secret()))?;
        }
        easy.http_headers(list)?;
        // A kept connection that is cut makes libcurl send the request again by itself, which a POST does not bear.
        easy.fresh_connect(method == "POST" || self.stale)?;
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
}
