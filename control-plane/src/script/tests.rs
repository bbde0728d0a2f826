use std::sync::{Arc, Mutex};

use serde_json::json;

use super::testing::{evaluate, limited, scripts};
use super::*;
use crate::tests::world::within;

/// Remembers what it is asked, and answers the same each time.
#[derive(Clone)]
struct Answers {
    reply: Reply,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Answers {
    fn new(status: u16, body: &str) -> Self {
        Self { reply: Reply { status, body: body.into() }, asked: Arc::default() }
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|Request { method, path, body }| format!("{method} {path} {body}"))
            .collect()
    }

    /// What the queries were.
    fn queries(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let query =
            |body: &str| serde_json::from_str::<Value>(body).unwrap()["GremlinQuery"].take();
        asked.iter().map(|request| query(&request.body).as_str().unwrap().to_owned()).collect()
    }
}

impl Host for Answers {
    async fn answer(&self, request: Request) -> Reply {
        self.asked.lock().unwrap().push(request);
        self.reply.clone()
    }
}

async fn value(text: &str) -> Value {
    evaluate(&scripts(), text, Answers::new(200, "[]")).await.unwrap()
}

async fn error(text: &str) -> String {
    evaluate(&scripts(), text, Answers::new(200, "[]")).await.unwrap_err().to_string()
}

fn function(source: &str, params: Value) -> Script {
    Script::Function { source: source.into(), params: params.as_array().unwrap().clone() }
}

#[tokio::test]
async fn the_last_statement_is_the_value() {
    for (text, expected) in [
        ("var a = 2; a * 3", json!(6)),
        ("[1.5, 'é', null, true, {b: 1}]", json!([1.5, "é", null, true, {"b": 1}])),
        ("new Date(0)", json!("1970-01-01T00:00:00.000Z")),
        ("undefined", json!(null)),
        ("(function () {})", json!(null)),
        ("({a: undefined, f() {}})", json!({})),
        ("'abc'.substr(1, 1)", json!("b")),
        ("Promise.resolve(1).then(function (x) { return x + 1; })", json!(2)),
        ("(async () => { await null; return [await Promise.resolve(3)]; })()", json!([3])),
        ("new Promise((done) => setTimeout(done, 2, 'late'))", json!("late")),
        (
            "var n = 0; new Promise((done) => { var id = setInterval(() => { if (++n === 3) { \
          clearInterval(id); done(n); } }, 1); })",
            json!(3),
        ),
        (
            "var id = setTimeout(() => { throw 1; }, 1); clearTimeout(id); sleep(5).then(() => 4)",
            json!(4),
        ),
        ("console.log('a', {b: 1}, new Error('c')); print(undefined)", json!(null)),
        // What a script changes is its own matter.
        ("JSON.stringify = null; Promise.prototype.then = null; 7", json!(7)),
    ] {
        assert_eq!(value(text).await, expected, "{text}");
    }
}

