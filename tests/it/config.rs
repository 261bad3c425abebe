//! Every mistake at once, with file:line:column, the line underlined and the nearest name; secrets stay hidden.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::World;

fn check(text: &str) -> (i32, String) {
    let w = World::new(text);
    let out = w.run(&["config", "check"]);
    (out.code, out.stderr + &out.stdout)
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_the_nearest_name() {
    let (code, text) = check(
        "jobz = 3\n[endpoints.b]\nurl = \"sftp//b\"\n[routes.r.source]\npath = \"a\"\nsettle = \"2 parsecs\"\nempty = \"skipp\"\n[routes.r.input]\nformat = \"csv\"\ndelimeter = \";\"\nencoding = \"windows-1253x\"\n[routes.r.map]\nx = \"Nom | uper\"\ny = \"(Nom\"\n[routes.r.destination]\nendpoint = \"bb\"\npath = \"b\"\n",
    );
    assert_eq!(code, 2, "{text}");
    for wanted in [
        "passerelle.toml:1:1",
        "did you mean `jobs`?",
        "passerelle.toml:3:7",
        "passerelle.toml:6:10",
        "\"500ms\"",
        "did you mean \"skip\"?",
        "did you mean `delimiter`?",
        "there is no encoding of that name",
        "there is no filter uper",
        "did you mean upper?",
        "passerelle.toml:14:",
        "close the bracket (",
        "there is no endpoint `bb`",
    ] {
        assert!(text.contains(wanted), "«{wanted}» is not in:\n{text}");
    }
    assert!(text.contains("uper\"") && text.contains("^^^^"), "the line is shown and underlined:\n{text}");
}

/// What `config check` says of a local route with those keys, which are wrong.
fn mistakes(keys: &str) -> String {
    let (code, text) = check(&format!("{}{keys}", World::route("r", "a", "b")));
    assert_eq!(code, 2);
    text
}

#[test]
fn a_column_that_is_never_declared_is_told_where_columns_are_known() {
    let text = mistakes("[routes.r.input]\nformat = \"csv\"\nheader = false\ncolumns = [\"Nom\", \"Solde\"]\n[routes.r.map]\nx = \"Nmo\"\ny = \"Solde > 3\"\n");
    assert!(text.contains("map.x: there is no column Nmo") && text.contains("did you mean Nom?"), "{text}");
    assert!(text.contains("text is compared with a number"), "{text}");
}

#[test]
fn names_that_b_s_format_can_t_write_and_texts_that_mean_both_are_told_before_a_run() {
    let keys = "[routes.r.input]\nformat = \"csv\"\nbools = { true = [\"O\", \"\"], false = [\"N\", \"O\"] }\n[routes.r.map]\n\"adresse.code postal\" = \"cp\"\n\"@id\" = \"id\"\n[routes.r.output]\nformat = \"xml\"\n";
    let text = mistakes(keys);
    assert!(text.contains("\"code postal\" can't be the name of an element"), "{text}");
    assert!(text.contains("\"O\" stands for true and for false"), "{text}");
}

#[test]
fn a_lookup_that_names_no_column_is_told_before_a_run() {
    let keys = "[lookups.pays]\nfile = \"pays.csv\"\nkey = \"code\"\n[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\npays = \"p | lookup('pays')\"\n";
    let text = mistakes(keys);
    assert!(text.contains("lookup('pays') needs the column that it gives") && text.contains("or set lookups.pays.value"), "{text}");
}

#[test]
fn what_is_not_built_yet_says_so_and_run_refuses() {
    for later in ["[web]\nlisten = \"127.0.0.1:1\"\n", "[alerts]\nwebhook = \"https://x\"\n", "journal = \"postgres://x@y/z\"\n"] {
        let w = World::new(&format!("{later}{}", World::route("r", "a", "b")));
        w.run(&["config", "check"]).code(2).says("not built yet");
        w.once().code(2).says("not built yet");
    }
    let w = World::local("[routes.r.expect]\nfiles = 1\n");
    w.run(&["config", "check"]).code(2).says("not built yet");
}

#[test]
fn later_tables_are_checked_all_the_same() {
    let (_, text) = check(&format!("[web]\nlisen = \"x\"\n{}[routes.r.sync]\nconflct = \"park\"\n", World::route("r", "a", "b")));
    assert!(text.contains("did you mean `listen`?") && text.contains("did you mean `conflict`?"), "{text}");
}

#[test]
fn values_of_unknown_keys_and_secrets_are_never_shown() {
    let w = World::new(&format!(
        "[endpoints.b]\nurl = \"sftp://u:urlcanary@h/x\"\npassword = 12345678\npasswd = \"canary1\"\nheaders = {{ A = \"canary2\", B = 3 }}\n[endpoint.c]\npassword = \"canary3\"\n{}",
        World::route("r", "a", "b")
    ));
    let out = w.run(&["config", "check"]).code(2);
    for canary in ["urlcanary", "12345678", "canary1", "canary2", "canary3"] {
        assert!(!out.stderr.contains(canary), "{canary}:\n{}", out.stderr);
    }
    w.config("[endpoints.b]\nurl = \"sftp://h\npassword = \"canary4\n");
    let broken = w.run(&["config", "check"]).code(2).says("not TOML");
    assert!(!broken.stderr.contains("canary4"), "{}", broken.stderr);
}

#[test]
fn secrets_come_from_the_environment_and_files_and_are_masked_when_shown() {
    let text = format!("[endpoints.b]\nurl = \"sftp://u@h/x\"\npassword = \"${{env:PW}}\"\npassphrase = \"${{file:pp}}\"\n{}", World::route("r", "a", "b"));
    let w = World::new(&text);
    w.run(&["config", "check"]).code(2).says("the environment has no variable PW").says("can't read").says("pp");
    w.write("pp", "canary6\n");
    let out = w.run_with(&["config", "show"], &[("PW", "canary5")]).ok();
    assert!(out.stdout.contains("password = \"***\"") && out.stdout.contains("jobs = 8") && out.stdout.contains("[routes.r.source]"), "{}", out.stdout);
    assert!(!out.stdout.contains("canary"), "{}", out.stdout);
    assert!(toml::from_str::<toml::Table>(&out.stdout).is_ok(), "{}", out.stdout);
}

#[test]
fn the_schema_is_json_schema_and_knows_every_key_of_the_contract() {
    let w = World::local("");
    let schema = w.json(&["config", "schema"]);
    let route = &schema["properties"]["routes"]["additionalProperties"]["properties"];
    for key in ["schedule", "where", "rejects", "source", "input", "let", "check", "map", "output", "destination", "retry", "expect", "sync"] {
        assert!(!route[key].is_null(), "{key}");
    }
    assert_eq!(route["source"]["properties"]["settle"]["default"], "2s");
}

#[test]
fn loops_and_routes_that_fight_for_files_are_refused() {
    let (code, text) = check(&World::route("r", "a", "a"));
    assert!(code == 2 && text.contains("its own source"), "{text}");
    let (code, text) = check(&format!("{}{}", World::route("r", "a", "b"), World::route("s", "a", "c")));
    assert!(code == 2 && text.contains("take the same files"), "{text}");
    let both = |one: &str, other: &str| {
        let with = |name: &str, to: &str, keys: &str| World::route(name, "a", to).replace("settle", &format!("{keys}\nsettle"));
        check(&format!("{}{}", with("r", "b", one), with("s", "c", other)))
    };
    let (code, text) = both("include = [\"*.csv\"]", "include = [\"clients*.csv\"]");
    assert!(code == 2 && text.contains("take the same files of the same folder, as `clientsx.csv`"), "{text}");
    for (one, other) in [
        ("include = [\"*.csv\"]\nexclude = [\"clients*\"]", "include = [\"clients*.csv\"]"),
        ("include = [\"*.csv\"]", "include = [\"*.xml\"]"),
        ("include = [\"[a-m]*\"]\nexclude = [\"a*\"]", "include = [\"[a-m]*\"]\nexclude = [\"[b-z]*\"]"),
        ("include = [\"FAC*\"]", "include = [\"*.xml\"]"),
        ("on_success = \"keep\"", "on_success = \"keep\""),
    ] {
        let (code, text) = both(one, other);
        assert!(code == 0, "{one} and {other}: {text}");
    }
    let nested = |outer: &str| {
        check(&format!("{}{}", World::route("r", "a/sub", "b"), World::route("s", "a", "c").replace("settle", &format!("recursive = true\n{outer}settle"))))
    };
    let (code, text) = nested("");
    assert!(code == 2 && text.contains("as `sub/x`") && text.contains("exclude = [\"sub/**\"]"), "{text}");
    assert_eq!(nested("exclude = [\"sub/**\"]\n").0, 0);
    let (code, text) = check(&World::route("r", "a", "b").replace("path = \"a\"", "path = \"relay\""));
    assert!(code == 2 && text.contains("home lies in the source"), "{text}");
    for (from, to, why) in [
        ("relay/errors", "b", "the source of `r` is a folder of the relay's own"),
        ("relay/archive/r", "b", "the source of `r` is a folder of the relay's own"),
        ("a", "relay/archive", "delivers into a folder of the relay's own"),
        ("a", "relay", "delivers into a folder of the relay's own"),
        ("a", "a/.passerelle", "delivers into a folder of the relay's own"),
        ("a", "link", "its own source"),
    ] {
        let w = World::new(&World::route("r", from, to));
        std::os::unix::fs::symlink(w.path("a"), w.path("link")).unwrap();
        w.run(&["config", "check"]).code(2).says(why);
    }
    let twice =
        format!("{}[[routes.r.destination]]\npath = \"b/../b\"\n", World::route("r", "a", "b").replace("[routes.r.destination]", "[[routes.r.destination]]"));
    let (code, text) = check(&twice);
    assert!(code == 2 && text.contains("twice into the same folder"), "{text}");
}

#[test]
fn files_that_go_in_a_circle_are_refused_and_directions_that_share_folders_are_not() {
    let there = World::route("r", "a", "b");
    let back = World::route("s", "b", "a");
    let (code, text) = check(&format!("{there}{back}"));
    assert!(code == 2 && text.contains("`r` and `s` relay the same files in a circle"), "{text}");
    let three = [World::route("r", "a", "b"), World::route("s", "b", "c"), World::route("t", "c", "a")].concat();
    let (code, text) = check(&three);
    assert!(code == 2 && text.contains("`r` and `s` and `t`"), "{text}");
    // A prefix that is taken again goes on for ever; one that nobody takes ends it.
    let named = |name: &str| format!("[routes.{name}.output]\nname = \"back_{{stem}}.csv\"\n");
    let (code, text) = check(&format!("{there}{back}{}", named("s")));
    assert!(code == 2 && text.contains("in a circle"), "{text}");
    let only = |route: &str, include: &str| route.replace("settle", &format!("include = [\"{include}\"]\nsettle"));
    let (code, text) = check(&format!("{}{}", only(&there, "clients*.csv"), only(&back, "retour*.csv")));
    assert!(code == 0, "{text}");
    let (code, text) = check(&format!("{}{}{}", only(&there, "clients*.csv"), back, named("s")));
    assert!(code == 0, "{text}");
    // A chain is none.
    let (code, text) = check(&format!("{there}{}", World::route("s", "b", "c")));
    assert!(code == 0, "{text}");
}

#[test]
fn files_that_others_may_read_or_write_are_refused_with_the_remedy() {
    let w = World::new(&format!("[endpoints.b]\nurl = \"sftp://u@h/x\"\nidentity_file = \"key\"\n{}", World::route("r", "a", "b")));
    w.write("key", "x");
    fs::set_permissions(w.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    w.run(&["config", "check"]).code(2).says("chmod 600");
    fs::set_permissions(w.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    w.run(&["config", "check"]).ok();
    fs::set_permissions(w.path("passerelle.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    w.run(&["config", "check"]).code(2).says("chmod o-w");
}

#[test]
fn a_missing_configuration_says_where_it_is_looked_for() {
    let w = World::local("");
    fs::remove_file(w.path("passerelle.toml")).unwrap();
    w.once().code(2).says("passerelle.toml").says("--config");
    w.write("elsewhere.toml", World::route("r", "a", "b"));
    let out = w.run_with(&["config", "check"], &[("PASSERELLE_CONFIG", "elsewhere.toml")]);
    assert_eq!(out.code, 0, "{}", out.stderr);
}

#[test]
fn a_password_in_clear_over_the_network_is_warned_about() {
    let w = World::new(&format!("[endpoints.b]\nurl = \"ftp://u@b.example/x\"\npassword = \"x\"\n{}", World::route("r", "a", "b")));
    w.run(&["config", "check"]).ok().says("readable for everybody");
}

#[test]
fn what_only_makes_sense_together_is_checked_together() {
    for (keys, words) in [
        ("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"a < 5\"\n", "text is compared with a number"),
        ("[routes.r.input]\nformat = \"csv\"\nthousands = \",\"\ndecimal = \",\"\n", "the same sign"),
        ("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\ncolumns = [\"y\", \"x\", \"y\"]\n", "names y twice"),
        ("[routes.r.input]\nformat = \"json\"\nrecords = \"data/rows\"\n", "begins with /"),
        ("[routes.r.input]\nformat = \"json\"\n[routes.r.map]\nx = \"a\"\n\"x.z\" = \"b\"\n", "nest in it"),
        ("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\nname = \"../{name}\"\n", "may hold no slash"),
    ] {
        let (code, text) = check(&format!("{}{keys}", World::route("r", "a", "b")));
        assert!(code == 2 && text.contains(words), "{words}:\n{text}");
    }
    let (code, text) = check(&format!("[endpoints.b]\nurl = \"sftp://u@h/x\"\npassword = \"${{env:HOME\"\n{}", World::route("r", "a", "b")));
    assert!(code == 2 && text.contains("is not closed"), "{text}");
    let (code, text) = check(&format!("{}[routes.r.input]\nformat = \"csvv\"\n[routes.r.map]\nx = \"a | uper\"\n", World::route("r", "a", "b")));
    assert!(code == 2 && text.contains("no format") && text.contains("no filter uper"), "{text}");
    let (code, text) = check(&format!("[routes.r]\nmax_rejects = -1\n{}", World::route("r", "a", "b")));
    assert!(code == 2 && text.contains("max_rejects"), "{text}");
}

#[test]
fn passwords_in_addresses_are_masked_wherever_they_stand() {
    let (_, text) = check(&format!("journal = \"postgres://u:CANARY7@h/db\"\n[endpoints.b]\nurl = \"u:CANARY8@h/x\"\n{}", World::route("r", "a", "b")));
    assert!(!text.contains("CANARY"), "{text}");
    let w = World::new(&format!("[endpoints.b]\nurl = \"https://u:CANARY9@h/x?token=CANARY10\"\n{}", World::route("r", "a", "b")));
    let shown = w.run(&["config", "show"]).ok().stdout;
    assert!(shown.contains("https://") && !shown.contains("CANARY"), "{shown}");
}

#[test]
fn a_pattern_by_which_no_date_can_be_read_is_told_before_a_run() {
    let text = mistakes(
        "[routes.r.input]\nformat = \"csv\"\ndates = \"%m/%Y\"\ndatetimes = \"%H:%M\"\n[routes.r.map]\na = \"a | date('%d/%m')\"\nb = \"b | date('%d/%m/%y')\"\nc = \"d | strftime('%m')\"\n",
    );
    for wanted in ["`input.dates` reads no date", "`input.datetimes` reads no date", "\"%d/%m\" is no pattern for dates: it has not all of day, month and year"]
    {
        assert!(text.contains(wanted), "«{wanted}» is not in:\n{text}");
    }
    assert!(!text.contains("%d/%m/%y") && !text.contains("\"%m\""), "{text}");
    for pattern in ["%d.%m.%Y", "%Y%m%d", "%j %Y", "%d %b %Y", "%F", "excel"] {
        let w = World::new(&format!("{}[routes.r.input]\nformat = \"csv\"\ndates = \"{pattern}\"\n", World::route("r", "a", "b")));
        w.run(&["config", "check"]).ok();
    }
}

#[test]
fn a_mistake_in_the_middle_of_a_character_is_told_with_its_place() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"m² + 1\"\ny = \"1 ²\"\n");
    let out = w.run(&["config", "check"]).code(2);
    assert!(out.stderr.contains("passerelle.toml:") && !out.stderr.contains("panicked"), "{}", out.stderr);
}

#[test]
fn a_published_name_is_one_name() {
    for (name, code) in [("", 2), (".", 2), ("..", 2), ("sub/{name}", 2), ("{stem}_{date:%Y}.csv", 0)] {
        let w = World::local(&format!("[routes.r.output]\nname = \"{name}\"\n"));
        let out = w.run(&["config", "check"]).code(code);
        assert_eq!(code == 2, out.stderr.contains("is no name of a file"), "{}", out.stderr);
    }
}

#[test]
fn a_file_that_announces_another_is_not_that_file() {
    for keys in ["done_file = \"{name}\"", "checksum_file = \"{name}\""] {
        let w = World::local("");
        w.config(&w.read("passerelle.toml").replace("path = \"a\"\n", &format!("path = \"a\"\n{keys}\n")));
        w.run(&["config", "check"]).code(2).says("is the name of the file itself");
    }
    for (name, why) in [("{stem}.{ext}", "is the name of the file itself"), ("../{name}.ok", "without slashes"), ("flags/{name}.ok", "without slashes")] {
        let w = World::local(&format!("done_file = \"{name}\"\n"));
        w.run(&["config", "check"]).code(2).says(why);
    }
}

#[test]
fn a_column_that_a_table_in_the_configuration_lacks_is_told_before_any_record() {
    let w =
        World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\nx = \"pays | lookup('pays', 'iso')\"\n[lookups.pays]\nvalues = { F = \"France\" }\n");
    w.run(&["config", "check"]).code(2).says("the lookup pays has no column iso").says("lookup('pays') gives them");
}

#[test]
fn a_value_that_stands_behind_no_known_key_is_never_shown() {
    for line in ["password.x = \"hunter2\"", "passwrd.x.y = \"hunter2\"", "password: hunter2", "password \"hunter2\"", "passwrd = { x = \"hunter2\" }"] {
        let w = World::new(&format!("[endpoints.b]\nurl = \"sftp://u@h/in\"\n{line}\n"));
        let told = w.run(&["config", "check"]).code(2).stderr;
        assert!(!told.contains("hunter2") && told.contains("passw"), "{told}");
    }
}

#[test]
fn the_element_of_a_record_is_one_name() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.output]\nformat = \"xml\"\nrecord = \"clients/client\"\n");
    w.run(&["config", "check"]).code(2).says("is no name of an element");
}

