//! How many clients that are not known yet come in. Each leaves a row in the store until it is forgotten, weeks later.

use std::collections::HashMap;
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

/// Users and addresses that are remembered, each until its hour is over.
const REMEMBERED: usize = 100_000;

/// What it is told to wait whose user or address cannot be remembered.
const CROWDED: Duration = Duration::from_secs(60);

/// Who brings new clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    User(Arc<str>),
    Address(IpAddr),
}

/// What is left for whom.
#[derive(Debug)]
pub(crate) struct Newcomers {
    began: Instant,
    left: Mutex<HashMap<Source, Bucket>>,
    per_user: u32,
    per_address: u32,
}

/// Room for one new client. It is free again when this is dropped before the client [was new](Self::taken).
#[derive(Debug)]
pub(crate) struct Room {
    newcomers: Arc<Newcomers>,
    sources: Vec<Source>,
}

impl Newcomers {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            began: Instant::now(),
            left: Mutex::default(),
            per_user: config.new_clients_per_user,
            per_address: config.new_clients_per_address,
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
        let user = (**user != *ANONYMOUS).then(|| Source::User(Arc::clone(user)));
        let address = address
            .map(network)
            .filter(|address| !address.is_loopback());
        let sources = user.into_iter().chain(address.map(Source::Address));
        let sources: Vec<_> = sources.collect();
        let mut left = lock(&self.left);
        if left.len() + sources.len() > REMEMBERED {
            left.retain(|_, bucket| !bucket.is_full(now));
            if left.len() + sources.len() > REMEMBERED {
                return Err(CROWDED);
            }
        }
        let mut ready = now;
        for source in &sources {
            let bucket = left
                .entry(source.clone())
                .or_insert_with(|| self.bucket(source));
            ready = ready.max(bucket.ready(now));
        }
        if ready > now {
            return Err(Duration::from_millis(ready.0 - now.0));
        }
        for source in &sources {
            if let Some(bucket) = left.get_mut(source) {
                bucket.take(1);
            }
        }
        drop(left);
        Ok(Room {
            newcomers: Arc::clone(self),
            sources,
        })
    }

    fn bucket(&self, source: &Source) -> Bucket {
        let most = match source {
            Source::User(_) => self.per_user,
            Source::Address(_) => self.per_address,
        };
        Bucket::new(most.into(), HOUR, most.into())
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Room {
    /// The client was new.
    pub(crate) fn taken(mut self) {
        self.sources.clear();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.sources.is_empty() {
            return;
        }
        let mut left = lock(&self.newcomers.left);
        for source in &self.sources {
            if let Some(bucket) = left.get_mut(source) {
                bucket.give_back();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_very_many_is_bounded() {
        let newcomers = newcomers(1, 1);
        for number in 0..REMEMBERED {
            let user: Arc<str> = number.to_string().into();
            newcomers.room(&user, None).unwrap().taken();
        }
        assert_eq!(newcomers.room(&"ann".into(), None).unwrap_err(), CROWDED);
        tokio::time::advance(HOUR).await;
        newcomers.room(&"ann".into(), None).unwrap().taken();
        assert_eq!(newcomers.left.lock().unwrap().len(), 1);
    }
}
