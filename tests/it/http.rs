//! nginx with WebDAV as B; a scripted server only where a real one can't be made to cut a connection.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::servers::{Ca, Nginx, free_port};
use crate::world::World;

fn world(url: &str, endpoint: &str, destination: &str) -> World {
    World::new(&format!("[endpoints.b]\nurl = \"{url}\"\n{endpoint}{}endpoint = \"b\"\n{destination}", World::route("r", "a", "")))
}

#[test]
fn put_sends_files_straight_to_their_names() {
    let server = Nginx::start(None);
    let w = world(&format!("http://localhost:{}/dav", server.port), "", "");
    let bytes: Vec<u8> = (0..2_000_000u32).map(|i| (i % 255) as u8).collect();
    w.write("a/x.bin", &bytes);
    w.write("a/é b#%.txt", "name");
    w.once().ok();
    assert!(server.files("dav")["x.bin"] == bytes);
    assert_eq!(server.files("dav")["é b#%.txt"], b"name");
}

#[test]
fn a_put_heeds_an_existing_name_as_told() {
    for (policy, code, b) in
        [("", 0, vec![("x", "new")]), ("wait", 3, vec![("x", "old")]), ("rename", 0, vec![("x", "old"), ("x-1", "new")]), ("fail", 1, vec![("x", "old")])]
    {
        let server = Nginx::start(None);
        let keys = if policy.is_empty() { String::new() } else { format!("if_exists = \"{policy}\"\n") };
        let w = world(&format!("http://localhost:{}/dav", server.port), "", &keys);
        std::fs::write(server.dir.path().join("www/dav/x"), "old").unwrap();
        w.write("a/x", "new");
        w.once().code(code);
        let found: Vec<(String, String)> = server.files("dav").into_iter().map(|(n, c)| (n, String::from_utf8(c).unwrap())).collect();
        let wanted: Vec<(String, String)> = b.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
        assert_eq!(found, wanted, "{policy}");
    }
}

#[test]
fn webdav_puts_a_temporary_name_and_moves_it() {
    let ca = Ca::new();
    let server = Nginx::start(Some(&ca));
    let w = world(&format!("https://localhost:{}/dav", server.port), &format!("publish = \"move\"\n{}", ca.ca_file()), "create = true\n");
    w.config(&w.read("passerelle.toml").replace("path = \"\"", "path = \"new\""));
    for i in 0..10 {
        w.write(&format!("a/{i}.txt"), format!("{i}"));
    }
    w.once().ok();
    assert_eq!(server.files("dav/new").len(), 10);
    let log = std::fs::read_to_string(server.dir.path().join("access.log")).unwrap();
    assert!(log.contains("\"PUT /dav/new/.0.txt.") && log.contains("\"MOVE /dav/new/.0.txt."), "{log}");
}

#[test]
fn the_policies_for_an_existing_name_hold_over_webdav() {
    for (policy, code, b) in [
        ("wait", 3, vec![("x", "old")]),
        ("replace", 0, vec![("x", "new")]),
        ("rename", 0, vec![("x", "old"), ("x-1", "new")]),
        ("fail", 1, vec![("x", "old")]),
    ] {
        let server = Nginx::start(None);
        let w = world(&format!("http://localhost:{}/dav", server.port), "publish = \"move\"\n", &format!("if_exists = \"{policy}\"\n"));
        std::fs::write(server.dir.path().join("www/dav/x"), "old").unwrap();
        w.write("a/x", "new");
        w.once().code(code);
        let found: Vec<(String, String)> =
            server.files("dav").into_iter().filter(|(n, _)| !n.ends_with(".part")).map(|(n, c)| (n, String::from_utf8(c).unwrap())).collect();
        let wanted: Vec<(String, String)> = b.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
        assert_eq!(found, wanted, "{policy}");
    }
}

#[test]
fn answers_are_told_apart_by_whose_fault_they_are() {
    let server = Nginx::start(None);
    let base = format!("http://localhost:{}", server.port);
    for (path, code, words, state) in
        [("/closed", 3, "401", "waiting"), ("/readonly", 3, "405", "waiting"), ("/dav/missing", 3, "does not exist", "waiting"), ("/small", 1, "413", "failed")]
    {
        let w = world(&format!("{base}{path}"), "", "");
        w.write("a/x", "more than ten bytes");
        w.once().code(code).says(words);
        assert_eq!(w.states(), [state], "{path}");
    }
    let w = world(&format!("{base}/closed").replace("http://", "http://user@"), "password = \"secret\"\n", "");
    w.write("a/x", "1");
    w.once().ok();
    assert_eq!(server.files("closed")["x"], b"1");
}

