//! A server's session against whatever a client may send, beside another tenant.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Epoch, Hlc,
    Map, Mutation, MutationContent, MutationNumber, Revision, Seq, SessionToken, Timestamp,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{
    ClientMessage, Direction, Fetch, Hello, HelloCheckpoint, More, Ping, Pull, Push, ServerMessage,
    VersionRange, WireLimits, decode_server, encode_client,
};
use pocket_sync_server::auth::{Access, AuthError, Authenticator};
use pocket_sync_server::session::{Effect, Event, Moment, Now, Session};
use pocket_sync_server::{Config, EmbeddedEngine, Engine, Limits, Namespace, perform};

use crate::counting::Counting;
use crate::input::Input;
use crate::now::now;

/// What only Ann may see, in her namespace; so are her collection and her id.
const SECRET: &[u8] = b"annually-7f3a";
const HERS: &str = "hers";
const STEPS: usize = 200;

/// The token is the name; each is at home in the namespace of it.
#[derive(Debug)]
struct ByName;

#[async_trait]
impl Authenticator for ByName {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        let home = match token {
            Some("ann") => "hers",
            Some("eve") => "eves",
            _ => return Err(AuthError::Refused("no such token".to_owned())),
        };
        let home = Namespace::new(home).expect("a good name");
        Ok(Access::all(token.unwrap_or_default()).only([home]))
    }
}

struct Server {
    config: Arc<Config>,
    engine: EmbeddedEngine,
    millis: u64,
}

/// A connection and what it was sent.
struct Peer {
    session: Session,
    namespace: Option<Namespace>,
    told: Vec<ServerMessage>,
    raw: Vec<Bytes>,
    /// Whether the session still runs.
    is_open: bool,
}

impl Server {
    fn new() -> Self {
        let mut config = Config::default();
        config.limits.wire.message_bytes = 64 * 1024;
        config.limits.wire.document_bytes = 16 * 1024;
        let limits: Limits = config.limits.clone();
        Self {
            config: Arc::new(config),
            engine: EmbeddedEngine::new(
                Arc::new(MemoryStorage::new()),
                Arc::new(Counting::default()),
                limits,
            ),
            millis: 0,
        }
    }

    fn accept(&self, polled: bool) -> Peer {
        let config = self.config.clone();
        let session = if polled {
            Session::polled(config, std::time::Duration::from_secs(1))
        } else {
            Session::new(config)
        };
        let mut peer = Peer {
            session,
            namespace: None,
            told: Vec::new(),
            raw: Vec::new(),
            is_open: true,
        };
        self.event(&mut peer, Event::Opened { token: None });
        peer
    }

    fn say(&self, peer: &mut Peer, message: impl Into<ClientMessage>) {
        self.frame(peer, encode_client(&message.into()));
    }

    fn frame(&self, peer: &mut Peer, frame: Bytes) {
        // As a driver does: what the session does not want is left on the wire, and here lost.
        if peer.is_open && peer.session.wants_frames() {
            self.event(peer, Event::Frame(frame));
        }
    }

    /// Feeds an event, carries out what follows, and tells the session of the head.
    fn event(&self, peer: &mut Peer, event: Event) {
        let mut events = vec![event];
        for _ in 0..1_000 {
            let Some(event) = events.pop() else {
                return;
            };
            let time = Timestamp::from_millis(
                1_700_000_000_000 + i64::try_from(self.millis).expect("it is small"),
            );
            let moment = Moment(self.millis);
            for effect in peer.session.handle(Now { moment, time }, event) {
                match effect {
                    Effect::Send(frame) => {
                        let limits = WireLimits::default();
                        let message = decode_server(&frame, &limits);
                        peer.told.push(message.expect("a server speaks properly"));
                        peer.raw.push(frame);
                    }
                    Effect::Timer(_) => {}
                    Effect::Close { .. } => peer.is_open = false,
                    effect => {
                        if let Effect::Attach { namespace, .. } = &effect {
                            peer.namespace = Some(namespace.clone());
                        }
                        let commits = matches!(effect, Effect::Commit { .. });
                        let asked = perform(&self.engine, &ByName, peer.namespace.as_ref(), effect);
                        let answer = now(asked).expect("it asks for something");
                        if commits
                            && let Event::Committed { .. } = &answer
                            && let Some(namespace) = &peer.namespace
                            && let Ok(head) = now(self.engine.head(namespace))
                        {
                            events.insert(0, Event::HeadMoved(head));
                        }
                        events.insert(0, answer);
                    }
                }
            }
        }
        panic!("a session that never comes to rest");
    }
}

/// Whatever Eve sends, she gets nothing of Ann's; Ann's documents stay as they were; and Ann is served afterwards.
pub(crate) fn session(bytes: &[u8]) {
    let mut server = Server::new();
    let mut ann = server.accept(false);
    server.say(&mut ann, hello("ann", "hers", [1; 16], None));
    let secret = String::from_utf8_lossy(SECRET).into_owned();
    let change = change(HERS, &secret, [1; 16], 1, ChangeKind::Put(body(&secret)));
    server.say(&mut ann, push([1; 16], 1, vec![change]));
    assert!(
        matches!(ann.told.last(), Some(ServerMessage::Outcomes(_))),
        "{:?}",
        ann.told
    );

    // Bytes that hold the secret already prove nothing when they come back.
    let is_told = contains(bytes, SECRET);
    let mut input = Input::new(bytes);
    let mut eve = server.accept(input.flag());
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut server, &mut eve, &mut input);
        if !eve.is_open || eve.session.is_over() {
            check(&eve, is_told);
            eve = server.accept(input.flag());
        }
    }
    check(&eve, is_told);

    let mut again = server.accept(false);
    server.say(&mut again, hello("ann", "hers", [2; 16], None));
    server.say(&mut again, pull(1, None, 0, 2));
    let pages = again.told.iter().filter_map(|message| match message {
        ServerMessage::Page(page) => Some(page.records().expect("a good page")),
        _ => None,
    });
    let records: Vec<_> = pages.flatten().collect();
    assert_eq!(records.len(), 1, "{:?}", again.told);
    assert_eq!(records[0].seq, Seq::new(1), "nobody else wrote here");
}

