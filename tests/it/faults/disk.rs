//! D: the relay's own disks.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use crate::torture::power::{Disk, left_out};
use crate::world::{Output, World};

/// One run with these points.
fn run(w: &World, points: &str) -> Output {
    w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", points)])
}

/// What A wrote: `x.csv` alone.
fn one_file(w: &World) -> BTreeMap<String, Vec<u8>> {
    w.write("a/x.csv", "a;b\n1;2\n");
    BTreeMap::from([("x.csv".into(), b"a;b\n1;2\n".to_vec())])
}

#[test]
fn d5_a_claim_whose_folder_cant_be_synced_waits_until_it_can() {
    let w = World::local("");
    let written = one_file(&w);
    for _ in 0..2 {
        run(&w, "fail=sync-folder@a/.passerelle:EIO").code(3).says("claim: can't sync the folder").says("wait there until it can be synced");
        assert!(w.names("b").is_empty() && w.states() == ["claimed"]);
        w.assert_nothing_lost(&written);
    }
    w.once().ok();
    assert_eq!((w.names("b"), w.states()), (vec!["x.csv".to_owned()], vec!["delivered".to_owned()]));
    w.assert_nothing_lost(&written);
}

#[test]
fn d5_an_original_whose_sync_fails_is_written_anew_before_it_is_called_safe() {
    let w = World::local("");
    let written = one_file(&w);
    // Its copy can't be synced either: it waits, and is not called safe by a second sync that says nothing.
    run(&w, "fail=sync-file@.passerelle/:EIO").code(3).says("x.csv").says("seal").says("can't sync");
    assert_eq!(w.states(), ["waiting"]);
    w.assert_nothing_lost(&written);
    w.once().ok().says("it is written anew");
    assert_eq!(w.states(), ["delivered"]);
    w.assert_nothing_lost(&written);
}

#[test]
fn a15_a_claimed_file_that_lost_its_end_is_never_called_whole() {
    let w = World::local("");
    one_file(&w);
    run(&w, "kill=before:sealed");
    std::fs::write(w.path("a/.passerelle/1_x.csv"), "").unwrap();
    w.once().code(1);
    let note: serde_json::Value = serde_json::from_str(&w.read("relay/errors/r/x.csv.error.json")).unwrap();
    assert!(note["error"].as_str().unwrap().contains("seal: the file had 8 bytes when it was claimed, and has 0 now"), "{note}");
    assert!(note["hint"].as_str().unwrap().contains("export it again"), "{note}");
    assert!(w.names("b").is_empty());
    w.write("relay/errors/r/x.csv", "a;b\n");
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!(w.files("b"), BTreeMap::from([("x.csv".into(), b"a;b\n".to_vec())]));
}

#[test]
fn a15_files_from_before_a_power_cut_are_told_once_with_their_sizes() {
    let w = World::local("");
    w.once().ok();
    // As a machine that went down while the relay ran has left it.
    let journal = rusqlite::Connection::open(w.path("relay/journal.db")).unwrap();
    journal.execute_batch("UPDATE status SET value = 'another start' WHERE key = 'boot'; INSERT OR REPLACE INTO status VALUES('live', '{}')").unwrap();
    drop(journal);
    w.write("a/x.csv", "1");
    let file = std::fs::OpenOptions::new().append(true).open(w.path("a/x.csv")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000)).unwrap();
    drop(file);
    w.once().ok().says("files from before may be short").says("x.csv (1 bytes)");
    w.write("a/y.csv", "1");
    let out = w.once().ok();
    assert!(!out.stderr.contains("may be short"), "{}", out.stderr);
}

/// Fills a disk but for so many bytes.
pub(super) fn fill(disk: &Disk, left: u64) {
    let free = rustix::fs::statvfs(&disk.mount).map(|s| s.f_bavail * s.f_frsize).unwrap();
    let file = std::fs::File::create(disk.mount.join("filler")).unwrap();
    let filled = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free - left);
    assert!(filled.is_ok() || left == 0, "{filled:?}");
    if left == 0 {
        // To the last block.
        std::io::Seek::seek(&mut (&file), std::io::SeekFrom::End(0)).unwrap();
        while std::io::Write::write_all(&mut (&file), &[1; 1024]).is_ok() {}
    }
}

#[test]
fn d1_below_the_reserve_nothing_is_taken_and_the_route_says_how_much_is_missing() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let w = World::local("");
    std::os::unix::fs::symlink(&disk.mount, w.path("relay")).unwrap();
    let written = one_file(&w);
    fill(&disk, 1024 * 1024);
    let _relay = w.start();
    w.until("blocked", || w.path("relay/journal.db").exists() && w.json(&["status", "--json"])["routes"][0]["state"] == "blocked");
    let reason = w.json(&["status", "--json"])["routes"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("kept in reserve") && reason.contains("MiB are missing") && reason.contains(disk.mount.to_str().unwrap()), "{reason}");
    assert!(w.states().is_empty() && w.names("b").is_empty());
    w.assert_nothing_lost(&written);
    std::fs::remove_file(disk.mount.join("filler")).unwrap();
    w.until("delivered", || w.states() == ["delivered"]);
    w.assert_nothing_lost(&written);
}

