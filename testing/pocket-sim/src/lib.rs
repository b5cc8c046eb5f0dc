#![doc = include_str!("../README.md")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::struct_excessive_bools,
    clippy::single_match_else,
    reason = "a test tool: what a history holds is handed over, and what a node went through is noted in flags"
)]

mod audit;
mod check;
mod client;
mod clock;
mod command;
mod counts;
mod dice;
mod disk;
mod expiry;
mod family;
mod faults;
mod forgetting;
mod history;
mod mutants;
mod network;
mod restores;
mod rights;
mod runner;
mod schemas;
mod server;
mod swarm;
mod tasks;
mod trace;
mod verdict;
mod view;
mod wire;
mod workload;
mod world;

pub use command::run;
pub use history::{Digest, digest};
