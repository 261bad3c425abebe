//! What two column names have to do with each other: `CodeClient` and `customer_id`, `PLZ` and `Code postal`.
//!
//! Names are taken apart into the concepts of `terms.txt`; that table is the only knowledge of languages in the house.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

const TERMS: &str = include_str!("terms.txt");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Attribute,
    Entity,
    Generic,
    Code,
    Date,
}

struct Terms {
    /// Words, each with the places of its concepts.
    words: HashMap<String, Vec<u16>>,
    concepts: Vec<(String, Kind)>,
    longest: usize,
}

static KNOWN: LazyLock<Terms> = LazyLock::new(|| {
    let mut known = Terms { words: HashMap::new(), concepts: Vec::new(), longest: 0 };
    for line in TERMS.lines().filter(|l| !l.starts_with('#')) {
        let Some((head, words)) = line.split_once(':') else { continue };
        let (kind, name) = head.split_once(' ').unwrap_or(("a", head));
        let kind = match kind {
            "e" => Kind::Entity,
            "g" => Kind::Generic,
            "c" => Kind::Code,
            "d" => Kind::Date,
            _ => Kind::Attribute,
        };
        let at = known.concepts.len() as u16;
        known.concepts.push((name.to_owned(), kind));
        for word in words.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            known.longest = known.longest.max(word.len());
            let of = known.words.entry(word.to_owned()).or_default();
            if !of.contains(&at) {
                of.push(at);
            }
        }
    }
    known
});

/// Concepts that are nearly the same, and how nearly.
const RELATED: &[(&str, &str, f64)] = &[
    ("name", "label", 0.75),
    ("label", "description", 0.8),
    ("name", "company", 0.7),
    ("name", "lastname", 0.7),
    ("description", "memo", 0.7),
    ("label", "memo", 0.5),
    ("payee", "name", 0.5),
    ("payee", "customer", 0.4),
    ("payee", "supplier", 0.4),
    ("payee", "description", 0.3),
    ("id", "code", 0.8),
    ("id", "number", 0.8),
    ("id", "reference", 0.6),
    ("code", "number", 0.7),
    ("code", "reference", 0.7),
    ("number", "reference", 0.7),
    ("phone", "mobile", 0.5),
    ("price", "amount", 0.5),
    ("price", "saleprice", 0.6),
    ("price", "compareprice", 0.5),
    ("compareprice", "saleprice", 0.3),
    ("amount", "total", 0.5),
    ("amount", "debit", 0.5),
    ("amount", "credit", 0.5),
    ("date", "bookingdate", 0.8),
    ("date", "documentdate", 0.7),
    ("date", "valuedate", 0.6),
    ("date", "created", 0.5),
    ("date", "updated", 0.4),
    ("date", "invoicedate", 0.7),
    ("date", "orderdate", 0.6),
    ("date", "deliverydate", 0.6),
    ("documentdate", "invoicedate", 0.85),
    ("documentdate", "orderdate", 0.7),
    ("invoicedate", "orderdate", 0.5),
    ("created", "start", 0.5),
    ("tax", "rate", 0.6),
    ("rate", "price", 0.4),
    ("gross", "total", 0.7),
    ("revenue", "amount", 0.6),
    ("quantity", "available", 0.6),
    ("salesperson", "supplier", 0.2),
    ("searchname", "name", 0.6),
    ("employeeid", "id", 0.6),
    ("employeeid", "employee", 0.8),
    ("reason", "memo", 0.6),
    ("terms", "payment", 0.6),
    ("bookingdate", "documentdate", 0.5),
    ("bookingdate", "valuedate", 0.4),
    ("status", "active", 0.5),
    ("type", "category", 0.6),
    ("voucher", "reference", 0.7),
    ("voucher", "number", 0.4),
    ("reference", "endtoend", 0.6),
    ("country", "countrycode", 0.6),
    ("state", "statecode", 0.6),
    ("insee", "code", 0.5),
    ("entry_label", "description", 0.8),
    ("entry_label", "label", 0.8),
    ("sku", "code", 0.6),
    ("sku", "reference", 0.7),
    ("email", "newsletter", 0.2),
    ("tax", "vatnumber", 0.4),
    ("civility", "gender", 0.4),
    ("quantity", "delivered", 0.4),
    ("account", "customer", 0.2),
    ("iban", "account", 0.6),
    ("iban", "bankaccount", 0.9),
    ("invoicenumber", "voucher", 0.6),
    ("invoicenumber", "number", 0.5),
    ("ordernumber", "reference", 0.5),
    ("membersince", "created", 0.7),
    ("membersince", "start", 0.5),
    ("booking", "reference", 0.6),
    ("policy", "reference", 0.4),
    ("consignee", "payee", 0.7),
    ("expiry", "end", 0.5),
    ("gross", "total", 0.7),
];

