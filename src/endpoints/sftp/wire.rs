//! The few packets of SFTP version 3 (draft-ietf-secsh-filexfer-02) over one channel, many in flight.
//!
//! Instead of ssh2's own `Sftp`, which has no posix-rename, no sync of folders and no requests of several files in
//! flight. Every length that the server sends is bounded; a packet that is not what was asked for ends the session.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::endpoints::lost;
use crate::error::{Error, Kind, Result};

/// No answer that we ask for is larger: OpenSSH's own limit is 256 KiB.
const PACKET_BYTES_MAX: usize = 1024 * 1024;
/// Requests that are sent together, as many as fit into one SSH packet.
const TOGETHER_BYTES: usize = 32_000;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const FSETSTAT: u8 = 10;
pub(crate) const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

/// `SSH_FXF_WRITE | SSH_FXF_CREAT | SSH_FXF_TRUNC`
pub(crate) const FOR_WRITING: u32 = 0x02 | 0x08 | 0x10;
/// `SSH_FXF_WRITE`: of a file that is there.
pub(crate) const FOR_WRITING_ON: u32 = 0x02;
/// `SSH_FXF_READ`
pub(crate) const FOR_READING: u32 = 0x01;

/// A status other than "done".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// `SSH_FX_…`
    pub(crate) code: u32,
    /// The server's words.
    pub(crate) message: String,
}

impl Status {
    /// The end of a file.
    pub(crate) const EOF: u32 = 1;
    const NO_SUCH_FILE: u32 = 2;
    const PERMISSION_DENIED: u32 = 3;
    const OP_UNSUPPORTED: u32 = 8;

    /// As an error about `path`.
    pub(crate) fn error(&self, what: &str, path: &Path) -> Error {
        let shown = crate::error::shown(path);
        let words = crate::error::shown_bytes(self.message.chars().take(200).collect::<String>().as_bytes());
        let error = Error::endpoint(format!("the server can't {what} {shown}: {words}"));
        match self.code {
            Self::NO_SUCH_FILE => error.kind_of(Kind::NotFound),
            Self::PERMISSION_DENIED => error.kind_of(Kind::Denied).hint("ask the server's keeper for the right to write, rename and delete there"),
            Self::OP_UNSUPPORTED => error.kind_of(Kind::Unsupported),
            _ => error,
        }
    }
}

/// What an entry is, as `ls -l` begins its line: the kind alone of a mode, for servers that tell no permissions.
fn kind_of(line: &[u8]) -> Option<u32> {
    // Some servers write the bare name there.
    if !line.get(1..10)?.iter().all(|b| b"rwxsStTlL-".contains(b)) {
        return None;
    }
    match line.first()? {
        b'-' => Some(0o100_000),
        b'd' => Some(0o040_000),
        b'l' => Some(0o120_000),
        _ => None,
    }
}

/// The size of a file in bytes, and its mode with the kind of file, where the server tells.
pub(crate) type Attributes = (Option<u64>, Option<u32>);

/// An entry of a folder.
#[derive(Debug)]
pub(crate) struct Named {
    /// Its name as the server has it.
    pub(crate) name: Vec<u8>,
    /// Bytes.
    pub(crate) size: Option<u64>,
    /// The mode with the kind of file.
    pub(crate) mode: Option<u32>,
    /// Seconds since 1970.
    pub(crate) modified: Option<i64>,
}

/// An answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Done, or why not.
    Status(Option<Status>),
    /// An open file or folder.
    Handle(Vec<u8>),
    /// Bytes of a file.
    Data(Vec<u8>),
    /// Entries of a folder.
    Names(Vec<Named>),
    /// Size and permissions.
    Attrs {
        /// Bytes.
        size: Option<u64>,
        /// The mode with the kind of file.
        mode: Option<u32>,
    },
    /// What an extension answers.
    Extended(Vec<u8>),
}

