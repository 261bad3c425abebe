//! Originals that are stored compressed (`archive.compress = "zstd"`): made whole, compared by reading them back, then kept.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::{CHUNK_BYTES, NewFile, copy, endpoint, fill, move_made, open_file, verified};
use crate::error::{Error, Kind, Result};
use crate::stop::Stop;

/// What `zstd` itself takes by default: quick, and small enough.
const LEVEL: i32 = 3;

/// Moves a file to a name that must be free, compressed, durably at both ends; the original goes only after the copy was
/// synced and read back.
pub fn pack_new(from: &Path, to: &Path, mode: u32, stop: &Stop) -> Result<()> {
    move_made(from, to, |temporary| pack(from, temporary, mode, stop).and_then(|()| verified(temporary, is_packed_from(from, temporary, stop)?)))
}

fn pack(from: &Path, to: &Path, mode: u32, stop: &Stop) -> Result<()> {
    let mut source = open_file(from)?;
    let meta = source.metadata().map_err(endpoint("look at", from))?;
    let mut target = NewFile::create(to, 0o600)?;
    let failed = endpoint("write", to);
    let mut encoder = zstd::stream::write::Encoder::new(&mut target, LEVEL).map_err(&failed)?;
    // A frame that knows its bytes tells damage years later.
    encoder.include_checksum(true).map_err(&failed)?;
    copy(&mut source, &mut encoder, stop).map_err(|e| e.on_file(to))?;
    encoder.finish().map_err(&failed)?;
    target.set_mode(mode)?;
    if let Ok(time) = meta.modified() {
        target.set_modified(time)?;
    }
    target.sync()
}

/// Reads what a compressed file holds.
pub fn decoder(path: &Path) -> Result<zstd::Decoder<'static, io::BufReader<File>>> {
    zstd::Decoder::new(open_file(path)?).map_err(endpoint("read", path))
}

/// Whether a compressed file holds the bytes of another one.
pub fn is_packed_from(original: &Path, packed: &Path, stop: &Stop) -> Result<bool> {
    let (mut a, mut b) = (open_file(original)?, decoder(packed)?);
    let (mut x, mut y) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        stop.check()?;
        let n = fill(&mut a, &mut x).map_err(endpoint("read", original))?;
        // What can't be decompressed is no copy.
        let Ok(m) = fill(&mut b, &mut y) else { return Ok(false) };
        if x[..n] != y[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

/// Writes what a compressed file holds into a new one, synced.
pub fn unpack_new(from: &Path, to: &Path, stop: &Stop) -> Result<()> {
    let mut source = decoder(from)?;
    let mut target = NewFile::create(to, 0o600)?;
    let mut buf = vec![0; CHUNK_BYTES];
    loop {
        stop.check()?;
        let n = source.read(&mut buf).map_err(|e| {
            Error::io(crate::error::Blame::File, "decompress", from, &e).kind_of(Kind::Other).hint("the archived file is damaged: export it again")
        })?;
        if n == 0 {
            break;
        }
        target.write_all(&buf[..n]).map_err(endpoint("write", to))?;
    }
    if let Ok(time) = std::fs::metadata(from).and_then(|m| m.modified()) {
        target.set_modified(time)?;
    }
    target.sync()
}
