//! What a check tries in the folders that routes use: B's are written to as a delivery is, A's are read, and what is to
//! become of an original there is tried with a file of our own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Stages;
use crate::config::{Config, EndpointConfig, Leave, RemoteSource, Route, Verify};
use crate::endpoints::{Entry, Rename, Session, is_present, make_missing, missing_folder};
use crate::error::{Error, Kind, Result, shown};
use crate::job::Name;

/// The file of A that is read is no larger, and the smallest of those.
const READ_BYTES_MAX: u64 = 1024 * 1024;

const TEXT: &[u8] = b"passerelle tries whether it may write here; it removes this file at once.\n";

/// A folder of an endpoint, and what for.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) create: bool,
    what: Use,
}

/// What a folder is for.
#[derive(Debug)]
enum Use {
    /// It is there, and shows what lies in it.
    Look,
    /// A's files are read there, and what is to become of them is done.
    Fetch(Arc<Route>),
    /// Files are written in `temp` with that mode, and renamed into the folder.
    Deliver { temp: PathBuf, verify: Verify, mode: Option<u32> },
}

impl Folder {
    /// Whether it is B's.
    pub(super) fn delivers(&self) -> bool {
        matches!(self.what, Use::Deliver { .. })
    }
    fn source(&self) -> Option<(&Route, &RemoteSource)> {
        match &self.what {
            Use::Fetch(route) => Some((route, route.source.remote.as_ref()?)),
            Use::Look | Use::Deliver { .. } => None,
        }
    }
    /// A's files, where the server lists none.
    pub(super) fn named(&self) -> Option<&[String]> {
        self.source().and_then(|(_, remote)| remote.named.as_deref())
    }
    fn is_for_the_same(&self, other: &Folder) -> bool {
        let same = match (&self.what, &other.what) {
            (Use::Deliver { temp, verify, mode }, Use::Deliver { temp: other, verify: same, mode: alike }) => temp == other && verify == same && mode == alike,
            (Use::Fetch(_), Use::Fetch(_)) => {
                let of = |f: &Folder| f.source().map(|(route, remote)| (remote.leave.clone(), remote.named.clone(), route.source.done_file.is_some()));
                of(self) == of(other)
            }
            (Use::Look, Use::Look) => true,
            _ => false,
        };
        same && self.path == other.path
    }
}

/// The folders that routes use on an endpoint; without any, the one of its address.
pub(super) fn folders(config: &Config, endpoint: &EndpointConfig) -> Vec<Folder> {
    let mut out: Vec<Folder> = Vec::new();
    let mut add = |folder: Folder| {
        if !out.iter().any(|known| known.is_for_the_same(&folder)) {
            out.push(folder);
        }
    };
    for route in &config.routes {
        for d in route.destinations.iter().filter(|d| d.endpoint.as_ref().is_some_and(|e| e.name == endpoint.name)) {
            let temp = PathBuf::from(d.temp_path.as_ref().unwrap_or(&d.path));
            add(Folder { path: PathBuf::from(&d.path), create: d.create, what: Use::Deliver { temp, verify: d.verify, mode: d.mode } });
        }
    }
    for route in &config.routes {
        if let Some(remote) = route.source.remote.as_ref().filter(|s| s.endpoint.name == endpoint.name) {
            add(Folder { path: PathBuf::from(&remote.path), create: remote.create, what: Use::Fetch(route.clone()) });
        }
    }
    if out.is_empty() {
        // An address that names a folder is meant for files; the root of a server is not.
        let named = !matches!(endpoint.url.path().trim_end_matches('/'), "" | "/~");
        let what = if named { Use::Deliver { temp: PathBuf::new(), verify: Verify::Size, mode: None } } else { Use::Look };
        out.push(Folder { path: PathBuf::new(), create: false, what });
    }
    out
}

/// Whether those files can be read that the server does not list; one that is not there may still come.
pub(super) fn named(session: &mut dyn Session, folder: &Folder, names: &[String], stages: &mut Stages) -> Result<()> {
    for name in names {
        let detail = match session.stat(&folder.path.join(name)).map_err(|e| e.at("read"))? {
            Some(found) => format!("{name} is there{}", found.size.map_or(String::new(), |n| format!(", {n} bytes"))),
            None => format!("{name} is not there now; it is taken as soon as it is"),
        };
        stages.passed("read", detail);
    }
    Ok(())
}

