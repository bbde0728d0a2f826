//! The first flows of an order, of those that come in none.

use super::flow_field::getter;
use super::flow_getter::Getter;
use super::room::Room;
use super::sort_key::{Key, SortKey};
use super::step::Order;
use crate::flow::LazyFlow;
use crate::flow_store::Row;

/// As many flows as are needed, and no more than about twice as many while they come.
pub(super) struct First {
    needed: usize,
    order: Order,
    field: Getter,
    uuid: Option<Getter>,
    kept: Vec<(SortKey, LazyFlow)>,
    /// What comes behind it is not needed.
    last: Option<SortKey>,
}

impl First {
    pub(super) fn new(needed: usize, order: Order, field: Getter) -> Self {
        Self { needed, order, field, uuid: getter("UUID"), kept: Vec::new(), last: None }
    }

    /// Keeps the flow, unless it is known not to be needed. That is all, as others may wait: which
    /// ones are needed is found out when room is made.
    pub(super) fn offer(&mut self, row: Row<'_>) {
        let read = |getter: Getter| getter.read(row).as_ref().map(Key::of);
        let field = read(self.field);
        let behind = |last: &SortKey| self.order.compare_fields(&field, &last.field).is_gt();
        if !self.last.as_ref().is_some_and(behind) {
            let uuid = self.uuid.and_then(read);
            self.kept.push((SortKey { field, uuid }, row.flow.clone()));
        }
    }

    /// Those that are needed, or all if there are fewer, and perhaps some more, in order.
    pub(super) fn sorted(mut self) -> Vec<LazyFlow> {
        self.kept.sort_unstable_by(|(a, _), (b, _)| self.order.compare(a, b));
        self.kept.into_iter().map(|(_, flow)| flow).collect()
    }
}

impl Room for First {
    /// Lets go of flows that are not needed.
    fn make_room(&mut self) {
        if self.kept.len() >= self.needed.saturating_mul(2).max(FEW) {
            let order = self.order;
            self.kept.select_nth_unstable_by(self.needed, |(a, _), (b, _)| order.compare(a, b));
            self.kept.truncate(self.needed);
            let keys = self.kept.iter().map(|(key, _)| key);
            self.last = keys.max_by(|a, b| order.compare(a, b)).cloned();
        }
        self.kept.make_room();
    }
}

/// Flows that are kept before any is let go.
const FEW: usize = 4096;
