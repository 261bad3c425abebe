//! From an expression's text to its [`Node`]s: names are resolved, and every mistake is found with its place.
//!
//! It never sees a record.

use std::ops::Range;

use minijinja::machinery::ast::{self, BinOpKind, CallArg, CompareOpKind, Expr, UnaryOpKind};
use rust_decimal::Decimal;

use super::changes;
use super::expr::{Args, Changes, Cmp, Each, Fact, Mistake, NO_COLUMN, Node, Op, RESERVED, Scope};
use super::filters::{self};
use super::kinds::check_kinds;
use super::parse::{parse, unbalanced};
use super::predicates::{self};
use super::rows;
use super::typed;
use crate::formats::text::Type;
use crate::options::nearest;
use crate::record::Value;

pub(super) const FACTS: &[(&str, &str, Fact)] = &[
    ("row", "number", Fact::RowNumber),
    ("row", "line", Fact::RowLine),
    ("file", "name", Fact::FileName),
    ("file", "stem", Fact::FileStem),
    ("file", "ext", Fact::FileExt),
    ("file", "path", Fact::FilePath),
    ("file", "modified", Fact::FileModified),
    ("file", "size", Fact::FileSize),
    ("job", "number", Fact::JobNumber),
    ("job", "time", Fact::JobTime),
    ("route", "name", Fact::RouteName),
    ("loop", "index", Fact::LoopIndex),
    ("loop", "index0", Fact::LoopIndex0),
    ("loop", "first", Fact::LoopFirst),
    ("loop", "last", Fact::LoopLast),
    ("loop", "length", Fact::LoopLength),
];

/// Compiles an expression. What is wrong is added to the scope's mistakes.
pub fn compile(text: &str, scope: &mut Scope<'_>) -> Node {
    text.clone_into(&mut scope.source);
    match parse(text) {
        Ok(expr) => {
            let node = node(&expr, scope);
            check_kinds(&expr, &node, scope);
            node
        }
        Err(e) => {
            let detail = e.detail().unwrap_or("it can't be parsed").to_owned();
            let span = e.range().unwrap_or(0..text.len());
            let span = span.start.min(text.len())..span.end.min(text.len());
            scope.mistakes.push(Mistake::new(span, detail, Some(unbalanced(text).unwrap_or_else(|| "an expression as in: Nom | trim | upper".into()))));
            Node::Const(Value::Null)
        }
    }
}

pub(super) fn range_of(expr: &Expr<'_>) -> Range<usize> {
    let span = expr.span();
    span.start_offset as usize..span.end_offset as usize
}

pub(super) fn boxed(expr: &Expr<'_>, scope: &mut Scope<'_>) -> Box<Node> {
    Box::new(node(expr, scope))
}

