//! JSON Web Tokens, with keys that a real web server publishes.

use std::path::Path;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::interval;

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::web::{Php, unix_now};

/// A key of an issuer.
struct Key {
    id: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Jwk,
}

impl Key {
    fn rsa(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        let public = DecodingKey::from_rsa_pem(pair.public_key_pem().as_bytes()).unwrap();
        Self::new(id, Algorithm::RS256, private, &public)
    }

    fn ec(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let public = DecodingKey::from_ec_pem(pair.public_key_pem().as_bytes()).unwrap();
        Self::new(id, Algorithm::ES256, private, &public)
    }

    fn new(id: &'static str, algorithm: Algorithm, private: EncodingKey, public: &DecodingKey) -> Self {
        let mut public = Jwk::from_decoding_key(public, Some(algorithm)).unwrap();
        public.common.key_id = Some(id.to_owned());
        Self { id, algorithm, private, public }
    }

    /// A token for a user, good for so many seconds.
    fn token(&self, user: u64, seconds: u64) -> String {
        let now = unix_now();
        let claims = json!({
            "sub": user, "tid": "acme", "role": "manager", "iss": "https://login.test/", "aud": "app",
            "iat": now, "nbf": now, "exp": now + seconds,
        });
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        encode(&header, &claims, &self.private).unwrap()
    }
}

/// Publishes these keys.
fn publish(folder: &Path, keys: &[&Key]) {
    let keys: Vec<Value> = keys.iter().map(|key| serde_json::to_value(&key.public).unwrap()).collect();
    let new = folder.join("new.json");
    std::fs::write(&new, json!({ "keys": keys }).to_string()).unwrap();
    std::fs::rename(new, folder.join("jwks.json")).unwrap();
}

fn settings(jwks: &str, refresh: &str) -> String {
    format!(
        "
event: {{ payload: data, tenant: data.tenant }}
auth:
  providers:
    - jwt:
        jwks: {jwks}
        refresh: {refresh}
        tenant: tid
        issuer: https://login.test/
        audience: app
    - tokens: {{ listed: {{ user: 9, tenant: acme }} }}
topics: [{{ match: \"managers:{{board}}\", allow: {{ when: {{ session.role: manager }} }} }}]
routes: [{{ name: all, to: {{ tenant: true }} }}]
"
    )
}

/// What is answered to a token.
async fn answer(server: &Server, token: &str) -> String {
    let mut client = Client::connect(server).await;
    client.send(&json!({ "access_token": token })).await;
    let said = client.next().await;
    said["message"].as_str().or(said["error"].as_str()).unwrap().to_owned()
}

/// Waits for an answer that nothing tells of but asking again.
async fn answered(server: &Server, token: &str, expected: &str) {
    let mut ask = interval(Duration::from_millis(50));
    for _ in 0..1_200 {
        ask.tick().await;
        if answer(server, token).await == expected {
            return;
        }
    }
    panic!("never `{expected}`, but {}", answer(server, token).await);
}

const DENIED: &str = "access denied";
const UNAVAILABLE: &str = "authentication unavailable";

#[tokio::test]
async fn tokens_are_good_while_the_issuer_publishes_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Key::rsa("first"), Key::ec("second"));
    let address = Php::somewhere();
    let server = Server::start(&settings(&format!("http://{address}/jwks.json"), "1s")).await;

    // There have never been keys: that is no denial, and what is no such token does not need them.
    answered(&server, &first.token(7, 60), UNAVAILABLE).await;
    assert_eq!(answer(&server, "listed").await, "Connected as user 9");
    assert_eq!(answer(&server, "stranger").await, DENIED);

    publish(folder.path(), &[&first]);
    let php = Php::start(address, &[Path::new("-t"), folder.path()], &[]).await;
    answered(&server, &first.token(7, 60), "Connected as user 7").await;
    Client::session(&server, &first.token(7, 60), &["managers:sales"]).await.leave().await;
    let forged = Key::rsa("first");
    assert_eq!(answer(&server, &forged.token(7, 60)).await, DENIED);
    let mut brief = Client::session(&server, &first.token(8, 2), &[]).await;
    assert_eq!(brief.closed().await, Some(4409));

    // The issuer changes its key: the old one's tokens are good as long as it is published.
    publish(folder.path(), &[&first, &second]);
    answered(&server, &second.token(7, 60), "Connected as user 7").await;
    assert_eq!(answer(&server, &first.token(7, 60)).await, "Connected as user 7");
    publish(folder.path(), &[&second]);
    answered(&server, &first.token(7, 60), DENIED).await;

    // What was fetched stays, whatever is published then, and whoever is there to publish it.
    std::fs::write(folder.path().join("jwks.json"), "<html>").unwrap();
    answered(&server, &first.token(7, 60), UNAVAILABLE).await;
    assert_eq!(answer(&server, &second.token(7, 60)).await, "Connected as user 7");
    php.signal(Signal::KILL);
    php.ended().await;
    let gone = |line: &Value| line["reason"].as_str().is_some_and(|said| said.contains("refused"));
    server.wait_for_log("that it is gone", gone).await;
    assert_eq!(answer(&server, &second.token(7, 60)).await, "Connected as user 7");
    let accepted = "pointsman_authentications_total{provider=\"jwt\",outcome=\"accepted\"}";
    assert!(server.metric(accepted).await >= 6);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_token_with_a_new_key_is_good_at_once_where_keys_have_not_been_fetched_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Key::ec("first"), Key::ec("second"));
    publish(folder.path(), &[&first]);
    let php = Php::start(Php::somewhere(), &[Path::new("-t"), folder.path()], &[]).await;
    let server = Server::start(&settings(&format!("http://{}/jwks.json", php.address), "10m")).await;
    assert_eq!(answer(&server, &first.token(7, 60)).await, "Connected as user 7");
    publish(folder.path(), &[&first, &second]);
    // A flood of keys that nobody has does not make it ask more often.
    for _ in 0..20 {
        assert_eq!(answer(&server, &Key::ec("unheard of").token(7, 60)).await, DENIED);
    }
    assert_eq!(php.answered(200), 1);
    // In half a minute, that is.
    answered(&server, &second.token(7, 60), "Connected as user 7").await;
    php.has_answered(200, 2).await;
    assert_eq!(php.answered(200), 2);
}
