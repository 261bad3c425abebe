//! Exports that hold what has changed alone: what has won is known to the memory, and need not be exported again to be sent.

use super::{Exchange, nothing};

const PARTS: &str = "full = false";

/// Both sides hold two records, and know it.
fn agreed(there: &str, back: &str) -> Exchange {
    let x = Exchange::both(there, back);
    x.a("1;k;1\n2;n;1\n").ok();
    x.b("1,K,1\n2,N,1\n").ok();
    assert_eq!((x.to_b().len(), x.to_a()), (2, nothing()));
    x
}

/// Both change one record, and it is parked by A's export, which changes the other one too.
fn in_conflict() -> (Exchange, String) {
    let x = agreed(PARTS, PARTS);
    x.b("1,KB,1\n").ok();
    assert_eq!(x.to_a(), ["1;KB;1;modified"]);
    x.a("1;ka;1\n2;old;1\n").code(1).says("1 conflicts wait");
    assert_eq!(x.to_b(), ["2,OLD,1,modified"]);
    let job = x.last().to_string();
    (x, job)
}

#[test]
fn what_an_operator_settles_is_sent_and_nothing_older_with_it() {
    let (x, job) = in_conflict();
    x.a("2;new;1\n").ok();
    assert_eq!(x.to_b(), ["2,NEW,1,modified"]);
    let told = x.w.run(&["resolve", &job, "--take", "a"]).ok();
    told.says("what side a has goes to the other one with job").says("side a gets its own again with job");
    x.w.once().ok();
    assert_eq!(x.to_b(), ["1,KA,1,modified"]);
    // What was sent to A before that may overwrite what has won there: it comes again, behind it.
    assert_eq!(x.to_a(), ["1;ka;1;modified"]);
    x.b("1,KA,1\n2,NEW,1\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn what_an_operator_settles_is_sent_from_the_export_that_showed_it_last() {
    let (x, job) = in_conflict();
    // Another column goes on; and then an export that does not hold the record.
    x.a("1;ka;7\n").ok();
    assert_eq!(x.to_b(), ["1,KB,7,modified"]);
    x.a("3;other;1\n").ok();
    x.to_b();
    x.w.run(&["resolve", &job, "--take", "a"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["1,KA,7,modified"]);
    // B wins: A had its value before, and has changed it since.
    let (x, job) = in_conflict();
    x.b("3,Z,1\n").ok();
    assert_eq!(x.to_a(), ["3;Z;1;added"]);
    x.w.run(&["resolve", &job, "--take", "b"]).ok().says("what side b has goes to the other one with job");
    x.w.once().ok();
    assert_eq!(x.to_a(), ["1;KB;1;modified"]);
    assert_eq!(x.to_b(), nothing());
}

#[test]
fn what_a_rule_decides_goes_to_the_side_that_has_lost() {
    let x = agreed("full = false\nconflict = \"target\"", "full = false\nconflict = \"target\"");
    x.a("1;ka;1\n").ok();
    assert_eq!(x.to_b(), ["1,KA,1,modified"]);
    // B has imported that or not; its user has set another name, and A's wins.
    x.b("1,KB,1\n").ok();
    assert_eq!((x.to_b(), x.to_a()), (vec!["1,KA,1,modified".to_owned()], nothing()));
    // What was read once more is no later export.
    x.w.run(&["replay", "3"]).ok();
    x.w.once().ok();
    assert_eq!((x.to_b(), x.to_a()), (nothing(), nothing()));
    x.a("2;q;1\n").ok();
    x.b("2,Q,1\n").ok();
    assert_eq!((x.to_b(), x.to_a()), (vec!["2,Q,1,modified".to_owned()], nothing()));
}

#[test]
fn an_edit_that_a_crossing_delivery_overwrites_is_brought_again_though_it_is_exported_by_nobody() {
    for there in ["full = true", PARTS] {
        let x = agreed(there, PARTS);
        // A changes the balance, B the name; each exports before it has what the other one exports.
        let name = x.drop_file("b_out", "code,nom,solde\n1,KB,1\n");
        std::fs::rename(x.w.path(&format!("b_out/{name}")), x.w.path("later.csv")).unwrap();
        x.a("1;k;9\n2;n;1\n").ok();
        assert_eq!(x.to_b(), ["1,K,9,modified"]);
        std::fs::rename(x.w.path("later.csv"), x.w.path("b_out/later.csv")).unwrap();
        x.w.once().ok();
        assert_eq!(x.to_a(), ["1;KB;9;modified"]);
        // B takes the delivery, which had its old name.
        if there != PARTS {
            x.a("1;KB;9\n2;n;1\n").ok();
        }
        assert_eq!(x.to_b(), ["1,KB,9,modified"]);
        x.a("1;KB;9\n2;n;1\n").ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    }
}

#[test]
fn a_kill_where_a_settled_record_is_on_its_way_loses_it_not() {
    for point in ["before:archived", "after:archived", "before:transformed"] {
        let x = agreed("full = false\nconflict = \"target\"", "full = false\nconflict = \"target\"");
        x.a("1;ka;1\n").ok();
        x.to_b();
        x.drop_file("b_out", "code,nom,solde\n1,KB,1\n");
        assert_eq!(x.w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &format!("kill={point}"))]).code, -1, "{point}");
        x.w.once().ok();
        assert_eq!((x.to_b(), x.to_a()), (vec!["1,KA,1,modified".to_owned()], nothing()), "{point}");
    }
}

#[test]
fn an_export_that_failed_is_not_tried_again_behind_later_ones_unless_that_is_meant() {
    let x = Exchange::one("full = false\n[routes.ab]\nrejects = \"fail\"");
    x.a("1;k;1\n").ok();
    x.a("1;old;1\n2;bad;zwei\n").code(1);
    let failed = x.last().to_string();
    x.a("1;new;2\n").ok();
    assert_eq!(x.to_b(), ["1,K,1,added", "1,NEW,2,modified"]);
    x.w.run(&["retry", &failed]).code(2).says("--force overrides");
}

#[test]
fn an_older_export_of_changes_is_relayed_and_told() {
    let x = Exchange::one(PARTS);
    x.a("1;new;1\n").ok();
    x.to_b();
    let name = x.drop_file("a_out", "CodeClient;Nom;Solde\n1;older;1\n");
    let file = std::fs::File::options().write(true).open(x.w.path(&format!("a_out/{name}"))).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
    drop(file);
    x.w.once().ok().says("it was written before the export of job 1");
    assert_eq!(x.to_b(), ["1,OLDER,1,modified"]);
}

#[test]
fn an_edit_that_was_parked_is_sent_once_its_conflict_is_no_more() {
    for back in [PARTS, ""] {
        let x = agreed(PARTS, back);
        x.a("1;a2;1\n").ok();
        assert_eq!(x.to_b(), ["1,A2,1,modified"]);
        // B has not imported it yet; A goes on.
        let all = |first: &str| format!("{first}{}", if back.is_empty() { "2,N,1\n" } else { "" });
        x.b(&all("1,B3,1\n")).code(1);
        x.a("1;a5;1\n").code(1);
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
        x.b(&all("1,A2,1\n")).ok();
        assert_eq!((x.to_b(), x.to_a()), (vec!["1,A5,1,modified".to_owned()], nothing()), "{back}");
        x.b(&all("1,A5,1\n")).ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    }
}
