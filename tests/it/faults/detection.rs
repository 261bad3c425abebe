//! A: what is written when, and by whom.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use crate::world::World;

fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a1_a2_a_file_that_is_written_slowly_is_taken_only_when_it_is_closed() {
    let w = World::local("");
    let _relay = w.start();
    w.until_file("a/.passerelle");
    let mut writer = fs::File::create(w.path("a/x.csv")).unwrap();
    for i in 0..10 {
        writer.write_all(format!("{i}\n").as_bytes()).unwrap();
        // Longer than `settle` each time.
        sleep(120);
        assert!(w.states().is_empty() && w.names("b").is_empty());
    }
    drop(writer);
    w.until_file("b/x.csv");
    assert_eq!(w.read("b/x.csv"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

#[test]
fn a3_where_the_kernel_does_not_tell_who_writes_the_quiet_period_protects_and_says_so() {
    if rustix::process::getuid().as_raw() != 0 {
        panic!("this test needs root: it runs the relay as another user than A's program");
    }
    let w = World::new(&World::route("r", "a", "b").replace("50ms", "1s"));
    for folder in [".", "a", "b"] {
        std::os::unix::fs::chown(w.path(folder), Some(65534), Some(65534)).unwrap();
    }
    // Its owner is another user, who holds it open and writes on.
    let mut writer = fs::File::create(w.path("a/x.csv")).unwrap();
    let relay = |log: &str| {
        let out = fs::File::create(w.path(log)).unwrap();
        let binary = w.command().get_program().to_owned();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary).args(["run", "--once"]);
        command.current_dir(w.dir.path()).env_remove("STATE_DIRECTORY").stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        command.status().unwrap()
    };
    let end = std::time::Instant::now() + Duration::from_millis(1500);
    std::thread::scope(|s| {
        s.spawn(|| relay("first.log"));
        while std::time::Instant::now() < end {
            writer.write_all(b"1\n").unwrap();
            sleep(50);
        }
    });
    assert!(w.names("b").is_empty(), "{}", w.read("first.log"));
    drop(writer);
    sleep(1100);
    assert!(relay("second.log").success(), "{}", w.read("second.log"));
    assert!(w.read("second.log").contains("only `settle` protects"), "{}", w.read("second.log"));
    assert_eq!(w.names("b"), ["x.csv"]);
}

#[test]
fn a4_a_writer_that_holds_the_file_across_the_claim_is_waited_for() {
    let w = World::local("[routes.r.retry]\ninitial_delay = \"50ms\"\n");
    w.write("a/x.csv", "1\n");
    w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "kill=before:sealed")]);
    let mut writer = OpenOptions::new().append(true).open(w.path("a/.passerelle/1_x.csv")).unwrap();
    w.once().code(3).says("another program still has the file open for writing");
    assert!(!w.path("b/x.csv").exists());
    writer.write_all(b"2\n").unwrap();
    drop(writer);
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "1\n2\n");
}

#[test]
fn a5_a_file_that_is_written_under_another_name_is_taken_at_its_rename() {
    let w = World::new(&World::route("r", "a", "b").replace("50ms", "60s"));
    let _relay = w.start();
    w.until_file("a/.passerelle");
    sleep(300);
    w.write("a/x.csv.tmp", "1");
    sleep(300);
    assert!(w.states().is_empty());
    fs::rename(w.path("a/x.csv.tmp"), w.path("a/x.csv")).unwrap();
    w.until_file("b/x.csv");
}

#[test]
fn a6_data_and_its_marker_may_come_in_any_order_and_both_are_needed() {
    let w = World::new(&World::route("r", "a", "b").replace("settle = \"50ms\"", "settle = \"0s\"\ndone_file = \"{name}.done\""));
    w.write("a/data.csv", "1");
    w.write("a/marker.csv.done", "");
    w.once().ok();
    assert!(w.states().is_empty());
    w.write("a/marker.csv", "2");
    w.write("a/data.csv.done", "");
    w.once().ok();
    assert_eq!(w.names("b"), ["data.csv", "marker.csv"]);
}

