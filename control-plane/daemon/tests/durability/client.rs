//! A client that creates, changes and deletes resources until the daemon is gone.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::{Asked, KINDS, Key, Ledger, OURS, name};
use super::random::Random;

/// A client, and all it was told.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    made: u32,
    random: Random,
    pub(super) ledger: Ledger,
}

/// The daemon is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Client {
    pub(super) fn new(number: usize, random: Random) -> Self {
        Self { number, made: 0, random, ledger: Ledger::default() }
    }

    /// How the names of what it created begin.
    pub(super) fn prefix(&self) -> String {
        format!("{OURS}{}-", self.number)
    }

    /// Creates until there are so many.
    pub(super) fn fill(&mut self, address: SocketAddr, count: usize) {
        let line = Line::new(address);
        while self.ledger.kept.len() < count {
            self.create(&line).unwrap();
        }
    }

    /// Does this and that until the daemon is gone; how many requests were acknowledged.
    pub(super) fn trouble(&mut self, address: SocketAddr, count: usize) -> u32 {
        let line = Line::new(address);
        for acknowledged in 0.. {
            let few = self.ledger.kept.len() <= count;
            let done = match self.random.below(6) {
                0 => self.change(&line),
                1 | 2 => self.delete(&line),
                3 if !few => self.delete(&line),
                _ => self.create(&line),
            };
            if done.is_err() {
                return acknowledged;
            }
        }
        unreachable!("the daemon never went")
    }

    fn create(&mut self, line: &Line) -> Result<(), Gone> {
        let kind = *self.random.of(&KINDS);
        let nodes: Vec<_> = self.names("node");
        let kind = if kind == "edge" && nodes.is_empty() { "node" } else { kind };
        self.made += 1;
        let name = format!("{}{}", self.prefix(), self.made);
        let nowhere = format!("G.V().Has('Name', '{name}')");
        let body = match kind {
            "capture" => json!({"Name": name, "GremlinQuery": nowhere}),
            "alert" => json!({"Name": name, "Expression": nowhere}),
            "noderule" => json!({
                "Name": name, "Action": "create", "Metadata": {"Name": name, "Type": "fabric"},
            }),
            "edgerule" => json!({
                "Name": name, "Src": nowhere, "Dst": nowhere,
                "Metadata": {"RelationType": "layer2"},
            }),
            "workflow" => json!({"Name": name, "Source": "() => 1"}),
            "node" => json!({"ID": name, "Metadata": {"Name": name, "Type": "switch"}}),
            _ => json!({
                "ID": name, "Metadata": {"RelationType": "layer2"},
                "Parent": self.random.of(&nodes), "Child": self.random.of(&nodes),
            }),
        };
        let key = (kind, name);
        self.ledger.open = Some(vec![(key.clone(), Some(body.clone()))]);
        let (status, answer) = line.send("POST", kind, &body)?;
        assert_eq!(status, 201, "{key:?}: {answer}");
        self.done(vec![(key, Some(serde_json::from_str(&answer).unwrap()))]);
        Ok(())
    }

    fn change(&mut self, line: &Line) -> Result<(), Gone> {
        let Some((key, before)) = self.any(&["alert", "workflow", "node"]) else { return Ok(()) };
        self.made += 1;
        let (path, mut after) = match key.0 {
            "node" => ("/Metadata/Rack", json!({"ID": key.1, "Metadata": before["Metadata"]})),
            _ => ("/Description", before.clone()),
        };
        let value = self.made.to_string();
        match key.0 {
            "node" => after["Metadata"]["Rack"] = json!(value),
            _ => after["Description"] = json!(value),
        }
        self.ledger.open = Some(vec![(key.clone(), Some(after))]);
        let patch = json!([{"op": "add", "path": path, "value": value}]);
        let (status, answer) = line.send("PATCH", &path_of(&key, &before), &patch)?;
        assert_eq!(status, 200, "{key:?}: {answer}");
        self.done(vec![(key, Some(serde_json::from_str(&answer).unwrap()))]);
        Ok(())
    }

    /// Deletes something; of a node, the edges go with it.
    fn delete(&mut self, line: &Line) -> Result<(), Gone> {
        let Some((key, before)) = self.any(&KINDS) else { return Ok(()) };
        let mut gone: Asked = vec![(key.clone(), None)];
        if key.0 == "node" {
            let at = |edge: &Value| [&edge["Parent"], &edge["Child"]].contains(&&before["ID"]);
            let edges = self.ledger.kept.iter().filter(|((kind, _), _)| *kind == "edge");
            gone.extend(edges.filter(|(_, edge)| at(edge)).map(|(key, _)| (key.clone(), None)));
        }
        self.ledger.open = Some(gone.clone());
        let (status, answer) = line.send("DELETE", &path_of(&key, &before), &Value::Null)?;
        assert_eq!(status, 200, "{key:?}: {answer}");
        self.done(gone);
        Ok(())
    }

    fn done(&mut self, asked: Asked) {
        self.ledger.open = None;
        self.ledger.close(asked);
    }

    /// Any resource of these kinds.
    fn any(&mut self, kinds: &[&str]) -> Option<(Key, Value)> {
        let all: Vec<_> =
            self.ledger.kept.iter().filter(|((kind, _), _)| kinds.contains(kind)).collect();
        let (key, value) = (!all.is_empty()).then(|| *self.random.of(&all))?;
        Some((key.clone(), value.clone()))
    }

    fn names(&self, wanted: &str) -> Vec<String> {
        let kept = self.ledger.kept.keys().filter(|(kind, _)| *kind == wanted);
        kept.map(|(_, name)| name.clone()).collect()
    }
}

fn path_of((kind, _): &Key, resource: &Value) -> String {
    let id = resource["UUID"].as_str().unwrap_or_else(|| name(kind, resource));
    format!("{kind}/{id}")
}

/// A connection to the daemon.
struct Line {
    agent: ureq::Agent,
    address: SocketAddr,
}

impl Line {
    fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)));
        Self { agent: config.build().into(), address }
    }

    /// Status and body of the answer.
    fn send(&self, method: &str, path: &str, body: &Value) -> Result<(u16, String), Gone> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}/api/{path}", self.address))
            .header("Content-Type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut answer = self.agent.run(request.body(body).unwrap()).map_err(|_| Gone)?;
        let text = answer.body_mut().read_to_string().map_err(|_| Gone)?;
        Ok((answer.status().as_u16(), text))
    }
}
