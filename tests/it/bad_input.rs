//! What is wrong with a file ends in a message that names file, line or step, cause and remedy; nothing is lost.

use std::fs;

use crate::world::World;

const MAP: &str = "[routes.r.map]\nnom = \"Nom\"\nsolde = \"Solde\"\n";

fn csv(keys: &str, rest: &str) -> World {
    World::local(&format!("[routes.r.input]\nformat = \"csv\"\ndelimiter = \";\"\n{keys}{MAP}{rest}"))
}

/// The note of the only failed file.
fn note(w: &World) -> serde_json::Value {
    assert_eq!(w.states(), ["failed"]);
    serde_json::from_str(&w.read("relay/errors/r/x.csv.error.json")).unwrap()
}

#[test]
fn whole_files_that_are_wrong_say_why_and_what_to_do() {
    for (what, bytes, error, hint) in [
        ("another format", &b"%PDF-1.7 zip\n"[..], "the file has no column Nom, Solde", "input.delimiter"),
        ("a damaged archive", b"PK\x03\x04 zip\n", "the zip archive can't be read", "whole"),
        ("no header", b"Dupont;12\nDurand;13\n", "the file has no column Nom, Solde", "the columns are"),
        ("wrong encoding in the header", b"Nom;Solde;Cr\xe9\nA;1;2\n", "0xE9, which is not utf-8", "windows-1252"),
        ("a quote that is never closed", b"Nom;Solde\nA;1\nB;\"2\nC;3\n", "never closed", "input.quote"),
        ("blank lines only", b"\n\n", "no header", "input.columns"),
    ] {
        let w = csv("", "");
        w.write("a/x.csv", bytes);
        w.once().code(1);
        let note = note(&w);
        let text = note["error"].as_str().unwrap();
        assert!(text.contains(error) && text.contains("x.csv"), "{what}: {text}");
        assert!(note["hint"].as_str().unwrap().contains(hint), "{what}: {}", note["hint"]);
        assert_eq!(w.files("relay/errors/r")["x.csv"], bytes, "{what}: the original is untouched");
        assert!(w.names("b").is_empty(), "{what}");
    }
}

#[test]
fn the_line_of_a_wrong_file_is_named() {
    let w = csv("", "");
    w.write("a/x.csv", "Nom;Solde\nA;1\nB;\"2\nC;3\n");
    w.once().code(1);
    assert!(note(&w)["error"].as_str().unwrap().starts_with("x.csv:3: transform: "), "{}", note(&w)["error"]);
}

#[test]
fn bad_records_are_diverted_with_line_field_and_reason_and_the_others_go_on() {
    let w = csv("decimal = \",\"\ntypes = { Solde = \"decimal\" }\n", "[routes.r.output]\nencoding = \"cp850\"\n");
    w.write("a/x.csv", b"Nom;Solde;Plus\nA;1,50;x\nB;douze;x\nC;1;x;y\nD\n=cmd;x;\nE\xff;2;x\n\xe2\x82\xac;3;x\n\"q\"r;1;x\nF;-4,25;x\n");
    w.once().ok().says("7 records rejected");
    assert_eq!(w.read("b/x.csv"), "nom,solde\nA,1.50\nF,-4.25\n");
    let rejects = w.read("relay/errors/r/x.csv.rejects.csv");
    let lines: Vec<&str> = rejects.lines().collect();
    assert_eq!(lines[0], "\u{feff}_line;_field;_reason;Nom;Solde;Plus");
    for (line, start, words) in [
        (1, "3;Solde;", "is not a number"),
        (2, "4;;", "4 fields instead of 3"),
        (3, "5;;", "1 fields instead of 3"),
        (4, "6;Solde;", "\"'=cmd\""),
        (5, "7;;", "0xFF"),
        (6, "8;nom;", "U+20AC"),
        (7, "9;;", "closing quote"),
    ] {
        assert!(lines[line].starts_with(start) && lines[line].contains(words), "{}", lines[line]);
    }
    let records = &w.history()[0]["records"];
    assert_eq!((records["read"].as_u64(), records["written"].as_u64(), records["rejected"].as_u64()), (Some(9), Some(2), Some(7)));
}

