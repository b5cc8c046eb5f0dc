//! What applications do: single writes, several at once, transactions, transfers between accounts, and reads.

mod ended;
mod perform;

use pocket_core::storage::MaybeSend;
use pocket_core::{CollectionName, Database, DocumentId, Error, Value};

use crate::audit::{Audit, Before, DocKey, State, Write, WriteId, WriteKind};
use crate::client::{Done, name};
use crate::counts::Kind;
use crate::expiry::Ends;
use crate::rights::{TEAMS, Team};
use crate::trace::Node;
use crate::view;
use crate::world::{Happening, World};

use self::perform::perform;

/// An operation under way, with the writes it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    client: usize,
    writes: Vec<WriteId>,
    /// A switch of sync: what it becomes.
    switch: Option<bool>,
    what: String,
}

impl Operation {
    /// Whether it writes a document.
    pub(crate) fn concerns(&self, key: &DocKey, audit: &Audit) -> bool {
        let mut written = self.writes.iter().filter_map(|id| audit.writes.get(id));
        written.any(|write| write.document == *key)
    }
}

/// A write as it is planned.
#[derive(Clone, Debug)]
struct Plan {
    key: DocKey,
    kind: WriteKind,
    /// Bytes of padding.
    padding: usize,
    /// What it says of who may read the document, if it says anything: one team, or everybody.
    team: Option<Readers>,
    /// What it says of the end of the document's time.
    ends: Ends,
    /// The version of the program that makes it.
    program: u32,
    before: Before,
}

/// Who may read a document, as a write says it.
#[derive(Clone, Copy, Debug)]
enum Readers {
    Everybody,
    Team(Team),
}

/// How the writes of an operation are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// By one call.
    Call,
    /// By a transaction that reads first, so that what it found is what it replaced.
    Transaction,
}

/// What no line can carry.
pub(crate) const KILLER: &str = "K1LLER";

/// The padding that stands for [`KILLER`]; no other write has as much.
const KILLER_PADDING: usize = 100;

const KINDS: [WriteKind; 5] = [
    WriteKind::Insert,
    WriteKind::Update,
    WriteKind::Upsert,
    WriteKind::Delete,
    WriteKind::Erase,
];

impl World {
    /// Lets a client's application do its next operation, and plans the one after.
    pub(crate) fn work(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.operations_left == 0 || self.calm {
            return;
        }
        client.operations_left -= 1;
        let pause = 2 * self.swarm.chaos / client.shape.operations.max(1);
        let pause = if self.work_dice.chance(0.3) {
            self.work_dice.below(20)
        } else {
            self.work_dice.below(pause + 1)
        };
        self.schedule(pause, Happening::Work { client: index });
        self.operate(index);
    }

    /// One operation, now, if the client is there and not at work.
    pub(crate) fn operate(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.up().is_none_or(|up| up.working.is_some()) {
            return;
        }
        let accounts = self.swarm.accounts;
        match self.work_dice.weighted(&[
            50,
            5,
            10,
            if accounts > 1 { 20 } else { 0 },
            4,
            if client.toggled { 4 } else { 0 },
            // What is hidden is not cleared, and the book could not tell.
            u32::from(self.swarm.lives.is_none()),
            5,
        ]) {
            0 => self.write(index, 1, false),
            1 => {
                let count = self.work_dice.between(2, 4);
                self.counts.add(Kind::ManyWritten);
                self.write(index, count, false);
            }
            2 => {
                let count = self.work_dice.between(1, 3);
                self.write(index, count, true);
            }
            3 => self.transfer(index),
            4 => self.read(index),
            5 => self.switch(index),
            6 => self.clear(index),
            _ => self.command(index),
        }
    }

    fn document(&mut self, index: usize, collection: &CollectionName) -> DocKey {
        let number = self.work_dice.below(self.swarm.documents);
        let id = DocumentId::new(&format!("d{number}")).expect("a good id");
        DocKey {
            namespace: self.clients[index].shape.namespace,
            collection: collection.clone(),
            id,
        }
    }