fn check(eve: &Peer, is_told: bool) {
    for (raw, message) in eve.raw.iter().zip(&eve.told) {
        assert!(is_told || !contains(raw, SECRET), "{message:?}");
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn step(server: &mut Server, eve: &mut Peer, input: &mut Input<'_>) {
    match input.below(12) {
        0 => {
            let bytes = Bytes::copy_from_slice(input.bytes());
            server.frame(eve, bytes);
        }
        1 => {
            server.millis += input.number() % 100_000;
            server.event(eve, Event::Timer);
        }
        2 => server.event(eve, Event::Alive),
        3 => {
            let token = ["eve", "ann ", "", "eve"][usize::from(input.below(4))];
            let namespace = ["eves", "hers", "other"][usize::from(input.below(3))];
            let place = input
                .flag()
                .then(|| (Epoch::from_bytes([input.byte(); 16]), input.number()));
            let message = hello(token, namespace, [input.below(4); 16], place);
            server.say(eve, message);
        }
        4 | 5 => {
            let client = [input.below(4); 16];
            let first = input.number();
            let mut changes = Vec::new();
            for _ in 0..=input.below(3) {
                let kind = match input.below(4) {
                    0 => ChangeKind::Delete,
                    1 => ChangeKind::Erase,
                    _ => ChangeKind::Put(body("eves")),
                };
                let collection = [HERS, "docs"][usize::from(input.below(2))];
                let id = ["1", "2", "3"][usize::from(input.below(3))];
                changes.push(change(collection, id, client, input.number(), kind));
            }
            server.say(eve, push(client, first, changes));
        }
        6 | 7 => {
            // The epoch that her welcome told, or one of nobody's.
            let told = eve.told.iter().find_map(|message| match message {
                ServerMessage::Welcome(welcome) => Some(welcome.epoch),
                _ => None,
            });
            let foreign = Epoch::from_bytes([3; 16]);
            let epoch = input.flag().then_some(told.unwrap_or(foreign));
            let message = pull(input.byte().into(), epoch, input.number(), input.number());
            server.say(eve, message);
        }
        8 => {
            let applied = Seq::new(input.number());
            let id = input.byte().into();
            server.say(eve, More { id, applied });
        }
        9 => {
            let collection = CollectionName::new([HERS, "docs"][usize::from(input.below(2))]);
            let id = DocumentId::new(["1", "2", "0"][usize::from(input.below(3))]);
            let documents = vec![(collection.expect("good"), id.expect("good"))];
            let id = input.byte().into();
            server.say(eve, Fetch { id, documents });
        }
        10 => {
            let id = input.byte().into();
            server.say(eve, Ping { id, time: None });
        }
        _ => {
            let event = match input.below(3) {
                0 => Event::Shutdown,
                1 => Event::Replaced,
                _ => Event::Closed,
            };
            server.event(eve, event);
        }
    }
}

fn hello(token: &str, namespace: &str, client: [u8; 16], place: Option<(Epoch, u64)>) -> Hello {
    Hello {
        versions: VersionRange::SUPPORTED,
        client: ClientId::from_bytes(client),
        namespace: namespace.to_owned(),
        token: Some(token.to_owned()),
        session: None::<SessionToken>,
        collections: Vec::new(),
        direction: Direction::Both,
        checkpoint: place.map(|(epoch, seq)| HelloCheckpoint {
            epoch,
            seq: Seq::new(seq),
            rights: None,
            fixed_head: None,
        }),
        agent: String::new(),
    }
}

fn body(text: &str) -> Body {
    let mut map = Map::new();
    map.insert("text", text);
    Body::from_map(&map, &DocumentLimits::default()).expect("a good body")
}

fn change(collection: &str, id: &str, client: [u8; 16], time: u64, kind: ChangeKind) -> Change {
    Change {
        collection: CollectionName::new(collection).expect("a good name"),
        id: DocumentId::new(id).expect("a good id"),
        rev: Revision::new(Hlc::from_bits(time), ClientId::from_bytes(client)),
        base: None,
        kind,
    }
}

fn push(client: [u8; 16], first: u64, changes: Vec<Change>) -> ClientMessage {
    let first = MutationNumber::new(first);
    let content = MutationContent::Changes(changes);
    let mutations = [Mutation {
        number: first,
        content,
    }];
    let client = ClientId::from_bytes(client);
    Push::build(1, client, first, MutationNumber::ZERO, &mutations)
        .map_or_else(|_| Ping { id: 1, time: None }.into(), Into::into)
}

fn pull(id: u32, epoch: Option<Epoch>, after: u64, window: u64) -> Pull {
    Pull {
        id,
        epoch,
        after: Seq::new(after),
        until: None,
        collections: Vec::new(),
        window: u32::try_from(window).unwrap_or(u32::MAX),
        batch: 10,
        fixed_head: None,
    }
}
