//! Records inside records: types, order and groups reach what stands below, and lose nothing of it.

use crate::world::World;

/// `transform` of a route with these keys, on one file.
fn transformed(keys: &str, file: &str) -> (World, crate::world::Output) {
    let w = World::local(keys);
    w.write("x", file);
    let out = w.run(&["transform", "r", "x"]);
    (w, out)
}

const PRICES: &str = "<l><c><p d=\"EUR\">1,50</p><p>2,25</p><n>a</n></c><c><n>b</n><p>3,00</p></c></l>";
const PRICES_IN: &str = "[routes.r.input]\nformat = \"xml\"\nrecords = \"/l/c\"\ndecimal = \",\"\n";

#[test]
fn all_elements_of_a_repeated_typed_name_go_to_b() {
    let (_, out) = transformed(&format!("{PRICES_IN}types = {{ p = \"decimal\" }}\n[routes.r.output]\nformat = \"ndjson\"\n"), PRICES);
    assert_eq!(out.ok().stdout, "{\"p\":[{\"@d\":\"EUR\",\"#text\":1.50},2.25],\"n\":\"a\"}\n{\"n\":\"b\",\"p\":3.00}\n");
}

#[test]
fn a_repeated_typed_name_is_a_list_where_lists_are_taken_and_its_first_where_a_value_is() {
    let map = "[routes.r.map]\nn = \"n\"\nfirst = \"p\"\nplus = \"p + 1\"\ntext = \"p ~ ''\"\nrounded = \"p | round(1)\"\nsum = \"p | sum\"\ncount = \"p | length\"\nall = \"p | join('/')\"\nmost = \"p | max\"\nsecond = \"p[1] if p | length > 1\"\nunit = \"p['@d']\"\nis = \"p is number and p > 1\"\nsorted = \"p | sort(true) | join('/')\"\nsecond_plus = \"(p | last) + 1\"\n";
    let (_, out) = transformed(&format!("{PRICES_IN}types = {{ p = \"decimal\" }}\n{map}[routes.r.output]\nformat = \"csv\"\n"), PRICES);
    assert_eq!(
        out.ok().stdout,
        "n,first,plus,text,rounded,sum,count,all,most,second,unit,is,sorted,second_plus\na,1.50,2.50,1.50,1.5,3.75,2,1.50/2.25,2.25,2.25,EUR,true,2.25/1.50,3.25\nb,3.00,4.00,3.00,3.0,3.00,1,3.00,3.00,,,true,3.00,4.00\n"
    );
}

#[test]
fn each_makes_a_record_of_every_typed_element_also_of_a_single_one() {
    let keys = format!(
        "{PRICES_IN}each = \"p\"\ntypes = {{ p = \"decimal\" }}\n[routes.r.map]\nn = \"n\"\np = \"item * 2\"\nd = \"item['@d']\"\n[routes.r.output]\nformat = \"csv\"\n"
    );
    let (_, out) = transformed(&keys, &PRICES.replace("2,25", "x"));
    let out = out.ok();
    // What does not fit rejects its own element, not the others of the record.
    assert_eq!(out.stdout, "n,p,d\na,3.00,EUR\nb,6.00,\n");
    assert!(out.stderr.contains("1 rejected"), "{}", out.stderr);
}

#[test]
fn a_typed_element_that_does_not_fit_rejects_the_record_wherever_it_stands_among_others() {
    let (_, out) = transformed(
        &format!("{PRICES_IN}types = {{ p = \"decimal\" }}\n[routes.r.map]\nn = \"n\"\n[routes.r.output]\nformat = \"csv\"\n"),
        &PRICES.replace("2,25", "x"),
    );
    let out = out.ok();
    assert_eq!(out.stdout, "n\nb\n");
    assert!(out.stderr.contains("\"x\""), "{}", out.stderr);
}

#[test]
fn lists_in_lists_are_joined_by_a_sum_that_starts_with_a_list() {
    let json = "{\"n\":\"1\",\"l\":[{\"t\":[{\"c\":\"A\",\"q\":\"1,5\"},{\"c\":\"B\",\"q\":\"2\"}]},{\"t\":[]},{},{\"t\":[{\"c\":\"C\",\"q\":\"3\"}]}]}\n";
    let route = |each: &str| {
        let keys = format!(
            "[routes.r.input]\nformat = \"ndjson\"\ndecimal = \",\"\ntypes = {{ \"l.t.q\" = \"decimal\" }}\neach = \"{each}\"\n[routes.r.map]\nn = \"n\"\nc = \"item.c\"\nq = \"item.q + 1\"\n[routes.r.output]\nformat = \"csv\"\n"
        );
        transformed(&keys, json).1
    };
    for each in ["l | sum(attribute='t', start=[])", "l | map(attribute='t') | sum(start=[])"] {
        assert_eq!(route(each).ok().stdout, "n,c,q\n1,A,2.5\n1,B,3\n1,C,4\n", "{each}");
    }
    route("l | sum(attribute='x', start=[1]) | map('string')").says("text has no part c");
    assert!(route("[n] | sum(start=[])").stderr.contains("\"1\" is not a list (text)"));
}

