//! Formats there and back, records inside records, order, parts, compression, and rejects that come back corrected.

use std::fs;
use std::process::{Command, Stdio};

use crate::world::World;

const CLIENTS: &str = "[routes.r.input]\nformat = \"csv\"\ndelimiter = \";\"\ndecimal = \",\"\ntypes = { Solde = \"decimal\" }\n[routes.r.map]\nnom = \"Nom\"\nsolde = \"Solde\"\n";

#[test]
fn rejects_that_were_corrected_come_back_alone_under_a_name_of_their_own() {
    let w = World::local(CLIENTS);
    w.config(&w.read("passerelle.toml").replace("path = \"a\"", "path = \"a\"\ninclude = [\"clients*.csv\"]\nexclude = [\"*rejects*\"]"));
    w.write("a/clients.csv", "Nom;Solde\nA;1,50\nB;douze\n=C;x\n");
    w.once().ok().says("2 records rejected");
    let rejects = w.read("relay/errors/r/clients.csv.rejects.csv");
    assert!(rejects.contains("'=C"), "{rejects}");
    // As a spreadsheet on Windows writes it back: every cell quoted, in the old encoding, without a mark.
    let corrected = rejects.trim_start_matches('\u{feff}').replace("douze", "12,00").replace(";x", ";0,50").replace("B;", "Bé;");
    let quoted: String =
        corrected.lines().map(|l| l.split(';').map(|c| format!("\"{}\"", c.trim_matches('"'))).collect::<Vec<_>>().join(";") + "\r\n").collect();
    // A row that was cleared stays behind as one of empty cells.
    let quoted = quoted + ";;;;\r\n";
    let bytes: Vec<u8> = quoted.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    w.write("a/clients.csv.rejects.csv", bytes);
    w.once().ok();
    assert_eq!(w.names("b"), ["clients.csv", "clients.rejects-2.csv"]);
    assert_eq!(w.read("b/clients.rejects-2.csv"), "nom,solde\nBé,12.00\n=C,0.50\n");
    assert_eq!(w.read("b/clients.csv"), "nom,solde\nA,1.50\n");
    // What was corrected wrongly comes back under the same name, and once more.
    fs::remove_file(w.path("relay/errors/r/clients.csv.rejects.csv")).unwrap();
    w.write("a/clients.csv.rejects.csv", "_line;_field;_reason;Nom;Solde\n3;;;D;treize\n");
    w.once().ok().says("1 records rejected");
    w.write("a/clients.csv.rejects.csv", w.read("relay/errors/r/clients.csv.rejects.csv").replace("treize", "13"));
    w.once().ok();
    assert_eq!(w.read("b/clients.rejects-4.csv"), "nom,solde\nD,13\n");
    assert!(!w.read("b/clients.rejects-2.csv").contains("_line"));
    // A spreadsheet may have been told another name.
    w.write("a/à relayer.csv", "_line;_field;_reason;Nom;Solde\n3;;;E;5\n");
    w.write("a/other.csv", "Nom;Solde\nX;1\n");
    w.once().ok();
    assert_eq!(w.read("b/à relayer.rejects-5.csv"), "nom,solde\nE,5\n");
    assert_eq!(w.names("a"), ["other.csv"]);
}

