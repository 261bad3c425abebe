//! What operators decide of deletions, clocks that are wrong, and programs that name their columns otherwise when they import.

use std::time::{Duration, SystemTime};

use super::{BACK, Exchange, THERE, nothing};

const SENT: &str = "deletes = \"send\"\nmax_deletes = \"100%\"\n";

/// B has changed a record, A has it from B, and deletes it before it exports it: who is right, an operator must say.
fn deleted_and_changed() -> (Exchange, String) {
    let x = Exchange::both(SENT, SENT);
    x.a("1;k;1\n2;n;1\n").ok();
    x.b("1,K,1\n2,N,1\n").ok();
    x.to_b();
    x.b("1,K,1\n2,N2,1\n").ok();
    assert_eq!(x.to_a(), ["2;N2;1;modified"]);
    x.a("1;k;1\n").code(1).says("1 in conflict");
    let records = x.records();
    assert_eq!((records["read"].as_u64(), records["unchanged"].as_u64(), records["parked"].as_u64()), (Some(1), Some(1), Some(0)), "what is gone is no record");
    let job = x.last().to_string();
    (x, job)
}

#[test]
fn a_deletion_that_waits_for_an_operator_waits_however_often_either_side_exports_the_same() {
    let (x, job) = deleted_and_changed();
    for _ in 0..2 {
        x.b("1,K,1\n2,N2,1\n").ok();
        x.a("1;k;1\n").ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    }
    assert!(x.w.run(&["sync", "show", "clients", "2"]).ok().stdout.contains("in conflict"));
    x.w.run(&["resolve", &job, "--take", "b"]).ok().says("1 conflicts");
    x.w.once().ok();
    assert_eq!(x.to_a(), ["2;N2;1;added"]);
}

