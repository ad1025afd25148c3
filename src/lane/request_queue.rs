//! One tenant's requests to subscribe that are not judged yet, because enough of its topics already wait for queries.
//!
//! The queue lets every client of a tenant come back at once: no request is refused while the database works through
//! those before it. The queue is bounded in bytes.

use std::collections::VecDeque;

use crate::event::Topic;
use crate::shard::AuthorizeRequest;

/// Bytes of queued requests of one tenant, in one lane. When the queue is full, the topics of a further request are
/// `unavailable`.
pub const REQUESTS_TENANT_BYTES: usize = 16 << 20;

/// Requests in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct RequestQueue {
    requests: VecDeque<AuthorizeRequest>,
    bytes: usize,
}

impl RequestQueue {
    /// Appends a request and returns its size in bytes. A full queue gives the request back.
    pub(super) fn push(&mut self, request: AuthorizeRequest) -> Result<usize, AuthorizeRequest> {
        let size = size_of_request(&request);
        if self.bytes + size > REQUESTS_TENANT_BYTES {
            return Err(request);
        }
        self.bytes += size;
        self.requests.push_back(request);
        Ok(size)
    }

    /// Takes the oldest request, and returns its size in bytes with it.
    pub(super) fn pop(&mut self) -> Option<(AuthorizeRequest, usize)> {
        let request = self.requests.pop_front()?;
        let size = size_of_request(&request);
        self.bytes -= size;
        Some((request, size))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// The bytes that a request holds. Its attributes are shared with its session, so they are not counted.
fn size_of_request(request: &AuthorizeRequest) -> usize {
    let topics = request.topics.iter().map(|topic| size_of::<Topic>() + topic.as_str().len());
    size_of::<AuthorizeRequest>() + topics.sum::<usize>()
}