#[test]
fn corrected_rejects_of_other_formats_come_back_from_their_raw_column() {
    for (format, keys, good, bad, wrong, right) in [
        ("ndjson", "", "{\"n\": \"1\"}\n", "{\"n\": \"x\"}\n", "x", "2"),
        ("xml", "records = \"/l/c\"\n", "<l><c><n>1</n></c>", "<c><n>x</n></c></l>", "x", "2"),
        ("fixed", "columns = [{ name = \"n\", width = 3 }]\n", "1  \n", "x  \n", "x", "2"),
        (
            "fixed",
            "records = { A = [{ name = \"n\", start = 2, width = 1 }], B = [{ name = \"m\", start = 2 }] }\nnest = { B = \"A\" }\n",
            "A1\nBu\n",
            "Ax\nBv\n",
            "Ax",
            "A2",
        ),
    ] {
        let w = World::local(&format!(
            "[routes.r.input]\nformat = \"{format}\"\n{keys}types = {{ n = \"decimal\" }}\n[routes.r.map]\nn = \"n\"\n[routes.r.output]\nformat = \"csv\"\nname = \"out.csv\"\n"
        ));
        w.write("a/x.dat", format!("{good}{bad}"));
        w.once().ok().says("1 records rejected");
        let rejects = w.read("relay/errors/r/x.dat.rejects.csv");
        assert!(rejects.starts_with("\u{feff}_line;_field;_reason;_raw"), "{format}: {rejects}");
        let (head, row) = rejects.split_once("\r\n").unwrap();
        let (own, raw) = row.rsplit_once(';').unwrap();
        w.write("a/x.dat.rejects.csv", format!("{head}\r\n{own};{}", raw.replacen(wrong, right, 1)));
        w.once().ok();
        assert_eq!(w.read("b/out.rejects-2.csv"), "n\n2\n", "{format}: {rejects}");
    }
}

#[test]
fn rows_become_groups_and_lists_become_rows() {
    let w = World::local(
        r#"
[routes.r.input]
format = "csv"
delimiter = ";"
group_by = ["numero"]
group_into = "lignes"
types = { qte = "integer" }
[routes.r.map]
numero = "numero"
client.nom = "client"
total = "lignes | sum(attribute='qte')"
articles = "lignes | map(attribute='article')"
rang = "row.number"
[routes.r.output]
format = "ndjson"
[routes.back.source]
path = "c"
[routes.back.input]
format = "ndjson"
each = "articles"
[routes.back.map]
numero = "numero"
article = "item"
place = "loop.index ~ '/' ~ loop.length ~ ('.' if loop.last else '')"
[routes.back.output]
format = "csv"
[routes.back.destination]
path = "d"
"#,
    );
    w.write("x", "numero;client;article;qte\n1;A;p;2\n1;A;q;3\n2;B;r;x\n2;B;s;1\n3;C;t;4\n");
    let out = w.run(&["transform", "r", "x", "-o", "y"]).ok();
    assert_eq!(
        w.read("y"),
        "{\"numero\":\"1\",\"client\":{\"nom\":\"A\"},\"total\":5,\"articles\":[\"p\",\"q\"],\"rang\":1}\n{\"numero\":\"3\",\"client\":{\"nom\":\"C\"},\"total\":4,\"articles\":[\"t\"],\"rang\":3}\n"
    );
    assert!(out.stderr.contains("3 read, 2 written, 0 skipped, 1 rejected"), "{}", out.stderr);
    assert_eq!(w.run(&["transform", "back", "y"]).ok().stdout, "numero,article,place\n1,p,1/2\n1,q,2/2.\n3,t,1/1.\n");
}