#[test]
fn a_deletion_that_an_operator_decides_for_is_sent_at_once() {
    let (x, job) = deleted_and_changed();
    x.w.run(&["resolve", &job, "--take", "a"]).ok().says("goes to the other one with job");
    x.w.once().ok();
    assert_eq!(x.to_b(), ["2,N2,1,deleted"]);
    x.b("1,K,1\n").ok();
    x.a("1;k;1\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn a_clock_that_is_ahead_does_not_make_an_export_the_last_one_for_ever() {
    let x = Exchange::one("");
    let export = |name: &str, at: SystemTime| {
        let file = std::fs::File::options().write(true).open(x.w.path(&format!("a_out/{name}"))).unwrap();
        file.set_modified(at).unwrap();
        drop(file);
        x.w.once()
    };
    let name = x.drop_file("a_out", "CodeClient;Nom;Solde\n1;a;1\n");
    export(&name, SystemTime::now() + Duration::from_secs(3600)).ok();
    let name = x.drop_file("a_out", "CodeClient;Nom;Solde\n1;a;2\n");
    export(&name, SystemTime::now()).ok();
    assert_eq!(x.to_b(), ["1,A,1,added", "1,A,2,modified"]);
    // One that was written before is not relayed, and that is told.
    let name = x.drop_file("a_out", "CodeClient;Nom;Solde\n1;a;7\n");
    let out = export(&name, SystemTime::now() - Duration::from_secs(60)).ok();
    let job = x.last().to_string();
    out.says(&format!("passerelle replay {job} --force"));
    assert_eq!(x.to_b(), nothing());
    x.w.run(&["replay", &job]).code(2).says("--force overrides");
    x.w.run(&["replay", &job, "--force"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["1,A,7,modified"]);
}

#[test]
fn a_program_that_imports_under_other_names_than_it_exports_holds_nothing_under_those() {
    for (format, a, back) in [
        ("json", r#"[{"Code":"01","Nom":"a","Tel":"1"},{"Code":"02","Nom":"b","Tel":"1"}]"#, r#"[{"code":"02","nom":"b","tel":"2"}]"#),
        (
            "xml",
            "<r><c><Code>01</Code><Nom>a</Nom><Tel>1</Tel></c><c><Code>02</Code><Nom>b</Nom><Tel>1</Tel></c></r>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><r><c><code>02</code><nom>b</nom><tel>2</tel></c></r>",
        ),
    ] {
        let (input, output) = if format == "json" {
            ("format = \"json\"".to_owned(), "format = \"json\"".to_owned())
        } else {
            ("format = \"xml\"\nrecords = \"/r/c\"".to_owned(), "format = \"xml\"\nroot = \"r\"\nrecord = \"c\"".to_owned())
        };
        let x = Exchange::of(&format!(
            "[routes.ab.source]\npath = \"a_out\"\nsettle = \"20ms\"\n[routes.ab.input]\n{input}\n[routes.ab.map]\nid = \"Code\"\nnom = \"Nom\"\ntel = \"Tel\"\n[routes.ab.output]\nformat = \"csv\"\n[routes.ab.destination]\npath = \"b_in\"\n[routes.ab.sync]\ngroup = \"g\"\nkey = [\"id\"]\n\
             [routes.ba.source]\npath = \"b_out\"\nsettle = \"20ms\"\n[routes.ba.input]\nformat = \"csv\"\n[routes.ba.map]\ncode = \"id\"\nnom = \"nom\"\ntel = \"tel\"\n[routes.ba.output]\n{output}\n[routes.ba.destination]\npath = \"a_in\"\n[routes.ba.sync]\ngroup = \"g\"\nkey = [\"code\"]\n"
        ));
        x.drop_file("a_out", a);
        x.w.once().ok();
        assert_eq!(x.to_b(), ["01,a,1", "02,b,1"]);
        x.drop_file("b_out", "id,nom,tel\n01,a,1\n02,b,2\n");
        x.w.once().ok();
        let files = x.w.files("a_in");
        let text = String::from_utf8(files.into_values().next().unwrap()).unwrap();
        assert_eq!(text.split_whitespace().collect::<String>(), back.split_whitespace().collect::<String>());
    }
}

/// A's records named `parti` are none for B, and B is told so.
fn leaving_out() -> Exchange {
    let there = THERE.replacen("[routes.ab.source]", "[routes.ab]\nwhere = \"Nom | upper != 'PARTI'\"\n[routes.ab.source]", 1);
    let x = Exchange::of(&format!("{there}{SENT}{BACK}"));
    x.a("1;k;1\n2;n;1\n").ok();
    x.b("1,K,1\n2,N,1\n").ok();
    x.to_b();
    x
}

#[test]
fn a_record_that_is_left_out_because_of_what_the_other_side_made_of_it_is_deleted_there() {
    for policy in ["park", "source", "target"] {
        let there = THERE.replacen("[routes.ab.source]", "[routes.ab]\nwhere = \"Nom | upper != 'PARTI'\"\n[routes.ab.source]", 1);
        let x = Exchange::of(&format!("{there}{SENT}conflict = \"{policy}\"\n{BACK}"));
        x.a("1;k;1\n2;n;1\n").ok();
        x.b("1,K,1\n2,N,1\n").ok();
        x.to_b();
        x.b("1,K,1\n2,PARTI,1\n").ok();
        assert_eq!(x.to_a(), ["2;PARTI;1;modified"]);
        x.a("1;k;1\n2;PARTI;1\n").ok();
        assert_eq!(x.to_b(), ["2,PARTI,1,deleted"], "{policy}: A has what B made of it, there is no conflict");
        // B exports before it has taken the deletion, and after.
        x.b("1,K,1\n2,PARTI,1\n").ok();
        x.b("1,K,1\n").ok();
        x.a("1;k;1\n2;PARTI;1\n").ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()), "{policy}");
    }
}

#[test]
fn a_deletion_that_an_operator_decides_for_is_sent_though_the_record_is_only_left_out() {
    for (take, to_a, to_b) in [("a", nothing(), vec!["2,N2,1,deleted".to_owned()]), ("b", vec!["2;N2;1;added".to_owned()], nothing())] {
        let x = leaving_out();
        x.b("1,K,1\n2,N2,1\n").ok();
        x.to_a();
        x.a("1;k;1\n2;parti;1\n").code(1).says("1 in conflict");
        x.w.run(&["resolve", &x.last().to_string(), "--take", take]).ok();
        x.w.once().ok();
        assert_eq!((x.to_a(), x.to_b()), (to_a, to_b), "{take}");
        let (a, b) = if take == "a" { ("1;k;1\n2;parti;1\n", "1,K,1\n") } else { ("1;k;1\n2;N2;1\n", "1,K,1\n2,N2,1\n") };
        for _ in 0..2 {
            x.b(b).ok();
            x.a(a).ok();
        }
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()), "{take}");
    }
}

/// What waits in a route's folder of errors, without its header.
fn waiting(x: &Exchange, route: &str) -> Vec<(String, Vec<String>)> {
    let files = x.w.files(&format!("relay/errors/{route}"));
    files.into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap().lines().skip(1).map(str::to_owned).collect())).collect()
}

