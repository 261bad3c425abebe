//! Jinja's tests (`x is odd`) and those that business data need: e-mail addresses, IBAN, SIRET, patterns.

use rust_decimal::Decimal;

use super::compute::fault;
use super::eval::{Env, Eval, Fault, contains, equal, number, order};
use crate::record::Value;

type Holds = for<'r> fn(&Env<'r>, &Value<'r>, Option<&Value<'r>>) -> Eval<bool>;

/// One test.
pub struct Predicate {
    /// Its name.
    pub name: &'static str,
    /// How many arguments it takes.
    pub args: usize,
    /// An example and what it gives, for the reference and its test.
    pub example: (&'static str, &'static str),
    /// Whether the value passes.
    pub holds: Holds,
}

impl std::fmt::Debug for Predicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const fn plain(name: &'static str, example: (&'static str, &'static str), holds: Holds) -> Predicate {
    Predicate { name, args: 0, example, holds }
}
const fn with_argument(name: &'static str, example: (&'static str, &'static str), holds: Holds) -> Predicate {
    Predicate { name, args: 1, example, holds }
}

/// Tests that see what is not there, and are therefore in no table.
pub(in crate::transform) fn is_of_presence(name: &str) -> bool {
    matches!(name, "defined" | "undefined")
}

/// What is left of a whole number, divided by another; none: it is null, or the other one is 0.
fn remainder(v: &Value<'_>, by: Decimal) -> Eval<Option<Decimal>> {
    match number(v)? {
        Some(n) if !n.fract().is_zero() => fault(format!("{n} is not a whole number")),
        Some(n) => Ok(n.checked_rem(by)),
        None => Ok(None),
    }
}

/// All tests; `defined` and `undefined` are the compiler's, since they see what is not there.
pub static PREDICATES: &[Predicate] = &[
    plain("none", ("null is none", "true"), |_, v, _| Ok(matches!(v, Value::Null))),
    plain("null", ("'' is null", "false"), |_, v, _| Ok(matches!(v, Value::Null))),
    plain("empty", ("'  ' is empty", "false"), |e, v, _| Ok(e.style.text(v).is_empty())),
    plain("true", ("(1 == 1) is true", "true"), |_, v, _| Ok(*v == Value::Bool(true))),
    plain("false", ("(1 == 2) is false", "true"), |_, v, _| Ok(*v == Value::Bool(false))),
    plain("boolean", ("true is boolean", "true"), |_, v, _| Ok(matches!(v, Value::Bool(_)))),
    plain("number", ("'1' is number", "false"), |_, v, _| Ok(matches!(v, Value::Number(_) | Value::Digits(_)))),
    plain("integer", ("1.5 is integer", "false"), |_, v, _| {
        Ok(matches!(v, Value::Number(_) | Value::Digits(_)) && number(v)?.is_some_and(|n| n.fract().is_zero()))
    }),
    plain("decimal", ("1.5 is decimal", "true"), |_, v, _| Ok(matches!(v, Value::Number(_) | Value::Digits(_)))),
    plain("float", ("1.5 is float", "true"), |_, v, _| Ok(matches!(v, Value::Number(_) | Value::Digits(_)) && number(v)?.is_some_and(|n| n.scale() > 0))),
    plain("string", ("'a' is string", "true"), |_, v, _| Ok(matches!(v, Value::Text(_) | Value::Nodes(_)))),
    plain("text", ("1 is text", "false"), |_, v, _| Ok(matches!(v, Value::Text(_) | Value::Nodes(_)))),
    plain("date", ("('2025-12-31' | date) is date", "true"), |_, v, _| Ok(matches!(v, Value::Date(_)))),
    plain("datetime", ("job.time is datetime", "true"), |_, v, _| Ok(matches!(v, Value::DateTime(..)))),
    plain("sequence", ("[1] is sequence", "true"), |_, v, _| Ok(matches!(v, Value::List(_)))),
    plain("iterable", ("'a' is iterable", "true"), |_, v, _| Ok(matches!(v, Value::List(_) | Value::Map(_) | Value::Text(_) | Value::Nodes(_)))),
    plain("callable", ("'a' is callable", "false"), |_, _, _| Ok(false)),
    plain("escaped", ("'a' is escaped", "false"), |_, _, _| Ok(false)),
    plain("filter", ("'upper' is filter", "true"), |e, v, _| Ok(super::filters::named(&e.style.text(v)).is_some())),
    plain("test", ("'odd' is test", "true"), |e, v, _| Ok(named(&e.style.text(v)).is_some())),
    plain("mapping", ("{'a': 1} is mapping", "true"), |_, v, _| Ok(matches!(v, Value::Map(_)))),
    plain("odd", ("3 is odd", "true"), |_, v, _| Ok(remainder(v, Decimal::TWO)?.is_some_and(|rest| !rest.is_zero()))),
    plain("even", ("3 is even", "false"), |_, v, _| Ok(remainder(v, Decimal::TWO)?.is_some_and(|rest| rest.is_zero()))),
    plain("lower", ("'ab' is lower", "true"), |e, v, _| Ok(is_all(&e.style.text(v), char::is_lowercase, char::is_uppercase))),
    plain("upper", ("'AB' is upper", "true"), |e, v, _| Ok(is_all(&e.style.text(v), char::is_uppercase, char::is_lowercase))),
    plain("email", ("'a.b@c.fr' is email", "true"), |e, v, _| Ok(is_email(&e.style.text(v)))),
    plain("iban", ("'FR76 3000 6000 0112 3456 7890 189' is iban", "true"), |e, v, _| Ok(is_iban(&e.style.text(v)))),
    plain("siret", ("'73282932000074' is siret", "true"), |e, v, _| Ok(is_siret(&e.style.text(v)))),
    with_argument("divisibleby", ("9 is divisibleby(3)", "true"), |_, v, a| match number(a.unwrap_or(&Value::Null))? {
        Some(by) => Ok(remainder(v, by)?.is_some_and(|rest| rest.is_zero())),
        None => Ok(false),
    }),
    with_argument("matching", ("'C12' is matching('^C[0-9]+$')", "true"), |e, v, a| {
        let pattern = e.style.text(a.unwrap_or(&Value::Null)).into_owned();
        Ok(e.state.pattern(&pattern)?.is_match(&e.style.text(v)))
    }),
    with_argument("startingwith", ("'FR12' is startingwith('FR')", "true"), |e, v, a| Ok(e.style.text(v).starts_with(e.style.text(argument(a)?).as_ref()))),
    with_argument("endingwith", ("'FR12' is endingwith('12')", "true"), |e, v, a| Ok(e.style.text(v).ends_with(e.style.text(argument(a)?).as_ref()))),
    with_argument("containing", ("'FR12' is containing('R1')", "true"), |e, v, a| contains(v, argument(a)?, e.style)),
    with_argument("in", ("'a' is in(['a', 'b'])", "true"), |e, v, a| contains(argument(a)?, v, e.style)),
    with_argument("eq", ("1 is eq(1)", "true"), |_, v, a| equal(v, argument(a)?)),
    with_argument("equalto", ("1 is equalto(1)", "true"), |_, v, a| equal(v, argument(a)?)),
    with_argument("sameas", ("1 is sameas(1)", "true"), |_, v, a| equal(v, argument(a)?)),
    with_argument("ne", ("1 is ne(2)", "true"), |_, v, a| equal(v, argument(a)?).map(|e| !e)),
    with_argument("lt", ("1 is lt(2)", "true"), |_, v, a| Ok(order(v, argument(a)?)? == Some(std::cmp::Ordering::Less))),
    with_argument("lessthan", ("1 is lessthan(2)", "true"), |_, v, a| Ok(order(v, argument(a)?)? == Some(std::cmp::Ordering::Less))),
    with_argument("gt", ("1 is gt(2)", "false"), |_, v, a| Ok(order(v, argument(a)?)? == Some(std::cmp::Ordering::Greater))),
    with_argument("greaterthan", ("1 is greaterthan(2)", "false"), |_, v, a| Ok(order(v, argument(a)?)? == Some(std::cmp::Ordering::Greater))),
    with_argument("le", ("2 is le(2)", "true"), |_, v, a| Ok(order(v, argument(a)?)?.is_some_and(std::cmp::Ordering::is_le))),
    with_argument("ge", ("2 is ge(2)", "true"), |_, v, a| Ok(order(v, argument(a)?)?.is_some_and(std::cmp::Ordering::is_ge))),
];