#[test]
fn rejected_rows_of_tables_come_back_with_their_types_and_not_before_they_are_corrected() {
    // A table with a text, a date and an amount.
    let mut table = vec![3, 25, 1, 1, 3, 0, 0, 0];
    let fields = [("CODE", b'C', 1u8, 0u8), ("ECH", b'D', 8, 0), ("MT", b'N', 5, 2)];
    table.extend_from_slice(&(32 + 32 * 3 + 1u16).to_le_bytes());
    table.extend_from_slice(&15u16.to_le_bytes());
    table.resize(32, 0);
    for (name, kind, width, decimals) in fields {
        let mut field = [0u8; 32];
        field[..name.len()].copy_from_slice(name.as_bytes());
        (field[11], field[16], field[17]) = (kind, width, decimals);
        table.extend_from_slice(&field);
    }
    table.extend_from_slice(b"\r A20251231 1.50 B20251299 2.50 C20251231*****\x1a");
    let w = World::local("[routes.r.input]\nformat = \"dbf\"\n[routes.r.output]\nformat = \"csv\"\ndates = \"%d/%m/%Y\"\n");
    w.write("a/t.dbf", table);
    w.once().ok();
    assert_eq!(w.read("b/t.csv"), "CODE,ECH,MT\nA,31/12/2025,1.50\n");
    let rejects = w.read("relay/errors/r/t.dbf.rejects.csv");
    assert!(rejects.contains("20251299") && rejects.contains("*****"), "what stood there is seen: {rejects}");
    fs::remove_file(w.path("relay/errors/r/t.dbf.rejects.csv")).unwrap();
    w.write("a/t.dbf.rejects.csv", &rejects);
    w.once().ok();
    assert_eq!(w.read("relay/errors/r/t.dbf.rejects.csv").lines().count(), 3, "not corrected, it is not delivered");
    w.write("a/t.dbf.rejects.csv", rejects.replace("#VALUE! 20251299", "2025-12-29").replace("\"\"#VALUE! *****\"\"", "3.50"));
    w.once().ok();
    let back = w.names("b").into_iter().find(|name| name.contains("rejects-3")).unwrap();
    assert_eq!(w.read(&format!("b/{back}")), "CODE,ECH,MT\nB,29/12/2025,2.50\nC,31/12/2025,3.50\n");
    // A sheet's dates are dates, whatever its texts would be written like.
    let w = World::new(&format!(
        "{}[routes.r.input]\nformat = \"csv\"\ntypes = {{ d = \"date\", t = \"datetime\" }}\n[routes.r.output]\nformat = \"xlsx\"\n\
         [routes.s.source]\npath = \"b\"\n[routes.s.input]\nformat = \"xlsx\"\ntypes = {{ m = \"decimal\", d = \"date\", t = \"datetime\" }}\ndates = \"%d/%m/%Y\"\n\
         datetimes = \"%d/%m/%Y %H:%M\"\n[routes.s.output]\nformat = \"csv\"\ndates = \"%d/%m/%Y\"\ndatetimes = \"%d/%m/%Y %H:%M\"\n[routes.s.destination]\npath = \"c\"\n",
        World::route("r", "a", "b")
    ));
    w.write("x.csv", "c,d,m,t\na,2025-01-30,1,2025-01-01T11:00:00\nb,2025-01-31,abc,2025-01-01T12:00:00\n");
    w.run(&["transform", "r", "x.csv", "-o", "x.xlsx"]).ok();
    assert_eq!(w.run(&["transform", "s", "x.xlsx", "--rejects", "bad.csv"]).ok().stdout, "c,d,m,t\na,30/01/2025,1,01/01/2025 11:00\n");
    w.write("fixed.csv", w.read("bad.csv").replace("\"\"abc\"\"", "2"));
    assert_eq!(w.run(&["transform", "s", "fixed.csv"]).ok().stdout, "c,d,m,t\nb,31/01/2025,2,01/01/2025 12:00\n");
}

#[test]
fn names_with_a_dot_keep_their_value_where_no_map_says_what_they_are() {
    let w = World::local("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.output]\nformat = \"csv\"\n");
    w.write("x", "{\"prix.ht\":12.5,\"x\":\"v\"}\n");
    let told = w.run(&["transform", "r", "x"]).ok();
    assert_eq!((told.stdout.as_str(), told.stderr.contains("no record has")), ("prix.ht,x\n12.5,v\n", false), "{}", told.stderr);
}

#[test]
fn rules_for_the_columns_of_a_sheet_need_no_map() {
    let w = World::local("[routes.r.input]\nformat = \"xlsx\"\n[routes.r.output]\nformat = \"csv\"\nfields = { m = { required = true } }\n");
    w.run(&["config", "check"]).ok();
    let wrong = "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\n\"adr.@type.x\" = \"a\"\n[routes.r.output]\nformat = \"xml\"\n";
    World::local(wrong).run(&["config", "check"]).code(2).says("\"@type\" can't be the name of an element");
}

