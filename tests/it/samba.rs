//! A is a Windows program that writes through a Samba share of the relay's own host: nothing is taken early, nothing missed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::servers::free_port;
use crate::world::{Relay, World};

/// smbd, serving one folder.
struct Smbd {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Smbd {
    fn serving(folder: &Path) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let d = dir.path().display();
        fs::write(
            dir.path().join("smb.conf"),
            format!(
                "[global]\nserver role = standalone server\nsmb ports = {port}\nbind interfaces only = yes\ninterfaces = 127.0.0.1\nmap to guest = Bad User\nguest account = {}\n\
                 private dir = {d}/private\nlock directory = {d}/lock\nstate directory = {d}/lock\ncache directory = {d}/lock\npid directory = {d}/lock\nncalrpc dir = {d}/lock/rpc\n\
                 log file = {d}/log\ndisable netbios = yes\nload printers = no\n[a]\npath = {}\nguest ok = yes\nread only = no\nstrict allocate = yes\n",
                crate::servers::user(),
                folder.display()
            ),
        )
        .unwrap();
        for name in ["private", "lock"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert!(Path::new("/usr/sbin/smbd").exists(), "samba is not installed: `scripts/test` installs what the tests need");
        let child = Command::new("/usr/sbin/smbd")
            .args(["-F", "--no-process-group", "-s"])
            .arg(dir.path().join("smb.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It ends with all its group.
            .process_group(0)
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "smbd did not start: {}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { dir, port, child }
    }

    /// A Windows program that carries out these commands of smbclient.
    fn client(&self, commands: &str) -> Command {
        let mut command = Command::new("smbclient");
        command.arg("-s").arg(self.dir.path().join("smb.conf")).args(["-p", &self.port.to_string(), "-N", "//127.0.0.1/a", "-c", commands]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Smbd {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(self.child.id() as i32).unwrap(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A's folder as a share, and a relay that watches it.
fn sharing() -> (World, Smbd, Relay) {
    let w = World::new(&World::route("r", "a", "b").replace("50ms", "0s"));
    let share = Smbd::serving(&w.path("a"));
    let relay = w.start();
    w.until_file("a/.passerelle");
    (w, share, relay)
}

#[test]
fn a_long_copy_with_pauses_is_taken_when_it_is_closed() {
    let (w, share, _relay) = sharing();
    let mut client = share.client("put /dev/stdin slow.csv").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    let mut written = String::new();
    for i in 0..6 {
        let line = format!("{i};{}\n", "x".repeat(100_000));
        input.write_all(line.as_bytes()).unwrap();
        written.push_str(&line);
        std::thread::sleep(Duration::from_millis(300));
        assert!(w.states().is_empty() && w.names("b").is_empty(), "taken early, after {i} lines");
    }
    assert!(w.path("a/slow.csv").exists());
    drop(input);
    assert!(client.wait().unwrap().success());
    w.until_file("b/slow.csv");
    assert!(w.read("b/slow.csv") == written);
}

#[test]
fn large_files_of_preset_size_and_many_small_ones_come_whole_and_all() {
    let (w, share, _relay) = sharing();
    let mut written = BTreeMap::new();
    let mut commands = String::new();
    for i in 0..40usize {
        let name = format!("{i}.bin");
        let bytes: Vec<u8> = (0..if i % 10 == 0 { 8 << 20 } else { 3000 + i }).map(|n| (n * (i + 3) % 251) as u8).collect();
        w.write(&format!("windows/{name}"), &bytes);
        commands.push_str(&format!("put {} {name};", w.path("windows").join(&name).display()));
        written.insert(name, bytes);
    }
    assert!(share.client(&commands).status().unwrap().success());
    w.until("all are delivered", || w.states().iter().filter(|s| *s == "delivered").count() == written.len());
    assert!(w.files("b") == written);
    w.assert_nothing_lost(&written);
}

#[test]
fn a_file_that_a_program_keeps_open_waits_and_the_others_go_on() {
    let (w, share, _relay) = sharing();
    let mut holder = share.client("put /dev/stdin held.csv").stdin(Stdio::piped()).spawn().unwrap();
    w.until_file("a/held.csv");
    w.write("windows/other.csv", "1");
    assert!(share.client(&format!("put {} other.csv", w.path("windows/other.csv").display())).status().unwrap().success());
    w.until_file("b/other.csv");
    assert!(w.path("a/held.csv").exists() && !w.path("b/held.csv").exists());
    holder.stdin.take().unwrap().write_all(b"2").unwrap();
    assert!(holder.wait().unwrap().success());
    w.until_file("b/held.csv");
    assert_eq!(w.read("b/held.csv"), "2");
}
