//! `pocket bench-load`: many light clients at one server, to try a deployment.
//!
//! Each client is a whole one: a database in memory, a session, a connection. All insert at once, one document after the
//! other, each when the one before was acknowledged; everybody receives everything. The documents are deleted at the
//! end, into a collection of this run's own.

use std::sync::Arc;
use std::time::Duration;

use pocket_core::{ChangeItem, Collection, CollectionConfig, Database, Value};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_client::{SyncConfig, SyncEngine};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::{BenchLoadArgs, Global, ServerArgs};
use crate::failure::{Failure, Result};
use crate::output::{Output, grouped, json, object};
use crate::{codes, link};

/// How often a client that hears nothing looks whether everything has arrived.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(global: &Global, args: BenchLoadArgs, out: &mut Output) -> Result {
    own_only(&args.server)?;
    let config = link::config(global, &args.server)?;
    let began = Instant::now();
    let run = pocket_core::random_bytes::<8>(&pocket_core::SystemEnv);
    let collection = format!("bench-load-{:016x}", u64::from_le_bytes(run));
    let mut joining = JoinSet::new();
    for number in 0..args.clients {
        joining.spawn(Client::join(config.clone(), collection.clone(), number));
    }
    let mut clients = Vec::new();
    let mut joined = Vec::new();
    while let Some(client) = joining.join_next().await {
        let (client, took) = client.map_err(broke_off)??;
        clients.push(client);
        joined.push(took);
    }
    out.note(format_args!(
        "{} clients have come in after {:.2} s",
        grouped(clients.len() as u64),
        began.elapsed().as_secs_f64()
    ));
    let started = Instant::now();
    let expected = args.clients * args.documents;
    let together = Arc::new(Barrier::new(clients.len()));
    let mut working = JoinSet::new();
    for client in clients {
        let load = Load {
            origin: started,
            documents: args.documents,
            size: args.size as usize,
            expected,
            together: together.clone(),
        };
        working.spawn(tokio::time::timeout(args.timeout, client.work(load)));
    }
    let (mut acknowledged, mut received, mut written) = (Vec::new(), Vec::new(), Duration::ZERO);
    while let Some(done) = working.join_next().await {
        let done = done.map_err(broke_off)?;
        let done = done.map_err(|_| {
            Failure::new(
                pocket_sync_client::codes::TIMEOUT,
                format!(
                    "not everything had arrived everywhere after {} s; use fewer --clients or --documents, or a \
                     longer --timeout",
                    args.timeout.as_secs_f64()
                ),
            )
        })??;
        acknowledged.extend(done.acknowledged);
        received.extend(done.received);
        written = written.max(done.written);
    }
    let all = started.elapsed();
    let report = [
        ("join", Spread::of(joined)),
        ("acknowledged", Spread::of(acknowledged)),
        ("received", Spread::of(received)),
    ];
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is told in round figures"
    )]
    let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64().max(0.001);
    let deliveries = expected * args.clients.saturating_sub(1);
    if out.is_json() {
        let mut summary = object([
            ("clients", Value::from(args.clients)),
            ("documents", Value::from(expected)),
            ("deliveries", Value::from(deliveries)),
            ("seconds", Value::from(all.as_secs_f64())),
            (
                "acknowledged_per_second",
                Value::from(rate(expected, written)),
            ),
            ("delivered_per_second", Value::from(rate(deliveries, all))),
        ]);
        for (name, spread) in &report {
            summary.insert(format!("{name}_ms"), spread.map());
        }
        return out.line(json(&summary));
    }
    out.line(format_args!(
        "{} documents from {} clients: {:.0} a second acknowledged, {:.0} a second delivered, {:.2} s in all",
        grouped(expected),
        grouped(args.clients),
        rate(expected, written),
        rate(deliveries, all),
        all.as_secs_f64()
    ))?;
    let what = ["come in", "acknowledged", "at the others"];
    for (what, (_, spread)) in what.iter().zip(&report) {
        out.line(format_args!(
            "{what:<14} {:>9.1} ms half of them, {:>9.1} ms 99 of 100, {:>9.1} ms the last",
            spread.half, spread.most, spread.last
        ))?;
    }
    Ok(())
}

