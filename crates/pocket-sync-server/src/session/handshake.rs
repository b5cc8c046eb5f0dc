//! The first steps of a connection: hello, who is it, welcome.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pocket_core::{Seq, Timestamp};
use pocket_sync_protocol::{Hello, VersionRange, Welcome, codes};

use super::echo::Echo;
use super::rate::Rate;
use super::telling::told;
use super::{Checking, Effect, Greeting, Moment, Now, Open, Session, State};
use crate::Namespace;
use crate::auth::{Access, AuthError, Secret};
use crate::decide::AttachRefusal;
use crate::engine::{AttachRequest, Attached, EngineError, EngineResult};
use crate::rules::{Authority, Rules};

impl Session {
    pub(super) fn hello(&mut self, now: Now, hello: Hello) {
        let State::Waiting { header_token } = &mut self.state else {
            return;
        };
        let token = hello.token.map(Secret::from).or(header_token.take());
        let version = match VersionRange::SUPPORTED.agree(hello.versions) {
            Ok(version) => version,
            Err(error) => return self.fail(error.code(), error.to_string()),
        };
        let Some(namespace) = Namespace::new(&hello.namespace) else {
            let message = "a namespace has 1 to 128 bytes and no control characters".to_owned();
            return self.fail(codes::FORBIDDEN, message);
        };
        self.state = State::Authenticating(Box::new(Greeting {
            version,
            client: hello.client,
            namespace,
            presented: hello.session,
            collections: Arc::new(hello.collections.into_iter().collect()),
            checkpoint: hello.checkpoint,
            user: Arc::from(""),
            token: token.clone(),
            asked: now.moment,
            access: None,
        }));
        self.effects.push(Effect::Authenticate { token });
    }

    pub(super) fn authenticated(&mut self, now: Now, result: Result<Access, AuthError>) {
        if let State::Open(_) = self.state {
            return self.checked(now, result);
        }
        let mut greeting = match std::mem::replace(&mut self.state, State::Over) {
            State::Authenticating(greeting) => greeting,
            other => {
                self.state = other;
                return;
            }
        };
        match result {
            Ok(access) if access.may_open(&greeting.namespace) => {
                greeting.user = Arc::clone(&access.user);
                greeting.access = Some(access);
                let request = AttachRequest {
                    user: Arc::clone(&greeting.user),
                    client: greeting.client,
                    presented: greeting.presented,
                    unless_new: None,
                };
                self.effects.push(Effect::Attach {
                    namespace: greeting.namespace.clone(),
                    request,
                });
                let deadline = self.heard.after(self.attach_timeout());
                self.effects.push(Effect::Timer(deadline));
                self.state = State::Attaching(greeting);
            }
            Ok(access) => {
                let message = format!(
                    "{} may not open the namespace {}",
                    access.user, greeting.namespace
                );
                self.fail(codes::FORBIDDEN, message);
            }
            Err(error) => self.not_authenticated(&error),
        }
    }

    /// How long a client waits for its welcome when it takes the server long. Shorter than its own patience, so that it
    /// hears why.
    pub(super) fn attach_timeout(&self) -> Duration {
        self.config.handshake_timeout * 4 / 5
    }

    fn not_authenticated(&mut self, error: &AuthError) {
        let code = match error {
            AuthError::Refused(_) => codes::UNAUTHORIZED,
            AuthError::Expired => codes::TOKEN_EXPIRED,
            AuthError::Unavailable(_) => {
                // Why is for the log: nobody knows yet who asks.
                let message = "the token cannot be checked now; try again later".to_owned();
                return self.fail(codes::INTERNAL, message);
            }
        };
        self.fail(code, error.to_string());
    }

    /// Tokens, users or rules are others now.
    pub(super) fn rights_changed(&mut self, rules: Rules) {
        self.rules = rules;
        if let State::Open(open) = &self.state
            && let Some(access) = open.greeting.access.clone()
            && !self.judge_by(access)
        {
            return;
        }
        match &mut self.state {
            State::Open(open) => {
                // Who somebody is may be told late, or not at all now: the rules hold until then for whom it was last.
                if open.checking == Checking::No {
                    // The next regular check stays where it is, or those of all sessions would fall together from now on.
                    self.effects.push(open.ask());
                } else {
                    // Never two questions at once: their answers might come in the wrong order.
                    open.checking = Checking::Outdated;
                }
            }
            // Who it is may have been told by what held before; it is asked again behind the welcome.
            State::Authenticating(_) | State::Attaching(_) => self.is_outdated = true,
            State::Waiting { .. } | State::Over => {}
        }
    }

    /// Goes on with what the rules of now allow to whom this access is for; false when the session has ended by that.
    fn judge_by(&mut self, access: Access) -> bool {
        let State::Open(open) = &mut self.state else {
            return false;
        };
        let greeting = &mut open.greeting;
        greeting.access = Some(access.clone());
        let namespace = greeting.namespace.clone();
        let authority = Authority::new(namespace, access, greeting.client, &self.rules);
        if authority.rights() != open.authority.rights() {
            // The next welcome tells the new ones, and the client reads by them from the start.
            let message = "your rights have changed; connect again".to_owned();
            self.fail(codes::GOING_AWAY, message);
            return false;
        }
        open.authority = authority;
        true
    }