pub(super) fn node(expr: &Expr<'_>, scope: &mut Scope<'_>) -> Node {
    match expr {
        Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => {
            let node = reached(expr, scope);
            match typed::path(expr, scope.lets) {
                Some(path) => typed::wrapped(node, &path, scope),
                None => node,
            }
        }
        Expr::Const(c) => {
            // A decimal literal is taken from the text: the parser's float would lose digits beyond the 15th.
            let literal = scope.source.get(range_of(expr)).filter(|t| t.starts_with(|c: char| c.is_ascii_digit()));
            match literal.and_then(|t| Decimal::from_str_exact(&t.replace('_', "")).ok()) {
                Some(number) => Node::Const(Value::Number(number)),
                None => {
                    let made = constant(&c.value);
                    if c.value.kind() == minijinja::value::ValueKind::Number && matches!(made, Node::Const(Value::Null)) {
                        scope.mistakes.push(Mistake::new(range_of(expr), "the number has more than 28 digits", None));
                    }
                    made
                }
            }
        }
        Expr::Slice(s) => {
            let part = |e: &Option<Expr<'_>>, scope: &mut Scope<'_>| e.as_ref().map(|e| boxed(e, scope));
            let inner = boxed(&s.expr, scope);
            let parts = [part(&s.start, scope), part(&s.stop, scope), part(&s.step, scope)];
            Node::Slice(inner, parts)
        }
        Expr::UnaryOp(u) => match u.op {
            UnaryOpKind::Not => Node::Not(boxed(&u.expr, scope)),
            UnaryOpKind::Neg => Node::Neg(boxed(&u.expr, scope)),
        },
        Expr::BinOp(b) => binary(b, scope),
        Expr::Compare(c) => {
            let first = boxed(&c.expr, scope);
            let rest = c.ops.iter().map(|o| (comparison(o.op), node(&o.expr, scope))).collect();
            Node::Compare(first, rest)
        }
        Expr::IfExpr(i) => {
            let test = boxed(&i.test_expr, scope);
            let yes = boxed(&i.true_expr, scope);
            Node::If(test, yes, i.false_expr.as_ref().map(|e| boxed(e, scope)))
        }
        Expr::Filter(f) => filter(f, range_of(expr), scope),
        Expr::Test(t) => test(t, range_of(expr), scope),
        Expr::Call(c) => call(c, range_of(expr), scope),
        Expr::List(l) => Node::List(l.items.iter().map(|e| node(e, scope)).collect()),
        Expr::Tuple(t) => Node::List(t.items.iter().map(|e| node(e, scope)).collect()),
        Expr::Map(m) => Node::Map(m.keys.iter().zip(&m.values).map(|(k, v)| (node(k, scope), node(v, scope))).collect()),
    }
}

/// What a name or a path reaches, before its types.
pub(super) fn reached(expr: &Expr<'_>, scope: &mut Scope<'_>) -> Node {
    match expr {
        Expr::Var(var) => name(var.id, range_of(expr), scope),
        Expr::GetAttr(a) => attribute(a, range_of(expr), scope),
        Expr::GetItem(i) => item(i, scope),
        other => node(other, scope),
    }
}

/// The value whose parts are asked for. Types of parts are those of the whole path; only dates have parts by their own.
fn holder(expr: &Expr<'_>, scope: &mut Scope<'_>) -> Box<Node> {
    let node = reached(expr, scope);
    let dates = typed::path(expr, scope.lets)
        .filter(|path| typed::declared(path, scope).iter().any(|d| d.path.is_empty() && matches!(d.kind, Type::Date | Type::DateTime)));
    Box::new(match dates {
        Some(path) => typed::wrapped(node, &path, scope),
        None => node,
    })
}

/// A constant of the parser as our value.
pub(super) fn constant(value: &minijinja::Value) -> Node {
    use minijinja::value::ValueKind;
    let ours = match value.kind() {
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => value.to_string().parse::<Decimal>().or_else(|_| Decimal::from_scientific(&value.to_string())).map_or(Value::Null, Value::Number),
        ValueKind::String => value.as_str().map_or(Value::Null, |s| Value::owned(s.to_owned())),
        ValueKind::Seq => {
            let items = value.try_iter().map(|items| items.map(|v| as_const(constant(&v))).collect()).unwrap_or_default();
            Value::list(items)
        }
        _ => Value::Null,
    };
    Node::Const(ours)
}

pub(super) fn as_const(node: Node) -> Value<'static> {
    match node {
        Node::Const(v) => v,
        _ => Value::Null,
    }
}

pub(super) fn name(id: &str, span: Range<usize>, scope: &mut Scope<'_>) -> Node {
    if id == "null" {
        return Node::Const(Value::Null);
    }
    if id == "row" {
        return Node::Row;
    }
    match id {
        "item" if scope.each == Each::Element => return Node::Item,
        "parent" if scope.columns.is_some_and(|c| c.around) => return Node::Parent,
        _ => {}
    }
    if id == "sync" && scope.changes == Changes::Told {
        return changes::named("", span, scope);
    }
    if RESERVED.contains(&id) {
        let needs = match id {
            "item" | "loop" if scope.each == Each::None => "only with `each`",
            "parent" => "only with format = \"xml\" or \"edifact\"",
            "sync" => "only in the map of a route with `sync`",
            _ => "only with a dot",
        };
        scope.mistakes.push(Mistake::new(span, format!("`{id}` is the relay's and stands {needs}"), Some(format!("a column of that name is row['{id}']"))));
        return Node::Const(Value::Null);
    }
    if let Some((_, node)) = scope.lets.iter().find(|(name, _)| name == id) {
        return Node::Let(node.clone());
    }
    column(id, span, scope)
}

