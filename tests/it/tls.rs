//! TLS on the listener for clients: what it carries, who cannot speak it, and certificates that are renewed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::held::eventually;
use crate::support::process::DEADLINE;
use crate::support::raw::Raw;
use crate::support::server::{Server, Setup};

const CONFIG: &str = "
tls: { cert: tls.crt, key: tls.key }
event: { payload: data, tenant: tenant }
auth: { deadline: 1h, providers: [{ tokens: { ann: { user: 1, tenant: acme }, bob: { user: 2, tenant: acme } } }] }
routes: [{ name: all, to: { tenant: true } }]
";
const FAILURES: &str = "pointsman_tls_handshake_failures_total";

/// A certificate of `localhost`, with its key, in PEM form.
struct Pair {
    cert: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    async fn serve(&self, yaml: &str) -> Server {
        let files = [("tls.crt", self.cert.as_str()), ("tls.key", self.key.as_str())];
        Server::start_with(yaml, &Setup { files: &files, ..Setup::default() }).await
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    /// What a client speaks that trusts this certificate.
    fn connector(&self, version: &'static SupportedProtocolVersion) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// A client that has shaken hands over this socket. `None` where they do not come to terms.
    async fn over(
        &self,
        socket: TcpStream,
        version: &'static SupportedProtocolVersion,
    ) -> Option<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        timeout(DEADLINE, self.connector(version).connect(name, socket)).await.expect("a handshake in time").ok()
    }

    async fn connect(&self, server: &Server) -> Option<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(server.clients).await.unwrap(), &TLS13).await
    }

    /// A session of this user.
    async fn session(&self, server: &Server, token: &str) -> Session {
        Session::over(self.connect(server).await.expect("a handshake"), token).await
    }
}

/// A WebSocket over TLS that is authenticated.
struct Session(WebSocketStream<TlsStream<TcpStream>>);

impl Session {
    async fn over(stream: TlsStream<TcpStream>, token: &str) -> Self {
        let (socket, _) = timeout(DEADLINE, client_async("wss://localhost/ws", stream)).await.unwrap().unwrap();
        let mut session = Self(socket);
        assert!(session.text().await.contains("access_token expected"));
        session.0.send(Message::text(json!({ "access_token": token }).to_string())).await.unwrap();
        assert!(session.text().await.contains("Connected as user"));
        session
    }

    async fn message(&mut self) -> Message {
        timeout(DEADLINE, self.0.next()).await.expect("a message in time").expect("a message").unwrap()
    }

    async fn text(&mut self) -> String {
        loop {
            match self.message().await {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("not a text but {other:?}"),
            }
        }
    }

    async fn event(&mut self) -> Value {
        let message: Value = serde_json::from_str(&self.text().await).unwrap();
        message["data"].clone()
    }

    /// The next event comes to it.
    async fn goes_on(&mut self, server: &Server, number: u32) {
        server.publish(json!({ "tenant": "acme", "data": number })).await;
        assert_eq!(self.event().await, number);
    }

