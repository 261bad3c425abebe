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
