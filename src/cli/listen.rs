//! `listen`: be a client, and print what arrives.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::arguments::ListenArguments;
use super::{Exit, Format, complain, runtime};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects and prints until told to end.
pub(super) fn listen(arguments: &ListenArguments) -> Exit {
    let remarks = Remarks(arguments.format);
    let request = match request(&arguments.server) {
        Ok(request) => request,
        Err(why) => {
            remarks.say("wrong usage", &format!("`{}`: {why}", arguments.server));
            return Exit::Usage;
        }
    };
    let Some(runtime) = runtime() else { return Exit::Environment };
    runtime.block_on(async {
        tokio::select! {
            exit = run(request, arguments, remarks) => exit,
            // Only where the system cannot tell of Ctrl-C does listening go on without it.
            Ok(()) = tokio::signal::ctrl_c() => Exit::Fine,
        }
    })
}

/// What is said beside the messages.
#[derive(Clone, Copy)]
struct Remarks(Format);

impl Remarks {
    fn say(self, what: &str, detail: &str) {
        match self.0 {
            Format::Human if detail.is_empty() => complain(what),
            Format::Human => complain(&format!("{what}: {detail}")),
            Format::Json => {
                // Where stderr is closed there is nobody to tell.
                writeln!(io::stderr().lock(), "{}", json!({ "remark": what, "detail": detail })).ok();
            }
        }
    }
}

/// What a message of the server means to the listener, beyond being printed.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Event,
    Denied,
    TopicsDenied(Vec<String>),
    Nothing,
}

fn request(server: &str) -> Result<Request, &'static str> {
    let url = match server.split_once("://") {
        // A URL of the demo page, as copied from a browser.
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("ws", _)) => server.to_owned(),
        Some(("wss" | "https", _)) => return Err("TLS is not yet supported: listen at `ws://`"),
        _ => return Err("a server is written as ws://HOST:PORT/"),
    };
    url.into_client_request().map_err(|_| "a server is written as ws://HOST:PORT/")
}

async fn run(request: Request, arguments: &ListenArguments, remarks: Remarks) -> Exit {
    let server = &arguments.server;
    let mut socket = match timeout(CONNECT, connect_async(request)).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => {
            remarks.say("cannot reach", &format!("{server}: {error}"));
            return Exit::Environment;
        }
        Err(_) => {
            remarks.say("cannot reach", &format!("{server}: no answer within {} s", CONNECT.as_secs()));
            return Exit::Environment;
        }
    };
    let hello = json!({ "access_token": arguments.token.expose_secret(), "topics": arguments.topics });
    if let Err(error) = socket.send(Message::text(hello.to_string())).await {
        remarks.say("connection lost", &error.to_string());
        return Exit::Environment;
    }
    let exit = print_messages(&mut socket, arguments, remarks).await;
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    // A courtesy: the server finds out anyway.
    timeout(GOODBYE, socket.close(Some(goodbye))).await.ok();
    exit
}

async fn print_messages(socket: &mut Socket, arguments: &ListenArguments, remarks: Remarks) -> Exit {
    let mut left = arguments.count.map(std::num::NonZeroU64::get);
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => return closed(frame.as_ref(), remarks),
            // Pings are answered by the codec. Pointsman sends no binary messages.
            Some(Ok(_)) => continue,
            Some(Err(Error::ConnectionClosed)) | None => return closed(None, remarks),
            Some(Err(error)) => {
                remarks.say("connection lost", &error.to_string());
                return Exit::Environment;
            }
        };
        match print_line(&text) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Fine,
            Err(error) => {
                remarks.say("cannot write to stdout", &error.to_string());
                return Exit::Environment;
            }
        }
        match meaning(&text) {
            Meaning::Event => {
                if let Some(left) = &mut left {
                    *left -= 1;
                    if *left == 0 {
                        return Exit::Fine;
                    }
                }
            }
            Meaning::Denied => {
                remarks.say("access denied", "the server does not know this token");
                return Exit::AtFault;
            }
            Meaning::TopicsDenied(topics) => remarks.say("topics denied", &topics.join(", ")),
            Meaning::Nothing => {}
        }
    }
}

