//! ProFTPD and Apache as B and as A: other servers than those that the other tests have, with their defaults.

use std::fs;

use crate::servers::Ca;
use crate::servers::others::{Apache, ProFtpd, Rclone};
use crate::world::World;

/// A policy, its exit status, and what B has then: names and contents.
type Policy = (&'static str, i32, &'static [(&'static str, &'static str)]);

const POLICIES: [Policy; 4] =
    [("wait", 3, &[("x", "old")]), ("replace", 0, &[("x", "new")]), ("rename", 0, &[("x", "old"), ("x-1", "new")]), ("fail", 1, &[("x", "old")])];

/// Files there and back, each policy, and a check, whatever the server is.
fn speaks(endpoint: &str, destination: &str, folder: &std::path::Path) {
    let w = World::new(&format!("{endpoint}{}endpoint = \"b\"\n{destination}", World::route("r", "a", "")));
    w.run(&["check"]).ok().says("everything works");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 253) as u8).chain(*b"\r\n\n\r").collect();
    w.write("a/x.bin", &bytes);
    w.write("a/é b.txt", "accents");
    for i in 0..20 {
        w.write(&format!("a/{i:02}.csv"), format!("content {i}"));
    }
    w.once().ok();
    let back = World::new(&format!(
        "{endpoint}[routes.back.source]\nendpoint = \"b\"\nsettle = \"0s\"\non_success = \"delete\"\n[routes.back.destination]\npath = \"c\"\n"
    ));
    fs::create_dir(back.path("c")).unwrap();
    back.once().ok();
    let came = back.files("c");
    assert_eq!(
        (came.len(), came["x.bin"] == bytes, came["é b.txt"].as_slice(), came["07.csv"].as_slice()),
        (22, true, b"accents".as_slice(), b"content 7".as_slice())
    );
    assert!(fs::read_dir(folder).unwrap().next().is_none(), "deleted there");
    for (policy, code, b) in POLICIES {
        let w = World::new(&format!("{endpoint}{}endpoint = \"b\"\n{destination}if_exists = \"{policy}\"\n", World::route("r", "a", "")));
        fs::write(folder.join("x"), "old").unwrap();
        w.write("a/x", "new");
        w.once().code(code);
        let mut found: Vec<(String, String)> = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_file() && !name.ends_with(".part") {
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
            fs::remove_file(&path).unwrap();
        }
        found.sort();
        assert_eq!(found, b.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect::<Vec<_>>(), "{policy}");
    }
}

#[test]
fn proftpd_s_ftps_takes_files_under_every_policy_and_gives_them_back() {
    let ca = Ca::new();
    let server = ProFtpd::tls(&ca, "");
    speaks(&format!("{}{}", server.endpoint("b", "ftps"), ca.ca_file()), "verify = \"hash\"\n", &server.dir.path().join("in"));
    let log = fs::read_to_string(server.dir.path().join("system.log")).unwrap_or_default();
    assert!(!log.contains("session reuse required"), "{log}");
}

#[test]
fn proftpd_s_sftp_takes_files_under_every_policy_and_gives_them_back() {
    let server = ProFtpd::sftp("");
    speaks(&server.endpoint("b", "sftp"), "verify = \"hash\"\n", &server.dir.path().join("in"));
    let wrong = World::new(&format!("{}{}endpoint = \"b\"\n", server.endpoint("b", "sftp").replace("secret", "wrong"), World::route("r", "a", "")));
    wrong.run(&["check"]).code(3).says("the login of user was refused");
    assert!(server.files().is_empty());
}

#[test]
fn apache_s_webdav_takes_files_under_every_policy_and_gives_them_back() {
    let server = Apache::start();
    let folder = server.dir.path().join("www/dav");
    speaks(&server.endpoint("b", "publish = \"move\"\n"), "", &folder);
    assert!(server.files().is_empty());
    // A folder that is not there is told as one, and made where that is allowed.
    let endpoint = server.endpoint("b", "publish = \"move\"\n").replace("/dav/", "/dav/new/");
    let w = World::new(&format!("{endpoint}{}endpoint = \"b\"\n", World::route("r", "a", "")));
    w.write("a/x", "1");
    w.once().code(3).says("does not exist");
    w.config(&format!("{}create = true\n", w.read("passerelle.toml")));
    w.once().ok();
    assert_eq!(fs::read(folder.join("new/x")).unwrap(), b"1");
}

#[test]
fn a_server_that_takes_writes_in_order_alone_gets_large_files_also_after_a_kill() {
    let server = Rclone::sftp();
    let bytes: Vec<u8> = (0..36_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let route = format!("{}endpoint = \"b\"\npath = \"\"\n", World::route("r", "a", "x").replace("path = \"x\"\n", ""));
    let w = World::new(&format!("{}{route}", server.endpoint("b")));
    w.write("a/x", &bytes);
    w.once().ok();
    assert!(server.files()["x"] == bytes && server.files().len() == 1);
    w.write("a/y", &bytes);
    w.config(&w.read("passerelle.toml").replace("[endpoints.b]\n", "[endpoints.b]\nlimit_rate = \"20MB\"\nconnections = 1\n"));
    let mut relay = w.start();
    w.until("sending", || server.files().iter().any(|(n, b)| n.ends_with(".part") && b.len() > 12_000_000));
    relay.signal("KILL");
    relay.wait();
    w.config(&w.read("passerelle.toml").replace("limit_rate = \"20MB\"\n", ""));
    w.once().ok();
    let there: Vec<(String, usize)> = server.files().into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
    assert_eq!(there, [("x".to_owned(), bytes.len()), ("y".to_owned(), bytes.len())]);
}
