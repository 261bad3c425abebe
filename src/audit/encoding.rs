//! Which encoding a text is written in, and what tells.
//!
//! UTF-8 and UTF-16 prove themselves. Among the one-byte encodings the guess of `chardetng` is weighed against the PC
//! and Macintosh code pages that it does not know, by what their bytes would spell between other letters.

use crate::formats::text::Charset;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// Its label in the configuration.
    pub label: String,
    /// A byte order mark stands first.
    pub mark: bool,
    /// What tells.
    pub evidence: String,
    /// Lines that are written otherwise than the rest, and in what.
    pub strangers: Vec<(u64, String)>,
}

impl Encoding {
    fn new(label: &str, evidence: impl Into<String>) -> Self {
        Self { label: label.to_owned(), mark: false, evidence: evidence.into(), strangers: Vec::new() }
    }

    /// The encoding itself.
    pub fn charset(&self) -> Charset {
        Charset::named(&self.label).unwrap_or_else(Charset::utf8)
    }

    /// The text that these bytes are, as far as they can be decoded.
    pub fn decode(&self, bytes: &[u8]) -> String {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if self.charset().is_wide() {
            let Some(encoding) = encoding_rs::Encoding::for_label(self.label.as_bytes()) else { return String::new() };
            return encoding.decode(bytes).0.into_owned();
        }
        let mut out = String::new();
        self.charset().decode_into(bytes, &mut out);
        out
    }
}

/// The encoding of a text that begins with `head`; `beyond` are lines from further on.
pub fn guess(head: &[u8], beyond: &[u8]) -> Encoding {
    match head {
        [0xef, 0xbb, 0xbf, ..] => return Encoding { mark: true, ..Encoding::new("utf-8", "a byte order mark") },
        [0xff, 0xfe, ..] => return Encoding { mark: true, ..Encoding::new("utf-16le", "a byte order mark") },
        [0xfe, 0xff, ..] => return Encoding { mark: true, ..Encoding::new("utf-16be", "a byte order mark") },
        _ => {}
    }
    let sample = &head[..head.len().min(64 * 1024)];
    let zeros = |odd: usize| sample.iter().skip(odd).step_by(2).filter(|b| **b == 0).count() * 5 > sample.len();
    match (zeros(0), zeros(1)) {
        (false, true) => return Encoding::new("utf-16le", "every second byte is zero"),
        (true, false) => return Encoding::new("utf-16be", "every second byte is zero"),
        _ => {}
    }
    if head.is_ascii() && beyond.is_ascii() {
        return Encoding::new("utf-8", "only ASCII characters");
    }
    // Lines are judged by themselves: some files were put together from two.
    let mut spelled: Vec<(u64, &[u8])> = Vec::new();
    let mut broken: Vec<(u64, &[u8])> = Vec::new();
    let lines = head.split(|b| *b == b'\n').enumerate().map(|(i, line)| (i as u64 + 1, line));
    let count = head.split(|b| *b == b'\n').count();
    for (number, line) in lines.filter(|(_, line)| !line.is_ascii()) {
        match std::str::from_utf8(line) {
            Ok(_) => spelled.push((number, line)),
            // The last line may have been cut within a character.
            Err(e) if number as usize == count && e.error_len().is_none() => {}
            Err(_) => broken.push((number, line)),
        }
    }
    let further = beyond.split(|b| *b == b'\n').filter(|l| !l.is_ascii());
    let (more_spelled, more_broken): (Vec<&[u8]>, Vec<&[u8]>) = further.partition(|l| std::str::from_utf8(l).is_ok());
    let (good, bad) = (spelled.len() + more_spelled.len(), broken.len() + more_broken.len().saturating_sub(1));
    if good > 0 && good >= bad {
        let first = spelled.first().map_or_else(String::new, |(n, _)| format!(" (line {n} first)"));
        let mut found = Encoding::new("utf-8", format!("its letters and signs beyond ASCII are UTF-8{first}"));
        let other = single_byte(&broken.iter().flat_map(|(_, l)| l.iter().copied().chain([b'\n'])).collect::<Vec<u8>>());
        found.strangers = broken.iter().map(|(n, _)| (*n, other.clone())).collect();
        return found;
    }
    let text: Vec<u8> = if broken.is_empty() { beyond.to_vec() } else { broken.iter().flat_map(|(_, l)| l.iter().copied().chain([b'\n'])).collect() };
    if text.is_empty() {
        return Encoding::new("utf-8", "only ASCII characters");
    }
    let label = single_byte(&text);
    let charset = Charset::named(&label).unwrap_or_else(Charset::utf8);
    let evidence = broken.first().map_or_else(
        || "bytes further on are not UTF-8".to_owned(),
        |(n, line)| {
            let byte = line.iter().copied().find(|b| *b >= 0x80).unwrap_or_default();
            let mut spelling = String::new();
            charset.decode_into(line, &mut spelling);
            let sign = spelling.chars().find(|c| !c.is_ascii()).unwrap_or('?');
            format!("line {n} is not UTF-8: its byte 0x{byte:02X} is {sign} in {}", charset.name())
        },
    );
    let mut found = Encoding::new(&label, evidence);
    found.strangers = spelled.iter().map(|(n, _)| (*n, "utf-8".to_owned())).collect();
    found
}

