//! `[routes.X.sync]`: one direction of an exchange, and the two of a group brought together.

use xxhash_rust::xxh3::xxh3_64;

use super::Builder;
use crate::config::raw::percent;
use crate::config::{DestinationConfig, IfExists, Route};
use crate::formats::text::Type;
use crate::options::{Options, Val};
use crate::sync::deleted::Deletes;
use crate::sync::entry::Side;
use crate::sync::judge::Policy;
use crate::sync::{Exports, Keeps, Opposite, Send, Spec};
use crate::transform::{Limit, Transformation};

impl Builder<'_> {
    /// One direction; the opposite one is found later.
    pub(super) fn sync(&mut self, route: &str, o: &Options, transformation: Option<&Transformation>, destinations: &[DestinationConfig]) -> Option<Spec> {
        let sync = o.table("sync")?;
        let span = sync.span.clone();
        let Some(t) = transformation else {
            // Of records with mistakes of their own, those are told already.
            if o.table("input").is_none_or(|i| i.word("format") == "raw") {
                self.mistake(
                    span,
                    "`sync` needs records, and raw bytes are none",
                    "declare how A writes",
                    Some("as in [routes.….input] format = \"csv\"".into()),
                );
            }
            return None;
        };
        let key = sync.texts("key").unwrap_or_default();
        if key.is_empty() {
            self.mistake(span.clone(), "`sync` needs `key`, the target columns that tell records apart", "as in key = [\"code\"]", None);
        }
        let send = if sync.word("send") == "all" { Send::All } else { Send::Changes };
        if send == Send::Changes {
            self.sends_changes(o, destinations);
        }
        let targets = targets(t);
        if targets.is_empty() && t.input.name() != "csv" && t.output.name() != "csv" {
            self.mistake(span, "`sync` needs a map: its targets are what is compared", "write [routes.….map]", None);
        }
        let conflict = sync.word("conflict");
        let policy = match conflict.split_once(':') {
            _ if conflict == "park" => Policy::Park,
            _ if conflict == "source" => Policy::Source,
            _ if conflict == "target" => Policy::Target,
            Some(("newest", column)) if !column.is_empty() => {
                if !targets.is_empty() && !targets.iter().any(|t| t == column) {
                    let hint = crate::options::nearest(column, targets.iter().map(String::as_str)).map(|n| format!("did you mean {n}?"));
                    self.mistake(sync.span_of("conflict"), format!("`conflict`: there is no target {column}"), hint.unwrap_or_default(), None);
                }
                self.as_text(route, column, t);
                Policy::Newest(column.to_owned())
            }
            _ => {
                self.mistake(sync.span_of("conflict"), "`conflict` is \"park\", \"source\", \"target\" or \"newest:COLUMN\"", "expected one of these", None);
                Policy::Park
            }
        };
        let exports = if sync.flag("full") { Exports::Full } else { Exports::Incremental };
        let deletes = if sync.word("deletes") == "send" { Deletes::Send } else { Deletes::Ignore };
        if deletes == Deletes::Send && exports == Exports::Incremental {
            self.mistake(
                sync.span_of("deletes"),
                "`deletes = \"send\"` needs full exports: in others a missing record means nothing",
                "can't be told with full = false",
                None,
            );
        }
        if deletes == Deletes::Send {
            self.sends_deletions(route, t, destinations);
        }
        let limit = sync.text("max_deletes").unwrap_or_else(|| "20%".to_owned());
        let max_deletes = limit.parse().ok().map(Limit::Number).or_else(|| percent(&limit).map(Limit::Percent)).unwrap_or(Limit::Percent(20.0));
        let before = t.mapping.map.iter().flatten().chain(&t.mapping.lets).any(|(_, text)| text.contains("before"));
        let keeps = if deletes == Deletes::Send || before { Keeps::Rows } else { Keeps::Marks };
        let m = &t.mapping;
        let mapping = xxh3_64(format!("{:?}", (&m.lets, &m.map, &m.types, &m.each, &m.columns, &t.reading)).as_bytes());
        Some(Spec {
            group: sync.text("group").unwrap_or_else(|| route.to_owned()),
            route: route.to_owned(),
            key,
            send,
            exports,
            deletes,
            max_deletes,
            policy,
            side: Side::A,
            opposite: None,
            keeps,
            mapping,
        })
    }

    /// A deletion is sent once, and B must know it for one.
    fn sends_deletions(&mut self, route: &str, t: &Transformation, destinations: &[DestinationConfig]) {
        let replaced = |d: &DestinationConfig| d.if_exists == IfExists::Replace && d.endpoint.as_ref().is_none_or(|e| e.method == "PUT" && e.records.is_none());
        if destinations.iter().any(replaced) {
            self.warnings.push(format!(
                "routes.{route}: a deletion is sent once, and `if_exists = \"replace\"` loses it where B has not taken the file before the next one"
            ));
        }
        let told = t.mapping.map.iter().flatten().chain(&t.mapping.lets).any(|(_, text)| text.contains("sync.op"));
        if !told && t.output.name() != "template" {
            self.warnings.push(format!("routes.{route}: deletions are sent, and no target says so: add one, as in op = \"sync.op\""));
        }
    }

    /// Texts are compared letter by letter: `31/12/2023` would be later than `02/01/2024`.
    fn as_text(&mut self, route: &str, column: &str, t: &Transformation) {
        let expression = t.mapping.map.iter().flatten().find(|(name, _)| name == column).map_or(column, |(_, text)| text.as_str());
        let converted = ["date", "decimal", "int", "float", "round", "nextval", "time"].iter().any(|filter| expression.contains(filter));
        let typed = t.mapping.types.iter().any(|(name, kind)| expression.contains(name.as_str()) && *kind != Type::Text);
        if !converted && !typed && !matches!(t.input.name(), "json" | "ndjson" | "xlsx" | "dbf") {
            self.warnings.push(format!(
                "the route {route}: conflict = \"newest:{column}\" compares {column} as a text, letter by letter: give its column a type, as in types = {{ {column} = \"date\" }}"
            ));
        }
    }

    /// What one route writes, the opposite one reads back under the same names, or it is not known there.
    fn named_alike(&mut self, route: &str, own: &[String], opposite: &Opposite) {
        let unread: Vec<&str> = own.iter().map(String::as_str).filter(|name| !opposite.reads(name)).collect();
        if !unread.is_empty() && unread.len() * 2 >= own.len() {
            self.warnings.push(format!(
                "the route {route} writes {}, and {} reads no columns of these names: what is changed there is only compared under names that both use",
                unread.join(", "),
                opposite.route
            ));
        }
    }

    /// A file of changes that replaces another, or that goes to two places of which one may fail, loses changes; and a group
    /// of which only some lines changed is none.
    fn sends_changes(&mut self, o: &Options, destinations: &[DestinationConfig]) {
        let tables = o.tables("destination");
        if destinations.len() > 1 {
            let span = tables.get(1).map_or(o.span.clone(), |d| d.span.clone());
            self.mistake(
                span,
                "a route that sends changes has one destination: the memory holds what one other side has",
                "a second destination",
                Some("give it a route of its own, from the same source with on_success = \"keep\", and another sync group".into()),
            );
        }
        if let Some(output) = o.table("output").filter(|output| output.has("group_by")) {
            self.mistake(
                output.span_of("group_by"),
                "`output.group_by` on a route that sends changes would send a changed line without the others of its group",
                "a part of a group would be sent",
                Some("group what is read, with input.group_by, so that a whole group is compared and sent; or send = \"all\"".into()),
            );
        }
        for (d, table) in destinations.iter().zip(tables) {
            let named = d.endpoint.as_ref().is_none_or(|e| e.method == "PUT" && e.records.is_none());
            if d.if_exists == IfExists::Replace && named {
                let span = if table.has("if_exists") { table.span_of("if_exists") } else { table.span.clone() };
                self.mistake(
                    span,
                    "`if_exists = \"replace\"` on a route that sends changes would lose those that B has not taken yet",
                    "changes would be lost",
                    Some("if_exists = \"wait\" or \"rename\", or send = \"all\"".into()),
                );
            }
        }
    }

    /// Brings the two directions of each group together.
    pub(super) fn pair(&mut self, options: &Options, routes: &mut [Route]) {
        for i in 0..routes.len() {
            let Some(spec) = &routes[i].sync else { continue };
            let others: Vec<usize> = (0..routes.len()).filter(|j| *j != i && routes[*j].sync.as_ref().is_some_and(|s| s.group == spec.group)).collect();
            let span = self.sync_span(options, &routes[i].name);
            if others.len() > 1 {
                if others[1] < i {
                    let message = format!("the sync group {} has more than two routes: it is the two directions of one exchange", spec.group);
                    self.mistake(span, message, "a third route", Some("give other records another group".into()));
                }
                continue;
            }
            let Some(j) = others.first().copied() else { continue };
            let (spec, other) = (spec.clone(), &routes[j]);
            let Some((theirs, t)) = other.sync.as_ref().zip(other.transformation.as_ref()) else { continue };
            if i > j && spec.key.len() != theirs.key.len() {
                let message = format!("`key` has {} columns, and that of the opposite route {} has {}", spec.key.len(), other.name, theirs.key.len());
                self.mistake(span.clone(), message, "both have the same number", None);
            }
            if spec.send == Send::All {
                self.warnings.push(format!(
                    "routes.{}: `send = \"all\"` of an exchange in two directions sends what A has over what B has changed meanwhile",
                    routes[i].name
                ));
            }
            if i > j && same_source(&routes[i], other) {
                let message = format!("the routes {} and {} read the same source: the two of a group are opposite directions", other.name, routes[i].name);
                self.mistake(span, message, "the same source", Some("give it another group".into()));
            }
            let map = t.mapping.map.as_ref().map(|map| map.iter().chain(&t.mapping.lets).map(|(_, text)| text.clone()).collect());
            let opposite = Opposite {
                route: other.name.clone(),
                targets: targets(t),
                reading: t.reading.clone(),
                key: theirs.key.clone(),
                exports: theirs.exports,
                keeps: theirs.keeps,
                map,
            };
            // In the order of the file, which is not that of the table.
            let place = |name: &str| options.map("routes").iter().find(|(n, _)| n == name).map(|(_, e)| e.key_span.start);
            let side = if place(&routes[i].name) < place(&other.name) { Side::A } else { Side::B };
            let own = routes[i].transformation.as_ref().map(targets).unwrap_or_default();
            let name = routes[i].name.clone();
            self.named_alike(&name, &own, &opposite);
            routes[i].sync = Some(Spec { side, opposite: Some(opposite), ..spec });
        }
    }

    fn sync_span(&self, options: &Options, route: &str) -> std::ops::Range<usize> {
        let entry = options.map("routes").iter().find(|(n, _)| n == route);
        entry.and_then(|(_, e)| if let Val::Table(t) = &e.value { t.table("sync").map(|s| s.span.clone()) } else { None }).unwrap_or(0..0)
    }
}

fn same_source(a: &Route, b: &Route) -> bool {
    match (&a.source.remote, &b.source.remote) {
        (Some(x), Some(y)) => x.endpoint.name == y.endpoint.name && x.path == y.path,
        (None, None) => a.source.path == b.source.path,
        _ => false,
    }
}

/// The targets of a map, as far as the configuration names them.
fn targets(t: &Transformation) -> Vec<String> {
    let map = t.mapping.map.as_ref().map(|map| map.iter().map(|(n, _)| n.clone()).collect());
    t.mapping.columns.clone().or(map).unwrap_or_default()
}
