//! Every real file of `PASSERELLE_DATA` with the route that an integrator would declare, and what must come out of it:
//! values that Python's own readers found. The cases stand in `tests/it/data/*.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::data::data;

/// What a run of `transform` printed and made.
struct Ran {
    status: i32,
    told: String,
    records: Vec<serde_json::Value>,
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Runs one route over `file` with the expressions as its map; the records come back as JSON.
fn run(file: &Path, input: &str, expressions: &[String]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    // The keys of `input` may end in tables of their own: what stands after them belongs to them.
    let map: String = expressions.iter().enumerate().map(|(i, e)| format!("t{i} = {}\n", toml_text(e))).collect();
    let tables = input.replace("\n[", "\n[routes.r.input.");
    let text = format!(
        "[routes.r.source]\npath = 'a'\n[routes.r.destination]\npath = 'b'\n[routes.r.output]\nformat = 'ndjson'\n[routes.r.map]\n{map}[routes.r.input]\n{tables}\n"
    );
    fs::write(dir.path().join("passerelle.toml"), text).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_passerelle"))
        .args(["transform", "r"])
        .arg(file)
        .args(["-o", "out"])
        .current_dir(dir.path())
        .env("PASSERELLE_LOG", "error")
        .output()
        .unwrap();
    let made = fs::read_to_string(dir.path().join("out")).unwrap_or_default();
    Ran {
        status: out.status.code().unwrap_or(-1),
        told: String::from_utf8_lossy(&out.stderr).into_owned(),
        records: made.lines().map(|l| serde_json::from_str(l).unwrap()).collect(),
    }
}

/// "5 read, 4 written, 0 skipped, 1 rejected" as numbers.
fn counts(told: &str) -> Option<(u64, u64)> {
    let line = told.lines().rfind(|l| l.contains(" read, "))?;
    let number = |word: &str| line.split(", ").find(|p| p.ends_with(word))?.split(' ').next()?.parse().ok();
    Some((number("read")?, number("rejected")?))
}

fn text_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// Runs all cases of a file; gives what is wrong.
fn check(cases: &str, only: Option<&str>) -> (usize, BTreeSet<String>, Vec<String>) {
    let data = data();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data").join(cases)).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let (mut wrong, mut seen, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for case in table["case"].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        seen.insert(file.to_owned());
        if only.is_some_and(|o| !file.contains(o)) {
            continue;
        }
        count += 1;
        let input = case["input"].as_str().unwrap();
        let values: Vec<(usize, String, String)> = case
            .get("values")
            .and_then(|v| v.as_array())
            .into_iter()
            .flatten()
            .map(|v| (usize::try_from(v[0].as_integer().unwrap()).unwrap(), v[1].as_str().unwrap().to_owned(), v[2].as_str().unwrap().to_owned()))
            .collect();
        let mut expressions: Vec<String> = values.iter().map(|(_, e, _)| e.clone()).collect();
        expressions.sort();
        expressions.dedup();
        if expressions.is_empty() {
            expressions.push("row.number".into());
        }
        let ran = run(&data.join(file), input, &expressions);
        let told = ran.told.lines().last().unwrap_or_default().to_owned();
        let place = format!("{file} [{}]", input.trim().replace('\n', " ").chars().take(60).collect::<String>());
        if let Some(error) = case.get("error").and_then(|e| e.as_str()) {
            if ran.status == 0 || !ran.told.contains(error) {
                wrong.push(format!("{place}: was to be refused with {error:?}, ended {} with {told}", ran.status));
            }
            continue;
        }
        if case.get("unknown").is_some() {
            // Nobody else could read it: it must end, in whatever way, without a crash.
            if !(0..=4).contains(&ran.status) {
                wrong.push(format!("{place}: ended {} with {told}", ran.status));
            }
            continue;
        }
        if ran.status != 0 {
            wrong.push(format!("{place}: ended {}: {}", ran.status, ran.told.trim()));
            continue;
        }
        let wanted = (
            u64::try_from(case["read"].as_integer().unwrap()).unwrap(),
            u64::try_from(case.get("rejected").and_then(|r| r.as_integer()).unwrap_or(0)).unwrap(),
        );
        if counts(&ran.told) != Some(wanted) {
            wrong.push(format!("{place}: {wanted:?} read and rejected were wanted: {}", ran.told.trim()));
        }
        for (record, expression, text) in values {
            let at = expressions.iter().position(|e| *e == expression).unwrap();
            let found = ran.records.get(record - 1).map(|r| text_of(&r[format!("t{at}")]));
            if found.as_deref() != Some(&text) {
                wrong.push(format!("{place}: record {record}, {expression}: {found:?} instead of {text:?}"));
            }
        }
    }
    (count, seen, wrong)
}

fn all_right(cases: &str) -> BTreeSet<String> {
    let only = std::env::var("PASSERELLE_CASE").ok();
    let (count, seen, wrong) = check(cases, only.as_deref());
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    seen
}

#[test]
fn csv_files_of_every_dialect_give_the_values_that_python_reads() {
    all_right("csv.toml");
}

#[test]
fn xml_files_give_the_values_that_other_parsers_find_and_broken_ones_are_refused() {
    all_right("xml.toml");
}

#[test]
fn spreadsheets_and_dbf_tables_give_the_values_that_other_programs_show() {
    all_right("sheets.toml");
}

#[test]
fn fixed_width_and_edifact_files_give_their_records() {
    all_right("fixed.toml");
}

#[test]
fn every_real_file_has_a_case() {
    let data = data();
    let mut seen: BTreeSet<String> = ["csv.toml", "xml.toml", "sheets.toml", "fixed.toml"].into_iter().flat_map(|f| check(f, Some("none of them")).1).collect();
    // These have tests of their own, hold expected values, or belong to files beside them.
    let elsewhere = |path: &str| {
        ["pairs/", "json/", "vcard/", "bank/mt940/", "xlsx/expected/", "csv/expected-parse/", "csv/csv-spectrum/json/", "xml/libxml2/recurse/"]
            .iter()
            .any(|p| path.starts_with(p))
            || ["PROVENANCE.md", "dbf/expected.json", "xml/libxml2/verdicts.json", "dbf/memotest.FPT"].contains(&path)
            || (path.starts_with("csv/csvw/") && path.ends_with(".json"))
            || (path.starts_with("csv/csvkit/") && (path.contains("_schema") || path.contains("_converted")))
    };
    let mut missing = Vec::new();
    let mut folders = vec![data.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&data).unwrap().to_string_lossy().into_owned();
            if !elsewhere(&name) && !seen.remove(&name) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "no case reads {}:\n{}", missing.len(), missing.join("\n"));
}
