//! Intake, order, archive and errors of local routes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::world::World;

#[test]
fn a_file_goes_byte_for_byte_to_b_and_its_original_into_the_archive() {
    let w = World::local("");
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    w.write("a/x.bin", &bytes);
    w.once().ok();
    assert_eq!(w.files("b"), BTreeMap::from([("x.bin".to_owned(), bytes.clone())]));
    assert_eq!(w.archived("r"), ["1_x.bin"]);
    assert!(w.names("a").is_empty() && w.names("relay/errors").is_empty());
    let job = &w.history()[0];
    assert_eq!((job["state"].as_str(), job["size"].as_u64(), job["file"].as_str()), (Some("delivered"), Some(100_000), Some("x.bin")));
    assert!(job["hash"].as_str().unwrap().starts_with("sha256:"));
    let shown = w.json(&["show", "1", "--json"]);
    let steps: Vec<&str> = shown["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["claimed", "sealed", "transformed", "uploaded", "publishing", "published", "archived"]);
}

#[test]
fn a_large_file_is_hashed_while_it_is_sent() {
    let w = World::local("");
    let bytes: Vec<u8> = (0..40_000_000u32).map(|i| (i % 253) as u8).collect();
    let hash = format!("sha256:{}", passerelle::job::hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes)));
    w.write("a/x.bin", &bytes);
    w.once().ok();
    assert!(w.files("b")["x.bin"] == bytes);
    let shown = w.json(&["show", "1", "--json"]);
    let steps: Vec<&str> = shown["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["claimed", "sealed", "transformed", "hashed", "uploaded", "publishing", "published", "archived"]);
    assert_eq!(shown["hash"].as_str(), Some(hash.as_str()));
    // A second one with the same content is known by it.
    let w = World::new(&World::route("r", "a", "b").replace("settle", "duplicates = \"skip\"\nsettle"));
    for _ in 0..2 {
        w.write("a/x.bin", &bytes);
        w.once().ok();
        let _ = fs::remove_file(w.path("b/x.bin"));
    }
    assert_eq!(w.states(), ["delivered", "duplicate"]);
}

#[test]
fn of_two_exports_alike_that_are_sealed_side_by_side_one_is_relayed() {
    let w = World::new(&World::route("r", "a", "b").replace("settle", "duplicates = \"skip\"\nsettle"));
    let bytes = vec![b'x'; 24 * 1024 * 1024];
    (0..4).for_each(|i| w.write(&format!("{i}"), &bytes));
    let relay = w.start();
    for i in 0..4 {
        fs::rename(w.path(&i.to_string()), w.path("a/x.bin")).unwrap();
        w.until("it is claimed", || !w.path("a/x.bin").exists());
    }
    w.until("all are at rest", || w.states().iter().all(|s| s == "delivered" || s == "duplicate"));
    drop(relay);
    assert_eq!((w.states().len(), w.states().iter().filter(|s| *s == "delivered").count()), (4, 1), "{:?}", w.states());
}

#[test]
fn what_was_claimed_before_the_source_became_another_folder_comes_to_its_end() {
    let w = World::local("");
    w.write("b/x", "B has not taken the last one");
    w.write("a/x", "1");
    w.once().code(3);
    fs::create_dir(w.path("other")).unwrap();
    w.config(&World::route("r", "other", "b"));
    w.once().code(3);
    fs::remove_file(w.path("b/x")).unwrap();
    w.once().ok();
    assert_eq!((w.states(), w.read("b/x"), w.archived("r")), (vec!["delivered".to_owned()], "1".to_owned(), vec!["1_x".to_owned()]));
    assert_eq!(w.names("a/.passerelle"), Vec::<String>::new());
}