    /// Writes one document, or several at once, or several in a transaction.
    fn write(&mut self, index: usize, count: u64, transaction: bool) {
        let client = &self.clients[index];
        let local_only = !client.late_syncs;
        let mut names = vec!["notes", "notes", "side", "late"];
        names.retain(|text| {
            client.reads(&name(text)) || (*text == "late" && local_only && !transaction)
        });
        let collection = name(self.work_dice.pick(&names));
        let mut keys: Vec<DocKey> = Vec::new();
        for _ in 0..count {
            let collection = if transaction {
                name(self.work_dice.pick(&names))
            } else {
                collection.clone()
            };
            keys.push(self.document(index, &collection));
        }
        keys.sort();
        keys.dedup();
        let form = if transaction || !self.clients[index].is_quiet() {
            Form::Transaction
        } else {
            Form::Call
        };
        let Ok(view) = view::look(self.clients[index].disk.look(), &keys) else {
            return;
        };
        let erases = self.swarm.erases;
        let kind = KINDS[self.work_dice.weighted(&[8, 12, 6, 5, erases])];
        // A call for several documents does the same with all of them.
        let mixed = form == Form::Transaction;
        let mut plans = Vec::new();
        for key in keys {
            let seen = view.documents.get(&key);
            let live = seen.is_some_and(|seen| seen.live);
            let mut kind = if mixed {
                KINDS[self.work_dice.weighted(&[8, 12, 6, 5, erases])]
            } else {
                kind
            };
            // Mostly what can succeed, now and then what is refused.
            if self.work_dice.chance(0.9) {
                kind = match kind {
                    WriteKind::Insert if live => WriteKind::Update,
                    WriteKind::Update | WriteKind::Delete if !live => WriteKind::Insert,
                    WriteKind::Erase if seen.is_none() => WriteKind::Insert,
                    other => other,
                };
            }
            let poison = kind.puts() && self.work_dice.chance(self.swarm.poison);
            let padding = if poison {
                self.counts.add(Kind::Poisoned);
                self.swarm.document_bytes + 100
            } else if kind.puts()
                && self.swarm.killers > 0.0
                // To find one takes several connections, too long when all are to be at rest soon.
                && !self.calm
                && self.work_dice.chance(self.swarm.killers)
            {
                self.counts.add(Kind::Killer);
                KILLER_PADDING
            } else {
                self.work_dice.index(60)
            };
            let before = match seen {
                Some(seen) if seen.live => Before::Live(seen.ids.clone()),
                Some(seen) => Before::NotLive(self.audit.tombstone(&key, seen.rev)),
                None => Before::NotLive(None),
            };
            let team = self.team(kind);
            let whole = kind != WriteKind::Update;
            let ends = self.ends_of(&key.collection, whole);
            plans.push(Plan {
                key,
                kind,
                padding,
                team,
                ends,
                program: self.clients[index].programs.runs,
                before,
            });
        }
        if form == Form::Call {
            let kind = plans[0].kind;
            // One call, one kind; and some calls take one document.
            plans.retain(|plan| plan.kind == kind);
            if matches!(kind, WriteKind::Update | WriteKind::Erase) {
                plans.truncate(1);
            }
        }
        if transaction {
            self.counts.add(Kind::Transacted);
        }
        self.begin(index, plans, form);
    }

    /// Where there are rules, many documents name a team, and some writes give them to another one.
    fn team(&mut self, kind: WriteKind) -> Option<Readers> {
        let says = match kind {
            WriteKind::Update => 0.25,
            _ => 0.8,
        };
        if self.audit.rights.is_none() || !self.work_dice.chance(says) {
            return None;
        }
        let team = self.work_dice.below(TEAMS + 1);
        let team = Team::try_from(team).ok().filter(|_| team < TEAMS);
        Some(team.map_or(Readers::Everybody, Readers::Team))
    }

    fn transfer(&mut self, index: usize) {
        if !self.clients[index].reads(&name("bank")) {
            return;
        }
        let from = self.work_dice.below(self.swarm.accounts);
        let to = (from + 1 + self.work_dice.below(self.swarm.accounts - 1)) % self.swarm.accounts;
        let namespace = self.clients[index].shape.namespace;
        let key = |number: u64| DocKey {
            namespace,
            collection: name("bank"),
            id: DocumentId::new(&format!("a{number}")).expect("a good id"),
        };
        let keys = [key(from), key(to)];
        let Ok(view) = view::look(self.clients[index].disk.look(), &keys) else {
            return;
        };
        let mut plans = Vec::new();
        for key in keys {
            let Some(seen) = view.documents.get(&key).filter(|seen| seen.live) else {
                return;
            };
            let before = Before::Live(seen.ids.clone());
            plans.push(Plan {
                key,
                kind: WriteKind::Update,
                padding: 0,
                team: None,
                ends: Ends::AsBefore,
                program: self.clients[index].programs.runs,
                before,
            });
        }
        self.counts.add(Kind::Transferred);
        self.begin(index, plans, Form::Transaction);
    }

    /// The first client of a namespace makes the accounts, all at once.
    pub(crate) fn found_bank(&mut self, index: usize) {
        let namespace = self.clients[index].shape.namespace;
        let plans: Vec<Plan> = (0..self.swarm.accounts)
            .map(|number| Plan {
                key: DocKey {
                    namespace,
                    collection: name("bank"),
                    id: DocumentId::new(&format!("a{number}")).expect("a good id"),
                },
                kind: WriteKind::Insert,
                padding: 0,
                team: None,
                ends: Ends::AsBefore,
                program: self.clients[index].programs.runs,
                before: Before::NotLive(None),
            })
            .collect();
        if !plans.is_empty() {
            self.begin(index, plans, Form::Transaction);
        }
    }

