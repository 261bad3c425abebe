//! From a server's name to an open connection, and what it is that answers there.
//!
//! Each failure names the address and port that a firewall's keeper must be asked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::EndpointConfig;
use crate::error::{Error, Kind, Result, reason, shown_bytes};

/// Is told of each stage of a connection that was passed: its name, and what was found. An error ends the connection there.
pub type Told<'t> = dyn FnMut(&'static str, String) -> Result<()> + 't;

/// How long a server may take to say what it is.
const GREETING_TIME: Duration = Duration::from_secs(2);

/// Looks a host's name up and connects, with one time limit for each address.
pub fn connect_tcp(config: &EndpointConfig, told: &mut Told<'_>) -> Result<TcpStream> {
    let (host, port) = (config.host(), config.port());
    let addresses: Vec<SocketAddr> = (host.as_str(), port)
        .to_socket_addrs()
        .map_err(|e| {
            Error::endpoint(format!("the name {host} is not known: {e}"))
                .at("name")
                .hint(format!("check the host in endpoints.{}.url, and the name server of this machine", config.name))
        })?
        .collect();
    let mut shown: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
    shown.dedup();
    told("name", if shown == [host.as_str()] { host.clone() } else { format!("{host} is {}", shown.join(", ")) })?;
    let mut last = None;
    for address in &addresses {
        match dial(address, config) {
            Ok(stream) => {
                told("port", format!("{address} takes connections"))?;
                return Ok(stream);
            }
            Err(e) => last = Some((*address, e)),
        }
    }
    let Some((address, e)) = last else { return Err(Error::endpoint(format!("the name {host} has no address")).at("name")) };
    Err(refused(address, &e, config.connect_timeout).at("port"))
}

/// Connects to one address.
pub fn dial(address: &SocketAddr, config: &EndpointConfig) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, config.connect_timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(config.timeout))?;
    stream.set_write_timeout(Some(config.timeout))?;
    Ok(stream)
}

/// Whether the other end of a connection has closed its side, as far as this host has heard (`POLLRDHUP`, Linux).
pub fn hung_up(stream: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|found| found > 0)
}

/// Why a port can't be reached, and whom to ask.
pub fn refused(address: SocketAddr, e: &std::io::Error, limit: Duration) -> Error {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => Error::endpoint(format!("{address} refuses the connection"))
            .kind_of(Kind::Refused)
            .hint("nothing listens on that port, or a firewall rejects: check the port, and that the server runs"),
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Error::endpoint(format!("{address} does not answer within {limit:?}"))
            .hint(format!("most often a firewall that drops: ask its keeper for outbound TCP {address} from this host")),
        std::io::ErrorKind::ConnectionReset => Error::endpoint(format!("{address} resets the connection at once"))
            .hint(format!("most often a firewall or a server that takes no connections from this host: ask for TCP {address} from this host's address")),
        _ => {
            Error::endpoint(format!("{address} can't be reached: {}", reason(e))).hint(format!("check the route to {}; ask the network's keeper", address.ip()))
        }
    }
}

/// What answers on an endpoint's port, where it is not what the scheme says; none: it can't be told.
pub fn who_answers(config: &EndpointConfig) -> Option<String> {
    let greeting = |request: &[u8]| -> std::io::Result<Vec<u8>> {
        let address = (config.host().as_str(), config.port()).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = dial(&address, config)?;
        stream.set_read_timeout(Some(GREETING_TIME))?;
        stream.write_all(request)?;
        let mut answer = vec![0; 512];
        let n = stream.read(&mut answer)?;
        answer.truncate(n);
        Ok(answer)
    };
    let scheme = config.url.scheme();
    // SSH, FTP and mail servers speak first; one that is silent is asked as a browser would.
    let first = greeting(b"").unwrap_or_default();
    let words = || shown_bytes(first.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default());
    if first.starts_with(b"SSH-") {
        return (scheme != "sftp").then(|| format!("an SSH server answers there ({}): use sftp://, or another port", words()));
    }
    if first.starts_with(b"220") && !scheme.starts_with("ftp") {
        return Some(format!("an FTP or mail server answers there ({}): use ftp:// or ftps://, or another port", words()));
    }
    if first.starts_with(b"220") && config.implicit_tls {
        return Some("the server does not begin with TLS there: leave out tls = \"implicit\"".into());
    }
    if !first.is_empty() {
        return None;
    }
    let asked = greeting(b"GET / HTTP/1.0\r\n\r\n").unwrap_or_default();
    let text = String::from_utf8_lossy(&asked).to_lowercase();
    if text.starts_with("http/") && text.contains("https port") {
        return (scheme != "https").then(|| "the server speaks HTTP with TLS on that port: use https://".into());
    }
    if text.starts_with("http/") {
        return (scheme != "http").then(|| "a web server answers there without TLS: use http://, or another port".into());
    }
    // 0x15: an alert, with which TLS answers what is none.
    if asked.first() == Some(&0x15) {
        return (scheme != "https" && !config.implicit_tls).then(|| match scheme {
            "ftps" => "the server begins with TLS there: set tls = \"implicit\"".into(),
            _ => "a server with TLS answers there: use its scheme, or another port".into(),
        });
    }
    None
}
