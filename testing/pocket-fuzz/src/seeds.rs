//! What the targets begin with: the golden vectors of the wire, and a few inputs that reach deep.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use pocket_core::ClientId;
use pocket_sync_protocol::limits::largest_document;
use pocket_sync_protocol::{
    ClientMessage, ServerMessage, WireLimits, decode_client, decode_server,
};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The inputs that a target begins with, each with a name.
///
/// # Panics
/// When the golden vectors cannot be read.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let golden = golden();
    let made = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    match target {
        "frame_decode" => golden,
        "document_decode" => golden
            .iter()
            .flat_map(|(name, frame)| {
                let bodies = bodies(frame).into_iter().enumerate();
                let bodies = bodies.map(move |(n, body)| (format!("{name}-body-{n}"), body));
                // A message is a map as a document is.
                bodies.chain([(name.clone(), frame.clone())])
            })
            .collect(),
        "key_order" => {
            let ids = [
                &b"\0\x00\x00\x00\x01a\x01\x00\x00\x01b\x02\x00\x00\x02aa"[..],
                b"\0\x00\x00\x00\x02a\xff\x01\x00\x00\x03\x00ab\x00\x01\x00\x01a",
            ];
            let ids = ids.iter().enumerate();
            let ids = ids.map(|(n, ids)| (format!("ids-{n}"), ids.to_vec()));
            let values = golden.iter().map(|(name, frame)| {
                (
                    name.clone(),
                    [&[1][..], &stretch(frame), &stretch(frame)].concat(),
                )
            });
            ids.chain(values).collect()
        }
        "merge" => vec![
            made("empty", b""),
            made("each-side", &[1, 0, 2, 0, 1, 0, 2, 1, 1, 0, 2, 2]),
            made(
                "nested",
                &[
                    1, 0, 5, 1, 1, 2, 0, 1, 0, 5, 1, 1, 2, 1, 1, 0, 5, 1, 2, 2, 1,
                ],
            ),
        ],
        "session_server" => {
            // A hello of hers first, then what a client may say.
            let enter = [0, 3, 0, 0, 0, 1];
            golden
                .iter()
                .map(|(name, frame)| {
                    let frame = [&[0][..], &stretch(frame)].concat();
                    (name.clone(), [&enter[..], &frame, &frame].concat())
                })
                .chain([
                    made(
                        "push-and-pull",
                        &[&enter[..], &[4, 1, 1, 0, 2, 1, 0, 5], &[6, 0, 0, 0, 8]].concat(),
                    ),
                    made("polled", &[1, 3, 0, 0, 0, 1, 7, 1, 0, 9, 0, 0, 3, 8, 2, 3]),
                ])
                .collect()
        }
        "session_client" => {
            // Written, opened and welcomed by a server with a head of 5.
            let enter = [4, 0, 2, 2, 6, 1, 0, 1, 0, 0, 0, 0, 5, 0, 0, 240, 0, 100, 0];
            golden
                .iter()
                .map(|(name, frame)| {
                    let frame = [&[0][..], &stretch(frame)].concat();
                    (name.clone(), [&enter[..], &frame].concat())
                })
                .chain([
                    made(
                        "settled",
                        &[
                            &enter[..],
                            &[9, 3, 1],
                            &[8, 0, 5, 1, 0, 0, 0, 5, 0, 1, 7, 0, 5, 0],
                        ]
                        .concat(),
                    ),
                    made(
                        "conflict",
                        &[
                            &enter[..],
                            &[9, 1, 2],
                            &[8, 0, 5, 1, 0, 0, 0, 5, 0, 1, 7, 0, 5, 0],
                        ]
                        .concat(),
                    ),
                ])
                .collect()
        }
        "store_open" => vec![
            made("whole", &[0]),
            made("flipped", &[0, 9, 5, 3, 1, 20, 5, 8, 0x80]),
            made("exchanged", &[0, 30, 1, 31, 4, 0, 12, 2, 3]),
            made("file", &[15, 0, 5, 0, 1, 1, 200, 0, 0xff, 2, 245, 1, 0, 15]),
        ],
        other => panic!("there is no target {other}"),
    }
}

/// Inputs that crashed a target once, by name.
///
/// # Panics
/// When they cannot be read.
pub fn regressions(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("testing/pocket-fuzz/regressions").join(target);
    if folder.exists() {
        files(&folder)
    } else {
        Vec::new()
    }
}

fn golden() -> Vec<(String, Vec<u8>)> {
    let mut golden = files(&root().join("crates/pocket-sync-protocol/golden"));
    golden.retain(|(name, _)| {
        let kind = Path::new(name).extension();
        kind.is_some_and(|kind| kind == "msgpack" || kind == "bin")
    });
    assert!(!golden.is_empty(), "there are golden vectors");
    golden
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let entry = entry.expect("the folder can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            (
                name,
                std::fs::read(entry.path()).expect("a file can be read"),
            )
        })
        .collect();
    files.sort();
    files
}

/// Bytes with their length before them, as the targets read them.
fn stretch(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&length[..], bytes].concat()
}

/// The bodies of documents in a message.
fn bodies(frame: &[u8]) -> Vec<Vec<u8>> {
    use pocket_core::{ChangeKind, MutationContent, RecordState};
    let frame = Bytes::copy_from_slice(frame);
    let limits = WireLimits::default();
    let mut bodies = Vec::new();
    if let Ok(ClientMessage::Push(push)) = decode_client(&frame, &limits) {
        let client = ClientId::from_bytes([1; 16]);
        let mutations = push.mutations(client, &largest_document());
        for mutation in mutations.into_iter().flatten().flatten() {
            let MutationContent::Changes(changes) = mutation.content else {
                continue;
            };
            for change in changes {
                if let ChangeKind::Put(body) = change.kind {
                    bodies.push(body.as_bytes().to_vec());
                }
            }
        }
    }
    if let Ok(ServerMessage::Page(page)) = decode_server(&frame, &limits) {
        for record in page.records().into_iter().flatten() {
            if let RecordState::Live(body) = record.state {
                bodies.push(body.as_bytes().to_vec());
            }
        }
    }
    bodies
}
