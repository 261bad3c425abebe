//! The configurations in `config/` and the demo work as they stand.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::World;

fn config_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

#[test]
fn every_example_is_right() {
    let mut checked = 0;
    for entry in fs::read_dir(config_folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let w = World::new("");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        fs::copy(&path, w.path(&name)).unwrap();
        // What an example takes from its surroundings.
        for key in ["keys/b_ed25519", "keys/password", "keys/ca.pem"] {
            w.write(key, "secret\n");
            fs::set_permissions(w.path(key), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let out = w.run_with(&["-c", &name, "config", "check"], &[("B_PASSWORD", "x"), ("API_TOKEN", "x")]);
        assert_eq!(out.code, 0, "{name}:\n{}", out.stderr);
        assert!(!out.stderr.contains("warning"), "{name}:\n{}", out.stderr);
        checked += 1;
    }
    assert!(checked >= 6, "only {checked} examples were found");
}

#[test]
fn the_local_csv_example_relays_its_sample() {
    let w = World::new("");
    fs::copy(config_folder().join("csv-to-csv.toml"), w.path("passerelle.toml")).unwrap();
    for folder in ["export/clients", "import/clients"] {
        fs::create_dir_all(w.path(folder)).unwrap();
    }
    w.write(
        "export/clients/clients.csv",
        b"CodeClient;RaisonSociale;Solde;Cree;Actif\r\n007; Soci\xe9t\xe9 ;1 234,50;31/12/2025;O\r\n008;X;0;01/01/2026;N\r\n",
    );
    w.once().ok();
    assert_eq!(w.read("import/clients/clients.csv"), "code,name,balance,since\n007,SOCIÉTÉ,1234.50,2025-12-31\n");
}

#[test]
fn the_example_of_two_directions_sends_each_change_once() {
    let w = World::new("");
    fs::copy(config_folder().join("sync.toml"), w.path("passerelle.toml")).unwrap();
    for folder in ["shop/export", "shop/import", "erp/export", "erp/import"] {
        fs::create_dir_all(w.path(folder)).unwrap();
    }
    w.write("shop/export/1.csv", "customer_id,name,balance\nC1,Soci\u{e9}t\u{e9},1234.50\nC2,Lef\u{e8}vre,0\n");
    w.once().ok();
    assert_eq!(w.files("erp/import")["clients_1.csv"], b"CodeClient;RaisonSociale;Solde;Operation\nC1;Soci\xe9t\xe9;1234,50;C\nC2;Lef\xe8vre;0;C\n");
    w.write("erp/export/1.csv", b"CodeClient;RaisonSociale;Solde\r\nC1;Soci\xe9t\xe9;1234,5\r\nC2;Lef\xe8vre & fils;0,00\r\n");
    w.once().ok();
    assert_eq!(w.read("shop/import/customers_2.csv"), "customer_id,name,balance\nC2,Lef\u{e8}vre & fils,0\n");
}

#[test]
fn the_demo_shows_bs_files_and_what_to_look_at() {
    let w = World::new("");
    let out = w.run(&["demo", "d", "--once"]).ok();
    for wanted in ["BOULANGERIE MÉRY", "1234.50,2025-12-31", "\"customer\":{\"id\":\"C00101\"}", "relay/archive", "relay/errors", "Try next"] {
        assert!(out.stdout.contains(wanted), "{wanted}:\n{}", out.stdout);
    }
    assert_eq!(w.read("d/b/customers/customers_clients.csv").lines().count(), 4);
    assert_eq!(w.names("d/relay/errors/clients"), ["broken.csv", "broken.csv.error.json", "clients.csv.rejects.csv"]);
    w.run(&["demo", "d", "--once"]).ok();
}

#[test]
fn the_reference_names_every_key_filter_test_command_and_exit_status() {
    let reference = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/REFERENCE.md")).unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_passerelle")).args(["config", "schema", "--reference"]).output().unwrap();
    let tables = String::from_utf8(printed.stdout).unwrap();
    assert!(reference.contains(tables.trim()), "config/REFERENCE.md is not up to date: scripts/reference writes it");
    for word in ["`run --once`", "`transform", "`confirm-delivered", "| 0 |", "| 4 |", "never sent again by itself"] {
        assert!(reference.contains(word), "{word}");
    }
}

#[test]
fn every_example_of_the_formats_page_runs_as_it_stands() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/FORMATS.md")).unwrap();
    let mut sections: Vec<String> = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap().to_owned();
        let mut blocks: Vec<(String, String)> = Vec::new();
        let mut open: Option<(String, String)> = None;
        for line in section.lines() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(kind)) => open = Some((kind.to_owned(), String::new())),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some((_, text)), None) => text.push_str(&format!("{line}\n")),
                (None, None) => {}
            }
        }
        let block = |kind: &str| blocks.iter().find(|(k, _)| k == kind).map(|(_, text)| text.clone());
        sections.push(name.clone());
        let Some(route) = block("toml") else { continue };
        let w = World::local(&route);
        for (kind, text) in blocks.iter().filter(|(k, _)| !["toml", "output"].contains(&k.as_str())) {
            w.write(kind, text);
        }
        w.run(&["config", "check"]).ok();
        if let Some(wanted) = block("output") {
            assert_eq!(w.run(&["transform", "r", "input"]).ok().stdout, wanted, "{name}");
        }
    }
    for format in passerelle::formats::FORMATS {
        assert!(sections.iter().any(|s| s == format.name()), "{} has no section", format.name());
    }
}
