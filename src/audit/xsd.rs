//! What an XSD says of the records of an import file.

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};

use super::profile::Kind;
use super::schema::{COLUMNS_MAX, Column, Described, Given};

/// Types that refer to each other deeper than this go round in circles.
const DEPTH_MAX: usize = 12;

/// An element of the schema itself.
#[derive(Debug, Default)]
struct Node {
    name: String,
    attributes: HashMap<String, String>,
    children: Vec<Node>,
}

impl Node {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name)
    }

    /// Elements and attributes declared below, without those of elements in between.
    fn declared(&self) -> Vec<&Node> {
        let mut out = Vec::new();
        for child in &self.children {
            match child.name.as_str() {
                "element" | "attribute" => out.push(child),
                "sequence" | "all" | "choice" | "complexContent" | "simpleContent" | "extension" | "restriction" | "complexType" | "group" => {
                    out.extend(child.declared())
                }
                _ => {}
            }
        }
        out
    }
}

/// What the schema says; none: the text is no XSD.
pub fn described(text: &str) -> Option<Described> {
    let root = parse(text)?;
    if root.name != "schema" {
        return None;
    }
    let top = root.children.iter().find(|c| c.name == "element")?;
    let mut path = vec![top.attribute("name").to_owned()];
    let mut left = COLUMNS_MAX;
    let record = repeated(&root, top, &mut path, &mut left);
    let mut out = Described { records: format!("/{}", path.join("/")), columns: Vec::new() };
    columns(&root, record.unwrap_or(top), "", &mut out.columns, 0);
    (!out.columns.is_empty()).then_some(out)
}

