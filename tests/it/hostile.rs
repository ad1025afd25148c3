//! Clients that break the rules, stall, vanish or flood. Nobody else may notice, and nothing of them may stay.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::process::{Process, Stream};
use crate::support::raw::{HANDSHAKE, Raw, frame, text};
use crate::support::server::{POINTSMAN, Server};

/// Two people of a tenant, and every event to both.
pub(crate) const CONFIG: &str = "
event: { payload: data, tenant: tenant }
auth: { providers: [{ tokens: { ann: { user: 1, tenant: acme }, bob: { user: 2, tenant: acme } } }] }
topics: [{ match: \"board:*\", allow: true }]
routes: [{ name: all, to: { tenant: true } }]
";

/// A server, and a client of it that everything must go well for.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) witness: Client,
    pub(crate) events: u32,
    descriptors: usize,
}

impl Scene {
    pub(crate) async fn start(yaml: &str) -> Self {
        let server = Server::start(yaml).await;
        let descriptors = server.descriptors();
        let witness = Client::session(&server, "bob", &[]).await;
        Self { server, witness, events: 0, descriptors }
    }

    /// The next event comes to the witness.
    pub(crate) async fn goes_on(&mut self) {
        self.events += 1;
        self.server.publish(json!({ "tenant": "acme", "data": self.events })).await;
        assert_eq!(self.witness.next_event().await, self.events);
    }

    /// Waits until only the witness is left, and has noticed nothing.
    pub(crate) async fn settles(&mut self) {
        tokio::select! {
            () = self.server.wait_for_metric("pointsman_connections", 1) => {}
            code = self.witness.closed() => panic!("the witness was closed: {code:?}"),
        }
        self.goes_on().await;
    }

    /// The witness leaves, and nothing of anybody has stayed.
    pub(crate) async fn ends(self) {
        let Self { server, witness, descriptors, .. } = self;
        witness.leave().await;
        server.wait_for_metric("pointsman_connections", 0).await;
        server.wait_for_metric("pointsman_sessions", 0).await;
        let now = || server.descriptors();
        eventually(&format!("{descriptors} descriptors"), || now() == descriptors, || now().to_string()).await;
        assert_eq!(server.terminate().await, Some(0));
    }
}

/// Bytes that end a connection, be it a guest's or a session's, with this code.
async fn check_closed(scene: &mut Scene, what: &str, bytes: &[u8], code: u16) {
    for session in [false, true] {
        let server = &scene.server;
        let mut raw = if session { Raw::session(server, "ann").await } else { Raw::open(server).await };
        raw.send(bytes).await;
        assert_eq!(raw.closed().await, Some(code), "{what}, session: {session}");
        assert_eq!(raw.frame().await, None, "{what}: the close frame is the last one");
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_with_its_close_code() {
    let mut scene = Scene::start(CONFIG).await;
    let megabyte = text(&format!("{{\"access_token\":\"{}\"}}", "x".repeat(1 << 20)));
    let endless = [&[0x81, 0xff][..], &(1_u64 << 63).to_be_bytes(), b"mask"].concat();
    let fragments = [frame(0x01, &[b'x'; 10_000]), frame(0x00, &[b'x'; 6_000]), frame(0x80, &[b'x'; 1_000])].concat();
    let mixed = [frame(0x01, b"{"), text("{}")].concat();
    let cut = [frame(0x01, b"\"\xe2\x82"), frame(0x80, b"\"")].concat();
    let begun = &frame(0x81, &[b"\xed\xa0", &[b'x'; 100][..]].concat())[..20];
    for (what, bytes, code) in [
        ("a megabyte", &megabyte[..], 1009),
        ("2^63 bytes", &endless, 1009),
        ("fragments over the limit together", &fragments, 1009),
        ("unmasked", b"\x81\x02{}", 1002),
        ("a reserved opcode", &frame(0x83, b"{}"), 1002),
        ("a reserved control opcode", &frame(0x8b, b""), 1002),
        ("a reserved bit", &frame(0xc1, b"{}"), 1002),
        ("a continuation of nothing", &frame(0x80, b"{}"), 1002),
        ("a message within a fragmented one", &mixed, 1002),
        ("a ping of 126 bytes", &frame(0x89, &[0; 126]), 1002),
        ("a ping in fragments", &frame(0x09, b""), 1002),
        ("a close code of one byte", &frame(0x88, b"\x03"), 1002),
        ("a close code that may not be sent", &frame(0x88, b"\x03\xed"), 1002),
        ("no UTF-8", &frame(0x81, b"\"\xff\""), 1007),
        ("UTF-8 cut off between fragments", &cut, 1007),
        ("no UTF-8 in a fragment that more follow on", &frame(0x01, b"\"\xf4\x90"), 1007),
        ("no UTF-8 in the first bytes of a frame", begun, 1007),
        ("a close reason that is no UTF-8", &frame(0x88, b"\x03\xe8\xff"), 1007),
        ("a close, and more after it", &[frame(0x88, b"\x0f\xa0bye"), text("{}")].concat(), 4000),
        ("a close without a code", &frame(0x88, b""), 1005),
    ] {
        check_closed(&mut scene, what, bytes, code).await;
    }
    // A client's own code is no label: there could be thousands.
    let metrics = scene.server.get("/metrics").await.body;
    assert!(metrics.contains("code=\"1002\"") && !metrics.contains("code=\"4000\""), "{metrics}");
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn what_is_odd_but_allowed_is_answered() {
    let mut scene = Scene::start(CONFIG).await;
    let mut raw = Raw::session(&scene.server, "ann").await;
    raw.send(frame(0x82, b"{\"ping\":1}")).await;
    assert!(raw.text().await.contains("messages are text frames"));
    // An empty fragment, a ping between fragments, a pong that nobody asked for, the longest ping.
    let odd = [frame(0x01, b""), frame(0x89, b"?"), frame(0x8a, b"!"), frame(0x00, b"{\"ping\""), frame(0x80, b":1}")];
    let odd = [odd.concat(), frame(0x89, &[b'x'; 125])].concat();
    for cut in 0..=odd.len() {
        raw.send(&odd[..cut]).await;
        raw.send(&odd[cut..]).await;
        assert_eq!(raw.frame().await, Some((0x8a, b"?".to_vec())), "cut at {cut}");
        assert!(raw.text().await.contains("pong"), "cut at {cut}");
        assert_eq!(raw.frame().await, Some((0x8a, vec![b'x'; 125])), "cut at {cut}");
    }
    for byte in &odd {
        raw.send([*byte]).await;
    }
    assert_eq!(raw.frame().await, Some((0x8a, b"?".to_vec())));
    assert!(raw.text().await.contains("pong"));
    drop(raw);
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn a_client_need_not_wait_for_answers() {
    let mut scene = Scene::start(CONFIG).await;
    let all = [
        HANDSHAKE.as_bytes(),
        &text("{\"ping\":1}"),
        &text("{\"access_token\":\"ann\",\"topics\":[\"board:a\"]}"),
        &text("{\"subscribe\":\"board:b\"}"),
        &text("{\"ping\":1}"),
        &frame(0x88, b""),
    ]
    .concat();
    for cut in (0..all.len()).step_by(17) {
        let mut raw = Raw::connect(&scene.server).await;
        raw.send(&all[..cut]).await;
        raw.send(&all[cut..]).await;
        raw.shaken_hands().await;
        for part in ["access_token expected", "not present", "Connected as", "board:a", "board:b", "pong"] {
            let said = raw.text().await;
            assert!(said.contains(part), "cut at {cut}, where {part} is due: {said}");
        }
        assert_eq!(raw.closed().await, Some(1005));
    }
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_in_http() {
    let mut scene = Scene::start(CONFIG).await;
    let without = |line: &str| HANDSHAKE.replace(line, "");
    let large = HANDSHAKE.replace("host: a", &format!("host: a\r\nx-large: {}", "x".repeat(9 << 10)));
    let many = HANDSHAKE.replace("host: a", &"x: y\r\n".repeat(100));
    for (bytes, status) in [
        (without("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400 Bad Request"),
        (HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), "400 Bad Request"),
        (without("connection: upgrade\r\n"), "400 Bad Request"),
        (without("host: a\r\n"), "400 Bad Request"),
        (HANDSHAKE.replace("host: a\r\n", "host: a\r\nhost: a\r\n"), "400 Bad Request"),
        (HANDSHAKE.replace("host: a\r\n", "host: a\r\ncontent-length: 1\r\n"), "400 Bad Request"),
        (HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"), "400 Bad Request"),
        (HANDSHAKE.replace("version: 13", "version: 8"), "426 Upgrade Required"),
        (without("upgrade: websocket\r\n"), "426 Upgrade Required"),
        (HANDSHAKE.replace("GET", "POST"), "405 Method Not Allowed"),
        (HANDSHAKE.replace("/ws", "/nowhere"), "404 Not Found"),
        (HANDSHAKE.replace("/ws", "/demo/publish"), "404 Not Found"),
        (HANDSHAKE.replace("HTTP/1.1", "HTTP/7.0"), "505 HTTP Version Not Supported"),
        (large, "431 Request Header Fields Too Large"),
        (many, "431 Request Header Fields Too Large"),
        ("x".repeat(100_000), "431 Request Header Fields Too Large"),
        ("SSH-2.0-client\r\n".to_owned(), "400 Bad Request"),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(), "400 Bad Request"),
        ("\0".to_owned(), "400 Bad Request"),
    ] {
        let mut raw = Raw::connect(&scene.server).await;
        raw.send(&bytes).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{bytes:.200}: {answer}");
        assert!(answer.contains("connection: close\r\n") && answer.contains("{\"status\":\"error\""), "{answer}");
        scene.goes_on().await;
    }
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn what_is_unusual_but_by_the_book_is_served() {
    let scene = Scene::start(CONFIG).await;
    for head in [
        HANDSHAKE.replace("/ws", &format!("http://{}/ws", scene.server.clients)),
        HANDSHAKE.replace("upgrade: websocket", "upgrade: h2c\r\nupgrade: websocket"),
    ] {
        let mut raw = Raw::connect(&scene.server).await;
        raw.send(&head).await;
        raw.shaken_hands().await;
        assert!(raw.text().await.contains("access_token expected"), "{head}");
    }
    let mut raw = Raw::connect(&scene.server).await;
    raw.send("HEAD /ws HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    scene.ends().await;
}

#[tokio::test]
async fn a_head_that_trickles_in_has_until_the_deadline() {
    let mut scene = Scene::start(&CONFIG.replace("auth: {", "auth: { deadline: 300ms,")).await;
    let mut raw = Raw::connect(&scene.server).await;
    let mut sent = 0;
    let answer = loop {
        raw.send(&HANDSHAKE.as_bytes()[sent..=sent]).await;
        sent += 1;
        assert!(sent < HANDSHAKE.len() / 2, "no answer before half of the head is there");
        // A byte now and then: as often as nothing comes.
        if timeout(Duration::from_millis(20), raw.socket.readable()).await.is_ok() {
            break raw.rest().await;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn who_vanishes_is_forgotten_at_once() {
    // With a deadline that would not find them.
    let mut scene = Scene::start(&CONFIG.replace("auth: {", "auth: { deadline: 1h,")).await;
    let begun = &text("{\"ping\":1}")[..5];
    for bytes in [&b""[..], b"GET / HT", HANDSHAKE.as_bytes(), &[HANDSHAKE.as_bytes(), begun].concat()] {
        for reset in [false, true] {
            let mut raw = Raw::connect(&scene.server).await;
            raw.send(bytes).await;
            scene.server.wait_for_metric("pointsman_connections", 2).await;
            if reset {
                socket2::SockRef::from(&raw.socket).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(raw);
            scene.settles().await;
        }
    }
    scene.ends().await;
}

#[tokio::test]
async fn an_end_that_comes_with_the_last_words_is_seen() {
    let mut scene = Scene::start(CONFIG).await;
    let pong = frame(0x8a, b"");
    let mut silent = Raw::session(&scene.server, "ann").await;
    let mut asking = Raw::open(&scene.server).await;
    scene.server.wait_for_metric("pointsman_connections", 3).await;
    // While the server stands still, so that it finds all of it at once.
    scene.server.signal(Signal::STOP);
    silent.send(&pong).await;
    asking.send([text("{\"access_token\":\"ann\"}"), pong].concat()).await;
    for raw in [&mut silent, &mut asking] {
        raw.socket.shutdown().await.unwrap();
    }
    scene.server.signal(Signal::CONT);
    scene.settles().await;
    drop((silent, asking));
    scene.ends().await;
}

#[tokio::test]
async fn who_says_no_more_than_its_request_gets_its_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let scene = Scene::start(CONFIG).await;
    for _ in 0..50 {
        let mut socket = tokio::net::TcpStream::connect(scene.server.clients).await.unwrap();
        socket.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    scene.ends().await;
}

#[tokio::test]
async fn who_falls_silent_is_found_dead() {
    let mut scene = Scene::start(&format!("{CONFIG}ping: {{ every: 1s }}")).await;
    // One whose machine has gone, one whose process hangs, and one that never ends a connection that was closed.
    let silent = Raw::session(&scene.server, "ann").await;
    let mut command = Command::new(POINTSMAN);
    command.args(["listen", "--token", "ann", "--server", &format!("ws://{}/", scene.server.clients)]);
    let hanging = Process::start("listen", &mut command, Stream::Stdout);
    scene.server.wait_for_metric("pointsman_sessions", 3).await;
    hanging.signal(Signal::STOP);
    let mut rude = Raw::open(&scene.server).await;
    rude.send(frame(0x83, b"")).await;
    assert_eq!(rude.closed().await, Some(1002));
    scene.settles().await;
    let gone = scene.server.log().iter().filter(|line| line["message"] == "a client has gone without a word").count();
    assert_eq!(gone, 2);
    drop((silent, hanging, rude));
    scene.ends().await;
}

#[tokio::test]
async fn who_is_busy_for_a_few_short_pings_is_not_dead() {
    let mut scene = Scene::start(&format!("{CONFIG}ping: {{ every: 1s }}")).await;
    let mut busy = Raw::session(&scene.server, "ann").await;
    // It reads, and answers none of these.
    for _ in 0..4 {
        let ping = busy.text().await;
        assert!(ping.contains("events ping"), "{ping}");
        assert_eq!(busy.frame().await, Some((0x89, Vec::new())));
    }
    drop(busy);
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn a_full_house_says_so_and_has_room_again_when_one_leaves() {
    let mut scene = Scene::start(&format!("{CONFIG}limits: {{ connections: 3 }}")).await;
    let (one, two) = (Raw::open(&scene.server).await, Raw::open(&scene.server).await);
    let mut refused = Raw::connect(&scene.server).await;
    refused.send(HANDSHAKE).await;
    let answer = refused.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("retry-after: ") && answer.contains("too many connections"), "{answer}");
    // Who was refused, and does not leave, takes nobody's place.
    drop(one);
    scene.server.wait_for_metric("pointsman_connections", 3).await;
    let three = Raw::open(&scene.server).await;
    scene.goes_on().await;
    drop((refused, two, three));
    scene.settles().await;
    scene.ends().await;
}
