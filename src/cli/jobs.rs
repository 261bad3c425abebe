//! `status`, `history`, `show`: reading the journal. They end 0, also before the first run.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::behind::Behind;
use super::{Context, print_bytes, print_line};
use crate::config::{Config, OnSuccess, Route};
use crate::error::{Error, Result};
use crate::job::{Delivery, Event, Job, Name, Seal, State};
use crate::journal::{Journal, Query, Reader, Row, counts};
use crate::relay::steps::rfc3339;
use crate::watch::{self, Candidate, Lying};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// Only this route
    #[arg(long)]
    route: Option<String>,
    /// Only in this state
    #[arg(long)]
    state: Option<String>,
    /// At most so many
    #[arg(long)]
    limit: Option<u64>,
    /// As JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The job's number
    job: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(args: &StatusArgs, context: &Context) -> Result<u8> {
    let config = context.operated()?;
    let status = status_of(&config)?;
    if args.json {
        print_line(&status.to_string());
        return Ok(0);
    }
    let mut out = String::new();
    let text = |v: &Value| v.as_str().map(str::to_owned).unwrap_or_else(|| if v.is_null() { "-".into() } else { v.to_string() });
    out.push_str(&format!("{:<20} {:<10} {:>8} {:>9} {:>10} {:>7}  {}\n", "ROUTE", "STATE", "WAITING", "IN FLIGHT", "DELIVERED", "ERRORS", "LAST DELIVERY"));
    for r in status["routes"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "{:<20} {:<10} {:>8} {:>9} {:>10} {:>7}  {}\n",
            text(&r["name"]),
            text(&r["state"]),
            text(&r["waiting"]),
            text(&r["in_flight"]),
            text(&r["delivered"]),
            text(&r["errors"]),
            text(&r["last_delivery"])
        ));
        if !r["reason"].is_null() {
            out.push_str(&format!("  {}\n", text(&r["reason"])));
        }
        if r["passed_over"].as_u64().unwrap_or(0) > 0 {
            out.push_str(&format!("  {} names passed over (unfinished, too small, links, devices)\n", r["passed_over"]));
        }
    }
    let endpoints = status["endpoints"].as_array().cloned().unwrap_or_default();
    if !endpoints.is_empty() {
        out.push_str(&format!("\n{:<20} {:<10} {}\n", "ENDPOINT", "STATE", "SINCE"));
    }
    for e in endpoints {
        out.push_str(&format!("{:<20} {:<10} {}\n", text(&e["name"]), text(&e["state"]), text(&e["since"])));
        if !e["error"].is_null() {
            out.push_str(&format!("  {}\n", text(&e["error"])));
        }
    }
    print_bytes(out.as_bytes());
    Ok(0)
}

/// What of the reserve is missing on the disk of the relay's folders.
fn room_of(home: &std::path::Path) -> Option<Error> {
    crate::durable::room::room(home).and_then(|room| room.check(home)).err()
}

