//! Record-level synchronisation, from outside: each side learns what the other changed, and nothing twice.

mod crossing;
mod databases;
mod decided;
mod live;
mod model;
mod parts;

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use crate::world::{Output, World};

/// Two programs in folders, a route each way, and the relay between.
struct Exchange {
    w: World,
    files: Cell<u32>,
}

const THERE: &str = r#"
[routes.ab.source]
path = "a_out"
settle = "20ms"
[routes.ab.input]
format = "csv"
delimiter = ";"
decimal = ","
types = { Solde = "decimal" }
[routes.ab.map]
code = "CodeClient"
nom = "Nom | trim | upper"
solde = "Solde"
op = "sync.op"
[routes.ab.output]
format = "csv"
name = "changes_{job}.csv"
[routes.ab.destination]
path = "b_in"
[routes.ab.sync]
group = "clients"
key = ["code"]
"#;

const BACK: &str = r#"
[routes.ba.source]
path = "b_out"
settle = "20ms"
[routes.ba.input]
format = "csv"
[routes.ba.map]
CodeClient = "code"
Nom = "nom"
Solde = "solde | decimal"
op = "sync.op"
[routes.ba.output]
format = "csv"
delimiter = ";"
decimal = ","
name = "retour_{job}.csv"
[routes.ba.destination]
path = "a_in"
[routes.ba.sync]
group = "clients"
key = ["CodeClient"]
"#;

impl Exchange {
    /// Both directions, with these further lines of `sync` on each.
    fn both(there: &str, back: &str) -> Self {
        Self::of(&format!("{THERE}{there}\n{BACK}{back}\n"))
    }
    /// One direction alone.
    fn one(more: &str) -> Self {
        Self::of(&format!("{THERE}{more}\n"))
    }
    fn of(config: &str) -> Self {
        let w = World::new(config);
        for folder in ["a_out", "a_in", "b_out", "b_in"] {
            fs::create_dir(w.path(folder)).unwrap();
        }
        Self { w, files: Cell::new(0) }
    }
    fn drop_file(&self, folder: &str, text: &str) -> String {
        self.files.set(self.files.get() + 1);
        // Each export is later than the one before, also for a clock of coarse steps.
        std::thread::sleep(Duration::from_millis(5));
        let name = format!("export{}.csv", self.files.get());
        self.w.write(&format!("{folder}/{name}"), text);
        name
    }
    /// A exports this, and the relay runs.
    fn a(&self, rows: &str) -> Output {
        self.drop_file("a_out", &format!("CodeClient;Nom;Solde\n{rows}"));
        self.w.once()
    }
    /// B exports this, and the relay runs.
    fn b(&self, rows: &str) -> Output {
        self.drop_file("b_out", &format!("code,nom,solde\n{rows}"));
        self.w.once()
    }
    /// What was delivered to a side since the last look, without headers.
    fn taken(&self, folder: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, bytes) in self.w.files(folder) {
            lines.extend(String::from_utf8(bytes).unwrap().lines().skip(1).map(str::to_owned));
            fs::remove_file(self.w.path(&format!("{folder}/{name}"))).unwrap();
        }
        lines
    }
    fn to_b(&self) -> Vec<String> {
        self.taken("b_in")
    }
    fn to_a(&self) -> Vec<String> {
        self.taken("a_in")
    }
    fn records(&self) -> serde_json::Value {
        self.w.history().last().unwrap()["records"].clone()
    }
    fn last(&self) -> u64 {
        self.w.history().last().unwrap()["job"].as_u64().unwrap()
    }
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn only_what_is_added_or_modified_is_sent() {
    let x = Exchange::one("");
    x.a("001;dupont;1234,50\n002;martin;0\n").ok();
    assert_eq!(x.to_b(), ["001,DUPONT,1234.50,added", "002,MARTIN,0,added"]);
    // Written otherwise, and the same after mapping and typing.
    x.a("002; Martin ;0,00\n001;dupont;1234,5\n003;durand;7\n").ok();
    assert_eq!(x.to_b(), ["003,DURAND,7,added"]);
    let r = x.records();
    assert_eq!((r["read"].as_u64(), r["written"].as_u64(), r["unchanged"].as_u64()), (Some(3), Some(1), Some(2)));
    x.a("001;dupont;1235\n002;martin;0\n003;durand;7\n").ok();
    assert_eq!(x.to_b(), ["001,DUPONT,1235,modified"]);
}

#[test]
fn the_same_export_twice_sends_nothing_and_is_delivered_with_nothing_written() {
    let x = Exchange::one("");
    x.a("001;dupont;1\n").ok();
    x.to_b();
    x.a("001;dupont;1\n").ok();
    assert_eq!(x.to_b(), nothing());
    let job = x.w.history().pop().unwrap();
    assert_eq!((job["state"].as_str(), job["records"]["written"].as_u64(), job["records"]["unchanged"].as_u64()), (Some("delivered"), Some(0), Some(1)));
    assert_eq!(job["deliveries"].as_array().unwrap().len(), 0);
    assert_eq!(x.w.archived("ab").len(), 2);
}

