//! Servers and clients whose pasts do not fit: restored, copied, forgotten.

use super::*;

#[tokio::test]
async fn another_servers_log_is_told_apart_and_nothing_is_sent_or_stored() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.close(None).await;
    bench.insert_quietly("a").await;
    let before = bench.state().await;
    bench.wait_for_timer().await;
    bench.opened().await;
    bench.sent.clear();
    bench
        .say(Welcome {
            lineage: Lineage::from_bytes([2; 16]),
            ..welcome()
        })
        .await;
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Error, codes::OTHER_LINEAGE)
    );
    assert!(bench.sent.is_empty() && bench.connection.is_none());
    assert_eq!(bench.state().await, before);
    assert_eq!(bench.timer, None, "it does not come back by itself");

    bench.event(Event::Start).await;
    bench.opened().await;
    bench.say(welcome()).await;
    assert_eq!(bench.the_push().first, number(1), "nothing was dropped");
}

#[tokio::test]
async fn a_server_that_lost_what_it_confirmed_is_read_again_and_gets_it_back() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.insert("a").await;
    let push = bench.the_push();
    bench.say(applied(&push, 1)).await;
    bench.close(None).await;
    bench.insert("b").await;
    bench.pulls();
    bench.reconnect(welcome_at(0, 0)).await;
    assert!(bench.pushes().is_empty() && bench.last().progress.resyncing);
    let pull = bench.the_pull();
    assert_eq!((pull.epoch, pull.after), (None, seq(0)));
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    let push = bench.the_push();
    assert_eq!((push.first, push.mutations.len()), (number(1), 2));
    assert!(!bench.last().progress.resyncing);
    // What is read on begins with the server's word on what the device should hold by now.
    let pull = bench.the_pull();
    bench.say(applied(&push, 1)).await;
    bench.say(page(&pull, 0, 2, 2, &[])).await;
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn a_server_that_knows_numbers_never_given_here_makes_the_copy_take_another_id() {
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    let hello = bench.greet().await;
    bench.say(welcome_at(5, 5)).await;
    assert_eq!(bench.error_code(), wire::CLIENT_COPIED);
    assert!(bench.pushes().is_empty());
    let again = bench.opened().await;
    assert_ne!(again.client, hello.client);
    assert_eq!(again.session, None);
    bench.say(welcome_at(5, 0)).await;
    assert!(bench.pushes().is_empty(), "first it reads what took effect");
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 5, 5, &[])).await;
    assert_eq!(bench.the_push().first, number(1));
}

#[tokio::test]
async fn a_copy_that_is_refused_comes_back_at_once_under_another_id() {
    let mut bench = Bench::new().await;
    let hello = bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 4, 4, &[record("a", 4)])).await;
    bench.close(None).await;
    bench.wait_for_timer().await;
    bench.opened().await;
    bench
        .say(error(None, wire::CLIENT_COPIED, false, true))
        .await;
    let again = bench.opened().await;
    assert_ne!(again.client, hello.client);
    assert_eq!(again.checkpoint.expect("what was read stays").seq, seq(4));
    bench.say(welcome_at(4, 0)).await;
    assert_eq!(bench.the_pull().after, seq(4));
}

/// A copy gave no number that the original had not given, but the original had confirmed them: the copy asked for the
/// outcomes for ever.
#[tokio::test]
async fn a_copy_that_asks_for_what_the_original_has_confirmed_takes_another_id() {
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    let hello = bench.connect().await;
    let push = bench.the_push();
    bench
        .say(error(Some(push.id), wire::UNKNOWN_NUMBER, false, false))
        .await;
    assert_ne!(bench.opened().await.client, hello.client);
}

#[tokio::test]
async fn a_client_that_the_server_forgot_takes_another_id() {
    let mut bench = Bench::new().await;
    let hello = bench.connect().await;
    bench.close(None).await;
    let new = Welcome {
        is_new: true,
        ..welcome()
    };
    bench.reconnect(new).await;
    assert_eq!(bench.error_code(), wire::CLIENT_COPIED);
    assert_ne!(bench.opened().await.client, hello.client);
}

#[tokio::test]
async fn a_checkpoint_that_the_log_does_not_contain_is_read_again_before_anything_is_sent() {
    let forks = [
        vec![EpochStart {
            epoch: epoch(2),
            first: seq(1),
        }],
        vec![
            EpochStart {
                epoch: epoch(1),
                first: seq(1),
            },
            EpochStart {
                epoch: epoch(2),
                first: seq(3),
            },
        ],
    ];
    for epochs in forks {
        let mut bench = Bench::new().await;
        bench.connect().await;
        let pull = bench.the_pull();
        bench.say(page(&pull, 0, 4, 4, &[record("a", 4)])).await;
        bench.close(None).await;
        bench.insert("b").await;
        let welcome = Welcome {
            epochs,
            epoch: epoch(2),
            ..welcome_at(9, 0)
        };
        let hello = bench.reconnect(welcome).await;
        assert_eq!(hello.checkpoint.expect("it has read").seq, seq(4));
        assert!(bench.last().progress.resyncing && bench.status() == Status::Syncing);
        let pull = bench.the_pull();
        assert_eq!((pull.epoch, pull.after), (None, seq(0)));
        bench.say(page(&pull, 0, 5, 9, &[])).await;
        assert!(bench.pushes().is_empty());
        bench.say(page(&pull, 5, 9, 9, &[])).await;
        assert_eq!(bench.the_push().mutations.len(), 2);
        assert!(bench.text("a").await.is_some());
    }
}

#[tokio::test]
async fn a_checkpoint_of_an_earlier_epoch_goes_on_after_a_server_restart() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 4, 4, &[record("a", 4)])).await;
    bench.close(Some(close::GOING_AWAY)).await;
    let epochs = [(1, 1), (2, 5)].map(|(name, first)| EpochStart {
        epoch: epoch(name),
        first: seq(first),
    });
    bench
        .reconnect(Welcome {
            epochs: epochs.to_vec(),
            epoch: epoch(2),
            ..welcome_at(4, 0)
        })
        .await;
    let pull = bench.the_pull();
    assert_eq!((pull.epoch, pull.after), (Some(epoch(1)), seq(4)));
    assert_eq!(bench.status(), Status::Idle);
}
