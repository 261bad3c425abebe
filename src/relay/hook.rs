//! Runs the users' own commands: an argument list, never a shell, with a time limit.
//!
//! What a command says stays its own: the end of its error output is told when it fails, and nothing of it decides anything.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, reason, shown_bytes};
use crate::job::Name;
use crate::stop::Stop;

/// A command that runs longer than this is ended.
pub(super) const TIME_MAX: Duration = Duration::from_secs(600);

/// What a command that runs while the relay stops still gets: the relay itself has 10 s.
const TIME_AT_STOP: Duration = Duration::from_secs(6);

/// So much of what it says last is told.
const WORDS_MAX: usize = 300;

/// What it left behind may keep its error output open: its words are waited for no longer than this.
const WORDS_TIME_MAX: Duration = Duration::from_millis(200);

/// Runs a command to its end. It fails with [`Blame::Stopped`](crate::error::Blame::Stopped) if the relay stops before, and
/// the command is then not known to have done its work.
pub(super) fn run(args: &[Name], stop: &Stop) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    let Some((program, rest)) = args.split_first() else { return Ok(()) };
    stop.check()?;
    let as_os = |n: &Name| std::ffi::OsStr::from_bytes(&n.0).to_owned();
    let mut command = Command::new(as_os(program));
    // What it starts is ended with it: an import that goes on would be started once more beside itself.
    command.process_group(0).args(rest.iter().map(as_os)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| {
        Error::endpoint(format!("{program} can't be started: {}", reason(&e))).hint("it is a program and its arguments, not a line for a shell: check its path")
    })?;
    let words = last_words(&mut child);
    let told = || words.recv_timeout(WORDS_TIME_MAX).map(|w| format!(": {w}")).unwrap_or_default();
    let end = Instant::now() + TIME_MAX;
    let mut end_at_stop = None;
    loop {
        if stop.is_set() && end_at_stop.is_none() {
            end_at_stop = Some(Instant::now() + TIME_AT_STOP);
        }
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(Error::endpoint(format!("{program} ended with {status}{}", told()))),
            Ok(None) if Instant::now() < end_at_stop.unwrap_or(end) => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) | Err(_) => {
                // It may have ended just now, or have left its group.
                let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
                let _ = group.map(|group| rustix::process::kill_process_group(group, rustix::process::Signal::KILL));
                let _ = child.kill();
                let _ = child.wait();
                stop.check()?;
                let message = format!("{program} was ended: it did not come to its end within {} min{}", TIME_MAX.as_secs() / 60, told());
                return Err(Error::endpoint(message).hint("let it hand its work over and end"));
            }
        }
    }
}

/// Takes in all that a command says, so that it is never held up, and gives the end of it.
fn last_words(child: &mut Child) -> Receiver<String> {
    let (give, words) = channel();
    if let Some(mut from) = child.stderr.take() {
        // It ends with the last process that holds the pipe.
        let take_in = move || {
            let (mut last, mut piece) = (Vec::new(), [0; 4096]);
            while let Ok(n @ 1..) = from.read(&mut piece) {
                last.extend_from_slice(&piece[..n]);
                last.drain(..last.len().saturating_sub(WORDS_MAX));
            }
            let text = String::from_utf8_lossy(&last);
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if !text.is_empty() {
                let _ = give.send(shown_bytes(text.as_bytes()));
            }
        };
        // Without a thread the command runs all the same, and what it says is lost.
        let _ = std::thread::Builder::new().name("hook".into()).spawn(take_in);
    }
    words
}
