//! Probes are answered while everything else that the admin listener serves is slow, stuck or missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::http;
use crate::support::process::DEADLINE;
use crate::support::server::Server;

const CONFIG: &str = "
shards: 1
event: { payload: data, tenant: tenant }
auth: { providers: [{ tokens: { ann: { user: 1, tenant: acme } } }] }
routes: [{ name: all, to: { tenant: true } }]
";

/// Lets this process have as many descriptors as it may.
fn raise_own_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Waits for a fact that nothing tells of but asking again.
async fn comes(what: &str, holds: impl AsyncFn() -> bool) {
    let asking = async {
        let mut ticks = interval(Duration::from_millis(5));
        while !holds().await {
            ticks.tick().await;
        }
    };
    assert!(timeout(DEADLINE, asking).await.is_ok(), "never came: {what}");
}

/// Every probe gets its answer, each on a connection of its own.
async fn check_probes(server: &Server, meanwhile: &str) {
    for _ in 0..5 {
        for path in ["/healthz", "/readyz"] {
            let answer = server.get(path).await;
            assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ok" })), "{path} while {meanwhile}");
        }
    }
}

/// Clients that connect to the admin listener, say `head`, and wait. If one is closed, it comes again.
struct Crowd {
    clients: JoinSet<()>,
    /// How often any of them has connected.
    connects: Arc<AtomicUsize>,
}

impl Crowd {
    fn new(server: &Server, count: usize, head: &'static str) -> Self {
        let (admin, connects) = (server.admin, Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..count {
            let connects = Arc::clone(&connects);
            clients.spawn(async move {
                loop {
                    let mut socket = TcpStream::connect(admin).await.unwrap();
                    connects.fetch_add(1, Ordering::Relaxed);
                    // It may be closed while it speaks.
                    socket.write_all(head.as_bytes()).await.ok();
                    socket.read_to_end(&mut Vec::new()).await.ok();
                }
            });
        }
        Self { clients, connects }
    }

    /// Waits until the clients have connected so often, all together.
    async fn connected(&self, times: usize) {
        let now = || self.connects.load(Ordering::Relaxed);
        eventually(&format!("{times} connects"), || now() >= times, || now().to_string()).await;
    }

    async fn leaves(mut self) {
        self.clients.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_while_1200_connections_are_idle_or_slow() {
    raise_own_limit();
    let server = Server::start(CONFIG).await;
    let before = server.descriptors();
    for head in ["", "GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        let crowd = Crowd::new(&server, 1200, head);
        // More than the listener keeps, so that it has closed some.
        crowd.connected(1500).await;
        check_probes(&server, "1,200 connections say nothing or half a head").await;
        assert_eq!(server.get("/metrics").await.status, 200);
        server.publish(json!({ "tenant": "acme", "data": {} })).await;
        crowd.leaves().await;
    }
    let now = || server.descriptors();
    eventually("no descriptor is left behind", || now() <= before, || now().to_string()).await;
    let closed = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.starts_with("many conn"));
    assert!((1..=4).contains(&server.log().iter().filter(|line| closed(line)).count()), "the log is throttled");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_while_descriptors_run_out() {
    let server = Server::start(CONFIG).await;
    let limit = server.descriptors() as u64 + 20;
    server.limit_descriptors(limit);
    let crowd = Crowd::new(&server, 100, "");
    crowd.connected(200).await;
    check_probes(&server, "no descriptor is left").await;
    assert_eq!(server.get("/metrics").await.status, 200);
    crowd.leaves().await;
    let failed = |line: &serde_json::Value| line["message"] == "cannot accept a connection";
    assert!((1..=3).contains(&server.log().iter().filter(|line| failed(line)).count()), "the log is throttled");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_while_400_publishes_wait_for_a_full_lane() {
    raise_own_limit();
    let server = Server::start(CONFIG).await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(Client::session(&server, "ann", &[]).await);
    }
    let body = bytes::Bytes::from("{\"tenant\":\"acme\",\"data\":{\"text\":\"for everybody\"}}\n".repeat(5000));
    let mut publishes = JoinSet::new();
    for _ in 0..400 {
        let (admin, body) = (server.admin, body.clone());
        publishes.spawn(async move { http::request(admin, "POST", "/publish", &[], body).await });
    }
    // The lane's inbox is full when it holds 4,096 events.
    let is_full = async || {
        let metrics = server.get("/metrics").await.body;
        let waiting = metrics.lines().filter_map(|line| line.strip_prefix("pointsman_lane_inbox{")?.rsplit(' ').next());
        waiting.filter_map(|number| number.parse::<f64>().ok()).any(|number| number >= 4000.0)
    };
    comes("a full lane", is_full).await;
    check_probes(&server, "publishes wait").await;
    let mut answered = 0;
    while let Some(answer) = publishes.try_join_next() {
        assert!([202, 503].contains(&answer.unwrap().status));
        answered += 1;
    }
    assert!(answered < 200, "{answered} publishes did not wait: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_whose_bodies_do_not_come_leave_places_for_others_and_free_theirs() {
    raise_own_limit();
    let server = Server::start(CONFIG).await;
    let head = format!("POST /publish HTTP/1.1\r\nhost: {}\r\ncontent-length: 100\r\n\r\n", server.admin);
    // Half of the listener's 1,024 connections may be publishes. One more is refused.
    let mut sockets = Vec::new();
    for _ in 0..600 {
        let mut socket = TcpStream::connect(server.admin).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    let count_refused = async {
        let (mut refused, mut ticks) = (0, interval(Duration::from_millis(5)));
        while refused < 88 {
            ticks.tick().await;
            sockets.retain(|socket| {
                let mut answer = [0; 12];
                let is_refused = socket.try_read(&mut answer).is_ok();
                assert!(!is_refused || answer == *b"HTTP/1.1 503", "{answer:?}");
                refused += i32::from(is_refused);
                !is_refused
            });
        }
    };
    timeout(DEADLINE, count_refused).await.expect("88 are refused");
    check_probes(&server, "bodies do not come").await;
    assert_eq!(server.get("/metrics").await.status, 200, "other requests have places of their own");
    let event = json!({ "tenant": "acme", "data": {} }).to_string();
    let answer = server.post("/publish", event.clone()).await;
    assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &"1".parse().unwrap()), "{}", answer.body);
    assert!(answer.json()["error"].as_str().unwrap().starts_with("the server is busy"), "{}", answer.body);
    drop(sockets);
    comes("a place", async || server.post("/publish", event.clone()).await.status == 202).await;
}
