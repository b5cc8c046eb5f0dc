//! A client node: the real session, `store::perform`, and the real database on a simulated disk.

mod process;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pocket_core::replica::{Replica, Resolver, Scope};
use pocket_core::storage::MaybeSend;
use pocket_core::{ClientId, CollectionName, ConflictStrategy, Database, Error, Timestamp};
use pocket_sync_client::{Event, Pass, Session, Snapshot, Status, StoreAnswer};
use tokio::sync::watch;

use crate::audit::WriteId;
use crate::clock::Skew;
use crate::dice::{Dice, Part};
use crate::disk::{Backup, NodeDisk};
use crate::schemas::Programs;
use crate::swarm::{ClientShape, Swarm};
use crate::tasks::Tasks;
use crate::view::JournalView;
use crate::workload::Operation;

/// What reaches a client's session later.
#[derive(Debug)]
pub(crate) enum ClientNews {
    Event(Box<Event>),
    Timer { generation: u64 },
    OutboxGrew,
}

/// What a task of a client ends with.
pub(crate) enum Done {
    Opened(Result<Database, Error>),
    Stored(Box<StoreAnswer>),
    Worked(Operation, Result<(), Error>),
    /// A sweep, or a pass over documents of an older shape.
    Chores(Result<u64, Error>),
}

/// A copy of a device's store, with what the book knew when it was made.
#[derive(Debug)]
pub(crate) struct ClientBackup {
    pub(crate) store: Backup,
    /// The history of the server that the device had met.
    pub(crate) met: u64,
    /// Writes from this one on came later.
    pub(crate) before: WriteId,
}

pub(crate) struct Client {
    pub(crate) shape: ClientShape,
    pub(crate) disk: NodeDisk,
    pub(crate) skew: Skew,
    pub(crate) life: u64,
    pub(crate) power_fails: bool,
    pub(crate) stage: Stage,
    tasks: Tasks<Done>,
    dice: Dice,
    /// Whether its store was ever made.
    pub(crate) made: bool,
    pub(crate) reach: Reach,
    /// Its scope was widened, so it may read the feed again from the start.
    pub(crate) widened: bool,
    /// Whether the collection that is switched on and off syncs here.
    pub(crate) late_syncs: bool,
    /// Whether that was ever switched.
    pub(crate) toggled: bool,
    pub(crate) token_version: u64,
    /// How far its store said it has read.
    pub(crate) checkpoint: u64,
    /// The greatest head that a page it stored told of.
    pub(crate) head: u64,
    /// Up to which number it has stored outcomes.
    pub(crate) confirmed: u64,
    /// It reads everything again, or removes what it did not see: what it shows may be older than its place.
    pub(crate) resyncing: bool,
    /// It reads for the first time: deletions of what it wrote meanwhile are found at the end.
    pub(crate) first_sync: bool,
    /// The newest place of each document it was seen to show.
    pub(crate) shown: BTreeMap<crate::audit::DocKey, u64>,
    pub(crate) operations_left: u64,
    pub(crate) connections: u64,
    /// All ids it ever had, and the one it has.
    pub(crate) ids: BTreeSet<ClientId>,
    pub(crate) id: Option<ClientId>,
    /// A copy of its store that somebody keeps.
    pub(crate) backup: Option<ClientBackup>,
    /// What its journal held before its store went back to an older state.
    pub(crate) told: JournalView,
    /// The history of the server it has met: how often the server was restored before.
    pub(crate) met: u64,
    /// The one its store is being told of.
    pub(crate) meets: u64,
    /// It read everything again at least once.
    pub(crate) resynced: bool,
    /// The head when its first page was read, as soon as that is stored: deletions up to there it is not told.
    pub(crate) blind: Option<u64>,
    /// It went back to an older state at least once.
    pub(crate) restored: bool,
    pub(crate) programs: Programs,
}

/// What clients and collections choose from.
pub(crate) const STRATEGIES: [ConflictStrategy; 5] = [
    ConflictStrategy::LastWriteWins,
    ConflictStrategy::ServerWins,
    ConflictStrategy::ClientWins,
    ConflictStrategy::Merge,
    ConflictStrategy::Custom,
];

/// The collections of the workload.
pub(crate) const COLLECTIONS: &[&str] = &["notes", "bank", "side", "late"];

/// What a client's scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Two collections.
    Some,
    /// All there are, by name.
    Named,
    /// Whatever syncs.
    All,
}

pub(crate) enum Stage {
    Down,
    Opening,
    Up(Box<Up>),
}