#[test]
fn the_relays_folders_are_private_and_the_operators_are_readable() {
    let w = World::local("");
    w.write("a/x", "1");
    w.once().ok();
    let mode = |p: &str| fs::metadata(w.path(p)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("relay/work"), mode("relay/journal.db"), mode("a/.passerelle")), (0o700, 0o600, 0o700));
    assert_eq!((mode("relay/archive"), mode("relay/archive/r")), (0o750, 0o750));
    let archived = w.names("relay/archive/r");
    assert_eq!(mode(&format!("relay/archive/r/{}", archived[0])), 0o640);
}

#[test]
fn a_running_relay_delivers_within_seconds_and_stops_politely() {
    let w = World::local("");
    let mut relay = w.start();
    w.until_file("relay/journal.db");
    w.write("a/x.csv", "1;2\n");
    w.until_file("b/x.csv");
    w.until("archived", || w.states() == ["delivered"]);
    let status = w.json(&["status", "--json"]);
    assert_eq!((status["routes"][0]["state"].as_str(), status["routes"][0]["delivered"].as_u64()), (Some("watching"), Some(1)));
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(0));
    assert_eq!(w.json(&["status", "--json"])["routes"][0]["state"], "stopped");
}

#[test]
fn a_file_renamed_in_is_taken_at_once_and_a_growing_one_only_when_it_settled() {
    let w = World::new(&World::route("r", "a", "b").replace("50ms", "3s"));
    let _relay = w.start();
    w.until_file("a/.passerelle");
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    w.write("a/x.tmp", "whole");
    fs::rename(w.path("a/x.tmp"), w.path("a/x.csv")).unwrap();
    w.write("a/y.csv", "whole");
    w.until_file("b/x.csv");
    let renamed = start.elapsed();
    w.until_file("b/y.csv");
    assert!(renamed < start.elapsed(), "the renamed file was not first");
    assert!(start.elapsed() >= Duration::from_secs(3), "y.csv did not settle");
}

#[test]
fn a_file_that_is_open_for_writing_waits_until_it_is_closed() {
    let w = World::local("");
    let mut writer = fs::File::create(w.path("a/x.csv")).unwrap();
    std::io::Write::write_all(&mut writer, b"half").unwrap();
    let _relay = w.start();
    w.until_file("a/.passerelle");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(w.names("b").is_empty(), "a half-written file was taken");
    std::io::Write::write_all(&mut writer, b" and whole").unwrap();
    drop(writer);
    w.until_file("b/x.csv");
    assert_eq!(w.read("b/x.csv"), "half and whole");
}

#[test]
fn files_are_published_in_the_order_of_sort() {
    let w = World::new("[routes.r.source]\npath = \"a\"\nsettle = \"50ms\"\nsort = \"name\"\n[routes.r.destination]\npath = \"b\"\n");
    for i in (0..300).rev() {
        w.write(&format!("a/{i:04}.csv"), i.to_string());
    }
    w.once().ok();
    let files: Vec<String> = w.history().iter().map(|j| j["file"].as_str().unwrap().to_owned()).collect();
    let mut sorted = files.clone();
    sorted.sort();
    assert_eq!((files.len(), &files), (300, &sorted));
    assert_eq!(w.names("b").len(), 300);
    let published = |job: &str| {
        let shown = w.json(&["show", job, "--json"]);

        shown["steps"].as_array().unwrap().iter().find(|s| s["step"] == "published").unwrap()["at"].as_str().unwrap().to_owned()
    };
    assert!(published("1") <= published("150") && published("150") <= published("300"));
}

#[test]
fn subfolders_are_kept_everywhere_when_recursive() {
    let w = World::new("[routes.r.source]\npath = \"a\"\nsettle = \"50ms\"\nrecursive = true\n[routes.r.destination]\npath = \"b\"\n");
    w.write("a/x/y/1.csv", "1");
    w.write("a/2.csv", "2");
    w.once().ok();
    assert_eq!(w.names("b"), ["2.csv", "x/y/1.csv"]);
    assert!(w.archived("r").iter().any(|n| n.starts_with("x/y/")), "{:?}", w.archived("r"));
    assert!(w.history().iter().any(|j| j["file"] == "x/y/1.csv"));
}

