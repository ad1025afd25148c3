//! Events at a steady pace by `POST /publish`, from a thread of their own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::broker::Stamps;
use crate::publish::content_length;
use crate::stats::now;

/// How long an event may take until it is accepted.
const STALL: Duration = Duration::from_secs(10);

/// One that publishes until it is told to stop.
#[derive(Debug)]
pub(crate) struct Feed {
    thread: JoinHandle<Outcome<u64>>,
    pace: Pace,
}

/// How far it is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    published: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Feed {
    /// Publishes event 0, 1 and so on, one every so often, and ends at a multiple of `round`.
    ///
    /// An event counts as published when its time has come, whenever it was sent: a server that holds up the publisher
    /// makes all those late that wait for that.
    pub(crate) fn start(
        admin: SocketAddr,
        every: Duration,
        round: u64,
        stamps: Stamps,
        body: impl Fn(u64) -> String + Send + 'static,
    ) -> Outcome<Self> {
        let mut stream = TcpStream::connect(admin)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL))?;
        let pace = Pace::default();
        let own = pace.clone();
        let thread = thread::spawn(move || {
            let mut number = 0;
            let mut due = now();
            while !own.stop.load(Ordering::Acquire) || number % round != 0 {
                wait_until(due);
                stamps.stamp_at(number, stamps.clock() - u64::try_from(due.elapsed().as_nanos())?)?;
                publish(&mut stream, admin, &body(number))?;
                due += every;
                number += 1;
                own.published.store(number, Ordering::Release);
            }
            Ok(number)
        });
        Ok(Self { thread, pace })
    }

    /// How far it is.
    pub(crate) fn pace(&self) -> Pace {
        self.pace.clone()
    }

    /// Whether it has ended, which is a fault where nobody has told it to.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Comes back when it has ended. Answers how many events there were.
    pub(crate) fn join(self) -> Outcome<u64> {
        self.pace.stop();
        self.thread.join().map_err(|_| "the publisher has panicked")?
    }
}

impl Pace {
    /// Has it end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Comes back when an event was published that was not under way at the time of the call.
    pub(crate) fn wait_for_another(&self) -> Outcome<()> {
        let (known, deadline) = (self.published.load(Ordering::Acquire), now() + STALL);
        while self.published.load(Ordering::Acquire) < known + 2 {
            if now() > deadline {
                return Err("nothing is published any more".into());
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn wait_until(due: Instant) {
    while let Some(left) = due.checked_duration_since(now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

fn publish(stream: &mut TcpStream, admin: SocketAddr, body: &str) -> Outcome<()> {
    let length = body.len();
    let request = format!("POST /publish HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err("the server closed the connection that publishes".into());
        }
        reply.extend_from_slice(&buffer[..length]);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = response.parse(&reply)? else { continue };
        if response.code != Some(202) {
            return Err(format!("an event was not accepted: {}", String::from_utf8_lossy(&reply)).into());
        }
        if reply.len() >= end + content_length(response.headers)? {
            return Ok(());
        }
    }
}
