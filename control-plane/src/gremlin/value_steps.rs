//! Steps that turn elements into values, and steps on values (Skydive API §3.6).

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::error::Fault;
use super::field::{Element, Field, MEMBERS, Scalar, lookup};
use super::predicate::Condition;
use super::state::{Machine, Stage, State, refused};
use super::step::{Order, Step};

pub(super) fn on_values<'a>(
    machine: &Machine<'a, '_>,
    values: Vec<Value>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::Has(conditions) => {
            // Lists of objects, such as `Neighbors`, count by their objects.
            let objects = values.into_iter().flat_map(|value| match value {
                Value::Array(items) => items,
                other => vec![other],
            });
            let kept = machine
                .budget
                .meter(objects)
                .filter(|value| value.as_object().is_some_and(|object| all(conditions, object)));
            Ok(State::Values(machine.budget.collect(kept)))
        }
        Step::Dedup(_) => {
            let mut seen = HashSet::new();
            let looked_at = machine.budget.meter(values.into_iter());
            let kept = looked_at.filter(|value| seen.insert(value.to_string()));
            Ok(State::Values(kept.collect()))
        }
        step => Err(refused(step, "GraphTraversalValue")),
    }
}

/// The fields of that key; elements without it, and empty lists and objects, are left out.
pub(super) fn values<T: Element>(
    machine: &Machine<'_, '_>,
    elements: &[&Arc<T>],
    key: &str,
) -> Vec<Value> {
    let values = machine
        .budget
        .meter(elements.iter())
        .filter_map(|element| Some(element.field(key)?.to_value()))
        .filter(|value| match value {
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        });
    machine.budget.collect(values)
}

/// An object for each element that has any of the keys, of those it has.
pub(super) fn maps<T: Element>(
    machine: &Machine<'_, '_>,
    elements: &[&Arc<T>],
    keys: &[String],
) -> Vec<Value> {
    let maps = machine.budget.meter(elements.iter()).filter_map(|element| {
        let member = |key: &String| Some((key.clone(), element.field(key)?.to_value()));
        let members: Map<String, Value> = keys.iter().filter_map(member).collect();
        (!members.is_empty()).then_some(Value::Object(members))
    });
    machine.budget.collect(maps)
}

/// The distinct keys, with one level of those inside objects.
pub(super) fn keys<T: Element>(machine: &Machine<'_, '_>, elements: &[&Arc<T>]) -> Vec<Value> {
    if elements.is_empty() {
        return Vec::new();
    }
    let mut keys: BTreeSet<String> = MEMBERS.map(str::to_owned).into();
    for element in machine.budget.meter(elements.iter()) {
        for (key, value) in element.metadata() {
            let inner = match value {
                Value::Object(members) => vec![members],
                Value::Array(items) => items.iter().filter_map(Value::as_object).collect(),
                _ => vec![],
            };
            let inner = inner.into_iter().flat_map(Map::keys);
            keys.extend(inner.map(|member| format!("{key}.{member}")));
            if !keys.contains(key) {
                keys.insert(key.clone());
            }
        }
    }
    keys.into_iter().map(Value::String).collect()
}

/// The sum of the integers under a key; elements without it are skipped.
pub(super) fn sum<T: Element>(
    machine: &Machine<'_, '_>,
    elements: &[&Arc<T>],
    key: &str,
) -> Number {
    let integers =
        machine.budget.meter(elements.iter()).filter_map(|element| element.field(key)?.as_int());
    number(integers.map(i128::from).sum())
}

/// An integer while it fits, as Skydive prints sums; a float above.
pub(super) fn number(sum: i128) -> Number {
    i64::try_from(sum).map_or_else(
        |_| Number::from_f64(sum as f64).unwrap_or_else(|| i64::MAX.into()),
        Number::from,
    )
}

/// Sorted by a field; elements without it keep their order at the end.
pub(super) fn sorted<'a, T: Element>(
    mut elements: Vec<&'a Arc<T>>,
    order: Order,
    key: &str,
) -> Vec<&'a Arc<T>> {
    elements.sort_by(|a, b| match (a.field(key), b.field(key)) {
        (Some(a), Some(b)) => match order {
            Order::Ascending => compare(&a, &b),
            Order::Descending => compare(&b, &a),
        },
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    elements
}

/// Numbers by value before texts by their bytes before all else.
fn compare(a: &Field<'_>, b: &Field<'_>) -> Ordering {
    let rank = |field: &Field<'_>| match scalar(field) {
        Some(Scalar::Text(_)) => 1,
        Some(_) => 0,
        None => 2,
    };
    rank(a).cmp(&rank(b)).then_with(|| match (scalar(a), scalar(b)) {
        (Some(Scalar::Text(a)), Some(Scalar::Text(b))) => a.cmp(b),
        (Some(Scalar::Float(a)), Some(Scalar::Float(b))) => a.total_cmp(&b),
        (Some(a), Some(b)) => a.as_int().cmp(&b.as_int()),
        _ => Ordering::Equal,
    })
}

fn scalar<'f>(field: &'f Field<'_>) -> Option<Scalar<'f>> {
    match field {
        Field::One(one) => Some(*one),
        Field::Json(value) => Scalar::of(value),
        _ => None,
    }
}

fn all(conditions: &[Condition], object: &Map<String, Value>) -> bool {
    conditions.iter().all(|c| c.predicate.admits(lookup(object, &c.key).as_ref()))
}
