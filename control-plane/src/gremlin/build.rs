//! Name and parameters to a step: every step's own rules (Skydive API §3.6, §3.7).

use super::error::Fault;
use super::moment;
use super::parameter::{Parameter, conditions, given};
use super::step::{Order, Step, Way};
use crate::bpf::PacketFilter;

impl Step {
    /// The step of that name, in upper case; `None` when there is none.
    pub(super) fn new(name: &str, parameters: Vec<Parameter>) -> Result<Option<Self>, Fault> {
        let p = parameters;
        Ok(Some(match name {
            "V" => Self::Nodes(id("V", p)?),
            "E" => Self::Edges(id("E", p)?),
            "AT" | "CONTEXT" => Self::At(moment::check(p)?),
            "HAS" => match p.len() {
                0 => return Err("At least one parameter must be provided".into()),
                1 => Self::HasKey(only(p).ok_or("Key must be a string")?),
                _ => Self::Has(conditions(p)?),
            },
            "HASEITHER" => match p.len() {
                0 | 1 => return Err("At least two parameters must be provided".into()),
                _ => Self::HasEither(conditions(p)?),
            },
            "HASKEY" => Self::HasKey(text("HasKey accepts only one parameter of type string", p)?),
            "HASNOT" => Self::HasNot(text("HasNot accepts only one parameter of type string", p)?),
            "OUT" => Self::Neighbours(Way::Out, conditions(p)?),
            "IN" => Self::Neighbours(Way::In, conditions(p)?),
            "BOTH" => Self::Neighbours(Way::Both, conditions(p)?),
            "OUTE" => Self::EdgesAt(Way::Out, conditions(p)?),
            "INE" => Self::EdgesAt(Way::In, conditions(p)?),
            "BOTHE" => Self::EdgesAt(Way::Both, conditions(p)?),
            "OUTV" => Self::Ends(Way::Out, conditions(p)?),
            "INV" => Self::Ends(Way::In, conditions(p)?),
            "BOTHV" => Self::Ends(Way::Both, conditions(p)?),
            "DEDUP" => Self::Dedup(texts("Dedup parameters have to be string keys", p)?),
            "LIMIT" => match p.as_slice() {
                [n] => Self::Limit(index("Limit parameter has to be a positive number", n)?),
                _ => return Err(rule("Limit requires 1 parameter", &p)),
            },
            "RANGE" => match p.as_slice() {
                [from, to] => {
                    let not_int = "Range parameters have to be positive numbers";
                    Self::Range(index(not_int, from)?, index(not_int, to)?)
                }
                _ => return Err(rule("Range requires 2 parameters", &p)),
            },
            "SORT" => sort(p)?,
            "COUNT" => none("Count accepts no parameter", Self::Count, &p)?,
            "VALUES" => Self::Values(text("Values requires 1 parameter", p)?),
            "VALUEMAP" if p.is_empty() => {
                return Err(rule("ValueMap requires at least 1 parameter", &p));
            }
            "VALUEMAP" => Self::ValueMap(texts("ValueMap parameters have to be string keys", p)?),
            "KEYS" => none("Keys accepts no parameter", Self::Keys, &p)?,
            "SUM" if p.is_empty() => Self::Sum(None),
            "SUM" => Self::Sum(Some(text("Sum requires 1 parameter", p)?)),
            "AS" => Self::As(text("As accepts only one parameter of type string", p)?),
            "SELECT" if p.is_empty() => {
                return Err(rule("Select requires at least 1 parameter", &p));
            }
            "SELECT" => Self::Select(texts("Select parameters have to be strings", p)?),
            "SHORTESTPATHTO" => path(p)?,
            "SUBGRAPH" => Self::SubGraph(conditions(p)?),
            "DESCENDANTS" => reach(Way::Out, &DESCENDANTS, p)?,
            "ASCENDANTS" => reach(Way::In, &ASCENDANTS, p)?,
            "NEIGHBORS" => reach(Way::Both, &NEIGHBORS, p)?,
            "NEXTHOP" => {
                let ip = text("NextHop accepts one parameter", p)?;
                let not_ip = "NextHop parameter have to be a valid IP address";
                Self::NextHop(ip.parse().map_err(|_| Fault::from(not_ip))?)
            }
            "FLOWS" if !p.len().is_multiple_of(2) => {
                return Err("At least two parameters must be provided".into());
            }
            "FLOWS" => Self::Flows(conditions(p)?),
            "NODES" => Self::FlowNodes(conditions(p)?),
            "HOPS" | "CAPTURENODE" | "NODE" => Self::CaptureNode(conditions(p)?),
            "METRICS" if p.is_empty() => Self::Metrics(None),
            "METRICS" => Self::Metrics(Some(text("Metrics accepts one parameter", p)?)),
            "AGGREGATES" => match p.as_slice() {
                [] => Self::Aggregates(AGGREGATE_SECONDS),
                [seconds] => Self::Aggregates(
                    seconds
                        .int()
                        .filter(|seconds| *seconds > 0)
                        .ok_or("Aggregates parameter has to be a positive number")?,
                ),
                _ => return Err(rule("Aggregates requires at most 1 parameter", &p)),
            },
            "GROUP" => Self::Group,
            "MORETHAN" => Self::MoreThan,
            "RAWPACKETS" => none("RawPackets accepts no parameter", Self::RawPackets, &p)?,
            "SOCKETS" => none("Sockets accepts no parameter", Self::Sockets, &p)?,
            "WORKFLOW" => workflow(p)?,
            "BPF" => match p.as_slice() {
                [_] => {
                    let text = only(p).ok_or("BPF parameter has to be a string")?;
                    let filter = PacketFilter::new(&text);
                    Self::Bpf(filter.map_err(|why| Fault::Argument(why.to_string().into()))?)
                }
                _ => return Err(rule("BPF requires 1 parameter", &p)),
            },
            _ => return Ok(None),
        }))
    }
}

