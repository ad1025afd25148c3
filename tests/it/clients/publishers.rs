//! The publishers of `examples/`, as a back end runs them: what they publish reaches clients, by a real broker.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use lapin::types::ShortString;
use serde_json::{Value, json};

use super::message;
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::process::{Process, Stream};
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};
use crate::support::server::{Server, Setup};
use crate::support::tools::{self, example};

const CONFIGURATION: &str = r#"
amqp:
  url: ${AMQP_URL}
  exchanges: [{ name: events, type: fanout, durable: true }]
  queues: [{ name: "pointsman.{instance}", exclusive: true, auto_delete: true, bind: [{ exchange: events }] }]
event: { payload: data, tenant: data.tenant_id, id: data.id }
auth: { providers: [{ tokens: { bob: { user: 2, tenant: acme } } }] }
topics: [{ match: "deal:{id}", allow: true }]
routes: [{ name: deals, to: { topic: "deal:{data.deal_id}" } }]
"#;

/// Three events, as an application might have them in a file. The second one's id is more than a double can hold.
const EVENTS: &str = r#"
{
  "data": { "tenant_id": "acme", "deal_id": 42, "id": 1 }
}
{"data":{"tenant_id":"acme","deal_id":42,"id":9007199254740993,"price":10.0,"title":"wön ✓"}}

{"data":{"tenant_id":"acme","deal_id":42,"id":3}}
"#;

/// How a publisher is run: the command, for a folder of its own.
type Publisher = fn(&Path) -> Command;

fn php(_: &Path) -> Command {
    tools::php_command(&example("publish.php"))
}

fn python(_: &Path) -> Command {
    tools::python_command(&example("publish.py"))
}

fn node(folder: &Path) -> Command {
    tools::node_application(&example("publish.mjs"), folder)
}

const ALL: [Publisher; 3] = [php, python, node];

/// A server that consumes, for this broker.
async fn start(broker: &str) -> Server {
    let server =
        Server::start_with(CONFIGURATION, &Setup { environment: &[("AMQP_URL", broker)], ..Setup::default() }).await;
    crate::broker::ready(&server).await;
    server
}

/// Runs a publisher to its end. Answers its exit code and what it said.
async fn run(publisher: Publisher, broker: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = publisher(folder.path());
    let process = Process::start("a publisher", command.args(arguments).env("AMQP_URL", broker), Stream::Stderr);
    let code = process.ended().await.code();
    (code, process.lines().join("\n"))
}

async fn check(publisher: Publisher) {
    let broker = shared_vhost();
    let server = start(&broker).await;
    let back_end = AmqpClient::connect(&broker).await;
    back_end.declare_queue("archive", true).await;
    back_end.bind("archive", "events").await;
    let url = format!("ws://{}/", server.clients);
    let clients =
        [tools::python("listen.py", &[&url, "bob", "deal:42"]), tools::node("listen.mjs", &[&url, "bob", "deal:42"])];
    for client in &clients {
        message(client, "subscribed").await;
    }

    // One event of its own making, then those of a file.
    assert_eq!(run(publisher, &broker, &[]).await, (Some(0), String::new()));
    let file = server.folder().join("events.ndjson");
    std::fs::write(&file, EVENTS).unwrap();
    assert_eq!(run(publisher, &broker, &[file.to_str().unwrap()]).await, (Some(0), String::new()));

    let second = r#"{"tenant_id":"acme","deal_id":42,"id":9007199254740993,"price":10.0,"title":"wön ✓"}"#;
    for client in &clients {
        let events = client.wait_for("four events", |lines| {
            let events: Vec<String> = lines.iter().filter(|line| line.contains("\"data\"")).cloned().collect();
            (events.len() == 4).then_some(events)
        });
        let events = events.await;
        let ids: Vec<Value> =
            events.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
        assert_eq!(ids, [json!(1003), json!(1), json!(9_007_199_254_740_993_u64), json!(3)]);
        assert!(events[2].contains(second), "byte for byte: {}", events[2]);
    }
    for _ in 0..4 {
        let (_, properties) = back_end.take("archive").await;
        let content_type = properties.content_type().as_ref().map(ShortString::as_str);
        assert_eq!((content_type, *properties.delivery_mode()), (Some("application/json"), Some(2)));
    }
}

