//! `demo`: a small A and B with real-looking exports, relayed before the newcomer's eyes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config;
use crate::daemon;
use crate::error::{Blame, Error, Result};
use crate::relay::dispatch::Mode;
use crate::stop::Stop;

const CONFIG: &str = include_str!("../../config/demo/passerelle.toml");
const CLIENTS: &str = include_str!("../../config/demo/clients.csv");
const ORDERS: &str = include_str!("../../config/demo/orders.json");
const COUNTRIES: &str = include_str!("../../config/demo/countries.csv");

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where it is laid out
    #[arg(default_value = "./passerelle-demo")]
    dir: PathBuf,
    /// Stop after the first delivery
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let dir = &args.dir;
    lay_out(dir)?;
    let file = dir.join("passerelle.toml");
    say!("A (an invoicing program) has left its exports in {}/a:", dir.display());
    show(&dir.join("a/clients/clients.csv"), 4);
    say!("passerelle relays them as {} says …\n", file.display());
    let config = config::load(&file)?;
    let tally = daemon::run(config, daemon::Run { file: file.clone(), mode: Mode::Once, progress: None, stop: Stop::new() })?;
    say!("\nB (a shop) finds in {}/b:", dir.display());
    for name in ["customers/customers_clients.csv", "orders/orders.ndjson"] {
        say!("  {name}");
        show(&dir.join("b").join(name), 5);
    }
    say!("Look at:");
    say!("  {}/b                what B imports", dir.display());
    say!("  {}/relay/archive    A's untouched originals", dir.display());
    say!("  {}/relay/errors     what could not be relayed, and why (two records, and one file)", dir.display());
    // As it was called: it may not be on the path yet.
    let program = std::env::args().next().unwrap_or_else(|| "passerelle".into());
    say!("\nTry next:");
    say!("  {program} -c {} history", file.display());
    say!("  {program} -c {} show 1", file.display());
    say!("  {program} -c {} transform clients {}/samples/clients.csv", file.display(), dir.display());
    say!("  edit {}: it is commented", file.display());
    if tally.delivered == 0 {
        return Err(Error::relay("the demo delivered nothing").hint("start it again in an empty folder: passerelle demo DIR"));
    }
    if args.once {
        return Ok(0);
    }
    say!("\nStill watching: drop another export into {}/a/clients, or stop with Ctrl-C.", dir.display());
    let config = config::load(&file)?;
    daemon::run(config, daemon::Run { file, mode: Mode::Daemon, progress: None, stop: Stop::new() })?;
    Ok(0)
}

/// Windows-1252, as the sample is written in.
fn windows_1252(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(encoder) = crate::formats::text::Encoder::named("windows-1252", true) {
        // Characters that it lacks are replaced, so it can't fail.
        let _ = encoder.encode(text, &mut out);
    }
    out
}

fn lay_out(dir: &Path) -> Result<()> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |e: std::io::Error| Error::io(Blame::Config, "write", &path, &e)
    };
    for folder in ["a/clients", "a/orders", "b/customers", "b/orders", "samples", "lookups"] {
        let path = dir.join(folder);
        fs::create_dir_all(&path).map_err(fail(&path))?;
    }
    let clients = windows_1252(&CLIENTS.replace('\n', "\r\n"));
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(fail(&path))
    };
    // A configuration that the newcomer has edited is left alone.
    if !dir.join("passerelle.toml").exists() {
        write("passerelle.toml", CONFIG.as_bytes())?;
    }
    write("lookups/countries.csv", COUNTRIES.as_bytes())?;
    write("samples/clients.csv", &clients)?;
    // B has taken what an earlier demo left, as a real B would.
    for taken in ["b/customers/customers_clients.csv", "b/orders/orders.ndjson"] {
        let _ = fs::remove_file(dir.join(taken));
    }
    write("a/orders/orders.json", ORDERS.as_bytes())?;
    write("a/clients/clients.csv", &clients)?;
    write("a/clients/broken.csv", b"this is not what was agreed\r\n")
}

/// The first lines of a file, indented.
fn show(path: &Path, lines: usize) {
    let Ok(bytes) = fs::read(path) else { return say!("    (not there)\n") };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let mut text = String::new();
            if let Some(charset) = crate::formats::text::Charset::named("windows-1252") {
                charset.decode_into(e.as_bytes(), &mut text);
            }
            text
        }
    };
    for line in text.lines().take(lines) {
        say!("    {}", line.trim_end());
    }
    if text.lines().count() > lines {
        say!("    …");
    }
    say!("");
}
