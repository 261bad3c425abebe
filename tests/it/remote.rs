//! Sources on servers: fetched whole, once, and gone from there only when they are safe here.

use std::fs;

use crate::http::{answered, scripted};
use crate::servers::{Nginx, Sshd, Vsftpd};
use crate::world::World;

/// A route from a server's folder to `b`.
fn route(more: &str) -> String {
    format!("[routes.r.source]\nendpoint = \"a\"\nsettle = \"100ms\"\npoll_interval = \"300ms\"\n{more}\n[routes.r.destination]\npath = \"b\"\n")
}

#[test]
fn files_of_every_kind_of_server_are_fetched_archived_here_and_gone_there() {
    let ssh = Sshd::start();
    let ftp = Vsftpd::start("");
    let web = Nginx::start(None);
    let dav = format!("[endpoints.a]\nurl = \"http://127.0.0.1:{}/dav\"\n", web.port);
    for (endpoint, folder) in
        [(ssh.endpoint("a"), ssh.dir.path().join("in")), (ftp.endpoint("a", "ftp"), ftp.dir.path().join("root/in")), (dav, web.dir.path().join("www/dav"))]
    {
        let w = World::new(&(endpoint + &route("include = [\"*.csv\"]")));
        for (name, text) in [("x.csv", "1"), ("é ü.csv", "2"), ("big.csv", &"9".repeat(3_000_000)), ("not.txt", "no"), ("half.csv.part", "no")] {
            fs::write(folder.join(name), text).unwrap();
        }
        w.once().ok();
        assert_eq!(w.names("b"), ["big.csv", "x.csv", "é ü.csv"]);
        assert_eq!(w.read("b/big.csv").len(), 3_000_000);
        assert_eq!(w.archived("r").len(), 3);
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["half.csv.part", "not.txt"]);
        w.once().ok();
        assert_eq!(w.history().len(), 3);
        // The same name again, and even the same bytes: another export.
        fs::write(folder.join("x.csv"), "1").unwrap();
        fs::remove_file(w.path("b/x.csv")).unwrap();
        w.once().ok();
        assert_eq!((w.history().len(), w.read("b/x.csv")), (4, "1".to_owned()));
        for entry in fs::read_dir(&folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn one_file_that_a_server_does_not_give_keeps_no_other_from_coming_and_is_told() {
    let ftp = Vsftpd::start("deny_file={*secret*}\n");
    let folder = ftp.dir.path().join("root/in");
    let w = World::new(&(ftp.endpoint("a", "ftp") + &route("sort = \"name\"")));
    for name in ["a-secret.csv", "x.csv"] {
        fs::write(folder.join(name), name).unwrap();
    }
    w.once().code(3).says("a-secret.csv can't be fetched: the server answers 550").says("1 waiting");
    assert_eq!(w.names("b"), ["x.csv"]);
    let relay = w.start();
    w.until("the server is known to answer", || w.json(&["status", "--json"])["endpoints"][0]["state"] == "up");
    w.until("told by status", || {
        let route = w.json(&["status", "--json"])["routes"][0].clone();
        route["waiting"] == 1 && route["reason"].as_str().is_some_and(|r| r.contains("a-secret.csv"))
    });
    // It goes on as soon as there is nothing any more that can't be had.
    fs::rename(folder.join("a-secret.csv"), folder.join("a.csv")).unwrap();
    w.until_file("b/a.csv");
    w.until("nothing waits", || w.json(&["status", "--json"])["routes"][0]["reason"].is_null());
    drop(ftp);
    w.until("the server is known to be away", || {
        let endpoint = w.json(&["status", "--json"])["endpoints"][0].clone();
        endpoint["state"] == "down" && endpoint["error"].is_string() && endpoint["since"].is_string()
    });
    drop(relay);
}

#[test]
fn a_folder_that_is_missing_at_a_is_told_as_the_sources() {
    let server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("path = \"away\"")));
    w.once().code(3).says("in/away/ does not exist").says("create = true on the source");
    w.run(&["check"]).code(3).says("away does not exist").says("create = true on the source");
    w.config(&w.read("passerelle.toml").replace("path = \"away\"", "path = \"away\"\ncreate = true"));
    w.once().ok();
}

