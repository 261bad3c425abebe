//! `check`: an endpoint tried stage by stage, up to the first that fails, with whom to ask for what.
//!
//! It writes only files of its own, under names that importers pass over, and removes them. What B would take for a
//! delivery (POST, PUT to the final name) is not tried.

mod folders;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::reach::who_answers;
use super::{Endpoint, WAITS, missing_folder, missing_source};
use crate::config::{Config, EndpointConfig};
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;
use folders::{Folder, folders};

/// One stage: passed, or why not.
#[derive(Debug, Serialize)]
pub struct Step {
    /// `name`, `port`, `handshake`, `login`, `folder`, `data channel`, `list`, `read`, `write`, `verify`, `rename`, `delete`.
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
        if server.direct() && self.folders.iter().any(Folder::delivers) {
            stages.remark("what is sent there is a delivery at once, so nothing is sent to try it");
        }
        for folder in self.folders.iter().filter(|f| !f.delivers() || !server.direct()) {
            let shown = if folder.path.as_os_str().is_empty() { self.endpoint.url.path().to_owned() } else { crate::error::shown(&folder.path) };
            if let Some(names) = folder.named() {
                folders::named(&mut *session, folder, names, stages)?;
                continue;
            }
            match session.stat(&folder.path).map_err(|e| e.at("folder"))? {
                // A web server does not tell a folder from a file.
                Some(found) if !found.folder && !self.endpoint.url.scheme().starts_with("http") => {
                    return Err(Error::endpoint(format!("{shown} is a file, not a folder")).at("folder").hint("check the path"));
                }
                Some(_) => {}
                None if folder.create && depth == Depth::Full => session.make_folder(&folder.path).map_err(|e| e.at("folder"))?,
                None if folder.create => {}
                None if folder.delivers() => return Err(missing_folder(Path::new(&shown)).at("folder")),
                None => return Err(missing_source(&format!("the folder {shown} does not exist")).at("folder")),
            }
            stages.passed("folder", format!("{shown} is there"));
            if depth == Depth::Full {
                folders::try_out(&mut *session, folder, &shown, stages)?;
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

    /// Adds a word to what was found by the last stage.
    fn remark(&mut self, words: &str) {
        if let Some(last) = self.steps.last_mut() {
            last.detail = format!("{}; {words}", last.detail);
        }
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
        let hint = other
            .or_else(|| e.advice().filter(|hint| *hint != WAITS).map(str::to_owned))
            .or_else(|| Some("ask the server's keeper, with these words".to_owned()));
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step { step, ok: false, ms, detail: e.message().to_owned(), hint });
    }
}