/// Its clients, their documents and what they do with them are its own.
fn own_only(server: &ServerArgs) -> Result {
    let foreign = [
        ("--collection", !server.collection.is_empty()),
        ("--local-only", !server.local_only.is_empty()),
        ("--direction", server.direction.is_some()),
        ("--strategy", server.strategy.is_some()),
    ];
    match foreign.iter().find(|(_, is_set)| *is_set) {
        Some((option, _)) => Err(Failure::usage(format!(
            "{option} has no meaning for bench-load, whose clients write a collection of their own both ways; leave it out"
        ))),
        None => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is for map_err")]
fn broke_off(error: tokio::task::JoinError) -> Failure {
    Failure::new(codes::IO, format!("a client broke off: {error}"))
}

/// Milliseconds.
struct Spread {
    half: f64,
    most: f64,
    last: f64,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times
                .get(place)
                .map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
        };
        Self {
            half: at(50),
            most: at(99),
            last: at(100),
        }
    }

    fn map(&self) -> Value {
        Value::Map(object([
            ("p50", Value::from(self.half)),
            ("p99", Value::from(self.most)),
            ("max", Value::from(self.last)),
        ]))
    }
}

struct Client {
    number: u64,
    database: Database,
    engine: SyncEngine,
    collection: Collection<Value>,
}

struct Load {
    /// All clients measure time from here.
    origin: Instant,
    documents: u64,
    size: usize,
    expected: u64,
    together: Arc<Barrier>,
}

struct Done {
    acknowledged: Vec<Duration>,
    received: Vec<Duration>,
    /// When the last own document was acknowledged.
    written: Duration,
}

impl Client {
    async fn join(config: SyncConfig, collection: String, number: u64) -> Result<(Self, Duration)> {
        let began = Instant::now();
        let database = Database::builder("bench-load")
            .collection(CollectionConfig::new(&collection).sync(true))
            .open(MemoryStorage::new())
            .await?;
        let engine = SyncEngine::new(&database, config.collections([&collection]));
        engine.start().await?;
        engine.pull().await?;
        let client = Self {
            number,
            collection: database.collection(&collection)?,
            database,
            engine,
        };
        Ok((client, began.elapsed()))
    }

    async fn work(self, load: Load) -> Result<Done> {
        let mut changes = self.database.changes();
        load.together.wait().await;
        let receive = async {
            let mut received = Vec::new();
            loop {
                // What was not told one by one has arrived all the same; it is not measured.
                let Ok(change) = tokio::time::timeout(LOOK, changes.next()).await else {
                    if self.collection.count().await? >= load.expected {
                        break;
                    }
                    continue;
                };
                let Some(change) = change else { break };
                let ChangeItem::Change(event) = change else {
                    continue;
                };
                if !event.is_from_sync {
                    continue;
                }
                let sent = event.document.as_ref().and_then(|document| {
                    let map = document.to_map().ok()?;
                    map.get("sent")?.as_integer()?.as_u64()
                });
                if let Some(sent) = sent {
                    let sent = Duration::from_micros(sent);
                    received.push(load.origin.elapsed().saturating_sub(sent));
                }
                if received.len() as u64 == load.expected - load.documents {
                    break;
                }
            }
            Ok::<_, Failure>(received)
        };
        let write = async {
            let mut acknowledged = Vec::new();
            let padding = "x".repeat(load.size);
            for document in 0..load.documents {
                let began = Instant::now();
                let sent = u64::try_from(load.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
                let document = object([
                    (
                        "_id",
                        Value::from(format!("{:06}-{document:06}", self.number)),
                    ),
                    ("sent", Value::from(sent)),
                    ("padding", Value::from(padding.as_str())),
                ]);
                self.collection.insert(&Value::Map(document)).await?;
                self.engine.push().await?;
                acknowledged.push(began.elapsed());
            }
            Ok::<_, Failure>((acknowledged, load.origin.elapsed()))
        };
        let (received, (acknowledged, written)) = tokio::try_join!(receive, write)?;
        load.together.wait().await;
        // What was only for trying is taken away again.
        let own: Vec<String> = (0..load.documents)
            .map(|document| format!("{:06}-{document:06}", self.number))
            .collect();
        self.collection
            .delete_many(own.iter().map(String::as_str))
            .await?;
        self.engine.push().await?;
        self.engine.destroy().await;
        Ok(Done {
            acknowledged,
            received,
            written,
        })
    }
}
