//! Kill tests: a child process commits until it is killed, the parent opens the store and compares.
//!
//! The child is the test binary itself, started again for the one test that calls [`run`].

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;

use super::support::{Random, noise, poll_once};
use crate::{
    Batch, BoxFuture, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage, Write,
};

const CHILD: &str = "POCKET_CRASH_CHILD";
const ROUNDS: &str = "POCKET_CRASH_ROUNDS";
const SEED: &str = "POCKET_CRASH_SEED";

/// Commits that wait at the same time, so that groups are killed, too.
const IN_FLIGHT: usize = 8;

/// Opens the store at a path.
pub type Open = fn(&Path) -> Result<Arc<dyn Storage>>;

/// Kills a committing child again and again: 30 rounds, or `POCKET_CRASH_ROUNDS`.
///
/// The store in `directory` is carried from round to round. Call it from a test of its own, whose full name is
/// `test`; a child process runs the same test and never returns from here. What was acknowledged must be there,
/// what was not must be there whole or not at all, and the store must equal the first so many batches exactly.
///
/// # Panics
/// If the store does not open again, or does not hold what it must.
pub fn run(test: &str, directory: &Path, open: Open) {
    if let Some(path) = std::env::var_os(CHILD) {
        commit_until_killed(&PathBuf::from(path), open);
    }
    let rounds = number_from(ROUNDS).unwrap_or(30);
    let seed = number_from(SEED).unwrap_or(1);
    let mut random = Random::new(seed);
    let path = directory.join("store");
    let mut model = Model::default();
    let (mut acknowledged, mut unacknowledged, mut early) = (0, 0, 0);
    for round in 0..rounds {
        let killed = kill_one(test, &path, &mut random);
        let at_least = killed.acknowledged.unwrap_or(model.applied);
        let store = open(&path)
            .unwrap_or_else(|error| panic!("round {round} of seed {seed}: does not open: {error}"));
        let before = model.applied;
        if let Err(difference) = wait_for(model.follow(&*store, at_least)) {
            panic!("round {round} of seed {seed}: {difference}");
        }
        wait_for(store.close()).expect("the store closes");
        acknowledged += at_least.saturating_sub(before);
        unacknowledged += model.applied - at_least.max(before);
        early += u64::from(killed.acknowledged.is_none());
    }
    assert!(rounds < 10 || acknowledged > 0, "no child ever committed");
    // Not through `println!`, which the test harness hides.
    let _ = writeln!(
        io::stderr(),
        "{test}: {rounds} kills ({early} before the first commit), seed {seed}: {acknowledged} commits \
         acknowledged, none lost; {unacknowledged} more found whole"
    );
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

struct Killed {
    /// The newest durable commit that the child told of.
    acknowledged: Option<u64>,
}

fn kill_one(test: &str, path: &Path, random: &mut Random) -> Killed {
    let mut child = Command::new(std::env::current_exe().expect("the path of this binary"))
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child of this binary");
    let lines = lines_of(&mut child);
    let mut acknowledged = None;
    // One in five is killed while it opens or makes the store.
    if random.below(5) == 0 {
        let patience = Duration::from_micros(random.below(30_000) as u64);
        acknowledged = lines.recv_timeout(patience).ok();
    } else {
        for _ in 0..=random.below(120) {
            acknowledged = Some(lines.recv().expect("the child commits until it is killed"));
        }
    }
    child.kill().expect("the child is killed");
    child.wait().expect("the child ends");
    // What it had told before it was killed counts, too.
    acknowledged = lines.iter().last().or(acknowledged);
    Killed { acknowledged }
}

/// The numbers that the child prints, one a line; whatever the harness prints is skipped.
fn lines_of(child: &mut Child) -> Receiver<u64> {
    let (sender, receiver) = mpsc::channel();
    let output = child.stdout.take().expect("its output is piped");
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(io::Result::ok) {
            // A line may be cut by the kill, so it ends with a mark of its own.
            let number = line
                .strip_prefix("acknowledged ")
                .and_then(|line| line.strip_suffix(" ."));
            if let Some(number) = number.and_then(|number| number.parse().ok())
                && sender.send(number).is_err()
            {
                return;
            }
        }
    });
    receiver
}

