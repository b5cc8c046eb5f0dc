//! Whether a client may begin a session.

use std::collections::VecDeque;
use std::time::Duration;

use pocket_core::{MutationNumber, SessionToken, Timestamp};

use crate::engine::AttachRequest;
use crate::stored::ClientRecord;

/// Why a client may not begin a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachRefusal {
    /// The client id belongs to another user.
    OtherUser,
    /// The session token is neither the last presented one nor issued since: the store is a copy or a backup.
    ClientCopied,
    /// The user has as many connections as one may have.
    Crowded,
    /// The client has said hello on a newer connection.
    Replaced,
    /// The client is not known, and too many others came in for the first time; the same may come again after so long.
    TooManyNew(Duration),
}

/// Tokens that are remembered of welcomes which may have been lost. Each is a hello that came after a newer one was
/// answered, so more than one is rare.
const OUTSTANDING: usize = 8;

/// Decides whether a client may begin a session, and what is recorded of it then.
///
/// `token` is the fresh session token that the welcome will carry.
///
/// # Errors
/// An [`AttachRefusal`]; nothing is to be recorded.
pub fn attach(
    now: Timestamp,
    known: Option<ClientRecord>,
    request: &AttachRequest,
    token: SessionToken,
) -> Result<ClientRecord, AttachRefusal> {
    let (user, presented) = (&*request.user, request.presented);
    let Some(known) = known else {
        if let Some(wait) = request.unless_new {
            return Err(AttachRefusal::TooManyNew(wait));
        }
        return Ok(ClientRecord {
            user: user.to_owned(),
            last: MutationNumber::ZERO,
            confirmed: MutationNumber::ZERO,
            outcomes: VecDeque::new(),
            issued: token,
            outstanding: Vec::new(),
            // A token that was issued to a record which is forgotten proves nothing. Whoever presents it is told that
            // nothing is known of him; should that get lost, the same token is refused the next time, so that he takes
            // another id in any case and never sends anew, under numbers that begin again, what took effect before.
            presented: None,
            last_seen: now,
        });
    };
    if known.user != user {
        return Err(AttachRefusal::OtherUser);
    }
    let mut outstanding = Vec::new();
    if presented == known.presented {
        // None of the welcomes since arrived, or this hello is an old one that the network held up: then the client has
        // stored the token of a newer welcome and will present that.
        if !pocket_core::mutants::active("pocket-mutant:token-forgotten") {
            outstanding.extend(known.outstanding);
            outstanding.push(known.issued);
        }
        let forgotten = outstanding.len().saturating_sub(OUTSTANDING);
        outstanding.drain(..forgotten);
    } else if !presented
        .is_some_and(|token| known.issued == token || known.outstanding.contains(&token))
    {
        return Err(AttachRefusal::ClientCopied);
    }
    Ok(ClientRecord {
        issued: token,
        outstanding,
        presented,
        last_seen: now,
        ..known
    })
}
