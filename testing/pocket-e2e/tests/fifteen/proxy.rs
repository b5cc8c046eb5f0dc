//! A way to the server that can be cut, and that can answer in its own name.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// They reach the server.
    Fine,
    /// They are closed, those that are open too.
    Down,
    /// They reach the server, and are reset after so many bytes of its answers.
    ResetAfter(usize),
    /// They stay open, and nothing passes in either direction: nobody is told that the other end cannot be reached.
    HalfOpen,
    /// This is answered to every request, as a portal or a broken proxy would.
    Says(&'static str),
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Connections that came so far.
    pub(crate) came: Arc<Mutex<usize>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::Fine);
        let came = Arc::new(Mutex::new(0));
        let counting = came.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                // Before it is counted: whoever counts and then changes the weather does not mean this one.
                let mut weather = seen.clone();
                let now = weather.borrow_and_update().clone();
                *counting.lock().unwrap() += 1;
                tokio::spawn(serve(client, server, now, weather));
            }
        });
        Self {
            address,
            weather,
            came,
            accepting,
        }
    }

    /// Connections under way in other weather end.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    pub(crate) fn came(&self) -> usize {
        *self.came.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    client: TcpStream,
    server: SocketAddr,
    now: Weather,
    mut weather: watch::Receiver<Weather>,
) {
    let served = async {
        match now {
            Weather::Fine => forward(client, server, usize::MAX).await,
            Weather::ResetAfter(bytes) => forward(client, server, bytes).await,
            Weather::Down => {}
            Weather::HalfOpen => std::future::pending().await,
            Weather::Says(answer) => say(client, answer).await,
        }
    };
    let mut served = std::pin::pin!(served);
    // What is sent after the weather changed does not pass before that is seen.
    tokio::select! {
        biased;
        _ = weather.changed() => {}
        () = &mut served => return,
    }
    // Nobody moves bytes any more, and both sockets live on.
    while *weather.borrow_and_update() == Weather::HalfOpen && weather.changed().await.is_ok() {}
}

async fn forward(client: TcpStream, server: SocketAddr, most: usize) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let mut buffer = vec![0; 16 * 1_024];
        let mut left = most;
        while left > 0 {
            let room = buffer.len().min(left);
            let Ok(read @ 1..) = from_server.read(&mut buffer[..room]).await else {
                return;
            };
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            left -= read;
        }
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
    }
}

async fn say(mut client: TcpStream, answer: &str) {
    let mut request = [0; 4_096];
    if client.read(&mut request).await.is_ok() && client.write_all(answer.as_bytes()).await.is_ok()
    {
        let _ = client.shutdown().await;
    }
}
