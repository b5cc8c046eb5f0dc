//! Loss of power, simulated below redb.
//!
//! Each round runs the whole store on a device in memory, cuts the power at a random write or sync, keeps a
//! random part of what was not synced (some writes whole, some torn at 512 bytes, some not at all), opens
//! what is left and compares: every acknowledged durable commit is there, and the store is exactly what it was
//! after some number of commits. Half the cuts come while the store opens and repairs the last one.

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use common::{Device, Fault, Random};
use pocket_storage::{Batch, Direction, Durability, KeyRange, Result, ScanLimit, Storage, Write};
use pocket_storage_redb::RedbStorage;

const COMMITS_PER_LIFE: u64 = 25;
const LIVES: u64 = 4;

#[tokio::test]
async fn a_loss_of_power_loses_nothing_that_was_acknowledged() {
    let rounds = number_from("POCKET_POWER_ROUNDS").unwrap_or(500);
    let first = number_from("POCKET_POWER_SEED").unwrap_or(1);
    let mut totals = Totals::default();
    for seed in first..first + rounds {
        if let Err(difference) = round(seed, &mut totals).await {
            panic!("POCKET_POWER_SEED={seed} POCKET_POWER_ROUNDS=1: {difference}");
        }
    }
    assert!(totals.while_opening > 0 && totals.while_committing > 0);
    let _ = writeln!(
        std::io::stderr(),
        "{rounds} rounds from seed {first}: the power failed {} times while opening and {} times while \
         committing; {} commits acknowledged, none lost; {} others lost, {} others found whole",
        totals.while_opening,
        totals.while_committing,
        totals.acknowledged,
        totals.lost,
        totals.whole,
    );
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[derive(Default)]
struct Totals {
    while_opening: u64,
    while_committing: u64,
    acknowledged: u64,
    lost: u64,
    whole: u64,
}

/// What is known of the store across its lives.
#[derive(Default)]
struct History {
    /// The newest commit that must be there.
    durable: u64,
    /// The newest commit that may be there.
    submitted: u64,
    /// Whether it was ever opened, and therefore whole.
    opened: bool,
}

async fn round(seed: u64, totals: &mut Totals) -> Result<(), String> {
    let mut random = Random(seed);
    let mut device = Device::default();
    let mut history = History::default();
    for _ in 0..LIVES {
        // A life takes about 5 calls to open and 5 a commit.
        let cut = random.below(5 + 5 * COMMITS_PER_LIFE);
        // Sometimes in the middle of opening, of which the first life has more.
        let cut = if random.below(2) == 0 {
            random.below(12)
        } else {
            cut
        };
        device.set_fault(Some(Fault::PowerLossAt(device.calls().all() + cut)));
        life(&device, &mut random, &mut history, seed, totals).await?;
        device = Device::holding(device.after_power_loss(&mut random));
    }
    let Ok(store) = open(&device, seed) else {
        return untouched(&device, &history);
    };
    check(&store, &mut history, totals).await?;
    store.close().await.map_err(|error| error.to_string())
}

/// Every second seed opens without the integrity check, so that redb's own recovery is on trial.
fn open(device: &Device, seed: u64) -> Result<RedbStorage> {
    let device = device.clone();
    let builder = RedbStorage::builder().cache_bytes(1024 * 1024);
    let builder = if seed.is_multiple_of(2) {
        builder.check_up_to(0)
    } else {
        builder
    };
    builder.open_on(move || device.connect())
}

/// A store that cannot be opened although the power is on: allowed only if it was never made whole.
///
/// A store in a file has no such state: it is made under another name.
fn untouched(device: &Device, history: &History) -> Result<(), String> {
    let error = open(device, 0).err();
    if !history.opened {
        return Ok(());
    }
    Err(format!("does not open: {error:?}"))
}

async fn life(
    device: &Device,
    random: &mut Random,
    history: &mut History,
    seed: u64,
    totals: &mut Totals,
) -> Result<(), String> {
    let store = match open(device, seed) {
        Ok(store) => store,
        Err(_) if device.faulted() > 0 => {
            totals.while_opening += 1;
            return Ok(());
        }
        Err(_) => {
            untouched(device, history)?;
            // It was never whole: begin anew, as one does with a file that was never renamed.
            device
                .connect()
                .and_then(|new| redb::StorageBackend::set_len(&new, 0))
                .ok();
            return Ok(());
        }
    };
    match check(&store, history, totals).await {
        // Reading makes no changes, but the cache may have to read what the cut took away.
        Err(_) if device.faulted() > 0 => {
            totals.while_opening += 1;
            return Ok(());
        }
        checked => checked?,
    }
    for _ in 0..COMMITS_PER_LIFE {
        let number = history.submitted + 1;
        let durability = match random.below(4) {
            0 => Durability::Relaxed,
            1 => Durability::ProcessCrash,
            _ => Durability::PowerLoss,
        };
        // An empty batch makes what came before it durable.
        let sync = random.below(8) == 0;
        let (batch, durability) = if sync {
            (Batch::new(), Durability::PowerLoss)
        } else {
            history.submitted = number;
            (batch(number), durability)
        };
        match store.commit(batch, durability).await {
            Ok(()) if durability >= Durability::ProcessCrash => {
                totals.acknowledged += history.submitted - history.durable;
                history.durable = history.submitted;
            }
            Ok(()) => {}
            Err(_) if device.faulted() > 0 => break,
            Err(error) => return Err(format!("commit {number} answered {error}")),
        }
    }
    if device.faulted() > 0 {
        totals.while_committing += 1;
    }
    // Without a cut so far the power fails here, between the calls.
    device.set_fault(Some(Fault::PowerLossAt(0)));
    drop(store);
    Ok(())
}

async fn check(
    store: &RedbStorage,
    history: &mut History,
    totals: &mut Totals,
) -> Result<(), String> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    let found = store
        .scan(KeyRange::all(), limit, Direction::Forward)
        .await
        .map_err(|error| error.to_string())?;
    let found: BTreeMap<Vec<u8>, Bytes> = found.into_iter().collect();
    let count = match found.get(&b"count"[..]) {
        None => 0,
        Some(count) => u64::from_be_bytes((**count).try_into().map_err(|_| "no number")?),
    };
    let History {
        durable, submitted, ..
    } = *history;
    if !(durable..=submitted).contains(&count) {
        return Err(format!(
            "{count} commits are there of {submitted}, {durable} of them acknowledged"
        ));
    }
    if found != model(count) {
        return Err(format!("the store is not what {count} commits make"));
    }
    totals.whole += count - durable;
    totals.lost += submitted - count;
    // What was lost never comes back, and what was seen once is never lost: opening made it durable.
    *history = History {
        durable: count,
        submitted: count,
        opened: true,
    };
    Ok(())
}

fn batch(number: u64) -> Batch {
    let mut random = Random(number);
    let mut batch = Batch::new();
    batch.put("count", number.to_be_bytes().to_vec());
    batch.put(format!("log {number}"), vec![0; random.below(50) as usize]);
    for _ in 0..random.below(8) {
        let key = format!("document {}", random.below(40));
        let byte = random.next().to_le_bytes()[0];
        match random.below(20) {
            0..4 => batch.delete(key),
            4 => batch.put(key, vec![byte; random.below(20_000) as usize]),
            _ => batch.put(key, vec![byte; random.below(400) as usize]),
        };
    }
    batch
}

fn model(count: u64) -> BTreeMap<Vec<u8>, Bytes> {
    let mut model = BTreeMap::new();
    for number in 1..=count {
        for write in batch(number).writes() {
            match write {
                Write::Put { key, value } => model.insert(key.clone(), value.clone()),
                Write::Delete { key } => model.remove(key),
            };
        }
    }
    model
}
