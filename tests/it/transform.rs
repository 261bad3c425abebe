//! `transform`: the author's workbench, on several files and with its rejects.

use crate::world::World;

#[test]
fn a_full_device_behind_standard_output_is_told_and_fails_the_command() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"y\"\n");
    w.write("in.csv", "y\n1\n");
    w.write("a/in.csv", "y\n1\n");
    w.once().ok();
    for args in [&["transform", "r", "in.csv"][..], &["transform", "r", "in.csv", "--explain"], &["history", "--json"], &["status"], &["config", "show"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let out = w.command().args(args).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(1) && told.contains("No space left on device"), "{args:?}: {:?} {told}", out.status);
    }
}

#[test]
fn a_transformation_needs_neither_a_source_nor_a_destination() {
    let route = |name: &str| format!("[routes.{name}.input]\nformat = \"csv\"\n[routes.{name}.map]\nx = \"y\"\n");
    let w = World::new(&format!("{}{}", route("r"), route("s")));
    w.write("in.csv", "y\n1\n");
    assert_eq!(w.run(&["transform", "r", "in.csv"]).ok().stdout, "x\n1\n");
    w.run(&["config", "check"]).code(2).says("the route `r` has no source").says("the route `s` has no source");
    w.run(&["run", "--once"]).code(2);
}

#[test]
fn an_expression_is_read_to_its_end() {
    let w = World::local("[routes.r]\nwhere = \"actif == 'O' && type == 'C'\"\n[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"actif\"\n");
    w.run(&["config", "check"]).code(2).says("unexpected character");
    w.config(&w.read("passerelle.toml").replace("&&", "and"));
    w.run(&["config", "check"]).ok();
}

