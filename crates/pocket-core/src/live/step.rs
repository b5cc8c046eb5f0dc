//! What a live query tells: edits, and the result they lead to.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::held::Row;
use super::rows::Range;
use super::window::{Edit, Window};
use crate::{CommitSequence, Document, Result};

/// One step of a live query: from the result before to the result after some commit.
///
/// The first step begins at the empty list, so whoever applies all changes of all steps always has the result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveStep<T> {
    /// The commit after which the result is this. Steps come in the order of commits; a commit that changes nothing in
    /// the result has none.
    pub sequence: CommitSequence,
    /// What changed, to be applied in this order; see [`LiveChange`].
    pub changes: Vec<LiveChange>,
    /// The whole result afterwards.
    pub result: LiveResult<T>,
}

/// One edit of the list of results.
///
/// Places count from 0, and each is the place at the moment of its edit: in the list as all edits before it in the step
/// left it. [`apply`](Self::apply) says it as code. A step first removes rows, from the last to the first, then moves and
/// updates, then inserts, from the first to the last, and names each document in one edit at most.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveChange {
    /// A document left the result: `list.remove(at)`.
    Removed {
        /// Where it stood.
        at: usize,
        /// What it was when it was last shown.
        document: Document,
    },
    /// A document goes to another place; its content may have changed, too: `list.remove(from)`, then
    /// `list.insert(to, document)`.
    Moved {
        /// Where it stood.
        from: usize,
        /// Where it stands when it was taken out and put in again.
        to: usize,
        /// What it is now.
        document: Document,
    },
    /// A document changed where it stands: `list[at] = document`.
    Updated {
        /// Where it stands.
        at: usize,
        /// What it is now.
        document: Document,
    },
    /// A document came into the result: `list.insert(at, document)`.
    Inserted {
        /// Where it stands.
        at: usize,
        /// What it is.
        document: Document,
    },
}

impl LiveChange {
    pub(super) fn new(edit: Edit<Row>) -> Self {
        match edit {
            Edit::Removed { at, row } => Self::Removed {
                at,
                document: row.document.clone(),
            },
            Edit::Moved { from, to, row } => Self::Moved {
                from,
                to,
                document: row.document.clone(),
            },
            Edit::Updated { at, row } => Self::Updated {
                at,
                document: row.document.clone(),
            },
            Edit::Inserted { at, row } => Self::Inserted {
                at,
                document: row.document.clone(),
            },
        }
    }

    /// The document it is about; of one that left, as it was last shown.
    pub fn document(&self) -> &Document {
        match self {
            Self::Removed { document, .. }
            | Self::Moved { document, .. }
            | Self::Updated { document, .. }
            | Self::Inserted { document, .. } => document,
        }
    }

    /// Makes the edit in a list of whatever an application shows for a document; `show` makes that of a document.
    ///
    /// # Panics
    /// When the list is not the one that the edits before led to.
    pub fn apply<U>(&self, list: &mut Vec<U>, show: impl FnOnce(&Document) -> U) {
        match self {
            Self::Removed { at, .. } => drop(list.remove(*at)),
            Self::Moved { from, to, document } => {
                list.remove(*from);
                list.insert(*to, show(document));
            }
            Self::Updated { at, document } => list[*at] = show(document),
            Self::Inserted { at, document } => list.insert(*at, show(document)),
        }
    }
}

/// A whole result of a live query at one moment. It stays as it is; cloning it is cheap, however long it is.
pub struct LiveResult<T> {
    sequence: CommitSequence,
    window: Option<Window<Row>>,
    documents: PhantomData<fn() -> T>,
}

impl<T> LiveResult<T> {
    pub(super) fn new(sequence: CommitSequence, window: Option<Window<Row>>) -> Self {
        Self {
            sequence,
            window,
            documents: PhantomData,
        }
    }

    /// The commit after which the result is this.
    pub fn sequence(&self) -> CommitSequence {
        self.sequence
    }

    /// How many documents it has.
    pub fn len(&self) -> usize {
        self.window.as_ref().map_or(0, Window::len)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The document at a place.
    pub fn document(&self, at: usize) -> Option<&Document> {
        self.window.as_ref()?.get(at).map(|row| &row.document)
    }

    /// The documents in the query's order, with what is included of them.
    pub fn documents(&self) -> LiveDocuments<'_> {
        LiveDocuments(self.window.as_ref().map(Window::iter))
    }
}

impl<T: DeserializeOwned> LiveResult<T> {
    /// The document at a place, read as `T`.
    ///
    /// # Errors
    /// `type-mismatch`.
    pub fn get(&self, at: usize) -> Result<Option<T>> {
        self.document(at)
            .map(Document::decode)
            .transpose()
            .map(Option::flatten)
    }

    /// All documents, read as `T`.
    ///
    /// # Errors
    /// `type-mismatch`, if one does not fit; [`documents`](Self::documents) has them all the same.
    pub fn all(&self) -> Result<Vec<T>> {
        self.documents()
            .filter_map(|document| document.decode().transpose())
            .collect()
    }
}

impl<T> Clone for LiveResult<T> {
    fn clone(&self) -> Self {
        Self::new(self.sequence, self.window.clone())
    }
}

impl<T> fmt::Debug for LiveResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveResult")
            .field("sequence", &self.sequence)
            .field("len", &self.len())
            .finish()
    }
}

/// The documents of a [`LiveResult`], one after another.
#[derive(Debug)]
pub struct LiveDocuments<'a>(Option<Range<'a, Row>>);

impl<'a> Iterator for LiveDocuments<'a> {
    type Item = &'a Document;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next().map(|row| &row.document)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.as_ref().map_or((0, Some(0)), Iterator::size_hint)
    }
}

impl ExactSizeIterator for LiveDocuments<'_> {}
impl FusedIterator for LiveDocuments<'_> {}
