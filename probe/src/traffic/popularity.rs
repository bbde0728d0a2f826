//! Which flow is seen next.

use super::random::Random;

/// Draws ranks from 1 to `ranks`, rank `r` with a weight of `1 / r`: Zipf's law with exponent 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zipf {
    ranks: u32,
    octaves: u32,
}

impl Zipf {
    pub(super) fn new(ranks: u32) -> Self {
        let ranks = ranks.max(1);
        Self { ranks, octaves: ranks.ilog2() + 1 }
    }

    /// Exact, and without logarithms, which machines round each in their own way: an octave
    /// `[2^k, 2^(k+1))`, each as likely as the next; a rank in it, each as likely as the next,
    /// which stays with a chance of `2^k / rank`. About one in 1.4 does.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> u32 {
        loop {
            let octave = random.below(self.octaves);
            let bits = random.next();
            let base = 1_u64 << octave;
            let rank = base + (bits & (base - 1));
            if rank * (bits >> 32) < base << 32 && rank <= u64::from(self.ranks) {
                return rank as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_as_frequent_as_the_law_says() {
        const RANKS: u32 = 1000;
        const DRAWS: u32 = 1_000_000;
        let zipf = Zipf::new(RANKS);
        let mut random = Random::new(7);
        let mut seen = [0_u32; RANKS as usize + 1];
        for _ in 0..DRAWS {
            seen[zipf.draw(&mut random) as usize] += 1;
        }
        let harmonic: f64 = (1..=RANKS).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1, 2, 3, 10, 100] {
            let expected = f64::from(DRAWS) / harmonic / f64::from(rank);
            let found = f64::from(seen[rank as usize]);
            // Five standard deviations.
            assert!((found - expected).abs() < 5.0 * expected.sqrt(), "{rank}: {found}");
        }
        assert_eq!(seen[0], 0);
        assert!(seen[501..].iter().sum::<u32>() > DRAWS / 12);
    }

    #[test]
    fn one_rank_is_always_drawn() {
        assert_eq!(Zipf::new(0).draw(&mut Random::new(1)), 1);
        assert_eq!(Zipf::new(1).draw(&mut Random::new(1)), 1);
    }
}
