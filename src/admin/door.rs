//! Who may use the admin listener.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::routes::refusal;
use crate::listen::is_loopback;

/// The paths of probes, open to all.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Lets a request through that may pass.
pub(super) async fn check(
    State(key): State<watch::Receiver<Option<Arc<SecretString>>>>,
    request: Request,
    next: Next,
) -> Response {
    let key = key.borrow().clone();
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match key {
        Some(key) if !bears(request.headers(), &key) => {
            let mut response = refusal(StatusCode::UNAUTHORIZED, "this needs the header `Authorization: Bearer KEY`");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        None if is_foreign(request.headers()) => {
            refusal(StatusCode::FORBIDDEN, "without `admin.key`, requests from web pages of other origins are refused")
        }
        _ => next.run(request).await,
    }
}

fn bears(headers: &HeaderMap, key: &SecretString) -> bool {
    let Some(value) = headers.get(AUTHORIZATION) else { return false };
    let value = value.as_bytes();
    let Some((scheme, token)) = value.split_at_checked(b"bearer ".len()) else { return false };
    // The time this takes says how long the key is, and nothing of what it is.
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(token.ct_eq(key.expose_secret().as_bytes()))
}

/// Whether a page of another site sent this. Browsers name the origin of the page that sends, where that is another than
/// what it asks; and always the host that it asks by. Without a key the listener is this machine's alone, so that a
/// host of another name is one that was made to lead here.
fn is_foreign(headers: &HeaderMap) -> bool {
    let own = headers.get(HOST);
    if own.is_some_and(|host| !host.to_str().is_ok_and(is_loopback)) {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    origin.as_bytes().strip_prefix(b"http://") != own.map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_key_is_borne_as_a_bearer_token_and_whole() {
        let key = SecretString::from("s3cret");
        for (value, expected) in [
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Bearer s3cre", false),
            ("Bearer s3crets", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic s3cret", false),
            ("s3cret", false),
        ] {
            assert_eq!(bears(&headers(&[(AUTHORIZATION, value)]), &key), expected, "{value}");
        }
        assert!(!bears(&HeaderMap::new(), &key));
    }

    #[test]
    fn pages_of_other_origins_are_foreign() {
        let host = (HOST, "127.0.0.1:9090");
        for (origin, expected) in [
            (None, false),
            (Some("http://127.0.0.1:9090"), false),
            (Some("http://127.0.0.1:8080"), true),
            (Some("https://evil.example"), true),
            (Some("null"), true),
        ] {
            let pairs: Vec<_> = origin.map(|origin| (ORIGIN, origin)).into_iter().chain([host.clone()]).collect();
            assert_eq!(is_foreign(&headers(&pairs)), expected, "{origin:?}");
        }
        let rebound = [(HOST, "evil.example:9090"), (ORIGIN, "http://evil.example:9090")];
        assert!(is_foreign(&headers(&rebound)) && is_foreign(&headers(&rebound[..1])));
    }
}
