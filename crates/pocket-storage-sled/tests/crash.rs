//! A process that commits is killed at random moments; the store is opened again and compared.

use std::sync::Arc;

use pocket_storage::conformance::crash;
use pocket_storage_sled::SledStorage;

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    crash::run(
        "a_killed_process_loses_nothing_that_was_acknowledged",
        directory.path(),
        |path| Ok(Arc::new(SledStorage::open(path)?)),
    );
}
