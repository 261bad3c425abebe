//! WebDAV's listing of a folder (RFC 4918, 9.1): a multistatus document of any size, read as a stream.

use std::fs::File;
use std::io::{BufReader, Seek};

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::endpoints::{Entry, Listed, source_error};
use crate::error::{Error, Kind, Result};

/// What is asked of each entry.
pub(super) const ASK: &str = r#"<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"#;

/// An entry longer than this is none.
const TEXT_BYTES_MAX: usize = 64 * 1024;

fn garbled(why: &dyn std::fmt::Display) -> Error {
    Error::endpoint(format!("the server's listing can't be read: {why}")).at("list").kind_of(Kind::Unsupported)
}

/// Hands over the entries of a listing of the folder `url`.
pub(super) fn entries(mut spool: File, url: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
    spool.rewind().map_err(|e| source_error(&e))?;
    let folder = path_of(url);
    let mut xml = Reader::from_reader(BufReader::new(spool));
    let (mut buf, mut text) = (Vec::new(), String::new());
    let mut found: Option<Listed> = None;
    loop {
        buf.clear();
        match xml.read_event_into(&mut buf).map_err(|e| garbled(&e))? {
            Event::Start(tag) | Event::Empty(tag) => {
                text.clear();
                match tag.local_name().as_ref() {
                    "response" => found = Some(Listed { name: Vec::new(), entry: Entry::File, size: None, modified: None }),
                    "collection" => {
                        if let Some(found) = &mut found {
                            found.entry = Entry::Folder;
                        }
                    }
                    _ => {}
                }
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(name) => text.push(match &*name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                other => return Err(garbled(&format!("&{other}; in a name"))),
            }),
            Event::End(tag) => {
                let Some(entry) = &mut found else { continue };
                match tag.local_name().as_ref() {
                    "href" => entry.name = name_below(&folder, text.trim()).unwrap_or_default(),
                    "getcontentlength" => entry.size = text.trim().parse().ok(),
                    "getlastmodified" => entry.modified = jiff::fmt::rfc2822::parse(text.trim()).ok().map(|t| t.timestamp().as_second()),
                    // The folder itself, and what lies in no folder of ours, has no name.
                    "response" => {
                        if let Some(done) = found.take().filter(|f| !f.name.is_empty()) {
                            each(done)?;
                        }
                    }
                    _ => {}
                }
            }
            Event::DocType(_) => return Err(garbled(&"it has a DTD")),
            Event::Eof => return Ok(()),
            _ => {}
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(garbled(&"an entry is too long"));
        }
    }
}

/// The decoded path of an address, without the slash at its end.
fn path_of(href: &str) -> Vec<u8> {
    let path = match href.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => href,
    };
    let mut out = crate::config::resolve::percent_decoded_bytes(path);
    while out.last() == Some(&b'/') {
        out.pop();
    }
    out
}

/// The name of an entry directly in `folder`; none: it is the folder itself, or lies elsewhere.
fn name_below(folder: &[u8], href: &str) -> Option<Vec<u8>> {
    let path = path_of(href);
    let name = path.strip_prefix(folder)?.strip_prefix(b"/")?;
    (!name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..").then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn entries_of_a_folder_are_read_whatever_prefix_and_address_the_server_uses() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(
            br#"<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">
<D:response><D:href>/in/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat></D:response>
<D:response><D:href>http://h/in/a%20%26b.csv</D:href><D:propstat><D:prop><D:getcontentlength>12</D:getcontentlength><D:getlastmodified>Wed, 25 Nov 2026 19:00:00 GMT</D:getlastmodified></D:prop></D:propstat></D:response>
<D:response><D:href>/in/sub/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat></D:response>
<D:response><D:href>/in/../../etc/passwd</D:href></D:response>
<D:response><D:href>/in/x&amp;y</D:href></D:response>
</D:multistatus>"#,
        )
        .unwrap();
        let mut names = Vec::new();
        entries(file, "http://h:80/in/", &mut |l| {
            names.push((String::from_utf8(l.name).unwrap(), l.entry, l.size, l.modified));
            Ok(())
        })
        .unwrap();
        assert_eq!(
            names,
            [
                ("a &b.csv".to_owned(), Entry::File, Some(12), Some(1_795_633_200)),
                ("sub".to_owned(), Entry::Folder, None, None),
                ("x&y".to_owned(), Entry::File, None, None)
            ]
        );
    }
}
