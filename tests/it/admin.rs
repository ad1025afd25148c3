//! The admin listener: probes, metrics, publish, and who may use them.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::http;
use crate::support::process::DEADLINE;
use crate::support::server::Server;

const KEYED: &str = "
admin: { listen: 127.0.0.1:0, key: s3cret }
event: { payload: data, tenant: data.tenant }
auth: { providers: [{ tokens: { ann: { user: 1, tenant: acme } } }] }
routes: [{ name: all, to: { tenant: true } }]
";

#[tokio::test]
async fn probes_and_metrics_answer() {
    let server = Server::demo().await;
    for path in ["/healthz", "/readyz"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ok" })), "{path}");
    }
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.body.ends_with("# EOF\n"), "{}", metrics.body);
    let missing = server.get("/nowhere").await;
    assert_eq!((missing.status, missing.json()["status"].clone()), (404, json!("error")));
    assert_eq!(server.get("/publish").await.status, 405);
    assert_eq!(server.post("/healthz", String::new()).await.status, 405);
}

#[tokio::test]
async fn a_body_of_events_is_taken_whole_or_not_at_all() {
    let server = Server::demo().await;
    let mut ann = Client::session(&server, "demo-ann", &[]).await;
    let event = |text: &str| json!({ "data": { "type": "announcement.x", "tenant_id": "acme", "text": text } });

    let bad = format!("{}\n{{\"data\":\n{}\n", event("lost"), event("lost"));
    let answer = server.post("/publish", bad).await;
    let said = answer.json();
    assert_eq!((answer.status, said["accepted"].as_u64(), said["line"].as_u64()), (400, Some(0), Some(2)), "{said}");
    assert!(said["error"].as_str().unwrap().starts_with("line 2: the body is not valid JSON"), "{said}");
    assert_eq!(server.metric("pointsman_events_received_total{source=\"http\"}").await, 0);

    let good = format!("{}\n\n{}\r\n", event("one"), event("two"));
    let answer = server.post("/publish", good).await;
    assert_eq!((answer.status, answer.json()), (202, json!({ "accepted": 2 })));
    let spread = serde_json::to_string_pretty(&event("three")).unwrap();
    assert_eq!(server.post("/publish", spread).await.json(), json!({ "accepted": 1 }));
    for text in ["one", "two", "three"] {
        assert_eq!(ann.next_event().await["text"], text);
    }
    assert_eq!(server.metric("pointsman_events_received_total{source=\"http\"}").await, 3);
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_its_reason() {
    let server = Server::demo().await;
    for (body, status, said) in [
        (String::new(), 400, "the body is empty"),
        ("[1]".to_owned(), 400, "not an object"),
        ("{\"a\":1}".to_owned(), 400, "`data`"),
        ("{\"data\":{\"tenant_id\":[]}}".to_owned(), 400, "neither a string nor an integer"),
        (" ".repeat(16 * 1024 * 1024 + 1), 413, "16 MiB"),
    ] {
        let answer = server.post("/publish", body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.json()["error"].as_str().unwrap().contains(said), "{}", answer.body);
    }
}

#[tokio::test]
async fn with_a_key_only_probes_answer_without_it() {
    let server = Server::start(KEYED).await;
    let ask = async |method, path, key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let headers = if key.is_empty() { &[][..] } else { &headers[..] };
        http::request(server.admin, method, path, headers, "{\"data\":{\"tenant\":\"acme\"}}").await.status
    };
    for (method, path, without, wrong, right) in [
        ("GET", "/healthz", 200, 200, 200),
        ("GET", "/readyz", 200, 200, 200),
        ("GET", "/metrics", 401, 401, 200),
        ("POST", "/publish", 401, 401, 202),
        ("GET", "/nowhere", 401, 401, 404),
    ] {
        assert_eq!(ask(method, path, "").await, without, "{path}");
        assert_eq!(ask(method, path, "S3cret").await, wrong, "{path}");
        assert_eq!(ask(method, path, "s3cret").await, right, "{path}");
    }
    for line in server.log() {
        assert!(!line.to_string().contains("s3cret"), "{line}");
    }
}

#[tokio::test]
async fn without_a_key_pages_of_other_origins_are_refused() {
    let server = Server::demo().await;
    let own = format!("http://{}", server.admin);
    for (origin, status) in [("https://evil.example", 403), (own.as_str(), 202)] {
        let body = "{\"send_to_all\":true,\"data\":{}}";
        let answer = http::request(server.admin, "POST", "/publish", &[("origin", origin)], body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::demo().await;
    let mut slow = TcpStream::connect(server.admin).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
    let mut rest = Vec::new();
    timeout(DEADLINE, slow.read_to_end(&mut rest)).await.expect("closed in time").ok();
    assert_eq!(server.get("/healthz").await.status, 200);
}
