//! Deliveries that wait at a program, and exports that cross them: what an export does not show proves nothing, and what was
//! delivered is never taken for that program's own edit.

use super::{Exchange, nothing};

const SENT: &str = "deletes = \"send\"\nmax_deletes = \"100%\"\n";

/// Both sides hold these two records, and agree on them.
fn agreed(there: &str, back: &str) -> Exchange {
    let x = Exchange::both(there, back);
    x.a("1;k;1\n2;n;1\n").ok();
    x.b("1,K,1\n2,N,1\n").ok();
    x.to_b();
    x
}

#[test]
fn of_two_deliveries_that_wait_the_first_alone_may_be_imported_before_an_export() {
    let x = agreed("", "");
    x.a("1;k1;1\n2;n;1\n").ok();
    x.a("1;k1;7\n2;n;1\n").ok();
    assert_eq!(x.to_b(), ["1,K1,1,modified", "1,K1,7,modified"]);
    // As it was, and then as the first file made it.
    x.b("1,K,1\n2,N,1\n").ok();
    x.b("1,K1,1\n2,N,1\n").ok();
    assert_eq!(x.to_a(), nothing(), "what was delivered is no change of B's");
    x.b("1,K1,7\n2,N,1\n").ok();
    x.a("1;k1;7\n2;n;1\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn a_key_that_both_sides_have_added_is_a_conflict_also_when_one_exports_after_it_was_told() {
    let x = agreed("", "");
    x.a("1;k;1\n2;n;1\n7;dupont;3\n").ok();
    x.b("1,K,1\n2,N,1\n7,MARTIN,5\n").code(1).says("in conflict");
    assert_eq!((x.to_a(), x.to_b()), (nothing(), vec!["7,DUPONT,3,added".to_owned()]));
    // Half of what was delivered, and a change of one's own, is no such thing.
    x.a("1;k;1\n2;n;1\n7;dupont;3\n8;petit;4\n").ok();
    x.b("1,K,1\n2,N,1\n7,MARTIN,5\n8,PETIT,6\n").ok();
    assert_eq!(x.to_a(), ["8;petit;6;modified"]);
}

#[test]
fn an_edit_that_won_against_a_deletion_survives_the_import_of_that_deletion() {
    for (there, back) in [("conflict = \"target\"\n", "conflict = \"source\"\n"), ("", "")] {
        let x = agreed(&format!("{SENT}{there}"), &format!("{SENT}{back}"));
        x.a("2;n;1\n").ok();
        assert_eq!(x.to_b(), ["1,K,1,deleted"]);
        if back.is_empty() {
            x.b("1,BEST,9\n2,N,1\n").code(1);
            let job = x.last().to_string();
            x.w.run(&["resolve", &job, "--take", "b"]).ok();
            x.w.once().ok();
        } else {
            x.b("1,BEST,9\n2,N,1\n").ok();
        }
        assert_eq!(x.to_a(), ["1;BEST;9;added"], "{back}");
        // Now B has imported the deletion.
        x.b("2,N,1\n").ok();
        assert_eq!(x.to_a(), nothing(), "{back}");
        x.a("1;BEST;9\n2;n;1\n").ok();
        assert_eq!(x.to_b(), ["1,BEST,9,added"], "{back}");
        x.b("1,BEST,9\n2,N,1\n").ok();
        x.a("1;BEST;9\n2;n;1\n").ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()), "{back}");
    }
}

#[test]
fn a_record_that_was_added_and_deleted_before_the_other_side_has_seen_it_stays_deleted() {
    let x = agreed(SENT, SENT);
    x.a("1;k;1\n2;n;1\n7;new;1\n").ok();
    x.a("1;k;1\n2;n;1\n").ok();
    assert_eq!(x.to_b(), ["7,NEW,1,added", "7,NEW,1,deleted"]);
    // B has imported nothing yet, then the first file, then the second.
    for rows in ["1,K,1\n2,N,1\n", "1,K,1\n2,N,1\n7,NEW,1\n", "1,K,1\n2,N,1\n"] {
        x.b(rows).ok();
        assert_eq!(x.to_a(), nothing(), "{rows}");
    }
    x.a("1;k;1\n2;n;1\n").ok();
    assert_eq!(x.to_b(), nothing());
}

