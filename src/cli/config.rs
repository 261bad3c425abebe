//! `config check`, `config show`, `config schema`.

use super::{Context, print_bytes, print_line};
use crate::config::{self, reference, show};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Tell every mistake at once, each with its place and what is expected there
    Check,
    /// Print the effective configuration, secrets masked
    Show,
    /// Print the JSON Schema, for editors
    Schema {
        /// Print the tables of the reference instead
        #[arg(long)]
        reference: bool,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    match args.what {
        What::Check => check(context),
        What::Show => {
            print_bytes(show::effective(&context.config()?.options).as_bytes());
            Ok(0)
        }
        What::Schema { reference: true } => {
            print_bytes(reference::tables().as_bytes());
            Ok(0)
        }
        What::Schema { reference: false } => {
            let schema = serde_json::to_string_pretty(&show::json_schema()).map_err(|e| Error::config(e.to_string()))?;
            print_line(&schema);
            Ok(0)
        }
    }
}

fn check(context: &Context) -> Result<u8> {
    let (config, report) = config::read(&context.file)?;
    if let Some(report) = report {
        eprint!("{report}");
        let count = report.matches("\nerror: ").count() + usize::from(report.starts_with("error: "));
        eprintln!("{count} {} in {}", if count == 1 { "mistake" } else { "mistakes" }, context.file.display());
        return Ok(2);
    }
    let config = config.ok_or_else(|| Error::config("the configuration could not be built"))?;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    say!("{} is right: {} routes, {} endpoints", context.file.display(), config.routes.len(), config.endpoints.len());
    Ok(0)
}
