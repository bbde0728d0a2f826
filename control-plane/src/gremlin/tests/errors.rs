//! What is wrong, and where.

use super::super::{Limits, parse};
use super::{error, ring, store};

#[test]
fn errors_say_what_and_where() {
    let graph = ring();
    for (text, expected) in [
        ("", "found \"\", expected `G` at column 1"),
        ("x.V()", "found \"x\", expected `G` at column 1"),
        ("G()", "found \"(\", expected `.` at column 2"),
        ("G V()", "found \"V\", expected `.` at column 3"),
        ("G.V", "Expected left parenthesis, got:  at column 4"),
        ("G.", "Expected left parenthesis, got:  at column 3"),
        (
            "G.Foo",
            "Expected step function, got: Foo at column 3, \
             expected a step such as V, E, Has, Out or Flows",
        ),
        ("G.E().As('a')", "Invalid step 'As' on '*traversal.GraphTraversalE' at column 7"),
        (
            "G.ValueMap('a')",
            "Invalid step 'PropertyValueMap' on '*traversal.GraphTraversal' at column 3",
        ),
        ("G.V)", "Expected left parenthesis, got: ) at column 4"),
        ("G.V(", "Expected right parenthesis at column 5, got the end of the query"),
        (
            "G.V().Foo()",
            "Expected step function, got: Foo at column 7, \
             expected a step such as V, E, Has, Out or Flows",
        ),
        (
            "G.V().Has('a', beside(1, 2))",
            "Unexpected token while parsing parameters, got: beside at column 16, \
             expected a string, a number, a predicate or `)`",
        ),
        (
            "G.V().Has('a', -1)",
            "Unexpected token while parsing parameters, got: - at column 16, \
             expected a string, a number, a predicate or `)`",
        ),
        (
            "G.V().Limit(1.2.3)",
            "Expected number token, got: 1.2.3 at column 13, expected an integer or a decimal",
        ),
        ("G.V('a', 'b')", "V accepts at most one parameter : [a b] at column 3"),
        ("G.V(1)", "V parameter must be a string : [1] at column 3"),
        ("G.V('n9')", "Node 'n9' does not exist at column 3"),
        ("G.E('n9')", "Edge 'n9' does not exist at column 3"),
        ("G.V().Has()", "At least one parameter must be provided at column 7"),
        ("G.V().Has(1)", "Key must be a string at column 7"),
        ("G.V().Has('a', 1, 'b')", "params should be a list of key,value at column 7"),
        ("G.V().Has(1, 2)", "keys should be of string type at column 7"),
        (
            "G.V().HasKey('a', 'b')",
            "HasKey accepts only one parameter of type string : [a b] at column 7",
        ),
        ("G.V().Count('a')", "Count accepts no parameter : [a] at column 7"),
        ("G.V().Range(1)", "Range requires 2 parameters : [1] at column 7"),
        ("G.V().Limit()", "Limit requires 1 parameter : [] at column 7"),
        ("G.V().Limit('a')", "Limit parameter has to be a positive number : [a] at column 7"),
        ("G.V().Sort(1, 'a')", "Use ASC or DESC predicate : 1 at column 7"),
        ("G.V().Sort(1)", "Sort parameter has to be a string key : 1 at column 7"),
        ("G.V().Sort(ASC, 1)", "Second sort parameter has to be a string key : 1 at column 7"),
        ("G.V().Values(1)", "Values parameter has to be a string key : [1] at column 7"),
        ("G.V().ValueMap()", "ValueMap requires at least on parameter : [] at column 7"),
        ("G.V().As()", "As requires 1 parameter : [] at column 7"),
        ("G.V().As(1)", "As parameter has to be a string key : [1] at column 7"),
        ("G.V().Select()", "Select requires at least one key : [] at column 7"),
        (
            "G.V().Sort(ASC, 'a', 'b')",
            "Sort accepts 1 predicate and 1 string parameter : [ASC a b] at column 7",
        ),
        ("G.V().Values()", "Values requires 1 parameter : [] at column 7"),
        ("G.V().Has('a', Lt('b'))", "LT values should be of int64 type at column 16"),
        ("G.V().Has('a', Lt(1, 2))", "One parameter expected with LT: [1 2] at column 16"),
        ("G.V().Has('a', Inside(1))", "Two parameters expected with INSIDE: [1] at column 16"),
        (
            "G.V().Has('a', Regex(1))",
            "REGEX predicate expects a string as parameter, got: 1 at column 16",
        ),
        (
            "G.V().Has('a', Regex('^a'))",
            "Regex are anchored by default, ^ and $ don't have to be provided at column 16",
        ),
        ("G.V().Has('a', Ipv4Range(1))", "Ipv4Range value has to be a string at column 16"),
        (
            "G.V().V()",
            "Error while executing the query at column 7, \
             the step cannot follow the one before it",
        ),
        ("G.Has('a', 1)", "Invalid step 'Has' on '*traversal.GraphTraversal' at column 3"),
        ("G.E('a', 'b')", "E accepts at most one parameter : [a b] at column 3"),
        ("G.E(true)", "E parameter must be a string : [true] at column 3"),
        ("G.V().HasNot()", "HasNot accepts only one parameter of type string : [] at column 7"),
        ("G.V().HasEither('a')", "At least two parameters must be provided at column 7"),
        ("G.V().HasEither('a', 1, 'b')", "params should be a list of key,value at column 7"),
        ("G.V().Out('a')", "params should be a list of key,value at column 7"),
        ("G.V().Has('a', Gte('b'))", "GTE values should be of int64 type at column 16"),
        ("G.V().Has('a', Between('b', 1))", "Between values should be of int64 type at column 16"),
        ("G.V().NextHop()", "NextHop accepts one parameter : [] at column 7"),
        (
            "G.V().Metrics().Aggregates(0)",
            "Aggregates parameter has to be a positive number at column 17",
        ),
        ("G.Flows().RawPackets().BPF()", "BPF requires 1 parameter at column 24"),
        ("G.Flows().RawPackets().BPF(1)", "BPF parameter has to be a string at column 24"),
        ("G.Workflow()", "Workflow requires at least 1 parameter at column 3"),
        ("G.Workflow(1)", "Workflow accepts a workflow id or name as first parameter at column 3"),
        ("G.Workflow('x', 1)", "Unknown workflow 'x' at column 3"),
        (
            "G.V().Has('a', Ipv6Range('10.0.0.0/8'))",
            "invalid CIDR address: 10.0.0.0/8 at column 16",
        ),
        ("G.V().Has('a', Outside(1))", "Two parameters expected with OUTSIDE: [1] at column 16"),
        (
            "G.E().Values('a')",
            "Invalid step 'PropertyValues' on '*traversal.GraphTraversalE' at column 7",
        ),
        ("G.V().Sockets().Has('a')", "At least two parameters must be provided at column 17"),
        ("G.V().Sockets('a')", "Sockets accepts no parameter : [a] at column 7"),
        ("G.V().Flows('a', 1, 'b')", "At least two parameters must be provided at column 7"),
        ("G.Flows('a')", "At least two parameters must be provided at column 3"),
        ("G.Flows().Has('a')", "At least two parameters must be provided at column 11"),
        ("G.Flows().Limit(1).Sort('Nonsense')", "Field not found at column 20"),
        (
            "G.Flows().Dedup('UUID', 'Last')",
            "Dedup accepts at most one parameter : [UUID Last] at column 11",
        ),
        (
            "G.Flows().Sum('Start')",
            "Sum accepts only sub fields of Metric and LastUpadteMetric at column 11",
        ),
        ("G.At('-1m').V()", "Backend does not support history at column 3"),
        ("G.At(NOW, FOREVER)", "Backend does not support history at column 3"),
        ("G.Context(1600000000, 60).Flows()", "Backend does not support history at column 3"),
        ("G.At()", "At least one parameter must be provided to 'Context' at column 3"),
        ("G.At(1, 2, 3)", "At most two parameters must be provided to 'Context' at column 3"),
        ("G.At('noon')", "Time must be in RFC1123 or in Go Duration format at column 3"),
        ("G.At(true)", "Key 'Context' must be either an integer or a string at column 3"),
    ] {
        assert_eq!(error(&graph, text), expected, "{text}");
    }
    assert_eq!(parse("G.V().\nFoo()", &Limits::default()).unwrap_err().position(), 8);
}