#[test]
fn types_reach_the_fields_of_lists() {
    let json = "{\"n\":\"1\",\"l\":[{\"q\":\"2,5\",\"a\":\"x\"},{\"q\":\"0,5\",\"a\":\"y\"}]}\n";
    let input = "[routes.r.input]\nformat = \"ndjson\"\ndecimal = \",\"\ntypes = { \"l.q\" = \"decimal\", n = \"integer\" }\n";
    let out = |keys: &str| transformed(&format!("{input}{keys}"), json).1.ok().stdout;
    assert_eq!(out("[routes.r.output]\nformat = \"ndjson\"\n"), "{\"n\":1,\"l\":[{\"q\":2.5,\"a\":\"x\"},{\"q\":0.5,\"a\":\"y\"}]}\n");
    assert_eq!(out("[routes.r.map]\nsum = \"l | sum(attribute='q')\"\nfirst = \"l[0].q + 1\"\n[routes.r.output]\nformat = \"csv\"\n"), "sum,first\n3.0,3.5\n");
    let each = format!("{}each = \"l\"\n[routes.r.map]\nq = \"item.q * 2\"\na = \"item.a\"\n[routes.r.output]\nformat = \"csv\"\n", input);
    assert_eq!(transformed(&each, json).1.ok().stdout, "q,a\n5.0,x\n1.0,y\n");
}

#[test]
fn types_reach_the_fields_of_lines_that_nest_and_are_known_at_config_check() {
    let keys = r#"
[routes.r.input]
format = "fixed"
records = { A = [{ name = "n", start = 2, width = 3 }], B = [{ name = "q", start = 2, width = 3 }] }
nest = { B = "A" }
types = { n = "integer", "B.q" = "integer" }
[routes.r.map]
n = "n"
sum = "B | sum(attribute='q')"
[routes.r.output]
format = "csv"
"#;
    let (w, out) = transformed(keys, "A007\nB002\nB003\nA008\nBx  \n");
    let out = out.ok();
    assert_eq!(out.stdout, "n,sum\n7,5\n");
    assert!(out.stderr.contains("\"x\"") && out.stderr.contains("B.q"), "{}", out.stderr);
    w.run(&["config", "check"]).ok();
    w.config(&w.read("passerelle.toml").replace("\"B.q\"", "\"C.q\""));
    w.run(&["config", "check"]).code(2).says("there is no column C");
}

#[test]
fn nested_records_without_a_map_are_ordered_and_grouped_by_what_stands_in_them() {
    let json = "{\"n\":\"2\",\"a\":{\"k\":\"x\"}}\n{\"n\":\"1\",\"a\":{\"k\":\"y\"}}\n{\"n\":\"3\",\"a\":{\"k\":\"x\"}}\n";
    let out = |keys: &str| transformed(&format!("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.output]\nformat = \"ndjson\"\n{keys}"), json).1.ok().stdout;
    assert_eq!(
        out("order_by = [\"-a.k\", \"n\"]\n"),
        "{\"n\":\"1\",\"a\":{\"k\":\"y\"}}\n{\"n\":\"2\",\"a\":{\"k\":\"x\"}}\n{\"n\":\"3\",\"a\":{\"k\":\"x\"}}\n"
    );
    assert_eq!(
        out("order_by = [\"a.k\", \"n\"]\ngroup_by = [\"a.k\"]\ngroup_into = \"rows\"\n"),
        "{\"a\":{\"k\":\"x\"},\"rows\":[{\"n\":\"2\"},{\"n\":\"3\"}]}\n{\"a\":{\"k\":\"y\"},\"rows\":[{\"n\":\"1\"}]}\n"
    );
}

#[test]
fn a_name_that_no_nested_record_has_is_told_when_it_is_to_order_them() {
    let (_, out) = transformed("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.output]\nformat = \"ndjson\"\norder_by = [\"z.z\"]\n", "{\"n\":1}\n");
    out.ok().says("no record has a z.z");
}

#[test]
fn the_list_of_a_group_never_hides_a_column() {
    for (format, file) in [("csv", "n,q\n1,2\n"), ("ndjson", "{\"n\":1,\"q\":2}\n")] {
        let keys = format!("[routes.r.input]\nformat = \"{format}\"\ngroup_by = [\"n\"]\ngroup_into = \"q\"\n[routes.r.output]\nformat = \"ndjson\"\n");
        transformed(&keys, file).1.code(1).says("input.group_into: the records have a q of their own");
    }
}

