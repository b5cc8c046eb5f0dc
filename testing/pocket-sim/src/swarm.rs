//! The shape of one history: how many take part, what they do, and how likely each fault is.
//!
//! Swarm testing (Groce et al. 2012): every probability is drawn anew for each history, and often it is nought, since
//! faults that never stop hide what only happens after a long quiet stretch.

use pocket_storage::Durability;

use crate::client::STRATEGIES;
use crate::dice::{Dice, Part};
use crate::disk::Lateness;
use crate::expiry::Lives;
use crate::family::{Family, Seed};
use crate::rights::Rights;

/// One fault of the world, drawn whenever the fault clock strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    ClientKill,
    ClientPower,
    ClientCrashInCall,
    ClientIoError,
    ClientFull,
    ClientClock,
    ServerKill,
    ServerPower,
    ServerCrashInCall,
    ServerIoError,
    ServerFull,
    ServerClock,
    ServerShutdown,
    PartitionIn,
    PartitionOut,
    PartitionBoth,
    Cut,
    TokenExpiry,
    Stop,
    ClientCopy,
    ClientBackup,
    ClientRestore,
    ServerBackup,
    ServerRestore,
    Forget,
    Rights,
    Upgrade,
    OldProgram,
    ReadAgain,
}

/// How many of the faults every history draws; the others belong to families and profiles.
const DRAWN: usize = 26;

const FAULTS: &[Fault] = &[
    Fault::ClientKill,
    Fault::ClientPower,
    Fault::ClientCrashInCall,
    Fault::ClientIoError,
    Fault::ClientFull,
    Fault::ClientClock,
    Fault::ServerKill,
    Fault::ServerPower,
    Fault::ServerCrashInCall,
    Fault::ServerIoError,
    Fault::ServerFull,
    Fault::ServerClock,
    Fault::ServerShutdown,
    Fault::PartitionIn,
    Fault::PartitionOut,
    Fault::PartitionBoth,
    Fault::Cut,
    Fault::TokenExpiry,
    Fault::Stop,
    Fault::ClientCopy,
    Fault::ClientBackup,
    Fault::ClientRestore,
    Fault::ServerBackup,
    Fault::ServerRestore,
    Fault::Forget,
    Fault::Rights,
    Fault::Upgrade,
    Fault::OldProgram,
    Fault::ReadAgain,
];

/// What a run is to show more of than chance alone would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Profile {
    #[default]
    Any,
    Copies,
    Restores,
    Forks,
    Forgets,
    Rights,
    ChangedRights,
    Relaxed,
    Lossy,
    SlowReading,
    Erases,
    ReadsAgain,
    LostReading,
    Unheard,
}

/// Loss on single frames: what HTTP or a broken proxy does, and a WebSocket never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    pub(crate) drop: f64,
    pub(crate) double: f64,
    pub(crate) reorder: f64,
}

/// How one client is set up.
#[derive(Clone, Debug)]
pub(crate) struct ClientShape {
    pub(crate) user: usize,
    pub(crate) namespace: usize,
    pub(crate) durability: Durability,
    pub(crate) batch: usize,
    pub(crate) skew: i64,
    /// Milliseconds from the beginning until it is there for the first time.
    pub(crate) begins: u64,
    /// Whether it reads only some collections at first.
    pub(crate) narrow: bool,
    /// It asks for what there is, as over HTTP.
    pub(crate) polls: bool,
    pub(crate) operations: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    pub(crate) clients: Vec<ClientShape>,
    /// Milliseconds of chaos.
    pub(crate) chaos: u64,
    pub(crate) heartbeat: u64,
    pub(crate) latency: u64,
    pub(crate) late_frames: f64,
    pub(crate) cut_frames: f64,
    pub(crate) half_open: f64,
    pub(crate) refuse: f64,
    pub(crate) loss: Loss,
    pub(crate) fault_every: u64,
    weights: Vec<u32>,
    pub(crate) longest_outage: u64,
    pub(crate) client_disk: Lateness,
    pub(crate) server_disk: Lateness,
    pub(crate) late_answers: f64,
    pub(crate) late_doorbells: f64,
    pub(crate) auth_unavailable: f64,
    /// Documents of each ordinary collection: few are hot.
    pub(crate) documents: u64,
    pub(crate) accounts: u64,
    pub(crate) page_records: usize,
    pub(crate) tail_bytes: usize,
    pub(crate) cached_clients: usize,
    pub(crate) pushes: usize,
    pub(crate) commit_changes: usize,
    pub(crate) document_bytes: usize,
    pub(crate) poison: f64,
    /// How many writes make a document that ends each connection it is sent on.
    pub(crate) killers: f64,
    pub(crate) erases: u32,
    pub(crate) toggles: bool,
    pub(crate) late_joiner: bool,
    pub(crate) side_strategy: usize,
    pub(crate) general_strategy: usize,
    /// What each user may do at first, where there are rules.
    pub(crate) rights: Option<Vec<Rights>>,
    /// Whether the server may forget clients.
    pub(crate) expires: bool,
    pub(crate) family: Family,
    /// How long documents live, where they do so for a limited time.
    pub(crate) lives: Option<Lives>,
}

