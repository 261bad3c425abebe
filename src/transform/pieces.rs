//! One large file on all cores: it is cut into pieces of whole records, which are read, mapped and written side by side,
//! and joined in their order.
//!
//! Where a piece ends is a guess (a line end outside of quotes, as far as counting them tells). The guess is proved by the
//! reading of the piece before: from a true beginning, a piece that ends in the middle of a record ends in an open quote.
//! Whatever goes wrong, the rest of the file is read once more in one go, so that nothing depends on the cut.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use bumpalo::Bump;

use super::Transformation;
use super::changes::{Change, Scout, Sighting};
use super::eval::{Context, Env, State};
use super::lookup::Lookups;
use super::plan::{Plan, Unique, Values, Verdict};
use crate::error::{Error, Result};
use crate::formats::{Bytes, Input, Next, PieceReader, Pieces, RecordReader, RecordWriter, Remark, append};
use crate::record::{Record, Reject};
use crate::stop::Stop;

/// How large a piece is.
const PIECE_BYTES: usize = 1024 * 1024;
/// A piece that finds no end within so many bytes is left to the reading in one go.
const PIECE_BYTES_MAX: usize = 16 * PIECE_BYTES;

/// So many records are looked at together.
const BLOCK: usize = 16;

/// A piece on its way.
struct Piece {
    number: u64,
    bytes: Vec<u8>,
    line: u64,
}

/// What became of a piece.
#[derive(Default)]
pub(super) struct Done {
    /// The records for B.
    pub(super) out: Vec<u8>,
    pub(super) written: u64,
    pub(super) skipped: u64,
    pub(super) rejects: Vec<(Record, Reject)>,
    pub(super) remarks: Vec<Remark>,
    /// Where records are compared: each of them, in order.
    pub(super) scouted: Vec<Scouted>,
    /// The piece itself, and the line that it begins on.
    pub(super) bytes: Vec<u8>,
    pub(super) line: u64,
    /// It could not be read to its end.
    failed: bool,
}

/// What a scout has seen of a record. Small: there is one for each record of a piece.
pub(super) enum Scouted {
    /// It is unchanged, and stands there among what is known.
    Unchanged(usize),
    /// It must be judged.
    Judge(Box<Record>),
    /// It could not be read.
    Bad(Box<(Record, Reject)>),
}

/// What is left to be read in one go.
pub(super) struct Rest {
    pub(super) input: Input,
    pub(super) line: u64,
}

/// Where pieces are cut.
struct Cutter {
    rest: Input,
    quote: Option<u8>,
    line: u64,
    /// What was read behind the last cut.
    tail: Vec<u8>,
    end: bool,
    number: u64,
    /// Buffers that are free again.
    spare: Vec<Vec<u8>>,
}

impl Cutter {
    /// The next piece; none at the end. The last piece is what is left.
    fn next(&mut self) -> Result<Option<Piece>> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.append(&mut self.tail);
        let cut = loop {
            if self.end {
                break bytes.len();
            }
            self.end = append(&mut self.rest, &mut bytes, PIECE_BYTES)? < PIECE_BYTES;
            if self.end {
                break bytes.len();
            }
            match boundary(&bytes, self.quote) {
                Some(cut) => break cut,
                None if bytes.len() >= PIECE_BYTES_MAX => break bytes.len(),
                None => {}
            }
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        self.tail.extend_from_slice(&bytes[cut..]);
        bytes.truncate(cut);
        let line = self.line;
        self.line += lines(&bytes);
        self.number += 1;
        Ok(Some(Piece { number: self.number, bytes, line }))
    }
}

/// Behind the last line end with an even number of quotes before it.
fn boundary(bytes: &[u8], quote: Option<u8>) -> Option<usize> {
    let mut odd = quote.is_some_and(|q| memchr::memchr_iter(q, bytes).count() % 2 == 1);
    let mut end = bytes.len();
    for at in memchr::memrchr_iter(b'\n', bytes) {
        if let Some(q) = quote {
            odd ^= memchr::memchr_iter(q, &bytes[at..end]).count() % 2 == 1;
        }
        if !odd {
            return Some(at + 1);
        }
        end = at;
    }
    None
}

/// How many line ends there are: LF, CRLF or CR.
fn lines(bytes: &[u8]) -> u64 {
    let feeds = memchr::memchr_iter(b'\n', bytes).count();
    let returns = memchr::memchr_iter(b'\r', bytes).filter(|at| bytes.get(at + 1) != Some(&b'\n')).count();
    (feeds + returns) as u64
}