#[test]
fn the_list_of_a_group_stands_where_the_map_puts_it() {
    let keys = "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nn = \"n\"\n\"l.a\" = \"a\"\n\"l.b\" = \"b\"\nnom = \"nom\"\n[routes.r.output]\nformat = \"ndjson\"\ngroup_by = [\"n\"]\ngroup_into = \"l\"\n";
    let (_, out) = transformed(keys, "n,nom,a,b\n1,x,2,3\n1,x,4,5\n");
    assert_eq!(out.ok().stdout, "{\"n\":\"1\",\"l\":[{\"a\":\"2\",\"b\":\"3\"},{\"a\":\"4\",\"b\":\"5\"}],\"nom\":\"x\"}\n");
}

#[test]
fn a_path_to_an_attribute_counts_elements_of_xml_and_components_of_edifact_too() {
    let w = World::local("");
    let of = |format: &str, map: &str, text: &str| {
        w.config(&format!(
            "[routes.r]\nsource = {{ path = \"a\" }}\ninput = {{ format = {format} }}\noutput = {{ format = \"csv\" }}\ndestination = {{ path = \"b\" }}\nmap = {{ x = \"{map}\" }}\n"
        ));
        w.write("x", text);
        w.run(&["transform", "r", "x"]).ok().stdout
    };
    let xml = "<r><c><d>1</d><d>2</d></c><c><d>3</d></c></r>";
    for (map, x) in [("row['c'] | map(attribute='d.1') | join('-')", "2-"), ("row['c'] | selectattr('d.0', 'eq', '3') | length", "1")] {
        assert_eq!(of("\"xml\", records = \"/r\"", map, xml), format!("x\n{x}\n"), "{map}");
    }
    let edifact = "UNB+UNOA:1+A+B+250101:1200+1'UNH+1+ORDERS:D:96A:UN'DTM+137:20251231:102'DTM+2:20260105:102'LIN+1'UNT+5+1'UNZ+1+1'";
    for (map, x) in [
        ("parent.DTM | selectattr('e1.0', 'eq', '2') | map(attribute='e1.1') | join", "20260105"),
        ("parent.DTM | map(attribute='e1.1') | join('-')", "20251231-20260105"),
    ] {
        assert_eq!(of("\"edifact\", records = \"LIN\"", map, edifact), format!("x\n{x}\n"), "{map}");
    }
}

#[test]
fn each_may_be_computed_of_the_rows_of_a_group() {
    let keys = "[routes.r.input]\nformat = \"csv\"\ngroup_by = [\"o\"]\ngroup_into = \"v\"\neach = \"[null] + v\"\n[routes.r.map]\no = \"o\"\nq = \"item.q\"\n[routes.r.output]\nformat = \"csv\"\n";
    assert_eq!(transformed(keys, "o,q\n1,2\n1,3\n").1.ok().stdout, "o,q\n1,\n1,2\n1,3\n");
}

const GROUPS: &str =
    "[routes.r.input]\nformat = \"csv\"\ndelimiter = \";\"\ndecimal = \",\"\ngroup_by = \"k\"\ngroup_into = \"l\"\ntypes = { \"Mt. TTC\" = \"decimal\" }\n";

#[test]
fn a_column_of_a_group_is_typed_also_by_its_position_and_its_name_may_hold_a_dot() {
    let map = "[routes.r.map]\nk = \"k\"\nby = \"row[1]\"\nsum = \"l | sum(attribute='Mt. TTC')\"\nfirst = \"l | map(attribute='Mt. TTC') | first\"\n[routes.r.output]\nformat = \"csv\"\n";
    let (_, out) = transformed(&format!("{GROUPS}{map}"), "k;Mt. TTC\n1;1,50\n1;2,25\n2;\n");
    assert_eq!(out.ok().stdout, "k,by,sum,first\n1,1.50,3.75,1.50\n2,,0,\n");
}