/// A name without accents, in small letters, cut into words.
pub fn words(name: &str) -> Vec<String> {
    let plain: String = name.replace(['ß'], "ss").replace(['œ', 'Œ'], "oe").nfd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)).collect();
    let mut out: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = plain.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let behind = chars.get(i + 1);
        // A capital begins a word: `CodeClient`, `IBANClient`.
        let hump = c.is_uppercase()
            && (before.is_some_and(char::is_lowercase) || (before.is_some_and(char::is_uppercase) && behind.is_some_and(|b| b.is_lowercase())));
        if (!c.is_alphanumeric() || hump) && !word.is_empty() {
            out.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    const FILLERS: &[&str] = &[
        "de", "du", "des", "la", "le", "les", "l", "d", "of", "the", "der", "die", "das", "von", "a", "et", "and", "und", "eur", "yyyy", "mm", "dd", "0", "1",
        "is", "est",
    ];
    let kept: Vec<String> = out.iter().filter(|w| !FILLERS.contains(&w.as_str())).cloned().collect();
    if kept.is_empty() { out } else { kept }
}

/// What a name is made of: concepts, and words that none stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meaning {
    /// Each with its concepts.
    parts: Vec<(String, Vec<u16>)>,
    /// All words together.
    joined: String,
    /// All letters and digits of the name.
    full: String,
}

impl Meaning {
    /// What other names may share with it: the name as a whole, its words, its concepts.
    pub fn terms(&self) -> impl Iterator<Item = &str> {
        let concepts = self.parts.iter().flat_map(|(_, concepts)| concepts).map(|c| KNOWN.concepts[usize::from(*c)].0.as_str());
        [self.full.as_str(), self.joined.as_str()].into_iter().chain(self.parts.iter().map(|(word, _)| word.as_str())).chain(concepts)
    }
}

/// Takes a name apart. Of a path, the last part counts most: the ones before are kept as they are.
pub fn meaning(name: &str) -> Meaning {
    let words = words(name);
    let mut parts = Vec::new();
    let mut at = 0;
    while at < words.len() {
        // The longest run of words that is one term: `raison sociale`, `code postal`.
        let run = (1..=4.min(words.len() - at)).rev().find_map(|n| {
            let joined = words[at..at + n].concat();
            KNOWN.words.get(&joined).map(|c| (n, joined, c.clone()))
        });
        match run {
            Some((n, joined, concepts)) => {
                parts.push((joined, concepts));
                at += n;
            }
            None => {
                match compound(&words[at]) {
                    Some(found) => parts.extend(found),
                    None => parts.push((words[at].clone(), Vec::new())),
                }
                at += 1;
            }
        }
    }
    let full = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Meaning { parts, joined: words.concat(), full }
}

/// A word, and its concepts.
type Part = (String, Vec<u16>);

/// Longer words are no words, and longer names are not compared letter by letter.
const WORD_BYTES_MAX: usize = 60;
const NAME_BYTES_MAX: usize = 200;

