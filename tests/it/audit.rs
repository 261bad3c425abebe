//! `audit` and `init`: samples in, what they are and a draft of the route out.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::data::data;
use crate::world::World;

fn audited(w: &World, samples: &[&Path]) -> Value {
    let mut args = vec!["audit", "--json"];
    args.extend(samples.iter().map(|p| p.to_str().unwrap()));
    let out = w.run(&args).ok();
    serde_json::from_str(&out.stdout).unwrap()
}

/// The name of an encoding as the product has it, of the name as Python has it.
fn encoding(python: &str) -> &str {
    match python.split(' ').next().unwrap() {
        "ascii" => "utf-8",
        "cp1252" => "windows-1252",
        "cp1250" => "windows-1250",
        // The two differ in signs that the sample does not hold.
        "iso8859_7" => "windows-1253",
        other => other,
    }
}

#[test]
fn what_names_do_not_tell_is_found_by_the_records_that_both_hold() {
    // B's columns are called v1, v2 …: only values tell what they are made of.
    let (mut a, mut b) = (String::from("Num;Adr1;Adr2;Tel;Ref;Zeit;Poids;Prix;Nom;Type\n"), String::from("id,v1,v2,v3,v4,v5,v6,v7,v8\n"));
    for i in 0..30i64 {
        let second = if i % 3 == 1 { String::new() } else { format!("Bât {i}") };
        let address = if second.is_empty() { format!("{i} rue Foch") } else { format!("{i} rue Foch, {second}") };
        let (grams, pence) = (388 + 517 * i, 13_750 + 9_999 * i);
        let name = ["Müller", "Jäger", "Groß", "Weiß"][(i % 4) as usize];
        let name_there = ["MUELLER", "JAEGER", "GROSS", "WEISS"][(i % 4) as usize];
        let (kind, kind_there) = [("FA", "D"), ("AV", "C"), ("AC", "C"), ("EX", "D")][(i % 4) as usize];
        let phone = format!("06{:08}", 12_345_678 + i * 99_991);
        a += &format!(
            "K{i:03};{i} rue Foch;{second};{phone};F2025-{i:02};{}h{:02};{}.{:03} kg;£{}.{:02};{name};{kind}\n",
            7 + i % 9,
            i * 2 % 60,
            grams / 1000,
            grams % 1000,
            pence / 100,
            pence % 100
        );
        b += &format!(
            "K{i:03},\"{address}\",+33{},F2025/{i:02},{:02}:{:02},{grams},{}.{:02},{name_there},{kind_there}\n",
            &phone[1..],
            7 + i % 9,
            i * 2 % 60,
            pence / 100,
            pence % 100
        );
    }
    let w = World::new("");
    w.write("a.csv", &a);
    w.write("b.csv", &b);
    let found = w.json(&["audit", "a.csv", "b.csv", "--json"]);
    for mapped in found["mapping"].as_array().unwrap() {
        assert!(mapped["confidence"].as_f64().unwrap() >= 0.5, "{mapped}");
    }
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    assert_eq!(w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok().stdout.replace('"', ""), b.replace('"', ""));
}

#[test]
fn computed_amounts_currencies_and_times_are_found_and_the_draft_gives_bs_file() {
    let mut a = String::from("RefArt;Libelle;Qte;PU;Remise;TauxTVA;Debut;Public\r\n");
    let mut b = String::from("sku,label,qty,net,vat,gross,start,public\n");
    for i in 0..24i64 {
        let (qty, cents, off, rate) = (1 + i % 7, 1250 + 377 * i, [0, 5, 10][(i % 3) as usize], [2000, 550, 1000][(i % 4 % 3) as usize]);
        let round = |n: i64, by: i64| (2 * n + by) / (2 * by);
        let net = round(qty * cents * (100 - off), 100);
        let (vat, gross) = (round(net * rate, 10_000), round(net * (10_000 + rate), 10_000));
        let amount = |c: i64, sign: char| format!("{}{sign}{:02}", c / 100, c % 100);
        let (hour, minute, public) = (6 + i % 12, i * 7 % 60, 95 + 4321 * i);
        let spaced = if public >= 100_000 { format!("{} {:03},{:02}", public / 100_000, public / 100 % 1000, public % 100) } else { amount(public, ',') };
        a += &format!("A{i:04};Article {i} né;{qty};{};{off};{};{hour}:{minute:02};{spaced} €\r\n", amount(cents, ','), amount(rate, ','));
        let cells = [amount(net, '.'), amount(vat, '.'), amount(gross, '.'), format!("{hour:02}:{minute:02}"), amount(public, '.')];
        b += &format!("A{i:04},ARTICLE {i} NÉ,{qty},{}\n", cells.join(","));
    }
    let w = World::new("");
    w.write("a.csv", &a);
    w.write("b.csv", &b);
    let found = w.json(&["audit", "a.csv", "b.csv", "--json"]);
    for mapped in found["mapping"].as_array().unwrap() {
        assert!(mapped["confidence"].as_f64().unwrap() >= 0.8, "{mapped}");
    }
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    let out = w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok();
    assert_eq!(out.stdout, b);
}

#[test]
fn a_draft_rejects_no_record_for_what_a_left_empty() {
    let mut a = String::from("Ref;Libelle;Grammes;Actif\n");
    let mut b = String::from("sku,label,kg,actif\n");
    for i in 0..20 {
        a += &format!("R{i:03};Article {i};{};oui\n", if i > 12 { String::new() } else { (i * 250 + 125).to_string() });
        if i <= 12 {
            b += &format!("R{i:03},Article {i},{:.3},1\n", f64::from(i * 250 + 125) / 1000.0);
        }
    }
    let w = World::new("");
    w.write("a.csv", &a);
    w.write("b.csv", &b);
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    let out = w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok();
    assert!(out.stdout.starts_with(&b) && out.stderr.contains("20 written, 0 skipped, 0 rejected"), "{}{}", out.stdout, out.stderr);
    // All of B's are active, as all of A's are: another word is told, and does not pass for this one.
    w.write("later.csv", a.replace("R003;Article 3;875;oui", "R003;Article 3;875;non"));
    let out = w.run(&["-c", "draft.toml", "transform", "a", "later.csv"]);
    assert!(out.stderr.contains("1 rejected") && !out.stdout.contains("R003"), "{}{}", out.stdout, out.stderr);
}

/// The mapping of two samples, by target.
fn mapping(w: &World, a: (&str, &str), b: (&str, &str)) -> (Value, String) {
    w.write(a.0, a.1);
    w.write(b.0, b.1);
    let found = w.json(&["audit", a.0, b.0, "--json"]);
    let draft = w.path("draft.toml");
    let _ = fs::remove_file(&draft);
    w.run(&["audit", a.0, b.0, "--draft", "draft.toml"]).ok();
    w.run(&["-c", "draft.toml", "config", "check"]).ok();
    (found, w.run(&["-c", "draft.toml", "transform", "a", a.0]).stdout)
}