/// SFTP over a stream.
pub(crate) struct Wire<S> {
    stream: BufReader<S>,
    /// Requests that are still to be sent.
    unsent: Vec<u8>,
    next_id: u32,
    /// What the server is able to do beyond version 3.
    pub(crate) extensions: HashMap<String, Vec<u8>>,
    /// Answers that came before they were asked for.
    early: HashMap<u32, Answer>,
}

fn garbled(what: &str) -> Error {
    Error::endpoint(format!("the server does not speak SFTP: {what}"))
        .kind_of(Kind::Lost)
        .hint("check that the port is an SSH server's with SFTP, and that no login script prints anything")
}

/// Cuts fields from a packet.
struct Fields<'p>(&'p [u8]);

impl<'p> Fields<'p> {
    fn bytes(&mut self, n: usize) -> Result<&'p [u8]> {
        if n > self.0.len() {
            return Err(garbled("a packet is too short"));
        }
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        Ok(head)
    }
    fn u32(&mut self) -> Result<u32> {
        self.bytes(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }
    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }
    /// Size, mode, and the time of the last change.
    fn attributes(&mut self) -> Result<(Option<u64>, Option<u32>, Option<i64>)> {
        let flags = self.u32()?;
        let size = if flags & 1 != 0 { Some(self.u64()?) } else { None };
        if flags & 2 != 0 {
            self.u64()?;
        }
        let mode = if flags & 4 != 0 { Some(self.u32()?) } else { None };
        let modified = if flags & 8 != 0 {
            self.u32()?;
            Some(i64::from(self.u32()?))
        } else {
            None
        };
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok((size, mode, modified))
    }
    fn string(&mut self) -> Result<&'p [u8]> {
        let n = self.u32()? as usize;
        self.bytes(n)
    }
}

