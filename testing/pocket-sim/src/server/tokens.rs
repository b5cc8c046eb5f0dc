//! Tokens of users, and what they stand for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use pocket_sync_server::auth::{Access, AuthError, Authenticator};

use crate::dice::Dice;
use crate::rights::Rights;

/// Tokens, some of them expired.
#[derive(Debug)]
pub(crate) struct Tokens {
    state: Mutex<TokenState>,
}

#[derive(Debug)]
struct TokenState {
    expired: BTreeSet<String>,
    unavailable: f64,
    failures: usize,
    /// What each user may do, where there are rules.
    rights: Option<Vec<Rights>>,
    dice: Dice,
}

impl Tokens {
    pub(super) fn new(unavailable: f64, rights: Option<&[Rights]>, dice: Dice) -> Self {
        Self {
            state: Mutex::new(TokenState {
                expired: BTreeSet::new(),
                unavailable,
                failures: 0,
                rights: rights.map(<[Rights]>::to_vec),
                dice,
            }),
        }
    }

    pub(crate) fn expire(&self, token: &str) {
        self.lock().expired.insert(token.to_owned());
    }

    pub(crate) fn set_rights(&self, user: usize, fresh: Rights) {
        if let Some(rights) = &mut self.lock().rights {
            rights[user] = fresh;
        }
    }

    pub(crate) fn calm(&self) {
        self.lock().unavailable = 0.0;
    }

    pub(super) fn failures(&self) -> usize {
        std::mem::take(&mut self.lock().failures)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of a user; the version counts renewals.
pub(crate) fn token(user: usize, version: u64) -> String {
    format!("t.{user}.{version}")
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Authenticator for Tokens {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        let mut state = self.lock();
        let token = token.unwrap_or_default();
        let probability = state.unavailable;
        if state.dice.chance(probability) {
            state.failures += 1;
            return Err(AuthError::Unavailable(
                "the user database is away".to_owned(),
            ));
        }
        if state.expired.contains(token) {
            return Err(AuthError::Expired);
        }
        let user = token.split('.').nth(1);
        let Some(user) = user.and_then(|user| user.parse::<usize>().ok()) else {
            return Err(AuthError::Refused("no such token".to_owned()));
        };
        let name = format!("user{user}");
        Ok(match &state.rights {
            Some(rights) => rights[user].access(&name),
            None => Access::all(&name),
        })
    }
}
