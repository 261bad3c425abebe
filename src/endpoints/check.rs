//! `check`: an endpoint tried stage by stage, up to the first that fails, with whom to ask for what.
//!
//! It writes only files of its own, under names that importers pass over, and removes them. What B would take for a
//! delivery (POST, PUT to the final name) is not tried.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::reach::who_answers;
use super::{Endpoint, Rename, Session, missing_folder, missing_source};
use crate::config::{Config, EndpointConfig};
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;

/// One stage: passed, or why not.
#[derive(Debug, Serialize)]
pub struct Step {
    /// `name`, `port`, `handshake`, `login`, `folder`, `data channel`, `list`, `write`, `verify`, `rename`, `delete`.
    pub step: String,
    /// It was passed.
    pub ok: bool,
    /// How long it took.
    pub ms: u64,
    /// What was found.
    pub detail: String,
    /// What to do, where it was not passed.
    pub hint: Option<String>,
}

/// What was found of an endpoint.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub endpoint: String,
    /// Every stage was passed.
    pub ok: bool,
    /// The stages, in order; the first that failed is the last.
    pub steps: Vec<Step>,
}

/// What is tried in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is there, and shows what lies in it.
    Look,
    /// Files are written, renamed and removed there too.
    Deliver,
}

/// A folder of an endpoint, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folder {
    path: PathBuf,
    what: Use,
    create: bool,
}

/// How deep a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// All stages.
    Full,
    /// Up to the folders: nothing is written.
    Reach,
}

/// An endpoint with what is to be tried there.
#[derive(Debug)]
pub struct Plan {
    endpoint: Arc<EndpointConfig>,
    folders: Vec<Folder>,
}

/// What is to be tried, endpoint by endpoint.
pub fn plans(config: &Config) -> Vec<Plan> {
    config.endpoints.values().map(|endpoint| Plan { endpoint: endpoint.clone(), folders: folders(config, endpoint) }).collect()
}

/// The folders that routes use on an endpoint; without any, the one of its address.
fn folders(config: &Config, endpoint: &EndpointConfig) -> Vec<Folder> {
    let mut out: Vec<Folder> = Vec::new();
    let ours = |d: &&crate::config::DestinationConfig| d.endpoint.as_ref().is_some_and(|e| e.name == endpoint.name);
    for destination in config.routes.iter().flat_map(|r| &r.destinations).filter(ours) {
        for path in [Some(&destination.path), destination.temp_path.as_ref()].into_iter().flatten() {
            let folder = Folder { path: PathBuf::from(path), what: Use::Deliver, create: destination.create };
            if !out.contains(&folder) {
                out.push(folder);
            }
        }
    }
    for remote in config.routes.iter().filter_map(|r| r.source.remote.as_ref()).filter(|s| s.endpoint.name == endpoint.name) {
        let folder = Folder { path: PathBuf::from(&remote.path), what: Use::Look, create: remote.create };
        if !out.iter().any(|f| f.path == folder.path) {
            out.push(folder);
        }
    }
    if out.is_empty() {
        // An address that names a folder is meant for files; the root of a server is not.
        let named = !matches!(endpoint.url.path().trim_end_matches('/'), "" | "/~");
        out.push(Folder { path: PathBuf::new(), what: if named { Use::Deliver } else { Use::Look }, create: false });
    }
    out
}

impl Plan {
    /// The endpoint.
    pub fn endpoint(&self) -> &EndpointConfig {
        &self.endpoint
    }

    /// Tries it.
    pub fn run(&self, depth: Depth, stop: &Stop) -> Report {
        let endpoint = &self.endpoint;
        let mut stages = Stages { steps: Vec::new(), since: Instant::now() };
        let tried = super::open(endpoint).and_then(|server| self.try_out(&*server, depth, stop, &mut stages));
        if let Err(e) = tried {
            stages.failed(&e, endpoint);
        }
        let veil = super::veil::Veil::of(endpoint);
        for step in &mut stages.steps {
            step.detail = veil.over(&step.detail);
            step.hint = step.hint.as_deref().map(|hint| veil.over(hint));
        }
        Report { endpoint: endpoint.name.clone(), ok: stages.steps.iter().all(|s| s.ok), steps: stages.steps }
    }

    fn try_out(&self, server: &dyn Endpoint, depth: Depth, stop: &Stop, stages: &mut Stages) -> Result<()> {
        let mut told = |step, detail| {
            stages.passed(step, detail);
            Ok(())
        };
        let mut session = server.connect(stop, &mut told)?;
        if depth == Depth::Full {
            server.greet(stop, &mut told)?;
        }
        if server.direct() {
            return Ok(());
        }
        for folder in &self.folders {
            let shown = if folder.path.as_os_str().is_empty() { self.endpoint.url.path().to_owned() } else { crate::error::shown(&folder.path) };
            match session.stat(&folder.path).map_err(|e| e.at("folder"))? {
                // A web server does not tell a folder from a file.
                Some(found) if !found.folder && !self.endpoint.url.scheme().starts_with("http") => {
                    return Err(Error::endpoint(format!("{shown} is a file, not a folder")).at("folder").hint("check the path"));
                }
                Some(_) => {}
                None if folder.create && depth == Depth::Full => session.make_folder(&folder.path).map_err(|e| e.at("folder"))?,
                None if folder.create => {}
                None if folder.what == Use::Look => return Err(missing_source(&format!("the folder {shown} does not exist")).at("folder")),
                None => return Err(missing_folder(Path::new(&shown)).at("folder")),
            }
            stages.passed("folder", format!("{shown} is there"));
            if depth == Depth::Full {
                use_folder(&mut *session, folder, &shown, stages)?;
            }
        }
        Ok(())
    }
}

