//! Which flows, in which order: what `Flows` absorbs (Skydive API §3.6, reduction rule 3).

use std::collections::HashSet;
use std::hint::black_box;
use std::ops::{BitXor as _, ControlFlow};

use ahash::RandomState;

use super::Placed;
use super::clause::Clause;
use super::error::Fault;
use super::flow_field::getter;
use super::flow_getter::Getter;
use super::sort_key::{Key, SortKey};
use super::state::{Machine, Stage, Window};
use super::step::{Order, Step};
use crate::flow::LazyFlow;
use crate::flow_store::{Flows, Row};
use crate::graph::Span;

/// `Has`, `HasEither`, `Sort`, `Dedup` and a window as Skydive runs them, however they stand in
/// the query: filter, then sort, then dedup, then the window.
pub(super) struct Selection<'q> {
    /// Those that headlines decide.
    narrow: Vec<Clause<'q>>,
    /// Those that need a look at the flow.
    wide: Vec<Clause<'q>>,
    sort: Option<(Order, Getter)>,
    dedup: Option<Getter>,
    window: Window,
}

/// How much of a flow is touched once it is selected, from less to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// No more than its headline.
    Headline,
    /// Its count of owners: it is kept.
    Owners,
    Record,
}

impl<'q> Selection<'q> {
    pub(super) fn of(stage: &Stage<'q>) -> Result<Self, Fault> {
        let mut selection = Self {
            narrow: Vec::new(),
            wide: Vec::new(),
            sort: None,
            dedup: None,
            window: Window::ALL,
        };
        selection.add(stage.step)?;
        for Placed { step, column } in stage.absorbed {
            let added = selection.add(step);
            added.map_err(|fault| Fault::Absorbed(Box::new(fault), *column))?;
        }
        Ok(selection)
    }

    fn add(&mut self, step: &'q Step) -> Result<(), Fault> {
        let field = |name: &str| getter(name).ok_or(Fault::NoField);
        match step {
            Step::Flows(conditions) | Step::Has(conditions) => {
                Clause::all(conditions).for_each(|clause| self.require(clause));
            }
            Step::HasEither(conditions) => self.require(Clause::any(conditions)),
            Step::Sort(order, name) => {
                self.sort = Some((*order, field(name.as_deref().unwrap_or("Last"))?));
            }
            Step::Dedup(names) => match names.as_slice() {
                [] => self.dedup = Some(field("TrackingID")?),
                [name] => self.dedup = Some(field(name)?),
                names => {
                    return Err(Fault::Rule {
                        rule: "Dedup accepts at most one parameter",
                        given: format!("[{}]", names.join(" ")),
                    });
                }
            },
            step => self.window = Window::of(step).unwrap_or(self.window),
        }
        Ok(())
    }

    fn require(&mut self, clause: Clause<'q>) {
        let clauses = if clause.is_narrow() { &mut self.narrow } else { &mut self.wide };
        clauses.push(clause);
    }

    /// Narrows it to flows captured on nodes of those TIDs.
    pub(super) fn captured_at(&mut self, tids: HashSet<&'q str>) {
        self.require(Clause::At(tids));
    }

    /// Narrows it to flows that had a packet in the span, or before it and after.
    pub(super) fn alive_in(&mut self, span: Span) {
        self.require(Clause::AliveIn(span));
    }

