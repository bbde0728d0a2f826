//! Memory, nearer to the machine than the language goes: they change how fast things go, and
//! nothing else.
#![expect(
    unsafe_code,
    reason = "prefetching, comparing many at once and madvise have no safe names"
)]

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

/// Which of the numbers of half a cache line are `wanted`, a bit each.
#[inline(always)]
pub(crate) fn equal(numbers: [u32; 8], wanted: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { equal_sse2(numbers.map(u32::cast_signed), wanted.cast_signed()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let bit = |(at, number): (usize, &u32)| u32::from(*number == wanted) << at;
        numbers.iter().enumerate().map(bit).sum()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn equal_sse2([a, b, c, d, e, f, g, h]: [i32; 8], wanted: i32) -> u32 {
    use std::arch::x86_64::{
        _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set_epi32, _mm_set1_epi32,
    };
    let wanted = _mm_set1_epi32(wanted);
    let low = _mm_cmpeq_epi32(_mm_set_epi32(d, c, b, a), wanted);
    let high = _mm_cmpeq_epi32(_mm_set_epi32(h, g, f, e), wanted);
    let (low, high) =
        (_mm_movemask_ps(_mm_castsi128_ps(low)), _mm_movemask_ps(_mm_castsi128_ps(high)));
    (low | high << 4).cast_unsigned()
}

/// Memory that was reserved and is not yet used, by address and bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    start: usize,
    bytes: usize,
}

impl Region {
    /// The memory of a vector.
    pub(crate) fn of<T>(vector: &Vec<T>) -> Self {
        Self { start: vector.as_ptr().addr(), bytes: vector.capacity() * size_of::<T>() }
    }

    /// Asks the kernel to put it on huge pages, if it has any: a search in a large table then costs
    /// fewer walks through page tables.
    pub(crate) fn prefer_huge_pages(self) {
        self.advise(libc::MADV_HUGEPAGE);
    }

    /// Asks the kernel for all of its pages now, so that none is asked for when it is first used.
    /// Whether the kernel did so.
    pub(crate) fn populate(self) -> bool {
        self.advise(libc::MADV_POPULATE_WRITE)
    }

    /// Gives advice for the whole pages in it.
    fn advise(self, advice: libc::c_int) -> bool {
        let first = self.start.next_multiple_of(PAGE);
        let end = self.start.saturating_add(self.bytes) / PAGE * PAGE;
        if end <= first {
            return true;
        }
        let address = std::ptr::without_provenance_mut(first);
        // SAFETY: no advice changes what memory holds, and a range that is not there is refused.
        unsafe { libc::madvise(address, end - first, advice) == 0 }
    }
}

/// Bytes of a page.
const PAGE: usize = 4096;

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

    #[test]
    fn equal_numbers_are_told_by_their_bits() {
        let numbers = [7, 0, u32::MAX, 7, 1 << 31, 6, 7, 8];
        assert_eq!(equal(numbers, 7), 0b0100_1001);
        assert_eq!(equal(numbers, u32::MAX), 0b100);
        assert_eq!(equal(numbers, 1 << 31), 0b1_0000);
        assert_eq!(equal(numbers, 8), 0b1000_0000);
        assert_eq!(equal(numbers, 9), 0);
    }
}
