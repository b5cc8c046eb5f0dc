//! The check of foreign bytes: limits, and that nothing gets past it or brings it down.

use pocket_core::{Body, DocumentLimits, Value, check_body, check_frame};
use proptest::prelude::*;

use crate::strategy::map;

fn limits() -> DocumentLimits {
    DocumentLimits::default()
}

/// A document of this many levels in all.
fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = b"\x81\xa1a".repeat(levels - 1);
    bytes.push(0x80);
    bytes
}

/// A map of `count` fields, each null, with keys of five digits.
fn wide(count: u16) -> Vec<u8> {
    let mut bytes = vec![0xde];
    bytes.extend_from_slice(&count.to_be_bytes());
    for field in 0..count {
        bytes.push(0xa5);
        bytes.extend_from_slice(format!("{field:05}").as_bytes());
        bytes.push(0xc0);
    }
    bytes
}

#[test]
fn levels_are_counted_from_the_document_itself() {
    check_body(&nested(32), &limits()).unwrap();
    let error = check_body(&nested(33), &limits()).unwrap_err();
    assert_eq!(error.code(), "validation");
    assert!(error.to_string().contains("more than 32 levels"), "{error}");
    check_frame(&nested(33), 33, 100).unwrap();
    check_frame(&nested(34), 33, 100).unwrap_err();
    // Scalars are no level of their own.
    check_body(b"\x81\xa1a\x01", &limits().with_depth(1)).unwrap();
}

#[test]
fn a_million_levels_are_refused_without_recursion() {
    for bytes in [
        nested(1_000_000),
        [b"\x81\xa1a".to_vec(), vec![0x91; 1_000_000]].concat(),
    ] {
        check_frame(&bytes, 64, 65_536).unwrap_err();
        check_frame(&bytes, usize::MAX, usize::MAX).ok();
    }
}

#[test]
fn every_value_is_a_node_and_no_key_is() {
    // The document, the array, its two values, and one more.
    let bytes = b"\x82\xa1a\x92\x01\x02\xa1b\xc0";
    check_body(bytes, &limits().with_nodes(5)).unwrap();
    let error = check_body(bytes, &limits().with_nodes(4)).unwrap_err();
    assert!(error.to_string().contains("more than 4 values"), "{error}");
    check_frame(bytes, 32, 5).unwrap();
    check_frame(bytes, 32, 4).unwrap_err();
}

#[test]
fn a_document_of_exactly_the_limit_is_taken() {
    let bytes = b"\x81\xa1a\xa3xyz";
    check_body(bytes, &limits().with_bytes(bytes.len())).unwrap();
    let error = check_body(bytes, &limits().with_bytes(bytes.len() - 1)).unwrap_err();
    assert_eq!(error.code(), "document-too-large");
}

#[test]
fn limits_cannot_be_raised_without_end() {
    let limits = limits().with_bytes(usize::MAX).with_depth(usize::MAX);
    assert_eq!(limits.bytes, 16 << 20);
    assert_eq!(limits.depth, DocumentLimits::MAX_DEPTH);
}

#[test]
fn a_key_that_occurs_twice_is_found_in_small_and_large_maps() {
    for count in [2_u16, 15, 16, 17, 18, 1_000] {
        let bytes = wide(count);
        check_body(&bytes, &limits()).unwrap();
        let last = bytes.len() - 7;
        for other in [0, count / 3, count - 2] {
            let mut twice = bytes.clone();
            twice[last..].copy_from_slice(&bytes[3 + 7 * usize::from(other)..][..7]);
            let error = check_body(&twice, &limits()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("\"{other:05}\" occurs twice")),
                "{count}: {error}"
            );
            assert!(error.contains(&format!("byte {last})")), "{count}: {error}");
        }
    }
}

#[test]
fn keys_of_one_map_are_not_keys_of_another() {
    let body = r#"{"a":{"a":[{"a":1},{"a":{}}],"b":2},"b":{"a":1}}"#;
    let bytes = rmp_serde::to_vec_named(&Value::from_json_str(body).unwrap()).unwrap();
    check_body(&bytes, &limits()).unwrap();
}

#[test]
fn a_fault_is_named_with_its_field() {
    let error = check_body(b"\x81\xa4list\x91\xc1", &limits())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("0xc1") && error.contains("byte 7"),
        "{error}"
    );
    let error = check_body(b"\x81\xa4list\x91\xa1\xff", &limits())
        .unwrap_err()
        .to_string();
    assert!(error.contains(r#"field "list", byte 7"#), "{error}");
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        agree(&bytes)?;
        agree(&[b"\x81\xa1a", bytes.as_slice()].concat())?;
    }

    #[test]
    fn changed_documents_are_read_or_refused(
        map in map(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = Body::from_map(&map, &limits()).unwrap().into_bytes().to_vec();
        agree(&bytes[..cut.index(bytes.len())])?;
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        agree(&bytes)?;
    }
}

/// What the check takes, every other reader can read, and comes back as it was.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let frame = check_frame(bytes, 32, 65_536);
    let trusted = Body::from_trusted(bytes.to_vec().into());
    let _ = (
        trusted.field("a"),
        trusted.to_map(),
        Body::split(bytes, &limits()),
    );
    let _ = (
        trusted.merge_top_level(&trusted, &limits()),
        format!("{trusted:?}"),
    );
    if check_body(bytes, &limits()).is_ok() {
        prop_assert!(frame.is_ok());
        let map = trusted
            .to_map()
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let again = Body::from_map(&map, &limits()).unwrap();
        prop_assert!(again.to_map().unwrap().is_same(&map));
        prop_assert_eq!(Body::split(bytes, &limits()).unwrap().1, trusted);
    }
    Ok(())
}
