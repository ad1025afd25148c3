use secrecy::ExposeSecret as _;

use super::*;

const ALL: Accept = Accept { message: true, header: true, query: true };
const HANDSHAKE: &str = "GET /ws?access_token=a%20b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn read(head: &str, accept: Accept) -> Option<(usize, Action)> {
    read_head(head.as_bytes(), Door { accept, demo: true, local: true })
}

fn upgrade(head: &str, accept: Accept) -> (String, Option<String>) {
    let Some((_, Action::Upgrade { response, token })) = read(head, accept) else { panic!("no upgrade: {head}") };
    (String::from_utf8(response.to_vec()).unwrap(), token.map(|token| token.expose_secret().to_owned()))
}

#[test]
fn a_handshake_is_answered_as_the_protocol_says() {
    let (response, token) = upgrade(&format!("{HANDSHAKE}\r\n"), ALL);
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    // The key and its answer are the example of RFC 6455, 1.3.
    assert!(response.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    assert_eq!(token.as_deref(), Some("a b"));
}

#[test]
fn a_token_comes_in_only_where_it_may() {
    let with_header = format!("{HANDSHAKE}Authorization: bearer t\r\n\r\n");
    let accept = |header, query| Accept { message: true, header, query };
    for (accept, token) in [
        (ALL, Some("t")),
        (accept(false, true), Some("a b")),
        (accept(true, false), Some("t")),
        (accept(false, false), None),
    ] {
        assert_eq!(upgrade(&with_header, accept).1.as_deref(), token, "{accept:?}");
    }
}

#[test]
fn a_head_is_waited_for_until_it_is_whole() {
    let head = format!("{HANDSHAKE}\r\n");
    for end in 0..head.len() {
        assert!(read(&head[..end], ALL).is_none(), "{end}");
    }
    let (length, _) = read(&format!("{head}more"), ALL).unwrap();
    assert_eq!(length, head.len());
}

/// A request to the host `x`, with more headers.
fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// The response to a request that is no handshake.
fn response_to(head: &str) -> String {
    let Some((_, Action::Respond(response))) = read(head, ALL) else { panic!("no response: {head}") };
    String::from_utf8(response.to_vec()).unwrap()
}

/// Describes the result of a request in a few words.
fn outcome(head: &str) -> String {
    match read(head, ALL) {
        None => "more".to_owned(),
        Some((_, Action::Upgrade { token, .. })) => {
            format!("upgrade {}", token.as_ref().map_or("", |token| token.expose_secret()))
        }
        Some((_, Action::Publish { length })) => format!("publish {length}"),
        Some((_, Action::Respond(response))) => String::from_utf8_lossy(&response[9..12]).into_owned(),
    }
}

#[test]
fn a_request_has_one_host() {
    let with = |hosts: &str| HANDSHAKE.replace("Host: x\r\n", hosts) + "\r\n";
    for (hosts, expected) in [
        ("host: push.example.org:8080\r\n", "upgrade a b"),
        ("Host: [::1]:8080\r\n", "upgrade a b"),
        ("Host:\r\n", "upgrade a b"),
        ("", "400"),
        ("Host: x\r\nHost: x\r\n", "400"),
        ("Host: x\r\nHOST: y\r\n", "400"),
        ("Host: x, y\r\n", "400"),
        ("Host: x y\r\n", "400"),
        ("Host: http://x\r\n", "400"),
        ("Host: me@x\r\n", "400"),
        ("Host: x\r\nHost: \u{fc}\r\n", "400"),
    ] {
        assert_eq!(outcome(&with(hosts)), expected, "{hosts}");
    }
    assert_eq!(outcome("GET / HTTP/1.1\r\n\r\n"), "400", "of any request");
    assert_eq!(outcome("GET / HTTP/1.0\r\n\r\n"), "200", "HTTP/1.0 knows no host");
}

#[test]
fn a_target_may_be_a_whole_url() {
    let at = |target: &str| HANDSHAKE.replace("/ws?access_token=a%20b", target) + "\r\n";
    for (target, expected) in [
        ("http://x/ws?access_token=t", "upgrade t"),
        ("HTTPS://x:443/ws", "upgrade "),
        ("http://elsewhere/", "upgrade "),
        ("http://x", "upgrade "),
        ("http://x?access_token=t", "upgrade t"),
        ("/?to=http://x/ws", "upgrade "),
        ("http://x/nothing", "404"),
        ("http:///ws", "400"),
        ("http://me@x/ws", "400"),
        ("ftp://x/ws", "404"),
    ] {
        assert_eq!(outcome(&at(target)), expected, "{target}");
    }
    let publish = |host: &str, origin: &str| {
        format!(
            "POST http://{host}/demo/publish HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nContent-Length: 1\r\n\r\n"
        )
    };
    assert_eq!(outcome(&publish("127.0.0.1", "http://127.0.0.1")), "publish 1", "the target's host counts");
    assert_eq!(outcome(&publish("127.0.0.1", "http://localhost")), "403", "the target's host counts");
}

#[test]
fn a_body_has_one_length() {
    for (headers, expected) in [
        ("Content-Length: 74\r\n", "publish 74"),
        ("Content-Length:  074 \r\n", "publish 74"),
        ("Content-Length: 0\r\n", "publish 0"),
        ("Content-Length: 74\r\nContent-Length: 0\r\n", "400"),
        ("Content-Length: 74\r\nContent-Length: 74\r\n", "400"),
        ("Content-Length: 74, 74\r\n", "400"),
        ("Content-Length: +74\r\n", "400"),
        ("Content-Length: -1\r\n", "400"),
        ("Content-Length: 0x10\r\n", "400"),
        ("Content-Length: 7 4\r\n", "400"),
        ("Content-Length:\r\n", "400"),
        ("Content-Length: 123456789012345678901234567890\r\n", "413"),
        ("Content-Length: 74\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 74\r\n", "400"),
        ("Transfer-Encoding: chunked\r\n", "411"),
    ] {
        assert_eq!(outcome(&request("POST /demo/publish", headers)), expected, "{headers}");
    }
    for (headers, expected) in [
        ("Content-Length: 0\r\n", "upgrade a b"),
        ("Content-Length: 1\r\n", "400"),
        ("Content-Length: x\r\n", "400"),
        ("Transfer-Encoding: chunked\r\n", "400"),
    ] {
        assert_eq!(outcome(&format!("{HANDSHAKE}{headers}\r\n")), expected, "a handshake with {headers}");
    }
}

#[test]
fn headers_of_a_handshake_stand_as_often_as_they_may() {
    let with = |line: &str, lines: &str| HANDSHAKE.replace(line, lines) + "\r\n";
    let (upgrade, key) = ("Upgrade: websocket\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    for (line, lines, expected) in [
        (upgrade, "Upgrade: h2c\r\nUpgrade: websocket\r\n", "upgrade a b"),
        (upgrade, "Upgrade: h2c, WebSocket\r\n", "upgrade a b"),
        (upgrade, "Upgrade: h2c\r\nUpgrade: h3\r\n", "200"),
        ("Connection: keep-alive, Upgrade\r\n", "Connection: keep-alive\r\nConnection: upgrade\r\n", "upgrade a b"),
        (key, &key.repeat(2), "400"),
        (key, &format!("{key}Sec-WebSocket-Key: \u{fc}\r\n"), "400"),
        ("Version: 13\r\n", "Version: 13\r\nSec-WebSocket-Version: 8\r\n", "426"),
    ] {
        let target = if expected == "200" { with(line, lines).replace("/ws?", "/?") } else { with(line, lines) };
        assert_eq!(outcome(&target), expected, "{lines}");
    }
}

#[test]
fn a_response_to_head_is_that_to_get_without_its_body() {
    for (target, status) in [("/", "200"), ("/demo.css", "200"), ("/ws", "426"), ("/nothing", "404")] {
        let (get, head) =
            (response_to(&request(&format!("GET {target}"), "")), response_to(&request(&format!("HEAD {target}"), "")));
        assert!(get.starts_with(&format!("HTTP/1.1 {status} ")) && get.contains("content-length: "), "{get}");
        let (headers, body) = get.split_once("\r\n\r\n").unwrap();
        assert!(!body.is_empty(), "{target}");
        assert_eq!(head, format!("{headers}\r\n\r\n"), "{target}");
    }
    for head in [
        HANDSHAKE.replace("GET", "HEAD") + "\r\n",
        "HEAD / HTTP/1.1\r\n\r\n".to_owned(),
        request("HEAD /", "\0: x\r\n"),
        request("HEAD /", &"a: b\r\n".repeat(65)),
    ] {
        assert!(response_to(&head).ends_with("\r\n\r\n"), "{head}");
    }
}

#[test]
fn what_is_wrong_or_not_here_gets_its_status() {
    let without = |line: &str| format!("{}\r\n", HANDSHAKE.replace(line, ""));
    for (head, status) in [
        (request("GET /", ""), "200"),
        (request("GET /ws", ""), "426"),
        (request("GET /nothing", ""), "404"),
        (request("POST /", ""), "405"),
        (request("POST /demo/publish", ""), "411"),
        (request("POST /demo/publish", "content-length: 65537\r\n"), "413"),
        ("POST /demo/publish HTTP/1.1\r\nhost: a\r\norigin: http://b\r\ncontent-length: 1\r\n\r\n".to_owned(), "403"),
        // A name of another site that leads here.
        (
            "POST /demo/publish HTTP/1.1\r\nhost: b:1\r\norigin: http://b:1\r\ncontent-length: 1\r\n\r\n".to_owned(),
            "403",
        ),
        ("POST /demo/publish HTTP/1.1\r\nhost: a\r\norigin: null\r\ncontent-length: 1\r\n\r\n".to_owned(), "403"),
        ("\x16\x03\x01\x02 TLS".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES)), "431"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65)), "431"),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), "505"),
        (without("Connection: keep-alive, Upgrade\r\n"), "400"),
        (without("Sec-WebSocket-Version: 13\r\n"), "426"),
        (without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400"),
        (HANDSHAKE.replace("ZQ==", "ZQ=!") + "\r\n", "400"),
    ] {
        let response = response_to(&head);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {response}");
    }
    let publish =
        "POST /demo/publish HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:1\r\nContent-Length: 12\r\n\r\n";
    assert!(matches!(read(publish, ALL), Some((_, Action::Publish { length: 12 }))));
}