fn expression<'f>(found: &'f Value, target: &str) -> &'f str {
    let of = |m: &&'f Value| m["target"] == target;
    found["mapping"].as_array().unwrap().iter().find(of).unwrap()["expression"].as_str().unwrap()
}

#[test]
fn fields_that_touch_each_other_are_cut_by_what_the_other_side_holds() {
    let names = ["Dupont", "Martin", "Durand", "Petit", "Roux", "Moreau", "Simon", "Laurent", "Michel", "Garcia", "David", "Thomas"];
    let rows = |f: fn(usize, &str, String, String) -> String| -> String {
        names.iter().enumerate().map(|(i, n)| f(i, n, format!("{:02}", i * 3 % 28 + 1), format!("{:02}", i % 12 + 1))).collect()
    };
    let w = World::new("");
    let a = format!("mat;nom;ne;sexe\n{}", rows(|i, n, d, m| format!("{};{n};{d}/{m}/19{};{}\n", 7 + i * 13, 60 + i, ["H", "F"][i % 2])));
    let b = rows(|i, n, d, m| format!("{:08}{:<12}{}{d}{m}19{}\n", 7 + i * 13, n.to_uppercase(), 1 + i % 2, 60 + i));
    let (found, out) = mapping(&w, ("a.csv", &a), ("b.txt", &b));
    assert_eq!(out, b, "{found:#}");
    assert_eq!(found["mapping"].as_array().unwrap().len(), 4);
    // And the other way round: days and cents that touch.
    let a = rows(|i, n, d, m| format!("{:06}{:<10}{d}{m}2025{:09}\n", 7 + i * 13, n.to_uppercase(), i * 3717 % 90_000 + 12));
    let b = format!(
        "id,name,d,m\n{}",
        rows(|i, n, d, m| {
            let c = i * 3717 % 90_000 + 12;
            format!("{:06},{},2025-{m}-{d},{}.{:02}\n", 7 + i * 13, n.to_uppercase(), c / 100, c % 100)
        })
    );
    w.write("a.csv", &a);
    w.write("b.csv", &b);
    let _ = fs::remove_file(w.path("draft.toml"));
    let found = w.json(&["audit", "a.csv", "b.csv", "--json"]);
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    assert_eq!(w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok().stdout, b, "{found:#}");
}

#[test]
fn lines_that_b_holds_in_lists_are_found_and_grouped() {
    let w = World::new("");
    let (mut a, mut json, mut xml, mut n) = ("cde;jour;ref;qte\n".to_owned(), Vec::new(), "<orders>".to_owned(), 0);
    for i in 0..9 {
        let mut lines = Vec::new();
        xml += &format!("<order number=\"B{i:03}\"><day>2025-03-{:02}</day><lines>", i + 13);
        for l in 1..=i % 3 + 1 {
            a += &format!("B{i:03};{:02}/03/2025;A{n:03};{l}\n", i + 13);
            lines.push(serde_json::json!({"sku": format!("A{n:03}"), "qty": l}));
            xml += &format!("<line><sku>A{n:03}</sku><qty>{l}</qty></line>");
            n += 1;
        }
        json.push(serde_json::json!({"number": format!("B{i:03}"), "day": format!("2025-03-{:02}", i + 13), "lines": lines}));
        xml += "</lines></order>";
    }
    xml += "</orders>";
    let json = Value::from(json);
    let (found, out) = mapping(&w, ("a.csv", &a), ("b.json", &json.to_string()));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), json, "{found:#}");
    assert_eq!(found["automation"]["level"], "fully automatic", "{}", found["automation"]);
    let (found, out) = mapping(&w, ("a.csv", &a), ("b.xml", &xml));
    let plain =
        |text: &str| text.replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "").split_whitespace().collect::<Vec<_>>().join(" ").replace("> <", "><");
    assert_eq!(plain(&out), plain(&xml), "{found:#}");
}

#[test]
fn what_may_keep_records_out_of_bs_file_is_told() {
    let w = World::new("");
    let (mut a, mut b) = ("code;nom;etat\n".to_owned(), "code,name\n".to_owned());
    for i in 0..30 {
        a += &format!("K{i:02};Nom {i};{}\n", if i % 3 == 0 { "Bloque" } else { "Actif" });
        // One that is new is not in B's sample yet.
        if i % 3 != 0 && i != 29 {
            b += &format!("K{i:02},Nom {i}\n");
        }
    }
    let (found, _) = mapping(&w, ("a.csv", &a), ("b.csv", &b));
    let reasons = found["automation"]["reasons"].to_string();
    assert!(reasons.contains("perhaps where = \\\"etat == 'Actif'\\\": so it is in all 19 records that B has, and in 20 of A's 30"), "{reasons}");
}

#[test]
fn a_day_of_six_digits_is_what_the_records_that_both_hold_say() {
    let w = World::new("");
    let rows = |f: fn(u32, u32) -> String| (1..=14).map(|i| f(i % 12 + 1, i % 5 + 1)).collect::<String>();
    let a = format!("Date;id;texte\n{}", rows(|d, m| format!("{d:02}/{m:02}/2025;K{d}{m};x{d}{m}\n")));
    let b = format!("date_piece;id;texte\n{}", rows(|d, m| format!("25{m:02}{d:02};K{d}{m};x{d}{m}\n")));
    let (found, out) = mapping(&w, ("a.csv", &a), ("b.csv", &b));
    assert_eq!(out, b, "{found:#}");
    let a = a.replace("/2025", "/2025 08:10:00");
    let iso = format!("when;id;texte\n{}", rows(|d, m| format!("2025-{m:02}-{d:02}T08:10:00Z;K{d}{m};x{d}{m}\n")));
    let (found, out) = mapping(&w, ("a.csv", &a), ("b.csv", &iso));
    assert_eq!(out, iso, "{found:#}");
}

#[test]
fn the_number_of_a_line_in_its_document_is_found() {
    let w = World::new("");
    let (mut a, mut b) = ("<r>".to_owned(), "cmd,ligne,ref\n".to_owned());
    for c in 0..6 {
        a += &format!("<c n='C{c}'>");
        for l in 0..=c % 3 + 1 {
            a += &format!("<l><ref>R{c}{l}</ref></l>");
            b += &format!("C{c},{},R{c}{l}\n", l + 1);
        }
        a += "</c>";
    }
    let (found, out) = mapping(&w, ("a.xml", &format!("{a}</r>")), ("b.csv", &b));
    assert_eq!((expression(&found, "ligne"), out.as_str()), ("loop.index", b.as_str()), "{found:#}");
    let line = found["mapping"].as_array().unwrap().iter().find(|m| m["target"] == "ligne").unwrap();
    assert!(line["confidence"].as_f64().unwrap() >= 0.8, "{line}");
}

