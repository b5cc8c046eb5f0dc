//! Commits of the engine, one after the other for each namespace, and the doorbell.

use pocket_core::Seq;
use pocket_core::mutants::active;
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::{Committed, EngineError, EngineResult};
use pocket_sync_server::session::Event;
use pocket_sync_server::{Engine, Namespace};

use super::{Done, Hub, ServerNews, index_of};
use crate::audit::broken;
use crate::counts::Kind;
use crate::trace::Node;
use crate::world::{Happening, World};

/// After so many milliseconds a store that did not tell what it has is asked again, as the combiner does.
const ASK_AGAIN: u64 = 1_000;

/// Within so many milliseconds sessions hear of what a commit did.
pub(super) const NEWS: u64 = 3;

impl World {
    /// Commits what waits, unless a commit is under way: then it joins the next one.
    pub(super) fn commit_next(&mut self, namespace: &Namespace) {
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(hub) = up.hubs.get_mut(namespace) else {
            return;
        };
        if hub.committing || hub.joiner.is_empty() {
            return;
        }
        hub.committing = true;
        let (pushes, tags) = hub.joiner.next_commit();
        if pushes.len() > 1 {
            self.counts.add(Kind::Joined);
        }
        self.counts.add(Kind::PushReceived);
        let (engine, namespace) = (up.engine.clone(), namespace.clone());
        up.tasks.spawn(async move {
            let result = engine.commit(&namespace, &pushes).await;
            Done::Committed {
                namespace,
                pushes,
                tags,
                result,
            }
        });
    }

    /// Lets the server's tasks run until all of them wait.
    pub(crate) fn run_server(&mut self) {
        loop {
            let Some(up) = &mut self.server.up else {
                return;
            };
            let done = up.tasks.next_done();
            let failures = self.server.tokens.failures();
            self.counts.add_many(Kind::AuthUnavailable, failures);
            let life = self.server.life;
            for wait in self.server.disk.waits() {
                self.counts.add(Kind::LateCallServer);
                let call = wait.call;
                self.schedule(
                    wait.millis,
                    Happening::Disk {
                        node: Node::Server,
                        life,
                        call,
                    },
                );
            }
            if self.server.disk.faults.crashed() {
                let power = self.server.power_fails;
                return self.kill_server(power);
            }
            match done {
                None => return,
                Some(Done::Answer { connection, event }) => {
                    self.tell_peer(connection, 0, ServerNews::Event(event));
                }
                Some(Done::Compacted {
                    namespace,
                    retention,
                    result,
                }) => self.compacted(&namespace, retention, result),
                Some(Done::Committed {
                    namespace,
                    pushes,
                    tags,
                    result,
                }) => {
                    self.committed(&namespace, &pushes, tags, result);
                }
                Some(Done::Looked { namespace, result }) => self.looked(&namespace, &result),
            }
        }
    }

    fn committed(
        &mut self,
        namespace: &Namespace,
        pushes: &[PushRequest],
        tags: Vec<(u64, u64)>,
        result: EngineResult<Committed>,
    ) {
        let delay = self.fault_dice.below(NEWS);
        if let Some(rights) = &mut self.audit.rights {
            rights.now = self.clock.now();
        }
        self.note_time();
        let mut head = None;
        match result {
            Ok(committed) => {
                head = Some(committed.head);
                if committed.answers.len() != pushes.len() {
                    self.check(broken("P2", "a commit answered another number of pushes"));
                }
                for ((push, answer), (connection, ticket)) in
                    pushes.iter().zip(committed.answers).zip(tags)
                {
                    if matches!(
                        answer.refusal,
                        Some(pocket_sync_server::decide::Refusal::Gap(_))
                    ) {
                        self.counts.add(Kind::Gap);
                    }
                    let verdict =
                        self.audit
                            .decided(index_of(namespace), push, &answer, &mut self.counts);
                    self.check(verdict);
                    let event = Event::Committed {
                        ticket,
                        result: Ok(answer),
                    };
                    self.tell_peer(connection, delay, ServerNews::Event(event));
                }
            }
            Err(error) => {
                let unknown = matches!(error, EngineError::Unknown(_));
                for (connection, ticket) in tags {
                    let event = Event::Committed {
                        ticket,
                        result: Err(error.clone()),
                    };
                    self.tell_peer(connection, delay, ServerNews::Event(event));
                }
                if let Some(hub) = self.hub(namespace) {
                    hub.unsure |= unknown && !active("pocket-mutant:unknown-commit-not-told");
                    if hub.unsure {
                        return self.look(namespace);
                    }
                }
            }
        }
        self.ring(namespace, head, delay);
    }

    fn hub(&mut self, namespace: &Namespace) -> Option<&mut Hub> {
        let up = self.server.up.as_mut()?;
        up.hubs.get_mut(namespace)
    }

    /// Asks the store where a log ends; nothing is committed meanwhile.
    fn look(&mut self, namespace: &Namespace) {
        let Some(up) = &mut self.server.up else {
            return;
        };
        let (engine, namespace) = (up.engine.clone(), namespace.clone());
        up.tasks.spawn(async move {
            let result = engine.head(&namespace).await;
            Done::Looked { namespace, result }
        });
    }

    fn looked(&mut self, namespace: &Namespace, result: &EngineResult<Seq>) {
        let head = result.as_ref().ok().copied();
        let delay = self.fault_dice.below(NEWS);
        if head.is_none() {
            let (life, namespace) = (self.server.life, namespace.clone());
            self.schedule(ASK_AGAIN, Happening::LookAgain { life, namespace });
        }
        self.ring(namespace, head, delay);
    }

    pub(crate) fn look_again(&mut self, namespace: &Namespace) {
        let Some(hub) = self.hub(namespace) else {
            return;
        };
        // A commit that is under way will tell.
        if hub.unsure && !hub.committing {
            hub.committing = true;
            self.look(namespace);
            self.run_server();
        }
    }

    /// A commit, or a look, is over; `head` is where the log ends, if that is known.
    fn ring(&mut self, namespace: &Namespace, head: Option<Seq>, delay: u64) {
        let known_at = self.now() + delay;
        let Some(hub) = self.hub(namespace) else {
            return;
        };
        hub.committing = false;
        hub.unsure &= head.is_none();
        if let Some(head) = head.filter(|head| *head > hub.head) {
            hub.head = head;
            let listeners: Vec<u64> = hub.listeners.iter().copied().collect();
            let heads = &mut self.server.heads;
            heads.tell(index_of(namespace), known_at, head.get());
            for connection in listeners {
                let mut late = delay;
                self.tell_peer(connection, delay, ServerNews::Moved { head });
                if !self.calm && self.fault_dice.chance(self.swarm.late_doorbells) {
                    self.counts.add(Kind::LateDoorbell);
                    late += self.fault_dice.below(2_000);
                }
                self.tell_peer(connection, late, ServerNews::Doorbell);
            }
        }
        self.commit_next(namespace);
    }
}
