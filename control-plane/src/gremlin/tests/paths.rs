//! Steps that follow edges, and parts of the graph.

use serde_json::{Value, json};

use super::{ask, error, graph, hosts, names, ring, size, value};

#[test]
fn paths_are_the_shortest() {
    let ring = ring();
    for (text, nodes) in [
        ("G.V().Has('Value', 1).ShortestPathTo(Metadata('Value', 3))", 2),
        ("G.V('n2').ShortestPathTo(Metadata('Value', 4))", 3),
        ("G.V('n2').ShortestPathTo(Metadata('Value', 2))", 1),
        ("G.V('n1').ShortestPathTo(Metadata('Value', 9))", 0),
        // Only along edges of a kind.
        ("G.V('n1').ShortestPathTo(Metadata('Value', 3), Metadata('Direction', 'Left'))", 3),
        ("G.V('n1').ShortestPathTo(Metadata('Value', 4), Metadata('Direction', 'Left'))", 0),
    ] {
        assert_eq!(size(&ask(&ring, text).unwrap()), nodes, "{text}");
    }
    let path = value(&ring, "G.V('n1').ShortestPathTo(Metadata('Value', 3))");
    assert_eq!(path[0][0]["ID"], "n1");
    assert_eq!(path[0][1]["ID"], "n3");
    let distinct = "G.V().ShortestPathTo(Metadata('Value', 3)).Dedup()";
    assert_eq!(size(&ask(&ring, distinct).unwrap()), 4);
    let wrong = error(&ring, "G.V().ShortestPathTo()");
    let expected = "ShortestPathTo predicate accepts only 1 or 2 parameters : [] at column 7";
    assert_eq!(wrong, expected);
}

#[test]
fn a_part_of_the_graph_is_a_graph() {
    let ring = ring();
    for (text, expected) in [
        ("G.E().Has('Direction', 'Left').SubGraph().E()", 2),
        ("G.E().Has('Direction', 'Left').SubGraph().V()", 3),
        ("G.V().Has('Type', 'intf').SubGraph().V()", 2),
        ("G.V().Has('Type', 'intf').SubGraph().E()", 1),
        ("G.V().SubGraph('Name', Without('e2', 'e3', 'e4', 'e5')).E()", 1),
        ("G.V('n2').ShortestPathTo(Metadata('Value', 4)).SubGraph().V()", 3),
        ("G.V().Out().SubGraph().V()", 3),
        // Edges and nodes outside are gone.
        ("G.V().Has('Type', 'intf').SubGraph().V('n2').Both()", 1),
        ("G.E('n1-n2').SubGraph().V().Both()", 2),
        ("G.V().SubGraph('Name', 'e1').V('n3').Both()", 0),
    ] {
        assert_eq!(size(&ask(&ring, text).unwrap()), expected, "{text}");
    }
    let outside = error(&ring, "G.E('n1-n2').SubGraph().V('n3')");
    assert_eq!(outside, "Node 'n3' does not exist at column 25");
    let part = value(&ring, "G.E('n1-n2').SubGraph()");
    assert_eq!(part[0]["Nodes"].as_array().unwrap().len(), 2);
    assert_eq!(part[0]["Edges"].as_array().unwrap().len(), 1);
}

#[test]
fn sets_are_remembered_by_name() {
    let text =
        "G.V().Has('Name', 'eth0').As('a').G.V().Has('Name', 'eth1').As('b').Select('a', 'b')";
    assert_eq!(names(text), ["eth0", "eth1"]);
    let unknown = error(&ring(), "G.V().As('a').Select('b')");
    assert!(unknown.starts_with("Key b not registered. Need to be registered using 'As' step"));
}

#[test]
fn families_are_followed_as_far_as_told() {
    let owns = json!({"RelationType": "ownership"});
    let wire = json!({"RelationType": "layer2"});
    let node = |name: &str| json!({"Name": name});
    let nodes = [("a", node("a")), ("b", node("b")), ("c", node("c")), ("d", node("d"))];
    let edges = [("a", "b", owns.clone()), ("b", "c", owns), ("b", "d", wire)];
    let graph = graph(&nodes, &edges);
    for (text, expected) in [
        ("V('a').Descendants()", &["a", "b"][..]),
        ("V('a').Descendants(2)", &["a", "b", "c"]),
        ("V('a').Descendants(0)", &["a", "b", "c"]),
        ("V('b').Descendants('RelationType', 'layer2')", &["b", "d"]),
        (
            "V('b').Descendants('RelationType', 'layer2', 'RelationType', 'ownership', 1)",
            &["b", "c", "d"],
        ),
        ("V('c').Ascendants()", &["b", "c"]),
        ("V('c').Ascendants(0)", &["a", "b", "c"]),
        ("V('b').Neighbors()", &["a", "b", "c"]),
        ("V('b').Neighbors(0)", &["b"]),
        ("V('d').Neighbors('RelationType', Nee('x'), 9)", &["a", "b", "c", "d"]),
    ] {
        let found = value(&graph, &format!("G.{text}.Sort('Name').Values('Name')"));
        assert_eq!(found, json!(expected), "{text}");
    }
    for (text, expected) in [
        (
            "G.V().Descendants('a')",
            "Descendants last argument must be the maximum depth specified as an integer \
             at column 7",
        ),
        (
            "G.V().Descendants(1, 2)",
            "Descendants accepts an optional number of key/value tuples and an optional depth \
             : [1 2] at column 7",
        ),
    ] {
        assert_eq!(error(&graph, text), expected);
    }
}

#[test]
fn a_next_hop_is_answered_once_for_each_node() {
    let routes = json!({"Name": "r", "RoutingTables": [{"ID": 254, "Routes": [
        {"Prefix": "0.0.0.0/0", "NextHops": [{"Priority": 1, "IP": "10.0.0.1", "IfIndex": 2}]}]}]});
    let owns = Value::Object(Default::default());
    let nodes = [("r", routes), ("x", json!({})), ("y", json!({}))];
    let graph = graph(&nodes, &[("x", "r", owns.clone()), ("y", "r", owns)]);
    let expected = r#"[{"r":{"IP":"10.0.0.1","IfIndex":2,"Priority":1}}]"#;
    let answer = ask(&graph, "G.V().Out().NextHop('8.8.8.8')").unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
    assert_eq!(value(&hosts(), "G.V().NextHop('8.8.8.8')"), json!([]));
    let wrong = error(&graph, "G.V().NextHop('x')");
    assert_eq!(wrong, "NextHop parameter have to be a valid IP address at column 7");
}