#[test]
fn certificates_are_verified_over_https() {
    let ca = Ca::new();
    let server = Nginx::start(Some(&ca));
    let w = world(&format!("https://localhost:{}/dav", server.port), "", "");
    w.write("a/x", "1");
    w.once().code(3).says("certificate").says("ca_file");
    w.config(&w.read("passerelle.toml").replace("[endpoints.b]\n", &format!("[endpoints.b]\n{}", ca.ca_file())));
    w.once().ok();
    let closed = world(&format!("http://localhost:{}/dav", free_port()), "", "");
    closed.write("a/x", "1");
    closed.once().code(3).says("refuses the connection");
}

#[test]
fn what_is_wrong_with_each_request_waits_and_what_is_wrong_with_the_name_fails() {
    for (answer, code, says) in
        [("414 URI Too Long", 1, "B refuses this file"), ("431 Too Large", 3, "refuses every such request"), ("410 Gone", 3, "check endpoints.b.url")]
    {
        let (go, _) = answered(move |_| Some((answer.to_owned(), String::new())));
        let w = World::new(&format!("[endpoints.b]\nurl = \"http://127.0.0.1:{go}/in\"\n{}endpoint = \"b\"\n", World::route("r", "a", "")));
        w.write("a/x", "1");
        w.once().code(code).says(says);
    }
}

#[test]
fn files_wait_where_a_port_that_wants_tls_is_asked_in_clear() {
    let ca = Ca::new();
    let server = Nginx::start(Some(&ca));
    let (go, _) = answered(|_| Some(("400 Bad Request".to_owned(), "Client sent an HTTP request to an HTTPS server.\n".to_owned())));
    for port in [server.port, go] {
        for publish in ["", "publish = \"direct\"\n"] {
            let w = world(&format!("http://localhost:{port}/dav"), publish, "");
            w.write("a/x", "1");
            w.once().code(3).says("https://");
            assert!(w.names("relay/errors").is_empty(), "{port} {publish}: the endpoint's trouble condemns no file");
            w.run(&["check"]).code(3).says("https://");
        }
    }
}

/// A server that notes each request and answers as told: `None` cuts the connection after the body.
pub fn scripted(answers: Vec<Option<&'static str>>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let mut answers = answers.into_iter();
    // A GET is answered with the one byte that the tests send.
    answered(move |request| answers.next().flatten().map(|head| (head.to_owned(), if request.starts_with("GET ") { "1".to_owned() } else { String::new() })))
}

/// The same, by a function of the request that gives status line, headers and body.
pub fn answered(mut answer: impl FnMut(&str) -> Option<(String, String)> + Send + 'static) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
            let mut request = Vec::new();
            let mut buf = [0; 4096];
            let whole = loop {
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length: usize =
                        head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse().unwrap())).unwrap_or(0);
                    if body.len() >= length {
                        break Some(text);
                    }
                }
                match stream.read(&mut buf) {
                    Ok(0) | Err(_) => break None,
                    Ok(n) => request.extend_from_slice(&buf[..n]),
                }
            };
            let Some(text) = whole else { continue };
            requests.lock().unwrap().push(text.clone());
            if let Some((head, body)) = answer(&text) {
                let told = head.contains("Content-Length") || head.contains("Transfer-Encoding");
                let length = if told { String::new() } else { format!("\r\nContent-Length: {}", body.len()) };
                let _ = write!(stream, "HTTP/1.1 {head}{length}\r\nConnection: close\r\n\r\n{body}");
            }
        }
    });
    (port, seen)
}

#[test]
fn the_folders_of_a_plain_put_are_made_where_the_server_can_and_create_says_so() {
    let server = Nginx::start(None);
    let url = format!("http://127.0.0.1:{}/dav", server.port);
    let w = world(&url, "", "create = true\n");
    w.config(&w.read("passerelle.toml").replace("settle", "recursive = true\nsettle").replace("path = \"\"", "path = \"new/in\""));
    w.write("a/sub/x.csv", "1");
    w.write("a/y.csv", "2");
    w.once().ok();
    assert_eq!(server.files("dav/new/in/sub"), [("x.csv".into(), b"1".to_vec())].into());
    assert_eq!(server.files("dav/new/in"), [("y.csv".into(), b"2".to_vec())].into());
    let w = world(&url, "", "");
    w.config(&w.read("passerelle.toml").replace("path = \"\"", "path = \"missing\""));
    w.write("a/y.csv", "2");
    w.once().code(3).says("set create = true");
}

