//! Requests of an open session that are answered once: pushes and fetches.

use std::collections::HashSet;
use std::sync::Arc;

use pocket_core::{Outcome, Seq};
use pocket_sync_protocol::{
    Fetch, Outcomes, PageBuilder, Push, Records, ServerMessage, WireLimits, codes, encode_server,
};

use super::telling::told;
use super::{Effect, InFlight, Session, State};
use crate::decide::{DocumentKey, PushAnswer, PushRequest, Refusal, outcome_bytes};
use crate::engine::{EngineError, EngineResult, Fetched};

impl Session {
    pub(super) fn push(&mut self, push: &Push, bytes: usize) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if open.pushes.len() >= self.config.limits.wire.pushes {
            return self.refuse(push.id, codes::RETRY_LATER, "too many pushes are in flight");
        }
        if open.has_foreign_checkpoint() {
            let message = "the checkpoint of the hello is not part of this log's history, so nothing is taken";
            return self.refuse(push.id, codes::UNKNOWN_EPOCH, message);
        }
        let limits = self.config.limits.wire.document_limits();
        let mutations = match push.mutations(open.greeting.client, &limits) {
            Ok(mutations) => mutations,
            Err(error) => return self.fail(error.code(), error.to_string()),
        };
        let ticket = open.ticket();
        open.pushes.push_back(InFlight {
            ticket,
            id: push.id,
            bytes,
        });
        open.push_bytes += bytes;
        let push = PushRequest {
            user: Arc::clone(&open.greeting.user),
            client: open.greeting.client,
            session: open.session,
            confirmed: push.confirmed,
            first: push.first,
            mutations,
            bytes,
            authority: open.authority.clone(),
        };
        self.effects.push(Effect::Commit { ticket, push });
    }

    pub(super) fn committed(&mut self, ticket: u64, result: EngineResult<PushAnswer>) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let Some(place) = open.pushes.iter().position(|push| push.ticket == ticket) else {
            return;
        };
        let Some(InFlight { id, bytes, .. }) = open.pushes.remove(place) else {
            return;
        };
        open.push_bytes -= bytes;
        let welcomed = open.log.epoch;
        match result {
            Ok(answer) if answer.epoch.is_some_and(|epoch| epoch != welcomed) => {
                return self.reopened();
            }
            Ok(answer) => self.answered(id, answer),
            Err(error) => {
                let code = match error {
                    EngineError::Fatal(_) => return self.fail(codes::INTERNAL, told(&error)),
                    EngineError::Full(_) => codes::SERVER_FULL,
                    _ => codes::RETRY_LATER,
                };
                self.refuse(id, code, &told(&error));
            }
        }
        self.stop_when_done();
        self.pump();
    }

    fn answered(&mut self, id: u32, mut answer: PushAnswer) {
        let fitting = fitting(&answer.outcomes, &self.config.limits.frames());
        let is_cut = fitting < answer.outcomes.len();
        if is_cut {
            // Only numbers that were pushed with other contents before have so much to tell. It is recorded, and told when
            // they are pushed again.
            answer.outcomes.truncate(fitting);
            answer.written.clear();
            answer.refusal = None;
        }
        let gap = match answer.refusal {
            Some(Refusal::Gap(expected)) => Some(expected),
            _ => None,
        };
        if let State::Open(open) = &mut self.state {
            let conflicts = answer.outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Conflict { seqs } => seqs.iter().max().copied(),
                _ => None,
            });
            let written = answer.written.iter().map(|range| Seq::new(*range.end()));
            open.told = conflicts.chain(written).fold(open.told, Seq::max);
        }
        if !answer.outcomes.is_empty() || gap.is_some() || answer.refusal.is_none() {
            self.send(Outcomes {
                id,
                first: answer.first,
                outcomes: answer.outcomes,
                gap,
            });
        }
        if let State::Open(open) = &mut self.state
            && self.carriage.withholds_own
        {
            // Only now, behind the outcomes: from here on these records need not come back to their writer.
            open.echo.add(answer.written);
        }
        if is_cut {
            let message = "the other outcomes do not fit into one message; push theirs again";
            self.refuse(id, codes::RETRY_LATER, message);
        }
        match answer.refusal {
            None | Some(Refusal::Gap(_)) => {}
            Some(Refusal::UnknownNumber(number)) => {
                let message =
                    format!("mutation {number} was confirmed, and its outcome is no longer kept");
                self.refuse(id, codes::UNKNOWN_NUMBER, &message);
            }
            Some(Refusal::Unconfirmed) => {
                let message =
                    "too many outcomes wait to be confirmed; confirm those that are stored";
                self.refuse(id, codes::RETRY_LATER, message);
            }
            Some(Refusal::Replaced) => {
                self.fail(
                    codes::REPLACED,
                    "a newer session of this client has begun".to_owned(),
                );
            }
            Some(Refusal::OtherUser) => {
                self.fail(
                    codes::OTHER_USER,
                    "this client id belongs to another user".to_owned(),
                );
            }
        }
    }

    pub(super) fn fetch(&mut self, fetch: Fetch) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if fetch.documents.len() > self.config.limits.fetch_documents {
            let message = format!(
                "ask for at most {} documents at once",
                self.config.limits.fetch_documents
            );
            return self.refuse(fetch.id, codes::TOO_LARGE, &message);
        }
        if open.fetch.is_some() {
            return self.refuse(fetch.id, codes::RETRY_LATER, "another fetch is under way");
        }
        let ticket = open.ticket();
        open.fetch = Some((ticket, fetch.id));
        let mut named = HashSet::new();
        let documents = fetch.documents.into_iter();
        let documents = documents
            .map(|(collection, id)| DocumentKey { collection, id })
            .filter(|key| named.insert(key.clone()))
            .collect();
        let authority = open.authority.clone();
        self.effects.push(Effect::Fetch {
            ticket,
            documents,
            authority,
        });
    }

    pub(super) fn fetched(&mut self, ticket: u64, result: EngineResult<Fetched>) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let Some((_, id)) = open.fetch.take_if(|fetch| fetch.0 == ticket) else {
            return;
        };
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(EngineError::TooLarge(_)) => return self.refuse_large_fetch(id),
            Err(error @ EngineError::Fatal(_)) => return self.fail(codes::INTERNAL, told(&error)),
            Err(error) => return self.refuse(id, codes::RETRY_LATER, &told(&error)),
        };
        if fetched.epoch != open.log.epoch {
            return self.reopened();
        }
        let mut builder = PageBuilder::new(self.config.limits.wire.message_bytes);
        if !fetched.records.iter().all(|record| builder.push(record)) {
            return self.refuse_large_fetch(id);
        }
        let message = ServerMessage::Records(Records {
            id,
            epoch: fetched.epoch,
            head: fetched.head,
            set: builder.finish(),
        });
        let frame = encode_server(&message);
        if let ServerMessage::Records(records) = &message
            && frame.len() > self.config.limits.wire.message_bytes
        {
            return self.too_large_to_send(&records.set, frame.len());
        }
        self.effects.push(Effect::Send(frame));
    }

    fn refuse_large_fetch(&mut self, id: u32) {
        let message = "the records do not fit into one message; ask for fewer";
        self.refuse(id, codes::TOO_LARGE, message);
    }
}

/// How many of these outcomes fit into one message; one does at the least.
fn fitting(outcomes: &[Outcome], limits: &WireLimits) -> usize {
    /// What stands around them.
    const BYTES: usize = 64;
    const NODES: usize = 16;
    let (mut bytes, mut nodes) = (BYTES, NODES);
    let fits = |outcome: &Outcome| {
        bytes += outcome_bytes(outcome) + 8;
        nodes += match outcome {
            Outcome::Applied { .. } | Outcome::Rejected { .. } => 6,
            Outcome::Conflict { seqs } => 4 + seqs.len(),
        };
        bytes <= limits.message_bytes && nodes <= limits.nodes
    };
    let fitting = outcomes.iter().map(fits).take_while(|fits| *fits).count();
    fitting.max(1)
}
