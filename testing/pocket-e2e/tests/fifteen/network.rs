//! Servers and networks that go away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pocket_sync_client::{Status, SyncConfig};
use pocket_sync_server::{Config, TokenTable};

use crate::proxy::{Proxy, Weather};
use crate::world::{Device, Transport, World, until};

pub(crate) async fn point_13_a_server_restart_loses_no_work_and_leaves_nobody_stuck(
    transport: Transport,
) {
    let mut world = World::new(transport).await;
    let (ann, bob) = (world.device().await, world.device().await);
    ann.sync().await;
    bob.sync().await;
    for round in 0..3 {
        for n in 0..40 {
            ann.put(&format!("a{round}-{n}"), "by ann").await;
            bob.put(&format!("b{round}-{n}"), "by bob").await;
        }
        world.stop().await;
        ann.put(&format!("a{round}-down"), "while it was down")
            .await;
        world.start().await;
    }
    ann.sync().await;
    bob.sync().await;
    ann.sync().await;
    assert_eq!(ann.documents().await.len(), 243);
    assert_eq!(ann.documents().await, bob.documents().await);
    assert_eq!(world.documents().await, bob.documents().await);
    assert_eq!((ann.pending().await, bob.pending().await), (0, 0));
    assert_eq!(ann.place().await, 243, "nothing was applied twice");
}

pub(crate) async fn point_14_a_client_comes_back_after_an_outage_of_hours(transport: Transport) {
    let world = World::new(transport).await;
    let proxy = Proxy::to(world.address).await;
    // Many failures in a row are what hours look like from inside; only the delay between them is shorter here.
    let hasty = world
        .config_for(proxy.address)
        .retry_delay(Duration::from_millis(1));
    let device = Device::new(hasty).await;
    device.sync().await;
    proxy.set(Weather::Down);
    device.put("offline", "written during the outage").await;
    let before = proxy.came();
    until("it tries again and again", || async {
        proxy.came() > before + 8
    })
    .await;
    device
        .clock
        .fetch_add(5 * 60 * 60 * 1_000, Ordering::Relaxed);
    device.put("hours-later", "its clock went on").await;
    until("it says so", || async {
        device.engine.snapshot().status == Status::Offline
    })
    .await;
    let other = world.device().await;
    other.put("other", "written meanwhile").await;
    other.sync().await;
    proxy.set(Weather::Fine);
    until("it comes back by itself", || async {
        device.engine.snapshot().status == Status::Idle
    })
    .await;
    assert_eq!(device.documents().await, world.documents().await);
    assert_eq!(device.documents().await.len(), 3);
}

pub(crate) async fn point_15_a_network_failure_is_survived(transport: Transport) {
    let world = World::new(transport).await;
    let proxy = Proxy::to(world.address).await;
    let device = Device::new(world.config_for(proxy.address)).await;
    device.sync().await;
    let other = world.device().await;
    // Each answer is cut somewhere else, also in the middle of a header, a page or an outcome.
    for (round, bytes) in [1, 60, 150, 300, 700, 1_500, 4_000].into_iter().enumerate() {
        proxy.set(Weather::ResetAfter(bytes));
        for n in 0..10 {
            device
                .put(&format!("d{round}-{n}"), "through the storm")
                .await;
        }
        other.put(&format!("o{round}"), "from elsewhere").await;
        other.sync().await;
        let before = proxy.came();
        until("it tries", || async {
            proxy.came() > before + 1 || device.pending().await == 0
        })
        .await;
        proxy.set(Weather::Fine);
        device.sync().await;
        assert_eq!(device.pending().await, 0);
    }
    other.sync().await;
    assert_eq!(device.documents().await.len(), 77);
    assert_eq!(device.documents().await, other.documents().await);
    assert_eq!(device.place().await, 77, "nothing was applied twice");
}

pub(crate) async fn a_connection_that_is_cut_again_and_again_loses_nothing(transport: Transport) {
    let world = World::new(transport).await;
    let proxy = Proxy::to(world.address).await;
    let hasty = world
        .config_for(proxy.address)
        .retry_delay(Duration::from_millis(1));
    let device = Device::new(hasty).await;
    device.engine.start().await.unwrap();
    // Fewer cuts than make a change suspect of having caused them.
    for n in 0..4 {
        device.put(&format!("d{n:02}"), "between two cuts").await;
        let before = proxy.came();
        // Cut as soon as there is a connection; each attempt gets as far as it gets.
        proxy.set(Weather::Fine);
        until("it comes again", || async { proxy.came() > before }).await;
        proxy.set(Weather::Down);
    }
    proxy.set(Weather::Fine);
    device.sync().await;
    assert_eq!(device.pending().await, 0);
    let journal = device.database.journal().list(None, 10).await.unwrap();
    assert_eq!(world.documents().await.len(), 4, "{journal:?}");
    until("each has one place", || async { device.place().await == 4 }).await;
    assert_eq!(
        device.engine.snapshot().stats.conflict_count,
        0,
        "never its own rival"
    );
}

