//! A device that was offline for very long.

use std::fmt::Write as _;
use std::time::Duration;

use pocket_e2e::{Server, Transport, done, peak_kib, setting, until};

use crate::device::Device;

/// The most that the device's process may ever have used while it sends.
const PEAK_KIB: u64 = 200 * 1024;

/// Each document is a mutation of its own. They go out in batches, so that what was sent when the process is killed need
/// not be sent again, and memory does not grow with their number.
pub(crate) fn a_hundred_thousand_changes_made_offline_arrive_through_kills(transport: Transport) {
    let count = setting("POCKET_OFFLINE_CHANGES", 20_000);
    let scratch = tempfile::tempdir().unwrap();
    let server = Server::start(&scratch.path().join("server"));
    let url = transport.url(server.address());
    let device = Device::new(scratch.path(), "device");
    let mut lines = String::new();
    for n in 0..count {
        writeln!(lines, r#"{{"_id":"{n:06}","text":"written offline, {n}"}}"#).unwrap();
    }
    let file = scratch.path().join("documents.jsonl");
    std::fs::write(&file, &lines).unwrap();
    done(&device.0, &["import", "docs", file.to_str().unwrap()]);
    assert_eq!(device.pending(), count);

    let mut peak = 0;
    let mut kills = 0;
    let mut left = count;
    while left > count / 2 {
        let mut watching = device.watch(&url);
        watching.run_for(Duration::from_millis(200));
        until("it gets on", || device.pending() < left);
        peak = peak.max(peak_kib(watching.id()));
        watching.kill();
        left = device.pending();
        kills += 1;
    }
    let mut watching = device.watch(&url);
    until("all is sent", || {
        peak = peak.max(peak_kib(watching.id()));
        device.pending() == 0
    });
    watching.kill();
    println!(
        "{count} changes, {kills} kills, at most {} MiB",
        peak / 1024
    );
    assert!(peak < PEAK_KIB, "{peak} KiB");
    let fresh = Device::new(scratch.path(), "fresh");
    fresh.sync(&url);
    assert_eq!(fresh.place(), count, "each has one place in the order");
    assert!(
        done(&fresh.0, &["export", "docs"]) == lines.into_bytes(),
        "what arrived is not what was written"
    );
}
