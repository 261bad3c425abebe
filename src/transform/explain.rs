//! `transform --explain`: how each target of a record came about.

use super::eval::Env;
use super::plan::{Mapping, Plan, Verdict};
use crate::record::Reject;

/// One record, target by target.
#[derive(Debug)]
pub struct Explained {
    /// Its line in A's file.
    pub line: u64,
    /// The target, its expression, the values that the expression names, and the result or why there is none.
    pub targets: Vec<Target>,
    /// What became of the record, where it is not written.
    pub verdict: Option<String>,
}

/// One target of an explained record.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its expression.
    pub expression: String,
    /// The values that the expression names: `Solde = 1 234,50`.
    pub source: String,
    /// The result as B gets it, or why there is none.
    pub result: Result<String, String>,
}

/// How the targets of the record in hand came about.
pub(super) fn explained(mapping: &Mapping, plan: &Plan, env: &Env<'_>, verdict: &Result<Verdict, Reject>) -> Explained {
    let targets = plan.nodes().map(|(name, node)| {
        let map = mapping.map.as_ref().and_then(|map| map.iter().find(|(n, _)| n == name));
        let Some(node) = node else {
            return Target { name: name.to_owned(), expression: String::new(), source: String::new(), result: Ok(String::new()) };
        };
        Target {
            name: name.to_owned(),
            expression: map.map_or_else(|| name.to_owned(), |(_, text)| text.clone()),
            source: sources(plan, env, node),
            result: env.eval(node).map(|v| env.style.text(&v).into_owned()).map_err(|f| f.reason()),
        }
    });
    let verdict = match verdict {
        Ok(Verdict::Write) => None,
        Ok(Verdict::Skip) => Some("skipped by `where`".to_owned()),
        Err(reject) if reject.field.is_empty() => Some(format!("rejected: {}", reject.reason)),
        Err(reject) => Some(format!("rejected: {}: {}", reject.field, reject.reason)),
    };
    Explained { line: env.record.line, targets: targets.collect(), verdict }
}

/// The values that an expression names, as A wrote them.
fn sources(plan: &Plan, env: &Env<'_>, node: &super::expr::Node) -> String {
    use super::expr::Node;
    let mut out: Vec<String> = Vec::new();
    let mut add = |name: &str, value: String| {
        let text = format!("{name} = {}", crate::formats::text::quoted(&value));
        if !out.contains(&text) {
            out.push(text);
        }
    };
    super::expr::walk(node, &mut |inner| match inner {
        Node::Column(at, _) | Node::Cell(at) => {
            let name = plan.columns.names.get(*at).map_or("?", String::as_str);
            add(name, env.style.text(&env.record.value(*at)).into_owned());
        }
        Node::Field(name, _) => {
            let value = env.record.tree.as_ref().map(|tree| match tree {
                crate::record::Value::Nodes(nodes) => env.style.text(&nodes.part(name)).into_owned(),
                tree => tree.get(name).map_or_else(String::new, |v| env.style.text(v).into_owned()),
            });
            add(name, value.unwrap_or_default());
        }
        Node::Item => add("item", env.turn.map_or_else(String::new, |t| env.style.text(t.item).into_owned())),
        _ => {}
    });
    out.join(", ")
}
