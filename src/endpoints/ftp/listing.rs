//! Lines of a folder's listing: MLSD's, or what LIST shows, which each kind of server writes its own way.

use suppaftp::list::{File, ListParser, ParseError};

use crate::endpoints::{Entry, Listed};

/// Reads a line of a listing.
pub(super) type Line = fn(&str) -> Result<File, ParseError>;

/// A longer line of a listing is none.
pub(super) const LINE_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn listed_by_looks(line: &str) -> Result<File, ParseError> {
    ListParser::parse_posix(line).or_else(|_| ListParser::parse_dos(line)).or_else(|e| ListParser::parse_mlsd(&spelt_out(line).ok_or(e)?))
}

/// What the library does not read, as a line of MLSD: owners with blanks or without a group, marks behind the permissions,
/// months of other languages, ISO dates (Unix); years of four digits, hours up to 23 (Windows).
fn spelt_out(line: &str) -> Option<String> {
    let (kind, size, modified, name) = unix(line).or_else(|| windows(line))?;
    Some(format!("type={kind};size={size};modify={modified}; {name}"))
}

type Facts<'l> = (&'static str, u64, String, &'l str);

fn unix(line: &str) -> Option<Facts<'_>> {
    let kind = match line.as_bytes().first()? {
        b'd' => "dir",
        b'-' => "file",
        // A link, or a device.
        b'l' | b'b' | b'c' | b'p' | b's' => "OS.unix=special",
        _ => return None,
    };
    if !line.get(1..10)?.bytes().all(|b| b"rwxsStT-".contains(&b)) {
        return None;
    }
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    // The size stands before the date.
    (2..words.len().checked_sub(2)?).find_map(|at| {
        let size = words[at - 1].parse().ok()?;
        let rest = &words[at..];
        let (modified, wide) = match rest {
            [date, time, ..] if date.len() == 10 => (iso(date, time)?, 2),
            [month, day, when, ..] if month_of(month).is_some() => (dated(month, day, when)?, 3),
            [day, month, when, ..] => (dated(month, day, when)?, 3),
            _ => return None,
        };
        // One blank stands before the name, which may begin with others.
        let before = rest[wide - 1];
        let from = before.as_ptr() as usize - line.as_ptr() as usize + before.len();
        let zone = rest.get(wide).filter(|word| wide == 2 && word.len() == 5 && word.starts_with(['+', '-']) && word[1..].bytes().all(|b| b.is_ascii_digit()));
        let name = line.get(from..)?.strip_prefix(' ')?;
        let name = zone.map_or(name, |zone| name.strip_prefix(zone).and_then(|n| n.strip_prefix(' ')).unwrap_or(name));
        Some((kind, size, modified, name))
    })
}

fn windows(line: &str) -> Option<Facts<'_>> {
    let (date, rest) = line.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    let (size, name) = rest.trim_start().split_once(' ')?;
    let [month, day, year] = date.split('-').map(|n| n.parse::<u16>().ok()).collect::<Option<Vec<u16>>>()?[..] else { return None };
    let year = if date.len() == 10 { year } else { 2000 + year % 100 };
    let (clock, later) = match time.get(5..)?.to_ascii_uppercase().as_str() {
        "" => (time, None),
        "AM" => (&time[..5], Some(0)),
        "PM" => (&time[..5], Some(12)),
        _ => return None,
    };
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let hour = later.map_or(hour, |later| hour % 12 + later);
    let (kind, size) = if size == "<DIR>" { ("dir", 0) } else { ("file", size.replace(',', "").parse().ok()?) };
    Some((kind, size, format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}00"), name.trim_start()))
}

/// `2026-11-28 10:11`, with seconds or without.
fn iso(date: &str, time: &str) -> Option<String> {
    let date: jiff::civil::Date = date.parse().ok()?;
    let time: jiff::civil::Time = time.parse().ok()?;
    Some(date.to_datetime(time).strftime("%Y%m%d%H%M%S").to_string())
}

/// A day with its year, or with its time: then it lies within the last months.
fn dated(month: &str, day: &str, when: &str) -> Option<String> {
    let (month, day) = (month_of(month)?, day.trim_end_matches('.').parse::<i8>().ok()?);
    if let Some((hour, minute)) = when.split_once(':') {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let at = |year: i16| Some(jiff::civil::date(year, 1, 1).with().month(month).day(day).build().ok()?.at(hour.parse().ok()?, minute.parse().ok()?, 0, 0));
        // Clocks and zones differ by a day at most.
        let at = at(now.year()).filter(|at| *at <= now + jiff::SignedDuration::from_hours(24)).or_else(|| at(now.year() - 1))?;
        return Some(at.strftime("%Y%m%d%H%M%S").to_string());
    }
    let year: u16 = when.parse().ok().filter(|year| (1900..3000).contains(year))?;
    Some(format!("{year:04}{month:02}{day:02}000000"))
}