/// What all workers share.
pub(super) struct Shop<'s> {
    pub(super) spec: &'s Transformation,
    pub(super) plan: &'s Plan,
    pub(super) context: &'s Context,
    pub(super) lookups: &'s Lookups,
    /// Looks at records that are compared; none: they are written as they come.
    pub(super) scout: Option<&'s dyn Scout>,
    pub(super) stop: &'s Stop,
}

/// How many work side by side.
pub(super) fn hands() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The record of that place in a piece, from 0.
pub(super) fn nth(reader: &PieceReader, done: &Done, place: usize) -> Result<Record> {
    let mut reader = reader(Bytes::Piece(done.bytes.clone()), done.line);
    let mut record = Record::default();
    for _ in 0..=place {
        reader.read(&mut record)?;
    }
    Ok(record)
}

/// Reads, maps and writes the pieces; `join` gets what became of them, in order. Gives what could not be read in pieces,
/// and what the workers have seen.
pub(super) fn run(
    shop: &Shop<'_>,
    pieces: Pieces,
    writers: Vec<Box<dyn RecordWriter>>,
    mut join: impl FnMut(&mut Done, &PieceReader) -> Result<()>,
) -> Result<(Option<Rest>, Box<PieceReader>, Vec<State>)> {
    let Pieces { rest, line, quote, reader } = pieces;
    let mut cutter = Cutter { rest, quote, line, tail: Vec::new(), end: false, number: 0, spare: Vec::new() };
    let (work, queue) = channel::<Piece>();
    let (report, done) = channel::<(u64, Done)>();
    let queue = Mutex::new(queue);
    let (rest, states) = std::thread::scope(|scope| {
        let mut hands = Vec::new();
        for writer in writers {
            let (queue, report, reader) = (&queue, report.clone(), &reader);
            hands.push(scope.spawn(move || {
                let state = State::new(shop.plan.fields.len());
                let mut hand = Hand { shop, reader, writer, state, record: Record::default(), arena: Bump::new() };
                while let Some(piece) = next(queue) {
                    let number = piece.number;
                    if report.send((number, hand.piece(piece))).is_err() {
                        break;
                    }
                }
                hand.state
            }));
        }
        drop(report);
        let outcome = hand_out(shop, &mut cutter, &work, &done, &mut |result| join(result, &reader));
        drop(work);
        let states = hands.into_iter().filter_map(|h| h.join().ok()).collect();
        let failed = outcome?;
        let rest = failed.map(|(mut left, line)| {
            left.extend(std::mem::take(&mut cutter.tail));
            Rest { input: Box::new(std::io::Cursor::new(left).chain(cutter.rest)) as Input, line }
        });
        Ok::<_, Error>((rest, states))
    })?;
    Ok((rest, reader, states))
}

/// Cuts, hands out and joins, until all is done or a piece fails: then gives the bytes from that piece on, and its line.
fn hand_out(
    shop: &Shop<'_>,
    cutter: &mut Cutter,
    work: &Sender<Piece>,
    done: &Receiver<(u64, Done)>,
    join: &mut dyn FnMut(&mut Done) -> Result<()>,
) -> Result<Option<(Vec<u8>, u64)>> {
    // Bounded: what is read ahead, in work, and waiting to be joined.
    let most = 3 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let (mut sent, mut joined, mut end) = (0u64, 0u64, false);
    let mut early: BTreeMap<u64, Done> = BTreeMap::new();
    let mut failed: Option<(Vec<u8>, u64)> = None;
    loop {
        shop.stop.check()?;
        while !end && failed.is_none() && sent - joined < most {
            match cutter.next()? {
                Some(piece) => {
                    sent = piece.number;
                    // The workers are there until this end of the channel is dropped.
                    let _ = work.send(piece);
                }
                None => end = true,
            }
        }
        if joined == sent {
            return Ok(failed);
        }
        let Ok((number, result)) = done.recv() else { return Err(Error::relay("a worker ended too early")) };
        early.insert(number, result);
        while let Some(mut result) = early.remove(&(joined + 1)) {
            joined += 1;
            match &mut failed {
                Some((left, _)) => left.append(&mut result.bytes),
                None if result.failed => failed = Some((std::mem::take(&mut result.bytes), result.line)),
                None => {
                    join(&mut result)?;
                    cutter.spare.push(std::mem::take(&mut result.bytes));
                }
            }
        }
    }
}

fn next(queue: &Mutex<Receiver<Piece>>) -> Option<Piece> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv().ok()
}

/// One worker.
struct Hand<'h> {
    shop: &'h Shop<'h>,
    reader: &'h PieceReader,
    writer: Box<dyn RecordWriter>,
    state: State,
    record: Record,
    arena: Bump,
}