/// The column `id`, however it was written.
pub(super) fn column(id: &str, span: Range<usize>, scope: &mut Scope<'_>) -> Node {
    let declared = scope.types.iter().find(|(name, _)| name == id).map_or(Type::Text, |(_, t)| *t);
    match scope.columns {
        Some(columns) if columns.closed() && columns.position(id).is_none() => {
            let mistake = no_column(id, span, &columns.names, scope.lets.iter().map(|(name, _)| name.as_str()));
            scope.mistakes.push(mistake);
            Node::Undefined(id.to_owned())
        }
        Some(columns) if columns.cells && !scope.types.iter().any(|(name, _)| name == id) => Node::Cell(columns.position(id).unwrap_or(usize::MAX)),
        Some(columns) if !columns.nested => Node::Column(columns.position(id).unwrap_or(usize::MAX), declared),
        // The columns of a flat file are known only when it is read; their types are known now.
        None if scope.list != Some(id) => Node::Column(usize::MAX, declared),
        _ => {
            let at = scope.fields.iter().position(|f| f == id).unwrap_or_else(|| {
                scope.fields.push(id.to_owned());
                scope.fields.len() - 1
            });
            Node::Field(id.to_owned(), at)
        }
    }
}

/// A name that is no column: the nearest of the `columns` and the `others` that it may be, or else the columns.
pub(super) fn no_column<'n>(name: &str, span: Range<usize>, columns: &'n [String], others: impl Iterator<Item = &'n str>) -> Mistake {
    let near = nearest(name, columns.iter().map(String::as_str).chain(others));
    let hint = near.map_or_else(|| format!("the columns are: {}", listed(columns)), |near| format!("did you mean {near}?"));
    Mistake::new(span, format!("{NO_COLUMN}{name}"), Some(hint))
}

pub(super) fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 12 {
        text.push_str(&format!(" … ({} in all)", names.len()));
    }
    text
}

pub(super) fn attribute(a: &ast::GetAttr<'_>, span: Range<usize>, scope: &mut Scope<'_>) -> Node {
    if let Expr::Var(root) = &a.expr {
        let stands = root.id != "loop" || scope.each == Each::Element;
        if let Some((_, _, fact)) = FACTS.iter().find(|(r, n, _)| stands && *r == root.id && *n == a.name) {
            return Node::Fact(*fact);
        }
        if root.id == "row" {
            return column(a.name, span, scope);
        }
        if root.id == "sync" && scope.changes == Changes::Told {
            return changes::named(a.name, span, scope);
        }
        if matches!(root.id, "file" | "job" | "route") || (root.id == "loop" && stands) {
            let names = FACTS.iter().filter(|(r, _, _)| *r == root.id).map(|(_, n, _)| *n);
            let all: Vec<String> = names.clone().map(|n| format!("{}.{n}", root.id)).collect();
            scope.mistakes.push(Mistake::new(span, format!("`{}` has no `{}`", root.id, a.name), Some(format!("there are {}", all.join(", ")))));
            return Node::Const(Value::Null);
        }
    }
    let holder = holder(&a.expr, scope);
    if matches!(*holder, Node::Before) {
        changes::known_before(a.name, span.clone(), scope);
    }
    rows::known(&holder, a.name, span, scope);
    Node::Attr(holder, a.name.to_owned())
}

