//! A directory with a database, and the commands on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pocket_e2e::{PATIENCE, Running, copy, done, run, status};

pub(crate) struct Device(pub(crate) PathBuf);

impl Device {
    pub(crate) fn new(scratch: &Path, name: &str) -> Self {
        Self(scratch.join(name))
    }

    pub(crate) fn put(&self, id: &str, text: &str) {
        let document = format!(r#"{{"_id":"{id}","text":"{text}"}}"#);
        done(&self.0, &["insert", "docs", &document]);
    }

    pub(crate) fn set(&self, id: &str, text: &str) {
        let fields = format!(r#"{{"text":"{text}"}}"#);
        done(&self.0, &["update", "docs", id, &fields]);
    }

    /// Syncs for as long as what is returned lives; from its first word on, other commands are passed on to it.
    pub(crate) fn watch(&self, url: &str) -> Running {
        let watching = Running::start(&self.0, &["sync", "--server", url]);
        watching.line(PATIENCE).expect("it says how it stands");
        watching
    }

    /// A complete pass.
    pub(crate) fn sync(&self, url: &str) {
        done(
            &self.0,
            &["sync", "--server", url, "--once", "--timeout", "60"],
        );
    }

    /// A pass that gives up, and says this before. How long a busy machine takes to come to that is not known, so it gets
    /// more and more time for it.
    pub(crate) fn gives_up(&self, url: &str, part: &str) {
        let mut said = String::new();
        for timeout in ["1", "4", "16", "64"] {
            let words = ["sync", "--server", url, "--once", "--timeout", timeout];
            let passed;
            (passed, said) = self.tries(&words);
            assert!(!passed, "{said}");
            if said.contains(part) {
                return;
            }
        }
        panic!("{part} is not in: {said}");
    }

    /// The texts by id.
    pub(crate) fn documents(&self) -> BTreeMap<String, String> {
        let lines = String::from_utf8(done(&self.0, &["export", "docs"])).unwrap();
        lines
            .lines()
            .map(|line| {
                let document: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = |name: &str| document[name].as_str().unwrap().to_owned();
                (text("_id"), text("text"))
            })
            .collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.documents().into_keys().collect()
    }

    pub(crate) fn pending(&self) -> u64 {
        status(&self.0)["pending"].as_u64().unwrap()
    }

    /// How many places the server's order has, of those this device has passed.
    pub(crate) fn place(&self) -> u64 {
        status(&self.0)["checkpoint"]["seq"].as_u64().unwrap()
    }

    pub(crate) fn conflicts(&self) -> usize {
        done(&self.0, &["--json", "conflicts"])
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .count()
    }

    pub(crate) fn copy_to(&self, scratch: &Path, name: &str) -> Self {
        let other = Self::new(scratch, name);
        copy(&self.0, &other.0);
        other
    }

    /// Whether the command succeeded, and what it said.
    pub(crate) fn tries(&self, arguments: &[&str]) -> (bool, String) {
        let output = run(&self.0, arguments);
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}
