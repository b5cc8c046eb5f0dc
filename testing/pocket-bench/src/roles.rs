//! What a process of its own does: it takes orders as lines of JSON and answers each with one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pocket_storage::Storage;
use pocket_storage_memory::MemoryStorage;
use pocket_storage_redb::RedbStorage;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::bare::{self, CACHE_BYTES};
use crate::child::Parent;
use crate::machine::Stopwatch;
use crate::pocket::{self, Device, Server};
use crate::{Outcome, collections, light};

/// Pocket's server.
pub(crate) const SERVER: &str = "server";
/// Pocket's device, which reads everything.
pub(crate) const DEVICE: &str = "device";
/// A WebSocket server that holds connections and does nothing.
pub(crate) const HOLDER: &str = "holder";
/// Bare redb that reads a whole file.
pub(crate) const READER: &str = "reader";
/// Bare redb that writes what another file holds.
pub(crate) const WRITER: &str = "writer";

/// Serve this store, or one in memory; the answer is the URL.
#[derive(Serialize, Deserialize)]
pub(crate) struct Serve {
    pub(crate) store: Option<PathBuf>,
}

/// Open this store; the answer says only that it is open.
#[derive(Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) store: PathBuf,
}

/// Read everything; the answer is the time in seconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReadAll {
    pub(crate) url: String,
    pub(crate) count: usize,
}

/// Copy all entries of a file that is not in use, `at_once` in one durable commit; the answer is the time in seconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Copy {
    pub(crate) from: PathBuf,
    pub(crate) at_once: usize,
}

pub(crate) async fn play(role: &str) -> Outcome {
    let parent = Parent::new();
    match role {
        SERVER => serve(parent).await,
        DEVICE => read_as_device(parent).await,
        HOLDER => hold(parent).await,
        READER => read_bare(parent).await,
        WRITER => write_bare(parent).await,
        collections::ROLE => collections::contend(parent).await,
        other => Err(format!("there is no role `{other}`").into()),
    }
}

/// An order that must come.
async fn order<T: for<'a> Deserialize<'a>>(parent: &mut Parent) -> Outcome<T> {
    Ok(parent.order().await?.ok_or("no order came")?)
}

/// Waits until it is time to end.
async fn until_the_end(parent: &mut Parent) -> Outcome {
    match parent.order::<serde_json::Value>().await? {
        None => Ok(()),
        Some(order) => Err(format!("an order that nobody expected: {order}").into()),
    }
}

async fn serve(mut parent: Parent) -> Outcome {
    let Serve { store } = order(&mut parent).await?;
    let store: Arc<dyn Storage> = match store {
        Some(path) => Arc::new(RedbStorage::open(path)?),
        None => Arc::new(MemoryStorage::new()),
    };
    let server = Server::start(store).await?;
    Parent::answer(&server.url)?;
    until_the_end(&mut parent).await?;
    server.stop().await
}

async fn read_as_device(mut parent: Parent) -> Outcome {
    let Open { store } = order(&mut parent).await?;
    let device = Device::open(Arc::new(RedbStorage::open(store)?)).await?;
    Parent::answer(&true)?;
    let ReadAll { url, count } = order(&mut parent).await?;
    let engine = device.engine(&url);
    let began = Stopwatch::start();
    pocket::pull_all(&engine, count).await?;
    Parent::answer(&began.elapsed().as_secs_f64())?;
    until_the_end(&mut parent).await?;
    engine.destroy().await;
    Ok(device.database.close().await?)
}

async fn hold(mut parent: Parent) -> Outcome {
    let _: Serve = order(&mut parent).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    Parent::answer(&format!("ws://{}/", listener.local_addr()?))?;
    tokio::select! {
        ended = until_the_end(&mut parent) => ended,
        ended = bare::hold(&listener) => ended,
    }
}

pub(crate) fn open_bare(path: &Path) -> Outcome<redb::Database> {
    Ok(redb::Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)?)
}

/// The names of all tables of keys and values in a file.
pub(crate) fn tables(transaction: &redb::ReadTransaction) -> Outcome<Vec<String>> {
    let tables = transaction.list_tables()?;
    Ok(tables.map(|table| table.name().to_owned()).collect())
}

async fn read_bare(mut parent: Parent) -> Outcome {
    let Open { store } = order(&mut parent).await?;
    let database = open_bare(&store)?;
    Parent::answer(&true)?;
    let _: Open = order(&mut parent).await?;
    let began = Stopwatch::start();
    let transaction = database.begin_read()?;
    let mut bytes = 0;
    for name in tables(&transaction)? {
        let table = transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(&name))?;
        for entry in table.iter()? {
            bytes += entry?.1.value().len();
        }
    }
    if bytes == 0 {
        return Err("a file that was to be read is empty".into());
    }
    Parent::answer(&began.elapsed().as_secs_f64())?;
    until_the_end(&mut parent).await
}

async fn write_bare(mut parent: Parent) -> Outcome {
    let Open { store } = order(&mut parent).await?;
    let target = open_bare(&store)?;
    Parent::answer(&true)?;
    let Copy { from, at_once } = order(&mut parent).await?;
    // What it costs to read them is not counted: the file is read with next to no cache.
    let source = redb::Database::builder()
        .set_cache_size(1024 * 1024)
        .create(from)?;
    let began = Stopwatch::start();
    let reading = source.begin_read()?;
    for name in tables(&reading)? {
        let table = reading.open_table(TableDefinition::<&[u8], &[u8]>::new(&name))?;
        let mut entries = table.iter()?.peekable();
        while entries.peek().is_some() {
            let mut writes = Vec::with_capacity(at_once);
            for entry in entries.by_ref().take(at_once) {
                let (key, value) = entry?;
                writes.push(pocket_storage::Write::Put {
                    key: key.value().to_vec(),
                    value: value.value().to_vec().into(),
                });
            }
            bare::put(&target, &writes)?;
        }
    }
    Parent::answer(&began.elapsed().as_secs_f64())?;
    until_the_end(&mut parent).await
}

/// Connections that only stay open.
pub(crate) async fn bare_connections(url: &str, count: usize) -> Outcome<Vec<light::Socket>> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(light::dial(url, None).await?);
    }
    Ok(sockets)
}
