//! Real exports of `PASSERELLE_DATA`, every field against an independent reading by Python's csv module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::servers::Sshd;
use crate::world::World;

/// Where the real exports are. They are third parties' and stay outside the project; without them these tests fail.
pub fn data() -> PathBuf {
    let dir = std::env::var_os("PASSERELLE_DATA").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    assert!(dir.is_dir(), "the real exports are not at {}: set PASSERELLE_DATA to the folder that holds them", dir.display());
    dir
}

/// What Python reads: the records after `skip` lines, empty ones left out.
fn python(file: &Path, encoding: &str, delimiter: &str, quote: &str, skip: usize) -> Vec<Vec<String>> {
    let script = "import csv,json,sys\nf,e,d,q,s=sys.argv[1:]\nlines=open(f,encoding=e,newline='').read().splitlines(True)[int(s):]\nkw={'quotechar':q} if q else {'quoting':csv.QUOTE_NONE}\nprint(json.dumps([r for r in csv.reader(lines,delimiter=d,**kw) if r]))";
    let out = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .args([encoding, delimiter, quote, &skip.to_string()])
        .output()
        .expect("python3 reads the files a second time");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// How a file is written: its name, our keys, Python's encoding, delimiter, quote and skipped lines, whether it has a header, and its width.
struct Dialect(&'static str, &'static str, &'static str, &'static str, &'static str, usize, bool, Option<usize>);

const FILES: &[Dialect] = &[
    Dialect("accounting/fr/odicom-123456789FEC20200331.txt", "delimiter = '|'\nencoding = 'iso-8859-1'\nquote = ''", "latin-1", "|", "", 0, true, None),
    Dialect("accounting/fr/sage-coala-FEC-2020.txt", "delimiter = \"\\t\"\nquote = ''", "utf-8", "\t", "", 0, true, None),
    Dialect("bank/csv/20171001-20171106.csv", "", "utf-8", ",", "\"", 0, true, None),
    Dialect("bank/csv/2018-04-14_10-52-13_bunq-transactieoverzicht.csv", "", "utf-8", ",", "\"", 0, true, None),
    Dialect("bank/csv/20180226-1000594757-umsatz.CSV", "delimiter = ';'", "ascii", ";", "\"", 0, true, None),
    Dialect("bank/csv/20180226_12345678.csv", "", "ascii", ",", "\"", 0, true, None),
    Dialect("bank/csv/MonzoDataExport_February2018_2018-02-26_174335.csv", "", "ascii", ",", "\"", 0, true, None),
    Dialect("bank/csv/Movements_1234512345_201805271848.csv", "delimiter = ';'\nencoding = 'windows-1250'", "cp1250", ";", "\"", 0, true, None),
    Dialect("bank/csv/TH_20180101-20180523_page_1.csv", "delimiter = ';'\nencoding = 'windows-1250'", "cp1250", ";", "\"", 0, true, None),
    Dialect("bank/csv/TransactionHistory_20180418043121.csv", "skip = 5\nallow_optional_columns = true", "ascii", ",", "\"", 5, true, None),
    Dialect("bank/csv/export_BE11123456789012_20180304_1422.csv", "delimiter = ';'", "ascii", ";", "\"", 0, true, None),
    Dialect("bank/csv/kta_ei.dat", "delimiter = '|'\nquote = ''\nskip = 1\nheader = false", "utf-8", "|", "", 1, false, None),
    Dialect(
        "bank/csv/test_delimiter_tab.csv",
        "delimiter = \"\\t\"\nquote = ''\nencoding = 'windows-1252'\nheader = false",
        "cp1252",
        "\t",
        "",
        0,
        false,
        None,
    ),
    Dialect("bank/csv/test_raiffeisen_01.csv", "delimiter = ';'\nheader = false", "utf-8", ";", "\"", 0, false, Some(7)),
    Dialect("bank/csv/test_row_format_CD_flag.csv", "delimiter = ';'\nheader = false", "utf-8", ";", "\"", 0, false, None),
];

#[test]
fn every_field_of_the_fec_and_bank_exports_arrives_as_another_reader_sees_it() {
    let data = data();
    let all: usize = fs::read_dir(data.join("bank/csv")).unwrap().count();
    assert_eq!(FILES.iter().filter(|d| d.0.starts_with("bank/")).count(), all, "a bank export has no dialect here");
    for Dialect(file, keys, encoding, delimiter, quote, skip, header, width) in FILES {
        let w = World::local(&format!("[routes.r.input]\nformat = 'csv'\n{keys}\n[routes.r.output]\nformat = 'ndjson'\nname = 'out.ndjson'\n"));
        fs::copy(data.join(file), w.path("a/in.csv")).unwrap();
        w.once().ok();
        let mut rows = python(&data.join(file), encoding, delimiter, quote, *skip);
        let head = if *header { Some(rows.remove(0)) } else { None };
        let columns = head.as_ref().map_or_else(|| rows[0].len(), Vec::len);
        // What the contract rejects: a width that differs. Missing cells are empty where the route allows them.
        let rejected = rows.len();
        rows.retain(|r| width.is_none_or(|w| r.len() == w));
        let rejected = rejected - rows.len();
        let records: Vec<serde_json::Map<String, serde_json::Value>> = w.read("b/out.ndjson").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(records.len(), rows.len(), "{file}");
        for (i, (record, row)) in records.iter().zip(&rows).enumerate() {
            let mut wanted = row.clone();
            wanted.resize(columns, String::new());
            let found: Vec<&str> = record.values().map(|v| v.as_str().unwrap()).collect();
            assert_eq!(found, wanted, "{file}, record {}", i + 1);
        }
        if let Some(head) = head {
            // Repeated names are told apart; all others stand as A wrote them.
            let names: Vec<&String> = records[0].keys().collect();
            assert_eq!(names.len(), head.len(), "{file}");
            for (name, wanted) in names.iter().zip(&head) {
                assert!(
                    *name == wanted || name.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('_')) || wanted.trim().is_empty(),
                    "{file}: {name} for {wanted}"
                );
            }
        }
        let counts = &w.history()[0]["records"];
        assert_eq!((counts["rejected"].as_u64(), counts["written"].as_u64()), (Some(rejected as u64), Some(rows.len() as u64)), "{file}");
    }
}

#[test]
fn pair_02_is_relayed_over_sftp_with_the_expected_bytes_and_rejects() {
    let pair = data().join("pairs/02-raiffeisen-to-ynab");
    let server = Sshd::start();
    let w = World::new(&format!(
        "{}{}endpoint = \"b\"\n{}",
        server.endpoint("b"),
        World::route("r", "a", ""),
        r#"
[routes.r.input]
format  = "csv"
delimiter = ";"
header  = false
columns = ["booked", "text", "valued", "amount", "currency", "e1", "e2"]
decimal = ","
thousands = "."
dates   = "%d.%m.%Y"
types   = { valued = "date", amount = "decimal" }

[routes.r.map]
Date     = "valued"
Payee    = "text | regex_replace('\\s+', ' ') | trim"
Category = "''"
Memo     = "text | regex_replace('\\r\\n|\\r|\\n', ' ')"
Outflow  = "(-amount) | round(2) if amount < 0 else ''"
Inflow   = "amount | round(2) if amount >= 0 else ''"
"#
    ));
    fs::copy(pair.join("input.csv"), w.path("a/input.csv")).unwrap();
    w.once().ok();
    let expected = fs::read(pair.join("expected.csv")).unwrap();
    assert!(server.files()["input.csv"] == expected, "the bytes differ:\n{}", String::from_utf8_lossy(&server.files()["input.csv"]));
    // Their number among the records and their cells, as the pair gives them.
    let wanted = fs::read_to_string(pair.join("expected-rejected.csv")).unwrap();
    let rejects = w.read("relay/errors/r/input.csv.rejects.csv");
    let lines: Vec<&str> = rejects.lines().collect();
    assert_eq!(lines.len(), wanted.lines().count(), "{rejects}");
    assert!(lines[1].contains("3 fields instead of 7") && lines[1].contains("A null transaction, just to confuse things;;"), "{rejects}");
    let line: usize = lines[1].split(';').next().unwrap().parse().unwrap();
    let text = fs::read_to_string(pair.join("input.csv")).unwrap();
    assert!(text.lines().nth(line - 1).unwrap().contains("A null transaction"), "line {line}");
    assert_eq!(w.history()[0]["records"]["read"], 74);
}

/// Runs `transform` with the configuration of all pairs.
fn transform_pair(dir: &Path, route: &str, inputs: &[PathBuf]) -> (i32, String, Vec<u8>) {
    let out = Command::new(env!("CARGO_BIN_EXE_passerelle"))
        .args(["transform", route])
        .args(inputs)
        .args(["-o", "out"])
        .current_dir(dir)
        .env("PASSERELLE_LOG", "error")
        .output()
        .unwrap();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned(), fs::read(dir.join("out")).unwrap_or_default())
}

