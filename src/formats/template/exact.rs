//! Operators of a template as expressions have them: exact decimals, dates by their time, never a number beside a map.
//!
//! Jinja's own operators know nothing of our values, and its numbers with decimals are binary ones. A template is
//! compiled to instructions, and each operator among them becomes a call of the filter that computes as a target does;
//! so does each number that is written with decimals.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, Token, parse, tokenize};
use minijinja::{Error, ErrorKind};

/// What an operator's filter is called: no name that a template can write.
pub(super) const PREFIX: &str = "operator:";

/// Minus before one value.
pub(super) const MINUS: &str = "operator:minus";
/// One text of two.
pub(super) const JOIN: &str = "operator:~";

/// A part of a text or a list, by its bounds.
pub(super) const SLICE: &str = "operator:[:]";
/// The exact number that a text stands for.
pub(super) const NUMBER: &str = "operator:number";
/// The same, as a template can have it.
const WRITTEN_NUMBER: &str = "exact_number";

/// The operators between two values, by their filters' names.
pub(super) const OPERATORS: [&str; 14] = [
    "operator:+",
    "operator:-",
    "operator:*",
    "operator:/",
    "operator://",
    "operator:%",
    "operator:**",
    "operator:==",
    "operator:!=",
    "operator:<",
    "operator:<=",
    "operator:>",
    "operator:>=",
    "operator:in",
];

/// A place in the cache of filters that is none: each call looks its filter up.
const UNCACHED: u8 = !0;

pub(super) type Compiled<'t> = (Instructions<'t>, BTreeMap<&'t str, Instructions<'t>>);

/// A template with its numbers as texts that are exact, on the same lines. What can't be read is left for the parser to tell.
pub(super) fn spelt_out(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut from = 0;
    for (token, span) in tokenize(text, false, Default::default()).map_while(Result::ok) {
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        let digits = text.get(start..end).filter(|digits| matches!(token, Token::Float(_)) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        if let Some(digits) = digits {
            out.push_str(&text[from..start]);
            out.push_str(&format!("('{digits}'|{WRITTEN_NUMBER})"));
            from = end;
        }
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

/// Compiles a template that is spelt out.
pub(super) fn compiled(text: &str) -> Result<Compiled<'_>, Error> {
    let tree = parse(text, "template", Default::default())?;
    let mut generator = CodeGenerator::new("template", text);
    generator.compile_stmt(&tree);
    let (mut root, mut blocks) = generator.finish();
    replace(&mut root)?;
    blocks.values_mut().try_for_each(replace)?;
    Ok((root, blocks))
}

/// The filters and the tests that a compiled template names, each once, and its lines.
pub(super) fn named<'t>((root, blocks): &Compiled<'t>) -> Vec<(Named<'t>, Option<usize>)> {
    let mut out = Vec::new();
    for instructions in std::iter::once(root).chain(blocks.values()) {
        for at in 0.. {
            let Some(instruction) = instructions.get(at) else { break };
            let name = match instruction {
                Instruction::ApplyFilter(name, ..) if !name.starts_with(PREFIX) => Named::Filter(name),
                Instruction::PerformTest(name, ..) => Named::Test(name),
                _ => continue,
            };
            if out.iter().all(|(known, _)| *known != name) {
                out.push((name, instructions.get_line(at)));
            }
        }
    }
    out
}

/// A name in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'t> {
    Filter(&'t str),
    Test(&'t str),
}

fn replace(instructions: &mut Instructions<'_>) -> Result<(), Error> {
    let mut at = 0;
    while let Some(instruction) = instructions.get_mut(at) {
        at += 1;
        let name = match instruction {
            Instruction::Add => "operator:+",
            Instruction::Sub => "operator:-",
            Instruction::Mul => "operator:*",
            Instruction::Div => "operator:/",
            Instruction::IntDiv => "operator://",
            Instruction::Rem => "operator:%",
            Instruction::Pow => "operator:**",
            Instruction::Eq => "operator:==",
            Instruction::Ne => "operator:!=",
            Instruction::Lt => "operator:<",
            Instruction::Lte => "operator:<=",
            Instruction::Gt => "operator:>",
            Instruction::Gte => "operator:>=",
            Instruction::In => "operator:in",
            Instruction::StringConcat => JOIN,
            Instruction::Neg => {
                *instruction = Instruction::ApplyFilter(MINUS, Some(1), UNCACHED);
                continue;
            }
            Instruction::Slice => {
                *instruction = Instruction::ApplyFilter(SLICE, Some(4), UNCACHED);
                continue;
            }
            Instruction::ApplyFilter(name, ..) if *name == WRITTEN_NUMBER => {
                *instruction = Instruction::ApplyFilter(NUMBER, Some(1), UNCACHED);
                continue;
            }
            Instruction::CompareAndPreserve(_) => {
                return Err(Error::new(ErrorKind::SyntaxError, "a chain of comparisons: write a < b and b < c"));
            }
            _ => continue,
        };
        *instruction = Instruction::ApplyFilter(name, Some(2), UNCACHED);
    }
    Ok(())
}