#[test]
fn a_row_whose_key_can_not_be_read_rejects_the_group_it_stands_in_and_its_line_is_told() {
    let keys = format!("{GROUPS}[routes.r.map]\nk = \"k\"\nn = \"l | length\"\n[routes.r.output]\nformat = \"csv\"\n");
    for bad in ["\"1\"x;2", "1;x"] {
        let (_, out) = transformed(&keys, &format!("k;Mt. TTC\n1;1\n{bad}\n1;3\n2;4\n"));
        let out = out.ok();
        assert_eq!(out.stdout, "k,n\n2,1\n", "{bad}");
        assert!(out.stderr.contains("line 3: "), "{}", out.stderr);
    }
    let w = World::local(&keys);
    w.write("x", b"k;Mt. TTC\n1;1\n\xe9;2\n1;3\n2;4\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "k,n\n2,1\n");
}

#[test]
fn what_groupby_gives_has_positions_and_names() {
    let keys = "[routes.r.input]\nformat = \"json\"\n[routes.r.map]\na = \"l | groupby('t') | map(attribute='grouper') | join('+')\"\nb = \"l | groupby('t') | map(attribute=0) | join('+')\"\nc = \"l | groupby('t') | map('first') | join('+')\"\nd = \"(l | groupby('t') | first)[1] | length\"\ne = \"(l | groupby('t') | first).list | length\"\n[routes.r.output]\nformat = \"csv\"\n";
    assert_eq!(transformed(keys, "[{\"l\":[{\"t\":\"a\"},{\"t\":\"b\"},{\"t\":\"a\"}]}]").1.ok().stdout, "a,b,c,d,e\na+b,a+b,a+b,2,2\n");
}

#[test]
fn a_record_of_which_several_elements_are_bad_stands_once_among_the_rejects_with_all_reasons() {
    let keys = format!(
        "{GROUPS}each = \"l\"\n[routes.r.check]\nsmall = \"item['Mt. TTC'] < 100\"\neven = \"item['Mt. TTC'] % 2 == 0\"\n[routes.r.map]\nm = \"item['Mt. TTC']\"\n[routes.r.output]\nformat = \"csv\"\n"
    );
    let w = World::local(&keys);
    w.write("x", "k;Mt. TTC\n1;500\n1;7\n1;2\n");
    let out = w.run(&["transform", "r", "x", "--rejects", "rejects.csv"]).ok();
    assert_eq!(out.stdout, "m\n2\n");
    let reason = "\"the check \"\"small\"\" is not met: item['Mt. TTC'] < 100; even: the check \"\"even\"\" is not met: item['Mt. TTC'] % 2 == 0\"";
    let lines: String = ["500", "7", "2"].iter().enumerate().map(|(i, m)| format!("{};small;{reason};1;{m}\r\n", i + 2)).collect();
    assert_eq!(w.read("rejects.csv"), format!("\u{feff}_line;_field;_reason;k;Mt. TTC\r\n{lines}"));
}

#[test]
fn a_line_that_belongs_to_no_record_takes_none_along() {
    let keys = "[routes.r.input]\nformat = \"fixed\"\nrecords = { \"04\" = [{ name = \"a\", start = 3 }], \"05\" = [{ name = \"b\", start = 3 }], \"06\" = [{ name = \"c\", start = 3 }], \"99\" = [{ name = \"t\", start = 3 }] }\nnest = { \"05\" = \"04\", \"06\" = \"05\" }\n[routes.r.output]\nformat = \"ndjson\"\n";
    let (_, out) = transformed(keys, "04A\n05a\n99TOT\n05orphan\n04B\n06x\n");
    let out = out.ok();
    assert_eq!(out.stdout, "{\"a\":\"A\",\"05\":[{\"b\":\"a\",\"06\":[]}]}\n{\"t\":\"TOT\"}\n");
    assert!(out.stderr.contains("line 4: a 05 line stands without a 04 line"), "{}", out.stderr);
    assert!(out.stderr.contains("line 5: line 6: a 06 line stands without a 05 line"), "{}", out.stderr);
}

#[test]
fn nothing_of_a_tree_is_lost_in_a_flat_file_without_a_map() {
    let (_, out) = transformed(
        "[routes.r.input]\nformat = \"xml\"\n[routes.r.output]\nformat = \"csv\"\n",
        "<r><c><id>1</id><tel>A</tel><tel>B</tel><p d=\"EUR\">2</p></c></r>",
    );
    assert_eq!(out.ok().stdout, "id,tel,p\n1,\"[\"\"A\"\",\"\"B\"\"]\",\"{\"\"@d\"\":\"\"EUR\"\",\"\"#text\"\":\"\"2\"\"}\"\n");
    let (_, out) =
        transformed("[routes.r.input]\nformat = \"ndjson\"\n[routes.r.output]\nformat = \"csv\"\n", "{\"id\":1,\"t\":2}\n{\"id\":2,\"t\":3,\"t\":4}\n");
    let out = out.ok();
    assert_eq!(out.stdout, "id,t\n1,2\n");
    assert!(out.stderr.contains("line 2: t: the record has that name twice"), "{}", out.stderr);
}

#[test]
fn the_names_of_a_flat_file_are_written_as_they_are_also_in_another_order() {
    let (_, out) = transformed("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\nformat = \"ndjson\"\ncolumns = [\"c\", \"a.b\"]\n", "a.b,c\n1,2\n");
    assert_eq!(out.ok().stdout, "{\"c\":\"2\",\"a.b\":\"1\"}\n");
}
