//! A sorted list that is cheap to copy, to change in the middle, and to ask for the place of a row.

use std::iter::FusedIterator;
use std::slice;
use std::sync::Arc;

/// What a node has at the most; a fuller one is divided.
const MOST: usize = 32;

/// What a node of a new list has: room for some more.
const USUAL: usize = 24;

/// Neighbours that together have no more are joined.
const FEW: usize = MOST / 2;

/// Rows in their order, in a tree that copies share.
///
/// A change copies the nodes on one path from the root: a few dozen pointers on each of few levels, whatever the number of
/// rows, and nothing of what no copy shares. Each node knows how many rows it has, so places are found on the way down
/// (order-statistic tree, Cormen et al., *Introduction to Algorithms*).
#[derive(Debug)]
pub(super) struct Rows<R> {
    root: Arc<Node<R>>,
    len: usize,
}

/// All leaves are equally deep, and but for an empty list no node is empty.
#[derive(Debug)]
enum Node<R> {
    Leaf(Vec<Arc<R>>),
    Inner(Inner<R>),
}

#[derive(Debug)]
struct Inner<R> {
    children: Vec<Child<R>>,
    /// Between each child and the next: no row of the one is greater, all of the other are. It was a row once, so that a
    /// search need not go down to the rows of a child to pass it.
    borders: Arc<Vec<Arc<R>>>,
}

#[derive(Debug)]
struct Child<R> {
    /// The rows below it.
    len: usize,
    node: Arc<Node<R>>,
}

impl<R> Clone for Rows<R> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            len: self.len,
        }
    }
}

impl<R> Clone for Node<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(rows) => Self::Leaf(rows.clone()),
            Self::Inner(inner) => Self::Inner(Inner {
                children: inner.children.clone(),
                borders: inner.borders.clone(),
            }),
        }
    }
}

impl<R> Clone for Child<R> {
    fn clone(&self) -> Self {
        Self {
            len: self.len,
            node: self.node.clone(),
        }
    }
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::Leaf(Vec::new())),
            len: 0,
        }
    }
}

/// Where a new row went.
enum Put<R> {
    /// In the place of an equal one.
    Replaced,
    Added,
    /// And this node comes behind the one it was added to.
    Divided(Child<R>),
}

impl<R: Ord> Rows<R> {
    /// Takes rows that are sorted.
    pub(super) fn of_sorted(rows: Vec<Arc<R>>) -> Self {
        let len = rows.len();
        let mut level: Vec<_> = divided(rows)
            .map(|rows| Child::new(Node::Leaf(rows)))
            .collect();
        while level.len() > 1 {
            level = divided(level)
                .map(|children| Child::new(Node::Inner(Inner::new(children))))
                .collect();
        }
        match level.pop() {
            Some(root) => Self {
                root: root.node,
                len,
            },
            None => Self::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: usize) -> Option<&Arc<R>> {
        self.range(at, at.saturating_add(1)).next()
    }

    pub(super) fn last(&self) -> Option<&Arc<R>> {
        self.root.last()
    }

    /// The rows from place `start` up to `end`.
    pub(super) fn range(&self, start: usize, end: usize) -> Range<'_, R> {
        let left = end.min(self.len).saturating_sub(start);
        let mut range = Range {
            above: Vec::new(),
            leaf: [].iter(),
            left,
        };
        if left > 0 {
            range.descend(&self.root, start);
        }
        range
    }

