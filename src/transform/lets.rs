//! `let`: names for parts of expressions. Each sees those before it, and is computed where it is used.

use std::sync::Arc;

use super::compile;
use super::expr::{Changes, Mistake, NO_COLUMN, Node, Scope, walk_own};
use super::place::Place;
use super::plan::Mapping;
use crate::record::Value;

/// More steps than that are no name of anything.
const WEIGHT_MAX: u64 = 20_000;

/// Compiles them; what is wrong is told with its place.
pub(super) fn compile(mapping: &Mapping, scope: &mut Scope<'_>, mistakes: &mut Vec<(Place, Mistake)>) -> Vec<(String, Arc<Node>)> {
    let mut lets: Vec<(String, Arc<Node>)> = Vec::new();
    let mut weights: Vec<u64> = Vec::new();
    for (name, text) in &mapping.lets {
        // A `let` sees those before it.
        let mut inner = Scope::new(scope.columns, scope.types);
        inner.lets = &lets;
        inner.lookups = scope.lookups;
        inner.map = scope.map;
        inner.each = scope.each;
        inner.list = scope.list;
        // Where it is used decides; `where` and `check` fail on what is not known there yet.
        inner.changes = if mapping.key.is_some() { Changes::Told } else { Changes::NotTold };
        inner.each_path.clone_from(&scope.each_path);
        inner.fields = std::mem::take(&mut scope.fields);
        let node = compile::compile(text, &mut inner);
        // Each use of a name computes it anew: names of names of names may come to more than any machine can do.
        let mut weight = 0u64;
        walk_own(&node, &mut |part| {
            let used = if let Node::Let(used) = part { lets.iter().zip(&weights).find(|((_, known), _)| Arc::ptr_eq(known, used)) } else { None };
            weight = weight.saturating_add(used.map_or(1, |(_, weight)| *weight));
        });
        let node = if weight > WEIGHT_MAX {
            let message = format!("`let.{name}` comes to more than {WEIGHT_MAX} steps with what it is made of");
            inner.mistakes.push(Mistake::new(0..text.len(), message, Some("use fewer names within each other".into())));
            Node::Const(Value::Null)
        } else {
            node
        };
        weights.push(weight.min(WEIGHT_MAX));
        // A name that nobody uses harms nobody; what can't be parsed is told all the same.
        let used = is_used(mapping, name);
        let told = inner.mistakes.drain(..).filter(|m| used || !(m.message.starts_with(NO_COLUMN) || m.message.starts_with('`')));
        mistakes.extend(told.map(|m| (Place::Let(name.clone()), m)));
        scope.fields = inner.fields;
        lets.push((name.clone(), Arc::new(node)));
    }
    lets
}

/// Whether some expression names this `let`.
fn is_used(mapping: &Mapping, name: &str) -> bool {
    let named = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
    let lets = mapping.lets.iter().filter(|(n, _)| n != name).map(|(_, t)| t);
    let others = mapping.checks.iter().chain(mapping.map.iter().flatten()).map(|(_, t)| t);
    lets.chain(others).chain(&mapping.condition).chain(&mapping.each).any(|text| named(text))
}
