//! `trust`: the only way a host key gets into `known_hosts`.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::{Context, print_line};
use crate::endpoints::sftp::{handshake, trust};
use crate::error::{Blame, Error, Result};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The endpoint
    endpoint: String,
    /// Add the key only if this is its fingerprint, and do not ask
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    let config = context.config()?;
    let endpoint = super::endpoint(&config, &args.endpoint)?;
    if endpoint.url.scheme() != "sftp" {
        return Err(
            Error::config(format!("{} is no SFTP server: only SSH servers have host keys", args.endpoint)).hint("certificates are trusted through ca_file")
        );
    }
    let (session, _) = handshake(endpoint, &mut |_, _| Ok(())).map_err(|e| e.on_endpoint(&endpoint.name))?;
    let (key, _) = session.host_key().ok_or_else(|| Error::endpoint("the server shows no host key"))?;
    let shown = trust::fingerprint(key);
    print_line(&format!("{}:{} shows {} {shown}", endpoint.host(), endpoint.port(), trust::key_type(key)));
    match trust::check(&session, endpoint) {
        Ok(()) => {
            print_line(&format!("it is in {} already", endpoint.known_hosts.display()));
            return Ok(0);
        }
        // Whether none is known, or another one: who says yes must have seen that.
        Err(e) => print_line(e.message()),
    }
    let yes = match &args.fingerprint {
        Some(wanted) if wanted.trim_end_matches('=') == shown => true,
        Some(wanted) => {
            return Err(Error::endpoint(format!("the fingerprint is {shown}, not {wanted}"))
                .on_endpoint(&endpoint.name)
                .hint("do not trust it: ask the server's keeper which one is right"));
        }
        None if std::io::stdin().is_terminal() => {
            ask(&format!("Does the server's keeper confirm this fingerprint? Add it to {}? [y/N] ", endpoint.known_hosts.display()))
        }
        None => {
            return Err(Error::config("nobody is there to ask")
                .hint(format!("compare the fingerprint with the server's keeper, then: passerelle trust {} --fingerprint {shown}", endpoint.name)));
        }
    };
    if !yes {
        print_line("nothing was changed");
        return Ok(3);
    }
    let path = &endpoint.known_hosts;
    let failed = |e: &std::io::Error| Error::io(Blame::Config, "write", path, e);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
    }
    let before = std::fs::read(path).unwrap_or_default();
    let gap = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o644).open(path).map_err(|e| failed(&e))?;
    file.write_all(format!("{gap}{}", trust::line(&endpoint.host(), endpoint.port(), key)).as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|e| failed(&e))?;
    print_line(&format!("added to {}", path.display()));
    // A relay that runs waits after a refused key: it may try again at once.
    if crate::relay::sources::is_running(&config.home)? {
        let (journal, _) = crate::journal::Journal::open(&config.home)?;
        journal.ask(&crate::journal::Request::Resume { routes: Vec::new() })?;
    }
    Ok(0)
}

fn ask(question: &str) -> bool {
    eprint!("{question}");
    let mut answer = String::new();
    // A closed input is a no.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "o" | "oui")
}
