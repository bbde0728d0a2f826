//! What the planes of sonde say to each other, and what sonde says to the world.
//!
//! Between the planes: [`entry::FlowEntry`]s travel up in a [`report::Report`], a [`plan::Plan`]
//! travels down, both through a [`ring`]. A [`record::FlowRecord`] is made from an entry. To the
//! world: [`flow::Flow`] is Skydive's flow, in JSON and in Protobuf, made from a record by `From`.
//!
//! Nothing here knows DPDK, tokio or HTTP.

pub mod alert;
pub mod capture;
pub mod entry;
pub mod flow;
pub mod graph;
pub mod injection;
pub mod message;
pub mod null;
pub mod plan;
pub mod query;
pub mod record;
pub mod report;
pub mod ring;
pub mod rule;
pub mod status;
pub mod time;
pub mod workflow;
