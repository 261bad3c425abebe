//! B: names and paths. (B1, B4: `relay`; B2: `ftp`.)

use std::fs;
use std::os::unix::fs::symlink;

use crate::world::World;

#[test]
fn b3_a_name_of_250_bytes_fits_under_a_shorter_temporary_name() {
    let w = World::local("");
    let name = format!("{}.csv", "é".repeat(123));
    assert_eq!(name.len(), 250);
    w.write(&format!("a/{name}"), "1");
    // The claimed name carries a number too, which is two bytes here.
    w.once().ok();
    assert_eq!(w.names("b"), [name]);
}

#[test]
fn b5_a_folder_of_the_relay_that_becomes_a_link_is_never_followed() {
    for folder in ["a/.passerelle", "relay/work", "relay/archive/r"] {
        let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\ny = \"x\"\n");
        w.write("a/first.csv", "x\n1\n");
        w.once().ok();
        let _relay = w.start();
        w.until("it runs", || w.path("relay.log").exists() && w.json(&["status", "--json"])["routes"][0]["state"] == "watching");
        let elsewhere = w.path("elsewhere");
        fs::rename(w.path(folder), &elsewhere).unwrap();
        symlink(&elsewhere, w.path(folder)).unwrap();
        let before = w.names("elsewhere");
        w.write("a/second.csv", "x\n2\n");
        w.until("it is told", || w.read("relay.log").contains("become a link"));
        assert_eq!(w.names("elsewhere"), before, "{folder}");
        fs::remove_file(w.path(folder)).unwrap();
        fs::rename(&elsewhere, w.path(folder)).unwrap();
        w.until_file("b/second.csv");
        w.until("archived", || w.states() == ["delivered", "delivered"]);
    }
}

#[test]
fn b6_a_template_that_leads_out_of_the_folder_is_refused_by_its_name() {
    for name in ["../{name}", "/tmp/{name}", "..", ".", "x/{name}"] {
        let w = World::local(&format!("[routes.r.output]\nname = \"{name}\"\n"));
        w.write("a/x.csv", "1");
        w.once().code(2).says("output.name").says("passerelle.toml:");
        assert!(w.names("b").is_empty() && w.names("a") == ["x.csv"]);
    }
    World::local("temp_name = \"../{name}.{id}\"\n").run(&["config", "check"]).code(2).says("temp_name");
    // What only a file's own facts show is that file's error.
    let w = World::local("[routes.r.output]\nname = \"{date:%Y/%m}_{name}\"\n");
    w.write("a/x.csv", "1");
    w.once().code(1).says("output.name").says("x.csv");
    assert!(w.names("b").is_empty() && w.names("relay/errors/r") == ["x.csv", "x.csv.error.json"]);
}

#[test]
fn b7_two_routes_to_one_name_wait_for_each_other_and_never_mix() {
    let w = World::new(&format!("{}{}", World::route("r", "a", "b"), World::route("s", "c", "b").replace("settle", "create = true\nsettle")));
    w.write("a/x.csv", "from a");
    w.write("c/x.csv", "from c");
    w.once().code(3).says("x.csv");
    let first = w.read("b/x.csv");
    fs::remove_file(w.path("b/x.csv")).unwrap();
    w.once().ok();
    let mut both = [first, w.read("b/x.csv")];
    both.sort();
    assert_eq!(both, ["from a", "from c"]);
}

#[test]
fn b2_a_line_break_in_a_name_never_reaches_an_ftp_server() {
    let s = crate::servers::Vsftpd::start("");
    let w = World::new(&format!(
        "{}[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\nendpoint = \"b\"\npath = \"\"\n",
        s.endpoint("b", "ftp")
    ));
    w.write("a/x\r\nDELE victim.csv", "1");
    w.write("a/y.csv", "2");
    fs::write(s.dir.path().join("root/in/victim.csv"), "still here").unwrap();
    let out = w.once();
    assert_ne!(out.code, 0);
    out.says("holds a line end, which FTP can't carry").says("DELE victim.csv");
    let at_b = s.files();
    assert!(at_b.contains_key("victim.csv") && at_b.contains_key("y.csv") && at_b.len() == 2, "{at_b:?}");
}
