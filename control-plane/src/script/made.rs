//! What a script created, so that nothing of it is left when the script fails.

use serde_json::Value;

use super::Host;
use super::message::{Reply, Request};

/// Paths of what a script created and did not delete.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<String>);

impl Made {
    /// Notes what an answer says of it.
    pub(super) fn note(&mut self, request: &Request, reply: &Reply) {
        match (request.method.as_str(), reply.status) {
            ("POST", 201) => {
                let created: Option<Value> = serde_json::from_str(&reply.body).ok();
                let id = created.as_ref().and_then(|created| {
                    created.get("UUID").or_else(|| created.get("ID")).and_then(Value::as_str)
                });
                if let Some(id) = id {
                    self.0.push(format!("{}/{}", bare(&request.path), encoded(id)));
                }
            }
            ("DELETE", 200) => self.0.retain(|path| path != bare(&request.path)),
            _ => {}
        }
    }

    /// Deletes it, the last first.
    pub(super) async fn undo(self, host: &impl Host) {
        for path in self.0.into_iter().rev() {
            let request = Request { method: "DELETE".into(), path, body: String::new() };
            let reply = host.answer(request.clone()).await;
            if !matches!(reply.status, 200 | 404) {
                tracing::warn!(path = request.path, why = reply.body, "a failed script left it");
            }
        }
    }
}

/// A path without its query, which may hold a token, and without slashes at its end.
fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or_default().trim_end_matches('/')
}

/// An ID as it stands in a path: as `encodeURIComponent` writes it, by which scripts delete.
fn encoded(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => text.push(byte.into()),
            _ if b"-_.!~*'()".contains(&byte) => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
