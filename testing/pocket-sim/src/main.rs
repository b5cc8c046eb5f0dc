//! The simulator's command line; see the library.

fn main() -> std::process::ExitCode {
    pocket_sim::run()
}