/// Where expressions find a record of a piece.
pub(super) fn env<'e>(shop: &Shop<'e>, state: &'e State, arena: &'e Bump, record: &'e Record, change: Option<&'e Change>) -> Env<'e> {
    let Shop { spec, plan, context, lookups, .. } = *shop;
    Env { record, columns: &plan.columns, reading: &spec.reading, style: &spec.style, lookups, context, turn: None, change, state, arena }
}

impl Hand<'_> {
    fn piece(&mut self, piece: Piece) -> Done {
        let line = piece.line;
        let mut done = Done { out: Vec::with_capacity(piece.bytes.len()), line, ..Done::default() };
        let mut reader = (self.reader)(Bytes::Piece(piece.bytes), line);
        // Its reason does not matter: the file is read once more from here on, and tells it by itself.
        done.failed = self.records(&mut *reader, &mut done).is_err();
        done.remarks = reader.remarks();
        done.bytes = reader.into_bytes();
        done
    }

    /// Looks at records in blocks: the looks into what is known wait for memory, and many of them can wait at once.
    fn scout(&mut self, scout: &dyn Scout, reader: &mut dyn RecordReader, done: &mut Done) -> Result<()> {
        let plan = self.shop.plan;
        let mut unique = Unique::new(0);
        let mut block: Vec<Record> = std::iter::repeat_with(Record::default).take(BLOCK).collect();
        let mut seen: Vec<Result<Option<Sighting>, Reject>> = Vec::with_capacity(BLOCK);
        let mut places = [None; BLOCK];
        let mut end = false;
        while !end {
            while seen.len() < BLOCK && !end {
                self.arena.reset();
                let record = &mut block[seen.len()];
                match reader.read(record)? {
                    Next::End => end = true,
                    Next::Bad(reject) => seen.push(Err(reject)),
                    Next::Record => {
                        let env = env(self.shop, &self.state, &self.arena, record, None);
                        let mut values = Values::with_capacity_in(plan.targets.len(), &self.arena);
                        let verdict = plan.apply(&env, &mut unique, &mut values);
                        let written = verdict.is_ok_and(|v| v == Verdict::Write);
                        seen.push(Ok(written.then(|| scout.sight(plan, &env, &values)).flatten()));
                    }
                }
            }
            for (place, seen) in places.iter_mut().zip(&seen) {
                *place = seen.as_ref().ok().and_then(Option::as_ref).and_then(|sighting| scout.unchanged(sighting));
            }
            for ((record, seen), place) in block.iter_mut().zip(seen.drain(..)).zip(places) {
                done.scouted.push(match (seen, place) {
                    (Err(reject), _) => Scouted::Bad(Box::new((std::mem::take(record), reject))),
                    (Ok(_), Some(place)) => Scouted::Unchanged(place),
                    (Ok(_), None) => Scouted::Judge(Box::new(std::mem::take(record))),
                });
            }
        }
        Ok(())
    }

    fn records(&mut self, reader: &mut dyn RecordReader, done: &mut Done) -> Result<()> {
        let plan = self.shop.plan;
        if let Some(scout) = self.shop.scout {
            return self.scout(scout, reader, done);
        }
        let mut unique = Unique::new(0);
        loop {
            self.arena.reset();
            let next = reader.read(&mut self.record)?;
            let reject = match next {
                Next::End => return Ok(()),
                Next::Bad(reject) => Err(reject),
                Next::Record => {
                    let env = env(self.shop, &self.state, &self.arena, &self.record, Some(&super::changes::ADDED));
                    let mut values = Values::with_capacity_in(plan.targets.len(), &self.arena);
                    match plan.apply(&env, &mut unique, &mut values) {
                        Err(reject) => Err(reject),
                        Ok(Verdict::Skip) => {
                            done.skipped += 1;
                            Ok(())
                        }
                        Ok(Verdict::Write) => {
                            let written = self.writer.write(&values, &mut done.out)?;
                            done.written += u64::from(written.is_ok());
                            written
                        }
                    }
                }
            };
            if let Err(reject) = reject {
                done.rejects.push((std::mem::take(&mut self.record), reject));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_at_a_line_end_outside_of_quotes() {
        let cut = |text: &[u8]| boundary(text, Some(b'"'));
        assert_eq!(cut(b"a,b\nc,d\ne"), Some(8));
        assert_eq!(cut(b"a,b\n\"c\nd"), Some(4));
        assert_eq!(cut(b"\"c\nd\ne"), None);
        assert_eq!(boundary(b"\"c\nd\ne", None), Some(5));
        assert_eq!(lines(b"a\nb\r\nc\rd"), 3);
    }
}
