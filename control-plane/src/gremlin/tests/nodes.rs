//! Nodes, edges and values.

use serde_json::{Value, json};

use super::{ask, graph, ring, size, value};

#[test]
fn queries_find_as_much_as_in_skydive() {
    let cases = [
        ("V().Has('Value', 1)", 1),
        ("V().HasEither('Type', 'intf', 'Name', 'Node4')", 3),
        ("V().HasEither('Bytes', 1024, 'Bytes', 2024)", 2),
        ("V().Has('Indexes', 6)", 1),
        ("V().Count()", 4),
        (
            "V().Has('Value', 1).Out().Has('Value', 2).OutE().Has('Direction', 'Left').OutV().Out()",
            1,
        ),
        ("V().Has('Type')", 2),
        ("V().Out().Has('Value', 4).Dedup()", 1),
        ("V().Out().Has('Value', 4)", 2),
        ("E().Dedup('Direction')", 4),
        ("V().Has('Value', Within(1, 2, 4))", 3),
        ("V().Has('Value', Within(1.0, 2.0, 4.0))", 3),
        ("V().Has('Value', Lt(3))", 2),
        ("V().Has('Value', Lte(3))", 3),
        ("V().Has('Value', Gt(3))", 1),
        ("V().Has('Value', Gte(3))", 2),
        ("V().Has('Value', Inside(1, 4))", 2),
        ("V().Has('Value', Between(1, 4))", 3),
        ("V().Has('Value', Ne(1))", 3),
        ("V().Has('MTU', Ne(1200))", 1),
        ("V().Has('Unknown', Ne(''))", 0),
        ("V().Has('MTU', Nee(1200))", 4),
        ("V().Has('Unknown', Nee(''))", 4),
        ("V().HasKey('Name')", 1),
        ("V().HasNot('Name')", 3),
        ("V().Has('Name', Regex('.*ode.*'))", 1),
        ("V().Has('IPV4', Ipv4Range('192.168.0.0/24'))", 1),
        ("V().Has('IPV4', Ipv4Range('192.168.0.0/16'))", 2),
        ("V().Has('IPV4', Ipv4Range('192.168.0.77/26'))", 0),
        ("V().Has('IPV4', Ipv4Range('192.168.2.0/24'))", 0),
        ("V().Has('Value', 2).Both()", 2),
        ("V().Has('List', '222')", 1),
        ("V().Has('Metadata.Map.a', 1)", 1),
        ("V('n3')", 1),
        ("V('n3').Both('Value', Gt(1))", 2),
        ("E('n1-n2')", 1),
        ("V('n1').OutE('Mode', 'Direct').OutV()", 1),
        ("V('n1').InE()", 0),
        ("V('n3').BothE()", 3),
        ("E().Has('Name', 'e3').BothV()", 2),
        ("E().Has('Name', 'e3').InV().Has('@ID', 'n3')", 1),
        ("E().Has('Parent', 'n1')", 3),
        ("V().Values('Type')", 2),
        ("V().Values('Map')", 1),
        ("V().Limit(1)", 1),
        ("V().Limit(0)", 0),
        ("V().Range(1, 3)", 2),
        ("V().Range(3, 1)", 0),
        ("V().Sum('Value')", 10),
        ("g.v().has(\"Value\" 1)", 1),
    ];
    let graph = ring();
    for (text, expected) in cases {
        let text = if text.starts_with("g.") { text.to_owned() } else { format!("G.{text}") };
        let answer = ask(&graph, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(size(&answer), expected, "{text}");
    }
}

#[test]
fn dedup_takes_several_keys() {
    let nodes = [
        ("1", json!({"Name": "aaa", "Type": "intf", "Value": "v1"})),
        ("2", json!({"Name": "bbb", "Type": "intf", "Value": "v1"})),
        ("3", json!({"Name": "aaa", "Type": "veth"})),
        ("4", json!({"Name": "aaa", "Type": "intf"})),
    ];
    let graph = graph(&nodes, &[]);
    for (keys, expected) in
        [("'Name'", 2), ("'Name', 'Type'", 3), ("'Value'", 3), ("'Misc', 'Value'", 3)]
    {
        let answer = ask(&graph, &format!("G.V().Dedup({keys})")).unwrap();
        assert_eq!(size(&answer), expected, "{keys}");
    }
}

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
