//! `check`: every cause that stops a connection is told apart, at its stage, with what to ask for.

use std::io::Write;
use std::net::TcpListener;

use crate::servers::{Ca, Nginx, Sshd, Vsftpd, free_port, user};
use crate::world::World;

/// What `check --json` says of the first endpoint: exit status, passed stages, the failed one with detail and hint.
struct Checked {
    code: i32,
    passed: Vec<String>,
    failed: Option<(String, String, String)>,
    details: String,
}

fn checked(endpoint: &str, more: &str) -> Checked {
    checked_with(endpoint, more, &[])
}

fn checked_with(endpoint: &str, more: &str, environment: &[(&str, &str)]) -> Checked {
    let w = World::new(&format!("{endpoint}connect_timeout = \"2s\"\ntimeout = \"5s\"\n{more}"));
    let out = w.run_with(&["check", "--json"], environment);
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert_eq!(lines.len(), 1, "{}\n{}", out.stdout, out.stderr);
    let report: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(report["ok"], steps.iter().all(|s| s["ok"] == true), "{report}");
    assert!(steps.iter().all(|s| s["ms"].is_u64() && !text(&s["detail"]).is_empty()), "{report}");
    let failed = steps.iter().position(|s| s["ok"] == false);
    assert!(failed.is_none_or(|at| at + 1 == steps.len()), "the first that fails is the last: {report}");
    Checked {
        code: out.code,
        passed: steps.iter().filter(|s| s["ok"] == true).map(|s| text(&s["step"])).collect(),
        failed: failed.map(|at| (text(&steps[at]["step"]), text(&steps[at]["detail"]), text(&steps[at]["hint"]))),
        details: lines[0].to_owned(),
    }
}

impl Checked {
    #[track_caller]
    fn stops_at(self, step: &str, detail: &str, hint: &str) -> Self {
        let (at, why, what) = self.failed.clone().unwrap_or_else(|| panic!("it passes: {}", self.details));
        assert!(at == step && why.contains(detail) && what.contains(hint), "{at}: {why} → {what}");
        assert_eq!(self.code, 3);
        self
    }
    #[track_caller]
    fn passes(self, steps: &[&str]) -> Self {
        assert_eq!((self.code, self.passed.iter().map(String::as_str).collect::<Vec<_>>()), (0, steps.to_vec()), "{}", self.details);
        self
    }
    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.details.contains(text), "«{text}» is not in {}", self.details);
        self
    }
}

fn route(endpoint: &str, path: &str) -> String {
    format!("[routes.r.source]\npath = \"a\"\n[routes.r.destination]\nendpoint = \"{endpoint}\"\npath = \"{path}\"\n")
}

const SSH: [&str; 9] = ["name", "port", "handshake", "login", "folder", "list", "write", "verify", "rename"];

#[test]
fn a_server_that_works_passes_every_stage_and_is_left_as_it_was() {
    let server = Sshd::start();
    let checked = checked(&server.endpoint("b"), &route("b", "."));
    checked.passes(&[&SSH[..], &["delete"]].concat()).says("ssh-ed25519 SHA256:").says("posix-rename@openssh.com").says("by key");
    assert!(server.files().is_empty());
}

#[test]
fn without_routes_the_folder_of_the_address_is_tried() {
    let server = Sshd::start();
    checked(&server.endpoint("b"), "").passes(&[&SSH[..], &["delete"]].concat());
}

#[test]
fn an_unknown_name_a_closed_port_and_a_port_that_drops_are_told_apart() {
    let sftp = |host: &str| format!("[endpoints.b]\nurl = \"sftp://u@{host}/in\"\npassword = \"x\"\n");
    checked(&sftp("no-such-host.invalid"), "").stops_at("name", "no-such-host.invalid", "name server");
    let closed = format!("127.0.0.1:{}", free_port());
    checked(&sftp(&closed), "").stops_at("port", &format!("{closed} refuses the connection"), "nothing listens");
    // A full backlog drops what comes, as a firewall does.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let _held: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200))).collect();
    checked(&sftp(&address.to_string()), "").stops_at("port", "does not answer within 2s", &format!("outbound TCP {address} from this host"));
}

