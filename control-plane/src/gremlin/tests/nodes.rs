//! Nodes, edges and values; how much queries find is tested through REST.

use serde_json::{Value, json};

use super::{graph, ring, value};

#[test]
fn a_window_waits_for_the_filter_behind_it() {
    let graph = ring();
    assert_eq!(value(&graph, "G.V().Limit(1).Has('Value', 4).Count()"), 1);
    // The second `Has` is not part of the first step.
    let two = "G.V().Sort('Value').Has('Value', Gt(0)).Limit(1).Has('Value', 4).Count()";
    assert_eq!(value(&graph, two), 0);
}

#[test]
fn dedup_counts_what_goes_into_its_window() {
    let text = "G.V().Sort('Type').Has('Type').Dedup('Type').Limit(2).Count()";
    assert_eq!(value(&ring(), text), 1);
}

#[test]
fn nodes_sort_by_metadata() {
    let values = value(&ring(), "G.V().Sort(DESC, 'Value').Values('Value')");
    assert_eq!(values, json!([4, 3, 2, 1]));
    // Those without the key come last, either way.
    let values = value(&ring(), "G.V().Sort(DESC, 'Bytes').Values('Value')");
    assert_eq!(values, json!([4, 2, 1, 3]));
    let values = value(&ring(), "G.V().Sort('Bytes').Values('Value')");
    assert_eq!(values, json!([1, 2, 4, 3]));
}

#[test]
fn values_are_json() {
    let graph = ring();
    assert_eq!(value(&graph, "G.V('n4').Values('Indexes')"), json!([[5, 6]]));
    assert_eq!(value(&graph, "G.V().Values('Unknown')"), Value::Null);
    assert_eq!(
        value(&graph, "G.V('n1').ValueMap('Value', 'Type', 'Unknown')"),
        json!([{"Value": 1, "Type": "intf"}])
    );
    assert_eq!(
        value(&graph, "G.V('n1').Keys()"),
        json!([
            "@CreatedAt",
            "@DeletedAt",
            "@Host",
            "@ID",
            "@Origin",
            "@Revision",
            "@UpdatedAt",
            "Bytes",
            "List",
            "Map",
            "Map.a",
            "Type",
            "Value"
        ])
    );
    assert_eq!(value(&graph, "G")[0]["Nodes"].as_array().unwrap().len(), 4);
    assert_eq!(value(&graph, "G")[0]["Edges"].as_array().unwrap().len(), 5);
}

#[test]
fn has_filters_lists_of_objects() {
    let neighbours = json!({"Neighbors": [{"MAC": "a", "IP": "1"}, {"MAC": "b", "IP": "2"}]});
    let graph = graph(&[("n", neighbours)], &[]);
    assert_eq!(
        value(&graph, "G.V().Values('Neighbors').Has('MAC', 'b')"),
        json!([{"MAC": "b", "IP": "2"}])
    );
    assert_eq!(value(&graph, "G.V().Values('Neighbors.MAC')"), json!([["a", "b"]]));
}
