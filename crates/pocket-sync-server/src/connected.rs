//! Who is connected: one session of each client, and a bounded number of connections of each user and address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pocket_core::{ClientId, Seq, Timestamp};

use crate::Namespace;
use crate::auth::ANONYMOUS;
use crate::decide::AttachRefusal;
use crate::driver::Events;
use crate::engine::AttachRequest;
use crate::event::{self, ServerEvent};
use crate::locks::lock;
use crate::server::{Hub, Inner};
use crate::session::Event;

/// A client that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The number of its connection, as in [`ServerEvent::Connected`].
    pub connection: u64,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its user.
    pub user: Arc<str>,
    /// The client.
    pub client: ClientId,
    /// When it came in.
    pub since: Timestamp,
    /// How far it was sent the feed.
    pub position: Seq,
    /// Places that it was not sent yet.
    pub lag: u64,
}

/// Who is connected to a server.
#[derive(Default)]
pub(crate) struct Connected {
    clients: Mutex<Clients>,
    users: Arc<Seats<Arc<str>>>,
    addresses: Arc<Seats<IpAddr>>,
    /// Clients that are coming in on another connection, to take the seat of the one they have.
    replacing: Arc<Seats<(Namespace, ClientId)>>,
}

/// The seat of a user's connection, until the one that replaces it takes it.
type UserSeat = Arc<Mutex<Option<Seat<Arc<str>>>>>;

/// By namespace, so that whoever asks for one does not look through all.
type Clients = HashMap<Namespace, HashMap<ClientId, Newest>>;

struct Newest {
    /// Its connections are numbered in the order in which they were opened.
    info: ClientInfo,
    position: Arc<AtomicU64>,
    events: Events,
    seat: UserSeat,
}

impl Newest {
    fn info(&self) -> ClientInfo {
        ClientInfo {
            position: Seq::new(self.position.load(Ordering::Relaxed)),
            ..self.info.clone()
        }
    }
}

impl Connected {
    /// A place for a connection from this address; none when it has as many as it may have.
    pub(crate) fn seat_of_address(&self, address: IpAddr, most: usize) -> Option<Seat<IpAddr>> {
        let network = network(address);
        let most = if network.is_loopback() {
            usize::MAX
        } else {
            most
        };
        Seats::take(&self.addresses, network, most)
    }

    /// The clients that are connected.
    pub(crate) fn list(&self) -> Vec<ClientInfo> {
        let clients = lock(&self.clients);
        let all = clients.values().flat_map(HashMap::values);
        let mut list: Vec<_> = all.map(Newest::info).collect();
        list.sort_unstable_by_key(|info| (info.since, info.client));
        list
    }

    /// The clients that are connected to a namespace.
    pub(crate) fn of(&self, namespace: &Namespace) -> Vec<ClientId> {
        let clients = lock(&self.clients);
        let of = clients.get(namespace).into_iter().flatten();
        of.map(|(client, _)| *client).collect()
    }

    /// The connection of a client's session, and who the user is.
    fn newest_of(&self, namespace: &Namespace, client: ClientId) -> Option<(u64, Arc<str>)> {
        let clients = lock(&self.clients);
        let newest = clients.get(namespace)?.get(&client)?;
        Some((newest.info.connection, Arc::clone(&newest.info.user)))
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.clients).values().map(HashMap::len).sum()
    }

    /// Ends the sessions of a client.
    pub(crate) fn disconnect(&self, client: ClientId) -> bool {
        let clients = lock(&self.clients);
        let sessions = clients.values().filter_map(|of| of.get(&client));
        // One that is gone already needs no ending.
        let told = sessions
            .filter(|newest| newest.events.send(Box::new(Event::Disconnect)).is_ok())
            .count();
        told > 0
    }
}

/// The namespace a connection has joined; it leaves when this is dropped, however the connection ended.
pub(crate) struct Joined {
    server: Arc<Inner>,
    namespace: Namespace,
    hub: Arc<Hub>,
    user: Arc<str>,
    client: ClientId,
    connection: u64,
    is_registered: bool,
    position: Arc<AtomicU64>,
    seat: UserSeat,
    /// It has no seat yet, for it replaces a connection that has one.
    replacing: Option<Seat<(Namespace, ClientId)>>,
}

