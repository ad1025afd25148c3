//! Answers as they are read, and endpoints that misbehave, each over a socket of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::UNIX_EPOCH;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::event;

const NOW: u64 = 1_790_000_000;
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn check(body: &str) -> Result<Answer, String> {
    read(body.as_bytes(), now())
}

#[test]
fn an_answer_is_a_person_with_attributes() {
    let body = r#"{"user":7,"tenant":"acme","expires_at":1790000001,"role":"manager","level":3,"beta":true,
        "team":null,"groups":["a"],"profile":{"user":8}}"#;
    let Ok(Answer::Known(identity)) = check(body) else { panic!("{:?}", check(body)) };
    assert_eq!((identity.user.as_str(), identity.tenant.as_str()), ("7", "acme"));
    assert_eq!(identity.expires_at, Some(UNIX_EPOCH + Duration::from_secs(NOW + 1)));
    for (name, value) in [
        ("role", event::Value::Text("manager")),
        ("level", event::Value::Int(3)),
        ("beta", event::Value::Bool(true)),
        ("team", event::Value::Absent),
        ("groups", event::Value::Absent),
        ("profile", event::Value::Absent),
        ("user", event::Value::Absent),
    ] {
        assert_eq!(identity.attributes.get(name), value, "{name}");
    }
    let expired = r#"{"user":7,"tenant":"acme","expires_at":1790000000}"#;
    assert!(matches!(check(expired), Ok(Answer::Denied(_))));
}

