//! The text of an expression, parsed; what is no expression as a whole is none.

use minijinja::Error;
use minijinja::machinery::ast::Expr;
use minijinja::machinery::{Token, parse_expr, tokenize};

/// An expression of more signs and names than that is made by no author, and could exhaust the stack of those who walk it.
/// Literals and what stands between them are not counted: a list of thousands is flat.
const TOKENS_MAX: usize = 4000;

const SIGNS_MAX: usize = 50;

/// Parses an expression.
pub(super) fn parse(text: &str) -> Result<Expr<'_>, Error> {
    // Behind a text literal the parser takes what it can't read for the end (minijinja 3.1, `parse_primary`).
    let (mut count, mut signs) = (0, 0);
    for token in tokenize(text, true, Default::default()) {
        let (token, _) = token?;
        let flat = matches!(token, Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) | Token::Comma | Token::Colon);
        count += usize::from(!flat);
        // Each of them stands within the one before it.
        signs = if matches!(token, Token::Minus | Token::Ident("not")) { signs + 1 } else { 0 };
        if signs > SIGNS_MAX {
            return Err(Error::new(minijinja::ErrorKind::SyntaxError, format!("more than {SIGNS_MAX} times `-` or `not` one behind the other")));
        }
    }
    if count > TOKENS_MAX {
        let message = format!("the expression has {count} names and signs, more than {TOKENS_MAX}: name parts of it with `let`");
        return Err(Error::new(minijinja::ErrorKind::SyntaxError, message));
    }
    parse_expr(text)
}

/// What is open in an expression that can't be parsed.
pub(super) fn unbalanced(text: &str) -> Option<String> {
    let mut open = Vec::new();
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => open.push(c),
            (None, ')' | ']' | '}') => {
                open.pop();
            }
            _ => {}
        }
    }
    if let Some(q) = quote {
        return Some(format!("close the quote {q}"));
    }
    open.last().map(|c| format!("close the bracket {c}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_behind_a_text_is_no_end_of_the_expression() {
        for bad in ["a == 'O' && b == 'C'", "'C' & a", "'x' ? 1", "'a' 'unclosed", "a ~ '-' ; b", "'a' # b", "'a' $", "'a' !"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for good in ["a == 'O' and b == 'C'", "'a' 'b'", "'a' ~ \"b\"", "x | trim", "'%d' | format(1)"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        assert!(parse(&vec!["a"; 3000].join(" or ")).is_err_and(|e| e.to_string().contains("more than 4000")));
        assert!(parse(&vec!["a"; 1500].join(" or ")).is_ok());
        assert!(parse(&format!("{}1", "-".repeat(2500))).is_err() && parse(&format!("{}a", "not ".repeat(3900))).is_err() && parse("not not - -1").is_ok());
        assert!(parse(&format!("a in [{}]", vec!["'x'"; 20_000].join(", "))).is_ok());
    }
}