/// A word that is put together of known ones: `kundennummer`, `codeclient`.
fn compound(word: &str) -> Option<Vec<Part>> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let longest = word.len().min(KNOWN.longest);
    (2..=longest).rev().filter(|n| word.is_char_boundary(*n)).find_map(|n| {
        let (head, tail) = word.split_at(n);
        let known = KNOWN.words.get(head).filter(|_| n >= 3 || tail.is_empty())?;
        // What is left must be known too, or be nothing.
        let mut parts = vec![(head.to_owned(), known.clone())];
        if !tail.is_empty() {
            parts.extend(compound(tail)?);
        }
        Some(parts)
    })
}

fn weight(part: &(String, Vec<u16>)) -> f64 {
    let kinds = part.1.iter().map(|c| KNOWN.concepts[usize::from(*c)].1);
    kinds
        .map(|k| match k {
            Kind::Attribute | Kind::Code | Kind::Date => 1.0,
            Kind::Entity => 0.35,
            Kind::Generic => 0.5,
        })
        .fold(None, |most: Option<f64>, w| Some(most.map_or(w, |m| m.max(w))))
        .unwrap_or(0.6)
}

fn is_generic(part: &Part) -> bool {
    part.1.iter().any(|c| KNOWN.concepts[usize::from(*c)].1 == Kind::Generic)
}

fn likeness(a: &(String, Vec<u16>), b: &(String, Vec<u16>)) -> f64 {
    if a.0 == b.0 {
        return 1.0;
    }
    let mut most: f64 = 0.0;
    for x in &a.1 {
        for y in &b.1 {
            if x == y {
                return 0.95;
            }
            let (x, y) = (&KNOWN.concepts[usize::from(*x)].0, &KNOWN.concepts[usize::from(*y)].0);
            let related = RELATED.iter().find(|(p, q, _)| (p == x && q == y) || (p == y && q == x));
            most = most.max(related.map_or(0.0, |(_, _, w)| *w));
        }
    }
    if a.1.is_empty() || b.1.is_empty() {
        let near = if a.0.len().max(b.0.len()) > NAME_BYTES_MAX { 0.0 } else { strsim::normalized_damerau_levenshtein(&a.0, &b.0) };
        let begins = a.0.len().min(b.0.len()) >= 3 && (a.0.starts_with(&b.0) || b.0.starts_with(&a.0));
        most = most.max(if near >= 0.75 {
            near * 0.9
        } else if begins {
            0.6
        } else {
            0.0
        });
    }
    most
}

/// How alike two names are: 0 … 1.
pub fn similarity(a: &Meaning, b: &Meaning) -> f64 {
    if a.joined.is_empty() || b.joined.is_empty() {
        return 0.0;
    }
    if a.full == b.full {
        return 1.0;
    }
    if a.joined == b.joined {
        // They differ by a number, or by what says nothing.
        let numbers = |m: &Meaning| m.full.chars().filter(char::is_ascii_digit).collect::<String>();
        return if numbers(a) == numbers(b) || numbers(a).is_empty() || numbers(b).is_empty() || numbers(a) == "01" || numbers(b) == "01" { 0.99 } else { 0.7 };
    }
    // Each part of the one finds its best in the other.
    let mut taken = vec![false; b.parts.len()];
    let (mut shared, mut all) = (0.0, 0.0);
    // `customer` is the customer's code: who is named alone is named by what tells him apart.
    let about_an_entity = a.parts.len().min(b.parts.len()) == 1;
    let mut unmatched = Vec::new();
    let mut order: Vec<&(String, Vec<u16>)> = a.parts.iter().collect();
    order.sort_by(|x, y| weight(y).total_cmp(&weight(x)));
    for part in order {
        let best = b.parts.iter().enumerate().filter(|(i, _)| !taken[*i]).map(|(i, other)| (i, likeness(part, other))).max_by(|x, y| x.1.total_cmp(&y.1));
        match best {
            Some((i, like)) if like > 0.0 => {
                taken[i] = true;
                let w = weight(part).max(weight(&b.parts[i]));
                shared += w * like;
                all += w;
            }
            _ => unmatched.push(part),
        }
    }
    let left = b.parts.iter().zip(&taken).filter(|(_, t)| !**t).map(|(p, _)| p).chain(unmatched);
    all += left.map(|p| if about_an_entity && is_generic(p) { weight(p) / 2.0 } else { weight(p) }).sum::<f64>();
    let by_parts = if all > 0.0 { shared / all } else { 0.0 };
    if a.joined.len().max(b.joined.len()) > NAME_BYTES_MAX {
        return by_parts;
    }
    let by_letters = strsim::normalized_damerau_levenshtein(&a.joined, &b.joined);
    // Letters decide only where words are not known: `Adresse 1` and `Adresse 2` are two things.
    let known = |m: &Meaning| m.parts.iter().all(|(_, concepts)| !concepts.is_empty());
    if by_letters >= 0.8 && !(known(a) && known(b)) { by_parts.max(by_letters * 0.95) } else { by_parts }
}

