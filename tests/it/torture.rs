//! The proof of promises 1, 2 and 3: a run is stopped, failed or cut at every numbered point, then started again, and a
//! ledger is compared: what A wrote = archive + errors + claimed + folder; B = each file once, whole.
//!
//! `scripts/torture` runs the same for longer. `PASSERELLE_TORTURE_MINUTES` is how long the random parts last here.

mod ambiguous;
mod planted;
pub mod power;
mod random;
mod steps;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::servers::{Nginx, Sshd, Vsftpd};
use crate::world::{Output, World};

/// Whether a point is left to another of the passes that share the points in the quick set, which CI runs. All passes take
/// all points with `PASSERELLE_ALL_POINTS` (`scripts/torture --steps`), and where a planted fault must be found.
fn left_out_of(pass: usize, passes: usize, point: u64, until: Until) -> bool {
    until == Until::End && std::env::var_os("PASSERELLE_ALL_POINTS").is_none() && point as usize % passes != pass % passes
}

/// How long a proof goes on.
#[derive(Clone, Copy, PartialEq)]
pub enum Until {
    End,
    FirstFault,
}

/// The file systems that a round's folders lie on.
pub struct Bases<'p> {
    pub home: &'p Path,
    pub a: &'p Path,
    pub b: &'p Path,
}

impl<'p> Bases<'p> {
    pub fn one(base: &'p Path) -> Self {
        Self { home: base, a: base, b: base }
    }
}

/// Where B's folder is.
pub enum Server {
    Local,
    Sftp(Sshd),
    Ftp(Vsftpd),
    Dav(Nginx),
    Put(Nginx),
}

/// A kind of exchange, for many rounds.
pub struct Scene {
    pub name: &'static str,
    pub server: Server,
    /// Keys of the destination.
    pub destination: &'static str,
    /// Further tables.
    pub more: &'static str,
    /// What stands before each line of A's files, and of B's.
    pub heads: (&'static str, &'static str),
    /// B has a file of the first name already.
    pub taken: bool,
    /// A fault that is planted, as a wish of `PASSERELLE_POINTS`.
    pub planted: &'static str,
    /// A's program does not sync what it writes; a power cut may take it before the relay has it.
    pub unsynced: bool,
    /// A file may end in errors.
    pub may_fail: bool,
    pub files: usize,
    pub jobs: usize,
    /// Each file becomes two.
    pub split: bool,
}

/// What stood at B before.
const OLD: &[u8] = b"old\n";

impl Scene {
    pub fn local(name: &'static str, destination: &'static str) -> Self {
        Self {
            name,
            server: Server::Local,
            destination,
            more: "",
            heads: ("x\n", "x\n"),
            taken: false,
            planted: "",
            unsynced: false,
            may_fail: false,
            files: 2,
            jobs: 1,
            split: false,
        }
    }
    pub fn at(name: &'static str, server: Server) -> Self {
        Self { server, ..Self::local(name, "") }
    }
    pub fn csv(mut self) -> Self {
        self.more = "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n";
        self.heads = ("x\n", "y\n");
        self
    }
    /// Each of A's files holds some records of a sync group; all are new to B.
    pub fn synchronised(mut self) -> Self {
        self = self.csv();
        self.more = "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n[routes.r.sync]\ngroup = \"g\"\nkey = [\"y\"]\nfull = false\n";
        self
    }
    /// Each of A's files has two records, and each record is a file for B.
    pub fn split(mut self) -> Self {
        self.more = "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n[routes.r.output]\nsplit = 1\n";
        self.heads = ("x\n", "y\n");
        self.split = true;
        self
    }
    pub fn with_old(mut self) -> Self {
        self.taken = true;
        self
    }

