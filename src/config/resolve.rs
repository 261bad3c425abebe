//! From checked keys to ready-to-use routes, with the checks that need more than one key.
//!
//! Nothing is opened or created here, except what a check must read: key files' permissions, the configuration's own.

mod loops;
mod parts;
mod records;
mod route;
mod servers;
mod sync;

use parts::normal;
pub use parts::{percent_decoded, percent_decoded_bytes, reading};

use super::raw::{Document, mode};
use super::{ArchiveCompress, Config, EndpointConfig, LookupConfig, Purpose, Route, schema};
use crate::naming::Template;
use crate::options::{Entry, Options, Val};
use crate::transform::expr::Named;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The default of `history.keep`.
const HISTORY_KEEP: Duration = Duration::from_secs(365 * 86_400);

struct Builder<'d> {
    doc: &'d mut Document,
    base: PathBuf,
    endpoints: BTreeMap<String, Arc<EndpointConfig>>,
    lookups: Vec<Arc<LookupConfig>>,
    /// Also those that have mistakes of their own.
    lookup_names: Vec<Named>,
    warnings: Vec<String>,
    max_memory: u64,
    home: PathBuf,
    purpose: Purpose,
}

/// A lookup as expressions know it; a table that stands in the configuration itself has one column.
fn known_lookup(name: &str, entry: &Entry) -> Named {
    let Val::Table(o) = &entry.value else { return Named { name: name.to_owned(), value: None, columns: None } };
    let columns = o.has("values").then(|| vec!["value".to_owned()]);
    let value = columns.as_ref().map_or_else(|| o.text("value"), |_| Some("value".to_owned()));
    Named { name: name.to_owned(), value, columns }
}

/// Builds the configuration; what is wrong is added to the document's mistakes.
pub fn resolve(doc: &mut Document, options: Options, file: &Path, purpose: Purpose) -> Option<Config> {
    let base = normal(file.parent().unwrap_or(Path::new("/")));
    let max_memory = options.size("max_memory").unwrap_or(256 << 20);
    let home = match options.text("home") {
        Some(home) => base.join(home),
        None => std::env::var_os("STATE_DIRECTORY").map_or_else(|| base.join("relay"), PathBuf::from),
    };
    let mut b = Builder {
        doc,
        base,
        home,
        endpoints: BTreeMap::new(),
        lookups: Vec::new(),
        lookup_names: options.map("lookups").iter().map(|(n, e)| known_lookup(n, e)).collect(),
        warnings: Vec::new(),
        max_memory,
        purpose,
    };
    b.permissions(file);
    b.later(&options, "");
    for (name, entry) in options.map("endpoints") {
        if let Val::Table(o) = &entry.value
            && let Some(endpoint) = b.endpoint(name, entry, o)
        {
            b.endpoints.insert(name.clone(), Arc::new(endpoint));
        }
    }
    for (name, entry) in options.map("lookups") {
        if let Val::Table(o) = &entry.value
            && let Some(lookup) = b.lookup(name, entry, o)
        {
            b.lookups.push(Arc::new(lookup));
        }
    }
    let mut routes: Vec<Route> = Vec::new();
    for (name, entry) in options.map("routes") {
        b.check_route_name(name, entry);
        if let Val::Table(o) = &entry.value
            && let Some(route) = b.route(name, entry, o)
        {
            routes.push(route);
        }
    }
    b.pair(&options, &mut routes);
    let routes: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
    if purpose != Purpose::Transform {
        b.loops(&options, &routes);
    }
    let archive = options.table("archive");
    let archive_mode = archive.and_then(|a| a.text("mode")).and_then(|m| mode(&m)).unwrap_or(0o640);
    let archive_compress = match archive.and_then(|a| a.text("compress")).as_deref() {
        Some("zstd") => ArchiveCompress::Zstd,
        _ => ArchiveCompress::None,
    };
    let archive_keep = archive.and_then(|a| a.duration("keep"));
    let history_keep = options.table("history").and_then(|h| h.duration("keep")).unwrap_or(HISTORY_KEEP);
    let Builder { endpoints, warnings, home, .. } = b;
    Some(Config {
        file: file.to_owned(),
        archive: home.join("archive"),
        errors: home.join("errors"),
        work: home.join("work"),
        home,
        jobs: options.count("jobs").unwrap_or(8),
        max_memory,
        archive_mode,
        archive_compress,
        archive_keep,
        history_keep,
        endpoints,
        routes,
        options,
        warnings,
    })
}

