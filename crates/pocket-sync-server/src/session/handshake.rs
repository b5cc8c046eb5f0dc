//! The first steps of a connection: hello, who is it, welcome.

use std::collections::VecDeque;
use std::sync::Arc;

use pocket_sync_protocol::{Hello, VersionRange, Welcome, codes};

use super::echo::Echo;
use super::{Effect, Greeting, Now, Open, Session, State};
use crate::Namespace;
use crate::auth::{Access, AuthError};
use crate::decide::AttachRefusal;
use crate::engine::{AttachRequest, Attached, EngineError, EngineResult};

impl Session {
    pub(super) fn hello(&mut self, hello: Hello) {
        let State::Waiting { header_token } = &mut self.state else {
            return;
        };
        let token = hello.token.or(header_token.take());
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
        }));
        self.effects.push(Effect::Authenticate { token });
    }

    pub(super) fn authenticated(&mut self, result: Result<Access, AuthError>) {
        let mut greeting = match std::mem::replace(&mut self.state, State::Over) {
            State::Authenticating(greeting) => greeting,
            other => {
                self.state = other;
                return;
            }
        };
        match result {
            Ok(access) if access.may_open(&greeting.namespace) => {
                greeting.user = access.user;
                let request = AttachRequest {
                    user: Arc::clone(&greeting.user),
                    client: greeting.client,
                    presented: greeting.presented,
                };
                self.effects.push(Effect::Attach {
                    namespace: greeting.namespace.clone(),
                    request,
                });
                self.state = State::Attaching(greeting);
            }
            Ok(access) => {
                let message = format!(
                    "{} may not open the namespace {}",
                    access.user, greeting.namespace
                );
                self.fail(codes::FORBIDDEN, message);
            }
            Err(error @ AuthError::Refused(_)) => self.fail(codes::UNAUTHORIZED, error.to_string()),
            Err(error @ AuthError::Expired) => self.fail(codes::TOKEN_EXPIRED, error.to_string()),
            Err(error @ AuthError::Unavailable(_)) => self.fail(codes::INTERNAL, error.to_string()),
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
            Err(error) => {
                let code = match error {
                    EngineError::Refused(AttachRefusal::OtherUser) => codes::OTHER_USER,
                    EngineError::Refused(AttachRefusal::ClientCopied) => codes::CLIENT_COPIED,
                    _ => codes::INTERNAL,
                };
                return self.fail(code, error.to_string());
            }
        };
        self.heard = now.moment;
        self.effects
            .push(Effect::Timer(now.moment.after(self.config.client_timeout)));
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
        });
        self.state = State::Open(Box::new(Open {
            greeting: *greeting,
            log: attached.log,
            session: attached.session,
            clock: attached.time,
            pushes: VecDeque::new(),
            push_bytes: 0,
            fetch: None,
            pull: None,
            echo: Echo::default(),
            last_ticket: 0,
            stopping: false,
        }));
    }
}