    fn begin(&mut self, index: usize, plans: Vec<Plan>, form: Form) {
        let durability = self.clients[index].shape.durability;
        let first = self.audit.next_id();
        let count = plans.len() as u64;
        let is_transfer = plans.len() == 2
            && plans[0].key.collection.as_str() == "bank"
            && plans[0].kind == WriteKind::Update;
        let mut writes = Vec::new();
        for plan in &plans {
            let id = self.audit.plan(Write {
                client: index,
                document: plan.key.clone(),
                kind: plan.kind,
                before: plan.before.clone(),
                state: State::Planned,
                durability,
                sequence: 0,
                ends: plan.ends,
                mate: is_transfer.then(|| 2 * first + count - 1 - self.audit.next_id()),
            });
            writes.push(id);
            self.counts.add(match plan.kind {
                WriteKind::Insert => Kind::Inserted,
                WriteKind::Update => Kind::Updated,
                WriteKind::Upsert => Kind::Upserted,
                WriteKind::Delete => Kind::Deleted,
                WriteKind::Erase => Kind::Erased,
            });
        }
        let what = plans
            .iter()
            .zip(&writes)
            .map(|(plan, id)| format!("{:?} {} as {id}", plan.kind, plan.key))
            .collect::<Vec<_>>()
            .join(", ");
        let operation = Operation {
            client: index,
            writes: writes.clone(),
            switch: None,
            what: format!("{form:?} {what}"),
        };
        let work: Vec<(Plan, WriteId)> = plans.into_iter().zip(writes).collect();
        self.run_operation(index, operation, move |db| async move {
            perform(&db, &work, form).await
        });
    }

    fn run_operation<F>(
        &mut self,
        index: usize,
        operation: Operation,
        work: impl FnOnce(Database) -> F,
    ) where
        F: Future<Output = Result<(), Error>> + MaybeSend + 'static,
    {
        self.note(Node::Client(index), || format!("begins {}", operation.what));
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        up.working = Some(operation.clone());
        let work = work(up.db.clone());
        self.clients[index].spawn(async move { Done::Worked(operation, work.await) });
        self.run_client(index);
    }

    fn clear(&mut self, index: usize) {
        let collection = name("side");
        if !self.clients[index].is_quiet() || !self.clients[index].reads(&collection) {
            return;
        }
        let namespace = self.clients[index].shape.namespace;
        let keys: Vec<DocKey> = self
            .audit
            .documents
            .iter()
            .filter(|key| key.namespace == namespace && key.collection == collection)
            .cloned()
            .collect();
        let Ok(view) = view::look(self.clients[index].disk.look(), &keys) else {
            return;
        };
        let durability = self.clients[index].shape.durability;
        let mut writes = Vec::new();
        for (key, seen) in view.documents.into_iter().filter(|(_, seen)| seen.live) {
            writes.push(self.audit.plan(Write {
                client: index,
                document: key,
                kind: WriteKind::Delete,
                before: Before::Live(seen.ids),
                state: State::Planned,
                durability,
                sequence: 0,
                ends: Ends::AsBefore,
                mate: None,
            }));
        }
        self.counts.add(Kind::Cleared);
        let what = format!("clears `side` as {writes:?}");
        let operation = Operation {
            client: index,
            writes,
            switch: None,
            what,
        };
        self.run_operation(index, operation, |db| async move {
            db.collection::<Value>("side")?.clear().await.map(drop)
        });
    }

    fn read(&mut self, index: usize) {
        let collection = name("notes");
        let key = self.document(index, &collection);
        self.counts.add(Kind::ReadBack);
        let operation = Operation {
            client: index,
            writes: Vec::new(),
            switch: None,
            what: format!("reads {key}"),
        };
        self.run_operation(index, operation, |db| async move {
            let collection = db.collection::<Value>("notes")?;
            let one = collection.get(key.id.as_str()).await?;
            let all = collection.get_all().await?;
            let count = collection.count().await?;
            // Both were read at different moments; that they can be read at all is what this is about.
            drop((one, all, count));
            Ok(())
        });
    }

    /// Switches sync off or on for one collection.
    fn switch(&mut self, index: usize) {
        if !self.clients[index].is_quiet() {
            return;
        }
        let on = !self.clients[index].late_syncs;
        self.switch_to(index, on);
    }

    pub(crate) fn switch_to(&mut self, index: usize, on: bool) {
        self.counts.add(if on {
            Kind::SyncSwitchedOn
        } else {
            Kind::SyncSwitchedOff
        });
        let what = format!("switches sync of `late` to {on}");
        let operation = Operation {
            client: index,
            writes: Vec::new(),
            switch: Some(on),
            what,
        };
        // Whatever its call answers, the next process is told the same.
        self.clients[index].late_syncs = on;
        self.run_operation(index, operation, move |db| async move {
            db.create_collection(pocket_core::CollectionConfig::new("late").sync(on))
                .await
        });
    }
}