#[test]
fn what_a_schema_fixes_is_taken_from_it() {
    let w = World::new("");
    let schema = r#"{"$schema": "x", "type": "array", "items": {"type": "object", "properties": {"code": {"type": "string"}, "currency": {"const": "EUR"},
        "origin": {"type": "string", "default": "ERP"}, "tva": {"enum": [20, 5.5]}, "actif": {"type": "boolean"}, "address": {"type": "object", "properties": {"street": {"type": "string"}}}}}}"#;
    let a = "Code;TVA;Actif;Rue\nA1;20,00;Oui;1 rue du Port\nA2;5,50;Non;2 rue du Lac\nA3;20,00;Oui;3 rue du Bac\n";
    let (found, out) = mapping(&w, ("a.csv", a), ("schema.json", schema));
    assert_eq!((expression(&found, "currency"), expression(&found, "origin")), ("'EUR'", "'ERP'"));
    let out: Value = serde_json::from_str(&out).unwrap();
    let first = r#"{"code":"A1","currency":"EUR","origin":"ERP","tva":20.00,"actif":true,"address":{"street":"1 rue du Port"}}"#;
    assert_eq!(out[0].to_string(), first);
    let xsd = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="clients"><xs:complexType><xs:sequence><xs:element name="client" maxOccurs="unbounded"><xs:complexType><xs:sequence>
        <xs:element name="Code" type="xs:string"/><xs:element name="Actif" type="xs:boolean"/><xs:element name="Devise" type="xs:string" fixed="EUR"/></xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"#;
    let (_, out) = mapping(&w, ("a.csv", a), ("schema.xsd", xsd));
    assert!(out.contains("<Actif>true</Actif>") && out.contains("<Actif>false</Actif>") && out.contains("<Devise>EUR</Devise>"), "{out}");
}

#[test]
fn a_secret_is_no_constant_and_equal_values_tell_of_no_change() {
    let w = World::new("");
    let (mut a, mut b) = ("Code;Nom\n".to_owned(), "code,name,Password\n".to_owned());
    for i in 0..12 {
        a += &format!("C{i};Nom {i}\n");
        b += &format!("C{i},Nom {i},ChangezMoi!2026\n");
    }
    let (found, _) = mapping(&w, ("a.csv", &a), ("b.csv", &b));
    assert!(!found.to_string().contains("ChangezMoi") && expression(&found, "Password") == "null", "{found}");
    assert!(found["automation"]["reasons"].to_string().contains("Password"), "{}", found["automation"]);
    let (found, _) = mapping(&w, ("a.csv", "Code;Nom\nC1;M\u{e9}ry\nC2;D\u{fc}n\n"), ("b.csv", "code,name\nC1,M\u{e9}ry\n"));
    assert_eq!((expression(&found, "code"), expression(&found, "name")), ("Code", "Nom"));
}

