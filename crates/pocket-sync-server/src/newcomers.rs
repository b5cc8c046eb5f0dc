//! How many clients that are not known yet come in. Each leaves a row in the store until it is forgotten, weeks later.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::Config;
use crate::auth::ANONYMOUS;
use crate::bucket::Bucket;
use crate::connected::network;
use crate::locks::lock;
use crate::session::Moment;

/// The time in which the bounds are counted.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Users that are remembered, and as many addresses: each until its hour is over, or until so many came later.
const REMEMBERED: usize = 100_000;

/// Milliseconds between two searches for those whose hour is over, which look at all that are remembered.
const SWEPT_EVERY: u64 = 60_000;

/// What is left for whom.
#[derive(Debug)]
pub(crate) struct Newcomers {
    began: Instant,
    left: Mutex<Left>,
}

/// Apart, so that whoever has many addresses makes nothing forgotten of users.
#[derive(Debug)]
struct Left {
    users: Table<Arc<str>>,
    addresses: Table<IpAddr>,
}

#[derive(Debug)]
struct Table<K> {
    /// New clients that each of them brings in an hour.
    most: u64,
    left: HashMap<K, Bucket>,
    /// The same, in the order in which they came.
    order: VecDeque<K>,
    swept: Moment,
}

/// Room for one new client. It is free again when this is dropped before the client [was new](Self::taken).
#[derive(Debug)]
pub(crate) struct Room {
    newcomers: Arc<Newcomers>,
    user: Option<Arc<str>>,
    address: Option<IpAddr>,
}