impl Builder<'_> {
    fn mistake(&mut self, span: std::ops::Range<usize>, message: impl Into<String>, label: impl Into<String>, hint: Option<String>) {
        self.doc.mistake(span, message, label, hint);
    }

    /// A configuration that anybody may write to would let anybody run commands as the relay.
    fn permissions(&mut self, file: &Path) {
        if let Ok(meta) = std::fs::metadata(file)
            && meta.mode() & 0o002 != 0
        {
            self.mistake(0..0, "everybody may write to this file", "", Some(format!("chmod o-w {}", file.display())));
        }
    }

    /// Keys whose work comes later are told, wherever they stand.
    fn later(&mut self, options: &Options, path: &str) {
        for (name, entry) in options.entries() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if schema::LATER.contains(&path.as_str()) {
                self.not_built(entry.key_span.clone(), &path);
                continue;
            }
            match &entry.value {
                Val::Table(inner) => self.later(inner, &path),
                Val::Map(entries) => {
                    for (_, inner) in entries {
                        if let Val::Table(t) = &inner.value {
                            self.later(t, &format!("{path}.*"));
                        }
                    }
                }
                Val::List(items) => {
                    for item in items {
                        if let Val::Table(t) = &item.value {
                            self.later(t, &path);
                        }
                    }
                }
                Val::Text(t) if path == "journal" && t != "sqlite" => {
                    if t.starts_with("postgres://") || t.starts_with("postgresql://") {
                        self.not_built(entry.span.clone(), "journal = \"postgres://…\"");
                    } else {
                        self.mistake(entry.span.clone(), "`journal` is \"sqlite\" or \"postgres://…\"", "expected \"sqlite\"", None);
                    }
                }
                _ => {}
            }
        }
    }

    fn not_built(&mut self, span: std::ops::Range<usize>, what: &str) {
        let what = what.replace(".*", "");
        self.mistake(
            span,
            format!("`{what}` is not built yet"),
            "not built yet",
            Some("remove it, or wait for the version that has it: nothing is silently ignored".into()),
        );
    }

    fn check_route_name(&mut self, name: &str, entry: &Entry) {
        let fine = !name.is_empty()
            && name.len() <= 100
            && !name.starts_with('.')
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
        if !fine {
            self.mistake(entry.key_span.clone(), "a route's name is a folder's name: letters, digits, `-`, `_` and `.`", "can't be a folder's name", None);
        }
    }

    fn template(&mut self, o: &Options, key: &str, allowed: &[&str]) -> Option<Template> {
        let text = o.text(key)?;
        self.parsed(o, key, &text, allowed)
    }

    fn parsed(&mut self, o: &Options, key: &str, text: &str, allowed: &[&str]) -> Option<Template> {
        match Template::parse(text, allowed) {
            Ok(template) => Some(template),
            Err(why) => {
                self.mistake(o.span_of(key), format!("`{key}`: {why}"), "", None);
                None
            }
        }
    }

    fn route(&mut self, name: &str, entry: &Entry, o: &Options) -> Option<Route> {
        let none = Options::new(Vec::new(), entry.key_span.clone(), vec![schema::SOURCE]);
        let source = o.table("source").or(Some(&none).filter(|_| self.purpose == Purpose::Transform));
        let Some(source) = source else {
            self.mistake(entry.key_span.clone(), format!("the route `{name}` has no source"), "needs [routes.….source] with a path", None);
            return None;
        };
        let destinations = o.tables("destination");
        if destinations.is_empty() && self.purpose != Purpose::Transform {
            self.mistake(entry.key_span.clone(), format!("the route `{name}` has no destination"), "needs [routes.….destination] with a path", None);
        }
        let schedule = self.schedule(o);
        let source = self.source(name, source);
        let mut transformation = self.transformation(name, o);
        let output = o.table("output");
        let output_name = output.and_then(|out| self.template(out, "name", &["name", "stem", "ext", "path", "job", "part", "date"]));
        if let Some(out) =
            output.filter(|out| out.text("name").is_some_and(|n| matches!(n.as_str(), "" | "." | "..") || (n.contains('/') && !n.contains("{date:"))))
        {
            self.mistake(out.span_of("name"), "`output.name` is no name of a file", "expected a name without slashes, as in \"clients_{stem}.csv\"", None);
        }
        let destinations: Vec<_> = destinations.into_iter().filter_map(|d| self.destination(name, d)).collect();
        if destinations.iter().any(|d| d.records().is_some()) {
            self.by_record(o, &destinations, transformation.as_mut());
        }
        let sync = self.sync(name, o, transformation.as_ref(), &destinations);
        let retry = self.retry(o.table("retry"));
        // A table that no expression names is not read, and can't hold a file back.
        let named = |l: &str| transformation.as_ref().is_some_and(|t| t.mapping.names(l));
        let lookups = self.lookups.iter().filter(|l| named(&l.name)).cloned().collect();
        let input = o.table("input");
        let csv = input.is_some_and(|i| i.entry("format").is_some_and(|f| f.as_text() == "csv"));
        Some(Route {
            name: name.to_owned(),
            schedule,
            halt_on_error: o.word("on_error") == "halt",
            source: super::SourceConfig { records: transformation.is_some(), ..source? },
            rejects_delimiter: input.filter(|_| csv).and_then(|i| i.char("delimiter")).unwrap_or(';'),
            transformation,
            lookups,
            output_name,
            destinations,
            retry,
            sync,
        })
    }
}