/// `status --json`.
fn status_of(config: &Config) -> Result<Value> {
    let reader = Journal::read(&config.home)?;
    let running = crate::relay::sources::is_running(&config.home)?;
    let told = |key: &str| -> Result<Value> {
        let text = reader.as_ref().map(|r| r.status(key)).transpose()?.flatten();
        Ok(text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or(Value::Null))
    };
    let live = if running { told("live")? } else { Value::Null };
    // A single run that has ended has said what it could not look at, and which servers answered.
    let before = if running { Value::Null } else { told("last")? };
    let paused = reader.as_ref().map(|r| r.paused()).transpose()?.unwrap_or_default();
    // On a full disk the relay can't even note that it waits.
    let full = if running { room_of(&crate::config::real(&config.home)).map(|e| e.to_string()) } else { None };
    let mut routes = Vec::new();
    for route in &config.routes {
        let name = &route.name;
        let of = |state| reader.as_ref().map_or(Ok((0, None)), |r| r.count(name, state));
        let (delivered, last) = of(State::Delivered)?;
        let errors = of(State::Failed)?.0 + of(State::Held)?.0 + of(State::Unconfirmed)?.0;
        let open = reader.as_ref().map_or(Ok(0), |r| r.count_open(name))?;
        let mut now = live["routes"][name].clone();
        if let Some(full) = full.as_ref().filter(|_| now["reason"].is_null()) {
            now["reason"] = json!(full);
        }
        let state = if !running {
            "stopped"
        } else if paused.contains(name) {
            "paused"
        } else if !now["reason"].is_null() {
            "blocked"
        } else if route.schedule.is_some() {
            "scheduled"
        } else {
            "watching"
        };
        // A route that is not looked at now: what lies in its folder is counted here.
        let resting = !running || paused.contains(name) || route.schedule.is_some();
        let lying = if resting { lying(route, reader.as_ref()) } else { Ok(Lying::default()) };
        let mut reason = now["reason"].clone();
        if !running {
            let first = reader.as_ref().map(|r| r.first_reason(name)).transpose()?.flatten();
            let paused = paused.contains(name).then(|| format!("it is paused: passerelle resume {name}"));
            let lying = lying.as_ref().map_or_else(|e| Some(e.to_string()), |lying| lying.stuck.why.as_ref().map(ToString::to_string));
            let looked = before["routes"][name]["source"].as_str().filter(|_| route.source.remote.is_some()).map(str::to_owned);
            reason = json!(paused.or(first).or(lying).or(looked));
        }
        let lying = lying.unwrap_or_default();
        let passed_over = if !running && route.source.remote.is_some() {
            before["routes"][name]["passed_over"].as_u64().unwrap_or(0)
        } else if resting {
            lying.passed_over
        } else {
            now["passed_over"].as_u64().unwrap_or(0)
        };
        let busy = if running { now["in_flight"].as_u64().unwrap_or(0) } else { 0 };
        let there = (lying.ready + lying.stuck.files) as u64;
        let waiting = if resting { (there + open).saturating_sub(busy) } else { now["waiting"].as_u64().unwrap_or(0) };
        // What the last run could not do is why something still waits.
        if reason.is_null() && !running && waiting > 0 {
            reason = before["routes"][name]["reason"].clone();
        }
        routes.push(json!({
            "name": name, "state": state, "reason": reason,
            "waiting": waiting, "in_flight": busy,
            "delivered": delivered, "errors": errors,
            "passed_over": passed_over,
            "last_delivery": last.map(rfc3339),
        }));
    }
    let open = reader.as_ref().map(|r| r.open_jobs()).transpose()?.unwrap_or_default();
    let mut gone: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for job in open.iter().filter(|job| config.routes.iter().all(|r| r.name != job.route)) {
        *gone.entry(&job.route).or_default() += 1;
    }
    for (name, waiting) in gone {
        let (delivered, last) = reader.as_ref().map_or(Ok((0, None)), |r| r.count(name, State::Delivered))?;
        routes.push(json!({
            "name": name, "state": if running { "blocked" } else { "stopped" },
            "reason": format!("the route is not in the configuration, and {waiting} of its files wait until it is put back"),
            "waiting": waiting, "in_flight": 0, "delivered": delivered, "errors": 0, "passed_over": 0, "last_delivery": last.map(rfc3339),
        }));
    }
    let endpoints: Vec<Value> = config
        .endpoints
        .keys()
        .map(|name| {
            let e = if running { &live["endpoints"][name] } else { &before["endpoints"][name] };
            json!({ "name": name, "state": e["state"].as_str().unwrap_or("unknown"), "since": e["since"], "error": e["error"] })
        })
        .collect();
    Ok(json!({ "routes": routes, "endpoints": endpoints }))
}

/// What lies in a route's folder, without what was taken before and stays there.
fn lying(route: &Route, reader: Option<&Reader>) -> Result<Lying> {
    let keeps = route.source.on_success == OnSuccess::Keep;
    let mut taken = |c: &Candidate| reader.filter(|_| keeps).map_or(Ok(false), |r| r.taken(&route.name, &c.file, &c.found));
    watch::count(&route.source, &mut taken)
}

