//! Compressed files: A's are read as if they were not, B's are written as B wants them.
//!
//! What expands beyond all measure is refused: it would fill the disk (a "zip bomb").

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use super::{Input, Output, Room, peek};
use crate::error::{Blame, Error, Result};

/// A file may expand to so many times its size …
const RATIO_MAX: u64 = 1000;
/// … and by this much on top.
const FREE_BYTES: u64 = 64 * 1024 * 1024;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// One member in a zip archive.
    Zip,
}

impl Packing {
    /// The packing of that name in the configuration; none for "none".
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" => Some(Packing::Gzip),
            "zstd" => Some(Packing::Zstd),
            "zip" => Some(Packing::Zip),
            _ => None,
        }
    }
    /// What its files end in.
    pub fn extension(self) -> &'static str {
        match self {
            Packing::Gzip => "gz",
            Packing::Zstd => "zst",
            Packing::Zip => "zip",
        }
    }
    /// What a file beginning like this is.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Packing::Zip),
            _ => None,
        }
    }
}

/// Whether zip archives are opened, or belong to the format itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archives {
    /// A zip archive holds the file.
    Open,
    /// A zip archive is the file: a workbook.
    Keep,
}

/// The stream, unpacked where it is packed.
pub fn unpack(input: Input, archives: Archives, room: &Room) -> Result<Input> {
    let (packing, whole) = peek(input, 4, Packing::of)?;
    let unreadable = |e: io::Error| Error::file(format!("the compressed file can't be read: {e}"));
    Ok(match packing {
        None => whole,
        Some(Packing::Zip) if archives == Archives::Keep => whole,
        Some(Packing::Gzip) => Bounded::around(whole, |packed| Ok(Box::new(flate2::read::MultiGzDecoder::new(packed)))).map_err(unreadable)?,
        Some(Packing::Zstd) => Bounded::around(whole, |packed| zstd::stream::read::Decoder::new(packed).map(|d| Box::new(d) as Input)).map_err(unreadable)?,
        Some(Packing::Zip) => member(whole, room)?,
    })
}

/// Counts what goes in and what comes out.
struct Bounded {
    inner: Input,
    taken: std::sync::Arc<std::sync::atomic::AtomicU64>,
    given: u64,
}

/// The packed side of [`Bounded`].
struct Taken(Input, std::sync::Arc<std::sync::atomic::AtomicU64>);

impl Read for Taken {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(to)?;
        self.1.fetch_add(n as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(n)
    }
}

impl Bounded {
    fn around(packed: Input, decoder: impl FnOnce(Input) -> io::Result<Input>) -> io::Result<Input> {
        let taken = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let inner = decoder(Box::new(Taken(packed, taken.clone())))?;
        Ok(Box::new(Self { inner, taken, given: 0 }))
    }
}

impl Read for Bounded {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        // An error of the disk has a number; all others are the file's.
        let n = self.inner.read(to).map_err(|e| match e.raw_os_error() {
            Some(_) => e,
            None if e.kind() == io::ErrorKind::Interrupted => e,
            None => io::Error::new(io::ErrorKind::InvalidData, format!("the compressed file is damaged or cut: {e}")),
        })?;
        self.given += n as u64;
        let taken = self.taken.load(std::sync::atomic::Ordering::Relaxed);
        if self.given > taken.saturating_mul(RATIO_MAX).saturating_add(FREE_BYTES) {
            let why = format!("{taken} compressed bytes expand to more than {} MiB: this is no export", self.given >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(n)
    }
}

fn damaged(e: &dyn std::fmt::Display) -> Error {
    Error::file(format!("the zip archive can't be read: {e}")).hint("check that the file is whole")
}

/// A zip archive, and those of its members that are files.
fn archive(file: &File) -> Result<(zip::ZipArchive<BufReader<File>>, Vec<usize>)> {
    let copy = file.try_clone().map_err(|e| damaged(&e))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(copy)).map_err(|e| damaged(&e))?;
    let members = (0..archive.len()).filter(|i| archive.by_index_raw(*i).is_ok_and(|m| !m.is_dir())).collect();
    Ok((archive, members))
}

/// A workbook, which is an archive itself, taken out of an archive that holds nothing else: no workbook has only one part.
pub fn workbook(mut file: File, room: &Room) -> Result<File> {
    let around = archive(&file).is_ok_and(|(_, members)| members.len() == 1);
    file.rewind().map_err(|e| damaged(&e))?;
    if around { room.spool(&mut only(file)?) } else { Ok(file) }
}

/// The only member of a zip archive.
fn member(mut input: Input, room: &Room) -> Result<Input> {
    only(room.spool(&mut input)?)
}

fn only(mut file: File) -> Result<Input> {
    let (mut archive, members) = archive(&file)?;
    let [only] = members[..] else {
        return Err(Error::file(format!("the zip archive holds {} files instead of one", members.len())).hint("let A send one file in each archive"));
    };
    let entry = archive.by_index_raw(only).map_err(|e| damaged(&e))?;
    if entry.encrypted() {
        return Err(Error::file("the zip archive is encrypted").hint("let A send it without a password"));
    }
    let start = entry.data_start().ok_or_else(|| damaged(&"the member has no data"))?;
    let (method, size, crc) = (entry.compression(), entry.compressed_size(), entry.crc32());
    drop(entry);
    file.seek(SeekFrom::Start(start)).map_err(|e| damaged(&e))?;
    let data: Input = Box::new(file.take(size));
    let plain = Bounded::around(data, |packed| match method {
        zip::CompressionMethod::Stored => Ok(packed),
        zip::CompressionMethod::Deflated => Ok(Box::new(flate2::read::DeflateDecoder::new(packed))),
        zip::CompressionMethod::Zstd => zstd::stream::read::Decoder::new(packed).map(|d| Box::new(d) as Input),
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("compressed by {other}, which is not known"))),
    });
    Ok(Box::new(Summed { inner: plain.map_err(|e| damaged(&e))?, sum: flate2::Crc::new(), wanted: crc }))
}

