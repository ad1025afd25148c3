//! What the admin listener answers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::places::{self, Places};
use super::{AdminParts, door, reloads};
use crate::source::publish;

/// Publishes that are served at once. Each of them holds its body and, decoded, the events of it.
const PUBLISHES: usize = 128;
/// How long a body may take to come in.
const BODY: Duration = Duration::from_secs(30);
/// What Prometheus calls the format that the metrics are rendered in.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes of a listener that has so many connections at most.
pub(super) fn router(parts: AdminParts, connections: usize) -> Router {
    let key = parts.key.clone();
    // Probes have the rest of the connections.
    let publishes = (connections / 2).max(1);
    let publishes = Places::new(publishes, publishes.min(PUBLISHES));
    let others = (connections / 4).max(1);
    let others = Places::new(others, others);
    let published = Router::new()
        .route("/publish", post(publish))
        .route_layer(middleware::from_fn_with_state(publishes, places::take));
    let asked = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/rulebook", get(reloads::rulebook))
        .route("/api/reloads", get(reloads::reloads))
        .route("/api/reload", post(reloads::reload))
        .route("/api/rollback", post(reloads::rollback))
        .route_layer(middleware::from_fn_with_state(others, places::take));
    Router::new()
        .route("/healthz", get(async || answer(StatusCode::OK, json!({ "status": "ok" }).to_string())))
        .route("/readyz", get(readyz))
        .merge(published)
        .merge(asked)
        .fallback(async || refusal(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || refusal(StatusCode::METHOD_NOT_ALLOWED, "not by this method"))
        .with_state(Arc::new(parts))
        .layer(middleware::from_fn_with_state(key, door::check))
}

/// A JSON answer that says what is wrong.
pub(super) fn refusal(status: StatusCode, error: &str) -> Response {
    answer(status, json!({ "status": "error", "error": error }).to_string())
}

pub(super) fn answer(status: StatusCode, body: impl Into<Body>) -> Response {
    content(status, "application/json", body.into())
}

fn content(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn readyz(State(parts): State<Arc<AdminParts>>) -> Response {
    let reasons = parts.readiness.reasons();
    if reasons.is_empty() {
        return answer(StatusCode::OK, json!({ "status": "ok" }).to_string());
    }
    let body = json!({ "status": "unavailable", "reasons": reasons });
    answer(StatusCode::SERVICE_UNAVAILABLE, body.to_string())
}

async fn metrics(State(parts): State<Arc<AdminParts>>) -> Response {
    content(StatusCode::OK, METRICS_TYPE, parts.metrics.render().into())
}

async fn publish(State(parts): State<Arc<AdminParts>>, request: Request) -> Response {
    let mut response = match read(request, parts.intake.largest_event().max(publish::MAX_BYTES)).await {
        Ok(body) => {
            let (status, body) = publish::answer(&parts.intake, body).await;
            answer(status, body)
        }
        Err(refused) => refused,
    };
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        places::come_again(&mut response);
    }
    if parts.readiness.is_draining() {
        // Whoever goes on publishing comes by a new connection, and so to a process that stays.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn read(request: Request, most: usize) -> Result<Bytes, Response> {
    let body = tokio::time::timeout(BODY, to_bytes(request.into_body(), most)).await;
    let body = body.map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in within 30 seconds"))?;
    body.map_err(|error| {
        let cause = std::error::Error::source(&error);
        let too_large = cause.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if too_large {
            let error = "a body is at most 16 MiB, or what `limits.event` allows if that is more; \
                         send the events in several";
            refusal(StatusCode::PAYLOAD_TOO_LARGE, error)
        } else {
            refusal(StatusCode::BAD_REQUEST, "the body broke off")
        }
    })
}