#[test]
fn dialects_are_right_for_every_export_with_a_known_answer() {
    let w = World::new("");
    let mut seen = 0;
    for entry in fs::read_dir(data().join("csv/expected-parse")).unwrap() {
        let wanted: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let name = wanted["file"].as_str().unwrap();
        let found = &audited(&w, &[&data().join(name)])["a"];
        assert_eq!(found["format"], "csv", "{name}");
        assert_eq!(found["encoding"], encoding(wanted["encoding"].as_str().unwrap()), "{name}");
        assert_eq!(found["delimiter"], wanted["delimiter"], "{name}");
        assert_eq!(found["header"], !wanted["header"].is_null(), "{name}");
        let records = found["read"].as_u64().unwrap() + found["unreadable"].as_u64().unwrap();
        assert_eq!(records, wanted["records"].as_u64().unwrap(), "{name}");
        if let Some(header) = wanted["header"].as_array() {
            let names: Vec<&str> = found["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().trim()).collect();
            let given = header.iter().enumerate().filter(|(_, h)| !h.as_str().unwrap().is_empty());
            // A name that stands twice gets a number.
            given.for_each(|(i, h)| assert!(names[i].starts_with(h.as_str().unwrap().trim()), "{name}: {} and {h}", names[i]));
        }
        seen += 1;
    }
    assert!(seen >= 28, "{seen} known answers");
}

#[test]
fn formats_signs_and_dates_are_told_of_exports_of_every_kind() {
    let w = World::new("");
    let told = |file: &str, key: &str| audited(&w, &[&data().join(file)])["a"][key].clone();
    for (file, key, wanted) in [
        ("accounting/fr/lilco-milk-analyses.csv", "decimal", ","),
        ("accounting/fr/epicea-journals.txt", "dates", "%d/%m/%Y"),
        ("accounting/fr/epicea-journals.txt", "decimal", "."),
        ("bank/csv/20180226-1000594757-umsatz.CSV", "dates", "%d.%m.%y"),
        ("csv/csvkit/FY09_EDU_Recipients_by_State.csv", "thousands", ","),
        ("csv/csvkit/test_locale.csv", "decimal", ","),
        ("csv/qsv/NYC311-5.csv.gz", "delimiter", ","),
        ("csv/qsv/NYC311-5.csv.zst", "datetimes", "%m/%d/%Y %I:%M:%S %p"),
        ("csv/qsv/Inpatients_MHA_Machine_readable_dataset_1011.csv", "encoding", "utf-16le"),
        ("csv/csvkit/testjson_nested.json", "format", "json"),
        ("csv/miller/arrays.json", "format", "ndjson"),
        ("bank/cfonb/example.txt", "format", "fixed"),
        ("bank/camt/camt053.v2.all-balance-types.xml", "format", "xml"),
        ("edifact/example_order_ok.edi", "records_at", "LIN"),
        ("dbf/people.dbf", "format", "dbf"),
        ("xlsx/excel-xlsx.xlsx", "format", "xlsx"),
        ("xlsx/calamine-any_sheets.ods", "format", "xlsx"),
        ("xlsx/calamine-any_sheets.xls", "format", "xlsx"),
    ] {
        assert_eq!(told(file, key), wanted, "{key} of {file}");
    }
}

#[test]
fn a_report_tells_types_keys_and_oddities_with_their_lines() {
    let w = World::new("");
    let mut text = "code;cp;montant;le;libelle;cle;actif\n".to_owned();
    for i in 0..40 {
        let key = if i == 30 { 29 } else { i };
        text.push_str(&format!(
            "C{};{:05};{},50;{:02}/{:02}/2024;texte {i};{key};{}\n",
            i / 2,
            1000 + i,
            1000 + i,
            i % 28 + 1,
            i % 12 + 1,
            if i % 3 == 0 { "O" } else { "N" }
        ));
    }
    text.push_str("TOTAL;;41780,00;;;;\n");
    w.write("export.csv", &text);
    let found = &audited(&w, &[&w.path("export.csv")])["a"];
    let types: Vec<&str> = found["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["text", "text", "decimal", "date", "text", "integer", "bool"]);
    assert_eq!((found["dates"].as_str(), found["decimal"].as_str()), (Some("%d/%m/%Y"), Some(",")));
    let notes: Vec<(u64, &str)> = found["notes"].as_array().unwrap().iter().map(|n| (n["line"].as_u64().unwrap_or(0), n["text"].as_str().unwrap())).collect();
    for (line, told) in [(42, "the last record is a total"), (2, "cp: leading zeros"), (14, "le: 13/01/2024 can only be %d/%m/%Y")] {
        assert!(notes.iter().any(|(l, t)| *l == line && t.contains(told)), "{told} on line {line}: {notes:?}");
    }
    let out = w.run(&["audit", "export.csv"]).ok().stdout;
    assert!(out.contains("date %d/%m/%Y") && out.contains("O ×") && out.contains("Next: passerelle audit"), "{out}");
    // Day and month that could be exchanged are a decision, and said to be one.
    w.write("ambiguous.csv", "a;le\n1;03/04/2024\n2;05/06/2024\n");
    let found = audited(&w, &[&w.path("ambiguous.csv")]);
    assert!(found["automation"]["reasons"].to_string().contains("day and month could be exchanged"), "{found}");
}

#[test]
fn the_json_has_the_shape_of_the_contract() {
    let w = World::new("");
    let pair = data().join("pairs/02-raiffeisen-to-ynab");
    let found = audited(&w, &[&pair.join("input.csv"), &pair.join("expected.csv")]);
    for side in ["a", "b"] {
        for key in ["format", "encoding", "delimiter", "decimal", "dates", "records", "columns"] {
            assert!(found[side].get(key).is_some(), "{side}.{key}");
        }
        for key in ["name", "type", "null", "distinct", "key"] {
            assert!(found[side]["columns"][0].get(key).is_some(), "{side}.columns.{key}");
        }
    }
    assert!(found["mapping"].as_array().unwrap().iter().all(|m| m["target"].is_string() && m["expression"].is_string() && m["confidence"].is_f64()));
    assert_eq!(found["automation"]["level"], "fully automatic");
    assert!(found["automation"]["reasons"].is_array());
    let alone = audited(&w, &[&pair.join("input.csv")]);
    assert!(alone["b"].is_null() && alone["mapping"].as_array().unwrap().is_empty());
    assert_eq!(alone["automation"]["level"], "needs a decision");
}

#[derive(serde::Deserialize)]
struct Scores {
    pair: Vec<Pair>,
}

#[derive(serde::Deserialize)]
struct Pair {
    name: String,
    a: String,
    b: String,
    mapped: usize,
    believed: usize,
    surely_wrong: usize,
    edits: Option<Vec<[String; 2]>>,
    told: Option<String>,
    sources: toml::Table,
}

#[test]
fn drafts_of_the_pairs_score_as_the_table_says() {
    let scores: Scores = toml::from_str(include_str!("audit/scores.toml")).unwrap();
    let mut nearly = 0;
    for pair in scores.pair {
        let w = World::new("");
        let folder = data().join("pairs").join(&pair.name);
        let (a, b) = (folder.join(&pair.a), folder.join(&pair.b));
        let found = audited(&w, &[&a, &b]);
        let (mut mapped, mut believed, mut surely_wrong) = (0, 0, Vec::new());
        for m in found["mapping"].as_array().unwrap() {
            let wanted = pair.sources.get(m["target"].as_str().unwrap()).and_then(|s| s.as_str());
            let sources: Vec<&str> = m["sources"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
            let (fits, confidence) = (wanted.is_some_and(|w| sources.contains(&w)), m["confidence"].as_f64().unwrap());
            mapped += usize::from(fits);
            believed += usize::from(fits && confidence >= 0.5);
            if confidence >= 0.9 && !fits && !sources.is_empty() {
                surely_wrong.push(m.to_string());
            }
        }
        assert_eq!(
            (mapped, believed, surely_wrong.len()),
            (pair.mapped, pair.believed, pair.surely_wrong),
            "{}: {surely_wrong:?} {:#}",
            pair.name,
            found["mapping"]
        );
        if let Some(told) = &pair.told {
            assert!(found["automation"]["reasons"].to_string().contains(&told.replace('"', "\\\"")), "{}: {}", pair.name, found["automation"]);
        }
        assert!(mapped * 5 >= pair.sources.len() * 4, "{}: {mapped} of {} columns that have a source", pair.name, pair.sources.len());
        w.run(&["audit", a.to_str().unwrap(), b.to_str().unwrap(), "--draft", "draft.toml"]).ok();
        w.run(&["-c", "draft.toml", "config", "check"]).ok();
        let route = w.read("draft.toml").lines().find_map(|l| Some(l.strip_prefix("[routes.")?.strip_suffix(".source]")?.to_owned())).unwrap();
        let out = w.run(&["-c", "draft.toml", "transform", &route, a.to_str().unwrap(), "-o", "out"]).ok();
        assert!(!out.stderr.contains(" 0 written"), "{}: {}", pair.name, out.stderr);
        if let Some(edits) = &pair.edits {
            let mut draft = w.read("draft.toml");
            for [line, instead] in edits {
                assert_eq!(draft.matches(line.as_str()).count(), 1, "{}: {line}", pair.name);
                draft = draft.replace(line.as_str(), instead);
            }
            w.write("draft.toml", draft);
            w.run(&["-c", "draft.toml", "transform", &route, a.to_str().unwrap(), "-o", "out"]).ok();
            assert!(fs::read(w.path("out")).unwrap() == fs::read(&b).unwrap(), "{}: the edited draft gives another file", pair.name);
            nearly += usize::from(edits.len() <= 3);
        }
    }
    assert!(nearly >= 3, "{nearly} drafts are at most three lines from the expected file");
}

#[test]
fn without_shared_records_names_of_three_languages_and_types_draft_the_route() {
    let w = World::new("");
    let a = "N° client;Raison sociale;Code postal;Ville;Date de création;Solde;Téléphone\n10;Café de la Gare;01400;Bourg;31/12/2024;1234,50;0102030405\n11;Durand SA;75001;Paris;01/02/2023;-12,00;0607080910\n";
    w.write("a.csv", a);
    w.write("b.csv", "Kundennummer,Firma,PLZ,Ort,Erstellt,Saldo,Telefon,Sprache\n,,,,,,,\n");
    w.write("header.csv", "Kundennummer,Firma,PLZ,Ort,Erstellt,Saldo,Telefon,Sprache\n");
    let found = audited(&w, &[&w.path("a.csv"), &w.path("header.csv")]);
    let expressions: Vec<&str> = found["mapping"].as_array().unwrap().iter().map(|m| m["expression"].as_str().unwrap()).collect();
    assert_eq!(
        expressions,
        ["row['N° client']", "row['Raison sociale']", "row['Code postal']", "Ville", "row['Date de création']", "Solde", "Téléphone", "null"]
    );
    assert!(found["mapping"].as_array().unwrap().iter().all(|m| m["confidence"].as_f64().unwrap() < 0.9), "{found}");
    assert!(found["automation"]["reasons"].to_string().contains("Sprache has no source"), "{found}");
    // What B holds tells how its values are written.
    w.write("b.csv", "Kundennummer,Firma,PLZ,Ort,Erstellt,Saldo,Telefon\n7,MÜLLER GMBH,10115,BERLIN,2022-05-06,7.10,030123\n8,SCHMIDT AG,80331,MÜNCHEN,2021-11-30,-3.25,089456\n");
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    let out = w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok();
    assert_eq!(
        out.stdout,
        "Kundennummer,Firma,PLZ,Ort,Erstellt,Saldo,Telefon\n10,CAFÉ DE LA GARE,01400,BOURG,2024-12-31,1234.50,0102030405\n11,DURAND SA,75001,PARIS,2023-02-01,-12.00,0607080910\n"
    );
}

#[test]
fn code_tables_conditions_and_parts_are_read_from_shared_records() {
    let w = World::new("");
    let (mut a, mut b) = ("id;civ;nom;prenom;pays;debit;credit;actif\n".to_owned(), "code,titre,contact,country,montant\n".to_owned());
    for i in 0..60 {
        let (civ, title) = [("1", "Monsieur"), ("2", "Madame"), ("3", "Société")][i % 3];
        let (pays, iso) = [("France", "FR"), ("Belgique", "BE"), ("Suisse", "CH"), ("Espagne", "ES")][i % 4];
        let (nom, prenom) = (format!("Nom{}", i * 7 % 60), format!("Prénom{}", i * 11 % 60));
        let (debit, credit) = if i % 2 == 0 { (format!("{},50", 10 + i), "0".to_owned()) } else { ("0".to_owned(), format!("{},25", 20 + i)) };
        let active = if i % 10 == 0 { "N" } else { "O" };
        a.push_str(&format!("{i};{civ};{nom};{prenom};{pays};{debit};{credit};{active}\n"));
        if active == "O" {
            let amount = if i % 2 == 0 { format!("{}.50", 10 + i) } else { format!("-{}.25", 20 + i) };
            b.push_str(&format!("{i:06},{title},{prenom} {},{iso},{amount}\n", nom.to_uppercase()));
        }
    }
    w.write("a.csv", a);
    w.write("b.csv", &b);
    let found = audited(&w, &[&w.path("a.csv"), &w.path("b.csv")]);
    assert_eq!(found["where"], "actif == 'O'");
    assert_eq!(found["automation"]["level"], "automatic with a code table or default", "{found}");
    let table = found["mapping"].as_array().unwrap().iter().find(|m| m["target"] == "titre").unwrap();
    assert_eq!(table["table"]["2"], "Madame");
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    let out = w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok();
    assert_eq!(out.stdout, b, "{}", w.read("draft.toml"));
}

#[test]
fn one_wrong_record_destroys_no_code_table_and_a_rare_code_is_in_it() {
    let w = World::new("");
    let (mut a, mut b) = ("Code;Statut;Ville\n".to_owned(), "code,status,city\n".to_owned());
    for i in 0..1200 {
        let (from, to) = match i % 3 {
            0 => ("A", "active"),
            1 => ("S", "suspended"),
            _ => ("F", "closed"),
        };
        // One that stands in few records, and one that B holds otherwise.
        let (from, to) = if i == 601 || i == 1103 { ("X", "blocked") } else { (from, if i == 300 { "closed" } else { to }) };
        a.push_str(&format!("C{i:05};{from};Ville {}\n", i % 97));
        b.push_str(&format!("C{i:05},{to},VILLE {}\n", i % 97));
    }
    w.write("a.csv", a);
    w.write("b.csv", b);
    let found = audited(&w, &[&w.path("a.csv"), &w.path("b.csv")]);
    let status = &found["mapping"][1];
    assert_eq!((&status["target"], &status["sources"][0]), (&"status".into(), &"Statut".into()), "{status}");
    assert!(status["confidence"].as_f64().unwrap() <= 0.7, "{status}");
    assert!(status["reason"].as_str().unwrap().contains("but in 1 of 1200 records (\"A\" beside \"closed\""), "{status}");
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    let draft = w.read("draft.toml");
    assert!(draft.contains("X = \"blocked\"") && draft.contains("A = \"active\""), "{draft}");
    w.run(&["-c", "draft.toml", "config", "check"]).ok();
}

#[test]
fn halves_of_an_amount_numbers_behind_a_text_and_months_are_found() {
    let w = World::new("");
    let (mut a, mut b) = ("Id;Nom;Tel;Date;Montant\n".to_owned(), "key,name,phone,month,debit,credit\n".to_owned());
    for i in 0..40 {
        let (n, cents, day) = (301 + i * 7, 100 + i * 377, 1 + i % 28);
        let sign = if i % 3 == 0 { "-" } else { "" };
        let amount = |sep: char| format!("{}{sep}{:02}", cents / 100, cents % 100);
        a.push_str(&format!("{n};Nom {n};06 12 {:02} 56 {:02};{day:02}/{:02}/2025;{sign}{}\n", i, 99 - i, 1 + i % 12, amount(',')));
        let (debit, credit) = if sign == "-" { (amount('.'), "0.00".to_owned()) } else { ("0.00".to_owned(), amount('.')) };
        b.push_str(&format!("K{n:06},Nom {n},+33612{i:02}56{:02},2025-{:02},{debit},{credit}\n", 99 - i, 1 + i % 12));
    }
    w.write("a.csv", a);
    w.write("b.csv", &b);
    w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
    let out = w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok();
    assert_eq!(out.stdout, b, "{}", w.read("draft.toml"));
}

#[test]
fn without_shared_records_values_contradict_names() {
    let w = World::new("");
    let (mut a, mut b) = ("CodeClient;Actif;Statut;Poids\n".to_owned(), "customer,active,status,weight\n".to_owned());
    for i in 0..30 {
        a.push_str(&format!("{};{};{};{},5\n", 1000 + i, if i % 2 == 0 { "O" } else { "N" }, ["p", "a", "s"][i % 3], 4000 + i * 10));
        b.push_str(&format!("{},{},{},{}.25\n", 7000 + i * 3, if i % 3 == 0 { "yes" } else { "no" }, ["paid", "new", "lost"][i % 3], 3 + i));
    }
    w.write("a.csv", a);
    w.write("b.csv", b);
    let found = audited(&w, &[&w.path("a.csv"), &w.path("b.csv")]);
    let of = |target: &str| found["mapping"].as_array().unwrap().iter().find(|m| m["target"] == target).unwrap();
    assert_eq!(of("customer")["sources"][0], "CodeClient");
    assert_eq!(of("active")["expression"], "'yes' if Actif == 'O' else 'no'");
    for (target, why) in [("status", "a code table must say which is which"), ("weight", "another unit")] {
        assert!(of(target)["confidence"].as_f64().unwrap() <= 0.45 && of(target)["reason"].as_str().unwrap().contains(why), "{}", of(target));
    }
}

#[test]
fn a_schema_of_b_gives_types_and_demands() {
    let w = World::new("");
    w.write("a.csv", "CodeClient;RaisonSociale;Solde;Cree\nC1;Dupont;1,50;31/12/2024\n");
    w.write(
        "b.json",
        r#"{"$schema": "x", "type": "array", "items": {"type": "object", "required": ["customer_id"], "properties": {"customer_id": {"type": "string", "maxLength": 8},
        "company": {"type": "string"}, "balance": {"type": "number"}, "created_at": {"type": "string", "format": "date"}}}}"#,
    );
    w.run(&["audit", "a.csv", "b.json", "--draft", "draft.toml"]).ok();
    let out = w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok();
    assert_eq!(out.stdout.trim(), "[\n{\"customer_id\":\"C1\",\"company\":\"Dupont\",\"balance\":1.50,\"created_at\":\"2024-12-31\"}\n]");
    assert!(w.read("draft.toml").contains("customer_id = { required = true, max_length = 8 }"), "{}", w.read("draft.toml"));
    w.write(
        "b.xsd",
        r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="customers"><xs:complexType><xs:sequence><xs:element name="customer" maxOccurs="unbounded"><xs:complexType><xs:sequence>
        <xs:element name="name" type="xs:string"/><xs:element name="balance" type="xs:decimal"/></xs:sequence><xs:attribute name="code" type="xs:string"/></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"#,
    );
    w.run(&["audit", "a.csv", "b.xsd", "--draft", "draft2.toml"]).ok();
    let out = w.run(&["-c", "draft2.toml", "transform", "a", "a.csv"]).ok();
    assert!(out.stdout.contains("<customers>") && out.stdout.contains("code=\"C1\"") && out.stdout.contains("<balance>1.50</balance>"), "{}", out.stdout);
}