#[test]
fn types_reach_elements_that_are_counted_from_the_end() {
    let w = World::local(
        "[routes.r.input]\nformat = \"json\"\ndecimal = \",\"\ntypes = { \"l.p\" = \"decimal\" }\n[routes.r.map]\na = \"l[0].p\"\nb = \"l[-1].p\"\n[routes.r.output]\nformat = \"csv\"\n",
    );
    w.write("in.json", r#"[{"l":[{"p":"1,50"},{"p":"2,50"}]}]"#);
    assert_eq!(w.run(&["transform", "r", "in.json"]).ok().stdout, "a,b\n1.50,2.50\n");
}

#[test]
fn rejects_of_several_files_name_their_file_and_stand_under_their_own_columns() {
    let keys = "[routes.r.input]\nformat = \"csv\"\ntypes = { q = \"integer\" }\n[routes.r.map]\nq = \"q\"\n";
    let w = World::local(keys);
    w.write("one.csv", "n,q\nA,1\nB,x\n");
    w.write("two.csv", "n,q\nC,y\n");
    w.write("other.csv", "q,n,z\n3,D,\nz,E,\n");
    let out = w.run(&["transform", "r", "one.csv", "two.csv", "other.csv"]).ok();
    assert_eq!(out.stdout, "q\n1\n3\n");
    for told in ["rejected: one.csv: line 3: q: ", "rejected: two.csv: line 2: q: ", "rejected: other.csv: line 3: q: "] {
        assert!(out.stderr.contains(told), "{}", out.stderr);
    }
    w.run(&["transform", "r", "one.csv", "two.csv", "--rejects", "rejects.csv"]).ok();
    let rejects = w.read("rejects.csv");
    assert!(rejects.starts_with("\u{feff}_line,_field,_reason,n,q\r\n3,q,") && rejects.contains("two.csv: ") && rejects.contains(",C,y"), "{rejects}");
    // Cells under another file's columns would be corrected wrongly.
    w.run(&["transform", "r", "one.csv", "other.csv", "--rejects", "rejects.csv"]).code(1).says("other.csv").says("the columns differ");
    // A run without rejects leaves none of an earlier one.
    w.write("good.csv", "n,q\nA,1\n");
    w.run(&["transform", "r", "good.csv", "--rejects", "rejects.csv"]).ok();
    assert!(!w.path("rejects.csv").exists());
    w.run(&["transform", "r", "good.csv", "--rejects", "./good.csv"]).code(2).says("is both input and output");
    assert_eq!(w.read("good.csv"), "n,q\nA,1\n");
}

#[test]
fn a_lookup_by_two_columns_is_told_when_it_gets_one_value() {
    let w = World::local(
        "[lookups.t]\nfile = \"t.csv\"\nkey = [\"a\", \"b\"]\nvalue = \"v\"\n[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nv = \"a | lookup('t') | default('-')\"\nw = \"[a, b] | lookup('t') | default('-')\"\n",
    );
    w.write("t.csv", "a,b,v\n1,2,x\n");
    w.write("x.csv", "a,b\n1,2\n");
    let out = w.run(&["transform", "r", "x.csv"]).ok();
    assert!(out.stderr.contains("1 rejected") && out.stderr.contains("the lookup t is by a list of 2 values"), "{}", out.stderr);
    w.config(&w.read("passerelle.toml").replace("v = \"a |", "v = \"[a, 3] |"));
    assert_eq!(w.run(&["transform", "r", "x.csv"]).ok().stdout, "v,w\n-,x\n");
}

#[test]
fn xml_of_another_kind_is_no_file_without_records() {
    let w = World::local("[routes.r.input]\nformat = \"xml\"\nrecords = \"/clients/client\"\n[routes.r.map]\nn = \"n\"\n[routes.r.output]\nformat = \"csv\"\n");
    w.write("x", "<articles><client><n>1</n></client></articles>");
    w.run(&["transform", "r", "x"]).code(1).says("the root element is <articles>, not <clients>");
    w.write("x", "<clients/>");
    let out = w.run(&["transform", "r", "x"]).ok();
    assert_eq!(out.stdout, "n\n");
    assert!(out.stderr.contains("no element stands at input.records"), "{}", out.stderr);
}

#[test]
fn csv_without_a_quote_holds_values_as_they_are() {
    let keys = "[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\nformat = \"csv\"\nquote = \"\"\n";
    let w = World::local(keys);
    w.write("x.csv", "a,b\n\"1\"\"2\",\"3,4\"\n\"5\"\"\",6\n");
    let out = w.run(&["transform", "r", "x.csv"]).ok();
    assert_eq!(out.stdout, "a,b\n5\",6\n");
    assert!(out.stderr.contains("values get no quotes"), "{}", out.stderr);
    w.config(&(w.read("passerelle.toml") + "quoting = \"all\"\n"));
    w.run(&["config", "check"]).code(2).says("needs a quote");
}

#[test]
fn a_template_compares_and_computes_exactly_and_writes_nothing_for_null() {
    let keys = "[routes.r.input]\nformat = \"csv\"\ntypes = { m = \"decimal\", d = \"date\", b = \"bool\" }\n[routes.r.output]\nformat = \"template\"\nfile = \"t.j2\"\nbools = { true = [\"O\"], false = [\"N\"] }\n";
    let w = World::local(keys);
    w.write("x.csv", "g,m,d,b\nx,0.10,2025-01-02,true\ny,9,2025-01-01,false\nx,,,\n");
    let cases = [
        ("{% for r in records %}{% if r.m is not none and r.m > 5 %}G{% else %}p{% endif %}{% endfor %}", "pGp"),
        ("{{ records[0].m == 0.10 }}{{ records[0].m in [0.10] }}{{ records[0].d > records[1].d }}", "OOO"),
        ("{{ records[0].m + 0.2 }} {{ records[0].m * 2 }} {{ records[0].m + 1 }} {{ 7 // 2 }} {{ 3 - 1 }} {{ 'a' + 'b' }}", "0.30 0.20 1.10 3 2 ab"),
        ("[{{ records[2].m }}][{{ records[2].d }}][{{ records[2].b }}][{{ records[1].b }}]", "[][][][N]"),
        ("{% for k, rs in records | groupby('g') %}{{ k }}:{{ rs | length }} {% endfor %}", "x:2 y:1 "),
        ("{% for r in records %}{% if loop.index > 1 %},{% endif %}{{ r.g }}{% endfor %}", "x,y,x"),
        (
            "{{ records[2].m ~ 'y' }}{{ records[0].m ~ 1 }}{{ records[2].m | default('x') }}{{ [] | max | default('q') }}{{ 0 | default('z', true) }}",
            "y0.101xqz",
        ),
        ("{{ -records[0].m }} {{ -(3) }} {{ 2 - -records[1].m }}", "-0.10 -3 11"),
        ("\u{feff}a\r\nb\r\n", "a\nb\n"),
        ("{{ records | selectattr('m', 'gt', 1) | map(attribute='g') | join }}", "y"),
        (
            "{{ records[0].m is number }}{{ records[0].d is date }}{{ 'FR7630006000011234567890189' is iban }}{{ 'C1' is matching('^C') }}{{ 3 is odd }}",
            "OOOOO",
        ),
        ("{% for r in records %}{{ nextval(r.g) }}{% endfor %}{% if x is not defined %}!{% endif %}", "112!"),
    ];
    for (template, wanted) in cases {
        w.write("t.j2", template);
        let out = w.run(&["transform", "r", "x.csv"]);
        assert_eq!((out.stdout.as_str(), out.code), (wanted, 0), "{template}: {}", out.stderr);
    }
    for (template, told) in [
        ("a\n{{ records | sumup }}", "line 2: there is no filter sumup in templates"),
        ("{{ 'x' | uper }}", "did you mean upper?"),
        ("{{ 'x' | lookup('t') }}", "look it up in the map"),
        ("{% if 'x' is siren %}{% endif %}", "there is no test siren in templates: did you mean siret?"),
    ] {
        w.write("t.j2", template);
        w.run(&["config", "check"]).code(2).says(told);
    }
    // A text is never silently another thing than a number.
    w.write("t.j2", "{% if records[0].g == 7 %}x{% endif %}");
    w.run(&["transform", "r", "x.csv"]).code(1).says("text");
    w.write("t.j2", "{{ 1 < records[0].m < 3 }}");
    w.run(&["config", "check"]).code(2).says("a chain of comparisons");
}

#[test]
fn groups_are_by_keys_that_records_have() {
    let group = |format: &str, by: &str, types: &str| {
        format!(
            "[routes.r.input]\nformat = \"{format}\"\ngroup_by = [\"{by}\"]\ngroup_into = \"l\"\n{types}[routes.r.map]\nn = \"l | length\"\n[routes.r.output]\nformat = \"csv\"\n"
        )
    };
    let nested = "{\"h\":{\"k\":\"A\"},\"m\":\"1\"}\n{\"h\":{\"k\":\"B\"},\"m\":\"2\"}\n{\"h\":{\"k\":\"B\"},\"m\":\"2\"}\n";
    let w = World::local(&group("ndjson", "h.k", ""));
    w.write("x", nested);
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "n\n1\n2\n");
    let w = World::local(&group("ndjson", "h.zz", ""));
    w.write("x", nested);
    w.run(&["transform", "r", "x"]).code(1).says("no record has a h.zz");
    let w = World::local(&group("csv", "k", "types = { k = \"decimal\" }\n"));
    w.write("x", "k,m\n1,a\n01,b\n1.0,c\n2,d\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "n\n3\n1\n");
    // A row whose key was read belongs to its own group; one whose key was not, to both that it stands between.
    let w = World::local(&group("csv", "k", ""));
    w.write("x", "k,m\nA,1\nB\nB,1\nB,2\nC,1\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "n\n1\n1\n");
}

#[test]
fn what_would_be_wrong_in_silence_is_told() {
    let csv = |more: &str, map: &str| format!("[routes.r.input]\nformat = \"csv\"\n{more}[routes.r.map]\n{map}");
    let w = World::local(&csv("dates = \"%d/%m/%Y\"\ntypes = { d = \"date\" }\n", "d = \"d\"\n"));
    w.write("x", "d\n31/12/25\n31/12/2025\n");
    let out = w.run(&["transform", "r", "x"]).ok();
    assert_eq!(out.stdout, "d\n2025-12-31\n");
    let w = World::local(&csv("", "n = \"99999999999999999999999999999 + 1\"\n"));
    w.run(&["config", "check"]).code(2).says("more than 28 digits");
    // Codes are looked up as the table has them, however B wants its numbers.
    let w = World::local(&format!(
        "[lookups.p]\nvalues = {{ \"1.5\" = \"un\" }}\n{}[routes.r.output]\ndecimal = \",\"\n",
        csv("types = { c = \"decimal\" }\n", "v = \"c | lookup('p')\"\n")
    ));
    w.write("x", "c\n1.5\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "v\nun\n");
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\ncolumns = [\"z\"]\n");
    w.write("x", "a,b\n1,2\n");
    w.run(&["transform", "r", "x"]).code(1).says("no column of the file is among them");
}

#[test]
fn corrected_rejects_that_are_still_wrong_come_back_whole() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\nencoding = \"utf-8\"\n[routes.r.map]\nn = \"n\"\nq = \"q | decimal\"\n");
    w.write("a/x.csv", b"n,q\n\xff,1\nB,x\n");
    w.once().ok();
    let rejects = w.read("relay/errors/r/x.csv.rejects.csv");
    w.write("a/x.csv.rejects.csv", rejects.replace("B,x", "B,2"));
    w.once().ok().says("1 records rejected");
    assert_eq!(w.read("b/x.rejects-2.csv"), "n,q\nB,2\n");
    let w = World::local(
        "[routes.r.input]\nformat = \"xml\"\nrecords = \"/l/c\"\ntypes = { n = \"decimal\" }\n[routes.r.map]\nn = \"n\"\n[routes.r.output]\nformat = \"csv\"\nname = \"o.csv\"\n",
    );
    w.write("a/x.xml", "<l><c><n>x</n></c></l>");
    w.once().ok();
    let rejects = w.read("relay/errors/r/x.xml.rejects.csv");
    std::fs::remove_file(w.path("relay/errors/r/x.xml.rejects.csv")).unwrap();
    w.write("a/x.xml.rejects.csv", rejects.replace("</n>", "</m>"));
    w.once().ok();
    assert!(w.read("relay/errors/r/x.xml.rejects.csv").contains("<c><n>x</m></c>"), "{}", w.read("relay/errors/r/x.xml.rejects.csv"));
}

#[test]
fn cells_of_sheets_keep_their_types_and_take_those_that_are_declared() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\ntypes = { n = \"decimal\" }\n[routes.r.output]\nformat = \"xlsx\"\n");
    w.write("x.csv", "code,n\na,7\nb,1.5\n");
    w.run(&["transform", "r", "x.csv", "-o", "x.xlsx"]).ok();
    let read = |keys: &str| {
        w.config(&(World::route("r", "a", "b") + "[routes.r.input]\nformat = \"xlsx\"\n" + keys));
        w.run(&["transform", "r", "x.xlsx"]).ok().stdout
    };
    assert_eq!(read("[routes.r.map]\nv = \"n + 1\"\n[routes.r.output]\nformat = \"csv\"\n"), "v\n8\n2.5\n");
    let text = "types = { n = \"text\" }\n[routes.r.map]\nn = \"n\"\nis = \"n == '7'\"\n[routes.r.output]\nformat = \"ndjson\"\ndecimal = \",\"\n";
    assert_eq!(read(text), "{\"n\":\"7\",\"is\":true}\n{\"n\":\"1.5\",\"is\":false}\n");
}

