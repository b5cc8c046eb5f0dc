//! Whether a client may begin a session.

use std::collections::VecDeque;

use pocket_core::{MutationNumber, SessionToken, Timestamp};

use crate::stored::ClientRecord;

/// Why a client may not begin a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachRefusal {
    /// The client id belongs to another user.
    OtherUser,
    /// The session token is neither the last issued nor the last presented one: the store is a copy or a backup.
    ClientCopied,
}

/// Decides whether a client may begin a session, and what is recorded of it then.
///
/// `token` is the fresh session token that the welcome will carry.
///
/// # Errors
/// An [`AttachRefusal`]; nothing is to be recorded.
pub fn attach(
    now: Timestamp,
    known: Option<ClientRecord>,
    user: &str,
    presented: Option<SessionToken>,
    token: SessionToken,
) -> Result<ClientRecord, AttachRefusal> {
    let Some(known) = known else {
        return Ok(ClientRecord {
            user: user.to_owned(),
            last: MutationNumber::ZERO,
            confirmed: MutationNumber::ZERO,
            outcomes: VecDeque::new(),
            issued: token,
            presented,
            last_seen: now,
        });
    };
    if known.user != user {
        return Err(AttachRefusal::OtherUser);
    }
    if presented != Some(known.issued) && presented != known.presented {
        return Err(AttachRefusal::ClientCopied);
    }
    Ok(ClientRecord {
        issued: token,
        presented,
        last_seen: now,
        ..known
    })
}