pub(crate) fn history(args: &HistoryArgs, context: &Context) -> Result<u8> {
    let config = context.operated()?;
    let state = args.state.as_deref().map(|word| {
        State::named(word).ok_or_else(|| {
            let words: Vec<&str> = State::ALL.iter().map(|s| s.word()).collect();
            Error::config(format!("there is no state {word}")).hint(format!("the states are {}", words.join(", ")))
        })
    });
    args.route.iter().try_for_each(|name| super::route(&config, name).map(drop))?;
    let query = Query { route: args.route.clone(), state: state.transpose()?, limit: args.limit };
    let Some(reader) = Journal::read(&config.home)? else { return Ok(0) };
    if !args.json {
        print_line(&format!("{:>6} {:<16} {:<13} {:<19} {:>10}  {}", "JOB", "ROUTE", "STATE", "RECEIVED", "SIZE", "FILE"));
    }
    let mut behind = Behind::new(&config, &reader)?;
    let print = |j: &Job| {
        if args.json {
            print_line(&job_json(&config, j).to_string());
        } else {
            let received = rfc3339(j.received_at);
            let size = j.seal.as_ref().map_or("-".to_owned(), |s| s.size.to_string());
            let reason = if j.reason.is_empty() { String::new() } else { format!("\n         {}", j.reason) };
            print_line(&format!(
                "{:>6} {:<16} {:<13} {:<19} {:>10}  {}{reason}",
                j.id,
                j.route,
                j.state.word(),
                &received[..19.min(received.len())],
                size,
                j.file
            ));
        }
    };
    if let Some(state @ (State::Claimed | State::Delivering | State::Waiting)) = query.state {
        // What waits for others is known of all open jobs together.
        let mut open = reader.open_jobs()?;
        open.retain(|j| args.route.as_ref().is_none_or(|route| *route == j.route));
        open.iter_mut().try_for_each(|j| behind.tell(j))?;
        let most = args.limit.and_then(|l| usize::try_from(l).ok()).unwrap_or(usize::MAX);
        open.iter().rev().filter(|j| j.state == state).take(most).for_each(print);
        return Ok(0);
    }
    reader.query(&query, &mut |mut row| {
        behind.tell(&mut row.job)?;
        print(&row.job);
        Ok(())
    })?;
    Ok(0)
}

pub(crate) fn show(args: &ShowArgs, context: &Context) -> Result<u8> {
    let config = context.operated()?;
    let reader = Journal::read(&config.home)?;
    let mut row = None;
    if let Some(reader) = &reader {
        row = reader.job(args.job)?;
        row.iter_mut().try_for_each(|row| Behind::new(&config, reader)?.tell(&mut row.job))?;
    }
    let Some(row) = row else {
        eprintln!("there is no job {}: `passerelle history` lists them", args.job);
        return Ok(0);
    };
    let mut value = job_json(&config, &row.job);
    value["steps"] = steps(&row).into();
    if args.json {
        print_line(&value.to_string());
        return Ok(0);
    }
    let j = &row.job;
    let mut out = format!("job {}  {}  {}\n  route     {}\n  received  {}\n", j.id, j.file, j.state.word(), j.route, rfc3339(j.received_at));
    if let Some(seal) = &j.seal {
        out.push_str(&format!("  original  {}\n", sealed(seal)));
    }
    if let Some(path) = &j.path {
        out.push_str(&format!("  lies in   {path}\n"));
    }
    if let Some(c) = counts(j) {
        out.push_str(&format!("  records   {} read, {} written, {} skipped, {} rejected", c.read, c.written, c.skipped, c.rejected));
        if j.made.as_ref().is_some_and(|m| m.staged) {
            out.push_str(&format!(", {} unchanged, {} in conflict; {} sent as deleted", c.unchanged, c.parked, c.deleted));
        }
        out.push('\n');
    }
    if let Some(count) = j.made.as_ref().map(|m| m.conflicts).filter(|n| *n > 0) {
        out.push_str(&format!("  conflicts {count}: passerelle resolve {} --take a|b|FILE, where they are still open\n", j.id));
    }
    for remark in j.made.as_ref().map(|m| m.remarks.as_slice()).unwrap_or_default() {
        out.push_str(&format!("            {remark}\n"));
    }
    for d in &j.deliveries {
        let path = path_of(&config, j, d).map_or_else(|| d.name.to_string(), |path| path.to_string());
        out.push_str(&format!("  to        {} {path} ({})\n", d.endpoint, d.progress.word()));
    }
    if !j.reason.is_empty() {
        out.push_str(&format!("  reason    {}\n", j.reason));
    }
    if let Some(hint) = j.error.as_ref().and_then(Error::advice) {
        out.push_str(&format!("  remedy    {hint}\n"));
    }
    out.push_str("  steps\n");
    for step in steps(&row) {
        out.push_str(&format!(
            "    {}  {:<14} {}\n",
            step["at"].as_str().unwrap_or(""),
            step["step"].as_str().unwrap_or(""),
            step["detail"].as_str().unwrap_or("")
        ));
    }
    print_bytes(out.as_bytes());
    Ok(0)
}

