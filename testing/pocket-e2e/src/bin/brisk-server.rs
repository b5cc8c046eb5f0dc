//! A sync server with short deadlines, in a process of its own: `brisk-server STORE` prints its address.
//!
//! What is tested with it is what happens when nothing is heard for some heartbeats. The product's own are half a minute.
#![allow(clippy::unwrap_used, reason = "a test tool")]

use std::sync::Arc;
use std::time::Duration;

use pocket_storage_redb::RedbStorage;
use pocket_sync_server::{Config, SyncServer, TokenTable};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let store = std::env::args_os().nth(1).expect("the path of a store");
    let mut config = Config::default();
    config.heartbeat = Duration::from_secs(1);
    config.client_timeout = Duration::from_secs(3);
    config.poll_wait = Duration::from_millis(500);
    let server = SyncServer::builder(Arc::new(RedbStorage::open(store).unwrap()))
        .authenticator(Arc::new(TokenTable::open()))
        .config(config)
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    // Until it is killed.
    server.serve(listener, std::future::pending()).await;
}
