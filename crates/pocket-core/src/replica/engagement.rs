//! Who syncs a database: one engine for each server at a time. Two would take the numbers of each other, and the server
//! would end the connection of one for that of the other, for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Replica;
use crate::keys::Target;
use crate::lock::lock;
use crate::{Error, Result, codes};
use pocket_storage::ordered::BTreeSet;

/// The servers that an open database is synced with now.
#[derive(Debug, Default)]
pub(crate) struct Engaged(Mutex<BTreeSet<Target>>);

impl Engaged {
    fn targets(&self) -> MutexGuard<'_, BTreeSet<Target>> {
        lock(&self.0)
    }
}

/// The right to sync a database with a server, for as long as this lives and is not given back.
#[derive(Debug)]
pub struct Engagement {
    engaged: Arc<Engaged>,
    target: Target,
    given_back: AtomicBool,
}

impl Engagement {
    /// Gives the right back before this is dropped: what still ends here does no harm to whoever takes it next.
    pub fn give_back(&self) {
        if !self.given_back.swap(true, Ordering::AcqRel) {
            self.engaged.targets().remove(&self.target);
        }
    }
}

impl Drop for Engagement {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Replica {
    /// Takes the right to sync this open database with its server. A clone of the [`Database`](crate::Database) is the same
    /// one; another opened on the same store of this process is not, and has to be kept from syncing by whoever opens it.
    ///
    /// # Errors
    /// `already-syncing` while another engine has it.
    pub fn engage(&self) -> Result<Engagement> {
        let engaged = Arc::clone(self.database.engaged());
        if !engaged.targets().insert(self.target) {
            return Err(Error::new(
                codes::ALREADY_SYNCING,
                "another sync engine runs on this database; use a clone of that one, or stop it first",
            ));
        }
        Ok(Engagement {
            engaged,
            target: self.target,
            given_back: AtomicBool::new(false),
        })
    }
}