#[test]
fn what_an_address_would_drop_is_a_mistake() {
    for (url, spelt) in [("sftp://u@h/in#1", "%23"), ("ftp://u@h/in?v=1", "%3F"), ("https://h/in#1", "%23")] {
        World::new(&format!("[endpoints.b]\nurl = \"{url}\"\n")).run(&["config", "check"]).code(2).says(spelt);
    }
    World::new("[endpoints.b]\nurl = \"https://h/in?key=1\"\n").run(&["config", "check"]).ok();
}

#[test]
fn a_name_that_is_the_relays_own_is_none_of_let() {
    let w = World::local("[routes.r.input]\nformat = \"csv\"\n[routes.r.let]\nitem = \"'a'\"\n");
    w.run(&["config", "check"]).code(2).says("`item` is the relay's own name");
}

#[test]
fn a_secret_is_shown_nowhere_in_a_file_that_can_not_be_read_or_in_an_address() {
    for text in [
        "[endpoints.b]\nurl = \"https://h/\"\n[endpoints.b.headers\nAuthorization = \"Bearer hunter2\"\n",
        "[endpoints.b\nurl = \"sftp://u@h/\"\npassword = \"hunter2\"\n",
        "[endpoints.b]\nurl = [\"sftp://u:hunter2@h\"]\n",
        "[endpoints.b]\nurl = \"https://h/in?token=hunter2#x\"\n",
        "[endpoints.b]\nurl = \"https://h:99999/in?token=hunter2\"\n",
        "[endpoints.b]\nurl = \"sftp://u:hunter2\"\n",
        "[endpoints.b]\nurl = \"sftp://u@h/x\"\nidentity_file = \"\"\"\n-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n\"\"\"\n",
    ] {
        let told = World::new(text).run(&["config", "check"]).code(2).stderr;
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn headers_that_can_not_be_sent_are_mistakes() {
    for (header, says) in
        [("\"X Y\" = \"1\"", "is no name of a header"), ("X = \"a\\r\\nB: c\"", "holds a line end"), ("idempotency-key = \"1\"", "is the relay's own")]
    {
        World::new(&format!("[endpoints.b]\nurl = \"https://h/in\"\nheaders = {{ {header} }}\n")).run(&["config", "check"]).code(2).says(says);
    }
}

#[test]
fn a_substitution_that_is_written_with_two_signs_is_its_own_text() {
    let w = World::local(
        "[routes.r.input]\nformat = \"csv\"\n[routes.r.map]\na = \"'$${env:X}'\"\nb = \"'${env:A}${env:B}'\"\nc = \"'${x}$${y}'\"\n[routes.r.output]\nformat = \"csv\"\n",
    );
    w.write("in.csv", "n\n1\n");
    let out = w.run_with(&["transform", "r", "in.csv"], &[("A", "p$"), ("B", "q")]).ok().stdout;
    assert_eq!(out, "a,b,c\n${env:X},p$q,${x}$${y}\n");
}
