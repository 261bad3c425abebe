//! vsftpd as B: plain FTP, and FTPS whose data connections must resume the control connection's TLS session.

use crate::servers::old_ftp::{Lists, OldFtp};
use crate::servers::{Ca, Vsftpd, free_port};
use crate::world::World;

fn world(endpoint: &str, destination: &str) -> World {
    World::new(&format!("{endpoint}{}endpoint = \"b\"\n{destination}", World::route("r", "a", "")))
}

#[test]
fn names_are_written_in_the_server_s_encoding_and_read_back() {
    let server = Vsftpd::start("");
    let w = world(&format!("{}filename_encoding = \"windows-1252\"\n", server.endpoint("b", "ftp")), "");
    w.write("a/été à Noël.csv", "1");
    w.write("a/日本.csv", "2");
    w.once().code(1).says("which windows-1252 does not have");
    let names: Vec<Vec<u8>> = std::fs::read_dir(server.dir.path().join("root/in")).unwrap().map(|e| e.unwrap().file_name().into_encoded_bytes()).collect();
    assert_eq!(names, [b"\xe9t\xe9 \xe0 No\xebl.csv".to_vec()]);
    // The same folder as a source.
    let back = World::new(&format!(
        "{}{}[routes.back.source]\nendpoint = \"b\"\nsettle = \"0s\"\n[routes.back.destination]\npath = \"c\"\n",
        server.endpoint("b", "ftp"),
        "filename_encoding = \"windows-1252\"\n"
    ));
    std::fs::create_dir(back.path("c")).unwrap();
    back.once().ok();
    assert_eq!(back.files("c"), [("été à Noël.csv".to_owned(), b"1".to_vec())].into());
}

#[test]
fn files_arrive_byte_for_byte_over_ftp() {
    let server = Vsftpd::start("");
    let w = world(&server.endpoint("b", "ftp"), "verify = \"hash\"\n");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 253) as u8).chain(*b"\r\n\n\r").collect();
    w.write("a/x.bin", &bytes);
    w.write("a/é b.txt", "accents");
    w.once().ok();
    assert!(server.files()["x.bin"] == bytes, "the bytes differ");
    assert_eq!(server.files()["é b.txt"], b"accents");
    assert_eq!(server.files().len(), 2, "no temporary file stays");
}

#[test]
fn the_policies_for_an_existing_name_hold_over_ftp() {
    for (policy, code, b) in [
        ("wait", 3, vec![("x", "old")]),
        ("replace", 0, vec![("x", "new")]),
        ("rename", 0, vec![("x", "old"), ("x-1", "new")]),
        ("fail", 1, vec![("x", "old")]),
    ] {
        let server = Vsftpd::start("");
        let w = world(&server.endpoint("b", "ftp"), &format!("if_exists = \"{policy}\"\n"));
        std::fs::write(server.dir.path().join("root/in/x"), "old").unwrap();
        w.write("a/x", "new");
        w.once().code(code);
        let found: Vec<(String, String)> =
            server.files().into_iter().filter(|(n, _)| !n.ends_with(".part")).map(|(n, c)| (n, String::from_utf8(c).unwrap())).collect();
        let wanted: Vec<(String, String)> = b.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
        assert_eq!(found, wanted, "{policy}");
    }
}

#[test]
fn ftps_resumes_its_session_for_every_file() {
    let ca = Ca::new();
    let server = Vsftpd::tls(&ca, "");
    let w = world(&format!("{}{}", server.endpoint("b", "ftps"), ca.ca_file()), "");
    for i in 0..12 {
        w.write(&format!("a/{i}.bin"), vec![i; 300_000]);
    }
    w.write("a/one.byte", "1");
    w.once().ok();
    assert_eq!(server.files().len(), 13);
    assert!(server.files()["11.bin"] == vec![11; 300_000]);
}

#[test]
fn implicit_ftps_works_too() {
    let ca = Ca::new();
    let server = Vsftpd::tls(&ca, "implicit_ssl=YES\n");
    let w = world(&format!("{}tls = \"implicit\"\n{}", server.endpoint("b", "ftps"), ca.ca_file()), "");
    w.write("a/x", "1");
    w.write("a/y", "2");
    w.once().ok();
    assert_eq!(server.files().len(), 2);
}

#[test]
fn active_mode_works() {
    let server = Vsftpd::start("");
    let w = world(&format!("{}passive = false\n", server.endpoint("b", "ftp")), "");
    w.write("a/x", "1");
    w.once().ok();
    assert_eq!(server.files()["x"], b"1");
}

