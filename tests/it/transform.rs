//! `transform`: the author's workbench, on several files and with its rejects.

use crate::world::World;

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
        ("{{ records | selectattr('m', 'gt', 1) | map(attribute='g') | join }}", "y"),
    ];
    for (template, wanted) in cases {
        w.write("t.j2", template);
        let out = w.run(&["transform", "r", "x.csv"]);
        assert_eq!((out.stdout.as_str(), out.code), (wanted, 0), "{template}: {}", out.stderr);
    }
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
