//! `run`, `run --once`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Context;
use crate::daemon;
use crate::error::Result;
use crate::job::JobId;
use crate::relay::Progress;
use crate::relay::dispatch::Mode;
use crate::stop::Stop;

/// A file smaller than this is through before a bar can be drawn.
const BAR_BYTES_MIN: u64 = 4 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take what is ready now, whatever the schedules say, try each file once, and exit
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    let config = context.config()?;
    let mode = if args.once { Mode::Once } else { Mode::Daemon };
    let progress = (args.once && std::io::stderr().is_terminal()).then(bars);
    let tally = daemon::run(config, daemon::Run { file: context.file.clone(), mode, progress, stop: Stop::new() })?;
    if mode == Mode::Daemon {
        return Ok(0);
    }
    let rejected = if tally.rejected > 0 { format!(", {} records rejected", tally.rejected) } else { String::new() };
    let conflicts = if tally.conflicts > 0 { format!(", {} conflicts to resolve", tally.conflicts) } else { String::new() };
    eprintln!("{} delivered, {} failed, {} waiting{rejected}{conflicts}", tally.delivered, tally.failed, tally.waiting);
    Ok(tally.exit_status())
}

/// A bar for each large file that is sent.
fn bars() -> Progress {
    let all = MultiProgress::new();
    let bars: Mutex<HashMap<JobId, ProgressBar>> = Mutex::default();
    let style = ProgressStyle::with_template("{msg:24!} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}").unwrap_or_else(|_| ProgressStyle::default_bar());
    Arc::new(move |job, bytes| {
        let size = job.made.as_ref().map_or(0, |m| m.size);
        if size < BAR_BYTES_MIN {
            return;
        }
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(job.id).or_insert_with(|| all.add(ProgressBar::new(size).with_style(style.clone()).with_message(job.file.to_string())));
        bar.inc(bytes);
        if bytes == 0 || bar.position() >= size {
            bar.finish_and_clear();
        }
    })
}
