//! One cell of the matrix: what it says, and what comes of it.

use std::net::SocketAddr;

use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Epoch, Hlc,
    Map, Mutation, MutationContent, MutationNumber, Outcome, Revision, Seq,
};
use pocket_sync_protocol::{
    ClientMessage, Direction, Fetch, Hello, HelloCheckpoint, More, Ping, Pull, Push, ServerMessage,
    VersionRange,
};

use super::Operation::{
    self, Ask, Create, CreateForAnother, Delete, Enter, EnterAsAnother, Erase, Get, Join, Read,
    ReadFromForeignPlace, ReadOn, Replace,
};
use super::Transport;
use super::link::Link;

/// One cell of the matrix.
pub(super) struct Case {
    token: String,
    namespace: String,
    operation: Operation,
    pub(super) client: ClientId,
    id: String,
}

impl Case {
    pub(super) fn new(
        token: &str,
        namespace: &str,
        operation: Operation,
        number: u8,
        id: &str,
    ) -> Self {
        let mut client = [number; 16];
        // A cell's number alone would come again after 255 of them.
        client[..8].copy_from_slice(&fingerprint(id));
        let client = match operation {
            EnterAsAnother => [7; 16],
            Enter if number == 0 => [7; 16],
            _ => client,
        };
        Self {
            token: token.to_owned(),
            namespace: namespace.to_owned(),
            operation,
            client: ClientId::from_bytes(client),
            id: id.to_owned(),
        }
    }

    /// The hello, and what follows it.
    pub(super) fn messages(&self) -> Vec<ClientMessage> {
        let mut messages = vec![self.hello().into()];
        let rest: Vec<ClientMessage> = match self.operation {
            Enter | EnterAsAnother => Vec::new(),
            Create | Replace => vec![self.push(ChangeKind::Put(owned_by(&self.token)))],
            CreateForAnother => vec![self.push(ChangeKind::Put(owned_by("somebody")))],
            Delete => vec![self.push(ChangeKind::Delete)],
            Erase => vec![self.push(ChangeKind::Erase)],
            Read => vec![pull(None, 0, Vec::new(), 8).into()],
            ReadFromForeignPlace => {
                vec![pull(Some(foreign()), 1, Vec::new(), 8).into()]
            }
            Join => vec![pull(None, 0, vec![todos()], 8).into()],
            ReadOn => vec![
                pull(None, 0, Vec::new(), 1).into(),
                More {
                    id: 5,
                    applied: Seq::ZERO,
                }
                .into(),
            ],
            Get => {
                let id = DocumentId::new(&self.id).unwrap();
                let documents = vec![(todos(), id)];
                vec![Fetch { id: 5, documents }.into()]
            }
            Ask => vec![Ping { id: 5, time: None }.into()],
        };
        messages.extend(rest);
        messages
    }

    fn hello(&self) -> Hello {
        let token = (!self.token.is_empty()).then(|| self.token.clone());
        // A place of another log, read with the rights that the server would tell: no reason but the place is wrong.
        let checkpoint = (self.operation == ReadFromForeignPlace).then(|| HelloCheckpoint {
            epoch: foreign(),
            seq: Seq::new(1),
            rights: None,
            fixed_head: None,
        });
        Hello {
            versions: VersionRange::SUPPORTED,
            client: self.client,
            namespace: self.namespace.clone(),
            token,
            session: None,
            collections: Vec::new(),
            direction: Direction::Both,
            checkpoint,
            agent: "matrix".to_owned(),
        }
    }

    fn push(&self, kind: ChangeKind) -> ClientMessage {
        let change = Change {
            collection: todos(),
            id: DocumentId::new(&self.id).unwrap(),
            rev: Revision::new(Hlc::from_bits(1), self.client),
            base: None,
            kind,
        };
        let number = MutationNumber::new(1);
        let mutation = Mutation {
            number,
            content: MutationContent::Changes(vec![change]),
        };
        Push::build(5, self.client, number, MutationNumber::ZERO, &[mutation])
            .unwrap()
            .into()
    }