impl Newcomers {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            began: Instant::now(),
            left: Mutex::new(Left {
                users: Table::new(config.new_clients_per_user),
                addresses: Table::new(config.new_clients_per_address),
            }),
        }
    }

    /// Room for a new client of a user, from an address where it is known.
    ///
    /// # Errors
    /// How long to wait until there is some.
    pub(crate) fn room(
        self: &Arc<Self>,
        user: &Arc<str>,
        address: Option<IpAddr>,
    ) -> Result<Room, Duration> {
        let now = self.now();
        let user = (**user != *ANONYMOUS).then(|| Arc::clone(user));
        let address = address
            .map(network)
            .filter(|address| !address.is_loopback());
        let mut left = lock(&self.left);
        let Left { users, addresses } = &mut *left;
        let mut buckets = [
            user.as_ref().map(|user| users.bucket(user, now)),
            address
                .as_ref()
                .map(|address| addresses.bucket(address, now)),
        ];
        let ready = |bucket: &mut Bucket| bucket.ready(now);
        let ready = buckets.iter_mut().flatten().map(|bucket| ready(bucket));
        let ready = ready.max().unwrap_or(now);
        if ready > now {
            return Err(Duration::from_millis(ready.0 - now.0));
        }
        for bucket in buckets.into_iter().flatten() {
            bucket.take(1);
        }
        drop(left);
        Ok(Room {
            newcomers: Arc::clone(self),
            user,
            address,
        })
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl<K: Clone + Eq + Hash> Table<K> {
    fn new(most: u32) -> Self {
        Self {
            most: most.into(),
            left: HashMap::new(),
            order: VecDeque::new(),
            swept: Moment::default(),
        }
    }

    /// What is left for this one, which is remembered from here on.
    fn bucket(&mut self, key: &K, now: Moment) -> &mut Bucket {
        if !self.left.contains_key(key) {
            self.make_room(now);
            self.order.push_back(key.clone());
        }
        let most = self.most;
        let bucket = self.left.entry(key.clone());
        bucket.or_insert_with(|| Bucket::new(most, HOUR, most))
    }

    /// Lets go of who counts for nothing any more. If all do, of the one that came first: it may bring its clients anew
    /// sooner, and nobody is kept out because others are many.
    fn make_room(&mut self, now: Moment) {
        if self.left.len() < REMEMBERED {
            return;
        }
        if now.0.saturating_sub(self.swept.0) >= SWEPT_EVERY {
            self.swept = now;
            let left = &mut self.left;
            left.retain(|_, bucket| !bucket.is_full(now));
            self.order.retain(|key| left.contains_key(key));
        }
        while self.left.len() >= REMEMBERED
            && let Some(first) = self.order.pop_front()
        {
            self.left.remove(&first);
        }
    }

    fn give_back(&mut self, key: &K) {
        if let Some(bucket) = self.left.get_mut(key) {
            bucket.give_back();
        }
    }
}

impl Room {
    /// The client was new.
    pub(crate) fn taken(mut self) {
        (self.user, self.address) = (None, None);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let (user, address) = (self.user.take(), self.address.take());
        if user.is_none() && address.is_none() {
            return;
        }
        let mut left = lock(&self.newcomers.left);
        if let Some(user) = user {
            left.users.give_back(&user);
        }
        if let Some(address) = address {
            left.addresses.give_back(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use pocket_core::ClientId;
    use pocket_storage_memory::MemoryStorage;

    use super::*;
    use crate::decide::AttachRefusal;
    use crate::engine::{AttachRequest, EngineError};
    use crate::{Namespace, SyncServer};

    fn newcomers(per_user: u32, per_address: u32) -> Arc<Newcomers> {
        let config = Config {
            new_clients_per_user: per_user,
            new_clients_per_address: per_address,
            ..Config::default()
        };
        Arc::new(Newcomers::new(&config))
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_brings_so_many_at_once_and_then_so_many_an_hour() {
        let newcomers = newcomers(2, 100);
        let room = |user: &str| newcomers.room(&user.into(), None);
        for _ in 0..2 {
            room("ann").unwrap().taken();
        }
        assert_eq!(room("ann").unwrap_err(), HOUR / 2);
        room("bob").unwrap().taken();
        tokio::time::advance(HOUR / 2).await;
        // Room that a known client did not need is there for the next.
        drop(room("ann").unwrap());
        room("ann").unwrap().taken();
        assert_eq!(room("ann").unwrap_err(), HOUR / 2);
        tokio::time::advance(10 * HOUR).await;
        for _ in 0..2 {
            room("ann").unwrap().taken();
        }
        assert!(room("ann").is_err(), "no more gather than may come at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_brings_so_many_whoever_they_are_and_this_machine_any() {
        let newcomers = newcomers(100, 2);
        let room =
            |user: &str, from: &str| newcomers.room(&user.into(), Some(from.parse().unwrap()));
        room("ann", "192.0.2.7").unwrap().taken();
        room(ANONYMOUS, "::ffff:192.0.2.7").unwrap().taken();
        assert_eq!(room("bob", "192.0.2.7").unwrap_err(), HOUR / 2);
        room("bob", "192.0.2.8").unwrap().taken();
        room("bob", "2001:db8::1").unwrap().taken();
        room("bob", "2001:db8::2").unwrap().taken();
        assert!(room("bob", "2001:db8::3").is_err());
        // Whoever is refused for his address has not used up what is his.
        for _ in 0..500 {
            assert!(room("cid", "192.0.2.7").is_err());
            room(ANONYMOUS, "127.0.0.1").unwrap().taken();
            newcomers.room(&ANONYMOUS.into(), None).unwrap().taken();
        }
        for _ in 0..100 {
            room("cid", "::1").unwrap().taken();
        }
        assert!(room("cid", "::1").is_err());
    }

    #[tokio::test]
    async fn room_is_asked_for_only_when_a_client_turns_out_to_be_new() {
        let storage = Arc::new(MemoryStorage::new());
        let server = SyncServer::builder(storage).build().unwrap();
        let hub = server.inner.hub(&Namespace::new("n").unwrap());
        let newcomers = newcomers(1, 1);
        let request = |number, presented| AttachRequest {
            user: "ann".into(),
            client: ClientId::from_bytes([number; 16]),
            presented,
            unless_new: None,
        };
        let room = || {
            let newcomers = Arc::clone(&newcomers);
            move || newcomers.room(&"ann".into(), None)
        };
        let attached = hub.attach_if_room(request(1, None), room()).await.unwrap();
        assert!(attached.is_new);
        let refused = hub.attach_if_room(request(2, None), room()).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused,
                EngineError::Refused(AttachRefusal::TooManyNew(wait)) if wait > HOUR / 2
            ),
            "{refused}"
        );
        let none = || panic!("a client that is known asks for room");
        let known = hub.attach_if_room(request(1, Some(attached.session)), none);
        assert!(!known.await.unwrap().is_new);
    }

    /// Nobody new came in any more once so many others had.
    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_very_many_is_bounded_and_keeps_nobody_out() {
        let newcomers = newcomers(1, 1);
        let address = |number: u32| IpAddr::V4((0x0a00_0000 + number).into());
        let come = |number: u32, user: &str| newcomers.room(&user.into(), Some(address(number)));
        let remembered = || {
            let left = newcomers.left.lock().unwrap();
            assert_eq!(left.users.left.len(), left.users.order.len());
            assert_eq!(left.addresses.left.len(), left.addresses.order.len());
            (left.users.left.len(), left.addresses.left.len())
        };
        let most = u32::try_from(REMEMBERED).unwrap();
        newcomers.room(&"ann".into(), None).unwrap().taken();
        for number in 0..most {
            come(number, ANONYMOUS).unwrap().taken();
        }
        assert_eq!(remembered(), (1, REMEMBERED));
        come(most, "bob").unwrap().taken();
        assert_eq!(remembered(), (2, REMEMBERED));
        // Addresses push out the first of them, and no users.
        assert!(come(1, "cid").is_err());
        assert!(newcomers.room(&"ann".into(), None).is_err());
        come(0, "cid").unwrap().taken();
        // Their hour is over, which is looked at when there is no room.
        tokio::time::advance(HOUR).await;
        come(most + 1, "ann").unwrap().taken();
        assert_eq!(remembered(), (3, 1));
    }

    /// Each looked at all of them under one lock.
    #[tokio::test(start_paused = true)]
    async fn those_whose_hour_is_over_are_looked_for_once_a_minute() {
        let mut table = Table::new(1);
        let minute = |minutes: u64| Moment(minutes * SWEPT_EVERY);
        for number in 0..REMEMBERED {
            table.bucket(&number, minute(60));
        }
        // None of them took anything, so all may go.
        table.bucket(&REMEMBERED, minute(60));
        assert_eq!((table.left.len(), table.swept), (1, minute(60)));
        for number in 0..REMEMBERED {
            table.bucket(&number, minute(60));
        }
        let later = Moment(minute(61).0 - 1);
        table.bucket(&(REMEMBERED + 1), later);
        assert_eq!((table.left.len(), table.swept), (REMEMBERED, minute(60)));
        table.bucket(&(REMEMBERED + 2), minute(61));
        assert_eq!((table.left.len(), table.swept), (1, minute(61)));
    }
}
