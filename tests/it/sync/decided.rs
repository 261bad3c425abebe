//! What operators decide of deletions, clocks that are wrong, and programs that name their columns otherwise when they import.

use std::time::{Duration, SystemTime};

use super::{Exchange, nothing};

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
