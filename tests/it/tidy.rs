//! The rules of the house, read from the source: layers, lengths, names, forbidden calls.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the bottom up: a file imports from its own layer or one below.
const LAYERS: &[(&str, u8)] = &[
    ("error", 0),
    ("options", 0),
    ("points", 0),
    ("record", 0),
    ("stop", 0),
    ("formats", 1),
    ("transform", 1),
    ("naming", 1),
    ("schedule", 1),
    ("sync", 1),
    ("sys", 1),
    ("audit", 2),
    ("config", 2),
    ("job", 2),
    ("durable", 2),
    ("watch", 3),
    ("endpoints", 3),
    ("journal", 3),
    ("relay", 4),
    ("daemon", 5),
    ("cli", 5),
];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // Tests at the end of a file have rules of their own.
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().split("#[cfg(test)]\npub(crate) mod testing").next().unwrap().to_owned();
                out.push((path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned(), code));
            }
        }
    }
    out
}

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

#[test]
fn imports_go_down_only() {
    for (path, code) in sources() {
        let module = path.components().nth(1).unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        let Some(own) = layer_of(&module) else { continue };
        for (i, line) in code.lines().enumerate() {
            for part in line.split("crate::").skip(1) {
                let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if let Some(layer) = layer_of(&used) {
                    assert!(layer <= own, "{}:{}: {module} (layer {own}) imports {used} (layer {layer})", path.display(), i + 1);
                }
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    for (path, code) in sources() {
        let lines = code.lines().count();
        // Tables, which are looked up and not read, are exempt.
        let table = path.ends_with("config/schema.rs");
        assert!(lines <= 505 || table, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_file_says_what_it_is_for_and_forbidden_words_stay_out() {
    for (path, code) in sources() {
        assert!(code.starts_with("//!"), "{} does not say what it is for", path.display());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!["utils", "util", "common", "helpers", "misc", "types", "manager"].contains(&name.as_str()), "{}", path.display());
        for (i, line) in code.lines().enumerate() {
            let place = format!("{}:{}: {line}", path.display(), i + 1);
            for word in [".unwrap()", ".expect(", "todo!(", "unimplemented!(", "TODO", "FIXME"] {
                assert!(!line.contains(word), "{place}");
            }
            assert!(!line.contains("unsafe {") || path.ends_with("sys.rs"), "{place}");
            assert!(!line.contains("async fn") || path.ends_with("daemon.rs") || path.ends_with("stop.rs"), "{place}");
            let renames = line.contains("fs::rename(") && !path.ends_with("durable.rs") && !line.contains("let _ =");
            assert!(!renames, "renames belong to durable: {place}");
        }
    }
}
