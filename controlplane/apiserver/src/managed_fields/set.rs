//! Sets of field paths, as `fieldsV1` of `metadata.managedFields` holds them.
//!
//! A set is a tree: each node says whether its own path is a member, and holds the longer paths below it.
//! Nodes are sorted, and none is empty, so equal sets are equal trees and every operation is one walk.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::element::{Element, Malformed};

/// A set of field paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    nodes: Vec<Node>,
}

/// A path of a set, seen from its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The last step of the path.
    pub element: Element,
    /// Whether the path itself is in the set.
    pub member: bool,
    /// The longer paths.
    pub children: Set,
}

impl Set {
    /// The set of these paths, each of field names divided by dots.
    pub fn of_fields(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path.split('.').map(|name| Element::Field(name.into())));
        }
        set
    }

    /// Adds a path. The empty path, the object itself, is never a member.
    pub fn insert(&mut self, path: impl IntoIterator<Item = Element>) {
        let mut path = path.into_iter();
        let Some(first) = path.next() else { return };
        let mut node = self.node(first);
        for element in path {
            node = node.children.node(element);
        }
        node.member = true;
    }

    /// Adds a path of one element and paths below it.
    pub fn attach(&mut self, element: Element, member: bool, children: Self) {
        if !member && children.is_empty() {
            return;
        }
        let node = self.node(element);
        node.member |= member;
        if node.children.is_empty() {
            node.children = children;
        } else {
            node.children.extend(children);
        }
    }

    /// The node of `element`, made if absent; the caller leaves it non-empty.
    fn node(&mut self, element: Element) -> &mut Node {
        let found = match self.nodes.last() {
            Some(last) if last.element < element => Err(self.nodes.len()),
            None => Err(0),
            _ => self.find(&element),
        };
        let index = found.unwrap_or_else(|index| {
            self.nodes.insert(index, Node { element, member: false, children: Self::default() });
            index
        });
        &mut self.nodes[index]
    }

    fn find(&self, element: &Element) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.cmp(element))
    }

    /// The node of a path of one element.
    pub fn get(&self, element: &Element) -> Option<&Node> {
        self.find(element).ok().and_then(|index| self.nodes.get(index))
    }

    /// Its nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its nodes, in order.
    pub fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many paths are in it.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.children.len()).sum()
    }

    /// Whether `path` is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.get(first).is_some_and(|node| node.children.has(rest)),
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let left = std::mem::take(&mut self.nodes);
        self.nodes = Vec::with_capacity(left.len() + other.nodes.len());
        let (mut left, mut right) = (left.into_iter().peekable(), other.nodes.into_iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.element.cmp(&b.element),
            };
            let mut node = if order.is_gt() { right.next() } else { left.next() };
            if order.is_eq()
                && let (Some(node), Some(other)) = (&mut node, right.next())
            {
                node.member |= other.member;
                node.children.extend(other.children);
            }
            self.nodes.extend(node);
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.extend(other);
        self
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::default();
        let mut right = other.nodes.iter().peekable();
        for node in &self.nodes {
            while right.next_if(|other| other.element < node.element).is_some() {}
            let Some(other) = right.next_if(|other| other.element == node.element) else { continue };
            let (member, children) =
                (node.member && other.member, node.children.intersection(&other.children));
            if member || !children.is_empty() {
                out.nodes.push(Node { element: node.element.clone(), member, children });
            }
        }
        out
    }

    /// Removes the paths of `other`; paths below those stay.
    pub fn subtract(&mut self, other: &Self) {
        self.retain_against(other, |node, other| {
            node.member &= !other.member;
            node.children.subtract(&other.children);
        });
    }

    /// Removes the paths of `other` and all below them.
    pub fn subtract_deep(&mut self, other: &Self) {
        self.retain_against(other, |node, other| {
            if other.member {
                *node = Node { element: node.element.clone(), member: false, children: Self::default() };
            } else {
                node.children.subtract_deep(&other.children);
            }
        });
    }

    fn retain_against(&mut self, other: &Self, change: impl Fn(&mut Node, &Node)) {
        let mut right = other.nodes.iter().peekable();
        self.nodes.retain_mut(|node| {
            while right.next_if(|other| other.element < node.element).is_some() {}
            if let Some(other) = right.next_if(|other| other.element == node.element) {
                change(node, other);
            }
            node.member || !node.children.is_empty()
        });
    }

    /// [`Self::subtract`] on a copy.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.subtract(other);
        out
    }

    /// The members without longer members below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let nodes = self.nodes.iter().map(|node| Node {
            element: node.element.clone(),
            member: node.member && node.children.is_empty(),
            children: node.children.leaves(),
        });
        Self { nodes: nodes.collect() }
    }

    /// Calls `visit` with each path: at every level the members first, then what is below.
    pub fn for_each(&self, visit: &mut impl FnMut(&[&Element])) {
        fn walk<'s>(set: &'s Set, path: &mut Vec<&'s Element>, visit: &mut impl FnMut(&[&Element])) {
            for node in set.nodes.iter().filter(|node| node.member) {
                path.push(&node.element);
                visit(path);
                path.pop();
            }
            for node in &set.nodes {
                path.push(&node.element);
                walk(&node.children, path, visit);
                path.pop();
            }
        }
        walk(self, &mut Vec::new(), visit);
    }

    /// Reads `fieldsV1`.
    pub fn from_value(fields: &Value) -> Result<Self, Malformed> {
        let mut set = Self::default();
        set.read(fields)?;
        Ok(set)
    }

    /// Reads children into `self`; true if their parent is a member.
    fn read(&mut self, fields: &Value) -> Result<bool, Malformed> {
        let empty = Map::new();
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => &empty,
            other => return Err(Malformed::Content(other.to_string())),
        };
        for (name, value) in fields.iter().filter(|(name, _)| *name != ".") {
            let Some(element) = Element::parse(name)? else { continue };
            let mut children = Self::default();
            let member = children.read(value)?;
            self.attach(element, member, children);
        }
        Ok(fields.contains_key(".") || self.is_empty())
    }

    /// The form that [`Self::from_value`] reads.
    pub fn to_value(&self) -> Value {
        fn write(set: &Set, member: bool) -> Value {
            let mut out = Map::new();
            if member && !set.is_empty() {
                out.insert(".".into(), Map::new().into());
            }
            for node in &set.nodes {
                out.insert(node.element.to_text(), write(&node.children, node.member));
            }
            out.into()
        }
        write(self, false)
    }
}

#[cfg(test)]
mod tests;