#[test]
fn all_pairs_come_out_byte_for_byte() {
    let pairs = data().join("pairs");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("passerelle.toml"), include_str!("data/pairs.toml")).unwrap();
    fs::copy(pairs.join("04-prestashop-to-shopify-customers/addresses.csv"), dir.path().join("addresses.csv")).unwrap();
    let all = fs::read_dir(&pairs).unwrap().map(|e| e.unwrap().path()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(all.len(), 7, "a pair has no route here");
    for pair in all {
        let name = pair.file_name().unwrap().to_string_lossy().into_owned();
        let files = |start: &str| -> Vec<PathBuf> {
            let mut found: Vec<PathBuf> = fs::read_dir(&pair).unwrap().map(|e| e.unwrap().path()).collect();
            found.retain(|p| p.file_name().unwrap().to_string_lossy().starts_with(start));
            found.sort();
            found
        };
        let inputs = if name.starts_with("04") { files("customers") } else { files("input") };
        let expected = fs::read(&files("expected.")[0]).unwrap();
        let (status, told, out) = transform_pair(dir.path(), &format!("p{}", &name[..2]), &inputs);
        assert_eq!(status, 0, "{name}: {told}");
        assert!(out == expected, "{name}: the bytes differ: {told}\n{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn every_case_of_the_json_test_suite_is_read_or_refused_as_its_name_says() {
    let suite = data().join("json/JSONTestSuite");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("passerelle.toml"), "[routes.r.source]\npath = 'a'\n[routes.r.input]\nformat = 'json'\n[routes.r.destination]\npath = 'b'\n")
        .unwrap();
    let (mut read, mut refused) = (0, 0);
    for entry in fs::read_dir(suite).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (status, told, _) = transform_pair(dir.path(), "r", std::slice::from_ref(&path));
        match name.split('_').next() {
            Some("y") => {
                assert!(status == 0 && told.contains(" 0 rejected"), "{name} is JSON: {status} {told}");
                read += 1;
            }
            Some("n") => {
                assert_eq!(status, 1, "{name} is no JSON: {told}");
                refused += 1;
            }
            // Either is right, a crash is not.
            _ => assert!((0..=1).contains(&status), "{name}: {status} {told}"),
        }
    }
    assert!(read > 40 && refused > 80, "{read} read, {refused} refused");
}

