//! A server that comes back as it was before.

use std::path::Path;

use pocket_e2e::{Server, Transport, done, until};

use crate::device::Device;

/// Yesterday's backup is restored under devices that stay connected. What they sent since is in no backup; they still
/// have it, and so has the server in the end. They would otherwise have waited for ever at a place in the server's order
/// that is not there any more, or taken what the server lacks for deleted.
pub(crate) fn point_13_a_server_restored_from_yesterday_loses_no_work_and_leaves_nobody_stuck(
    transport: Transport,
) {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("server");
    let backup = scratch.path().join("backup");
    let mut server = Server::start(&at);
    let url = transport.url(server.address());
    let (ann, bob) = (
        Device::new(scratch.path(), "ann"),
        Device::new(scratch.path(), "bob"),
    );
    for n in 0..30 {
        ann.put(&format!("yesterday-{n:02}"), "by ann");
    }
    bob.put("bobs", "by bob");
    let (mut first, mut second) = (ann.watch(&url), bob.watch(&url));
    settle(&[&ann, &bob], 31);
    done(&at, &["backup", text(&backup)]);

    for n in 0..20 {
        ann.put(&format!("today-a{n:02}"), "by ann");
        bob.put(&format!("today-b{n:02}"), "by bob");
    }
    ann.set("yesterday-03", "changed by ann");
    bob.set("yesterday-04", "changed by bob");
    ann.set("bobs", "changed by ann");
    settle(&[&ann, &bob], 71);
    until("the changes are everywhere", || {
        ann.documents() == bob.documents()
    });
    let today = ann.documents();

    server.kill();
    std::fs::remove_dir_all(&at).unwrap();
    ann.put("while-down", "by ann");
    done(&at, &["restore", text(&backup)]);
    server.restart();
    bob.put("afterwards", "by bob");

    settle(&[&ann, &bob], 73);
    assert!(
        first.is_alive() && second.is_alive(),
        "nobody gave up for ever"
    );
    first.kill();
    second.kill();
    // A pass ends when the outbox is empty and the head is reached: nobody is stuck.
    for device in [&ann, &bob, &ann] {
        device.sync(&url);
    }
    let fresh = Device::new(scratch.path(), "fresh");
    fresh.sync(&url);
    let mut expected = today;
    expected.insert("while-down".to_owned(), "by ann".to_owned());
    expected.insert("afterwards".to_owned(), "by bob".to_owned());
    for device in [&ann, &bob, &fresh] {
        assert_eq!(device.documents(), expected, "{}", device.0.display());
        assert_eq!(device.pending(), 0);
    }
}

/// Waits until all have so many documents, and nothing left to send.
fn settle(devices: &[&Device], documents: usize) {
    for device in devices {
        until("everything is here and sent", || {
            device.pending() == 0 && device.documents().len() == documents
        });
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
