"""The peers that are not programs of the system: DuckDB in a Python of its own, and two loops in Rust."""
import os
import subprocess
import sys

from .common import ROOT

# What calamine alone needs to read all cells (its own streaming reader, the file in the page cache).
CALAMINE = """
use calamine::{open_workbook, Reader, Xlsx};
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let mut book: Xlsx<_> = open_workbook(&path).unwrap();
    let name = book.sheet_names()[0].clone();
    let mut cells = book.worksheet_cells_reader(&name).unwrap();
    let mut n = 0u64;
    while let Some(cell) = cells.next_cell().unwrap() { n += u64::from(cell.get_position().0 > 0); }
    println!("{n}");
}
"""

# The plain loop that a programmer would write over the csv crate: one thread, no checks beyond its own.
LOOP = """
use std::io::{BufWriter, Write};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_path(&args[1]).unwrap();
    let mut writer = csv::WriterBuilder::new().from_writer(BufWriter::with_capacity(1 << 18, std::fs::File::create(&args[2]).unwrap()));
    writer.write_record(["code", "nom", "adresse", "cp", "ville", "email", "solde", "cree"]).unwrap();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).unwrap() {
        if &record[11] != "O" { continue; }
        let nom = record[1].trim().to_uppercase();
        let solde: rust_decimal::Decimal = record[9].replace(',', ".").parse().unwrap();
        let d = &record[10];
        let (day, month, year): (u8, u8, u16) = (d[0..2].parse().unwrap(), d[3..5].parse().unwrap(), d[6..10].parse().unwrap());
        assert!((1..=31).contains(&day) && (1..=12).contains(&month));
        let cree = format!("{year:04}-{month:02}-{day:02}");
        writer.write_record([&record[0], &nom, &record[4], &record[5], &record[6], &record[8], &solde.to_string(), &cree]).unwrap();
    }
    writer.into_inner().unwrap().flush().unwrap();
}
"""

# The engine that `qsv diff` is built on, as its documentation uses it.
DIFF = """
use csv_diff::{csv::Csv, csv_diff::CsvByteDiffLocal, diff_row::DiffByteRecord};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let open = |n: usize| std::fs::File::open(&args[n]).unwrap();
    let records = CsvByteDiffLocal::new().unwrap().diff(Csv::with_reader_seek(open(1)), Csv::with_reader_seek(open(2))).unwrap();
    let mut count = [0u64; 3];
    for record in records { count[match record { DiffByteRecord::Add(_) => 0, DiffByteRecord::Modify { .. } => 1, DiffByteRecord::Delete(_) => 2 }] += 1; }
    println!("{count:?}");
}
"""


def rust_peers():
    """The peers in Rust, built once into a folder beside the build."""
    crate = os.path.join(ROOT, "target/bench-peers")
    os.makedirs(f"{crate}/src/bin", exist_ok=True)
    files = {
        "Cargo.toml": '[package]\nname = "peers"\nversion = "0.0.0"\nedition = "2024"\n[dependencies]\ncalamine = { version = "0.38.0", default-features = false }\ncsv = "1.4"\ncsv-diff = "0.1"\nrust_decimal = "1"\n[workspace]\n',
        "src/bin/calamine.rs": CALAMINE,
        "src/bin/diff.rs": DIFF,
        "src/bin/loop.rs": LOOP,
    }
    for name, text in files.items():
        path = f"{crate}/{name}"
        if not os.path.exists(path) or open(path).read() != text:
            open(path, "w").write(text)
    subprocess.check_call(["cargo", "build", "--release", "--quiet"], cwd=crate)
    return os.path.join(crate, "target/release")


def duckdb_python():
    """A Python with DuckDB, in a folder beside the build."""
    venv = os.path.join(ROOT, "target/bench-venv")
    python = os.path.join(venv, "bin/python")
    if not os.path.exists(python):
        subprocess.check_call([sys.executable, "-m", "venv", venv])
        subprocess.check_call([python, "-m", "pip", "install", "-q", "duckdb"])
    return python