#[test]
fn what_names_nobody_is_a_fault_and_is_not_repeated() {
    for (body, said) in [
        ("", "no JSON: EOF"),
        ("s3cret", "no JSON: expected value at line 1 column 1"),
        (r#"{"user":7,"tenant":"s3cret""#, "no JSON: EOF"),
        (r#""s3cret""#, "no JSON object"),
        ("[7]", "no JSON object"),
        ("null", "no JSON object"),
        ("{}", "there is no field `user`"),
        (r#"{"user":7}"#, "there is no field `tenant`"),
        (r#"{"user":null,"tenant":"s3cret"}"#, "field `user` is neither"),
        (r#"{"user":"","tenant":"s3cret"}"#, "field `user` is neither"),
        (r#"{"user":7.5,"tenant":"s3cret"}"#, "field `user` is neither"),
        (r#"{"user":["s3cret"],"tenant":1}"#, "there is no field `user`"),
        (r#"{"user":7,"tenant":1,"expires_at":"s3cret"}"#, "field `expires_at` is no time"),
        (r#"{"user":7,"tenant":1,"expires_at":true}"#, "field `expires_at` is no time"),
    ] {
        let error = check(body).unwrap_err();
        assert!(error.contains(said) && !error.contains("s3cret"), "{body}: {error}");
    }
    let deep = "[".repeat(10_000);
    assert!(check(&deep).unwrap_err().contains("no JSON"));
}

fn http(url: &str, timeout: Duration) -> Http {
    crate::runtime::cryptography();
    let config = HttpProvider {
        url: SecretString::from(url),
        timeout,
        connect_timeout: timeout,
        cache: None,
        concurrent: 8,
        headers: vec![("X-Api-Key".to_owned(), SecretString::from("k3y"))],
    };
    Http::new(&config).unwrap()
}

async fn ask(url: &str, timeout: Duration) -> Answer {
    http(url, timeout).ask(&SecretString::from("t0ken"), REMOTE, now()).await
}

/// Reads one request, head and body.
async fn request(socket: &mut TcpStream) -> String {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    while !request.ends_with('}') {
        let count = socket.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{request}");
        request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    request
}

/// What is made of an endpoint that answers each request with this, some of it endlessly, and closes.
async fn check_endpoint(answer: &str, endless: &str) -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ws-auth", listener.local_addr().unwrap());
    let (answer, endless) = (answer.to_owned(), endless.to_owned());
    let endpoint = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            request(&mut socket).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
            while !endless.is_empty() && socket.write_all(endless.as_bytes()).await.is_ok() {}
        }
    });
    let answer = ask(&url, Duration::from_secs(5)).await;
    endpoint.abort();
    answer
}

#[tokio::test]
async fn an_outage_of_each_kind_is_told_apart_from_a_denial_and_says_what_is_wrong() {
    let long = "x".repeat(100);
    let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{{", 5 << 20);
    for (answer, endless, said) in [
        ("", "", "closed"),
        ("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 6\r\n\r\ns3cret", "", "it answered 500"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "", "it answered 404"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", "it answered 204"),
        ("HTTP/1.1 302 Found\r\nlocation: /s3cret\r\ncontent-length: 0\r\n\r\n", "", "redirects are not followed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"user\":7,", "", "end of file"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "", "chunk"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ns3cret", "", "no JSON"),
        ("HTTP/1.1 200 OK\r\n\r\n", &long, "longer than 65536 bytes"),
        (&huge, &long, "longer than 65536 bytes"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "", "invalid HTTP"),
        ("HTTP/1.1 200 OK\r\nx: ", &long, "too large"),
    ] {
        match check_endpoint(answer, endless).await {
            Answer::Unavailable(reason) => {
                assert!(reason.contains(said), "{answer:?}: {reason}");
                for secret in ["s3cret", "t0ken", "k3y", "127.0.0.1", "ws-auth"] {
                    assert!(!reason.contains(secret), "{answer:?}: {reason}");
                }
            }
            other => panic!("{answer:?}: {other:?}"),
        }
    }
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let answer = check_endpoint(&format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"), "").await;
        assert!(matches!(answer, Answer::Unknown), "{answer:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_or_does_not_speak_is_an_outage() {
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_at = silent.local_addr().unwrap();
    for (url, said) in [
        (format!("http://{refused}/"), "refused"),
        ("http://nowhere.invalid/".to_owned(), "cannot be resolved"),
        (format!("http://{silent_at}/"), "no answer in 300ms"),
        (format!("https://{silent_at}/"), "timed out"),
    ] {
        match ask(&url, Duration::from_millis(300)).await {
            // Which of the two bounds comes first is a matter of luck.
            Answer::Unavailable(reason) if said == "timed out" && reason.contains("no answer in") => {}
            Answer::Unavailable(reason) => assert!(reason.contains(said), "{url}: {reason}"),
            other => panic!("{url}: {other:?}"),
        }
    }
}

/// Serves one connection: counts requests on it, and answers each.
async fn serve(listener: &TcpListener, requests: usize) -> Vec<String> {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..requests {
        seen.push(request(&mut socket).await);
        let body = r#"{"user":7,"tenant":"acme"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
    seen
}

fn url(address: SocketAddr) -> String {
    format!("http://app:s3cret@{address}/ws-auth?tenant=x")
}

#[tokio::test]
async fn requests_share_a_connection_and_say_who_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = http(&url(listener.local_addr().unwrap()), Duration::from_secs(5));
    let endpoint = tokio::spawn(async move { serve(&listener, 20).await });
    for _ in 0..20 {
        let answer = http.ask(&SecretString::from("t\"0ken"), "::ffff:10.0.0.9".parse().unwrap(), now()).await;
        assert!(matches!(answer, Answer::Known(_)), "{answer:?}");
    }
    let requests = endpoint.await.unwrap();
    let request = requests[19].to_lowercase();
    for line in [
        "post /ws-auth?tenant=x http/1.1\r\n",
        "content-type: application/json\r\n",
        "accept: application/json\r\n",
        "x-api-key: k3y\r\n",
        concat!("user-agent: pointsman/", env!("CARGO_PKG_VERSION"), "\r\n"),
        // `app:s3cret`
        "authorization: basic yxbwonmzy3jlda==\r\n",
        r#"{"access_token":"t\"0ken","remote_addr":"10.0.0.9"}"#,
    ] {
        assert!(request.contains(line), "{line} in\n{request}");
    }
    let shown = format!("{http:?}");
    assert!(!shown.contains("k3y"), "{shown}");
}

#[tokio::test]
async fn a_connection_that_ends_just_then_costs_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = http(&url(listener.local_addr().unwrap()), Duration::from_secs(5));
    let endpoint = tokio::spawn(async move {
        serve(&listener, 1).await;
        let (mut socket, _) = listener.accept().await.unwrap();
        request(&mut socket).await;
        drop(socket);
        serve(&listener, 1).await;
    });
    for _ in 0..2 {
        let answer = http.ask(&SecretString::from("t0ken"), REMOTE, now()).await;
        assert!(matches!(answer, Answer::Known(_)), "{answer:?}");
    }
    endpoint.await.unwrap();
}