/// What stands between a device and the server, answering in its name.
const STRANGERS: [(&str, &str); 8] = [
    (
        "a portal that wants to know who this is",
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    ),
    (
        "a portal that lets nobody pass",
        "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    ),
    (
        "a proxy that refuses in JSON of its own",
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{\"error\": \"denied\"}",
    ),
    (
        "a portal's page",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    ),
    (
        "a redirection to it",
        "HTTP/1.1 302 Found\r\nlocation: http://portal.example/\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "a broken proxy",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    ),
    (
        "a page of the right length and the wrong kind",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    ),
    ("a server of something else", "220 mail.example ESMTP\r\n"),
];

pub(crate) async fn what_a_portal_or_a_broken_proxy_says_is_no_refusal_of_the_server(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let proxy = Proxy::to(world.address).await;
    let config = world.config_for(proxy.address).auth_token("kept");
    let device = Device::new(config).await;
    device.sync().await;
    for (place, (who, answer)) in STRANGERS.into_iter().enumerate() {
        proxy.set(Weather::Says(answer));
        device.put(&format!("d{place}"), "waits").await;
        until(who, || async {
            let snapshot = device.engine.snapshot();
            snapshot.status == Status::Offline && snapshot.stats.last_error.is_some()
        })
        .await;
        let snapshot = device.engine.snapshot();
        let error = snapshot.stats.last_error.expect(who);
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("connect", true),
            "{who}: {error}"
        );
        assert_eq!(device.pending().await, 1, "{who}: what was written stays");
        proxy.set(Weather::Fine);
        device.sync().await;
        assert_eq!(device.pending().await, 0, "{who}");
    }
    assert_eq!(world.documents().await.len(), STRANGERS.len());
}

pub(crate) async fn a_client_that_changes_its_transport_goes_on_where_it_was(transport: Transport) {
    let world = World::new(transport).await;
    let other = match transport {
        Transport::WebSocket => Transport::Http,
        Transport::Http => Transport::WebSocket,
    };
    let device = world.device().await;
    device.put("1", "by the first").await;
    device.sync().await;
    until("its own place is passed", || async {
        device.place().await == 1
    })
    .await;
    device.go_offline().await;
    device.put("2", "in between").await;
    // Of the same address: the scheme decides.
    let config = SyncConfig::new(other.url(world.address));
    let device = device.restart_with(config).await;
    assert_eq!(device.place().await, 1, "the checkpoint is the same");
    device.sync().await;
    until("it is in step", || async { device.place().await == 2 }).await;
    assert_eq!(device.pending().await, 0);
    let stats = device.engine.snapshot().stats;
    assert!(stats.pull_count <= 1, "nothing was read again: {stats:?}");
    assert_eq!(world.documents().await, device.documents().await);
}

/// A cable is pulled: neither end is told. Until then, heartbeats keep a connection on which nothing else happens.
pub(crate) async fn a_half_open_connection_is_found_by_both_ends(transport: Transport) {
    const HEARTBEAT: Duration = Duration::from_millis(100);
    const PINGS: u64 = 60;
    let mut config = Config::default();
    config.heartbeat = HEARTBEAT;
    // Shorter than the pings take for which it is waited below.
    config.client_timeout = 50 * HEARTBEAT;
    config.poll_timeout = config.client_timeout;
    config.poll_wait = Duration::ZERO;
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let proxy = Proxy::to(world.address).await;
    let device = world.config_for(proxy.address).pull_interval(HEARTBEAT);
    let device = Device::new(device).await;
    device.put("1", "before").await;
    device.sync().await;
    let sessions = async || world.figure("pocket_sessions_total").await.unwrap();
    let received = async || world.figure("pocket_received_bytes_total").await.unwrap();
    // A busy machine may hold some of them up for so long that the session ends. Without them none lives as long as this.
    loop {
        let before = sessions().await;
        // A ping has two bytes at the least, and hardly ten.
        let enough = received().await + 10 * PINGS;
        until("many heartbeats", || async { received().await > enough }).await;
        if sessions().await == before {
            break;
        }
    }
    until("one session is kept alive", || async {
        world.clients() == 1
    })
    .await;

    proxy.set(Weather::HalfOpen);
    device.put("2", "into the dark").await;
    until("the device knows", || async {
        device.engine.snapshot().status == Status::Offline
    })
    .await;
    until("the server knows", || async { world.clients() == 0 }).await;
    assert_eq!(device.pending().await, 1, "what was written stays");
    proxy.set(Weather::Fine);
    device.sync().await;
    assert_eq!(device.pending().await, 0);
    assert_eq!(world.documents().await.len(), 2);
}

/// The same while somebody waits for the server, whose heartbeats are far apart: it is not they that end the wait.
pub(crate) async fn a_call_on_a_half_open_connection_fails_long_before_a_heartbeat(
    transport: Transport,
) {
    let mut config = Config::default();
    config.heartbeat = Duration::from_secs(300);
    config.client_timeout = Duration::from_secs(900);
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let proxy = Proxy::to(world.address).await;
    let answer = Duration::from_millis(500);
    let device = Device::new(world.config_for(proxy.address).answer_timeout(answer)).await;
    device.sync().await;
    proxy.set(Weather::HalfOpen);
    device.put("1", "into the dark").await;
    let before = proxy.came();
    // Generous: half a second until it gives the connection up, and ten for the new one to say nothing, either.
    let call = tokio::time::timeout(Duration::from_secs(120), device.engine.force_sync());
    let error = call.await.expect("it ends").expect_err("nobody answers");
    assert_eq!((error.code(), error.is_retryable()), ("timeout", true));
    assert!(proxy.came() > before, "another connection was tried");
    assert_eq!(device.pending().await, 1, "what was written stays");
    proxy.set(Weather::Fine);
    device.sync().await;
    assert_eq!(device.pending().await, 0);
    assert_eq!(world.documents().await.len(), 1);
}
