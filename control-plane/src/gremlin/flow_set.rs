//! The flows that a step found.

use super::error::Fault;
use super::selection::Selection;
use super::state::Machine;
use crate::flow::LazyFlow;

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
        mut take: impl FnMut(&LazyFlow),
    ) -> Result<(), Fault> {
        match self {
            Self::Kept(flows) => machine.budget.meter(flows.iter()).for_each(take),
            Self::Selected(selection, column) => {
                selection.each(machine, machine.flows, &mut take);
                let verdict = machine.budget.verdict();
                verdict.map_err(|fault| Fault::Absorbed(Box::new(fault.into()), *column))?;
            }
        }
        Ok(())
    }

    /// The flows themselves, in order.
    pub(super) fn kept(self, machine: &Machine<'_, '_>) -> Result<Vec<LazyFlow>, Fault> {
        match self {
            Self::Kept(flows) => Ok(flows),
            selected => {
                let mut kept = Vec::new();
                selected.each(machine, |flow| kept.push(flow.clone()))?;
                Ok(kept)
            }
        }
    }
}