#[test]
fn certificates_are_verified_and_the_remedy_is_told() {
    let (ca, other, expired) = (Ca::new(), Ca::for_host("other.example", 30), Ca::for_host("localhost", -1));
    let server = Vsftpd::tls(&ca, "");
    let w = world(&server.endpoint("b", "ftps"), "");
    w.write("a/x", "1");
    w.once().code(3).says("certificate").says("ca_file");
    let wrong_host = Vsftpd::tls(&other, "");
    w.config(&format!("{}{}{}endpoint = \"b\"\n", wrong_host.endpoint("b", "ftps"), other.ca_file(), World::route("r", "a", "")));
    w.once().code(3).says("hostname mismatch");
    let too_old = Vsftpd::tls(&expired, "");
    w.config(&format!("{}{}{}endpoint = \"b\"\n", too_old.endpoint("b", "ftps"), expired.ca_file(), World::route("r", "a", "")));
    w.once().code(3).says("expired");
    assert!(w.names("relay/errors").is_empty());
}

#[test]
fn refused_logins_closed_ports_and_missing_folders_wait_over_ftp() {
    let server = Vsftpd::start("");
    let w = world(&server.endpoint("b", "ftp"), "");
    let text = w.read("passerelle.toml");
    w.write("a/x", "1");
    w.config(&text.replace("anonymous@", "somebody@"));
    w.once().code(3).says("the login of somebody was refused");
    w.config(&text.replace(&format!(":{}", server.port), &format!(":{}", free_port())));
    w.once().code(3).says("refuses the connection");
    w.config(&text.replace("/in\"", "/nowhere\""));
    w.once().code(3).says("nowhere");
    assert_eq!(w.states(), ["waiting"]);
    w.config(&text);
    w.once().ok();
    assert_eq!(server.files()["x"], b"1");
}

#[test]
fn a_connection_that_the_server_has_cut_while_it_was_idle_costs_no_attempt() {
    let server = Vsftpd::start("idle_session_timeout=1\n");
    let w = world(&server.endpoint("b", "ftp"), "");
    let _relay = w.start();
    let sent = |name: &str| w.history().iter().any(|j| j["file"] == name && j["state"] == "delivered");
    w.write("a/first", "1");
    w.until("the first file arrives", || sent("first"));
    std::thread::sleep(std::time::Duration::from_millis(2500));
    w.write("a/second", "2");
    w.until("the second file arrives", || sent("second"));
    assert_eq!(w.history()[0]["attempts"], 1);
    assert!(!w.read("relay.log").contains("WARN"), "{}", w.read("relay.log"));
}

#[test]
fn a_name_with_a_line_end_is_refused_before_it_is_sent() {
    let server = Vsftpd::start("");
    let w = world(&server.endpoint("b", "ftp"), "");
    w.write("a/x\r\nDELE y", "1");
    w.once().code(1).says("line end");
    assert!(server.files().is_empty());
    assert_eq!(w.states(), ["failed"]);
}

#[test]
fn the_folder_is_made_when_asked_for() {
    let server = Vsftpd::start("");
    let w = world(&server.endpoint("b", "ftp"), "create = true\n");
    w.config(&w.read("passerelle.toml").replace("path = \"\"", "path = \"new/deep\""));
    w.write("a/x", "1");
    w.once().ok();
    assert_eq!(std::fs::read(server.dir.path().join("root/in/new/deep/x")).unwrap(), b"1");
}

#[test]
fn a_large_file_goes_on_where_it_was_cut_over_ftp() {
    let ca = Ca::new();
    let server = Vsftpd::tls(&ca, "");
    let endpoint = format!("{}{}", server.endpoint("b", "ftps"), ca.ca_file());
    let w = world(&endpoint.replace("[endpoints.b]\n", "[endpoints.b]\nlimit_rate = \"30MB\"\n"), "verify = \"hash\"\n");
    let bytes: Vec<u8> = (0..48_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    w.write("a/x", &bytes);
    let mut relay = w.start();
    w.until("sending", || server.files().iter().any(|(n, b)| n.ends_with(".part") && b.len() > 12_000_000));
    relay.signal("KILL");
    relay.wait();
    w.config(&w.read("passerelle.toml").replace("limit_rate = \"30MB\"\n", ""));
    w.once().ok().says("are at the destination already");
    assert!(server.files()["x"] == bytes);
}

#[test]
fn a_server_that_tells_no_sizes_is_not_believed() {
    for lists in [Lists::WithSizes, Lists::Nothing] {
        let server = OldFtp::start(lists);
        let w = world(&format!("[endpoints.b]\nurl = \"ftp://u@127.0.0.1:{}/in\"\npassword = \"p\"\n", server.port), "if_exists = \"replace\"\n");
        *server.keeps.lock().unwrap() = Some(3);
        w.write("a/x.csv", "whole\n");
        w.once().code(3);
        assert!(!server.files.lock().unwrap().contains_key("in/x.csv"), "a part of it was published");
        let second = w.once();
        match lists {
            Lists::WithSizes | Lists::Facts => {
                second.ok();
                assert_eq!(server.files.lock().unwrap()["in/x.csv"], b"whole\n");
            }
            Lists::Nothing => drop(second.code(3)),
        }
    }
}

#[test]
fn files_that_are_listed_without_their_size_are_fetched() {
    let server = OldFtp::start(Lists::Facts);
    server.files.lock().unwrap().insert("in/x.csv".to_owned(), b"whole\n".to_vec());
    let w = World::new(&format!(
        "[endpoints.a]\nurl = \"ftp://u@127.0.0.1:{}/in\"\npassword = \"p\"\n[routes.r.source]\nendpoint = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\npath = \"b\"\ncreate = true\n",
        server.port
    ));
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "whole\n");
    assert!(server.files.lock().unwrap().is_empty(), "it is archived here");
}

