//! Identities that a query has answered, kept for a while, and forgotten when an event says so.

use serde_json::json;

use crate::support::client::Client;
use crate::support::server::Server;

const CONFIG: &str = "
event: { payload: data, tenant: data.tenant, type: data.type }
database:
  url: \"sqlite::memory:\"
  queries:
    user_by_token:
      sql: SELECT 1 AS user, 'acme' AS tenant WHERE :token IN ('ann', 'bob')
      cache: { ttl: 1h, max: 100 }
auth: { providers: [{ sql: { query: user_by_token } }] }
routes:
  - name: revoked
    when: { data.type: revoked }
    do: { forget: user_by_token, with: { token: \"{data.token}\" } }
  - name: all
    to: { tenant: true }
";

const ASKED: &str = "pointsman_lookups_total{query=\"user_by_token\",outcome=\"ok\"}";

#[tokio::test]
async fn a_token_is_asked_for_once_until_it_is_to_be_forgotten() {
    let server = Server::start(CONFIG).await;
    for _ in 0..5 {
        for token in ["ann", "bob"] {
            Client::session(&server, token, &[]).await.leave().await;
        }
    }
    assert_eq!(server.metric(ASKED).await, 2);
    server.publish(json!({ "data": { "type": "revoked", "tenant": "acme", "token": "ann" } })).await;
    let mut asked = 2;
    for _ in 0..1_000 {
        Client::session(&server, "ann", &[]).await.leave().await;
        asked = server.metric(ASKED).await;
        if asked == 3 {
            break;
        }
    }
    assert_eq!(asked, 3, "ann is asked for anew");
    Client::session(&server, "bob", &[]).await.leave().await;
    assert_eq!(server.metric(ASKED).await, 3, "and bob is not");
    let hits = "pointsman_auth_cache_total{provider=\"sql\",result=\"hit\"}";
    assert!(server.metric(hits).await >= 9);
}
