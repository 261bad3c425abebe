//! Code tables: each lookup reads its file in its own way.

use crate::world::World;

#[test]
fn lookups_of_one_file_have_each_their_own_key() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\na = \"k | lookup('by_code') | default('?')\"\nb = \"k | lookup('by_name') | default('?')\"\n[routes.r.output]\nformat = \"csv\"\n[lookups.by_code]\nfile = \"l.csv\"\nformat = \"csv\"\nkey = \"code\"\nvalue = \"nom\"\n[lookups.by_name]\nfile = \"l.csv\"\nformat = \"csv\"\nkey = \"nom\"\nvalue = \"code\"\n",
    );
    w.write("l.csv", "code,nom\n1,un\nun,UN\n");
    w.write("x", "k\n1\nun\nUN\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "a,b\nun,?\nUN,1\n?,un\n");
}

#[test]
fn keys_are_found_by_their_types_and_as_they_are_written() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\ntypes = { t = \"decimal\", d = \"date\" }\n[routes.r.map]\nt = \"t | lookup('taux')\"\nraw = \"raw | lookup('taux')\"\nboth = \"[t, d] | lookup('both')\"\n[routes.r.output]\nformat = \"csv\"\n[lookups.taux]\nfile = \"l.csv\"\nformat = \"csv\"\ndelimiter = \";\"\ndecimal = \",\"\ntypes = { taux = \"decimal\" }\nkey = \"taux\"\nvalue = \"code\"\n[lookups.both]\nfile = \"l.csv\"\nformat = \"csv\"\ndelimiter = \";\"\ndecimal = \",\"\ndates = \"%d/%m/%Y\"\ntypes = { taux = \"decimal\", depuis = \"date\" }\nkey = [\"taux\", \"depuis\"]\nvalue = \"code\"\n",
    );
    w.write("l.csv", "taux;depuis;code\n5,50;01/01/2025;RED\n20;02/01/2025;NOR\n");
    w.write("x", "t,d,raw\n5.5,2025-01-01,\"5,50\"\n20,2025-01-02,20\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "t,raw,both\nRED,RED,RED\nNOR,NOR,NOR\n");
}

#[test]
fn typed_keys_that_are_one_stand_once() {
    let route = "[routes.r.input]\nformat = \"csv\"\ntypes = { c = \"integer\" }\n[routes.r.map]\nv = \"c | lookup('p')\"\n[lookups.p]\nfile = \"l.csv\"\nkey = \"c\"\nvalue = \"v\"\ntypes = { c = \"integer\" }\n";
    let w = World::local(route);
    w.write("l.csv", "c,v\n01,v1\n001,v2\n1,v3\n");
    w.write("x", "c\n1\n");
    assert_eq!(w.run(&["transform", "r", "x"]).ok().stdout, "v\nv1\n");
    w.config(&w.read("passerelle.toml").replace("key = \"c\"", "key = \"c\"\nduplicates = \"error\""));
    assert!(w.run(&["transform", "r", "x"]).stderr.contains("the key 1 stands twice"));
}
