//! Disks without room, real ones: a file system of a few megabytes, filled to the last byte.

use pocket_e2e::disk::SmallDisk;
use pocket_e2e::{Server, Transport, done, until};

use crate::device::Device;

const MEBIBYTES: usize = 8;

fn long(byte: char) -> String {
    byte.to_string().repeat(100_000)
}

/// Writes fail with a code and leave nothing half stored; reads go on; and without a restart of anything the device goes
/// on when there is room.
pub(crate) fn a_device_with_a_full_disk_says_so_and_goes_on_when_there_is_room(
    transport: Transport,
) {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&scratch.path().join("small"), MEBIBYTES) else {
        return;
    };
    let server = Server::start(&scratch.path().join("server"));
    let url = transport.url(server.address());
    let (small, other) = (
        Device::new(disk.path(), "device"),
        Device::new(scratch.path(), "other"),
    );
    small.put("mine", "before");
    let mut watching = small.watch(&url);
    other.sync(&url);
    until("it is sent", || small.pending() == 0);

    disk.fill();
    let document = format!(r#"{{"_id":"refused","text":"{}"}}"#, long('x'));
    let (stored, said) = small.tries(&["--json", "insert", "docs", &document]);
    assert!(!stored && said.contains("storage-full"), "{said}");
    other.put("theirs", &long('y'));
    other.sync(&url);
    assert_eq!(small.ids(), ["mine"], "what was there can be read");
    assert!(watching.is_alive());

    disk.empty();
    until("it goes on by itself", || small.ids() == ["mine", "theirs"]);
    small.put("later", "there is room again");
    until("it is sent", || small.pending() == 0);
    other.sync(&url);
    assert_eq!(other.ids(), ["later", "mine", "theirs"]);
    watching.kill();
    small.sync(&url);
}

/// A push that does not fit is answered with a code that says come back, and is there once there is room: nobody's change
/// is refused for good because a disk was full.
pub(crate) fn a_server_with_a_full_disk_refuses_for_a_while_and_loses_nothing(
    transport: Transport,
) {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&scratch.path().join("small"), MEBIBYTES) else {
        return;
    };
    let at = disk.path().join("server");
    let mut server = Server::start(&at);
    let url = transport.url(server.address());
    let (ann, bob) = (
        Device::new(scratch.path(), "ann"),
        Device::new(scratch.path(), "bob"),
    );
    bob.put("before", "before");
    let mut connected = bob.watch(&url);
    until("it is sent", || bob.pending() == 0);
    disk.fill();
    for n in 0..5 {
        ann.put(&format!("large-{n}"), &long('x'));
    }
    ann.gives_up(&url, "[server-full]");
    assert_eq!(ann.pending(), 5, "what could not be sent stays");
    assert_eq!(ann.conflicts(), 0, "and was not refused for good");
    // A new session is stored before it is welcomed, so nobody new comes in either; who is connected stays so.
    let fresh = Device::new(scratch.path(), "fresh");
    fresh.gives_up(&url, "[server-full]");
    assert!(connected.is_alive());

    disk.empty();
    ann.sync(&url);
    until("it arrives by itself", || bob.ids().len() == 6);
    until("in its place", || bob.place() == 6);
    connected.kill();
    server.restart();
    fresh.sync(&url);
    assert_eq!(fresh.place(), 6, "each was applied once");
    assert_eq!(fresh.documents(), bob.documents());
    server.kill();
    done(&at, &["compact"]);
}
