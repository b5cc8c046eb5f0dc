//! The sums of stored values, for whoever copies a store without opening it as a database.

use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;

use crate::keys::{self, CollectionId};
use crate::stored::{self, CollectionRow};
use crate::{Result, damage, envelope};

/// Looks at the sums of a database's entries on their way elsewhere, and names what is damaged.
///
/// ```
/// # fn main() -> pocket_core::Result<()> {
/// let sums = &mut pocket_core::Sums::new();
/// let value = pocket_core::envelope::seal(b"key", &[b"value"]);
/// sums.check(b"key", &value)?;
/// assert_eq!(sums.check(b"another", &value).unwrap_err().code(), "corrupt");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sums {
    names: BTreeMap<CollectionId, String>,
}

impl Sums {
    /// Of a store whose entries come in the order of their keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next entry.
    ///
    /// # Errors
    /// `corrupt` when its sum fails, `newer-format` when a newer program wrote it.
    pub fn check(&mut self, key: &[u8], value: &Bytes) -> Result<()> {
        let payload = match envelope::open(key, value) {
            Ok(payload) => payload,
            Err(error) => {
                return Err(damage::named(error, |number| {
                    self.names.get(&number).cloned()
                }));
            }
        };
        // They come before the documents.
        if let Some(name) = keys::collection_name(key)
            && let Ok(row) = stored::decode::<CollectionRow>(&payload)
        {
            self.names.insert(row.id(), name.to_owned());
        }
        Ok(())
    }
}
