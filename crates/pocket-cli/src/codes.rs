//! The stable codes of errors that only this program makes. `docs/errors.md` has a row for each.

/// The command line is wrong; the exit status is 2.
pub(crate) const USAGE: &str = "usage";
/// There is no database in the directory.
pub(crate) const NOT_FOUND: &str = "not-found";
/// The directory belongs to the other role, or to another backend.
pub(crate) const OTHER_DIRECTORY: &str = "other-directory";
/// A file, a pipe or the network of this machine failed.
pub(crate) const IO: &str = "io";
/// A signal came before the work was done.
pub(crate) const INTERRUPTED: &str = "interrupted";
/// A pass was complete, and the server refused some of the changes; the exit status is 3.
pub(crate) const REFUSED: &str = "refused";
/// The devices of the demo do not hold the same documents.
pub(crate) const EXPORTS_DIFFER: &str = "exports-differ";
/// The demo did not get on as it must.
pub(crate) const DEMO: &str = "demo";
/// `demo --web` found no sources to build the application from.
pub(crate) const NO_CHECKOUT: &str = "no-checkout";
/// A program that builds the application is not installed.
pub(crate) const MISSING_TOOL: &str = "missing-tool";
/// A step of building the application failed.
pub(crate) const BUILD_FAILED: &str = "build-failed";
