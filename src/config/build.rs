//! From checked keys to ready-to-use routes, with the checks that need more than one key.
//!
//! Nothing is opened or created here, except what a check must read: key files' permissions, the configuration's own.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use secrecy::SecretString;

use super::raw::{Document, mode, percent};
use super::{Config, DestinationConfig, Empty, EndpointConfig, IfExists, LookupConfig, OnSuccess, Retry, Route, Sort, SourceConfig, Verify, schema};
use crate::formats;
use crate::formats::text::{Encoder, Reading, Style, Type};
use crate::naming::{Template, check_folder};
use crate::options::{Entry, Options, Val, nearest};
use crate::record::Columns;
use crate::schedule::Schedule;
use crate::transform::lookup::Duplicates;
use crate::transform::plan::{Mapping, Place, Rule};
use crate::transform::{Limit, Transformation};

struct Builder<'d> {
    doc: &'d mut Document,
    base: PathBuf,
    endpoints: BTreeMap<String, Arc<EndpointConfig>>,
    lookups: Vec<Arc<LookupConfig>>,
    warnings: Vec<String>,
    max_memory: u64,
}

/// Builds the configuration; what is wrong is added to the document's mistakes.
pub fn build(doc: &mut Document, options: Options, file: &Path) -> Option<Config> {
    let base = normal(file.parent().unwrap_or(Path::new("/")));
    let max_memory = options.size("max_memory").unwrap_or(256 << 20);
    let mut b = Builder { doc, base, endpoints: BTreeMap::new(), lookups: Vec::new(), warnings: Vec::new(), max_memory };
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
    let mut routes: Vec<Arc<Route>> = Vec::new();
    for (name, entry) in options.map("routes") {
        b.check_route_name(name, entry);
        if let Val::Table(o) = &entry.value
            && let Some(route) = b.route(name, entry, o)
        {
            routes.push(Arc::new(route));
        }
    }
    let home = match options.text("home") {
        Some(home) => b.base.join(home),
        None => std::env::var_os("STATE_DIRECTORY").map_or_else(|| b.base.join("relay"), PathBuf::from),
    };
    b.loops(&options, &routes, &home);
    let archive_mode = options.table("archive").and_then(|a| a.text("mode")).and_then(|m| mode(&m)).unwrap_or(0o640);
    let Builder { endpoints, warnings, .. } = b;
    Some(Config { file: file.to_owned(), home, jobs: options.count("jobs").unwrap_or(8), max_memory, archive_mode, endpoints, routes, options, warnings })
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
                Val::Text(t) if path == "endpoints.*.publish" && t == "records" => self.not_built(entry.span.clone(), "publish = \"records\""),
                Val::Text(t) if path.ends_with(".format") && formats::LATER.contains(&t.as_str()) => {
                    self.not_built(entry.span.clone(), &format!("format = \"{t}\""))
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

    fn endpoint(&mut self, name: &str, entry: &Entry, o: &Options) -> Option<EndpointConfig> {
        let Some(text) = o.text("url") else {
            self.mistake(
                entry.key_span.clone(),
                format!("the endpoint `{name}` has no url"),
                "needs a url",
                Some("as in url = \"sftp://user@host/folder\"".into()),
            );
            return None;
        };
        let span = o.span_of("url");
        let mut url = match url::Url::parse(&text) {
            Ok(url) => url,
            Err(e) => {
                self.mistake(span, format!("`endpoints.{name}.url` is no URL: {e}"), "expected scheme://user@host:port/path", None);
                return None;
            }
        };
        const SCHEMES: &[&str] = &["sftp", "ftp", "ftps", "http", "https"];
        if !SCHEMES.contains(&url.scheme()) {
            let hint = nearest(url.scheme(), SCHEMES.iter().copied()).map(|n| format!("did you mean {n}://?"));
            self.mistake(span, format!("the scheme {}:// is not known", url.scheme()), format!("expected one of {}", SCHEMES.join(", ")), hint);
            return None;
        }
        if url.host_str().is_none_or(str::is_empty) {
            self.mistake(span, format!("`endpoints.{name}.url` has no host"), "expected scheme://user@host:port/path", None);
            return None;
        }
        let decode = |t: &str| percent_decoded(t);
        let user = decode(url.username());
        let in_url = url.password().map(decode);
        // Neither fails for a URL with a host.
        let _ = url.set_password(None);
        let password = o.text("password").or(in_url);
        let plain = matches!(url.scheme(), "ftp" | "http");
        let secret = password.is_some() || o.has("headers");
        let host = url.host_str().unwrap_or_default().to_owned();
        let loopback = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        if plain && secret && !loopback {
            self.warnings.push(format!(
                "endpoint {name}: the password crosses the network readable for everybody ({}://): use {}s or sftp",
                url.scheme(),
                url.scheme()
            ));
        }
        let base = self.base.clone();
        let path = |key: &str| o.text(key).map(|p| base.join(p));
        let identity_file = path("identity_file");
        if let Some(key) = identity_file.as_ref().and_then(|k| std::fs::metadata(k).ok())
            && key.mode() & 0o077 != 0
        {
            let shown = identity_file.as_ref().map(|k| k.display().to_string()).unwrap_or_default();
            self.mistake(
                o.span_of("identity_file"),
                "others may read the private key",
                "must be readable by its owner only",
                Some(format!("chmod 600 {shown}")),
            );
        }
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let known_hosts = path("known_hosts").unwrap_or_else(|| home.join(".ssh/known_hosts"));
        let seconds = |key: &str| o.duration(key).unwrap_or(Duration::from_secs(60));
        Some(EndpointConfig {
            name: name.to_owned(),
            user,
            password: password.map(SecretString::from),
            passphrase: o.text("passphrase").map(SecretString::from),
            agent: o.flag("agent"),
            known_hosts,
            connections: o.count("connections").unwrap_or(4),
            connect_timeout: seconds("connect_timeout"),
            timeout: seconds("timeout"),
            limit_rate: o.size("limit_rate").filter(|r| *r > 0),
            keepalive: seconds("keepalive"),
            implicit_tls: o.word("tls") == "implicit",
            ca_file: path("ca_file"),
            passive: o.flag("passive"),
            method: o.word("method"),
            field: o.word("field"),
            webdav_move: o.word("publish") == "move",
            headers: o.map("headers").iter().map(|(n, e)| (n.clone(), SecretString::from(e.as_text().to_owned()))).collect(),
            client_cert: path("client_cert").map(|cert| (cert, path("client_key"))),
            identity_file,
            url,
        })
    }

    fn lookup(&mut self, name: &str, entry: &Entry, o: &Options) -> Option<LookupConfig> {
        let values: Vec<(String, String)> = o.map("values").iter().map(|(k, e)| (k.clone(), e.as_text().to_owned())).collect();
        let key = o.texts("key").unwrap_or_default();
        let file = self.template(o, "file", &["name", "stem", "path", "ext"]);
        match (o.has("file"), o.has("values")) {
            (true, true) | (false, false) => {
                self.mistake(entry.key_span.clone(), format!("the lookup `{name}` needs either `file` or `values`"), "one of the two", None);
                return None;
            }
            (true, false) if key.is_empty() => {
                self.mistake(entry.key_span.clone(), format!("the lookup `{name}` has no key"), "needs `key`, the column by which records are found", None);
                return None;
            }
            _ => {}
        }
        let format = o.entry("format").map_or("csv", |f| f.as_text());
        let Some(format) = formats::named(format) else {
            return None; // told by the schema, or not built yet
        };
        if !format.has_columns() {
            self.mistake(o.span_of("format"), "a lookup is read from a file with columns", "expected \"csv\"", None);
            return None;
        }
        let duplicates = if o.word("duplicates") == "error" { Duplicates::Error } else { Duplicates::First };
        Some(LookupConfig { name: name.to_owned(), file, base: self.base.clone(), key, value: o.text("value"), duplicates, values, format, input: o.clone() })
    }

    fn template(&mut self, o: &Options, key: &str, allowed: &[&str]) -> Option<Template> {
        let text = o.text(key)?;
        match Template::parse(&text, allowed) {
            Ok(template) => Some(template),
            Err(why) => {
                self.mistake(o.span_of(key), format!("`{key}`: {why}"), "", None);
                None
            }
        }
    }

    fn route(&mut self, name: &str, entry: &Entry, o: &Options) -> Option<Route> {
        let Some(source) = o.table("source") else {
            self.mistake(entry.key_span.clone(), format!("the route `{name}` has no source"), "needs [routes.….source] with a path", None);
            return None;
        };
        let destinations = o.tables("destination");
        if destinations.is_empty() {
            self.mistake(entry.key_span.clone(), format!("the route `{name}` has no destination"), "needs [routes.….destination] with a path", None);
        }
        let schedule = self.schedule(o);
        let source = self.source(name, source);
        let transformation = self.transformation(name, o);
        let output = o.table("output");
        let output_name = output.and_then(|out| self.template(out, "name", &["name", "stem", "ext", "path", "job", "part", "date"]));
        let destinations: Vec<_> = destinations.into_iter().filter_map(|d| self.destination(name, d)).collect();
        let retry = self.retry(o.table("retry"));
        let used = transformation.as_ref().map(|t| t.mapping.lookups.clone()).unwrap_or_default();
        let lookups = self.lookups.iter().filter(|l| used.contains(&l.name)).cloned().collect();
        let input = o.table("input");
        let csv = input.is_some_and(|i| i.entry("format").is_some_and(|f| f.as_text() == "csv"));
        Some(Route {
            name: name.to_owned(),
            schedule,
            halt_on_error: o.word("on_error") == "halt",
            source: source?,
            rejects_delimiter: input.filter(|_| csv).and_then(|i| i.char("delimiter")).unwrap_or(';'),
            transformation,
            lookups,
            output_name,
            destinations,
            retry,
        })
    }

    fn schedule(&mut self, o: &Options) -> Option<Schedule> {
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

    fn globs(&mut self, o: &Options, key: &str, default: &str) -> GlobSet {
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

    fn source(&mut self, route: &str, o: &Options) -> Option<SourceConfig> {
        let Some(path) = o.text("path") else {
            self.mistake(o.span.clone(), format!("the source of `{route}` has no path"), "needs `path`, A's export folder", None);
            return None;
        };
        let include = self.globs(o, "include", "*");
        let exclude = self.globs(o, "exclude", "");
        let outright = o.texts("include").unwrap_or_default().into_iter().filter(|p| !p.contains(['*', '?', '[', '{'])).collect();
        let on_success = match o.word("on_success").as_str() {
            "delete" => OnSuccess::Delete,
            "keep" => OnSuccess::Keep,
            "move" => {
                self.mistake(o.span_of("on_success"), "`on_success = \"move\"` is for remote sources", "expected \"archive\", \"delete\" or \"keep\"", None);
                OnSuccess::Archive
            }
            _ => OnSuccess::Archive,
        };
        Some(SourceConfig {
            path: normal(&self.base.join(path)),
            include,
            outright,
            exclude,
            recursive: o.flag("recursive"),
            settle: if o.has("settle") { o.duration("settle") } else { None },
            done_file: self.template(o, "done_file", &["name", "stem", "ext"]),
            checksum_file: self.template(o, "checksum_file", &["name", "stem", "ext"]),
            min_size: o.size("min_size"),
            empty: match o.word("empty").as_str() {
                "send" => Empty::Send,
                "fail" => Empty::Fail,
                _ => Empty::Skip,
            },
            poll_only: o.word("watch") == "poll",
            poll_interval: o.duration("poll_interval").unwrap_or(Duration::from_secs(30)),
            sort: if o.word("sort") == "name" { Sort::Name } else { Sort::Modified },
            max_files: o.count("max_files"),
            on_success,
            skip_duplicates: o.word("duplicates") == "skip",
            before: o.texts("before"),
            create: o.flag("create"),
        })
    }

    fn destination(&mut self, route: &str, o: &Options) -> Option<DestinationConfig> {
        let endpoint = match o.text("endpoint") {
            None => None,
            Some(name) => match self.endpoints.get(&name) {
                Some(endpoint) => Some(endpoint.clone()),
                None => {
                    let hint = nearest(&name, self.endpoints.keys().map(String::as_str))
                        .map_or_else(|| format!("declare it as [endpoints.{name}]"), |n| format!("did you mean \"{n}\"?"));
                    self.mistake(o.span_of("endpoint"), format!("there is no endpoint `{name}`"), "not declared", Some(hint));
                    return None;
                }
            },
        };
        let path = match (o.text("path"), &endpoint) {
            (Some(path), Some(_)) => {
                if path.starts_with('/') {
                    self.mistake(
                        o.span_of("path"),
                        "the path of a route stands below the endpoint's URL",
                        "expected a relative path",
                        Some("put the leading part into the endpoint's url".into()),
                    );
                }
                if let Err(why) = check_folder(&path) {
                    self.mistake(o.span_of("path"), format!("`path`: {why}"), "", None);
                }
                path
            }
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
        if !temp_name.text().contains("{id}") && !http_direct {
            self.mistake(o.span_of("temp_name"), "`temp_name` needs {id}, which tells deliveries apart", "needs {id}", None);
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
            done_file: self.template(o, "done_file", &["name", "stem", "ext", "job"]),
            after: o.texts("after"),
            create: o.flag("create"),
        })
    }

    fn retry(&mut self, o: Option<&Options>) -> Retry {
        let empty = Options::new(Vec::new(), 0..0, vec![crate::config::schema::ROOT]);
        let o = o.unwrap_or(&empty);
        Retry {
            initial_delay: o.duration("initial_delay").unwrap_or(Duration::from_secs(1)),
            multiplier: o.integer("multiplier").and_then(|n| u32::try_from(n).ok()).unwrap_or(2),
            max_delay: o.duration("max_delay").unwrap_or(Duration::from_secs(300)),
            give_up: o.duration("give_up").unwrap_or(Duration::from_secs(14 * 86_400)),
        }
    }

    fn transformation(&mut self, route: &str, o: &Options) -> Option<Transformation> {
        let needs_records = ["let", "check", "map", "where"].into_iter().find(|k| o.has(k));
        let input = o.table("input");
        let input_name = input.and_then(|i| i.entry("format")).map_or("raw", |f| f.as_text()).to_owned();
        if input_name == "raw" {
            if let Some(key) = needs_records {
                self.mistake(
                    o.entry(key).map_or(0..0, |e| e.key_span.clone()),
                    format!("`{key}` needs records, and the input of `{route}` is raw"),
                    "declare how A writes",
                    Some("as in [routes.….input] format = \"csv\"".into()),
                );
            }
            let output = o.table("output").and_then(|t| t.entry("format")).map_or("raw", |f| f.as_text());
            if output != "raw" {
                self.mistake(o.table("output").map_or(0..0, |t| t.span_of("format")), "raw bytes can't be written as records", "declare input.format", None);
            }
            return None;
        }
        let input_format = formats::named(&input_name)?;
        let output = o.table("output");
        let output_name = output.and_then(|t| t.entry("format")).map_or(input_name.as_str(), |f| f.as_text());
        if output_name == "raw" {
            self.mistake(output.map_or(0..0, |t| t.span_of("format")), "records can't be written raw", "name a format, or make the input raw too", None);
            return None;
        }
        let output_format = formats::named(output_name)?;
        let input_options = input.cloned().unwrap_or_default();
        let output_options = match output {
            Some(o) => o.clone(),
            None => Options::new(Vec::new(), 0..0, vec![output_format.output_options(), schema::OUTPUT]),
        };
        // `output` without a format has the input's keys and defaults.
        let output_options = Options::new(output_options.entries().to_vec(), output_options.span.clone(), vec![output_format.output_options(), schema::OUTPUT]);
        let mapping = self.mapping(o, &input_options, &output_options);
        self.expressions(o, &input_options, input_format, &mapping);
        let encoder = Encoder::named(&output_options.word("encoding"), output_options.word("encoding_errors") == "replace")?;
        Some(Transformation {
            input: input_format,
            reading: reading(&input_options),
            output: output_format,
            style: style(&output_options),
            encoder,
            mapping,
            rejects_fail: o.word("rejects") == "fail",
            max_rejects: o.text("max_rejects").and_then(|t| t.parse().ok().map(Limit::Number).or_else(|| percent(&t).map(Limit::Percent))),
            max_memory: self.max_memory,
            input_options,
            output_options,
        })
    }

    fn mapping(&mut self, o: &Options, input: &Options, output: &Options) -> Mapping {
        let expressions = |key: &str| o.map(key).iter().map(|(n, e)| (n.clone(), e.as_text().to_owned())).collect::<Vec<_>>();
        let mut rules = Vec::new();
        for (name, entry) in output.map("fields") {
            let Val::Table(rule) = &entry.value else { continue };
            let pattern = rule.text("pattern").and_then(|p| match regex::Regex::new(&p) {
                Ok(r) => Some(r),
                Err(e) => {
                    self.mistake(
                        rule.span_of("pattern"),
                        format!("`pattern` is no regular expression: {}", crate::transform::expr::last_line(&e.to_string())),
                        "",
                        None,
                    );
                    None
                }
            });
            rules.push((
                name.clone(),
                Rule {
                    required: rule.flag("required"),
                    max_length: rule.count("max_length"),
                    unique: rule.flag("unique"),
                    pattern,
                    one_of: rule.texts("one_of"),
                },
            ));
        }
        Mapping {
            lets: expressions("let"),
            condition: o.text("where"),
            checks: expressions("check"),
            map: o.has("map").then(|| expressions("map")),
            types: input.map("types").iter().filter_map(|(n, e)| Type::named(e.as_text()).map(|t| (n.clone(), t))).collect(),
            columns: output.texts("columns"),
            rules,
            lookups: self.lookups.iter().map(|l| l.name.clone()).collect(),
        }
    }

    /// Parses and checks every expression; each mistake is shown under the place in its text.
    fn expressions(&mut self, o: &Options, input: &Options, format: &'static dyn formats::Format, mapping: &Mapping) {
        let declared = input.texts("columns").map(|c| Columns::from_header(c.iter().map(String::as_str)));
        let columns = if format.has_columns() { declared } else { Some(Columns::nested()) };
        for (place, m) in crate::transform::check(mapping, columns.as_ref()) {
            let entry = match &place {
                Place::Let(n) => find(o.map("let"), n),
                Place::Where => o.entry("where"),
                Place::Check(n) => find(o.map("check"), n),
                Place::Map(n) => find(o.map("map"), n),
                Place::Types(n) => find(input.map("types"), n),
                Place::Columns(_) => o.table("output").and_then(|t| t.entry("columns")),
                Place::Fields(n) => o.table("output").and_then(|t| find(t.map("fields"), n)),
            };
            let whole = entry.map_or(0..0, |e| if matches!(place, Place::Types(_) | Place::Fields(_)) { e.key_span.clone() } else { e.span.clone() });
            let exact = entry.filter(|_| !m.span.is_empty()).and_then(|e| within(&self.doc_text(), e, &m.span));
            self.mistake(exact.unwrap_or(whole), format!("{place}: {}", m.message), m.hint.clone().unwrap_or_default(), None);
        }
        for name in o.map("map").iter().map(|(n, _)| n).chain(declared_names(input).iter()) {
            if crate::transform::expr::RESERVED.contains(&name.as_str()) && declared_names(input).contains(name) {
                self.warnings.push(format!("the column {name} has a name of the relay's: write row['{name}']"));
            }
        }
    }

    fn doc_text(&self) -> String {
        self.doc.text.clone()
    }

    /// A route that feeds itself, and two routes that would fight for the same files.
    fn loops(&mut self, options: &Options, routes: &[Arc<Route>], home: &Path) {
        for (i, route) in routes.iter().enumerate() {
            let span = options.map("routes").iter().find(|(n, _)| *n == route.name).map_or(0..0, |(_, e)| e.key_span.clone());
            for other in routes {
                for d in other.destinations.iter().filter(|d| d.endpoint.is_none()) {
                    let into = Path::new(&d.path);
                    let fed = into == route.source.path || (route.source.recursive && into.starts_with(&route.source.path));
                    if fed && other.name == route.name {
                        self.mistake(
                            span.clone(),
                            format!("the route `{}` delivers into its own source: it would relay its own files for ever", route.name),
                            "a loop",
                            Some("give B another folder".into()),
                        );
                    }
                }
            }
            if home.starts_with(&route.source.path) && (route.source.recursive || home == route.source.path) {
                self.mistake(span.clone(), format!("home lies in the source of `{}`", route.name), "a loop", Some("put home elsewhere".into()));
            }
            for other in &routes[..i] {
                let same = other.source.path == route.source.path;
                let texts = |r: &Route| {
                    options
                        .map("routes")
                        .iter()
                        .find(|(n, _)| *n == r.name)
                        .and_then(|(_, e)| if let Val::Table(t) = &e.value { t.table("source").and_then(|s| s.texts("include")) } else { None })
                        .unwrap_or_else(|| vec!["*".into()])
                };
                if same && texts(other) == texts(route) {
                    self.mistake(
                        span.clone(),
                        format!("the routes `{}` and `{}` take the same files of the same folder", other.name, route.name),
                        "takes the same files",
                        Some("one route with two destinations, or different `include`".into()),
                    );
                }
            }
        }
    }
}

fn declared_names(input: &Options) -> Vec<String> {
    input.texts("columns").unwrap_or_default()
}

fn find<'e>(entries: &'e [(String, Entry)], name: &str) -> Option<&'e Entry> {
    entries.iter().find(|(n, _)| n == name).map(|(_, e)| e)
}

/// The place in the file of a place in an expression, where the text stands in the file as it is.
fn within(text: &str, entry: &Entry, span: &std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    let written = text.get(entry.span.clone())?;
    let quotes = if written.starts_with("'''") || written.starts_with("\"\"\"") { return None } else { 1 };
    let inner = written.get(quotes..written.len().checked_sub(quotes)?)?;
    (inner == entry.as_text()).then(|| entry.span.start + quotes + span.start..entry.span.start + quotes + span.end.max(span.start + 1).min(inner.len()))
}

/// How A writes, from the keys of `input`.
pub fn reading(o: &Options) -> Reading {
    let mut reading = Reading {
        decimal: o.char("decimal").unwrap_or('.'),
        thousands: o.char("thousands"),
        dates: o.text("dates"),
        datetimes: o.text("datetimes"),
        ..Reading::default()
    };
    for (name, entry) in o.map("bools") {
        let texts: Vec<String> = match &entry.value {
            Val::List(items) => items.iter().map(|e| e.as_text().to_owned()).collect(),
            _ => vec![entry.as_text().to_owned()],
        };
        if name == "true" { reading.bools.0 = texts } else { reading.bools.1 = texts }
    }
    reading
}

fn style(o: &Options) -> Style {
    let bools = o.map("bools");
    let first = |name: &str| {
        find(bools, name).map(|e| match &e.value {
            Val::List(items) => items.first().map(|i| i.as_text().to_owned()).unwrap_or_default(),
            _ => e.as_text().to_owned(),
        })
    };
    let bools = match (first("true"), first("false")) {
        (None, None) => None,
        (yes, no) => Some((yes.unwrap_or_else(|| "true".into()), no.unwrap_or_else(|| "false".into()))),
    };
    Style { decimal: o.char("decimal").unwrap_or('.'), dates: o.text("dates"), datetimes: o.text("datetimes"), bools }
}

/// A path without `.` and `..` parts, as written: nothing is looked up.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// A percent-encoded text, decoded.
pub fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