#[test]
fn corrected_rejects_need_no_announcement() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\ntypes = { q = \"integer\" }\n[routes.r.map]\nq = \"q\"\n");
    w.config(&w.read("passerelle.toml").replace("path = \"a\"", "path = \"a\"\ndone_file = \"{name}.done\"\nmin_size = \"1MB\""));
    w.write("a/x.csv.rejects.csv", "_line,_field,_reason,q\n2,q,x,5\n");
    w.once().ok();
    assert_eq!(w.names("b"), ["x.rejects-1.csv"]);
}

#[test]
fn dates_of_the_output_are_no_days_of_a_spreadsheet() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\ndates = \"excel\"\n");
    w.run(&["config", "check"]).code(2).says("a way of reading");
}

#[test]
fn keys_that_contradict_each_other_are_told_before_a_file_comes() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\nheader = true\ncolumns = [\"a\"]\n[routes.r.output]\nformat = \"xlsx\"\nsheet = \"a/b\"\n");
    w.run(&["config", "check"]).code(2).says("a file without a header").says("a sheet's name has at most 31 characters");
}

#[test]
fn numbers_that_are_the_same_are_not_unique_however_they_are_written() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\ntypes = { n = \"decimal\" }\n[routes.r.output]\nformat = \"csv\"\nfields = { n = { unique = true } }\n",
    );
    w.write("x.csv", "n\n1\n1.0\n01\n2\n");
    let out = w.run(&["transform", "r", "x.csv"]).ok();
    assert_eq!(out.stdout, "n\n1\n2\n", "{}", out.stderr);
}

