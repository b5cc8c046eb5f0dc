//! Databases of devices that were copied, or came back older than they were.

use pocket_e2e::{Server, Transport, done, until};

use crate::device::Device;

/// Somebody copies the directory of a database to a second machine, and uses both. Both have one client id and the same
/// next number: without a mark of each session, what the second sends would be answered as done already.
pub(crate) fn two_copies_of_a_database_that_both_go_on_lose_nothing_and_send_nothing_twice(
    transport: Transport,
) {
    let scratch = tempfile::tempdir().unwrap();
    let server = Server::start(&scratch.path().join("server"));
    let url = transport.url(server.address());
    let one = Device::new(scratch.path(), "one");
    for n in 0..5 {
        one.put(&format!("before-{n}"), "before the copy");
    }
    one.sync(&url);
    one.put("unsent", "written before the copy, sent by both");
    let two = one.copy_to(scratch.path(), "two");
    for n in 0..10 {
        one.put(&format!("one-{n}"), "by the first");
        two.put(&format!("two-{n}"), "by the second");
    }
    // First one behind the other, then both at once.
    one.sync(&url);
    two.sync(&url);
    let (mut first, mut second) = (one.watch(&url), two.watch(&url));
    for n in 10..20 {
        one.put(&format!("one-{n}"), "by the first");
        two.put(&format!("two-{n}"), "by the second");
    }
    for device in [&one, &two] {
        until("both have everything", || {
            device.pending() == 0 && device.documents().len() == 46
        });
    }
    assert!(first.is_alive() && second.is_alive());
    first.kill();
    second.kill();
    let fresh = Device::new(scratch.path(), "fresh");
    for device in [&one, &two, &fresh] {
        device.sync(&url);
    }
    assert_eq!(fresh.documents(), one.documents());
    assert_eq!(fresh.documents(), two.documents());
    assert_eq!(fresh.place(), 46, "each write has one place in the order");
    assert_eq!(
        (one.conflicts(), two.conflicts()),
        (0, 0),
        "and none met itself"
    );
}

/// A phone is lost and its backup of last week restored on another one. Its next number is one that the server has had
/// from it before; what it writes now must not be taken for what it had written then.
pub(crate) fn a_device_restored_from_its_own_backup_gets_back_what_it_sent_since_and_sends_what_is_new(
    transport: Transport,
) {
    let scratch = tempfile::tempdir().unwrap();
    let server = Server::start(&scratch.path().join("server"));
    let url = transport.url(server.address());
    let backup = scratch.path().join("backup");
    let backup = backup.to_str().unwrap();
    let (lost, other) = (
        Device::new(scratch.path(), "lost"),
        Device::new(scratch.path(), "other"),
    );
    for n in 0..10 {
        lost.put(&format!("old-{n}"), "before the backup");
    }
    lost.sync(&url);
    lost.put("waiting", "not sent before the backup");
    done(&lost.0, &["backup", backup]);
    for n in 0..10 {
        lost.put(&format!("since-{n}"), "after the backup");
    }
    lost.set("old-0", "changed after the backup");
    lost.sync(&url);
    other.sync(&url);
    other.set("old-1", "changed by the other");
    other.sync(&url);

    let found = Device::new(scratch.path(), "found");
    done(&found.0, &["restore", backup]);
    for n in 0..10 {
        found.put(&format!("new-{n}"), "after the restore");
    }
    found.set("old-2", "changed after the restore");
    found.sync(&url);
    other.sync(&url);
    let fresh = Device::new(scratch.path(), "fresh");
    fresh.sync(&url);
    let all = fresh.documents();
    assert_eq!(all.len(), 31);
    assert_eq!(all["old-0"], "changed after the backup");
    assert_eq!(all["old-1"], "changed by the other");
    assert_eq!(all["old-2"], "changed after the restore");
    assert_eq!(found.documents(), all);
    assert_eq!(other.documents(), all);
    assert_eq!((found.pending(), found.conflicts()), (0, 0));
    // And it stays so: the device that was lost turns up again.
    lost.put("again", "from the device that was lost");
    for device in [&lost, &found, &other] {
        device.sync(&url);
        assert_eq!(device.ids().len(), 32, "{}", device.0.display());
    }
}