#[tokio::test]
async fn php_amqplib_publishes() {
    check(php).await;
}

#[tokio::test]
async fn python_pika_publishes() {
    check(python).await;
}

#[tokio::test]
async fn node_amqplib_publishes() {
    check(node).await;
}

/// An application that uses a publisher, whose connection is cut when it has nothing to do.
async fn check_lost(name: &str, mut application: Command) {
    let broker = shared_vhost();
    let server = start(&broker).await;
    let mut bob = Client::session(&server, "bob", &["deal:42"]).await;
    let node = broker.split(['@', '/']).nth(3).expect("amqp://user@address/vhost");
    let link = Proxy::start(node.parse().unwrap());
    let url = broker.replace(node, &link.address().to_string());
    let (process, mut input) = Process::start_fed(name, application.env("AMQP_URL", url), Stream::Stdout);

    for id in 1..4 {
        let data = json!({ "tenant_id": "acme", "deal_id": 42, "id": id });
        writeln!(input, "{}", json!({ "data": data })).unwrap();
        assert_eq!(bob.next_event().await, data);
        process.wait_for("that it is confirmed", |lines| (lines.len() == id).then_some(())).await;
        assert_eq!(link.accepted(), id);
        link.cut();
    }
    drop(input);
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_publisher_whose_connection_was_lost_connects_again() {
    let mut application = tools::php_command("application.php");
    application.arg(example(""));
    check_lost("PHP", application).await;

    let mut application = tools::python_command("application.py");
    application.arg(example(""));
    check_lost("Python", application).await;

    let folder = tempfile::tempdir().unwrap();
    tools::node_application(&example("publish.mjs"), folder.path());
    check_lost("Node", tools::node_application("application.mjs", folder.path())).await;
}

#[tokio::test]
async fn a_publisher_says_what_is_no_event_after_it_published_those_before() {
    let broker = shared_vhost();
    let server = start(&broker).await;
    let mut bob = Client::session(&server, "bob", &["deal:42"]).await;
    let data = json!({ "tenant_id": "acme", "deal_id": 42, "id": 1 });
    for (rest, said) in [("{\"data\":\n", "{\"data\":"), ("[1]\n", "[1]"), ("nonsense", "nonsense")] {
        let file = server.folder().join("events.ndjson");
        std::fs::write(&file, format!("{}\n{rest}", json!({ "data": data }))).unwrap();
        for publisher in ALL {
            let (code, line) = run(publisher, &broker, &[file.to_str().unwrap()]).await;
            assert_eq!(code, Some(1), "{line}");
            assert!(line.ends_with(&format!("this is no JSON object: {said}")), "{line}");
            assert_eq!(bob.next_event().await, data);
        }
    }
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_or_refuses_is_said_and_no_password_with_it() {
    let refused = shared().url("writer:s3cret-a", "test0");
    // It takes connections, and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("amqp://writer:s3cret-a@{}/%2f", listener.local_addr().unwrap());
    for broker in ["amqp://writer:s3cret-a@127.0.0.1:1/%2f", &refused, &silent] {
        for publisher in ALL {
            let (code, said) = run(publisher, broker, &[]).await;
            assert_eq!(code, Some(3), "{said}");
            assert!(said.lines().count() == 1 && said.starts_with("publish."), "{said}");
            assert!(!said.contains("s3cret-a"), "{said}");
        }
    }
    for publisher in ALL {
        let (code, said) = run(publisher, "amqp://127.0.0.1:1", &["nowhere.ndjson"]).await;
        assert!(code == Some(3) && said.contains("nowhere.ndjson"), "{said}");
    }
}
