//! Connections of the admin listener: accepted, bounded in number and time, and ended with the process.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::{AdminParts, routes};

/// Connections at most. One more waits in the system's queue until one ends.
const CONNECTIONS: usize = 256;
/// How long a request's head may take, and how long a connection may idle.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// How long requests under way are waited for at the end.
const GRACE: Duration = Duration::from_secs(2);
/// After a failed accept, the system has no room: how long to leave it alone.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Answers until `shutdown` ends; then lets requests under way finish, for 2 seconds at most.
pub async fn serve(listener: TcpListener, parts: AdminParts, shutdown: impl Future<Output = ()>) {
    let router = routes::router(parts);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let (leave, leaving) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    connections.spawn(connection(stream, router.clone(), leaving.clone(), permit));
                }
                Err(error) => {
                    tracing::warn!(%error, listener = "admin", "cannot accept a connection");
                    tokio::time::sleep(NO_ROOM).await;
                }
            },
            Some(ended) = connections.join_next() => log_panic(ended),
        }
    }
    drop(listener);
    // Every connection holds a receiver, and where there is none nobody needs to know.
    leave.send(true).ok();
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    // What is still under way then is dropped with the set.
    tokio::time::timeout(GRACE, all_ended).await.ok();
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(
    stream: TcpStream,
    router: axum::Router,
    mut leaving: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // It changes once, and a sender that is gone means the same.
        _ = leaving.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, listener = "admin", "connection ended");
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, listener = "admin", "a connection's task failed");
    }
}
