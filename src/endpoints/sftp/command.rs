//! Commands at the server, over a channel of their own beside the files' (`after_remote`).
//!
//! SSH hands one line to the user's shell: every argument is quoted here, so that no name can be more than a name.

use std::io::Read;
use std::time::{Duration, Instant};

use super::{millis, ssh_error};
use crate::error::{Error, Kind, Result, shown_bytes};
use crate::stop::Stop;

/// How long libssh2 waits before the wish to stop and the time limit are looked at.
const SLICE: Duration = Duration::from_millis(500);
/// What is kept of a command's words.
const WORDS_MAX: usize = 1024;

/// The arguments as one line for a POSIX shell.
pub(super) fn line(args: &[Vec<u8>]) -> String {
    args.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" ")
}

/// One word that a POSIX shell takes as it is (POSIX.1-2017, Shell Command Language, 2.2.2). The line is text: bytes that
/// are none are made by the shell's own `printf`.
fn quoted(arg: &[u8]) -> String {
    match std::str::from_utf8(arg) {
        Ok(text) => format!("'{}'", text.replace('\'', r"'\''")),
        // A substitution drops line ends at its end: there they are quoted behind it.
        Err(_) => {
            let end = arg.len() - arg.iter().rev().take_while(|b| **b == b'\n').count();
            let (arg, line_ends) = arg.split_at(end);
            let octal: String = arg.iter().map(|b| format!("\\{b:03o}")).collect();
            format!("\"$(printf '{octal}')\"'{}'", "\n".repeat(line_ends.len()))
        }
    }
}

/// Runs a command and waits for its end, at most so long.
pub(super) fn run(session: &ssh2::Session, line: &str, limit: Duration, stop: &Stop, timeout: Duration) -> Result<()> {
    let result = begin(session, line).and_then(|mut channel| {
        session.set_timeout(millis(SLICE));
        follow(&mut channel, Instant::now() + limit, limit, stop)
    });
    session.set_timeout(millis(timeout));
    result
}

fn begin(session: &ssh2::Session, line: &str) -> Result<ssh2::Channel> {
    let refused = |e: &ssh2::Error| {
        ssh_error(e, "after_remote").hint("the server lets this user run no command beside SFTP: ask its keeper, or let B's host look at its folder itself")
    };
    let mut channel = session.channel_session().map_err(|e| refused(&e))?;
    channel.handle_extended_data(ssh2::ExtendedData::Merge).map_err(|e| refused(&e))?;
    channel.exec(line).map_err(|e| refused(&e))?;
    // It reads nothing from here.
    channel.send_eof().map_err(|e| refused(&e))?;
    Ok(channel)
}

fn follow(channel: &mut ssh2::Channel, end: Instant, limit: Duration, stop: &Stop) -> Result<()> {
    let late = |channel: &mut ssh2::Channel| {
        // The server tells the command by a hangup, as far as it does.
        let _ = channel.close();
        Error::endpoint(if stop.is_set() { "the relay stops before the command ended".to_owned() } else { format!("the command did not end within {limit:?}") })
            .at("after_remote")
            .hint("let it hand its work over and end; what is published stays published")
    };
    let mut words = Vec::new();
    let mut piece = [0u8; 4096];
    loop {
        match channel.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => words.extend_from_slice(&piece[..n.min(WORDS_MAX - words.len().min(WORDS_MAX))]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock) => {
                if stop.is_set() || Instant::now() >= end {
                    return Err(late(channel));
                }
            }
            Err(e) => return Err(super::super::lost(&e).at("after_remote")),
        }
    }
    // Its end may come some time after its last word.
    while let Err(e) = channel.wait_eof().and_then(|()| channel.wait_close()) {
        // LIBSSH2_ERROR_TIMEOUT
        if !matches!(e.code(), ssh2::ErrorCode::Session(-9)) {
            return Err(ssh_error(&e, "after_remote"));
        }
        if stop.is_set() || Instant::now() >= end {
            return Err(late(channel));
        }
    }
    let status = channel.exit_status().map_err(|e| ssh_error(&e, "after_remote"))?;
    let signal = channel.exit_signal().ok().and_then(|s| s.exit_signal);
    if status == 0 && signal.is_none() {
        return Ok(());
    }
    let how = signal.map_or_else(|| format!("status {status}"), |s| format!("signal {s}"));
    let said = if words.is_empty() { String::new() } else { format!(": {}", shown_bytes(words.trim_ascii())) };
    Err(Error::endpoint(format!("the command ended with {how}{said}")).at("after_remote").kind_of(Kind::Other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_shell_takes_every_argument_as_it_is() {
        let hostile: [&[u8]; 9] = [b"a b", b"'; touch pwned; '", b"$(touch pwned)", b"`id`", b"-rf", b"a\nb", b"caf\xe9 $x \\ %s '", b"", b"\xff\n\n"];
        for arg in hostile {
            let out = std::process::Command::new("sh").arg("-c").arg(line(&[b"printf".to_vec(), b"%s".to_vec(), arg.to_vec()])).output().unwrap();
            assert_eq!(out.stdout, arg, "{}", std::ffi::OsStr::from_bytes(arg).display());
        }
    }
}