    /// A world with what A wrote, and nothing done yet.
    pub fn round(&self, at: &Bases<'_>) -> Round {
        let world = World::below(at.home, "");
        for (name, base) in [("a", at.a), ("b", at.b)] {
            if base != at.home {
                let folder = base.join(format!("{}-{name}", world.dir.path().file_name().unwrap().to_string_lossy())).join(name);
                fs::create_dir_all(&folder).unwrap();
                fs::remove_dir(world.path(name)).unwrap();
                std::os::unix::fs::symlink(&folder, world.path(name)).unwrap();
            }
        }
        let here = world.path("b").canonicalize().unwrap();
        let (endpoint, b) = match &self.server {
            Server::Local => (String::new(), here),
            Server::Sftp(s) => (s.endpoint_at("b", &here), here),
            Server::Ftp(s) => (s.endpoint("b", "ftp"), s.dir.path().join("root/in")),
            Server::Dav(s) => (format!("[endpoints.b]\nurl = \"http://127.0.0.1:{}/dav\"\npublish = \"move\"\n", s.port), s.dir.path().join("www/dav")),
            Server::Put(s) => (format!("[endpoints.b]\nurl = \"http://127.0.0.1:{}/dav\"\n", s.port), s.dir.path().join("www/dav")),
        };
        for entry in fs::read_dir(&b).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let to = if endpoint.is_empty() { "path = \"b\"" } else { "endpoint = \"b\"\npath = \"\"" };
        world.config(&format!(
            "jobs = {}\n{endpoint}[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\nsort = \"name\"\n[routes.r.retry]\ninitial_delay = \"50ms\"\nmax_delay = \"200ms\"\n[routes.r.destination]\n{to}\n{}{}",
            self.jobs, self.destination, self.more
        ));
        let names = (0..self.files).map(|i| format!("{i}.csv"));
        let written: BTreeMap<String, Vec<u8>> = names
            .enumerate()
            .map(|(i, n)| {
                let second = if self.split { format!("{i}b\n") } else { String::new() };
                (n, format!("{}{i}\n{second}", self.heads.0).into_bytes())
            })
            .collect();
        let ends: &[&str] = if self.split { &["", "b"] } else { &[""] };
        let wanted = (0..self.files).flat_map(|i| ends.iter().map(move |end| format!("{}{i}{end}\n", self.heads.1).into_bytes())).collect();
        for (name, bytes) in &written {
            world.write(&format!("a/{name}"), bytes);
        }
        if self.taken {
            fs::write(b.join("0.csv"), OLD).unwrap();
        }
        Round {
            world,
            b,
            written,
            wanted,
            heads: self.heads,
            seen: Vec::new(),
            planted: self.planted,
            may_fail: self.may_fail,
            temp: if matches!(self.server, Server::Put(_)) { "" } else { ".part" },
        }
    }
}

/// One world from A's export to the ledger.
pub struct Round {
    pub world: World,
    pub b: PathBuf,
    pub written: BTreeMap<String, Vec<u8>>,
    heads: (&'static str, &'static str),
    wanted: Vec<Vec<u8>>,
    /// What B has imported and removed.
    seen: Vec<Vec<u8>>,
    temp: &'static str,
    planted: &'static str,
    may_fail: bool,
}

