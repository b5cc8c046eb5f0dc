//! Builds for later steps, beside steps that leave a core idle: compilers wait for the crate everything else needs, and
//! tests for each other.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::workspace::Workspace;
use crate::{process, sim, steps, web_module};

/// The step at which they begin: what fails soon has not failed by then.
pub(crate) const FROM: &str = "clippy";

/// The step before which they end. Later ones run or search what they build themselves, and nothing else is to write there.
pub(crate) const UNTIL: &str = "sim";

/// How far they stand back behind the step itself. Not as far as they could: a step that needs what is being built waits
/// for it, and on a machine with other work it would wait for very long.
const NICENESS: &str = "5";

/// Builds under way. When this goes out of scope, the one that runs comes to its end, and no further one begins.
///
/// It is not killed: compilers outlive their cargo, and the next cargo would have the same crate compiled into the same files.
pub(crate) struct Builds {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Builds {
    /// Begins with what the steps need, in the order they need it. Each step builds it all the same, by the same words, and
    /// finds it there, or waits until cargo is done with it: so nothing depends on what becomes of these, and they are quiet.
    pub(crate) fn begin(workspace: &Workspace) -> Self {
        let all = [
            steps::PRODUCT.to_vec(),
            web_module::arguments(),
            sim::SIMULATOR.to_vec(),
            [&sim::SIMULATOR[..], &sim::MUTANTS].concat(),
        ];
        let commands = all.map(|arguments| {
            let cargo = process::cargo(workspace, &["build", "--quiet"]);
            let mut command = process::program_in(workspace, "nice", &["-n", NICENESS]);
            command.arg(cargo.get_program()).args(cargo.get_args());
            for (name, value) in cargo.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command.args(arguments);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        });
        Self::run(commands.into())
    }

    fn run(commands: Vec<Command>) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = enough.clone();
        let work = move || {
            for mut command in commands {
                // Without `nice` the steps build for themselves.
                if told.load(Ordering::Relaxed) || command.status().is_err() {
                    return;
                }
            }
        };
        Self {
            enough,
            thread: Some(std::thread::spawn(work)),
        }
    }
}

impl Drop for Builds {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there is nothing that a step depends on.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A directory that is new.
    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("pocket-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn one_comes_after_the_other_and_one_that_fails_stops_none() {
        let directory = directory("beside");
        let [first, last] = ["first", "last"].map(|name| directory.join(name));
        let made = format!("echo > {}; exit 1", first.display());
        let moved = format!("mv {} {}", first.display(), last.display());
        let mut builds = Builds::run(vec![shell(&made), shell(&moved)]);
        builds.thread.take().unwrap().join().unwrap();
        assert!(last.exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// Its cargo was killed; the compiler that it had started went on, beside the same one of the next step.
    #[test]
    fn what_runs_ends_with_all_that_it_started_and_nothing_begins_behind_it() {
        let directory = directory("enough");
        let [began, go, ended, next] =
            ["began", "go", "ended", "next"].map(|name| directory.join(name));
        // Two processes, as cargo and its compiler are.
        let compiles = format!(
            "(echo > {}; until test -e {}; do sleep 0.01; done; echo > {}) & wait",
            began.display(),
            go.display(),
            ended.display()
        );
        let builds = Builds::run(vec![
            shell(&compiles),
            shell(&format!("echo > {}", next.display())),
        ]);
        while !began.exists() {
            std::thread::yield_now();
        }
        let enough = builds.enough.clone();
        let dropped = std::thread::spawn(move || drop(builds));
        while !enough.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        std::fs::write(&go, "").unwrap();
        dropped.join().unwrap();
        assert!(ended.exists(), "what it had started was left alone");
        assert!(!next.exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_steps_between_which_they_run_exist() {
        let at = |name| steps::STEPS.iter().position(|step| step.name == name);
        assert!(at(FROM).unwrap() < at(UNTIL).unwrap());
    }
}