/// Builds a packet's body.
#[derive(Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// Adds a number.
    pub(crate) fn u32(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    /// Adds a large number.
    pub(crate) fn u64(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    /// Adds bytes with their length.
    pub(crate) fn string(mut self, bytes: &[u8]) -> Self {
        // Names and chunks are far below 4 GiB.
        self.0.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
    /// Adds a path.
    pub(crate) fn path(self, path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        self.string(if bytes.is_empty() { b"." } else { bytes })
    }
}

impl<S: Read + Write> Wire<S> {
    /// Greets the server.
    pub(crate) fn start(mut stream: S) -> Result<Self> {
        stream.write_all(&[0, 0, 0, 5, INIT, 0, 0, 0, 3]).and_then(|()| stream.flush()).map_err(|e| lost(&e))?;
        let stream = BufReader::with_capacity(TOGETHER_BYTES, stream);
        let mut wire = Self { stream, unsent: Vec::new(), next_id: 1, extensions: HashMap::new(), early: HashMap::new() };
        let (kind, packet) = wire.packet()?;
        if kind != VERSION {
            return Err(garbled("it does not greet"));
        }
        let mut fields = Fields(&packet);
        fields.u32()?;
        while !fields.0.is_empty() {
            let (name, value) = (fields.string()?, fields.string()?);
            wire.extensions.insert(String::from_utf8_lossy(name).into_owned(), value.to_vec());
        }
        Ok(wire)
    }

    /// Sends what waits to be sent.
    fn flush(&mut self) -> Result<()> {
        if !self.unsent.is_empty() {
            self.stream.get_mut().write_all(&self.unsent).map_err(|e| lost(&e))?;
            self.unsent.clear();
        }
        Ok(())
    }

    fn packet(&mut self) -> Result<(u8, Vec<u8>)> {
        self.flush()?;
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).map_err(|e| lost(&e))?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length == 0 || length > PACKET_BYTES_MAX {
            return Err(garbled("a packet has an impossible length"));
        }
        let mut body = vec![0; length - 1];
        self.stream.read_exact(&mut body).map_err(|e| lost(&e))?;
        Ok((head[4], body))
    }

    /// Sends a request, with the next ones or when an answer is awaited; gives its number, by which its answer is asked for.
    pub(crate) fn send(&mut self, kind: u8, body: &Body) -> Result<u32> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let length = (body.0.len() + 5) as u32;
        if self.unsent.len() + body.0.len() > TOGETHER_BYTES {
            self.flush()?;
        }
        self.unsent.extend_from_slice(&length.to_be_bytes());
        self.unsent.push(kind);
        self.unsent.extend_from_slice(&id.to_be_bytes());
        self.unsent.extend_from_slice(&body.0);
        if self.unsent.len() >= TOGETHER_BYTES {
            self.flush()?;
        }
        Ok(id)
    }

    /// The answer to a request.
    pub(crate) fn answer(&mut self, id: u32) -> Result<Answer> {
        loop {
            if let Some(answer) = self.early.remove(&id) {
                return Ok(answer);
            }
            let (kind, packet) = self.packet()?;
            let mut fields = Fields(&packet);
            let for_id = fields.u32()?;
            let answer = match kind {
                STATUS => {
                    let code = fields.u32()?;
                    let message = fields.string().map(|m| String::from_utf8_lossy(m).into_owned()).unwrap_or_default();
                    Answer::Status((code != 0).then_some(Status { code, message }))
                }
                HANDLE => Answer::Handle(fields.string()?.to_vec()),
                DATA => Answer::Data(fields.string()?.to_vec()),
                ATTRS => {
                    let (size, mode, _) = fields.attributes()?;
                    Answer::Attrs { size, mode }
                }
                NAME => {
                    let count = fields.u32()?;
                    let mut names = Vec::new();
                    for _ in 0..count {
                        let name = fields.string()?.to_vec();
                        let line = fields.string()?;
                        let (size, mode, modified) = fields.attributes()?;
                        let mode = mode.or_else(|| kind_of(line));
                        names.push(Named { name, size, mode, modified });
                    }
                    Answer::Names(names)
                }
                EXTENDED_REPLY => Answer::Extended(fields.0.to_vec()),
                other => return Err(garbled(&format!("it answers with packet {other}"))),
            };
            if self.early.len() > 4096 {
                return Err(garbled("it answers what was never asked"));
            }
            self.early.insert(for_id, answer);
        }
    }

    fn status(&mut self, kind: u8, body: &Body) -> Result<Option<Status>> {
        let id = self.send(kind, body)?;
        self.status_of(id)
    }
    /// Whether a request was carried out: none is yes.
    pub(crate) fn status_of(&mut self, id: u32) -> Result<Option<Status>> {
        match self.answer(id)? {
            Answer::Status(status) => Ok(status),
            _ => Err(garbled("it answers with the wrong kind of packet")),
        }
    }

    /// Asks how much a request may carry, where the server tells (OpenSSH's PROTOCOL, 4.8), without waiting for the answer.
    pub(crate) fn ask_limits(&mut self) -> Result<Option<u32>> {
        if !self.extensions.contains_key("limits@openssh.com") {
            return Ok(None);
        }
        self.send(EXTENDED, &Body::default().string(b"limits@openssh.com")).map(Some)
    }
    /// The bytes that one request may read and write, as [`Wire::ask_limits`] was answered; 0: as many as the server likes.
    pub(crate) fn limits(&mut self, asked: u32) -> Result<Option<(u64, u64)>> {
        let Answer::Extended(bytes) = self.answer(asked)? else { return Ok(None) };
        let mut fields = Fields(&bytes);
        fields.u64()?;
        Ok(Some((fields.u64()?, fields.u64()?)))
    }

    /// Opens a file.
    pub(crate) fn open(&mut self, path: &Path, flags: u32) -> Result<Result<Vec<u8>, Status>> {
        let id = self.send_open(path, flags)?;
        self.handle_of(id)
    }
    /// Opens a file without waiting for the answer.
    pub(crate) fn send_open(&mut self, path: &Path, flags: u32) -> Result<u32> {
        self.send(OPEN, &Body::default().path(path).u32(flags).u32(0))
    }
    /// Opens a file or folder for [`Wire::sync`]. OpenSSH gives a handle for a folder opened as a file for reading.
    pub(crate) fn open_folder(&mut self, path: &Path) -> Result<Result<Vec<u8>, Status>> {
        match self.handle(OPEN, &Body::default().path(path).u32(FOR_READING).u32(0))? {
            Ok(handle) => Ok(Ok(handle)),
            Err(_) => self.handle(OPENDIR, &Body::default().path(path)),
        }
    }
    /// The next entries of an open folder; none at its end.
    pub(crate) fn read_folder(&mut self, handle: &[u8]) -> Result<Result<Option<Vec<Named>>, Status>> {
        let id = self.send(READDIR, &Body::default().string(handle))?;
        match self.answer(id)? {
            Answer::Names(names) => Ok(Ok(Some(names))),
            Answer::Status(Some(s)) if s.code == Status::EOF => Ok(Ok(None)),
            Answer::Status(Some(s)) => Ok(Err(s)),
            _ => Err(garbled("it lists without names")),
        }
    }
    pub(crate) fn handle(&mut self, kind: u8, body: &Body) -> Result<Result<Vec<u8>, Status>> {
        let id = self.send(kind, body)?;
        self.handle_of(id)
    }
    /// The handle that a request opened.
    pub(crate) fn handle_of(&mut self, id: u32) -> Result<Result<Vec<u8>, Status>> {
        match self.answer(id)? {
            Answer::Handle(handle) => Ok(Ok(handle)),
            Answer::Status(Some(status)) => Ok(Err(status)),
            _ => Err(garbled("it opens without a handle")),
        }
    }
    /// Closes a handle; some servers report a full disk only here.
    pub(crate) fn close(&mut self, handle: &[u8]) -> Result<Option<Status>> {
        let id = self.send_close(handle)?;
        self.status_of(id)
    }
    /// Closes a handle without waiting for the answer.
    pub(crate) fn send_close(&mut self, handle: &[u8]) -> Result<u32> {
        self.send(CLOSE, &Body::default().string(handle))
    }
    /// Sends a piece of a file without waiting for its answer.
    pub(crate) fn send_write(&mut self, handle: &[u8], offset: u64, bytes: &[u8]) -> Result<u32> {
        self.send(WRITE, &Body::default().string(handle).u64(offset).string(bytes))
    }
    /// Asks for a piece of a file without waiting for its answer.
    pub(crate) fn send_read(&mut self, handle: &[u8], offset: u64, length: u32) -> Result<u32> {
        self.send(READ, &Body::default().string(handle).u64(offset).u32(length))
    }
    /// Size and permissions; none if there is no such file.
    pub(crate) fn stat(&mut self, path: &Path) -> Result<Result<Option<Attributes>, Status>> {
        let id = self.send_stat(path)?;
        self.stat_of(id)
    }
    /// Asks for size and permissions without waiting for the answer.
    pub(crate) fn send_stat(&mut self, path: &Path) -> Result<u32> {
        self.send(STAT, &Body::default().path(path))
    }
    /// The answer to [`Wire::send_stat`].
    pub(crate) fn stat_of(&mut self, id: u32) -> Result<Result<Option<Attributes>, Status>> {
        match self.answer(id)? {
            Answer::Attrs { size, mode } => Ok(Ok(Some((size, mode)))),
            Answer::Status(Some(s)) if s.code == Status::NO_SUCH_FILE => Ok(Ok(None)),
            Answer::Status(Some(s)) => Ok(Err(s)),
            _ => Err(garbled("it answers with the wrong kind of packet")),
        }
    }
    /// Sets the permissions of an open file without waiting for the answer.
    pub(crate) fn send_mode(&mut self, handle: &[u8], mode: u32) -> Result<u32> {
        self.send(FSETSTAT, &Body::default().string(handle).u32(4).u32(mode))
    }
    /// Renames; an existing name is refused by OpenSSH with a plain failure.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> Result<Option<Status>> {
        let id = self.send_rename(from, to)?;
        self.status_of(id)
    }
    /// Renames without waiting for the answer.
    pub(crate) fn send_rename(&mut self, from: &Path, to: &Path) -> Result<u32> {
        self.send(RENAME, &Body::default().path(from).path(to))
    }
    /// Renames and replaces atomically, where the server can, without waiting for the answer.
    pub(crate) fn send_posix_rename(&mut self, from: &Path, to: &Path) -> Result<u32> {
        self.send(EXTENDED, &Body::default().string(b"posix-rename@openssh.com").path(from).path(to))
    }
    /// Makes an open file or folder survive a power cut of the server, where it can.
    pub(crate) fn sync(&mut self, handle: &[u8]) -> Result<Option<Status>> {
        let id = self.send_sync(handle)?;
        self.status_of(id)
    }
    /// The same without waiting for the answer.
    pub(crate) fn send_sync(&mut self, handle: &[u8]) -> Result<u32> {
        self.send(EXTENDED, &Body::default().string(b"fsync@openssh.com").string(handle))
    }
    /// Removes a file.
    pub(crate) fn remove(&mut self, path: &Path) -> Result<Option<Status>> {
        self.status(REMOVE, &Body::default().path(path))
    }
    /// Makes a folder.
    pub(crate) fn make_folder(&mut self, path: &Path) -> Result<Option<Status>> {
        self.status(MKDIR, &Body::default().path(path).u32(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says what it was told to say.
    struct Script(std::io::Cursor<Vec<u8>>, Vec<u8>);
    impl Read for Script {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(to)
        }
    }
    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    fn packet(kind: u8, body: Body) -> Vec<u8> {
        [&((body.0.len() + 1) as u32).to_be_bytes()[..], &[kind], &body.0].concat()
    }

    #[test]
    fn what_an_entry_is_is_read_of_a_line_of_ls_and_of_no_bare_name() {
        assert_eq!(kind_of(b"-rw-r--r--   1 u g 3 Nov 27 10:11 x"), Some(0o100_000));
        assert_eq!(kind_of(b"drwxr-sr-x   1 u g 3 Nov 27 10:11 x"), Some(0o040_000));
        assert_eq!((kind_of(b"data.csv"), kind_of(b"dossier clients.csv"), kind_of(b"")), (None, None, None));
    }

    #[test]
    fn answers_are_matched_to_their_requests_in_any_order() {
        let mut bytes = packet(VERSION, Body::default().u32(3).string(b"fsync@openssh.com").string(b"1"));
        bytes.extend(packet(STATUS, Body::default().u32(2).u32(4).string(b"Failure").string(b"")));
        bytes.extend(packet(HANDLE, Body::default().u32(1).string(b"h")));
        let mut wire = Wire::start(Script(std::io::Cursor::new(bytes), Vec::new())).unwrap();
        assert!(wire.extensions.contains_key("fsync@openssh.com"));
        let (a, b) = (wire.send_read(b"x", 0, 1).unwrap(), wire.send_read(b"x", 1, 1).unwrap());
        assert!(matches!(wire.answer(a).unwrap(), Answer::Handle(h) if h == b"h"));
        assert!(matches!(wire.answer(b).unwrap(), Answer::Status(Some(Status { code: 4, .. }))));
    }

    #[test]
    fn impossible_lengths_and_garbage_end_the_session() {
        for bytes in [vec![0xff; 64], b"Welcome to my server\n".to_vec(), vec![0, 0, 0, 0, 0], vec![0, 0, 0, 9, VERSION, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff]] {
            assert!(Wire::start(Script(std::io::Cursor::new(bytes.clone()), Vec::new())).is_err(), "{bytes:?}");
        }
    }
}
