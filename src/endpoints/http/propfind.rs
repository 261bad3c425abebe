//! WebDAV's listing of a folder (RFC 4918, 9.1): a multistatus document of any size, read as a stream.

use std::fs::File;
use std::io::{BufReader, Seek};

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::endpoints::{Entry, Listed, source_error};
use crate::error::{Error, Kind, Result, shown_bytes};

/// What is asked of each entry.
pub(super) const ASK: &str = r#"<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"#;

/// An entry longer than this is none.
const TEXT_BYTES_MAX: usize = 64 * 1024;

fn garbled(why: &dyn std::fmt::Display) -> Error {
    Error::endpoint(format!("the server's listing can't be read: {why}")).at("list").kind_of(Kind::Unsupported)
}

/// Hands over the entries of a listing of the folder `url`. A listing that does not know the folder itself is an error: its
/// files would be passed over in silence.
pub(super) fn entries(mut spool: File, url: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
    spool.rewind().map_err(|e| source_error(&e))?;
    let base = url::Url::parse(url).map_err(|e| garbled(&e))?;
    let mut folder = path_of(&base, url).unwrap_or_default();
    let (mut first, mut known, mut elsewhere) = (true, false, None);
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
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(name) => text.push(referred(&name).ok_or_else(|| garbled(&format!("&{}; in a name", &*name)))?),
            Event::End(tag) => {
                let Some(entry) = &mut found else { continue };
                match tag.local_name().as_ref() {
                    "href" => {
                        let path = path_of(&base, text.trim()).unwrap_or_default();
                        if std::mem::take(&mut first) && is_folder_elsewhere(&path, &folder) {
                            // A proxy hands on what the server behind it calls otherwise; the folder itself is told first.
                            folder.clone_from(&path);
                        }
                        let name = name_below(&folder, &path);
                        known |= name.is_some() || path == folder;
                        match name {
                            Some(name) => entry.name = name.to_vec(),
                            None if elsewhere.is_none() => elsewhere = Some(path),
                            None => {}
                        }
                    }
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
            Event::Eof => break,
            _ => {}
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(garbled(&"an entry is too long"));
        }
    }
    match elsewhere.filter(|_| !known) {
        Some(path) => Err(garbled(&format!("it names {}, and nothing in {}", shown_bytes(&path), shown_bytes(&folder)))
            .hint("the server calls its folder by another address: put that one into the endpoint's url")),
        None => Ok(()),
    }
}

/// The character that a reference stands for.
fn referred(name: &str) -> Option<char> {
    let code = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        number => number.strip_prefix('#')?,
    };
    let code = code.strip_prefix('x').map_or_else(|| code.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
    code.and_then(char::from_u32)
}

/// The decoded path of an address, which may be relative, without doubled slashes and the one at its end.
fn path_of(base: &url::Url, href: &str) -> Option<Vec<u8>> {
    // It has neither a question nor a part of a page: such signs are a file's name, which some servers write as it is.
    let href = href.replace('?', "%3F").replace('#', "%23");
    let mut out = crate::config::resolve::percent_decoded_bytes(base.join(&href).ok()?.path());
    out.dedup_by(|b, a| *a == b'/' && *b == b'/');
    if out.last() == Some(&b'/') {
        out.pop();
    }
    Some(out)
}

/// Whether a path is another one with the same last part.
fn is_folder_elsewhere(path: &[u8], folder: &[u8]) -> bool {
    path != folder && !folder.is_empty() && path.ends_with(folder) && name_below(folder, path).is_none()
}

/// The name of an entry directly in `folder`; none: it is the folder itself, or lies elsewhere.
fn name_below<'p>(folder: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let name = path.strip_prefix(folder)?.strip_prefix(b"/")?;
    (!name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What is listed of a folder by a server that tells so of it.
    fn told(url: &str, responses: &str) -> Result<Vec<String>> {
        let mut file = tempfile::tempfile().unwrap();
        write!(file, "<multistatus xmlns=\"DAV:\">{responses}</multistatus>").unwrap();
        let mut names = Vec::new();
        entries(file, url, &mut |l| {
            names.push(String::from_utf8(l.name).unwrap());
            Ok(())
        })
        .map(|()| names)
    }

    #[test]
    fn addresses_are_read_however_a_server_writes_them() {
        let of = |hrefs: &[&str]| {
            let responses: String = hrefs.iter().map(|href| format!("<response><href>{href}</href></response>")).collect();
            told("http://h/dav/in/", &responses)
        };
        let read = |hrefs: &[&str]| of(hrefs).unwrap();
        assert_eq!(read(&["/dav/in/", "<![CDATA[/dav/in/x.csv]]>"]), ["x.csv"]);
        assert_eq!(read(&["/dav/in/", "/dav/in/caf&#233;.csv", "/dav/in/&#x41;.csv"]), ["caf\u{e9}.csv", "A.csv"]);
        assert_eq!(read(&["./", "x.csv", "/dav//in/y.csv", "/dav/in/../z.csv"]), ["x.csv", "y.csv"], "relative, and doubled slashes");
        assert_eq!(read(&["/behind/dav/in/", "/behind/dav/in/x.csv"]), ["x.csv"], "a proxy hides where it is");
        assert_eq!(read(&["/dav/in/", "/dav/in/a#1?.csv"]), ["a#1?.csv"], "as it is, where it should be encoded");
        assert_eq!(read(&["/dav/in/"]).len(), 0);
        let e = of(&["/other/", "/other/x.csv"]).unwrap_err().to_string();
        assert!(e.contains("it names /other") && e.contains("nothing in /dav/in"), "{e}");
    }

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