    /// The place of a row.
    pub(super) fn find(&self, row: &R) -> Option<usize> {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match &**node {
                Node::Leaf(rows) => {
                    let within = rows.binary_search_by(|here| (**here).cmp(row)).ok()?;
                    return Some(before + within);
                }
                Node::Inner(inner) => {
                    let (passed, rest) = inner.children.split_at(inner.child_of(row));
                    before += passed.iter().map(|child| child.len).sum::<usize>();
                    node = &rest.first()?.node;
                }
            }
        }
    }

    /// Puts a row into its place; one that is equal is replaced.
    pub(super) fn insert(&mut self, row: Arc<R>) {
        match Arc::make_mut(&mut self.root).insert(row) {
            Put::Replaced => {}
            Put::Added => self.len += 1,
            Put::Divided(second) => {
                self.len += 1;
                let first = Child {
                    len: self.len - second.len,
                    node: self.root.clone(),
                };
                self.root = Arc::new(Node::Inner(Inner::new(vec![first, second])));
            }
        }
    }

    /// Takes out the row that is equal.
    pub(super) fn remove(&mut self, row: &R) -> Option<Arc<R>> {
        let removed = Arc::make_mut(&mut self.root).remove(row)?;
        self.len -= 1;
        while let Node::Inner(inner) = &*self.root
            && let [only] = &inner.children[..]
        {
            self.root = only.node.clone();
        }
        Some(removed)
    }
}

impl<R> Inner<R> {
    fn new(children: Vec<Child<R>>) -> Self {
        let all_but_last = &children[..children.len().saturating_sub(1)];
        let borders = all_but_last.iter().filter_map(|child| child.node.last());
        Self {
            borders: Arc::new(borders.cloned().collect()),
            children,
        }
    }

    /// Takes in what stands behind it, and behind this border.
    fn extend(&mut self, border: Arc<R>, other: &Self) {
        self.children.extend(other.children.iter().cloned());
        let borders = Arc::make_mut(&mut self.borders);
        borders.push(border);
        borders.extend(other.borders.iter().cloned());
    }

    /// Gives its second half away.
    fn split(&mut self) -> Self {
        let half = self.children.len() / 2;
        let children = self.children.split_off(half);
        let borders = Arc::make_mut(&mut self.borders);
        let theirs = borders.split_off(half);
        // The one between the halves is for whoever holds them.
        borders.pop();
        Self {
            children,
            borders: Arc::new(theirs),
        }
    }

    /// Joins a child and the next one if they have few things.
    fn join(&mut self, at: usize) -> bool {
        let [left, right, ..] = &mut self.children[at..] else {
            return false;
        };
        if left.node.size() + right.node.size() > FEW {
            return false;
        }
        let border = Arc::make_mut(&mut self.borders).remove(at);
        Arc::make_mut(&mut left.node).extend(border, &right.node);
        left.len += right.len;
        self.children.remove(at + 1);
        true
    }

    /// Takes out a child that has no more rows.
    fn drop_child(&mut self, at: usize) {
        self.children.remove(at);
        if !self.borders.is_empty() {
            let border = at.min(self.borders.len() - 1);
            Arc::make_mut(&mut self.borders).remove(border);
        }
    }
}

impl<R: Ord> Inner<R> {
    /// The child in which a row is, or would be.
    fn child_of(&self, row: &R) -> usize {
        self.borders.partition_point(|border| **border < *row)
    }

    /// Tells whether no equal one was there.
    fn insert(&mut self, row: Arc<R>) -> bool {
        let at = self.child_of(&row);
        let child = &mut self.children[at];
        match Arc::make_mut(&mut child.node).insert(row) {
            Put::Replaced => return false,
            Put::Added => child.len += 1,
            Put::Divided(second) => {
                child.len = child.len + 1 - second.len;
                if let Some(last) = child.node.last() {
                    Arc::make_mut(&mut self.borders).insert(at, last.clone());
                }
                self.children.insert(at + 1, second);
            }
        }
        true
    }

    fn remove(&mut self, row: &R) -> Option<Arc<R>> {
        let at = self.child_of(row);
        let child = self.children.get_mut(at)?;
        let removed = Arc::make_mut(&mut child.node).remove(row)?;
        child.len -= 1;
        if child.len == 0 {
            self.drop_child(at);
        } else if !self.join(at) && at > 0 {
            self.join(at - 1);
        }
        Some(removed)
    }
}

/// The same things in groups for nodes.
fn divided<T>(things: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut things = things.into_iter();
    std::iter::from_fn(move || {
        let group: Vec<_> = things.by_ref().take(USUAL).collect();
        (!group.is_empty()).then_some(group)
    })
}

