//! Gives each request an ID, which stands in its log lines and in its answer.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

/// Lets the request pass in a span of its own. The query may carry a token: it is not in it.
pub(super) async fn identified(request: Request, next: Next) -> Response {
    let id = id(request.headers());
    let path: String = request.uri().path().chars().take(PATH).collect();
    // As long as errors are logged, they are logged with the ID.
    let span = tracing::error_span!("request", id, method = %request.method(), path);
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    span.in_scope(|| tracing::debug!(status, ?took, "answered"));
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The client's own ID, if it fits; else a new one.
fn id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let fits = |id: &&str| {
        (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(fits).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of an ID at most.
const LONGEST: usize = 128;

/// Characters of a path that are logged at most.
const PATH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_client_is_taken_if_it_fits() {
        let of = |given: &[u8]| {
            let value = HeaderValue::from_bytes(given).unwrap();
            id(&HeaderMap::from_iter([(REQUEST_ID, value)]))
        };
        let longest = [b'x'; LONGEST];
        for given in [&b"a"[..], b"4711-a.b/c", b"\"{}", &longest] {
            assert_eq!(of(given).as_bytes(), given);
        }
        for given in [&b""[..], b"a b", b"a\tb", b"\xc3\xbc", &[b'x'; LONGEST + 1]] {
            assert!(Uuid::parse_str(&of(given)).is_ok(), "{given:?}");
        }
        assert_ne!(id(&HeaderMap::new()), id(&HeaderMap::new()));
    }
}
