//! What this process uses, as Linux tells it; elsewhere less is known.

use std::{
    fs,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// Ticks of the CPU times in /proc in a second (`USER_HZ`), the same on all machines that we run on.
const TICKS: f64 = 100.0;

/// What the process uses; `None` where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    /// Seconds of CPU time, of user and system together.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) most_files: Option<u64>,
    /// Seconds since 1970 at which it started.
    pub(crate) start: f64,
}

impl Process {
    /// When it started, in seconds since 1970: the first call.
    pub(crate) fn start() -> f64 {
        static START: OnceLock<f64> = OnceLock::new();
        *START.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
    }

    /// Reads it; blocks.
    pub(crate) fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let (status, limits) = (read("status"), read("limits"));
        Self {
            cpu_seconds: cpu_seconds(&read("stat")),
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            // The directory that is read is open itself.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
            most_files: most_files(&limits),
            start: Self::start(),
        }
    }
}

/// The 14th and 15th field; the second is a name in parentheses, in which anything may be.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Lets this process have as many files and sockets open as the system allows it to, instead of as many as are usual; how
/// many that are, where it can be known.
#[cfg(unix)]
pub(crate) fn raise_open_files() -> Option<usize> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).ok()
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12 * 1024));
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096    files\n";
        assert_eq!(most_files(limits), Some(1024));
        assert_eq!(
            (cpu_seconds(""), kilobytes("", "VmRSS:"), most_files("Max open files unlimited")),
            (None, None, None)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_there() {
        let Process { resident_bytes, open_files, most_files, start, .. } = Process::now();
        assert!(resident_bytes.is_some_and(|bytes| bytes > 1 << 20) && start > 1e9);
        assert!(open_files.zip(most_files).is_some_and(|(open, most)| open > 2 && open < most));
    }
}
