//! An FTP server as some mainframes have it: it tells no sizes and lists no folders, and may keep less than it was sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

pub struct OldFtp {
    pub port: u16,
    pub files: Files,
    /// Of the next file that is sent, so many bytes are kept.
    pub keeps: Arc<Mutex<Option<usize>>>,
    /// It renames, and says that it does not.
    pub denies: Arc<AtomicBool>,
}

impl OldFtp {
    /// `lists`: whether LIST and NLST show anything.
    pub fn start(lists: Lists) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), files: Files::default(), keeps: Arc::default(), denies: Arc::default() };
        let (files, keeps, denies) = (server.files.clone(), server.keeps.clone(), server.denies.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, keeps, denies) = (files.clone(), keeps.clone(), denies.clone());
                std::thread::spawn(move || talk(stream, lists, &files, &keeps, &denies));
            }
        });
        server
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Lists {
    WithSizes,
    /// MLSD, with the least that it may tell; SIZE tells the rest.
    Facts,
    Nothing,
}

fn talk(mut stream: TcpStream, lists: Lists, files: &Files, keeps: &Mutex<Option<usize>>, denies: &AtomicBool) {
    let mut data: Option<TcpListener> = None;
    let mut from = String::new();
    let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes());
    say("220 ready").unwrap();
    let Ok(commands) = stream.try_clone() else { return };
    for line in BufReader::new(commands).lines().map_while(Result::ok) {
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let name = rest.trim_matches('/').to_owned();
        let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes());
        let done = match verb.to_uppercase().as_str() {
            "USER" => say("331 password"),
            "PASS" => say("230 in"),
            "TYPE" => say("200 ok"),
            "PWD" => say("257 \"/\""),
            "CWD" if matches!(name.as_str(), "" | "in") => say("250 ok"),
            "CWD" => say("550 no such folder"),
            "PASV" => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = listener.local_addr().unwrap().port();
                data = Some(listener);
                say(&format!("227 Entering Passive Mode (127,0,0,1,{},{})", port >> 8, port & 255))
            }
            "SIZE" if lists == Lists::Facts => match files.lock().unwrap().get(&name) {
                Some(bytes) => say(&format!("213 {}", bytes.len())),
                None => say("550 no such file"),
            },
            "MLSD" if lists != Lists::Facts => say("502 not known here"),
            "STOR" | "LIST" | "NLST" | "RETR" | "MLSD" => {
                let Some(listener) = data.take() else { return };
                if verb == "RETR" && !files.lock().unwrap().contains_key(&name) {
                    let _ = say("550 no such file");
                    continue;
                }
                let _ = say("150 go on");
                let (mut channel, _) = listener.accept().unwrap();
                match verb {
                    "STOR" => {
                        let mut bytes = Vec::new();
                        channel.read_to_end(&mut bytes).unwrap();
                        bytes.truncate(keeps.lock().unwrap().take().unwrap_or(usize::MAX));
                        files.lock().unwrap().insert(name, bytes);
                    }
                    "RETR" => channel.write_all(&files.lock().unwrap()[&name]).unwrap(),
                    _ if lists == Lists::Nothing => {}
                    _ => {
                        // Of a file that one, of a folder what it holds.
                        let asked = |path: &str| path == name || path.rsplit_once('/').is_some_and(|(folder, _)| folder == name);
                        for (path, bytes) in files.lock().unwrap().iter().filter(|(path, _)| asked(path)) {
                            let base = path.rsplit('/').next().unwrap();
                            let line = match verb {
                                "NLST" => format!("{base}\r\n"),
                                "MLSD" => format!("Type=file;Modify=20261127101112; {base}\r\n"),
                                _ => format!("-rw-r--r-- 1 u g {} Nov 27 2026 {base}\r\n", bytes.len()),
                            };
                            channel.write_all(line.as_bytes()).unwrap();
                        }
                    }
                }
                drop(channel);
                say("226 done")
            }
            "RNFR" => {
                from = name;
                say("350 to?")
            }
            "RNTO" => {
                let moved = files.lock().unwrap().remove(&from);
                let answer = if moved.is_some() && !denies.load(Relaxed) { "250 done" } else { "550 no such file" };
                files.lock().unwrap().extend(moved.map(|bytes| (name, bytes)));
                say(answer)
            }
            "DELE" => {
                files.lock().unwrap().remove(&name);
                say("250 done")
            }
            "QUIT" => return,
            _ => say("502 not known here"),
        };
        if done.is_err() {
            return;
        }
    }
}