#[test]
fn what_is_moved_away_keeps_its_folders_however_deep() {
    let (ftp, ssh) = (Vsftpd::start(""), Sshd::start());
    for (endpoint, folder) in [(ftp.endpoint("a", "ftp"), ftp.dir.path().join("root/in")), (ssh.endpoint("a"), ssh.dir.path().join("in"))] {
        let w = World::new(&(endpoint + &route("path = \"q\"\nrecursive = true\non_success = \"move\"\nmove_to = \"done\"")));
        fs::create_dir_all(folder.join("q/s/t")).unwrap();
        fs::write(folder.join("q/s/t/f"), "1").unwrap();
        w.once().ok();
        w.once().ok();
        assert_eq!(fs::read_to_string(folder.join("done/s/t/f")).unwrap(), "1");
    }
}

#[test]
fn blanks_at_the_ends_of_a_name_are_part_of_it_on_every_server() {
    let (ftp, ssh) = (Vsftpd::start(""), Sshd::start());
    for (endpoint, folder) in [(ftp.endpoint("a", "ftp"), ftp.dir.path().join("root/in")), (ssh.endpoint("a"), ssh.dir.path().join("in"))] {
        let w = World::new(&(endpoint + &route("")));
        for name in [" lead.csv", "  two.csv", "in the  middle.csv", "trail.csv "] {
            fs::write(folder.join(name), name).unwrap();
        }
        w.once().ok();
        assert_eq!(w.names("b"), ["  two.csv", " lead.csv", "in the  middle.csv", "trail.csv "]);
        assert!(fs::read_dir(&folder).unwrap().next().is_none());
    }
}

#[test]
fn a_file_that_is_kept_there_is_never_taken_twice_and_a_changed_one_is() {
    let server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("on_success = \"keep\"")));
    let file = server.dir.path().join("in/x.csv");
    fs::write(&file, "1").unwrap();
    w.once().ok();
    w.once().ok();
    assert_eq!((w.names("b"), w.history().len()), (vec!["x.csv".to_owned()], 1));
    fs::remove_file(w.path("b/x.csv")).unwrap();
    fs::write(&file, "22").unwrap();
    w.once().ok();
    assert_eq!((w.read("b/x.csv"), w.history().len()), ("22".to_owned(), 2));
    assert_eq!(fs::read_to_string(&file).unwrap(), "22");
}

#[test]
fn an_original_that_was_taken_away_and_is_put_back_with_its_time_is_relayed_again() {
    let server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("")));
    let file = server.dir.path().join("in/x.csv");
    let put = || {
        fs::write(&file, "1").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    };
    put();
    w.once().ok();
    assert!(!file.exists());
    fs::remove_file(w.path("b/x.csv")).unwrap();
    put();
    w.once().ok();
    assert_eq!((w.names("b"), w.history().len(), file.exists()), (vec!["x.csv".to_owned()], 2, false));
}

#[test]
fn originals_move_to_a_folder_of_the_server_and_overwrite_nothing_there() {
    let server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("path = \"out\"\non_success = \"move\"\nmove_to = \"done\"\ncreate = true")));
    let folder = server.dir.path().join("in");
    w.once().ok();
    for text in ["1", "22"] {
        fs::write(folder.join("out/x.csv"), text).unwrap();
        w.once().ok();
        fs::remove_file(w.path("b/x.csv")).unwrap();
    }
    assert_eq!(fs::read_to_string(folder.join("done/x.csv")).unwrap(), "1");
    assert_eq!(fs::read_to_string(folder.join("done/x-2.csv")).unwrap(), "22");
    assert!(fs::read_dir(folder.join("out")).unwrap().next().is_none());
}

