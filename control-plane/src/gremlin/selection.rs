//! Which flows, in which order: what `Flows` absorbs (Skydive API §3.6, reduction rule 3).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::ControlFlow;

use ahash::RandomState;

use super::Placed;
use super::error::Fault;
use super::field::{Field, Scalar};
use super::flow_field::{Getter, filter_getter, getter};
use super::predicate::{Condition, Predicate};
use super::state::{Machine, Stage, Window};
use super::step::{Order, Step};
use super::text::Text;
use crate::flow::LazyFlow;
use crate::flow_store::Flows;
use crate::graph::Span;

/// `Has`, `HasEither`, `Sort`, `Dedup` and a window as Skydive runs them, however they stand in
/// the query: filter, then sort, then dedup, then the window.
pub(super) struct Selection<'q> {
    filters: Vec<Filter<'q>>,
    sort: Option<(Order, Getter)>,
    dedup: Option<Getter>,
    window: Window,
}

enum Filter<'q> {
    /// Captured on a node of one of those TIDs.
    At(HashSet<&'q str>),
    AliveIn(Span),
    All(Vec<Test<'q>>),
    Either(Vec<Test<'q>>),
}

/// A predicate and how to read its field; a name that no flow has reads as missing.
struct Test<'q> {
    getter: Option<Getter>,
    predicate: &'q Predicate,
}

impl<'q> Selection<'q> {
    pub(super) fn of(stage: &Stage<'q>) -> Result<Self, Fault> {
        let mut selection =
            Self { filters: Vec::new(), sort: None, dedup: None, window: Window::ALL };
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
                self.filters.push(Filter::All(tests(conditions)));
            }
            Step::HasEither(conditions) => self.filters.push(Filter::Either(tests(conditions))),
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

    /// Narrows it to flows captured on nodes of those TIDs.
    pub(super) fn captured_at(&mut self, tids: HashSet<&'q str>) {
        self.filters.insert(0, Filter::At(tids));
    }

    /// Narrows it to flows that had a packet in the span, or before it and after.
    pub(super) fn alive_in(&mut self, span: Span) {
        self.filters.insert(0, Filter::AliveIn(span));
    }

    /// Shows the flows that are selected, in order. `take` shall be about as fast as a comparison.
    pub(super) fn each(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        take: &mut dyn FnMut(&LazyFlow),
    ) {
        let mut picked = Picked { selection: self, seen: HashSet::default(), passed: 0, taken: 0 };
        let mut offer = |flow: &LazyFlow| picked.offer(machine, flow, take);
        match self.sort {
            None => self.admitted(machine, flows, offer),
            Some((order, getter)) => {
                let sorted = self.sorted(machine, flows, order, getter);
                let _ = sorted.iter().try_for_each(|(_, flow)| offer(flow));
            }
        }
    }

    /// Hands on the flows that the filters admit, until `take` breaks.
    fn admitted(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        mut take: impl FnMut(&LazyFlow) -> ControlFlow<()>,
    ) {
        flows.walk(self.is_brief(), &mut |flow| {
            if !machine.budget.visit() {
                return ControlFlow::Break(());
            }
            if self.admits(flow) { take(flow) } else { ControlFlow::Continue(()) }
        });
    }

    /// Whether a look at a flow is about as fast as some comparisons.
    fn is_brief(&self) -> bool {
        let tests = self.filters.iter().flat_map(|filter| match filter {
            Filter::At(_) | Filter::AliveIn(_) => [].as_slice(),
            Filter::All(tests) | Filter::Either(tests) => tests,
        });
        let mut tests = tests.map(|test| test.predicate);
        let getters = self.sort.iter().map(|(_, getter)| getter).chain(&self.dedup);
        tests.clone().count() <= BRIEF
            && tests.all(Predicate::is_brief)
            && getters.into_iter().all(Getter::is_brief)
    }

    fn admits(&self, flow: &LazyFlow) -> bool {
        self.filters.iter().all(|filter| match filter {
            Filter::At(tids) => tids.contains(flow.node_tid()),
            Filter::AliveIn(span) => {
                let (start, last) = flow.times();
                start <= span.to && last >= span.from
            }
            Filter::All(tests) => tests.iter().all(|test| test.admits(flow)),
            Filter::Either(tests) => tests.iter().any(|test| test.admits(flow)),
        })
    }

    /// By the field, then by UUID so that pages fit together; flows without it come last. Only as
    /// many as the window needs are kept and sorted.
    fn sorted(
        &self,
        machine: &Machine<'_, '_>,
        flows: &dyn Flows,
        order: Order,
        getter: Getter,
    ) -> Vec<Keyed> {
        let needed = match self.dedup {
            Some(_) => usize::MAX,
            None => self.window.skip.saturating_add(self.window.take),
        };
        let room = needed.saturating_mul(2).max(ROOM);
        let mut kept: Vec<Keyed> = Vec::new();
        // What comes behind it is not needed.
        let mut last: Option<Option<Key>> = None;
        self.admitted(machine, flows, |flow| {
            let key = getter.read(flow).map(|field| Key::of(&field));
            if last.as_ref().is_some_and(|last| order.compare(&key, last).is_gt()) {
                return ControlFlow::Continue(());
            }
            kept.push((key, flow.clone()));
            if kept.len() >= room {
                kept.select_nth_unstable_by(needed, |a, b| in_order(order, a, b));
                kept.truncate(needed);
                last = kept.iter().map(|(key, _)| key).max_by(|a, b| order.compare(a, b)).cloned();
            }
            ControlFlow::Continue(())
        });
        kept.sort_unstable_by(|a, b| in_order(order, a, b));
        kept
    }
}

/// A flow and the field it is sorted by.
type Keyed = (Option<Key>, LazyFlow);

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
        flow: &LazyFlow,
        see: &mut dyn FnMut(&LazyFlow),
    ) -> ControlFlow<()> {
        let Window { skip, take } = self.selection.window;
        let kind = self.selection.dedup.and_then(|getter| getter.read(flow));
        if kind.is_some_and(|field| !self.seen.insert(Key::of(&field))) {
            return ControlFlow::Continue(());
        }
        self.passed += 1;
        if self.passed > skip && self.taken < take {
            self.taken += 1;
            see(flow);
        }
        match self.taken < take && machine.budget.admits(self.taken) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }
}

