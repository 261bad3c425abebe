//! Covers an endpoint's own secrets in what its server says.
//!
//! Servers repeat what they were sent: a login in a refusal, a header in a page about an error. What they say is stored
//! in the journal, in error notes and in logs, so it is covered before it leaves the endpoint. Only what is sent to a
//! server can come back from it; no other secret is looked for.

use secrecy::ExposeSecret;

use crate::config::EndpointConfig;

/// What stands in a secret's place.
const COVER: &str = "***";

/// Shorter texts are covered only where they stand as a word, or nothing of an answer would be left.
const WORD_MAX: usize = 3;

/// Of a secret that was cut off at the end of an answer, so many characters give it away.
const CUT_MIN: usize = 4;

/// Headers that tell what is sent and not who sends it.
const PUBLIC: [&str; 3] = ["accept", "content-", "user-agent"];

/// The secrets of an endpoint, in every form in which they may come back; the longest first.
#[derive(Debug, Default)]
pub(super) struct Veil(Vec<String>);

impl Veil {
    /// The veil over what that endpoint says.
    pub(super) fn of(config: &EndpointConfig) -> Self {
        let mut secrets: Vec<String> = Vec::new();
        for secret in [&config.password, &config.passphrase].into_iter().flatten() {
            secrets.push(secret.expose_secret().to_owned());
        }
        if let Some(password) = &config.password {
            secrets.push(openssl::base64::encode_block(format!("{}:{}", config.user, password.expose_secret()).as_bytes()));
        }
        for (name, value) in &config.headers {
            let name = name.to_ascii_lowercase();
            if PUBLIC.iter().any(|p| name.starts_with(p)) {
                continue;
            }
            let value = value.expose_secret().trim();
            secrets.push(value.to_owned());
            // "Bearer token": the token alone, and what a token of Basic says in plain text.
            if let Some((_, token)) = value.split_once(' ') {
                secrets.push(token.trim().to_owned());
                let plain = openssl::base64::decode_block(token.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                secrets.extend(plain.as_deref().and_then(|text| text.split_once(':')).map(|(_, password)| password.trim_end_matches('\0').to_owned()));
            }
        }
        let mut forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).filter(|form| !form.is_empty()).collect();
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self(forms)
    }

    /// The text without the secrets.
    pub(super) fn over(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in &self.0 {
            if form.chars().count() > WORD_MAX {
                text = text.replace(form, COVER);
            } else {
                text = cover_words(&text, form);
            }
            if let Some(cut) = cut_off(&text, form) {
                text.replace_range(cut.., COVER);
            }
        }
        text
    }
}

/// How a server may write it back: as it is, with its blanks made one, in an address, in JSON (also with escaped slashes and
/// in ASCII alone) and in HTML.
fn forms(secret: &str) -> Vec<String> {
    let address: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_matches('"').to_owned();
    let mut ascii = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
    }
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    vec![
        secret.split_whitespace().collect::<Vec<_>>().join(" "),
        address.replace('+', "%20"),
        address.to_lowercase(),
        address,
        json.replace('/', "\\/"),
        ascii.replace('/', "\\/"),
        json,
        ascii,
        html.replace('"', "&quot;").replace('\'', "&#39;"),
        html.replace('"', "&#34;").replace('\'', "&#x27;"),
        html.replace('"', "&quot;").replace('\'', "&#039;"),
        html,
        secret.to_owned(),
    ]
}

fn cover_words(text: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let last = before.chars().next_back().or_else(|| out.chars().next_back());
        out.push_str(before);
        out.push_str(if inside(last) || inside(after.chars().next()) { word } else { COVER });
        rest = after;
    }
    out + rest
}

/// Where the text ends in the beginning of a secret.
fn cut_off(text: &str, secret: &str) -> Option<usize> {
    let longest = secret.char_indices().map(|(at, _)| at).skip(CUT_MIN);
    longest.filter(|at| text.ends_with(&secret[..*at])).max().map(|at| text.len() - at)
}
