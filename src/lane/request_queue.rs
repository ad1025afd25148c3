//! One tenant's requests to subscribe that are not judged yet, because enough of its topics already wait for queries.
//!
//! The queue lets every client of a tenant come back at once: no request is refused while the database works through
//! earlier ones. The queue is bounded in bytes and in time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::Topic;
use crate::shard::AuthorizeRequest;

/// Bytes of queued requests of one tenant, in one lane. When the queue is full, the topics of a further request are
/// `unavailable`.
pub const REQUESTS_TENANT_BYTES: usize = 16 << 20;
/// How long a request stands in the queue. Then its topics are `unavailable`: its client asks again, or has gone.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Requests in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct RequestQueue {
    requests: VecDeque<(Instant, AuthorizeRequest)>,
    bytes: usize,
}

impl RequestQueue {
    /// Appends a request and returns its size in bytes. A full queue gives the request back.
    pub(super) fn push(&mut self, request: AuthorizeRequest, now: Instant) -> Result<usize, AuthorizeRequest> {
        let size = size_of_request(&request);
        if self.bytes + size > REQUESTS_TENANT_BYTES {
            return Err(request);
        }
        self.bytes += size;
        self.requests.push_back((now, request));
        Ok(size)
    }

    /// Takes the oldest request, and returns its size in bytes with it.
    pub(super) fn pop(&mut self) -> Option<(AuthorizeRequest, usize)> {
        let (_, request) = self.requests.pop_front()?;
        let size = size_of_request(&request);
        self.bytes -= size;
        Some((request, size))
    }

    /// As [`pop`](Self::pop), if the oldest request has stood here for [`REQUEST_TIME`].
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(AuthorizeRequest, usize)> {
        let (since, _) = self.requests.front()?;
        if now.saturating_duration_since(*since) < REQUEST_TIME { None } else { self.pop() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// The bytes that a request holds. Its attributes count too, because it may outlive its session.
fn size_of_request(request: &AuthorizeRequest) -> usize {
    let topics = request.topics.iter().map(|topic| size_of::<Topic>() + topic.as_str().len());
    size_of::<AuthorizeRequest>() + request.attributes.size() + topics.sum::<usize>()
}
