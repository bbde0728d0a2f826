//! The flows that a step found.

use super::error::Fault;
use super::room::Room;
use super::selection::{Reads, Selection};
use super::state::Machine;
use crate::flow::LazyFlow;
use crate::flow_store::Row;

/// Flows, perhaps not looked for yet: who only counts or adds them up need not keep them.
pub(super) enum FlowSet<'q> {
    Kept(Vec<LazyFlow>),
    /// Those of the store that are selected. What goes wrong does so at that column.
    Selected(Box<Selection<'q>>, usize),
}

impl<'q> FlowSet<'q> {
    /// Puts `into` what `take` makes of each flow, in order. It shall be about as fast as a comparison.
    pub(super) fn each<T: Room>(
        &self,
        machine: &Machine<'_, '_>,
        reads: Reads,
        mut into: T,
        mut take: impl FnMut(&mut T, Row<'_>),
    ) -> Result<T, Fault> {
        match self {
            Self::Kept(flows) => {
                let flows = machine.budget.meter(flows.iter());
                flows.for_each(|flow| take(&mut into, flow.into()));
            }
            Self::Selected(selection, column) => {
                selection.each(machine, machine.flows, reads, &mut into, take);
                verdict(machine, *column)?;
            }
        }
        Ok(into)
    }

    /// How many there are.
    pub(super) fn count(&self, machine: &Machine<'_, '_>) -> Result<usize, Fault> {
        match self {
            Self::Kept(flows) => Ok(machine.budget.meter(flows.iter()).count()),
            Self::Selected(selection, column) => {
                let count = selection.count(machine, machine.flows);
                verdict(machine, *column).map(|()| count)
            }
        }
    }

    /// The flows themselves, in order.
    pub(super) fn kept(self, machine: &Machine<'_, '_>) -> Result<Vec<LazyFlow>, Fault> {
        match self {
            Self::Kept(flows) => Ok(flows),
            selected => selected.each(machine, Reads::Owners, Vec::new(), |kept, row| {
                kept.push(row.flow.clone());
            }),
        }
    }
}

/// What the budget says of a selection at that column.
fn verdict(machine: &Machine<'_, '_>, column: usize) -> Result<(), Fault> {
    let verdict = machine.budget.verdict();
    verdict.map_err(|fault| Fault::Absorbed(Box::new(fault.into()), column))
}
