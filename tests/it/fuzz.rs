//! Foreign bytes: whatever a file, a configuration or a server says, the answer is records or an error, never a panic, a
//! hang or a file outside its folder. `scripts/fuzz` runs the same for longer.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::OnceLock;

use proptest::prelude::*;

use crate::servers::Sshd;
use crate::world::World;

/// How many cases: `PROPTEST_CASES`, or a short run.
fn cases(short: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(short), failure_persistence: None, ..ProptestConfig::default() }
}

/// A sample with some of its bytes changed, dropped, doubled, or put elsewhere.
fn mutated(samples: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    changed(samples.iter().map(|s| s.as_bytes().to_vec()).collect())
}

fn changed(samples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5u8, any::<u8>());
    (prop::sample::select(samples), proptest::collection::vec(change, 0..12)).prop_map(|(mut bytes, changes)| {
        for (a, b, how, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
            match how {
                0 => bytes[a] = byte,
                1 => drop(bytes.remove(a)),
                2 => bytes.insert(a, byte),
                3 => bytes.swap(a, b),
                _ => {
                    let piece = bytes[a.min(b)..a.max(b)].to_vec();
                    let at = a.max(b);
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    })
}

const CSV: &[&str] = &[
    "Nom;Solde;Date\nDurand;1,50;31/12/2025\n\"Le \"\"Petit\"\"\";-3,00;01/01/2026\n\"deux\nlignes\";2;03/04/2026\n",
    "a,b\r\n1,2\r\n\r\n\"x\",\r\n",
    "\u{feff}é;ü\n1;2;3\n;\n'q';\"\"\n",
];
const JSON: &[&str] =
    &["{\"a\": 1.50, \"b\": [null, true, \"\\u00e9\\ud83d\\ude00\"], \"c\": {\"d\": -1e10}}\n{\"a\": 2}\n", "[{\"a\": \"x\"}, {\"a\": \"y\\n\"}]"];
const XML: &[&str] = &[
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<l xmlns:x='u'><c a='1'><n>A &amp; B</n><t>1</t><t>2</t></c><!-- k --><x:c><n><![CDATA[<q>]]></n></x:c></l>",
    "<!DOCTYPE l [<!ENTITY e 'x'>]><l><c><n>&e;&#233;</n></c><c/></l>",
];
const FIXED: &[&str] = &["01A  12\n02x\n02y\n01B  13\n99\n", "01\u{e9}\u{e9}\n\n02\n"];
const EDIFACT: &[&str] = &["UNA:+.? 'UNB+UNOC:3+A?+B'UNH+1+ORDERS:D:96A:UN'BGM+220'LIN+1'QTY+21:2.50'UNS+S'UNT+4+1'UNZ+1+1'", "UNB+UNOA:2'LIN+1'QTY+1'"];

/// A small table: two fields, three records, one of them deleted.
fn dbf() -> Vec<u8> {
    let mut out = vec![0u8; 32];
    (out[0], out[4], out[8], out[10]) = (3, 3, 97, 16);
    for (name, kind, width) in [(b"NOM", b'C', 10u8), (b"QTE", b'N', 5)] {
        let mut field = [0u8; 32];
        field[..3].copy_from_slice(name);
        (field[11], field[16]) = (kind, width);
        out.extend(field);
    }
    out.push(0x0d);
    out.extend(b" Durand     1.50*gone          0 Petit        12");
    out
}

/// A workbook and packed files, as the program itself writes them.
fn made() -> &'static [Vec<u8>] {
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut all = Vec::new();
        for output in ["format = \"xlsx\"", "compress = \"gzip\"", "compress = \"zstd\"", "compress = \"zip\""] {
            let w = World::local(&format!("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\n{output}\n"));
            w.write("x.csv", "a,b\n1,x\n2,y\n".repeat(20));
            w.run(&["transform", "r", "x.csv", "-o", "y"]).ok();
            all.push(fs::read(w.path("y")).unwrap());
        }
        all
    })
}