#[test]
fn nextval_counts_the_records_that_are_written_for_each_key() {
    let keys = "[routes.r.let]\nz = \"nextval(k)\"\n[routes.r.input]\nformat = \"csv\"\ntypes = { q = \"integer\" }\n[routes.r.map]\nn = \"z\"\nagain = \"z\"\nother = \"nextval('L') if t == 'A' else nextval('L')\"\nq = \"q\"\n[routes.r.output]\nformat = \"csv\"\n";
    let w = World::local(keys);
    w.write("x.csv", "k,t,q\na,A,1\na,B,x\na,B,2\nb,A,3\n");
    let out = w.run(&["transform", "r", "x.csv"]).ok();
    assert_eq!(out.stdout, "n,again,other,q\n1,1,1,1\n2,2,2,2\n1,1,3,3\n");
    let explained = w.run(&["transform", "r", "x.csv", "--explain", "-o", "out.csv"]).ok();
    assert!(explained.stdout.contains("rejected: q"), "{}", explained.stdout);
    assert_eq!(w.read("out.csv"), out.stdout);
}

#[test]
fn records_that_are_no_objects_are_rejected_where_names_are_wanted() {
    let keys = "[routes.r.input]\nformat = \"ndjson\"\n[routes.r.map]\na = \"a\"\n[routes.r.output]\nformat = \"csv\"\n";
    let w = World::local(keys);
    w.write("x", "{\"a\":1}\n\"x\"\n5\nnull\n[7]\n{}\n");
    let out = w.run(&["transform", "r", "x"]).ok();
    assert_eq!(out.stdout, "a\n1\n\"\"\n");
    assert!(out.stderr.contains("4 rejected") && out.stderr.contains("the record is a list, no object"), "{}", out.stderr);
    // What a record is made of can be taken from a list too.
    w.config(&w.read("passerelle.toml").replace("a = \"a\"", "a = \"row[0]\""));
    assert!(w.run(&["transform", "r", "x"]).ok().stdout.contains("7\n"));
    w.config(&w.read("passerelle.toml").replace("[routes.r.map]\na = \"row[0]\"\n", "").replace("ndjson", "json"));
    w.write("x", "[1, {\"a\": 2}, [3]]");
    let out = w.run(&["transform", "r", "x"]).ok();
    assert_eq!(out.stdout, "a\n2\n");
    assert!(out.stderr.contains("2 rejected") && out.stderr.contains("write a map"), "{}", out.stderr);
    w.write("x", "[]");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "");
}

#[test]
fn raw_bytes_have_no_keys_of_records() {
    for (keys, named) in [
        ("[routes.r.output]\nsplit = 1\n", "output.split"),
        ("[routes.r.output]\ncompress = \"gzip\"\n", "output.compress"),
        ("[routes.r.output]\nfields = { a = { required = true } }\n", "output.fields"),
        ("[routes.r.input]\ntypes = { a = \"date\" }\n", "input.types"),
        ("[routes.r.map]\na = \"a\"\n", "map"),
    ] {
        World::local(keys).run(&["config", "check"]).code(2).says(&format!("`{named}` needs records"));
    }
    World::local("[routes.r.output]\nname = \"x-{stem}.csv\"\n").run(&["config", "check"]).ok();
}

#[test]
fn signs_that_can_not_be_meant_are_told() {
    let wrong = |keys: &str, told: &str| {
        World::local(&format!("[routes.r.input]\nformat = \"csv\"\n{keys}")).run(&["config", "check"]).code(2).says(told);
    };
    wrong("quote = \"'\"\ndelimiter = \"'\"\n", "it is the quote too");
    wrong("delimiter = \"\\n\"\n", "it ends a line");
    wrong("decimal = \"2\"\n", "a number has that sign itself");
    wrong("[routes.r.output]\nline_ending = \"x\"\n", "ends no line");
}

#[test]
fn columns_that_match_by_no_name_are_told() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\ncolumns = [\"Code\", \"Prenom\"]\n");
    w.write("x.csv", "Code,Prénom\n1,Ana\n");
    let out = w.run(&["transform", "r", "x.csv"]).ok();
    assert!(out.stderr.contains("no column of the file is called Prenom") && out.stderr.contains("Prénom goes nowhere"), "{}", out.stderr);
}

#[test]
fn a_number_is_looked_up_by_its_value() {
    let w = World::local(
        "[lookups.t]\nfile = \"t.csv\"\nkey = \"code\"\nvalue = \"v\"\n[routes.r.input]\nformat = \"csv\"\ntypes = { c = \"decimal\" }\n[routes.r.map]\nv = \"c | lookup('t')\"\n",
    );
    w.write("t.csv", "code,v\n7,sept\n7.50,x\n");
    w.write("x.csv", "c\n7\n7.0\n7.50\n");
    assert_eq!(w.run(&["transform", "r", "x.csv"]).ok().stdout, "v\nsept\nsept\nx\n");
}