#[test]
fn what_was_moved_below_a_recursive_source_is_not_taken_again() {
    let server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("path = \"out\"\non_success = \"move\"\nmove_to = \"out/done\"\ncreate = true\nrecursive = true")));
    let folder = server.dir.path().join("in/out");
    for sub in ["", "2026", "done"] {
        fs::create_dir_all(folder.join(sub)).unwrap();
        fs::write(folder.join(sub).join("x.csv"), "1").unwrap();
    }
    for _ in 0..3 {
        w.once().ok();
    }
    assert_eq!(w.names("b"), ["2026/x.csv", "x.csv"]);
    assert!(folder.join("done/2026/x.csv").exists() && folder.join("done/x-2.csv").exists());
}

#[test]
fn done_and_checksum_files_announce_and_subfolders_keep_their_names() {
    let server = Sshd::start();
    let folder = server.dir.path().join("in");
    let w = World::new(&(server.endpoint("a") + &route("recursive = true\ndone_file = \"{name}.done\"")));
    fs::create_dir(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/x.csv"), "1").unwrap();
    w.once().ok();
    assert!(w.names("b").is_empty() && folder.join("sub/x.csv").exists());
    fs::write(folder.join("sub/x.csv.done"), "").unwrap();
    w.once().ok();
    assert_eq!(w.names("b"), ["sub/x.csv"]);
    assert_eq!(w.history()[0]["file"], "sub/x.csv");
    assert!(fs::read_dir(folder.join("sub")).unwrap().next().is_none());
    assert_eq!(w.names("relay/archive/r").len(), 2, "{:?}", w.names("relay/archive/r"));
}

#[test]
fn a_file_that_grows_is_fetched_when_two_listings_are_equal() {
    let server = Sshd::start();
    let file = server.dir.path().join("in/x.csv");
    let w = World::new(&(server.endpoint("a") + &route("")).replace("100ms", "1s"));
    let _relay = w.start();
    for i in 0..8 {
        fs::write(&file, "x".repeat(i + 1)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(400));
        assert!(w.names("b").is_empty(), "it was taken while it grew");
    }
    w.until("it came", || w.path("b/x.csv").exists());
    assert_eq!(w.read("b/x.csv"), "x".repeat(8));
    w.until("it is gone there", || !file.exists());
}

#[test]
fn a_server_that_is_away_shows_why_and_what_was_fetched_goes_on() {
    let mut server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("")));
    fs::write(server.dir.path().join("in/x.csv"), "1").unwrap();
    server.stop();
    w.once().code(3).says("refuses the connection");
    server.restart();
    w.once().ok();
    assert_eq!(w.names("b"), ["x.csv"]);
}

#[test]
fn originals_that_may_not_be_removed_are_told_and_keep_no_other_file_from_coming() {
    let server = Sshd::with("", "-P remove");
    let w = World::new(&(server.endpoint("a") + &route("")));
    fs::write(server.dir.path().join("in/x.csv"), "1").unwrap();
    w.once().ok().says("x.csv").says("the right to write, rename and delete");
    fs::write(server.dir.path().join("in/y.csv"), "2").unwrap();
    w.once().ok();
    assert_eq!((w.names("b"), w.history().len(), server.files().len()), (vec!["x.csv".to_owned(), "y.csv".to_owned()], 2, 2));
}

#[test]
fn a_file_that_fails_lies_in_errors_here_and_is_gone_there() {
    let server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nn = \"n\"")));
    fs::write(server.dir.path().join("in/x.csv"), "other\n1\n").unwrap();
    w.once().code(1);
    assert!(w.names("relay/errors/r").contains(&"x.csv".to_owned()) && server.files().is_empty());
    w.config(&w.read("passerelle.toml").replace("n = \"n\"", "n = \"other\""));
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "n\n1\n");
}