    /// How many are selected; flows are looked at only when that depends on them.
    pub(super) fn count(&self, machine: &Machine<'_, '_>, flows: &dyn Flows) -> usize {
        let mut count = 0;
        if self.clauses().next().is_some() || self.dedup.is_some() {
            self.each(machine, flows, Reads::Headline, &mut |_| count += 1);
            return count;
        }
        let Window { skip, take } = self.window;
        let (mut passed, most) = (0, skip.saturating_add(take));
        flows.walk(true, &mut |rows| {
            let passing = rows.len().min(most - passed);
            passed += passing;
            count = passed.saturating_sub(skip);
            let goes_on = machine.budget.visit(passing) && machine.budget.admits(count);
            if goes_on && passed < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        count
    }

    /// Shows the flows that are selected, in order. `take` shall be about as fast as a comparison.
    pub(super) fn each(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        reads: Reads,
        take: &mut dyn FnMut(Row<'_>),
    ) {
        let mut picked = Picked { selection: self, seen: HashSet::default(), passed: 0, taken: 0 };
        let mut offer = |row: Row<'_>| picked.offer(machine, row, take);
        match self.sort {
            None => self.admitted(machine, flows, reads.and(self.dedup), offer),
            Some((order, getter)) => {
                let sorted = self.sorted(machine, flows, order, getter);
                let _ = sorted.iter().try_for_each(|(_, flow)| offer(flow.into()));
            }
        }
    }

    /// Hands on the flows that all clauses admit, until `take` breaks.
    fn admitted(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        reads: Reads,
        mut take: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) {
        let reads = if self.wide.is_empty() { reads } else { Reads::Record };
        flows.walk(self.is_brief(), &mut |rows| {
            let mut hits: Vec<(usize, Row<'_>)> = Vec::with_capacity(FEW);
            for few in rows.chunks(FEW) {
                let places = few.iter().enumerate();
                hits.extend(places.filter(|(_, row)| admit(&self.narrow, *row)));
                reads.fetch(hits.iter().map(|(_, row)| row.flow));
                let mut visited = 0;
                for (place, row) in hits.drain(..) {
                    if !machine.budget.visit(place + 1 - visited) {
                        return ControlFlow::Break(());
                    }
                    visited = place + 1;
                    if admit(&self.wide, row) {
                        take(row)?;
                    }
                }
                if !machine.budget.visit(few.len() - visited) {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
    }

    /// Whether a look at a flow is about as fast as some comparisons.
    fn is_brief(&self) -> bool {
        let tests: usize = self.clauses().map(|clause| clause.tests().len()).sum();
        let mut getters = self.sort.iter().map(|(_, getter)| getter).chain(&self.dedup);
        tests <= BRIEF && self.clauses().all(Clause::is_brief) && getters.all(Getter::is_brief)
    }

    fn clauses(&self) -> impl Iterator<Item = &Clause<'q>> {
        self.narrow.iter().chain(&self.wide)
    }

    /// Only as many as the window needs are kept and sorted.
    fn sorted(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        order: Order,
        field: Getter,
    ) -> Vec<(SortKey, LazyFlow)> {
        let needed = match self.dedup {
            Some(_) => usize::MAX,
            None => self.window.skip.saturating_add(self.window.take),
        };
        let room = needed.saturating_mul(2).max(ROOM);
        let uuid = getter("UUID");
        let mut kept: Vec<(SortKey, LazyFlow)> = Vec::new();
        // What comes behind it is not needed.
        let mut last: Option<SortKey> = None;
        // All are kept, or those few that come before the last one.
        let reads = if needed == usize::MAX { Reads::Owners } else { Reads::Headline };
        let reads = reads.and(Some(field));
        self.admitted(machine, flows, reads, |row| {
            let read = |getter: Getter| getter.read(row).as_ref().map(Key::of);
            let field = read(field);
            if last.as_ref().is_some_and(|last| order.compare_fields(&field, &last.field).is_gt()) {
                return ControlFlow::Continue(());
            }
            kept.push((SortKey { field, uuid: uuid.and_then(read) }, row.flow.clone()));
            if kept.len() >= room {
                kept.select_nth_unstable_by(needed, |(a, _), (b, _)| order.compare(a, b));
                kept.truncate(needed);
                last = kept.iter().map(|(key, _)| key).max_by(|a, b| order.compare(a, b)).cloned();
            }
            ControlFlow::Continue(())
        });
        kept.sort_unstable_by(|(a, _), (b, _)| order.compare(a, b));
        kept
    }
}

impl Reads {
    /// What both need.
    pub(super) fn and(self, getter: Option<Getter>) -> Self {
        if getter.is_none_or(|getter| getter.is_narrow()) { self } else { Self::Record }
    }

    /// Lets it come to the cache. Flows lie anywhere in memory: here it is fetched for all of them at
    /// once, where whoever touches one after the other waits for each.
    fn fetch<'f>(self, flows: impl Iterator<Item = &'f LazyFlow>) {
        let glance = match self {
            Self::Headline => return,
            Self::Owners => LazyFlow::owners,
            Self::Record => LazyFlow::glance,
        };
        black_box(flows.map(glance).fold(0, u64::bitxor));
    }
}

/// Whether the flow meets all of them.
fn admit(clauses: &[Clause<'_>], row: Row<'_>) -> bool {
    clauses.iter().all(|clause| clause.admits(row))
}

/// What passes `Dedup` and the window.
struct Picked<'s, 'q> {
    selection: &'s Selection<'q>,
    seen: HashSet<Key, RandomState>,
    /// How many came to the window.
    passed: usize,
    /// How many passed it.
    taken: usize,
}

impl Picked<'_, '_> {
    /// Shows the flow to `see`, if it is the first of its kind and the window lets it through, and
    /// breaks when no other can be. Flows without the field are all shown.
    fn offer(
        &mut self,
        machine: &Machine<'_, '_>,
        row: Row<'_>,
        see: &mut dyn FnMut(Row<'_>),
    ) -> ControlFlow<()> {
        let Window { skip, take } = self.selection.window;
        let kind = self.selection.dedup.and_then(|getter| getter.read(row));
        if kind.as_ref().is_some_and(|field| !self.seen.insert(Key::of(field))) {
            return ControlFlow::Continue(());
        }
        self.passed += 1;
        if self.passed > skip && self.taken < take {
            self.taken += 1;
            see(row);
        }
        match self.taken < take && machine.budget.admits(self.taken) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }
}

/// Tests of a flow that take no time.
const BRIEF: usize = 8;

/// Flows that are looked at together: they fit in a core's nearest cache.
const FEW: usize = 32;

/// Flows that are kept before those are let go that no window needs.
const ROOM: usize = 4096;
