//! A second evaluator, slow and obvious, that must agree with the first on random expressions and records (tests only).

#[cfg(test)]
mod tests {
    use super::super::compile::compile;
    use super::super::eval::{Context, Env, State};
    use super::super::expr::Scope;
    use super::super::lookup::Lookups;
    use crate::formats::text::{Reading, Style, Type};
    use crate::record::{Columns, Record};
    use proptest::prelude::*;

    /// An expression, as a person would draw it.
    #[derive(Clone, Debug)]
    enum E {
        Text(String),
        Number(i32, u32),
        Null,
        TextColumn(usize),
        NumberColumn(usize),
        Join(Box<E>, Box<E>),
        Upper(Box<E>),
        Trim(Box<E>),
        Length(Box<E>),
        Slice(Box<E>, i8, i8),
        Sum(char, Box<E>, Box<E>),
        Compare(&'static str, Box<E>, Box<E>),
        If(Box<E>, Box<E>, Box<E>),
        Or(Box<E>, Box<E>),
        And(Box<E>, Box<E>),
        Not(Box<E>),
        Default(Box<E>, Box<E>),
        In(Box<E>, Vec<E>),
        Round(Box<E>, u32),
    }

    /// A value: numbers are a whole number of units of 10^-scale.
    #[derive(Clone, Debug, PartialEq)]
    enum R {
        Null,
        Bool(bool),
        Number(i128, u32),
        Text(String),
    }

    fn shown(v: &R) -> String {
        match v {
            R::Null => String::new(),
            R::Bool(b) => b.to_string(),
            R::Text(t) => t.clone(),
            R::Number(n, scale) => {
                let digits = format!("{:0>width$}", n.unsigned_abs(), width = *scale as usize + 1);
                let (whole, part) = digits.split_at(digits.len() - *scale as usize);
                let sign = if *n < 0 { "-" } else { "" };
                if *scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
            }
        }
    }

    fn truth(v: &R) -> bool {
        match v {
            R::Null => false,
            R::Bool(b) => *b,
            R::Number(n, _) => *n != 0,
            R::Text(t) => !t.is_empty(),
        }
    }

    /// Both numbers in the finer of their units.
    fn level(a: (i128, u32), b: (i128, u32)) -> (i128, i128, u32) {
        let scale = a.1.max(b.1);
        (a.0 * 10i128.pow(scale - a.1), b.0 * 10i128.pow(scale - b.1), scale)
    }

    fn order(a: &R, b: &R) -> Result<Option<std::cmp::Ordering>, ()> {
        match (a, b) {
            (R::Null, _) | (_, R::Null) => Ok(None),
            (R::Text(a), R::Text(b)) => Ok(Some(a.cmp(b))),
            (R::Bool(a), R::Bool(b)) => Ok(Some(a.cmp(b))),
            (R::Number(a, x), R::Number(b, y)) => {
                let (a, b, _) = level((*a, *x), (*b, *y));
                Ok(Some(a.cmp(&b)))
            }
            _ => Err(()),
        }
    }

    fn equal(a: &R, b: &R) -> Result<bool, ()> {
        Ok((*a == R::Null && *b == R::Null) || order(a, b)? == Some(std::cmp::Ordering::Equal))
    }

    /// A text that stands in the expression.
    fn words(e: &E) -> bool {
        match e {
            E::Text(_) | E::Join(..) => true,
            E::Sum('+', a, b) => words(a) || words(b),
            E::Sum('*', a, _) => words(a),
            _ => false,
        }
    }