#[test]
fn too_many_rejects_or_one_with_fail_fail_the_file() {
    let bytes = "Nom;Solde\nA;1\nB;x\nC;y\nD;4\n";
    for (keys, code) in [("max_rejects = 2", 0), ("max_rejects = 1", 1), ("max_rejects = \"50%\"", 0), ("max_rejects = \"49%\"", 1), ("rejects = \"fail\"", 1)]
    {
        let w = csv("types = { Solde = \"decimal\" }\n", "");
        w.config(&format!("[routes.r]\n{keys}\n{}", w.read("passerelle.toml")));
        w.write("a/x.csv", bytes);
        w.once().code(code);
        if code == 1 {
            let error = note(&w)["error"].as_str().unwrap().to_owned();
            let told = ["x.csv", "Solde", "is not a number"].iter().all(|what| error.contains(what));
            assert!(told && (error.contains("line 3") || error.contains(":3:") || error.contains(":4:")), "{keys}: {error}");
            assert_eq!(w.files("relay/errors/r")["x.csv"], bytes.as_bytes());
        }
    }
}

#[test]
fn repeated_and_nameless_columns_are_told_apart() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\na = \"tb\"\nb = \"tb_2\"\nc = \"column3\"\n");
    w.write("a/x.csv", "tb,tb,\n1,2,3\n");
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "a,b,c\n1,2,3\n");
}

#[test]
fn rules_for_bs_fields_reject_records() {
    let w = csv(
        "",
        "[routes.r.output]\nfields = { nom = { required = true, max_length = 3, unique = true, pattern = \"^[A-Z]+$\" }, solde = { one_of = [\"1\", \"2\"] } }\n",
    );
    w.write("a/x.csv", "Nom;Solde\nA;1\n;1\nABCD;1\nA;2\nab;1\nB;3\nC;2\n");
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "nom,solde\nA,1\nC,2\n");
    let rejects = w.read("relay/errors/r/x.csv.rejects.csv");
    for words in ["B requires it", "has 4 characters, and B takes 3", "B wants it unique", "does not match", "is none of 1, 2"] {
        assert!(rejects.contains(words), "{words}: {rejects}");
    }
}

#[test]
fn a_name_that_is_too_long_fails_the_file() {
    let w = World::local("[routes.r.output]\nname = \"{stem}-{stem}.csv\"\n");
    w.write(&format!("a/{}.csv", "x".repeat(200)), "1");
    w.once().code(1).says("longer than 255 bytes");
    assert_eq!(w.states(), ["failed"]);
}

#[test]
fn a_full_disk_at_b_makes_the_file_wait_and_is_named() {
    let w = World::local("");
    // /dev/full can't be renamed into place, but a quota of file size is as hard as a full disk and needs no root.
    w.write("a/x.bin", vec![1; 3_000_000]);
    let out = std::process::Command::new("sh")
        .arg("-c")
        .arg("ulimit -f 2000; trap '' XFSZ; exec \"$0\" run --once")
        .arg(env!("CARGO_BIN_EXE_passerelle"))
        .current_dir(w.dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "{text}");
    assert!(text.contains("can't write") && text.contains("File too large"), "{text}");
    w.once().ok();
    assert_eq!(w.files("b")["x.bin"].len(), 3_000_000);
}

/// Root may read every file: the relay runs as another user, whose these paths are.
fn as_user(w: &World, paths: &[&str], args: &[&str]) -> std::process::Command {
    let mut command = w.command();
    if rustix::process::getuid().is_root() {
        for path in paths {
            let _ = std::os::unix::fs::chown(w.path(path), Some(65534), Some(65534));
        }
        let binary = command.get_program().to_owned();
        command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
        command.current_dir(w.dir.path()).env_remove("STATE_DIRECTORY");
    }
    command.args(args).stdin(std::process::Stdio::null());
    command
}

#[test]
fn a_subfolder_that_can_not_be_read_keeps_no_file_from_being_taken() {
    use std::os::unix::fs::PermissionsExt;
    let w = World::local("");
    w.config(&w.read("passerelle.toml").replace("settle", "recursive = true\nsettle"));
    w.write("a/f.csv", "1");
    w.write("a/s/g.csv", "2");
    fs::create_dir(w.path("a/lost+found")).unwrap();
    fs::set_permissions(w.path("a/lost+found"), fs::Permissions::from_mode(0o000)).unwrap();
    let once = as_user(&w, &[".", "a", "a/s", "b", "a/f.csv", "a/s/g.csv"], &["run", "--once"]).output().unwrap();
    let status = as_user(&w, &[], &["status", "--json"]).output().unwrap().stdout;
    let route = serde_json::from_slice::<serde_json::Value>(&status).unwrap()["routes"][0].clone();
    assert!(route["waiting"] == 1 && route["reason"].as_str().is_some_and(|why| why.contains("lost+found")), "{route}");
    fs::set_permissions(w.path("a/lost+found"), fs::Permissions::from_mode(0o755)).unwrap();
    let said = String::from_utf8_lossy(&once.stderr);
    assert!(once.status.code() == Some(3) && said.contains("lost+found") && said.contains("1 waiting"), "{said}");
    assert_eq!(w.files("b").into_keys().collect::<Vec<_>>(), ["f.csv", "s/g.csv"]);
}

