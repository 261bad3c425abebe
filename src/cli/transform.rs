//! `transform`: the author's workbench. No journal, source or destination is needed.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Timestamp, Zoned};

use super::Context;
use crate::config::Route;
use crate::error::{Blame, Error, Result, shown};
use crate::job::Name;
use crate::stop::Stop;
use crate::transform::rejects::{RejectLines, Rejects, RejectsCsv};
use crate::transform::{Outcome, Source};
use crate::{durable, naming};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The route
    route: String,
    /// A's files; their records follow each other in one output
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where B's file goes; - is standard output
    #[arg(short, long, default_value = "-")]
    output: PathBuf,
    /// Where rejected records go; default: lines on standard error
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    let config = context.config()?;
    let route = config.routes.iter().find(|r| r.name == args.route).cloned().ok_or_else(|| {
        let near = crate::options::nearest(&args.route, config.routes.iter().map(|r| r.name.as_str())).map(|n| format!("did you mean {n}?"));
        Error::config(format!("there is no route {}", args.route)).hint(near.unwrap_or_else(|| "`passerelle config show` lists the routes".into()))
    })?;
    if let Some(file) = args.files.iter().find(|f| f.canonicalize().is_ok_and(|f| args.output.canonicalize().is_ok_and(|o| o == f))) {
        return Err(Error::config(format!("{} is both input and output", file.display())).hint("name another file after -o"));
    }
    let stdout = args.output == Path::new("-");
    let write_failed = |e: &std::io::Error| Error::io(Blame::Endpoint, "write", &args.output, e);
    // A file of ours beside OUT, renamed at the end: a failed run leaves no half file.
    let folder = args.output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = if stdout { None } else { Some(tempfile::NamedTempFile::new_in(folder).map_err(|e| write_failed(&e))?) };
    let output: Box<dyn Write + Send> = match &temporary {
        Some(t) => Box::new(BufWriter::new(t.reopen().map_err(|e| write_failed(&e))?)),
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let outcome = transform(args, &config, &route, output).map_err(|e| if e.blame() == Blame::Stopped { e } else { e.at("transform") })?;
    if let Some(temporary) = temporary.take() {
        use std::os::unix::fs::PermissionsExt;
        temporary.as_file().set_permissions(std::fs::Permissions::from_mode(crate::sys::default_mode())).map_err(|e| write_failed(&e))?;
        temporary.persist(&args.output).map_err(|e| write_failed(&e.error))?;
    }
    let c = outcome.counts;
    for remark in &outcome.remarks {
        eprintln!("{remark}");
    }
    if route.transformation.is_some() {
        eprintln!("{} read, {} written, {} skipped, {} rejected", c.read, c.written, c.skipped, c.rejected);
    }
    Ok(0)
}

fn transform(args: &Args, config: &crate::config::Config, route: &Arc<Route>, mut output: Box<dyn Write + Send>) -> Result<Outcome> {
    let stop = Stop::new();
    let Some(spec) = &route.transformation else {
        // Raw: bytes go untouched.
        for file in &args.files {
            durable::copy(&mut durable::open_file(file).map_err(|e| e.blamed_on(Blame::File))?, &mut output, &stop)?;
        }
        output.flush().map_err(|e| Error::io(Blame::Endpoint, "write", &args.output, &e))?;
        return Ok(Outcome::default());
    };
    let world = crate::relay::steps::LookupCache::default();
    let mut sources = Vec::new();
    let now = Zoned::now();
    for file in &args.files {
        use std::os::unix::ffi::OsStrExt;
        let input = durable::open_file(file).map_err(|e| e.blamed_on(Blame::File))?;
        let meta = input.metadata().map_err(|e| Error::io(Blame::File, "look at", file, &e))?;
        let modified = Timestamp::from_nanosecond(durable::found(&meta).modified_ns).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(jiff::tz::TimeZone::system());
        let name = Name(file.file_name().unwrap_or_default().as_bytes().to_vec());
        let lookups = Arc::new(world.lookups(route, &name, config.max_memory).map_err(|e| e.blamed_on(Blame::File))?);
        let mut context = naming::context(&name.0, meta.len(), &modified, 0, &now, &route.name);
        context.file_path = shown(file);
        sources.push(Source { input: Box::new(input), context, lookups });
    }
    let mut lines = RejectLines(std::io::stderr());
    let mut table = args.rejects.clone().map(|path| {
        let create = move || {
            std::fs::File::create(&path)
                .map(|f| Box::new(BufWriter::new(f)) as Box<dyn Write + Send>)
                .map_err(|e| Error::io(Blame::Endpoint, "create", &path, &e))
        };
        RejectsCsv::new(route.rejects_delimiter, Box::new(create))
    });
    let rejects: &mut dyn Rejects = match &mut table {
        Some(table) => table,
        None => &mut lines,
    };
    spec.run(sources, output, rejects, &stop)
}
