//! Operators of a template as expressions have them: exact decimals, dates by their time, never a number beside a map.
//!
//! Jinja's own operators know nothing of our values. A template is compiled to instructions, and each operator among
//! them becomes a call of the filter that computes as a target does.

use std::collections::BTreeMap;

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, parse};
use minijinja::{Error, ErrorKind};

/// What an operator's filter is called: no name that a template can write.
pub(super) const PREFIX: &str = "operator:";

/// Minus before one value.
pub(super) const MINUS: &str = "operator:minus";
/// One text of two.
pub(super) const JOIN: &str = "operator:~";

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

/// Compiles a template.
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
            Instruction::CompareAndPreserve(_) => {
                return Err(Error::new(ErrorKind::SyntaxError, "a chain of comparisons: write a < b and b < c"));
            }
            _ => continue,
        };
        *instruction = Instruction::ApplyFilter(name, Some(2), UNCACHED);
    }
    Ok(())
}
