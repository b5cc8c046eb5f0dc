//! What the cases share: outcomes, comparisons, and futures without an executor.

use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;

use crate::{Batch, BoxFuture, Durability, Result, Storage, StorageError};

/// Why a case failed.
#[derive(Debug)]
pub(super) struct Failure(String);

pub(super) type Outcome = Result<(), Failure>;

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Says where in a case it happened.
    pub(super) fn at(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn holds(condition: bool, otherwise: &str) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(Failure::new(otherwise))
    }
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (shortened(found), shortened(expected));
    Err(Failure(format!("{what} is {found}, expected {expected}")))
}

/// Values of many megabytes are no help in a message.
fn shortened(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.len()),
        None => text,
    }
}

/// Compares without printing: for large values.
pub(super) fn same_bytes(what: &str, found: Option<&Bytes>, expected: &[u8]) -> Outcome {
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(Failure(format!(
            "{what} has {} bytes that differ from the {} expected",
            found.len(),
            expected.len()
        ))),
        None => Err(Failure(format!("{what} is missing"))),
    }
}

pub(super) fn conflicts<T: Debug>(what: &str, answer: &Result<T>) -> Outcome {
    match answer {
        Err(StorageError::Conflict) => Ok(()),
        other => Err(Failure(format!("{what} answered {other:?}, not Conflict"))),
    }
}

pub(super) fn closed<T: Debug>(what: &str, answer: &Result<T>) -> Outcome {
    match answer {
        Err(StorageError::Closed) => Ok(()),
        other => Err(Failure(format!("{what} answered {other:?}, not Closed"))),
    }
}

pub(super) fn too_large<T: Debug>(what: &str, answer: &Result<T>) -> Outcome {
    match answer {
        Err(StorageError::TooLarge { .. }) => Ok(()),
        other => Err(Failure(format!(
            "{what} answered {}, not TooLarge",
            shortened(other)
        ))),
    }
}

pub(super) async fn put(store: &dyn Storage, key: &[u8], value: &[u8]) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(key, Bytes::copy_from_slice(value));
    store.commit(batch, Durability::PowerLoss).await
}

pub(super) async fn value_of(store: &dyn Storage, key: &[u8]) -> Result<Option<Vec<u8>>> {
    Ok(store.get(key).await?.map(|value| value.to_vec()))
}

/// Bytes that no compression and no shifted copy can get right by chance.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        noise.extend_from_slice(&random.next().to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// A small generator with a good spread (splitmix64), so that a failing case can be repeated.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        usize::try_from(self.next() % bound).expect("smaller than a usize bound")
    }
}

/// Polls all futures in their order until each is done.
pub(super) async fn join_all<T>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Polls once and gives the answer, if there is one already.
pub(super) async fn poll_once<T>(future: &mut BoxFuture<'_, T>) -> Option<T> {
    poll_fn(|context| {
        Poll::Ready(match Pin::as_mut(future).poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}
