//! A WebSocket client that expects things, and says what it got instead.

use std::net::{IpAddr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use super::process::DEADLINE;
use super::server::Server;

/// One connection.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// All that was received, for the message of a failure.
    received: Vec<String>,
}

/// What comes next on a connection.
#[derive(Debug)]
enum Next {
    Message(Value),
    /// With its code; `None` where the connection just ended.
    Closed(Option<u16>),
}

impl Client {
    /// Connects, and reads the greeting.
    pub async fn connect(server: &Server) -> Self {
        let mut client = Self::open(server.clients, "/", &[]).await;
        client.expect(&json!({ "status": "ok", "type": "system", "connected": false })).await;
        client
    }

    /// Connects to this path with these headers, and reads nothing.
    pub async fn open(address: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let (socket, _) = timeout(DEADLINE, connect_async(request))
            .await
            .expect("a WebSocket in time")
            .unwrap_or_else(|error| panic!("no WebSocket at {path}: {error}"));
        Self { socket, received: Vec::new() }
    }

    /// Connects from this address of this machine, and reads the greeting.
    pub async fn connect_from(from: IpAddr, server: &Server) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = socket.connect(server.clients).await.unwrap();
        let request = format!("ws://{}/", server.clients).into_client_request().unwrap();
        let (socket, _) = client_async(request, MaybeTlsStream::Plain(stream)).await.unwrap();
        let mut client = Self { socket, received: Vec::new() };
        client.expect(&json!({ "status": "ok", "type": "system", "connected": false })).await;
        client
    }

    /// Connects with this token and subscribes, all of which must be granted.
    pub async fn session(server: &Server, token: &str, topics: &[&str]) -> Self {
        let mut client = Self::connect(server).await;
        client.authenticate(token).await;
        if !topics.is_empty() {
            client.subscribe(topics).await;
        }
        client
    }

    /// Gives a token, which must be accepted.
    pub async fn authenticate(&mut self, token: &str) {
        self.send(&json!({ "access_token": token })).await;
        self.expect(&json!({ "status": "ok", "connected": true })).await;
    }

    /// Subscribes to these topics, all of which must be granted.
    pub async fn subscribe(&mut self, topics: &[&str]) {
        self.send(&json!({ "subscribe": topics })).await;
        self.expect(&json!({ "status": "ok", "subscribed": topics, "denied": [] })).await;
    }

    /// Ends these subscriptions.
    pub async fn unsubscribe(&mut self, topics: &[&str]) {
        self.send(&json!({ "unsubscribe": topics })).await;
        self.expect(&json!({ "status": "ok", "unsubscribed": topics })).await;
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) {
        self.send_frame(Message::text(message.to_string())).await;
    }

    /// Sends whatever a client can.
    pub async fn send_frame(&mut self, message: Message) {
        let sent = self.socket.send(message).await;
        sent.unwrap_or_else(|error| panic!("cannot send: {error}. Received so far:\n{}", self.received.join("\n")));
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        match self.advance().await {
            Next::Message(message) => message,
            Next::Closed(code) => {
                panic!("closed ({code:?}) where a message was due. Received so far:\n{}", self.received.join("\n"))
            }
        }
    }

    /// The payload of the next event; pings before it are passed over.
    pub async fn next_event(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == "system" {
                continue;
            }
            let Some(data) = message.get("data") else {
                panic!("not an event but {message}. Received so far:\n{}", self.received.join("\n"))
            };
            return data.clone();
        }
    }

    /// The message that came last, as it came.
    pub fn last_text(&self) -> &str {
        self.received.last().map_or("", String::as_str)
    }

    /// The next message must hold all that this one holds; pings are passed over where no ping is expected. Answers the
    /// whole of it.
    pub async fn expect(&mut self, part: &Value) -> Value {
        let is_ping = |message: &Value| message["message"] == "events ping";
        let mut message = self.next().await;
        while is_ping(&message) && !is_ping(part) {
            message = self.next().await;
        }
        for (key, value) in part.as_object().expect("an object") {
            assert_eq!(message.get(key), Some(value), "`{key}` of {message}. All:\n{}", self.received.join("\n"));
        }
        message
    }

    /// The server must close the connection. Answers its code; messages before that are passed over.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Next::Closed(code) = self.advance().await {
                return code;
            }
        }
    }

    /// All messages so far, as they were written.
    pub fn received(&self) -> &[String] {
        &self.received
    }

    /// Leaves, as a browser does whose page is closed.
    pub async fn leave(mut self) {
        self.socket.close(None).await.ok();
    }

    async fn advance(&mut self) -> Next {
        loop {
            let Ok(next) = timeout(DEADLINE, self.socket.next()).await else {
                panic!("nothing in time. Received so far:\n{}", self.received.join("\n"))
            };
            match next {
                Some(Ok(Message::Text(text))) => {
                    self.received.push(text.to_string());
                    let message = serde_json::from_str(&text);
                    return Next::Message(message.unwrap_or_else(|error| panic!("{error}: {text}")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(frame))) => return Next::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(other)) => panic!("an unexpected frame: {other:?}"),
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) | Error::Protocol(_)))
                | None => {
                    return Next::Closed(None);
                }
                Some(Err(error)) => panic!("{error}. Received so far:\n{}", self.received.join("\n")),
            }
        }
    }
}
