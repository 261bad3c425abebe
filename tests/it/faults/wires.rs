//! F and G: connections that stall, servers whose disk is full, logins and names that fail, for each transport.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::disk::fill;
use crate::servers::{Ca, Nginx, Sshd, Vsftpd};
use crate::torture::power::{Disk, left_out};
use crate::world::World;

/// A way to a server on which nothing moves any more, in either direction, once so many bytes went there; nobody closes it.
fn stalling(server: u16, after: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let went = Arc::new(AtomicU64::new(0));
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else { return };
            for (mut from, mut to, there) in [(client.try_clone().unwrap(), server.try_clone().unwrap(), true), (server, client, false)] {
                let went = went.clone();
                std::thread::spawn(move || {
                    let mut buf = vec![0; 16 * 1024];
                    while let Ok(n @ 1..) = from.read(&mut buf) {
                        let total = if there { went.fetch_add(n as u64, Ordering::SeqCst) + n as u64 } else { went.load(Ordering::SeqCst) };
                        if total > after {
                            std::thread::sleep(Duration::from_secs(3600));
                        }
                        if to.write_all(&buf[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    port
}

/// The file waits within the time limits, wherever the connection stalls, and follows as soon as there is a way.
fn waits_and_follows(name: &str, endpoint: &str, port: u16, stalls: &[u64], taken: &dyn Fn() -> BTreeMap<String, Vec<u8>>) {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (n, after) in stalls.iter().enumerate() {
        let limits = "timeout = \"1s\"\nconnect_timeout = \"1s\"\n";
        let direct = format!("{endpoint}{limits}{}endpoint = \"b\"\n", World::route("r", "a", "").replace("path = \"\"\n", ""));
        let w = World::new(&direct.replace(&format!(":{port}"), &format!(":{}", stalling(port, *after))));
        let file = format!("{name}{n}");
        w.write(&format!("a/{file}"), &bytes);
        let begun = Instant::now();
        let out = w.once();
        assert!(out.code == 3 && begun.elapsed() < Duration::from_secs(40), "{name} after {after}: {} {:?} {}", out.code, begun.elapsed(), out.stderr);
        assert!(out.stderr.contains("waiting: "), "{name} after {after}: {}", out.stderr);
        w.config(&direct);
        w.once().ok();
        assert!(taken()[&file] == bytes, "{name} after {after}");
    }
}

#[test]
fn f2_a_connection_that_stalls_is_given_up_within_its_limits_and_the_file_follows() {
    let sshd = Sshd::start();
    waits_and_follows("sftp", &sshd.endpoint("b"), sshd.port, &[0, 1500, 4000, 1_000_000], &|| sshd.files());
    let vsftpd = Vsftpd::start("");
    waits_and_follows("ftp", &vsftpd.endpoint("b", "ftp"), vsftpd.port, &[0, 20, 60, 110], &|| vsftpd.files());
    let ca = Ca::new();
    let tls = Vsftpd::tls(&ca, "");
    waits_and_follows("ftps", &format!("{}{}", tls.endpoint("b", "ftps"), ca.ca_file()), tls.port, &[0, 200, 700], &|| tls.files());
    let nginx = Nginx::start(None);
    for (name, publish) in [("put", "direct"), ("webdav", "move")] {
        let endpoint = format!("[endpoints.b]\nurl = \"http://127.0.0.1:{}/dav/\"\npublish = \"{publish}\"\n", nginx.port);
        waits_and_follows(name, &endpoint, nginx.port, &[0, 500, 1_000_000], &|| nginx.files("dav"));
    }
}

/// A server's folder on a disk that has no room: the file waits and says so, and follows when there is room.
fn waits_for_room(name: &str, endpoint: &str, disk: &Disk) {
    let w = World::new(&format!("{endpoint}{}endpoint = \"b\"\n", World::route("r", "a", "").replace("path = \"\"\n", "")));
    let bytes = vec![7; 3_000_000];
    w.write("a/x", &bytes);
    fill(disk, 1_000_000);
    let out = w.once().code(3);
    assert!(out.stderr.contains("full") || out.stderr.contains("quota") || out.stderr.contains("507") || out.stderr.contains("500"), "{name}: {}", out.stderr);
    assert!(!disk.mount.join("x").exists(), "{name}: no half file under the final name");
    std::fs::remove_file(disk.mount.join("filler")).unwrap();
    w.once().ok();
    assert!(std::fs::read(disk.mount.join("x")).unwrap() == bytes, "{name}");
    std::fs::remove_file(disk.mount.join("x")).unwrap();
}

#[test]
fn g4_a_server_whose_disk_is_full_makes_the_file_wait_until_there_is_room() {
    if left_out() {
        return;
    }
    // Without blocks that root alone may use.
    let disk = Disk::of("64M", "-m 0");
    std::fs::set_permissions(&disk.mount, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let sshd = Sshd::start();
    waits_for_room("sftp", &sshd.endpoint_at("b", &disk.mount), &disk);
    let nginx = Nginx::start(None);
    let dav = nginx.dir.path().join("www/dav");
    std::fs::remove_dir(&dav).unwrap();
    std::os::unix::fs::symlink(&disk.mount, &dav).unwrap();
    waits_for_room("webdav", &format!("[endpoints.b]\nurl = \"http://127.0.0.1:{}/dav/\"\npublish = \"move\"\n", nginx.port), &disk);
    let vsftpd = Vsftpd::start("");
    let _bound = Bound::new(&disk.mount, &vsftpd.dir.path().join("root/in"));
    waits_for_room("ftp", &vsftpd.endpoint("b", "ftp"), &disk);
}

/// A folder that is seen at another place too.
struct Bound(std::path::PathBuf);

impl Bound {
    fn new(from: &Path, to: &Path) -> Self {
        let done = std::process::Command::new("mount").arg("--bind").args([from, to]).status().unwrap();
        assert!(done.success());
        Self(to.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn g10_a_wrong_password_is_tried_once_and_not_again_until_somebody_asks() {
    let ca = Ca::new();
    let server = crate::servers::others::ProFtpd::tls(&ca, "");
    let right = format!("{}{}", server.endpoint("b", "ftps"), ca.ca_file());
    let route = World::route("r", "a", "").replace("path = \"\"\n", "");
    let w =
        World::new(&format!("{}{route}endpoint = \"b\"\n[routes.r.retry]\ninitial_delay = \"50ms\"\nmax_delay = \"50ms\"\n", right.replace("secret", "wrong")));
    for i in 0..5 {
        w.write(&format!("a/{i}"), "1");
    }
    let _relay = w.start();
    w.until("waiting", || w.states().contains(&"waiting".to_owned()));
    std::thread::sleep(Duration::from_secs(2));
    let log = std::fs::read_to_string(server.dir.path().join("commands.log")).unwrap();
    let refused = log.lines().filter(|l| l.contains("PASS") && l.contains(" 530 ")).count();
    // The check at the start is one, the delivery another, however many connections it may have.
    assert!((1..=2).contains(&refused), "{refused} logins:\n{log}");
}
