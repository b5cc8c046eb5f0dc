//! What is asked of the machine: the time, the memory of this process, the kind of a file system.

use std::path::Path;
use std::time::{Duration, Instant};

/// A point in time to measure from.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "measuring time is what this program is for"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// What a process has of the machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    /// The most it ever had.
    pub(crate) peak: u64,
}

/// The memory of this process; none where the system does not tell.
pub(crate) fn own_memory() -> Option<Memory> {
    memory_of("self")
}

/// The memory of a process; none where the system does not tell.
pub(crate) fn memory(process: u32) -> Option<Memory> {
    memory_of(&process.to_string())
}

fn memory_of(process: &str) -> Option<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(Memory {
        now: bytes_of(&status, "VmRSS:")?,
        peak: bytes_of(&status, "VmHWM:")?,
    })
}

fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Bytes in mebibytes.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// The kind of file system that `path` lies on; none where the system does not tell.
pub(crate) fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    kind_of(&path, &std::fs::read_to_string("/proc/mounts").ok()?)
}

/// The kind of the innermost mount around `path`; of two at one place the later one counts.
fn kind_of(path: &Path, mounts: &str) -> Option<String> {
    let mut innermost: Option<(&str, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(place), Some(kind)) = (words.nth(1), words.next()) else {
            continue;
        };
        let deeper = innermost.is_none_or(|(other, _)| place.len() >= other.len());
        if path.starts_with(place) && deeper {
            innermost = Some((place, kind));
        }
    }
    innermost.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_tells_the_kind() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        let kind = |path: &str| kind_of(Path::new(path), mounts);
        assert_eq!(kind("/home/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/tmp/x").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/tmp/disk/x").as_deref(), Some("xfs"));
        assert_eq!(kind("/tmpfoo").as_deref(), Some("ext4"));
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        let status = "VmPeak:\t  9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(bytes_of(status, "VmHWM:"), Some(2_097_152));
        assert_eq!(bytes_of(status, "VmRSS:"), Some(1_048_576));
        assert_eq!(bytes_of("VmPeak:\t  9 kB\n", "VmHWM:"), None);
    }
}