/// Prints a message as one line, also where its payload came with line breaks, which JSON has only between its parts.
fn print_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if text.contains(['\n', '\r']) {
        writeln!(stdout, "{}", text.replace(['\n', '\r'], " "))?;
    } else {
        writeln!(stdout, "{text}")?;
    }
    stdout.flush()
}

fn meaning(text: &str) -> Meaning {
    let Ok(Value::Object(message)) = serde_json::from_str(text) else { return Meaning::Nothing };
    if message.get("error").and_then(Value::as_str) == Some("access denied") {
        return Meaning::Denied;
    }
    let denied = message.get("denied").and_then(Value::as_array);
    let denied: Vec<String> =
        denied.into_iter().flatten().filter_map(|topic| topic.as_str().map(str::to_owned)).collect();
    if !denied.is_empty() {
        return Meaning::TopicsDenied(denied);
    }
    if message.contains_key("data") { Meaning::Event } else { Meaning::Nothing }
}

/// What the end of the connection, as the server gave it, means: whether it refused this client, or just went away.
fn closed(frame: Option<&CloseFrame>, remarks: Remarks) -> Exit {
    let Some(frame) = frame else {
        remarks.say("connection lost", "the server closed it without a word");
        return Exit::Environment;
    };
    let code = u16::from(frame.code);
    let (why, exit) = match code {
        1000 => ("the server ended the connection", Exit::Environment),
        1001 => ("the server is leaving", Exit::Environment),
        1008 => ("the server's policy does not admit this client", Exit::AtFault),
        1009 => ("a message was too large", Exit::AtFault),
        1012 => ("the server restarts; connect again in a moment", Exit::Environment),
        1013 => ("the server cannot serve now; try again later", Exit::Environment),
        4401 => ("not authenticated: the token is unknown, or came too late", Exit::AtFault),
        4403 => ("the server ended this session", Exit::AtFault),
        4408 => ("this client was too slow", Exit::AtFault),
        4409 => ("the session has expired", Exit::AtFault),
        4429 => ("over a limit of the server", Exit::AtFault),
        _ => ("the server closed the connection", Exit::Environment),
    };
    let reason = if frame.reason.is_empty() { String::new() } else { format!(", `{}`", frame.reason) };
    remarks.say("closed", &format!("{why} ({code}{reason})"));
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_mean_what_the_wire_says() {
        let cases = [
            (
                r#"{"status":"ok","type":"system","connected":false,"message":"access_token expected"}"#,
                Meaning::Nothing,
            ),
            (r#"{"status":"error","error":"access denied"}"#, Meaning::Denied),
            (r#"{"status":"ok","data":{"error":"access denied"}}"#, Meaning::Event),
            (r#"{"status":"ok","id":7,"data":null}"#, Meaning::Event),
            (r#"{"status":"ok","subscribed":["a"],"denied":[]}"#, Meaning::Nothing),
            (r#"{"status":"ok","subscribed":[],"denied":["a"]}"#, Meaning::TopicsDenied(vec!["a".to_owned()])),
            ("no JSON", Meaning::Nothing),
        ];
        for (text, expected) in cases {
            assert_eq!(meaning(text), expected, "{text}");
        }
    }

    #[test]
    fn servers_are_websocket_urls() {
        for (server, expected) in [
            ("ws://127.0.0.1:8080/", Some("ws://127.0.0.1:8080/")),
            ("http://push.internal:8080/ws", Some("ws://push.internal:8080/ws")),
            ("wss://push.internal", None),
            ("127.0.0.1:8080", None),
            ("ws://", None),
        ] {
            assert_eq!(request(server).ok().map(|request| request.uri().to_string()).as_deref(), expected, "{server}");
        }
    }
}