#[test]
fn post_and_multipart_carry_an_idempotency_key_and_the_headers() {
    let (port, seen) = scripted(vec![Some("201 Created"), Some("204 No Content")]);
    let w = world(&format!("http://127.0.0.1:{port}/import"), "method = \"POST\"\nheaders = { Authorization = \"Bearer ${env:T}\" }\n", "");
    w.write("a/x.csv", "a;b\n");
    assert_eq!(w.run_with(&["run", "--once"], &[("T", "s3cret")]).code, 0);
    w.config(&w.read("passerelle.toml").replace("\"POST\"", "\"multipart\"\nfield = \"upload\""));
    w.write("a/y.csv", "c;d\n");
    assert_eq!(w.run_with(&["run", "--once"], &[("T", "s3cret")]).code, 0);
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].starts_with("POST /import HTTP/1.1\r\n") && seen[0].contains("Authorization: Bearer s3cret") && seen[0].ends_with("\r\n\r\na;b\n"),
        "{}",
        seen[0]
    );
    assert!(seen[0].contains("Idempotency-Key: "), "{}", seen[0]);
    assert!(seen[1].contains("name=\"upload\"; filename=\"y.csv\"") && seen[1].contains("\r\n\r\nc;d\n\r\n--"), "{}", seen[1]);
    for folder in ["relay", "b"] {
        for (name, bytes) in w.files(folder) {
            assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"), "the secret stands in {name}");
        }
    }
}

/// Whether a secret stands in what was printed or in what is kept.
fn tells(w: &World, printed: &[String], secret: &str) -> Vec<String> {
    let mut places: Vec<String> = printed.iter().filter(|text| text.contains(secret)).cloned().collect();
    for (name, bytes) in w.files("relay") {
        if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
            places.push(name);
        }
    }
    places
}

#[test]
fn a_server_that_repeats_our_secrets_does_not_bring_them_into_logs_journal_or_notes() {
    // The form of Basic, a header's token, a password in HTML and one that is cut off where our note ends.
    let answer =
        "422 No\r\nContent-Length: 424\r\n\r\nAuthorization: Basic dXNlcjpwJnNzIHc9cmQvMQ== X-Key: k\\/3y-51 p&amp;ss w=rd/1 p&ss w=rd/1 p%26ss+w%3Drd%2F1 ";
    let long: &'static str = Box::leak(format!("{answer}{:.<185}p&ss w=rd/1{:.<120}", "", "").into_boxed_str());
    let refused = "401 No\r\nContent-Length: 21\r\n\r\nwho is p&ss w=rd/1 Hm";
    let (port, _) = scripted(vec![Some(long), Some(refused), Some(refused), Some(refused)]);
    let w = world(&format!("http://user@127.0.0.1:{port}/import"), "password = \"${env:P}\"\nmethod = \"POST\"\nheaders = { X-Key = \"${env:K}\" }\n", "");
    let env = [("P", "p&ss w=rd/1"), ("K", "k/3y-51")];
    w.write("a/x.csv", "a;b\n");
    let mut printed = Vec::new();
    let mut run = |args: &[&str]| {
        let ran = w.run_with(args, &env);
        printed.extend([ran.stdout.clone(), ran.stderr.clone()]);
        ran
    };
    assert_eq!(run(&["run", "--once"]).code, 1);
    assert!(run(&["show", "1"]).stdout.contains("422"));
    w.write("a/y.csv", "a;b\n");
    assert_eq!(run(&["run", "--once"]).code, 3);
    assert!(run(&["show", "2"]).stdout.contains("who is *** Hm"), "what else it says stays readable");
    run(&["history", "--json"]);
    for secret in ["p&ss", "p&amp;ss", "p%26ss", "dXNlcjpw", "k/3y-51", "k\\/3y-51"] {
        assert_eq!(tells(&w, &printed, secret), Vec::<String>::new(), "{secret}");
    }
}

