//! `audit`: two samples in, what they are and a draft of the route out.

mod report;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{print_bytes, print_line};
use crate::audit::sample::{Extent, Sample};
use crate::audit::{self, Audit, Side, draft, names};
use crate::durable;
use crate::error::{Blame, Error, Result, shown};
use crate::formats::Room;

/// What workbooks and joins of samples may hold.
pub(super) const MEMORY_BYTES: u64 = 256 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An export of A
    sample_a: PathBuf,
    /// An import file that B accepts, a template with a header only, a JSON Schema or an XSD
    sample_b: Option<PathBuf>,
    /// Read all of a large file, instead of its beginning, its middle and its end
    #[arg(long)]
    full: bool,
    /// Write a route as far as it is known
    #[arg(long, value_name = "FILE")]
    draft: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let scratch = tempfile::tempdir().map_err(|e| Error::io(Blame::Endpoint, "create", &std::env::temp_dir(), &e))?;
    let room = Room::new(MEMORY_BYTES, scratch.path());
    let extent = if args.full { Extent::Full } else { Extent::Sampled };
    let a = Sample::open(&args.sample_a, extent, &room)?;
    let b = args.sample_b.as_ref().map(|path| Sample::open(path, extent, &room)).transpose()?;
    let name = draft::slug(a.name.split('.').next().unwrap_or("route"));
    let found = audit::audit(&a, b.as_ref(), &name, &room)?;
    if let Some(path) = &args.draft {
        let place = draft::Place { name, source: "export".into(), destination: "import".into(), include: draft::by_extension(&a.name) };
        write(path, &draft::text(&found, &a, b.as_ref(), &place))?;
        eprintln!("{} is drafted: set source.path and destination.path, look at the guesses, then `passerelle -c {} config check`", shown(path), shown(path));
    }
    if args.json {
        print_line(&to_json(&found).to_string());
    } else {
        print_bytes(report::text(&found, &a, b.as_ref()).as_bytes());
    }
    Ok(0)
}

/// Writes a draft where nothing lies.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    if durable::exists(path) {
        return Err(Error::config(format!("{} is there already", shown(path)))
            .hint("name another file, or remove it: nothing that somebody may have changed is overwritten"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(missing) = folder.filter(|folder| !durable::exists(folder)) {
        return Err(Error::config(format!("there is no folder {}", shown(missing))).hint("make it first, or name another place"));
    }
    durable::write_whole(path, text.as_bytes(), crate::sys::default_mode())
}

/// `audit --json`.
fn to_json(audit: &Audit) -> Value {
    let mapping: Vec<Value> = audit
        .b
        .iter()
        .flat_map(|b| audit.mapping.iter().map(move |m| (b, m)))
        .map(|(b, m)| {
            json!({
                "target": b.columns[m.target].name, "expression": m.expression, "confidence": (m.confidence * 100.0).round() / 100.0, "reason": m.reason,
                "sources": m.sources.iter().map(|s| audit.a.columns[*s].name.as_str()).collect::<Vec<_>>(),
                "table": m.table.as_ref().map(|t| t.values.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>()),
            })
        })
        .collect();
    json!({
        "a": side_json(&audit.a),
        "b": audit.b.as_ref().map(side_json),
        "mapping": mapping,
        "where": audit.condition.as_ref().map(|(c, _)| c),
        "automation": { "level": audit.grade.level.words(), "reasons": audit.grade.reasons },
    })
}

fn side_json(side: &Side) -> Value {
    let d = &side.dialect;
    let columns: Vec<Value> = side
        .columns
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "type": c.kind.name(), "null": c.nulls, "distinct": c.distinct, "key": c.key,
                "pattern": c.pattern, "list": c.list, "min_length": c.lengths.0, "max_length": c.lengths.1, "examples": if names::is_secret(&c.name) { Vec::new() } else { c.examples.clone() },
            })
        })
        .collect();
    json!({
        "format": d.format,
        "encoding": d.encoding.as_ref().map(|e| &e.label),
        "bom": d.encoding.as_ref().map(|e| e.mark),
        "encoding_evidence": d.encoding.as_ref().map(|e| &e.evidence),
        "delimiter": d.delimited.as_ref().map(|c| c.delimiter.to_string()),
        "quote": d.delimited.as_ref().and_then(|c| c.quote).map(|c| c.to_string()),
        "header": d.delimited.as_ref().map(|c| c.header),
        "skip": d.delimited.as_ref().map(|c| c.skip),
        "decimal": side.signs.decimal.map(|c| c.to_string()),
        "thousands": side.signs.thousands.map(|c| c.to_string()),
        "dates": side.dates(),
        "datetimes": side.signs.datetimes,
        "line_ending": d.line_ending,
        "records_at": d.records,
        "each": side.each.as_ref().map(|e| &e.expr),
        "records": side.reading.estimate,
        "read": side.reading.records,
        "unreadable": side.reading.bad,
        "complete": side.reading.complete,
        "columns": columns,
        "keys": side.keys.iter().map(|(a, b)| json!([side.columns[*a].name, side.columns[*b].name])).collect::<Vec<_>>(),
        "notes": side.notes.iter().map(|n| json!({ "text": n.text, "line": (n.line > 0).then_some(n.line) })).collect::<Vec<_>>(),
    })
}
