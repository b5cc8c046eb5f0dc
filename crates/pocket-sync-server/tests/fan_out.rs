//! One change to many subscribers is encoded once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use common::{TestEnv, Writer, body, ns};
use futures_util::FutureExt;
use pocket_core::{ClientId, Env, Seq};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{
    ClientMessage, Direction, Hello, More, Pull, ServerMessage, VersionRange, WireLimits,
    decode_server, encode_client,
};
use pocket_sync_server::session::{Effect, Event, Moment, Now, Session};
use pocket_sync_server::{Config, EmbeddedEngine, Engine, Limits, TokenTable, perform};

const SUBSCRIBERS: u32 = 1_000;

/// A session, and what it asks of the engine answered at once.
struct Subscriber {
    session: Session,
    /// The bytes of the records that it was given, kept so that no others come to lie in their place.
    records: Vec<Bytes>,
    sent: Vec<ServerMessage>,
}

struct Server {
    engine: EmbeddedEngine,
    env: Arc<TestEnv>,
}

impl Server {
    fn handle(&self, subscriber: &mut Subscriber, event: Event) {
        let now = Now {
            moment: Moment(0),
            time: self.env.now(),
        };
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in subscriber.session.handle(now, event) {
                let (tokens, ns) = (TokenTable::open(), ns());
                let done = perform(&self.engine, &tokens, Some(&ns), effect).now_or_never();
                match done.expect("memory waits for nothing") {
                    Ok(event) => {
                        if let Event::FeedRead {
                            result: Ok(page), ..
                        } = &event
                        {
                            let bytes = page.records.iter().map(|record| record.bytes.clone());
                            subscriber.records.extend(bytes);
                        }
                        events.push(event);
                    }
                    Err(Effect::Send(frame)) => {
                        let message = decode_server(&frame, &WireLimits::default());
                        subscriber.sent.push(message.unwrap());
                    }
                    Err(Effect::Timer(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    }

    fn say(&self, subscriber: &mut Subscriber, message: impl Into<ClientMessage>) {
        let frame = encode_client(&message.into());
        self.handle(subscriber, Event::Frame(frame));
    }

    /// One that has read everything there is.
    fn subscriber(&self, config: &Arc<Config>, number: u32) -> Subscriber {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let mut subscriber = Subscriber {
            session: Session::new(config.clone()),
            records: Vec::new(),
            sent: Vec::new(),
        };
        self.handle(&mut subscriber, Event::Opened { token: None });
        let hello = Hello {
            versions: VersionRange::SUPPORTED,
            client: ClientId::from_bytes(bytes),
            namespace: ns().to_string(),
            token: None,
            session: None,
            collections: Vec::new(),
            direction: Direction::Both,
            checkpoint: None,
            agent: "test".to_owned(),
        };
        self.say(&mut subscriber, hello);
        let pull = Pull {
            id: 1,
            epoch: None,
            after: Seq::ZERO,
            until: None,
            collections: Vec::new(),
            window: 2,
            batch: 100,
            fixed_head: None,
        };
        self.say(&mut subscriber, pull);
        let Some(ServerMessage::Page(page)) = subscriber.sent.pop() else {
            panic!("{:?}", subscriber.sent)
        };
        let (id, applied) = (page.id, page.end);
        self.say(&mut subscriber, More { id, applied });
        subscriber.records.clear();
        subscriber.sent.clear();
        subscriber
    }
}

#[test]
fn one_change_to_a_thousand_subscribers_is_encoded_once() {
    let env = TestEnv::new(1);
    let storage = Arc::new(MemoryStorage::new());
    let server = Server {
        engine: EmbeddedEngine::new(storage, env.clone(), Limits::default()),
        env,
    };
    let mut writer = Writer::attach(&server.engine, 1);
    writer.commit(&server.engine, &[("before", None)]);
    let config = Arc::new(Config::default());
    let mut subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|number| server.subscriber(&config, number))
        .collect();

    writer.commit(&server.engine, &[("news", None)]);
    let head = server.engine.head(&ns()).now_or_never().unwrap().unwrap();
    for subscriber in &mut subscribers {
        server.handle(subscriber, Event::HeadMoved(head));
    }
    for subscriber in &subscribers {
        let [ServerMessage::Page(page)] = &subscriber.sent[..] else {
            panic!("{:?}", subscriber.sent)
        };
        let records = page.records().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].state.body(), Some(&body("news")));
        assert_eq!(subscriber.records.len(), 1);
    }
    // Each was given the same bytes, not bytes that are the same: another encoding would lie elsewhere.
    let records = subscribers.iter().flat_map(|one| &one.records);
    let encodings: HashSet<_> = records.map(|bytes| bytes.as_ptr()).collect();
    assert_eq!(
        encodings.len(),
        1,
        "{SUBSCRIBERS} subscribers, encoded once"
    );
}
