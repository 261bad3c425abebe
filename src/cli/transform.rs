//! `transform`: the author's workbench. No journal, source or destination is needed.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Timestamp, Zoned};

use super::Context;
use super::explain::explained;
use crate::config::{Config, Route};
use crate::error::{Blame, Error, Result, shown};
use crate::formats::{Output, Room};
use crate::job::Name;
use crate::relay::steps::{LookupCache, member_name};
use crate::stop::Stop;
use crate::transform::rejects::{RejectLines, Rejects, RejectsCsv};
use crate::transform::{Outcome, Source, Work};
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
    /// Show for the first records each target with its source value and its result; B's file is made with -o only
    #[arg(long)]
    explain: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    let config = crate::config::load_for(&context.file, crate::config::Purpose::Transform)?;
    let route = super::route(&config, &args.route)?.clone();
    let made: Vec<PathBuf> = [Some(&args.output), args.rejects.as_ref()].into_iter().flatten().filter_map(|f| f.canonicalize().ok()).collect();
    if let Some(file) = args.files.iter().find(|f| f.canonicalize().is_ok_and(|f| made.contains(&f))) {
        return Err(Error::config(format!("{} is both input and output", file.display())).hint("name another file after -o, or --rejects"));
    }
    if args.rejects.as_ref() == Some(&args.output) {
        return Err(Error::config("-o and --rejects name the same file").hint("name another one for the rejects"));
    }
    let mut target = Target::new(args, &route)?;
    let outcome = transform(args, &config, &route, &mut target).map_err(|e| match e.blame() {
        Blame::Stopped => e,
        // Nothing waits here, and nothing is tried again: whoever typed the command corrects it.
        Blame::Endpoint => e.at("transform").blamed_on(Blame::File),
        Blame::File | Blame::Config | Blame::Relay => e.at("transform"),
    })?;
    target.keep()?;
    for remark in &outcome.remarks {
        eprintln!("{remark}");
    }
    let c = outcome.counts;
    if route.transformation.is_some() {
        eprintln!("{} read, {} written, {} skipped, {} rejected", c.read, c.written, c.skipped, c.rejected);
    }
    Ok(0)
}

/// Where B's file goes: standard output, one file, or one for each part. A file has a name of ours until it is whole, so
/// that a failed run leaves no half file.
enum Target {
    Nowhere,
    Stdout,
    /// A device or a fifo: it is written to, and never replaced.
    Stream(PathBuf),
    Files {
        path: PathBuf,
        split: bool,
        made: Vec<(tempfile::NamedTempFile, PathBuf)>,
    },
}

fn write_failed(path: &Path, e: &std::io::Error) -> Error {
    Error::io(Blame::File, "write", path, e)
}

impl Target {
    fn new(args: &Args, route: &Route) -> Result<Self> {
        let split = route.transformation.as_ref().is_some_and(|t| t.split.is_some());
        if args.explain && args.output == Path::new("-") {
            return Ok(Target::Nowhere);
        }
        if args.output.is_dir() {
            return Err(Error::config(format!("{} is a folder", args.output.display())).hint("name a file after -o"));
        }
        let stream = args.output.metadata().is_ok_and(|m| !m.is_file());
        if args.output != Path::new("-") && !stream {
            // Of a link, what it leads to is replaced.
            let path = args.output.canonicalize().unwrap_or_else(|_| args.output.clone());
            return Ok(Target::Files { path, split, made: Vec::new() });
        }
        if split {
            return Err(Error::config("the route splits its output into several files, which standard output can't take")
                .hint("name a file after -o: the parts are numbered before its extension"));
        }
        Ok(if stream { Target::Stream(args.output.clone()) } else { Target::Stdout })
    }

