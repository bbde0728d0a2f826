//! The machine that is measured, as Linux describes it.

use std::fs;
use std::thread;

use serde::Serialize;

/// What figures depend on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// The CPU's model.
    pub(super) cpu: String,
    /// CPUs that this process may run on.
    pub(super) cores: usize,
    /// Bytes in free huge pages of the default size.
    pub(super) huge_pages_free_bytes: u64,
}

impl Machine {
    /// The one this runs on.
    pub(super) fn of_this() -> Self {
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let memory = read("/proc/meminfo");
        Self {
            cpu: model.map_or("unknown CPU", |name| name.trim_matches([' ', '\t', ':'])).to_owned(),
            cores: thread::available_parallelism().map_or(1, Into::into),
            huge_pages_free_bytes: number(&memory, "HugePages_Free:").unwrap_or(0)
                * number(&memory, "Hugepagesize:").unwrap_or(0)
                * KILO,
        }
    }
}

/// Bytes that could be used without swapping; unknown without `/proc`.
pub(super) fn available() -> Option<u64> {
    number(&read("/proc/meminfo"), "MemAvailable:").map(|kilobytes| kilobytes * KILO)
}

/// Bytes of this process that are in memory, 0 where nobody knows.
pub(super) fn resident() -> u64 {
    number(&read("/proc/self/status"), "VmRSS:").map_or(0, |kilobytes| kilobytes * KILO)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number behind a name at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

const KILO: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let text = "MemTotal:       24 kB\nMemAvailable:   17 kB\nHugePages_Free:   3\n";
        assert_eq!(number(text, "MemAvailable:"), Some(17));
        assert_eq!(number(text, "HugePages_Free:"), Some(3));
        assert_eq!(number(text, "Available:"), None);
    }

    #[test]
    fn this_process_is_in_memory() {
        assert!(resident() > 0);
        assert!(available() > Some(resident()));
    }
}