const CONFIG: &[&str] = &[
    "home = \"relay\"\njobs = 4\n[endpoints.b]\nurl = \"sftp://u@h:22/in\"\npassword = \"p\"\n[lookups.l]\nvalues = { A = \"1\" }\n[routes.r]\nwhere = \"x == 'a' and not y is blank\"\n[routes.r.source]\npath = \"a\"\ninclude = [\"*.csv\"]\nsettle = \"2s\"\n[routes.r.input]\nformat = \"csv\"\ntypes = { x = \"decimal\" }\n[routes.r.map]\nz = \"x | upper | trim\"\nw = \"(y | float + 1.5) / 2 if y else lookup('l', x)\"\n[routes.r.destination]\nendpoint = \"b\"\nif_exists = \"rename\"\n[archive]\nkeep = \"90d\"\n",
];

/// One folder for all cases, which follow each other.
fn folder() -> &'static tempfile::TempDir {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        dir
    })
}

/// A route's transformation of bytes, as `transform` makes it.
fn transform(input: &str, map: &str, bytes: &[u8]) {
    use passerelle::transform::rejects::{Rejects, RejectsCsv};
    let dir = folder();
    let file = dir.path().join("passerelle.toml");
    let text =
        format!("[routes.r.source]\npath = \"a\"\n[routes.r.input]\n{input}\n{map}[routes.r.output]\nformat = \"csv\"\n[routes.r.destination]\npath = \"b\"\n");
    fs::write(&file, text).unwrap();
    let config = passerelle::config::load(&file).unwrap();
    let spec = config.routes[0].transformation.as_ref().unwrap();
    let context = passerelle::naming::context(b"x", bytes.len() as u64, &jiff::Zoned::default(), 1, &jiff::Zoned::default(), "r");
    let lookups = std::sync::Arc::new(passerelle::transform::lookup::Lookups::default());
    let source = passerelle::transform::Source { input: Box::new(std::io::Cursor::new(bytes.to_vec())), context, lookups, beside: None };
    let mut rejects = RejectsCsv::new(';', Box::new(|| Ok(Box::new(std::io::sink()))));
    let stop = passerelle::stop::Stop::default();
    let scratch = tempfile::tempdir().unwrap();
    let mut parts = |_: usize| Ok((Box::new(std::io::sink()) as passerelle::formats::Output, "x".to_owned()));
    let work = passerelle::transform::Work {
        parts: Some(&mut parts),
        rejects: &mut rejects as &mut dyn Rejects,
        scratch: scratch.path(),
        stop: &stop,
        refused: None,
        changes: None,
        explain: None,
    };
    let out = spec.run(vec![source], work);
    if let Ok(outcome) = out {
        let c = outcome.counts;
        assert_eq!(c.read, c.written + c.skipped + c.rejected, "the counts don't add up: {c:?}");
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn any_csv_gives_records_that_add_up_or_an_error(bytes in mutated(CSV)) {
        transform("format = \"csv\"\ndelimiter = \";\"\ndecimal = \",\"\ntypes = { Solde = \"decimal\", Date = \"date\" }\ndates = \"%d/%m/%Y\"", "", &bytes);
    }

    #[test]
    fn any_xml_gives_records_that_add_up_or_an_error(bytes in mutated(XML)) {
        transform("format = \"xml\"\nrecords = \"/l/c\"\ntypes = { t = \"decimal\" }", "[routes.r.map]\nn = \"n\"\nt = \"t\"\na = \"row['@a']\"\np = \"parent ~ ''\"\n", &bytes);
        transform("format = \"xml\"\nrecords = \"/*\"\neach = \"c\"", "[routes.r.map]\nn = \"item.n\"\n", &bytes);
    }

    #[test]
    fn any_fixed_file_gives_records_that_add_up_or_an_error(bytes in mutated(FIXED)) {
        transform("format = \"fixed\"\nrecords = { \"01\" = [{ name = \"a\", start = 3, width = 3 }, { name = \"q\" }], \"02\" = [{ name = \"t\", start = 3 }] }\nnest = { \"02\" = \"01\" }\ntypes = { q = \"integer\" }", "[routes.r.map]\na = \"a\"\nq = \"q\"\nt = \"row['02'] | map(attribute='t') | join\"\n", &bytes);
        transform("format = \"fixed\"\ncolumns = [{ name = \"a\", width = 2 }, { name = \"b\", width = 3 }]\ngroup_by = [\"a\"]\ngroup_into = \"l\"", "[routes.r.map]\na = \"a\"\nn = \"l | length\"\n", &bytes);
    }

    #[test]
    fn any_edifact_interchange_gives_records_that_add_up_or_an_error(bytes in mutated(EDIFACT)) {
        transform("format = \"edifact\"", "[routes.r.map]\nt = \"tag\"\ne = \"e2[0]\"\n", &bytes);
        transform("format = \"edifact\"\nrecords = [\"LIN\"]\nnest = { QTY = \"LIN\" }", "[routes.r.map]\nq = \"QTY.e1[1]\"\nb = \"parent.BGM.e1\"\n", &bytes);
    }

    #[test]
    fn any_table_gives_records_that_add_up_or_an_error(bytes in changed(vec![dbf()])) {
        transform("format = \"dbf\"", "", &bytes);
    }

    #[test]
    fn any_workbook_gives_records_that_add_up_or_an_error(bytes in changed(made()[..1].to_vec())) {
        transform("format = \"xlsx\"", "", &bytes);
    }

    #[test]
    fn any_packed_file_gives_records_that_add_up_or_an_error(bytes in changed(made()[1..].to_vec())) {
        transform("format = \"csv\"", "", &bytes);
    }

    #[test]
    fn any_rejects_file_gives_records_that_add_up_or_an_error(bytes in mutated(&["\u{feff}_line;_field;_reason;Nom;Solde\r\n3;Solde;\"no, \"\"x\"\"\";B;'=1\r\n", "_line,_field,_reason,_raw\n2,,x,\"{\"\"a\"\": 1}\"\n"])) {
        transform("format = \"csv\"", "", &bytes);
        transform("format = \"ndjson\"", "", &bytes);
    }

    #[test]
    fn any_json_gives_records_that_add_up_or_an_error(bytes in mutated(JSON)) {
        transform("format = \"ndjson\"", "[routes.r.map]\na = \"a\"\nd = \"c.d\"\n", &bytes);
        transform("format = \"json\"", "[routes.r.map]\na = \"a\"\n", &bytes);
    }

    #[test]
    fn bytes_of_no_format_give_records_that_add_up_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for encoding in ["utf-8", "windows-1252", "utf-16le", "cp850"] {
            transform(&format!("format = \"csv\"\nencoding = \"{encoding}\"\nheader = false\ncolumns = [\"a\", \"b\"]"), "", &bytes);
        }
        transform("format = \"ndjson\"", "[routes.r.map]\na = \"a\"\n", &bytes);
    }

    #[test]
    fn any_configuration_is_read_or_refused_with_words(bytes in mutated(CONFIG)) {
        let file = folder().path().join("fuzzed.toml");
        fs::write(&file, &bytes).unwrap();
        if let Ok((None, report)) = passerelle::config::read(&file) {
            prop_assert!(report.is_some_and(|r| !r.trim().is_empty()));
        }
    }

    #[test]
    fn any_journal_is_opened_moved_aside_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), head in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let bytes = if head { [b"SQLite format 3\0", &bytes[..]].concat() } else { bytes };
        fs::write(dir.path().join("journal.db"), bytes).unwrap();
        if let Ok((journal, _)) = passerelle::journal::Journal::open(dir.path()) {
            prop_assert!(journal.reader().and_then(|r| r.open_jobs()).is_ok());
        }
    }

    #[test]
    fn any_line_of_intents_is_read_or_passed_over(bytes in mutated(&["{\"line\":\"instance\",\"secret\":\"ab\"}\n{\"line\":\"unknown\",\"job\":3}\n"])) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("intents"), bytes).unwrap();
        prop_assert!(passerelle::relay::intents::Intents::open(dir.path()).is_ok());
    }
}