#[test]
fn a_file_that_can_not_be_read_is_told_waits_and_keeps_no_other_from_being_taken() {
    use std::os::unix::fs::PermissionsExt;
    let w = World::local("");
    w.write("a/x.csv", "1");
    w.write("a/y.csv", "2");
    fs::set_permissions(w.path("a/x.csv"), fs::Permissions::from_mode(0o000)).unwrap();
    let as_user = |args: &[&str]| as_user(&w, &[".", "a", "b", "a/x.csv", "a/y.csv"], args);
    let once = as_user(&["run", "--once"]).output().unwrap();
    let said = String::from_utf8_lossy(&once.stderr);
    assert!(once.status.code() == Some(3) && said.contains("x.csv: Permission denied") && said.contains("1 waiting"), "{said}");
    assert_eq!(w.names("b"), ["y.csv"]);
    let mut relay = as_user(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    w.until("told by status", || {
        let status = as_user(&["status", "--json"]).output().unwrap().stdout;
        let route = serde_json::from_slice::<serde_json::Value>(&status).unwrap()["routes"][0].clone();
        route["waiting"] == 1 && route["reason"].as_str().is_some_and(|r| r.contains("x.csv"))
    });
    relay.kill().unwrap();
    relay.wait().unwrap();
    fs::set_permissions(w.path("a/x.csv"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(as_user(&["run", "--once"]).status().unwrap().success());
    assert_eq!(w.names("b"), ["x.csv", "y.csv"]);
}

#[test]
fn an_unreadable_source_blocks_the_route_and_says_so() {
    let w = World::local("");
    fs::remove_dir(w.path("a")).unwrap();
    w.once().code(3).says("can't read the folder").says("create = true");
    w.write("a", "a file where a folder should be");
    w.once().code(3).says("can't read the folder");
}

#[test]
fn json_that_is_not_json_fails_or_is_diverted() {
    let w = World::local("[routes.r.input]\nformat = \"json\"\n[routes.r.map]\nx = \"x\"\n");
    w.write("a/x.csv", "[{\"x\": 1}, {\"x\": 2}");
    w.once().code(1);
    assert!(note(&w)["error"].as_str().unwrap().contains("the file ends"), "{}", note(&w)["error"]);
    let w = World::local("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.map]\nx = \"x\"\n");
    w.write("a/x.ndjson", "{\"x\": 1}\n{\"x\": \n{\"x\": 3}\n");
    w.once().ok();
    assert_eq!(w.read("b/x.ndjson"), "{\"x\":1}\n{\"x\":3}\n");
    assert!(w.read("relay/errors/r/x.ndjson.rejects.csv").contains("_line;_field;_reason;_raw"));
}

#[test]
fn a_code_table_that_is_missing_makes_the_file_wait_and_an_unknown_code_rejects_its_record() {
    let w = csv("", "[lookups.pays]\nfile = \"pays.csv\"\nkey = \"code\"\nvalue = \"iso\"\n");
    w.config(&w.read("passerelle.toml").replace("nom = \"Nom\"", "nom = \"Nom | lookup('pays')\""));
    w.write("a/x.csv", "Nom;Solde\nFRA;1\nXXX;2\n");
    w.once().code(3).says("pays.csv").says("lookups.pays.file");
    w.write("pays.csv", "code,iso\nFRA,FR\n");
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "nom,solde\nFR,1\n");
    assert!(w.read("relay/errors/r/x.csv.rejects.csv").contains("is not in the lookup pays"));
}

#[test]
fn transform_alone_needs_no_folders_and_fails_loudly() {
    let w = csv("types = { Solde = \"decimal\" }\n", "");
    fs::remove_dir(w.path("a")).unwrap();
    w.write("1.csv", "Nom;Solde\nA;1\nB;x\n");
    w.write("2.csv", "Solde;Nom\n2;C\n");
    let out = w.run(&["transform", "r", "1.csv", "2.csv"]).ok().says("line 3: Solde");
    assert_eq!(out.stdout, "nom,solde\nA,1\nC,2\n");
    w.run(&["transform", "r", "1.csv", "-o", "out.csv", "--rejects", "rejects.csv"]).ok();
    assert_eq!((w.read("out.csv"), w.read("rejects.csv").lines().count()), ("nom,solde\nA,1\n".into(), 2));
    w.write("3.csv", "Nom\nA\n");
    w.run(&["transform", "r", "3.csv", "-o", "out.csv"]).code(1).says("3.csv").says("no column Solde");
    assert_eq!(w.read("out.csv"), "nom,solde\nA,1\n", "a failed run leaves the old output");
    w.write("empty.csv", "");
    assert_eq!(w.run(&["transform", "r", "empty.csv"]).ok().stdout, "nom,solde\n");
    w.run(&["transform", "q", "1.csv"]).code(2).says("there is no route q");
    w.run(&["transform", "r", "missing.csv"]).code(1).says("missing.csv");
    assert!(!w.path("relay").exists());
}

#[test]
fn nested_records_without_a_map_go_as_they_are() {
    for (from, to, wanted) in
        [("json", "json", "[\n{\"a\":1,\"o\":{\"p\":\"x\"}},\n{\"a\":2.50}\n]\n"), ("json", "ndjson", "{\"a\":1,\"o\":{\"p\":\"x\"}}\n{\"a\":2.50}\n")]
    {
        let w =
            World::local(&format!("[routes.r.input]\nformat = \"{from}\"\n[routes.r.output]\nformat = \"{to}\"\nfields = {{ a = {{ required = true }} }}\n"));
        w.write("x.json", "[{\"a\": 1, \"o\": {\"p\": \"x\"}}, {\"a\": 2.50}, {\"b\": 1}]");
        let out = w.run(&["transform", "r", "x.json"]).ok().says("line 1: a: it is empty");
        assert_eq!(out.stdout, wanted);
    }
    let w = World::local("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.output]\nformat = \"csv\"\n");
    w.write("x.ndjson", "{\"a\":1\n{\"a\":2}\n{\"a\":3}\n");
    assert_eq!(w.run(&["transform", "r", "x.ndjson"]).ok().stdout, "a\n2\n3\n");
}

#[test]
fn a_named_line_ending_is_the_only_one_in_any_encoding() {
    for (ending, encoding, bytes) in
        [("§", "windows-1252", &b"a,b\xa71,x\ny\xa72,z\xa7"[..]), ("\\r\\n", "utf-8", b"a,b\r\n1,x\ny\r\n2,z\r\n"), ("\\n", "utf-8", b"a,b\n1,x\ry\n2,z\n")]
    {
        let w = World::local(&format!(
            "[routes.r.input]\nformat = \"csv\"\nline_ending = \"{ending}\"\nencoding = \"{encoding}\"\nquote = \"\"\n[routes.r.output]\nformat = \"ndjson\"\n"
        ));
        w.write("x.csv", bytes);
        let out = w.run(&["transform", "r", "x.csv"]).ok().stdout;
        assert_eq!((out.lines().count(), out.contains("\"2\"")), (2, true), "{ending}: {out}");
    }
}

#[test]
fn a_code_table_has_types_of_its_own() {
    let w = csv("", "[lookups.prix]\nfile = \"prix.csv\"\ndelimiter = \";\"\ndecimal = \",\"\ntypes = { v = \"decimal\" }\nkey = \"k\"\nvalue = \"v\"\n");
    w.config(&w.read("passerelle.toml").replace("nom = \"Nom\"", "nom = \"(Nom | lookup('prix')) * 2\""));
    w.write("prix.csv", "k;v\nA;2,50\n");
    w.write("x.csv", "Nom;Solde\nA;1\n");
    assert_eq!(w.run(&["transform", "r", "x.csv"]).ok().stdout, "nom,solde\n5.00,1\n");
}

#[test]
fn lines_of_json_end_as_told_and_escapes_survive_a_round_trip() {
    let w = World::local("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.output]\nformat = \"ndjson\"\nline_ending = \"\\r\\n\"\n");
    w.write("x", "{\"a\":1}\r{\"a\":\"x\\ny\"}\r\n{\"a\":3}");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "{\"a\":1}\r\n{\"a\":\"x\\ny\"}\r\n{\"a\":3}\r\n");
    let escape = "format = \"csv\"\nescape = \"\\\\\"\n";
    let w = World::local(&format!(
        "[routes.r.input]\nformat = \"ndjson\"\n[routes.r.output]\n{escape}\n[routes.s.source]\npath = \"c\"\n[routes.s.destination]\npath = \"d\"\n[routes.s.input]\n{escape}\n[routes.s.output]\nformat = \"ndjson\"\n"
    ));
    let records = "{\"a\":\"C:\\\\temp\",\"b\":\"x\\\\\"}\n{\"a\":\"q\\\"q\",\"b\":\"\"}\n";
    w.write("x", records);
    w.run(&["transform", "r", "x", "-o", "y"]).ok();
    assert_eq!(w.run(&["transform", "s", "y"]).ok().stdout, records);
}
