//! Which flows, in which order: what `Flows` absorbs (Skydive API §3.6, reduction rule 3).

use std::collections::HashSet;
use std::hint::black_box;
use std::ops::{BitXor as _, ControlFlow};

use ahash::RandomState;

use super::Placed;
use super::clause::Clause;
use super::error::Fault;
use super::first::First;
use super::flow_field::getter;
use super::flow_getter::Getter;
use super::room::Room;
use super::sort_key::Key;
use super::state::{Machine, Stage, Window};
use super::step::{Order, Step};
use crate::flow::LazyFlow;
use crate::flow_store::{Flows, Row, Rows};
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
    pub(super) fn seen_in(&mut self, span: Span) {
        self.require(Clause::SeenIn(span));
    }

    /// How many are selected; flows are looked at only when that depends on them.
    pub(super) fn count(&self, machine: &Machine<'_, '_>, flows: &dyn Flows) -> usize {
        let mut count = 0;
        if self.clauses().next().is_some() || self.dedup.is_some() {
            self.each(machine, flows, Reads::Headline, &mut count, |count, _| *count += 1);
            return count;
        }
        let Window { skip, take } = self.window;
        let (mut passed, most) = (0, skip.saturating_add(take));
        let mut look = |rows: Rows<'_>| {
            let passing = rows.len().min(most - passed);
            passed += passing;
            count = passed.saturating_sub(skip);
            let goes_on = machine.budget.visit(passing) && machine.budget.admits(count);
            if goes_on && passed < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let _ = (0..).try_for_each(|shelf| flows.shelf(shelf, true, &mut look));
        count
    }

    /// Shows the flows that are selected, in order, to `take`, which shall be about as fast as a
    /// comparison: it puts what it makes of them where there is room.
    pub(super) fn each<T: Room>(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        reads: Reads,
        into: &mut T,
        take: impl FnMut(&mut T, Row<'_>),
    ) {
        let mut picked = Picked::new(self, into, take);
        match self.sort {
            None => {
                let reads = reads.and(self.dedup);
                self.admitted(machine, flows, reads, &mut picked, |picked, row| {
                    picked.offer(machine, row)
                });
            }
            Some((order, getter)) => {
                let sorted = self.sorted(machine, flows, order, getter);
                let _ = sorted.iter().try_for_each(|flow| picked.offer(machine, flow.into()));
            }
        }
    }

    /// Hands on the flows that all clauses admit, until `take` breaks.
    fn admitted<T: Room>(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        reads: Reads,
        into: &mut T,
        mut take: impl FnMut(&mut T, Row<'_>) -> ControlFlow<()>,
    ) {
        let reads = if self.wide.is_empty() { reads } else { Reads::Record };
        let is_brief = self.is_brief();
        let _ = (0..).try_for_each(|shelf| {
            flows.shelf(shelf, is_brief, &mut |rows| {
                self.admitted_of(rows, machine, reads, |row| take(into, row))
            })?;
            into.make_room();
            ControlFlow::Continue(())
        });
    }

    /// Those of some flows.
    fn admitted_of(
        &self,
        rows: Rows<'_>,
        machine: &Machine<'_, '_>,
        reads: Reads,
        mut take: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
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

    /// In that order, as many of the first as the window needs.
    fn sorted(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        order: Order,
        field: Getter,
    ) -> Vec<LazyFlow> {
        let needed = match self.dedup {
            Some(_) => usize::MAX,
            None => self.window.skip.saturating_add(self.window.take),
        };
        // All are kept, or those few that come before the last one.
        let reads = if needed == usize::MAX { Reads::Owners } else { Reads::Headline };
        let mut first = First::new(needed, order, field);
        self.admitted(machine, flows, reads.and(Some(field)), &mut first, |first, row| {
            first.offer(row);
            ControlFlow::Continue(())
        });
        first.sorted()
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

/// What passes `Dedup` and the window goes into `T`.
struct Picked<'s, 'q, T, F> {
    selection: &'s Selection<'q>,
    seen: HashSet<Key, RandomState>,
    /// How many came to the window.
    passed: usize,
    /// How many passed it.
    taken: usize,
    into: &'s mut T,
    take: F,
}

impl<'s, 'q, T, F: FnMut(&mut T, Row<'_>)> Picked<'s, 'q, T, F> {
    fn new(selection: &'s Selection<'q>, into: &'s mut T, take: F) -> Self {
        Self { selection, seen: HashSet::default(), passed: 0, taken: 0, into, take }
    }

    /// Takes the flow, if it is the first of its kind and the window lets it through, and breaks when
    /// no other can be. Flows without the field are all taken.
    fn offer(&mut self, machine: &Machine<'_, '_>, row: Row<'_>) -> ControlFlow<()> {
        let Window { skip, take } = self.selection.window;
        let kind = self.selection.dedup.and_then(|getter| getter.read(row));
        if kind.as_ref().is_some_and(|field| !self.seen.insert(Key::of(field))) {
            return ControlFlow::Continue(());
        }
        self.passed += 1;
        if self.passed > skip && self.taken < take {
            self.taken += 1;
            (self.take)(self.into, row);
        }
        match self.taken < take && machine.budget.admits(self.taken) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }
}

impl<T: Room, F> Room for Picked<'_, '_, T, F> {
    fn make_room(&mut self) {
        self.seen.make_room();
        self.into.make_room();
    }
}

/// Tests of a flow that take no time.
const BRIEF: usize = 8;

/// Flows that are looked at together: they fit in a core's nearest cache.
const FEW: usize = 32;