impl Swarm {
    pub(crate) fn draw(seed: Seed, most_clients: usize, profile: Profile) -> Self {
        let mut dice = Dice::new(seed.number, Part::Swarm);
        let dice = &mut dice;
        let count = dice.between(1, most_clients.max(1) as u64) as usize;
        let count = count.max(2.min(most_clients));
        let namespaces = if dice.chance(0.2) { 2 } else { 1 };
        let users = dice.between(1, 3) as usize;
        let chaos = dice.between(5_000, 40_000);
        let narrow = dice.chance(0.3);
        let relaxed = dice.chance(0.4);
        let polls = dice.chance(0.3);
        let operations = dice.between(3, 30);
        let clients = (0..count)
            .map(|index| ClientShape {
                user: dice.index(users),
                namespace: if index < 2 { 0 } else { dice.index(namespaces) },
                durability: if relaxed {
                    dice.pick(&[
                        Durability::Relaxed,
                        Durability::ProcessCrash,
                        Durability::PowerLoss,
                    ])
                } else {
                    Durability::PowerLoss
                },
                batch: dice.pick(&[1, 2, 5, 20, 100]),
                skew: skew(dice),
                begins: if dice.chance(0.7) {
                    0
                } else {
                    dice.below(chaos)
                },
                narrow: narrow && dice.chance(0.5),
                polls: polls && dice.chance(0.5),
                operations: dice.between(1, operations),
            })
            .collect();
        let lossy = dice.chance(0.25);
        let mut weights: Vec<u32> = FAULTS[..DRAWN]
            .iter()
            .map(|_| u32::from(dice.chance(0.45)) * dice.between(1, 10) as u32)
            .collect();
        weights.resize(FAULTS.len(), 0);
        let rights = dice
            .chance(0.25)
            .then(|| (0..users).map(|_| Rights::draw(dice)).collect());
        let mut swarm = Self {
            clients,
            chaos,
            heartbeat: dice.pick(&[1_000, 2_000, 5_000]),
            latency: dice.pick(&[1, 5, 20, 100]),
            late_frames: some(dice, 0.3, 0.03),
            cut_frames: some(dice, 0.4, 0.03),
            half_open: some(dice, 0.5, 0.5),
            refuse: some(dice, 0.4, 0.4),
            loss: if lossy {
                Loss {
                    drop: some(dice, 0.7, 0.15),
                    double: some(dice, 0.7, 0.2),
                    reorder: some(dice, 0.7, 0.3),
                }
            } else {
                Loss::default()
            },
            fault_every: dice.pick(&[0, 500, 1_000, 2_000, 4_000, 10_000]),
            weights,
            longest_outage: dice.pick(&[500, 3_000, 15_000]),
            client_disk: lateness(dice),
            server_disk: lateness(dice),
            late_answers: some(dice, 0.4, 0.3),
            late_doorbells: some(dice, 0.3, 0.5),
            auth_unavailable: some(dice, 0.2, 0.3),
            documents: dice.pick(&[1, 2, 3, 6, 12]),
            accounts: dice.pick(&[0, 2, 3, 5]),
            page_records: dice.pick(&[1, 2, 5, 1_000, 1_000]),
            tail_bytes: dice.pick(&[0, 1_000, 1 << 20, 1 << 20]),
            cached_clients: dice.pick(&[1, 2, 100]),
            pushes: dice.pick(&[1, 2, 8]),
            commit_changes: dice.pick(&[1, 5, 2_000]),
            document_bytes: 2_000,
            poison: some(dice, 0.3, 0.1),
            erases: dice.pick(&[0, 0, 1, 4]),
            toggles: dice.chance(0.3),
            late_joiner: dice.chance(0.3),
            side_strategy: dice.index(STRATEGIES.len()),
            general_strategy: dice.index(STRATEGIES.len()),
            killers: some(dice, 0.2, 0.05),
            rights,
            expires: dice.chance(0.5),
            family: seed.family,
            lives: None,
        };
        if lossy {
            // Streams lose nothing.
            swarm
                .clients
                .iter_mut()
                .for_each(|client| client.polls = true);
        }
        swarm.choose_rare_faults(dice);
        swarm.lean(profile, dice);
        swarm.join_family(&mut Dice::new(seed.number, Part::Family));
        swarm
    }