#[test]
fn what_answers_on_a_wrong_port_is_named() {
    let ssh = Sshd::start();
    let ftp = Vsftpd::start("");
    let ca = Ca::new();
    let tls = Nginx::start(Some(&ca));
    let plain = Nginx::start(None);
    let endpoint = |scheme: &str, port: u16, more: &str| format!("[endpoints.b]\nurl = \"{scheme}://u@127.0.0.1:{port}/in\"\npassword = \"x\"\n{more}");
    checked(&endpoint("ftp", ssh.port, ""), "").stops_at("handshake", "", "an SSH server answers there");
    checked(&endpoint("sftp", ftp.port, ""), "").stops_at("handshake", "", "an FTP or mail server answers there");
    checked(&endpoint("https", plain.port, ""), "").stops_at("handshake", "TLS", "a web server answers there without TLS");
    checked(&endpoint("http", tls.port, ""), "").stops_at("handshake", "", "use https://");
    checked(&endpoint("https", ssh.port, ""), "").stops_at("handshake", "", "an SSH server answers there");
    checked(&endpoint("ftps", ftp.port, "tls = \"implicit\"\n"), "").stops_at("handshake", "", "leave out tls");
}

#[test]
fn host_keys_and_logins_that_are_refused_say_what_to_do() {
    let server = Sshd::start();
    let known = server.dir.path().join("known_hosts");
    let right = server.endpoint("b");
    let other = right.replace("/user\"", "/other\"");
    checked(&other, "").stops_at("login", "refused", "check user, key and password");
    std::fs::write(server.dir.path().join("nothing"), "no key").unwrap();
    std::fs::set_permissions(server.dir.path().join("nothing"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    checked(&right.replace("/user\"", "/nothing\""), "").stops_at("login", "can't be used", "if it is encrypted, set `passphrase`");
    std::fs::write(&known, "").unwrap();
    checked(&right, "").stops_at("handshake", "is unknown: ssh-ed25519 SHA256:", "passerelle trust b");
    let foreign = std::fs::read_to_string(server.dir.path().join("other.pub")).unwrap();
    std::fs::write(&known, format!("[127.0.0.1]:{} {foreign}", server.port)).unwrap();
    checked(&right, "").stops_at("handshake", "has changed", "somebody may be in between");
}

#[test]
fn a_server_of_old_algorithms_is_told_as_such() {
    let server = Sshd::with("KexAlgorithms diffie-hellman-group1-sha1\n", "");
    checked(&server.endpoint("b"), "").stops_at("handshake", "", "no algorithm in common");
}

#[test]
fn folders_that_are_missing_or_closed_and_requests_that_are_forbidden_stop_at_their_stage() {
    let server = Sshd::start();
    checked(&server.endpoint("b"), &route("b", "none")).stops_at("folder", "none does not exist", "create = true");
    let folder = server.dir.path().join("in/ro");
    std::fs::create_dir(&folder).unwrap();
    let no_write = Sshd::with("", "-R");
    checked(&no_write.endpoint("b"), "").stops_at("write", "", "the right to write");
    let no_rename = Sshd::with("", "-P rename");
    checked(&no_rename.endpoint("b"), "").stops_at("rename", "", "");
    assert!(no_rename.files().is_empty(), "what a check wrote is removed");
    let no_remove = Sshd::with("", "-P remove");
    checked(&no_remove.endpoint("b"), "").stops_at("delete", "", "");
}

#[test]
fn the_way_from_temp_path_is_tried_and_files_are_read_back_where_they_are_verified_so() {
    let server = Sshd::start();
    let with = |more: &str| route("b", ".") + more;
    checked(&server.endpoint("b"), &with("temp_path = \"tmp\"\n")).stops_at("folder", "tmp does not exist", "create = true");
    std::fs::create_dir(server.dir.path().join("in/tmp")).unwrap();
    let tried = checked(&server.endpoint("b"), &with("temp_path = \"tmp\"\nverify = \"hash\"\n"));
    tried.passes(&[&SSH[..], &["delete"]].concat()).says("bytes as tmp/.passerelle").says("to ./.passerelle-check").says("it reads as it was written");
    let blind = Sshd::with("", "-P read");
    checked(&blind.endpoint("b"), &with("verify = \"hash\"\n")).stops_at("verify", "", "set verify = \"size\"");
}

#[test]
fn of_a_source_a_file_is_read_and_what_is_to_become_of_originals_is_done_with_one_of_ours() {
    let source = |more: &str| format!("[routes.r.source]\nendpoint = \"b\"\npath = \".\"\ninclude = [\"*.csv\"]\n{more}[routes.r.destination]\npath = \"b\"\n");
    let server = Sshd::start();
    std::fs::write(server.dir.path().join("in/big.csv"), "x".repeat(2_000_000)).unwrap();
    std::fs::write(server.dir.path().join("in/x.csv"), "1\n").unwrap();
    std::fs::write(server.dir.path().join("in/a.txt"), "1\n").unwrap();
    let stages = ["name", "port", "handshake", "login", "folder", "list", "read"];
    checked(&server.endpoint("b"), &source("on_success = \"keep\"\n")).passes(&stages).says("x.csv, 2 bytes");
    checked(&server.endpoint("b"), &source("")).passes(&[&stages[..], &["write", "delete"]].concat());
    checked(&server.endpoint("b"), &source("on_success = \"move\"\nmove_to = \"done\"\n")).passes(&[&stages[..], &["write", "rename", "delete"]].concat());
    assert_eq!(server.files().len(), 3);
    let stays = Sshd::with("", "-P remove");
    checked(&stays.endpoint("b"), &source("")).stops_at("delete", "", "");
    // Who may not write there may perhaps remove: nothing is known of it, and that is said.
    let read_only = Sshd::with("", "-R");
    checked(&read_only.endpoint("b"), &source("")).says("whether originals can be removed there shows with the first one");
    // A plain web server: the address is for deliveries by PUT too, and a source is tried all the same.
    let web = Nginx::start(None);
    let endpoint = format!("[endpoints.b]\nurl = \"http://127.0.0.1:{}/dav\"\n", web.port);
    std::fs::write(web.dir.path().join("www/dav/x.csv"), "1\n").unwrap();
    checked(&endpoint, &source("").replace("path = \".\"\n", "")).passes(&[&stages[..], &["write", "delete"]].concat());
}

#[test]
fn ftp_passes_its_data_channel_and_says_when_only_the_data_ports_are_closed() {
    let server = Vsftpd::start("");
    let stages = ["name", "port", "handshake", "login", "folder", "data channel", "list", "write", "verify", "rename", "delete"];
    checked(&server.endpoint("b", "ftp"), &route("b", ".")).passes(&stages).says("no TLS").says("takes connections");
    let ca = Ca::new();
    let secure = Vsftpd::tls(&ca, "require_ssl_reuse=YES\n");
    checked(&format!("{}{}", secure.endpoint("b", "ftps"), ca.ca_file()), &route("b", ".")).passes(&stages).says("TLSv1.");
    checked(&secure.endpoint("b", "ftps"), "").stops_at("handshake", "the certificate is not valid", "ca_file");
    checked(&secure.endpoint("b", "ftp"), "").stops_at("login", "", "ftps://");
}

#[test]
fn closed_data_ports_are_told_with_the_range_to_ask_for() {
    let port = scripted(|command, _| match command {
        "EPSV" => "229 Entering Extended Passive Mode (|||1|)".into(),
        _ => String::new(),
    });
    let endpoint = format!("[endpoints.b]\nurl = \"ftp://u@127.0.0.1:{port}/\"\npassword = \"x\"\n");
    checked(&endpoint, "").stops_at("data channel", "127.0.0.1:1 refuses the connection", "range of passive ports");
}

#[test]
fn certificates_that_are_expired_or_for_another_host_are_told() {
    let expired = Ca::for_host("localhost", -1);
    let server = Nginx::start(Some(&expired));
    let endpoint = format!("[endpoints.b]\nurl = \"https://localhost:{}/dav\"\n{}", server.port, expired.ca_file());
    checked(&endpoint, "").stops_at("handshake", "expired", "renew");
    let other = Ca::for_host("other.example", 10);
    let server = Nginx::start(Some(&other));
    let endpoint = format!("[endpoints.b]\nurl = \"https://localhost:{}/dav\"\n{}", server.port, other.ca_file());
    checked(&endpoint, "").stops_at("handshake", "certificate", "the host in the url");
}

#[test]
fn webdav_is_tried_to_the_end_and_a_plain_put_is_not_sent() {
    let server = Nginx::start(None);
    let dav = format!("[endpoints.b]\nurl = \"http://127.0.0.1:{}/dav\"\npublish = \"move\"\n", server.port);
    checked(&dav, "").passes(&["name", "port", "handshake", "login", "folder", "list", "write", "verify", "rename", "delete"]);
    assert!(server.files("dav").is_empty());
    let put = format!("[endpoints.b]\nurl = \"http://127.0.0.1:{}/dav\"\n", server.port);
    checked(&put, "").passes(&["name", "port", "handshake", "login"]).says("nothing is sent to try it");
    World::new(&put).run(&["check"]).ok().says("it can be reached");
}

#[test]
fn every_endpoint_has_its_line_and_a_wrong_name_the_nearest() {
    let server = Sshd::start();
    let w = World::new(&format!("{}[endpoints.old]\nurl = \"ftp://127.0.0.1:{}/\"\n", server.endpoint("b"), free_port()));
    let out = w.run(&["check", "--json"]).code(3);
    assert_eq!(out.stdout.lines().count(), 2);
    w.run(&["check", "b"]).ok().says("everything works").says("handshake");
    w.run(&["check"]).code(3).says("NO  port").says("→");
    w.run(&["check", "ol"]).code(2).says("did you mean old?");
    assert!(!out.stdout.contains(&user()) || user() == "root", "{}", out.stdout);
}

/// An FTP server that says what a script says; empty: what a server usually says.
fn scripted(script: impl Fn(&str, &str) -> String + Send + 'static) -> u16 {
    use std::io::{BufRead, BufReader};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(b"220 ready\r\n");
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                let (command, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
                let mut answer = script(command, rest);
                if answer.is_empty() {
                    answer = match command {
                        "USER" => "331 password",
                        "PASS" => "230 welcome",
                        "PWD" => "257 \"/\"",
                        "SIZE" => "550 no file",
                        "CWD" | "TYPE" => "200 done",
                        _ => "502 not here",
                    }
                    .into();
                }
                if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                    break;
                }
                line.clear();
            }
        }
    });
    port
}

