//! The program and a broker that is at fault in every way: what it says, what becomes of those who are connected, and
//! that all goes on by itself when the fault is mended.

mod descriptors;
mod exit;
mod flood;
mod links;
mod node;
mod refused;
mod several;
mod tls;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, timeout};

use crate::broker::{ready, settings};
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::process::DEADLINE;
use crate::support::server::{Server, Setup};

/// A queue of this process alone, and one that stays, both of which get what is published.
const QUEUES: &str = r#"
  exchanges: [{ name: events, type: fanout, durable: true }]
  queues:
    - { name: "pointsman.{instance}", exclusive: true, auto_delete: true, bind: [{ exchange: events }] }
    - { name: lasting, durable: true, bind: [{ exchange: events }] }
"#;

/// A client that is read all the time, as a browser's is: what does not answer would be taken for dead.
struct Screen {
    events: mpsc::Receiver<Value>,
    pings: watch::Receiver<usize>,
}

impl Screen {
    async fn open(server: &Server) -> Self {
        let mut client = Client::session(server, "ann", &[]).await;
        let (event, events) = mpsc::channel(100);
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

/// The threads and the descriptors of a server.
fn held(server: &Server) -> (Vec<String>, usize) {
    (server.threads(), server.descriptors())
}

/// Waits for a status of `/readyz`, and that it says all of this. Answers the whole of it.
async fn readyz(server: &Server, status: u16, said: &[&str]) -> String {
    let mut ask = interval(Duration::from_millis(10));
    for _ in 0..3000 {
        ask.tick().await;
        let answer = server.get("/readyz").await;
        if answer.status == status && said.iter().all(|said| answer.body.contains(said)) {
            return answer.body;
        }
    }
    panic!("never {status} with {said:?}, but {}", server.get("/readyz").await.body)
}

/// A program whose broker is going to be at fault, somebody who looks on all the time, and what it held while all was
/// well.
struct Watched {
    server: Server,
    screen: Screen,
    held: (Vec<String>, usize),
    /// How much of the log has been read.
    read: usize,
    /// How many queues get what is published.
    queues: usize,
    number: u32,
}

impl Watched {
    /// Starts it with this `amqp` section, and waits until it consumes.
    async fn start(urls: &str, amqp: &str) -> Self {
        let mut watched = Self::start_without(urls, amqp).await;
        ready(&watched.server).await;
        watched.all_is_well().await;
        watched
    }

    /// Starts it, whatever its broker does.
    async fn start_without(urls: &str, amqp: &str) -> Self {
        Self::start_beside(urls, amqp, &[]).await
    }

    /// Starts it, whatever its broker does, with files beside its configuration.
    async fn start_beside(urls: &str, amqp: &str, files: &[(&str, &str)]) -> Self {
        Self::start_with(urls, amqp, &Setup { files, ..Setup::default() }).await
    }

    async fn start_with(urls: &str, amqp: &str, setup: &Setup<'_>) -> Self {
        let yaml = settings(urls, amqp) + "ping: { every: 1s }\ndrain: 100ms\n";
        let server = Server::start_with(&yaml, setup).await;
        let screen = Screen::open(&server).await;
        let queues = amqp.matches("name: ").count() - 1;
        Self { server, screen, held: (Vec::new(), 0), read: 0, queues, number: 0 }
    }

    /// Notes what it holds.
    async fn all_is_well(&mut self) {
        self.state_is("consuming").await;
        // The ends of the last requests are still on their way.
        let (mut ticks, mut same) = (interval(Duration::from_millis(10)), 0);
        while same < 10 {
            ticks.tick().await;
            let now = held(&self.server);
            same = if now == self.held { same + 1 } else { 0 };
            self.held = now;
        }
        self.read = self.server.log().len();
    }

    async fn state_is(&self, expected: &str) {
        for state in ["connecting", "consuming", "blocked", "lost", "gave_up", "stopped"] {
            let name = format!("pointsman_broker_state{{state=\"{state}\"}}");
            self.server.wait_for_metric(&name, (state == expected).into()).await;
        }
        let connected = matches!(expected, "consuming" | "blocked");
        assert_eq!(self.server.metric("pointsman_broker_connected").await, i64::from(connected));
    }

    /// Waits for a line of the log that came since the last one that was waited for, and holds all of this.
    async fn says(&mut self, said: &[&str]) {
        let is_it = |line: &Value| said.iter().all(|said| line.to_string().contains(said));
        let (read, line) = self.server.wait_for_log_from(self.read, &format!("{said:?}"), is_it).await;
        self.read = read;
        assert!(!line.to_string().contains("s3cret"), "{line}");
    }

    /// The broker is lost for this cause, and the log says all of this.
    async fn loses(&mut self, cause: &str, said: &[&str]) {
        self.says(said).await;
        let faults = format!("pointsman_broker_faults_total{{cause=\"{cause}\"}}");
        assert!(self.server.metric(&faults).await > 0, "{faults}");
    }

    /// While it is lost: it is not ready and says why, and those who are connected stay.
    async fn stays_lost(&mut self, said: &[&str]) {
        readyz(&self.server, 503, &[&["broker: "], said].concat()).await;
        self.state_is("lost").await;
        self.screen.pings_go_on().await;
    }

    /// All goes on by itself, and it holds what it held before. `url` is for whoever publishes.
    async fn recovers(&mut self, url: &str) {
        readyz(&self.server, 200, &[]).await;
        self.state_is("consuming").await;
        self.events_flow(url).await;
        self.holds_what_it_held().await;
    }

    async fn events_flow(&mut self, url: &str) {
        self.number += 1;
        let event = self.event();
        AmqpClient::connect(url).await.publish("events", "", event.to_string()).await;
        self.gets(&event).await;
    }

    /// An event that has not been before.
    fn event(&self) -> Value {
        json!({ "data": { "tenant": "acme", "n": self.number } })
    }

    /// The event arrives, once by each queue.
    async fn gets(&mut self, event: &Value) {
        for _ in 0..self.queues {
            self.screen.gets(&event["data"]).await;
        }
    }

    async fn holds_what_it_held(&self) {
        let (before, now) = (&self.held, || held(&self.server));
        eventually(&format!("{before:?} again"), || now() == *before, || format!("{:?}", now())).await;
    }

    async fn connects(&self) -> i64 {
        self.server.metric("pointsman_broker_connects_total").await
    }

    /// It leaves in order, and has never needed much.
    async fn leaves(self) {
        let peak = self.server.peak_memory();
        assert!(peak < 64 << 20, "{} MiB", peak >> 20);
        assert_eq!(self.server.terminate().await, Some(0));
    }
}
