//! What is told of the routes: what waits, and why.

use super::Dispatcher;
use crate::config::Config;
use crate::job::JobId;

/// Why the jobs behind a failed one wait where `on_error` is "halt".
pub fn halted_by(failed: JobId) -> String {
    format!("job {failed} failed, and on_error is \"halt\": `passerelle retry {failed}`, or remove its file from errors")
}

impl Dispatcher {
    /// How many jobs of a route are in workers' hands, and how many wait here.
    pub fn counts(&self, route: &str) -> (usize, usize) {
        self.routes.get(route).map_or((0, 0), |r| {
            let busy = r.jobs.values().filter(|s| s.busy).count();
            (busy, r.jobs.len() - busy)
        })
    }

    /// Why the first job of a route does not go on.
    pub fn reason(&self, route: &str) -> Option<String> {
        let r = self.routes.get(route)?;
        if let Some(e) = &r.blocked {
            return Some(e.to_string());
        }
        if let Some(why) = self.doubt(route).filter(|_| !r.jobs.is_empty()) {
            return Some(why);
        }
        if let Some(h) = r.halted_by {
            return Some(halted_by(h));
        }
        let job = r.jobs.values().find_map(|s| s.last_error.as_ref().filter(|_| !s.not_before.is_empty()));
        job.or(r.stuck.why.as_ref()).map(ToString::to_string)
    }

    /// Whether a job is known here.
    pub fn holds(&self, route: &str, id: JobId) -> bool {
        self.routes.get(route).is_some_and(|r| r.jobs.contains_key(&id))
    }

    /// Warns of routes that a new configuration has not any more, and whose files wait for it.
    pub fn tell_gone(&self, config: &Config) {
        for (name, route) in self.routes.iter().filter(|(name, r)| !r.jobs.is_empty() && config.routes.iter().all(|r| r.name != **name)) {
            let files = route.jobs.len();
            tracing::warn!(route = *name, "the route is gone from the configuration, and {files} of its files wait until it is put back");
        }
    }

    /// Warns of routes that a single run passed over.
    pub fn tell_paused(&self) {
        for name in self.routes.iter().filter(|(_, r)| r.paused).map(|(name, _)| name) {
            tracing::warn!(route = *name, "it is paused, and nothing of it was relayed: passerelle resume {name}");
        }
    }

    /// Jobs that are neither delivered nor failed, whatever they wait for, files that are ready and had no room beside them, and
    /// files that can't be taken.
    pub fn waiting(&self) -> usize {
        self.routes.values().map(|r| r.jobs.len() + r.left + r.stuck.files).sum()
    }
}