#[test]
fn samples_that_are_none_get_a_clear_answer() {
    let w = World::new("");
    w.write("empty.csv", "");
    w.write("blank.csv", "\n\n");
    w.write("photo.csv", (0..5000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes()).collect::<Vec<u8>>());
    w.write("scan.pdf", "%PDF-1.7\n");
    w.write("people.vcf", "BEGIN:VCARD\nVERSION:3.0\nEND:VCARD\n");
    for (file, told) in [
        ("empty.csv", "the file is empty"),
        ("blank.csv", "only empty lines"),
        ("photo.csv", "a binary file"),
        ("scan.pdf", "a PDF document"),
        ("people.vcf", "a vCard file"),
        ("missing.csv", "missing.csv"),
    ] {
        w.run(&["audit", file]).code(1).says(told).says("→");
    }
    // One line is a header of which nothing else is known; a header on both sides is mapped by names.
    w.write("one.csv", "code;nom;ville");
    w.write("b.csv", "nom,code\n");
    let found = audited(&w, &[&w.path("one.csv"), &w.path("b.csv")]);
    assert_eq!(found["a"]["records"], 0);
    assert_eq!(found["mapping"][0]["expression"], "nom");
    w.write("two.csv", "a;b;c\n1;2;3\n4;5;6\n<clients><client><nom>x</nom></client></clients>\n");
    let found = audited(&w, &[&w.path("two.csv")]);
    assert!(found["a"]["notes"].to_string().contains("another format begins here"), "{found}");
    w.write("html.csv", "code,texte\n1,\"<p>\n<b>gras</b>\n</p>\"\n2,\"<ul>\n<li>12\"\" de long</li>\n</ul>\"\n3,fin\n");
    let found = audited(&w, &[&w.path("html.csv")]);
    assert!(!found["a"]["notes"].to_string().contains("another format"), "{found}");
    w.write("mixed.csv", b"nom;ville\n\xc3\xa9t\xc3\xa9;N\xc3\xaemes\nfran\xc3\xa7ais;Orl\xc3\xa9ans\nNo\xebl;M\xe2con\n");
    let found = audited(&w, &[&w.path("mixed.csv")]);
    let note = found["a"]["notes"].as_array().unwrap().iter().find(|n| n["text"].as_str().unwrap().contains("mixed encodings")).unwrap();
    assert_eq!(note["line"], 4);
}