#[test]
fn a_group_that_is_rejected_goes_to_the_rejects_whole_and_comes_back_whole() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\ngroup_by = [\"n\"]\ngroup_into = \"l\"\ntypes = { q = \"integer\" }\n[routes.r.map]\nn = \"n\"\nsum = \"l | sum(attribute='q')\"\n",
    );
    w.write("a/x.csv", "n,q\n1,1\n2,x\n2,5\n");
    w.once().ok();
    let rejects = w.read("relay/errors/r/x.csv.rejects.csv");
    assert_eq!(rejects.lines().count(), 3, "{rejects}");
    w.write("a/x.csv.rejects.csv", rejects.replace("2,x", "2,4"));
    w.once().ok();
    assert_eq!(w.read("b/x.rejects-2.csv"), "n,sum\n2,9\n");
}

#[test]
fn records_are_ordered_grouped_and_split_on_the_way_out() {
    let w = World::local(
        r#"
[routes.r.input]
format = "csv"
types = { q = "integer" }
[routes.r.map]
n = "n"
"lignes.a" = "a"
"lignes.d.q" = "q"
[routes.r.output]
format = "json"
order_by = ["-n", "lignes.d.q"]
group_by = ["n"]
group_into = "lignes"
split = 2
name = "f.json"
"#,
    );
    w.write("a/x.csv", "n,a,q\n1,z,10\n2,y,2\n1,x,9\n3,w,1\n");
    w.once().ok();
    assert_eq!(w.names("b"), ["f-1.json", "f-2.json"]);
    assert_eq!(
        w.read("b/f-1.json"),
        "[\n{\"n\":\"3\",\"lignes\":[{\"a\":\"w\",\"d\":{\"q\":1}}]},\n{\"n\":\"2\",\"lignes\":[{\"a\":\"y\",\"d\":{\"q\":2}}]}\n]\n"
    );
    assert_eq!(w.read("b/f-2.json"), "[\n{\"n\":\"1\",\"lignes\":[{\"a\":\"x\",\"d\":{\"q\":9}},{\"a\":\"z\",\"d\":{\"q\":10}}]}\n]\n");
    let job = &w.history()[0];
    assert_eq!(job["records"]["written"], 4);
    assert_eq!(job["deliveries"].as_array().unwrap().len(), 2);
}

/// What B sees: names that begin with a dot are on their way.
fn visible(w: &World) -> Vec<String> {
    w.names("b").into_iter().filter(|n| !n.starts_with('.')).collect()
}

#[test]
fn parts_are_published_all_or_none_and_in_order() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\nsplit = 1\nname = \"p{part}.csv\"\n");
    w.write("b/p2.csv", "B has not taken this one");
    w.write("a/1.csv", "n\n1\n2\n3\n");
    w.write("a/2.csv", "n\n4\n");
    w.once().code(3).says("still there");
    assert_eq!(visible(&w), ["p2.csv"], "a part went without the others");
    fs::remove_file(w.path("b/p2.csv")).unwrap();
    w.once().code(3);
    assert_eq!(visible(&w), ["p1.csv", "p2.csv", "p3.csv"]);
    assert_eq!(w.read("b/p3.csv"), "n\n3\n");
    for part in ["p1.csv", "p2.csv", "p3.csv"] {
        fs::remove_file(w.path(&format!("b/{part}"))).unwrap();
    }
    w.once().ok();
    assert_eq!(w.read("b/p1.csv"), "n\n4\n");
}

