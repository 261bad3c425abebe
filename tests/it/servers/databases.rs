//! Databases of two programs: SQLite and PostgreSQL, used through their own command lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{program, spawn, stop, user};

fn run(mut command: Command, input: &str) -> String {
    use std::io::Write;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{input}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A database in a file.
pub struct Sqlite {
    file: PathBuf,
}

impl Sqlite {
    pub fn at(file: PathBuf) -> Self {
        Self { file }
    }
    /// Runs commands of the `sqlite3` shell, which stops at the first mistake; what they print.
    pub fn run(&self, commands: &str) -> String {
        let mut command = Command::new(program(&["/usr/bin/sqlite3"]));
        command.arg("-bail").arg(&self.file);
        // The shell's own commands begin their lines.
        run(command, &commands.lines().map(str::trim_start).collect::<Vec<_>>().join("\n"))
    }
}

/// A PostgreSQL of its own on a socket, which vanishes with its folder. It refuses to run as root: then it runs as `postgres`.
pub struct Postgres {
    dir: tempfile::TempDir,
    child: Child,
}

impl Postgres {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if user() == "root" {
            assert!(Command::new("chown").arg("postgres").arg(dir.path()).status().unwrap().success());
        }
        let data = dir.path().join("data");
        let mut initdb = Self::command("initdb");
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N", "-D"]).arg(&data);
        run(initdb, "");
        let mut server = Self::command("postgres");
        server.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(dir.path());
        let child = spawn(server, &dir.path().with_extension("log"));
        let mut server = Self { dir, child };
        let end = Instant::now() + Duration::from_secs(30);
        while !server.psql().args(["-c", "select 1"]).stderr(Stdio::null()).stdout(Stdio::null()).status().unwrap().success() {
            let log = fs::read_to_string(server.dir.path().with_extension("log")).unwrap_or_default();
            assert!(server.child.try_wait().unwrap().is_none() && Instant::now() < end, "PostgreSQL did not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// A program of PostgreSQL's, as somebody it accepts.
    fn command(name: &str) -> Command {
        let mut places: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin").join(name)).collect();
        places.push(Path::new("/usr/bin").join(name));
        let places: Vec<String> = places.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let path = program(&places.iter().map(String::as_str).collect::<Vec<_>>());
        if user() != "root" {
            return Command::new(path);
        }
        let mut command = Command::new(program(&["/usr/bin/setpriv"]));
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path).current_dir("/");
        command
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(program(&["/usr/bin/psql"]));
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]).arg(self.dir.path());
        command
    }

    /// Runs commands of `psql`, which stops at the first mistake; what they print.
    pub fn run(&self, commands: &str) -> String {
        run(self.psql(), commands)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        stop(&mut self.child);
        let _ = fs::remove_file(self.dir.path().with_extension("log"));
    }
}
