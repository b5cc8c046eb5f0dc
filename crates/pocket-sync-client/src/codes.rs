//! The stable codes of errors that this side finds. Those of the server are in `pocket_sync_protocol::codes`, those of
//! the store in `pocket_core::codes`; `docs/errors.md` has a row for each.

pub use pocket_core::codes::{CONFIG, OTHER_LINEAGE, OTHER_NAMESPACE, OTHER_USER};

/// The server cannot be reached, or the connection was lost.
pub const CONNECT: &str = "connect";
/// The server did not answer in time.
pub const TIMEOUT: &str = "timeout";
/// The server's certificate is none that this machine trusts for this name.
pub const CERTIFICATE: &str = "certificate";
/// A token would travel in plain text to a host that is not this machine.
pub const PLAINTEXT_REFUSED: &str = "plaintext-refused";
/// The server knows fewer numbers of this client than it confirmed: it was restored from a backup.
pub const RESTORED_SERVER: &str = "restored-server";
/// The server wants the client to read everything again, which it does.
pub const RESYNC_REQUIRED: &str = "resync-required";
/// What is here is not what the server says it should be: everything is read again.
pub const DIFFERS: &str = "differs";
/// The engine was not started, or was stopped meanwhile.
pub const STOPPED: &str = "stopped";
/// The engine was destroyed.
pub const DESTROYED: &str = "destroyed";
/// The engine's direction excludes what was asked for.
pub const DIRECTION: &str = "direction";