#[test]
fn d1_a_disk_that_others_fill_to_its_end_stops_nothing_for_good() {
    if left_out() {
        return;
    }
    // Nothing of it is kept for root.
    let disk = Disk::of("64M", "-m 0");
    let w = World::local("");
    std::os::unix::fs::symlink(&disk.mount, w.path("relay")).unwrap();
    let mut relay = w.start();
    // Not only its lock is held: its journal is whole, and it has said how it is.
    let says =
        || rusqlite::Connection::open(w.path("relay/journal.db"))?.query_row("SELECT count(*) FROM status WHERE key = 'live'", [], |r| r.get::<_, i64>(0));
    w.until("it runs", || w.path("relay/journal.db").exists() && says().is_ok_and(|n| n == 1));
    // What the journal has of room for its next commits goes too.
    let shrink = || {
        let journal = rusqlite::Connection::open(w.path("relay/journal.db")).unwrap();
        journal.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        fill(&disk, 0);
    };
    shrink();
    let written = one_file(&w);
    w.until("it is told", || w.read("relay.log").contains("no room left for the journal"));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(w.names("b").is_empty());
    let route = w.json(&["status", "--json"])["routes"][0].clone();
    assert!(route["state"] == "blocked" && route["reason"].as_str().is_some_and(|r| r.contains("kept in reserve")), "{route}");
    w.assert_nothing_lost(&written);
    std::fs::remove_file(disk.mount.join("filler")).unwrap();
    w.until("delivered", || w.states() == ["delivered"]);
    w.assert_nothing_lost(&written);
    // One that is told to stop meanwhile does.
    shrink();
    w.write("a/y.csv", "2");
    std::thread::sleep(std::time::Duration::from_secs(3));
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(3), "what waits is told");
}

#[test]
fn d2_a_disk_without_inodes_is_told_as_such() {
    if left_out() {
        return;
    }
    let disk = Disk::of("8M", "-N 128");
    let w = World::local("");
    std::os::unix::fs::symlink(&disk.mount, w.path("relay")).unwrap();
    w.once().ok();
    let written = one_file(&w);
    let mut n = 0;
    while std::fs::File::create(disk.mount.join(format!("filler{n}"))).is_ok() {
        n += 1;
    }
    // What runs needs a few of its own.
    for i in 0..4 {
        std::fs::remove_file(disk.mount.join(format!("filler{i}"))).unwrap();
    }
    w.once().code(3).says("inodes free and").says("are missing");
    w.assert_nothing_lost(&written);
    for i in 4..n {
        std::fs::remove_file(disk.mount.join(format!("filler{i}"))).unwrap();
    }
    w.once().ok();
    w.assert_nothing_lost(&written);
}

#[test]
fn d3_a_quota_is_named() {
    let w = World::local("");
    let written = one_file(&w);
    run(&w, "fail=write@b/.x:EDQUOT").code(3).says("x.csv").says("upload").says("quota");
    w.assert_nothing_lost(&written);
    w.once().ok();
    assert_eq!(w.files("b"), written);
}

#[test]
fn d4_a_source_whose_disk_gives_errors_keeps_its_files_and_the_others_go_on() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let bad = disk.mount.join("bad");
    std::fs::create_dir(&bad).unwrap();
    let w = World::new(&format!("{}{}", World::route("r", bad.to_str().unwrap(), "b"), World::route("s", "a", "b")));
    std::fs::write(bad.join("lost.csv"), "1").unwrap();
    disk.sync();
    disk.shut_down();
    w.write("a/x.csv", "2");
    w.once().code(3).says("can't").says(bad.to_str().unwrap());
    assert_eq!(w.names("b"), ["x.csv"]);
    disk.cut();
    w.once().ok();
    assert_eq!(w.names("b"), ["lost.csv", "x.csv"]);
}

#[test]
fn d5_a_journal_that_cant_be_written_stops_the_relay_and_nothing_is_lost() {
    let w = World::local("");
    let written = one_file(&w);
    run(&w, "fail=publishing@journal:EIO,fail=sealed+transformed+uploaded+publishing@journal:EIO")
        .code(4)
        .says("the journal can't be written")
        .says("start again");
    assert!(!w.path("b/x.csv").exists());
    w.assert_nothing_lost(&written);
    w.once().ok();
    assert_eq!(w.names("b"), ["x.csv"]);
}