#[test]
fn killed_at_any_moment_a_remote_file_is_relayed_once_and_never_lost() {
    let server = Sshd::start();
    let file = server.dir.path().join("in/x.csv");
    let points = {
        let w = World::new(&(server.endpoint("a") + &route("")));
        fs::write(&file, "1").unwrap();
        let list = w.path("points");
        w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &format!("list={}", list.display()))]).ok();
        w.read("points").lines().count()
    };
    assert!(points > 20, "{points}");
    // A part of them in each run of all tests; all of them with `scripts/torture --steps`.
    let all = std::env::var_os("PASSERELLE_ALL_POINTS").is_some();
    for point in (1..=points).filter(|point| all || point % 4 == 1) {
        for moment in if all { &["before", "after"][..] } else { &["before"] } {
            let w = World::new(&(server.endpoint("a") + &route("")));
            fs::write(&file, "1").unwrap();
            w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &format!("kill={moment}:{point}"))]);
            w.once().ok();
            w.once().ok();
            assert_eq!((w.names("b"), w.archived("r").len()), (vec!["x.csv".to_owned()], 1), "killed {moment} {point}");
            assert_eq!(w.states(), ["delivered"], "killed {moment} {point}");
            assert!(!file.exists(), "killed {moment} {point}");
        }
    }
}

#[test]
fn what_can_not_be_configured_is_told() {
    let server = Sshd::start();
    let w = World::new(&(server.endpoint("a") + &route("path = \"/out\"\non_success = \"move\"")));
    w.run(&["config", "check"]).code(2).says("below the endpoint's URL").says("needs `move_to`");
    w.config(&(server.endpoint("a") + &route("path = \"out\"\non_success = \"move\"\nmove_to = \"out/\"")));
    w.run(&["config", "check"]).code(2).says("each file would come again");
    w.config(&route("").replace("\"a\"", "\"x\""));
    w.run(&["config", "check"]).code(2).says("there is no endpoint `x`");
}

/// A web server's file as a source, got by its name.
fn by_name(port: u16, path: &str) -> World {
    World::new(&format!(
        "[endpoints.a]\nurl = \"http://localhost:{port}/{path}\"\nheaders = {{ X-Api-Key = \"s3cret\", Authorization = \"Bearer s3cret\" }}\n[routes.r.source]\nendpoint = \"a\"\ninclude = [\"x.csv\"]\non_success = \"keep\"\n[routes.r.destination]\npath = \"b\"\nif_exists = \"rename\"\n"
    ))
}

#[test]
fn a_web_server_s_file_is_got_by_its_name_when_it_has_changed() {
    let server = Nginx::start(None);
    let w = by_name(server.port, "dav");
    w.once().ok();
    assert!(w.states().is_empty(), "there is no file yet, which is no trouble");
    let there = server.dir.path().join("www/dav/x.csv");
    fs::write(&there, "1").unwrap();
    w.once().ok();
    w.once().ok();
    assert_eq!((w.read("b/x.csv"), w.states()), ("1".into(), vec!["delivered".to_owned()]));
    // Touched, and the same.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::options().append(true).open(&there).unwrap().set_modified(later).unwrap();
    w.once().ok();
    assert_eq!(w.states().len(), 1);
    fs::write(&there, "2").unwrap();
    fs::File::options().append(true).open(&there).unwrap().set_modified(later).unwrap();
    w.once().ok();
    assert_eq!(w.states().len(), 1, "a server whose words stay the same has nothing new");
    fs::write(&there, "3").unwrap();
    fs::File::options().append(true).open(&there).unwrap().set_modified(later + std::time::Duration::from_secs(5)).unwrap();
    w.once().ok();
    assert_eq!((w.read("b/x-1.csv"), w.states().len(), there.exists()), ("3".into(), 2, true));
}

#[test]
fn a_file_that_is_got_by_its_name_comes_exactly_once_through_a_kill_at_every_point() {
    let server = Nginx::start(None);
    fs::write(server.dir.path().join("www/dav/x.csv"), "1").unwrap();
    let whole = by_name(server.port, "dav");
    let list = whole.path("points");
    assert_eq!(whole.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &format!("list={}", list.display()))]).code, 0);
    let points = whole.read("points").lines().count();
    assert!(points > 10);
    for n in 1..=points {
        let w = by_name(server.port, "dav");
        let kill = format!("kill={}:{n}", if n % 2 == 0 { "before" } else { "after" });
        w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &kill)]);
        w.once();
        w.once().ok();
        assert_eq!((w.files("b"), w.states()), ([("x.csv".to_owned(), b"1".to_vec())].into(), vec!["delivered".to_owned()]), "{kill}");
    }
}