#[test]
fn enormous_samples_are_read_in_bounded_memory() {
    let w = World::new("");
    // A sparse gigabyte without a line end; zeros are no text either, so letters stand where it is looked at.
    let file = fs::File::create(w.path("line.csv")).unwrap();
    std::io::Write::write_all(&mut &file, "abcdefgh;12345".repeat(400_000).as_bytes()).unwrap();
    file.set_len(1 << 30).unwrap();
    w.run(&["audit", "line.csv"]).code(1).says("no record ends");
    let columns: Vec<String> = (0..5000).map(|i| format!("c{i}")).collect();
    let row = |r: usize| (0..5000).map(|i| (r * 31 + i * 7).to_string()).collect::<Vec<_>>();
    w.write("wide.csv", format!("{}\n{}\n{}\n", columns.join(";"), row(1).join(";"), row(2).join(";")));
    w.write("wide_b.csv", format!("{}\n{}\n{}\n", columns.join(","), row(1).join(","), row(2).join(",")));
    let out = w.command().args(["audit", "--json", "wide.csv", "wide_b.csv"]).output().unwrap();
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["mapping"].as_array().unwrap().len(), 5000);
    // Of a large file the beginning, the middle and the end are read, and the rest is counted.
    let mut text = String::from("id;ville;montant\n");
    (0..4_000_000).for_each(|i| text.push_str(&format!("{i};Paris;{},50\n", i % 1000)));
    w.write("large.csv", text);
    let found = &audited(&w, &[&w.path("large.csv")])["a"];
    assert_eq!((found["complete"].as_bool(), found["unreadable"].as_u64()), (Some(false), Some(0)));
    let about = found["records"].as_u64().unwrap();
    assert!((3_000_000..5_000_000).contains(&about), "{about}");
}

#[test]
fn a_draft_overwrites_nothing_that_somebody_wrote() {
    let w = World::new("[routes.mine]\n");
    w.write("a.csv", "a;b\n1;2\n");
    w.run(&["audit", "a.csv", "--draft", "passerelle.toml"]).code(2).says("is there already");
    w.run(&["audit", "a.csv", "--draft", "draft.toml"]).ok();
    // Not a draft either: its guesses may have been corrected.
    w.run(&["audit", "a.csv", "--draft", "draft.toml"]).code(2).says("is there already");
    w.run(&["-c", "draft.toml", "config", "check"]).ok();
    assert_eq!(w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]).ok().stdout, "a,b\n1,2\n");
}

