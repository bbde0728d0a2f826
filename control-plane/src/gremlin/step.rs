//! The steps of the language, each with parameters that make sense (Skydive API §3.6, §3.7).

use std::fmt;
use std::net::IpAddr;

use super::parameter::Parameter;
use super::predicate::{Commas, Condition, Literal, Word};
use crate::bpf::PacketFilter;

/// One step of a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// `.G`: back to the graph.
    Graph,
    /// `V`, perhaps of one node ID.
    Nodes(Option<String>),
    /// `E`, perhaps of one edge ID.
    Edges(Option<String>),
    /// `At` or `Context`: a time and a span, both checked.
    At(Vec<Parameter>),
    Has(Vec<Condition>),
    HasKey(String),
    HasNot(String),
    HasEither(Vec<Condition>),
    /// `Out`, `In`, `Both`.
    Neighbours(Way, Vec<Condition>),
    /// `OutE`, `InE`, `BothE`.
    EdgesAt(Way, Vec<Condition>),
    /// `OutV`, `InV`, `BothV`.
    Ends(Way, Vec<Condition>),
    Dedup(Vec<String>),
    Limit(usize),
    Range(usize, usize),
    Sort(Order, Option<String>),
    Count,
    Values(String),
    ValueMap(Vec<String>),
    Keys,
    Sum(Option<String>),
    As(String),
    Select(Vec<String>),
    /// What the target's metadata is, and that of the edges on the way.
    ShortestPathTo(Vec<Condition>, Vec<Condition>),
    SubGraph(Vec<Condition>),
    /// `Descendants`, `Ascendants`, `Neighbors`: edges followed, and how far.
    Reach(Way, Vec<Condition>, Option<usize>),
    NextHop(IpAddr),
    Flows(Vec<Condition>),
    /// `Nodes`: capture node, A node, B node of each flow.
    FlowNodes(Vec<Condition>),
    /// `Hops`, `CaptureNode`, `Node`.
    CaptureNode(Vec<Condition>),
    Metrics(Option<String>),
    /// Seconds of a slice.
    Aggregates(i64),
    Group,
    MoreThan,
    RawPackets,
    Sockets,
    /// ID or name of a workflow, and what it is called with.
    Workflow(String, Vec<Parameter>),
    /// `BPF`.
    Bpf(PacketFilter),
}

/// Which way along the edges: `Out` from parent to child, `In` the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

impl Step {
    /// Skydive's name of the step.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Graph => "G",
            Self::Nodes(_) => "V",
            Self::Edges(_) => "E",
            Self::At(_) => "Context",
            Self::Has(_) => "Has",
            Self::HasKey(_) => "HasKey",
            Self::HasNot(_) => "HasNot",
            Self::HasEither(_) => "HasEither",
            Self::Neighbours(way, _) => ["Out", "In", "Both"][*way as usize],
            Self::EdgesAt(way, _) => ["OutE", "InE", "BothE"][*way as usize],
            Self::Ends(way, _) => ["OutV", "InV", "BothV"][*way as usize],
            Self::Dedup(_) => "Dedup",
            Self::Limit(_) => "Limit",
            Self::Range(..) => "Range",
            Self::Sort(..) => "Sort",
            Self::Count => "Count",
            Self::Values(_) => "Values",
            Self::ValueMap(_) => "ValueMap",
            Self::Keys => "Keys",
            Self::Sum(_) => "Sum",
            Self::As(_) => "As",
            Self::Select(_) => "Select",
            Self::ShortestPathTo(..) => "ShortestPathTo",
            Self::SubGraph(_) => "SubGraph",
            Self::Reach(way, ..) => ["Descendants", "Ascendants", "Neighbors"][*way as usize],
            Self::NextHop(_) => "NextHop",
            Self::Flows(_) => "Flows",
            Self::FlowNodes(_) => "Nodes",
            Self::CaptureNode(_) => "CaptureNode",
            Self::Metrics(_) => "Metrics",
            Self::Aggregates(_) => "Aggregates",
            Self::Group => "Group",
            Self::MoreThan => "MoreThan",
            Self::RawPackets => "RawPackets",
            Self::Sockets => "Sockets",
            Self::Workflow(..) => "Workflow",
            Self::Bpf(_) => "BPF",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Graph => out.write_str(name),
            Self::Nodes(None)
            | Self::Edges(None)
            | Self::Count
            | Self::Keys
            | Self::Sum(None)
            | Self::Sort(Order::Ascending, None)
            | Self::Metrics(None)
            | Self::Group
            | Self::MoreThan
            | Self::RawPackets
            | Self::Sockets => write!(out, "{name}()"),
            Self::Nodes(Some(text))
            | Self::Edges(Some(text))
            | Self::HasKey(text)
            | Self::HasNot(text)
            | Self::Values(text)
            | Self::Sum(Some(text))
            | Self::As(text)
            | Self::Metrics(Some(text))
            | Self::Sort(Order::Ascending, Some(text)) => write!(out, "{name}('{text}')"),
            Self::Sort(Order::Descending, None) => write!(out, "{name}(DESC)"),
            Self::Sort(Order::Descending, Some(key)) => write!(out, "{name}(DESC, '{key}')"),
            Self::Dedup(keys) | Self::ValueMap(keys) | Self::Select(keys) => {
                let keys: Vec<Literal> =
                    keys.iter().cloned().map(Word::from).map(Literal::Text).collect();
                write!(out, "{name}({})", Commas(&keys))
            }
            Self::At(parameters) => write!(out, "{name}({})", Commas(parameters)),
            Self::Has(conditions)
            | Self::HasEither(conditions)
            | Self::Neighbours(_, conditions)
            | Self::EdgesAt(_, conditions)
            | Self::Ends(_, conditions)
            | Self::SubGraph(conditions)
            | Self::Flows(conditions)
            | Self::FlowNodes(conditions)
            | Self::CaptureNode(conditions)
            | Self::Reach(_, conditions, None) => write!(out, "{name}({})", Commas(conditions)),
            Self::Reach(_, conditions, Some(depth)) if conditions.is_empty() => {
                write!(out, "{name}({depth})")
            }
            Self::Reach(_, conditions, Some(depth)) => {
                write!(out, "{name}({}, {depth})", Commas(conditions))
            }
            Self::Limit(n) => write!(out, "{name}({n})"),
            Self::Range(from, to) => write!(out, "{name}({from}, {to})"),
            Self::ShortestPathTo(target, along) if along.is_empty() => {
                write!(out, "{name}(Metadata({}))", Commas(target))
            }
            Self::ShortestPathTo(target, along) => {
                let (target, along) = (Commas(target), Commas(along));
                write!(out, "{name}(Metadata({target}), Metadata({along}))")
            }
            Self::NextHop(ip) => write!(out, "{name}('{ip}')"),
            Self::Workflow(id, parameters) if parameters.is_empty() => {
                write!(out, "{name}('{id}')")
            }
            Self::Workflow(id, parameters) => {
                write!(out, "{name}('{id}', {})", Commas(parameters))
            }
            Self::Bpf(filter) => {
                write!(out, "{name}({})", Literal::Text(filter.expression().into()))
            }
            Self::Aggregates(seconds) => write!(out, "{name}({seconds})"),
        }
    }
}
