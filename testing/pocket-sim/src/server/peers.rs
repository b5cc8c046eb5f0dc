//! The sessions of connections: what reaches them, and what they want done.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pocket_core::{Env, Seq};
use pocket_sync_server::decide::AttachRefusal;
use pocket_sync_server::engine::EngineError;
use pocket_sync_server::session::{Effect, Event, Moment, Now, Session};
use pocket_sync_server::{Joiner, perform};

use super::commits::NEWS;
use super::{Done, Hub, Peer, ServerNews, index_of};
use crate::counts::Kind;
use crate::network::{Parcel, Way};
use crate::trace::Node;
use crate::world::{Happening, World};

impl World {
    /// Something arrives from a client.
    pub(crate) fn server_gets(&mut self, connection: u64, client: usize, parcel: Parcel) {
        match parcel {
            Parcel::Open => self.accept(connection, client),
            Parcel::Frame(frame) => {
                let Some(peer) = self.peer(connection) else {
                    return;
                };
                peer.inbox.push_back(frame);
                self.read_inbox(connection);
            }
            Parcel::Close { .. } | Parcel::Lost => {
                self.server_event(connection, Event::Closed);
                self.forget_peer(connection);
            }
            Parcel::Accepted => {}
        }
    }

    fn accept(&mut self, connection: u64, device: usize) {
        let refuses = !self.calm && self.fault_dice.chance(self.swarm.refuse);
        if refuses {
            self.counts.add(Kind::OpenRefused);
        }
        let life = self.server.life;
        let Some(up) = self
            .server
            .up
            .as_mut()
            .filter(|up| !refuses && !up.stopping)
        else {
            self.post(connection, Way::Down, Parcel::Lost);
            return;
        };
        if let Some(entry) = self.net.connections.get_mut(&connection) {
            entry.server_life = life;
        }
        let config = Arc::clone(&self.server.config);
        let session = if self.clients[device].shape.polls {
            self.counts.add(Kind::PolledSession);
            Session::polled(config, Duration::from_millis(self.swarm.heartbeat))
        } else {
            Session::new(config)
        };
        let peer = Peer {
            session,
            device,
            inbox: VecDeque::new(),
            namespace: None,
            client: None,
            timer: 0,
            head: Seq::ZERO,
            told: Seq::ZERO,
        };
        up.peers.insert(connection, peer);
        self.post(connection, Way::Down, Parcel::Accepted);
        self.server_event(connection, Event::Opened { token: None });
    }

    pub(super) fn peer(&mut self, connection: u64) -> Option<&mut Peer> {
        self.server.up.as_mut()?.peers.get_mut(&connection)
    }

    /// Frames are read as long as the session wants them; the rest waits on the wire.
    fn read_inbox(&mut self, connection: u64) {
        while let Some(peer) = self.peer(connection) {
            if !peer.session.wants_frames() {
                return;
            }
            let Some(frame) = peer.inbox.pop_front() else {
                return;
            };
            // However late the doorbell is, a head that moved before a frame came is told before it.
            let (head, told) = (peer.head, peer.told);
            if head > told {
                peer.inbox.push_front(frame);
                self.server_news(connection, ServerNews::Doorbell);
                continue;
            }
            self.server_event(connection, Event::Frame(frame));
        }
    }

    pub(crate) fn server_news(&mut self, connection: u64, news: ServerNews) {
        let event = match news {
            ServerNews::Event(event) => event,
            ServerNews::Timer { generation } => match self.peer(connection) {
                Some(peer) if peer.timer == generation => Event::Timer,
                _ => return,
            },
            ServerNews::Moved { head } => {
                if let Some(peer) = self.peer(connection) {
                    peer.head = peer.head.max(head);
                }
                return;
            }
            ServerNews::Doorbell => {
                let Some(peer) = self.peer(connection) else {
                    return;
                };
                // Also when it was told already: a ring may be doubled.
                peer.told = peer.head;
                Event::HeadMoved(peer.head)
            }
        };
        let reads = !matches!(event, Event::HeadMoved(_));
        self.server_event(connection, event);
        if reads {
            self.read_inbox(connection);
        }
    }

    pub(super) fn server_event(&mut self, connection: u64, event: Event) {
        let now = self.now();
        let Some(up) = &mut self.server.up else {
            return;
        };
        let time = up.env.now();
        let moment = Moment(now - up.began);
        let Some(peer) = up.peers.get_mut(&connection) else {
            return;
        };
        if let Event::Attached(Ok(attached)) = &event {
            self.audit.forks.opened(attached.log.epoch);
            if let Some(namespace) = &peer.namespace {
                // The session itself knows it now; others may hear of that commit a moment later.
                let (known_at, head) = (now + NEWS, attached.log.head.get());
                self.server.heads.tell(index_of(namespace), known_at, head);
            }
        }
        let attached = matches!(event, Event::Attached(Ok(_)));
        let effects = peer.session.handle(Now { moment, time }, event);
        if attached {
            self.register(connection);
        }
        for effect in effects {
            self.carry_out(connection, effect);
        }
        self.run_server();
    }