#[test]
fn compressed_exports_are_read_and_written() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n");
    for (packing, extension, unpack) in [("gzip", "gz", vec!["gzip", "-dc"]), ("zstd", "zst", vec![]), ("zip", "zip", vec!["python3", "-c"])] {
        let text = World::route("r", "a", "b") + &format!("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\ncompress = \"{packing}\"\n");
        w.config(&text);
        w.write("a/x.csv", "n,t\n1,é\n");
        w.once().ok();
        let name = format!("x.csv.{extension}");
        assert_eq!(w.names("b"), std::slice::from_ref(&name));
        let packed = w.path(&format!("b/{name}"));
        // Read by ourselves, whatever its name …
        assert_eq!(w.run(&["transform", "back", packed.to_str().unwrap()]).code(2).stdout, "");
        w.config(&text.replace(&format!("compress = \"{packing}\"\n"), ""));
        assert_eq!(w.run(&["transform", "r", packed.to_str().unwrap()]).ok().stdout, "n,t\n1,é\n");
        // … and by others.
        let mut other = unpack.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        if packing == "zip" {
            other.push(format!(
                "import zipfile,sys; z=zipfile.ZipFile({packed:?}); assert z.namelist()==['x.csv'], z.namelist(); sys.stdout.write(z.read('x.csv').decode())"
            ));
        } else if packing == "gzip" {
            other.push(packed.to_str().unwrap().to_owned());
        }
        if let Some((program, args)) = other.split_first() {
            let out = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "n,t\n1,é\n", "{}", String::from_utf8_lossy(&out.stderr));
        }
        fs::remove_file(packed).unwrap();
    }
}

#[test]
fn the_columns_of_b_come_from_its_header() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nc = \"n\"\na = \"t\"\n[routes.r.output]\ndelimiter = \";\"\ncolumns_from = \"b-header.csv\"\n",
    );
    w.write("b-header.csv", "a;b;c\n");
    w.write("x", "n,t\n1,u\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "a;b;c\nu;;1\n");
    w.write("b-header.csv", "a;b\n");
    w.run(&["config", "check"]).code(2).says("c is not among output.columns");
    fs::remove_file(w.path("b-header.csv")).unwrap();
    w.run(&["config", "check"]).code(2).says("columns_from");
}

#[test]
fn templates_have_headers_trailers_and_exact_totals() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\ntypes = { m = \"decimal\", d = \"date\" }\n[routes.r.output]\nformat = \"template\"\nfile = \"b.j2\"\ndecimal = \",\"\ndates = \"%d/%m/%Y\"\nencoding = \"windows-1252\"\nline_ending = \"\\r\\n\"\n",
    );
    w.write("b.j2", "H;{{ file.stem }};{{ records | length }}\n{%- for r in records %}\n{{ '%-5s' | format(r.n) }}|{{ r.m }}|{{ r.d }}{% if loop.last %}!{% endif %}\n{%- endfor %}\nT;{{ records | sum(attribute='m') | round(2) }};é\n");
    w.write("x.csv", "n,m,d\na,0.10,2025-12-31\nb,0.20,2026-01-01\n");
    w.run(&["transform", "r", "x.csv", "-o", "out"]).ok();
    let made = fs::read(w.path("out")).unwrap();
    assert_eq!(made, b"H;x;2\r\na    |0,10|31/12/2025\r\nb    |0,20|01/01/2026!\r\nT;0,30;\xe9\r\n", "{}", String::from_utf8_lossy(&made));
    w.write("b.j2", "{% for r in records %}");
    w.run(&["config", "check"]).code(2).says("file");
    w.write("b.j2", "{{ records.nothing.at_all }}");
    w.run(&["transform", "r", "x.csv"]).code(1).says("the template");
}

#[test]
fn a_workbook_is_written_for_b_and_read_by_python() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\ntypes = { m = \"decimal\", d = \"date\" }\n[routes.r.output]\nformat = \"xlsx\"\nsheet = \"Clients\"\n[routes.back.source]\npath = \"c\"\n[routes.back.input]\nformat = \"xlsx\"\n[routes.back.output]\nformat = \"csv\"\n[routes.back.destination]\npath = \"d\"\n",
    );
    w.write("x.csv", "code,m,d\n007,12.50,2025-12-31\n\"=1+1\",123456789012345678.90,\n");
    w.run(&["transform", "r", "x.csv", "-o", "y.xlsx"]).ok();
    assert_eq!(w.run(&["transform", "back", "y.xlsx"]).ok().stdout, "code,m,d\n007,12.5,2025-12-31\n=1+1,123456789012345678.90,\n");
}