#[test]
fn what_groups_rows_may_be_unique_among_the_groups() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\na = \"a\"\n\"l.b\" = \"b\"\n[routes.r.output]\nformat = \"ndjson\"\ngroup_by = [\"a\"]\ngroup_into = \"l\"\nfields = { a = { unique = true } }\n",
    );
    w.write("x.csv", "a,b\n1,x\n1,y\n2,z\n1,w\n");
    let out = w.run(&["transform", "r", "x.csv"]).ok();
    assert_eq!(out.stdout, "{\"a\":\"1\",\"l\":[{\"b\":\"x\"},{\"b\":\"y\"}]}\n{\"a\":\"2\",\"l\":[{\"b\":\"z\"}]}\n");
    assert!(out.stderr.contains("1 rejected"), "{}", out.stderr);
}

#[test]
fn a_part_is_numbered_before_what_says_how_it_is_compressed() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\nsplit = 1\ncompress = \"gzip\"\n");
    w.write("a/x.csv", "a\n1\n2\n");
    w.once().ok();
    assert_eq!(w.names("b"), ["x-1.csv.gz", "x-2.csv.gz"]);
    w.write("y.csv", "a\n1\n2\n");
    w.run(&["transform", "r", "y.csv", "-o", "out.csv.gz"]).ok();
    assert!(w.path("out-2.csv.gz").exists());
}

#[test]
fn where_transform_can_not_write_is_a_mistake_and_no_wait() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n");
    w.write("x.csv", "a\n1\n");
    w.run(&["transform", "r", "x.csv", "-o", "no/out.csv"]).code(1);
    w.run(&["transform", "r", "x.csv", "-o", "."]).code(2).says("is a folder");
}

#[test]
fn the_decimal_sign_of_an_interchange_is_the_one_it_declares() {
    let keys =
        "[routes.r.input]\nformat = \"edifact\"\nrecords = [\"QTY\"]\n[routes.r.map]\nq = \"QTY.e1[1] | decimal * 2\"\n[routes.r.output]\nformat = \"csv\"\n"
            .replace("QTY.e1", "e1");
    let w = World::local(&keys);
    let interchange = |signs: &str, q: &str| format!("{signs}UNB+UNOC:3+A+B+250101:1200+1'UNH+1+ORDERS:D:96A:UN'QTY+21:{q}'UNT+3+1'UNZ+1+1'");
    for (signs, q) in [("UNA:+,? '", "1,25"), ("UNA:+.? '", "1.25"), ("", "1.25")] {
        w.write("x", interchange(signs, q));
        assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "q\n2.50\n", "{signs}");
    }
    // What the configuration says is meant.
    w.config(&w.read("passerelle.toml").replace("format = \"edifact\"\n", "format = \"edifact\"\ndecimal = \".\"\n"));
    w.write("x", interchange("UNA:+,? '", "1.25"));
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "q\n2.50\n");
}

#[test]
fn a_file_of_no_byte_is_sent_as_no_record_where_that_is_asked_for() {
    let w = World::local("[routes.r.input]\nformat = \"json\"\n[routes.r.map]\nx = \"x\"\n[routes.r.output]\nformat = \"csv\"\n");
    w.write("x.json", "");
    w.run(&["transform", "r", "x.json"]).code(1).says("holds no JSON");
    w.config(&w.read("passerelle.toml").replace("path = \"a\"\n", "path = \"a\"\nempty = \"send\"\n"));
    w.write("a/x.json", "");
    w.once().ok();
    assert_eq!(w.read("b/x.csv"), "x\n");
}

#[test]
fn what_is_no_plain_file_is_written_to_and_never_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n");
    w.write("x.csv", "a\n1\n");
    let fifo = w.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reads = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::read_to_string(fifo).unwrap()
    });
    w.run(&["transform", "r", "x.csv", "-o", "fifo"]).ok();
    assert!(std::fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    assert_eq!(reads.join().unwrap(), "a\n1\n");
    // What a link leads to is replaced, not the link.
    w.write("real.csv", "old");
    std::os::unix::fs::symlink("real.csv", w.path("link.csv")).unwrap();
    w.run(&["transform", "r", "x.csv", "-o", "link.csv"]).ok();
    assert!(std::fs::symlink_metadata(w.path("link.csv")).unwrap().is_symlink());
    assert_eq!(w.read("real.csv"), "a\n1\n");
}

#[test]
fn a_template_sees_the_parts_of_a_record_in_their_order() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nzz = \"a\"\nb = \"a\"\naa = \"a\"\n[routes.r.output]\nformat = \"template\"\nfile = \"t.j2\"\n",
    );
    w.write(
        "t.j2",
        "{% for k, v in records[0] | items %}{{ k }}={{ v }} {% endfor %}{{ records[0] | tojson }} {{ null is none }} {{ records[0].b == null }}\n",
    );
    w.write("in.csv", "a\n1\n");
    assert_eq!(w.run(&["transform", "r", "in.csv"]).ok().stdout, "zz=1 b=1 aa=1 {\"zz\":\"1\",\"b\":\"1\",\"aa\":\"1\"} true false\n");
}

