//! Queries of a store, which read headlines where they can, against a plain look at each flow as the
//! client sees it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, RwLock};

use proptest::prelude::*;
use serde_json::{Value, json};
use sonde_proto::record::WatchId;

use super::super::field::Field;
use super::super::flow_field::{filter_getter, getter};
use super::super::network::Network;
use super::super::pattern::Pattern;
use super::super::predicate::{Condition, Literal, Predicate};
use super::super::sort_key::{Key, SortKey};
use super::super::step::{Order, Step};
use super::super::{Limits, Placed, Query};
use super::{NOW, ring};
use crate::flow::LazyFlow;
use crate::flow::tests::{names, record};
use crate::flow_store::{FlowKey, FlowStore, Flows, SharedFlowStore, Times};

/// What `Flows` absorbs.
#[derive(Clone, Debug)]
struct Asked {
    /// Of each step its conditions, and whether one of them will do.
    has: Vec<(Vec<Condition>, bool)>,
    sort: Option<(Order, &'static str)>,
    dedup: Option<&'static str>,
    /// From where, and to where.
    range: Option<(usize, usize)>,
}

impl Asked {
    fn then(&self, last: Option<Step>) -> Query {
        let has = self.has.iter().cloned().map(|(conditions, either)| match either {
            true => Step::HasEither(conditions),
            false => Step::Has(conditions),
        });
        let sort = self.sort.map(|(order, name)| Step::Sort(order, Some(name.into())));
        let dedup = self.dedup.map(|name| Step::Dedup(vec![name.into()]));
        let range = self.range.map(|(from, to)| Step::Range(from, to));
        let absorbed = has.chain(sort).chain(dedup).chain(range);
        let steps = std::iter::once(Step::Flows(Vec::new())).chain(absorbed).chain(last);
        Query { steps: steps.map(|step| Placed { step, column: 1 }).collect() }
    }