fn commit_until_killed(path: &Path, open: Open) -> ! {
    let store = open(path).expect("the child opens the store");
    wait_for(async {
        let mut model = Model::default();
        model
            .follow(&*store, 0)
            .await
            .expect("the child finds a whole store");
        let mut number = model.applied;
        let mut waiting: Vec<(u64, Durability, BoxFuture<'_, Result<()>>)> = Vec::new();
        loop {
            while waiting.len() < IN_FLIGHT {
                number += 1;
                let durability = durability_of(number);
                let mut commit = store.commit(batch(number), durability);
                match poll_once(&mut commit).await {
                    None => waiting.push((number, durability, commit)),
                    Some(answer) => acknowledge(number, durability, answer),
                }
            }
            let (number, durability, commit) = waiting.remove(0);
            acknowledge(number, durability, commit.await);
        }
    })
}

fn acknowledge(number: u64, durability: Durability, answer: Result<()>) {
    answer.expect("the child commits");
    if durability >= Durability::ProcessCrash {
        writeln!(io::stdout(), "acknowledged {number} .").expect("the parent reads");
    }
}

fn durability_of(number: u64) -> Durability {
    match number % 4 {
        0 => Durability::Relaxed,
        1 => Durability::ProcessCrash,
        _ => Durability::PowerLoss,
    }
}

/// What the commit with this number writes: a count, a log entry, documents of mixed sizes, deletions.
pub(super) fn batch(number: u64) -> Batch {
    let mut random = Random::new(number);
    let mut batch = Batch::new();
    if number == 1 {
        batch.check_absent("count");
    } else {
        batch.check_equals("count", (number - 1).to_be_bytes().to_vec());
    }
    batch.put("count", number.to_be_bytes().to_vec());
    batch.put(log_key(number), noise(number, random.below(100)));
    batch.delete(log_key(number.saturating_sub(500)));
    for _ in 0..random.below(6) {
        let key = format!("document {}", random.below(300));
        let size = match (number % 97, number % 11) {
            (0, _) => 1_000_000 + random.below(1_000_000),
            (_, 0) => random.below(100_000),
            _ => random.below(500),
        };
        if random.below(5) == 0 {
            batch.delete(key);
        } else {
            batch.put(key, noise(random.next(), size));
        }
    }
    batch
}

fn log_key(number: u64) -> Vec<u8> {
    let mut key = b"log ".to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The store after so many batches.
#[derive(Default)]
pub(super) struct Model {
    pub(super) applied: u64,
    entries: BTreeMap<Vec<u8>, Bytes>,
}

impl Model {
    /// Goes on to where the store is, and compares all of it.
    pub(super) async fn follow(
        &mut self,
        store: &dyn Storage,
        at_least: u64,
    ) -> Result<(), String> {
        let count = store
            .get(b"count")
            .await
            .map_err(|error| error.to_string())?;
        let count = match count {
            None => 0,
            Some(count) => <[u8; 8]>::try_from(&*count)
                .map(u64::from_be_bytes)
                .map_err(|_| "the count is no number".to_owned())?,
        };
        let at_least = at_least.max(self.applied);
        if count < at_least {
            return Err(format!(
                "{at_least} commits were acknowledged, {count} are there"
            ));
        }
        while self.applied < count {
            self.applied += 1;
            for write in batch(self.applied).writes() {
                match write {
                    Write::Put { key, value } => self.entries.insert(key.clone(), value.clone()),
                    Write::Delete { key } => self.entries.remove(key),
                };
            }
        }
        let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let found = store
            .scan(KeyRange::all(), limit, Direction::Forward)
            .await
            .map_err(|error| error.to_string())?;
        self.compare(&found)
    }

    fn compare(&self, found: &[Entry]) -> Result<(), String> {
        let mut expected = self.entries.iter();
        for (key, value) in found {
            match expected.next() {
                Some((expected, _)) if expected != key => {
                    let (expected, key) = (expected.escape_ascii(), key.escape_ascii());
                    return Err(format!("found {key} where {expected} was expected"));
                }
                Some((_, expected)) if expected == value => {}
                _ => return Err(format!("{} has a wrong value", key.escape_ascii())),
            }
        }
        match expected.next() {
            None => Ok(()),
            Some((key, _)) => Err(format!("{} is missing", key.escape_ascii())),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
