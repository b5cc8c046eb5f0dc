//! Where the story happens: a directory that is there for as long as something opens files in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pocket_core::Database;
use tempfile::TempDir;
use tokio::sync::RwLock;

use super::broken;
use crate::codes;
use crate::directory::{Directory, Role};
use crate::failure::{Failure, Result};
use crate::open;

/// The directory of the story, and the openings of databases that are under way in it.
pub(super) struct Stage {
    place: Place,
    /// Held for reading by each opening: it goes on when nobody waits for it any more, and makes files.
    openings: Arc<RwLock<()>>,
}

enum Place {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Stage {
    /// A directory of its own, or the new directory `keep`, which stays.
    pub(super) fn new(keep: Option<&Path>) -> Result<Self> {
        let place = match keep {
            None => temporary()?,
            Some(path) => kept(path)?,
        };
        Ok(Self {
            place,
            openings: Arc::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        match &self.place {
            Place::Temporary(directory) => directory.path(),
            Place::Kept(path) => path,
        }
    }

    /// Opens a device's database in a directory of this name.
    pub(super) async fn open(&self, name: &str) -> Result<Database> {
        let directory = Directory::at(&self.path().join(name), Role::Client, None)?;
        let under_way = self.openings.clone().read_owned().await;
        let opening = tokio::spawn(async move {
            let database = open::open_database(directory, false).await;
            drop(under_way);
            database
        });
        opening.await.map_err(broken)?
    }

    /// Takes the directory away, once nothing is being opened in it; gives the path of one that stays.
    pub(super) async fn strike(self) -> Result<Option<PathBuf>> {
        let _none_is_opened = self.openings.write().await;
        match self.place {
            Place::Kept(path) => Ok(Some(path)),
            Place::Temporary(directory) => {
                let path = directory.path().display().to_string();
                directory
                    .close()
                    .map_err(|error| Failure::io(format!("cannot remove {path}"), &error))?;
                Ok(None)
            }
        }
    }
}

fn temporary() -> Result<Place> {
    let directory = tempfile::Builder::new().prefix("pocket-demo-").tempdir();
    directory
        .map(Place::Temporary)
        .map_err(|error| Failure::io("cannot make a temporary directory", &error))
}

fn kept(path: &Path) -> Result<Place> {
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
    Ok(Place::Kept(path.to_owned()))
}
