//! Where mbufs live: huge pages when the kernel has enough of them, plain ones otherwise.

use std::fmt;
use std::fs;
use std::path::Path;

/// The memory EAL is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Huge pages; bytes that are free in them.
    Huge {
        /// Bytes in free huge pages of all sizes.
        free: u64,
    },
    /// Plain pages: slower (more TLB misses), and no NIC without an IOMMU can write to them.
    Plain {
        /// Bytes in free huge pages of all sizes, too few.
        free: u64,
        /// Bytes that plain pages need; for a NIC more than huge ones would.
        needed: u64,
    },
}

impl Memory {
    /// Huge pages if enough are free for `mbufs` in each of `nodes` NUMA nodes; `nic`: whether a
    /// device shall write to them.
    pub fn detect(mbufs: usize, nodes: usize, nic: bool) -> Self {
        Self::choose(free_huge(Path::new("/sys/kernel/mm/hugepages")), mbufs, nodes, nic)
    }

    fn choose(free: u64, mbufs: usize, nodes: usize, nic: bool) -> Self {
        if free >= bytes(mbufs, nodes, MBUF) {
            Self::Huge { free }
        } else {
            let mbuf = if nic { MBUF_PAGE } else { MBUF };
            Self::Plain { free, needed: bytes(mbufs, nodes, mbuf) }
        }
    }

    /// The arguments for EAL. Either way it leaves no files that clash with another process or
    /// outlive a crash.
    pub(super) fn eal_arguments(self) -> Vec<String> {
        match self {
            Self::Huge { .. } => vec!["--in-memory".to_owned()],
            Self::Plain { needed, .. } => {
                let megabytes = needed.div_ceil(1 << 20).to_string();
                let plain = ["--no-huge", "--no-shconf", "-m"].map(str::to_owned);
                plain.into_iter().chain([megabytes]).collect()
            }
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Huge { free } => write!(f, "huge pages ({} MB free)", free >> 20),
            Self::Plain { free, needed } => write!(
                f,
                "plain pages ({} MB of huge pages free, {} MB needed)",
                free >> 20,
                needed >> 20,
            ),
        }
    }
}

/// Bytes for the mempools and DPDK's own tables.
fn bytes(mbufs: usize, nodes: usize, mbuf: u64) -> u64 {
    let mempools = (mbufs as u64).saturating_mul(mbuf).saturating_mul(nodes.max(1) as u64);
    mempools.saturating_add(TABLES)
}

/// Bytes in free huge pages: directories `hugepages-2048kB` with a file `free_hugepages` each.
fn free_huge(directory: &Path) -> u64 {
    let Ok(sizes) = fs::read_dir(directory) else {
        return 0;
    };
    sizes
        .flatten()
        .filter_map(|size| {
            let name = size.file_name();
            let kilobytes: u64 =
                name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let free = fs::read_to_string(size.path().join("free_hugepages")).ok()?;
            let free: u64 = free.trim().parse().ok()?;
            Some(free.saturating_mul(kilobytes).saturating_mul(1024))
        })
        .fold(0, u64::saturating_add)
}

/// An mbuf of 2176 bytes with its header, the mempool's header and trailer, and its ring slot.
const MBUF: u64 = 2560;

/// The same on plain pages that a NIC writes to: no mbuf may cross a page, so that each takes one.
const MBUF_PAGE: u64 = 4096 + 64;

/// Queues, rings and tables of DPDK.
const TABLES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_memory_is_sized_for_the_mempools() {
        let memory = Memory::choose(0, 65_535, 1, false);
        assert_eq!(memory.eal_arguments(), ["--no-huge", "--no-shconf", "-m", "224"]);
        let memory = Memory::choose(0, 65_535, 1, true);
        assert_eq!(memory.eal_arguments(), ["--no-huge", "--no-shconf", "-m", "324"]);
        assert_eq!(memory.to_string(), "plain pages (0 MB of huge pages free, 323 MB needed)");
    }

    #[test]
    fn huge_pages_are_taken_when_they_suffice() {
        let enough = (64 << 20) + 1000 * 2560;
        assert_eq!(Memory::choose(enough, 1000, 1, true), Memory::Huge { free: enough });
        let free = enough - 1;
        let needed = (64 << 20) + 1000 * 4160;
        assert_eq!(Memory::choose(free, 1000, 1, true), Memory::Plain { free, needed });
        assert!(matches!(Memory::choose(enough, 1000, 2, true), Memory::Plain { .. }));
        assert_eq!(Memory::Huge { free }.eal_arguments(), ["--in-memory"]);
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        assert_eq!(bytes(usize::MAX, usize::MAX, MBUF), u64::MAX);
    }

    #[test]
    fn no_directory_means_no_huge_pages() {
        assert_eq!(free_huge(Path::new("/nonexistent")), 0);
    }
}
