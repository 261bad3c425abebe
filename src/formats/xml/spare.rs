//! The elements of the last record, for the next one: what is written into room that is there already costs no allocation.
//!
//! An element that somebody still holds is left alone.

use std::sync::Arc;

use crate::record::{Key, Node};

/// More elements than this are not kept.
const ELEMENTS_MAX: usize = 4096;
/// Longer texts are not kept: one long one must not fill the memory for ever.
const TEXT_BYTES_MAX: usize = 4096;

pub(super) struct Spare {
    /// Empty elements, with the room that they had.
    nodes: Vec<Node>,
    /// Places for elements.
    places: Vec<Arc<Node>>,
    /// The name of an element that has none.
    nameless: Key,
}

impl Spare {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), places: Vec::new(), nameless: Arc::from("") }
    }

    /// An element of that name with nothing in it.
    pub(super) fn node(&mut self, name: Key) -> Node {
        match self.nodes.pop() {
            Some(node) => Node { name, ..node },
            None => Node::new(name),
        }
    }

    /// The element, to be shared.
    pub(super) fn shared(&mut self, node: Node) -> Arc<Node> {
        let Some(mut place) = self.places.pop() else { return Arc::new(node) };
        match Arc::get_mut(&mut place) {
            Some(empty) => {
                *empty = node;
                place
            }
            // Nobody else holds it; if it were so, it would be theirs.
            None => Arc::new(node),
        }
    }

    /// Takes back an element and all below that nobody else holds.
    pub(super) fn take_back(&mut self, mut place: Arc<Node>) {
        let Some(node) = Arc::get_mut(&mut place).filter(|_| self.nodes.len() < ELEMENTS_MAX) else { return };
        let mut node = std::mem::replace(node, Node::new(self.nameless.clone()));
        self.places.push(place);
        node.children.drain(..).for_each(|(_, child)| self.take_back(child));
        if node.text.capacity() > TEXT_BYTES_MAX {
            node.text = String::new();
        }
        node.text.clear();
        node.attributes.clear();
        (node.typed, node.around) = (None, None);
        self.nodes.push(node);
    }
}
