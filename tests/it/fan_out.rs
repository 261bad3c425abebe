//! Several destinations of one route: what stops at one keeps the file from no other.

use std::fs;

use crate::http::scripted;
use crate::world::World;

const HEAD: &str = "[routes.r.source]\npath = \"a\"\nsettle = \"50ms\"\n";

fn two(first: &str, second: &str, more: &str) -> World {
    let w = World::new(&format!("{more}{HEAD}[[routes.r.destination]]\n{first}[[routes.r.destination]]\n{second}"));
    fs::create_dir(w.path("c")).unwrap();
    w
}

#[test]
fn a_destination_that_refuses_a_file_denies_it_to_no_other() {
    for (first, second) in [("c", "b"), ("b", "c")] {
        let fails = |folder: &str| format!("path = \"{folder}\"\n{}", if folder == "c" { "if_exists = \"fail\"\n" } else { "" });
        let w = two(&fails(first), &fails(second), "");
        w.write("c/x.csv", "old");
        w.write("a/x.csv", "new");
        w.once().code(1).says("is there already");
        assert_eq!((w.states(), w.names("b")), (vec!["failed".to_owned()], vec!["x.csv".to_owned()]), "{first} first");
        let job = &w.history()[0];
        assert!(job["reason"].as_str().unwrap().contains("c/x.csv is there already"), "{job}");
        let states: Vec<&str> = job["deliveries"].as_array().unwrap().iter().map(|d| d["state"].as_str().unwrap()).collect();
        assert_eq!(states.contains(&"published"), states.contains(&"given_up"), "{states:?}");
        // Nothing is left under a temporary name, and a retry sends it there alone.
        assert_eq!(w.names("c"), ["x.csv"]);
        assert_eq!(fs::read_dir(w.path("c")).unwrap().count(), 1);
        fs::remove_file(w.path("b/x.csv")).unwrap();
        fs::remove_file(w.path("c/x.csv")).unwrap();
        w.run(&["retry", "1"]).ok();
        w.once().ok();
        assert_eq!((w.states(), w.names("b"), w.names("c")), (vec!["delivered".to_owned()], vec![], vec!["x.csv".to_owned()]), "{first} first");
    }
}

#[test]
fn a_destination_in_doubt_keeps_the_file_from_no_other_and_its_question_is_asked_at_the_end() {
    for word in ["confirm-delivered", "retry"] {
        let (port, seen) = scripted(vec![None, Some("200 OK")]);
        let endpoint = format!("[endpoints.api]\nurl = \"http://127.0.0.1:{port}/import\"\nmethod = \"POST\"\n");
        let w = two("endpoint = \"api\"\npath = \"\"\n", "path = \"b\"\n", &endpoint);
        w.write("a/x", "1");
        w.once().code(1).says("confirm-delivered");
        assert_eq!((w.states(), w.names("b")), (vec!["unconfirmed".to_owned()], vec!["x".to_owned()]));
        fs::remove_file(w.path("b/x")).unwrap();
        w.run(&[word, "1"]).ok();
        w.once().ok();
        let posts = seen.lock().unwrap().len();
        assert_eq!((w.states(), w.names("b"), posts), (vec!["delivered".to_owned()], vec![], if word == "retry" { 2 } else { 1 }), "{word}");
    }
}

#[test]
fn of_a_doubt_and_a_refusal_the_doubt_is_asked_first() {
    let (port, seen) = scripted(vec![None]);
    let endpoint = format!("[endpoints.api]\nurl = \"http://127.0.0.1:{port}/import\"\nmethod = \"POST\"\n");
    let w = two("endpoint = \"api\"\npath = \"\"\n", "path = \"c\"\nif_exists = \"fail\"\n", &endpoint);
    w.write("c/x", "old");
    w.write("a/x", "1");
    w.once().code(1);
    assert_eq!(w.states(), ["unconfirmed"]);
    w.run(&["confirm-delivered", "1"]).ok();
    w.once().code(1).says("is there already");
    assert_eq!(w.states(), ["failed"]);
    fs::remove_file(w.path("c/x")).unwrap();
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!((w.states(), w.read("c/x"), seen.lock().unwrap().len()), (vec!["delivered".to_owned()], "1".into(), 1));
}

#[test]
fn a_destination_that_stays_away_is_given_up_by_itself() {
    let w = two("path = \"gone\"\n", "path = \"b\"\n", "");
    w.config(&format!("{}[routes.r.retry]\ninitial_delay = \"50ms\"\nmax_delay = \"100ms\"\ngive_up = \"300ms\"\n", w.read("passerelle.toml")));
    w.write("a/x", "1");
    let _relay = w.start();
    w.until("failed", || w.states() == ["failed"]);
    assert_eq!(w.names("b"), ["x"]);
    w.until("noted", || w.names("relay/errors/r").len() == 2);
    w.run(&["retry", "1"]).ok();
    fs::create_dir(w.path("gone")).unwrap();
    w.until("delivered", || w.states() == ["delivered"]);
    assert_eq!(w.names("gone"), ["x"]);
}

