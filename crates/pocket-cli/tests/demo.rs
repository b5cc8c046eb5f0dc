//! `demo`: that it leaves nothing behind when it is cut short. The whole story is told in the end-to-end tests.
#![cfg(unix)]

mod common;

use std::net::TcpStream;
use std::time::Duration;

use common::{Place, Running, program};

/// A command ends within two seconds of a signal; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// Starts the demo, waits until its server listens, and gives the server's address.
fn begin(place: &Place) -> (Running, String) {
    let mut command = program();
    command.arg("demo").env("TMPDIR", place.path(""));
    let mut demo = Running::start(command);
    let line = demo.line_with("listens on ws://");
    let (_, rest) = line.split_once("ws://").unwrap_or_default();
    let address = rest.split('/').next().unwrap_or_default().to_owned();
    (demo, address)
}

/// Waits until nobody listens there any more.
fn is_gone(address: &str) {
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_signal_ends_the_story_its_server_and_its_directory() {
    let place = Place::new();
    // It comes while the devices' databases are being opened, and has to come often to meet each step of that.
    for signal in ["INT", "TERM"].repeat(8) {
        let (mut demo, address) = begin(&place);
        demo.signal(signal);
        assert_eq!(demo.status_within(SOON), 1);
        assert!(demo.notes().contains("error[interrupted]: "));
        is_gone(&address);
    }
    let left = std::fs::read_dir(place.path("")).map(Iterator::count);
    assert_eq!(left.ok(), Some(0));
}

#[test]
fn a_demo_that_is_killed_leaves_no_server_behind_either() {
    let place = Place::new();
    let (mut demo, address) = begin(&place);
    demo.signal("KILL");
    demo.status();
    is_gone(&address);
}

#[test]
fn the_demo_never_touches_a_directory_that_is_in_use() {
    let place = Place::new();
    place.file("precious", "data");
    let directory = place.path("");
    let keep = directory.to_str().unwrap_or_default();
    let output = program().args(["demo", "--keep", keep]).output();
    let outcome: common::Outcome = output.expect("it runs").into();
    outcome.failed(1, "demo");
    place.run(&["demo"]).failed(2, "usage");
}
