//! The limits: what the same bytes cost without Pocket, over the same sockets and on the same disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use pocket_storage::Write;
use redb::{Database, Durability, TableDefinition};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, accept_async_with_config, connect_async_with_config,
};

use crate::Outcome;
use crate::figure::Samples;
use crate::machine::Stopwatch;
use crate::recorder::Writes;

/// Bytes collected before they are read or written, as Pocket's own sockets have it.
const BUFFER_BYTES: usize = 64 * 1024;

/// The same of sockets of which there are very many, as Pocket's server has it.
const HELD_BUFFER_BYTES: usize = 2 * 1024;

/// The cache of Pocket's redb store.
pub(crate) const CACHE_BYTES: usize = 32 * 1024 * 1024;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bare");

/// Appends, and waits until it survives a loss of power.
pub(crate) fn append(file: &mut File, bytes: &[u8]) -> Outcome {
    file.write_all(bytes)?;
    Ok(file.sync_data()?)
}

/// Appends batch after batch, each with one sync.
pub(crate) fn append_all(path: &Path, batches: &[Vec<u8>]) -> Outcome<Duration> {
    let mut file = File::create_new(path)?;
    let began = Stopwatch::start();
    for batch in batches {
        append(&mut file, batch)?;
    }
    Ok(began.elapsed())
}

/// Puts keys and values into redb, each commit as durable as it can be.
pub(crate) fn put_all(path: &Path, commits: &[Writes]) -> Outcome<Duration> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)?;
    let transaction = database.begin_write()?;
    transaction.open_table(TABLE)?;
    transaction.commit()?;
    let began = Stopwatch::start();
    for writes in commits {
        put(&database, writes)?;
    }
    Ok(began.elapsed())
}

/// One commit, as durable as it can be.
pub(crate) fn put(database: &Database, writes: &[Write]) -> Outcome {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for write in writes {
            match write {
                Write::Put { key, value } => {
                    table.insert(key.as_slice(), value.as_ref())?;
                }
                Write::Delete { key } => {
                    table.remove(key.as_slice())?;
                }
            }
        }
    }
    Ok(transaction.commit()?)
}

/// Puts keys and values into an ordered map in memory.
pub(crate) fn put_in_memory(commits: &[Writes]) -> Duration {
    let began = Stopwatch::start();
    let mut entries = BTreeMap::new();
    for write in commits.iter().flatten() {
        match write {
            Write::Put { key, value } => entries.insert(key.clone(), value.clone()),
            Write::Delete { key } => entries.remove(key),
        };
    }
    let time = began.elapsed();
    drop(entries);
    time
}

/// Accepts connections for ever, with small buffers, and holds each until its peer goes.
pub(crate) async fn hold(listener: &TcpListener) -> Outcome {
    let config = WebSocketConfig::default().read_buffer_size(HELD_BUFFER_BYTES);
    loop {
        let (stream, _) = listener.accept().await?;
        let mut socket = accept_async_with_config(stream, Some(config)).await?;
        tokio::spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
}

async fn accept(listener: &TcpListener) -> Outcome<WebSocketStream<TcpStream>> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(accept_async_with_config(stream, Some(config())).await?)
}

async fn connect(url: &str) -> Outcome<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    Ok(connect_async_with_config(url, Some(config()), true)
        .await?
        .0)
}

pub(crate) async fn listen() -> Outcome<(TcpListener, String)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("ws://{}/", listener.local_addr()?);
    Ok((listener, url))
}

async fn receive(
    socket: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
) -> Outcome<Bytes> {
    match socket.next().await {
        Some(Ok(message)) => Ok(message.into_data()),
        Some(Err(error)) => Err(error.into()),
        None => Err("a bare socket was closed too early".into()),
    }
}