    /// What leaves less promised afterwards happens in a part of the histories only.
    fn choose_rare_faults(&mut self, dice: &mut Dice) {
        let copies = dice.chance(0.08);
        let restores = dice.chance(0.08);
        let forks = dice.chance(0.12);
        let forgets = dice.chance(0.2);
        let changes = self.rights.is_some() && dice.chance(0.5);
        // A document that was given away leaves the client that wrote it, known by its id; what becomes of it on a
        // device that took another id meanwhile is not settled.
        let keeps_ids = self.rights.is_some();
        let (copies, restores, forks) = (
            copies && !keeps_ids,
            restores && !keeps_ids,
            forks && !keeps_ids,
        );
        self.expires &= !keeps_ids;
        for (faults, happen) in [
            (&[Fault::ClientCopy][..], copies),
            (&[Fault::ClientBackup, Fault::ClientRestore], restores),
            (&[Fault::ServerBackup, Fault::ServerRestore], forks),
            (&[Fault::Forget], forgets),
            (&[Fault::Rights], changes),
        ] {
            for fault in faults {
                let weight = if happen { 4 + dice.below(12) as u32 } else { 0 };
                self.weigh(*fault, weight);
            }
        }
        if self.rights.is_some() {
            // Nobody can tell for how long a right holds on that cannot be looked at.
            self.auth_unavailable = 0.0;
        }
        if forks {
            // What a loss of power takes away again may have been the last copy of what the server lost.
            for client in &mut self.clients {
                client.durability = Durability::PowerLoss;
            }
        }
    }

    /// What the family adds, and what it leaves out: faults after which less is promised would hide what it is for.
    fn join_family(&mut self, dice: &mut Dice) {
        let rare = [
            Fault::ClientCopy,
            Fault::ClientBackup,
            Fault::ClientRestore,
            Fault::ServerBackup,
            Fault::ServerRestore,
            Fault::Rights,
        ];
        match self.family {
            Family::Plain => return,
            Family::Rules => {
                self.lean(Profile::Rights, dice);
                let copies = dice.chance(0.5);
                let restores = dice.chance(0.5);
                let forgets = dice.chance(0.4) || !(copies || restores);
                self.expires = forgets;
                for (faults, happen) in [
                    (&[Fault::ClientCopy][..], copies),
                    (&[Fault::ClientBackup, Fault::ClientRestore], restores),
                    (&[Fault::Forget], forgets),
                    // What a restored server knows of who had read what is not settled.
                    (&[Fault::ServerBackup, Fault::ServerRestore], false),
                ] {
                    for fault in faults {
                        let weight = if happen { 4 + dice.below(12) as u32 } else { 0 };
                        self.weigh(*fault, weight);
                    }
                }
                return;
            }
            Family::Expiry => self.lives = Some(Lives::draw(dice)),
            Family::Schemas => {
                self.weigh(Fault::Upgrade, 4 + dice.below(12) as u32);
                let tries = u32::from(dice.chance(0.5)) * 4;
                self.weigh(Fault::OldProgram, tries);
                // A migration is stored as durably as can be; so what a crash takes away is known without a look.
                for client in &mut self.clients {
                    client.durability = Durability::PowerLoss;
                }
            }
        }
        self.rights = None;
        self.expires = false;
        for fault in rare {
            self.weigh(fault, 0);
        }
    }

    fn weigh(&mut self, fault: Fault, weight: u32) {
        let place = FAULTS.iter().position(|other| *other == fault);
        self.weights[place.expect("each fault is in the list")] = weight;
        if weight > 0 && self.fault_every == 0 {
            self.fault_every = 1_000;
        }
    }

