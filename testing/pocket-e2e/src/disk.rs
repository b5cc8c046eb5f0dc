//! A disk that is small enough to be filled.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own in memory, which is gone when this is dropped.
pub struct SmallDisk {
    at: PathBuf,
    sudo: bool,
}

impl SmallDisk {
    /// Mounts one of `mebibytes` at `at`.
    ///
    /// None, said on stderr, on a machine where that is not allowed. Under `CI` that is a failure: a test that nobody
    /// runs shows nothing.
    pub fn mount(at: &Path, mebibytes: usize) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={mebibytes}m,mode=0777");
        for sudo in [false, true] {
            let mut command = command(sudo, "mount");
            command.args(["-t", "tmpfs", "-o", &options, "pocket-e2e"]);
            let mounted = command.arg(at).output();
            if mounted.is_ok_and(|output| output.status.success()) {
                return Some(Self {
                    at: at.to_owned(),
                    sudo,
                });
            }
        }
        let text = "SKIPPED: a full disk needs the right to mount a small one; run as root, or allow `sudo -n mount`";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("{text}");
        None
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Takes all the room that is left, until [`empty`](Self::empty).
    pub fn fill(&self) {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        // Ever smaller pieces, until not even a byte is left.
        let mut size = 1 << 20;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    /// Gives the room back.
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may still have files open.
        let unmounted = command(self.sudo, "umount")
            .arg("-l")
            .arg(&self.at)
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}

fn command(sudo: bool, name: &str) -> Command {
    if sudo {
        let mut command = Command::new("sudo");
        command.args(["-n", name]);
        return command;
    }
    Command::new(name)
}
