//! `check`: where a connection stops, why, and whom to ask for what.

use super::{Context, endpoint, print_line};
use crate::endpoints::check::{Depth, Report, plans};
use crate::error::{Error, Result};
use crate::stop::Stop;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The endpoints; none: all
    endpoints: Vec<String>,
    /// One JSON object a line, one for each endpoint
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    let config = context.config()?;
    args.endpoints.iter().try_for_each(|name| endpoint(&config, name).map(drop))?;
    if config.endpoints.is_empty() && !args.json {
        print_line("no endpoints are configured: all folders are local");
    }
    let mut all = true;
    for plan in plans(&config).iter().filter(|plan| args.endpoints.is_empty() || args.endpoints.contains(&plan.endpoint().name)) {
        let (report, endpoint) = (plan.run(Depth::Full, &Stop::new()), plan.endpoint());
        all &= report.ok;
        if args.json {
            print_line(&serde_json::to_string(&report).map_err(|e| Error::relay(format!("the report of {} can't be written: {e}", endpoint.name)))?);
        } else {
            print(&report, &format!("{}://{}:{}{}", endpoint.url.scheme(), endpoint.host(), endpoint.port(), endpoint.url.path()));
        }
    }
    // A refused login is not tried again for a quarter of an hour: what passes now need not wait.
    if all && crate::relay::sources::is_running(&config.home)? {
        let (journal, _) = crate::journal::Journal::open(&config.home)?;
        journal.ask(&crate::journal::Request::Resume { routes: Vec::new() })?;
    }
    Ok(if all { 0 } else { 3 })
}

fn print(report: &Report, url: &str) {
    let tried = |steps: &[&str]| report.steps.iter().any(|s| steps.contains(&s.step.as_str()));
    let word = match report.ok {
        true if tried(&["read", "write", "rename", "move", "delete"]) => "everything works",
        // Nothing says what else it is for.
        true if tried(&["list"]) => "it can be reached, and lists its folder",
        true => "it can be reached",
        false => "it stops here",
    };
    print_line(&format!("{} ({url}): {word}", report.endpoint));
    for step in &report.steps {
        let mark = if step.ok { "ok " } else { "NO " };
        print_line(&format!("  {mark} {:<13} {:>6} ms  {}", step.step, step.ms, step.detail));
        if let Some(hint) = &step.hint {
            print_line(&format!("      → {hint}"));
        }
    }
}
