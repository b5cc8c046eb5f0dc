//! Many keys at once: those that lie side by side are found by going on from one to the next, not each from the root.

use std::cmp::Ordering;
use std::ops::Bound;

use bytes::Bytes;
use pocket_storage::Result;
use redb::{ReadOnlyTable, ReadableTable};

use crate::error::from_storage;

type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// So few keys are looked up one by one.
const FEW: usize = 4;

/// Keys that are looked up one by one at the most before the next try to go on from one to the next. Each try that goes
/// nowhere makes it four times as many: a try costs what two look-ups do.
const MOST_APART: usize = 64;

/// The values of `keys`, in their order.
pub(crate) fn get_many<K: AsRef<[u8]>>(
    entries: &Entries,
    keys: &[K],
) -> Result<Vec<Option<Bytes>>> {
    let mut values = Vec::with_capacity(keys.len());
    let mut rest = keys;
    let mut apart = if keys.len() > FEW && keys.is_sorted_by_key(K::as_ref) {
        1
    } else {
        keys.len()
    };
    while !rest.is_empty() {
        if apart < keys.len() {
            let along = go_along(entries, rest, &mut values)?;
            rest = &rest[along..];
            apart = if along > FEW {
                1
            } else {
                MOST_APART.min(4 * apart)
            };
        }
        let (single, behind) = rest.split_at(apart.min(rest.len()));
        for key in single {
            let found = entries.get(key.as_ref()).map_err(from_storage)?;
            values.push(found.map(|value| Bytes::copy_from_slice(value.value())));
        }
        rest = behind;
    }
    Ok(values)
}

/// Finds the first of `keys`, which are sorted, and those behind it as long as each is the next entry or between entries.
/// Says how many it were.
fn go_along<K: AsRef<[u8]>>(
    entries: &Entries,
    keys: &[K],
    values: &mut Vec<Option<Bytes>>,
) -> Result<usize> {
    let Some(first) = keys.first() else {
        return Ok(0);
    };
    let mut cursor = entries
        .lower_bound(Bound::Included(first.as_ref()))
        .map_err(from_storage)?;
    let mut next = cursor.next().map_err(from_storage)?;
    for (along, key) in keys.iter().enumerate() {
        let mut is_behind = false;
        loop {
            let order = next
                .as_ref()
                .map(|(found, _)| found.value().cmp(key.as_ref()));
            match order {
                None | Some(Ordering::Greater) => values.push(None),
                Some(Ordering::Equal) => {
                    let value = next.as_ref().map(|(_, value)| value.value());
                    values.push(value.map(Bytes::copy_from_slice));
                }
                Some(Ordering::Less) if is_behind => return Ok(along),
                Some(Ordering::Less) => {
                    is_behind = true;
                    next = cursor.next().map_err(from_storage)?;
                    continue;
                }
            }
            break;
        }
    }
    Ok(keys.len())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, TableDefinition};

    use super::*;

    const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");

    #[test]
    fn each_key_has_its_value_however_the_keys_lie_and_are_ordered() {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .expect("a database in memory");
        let key = |number: u32| number.to_be_bytes();
        // Dense at first, then every seventh, then nothing.
        let is_there = |number: u32| number < 500 || (number < 3_000 && number.is_multiple_of(7));
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut entries = transaction.open_table(ENTRIES).expect("the table");
            for number in (0..4_000).filter(|number| is_there(*number)) {
                let value = [number.to_le_bytes().as_slice(), &[7; 100]].concat();
                entries
                    .insert(key(number).as_slice(), value.as_slice())
                    .expect("memory does not fail");
            }
        }
        transaction.commit().expect("memory does not fail");
        let transaction = database.begin_read().expect("a transaction");
        let entries = transaction.open_table(ENTRIES).expect("the table");
        let one_by_one = |number: u32| {
            let value = entries.get(key(number).as_slice()).expect("no failure");
            value.map(|value| Bytes::copy_from_slice(value.value()))
        };
        let all: Vec<u32> = (0..4_000).collect();
        let mut backwards = all.clone();
        backwards.reverse();
        let scattered = (0..4_000).map(|at| at * 1_237 % 4_000).collect();
        let few_steps = (0..4_000).step_by(3).collect();
        let wide_steps = (0..4_000).step_by(97).collect();
        let doubled = (0..900).flat_map(|at| [at, at]).collect();
        for numbers in [
            all,
            backwards,
            scattered,
            few_steps,
            wide_steps,
            doubled,
            vec![3, 9],
            vec![],
        ] {
            let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
            let found = get_many(&entries, &keys).expect("no failure");
            let expected: Vec<_> = numbers.iter().map(|number| one_by_one(*number)).collect();
            assert_eq!(found, expected, "{numbers:?}");
            let there = numbers.iter().filter(|number| is_there(**number));
            assert_eq!(there.count(), found.iter().flatten().count());
        }
    }
}
