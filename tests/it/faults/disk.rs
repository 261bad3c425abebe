//! D: the relay's own disks.

use std::collections::BTreeMap;

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
