//! Remote sources: what is ready on A's server is fetched into a folder of the relay's own, which is then a source like
//! any other. The original stays on its server until its job is at rest: archived here, or in `errors`.
//!
//! What was fetched keeps its size and time, by which it is known again: in that folder, and later in the journal. A
//! crash at any moment leaves either the one or the other.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod named;

use super::World;
use super::hashing::Hashing;
use crate::config::{Leave, RemoteSource, Route, Sort};
use crate::durable;
use crate::endpoints::{self, Dated, Entry, Listed, Rename, Session, pool};
use crate::error::{Blame, Error, Kind, Result, shown};
use crate::job::{Found, Name};
use crate::journal::Taker;
use crate::naming;
use crate::watch::{Candidate, Stuck, companion_name};

/// How long a file must be the same in two listings.
const SETTLE: Duration = Duration::from_secs(2);
/// Folders deeper than this are not looked at: a link may lead around.
const DEPTH_MAX: usize = 32;
/// After so many files at which a server fails, one behind the other, it is asked for no more of them in that look.
const FAILURES_IN_A_ROW: u32 = 10;
/// What a version that is asked for differs by stands in the nanoseconds of the time that is listed: these many of them.
const SECOND: i128 = 1_000_000_000;
/// They are the seconds since 1970 without the first thousand million.
const SINCE_2001: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;
/// After about half a year a list tells no minutes any more.
const LISTED_BY_THE_DAY: i128 = 150 * DAY;
/// A file that was fetched so many seconds after its last change is not listed with that minute again; clocks may differ.
const YOUNG: i128 = 600;
/// Its name.
const ON_ITS_WAY: &str = ".on-its-way";

/// What a fetch came to.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// Ready, and not fetched for want of room.
    pub(super) left: usize,
    /// There, and the server does not give them.
    pub(super) stuck: Stuck,
    /// Links, unfinished names and names that can't be used.
    pub(super) passed_over: u64,
    /// When to look again for those that are not ready.
    pub(super) again: Option<Duration>,
    /// What the operator should know.
    pub(super) notices: Vec<String>,
}

/// How a file was listed, and since when it is so.
pub(crate) type Seen = HashMap<Name, (u64, i128, Instant)>;

/// Lists a remote source, fetches at most `room` files that are ready, and removes those whose jobs are at rest.
pub(super) fn fetch(w: &World, route: &Route, remote: &RemoteSource, room: usize) -> Result<Fetched> {
    let pool = w.pool_of(&remote.endpoint.name)?;
    pool.with(&w.stop, |session| {
        let mut fetch = Fetch { w, route, remote, session, rate: pool.rate(), fetched: Fetched::default() };
        match &remote.named {
            Some(names) => fetch.named(names, room)?,
            None => {
                let listed = fetch.list()?;
                fetch.turn(listed, room)?;
            }
        }
        Ok(fetch.fetched)
    })
}

/// What a listing of the whole source came to.
#[derive(Default)]
struct Listing {
    files: Vec<Candidate>,
    /// All names, where some announce others.
    names: HashSet<Name>,
}

struct Fetch<'f> {
    w: &'f World,
    route: &'f Route,
    remote: &'f RemoteSource,
    session: &'f mut dyn Session,
    rate: Option<&'f pool::Rate>,
    fetched: Fetched,
}