fn has(name: &str, kind: Kind) -> bool {
    meaning(name).parts.iter().any(|(_, concepts)| concepts.iter().any(|c| KNOWN.concepts[usize::from(*c)].1 == kind))
}

/// Whether its digits are text: a post code, a telephone number, a SIRET.
pub fn is_code(name: &str) -> bool {
    has(name, Kind::Code) || meaning(name).parts.iter().any(|(_, c)| c.iter().any(|c| KNOWN.concepts[usize::from(*c)].0 == "account"))
}

/// Whether its values are nobody's business: they are not shown.
pub fn is_secret(name: &str) -> bool {
    const SECRETS: &[&str] =
        &["password", "passwort", "motdepasse", "kennwort", "contrasena", "passphrase", "secret", "token", "apikey", "cleapi", "accesskey", "privatekey"];
    let words = words(name);
    // Words that say little elsewhere say it here: `mot de passe`.
    let full = meaning(name).full.replace('ñ', "n");
    words.iter().any(|w| matches!(w.as_str(), "pin" | "pwd" | "mdp" | "pass" | "passwd" | "geheim" | "api" | "credential" | "credentials" | "authorization"))
        || SECRETS.iter().any(|s| full.contains(s))
}

/// Whether all of its words are terms of business.
pub fn is_known(name: &str) -> bool {
    let meaning = meaning(name);
    !meaning.parts.is_empty() && meaning.parts.iter().all(|(word, concepts)| word.len() > 2 && !concepts.is_empty())
}

/// Whether it is the name of a date.
pub fn is_date(name: &str) -> bool {
    has(name, Kind::Date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(a: &str, b: &str) -> f64 {
        similarity(&meaning(a), &meaning(b))
    }

    #[test]
    fn names_of_three_languages_mean_the_same() {
        for (a, b) in [
            ("CodeClient", "customer_id"),
            ("Code postal", "PLZ"),
            ("RaisonSociale", "Company"),
            ("Kundennummer", "N° client"),
            ("Prénom", "First Name *"),
            ("Straße", "adresse1"),
            ("date_naissance", "Birthday (yyyy-mm-dd)"),
            ("montant_ht", "Net amount"),
            ("EcritureDate", "Buchungsdatum"),
        ] {
            assert!(alike(a, b) >= 0.6, "{a} and {b}: {}", alike(a, b));
        }
    }

    #[test]
    fn names_of_different_things_stay_apart() {
        for (a, b) in
            [("Ville", "Pays"), ("Débit", "Crédit"), ("Prénom", "Nom"), ("date_facture", "date_echeance"), ("Adresse 2", "Adresse 1"), ("Nom", "Email")]
        {
            assert!(alike(a, b) < 0.6, "{a} and {b}: {}", alike(a, b));
        }
    }

    #[test]
    fn the_same_name_is_nearest() {
        assert!((alike("Code_Client", "codeClient") - 1.0).abs() < 1e-9);
        assert!(alike("Last Name *", "Last Name") > alike("First Name *", "Last Name"));
        assert!(is_code("Code postal") && is_code("SIRET") && !is_code("Quantité"));
        assert!(is_date("DateNaissance") && !is_date("Libellé"));
    }
}