pub(super) fn item(i: &ast::GetItem<'_>, scope: &mut Scope<'_>) -> Node {
    if let Some(node) = rows::column_of_row(i, scope) {
        return node;
    }
    let (holder, at) = (holder(&i.expr, scope), boxed(&i.subscript_expr, scope));
    if let Node::Const(Value::Text(name)) = &*at {
        rows::known(&holder, name, range_of(&i.subscript_expr), scope);
    }
    Node::Index(holder, at)
}

/// Whether it is a text that whoever wrote the expression wrote. What a column holds may be meant for a number.
fn is_words(node: &Node) -> bool {
    matches!(node, Node::Const(Value::Text(_)) | Node::Concat(..) | Node::Arithmetic(Op::Join | Op::Repeat, ..))
}

pub(super) fn binary(b: &ast::BinOp<'_>, scope: &mut Scope<'_>) -> Node {
    let (left, right) = (boxed(&b.left, scope), boxed(&b.right, scope));
    let compare = |cmp, left, right: Box<Node>| Node::Compare(left, vec![(cmp, *right)]);
    match b.op {
        BinOpKind::ScAnd => Node::And(left, right),
        BinOpKind::ScOr => Node::Or(left, right),
        BinOpKind::Concat => Node::Concat(left, right),
        BinOpKind::Add => Node::Arithmetic(if is_words(&left) || is_words(&right) { Op::Join } else { Op::Add }, left, right),
        BinOpKind::Sub => Node::Arithmetic(Op::Sub, left, right),
        BinOpKind::Mul => Node::Arithmetic(if is_words(&left) { Op::Repeat } else { Op::Mul }, left, right),
        BinOpKind::Div => Node::Arithmetic(Op::Div, left, right),
        BinOpKind::FloorDiv => Node::Arithmetic(Op::FloorDiv, left, right),
        BinOpKind::Rem => Node::Arithmetic(Op::Rem, left, right),
        BinOpKind::Pow => Node::Arithmetic(Op::Pow, left, right),
        BinOpKind::Eq => compare(Cmp::Eq, left, right),
        BinOpKind::Ne => compare(Cmp::Ne, left, right),
        BinOpKind::Lt => compare(Cmp::Lt, left, right),
        BinOpKind::Lte => compare(Cmp::Le, left, right),
        BinOpKind::Gt => compare(Cmp::Gt, left, right),
        BinOpKind::Gte => compare(Cmp::Ge, left, right),
        BinOpKind::In => compare(Cmp::In, left, right),
    }
}

pub(super) fn comparison(op: CompareOpKind) -> Cmp {
    match op {
        CompareOpKind::Eq => Cmp::Eq,
        CompareOpKind::Ne => Cmp::Ne,
        CompareOpKind::Lt => Cmp::Lt,
        CompareOpKind::Lte => Cmp::Le,
        CompareOpKind::Gt => Cmp::Gt,
        CompareOpKind::Gte => Cmp::Ge,
        CompareOpKind::In => Cmp::In,
        CompareOpKind::NotIn => Cmp::NotIn,
    }
}

