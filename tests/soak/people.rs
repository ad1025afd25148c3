//! Clients that are there for events: those that stay, and those that come and go.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::cast::{TENANTS, TOPICS, USERS, tenant_name, token};
use crate::ledger::{Number, Session};
use crate::weather::Weather;

/// How long the server may take for one step of a client's way in.
const STEP: Duration = Duration::from_secs(15);
/// Complaints of one client that are kept.
const KEPT: usize = 5;
/// Of all topics, a session has so many.
const TOPICS_EACH: usize = 5;

/// One client that is in.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    pub(crate) session: Session,
    /// The last number of its tenant's events, and of those for everyone: each are in order.
    last: [Option<Number>; 2],
    pub(crate) complaints: Vec<String>,
}

/// What a client left behind.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    pub(crate) sessions: Vec<Session>,
    pub(crate) complaints: Vec<String>,
    /// Ways in that failed.
    pub(crate) refused: u64,
}

/// Told to everyone: `true` when it is time to go.
pub(crate) type Over = watch::Receiver<bool>;

impl Client {
    /// Connects, gives a token, subscribes to some topics.
    pub(crate) async fn enter(address: SocketAddr, name: &str, rng: &mut fastrand::Rng) -> Result<Self, String> {
        let (tenant, user) = (rng.u8(..TENANTS), rng.u8(..USERS));
        let topics = rng.choose_multiple(0..TOPICS, TOPICS_EACH);
        Self::enter_as(address, name, tenant, user, topics).await
    }

    /// As [`enter`](Self::enter), but who it is, is given.
    pub(crate) async fn enter_as(
        address: SocketAddr,
        name: &str,
        tenant: u8,
        user: u8,
        topics: Vec<u8>,
    ) -> Result<Self, String> {
        let entering = async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let shaken = client_async(format!("ws://{address}/ws"), stream).await;
            let (socket, _) = shaken.map_err(|error| error.to_string())?;
            let name = format!("{name}, user {user} of tenant {tenant},");
            let entered = Instant::now();
            let session = Session { name, tenant, user, topics, entered, left: None, reads: true, got: Vec::new() };
            let mut client = Self { socket, session, last: [None; 2], complaints: Vec::new() };
            client.introduce().await?;
            Ok(client)
        };
        timeout(STEP, entering).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn introduce(&mut self) -> Result<(), String> {
        self.say(&json!({ "access_token": token(self.session.tenant, self.session.user) })).await?;
        self.hear(|message| message["connected"] == true && message.get("type").is_none()).await?;
        let topics: Vec<String> = self.session.topics.iter().map(|topic| format!("deal:{topic}")).collect();
        self.say(&json!({ "subscribe": topics })).await?;
        self.hear(|message| message["subscribed"].as_array().is_some_and(|all| all.len() == topics.len())).await?;
        // From here on it is owed what it is entitled to.
        self.session.entered = Instant::now();
        Ok(())
    }

    pub(crate) async fn say(&mut self, message: &Value) -> Result<(), String> {
        self.socket.send(Message::text(message.to_string())).await.map_err(|error| error.to_string())
    }

    /// Waits for an answer; events before it count.
    async fn hear(&mut self, is_it: impl Fn(&Value) -> bool) -> Result<(), String> {
        loop {
            let message = self.next().await?;
            if is_it(&message) {
                return Ok(());
            }
            if message["status"] == "error" {
                return Err(message.to_string());
            }
        }
    }

    /// The next message. An event is noted.
    pub(crate) async fn next(&mut self) -> Result<Value, String> {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => return Err(format!("closed: {frame:?}")),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("ended".to_owned()),
            };
            let message: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
            self.note(&message);
            return Ok(message);
        }
    }

    /// Reads until this time. An error says how its connection ended.
    pub(crate) async fn read_until(&mut self, until: Instant) -> Result<(), String> {
        while let Ok(message) = timeout_at(until, self.next()).await {
            message?;
        }
        Ok(())
    }

    fn note(&mut self, message: &Value) {
        let Some(data) = message.get("data") else { return };
        let number = data["n"].as_u64().and_then(|number| Number::try_from(number).ok());
        let tenant = data.get("tenant_id").and_then(Value::as_str);
        let Some(number) = number else { return self.complain(&format!("got {message}, which nobody published")) };
        if tenant.is_some_and(|tenant| tenant != tenant_name(self.session.tenant)) {
            self.complain(&format!("got another tenant's event: {message}"));
        }
        let last = &mut self.last[usize::from(tenant.is_none())];
        match last.replace(number) {
            Some(before) if before == number => self.complain(&format!("got event {number} twice")),
            Some(before) if before > number => self.complain(&format!("got event {number} after {before}")),
            _ => self.session.got.push(number),
        }
    }

    fn complain(&mut self, what: &str) {
        if self.complaints.len() < KEPT {
            self.complaints.push(format!("{} {what}", self.session.name));
        }
    }

    /// Ends the connection as a browser does whose page is closed, or as a network does that fails.
    pub(crate) async fn leave(mut self, politely: bool) -> (Session, Vec<String>) {
        if politely {
            timeout(STEP, self.socket.close(None)).await.ok();
        } else {
            SockRef::from(self.socket.get_ref()).set_linger(Some(Duration::ZERO)).ok();
        }
        (self.session, self.complaints)
    }
}

impl Memories {
    pub(crate) fn keep(&mut self, (session, complaints): (Session, Vec<String>)) {
        self.sessions.push(session);
        self.complaints.extend(complaints);
    }
}

/// One that is in from the beginning to the end. Each number that it gets is told.
pub(crate) async fn stay(mut client: Client, mut over: Over, latest: Option<watch::Sender<Number>>) -> Memories {
    let mut memories = Memories::default();
    let end = loop {
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => break None,
            message = client.next() => if let Err(error) = message { break Some(error) },
        }
        if let (Some(latest), Some(number)) = (&latest, client.session.got.last()) {
            latest.send_replace(*number);
        }
    };
    if let Some(error) = end {
        client.session.left = Some(Instant::now());
        client.complaints.push(format!("{} lost its connection: {error}", client.session.name));
    }
    memories.keep(client.leave(true).await);
    memories
}

/// One after the other that comes, stays for a while, and leaves one way or the other.
pub(crate) async fn pass(
    address: SocketAddr,
    index: usize,
    mut rng: fastrand::Rng,
    weather: Weather,
    over: Over,
) -> Memories {
    let mut memories = Memories::default();
    while !*over.borrow() {
        let entered = Client::enter(address, &format!("passer {index}"), &mut rng).await;
        let mut client = match entered {
            Ok(client) => client,
            Err(error) => {
                // What knows tokens may be away.
                memories.refused += 1;
                if weather.is_calm() {
                    memories.complaints.push(format!("passer {index} did not get in, though all was well: {error}"));
                }
                sleep(Duration::from_millis(300)).await;
                continue;
            }
        };
        let stay = Duration::from_millis(rng.u64(100..12_000));
        let mut told = over.clone();
        let end = tokio::select! {
            end = client.read_until(Instant::now() + stay) => end,
            _ = told.wait_for(|over| *over) => Ok(()),
        };
        client.session.left = Some(Instant::now());
        if let Err(error) = end {
            client.complaints.push(format!("{} lost its connection: {error}", client.session.name));
        }
        memories.keep(client.leave(rng.bool()).await);
    }
    memories
}
