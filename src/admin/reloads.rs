//! The rulebook in force, and having another one come into force.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::json;

use super::AdminParts;
use super::routes::{answer, refusal};
use crate::reload::{Outcome, Trigger};

/// What is in force.
pub(super) async fn rulebook(State(parts): State<Arc<AdminParts>>) -> Response {
    answer(StatusCode::OK, parts.reloader.in_force().to_json(&parts.metrics).to_string())
}

/// The last attempts, the newest first.
pub(super) async fn reloads(State(parts): State<Arc<AdminParts>>) -> Response {
    answer(StatusCode::OK, parts.reloader.history().to_json())
}

/// Takes up the files, and answers when they are in force, or why they are not.
pub(super) async fn reload(State(parts): State<Arc<AdminParts>>) -> Response {
    attempt(&parts, Trigger::Api).await
}

/// Brings back the generation before.
pub(super) async fn rollback(State(parts): State<Arc<AdminParts>>) -> Response {
    attempt(&parts, Trigger::Rollback).await
}

async fn attempt(parts: &AdminParts, trigger: Trigger) -> Response {
    let Some(attempt) = parts.reloader.attempt(trigger).await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "the process is ending");
    };
    let (status, word) = match &attempt.outcome {
        Outcome::Applied(_) | Outcome::Unchanged => (StatusCode::OK, "ok"),
        Outcome::Refused(refusal) if refusal.is_about_the_files() => (StatusCode::UNPROCESSABLE_ENTITY, "error"),
        Outcome::Refused(_) => (StatusCode::CONFLICT, "error"),
    };
    let mut value = attempt.to_json();
    value["status"] = json!(word);
    answer(status, value.to_string())
}
