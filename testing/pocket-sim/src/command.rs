//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::family::{Family, Seed};
use crate::history::{self, DEFAULT_CLIENTS};
use crate::mutants::{MUTANTS, Mutant};
use crate::runner::{self, ENOUGH, Plan, Report};
use crate::swarm::Profile;

/// Seeds that broke a promise once; they are run before all others.
const REGRESSIONS: &str = include_str!("../seeds/regressions.txt");

/// Seeds that break a promise, known and not mended yet.
const OPEN: &str = include_str!("../seeds/open.txt");

#[derive(Parser)]
#[command(
    name = "pocket-sim",
    about = "Simulates clients and a server on a network, clocks and disks that fail"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs histories, first those that once broke a promise.
    Run {
        /// How many.
        #[arg(long, default_value_t = 5_000)]
        histories: u64,
        /// The seed of the first one.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Clients of a history at the most.
        #[arg(long, default_value_t = DEFAULT_CLIENTS)]
        clients: usize,
        /// Histories at the same time.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Goes on after a broken promise.
        #[arg(long)]
        keep_going: bool,
        /// Histories of this family only: plain, rules, expiry or schemas.
        #[arg(long)]
        family: Option<Family>,
    },
    /// Runs one history and prints what happens in it.
    Replay {
        /// Its seed: SEED, or SEED/FAMILY.
        #[arg(long)]
        seed: Seed,
        /// Clients at the most, as in the run.
        #[arg(long, default_value_t = DEFAULT_CLIENTS)]
        clients: usize,
        /// A planted bug (needs the feature `mutants`).
        #[arg(long)]
        mutant: Option<String>,
        /// Runs the history that shows the bug without it.
        #[arg(long, requires = "mutant")]
        without: bool,
    },
    /// Runs histories with each planted bug until it is caught (needs the feature `mutants`).
    Mutants {
        /// Histories for each at the most.
        #[arg(long, default_value_t = 20_000)]
        histories: u64,
        /// The seed of the first one.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Histories at the same time.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Only this one.
        #[arg(long)]
        only: Option<String>,
    },
    /// Lists the planted bugs and the seeds that once broke a promise.
    List,
}

/// Runs the command line and says how it went.
pub fn run() -> ExitCode {
    let good = match Arguments::parse().command {
        Command::Run {
            histories,
            seed,
            clients,
            threads,
            keep_going,
            family,
        } => histories_run(Plan {
            first_seed: seed,
            family,
            histories,
            most_clients: clients,
            threads,
            stops: !keep_going,
            mutant: None,
            profile: Profile::Any,
        }),
        Command::Replay {
            seed,
            clients,
            mutant,
            without,
        } => replay(seed, clients, mutant.as_deref(), without),
        Command::Mutants {
            histories,
            seed,
            threads,
            only,
        } => mutants(histories, seed, threads, only.as_deref()),
        Command::List => {
            for mutant in MUTANTS {
                println!("mutant {}", mutant.name);
            }
            regressions()
                .for_each(|(seed, clients)| println!("seed {seed} with {clients} clients"));
            true
        }
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Each line is `SEED CLIENTS` or `SEED/FAMILY CLIENTS`, then what was wrong.
fn regressions() -> impl Iterator<Item = (Seed, usize)> {
    seeds(REGRESSIONS)
}

/// The promise that a seed is known to break, in a way that is not mended yet.
pub(crate) fn open_promise(seed: Seed, clients: usize) -> Option<&'static str> {
    let mut open = open_seeds();
    let found = open.find(|(open, most, _)| (*open, *most) == (seed, clients));
    found.map(|(.., promise)| promise)
}

/// Each line is as one of [`regressions`], with the promise behind the clients.
fn open_seeds() -> impl Iterator<Item = (Seed, usize, &'static str)> {
    let lines = OPEN.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let seed = words.next()?.parse().ok()?;
        Some((seed, words.next()?.parse().ok()?, words.next()?))
    })
}

fn seeds(list: &'static str) -> impl Iterator<Item = (Seed, usize)> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    })
}

