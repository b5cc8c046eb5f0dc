//! Options of `serve`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::limits::LimitArgs;
use crate::retention::RetentionArgs;
use crate::rights::RightsArgs;
use crate::settings::Setting;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    pub(crate) listen: String,
    #[command(flatten)]
    pub(crate) rights: RightsArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    /// The certificate for wss:// and https://: a PEM file, with those between it and a known authority. Read again when it
    /// changes, or at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Show the page at / and the figures at /metrics to who has this token; without one, only from this machine
    #[arg(long, value_name = "TOKEN")]
    pub(crate) admin_token: Option<String>,
    /// Have no page at /; figures and clients stay for who may see them
    #[arg(long)]
    pub(crate) no_admin: bool,
    /// How lines on stderr look
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Send traces to this OpenTelemetry collector, by OTLP over HTTP: `http://127.0.0.1:4318`. Needs a build with the feature
    /// `otel`
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Read settings from this file (TOML): a key for each option, with its name
    ///
    /// What stands on the command line comes first, then the environment (POCKET_ and the option's name in capitals), then the
    /// file. Paths in it begin where it lies.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings in force, and where each comes from, instead of serving. What `serve` would refuse is refused
    #[arg(long)]
    pub(crate) print_config: bool,
    /// What `--print-config` prints.
    #[arg(skip)]
    pub(crate) in_force: Vec<Setting>,
    /// End when stdin ends, for a program that starts a server and must not leave it behind
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
    /// Last, for what follows would stand under their heading.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// An object a line
    Json,
}
