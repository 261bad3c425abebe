//! E: what stops the relay or a server, beside what `torture` proves at every point.

use std::time::{Duration, Instant};

use crate::servers::Sshd;
use crate::torture::power::{Disk, left_out};
use crate::world::World;

#[test]
fn e5_a_polite_stop_in_the_midst_of_an_upload_takes_less_than_ten_seconds_and_loses_nothing() {
    let s = Sshd::start();
    let w = World::new(&format!(
        "{}limit_rate = \"100KiB\"\n[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\nendpoint = \"b\"\npath = \"\"\n",
        s.endpoint("b")
    ));
    let bytes = vec![7u8; 3 * 1024 * 1024];
    w.write("a/x.bin", &bytes);
    let mut relay = w.start();
    w.until("it uploads", || s.files().keys().any(|n| n.ends_with(".part")));
    let begin = Instant::now();
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(!s.files().contains_key("x.bin"));
    w.config(&std::fs::read_to_string(w.path("passerelle.toml")).unwrap().replace("limit_rate = \"100KiB\"\n", ""));
    w.once().ok();
    assert!(s.files()["x.bin"] == bytes && s.files().len() == 1);
}

/// B on a disk of its own, behind an SFTP server.
fn at_server(arguments: &str, disk: &Disk) -> (Sshd, World) {
    let s = Sshd::with("", arguments);
    let b = disk.mount.join("in");
    std::fs::create_dir(&b).unwrap();
    let endpoint = s.endpoint_at("b", &b);
    let w = World::new(&format!(
        "{endpoint}[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\nendpoint = \"b\"\npath = \"\"\n[routes.r.retry]\ninitial_delay = \"50ms\"\nmax_delay = \"200ms\"\n"
    ));
    disk.sync();
    (s, w)
}

#[test]
fn e6_a_server_that_syncs_keeps_what_it_was_given_through_its_power_cut() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let (_s, w) = at_server("", &disk);
    w.write("a/x.csv", "1");
    w.once().ok();
    disk.cut();
    assert_eq!(std::fs::read(disk.mount.join("in/x.csv")).unwrap(), b"1");
}

#[test]
fn e6_a_server_without_sync_that_lost_the_rename_is_given_it_again_at_the_late_check() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let (mut s, w) = at_server("-P posix-rename,fsync", &disk);
    w.write("a/x.csv", "1");
    let _relay = w.start();
    w.until("delivered", || w.path("relay/journal.db").exists() && w.states() == ["delivered"]);
    // The server goes down with what it had not written: the rename is undone, its data was written.
    s.power_off();
    let part = temporary(&w);
    std::fs::rename(disk.mount.join("in/x.csv"), disk.mount.join("in").join(part)).unwrap();
    // The next file finds out that the server is away, and that it is back.
    w.write("a/y.csv", "2");
    w.until("it is away", || w.json(&["status", "--json"])["endpoints"][0]["state"] == "down");
    s.restart();
    w.until("both are there", || disk.mount.join("in/x.csv").exists() && disk.mount.join("in/y.csv").exists());
    w.until("it is told", || w.read("relay.log").contains("had lost the published file x.csv: it was renamed again"));
    assert_eq!(std::fs::read(disk.mount.join("in/x.csv")).unwrap(), b"1");
}

/// The temporary name of the only delivery, from the journal.
fn temporary(w: &World) -> String {
    let journal = rusqlite::Connection::open(w.path("relay/journal.db")).unwrap();
    let event: String = journal.query_row("SELECT event FROM events WHERE event LIKE '%\"temp\":%' LIMIT 1", [], |r| r.get(0)).unwrap();
    let at = event.find(".x.csv.").unwrap_or_else(|| panic!("{event}"));
    event[at..].split('"').next().unwrap().to_owned()
}

#[test]
fn e7_a_journal_of_a_later_version_is_refused_untouched() {
    let w = World::local("");
    w.once().ok();
    rusqlite::Connection::open(w.path("relay/journal.db")).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    w.write("a/x.csv", "1");
    w.once().code(4).says("later version");
    assert_eq!(w.names("a"), ["x.csv"]);
    let version: i64 = rusqlite::Connection::open(w.path("relay/journal.db")).unwrap().query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn e8_a_fault_of_ours_fails_one_file_and_the_others_go_on() {
    let w = World::local("");
    w.write("a/panic.csv", "1");
    w.write("a/x.csv", "2");
    let out = w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "plant=panic")]).code(1);
    assert!(out.stderr.contains("fault of passerelle"), "{}", out.stderr);
    assert_eq!((w.names("b"), w.names("relay/errors/r")), (vec!["x.csv".to_owned()], vec!["panic.csv".to_owned(), "panic.csv.error.json".to_owned()]));
    w.run(&["retry", "1"]);
    w.once().ok();
    assert_eq!(w.names("b"), ["panic.csv", "x.csv"]);
}