#[test]
fn keys_that_lost_their_zeros_are_no_new_records() {
    let x = Exchange::one("");
    x.a("001;dupont;1\n002;martin;2\n003;durand;3\n").ok();
    x.to_b();
    x.a("1;dupont;1\n2;martin;2\n3;durand;3\n").code(1).says("by zeros before or blanks around alone").says("\"1\" for \"001\"");
    assert_eq!((x.to_b(), x.w.history().last().unwrap()["state"].as_str()), (nothing(), Some("held")));
    // One of many may be a record of its own.
    x.a("001;dupont;1\n002;martin;2\n003;durand;3\n3;petit;4\n040;roux;5\n").ok();
    assert_eq!(x.to_b(), ["3,PETIT,4,added", "040,ROUX,5,added"]);
    // A program that imports keys as numbers gives them back so.
    let x = Exchange::both("", "");
    x.a("001;dupont;1\n002;martin;2\n").ok();
    x.b("1,DUPONT,1\n2,MARTIN,2\n").code(1).says("nothing is sent");
    assert_eq!(x.to_a(), nothing());
}

#[test]
fn an_old_export_is_relayed_once_more_only_where_that_is_meant() {
    let x = Exchange::one("");
    x.a("001;dupont;1\n").ok();
    let old = x.last().to_string();
    x.a("001;dupont;2\n").ok();
    x.to_b();
    x.w.run(&["replay", &old]).code(2).says("its old values would go to B");
    x.w.run(&["replay", &x.last().to_string()]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), nothing());
    x.w.run(&["replay", &old, "--force"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["001,DUPONT,1,modified"]);
}

#[test]
fn an_export_that_returns_to_an_earlier_state_is_no_duplicate() {
    let x = Exchange::of(&THERE.replace("settle = \"20ms\"", "settle = \"20ms\"\nduplicates = \"skip\""));
    let export = |rows: &str| {
        std::thread::sleep(Duration::from_millis(5));
        x.w.write("a_out/export.csv", format!("CodeClient;Nom;Solde\n{rows}"));
        x.w.once().ok();
        x.to_b()
    };
    export("001;dupont;1\n");
    assert_eq!(export("001;dupont;2\n"), ["001,DUPONT,2,modified"]);
    assert_eq!(export("001;dupont;1\n"), ["001,DUPONT,1,modified"]);
    assert_eq!((export("001;dupont;1\n"), x.w.history().last().unwrap()["state"].as_str()), (nothing(), Some("duplicate")));
}

#[test]
fn what_a_side_exports_back_is_not_sent_back() {
    let x = Exchange::both("", "");
    x.a("001;dupont;1234,50\n").ok();
    x.to_b();
    // B writes it its own way; the map back is no inverse of the map there.
    x.b("001,DUPONT,1234.5\n").ok();
    assert_eq!(x.to_a(), nothing());
    x.b("001,DUPONT,1234.5\n002,NEUF,3\n").ok();
    assert_eq!(x.to_a(), ["002;NEUF;3;added"]);
    x.a("001;dupont;1234,50\n002;NEUF;3\n").ok();
    assert_eq!(x.to_b(), nothing());
    // A still shows what it had before it took B's change: no change of A's.
    x.b("001,DUPONT,1234.5\n002,VIEUX,3\n").ok();
    assert_eq!(x.to_a(), ["002;VIEUX;3;modified"]);
    x.a("001;dupont;1234,50\n002;NEUF;3\n").ok();
    assert_eq!(x.to_b(), nothing());
}