/// Sends `frames` as fast as the socket takes them; the other side answers each with one of `answers`, after it has
/// appended it to `disk` with one sync if there is one. The time from before connecting to the last answer.
pub(crate) async fn send_all(
    frames: &[Bytes],
    answers: &[Bytes],
    disk: Option<File>,
) -> Outcome<Duration> {
    let (listener, url) = listen().await?;
    let replies = answers.to_vec();
    let server = tokio::spawn(async move {
        let mut disk = disk;
        let mut socket = accept(&listener).await?;
        for reply in replies {
            let frame = receive(&mut socket).await?;
            if let Some(file) = &mut disk {
                append(file, &frame)?;
            }
            socket.send(Message::Binary(reply)).await?;
        }
        Outcome::Ok(())
    });
    let began = Stopwatch::start();
    let (mut sink, mut stream) = connect(&url).await?.split();
    let sending = async {
        for frame in frames {
            sink.feed(Message::Binary(frame.clone())).await?;
        }
        sink.flush().await?;
        Outcome::Ok(())
    };
    let receiving = async {
        for _ in answers {
            receive(&mut stream).await?;
        }
        Outcome::Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    let time = began.elapsed();
    server.await??;
    Ok(time)
}

/// Asks with one frame and is sent all of `frames`, as fast as the socket takes them, answering each with one of
/// `answers`, after it has appended it to `disk` with one sync if there is one. The time from before connecting to the last frame.
pub(crate) async fn receive_all(
    request: Bytes,
    frames: &[Bytes],
    answers: &[Bytes],
    mut disk: Option<File>,
) -> Outcome<Duration> {
    let (listener, url) = listen().await?;
    let (sent, expected) = (frames.to_vec(), answers.len());
    let server = tokio::spawn(async move {
        let (mut sink, mut stream) = accept(&listener).await?.split();
        receive(&mut stream).await?;
        let sending = async {
            for frame in sent {
                sink.feed(Message::Binary(frame)).await?;
            }
            sink.flush().await?;
            Outcome::Ok(())
        };
        let receiving = async {
            for _ in 0..expected {
                receive(&mut stream).await?;
            }
            Outcome::Ok(())
        };
        tokio::try_join!(sending, receiving)?;
        Outcome::Ok(())
    });
    let began = Stopwatch::start();
    let mut socket = connect(&url).await?;
    socket.send(Message::Binary(request)).await?;
    let mut answers = answers.iter();
    for _ in frames {
        let frame = receive(&mut socket).await?;
        if let Some(file) = &mut disk {
            append(file, &frame)?;
        }
        if let Some(answer) = answers.next() {
            socket.send(Message::Binary(answer.clone())).await?;
        }
    }
    let time = began.elapsed();
    // What was read in fewer frames than answers is answered all the same, so that the other side ends.
    for answer in answers {
        socket.send(Message::Binary(answer.clone())).await?;
    }
    server.await??;
    Ok(time)
}

/// Files that are appended to and synced on the way of one edit.
#[derive(Default)]
pub(crate) struct Disks {
    pub(crate) writer: Option<File>,
    pub(crate) server: Option<File>,
    pub(crate) reader: Option<File>,
}

impl Disks {
    fn write(disk: &mut Option<File>, frame: &[u8]) -> Outcome {
        disk.as_mut().map_or(Ok(()), |file| append(file, frame))
    }
}

/// Sends `up` from one connection to a server that passes `down` on to another, `count` times one after the other.
///
/// The time of each in milliseconds, from before the writer's disk to behind the reader's.
pub(crate) async fn relay(
    up: &Bytes,
    down: &Bytes,
    count: usize,
    mut disks: Disks,
) -> Outcome<Samples> {
    let (listener, url) = listen().await?;
    let (mut disk, passed) = (disks.server.take(), down.clone());
    let server = tokio::spawn(async move {
        let mut from = accept(&listener).await?;
        let mut to = accept(&listener).await?;
        for _ in 0..count {
            let frame = receive(&mut from).await?;
            Disks::write(&mut disk, &frame)?;
            to.send(Message::Binary(passed.clone())).await?;
        }
        Outcome::Ok(())
    });
    let mut writer = connect(&url).await?;
    let mut reader = connect(&url).await?;
    let mut times = Samples::default();
    for _ in 0..count {
        let began = Stopwatch::start();
        Disks::write(&mut disks.writer, up)?;
        writer.send(Message::Binary(up.clone())).await?;
        let frame = receive(&mut reader).await?;
        Disks::write(&mut disks.reader, &frame)?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    server.await??;
    Ok(times)
}

/// Passes `page` on to `count` connections whenever one more, the first, has sent something, which is answered first.
///
/// Ends when the first connection does. What the others say is read and thrown away.
pub(crate) async fn fan_out(
    listener: TcpListener,
    count: usize,
    answer: Bytes,
    page: Bytes,
) -> Outcome {
    let mut writer = accept(&listener).await?;
    let mut subscribers = Vec::with_capacity(count);
    for _ in 0..count {
        let (sink, mut stream) = accept(&listener).await?.split();
        tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
        subscribers.push(sink);
    }
    while let Some(Ok(message)) = writer.next().await {
        if !message.is_binary() {
            continue;
        }
        writer.send(Message::Binary(answer.clone())).await?;
        for subscriber in &mut subscribers {
            subscriber.send(Message::Binary(page.clone())).await?;
        }
    }
    Ok(())
}