impl Fetch<'_> {
    /// Where a name of the source is on its server.
    fn at(&self, file: &Name) -> PathBuf {
        Path::new(&self.remote.path).join(file.path())
    }

    fn list(&mut self) -> Result<Listing> {
        let source = &self.route.source;
        let companions: Vec<_> = [&source.done_file, &source.checksum_file].into_iter().flatten().collect();
        let mut listing = Listing::default();
        // What was moved there is no export any more.
        let done = match &self.remote.leave {
            Leave::Move(folder) => Path::new(folder).strip_prefix(&self.remote.path).ok(),
            Leave::Keep | Leave::Nothing => None,
        };
        let mut folders = vec![(Name(Vec::new()), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let path = self.at(&folder);
            let (mut passed_over, mut unsized_files) = (0, Vec::new());
            let mut each = |listed: Listed| {
                let relative = Name(if folder.0.is_empty() { listed.name.clone() } else { [&folder.0[..], b"/", &listed.name].concat() });
                // A server may name anything: what is no plain name leads nowhere.
                if naming::check_name(&listed.name, "the name").is_err() {
                    passed_over += 1;
                    return Ok(());
                }
                match listed.entry {
                    Entry::Folder if done.is_some_and(|done| done == relative.path()) => {}
                    Entry::Folder if source.recursive && depth < DEPTH_MAX && !naming::never_matches(&listed.name) => folders.push((relative, depth + 1)),
                    Entry::Folder => {}
                    Entry::Other => passed_over += u64::from(source.wants(&relative.0)),
                    Entry::File => {
                        if !companions.is_empty() {
                            listing.names.insert(relative.clone());
                        }
                        match source.wants(&relative.0) {
                            true if naming::never_matches(&listed.name) && !source.names.outright(&relative.0) => passed_over += 1,
                            true => {
                                unsized_files.extend(listed.size.is_none().then_some(listing.files.len()));
                                listing.files.push(Candidate { file: relative, found: found(&listed), own: None })
                            }
                            false => {}
                        }
                    }
                }
                Ok(())
            };
            match self.session.list(&path, &mut each) {
                Err(e) if e.kind() == Kind::NotFound && self.remote.create && depth == 0 => self.session.make_folder(&path)?,
                Err(e) if e.kind() == Kind::NotFound => return Err(endpoints::missing_source(e.message()).at("list")),
                other => other.map_err(|e| e.at("list"))?,
            }
            self.fetched.passed_over += passed_over;
            for i in unsized_files {
                let at = self.at(&listing.files[i].file);
                listing.files[i].found.size = self.session.stat(&at).map_err(|e| e.at("list"))?.and_then(|stat| stat.size).unwrap_or(0);
            }
        }
        // Done and checksum files announce others and are no exports themselves.
        for template in companions {
            let made: HashSet<Name> = listing.files.iter().map(|c| companion_name(template, &c.file)).collect();
            listing.files.retain(|c| !made.contains(&c.file));
        }
        match source.sort {
            Sort::Name => listing.files.sort_by(|a, b| a.file.cmp(&b.file)),
            Sort::Modified => listing.files.sort_by(|a, b| (a.found.modified_ns, &a.file).cmp(&(b.found.modified_ns, &b.file))),
        }
        Ok(listing)
    }

    /// The jobs that have taken this version of a file. The file gets what tells it from others of the same size that are
    /// listed alike, where the server is asked for it: it would be taken for one of those, and removed unread.
    fn takers(&mut self, candidate: &mut Candidate, mut known: Vec<Taker>) -> Result<Vec<Taker>> {
        let over = |taker: &Taker| taker.received_at.as_nanosecond() > (SINCE_2001 + taker.modified_ns.rem_euclid(SECOND) + YOUNG) * SECOND;
        let (listed, now) = (candidate.found.modified_ns, jiff::Timestamp::now().as_nanosecond());
        let listed_alike = |taker: &Taker| {
            let then = taker.modified_ns;
            then.div_euclid(SECOND) == listed.div_euclid(SECOND) || same_day(then, listed, now)
        };
        if self.remote.leave == Leave::Keep && known.iter().any(listed_alike) && known.iter().filter(|t| listed_alike(t)).all(over) {
            // The minute that it is listed with was over when it was fetched: changed since, it is listed otherwise.
            known.retain(listed_alike);
            return Ok(known);
        }
        let dated = self.session.dated(&self.at(&candidate.file)).map_err(|e| e.at("list"))?;
        if let Dated::At(seconds) = dated {
            candidate.found.modified_ns += i128::from(seconds).rem_euclid(SECOND);
        }
        let same = |taker: &Taker| {
            let (then, listed) = (taker.modified_ns, candidate.found.modified_ns);
            same_version(then, listed) || (dated == Dated::Untold && same_day(then, listed, now))
        };
        known.retain(same);
        if dated == Dated::Untold && self.remote.leave != Leave::Keep && !known.is_empty() && !self.is_as_taken(&candidate.file, &known)? {
            // It was written anew within the time that it is listed with.
            known.clear();
        }
        Ok(known)
    }

    /// Whether a file has the bytes that one of these jobs has taken. Asked where no time tells whether it does: what is
    /// removed was read.
    fn is_as_taken(&mut self, file: &Name, takers: &[Taker]) -> Result<bool> {
        if takers.iter().any(|taker| !taker.state.at_rest() || taker.state.is_open_question()) {
            // Nothing is removed yet.
            return Ok(true);
        }
        let reader = self.w.journal.reader()?;
        let mut hashes = Vec::new();
        for taker in takers {
            hashes.extend(reader.job(taker.id)?.and_then(|row| row.job.seal).map(|seal| seal.hash));
        }
        let at = self.at(file);
        let (_, _, read) = self.download(|session, to| {
            let mut hashing = Hashing::new(to);
            session.read(&at, &mut hashing)?;
            Ok(hashing.digest())
        })?;
        let hash = read.map_err(|e| e.at("fetch"))?;
        Ok(hashes.is_empty() || hashes.contains(&hash))
    }

    fn turn(&mut self, listing: Listing, room: usize) -> Result<()> {
        let source = &self.route.source;
        let reader = self.w.journal.reader()?;
        let before = self.w.with_memory(&self.route.name, |memory| std::mem::take(&mut memory.seen));
        let (now, settle) = (Instant::now(), self.remote.settle.unwrap_or(SETTLE));
        let announced = source.done_file.is_some() || source.checksum_file.is_some();
        let mut seen = Seen::new();
        let mut room = room.min(source.max_files.unwrap_or(usize::MAX));
        let (mut refused, mut in_a_row) = (Vec::new(), 0);
        let mut failed = None;
        for mut candidate in listing.files {
            if failed.is_some() || in_a_row == FAILURES_IN_A_ROW {
                // What is known of those that are not reached stays known.
                seen.extend(before.get_key_value(&candidate.file).map(|(file, known)| (file.clone(), *known)));
                continue;
            }
            self.w.stop.check()?;
            let known = reader.takers(&self.route.name, &candidate.file, candidate.found.size)?;
            let second = |ns: i128| ns.div_euclid(SECOND);
            let is_new = !known.iter().any(|taker| second(taker.modified_ns) == second(candidate.found.modified_ns));
            let taken = match self.takers(&mut candidate, known) {
                Ok(taken) => taken,
                // It is known, or waits for the next look.
                Err(e) if is_the_files(&e) || is_an_answer(&e) => {
                    seen.extend(before.get_key_value(&candidate.file).map(|(file, known)| (file.clone(), *known)));
                    refused.extend(is_new.then_some((candidate.file, e)));
                    continue;
                }
                Err(e) => {
                    failed = Some(e);
                    continue;
                }
            };
            if !taken.is_empty() {
                // Held and unconfirmed ones may still be wanted from their beginning.
                if self.remote.leave != Leave::Keep && taken.iter().all(|taker| taker.state.at_rest() && !taker.state.is_open_question()) {
                    match self.dispose(&candidate.file) {
                        // One that A puts there again, even with the same time, is a new one.
                        Ok(()) => self.w.journal.gone(taken.into_iter().map(|taker| taker.id).collect())?,
                        // It is known, and never taken twice: what may not be removed keeps no other file from coming.
                        Err(e) if matches!(e.kind(), Kind::Denied | Kind::Unsupported) => {
                            let e = e.hint("let the relay's user delete and rename there, or set on_success = \"keep\"");
                            self.fetched.notices.push(format!("{} is done with here, and stays at the server: {e}{}", candidate.file, e.remedy()))
                        }
                        Err(e) => failed = Some(e),
                    }
                }
                continue;
            }
            if self.is_here(&candidate)? {
                continue;
            }
            let state = (candidate.found.size, candidate.found.modified_ns);
            let since = match before.get(&candidate.file) {
                Some((size, modified, since)) if (*size, *modified) == state => *since,
                _ => now,
            };
            let unchanged = now.saturating_duration_since(since);
            let whole = [&source.done_file, &source.checksum_file].into_iter().flatten().all(|t| listing.names.contains(&companion_name(t, &candidate.file)));
            let settled = announced || (unchanged >= settle && (before.contains_key(&candidate.file) || settle.is_zero()));
            if source.min_size.is_some_and(|least| candidate.found.size < least) || !whole {
                continue;
            }
            if !settled {
                let left = settle.saturating_sub(unchanged).max(Duration::from_millis(10));
                self.fetched.again = self.fetched.again.into_iter().chain([left]).min();
                seen.insert(candidate.file, (state.0, state.1, since));
                continue;
            }
            if room == 0 {
                self.fetched.left += 1;
                seen.insert(candidate.file, (state.0, state.1, since));
                continue;
            }
            let took = self.take(&candidate);
            in_a_row = if took.as_ref().is_err_and(is_an_answer) { in_a_row + 1 } else { 0 };
            match took {
                Ok(true) => room -= 1,
                Ok(false) => {
                    seen.insert(candidate.file.clone(), (state.0, state.1, since));
                    let e = Error::endpoint(format!("{} changed while it was fetched, or its server lists another size than it has", candidate.file));
                    self.stuck(e.at("fetch").hint("it is fetched again by itself, and taken once both are the same"));
                }
                // One file that the server does not give keeps no other from coming.
                Err(e) if is_the_files(&e) || is_an_answer(&e) => {
                    seen.insert(candidate.file.clone(), (state.0, state.1, since));
                    refused.push((candidate.file, e));
                }
                Err(e) => {
                    seen.insert(candidate.file, (state.0, state.1, since));
                    failed = Some(e);
                }
            }
        }
        self.w.with_memory(&self.route.name, |memory| memory.seen = seen);
        failed.map_or_else(|| self.still_there(refused), Err)
    }

    /// Of the files that the server did not give, those that A did not just take away.
    fn still_there(&mut self, refused: Vec<(Name, Error)>) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        let passed_over = self.fetched.passed_over;
        let there: HashSet<Name> = self.list()?.files.into_iter().map(|c| c.file).collect();
        self.fetched.passed_over = passed_over;
        for (file, e) in refused.into_iter().filter(|(file, _)| there.contains(file)) {
            let e = Error::endpoint(format!("{file} can't be fetched: {}", e.message()))
                .at("fetch")
                .hint("see what that file is at the server: let the relay's user read it, rename it, or leave it out with `exclude`");
            self.stuck(e);
        }
        Ok(())
    }

    /// A file that is there and can't be taken now.
    fn stuck(&mut self, e: Error) {
        self.fetched.notices.push(format!("{e}{}", e.remedy()));
        self.fetched.stuck.add(e);
    }

    /// Whether it was fetched and not claimed yet.
    fn is_here(&self, candidate: &Candidate) -> Result<bool> {
        let here = durable::look(&self.route.source.path.join(candidate.file.path()))?.map(|meta| durable::found(&meta));
        Ok(here.is_some_and(|f| f.size == candidate.found.size && same_version(f.modified_ns, candidate.found.modified_ns)))
    }

    /// Fetches a file, after those that announce it. One that changes meanwhile is left for the next look.
    fn take(&mut self, candidate: &Candidate) -> Result<bool> {
        let source = &self.route.source;
        for template in [&source.done_file, &source.checksum_file].into_iter().flatten() {
            let companion = companion_name(template, &candidate.file);
            let to = source.path.join(companion.path());
            self.fetch_one(&companion, None, &to)?;
        }
        self.fetch_one(&candidate.file, Some(&candidate.found), &source.path.join(candidate.file.path()))
    }

    /// The folder beside the fetched files in which one is while it is on its way.
    fn on_its_way(&self) -> Result<PathBuf> {
        let folder = self.route.source.path.join(ON_ITS_WAY);
        durable::make_folder(&folder, 0o700)?;
        Ok(folder)
    }

    /// A file on its way, and what `read` says of it, which fills it. What can't be written here is not the server's fault.
    fn download<T>(&mut self, read: impl FnOnce(&mut dyn Session, &mut Taking<'_>) -> Result<T>) -> Result<(durable::NewFile, PathBuf, Result<T>)> {
        let part = self.on_its_way()?.join("part");
        let mut new = durable::NewFile::create(&part, 0o600)?;
        let mut taking = Taking { inner: &mut new, stop: &self.w.stop, rate: self.rate, failed: None };
        let result = read(&mut *self.session, &mut taking);
        match taking.failed {
            Some(e) => Err(Error::io(Blame::Endpoint, "write", &part, &e).at("fetch")),
            None => Ok((new, part, result)),
        }
    }

    fn fetch_one(&mut self, file: &Name, found: Option<&Found>, to: &Path) -> Result<bool> {
        let at = self.at(file);
        let (new, part, read) = self.download(|session, to| session.read(&at, to))?;
        let fetched = read.map_err(|e| e.at("fetch"))?;
        let after = match self.session.stat(&at) {
            // A server may give what it says nothing of: a file that it sends on to another address.
            Err(e) if is_an_answer(&e) => None,
            found => found?.and_then(|stat| stat.size),
        };
        if let Some(found) = found {
            if after.is_some_and(|size| size != found.size) {
                return Ok(false);
            }
            if fetched != found.size {
                let message = format!("{} came with {fetched} bytes of {}", shown(&at), found.size);
                return Err(Error::endpoint(message).at("fetch").kind_of(Kind::Lost).hint("it is fetched again by itself"));
            }
            if let Ok(ns) = u64::try_from(found.modified_ns) {
                new.set_modified(std::time::UNIX_EPOCH + Duration::from_nanos(ns))?;
            }
        }
        new.sync()?;
        if let Some(folder) = to.parent() {
            durable::make_folder(folder, 0o700)?;
            durable::rename_over(&part, to)?;
            durable::sync_folder(folder)?;
        }
        Ok(true)
    }

    /// What becomes of an original at the server once its job is at rest: those that announce it go first.
    fn dispose(&mut self, file: &Name) -> Result<()> {
        let source = &self.route.source;
        let announcing = [&source.done_file, &source.checksum_file].into_iter().flatten().map(|t| companion_name(t, file));
        for name in announcing.chain([file.clone()]) {
            let at = self.at(&name);
            match &self.remote.leave {
                Leave::Keep => {}
                Leave::Move(folder) => self.move_away(&at, &Path::new(folder).join(name.path()))?,
                Leave::Nothing => self.session.remove(&at).map_err(|e| e.at("delete"))?,
            }
        }
        Ok(())
    }

    fn move_away(&mut self, from: &Path, to: &Path) -> Result<()> {
        if self.session.stat(from)?.is_none() {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            endpoints::make_missing(self.session, folder, &endpoints::is_present)?;
        }
        // An earlier file of that name stays as it is.
        let name = to.file_name().unwrap_or_default().as_encoded_bytes();
        let numbered = |n: u32| to.with_file_name(Name(naming::with_suffix(name, &format!("-{n}"))).path());
        for to in std::iter::once(to.to_owned()).chain((2..1000).map(numbered)) {
            match self.session.rename(from, &to, Rename::New) {
                Err(e) if e.kind() == Kind::Exists => {}
                other => return other.map_err(|e| e.at("move")),
            }
        }
        Err(Error::endpoint(format!("{} has a thousand names at the server already", shown(to))).at("move").hint("clear the folder that move_to names"))
    }
}

