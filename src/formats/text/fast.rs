//! Numbers and dates without detours, for the forms that nearly all exports have. What has another form is left to the
//! general way, so that the two never differ in what they accept.

use jiff::civil::{Date, DateTime};
use rust_decimal::Decimal;

/// The decimal of plain digits with one sign before and one decimal sign within; none: something else.
pub(super) fn decimal(text: &[u8], sign: u8) -> Option<Decimal> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    // 18 digits fit into an i64 whatever they are.
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (mut mantissa, mut scale, mut fraction) = (0i64, 0u32, false);
    for &b in digits {
        if b.is_ascii_digit() {
            mantissa = mantissa * 10 + i64::from(b - b'0');
            scale += u32::from(fraction);
        } else if b == sign && !fraction {
            fraction = true;
        } else {
            return None;
        }
    }
    if digits.len() == 1 && fraction {
        return None;
    }
    Some(Decimal::new(if negative { -mantissa } else { mantissa }, scale))
}

/// Adds a decimal with its scale.
pub(super) fn push_decimal(out: &mut String, n: Decimal, sign: char) {
    let (mut rest, scale) = (n.mantissa().unsigned_abs(), n.scale() as usize);
    let mut digits = [0u8; 40];
    let mut at = digits.len();
    let mut count = 0;
    while rest > u128::from(u64::MAX) {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
    }
    // Most amounts fit into 64 bits, where dividing is many times faster.
    let mut rest = rest as u64;
    while rest > 0 || count <= scale {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
    }
    if n.is_sign_negative() && !n.is_zero() {
        out.push('-');
    }
    let text = std::str::from_utf8(&digits[at..]).unwrap_or("0");
    let (whole, fraction) = text.split_at(text.len() - scale);
    out.push_str(whole);
    if scale > 0 {
        out.push(sign);
        out.push_str(fraction);
    }
}

/// So many digits at the start of `text` as a number.
fn digits(text: &[u8], count: usize) -> Option<i32> {
    let mut n = 0;
    for b in text.get(..count)? {
        n = n * 10 + i32::from(b.is_ascii_digit().then(|| b - b'0')?);
    }
    Some(n)
}

/// The day and time of a text whose pattern has only fixed-width numbers, all of them full; none: ask the general way.
pub(super) fn date_time(pattern: &str, text: &str) -> Option<DateTime> {
    let (mut pattern, mut rest) = (pattern.as_bytes(), text.as_bytes());
    let (mut year, mut month, mut day, mut time) = (None, None, None, [0i8; 3]);
    while let [first, after @ ..] = pattern {
        if *first != b'%' {
            rest = rest.strip_prefix(&[*first])?;
            pattern = after;
            continue;
        }
        let [code, after @ ..] = after else { return None };
        let width = if *code == b'Y' { 4 } else { 2 };
        let n = digits(rest, width)?;
        let small = i8::try_from(n % 100).ok()?;
        match code {
            b'Y' => year = Some(i16::try_from(n).ok()?),
            b'm' => month = Some(small),
            b'd' => day = Some(small),
            b'H' => time[0] = small,
            b'M' => time[1] = small,
            b'S' => time[2] = small,
            _ => return None,
        }
        rest = &rest[width..];
        pattern = after;
    }
    // A leap second is the general way's business.
    if !rest.is_empty() || time[2] > 59 {
        return None;
    }
    let date = Date::new(year?, month?, day?).ok()?;
    Some(date.to_datetime(jiff::civil::Time::new(time[0], time[1], time[2], 0).ok()?))
}

/// Adds a day and time by a pattern of fixed-width numbers; false: nothing was added, ask the general way.
pub(super) fn push_date_time(out: &mut String, pattern: &str, t: DateTime) -> bool {
    let before = out.len();
    let mut codes = pattern.chars();
    if !(0..=9999).contains(&t.year()) {
        return false;
    }
    while let Some(c) = codes.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let two = match codes.next() {
            Some('Y') => {
                let year = t.year();
                push_two(out, (year / 100) as i8);
                (year % 100) as i8
            }
            Some('y') => (t.year() % 100) as i8,
            Some('m') => t.month(),
            Some('d') => t.day(),
            Some('H') => t.hour(),
            Some('M') => t.minute(),
            Some('S') => t.second(),
            _ => {
                out.truncate(before);
                return false;
            }
        };
        push_two(out, two);
    }
    true
}

fn push_two(out: &mut String, n: i8) {
    let n = n.unsigned_abs();
    out.push(char::from(b'0' + n / 10));
    out.push(char::from(b'0' + n % 10));
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::fmt::strtime::BrokenDownTime;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decimals_are_the_same_as_the_librarys(mantissa in any::<i64>(), scale in 0u32..20, text in "[-+]?[0-9]{0,20}[,.]?[0-9]{0,6}") {
            let n = Decimal::new(mantissa, scale);
            let mut out = String::new();
            push_decimal(&mut out, n, '.');
            prop_assert_eq!(&out, &n.to_string());
            if let Some(fast) = decimal(text.as_bytes(), b'.') {
                let plain = text.trim_start_matches('+').trim_end_matches('.');
                prop_assert_eq!(Decimal::from_str_exact(plain).ok().map(|n| n.to_string()), Some(fast.to_string()), "{}", text);
            }
        }

        #[test]
        fn dates_are_the_same_as_the_librarys(
            text in "[0-3][0-9]/[01][0-9]/[0-9]{4}( [0-2][0-9]:[0-6][0-9]:[0-6][0-9])?",
            pattern in prop_oneof![Just("%d/%m/%Y"), Just("%d/%m/%Y %H:%M:%S"), Just("%Y%m%d"), Just("%m/%d/%Y")],
        ) {
            let slow = BrokenDownTime::parse(pattern, &text).ok().and_then(|b| b.to_datetime().ok().or_else(|| b.to_date().ok().map(|d| d.at(0, 0, 0, 0))));
            if let Some(fast) = date_time(pattern, &text) {
                prop_assert_eq!(slow, Some(fast), "{} by {}", text, pattern);
                let mut out = String::new();
                prop_assert!(push_date_time(&mut out, pattern, fast));
                prop_assert_eq!(out, BrokenDownTime::from(fast).to_string(pattern).unwrap());
            }
        }
    }
}