#[test]
fn webdav_moves_without_the_user_in_the_address() {
    let server = Nginx::start(None);
    let w = world(&format!("http://user@127.0.0.1:{}/closed", server.port), "password = \"secret\"\npublish = \"move\"\n", "");
    w.write("a/x.txt", "1");
    w.once().ok();
    assert_eq!(server.files("closed").into_keys().collect::<Vec<_>>(), ["x.txt"]);
}

#[test]
fn a_post_that_is_answered_with_another_address_or_a_refusal_is_not_sent_again() {
    for (answer, state) in [("303 See Other\r\nLocation: /done", "unconfirmed"), ("302 Found\r\nLocation: /done", "unconfirmed"), ("409 Conflict", "failed")] {
        let (port, seen) = scripted(vec![Some(answer); 4]);
        let w = world(&format!("http://127.0.0.1:{port}/import"), "method = \"POST\"\n", "");
        w.write("a/x.csv", "a\n");
        w.once().code(1);
        w.once().ok();
        assert_eq!((w.states(), seen.lock().unwrap().len()), (vec![state.to_owned()], 1), "{answer}");
    }
}

#[test]
fn a_post_that_was_cut_after_its_body_is_unconfirmed_and_never_sent_again_by_itself() {
    let (port, seen) = scripted(vec![None, Some("200 OK")]);
    let w = world(&format!("http://127.0.0.1:{port}/import"), "method = \"POST\"\n", "");
    w.write("a/x", "1");
    w.once().code(1).says("confirm-delivered");
    w.once().ok();
    assert_eq!((w.states(), seen.lock().unwrap().len()), (vec!["unconfirmed".to_owned()], 1));
    w.run(&["confirm-delivered", "1"]).ok();
    w.once().ok();
    assert_eq!((w.states(), w.archived("r"), seen.lock().unwrap().len()), (vec!["delivered".to_owned()], vec!["1_x".to_owned()], 1));
    w.write("a/y", "2");
    w.run(&["retry", "1"]).code(2).says("not failed, held or unconfirmed");
}

#[test]
fn a_post_that_never_came_whole_is_not_in_doubt() {
    // Cut in the middle of its body: nobody can have carried it out.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let w = world(&format!("http://127.0.0.1:{port}/import"), "method = \"POST\"\ntimeout = \"5s\"\n", "");
    w.write("a/x", "1234567890\n".repeat(1_000_000));
    w.once().code(3);
    assert_eq!(w.states(), ["waiting"]);
    // Who takes the connection and never answers the handshake has read nothing at all.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let w = world(&format!("https://127.0.0.1:{}/import", deaf.local_addr().unwrap().port()), "method = \"POST\"\nconnect_timeout = \"1s\"\n", "");
    w.write("a/x", "1");
    w.once().code(3);
    assert_eq!(w.states(), ["waiting"]);
}

#[test]
fn a_put_over_a_kept_connection_that_the_server_had_closed_is_made_on_another_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let puts = Arc::new(Mutex::new(0));
    let count = puts.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), count.clone());
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut buf = [0; 4096];
                while !request.ends_with(b"body") {
                    let n = stream.read(&mut buf).unwrap();
                    if n == 0 {
                        return;
                    }
                    request.extend_from_slice(&buf[..n]);
                }
                *count.lock().unwrap() += 1;
                stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
                // It does not say that it closes, and takes a moment until it does: the next request may be on its way.
                std::thread::sleep(std::time::Duration::from_millis(2));
            });
        }
    });
    let w = world(&format!("http://127.0.0.1:{port}/import"), "connections = 1\n", "if_exists = \"replace\"\n");
    (0..20).for_each(|i| w.write(&format!("a/{i:02}"), "body"));
    w.once().ok();
    assert_eq!((w.states().iter().filter(|s| *s == "delivered").count(), *puts.lock().unwrap()), (20, 20));
}

#[test]
fn a_put_that_was_cut_is_sent_again_unless_it_arrived() {
    for (found, puts) in [("404 Not Found", 2), ("200 OK\r\nContent-Length: 1", 1)] {
        // The PUT is cut; the relay looks what is there (HEAD, and GET for the bytes), and sends it again if it is not.
        let (port, seen) = scripted(vec![None, Some(found), Some("200 OK\r\nX-Body: 1"), Some("201 Created")]);
        let w = world(&format!("http://127.0.0.1:{port}/in"), "", "[routes.r.retry]\ninitial_delay = \"50ms\"\n");
        w.write("a/x", "1");
        let _relay = w.start();
        w.until("delivered", || w.states() == ["delivered"]);
        let sent = seen.lock().unwrap().iter().filter(|r| r.starts_with("PUT ")).count();
        assert_eq!(sent, puts, "{found}");
    }
}