/// Whether a failure to fetch is about that file alone, as far as one can tell: there is none, it may not be read (whoever
/// listed it is logged in), its name can't be asked for.
fn is_the_files(e: &Error) -> bool {
    e.blame() == Blame::File || (e.blame() == Blame::Endpoint && matches!(e.kind(), Kind::NotFound | Kind::Denied | Kind::Login))
}

/// Whether two times are of one version: what tells versions apart is the same, where it is known, however it is listed; else
/// they are of one second.
fn same_version(a: i128, b: i128) -> bool {
    let ((a, own), (b, other)) = ((a.div_euclid(SECOND), a.rem_euclid(SECOND)), (b.div_euclid(SECOND), b.rem_euclid(SECOND)));
    if own != 0 && other != 0 { own == other } else { a == b }
}

/// Whether one time is the other, of which a list tells the day alone by now: so `ls` lists what is older than half a year.
fn same_day(then: i128, listed: i128, now: i128) -> bool {
    let day = |ns: i128| ns.div_euclid(DAY);
    listed.rem_euclid(DAY) < SECOND && day(then) == day(listed) && now - listed > LISTED_BY_THE_DAY
}

/// Whether the server answered that it failed, over a connection that goes on.
fn is_an_answer(e: &Error) -> bool {
    e.blame() == Blame::Endpoint && matches!(e.kind(), Kind::Other | Kind::Doubtful | Kind::Unsupported | Kind::Exists)
}

