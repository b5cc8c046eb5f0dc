//! Queries whose documents are read one page at a time.

use std::collections::VecDeque;

use futures_util::stream;
use pocket_storage::ScanLimit;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CHUNK, Query};
use crate::{Document, Result, Subscription};

impl<T: Serialize + DeserializeOwned + 'static> Query<T> {
    /// The documents one after another. By id they are read in pages, so memory stays bounded however many there are.
    ///
    /// Each page shows one state; a change made while it runs may be seen or not. A query that sorts by anything but
    /// `_id` is collected first. An error is the last item.
    pub fn stream(self) -> Subscription<Result<Document>> {
        let pages = Pages {
            left: self.limit.unwrap_or(usize::MAX),
            query: self,
            buffer: VecDeque::new(),
            after: None,
            done: false,
        };
        Subscription::new(stream::unfold(pages, |mut pages| async move {
            let item = pages.next().await?;
            Some((item, pages))
        }))
    }
}

struct Pages<T> {
    query: Query<T>,
    /// How many more may be given out.
    left: usize,
    buffer: VecDeque<Document>,
    after: Option<Vec<u8>>,
    done: bool,
}

impl<T: Serialize + DeserializeOwned> Pages<T> {
    async fn next(&mut self) -> Option<Result<Document>> {
        while self.buffer.is_empty() && !self.done {
            if let Err(error) = self.read().await {
                self.done = true;
                return Some(Err(error));
            }
        }
        self.left = self.left.checked_sub(1)?;
        self.buffer.pop_front().map(Ok)
    }

    /// Reads what comes next into the buffer; sets `done` behind the last page.
    async fn read(&mut self) -> Result<()> {
        let query = &self.query;
        let collected =
            query.bad.is_some() || query.filter.id().is_some() || !query.sort.is_by_id();
        let number = query.collection.number().filter(|_| self.left > 0);
        let Some(number) = number.filter(|_| !collected) else {
            self.done = true;
            self.buffer = query.documents().await?.into();
            return Ok(());
        };
        let limit = ScanLimit::entries(CHUNK);
        let (documents, last) = query
            .collection
            .page(number, self.after.take(), limit)
            .await?;
        self.done = last.is_none();
        self.after = last;
        for document in documents {
            if !document.is_deleted() && query.filter.matches(&document)? {
                self.buffer.push_back(document);
            }
        }
        Ok(())
    }
}