#[test]
fn a_server_in_trouble_makes_the_file_wait_and_a_refusal_of_the_file_fails_it() {
    let (port, _) = scripted(vec![Some("503 Service Unavailable"), Some("422 Unprocessable Content")]);
    let w = world(&format!("http://127.0.0.1:{port}/in"), "", "");
    w.write("a/x", "1");
    w.once().code(3).says("503");
    w.once().code(1).says("422");
    assert_eq!(w.states(), ["failed"]);
}

#[test]
fn a_server_that_asks_for_time_is_left_alone() {
    let (port, seen) = scripted(vec![Some("503 Service Unavailable\r\nRetry-After: 3600"), Some("201 Created")]);
    let w = world(&format!("http://127.0.0.1:{port}/in"), "method = \"POST\"\n", "[routes.r.retry]\ninitial_delay = \"20ms\"\n");
    w.write("a/x", "1");
    w.write("a/y", "1");
    let _relay = w.start();
    w.until("told", || w.states().first().is_some_and(|s| s == "waiting"));
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_password_is_proved_by_a_digest_and_not_sent() {
    use md5::{Digest, Md5};
    let challenge = "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"b\", nonce=\"abc\", qop=\"auth\", algorithm=MD5";
    let (port, seen) = scripted(vec![Some(challenge), Some("201 Created")]);
    let w = world(&format!("http://user@127.0.0.1:{port}/in"), "password = \"s3cret\"\nauth = \"digest\"\nmethod = \"POST\"\n", "");
    w.write("a/x", "1");
    w.once().ok();
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|r| !r.contains("s3cret")) && seen[1].ends_with("\r\n\r\n1"), "{seen:?}");
    let line = seen[1].lines().find(|l| l.starts_with("Authorization: Digest ")).unwrap();
    let part = |name: &str| line.split(&format!("{name}=")).nth(1).unwrap().split(',').next().unwrap().trim_matches('"').to_owned();
    let hash = |text: String| Md5::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let wanted = hash(format!("{}:abc:{}:{}:auth:{}", hash("user:b:s3cret".into()), part("nc"), part("cnonce"), hash("POST:/in".into())));
    assert_eq!(part("response"), wanted);
}

/// A WebDAV server that does what it is asked, and then what `quirk` makes of it: by the method and its files, it may give
/// another status.
fn odd(mut quirk: impl FnMut(&str, &mut BTreeMap<String, String>) -> Option<&'static str> + Send + 'static) -> (u16, Arc<Mutex<BTreeMap<String, String>>>) {
    let files = Arc::new(Mutex::new(BTreeMap::new()));
    let held = files.clone();
    let (port, _) = answered(move |request| {
        let mut files = held.lock().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap().to_owned());
        let header = |name: &str| head.lines().find_map(|l| l.strip_prefix(name).map(|v| v.trim().to_owned()));
        let mut told = String::new();
        let status = match method {
            "PUT" => {
                files.insert(path, body.to_owned());
                "201 Created"
            }
            "HEAD" | "GET" if files.contains_key(&path) => {
                told = files[&path].clone();
                "200 OK"
            }
            "HEAD" if path.ends_with("/in") => "301 Moved\r\nLocation: /in/",
            "HEAD" if path.ends_with("/in/") => "200 OK",
            "MOVE" => {
                let to = header("Destination:").unwrap();
                match files.remove(&path) {
                    None => "404 Not Found",
                    Some(moved) => {
                        files.insert(format!("/{}", to.splitn(4, '/').nth(3).unwrap()), moved);
                        "201 Created"
                    }
                }
            }
            "DELETE" => {
                files.remove(&path);
                "204 No Content"
            }
            _ => "404 Not Found",
        };
        let status = quirk(method, &mut files).unwrap_or(status);
        let length = if status.contains("Transfer-Encoding") { String::new() } else { format!("\r\nContent-Length: {}", told.len()) };
        Some((format!("{status}{length}"), if method == "GET" { told } else { String::new() }))
    });
    (port, files)
}

fn moving(port: u16) -> World {
    let w = world(&format!("http://127.0.0.1:{port}/"), "publish = \"move\"\n", "");
    w.config(&w.read("passerelle.toml").replace("path = \"\"", "path = \"in\""));
    w.write("a/x.csv", "a;b\n");
    w
}

