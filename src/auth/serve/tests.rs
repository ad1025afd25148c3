//! The task between shards that tests play and real providers.

use std::net::{IpAddr, Ipv4Addr};

use secrecy::SecretString;

use super::*;
use crate::auth::authenticator::tests::authenticator;
use crate::shard::{ConnectionKey, ShardId, test_pair};

/// Takes as long as the database may: some seconds.
const SLOW: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
    SELECT i AS user, :token AS tenant FROM n WHERE i < 0";

fn request(shard: u8, index: u32, token: &str) -> AuthenticateRequest {
    AuthenticateRequest {
        shard: ShardId::new(shard),
        connection: ConnectionKey { index, generation: 0 },
        token: SecretString::from(token),
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// The connection that is answered next, and whether it was accepted.
async fn answered(words: &mut mpsc::Receiver<ToShard>) -> (u32, Result<(), Refusal>) {
    match words.recv().await {
        Some(ToShard::Authenticated(connection, decision)) => (connection.index, decision.map(|_| ())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_slow_database_holds_up_no_listed_token() {
    let (authenticator, _) = authenticator(&["tokens", SLOW], "sqlite::memory:").await;
    let (shard, mut words) = test_pair(8);
    let (requests, receiver) = mpsc::channel(100);
    let task = tokio::spawn(serve(InForce::new(authenticator), receiver, Shards::new(vec![shard])));
    for index in 0..90 {
        requests.send(request(0, index, "asked for")).await.unwrap();
    }
    requests.send(request(0, 90, "list")).await.unwrap();
    assert_eq!(answered(&mut words).await, (90, Ok(())));
    // No shard is left: the task ends, and with it what was under way.
    drop(requests);
    task.await.unwrap();
    assert!(words.recv().await.is_none());
}

#[tokio::test]
async fn a_shard_that_lags_holds_up_its_own_answers_alone_and_loses_none() {
    let (authenticator, _) = authenticator(&["tokens"], "sqlite::memory:").await;
    let ((lagging, mut late), (quick, mut words)) = (test_pair(1), test_pair(1));
    let (requests, receiver) = mpsc::channel(100);
    let task = tokio::spawn(serve(InForce::new(authenticator), receiver, Shards::new(vec![lagging, quick])));
    for index in 0..3 {
        requests.send(request(0, index, "list")).await.unwrap();
    }
    requests.send(request(1, 9, "none")).await.unwrap();
    assert_eq!(answered(&mut words).await, (9, Err(Refusal::Denied)));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(answered(&mut late).await.0);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
    drop(requests);
    task.await.unwrap();
}

#[tokio::test]
async fn answers_of_the_database_come_back_to_who_asked() {
    let sql = "SELECT 7 AS user, 'acme' AS tenant WHERE :token = 'good'";
    let (authenticator, _) = authenticator(&[sql], "sqlite::memory:").await;
    let ((one, mut first), (two, mut second)) = (test_pair(8), test_pair(8));
    let (requests, receiver) = mpsc::channel(8);
    let task = tokio::spawn(serve(InForce::new(authenticator), receiver, Shards::new(vec![one, two])));
    requests.send(request(0, 1, "good")).await.unwrap();
    requests.send(request(1, 2, "bad")).await.unwrap();
    assert_eq!(answered(&mut first).await, (1, Ok(())));
    assert_eq!(answered(&mut second).await, (2, Err(Refusal::Denied)));
    drop(requests);
    task.await.unwrap();
}