impl<R> Child<R> {
    fn new(node: Node<R>) -> Self {
        Self {
            len: node.len(),
            node: Arc::new(node),
        }
    }
}

impl<R> Node<R> {
    /// The rows below it.
    fn len(&self) -> usize {
        match self {
            Self::Leaf(rows) => rows.len(),
            Self::Inner(inner) => inner.children.iter().map(|child| child.len).sum(),
        }
    }

    /// The rows or children that it has itself.
    fn size(&self) -> usize {
        match self {
            Self::Leaf(rows) => rows.len(),
            Self::Inner(inner) => inner.children.len(),
        }
    }

    fn last(&self) -> Option<&Arc<R>> {
        match self {
            Self::Leaf(rows) => rows.last(),
            Self::Inner(inner) => inner.children.last()?.node.last(),
        }
    }

    /// Takes in what stands behind it, and behind this border.
    fn extend(&mut self, border: Arc<R>, other: &Self) {
        match (self, other) {
            (Self::Leaf(rows), Self::Leaf(others)) => rows.extend(others.iter().cloned()),
            (Self::Inner(inner), Self::Inner(other)) => inner.extend(border, other),
            // All leaves are equally deep, so neighbours are alike.
            _ => debug_assert!(false, "a leaf beside an inner node"),
        }
    }

    /// Gives its second half away when it is too full.
    fn divide(&mut self) -> Option<Child<R>> {
        if self.size() <= MOST {
            return None;
        }
        Some(Child::new(match self {
            Self::Leaf(rows) => Self::Leaf(rows.split_off(rows.len() / 2)),
            Self::Inner(inner) => Self::Inner(inner.split()),
        }))
    }
}

impl<R: Ord> Node<R> {
    fn insert(&mut self, row: Arc<R>) -> Put<R> {
        match self {
            Self::Leaf(rows) => match rows.binary_search(&row) {
                Ok(at) => {
                    rows[at] = row;
                    return Put::Replaced;
                }
                Err(at) => rows.insert(at, row),
            },
            Self::Inner(inner) => {
                if !inner.insert(row) {
                    return Put::Replaced;
                }
            }
        }
        self.divide().map_or(Put::Added, Put::Divided)
    }

    fn remove(&mut self, row: &R) -> Option<Arc<R>> {
        match self {
            Self::Leaf(rows) => {
                let at = rows.binary_search_by(|here| (**here).cmp(row)).ok()?;
                Some(rows.remove(at))
            }
            Self::Inner(inner) => inner.remove(row),
        }
    }
}

/// Rows one after another.
#[derive(Debug)]
pub(super) struct Range<'a, R> {
    /// What comes behind the leaf, the nearest last.
    above: Vec<slice::Iter<'a, Child<R>>>,
    leaf: slice::Iter<'a, Arc<R>>,
    left: usize,
}

impl<'a, R> Range<'a, R> {
    /// Goes down to the row at a place below a node.
    fn descend(&mut self, mut node: &'a Node<R>, mut at: usize) {
        loop {
            match node {
                Node::Leaf(rows) => {
                    self.leaf = rows.get(at..).unwrap_or_default().iter();
                    return;
                }
                Node::Inner(inner) => {
                    let mut children = inner.children.iter();
                    let Some(child) = children.find(|child| {
                        let is_here = at < child.len;
                        at -= if is_here { 0 } else { child.len };
                        is_here
                    }) else {
                        return;
                    };
                    self.above.push(children);
                    node = &child.node;
                }
            }
        }
    }
}

impl<'a, R> Iterator for Range<'a, R> {
    type Item = &'a Arc<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(row) = self.leaf.next() {
                return Some(row);
            }
            match self.above.last_mut()?.next() {
                Some(child) => self.descend(&child.node, 0),
                None => drop(self.above.pop()),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for Range<'_, R> {}
impl<R> FusedIterator for Range<'_, R> {}

#[cfg(test)]
mod tests;