    /// The same by looking at one flow after the other.
    fn of(&self, flows: &[LazyFlow]) -> Vec<LazyFlow> {
        let admits = |flow: &LazyFlow, Condition { key, predicate }: &Condition| {
            predicate.admits(filter_getter(key).and_then(|getter| getter.read(flow)).as_ref())
        };
        let key = |flow: &LazyFlow, name: &str| {
            getter(name).unwrap().read(flow).map(|field| Key::of(&field))
        };
        let mut flows = flows.to_vec();
        for (conditions, either) in &self.has {
            flows.retain(|flow| match either {
                true => conditions.iter().any(|condition| admits(flow, condition)),
                false => conditions.iter().all(|condition| admits(flow, condition)),
            });
        }
        if let Some((order, name)) = self.sort {
            let key = |flow: &LazyFlow| SortKey { field: key(flow, name), uuid: key(flow, "UUID") };
            flows.sort_by(|a, b| order.compare(&key(a), &key(b)));
        }
        if let Some(name) = self.dedup {
            let mut seen = HashSet::new();
            flows.retain(|flow| key(flow, name).is_none_or(|key| seen.insert(key)));
        }
        let (from, to) = self.range.unwrap_or((0, usize::MAX));
        flows.into_iter().skip(from).take(to.saturating_sub(from)).collect()
    }
}

/// A store of flows, and those as clients see them, in the order in which it shows them.
fn stored(flows: &[LazyFlow]) -> (SharedFlowStore, Vec<LazyFlow>) {
    let times =
        Times { hold: Default::default(), idle: Default::default(), silence: Default::default() };
    let mut store = FlowStore::new(5_000, times);
    for (n, flow) in flows.iter().enumerate() {
        let key = FlowKey { watch: WatchId(1), uuid: n as u64 };
        // What was known before is gone.
        store.put(key, flows[0].clone(), false, NOW);
        store.put(key, flow.clone(), false, NOW);
    }
    let mut shown = Vec::new();
    let _ = (0..).try_for_each(|number| {
        store.shelf(number, true, &mut |rows| {
            shown.extend(rows.iter().map(|row| LazyFlow::from(row.flow.flow())));
            ControlFlow::Continue(())
        })
    });
    (Arc::new(RwLock::new(store)), shown)
}

/// Records and flows that were made, each with another that has the same but its digests.
fn flows() -> impl Strategy<Value = Vec<LazyFlow>> {
    let flow = (record(), names(), any::<bool>(), any::<bool>(), any::<u64>());
    let pair = flow.prop_map(|(record, names, a_made, b_made, uuid)| {
        let made = |flow: LazyFlow, made| if made { flow.flow().into() } else { flow };
        let twin = LazyFlow::new(sonde_proto::record::FlowRecord { uuid, ..record }, names.clone());
        [made(LazyFlow::new(record, names), a_made), made(twin, b_made)]
    });
    prop::collection::vec(pair, 1..40).prop_map(|pairs| pairs.into_iter().flatten().collect())
}

/// Queries for values that some of the flows have.
fn asked(flows: Vec<LazyFlow>) -> impl Strategy<Value = (Vec<LazyFlow>, Asked)> {
    let field = || prop::sample::select(&FIELDS[..]);
    let value = (field(), prop::sample::select(flows.clone()), any::<bool>());
    let condition = (value, 0..PREDICATES).prop_map(|((name, flow, first), predicate)| {
        let getter = filter_getter(name).unwrap();
        let value = getter.read(&flow).map_or(json!(7), |field: Field<'_>| field.to_value());
        let value = match value {
            Value::Array(ends) => ends[usize::from(!first)].clone(),
            value => value,
        };
        Condition { key: name.into(), predicate: one_of(predicate, &value) }
    });
    let has = (prop::collection::vec(condition, 1..3), any::<bool>());
    let order = prop::sample::select(vec![Order::Ascending, Order::Descending]);
    let parts = (
        prop::collection::vec(has, 0..3),
        prop::option::of((order, field())),
        prop::option::of(field()),
        prop::option::of((0..5_usize, 0..30_usize)),
    );
    parts.prop_map(move |(has, sort, dedup, range)| {
        (flows.clone(), Asked { has, sort, dedup, range })
    })
}

/// A predicate that has to do with the value.
fn one_of(predicate: usize, value: &Value) -> Predicate {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let int = value.as_i64().unwrap_or(1);
    let literal = || value.as_i64().map_or(Literal::Text(text.as_str().into()), Literal::Int);
    let other = || Literal::Text("TCP".into());
    match predicate {
        0 => Predicate::Equal(literal()),
        1 => Predicate::Equal(Literal::Text(text.as_str().into())),
        2 => Predicate::Within(vec![literal(), other()]),
        3 => Predicate::Without(vec![literal(), other()]),
        4 => Predicate::Gt(int),
        5 => Predicate::Between(int, int.saturating_add(1 << 40)),
        6 => Predicate::Ne(literal()),
        7 => Predicate::Nee(literal()),
        8 => Predicate::Regex(Pattern::new(".*[Ta1].*".into(), 1 << 20).unwrap()),
        _ => Network::v4(format!("{text}/9")).map_or(Predicate::Lte(int), Predicate::Ipv4Range),
    }
}

proptest! {
    #[test]
    fn a_store_answers_as_a_plain_look_does((flows, asked) in flows().prop_flat_map(asked)) {
        let (store, shown) = stored(&flows);
        let graph = ring();
        let run = |last: Option<Step>| {
            let answer = asked.then(last).run(&*graph, &store, &Limits::default(), &|| false);
            serde_json::to_value(answer.unwrap()).unwrap()
        };
        let expected = asked.of(&shown);
        prop_assert_eq!(run(None), json!(expected));
        prop_assert_eq!(run(Some(Step::Count)), expected.len());
        let sum = |flow: &LazyFlow| getter("Metric.ABBytes")?.read(flow)?.as_int();
        let sum: i128 = expected.iter().filter_map(sum).map(i128::from).sum();
        let found = run(Some(Step::Sum(Some("Metric.ABBytes".into()))));
        prop_assert_eq!(found.as_f64().unwrap(), sum as f64);
        let mut groups: HashMap<String, Vec<&LazyFlow>> = HashMap::new();
        for flow in &expected {
            groups.entry(flow.flow().tracking_id.clone()).or_default().push(flow);
        }
        let found = run(Some(Step::Group));
        let expected = if groups.is_empty() { json!([]) } else { json!([groups]) };
        prop_assert_eq!(found, expected);
    }
}

/// Of headlines, of records and of flows that have to be made.
const FIELDS: [&str; 24] = [
    "UUID",
    "TrackingID",
    "Application",
    "NodeTID",
    "CaptureID",
    "Start",
    "Last",
    "Link",
    "Link.A",
    "Network",
    "Network.B",
    "IPV4.A",
    "Network.Protocol",
    "Transport",
    "Transport.A",
    "Transport.Protocol",
    "Metric.ABBytes",
    "Metric.RTT",
    "LayersPath",
    "Link.ID",
    "ParentUUID",
    "LastUpdateMetric.BAPackets",
    "IPMetric.Fragments",
    "Metric",
];
const PREDICATES: usize = 10;
