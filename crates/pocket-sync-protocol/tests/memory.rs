//! What a frame claims costs nothing. Alone in its process, because it measures the process.
#![cfg(target_os = "linux")]

use bytes::Bytes;
use pocket_sync_protocol::{WireLimits, decode_client, decode_server};

/// The most address space this process ever had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmPeak:"))
        .expect("Linux tells it");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number of kB")
}

#[test]
fn claimed_lengths_are_not_allocated() {
    let claims: [&[u8]; 6] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\x10\x00\x00\x00",
        b"\xc6\x10\x00\x00\x00",
    ];
    let names = [
        "push", "hello", "fetch", "page", "records", "outcomes", "welcome",
    ];
    let fields = ["m", "c", "r", "o", "d", "e", "n", "x"];
    let read = |frame: Vec<u8>| {
        let frame = Bytes::from(frame);
        assert!(decode_client(&frame, &WireLimits::default()).is_err());
        assert!(decode_server(&frame, &WireLimits::default()).is_err());
    };
    read(b"\x81\xa4push\x81\xa1m\x90".to_vec());
    let before = peak_kib();
    for name in names {
        for field in fields {
            for claim in claims {
                let mut frame = vec![0x81];
                rmp::encode::write_str(&mut frame, name).expect("a vector takes it");
                frame.push(0x81);
                rmp::encode::write_str(&mut frame, field).expect("a vector takes it");
                frame.extend_from_slice(claim);
                read(frame);
            }
        }
    }
    let grown = peak_kib() - before;
    assert!(grown < 4 * 1024, "grew by {grown} KiB");
}