    /// The certificate that the server showed it.
    fn certificate(&self) -> CertificateDer<'static> {
        self.0.get_ref().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

#[tokio::test]
async fn what_is_sent_comes_whole_and_in_order_and_ends_with_a_word() {
    let pair = Pair::new();
    let server = pair.serve(CONFIG).await;
    for version in [&TLS12, &TLS13] {
        let socket = TcpStream::connect(server.clients).await.unwrap();
        let stream = pair.over(socket, version).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut session = Session::over(stream, "ann").await;
        session.goes_on(&server, 0).await;
        // One that is many records long, and many that are joined.
        let large = "x".repeat(1 << 20);
        server.publish(json!({ "tenant": "acme", "data": large })).await;
        assert_eq!(session.event().await, large);
        let events: Vec<_> = (1..=2000).map(|n| json!({ "tenant": "acme", "data": n }).to_string()).collect();
        assert_eq!(server.post("/publish", events.join("\n")).await.json()["accepted"], 2000);
        for number in 1..=2000 {
            assert_eq!(session.event().await, number);
        }
        session.0.send(Message::text(large)).await.unwrap();
        assert!(matches!(session.message().await, Message::Close(Some(frame)) if u16::from(frame.code) == 1009));
        assert!(session.0.next().await.is_none_or(|end| end.is_err()));
        // An HTTP answer, and an end that nobody could have made by cutting the connection.
        let socket = TcpStream::connect(server.clients).await.unwrap();
        let mut stream = pair.over(socket, version).await.expect("a handshake");
        stream.write_all(b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("a close_notify at the end");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    assert_eq!(server.metric(FAILURES).await, 0);
    server.wait_for_metric("pointsman_connections", 0).await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn who_comes_to_no_terms_is_counted_and_holds_up_nobody() {
    let pair = Pair::new();
    let server = pair.serve(&CONFIG.replace("deadline: 1h", "deadline: 500ms")).await;
    let descriptors = server.descriptors();
    let mut witness = pair.session(&server, "bob").await;
    // One who knows no word of it, one who trusts somebody else, one who leaves in the middle, one who never ends.
    let mut raw = Raw::connect(&server).await;
    raw.send(b"\x00garbage that is no record").await;
    raw.rest().await;
    server.wait_for_metric(FAILURES, 1).await;
    assert!(Pair::new().connect(&server).await.is_none());
    server.wait_for_metric(FAILURES, 2).await;
    let hello = b"\x16\x03\x01\x02\x00\x01";
    let mut raw = Raw::connect(&server).await;
    raw.send(hello).await;
    drop(raw);
    server.wait_for_metric(FAILURES, 3).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(hello).await;
    assert_eq!(raw.rest().await, "\u{15}\u{3}\u{3}\0\u{2}\u{1}\0", "told that nothing more comes");
    server.wait_for_metric(FAILURES, 4).await;
    // A record that is said to be longer than any may be, and one that never becomes a whole handshake message.
    for bytes in
        [b"\x16\x03\x01\xff\xff".to_vec(), [&b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"[..], &vec![0; 40_000]].concat()]
    {
        let before = server.metric(FAILURES).await;
        let mut raw = Raw::connect(&server).await;
        raw.socket.write_all(&bytes).await.ok();
        raw.rest().await;
        server.wait_for_metric(FAILURES, before + 1).await;
    }
    // Who only looks whether somebody listens has not failed.
    let before = server.metric(FAILURES).await;
    drop(Raw::connect(&server).await);
    server.wait_for_metric("pointsman_connections", 1).await;
    assert_eq!(server.metric(FAILURES).await, before);
    witness.goes_on(&server, 1).await;
    drop(witness);
    server.wait_for_metric("pointsman_connections", 0).await;
    let now = || server.descriptors();
    eventually(&format!("{descriptors} descriptors"), || now() == descriptors, || now().to_string()).await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_so_in_plain_http() {
    let pair = Pair::new();
    let server = pair.serve(CONFIG).await;
    for request in
        ["GET /ws HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), format!("POST / HTTP/1.1\r\nx: {}", "y".repeat(30_000))]
    {
        let mut raw = Raw::connect(&server).await;
        raw.send(&request).await;
        let answer = raw.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("TLS is spoken here"),
            "{answer}"
        );
    }
    server.wait_for_metric("pointsman_connections", 0).await;
    assert_eq!(server.metric(FAILURES).await, 2);
}

#[tokio::test]
async fn a_handshake_may_come_in_pieces() {
    use tokio::io::AsyncBufReadExt as _;
    let pair = Pair::new();
    let server = pair.serve(CONFIG).await;
    // Between client and server stands somebody who passes each byte on alone.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let target = server.clients;
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(target).await.unwrap();
        server.set_nodelay(true).unwrap();
        let ((from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let up = async move {
            let mut from_client = tokio::io::BufReader::new(from_client);
            while let Ok(bytes) = from_client.fill_buf().await {
                let Some(byte) = bytes.first().copied() else { break };
                from_client.consume(1);
                to_server.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let down = async move { tokio::io::copy(&mut from_server, &mut to_client).await };
        tokio::join!(up, down).1.ok();
    });
    let stream = pair.over(TcpStream::connect(between).await.unwrap(), &TLS13).await.expect("a handshake");
    let mut session = Session::over(stream, "ann").await;
    session.goes_on(&server, 1).await;
}

#[tokio::test]
async fn who_does_not_read_is_closed_as_without_tls() {
    let pair = Pair::new();
    for (when_full, metric) in [
        ("disconnect", "pointsman_connections_closed_total{code=\"4408\"}"),
        ("drop_oldest", "pointsman_drops_total{cause=\"outbox_full\"}"),
    ] {
        let outbox = format!("limits: {{ outbox: {{ messages: 16, bytes: 256KiB, when_full: {when_full} }} }}\n");
        let server = pair.serve(&format!("{CONFIG}{outbox}")).await;
        let mut witness = pair.session(&server, "bob").await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = pair.over(socket.connect(server.clients).await.unwrap(), &TLS13).await.expect("a handshake");
        let mut stuck = Session::over(stream, "ann").await;
        let (large, mut number) = ("x".repeat(64 << 10), 0);
        while server.metric(metric).await == 0 {
            number += 1;
            assert!(number < 1000, "more than fits into any socket");
            let data = json!({ "number": number, "large": large });
            server.publish(json!({ "tenant": "acme", "data": data })).await;
            assert_eq!(witness.event().await, data);
        }
        // It reads again: what was on its way comes whole, and then the close, or what is newest.
        let mut last = 0;
        loop {
            match stuck.message().await {
                Message::Text(text) => {
                    let event: Value = serde_json::from_str(&text).unwrap();
                    let this = event["data"]["number"].as_u64().unwrap();
                    assert!(this > last, "{this} after {last}");
                    last = this;
                    if when_full == "drop_oldest" && last == number {
                        stuck.goes_on(&server, 1).await;
                        break;
                    }
                }
                Message::Close(Some(frame)) => {
                    assert_eq!((when_full, u16::from(frame.code)), ("disconnect", 4408));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        drop(stuck);
        server.wait_for_metric("pointsman_connections", 1).await;
        server.wait_for_metric("pointsman_outbox_bytes", 0).await;
    }
}

/// Puts both files in place as a mounted secret does: a folder of the new ones, and a link that is moved to it.
fn swap_link(folder: &Path, version: &str, pair: &Pair) {
    let own = folder.join(version);
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("tls.crt"), &pair.cert).unwrap();
    std::fs::write(own.join("tls.key"), &pair.key).unwrap();
    let link = folder.join("..new");
    std::os::unix::fs::symlink(version, &link).unwrap();
    std::fs::rename(&link, folder.join("..data")).unwrap();
}

#[tokio::test]
async fn renewed_files_are_picked_up_and_broken_ones_are_not() {
    let [first, second, third] = [(); 3].map(|()| Pair::new());
    let yaml = CONFIG.replace("tls.crt", "..data/tls.crt").replace("tls.key", "..data/tls.key");
    let folder = tempfile::tempdir().unwrap();
    swap_link(folder.path(), "v1", &first);
    let at = |name: &str| folder.path().join("..data").join(name).display().to_string();
    let yaml = yaml.replace("..data/tls.crt", &at("tls.crt")).replace("..data/tls.key", &at("tls.key"));
    let server = Server::start(&yaml).await;
    let renewed = |line: &Value| line["message"] == "the renewed certificate is in use";
    let refused = |line: &Value| {
        line["message"] == "the renewed certificate cannot be used: the one before stays in use"
            && line["error"].as_str().is_some_and(|error| error.contains("is not that of the certificate"))
    };
    let mut old = first.session(&server, "ann").await;
    assert_eq!(old.certificate(), first.der());
    swap_link(folder.path(), "v2", &second);
    server.wait_for_log("that the certificate is renewed", renewed).await;
    assert_eq!(second.session(&server, "bob").await.certificate(), second.der());
    assert!(first.connect(&server).await.is_none());
    old.goes_on(&server, 1).await;
    // A key that does not fit, and then the one that does.
    let mixed = Pair { cert: third.cert.clone(), key: first.key.clone() };
    swap_link(folder.path(), "v3", &mixed);
    server.wait_for_log("that the certificate is wrong", refused).await;
    assert_eq!(second.session(&server, "bob").await.certificate(), second.der());
    std::fs::write(folder.path().join("v3/tls.key"), &third.key).unwrap();
    let is_second = |_: &Value| server.log().iter().filter(|line| renewed(line)).count() == 2;
    server.wait_for_log("that the certificate is renewed again", is_second).await;
    assert_eq!(third.session(&server, "bob").await.certificate(), third.der());
    old.goes_on(&server, 2).await;
    let valid_until = server.metric("pointsman_tls_certificate_valid_until_seconds{listener=\"clients\"}").await;
    assert_eq!(valid_until, 67_090_118_400, "the year 4096, as long as such a certificate lives");
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_full_house_says_so_after_the_handshake() {
    let pair = Pair::new();
    let server = pair.serve(&format!("{CONFIG}limits: {{ connections: 1 }}")).await;
    let mut witness = pair.session(&server, "bob").await;
    let mut stream = pair.connect(&server).await.expect("a handshake");
    let mut answer = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many connections"), "{answer}");
    witness.goes_on(&server, 1).await;
}

#[tokio::test]
async fn refused_connections_that_shake_no_hands_do_not_pile_up() {
    let pair = Pair::new();
    let server = pair.serve(&format!("{CONFIG}limits: {{ connections: 1 }}\nshards: 1\n")).await;
    let mut witness = pair.session(&server, "bob").await;
    let before = server.descriptors();
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(TcpStream::connect(server.clients).await.unwrap());
    }
    server.wait_for_metric("pointsman_connections_refused_total", 50).await;
    let descriptors = server.descriptors();
    // 8 may linger. One is that of the request for metrics, on its way out.
    assert!(descriptors <= before + 9, "{descriptors} descriptors, {before} before");
    witness.goes_on(&server, 1).await;
}
