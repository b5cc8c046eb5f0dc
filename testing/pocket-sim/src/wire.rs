//! Frames in words, for traces.

use bytes::Bytes;
use pocket_core::{Change, Revision};
use pocket_sync_protocol::{
    ClientMessage, ServerMessage, WireLimits, decode_client, decode_server,
};

use pocket_sync_server::decide::PushRequest;

use crate::audit::ids_of;
use crate::network::Way;

/// What a frame says, in one line.
pub(crate) fn describe(way: Way, frame: &Bytes) -> String {
    let limits = WireLimits::default();
    match way {
        Way::Up => match decode_client(frame, &limits) {
            Ok(message) => client(&message),
            Err(error) => format!("{} bytes: {error}", frame.len()),
        },
        Way::Down => match decode_server(frame, &limits) {
            Ok(message) => server(&message),
            Err(error) => format!("{} bytes: {error}", frame.len()),
        },
    }
}

fn client(message: &ClientMessage) -> String {
    match message {
        ClientMessage::Hello(hello) => format!(
            "hello token {} checkpoint {:?} collections {:?}",
            short(hello.session),
            hello.checkpoint.as_ref().map(|checkpoint| checkpoint.seq),
            hello.collections
        ),
        ClientMessage::Push(push) => format!(
            "push {} first {} count {} confirmed {}",
            push.id,
            push.first,
            push.mutations.len(),
            push.confirmed
        ),
        ClientMessage::Pull(pull) => format!(
            "pull {} after {} until {:?} of {:?}",
            pull.id, pull.after, pull.until, pull.collections
        ),
        other => format!("{other:?}"),
    }
}

fn server(message: &ServerMessage) -> String {
    match message {
        ServerMessage::Welcome(welcome) => format!(
            "welcome token {} head {} last number {} epochs {}",
            short(Some(welcome.session)),
            welcome.head,
            welcome.last_number,
            welcome.epochs.len()
        ),
        ServerMessage::Outcomes(outcomes) => format!(
            "outcomes {} first {} gap {:?}: {:?}",
            outcomes.id, outcomes.first, outcomes.gap, outcomes.outcomes
        ),
        ServerMessage::Page(page) => format!(
            "page {} from {} to {} head {} joining {:?} with {} records, without {:?}",
            page.id,
            page.start,
            page.end,
            page.head,
            page.joining,
            page.records().map_or(0, |records| records.len()),
            page.removals().unwrap_or_default()
        ),
        ServerMessage::Error(error) => {
            format!("error {} of {:?}: {}", error.code, error.id, error.message)
        }
        other => format!("{other:?}"),
    }
}

/// The beginning of a session token, enough to tell it from others.
fn short(token: Option<pocket_sync_protocol::SessionToken>) -> String {
    token.map_or_else(
        || "none".to_owned(),
        |token| token.to_string()[..6].to_owned(),
    )
}

/// The content of a push.
pub(crate) fn mutations(push: &PushRequest) -> String {
    let change = |change: &Change| {
        let what = match change.kind.body() {
            Some(body) => format!("{:?}", ids_of(body)),
            None => format!("{:?}", change.kind),
        };
        let base = change.base.map(revision);
        format!(
            "{}/{} {} on {base:?}: {what}",
            change.collection,
            change.id,
            revision(change.rev)
        )
    };
    let mutations = (0..).zip(&push.mutations).map(|(place, mutation)| {
        let changes: Vec<String> = mutation
            .iter()
            .flat_map(pocket_core::Mutation::changes)
            .map(change)
            .collect();
        format!("{} = [{}]", push.first.plus(place), changes.join(", "))
    });
    mutations.collect::<Vec<_>>().join("; ")
}

/// A revision, short.
pub(crate) fn revision(rev: Revision) -> String {
    format!(
        "{:x}-{}",
        rev.hlc.bits() & 0xfff_ffff_ffff,
        &rev.client.to_string()[..4]
    )
}
