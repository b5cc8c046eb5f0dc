//! What a server tells an application that hosts it.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pocket_core::{Change, ClientId, MutationNumber, Outcome, Seq};

use crate::Namespace;
use crate::decide::{PushAnswer, PushRequest};

/// Something that happened on a server.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// A client has come in.
    Connected {
        /// The number of its connection, which no other has while the process runs.
        connection: u64,
        /// Its namespace.
        namespace: &'a Namespace,
        /// Its user.
        user: &'a str,
        /// The client.
        client: ClientId,
    },
    /// A client that had come in has gone, or was replaced by a newer session of its own.
    ///
    /// Told once for each [`Connected`](Self::Connected) and behind it, with the same connection, however that ended: also
    /// when the line breaks or the server stops. A client that comes back may be told as connected again before its old
    /// connection is told as gone.
    Disconnected {
        /// The number of its connection.
        connection: u64,
        /// Its namespace.
        namespace: &'a Namespace,
        /// Its user.
        user: &'a str,
        /// The client.
        client: ClientId,
    },
    /// A mutation took effect and is durable. Told once.
    Applied {
        /// Its namespace.
        namespace: &'a Namespace,
        /// Who wrote it.
        user: &'a str,
        /// From which client.
        client: ClientId,
        /// The place of the first change; the others follow.
        first: Seq,
        /// What was written.
        changes: &'a [Change],
    },
    /// A mutation was rejected. Told again when the client asks again.
    Rejected {
        /// Its namespace.
        namespace: &'a Namespace,
        /// Who wrote it.
        user: &'a str,
        /// From which client.
        client: ClientId,
        /// Its number.
        number: MutationNumber,
        /// The code the client was told.
        code: &'a str,
        /// The reason the client was told.
        reason: &'a str,
    },
}

/// Hears what happens on a server. A closure `Fn(&ServerEvent)` is one.
///
/// It is called where things happen and everybody waits for it: hand over what takes time. A panic is contained.
pub trait EventHook: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &ServerEvent<'_>);
}

impl<F> EventHook for F
where
    F: Fn(&ServerEvent<'_>) + Send + Sync + 'static,
{
    fn event(&self, event: &ServerEvent<'_>) {
        self(event);
    }
}

/// Tells an event, and lets nothing the hook does reach further.
pub(crate) fn tell(hook: &dyn EventHook, event: &ServerEvent<'_>) {
    if catch_unwind(AssertUnwindSafe(|| hook.event(event))).is_err() {
        tracing::error!("the event hook panicked");
    }
}

/// Tells what became of a push.
pub(crate) fn tell_outcomes(
    hook: &dyn EventHook,
    namespace: &Namespace,
    push: &PushRequest,
    answer: &PushAnswer,
) {
    let (user, client) = (&*push.user, push.client);
    let is_new = |seq: &Seq| {
        let holds = |range: &RangeInclusive<u64>| range.contains(&seq.get());
        answer.written.iter().any(holds)
    };
    let mutations = push.mutations.iter().zip(&answer.outcomes).zip(0_u64..);
    for ((mutation, outcome), place) in mutations {
        match (mutation, outcome) {
            (Ok(mutation), Outcome::Applied { first }) if is_new(first) => {
                let event = ServerEvent::Applied {
                    namespace,
                    user,
                    client,
                    first: *first,
                    changes: mutation.changes(),
                };
                tell(hook, &event);
            }
            (_, Outcome::Rejected { code, reason, .. }) => {
                let event = ServerEvent::Rejected {
                    namespace,
                    user,
                    client,
                    number: push.first.plus(place),
                    code,
                    reason,
                };
                tell(hook, &event);
            }
            _ => {}
        }
    }
}
