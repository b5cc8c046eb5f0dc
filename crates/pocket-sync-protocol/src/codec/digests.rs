//! The bytes of digests, which travel in a field of their own form.

use bytes::Bytes;
use pocket_core::storage::ordered::BTreeMap;
use pocket_core::{CollectionName, Digest};

use super::collection_name;
use super::reader::Reader;
use super::writer::Writer;
use crate::ProtocolError;

/// The one kind of digest there is.
const SUMS: u64 = 1;

/// `[kind, [[collection, digest] …], later]`.
pub(crate) fn encode_digests(digests: &BTreeMap<CollectionName, Digest>) -> Bytes {
    let names = digests.keys().map(|name| name.as_str().len());
    let capacity = 16
        + names
            .map(|name| 3 + name + 2 + Digest::BYTES)
            .sum::<usize>();
    let mut w = Writer::with_capacity(capacity);
    w.array(3);
    w.u64(SUMS);
    w.list(digests, |w, (name, digest)| {
        w.array(2);
        w.text(name.as_str());
        w.bin(&digest.to_bytes());
    });
    w.nil();
    w.finish()
}

/// The digests, or none if they are of a kind that is not known here.
pub(crate) fn decode_digests(
    bytes: &Bytes,
) -> Result<Option<BTreeMap<CollectionName, Digest>>, ProtocolError> {
    let mut r = Reader::new(bytes);
    let elements = r.array("digests")?;
    if elements == 0 || r.u64("the kind of digests")? != SUMS {
        return Ok(None);
    }
    if elements != 3 {
        return Err(ProtocolError::bad_frame(format!(
            "digests of {elements} elements"
        )));
    }
    let list = r.list("the digests", |r| {
        r.fixed("a digest", 2)?;
        let name = collection_name(r)?;
        let digest = r.bin("a digest")?;
        let digest = <[u8; Digest::BYTES]>::try_from(digest.as_ref())
            .map_err(|_| ProtocolError::bad_frame(format!("a digest of {} bytes", digest.len())))?;
        Ok((name, Digest::from_bytes(digest)))
    })?;
    r.later()?;
    r.end()?;
    let count = list.len();
    let digests: BTreeMap<_, _> = list.into_iter().collect();
    if digests.len() < count {
        return Err(ProtocolError::bad_frame(
            "two digests of one collection".to_owned(),
        ));
    }
    Ok(Some(digests))
}
