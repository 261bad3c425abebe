//! What a synchronised route knows of a record beside the record itself, and who decides whether it is sent.
//!
//! The decision is made above ([`crate::sync`]); here is only its seam: records come by, and each is sent, or is not.

use std::sync::Arc;

use super::eval::Env;
use super::expr::{Mistake, Node, Scope};
use super::plan::{Plan, Values};
use crate::error::Result;
use crate::record::{Reject, Value};

/// What became of a record since the other side knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The other side has no such record.
    Added,
    /// The other side has it otherwise.
    Modified,
    /// It is gone.
    Deleted,
}

impl Op {
    /// The word in expressions.
    pub fn word(self) -> &'static str {
        match self {
            Op::Added => "added",
            Op::Modified => "modified",
            Op::Deleted => "deleted",
        }
    }
}

/// A change, as expressions see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What became of the record.
    pub op: Op,
    /// The targets as the other side knew them; null where it had none.
    pub before: Value<'static>,
}

/// What `sync.…` in a map is.
pub(super) fn named(name: &str, span: std::ops::Range<usize>, scope: &mut Scope<'_>) -> Node {
    match name {
        "op" => Node::Op,
        "before" => Node::Before,
        other => {
            let message = if other.is_empty() { "`sync` stands only with a dot".to_owned() } else { format!("`sync` has no `{other}`") };
            scope.mistakes.push(Mistake::new(span, message, Some("there are sync.op and sync.before.COLUMN".into())));
            Node::Const(Value::Null)
        }
    }
}

/// `sync.before` has the targets of the map.
pub(super) fn known_before(name: &str, span: std::ops::Range<usize>, scope: &mut Scope<'_>) {
    let of = |target: &str| target == name || target.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    if scope.map.is_empty() || scope.map.iter().any(|(target, _)| of(target)) {
        return;
    }
    let hint = match crate::options::nearest(name, scope.map.iter().map(|(target, _)| target.as_str())) {
        Some(near) => format!("did you mean sync.before.{near}?"),
        None => "it has the targets of the map, under their names".to_owned(),
    };
    scope.mistakes.push(Mistake::new(span, format!("`sync.before` has no `{name}`"), Some(hint)));
}

/// What every record is where nobody compares.
pub static ADDED: Change = Change { op: Op::Added, before: Value::Null };

/// What becomes of a record that was mapped.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It goes to B; its values may have been merged with B's.
    Send(Change),
    /// B is known to hold it.
    Unchanged,
    /// Both sides have changed it: an operator decides.
    Parked,
    /// It can't be told from another record.
    Reject(Reject),
}

/// A record that is gone, as B is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// The targets, by their places: the key, and what was known last.
    pub values: Vec<Value<'static>>,
    /// The deletion.
    pub change: Change,
}

/// What tells a record from others, and from itself as it was.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// The hash of its key.
    pub key: [u8; 12],
    /// That of what is compared.
    pub mark: u64,
}

/// Tells, on any thread, which records need no look: the other side holds them as they are.
pub trait Scout: Send + Sync {
    /// What is seen of a record; none: it must be judged.
    fn sight(&self, plan: &Plan, env: &Env<'_>, values: &[Value<'_>]) -> Option<Sighting>;
    /// The place of an unchanged record among what is known; none: it must be judged.
    fn unchanged(&self, sighting: &Sighting) -> Option<usize>;
}

/// Decides for each record whether it is sent.
pub trait Changes {
    /// A file begins, whose records are mapped by this plan.
    fn start(&mut self, plan: &Plan) -> Result<()>;
    /// What looks at records before they are judged; none: each of them must be judged.
    fn scout(&self) -> Option<Arc<dyn Scout>>;
    /// An unchanged record that a scout has found; false: the export has had its key before.
    fn unchanged(&mut self, place: usize) -> bool;
    /// A record that was mapped; what it decides holds once [`Changes::sent`] is called, for a record that is sent.
    fn judge<'r>(&mut self, plan: &'r Plan, env: &Env<'r>, values: &mut Values<'r>) -> Result<Decision>;
    /// The record judged last is written.
    fn sent(&mut self) -> Result<()>;
    /// A record that `where` leaves out.
    fn skipped(&mut self, plan: &Plan, env: &Env<'_>) -> Result<()>;
    /// A record that was rejected; none: not even its key could be read.
    fn rejected(&mut self, read: Option<(&Plan, &Env<'_>)>) -> Result<()>;
    /// All records have come by: the records that are gone, one by one.
    fn gone(&mut self, each: &mut dyn FnMut(Deletion) -> Result<()>) -> Result<()>;
    /// What is to be told of it all.
    fn remarks(&self) -> Vec<String>;
}