#[test]
fn what_else_was_changed_in_a_record_in_conflict_is_sent_and_survives_the_other_sides_import() {
    let x = agreed("", "");
    x.a("1;ka;1\n2;n;1\n").ok();
    x.b("1,KB,8\n2,N,1\n").code(1).says("in conflict");
    assert_eq!((x.to_a(), x.to_b()), (vec!["1;ka;8;modified".to_owned()], vec!["1,KA,1,modified".to_owned()]));
    // B imports the whole record with its old amount: that one comes back.
    x.b("1,KA,1\n2,N,1\n").ok();
    x.a("1;ka;8\n2;n;1\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), vec!["1,KA,8,modified".to_owned()]));
}

#[test]
fn of_several_records_with_a_key_the_one_that_is_not_left_out_counts() {
    let x = Exchange::of(&format!("[routes.ab]\nwhere = \"Nom != 'sec'\"\n{}{SENT}", super::THERE));
    x.a("1;main;1\n1;sec;2\n").ok();
    assert_eq!(x.to_b(), ["1,MAIN,1,added"]);
    for rows in ["1;sec;2\n1;main;1\n", "1;sec;2\n1;main;1\n1;sec;3\n"] {
        x.a(rows).ok();
        assert_eq!(x.to_b(), nothing(), "{rows}");
    }
    x.a("1;sec;2\n1;main;5\n3;sec;1\n3;new;1\n").ok();
    assert_eq!(x.to_b(), ["1,MAIN,5,modified", "3,NEW,1,added"]);
    x.a("1;sec;2\n3;new;1\n").ok();
    assert_eq!(x.to_b(), ["1,MAIN,5,deleted"]);
}

#[test]
fn what_is_written_with_less_than_a_side_has_comes_back_as_it_was_sent() {
    let dated = |config: &str| config.replace("Solde = \"decimal\"", "Solde = \"datetime\"");
    let there = dated(super::THERE).replace("name = \"changes_{job}.csv\"", "name = \"changes_{job}.csv\"\ndatetimes = \"%d/%m/%y %H:%M\"");
    let back = super::BACK
        .replace("solde | decimal", "solde")
        .replace("format = \"csv\"\n[routes.ba.map]", "format = \"csv\"\ntypes = { solde = \"datetime\" }\ndatetimes = \"%d/%m/%y %H:%M\"\n[routes.ba.map]");
    let x = Exchange::of(&format!("{there}{back}"));
    x.a("1;k;1935-02-01T10:11:12\n").ok();
    assert_eq!(x.to_b(), ["1,K,01/02/35 10:11,added"]);
    x.b("1,K,01/02/35 10:11\n").ok();
    assert_eq!(x.to_a(), nothing(), "an echo is no edit");
    x.b("1,K,01/02/35 10:12\n").ok();
    assert_eq!(x.to_a().len(), 1);
}

#[test]
fn a_value_that_neither_side_has_settles_nothing() {
    let x = agreed("", "");
    x.a("1;ka;1\n2;n;1\n").ok();
    x.b("1,KB,1\n2,N,1\n").code(1);
    let job = x.last().to_string();
    x.w.write("third.csv", "_key,_column,_base,_a,_b\n1,Nom,k,KC,KC\n");
    x.w.run(&["resolve", &job, "--take", "third.csv"]).code(2).says("nothing in that file settles");
    x.w.write("b.csv", "_key,_column,_base,_a,_b\n1,Nom,k,KB,KB\n");
    x.w.run(&["resolve", &job, "--take", "b.csv"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_a(), ["1;KB;1;modified"]);
}

#[test]
fn a_later_export_that_is_held_too_makes_the_earlier_one_pointless() {
    let x = Exchange::one("deletes = \"send\"\nmax_deletes = \"30%\"\n");
    x.a("1;a;1\n2;b;1\n3;c;1\n4;d;1\n").ok();
    x.to_b();
    x.a("").code(1);
    x.a("1;a;1\n2;b;1\n").code(1);
    assert_eq!(x.w.states(), ["delivered", "superseded", "held"]);
    x.w.run(&["retry", "--all", "--accept-deletes"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["3,C,1,deleted", "4,D,1,deleted"]);
}

#[test]
fn a_key_of_other_columns_holds_the_export_until_the_memory_is_made_anew() {
    let x = Exchange::one("deletes = \"send\"\nmax_deletes = \"100%\"\n");
    x.a("1;a;1\n2;b;1\n").ok();
    x.to_b();
    let config = x.w.read("passerelle.toml");
    x.w.config(&config.replace("key = [\"code\"]", "key = [\"code\", \"nom\"]"));
    x.a("1;a;1\n2;b;2\n").code(1).says("sync rebuild clients");
    assert_eq!((x.to_b(), x.w.states().last().unwrap().as_str()), (Vec::<String>::new(), "held"));
    // A filter more is the same key.
    x.w.config(&config.replace("code = \"CodeClient\"", "code = \"CodeClient | trim\""));
    x.w.run(&["retry", "--all"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["2,B,2,modified"]);
}

#[test]
fn what_has_lost_does_not_come_back_with_a_file_that_is_imported_late() {
    let x = agreed("conflict = \"source\"\n", "conflict = \"target\"\n");
    x.b("1,K,1\n2,N,1\n7,MARTIN,5\n").ok();
    assert_eq!(x.to_a(), ["7;MARTIN;5;added"]);
    // A has made that record too, before it imports B's, and wins.
    x.a("1;k;1\n2;n;1\n7;dupont;3\n").ok();
    assert_eq!(x.to_b(), ["7,DUPONT,3,modified"]);
    x.b("1,K,1\n2,N,1\n7,MARTEL,6\n").ok();
    x.b("1,K,1\n2,N,1\n7,DUPONT,3\n").ok();
    assert_eq!(x.to_a(), nothing());
    // Now A imports what B had at first.
    x.a("1;k;1\n2;n;1\n7;MARTIN;5\n").ok();
    assert_eq!(x.to_b(), nothing(), "what A has imported is no edit of A's");
    x.b("1,K,1\n2,N,1\n7,DUPONT,3\n").ok();
    assert_eq!(x.to_a(), ["7;DUPONT;3;modified"]);
    x.a("1;k;1\n2;n;1\n7;DUPONT;3\n").ok();
    x.b("1,K,1\n2,N,1\n7,DUPONT,3\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn edits_of_different_columns_that_cross_reach_both_sides() {
    for first in ["a", "b"] {
        let x = agreed(SENT, SENT);
        let (a, b) = ("1;p;1\n2;n;1\n", "1,K,4\n2,N,1\n");
        // Both export before either imports anything, and before anything was there to import.
        x.w.write("new_a", format!("CodeClient;Nom;Solde\n{a}"));
        x.w.write("new_b", format!("code,nom,solde\n{b}"));
        std::thread::sleep(std::time::Duration::from_millis(5));
        for side in if first == "a" { ["a", "b"] } else { ["b", "a"] } {
            std::fs::rename(x.w.path(&format!("new_{side}")), x.w.path(&format!("{side}_out/crossing.csv"))).unwrap();
            x.w.once().ok();
        }
        let (sent_a, sent_b) = (x.to_a(), x.to_b());
        // Each program takes the record as a whole.
        let (mut at_a, mut at_b) = (sent_a.last().unwrap().clone(), sent_b.last().unwrap().clone());
        for _ in 0..4 {
            x.a(&format!("{}\n2;n;1\n", at_a.rsplit_once(';').unwrap().0)).ok();
            x.b(&format!("{}\n2,N,1\n", at_b.rsplit_once(',').unwrap().0)).ok();
            let (to_a, to_b) = (x.to_a(), x.to_b());
            println!("{first}: A has {at_a}, B has {at_b}; then to A {to_a:?}, to B {to_b:?}");
            at_a = to_a.last().cloned().unwrap_or(at_a);
            at_b = to_b.last().cloned().unwrap_or(at_b);
        }
        assert!(at_a.to_lowercase().starts_with("1;p;4") && at_b.starts_with("1,P,4"), "{first}: A has {at_a}, and B {at_b}");
    }
}

#[test]
fn what_a_side_gets_replaced_is_no_edit_when_it_comes_back() {
    for encoding in ["windows-1252", "cp850"] {
        let there = super::THERE
            .replace("name = \"changes_{job}.csv\"", &format!("name = \"changes_{{job}}.csv\"\nencoding = \"{encoding}\"\nencoding_errors = \"replace\""));
        let back = super::BACK.replace("format = \"csv\"\n[routes.ba.map]", &format!("format = \"csv\"\nencoding = \"{encoding}\"\n[routes.ba.map]"));
        let x = Exchange::of(&format!("{there}{back}"));
        x.a("1;Łukasz;1\n").ok();
        assert_eq!(x.to_b(), ["1,?UKASZ,1,added"], "{encoding}");
        x.b("1,?UKASZ,1\n").ok();
        assert_eq!(x.to_a(), nothing(), "{encoding}: an echo is no edit");
        // What B changes beside it reaches A, whose name stays whole.
        x.b("1,?UKASZ,7\n").ok();
        assert_eq!(x.to_a(), ["1;Łukasz;7;modified"], "{encoding}");
        x.a("1;Łukasz;7\n").ok();
        assert_eq!(x.to_b(), nothing(), "{encoding}");
        x.b("1,ANNA,7\n").ok();
        assert_eq!(x.to_a(), ["1;ANNA;7;modified"], "{encoding}");
    }
}

/// Two programs that name their columns alike, of which each takes a record as a whole.
fn three_columns() -> Exchange {
    let route = |name: &str, from: &str, to: &str| {
        let map = "map = { k = \"k\", p = \"p\", q = \"q\", r = \"r\", op = \"sync.op\" }";
        format!(
            "[routes.{name}]\nsource = {{ path = \"{from}_out\", settle = \"20ms\" }}\ninput = {{ format = \"csv\" }}\n{map}\noutput = {{ format = \"csv\", name = \"c_{{job}}.csv\" }}\ndestination = {{ path = \"{to}_in\" }}\n[routes.{name}.sync]\ngroup = \"clients\"\nkey = [\"k\"]\n"
        )
    };
    Exchange::of(&(route("ab", "a", "b") + &route("ba", "b", "a")))
}

#[test]
fn an_edit_that_a_late_import_overwrites_comes_back_also_where_the_other_side_was_overwritten_before() {
    let x = three_columns();
    let export = |side: &str, row: &str| {
        x.drop_file(&format!("{side}_out"), &format!("k,p,q,r\n{row}\n"));
        x.w.once().ok();
    };
    export("a", "X,a1,a1,a1");
    export("b", "X,a1,a1,a1");
    x.to_a();
    x.to_b();
    // A edits p, B edits q, before either has the other's.
    export("a", "X,a4,a1,a1");
    export("b", "X,a1,b5,a1");
    let (late, first) = (x.to_a(), x.to_b());
    assert_eq!((late, first), (vec!["X,a4,b5,a1,modified".to_owned()], vec!["X,a4,a1,a1,modified".to_owned()]));
    // B imports A's, and loses its q by that. A edits r meanwhile, and has not imported B's.
    export("b", "X,a4,a1,a1");
    export("a", "X,a4,a1,a6");
    assert_eq!(x.to_b(), ["X,a4,a1,a6,modified"]);
    // Now A does, and loses its r by that; B has it.
    export("b", "X,a4,a1,a6");
    export("a", "X,a4,b5,a1");
    let (mut at_a, mut at_b) = ("X,a4,b5,a1".to_owned(), "X,a4,a1,a6".to_owned());
    for _ in 0..4 {
        let (to_a, to_b) = (x.to_a(), x.to_b());
        let taken = |lines: Vec<String>, has: String| lines.last().and_then(|l| l.rsplit_once(',')).map_or(has, |(row, _)| row.to_owned());
        (at_a, at_b) = (taken(to_a, at_a), taken(to_b, at_b));
        export("a", &at_a);
        export("b", &at_b);
    }
    assert_eq!((at_a.as_str(), at_b.as_str()), ("X,a4,b5,a6", "X,a4,b5,a6"));
}

#[test]
fn a_value_that_was_set_back_before_it_was_imported_is_told_from_the_one_before() {
    let x = agreed("", "");
    for value in [2, 3, 2] {
        x.a(&format!("1;k;{value}\n2;n;1\n")).ok();
    }
    assert_eq!(x.to_b(), ["1,K,2,modified", "1,K,3,modified", "1,K,2,modified"]);
    // B imports all of it, and then changes it to any of these.
    x.b("1,K,2\n2,N,1\n").ok();
    for value in [1, 3, 2] {
        x.b(&format!("1,K,{value}\n2,N,1\n")).ok();
        assert_eq!(x.to_a(), [format!("1;k;{value};modified")]);
        x.a(&format!("1;k;{value}\n2;n;1\n")).ok();
        assert_eq!(x.to_b(), nothing());
    }
}