/// A running client process.
pub(crate) struct Up {
    pub(crate) db: Database,
    pub(crate) replica: Replica,
    scope: Scope,
    resolver: Arc<dyn Resolver>,
    session: Session,
    began: u64,
    timer: u64,
    outbox: watch::Receiver<u64>,
    /// News of the outbox are on their way to the session.
    pub(crate) news_due: bool,
    /// A store request has no answer yet.
    pub(crate) storing: bool,
    /// A sweep, or what else is done now and then, is under way.
    pub(crate) at_chores: bool,
    /// What the server that greeted last said of the time; it counts once the store is attached.
    pub(crate) greeted: Option<Told>,
    pub(crate) told: Option<Told>,
    /// The operation of the application that is under way.
    pub(crate) working: Option<Operation>,
    link: Option<Link>,
    pub(crate) running: bool,
    pub(crate) snapshot: Snapshot,
    pub(crate) commands: BTreeMap<u64, Command>,
    pub(crate) last_command: u64,
}

/// What a server's clock said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) server_time: Timestamp,
    /// When that was, by a clock that nobody sets.
    pub(crate) at: u64,
    /// The client that it was told.
    pub(crate) client: ClientId,
}

/// The connection of a session.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// Its number in the network.
    connection: u64,
    /// Its number in the session.
    number: u64,
    open: bool,
}

/// A command that was given, with what must be true when it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    pub(crate) pass: Pass,
    pub(crate) head: u64,
}

impl Client {
    pub(crate) fn new(seed: u64, index: usize, shape: ClientShape, swarm: &Swarm) -> Self {
        let mut skew = Skew::default();
        skew.set(shape.skew);
        let toggles = swarm.toggles && index % 2 == 1;
        Self {
            disk: NodeDisk::new(Dice::new(seed, Part::ClientDisk(index)), swarm.client_disk),
            skew,
            life: 0,
            power_fails: false,
            stage: Stage::Down,
            tasks: Tasks::new(),
            dice: Dice::new(seed, Part::Client(index)),
            made: false,
            reach: if shape.narrow {
                Reach::Some
            } else {
                Reach::All
            },
            widened: false,
            late_syncs: !toggles,
            toggled: toggles,
            token_version: 0,
            checkpoint: 0,
            head: 0,
            confirmed: 0,
            resyncing: false,
            first_sync: false,
            shown: BTreeMap::new(),
            operations_left: shape.operations,
            connections: 0,
            ids: BTreeSet::new(),
            id: None,
            backup: None,
            told: JournalView::default(),
            met: 0,
            meets: 0,
            resynced: false,
            blind: None,
            restored: false,
            programs: Programs::new(1),
            shape,
        }
    }

    /// It goes on where the other one is: it has a copy of its store.
    pub(crate) fn continues(&mut self, other: &Self) {
        self.reach = other.reach;
        self.widened = other.widened;
        self.late_syncs = other.late_syncs;
        self.toggled = other.toggled;
        self.token_version = other.token_version;
        self.checkpoint = other.checkpoint;
        self.head = other.head;
        self.confirmed = other.confirmed;
        self.resyncing = other.resyncing;
        self.first_sync = other.first_sync;
        self.shown.clone_from(&other.shown);
        self.ids.clone_from(&other.ids);
        self.id = other.id;
        self.made = other.made;
        self.met = other.met;
        self.resynced = other.resynced;
        self.blind = other.blind;
        self.restored = other.restored;
        self.told = other.told.clone();
    }

    /// Its store is an older one now: what it has read and shown since may be read and shown again.
    pub(crate) fn went_back(&mut self) {
        self.blind = None;
        self.checkpoint = 0;
        self.head = 0;
        self.confirmed = 0;
        self.resyncing = false;
        self.shown.clear();
        self.restored = true;
    }

    pub(crate) fn up(&self) -> Option<&Up> {
        match &self.stage {
            Stage::Up(up) => Some(up),
            _ => None,
        }
    }

    pub(crate) fn up_mut(&mut self) -> Option<&mut Up> {
        match &mut self.stage {
            Stage::Up(up) => Some(up),
            _ => None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.up()
            .is_some_and(|up| up.running && up.snapshot.status == Status::Idle)
    }

    /// Whether nothing but the application would touch the store now.
    pub(crate) fn is_quiet(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = Done> + MaybeSend + 'static) {
        self.tasks.spawn(task);
    }

    fn scope(&self) -> Scope {
        let names: &[&str] = match self.reach {
            Reach::Some => &["notes", "bank"],
            Reach::Named => COLLECTIONS,
            Reach::All => return Scope::All,
        };
        Scope::Only(names.iter().map(|text| name(text)).collect())
    }

    /// Whether it reads a collection.
    pub(crate) fn reads(&self, collection: &CollectionName) -> bool {
        let in_scope = match self.scope() {
            Scope::All => true,
            Scope::Only(names) => names.contains(collection),
        };
        in_scope && (self.late_syncs || collection.as_str() != "late")
    }
}

/// A collection's name.
pub(crate) fn name(name: &str) -> CollectionName {
    CollectionName::new(name).expect("the simulator's names are good")
}