fn parse(text: &str) -> Option<Node> {
    let mut parser = quick_xml::Reader::from_str(text);
    let mut stack = vec![Node::default()];
    let node = |e: &BytesStart<'_>| Node {
        name: e.local_name().as_ref().to_owned(),
        attributes: e.attributes().flatten().map(|a| (a.key.local_name().as_ref().to_owned(), String::from(&*a.value))).collect(),
        children: Vec::new(),
    };
    loop {
        match parser.read_event().ok()? {
            Event::Start(e) if stack.len() < 64 => stack.push(node(&e)),
            Event::Start(_) => return None,
            Event::Empty(e) => stack.last_mut()?.children.push(node(&e)),
            Event::End(_) => {
                let closed = stack.pop()?;
                stack.last_mut()?.children.push(closed);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    stack.pop()?.children.into_iter().next()
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// The type of an element: the one in it, or the one of that name.
fn type_of<'n>(root: &'n Node, element: &'n Node) -> Option<&'n Node> {
    let own = element.child("complexType").or_else(|| element.child("simpleType"));
    own.or_else(|| {
        let name = local(element.attribute("type"));
        root.children.iter().find(|c| matches!(c.name.as_str(), "complexType" | "simpleType") && c.attribute("name") == name)
    })
}

/// An element itself, or the one it refers to.
fn resolved<'n>(root: &'n Node, element: &'n Node) -> &'n Node {
    let name = local(element.attribute("ref"));
    if name.is_empty() { element } else { root.children.iter().find(|c| c.name == element.name && c.attribute("name") == name).unwrap_or(element) }
}

fn is_repeated(element: &Node) -> bool {
    element.attribute("maxOccurs") == "unbounded" || element.attribute("maxOccurs").parse::<u32>().is_ok_and(|n| n > 1)
}

/// The first element that may stand more than once, and the path to it.
fn repeated<'n>(root: &'n Node, element: &'n Node, path: &mut Vec<String>, left: &mut usize) -> Option<&'n Node> {
    *left = left.saturating_sub(1);
    if path.len() > DEPTH_MAX || *left == 0 {
        return None;
    }
    let declared = type_of(root, element)?.declared();
    for declaration in declared.iter().filter(|d| d.name == "element" && is_repeated(d)) {
        let found = resolved(root, declaration);
        if type_of(root, found).is_some_and(|t| t.name == "complexType") {
            path.push(found.attribute("name").to_owned());
            return Some(found);
        }
    }
    for declaration in declared.iter().filter(|d| d.name == "element") {
        let inner = resolved(root, declaration);
        path.push(inner.attribute("name").to_owned());
        if let Some(found) = repeated(root, inner, path, left) {
            return Some(found);
        }
        path.pop();
    }
    None
}

fn columns(root: &Node, element: &Node, prefix: &str, out: &mut Vec<Column>, depth: usize) {
    let Some(kind) = type_of(root, element).filter(|_| depth <= DEPTH_MAX) else { return };
    for declaration in kind.declared() {
        let inner = resolved(root, declaration);
        let name = inner.attribute("name");
        if name.is_empty() || out.len() >= COLUMNS_MAX {
            continue;
        }
        let sign = if declaration.name == "attribute" { "@" } else { "" };
        let path = if prefix.is_empty() { format!("{sign}{name}") } else { format!("{prefix}.{sign}{name}") };
        let own = type_of(root, inner);
        let holds_elements = own.is_some_and(|t| t.name == "complexType" && !t.declared().is_empty());
        if holds_elements && !is_repeated(declaration) {
            columns(root, inner, &path, out, depth + 1);
            continue;
        }
        if out.iter().any(|c| c.name == path) {
            continue;
        }
        let restriction = own.and_then(|t| t.child("restriction"));
        let base = restriction.map_or_else(|| inner.attribute("type"), |r| r.attribute("base"));
        let facet = |name: &str| restriction.and_then(|r| r.child(name)).map(|f| f.attribute("value").to_owned());
        let required = if declaration.name == "attribute" { declaration.attribute("use") == "required" } else { declaration.attribute("minOccurs") != "0" };
        out.push(Column {
            name: path,
            kind: match local(base) {
                "integer" | "int" | "long" | "short" | "positiveInteger" | "nonNegativeInteger" | "unsignedInt" => Kind::Integer,
                "decimal" | "float" | "double" => Kind::Decimal,
                "date" => Kind::Date,
                "dateTime" => Kind::DateTime,
                "boolean" => Kind::Bool,
                _ => Kind::Text,
            },
            list: is_repeated(declaration),
            required,
            max_length: facet("maxLength").or_else(|| facet("length")).and_then(|n| n.parse().ok()),
            values: restriction
                .map_or_else(Vec::new, |r| r.children.iter().filter(|c| c.name == "enumeration").map(|c| c.attribute("value").to_owned()).collect()),
            typed: false,
            given: match (declaration.attribute("fixed"), declaration.attribute("default")) {
                ("", "") => None,
                ("", default) => Some(Given::Unless(super::conversions::literal(default))),
                (fixed, _) => Some(Given::Always(super::conversions::literal(fixed))),
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xsd_names_the_repeated_element_and_its_parts() {
        let text = r#"<?xml version="1.0"?><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
            <xs:element name="clients"><xs:complexType><xs:sequence><xs:element name="client" type="Client" maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:element>
            <xs:complexType name="Client"><xs:sequence><xs:element name="nom"><xs:simpleType><xs:restriction base="xs:string"><xs:maxLength value="30"/></xs:restriction></xs:simpleType></xs:element>
            <xs:element name="solde" type="xs:decimal" minOccurs="0"/><xs:element name="adresse"><xs:complexType><xs:all><xs:element name="ville" type="xs:string"/></xs:all></xs:complexType></xs:element>
            </xs:sequence><xs:attribute name="code" type="xs:string" use="required"/></xs:complexType></xs:schema>"#;
        let found = described(text).unwrap();
        assert_eq!(found.records, "/clients/client");
        let columns: Vec<(&str, Kind, bool, Option<usize>)> = found.columns.iter().map(|c| (c.name.as_str(), c.kind, c.required, c.max_length)).collect();
        assert_eq!(
            columns,
            [
                ("nom", Kind::Text, true, Some(30)),
                ("solde", Kind::Decimal, false, None),
                ("adresse.ville", Kind::Text, true, None),
                ("@code", Kind::Text, true, None)
            ]
        );
        assert!(described("<a><b/></a>").is_none());
    }
}