#[test]
fn an_address_behind_nat_is_told_and_not_used() {
    // An old server: without EPSV, and with an address that nobody can reach.
    let server = Vsftpd::start("cmds_denied=EPSV\npasv_address=203.0.113.9\n");
    let checked = checked(&server.endpoint("b", "ftp"), &route("b", "."));
    checked.says("203.0.113.9").says("stands behind NAT").says("with EPSV, MDTM, REST, SIZE").says("\"ok\":true,\"steps\"");
}

#[test]
fn a_server_that_does_not_take_the_tls_session_of_the_control_connection_is_told_as_such() {
    let ca = Ca::new();
    let server = Vsftpd::tls(&ca, "");
    let endpoint = server.endpoint("b", "ftps") + &ca.ca_file();
    checked_with(&endpoint, &route("b", "."), &[("PASSERELLE_POINTS", "plant=no-tls-resume")]).stops_at("data channel", "522", "require_ssl_reuse");
}

#[test]
fn a_server_that_is_full_for_now_refuses_no_login() {
    let port =
        scripted(
            |command, _| {
                if command == "PASS" { "530 Sorry, the maximum number of clients (1) for this user are already connected.".into() } else { String::new() }
            },
        );
    let w = World::new(&format!("[endpoints.b]\nurl = \"ftp://u@127.0.0.1:{port}/in\"\npassword = \"p\"\n"));
    w.run(&["check"]).code(3).says("takes no login of u for now").says("lower `connections`");
}