fn tests<'q>(conditions: &'q [Condition]) -> Vec<Test<'q>> {
    let test = |condition: &'q Condition| Test {
        getter: filter_getter(&condition.key),
        predicate: &condition.predicate,
    };
    conditions.iter().map(test).collect()
}

impl Test<'_> {
    fn admits(&self, flow: &LazyFlow) -> bool {
        let field = self.getter.and_then(|getter| getter.read(flow));
        self.predicate.admits(field.as_ref())
    }
}

impl Order {
    /// Fields in that order, and those that are missing at the end.
    fn compare(self, a: &Option<Key>, b: &Option<Key>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => match self {
                Self::Ascending => a.cmp(b),
                Self::Descending => b.cmp(a),
            },
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

fn in_order(order: Order, a: &Keyed, b: &Keyed) -> Ordering {
    order.compare(&a.0, &b.0).then_with(|| uuid(&a.1).cmp(&uuid(&b.1)))
}

fn uuid(flow: &LazyFlow) -> Option<Key> {
    Some(Key::of(&getter("UUID")?.read(flow)?))
}

/// A field's value to sort and tell apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Int(i64),
    /// A text, or an object as one.
    Text(Text),
}

impl Key {
    fn of(field: &Field<'_>) -> Self {
        match field {
            Field::One(Scalar::Int(n) | Scalar::Port(n)) => Self::Int(*n),
            field => Self::Text(
                field.to_text().unwrap_or_else(|| field.to_value().to_string().as_str().into()),
            ),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            // A field is of one kind in all flows.
            _ => Ordering::Equal,
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Tests of a flow that take no time.
const BRIEF: usize = 8;

/// Flows that are kept before those are let go that no window needs.
const ROOM: usize = 4096;
