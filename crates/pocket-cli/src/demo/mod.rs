//! The demo: two devices and a server that is killed, told as a story; and an application for browsers.

mod device;
mod ending;
mod server;
mod story;
mod teller;
pub(crate) mod web;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::codes;
use crate::failure::{Failure, Result};
use crate::output::Output;
use story::Story;
use teller::Teller;

/// Tells the story in a directory of its own, or in the new directory `keep`, which stays.
pub(crate) async fn run(keep: Option<&Path>, out: &mut Output) -> Result {
    let stage = Stage::new(keep)?;
    Story::begin(stage.path(), Teller::new(out))
        .await?
        .tell()
        .await?;
    if let Stage::Kept(path) = &stage {
        let path = path.display();
        out.note(format_args!(
            "\nEverything is still in {path}. Look inside:\n  pocket --db {path}/device-b conflicts\n  \
             pocket --db {path}/device-a status"
        ));
    }
    Ok(())
}

/// Where it happens.
enum Stage {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Stage {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let Some(path) = keep else {
            let directory = tempfile::Builder::new().prefix("pocket-demo-").tempdir();
            let directory = directory
                .map_err(|error| Failure::io("cannot make a temporary directory", &error))?;
            return Ok(Self::Temporary(directory));
        };
        let failed = |error| Failure::io(format!("cannot use {}", path.display()), &error);
        std::fs::create_dir_all(path).map_err(failed)?;
        if std::fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(Failure::new(
                codes::DEMO,
                format!(
                    "{} is not empty; name a new directory with --keep",
                    path.display()
                ),
            ));
        }
        Ok(Self::Kept(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

/// Something in the story is not as it must be.
fn broken(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        codes::DEMO,
        format!("{what}; run it with --keep DIR and look at DIR/server.log"),
    )
}