#[test]
fn a7_a_file_rewritten_after_its_claim_is_delivered_as_it_is_then() {
    let w = World::local("");
    w.write("a/x.csv", "old");
    w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "kill=before:sealed")]);
    fs::write(w.path("a/.passerelle/1_x.csv"), "new and longer").unwrap();
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "new and longer");
}

#[test]
fn a8_a_file_replaced_again_and_again_is_delivered_whole_each_time_it_is_taken() {
    let w = World::new(&format!("{}if_exists = \"rename\"\n", World::route("r", "a", "b").replace("50ms", "0s")));
    let _relay = w.start();
    w.until_file("a/.passerelle");
    let generation = |i: usize| format!("{i:05}\n").repeat(2000);
    for i in 0..300 {
        fs::write(w.path("a/x.tmp"), generation(i)).unwrap();
        fs::rename(w.path("a/x.tmp"), w.path("a/x.csv")).unwrap();
        if i % 3 == 0 {
            sleep(2);
        }
    }
    w.until("the last one is delivered", || w.files("b").values().any(|b| *b == generation(299).into_bytes()));
    let b = w.files("b");
    let mut seen: Vec<&Vec<u8>> = b.iter().filter(|(n, _)| !n.ends_with(".part")).map(|(_, v)| v).collect();
    for bytes in &seen {
        let first = String::from_utf8_lossy(&bytes[..5]).parse().unwrap();
        assert!(**bytes == generation(first).into_bytes(), "a mixture beginning with {first}");
    }
    seen.sort();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count, "one generation came twice");
}

#[test]
fn a10_the_same_size_rewritten_at_once_is_another_file() {
    let w =
        World::new(&format!("{}if_exists = \"replace\"\n", World::route("r", "a", "b").replace("settle = \"50ms\"", "settle = \"0s\"\non_success = \"keep\"")));
    for i in 0..5 {
        w.write("a/x.csv", format!("{i}"));
        w.once().ok();
        assert_eq!(w.read("b/x.csv"), format!("{i}"));
    }
    w.once().ok();
    assert_eq!(w.states().len(), 5);
}

#[test]
fn a12_a_folder_that_is_removed_and_made_again_is_watched_again() {
    let w = World::local("");
    let _relay = w.start();
    w.until_file("a/.passerelle");
    fs::remove_dir_all(w.path("a")).unwrap();
    let state = || w.json(&["status", "--json"])["routes"][0].clone();
    w.until("blocked", || state()["state"] == "blocked");
    assert!(state()["reason"].as_str().unwrap().contains("/a"), "{}", state());
    fs::create_dir(w.path("a")).unwrap();
    w.write("a/x.csv", "1");
    w.until_file("b/x.csv");
    w.until("watching", || state()["state"] == "watching");
}

#[test]
fn a13_a_file_from_1970_or_2099_is_taken_like_any_other() {
    let w = World::local("");
    for (name, seconds) in [("old.csv", 1), ("new.csv", 4_070_908_800)] {
        w.write(&format!("a/{name}"), "1");
        OpenOptions::new().append(true).open(w.path("a").join(name)).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
    w.once().ok().says("new.csv: it was changed on 2099-01-01").says("old.csv: it was changed on 1970-01-01");
    assert_eq!(w.names("b"), ["new.csv", "old.csv"]);
}

#[test]
fn a14_where_there_are_no_events_the_folder_is_polled() {
    let w = World::new(&World::route("r", "a", "b").replace("settle = \"50ms\"", "settle = \"50ms\"\nwatch = \"poll\"\npoll_interval = \"200ms\""));
    let _relay = w.start();
    w.until_file("a/.passerelle");
    sleep(100);
    w.write("a/x.csv", "1");
    w.until_file("b/x.csv");
    assert!(w.read("relay.log").contains("polled every"), "{}", w.read("relay.log"));
}
