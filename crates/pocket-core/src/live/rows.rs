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
    Inner(Vec<Child<R>>),
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
            Self::Inner(children) => Self::Inner(children.clone()),
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
                .map(|children| Child::new(Node::Inner(children)))
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
                Node::Inner(children) => {
                    let at = below(children, row);
                    before += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children.get(at)?.node;
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
                self.root = Arc::new(Node::Inner(vec![first, second]));
            }
        }
    }

    /// Takes out the row that is equal.
    pub(super) fn remove(&mut self, row: &R) -> Option<Arc<R>> {
        // Nothing is copied for a row that is not there.
        self.find(row)?;
        let removed = Arc::make_mut(&mut self.root).remove(row)?;
        self.len -= 1;
        while let Node::Inner(children) = &*self.root
            && let [only] = &children[..]
        {
            self.root = only.node.clone();
        }
        Some(removed)
    }
}

/// The child in which a row is, or would be; behind all of them when it is greater than all rows.
fn below<R: Ord>(children: &[Child<R>], row: &R) -> usize {
    children.partition_point(|child| child.node.last().is_none_or(|last| **last < *row))
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
            Self::Inner(children) => children.iter().map(|child| child.len).sum(),
        }
    }

    /// The rows or children that it has itself.
    fn size(&self) -> usize {
        match self {
            Self::Leaf(rows) => rows.len(),
            Self::Inner(children) => children.len(),
        }
    }

    fn last(&self) -> Option<&Arc<R>> {
        match self {
            Self::Leaf(rows) => rows.last(),
            Self::Inner(children) => children.last()?.node.last(),
        }
    }

    /// Takes in what stands behind it.
    fn extend(&mut self, other: &Self) {
        match (self, other) {
            (Self::Leaf(rows), Self::Leaf(others)) => rows.extend(others.iter().cloned()),
            (Self::Inner(children), Self::Inner(others)) => {
                children.extend(others.iter().cloned());
            }
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
            Self::Inner(children) => Self::Inner(children.split_off(children.len() / 2)),
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
            Self::Inner(children) => {
                let at = below(children, &row).min(children.len() - 1);
                let child = &mut children[at];
                match Arc::make_mut(&mut child.node).insert(row) {
                    Put::Replaced => return Put::Replaced,
                    Put::Added => child.len += 1,
                    Put::Divided(second) => {
                        child.len = child.len + 1 - second.len;
                        children.insert(at + 1, second);
                    }
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
            Self::Inner(children) => {
                let at = below(children, row);
                let child = children.get_mut(at)?;
                let removed = Arc::make_mut(&mut child.node).remove(row)?;
                child.len -= 1;
                if child.len == 0 {
                    children.remove(at);
                } else if !join(children, at) && at > 0 {
                    join(children, at - 1);
                }
                Some(removed)
            }
        }
    }
}

/// Joins a child and the next one if they have few things.
fn join<R>(children: &mut Vec<Child<R>>, at: usize) -> bool {
    let [left, right, ..] = &mut children[at..] else {
        return false;
    };
    let few = left.node.size() + right.node.size() <= FEW;
    if few {
        Arc::make_mut(&mut left.node).extend(&right.node);
        left.len += right.len;
        children.remove(at + 1);
    }
    few
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
                Node::Inner(children) => {
                    let mut children = children.iter();
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(rows: &Rows<u32>) -> Vec<u32> {
        rows.range(0, rows.len()).map(|row| **row).collect()
    }

    proptest! {
        #[test]
        fn rows_are_a_sorted_vector(edits in prop::collection::vec((any::<bool>(), 0..3_000_u32), 0..4_000)) {
            let mut model: Vec<u32> = (0..600).map(|number| number * 5).collect();
            let mut rows = Rows::of_sorted(model.iter().copied().map(Arc::new).collect());
            let (first, kept) = (rows.clone(), model.clone());
            for (insert, number) in edits {
                let place = model.binary_search(&number);
                prop_assert_eq!(rows.find(&number), place.ok());
                match (insert, place) {
                    (true, Err(at)) => model.insert(at, number),
                    (false, Ok(at)) => drop(model.remove(at)),
                    _ => {}
                }
                if insert {
                    rows.insert(Arc::new(number));
                } else {
                    let removed = rows.remove(&number);
                    prop_assert_eq!(removed.is_some(), place.is_ok());
                }
                prop_assert_eq!(rows.len(), model.len());
            }
            prop_assert_eq!(numbers(&rows), &model[..]);
            prop_assert_eq!(rows.last().map(|row| **row), model.last().copied());
            let middle = model.len() / 2;
            prop_assert_eq!(rows.get(middle).map(|row| **row), model.get(middle).copied());
            let part: Vec<_> = rows.range(middle, middle + 10).map(|row| **row).collect();
            let until = model.len().min(middle + 10);
            prop_assert_eq!(part, &model[middle..until]);
            if let Some(last) = model.pop() {
                prop_assert_eq!(rows.remove(&last).map(|row| *row), Some(last));
            }
            depth(&rows.root);
            prop_assert_eq!(numbers(&rows), model);
            // What was copied before shows what was then.
            prop_assert_eq!(numbers(&first), kept);
        }
    }

    /// Its depth, if all leaves are equally deep and each node knows its rows.
    fn depth(node: &Node<u32>) -> usize {
        assert!(node.size() <= MOST);
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(children) => {
                let depths: Vec<_> = children.iter().map(|child| depth(&child.node)).collect();
                assert!(depths.windows(2).all(|pair| pair[0] == pair[1]));
                for child in children {
                    assert!(child.len == child.node.len() && child.len > 0);
                }
                depths[0] + 1
            }
        }
    }

    #[test]
    fn the_tree_stays_flat_and_shrinks_again() {
        let mut rows = Rows::default();
        for number in 0..10_000_u32 {
            rows.insert(Arc::new(number * 7_919 % 10_000));
        }
        assert!(depth(&rows.root) <= 4, "{}", depth(&rows.root));
        for number in (0..10_000_u32).filter(|number| number % 100 != 0) {
            rows.remove(&number);
        }
        assert_eq!(rows.len(), 100);
        assert!(depth(&rows.root) <= 3, "{}", depth(&rows.root));
        for number in 0..100 {
            rows.remove(&(number * 100));
        }
        assert_eq!((rows.len(), depth(&rows.root)), (0, 1));
        rows.insert(Arc::new(1));
        assert_eq!(numbers(&rows), [1]);
    }
}