#[test]
fn d6_a_folder_that_becomes_read_only_is_waited_for() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let w = World::new(&World::route("r", "a", disk.mount.to_str().unwrap()));
    let written = one_file(&w);
    let remount = |how: &str| assert!(std::process::Command::new("mount").args(["-o", how]).arg(&disk.mount).status().unwrap().success());
    remount("remount,ro");
    w.once().code(3).says("read-only").says("x.csv");
    w.assert_nothing_lost(&written);
    remount("remount,rw");
    w.once().ok();
    assert!(disk.mount.join("x.csv").exists());
    w.assert_nothing_lost(&written);
}

#[test]
fn d7_a_file_that_may_not_be_moved_is_told_with_its_path_and_the_right_that_is_missing() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let a = disk.mount.join("a");
    std::fs::create_dir(&a).unwrap();
    let w = World::new(&World::route("r", a.to_str().unwrap(), "b"));
    std::fs::write(a.join("x.csv"), "1").unwrap();
    let chattr = |flag: &str| assert!(std::process::Command::new("chattr").arg(flag).arg(a.join("x.csv")).status().unwrap().success());
    chattr("+i");
    let _relay = w.start();
    let state = || w.json(&["status", "--json"])["routes"][0].clone();
    w.until("blocked", || w.path("relay/journal.db").exists() && state()["state"] == "blocked");
    let reason = state()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("claim") && reason.contains("x.csv") && reason.contains("not permitted"), "{reason}");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(w.read("relay.log").matches("not permitted").count() < 4, "told again and again: {}", w.read("relay.log"));
    chattr("-i");
    w.until_file("b/x.csv");
}

#[test]
fn d8_folders_on_another_disk_are_found_at_the_start_and_files_are_copied_there() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let w = World::local("");
    let written = one_file(&w);
    std::fs::create_dir(w.path("relay")).unwrap();
    std::os::unix::fs::symlink(&disk.mount, w.path("relay/archive")).unwrap();
    w.once().ok().says("another file system");
    assert_eq!(w.files("b"), written);
    w.assert_nothing_lost(&written);
}

#[test]
fn d8_a_claim_that_would_leave_the_file_system_is_refused_before_any_file() {
    if left_out() {
        return;
    }
    let disk = Disk::new();
    let w = World::local("");
    let written = one_file(&w);
    let claimed = w.path("a/.passerelle");
    std::fs::create_dir(&claimed).unwrap();
    let mount = |what: &[&str]| assert!(std::process::Command::new("mount").args(what).arg(&claimed).status().unwrap().success());
    mount(&["--bind", disk.mount.to_str().unwrap()]);
    let out = w.once();
    assert!(std::process::Command::new("umount").arg(&claimed).status().unwrap().success());
    out.code(3).says("claim").says("one file system");
    w.assert_nothing_lost(&written);
    assert!(w.names("b").is_empty());
    w.once().ok();
    assert_eq!(w.files("b"), written);
}

#[test]
fn d9_the_archive_is_never_overwritten() {
    let w = World::local("");
    let written = one_file(&w);
    let today = jiff::Zoned::now().strftime("%Y/%m/%d").to_string();
    w.write(&format!("relay/archive/r/{today}/1_x.csv"), "somebody else's");
    // Its number goes on above what lies there.
    w.once().ok();
    assert_eq!(w.read(&format!("relay/archive/r/{today}/1_x.csv")), "somebody else's");
    assert_eq!(w.archived("r"), ["1_x.csv", "2_x.csv"]);
    assert_eq!(w.files("b"), written);
}

#[test]
fn d10_few_open_files_slow_it_down_and_lose_nothing() {
    let w = World::local("");
    let mut written = BTreeMap::new();
    for i in 0..60 {
        w.write(&format!("a/{i}.csv"), i.to_string());
        written.insert(format!("{i}.csv"), i.to_string().into_bytes());
    }
    let binary = w.command().get_program().to_owned();
    for _ in 0..5 {
        let out = std::process::Command::new("prlimit").args(["--nofile=24"]).arg(&binary).args(["run", "--once"]).current_dir(w.dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!text.contains("panicked"), "{text}");
        w.assert_nothing_lost(&written);
        if out.status.success() {
            break;
        }
        assert!(text.contains("ulimit -n") || text.contains("open file"), "{text}");
    }
    w.once().ok();
    assert_eq!(w.files("b"), written);
}