    fn eval(e: &E, texts: &[String], numbers: &[Option<(i128, u32)>]) -> Result<R, ()> {
        let go = |e: &E| eval(e, texts, numbers);
        Ok(match e {
            E::Text(t) => R::Text(t.clone()),
            E::Number(n, scale) => R::Number(i128::from(*n), *scale),
            E::Null => R::Null,
            E::TextColumn(i) => R::Text(texts[*i].clone()),
            E::NumberColumn(i) => numbers[*i].map_or(R::Null, |(n, scale)| R::Number(n, scale)),
            E::Join(a, b) => R::Text(shown(&go(a)?) + &shown(&go(b)?)),
            E::Upper(a) => R::Text(shown(&go(a)?).to_uppercase()),
            E::Trim(a) => R::Text(shown(&go(a)?).trim().to_owned()),
            E::Length(a) => R::Number(shown(&go(a)?).chars().count() as i128, 0),
            E::Slice(a, from, to) => match go(a)? {
                R::Null => R::Null,
                v => {
                    let chars: Vec<char> = shown(&v).chars().collect();
                    let place = |at: i8| {
                        let at = i64::from(at);
                        usize::try_from(if at < 0 { (at + chars.len() as i64).max(0) } else { at.min(chars.len() as i64) }).unwrap()
                    };
                    let (from, to) = (place(*from), place(*to));
                    R::Text(if from < to { chars[from..to].iter().collect() } else { String::new() })
                }
            },
            E::Sum(op, left, right) => match (op, go(left)?, go(right)?) {
                // As in Python, where the text stands in the expression; what columns hold may be meant for numbers.
                ('+', R::Text(a), R::Text(b)) if words(left) || words(right) => R::Text(a + &b),
                ('*', R::Text(a), R::Number(n, scale)) if words(left) => match (n % 10i128.pow(scale), n / 10i128.pow(scale)) {
                    (0, times) if a.len() as i128 * times.max(0) <= 65_536 => R::Text(a.repeat(usize::try_from(times).unwrap_or(0))),
                    _ => return Err(()),
                },
                (op, R::Number(a, x), R::Number(b, y)) => {
                    let (left, right, scale) = level((a, x), (b, y));
                    match op {
                        '+' => R::Number(left + right, scale),
                        '-' => R::Number(left - right, scale),
                        _ => R::Number(a * b, x + y),
                    }
                }
                _ => return Err(()),
            },
            E::Compare(op, a, b) => {
                let (a, b) = (go(a)?, go(b)?);
                let found = order(&a, &b)?;
                R::Bool(match *op {
                    "==" => equal(&a, &b)?,
                    "!=" => !equal(&a, &b)?,
                    "<" => found == Some(std::cmp::Ordering::Less),
                    _ => found == Some(std::cmp::Ordering::Greater),
                })
            }
            E::If(a, b, c) => return if truth(&go(a)?) { go(b) } else { go(c) },
            E::Or(a, b) => {
                let left = go(a)?;
                if truth(&left) { left } else { go(b)? }
            }
            E::And(a, b) => {
                let left = go(a)?;
                if truth(&left) { go(b)? } else { left }
            }
            E::Not(a) => R::Bool(!truth(&go(a)?)),
            E::Default(a, b) => match go(a)? {
                R::Null => go(b)?,
                v => v,
            },
            E::In(a, list) => {
                let a = go(a)?;
                let list = list.iter().map(go).collect::<Result<Vec<_>, ()>>()?;
                for item in &list {
                    if equal(item, &a)? {
                        return Ok(R::Bool(true));
                    }
                }
                R::Bool(false)
            }
            E::Round(a, places) => match go(a)? {
                R::Null => R::Null,
                R::Number(n, scale) if scale > *places => {
                    let unit = 10i128.pow(scale - places);
                    let half = if n < 0 { -unit / 2 } else { unit / 2 };
                    R::Number((n + half) / unit, *places)
                }
                R::Number(n, scale) => R::Number(n * 10i128.pow(places - scale), *places),
                _ => return Err(()),
            },
        })
    }

    fn written(e: &E) -> String {
        let quoted = |t: &str| format!("'{}'", t.replace('\\', "\\\\").replace('\'', "\\'"));
        match e {
            E::Text(t) => quoted(t),
            E::Number(n, scale) => format!("({})", shown(&R::Number(i128::from(*n), *scale))),
            E::Null => "null".into(),
            E::TextColumn(i) => format!("t{i}"),
            E::NumberColumn(i) => format!("n{i}"),
            E::Join(a, b) => format!("({} ~ {})", written(a), written(b)),
            E::Upper(a) => format!("({} | upper)", written(a)),
            E::Trim(a) => format!("({} | trim)", written(a)),
            E::Length(a) => format!("({} ~ '' | length)", format_args!("({} ~ '')", written(a))).replace(" ~ '' | length", " | length"),
            E::Slice(a, from, to) => format!("{}[{from}:{to}]", format_args!("({})", written(a))),
            E::Sum(op, a, b) => format!("({} {op} {})", written(a), written(b)),
            E::Compare(op, a, b) => format!("({} {op} {})", written(a), written(b)),
            E::If(a, b, c) => format!("({} if {} else {})", written(b), written(a), written(c)),
            E::Or(a, b) => format!("({} or {})", written(a), written(b)),
            E::And(a, b) => format!("({} and {})", written(a), written(b)),
            E::Not(a) => format!("(not {})", written(a)),
            E::Default(a, b) => format!("({} | default({}))", written(a), written(b)),
            E::In(a, list) => format!("({} in [{}])", written(a), list.iter().map(written).collect::<Vec<_>>().join(", ")),
            E::Round(a, places) => format!("({} | round({places}))", written(a)),
        }
    }

