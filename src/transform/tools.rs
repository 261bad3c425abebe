//! What templates compute with: the same filters as expressions, so that a total is as exact as a target.

use super::compute;
use super::eval::{Context, Env, State};
use super::expr::{Cmp, Op};
use super::filters;
use super::lookup::Lookups;
use super::predicates;
use crate::formats::Tools;
use crate::formats::text::{Reading, Style};
use crate::record::{Columns, Key, Record, Value};

/// The filters and facts of one transformation.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) reading: Reading,
    pub(super) style: Style,
    pub(super) context: Context,
}

/// The filters that templates share with expressions; what is Jinja's own way there stays so.
pub fn template_filters() -> Vec<&'static str> {
    filters::FILTERS.iter().map(|f| f.name).filter(|n| !matches!(*n, "list" | "items" | "dictsort" | "safe" | "batch")).collect()
}

/// The tests that templates share with expressions: those that look at values.
pub fn template_tests() -> Vec<&'static str> {
    const JINJAS: [&str; 12] = ["true", "false", "boolean", "string", "sequence", "iterable", "mapping", "callable", "escaped", "filter", "test", "sameas"];
    predicates::PREDICATES.iter().map(|p| p.name).filter(|n| !JINJAS.contains(n)).collect()
}

impl Bench {
    /// No record is in hand when a template computes.
    fn with_env<T>(&self, compute: impl for<'e> FnOnce(&Env<'e>) -> T) -> T {
        let (record, columns, lookups, state, arena) = (Record::default(), Columns::default(), Lookups::default(), State::new(0), bumpalo::Bump::new());
        compute(&Env {
            record: &record,
            columns: &columns,
            reading: &self.reading,
            style: &self.style,
            lookups: &lookups,
            context: &self.context,
            turn: None,
            change: None,
            state: &state,
            arena: &arena,
        })
    }
}

impl Tools for Bench {
    fn filters(&self) -> Vec<&'static str> {
        template_filters()
    }

    fn tests(&self) -> Vec<&'static str> {
        template_tests()
    }

    fn holds(&self, name: &str, value: Value<'static>, argument: Option<Value<'static>>) -> Result<bool, String> {
        let predicate = predicates::named(name).ok_or_else(|| format!("there is no test {name}"))?;
        self.with_env(|env| (predicate.holds)(env, &value, argument.as_ref()).map_err(|f| format!("{name}: {}", f.reason())))
    }

    fn apply(
        &self,
        name: &str,
        value: Value<'static>,
        positional: Vec<Value<'static>>,
        named: Vec<(String, Value<'static>)>,
    ) -> Result<Value<'static>, String> {
        let filter = filters::named(name).ok_or_else(|| format!("there is no filter {name}"))?;
        self.with_env(|env| filters::apply_values(env, filter, value, positional, &named).map(Value::into_owned).map_err(|f| format!("{name}: {}", f.reason())))
    }

    fn operate(&self, operator: &str, left: Value<'static>, right: Value<'static>) -> Result<Value<'static>, String> {
        let arithmetic = |op| compute::arithmetic(op, left.clone(), right.clone());
        let compares = |cmp| compute::compares(cmp, &left, &right).map(Value::Bool);
        let made = match operator {
            "+" => arithmetic(Op::Join),
            "-" => arithmetic(Op::Sub),
            "*" => arithmetic(Op::Repeat),
            "/" => arithmetic(Op::Div),
            "//" => arithmetic(Op::FloorDiv),
            "%" => arithmetic(Op::Rem),
            "**" => arithmetic(Op::Pow),
            "==" => compares(Cmp::Eq),
            "!=" => compares(Cmp::Ne),
            "<" => compares(Cmp::Lt),
            "<=" => compares(Cmp::Le),
            ">" => compares(Cmp::Gt),
            ">=" => compares(Cmp::Ge),
            _ => compute::contains(&right, &left, &self.style).map(Value::Bool),
        };
        made.map_err(|f| f.reason())
    }

    fn picks(&self, bounds: [Value<'static>; 3], len: usize) -> Result<Vec<usize>, String> {
        let mut wanted = [None; 3];
        for (wanted, bound) in wanted.iter_mut().zip(&bounds) {
            *wanted = compute::whole(bound).map_err(|f| f.reason())?;
        }
        compute::picks(wanted, len).map_err(|f| f.reason())
    }

    fn facts(&self) -> Vec<(Key, Value<'static>)> {
        let c = &self.context;
        let text = |t: &str| Value::owned(t.to_owned());
        let (stem, ext) = Context::stem_and_ext(&c.file_name);
        let map = |entries: Vec<(&str, Value<'static>)>| Value::map(entries.into_iter().map(|(k, v)| (k.into(), v)).collect());
        vec![
            (
                "file".into(),
                map(vec![
                    ("name", text(&c.file_name)),
                    ("stem", text(stem)),
                    ("ext", text(ext)),
                    ("path", text(&c.file_path)),
                    ("modified", Value::DateTime(c.file_modified.0, c.file_modified.1)),
                    ("size", Value::Number(c.file_size.into())),
                ]),
            ),
            ("job".into(), map(vec![("number", Value::Number(c.job.into())), ("time", Value::DateTime(c.time.0, c.time.1))])),
            ("route".into(), map(vec![("name", text(&c.route))])),
        ]
    }
}