#[test]
fn a_line_that_breaks_during_an_ssh_login_is_no_refused_login() {
    let server = crate::servers::Sshd::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), server.port);
    // Somewhere among these the handshake is over and the login is not.
    let mut limits = (1000..2000).step_by(100);
    let last = limits.clone().count();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let limit = limits.next().unwrap_or(u64::MAX);
            let Ok(there) = std::net::TcpStream::connect(("127.0.0.1", to)) else { return };
            let (mut asks, mut takes) = (client.try_clone().unwrap(), there.try_clone().unwrap());
            let (mut back, mut from) = (client, there);
            std::thread::spawn(move || std::io::copy(&mut from, &mut back));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::Read::take(&mut asks, limit), &mut takes);
                let _ = (asks.shutdown(std::net::Shutdown::Both), takes.shutdown(std::net::Shutdown::Both));
            });
        }
    });
    let w = World::new(&server.endpoint("b").replace(&format!(":{to}"), &format!(":{port}")));
    std::fs::write(w.path("known_hosts"), server.known_hosts_line().replace(&to.to_string(), &port.to_string())).unwrap();
    let text = w.read("passerelle.toml");
    let known = text.lines().find(|l| l.starts_with("known_hosts")).unwrap().to_owned();
    w.config(&text.replace(&known, "known_hosts = \"known_hosts\""));
    let told: String = (0..last).map(|_| w.run(&["check"]).stdout).collect();
    assert!(told.contains("the connection broke while") && !told.contains("was refused"), "{told}");
}
