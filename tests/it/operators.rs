//! What operators do: retry, replay, pause, drag and delete in errors; beside a running relay and without one.

use std::fs;

use crate::world::World;

fn mapped() -> World {
    World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"x\"\n")
}

#[test]
fn a_failed_file_has_a_note_and_is_retried_under_its_number() {
    let w = mapped();
    w.write("a/x.csv", "y\n1\n");
    w.once().code(1).says("the file has no column x");
    let note: serde_json::Value = serde_json::from_str(&w.read("relay/errors/r/x.csv.error.json")).unwrap();
    assert_eq!(
        (note["file"].as_str(), note["route"].as_str(), note["step"].as_str(), note["job"].as_u64()),
        (Some("x.csv"), Some("r"), Some("transform"), Some(1))
    );
    for key in ["error", "hint", "attempts", "received_at", "failed_at"] {
        assert!(!note[key].is_null(), "{key}");
    }
    w.write("relay/errors/r/x.csv", "x\n1\n");
    w.run(&["retry", "1"]).ok().says("tried again");
    w.once().ok();
    assert_eq!(w.history()[0]["attempts"], 2);
    assert_eq!((w.read("b/x.csv"), w.states(), w.names("relay/errors")), ("x\n1\n".into(), vec!["delivered".to_owned()], vec![]));
    w.run(&["retry", "1"]).code(2).says("is delivered");
    w.run(&["retry", "9"]).code(2).says("there is no job 9");
}

#[test]
fn retry_works_beside_a_running_relay_and_for_all() {
    let w = mapped();
    w.write("a/x.csv", "y\n1\n");
    w.write("a/z.csv", "y\n1\n");
    let _relay = w.start();
    w.until("failed", || w.states() == ["failed", "failed"]);
    for name in ["x", "z"] {
        w.write(&format!("relay/errors/r/{name}.csv"), "x\n1\n");
    }
    w.run(&["retry", "--all", "--route", "r"]).ok();
    w.until("delivered", || w.states() == ["delivered", "delivered"]);
    assert_eq!(w.names("b"), ["x.csv", "z.csv"]);
}

#[test]
fn a_retry_of_what_never_had_a_name_at_b_does_not_overwrite_what_a_later_job_has_published() {
    for more in ["if_exists = \"replace\"\n", "if_exists = \"replace\"\n[routes.r.output]\nname = \"out.csv\"\n"] {
        let w = World::local(&format!("{more}[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"x\"\n"));
        w.write("a/x.csv", "y\nold\n");
        w.once().code(1);
        w.write("a/x.csv", "x\nnew\n");
        w.once().ok();
        w.write("relay/errors/r/x.csv", "x\nold\n");
        w.run(&["retry", "1"]).code(2).says("job 2 has published the same name since");
        w.run(&["retry", "--all"]).code(2);
        w.once().ok();
        let b = if more.contains("out.csv") { "b/out.csv" } else { "b/x.csv" };
        assert_eq!((w.read(b), w.states()), ("x\nnew\n".into(), vec!["failed".to_owned(), "delivered".to_owned()]));
        w.run(&["retry", "1", "--force"]).ok();
        w.once().ok();
        assert_eq!(w.read(b), "x\nold\n");
    }
}

#[test]
fn a_later_job_that_waits_behind_a_failed_one_does_not_keep_it_from_its_retry() {
    let w =
        World::new(&format!("[routes.r]\non_error = \"halt\"\n{}[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"x\"\n", World::route("r", "a", "b")));
    w.write("a/x.csv", "y\n1\n");
    w.once().code(1);
    w.write("a/x.csv", "x\n2\n");
    w.once();
    w.write("relay/errors/r/x.csv", "x\n1\n");
    w.run(&["retry", "1"]).ok();
    w.once();
    assert_eq!(w.read("b/x.csv"), "x\n1\n");
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "x\n2\n");
}