    /// Opens part `number`; gives the name for a zip archive too.
    fn open(&mut self, number: usize) -> Result<(Output, String)> {
        match self {
            Target::Nowhere => Ok((Box::new(std::io::sink()), String::new())),
            Target::Stdout => Ok((Box::new(BufWriter::new(std::io::stdout())), "records".into())),
            Target::Stream(path) => {
                let stream = std::fs::OpenOptions::new().write(true).open(&*path).map_err(|e| write_failed(path, &e))?;
                Ok((Box::new(BufWriter::new(stream)), "records".into()))
            }
            Target::Files { path, split, made } => {
                use std::os::unix::ffi::{OsStrExt, OsStringExt};
                let name = path.file_name().unwrap_or_default().as_bytes();
                let name = if *split { naming::numbered_part(name, number) } else { name.to_vec() };
                let member = member_name(&name);
                let target = path.with_file_name(std::ffi::OsString::from_vec(name));
                let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let file = tempfile::NamedTempFile::new_in(folder).map_err(|e| write_failed(&target, &e))?;
                let output = BufWriter::with_capacity(durable::CHUNK_BYTES, file.reopen().map_err(|e| write_failed(&target, &e))?);
                made.push((file, target));
                Ok((Box::new(output), member))
            }
        }
    }

    fn keep(self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let Target::Files { made, .. } = self else { return Ok(()) };
        for (file, target) in made {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(crate::sys::default_mode())).map_err(|e| write_failed(&target, &e))?;
            file.persist(&target).map_err(|e| write_failed(&target, &e.error))?;
        }
        Ok(())
    }
}

fn transform(args: &Args, config: &Config, route: &Arc<Route>, target: &mut Target) -> Result<Outcome> {
    let stop = Stop::new();
    let Some(spec) = &route.transformation else {
        // Raw: bytes go untouched.
        let (mut output, _) = target.open(1)?;
        for file in &args.files {
            durable::copy(&mut durable::open_file(file).map_err(|e| e.blamed_on(Blame::File))?, &mut output, &stop)?;
        }
        output.flush().map_err(|e| write_failed(&args.output, &e))?;
        return Ok(Outcome::default());
    };
    let scratch = tempfile::tempdir().map_err(|e| Error::io(Blame::Endpoint, "create", &std::env::temp_dir(), &e))?;
    let cache = LookupCache::default();
    let mut sources = Vec::new();
    let now = Zoned::now();
    for file in &args.files {
        use std::os::unix::ffi::OsStrExt;
        let input = durable::open_file(file).map_err(|e| e.blamed_on(Blame::File))?;
        let meta = input.metadata().map_err(|e| Error::io(Blame::File, "look at", file, &e))?;
        let modified = Timestamp::from_nanosecond(durable::found(&meta).modified_ns).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(jiff::tz::TimeZone::system());
        let name = Name(file.file_name().unwrap_or_default().as_bytes().to_vec());
        let room = Room::new(config.max_memory, scratch.path());
        let lookups = Arc::new(cache.lookups(route, &name, &room).map_err(|e| e.blamed_on(Blame::File))?);
        let mut context = naming::context(&name.0, meta.len(), &modified, 0, &now, &route.name);
        context.file_path = shown(file);
        sources.push(Source { input: Box::new(input), context, lookups, beside: Some(file.clone()) });
    }
    if let Some(path) = &args.rejects {
        // One that an earlier run left would pass for this one's. A device or a link stays what it is.
        if path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            durable::remove(path).map_err(|e| e.blamed_on(Blame::File))?;
        }
    }
    let mut lines = RejectLines::new(std::io::stderr());
    let mut table = args.rejects.clone().map(|path| {
        let create = move || {
            std::fs::File::create(&path).map(|f| Box::new(BufWriter::new(f)) as Box<dyn Write + Send>).map_err(|e| Error::io(Blame::File, "create", &path, &e))
        };
        RejectsCsv::new(route.rejects_delimiter, Box::new(create))
    });
    let rejects: &mut dyn Rejects = match &mut table {
        Some(table) => table,
        None => &mut lines,
    };
    let mut show = |record| say!("{}", explained(&record));
    let mut parts = |number: usize| target.open(number);
    let explain: Option<&mut dyn FnMut(_)> = if args.explain { Some(&mut show) } else { None };
    let outcome = spec.run(sources, Work { parts: Some(&mut parts), rejects, scratch: scratch.path(), stop: &stop, refused: None, changes: None, explain })?;
    if outcome.parts == 0 && !args.explain {
        // There was not even a header: what is written is empty, and is written all the same.
        target.open(1)?.0.flush().map_err(|e| write_failed(&args.output, &e))?;
    }
    Ok(outcome)
}
