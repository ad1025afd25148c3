//! Leaving: clients are told, spread over time, and get what is theirs until then.

use std::time::Duration;

use std::io::ErrorKind;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::process::{Process, Stream};
use crate::support::server::{POINTSMAN, Server};

/// One shard, so that there is one order in which clients are told.
fn config(drain: &str) -> String {
    format!(
        "
shards: 1
drain: {drain}
event: {{ payload: data, tenant: tenant }}
auth: {{ providers: [{{ tokens: {{ ann: {{ user: 1, tenant: acme }} }} }}] }}
routes: [{{ name: all, to: {{ tenant: true }} }}]
"
    )
}

fn event(data: u32) -> Value {
    json!({ "tenant": "acme", "data": data })
}

/// Waits until `/readyz` says that the server is leaving.
async fn is_leaving(server: &Server) {
    server.wait_for_log("that it is leaving", |line| line["message"] == "leaving: clients are told to come back").await;
    loop {
        let answer = server.get("/readyz").await;
        if answer.status == 503 {
            assert_eq!(answer.json(), json!({ "status": "unavailable", "reasons": ["draining"] }));
            return;
        }
    }
}

/// A client's time of being told, and when it is to come back. Events before that are passed over.
async fn ends(mut client: Client) -> (Instant, u64) {
    let told = loop {
        let message = client.next().await;
        if message["type"] == "system" {
            break message;
        }
    };
    let time = Instant::now();
    assert_eq!((&told["message"], &told["connected"]), (&json!("server restarting"), &json!(false)));
    assert_eq!(client.closed().await, Some(1012));
    (time, told["reconnect_in_ms"].as_u64().expect("a number"))
}

/// Five clients: the first is told at once, the last after four fifths of the time for telling.
async fn check_leaves(signal: Signal, name: &str) {
    let server = Server::start(&config("1500ms")).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::session(&server, "ann", &[]).await);
    }
    let guest = Client::connect(&server).await;
    for data in 0..100 {
        server.publish(event(data)).await;
    }
    server.signal(signal);
    is_leaving(&server).await;
    // What was on its way when the signal came is delivered first.
    for client in &mut clients {
        for data in 0..100 {
            assert_eq!(client.next_event().await, data);
        }
    }
    let mut last = clients.pop().unwrap();
    let mut clients = clients.into_iter();
    let mut ended = vec![ends(clients.next().unwrap()).await];
    let refused = TcpStream::connect(server.clients).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.publish(event(100)).await;
    assert_eq!(last.next_event().await, 100);
    for client in clients.chain([last, guest]) {
        ended.push(ends(client).await);
    }
    assert_eq!(server.exit_code().await, Some(0));

    let (times, come_back): (Vec<Instant>, Vec<u64>) = ended.into_iter().unzip();
    // 1.2 s are for telling, and each has its share of it.
    let gaps: Vec<u128> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(gaps.iter().sum::<u128>() >= 800 && gaps.iter().all(|gap| *gap >= 50), "{gaps:?}");
    assert!(come_back.iter().all(|milliseconds| (500..3000).contains(milliseconds)), "{come_back:?}");
    assert!(come_back.iter().any(|milliseconds| *milliseconds != come_back[0]), "{come_back:?}");
    assert!(server.log().iter().any(|line| line["signal"] == name), "{:?}", server.log());
    assert_eq!(server.log().last().unwrap()["message"], "left");
}

#[tokio::test]
async fn asked_to_leave_it_tells_clients_one_after_the_other() {
    tokio::join!(check_leaves(Signal::TERM, "SIGTERM"), check_leaves(Signal::INT, "SIGINT"));
}

#[tokio::test]
async fn nobody_is_waited_for_where_nobody_is() {
    let server = Server::start(&config("1h")).await;
    assert_eq!(server.terminate().await, Some(0));
    // Nor for those who have only knocked, or have left already.
    let server = Server::start(&config("1h")).await;
    Client::session(&server, "ann", &[]).await.leave().await;
    let knocking = TcpStream::connect(server.clients).await.unwrap();
    server.wait_for_metric("pointsman_sessions", 0).await;
    server.wait_for_metric("pointsman_connections", 1).await;
    assert_eq!(server.terminate().await, Some(0));
    drop(knocking);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (first, second, code) in
        [(Signal::TERM, Signal::TERM, 143), (Signal::INT, Signal::INT, 130), (Signal::TERM, Signal::INT, 130)]
    {
        let server = Server::start(&config("1h")).await;
        let (mut one, mut two) =
            (Client::session(&server, "ann", &[]).await, Client::session(&server, "ann", &[]).await);
        server.signal(first);
        // The same word said twice, as to a process and to its group, is one.
        server.signal(first);
        is_leaving(&server).await;
        let exit = tokio::time::timeout(Duration::from_millis(200), server.exit_code()).await;
        assert!(exit.is_err(), "it has an hour to leave");
        server.signal(second);
        assert_eq!(server.exit_code().await, Some(code), "{first:?}, {second:?}");
        assert_eq!((one.closed().await, two.closed().await), (None, None));
    }
}

#[tokio::test]
async fn listen_says_why_it_ended() {
    let server = Server::start(&config("100ms")).await;
    let mut command = Command::new(POINTSMAN);
    command.args(["listen", "--token", "ann", "--server", &format!("ws://{}/", server.clients)]);
    let listen = Process::start("listen", &mut command, Stream::Stderr);
    server.wait_for_metric("pointsman_sessions", 1).await;
    server.signal(Signal::TERM);
    assert_eq!(listen.ended().await.code(), Some(3));
    insta::assert_snapshot!(listen.lines().join("\n"), @"pointsman: closed: the server restarts; connect again in a moment (1012, `server restarting`)");
    assert_eq!(server.exit_code().await, Some(0));
}
