//! Options of the commands that look after databases and servers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::sync::{ServerArgs, seconds};

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WipeArgs {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClientsArgs {
    /// The server: ws(s):// or http(s)://
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// The server's admin token, where it has one; without one only a server on this machine answers
    #[arg(
        long,
        env = "POCKET_ADMIN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) admin_token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchLoadArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Clients at once
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) clients: u64,
    /// Documents that each inserts, one after the other
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) documents: u64,
    /// Bytes of a document, about
    #[arg(long, value_name = "BYTES", default_value = "200", value_parser = clap::value_parser!(u32).range(0..=500_000))]
    pub(crate) size: u32,
    /// Fail when not everything has arrived everywhere after so many seconds
    #[arg(long, value_name = "S", default_value = "120", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to make; it must not be there yet. `-` is stdout
    pub(crate) file: PathBuf,
    /// Copy values whose checksums fail as they are, instead of ending with `corrupt` at the first. The backup is whole
    /// then, and the exit status still 1
    #[arg(long)]
    pub(crate) with_damaged: bool,
    /// What comes is written to a file at once, so that no copy is needed in between
    #[arg(long, hide = true)]
    pub(crate) direct: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The file of the backup; `-` is stdin
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory instead
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Use this new directory and keep it, to look inside afterwards; with --web, where the server's database is kept, which
    /// may be there already
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Serve a to-do application for browsers and its sync server, from one address, until a signal comes
    #[arg(long)]
    pub(crate) web: bool,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
}

/// Options of `demo --web`.
#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    /// The port to listen on; 0 takes a free one. What browsers store belongs to the address with its port
    #[arg(long, value_name = "N", default_value = "7711", requires = "web")]
    pub(crate) port: u16,
    /// Listen in the local network too, for a phone: everybody in it may then read and write the demo's lists
    #[arg(long, requires = "web")]
    pub(crate) lan: bool,
    /// Whether to open a browser [default: yes, if this is a terminal]
    #[arg(long, value_enum, value_name = "WHETHER", requires = "web")]
    pub(crate) open: Option<YesNo>,
    /// Serve the built files in this folder, and build nothing
    #[arg(long, value_name = "DIR", requires = "web")]
    pub(crate) assets: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    Yes,
    No,
}