    fn expressions() -> impl Strategy<Value = E> {
        let leaf = prop_oneof![
            "[a-cÉé' ]{0,4}".prop_map(E::Text),
            (-9999i32..9999, 0u32..4).prop_map(|(n, s)| E::Number(n, s)),
            Just(E::Null),
            (0usize..2).prop_map(E::TextColumn),
            (0usize..2).prop_map(E::NumberColumn),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let b = || inner.clone().prop_map(Box::new);
            prop_oneof![
                (b(), b()).prop_map(|(x, y)| E::Join(x, y)),
                b().prop_map(E::Upper),
                b().prop_map(E::Trim),
                b().prop_map(E::Length),
                (b(), -3i8..4, -3i8..4).prop_map(|(x, from, to)| E::Slice(x, from, to)),
                (prop_oneof![Just('+'), Just('-'), Just('*')], b(), b()).prop_map(|(op, x, y)| E::Sum(op, x, y)),
                (prop_oneof![Just("=="), Just("!="), Just("<"), Just(">")], b(), b()).prop_map(|(op, x, y)| E::Compare(op, x, y)),
                (b(), b(), b()).prop_map(|(x, y, z)| E::If(x, y, z)),
                (b(), b()).prop_map(|(x, y)| E::Or(x, y)),
                (b(), b()).prop_map(|(x, y)| E::And(x, y)),
                b().prop_map(E::Not),
                (b(), b()).prop_map(|(x, y)| E::Default(x, y)),
                (b(), prop::collection::vec(inner.clone(), 0..3)).prop_map(|(x, list)| E::In(x, list)),
                (b(), 0u32..4).prop_map(|(x, n)| E::Round(x, n)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn random_expressions_give_what_the_obvious_evaluator_gives(
            e in expressions(),
            texts in prop::collection::vec("[a-cÉ ]{0,4}", 2),
            numbers in prop::collection::vec(prop::option::of((-99_999i128..99_999, 0u32..3)), 2),
        ) {
            let columns = Columns::from_header(["t0", "t1", "n0", "n1"].into_iter());
            let mut record = Record::default();
            texts.iter().for_each(|t| record.push(t));
            numbers.iter().for_each(|n| record.push(&n.map_or(String::new(), |(n, s)| shown(&R::Number(n, s)))));
            let types = [("n0".to_owned(), Type::Decimal), ("n1".to_owned(), Type::Decimal)];
            let text = written(&e);
            let mut scope = Scope::new(Some(&columns), &types);
            let node = compile(&text, &mut scope);
            // What `config check` refuses is never computed.
            prop_assume!(scope.mistakes.is_empty());
            let (reading, style, lookups, context, state, arena) =
                (Reading::default(), Style::default(), Lookups::default(), Context::none(), State::new(0), bumpalo::Bump::new());
            let env = Env {
                change: None,
                record: &record, columns: &columns, reading: &reading, style: &style, lookups: &lookups, context: &context, turn: None, state: &state, arena: &arena,
            };
            let ours = env.eval(&node).map(|v| (matches!(v, crate::record::Value::Null), style.text(&v).into_owned())).map_err(|f| f.reason());
            let wanted = eval(&e, &texts, &numbers).map(|v| (v == R::Null, shown(&v)));
            match (&ours, &wanted) {
                (Err(_), Err(())) => {}
                // More digits than a decimal has are refused.
                (Err(why), Ok(_)) if why.contains("28 digits") => {}
                (ours, wanted) => prop_assert_eq!(ours.clone().ok(), wanted.clone().ok(), "{}: {:?}", text, ours),
            }
        }
    }
}
