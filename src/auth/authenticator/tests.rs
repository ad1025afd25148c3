//! Providers in every order, with a real SQLite database behind the SQL one.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::auth::tokens::Tokens;
use crate::config::{Accept, Database, Pool, Query, QueryId, TokenIdentity};
use crate::event::{Scalar, TenantId, UserId, Value};
use crate::lookup::Lookups;
use crate::lookup::scan::Dialect;

const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const SCHEMA: &str = "
    CREATE TABLE users (id INTEGER, tenant_id TEXT, token TEXT, role TEXT, expires_at INTEGER);
    INSERT INTO users VALUES (1, 'acme', 'both', 'sql', NULL), (2, 'acme', 'sql', 'sql', NULL),
        (3, 'acme', 'old', 'sql', 1), (4, 'acme', 'twice', 'sql', NULL), (5, 'globex', 'twice', 'sql', NULL);
";

const BY_TOKEN: &str = "SELECT id AS user, tenant_id AS tenant, role, expires_at FROM users WHERE token = :token";

/// An authenticator with these providers: `tokens`, or a query's text.
pub(in crate::auth) async fn authenticator(providers: &[&str], url: &str) -> (Arc<Authenticator>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let (mut queries, mut list) = (Vec::new(), Vec::new());
    for text in providers {
        list.push(if *text == "tokens" {
            config::Provider::Tokens(["both", "list", "old"].map(listed).to_vec())
        } else {
            queries.push(Query {
                name: "by_token".into(),
                sql: (*text).to_owned(),
                binds: crate::lookup::scan::binds(Dialect::Sqlite, text).unwrap(),
                timeout: None,
                needs: &[],
                cache: None,
            });
            config::Provider::Sql(QueryId(u16::try_from(queries.len() - 1).unwrap()))
        });
    }
    let database = Database {
        url: SecretString::from(url.to_owned()),
        init: vec![(PathBuf::from("schema.sql"), SCHEMA.to_owned())],
        dialect: Dialect::Sqlite,
        pool: Pool { max: 2, timeout: Duration::from_secs(5), ..Pool::default() },
        queries,
    };
    let lookups = Lookups::open(&database, &metrics).await.unwrap();
    let accept = Accept { message: true, header: true, query: true };
    let auth = config::Auth { deadline: Duration::from_secs(10), accept, providers: list };
    let queries = Queries { epoch: 1, queries: database.queries.into(), lookups: Some(lookups), ..Queries::default() };
    let made_of =
        Foundation { auth, queries: Arc::new(queries), files: config::Plugins::default(), plugins: Arc::new([]) };
    (Authenticator::new(made_of, None, &metrics).unwrap(), metrics)
}

fn listed(token: &str) -> (SecretString, TokenIdentity) {
    let identity = TokenIdentity {
        user: UserId::new("9").unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        attributes: vec![("role".into(), Scalar::Text("list".into()))],
    };
    (SecretString::from(token.to_owned()), identity)
}

/// Asks for tokens, and compares by the role of whose they are, which is its provider's.
async fn check(providers: &[&str], url: &str, cases: &[(&str, Result<&str, Refusal>)]) {
    let (authenticator, _) = authenticator(providers, url).await;
    for (token, expected) in cases {
        let decision = authenticator.authenticate(&SecretString::from(*token), REMOTE).await;
        let role = decision.map(|identity| match identity.attributes.get("role") {
            Value::Text(role) => role.to_owned(),
            other => panic!("{other:?}"),
        });
        assert_eq!(role.as_deref().map_err(|refusal| *refusal), *expected, "{token} by {providers:?} on {url}");
    }
}

const MEMORY: &str = "sqlite::memory:";
const NOWHERE: &str = "sqlite:/nowhere/at/all.db";

#[tokio::test]
async fn the_first_provider_that_knows_the_token_decides() {
    let (denied, unavailable) = (Err(Refusal::Denied), Err(Refusal::Unavailable));
    let order = ["tokens", BY_TOKEN];
    check(&order, MEMORY, &[("both", Ok("list")), ("sql", Ok("sql")), ("list", Ok("list")), ("none", denied)]).await;
    let order = [BY_TOKEN, "tokens"];
    check(&order, MEMORY, &[("both", Ok("sql")), ("sql", Ok("sql")), ("list", Ok("list")), ("none", denied)]).await;
    // It was somebody's: the later provider is not asked any more.
    check(&order, MEMORY, &[("old", denied)]).await;
    // One token of two people is a fault, and nobody's.
    check(&order, MEMORY, &[("twice", unavailable)]).await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_decides_nothing() {
    let unavailable = Err(Refusal::Unavailable);
    for order in [["tokens", BY_TOKEN], [BY_TOKEN, "tokens"]] {
        check(&order, NOWHERE, &[("list", Ok("list")), ("both", Ok("list")), ("none", unavailable)]).await;
    }
    check(&["SELECT 1 AS user FROM users WHERE token = :token"], MEMORY, &[("sql", unavailable)]).await;
    check(&["SELECT id FROM users WHERE tenant_id = :tenant AND token = :token"], MEMORY, &[("sql", unavailable)])
        .await;
}

#[tokio::test]
async fn what_can_be_no_token_is_denied_without_asking() {
    let (longest, longer) = ("x".repeat(MAX_TOKEN), "x".repeat(MAX_TOKEN + 1));
    let (denied, unavailable) = (Err(Refusal::Denied), Err(Refusal::Unavailable));
    check(&[BY_TOKEN], NOWHERE, &[("", denied), (&longer, denied), (&longest, unavailable)]).await;
}

#[tokio::test]
async fn decisions_are_counted_and_tokens_never_shown() {
    let (authenticator, metrics) = authenticator(&["tokens"], MEMORY).await;
    for token in ["list", "list", "secret"] {
        authenticator.authenticate(&SecretString::from(token), REMOTE).await.ok();
    }
    let text = metrics.render();
    for line in [
        r#"authentications_total{provider="tokens",outcome="accepted"} 2"#,
        r#"authentications_total{provider="none",outcome="denied"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let shown = format!("{authenticator:?} {:?}", Tokens::new(&[listed("secret")]));
    assert!(!shown.contains("secret") && !shown.contains("list"), "{shown}");
}
