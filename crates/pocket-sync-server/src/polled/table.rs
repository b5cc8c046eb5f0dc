//! The connections over HTTP, by their names.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::Post;
use crate::locks::lock;

/// Requests of one connection that were read and not taken yet. An honest client has two under way.
const WAITING_POSTS: usize = 4;

/// The name of a connection: random, and as good as a password for as long as it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId([u8; 16]);

impl ConnectionId {
    pub(crate) fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// Reads it as it is written in a header.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16)
            .ok()
            .map(|id| Self(id.to_be_bytes()))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The token a connection was opened with, as its hash: comparing tells nothing about one that is nearly right.
pub(crate) type TokenDigest = Option<[u8; 32]>;

pub(crate) fn digest(token: Option<&str>) -> TokenDigest {
    token.map(|token| Sha256::digest(token.as_bytes()).into())
}

/// Why a request belongs to no connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// There is none of this name, or not any more.
    Gone,
    /// It was opened with another token.
    OtherToken,
}

/// All connections over HTTP. A clone is the same table.
#[derive(Clone, Default)]
pub(crate) struct Table {
    entries: Arc<Mutex<HashMap<ConnectionId, Entry>>>,
}

struct Entry {
    posts: mpsc::Sender<Post>,
    token: TokenDigest,
}

/// A connection's place in the table, for as long as it lives.
pub(crate) struct Place {
    table: Table,
    id: ConnectionId,
}

impl Table {
    /// Enters a connection; none when there are too many.
    pub(crate) fn enter(
        &self,
        id: ConnectionId,
        token: TokenDigest,
        most: usize,
    ) -> Option<(mpsc::Sender<Post>, mpsc::Receiver<Post>, Place)> {
        let mut entries = lock(&self.entries);
        if entries.len() >= most || entries.contains_key(&id) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_POSTS);
        let posts = sender.clone();
        entries.insert(id, Entry { posts, token });
        let table = self.clone();
        Some((sender, receiver, Place { table, id }))
    }

    /// The way to a connection, for who has its token.
    pub(crate) fn find(
        &self,
        id: ConnectionId,
        token: &TokenDigest,
    ) -> Result<mpsc::Sender<Post>, Missing> {
        let entries = lock(&self.entries);
        let entry = entries.get(&id).ok_or(Missing::Gone)?;
        if entry.token == *token {
            Ok(entry.posts.clone())
        } else {
            Err(Missing::OtherToken)
        }
    }

    /// Ends a connection.
    pub(crate) fn remove(&self, id: ConnectionId) {
        lock(&self.entries).remove(&id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_and_read_as_the_same() {
        let id = ConnectionId::new([0x0f; 16]);
        assert_eq!(id.to_string(), "0f".repeat(16));
        assert!(ConnectionId::parse(&id.to_string()) == Some(id));
        for bad in [
            "",
            "0f",
            &"0g".repeat(16),
            &"+f".repeat(16),
            &"0f".repeat(17),
        ] {
            assert!(ConnectionId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn only_the_token_it_was_opened_with_reaches_a_connection() {
        let table = Table::default();
        let (first, second) = (ConnectionId::new([1; 16]), ConnectionId::new([2; 16]));
        let kept = table.enter(first, digest(Some("a")), 1);
        assert!(
            table.enter(second, None, 1).is_none(),
            "one is the most here"
        );
        assert!(table.find(first, &digest(Some("a"))).is_ok());
        let missing = |id, token| table.find(id, &digest(token)).err();
        assert_eq!(missing(first, Some("b")), Some(Missing::OtherToken));
        assert_eq!(missing(first, None), Some(Missing::OtherToken));
        assert_eq!(missing(second, None), Some(Missing::Gone));
        drop(kept);
        assert_eq!(
            missing(first, Some("a")),
            Some(Missing::Gone),
            "it left with its owner"
        );
    }
}
