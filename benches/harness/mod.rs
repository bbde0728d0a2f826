//! What all benches share: CPU time and allocations of a round, and what the command line asks for.
//!
//! ```text
//! cargo bench --bench parse              all cases, for time and allocations
//! target/.../parse-HASH --list           their names
//! target/.../parse-HASH --once CASE      a round of one case; `scripts/bench` counts instructions
//! ```

use std::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The cases of a bench, each run as it is added.
pub(crate) struct Bench {
    mode: Mode,
}

enum Mode {
    /// All cases, for time and allocations.
    Measure,
    /// Prints the names of the cases.
    List,
    /// One case, once.
    Once(String),
}

/// What a round of a case cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// CPU time of this thread.
    pub(crate) time: Duration,
    pub(crate) allocations: u64,
}

impl Bench {
    /// What the command line asks for; Cargo adds `--bench`.
    pub(crate) fn from_arguments() -> Self {
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        let mode = match (arguments.next().as_deref(), arguments.next()) {
            (None, _) => Mode::Measure,
            (Some("--list"), None) => Mode::List,
            (Some("--once"), Some(case)) => Mode::Once(case),
            _ => panic!("expected nothing, --list, or --once CASE"),
        };
        Self { mode }
    }

    /// Whether rounds should be short: nobody measures time.
    pub(crate) fn is_short(&self) -> bool {
        !matches!(self.mode, Mode::Measure)
    }

    /// Whether a case of that name shall run; when only names are wanted, prints it.
    pub(crate) fn wants(&self, name: &str) -> bool {
        match &self.mode {
            Mode::Measure => true,
            Mode::List => {
                println!("{name}");
                false
            }
            Mode::Once(case) => case == name,
        }
    }

    /// Runs a case of `items` items a round, and prints what an item costs. `prepare` is not
    /// measured.
    #[allow(dead_code, reason = "a bench may have but cases of its own")]
    pub(crate) fn case<S>(
        &mut self,
        name: &str,
        items: u64,
        mut prepare: impl FnMut() -> S,
        mut run: impl FnMut(&mut S),
    ) {
        if !self.wants(name) {
            return;
        }
        let mut round = || {
            let mut state = prepare();
            cost(|| run(black_box(&mut state)))
        };
        if self.is_short() {
            round();
            println!("items: {items}");
            return;
        }
        let costs = Costs((0..ROUNDS).map(|_| round()).collect());
        println!(
            "{name:<28}  {:>9.1} ns  {:>7.2} allocations",
            costs.nanos(items),
            costs.allocations(items)
        );
    }
}

/// What all rounds of a case cost.
#[derive(Debug, Default)]
pub(crate) struct Costs(pub(crate) Vec<Cost>);

impl Costs {
    /// Nanoseconds per item: the median of the rounds.
    pub(crate) fn nanos(&self, items: u64) -> f64 {
        let mut times: Vec<_> = self.0.iter().map(|cost| cost.time.as_nanos()).collect();
        times.sort_unstable();
        times[times.len() / 2] as f64 / items as f64
    }

    /// Allocations per item: those of the round that made most.
    pub(crate) fn allocations(&self, items: u64) -> f64 {
        let most = self.0.iter().map(|cost| cost.allocations).max().unwrap_or(0);
        most as f64 / items as f64
    }
}

/// What `run` costs this thread. The only thing that instructions are counted in.
#[inline(never)]
pub(crate) fn cost(run: impl FnOnce()) -> Cost {
    let mut time = Duration::ZERO;
    let made = allocation_counter::measure(|| {
        let start = cpu_time();
        run();
        time = cpu_time() - start;
    });
    Cost { time, allocations: made.count_total }
}

/// CPU time of this thread: what others do on a busy machine is not in it.
pub(crate) fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock").into()
}

/// Odd, so that one of them is the median.
pub(crate) const ROUNDS: usize = 5;