    /// The token was checked again while the session lives.
    fn checked(&mut self, now: Now, result: Result<Access, AuthError>) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if std::mem::replace(&mut open.checking, Checking::No) == Checking::Outdated {
            self.effects.push(open.ask());
            return;
        }
        let access = match result {
            Ok(access) => access,
            // Nobody can tell now: what was told last holds on, and it is asked again.
            Err(AuthError::Unavailable(_)) => return,
            Err(error) => return self.not_authenticated(&error),
        };
        let greeting = &open.greeting;
        if access.user != greeting.user || !access.may_open(&greeting.namespace) {
            let message = "the token no longer opens this namespace for this user".to_owned();
            return self.fail(codes::FORBIDDEN, message);
        }
        open.expires = access.expires;
        if self.judge_by(access) {
            self.timer(now);
        }
    }

    pub(super) fn attached(&mut self, now: Now, result: EngineResult<Attached>) {
        let greeting = match std::mem::replace(&mut self.state, State::Over) {
            State::Attaching(greeting) => greeting,
            other => {
                self.state = other;
                return;
            }
        };
        let attached = match result {
            Ok(attached) => attached,
            Err(EngineError::Refused(refusal @ AttachRefusal::TooManyNew(wait))) => {
                let message = told(&EngineError::Refused(refusal));
                return self.fail_for(codes::RATE_LIMITED, message, Some(wait));
            }
            Err(error) => {
                let code = match error {
                    EngineError::Refused(AttachRefusal::OtherUser) => codes::OTHER_USER,
                    EngineError::Refused(AttachRefusal::ClientCopied) => codes::CLIENT_COPIED,
                    EngineError::Refused(AttachRefusal::Crowded) => codes::RATE_LIMITED,
                    EngineError::Refused(AttachRefusal::Replaced) => codes::REPLACED,
                    EngineError::Full(_) => codes::SERVER_FULL,
                    _ => codes::INTERNAL,
                };
                return self.fail(code, told(&error));
            }
        };
        self.heard = now.moment;
        let access = greeting.access.clone();
        let expires = access.as_ref().and_then(|access| access.expires);
        // What the token was worth then holds no longer for a slow attach.
        let recheck = greeting.asked.after(self.config.recheck);
        let authority = access.map_or_else(Authority::open, |access| {
            let namespace = greeting.namespace.clone();
            Authority::new(namespace, access, greeting.client, &self.rules)
        });
        let rights = authority.rights();
        let checkpoint = greeting.checkpoint.as_ref();
        let rights_changed = checkpoint.is_some_and(|checkpoint| checkpoint.rights != rights);
        let idle = now.moment.after(self.carriage.timeout);
        let next = expiry(now, expires).map_or(idle, |expiry| expiry.min(idle));
        self.effects.push(Effect::Timer(next.min(recheck)));
        self.send(Welcome {
            version: greeting.version,
            lineage: attached.log.lineage,
            user: greeting.user.to_string(),
            epochs: attached.log.epochs.to_vec(),
            epoch: attached.log.epoch,
            head: attached.log.head,
            horizon: attached.log.horizon,
            time: attached.time,
            session: attached.session,
            last_number: attached.last,
            limits: self.config.limits.wire,
            heartbeat: self.config.heartbeat,
            rights,
            is_new: attached.is_new,
        });
        self.state = State::Open(Box::new(Open {
            greeting: *greeting,
            log: attached.log,
            session: attached.session,
            rate: Rate::new(&self.config.limits.rate),
            authority,
            rights_changed,
            recheck,
            checking: Checking::No,
            expires,
            pushes: VecDeque::new(),
            push_bytes: 0,
            fetch: None,
            pull: None,
            echo: Echo::default(),
            told: Seq::ZERO,
            forsaken: 0,
            last_ticket: 0,
            stopping: false,
        }));
        if std::mem::take(&mut self.is_outdated) {
            let rules = self.rules.clone();
            self.rights_changed(rules);
        }
    }
}

/// What is to be done about a session's token.
pub(super) struct Check {
    /// When to look again.
    pub(super) next: Moment,
    /// Whether the token is to be checked now.
    pub(super) is_due: bool,
}

impl Open {
    /// Whether the token's time is not over.
    ///
    /// # Errors
    /// [`AuthError::Expired`] when it is.
    pub(super) fn is_valid(&self, now: Now) -> Result<(), AuthError> {
        match self.expires {
            Some(expires) if now.time >= expires => Err(AuthError::Expired),
            _ => Ok(()),
        }
    }

    /// Asks what the token is worth now.
    pub(super) fn ask(&mut self) -> Effect {
        self.checking = Checking::Asked;
        Effect::Authenticate {
            token: self.greeting.token.clone(),
        }
    }

    /// Looks at the token's time.
    ///
    /// # Errors
    /// [`AuthError::Expired`] when it is over.
    pub(super) fn check(&mut self, now: Now, every: Duration) -> Result<Check, AuthError> {
        self.is_valid(now)?;
        let is_due = now.moment >= self.recheck;
        if is_due {
            self.recheck = now.moment.after(every);
        }
        let next = expiry(now, self.expires).map_or(self.recheck, |at| at.min(self.recheck));
        Ok(Check { next, is_due })
    }
}

/// When a token's time is over, on the clock of deadlines.
fn expiry(now: Now, expires: Option<Timestamp>) -> Option<Moment> {
    let left = expires?.millis().saturating_sub(now.time.millis());
    // At least a moment ahead, so that looking again makes progress.
    let left = u64::try_from(left).unwrap_or_default().max(1);
    Some(now.moment.after(Duration::from_millis(left)))
}
