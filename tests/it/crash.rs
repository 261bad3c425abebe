//! kill -9 before and after the commit of every fact, then a restart: everything is delivered once, nothing is lost.

use std::collections::BTreeMap;

use crate::servers::{Sshd, Vsftpd};
use crate::world::World;

const POINTS: &[&str] = &[
    "after:claiming",
    "after:claimed",
    "before:sealed",
    "after:sealed",
    "before:transformed",
    "after:transformed",
    "before:uploaded",
    "after:uploaded",
    "before:publishing",
    "after:publishing",
    "before:published",
    "after:published",
    "before:archived",
    "after:archived",
];

/// A world, and how to look at what B has.
type Place = (World, Box<dyn Fn(&World) -> BTreeMap<String, Vec<u8>>>);

fn kill_everywhere(make: &dyn Fn() -> Place, input: &str, output: &str) {
    for point in POINTS {
        let (w, b) = make();
        let written: BTreeMap<String, Vec<u8>> = (0..3).map(|i| (format!("{i}.csv"), format!("{input}{i}\n").into_bytes())).collect();
        written.iter().for_each(|(n, c)| w.write(&format!("a/{n}"), c));
        let killed = w.run_with(&["run", "--once"], &[("PASSERELLE_CRASH_AT", point)]);
        assert_eq!(killed.code, -1, "{point} was not reached: {}", killed.stderr);
        // A second crash, in recovery or wherever it comes, changes nothing.
        w.run_with(&["run", "--once"], &[("PASSERELLE_CRASH_AT", point)]);
        w.once().ok();
        let wanted: BTreeMap<String, Vec<u8>> = (0..3).map(|i| (format!("{i}.csv"), format!("{output}{i}\n").into_bytes())).collect();
        assert_eq!(b(&w), wanted, "{point}");
        w.assert_nothing_lost(&written);
        assert!(w.states().iter().all(|s| s == "delivered"), "{point}: {:?}", w.states());
        assert!(w.names("relay/work").is_empty(), "{point}: {:?}", w.names("relay/work"));
    }
}

#[test]
fn raw_files_survive_a_kill_at_every_fact() {
    kill_everywhere(&|| (World::local(""), Box::new(|w: &World| w.files("b"))), "x\n", "x\n");
}

#[test]
fn transformed_files_survive_a_kill_at_every_fact() {
    let more = "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n";
    kill_everywhere(&|| (World::local(more), Box::new(|w: &World| w.files("b"))), "x\n", "y\n");
}

#[test]
fn replacing_files_survives_a_kill_at_every_fact() {
    kill_everywhere(&|| (World::local("if_exists = \"replace\"\n"), Box::new(|w: &World| w.files("b"))), "x\n", "x\n");
}

#[test]
fn sftp_survives_a_kill_at_every_fact() {
    kill_everywhere(
        &|| {
            let server = Sshd::start();
            let w = World::new(&format!("{}{}endpoint = \"b\"\n", server.endpoint("b"), World::route("r", "a", "")));
            (w, Box::new(move |_| server.files()))
        },
        "x\n",
        "x\n",
    );
}

#[test]
fn ftp_survives_a_kill_at_every_fact() {
    kill_everywhere(
        &|| {
            let server = Vsftpd::start("");
            let w = World::new(&format!("{}{}endpoint = \"b\"\n", server.endpoint("b", "ftp"), World::route("r", "a", "")));
            (w, Box::new(move |_| server.files()))
        },
        "x\n",
        "x\n",
    );
}

#[test]
fn a_failing_file_survives_a_kill_on_its_way_to_errors() {
    for point in ["before:failing", "after:failing", "before:failed", "after:failed"] {
        let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"missing\"\n");
        w.write("a/x.csv", "x\n1\n");
        assert_eq!(w.run_with(&["run", "--once"], &[("PASSERELLE_CRASH_AT", point)]).code, -1, "{point}");
        w.once();
        assert_eq!((w.states(), w.names("relay/errors/r")), (vec!["failed".to_owned()], vec!["x.csv".to_owned(), "x.csv.error.json".to_owned()]), "{point}");
    }
}

#[test]
fn a_lost_journal_loses_no_file_and_numbers_go_on() {
    let w = World::local("");
    w.write("a/x.csv", "1");
    w.once().ok();
    std::fs::remove_file(w.path("b/x.csv")).unwrap();
    w.write("a/y.csv", "2");
    w.run_with(&["run", "--once"], &[("PASSERELLE_CRASH_AT", "after:claimed")]);
    for part in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(w.path("relay").join(part));
    }
    w.write("a/z.csv", "3");
    w.once().ok().says("the journal did not know");
    assert_eq!(w.names("b"), ["y.csv", "z.csv"]);
    assert_eq!(w.archived("r"), ["1_x.csv", "2_y.csv", "3_z.csv"]);
}