#[test]
fn filters_take_jinjas_arguments_and_give_what_jinja_gives() {
    let cases = [
        ("dl | sort(attribute='k,v') | map(attribute='v') | join", "231"),
        ("dl | sort(attribute='k,v', reverse=true) | map(attribute='v') | join", "132"),
        ("'' | int(5)", "5"),
        ("nul | int(5)", "5"),
        ("'x' | float(5)", "5"),
        ("'ff' | int(0, 16)", "255"),
        ("'0x1F' | int(base=16)", "31"),
        ("'0b1f' | int(0, 16)", "2847"),
        ("('' | int(base=16)) is none", "true"),
        ("255 | int(0, 16)", "255"),
        ("('05:06:60 12:00' | datetime('%d:%m:%y %H:%M')) | strftime('%Y')", "2060"),
        ("'a\\n\\nb' | indent(2)", "a\n\n  b"),
        ("'a\\n\\nb' | indent(2, true)", "  a\n\n  b"),
        ("'a\\nb' | indent('>>', first=true)", ">>a\n>>b"),
        ("'a\\n\\nb' | indent(2, blank=true)", "a\n  \n  b"),
        ("'a  b   c' | wordwrap(50)", "a  b   c"),
        ("'  Hé lo' | wordwrap(4)", "  Hé\nlo"),
        ("'abcdefgh ij' | wordwrap(3)", "abc\ndef\ngh\nij"),
        ("'demi-finale' | wordwrap(8)", "demi-\nfinale"),
        ("'demi-finale' | wordwrap(8, true, '\\n', false)", "demi-fin\nale"),
        ("'%x' | format(-3)", "-3"),
        ("'%#x' | format(255)", "0xff"),
        ("'%.3d|%05d|%+d|%o' | format(7, -42, 5, 8)", "007|-0042|+5|10"),
        ("{'a b': 1, 'c/d': 'é'} | urlencode", "a+b=1&c%2Fd=%C3%A9"),
        ("[['a', 1], ['b', 2]] | urlencode", "a=1&b=2"),
        ("{'a': 1, 'b': 3, 'a': 2} | tojson", "{\"a\":2,\"b\":3}"),
        ("{'a': [1, {}], 'b': 'x,\\\"[:'} | tojson(indent=2)", "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"x,\\\"[:\"\n}"),
        ("mp | reverse | join(',')", "r,q,p"),
        ("mp | dictsort(by='value') | map('first') | join(',')", "q,p,r"),
        ("mp | dictsort(reverse=true) | map('first') | join(',')", "r,q,p"),
        ("['A', 'a', 'b'] | unique(case_sensitive=false) | join", "Ab"),
        ("'a-b' | replace(old='-', new='+')", "a+b"),
        ("'007' is upper", "false"),
        ("'A7' is upper", "true"),
        ("['007', 'ABC'] | select('upper') | join", "ABC"),
        ("l | batch(2, 0) | map('join', '-') | join(';')", "3-1;2-0"),
    ];
    let map: String = cases.iter().enumerate().map(|(i, (e, _))| format!("t{i} = '''{e}'''\n")).collect();
    let w = World::local(&format!("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.map]\n{map}[routes.r.output]\nformat = \"ndjson\"\n"));
    w.write(
        "in.json",
        "{\"dl\":[{\"k\":\"x\",\"v\":2},{\"k\":\"y\",\"v\":1},{\"k\":\"x\",\"v\":3}],\"l\":[3,1,2],\"mp\":{\"p\":5,\"q\":4,\"r\":6},\"nul\":null}\n",
    );
    let out: serde_json::Value = serde_json::from_str(&w.run(&["transform", "r", "in.json"]).ok().stdout).unwrap();
    for (i, (expression, wanted)) in cases.iter().enumerate() {
        let found = &out[format!("t{i}")];
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        assert_eq!(&found, wanted, "{expression}");
    }
}

#[test]
fn no_expression_takes_the_memory_or_the_time_of_the_machine() {
    let try_one = |expression: &str| {
        let w = World::local(&format!("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.map]\nx = '''{expression}'''\n"));
        w.write("in.json", "{\"l\":[1],\"n\":100000000000}\n");
        w.run(&["transform", "r", "in.json"])
    };
    for (expression, told) in [
        ("l | batch(n, 0)", "batch fills up to 10000 elements"),
        ("('x' * 60000) | replace('x', 'y' * 60000) | length", "would be longer than"),
        ("range(20000) | join('x' * 60000) | length", "would be longer than"),
        ("'%99999d' | format(1)", "a width of 99999 is more than 4096"),
        ("5 | length", "has no length"),
        ("'2025-12-31 23:59:60' | datetime", "is not a date and time"),
    ] {
        try_one(expression).says(told);
    }
    try_one(&format!("{}1", "-".repeat(2500))).code(2).says("one behind the other");
    // Names of names.
    let lets: String = (1..40).map(|i| format!("x{i} = \"x{} ~ x{}\"\n", i - 1, i - 1)).collect();
    let w = World::local(&format!("[routes.r.let]\nx0 = \"'a'\"\n{lets}[routes.r.input]\nformat = \"ndjson\"\n[routes.r.map]\nx = \"x5\"\ny = \"x39\"\n"));
    w.run(&["config", "check"]).code(2).says("comes to more than");
}