/// One file for a server that answers as it pleases: the file waits or is delivered, and nothing else happens.
fn survives(w: &World, what: &str) {
    w.write("a/x.csv", "1");
    let out = w.once();
    assert!((0..=3).contains(&out.code) && !out.stderr.contains("panicked"), "{what}: {} {}", out.code, out.stderr);
    assert!(out.code == 0 || !out.stderr.trim().is_empty(), "{what}: nothing is said");
    assert!(!w.path("evil").exists() && !w.path("a/evil").exists());
}

#[test]
fn an_ftp_server_that_says_anything_breaks_nothing() {
    let replies: &[&str] = &[
        "",
        "\r\n",
        "220\r\n",
        "220-\r\n",
        "999999999999 x\r\n",
        "227 Entering Passive Mode (1,2,3,4,5,999)\r\n",
        "229 (|||99999|)\r\n",
        "\u{0}\u{1}\u{2}\r\n",
        "220 ok\r\n331 x\r\n230 y\r\n250 z\r\n200 a\r\n213 -1\r\n",
        "550 \u{1b}[31m../../evil\r\n",
        "150 x\r\n226 y\r\n",
        "213 18446744073709551616\r\n",
    ];
    for seed in 0..24usize {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (n, client) in listener.incoming().enumerate() {
                let Ok(mut client) = client else { return };
                let mut buf = [0; 512];
                let greeting = if seed % 4 == 0 { replies[seed % replies.len()] } else { "220 hello\r\n" };
                let _ = client.write_all(greeting.as_bytes());
                for k in 0.. {
                    let Ok(1..) = client.read(&mut buf) else { break };
                    // Often what is expected, so that later steps are reached.
                    let pick = seed * 7 + n * 3 + k * 5;
                    let said = if pick % 3 > 0 {
                        ["331 p\r\n", "230 in\r\n", "200 ok\r\n", "250 ok\r\n", "350 go\r\n", "211 end\r\n"][k % 6]
                    } else {
                        replies[pick % replies.len()]
                    };
                    if client.write_all(said.as_bytes()).is_err() || k > 40 {
                        break;
                    }
                }
            }
        });
        let w = World::new(&format!(
            "[endpoints.b]\nurl = \"ftp://u@127.0.0.1:{port}/\"\npassword = \"p\"\ntimeout = \"1s\"\nconnect_timeout = \"1s\"\n[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\nendpoint = \"b\"\npath = \"\"\n"
        ));
        survives(&w, &format!("seed {seed}"));
    }
}

