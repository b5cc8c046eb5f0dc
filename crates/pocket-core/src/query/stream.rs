//! Queries whose documents are read one page at a time.

use std::collections::VecDeque;

use futures_util::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Query;
use super::execute::{Prepared, Scan};
use crate::{Document, Result, Subscription};

impl<T: Serialize + DeserializeOwned + 'static> Query<T> {
    /// The documents one after another. By id they are read in pages, so memory stays bounded however many there are.
    ///
    /// Each page shows one state; a change made while it runs may be seen or not. A query that sorts by anything but
    /// `_id`, and one that has a `before` without an `after`, is collected first. An error is the last item.
    pub fn stream(self) -> Subscription<Result<Document>> {
        let pages = Pages {
            query: self,
            buffer: VecDeque::new(),
            state: State::Begin,
        };
        Subscription::new(stream::unfold(pages, |mut pages| async move {
            let item = pages.next().await?;
            Some((item, pages))
        }))
    }
}

struct Pages<T> {
    query: Query<T>,
    buffer: VecDeque<Document>,
    state: State,
}

enum State {
    Begin,
    /// How many are still passed over, and how many may still be given out.
    Scanning(Box<Prepared>, Scan, usize, usize),
    Done,
}

impl<T: Serialize + DeserializeOwned> Pages<T> {
    async fn next(&mut self) -> Option<Result<Document>> {
        while self.buffer.is_empty() {
            let step = match &mut self.state {
                State::Begin => self.begin().await,
                State::Scanning(..) => self.read().await,
                State::Done => return None,
            };
            if let Err(error) = step {
                self.state = State::Done;
                self.buffer.clear();
                return Some(Err(error));
            }
        }
        self.buffer.pop_front().map(Ok)
    }

    async fn begin(&mut self) -> Result<()> {
        let prepared = self.query.prepared()?;
        let number = self.query.collection.number();
        self.state = match number {
            Some(number)
                if prepared.is_by_id() && !prepared.is_backwards() && prepared.id()?.is_none() =>
            {
                let scan = Scan::new(&prepared, number);
                let (skip, left) = (prepared.skip, prepared.limit.unwrap_or(usize::MAX));
                State::Scanning(Box::new(prepared), scan, skip, left)
            }
            _ => {
                self.buffer = self.query.documents().await?.into();
                State::Done
            }
        };
        Ok(())
    }

    /// Reads one page into the buffer.
    async fn read(&mut self) -> Result<()> {
        let State::Scanning(prepared, scan, skip, left) = &mut self.state else {
            return Ok(());
        };
        let page = match *left {
            0 => None,
            _ => scan.next(&self.query.collection).await?,
        };
        let Some(documents) = page else {
            self.state = State::Done;
            return Ok(());
        };
        for document in documents {
            if *left == 0 {
                break;
            }
            if prepared.select(&document)?.is_none() {
                continue;
            }
            if *skip > 0 {
                *skip -= 1;
                continue;
            }
            *left -= 1;
            self.buffer.push_back(prepared.project(document)?);
        }
        Ok(())
    }
}
