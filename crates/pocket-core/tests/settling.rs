//! Outcomes that are stored without waiting for the disk: what a loss of power does to them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{Conflict, Decision, Replica, Resolver, Settled};
use pocket_core::{
    CollectionConfig, ConflictStrategy, Database, MutationNumber, Outcome, PushLimit, Seq, Target,
    Value,
};
use pocket_storage_memory::MemoryDisk;

/// Nothing here is in conflict.
struct Nobody;

impl Resolver for Nobody {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepRemote, "nobody")
    }
}

const ALL: PushLimit = PushLimit {
    changes: 100,
    bytes: 1 << 20,
};

struct Device {
    database: Database,
    replica: Replica,
}

impl Device {
    async fn on(disk: &MemoryDisk) -> Self {
        let database = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .open(disk.open())
            .await
            .unwrap();
        let replica = Replica::new(&database, Target::DEFAULT);
        Self { database, replica }
    }

    async fn insert(&self, id: &str) {
        let docs = self.database.collection::<Value>("docs").unwrap();
        let document = Value::from_json_str(&format!(r#"{{"_id":"{id}"}}"#)).unwrap();
        docs.insert(&document).await.unwrap();
    }

    async fn settle(&self, number: u64, outcome: Outcome) -> Settled {
        let first = MutationNumber::new(number);
        let settled = self.replica.settle(first, vec![outcome], Arc::new(Nobody));
        settled.await.unwrap()
    }
}

fn applied(place: u64) -> Outcome {
    Outcome::Applied {
        first: Seq::new(place),
    }
}

/// Each durable commit of an edit is an fsync; that a change took effect is told again by the server when it is lost.
#[tokio::test]
async fn an_outcome_that_a_loss_of_power_took_is_asked_for_again_under_the_same_number() {
    let disk = MemoryDisk::new();
    let device = Device::on(&disk).await;
    device.insert("a").await;
    let pinned = device.replica.pin(ALL).await.unwrap().mutations;
    let settled = device.settle(1, applied(1)).await;
    assert!(!settled.is_durable);
    assert_eq!(settled.state.pending, 0);

    assert_eq!(disk.lost_by_power_loss(), 1, "the outcome and nothing else");
    disk.lose_power(1);
    let device = Device::on(&disk).await;
    let state = device.replica.state().await.unwrap();
    assert_eq!((state.pending, state.confirmed), (1, MutationNumber::ZERO));
    let again = device.replica.resend(MutationNumber::new(1), ALL).await;
    assert_eq!(again.unwrap().mutations, pinned);
    let settled = device.settle(1, applied(1)).await;
    assert_eq!((settled.applied, settled.state.pending), (1, 0));
}

#[tokio::test]
async fn the_next_number_makes_the_outcomes_before_it_durable() {
    let disk = MemoryDisk::new();
    let device = Device::on(&disk).await;
    device.insert("a").await;
    device.replica.pin(ALL).await.unwrap();
    device.settle(1, applied(1)).await;
    device.insert("b").await;
    device.replica.pin(ALL).await.unwrap();
    assert_eq!(disk.lost_by_power_loss(), 0);
}

#[tokio::test]
async fn a_refusal_is_durable_when_the_application_hears_of_it() {
    let disk = MemoryDisk::new();
    let device = Device::on(&disk).await;
    device.insert("a").await;
    device.replica.pin(ALL).await.unwrap();
    let refusal = Outcome::Rejected {
        code: "validation".to_owned(),
        reason: "no".to_owned(),
        server_time: None,
    };
    let settled = device.settle(1, refusal).await;
    assert!(settled.is_durable);
    assert_eq!(settled.journaled.len(), 1);
    assert_eq!(disk.lost_by_power_loss(), 0);
}