/// Whether a text has letters of one case, and none of the other.
fn is_all(text: &str, one: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.chars().any(one) && !text.chars().any(other)
}

/// The test of that name, or of its sign.
pub fn named(name: &str) -> Option<&'static Predicate> {
    let name = match name {
        "==" => "eq",
        "!=" => "ne",
        "<" => "lt",
        "<=" => "le",
        ">" => "gt",
        ">=" => "ge",
        "startswith" => "startingwith",
        "endswith" => "endingwith",
        other => other,
    };
    PREDICATES.iter().find(|p| p.name == name)
}

fn argument<'v, 'r>(a: Option<&'v Value<'r>>) -> Eval<&'v Value<'r>> {
    a.ok_or_else(|| Fault::Message("the test needs an argument".into()))
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_ok = !local.is_empty() && local.len() <= 64 && !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let local_ok = local_ok && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c));
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-') && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    let top = domain.rsplit('.').next().unwrap_or("");
    local_ok && domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label) && top.len() >= 2 && !top.chars().all(|c| c.is_ascii_digit())
}

/// ISO 13616: the country first, then 97 divides what is left by 1.
fn is_iban(text: &str) -> bool {
    let compact: String = text.chars().filter(|c| *c != ' ').collect();
    let bytes = compact.as_bytes();
    if !(15..=34).contains(&bytes.len()) || !bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
        return false;
    }
    if !bytes[..2].iter().all(u8::is_ascii_uppercase) || !bytes[2..4].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let rest = bytes[4..].iter().chain(&bytes[..4]).fold(0u32, |rest, b| match b {
        b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
        _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
    });
    rest == 1
}

/// INSEE: fourteen digits that pass Luhn's test; La Poste's own establishments sum to a multiple of five instead.
fn is_siret(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter(|c| *c != ' ').map(|c| c.to_digit(10).unwrap_or(99)).collect();
    if digits.len() != 14 || digits.contains(&99) {
        return false;
    }
    let luhn: u32 = digits.iter().rev().enumerate().map(|(i, d)| if i % 2 == 1 { d * 2 / 10 + d * 2 % 10 } else { *d }).sum();
    luhn.is_multiple_of(10) || (digits.starts_with(&[3, 5, 6, 0, 0, 0, 0, 0, 0]) && digits.iter().sum::<u32>().is_multiple_of(5))
}