#[test]
fn columns_that_one_side_alone_has_changed_are_merged() {
    let x = Exchange::both("", "");
    x.a("001;dupont;1\n").ok();
    x.to_b();
    x.b("001,DUPONT,1\n").ok();
    x.a("001;dupont;2\n").ok();
    assert_eq!(x.to_b(), ["001,DUPONT,2,modified"]);
    x.b("001,DUPOND,1\n").ok();
    assert_eq!(x.to_a(), ["001;DUPOND;2;modified"]);
    x.b("001,DUPOND,2\n").ok();
    x.a("001;DUPOND;2\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn a_change_that_a_delivery_on_its_way_overwrites_comes_back() {
    let x = Exchange::both("", "");
    x.a("001;Dupont;1,00\n").ok();
    x.to_b();
    x.b("001,DUPONT,1.00\n").ok();
    // Both change a column of their own; A's delivery is made before B's change is known, and carries B's old value.
    x.a("001;Durand;1,00\n").ok();
    x.b("001,DUPONT,7.00\n").ok();
    assert_eq!(x.to_b(), ["001,DURAND,1.00,modified"]);
    assert_eq!(x.to_a(), ["001;Durand;7,00;modified"]);
    // B has imported it, and lost its own change: that is no change of B's, and A's record brings it back.
    x.b("001,DURAND,1.00\n").ok();
    assert_eq!(x.to_a(), nothing());
    x.a("001;Durand;7,00\n").ok();
    assert_eq!(x.to_b(), ["001,DURAND,7.00,modified"]);
    x.b("001,DURAND,7.00\n").ok();
    x.a("001;Durand;7,00\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn what_a_user_changes_in_a_record_that_was_just_imported_goes_back_as_a_change() {
    let x = Exchange::both("", "");
    x.a("001;dupont;1\n002;martin;5\n").ok();
    x.to_b();
    // B has imported both, and its user has changed one and added another before B's first export.
    x.b("001,DUPONT,1\n002,MARTIN SA,5\n003,NEUF,0\n").ok();
    assert_eq!(x.to_a(), ["002;MARTIN SA;5;modified", "003;NEUF;0;added"]);
    // A record that both created, each without the other, is a conflict: B's export is older than what was delivered.
    let x = Exchange::both("", "");
    x.drop_file("b_out", "code,nom,solde\n001,AUTRE,7\n");
    x.drop_file("a_out", "CodeClient;Nom;Solde\n001;dupont;7\n");
    x.w.once().code(1);
    let sent = (x.to_a().len(), x.to_b().len());
    assert!(sent == (1, 0) || sent == (0, 1), "{sent:?}: one goes first, the other is parked");
}

/// Both have changed the name of 001 since they last agreed.
fn in_conflict(there: &str, back: &str) -> (Exchange, Output) {
    let x = Exchange::both(there, back);
    x.a("001;dupont;1\n002;martin;5\n").ok();
    x.b("001,DUPONT,1\n002,MARTIN,5\n").ok();
    x.to_b();
    x.a("001;durand;1\n002;martin;5\n").ok();
    x.to_b();
    let out = x.b("001,DUPUIS,1\n002,MARTIN,6\n");
    (x, out)
}

#[test]
fn a_column_that_both_have_changed_is_parked_for_an_operator() {
    let (x, out) = in_conflict("", "");
    let job = x.last().to_string();
    out.code(1).says("1 conflicts wait for you").says(&format!("passerelle resolve {job} --take a|b|FILE")).says("1 conflicts to resolve");
    let shown = x.w.run(&["show", &job]).ok();
    assert!(shown.stdout.contains("2 read, 1 written, 0 skipped, 0 rejected, 0 unchanged, 1 in conflict"), "{}", shown.stdout);
    assert_eq!(x.to_a(), ["002;martin;6;modified"], "the others go on");
    let r = x.records();
    assert_eq!((r["read"].as_u64(), r["written"].as_u64(), r["parked"].as_u64()), (Some(2), Some(1), Some(1)));
    let name = x.w.names("relay/errors/ba").pop().unwrap();
    assert!(name.ends_with(".conflicts.csv"), "{name}");
    let text = x.w.read(&format!("relay/errors/ba/{name}"));
    assert_eq!(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"), "_key,_column,_base,_a,_b\n001,Nom,dupont,durand,DUPUIS\n");
    // The same once more is no news.
    x.b("001,DUPUIS,1\n002,MARTIN,6\n").ok();
    assert_eq!(x.to_a(), nothing());
}

#[test]
fn side_a_is_the_one_that_the_first_route_of_the_file_reads() {
    for (there, first) in [(THERE.to_owned(), "ab"), (THERE.replace("routes.ab", "routes.zz"), "zz")] {
        let x = Exchange::of(&format!("{there}{BACK}"));
        x.a("001;dupont;1\n").ok();
        let shown: serde_json::Value = serde_json::from_str(&x.w.run(&["sync", "show", "clients", "--json"]).ok().stdout).unwrap();
        assert_eq!((&shown["sides"][0]["side"], &shown["sides"][0]["route"]), (&"a".into(), &first.into()), "{shown}");
    }
}

#[test]
fn a_parked_conflict_is_settled_for_either_side() {
    for (take, to_a, to_b) in [("a", nothing(), vec!["001,DURAND,1,modified".to_owned()]), ("b", vec!["001;DUPUIS;1;modified".to_owned()], nothing())] {
        let (x, out) = in_conflict("", "");
        out.code(1);
        let job = x.last().to_string();
        x.to_a();
        assert_eq!(x.w.names("relay/errors/ba").len(), 1);
        x.w.run(&["resolve", &job, "--take", take]).ok().says("1 conflicts");
        x.w.once().ok();
        assert_eq!((x.to_a(), x.to_b()), (to_a, to_b), "{take}");
        assert!(x.w.names("relay/errors/ba").is_empty(), "what is settled is no error");
        x.w.run(&["resolve", &job, "--take", take]).code(2).says("no conflict");
    }
}

#[test]
fn of_two_exports_of_one_name_each_has_its_own_file_of_conflicts() {
    let (x, out) = in_conflict("", "");
    out.code(1);
    let (first, job) = (x.w.names("relay/errors/ba").pop().unwrap(), x.last().to_string());
    x.a("001;durand;1\n002;maas;6\n").ok();
    let export = first.strip_suffix(".conflicts.csv").unwrap();
    x.w.write(&format!("b_out/{export}"), "code,nom,solde\n001,DUPUIS,1\n002,MOREL,6\n");
    let later = x.w.once();
    let name = format!("{}_{first}", x.last());
    later.code(1).says(&format!("errors/ba/{name}"));
    assert!(x.w.read(&format!("relay/errors/ba/{name}")).contains("002,Nom,martin,maas,MOREL"));
    // Each goes when it is settled.
    x.w.run(&["resolve", &x.last().to_string(), "--take", "b"]).ok();
    assert_eq!(x.w.names("relay/errors/ba"), [first]);
    x.w.once().ok();
    x.w.run(&["resolve", &job, "--take", "b"]).ok();
    assert!(x.w.names("relay/errors/ba").is_empty());
}

#[test]
fn conflicts_of_a_later_export_stay_when_those_of_an_earlier_one_of_its_name_are_settled() {
    let (x, out) = in_conflict("", "");
    out.code(1);
    let (first, job) = (x.w.names("relay/errors/ba").pop().unwrap(), x.last().to_string());
    // The operator takes the file away, to write into it.
    fs::rename(x.w.path(&format!("relay/errors/ba/{first}")), x.w.path("decided.csv")).unwrap();
    x.a("001;durand;1\n002;maas;6\n").ok();
    x.w.write(&format!("b_out/{}", first.strip_suffix(".conflicts.csv").unwrap()), "code,nom,solde\n001,DUPUIS,1\n002,MOREL,6\n");
    x.w.once().code(1).says(&format!("errors/ba/{first}"));
    x.w.run(&["resolve", &job, "--take", "b"]).ok();
    assert!(x.w.read(&format!("relay/errors/ba/{first}")).contains("002,Nom,martin,maas,MOREL"));
}

#[test]
fn a_conflict_stays_parked_however_often_either_side_exports_the_same() {
    let (x, out) = in_conflict("", "");
    out.code(1);
    let job = x.last().to_string();
    x.to_a();
    for _ in 0..2 {
        x.a("001;durand;1\n002;martin;6\n").ok();
        x.b("001,DUPUIS,1\n002,MARTIN,6\n").ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    }
    // What else is changed in it is merged all the same.
    x.a("001;durand;9\n002;martin;6\n").ok();
    assert_eq!(x.to_b(), ["001,DUPUIS,9,modified"]);
    x.b("001,DUPUIS,9\n002,MARTIN,6\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    x.w.run(&["resolve", &job, "--take", "b"]).ok().says("1 conflicts");
    x.w.once().ok();
    assert_eq!(x.to_a(), ["001;DUPUIS;9;modified"]);
    x.a("001;DUPUIS;9\n002;martin;6\n").ok();
    x.b("001,DUPUIS,9\n002,MARTIN,6\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn a_record_that_comes_back_where_it_was_deleted_stands_in_conflict_with_what_the_other_side_made_of_it() {
    let x = Exchange::both("deletes = \"send\"\nmax_deletes = \"100%\"", "deletes = \"send\"\nmax_deletes = \"100%\"");
    x.a("1;k;1\n2;n;1\n").ok();
    x.b("1,K,1\n2,N,1\n").ok();
    x.to_b();
    x.b("1,K,1\n").ok();
    assert_eq!(x.to_a(), ["2;n;1;deleted"]);
    x.a("1;k;1\n2;edited;1\n").code(1).says("in conflict");
    // B's user puts the record back by hand: A's edit is not overwritten.
    x.b("1,K,1\n2,BACK,1\n").code(1).says("in conflict");
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    x.a("1;k;1\n2;edited;1\n").ok();
    let jobs = x.w.history();
    let parked = jobs.iter().filter(|j| j["records"]["parked"] == 1).map(|j| j["job"].to_string()).next_back().unwrap();
    x.w.run(&["resolve", &parked, "--take", "b"]).ok().says("1 conflicts");
    x.w.once().ok();
    assert_eq!((x.to_a(), x.to_b()), (vec!["2;BACK;1;modified".to_owned()], nothing()));
    x.a("1;k;1\n2;BACK;1\n").ok();
    x.b("1,K,1\n2,BACK,1\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
}

#[test]
fn a_side_that_has_taken_a_mass_deletion_is_not_held_for_it() {
    for left in ["1", ""] {
        let keep = "deletes = \"send\"\nmax_deletes = \"20%\"";
        let x = Exchange::both(keep, keep);
        x.a("1;a;1\n2;b;1\n3;c;1\n").ok();
        x.b("1,A,1\n2,B,1\n3,C,1\n").ok();
        x.to_b();
        let (a, b) = if left.is_empty() { ("", "") } else { ("1;a;1\n", "1,A,1\n") };
        x.a(a).code(1).says("--accept-deletes");
        let job = x.last().to_string();
        x.w.run(&["retry", &job, "--accept-deletes"]).ok();
        x.w.once().ok();
        assert_eq!(x.to_b().len(), if left.is_empty() { 3 } else { 2 });
        x.b(b).ok();
        x.a(a).ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    }
}

#[test]
fn what_was_sent_and_not_seen_yet_still_stands_against_the_other_sides_change() {
    let x = Exchange::both("", "");
    x.a("001;dupont;1\n").ok();
    x.b("001,DUPONT,1\n").ok();
    x.to_b();
    x.a("001;durand;1\n").ok();
    // A exports the same once more before B has imported it, and B's user changes the name.
    x.a("001;durand;1\n").ok();
    assert_eq!(x.to_b(), ["001,DURAND,1,modified"]);
    x.a("001;durand;2\n").ok();
    x.b("001,DUPUIS,1\n").code(1).says("in conflict");
    assert_eq!(x.to_a(), nothing(), "A's change would be lost in silence");
}

#[test]
fn a_conflicts_file_that_was_edited_settles_each_row_by_itself() {
    let (x, _) = in_conflict("", "");
    x.to_a();
    let job = x.last().to_string();
    x.w.write("edited.csv", "\u{feff}_key;_column;_base;_a;_b;_take\r\n001;Nom;dupont;durand;DUPUIS;B\r\n");
    x.w.run(&["resolve", &job, "--take", "edited.csv"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_a(), ["001;DUPUIS;1;modified"]);
    let (x, _) = in_conflict("", "");
    let job = x.last().to_string();
    x.to_a();
    // The winning value in both columns says the same.
    x.w.write("edited.csv", "_key,_column,_base,_a,_b\n001,Nom,dupont,durand,durand\n");
    x.w.run(&["resolve", &job, "--take", "edited.csv"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["001,DURAND,1,modified"]);
    x.w.write("edited.csv", "_key,_column\n");
    x.w.run(&["resolve", &job, "--take", "edited.csv"]).code(2).says("_take");
}

#[test]
fn a_policy_settles_conflicts_without_an_operator() {
    let (x, out) = in_conflict("conflict = \"target\"", "conflict = \"source\"");
    out.ok();
    assert_eq!(x.to_a(), ["001;DUPUIS;1;modified", "002;martin;6;modified"]);
    let (x, out) = in_conflict("conflict = \"source\"", "conflict = \"target\"");
    out.ok();
    assert_eq!(x.to_a(), ["002;martin;6;modified"]);
    x.a("001;durand;1\n002;martin;6\n").ok();
    assert_eq!(x.to_b(), ["001,DURAND,1,modified"], "what A has goes to B again");
}

#[test]
fn the_newer_record_wins_where_a_column_tells() {
    let config = "[routes.ab]\nsource = { path = \"a_out\", settle = \"20ms\" }\ninput = { format = \"csv\" }\nmap = { code = \"k\", nom = \"n\", le = \"d\" }\noutput = { format = \"csv\", name = \"{job}.csv\" }\ndestination = { path = \"b_in\" }\nsync = { group = \"g\", key = [\"code\"], conflict = \"newest:le\" }\n[routes.ba]\nsource = { path = \"b_out\", settle = \"20ms\" }\ninput = { format = \"csv\" }\nmap = { k = \"code\", n = \"nom\", d = \"le\" }\noutput = { format = \"csv\", name = \"{job}.csv\" }\ndestination = { path = \"a_in\" }\nsync = { group = \"g\", key = [\"k\"], conflict = \"newest:d\" }\n";
    for (day, to_a) in [("2026-03-02", vec!["1,bbb,2026-03-02".to_owned()]), ("2026-02-28", nothing())] {
        let x = Exchange::of(config);
        let (a, b) = (
            |t: &str| {
                x.drop_file("a_out", t);
                x.w.once()
            },
            |t: &str| {
                x.drop_file("b_out", t);
                x.w.once()
            },
        );
        a("k,n,d\n1,x,2026-01-01\n").ok();
        b("code,nom,le\n1,x,2026-01-01\n").ok();
        a("k,n,d\n1,aaa,2026-03-01\n").ok();
        b(&format!("code,nom,le\n1,bbb,{day}\n")).ok();
        assert_eq!(x.to_a(), to_a, "{day}");
    }
}

#[test]
fn a_record_that_is_missing_is_sent_as_deleted_where_asked() {
    let x = Exchange::one("deletes = \"send\"\nmax_deletes = \"50%\"");
    x.a("001;dupont;1\n002;martin;2\n003;durand;3\n").ok();
    x.to_b();
    x.a("001;dupont;1\n003;durand;4\n").ok();
    assert_eq!(x.to_b(), ["003,DURAND,4,modified", "002,MARTIN,2,deleted"]);
    assert_eq!(x.records()["deleted"].as_u64(), Some(1));
    x.a("001;dupont;1\n003;durand;4\n").ok();
    assert_eq!(x.to_b(), nothing(), "it is told once");
    // Not asked for, a missing record means nothing.
    let x = Exchange::one("");
    x.a("001;dupont;1\n002;martin;2\n").ok();
    x.to_b();
    x.a("001;dupont;1\n").ok();
    x.a("001;dupont;1\n002;martin;2\n").ok();
    assert_eq!(x.to_b(), nothing());
}

#[test]
fn a_deletion_is_taken_once_by_the_other_side_and_never_comes_back() {
    let x = Exchange::both("deletes = \"send\"\nmax_deletes = 5", "deletes = \"send\"\nmax_deletes = 5");
    x.a("001;dupont;1\n002;martin;2\n").ok();
    x.b("001,DUPONT,1\n002,MARTIN,2\n").ok();
    x.to_b();
    x.a("001;dupont;1\n").ok();
    assert_eq!(x.to_b(), ["002,MARTIN,2,deleted"]);
    x.b("001,DUPONT,1\n002,MARTIN,2\n").ok();
    assert_eq!(x.to_a(), nothing(), "B has not taken it yet");
    x.b("001,DUPONT,1\n").ok();
    x.a("001;dupont;1\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    assert_eq!(x.w.json(&["sync", "show", "clients", "--json"])["records"], 1);
}

#[test]
fn a_mass_deletion_is_held_until_an_operator_accepts_it() {
    let x = Exchange::one("deletes = \"send\"");
    x.a("1;a;1\n2;b;1\n3;c;1\n4;d;1\n").ok();
    x.to_b();
    x.a("1;a;9\n").code(1).says("3 of 4 records are missing");
    assert_eq!(x.to_b(), nothing(), "nothing at all is sent");
    let job = x.w.history().pop().unwrap();
    assert_eq!(job["state"], "held");
    let number = job["job"].to_string();
    x.w.run(&["retry", &number]).ok();
    x.w.once().code(1).says("--accept-deletes");
    x.w.run(&["retry", &number, "--accept-deletes"]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["1,A,9,modified", "2,B,1,deleted", "3,C,1,deleted", "4,D,1,deleted"]);
}

#[test]
fn an_empty_export_deletes_nothing_by_itself() {
    for text in ["CodeClient;Nom;Solde\n", ""] {
        let x = Exchange::one("deletes = \"send\"\nmax_deletes = \"100%\"");
        x.a("1;a;1\n2;b;1\n").ok();
        x.to_b();
        x.drop_file("a_out", text);
        x.w.once().code(1).says("the export is empty");
        assert_eq!(x.to_b(), nothing());
        x.w.run(&["retry", "2", "--accept-deletes"]).ok();
        x.w.once().ok();
        assert_eq!(x.to_b(), ["1,A,1,deleted", "2,B,1,deleted"], "{text:?}");
    }
}

#[test]
fn a_newer_full_export_supersedes_an_older_one_that_is_held_failed_or_waiting() {
    let x = Exchange::one("deletes = \"send\"");
    x.a("1;a;1\n2;b;1\n").ok();
    x.to_b();
    x.a("1;a;1\n").code(1);
    x.a("1;a;1\n2;b;2\n").ok();
    assert_eq!(x.to_b(), ["2,B,2,modified"]);
    assert_eq!(x.w.states(), ["delivered", "superseded", "delivered"]);
    x.w.run(&["retry", "2", "--accept-deletes"]).code(2);
    // Failed: its file goes to the archive, and its note goes.
    x.drop_file("a_out", "Code;Nom;Solde\n1;a;1\n");
    x.w.once().code(1);
    x.a("1;a;1\n2;b;2\n").ok();
    assert_eq!(x.w.states()[3..], ["superseded", "delivered"]);
    assert_eq!(x.w.names("relay/errors"), Vec::<String>::new());
    // Waiting for B: two exports at once, of which the later holds all.
    fs::rename(x.w.path("b_in"), x.w.path("away")).unwrap();
    x.a("1;a;3\n2;b;2\n").code(3);
    x.a("1;a;4\n2;b;2\n").code(3);
    fs::rename(x.w.path("away"), x.w.path("b_in")).unwrap();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["1,A,4,modified"]);
    assert_eq!(x.w.states()[5..], ["superseded", "delivered"]);
    assert_eq!(x.w.names("b_in"), Vec::<String>::new(), "no temporary file is left");
}

#[test]
fn an_older_export_that_comes_later_changes_nothing_back() {
    let x = Exchange::one("");
    x.a("1;a;1\n").ok();
    let old = x.w.path("old.csv");
    fs::write(&old, "CodeClient;Nom;Solde\n1;z;0\n").unwrap();
    fs::File::open(&old).unwrap().set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
    x.to_b();
    fs::rename(&old, x.w.path("a_out/old.csv")).unwrap();
    x.w.once().ok();
    assert_eq!(x.to_b(), nothing());
    assert_eq!(x.w.states(), ["delivered", "superseded"]);
    assert_eq!(x.w.archived("ab").len(), 2);
}

#[test]
fn a_key_that_stands_twice_or_is_empty_is_rejected_and_no_deletion_is_sent_where_one_cannot_be_read() {
    let x = Exchange::one("deletes = \"send\"\nmax_deletes = 9");
    x.a("1;a;1\n2;b;1\n3;c;1\n").ok();
    x.to_b();
    x.a("1;a;1\n1;again;1\n2;b;1\n").ok();
    assert_eq!(x.to_b(), ["3,C,1,deleted"]);
    assert_eq!(x.records()["rejected"].as_u64(), Some(1));
    let rejects = x.w.names("relay/errors/ab").pop().unwrap();
    assert!(x.w.read(&format!("relay/errors/ab/{rejects}")).contains("stands in an earlier record"), "{rejects}");
    x.a(" ;nobody;1\n1;a;1\n").ok().says("are not sent as deleted");
    assert_eq!((x.to_b(), x.records()["rejected"].as_u64()), (nothing(), Some(1)));
    // Rejected for another reason, a record is there all the same.
    x.a("1;a;x\n2;b;1\n").ok();
    assert_eq!(x.to_b(), nothing());
    x.a("2;b;1\n").ok();
    assert_eq!(x.to_b(), ["1,A,1,deleted"]);
}

#[test]
fn a_record_that_where_leaves_out_now_is_sent_as_deleted_where_asked() {
    let config = format!(
        "{}deletes = \"send\"\nmax_deletes = 5\n",
        THERE.replacen("[routes.ab.source]", "[routes.ab]\nwhere = \"Nom != 'parti'\"\n[routes.ab.source]", 1)
    );
    let x = Exchange::of(&config);
    x.a("1;a;1\n2;b;1\n").ok();
    x.to_b();
    x.a("1;a;1\n2;parti;1\n").ok();
    assert_eq!(x.to_b(), ["2,B,1,deleted"]);
    let r = x.records();
    assert_eq!((r["skipped"].as_u64(), r["deleted"].as_u64(), r["unchanged"].as_u64()), (Some(1), Some(1), Some(1)));
    x.a("1;a;1\n2;parti;1\n").ok();
    assert_eq!(x.to_b(), nothing());
    x.a("1;a;1\n2;b;1\n").ok();
    assert_eq!(x.to_b(), ["2,B,1,added"]);
}

#[test]
fn an_incremental_export_says_nothing_of_what_it_lacks() {
    let x = Exchange::one("full = false");
    x.a("1;a;1\n2;b;1\n").ok();
    x.a("2;b;2\n").ok();
    x.a("1;a;1\n").ok();
    assert_eq!(x.to_b(), ["1,A,1,added", "2,B,1,added", "2,B,2,modified"]);
    assert_eq!(x.w.states(), ["delivered"; 3]);
}

#[test]
fn a_changed_map_is_told_and_nothing_is_sent_twice() {
    for (one_way, config) in [(true, THERE.to_owned()), (false, format!("{THERE}{BACK}"))] {
        let x = Exchange::of(&config);
        x.a("1;a;1\n2;b;1\n").ok();
        x.to_b();
        if !one_way {
            x.b("1,A,1\n2,B,1\n").ok();
        }
        x.w.config(&config.replace("nom = \"Nom | trim | upper\"", "nom = \"Nom | trim | upper | replace('A', 'Z')\"\nvu = \"Nom\""));
        let out = x.a("1;a;1\n2;b;1\n").ok();
        assert_eq!(x.to_b(), nothing());
        if one_way {
            out.says("the map has changed");
        }
        x.a("1;a;2\n2;b;1\n").ok();
        assert_eq!(x.to_b().len(), 1);
    }
}

#[test]
fn an_outage_of_b_loses_no_change_and_repeats_none() {
    let x = Exchange::one("full = false");
    x.a("1;a;1\n").ok();
    x.to_b();
    fs::rename(x.w.path("b_in"), x.w.path("away")).unwrap();
    x.a("1;a;2\n2;b;1\n").code(3);
    x.a("2;b;1\n3;c;1\n").code(3);
    fs::rename(x.w.path("away"), x.w.path("b_in")).unwrap();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["1,A,2,modified", "2,B,1,added", "3,C,1,added"]);
}

#[test]
fn a_kill_between_any_two_facts_repeats_and_loses_no_change() {
    for point in ["sealed", "transformed", "uploaded", "publishing", "published", "archived"] {
        let x = Exchange::both("", "");
        x.a("1;a;1\n").ok();
        x.to_b();
        x.b("1,A,1\n").ok();
        x.drop_file("a_out", "CodeClient;Nom;Solde\n1;a;2\n2;b;1\n");
        let killed = x.w.run_with(&["run", "--once"], &[("PASSERELLE_POINTS", &format!("kill=before:{point}"))]);
        x.w.once().ok();
        assert_eq!(x.to_b(), ["1,A,2,modified", "2,B,1,added"], "{point}: {}", killed.stderr);
        x.a("1;a;2\n2;b;1\n").ok();
        x.b("1,A,2\n2,B,1\n").ok();
        assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()), "{point}");
    }
}

#[test]
fn a_lost_memory_holds_the_next_export_and_names_the_command() {
    let x = Exchange::both("", "");
    x.a("1;a;1\n2;b;1\n").ok();
    x.b("1,A,1\n2,B,1\n").ok();
    x.to_b();
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(x.w.path(&format!("relay/journal.db{suffix}")));
    }
    x.a("1;a;1\n2;b;2\n").code(1).says("sync rebuild clients");
    assert_eq!((x.to_b(), x.w.history().pop().unwrap()["state"].as_str()), (nothing(), Some("held")));
    let held = x.last().to_string();
    x.w.run(&["sync", "rebuild", "clients"]).ok().says("nothing was sent");
    x.w.run(&["retry", &held]).ok();
    x.w.once().ok();
    assert_eq!(x.to_b(), ["2,B,2,modified"]);
}

#[test]
fn two_programs_that_hold_data_already_meet_without_anything_being_sent() {
    let x = Exchange::both("", "");
    x.drop_file("a_out", "CodeClient;Nom;Solde\n1;a;1\n2;b;1\n");
    x.drop_file("b_out", "code,nom,solde\n1,A,1\n2,AUTRE,1\n");
    x.w.run(&["sync", "rebuild", "clients"]).ok().says("1 of them differ").says("2 are on both sides");
    x.w.once().ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), nothing()));
    x.a("1;a;5\n2;b;1\n").ok();
    assert_eq!((x.to_a(), x.to_b()), (nothing(), vec!["1,A,5,modified".to_owned()]));
    x.b("1,A,5\n2,AUTRE,1\n3,NEUF,1\n").ok();
    assert_eq!(x.to_a(), ["3;NEUF;1;added"]);
    // Without an export of each side there is nothing to rebuild from.
    let x = Exchange::both("", "");
    x.a("1;a;1\n").ok();
    x.w.run(&["sync", "rebuild", "clients"]).code(2).says("no full export of ba");
}

#[test]
fn the_memory_can_be_looked_at_exported_and_forgotten() {
    let x = Exchange::both("", "");
    x.w.run(&["sync", "show", "clients"]).ok().says("knows nothing yet");
    x.w.run(&["sync", "show", "client"]).code(2).says("did you mean clients");
    x.a("1;a;1\n2;b;1\n").ok();
    x.b("1,A,1\n2,B,1\n").ok();
    x.to_b();
    let known = x.w.json(&["sync", "show", "clients", "--json"]);
    assert_eq!((known["records"].as_u64(), known["sides"][0]["holds"].as_u64(), known["sides"][1]["holds"].as_u64()), (Some(2), Some(2), Some(2)));
    let record = x.w.json(&["sync", "show", "clients", "2", "--json"]);
    assert_eq!((record["a"]["exported"]["Nom"].as_str(), record["b"]["exported"]["nom"].as_str()), (Some("b"), Some("B")));
    x.w.run(&["sync", "show", "clients", "2"]).ok().says("side b: code = \"2\"");
    assert_eq!(x.w.run(&["sync", "export", "clients"]).ok().stdout.lines().count(), 2);
    x.w.run(&["sync", "forget", "clients"]).ok();
    x.a("1;a;1\n2;b;1\n").ok();
    assert_eq!(x.to_b(), ["1,A,1,added", "2,B,1,added"]);
}

#[test]
fn a_delivery_that_is_not_seen_for_long_is_told() {
    let x = Exchange::both("", "");
    x.a("1;a;1\n").ok();
    x.b("9,X,1\n").ok();
    let mut told = String::new();
    for _ in 0..4 {
        told = x.b("9,X,1\n").ok().stderr;
    }
    assert!(told.contains("1 records that were delivered are not seen"), "{told}");
}

#[test]
fn what_the_other_side_knew_is_at_hand_in_the_map() {
    let x = Exchange::of(&THERE.replace("op = \"sync.op\"", "op = \"sync.op\"\navant = \"sync.before.nom | default('-')\""));
    x.a("1;a;1\n").ok();
    x.a("1;b;1\n").ok();
    assert_eq!(x.to_b(), ["1,A,1,added,-", "1,B,1,modified,A"]);
}

#[test]
fn what_cannot_be_meant_is_told_by_config_check() {
    let check = |config: &str| {
        let w = World::new(config);
        w.run(&["config", "check"])
    };
    let two = |line: &str| format!("{THERE}{line}\n{BACK}");
    check(&THERE.replace("[routes.ab.destination]", "[routes.ab.destination]\nif_exists = \"replace\"")).code(2).says("would lose those that B has not taken");
    check(&THERE.replace("[routes.ab.destination]\npath = \"b_in\"", "[[routes.ab.destination]]\npath = \"b_in\"\n[[routes.ab.destination]]\npath = \"c_in\""))
        .code(2)
        .says("has one destination");
    check(&THERE.replace("[routes.ab.output]", "[routes.ab.output]\ngroup_by = [\"nom\"]\ngroup_into = \"lignes\""))
        .code(2)
        .says("without the others of its group");
    check(&THERE.replace("key = [\"code\"]", "key = [\"cod\"]")).code(2).says("did you mean code");
    check(&two("conflict = \"newest:nom2\"")).code(2).says("there is no target nom2");
    check(&two("conflict = \"later\"")).code(2).says("newest:COLUMN");
    check(&two("full = false\ndeletes = \"send\"")).code(2).says("needs full exports");
    check(&format!("{}{}", two(""), BACK.replace("routes.ba", "routes.ca").replace("b_out", "c_out"))).code(2).says("more than two routes");
    check(&two("").replace("key = [\"CodeClient\"]", "key = [\"CodeClient\", \"Nom\"]")).code(2).says("columns");
    check(&THERE.replace("code = \"CodeClient\"", "code = \"sync.op\"")).code(2).says("from the record alone");
    check(&THERE.replace("[routes.ab.source]", "[routes.ab]\nwhere = \"sync.op == 'added'\"\n[routes.ab.source]")).code(2).says("only in the map");
    check(&THERE.replace("sync.op", "sync.of")).code(2).says("sync.before.COLUMN");
    check(&THERE.replace("sync.op", "sync.before.nam")).code(2).says("did you mean sync.before.nom");
    check(&two("")).ok();
    check(&two("conflict = \"newest:nom\"")).ok().says("compares nom as a text, letter by letter");
    assert!(!check(&two("conflict = \"newest:solde\"")).ok().stderr.contains("letter by letter"));
    check(&two("").replace("Nom = \"nom\"\nSolde = \"solde | decimal\"", "Nom = \"name\"\nSolde = \"amount | decimal\""))
        .ok()
        .says("reads no columns of these names");
}

#[test]
fn a_large_export_is_compared_on_all_cores_as_a_small_one_is() {
    let x = Exchange::one("deletes = \"send\"");
    let row = |i: u32, name: &str| format!("{i:06};{name} {i} with a name that makes the file large enough for several pieces;{i},50\n");
    let all: String = (0..60_000).map(|i| row(i, "Soci\u{e9}t\u{e9}")).collect();
    x.a(&all).ok();
    assert_eq!(x.to_b().len(), 60_000);
    // One modified, one added, one deleted, one twice, one without a key, one with a wrong amount, far from each other.
    let mut rows: Vec<String> = (0..60_000).filter(|i| *i != 30_000).map(|i| row(i, if i == 45_000 { "Autre" } else { "Soci\u{e9}t\u{e9}" })).collect();
    rows.insert(20_000, row(99_999, "Neuf"));
    rows.insert(55_000, row(10, "Soci\u{e9}t\u{e9}"));
    rows[50_000] = rows[50_000].replace(",50", ",5x");
    x.a(&rows.concat()).ok();
    let r = x.records();
    let count = |name: &str| r[name].as_u64().unwrap();
    assert_eq!((count("read"), count("written"), count("rejected"), count("deleted")), (60_001, 2, 2, 1), "{r}");
    assert_eq!(count("unchanged"), 59_997);
    let sent: Vec<String> = x.to_b().iter().map(|l| format!("{}{}", &l[..8], l.rsplit(',').next().unwrap())).collect();
    assert_eq!(sent, ["099999,Nadded", "045000,Amodified", "030000,Sdeleted"]);
    x.a(&rows.concat()).ok();
    assert_eq!(x.to_b(), nothing());
}