#[test]
fn an_empty_file_is_archived_sent_or_refused_as_the_route_says() {
    for (empty, code, b, state) in [("skip", 0, 0, "delivered"), ("send", 0, 1, "delivered"), ("fail", 1, 0, "failed")] {
        let w = World::new(&World::route("r", "a", "b").replace("[routes.r.destination]", &format!("empty = \"{empty}\"\n[routes.r.destination]")));
        w.write("a/x.csv", "");
        w.once().code(code);
        assert_eq!((w.names("b").len(), w.states()), (b, vec![state.to_owned()]), "{empty}");
        if empty == "skip" {
            assert_eq!(w.history()[0]["records"]["written"], 0);
        }
    }
}

#[test]
fn the_same_name_and_content_is_skipped_only_when_asked() {
    for (duplicates, second) in [("relay", "delivered"), ("skip", "duplicate")] {
        let w = World::new(&World::route("r", "a", "b").replace("[routes.r.destination]", &format!("duplicates = \"{duplicates}\"\n[routes.r.destination]")));
        for content in ["same", "same", "other"] {
            w.write("a/x.csv", content);
            w.once().ok();
            let _ = fs::remove_file(w.path("b/x.csv"));
        }
        assert_eq!(w.states(), ["delivered", second, "delivered"]);
        assert_eq!(w.archived("r").len(), 3, "the duplicate's original is archived too");
    }
}

#[test]
fn a_kept_file_is_never_taken_twice_and_a_changed_one_is() {
    let w = World::new(&World::route("r", "a", "b").replace("[routes.r.destination]", "on_success = \"keep\"\n[routes.r.destination]"));
    w.write("a/x.csv", "1");
    w.once().ok();
    w.once().ok();
    assert_eq!((w.read("b/x.csv"), w.read("a/x.csv"), w.states().len()), ("1".into(), "1".into(), 1));
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.write("a/x.csv", "22");
    w.once().ok();
    assert_eq!((w.read("b/x.csv"), w.states().len()), ("22".into(), 2));
}

#[test]
fn a_kept_file_is_not_taken_again_because_the_journal_is_lost() {
    let w = World::new(&World::route("r", "a", "b").replace("[routes.r.destination]", "on_success = \"keep\"\n[routes.r.destination]"));
    for (name, seconds) in [("now.csv", None), ("2300.csv", Some(10_413_792_000))] {
        w.write(&format!("a/{name}"), "1");
        let file = fs::File::options().write(true).open(w.path(&format!("a/{name}"))).unwrap();
        if let Some(seconds) = seconds {
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        }
    }
    w.once().ok();
    fs::remove_file(w.path("b/now.csv")).unwrap();
    for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(w.path("relay").join(file));
    }
    w.once().ok().says("the journal was lost: 2 jobs are known again");
    assert_eq!((w.names("b"), w.states()), (vec!["2300.csv".to_owned()], vec!["delivered".to_owned(); 2]));
    // One that A has changed since is another one.
    w.write("a/now.csv", "22");
    w.once().ok();
    assert_eq!((w.read("b/now.csv"), w.history().len()), ("22".into(), 3));
}

#[test]
fn done_and_checksum_files_are_archived_with_their_file() {
    let w = World::new(&World::route("r", "a", "b").replace("[routes.r.destination]", "done_file = \"{name}.done\"\n[routes.r.destination]"));
    w.write("a/x.csv", "1");
    w.once().ok();
    assert!(w.names("b").is_empty(), "taken before it was announced");
    w.write("a/x.csv.done", "");
    w.once().ok();
    assert_eq!((w.names("b"), w.archived("r"), w.names("a")), (vec!["x.csv".to_owned()], vec!["1_x.csv".to_owned(), "1_x.csv.done".to_owned()], vec![]));
}