#[test]
fn limits_are_errors() {
    let graph = ring();
    let run = |text: &str, limits: Limits| {
        let query = parse(text, &limits).map_err(|error| error.to_string())?;
        query.run(&*graph, &store(), &limits, &|| false).map_err(|error| error.to_string())
    };
    let limits = Limits::default();
    let text = Limits { text: 5, ..limits };
    assert!(run("G.V()", text).is_ok());
    assert_eq!(run("G.V() ", text).unwrap_err(), "The query is longer than 5 bytes at column 5");
    let steps = Limits { steps: 2, ..limits };
    assert!(run("G.V().Out()", steps).is_ok());
    let error = run("G.V().Out().Out()", steps).unwrap_err();
    assert_eq!(error, "The query has more than 2 steps at column 13");
    let regex = Limits { regex: 100, ..limits };
    assert_eq!(
        run("G.V().Has('a', Regex('b{99}'))", regex).unwrap_err(),
        "Invalid REGEX `b{99}`: Compiled regex exceeds size limit of 100 bytes. at column 16"
    );
    let visited = Limits { visited: 4, ..limits };
    assert!(run("G.V()", visited).is_ok());
    let error = run("G.V().Out()", visited).unwrap_err();
    assert_eq!(error, "The query looks at more than 4 elements at column 7");
    let error = run("G.Flows().Count()", Limits { visited: 3, ..limits }).unwrap_err();
    assert_eq!(error, "The query looks at more than 3 elements at column 3");
    // A limit stops before the bound.
    assert!(run("G.Flows().Limit(3)", Limits { visited: 3, ..limits }).is_ok());
    let results = Limits { results: 3, ..limits };
    assert!(run("G.V().Limit(3)", results).is_ok());
    let error = run("G.V()", results).unwrap_err();
    assert_eq!(error, "A step has more than 3 results, narrow it or use Limit at column 3");
    let query = parse("G.V()", &limits).unwrap();
    let error = query.run(&*graph, &store(), &limits, &|| true).unwrap_err();
    assert_eq!(error.to_string(), "The query takes too long at column 3");
}
