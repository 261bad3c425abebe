//! Elements of XML and EDIFACT records: text, attributes, and elements below.
//!
//! A path reaches all its elements. Where a text is wanted, the first one gives it; lists take them all.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Entries, Key, Value};

/// One element.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its local name.
    pub name: Key,
    /// The text directly in it.
    pub text: String,
    /// Its attributes: name and text.
    pub attributes: Vec<(Key, String)>,
    /// The elements directly in it, and after how many bytes of `text` each stands.
    pub children: Vec<(usize, Arc<Node>)>,
    /// The value that its text stands for by a declared type.
    pub typed: Option<Box<Value<'static>>>,
    /// Of what stands around records: what stands around it.
    pub around: Option<Arc<Node>>,
}

impl Default for Node {
    fn default() -> Self {
        Self::new(Arc::from(""))
    }
}

impl Node {
    /// An element of that name with nothing in it.
    pub fn new(name: Key) -> Self {
        Self { name, text: String::new(), attributes: Vec::new(), children: Vec::new(), typed: None, around: None }
    }

    /// Its text and that of all below, in the document's order (XPath's string value).
    pub fn string(&self) -> Cow<'_, str> {
        if self.children.is_empty() {
            return Cow::Borrowed(&self.text);
        }
        let mut out = String::new();
        self.push_string(&mut out);
        Cow::Owned(out)
    }

    fn push_string(&self, out: &mut String) {
        let mut from = 0;
        for (at, child) in &self.children {
            out.push_str(&self.text[from..*at]);
            from = *at;
            child.push_string(out);
        }
        out.push_str(&self.text[from..]);
    }

    /// The elements directly in it of that name.
    pub fn named<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n Arc<Node>> {
        self.children.iter().map(|(_, child)| child).filter(move |child| &*child.name == name)
    }

    /// As a record of JSON: attributes as `@name`, text beside elements as `#text`, repeated elements as a list.
    pub fn to_value(&self) -> Value<'static> {
        let text = || self.typed.as_ref().map_or_else(|| Value::owned(self.text.clone()), |typed| (**typed).clone());
        if self.attributes.is_empty() && self.children.is_empty() {
            return text();
        }
        let mut entries: Entries = self.attributes.iter().map(|(name, text)| (format!("@{name}").into(), Value::owned(text.clone()))).collect();
        for (_, child) in &self.children {
            let value = child.to_value();
            match entries.iter_mut().find(|(name, _)| *name == child.name) {
                None => entries.push((child.name.clone(), value)),
                Some((_, Value::List(items))) => Arc::make_mut(items).push(value),
                Some((_, first)) => *first = Value::list(vec![std::mem::replace(first, Value::Null), value]),
            }
        }
        if !self.text.is_empty() {
            entries.push(("#text".into(), text()));
        }
        Value::map(entries)
    }
}

/// One element or more, as a path reaches them.
#[derive(Clone, Debug, PartialEq)]
pub enum Nodes {
    /// One.
    One(Arc<Node>),
    /// Several.
    Many(Arc<Vec<Arc<Node>>>),
}

impl Nodes {
    /// All of them.
    pub fn all(&self) -> &[Arc<Node>] {
        match self {
            Nodes::One(node) => std::slice::from_ref(node),
            Nodes::Many(nodes) => nodes,
        }
    }

    /// What stands for all of them as text; `None` never occurs, since there is always one.
    pub fn first(&self) -> Option<&Arc<Node>> {
        self.all().first()
    }

    /// All of them as records of JSON: several are a list.
    pub fn to_value(&self) -> Value<'static> {
        match self.all() {
            [one] => one.to_value(),
            many => Value::list(many.iter().map(|node| node.to_value()).collect()),
        }
    }

    /// What stands for all of them where one value is wanted: the first one's, by its type or as text.
    pub fn scalar(&self) -> Value<'_> {
        match self.first().and_then(|node| node.typed.as_deref()) {
            Some(typed) => typed.borrowed(),
            None => Value::Text(self.string()),
        }
    }

    /// The text of the first.
    pub fn string(&self) -> Cow<'_, str> {
        self.first().map_or(Cow::Borrowed(""), |node| node.string())
    }

    /// The value of those elements; null where there is none.
    pub fn value(mut nodes: Vec<Arc<Node>>) -> Value<'static> {
        match nodes.len() {
            0 => Value::Null,
            1 => nodes.pop().map_or(Value::Null, |node| Value::Nodes(Nodes::One(node))),
            _ => Value::Nodes(Nodes::Many(Arc::new(nodes))),
        }
    }

    /// What stands under `name`: the attributes of that name with `@`, else the elements in any of these.
    pub fn part(&self, name: &str) -> Value<'static> {
        if name == "#text" {
            let own = |node: &Arc<Node>| {
                let typed = node.typed.clone();
                Arc::new(Node { text: node.text.clone(), typed, ..Node::new(name.into()) })
            };
            return Self::value(self.all().iter().filter(|node| !node.text.is_empty()).map(own).collect());
        }
        if let Some(attribute) = name.strip_prefix('@') {
            let texts = self.all().iter().flat_map(|n| &n.attributes).filter(|(key, _)| **key == *attribute);
            let leaf = |(key, text): &(Key, String)| Arc::new(Node { text: text.clone(), ..Node::new(key.clone()) });
            return Self::value(texts.map(leaf).collect());
        }
        if let Nodes::One(node) = self {
            if name == "parent"
                && let Some(around) = &node.around
            {
                return Value::Nodes(Nodes::One(around.clone()));
            }
            let mut found = node.named(name);
            return match (found.next(), found.next()) {
                (None, _) => Value::Null,
                (Some(only), None) => Value::Nodes(Nodes::One(only.clone())),
                (Some(first), Some(second)) => Self::value([first, second].into_iter().chain(found).cloned().collect()),
            };
        }
        Self::value(self.all().iter().flat_map(|n| n.named(name)).cloned().collect())
    }

    /// The elements one by one.
    pub fn items(&self) -> impl Iterator<Item = Value<'static>> + '_ {
        self.all().iter().map(|node| Value::Nodes(Nodes::One(node.clone())))
    }
}
