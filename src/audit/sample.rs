//! A sample at hand: what is looked at of its bytes, unpacked, and as much of them as was asked for.
//!
//! Whatever its size, looking at a sample takes a bounded time and a bounded memory, unless all of it was asked for.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::{Blame, Error, Result};
use crate::formats::packed::{Archives, Packing, unpack};
use crate::formats::{Input, Room};

/// What dialects are guessed from.
const HEAD_BYTES: u64 = 4 << 20;
/// Files up to this size are read whole.
const WHOLE_BYTES: u64 = 48 << 20;
/// What is read at the beginning of a larger one, in its middle and at its end.
const PART_BYTES: u64 = 12 << 20;

/// How much of a sample is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, however long that takes.
    Full,
    /// All of a file of moderate size; of a larger one its beginning, its middle and its end.
    Sampled,
}

/// A sample.
#[derive(Debug)]
pub struct Sample {
    /// Where it lies.
    pub path: PathBuf,
    /// Its name without its folder.
    pub name: String,
    /// Its size in bytes, as it lies there.
    pub size: u64,
    /// How it is compressed.
    pub packing: Option<Packing>,
    /// Its first bytes, unpacked.
    pub head: Vec<u8>,
    /// Bytes of its middle and its end, where those are not in `head`: what stands there may be written otherwise.
    pub beyond: Vec<u8>,
    /// `head` is all of it.
    pub whole: bool,
    /// How much of it is read.
    pub extent: Extent,
}

/// A stretch of a sample.
pub struct Part {
    /// Its bytes.
    pub input: Input,
    /// It begins somewhere in the file, at the start of a line.
    pub inside: bool,
    /// It ends before the file does, if so many bytes were read of it.
    pub cut_at: Option<u64>,
}

impl Sample {
    /// Opens the file at `path`.
    pub fn open(path: &Path, extent: Extent, room: &Room) -> Result<Self> {
        let file = durable::open_file(path).map_err(|e| e.blamed_on(Blame::File).hint("name a file that is there and may be read"))?;
        let size = file.metadata().map_err(|e| Error::io(Blame::File, "look at", path, &e))?.len();
        let packing = Packing::of(&durable::head::<4>(path)?);
        let mut sample = Self {
            path: path.to_owned(),
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size,
            packing,
            head: Vec::new(),
            beyond: Vec::new(),
            whole: false,
            extent,
        };
        // A workbook is an archive of several members: it is its own format, and not unpacked.
        let mut input = match sample.unpacked(room) {
            Ok(input) => input,
            Err(_) if packing == Some(Packing::Zip) => {
                sample.packing = None;
                sample.raw()?
            }
            Err(e) => return Err(e.on_file(path)),
        };
        (&mut input)
            .take(HEAD_BYTES)
            .read_to_end(&mut sample.head)
            .map_err(|e| Error::file(e.to_string()).on_file(path).hint("check that the file is whole"))?;
        sample.whole = input.read(&mut [0]).unwrap_or(0) == 0;
        if !sample.whole && sample.packing.is_none() {
            sample.beyond = sample.stretch(size / 2, HEAD_BYTES / 4)?;
            sample.beyond.extend(sample.stretch(size.saturating_sub(HEAD_BYTES / 4), HEAD_BYTES / 4)?);
        }
        Ok(sample)
    }

    fn raw(&self) -> Result<Input> {
        Ok(Box::new(durable::open_file(&self.path).map_err(|e| e.blamed_on(Blame::File))?))
    }

    fn unpacked(&self, room: &Room) -> Result<Input> {
        unpack(self.raw()?, if self.packing.is_some() { Archives::Open } else { Archives::Keep }, room)
    }

    /// The bytes from `at` on, at most so many; behind the beginning, from the next line on.
    fn stretch(&self, at: u64, most: u64) -> Result<Vec<u8>> {
        let failed = |e: std::io::Error| Error::io(Blame::File, "read", &self.path, &e);
        let mut file = durable::open_file(&self.path).map_err(|e| e.blamed_on(Blame::File))?;
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        if at > 0 {
            bytes.drain(..memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |n| n + 1));
        }
        Ok(bytes)
    }

    /// What is read of the sample: one stretch, or of a large file whose records end with their lines, three.
    pub fn parts(&self, by_lines: bool, room: &Room) -> Result<Vec<Part>> {
        let whole = self.extent == Extent::Full || (self.packing.is_none() && self.size <= WHOLE_BYTES);
        // Workbooks and tables of records are read here and there: their readers bound themselves.
        if whole || self.head.starts_with(b"PK") || self.head.starts_with(b"\xd0\xcf") {
            return Ok(vec![Part { input: self.unpacked(room)?, inside: false, cut_at: None }]);
        }
        if self.packing.is_some() || !by_lines {
            return Ok(vec![Part { input: Box::new(self.unpacked(room)?.take(WHOLE_BYTES)), inside: false, cut_at: Some(WHOLE_BYTES) }]);
        }
        let mut parts = Vec::new();
        for from in [0, self.size / 2, self.size - PART_BYTES] {
            let mut bytes = self.stretch(from, PART_BYTES)?;
            let last = from == self.size - PART_BYTES;
            if !last {
                // To the end of a line.
                bytes.truncate(memchr::memrchr(b'\n', &bytes).map_or(bytes.len(), |n| n + 1));
            }
            parts.push(Part { input: Box::new(std::io::Cursor::new(bytes)), inside: from > 0, cut_at: (!last).then_some(0) });
        }
        Ok(parts)
    }
}
