//! What becomes of commands when the server takes nothing for now.

use pocket_sync_client::{Pass, SyncError};
use pocket_sync_protocol::codes as wire;

use super::*;

fn results(bench: &Bench) -> Vec<(u64, Result<(), &str>)> {
    let finished = bench.finished.iter();
    let finished =
        finished.map(|(id, result)| (*id, result.as_ref().copied().map_err(SyncError::code)));
    finished.collect()
}

/// They waited for as long as nobody made room on the server: for ever, perhaps, and without a word.
#[tokio::test]
async fn commands_fail_while_the_disk_of_the_server_is_full_and_the_changes_stay() {
    let mut bench = with_documents(1, 1).await;
    let push = bench.the_push();
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    for (id, pass) in [(1, Pass::Both), (2, Pass::Push), (3, Pass::Pull)] {
        bench.command(id, pass).await;
    }
    bench
        .say(error(Some(push.id), wire::SERVER_FULL, true, false))
        .await;
    let full = Err(wire::SERVER_FULL);
    assert_eq!(results(&bench), [(1, full), (2, full)]);
    assert!(bench.connection.is_some());
    assert_eq!(bench.state().await.pending, 1);
    // One that only reads does not mind.
    for ping in bench.pings() {
        bench.say(pong(ping, 0)).await;
    }
    assert_eq!(results(&bench)[2..], [(3, Ok(()))]);

    // The next one asks at once how it is now, and there is room.
    assert!(bench.pushes().is_empty(), "it waits");
    bench.command(4, Pass::Push).await;
    let again = bench.the_push();
    assert_eq!(again.mutations, push.mutations);
    for ping in bench.pings() {
        bench.say(pong(ping, 0)).await;
    }
    bench.say(applied(&again, 1)).await;
    assert_eq!(results(&bench)[3..], [(4, Ok(()))]);
}

#[tokio::test]
async fn a_command_bears_a_busy_server_as_often_as_a_lost_connection() {
    let mut config = in_batches_of(1);
    config.max_retry_attempts = 2;
    let mut bench = Bench::with(config).await;
    bench.insert_quietly("a").await;
    bench.connect().await;
    bench.command(1, Pass::Push).await;
    for attempt in 0..3 {
        assert!(bench.finished.is_empty(), "{attempt}");
        let push = bench.the_push();
        bench
            .say(error(Some(push.id), wire::RETRY_LATER, true, false))
            .await;
        bench.wait_for_timer().await;
    }
    assert_eq!(results(&bench), [(1, Err(wire::RETRY_LATER))]);
}

#[tokio::test]
async fn a_command_waits_for_as_long_as_the_server_says_that_it_asks_too_often() {
    let mut config = in_batches_of(1);
    config.max_retry_attempts = 0;
    let mut bench = Bench::with(config).await;
    bench.insert_quietly("a").await;
    bench.connect().await;
    bench.command(1, Pass::Push).await;
    for _ in 0..3 {
        let push = bench.the_push();
        let mut often = error(Some(push.id), wire::RATE_LIMITED, true, false);
        often.retry_after = Some(std::time::Duration::from_secs(1));
        bench.say(often).await;
        bench.wait(1_000).await;
    }
    assert!(bench.finished.is_empty());
    let push = bench.the_push();
    for ping in bench.pings() {
        bench.say(pong(ping, 0)).await;
    }
    bench.say(applied(&push, 1)).await;
    assert_eq!(results(&bench), [(1, Ok(()))]);
}
