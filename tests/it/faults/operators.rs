//! H: people, and several relays. I: configurations (`config`). K: secrets.

use std::fs;

use crate::servers::Sshd;
use crate::world::World;

#[test]
fn h3_a_claimed_file_that_somebody_removes_is_told_as_vanished() {
    let w = World::local("");
    w.write("a/x.csv", "1");
    w.write("b/x.csv", "not taken yet");
    w.once().code(3);
    fs::remove_file(w.path("a/.passerelle/1_x.csv")).unwrap();
    fs::remove_file(w.path("b/x.csv")).unwrap();
    let out = w.once();
    assert!(!out.stderr.contains("panicked"), "{}", out.stderr);
    // What was sent and verified before is B's: only the original is gone.
    out.ok().says("delivered, and not archived").says("is gone: somebody removed it");
    assert_eq!((w.read("b/x.csv"), w.states(), w.names("relay/errors")), ("1".into(), vec!["delivered".to_owned()], vec![]));
    // Before anything was sent, the file can't be delivered.
    let w = World::new(&World::route("r", "a", "later"));
    w.write("a/x.csv", "1");
    w.once().code(3);
    fs::remove_file(w.path("a/.passerelle/1_x.csv")).unwrap();
    fs::create_dir(w.path("later")).unwrap();
    w.once().code(1).says("is gone: somebody removed it").says("export the file again");
}

#[test]
fn a_marker_of_a_failed_file_is_dragged_back_with_it() {
    let w = World::new(
        &format!("{}[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"x | integer\"\n", World::route("r", "a", "b"))
            .replace("[routes.r.destination]", "done_file = \"{stem}.ok\"\n[routes.r.destination]")
            .replace("[routes.r.source]", "[routes.r]\nrejects = \"fail\"\n[routes.r.source]"),
    );
    fs::create_dir_all(w.path("b")).unwrap();
    w.write("a/k.csv", "x\nz\n");
    w.write("a/k.ok", "");
    w.once().code(1);
    assert_eq!(w.names("relay/errors/r"), ["k.csv", "k.csv.error.json", "k.ok"]);
    // A retry takes both; so does who drags them back.
    w.run(&["retry", "1"]).ok();
    w.once().code(1);
    fs::remove_file(w.path("relay/errors/r/k.csv")).unwrap();
    w.write("a/k.csv", "x\n1\n");
    fs::rename(w.path("relay/errors/r/k.ok"), w.path("a/k.ok")).unwrap();
    w.once().ok();
    assert_eq!((w.states(), w.names("relay/errors/r")), (vec!["resubmitted".to_owned(), "delivered".to_owned()], vec![]));
}

#[test]
fn what_is_written_into_a_claimed_file_while_it_waits_is_told_and_no_half_is_delivered() {
    let w = World::local("");
    w.write("a/x.csv", "half");
    w.write("b/x.csv", "not taken yet");
    w.once().code(3);
    w.write("a/.passerelle/1_x.csv", "half and the rest");
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.once().code(1).says("somebody has written into the claimed file since it was sealed");
    assert!(!w.path("b/x.csv").exists());
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "half and the rest");
}

#[test]
fn what_was_made_and_is_gone_from_work_is_made_again_by_a_retry() {
    let w = World::new(&format!("{}[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"x\"\n", World::route("r", "a", "later")));
    w.write("a/x.csv", "x\n1\n");
    w.once().code(3);
    fs::remove_dir_all(w.path("relay/work/1")).unwrap();
    fs::create_dir(w.path("later")).unwrap();
    w.once().code(1).says("retry makes it again");
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!(w.read("later/x.csv"), "x\n1\n");
}

#[test]
fn h4_a_retry_asked_for_by_many_at_once_runs_once() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n");
    w.write("a/x.csv", "z\n1\n");
    w.once().code(1);
    w.write("relay/errors/r/x.csv", "x\n1\n");
    let _relay = w.start();
    w.until("it runs", || w.json(&["status", "--json"])["routes"][0]["state"] == "watching");
    let codes: Vec<i32> =
        std::thread::scope(|s| (0..6).map(|_| s.spawn(|| w.run(&["retry", "1"]).code)).collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).collect());
    assert!(codes.contains(&0), "{codes:?}");
    w.until_file("b/x.csv");
    w.until("delivered", || w.states() == ["delivered"]);
    let steps = w.json(&["show", "1", "--json"]);
    let published = steps["steps"].as_array().unwrap().iter().filter(|s| s["step"] == "published").count();
    assert_eq!((published, w.archived("r")), (1, vec!["1_x.csv".to_owned()]));
}

#[test]
fn h7_a_clock_set_back_or_forward_between_two_starts_changes_nothing() {
    let w = World::local("");
    let binary = w.command().get_program().to_owned();
    for (i, clock) in ["+0d", "-300d", "+300d", "+0d"].iter().enumerate() {
        w.write(&format!("a/{i}.csv"), i.to_string());
        let out = std::process::Command::new("faketime")
            .args(["--exclude-monotonic", "-f", clock])
            .arg(&binary)
            .args(["run", "--once"])
            .current_dir(w.dir.path())
            .env("PASSERELLE_LOG", "warn")
            .output()
            .unwrap();
        assert!(out.status.success(), "{clock}: {}", String::from_utf8_lossy(&out.stderr));
    }
    assert_eq!(w.names("b"), ["0.csv", "1.csv", "2.csv", "3.csv"]);
    assert_eq!(w.states(), ["delivered"; 4]);
}

#[test]
fn h8_a_poison_file_holds_its_strict_route_until_an_operator_decides() {
    let w = World::local("on_error = \"halt\"\n[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n".replace("on_error = \"halt\"\n", "").as_str());
    let config = fs::read_to_string(w.path("passerelle.toml")).unwrap();
    w.config(&format!("[routes.r]\non_error = \"halt\"\n{config}"));
    w.write("a/1.csv", "z\n1\n");
    w.once().code(1);
    w.write("a/2.csv", "x\n2\n");
    w.once().code(3);
    assert!(w.names("b").is_empty());
    fs::remove_file(w.path("relay/errors/r/1.csv")).unwrap();
    w.once().ok();
    assert_eq!(w.names("b"), ["2.csv"]);
}

#[test]
fn k1_a_secret_is_in_no_log_journal_note_or_command_line() {
    const CANARY: &str = "c4n4ry-Secr3t";
    let s = Sshd::start();
    let endpoint = s.endpoint("b").replace("identity_file", &format!("password = \"{CANARY}\"\n#"));
    let w = World::new(&format!("{endpoint}[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\nendpoint = \"b\"\npath = \"\"\n"));
    fs::set_permissions(w.path("passerelle.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    w.write("a/x.csv", "1");
    let mut said = String::new();
    for args in [&["run", "--once"][..], &["config", "show"], &["status"], &["status", "--json"], &["history", "--json"], &["show", "1", "--json"]] {
        let out = w.run_with(args, &[("PASSERELLE_LOG", "trace")]);
        said.push_str(&out.stdout);
        said.push_str(&out.stderr);
    }
    assert!(said.contains("login") || said.contains("password"), "the login was tried: {said}");
    assert!(!said.contains(CANARY), "{said}");
    for (name, bytes) in w.files("relay") {
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "relay/{name} holds the secret");
    }
}
