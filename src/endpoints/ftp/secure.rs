//! TLS of FTP's connections: the first session is resumed by each data connection, and every end is said.

use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslSession, SslSessionCacheMode, SslStream};
use suppaftp::FtpError;

use crate::config::EndpointConfig;
use crate::endpoints::tls;
use crate::error::Result;

/// One control connection's TLS: its first session is what each data connection resumes, as vsftpd and ProFTPD demand.
pub(super) struct Tls {
    context: SslConnector,
    session: Arc<Mutex<Option<SslSession>>>,
    /// What the control connection agreed on.
    pub(super) agreed: Arc<Mutex<String>>,
    timeout: Duration,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub(super) fn new(config: &EndpointConfig) -> Result<Self> {
        let mut builder = tls::connector(config)?;
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        let session = Arc::new(Mutex::new(None));
        let first = session.clone();
        builder.set_new_session_callback(move |_, s| {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(s);
        });
        Ok(Self { context: builder.build(), session, agreed: Arc::default(), timeout: config.timeout })
    }
}

impl suppaftp::TlsConnector for Tls {
    type Stream = TlsData;
    fn connect(&self, domain: &str, tcp: TcpStream) -> suppaftp::FtpResult<TlsData> {
        let secure = |e: String| FtpError::SecureError(e);
        tcp.set_read_timeout(Some(self.timeout)).and_then(|()| tcp.set_write_timeout(Some(self.timeout))).map_err(FtpError::ConnectionError)?;
        let mut ssl = self.context.configure().and_then(|c| c.into_ssl(domain)).map_err(|e| secure(e.to_string()))?;
        let held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = held.as_ref().filter(|_| !crate::points::planted("no-tls-resume")) {
            // A used TLS 1.3 session is marked as not resumable: each data connection gets a fresh copy.
            let copy = session.to_der().and_then(|der| SslSession::from_der(&der)).map_err(|e| secure(e.to_string()))?;
            crate::sys::resume_tls_session(&mut ssl, &copy).map_err(|e| secure(e.to_string()))?;
        }
        drop(held);
        let stream = ssl.connect(tcp).map_err(|e| secure(tls::reason(&e)))?;
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        if agreed.is_empty() {
            *agreed = tls::described(stream.ssl());
        }
        Ok(TlsData { stream, open: true })
    }
}

/// A TLS stream that says goodbye when it is dropped: servers take a missing close_notify for a cut file.
#[derive(Debug)]
pub(super) struct TlsData {
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
