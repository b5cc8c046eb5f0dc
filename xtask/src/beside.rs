//! Builds for later steps, beside steps that leave a core idle: compilers wait for the crate everything else needs, and
//! tests for each other.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::workspace::Workspace;
use crate::{process, sim, steps, web_module};

/// The step at which they begin: what fails soon has not failed by then.
pub(crate) const FROM: &str = "clippy";

/// The step before which they end. Later ones run or search what they build themselves, and nothing else is to write there.
pub(crate) const UNTIL: &str = "sim";

/// How far they stand back behind the step itself. Not as far as they could: a step that needs what is being built waits
/// for it, and on a machine with other work it would wait for very long.
const NICENESS: &str = "5";

/// How often it is looked whether a build has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Builds under way. They end when this goes out of scope; what they have built by then is there.
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
                let child = command.spawn();
                if !child.is_ok_and(|child| ends(child, &told)) {
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
            thread.thread().unpark();
            // A panic in there is nothing that a step depends on.
            let _ = thread.join();
        }
    }
}

/// Waits for the end of a program, or ends it when it is told that it is enough; whether it ended by itself.
fn ends(mut child: Child, enough: &AtomicBool) -> bool {
    while !enough.load(Ordering::Relaxed) {
        match child.try_wait() {
            Ok(None) => std::thread::park_timeout(LOOK),
            Ok(Some(_)) => return true,
            Err(_) => return false,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn one_comes_after_the_other_and_one_that_fails_stops_none() {
        let directory = std::env::temp_dir().join(format!("pocket-beside-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let [first, last] = ["first", "last"].map(|name| directory.join(name));
        let made = format!("echo > {}; exit 1", first.display());
        let moved = format!("mv {} {}", first.display(), last.display());
        let mut builds = Builds::run(vec![shell(&made), shell(&moved)]);
        builds.thread.take().unwrap().join().unwrap();
        assert!(last.exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_is_under_way_ends_with_them() {
        // They would never end by themselves.
        let forever = || shell("exec tail -f /dev/null");
        drop(Builds::run(vec![forever(), forever()]));
    }

    #[test]
    fn the_steps_between_which_they_run_exist() {
        let at = |name| steps::STEPS.iter().position(|step| step.name == name);
        assert!(at(FROM).unwrap() < at(UNTIL).unwrap());
    }
}
