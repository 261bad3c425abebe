//! A, B, a configuration and the relay process, in a folder that goes away with the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One test's world.
pub struct World {
    pub dir: tempfile::TempDir,
}

/// What a command gave.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }
    pub fn code(self, wanted: i32) -> Self {
        assert_eq!(self.code, wanted, "{}\n{}", self.stdout, self.stderr);
        self
    }
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text) || self.stdout.contains(text), "«{text}» is not in:\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

impl World {
    /// Folders `a` and `b`, and a configuration.
    pub fn new(config: &str) -> Self {
        Self::below(&std::env::temp_dir(), config)
    }
    /// The same in a folder of this one.
    pub fn below(base: &Path, config: &str) -> Self {
        let world = Self { dir: tempfile::tempdir_in(base).unwrap() };
        fs::create_dir(world.path("a")).unwrap();
        fs::create_dir(world.path("b")).unwrap();
        world.config(config);
        world
    }
    /// One route from `a` to `b` with these further lines.
    pub fn local(more: &str) -> Self {
        Self::new(&format!("{}{more}", Self::route("r", "a", "b")))
    }
    /// The usual route as TOML.
    pub fn route(name: &str, from: &str, to: &str) -> String {
        format!("[routes.{name}.source]\npath = \"{from}\"\nsettle = \"50ms\"\n[routes.{name}.destination]\npath = \"{to}\"\n")
    }
    pub fn config(&self, text: &str) {
        fs::write(self.path("passerelle.toml"), text).unwrap();
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))).into_owned()
    }
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle"));
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env_remove("PASSERELLE_CONFIG")
            .env_remove("STATE_DIRECTORY")
            .env_remove("PASSERELLE_LOG")
            .env_remove("PASSERELLE_POINTS")
            .env("NO_COLOR", "1");
        command
    }
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[])
    }
    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let output = self.command().args(args).envs(env.iter().copied()).output().unwrap();
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
    pub fn once(&self) -> Output {
        self.run(&["run", "--once"])
    }
    /// A relay that runs until it is dropped.
    pub fn start(&self) -> Relay {
        let log = fs::File::create(self.path("relay.log")).unwrap();
        let child = self.command().arg("run").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Relay { child }
    }
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let out = self.run(args).ok();
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.stdout))
    }
    /// `history --json`, oldest first.
    pub fn history(&self) -> Vec<serde_json::Value> {
        let out = self.run(&["history", "--json"]).ok();
        let mut jobs: Vec<serde_json::Value> = out.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        jobs.reverse();
        jobs
    }
    pub fn states(&self) -> Vec<String> {
        self.history().iter().map(|j| j["state"].as_str().unwrap().to_owned()).collect()
    }
    /// All plain files below a folder by relative name, with their content.
    pub fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut out = BTreeMap::new();
        collect(&self.path(folder), &self.path(folder), &mut out);
        out
    }
    pub fn names(&self, folder: &str) -> Vec<String> {
        self.files(folder).into_keys().collect()
    }
    /// The names in the archive of a route, without their date folders.
    pub fn archived(&self, route: &str) -> Vec<String> {
        self.names(&format!("relay/archive/{route}")).into_iter().map(|n| n.splitn(4, '/').last().unwrap().to_owned()).collect()
    }
    /// Every original lies in exactly one of A's folder, `.passerelle`, archive and errors.
    pub fn assert_nothing_lost(&self, written: &BTreeMap<String, Vec<u8>>) {
        let mut places: Vec<Vec<u8>> = Vec::new();
        places.extend(self.files("a").into_values());
        places.extend(self.files("relay/archive").into_values());
        places.extend(self.files("relay/errors").into_iter().filter(|(n, _)| !n.ends_with(".error.json") && !n.ends_with(".rejects.csv")).map(|(_, b)| b));
        for (name, bytes) in written {
            assert_eq!(places.iter().filter(|p| *p == bytes).count(), 1, "{name}");
        }
        assert_eq!(places.len(), written.len());
    }
    /// Waits until something holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > end {
                panic!("{what} did not come true; the relay says:\n{}", fs::read_to_string(self.path("relay.log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    pub fn until_file(&self, name: &str) {
        self.until(name, || self.path(name).exists());
    }
}

fn collect(root: &Path, folder: &Path, out: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, out);
        } else if path.is_file() {
            // A running relay moves files: one that is gone by now lies elsewhere.
            let bytes = match fs::read(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                read => read.unwrap(),
            };
            out.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), bytes);
        }
    }
}

/// A running relay, killed when dropped.
pub struct Relay {
    pub child: Child,
}

impl Relay {
    pub fn signal(&self, name: &str) {
        let signal = match name {
            "TERM" => rustix::process::Signal::TERM,
            "KILL" => rustix::process::Signal::KILL,
            "HUP" => rustix::process::Signal::HUP,
            other => panic!("no signal {other}"),
        };
        rustix::process::kill_process(rustix::process::Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }
    /// Waits for its end, 10 s at most; gives its exit status.
    pub fn wait(&mut self) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-9));
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
