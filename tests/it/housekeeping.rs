//! What is old goes, and nothing else: the archive, the history, and what is needed stays.

use std::time::Duration;

use crate::world::World;

/// Enough for `keep = "1s"` to be over.
fn wait() {
    std::thread::sleep(Duration::from_millis(1200));
}

#[test]
fn a_compressed_original_is_whole_and_is_replayed_as_it_was() {
    let w = World::local("[archive]\ncompress = \"zstd\"\n");
    let bytes = "é;1,50\n".repeat(20_000).into_bytes();
    w.write("a/x.csv", &bytes);
    w.once().ok();
    let (name, stored) = w.files("relay/archive/r").pop_first().unwrap();
    assert!(name.ends_with("/1_x.csv.zst") && stored.len() < bytes.len() / 10, "{name}: {} bytes", stored.len());
    assert_eq!(zstd::decode_all(&stored[..]).unwrap(), bytes);
    let shown = w.json(&["show", "1", "--json"]);
    assert_eq!((shown["size"].as_u64(), shown["file"].as_str()), (Some(bytes.len() as u64), Some("x.csv")));
    std::fs::remove_file(w.path("b/x.csv")).unwrap();
    w.run(&["replay", "1"]).ok();
    w.once().ok();
    assert_eq!(w.files("b")["x.csv"], bytes);
    assert_eq!(w.states(), ["delivered", "delivered"]);
}

#[test]
fn a_name_as_long_as_names_can_be_is_archived_compressed() {
    let w = World::local("[archive]\ncompress = \"zstd\"\n");
    for length in [250, 251, 255] {
        let name = format!("{}.csv", "x".repeat(length - 4));
        w.write(&format!("a/{name}"), "1");
        w.once().ok();
        std::fs::remove_file(w.path("b").join(&name)).unwrap();
    }
    assert_eq!(w.states(), ["delivered"; 3]);
    assert!(w.archived("r").iter().all(|name| name.ends_with("x.csv.zst")), "{:?}", w.archived("r"));
    w.run(&["replay", "3"]).ok();
    w.once().ok();
    assert_eq!(w.files("b").into_values().collect::<Vec<_>>(), [b"1"]);
}

#[test]
fn what_was_archived_longer_ago_than_keep_goes_and_what_is_not_ours_stays() {
    let w = World::local("[archive]\nkeep = \"1s\"\n[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n");
    w.write("a/x.csv", "x\n1\n");
    w.write("a/bad.csv", "z\n1\n");
    w.once().code(1);
    let folder = w.names("relay/archive/r")[0].rsplit_once('/').unwrap().0.to_owned();
    w.write(&format!("relay/archive/r/{folder}/notes.txt"), "an operator's own");
    w.write("relay/archive/r/2020/01/01/7_unknown.csv", "old");
    w.once().ok();
    assert_eq!(w.names("relay/archive/r").len(), 2, "the day that is long over goes at once: {:?}", w.names("relay/archive/r"));
    wait();
    w.once().ok().says("archive: 1 files are older than archive.keep");
    assert_eq!(w.names("relay/archive/r"), [format!("{folder}/notes.txt")]);
    assert!(!w.path("relay/archive/r/2020").exists());
    assert_eq!(w.names("relay/errors/r"), ["bad.csv", "bad.csv.error.json"]);
    let job = w.history().into_iter().find(|job| job["file"] == "x.csv").unwrap()["job"].to_string();
    w.run(&["replay", &job]).code(2).says("no longer in the archive");
}

#[test]
fn a_replay_that_waits_keeps_its_original_in_the_archive() {
    let w = World::local("[archive]\nkeep = \"1s\"\n");
    w.write("a/x.csv", "1");
    w.once().ok();
    // B has not taken it: the replay waits, under its own copy or not.
    w.run(&["replay", "1"]).ok();
    wait();
    w.once().code(3);
    assert_eq!(w.archived("r"), ["1_x.csv"]);
    std::fs::remove_file(w.path("b/x.csv")).unwrap();
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "1");
}

#[test]
fn old_jobs_are_forgotten_but_numbers_go_on_and_kept_files_are_not_taken_again() {
    let w = World::new(
        "[history]\nkeep = \"1s\"\n[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\npath = \"b\"\n[routes.k.source]\npath = \"keep\"\ncreate = true\nsettle = \"0s\"\non_success = \"keep\"\n[routes.k.destination]\npath = \"b\"\n",
    );
    w.write("a/x.csv", "1");
    w.write("keep/k.csv", "2");
    w.once().ok();
    wait();
    w.once().ok().says("journal: 1 jobs are older than history.keep");
    assert_eq!(w.history().iter().map(|j| j["route"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), ["k"]);
    w.write("a/y.csv", "3");
    w.once().ok();
    assert_eq!(w.history().last().unwrap()["job"], 3);
    std::fs::remove_file(w.path("keep/k.csv")).unwrap();
    wait();
    w.once().ok();
    assert!(w.history().is_empty(), "{:?}", w.history());
    assert_eq!(w.names("b"), ["k.csv", "x.csv", "y.csv"]);
}
