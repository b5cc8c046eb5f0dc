//! Files of a running server that are read again: when they change, and at SIGHUP.

use std::time::Duration;

use pocket_sync_server::WatchedFiles;

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_secs(2);

/// Some files, and what reads them.
pub(crate) struct Source {
    what: &'static str,
    files: WatchedFiles,
    read: Box<dyn FnMut() -> Result<(), String> + Send>,
    /// They have changed, and somebody may still be writing them.
    settling: bool,
    /// Why they could not be read last.
    failed: Option<String>,
}

impl Source {
    /// Has `read` put the files in force when they change. When it fails it has changed nothing, and says why.
    ///
    /// The files were watched before they were read for the first time, so that nothing written since is missed.
    pub(crate) fn new(
        what: &'static str,
        files: WatchedFiles,
        read: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self {
            what,
            files,
            read: Box::new(read),
            settling: false,
            failed: None,
        }
    }

    /// Reads the files if they have changed and stayed so since the last look, if they could not be read last, or if this
    /// is asked for.
    ///
    /// A file that is half written may well be one that can be read, and says something else.
    fn look(&mut self, asked: bool) {
        let changes = self.files.have_changed();
        let changed = std::mem::replace(&mut self.settling, changes && !asked);
        if self.settling || !(changed || asked || self.failed.is_some()) {
            return;
        }
        let what = self.what;
        match (self.read)() {
            Ok(()) => {
                tracing::info!(target: "pocket::serve", "the {what} was read again");
                self.failed = None;
            }
            Err(error) => {
                // A log has a line for each event.
                let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
                if changed || asked || self.failed.as_ref() != Some(&error) {
                    tracing::error!(target: "pocket::serve", %error, "the old {what} stays in use");
                }
                self.failed = Some(error);
            }
        }
    }
}

/// Reads files again as it has to be. Never ends.
pub(crate) async fn watch(mut sources: Vec<Source>, mut hangup: Hangup) {
    loop {
        let asked = tokio::select! {
            () = hangup.next() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let looked = tokio::task::spawn_blocking(move || {
            for source in &mut sources {
                source.look(asked);
            }
            sources
        });
        // It fails when a source panics, or the process ends.
        let Ok(back) = looked.await else {
            tracing::error!(target: "pocket::serve", "files are no longer read again; restart the server");
            return;
        };
        sources = back;
    }
}

/// The signal that asks for it. From when this is made it no longer ends the process.
#[cfg(unix)]
pub(crate) struct Hangup(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangup {
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self(signal(SignalKind::hangup()).ok())
    }

    async fn next(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
pub(crate) struct Hangup;

#[cfg(not(unix))]
impl Hangup {
    pub(crate) fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn files_are_read_when_they_change_when_asked_for_and_until_they_are_good() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        std::fs::write(&path, "good").unwrap();
        let reads = Arc::new(AtomicUsize::new(0));
        let in_force = Arc::new(Mutex::new(String::new()));
        let mut source = Source::new("token file", WatchedFiles::new([path.clone()]), {
            let (reads, in_force, path) = (reads.clone(), in_force.clone(), path.clone());
            move || {
                reads.fetch_add(1, Ordering::Relaxed);
                let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
                if text == "bad" {
                    return Err(text);
                }
                *in_force.lock().unwrap() = text;
                Ok(())
            }
        });
        let mut look = |asked| {
            source.look(asked);
            (
                reads.swap(0, Ordering::Relaxed),
                in_force.lock().unwrap().clone(),
            )
        };
        assert_eq!(look(false), (0, String::new()));
        assert_eq!(look(true), (1, "good".to_owned()));
        std::fs::write(&path, "better").unwrap();
        assert_eq!(look(false), (0, "good".to_owned()), "it may be half");
        assert_eq!(look(false), (1, "better".to_owned()));
        assert_eq!(look(false), (0, "better".to_owned()));
        std::fs::write(&path, "bad").unwrap();
        assert_eq!(look(false), (0, "better".to_owned()));
        assert_eq!(look(false), (1, "better".to_owned()), "the old stays");
        assert_eq!(
            look(false),
            (1, "better".to_owned()),
            "and it is looked again"
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look(false), (0, "better".to_owned()));
        assert_eq!(look(false), (1, "better".to_owned()));
        std::fs::write(&path, "best").unwrap();
        assert_eq!(look(false), (0, "better".to_owned()));
        assert_eq!(look(false), (1, "best".to_owned()));
        assert_eq!(look(false), (0, "best".to_owned()));
    }
}
