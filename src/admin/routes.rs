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

use super::{AdminParts, door, reloads};
use crate::source::publish;

/// How long a body may take to come in.
const BODY: Duration = Duration::from_secs(30);
/// What Prometheus calls the format that the metrics are rendered in.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn router(parts: AdminParts) -> Router {
    let key = parts.key.clone();
    Router::new()
        .route("/healthz", get(async || answer(StatusCode::OK, json!({ "status": "ok" }).to_string())))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/publish", post(publish))
        .route("/api/rulebook", get(reloads::rulebook))
        .route("/api/reloads", get(reloads::reloads))
        .route("/api/reload", post(reloads::reload))
        .route("/api/rollback", post(reloads::rollback))
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
    let mut response = match read(request).await {
        Ok(body) => {
            let (status, body) = publish::answer(&parts.intake, body).await;
            answer(status, body)
        }
        Err(refused) => refused,
    };
    if parts.readiness.is_draining() {
        // Whoever goes on publishing comes by a new connection, and so to a process that stays.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn read(request: Request) -> Result<Bytes, Response> {
    let body = tokio::time::timeout(BODY, to_bytes(request.into_body(), publish::MAX_BYTES)).await;
    let body = body.map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in within 30 seconds"))?;
    body.map_err(|error| {
        let cause = std::error::Error::source(&error);
        let too_large = cause.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if too_large {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, "a body is at most 16 MiB; send the events in several")
        } else {
            refusal(StatusCode::BAD_REQUEST, "the body broke off")
        }
    })
}