    /// Takes note of a client's newest session and ends the one before.
    fn register(&mut self, connection: u64) {
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(peer) = up.peers.get(&connection) else {
            return;
        };
        let (Some(namespace), Some(client)) = (peer.namespace.clone(), peer.client) else {
            return;
        };
        let newest = up.newest.entry((namespace, client)).or_insert(connection);
        let older = connection.min(*newest);
        *newest = connection.max(*newest);
        if older != *newest {
            let delay = self.fault_dice.below(5);
            self.tell_peer(older, delay, ServerNews::Event(Event::Replaced));
            self.counts.add(Kind::SessionReplaced);
        }
    }

    pub(super) fn tell_peer(&mut self, connection: u64, delay: u64, news: ServerNews) {
        let life = self.server.life;
        self.schedule(
            delay,
            Happening::Server {
                life,
                connection,
                news,
            },
        );
    }

    fn carry_out(&mut self, connection: u64, effect: Effect) {
        let now = self.now();
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(peer) = up.peers.get_mut(&connection) else {
            return;
        };
        match effect {
            Effect::Send(frame) => {
                if let Some(namespace) = &peer.namespace {
                    let (device, namespace) = (peer.device, index_of(namespace));
                    self.check_delivery(device, namespace, &frame);
                }
                self.post(connection, Way::Down, Parcel::Frame(frame));
            }
            Effect::Timer(moment) => {
                peer.timer += 1;
                let generation = peer.timer;
                let delay = (up.began + moment.0).saturating_sub(now);
                self.tell_peer(connection, delay, ServerNews::Timer { generation });
            }
            Effect::Close { code, reason } => {
                self.post(connection, Way::Down, Parcel::Close { code, reason });
                self.forget_peer(connection);
            }
            Effect::Commit { ticket, push } => {
                let Some(namespace) = peer.namespace.clone() else {
                    return;
                };
                self.note(Node::Server, || {
                    format!("#{connection} {}", crate::wire::mutations(&push))
                });
                let verdict = self
                    .audit
                    .received(index_of(&namespace), &push, &mut self.counts);
                self.check(verdict);
                if let Some(hub) = self
                    .server
                    .up
                    .as_mut()
                    .and_then(|up| up.hubs.get_mut(&namespace))
                {
                    hub.joiner.push(push, (connection, ticket));
                }
                self.commit_next(&namespace);
            }
            other => {
                if let Effect::Attach { namespace, request } = &other {
                    let key = (namespace.clone(), request.client);
                    if up
                        .newest
                        .get(&key)
                        .is_some_and(|newest| *newest > connection)
                    {
                        let refusal = EngineError::Refused(AttachRefusal::Replaced);
                        let refused = Event::Attached(Err(refusal));
                        self.counts.add(Kind::HelloTooLate);
                        return self.tell_peer(connection, 0, ServerNews::Event(refused));
                    }
                    peer.namespace = Some(namespace.clone());
                    peer.client = Some(request.client);
                    let changes = self.swarm.commit_changes;
                    let hub = up.hubs.entry(namespace.clone()).or_insert_with(|| Hub {
                        joiner: Joiner::new(changes, 8 << 20),
                        committing: false,
                        unsure: false,
                        head: Seq::ZERO,
                        listeners: BTreeSet::new(),
                    });
                    hub.listeners.insert(connection);
                }
                let (engine, namespace) = (up.engine.clone(), peer.namespace.clone());
                let tokens = self.server.tokens.clone();
                up.tasks.spawn(async move {
                    let done = perform(&engine, &*tokens, namespace.as_ref(), other).await;
                    let event = done.unwrap_or_else(|effect| panic!("nobody executes {effect:?}"));
                    Done::Answer { connection, event }
                });
            }
        }
    }

    pub(super) fn forget_peer(&mut self, connection: u64) {
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(peer) = up.peers.remove(&connection) else {
            return;
        };
        if let Some(namespace) = peer.namespace {
            if let Some(hub) = up.hubs.get_mut(&namespace) {
                hub.listeners.remove(&connection);
            }
            if let Some(client) = peer.client {
                let key = (namespace, client);
                if up.newest.get(&key) == Some(&connection) {
                    up.newest.remove(&key);
                }
            }
        }
    }
}
