//! Which flows, in which order: what `Flows` absorbs (Skydive API §3.6, reduction rule 3).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use sonde_proto::flow::Flow;

use super::Placed;
use super::error::Fault;
use super::field::{Field, Scalar};
use super::flow_field::{Getter, filter_getter, getter};
use super::predicate::{Condition, Predicate};
use super::state::{Machine, Stage, Window};
use super::step::{Order, Step};

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

    /// The flows that are selected, in order.
    pub(super) fn run<'a>(
        &self,
        machine: &Machine<'a, '_>,
        flows: impl Iterator<Item = &'a Arc<Flow>>,
    ) -> Vec<&'a Arc<Flow>> {
        let budget = &machine.budget;
        let kept = budget.meter(flows).filter(|flow| self.admits(flow));
        match self.sort {
            None => budget.collect(self.window.apply(self.distinct(kept))),
            Some((order, getter)) => {
                let sorted = self.sorted(kept.collect(), order, getter);
                budget.collect(self.window.apply(self.distinct(sorted.into_iter())))
            }
        }
    }

    fn admits(&self, flow: &Flow) -> bool {
        self.filters.iter().all(|filter| match filter {
            Filter::At(tids) => tids.contains(flow.node_tid.as_str()),
            Filter::All(tests) => tests.iter().all(|test| test.admits(flow)),
            Filter::Either(tests) => tests.iter().any(|test| test.admits(flow)),
        })
    }

    /// The first flow of each value; flows without the field are all kept.
    fn distinct<'a>(
        &self,
        flows: impl Iterator<Item = &'a Arc<Flow>>,
    ) -> impl Iterator<Item = &'a Arc<Flow>> {
        let mut seen = HashSet::new();
        flows.filter(move |flow| match self.dedup.map(|getter| getter(flow)) {
            Some(Some(field)) => seen.insert(Key::of(field)),
            _ => true,
        })
    }

    /// By the field, then by UUID so that pages fit together; flows without it come last. Only as
    /// many as the window needs are sorted.
    fn sorted<'a>(
        &self,
        flows: Vec<&'a Arc<Flow>>,
        order: Order,
        getter: Getter,
    ) -> Vec<&'a Arc<Flow>> {
        let mut keyed: Vec<(Option<Key<'a>>, &'a Arc<Flow>)> =
            flows.into_iter().map(|flow| (getter(flow).map(Key::of), flow)).collect();
        let compare = |a: &(Option<Key<'_>>, &Arc<Flow>), b: &(Option<Key<'_>>, &Arc<Flow>)| {
            let keys = match (&a.0, &b.0) {
                (Some(a), Some(b)) => match order {
                    Order::Ascending => a.cmp(b),
                    Order::Descending => b.cmp(a),
                },
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            keys.then_with(|| a.1.uuid.cmp(&b.1.uuid))
        };
        let needed = self.window.skip.saturating_add(self.window.take);
        if self.dedup.is_none() && needed < keyed.len() {
            keyed.select_nth_unstable_by(needed, compare);
            keyed.truncate(needed);
        }
        keyed.sort_unstable_by(compare);
        keyed.into_iter().map(|(_, flow)| flow).collect()
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
    fn admits(&self, flow: &Flow) -> bool {
        let field = self.getter.and_then(|getter| getter(flow));
        self.predicate.admits(field.as_ref())
    }
}

/// A field's value to sort and tell apart by.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Int(i64),
    Text(&'a str),
    Object(String),
}

impl<'a> Key<'a> {
    fn of(field: Field<'a>) -> Self {
        match field {
            Field::One(Scalar::Int(n) | Scalar::Port(n)) => Self::Int(n),
            Field::One(Scalar::Text(text)) => Self::Text(text),
            other => Self::Object(other.to_value().to_string()),
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Object(a), Self::Object(b)) => a.cmp(b),
            // A field is of one kind in all flows.
            _ => Ordering::Equal,
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
