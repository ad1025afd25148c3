//! Servers that Pointsman asks by HTTP: PHP's own, and one whose answers a test decides.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::process::{Process, Stream};

/// PHP's web server. Killed when it is dropped.
#[derive(Debug)]
pub struct Php {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What an endpoint does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// It answers with this status and body, and keeps the connection.
    Answer(u16, &'static str),
    /// It writes this, as it is, and closes.
    Write(&'static str),
    /// It writes this, and then more and more of the same.
    Flood(&'static str),
    /// It answers 200 with this body after this time, and keeps the connection.
    Late(Duration, &'static str),
    /// It never says a word.
    Silence,
}

/// An endpoint whose answers a test decides.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

/// The world's time, in seconds of Unix.
#[expect(clippy::disallowed_methods, reason = "what expires does so by the world's clock")]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Php {
    /// An address where nothing listens yet.
    pub fn somewhere() -> SocketAddr {
        StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// Starts it with these arguments after the address, and these variables, and waits until it listens.
    pub async fn start(address: SocketAddr, arguments: &[&Path], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("php");
        // Its workers are processes too: signals go to all of them.
        command.process_group(0);
        command.arg("-S").arg(address.to_string()).args(arguments).envs(environment.iter().copied());
        let process = Process::start("php", &mut command, Stream::Stderr);
        let started = |lines: &[String]| lines.iter().any(|line| line.contains("started")).then_some(());
        process.wait_for("that it has started", started).await;
        Self { process, address }
    }

    /// Sends it and its workers a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.pid()).unwrap();
        kill_process_group(pid, signal).unwrap_or_else(|error| panic!("cannot signal PHP: {error}"));
    }

    /// Waits for its end.
    pub async fn ended(&self) {
        self.process.ended().await;
    }

    /// How many requests it has answered with this status, by what it has logged so far.
    pub fn answered(&self, status: u16) -> usize {
        count(&self.process.lines(), status)
    }

    /// Waits until it has logged so many answers with this status.
    pub async fn has_answered(&self, status: u16, requests: usize) {
        let enough = |lines: &[String]| (count(lines, status) >= requests).then_some(());
        self.process.wait_for(&format!("that it answered {status} to {requests}"), enough).await;
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        // It may have ended already.
        let pid = Pid::from_raw(self.process.pid()).unwrap();
        kill_process_group(pid, Signal::KILL).ok();
    }
}

impl Endpoint {
    /// Starts one that does what `decide` says for each token.
    pub async fn start(decide: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let decide = Arc::new(decide);
        tokio::spawn({
            let (connections, requests) = (Arc::clone(&connections), Arc::clone(&requests));
            async move {
                while let Ok((socket, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(socket, Arc::clone(&decide), Arc::clone(&requests)));
                }
            }
        });
        Self { address, connections, requests }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/ws-auth", self.address)
    }

    /// Connections that were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Requests that have come.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn count(lines: &[String], status: u16) -> usize {
    let mark = format!("[{status}]");
    lines.iter().filter(|line| line.contains(&mark)).count()
}

async fn serve(mut socket: TcpStream, decide: Arc<impl Fn(&str) -> Act>, requests: Arc<AtomicUsize>) {
    while let Some(body) = request(&mut socket).await {
        requests.fetch_add(1, Ordering::SeqCst);
        let mut act = decide(body["access_token"].as_str().expect("a token"));
        if let Act::Late(after, body) = act {
            // A slow endpoint: it is what is tested, and nothing waits for it in its place.
            tokio::time::timeout(after, std::future::pending::<()>()).await.ok();
            act = Act::Answer(200, body);
        }
        match act {
            Act::Answer(status, body) => {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::Write(bytes) => {
                socket.write_all(bytes.as_bytes()).await.ok();
                return;
            }
            Act::Flood(bytes) => {
                while socket.write_all(bytes.as_bytes()).await.is_ok() {}
                return;
            }
            Act::Late(..) | Act::Silence => std::future::pending().await,
        }
    }
}

/// The body of the next request on a connection, or `None` at its end.
async fn request(socket: &mut TcpStream) -> Option<Value> {
    let mut text = String::new();
    let mut buffer = [0; 8192];
    loop {
        let count = socket.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return Some(body);
        }
    }
}
