//! Places: how many requests of one class may be under way at once.
//!
//! Invariant: all classes together have fewer places than the listener has connections. So there is always room for
//! probes, which need no place.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::routes::refusal;

/// How long a request waits until it is served.
const PATIENCE: Duration = Duration::from_secs(10);

/// The places of one class of requests. A request that ends, or whose client leaves, frees its place. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// For requests that are served or wait. One more is refused.
    admitted: Arc<Semaphore>,
    /// For requests that are served. One more waits.
    served: Arc<Semaphore>,
}

impl Places {
    /// Admits at most `admitted` requests and serves at most `served` of them at once.
    pub(super) fn new(admitted: usize, served: usize) -> Self {
        Self { admitted: Arc::new(Semaphore::new(admitted)), served: Arc::new(Semaphore::new(served)) }
    }
}

/// Serves a request if its class has a place for it.
pub(super) async fn take(State(places): State<Places>, request: Request, next: Next) -> Response {
    let Ok(_admitted) = places.admitted.try_acquire() else {
        return busy("the server is busy: too many requests of this kind are under way; send it again later");
    };
    let Ok(served) = timeout(PATIENCE, places.served.acquire()).await else {
        return busy("the server is busy: the request waited for 10 seconds behind others; send it again later");
    };
    let _served = served.expect("the semaphore is never closed");
    next.run(request).await
}

fn busy(error: &str) -> Response {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, error);
    come_again(&mut response);
    response
}

/// Lets a response say that its request may be sent again in a second.
pub(super) fn come_again(response: &mut Response) {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
}