#[test]
fn a_name_that_b_has_not_taken_makes_the_file_wait_be_replaced_renamed_or_fail() {
    for (policy, code, state, left) in [
        ("wait", 3, "waiting", vec![("x.csv", "old")]),
        ("replace", 0, "delivered", vec![("x.csv", "new")]),
        ("rename", 0, "delivered", vec![("x-1.csv", "new"), ("x.csv", "old")]),
        ("fail", 1, "failed", vec![("x.csv", "old")]),
    ] {
        let w = World::local(&format!("if_exists = \"{policy}\"\n"));
        w.write("b/x.csv", "old");
        w.write("a/x.csv", "new");
        w.once().code(code);
        let b: Vec<(String, String)> =
            w.files("b").into_iter().filter(|(n, _)| !n.ends_with(".part")).map(|(n, c)| (n, String::from_utf8(c).unwrap())).collect();
        let wanted: Vec<(String, String)> = left.into_iter().map(|(n, c)| (n.to_owned(), c.to_owned())).collect();
        assert_eq!((b, w.states()), (wanted, vec![state.to_owned()]), "{policy}");
        if policy == "wait" {
            fs::remove_file(w.path("b/x.csv")).unwrap();
            w.once().ok();
            assert_eq!((w.read("b/x.csv"), w.states()), ("new".into(), vec!["delivered".to_owned()]));
        }
    }
}

#[test]
fn a_file_goes_to_every_destination_and_one_in_trouble_does_not_hold_the_others() {
    let w = World::new("[routes.r.source]\npath = \"a\"\nsettle = \"50ms\"\n[[routes.r.destination]]\npath = \"b\"\n[[routes.r.destination]]\npath = \"c\"\n");
    w.write("a/x.csv", "1");
    w.once().code(3).says("does not exist");
    assert_eq!((w.names("b"), w.states()), (vec!["x.csv".to_owned()], vec!["waiting".to_owned()]));
    fs::create_dir(w.path("c")).unwrap();
    w.once().ok();
    assert_eq!((w.names("c"), w.states()), (vec!["x.csv".to_owned()], vec!["delivered".to_owned()]));
    assert_eq!(w.history()[0]["deliveries"].as_array().unwrap().len(), 2);
}

