//! Settings of `serve` from the command line, the environment and one file, in this order.
//!
//! Each option of `serve` has a variable, `POCKET_` and its name in capitals, and a key in the file with its name. The
//! file's settings become words of the command line, so all three mean the same and are checked in the same place.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use pocket_core::{Map, Value, codes as core_codes};

use crate::failure::{Failure, Result};
use crate::output::object;

/// What is never printed.
const SECRETS: [&str; 2] = ["token", "admin-token"];

/// Options that make no sense in a file.
const NOT_IN_A_FILE: [&str; 6] = [
    "config",
    "print-config",
    "until-stdin-ends",
    "help",
    "version",
    "json",
];

/// Gives each option of `serve` its variable.
///
/// `POCKET_TOKEN` is the token that a device shows; those that a server takes are in `POCKET_SERVER_TOKEN`.
pub(crate) fn with_variables(command: Command) -> Command {
    command.mut_subcommand("serve", |serve| {
        serve.mut_args(|argument| match variable(&argument) {
            Some(name) => argument.env(name).hide_env_values(true),
            None => argument,
        })
    })
}

fn variable(argument: &Arg) -> Option<&'static str> {
    let long = argument.get_long()?;
    if argument.get_env().is_some() || (NOT_IN_A_FILE.contains(&long) && long != "config") {
        return None;
    }
    let name = match long {
        "token" => "POCKET_SERVER_TOKEN".to_owned(),
        long => format!("POCKET_{}", long.to_uppercase().replace('-', "_")),
    };
    // A parser keeps its names for ever, and there are a few parsers in a process.
    Some(name.leak())
}

/// The words of the settings in the file that `serve --config` names, for what was set neither on the command line nor in
/// the environment.
pub(crate) fn words(command: &Command, matches: &ArgMatches) -> Result<Vec<OsString>> {
    let Some(("serve", serve)) = matches.subcommand() else {
        return Ok(Vec::new());
    };
    let Some(path) = serve.get_one::<std::path::PathBuf>("config") else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    let bad = |why: &dyn std::fmt::Display| {
        Failure::new(core_codes::CONFIG, format!("{}: {why}", path.display()))
    };
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| bad(&error.to_string().trim_end()))?;
    let known = options(command);
    let mut words = Vec::new();
    for (name, value) in &table {
        let Some(argument) = known.iter().find(|known| known.get_long() == Some(name)) else {
            let names: Vec<_> = known.iter().filter_map(Arg::get_long).collect();
            return Err(bad(&format_args!(
                "there is no setting `{name}`; there are {}",
                names.join(", ")
            )));
        };
        let source = serve.value_source(argument.get_id().as_str());
        if matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            continue;
        }
        let is_path = argument.get_value_hint() == clap::ValueHint::FilePath
            || argument
                .get_value_names()
                .is_some_and(|names| names.iter().any(|name| *name == "FILE" || *name == "DIR"));
        append(&mut words, argument, name, value, is_path.then_some(path))
            .map_err(|why| bad(&format_args!("{name}: {why}")))?;
    }
    Ok(words)
}

/// The options of `serve`, and of all commands, that a file may set.
fn options(command: &Command) -> Vec<Arg> {
    let serve = command.find_subcommand("serve");
    let own = serve.into_iter().flat_map(Command::get_arguments);
    let global = command
        .get_arguments()
        .filter(|argument| argument.is_global_set());
    let mut seen = BTreeSet::new();
    own.chain(global)
        .filter(|argument| {
            argument
                .get_long()
                .is_some_and(|long| !NOT_IN_A_FILE.contains(&long) && seen.insert(long.to_owned()))
        })
        .cloned()
        .collect()
}

fn append(
    words: &mut Vec<OsString>,
    argument: &Arg,
    name: &str,
    value: &toml::Value,
    file: Option<&Path>,
) -> Result<(), String> {
    let is_flag = !argument.get_action().takes_values();
    match value {
        toml::Value::Boolean(true) if is_flag => words.push(format!("--{name}").into()),
        toml::Value::Boolean(false) if is_flag => {}
        _ if is_flag => return Err("true or false".to_owned()),
        toml::Value::Array(values) => {
            if !matches!(argument.get_action(), ArgAction::Append) {
                return Err("one value, not several".to_owned());
            }
            for value in values {
                append(words, argument, name, value, file)?;
            }
        }
        value => {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                _ => return Err("a text or a number".to_owned()),
            };
            // Where the file lies, so that it can be moved together with what it names.
            let text = match file.and_then(Path::parent) {
                Some(directory) if file.is_some() => directory.join(text).display().to_string(),
                _ => text,
            };
            words.push(format!("--{name}={text}").into());
        }
    }
    Ok(())
}

/// A setting in force.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    name: String,
    /// As a file has it; none when it is not set.
    value: Option<toml::Value>,
    source: &'static str,
}

impl Setting {
    /// For programs: one object.
    pub(crate) fn fields(&self) -> Map {
        let source = self.value.as_ref().map(|_| self.source);
        object([
            ("name", Value::from(self.name.as_str())),
            ("value", self.value.as_ref().map(json_value).into()),
            ("source", source.into()),
        ])
    }
}

impl fmt::Display for Setting {
    /// A line of a file of settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}  # {}", self.name, self.source),
            None => write!(f, "# {} is not set", self.name),
        }
    }
}

fn json_value(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Boolean(set) => Value::from(*set),
        toml::Value::Array(values) => values.iter().map(json_value).collect(),
        // No setting is one of the others.
        other => Value::from(other.to_string()),
    }
}

/// The settings in force, each with where it comes from.
pub(crate) fn in_force(
    command: &Command,
    matches: &ArgMatches,
    from_file: &[OsString],
) -> Vec<Setting> {
    let Some(("serve", serve)) = matches.subcommand() else {
        return Vec::new();
    };
    let mut settings = Vec::new();
    for argument in options(command) {
        let (Some(name), id) = (argument.get_long(), argument.get_id().as_str()) else {
            continue;
        };
        let is_of_file = from_file.iter().any(|word| {
            let word = word.to_string_lossy();
            let word = word.trim_start_matches("--");
            word == name || word.starts_with(&format!("{name}="))
        });
        let source = match serve.value_source(id) {
            _ if is_of_file => "the file",
            Some(ValueSource::CommandLine) => "the command line",
            Some(ValueSource::EnvVariable) => "the environment",
            _ => "the default",
        };
        let values: Vec<String> = serve.get_raw(id).map_or_else(Vec::new, |values| {
            values
                .map(|value| value.to_string_lossy().into_owned())
                .collect()
        });
        let shown = |value: &String| -> toml::Value {
            let value = if SECRETS.contains(&name) {
                "…"
            } else {
                value
            };
            // Numbers look like numbers, if they come back as the same text.
            match value.parse::<i64>() {
                Ok(number) if number.to_string() == value => number.into(),
                _ => value.into(),
            }
        };
        let value = match (argument.get_action(), values.as_slice()) {
            (ArgAction::SetTrue, values) => Some((values == ["true"]).into()),
            (ArgAction::Append, values) => {
                Some(toml::Value::Array(values.iter().map(shown).collect()))
            }
            (ArgAction::Set, [value]) => Some(shown(value)),
            _ => None,
        };
        settings.push(Setting {
            name: name.to_owned(),
            value,
            source,
        });
    }
    settings
}