fn histories_run(plan: Plan) -> bool {
    silence_panics();
    let one = |seed: Seed, clients| {
        runner::run(Plan {
            first_seed: seed.number,
            family: Some(seed.family),
            histories: 1,
            most_clients: clients,
            threads: 1,
            ..plan
        })
    };
    let mut broken = false;
    let mut count = 0;
    for (seed, clients) in regressions() {
        count += 1;
        broken |= tell(&one(seed, clients), clients);
    }
    println!(
        "{count} histories that broke a promise once: {}",
        if broken { "not good" } else { "good" }
    );
    for (seed, clients, promise) in open_seeds() {
        let report = one(seed, clients);
        broken |= tell(&report, clients);
        if report.broken.is_empty() {
            println!(
                "seed {seed} is listed as breaking {promise}, and is good: it belongs to those that broke it once"
            );
            broken = true;
        }
    }
    let report = runner::run(plan);
    broken |= tell(&report, plan.most_clients);
    println!("\n{}", report.counts);
    println!(
        "{} histories of {} virtual hours; {} run twice, {} differed",
        report.histories,
        report.virtual_millis / 3_600_000,
        report.run_twice,
        report.differing.len()
    );
    let missing = report.counts.missing(report.histories);
    // One family alone leaves out what the others are for.
    let all = plan.family.is_none() && report.histories >= ENOUGH;
    if all && !missing.is_empty() {
        println!(
            "never happened, so nothing was shown about it: {}",
            missing.join("; ")
        );
        broken = true;
    }
    !broken
}

/// Prints what is wrong, and says whether anything is.
fn tell(report: &Report, clients: usize) -> bool {
    let mut bad = false;
    for (seed, ending) in &report.broken {
        let told = ending.broken.as_ref().map(|violation| violation.promise);
        let open = told.is_some() && told == open_promise(*seed, clients);
        bad |= !open;
        if open {
            print!("known, and open: ");
        }
        if let Some(violation) = &ending.broken {
            println!(
                "seed {seed}: {} is broken: {}",
                violation.promise, violation.what
            );
            println!(
                "    replay: cargo run --release -p pocket-sim -- replay --seed {seed} --clients {clients}"
            );
        }
    }
    for seed in &report.differing {
        println!("seed {seed} ended in two different ways: something beside the seed decides");
    }
    bad || !report.differing.is_empty()
}

fn replay(seed: Seed, clients: usize, mutant: Option<&str>, without: bool) -> bool {
    if mutant.is_some() && !without && !cfg!(feature = "mutants") {
        return no_mutants();
    }
    crate::mutants::plant(mutant.filter(|_| !without));
    let known = MUTANTS.iter().find(|known| Some(known.name) == mutant);
    let profile = known.map_or(Profile::Any, |known| known.profile);
    let ending = history::run(seed, clients, profile, true);
    println!(
        "seed {} ends at {} ms with trace {:016x}",
        ending.seed, ending.virtual_millis, ending.hash
    );
    match &ending.broken {
        Some(violation) => println!("{} is broken: {}", violation.promise, violation.what),
        None => println!("every promise was kept"),
    }
    ending.broken.is_none()
}

fn no_mutants() -> bool {
    eprintln!(
        "no bug is planted in this build; build with them: cargo run --release -p pocket-sim --features mutants -- mutants"
    );
    false
}

fn mutants(histories: u64, seed: u64, threads: usize, only: Option<&str>) -> bool {
    if !cfg!(feature = "mutants") {
        return no_mutants();
    }
    silence_panics();
    let mut good = true;
    let chosen = |mutant: &&Mutant| only.is_none_or(|only| only == mutant.name);
    for Mutant {
        name,
        profile,
        family,
    } in MUTANTS.iter().filter(chosen)
    {
        let plan = Plan {
            first_seed: seed,
            family: Some(*family),
            histories,
            most_clients: 4,
            threads,
            stops: true,
            mutant: Some(name),
            profile: *profile,
        };
        let report = runner::run(plan);
        match report.broken.first_key_value() {
            Some((caught, ending)) => {
                let promise = ending
                    .broken
                    .as_ref()
                    .map_or("", |violation| violation.promise);
                println!(
                    "{name:<34} caught after {:>6} histories, by {promise} (seed {caught})",
                    report.histories
                );
            }
            None => {
                println!("{name:<34} SURVIVED {} histories", report.histories);
                good = false;
            }
        }
    }
    good
}

/// A panic of the system under test is a finding, told with its seed; the usual message would only be in the way.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
