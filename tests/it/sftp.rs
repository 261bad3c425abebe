//! OpenSSH as B: delivery, policies, host keys, logins, outages.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::servers::{Sshd, free_port};
use crate::world::World;

fn world(server: &Sshd, destination: &str) -> World {
    World::new(&format!(
        "{}[routes.r.retry]\ninitial_delay = \"100ms\"\nmax_delay = \"300ms\"\n{}endpoint = \"b\"\n{destination}",
        server.endpoint("b"),
        World::route("r", "a", "")
    ))
}

#[test]
fn large_and_many_files_arrive_whole_under_their_final_names_only() {
    let server = Sshd::start();
    let w = world(&server, "verify = \"hash\"\nmode = \"0604\"\n");
    let large: Vec<u8> = (0..9_000_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    w.write("a/large.bin", &large);
    for i in 0..40 {
        w.write(&format!("a/{i}.txt"), format!("content {i}"));
    }
    w.once().ok();
    let b = server.files();
    assert_eq!((b.len(), b["large.bin"] == large, b["7.txt"].clone()), (41, true, b"content 7".to_vec()));
    assert_eq!(fs::metadata(server.dir.path().join("in/7.txt")).unwrap().permissions().mode() & 0o777, 0o604);
}

#[test]
fn the_policies_for_an_existing_name_hold_with_and_without_posix_rename() {
    for sftp in ["", "-P posix-rename"] {
        for (policy, code, b) in [
            ("wait", 3, vec![("x", "old")]),
            ("replace", 0, vec![("x", "new")]),
            ("rename", 0, vec![("x", "old"), ("x-1", "new")]),
            ("fail", 1, vec![("x", "old")]),
        ] {
            let server = Sshd::with("", sftp);
            let w = world(&server, &format!("if_exists = \"{policy}\"\n"));
            fs::write(server.dir.path().join("in/x"), "old").unwrap();
            w.write("a/x", "new");
            w.once().code(code);
            let found: Vec<(String, String)> =
                server.files().into_iter().filter(|(n, _)| !n.ends_with(".part")).map(|(n, c)| (n, String::from_utf8(c).unwrap())).collect();
            let wanted: Vec<(String, String)> = b.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
            assert_eq!(found, wanted, "{policy} {sftp}");
        }
    }
}

#[test]
fn servers_without_extensions_take_files_too() {
    let server = Sshd::with("", "-P posix-rename,fsync,limits,statvfs,fstatvfs,hardlink,lsetstat,expand-path,copy-data,home-directory");
    let w = world(&server, "");
    w.write("a/x", "1");
    w.once().ok();
    assert_eq!(server.files()["x"], b"1");
}

#[test]
fn an_unknown_host_key_is_refused_until_it_is_trusted() {
    let server = Sshd::start();
    let w = world(&server, "");
    fs::remove_file(server.dir.path().join("known_hosts")).unwrap();
    w.write("a/x", "1");
    w.once().code(3).says("is unknown").says("passerelle trust b");
    w.run(&["trust", "b"]).code(2).says("nobody is there to ask").says("--fingerprint SHA256:");
    w.run(&["trust", "b", "--fingerprint", "SHA256:wrong"]).code(3).says("not SHA256:wrong");
    let shown = w.run(&["trust", "b"]).stdout;
    let fingerprint = shown.split_whitespace().find(|t| t.starts_with("SHA256:")).unwrap().to_owned();
    let keygen = std::process::Command::new("ssh-keygen").arg("-lf").arg(server.dir.path().join("host.pub")).output().unwrap();
    assert!(String::from_utf8_lossy(&keygen.stdout).contains(&fingerprint), "as OpenSSH shows it");
    w.run(&["trust", "b", "--fingerprint", &fingerprint]).ok();
    w.once().ok();
    assert_eq!(server.files().len(), 1);
    assert!(w.names("relay/errors").is_empty());
}

#[test]
fn a_changed_or_revoked_host_key_is_refused_with_both_fingerprints() {
    let server = Sshd::start();
    let w = world(&server, "");
    let known = server.dir.path().join("known_hosts");
    let other = fs::read_to_string(server.dir.path().join("other.pub")).unwrap();
    fs::write(&known, format!("[127.0.0.1]:{} {other}", server.port)).unwrap();
    w.write("a/x", "1");
    let out = w.once().code(3).says("has changed");
    assert!(out.stderr.matches("SHA256:").count() >= 2, "{}", out.stderr);
    w.run(&["trust", "b"]).code(2).says("has changed");
    fs::write(&known, format!("@revoked * {}{}", fs::read_to_string(server.dir.path().join("host.pub")).unwrap(), server.known_hosts_line())).unwrap();
    w.once().code(3).says("is revoked");
    assert!(server.files().is_empty());
}

#[test]
fn a_hashed_known_hosts_file_is_understood() {
    let server = Sshd::start();
    let w = world(&server, "");
    assert!(std::process::Command::new("ssh-keygen").arg("-H").arg("-f").arg(server.dir.path().join("known_hosts")).output().unwrap().status.success());
    w.write("a/x", "1");
    w.once().ok();
}

#[test]
fn a_refused_login_a_closed_port_and_a_missing_folder_wait_and_say_so() {
    let server = Sshd::start();
    let w = world(&server, "");
    let text = w.read("passerelle.toml");
    w.write("a/x", "1");
    w.config(&text.replace("/user\"", "/other\""));
    w.once().code(3).says("login").says("was refused").says("check user, key and password");
    w.config(&text.replace(&format!(":{}", server.port), &format!(":{}", free_port())));
    w.once().code(3).says("refuses the connection").says("check the port");
    w.config(&text.replace("path = \"\"", "path = \"nowhere\""));
    w.once().code(3).says("nowhere does not exist").says("create = true");
    w.config(&text.replace("127.0.0.1:", "does-not-exist.invalid:"));
    w.once().code(3).says("is not known");
    w.config(&text.replace("identity_file", "passphrase = \"x\"\nidentity_file").replace("/user\"", "/missing\""));
    w.once().code(2).says("`identity_file`: there is no ");
    assert!(w.names("relay/errors").is_empty(), "an endpoint's trouble condemns no file");
    w.config(&text);
    w.once().ok();
    assert_eq!(server.files()["x"], b"1");
}

#[test]
fn an_outage_makes_files_wait_in_order_and_they_follow_by_themselves() {
    let mut server = Sshd::start();
    let w = world(&server, "");
    server.stop();
    for i in 0..5 {
        w.write(&format!("a/{i}.txt"), i.to_string());
        std::thread::sleep(std::time::Duration::from_millis(15));
    }
    let _relay = w.start();
    w.until("down", || w.json(&["status", "--json"])["endpoints"][0]["state"] == "down");
    server.restart();
    w.until("all delivered", || server.files().len() == 5 && w.states() == ["delivered"; 5]);
    w.until("up", || w.json(&["status", "--json"])["endpoints"][0]["state"] == "up");
}

#[test]
fn create_makes_the_folder_and_recursive_makes_those_below() {
    let server = Sshd::start();
    let w = world(&server, "create = true\n");
    w.config(&w.read("passerelle.toml").replace("path = \"\"", "path = \"deep/er\"").replace("settle =", "recursive = true\nsettle ="));
    w.write("a/sub/x", "1");
    w.once().ok();
    assert_eq!(fs::read(server.dir.path().join("in/deep/er/sub/x")).unwrap(), b"1");
}

#[test]
fn names_of_any_bytes_arrive_over_sftp() {
    use std::os::unix::ffi::OsStrExt;
    let server = Sshd::start();
    let w = world(&server, "");
    for name in [&b"a b"[..], b"-x", "é".as_bytes(), b"caf\xe9", b"a\nb", b"%41#"] {
        fs::write(w.path("a").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    w.once().ok();
    for name in [&b"a b"[..], b"-x", "é".as_bytes(), b"caf\xe9", b"a\nb", b"%41#"] {
        assert_eq!(fs::read(server.dir.path().join("in").join(std::ffi::OsStr::from_bytes(name))).unwrap(), name);
    }
}

#[test]
fn b_s_import_function_runs_at_the_server_and_no_name_is_more_than_a_name() {
    use std::os::unix::ffi::OsStrExt;
    let server = Sshd::start();
    let d = server.dir.path().display();
    fs::create_dir(server.dir.path().join("imported")).unwrap();
    let w = world(&server, &format!("after_remote = [\"cp\", \"--\", \"{{path}}\", \"{d}/imported/{{stem}}\"]\n"));
    let hostile = [&b"'; touch pwned; '"[..], b"$(touch pwned)", b"`touch pwned`", b"-rf", b"a\nb", b"caf\xe9", b"a b & c | d > e", "é\"\\*?".as_bytes()];
    for name in hostile {
        fs::write(w.path("a").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    w.once().ok();
    for name in hostile {
        assert_eq!(fs::read(server.dir.path().join("imported").join(std::ffi::OsStr::from_bytes(name))).unwrap(), name);
    }
    assert_eq!(fs::read_dir(server.dir.path().join("imported")).unwrap().count(), hostile.len());
}

#[test]
fn a_remote_command_that_fails_or_is_not_allowed_is_told_and_decides_nothing() {
    for (options, command, told) in [
        ("", "[\"sh\", \"-c\", \"echo no room >&2; exit 3\"]", "status 3: no room"),
        ("MaxSessions 1", "[\"true\"]", "lets this user run no command beside SFTP"),
    ] {
        let server = Sshd::with(options, "");
        let w = world(&server, &format!("after_remote = {command}\n"));
        w.write("a/x.csv", "1");
        w.write("a/y.csv", "2");
        w.once().ok().says(told);
        assert_eq!(server.files().len(), 2);
    }
    let w = World::local("after_remote = [\"true\"]\n");
    w.run(&["config", "check"]).code(2).says("needs an sftp:// endpoint");
}

#[test]
fn a_server_that_takes_each_file_at_once_gets_each_once() {
    let server = Sshd::start();
    let w = world(&server, "");
    let taken = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (folder, seen, done) = (server.dir.path().join("in"), taken.clone(), stop.clone());
    let consumer = std::thread::spawn(move || {
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            for entry in fs::read_dir(&folder).unwrap().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') {
                    let content = fs::read_to_string(entry.path()).unwrap();
                    fs::remove_file(entry.path()).unwrap();
                    seen.lock().unwrap().push((name, content));
                }
            }
        }
    });
    for i in 0..100 {
        w.write(&format!("a/{i:03}"), format!("whole {i}"));
    }
    w.once().ok();
    std::thread::sleep(std::time::Duration::from_millis(200));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    consumer.join().unwrap();
    let mut taken = taken.lock().unwrap().clone();
    taken.sort();
    assert_eq!(taken, (0..100).map(|i| (format!("{i:03}"), format!("whole {i}"))).collect::<Vec<_>>());
}

#[test]
fn a_limited_rate_is_kept() {
    let server = Sshd::start();
    let w = world(&server, "");
    w.config(&w.read("passerelle.toml").replace("[endpoints.b]\n", "[endpoints.b]\nlimit_rate = \"1MB\"\n"));
    w.write("a/x", vec![7; 2_000_000]);
    let start = std::time::Instant::now();
    w.once().ok();
    assert!(start.elapsed() >= std::time::Duration::from_millis(1800), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_refuses_renames_or_writes_is_told_and_condemns_no_file() {
    let server = Sshd::with("", "-P rename,posix-rename");
    let w = world(&server, "");
    w.write("a/x", "1");
    w.once().code(3).says("can't rename");
    assert_eq!(w.states(), ["waiting"]);
    let readonly = Sshd::with("", "-R");
    let w = world(&readonly, "");
    w.write("a/x", "1");
    w.once().code(3).says("can't create").says("Permission denied");
    assert!(w.names("relay/errors").is_empty());
}

#[test]
fn a_relay_that_waits_for_a_host_key_goes_on_when_it_is_trusted() {
    let server = Sshd::start();
    let w = world(&server, "");
    fs::remove_file(server.dir.path().join("known_hosts")).unwrap();
    w.write("a/x", "1");
    let _relay = w.start();
    w.until("waiting", || w.states() == ["waiting"]);
    let shown = w.run(&["trust", "b"]).stdout;
    let fingerprint = shown.split_whitespace().find(|t| t.starts_with("SHA256:")).unwrap().to_owned();
    w.run(&["trust", "b", "--fingerprint", &fingerprint]).ok();
    w.until("delivered", || w.states() == ["delivered"]);
}

#[test]
fn a_stop_in_the_middle_of_an_upload_takes_seconds_and_the_file_follows_later() {
    let server = Sshd::start();
    let w = world(&server, "");
    let text = w.read("passerelle.toml");
    w.config(&text.replace("[endpoints.b]\n", "[endpoints.b]\nlimit_rate = \"200KB\"\n"));
    w.write("a/x", vec![7; 20_000_000]);
    let mut relay = w.start();
    w.until("sending", || server.files().iter().any(|(n, b)| n.ends_with(".part") && !b.is_empty()));
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(0), "within 10 s");
    assert!(!server.files().contains_key("x"));
    w.config(&text);
    w.once().ok();
    assert!(server.files()["x"] == vec![7; 20_000_000]);
    assert_eq!(server.files().len(), 1, "the temporary file was used again");
}

/// A file that is worth going on with.
fn large() -> Vec<u8> {
    (0..48_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_large_file_goes_over_all_connections_that_are_free_and_arrives_whole() {
    let server = Sshd::start();
    let w = world(&server, "verify = \"hash\"\nmode = \"0640\"\n");
    let bytes = large();
    w.write("a/x", &bytes);
    w.once().ok();
    assert!(server.files()["x"] == bytes);
    assert_eq!(fs::metadata(server.dir.path().join("in/x")).unwrap().permissions().mode() & 0o777, 0o640);
    // A server with room for one connection alone takes it too.
    let narrow = Sshd::with("MaxStartups 1:100:1", "");
    let w = world(&narrow, "");
    w.write("a/x", &bytes);
    w.once().ok();
    assert!(narrow.files()["x"] == bytes);
}

#[test]
fn a_large_file_goes_on_where_it_was_cut_after_what_is_there_was_read_back() {
    let server = Sshd::start();
    let w = world(&server, "");
    let text = w.read("passerelle.toml");
    for (connections, damage) in [(1, None), (4, None), (1, Some(0)), (1, Some(9_000_000))] {
        let bytes = large();
        w.config(&text.replace("[endpoints.b]\n", &format!("[endpoints.b]\nlimit_rate = \"30MB\"\nconnections = {connections}\n")));
        w.write("a/x", &bytes);
        let mut relay = w.start();
        let part = || server.files().into_iter().find(|(n, b)| n.ends_with(".part") && b.len() > 12_000_000).map(|(n, _)| n);
        w.until("sending", || part().is_some());
        relay.signal("KILL");
        relay.wait();
        let part = server.dir.path().join("in").join(part().unwrap());
        if let Some(at) = damage {
            use std::os::unix::fs::FileExt;
            fs::OpenOptions::new().write(true).open(&part).unwrap().write_all_at(b"damage", at).unwrap();
        }
        w.config(&text.replace("[endpoints.b]\n", &format!("[endpoints.b]\nconnections = {connections}\n")));
        let out = w.once().ok();
        let goes_on = out.stderr.contains("are at the destination already");
        // Less than what is worth it is sent anew; over several connections, what is in one row is less than what is there.
        assert!(if connections == 1 { goes_on == (damage != Some(0)) } else { true }, "{connections} {damage:?}: {}", out.stderr);
        assert!(server.files()["x"] == bytes, "{connections} {damage:?}");
        fs::remove_file(server.dir.path().join("in/x")).unwrap();
    }
}

#[test]
fn a_small_file_between_large_ones_has_its_turn() {
    let server = Sshd::start();
    let w = world(&server, "");
    w.config(&w.read("passerelle.toml").replace("[endpoints.b]", "[endpoints.b]\nconnections = 1"));
    let large = vec![7u8; 3_000_000];
    for name in ["1_large", "2_small", "3_large", "4_large", "5_large"] {
        w.write(&format!("a/{name}"), if name.ends_with("small") { &large[..10] } else { &large[..] });
    }
    w.once().ok();
    let uploaded = |job: usize| {
        let shown = w.json(&["show", &job.to_string(), "--json"]);
        let step = shown["steps"].as_array().unwrap().iter().find(|s| s["step"] == "uploaded").unwrap()["at"].as_str().unwrap().to_owned();
        (shown["file"].as_str().unwrap().to_owned(), step)
    };
    let at: std::collections::BTreeMap<String, String> = (1..=5).map(uploaded).collect();
    assert!(at["2_small"] <= at["3_large"] && at["2_small"] < at["5_large"], "{at:?}");
}