#[test]
fn a_column_that_waits_for_an_operator_goes_on_waiting_when_another_one_comes_into_conflict() {
    for take in ["a", "b"] {
        let (x, out) = super::in_conflict("", "");
        out.code(1);
        x.to_a();
        // B changes the balance too, and so does A before it has taken that.
        x.b("001,DUPUIS,5\n002,MARTIN,6\n").ok();
        assert_eq!(x.to_a(), ["001;durand;5;modified"]);
        x.a("001;durand;9\n002;martin;6\n").code(1).says("in conflict");
        assert_eq!(x.to_b(), nothing(), "nothing of what waits is sent");
        let lines = ["001;nom;DUPONT;DURAND;DUPUIS", "001;solde;1;9;5"];
        let told: Vec<_> = waiting(&x, "ab").into_iter().chain(waiting(&x, "ba")).map(|(_, lines)| lines).collect();
        assert_eq!(told, [lines], "all of the record waits in the later file alone");
        x.w.run(&["resolve", &x.last().to_string(), "--take", take]).ok();
        x.w.once().ok();
        let wanted = if take == "a" { (nothing(), vec!["001,DURAND,9,modified".to_owned()]) } else { (vec!["001;DUPUIS;5;modified".to_owned()], nothing()) };
        assert_eq!((x.to_a(), x.to_b()), wanted, "{take}");
        assert_eq!((waiting(&x, "ab"), waiting(&x, "ba")), (vec![], vec![]));
    }
}

#[test]
fn conflicts_that_are_parked_anew_or_are_no_more_leave_no_file_behind() {
    let (x, out) = super::in_conflict("", "");
    out.code(1);
    let first = x.last().to_string();
    x.b("001,DUPUY,1\n002,MARTIN,6\n").code(1);
    assert_eq!(waiting(&x, "ba").into_iter().map(|(_, lines)| lines).collect::<Vec<_>>(), [["001,Nom,dupont,durand,DUPUY"]], "the later one alone");
    x.w.run(&["resolve", &first, "--take", "a"]).code(2).says("parked it anew");
    // Both sides have the same now.
    x.b("001,DURAND,1\n002,MARTIN,6\n").ok();
    assert_eq!(waiting(&x, "ba"), []);
    for command in ["rebuild", "forget"] {
        let (x, out) = super::in_conflict("", "");
        out.code(1);
        assert_eq!(waiting(&x, "ba").len(), 1);
        x.w.run(&["sync", command, "clients"]).ok();
        assert_eq!(waiting(&x, "ba"), [], "{command}");
    }
}

/// Both have changed the names of four records.
fn four_in_conflict() -> (Exchange, String) {
    let x = Exchange::both("", "");
    let rows = |name: &str, sep: &str| (1..=4).map(|i| format!("{i}{sep}{name}{i}{sep}1\n")).collect::<String>();
    x.a(&rows("X", ";")).ok();
    x.b(&rows("X", ",")).ok();
    x.to_b();
    x.a(&rows("A", ";")).ok();
    x.to_b();
    x.b(&rows("B", ",")).code(1).says("4 in conflict");
    let job = x.last().to_string();
    (x, job)
}

#[test]
fn what_an_edited_conflicts_file_settles_is_struck_from_the_file_and_what_it_cannot_settle_is_told() {
    let (x, job) = four_in_conflict();
    x.w.write(
        "decided.csv",
        "_key;_column;_base;_a;_b;_take\n1;Nom;X1;A1;B1;a\n2;Nom;X2;third;third;\n3;nom;X3;A3;B3;a\n99;Nom;X3;A3;B3;b\n4;Nom;X4;A4;B4;b\n4;Nom;X4;A4;B4;a\n",
    );
    let out = x.w.run(&["resolve", &job, "--take", "decided.csv"]).code(2);
    let out = out.says("2 conflicts of job").says("2 of it are still open").says("line 3: 2, Nom: what stands in both _a and _b is neither side's value");
    out.says("line 4: 3, nom: no such conflict is open")
        .says("line 5: 99, Nom: no such conflict is open")
        .says("line 7: 4, Nom: an earlier line decides otherwise");
    assert_eq!(waiting(&x, "ba").pop().unwrap().1, ["2,Nom,X2,A2,B2", "3,Nom,X3,A3,B3"]);
    x.w.once().ok();
    assert_eq!((x.to_a(), x.to_b()), (vec!["4;B4;1;modified".to_owned()], vec!["1,A1,1,modified".to_owned()]));
    // The file itself, edited where it lies, is as good; what nobody has decided stays in it with what was written beside.
    let name = waiting(&x, "ba").pop().unwrap().0;
    x.w.write(&format!("relay/errors/ba/{name}"), "_key;_column;_base;_a;_b;_take;note\n2;Nom;X2;A2;B2;;ask Zoé\n3;Nom;X3;A3;B3;b;\n");
    x.w.run(&["resolve", &job, "--take", &format!("relay/errors/ba/{name}")]).ok().says("1 of it are still open");
    assert_eq!(waiting(&x, "ba"), [(name, vec!["2;Nom;X2;A2;B2;;ask Zoé".to_owned()])]);
    x.w.once().ok();
    x.w.run(&["resolve", &job, "--take", "a"]).ok();
    assert_eq!(waiting(&x, "ba"), []);
}