/// A month by its first letters, in English, French or German; accents come as several characters, and do not count.
fn month_of(word: &str) -> Option<i8> {
    const MONTHS: [&[&str]; 12] = [
        &["jan", "janv"],
        &["feb", "fvr", "fv"],
        &["mar", "mars", "mr", "mrz"],
        &["apr", "avr", "avril"],
        &["may", "mai"],
        &["jun", "juin"],
        &["jul", "juil"],
        &["aug", "aot"],
        &["sep", "sept"],
        &["oct", "okt"],
        &["nov"],
        &["dec", "dc", "dez"],
    ];
    let letters: String = word.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let at = MONTHS.iter().position(|names| names.contains(&letters.as_str()))?;
    i8::try_from(at + 1).ok()
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

/// Whether a line that is no entry says nothing of one: `total 12`, or the folder's own name before it.
pub(super) fn is_heading(line: &str) -> bool {
    let line = line.trim();
    let count = line.strip_prefix("total").is_some_and(|rest| rest.trim().bytes().all(|b| b.is_ascii_digit()));
    line.is_empty() || count || line.ends_with(':')
}

/// What a line of a listing was.
pub(super) enum Read {
    /// An entry.
    Entry(Listed),
    /// None that is wanted: the folder itself.
    Passed,
    /// It can't be read.
    Unread,
}

/// An entry of a listing.
pub(super) fn entry(line: &str, parse: Line) -> Read {
    match parse(line) {
        Ok(file) => listed(line, &file).map_or(Read::Passed, Read::Entry),
        Err(_) if is_heading(line) => Read::Passed,
        Err(_) => Read::Unread,
    }
}

fn listed(line: &str, file: &File) -> Option<Listed> {
    // Each byte of the name was one character.
    let name: Vec<u8> = exact_name(line, file).chars().map_while(|c| u8::try_from(c).ok()).collect();
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
    // The facts of MLSD need not tell the size (RFC 3659, 7.5): the library calls that one 0.
    let facts = line.split_once("; ").map(|(facts, _)| facts.to_ascii_lowercase()).filter(|facts| facts.contains('='));
    let told = facts.is_none_or(|facts| facts.split(';').any(|fact| fact.starts_with("size=")));
    Some(Listed { name, entry, size: told.then_some(file.size() as u64), modified })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(String, Entry, u64, String)> {
        let Read::Entry(e) = entry(line, listed_by_looks) else { return None };
        let time = jiff::Timestamp::from_second(e.modified?).ok()?.to_string();
        Some((String::from_utf8(e.name).ok()?, e.entry, e.size?, time))
    }

    #[test]
    fn a_list_is_read_as_most_servers_write_it() {
        for (line, time) in [
            ("-rw-r--r--+ 1 erp erp 120 May 30  2019  a b.csv", "2019-05-30T00:00:00Z"),
            ("-rw-r--r--. 1 erp erp 120 May 30  2019  a b.csv", "2019-05-30T00:00:00Z"),
            ("-rw-r--r-- 1 erp 120 May 30  2019  a b.csv", "2019-05-30T00:00:00Z"),
            ("-rw-r--r-- 1 erp Domain Users 120 May 30  2019  a b.csv", "2019-05-30T00:00:00Z"),
            ("-rw-r--r-- 1 erp erp 120 30 mai 2019  a b.csv", "2019-05-30T00:00:00Z"),
            ("-rw-r--r-- 1 erp erp 120 28 f\u{c3}\u{a9}vr. 2019  a b.csv", "2019-02-28T00:00:00Z"),
            ("-rw-r--r-- 1 erp erp 120 2019-05-30 10:11  a b.csv", "2019-05-30T10:11:00Z"),
            ("-rw-r--r-- 1 erp erp 120 2019-05-30 10:11:12.000000000 +0000  a b.csv", "2019-05-30T10:11:12Z"),
        ] {
            assert_eq!(read(line), Some((" a b.csv".into(), Entry::File, 120, time.into())), "{line}");
        }
        for (line, kind, size, time) in [
            ("11-28-2019  03:19PM              1,403 a b.csv", Entry::File, 1403, "2019-11-28T15:19:00Z"),
            ("11-28-19  15:19                 1403 a b.csv", Entry::File, 1403, "2019-11-28T15:19:00Z"),
            ("11-28-2019  12:05AM       <DIR>          a b.csv", Entry::Folder, 0, "2019-11-28T00:05:00Z"),
        ] {
            assert_eq!(read(line), Some(("a b.csv".into(), kind, size, time.into())), "{line}");
        }
        let young = read("-rw-r--r-- 1 erp Domain Users 120 28 nov. 10:11 a.csv").unwrap();
        assert!(young.3.ends_with("-11-28T10:11:00Z"), "{young:?}");
        assert!(matches!(entry("total 12", listed_by_looks), Read::Passed) && matches!(entry("d [R----F--] supervisor 512 x", listed_by_looks), Read::Unread));
    }
}