#[test]
fn status_without_a_relay_counts_what_is_ready_and_says_why_it_waits() {
    let route = |w: &World| w.json(&["status", "--json"])["routes"][0].clone();
    // Not announced yet, or too small: not ready.
    let w = World::new(&World::route("r", "a", "b").replace("settle", "done_file = \"{name}.done\"\nmin_size = \"2B\"\nsettle"));
    for (name, text) in [("x.csv", "12"), ("x.csv.done", ""), ("y.csv", "12"), ("z.csv", "1"), ("z.csv.done", "")] {
        w.write(&format!("a/{name}"), text);
    }
    assert_eq!(route(&w)["waiting"], 1);
    // What was taken and stays is not ready; what has changed since is.
    let w = World::new(&World::route("r", "a", "b").replace("settle", "on_success = \"keep\"\nsettle"));
    w.write("a/x.csv", "1");
    w.once().ok();
    assert_eq!(route(&w)["waiting"], 0);
    w.write("a/x.csv", "22");
    assert_eq!(route(&w)["waiting"], 1);
    // The reason of the first that waits; a folder that is gone; a pause.
    w.once().code(3);
    assert!(route(&w)["reason"].as_str().unwrap().contains("x.csv is still there"), "{}", route(&w));
    w.run(&["pause", "r"]).ok();
    assert_eq!((route(&w)["state"].as_str(), route(&w)["reason"].as_str()), (Some("stopped"), Some("it is paused: passerelle resume r")));
    w.run(&["resume", "r"]).ok();
    let w = World::new(&World::route("r", "away", "b"));
    assert!(route(&w)["reason"].as_str().unwrap().contains("away"), "{}", route(&w));
}

#[test]
fn a_job_that_waits_for_an_earlier_one_says_so() {
    let w = World::local("");
    w.write("b/x.csv", "not taken yet");
    w.write("a/x.csv", "1");
    w.once().code(3);
    w.write("a/y.csv", "2");
    w.once().code(3);
    let jobs = w.history();
    assert_eq!((jobs[1]["state"].as_str(), jobs[0]["state"].as_str()), (Some("waiting"), Some("waiting")));
    assert!(jobs[1]["reason"].as_str().unwrap().starts_with("job 1 goes before it, and waits: "), "{}", jobs[1]);
    w.run(&["show", "2"]).ok().says("job 1 goes before it");
    let states = |args: &[&str]| w.run(args).ok().stdout.lines().count();
    assert_eq!((states(&["history", "--json", "--state", "waiting"]), states(&["history", "--json", "--state", "delivering"])), (2, 0));
    assert_eq!(states(&["history", "--json", "--state", "waiting", "--limit", "1"]), 1);
    let halting = |w: &World| w.config(&format!("[routes.r]\non_error = \"halt\"\n{}", w.read("passerelle.toml")));
    let w = mapped();
    halting(&w);
    w.write("a/x.csv", "y\n1\n");
    w.once().code(1);
    w.write("a/y.csv", "x\n1\n");
    w.once();
    let job = w.history().pop().unwrap();
    assert!(job["state"] == "waiting" && job["reason"].as_str().unwrap().contains("job 1 failed, and on_error is"), "{job}");
}

