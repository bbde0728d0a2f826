//! The flows that a step found.

use super::error::Fault;
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
    /// Shows each flow, in order, to `take`, which shall be about as fast as a comparison.
    pub(super) fn each(
        &self,
        machine: &Machine<'_, '_>,
        reads: Reads,
        mut take: impl FnMut(Row<'_>),
    ) -> Result<(), Fault> {
        match self {
            Self::Kept(flows) => {
                machine.budget.meter(flows.iter()).for_each(|flow| take(flow.into()));
                Ok(())
            }
            Self::Selected(selection, column) => {
                selection.each(machine, machine.flows, reads, &mut take);
                verdict(machine, *column)
            }
        }
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
            selected => {
                let mut kept = Vec::new();
                selected.each(machine, Reads::Owners, |row| kept.push(row.flow.clone()))?;
                Ok(kept)
            }
        }
    }
}

/// What the budget says of a selection at that column.
fn verdict(machine: &Machine<'_, '_>, column: usize) -> Result<(), Fault> {
    let verdict = machine.budget.verdict();
    verdict.map_err(|fault| Fault::Absorbed(Box::new(fault.into()), column))
}
