//! `publish`: send an event, or a file of them, to a running server.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::arguments::PublishArguments;
use super::{Exit, Format, complain, print, runtime};
use crate::config::MAX_EVENT;
use crate::source::publish::{MAX_BYTES, is_one_event};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the whole request may take. A server whose lanes are full makes its publishers wait.
const ANSWER: Duration = Duration::from_mins(1);

/// Sends the file's events.
pub(super) fn publish(arguments: PublishArguments) -> Exit {
    let PublishArguments { event, server, key, format } = arguments;
    match try_publish(&event, &server, key.filter(|key| !key.expose_secret().is_empty())) {
        Ok(accepted) => match format {
            Format::Human => print(&format!("published {accepted} {}", if accepted == 1 { "event" } else { "events" })),
            Format::Json => print(&serde_json::json!({ "accepted": accepted }).to_string()),
        },
        Err(failure) => {
            let said = match format {
                Format::Human => {
                    complain(&failure.to_string());
                    Exit::Fine
                }
                Format::Json => print(&serde_json::json!({ "accepted": 0, "error": failure.to_string() }).to_string()),
            };
            if said == Exit::Fine { failure.exit() } else { said }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("`{url}` is no server's URL: {why}")]
    Url { url: String, why: &'static str },
    #[error("https is not yet supported: publish to `http://`, on the same machine or by a tunnel")]
    Https,
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: io::Error },
    #[error("{path} is larger than the {} MiB that a server takes at once; send its events in several", MAX_BYTES >> 20)]
    TooLarge { path: String },
    #[error("{path} is larger than the {} MiB that any server takes for an event", MAX_EVENT >> 20)]
    TooLargeEvent { path: String },
    #[error("cannot reach {server}: {why}")]
    Reach { server: String, why: String },
    #[error("{server} refused ({status}): {said}")]
    Refused { server: String, status: StatusCode, said: String },
    #[error("{server} cannot take events now ({status}): {said}")]
    Unavailable { server: String, status: StatusCode, said: String },
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Url { .. } | Self::Https => Exit::Usage,
            Self::Refused { .. } | Self::TooLarge { .. } | Self::TooLargeEvent { .. } => Exit::AtFault,
            Self::Read { .. } | Self::Reach { .. } | Self::Unavailable { .. } => Exit::Environment,
        }
    }
}

fn try_publish(event: &Path, server: &str, key: Option<SecretString>) -> Result<u64, Failure> {
    let url = publish_url(server)?;
    let body = read(event)?;
    // The server would refuse it too. But it may hang up before all of it is sent, so that its reason is lost.
    if body.len() > MAX_EVENT && is_one_event(&body) {
        return Err(Failure::TooLargeEvent { path: event.display().to_string() });
    }
    if body.len() > MAX_BYTES && !is_one_event(&body) {
        return Err(Failure::TooLarge { path: event.display().to_string() });
    }
    let reach = |why: String| Failure::Reach { server: server.to_owned(), why };
    let runtime = runtime().ok_or_else(|| reach("no runtime".to_owned()))?;
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, post(url, body, key)).await });
    let (status, text) = match answer {
        Ok(answer) => answer.map_err(reach)?,
        Err(_) => return Err(reach("no answer within a minute".to_owned())),
    };
    let json: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
    if status == StatusCode::ACCEPTED {
        return json["accepted"].as_u64().ok_or_else(|| reach("what answers there is no Pointsman".to_owned()));
    }
    let said = json["error"].as_str().map_or_else(|| "it gave no reason".to_owned(), str::to_owned);
    let server = server.to_owned();
    if status.is_client_error() {
        return Err(Failure::Refused { server, status, said });
    }
    Err(Failure::Unavailable { server, status, said })
}

fn publish_url(server: &str) -> Result<Uri, Failure> {
    if let Some((_, host)) = server.rsplit_once('@') {
        // What stands before it may be a password.
        return Err(Failure::Url { url: format!("***@{host}"), why: "it has no user; give the key by --key" });
    }
    let fault = |why| Failure::Url { url: server.to_owned(), why };
    let uri: Uri = server.parse().map_err(|_| fault("write it as http://HOST:PORT"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(Failure::Https),
        _ => return Err(fault("write it as http://HOST:PORT")),
    }
    if !matches!(uri.path(), "/" | "/publish") || uri.query().is_some() {
        return Err(fault("it has a path; write http://HOST:PORT alone"));
    }
    let authority = uri.authority().ok_or_else(|| fault("it names no host"))?;
    format!("http://{authority}/publish").parse().map_err(|_| fault("write it as http://HOST:PORT"))
}

fn read(path: &Path) -> Result<Bytes, Failure> {
    let content = if path == Path::new("-") {
        let mut content = Vec::new();
        io::stdin().lock().read_to_end(&mut content).map(|_| content)
    } else {
        std::fs::read(path)
    };
    content.map(Bytes::from).map_err(|error| Failure::Read { path: path.display().to_string(), error })
}

async fn post(url: Uri, body: Bytes, key: Option<SecretString>) -> Result<(StatusCode, Bytes), String> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut request = Request::builder().method(Method::POST).uri(url).header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.expose_secret()));
    }
    let request =
        request.body(Full::new(body)).map_err(|_| "the key holds characters that no header can".to_owned())?;
    let response = client.request(request).await.map_err(|error| innermost(&error))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| innermost(&error))?;
    Ok((status, body.to_bytes()))
}

/// The cause that says something: "connection refused", not "client error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
