//! `demo --web`: how it gets what it serves, and what it says when it cannot.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Outcome, Place, Running, program};

/// A command ends within two seconds of a signal; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// A checkout with tools that only write down how they are called.
struct Workshop(Place);

impl Workshop {
    fn new() -> Self {
        let place = Place::new();
        for name in [
            "checkout/xtask/Cargo.toml",
            "checkout/packages/package-lock.json",
            "checkout/packages/core/src/index.ts",
            "checkout/examples/todo-react/package.json",
            "checkout/examples/todo-react/package-lock.json",
        ] {
            std::fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
            place.file(name, "{}");
        }
        for folder in ["tools", "lib", "empty"] {
            std::fs::create_dir(place.path(folder)).unwrap();
        }
        let workshop = Self(place);
        workshop.tool("node", "echo v20.20.2");
        workshop.tool(
            "rustc",
            &format!("echo {}", workshop.0.path("lib").display()),
        );
        workshop.tool("cargo", "");
        workshop.tool("npm", "mkdir -p dist && echo page > dist/index.html");
        workshop
    }

    /// Makes a tool that notes where and how it is called, and then does this.
    fn tool(&self, name: &str, does: &str) {
        let calls = self.0.path("calls");
        let script = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\necho \"$(basename \"$PWD\"): {name} $*\" >> {}\n{does}\n",
            calls.display()
        );
        let path = self.0.file(&format!("tools/{name}"), script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, path: &str) -> Command {
        let mut command = program();
        command
            .current_dir(self.0.path("checkout/packages"))
            .env("PATH", self.0.path(path))
            .args(["demo", "--web", "--port", "0", "--open", "no"])
            .stdin(Stdio::null());
        command
    }

    /// Runs a demo until it serves, ends it, and says what it called to build.
    fn build(&self) -> Vec<String> {
        let calls = self.0.path("calls");
        let _ = std::fs::remove_file(&calls);
        let mut demo = Running::start(self.command("tools"));
        demo.line_with("listening on ");
        demo.signal("INT");
        assert_eq!(demo.status_within(SOON), 0);
        let calls = std::fs::read_to_string(calls).unwrap_or_default();
        let is_step = |line: &&str| line.contains(" run") || line.contains(" xtask");
        calls.lines().filter(is_step).map(str::to_owned).collect()
    }

    /// Runs a demo that cannot build.
    #[track_caller]
    fn fails(&self, path: &str, code: &str) -> String {
        let outcome: Outcome = self.command(path).output().unwrap().into();
        outcome.failed(1, code).err
    }
}

#[test]
fn the_application_is_built_in_order_and_again_only_when_its_sources_changed() {
    let workshop = Workshop::new();
    assert_eq!(
        workshop.build(),
        [
            "checkout: cargo xtask web",
            // Which decides by itself what is installed already.
            "checkout: cargo xtask npm packages examples/todo-react",
            "packages: npm run build",
            "todo-react: npm run build",
        ]
    );
    assert!(workshop.build().is_empty());
    workshop
        .0
        .file("checkout/packages/core/src/index.ts", "changed");
    assert_eq!(workshop.build().len(), 4);
    assert!(workshop.build().is_empty());
    workshop
        .0
        .file("checkout/packages/package-lock.json", "changed");
    assert_eq!(workshop.build().len(), 4);
    std::fs::remove_dir_all(workshop.0.path("checkout/examples/todo-react/dist")).unwrap();
    assert_eq!(workshop.build().len(), 4);
    assert!(workshop.build().is_empty());
}

#[test]
fn a_tool_that_is_missing_is_named_with_what_to_do() {
    let workshop = Workshop::new();
    let said = workshop.fails("empty", "missing-tool");
    assert!(
        said.contains("npm") && said.contains("nodejs.org"),
        "{said}"
    );

    workshop.tool("node", "echo v18.19.0");
    let said = workshop.fails("tools", "missing-tool");
    assert!(said.contains("v18.19.0") && said.contains("20"), "{said}");
    workshop.tool("node", "echo v22.20.0");

    workshop.tool("rustc", "echo /nowhere/lib");
    let said = workshop.fails("tools", "missing-tool");
    assert!(
        said.contains("rustup target add wasm32-unknown-unknown"),
        "{said}"
    );

    std::fs::remove_file(workshop.0.path("tools/cargo")).unwrap();
    let said = workshop.fails("tools", "missing-tool");
    assert!(said.contains("rustup.rs"), "{said}");
}

#[test]
fn a_step_that_fails_is_told_with_its_last_words_and_done_again_next_time() {
    let workshop = Workshop::new();
    workshop.tool(
        "cargo",
        "[ $1 = --version ] || { echo 'the linker is tired' >&2; exit 3; }",
    );
    let said = workshop.fails("tools", "build-failed");
    assert!(
        said.contains("`cargo xtask web`") && said.contains("the linker is tired"),
        "{said}"
    );
    workshop.tool("cargo", "");
    assert_eq!(workshop.build().len(), 4);
}

#[test]
fn a_signal_ends_a_build_and_what_it_had_begun() {
    let workshop = Workshop::new();
    let pid = workshop.0.path("pid");
    workshop.tool(
        "cargo",
        &format!(
            // As npm does, it has another program do the work and waits for it.
            "[ $1 = --version ] || {{ sh -c 'echo $$ > {}; exec sleep 600'; echo; }}",
            pid.display()
        ),
    );
    let mut demo = Running::start(workshop.command("tools"));
    demo.note_with("cargo xtask web");
    let begun = || {
        std::fs::read_to_string(&pid)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    let step = loop {
        if let Some(step) = begun() {
            break step;
        }
        std::thread::yield_now();
    };
    demo.signal("TERM");
    assert_eq!(demo.status_within(SOON), 1);
    assert!(demo.notes().contains("error[interrupted]: "));
    let process = PathBuf::from(format!("/proc/{step}"));
    // Where there is no /proc this shows nothing, and does no harm.
    while std::fs::read_to_string(process.join("cmdline")).is_ok_and(|line| line.contains("sleep"))
    {
        std::thread::yield_now();
    }
}

#[test]
fn a_program_outside_of_a_checkout_says_where_the_application_comes_from() {
    let place = Place::new();
    let lonely = place.path("pocket");
    // Beside its sources it would find them.
    // Copied by another process: a file that this one had open for writing could still be open in the child of another test.
    let copy = Command::new("cp")
        .arg(program().get_program())
        .arg(&lonely)
        .status();
    assert!(copy.unwrap().success());
    let outcome = Command::new(&lonely)
        .current_dir(place.path(""))
        .args(["demo", "--web", "--port", "0"])
        .output()
        .unwrap();
    let said = Outcome::from(outcome).failed(1, "no-checkout").err;
    assert!(
        said.contains("--assets") && said.contains("cargo run"),
        "{said}"
    );
}
