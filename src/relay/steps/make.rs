//! Makes B's file of a job in its work folder, with its rejects and conflicts beside it.

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use super::super::World;
use super::deliver::part_name;
use super::local;
use super::prepare::{Export, export_of, member_name, read_failed};
use super::sync::{self, Conflicts};
use crate::config::Route;
use crate::durable;
use crate::endpoints::Followed;
use crate::error::{Blame, Error, Result};
use crate::formats::{Output, Room};
use crate::job::{Job, Made, PartMade, Seal};
use crate::journal::memory::GroupMemory;
use crate::naming::{self, Facts};
use crate::sync::Compare;
use crate::sync::export::Told;
use crate::sync::owed::Found;
use crate::transform::changes::Changes;
use crate::transform::rejects::{Rejects, RejectsCsv};
use crate::transform::{Outcome, Parts, Refused, Source, Work};
use crate::watch::digest_of;

/// What a comparison has found beside what is sent.
struct Compared {
    conflicts: u64,
    found: Found,
}

/// Runs a job's records through the map, with the rejects in its work folder; what B has refused is rejected too.
fn map_records(
    w: &World,
    (route, job): (&Route, &Job),
    (original, seal): (&Path, &Seal),
    parts: &mut Parts<'_>,
    refused: Option<Refused>,
) -> Result<(Outcome, Compared)> {
    let Some(spec) = &route.transformation else { return Err(Error::relay("nothing to transform")) };
    let work = w.work(job);
    durable::make_folder(&work, 0o700)?;
    // Expressions see the name of A's file, also where only its corrected rejects come.
    let name = if export_of(route, original) == Export::Corrected { naming::uncorrected(&job.file.0) } else { &job.file.0 };
    let context = naming::context(name, seal.size, &local(seal.modified), job.id, &local(job.received_at), &job.route);
    let lookups = Arc::new(w.lookups.lookups(route, &job.file, &Room::new(w.config.max_memory, &work))?);
    let input = Box::new(durable::open_file(original)?);
    let rejects_path = work.join("rejects.csv");
    durable::remove(&rejects_path)?;
    let mut rejects = RejectsCsv::new(
        route.rejects_delimiter,
        Box::new(|| durable::NewFile::create(&rejects_path, 0o600).map(|f| Box::new(BufWriter::new(f)) as Box<dyn std::io::Write + Send>)),
    );
    let source = Source { input, context, lookups, beside: Some(route.source.path.join(job.file.path())) };
    let mut conflicts = Conflicts::new(work.join("conflicts.csv"), route.rejects_delimiter)?;
    let mut tell = |told: &Told| conflicts.put(told);
    let mut memory;
    let mut compare = match &route.sync {
        None => None,
        Some(of) => {
            memory = GroupMemory::open(&w.journal, &of.group, job.id)?;
            Some(Compare::new(of, spec, &mut memory, sync::export(of, job, seal), &mut tell)?)
        }
    };
    let changes = compare.as_mut().map(|c| c as &mut dyn Changes);
    let mut parts = |number: usize| parts(number);
    let how = Work { parts: Some(&mut parts), rejects: &mut rejects as &mut dyn Rejects, scratch: &work, stop: &w.stop, refused, changes, explain: None };
    let outcome = spec.run(vec![source], how)?;
    let found = compare.map(|c| c.found).unwrap_or_default();
    conflicts.finish()?;
    if let Ok(rejects) = durable::open_file(&rejects_path) {
        durable::sync_file(&rejects, &rejects_path)?;
    }
    Ok((outcome, Compared { conflicts: conflicts.count, found }))
}

/// Rejects what B has refused of the records that were sent; gives how many they are.
pub(super) fn divert(w: &World, route: &Route, job: &Job, refused: Refused) -> Result<u64> {
    let seal = job.seal.clone().ok_or_else(|| Error::relay("nothing was sealed"))?;
    let (before, wanted) = (job.made.as_ref().and_then(|m| m.counts).unwrap_or_default(), refused.records());
    // What is made is known already: only the rejects are of interest.
    let mut parts = |_: usize| Ok((Box::new(std::io::sink()) as Output, String::new()));
    let (outcome, _) = map_records(w, (route, job), (&w.original(job)?, &seal), &mut parts, Some(refused))?;
    durable::sync_folder(&w.work(job))?;
    let found = outcome.counts.rejected.saturating_sub(before.rejected);
    if found != wanted {
        tracing::warn!(job = job.id, "B refused {wanted} records, of which {found} are found again in A's file: a code table has changed meanwhile");
    }
    Ok(wanted)
}

/// Makes B's file in the job's work folder.
pub(super) fn transform(w: &World, route: &Route, job: &Job, original: &Path, seal: &Seal, kind: Export) -> Result<Made> {
    let work = w.work(job);
    let unfinished = |part: usize| work.join(format!("{}.part", part_name(part)));
    let mut parts = |number: usize| {
        let output = durable::NewFile::create(&unfinished(number - 1), 0o600)?;
        let name = output_name(route, job, number, kind)?;
        let output = BufWriter::with_capacity(durable::CHUNK_BYTES, output);
        Ok((Box::new(output) as Output, member_name(&name)))
    };
    let (outcome, Compared { conflicts, found }) = map_records(w, (route, job), (original, seal), &mut parts, None)?;
    let mut made = Vec::new();
    for part in 0..outcome.parts.max(1) {
        let (part, out) = (unfinished(part), work.join(part_name(part)));
        if outcome.parts == 0 {
            durable::NewFile::create(&part, 0o600)?;
        }
        let mut file = durable::open_file(&part)?;
        durable::sync_file(&file, &part)?;
        let hash = digest_of::<sha2::Sha256>(&mut Followed::new(&mut file, &w.stop, None)).map_err(|e| read_failed(&e, &part))?;
        let size = file.metadata().map_err(|e| Error::io(Blame::Endpoint, "look at", &part, &e))?.len();
        durable::rename_over(&part, &out)?;
        made.push(PartMade { size, hash });
    }
    durable::sync_folder(&work)?;
    let size = made.iter().map(|p| p.size).sum();
    let hash = made.first().map(|p| p.hash.clone()).unwrap_or_default();
    let parts = if route.transformation.as_ref().is_some_and(|t| t.split.is_some()) { made } else { Vec::new() };
    Ok(Made {
        size,
        hash,
        in_work: true,
        counts: Some(outcome.counts),
        remarks: outcome.remarks,
        staged: route.sync.is_some(),
        conflicts,
        owed: found.owed.into_iter().collect(),
        unparked: found.unparked.into_iter().collect(),
        parts,
    })
}

/// The published name; of a file that is split, that of a part, from 1.
pub(super) fn output_name(route: &Route, job: &Job, part: usize, kind: Export) -> Result<Vec<u8>> {
    let time = local(job.received_at);
    // Only the rejects of a file have its name within theirs.
    let name = if kind == Export::Corrected { naming::uncorrected(job.file.last()) } else { job.file.last() };
    let facts = Facts { name, path: &job.file.0, job: job.id, id: "", part, time: &time };
    let spec = route.transformation.as_ref();
    let split = spec.is_some_and(|t| t.split.is_some());
    let name = naming::published(route.output_name.as_ref(), spec.map(|t| t.extension()).as_deref(), &facts, split);
    let name = if kind == Export::Corrected { naming::with_suffix(&name, &format!(".rejects-{}", job.id)) } else { name };
    naming::check_name(&name, "output.name").map_err(|e| e.at("name"))?;
    Ok(name)
}