#[test]
fn a_password_is_never_shown() {
    let w = World::new("");
    w.write("a.csv", "login;Mot de passe\nana;s3cret-Wörd\nbob;s3cret-Wörd\n");
    for args in [&["audit", "a.csv"][..], &["audit", "a.csv", "--json"], &["audit", "a.csv", "--draft", "d.toml"]] {
        let out = w.run(args).ok();
        assert!(!out.stdout.contains("s3cret") && !out.stderr.contains("s3cret"), "{}", out.stdout);
    }
    assert!(!w.read("d.toml").contains("s3cret"));
}

#[test]
fn a_total_at_the_end_is_left_out_and_told() {
    for (end, records, key) in [("", 4, true), ("\n\n", 5, false)] {
        let w = World::local("");
        w.write("a.csv", format!("Code;Nom;Montant\n001;Ann;1 234,50\n002;Bob;12,00\n003;Cid;7,25\n004;Dan;100,00\nTOTAL;;1 353,75\n{end}"));
        let found = audited(&w, &[&w.path("a.csv")]);
        assert_eq!(found["a"]["records"].as_u64().or(found["records"].as_u64()), Some(records), "{found}");
        assert!(found.to_string().contains("the last record is a total"), "{found}");
        w.write("b.csv", "id\n001\n");
        w.run(&["audit", "a.csv", "b.csv", "--draft", "draft.toml"]).ok();
        assert_eq!(w.read("draft.toml").contains("skip_last = 1\n"), key, "{}", w.read("draft.toml"));
    }
}

#[test]
fn init_needs_two_folders() {
    let w = World::new("");
    std::fs::remove_file(w.path("passerelle.toml")).unwrap();
    std::fs::create_dir_all(w.path("a")).unwrap();
    w.run(&["init", "a", "a"]).code(2).says("name two folders");
}

#[test]
fn init_asks_for_two_folders_and_lays_out_what_lies_there() {
    use std::io::Write;
    let w = World::new("");
    fs::remove_file(w.path("passerelle.toml")).unwrap();
    let pair = data().join("pairs/02-raiffeisen-to-ynab");
    fs::create_dir_all(w.path("a")).unwrap();
    fs::create_dir_all(w.path("b")).unwrap();
    fs::copy(pair.join("input.csv"), w.path("a/releve_20250131.csv")).unwrap();
    fs::copy(pair.join("expected.csv"), w.path("b/releve.csv")).unwrap();
    let mut child = w.command().arg("init").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\nb\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("fully automatic"), "{}", String::from_utf8_lossy(&out.stdout));
    let text = w.read("passerelle.toml");
    assert!(text.contains("include = [\"releve_*.csv\"]"), "{text}");
    w.run(&["config", "check"]).ok();
    // What was laid out relays.
    fs::remove_file(w.path("b/releve.csv")).unwrap();
    w.once().ok();
    assert_eq!(fs::read(w.path("b/releve_20250131.csv")).unwrap(), fs::read(pair.join("expected.csv")).unwrap());
    w.run(&["init", "a", "b"]).code(2).says("is there already");
    w.run(&["-c", "other.toml", "init", "a", "nowhere"]).code(2).says("nowhere");
}

#[test]
fn conversions_that_only_the_shared_records_show_are_found() {
    let cases = [
        // A default where there is nothing, and zero for it.
        (
            "id;pays\nC001;\nC002;BE\nC003;\nC004;CH\nC005;DE\nC006;\n",
            "id,pays\nC001,FR\nC002,BE\nC003,FR\nC004,CH\nC005,DE\nC006,FR\n",
            "pays",
            "(pays) or 'FR'",
        ),
        (
            "id;r\nC001;\nC002;12,50\nC003;\nC004;3,00\nC005;7,25\n",
            "id,r\nC001,0.00\nC002,12.50\nC003,0.00\nC004,3.00\nC005,7.25\n",
            "r",
            "r | decimal | default(0) | round(2)",
        ),
        // The tax on what is itself computed.
        (
            "id;q;pu\nL01;3;10,50\nL02;2;7,25\nL03;5;1,99\nL04;1;120,00\nL05;4;15,30\n",
            "id,ht,tva\nL01,31.50,6.30\nL02,14.50,2.90\nL03,9.95,1.99\nL04,120.00,24.00\nL05,61.20,12.24\n",
            "tva",
            "* 0.2",
        ),
        // Days without a year, days of digits, a month before its year.
        ("id;d\nA1x;07.10.2024\nA2x;31.12.2024\nA3x;15.03.2024\n", "id,d\nA1x,0710\nA2x,3112\nA3x,1503\n", "d", "strftime('%d%m')"),
        ("id;p\nA1x;10/2024\nA2x;12/2023\nA3x;03/2025\n", "id,p\nA1x,2024-10\nA2x,2023-12\nA3x,2025-03\n", "p", "p[3:] ~ '-' ~ p[:2]"),
        // A spreadsheet's number of a day, months by name.
        ("id;d\nA1x;45658\nA2x;45690\nA3x;45701\n", "id,d\nA1x,2025-01-01\nA2x,2025-02-02\nA3x,2025-02-13\n", "d", "date('excel')"),
        ("id;d\nA1x;12 janvier 2025\nA2x;3 août 2025\nA3x;14 mars 2025\n", "id,d\nA1x,12/01/2025\nA2x,03/08/2025\nA3x,14/03/2025\n", "d", "'juillet': '07'"),
        ("id;d\nA1x;12-Jan-2025\nA2x;03-Aug-2025\nA3x;14-Mar-2025\n", "id,d\nA1x,2025-01-12\nA2x,2025-08-03\nA3x,2025-03-14\n", "d", "d | date"),
        // A part of a name in capitals, an initial.
        ("id;n\nA1x;Luc Roux\nA2x;Zoé Faure\nA3x;Marie Colin\n", "id,n\nA1x,ROUX\nA2x,FAURE\nA3x,COLIN\n", "n", "split(' ') | last | trim | upper"),
        ("id;p;n\nA1x;Luc;Roux\nA2x;Zoé;Faure\nA3x;Marie;Colin\n", "id,c\nA1x,L. Roux\nA2x,Z. Faure\nA3x,M. Colin\n", "c", "p[:1] ~ '. ' ~ n"),
    ];
    for (a, b, target, expression) in cases {
        let w = World::local("");
        w.write("a.csv", a);
        w.write("b.csv", b);
        let found = audited(&w, &[&w.path("a.csv"), &w.path("b.csv")]);
        let m = found["mapping"].as_array().unwrap().iter().find(|m| m["target"] == target).unwrap();
        assert!(m["expression"].as_str().unwrap().contains(expression), "{target}: {m}");
    }
}

