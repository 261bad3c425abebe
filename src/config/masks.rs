//! What of a configuration may be a secret, and is never shown: not in a message, and not in the line that it tells of.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

/// Whether a text is an address with a password or a query, or holds lines, as a key does.
pub(super) fn may_hold_a_secret(text: &str) -> bool {
    let behind = text.split_once("://").map_or("", |(_, behind)| behind);
    let authority = behind.split('/').next().unwrap_or_default();
    let odd_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.bytes().all(|b| b.is_ascii_digit() || b == b']'));
    let before_host = text.rsplit_once('@').map_or("", |(before, _)| before);
    before_host.contains(':') || odd_port || behind.contains(['?', '#']) || text.contains('\n')
}

/// The values of the lines that may hold a secret by their words, of a text that can't be read as a whole.
pub(super) fn secret_lines(text: &str) -> Vec<Range<usize>> {
    const WORDS: [&str; 9] = ["pass", "secret", "token", "header", "auth", "key", "pwd", "credential", "://"];
    let mut at = 0;
    let mut out = Vec::new();
    for line in text.split_inclusive('\n') {
        let lower = line.to_lowercase();
        if WORDS.iter().any(|word| lower.contains(word)) {
            out.extend(value_on_line(text, &(at..at)));
        }
        at += line.len();
    }
    out
}

/// The value part of the line on which a syntax error stands.
pub(super) fn value_on_line(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let at = span.start.min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let end = text[at..].find('\n').map_or(text.len(), |i| at + i);
    let line = &text[start..end];
    // Without the sign between them, what stands behind the first word may be the value.
    let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let behind_word = || {
        let word = line.len() - line.trim_start().len();
        if line[word..].starts_with('[') { None } else { Some(word + line[word..].find(|c| !is_key(c))?) }
    };
    Some(start + line.find('=').map(|at| at + 1).or_else(behind_word)?..end)
}

/// The places of a value. That of a table which dotted keys make is the key alone: what it holds stands elsewhere.
pub(super) fn places(value: &Spanned<DeValue<'_>>) -> Vec<Range<usize>> {
    let below = value.get_ref().as_table().into_iter().flat_map(|table| table.iter().flat_map(|(_, inner)| places(inner)));
    std::iter::once(value.span()).chain(below).collect()
}
