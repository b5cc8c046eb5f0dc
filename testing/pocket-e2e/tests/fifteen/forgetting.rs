//! A server that forgets by itself, and devices that were away for longer than it remembers.

use std::time::Duration;

use pocket_core::ConflictStrategy;
use pocket_sync_server::{Config, TokenTable};

use crate::world::{Device, Transport, World, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a device holds, in order.
async fn held(device: &Device) -> Vec<(String, String)> {
    device.documents().await.into_iter().collect()
}

fn documents(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = all
        .iter()
        .map(|(id, text)| ((*id).to_owned(), (*text).to_owned()));
    owned.collect()
}

async fn journal(device: &Device) -> Vec<String> {
    let entries = device.database.journal().list(None, 100).await.unwrap();
    let names = entries.iter().flat_map(|entry| &entry.documents);
    let mut names: Vec<_> = names.map(|document| document.id.to_string()).collect();
    names.sort();
    names
}

/// P6 and P5 of `docs/consistency.md`: of a device that was away longer than deletions are remembered.
pub(crate) async fn a_device_that_was_away_longer_than_the_server_remembers_loses_nothing_and_brings_nothing_back(
    transport: Transport,
) {
    // After 40 days the server has forgotten deletions, after 70 days the devices, too.
    for (days, forgotten_clients) in [(40, 0), (70, 2)] {
        let mut config = Config::default();
        config.forget_every = Duration::from_millis(10);
        let mut world =
            World::with(transport, config, std::sync::Arc::new(TokenTable::open())).await;
        let home = world.device().await;
        for id in ["deleted", "deleted-and-edited", "wanted", "edited", "kept"] {
            home.put(id, "first").await;
        }
        home.sync().await;
        let away = world.device().await;
        let client_wins = world
            .config()
            .conflict_strategy(ConflictStrategy::ClientWins);
        let stubborn = Device::new(client_wins).await;
        for device in [&away, &stubborn] {
            device.sync().await;
            device.go_offline().await;
        }
        away.put("deleted-and-edited", "by who was away").await;
        away.put("edited", "by who was away").await;
        away.put("new", "by who was away").await;
        away.delete("kept").await;
        stubborn.put("wanted", "by who insists").await;

        for id in ["deleted", "deleted-and-edited", "wanted"] {
            home.delete(id).await;
        }
        home.put("later", "by who stayed").await;
        home.sync().await;
        world.pass(days * DAY);
        // The three deletions took the places 6 to 8.
        until("the deletions are forgotten", || async {
            world.figure("pocket_horizon{namespace=\"default\"}").await == Some(8)
        })
        .await;
        let clients = "pocket_forgotten_total{kind=\"client\"}";
        until(
            "clients are forgotten, but for the one that is here",
            || async { world.figure(clients).await == Some(forgotten_clients) },
        )
        .await;
        // What it has forgotten it does not remember after a restart.
        world.stop().await;
        world.start().await;

        away.sync().await;
        let expected = [
            ("edited", "by who was away"),
            ("later", "by who stayed"),
            ("new", "by who was away"),
        ];
        assert_eq!(held(&away).await, documents(&expected), "after {days} days");
        assert_eq!(away.pending().await, 0);
        assert_eq!(journal(&away).await, ["deleted-and-edited"]);
        stubborn.sync().await;
        let with_wanted = [&expected[..], &[("wanted", "by who insists")]].concat();
        assert_eq!(held(&stubborn).await, documents(&with_wanted));
        assert_eq!(journal(&stubborn).await, ["wanted"], "its choice is told");
        for device in [&home, &away] {
            device.sync().await;
            until("all hold the same", || async {
                held(device).await == documents(&with_wanted)
            })
            .await;
        }
        let fresh: Vec<_> = world.documents().await.into_iter().collect();
        assert_eq!(fresh, documents(&with_wanted), "after {days} days");
        assert!(journal(&home).await.is_empty());
    }
}
