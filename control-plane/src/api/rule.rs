//! `/api/noderule` and `/api/edgerule` (Skydive API §2.6, §2.7).

use sonde_proto::rule::{EdgeRule, NodeRule};

use super::resource::Served;
use crate::resource::Resources;
use crate::state::State;

impl Served for NodeRule {
    const TITLE: &'static str = "Noderule";

    fn resources(state: &State) -> &Resources<Self> {
        &state.rules.nodes
    }
}

impl Served for EdgeRule {
    const TITLE: &'static str = "Edgerule";

    fn resources(state: &State) -> &Resources<Self> {
        &state.rules.edges
    }
}