impl Joined {
    /// Joins a namespace on behalf of who asks to attach.
    ///
    /// # Errors
    /// [`AttachRefusal::Crowded`] when the user has as many connections as one may have; [`AttachRefusal::Replaced`] when
    /// the client has a session on a newer connection: this hello was held up on its way.
    pub(crate) fn new(
        server: &Arc<Inner>,
        namespace: &Namespace,
        request: &AttachRequest,
        connection: u64,
    ) -> Result<Self, AttachRefusal> {
        let newest = server.connected.newest_of(namespace, request.client);
        if newest
            .as_ref()
            .is_some_and(|(newest, _)| *newest > connection)
        {
            return Err(AttachRefusal::Replaced);
        }
        let user = &request.user;
        let is_seated = **user != *ANONYMOUS;
        // A line that died leaves a session behind, which must not keep its own client out.
        let replaces = is_seated && newest.is_some_and(|(_, other)| other == *user);
        let replacing = replaces.then(|| {
            let key = (namespace.clone(), request.client);
            Seats::take(&server.connected.replacing, key, 1)
        });
        let replacing = replacing.flatten();
        let seat = if is_seated && replacing.is_none() {
            let most = server.config.connections_per_user;
            let users = &server.connected.users;
            let seat = Seats::take(users, Arc::clone(user), most);
            Some(seat.ok_or(AttachRefusal::Crowded)?)
        } else {
            None
        };
        Ok(Self {
            server: Arc::clone(server),
            namespace: namespace.clone(),
            hub: server.hub(namespace),
            user: Arc::clone(user),
            client: request.client,
            connection,
            is_registered: false,
            position: Arc::default(),
            seat: Arc::new(Mutex::new(seat)),
            replacing,
        })
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Takes note of how far the client was sent the feed.
    pub(crate) fn sent(&self, position: Seq) {
        self.position.store(position.get(), Ordering::Relaxed);
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Takes note of this as the client's newest session, and ends the one before.
    pub(crate) fn register(&mut self, events: &Events) {
        let newest = Newest {
            info: ClientInfo {
                connection: self.connection,
                namespace: self.namespace.clone(),
                user: Arc::clone(&self.user),
                client: self.client,
                since: self.server.env.now(),
                position: Seq::ZERO,
                lag: 0,
            },
            position: Arc::clone(&self.position),
            events: events.clone(),
            seat: Arc::clone(&self.seat),
        };
        let older = {
            let mut clients = lock(&self.server.connected.clients);
            let of = clients.entry(self.namespace.clone()).or_default();
            match of.get(&self.client) {
                // Both said hello at once, and the newer one was quicker.
                Some(other) if other.info.connection > self.connection => Some(newest),
                _ => of.insert(self.client, newest),
            }
        };
        if self.replacing.take().is_some() {
            let left = older.as_ref().and_then(|older| lock(&older.seat).take());
            // Gone meanwhile, and maybe somebody has its seat: this one was let in, and is counted.
            let users = &self.server.connected.users;
            let seat = left.or_else(|| Seats::take(users, Arc::clone(&self.user), usize::MAX));
            *lock(&self.seat) = seat;
        }
        if let Some(older) = older {
            // It may be gone already; then there is nothing to end.
            let _ = older.events.send(Box::new(Event::Replaced));
        }
        self.is_registered = true;
        self.server.metrics.sessions.add(1);
        if let Some(hook) = &self.server.hook {
            let event = ServerEvent::Connected {
                connection: self.connection,
                namespace: &self.namespace,
                user: &self.user,
                client: self.client,
            };
            event::tell(&**hook, &event);
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if !self.is_registered {
            return;
        }
        let mut clients = lock(&self.server.connected.clients);
        let is_newest = |newest: &Newest| newest.info.connection == self.connection;
        if let Some(of) = clients.get_mut(&self.namespace) {
            if of.get(&self.client).is_some_and(is_newest) {
                of.remove(&self.client);
            }
            if of.is_empty() {
                clients.remove(&self.namespace);
            }
        }
        drop(clients);
        if let Some(hook) = &self.server.hook {
            let event = ServerEvent::Disconnected {
                connection: self.connection,
                namespace: &self.namespace,
                user: &self.user,
                client: self.client,
            };
            event::tell(&**hook, &event);
        }
    }
}

/// What addresses are counted by: whoever has one of an IPv6 network has all of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}

/// Counts by a key, with a bound.
struct Seats<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Seats<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Seats<K> {
    fn take(seats: &Arc<Self>, key: K, most: usize) -> Option<Seat<K>> {
        let mut taken = lock(&seats.0);
        let count = taken.get(&key).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        Some(Seat {
            seats: Arc::clone(seats),
            key,
        })
    }
}

/// A place that was taken, until it is dropped.
pub(crate) struct Seat<K: Eq + Hash> {
    seats: Arc<Seats<K>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.seats.0);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_bounded_number_of_connections_and_this_machine_any() {
        let connected = Connected::default();
        let seat = |address: &str| connected.seat_of_address(address.parse().unwrap(), 2);
        let one = seat("2001:db8::1").unwrap();
        let _two = seat("2001:db8::2").unwrap();
        assert!(seat("2001:db8::3").is_none());
        assert!(seat("2001:db8:0:1::3").is_some(), "another network");
        drop(one);
        assert!(seat("2001:db8::3").is_some(), "a place is free again");
        let _held: Vec<_> = (0..2).map(|_| seat("192.0.2.7").unwrap()).collect();
        assert!(
            seat("::ffff:192.0.2.7").is_none(),
            "the same in other words"
        );
        assert!((0..50).all(|_| seat("127.0.0.1").is_some() && seat("::1").is_some()));
    }
}