/// Tries all endpoints at a start, beside the work, and logs what is found.
pub fn at_start(plans: Vec<Plan>, stop: Stop) {
    let work = move || {
        for plan in plans {
            let report = plan.run(Depth::Reach, &stop);
            if stop.is_set() {
                return;
            }
            match report.steps.iter().find(|s| !s.ok) {
                Some(step) => {
                    let hint = step.hint.as_ref().map(|h| format!(" — {h}")).unwrap_or_default();
                    tracing::warn!(endpoint = report.endpoint, "{}: {}{hint}", step.step, step.detail);
                }
                None => {
                    let able = report.steps.iter().find(|s| s.step == "login").map_or(String::new(), |s| format!(": {}", s.detail));
                    tracing::info!(endpoint = report.endpoint, "it can be reached{able}");
                }
            }
        }
    };
    if let Err(e) = std::thread::Builder::new().name("check".into()).spawn(work) {
        tracing::warn!("the endpoints are not tried at the start: {e}");
    }
}

struct Stages {
    steps: Vec<Step>,
    since: Instant,
}

impl Stages {
    fn passed(&mut self, step: &str, detail: String) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step { step: step.to_owned(), ok: true, ms, detail, hint: None });
        self.since = Instant::now();
    }

    /// The stage of connecting that comes next, for errors that do not name theirs.
    fn next(&self) -> &'static str {
        const CONNECTING: [&str; 4] = ["name", "port", "handshake", "login"];
        CONNECTING.into_iter().find(|stage| self.steps.iter().all(|s| s.step != *stage)).unwrap_or("folder")
    }

    fn failed(&mut self, e: &Error, endpoint: &EndpointConfig) {
        let step = e.step().unwrap_or_else(|| self.next());
        // Here, what is uploaded is written.
        let step = if step == "upload" { "write" } else { step }.to_owned();
        let other = (step == "handshake" && e.kind() != Kind::Login).then(|| who_answers(endpoint)).flatten();
        let hint = other.or_else(|| e.advice().map(str::to_owned)).or_else(|| Some("ask the server's keeper, with these words".to_owned()));
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step { step, ok: false, ms, detail: e.message().to_owned(), hint });
    }
}

fn use_folder(session: &mut dyn Session, folder: &Folder, shown: &str, stages: &mut Stages) -> Result<()> {
    let mut names = 0u64;
    let listed = session.list(&folder.path, &mut |_| {
        names += 1;
        Ok(())
    });
    let listed = match listed {
        // B's folder needs no listing.
        Err(e) if folder.what == Use::Deliver && matches!(e.kind(), Kind::Unsupported | Kind::Denied) => Err(e.message().to_owned()),
        other => Ok(other.map_err(|e| e.at("list"))?),
    };
    if let Some(data) = session.data_channel() {
        stages.passed("data channel", data);
    }
    stages.passed("list", listed.map_or_else(|why| format!("not possible, and not needed to deliver: {why}"), |()| format!("{names} names in {shown}")));
    if folder.what == Use::Look {
        return Ok(());
    }
    // Two checks at once must not take each other's files.
    let id = format!("{:x}-{:x}", std::process::id(), jiff::Timestamp::now().as_millisecond());
    let (temporary, last) = (folder.path.join(format!(".passerelle-check-{id}.part")), folder.path.join(format!(".passerelle-check-{id}")));
    let tried = write_there(session, &temporary, &last, stages);
    if tried.is_err() {
        // What is left of a check must not stay there; what can't be removed was told already.
        let _ = session.remove(&temporary).and_then(|()| session.remove(&last));
    }
    tried
}

fn write_there(session: &mut dyn Session, temporary: &Path, last: &Path, stages: &mut Stages) -> Result<()> {
    const TEXT: &[u8] = b"passerelle tries whether it may write here; it removes this file at once.\n";
    let size = TEXT.len() as u64;
    session.write(temporary, &mut &*TEXT, size, None).map_err(|e| e.at("write"))?;
    stages.passed("write", format!("{size} bytes as {}", crate::error::shown(temporary)));
    match session.stat(temporary).map_err(|e| e.at("verify"))? {
        Some(found) if found.size.is_none_or(|s| s == size) => {}
        Some(found) => {
            let message = format!("the server has {} bytes of {size}", found.size.unwrap_or_default());
            return Err(Error::endpoint(message)
                .at("verify")
                .hint("most often a transfer in text mode, a full disk, or a filter in between: ask the server's keeper"));
        }
        None => {
            let error = Error::endpoint("the file that was just written is not there").at("verify");
            return Err(error.hint("the server takes uploads away at once: let it leave names that begin with a dot, or set temp_path"));
        }
    }
    stages.passed("verify", "its size is right".to_owned());
    session.rename(temporary, last, Rename::New).map_err(|e| e.at("rename"))?;
    stages.passed("rename", format!("to {}", crate::error::shown(last)));
    session.remove(last).map_err(|e| e.at("delete"))?;
    stages.passed("delete", "it is gone".to_owned());
    Ok(())
}