#[test]
fn what_b_sums_up_orders_otherwise_or_demands_is_told() {
    let level = |a: &str, b: &str, name: &str| {
        let w = World::local("");
        w.write("a.csv", a);
        w.write(name, b);
        let found = audited(&w, &[&w.path("a.csv"), &w.path(name)]);
        let reasons = found["automation"]["reasons"].to_string();
        (found["automation"]["level"].as_str().unwrap().to_owned(), reasons)
    };
    let orders = "commande;code_client;client\n1;C00;Dupont\n2;C01;Martin\n3;C00;Dupont\n4;C02;Petit\n5;C01;Martin\n6;C00;Dupont\n";
    let (words, why) = level(orders, "code,nom\nC00,DUPONT\nC01,MARTIN\nC02,PETIT\n", "b.csv");
    assert!(words == "needs a decision" && why.contains("group them"), "{words} {why}");
    let shared = "id;nom\nX1;Ann\nX2;Bob\nX3;Cid\nX4;Dan\nX5;Eve\n";
    let (words, why) = level(shared, "id,nom\nX3,Cid\nX1,Ann\nX5,Eve\nX2,Bob\nX4,Dan\n", "b.csv");
    assert!(words == "needs a decision" && why.contains("order"), "{words} {why}");
    // A schema's yes and no, its codes, and what it demands and nobody gives.
    let schema = r#"{"type":"array","items":{"type":"object","required":["name","vip","fax"],"properties":{"name":{"type":"string"},"vip":{"type":"boolean"},"fax":{"type":"string"}}}}"#;
    let w = World::local("");
    w.write("a.csv", "Nom;VIP\nRoux;O\nNoël;N\nFaure;O\nPetit;N\n");
    w.write("schema.json", schema);
    w.run(&["audit", "a.csv", "schema.json", "--draft", "draft.toml"]).ok();
    let out = w.run(&["-c", "draft.toml", "transform", "a", "a.csv"]);
    assert!(out.stdout.contains("\"vip\":true") || out.stdout.contains("\"vip\": true"), "{} {}", out.stdout, out.stderr);
}

#[test]
fn elements_with_attributes_are_texts_also_among_the_lines_of_a_record() {
    let w = World::new("");
    let (mut a, mut b) = (String::from("<B>"), String::from("inv,qty,net\n"));
    for i in 0..12u32 {
        a.push_str(&format!("<I><ID>INV-{i:03}</ID>"));
        for line in 0..=i % 3 {
            let (qty, net) = (20 + i * 5 + line, 100 * (i + 1) + 7 * line);
            a.push_str(&format!("<L><Q u=\"KGM\">{qty}</Q><N c=\"EUR\">{net}.{:02}</N></L>", i + 10));
            b.push_str(&format!("INV-{i:03},{qty},{net}.{:02}\n", i + 10));
        }
        a.push_str("</I>");
    }
    w.write("a.xml", a + "</B>");
    w.write("b.csv", &b);
    let audit = w.json(&["audit", "a.xml", "b.csv", "--json"]);
    let of = |target: &str| audit["mapping"].as_array().unwrap().iter().find(|m| m["target"] == target).unwrap()["expression"].clone();
    assert_eq!((of("inv"), of("qty"), of("net")), ("ID".into(), "item.Q".into(), "item.N".into()), "{audit}");
    w.run(&["audit", "a.xml", "b.csv", "--draft", "draft.toml"]).ok();
    let name = w.read("draft.toml").lines().find_map(|l| l.strip_prefix("[routes.")?.split(['.', ']']).next().map(str::to_owned)).unwrap();
    assert_eq!(w.run(&["--config", "draft.toml", "transform", &name, "a.xml"]).ok().stdout, b);
}

#[test]
fn doubled_quotes_at_the_end_of_cells_are_quotes() {
    let w = World::new("");
    let rows: String = (0..20).map(|i| format!("P{i:03};\"Ecran {}\"\"\";{i}\n", 20 + i % 3)).collect();
    w.write("a.csv", format!("ref;lib;q\n{rows}"));
    let found = audited(&w, &[&w.path("a.csv")]);
    let examples = found["a"]["columns"][1]["examples"].to_string();
    assert!(examples.contains("Ecran 20\\\"") && !examples.contains("\\\"Ecran"), "{examples}");
}

#[test]
fn what_a_sample_holds_names_no_variable_and_no_file_of_this_host() {
    let w = World::new("");
    w.write("secret.txt", "TOPSECRET\n");
    let rows = |value: &str, sign: char| -> String { (0..20).map(|i| format!("K{i}{sign}{value}\n")).collect() };
    w.write("a.csv", format!("k;${{env:HOME}}\n{}", rows("x", ';')));
    w.write("b.csv", format!("k,v,w\n{}", (0..20).map(|i| format!("K{i},${{file:secret.txt}},x\n")).collect::<String>()));
    w.run(&["audit", "a.csv", "b.csv", "--draft", "d.toml"]).ok();
    w.run(&["-c", "d.toml", "config", "check"]).ok();
    let out = w.run(&["-c", "d.toml", "transform", "a", "a.csv"]).ok().stdout;
    assert!(out.starts_with("k,v,w\nK0,${file:secret.txt},x\n"), "{out}");
    w.run(&["audit", "a.csv", "--draft", "nowhere/d.toml"]).code(2).says("there is no folder nowhere");
}

#[test]
fn numbers_of_json_are_compared_by_what_they_are_worth_and_codes_are_filled_up_to_any_width() {
    let w = World::new("");
    let a: String = (0..30).map(|i| format!("P{};{},{}0;{}\n", i + 100, 10 + i, if i % 2 == 0 { 0 } else { 5 }, 100 + i * 37)).collect();
    let b: Vec<Value> = (0..30).map(|i| serde_json::json!({ "code": format!("P{}", i + 100), "pu": f64::from(10 + i) + if i % 2 == 0 { 0.0 } else { 0.5 }, "mat": format!("{:08}", 100 + i * 37) })).collect();
    let (found, _) = mapping(&w, ("a.csv", &format!("code;pu;matricule\n{a}")), ("b.json", &serde_json::to_string(&b).unwrap()));
    assert_eq!((expression(&found, "pu"), expression(&found, "mat")), ("pu | decimal", "('00000000' ~ matricule)[-8:]"));
}

#[test]
fn where_b_sums_up_no_record_is_left_out() {
    let w = World::new("");
    let lots: Vec<(String, char, i32)> = (0..40).map(|i| (format!("A{:03}", i / 2), if i % 2 == 0 { 'L' } else { 'R' }, i * 37 % 91 + 1)).collect();
    let a: String = lots.iter().map(|(article, lot, n)| format!("{article};{lot};{n}\n")).collect();
    let b: String = lots.chunks(2).map(|pair| format!("{},{}\n", pair[0].0, pair[0].2 + pair[1].2)).collect();
    let (found, draft) = mapping(&w, ("a.csv", &format!("article;lot;qte\n{a}")), ("b.csv", &format!("article,stock\n{b}")));
    assert!(found["automation"].to_string().contains("B has one record for about 2.0 of A's"), "{found}");
    assert!(!draft.lines().any(|line| line.starts_with("where")), "{draft}");
}
