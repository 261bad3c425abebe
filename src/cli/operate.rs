//! `retry`, `replay`, `confirm-delivered`, `pause`, `resume`: beside a running relay through its journal, else at once.

use std::time::{Duration, Instant};

use super::Context;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::job::{Next, State};
use crate::journal::{Answer, Journal, Request};
use crate::relay::sources::lock_home;
use crate::relay::{World, operate, recover, steps};
use crate::stop::Stop;
use crate::sync::export::Deletions;

/// How long a running relay may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// The jobs
    #[arg(required_unless_present = "all")]
    jobs: Vec<u64>,
    /// Every failed, held or unconfirmed job
    #[arg(long, conflicts_with = "jobs")]
    all: bool,
    /// Of this route only
    #[arg(long, requires = "all")]
    route: Option<String>,
    /// Although a later job has published the same final name
    #[arg(long)]
    force: bool,
    /// Let a mass deletion pass, for which the job is held
    #[arg(long)]
    accept_deletes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The jobs
    #[arg(required = true)]
    jobs: Vec<u64>,
    /// Although a later job has published the same final name
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfirmArgs {
    /// The job
    job: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RouteArgs {
    /// The routes
    #[arg(required = true)]
    routes: Vec<String>,
}

pub(crate) fn retry(args: &RetryArgs, context: &Context) -> Result<u8> {
    let config = context.operated()?;
    args.route.iter().try_for_each(|name| super::route(&config, name).map(drop))?;
    let mut jobs = args.jobs.clone();
    if args.all
        && let Some(reader) = Journal::read(&config.home)?
    {
        for state in [State::Failed, State::Held, State::Unconfirmed] {
            jobs.extend(reader.in_state(args.route.as_deref(), state)?);
        }
        jobs.sort_unstable();
    }
    if jobs.is_empty() {
        eprintln!("there is nothing to retry");
        if !crate::relay::sources::is_running(&config.home)? {
            return Ok(0);
        }
        // What waits is tried now.
    }
    let deletions = if args.accept_deletes { Deletions::Accepted } else { Deletions::Limited };
    ask(config, &Request::Retry { jobs, force: args.force, deletions })
}

pub(crate) fn replay(args: &ReplayArgs, context: &Context) -> Result<u8> {
    ask(context.operated()?, &Request::Replay { jobs: args.jobs.clone(), force: args.force })
}

pub(crate) fn confirm(args: &ConfirmArgs, context: &Context) -> Result<u8> {
    ask(context.operated()?, &Request::Confirm { job: args.job })
}

pub(crate) fn pause(args: &RouteArgs, context: &Context) -> Result<u8> {
    ask(context.operated()?, &Request::Pause { routes: args.routes.clone() })
}

pub(crate) fn resume(args: &RouteArgs, context: &Context) -> Result<u8> {
    ask(context.operated()?, &Request::Resume { routes: args.routes.clone() })
}

pub(super) fn ask(config: Config, request: &Request) -> Result<u8> {
    let config = config.resolved();
    // Another command may have it for a moment; a relay has it for good.
    let end = Instant::now() + ANSWER_TIME_MAX;
    let mut lock = lock_home(&config)?;
    while lock.is_err()
        && Instant::now() < end
        && !Journal::read(&config.home)?.is_some_and(|r| r.status("live").is_ok_and(|live| live.is_some_and(|l| !l.is_empty())))
    {
        std::thread::sleep(Duration::from_millis(50));
        lock = lock_home(&config)?;
    }
    let answer = match lock {
        Ok(_lock) => {
            let (journal, _) = Journal::open(&config.home)?;
            let world = World::new(config, journal, Stop::new(), None)?;
            recover::rebuild(&world)?;
            let (answer, jobs) = operate::carry_out(&world, request)?;
            // What has nothing left to wait for is brought to its end; the rest goes on with the next run.
            for mut job in jobs.into_iter().filter(|job| job.next() == Next::Finish) {
                steps::finish(&world, std::slice::from_mut(&mut job))?;
            }
            answer
        }
        Err(_) => beside(&config, request)?,
    };
    for line in &answer.done {
        say!("{line}");
    }
    for line in &answer.refused {
        eprintln!("error: {line}");
    }
    Ok(if answer.refused.is_empty() { 0 } else { 2 })
}

/// Leaves the request for the relay that runs, and waits for its answer.
fn beside(config: &Config, request: &Request) -> Result<Answer> {
    let (journal, _) = Journal::open(&config.home)?;
    let id = journal.ask(request)?;
    let reader = journal.reader()?;
    let end = Instant::now() + ANSWER_TIME_MAX;
    while Instant::now() < end {
        if let Some(answer) = reader.answered(id)? {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Error::endpoint("the running relay has not answered yet").hint("it does what was asked as soon as it can: look with `passerelle status`"))
}
