//! What an FTP server answers, whose fault it is, and what to do.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use suppaftp::FtpError;

use crate::endpoints::{lost, reach, tls};
use crate::error::{Error, Kind};

/// A data port of the server that can't be reached, and how that looked.
#[derive(Debug)]
pub(super) struct DataPort(pub(super) SocketAddr, pub(super) std::io::ErrorKind, pub(super) Duration);

impl fmt::Display for DataPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the data port {} can't be reached", self.0)
    }
}

impl std::error::Error for DataPort {}

impl DataPort {
    fn error(&self) -> Error {
        let found = reach::refused(self.0, &self.1.into(), self.2);
        let ip = self.0.ip();
        Error::endpoint(format!("the data port that the server opens: {}", found.message()))
            .at("data channel")
            .kind_of(Kind::Lost)
            .hint(format!("the control connection works, the data ports do not: ask the server's keeper for its range of passive ports, and the firewall's keeper for outbound TCP {ip}:that range from this host; or try passive = false"))
    }
}

/// What a server says it is able to do (RFC 2389), of what is used here.
pub(super) fn features(named: impl Iterator<Item = String>) -> String {
    const USED: [&str; 6] = ["EPSV", "MDTM", "MLST", "REST", "SIZE", "UTF8"];
    let mut able: Vec<String> = named.map(|f| f.trim().to_uppercase()).filter(|f| USED.contains(&f.as_str())).collect();
    able.sort();
    if able.is_empty() { "it names no features".to_owned() } else { format!("with {}", able.join(", ")) }
}

pub(super) fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

pub(super) fn login_error(e: &FtpError, user: &str, secure: bool) -> Error {
    let FtpError::UnexpectedResponse(r) = e else { return ftp_error(e, "login") };
    // What is refused for now (421: too many connections) says nothing of user and password.
    if (400..500).contains(&code_of(r)) && code_of(r) != 430 {
        return ftp_error(e, "login");
    }
    let words = words(&r.body);
    let lower = words.to_lowercase();
    // ProFTPD, Serv-U and others say so in these words alone.
    let full = ["maximum number", "too many", "try again later", "connection limit"].iter().any(|full| lower.contains(full));
    let refused = ["fail", "attempt", "incorrect", "password"].iter().any(|word| lower.contains(word));
    if full && !refused {
        return Error::endpoint(format!("the server takes no login of {user} for now: {words}"))
            .at("login")
            .kind_of(Kind::Lost)
            .hint("it limits connections: lower `connections` of the endpoint, or let others end theirs");
    }
    let hint = if !secure && ["ssl", "tls", "encrypt"].iter().any(|word| lower.contains(word)) {
        "the server wants TLS: use ftps://"
    } else {
        "check user and password; ask the server's keeper whether the account is active"
    };
    Error::endpoint(format!("the login of {user} was refused: {words}")).at("login").kind_of(Kind::Login).hint(hint)
}

pub(super) fn words(body: &[u8]) -> String {
    crate::error::shown_bytes(String::from_utf8_lossy(body).trim().chars().take(200).collect::<String>().as_bytes())
}

/// The number of an answer, also of one that the library does not know.
pub(super) fn code_of(r: &suppaftp::types::Response) -> u32 {
    match r.status.code() {
        0 => r.body.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0),
        code => code,
    }
}

pub(super) fn ftp_error(e: &FtpError, step: &'static str) -> Error {
    let error = match e {
        FtpError::ConnectionError(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<DataPort>()) {
            Some(port) => port.error(),
            None => lost(e),
        },
        FtpError::SecureError(why) => tls::error(why),
        FtpError::UnexpectedResponse(r) => {
            let code = code_of(r);
            let error = Error::endpoint(format!("the server answers {code}: {}", words(&r.body)));
            match code {
                552 | 452 => error.kind_of(Kind::Full).hint("the server's disk or quota is full: ask its keeper"),
                450 => error.hint("most often the file is open at the server, or its name is taken: it is tried again by itself"),
                451 => error.hint("the server could not work on it: most often a full disk or a quota; ask its keeper"),
                421 => error.kind_of(Kind::Lost).hint("the server takes no more for now: if it limits connections, lower `connections` of the endpoint"),
                522 => error.at("data channel").hint("the server wants the TLS session of the control connection on data connections; it is offered, and the server does not take it: ask its keeper (require_ssl_reuse of vsftpd, NoSessionReuseRequired of ProFTPD)"),
                425 | 426 => error.at("data channel").hint("the data connection failed: ask the firewall's keeper for the server's passive ports, or in active mode for connections from the server to this host"),
                530 | 532 => error.kind_of(Kind::Login).hint("check user and password; ask the server's keeper whether the account may do this"),
                500..=504 => error.kind_of(Kind::Unsupported),
                550 | 553 => error.kind_of(Kind::Denied),
                _ => error,
            }
        }
        FtpError::BadResponse => Error::endpoint("the server's answer is not understood")
            .kind_of(Kind::Lost)
            .hint("most often the address that it gives to PASV: ask its keeper to allow EPSV, or set passive = false"),
        other => Error::endpoint(format!("the server does not speak FTP: {other}")).kind_of(Kind::Lost),
    };
    error.at(step)
}
