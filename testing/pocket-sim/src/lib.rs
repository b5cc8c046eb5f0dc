#![doc = include_str!("../README.md")]

mod audit;
mod check;
mod client;
mod clock;
mod command;
mod counts;
mod dice;
mod disk;
mod faults;
mod history;
mod mutants;
mod network;
mod runner;
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
