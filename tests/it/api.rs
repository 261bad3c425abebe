//! B's API as a destination that takes each record by itself: what it takes, refuses, and leaves in doubt.

use std::sync::{Arc, Mutex};

use crate::http::scripted;
use crate::world::World;

fn world(port: u16, endpoint: &str, more: &str) -> World {
    World::new(&format!(
        "[endpoints.b]\nurl = \"http://127.0.0.1:{port}/api\"\npublish = \"records\"\n{endpoint}{}endpoint = \"b\"\n[routes.r.input]\nformat = \"csv\"\ndelimiter = \";\"\n[routes.r.map]\ncode = \"code\"\nnom = \"nom | upper\"\n[routes.r.output]\nformat = \"json\"\n{more}",
        World::route("r", "a", "clients")
    ))
}

fn bodies(seen: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
    seen.lock().unwrap().iter().map(|r| r.split_once("\r\n\r\n").unwrap().1.to_owned()).collect()
}

fn key(request: &str) -> String {
    request.lines().find_map(|l| l.strip_prefix("Idempotency-Key: ")).unwrap().to_owned()
}

#[test]
fn each_record_is_a_request_and_what_b_refuses_is_rejected_in_its_words() {
    let refused = "422 Unprocessable\r\nContent-Length: 26\r\n\r\n{\"error\":\"le nom est pris\"}";
    let (port, seen) = scripted(vec![Some("201 Created"), Some(refused), Some("200 OK"), Some("409 Conflict")]);
    let w = world(port, "", "");
    w.write("a/x.csv", "code;nom\n007;Ann\n008;Bob\nbroken\n009;Zoé\n010;Cid\n");
    w.once().ok();
    assert_eq!(
        bodies(&seen),
        [r#"{"code":"007","nom":"ANN"}"#, r#"{"code":"008","nom":"BOB"}"#, r#"{"code":"009","nom":"ZOÉ"}"#, r#"{"code":"010","nom":"CID"}"#]
    );
    let first = seen.lock().unwrap()[0].clone();
    assert!(first.starts_with("POST /api/clients HTTP/1.1\r\n") && first.contains("Content-Type: application/json\r\n"), "{first}");
    let keys: std::collections::BTreeSet<String> = seen.lock().unwrap().iter().map(|r| key(r)).collect();
    assert_eq!(keys.len(), 4, "each request has a key of its own");
    let job = &w.history()[0];
    assert_eq!(
        (&job["state"], &job["records"]["read"], &job["records"]["written"], &job["records"]["rejected"]),
        (&"delivered".into(), &5.into(), &2.into(), &3.into())
    );
    let rejects = w.read("relay/errors/r/x.csv.rejects.csv");
    let lines: Vec<&str> = rejects.trim_start_matches('\u{feff}').lines().collect();
    assert_eq!(lines[0], "_line;_field;_reason;code;nom");
    assert!(lines[1].starts_with("3;;") && lines[1].contains("422") && lines[1].contains("le nom est pris") && lines[1].ends_with("008;Bob"), "{rejects}");
    assert!(lines[2].starts_with("4;"), "{rejects}");
    assert!(lines[3].contains("409") && lines[3].ends_with("010;Cid"), "{rejects}");
    // Corrected and dropped back, only they are sent.
    let (port, seen) = scripted(vec![Some("201 Created"); 3]);
    w.config(&w.read("passerelle.toml").replace(
        &format!("127.0.0.1:{}", w.read("passerelle.toml").split("127.0.0.1:").nth(1).unwrap().split('/').next().unwrap()),
        &format!("127.0.0.1:{port}"),
    ));
    w.write("a/x.csv.rejects.csv", "_line;_field;_reason;code;nom\n3;;422;008;Bobby\n");
    w.once().ok();
    assert_eq!(bodies(&seen), [r#"{"code":"008","nom":"BOBBY"}"#]);
}

#[test]
fn a_record_that_b_refuses_is_sent_again_with_the_next_export_and_no_other_is() {
    let (port, seen) = scripted(vec![Some("201 Created"), Some("422 No"), Some("201 Created"), Some("200 OK")]);
    let w = world(port, "", "[routes.r.sync]\nkey = [\"code\"]\n");
    w.write("a/1.csv", "code;nom\n1;a\n2;b\n3;c\n");
    w.once().ok();
    w.write("a/2.csv", "code;nom\n1;a\n2;b\n3;c\n");
    w.once().ok();
    assert_eq!(bodies(&seen)[3..], [r#"{"code":"2","nom":"B"}"#]);
    w.write("a/3.csv", "code;nom\n1;a\n2;b\n3;c\n");
    w.once().ok();
    assert_eq!(bodies(&seen).len(), 4);
}

#[test]
fn so_many_records_go_in_one_request() {
    let (port, seen) = scripted(vec![Some("200 OK"), Some("400 Bad Request"), Some("200 OK")]);
    let w = world(port, "batch = 2\nmethod = \"PUT\"\n", "order_by = [\"-code\"]\n");
    w.write("a/x.csv", "code;nom\n1;a\n2;b\n3;c\n4;d\n5;e\n");
    w.once().ok();
    assert_eq!(
        bodies(&seen),
        [r#"[{"code":"5","nom":"E"},{"code":"4","nom":"D"}]"#, r#"[{"code":"3","nom":"C"},{"code":"2","nom":"B"}]"#, r#"[{"code":"1","nom":"A"}]"#]
    );
    let rejects = w.read("relay/errors/r/x.csv.rejects.csv");
    assert!(rejects.contains("3;;") && rejects.contains("4;;") && rejects.lines().count() == 3, "{rejects}");
}

#[test]
fn a_server_in_trouble_is_gone_on_with_where_it_stopped() {
    let (port, seen) = scripted(vec![Some("200 OK"), Some("503 Service Unavailable"), Some("200 OK"), Some("200 OK")]);
    let w = world(port, "", "");
    w.write("a/x.csv", "code;nom\n1;a\n2;b\n3;c\n");
    w.once().code(3).says("503");
    w.once().ok();
    let sent = bodies(&seen);
    assert_eq!((sent.len(), &sent[1], w.states()), (4, &sent[2], vec!["delivered".to_owned()]));
    let requests = seen.lock().unwrap();
    assert_eq!(key(&requests[1]), key(&requests[2]), "the same request has the same key");
}

#[test]
fn a_request_in_doubt_is_never_sent_twice_by_itself_and_those_behind_it_follow_an_operators_word() {
    for (word, again) in [("confirm-delivered", false), ("retry", true)] {
        let (port, seen) = scripted(vec![Some("200 OK"), None, Some("200 OK"), Some("200 OK")]);
        let w = world(port, "", "");
        w.write("a/x.csv", "code;nom\n1;a\n2;b\n3;c\n");
        w.once().code(1).says("record 2").says("confirm-delivered");
        w.once().ok();
        assert_eq!((w.states(), seen.lock().unwrap().len()), (vec!["unconfirmed".to_owned()], 2));
        w.run(&[word, "1"]).ok();
        w.once().ok();
        let sent = bodies(&seen);
        assert_eq!(w.states(), ["delivered"], "{word}");
        assert_eq!(sent.len(), if again { 4 } else { 3 }, "{word}: {sent:?}");
        assert_eq!(sent.iter().filter(|b| b.contains("\"1\"")).count(), 1, "what B has is not sent again");
        assert!(sent.last().unwrap().contains("\"3\""));
    }
    // A PUT may go twice.
    let (port, seen) = scripted(vec![None, Some("200 OK")]);
    let w = world(port, "method = \"PUT\"\n", "");
    w.write("a/x.csv", "code;nom\n1;a\n");
    w.once().code(3);
    w.once().ok();
    assert_eq!((bodies(&seen).len(), w.states()), (2, vec!["delivered".to_owned()]));
}

#[test]
fn a_relay_that_is_killed_between_two_requests_goes_on_and_within_one_asks() {
    // The number of the second request among all that matters.
    let (port, _) = scripted(vec![Some("200 OK"); 9]);
    let w = world(port, "", "");
    w.write("a/x.csv", "code;nom\n1;a\n2;b\n3;c\n");
    let list = w.path("points");
    assert_eq!(w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &format!("list={}", list.display()))]).code, 0);
    let points = w.read("points");
    let second = points.lines().enumerate().filter(|(_, l)| l.contains("send")).nth(1).unwrap().0 + 1;
    let (before, after) = (format!("kill=before:{second}"), format!("kill=after:{second}"));
    for (point, sent_first, state) in [(before.as_str(), 1, "unconfirmed"), (&after, 2, "unconfirmed"), ("kill=before:published", 3, "delivered")] {
        let (port, seen) = scripted(vec![Some("200 OK"); 9]);
        let w = world(port, "", "");
        w.write("a/x.csv", "code;nom\n1;a\n2;b\n3;c\n");
        assert_eq!(w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", point)]).code, -1, "{point}");
        assert_eq!(bodies(&seen).len(), sent_first, "{point}");
        w.once();
        assert_eq!(w.states(), [state], "{point}");
        if state == "unconfirmed" {
            w.run(&[if sent_first == 2 { "confirm-delivered" } else { "retry" }, "1"]).ok();
            w.once().ok();
        }
        let sent = bodies(&seen);
        assert_eq!(sent.len(), 3, "{point}: {sent:?}");
        assert_eq!(w.states(), ["delivered"], "{point}");
        assert!(w.names("relay/work/sent").is_empty(), "what was sent is forgotten once the file is archived");
    }
}

#[test]
fn a_doubt_stays_one_through_a_kill_and_a_changed_batch() {
    for point in ["kill=before:unconfirmed", "kill=after:unconfirmed"] {
        let (port, seen) = scripted(vec![Some("200 OK"), None, Some("200 OK"), Some("200 OK")]);
        let w = world(port, "", "");
        w.write("a/x.csv", "code;nom\n1;a\n2;b\n3;c\n");
        assert_eq!(w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", point)]).code, -1, "{point}");
        w.config(&w.read("passerelle.toml").replace("publish = \"records\"", "publish = \"records\"\nbatch = 9"));
        w.once();
        assert_eq!((w.states(), bodies(&seen).len()), (vec!["unconfirmed".to_owned()], 2), "{point}");
        w.run(&["retry", "1"]).ok();
        w.once();
        w.run(&["retry", "1"]);
        w.once().ok();
        assert_eq!(w.states(), ["delivered"], "{point}");
        let sent = bodies(&seen);
        assert_eq!(sent.iter().filter(|b| b.contains("\"1\"")).count(), 1, "what B has is not sent again: {sent:?}");
        assert_eq!(sent.len(), 4, "{sent:?}");
    }
}

#[test]
fn more_refusals_than_allowed_fail_the_file_and_a_retry_sends_only_the_rest() {
    let (port, seen) = scripted(vec![Some("200 OK"), Some("400 Bad Request"), Some("400 Bad Request"), Some("200 OK"), Some("200 OK")]);
    let w = World::new(&world(port, "", "").read("passerelle.toml").replace("[routes.r.source]", "[routes.r]\nmax_rejects = 1\n[routes.r.source]"));
    w.write("a/x.csv", "code;nom\n1;a\n2;b\n3;c\n4;d\n");
    w.once().code(1).says("2 of 4 records");
    assert_eq!(w.states(), ["failed"]);
    w.config(&w.read("passerelle.toml").replace("max_rejects = 1", "max_rejects = 2"));
    w.run(&["retry", "1"]).ok();
    w.once().ok();
    let sent = bodies(&seen);
    assert_eq!(sent.len(), 4, "{sent:?}");
    assert!(sent[3].contains("\"4\""), "what was answered is not asked again: {sent:?}");
    assert_eq!(w.history()[0]["records"]["rejected"], 2);
}

#[test]
fn what_can_not_be_sent_record_by_record_is_told_before_a_run() {
    for (from, to, told) in [
        ("format = \"json\"", "format = \"xml\"", "sends JSON, not xml"),
        ("format = \"json\"", "format = \"json\"\nsplit = 2", "no file"),
        ("format = \"json\"", "format = \"json\"\ngroup_by = [\"code\"]\ngroup_into = \"l\"", "group on the input"),
        ("path = \"clients\"", "path = \"clients\"\nconfirm = \"1m\"", "confirm"),
        ("publish = \"records\"", "publish = \"records\"\nmethod = \"multipart\"", "not as a form"),
        ("publish = \"records\"", "batch = 3", "needs publish"),
    ] {
        let w = world(1, "", "");
        w.config(&w.read("passerelle.toml").replace(from, to));
        w.run(&["config", "check"]).code(2).says(told);
    }
}
