//! A document as it is stored: which version it is, what the server has of it, and what is pending.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Presence, ServerVersion, decode_prefix, seal_row};
use crate::value::Encoded;
use crate::{Body, ClientId, Hlc, Place, Result, Revision};

/// `d…`: a head, then the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredDocument {
    pub(crate) head: DocumentHead,
    pub(crate) body: Option<Body>,
}

/// The head of a stored document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DocumentHead {
    pub(crate) rev: Revision,
    pub(crate) presence: Presence,
    /// The newest version of the server; its content is in the shadow when it is not this one.
    pub(crate) server: Option<ServerVersion>,
    /// The resync that last saw it.
    pub(crate) resync: u64,
    /// The mutations of the outbox that touch it, in order.
    pub(crate) pending: Vec<Place>,
    pub(crate) later: DocumentLater,
}

crate::later_fields! {
    /// Later fields of a document.
    pub(crate) struct DocumentLater {
        /// While its collection does not sync: the version of which this one is another shape, and nothing beside. None
        /// where somebody has edited it since.
        reshaped: Option<Revision> = "m",
        /// The last step aside that this client took on the document, since another version came to stand behind it. That
        /// may be an earlier one by its time: a step aside of it must not get the revision of this one again.
        stepped: Option<Hlc> = "s",
    }
}

impl DocumentLater {
    /// What stays when somebody writes the document.
    pub(crate) fn kept(&self) -> Self {
        Self {
            stepped: self.stepped,
            ..Self::default()
        }
    }

    /// The reading that a change nobody makes of the version of `hlc` gets.
    pub(crate) fn step_aside(&self, hlc: Hlc) -> Hlc {
        let taken = self.stepped.filter(|stepped| stepped.is_beside(hlc));
        taken.map_or(hlc, |taken| taken.max(hlc)).aside()
    }
}

impl DocumentHead {
    /// How many values its row has.
    const FIELDS: u32 = 6;

    /// A pending version got another revision: it may be what readers see, or what that is another shape of.
    pub(crate) fn rename(&mut self, old: Revision, new: Revision) {
        let revs = std::iter::once(&mut self.rev).chain(&mut self.later.reshaped);
        for rev in revs.filter(|rev| **rev == old) {
            *rev = new;
        }
    }

    /// What is kept once the version `by` of the server takes the place of the one that stood there.
    pub(crate) fn replaced(&self, by: Revision, own: ClientId) -> DocumentLater {
        // What never took effect has given nothing away.
        let stood = self.server.map(|server| server.rev);
        let is_step = |rev: &Revision| *rev != by && rev.client == own && rev.hlc.is_aside();
        let step = stood.filter(is_step).map(|rev| rev.hlc);
        DocumentLater {
            stepped: step.max(self.later.stepped),
            ..DocumentLater::default()
        }
    }
}

impl StoredDocument {
    pub(crate) fn is_live(&self) -> bool {
        self.head.presence == Presence::Live
    }

    /// What a change made on this version names as its base.
    pub(crate) fn base(&self) -> Option<Revision> {
        self.is_live().then_some(self.head.rev)
    }

    /// Head and body, one behind the other.
    pub(crate) fn seal(&self, key: &[u8]) -> Bytes {
        let body = self.body.as_ref().map_or(&[][..], Body::as_bytes);
        seal_row(key, &self.head, body)
    }

    pub(crate) fn decode(payload: &Bytes) -> Result<Self> {
        let (head, rest) = decode_prefix::<DocumentHead>(payload)?;
        let body = (head.presence == Presence::Live).then(|| Body::from_trusted(rest));
        Ok(Self { head, body })
    }
}

/// The body of a stored document; none of a tombstone. Nothing else of it is read.
pub(crate) fn live_body(payload: &[u8]) -> Result<Option<&[u8]>> {
    const LIVE: &[u8] = &[Presence::Live as u8];
    let (presence, body) = Encoded::of_row(payload, DocumentHead::FIELDS, 1)?;
    // That is how it is written; a number may have other forms.
    let is_live = presence.bytes() == LIVE || presence.equals(Encoded::of(LIVE)?)?;
    Ok(is_live.then_some(body))
}