#[test]
fn d11_a_damaged_journal_is_moved_aside_and_rebuilt() {
    let w = World::local("");
    one_file(&w);
    w.once().ok();
    std::fs::remove_file(w.path("b/x.csv")).unwrap();
    w.write("a/y.csv", "2");
    // Its pages are overwritten while a file is on its way.
    run(&w, "kill=before:published");
    for part in ["journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(w.path("relay").join(part));
    }
    let mut bytes = std::fs::read(w.path("relay/journal.db")).unwrap();
    bytes.iter_mut().skip(100).for_each(|b| *b = 0xAA);
    std::fs::write(w.path("relay/journal.db"), bytes).unwrap();
    w.once().ok().says("the journal was damaged").says("is rebuilt from the folders");
    assert_eq!(w.archived("r"), ["1_x.csv", "2_y.csv"]);
    assert_eq!(w.names("b"), ["y.csv"]);
    assert!(w.names("relay").iter().any(|n| n.starts_with("journal.db.")), "{:?}", w.names("relay"));
}

#[test]
fn d11_a_large_file_that_was_renamed_when_the_journal_was_lost_is_not_published_twice() {
    let w = World::local("");
    let written = one_file(&w);
    w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "plant=large,kill=after:publishing")]);
    // Under both names, as a server leaves it that was cut within a rename.
    let temporary = std::fs::read_dir(w.path("b")).unwrap().map(|e| e.unwrap().path()).next().unwrap();
    std::fs::hard_link(&temporary, w.path("b/x.csv")).unwrap();
    for part in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(w.path(&format!("relay/{part}")));
    }
    w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "plant=large")]).ok();
    assert_eq!(w.names("b"), ["x.csv"]);
    let job = w.history().pop().unwrap();
    assert!(job["state"] == "delivered" && job["hash"].as_str().is_some_and(|h| h.len() > 60), "{job}");
    w.assert_nothing_lost(&written);
}

#[test]
fn d11_a_journal_that_a_backup_holds_is_waited_for_or_told() {
    let w = World::local("");
    let written = one_file(&w);
    w.once().ok();
    std::fs::remove_file(w.path("b/x.csv")).unwrap();
    w.write("a/y.csv", "2");
    let backup = rusqlite::Connection::open(w.path("relay/journal.db")).unwrap();
    backup.execute_batch("BEGIN EXCLUSIVE").unwrap();
    w.once().code(4).says("journal").says("locked");
    assert!(w.names("b").is_empty() && w.names("a") == ["y.csv"]);
    backup.execute_batch("ROLLBACK").unwrap();
    w.once().ok();
    assert_eq!((w.names("b"), written.len()), (vec!["y.csv".to_owned()], 1));
}

#[test]
fn d11_without_journal_and_intents_what_may_have_been_sent_waits_for_an_operator() {
    let w = World::local("");
    let written = one_file(&w);
    run(&w, "kill=before:published");
    for part in ["journal.db", "journal.db-wal", "journal.db-shm", "intents"] {
        let _ = std::fs::remove_file(w.path("relay").join(part));
    }
    std::fs::remove_file(w.path("b/x.csv")).unwrap();
    w.once().code(1).says("B may have it already").says("confirm-delivered 1");
    assert_eq!((w.states(), w.names("b")), (vec!["unconfirmed".to_owned()], vec![]));
    w.assert_nothing_lost(&written);
    w.run(&["confirm-delivered", "1"]).ok();
    w.once().ok();
    assert_eq!((w.states(), w.archived("r")), (vec!["delivered".to_owned()], vec!["1_x.csv".to_owned()]));
}

#[test]
fn f10_while_b_is_away_only_a_window_of_the_backlog_is_claimed_and_then_all_come_in_order() {
    let w = World::new(&World::route("r", "a", "away").replace("50ms", "0s").replace("settle", "sort = \"name\"\nsettle"));
    for i in 0..1000 {
        w.write(&format!("a/{i:04}.csv"), i.to_string());
    }
    let _relay = w.start();
    let status = || w.json(&["status", "--json"])["routes"][0].clone();
    w.until("it waits", || w.path("relay/journal.db").exists() && status()["waiting"] == 1000);
    w.until("it claims", || !w.names("a/.passerelle").is_empty());
    std::thread::sleep(std::time::Duration::from_millis(500));
    let claimed = w.names("a/.passerelle").len();
    assert!((1..=256).contains(&claimed), "{claimed} are claimed");
    std::fs::create_dir(w.path("away")).unwrap();
    w.until("all have come", || w.names("away").iter().filter(|n| !n.starts_with('.')).count() == 1000);
    w.until("all are archived", || w.names("a").is_empty());
    // A file's name appears when it is renamed, which its inode remembers.
    let appeared = |name: String| std::fs::metadata(w.path("away").join(name)).map(|m| (m.ctime(), m.ctime_nsec())).unwrap();
    let times: Vec<_> = w.names("away").into_iter().map(appeared).collect();
    assert!(times.is_sorted(), "{times:?}");
}
