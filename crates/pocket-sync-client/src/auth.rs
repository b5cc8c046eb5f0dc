//! Where another token comes from.

use std::fmt;

use pocket_core::storage::{BoxFuture, MaybeSend, MaybeSync};

use crate::SyncError;

/// Why another token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthReason {
    /// The one there is ends soon.
    Expiring,
    /// The server refused the one there is, with this error.
    Refused(SyncError),
}

impl fmt::Display for AuthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expiring => f.write_str("the token ends soon"),
            Self::Refused(error) => {
                write!(
                    f,
                    "the server refused the token: [{}] {}",
                    error.code(),
                    error.message()
                )
            }
        }
    }
}

/// Gives another token, from wherever the application has it.
///
/// Asynchronous closures from an [`AuthReason`] to a result are such sources. One that does not answer within
/// [`RENEWAL_SECONDS`](crate::config::RENEWAL_SECONDS) is asked again later.
pub trait TokenSource: MaybeSend + MaybeSync + 'static {
    /// Another token, or why there is none.
    fn token(&self, reason: AuthReason) -> BoxFuture<'static, Result<String, String>>;
}

impl<F, R, E> TokenSource for F
where
    F: Fn(AuthReason) -> R + MaybeSend + MaybeSync + 'static,
    R: Future<Output = Result<String, E>> + MaybeSend + 'static,
    E: fmt::Display,
{
    fn token(&self, reason: AuthReason) -> BoxFuture<'static, Result<String, String>> {
        let token = self(reason);
        Box::pin(async move { token.await.map_err(|error| error.to_string()) })
    }
}
