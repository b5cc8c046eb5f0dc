//! Connections whose other end says nothing any more, and does not close them either.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use pocket_e2e::{PATIENCE, Running, Transport, done, signal, until};

use crate::device::Device;

/// A server whose heartbeat is a second, so that a test need not wait for minutes.
struct Brisk {
    process: Child,
    address: String,
}

impl Brisk {
    fn start(store: &Path) -> Self {
        use std::io::BufRead as _;
        let mut process = Command::new(env!("CARGO_BIN_EXE_brisk-server"))
            .arg(store)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let stdout = process.stdout.take().unwrap();
        std::io::BufReader::new(stdout)
            .read_line(&mut address)
            .unwrap();
        Self {
            process,
            address: address.trim().to_owned(),
        }
    }
}

impl Drop for Brisk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// `kill -STOP`: the kernel goes on accepting and acknowledging for the process, so that no connection ends by itself.
/// Only heartbeats tell. Whoever trusted the connection would say `idle` to an application whose writes go nowhere.
pub(crate) fn a_server_that_stands_still_is_noticed_and_found_again(transport: Transport) {
    let scratch = tempfile::tempdir().unwrap();
    let server = Brisk::start(&scratch.path().join("server.redb"));
    let url = transport.url(&server.address);
    let (ann, bob) = (
        Device::new(scratch.path(), "ann"),
        Device::new(scratch.path(), "bob"),
    );
    ann.put("1", "before");
    let polls = ["--pull-interval", "1000"];
    let watch = |device: &Device| {
        let sync = ["--json", "sync", "--server", &url];
        let more: &[&str] = match transport {
            Transport::WebSocket => &[],
            Transport::Http => &polls,
        };
        Running::start(&device.0, &[&sync[..], more].concat())
    };
    let (first, second) = (watch(&ann), watch(&bob));
    says(&first, "idle");
    until("it arrives", || bob.documents().len() == 1);

    signal(server.process.id(), "STOP");
    ann.put("2", "while it stands still");
    says(&first, "offline");
    says(&second, "offline");
    assert_eq!(ann.pending(), 1);
    bob.put("3", "reads and writes go on");

    signal(server.process.id(), "CONT");
    says(&first, "idle");
    says(&second, "idle");
    for device in [&ann, &bob] {
        until("both have everything", || {
            device.pending() == 0 && device.documents().len() == 3
        });
    }
    drop((first, second));
    let fresh = Device::new(scratch.path(), "fresh");
    fresh.sync(&url);
    assert_eq!(fresh.documents().len(), 3);
    assert_eq!(fresh.place(), 3, "nothing was applied twice");
    done(&ann.0, &["conflicts", "--json"]);
}

fn says(watching: &Running, status: &str) {
    let line = watching.wait_for(PATIENCE, |line| {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        told["status"] == status
    });
    assert!(line.is_some(), "it never said {status}");
}
