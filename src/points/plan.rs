//! What `PASSERELLE_POINTS` asks for, read once; the numbers of points are counted over all threads.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The plan of this process.
#[derive(Debug, Default)]
struct Plan {
    list: Option<PathBuf>,
    kill_before: Option<Place>,
    kill_after: Option<Place>,
    fail: Option<(u64, Failure)>,
    fail_at: Vec<(String, String, Failure)>,
    fail_from: Option<(u64, Failure)>,
    lose: Option<u64>,
    skip: Vec<(String, Option<String>)>,
    plant: Vec<String>,
}

#[derive(Debug)]
enum Place {
    Number(u64),
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Errno(i32),
    Short,
}

static REACHED: AtomicU64 = AtomicU64::new(0);

fn plan() -> Option<&'static Plan> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    PLAN.get_or_init(|| std::env::var("PASSERELLE_POINTS").ok().map(|text| parse(&text))).as_ref()
}

fn parse(text: &str) -> Plan {
    let mut plan = Plan::default();
    for wish in text.split(',').filter(|w| !w.is_empty()) {
        let (what, value) = wish.split_once('=').unwrap_or((wish, ""));
        let failure = || {
            let (number, how) = value.split_once(':')?;
            Some((number.parse().ok()?, failure_named(how)?))
        };
        match what {
            "list" => plan.list = Some(value.into()),
            "kill" => match value.split_once(':') {
                Some(("before", place)) => plan.kill_before = Some(place_of(place)),
                Some(("after", place)) => plan.kill_after = Some(place_of(place)),
                _ => wrong(wish),
            },
            "fail" if value.contains('@') => match value.split_once('@').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?))) {
                Some((name, (part, how))) => plan.fail_at.push((name.into(), part.into(), failure_named(how).unwrap_or_else(|| wrong(wish)))),
                None => wrong(wish),
            },
            "fail" => plan.fail = failure().or_else(|| wrong(wish)),
            "fail-from" => plan.fail_from = failure().or_else(|| wrong(wish)),
            "lose" => plan.lose = value.parse().ok().or_else(|| wrong(wish)),
            "skip" => match value.split_once('@') {
                Some((name, part)) => plan.skip.push((name.into(), Some(part.into()))),
                None => plan.skip.push((value.into(), None)),
            },
            "plant" => plan.plant.push(value.into()),
            _ => wrong(wish),
        }
    }
    plan
}

/// A plan that says nothing would prove nothing: the process ends.
fn wrong<T>(wish: &str) -> T {
    eprintln!("PASSERELLE_POINTS: «{wish}» is not understood");
    std::process::exit(99)
}

fn place_of(text: &str) -> Place {
    text.parse().map_or_else(|_| Place::Name(text.to_owned()), Place::Number)
}

fn failure_named(word: &str) -> Option<Failure> {
    Some(match word {
        "ENOSPC" => Failure::Errno(libc::ENOSPC),
        "EIO" => Failure::Errno(libc::EIO),
        "EMFILE" => Failure::Errno(libc::EMFILE),
        "EROFS" => Failure::Errno(libc::EROFS),
        "EDQUOT" => Failure::Errno(libc::EDQUOT),
        "short" => Failure::Short,
        _ => return None,
    })
}

fn matches(place: Option<&Place>, number: u64, name: &str) -> bool {
    match place {
        Some(Place::Number(n)) => *n == number,
        Some(Place::Name(wanted)) => name.split('+').any(|n| n == wanted),
        None => false,
    }
}

/// Ends the process as `kill -9` would.
fn die() {
    // The process ends here; there is nothing to do with a result.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::thread::sleep(std::time::Duration::from_secs(60));
}

/// Whether what makes a change can fail for want of room.
fn changes(name: &str) -> bool {
    !matches!(name, "open" | "read" | "look")
}

/// A point is about to be passed; gives its number.
pub(super) fn reach(name: &str, path: &Path) -> io::Result<u64> {
    let Some(plan) = plan() else { return Ok(0) };
    let number = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(list) = &plan.list {
        let line = format!("{number} {} {}\n", name, path.display());
        // The list is the test's; without it there is nothing to test.
        let written = std::fs::OpenOptions::new().append(true).create(true).open(list).and_then(|mut f| f.write_all(line.as_bytes()));
        if let Err(e) = written {
            wrong(&format!("list={}: {e}", list.display()))
        }
    }
    if matches(plan.kill_before.as_ref(), number, name) {
        die();
    }
    let once = plan.fail.filter(|(n, _)| *n == number);
    let from = plan.fail_from.filter(|(n, f)| number >= *n && (*f != Failure::Errno(libc::ENOSPC) || changes(name)));
    let named = plan.fail_at.iter().find(|(n, part, _)| n == name && path.as_os_str().to_string_lossy().contains(part.as_str()));
    match once.or(from).map(|(_, failure)| failure).or(named.map(|(_, _, failure)| *failure)) {
        Some(Failure::Errno(code)) => Err(io::Error::from_raw_os_error(code)),
        Some(Failure::Short) | None => Ok(number),
    }
}

/// A point was passed.
pub(super) fn passed(number: u64, name: &str) -> io::Result<()> {
    let Some(plan) = plan() else { return Ok(()) };
    if matches(plan.kill_after.as_ref(), number, name) {
        die();
    }
    if plan.lose == Some(number) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
}

/// A write of so many bytes is about to be made: how many it may take.
pub(super) fn write_room(path: &Path, len: usize) -> io::Result<usize> {
    let Some(plan) = plan() else { return Ok(len) };
    let number = reach("write", path)?;
    let short = |f: Option<(u64, Failure)>, hit: &dyn Fn(u64) -> bool| f.is_some_and(|(n, f)| f == Failure::Short && hit(n));
    if short(plan.fail, &|n| n == number) || short(plan.fail_from, &|n| number >= n) {
        return Ok(len.div_ceil(2));
    }
    Ok(len)
}

/// Whether such a call is left out.
pub(super) fn skipped(name: &str, path: &Path) -> bool {
    plan().is_some_and(|p| {
        p.skip
            .iter()
            .any(|(n, part)| name.split('+').any(|one| one == n) && part.as_ref().is_none_or(|part| path.as_os_str().to_string_lossy().contains(part.as_str())))
    })
}

/// Whether a fault of that name is planted.
pub(super) fn planted(name: &str) -> bool {
    plan().is_some_and(|p| p.plant.iter().any(|f| f == name))
}