#[test]
fn a_damaged_memory_holds_the_next_export_and_is_made_anew() {
    for damage in [
        "update sync_groups set meta = 'x{'",
        "update sync_pieces set data = zeroblob(length(data))",
        "update sync_pieces set data = substr(data, 1, length(data) / 2)",
        "delete from sync_pieces where job = 2",
    ] {
        let x = Exchange::both("", "");
        x.a("1;a;1\n2;b;1\n").ok();
        x.b("1,A,1\n2,B,1\n").ok();
        x.to_b();
        let journal = x.w.path("relay/journal.db");
        let done = std::process::Command::new("sqlite3").arg(journal).arg(damage).status().unwrap();
        assert!(done.success());
        x.a("1;a;1\n2;b;2\n").code(1).says("the memory of the sync group clients is damaged").says("passerelle sync rebuild clients");
        x.w.run(&["sync", "show", "clients"]).code(1).says("passerelle sync rebuild clients");
        assert_eq!(x.w.states().pop().unwrap(), "held", "{damage}");
        x.w.run(&["sync", "rebuild", "clients"]).ok().says("knows 2 records");
        x.w.run(&["retry", "--all"]).ok();
        x.w.once().ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), vec!["2,B,2,modified".to_owned()]), "{damage}");
    }
}

#[test]
fn a_deletion_carries_also_what_the_other_side_never_exports() {
    let there = THERE.replacen(
        "op = \"sync.op\"",
        "categorie = \"'client'\"\nfiche = \"CodeClient ~ '-' ~ Nom\"\nop = \"sync.op\"\navant = \"sync.before.fiche | default('(none)', true)\"",
        1,
    );
    for b_first in [false, true] {
        let x = Exchange::of(&format!("{there}{SENT}{BACK}"));
        if b_first {
            x.b("1,A,1\n2,B,1\n").ok();
            x.to_a();
        }
        x.a("1;a;1\n2;b;1\n").ok();
        if !b_first {
            assert_eq!(x.to_b(), ["1,A,1,client,1-a,added,(none)", "2,B,1,client,2-b,added,(none)"]);
            x.b("1,A,1\n2,B,1\n").ok();
        }
        x.to_b();
        x.a("1;a;2\n2;b;1\n").ok();
        assert_eq!(x.to_b(), ["1,A,2,client,1-a,modified,1-a"], "{b_first}");
        x.a("1;a;2\n").ok();
        assert_eq!(x.to_b(), ["2,B,1,client,2-b,deleted,2-b"], "{b_first}");
        // The memory made anew knows it too.
        x.b("1,A,2\n").ok();
        x.w.run(&["sync", "rebuild", "clients"]).ok();
        x.a("").code(1);
        x.w.run(&["retry", "--all", "--accept-deletes"]).ok();
        x.w.once().ok();
        assert_eq!(x.to_b(), ["1,A,2,client,1-a,deleted,1-a"], "{b_first}");
    }
}

#[test]
fn a_column_that_was_mapped_later_and_was_empty_at_first_is_sent_once_it_is_filled() {
    let wider = |map: &str, column: &str, from: &str| map.replace("op = \"sync.op\"", &format!("{column} = \"{from}\"\nop = \"sync.op\""));
    let x = Exchange::both("", "");
    let a = |rows: &str| {
        x.drop_file("a_out", &format!("CodeClient;Nom;Solde;Tel\n{rows}"));
        x.w.once().ok();
    };
    let b = |rows: &str| {
        x.drop_file("b_out", &format!("code,nom,solde,tel\n{rows}"));
        x.w.once().ok();
    };
    a("1;k;1;\n");
    x.to_b();
    b("1,K,1,\n");
    x.w.config(&format!("{}\n{}\n", wider(THERE, "tel", "Tel"), wider(BACK, "Tel", "tel")));
    for _ in 0..2 {
        a("1;k;1;\n");
        b("1,K,1,\n");
    }
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    a("1;k;1;0123\n");
    assert_eq!(x.to_b(), ["1,K,1,0123,modified"]);
}

