//! Runs cargo and other programs, showing each command before it starts.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::report::Outcome;
use crate::workspace::Workspace;

/// A cargo command in the root of the workspace, with nothing on stdin.
pub(crate) fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    // `cargo xtask` sets `CARGO` to the very cargo that runs this.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = program_in(workspace, program, arguments);
    // Cargo tells this program about its own package. Build scripts that watch these names
    // (ring's does) would be run again each time the caller changes.
    for (name, _) in std::env::vars_os() {
        let of_package = name.to_str().is_some_and(|name| {
            [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CARGO_CRATE_",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        });
        if of_package {
            command.env_remove(name);
        }
    }
    command
}

/// Any other program in the root of the workspace, with nothing on stdin.
pub(crate) fn program_in(
    workspace: &Workspace,
    program: impl AsRef<std::ffi::OsStr>,
    arguments: &[&str],
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&workspace.root)
        .stdin(Stdio::null());
    command
}

/// Runs a command with its output shown; fails when it does.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let line = announce(command);
    let status = command
        .status()
        .map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` ended with {status}").into())
    }
}

/// Runs a command quietly and returns its stdout; fails when it does, with its stderr.
pub(crate) fn read(command: &mut Command) -> Outcome<String> {
    let captured = capture(command)?;
    Ok(captured.stdout)
}

/// What a command printed.
pub(crate) struct Captured {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command quietly and returns all it printed; fails when it does.
pub(crate) fn capture(command: &mut Command) -> Outcome<Captured> {
    let line = describe(command);
    let output = command
        .output()
        .map_err(|error| format!("cannot start `{line}`: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("`{line}` ended with {}:\n{}", output.status, stderr.trim()).into());
    }
    let stdout = String::from_utf8(output.stdout)
        .map_err(|_| format!("`{line}` printed something that is not UTF-8"))?;
    Ok(Captured { stdout, stderr })
}

/// Runs a command with its output shown as it comes, and returns its stdout as well.
pub(crate) fn tee(command: &mut Command) -> Outcome<String> {
    let line = announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `{line}`: {error}"))?;
    let mut text = String::new();
    let pipe = child
        .stdout
        .take()
        .ok_or_else(|| format!("`{line}` has no stdout"))?;
    for output in BufReader::new(pipe).lines() {
        let output = output.map_err(|error| format!("cannot read from `{line}`: {error}"))?;
        println!("{output}");
        text += &output;
        text.push('\n');
    }
    let status = child
        .wait()
        .map_err(|error| format!("lost `{line}`: {error}"))?;
    if status.success() {
        Ok(text)
    } else {
        Err(format!("`{line}` ended with {status}").into())
    }
}

/// Builds with cargo and returns the executables it made, each by the name of its target.
pub(crate) fn build(workspace: &Workspace, arguments: &[&str]) -> Outcome<Vec<(String, PathBuf)>> {
    Ok(executables(&messages_of_build(workspace, arguments)?))
}

/// Builds with cargo and returns the WebAssembly modules it made.
pub(crate) fn build_modules(workspace: &Workspace, arguments: &[&str]) -> Outcome<Vec<PathBuf>> {
    Ok(modules(&messages_of_build(workspace, arguments)?))
}

fn messages_of_build(workspace: &Workspace, arguments: &[&str]) -> Outcome<String> {
    let mut command = cargo(
        workspace,
        &["build", "--message-format=json-render-diagnostics"],
    );
    command.args(arguments).stderr(Stdio::inherit());
    announce(&command);
    read(&mut command)
}

/// The modules that a stream of cargo's JSON messages names.
fn modules(messages: &str) -> Vec<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let files = messages.filter_map(|message| {
        let files = message.get("filenames")?.as_array()?;
        let files = files.iter().filter_map(Value::as_str).map(PathBuf::from);
        Some(files.collect::<Vec<_>>())
    });
    let is_module = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "wasm");
    files.flatten().filter(is_module).collect()
}

/// The executables that a stream of cargo's JSON messages names.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            let path = message.get("executable")?.as_str()?;
            let name = message.get("target")?.get("name")?.as_str()?;
            Some((name.to_owned(), PathBuf::from(path)))
        })
        .collect()
}

fn announce(command: &Command) -> String {
    let line = describe(command);
    eprintln!("$ {line}");
    // The child writes to the same place: what was printed so far comes first.
    let _ = std::io::stdout().flush();
    line
}

/// The command as a person would type it, with what it sets in the environment.
fn describe(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!(
                "{}={}",
                name.display(),
                quoted(&value.to_string_lossy())
            ));
        }
    }
    let program = PathBuf::from(command.get_program());
    words.push(
        program
            .file_name()
            .unwrap_or(program.as_os_str())
            .display()
            .to_string(),
    );
    words.extend(
        command
            .get_args()
            .map(|argument| quoted(&argument.to_string_lossy())),
    );
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_=./:,{}@+".contains(c));
    if plain {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .args(["clippy", "--", "-D", "two words"])
            .env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            describe(&command),
            "RUSTDOCFLAGS='-D warnings' cargo clippy -- -D 'two words'"
        );
    }

    #[test]
    fn a_program_that_fails_is_a_failure_with_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo too bad >&2; exit 3"]);
        let problem = capture(&mut command).map(drop).unwrap_err().to_string();
        assert!(
            problem.contains("too bad") && problem.contains('3'),
            "{problem}"
        );
        assert!(run(Command::new("sh").args(["-c", "exit 1"])).is_err());
        assert!(tee(Command::new("sh").args(["-c", "exit 1"])).is_err());
    }

    #[test]
    fn modules_are_read_from_the_messages_of_cargo() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/t/libserde.rlib","/t/libserde.rmeta"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","filenames":["/t/tests.wasm"]}"#,
            "\nnot json\n",
        );
        assert_eq!(modules(messages), [PathBuf::from("/t/tests.wasm")]);
    }

    #[test]
    fn executables_are_read_from_the_messages_of_cargo() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"pocket"},"executable":"/t/pocket"}"#,
            "\nnot json\n",
        );
        assert_eq!(
            executables(messages),
            [("pocket".to_owned(), PathBuf::from("/t/pocket"))]
        );
    }
}