#[test]
fn lookups_read_every_format_and_each_of_their_elements() {
    let w = World::local(
        r#"
[routes.r.input]
format = "csv"
[routes.r.map]
pays = "code | lookup('pays')"
tel = "code | lookup('contacts', 'numero')"
[lookups.pays]
file = "pays.xml"
format = "xml"
key = "code"
value = "nom"
[lookups.contacts]
file = "contacts.json"
format = "json"
each = "telephones"
key = ["code"]
"#,
    );
    w.write("pays.xml", "<p><x><code>FR</code><nom>France</nom></x></p>");
    w.write("contacts.json", "[{\"code\":\"FR\",\"telephones\":[{\"numero\":\"01\"},{\"numero\":\"02\"}]}]");
    w.write("x", "code\nFR\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "pays,tel\nFrance,01\n");
}

#[test]
fn explain_shows_each_target_with_its_source_and_result() {
    let w = World::local(CLIENTS);
    w.write("x", "Nom;Solde\nA;1,50\nB;douze\n");
    let out = w.run(&["transform", "r", "x", "--explain"]).ok();
    for part in ["record on line 2", "solde", "Solde = \"1,50\"", "1.50", "record on line 3, rejected: Solde", "! \"douze\" is not a number"] {
        assert!(out.stdout.contains(part), "{part}:\n{}", out.stdout);
    }
}

#[test]
fn pieces_side_by_side_give_what_one_reading_gives() {
    // Quotes in odd places and line ends in fields: where pieces are cut is often guessed wrong, and never matters.
    let map = "[routes.r.map]\na = \"a | upper\"\nb = \"b\"\nc = \"c\"\nl = \"row.line\"\n";
    let input = "[routes.r.input]\nformat = \"csv\"\ntypes = { c = \"integer\" }\n";
    let parallel = World::local(&format!("{input}{map}"));
    // The number of a record is known only when all before it are read: this route reads in one go.
    let alone = World::local(&format!("{input}{map}n = \"row.number\"\n"));
    let mut text = String::from("a,b,c\n");
    for i in 0..60_000 {
        match i % 11 {
            0 => text.push_str(&format!("\"line\nend {i}\",\"say \"\"hi\"\"\",{i}\n")),
            3 => text.push_str(&format!("a 5\" pipe,x{i},{i}\n")),
            7 if i % 13 == 0 => text.push_str(&format!("bad,{i},x\n")),
            _ => text.push_str(&format!("Éloïse {i},plain text of some length,{i}\r\n")),
        }
    }
    let run = |w: &World, text: &str| {
        w.write("x", text);
        w.run(&["transform", "r", "x", "-o", "y", "--rejects", "z"]).ok();
        let out: Vec<String> = w.read("y").lines().map(str::to_owned).collect();
        (out, w.read("z"))
    };
    for text in [text.clone(), text.replace("5\" pipe", "5 pipe"), format!("{text}\"open,1")] {
        if text.ends_with("\"open,1") {
            for w in [&parallel, &alone] {
                w.write("x", &text);
                w.run(&["transform", "r", "x", "-o", "y"]).code(1).says("never closed");
            }
            continue;
        }
        let (ours, rejects) = run(&parallel, &text);
        let (wanted, wanted_rejects) = run(&alone, &text);
        let mut quoted = false;
        let bare: Vec<String> = wanted
            .iter()
            .map(|l| {
                let odd = l.matches('"').count() % 2 == 1;
                let begins = odd && !quoted;
                quoted ^= odd;
                if begins { l.clone() } else { l.rsplit_once(',').map_or(l.clone(), |(head, _)| head.to_owned()) }
            })
            .collect();
        assert_eq!(ours.len(), bare.len());
        for (at, (x, y)) in ours.iter().zip(&bare).enumerate() {
            assert_eq!(x, y, "line {at}");
        }
        assert_eq!(rejects, wanted_rejects);
        assert!(rejects.lines().count() > 400);
    }
}
