//! Schedules, sources, destinations and retries of a route, built from their keys.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::super::raw::mode;
use super::super::{DestinationConfig, Empty, EndpointConfig, IfExists, Leave, Names, OnSuccess, Purpose, RemoteSource, Retry, Sort, SourceConfig, Verify};
use super::Builder;
use super::parts::normal;
use crate::naming::{Template, check_folder};
use crate::options::{Options, nearest};
use crate::schedule::Schedule;

/// The folder of the home in which what was fetched from remote sources lies.
const REMOTE: &str = "remote";

impl Builder<'_> {
    pub(super) fn schedule(&mut self, o: &Options) -> Option<Schedule> {
        if o.has("schedule") && o.has("every") {
            self.mistake(o.span_of("every"), "`schedule` and `every` exclude each other", "one of the two", None);
        }
        if let Some(cron) = o.text("schedule") {
            return match Schedule::cron(&cron) {
                Ok(schedule) => Some(schedule),
                Err(why) => {
                    self.mistake(
                        o.span_of("schedule"),
                        format!("`schedule` is no cron expression: {why}"),
                        "expected minute hour day month weekday, as in \"*/5 * * * *\"",
                        None,
                    );
                    None
                }
            };
        }
        o.duration("every").map(Schedule::Every)
    }

    pub(super) fn globs(&mut self, o: &Options, key: &str, default: &str) -> GlobSet {
        let mut set = GlobSetBuilder::new();
        for pattern in o.texts(key).unwrap_or_else(|| if default.is_empty() { Vec::new() } else { vec![default.to_owned()] }) {
            match GlobBuilder::new(&pattern).literal_separator(true).build() {
                Ok(glob) => {
                    set.add(glob);
                }
                Err(e) => self.mistake(o.span_of(key), format!("`{key}`: {} is no glob: {}", pattern, e.kind()), "expected a pattern as in \"*.csv\"", None),
            }
        }
        set.build().unwrap_or_else(|_| GlobSet::empty())
    }

    pub(super) fn source(&mut self, route: &str, o: &Options) -> Option<SourceConfig> {
        let remote = self.remote_source(o);
        // Where nothing is relayed, each route has a folder that is nobody's.
        let nowhere = || (remote.is_some() || self.purpose == Purpose::Transform).then(|| format!(".{route}"));
        let Some(path) = o.text("path").or_else(nowhere) else {
            self.mistake(o.span.clone(), format!("the source of `{route}` has no path"), "needs `path`, A's export folder", None);
            return None;
        };
        let include = self.globs(o, "include", "*");
        let exclude = self.globs(o, "exclude", "");
        let outright = o.texts("include").unwrap_or_default().into_iter().filter(|p| !p.contains(['*', '?', '[', '{'])).collect();
        let on_success = match o.word("on_success").as_str() {
            // Of a remote source, this is about what was fetched.
            "keep" | "move" if o.has("endpoint") => OnSuccess::Delete,
            "delete" => OnSuccess::Delete,
            "keep" => OnSuccess::Keep,
            "move" => {
                self.mistake(o.span_of("on_success"), "`on_success = \"move\"` is for remote sources", "expected \"archive\", \"delete\" or \"keep\"", None);
                OnSuccess::Archive
            }
            _ => OnSuccess::Archive,
        };
        Some(SourceConfig {
            // What was fetched is whole.
            settle: match &remote {
                None if o.has("settle") => o.duration("settle"),
                None => None,
                Some(_) => Some(Duration::ZERO),
            },
            path: if remote.is_some() { self.home.join(REMOTE).join(route) } else { normal(&self.base.join(path)) },
            names: Names { include, outright, exclude },
            recursive: o.flag("recursive"),
            done_file: self.companion(o, "done_file", &["name", "stem", "ext"]),
            checksum_file: self.companion(o, "checksum_file", &["name", "stem", "ext"]),
            min_size: o.size("min_size"),
            empty: match o.word("empty").as_str() {
                "send" => Empty::Send,
                "fail" => Empty::Fail,
                _ => Empty::Skip,
            },
            poll_only: o.word("watch") == "poll" || remote.is_some(),
            poll_interval: o.duration("poll_interval").unwrap_or(Duration::from_secs(30)),
            sort: if o.word("sort") == "name" { Sort::Name } else { Sort::Modified },
            max_files: o.count("max_files"),
            on_success,
            skip_duplicates: o.word("duplicates") == "skip",
            records: false,
            beside: Vec::new(),
            before: o.texts("before"),
            create: o.flag("create") || remote.is_some(),
            remote,
        })
    }

    fn named_endpoint(&mut self, o: &Options) -> Option<Arc<EndpointConfig>> {
        let name = o.text("endpoint")?;
        let found = self.endpoints.get(&name).cloned();
        if found.is_none() {
            let hint = nearest(&name, self.endpoints.keys().map(String::as_str))
                .map_or_else(|| format!("declare it as [endpoints.{name}]"), |n| format!("did you mean \"{n}\"?"));
            self.mistake(o.span_of("endpoint"), format!("there is no endpoint `{name}`"), "not declared", Some(hint));
        }
        found
    }

    /// A path that stands below an endpoint's.
    fn below(&mut self, o: &Options, key: &str) -> String {
        let path = o.text(key).unwrap_or_default();
        if path.starts_with('/') {
            self.mistake(
                o.span_of(key),
                "the path of a route stands below the endpoint's URL",
                "expected a relative path",
                Some("put the leading part into the endpoint's url".into()),
            );
        }
        if let Err(why) = check_folder(&path) {
            self.mistake(o.span_of(key), format!("`{key}`: {why}"), "", None);
        }
        path
    }

    fn remote_source(&mut self, o: &Options) -> Option<RemoteSource> {
        let Some(endpoint) = self.named_endpoint(o) else {
            if o.has("move_to") {
                self.mistake(o.span_of("move_to"), "`move_to` is for remote sources", "needs `endpoint`", None);
            }
            return None;
        };
        let path = self.below(o, "path");
        let move_to = o.has("move_to").then(|| self.below(o, "move_to"));
        let leave = match (o.word("on_success").as_str(), move_to) {
            ("keep", _) => Leave::Keep,
            ("move", Some(folder)) => {
                if Path::new(&folder).components().eq(Path::new(&path).components()) {
                    self.mistake(o.span_of("move_to"), "`move_to` is the source's own folder: each file would come again", "needs another folder", None);
                }
                Leave::Move(folder)
            }
            ("move", None) => {
                self.mistake(o.span_of("on_success"), "`on_success = \"move\"` needs `move_to`, the folder at the server", "needs `move_to`", None);
                Leave::Keep
            }
            _ => Leave::Nothing,
        };
        if endpoint.url.scheme().starts_with("http") && o.word("on_success") == "move" && !endpoint.webdav_move {
            self.mistake(o.span_of("on_success"), "`on_success = \"move\"` over HTTP is a WebDAV MOVE", "needs publish = \"move\" on the endpoint", None);
        }
        let settle = if o.has("settle") { o.duration("settle") } else { None };
        let named = self.named_files(o, &endpoint);
        Some(RemoteSource { endpoint, path, named, settle, leave, create: o.flag("create") })
    }

    /// Files of a web server that are asked for by their names, since it lists none.
    fn named_files(&mut self, o: &Options, endpoint: &EndpointConfig) -> Option<Vec<String>> {
        let names = o.texts("include")?;
        let plain = names.iter().all(|n| !n.contains(['*', '?', '[', '{', '/']));
        let by_name = endpoint.url.scheme().starts_with("http") && !endpoint.webdav_move && plain && o.word("on_success") == "keep";
        for key in ["done_file", "checksum_file", "settle"].into_iter().filter(|key| by_name && o.has(key)) {
            self.mistake(o.span_of(key), format!("`{key}` needs a listing, and files of a web server are got by their names"), "not needed", None);
        }
        by_name.then_some(names)
    }

    /// The name of a file beside another one, which is never that file itself.
    fn companion(&mut self, o: &Options, key: &str, allowed: &[&str]) -> Option<Template> {
        if o.text(key).is_some_and(|t| t.contains('/') || matches!(t.as_str(), "" | "." | "..")) {
            self.mistake(o.span_of(key), format!("`{key}` is no name of a file beside another"), "expected a name without slashes", None);
        } else if o.text(key).is_some_and(|t| matches!(t.as_str(), "{name}" | "{stem}.{ext}")) {
            self.mistake(
                o.span_of(key),
                format!("`{key}` is the name of the file itself, which it would empty"),
                "expected another one",
                Some("as in \"{name}.done\"".into()),
            );
        }
        self.template(o, key, allowed)
    }

    pub(super) fn destination(&mut self, route: &str, o: &Options) -> Option<DestinationConfig> {
        let endpoint = self.named_endpoint(o);
        if endpoint.is_none() && o.has("endpoint") {
            return None;
        }
        let path = match (o.text("path"), &endpoint) {
            (Some(_), Some(_)) => self.below(o, "path"),
            (Some(path), None) => normal(&self.base.join(path)).display().to_string(),
            (None, Some(_)) => String::new(),
            (None, None) => {
                self.mistake(o.span.clone(), format!("a destination of `{route}` has no path"), "needs `path`, B's import folder", None);
                return None;
            }
        };
        let http_direct = endpoint.as_ref().is_some_and(|e| matches!(e.url.scheme(), "http" | "https") && !e.webdav_move);
        let if_exists = match o.text("if_exists").as_deref() {
            Some("wait") => IfExists::Wait,
            Some("replace") => IfExists::Replace,
            Some("rename") => IfExists::Rename,
            Some("fail") => IfExists::Fail,
            _ if http_direct => IfExists::Replace,
            _ => IfExists::Wait,
        };
        let temp_name = self.template(o, "temp_name", &["name", "stem", "ext", "id", "job"])?;
        if temp_name.text().contains('/') {
            let hint = "temp_path names another folder".to_owned();
            self.mistake(o.span_of("temp_name"), "`temp_name` is a name, and leads to no other folder", "a name without /", Some(hint));
        }
        if !temp_name.text().contains("{id}") && !http_direct {
            self.mistake(o.span_of("temp_name"), "`temp_name` needs {id}, which tells deliveries apart", "needs {id}", None);
        }
        let after_remote = self.command(o, "after_remote");
        if after_remote.is_some() && endpoint.as_ref().is_none_or(|e| e.url.scheme() != "sftp") {
            self.mistake(
                o.span_of("after_remote"),
                "`after_remote` runs a command over SSH",
                "needs an sftp:// endpoint",
                Some("`after` runs one on this host".into()),
            );
        }
        let posted = http_direct && endpoint.as_ref().is_some_and(|e| e.method != "PUT");
        for (key, why) in [("confirm", "looks whether the file's name is gone"), ("done_file", "stands beside a file that has a name")] {
            if posted && o.has(key) {
                self.mistake(o.span_of(key), format!("`{key}` {why}: what is posted has none"), "needs a folder or a PUT", None);
            }
        }
        let temp_path = o.text("temp_path").map(|p| if endpoint.is_some() { p } else { normal(&self.base.join(p)).display().to_string() });
        Some(DestinationConfig {
            endpoint,
            path,
            if_exists,
            temp_name,
            temp_path,
            verify: match o.word("verify").as_str() {
                "hash" => Verify::Hash,
                "none" => Verify::None,
                _ => Verify::Size,
            },
            mode: o.text("mode").and_then(|m| mode(&m)),
            done_file: self.companion(o, "done_file", &["name", "stem", "ext", "job"]),
            confirm: o.duration("confirm"),
            after: self.command(o, "after"),
            after_remote,
            create: o.flag("create"),
        })
    }

    /// A command whose arguments may name the published file.
    fn command(&mut self, o: &Options, key: &str) -> Option<Vec<Template>> {
        let args = o.texts(key)?;
        Some(args.iter().filter_map(|arg| self.parsed(o, key, arg, &["name", "stem", "ext", "path", "job", "date"])).collect())
    }

    pub(super) fn retry(&mut self, o: Option<&Options>) -> Retry {
        let empty = Options::new(Vec::new(), 0..0, vec![crate::config::schema::ROOT]);
        let o = o.unwrap_or(&empty);
        Retry {
            initial_delay: o.duration("initial_delay").unwrap_or(Duration::from_secs(1)),
            multiplier: o.integer("multiplier").and_then(|n| u32::try_from(n).ok()).unwrap_or(2),
            max_delay: o.duration("max_delay").unwrap_or(Duration::from_secs(300)),
            give_up: o.duration("give_up").unwrap_or(Duration::from_secs(14 * 86_400)),
        }
    }
}
