use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use pocket_storage_memory::MemoryStorage;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{Content, Holds, Peers, serve};
use crate::args::StorageKind;
use crate::gate::Gate;
use crate::held::frame;

/// The place was given back first, and a holder that ended then took the status with it: the peer said that its
/// command was to be run again, which had been done.
#[test]
fn a_peer_keeps_its_place_until_its_status_is_out() {
    let runtime = Runtime::new().unwrap();
    let holds = Holds {
        storage: StorageKind::Memory,
        content: Content::Server(Gate::new(Arc::new(MemoryStorage::new()))),
        home: std::path::Path::new("nowhere").into(),
    };
    let peers = Arc::new(Peers {
        streams: Mutex::default(),
        next: AtomicU64::new(0),
        count: watch::Sender::new(0),
        ending: watch::Sender::new(false),
    });
    let (mut peer, holder) = UnixStream::pair().unwrap();
    let serving = {
        let (peers, handle) = (peers.clone(), runtime.handle().clone());
        std::thread::spawn(move || serve(&holder, holds, &peers, &handle))
    };
    assert_eq!(frame::read(&mut peer).unwrap().0, frame::HELLO);
    // The answer repeats the word, and is more than a socket takes in: it cannot be out while nobody reads it.
    // A long word would be cut, so it is a row of short ones.
    let word = b"xxxxxxx ".repeat(512 * 1024);
    for word in [&b"pocket"[..], b"find", b"things", b"--limit", &word] {
        frame::write_word(&mut peer, word).unwrap();
    }
    frame::write(&mut peer, frame::RUN, &[]).unwrap();
    let mut told = 0;
    loop {
        let (kind, bytes) = frame::read(&mut peer).unwrap();
        if kind == frame::STATUS {
            assert_eq!(bytes, [1]);
            break;
        }
        assert_eq!(kind, frame::NOTE);
        told += bytes.len();
        if told < word.len() / 2 {
            assert_eq!(*peers.count.borrow(), 1);
        }
    }
    assert!(told >= word.len(), "{told}");
    serving.join().unwrap().unwrap();
    assert_eq!(*peers.count.borrow(), 0);
}
