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
