//! Writes into redb's tree: where many new keys lie side by side, whole pages at once instead of entry by entry.

use std::ops::Bound;

use bytes::Bytes;
use pocket_storage::{Result, StorageError};
use redb::{CursorError, Table};

use crate::error::from_storage;

type Entries<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// A key and what it holds afterwards.
type Write = (Vec<u8>, Option<Bytes>);

/// New keys side by side from which on a cursor is cheaper than a way down the tree for each.
const RUN: usize = 8;

/// Writes that are made one by one at the most before the next look for a run. Each look that finds none doubles it, so
/// that keys scattered over the tree pay little for looking.
const MOST_APART: usize = 64;

/// Makes the entries hold what `writes` says, which are sorted, each key once.
pub(crate) fn apply(entries: &mut Entries<'_>, writes: &[Write]) -> Result<()> {
    let mut rest = writes;
    let mut apart = 1;
    while !rest.is_empty() {
        let run = insert_run(entries, rest)?;
        rest = &rest[run..];
        apart = if run > 0 {
            1
        } else {
            MOST_APART.min(2 * apart)
        };
        let (single, behind) = rest.split_at(apart.min(rest.len()));
        for (key, value) in single {
            match value {
                Some(value) => entries.insert(key.as_slice(), value.as_ref()),
                None => entries.remove(key.as_slice()),
            }
            .map_err(from_storage)?;
        }
        rest = behind;
    }
    Ok(())
}

/// Inserts the first of `writes` if they are many new keys with nothing stored between them. Says how many it were.
fn insert_run(entries: &mut Entries<'_>, writes: &[Write]) -> Result<usize> {
    let is_put = |(_, value): &&Write| value.is_some();
    let begins = writes.iter().take(RUN).take_while(is_put).count() == RUN;
    let Some((first, _)) = writes.first().filter(|_| begins) else {
        return Ok(0);
    };
    let mut cursor = entries
        .lower_bound_mut(Bound::Included(first.as_slice()))
        .map_err(from_storage)?;
    let run = {
        let next = cursor.peek_next().map_err(from_storage)?;
        let next = next.as_ref().map(|(key, _)| key.value());
        let is_before = |(key, _): &&Write| next.is_none_or(|next| key.as_slice() < next);
        let run = writes.iter().take_while(is_put).take_while(is_before);
        run.count()
    };
    if run < RUN {
        return Ok(0);
    }
    for (key, value) in &writes[..run] {
        let value = value.as_deref().unwrap_or_default();
        cursor
            .insert_before(key.as_slice(), value)
            .map_err(from_cursor)?;
    }
    cursor.close().map_err(from_storage)?;
    Ok(run)
}

fn from_cursor(error: CursorError) -> StorageError {
    match error {
        CursorError::Storage(error) => from_storage(error),
        other => StorageError::Backend(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, TableDefinition};

    use super::*;

    const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");

    type Model = BTreeMap<Vec<u8>, Bytes>;

    fn database() -> Database {
        Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .expect("a database in memory")
    }

    fn commit(database: &Database, writes: &[Write]) {
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut entries = transaction.open_table(ENTRIES).expect("the table");
            apply(&mut entries, writes).expect("memory does not fail");
        }
        transaction.commit().expect("memory does not fail");
    }

    fn stored(database: &Database) -> Model {
        let transaction = database.begin_read().expect("a transaction");
        let entries = transaction.open_table(ENTRIES).expect("the table");
        let entries = entries.range::<&[u8]>(..).expect("a range").map(|entry| {
            let (key, value) = entry.expect("memory does not fail");
            (key.value().to_vec(), Bytes::copy_from_slice(value.value()))
        });
        entries.collect()
    }

    fn key(number: u64) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn whatever_is_new_replaced_or_removed_the_entries_are_what_the_writes_say() {
        for seed in 0..16 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let (database, mut model) = (database(), Model::new());
            for _ in 0..12 {
                let mut writes = Model::new();
                let mut removed = Vec::new();
                // Rows of neighbours, some of them over others that are there, and keys that lie apart.
                for _ in 0..random.random_range(1..6) {
                    let (start, step) = (random.random_range(0..4_000), random.random_range(1..4));
                    for at in 0..random.random_range(1..120) {
                        let size = if random.random_range(0..200) == 0 {
                            9_000
                        } else {
                            random.random_range(0..300)
                        };
                        let value = Bytes::from(vec![random.random(); size]);
                        writes.insert(key(start + at * step), value);
                    }
                }
                for key in model.keys() {
                    if !writes.contains_key(key) && random.random_range(0..10) == 0 {
                        removed.push(key.clone());
                    }
                }
                let mut batch: Vec<Write> = writes
                    .iter()
                    .map(|(key, value)| (key.clone(), Some(value.clone())))
                    .chain(removed.iter().map(|key| (key.clone(), None)))
                    .collect();
                batch.sort_by(|one, other| one.0.cmp(&other.0));
                commit(&database, &batch);
                model.extend(writes);
                for key in removed {
                    model.remove(&key);
                }
                assert_eq!(stored(&database), model, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_row_of_new_keys_ends_at_one_that_is_there() {
        let database = database();
        commit(&database, &[(key(20), Some(Bytes::from_static(b"old")))]);
        let value = Some(Bytes::from_static(b"new"));
        let writes: Vec<Write> = (0..40).map(|at| (key(at), value.clone())).collect();
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut entries = transaction.open_table(ENTRIES).expect("the table");
            let run = insert_run(&mut entries, &writes).expect("memory does not fail");
            assert_eq!(run, 20);
            let run = insert_run(&mut entries, &writes[20..]).expect("memory does not fail");
            assert_eq!(run, 0, "the first is there");
            let run = insert_run(&mut entries, &writes[21..]).expect("memory does not fail");
            assert_eq!(run, 19);
        }
        transaction.commit().expect("memory does not fail");
        assert_eq!(stored(&database).len(), 40);
    }
}
