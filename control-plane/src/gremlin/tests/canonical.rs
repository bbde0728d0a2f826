//! print(parse(query)) = query: every query that can be built prints, and parses to itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::network::Network;
use super::super::parameter::Parameter;
use super::super::pattern::Pattern;
use super::super::predicate::{Condition, Literal, Predicate};
use super::super::step::{Order, Step, Way};
use super::super::{Limits, Placed, Query, parse};
use crate::bpf::PacketFilter;

/// What can stand between quotes: there are no escapes.
fn text() -> impl Strategy<Value = String> {
    "[^'\"\0]{0,6}"
}

/// A number without a sign.
fn natural() -> impl Strategy<Value = i64> {
    prop_oneof![0..10_i64, 0..=i64::MAX]
}

fn index() -> impl Strategy<Value = usize> {
    natural().prop_map(|n| n as usize)
}

fn literal() -> impl Strategy<Value = Literal> {
    // What is whole and small is an integer.
    let fraction = (0..1_000_000_u32).prop_map(|n| f64::from(n) / 1024.0 + 1.0 / 2048.0);
    let large = (9.3e18_f64..1e300).prop_map(f64::trunc);
    prop_oneof![
        text().prop_map(|text| Literal::Text(text.into())),
        natural().prop_map(Literal::Int),
        fraction.prop_map(Literal::Float),
        large.prop_map(Literal::Float),
        any::<bool>().prop_map(Literal::Bool),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let literals = || vec(literal(), 0..3);
    let bounds = || (natural(), natural());
    let pattern = select(vec!["a|bc", ".*", "\\d{2}", "", "x\\$"]);
    let v4 = (any::<Ipv4Addr>(), 0..=32).prop_map(|(ip, length)| format!("{ip}/{length}"));
    let v6 = (any::<Ipv6Addr>(), 0..=128).prop_map(|(ip, length)| format!("{ip}/{length}"));
    prop_oneof![
        literal().prop_map(Predicate::Equal),
        literals().prop_map(Predicate::Within),
        literals().prop_map(Predicate::Without),
        natural().prop_map(Predicate::Lt),
        natural().prop_map(Predicate::Lte),
        natural().prop_map(Predicate::Gt),
        natural().prop_map(Predicate::Gte),
        bounds().prop_map(|(low, high)| Predicate::Inside(low, high)),
        bounds().prop_map(|(low, high)| Predicate::Outside(low, high)),
        bounds().prop_map(|(low, high)| Predicate::Between(low, high)),
        literal().prop_map(Predicate::Ne),
        literal().prop_map(Predicate::Nee),
        pattern.prop_map(|text| Predicate::Regex(Pattern::new(text.into(), 1 << 20).unwrap())),
        v4.prop_map(|text| Predicate::Ipv4Range(Network::v4(text).unwrap())),
        v6.prop_map(|text| Predicate::Ipv6Range(Network::v6(text).unwrap())),
    ]
}

fn conditions(least: usize) -> impl Strategy<Value = Vec<Condition>> {
    let condition = (text(), predicate()).prop_map(|(key, predicate)| Condition { key, predicate });
    vec(condition, least..3)
}

fn parameter() -> impl Strategy<Value = Parameter> {
    prop_oneof![
        literal().prop_map(Parameter::Literal),
        Just(Parameter::Ascending),
        Just(Parameter::Descending),
        Just(Parameter::Forever),
        Just(Parameter::Now),
        conditions(0).prop_map(Parameter::Metadata),
        predicate()
            .prop_filter("is a literal", |predicate| !matches!(predicate, Predicate::Equal(_)))
            .prop_map(Parameter::Predicate),
    ]
}

fn moment() -> impl Strategy<Value = Vec<Parameter>> {
    let text = |texts: Vec<&'static str>| {
        select(texts).prop_map(|text| Parameter::Literal(Literal::Text(text.into())))
    };
    let int = || natural().prop_map(|n| Parameter::Literal(Literal::Int(n)));
    let at = prop_oneof![
        Just(Parameter::Now),
        int(),
        text(vec!["-1m", "-1h30m", "Mon, 02 Jan 2006 15:04:05 MST"]),
    ];
    let span = prop_oneof![Just(Parameter::Forever), int(), text(vec!["500ms", "1.5h"])];
    (at, option::of(span)).prop_map(|(at, span)| [at].into_iter().chain(span).collect())
}

fn core_step() -> impl Strategy<Value = Step> {
    let way = || select(vec![Way::Out, Way::In, Way::Both]);
    let order = select(vec![Order::Ascending, Order::Descending]);
    prop_oneof![
        Just(Step::Graph),
        Just(Step::Count),
        Just(Step::Keys),
        option::of(text()).prop_map(Step::Nodes),
        option::of(text()).prop_map(Step::Edges),
        moment().prop_map(Step::At),
        conditions(1).prop_map(Step::Has),
        conditions(1).prop_map(Step::HasEither),
        text().prop_map(Step::HasKey),
        text().prop_map(Step::HasNot),
        (way(), conditions(0)).prop_map(|(way, c)| Step::Neighbours(way, c)),
        (way(), conditions(0)).prop_map(|(way, c)| Step::EdgesAt(way, c)),
        (way(), conditions(0)).prop_map(|(way, c)| Step::Ends(way, c)),
        vec(text(), 0..3).prop_map(Step::Dedup),
        index().prop_map(Step::Limit),
        (index(), index()).prop_map(|(from, to)| Step::Range(from, to)),
        (order, option::of(text())).prop_map(|(order, key)| Step::Sort(order, key)),
        text().prop_map(Step::Values),
        vec(text(), 1..3).prop_map(Step::ValueMap),
        option::of(text()).prop_map(Step::Sum),
        text().prop_map(Step::As),
        vec(text(), 1..3).prop_map(Step::Select),
        (conditions(0), conditions(0)).prop_map(|(to, along)| Step::ShortestPathTo(to, along)),
        conditions(0).prop_map(Step::SubGraph),
    ]
}

fn extension_step() -> impl Strategy<Value = Step> {
    let way = select(vec![Way::Out, Way::In, Way::Both]);
    prop_oneof![
        Just(Step::Group),
        Just(Step::MoreThan),
        Just(Step::RawPackets),
        Just(Step::Sockets),
        (way, conditions(0), option::of(index()))
            .prop_map(|(way, conditions, depth)| Step::Reach(way, conditions, depth)),
        any::<IpAddr>().prop_map(Step::NextHop),
        conditions(0).prop_map(Step::Flows),
        conditions(0).prop_map(Step::FlowNodes),
        conditions(0).prop_map(Step::CaptureNode),
        option::of(text()).prop_map(Step::Metrics),
        (1..=i64::MAX).prop_map(Step::Aggregates),
        (text(), vec(parameter(), 0..3)).prop_map(|(id, with)| Step::Workflow(id, with)),
        select(vec!["tcp", "udp port 53"])
            .prop_map(|text| Step::Bpf(PacketFilter::new(text).unwrap())),
    ]
}

fn queries() -> impl Strategy<Value = Query> {
    let step = prop_oneof![2 => core_step(), 1 => extension_step()];
    let placed = step.prop_map(|step| Placed { step, column: 0 });
    vec(placed, 0..5).prop_map(|steps| Query { steps })
}

proptest! {
    #[test]
    fn every_query_prints_and_parses_to_itself(query in queries()) {
        let printed = query.to_string();
        let parsed = parse(&printed, &Limits::default());
        prop_assert_eq!(&parsed, &Ok(query), "{}", &printed);
        prop_assert_eq!(parsed.unwrap().to_string(), printed);
    }
}
