//! Routes that would relay their own files for ever, fight for the same files, or meddle with the relay's own folders.
//!
//! Links are followed for it, as far as folders exist. What only happens at B (a program that copies its import folder into
//! A's export folder) can't be seen from here.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::{DestinationConfig, Route, real};
use super::{Builder, EndpointConfig};
use crate::naming::{self, CLAIMED, Facts};
use crate::options::{Options, Val};

/// A folder, on this host or on a server.
#[derive(PartialEq)]
struct Place {
    /// Host and port; none: this host.
    server: Option<(String, u16)>,
    path: PathBuf,
}

impl Place {
    fn here(path: &Path) -> Self {
        Self { server: None, path: real(path) }
    }
    fn at(endpoint: &EndpointConfig, path: &str) -> Self {
        let parts = endpoint.url.path().split('/').chain(path.split('/'));
        Self { server: Some((endpoint.host(), endpoint.port())), path: parts.filter(|p| !matches!(*p, "" | ".")).collect() }
    }
    fn of_source(route: &Route) -> Self {
        match &route.source.remote {
            Some(remote) => Self::at(&remote.endpoint, &remote.path),
            None => Self::here(&route.source.path),
        }
    }
    fn of(destination: &DestinationConfig) -> Self {
        match &destination.endpoint {
            Some(endpoint) => Self::at(endpoint, &destination.path),
            None => Self::here(Path::new(&destination.path)),
        }
    }
    /// Whether a route's source takes files of this place.
    fn feeds(&self, route: &Route) -> bool {
        let source = Self::of_source(route);
        *self == source || (route.source.recursive && self.server == source.server && self.path.starts_with(&source.path))
    }
}

impl Builder<'_> {
    pub(super) fn loops(&mut self, options: &Options, routes: &[Arc<Route>]) {
        let home = real(&self.home);
        let span = |route: &Route| options.map("routes").iter().find(|(n, _)| *n == route.name).map_or(0..0, |(_, e)| e.key_span.clone());
        for (i, route) in routes.iter().enumerate() {
            self.own_folders(&home, route, &span(route));
            for (at, destination) in route.destinations.iter().enumerate() {
                let place = Place::of(destination);
                if place.feeds(route) {
                    let message = format!("the route `{}` delivers into its own source: it would relay its own files for ever", route.name);
                    self.mistake(span(route), message, "a loop", Some("give B another folder".into()));
                }
                // What is posted has no folder: the same API may be told of a file twice on purpose.
                let posted = destination.endpoint.as_ref().is_some_and(|e| e.url.scheme().starts_with("http") && e.method != "PUT");
                if !posted && route.destinations[..at].iter().any(|other| Place::of(other) == place) {
                    let message = format!("the route `{}` delivers twice into the same folder", route.name);
                    self.mistake(span(route), message, "twice the same destination", Some("name each folder once".into()));
                }
            }
            for other in &routes[..i] {
                let both = [&**other, &**route];
                if let Some((outer, inner, folder)) =
                    [both, [both[1], both[0]]].into_iter().find_map(|[outer, inner]| Some((outer, inner, below(outer, inner)?)))
                    && let Some(name) = instances(options, inner).into_iter().find(|n| outer.source.wants(format!("{folder}/{n}").as_bytes()))
                {
                    self.mistake(
                        span(route),
                        format!(
                            "the route `{}` takes what lies below its folder too, and so the files of the route `{}`, as `{folder}/{name}`",
                            outer.name, inner.name
                        ),
                        "takes the same files",
                        Some(format!("exclude = [\"{folder}/**\"] in the source of `{}`, or recursive = false", outer.name)),
                    );
                }
                if Place::of_source(other) == Place::of_source(route)
                    && let Some(file) = fought_for(options, other, route)
                {
                    self.mistake(
                        span(route),
                        format!("the routes `{}` and `{}` take the same files of the same folder{file}", other.name, route.name),
                        "takes the same files",
                        Some(
                            "one route with two destinations; `include` or `exclude` that leave each file to one of them; or on_success = \"keep\" in both"
                                .into(),
                        ),
                    );
                }
            }
        }
        if let Some((route, through)) = routes.iter().find_map(|route| Some((route, circle(options, routes, route)?))) {
            let message = format!("the routes `{}` relay the same files in a circle, for ever", through.join("` and `"));
            self.mistake(span(route), message, "a loop", Some("give each direction folders of its own, or an `include` that takes A's files alone".into()));
        }
    }

    /// The relay's own folders are nobody's source and nobody's destination.
    fn own_folders(&mut self, home: &Path, route: &Route, span: &Range<usize>) {
        let ours = |path: &Path| {
            let within = ["archive", "errors", "work", "remote"].iter().any(|f| path.starts_with(home.join(f)) || path.starts_with(real(&home.join(f))));
            within || path.components().any(|part| part.as_os_str() == CLAIMED)
        };
        let source = &route.source;
        if source.remote.is_none() {
            let path = real(&source.path);
            if home.starts_with(&path) && (source.recursive || home == path) {
                self.mistake(span.clone(), format!("home lies in the source of `{}`", route.name), "a loop", Some("put home elsewhere".into()));
            } else if ours(&path) {
                let message = format!("the source of `{}` is a folder of the relay's own", route.name);
                self.mistake(span.clone(), message, "a loop", Some("to deliver archived files once more: passerelle replay JOB".into()));
            }
        }
        for destination in route.destinations.iter().filter(|d| d.endpoint.is_none()) {
            let path = real(Path::new(&destination.path));
            if path == home || ours(&path) {
                let message = format!("the route `{}` delivers into a folder of the relay's own", route.name);
                self.mistake(span.clone(), message, "not B's folder", Some("give B a folder outside of home".into()));
            }
        }
    }
}