/// The errors of a step that follows edges as far as told.
struct ReachRules {
    depth: &'static str,
    accepts: &'static str,
}

const DESCENDANTS: ReachRules = ReachRules {
    depth: "Descendants last argument must be the maximum depth specified as an integer",
    accepts: "Descendants accepts an optional number of key/value tuples and an optional depth",
};
const ASCENDANTS: ReachRules = ReachRules {
    depth: "Ascendants last argument must be the maximum depth specified as an integer",
    accepts: "Ascendants accepts an optional number of key/value tuples and an optional depth",
};
const NEIGHBORS: ReachRules = ReachRules {
    depth: "Neighbors last argument must be the maximum depth specified as an integer",
    accepts: "Neighbors accepts an optional number of key/value tuples and an optional depth",
};

/// An odd number of parameters ends with the depth.
fn reach(way: Way, rules: &ReachRules, mut p: Vec<Parameter>) -> Result<Step, Fault> {
    let depth = if p.len() % 2 == 1 {
        let last = p.last().and_then(Parameter::int).ok_or(rules.depth)?;
        let depth = usize::try_from(last).map_err(|_| Fault::from(rules.depth))?;
        p.pop();
        Some(depth)
    } else {
        None
    };
    let wrong = rule(rules.accepts, &p);
    let conditions = conditions(p).map_err(|_| wrong)?;
    Ok(Step::Reach(way, conditions, depth))
}

fn sort(mut p: Vec<Parameter>) -> Result<Step, Fault> {
    const NOT_TEXT: &str = "Sort parameter has to be a string key";
    const NOT_ORDER: &str = "Use ASC or DESC predicate";
    let order = |parameter: &Parameter| match parameter {
        Parameter::Ascending => Some(Order::Ascending),
        Parameter::Descending => Some(Order::Descending),
        _ => None,
    };
    match p.as_slice() {
        [] => Ok(Step::Sort(Order::Ascending, None)),
        [only] => match order(only) {
            Some(order) => Ok(Step::Sort(order, None)),
            None => Ok(Step::Sort(Order::Ascending, Some(text(NOT_TEXT, p)?))),
        },
        [first, _] => {
            let order = order(first).ok_or_else(|| rule(NOT_ORDER, &p))?;
            Ok(Step::Sort(order, Some(text(NOT_TEXT, p.split_off(1))?)))
        }
        _ => Err(rule("Sort accepts 1 predicate and 1 string parameter", &p)),
    }
}

fn path(p: Vec<Parameter>) -> Result<Step, Fault> {
    if p.is_empty() || p.len() > 2 {
        let accepts = "ShortestPathTo predicate accepts only 1 or 2 parameters";
        return Err(rule(accepts, &p));
    }
    let mut metadata = p.into_iter().map(|parameter| match parameter {
        Parameter::Metadata(conditions) => Ok(conditions),
        _ => Err(Fault::from("ShortestPathTo parameters have to be Metadata predicates")),
    });
    let target = metadata.next().transpose()?.unwrap_or_default();
    let along = metadata.next().transpose()?.unwrap_or_default();
    Ok(Step::ShortestPathTo(target, along))
}

fn workflow(mut p: Vec<Parameter>) -> Result<Step, Fault> {
    if p.is_empty() {
        return Err("Workflow requires at least 1 parameter".into());
    }
    let parameters = p.split_off(1);
    let id = only(p).ok_or("Workflow accepts a workflow id or name as first parameter")?;
    Ok(Step::Workflow(id, parameters))
}

fn id(step: &'static str, p: Vec<Parameter>) -> Result<Option<String>, Fault> {
    let (many, not_text) = match step {
        "V" => ("V accepts at most one parameter", "V parameter must be a string"),
        _ => ("E accepts at most one parameter", "E parameter must be a string"),
    };
    match p.len() {
        0 => Ok(None),
        1 => text(not_text, p).map(Some),
        _ => Err(rule(many, &p)),
    }
}

/// The one parameter, a text.
fn text(otherwise: &'static str, p: Vec<Parameter>) -> Result<String, Fault> {
    let wrong = rule(otherwise, &p);
    only(p).ok_or(wrong)
}

fn only(mut p: Vec<Parameter>) -> Option<String> {
    let last = p.pop()?;
    p.is_empty().then_some(last)?.text()
}

/// Any number of texts.
fn texts(otherwise: &'static str, p: Vec<Parameter>) -> Result<Vec<String>, Fault> {
    let wrong = rule(otherwise, &p);
    let texts: Option<Vec<String>> = p.into_iter().map(Parameter::text).collect();
    texts.ok_or(wrong)
}

fn none(otherwise: &'static str, step: Step, p: &[Parameter]) -> Result<Step, Fault> {
    match p {
        [] => Ok(step),
        _ => Err(rule(otherwise, p)),
    }
}

fn index(otherwise: &'static str, parameter: &Parameter) -> Result<usize, Fault> {
    parameter
        .int()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| rule(otherwise, std::slice::from_ref(parameter)))
}

fn rule(rule: &'static str, p: &[Parameter]) -> Fault {
    let given = given(p);
    Fault::Rule { rule, given }
}

/// Length of a slice of `Aggregates` when none is given.
const AGGREGATE_SECONDS: i64 = 30;