#[test]
fn a_move_that_was_done_and_answered_with_an_error_is_no_failure() {
    // B has taken the file at once, or not yet.
    for taken in [true, false] {
        let (port, files) = odd(move |method, files| {
            if method == "MOVE" && taken {
                files.clear();
            }
            (method == "MOVE").then_some("500 Internal Server Error")
        });
        let w = moving(port);
        w.once().ok();
        let there: Vec<String> = files.lock().unwrap().keys().cloned().collect();
        let wanted = if taken { vec![] } else { vec!["/in/x.csv".to_owned()] };
        assert_eq!((w.states(), there), (vec!["delivered".to_owned()], wanted));
    }
}

#[test]
fn a_move_that_is_answered_with_many_words_has_failed() {
    let mut temporary = String::new();
    let (port, files) = odd(move |method, files| {
        match method {
            "PUT" => temporary = files.keys().next().unwrap().clone(),
            // Nothing was moved.
            "MOVE" => {
                files.remove("/in/x.csv");
                files.insert(temporary.clone(), "a;b\n".into());
            }
            _ => {}
        }
        (method == "MOVE").then_some("207 Multi-Status")
    });
    let w = moving(port);
    w.once().code(3).says("207");
    assert!(!files.lock().unwrap().contains_key("/in/x.csv") && w.states() == ["waiting"], "{:?}", w.states());
}

#[test]
fn a_file_whose_size_the_server_does_not_tell_is_read_back() {
    let mut cuts = 0;
    let (port, files) = odd(move |method, files| {
        // It keeps a part of the first one, and says that all is well.
        if method == "PUT" && cuts == 0 {
            cuts += 1;
            files.values_mut().for_each(|v| v.truncate(2));
        }
        (method == "HEAD" && !files.is_empty()).then_some("200 OK\r\nTransfer-Encoding: chunked")
    });
    let w = moving(port);
    w.config(&w.read("passerelle.toml").replace("[routes.r.destination]", "[routes.r.destination]\nif_exists = \"replace\""));
    w.once().code(3).says("other bytes at the server");
    w.once().ok();
    assert_eq!((w.states(), files.lock().unwrap().get("/in/x.csv").cloned()), (vec!["delivered".to_owned()], Some("a;b\n".to_owned())));
}

#[test]
fn a_temporary_file_that_vanishes_again_and_again_is_waited_for() {
    let puts = Arc::new(Mutex::new(0));
    let counted = puts.clone();
    let (port, _) = odd(move |method, files| {
        *counted.lock().unwrap() += usize::from(method == "PUT");
        if method == "HEAD" {
            files.retain(|name, _| !name.contains(".part"));
        }
        None
    });
    let w = moving(port);
    w.once().code(3).says("set temp_path");
    assert!(*puts.lock().unwrap() <= 3, "{}", puts.lock().unwrap());
}

#[test]
fn a_marker_is_written_beside_a_plain_put_and_refused_for_a_post() {
    let (port, files) = odd(|_, _| None);
    let w = world(&format!("http://127.0.0.1:{port}/in"), "", "done_file = \"{name}.ok\"\n");
    w.write("a/x.csv", "a;b\n");
    w.once().ok();
    assert_eq!(files.lock().unwrap().keys().cloned().collect::<Vec<_>>(), ["/in/x.csv", "/in/x.csv.ok"]);
    // A marker that would empty a file is none.
    let empties = world(&format!("http://127.0.0.1:{port}/in"), "", "done_file = \"{stem}.csv\"\n");
    empties.write("a/z", "a;b\n");
    empties.config(&empties.read("passerelle.toml").replace("[routes.r.destination]", "[routes.r.output]\nname = \"{stem}.csv\"\n[routes.r.destination]"));
    empties.once().code(1).says("the name of the file itself");
    let post = world("http://127.0.0.1:9/in", "method = \"POST\"\n", "done_file = \"{name}.ok\"\n");
    post.run(&["config", "check"]).code(2).says("what is posted has none");
}

#[test]
fn a_put_that_is_answered_with_an_error_and_stands_there_is_delivered() {
    // A large file is not hashed yet when it must be found again.
    for planted in ["", "plant=large"] {
        let (port, files) = odd(|method, _| (method == "PUT").then_some("500 Internal Server Error"));
        let w = world(&format!("http://127.0.0.1:{port}/in"), "", "if_exists = \"rename\"\n");
        w.write("a/x.csv", "a;b\n");
        w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", planted)]).code(3);
        w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", planted)]).ok();
        assert_eq!((w.states(), files.lock().unwrap().len()), (vec!["delivered".to_owned()], 1));
    }
}

