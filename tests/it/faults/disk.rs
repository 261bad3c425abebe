//! D: the relay's own disks.

use std::collections::BTreeMap;

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

/// Fills a disk but for so many bytes.
fn fill(disk: &Disk, left: u64) {
    let free = rustix::fs::statvfs(&disk.mount).map(|s| s.f_bavail * s.f_frsize).unwrap();
    let file = std::fs::File::create(disk.mount.join("filler")).unwrap();
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, free - left).unwrap();
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
