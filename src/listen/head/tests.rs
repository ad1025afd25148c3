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

#[test]
fn what_is_wrong_or_not_here_gets_its_status() {
    let without = |line: &str| format!("{}\r\n", HANDSHAKE.replace(line, ""));
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "200"),
        ("GET /ws HTTP/1.1\r\n\r\n".to_owned(), "426"),
        ("GET /nothing HTTP/1.1\r\n\r\n".to_owned(), "404"),
        ("POST / HTTP/1.1\r\n\r\n".to_owned(), "405"),
        ("POST /demo/publish HTTP/1.1\r\n\r\n".to_owned(), "411"),
        ("POST /demo/publish HTTP/1.1\r\ncontent-length: 65537\r\n\r\n".to_owned(), "413"),
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
        let Some((_, Action::Respond(response))) = read(&head, ALL) else { panic!("no response: {head}") };
        let response = String::from_utf8(response.to_vec()).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {response}");
    }
    let publish =
        "POST /demo/publish HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:1\r\nContent-Length: 12\r\n\r\n";
    assert!(matches!(read(publish, ALL), Some((_, Action::Publish { length: 12 }))));
}
