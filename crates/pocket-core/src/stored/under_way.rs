//! What is done to all of a collection in many commits: it stands in the collection's row meanwhile.

use serde::{Deserialize, Serialize};

use crate::envelope::Later;
use crate::{Hlc, Place, Seq};

/// What is being done to all of a collection, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UnderWay {
    /// Its documents are being deleted.
    #[serde(rename = "c")]
    Clearing(Clearing),
    /// Sync is being switched on: documents up to this key are in the outbox. None is sent before all are.
    #[serde(rename = "o")]
    Offering(Option<serde_bytes::ByteBuf>),
    /// Sync was switched off: what was never sent is dropped from the outbox, behind this place.
    #[serde(rename = "d")]
    Dropping(Place),
}

/// Which documents a clearing deletes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clearing {
    /// Those that this device wrote no later,
    pub(crate) clock: Hlc,
    /// those that it had read from a server by then,
    pub(crate) seq: Seq,
    /// and of these the ones behind this key.
    pub(crate) after: Option<serde_bytes::ByteBuf>,
    pub(crate) later: Later,
}
