//! Hints to the memory system: they change how fast things go, and nothing else.
#![expect(unsafe_code, reason = "the prefetch instruction has no safe name")]

/// Asks for the cache lines of `slice[index]` ahead of its use. Without effect when the index is
/// out of bounds, or on a CPU that we know no instruction for.
#[inline]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = slice.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start: *const i8 = std::ptr::from_ref(item).cast();
        for line in (0..size_of::<T>()).step_by(LINE) {
            // SAFETY: a prefetch reads nothing and never faults, and SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}

/// Bytes in a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_index_may_be_prefetched() {
        let items = [1u64, 2, 3];
        for index in [0, 2, 3, usize::MAX] {
            prefetch(&items, index);
        }
        assert_eq!(items, [1, 2, 3]);
    }
}