#[test]
fn names_of_any_bytes_arrive_as_they_are() {
    let w = World::local("");
    let mut names: Vec<Vec<u8>> =
        ["-rf", "a b", "é ü ñ", "100%", "#1", "a\nb", "tab\there", "'\"", "日本語.csv"].iter().map(|n| n.as_bytes().to_vec()).collect();
    names.push(b"caf\xe9.csv".to_vec());
    names.push("x".repeat(250).into_bytes());
    for name in &names {
        fs::write(w.path("a").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    w.once().ok();
    for name in &names {
        assert_eq!(&fs::read(w.path("b").join(std::ffi::OsStr::from_bytes(name))).unwrap(), name);
    }
    assert_eq!(w.history().len(), names.len());
    assert!(w.run(&["history"]).ok().stdout.contains("a\\nb"), "control characters are shown escaped");
}

#[test]
fn links_and_fifos_are_passed_over_and_counted() {
    let w = World::local("");
    std::os::unix::fs::symlink("/etc/passwd", w.path("a/link.csv")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(w.path("a/fifo.csv")).status().unwrap().success());
    w.write("a/x.csv", "1");
    let _relay = w.start();
    w.until_file("b/x.csv");
    w.until("counted", || w.json(&["status", "--json"])["routes"][0]["passed_over"] == 2);
    assert_eq!(w.names("b"), ["x.csv"]);
}

#[test]
fn a_marker_is_written_after_the_file_and_bs_import_function_is_run() {
    let w = World::local("done_file = \"{stem}.ok\"\nafter = [\"cp\", \"{path}\", \"imported-{name}\"]\nmode = \"0604\"\n");
    w.write("a/x.csv", "1");
    w.once().ok();
    assert_eq!(w.names("b"), ["x.csv", "x.ok"]);
    assert_eq!(w.read("imported-x.csv"), "1");
    assert_eq!(fs::metadata(w.path("b/x.csv")).unwrap().permissions().mode() & 0o777, 0o604);
}

#[test]
fn a_marker_never_empties_a_file_of_bs() {
    let w = World::local("done_file = \"{stem}.csv\"\n");
    w.write("b/x.csv", "B's own");
    w.write("a/x.txt", "1");
    w.write("a/y.txt", "2");
    w.write("a/z.csv", "3");
    let out = w.once().code(3);
    assert!(out.stderr.contains("x.csv is there and is no marker"), "{}", out.stderr);
    assert_eq!(w.read("b/x.csv"), "B's own");
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.once();
    assert_eq!(w.names("b"), ["x.csv", "x.txt", "y.csv", "y.txt"]);
    assert!(w.read("relay/errors/r/z.csv.error.json").contains("the name of the file itself"), "{:?}", w.names("relay/errors/r"));
    // Two that come together: the marker of one has the name of the other.
    let w = World::local("done_file = \"{stem}.csv\"\n");
    w.write("a/x.csv.txt", "1");
    w.write("a/x.txt", "2");
    w.write("a/x.csv.csv", "3");
    w.once();
    assert!(w.names("b").iter().all(|n| n.ends_with(".csv") == w.read(&format!("b/{n}")).is_empty()), "{:?}", w.names("b"));
}

#[test]
fn a_marker_whose_name_is_too_long_fails_its_file_alone_and_before_it_is_published() {
    let w = World::local("done_file = \"{name}.ok\"\n");
    let long = "n".repeat(253);
    w.write(&format!("a/{long}"), "1");
    w.write("a/x.csv", "2");
    w.once().code(1);
    assert_eq!(w.names("b"), ["x.csv", "x.csv.ok"]);
    let errors = w.names("relay/errors/r");
    assert!(errors.contains(&long) && errors.iter().any(|n| n.len() == 255 && n.ends_with(".error.json")), "{errors:?}");
    w.run(&["retry", "1"]).ok();
    assert_eq!(w.names("relay/errors/r"), [""; 0]);
}

#[test]
fn what_the_relays_stop_cuts_short_of_bs_import_function_runs_again_at_the_next_start() {
    let w = World::local("after = [\"sh\", \"-c\", \"echo {name} >> begun; test -e go || sleep 30; echo {name} >> ended\"]\n");
    w.write("a/x.csv", "1");
    let mut relay = w.start();
    w.until_file("begun");
    relay.signal("TERM");
    relay.wait();
    assert!(!w.path("ended").exists());
    w.write("go", "");
    w.write("a/y.csv", "2");
    w.once().ok();
    assert_eq!(w.read("ended"), "x.csv\ny.csv\n");
    assert_eq!((w.names("b"), w.states()), (vec!["x.csv".into(), "y.csv".into()], vec!["delivered".into(), "delivered".into()]));
}

#[test]
fn a_command_of_the_users_that_fails_is_told_with_its_words_and_its_file() {
    let w = World::local("after = [\"sh\", \"-c\", \"echo la base est fermée >&2; exit 3\"]\n");
    w.write("a/x.csv", "1");
    let out = w.once().ok();
    assert!(
        out.stderr.contains("exit status: 3: la base est fermée") && out.stderr.contains("file=x.csv") && out.stderr.contains("route=\"r\""),
        "{}",
        out.stderr
    );
    w.run(&["show", "1"]).ok().says("local x.csv; but after: sh").says("la base est fermée");
}

#[test]
fn a_temporary_file_that_somebody_removed_is_sent_again_in_the_same_run() {
    let w = World::local("");
    w.write("b/x.csv", "not taken yet");
    w.write("a/x.csv", "1");
    w.once().code(3);
    for name in w.names("b") {
        fs::remove_file(w.path(&format!("b/{name}"))).unwrap();
    }
    w.once().ok().says("the temporary file was removed by somebody");
    assert_eq!((w.read("b/x.csv"), w.names("b"), w.states()), ("1".into(), vec!["x.csv".to_owned()], vec!["delivered".to_owned()]));
}

#[test]
fn a_temporary_file_that_was_changed_while_it_waited_is_never_published() {
    for (verify, changed) in [("size", "NE"), ("hash", "OTHERS")] {
        let w = World::local(&format!("verify = \"{verify}\"\n"));
        w.write("b/g", "not taken yet");
        w.write("a/g", "NEWNEW");
        w.once().code(3);
        let temporary = w.names("b").into_iter().find(|n| n.ends_with(".part")).unwrap();
        w.write(&format!("b/{temporary}"), changed);
        fs::remove_file(w.path("b/g")).unwrap();
        w.once().ok().says("is not whole at the destination any more");
        assert_eq!((w.read("b/g"), w.names("b")), ("NEWNEW".into(), vec!["g".to_owned()]), "{verify}");
    }
}

#[test]
fn a_single_run_that_is_stopped_says_that_something_waits() {
    let w = World::local("after = [\"sleep\", \"20\"]\n");
    w.write("a/x.csv", "1");
    let mut run = w.command().args(["run", "--once"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    w.until_file("b/x.csv");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(std::process::Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(3));
}

#[test]
fn the_folder_of_temporary_files_is_made_too_where_folders_are() {
    let w = World::local("temp_path = \"t/part\"\ncreate = true\n");
    w.write("a/x.csv", "1");
    w.once().ok();
    assert_eq!((w.read("b/x.csv"), w.names("t")), ("1".into(), Vec::<String>::new()));
    assert!(w.path("t/part").is_dir());
}

#[test]
fn routes_that_are_paused_or_gone_while_files_wait_are_told() {
    let w = World::local("");
    w.write("b/x.csv", "not taken yet");
    w.write("a/x.csv", "1");
    w.run(&["pause", "r"]).ok();
    w.once().says("it is paused, and nothing of it was relayed: passerelle resume r");
    w.run(&["resume", "r"]).ok();
    let log = fs::File::create(w.path("log")).unwrap();
    let mut child = w.command().arg("run").stderr(log).spawn().unwrap();
    w.until("it waits", || w.states() == ["waiting"]);
    w.config(&World::route("other", "c", "b"));
    fs::create_dir(w.path("c")).unwrap();
    assert!(std::process::Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    w.until("told", || w.read("log").contains("1 of its files wait until it is put back"));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The facts of the newest job, as `show` tells them.
fn steps(w: &World) -> Vec<String> {
    let job = w.history().last().unwrap()["job"].to_string();
    w.json(&["show", &job, "--json"])["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_operator_is_told_when_b_has_taken_a_file_and_once_when_it_has_not() {
    let w = World::local("confirm = \"500ms\"\n");
    w.write("a/x.csv", "1");
    let relay = w.start();
    w.until("told that it was not taken", || w.states() == ["delivered"] && steps(&w).last().unwrap() == "not_taken");
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.until("told that it was taken late", || steps(&w).last().unwrap() == "taken");
    assert_eq!(steps(&w).iter().filter(|s| *s == "not_taken").count(), 1);
    w.write("a/y.csv", "2");
    w.until_file("b/y.csv");
    fs::remove_file(w.path("b/y.csv")).unwrap();
    w.until("told that it was taken", || w.states().len() == 2 && steps(&w).last().unwrap() == "taken");
    assert!(!steps(&w).contains(&"not_taken".to_owned()));
    drop(relay);
}

#[test]
fn a_single_run_tells_of_what_b_had_not_taken_since_an_earlier_one() {
    let w = World::local("confirm = \"300ms\"\n");
    w.write("a/x.csv", "1");
    w.once().ok();
    assert_eq!(steps(&w).last().unwrap(), "archived");
    std::thread::sleep(std::time::Duration::from_millis(350));
    w.once().ok().says("not taken");
    assert_eq!(steps(&w).last().unwrap(), "not_taken");
    // A folder that is not there says nothing of what was in it.
    fs::rename(w.path("b"), w.path("unmounted")).unwrap();
    w.once().says("does not exist");
    assert_eq!(steps(&w).last().unwrap(), "not_taken");
}

#[test]
fn a_schedule_runs_as_export_before_each_look() {
    let w = World::new(
        "[routes.r]\nevery = \"300ms\"\n[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\nbefore = [\"sh\", \"-c\", \"date +%N > a/$(date +%s%N).csv\"]\n[routes.r.destination]\npath = \"b\"\n",
    );
    let _relay = w.start();
    w.until("three exports", || w.names("b").len() >= 3);
    assert_eq!(w.json(&["status", "--json"])["routes"][0]["state"], "scheduled");
}

#[test]
fn a_second_relay_is_refused_on_the_same_home_and_on_the_same_source() {
    let w = World::local("");
    let _relay = w.start();
    w.until_file("a/.passerelle");
    w.until("running", || w.json(&["status", "--json"])["routes"][0]["state"] == "watching");
    w.once().code(4).says("another relay already runs");
    w.write("other.toml", format!("home = \"relay2\"\n{}", World::route("r", "a", "b2")));
    w.run(&["-c", "other.toml", "run", "--once"]).code(4).says("already takes files from");
}

#[test]
fn a_reload_takes_the_new_configuration_and_refuses_a_bad_one() {
    let w = World::local("");
    let mut relay = w.start();
    w.until("running", || w.json(&["status", "--json"])["routes"][0]["state"] == "watching");
    w.config("[routes.r.sauce]\n");
    relay.signal("HUP");
    w.until("refused", || w.read("relay.log").contains("is refused"));
    w.write("a/x.csv", "1");
    w.until_file("b/x.csv");
    fs::create_dir(w.path("c")).unwrap();
    w.config(&World::route("r", "a", "c"));
    relay.signal("HUP");
    w.until("reloaded", || w.read("relay.log").contains("is reloaded"));
    w.write("a/y.csv", "2");
    w.until_file("c/y.csv");
    assert_eq!(relay.child.try_wait().unwrap(), None);
}

#[test]
fn files_of_a_missing_folder_wait_and_the_route_says_so() {
    let w = World::local("");
    fs::remove_dir(w.path("b")).unwrap();
    w.write("a/x.csv", "1");
    let _relay = w.start();
    w.until("blocked", || {
        let route = &w.json(&["status", "--json"])["routes"][0];
        route["state"] == "blocked" && route["reason"].as_str().unwrap().contains("does not exist")
    });
    assert!(w.names("relay/errors").is_empty());
    fs::create_dir(w.path("b")).unwrap();
    w.until_file("b/x.csv");
    w.until("watching again", || w.json(&["status", "--json"])["routes"][0]["state"] == "watching");
}

#[test]
fn a_thousand_files_and_eight_workers_deliver_each_exactly_once() {
    let w = World::local("");
    let written: BTreeMap<String, Vec<u8>> = (0..1000).map(|i| (format!("{i}.txt"), format!("content {i}").into_bytes())).collect();
    written.iter().for_each(|(n, b)| w.write(&format!("a/{n}"), b));
    w.once().ok();
    assert_eq!(w.files("b"), written);
    w.assert_nothing_lost(&written);
}

#[test]
fn a_failed_file_holds_later_ones_back_only_with_halt() {
    let csv = "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"x\"\n";
    for (on_error, b) in [("continue", 2), ("halt", 1)] {
        let w = World::new(&format!(
            "[routes.r]\non_error = \"{on_error}\"\n{}{csv}",
            World::route("r", "a", "b").replace("[routes.r.destination]", "sort = \"name\"\n[routes.r.destination]")
        ));
        w.write("a/1.csv", "x\n1\n");
        w.write("a/2.csv", "y\n2\n");
        w.write("a/3.csv", "x\n3\n");
        w.once().code(1);
        let published = w.names("b").into_iter().filter(|n| !n.ends_with(".part")).count();
        assert_eq!(published, b, "{on_error}");
        if on_error == "halt" {
            w.write("relay/errors/r/2.csv", "x\n2\n");
            w.run(&["retry", "2"]).ok();
            w.once().ok();
            assert_eq!(w.names("b"), ["1.csv", "2.csv", "3.csv"]);
        }
    }
}

#[test]
fn small_files_wait_excluded_ones_stay_and_one_look_takes_at_most_max_files() {
    let keys = "min_size = \"3B\"\nexclude = [\"*.log\"]\nmax_files = 2\nsort = \"name\"\n[routes.r.destination]";
    let w = World::new(&World::route("r", "a", "b").replace("[routes.r.destination]", keys));
    for name in ["1.csv", "2.csv", "3.csv", "4.log"] {
        w.write(&format!("a/{name}"), "long enough");
    }
    w.write("a/0.csv", "x");
    w.once().ok();
    assert_eq!((w.names("b"), w.names("a")), (vec!["1.csv".to_owned(), "2.csv".to_owned()], vec!["0.csv".to_owned(), "3.csv".to_owned(), "4.log".to_owned()]));
}

#[test]
fn a_temporary_folder_of_its_own_is_used_when_named() {
    let w = World::local("temp_path = \"staging\"\n");
    fs::create_dir(w.path("staging")).unwrap();
    w.write("a/x.csv", "1");
    assert_eq!(w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "kill=after:uploaded")]).code, -1);
    assert_eq!((w.names("staging").len(), w.names("b").len()), (1, 0));
    w.once().ok();
    assert_eq!((w.names("staging").len(), w.names("b")), (0, vec!["x.csv".to_owned()]));
}

#[test]
fn one_file_in_trouble_does_not_keep_the_others_from_being_tried() {
    let w = World::new(
        "[routes.r.source]\npath = \"a\"\nsettle = \"50ms\"\nrecursive = true\nsort = \"name\"\n[routes.r.destination]\npath = \"b\"\n[routes.q.source]\npath = \"c\"\nsettle = \"50ms\"\n[routes.q.destination]\npath = \"b\"\n",
    );
    w.write("b/sub", "a file where a folder should be");
    w.write("a/sub/x.csv", "1");
    w.write("c/y.csv", "2");
    w.once().code(3);
    assert_eq!(w.read("b/y.csv"), "2");
}

#[test]
fn what_announced_a_file_is_deleted_with_it() {
    let w = World::local("");
    w.config(&w.read("passerelle.toml").replace("path = \"a\"\n", "path = \"a\"\ndone_file = \"{name}.done\"\non_success = \"delete\"\n"));
    w.write("a/x.csv", "1");
    w.write("a/x.csv.done", "");
    w.once().ok();
    assert_eq!((w.states(), w.names("b")), (vec!["delivered".to_owned()], vec!["x.csv".to_owned()]));
    assert!(w.names("a").is_empty(), "{:?}", w.names("a"));
}

#[test]
fn a_file_is_named_as_a_named_it_also_where_it_is_named_like_rejects() {
    let w = World::local("");
    w.write("a/z.csv", "main");
    w.write("a/z.csv.rejects.csv", "other");
    w.once().ok();
    assert_eq!((w.read("b/z.csv"), w.read("b/z.csv.rejects.csv")), ("main".into(), "other".into()));
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nf = \"file.name\"\n");
    w.write("a/z.csv.rejects.csv", "x\n1\n");
    w.once().ok();
    assert_eq!(w.read("b/z.csv.rejects.csv"), "f\nz.csv.rejects.csv\n");
}

#[test]
fn what_a_command_has_started_ends_with_it() {
    let w = World::local("after = [\"sh\", \"-c\", \"sleep 7171 & echo $! > child; wait\"]\n");
    w.write("a/x", "1");
    let mut relay = w.start();
    w.until("it is started", || std::fs::read_to_string(w.path("child")).unwrap_or_default().trim().parse::<u32>().is_ok());
    relay.signal("TERM");
    relay.wait().unwrap();
    let child = w.read("child").trim().to_owned();
    w.until("it is ended", || fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z ")));
}
