//! Host keys: who the server is. An unknown, changed or revoked key is refused; only `passerelle trust` adds one.

use std::path::Path;

use openssl::base64::encode_block;
use sha2::{Digest, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, MethodType, Session};

use crate::config::EndpointConfig;
use crate::error::{Error, Kind, Result, reason};

/// `SHA256:…` as OpenSSH shows it.
pub fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", encode_block(&Sha256::digest(key)).trim_end_matches('='))
}

/// The type that stands at the start of every key, `ssh-ed25519`.
pub fn key_type(key: &[u8]) -> String {
    let length = key.get(..4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    key.get(4..4 + length.min(64)).map(|t| String::from_utf8_lossy(t).into_owned()).unwrap_or_default()
}

/// A line of `known_hosts` for a server.
pub fn line(host: &str, port: u16, key: &[u8]) -> String {
    let place = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    format!("{place} {} {}\n", key_type(key), encode_block(key))
}

struct Line {
    revoked: bool,
    text: String,
}

fn lines(path: &Path) -> Result<Vec<Line>> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => {
            return Err(Error::endpoint(format!("can't read {}: {}", path.display(), reason(&e)))
                .at("handshake")
                .hint("make it readable for the relay's user"));
        }
    };
    let line = |l: &str| {
        let l = l.trim();
        match l.split_once(char::is_whitespace) {
            _ if l.is_empty() || l.starts_with('#') => None,
            Some(("@revoked", rest)) => Some(Line { revoked: true, text: rest.trim().to_owned() }),
            // Certificates of hosts are not supported by the SSH library: such a line trusts nobody here.
            Some(("@cert-authority", _)) => None,
            _ => Some(Line { revoked: false, text: l.to_owned() }),
        }
    };
    Ok(text.lines().filter_map(line).collect())
}

/// How one line stands to a host's key. The library matches hashed names and ports; a line that it can't read matches nothing.
fn check_line(session: &Session, line: &Line, config: &EndpointConfig, key: &[u8]) -> CheckResult {
    // The library knows no patterns: `*.example` and `!bad.example` are matched here.
    let mut parts = line.text.split_whitespace();
    if let (Some(hosts), Some(_), Some(on_file)) = (parts.next(), parts.next(), parts.next())
        && hosts.contains(['*', '?', '!'])
    {
        return match (matches_patterns(hosts, config), openssl::base64::decode_block(on_file)) {
            (true, Ok(known)) if known == key => CheckResult::Match,
            (true, Ok(_)) => CheckResult::Mismatch,
            _ => CheckResult::NotFound,
        };
    }
    let Ok(mut hosts) = session.known_hosts() else { return CheckResult::Failure };
    if hosts.read_str(&line.text, KnownHostFileKind::OpenSSH).is_err() {
        return CheckResult::NotFound;
    }
    match hosts.check_port(&config.host(), config.port(), key) {
        // OpenSSH takes a line without a port for every port.
        CheckResult::NotFound if config.port() == 22 => hosts.check(&config.host(), key),
        found => found,
    }
}

/// Whether a list of patterns (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") is about this host.
fn matches_patterns(patterns: &str, config: &EndpointConfig) -> bool {
    let (host, port) = (config.host(), config.port());
    let place = format!("[{host}]:{port}");
    let is = |pattern: &str| {
        // Brackets around a host are no character class.
        let literal = pattern.replace('[', "[[]");
        globset::Glob::new(&literal).is_ok_and(|g| {
            let g = g.compile_matcher();
            g.is_match(&place) || g.is_match(&host)
        })
    };
    let mut found = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if is(not) => return false,
            Some(_) => {}
            None => found |= is(pattern),
        }
    }
    found
}

/// Asks the server for the kinds of keys that are on file: one that prefers another kind would look unknown.
pub fn prefer_known(session: &Session, config: &EndpointConfig) -> Result<()> {
    let mut kinds: Vec<String> = Vec::new();
    for line in lines(&config.known_hosts)?.iter().filter(|l| !l.revoked) {
        // A key that nobody has: the answer tells only whether the line is about this host.
        if matches!(check_line(session, line, config, b"\0"), CheckResult::Mismatch | CheckResult::Match) {
            match line.text.split_whitespace().nth(1) {
                Some("ssh-rsa") => kinds.extend(["rsa-sha2-512".to_owned(), "rsa-sha2-256".to_owned()]),
                Some(kind) => kinds.push(kind.to_owned()),
                None => {}
            }
        }
    }
    if !kinds.is_empty() {
        kinds.dedup();
        // A kind that the library does not know is left out by it.
        let _ = session.method_pref(MethodType::HostKey, &kinds.join(","));
    }
    Ok(())
}

/// Checks the server's key against `known_hosts`.
pub fn check(session: &Session, config: &EndpointConfig) -> Result<()> {
    let (key, _) = session.host_key().ok_or_else(|| Error::endpoint("the server shows no host key").at("handshake").kind_of(Kind::Login))?;
    let shown = format!("{} {}", key_type(key), fingerprint(key));
    let (host, file) = (config.host(), config.known_hosts.display());
    let mut changed = None;
    let mut known = false;
    for line in lines(&config.known_hosts)? {
        match (check_line(session, &line, config, key), line.revoked) {
            (CheckResult::Match, true) => {
                return Err(Error::endpoint(format!("the host key {shown} of {host} is revoked in {file}"))
                    .at("handshake")
                    .kind_of(Kind::Login)
                    .hint("do not connect: ask the server's keeper what happened"));
            }
            (CheckResult::Match, false) => known = true,
            (CheckResult::Mismatch, false) => changed = line.text.split_whitespace().nth(2).and_then(|k| openssl::base64::decode_block(k).ok()),
            _ => {}
        }
    }
    if known {
        return Ok(());
    }
    let error = match changed {
        Some(old) => Error::endpoint(format!("the host key of {host} has changed: it is {shown}, and {file} has {} {}", key_type(&old), fingerprint(&old)))
            .hint(format!("somebody may be in between; ask the server's keeper for the new fingerprint, remove the old line, then: passerelle trust {} --fingerprint SHA256:…", config.name)),
        None => Error::endpoint(format!("the host key of {host} is unknown: {shown} is not in {file}"))
            .hint(format!("compare the fingerprint with the server's keeper, then: passerelle trust {}", config.name)),
    };
    Err(error.at("handshake").kind_of(Kind::Login))
}