#[test]
fn an_sftp_server_that_says_anything_breaks_nothing() {
    let packet = |kind: u8, body: &[u8]| [&(body.len() as u32 + 1).to_be_bytes()[..], &[kind], body].concat();
    let version = packet(2, &3u32.to_be_bytes());
    let with_id = |id: u32, rest: &[u8]| [&id.to_be_bytes()[..], rest].concat();
    let conversations: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a length of 4 GiB", vec![0xff; 64]),
        ("a length of 0", vec![0; 64]),
        ("text", b"Welcome to our server!\nsftp> ".to_vec()),
        ("a version alone", version.clone()),
        ("version 99 with cut extensions", packet(2, &[0, 0, 0, 99, 0, 0, 0, 200, b'x'])),
        ("answers to questions that nobody asked", [version.clone(), (0..50).flat_map(|i| packet(101, &with_id(1000 + i, &[0; 12]))).collect()].concat()),
        ("statuses cut short", [version.clone(), (0..50).flat_map(|i| packet(101, &with_id(i, &[0, 0]))).collect()].concat()),
        ("names without end", [version.clone(), (0..20).flat_map(|i| packet(104, &with_id(i, &[0xff; 8]))).collect()].concat()),
        (
            "handles of 1 MiB",
            [version.clone(), (0..4).flat_map(|i| packet(102, &with_id(i, &[&(1u32 << 20).to_be_bytes()[..], &vec![b'h'; 1 << 20]].concat()))).collect()]
                .concat(),
        ),
        ("attributes cut short", [version.clone(), (0..50).flat_map(|i| packet(105, &with_id(i, &[0xff, 0xff]))).collect()].concat()),
        ("yes to everything", [version, (0..200).flat_map(|i| packet(101, &with_id(i, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))).collect()].concat()),
    ];
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let s = Sshd::with_subsystem(&format!("/bin/sh -c \"cat {}; sleep 1\"", said.display()));
    for (what, bytes) in conversations {
        fs::write(&said, bytes).unwrap();
        let w = World::new(&format!(
            "{}timeout = \"2s\"\n[routes.r.source]\npath = \"a\"\nsettle = \"0s\"\n[routes.r.destination]\nendpoint = \"b\"\npath = \"\"\n",
            s.endpoint("b")
        ));
        survives(&w, what);
    }
}
