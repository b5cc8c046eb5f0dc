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

fn first(node: &Node<u32>) -> u32 {
    match node {
        Node::Leaf(rows) => *rows[0],
        Node::Inner(inner) => first(&inner.children[0].node),
    }
}

/// Its depth, if all leaves are equally deep, each node knows its rows, and borders lie between them.
fn depth(node: &Node<u32>) -> usize {
    assert!(node.size() <= MOST);
    match node {
        Node::Leaf(_) => 1,
        Node::Inner(inner) => {
            let children = &inner.children;
            assert_eq!(inner.borders.len() + 1, children.len());
            for (pair, border) in children.windows(2).zip(&*inner.borders) {
                assert!(pair[0].node.last().is_some_and(|last| last <= border));
                assert!(first(&pair[1].node) > **border);
            }
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