#[test]
fn a_redirect_is_followed_and_another_server_is_told_no_secret() {
    let (other, seen) = scripted(vec![Some("200 OK")]);
    let moved: &'static str = Box::leak(format!("302 Found\r\nLocation: http://127.0.0.1:{other}/elsewhere/x.csv").into_boxed_str());
    let (port, asked) = scripted(vec![Some("301 Moved\r\nLocation: /new/x.csv"), Some(moved)]);
    let w = by_name(port, "in");
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "1");
    let (asked, seen) = (asked.lock().unwrap(), seen.lock().unwrap());
    assert!(asked.iter().all(|r| r.contains("s3cret")) && asked[1].starts_with("GET /new/x.csv "), "{asked:?}");
    assert!(seen[0].starts_with("GET /elsewhere/x.csv ") && !seen[0].contains("s3cret"), "{}", seen[0]);
}

#[test]
fn what_a_single_run_could_not_look_at_is_told_by_status_until_the_next_one() {
    let mut server = Sshd::start();
    let w = World::new(&format!(
        "{}[routes.r.source]\nendpoint = \"a\"\npath = \"gone\"\nsettle = \"0s\"\n[routes.r.destination]\npath = \"b\"\n",
        server.endpoint("a")
    ));
    let endpoint = |w: &World| w.json(&["status", "--json"])["endpoints"][0].clone();
    assert_eq!(endpoint(&w)["state"], "unknown");
    w.once().code(3);
    let route = w.json(&["status", "--json"])["routes"][0].clone();
    assert!(route["state"] == "stopped" && route["reason"].as_str().unwrap().contains("does not exist"), "{route}");
    w.run(&["status"]).ok().says("does not exist");
    std::fs::create_dir(server.dir.path().join("in/gone")).unwrap();
    w.once().ok();
    let status = w.json(&["status", "--json"]);
    assert!(status["routes"][0]["reason"].is_null() && endpoint(&w)["state"] == "up" && endpoint(&w)["since"].is_string(), "{status}");
    server.stop();
    w.once().code(3);
    assert!(endpoint(&w)["state"] == "down" && endpoint(&w)["error"].as_str().unwrap().contains("refuses"), "{}", endpoint(&w));
}

#[test]
fn a_file_that_is_kept_there_is_not_fetched_again_because_the_journal_is_lost() {
    for more in ["", "[archive]\ncompress = \"zstd\"\n"] {
        let server = Sshd::start();
        let w = World::new(&(server.endpoint("a") + &route("on_success = \"keep\"") + more));
        fs::write(server.dir.path().join("in/x.csv"), "1".repeat(1000)).unwrap();
        w.once().ok();
        fs::remove_file(w.path("b/x.csv")).unwrap();
        for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            let _ = fs::remove_file(w.path("relay").join(file));
        }
        w.once().ok().says("the journal was lost: 1 jobs are known again");
        assert_eq!((w.names("b"), w.states()), (vec![], vec!["delivered".to_owned()]), "{more}");
    }
}

#[test]
fn two_relays_do_not_take_from_the_same_folder_of_a_server() {
    let server = Vsftpd::start("");
    let config = |keys: &str| {
        format!("{}[routes.r.source]\nendpoint = \"b\"\nsettle = \"0s\"\n{keys}[routes.r.destination]\npath = \"b\"\n", server.endpoint("b", "ftp"))
    };
    let (one, other) = (World::new(&config("")), World::new(&config("")));
    let _relay = one.start();
    one.until("it runs", || one.path("relay/journal.db").exists() && one.json(&["status", "--json"])["routes"][0]["state"] == "watching");
    other.once().code(4).says("already takes files from the folder of b");
    // Where all is left as it is, both may have it.
    other.config(&config("on_success = \"keep\"\n"));
    other.once().ok();
}