#[test]
fn an_address_without_a_folder_is_the_login_s_own() {
    let server = Vsftpd::start("");
    std::fs::set_permissions(server.dir.path().join("root"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let w = world(&server.endpoint("b", "ftp").replace("/in\"", "\""), "");
    w.run(&["check"]).ok();
    w.write("a/x.csv", "1");
    w.once().ok();
    assert_eq!(std::fs::read(server.dir.path().join("root/x.csv")).unwrap(), b"1");
}

#[test]
fn a_rename_that_was_done_and_denied_is_no_second_delivery() {
    let server = OldFtp::start(Lists::WithSizes);
    let w = world(&format!("[endpoints.b]\nurl = \"ftp://u@127.0.0.1:{}/in\"\npassword = \"p\"\n", server.port), "if_exists = \"rename\"\n");
    server.denies.store(true, std::sync::atomic::Ordering::Relaxed);
    w.write("a/x.csv", "whole\n");
    w.once().ok();
    assert_eq!((w.states(), server.files.lock().unwrap().keys().cloned().collect::<Vec<_>>()), (vec!["delivered".to_owned()], vec!["in/x.csv".to_owned()]));
}

#[test]
fn a_server_that_takes_fewer_connections_than_were_configured_gets_all_files_over_those() {
    for limit in ["max_clients=2", "max_per_ip=1"] {
        let server = Vsftpd::start(limit);
        // What looked whether it runs has gone again.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let w = world(&format!("{}connections = 8\n", server.endpoint("b", "ftp")), "");
        for i in 0..300 {
            w.write(&format!("a/{i:03}.txt"), format!("{i}"));
        }
        w.once().ok();
        assert_eq!(server.files().len(), 300, "{limit}");
    }
}

#[test]
fn a_single_run_ends_also_where_the_first_of_many_files_cannot_go() {
    let server = Vsftpd::start("deny_file={*000*}\n");
    let w = world(&server.endpoint("b", "ftp"), "");
    for i in 0..300 {
        w.write(&format!("a/{i:03}.txt"), format!("{i}"));
    }
    w.once().code(3).says("300 waiting");
}

#[test]
fn a_folder_that_a_server_lists_though_it_is_not_there_is_told() {
    let server = Vsftpd::start("");
    let w = World::new(&format!(
        "{}[routes.r.source]\nendpoint = \"b\"\npath = \"gone\"\nsettle = \"0s\"\n[routes.r.destination]\npath = \"b\"\n",
        server.endpoint("b", "ftp")
    ));
    w.once().code(3).says("does not exist");
    std::fs::create_dir(server.dir.path().join("root/in/gone")).unwrap();
    w.once().ok();
}

#[test]
fn a_server_that_lets_nobody_ask_for_sizes_gets_its_files() {
    let server = Vsftpd::start("cmds_denied=SIZE\n");
    for verify in ["size", "hash"] {
        let w = world(&server.endpoint("b", "ftp"), &format!("verify = \"{verify}\"\n"));
        w.write(&format!("a/{verify}.csv"), "a;b\n1;2\n");
        w.once().ok();
    }
    assert_eq!(server.files().len(), 2);
}

#[test]
fn an_empty_folder_is_there_also_where_nobody_may_ask_for_sizes() {
    let server = Vsftpd::start("cmds_denied=SIZE\n");
    let w = world(&server.endpoint("b", "ftp"), "create = true\n");
    w.run(&["check"]).ok();
    w.write("a/x.csv", "1");
    w.once().ok();
    assert_eq!(server.files().len(), 1);
}

#[test]
fn permissions_that_a_server_does_not_set_are_told_by_check() {
    let server = Vsftpd::start("chmod_enable=NO\n");
    let w = world(&server.endpoint("b", "ftp"), "mode = \"0644\"\n");
    w.run(&["check"]).code(3).says("leave `mode` out");
    world(&server.endpoint("b", "ftp"), "").run(&["check"]).ok();
}