#[test]
fn commands_at_the_same_time_without_a_relay_do_not_wait_for_one() {
    let w = mapped();
    for n in 0..4 {
        w.write(&format!("a/{n}.csv"), "y\n1\n");
    }
    w.once().code(1);
    let codes = std::thread::scope(|s| {
        let all: Vec<_> = (1..5)
            .map(|n: u32| {
                s.spawn({
                    let w = &w;
                    move || w.run(&["retry", &n.to_string()]).code
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(codes, [0; 4]);
}

#[test]
fn a_second_failure_of_the_same_name_overwrites_nothing() {
    let w = mapped();
    for n in 0..2 {
        w.write("a/x.csv", format!("y\n{n}\n"));
        w.once().code(1);
    }
    assert_eq!(w.names("relay/errors/r"), ["2_x.csv", "2_x.csv.error.json", "x.csv", "x.csv.error.json"]);
}

#[test]
fn a_file_dragged_back_into_the_source_is_a_new_job_and_the_old_one_resubmitted() {
    let w = mapped();
    w.write("a/x.csv", "y\n1\n");
    w.once().code(1);
    w.write("relay/errors/r/x.csv", "x\n1\n");
    fs::rename(w.path("relay/errors/r/x.csv"), w.path("a/x.csv")).unwrap();
    w.once().ok();
    assert_eq!((w.states(), w.names("relay/errors/r")), (vec!["resubmitted".to_owned(), "delivered".to_owned()], vec![]));
}

#[test]
fn a_file_that_was_told_apart_by_its_number_gets_its_own_name_again_when_it_is_dragged_back() {
    let w = mapped();
    w.config(&w.read("passerelle.toml").replace("settle", "include = [\"x*.csv\"]\nsettle"));
    for n in 1..3 {
        w.write("a/x.csv", format!("y\n{n}\n"));
        w.once().code(1);
    }
    w.write("relay/errors/r/2_x.csv", "x\n2\n");
    fs::rename(w.path("relay/errors/r/2_x.csv"), w.path("a/2_x.csv")).unwrap();
    w.once().ok();
    assert_eq!((w.names("b"), w.states()), (vec!["x.csv".into()], vec!["failed".to_owned(), "resubmitted".to_owned(), "delivered".to_owned()]));
    assert_eq!(w.names("relay/errors/r"), ["x.csv", "x.csv.error.json"]);
}

#[test]
fn a_file_where_a_folder_of_the_relays_own_must_be_is_the_relays_trouble() {
    for folder in ["archive", "errors"] {
        let w = World::local("");
        fs::create_dir(w.path("relay")).unwrap();
        w.write(&format!("relay/{folder}"), "");
        w.write("a/x.csv", "1");
        w.once().code(4).says("is no folder, and one is needed there");
        assert_eq!(w.names("a"), ["x.csv"]);
    }
}

#[test]
fn a_file_deleted_from_errors_is_removed() {
    let w = mapped();
    w.write("a/x.csv", "y\n1\n");
    w.once().code(1);
    fs::remove_file(w.path("relay/errors/r/x.csv")).unwrap();
    w.once().ok();
    assert_eq!((w.states(), w.names("relay/errors/r")), (vec!["removed".to_owned()], vec![]));
}

#[test]
fn an_archived_file_is_delivered_once_more_as_a_new_job() {
    let w = World::local("");
    w.write("a/x.csv", "1");
    w.once().ok();
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.run(&["replay", "1"]).ok().says("as job 2");
    w.run(&["replay", "1"]).code(2).says("job 2 relays it once more already");
    w.once().ok();
    assert_eq!((w.read("b/x.csv"), w.states(), w.archived("r")), ("1".into(), vec!["delivered".to_owned(); 2], vec!["1_x.csv".to_owned()]));
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.run(&["replay", "1"]).code(2).says("job 2 has published the same name since");
    w.run(&["replay", "1", "--force"]).ok();
    let _relay = w.start();
    w.until_file("b/x.csv");
}

#[test]
fn a_paused_route_takes_nothing_and_the_pause_survives_restarts() {
    let w = World::local("");
    w.run(&["pause", "r"]).ok();
    w.write("a/x.csv", "1");
    w.once().ok();
    assert!(w.names("b").is_empty());
    let _relay = w.start();
    w.until("paused", || w.json(&["status", "--json"])["routes"][0]["state"] == "paused");
    w.run(&["resume", "r"]).ok();
    w.until_file("b/x.csv");
    w.run(&["pause", "q"]).code(2).says("there is no route q");
}

#[test]
fn a_route_that_is_not_there_is_told_by_every_command_that_takes_one() {
    let w = World::local("");
    for arguments in [&["retry", "--all", "--route", "q"][..], &["history", "--route", "q"], &["transform", "q", "x"], &["pause", "q"]] {
        w.run(arguments).code(2).says("there is no route q");
    }
}

#[test]
fn reading_commands_end_0_before_the_first_run() {
    let w = World::local("");
    assert_eq!(w.json(&["status", "--json"])["routes"][0]["state"], "stopped");
    assert_eq!(w.run(&["history", "--json"]).ok().stdout, "");
    w.run(&["history"]).ok();
    w.run(&["show", "1"]).ok();
    w.run(&["history", "--state", "delivred"]).code(2).says("there is no state");
    assert!(!w.path("relay").exists(), "reading makes nothing");
}

#[test]
fn a_file_given_up_goes_to_errors_and_waiting_for_b_never_counts() {
    let w = World::local("[routes.r.retry]\ninitial_delay = \"50ms\"\ngive_up = \"400ms\"\n");
    fs::remove_dir(w.path("b")).unwrap();
    w.write("a/x.csv", "1");
    {
        let _relay = w.start();
        w.until("given up", || w.states() == ["failed"]);
    }
    assert!(w.read("relay/errors/r/x.csv.error.json").contains("given up after"));
    fs::create_dir(w.path("b")).unwrap();
    w.write("b/y.csv", "old");
    w.write("a/y.csv", "new");
    let _relay = w.start();
    w.until("waiting", || w.states().last().unwrap() == "waiting");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(w.states().last().unwrap(), "waiting");
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    let w = World::local("");
    for shell in ["bash", "zsh", "fish"] {
        w.run(&["completions", shell]).ok().says("confirm-delivered");
    }
    w.run(&["man"]).ok().says(".TH passerelle");
    w.run(&["--help"]).ok().says("Exit status");
    w.run(&["retry"]).code(2);
    w.run(&["nonsense"]).code(2);
}

#[test]
fn a_file_that_failed_at_its_delivery_is_retried_also_beside_a_running_relay() {
    for csv in ["", "[routes.r.input]\nformat = \"csv\"\n"] {
        let w = World::local(&format!("if_exists = \"fail\"\n{csv}"));
        w.write("b/x.csv", "old\n1\n");
        w.write("a/x.csv", "new\n1\n");
        w.once().code(1);
        fs::remove_file(w.path("b/x.csv")).unwrap();
        let mut relay = w.start();
        w.until("running", || w.json(&["status", "--json"])["routes"][0]["state"] == "watching");
        w.run(&["retry", "1"]).ok();
        w.until_file("b/x.csv");
        w.until("delivered", || w.states() == ["delivered"]);
        assert_eq!(relay.child.try_wait().unwrap(), None, "the relay goes on");
        relay.signal("TERM");
        relay.wait();
        assert_eq!(w.names("b"), ["x.csv"]);
    }
}

#[test]
fn a_fan_out_that_failed_at_one_destination_is_retried_there_alone() {
    let w = World::new(
        "[routes.r.source]\npath = \"a\"\nsettle = \"50ms\"\n[[routes.r.destination]]\npath = \"b\"\n[[routes.r.destination]]\npath = \"c\"\nif_exists = \"fail\"\n[routes.r.input]\nformat = \"csv\"\n",
    );
    w.write("c/x.csv", "old");
    w.write("a/x.csv", "x\n1\n");
    w.once().code(1);
    fs::remove_file(w.path("b/x.csv")).unwrap();
    fs::remove_file(w.path("c/x.csv")).unwrap();
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!((w.files("b").contains_key("x.csv"), w.read("c/x.csv")), (false, "x\n1\n".into()));
}

#[test]
fn with_more_waiting_than_are_held_at_once_a_single_run_ends() {
    let w = World::local("");
    fs::remove_dir(w.path("b")).unwrap();
    for i in 0..300 {
        w.write(&format!("a/{i}.txt"), "1");
    }
    w.once().code(3);
    w.once().code(3);
    assert_eq!(w.json(&["status", "--json"])["routes"][0]["waiting"], 300);
    fs::create_dir(w.path("b")).unwrap();
    w.once().ok();
    assert_eq!(w.names("b").len(), 300);
}

#[test]
fn a_source_that_is_not_mounted_condemns_no_waiting_file() {
    let w = World::local("");
    fs::remove_dir(w.path("b")).unwrap();
    w.write("a/x.csv", "1");
    w.once().code(3);
    fs::rename(w.path("a"), w.path("unmounted")).unwrap();
    fs::create_dir(w.path("b")).unwrap();
    w.once().code(3);
    assert!(w.states() != ["failed"], "{:?}", w.states());
    fs::rename(w.path("unmounted"), w.path("a")).unwrap();
    w.once().ok();
    assert_eq!((w.read("b/x.csv"), w.states()), ("1".into(), vec!["delivered".to_owned()]));
}

#[test]
fn attempts_and_duplicates_are_told_as_they_were() {
    let w = World::new(&World::route("r", "a", "b").replace("[routes.r.destination]", "duplicates = \"skip\"\n[routes.r.destination]"));
    w.write("b/x.csv", "old");
    w.write("a/x.csv", "1");
    w.once().code(3);
    assert_eq!(w.history()[0]["attempts"], 1);
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.once().ok();
    assert_eq!(w.history()[0]["attempts"], 2);
    w.write("a/x.csv", "1");
    w.once().ok().says("the same name and content as job 1");
    let second = &w.history()[1];
    assert_eq!(
        (second["state"].as_str(), second["reason"].as_str().unwrap().contains("job 1"), second["delivered_at"].is_null()),
        (Some("duplicate"), true, true)
    );
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.run(&["replay", "1"]).ok();
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "1", "a replay is no duplicate");
}

#[test]
fn a_kept_file_that_failed_is_retried_as_it_was_and_no_temporary_file_stays_at_b() {
    let w = World::new(
        &World::route("r", "a", "b")
            .replace("[routes.r.destination]", "on_success = \"keep\"\n[routes.r.destination]")
            .replace("path = \"b\"", "path = \"b\"\nif_exists = \"fail\""),
    );
    w.write("b/x.csv", "old");
    w.write("a/x.csv", "first");
    w.once().code(1);
    assert_eq!((w.names("b"), w.read("a/x.csv"), w.read("relay/errors/r/x.csv")), (vec!["x.csv".to_owned()], "first".into(), "first".into()));
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.write("a/x.csv", "second, longer");
    w.run(&["retry", "1"]).ok();
    w.run(&["pause", "r"]).ok();
    w.run(&["resume", "r"]).ok();
    w.once();
    assert!(w.read("b/x.csv") == "first" || w.states()[0] == "delivered", "{:?}", w.states());
    assert!(w.files("b").values().any(|b| b == b"first"));
}

#[test]
fn files_of_a_route_that_is_gone_are_counted_and_go_on_once_it_is_back() {
    let w = World::local("");
    fs::remove_dir(w.path("b")).unwrap();
    w.write("a/x", "1");
    w.once().code(3);
    w.config(&World::route("q", "c", "b").replace("[routes.q.source]", "[routes.q.source]\ncreate = true"));
    fs::create_dir(w.path("b")).unwrap();
    w.once().code(3).says("1 waiting");
    let status = w.json(&["status", "--json"]);
    let gone = status["routes"].as_array().unwrap().iter().find(|r| r["name"] == "r").unwrap().clone();
    assert_eq!((gone["waiting"].as_u64(), gone["state"].as_str()), (Some(1), Some("stopped")));
    assert!(gone["reason"].as_str().unwrap().contains("is not in the configuration"), "{gone}");
    w.run(&["retry", "1"]).code(2).says("its route r is not in the configuration");
    w.config(&World::route("r", "a", "b"));
    w.once().ok();
    assert_eq!(w.states(), ["delivered"]);
}

#[test]
fn operators_need_not_have_the_services_secrets_at_hand() {
    let w = World::new(&format!(
        "[endpoints.e]\nurl = \"sftp://u@b/in\"\npassword = \"${{env:PASSERELLE_NO_SECRET}}\"\n{}{}",
        World::route("r", "a", "b"),
        World::route("s", "c", "in").replace("[routes.s.destination]", "[routes.s.destination]\nendpoint = \"e\"")
    ));
    for command in [&["status", "--json"][..], &["history"], &["retry", "--all"], &["pause", "r"], &["resume", "r"]] {
        w.run(command).ok();
    }
    for command in [&["run", "--once"][..], &["config", "check"]] {
        w.run(command).code(2).says("the environment has no variable PASSERELLE_NO_SECRET");
    }
    // All else must be known.
    w.config(&format!("home = \"${{env:PASSERELLE_NO_HOME}}\"\n{}", World::route("r", "${env:PASSERELLE_NO_FOLDER}/a", "b")));
    w.run(&["status"]).code(2).says("PASSERELLE_NO_HOME").says("PASSERELLE_NO_FOLDER");
}

#[test]
fn an_export_function_that_fails_is_seen_in_the_status() {
    let w = World::new(
        &World::route("r", "a", "b")
            .replace("settle", "before = [\"/bin/false\"]\nsettle")
            .replace("[routes.r.source]", "[routes.r]\nevery = \"1s\"\n[routes.r.source]"),
    );
    let _relay = w.start();
    w.until_file("relay/journal.db");
    w.until("told", || {
        let route = w.json(&["status", "--json"])["routes"][0].clone();
        route["state"] == "blocked" && route["reason"].as_str().is_some_and(|r| r.contains("before") && r.contains("/bin/false"))
    });
    // Files that lie there are relayed all the same.
    w.write("a/x", "1");
    w.until_file("b/x");
}

#[test]
fn why_something_waits_is_told_after_a_single_run_too() {
    let w = World::new(
        &World::route("r", "a", "b")
            .replace("[routes.r.source]", "[routes.r]\non_error = \"halt\"\n[routes.r.source]")
            .replace("[routes.r.destination]", "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"x\"\n[routes.r.destination]"),
    );
    w.write("a/1.csv", "y\n1\n");
    w.write("a/2.csv", "x\n1\n");
    w.once().code(1);
    w.once().code(3);
    let route = w.json(&["status", "--json"])["routes"][0].clone();
    assert_eq!(route["waiting"], 1);
    assert!(route["reason"].as_str().is_some_and(|r| r.contains("on_error is \"halt\"")), "{route}");
}

#[test]
fn names_stand_in_json_as_they_are() {
    let w = World::local("");
    w.write("a/one\nline.csv", "1");
    w.write("a/back\\slash", "2");
    w.once().ok();
    let mut names: Vec<String> = w.history().iter().map(|j| j["file"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["back\\slash", "one\nline.csv"]);
    let shown = w.run(&["history"]).ok().stdout;
    assert!(shown.contains("one\\nline.csv"), "a terminal is told on one line: {shown}");
}

#[test]
fn a_home_that_is_changed_stays_whole_until_the_next_start() {
    let w = World::local("");
    let relay = w.start();
    w.until("it runs", || w.path("relay/journal.db").exists() && w.json(&["status", "--json"])["routes"][0]["state"] == "watching");
    w.config(&format!("home = \"other\"\n{}", World::route("r", "a", "b")));
    relay.signal("HUP");
    w.until("told", || w.read("relay.log").contains("home stays"));
    w.write("a/x", "1");
    w.until_file("b/x");
    w.until("archived", || !w.archived("r").is_empty());
    assert!(!w.path("other").exists());
}

#[test]
fn names_that_are_no_utf8_are_found_again_in_errors_and_in_the_archive() {
    use std::os::unix::ffi::OsStrExt;
    let name = |bytes: &'static [u8]| std::path::Path::new(std::ffi::OsStr::from_bytes(bytes));
    let w = World::local("[routes.r.input]\nformat = \"csv\"\ntypes = { n = \"integer\" }\n[routes.r]\nmax_rejects = 0\n");
    fs::write(w.path("a").join(name(b"caf\xe9.csv")), "n\nx\n").unwrap();
    fs::write(w.path("a").join(name(b"th\xe9.csv")), "n\n1\n").unwrap();
    w.once().code(1);
    for _ in 0..2 {
        w.once().ok();
        let states: Vec<String> = w.history().iter().map(|j| format!("{} {}", j["file"].as_str().unwrap(), j["state"].as_str().unwrap())).collect();
        assert_eq!(states, ["caf\\xe9.csv failed", "th\\xe9.csv delivered"]);
    }
    w.run(&["retry", "1"]).ok();
    w.once().code(1);
    w.run(&["replay", "2"]).ok();
    fs::remove_file(w.path("b").join(name(b"th\xe9.csv"))).unwrap();
    w.once().ok();
    assert_eq!(fs::read(w.path("b").join(name(b"th\xe9.csv"))).unwrap(), b"n\n1\n");
    // Dragged back, it is resubmitted.
    fs::write(w.path("relay/errors/r").join(name(b"caf\xe9.csv")), "n\n2\n").unwrap();
    fs::rename(w.path("relay/errors/r").join(name(b"caf\xe9.csv")), w.path("a").join(name(b"caf\xe9.csv"))).unwrap();
    w.once().ok();
    assert_eq!(w.history()[0]["state"], "resubmitted");
    assert!(w.names("relay/errors/r").is_empty());
}

#[test]
fn corrected_rejects_go_back_to_their_own_route_where_several_share_a_folder() {
    let route = |name: &str, include: &str, to: &str, more: &str| {
        format!(
            "[routes.{name}.source]\npath = \"a\"\ninclude = [\"{include}\"]\nsettle = \"20ms\"\n[routes.{name}.input]\nformat = \"csv\"\ndelimiter = \";\"\n{more}[routes.{name}.destination]\npath = \"{to}\"\n"
        )
    };
    let w = World::new(&(route("fourn", "fourn*.csv", "b", "") + &route("zclients", "clients*.csv", "b2", "types = { n = \"integer\" }\n")));
    for folder in ["a", "b", "b2"] {
        fs::create_dir_all(w.path(folder)).unwrap();
    }
    for name in ["clients1.csv.rejects.csv", "1_clients1.csv.rejects.csv"] {
        w.write("a/clients1.csv", "code;n\n1;x\n2;2\n");
        w.once();
        let rejects = w.names("relay/errors/zclients").pop().unwrap();
        w.write(&format!("a/{name}"), w.read(&format!("relay/errors/zclients/{rejects}")).replace("1;x", "1;7"));
        fs::remove_file(w.path(&format!("relay/errors/zclients/{rejects}"))).unwrap();
        w.once().ok();
        let job = w.history().pop().unwrap();
        assert_eq!((job["route"].as_str(), w.names("b").len()), (Some("zclients"), 0), "{name}: {job}");
        fs::remove_file(w.path("b2/clients1.csv")).unwrap();
    }
}

#[test]
fn a_route_of_every_so_often_is_looked_at_when_the_relay_starts() {
    let w = World::new("[routes.r]\nevery = \"1d\"\n[routes.r.source]\npath = \"a\"\nsettle = \"20ms\"\n[routes.r.destination]\npath = \"b\"\n");
    for folder in ["a", "b"] {
        fs::create_dir_all(w.path(folder)).unwrap();
    }
    w.write("a/x.csv", "1");
    let _relay = w.start();
    w.until_file("b/x.csv");
}

#[test]
fn nothing_that_is_dragged_back_takes_the_place_of_another() {
    let w = mapped();
    w.config(&w.read("passerelle.toml").replace("settle", "include = [\"z*.csv\"]\nsettle").replace("path = \"b\"", "path = \"b\"\nif_exists = \"rename\""));
    for n in 1..3 {
        w.write("a/z.csv", format!("y\n{n}\n"));
        w.once().code(1);
    }
    w.write("relay/errors/r/z.csv", "x\nfirst\n");
    w.write("relay/errors/r/2_z.csv", "x\nsecond\n");
    let _relay = w.start();
    w.write("a/z0.csv", "x\nbefore\n");
    w.until_file("b/z0.csv");
    fs::remove_file(w.path("b/z0.csv")).unwrap();
    fs::rename(w.path("relay/errors/r/2_z.csv"), w.path("a/2_z.csv")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::rename(w.path("relay/errors/r/z.csv"), w.path("a/z.csv")).unwrap();
    w.until("all is recorded", || w.states() == ["resubmitted", "resubmitted", "delivered", "delivered", "delivered"]);
    let mut came: Vec<String> = w.files("b").into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    came.sort();
    assert_eq!((came, w.names("b")), (vec!["x\nfirst\n".into(), "x\nsecond\n".into()], vec!["z-1.csv".to_owned(), "z.csv".into()]));
}

#[test]
fn of_files_that_stay_in_the_source_one_put_back_is_taken_anew_and_one_deleted_from_errors_is_removed() {
    let w = mapped();
    let text = w.read("passerelle.toml").replace("settle", "on_success = \"keep\"\nsettle");
    w.config(&text);
    w.write("a/f.csv", "y\n1\n");
    w.write("a/g.csv", "y\n2\n");
    w.once().code(1);
    w.config(&text.replace("x = \"x\"", "x = \"y\""));
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::rename(w.path("relay/errors/r/f.csv"), w.path("a/f.csv")).unwrap();
    fs::remove_file(w.path("relay/errors/r/g.csv")).unwrap();
    for _ in 0..2 {
        w.once().ok();
    }
    assert_eq!((w.states(), w.names("b")), (vec!["resubmitted".into(), "removed".into(), "delivered".into()], vec!["f.csv".to_owned()]));
    // Only what was relayed is relayed once more.
    w.write("a/f.csv", "y\nother\n");
    w.run(&["replay", "3"]).code(2).says("is another one now");
}

#[test]
fn a_home_that_was_moved_keeps_its_failed_and_its_archived_files() {
    let w = mapped();
    w.write("a/f.csv", "x\n1\n");
    w.once().ok();
    w.write("a/g.csv", "y\n1\n");
    w.once().code(1);
    fs::rename(w.path("relay"), w.path("elsewhere")).unwrap();
    w.config(&format!("home = \"elsewhere\"\n{}", w.read("passerelle.toml")));
    w.once().ok();
    assert_eq!(w.states(), ["delivered", "failed"]);
    fs::remove_file(w.path("b/f.csv")).unwrap();
    w.run(&["replay", "1"]).ok();
    w.run(&["retry", "2"]).ok();
    w.once().code(1);
    assert_eq!((w.states(), w.names("b")), (vec!["delivered".into(), "failed".into(), "delivered".into()], vec!["f.csv".to_owned()]));
    assert!(w.path("elsewhere/errors/r/g.csv").exists());
}

#[test]
fn files_that_are_too_small_or_do_not_match_their_digest_are_counted() {
    let w = World::local("");
    w.config(&w.read("passerelle.toml").replace("settle", "min_size = \"5B\"\nchecksum_file = \"{name}.md5\"\nsettle"));
    for (name, bytes) in [("small", "1"), ("wrong", "12345")] {
        w.write(&format!("a/{name}"), bytes);
        w.write(&format!("a/{name}.md5"), "d41d8cd98f00b204e9800998ecf8427f");
    }
    w.once().code(3).says("1 waiting");
    let route = &w.json(&["status", "--json"])["routes"][0];
    assert_eq!((&route["passed_over"], &route["waiting"]), (&1.into(), &1.into()), "{route}");
    assert!(route["reason"].as_str().unwrap().contains("its digest is"), "{route}");
}

#[test]
fn a_duplicate_is_known_as_one_after_the_journal_was_lost() {
    for compress in ["none", "zstd"] {
        let w =
            World::new(&format!("[archive]\ncompress = \"{compress}\"\n{}", World::route("r", "a", "b").replace("settle", "duplicates = \"skip\"\nsettle")));
        w.write("a/x.csv", "1");
        w.once().ok();
        fs::remove_file(w.path("b/x.csv")).unwrap();
        for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            let _ = fs::remove_file(w.path("relay").join(file));
        }
        w.write("a/x.csv", "1");
        w.once().ok();
        assert_eq!((w.names("b"), w.states()), (vec![], vec!["delivered".to_owned(), "duplicate".into()]), "{compress}");
        w.write("a/x.csv", "2");
        w.once().ok();
        assert_eq!(w.names("b"), ["x.csv"]);
    }
}

#[test]
fn a_failed_file_with_the_longest_name_is_found_again_after_the_journal_was_lost() {
    for length in [240, 244, 250] {
        let w = mapped();
        let name = format!("{}.csv", "n".repeat(length));
        w.write(&format!("a/{name}"), "y\n1\n");
        w.once().code(1);
        for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            let _ = fs::remove_file(w.path("relay").join(file));
        }
        w.config(&w.read("passerelle.toml").replace("x = \"x\"", "x = \"y\""));
        w.once().ok();
        w.run(&["retry", "--all"]).ok();
        w.once().ok();
        assert_eq!(w.files("b").into_values().collect::<Vec<_>>(), [b"x\n1\n".to_vec()], "{length}");
    }
}
