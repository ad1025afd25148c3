//! Connections of the admin listener: accepted, bounded in number and time, and ended with the process.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::patience::Patient;
use super::{AdminParts, routes};

/// Connections at most. One more waits in the system's queue until one ends.
const CONNECTIONS: usize = 256;
/// How long a request's head may take, and how long a connection may idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long a peer may take to read the next byte of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// After a failed accept, the system has no room: how long to leave it alone.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Answers for as long as it is polled: until the process ends.
pub async fn serve(listener: TcpListener, parts: AdminParts) {
    let router = routes::router(parts);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    connections.spawn(connection(stream, router.clone(), permit));
                }
                Err(error) => {
                    tracing::warn!(%error, listener = "admin", "cannot accept a connection");
                    tokio::time::sleep(NO_ROOM).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, listener = "admin", "a connection's task failed");
                }
            }
        }
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection<S>(stream: S, router: axum::Router, _permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Patient::new(stream, ANSWER);
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, listener = "admin", "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_who_never_reads_an_answer_does_not_keep_the_connection() {
        let (near, mut far) = tokio::io::duplex(1024);
        let router = axum::Router::new().route("/", get(async || "x".repeat(1 << 20)));
        let room = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&room).acquire_owned().await.unwrap();
        far.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let begun = Instant::now();
        connection(near, router, permit).await;
        assert_eq!((begun.elapsed(), room.available_permits()), (ANSWER, 1));
    }
}
