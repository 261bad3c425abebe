//! The command line: one file a command, one table of them, the global options, the exit status.
//!
//! Results go to standard output, everything else to standard error. No command decides about a file.

/// Prints a line on standard output, as `println!` does, without a panic when nobody reads it.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::print_line(&format!($($text)*)) };
}

mod audit;
mod behind;
mod check;
mod config;
mod demo;
mod explain;
mod init;
mod jobs;
mod operate;
mod run;
mod sync;
mod transform;
mod trust;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, EndpointConfig, Purpose, Route};
use crate::error::{Error, Result};

/// Relays files between business programs: from A's export folder, in B's format, to B's import folder — each one exactly once.
#[derive(Debug, Parser)]
#[command(name = "passerelle", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub struct Cli {
    /// The configuration
    #[arg(short, long, value_name = "FILE", env = "PASSERELLE_CONFIG", default_value = "passerelle.toml", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 done; 1 a file failed, is held or unconfirmed, or parked a conflict; 2 the command line or the configuration is wrong; \
3 something is still waiting, or `check` failed; 4 the relay's own journal or folders cannot be used.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Lay out a small A and B with sample exports, relay them, and show what to look at
    Demo(demo::Args),
    /// Ask for the two folders, audit what lies there, and lay out a configuration
    Init(init::Args),
    /// Watch, poll and schedule every route until told to stop
    Run(run::Args),
    /// Read samples of A's export and B's import: what they are, how far the exchange can be automated, and a draft of the route
    Audit(audit::Args),
    /// Run a route's transformation alone: nothing is delivered
    Transform(transform::Args),
    /// Show routes, endpoints, backlog, jobs in flight, errors
    Status(jobs::StatusArgs),
    /// List jobs, newest first
    History(jobs::HistoryArgs),
    /// Show everything about one job, step by step
    Show(jobs::ShowArgs),
    /// Put failed, held or unconfirmed files back on their way
    Retry(operate::RetryArgs),
    /// Deliver archived originals once more, as new jobs
    Replay(operate::ReplayArgs),
    /// Call an unconfirmed job delivered
    ConfirmDelivered(operate::ConfirmArgs),
    /// Look at a sync group's memory, make it anew, or drop it
    Sync(sync::Args),
    /// Settle the conflicts that a job has parked
    Resolve(sync::ResolveArgs),
    /// Stop routes without touching the others; survives restarts
    Pause(operate::RouteArgs),
    /// Start paused routes again
    Resume(operate::RouteArgs),
    /// Try endpoints stage by stage, and say where a connection stops, why, and whom to ask
    Check(check::Args),
    /// Show a server's host key and, after a yes, add it to known_hosts
    Trust(trust::Args),
    /// Validate or print the configuration
    Config(config::Args),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// What every command gets.
pub struct Context {
    file: PathBuf,
}

impl Context {
    /// The checked configuration.
    fn config(&self) -> Result<Config> {
        crate::config::load(&self.file)
    }
    /// The same for who looks at the relay's work.
    fn operated(&self) -> Result<Config> {
        crate::config::load_for(&self.file, Purpose::Operate)
    }
}

/// The endpoint of that name, or the nearest one.
fn endpoint<'c>(config: &'c Config, name: &str) -> Result<&'c Arc<EndpointConfig>> {
    config.endpoints.get(name).ok_or_else(|| {
        let near = crate::options::nearest(name, config.endpoints.keys().map(String::as_str)).map(|n| format!("did you mean {n}?"));
        Error::config(format!("there is no endpoint {name}")).hint(near.unwrap_or_else(|| "`passerelle config show` lists the endpoints".into()))
    })
}

/// The route of that name, or the nearest one.
fn route<'c>(config: &'c Config, name: &str) -> Result<&'c Arc<Route>> {
    config.routes.iter().find(|r| r.name == name).ok_or_else(|| {
        let near = crate::options::nearest(name, config.routes.iter().map(|r| r.name.as_str())).map(|n| format!("did you mean {n}?"));
        Error::config(format!("there is no route {name}")).hint(near.unwrap_or_else(|| "`passerelle config show` lists the routes".into()))
    })
}

/// Parses the command line, runs the command, prints its error.
pub fn main() -> ExitCode {
    main_with(std::env::args_os())
}

fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // A closed pipe is no reason to complain.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    log_to_stderr();
    let context = Context { file: cli.config };
    match dispatch(cli.command, &context) {
        Ok(status) => ExitCode::from(status),
        Err(e) => {
            print_error(&e);
            ExitCode::from(e.exit_status())
        }
    }
}

fn dispatch(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(&args, context),
        Command::Run(args) => run::run(&args, context),
        Command::Audit(args) => audit::run(&args),
        Command::Transform(args) => transform::run(&args, context),
        Command::Status(args) => jobs::status(&args, context),
        Command::History(args) => jobs::history(&args, context),
        Command::Show(args) => jobs::show(&args, context),
        Command::Retry(args) => operate::retry(&args, context),
        Command::Replay(args) => operate::replay(&args, context),
        Command::ConfirmDelivered(args) => operate::confirm(&args, context),
        Command::Sync(args) => sync::run(&args, context),
        Command::Resolve(args) => sync::resolve(&args, context),
        Command::Pause(args) => operate::pause(&args, context),
        Command::Resume(args) => operate::resume(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Trust(args) => trust::run(&args, context),
        Command::Config(args) => config::run(&args, context),
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "passerelle", &mut out);
            print_bytes(&out);
            Ok(0)
        }
        Command::Man => {
            let mut out = Vec::new();
            let page = clap_mangen::Man::new(Cli::command());
            page.render(&mut out).map_err(|e| Error::config(format!("the manual page can't be made: {e}")))?;
            print_bytes(&out);
            Ok(0)
        }
    }
}

/// Prints an error and its remedy. A report of the configuration is printed as it is.
fn print_error(e: &Error) {
    let text = e.to_string();
    if text.contains("-->") {
        eprintln!("{text}");
    } else {
        eprintln!("error: {text}");
    }
    if let Some(hint) = e.advice() {
        eprintln!("  → {hint}");
    }
}

/// Writes to standard output; a reader that went away (`| head`) is fine.
fn print_bytes(bytes: &[u8]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever read it has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(e) => {
            eprintln!("error: can't write to standard output: {}", crate::error::reason(&e));
            std::process::exit(1);
        }
        Ok(()) => {}
    }
}

fn print_line(line: &str) {
    print_bytes(format!("{line}\n").as_bytes());
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PASSERELLE_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("passerelle=info,warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal());
    // Only the first call of a process can set it.
    let _ = builder.try_init();
}
