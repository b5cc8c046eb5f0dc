//! Executes what a session asks of an engine, one request at a time, without any runtime.
//!
//! The network driver joins commits of many sessions and runs reads beside each other; a simulator, a test or an
//! embedding calls [`perform`].

use crate::Namespace;
use crate::auth::{Authenticator, Secret};
use crate::engine::Engine;
use crate::session::{Effect, Event};

/// Executes an effect that asks for something, and returns the event that answers it.
///
/// `namespace` is the one that the session's [`Effect::Attach`] named, once it did. Effects that ask for nothing
/// (send, close, timer) come back as the error.
///
/// # Errors
/// The effect itself, when it is not one for an engine or an authenticator.
pub async fn perform(
    engine: &dyn Engine,
    authenticator: &dyn Authenticator,
    namespace: Option<&Namespace>,
    effect: Effect,
) -> Result<Event, Effect> {
    Ok(match (effect, namespace) {
        (Effect::Authenticate { token }, _) => {
            let token = token.as_ref().map(Secret::expose);
            Event::Authenticated(authenticator.authenticate(token).await)
        }
        (Effect::Attach { namespace, request }, _) => {
            Event::Attached(engine.attach(&namespace, &request).await)
        }
        (Effect::Commit { ticket, push }, Some(namespace)) => {
            let result = engine.commit(namespace, std::slice::from_ref(&push)).await;
            Event::Committed {
                ticket,
                result: result.map(|mut committed| committed.answers.remove(0)),
            }
        }
        (Effect::Read { ticket, request }, Some(namespace)) => Event::FeedRead {
            ticket,
            result: engine.changes(namespace, &request).await,
        },
        (
            Effect::Fetch {
                ticket,
                documents,
                authority,
            },
            Some(namespace),
        ) => Event::Fetched {
            ticket,
            result: engine.fetch(namespace, &documents, &authority).await,
        },
        (other, _) => return Err(other),
    })
}