#[test]
fn what_a_table_of_the_map_lacks_rejects_the_record_unless_default_follows() {
    let w = World::local("");
    let of = |map: &str, lets: &str| {
        w.config(&format!(
            "[routes.r]\nsource = {{ path = \"a\" }}\ninput = {{ format = \"csv\" }}\noutput = {{ format = \"csv\" }}\ndestination = {{ path = \"b\" }}\nmap = {{ id = \"id\", x = \"{map}\" }}\n{lets}"
        ));
        w.write("x.csv", "id,c\n1,M\n2,X\n3,\n");
        w.run(&["transform", "r", "x.csv"])
    };
    for (map, lets, why) in [
        ("{'M': 'Monsieur'}[c]", "", "the table has no \"X\""),
        ("table[c]", "[routes.r.let]\ntable = \"{'M': 'Monsieur'}\"", "the table has no \"X\""),
        ("dict(M='Monsieur')[c]", "", "the table has no \"X\""),
        ("['Monsieur'][0 if c == 'M' else 7]", "", "the list has 1 elements, and none at 7"),
        ("'Monsieur' if c == 'M' else (c | split('-'))[3]", "", "elements, and none at 3"),
        ("'Monsieur' if c == 'M' else (c | split('-') | list)[3]", "", "elements, and none at 3"),
    ] {
        let out = of(map, lets);
        assert_eq!(out.stdout, "id,x\n1,Monsieur\n", "{map}: {}", out.stderr);
        out.says("2 rejected").says(why);
        assert_eq!(of(&format!("{map} | default('?')"), lets).ok().stdout, "id,x\n1,Monsieur\n2,?\n3,?\n", "{map}");
    }
    assert_eq!(of("{'M': 1}[c] is defined", "").ok().stdout, "id,x\n1,true\n2,false\n3,false\n");
}

#[test]
fn a_column_that_the_rows_of_a_group_do_not_have_is_a_mistake_as_anywhere() {
    let w = World::local("");
    let of = |map: &str, more: &str| {
        let input = format!("input = {{ format = \"csv\", group_by = [\"id\"], group_into = \"l\", types = {{ m = \"decimal\" }}{more} }}");
        w.config(&format!(
            "[routes.r]\nsource = {{ path = \"a\" }}\n{input}\noutput = {{ format = \"csv\" }}\ndestination = {{ path = \"b\" }}\nmap = {{ id = \"id\", x = \"{map}\" }}\n"
        ));
        w.write("x.csv", "id,m\n1,5\n1,6\n2,7\n");
        w.run(&["transform", "r", "x.csv"])
    };
    for (map, more, right) in [
        ("l[0].MM", "", "1,5\n2,7\n"),
        ("l[0]['MM']", "", "1,5\n2,7\n"),
        ("(l | first).MM", "", "1,5\n2,7\n"),
        ("l | map(attribute='MM') | join('-')", "", "1,5-6\n2,7\n"),
        ("l | sum(attribute='MM')", "", "1,11\n2,7\n"),
        ("l | selectattr('MM') | length", "", "1,2\n2,1\n"),
        ("(l | sort(attribute='MM') | last).m", "", "1,6\n2,7\n"),
        ("item.MM", ", each = \"l\"", "1,5\n1,6\n2,7\n"),
    ] {
        let out = of(map, more);
        assert_ne!(out.code, 0, "{map}: {}", out.stdout);
        out.says("no column MM").says("did you mean m?");
        assert_eq!(of(&map.replace("MM", "m"), more).ok().stdout, format!("id,x\n{right}"), "{map}");
    }
}

#[test]
fn a_table_of_the_map_is_asked_by_elements_of_xml_and_by_numbers_too() {
    let w = World::local("");
    let of = |format: &str, map: &str, text: &str| {
        w.config(&format!(
            "[routes.r]\nsource = {{ path = \"a\" }}\ninput = {{ {format} }}\noutput = {{ format = \"csv\" }}\ndestination = {{ path = \"b\" }}\nmap = {{ x = \"{map}\" }}\n"
        ));
        w.write("x", text);
        w.run(&["transform", "r", "x"]).ok().stdout
    };
    let xml = "<r><c><t>M</t></c><c><t>X</t></c><c/></r>";
    assert_eq!(of("format = \"xml\", records = \"/r/c\"", "{'M': 'Monsieur'}[t] | default('?')", xml), "x\nMonsieur\n?\n?\n");
    let json = "[{\"t\": 1}, {\"t\": 2}, {\"t\": null}]";
    assert_eq!(of("format = \"json\"", "{1: 'one'}[t] | default('?')", json), "x\none\n?\n?\n");
}

#[test]
fn text_in_columns_is_never_added_up_as_text() {
    let of = |expression: &str| {
        World::local(&format!("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"{expression}\"\n[routes.r.output]\nformat = \"csv\"\n"))
    };
    for wrong in ["debit + credit", "qte * 12", "12 * qte", "(debit | trim) + credit"] {
        of(wrong).run(&["config", "check"]).code(2).says("text is used as a number").says("types = ");
    }
    for (right, shown) in
        [("nom + ' ' + debit", "Zoé 10"), ("'0' * 3 + debit", "00010"), ("debit | decimal + credit | decimal", "15"), ("nom ~ debit", "Zoé10")]
    {
        let w = of(right);
        w.write("in.csv", "nom,debit,credit,qte\nZoé,10,5,3\n");
        assert_eq!(w.run(&["transform", "r", "in.csv"]).ok().stdout, format!("x\n{shown}\n"), "{right}");
    }
    // Where the kinds show with the records, the record is rejected.
    let w = World::local("[routes.r.input]\nformat = \"json\"\n[routes.r.map]\nx = \"a + b\"\n[routes.r.output]\nformat = \"csv\"\n");
    w.write("in.json", r#"[{"a":"1","b":"2"},{"a":1,"b":2}]"#);
    assert_eq!(w.run(&["transform", "r", "in.json"]).ok().says("1 rejected").stdout, "x\n3\n");
}

#[test]
fn a_column_before_the_first_is_a_mistake() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"row[-1]\"\n");
    w.run(&["config", "check"]).code(2).says("no column at a position before the first");
}