/// Tries what routes do in a folder.
pub(super) fn try_out(session: &mut dyn Session, folder: &Folder, shown: &str, stages: &mut Stages) -> Result<()> {
    if let Use::Deliver { temp, .. } = &folder.what
        && *temp != folder.path
    {
        if folder.create {
            make_missing(session, temp, &is_present).map_err(|e| e.at("folder"))?;
        } else if !is_present(session, temp).map_err(|e| e.at("folder"))? {
            return Err(missing_folder(temp).at("folder"));
        }
    }
    let smallest = list(session, folder, shown, stages)?;
    if let Some((name, size)) = smallest {
        let path = folder.path.join(name.path());
        session.read(&path, &mut std::io::sink()).map_err(|e| e.at("read"))?;
        stages.passed("read", format!("{name}, {size} bytes"));
    }
    // Two checks at once must not take each other's files.
    let id = format!("{:x}-{:x}", std::process::id(), jiff::Timestamp::now().as_millisecond());
    let (first, last) = (format!(".passerelle-check-{id}.part"), format!(".passerelle-check-{id}"));
    let (at, to) = match (&folder.what, folder.source().map(|(_, remote)| &remote.leave)) {
        (Use::Deliver { temp, .. }, _) => (temp.join(first), folder.path.join(last)),
        (_, Some(Leave::Nothing)) => (folder.path.join(&first), folder.path.join(&first)),
        (_, Some(Leave::Move(to))) => (folder.path.join(&first), Path::new(to).join(last)),
        (_, Some(Leave::Keep) | None) => return Ok(()),
    };
    let tried = write_there(session, folder, (&at, &to), stages);
    if tried.is_err() {
        // What is left of a check must not stay there; what can't be removed was told already.
        let _ = session.remove(&at).and_then(|()| session.remove(&to));
    }
    tried
}

/// Lists a folder. Gives the smallest file that its route would take.
fn list(session: &mut dyn Session, folder: &Folder, shown: &str, stages: &mut Stages) -> Result<Option<(Name, u64)>> {
    let mut names = 0u64;
    let mut smallest: Option<(Name, u64)> = None;
    let wants = |name: &[u8]| folder.source().is_some_and(|(route, _)| route.source.wants(name));
    let listed = session.list(&folder.path, &mut |listed| {
        names += 1;
        if let Some(size) = listed.size.filter(|_| listed.entry == Entry::File && wants(&listed.name))
            && size <= smallest.as_ref().map_or(READ_BYTES_MAX, |(_, least)| *least)
        {
            smallest = Some((Name(listed.name), size));
        }
        Ok(())
    });
    let listed = match listed {
        // B's folder needs no listing.
        Err(e) if folder.delivers() && matches!(e.kind(), Kind::Unsupported | Kind::Denied) => Err(e.message().to_owned()),
        other => Ok(other.map_err(|e| e.at("list"))?),
    };
    if let Some(data) = session.data_channel() {
        stages.passed("data channel", data);
    }
    stages.passed("list", listed.map_or_else(|why| format!("not possible, and not needed to deliver: {why}"), |()| format!("{names} names in {shown}")));
    Ok(smallest)
}

fn write_there(session: &mut dyn Session, folder: &Folder, (at, to): (&Path, &Path), stages: &mut Stages) -> Result<()> {
    let size = TEXT.len() as u64;
    let mode = if let Use::Deliver { mode, .. } = &folder.what { *mode } else { None };
    match session.write(at, &mut &*TEXT, size, mode) {
        // A's folder need not be written to; whether a file may be removed there can't be tried without one.
        Err(e) if !folder.delivers() && matches!(e.kind(), Kind::Unsupported | Kind::Denied) => {
            let what = "not possible, and not needed to fetch; whether originals can be removed there shows with the first one";
            stages.passed("write", format!("{what}: {}", e.message()));
            return Ok(());
        }
        written => written.map_err(|e| e.at("write"))?,
    };
    stages.passed("write", format!("{size} bytes as {}", shown(at)));
    if let Use::Deliver { verify, .. } = &folder.what {
        verify_there(session, at, *verify, stages)?;
    }
    if at != to {
        if let (false, Some(parent)) = (folder.delivers(), to.parent()) {
            make_missing(session, parent, &is_present).map_err(|e| e.at("rename"))?;
        }
        session.rename(at, to, Rename::New).map_err(|e| e.at("rename"))?;
        stages.passed("rename", format!("to {}", shown(to)));
    }
    session.remove(to).map_err(|e| e.at("delete"))?;
    stages.passed("delete", "it is gone".to_owned());
    Ok(())
}

fn verify_there(session: &mut dyn Session, at: &Path, verify: Verify, stages: &mut Stages) -> Result<()> {
    let size = TEXT.len() as u64;
    let changed = |message: String| {
        let hint = "most often a transfer in text mode, a full disk, or a filter in between: ask the server's keeper";
        Err(Error::endpoint(message).at("verify").hint(hint))
    };
    match session.stat(at).map_err(|e| e.at("verify"))? {
        Some(found) if found.size.is_none_or(|s| s == size) => {}
        Some(found) => return changed(format!("the server has {} bytes of {size}", found.size.unwrap_or_default())),
        None => {
            let error = Error::endpoint("the file that was just written is not there").at("verify");
            return Err(error.hint("the server takes uploads away at once: let it leave names that begin with a dot, or set temp_path"));
        }
    }
    if verify == Verify::Hash {
        let mut back = Vec::new();
        let hint = "verify = \"hash\" reads files back: let the server allow it, or set verify = \"size\"";
        session
            .read(at, &mut back)
            .map_err(|e| if e.kind() == Kind::Denied { Error::endpoint(e.message()).at("verify").hint(hint) } else { e.at("verify") })?;
        if back != TEXT {
            return changed("the file reads otherwise than it was written".to_owned());
        }
    }
    stages.passed("verify", if verify == Verify::Hash { "it reads as it was written" } else { "its size is right" }.to_owned());
    Ok(())
}
