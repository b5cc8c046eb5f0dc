//! Hello and welcome: whether this server is the one the database belongs to.

use std::time::Duration;

use pocket_core::Binding;
use pocket_core::replica::{Attachment, ReplicaState, Scope, ServerLog};
use pocket_sync_protocol::codes::{self as wire, close};
use pocket_sync_protocol::{Hello, HelloCheckpoint, Pong, VersionRange, Welcome};

use super::link::{Link, Live};
use super::{Attention, Return, Session};
use crate::SyncError;
use crate::config::HANDSHAKE_MILLIS;

impl Session {
    /// The transport is open: says who is calling.
    pub(super) fn greet(&mut self, connection: u64) {
        if !matches!(self.link, Link::Opening { connection: opening, .. } if opening == connection)
        {
            return;
        }
        let Some(replica) = self.store.replica() else {
            // The store has failed since the connection was asked for: read it again first.
            self.hang_up(close::NORMAL, "");
            self.retry_at = Some(self.now);
            return;
        };
        let collections = match &self.config.scope {
            Scope::All => Vec::new(),
            Scope::Only(names) => names.iter().cloned().collect(),
        };
        let checkpoint = &replica.checkpoint;
        let hello = Hello {
            versions: VersionRange::SUPPORTED,
            client: replica.client,
            namespace: self.config.namespace.clone(),
            token: self
                .config
                .token
                .clone()
                .filter(|_| self.config.token_in_hello),
            session: replica.token,
            collections,
            direction: self.config.direction,
            checkpoint: checkpoint.epoch.map(|epoch| HelloCheckpoint {
                epoch,
                seq: checkpoint.seq,
                rights: checkpoint.rights.clone(),
                fixed_head: checkpoint.fixed_head,
            }),
            agent: self.config.agent.clone(),
        };
        self.link = Link::Greeting {
            connection,
            asked: self.now,
            deadline: self.now.plus(HANDSHAKE_MILLIS),
        };
        self.send(&hello.into());
    }

    /// The server has answered: compares it with what the database is bound to, then stores the session token.
    ///
    /// Nothing is sent and nothing stored before all of it fits.
    pub(super) fn welcome(&mut self, welcome: Welcome) {
        let Link::Greeting {
            connection, asked, ..
        } = self.link
        else {
            return self.broken(SyncError::retryable(
                wire::UNEXPECTED_MESSAGE,
                "the server sent a second welcome",
            ));
        };
        let Some(replica) = self.store.replica() else {
            self.hang_up(close::NORMAL, "");
            self.retry_at = Some(self.now);
            return;
        };
        if let Err(error) = check(&welcome, &self.config.namespace, replica) {
            let back = match error.code() {
                wire::VERSION_MISMATCH => Return::Slowly,
                _ => Return::Never,
            };
            return self.lose(error, back, close::NORMAL);
        }
        if let Some(error) = is_copy(&welcome, replica) {
            return self.renew(error);
        }
        self.server_clock = Some(
            welcome
                .time
                .millis()
                .saturating_sub_unsigned(self.now.millis()),
        );
        self.config.limits = self
            .config
            .limits
            .with_message_bytes(welcome.limits.message_bytes);
        self.commands_at_head(None, welcome.head);
        self.link = Link::Up(Box::new(Live::new(
            connection,
            welcome,
            asked,
            &self.config,
            self.now,
        )));
        self.ping_for_commands();
    }

    /// What the store shall keep of a welcome.
    pub(super) fn attachment(&self, live: &Live) -> Attachment {
        let welcome = &live.welcome;
        Attachment {
            binding: binding(welcome, &self.config.namespace),
            token: welcome.session,
            server_time: welcome.time,
            since_asked: Duration::from_millis(self.now.since(live.greeted_at)),
            rights: welcome.rights.clone(),
            log: ServerLog {
                epochs: welcome
                    .epochs
                    .iter()
                    .map(|start| (start.epoch, start.first))
                    .collect(),
                head: welcome.head,
                horizon: welcome.horizon,
                last_number: welcome.last_number,
            },
        }
    }

    /// The welcome is stored: from here on pushes and pages travel.
    pub(super) fn attached(&mut self) {
        self.attention = Attention::None;
        self.token_taken();
        self.renewals = 0;
        let pushes = self.config.pushes();
        let (Some(live), Some(replica)) = (self.link.live_mut(), self.store.replica()) else {
            return;
        };
        live.attached = true;
        if pushes {
            let resend = replica.last_number > replica.confirmed
                && !pocket_core::mutants::active("pocket-mutant:resend-skipped");
            live.push.begin(resend, self.now);
        }
    }

    pub(super) fn pong(&mut self, pong: Pong) {
        self.server_clock = Some(
            pong.time
                .millis()
                .saturating_sub_unsigned(self.now.millis()),
        );
        self.backoff.reset();
        self.commands_at_head(Some(pong.id), pong.head);
        if let Some(live) = self.link.live_mut() {
            live.told_head(pong.head, self.now);
        }
    }
}

/// Whether the server is the one this replica belongs to, and remembers what was agreed.
fn check(welcome: &Welcome, namespace: &str, replica: &ReplicaState) -> Result<(), SyncError> {
    if !VersionRange::SUPPORTED.contains(welcome.version) {
        return Err(SyncError::new(
            wire::VERSION_MISMATCH,
            format!(
                "the server chose protocol version {}, this side speaks {}; update the older one",
                welcome.version,
                VersionRange::SUPPORTED
            ),
        ));
    }
    if let Some(bound) = &replica.binding {
        bound.check(&binding(welcome, namespace))?;
    }
    Ok(())
}

/// Why this store must take another client id, if it must: somebody else used its id, or the server forgot it.
fn is_copy(welcome: &Welcome, replica: &ReplicaState) -> Option<SyncError> {
    if pocket_core::mutants::active("pocket-mutant:copies-unnoticed") {
        return None;
    }
    let what = if welcome.last_number > replica.last_number {
        format!(
            "the server knows this client's changes up to number {}, but this database has given none behind {}: it \
             is a copy, or was restored",
            welcome.last_number, replica.last_number
        )
    } else if welcome.is_new && replica.token.is_some() {
        "the server does not know this client any more, which was away for too long or came after the backup that the \
         server was restored from"
            .to_owned()
    } else {
        return None;
    };
    Some(SyncError::retryable(
        wire::CLIENT_COPIED,
        format!("{what}; it takes a client id of its own"),
    ))
}

fn binding(welcome: &Welcome, namespace: &str) -> Binding {
    Binding {
        lineage: welcome.lineage,
        namespace: namespace.to_owned(),
        user: welcome.user.clone(),
    }
}
