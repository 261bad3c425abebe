//! Lines of a folder's listing: MLSD's, or what LIST shows, which each kind of server writes its own way.

use suppaftp::list::{File, ListParser, ParseError};

use crate::endpoints::{Entry, Listed};

/// Reads a line of a listing.
pub(super) type Line = fn(&str) -> Result<File, ParseError>;

/// A longer line of a listing is none.
pub(super) const LINE_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn listed_by_looks(line: &str) -> Result<File, ParseError> {
    ListParser::parse_posix(line).or_else(|_| ListParser::parse_dos(line))
}

/// The address in "227 Entering Passive Mode (10,0,0,5,195,80)".
pub(super) fn pasv_address(words: &str) -> Option<std::net::IpAddr> {
    let numbers: Vec<u8> = words.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let [.., a, b, c, d, _, _] = numbers[..] else { return None };
    Some(std::net::Ipv4Addr::new(a, b, c, d).into())
}

/// The name with the blanks at its ends, which the library takes for what stands between the columns.
fn exact_name<'l>(line: &'l str, file: &'l File) -> &'l str {
    // Behind the facts of MLSD (RFC 3659, 7.2), and in a Unix server's list, one blank stands before the name.
    if let Some((_, name)) = line.split_once(' ').filter(|(facts, _)| facts.is_empty() || facts.ends_with(';')) {
        return name;
    }
    let unix = !line.starts_with(|c: char| c.is_ascii_digit()) && !file.is_symlink();
    let Some(at) = line.rfind(file.name()).filter(|_| unix && !file.name().is_empty()) else { return file.name() };
    let blanks = line[..at].len() - line[..at].trim_end_matches(' ').len();
    &line[at - blanks.saturating_sub(1)..]
}

/// An entry of a listing; a line that is none ("total 12") is passed over.
pub(super) fn entry(line: &str, parse: Line) -> Option<Listed> {
    let file = parse(line).ok()?;
    // Each byte of the name was one character.
    let name: Vec<u8> = exact_name(line, &file).chars().map_while(|c| u8::try_from(c).ok()).collect();
    let name = name.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
    if name.is_empty() || name == b"." || name == b".." {
        return None;
    }
    let entry = if file.is_directory() {
        Entry::Folder
    } else if file.is_file() {
        Entry::File
    } else {
        Entry::Other
    };
    let modified = file.modified().duration_since(std::time::UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_secs()).ok()).filter(|s| *s > 0);
    Some(Listed { name, entry, size: Some(file.size() as u64), modified })
}