#[test]
fn where_failures_halt_a_route_nothing_overtakes_a_file_that_one_destination_refuses() {
    let w = two("path = \"c\"\nif_exists = \"fail\"\n", "path = \"b\"\n", "");
    w.config(&w.read("passerelle.toml").replace("[routes.r.source]", "[routes.r]\non_error = \"halt\"\n[routes.r.source]"));
    w.write("c/1", "old");
    w.write("a/1", "1");
    w.write("a/2", "2");
    w.once().code(1);
    // The second one is sent, and waits under its temporary name.
    let published = |folder: &str| w.names(folder).into_iter().filter(|n| !n.starts_with('.')).collect::<Vec<_>>();
    assert_eq!((published("b"), published("c")), (vec!["1".to_owned()], vec!["1".to_owned()]));
    fs::remove_file(w.path("c/1")).unwrap();
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!((w.names("b"), w.names("c")), (vec!["1".to_owned(), "2".to_owned()], vec!["1".to_owned(), "2".to_owned()]));
}

#[test]
fn one_destination_that_has_it_hides_not_why_another_one_waits() {
    for (first, second) in [("missing", "b"), ("b", "missing")] {
        let w = World::new(&format!(
            "[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[[routes.r.destination]]\npath = \"{first}\"\n[[routes.r.destination]]\npath = \"{second}\"\n"
        ));
        fs::create_dir_all(w.path("a")).unwrap();
        fs::create_dir_all(w.path("b")).unwrap();
        w.write("a/x.csv", "1");
        w.once().code(3);
        let job = &w.history()[0];
        assert_eq!((job["state"].as_str(), w.read("b/x.csv")), (Some("waiting"), "1".into()), "{first}");
        assert!(job["reason"].as_str().is_some_and(|r| r.contains("missing")), "{job}");
        w.once().code(3);
        fs::create_dir(w.path("missing")).unwrap();
        w.once().ok();
        assert_eq!((w.states(), w.read("missing/x.csv")), (vec!["delivered".to_owned()], "1".into()));
        assert!(w.history()[0]["reason"].is_null(), "{}", w.history()[0]);
    }
}

#[test]
fn a_job_that_waits_for_a_destination_that_was_taken_out_says_so() {
    let both = format!(
        "{}[[routes.r.destination]]\npath = \"b\"\n[[routes.r.destination]]\npath = \"c\"\n",
        World::route("r", "a", "b").split("[routes.r.destination]").next().unwrap()
    );
    let w = World::new(&both);
    w.write("a/x", "1");
    w.once().code(3);
    w.config(&World::route("r", "a", "b"));
    w.once().code(3).says("has no destination 2 (");
    std::fs::create_dir(w.path("c")).unwrap();
    w.config(&both);
    w.once().ok();
    assert_eq!((w.states(), w.names("c")), (vec!["delivered".to_owned()], vec!["x".to_owned()]));
}

#[test]
fn destinations_in_another_order_get_nothing_that_is_another_s() {
    let w = two("path = \"b\"\n", "path = \"c\"\n", "");
    w.write("b/x.csv", "old");
    w.write("a/x.csv", "new");
    w.once().code(3);
    let seen = |folder: &str| w.names(folder).into_iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>();
    let there = |folder: &str| format!("[[routes.r.destination]]\npath = \"{folder}\"\n");
    let paths = |w: &World| w.history()[0]["deliveries"].as_array().unwrap().iter().map(|d| d["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let before = paths(&w);
    fs::remove_file(w.path("b/x.csv")).unwrap();
    fs::remove_file(w.path("c/x.csv")).unwrap();
    fs::create_dir(w.path("d")).unwrap();
    for other in [["c", "b"].as_slice(), &["c"], &["d", "b", "c"]] {
        w.config(&format!("{HEAD}{}", other.iter().map(|f| there(f)).collect::<String>()));
        w.once().code(3).says("put the destinations back as they were");
        assert_eq!((seen("b"), seen("c"), seen("d"), paths(&w)), (vec![], vec![], vec![], before.clone()), "{other:?}");
    }
    // A path that was wrong may be corrected.
    w.config(&format!("{HEAD}{}{}", there("d"), there("c")));
    w.once().ok();
    assert_eq!((seen("b"), seen("c"), seen("d")), (vec![], vec![], vec!["x.csv".to_owned()]));
}

#[test]
fn what_was_published_is_not_sent_again_where_all_was_moved() {
    let w = two("path = \"b\"\n", "path = \"c\"\nif_exists = \"fail\"\n", "");
    w.write("c/x.csv", "old");
    w.write("a/x.csv", "new");
    w.once().code(1);
    for folder in ["b", "c"] {
        fs::remove_file(w.path(folder).join("x.csv")).unwrap();
    }
    fs::create_dir(w.path("moved")).unwrap();
    for name in ["a", "b", "c", "relay", "passerelle.toml"] {
        fs::rename(w.path(name), w.path("moved").join(name)).unwrap();
    }
    for args in [["-c", "moved/passerelle.toml", "retry", "1"].as_slice(), &["-c", "moved/passerelle.toml", "run", "--once"]] {
        w.run(args).ok();
    }
    assert_eq!((w.names("moved/b"), w.names("moved/c")), (vec![], vec!["x.csv".to_owned()]));
}

#[test]
fn why_a_job_waits_for_a_destination_that_was_taken_out_is_seen() {
    let w = two("path = \"b\"\n", "path = \"c\"\n", "");
    w.write("c/x.csv", "old");
    w.write("a/x.csv", "new");
    w.once().code(3);
    w.config(&format!("{HEAD}[[routes.r.destination]]\npath = \"b\"\n"));
    w.once().code(3);
    assert!(w.history()[0]["reason"].as_str().unwrap().contains("has no destination 2"), "{}", w.history()[0]);
}
