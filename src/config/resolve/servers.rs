//! Endpoints and code tables, built from their keys.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::super::names::Names;
use super::super::{Batch, EndpointConfig, LookupConfig};
use super::Builder;
use super::parts::percent_decoded;
use crate::formats;
use crate::options::{Entry, Options, nearest};
use crate::transform::lookup::Duplicates;

impl Builder<'_> {
    pub(super) fn endpoint(&mut self, name: &str, entry: &Entry, o: &Options) -> Option<EndpointConfig> {
        let Some(text) = o.text("url") else {
            self.mistake(
                entry.key_span.clone(),
                format!("the endpoint `{name}` has no url"),
                "needs a url",
                Some("as in url = \"sftp://user@host/folder\"".into()),
            );
            return None;
        };
        let span = o.span_of("url");
        let mut url = match url::Url::parse(&text) {
            Ok(url) => url,
            Err(e) => {
                self.mistake(span, format!("`endpoints.{name}.url` is no URL: {e}"), "expected scheme://user@host:port/path", None);
                return None;
            }
        };
        const SCHEMES: &[&str] = &["sftp", "ftp", "ftps", "http", "https"];
        if !SCHEMES.contains(&url.scheme()) {
            let hint = nearest(url.scheme(), SCHEMES.iter().copied()).map(|n| format!("did you mean {n}://?"));
            self.mistake(span, format!("the scheme {}:// is not known", url.scheme()), format!("expected one of {}", SCHEMES.join(", ")), hint);
            return None;
        }
        if url.host_str().is_none_or(str::is_empty) {
            self.mistake(span, format!("`endpoints.{name}.url` has no host"), "expected scheme://user@host:port/path", None);
            return None;
        }
        // curl and the servers know a query of http alone: what stands there would be dropped.
        let cut =
            if url.fragment().is_some() { Some(("#", "%23")) } else { (url.query().is_some() && !url.scheme().starts_with("http")).then_some(("?", "%3F")) };
        if let Some((sign, spelt)) = cut {
            self.mistake(span, format!("`endpoints.{name}.url` ends at the {sign}"), format!("write {spelt} for a {sign} in a name"), None);
            return None;
        }
        let decode = |t: &str| percent_decoded(t);
        let user = decode(url.username());
        let in_url = url.password().map(decode);
        // Neither fails for a URL with a host.
        let _ = url.set_password(None);
        let password = o.text("password").or(in_url);
        let plain = matches!(url.scheme(), "ftp" | "http");
        let secret = password.is_some() || o.has("headers");
        let host = url.host_str().unwrap_or_default().to_owned();
        let loopback = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        if plain && secret && !loopback {
            self.warnings.push(format!(
                "endpoint {name}: the password crosses the network readable for everybody ({}://): use {}s or sftp",
                url.scheme(),
                url.scheme()
            ));
        }
        for (header, entry) in o.map("headers") {
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let wrong = if header.is_empty() || !header.chars().all(token) {
                "is no name of a header"
            } else if entry.as_text().contains(['\r', '\n', '\0']) {
                "holds a line end, which would begin another header"
            } else if header.eq_ignore_ascii_case("idempotency-key") {
                "is the relay's own: it tells one request from another"
            } else {
                continue;
            };
            self.mistake(entry.key_span.clone(), format!("`headers`: {header:?} {wrong}"), "can't be sent", None);
        }
        let base = self.base.clone();
        let path = |key: &str| o.text(key).map(|p| base.join(p));
        for key in ["identity_file", "ca_file", "client_cert", "client_key"] {
            if let Some(missing) = path(key).filter(|file| !file.exists()) {
                let told = missing.display().to_string();
                // A key that was pasted where its file is meant.
                let told = if told.contains('\n') { "such file".to_owned() } else { told };
                self.mistake(
                    o.span_of(key),
                    format!("`{key}`: there is no {told}"),
                    "names no file",
                    Some("its path starts at the folder of this file".into()),
                );
            }
        }
        let identity_file = path("identity_file");
        if let Some(key) = identity_file.as_ref().and_then(|k| std::fs::metadata(k).ok())
            && key.mode() & 0o077 != 0
        {
            let shown = identity_file.as_ref().map(|k| k.display().to_string()).unwrap_or_default();
            self.mistake(
                o.span_of("identity_file"),
                "others may read the private key",
                "must be readable by its owner only",
                Some(format!("chmod 600 {shown}")),
            );
        }
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let known_hosts = path("known_hosts").unwrap_or_else(|| home.join(".ssh/known_hosts"));
        let records = o.word("publish") == "records";
        if records && o.word("method") == "multipart" {
            self.mistake(o.span_of("method"), "records are sent as JSON, not as a form", "expected \"POST\" or \"PUT\"", None);
        }
        if o.has("batch") && !records {
            self.mistake(o.span_of("batch"), "`batch` is about records that are sent by themselves", "needs publish = \"records\"", None);
        }
        let seconds = |key: &str| o.duration(key).unwrap_or(Duration::from_secs(60));
        Some(EndpointConfig {
            name: name.to_owned(),
            user,
            password: password.map(SecretString::from),
            passphrase: o.text("passphrase").map(SecretString::from),
            agent: o.flag("agent"),
            known_hosts,
            connections: o.count("connections").unwrap_or(4),
            connect_timeout: seconds("connect_timeout"),
            timeout: seconds("timeout"),
            limit_rate: o.size("limit_rate").filter(|r| *r > 0),
            keepalive: seconds("keepalive"),
            implicit_tls: o.word("tls") == "implicit",
            ca_file: path("ca_file"),
            passive: o.flag("passive"),
            method: if records && !o.has("method") { "POST".into() } else { o.word("method") },
            field: o.word("field"),
            webdav_move: o.word("publish") == "move",
            names: Names::named(&o.word("filename_encoding")),
            digest: o.word("auth") == "digest",
            records: records.then(|| o.count("batch").map_or(Batch::One, Batch::Many)),
            headers: o.map("headers").iter().map(|(n, e)| (n.clone(), SecretString::from(e.as_text().to_owned()))).collect(),
            client_cert: path("client_cert").map(|cert| (cert, path("client_key"))),
            identity_file,
            url,
        })
    }

    pub(super) fn lookup(&mut self, name: &str, entry: &Entry, o: &Options) -> Option<LookupConfig> {
        let values: Vec<(String, String)> = o.map("values").iter().map(|(k, e)| (k.clone(), e.as_text().to_owned())).collect();
        let key = o.texts("key").unwrap_or_default();
        let file = self.template(o, "file", &["name", "stem", "path", "ext"]);
        match (o.has("file"), o.has("values")) {
            (true, true) | (false, false) => {
                self.mistake(entry.key_span.clone(), format!("the lookup `{name}` needs either `file` or `values`"), "one of the two", None);
                return None;
            }
            (true, false) if key.is_empty() => {
                self.mistake(entry.key_span.clone(), format!("the lookup `{name}` has no key"), "needs `key`, the column by which records are found", None);
                return None;
            }
            _ => {}
        }
        let format = o.entry("format").map_or("csv", |f| f.as_text());
        let Some(format) = formats::named(format) else {
            return None; // told by the schema, or not built yet
        };
        if !format.reads() {
            self.mistake(o.span_of("format"), format!("{} is written, not read", format.name()), "no format of a table", None);
            return None;
        }
        for (key, why) in format.mistakes(o, crate::options::Side::Input) {
            self.mistake(o.span_of(key), format!("`{key}`: {why}"), "", None);
        }
        let duplicates = if o.word("duplicates") == "error" { Duplicates::Error } else { Duplicates::First };
        Some(LookupConfig { name: name.to_owned(), file, base: self.base.clone(), key, value: o.text("value"), duplicates, values, format, input: o.clone() })
    }
}