    /// Makes some faults likelier than chance alone would.
    fn lean(&mut self, profile: Profile, dice: &mut Dice) {
        let often = 12;
        match profile {
            Profile::Any => {}
            Profile::Copies => self.weigh(Fault::ClientCopy, often),
            Profile::Restores => {
                self.weigh(Fault::ClientBackup, often);
                self.weigh(Fault::ClientRestore, often);
            }
            Profile::Forks => {
                self.weigh(Fault::ServerBackup, often);
                self.weigh(Fault::ServerRestore, often);
                for client in &mut self.clients {
                    client.durability = Durability::PowerLoss;
                }
            }
            Profile::Forgets => self.weigh(Fault::Forget, often),
            Profile::Rights => {
                if self.rights.is_none() {
                    let users = self.clients.iter().map(|client| client.user).max();
                    let users = 0..=users.unwrap_or(0);
                    self.rights = Some(users.map(|_| Rights::draw(dice)).collect());
                    self.auth_unavailable = 0.0;
                }
            }
            Profile::ChangedRights => {
                self.lean(Profile::Rights, dice);
                self.weigh(Fault::Rights, often);
            }
            Profile::Relaxed => {
                for client in &mut self.clients {
                    client.durability = Durability::Relaxed;
                }
                self.weigh(Fault::ClientPower, often);
                self.weigh(Fault::ClientCrashInCall, often);
            }
            Profile::Lossy => {
                self.loss = Loss {
                    drop: 0.05,
                    double: 0.2,
                    reorder: 0.3,
                };
                self.page_records = 1;
                self.clients
                    .iter_mut()
                    .for_each(|client| client.polls = true);
            }
            Profile::SlowReading => {
                self.page_records = 1;
                self.documents = self.documents.max(3);
                self.latency = self.latency.max(20);
                self.late_joiner = false;
                let chaos = self.chaos;
                for client in &mut self.clients[1..] {
                    client.begins = dice.below(chaos);
                    client.batch = 1;
                }
            }
            Profile::Erases => {
                self.erases = 6;
                self.general_strategy = 4;
                self.documents = 1;
                self.late_answers = 0.3;
            }
            Profile::ReadsAgain => {
                self.page_records = 1;
                self.weigh(Fault::ReadAgain, 4 * often);
            }
            Profile::LostReading => {
                self.lean(Profile::Lossy, dice);
                self.weigh(Fault::ReadAgain, 4 * often);
            }
            // Its writer takes another id before he hears of it, and nobody writes again.
            Profile::Unheard => {
                self.lean(Profile::Restores, dice);
                self.weigh(Fault::ServerIoError, 2 * often);
                for client in &mut self.clients {
                    client.operations = client.operations.min(4);
                }
            }
        }
    }

    /// The fault to inject now, if this history has any.
    pub(crate) fn fault(&self, dice: &mut Dice) -> Option<Fault> {
        let any = self.weights.iter().any(|weight| *weight > 0);
        any.then(|| FAULTS[dice.weighted(&self.weights)])
    }
}

/// Nought in most histories, up to `most` in a `share` of them.
fn some(dice: &mut Dice, share: f64, most: f64) -> f64 {
    let strength = f64::from(dice.between(1, 100) as u32) / 100.0;
    if dice.chance(share) {
        most * strength
    } else {
        0.0
    }
}

fn lateness(dice: &mut Dice) -> Lateness {
    Lateness {
        commits: some(dice, 0.4, 0.5),
        reads: some(dice, 0.2, 0.1),
        most: dice.pick(&[20, 500, 5_000]),
    }
}

/// Up to a day wrong in either direction, mostly little.
fn skew(dice: &mut Dice) -> i64 {
    let size = dice.pick(&[0, 0, 10, 500, 30_000, 90_000, 3_600_000, 86_400_000]);
    let size = i64::try_from(dice.below(size + 1)).unwrap_or(0);
    if dice.chance(0.5) { size } else { -size }
}

/// A jump of a clock.
pub(crate) fn jump(dice: &mut Dice) -> i64 {
    let size = dice.pick(&[100, 5_000, 70_000, 3_600_000, 86_400_000]);
    let size = i64::try_from(dice.between(1, size)).unwrap_or(1);
    if dice.chance(0.5) { size } else { -size }
}