#[test]
fn a_version_of_the_same_size_and_minute_is_told_from_the_one_before_it() {
    // vsftpd lists minutes, and tells the seconds, unless that is denied: then what is to go is compared with what came.
    for (denied, keep) in
        [("", ""), ("", "on_success = \"keep\"\n"), ("cmds_denied=MDTM\n", ""), ("cmds_denied=MDTM\n", "on_success = \"move\"\nmove_to = \"done\"\n")]
    {
        let ftp = Vsftpd::start(denied);
        let folder = ftp.dir.path().join("root/in");
        let w = World::new(&(ftp.endpoint("a", "ftp") + &route(keep)));
        // Not at the end of a minute.
        let second = jiff::Zoned::now().second();
        if second > 45 {
            std::thread::sleep(std::time::Duration::from_secs(61 - second as u64));
        }
        fs::write(folder.join("stock.csv"), "qty;10").unwrap();
        fs::create_dir_all(w.path("b")).unwrap();
        fs::write(w.path("b/stock.csv"), "the one before").unwrap();
        w.once().code(3);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        fs::write(folder.join("stock.csv"), "qty;25").unwrap();
        let mut at_b = Vec::new();
        for _ in 0..4 {
            fs::remove_file(w.path("b/stock.csv")).unwrap_or_default();
            w.once();
            at_b.extend(fs::read_to_string(w.path("b/stock.csv")));
        }
        assert_eq!(at_b, ["qty;10", "qty;25"], "{keep}");
        assert_eq!(folder.join("stock.csv").exists(), keep.contains("keep"), "{denied}{keep}");
    }
}

/// A WebDAV server with these files of one byte, which fails at those whose name begins with `bad`.
fn failing(names: &[&str]) -> u16 {
    let mut files: Vec<String> = names.iter().map(|name| format!("/dav/{name}")).collect();
    let entry = |path: &str| {
        let (kind, size) = if path == "/dav/" { ("<D:collection/>", "") } else { ("", "<D:getcontentlength>1</D:getcontentlength>") };
        let time = "<D:getlastmodified>Mon, 02 Nov 2026 08:00:00 GMT</D:getlastmodified>";
        format!(
            "<D:response><D:href>{path}</D:href><D:propstat><D:prop><D:resourcetype>{kind}</D:resourcetype>{size}{time}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        )
    };
    let of = move |request: &str| {
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
        let there = path == "/dav/" || files.contains(&path);
        let own = || ("200 OK\r\nLast-Modified: Mon, 02 Nov 2026 08:00:00 GMT".to_owned(), "1".to_owned());
        Some(match method {
            _ if !there => ("404 Not Found".to_owned(), String::new()),
            "PROPFIND" => {
                let all: String = if path == "/dav/" { files.iter().map(|f| entry(f)).collect() } else { String::new() };
                ("207 Multi-Status".to_owned(), format!("<D:multistatus xmlns:D=\"DAV:\">{}{all}</D:multistatus>", entry(&path)))
            }
            "GET" if path.contains("/bad") => ("500 Internal Server Error".to_owned(), "no".to_owned()),
            "HEAD" => ("200 OK\r\nContent-Length: 1".to_owned(), String::new()),
            "GET" => own(),
            "DELETE" => {
                files.retain(|f| *f != path);
                ("204 No Content".to_owned(), String::new())
            }
            _ => ("405 Method Not Allowed".to_owned(), String::new()),
        })
    };
    answered(of).0
}

#[test]
fn files_that_a_server_fails_at_keep_no_others_from_coming_and_are_counted() {
    let source = |port| World::new(&format!("[endpoints.a]\nurl = \"http://127.0.0.1:{port}/dav\"\n{}", route("sort = \"name\"")));
    let w = source(failing(&["a.csv", "bad.csv", "bad2.csv", "c.csv"]));
    w.once().code(3).says("bad.csv can't be fetched").says("500").says("2 waiting");
    assert_eq!(w.names("b"), ["a.csv", "c.csv"]);
    w.once().code(3).says("2 waiting");
    // One that fails at file after file is asked for no more of them.
    let w = source(failing(&["bad1.csv", "bad2.csv", "bad3.csv", "bad4.csv"]));
    w.once().code(3).says("500");
    assert!(w.names("b").is_empty());
}
