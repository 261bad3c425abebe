//! The connection is cut before a request arrives, or after it was carried out and before its answer is back, for each
//! request of a delivery; meanwhile B takes whatever it sees at once.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Bases, Round, Scene, Server, Tally};
use crate::servers::{Nginx, Sshd, Vsftpd};

/// Which piece of the conversation never arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Request(u64),
    Answer(u64),
}

/// A proxy that cuts one connection once.
struct Proxy {
    port: u16,
    fired: Arc<AtomicBool>,
}

impl Proxy {
    fn before(server: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, fired) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let mark = fired.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else { return };
                let (fired, seen) = (mark.clone(), seen.clone());
                let ways = [(client.try_clone().unwrap(), server.try_clone().unwrap(), true), (server, client, false)];
                for (from, to, asks) in ways {
                    let (fired, seen) = (fired.clone(), seen.clone());
                    std::thread::spawn(move || carry(from, to, asks, cut, &fired, &seen));
                }
            }
        });
        Self { port, fired }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, asks: bool, cut: Cut, fired: &AtomicBool, seen: &(AtomicU64, AtomicU64)) {
    let mut buf = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buf) {
        let count = if asks { &seen.0 } else { &seen.1 }.fetch_add(1, Ordering::SeqCst) + 1;
        let this = if asks { Cut::Request(count) } else { Cut::Answer(count) };
        if this == cut && !fired.swap(true, Ordering::SeqCst) {
            break;
        }
        if to.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// B: takes each final name as soon as it sees it.
struct Taker {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Vec<u8>>>,
}

impl Taker {
    fn start(folder: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut taken = Vec::new();
            while !ends.load(Ordering::SeqCst) {
                for path in fs::read_dir(&folder).unwrap().filter_map(|e| Some(e.ok()?.path())).filter(|p| !p.to_string_lossy().ends_with(".part")) {
                    // OpenSSH's plain rename is a link and an unlink: the file may be there under both names for a moment.
                    if let Ok(bytes) = fs::read(&path)
                        && fs::remove_file(&path).is_ok()
                    {
                        taken.push(bytes);
                    }
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            taken
        });
        Self { stop, thread }
    }
    fn end(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

impl Round {
    fn deliver_to_a_taker(&mut self, tally: &mut Tally, what: &str) {
        let taker = Taker::start(self.b.clone());
        let mut says = String::new();
        for _ in 0..4 {
            let out = self.run("");
            says.push_str(&out.stderr);
            if out.code != 3 {
                break;
            }
        }
        self.seen.extend(taker.end());
        tally.add(what, self.wrong(), &says);
    }
}

fn through_a_proxy(name: &'static str, server: u16, scene: &Scene) {
    let mut tally = Tally::default();
    for kind in [Cut::Request, Cut::Answer] {
        for n in 1.. {
            let cut = kind(n);
            let proxy = Proxy::before(server, cut);
            let mut round = scene.round(&Bases::one(&std::env::temp_dir()));
            let config = round.world.read("passerelle.toml").replace(&format!(":{server}"), &format!(":{}", proxy.port));
            round.world.config(&config);
            round.deliver_to_a_taker(&mut tally, &format!("{name} {cut:?}"));
            if !proxy.fired.load(Ordering::SeqCst) {
                break;
            }
        }
    }
    tally.end(&format!("{name}: cut before and after every answer, B takes at once"));
}

#[test]
fn ftp_cut_before_and_after_every_answer_delivers_once() {
    let server = Vsftpd::start("");
    let port = server.port;
    through_a_proxy("ftp", port, &Scene::at("ftp", Server::Ftp(server)));
}

#[test]
fn webdav_cut_before_and_after_every_answer_delivers_once() {
    let server = Nginx::start(None);
    let port = server.port;
    through_a_proxy("webdav", port, &Scene::at("webdav", Server::Dav(server)));
}

fn through_a_shim(name: &'static str, arguments: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (shim, choice) = (dir.path().join("shim.py"), dir.path().join("choice"));
    fs::write(&shim, include_str!("sftp_shim.py")).unwrap();
    let server = Sshd::with_subsystem(&format!("/usr/bin/env python3 {} {} /usr/lib/openssh/sftp-server {arguments}", shim.display(), choice.display()));
    let scene = Scene::at(name, Server::Sftp(server));
    let mut tally = Tally::default();
    for when in ["before", "after"] {
        for n in 1.. {
            fs::write(&choice, format!("{when} {n}")).unwrap();
            let mut round = scene.round(&Bases::one(&std::env::temp_dir()));
            round.deliver_to_a_taker(&mut tally, &format!("{name} cut {when} {n}"));
            if choice.exists() {
                break;
            }
        }
    }
    tally.end(&format!("{name}: cut before and after every answer, B takes at once"));
}

#[test]
fn sftp_cut_before_and_after_every_answer_delivers_once() {
    through_a_shim("sftp", "");
}

#[test]
fn sftp_without_extensions_cut_before_and_after_every_answer_delivers_once() {
    through_a_shim("sftp without extensions", "-P posix-rename,fsync");
}

/// A server for POST that counts what it was given, by key.
#[test]
fn a_post_cut_before_its_answer_is_never_sent_twice_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = bodies.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut text = Vec::new();
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = client.read(&mut buf) {
                text.extend_from_slice(&buf[..n]);
                if text.ends_with(b"x\n0\n") {
                    break;
                }
            }
            if !text.is_empty() {
                seen.lock().unwrap().push(String::from_utf8_lossy(&text).into_owned());
            }
            // The answer is lost.
        }
    });
    let w = crate::world::World::new(&format!(
        "[endpoints.b]\nurl = \"http://127.0.0.1:{port}/in\"\nmethod = \"POST\"\n{}",
        crate::world::World::route("r", "a", "x").replace("path = \"x\"", "endpoint = \"b\"\npath = \"\"")
    ));
    w.write("a/0.csv", "x\n0\n");
    w.once().code(1).says("confirm-delivered 1");
    assert_eq!(w.states(), ["unconfirmed"]);
    w.once().ok();
    assert_eq!(bodies.lock().unwrap().len(), 1, "it was sent twice by itself");
    w.run(&["retry", "1"]).ok();
    w.once().code(1);
    let bodies = bodies.lock().unwrap();
    let key = |text: &str| text.lines().find(|l| l.starts_with("Idempotency-Key")).unwrap().to_owned();
    assert_eq!((bodies.len(), key(&bodies[0]) == key(&bodies[1])), (2, true), "a retry carries the same key");
}