#[test]
fn what_was_put_while_somebody_wrote_into_it_is_told() {
    let server = Nginx::start(None);
    let w = world(&format!("http://localhost:{}/dav", server.port), "limit_rate = \"4MB\"\n", "");
    w.write("a/x.bin", vec![1; 4_000_000]);
    let claimed = w.path("a/.passerelle/1_x.bin");
    let writing = std::thread::spawn(move || {
        while !claimed.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        std::fs::File::options().append(true).open(&claimed).unwrap().write_all(b"more").unwrap();
    });
    w.once().ok().says("may have a half").says("somebody has written into the claimed file");
    writing.join().unwrap();
    assert_eq!(server.files("dav")["x.bin"].len(), 4_000_000);
}

#[test]
fn a_file_that_b_has_is_not_sent_again_because_it_could_not_be_hashed() {
    let server = Nginx::start(None);
    let w = world(&format!("http://localhost:{}/dav", server.port), "limit_rate = \"40MB\"\n", "if_exists = \"rename\"\n");
    w.write("a/big.bin", vec![1; 40_000_000]);
    // Somebody touches the claimed file while it is sent.
    let (claimed, there) = (w.path("a/.passerelle/1_big.bin"), server.dir.path().join("www/dav/big.bin"));
    let touching = std::thread::spawn(move || {
        while !there.exists() {
            if let Ok(file) = std::fs::File::options().append(true).open(&claimed) {
                let _ = file.set_modified(std::time::SystemTime::now());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    w.once();
    touching.join().unwrap();
    w.once().ok();
    assert_eq!((server.files("dav").len(), w.states()), (1, vec!["delivered".to_owned()]));
    assert!(w.history()[0]["hash"].as_str().is_some_and(|h| h.starts_with("sha256:")), "{:?}", w.history());
}

#[test]
fn a_put_that_is_verified_is_sent_once_also_where_b_takes_it_at_once_or_shows_nothing() {
    for refused in [false, true] {
        let puts = Arc::new(Mutex::new(0));
        let counted = puts.clone();
        let (port, _) = odd(move |method, files| {
            *counted.lock().unwrap() += usize::from(method == "PUT");
            if method == "PUT" && !refused {
                files.clear();
            }
            (method == "GET" && refused).then_some("403 Forbidden")
        });
        let w = world(&format!("http://127.0.0.1:{port}/in"), "", "verify = \"hash\"\n");
        w.write("a/x.csv", "a;b\n");
        w.once().ok();
        assert_eq!((w.states(), *puts.lock().unwrap()), (vec!["delivered".to_owned()], 1), "{refused}");
    }
    // What was cut is removed, and sent again.
    let mut cuts = 0;
    let (port, files) = odd(move |method, files| {
        if method == "PUT" && cuts == 0 {
            cuts += 1;
            files.values_mut().for_each(|v| v.truncate(2));
        }
        None
    });
    let w = world(&format!("http://127.0.0.1:{port}/in"), "", "verify = \"hash\"\n");
    w.write("a/x.csv", "a;b\n");
    w.once().code(3).says("other bytes");
    w.once().ok();
    assert_eq!(files.lock().unwrap().get("/in/x.csv").map(String::as_str), Some("a;b\n"));
}

#[test]
fn a_server_that_tells_no_size_and_lets_nothing_be_read_is_taken_at_its_word() {
    let (port, files) = odd(|method, files| match method {
        "HEAD" if !files.is_empty() => Some("200 OK\r\nTransfer-Encoding: chunked"),
        "GET" => Some("403 Forbidden"),
        _ => None,
    });
    let w = moving(port);
    w.config(&w.read("passerelle.toml").replace("[routes.r.destination]", "[routes.r.destination]\nif_exists = \"replace\""));
    w.once().ok().says("is taken as it was answered");
    assert!(files.lock().unwrap().contains_key("/in/x.csv"));
}

#[test]
fn a_page_to_log_in_is_no_file_that_b_has_not_taken() {
    let (port, seen) = answered(|_| Some(("302 Found\r\nLocation: /login?next=x".to_owned(), String::new())));
    let w = world(&format!("http://127.0.0.1:{port}/import"), "", "if_exists = \"wait\"\n");
    w.write("a/x", "1");
    let told = w.once().code(3).says("redirects to /login");
    assert!(!told.stderr.contains("has not taken it"), "{}", told.stderr);
    assert!(!seen.lock().unwrap().is_empty());
    assert!(w.run(&["check"]).code(3).stdout.contains("redirects to /login"));
}

#[test]
fn a_server_that_fails_at_all_is_not_told_to_be_in_order() {
    let (port, _) = answered(|_| Some(("503 Service Unavailable".to_owned(), "maintenance".to_owned())));
    let w = world(&format!("http://127.0.0.1:{port}/import"), "", "");
    let told = w.run(&["check"]).code(3).stdout;
    assert!(told.contains("NO  login") && told.contains("503 to HEAD /: maintenance") && told.contains("ask the server's keeper"), "{told}");
    // Of a question that it does not like, nothing follows.
    let (port, _) = answered(|request| Some((if request.starts_with("OPTIONS") { "403 Forbidden" } else { "200 OK" }.to_owned(), String::new())));
    let w = world(&format!("http://127.0.0.1:{port}/import"), "", "");
    w.run(&["check"]).code(0);
}

#[test]
fn a_server_that_says_nothing_any_more_is_given_up_after_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().map(|s| s.unwrap()).collect::<Vec<_>>());
    let w = world(&format!("http://127.0.0.1:{port}/import"), "timeout = \"1s\"\n", "");
    w.write("a/x", "1234567890\n".repeat(3_000_000));
    w.once().code(3).says("no byte moved for 1s");
}

#[test]
fn a_redirected_upload_is_told_with_the_address_to_put_in() {
    for (status, code) in [("308 Permanent Redirect", 3), ("301 Moved Permanently", 1)] {
        let (port, _) = answered(move |_| Some((format!("{status}\r\nLocation: https://b.example/in"), String::new())));
        let w = world(&format!("http://127.0.0.1:{port}/import"), "method = \"POST\"\n", "");
        w.write("a/x.csv", "1");
        w.once().code(code).says("which it redirects to https://b.example/in");
    }
}

#[test]
fn configured_headers_stand_for_the_relay_s_own_and_names_stand_before_a_query() {
    for (keys, target, head) in [
        ("method = \"POST\"\n", "POST /in/sub?key=a%2Fb HTTP", "\r\nContent-Type: text/csv\r\n"),
        ("", "PUT /in/sub/%C3%A9%20%22.csv?key=a%2Fb HTTP", "\r\nContent-Type: text/csv\r\n"),
        ("method = \"multipart\"\n", "POST /in/sub?key=a%2Fb HTTP", "name=\"file\"; filename=\"é %22.csv\"\r\n"),
    ] {
        let (port, seen) = scripted(vec![Some("200 OK")]);
        let w = world(&format!("http://127.0.0.1:{port}/in/?key=a%2Fb"), &format!("{keys}headers = {{ content-type = \"text/csv\" }}\n"), "");
        w.config(&w.read("passerelle.toml").replace("path = \"\"\n", "path = \"sub\"\n"));
        w.write("a/é \".csv", "1");
        w.once().ok();
        let request = seen.lock().unwrap()[0].clone();
        assert!(request.starts_with(target) && request.to_lowercase().contains(&head.to_lowercase()), "{request}");
        let types = request.split("\r\n\r\n").next().unwrap().to_lowercase().matches("content-type:").count();
        assert_eq!(types, 1, "{request}");
        if keys.contains("POST") {
            assert!(request.contains("filename=\"_ _.csv\"; filename*=UTF-8''%C3%A9%20%22.csv"), "{request}");
        }
    }
}

#[test]
fn the_slash_of_a_folder_stands_before_a_query() {
    let (port, seen) = answered(|request| Some((if request.starts_with("PROPFIND") { "404 Not Found" } else { "200 OK" }.to_owned(), String::new())));
    let w = world(&format!("http://127.0.0.1:{port}/dav?sig=abc"), "publish = \"move\"\n", "create = true\n");
    w.run(&["check"]);
    w.write("a/x", "1");
    w.once();
    let targets: Vec<String> = seen.lock().unwrap().iter().map(|r| r.lines().next().unwrap().to_owned()).collect();
    assert!(targets.len() > 3 && targets.iter().all(|t| t.contains("?sig=abc HTTP")), "{targets:?}");
}