pub(super) fn arguments(args: &[CallArg<'_>], scope: &mut Scope<'_>) -> Args {
    let mut out = Args::default();
    for arg in args {
        match arg {
            CallArg::Pos(e) => out.positional.push(node(e, scope)),
            CallArg::Kwarg(name, e) => out.named.push(((*name).to_owned(), node(e, scope))),
            CallArg::PosSplat(e) | CallArg::KwargSplat(e) => {
                scope.mistakes.push(Mistake::new(range_of(e), "`*` before an argument is not supported", None));
            }
        }
    }
    out
}

/// Compiles what `default` and `is defined` look at: there an unknown column is no mistake.
pub(super) fn lenient(expr: &Expr<'_>, scope: &mut Scope<'_>) -> Box<Node> {
    let before = scope.mistakes.len();
    let inner = boxed(expr, scope);
    if scope.columns.is_some() {
        let kept: Vec<Mistake> = scope.mistakes.drain(before..).filter(|m| !m.message.starts_with(NO_COLUMN)).collect();
        scope.mistakes.extend(kept);
    }
    inner
}

pub(super) fn filter(f: &ast::Filter<'_>, span: Range<usize>, scope: &mut Scope<'_>) -> Node {
    let Some(input) = &f.expr else {
        scope.mistakes.push(Mistake::new(span, "a filter needs a value before it", None));
        return Node::Const(Value::Null);
    };
    if matches!(f.name, "default" | "d") {
        let inner = lenient(input, scope);
        let mut args = arguments(&f.args, scope);
        let boolean = if args.positional.len() > 1 { Some(args.positional.remove(1)) } else { args.named.pop().map(|(_, n)| n) };
        let value = if args.positional.is_empty() { Node::Const(Value::owned("")) } else { args.positional.remove(0) };
        return Node::Default(inner, Box::new(value), boolean.map(Box::new));
    }
    let inner = boxed(input, scope);
    let args = arguments(&f.args, scope);
    if f.name == "lookup" {
        return lookup(inner, args, span, scope);
    }
    let Some(found) = filters::named(f.name) else {
        let near = nearest(f.name, filters::FILTERS.iter().map(|f| f.name).chain(["default", "lookup"]));
        let hint = near.map_or_else(|| "the reference lists all filters".to_owned(), |near| format!("did you mean {near}?"));
        scope.mistakes.push(Mistake::new(span, format!("there is no filter {}", f.name), Some(hint)));
        return Node::Const(Value::Null);
    };
    check_arguments(found.name, found.args, found.named, &args, span.clone(), scope);
    if let Some(message) = filters::constant_mistake(found, &args) {
        scope.mistakes.push(Mistake::new(range_of_argument(f.args.first()), message, None));
    }
    rows::known_to(found.name, &inner, &args, span, scope);
    Node::Filter(found, inner, args)
}

pub(super) fn range_of_argument(arg: Option<&CallArg<'_>>) -> Range<usize> {
    match arg {
        Some(CallArg::Pos(e) | CallArg::Kwarg(_, e) | CallArg::PosSplat(e) | CallArg::KwargSplat(e)) => range_of(e),
        None => 0..0,
    }
}

pub(super) fn check_arguments(name: &str, args: (usize, usize), named: &[&str], given: &Args, span: Range<usize>, scope: &mut Scope<'_>) {
    let count = given.positional.len();
    let by_name = given.named.iter().filter(|(n, _)| named.contains(&n.as_str())).count();
    if count + by_name < args.0 || count > args.1 {
        let wanted = if args.0 == args.1 {
            args.0.to_string()
        } else if args.1 == usize::MAX {
            format!("at least {}", args.0)
        } else {
            format!("{} to {}", args.0, args.1)
        };
        scope.mistakes.push(Mistake::new(span.clone(), format!("{name} takes {wanted} arguments, not {count}"), None));
    }
    for (given, _) in &given.named {
        if !named.contains(&given.as_str()) {
            let hint = nearest(given, named.iter().copied()).map(|near| format!("did you mean {near}?"));
            scope.mistakes.push(Mistake::new(span.clone(), format!("{name} has no argument {given}"), hint));
        }
    }
}

pub(super) fn lookup(inner: Box<Node>, args: Args, span: Range<usize>, scope: &mut Scope<'_>) -> Node {
    let mut texts = args.positional.iter().map(|a| match a {
        Node::Const(Value::Text(t)) => Some(t.to_string()),
        _ => None,
    });
    let (table, column) = (texts.next().flatten(), texts.next());
    let Some(table) = table else {
        scope.mistakes.push(Mistake::new(span, "lookup needs the name of a table, as in lookup('pays', 'iso2')", None));
        return Node::Const(Value::Null);
    };
    if column == Some(None) {
        scope.mistakes.push(Mistake::new(span, "the column of a lookup must be a constant text", None));
        return Node::Const(Value::Null);
    }
    let Some(known) = scope.lookups.iter().find(|l| l.name == table) else {
        let near = nearest(&table, scope.lookups.iter().map(|l| l.name.as_str()));
        let hint = near.map_or_else(|| format!("declare it as [lookups.{table}]"), |near| format!("did you mean {near}?"));
        scope.mistakes.push(Mistake::new(span, format!("there is no lookup {table}"), Some(hint)));
        return Node::Const(Value::Null);
    };
    if column.is_none() && known.value.is_none() {
        let hint = format!("as in lookup('{table}', 'column'), or set lookups.{table}.value");
        scope.mistakes.push(Mistake::new(span, format!("lookup('{table}') needs the column that it gives"), Some(hint)));
        return Node::Const(Value::Null);
    }
    let column = column.flatten();
    if let (Some(column), Some(columns)) = (&column, &known.columns)
        && !columns.contains(column)
    {
        let hint = format!("its values stand under {}: lookup('{table}') gives them", listed(columns));
        scope.mistakes.push(Mistake::new(span, format!("the lookup {table} has no column {column}"), Some(hint)));
        return Node::Const(Value::Null);
    }
    Node::Lookup(inner, table, column)
}

pub(super) fn test(t: &ast::Test<'_>, span: Range<usize>, scope: &mut Scope<'_>) -> Node {
    if t.name == "defined" {
        return Node::Defined(lenient(&t.expr, scope));
    }
    if t.name == "undefined" {
        return Node::Not(Box::new(Node::Defined(lenient(&t.expr, scope))));
    }
    let inner = boxed(&t.expr, scope);
    let args = arguments(&t.args, scope);
    let Some(found) = predicates::named(t.name) else {
        let near = nearest(t.name, predicates::PREDICATES.iter().map(|p| p.name).chain(["defined"]));
        let hint = near.map_or_else(|| "the reference lists all tests".to_owned(), |near| format!("did you mean {near}?"));
        scope.mistakes.push(Mistake::new(span, format!("there is no test {}", t.name), Some(hint)));
        return Node::Const(Value::Null);
    };
    check_arguments(found.name, (found.args, found.args), &[], &args, span.clone(), scope);
    if found.name == "matching"
        && let Some(Node::Const(Value::Text(pattern))) = args.positional.first()
        && let Err(e) = regex::Regex::new(pattern)
    {
        scope.mistakes.push(Mistake::new(span, format!("the pattern is no regular expression: {}", last_line(&e.to_string())), None));
    }
    Node::Test(found, inner, args)
}

/// The last line of a multi-line message: the regex crate draws a picture first.
pub fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

pub(super) fn call(c: &ast::Call<'_>, span: Range<usize>, scope: &mut Scope<'_>) -> Node {
    let Expr::Var(function) = &c.expr else {
        scope.mistakes.push(Mistake::new(span, "methods can't be called", Some("use a filter, as in Nom | upper".into())));
        return Node::Const(Value::Null);
    };
    let mut args = arguments(&c.args, scope);
    match function.id {
        "nextval" if args.positional.len() == 1 => Node::Nextval(Box::new(args.positional.remove(0))),
        "range" if (1..=3).contains(&args.positional.len()) => Node::Range(args.positional),
        "dict" => Node::Map(args.named.into_iter().map(|(name, node)| (Node::Const(Value::owned(name)), node)).collect()),
        "nextval" | "range" => {
            scope.mistakes.push(Mistake::new(span, format!("{} needs an argument", function.id), None));
            Node::Const(Value::Null)
        }
        id => {
            let near = nearest(id, ["nextval", "range", "dict"].into_iter());
            let hint = near.map_or_else(
                || "the functions are nextval, range and dict; most of the rest is a filter: x | name".to_owned(),
                |n| format!("did you mean {n}?"),
            );
            scope.mistakes.push(Mistake::new(span, format!("there is no function {id}"), Some(hint)));
            Node::Const(Value::Null)
        }
    }
}
