//! The life of a program whose broker comes late, goes, and comes again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, timeout};

use crate::broker::{FANOUT, settings};
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::process::DEADLINE;
use crate::support::rabbitmq::Rabbit;
use crate::support::server::Server;

/// Waits for a status of `/readyz`, and answers what it says.
async fn readyz(server: &Server, status: u16) -> String {
    let mut ask = interval(Duration::from_millis(10));
    for _ in 0..3000 {
        ask.tick().await;
        let answer = server.get("/readyz").await;
        if answer.status == status {
            return answer.body;
        }
    }
    panic!("never {status}, but {}", server.get("/readyz").await.body)
}

/// A client that is read all the time, as a browser's is: what does not answer would be taken for dead.
struct Screen {
    events: mpsc::Receiver<Value>,
    pings: watch::Receiver<usize>,
}

impl Screen {
    async fn open(server: &Server) -> Self {
        let mut client = Client::session(server, "ann", &[]).await;
        let (event, events) = mpsc::channel(10);
        let (ping, pings) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let message = client.next().await;
                if message["type"] != "system" {
                    event.send(message["data"].clone()).await.ok();
                } else if message["message"] == "events ping" {
                    ping.send_modify(|count| *count += 1);
                } else {
                    assert_eq!(message["message"], "server restarting");
                    break;
                }
            }
        });
        Self { events, pings }
    }

    /// Waits for two pings: the second of them was sent after this was asked.
    async fn pings_go_on(&mut self) {
        let until = *self.pings.borrow() + 2;
        timeout(DEADLINE, self.pings.wait_for(|count| *count >= until)).await.expect("pings").expect("a connection");
    }

    async fn gets(&mut self, data: &Value) {
        let got = timeout(DEADLINE, self.events.recv()).await.expect("an event").expect("a connection");
        assert_eq!(got, *data);
    }
}

/// Its threads, but for the one that the AMQP client starts once in the life of a process, when it first needs it.
fn threads(server: &Server) -> Vec<String> {
    let mut names = server.threads();
    if let Some(index) = names.iter().position(|name| name == "async-compat/to") {
        names.remove(index);
    }
    names
}

async fn events_flow(url: &str, screens: &mut [Screen], number: u32) {
    let event = json!({ "data": { "tenant": "acme", "n": number } });
    AmqpClient::connect(url).await.publish("events", "", event.to_string()).await;
    for screen in screens {
        screen.gets(&event["data"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_goes_and_comes_again_costs_no_connection() {
    let mut rabbit = Rabbit::absent();
    let url = rabbit.vhost();
    let yaml = settings(&url, FANOUT) + "ping: { every: 1s }\ndrain: 1s\n";
    let server = Server::start(&yaml).await;
    let mut screens = [Screen::open(&server).await, Screen::open(&server).await];

    server.wait_for_log("that there is none", |line| line["message"] == "no connection to the broker").await;
    let said = readyz(&server, 503).await;
    assert!(said.contains("broker: connecting") && said.contains("refused"), "{said}");
    tokio::task::block_in_place(|| rabbit.start());
    readyz(&server, 200).await;
    events_flow(&url, &mut screens, 1).await;
    // A program that would rather end than wait, beside the one that waits.
    let quitter = Server::start(&settings(&url, &format!("{FANOUT}  when_lost: exit\n"))).await;
    readyz(&quitter, 200).await;
    let before = threads(&server);

    tokio::task::block_in_place(|| rabbit.kill());
    assert_eq!(quitter.exit_code().await, Some(3));
    let said = readyz(&server, 503).await;
    assert!(said.contains("broker: "), "{said}");
    for screen in &mut screens {
        screen.pings_go_on().await;
    }
    tokio::task::block_in_place(|| rabbit.start());
    readyz(&server, 200).await;
    events_flow(&url, &mut screens, 2).await;
    let now = || threads(&server);
    eventually(&format!("{before:?} again"), || now() == before, || format!("{:?}", now())).await;
    assert_eq!(server.metric("pointsman_broker_connects_total").await, 2);
    assert_eq!(server.terminate().await, Some(0));
}