#[test]
fn keys_of_several_columns_that_look_alike_are_settled_each_by_its_own_row() {
    let with = |map: &str, key: &str| map.replace(key, &key.replace("]", ", \"x\"]"));
    let there = THERE.replace("nom = \"Nom", "x = \"Nom\"\nnom = \"Nom");
    let back = BACK.replace("Nom = \"nom\"", "x = \"x\"\nNom = \"nom\"");
    let x = Exchange::of(&format!("{}\n{}\n", with(&there, "key = [\"code\"]"), with(&back, "key = [\"CodeClient\"]")));
    let b = |rows: &str| {
        x.drop_file("b_out", &format!("code,nom,solde,x\n{rows}"));
        x.w.once()
    };
    x.a("1 a;b;1\n1;a b;1\n").ok();
    x.to_b();
    b("1 a,B,1,b\n1,A B,1,a b\n").ok();
    x.a("1 a;b;2\n1;a b;2\n").ok();
    x.to_b();
    b("1 a,B,3,b\n1,A B,3,a b\n").code(1);
    let job = x.last();
    let file = x.w.names("relay/errors/ba").into_iter().find(|n| n.ends_with(".conflicts.csv")).unwrap();
    let text = x.w.read(&format!("relay/errors/ba/{file}"));
    let decided: String = text
        .lines()
        .enumerate()
        .map(|(i, line)| {
            format!(
                "{line},{}\n",
                if i == 0 {
                    "_take"
                } else if line.contains("\"\"1 a\"\"") {
                    "a"
                } else {
                    "b"
                }
            )
        })
        .collect();
    x.w.write("decided.csv", decided);
    x.w.run(&["resolve", &job.to_string(), "--take", "decided.csv"]).ok().says("2 conflicts");
    x.w.once().ok();
    assert_eq!((x.to_b().len(), x.to_a().len()), (1, 1));
}

#[test]
fn the_newest_is_that_of_the_later_moment_in_whatever_zone() {
    use crate::world::World;
    let route = |name: &str, from: &str, to: &str| {
        format!(
            "{}[routes.{name}.input]\nformat = \"csv\"\ntypes = {{ at = \"datetime\" }}\n[routes.{name}.map]\ncode = \"code\"\nn = \"n\"\nat = \"at\"\n[routes.{name}.sync]\ngroup = \"g\"\nkey = [\"code\"]\nconflict = \"newest:at\"\n",
            World::route(name, from, to)
        )
    };
    let w = World::new(&format!("{}{}", route("ab", "a_out", "b_in"), route("ba", "b_out", "a_in")));
    for folder in ["a_out", "a_in", "b_out", "b_in"] {
        let _ = std::fs::create_dir(w.path(folder));
    }
    let export = |folder: &str, row: &str| {
        std::thread::sleep(Duration::from_millis(5));
        w.write(&format!("{folder}/x.csv"), format!("code,n,at\n{row}\n"));
        w.once();
        let _ = std::fs::remove_file(w.path(&format!("{}/x.csv", if folder == "a_out" { "b_in" } else { "a_in" })));
    };
    export("a_out", "1,o,2025-03-01T08:00:00Z");
    export("b_out", "1,o,2025-03-01T08:00:00Z");
    // B's edit is the later one, though its clock shows an earlier hour; A has not seen it.
    w.write("b_out/y.csv", "code,n,at\n1,nb,2025-03-01T11:00:00Z\n");
    w.once().ok();
    w.write("a_out/y.csv", "code,n,at\n1,na,2025-03-01T12:00:00+02:00\n");
    w.once().ok();
    assert!(!w.path("b_in/y.csv").exists(), "A's older edit does not win");
}

#[test]
fn what_is_not_sent_has_its_values_in_the_export_all_the_same() {
    let x = Exchange::of(&format!("{}\n", THERE.replace("[routes.ab.destination]", "fields = { nom = { unique = true } }\n[routes.ab.destination]")));
    for written in [1, 0] {
        x.a("1;a;1\n2;a;1\n");
        let records = x.records();
        assert_eq!((records["written"].as_u64(), records["rejected"].as_u64()), (Some(written), Some(1)), "{records}");
        x.to_b();
    }
}

#[test]
fn keys_of_several_columns_that_have_lost_their_zeros_hold_the_export_too() {
    let x = Exchange::of(&format!("{}deletes = \"send\"\nmax_deletes = \"100%\"\n", THERE.replace("key = [\"code\"]", "key = [\"code\", \"nom\"]")));
    x.a("007;a;1\n008;b;1\n009;c;1\n").ok();
    x.to_b();
    x.a("7;a;1\n8;b;1\n9;c;1\n").code(1).says("differ from known ones by zeros");
    assert_eq!(x.to_b(), nothing());
}