impl Round {
    pub fn run(&self, points: &str) -> Output {
        let points = [points, self.planted].join(",");
        self.world.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &points), ("PASSERELLE_LOG", "warn")])
    }

    /// A writes its files once more, without a sync.
    pub fn write_again(&self) {
        for (name, bytes) in &self.written {
            let path = self.world.path("a").join(name);
            fs::remove_file(&path).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// B imports what is there under a final name, and removes it.
    pub fn consume(&mut self) {
        // What a PUT has put is a resource that stays: sent again, it is the same (RFC 9110, 9.2.2).
        if self.temp.is_empty() {
            return;
        }
        for (path, bytes) in self.finals() {
            fs::remove_file(path).unwrap();
            self.seen.push(bytes);
        }
    }

    fn finals(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.b).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file());
        entries.filter(|p| self.temp.is_empty() || !p.to_string_lossy().ends_with(self.temp)).map(|p| (p.clone(), fs::read(p).unwrap())).collect()
    }

    /// What is wrong now that everything should be at rest: `lost`, `doubled`, `partial` or `stuck`, each with its words.
    pub fn wrong(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        let states = self.world.states();
        let at_b: Vec<Vec<u8>> = self.finals().into_iter().map(|(_, bytes)| bytes).chain(self.seen.iter().cloned()).filter(|b| b != OLD).collect();
        let failed = states.iter().filter(|s| *s == "failed").count();
        let mut missing = 0;
        for wanted in &self.wanted {
            match at_b.iter().filter(|b| *b == wanted).count() {
                0 => missing += 1,
                1 => {}
                n => out.push(("doubled", format!("{:?} came {n} times", String::from_utf8_lossy(wanted)))),
            }
        }
        if missing > failed {
            out.push(("lost", format!("{missing} files never came to B: {states:?}")));
        }
        for bytes in at_b.iter().filter(|b| !self.wanted.contains(b)) {
            out.push(("partial", format!("B saw {:?}", String::from_utf8_lossy(bytes))));
        }
        if states.len() != self.written.len() || states.iter().any(|s| s != "delivered" && s != "failed") {
            out.push(("stuck", format!("{states:?}")));
        }
        let leftovers: Vec<PathBuf> =
            fs::read_dir(&self.b).unwrap().map(|e| e.unwrap().path()).filter(|p| !self.temp.is_empty() && p.to_string_lossy().ends_with(self.temp)).collect();
        if !leftovers.is_empty() && failed == 0 {
            out.push(("stuck", format!("temporary files stay at B: {leftovers:?}")));
        }
        if failed > 0 && !self.may_fail {
            out.push(("lost", format!("a good file is called wrong: {states:?}")));
        }
        let left = self.world.names("a");
        if !left.is_empty() {
            out.push(("stuck", format!("A's folder still holds {left:?}")));
        }
        let work = self.world.names("relay/work");
        if work.iter().any(|n| n.contains('/')) {
            out.push(("stuck", format!("work holds {work:?}")));
        }
        let mut places: Vec<Vec<u8>> = self.world.files("a").into_values().collect();
        // `archive.compress` stores them so.
        let stored = |(name, bytes): (String, Vec<u8>)| if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap_or(bytes) } else { bytes };
        places.extend(self.world.files("relay/archive").into_iter().map(stored));
        places
            .extend(self.world.files("relay/errors").into_iter().filter(|(n, _)| !n.ends_with(".error.json") && !n.ends_with(".rejects.csv")).map(|(_, b)| b));
        for (name, bytes) in &self.written {
            match places.iter().filter(|p| *p == bytes).count() {
                0 => out.push(("lost", format!("the original of {name} is nowhere"))),
                1 => {}
                n => out.push(("doubled", format!("the original of {name} is in {n} places"))),
            }
        }
        if places.len() > self.written.len() {
            out.push(("partial", format!("{} originals of {}", places.len(), self.written.len())));
        }
        out
    }
}

/// Starts again until nothing waits, and compares the ledger.
fn again(round: &mut Round, tally: &mut Tally, what: &str) {
    let mut says = String::new();
    for _ in 0..3 {
        let out = round.run("");
        says.push_str(&out.stderr);
        if out.code != 3 && out.code != 4 {
            break;
        }
    }
    tally.add(what, round.wrong(), &says);
}

/// What many rounds came to.
#[derive(Default)]
pub struct Tally {
    pub cycles: u64,
    counts: BTreeMap<&'static str, u64>,
    examples: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, what: &str, wrong: Vec<(&'static str, String)>, says: &str) {
        self.cycles += 1;
        for (kind, words) in wrong {
            *self.counts.entry(kind).or_default() += 1;
            if self.examples.len() < 8 {
                self.examples.push(format!("{what}: {kind}: {words}\n    {}", says.trim().replace('\n', "\n    ")));
            }
        }
    }
    pub fn clean(&self) -> bool {
        self.counts.is_empty()
    }
    pub fn line(&self, what: &str) -> String {
        let n = |k| self.counts.get(k).copied().unwrap_or(0);
        format!("{what}: {} cycles, {} lost, {} doubled, {} partial, {} stuck", self.cycles, n("lost"), n("doubled"), n("partial"), n("stuck"))
    }
    /// Prints the counts; anything but zeros ends the test.
    pub fn end(self, what: &str) {
        println!("{}", self.line(what));
        assert!(self.cycles > 0, "{what}: nothing was tried");
        assert!(self.clean(), "{}\n{}", self.line(what), self.examples.join("\n"));
    }
}