/// A job as `history --json` has it.
pub(crate) fn job_json(config: &Config, j: &Job) -> Value {
    let deliveries: Vec<Value> = j
        .deliveries
        .iter()
        .map(|d| {
            let path = as_it_is(&path_of(config, j, d).unwrap_or_else(|| Name::of(&d.folder.path().join(d.name.path()))));
            json!({ "endpoint": d.endpoint, "path": path, "size": j.made.as_ref().map(|m| m.parts.get(d.part).map_or(m.size, |p| p.size)), "state": d.progress.word() })
        })
        .collect();
    json!({
        "job": j.id, "route": j.route, "file": as_it_is(&j.file),
        "size": j.seal.as_ref().map(|s| s.size), "hash": j.seal.as_ref().filter(|s| !s.hash.is_empty()).map(|s| format!("sha256:{}", s.hash)),
        "state": j.state.word(), "reason": if j.reason.is_empty() { Value::Null } else { json!(j.reason) }, "attempts": j.attempts,
        "received_at": rfc3339(j.received_at), "delivered_at": j.delivered_at.map(rfc3339),
        "records": counts(j).map(|c| json!({ "read": c.read, "skipped": c.skipped, "written": c.written, "rejected": c.rejected, "unchanged": c.unchanged, "parked": c.parked, "deleted": c.deleted })),
        "deliveries": deliveries, "error": j.error.as_ref().map(ToString::to_string),
    })
}

/// Where a delivery goes, or went; none: nobody wrote down the folder, and its route is gone.
fn path_of(config: &Config, job: &Job, delivery: &Delivery) -> Option<Name> {
    let now = || Some(config.routes.iter().find(|r| r.name == job.route)?.destinations.get(delivery.destination)?.path.clone());
    let folder = std::path::PathBuf::from(delivery.to.clone().or_else(now)?);
    Some(Name::of(&folder.join(delivery.folder.path()).join(delivery.name.path())))
}

/// A name for other programs: JSON carries whatever it holds. What is no UTF-8 is escaped, as it is for eyes.
fn as_it_is(name: &Name) -> String {
    String::from_utf8(name.0.clone()).unwrap_or_else(|_| name.to_string())
}

/// An original's size and, once it is known, its hash.
fn sealed(seal: &Seal) -> String {
    let hash = if seal.hash.is_empty() { String::new() } else { format!(", sha256:{}", seal.hash) };
    format!("{} bytes{hash}", seal.size)
}

fn steps(row: &Row) -> Vec<Value> {
    let mut out = vec![
        json!({ "step": "claimed", "at": rfc3339(row.job.received_at), "detail": row.job.replay_of.map_or(String::new(), |of| format!("replay of job {of}")) }),
    ];
    out.extend(row.events.iter().map(|(at, event)| step(&row.job, *at, event)));
    out
}

fn step(job: &Job, at: Timestamp, event: &Event) -> Value {
    let to = |d: &usize| job.deliveries.get(*d).map(|d| format!("{} {}", d.endpoint, d.name)).unwrap_or_default();
    let detail = match event {
        Event::Sealed(s) => sealed(s),
        Event::Hashed { hash } => format!("sha256:{hash}"),
        Event::Transformed { made, .. } => format!("{} bytes", made.size),
        Event::Published { delivery, after: Some(e), .. } => format!("{}; but {e}", to(delivery)),
        Event::Uploaded { delivery }
        | Event::Published { delivery, .. }
        | Event::Restored { delivery }
        | Event::Taken { delivery }
        | Event::NotTaken { delivery } => to(delivery),
        Event::Publishing { delivery, name, .. } => format!("{} as {name}", job.deliveries.get(*delivery).map(|d| d.endpoint.as_str()).unwrap_or_default()),
        Event::NotPublished { again, .. } => {
            if *again {
                "the temporary file was gone: it is sent again".into()
            } else {
                "nothing was renamed".into()
            }
        }
        Event::Refused { records } => format!("{records} records, in the server's words"),
        Event::Archived { path } | Event::Failed { path } => path.to_string(),
        Event::Held { error } | Event::Postponed { error, .. } | Event::Failing { error } | Event::GivenUp { error, .. } | Event::Unconfirmed { error, .. } => {
            error.to_string()
        }
        Event::Superseded { by } => format!("by the later full export of job {by}"),
        Event::Duplicate { of } => format!("of job {of}"),
        Event::Owed => "what has won is sent to the other side".into(),
        Event::Retried { .. } | Event::Confirmed | Event::Resubmitted | Event::Removed => "by an operator".into(),
    };
    json!({ "step": event.word(), "at": rfc3339(at), "detail": detail })
}