/// A stream whose sum is compared at its end.
struct Summed {
    inner: Input,
    sum: flate2::Crc,
    wanted: u32,
}

impl Read for Summed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(to)?;
        self.sum.update(&to[..n]);
        if n == 0 && !to.is_empty() && self.sum.sum() != self.wanted {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the zip archive is damaged: its sum does not match"));
        }
        Ok(n)
    }
}

/// Writes packed; [`Packer::finish`] must be called at the end.
pub enum Packer {
    /// As it is.
    Plain(Output),
    /// Gzip, without a time: a repeated transformation gives the same bytes.
    Gzip(Box<flate2::write::GzEncoder<Output>>),
    /// Zstandard.
    Zstd(Box<zstd::stream::write::Encoder<'static, Output>>),
    /// A zip archive with one member.
    Zip(Box<zip::ZipWriter<zip::write::StreamWriter<BufWriter<Output>>>>),
}

impl Packer {
    /// A writer to `output`; `member` is the name within a zip archive.
    pub fn new(packing: Option<Packing>, member: &str, output: Output) -> Result<Self> {
        Ok(match packing {
            None => Packer::Plain(output),
            Some(Packing::Gzip) => Packer::Gzip(Box::new(flate2::write::GzEncoder::new(output, flate2::Compression::default()))),
            Some(Packing::Zstd) => Packer::Zstd(Box::new(zstd::stream::write::Encoder::new(output, 0).map_err(|e| failed(&e))?)),
            Some(Packing::Zip) => {
                let mut zip = zip::ZipWriter::new_stream(BufWriter::new(output));
                let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated).large_file(true);
                zip.start_file(member, options).map_err(|e| Error::file(format!("the zip archive can't be written: {e}")))?;
                Packer::Zip(Box::new(zip))
            }
        })
    }

    /// Writes what is left.
    pub fn finish(self) -> Result<()> {
        match self {
            Packer::Plain(mut output) => output.flush(),
            Packer::Gzip(gzip) => gzip.finish().and_then(|mut output| output.flush()),
            Packer::Zstd(zstd) => zstd.finish().and_then(|mut output| output.flush()),
            Packer::Zip(zip) => {
                let inner = zip.finish().map_err(|e| Error::file(format!("the zip archive can't be written: {e}")))?;
                inner.into_inner().flush()
            }
        }
        .map_err(|e| failed(&e))
    }

    /// Adds bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Packer::Plain(output) => output.write_all(bytes),
            Packer::Gzip(gzip) => gzip.write_all(bytes),
            Packer::Zstd(zstd) => zstd.write_all(bytes),
            Packer::Zip(zip) => zip.write_all(bytes),
        }
        .map_err(|e| failed(&e))
    }
}

fn failed(e: &io::Error) -> Error {
    Error::io(Blame::Endpoint, "write", std::path::Path::new("the transformed file"), e)
}

/// A file that was spilled, from its beginning.
pub fn rewound(mut file: File, room: &Room) -> Result<BufReader<File>> {
    file.seek(SeekFrom::Start(0)).map_err(|e| Error::io(Blame::Endpoint, "read", &room.folder, &e))?;
    Ok(BufReader::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::room;

    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
        let out = Shared::default();
        let mut packer = Packer::new(Some(packing), "in.csv", Box::new(out.clone())).unwrap();
        packer.put(text).unwrap();
        packer.finish().unwrap();
        out.0.lock().unwrap().clone()
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut input = unpack(Box::new(io::Cursor::new(bytes.to_vec())), Archives::Open, &room()).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        input.read_to_end(&mut out).map(|_| out).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_packed_is_read_as_it_is_and_damage_is_told() {
        let text = b"a;b\n1;2\n".repeat(1000);
        for packing in [Packing::Gzip, Packing::Zstd, Packing::Zip] {
            let bytes = packed(packing, &text);
            assert_eq!(unpacked(&bytes).unwrap(), text, "{packing:?}");
            assert_eq!(packed(packing, &text), bytes, "{packing:?}: the same bytes again");
            if packing != Packing::Zip {
                assert!(unpacked(&bytes[..bytes.len() - 9]).unwrap_err().contains("damaged or cut"), "{packing:?}");
            }
        }
        assert_eq!(unpacked(&text).unwrap(), text);
        assert_eq!(unpacked(b"").unwrap(), b"");
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
        for _ in 0..300 {
            bomb.write_all(&[0; 1024 * 1024]).unwrap();
        }
        let bytes = bomb.finish().unwrap();
        assert!(unpacked(&bytes).unwrap_err().contains("this is no export"), "{} bytes", bytes.len());
    }

    #[test]
    fn an_archive_of_two_files_is_refused() {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for name in ["a", "b"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        }
        let bytes = zip.finish().unwrap().into_inner();
        assert!(unpacked(&bytes).unwrap_err().contains("holds 2 files instead of one"));
        let kept = |bytes: &[u8]| {
            let mut out = Vec::new();
            let mut whole = unpack(Box::new(io::Cursor::new(bytes.to_vec())), Archives::Keep, &room()).unwrap();
            workbook(room().spool(&mut whole).unwrap(), &room()).unwrap().read_to_end(&mut out).unwrap();
            out
        };
        assert_eq!(kept(&bytes), bytes, "a workbook is an archive itself");
        assert_eq!(kept(&packed(Packing::Zip, &bytes)), bytes, "an archive around a workbook is opened");
    }
}
