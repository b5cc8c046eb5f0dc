//! Another token, when the one there is was refused or is about to expire: asked for, but never in a loop.
//!
//! The application is asked once for each refusal. What it answers is tried at once; when that is refused as well, the
//! next question waits as long as any error that needs a person.

use pocket_sync_protocol::codes as wire;

use super::{Attention, Effect, Session};
use crate::{AuthReason, Moment, SyncError, jwt};

/// How long before its end a token is renewed, in milliseconds; less for one that lives only minutes.
const AHEAD_MILLIS: u64 = 30_000;

/// The least time between two questions because a token ends, in milliseconds.
const RENEWAL_PAUSE_MILLIS: u64 = 1_000;

/// How far the renewal of the token is.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// When to ask the application, and why.
    due: Option<(Moment, AuthReason)>,
    /// It is being asked because of this.
    asked: Option<AuthReason>,
    /// Refusals since the last welcome.
    refusals: u32,
    /// Tokens so far.
    token: u64,
    /// The one that the last connection was opened with.
    used: u64,
}

impl Renewal {
    /// A connection is opened with the token of now.
    pub(super) fn opened(&mut self) {
        self.used = self.token;
    }

    /// Whether there is a newer token than the one that the last connection was opened with.
    pub(super) fn is_outdated(&self) -> bool {
        self.used != self.token
    }

    /// When there is something to do.
    pub(super) fn due_at(&self) -> Option<Moment> {
        let due = self.due.as_ref().filter(|_| self.asked.is_none());
        due.map(|(at, _)| *at)
    }

    /// Nobody asks any more; what is answered yet counts for nothing.
    pub(super) fn stop(&mut self) {
        *self = Self {
            token: self.token,
            used: self.used,
            ..Self::default()
        };
    }
}

/// Whether an error says that another token is needed.
pub(super) fn needs_token(error: &SyncError) -> bool {
    matches!(error.code(), wire::UNAUTHORIZED | wire::TOKEN_EXPIRED)
}

impl Session {
    /// Asks the application if it is time.
    pub(super) fn renew_if_due(&mut self) {
        let due = self.renewal.due_at().is_some_and(|at| at <= self.now);
        if !due || !self.running {
            return;
        }
        if let Some((_, reason)) = self.renewal.due.take() {
            self.renewal.asked = Some(reason.clone());
            self.effects.push(Effect::Renew(reason));
        }
    }

    /// The server wants another token, and the application can give one.
    pub(super) fn token_refused(&mut self, error: SyncError, was_attached: bool) {
        self.stats.last_error = Some(error.clone());
        if self.renewal.is_outdated() {
            // There is a newer one already: it has its chance at once.
            self.attention = Attention::None;
            self.retry_at = Some(self.now);
            if was_attached {
                self.bear_closure(&error);
            }
            return;
        }
        self.renewal.refusals += 1;
        self.attention = Attention::Retrying;
        self.retry_at = None;
        let at = if self.renewal.refusals == 1 {
            self.now
        } else {
            self.fail_commands(&error);
            self.now.plus(self.backoff.slow())
        };
        self.renewal.due = Some((at, AuthReason::Refused(error)));
    }

    /// The application has answered.
    pub(super) fn renewed(&mut self, answer: Result<String, String>) {
        let Some(reason) = self.renewal.asked.take() else {
            return;
        };
        match answer {
            Ok(token) => {
                let before = self.config.token.as_deref().and_then(jwt::expiry_millis);
                let after = jwt::expiry_millis(&token);
                self.config.token = Some(token);
                self.renewal.token += 1;
                if self.link.is_attached() {
                    self.plan_renewal();
                    // One that ends no later is due again at once.
                    let pause = if after <= before {
                        self.backoff.slow()
                    } else {
                        RENEWAL_PAUSE_MILLIS
                    };
                    let soonest = self.now.plus(pause);
                    if let Some((at, _)) = &mut self.renewal.due {
                        *at = soonest.max(*at);
                    }
                } else if matches!(reason, AuthReason::Refused(_)) {
                    self.attention = Attention::None;
                    self.retry_at = Some(self.now);
                }
            }
            Err(why) => {
                let again = self.now.plus(self.backoff.slow());
                if let AuthReason::Refused(refused) = &reason {
                    let text = format!("{}; no other token could be had: {why}", refused.message());
                    let error = SyncError::new(refused.code().to_owned(), text);
                    self.fail_commands(&error);
                    self.stats.last_error = Some(error);
                }
                self.renewal.due = Some((again, reason));
            }
        }
    }

    /// The application has set another token by itself.
    pub(super) fn token_set(&mut self) {
        self.renewal.token += 1;
        self.renewal.refusals = 0;
        self.renewal.due = None;
        self.renewal.asked = None;
        if self.link.is_attached() {
            self.plan_renewal();
        }
    }

    /// The server took the token: it is asked for another one when this one ends.
    pub(super) fn token_taken(&mut self) {
        self.renewal.refusals = 0;
        self.renewal.due = None;
        self.plan_renewal();
    }

    fn plan_renewal(&mut self) {
        let (Some(token), Some(zero), true) =
            (&self.config.token, self.server_clock, self.config.renews)
        else {
            return;
        };
        let Some(expiry) = jwt::expiry_millis(token) else {
            return;
        };
        let left = u64::try_from(expiry.saturating_sub(zero))
            .unwrap_or(0)
            .saturating_sub(self.now.millis());
        let wait = left.saturating_sub(AHEAD_MILLIS).max(left / 5 * 4);
        self.renewal.due = Some((self.now.plus(wait), AuthReason::Expiring));
    }
}
