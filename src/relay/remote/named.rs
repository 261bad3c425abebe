//! Files of a web server that lists none: each is got by its name, and comes when it is another version.
//!
//! What is known of the last version (the server's own words, its digest) stands beside the fetched files. It is written
//! before a new version takes its place here, so that a crash between the two neither loses nor repeats one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Fetch;
use crate::durable;
use crate::endpoints::Version;
use crate::error::{Blame, Error, Kind, Result};
use crate::job::{Found, Name};
use crate::relay::hashing::Hashing;

/// What is known of the version that was fetched last.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Known {
    version: Version,
    hash: String,
    /// As it is known here, and later in the journal.
    size: u64,
    modified_ns: i64,
    /// Whether it came to its place is not known yet.
    begun: bool,
}

impl Fetch<'_> {
    /// Gets those files that have changed.
    pub(super) fn named(&mut self, names: &[String], room: usize) -> Result<()> {
        let mut room = room.min(self.route.source.max_files.unwrap_or(usize::MAX));
        for name in names {
            self.w.stop.check()?;
            let file = Name(name.clone().into_bytes());
            if room == 0 {
                self.fetched.left += 1;
            } else if !self.route.source.names.excluded(&file.0) && self.get(&file)? {
                room -= 1;
            }
        }
        Ok(())
    }

    fn get(&mut self, file: &Name) -> Result<bool> {
        let source = &self.route.source;
        let (to, at) = (source.path.join(file.path()), self.at(file));
        let beside = self.on_its_way()?.join(Name([&file.0[..], b".known"].concat()).path());
        let known = self.settled(file, &to, read(&beside)?)?;
        if durable::look(&to)?.is_some() {
            // The last one is still to be claimed.
            return Ok(false);
        }
        let (new, part, got) = self.download(|session, to| {
            let mut hashing = Hashing::new(to);
            let version = session.read_changed(&at, &known.version, &mut hashing)?;
            Ok(version.map(|version| (version, hashing.bytes, hashing.digest())))
        })?;
        let (version, size, hash) = match got {
            Ok(Some(version)) => version,
            Ok(None) => return Ok(false),
            // A has not exported yet.
            Err(e) if e.kind() == Kind::NotFound => return Ok(false),
            // No file of ours is in hand that could be wrong.
            Err(e) if e.blame() == Blame::File => return Err(e.at("fetch").blamed_on(Blame::Endpoint)),
            Err(e) => return Err(e.at("fetch")),
        };
        if hash == known.hash {
            // The same bytes under other words.
            write(&beside, &Known { version, ..known })?;
            return Ok(false);
        }
        if source.min_size.is_some_and(|least| size < least) {
            return Ok(false);
        }
        let modified_ns = moment(&version, &hash);
        new.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(modified_ns.unsigned_abs()))?;
        new.sync()?;
        let mut next = Known { version, hash, size, modified_ns, begun: true };
        write(&beside, &next)?;
        durable::rename_over(&part, &to)?;
        durable::sync_folder(&source.path)?;
        next.begun = false;
        write(&beside, &next)?;
        Ok(true)
    }

    /// What is known, once it is clear whether a version that was begun has come.
    fn settled(&self, file: &Name, to: &Path, known: Known) -> Result<Known> {
        if !known.begun {
            return Ok(known);
        }
        let found = Found { size: known.size, modified_ns: known.modified_ns.into(), ..Found::default() };
        let here = durable::look(to)?.map(|meta| durable::found(&meta));
        let came = here.is_some_and(|f| (f.size, f.modified_ns) == (found.size, found.modified_ns))
            || self.w.journal.reader()?.takers(&self.route.name, file, found.size)?.iter().any(|taker| taker.modified_ns == found.modified_ns);
        Ok(if came { Known { begun: false, ..known } } else { Known::default() })
    }
}

/// When a version was made, as far as the server says; its digest tells it from another one of the same second.
fn moment(version: &Version, hash: &str) -> i64 {
    let said = version.modified.as_ref().and_then(|m| jiff::fmt::rfc2822::parse(m).ok()).map(|t| t.timestamp());
    let seconds = said.unwrap_or_else(jiff::Timestamp::now).as_second().max(0);
    let own = i64::from_str_radix(hash.get(..7).unwrap_or("0"), 16).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(own)
}

fn read(path: &Path) -> Result<Known> {
    match std::fs::read(path) {
        // What can't be understood is not known: the file is got again.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Known::default()),
        Err(e) => Err(Error::io(Blame::Endpoint, "read", path, &e)),
    }
}

fn write(path: &Path, known: &Known) -> Result<()> {
    durable::write_whole(path, &serde_json::to_vec(known).unwrap_or_default(), 0o600)
}
