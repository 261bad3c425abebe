//! `sync show|rebuild|export|forget`, `resolve`: the memory of a sync group, and its conflicts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::operate::ask;
use super::{Context, print_line};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::journal::memory::{read_entry, read_of};
use crate::journal::{Journal, Reader, Request, Take};
use crate::relay::conflicts::read_decisions;
use crate::sync::Meta;
use crate::sync::cell::Row;
use crate::sync::entry::{Entry, Head, Id, Side, id_of};
use crate::sync::export::key_text;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what a group knows, or what it knows of one record
    Show {
        /// The group
        group: String,
        /// The key of a record; several columns one after the other
        key: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a group's memory anew from the last export of each side; nothing is sent
    Rebuild {
        /// The group
        group: String,
    },
    /// Print all that a group knows, one JSON object a record
    Export {
        /// The group
        group: String,
    },
    /// Let a group begin with nothing: with the next export every record is sent
    Forget {
        /// The group
        group: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResolveArgs {
    /// The job that parked the conflicts
    job: u64,
    /// Which side wins: a, b, or the edited conflicts file (a column _take with a or b, or the winning value in both columns)
    #[arg(long, value_name = "a|b|FILE")]
    take: PathBuf,
}

pub(crate) fn resolve(args: &ResolveArgs, context: &Context) -> Result<u8> {
    let config = context.operated()?;
    let take = match args.take.to_str() {
        Some("a") => Take::All(Side::A),
        Some("b") => Take::All(Side::B),
        _ => Take::Each(read_decisions(&args.take)?),
    };
    ask(config, &Request::Resolve { job: args.job, take })
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8> {
    let config = context.operated()?;
    match &args.command {
        Command::Show { group, key, json } => match open(&config, group)? {
            Some(known) if key.is_empty() => known.show(*json),
            Some(known) => known.show_record(key, *json),
            None => {
                print_line(&if *json { json!({ "group": group, "records": 0 }).to_string() } else { format!("the group {group} knows nothing yet") });
                Ok(0)
            }
        },
        Command::Rebuild { group } => ask(config, &Request::Rebuild { group: group.clone() }),
        Command::Export { group } => open(&config, group)?.map_or(Ok(0), |known| known.export()),
        Command::Forget { group } => ask(config, &Request::Forget { group: group.clone() }),
    }
}

/// A group's memory, open for reading.
struct Known {
    reader: Reader,
    name: String,
    id: i64,
    meta: Meta,
    /// What was published last.
    beside: BTreeMap<Id, Option<Vec<u8>>>,
}

/// What is known of a group; it is only read, also beside a running relay.
fn open(config: &Config, group: &str) -> Result<Option<Known>> {
    let names = || config.routes.iter().filter_map(|r| r.sync.as_ref()).map(|s| s.group.as_str());
    let reader = Journal::read(&config.home)?;
    if let Some(reader) = reader
        && let Some((id, meta)) = reader.group(group)?
    {
        let beside = reader.beside(group)?;
        return Ok(Some(Known { reader, name: group.to_owned(), id, meta, beside }));
    }
    if names().any(|name| name == group) {
        return Ok(None);
    }
    let near = crate::options::nearest(group, names()).map(|n| format!("did you mean {n}?"));
    Err(Error::config(format!("there is no sync group {group}"))
        .hint(near.unwrap_or_else(|| "`passerelle config show` lists the routes and their groups".into())))
}

const SIDES: [Side; 2] = [Side::A, Side::B];

impl Known {
    fn show(&self, as_json: bool) -> Result<u8> {
        let (mut records, mut holds, mut awaits, mut parked) = (0u64, [0u64; 2], [0u64; 2], 0u64);
        self.each(&mut |_, bytes| {
            let (head, _) = Head::read(bytes)?;
            records += 1;
            for side in SIDES.map(Side::at) {
                holds[side] += u64::from(head.holds[side]);
                awaits[side] += u64::from(head.awaits[side]);
            }
            parked += u64::from(head.parked);
            Ok(())
        })?;
        let last = |side: Side| self.meta.last[side.at()].as_ref().map(|l| l.job);
        if as_json {
            let side = |s: Side| json!({ "side": s.word(), "route": self.meta.routes[s.at()], "holds": holds[s.at()], "pending": awaits[s.at()], "last_export": last(s) });
            print_line(&json!({ "group": self.name, "records": records, "parked": parked, "sides": SIDES.map(side) }).to_string());
            return Ok(0);
        }
        print_line(&format!("group {}: {records} records, {parked} in conflict", self.name));
        for side in SIDES {
            let Some(route) = &self.meta.routes[side.at()] else { continue };
            let job = last(side).map_or_else(|| "none yet".to_owned(), |job| format!("job {job}"));
            let (holds, awaits) = (holds[side.at()], awaits[side.at()]);
            let name = side.word();
            print_line(&format!("side {name} (read by {route}): holds {holds}, {awaits} delivered and not seen in its exports yet; last export: {job}"));
        }
        Ok(0)
    }

    fn show_record(&self, key: &[String], as_json: bool) -> Result<u8> {
        let wanted = id_of(key);
        let mut found = None;
        self.each(&mut |id, bytes| {
            if *id == wanted {
                found = Some(read_entry(bytes)?.1);
            }
            Ok(())
        })?;
        let entry = found.ok_or_else(|| {
            Error::config(format!("the group {} knows no record {}", self.name, key_text(key)))
                .hint("the key is that of the first route's targets; `passerelle sync export` prints all")
        })?;
        if as_json {
            print_line(&self.json(&entry).to_string());
            return Ok(0);
        }
        print_line(&format!("record {}", key_text(&entry.key)));
        if entry.marks.is_some() {
            print_line("one side alone exports: what it last exported, and was delivered, is known by its mark");
        }
        for side in SIDES {
            let (held, name) = (entry.side(side), side.word());
            if let Some(row) = &held.exported {
                print_line(&format!("side {name}: {}", self.text(row, side)));
            }
            if let Some(base) = held.base.as_ref().filter(|b| Some(*b) != held.exported.as_ref()) {
                print_line(&format!("side {name}, when both last agreed: {}", self.text(base, side)));
            }
            for p in &held.pending {
                let what = p.row.as_ref().map_or_else(|| "its deletion".to_owned(), |row| self.text(row, side));
                print_line(&format!("delivered to {name} by job {}, not seen in {} exports since: {what}", p.job, p.exports));
            }
        }
        if let Some(parked) = &entry.parked {
            print_line(&format!("in conflict since job {0}: passerelle resolve {0} --take a|b|FILE", parked.job));
        }
        Ok(0)
    }

    fn export(&self) -> Result<u8> {
        self.each(&mut |_, bytes| {
            print_line(&self.json(&read_entry(bytes)?.1).to_string());
            Ok(())
        })?;
        Ok(0)
    }

    fn each(&self, each: &mut dyn FnMut(&Id, &[u8]) -> Result<()>) -> Result<()> {
        read_of(&self.name, self.reader.each_known(Some(self.id), &self.beside, each))
    }

    fn text(&self, row: &Row, side: Side) -> String {
        let cells = row.iter().map(|(c, cell)| format!("{} = {}", self.meta.name(side, c), crate::formats::text::quoted(cell.text())));
        cells.collect::<Vec<_>>().join(", ")
    }

    fn row(&self, row: Option<&Row>, side: Side) -> Value {
        let Some(row) = row else { return Value::Null };
        let cells = row.iter().map(|(c, cell)| (self.meta.name(side, c).to_owned(), Value::String(cell.text().to_owned())));
        Value::Object(cells.collect())
    }

    fn json(&self, entry: &Entry) -> Value {
        let side = |side: Side| {
            let held = entry.side(side);
            let pending = held.pending.iter().map(|p| json!({ "job": p.job, "exports": p.exports, "record": self.row(p.row.as_ref(), side) }));
            json!({
                "exported": self.row(held.exported.as_ref(), side), "agreed": self.row(held.base.as_ref(), side),
                "pending": pending.collect::<Vec<_>>(),
            })
        };
        let parked = entry.parked.as_ref().map(|p| {
            let columns: Vec<_> = p.columns.iter().map(|(c, _)| self.meta.name(p.from.other(), *c)).collect();
            json!({ "job": p.job, "columns": columns })
        });
        json!({ "key": entry.key, "a": side(Side::A), "b": side(Side::B), "parked": parked })
    }
}
