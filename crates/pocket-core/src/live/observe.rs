//! One document, observed.

use futures_util::{FutureExt, stream};
use pocket_storage::MaybeSend;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Collection, DocumentId, Result, Subscription, field};

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
        let id = DocumentId::new(id)?;
        let live = self.find().filter(field("_id").eq(id.as_str())).live();
        Ok(Subscription::new(stream::unfold(
            live,
            |mut live| async move {
                let mut newest = live.next().await?;
                // An error is told before what comes after it.
                while newest.is_ok()
                    && let Some(Some(newer)) = live.next().now_or_never()
                {
                    newest = newer;
                }
                let document = newest.and_then(|step| step.result.get(0));
                Some((document, live))
            },
        )))
    }
}
