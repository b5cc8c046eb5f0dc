//! What is done to a whole collection, or a whole database, in which a document is damaged.

use pocket_core::{ChangeKind, IndexConfig, IndexState, MutationContent, Order, Value, codes, field};

use super::{World, names, number, value};

/// An index that was asked for over a damaged document was not recorded, so the building began anew each time.
#[tokio::test]
async fn an_index_over_a_damaged_document_is_recorded_and_gone_on_with_once_that_is_mended() {
    let world = World::synced().await;
    world.damage(b'd', b"c").await;
    let config = || IndexConfig::new("n").named("by_n");
    names(&world.docs.create_index(config()).await.unwrap_err(), "c", "docs");
    let state = || {
        let indexes = world.docs.indexes();
        let index = indexes.into_iter().find(|it| it.config.name() == "by_n");
        index.unwrap().state
    };
    assert_eq!(state(), IndexState::Building);
    let again = world.docs.create_index(config()).await;
    assert_eq!(again.unwrap_err().code(), codes::CORRUPT);
    world.put("c", 30).await;
    world.docs.create_index(config()).await.unwrap();
    assert_eq!(state(), IndexState::Ready);
    assert_eq!(world.indexed().await, [1, 2, 4, 30]);
}