/// As it is known again: by its size, and its time in whole seconds ([`Fetch::exact`] may add to it).
fn found(listed: &Listed) -> Found {
    Found { size: listed.size.unwrap_or(0), modified_ns: i128::from(listed.modified.unwrap_or(0)) * SECOND, ..Found::default() }
}

/// What is written of a file that is fetched: looks at the wish to stop, and keeps to the rate.
struct Taking<'t> {
    inner: &'t mut durable::NewFile,
    stop: &'t crate::stop::Stop,
    rate: Option<&'t pool::Rate>,
    /// Why it can't be written here, which is not the server's fault.
    failed: Option<std::io::Error>,
}

impl Write for Taking<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.stop.is_set() {
            return Err(endpoints::stopped());
        }
        let most = self.rate.map_or(bytes.len(), |r| r.slice().min(bytes.len()));
        let n = match self.inner.write(&bytes[..most]) {
            Ok(n) => n,
            Err(e) => {
                let kind = e.kind();
                self.failed = Some(e);
                return Err(kind.into());
            }
        };
        if let Some(rate) = self.rate {
            rate.spend(n, self.stop);
        }
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_what_tells_it_apart_where_that_is_known() {
        let listed = 1_700_000_040 * SECOND;
        assert!(same_version(listed + 5, listed + 5) && !same_version(listed + 5, listed + 6), "asked for both times");
        assert!(same_version(listed, listed + 5) && same_version(listed + 5, listed), "asked for once: what was relayed is not relayed again");
        assert!(!same_version(listed, listed + 60 * SECOND));
        assert!(same_version(listed + 5, listed - 43_200 * SECOND + 5), "listed otherwise, half a year later");
    }

    #[test]
    fn what_is_listed_by_its_day_alone_later_is_the_same_version() {
        let (day, minute) = (1_700_000_000 / 86_400 * DAY, 60 * SECOND);
        let later = day + 200 * DAY;
        assert!(same_day(day + 600 * minute, day, later) && same_day(day, day, later));
        assert!(!same_day(day + 600 * minute, day + minute, later), "it is listed with its minute");
        assert!(!same_day(day + 600 * minute, day, day + 10 * DAY), "midnight, of a young file");
        assert!(!same_day(day - minute, day, later), "another day");
    }
}
