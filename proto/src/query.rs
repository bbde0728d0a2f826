//! What a client asks the topology.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST /api/topology` (API §2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(examples(json!({"GremlinQuery": "G.V()"})))]
pub struct TopologyQuery {
    /// The query; empty asks for nothing.
    #[serde(rename = "GremlinQuery")]
    pub gremlin_query: String,
}
