//! Whether the store takes writes, as far as the last ones told.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::EngineError;
use crate::locks::lock;

/// How long a failure counts when nothing was written since: then nobody knows, and somebody has to try again.
const COUNTS: Duration = Duration::from_secs(30);

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreTrouble {
    /// There is no room for the last write.
    Full,
    /// The last write failed, or may have.
    Failed,
}

impl StoreTrouble {
    /// Its name: `storage-full` or `storage`, as the code of the error is.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => pocket_core::codes::STORAGE_FULL,
            Self::Failed => pocket_core::codes::STORAGE,
        }
    }
}

/// What the last write told.
#[derive(Debug, Default)]
pub(crate) struct StoreState(Mutex<Option<(StoreTrouble, Instant)>>);

impl StoreState {
    /// Takes note of how a write ended.
    pub(crate) fn note<T>(&self, result: &Result<T, EngineError>) {
        let trouble = match result {
            Ok(_) => None,
            Err(EngineError::Full(_)) => Some(StoreTrouble::Full),
            Err(EngineError::Unknown(_) | EngineError::Fatal(_)) => Some(StoreTrouble::Failed),
            // These tell nothing of the store.
            Err(
                EngineError::Refused(_) | EngineError::NotApplied(_) | EngineError::TooLarge(_),
            ) => return,
        };
        *lock(&self.0) = trouble.map(|trouble| (trouble, Instant::now()));
    }

    /// What is wrong, if the last write failed and that was not long ago.
    pub(crate) fn trouble(&self) -> Option<StoreTrouble> {
        let (trouble, since) = (*lock(&self.0))?;
        (since.elapsed() < COUNTS).then_some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failed_write_is_trouble_until_one_succeeds_or_it_is_long_ago() {
        let state = StoreState::default();
        let full = || Err::<(), _>(EngineError::Full("no room".to_owned()));
        assert_eq!(state.trouble(), None);
        state.note(&full());
        assert_eq!(state.trouble(), Some(StoreTrouble::Full));
        state.note(&Err::<(), _>(EngineError::NotApplied("busy".to_owned())));
        assert_eq!(state.trouble(), Some(StoreTrouble::Full));
        state.note(&Ok(()));
        assert_eq!(state.trouble(), None);
        state.note(&Err::<(), _>(EngineError::Unknown("fsync".to_owned())));
        assert_eq!(state.trouble().map(StoreTrouble::as_str), Some("storage"));
        tokio::time::sleep(COUNTS).await;
        assert_eq!(state.trouble(), None);
    }
}