#[tokio::test]
async fn an_error_says_what_and_where() {
    for (text, expected) in [
        (
            "var a = 1;\nvar b = ;",
            "SyntaxError: unexpected token ';', primary expression at line 2, col 9",
        ),
        ("null.x", "TypeError: cannot convert 'null' or 'undefined' to object at line 1, column 6"),
        (
            "\nfunction f(a) {\n  return a.b.c;\n}\nf({})",
            "TypeError: cannot convert 'null' or 'undefined' to object at line 3, column 14",
        ),
        (
            // The engine knows no more than the function.
            "\nfunction f() {\n  missing();\n}\nf()",
            "ReferenceError: missing is not defined at line 2, column 14",
        ),
        ("throw new RangeError('far')", "RangeError: far at line 1, column 7"),
        ("throw {code: 7}", "{\"code\":7} at line 1, column 7"),
        ("throw 'text'", "text at line 1, column 7"),
        ("throw undefined", "undefined at line 1, column 7"),
        ("Promise.reject({code: 8})", "{\"code\":8}"),
        ("(async () => {\n  throw new Error('inside');\n})()", "Error: inside at line 2, column 9"),
        ("new Promise(() => {})", "Error: the promise is never settled"),
        ("10n", "TypeError: "),
        ("var a = {}; a.a = a; a", "TypeError: "),
        (
            "class E extends Error { get message() { throw 1; } }; throw new E()",
            "an error without a text",
        ),
    ] {
        let error = error(text).await;
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_function_is_called() {
    let host = Answers::new(200, "[]");
    for (source, params, expected) in [
        ("function (a, b) { return a + b; }", json!([1, 2]), json!(3)),
        (
            "function Named(a) { return a; } // and a comment",
            json!([{"x": [null]}]),
            json!({"x": [null]}),
        ),
        ("async (a) => a;\n", json!(["t", "more"]), json!("t")),
        ("// a comment first\nfunction () { return arguments.length; }", json!([]), json!(0)),
    ] {
        let got = scripts().run(function(source, params), host.clone()).await.unwrap();
        assert_eq!(got, expected, "{source}");
    }
    for (source, expected) in [
        ("7", "TypeError: expected a function, found number"),
        ("", "SyntaxError: "),
        ("function () { ", "SyntaxError: "),
        (
            "function (a) {\n  return a.b.c;\n}",
            "TypeError: cannot convert 'null' or 'undefined' to object at line 2, column ",
        ),
    ] {
        let got = scripts().run(function(source, json!([{}])), host.clone()).await;
        let got = got.unwrap_err().to_string();
        assert!(got.starts_with(expected), "{source}: {got}");
    }
}

#[tokio::test]
async fn too_deep_or_too_much_is_an_error() {
    for (text, expected) in [
        (
            "(function f() { return f(); })()",
            "RuntimeLimitError: reached the maximum number of recursive calls",
        ),
        // Through functions of the engine, which take more of its stack.
        ("(function f() { return [1].map(f); })()", "RuntimeLimitError: "),
        ("var f = {get a() { return this.a; }}; f.a", "RuntimeLimitError: "),
        ("'x'.repeat(5000000)", "the result has 5000002 bytes, expected at most 4194304"),
        (
            "var a = []; for (var i = 0; i < 200; i++) a = [a]; a",
            "the result: recursion limit exceeded",
        ),
    ] {
        let error = error(text).await;
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[tokio::test]
async fn rest_is_asked_by_the_names_of_the_client() {
    let all = r#"{"u 1": {"UUID": "u 1", "Name": "n"}}"#;
    for (text, asked) in [
        (
            "client.captures.create(new Capture({GremlinQuery: 'G'}))",
            r#"POST /api/capture {"GremlinQuery":"G"}"#,
        ),
        ("client.alerts.list()", "GET /api/alert "),
        ("client.nodeRules.get('u 1/x')", "GET /api/noderule/u%201%2Fx "),
        ("client.edgeRules.delete('u')", "DELETE /api/edgerule/u "),
        ("client.workflows.update('u', [])", "PATCH /api/workflow/u []"),
        (
            "client.packetInjections.create({Src: 'G.V()'})",
            r#"POST /api/injectpacket {"Src":"G.V()"}"#,
        ),
        ("client.nodes.list()", "GET /api/node "),
        ("client.edges.list()", "GET /api/edge "),
        ("client.request('/api/status', 'GET')", "GET /api/status "),
    ] {
        let host = Answers::new(200, all);
        evaluate(&scripts(), text, host.clone()).await.unwrap();
        assert_eq!(host.asked(), [asked], "{text}");
    }
    let text =
        "client.captures.list().then((all) => [all['u 1'] instanceof Capture, all['u 1'].Name])";
    let got = evaluate(&scripts(), text, Answers::new(200, all)).await.unwrap();
    assert_eq!(got, json!([true, "n"]));
    let got = evaluate(&scripts(), "client.captures.delete('u')", Answers::new(200, "")).await;
    assert_eq!(got.unwrap(), json!(null));
}

#[tokio::test]
async fn an_answer_that_is_an_error_is_thrown() {
    let host = Answers::new(404, "Capture 'u' not found\n");
    let caught = "client.captures.get('u').catch((error) => error.message)";
    let got = evaluate(&scripts(), caught, host.clone()).await.unwrap();
    assert_eq!(got, json!("Capture 'u' not found"));
    let got = evaluate(&scripts(), "\nGremlin('G.V()')", host).await.unwrap_err().to_string();
    assert_eq!(got, "Error: Capture 'u' not found at line 2, column 8");
    let got = evaluate(&scripts(), "Gremlin('G')", Answers::new(405, "")).await.unwrap_err();
    assert!(got.to_string().starts_with("Error: status 405"), "{got}");
}

#[tokio::test]
async fn queries_are_written_step_by_step() {
    for (text, query) in [
        ("Gremlin(\"G.V().Has('Name', 'a')\").length", "G.V().Has('Name', 'a')"),
        ("G.V()", "G.V()"),
        (
            "G.V('id').Has('Name', NE('a'), 'MTU', GT(1500)).Limit(2)",
            "G.V('id').Has('Name', NE('a'), 'MTU', GT(1500)).Limit(2)",
        ),
        ("G.At(NOW, 60).Flows().Sort(DESC, 'Last')", "G.At(NOW, 60).Flows().Sort(DESC, 'Last')"),
        (
            "G.V().ShortestPathTo(Metadata('TID', 't'), Metadata('RelationType', 'layer2'))",
            "G.V().ShortestPathTo(Metadata('TID', 't'), Metadata('RelationType', 'layer2'))",
        ),
        ("G.V().Has('Type', WITHIN('a', 'b'))", "G.V().Has('Type', WITHIN('a', 'b'))"),
        ("client.G.V().Count().then(String)", "G.V().Count()"),
        ("client.gremlin.query(G.E())", "G.E()"),
    ] {
        let host = Answers::new(200, "[]");
        evaluate(&scripts(), text, host.clone()).await.unwrap();
        assert_eq!(host.queries(), [query], "{text}");
    }
    let got = error("G.V().Has('Name', \"x').Drop('\")").await;
    assert!(got.starts_with("TypeError: a text in a query cannot hold a quote: x')"), "{got}");
}

#[tokio::test]
async fn answers_are_as_the_client_gives_them() {
    for (text, answer, expected) in [
        ("G.V()", "null", json!([])),
        ("G.V().Values('Name')", r#"["a"]"#, json!(["a"])),
        ("G.V().Count()", "3", json!(3)),
        ("G", r#"[{"Nodes": [1], "Edges": []}]"#, json!({"Nodes": [1], "Edges": []})),
        ("G.Flows().Metrics()", r#"[{"f": [1]}]"#, json!({"f": [1]})),
        ("G.Flows().RawPackets()", "[]", json!({})),
        ("G.V().ShortestPathTo(Metadata('a', 1))", "[[1, 2]]", json!([[1, 2]])),
        ("Gremlin('G')", "[[1]]", json!([[1]])),
    ] {
        let got = evaluate(&scripts(), text, Answers::new(200, answer)).await.unwrap();
        assert_eq!(got, expected, "{text}");
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_script_that_fails() {
    let create = "(async () => { await client.captures.create({}); await client.nodes.create({});";
    let made = ["POST /api/capture {}", "POST /api/node {}"].map(String::from);
    for (end, after) in [
        ("throw 'late';", &["DELETE /api/node/%C3%BC%201 ", "DELETE /api/capture/%C3%BC%201 "][..]),
        ("", &[]),
    ] {
        let host = Answers::new(201, r#"{"UUID": "ü 1"}"#);
        let text = format!("{create} {end} }})()");
        let got = evaluate(&scripts(), &text, host.clone()).await;
        assert_eq!(got.is_err(), !end.is_empty());
        let after = after.iter().map(|asked| (*asked).to_owned());
        assert_eq!(host.asked(), made.iter().cloned().chain(after).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_is_left_is_told_from_what_a_script_deleted() {
    let request = |method: &str, path: &str| Request {
        method: method.into(),
        path: path.into(),
        body: String::new(),
    };
    let reply = |status| Reply { status, body: r#"{"ID": "a/b"}"#.into() };
    let left = &["DELETE /api/node/a%2Fb "][..];
    for (created, deleted, undone) in [
        ("/api/node", "/api/node/a%2Fb", &[][..]),
        ("/api/node/?x=y", "/api/node/a%2Fb", &[]),
        ("/api/node", "/api/node/a%2Fb/", &[]),
        ("/api/node?x=y", "/api/node/a%2Fb/?auth_token=z", &[]),
        ("/api/node?x=y/z?", "/api/node/a", left),
        ("/api/node", "/api/edge/a%2Fb?x=/api/node/a%2Fb", left),
    ] {
        let mut made = Made::default();
        made.note(&request("POST", created), &reply(201));
        made.note(&request("DELETE", deleted), &reply(200));
        let host = Answers::new(200, "");
        made.undo(&host).await;
        assert_eq!(host.asked(), undone, "{created}, {deleted}");
    }
}

#[tokio::test]
async fn so_many_run_at_once() {
    let time = Duration::from_millis(200);
    let scripts = limited(Limits { time, at_once: 1, ..Limits::default() });
    let host = Answers::new(200, "");
    let slow = evaluate(&scripts, "sleep(3600000)", host.clone());
    let (slow, next) = tokio::join!(slow, evaluate(&scripts, "1", host));
    assert!(matches!(slow, Err(ScriptError::Time(limit)) if limit == time), "{slow:?}");
    // It has its turn, or none in time; it never runs beside the other.
    assert!(matches!(next, Ok(_) | Err(ScriptError::Busy(1) | ScriptError::Time(_))), "{next:?}");
}

#[test]
fn the_whole_has_room_for_so_many_and_no_more() {
    for at_once in 1..=1000 {
        let share = Limits { at_once, ..Limits::default() }.share();
        assert_eq!(WHOLE / share, u32::from(at_once));
    }
}

#[tokio::test]
async fn limits_that_change_are_those_of_scripts_that_begin_after() {
    let limited_to = |at_once, seconds| {
        let time = Duration::from_secs(seconds);
        Limits { time, at_once, ..Limits::default() }
    };
    let limits = Live::from(limited_to(1, 60));
    let scripts = limited(limits.clone());
    let taken = || WHOLE as usize - scripts.turns.available_permits();
    let begin = |text: &'static str| {
        let scripts = scripts.clone();
        tokio::spawn(async move { evaluate(&scripts, text, Answers::new(200, "")).await })
    };
    let first = begin("sleep(4000).then(() => 'first')");
    within(|| (taken() > 0).then_some(())).await;
    limits.set(limited_to(1, 1));
    let second = evaluate(&scripts, "2", Answers::new(200, "")).await;
    assert!(matches!(second, Err(ScriptError::Busy(_))), "{second:?}");
    assert_eq!(first.await.unwrap().unwrap(), json!("first"), "its time is that of before");
    let second = evaluate(&scripts, "sleep(1e9)", Answers::new(200, "")).await;
    assert!(matches!(second, Err(ScriptError::Time(_))), "{second:?}");
    limits.set(limited_to(2, 60));
    let slow = begin("sleep(1e9)");
    within(|| (taken() > 0).then_some(())).await;
    let beside = evaluate(&scripts, "3", Answers::new(200, "")).await;
    assert_eq!(beside.unwrap(), json!(3));
    slow.abort();
}

#[tokio::test]
async fn who_has_no_turn_waits_for_it() {
    let scripts = scripts();
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let scripts = scripts.clone();
            tokio::spawn(async move {
                evaluate(&scripts, &n.to_string(), Answers::new(200, "")).await.unwrap()
            })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), json!(n));
    }
}
