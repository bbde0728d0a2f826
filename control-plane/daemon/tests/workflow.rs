//! Scripts that mean no good: each ends, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::netns::Netns;
use crate::support::sonde::Sonde;

/// Seconds for each script, 16 MB, two scripts at once.
fn limits(seconds: u32) -> String {
    format!("[workflow]\ntimeout = {seconds}\nmax_memory = 16777216\nat_once = 2\n")
}

fn within(limits: String, test: impl FnOnce(&Sonde) + Send) {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let sonde = Sonde::start(&limits, directory.path(), Some(&netns));
        test(&sonde);
        sonde.stop();
    });
}

/// Creates a workflow; its path.
fn workflow(sonde: &Sonde, name: &str, source: &str) -> String {
    let body = json!({"Name": name, "Source": source}).to_string();
    let (status, body) = sonde.post("workflow", body);
    assert_eq!(status, 201, "{body}");
    let created: Value = serde_json::from_str(&body).unwrap();
    format!("workflow/{}/call", created["UUID"].as_str().unwrap())
}

/// Calls each function: it fails as expected, and the daemon is there.
fn all_fail(sonde: &Sonde, cases: &[(&str, &str)]) {
    for (at, (source, expected)) in cases.iter().enumerate() {
        let call = workflow(sonde, &format!("w{at}"), source);
        let (status, body) = sonde.post(&call, "{}");
        assert_eq!(status, 400, "{source}: {body}");
        assert!(body.starts_with(expected), "{source}: {body}");
        assert_eq!(sonde.query("G.V().Has('Type', 'host').Count()"), 1);
    }
}

#[test]
fn a_script_that_takes_too_much_memory_is_ended() {
    within(limits(60), |sonde| {
        let memory = "the script took more than 16777216 bytes of memory\n";
        let deep = ["(".repeat(100_000), ")".repeat(100_000)].join("1");
        all_fail(
            sonde,
            &[
                ("() => { let a = []; while (true) a.push(new Array(1e6).fill(1)); }", memory),
                ("() => { const a = []; while (true) a.push('x'.repeat(1e6)); }", memory),
                ("() => 'x'.repeat(5e8).length", memory),
                // Each promise waits for the next: all of them live.
                ("() => { const f = () => Promise.resolve().then(f); return f(); }", memory),
                ("() => new ArrayBuffer(1e9)", "RangeError: "),
                ("() => new Promise(() => {})", "Error: the promise is never settled"),
                // More than the parser itself can follow.
                (&format!("() => {deep}"), "the script has too many calls within one another\n"),
            ],
        );
    });
}

#[test]
fn a_script_that_takes_too_long_is_ended() {
    within(limits(1), |sonde| {
        let time = "the script ran for more than 1 s\n";
        all_fail(
            sonde,
            &[
                ("() => { while (true) {} }", time),
                ("() => new Promise(() => setInterval(() => {}, 1))", time),
                ("() => sleep(1e9)", time),
                // A microtask that makes the next: one promise lives at a time.
                (
                    "() => { const f = () => { Promise.resolve().then(f); }; f(); \
                     return new Promise(() => {}); }",
                    time,
                ),
                ("() => /(a+)+$/.test('a'.repeat(40) + 'b')", time),
            ],
        );
    });
}

#[test]
fn alerts_that_hang_or_eat_memory_cost_nobody_else() {
    within(limits(1), |sonde| {
        let expressions = [
            "while (true) {}",
            "while (true) {}",
            "let a = []; while (true) a.push(new Array(1e6).fill(1));",
            "Gremlin('G.V(')",
        ];
        for expression in expressions {
            let (status, body) = sonde.post("alert", json!({"Expression": expression}).to_string());
            assert_eq!(status, 201, "{body}");
        }
        let quick = workflow(sonde, "quick", "(n) => n + 1");
        let begun = Instant::now();
        let failed = |sonde: &Sonde| {
            sonde.get("status").1["AlertDeliveries"]["QueriesFailed"].as_u64().unwrap()
        };
        while failed(sonde) < expressions.len() as u64 {
            let asked = Instant::now();
            // They take the turns of alerts, not those of workflows.
            assert_eq!(sonde.post(&quick, r#"{"Params": [1]}"#), (200, "2\n".to_owned()));
            assert!(asked.elapsed() < Duration::from_secs(2));
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
    });
}

#[test]
fn others_are_answered_while_scripts_hang() {
    within(limits(2), |sonde| {
        let hang = workflow(
            sonde,
            "hang",
            "async () => { await client.captures.create(\
            new Capture({GremlinQuery: 'G.V()'})); while (true) {} }",
        );
        let quick = workflow(sonde, "quick", "(n) => n + 1");
        std::thread::scope(|scope| {
            let hanging: Vec<_> = (0..2).map(|_| scope.spawn(|| sonde.post(&hang, "{}"))).collect();
            let begun = Instant::now();
            while !hanging.iter().all(|call| call.is_finished()) {
                let asked = Instant::now();
                assert_eq!(sonde.query("G.V().Has('Type', 'host').Count()"), 1);
                assert!(asked.elapsed() < Duration::from_secs(1));
                assert!(begun.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(50));
            }
            for call in hanging {
                assert_eq!(call.join().unwrap().0, 400);
            }
        });
        // What they created is gone, and so are their processes.
        assert_eq!(sonde.get("capture"), (200, json!({})));
        let calls: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..50)
                .map(|n| {
                    scope.spawn({
                        let quick = &quick;
                        move || sonde.post(quick, json!({"Params": [n]}).to_string())
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        for (n, (status, body)) in calls.into_iter().enumerate() {
            match status {
                200 => assert_eq!(body, format!("{}\n", n + 1)),
                _ => assert_eq!((status, body.contains("2 scripts are running")), (503, true)),
            }
        }
    });
}
