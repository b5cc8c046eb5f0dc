//! Asynchronous closures as authenticators.

use std::fmt;
use std::future::Future;

use async_trait::async_trait;

use super::{Access, AuthError, Authenticator};

/// An [`Authenticator`] made of an asynchronous closure.
pub(crate) struct AuthenticateWith<F>(pub(crate) F);

#[async_trait]
impl<F, T> Authenticator for AuthenticateWith<F>
where
    F: Fn(Option<String>) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Access, AuthError>> + Send + 'static,
{
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        (self.0)(token.map(str::to_owned)).await
    }
}

impl<F> fmt::Debug for AuthenticateWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticateWith")
    }
}
