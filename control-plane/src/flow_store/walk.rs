//! How queries look at flows, while ingest goes on.

use std::fmt::Debug;
use std::hint::black_box;
use std::ops::{BitXor as _, ControlFlow};
use std::sync::PoisonError;

use super::{FlowStore, SharedFlowStore};
use crate::flow::LazyFlow;

/// Flows that a query reads.
pub trait Flows: Debug {
    /// Shows flows to `look` until it breaks, in no order. With `brief` it promises to take some
    /// hundred nanoseconds for a flow, so that others may wait for as long as it looks at a few.
    fn walk(&self, brief: bool, look: &mut dyn FnMut(&LazyFlow) -> ControlFlow<()>);

    /// All flows are there that were heard of after so many milliseconds since the epoch.
    fn known_since(&self) -> i64;
}

impl Flows for FlowStore {
    fn walk(&self, _: bool, look: &mut dyn FnMut(&LazyFlow) -> ControlFlow<()>) {
        let shelves = (0..).map_while(|number| self.flows.shelf(number));
        let _ = look_at(shelves.flatten().map(|kept| &kept.flow), look);
    }

    fn known_since(&self) -> i64 {
        self.horizon.millis()
    }
}

/// Flows that a query selected already.
impl Flows for Vec<LazyFlow> {
    fn walk(&self, _: bool, look: &mut dyn FnMut(&LazyFlow) -> ControlFlow<()>) {
        let _ = self.iter().try_for_each(look);
    }

    fn known_since(&self) -> i64 {
        i64::MIN
    }
}

/// Shelf by shelf, and locked for one at a time: each flow that is there from begin to end is shown
/// once, as it is when its shelf is looked at.
impl Flows for SharedFlowStore {
    fn walk(&self, brief: bool, look: &mut dyn FnMut(&LazyFlow) -> ControlFlow<()>) {
        let mut taken: Vec<LazyFlow> = Vec::new();
        for number in 0.. {
            let store = self.read().unwrap_or_else(PoisonError::into_inner);
            let Some(shelf) = store.flows.shelf(number) else { return };
            let looked = if brief {
                look_at(shelf.map(|kept| &kept.flow), look)
            } else {
                taken.extend(shelf.map(|kept| kept.flow.clone()));
                drop(store);
                taken.drain(..).try_for_each(|flow| look(&flow))
            };
            if looked.is_break() {
                return;
            }
        }
    }

    fn known_since(&self) -> i64 {
        self.read().unwrap_or_else(PoisonError::into_inner).known_since()
    }
}

/// Shows the flows to `look`, a few at a time, after a glance at each of those. They lie anywhere in
/// memory: at a glance it is fetched for all of them at once, where `look` would wait for each.
fn look_at<'f>(
    mut flows: impl Iterator<Item = &'f LazyFlow>,
    look: &mut dyn FnMut(&LazyFlow) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut few = Vec::with_capacity(FEW);
    loop {
        few.clear();
        few.extend(flows.by_ref().take(FEW));
        if few.is_empty() {
            return ControlFlow::Continue(());
        }
        black_box(few.iter().map(|flow| flow.glance()).fold(0, u64::bitxor));
        few.iter().copied().try_for_each(&mut *look)?;
    }
}

/// They fit in a core's nearest cache.
const FEW: usize = 32;
