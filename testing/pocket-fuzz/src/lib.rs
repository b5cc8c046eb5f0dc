#![doc = include_str!("../README.md")]
#![allow(
    clippy::missing_panics_doc,
    reason = "a target panics on what must not be"
)]

mod client;
mod counting;
mod document;
mod frame;
mod input;
mod key;
mod now;
pub mod seeds;
mod server;
mod store;

/// A function that must bear any bytes, and panics on what must not be.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Its name, also that of its folder of inputs.
    pub name: &'static str,
    /// What it does with them.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident = $run:path),* $(,)?) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), run: $run }),*];
    };
}

targets! {
    frame_decode = frame::decode,
    document_decode = document::decode,
    key_order = key::order,
    merge = document::merge,
    session_server = server::session,
    session_client = client::session,
    store_open = store::open,
}

/// Runs a target.
///
/// # Panics
/// On what must not be, and when there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(bytes);
}
