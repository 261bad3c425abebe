//! TLS as every transport wants it: verified, 1.2 or later, with the endpoint's own authorities and certificate.

use std::fmt;

use openssl::ssl::{HandshakeError, SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslRef, SslVersion};

use crate::config::EndpointConfig;
use crate::error::{Error, Result};

/// A connector by the endpoint's keys.
pub(super) fn connector(config: &EndpointConfig) -> Result<SslConnectorBuilder> {
    let fail = |e: openssl::error::ErrorStack| Error::endpoint(format!("TLS can't be set up: {e}")).at("handshake");
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(fail)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(fail)?;
    if let Some(ca) = &config.ca_file {
        builder
            .set_ca_file(ca)
            .map_err(|e| Error::endpoint(format!("ca_file {} can't be read: {e}", ca.display())).at("handshake").hint("it must hold certificates in PEM"))?;
    }
    if let Some((cert, key)) = &config.client_cert {
        let key = key.as_ref().unwrap_or(cert);
        builder.set_certificate_chain_file(cert).and_then(|()| builder.set_private_key_file(key, SslFiletype::PEM)).map_err(|e| {
            Error::endpoint(format!("client_cert {} with the key in {} can't be used: {e}", cert.display(), key.display()))
                .at("handshake")
                .hint("both must be PEM, and the key that of the certificate: see client_cert and client_key")
        })?;
    }
    Ok(builder)
}

/// Why a handshake failed, in words.
pub(super) fn reason<S: fmt::Debug>(e: &HandshakeError<S>) -> String {
    match e {
        HandshakeError::Failure(mid) => {
            let verify = mid.ssl().verify_result();
            if verify == openssl::x509::X509VerifyResult::OK { mid.error().to_string() } else { format!("the certificate is not valid: {verify}") }
        }
        HandshakeError::WouldBlock(_) => "the server does not answer the handshake".to_owned(),
        HandshakeError::SetupFailure(e) => e.to_string(),
    }
}

/// An error of a handshake with what to do about it.
pub(super) fn error(why: &str) -> Error {
    Error::endpoint(format!("TLS: {why}")).at("handshake").hint(remedy(why))
}

/// What to do about a handshake that failed for this reason.
pub(super) fn remedy(why: &str) -> &'static str {
    if why.contains("expired") {
        "ask the server's keeper to renew its certificate; check this machine's clock"
    } else if why.contains("self-signed") || why.contains("self signed") || why.contains("local issuer") {
        "if the server has its own authority, set ca_file to its certificate"
    } else if why.contains("not yet valid") {
        "check this machine's clock; if it is right, ask the server's keeper from when its certificate is valid"
    } else if why.contains("certificate") || why.contains("hostname") {
        "the host in the url must be one that the certificate names; if the server has its own authority, set ca_file to its certificate"
    } else {
        "check that the server offers TLS 1.2 or later on this port"
    }
}

/// What was agreed on, and the server's certificate.
pub(super) fn described(ssl: &SslRef) -> String {
    let mut out = ssl.version_str().to_owned();
    if let Some(cipher) = ssl.current_cipher() {
        out.push_str(&format!(", {}", cipher.name()));
    }
    if let Some(certificate) = ssl.peer_certificate() {
        let name = certificate.subject_name().entries().last().and_then(|e| e.data().to_string().ok().map(|t| t.to_string())).unwrap_or_default();
        out.push_str(&format!(", certificate of {}, valid until {}", crate::error::shown_bytes(name.as_bytes()), certificate.not_after()));
    }
    out
}
