//! Connections of the admin listener: always accepted, bounded in number and time, and ended with the process.
//!
//! The listener has a thread of its own, so that nothing else of the program can delay probes. Anybody who reaches the
//! port can open connections. So the listener never waits for one to end: if too many are open, or descriptors run out,
//! it closes the connection that has been idle longest.

use std::io;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::connections::{Connections, Idle};
use super::patience::Patient;
use super::{AdminParts, routes};
use crate::observe::Throttle;
use crate::runtime::{admin_connections, descriptor_limit, is_shortage};

/// How long a request's head may take, and how long a connection may idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long a peer may take to read the next byte of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// How long a connection has for its first words at least, before it may be closed to make room for another.
const FIRST_WORDS: Duration = Duration::from_millis(200);
/// How much earlier than its turn a connection may be closed, because timers are coarse.
const EARLY: Duration = Duration::from_millis(5);
/// How long to leave the system alone after it could not accept a connection.
const NO_ROOM: Duration = Duration::from_millis(10);
/// How often the same trouble is logged at most.
const LOGGED: Duration = Duration::from_secs(10);

/// Answers until the process ends, on a thread of its own.
pub fn start(listener: std::net::TcpListener, parts: AdminParts) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    listener.set_nonblocking(true)?;
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let most = admin_connections(descriptor_limit());
    let router = routes::router(parts, most);
    let serve = move || runtime.block_on(serve(listener, router, most));
    std::thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
    Ok(())
}

async fn serve(listener: TcpListener, router: axum::Router, most: usize) {
    let mut connections = Connections::new();
    let mut pace = Pace { next: Instant::now() };
    let (full, failed) = (Throttle::new(LOGGED), Throttle::new(LOGGED));
    loop {
        let is_full = connections.count() >= most;
        let accepted = async {
            if is_full {
                sleep_until(pace.next).await;
            }
            listener.accept().await
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((stream, _)) => {
                    if is_full {
                        pace.closes_one_of(connections.count());
                        connections.close_most_idle();
                        if let Some(held_back) = full.admit() {
                            let message = "many connections are open: the one that was idle longest is closed";
                            tracing::warn!(listener = "admin", connections = most, held_back, message);
                        }
                    }
                    connections.add(|idle| connection(stream, router.clone(), idle));
                }
                Err(error) => {
                    if let Some(held_back) = failed.admit() {
                        tracing::warn!(%error, listener = "admin", held_back, "cannot accept a connection");
                    }
                    if is_shortage(&error) && connections.count() > 0 {
                        free_descriptor(&mut connections, &mut pace).await;
                    } else {
                        sleep(NO_ROOM).await;
                    }
                }
            },
            () = connections.ended() => {}
        }
    }
}

/// Waits until a connection ends, or closes the one that has been idle longest.
async fn free_descriptor(connections: &mut Connections, pace: &mut Pace) {
    if timeout_at(pace.next.max(Instant::now() + NO_ROOM), connections.ended()).await.is_err() {
        pace.closes_one_of(connections.count());
        if connections.close_most_idle() {
            connections.ended().await;
        }
    }
}

/// Spaces out the connections that are closed to make room, so that each newcomer has some time before its turn comes.
struct Pace {
    /// When the next one may be closed.
    next: Instant,
}

impl Pace {
    /// One of so many is closed now.
    fn closes_one_of(&mut self, open: usize) {
        let now = Instant::now();
        let each = FIRST_WORDS / u32::try_from(open.max(1)).unwrap_or(u32::MAX);
        self.next = self.next.max(now.checked_sub(EARLY).unwrap_or(now)) + each;
    }
}

async fn connection<S>(stream: S, router: axum::Router, idle: Idle)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let busy = idle.busy();
        let response = router.call(request);
        async move {
            let response = response.await;
            drop(busy);
            response
        }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, ANSWER)), service)
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, listener = "admin", "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_who_never_reads_an_answer_does_not_keep_the_connection() {
        let (near, mut far) = tokio::io::duplex(1024);
        let router = axum::Router::new().route("/", get(async || "x".repeat(1 << 20)));
        let mut connections = Connections::new();
        far.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let begun = Instant::now();
        connections.add(|idle| connection(near, router, idle));
        connections.ended().await;
        assert_eq!((begun.elapsed(), connections.count()), (ANSWER, 0));
    }
}
