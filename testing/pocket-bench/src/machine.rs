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

/// The most memory this process ever had, in bytes; none where the system does not tell.
pub(crate) fn peak_memory() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
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
    fn peak_memory_is_read_in_kibibytes() {
        assert_eq!(
            peak_of("VmPeak:\t  9 kB\nVmHWM:\t  2048 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(peak_of("VmPeak:\t  9 kB\n"), None);
    }
}