/// The most likely one-byte encoding of bytes that are not UTF-8.
fn single_byte(text: &[u8]) -> String {
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(text, true);
    let guessed = detector.guess(None, chardetng::Utf8Detection::Deny);
    let mut best = Charset::Whatwg(guessed).name();
    let western = spelling("windows-1252", text);
    if western.faults == 0 && western.letters > 0 && western.letters == western.common {
        best = "windows-1252".into();
    }
    let mut faults = spelling(&best, text).faults;
    for other in ["windows-1252", "iso-8859-15", "cp850", "cp858", "macintosh"] {
        let found = spelling(other, text);
        // One strange sign proves little: what it would be instead must be a letter that is written every day.
        let surer = if found.letters >= 3 { found.faults * 3 < faults } else { found.faults == 0 && found.letters == found.common && found.letters > 0 };
        if faults > 0 && surer {
            (best, faults) = (other.to_owned(), found.faults);
        }
    }
    // The euro sign of ISO-8859-15 is a currency sign in Windows-1252, which nobody writes.
    let alone = |byte: u8| {
        text.windows(3).any(|w| {
            w[1] == byte && !w[0].is_ascii_alphabetic() && !w[2].is_ascii_alphabetic() && (w[0].is_ascii_digit() || w[2].is_ascii_digit() || w[0] == b' ')
        })
    };
    if best == "windows-1252" && alone(0xa4) && !text.contains(&0x80) { "iso-8859-15".into() } else { best }
}

/// Letters that French and German texts are full of.
const COMMON: &str = "éèêëàâçîïôùûüöäßœÉÈÊÀÇÔÖÄÜ";
/// Signs of business texts that stand beside words and numbers.
const SIGNS: &str = "€£°§«»’‘“”–—…²³½µ®©·\u{a0}ªº™•¼¾±";

/// How a text reads in an encoding.
struct Spelling {
    /// Signs where no word or amount has them.
    faults: usize,
    /// Letters within words.
    letters: usize,
    /// Those of them that are common.
    common: usize,
}

fn spelling(label: &str, text: &[u8]) -> Spelling {
    let mut out = Spelling { faults: 0, letters: 0, common: 0 };
    let Some(charset) = Charset::named(label) else { return Spelling { faults: usize::MAX, ..out } };
    let mut decoded = String::new();
    charset.decode_into(text, &mut decoded);
    let chars: Vec<char> = decoded.chars().collect();
    for (i, c) in chars.iter().enumerate().filter(|(_, c)| !c.is_ascii()) {
        let before = i.checked_sub(1).map_or(' ', |i| chars[i]);
        let behind = chars.get(i + 1).copied().unwrap_or(' ');
        let latin = |c: char| c.is_alphabetic() && (c.is_ascii() || (c as u32) < 0x250);
        let well = match c {
            '\u{fffd}' | '\u{80}'..='\u{9f}' => false,
            c if c.is_alphabetic() => {
                // A capital in a word of small letters is no spelling, nor are letters of two scripts in one word.
                let capital = before.is_lowercase() && c.is_uppercase();
                let scripts = !latin(*c) && (before.is_ascii_alphabetic() || behind.is_ascii_alphabetic());
                let alone = !before.is_alphabetic() && !behind.is_alphabetic() && !"àÀéÉôÔyYøØåÅ".contains(*c) && latin(*c);
                if !alone {
                    out.letters += 1;
                    out.common += usize::from(COMMON.contains(*c));
                }
                !capital && !scripts && !alone
            }
            '’' => true,
            c if SIGNS.contains(*c) => !(before.is_alphabetic() && behind.is_alphabetic()),
            _ => false,
        };
        out.faults += usize::from(!well);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, label: &str) -> Encoding {
        let mut bytes = Vec::new();
        crate::formats::text::Encoder::named(label, false).unwrap().encode(text, &mut bytes).unwrap();
        guess(&bytes, &[])
    }

    const FRENCH: &str = "Société;Libellé;Montant\nMénagerie Noël;Déjà réglé à l'échéance;12,50\nCafé François;Reçu n° 12 – août;3,00\n";

    #[test]
    fn french_text_is_told_in_the_encodings_that_business_programs_write() {
        for label in ["utf-8", "windows-1252", "utf-16le", "utf-16be", "cp850", "macintosh"] {
            let text = if label == "cp850" { FRENCH.replace('–', "-") } else { FRENCH.to_owned() };
            assert_eq!(of(&text, label).label, label);
        }
    }

    #[test]
    fn a_euro_sign_tells_the_two_encodings_apart_that_differ_by_it() {
        assert_eq!(of("Café;12 €\nthé;3 €\n", "iso-8859-15").label, "iso-8859-15");
        assert_eq!(of("Café;12 €\nthé;3 €\n", "windows-1252").label, "windows-1252");
        assert_eq!(of("Café;12 €\nthé;3 €\nrésumé;1 €\n", "cp858").label, "cp858");
    }

    #[test]
    fn lines_in_another_encoding_are_told_by_their_numbers() {
        let mut bytes = "a;é\nb;è\nc;ê\n".as_bytes().to_vec();
        bytes.extend(b"d;\xe9t\xe9\n");
        let found = guess(&bytes, &[]);
        assert_eq!((found.label.as_str(), found.strangers), ("utf-8", vec![(4, "windows-1252".to_owned())]));
    }

    #[test]
    fn a_character_cut_at_the_end_of_what_was_read_is_no_other_encoding() {
        let text = "é;é\nl'été".as_bytes();
        assert_eq!(guess(&text[..text.len() - 1], &[]).label, "utf-8");
    }
}
