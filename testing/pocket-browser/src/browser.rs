//! A headless Chromium: where it is, and a process of it with a profile.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::Page;

/// Longer than anything here takes, on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a browser is called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The browser of this machine: `POCKET_BROWSER`, or one in the path.
pub fn installed() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("POCKET_BROWSER") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let of_name = |name: &&str| {
        places
            .iter()
            .map(|place| place.join(name))
            .find(|path| path.is_file())
    };
    NAMES.iter().find_map(of_name)
}

/// The browser of this machine, unless there is none and none is asked for.
///
/// # Panics
/// If there is none and `CI` is set: then nobody would see that the tests did nothing.
pub fn required() -> Option<PathBuf> {
    let found = installed();
    let strict = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    assert!(
        found.is_some() || !strict,
        "no Chromium is here; install it, or name one in POCKET_BROWSER"
    );
    if found.is_none() {
        eprintln!("SKIPPED: no Chromium is here; install it, or name one in POCKET_BROWSER");
    }
    found
}

/// A running browser with a profile of its own; both end with it.
#[derive(Debug)]
pub struct Browser {
    child: Mutex<Child>,
    address: String,
    profile: Arc<tempfile::TempDir>,
}

impl Browser {
    /// Starts a browser. The name `pocket.test` leads to this machine.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(browser: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a directory for the profile");
        Self::start_with(browser, Arc::new(profile)).await
    }

    /// Kills the browser and starts it again over what is on the disk.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn kill_and_start_again(&self, browser: &Path) -> Self {
        self.kill();
        Self::start_with(browser, Arc::clone(&self.profile)).await
    }

    async fn start_with(browser: &Path, profile: Arc<tempfile::TempDir>) -> Self {
        let mut child = Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                "--host-resolver-rules=MAP pocket.test 127.0.0.1",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let stderr = BufReader::new(child.stderr.take().expect("it was asked for"));
        let (sender, said) = tokio::sync::oneshot::channel();
        // Read to its end, so that the browser never waits for a reader.
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            for line in stderr.lines().map_while(Result::ok) {
                let address = line.strip_prefix("DevTools listening on ");
                if let (Some(address), Some(sender)) =
                    (address, sender.take_if(|_| address.is_some()))
                {
                    // Nobody waits any more.
                    let _ = sender.send(address.to_owned());
                }
            }
        });
        let address = tokio::time::timeout(PATIENCE, said).await;
        let address = address
            .expect("the browser starts in time")
            .expect("the browser starts");
        Self {
            child: Mutex::new(child),
            address,
            profile,
        }
    }

    /// One more page.
    ///
    /// # Panics
    /// If the browser is gone.
    pub async fn page(self: &Arc<Self>) -> Page {
        Page::new(self).await
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Kills it, without a chance to finish anything. Its renderers end with it.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.kill();
    }
}