    /// Asks, and tells what came of it.
    pub(super) async fn ask(&self, address: SocketAddr, transport: Transport) -> String {
        let mut link = Link::open(address, transport).await;
        let mut shown = false;
        for message in self.messages() {
            let is_hello = matches!(message, ClientMessage::Hello(_));
            link.say(&message).await;
            if matches!(message, ClientMessage::Pull(_)) && self.operation == ReadOn {
                // What the window lets through first; the rest follows the `more`, until the head.
                if let Some(answer) = self.page(&mut link, &mut shown).await {
                    return answer;
                }
                continue;
            }
            if matches!(message, ClientMessage::More(_)) {
                continue;
            }
            let answer = loop {
                let answer = match link.receive().await {
                    ServerMessage::Welcome(_) if is_hello => "welcome".to_owned(),
                    ServerMessage::Error(error) => error.code,
                    ServerMessage::Outcomes(outcomes) => outcome(&outcomes.outcomes[0]),
                    ServerMessage::Pong(_) => "pong".to_owned(),
                    ServerMessage::Records(records) => {
                        let records = records.records().unwrap();
                        self.view(records.iter().any(|record| record.id.as_str() == self.id))
                    }
                    ServerMessage::Page(page) => {
                        let records = page.records().unwrap();
                        shown |= records.iter().any(|record| record.id.as_str() == self.id);
                        assert!(page.removals.iter().all(|gone| gone.id.as_str() != self.id));
                        if page.end < page.head {
                            link.say(
                                &More {
                                    id: 5,
                                    applied: page.end,
                                }
                                .into(),
                            )
                            .await;
                            continue;
                        }
                        self.view(shown)
                    }
                    ServerMessage::Welcome(_) => panic!("a second welcome"),
                };
                break answer;
            };
            let goes_on = is_hello && answer == "welcome";
            let is_all = matches!(self.operation, Enter | EnterAsAnother);
            if !goes_on || is_all {
                return answer;
            }
        }
        loop {
            if let Some(answer) = self.page(&mut link, &mut shown).await {
                return answer;
            }
        }
    }

    /// Takes one page of a reading that goes on; tells what came of it once it is at the head.
    async fn page(&self, link: &mut Link, shown: &mut bool) -> Option<String> {
        match link.receive().await {
            ServerMessage::Page(page) => {
                let records = page.records().unwrap();
                *shown |= records.iter().any(|record| record.id.as_str() == self.id);
                if page.end == page.head {
                    return Some(self.view(*shown));
                }
                link.say(
                    &More {
                        id: 5,
                        applied: page.end,
                    }
                    .into(),
                )
                .await;
                None
            }
            ServerMessage::Error(error) => Some(error.code),
            other => panic!("{other:?}"),
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a sentence where it is used")]
    fn view(&self, shown: bool) -> String {
        if shown { "shown" } else { "hidden" }.to_owned()
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Applied { .. } => "applied".to_owned(),
        Outcome::Conflict { .. } => "conflict".to_owned(),
        Outcome::Rejected { code, .. } => code.clone(),
    }
}

pub(super) fn todos() -> CollectionName {
    CollectionName::new("todos").unwrap()
}

pub(super) fn owned_by(user: &str) -> Body {
    let mut map = Map::new();
    map.insert("owner", user);
    Body::from_map(&map, &DocumentLimits::default()).unwrap()
}

fn foreign() -> Epoch {
    Epoch::from_bytes([0xee; 16])
}

fn pull(epoch: Option<Epoch>, after: u64, collections: Vec<CollectionName>, window: u32) -> Pull {
    Pull {
        id: 5,
        epoch,
        after: Seq::new(after),
        until: None,
        collections,
        window,
        batch: 10,
        fixed_head: None,
    }
}

/// Eight bytes that differ where the text does.
fn fingerprint(text: &str) -> [u8; 8] {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step).to_be_bytes()
}