/// What a route's `include` says.
fn includes(options: &Options, route: &Route) -> Vec<String> {
    listed(options, route, "include").unwrap_or_else(|| vec!["*".into()])
}

fn listed(options: &Options, route: &Route, key: &str) -> Option<Vec<String>> {
    let table = options.map("routes").iter().find(|(name, _)| *name == route.name).map(|(_, entry)| &entry.value);
    let source = table.and_then(|value| if let Val::Table(t) = value { t.table("source") } else { None });
    source.and_then(|s| s.texts(key))
}

/// Whether one of two routes of a folder takes what the other would, with an example where that is not plain to see. Where
/// both leave files in their place, both may have them.
fn fought_for(options: &Options, one: &Route, other: &Route) -> Option<String> {
    if one.source.leaves_files() && other.source.leaves_files() {
        return None;
    }
    let excludes = |route| listed(options, route, "exclude").unwrap_or_default();
    if includes(options, one) == includes(options, other) && excludes(one) == excludes(other) {
        return Some(String::new());
    }
    let mut names = instances(options, one).into_iter().chain(instances(options, other));
    let name = names.find(|name| [one, other].iter().all(|route| route.source.wants(name.as_bytes())))?;
    Some(format!(", as `{name}`"))
}

/// Where the folder of one route's source lies below that of another one, which takes subfolders; none: it does not, or both
/// leave files in their place.
fn below(outer: &Route, inner: &Route) -> Option<String> {
    if !outer.source.recursive || (outer.source.leaves_files() && inner.source.leaves_files()) {
        return None;
    }
    let (outer, inner) = (Place::of_source(outer), Place::of_source(inner));
    let folder = inner.path.strip_prefix(&outer.path).ok().filter(|_| inner.server == outer.server)?;
    folder.to_str().filter(|folder| !folder.is_empty()).map(str::to_owned)
}

/// A name for each pattern of a route's `include`; for those with choices, none.
fn instances(options: &Options, route: &Route) -> Vec<String> {
    let plain = includes(options, route).into_iter().filter(|p| !p.contains(['[', '{']));
    plain.filter_map(|p| p.rsplit('/').next().map(|last| last.replace(['*', '?'], "x"))).collect()
}

/// Names that a route takes.
fn samples(options: &Options, route: &Route) -> Vec<Vec<u8>> {
    let names = instances(options, route).into_iter().flat_map(|name| [format!("{name}.csv"), name]);
    names.map(String::into_bytes).filter(|name| route.source.wants(name)).collect()
}

/// The routes through which a file of this one comes back to it again and again; none: it does not.
fn circle(options: &Options, routes: &[Arc<Route>], first: &Arc<Route>) -> Option<Vec<String>> {
    // Its own source as a destination is told by itself.
    let others = |route: &Route, name: &[u8]| -> Vec<(usize, Vec<u8>)> {
        let published = published(route, name);
        let fed = |next: &Route| next.name != route.name && next.source.wants(&published) && route.destinations.iter().any(|d| Place::of(d).feeds(next));
        routes.iter().enumerate().filter(|(_, next)| fed(next)).map(|(i, _)| (i, published.clone())).collect()
    };
    let start = routes.iter().position(|r| Arc::ptr_eq(r, first))?;
    for name in samples(options, first) {
        let mut reached: BTreeSet<(usize, Vec<u8>)> = BTreeSet::from([(start, name)]);
        let (mut passed, mut returns) = (BTreeSet::from([start]), 0);
        for _ in 0..2 * routes.len() {
            reached = reached.iter().flat_map(|(at, name)| others(&routes[*at], name)).collect();
            passed.extend(reached.iter().map(|(at, _)| *at));
            returns += usize::from(reached.iter().any(|(at, _)| *at == start));
        }
        // Once may be meant: a name that changes on its way may not be taken again.
        if returns > 1 {
            return Some(passed.into_iter().map(|at| routes[at].name.clone()).collect());
        }
    }
    None
}

/// The name under which a route publishes a file.
fn published(route: &Route, name: &[u8]) -> Vec<u8> {
    let time = jiff::Zoned::default();
    let facts = Facts { name, path: name, job: 1, id: "", part: 1, time: &time };
    let t = route.transformation.as_ref();
    naming::published(route.output_name.as_ref(), t.map(|t| t.extension()).as_deref(), &facts, t.is_some_and(|t| t.split.is_some()))
}
