//! One document, observed.

use futures_util::StreamExt;
use pocket_storage::MaybeSend;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Collection, Document, Result, Subscription};

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// The document now, then its newest version whenever its content changed; `None` while it is missing or deleted.
    ///
    /// It is a live query for one id: nothing is missed, and other documents cost nothing. Versions that were replaced
    /// before they were waited for are left out.
    ///
    /// # Errors
    /// `bad-id`.
    pub fn observe_by_id(&self, id: &str) -> Result<Subscription<Result<Option<T>>>>
    where
        T: MaybeSend + 'static,
    {
        let documents = self.observe_document(id)?;
        Ok(Subscription::new(documents.map(|document| {
            let document = document?;
            document.as_ref().map_or(Ok(None), Document::decode)
        })))
    }
}
