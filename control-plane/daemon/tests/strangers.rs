//! What strangers send: the daemon answers others all the while, and its memory stays flat.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::asked;
use crate::support::netns::Netns;
use crate::support::sonde::Sonde;

/// A daemon that is asked all the while by somebody else, whatever `attack` does. How long the
/// answers took and how its memory grew is printed; `TEST_ANSWER_MS` and `TEST_GROWTH_MB` bound it
/// more strictly, for machines with nothing else to do.
fn answers_while(what: &str, attack: impl FnOnce(&Sonde) + Send) {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let config = "[http]\nmax_connections_per_address = 3000\n";
        let sonde = Sonde::start(config, directory.path(), Some(&netns));
        let ask = || {
            let begun = Instant::now();
            assert_eq!(sonde.query("G.V().Has('Type', 'host').Count()"), json!(1));
            begun.elapsed()
        };
        let peace = (0..20).map(|_| ask()).max().unwrap();
        let before = sonde.resident();
        let (mut times, most) = std::thread::scope(|scope| {
            let attacker = scope.spawn(|| attack(&sonde));
            let (mut times, mut most) = (Vec::new(), 0);
            loop {
                times.push(ask());
                most = most.max(sonde.resident());
                if attacker.is_finished() {
                    break (times, most);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        times.sort();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        let grown = most.saturating_sub(before);
        println!(
            "{what}: {} answers, half within {median:.1?}, all within {slowest:.1?} (before: \
             {peace:.1?}); {} kB of memory, at most {} kB more",
            times.len(),
            before >> 10,
            grown >> 10,
        );
        let patience = asked("TEST_ANSWER_MS").map_or(PATIENCE, Duration::from_millis);
        assert!(slowest < patience, "an answer took {slowest:?}");
        let growth = asked("TEST_GROWTH_MB").map_or(GROWTH, |megabytes| megabytes << 20);
        assert!(grown < growth, "grown by {} kB", grown >> 10);
        sonde.stop();
    });
}

fn connect(sonde: &Sonde) -> TcpStream {
    let stream = TcpStream::connect(sonde.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// The status of the answer, if there is one before the end.
fn status(stream: &mut TcpStream) -> Option<String> {
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[9..]).into_owned())
}

#[test]
fn heads_that_never_end() {
    answers_while("heads that never end", |sonde| {
        let mut streams: Vec<TcpStream> = (0..200).map(|_| connect(sonde)).collect();
        for stream in &mut streams {
            stream.write_all(b"GET /api HTTP/1.1\r\nHost: localhost\r\n").unwrap();
        }
        // A header now and then is no end.
        for _ in 0..12 {
            std::thread::sleep(Duration::from_secs(1));
            streams.retain_mut(|stream| stream.write_all(b"X-A: b\r\n").is_ok());
        }
        assert!(streams.is_empty(), "{} are still open", streams.len());
    });
}

#[test]
fn bodies_that_drip() {
    answers_while("bodies that drip", |sonde| {
        let mut streams: Vec<TcpStream> = (0..200).map(|_| connect(sonde)).collect();
        let head =
            "POST /api/topology HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
        for stream in &mut streams {
            stream.write_all(head.as_bytes()).unwrap();
        }
        for _ in 0..20 {
            for stream in &mut streams {
                stream.write_all(b" ").unwrap();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn two_thousand_that_say_nothing() {
    answers_while("two thousand that say nothing", |sonde| {
        let mut streams: Vec<TcpStream> = (0..2000).map(|_| connect(sonde)).collect();
        // They are closed, as they ask for nothing.
        for stream in &mut streams {
            assert_eq!(stream.read(&mut [0; 256]).unwrap_or_default().min(1), 0);
        }
    });
}

#[test]
fn a_body_of_a_gigabyte() {
    answers_while("a body of a gigabyte", |sonde| {
        for head in [
            "POST /api/capture HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n",
            "POST /api/capture HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let mut stream = connect(sonde);
            stream.write_all(head.as_bytes()).unwrap();
            let chunk = [&b"10000\r\n"[..], &[b' '; 0x10000], b"\r\n"].concat();
            let mut sent = 0;
            while sent < 1 << 30 && stream.write_all(&chunk).is_ok() {
                sent += chunk.len();
            }
            assert!(sent < 1 << 28, "the daemon took {sent} bytes");
            // A reset may take the answer with it.
            assert!(status(&mut stream).is_none_or(|status| status == "413"));
        }
    });
}

#[test]
fn json_that_is_deep() {
    answers_while("json that is deep", |sonde| {
        let deep = |open: &str, close: &str| {
            [open.repeat(400_000), close.repeat(400_000 / open.len())].concat()
        };
        for body in [deep("[", "]"), format!("{{\"GremlinQuery\":{}}}", deep("[", "]"))] {
            for resource in ["topology", "capture", "node", "workflow", "alert"] {
                let (status, text) = sonde.post(resource, &body[..body.len().min(1_000_000)]);
                assert_eq!(status, 400, "{resource}: {text}");
            }
        }
        let query = format!("G.V({})", "Within(".repeat(9000));
        let (status, text) = sonde.post("topology", json!({"GremlinQuery": query}).to_string());
        assert_eq!(status, 400, "{text}");
    });
}

#[test]
fn json_that_becomes_much() {
    answers_while("json that becomes much", |sonde| {
        let many = |bytes: usize| r#"{"":0},"#.repeat(bytes / 7);
        let body = format!(r#"{{"ID":"a","Host":"h","Metadata":{{"x":[{}0]}}}}"#, many(1_000_000));
        for resource in ["node", "capture", "topology"] {
            let (status, text) = sonde.post(resource, &body);
            assert_eq!(status, 400, "{resource}: {text}");
            assert!(text.contains("too many values"), "{resource}: {text}");
        }
        let text = format!(r#"{{"Namespace":"Graph","Type":"Sync","Obj":[{}0]}}"#, many(15 << 20));
        let length = u64::try_from(text.len()).unwrap().to_be_bytes();
        let header = [&[0x81, 0x80 | 127][..], &length, &[0; 4]].concat();
        let streams = ["/ws/publisher", "/ws/pubsub"].map(|path| {
            let mut stream = websocket(sonde, path);
            stream.write_all(&header).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            stream
        });
        // Before they are silent for too long.
        let refused = (0..60).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            let (_, status) = sonde.get("status");
            let publishers = status["Publishers"].as_object().unwrap();
            publishers.values().filter(|client| client["Refused"] == 1).count() == streams.len()
        });
        assert!(refused);
    });
}

#[test]
fn websockets_that_send_too_much() {
    answers_while("websockets that send too much", |sonde| {
        for path in ["/ws/subscriber/flow", "/ws/subscriber", "/ws/publisher"] {
            let mut stream = websocket(sonde, path);
            // A message in endless fragments: text, not the last one, masked with zeros.
            let sent = fragments(&mut stream, 1 << 30);
            assert!(sent < 1 << 27, "{path} took {sent} bytes");
        }
    });
}

#[test]
fn websockets_that_send_half_a_message() {
    answers_while("websockets that send half a message", |sonde| {
        let paths = ["/ws/publisher", "/ws/pubsub"].into_iter().cycle().take(12);
        let halves: Vec<(TcpStream, usize)> = paths
            .map(|path| {
                let mut stream = websocket(sonde, path);
                let sent = fragments(&mut stream, 15 << 20);
                (stream, sent)
            })
            .collect();
        // Those that were taken leave in their time, as they say nothing, and make room for others.
        assert!(halves.iter().any(|(_, sent)| *sent < 15 << 20), "there is room for two");
    });
}

/// A WebSocket of a client of its own.
fn websocket(sonde: &Sonde, path: &str) -> TcpStream {
    let mut stream = connect(sonde);
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         X-Client-Type: stranger\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(status(&mut stream).unwrap(), "101");
    stream
}

/// Sends a text of so many bytes without its end, in fragments masked with zeros. Returns how many
/// were taken.
fn fragments(stream: &mut TcpStream, bytes: usize) -> usize {
    let mut sent = 0;
    while sent < bytes {
        let opcode = u8::from(sent == 0);
        let header = [opcode, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        if stream.write_all(&header).is_err() || stream.write_all(&[b' '; 0x10000]).is_err() {
            break;
        }
        sent += 0x10000;
    }
    sent
}

#[test]
fn files_that_run_short() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let sonde = Sonde::start_with_files(100, directory.path(), &netns);
        let streams: Vec<TcpStream> = (0..200).map(|_| connect(&sonde)).collect();
        std::thread::sleep(Duration::from_secs(1));
        drop(streams);
        assert_eq!(sonde.query("G.V().Has('Type', 'host').Count()"), json!(1));
        sonde.stop();
    });
}

/// What an answer may take; on machines with nothing else to do it is a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Memory that the daemon may take while it is attacked.
const GROWTH: u64 = 96 << 20;
