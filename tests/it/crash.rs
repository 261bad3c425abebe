//! kill -9 on the way to errors, and a journal that is gone: nothing is lost, nothing comes twice. (`torture` has the rest.)

use std::fs;

use crate::world::World;

#[test]
fn a_failing_file_survives_a_kill_on_its_way_to_errors() {
    for point in ["kill=before:failing", "kill=after:failing", "kill=before:failed", "kill=after:failed"] {
        let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"missing\"\n");
        w.write("a/x.csv", "x\n1\n");
        assert_eq!(w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", point)]).code, -1, "{point}");
        w.once();
        assert_eq!((w.states(), w.names("relay/errors/r")), (vec!["failed".to_owned()], vec!["x.csv".to_owned(), "x.csv.error.json".to_owned()]), "{point}");
    }
}

#[test]
fn a_lost_journal_loses_no_file_and_numbers_go_on() {
    let w = World::local("");
    w.write("a/x.csv", "1");
    w.once().ok();
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.write("a/y.csv", "2");
    w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "kill=before:sealed")]);
    for part in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(w.path("relay").join(part));
    }
    w.write("a/z.csv", "3");
    w.once().ok().says("the journal did not know");
    assert_eq!(w.names("b"), ["y.csv", "z.csv"]);
    assert_eq!(w.archived("r"), ["1_x.csv", "2_y.csv", "3_z.csv"]);
}

#[test]
fn a_folder_that_is_another_one_after_a_cut_rename_says_nothing_of_it() {
    let cut = || {
        let w = World::local("");
        w.write("a/x.csv", "1");
        assert_eq!(w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", "kill=after:publishing")]).code, -1);
        w
    };
    // The same folder: the temporary file that stands there is published.
    let w = cut();
    w.once().ok();
    assert_eq!((w.states(), w.names("b")), (vec!["delivered".to_owned()], vec!["x.csv".to_owned()]));
    // Somebody has made it anew. Whether B has the file can't be known from there.
    let w = cut();
    fs::rename(w.path("b"), w.path("away")).unwrap();
    fs::create_dir(w.path("b")).unwrap();
    w.once().code(1).says("was made anew").says("passerelle retry 1");
    assert_eq!((w.states(), w.archived("r")), (vec!["unconfirmed".to_owned()], Vec::<String>::new()));
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!((w.names("b"), w.archived("r")), (vec!["x.csv".to_owned()], vec!["1_x.csv".to_owned()]));
    // The configuration names another one.
    let w = cut();
    fs::create_dir(w.path("c")).unwrap();
    w.config(&World::route("r", "a", "c"));
    w.once().code(1).says("which is not the destination any more");
    assert_eq!((w.states(), w.names("c")), (vec!["unconfirmed".to_owned()], Vec::<String>::new()));
}

#[test]
fn claimed_files_of_subfolders_go_on_to_their_subfolders_when_the_journal_is_lost() {
    let w = World::new("[routes.r.source]\npath = \"a\"\nsettle = \"20ms\"\nrecursive = true\n[routes.r.destination]\npath = \"b\"\nif_exists = \"replace\"\n");
    for site in ["siteA", "siteB/nord"] {
        fs::create_dir_all(w.path(&format!("a/{site}"))).unwrap();
        w.write(&format!("a/{site}/clients.csv"), site);
    }
    w.write("a/clients.csv", "top");
    // B's share is not mounted.
    fs::remove_dir(w.path("b")).unwrap();
    w.once().code(3);
    for part in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(w.path(&format!("relay/{part}")));
    }
    fs::create_dir_all(w.path("b")).unwrap();
    w.once().ok();
    for (file, text) in [("siteA/clients.csv", "siteA"), ("siteB/nord/clients.csv", "siteB/nord"), ("clients.csv", "top")] {
        assert_eq!(w.read(&format!("b/{file}")), text);
        assert!(w.history().iter().any(|j| j["file"] == file && j["state"] == "delivered"), "{file}");
    }
}