#[test]
fn what_ends_a_file_on_old_systems_is_no_record_of_csv() {
    let w = World::local(
        "[routes.r]\nrejects = \"fail\"\n[routes.r.input]\nformat = \"csv\"\ndelimiter = \";\"\nencoding = \"cp850\"\n[routes.r.output]\nformat = \"csv\"\n",
    );
    for text in ["code;x\r\nA;1\r\n\u{1a}", "code;x\r\nA;1\r\n\u{1a}\u{1a}"] {
        w.write("in.csv", text);
        let out = w.run(&["transform", "r", "in.csv"]).ok().says("1 read");
        assert_eq!(out.stdout, "code,x\nA,1\n");
    }
    w.write("in.csv", "code\r\nA\r\n\u{1a}");
    assert_eq!(w.run(&["transform", "r", "in.csv"]).ok().stdout, "code\nA\n");
}

#[test]
fn a_file_without_a_byte_is_written_as_one() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\nformat = \"csv\"\n");
    w.write("empty.csv", "");
    w.run(&["transform", "r", "empty.csv", "-o", "out.csv"]).ok();
    assert_eq!(w.read("out.csv"), "");
    assert_eq!(w.run(&["transform", "r", "empty.csv"]).ok().stdout, "");
}

#[test]
fn numbers_of_templates_are_exact_and_null_is_empty_wherever_it_stands() {
    let w = World::local("[routes.r.input]\nformat = \"json\"\n[routes.r.output]\nformat = \"template\"\nfile = \"t.j2\"\n");
    w.write("in.json", "[{\"nom\":null,\"d\":null,\"e\":\"Inv 1/2 & 3\",\"l\":[1,2,3]}]");
    for (template, made) in [
        ("{{ 0.1 * 3 }} {{ 100 * 1.15 }} {{ 12345678901234567890.12 }} {{ 1.10 }} {{ -1.5 }}", "0.3 115.00 12345678901234567890.12 1.10 -1.5"),
        ("{% set r = records[0] %}[{{ r.nom | e }}{{ r.nom[:25] }}{{ r.d.year }}{{ r.nom }}]{% for x in r.nom %}x{% endfor %}", "[]"),
        ("{% set r = records[0] %}{{ r.nom is none }} {{ r.nom == none }} {{ r.nom | default('?') }} {{ 'a' if r.nom else 'b' }}", "true true ? b"),
        (
            "{% set r = records[0] %}{{ r.e | escape }} {{ r.e[:3] }} {{ r.e[-1:] }} {{ r.l[1:] | join('-') }} {{ records[:1] | length }}",
            "Inv 1/2 &amp; 3 Inv 3 2-3 1",
        ),
        ("1.10 {# 2.20 #}{% raw %}{{ 3.30 }}{% endraw %}", "1.10 {{ 3.30 }}"),
    ] {
        w.write("t.j2", template);
        assert_eq!(w.run(&["transform", "r", "in.json"]).ok().stdout, made, "{template}");
    }
}

#[test]
fn days_of_a_spreadsheet_are_read_whatever_decimal_sign_b_has() {
    let w = World::local(
        "[routes.r.input]\nformat = \"json\"\n[routes.r.map]\ns = \"s | datetime('excel')\"\nb = \"n | bool\"\n[routes.r.output]\nformat = \"csv\"\ndelimiter = \";\"\ndecimal = \",\"\n",
    );
    w.write("in.json", "[{\"s\":45688.75,\"n\":1}]");
    assert_eq!(w.run(&["transform", "r", "in.json"]).ok().stdout, "s;b\n2025-01-31T18:00:00;true\n");
}

#[test]
fn seconds_since_1970_are_times_and_times_such_seconds() {
    let w = World::local(
        "[routes.r.input]\nformat = \"json\"\n[routes.r.map]\nt = \"t | datetime('%s')\"\nd = \"t | date('%s')\"\nms = \"(m / 1000) | datetime('%s')\"\nback = \"t | datetime('%s') | strftime('%s')\"\n[routes.r.output]\nformat = \"csv\"\n",
    );
    w.write("in.json", "[{\"t\":\"1735689600\",\"m\":1735689600250},{\"t\":\"x\",\"m\":1}]");
    let out = w.run(&["transform", "r", "in.json"]).ok();
    assert_eq!(out.stdout, "t,d,ms,back\n2025-01-01T00:00:00+00:00,2025-01-01,2025-01-01T00:00:00.25+00:00,1735689600\n");
    assert!(out.stderr.contains("is not a date and time of the form %s"), "{}", out.stderr);
}

#[test]
fn templates_group_as_expressions_do() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\ntypes = { t = \"decimal\", n = \"integer\" }\n[routes.r.output]\nformat = \"template\"\nfile = \"t.j2\"\n",
    );
    w.write("in.csv", "t,c,n\n20,a,1\n20.00,A,2\n5.5,a,4\n10,b,8\n20.0,b,16\n");
    w.write("t.j2", "{% for t, rows in records | groupby('t') %}{{ t | normalize }}={{ rows | sum(attribute='n') }} {% endfor %}| {% for g in records | groupby('c') %}{{ g.grouper }}={{ g.list | length }}{{ g[1][0].n }} {% endfor %}");
    assert_eq!(w.run(&["transform", "r", "in.csv"]).ok().stdout, "5.5=4 10=8 20=19 | A=12 a=21 b=28 ");
}