#[test]
fn the_odd_csv_files_give_every_record_of_their_expected_parse() {
    let data = data();
    let mut files = 0;
    for entry in fs::read_dir(data.join("csv/expected-parse")).unwrap() {
        let expected: serde_json::Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let text = |key: &str| expected[key].as_str().unwrap_or_default().to_owned();
        // Python's names of encodings.
        let encoding = text("encoding").split(' ').next().unwrap().replace('_', "-").replace("iso8859", "iso-8859");
        let header = expected["header"].as_array().map(Vec::len);
        // The preamble is counted in records, ours in lines: empty ones between count too.
        let preamble = usize::try_from(expected["preamble_records"].as_u64().unwrap()).unwrap();
        let bytes = fs::read(data.join(text("file"))).unwrap();
        let full: Vec<usize> = bytes.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty()).map(|(i, _)| i + 1).collect();
        let skip = if preamble == 0 { 0 } else { full[preamble - 1] };
        let dir = tempfile::tempdir().unwrap();
        let quote = |t: &str| toml::Value::String(t.to_owned()).to_string();
        fs::write(
            dir.path().join("passerelle.toml"),
            format!(
                "[routes.r.source]\npath = 'a'\n[routes.r.input]\nformat = 'csv'\nencoding = {}\ndelimiter = {}\nquote = {}\nskip = {}\nheader = {}\n[routes.r.output]\nformat = 'ndjson'\n[routes.r.destination]\npath = 'b'\n",
                quote(&encoding),
                quote(&text("delimiter")),
                quote(&text("quote")),
                skip,
                header.is_some()
            ),
        )
        .unwrap();
        let (status, told, out) = transform_pair(dir.path(), "r", &[data.join(text("file"))]);
        assert_eq!(status, 0, "{}: {told}", text("file"));
        let found = String::from_utf8(out).unwrap();
        let found: Vec<serde_json::Map<String, serde_json::Value>> = found.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        // Of long files the first and the last records are given.
        let rows = |key: &str| -> Vec<Vec<String>> { serde_json::from_value(expected[key].clone()).unwrap_or_default() };
        let (all, first, last) = (rows("data"), rows("first_records"), rows("last_records"));
        let width = header.unwrap_or_else(|| all[0].len());
        // Ragged records are rejects; surplus empty cells are dropped.
        let kept = |rows: &[Vec<String>]| -> Vec<Vec<String>> {
            rows.iter().filter(|r| r.len() >= width && r[width..].iter().all(String::is_empty)).map(|r| r[..width].to_vec()).collect()
        };
        let cells = |at: usize| -> Vec<String> { found[at].values().map(|v| v.as_str().unwrap().to_owned()).collect() };
        let mut compared = 0;
        for (i, row) in kept(if all.is_empty() { &first } else { &all }).iter().enumerate() {
            assert_eq!(cells(i), *row, "{}, record {}", text("file"), i + 1);
            compared += 1;
        }
        for (i, row) in kept(&last).iter().rev().enumerate() {
            assert_eq!(cells(found.len() - 1 - i), *row, "{}, record {} from the end", text("file"), i + 1);
            compared += 1;
        }
        assert!(compared > 0, "{}: nothing was compared: {told}", text("file"));
        if !all.is_empty() {
            assert_eq!(found.len(), kept(&all).len(), "{}", text("file"));
        }
        files += 1;
    }
    assert!(files >= 28, "only {files} expected parses");
}

