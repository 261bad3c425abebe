//! `passerelle` relays files between business programs: from A's export folder, in B's format, to B's import folder.
//!
//! # The way of a file
//!
//! ```text
//! watch ──► claim ──► seal ──► transform ──► upload ──► publish ──► archive
//!  (hint)   (rename)  (sync,    (reader →     (temporary  (atomic     (rename)
//!                      hash)     plan →        name,       rename)
//!                                writer)       verified)              or: errors, with a note
//! ```
//!
//! Every arrow is a fact in the journal, written before what follows it is tried. A `kill -9`, a power cut and a polite
//! stop recover the same way: from the facts, and from what lies in the folders.
//!
//! # The house, from the bottom up
//!
//! - words everybody shares: `error`, `options` (configuration keys as data), `points` (where tests break a run), `record`, `stop`
//! - pure: `formats` (bytes ↔ records), `transform` (mapping, expressions, rejects), `sync` (which records are sent),
//!   `naming`, `schedule`, `job` (facts and what comes next)
//! - `config`: text → routes that are ready to use; `audit`: samples → what they are, and a draft of a route
//! - adapters: `durable` (every change of local files), `watch` (what is ready), `endpoints` (servers), `journal`, `sys`
//! - `relay`: the engine; `relay::dispatch` (who runs next) and `relay::publish` (what became of a rename) are pure
//! - `daemon` (signals, the only async code) and `cli`
//!
//! # Invariants, as absences
//!
//! - No module imports from above itself; `tests/it/tidy.rs` reads the `use` lines.
//! - Nobody but `World::record` writes facts; nobody but `durable` renames or syncs local files that matter.
//! - No transport retries or reconnects; no format opens a file (but the memo file of a DBF table); no expression sees a clock.
//! - No secret is ever part of an error, a fact or a log line; no value of a record is ever rounded or cut in silence.
//! - No `unsafe` outside `sys`; no shell anywhere.

pub mod error;
pub mod options;
pub mod points;
pub mod record;
pub mod stop;

pub mod formats;
pub mod naming;
pub mod schedule;
pub mod sync;
pub mod sys;
pub mod transform;

pub mod audit;
pub mod config;
pub mod durable;
pub mod job;

pub mod endpoints;
pub mod journal;
pub mod watch;

pub mod relay;

pub mod cli;
pub mod daemon;
