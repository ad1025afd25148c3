//! Tokens that an endpoint of the application knows.
//!
//! It gets `POST {"access_token": "...", "remote_addr": "..."}` and answers 200 with `user`, `tenant`, `expires_at` and
//! any further attributes, or 401 or 403 where it knows no such token. Anything else is an outage.
//!
//! A further field that is an array or an object is no attribute, and is left out: an endpoint may say more than a
//! session can hold.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;

use super::authenticator::Answer;
use super::{named, web};
use crate::config::HttpProvider;
use crate::event::Scalar;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 64 * 1024;

/// An endpoint.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    url: Url,
    timeout: Duration,
}

#[derive(Serialize)]
struct Question<'a> {
    access_token: &'a str,
    remote_addr: IpAddr,
}

impl Http {
    /// An error says why no request could be made.
    pub(super) fn new(config: &HttpProvider) -> Result<Self, String> {
        let url = Url::parse(config.url.expose_secret()).map_err(|error| error.to_string())?;
        let client = web::client(config.connect_timeout, config.concurrent, &config.headers)?;
        Ok(Self { client, url, timeout: config.timeout })
    }

    /// Asks the endpoint whose token it is at this time.
    pub(super) async fn ask(&self, token: &SecretString, remote: IpAddr, now: SystemTime) -> Answer {
        let question = Question { access_token: token.expose_secret(), remote_addr: remote.to_canonical() };
        let asked = async {
            let question = serde_json::to_string(&question).map_err(|error| error.to_string())?;
            let response = match self.send(question.clone()).await {
                Err(error) if web::broke_off(&error) => self.send(question).await,
                sent => sent,
            };
            understand(response.map_err(web::plainly)?, now).await
        };
        let answer = tokio::time::timeout(self.timeout, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {:?}", self.timeout)));
        answer.unwrap_or_else(|said| Answer::Unavailable(said.into()))
    }

    async fn send(&self, question: String) -> Result<Response, reqwest::Error> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        request.header(ACCEPT, "application/json").body(question).send().await
    }
}

async fn understand(response: Response, now: SystemTime) -> Result<Answer, String> {
    match response.status() {
        StatusCode::OK => read(&web::body(response, MAX_ANSWER).await?, now),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            // Read, so that the connection can be used again. What it says to people is not for us, and nor is a fault
            // of it.
            web::body(response, MAX_ANSWER).await.ok();
            Ok(Answer::Unknown)
        }
        status if status.is_redirection() => Err(format!("it answered {status}, and redirects are not followed")),
        status => Err(format!("it answered {status}")),
    }
}

/// What an answer of status 200 says. The error holds nothing of it but names of fields that are looked for.
fn read(body: &[u8], now: SystemTime) -> Result<Answer, String> {
    let body: Value = serde_json::from_slice(body).map_err(|error| format!("its answer is no JSON: {error}"))?;
    let Value::Object(fields) = body else {
        return Err("its answer is no JSON object".to_owned());
    };
    let scalar = |(name, value): (&String, &Value)| Some((CompactString::from(name), Scalar::from_json(value)?));
    let pairs: Vec<_> = fields.iter().filter_map(scalar).collect();
    named::read("field", &pairs, now).map_err(|said| format!("its answer: {said}"))
}

#[cfg(test)]
mod tests;