#[test]
fn json_values_that_other_readers_change_in_silence_come_out_as_they_went_in() {
    let suite = data().join("json/JSONTestSuite-transform");
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("passerelle.toml"),
        "[routes.r.source]\npath = 'a'\n[routes.r.input]\nformat = 'json'\n[routes.r.output]\nformat = 'ndjson'\n[routes.r.destination]\npath = 'b'\n",
    )
    .unwrap();
    let mut same = 0;
    for entry in fs::read_dir(suite).unwrap() {
        let path = entry.unwrap().path();
        let (status, told, out) = transform_pair(dir.path(), "r", std::slice::from_ref(&path));
        if status != 0 {
            // What has no place in Unicode is refused, never repaired.
            assert!(
                told.contains("surrogate") || told.contains("unicode") || told.contains("escape") || told.contains("not UTF-8"),
                "{}: {told}",
                path.display()
            );
            continue;
        }
        if std::str::from_utf8(&fs::read(&path).unwrap()).is_err() {
            // What can't be decoded rejects its record.
            assert!(told.contains("not UTF-8") && told.contains("1 rejected") && out.is_empty(), "{}: {told}", path.display());
            continue;
        }
        // One element a line again as one list; spaces and escapes aside, all digits, names and texts must be there.
        // An exponent is written e+400, whether A writes E400 or e400: the same number.
        let compact = |t: &str| t.split_whitespace().collect::<String>().replace("E-", "e-").replace('E', "e+");
        let wanted = compact(&fs::read_to_string(&path).unwrap());
        let lines = String::from_utf8(out).unwrap();
        let found = if wanted.starts_with('[') { format!("[{}]", lines.lines().collect::<Vec<_>>().join(",")) } else { lines };
        if !wanted.contains('\\') {
            assert_eq!(compact(&found), wanted, "{}", path.display());
            same += 1;
        }
    }
    assert!(same >= 8, "only {same} were compared");
}

#[test]
fn xml_that_would_grow_without_bounds_ends_in_little_time_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("passerelle.toml"),
        "[routes.r.source]\npath = 'a'\n[routes.r.input]\nformat = 'xml'\nrecords = '/*'\n[routes.r.output]\nformat = 'json'\n[routes.r.destination]\npath = 'b'\n",
    )
    .unwrap();
    let deep = dir.path().join("deep.xml");
    fs::write(&deep, "<a>".repeat(1_000_000)).unwrap();
    let mut files = vec![deep];
    for folder in ["xml/attacks", "xml/libxml2/recurse"] {
        files.extend(fs::read_dir(data().join(folder)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "xml")));
    }
    assert!(files.len() > 8);
    for file in files {
        let out = Command::new("timeout")
            .args(["20", "/usr/bin/time", "-f", "%M"])
            .arg(env!("CARGO_BIN_EXE_passerelle"))
            .args(["transform", "r"])
            .arg(&file)
            .args(["-o", "out"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let memory: u64 = text.lines().last().unwrap().trim().parse().unwrap_or_else(|_| panic!("{}: {text}", file.display()));
        assert!((0..=1).contains(&out.status.code().unwrap_or(-1)), "{}: {text}", file.display());
        assert!(memory < 64 * 1024, "{}: {memory} KiB", file.display());
    }
}

#[test]
fn a_large_file_takes_the_memory_of_a_small_one() {
    let w = World::local(
        "[routes.r.input]\nformat = 'csv'\n[routes.r.map]\na = 'a | upper'\nb = 'b'\n[routes.r.output]\nformat = 'ndjson'\nfields = { b = { required = true } }\n",
    );
    let peak = |rows: usize| {
        let mut text = String::from("a,b,c\n");
        (0..rows).for_each(|i| text.push_str(&format!("name {i},{i},\"a text, quoted\"\n")));
        w.write("in.csv", text);
        let out = Command::new("/usr/bin/time")
            .args(["-f", "%M"])
            .arg(env!("CARGO_BIN_EXE_passerelle"))
            .args(["transform", "r", "in.csv", "-o", "out"])
            .current_dir(w.dir.path())
            .output();
        let out = out.expect("/usr/bin/time measures the memory: `scripts/test` installs it");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        text.lines().last().unwrap().trim().parse::<u64>().unwrap_or_else(|_| panic!("{text}"))
    };
    let (small, large) = (peak(1_000), peak(300_000));
    assert!(large < small + 16 * 1024, "{small} KiB for 1,000 records, {large} KiB for 300,000");
}
