//! What one query may cost: rows, time, connections.

use std::time::Duration;

use pointsman::event::Scalar;
use pointsman::lookup::LookupError;

use super::{Asked, databases, execute};
use crate::support::held::eventually;
use crate::support::postgres;

/// Statements of either kind of server: a slow one, and one that counts those that are under way.
fn slow(url: &str, seconds: u32) -> [String; 2] {
    if url.starts_with("postgres") {
        [
            format!("SELECT 1 AS one, pg_sleep({seconds})"),
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = current_database() \
             AND query LIKE '%pg_sleep(%' AND pid <> pg_backend_pid()"
                .to_owned(),
        ]
    } else {
        [
            format!("SELECT 1 AS one, SLEEP({seconds})"),
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE '%SLEEP(%' \
             AND id <> CONNECTION_ID()"
                .to_owned(),
        ]
    }
}

fn unavailable(answer: Result<Vec<Vec<Scalar>>, LookupError>) -> String {
    match answer {
        Err(LookupError::Unavailable(said)) => said,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_are_not_read() {
    let [postgres, mariadb] = databases("", "").await;
    for (url, of) in [(postgres, "generate_series(1, 1000000)"), (mariadb, "seq_1_to_1000000")] {
        let (rows, bytes) = (&format!("SELECT * FROM {of}"), &format!("SELECT repeat('x', 1000000) FROM {of}"));
        let asked = Asked::open(&url, "max: 1, timeout: 10s", &[rows, bytes, "SELECT 7"]).await;
        let error = asked.ask(0).await.unwrap_err();
        assert_eq!(error, LookupError::Failed("the answer has more than 100000 rows".to_owned()), "{url}");
        // The connection on which the others were coming is not used again.
        assert_eq!(asked.metric(r#"pointsman_database_connections{state="used"}"#), 0, "{url}");
        assert_eq!(asked.one(2).await, Scalar::Int(7));
        let error = asked.ask(1).await.unwrap_err();
        assert_eq!(error, LookupError::Failed("the answer has more than 32 MiB".to_owned()), "{url}");
        assert_eq!(asked.one(2).await, Scalar::Int(7));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_query_ends_in_its_time_at_the_server_too() {
    for url in databases("", "").await {
        let [sleep, count] = slow(&url, 600);
        let asked = Asked::open(&url, "max: 1, timeout: 700ms", &[&sleep, "SELECT 7"]).await;
        let watcher = Asked::open(&url, "max: 1", &[&count]).await;
        let said = unavailable(asked.ask(0).await);
        assert!(said.contains("in 700ms") || said.contains("timeout") || said.contains("max_statement_time"), "{said}");
        assert_eq!(asked.one(1).await, Scalar::Int(7), "its place is free");
        assert_eq!(asked.metric("pointsman_database_up"), 1, "a slow query is no lost database");
        let mut ask = tokio::time::interval(Duration::from_millis(20));
        while watcher.one(0).await != Scalar::Int(0) {
            ask.tick().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_have_a_time_of_its_own() {
    let [url, _] = databases("", "").await;
    let [sleep, _] = slow(&url, 600);
    let yaml = format!(
        "event: {{ tenant: tenant }}
auth: {{ providers: [{{ tokens: {{ t: {{ user: 1, tenant: a }} }} }}] }}
routes: [{{ name: all, when: {{ a: 1 }}, to: everyone }}]
database:
  url: {url}
  pool: {{ timeout: 60s }}
  queries: {{ slow: {{ sql: \"{sleep}\", timeout: 300ms }} }}
"
    );
    let database = crate::support::config(&yaml).database.unwrap();
    let metrics = pointsman::observe::Metrics::new();
    let lookups = pointsman::lookup::Lookups::open(&database, &metrics).await.unwrap();
    let asked = Asked { lookups, metrics };
    assert!(unavailable(asked.ask(0).await).contains("in 300ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_free_connection_waits_and_is_told_so() {
    for url in databases("", "").await {
        let [sleep, _] = slow(&url, 1);
        let asked = Asked::open(&url, "max: 2, timeout: 30s", &[&sleep, "SELECT 7"]).await;
        let (used, waiting) = (r#"pointsman_database_connections{state="used"}"#, "pointsman_lookup_waiting");
        let third = async {
            eventually("both are used", || asked.metric(used) == 2, || asked.metrics.render()).await;
            let waits = eventually("one waits", || asked.metric(waiting) == 1, || asked.metrics.render());
            tokio::join!(asked.ask(1), waits).0
        };
        let (one, two, third) = tokio::join!(asked.ask(0), asked.ask(0), third);
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        assert_eq!(third, Ok(vec![vec![Scalar::Int(7)]]), "{url}");
        assert_eq!((asked.metric(waiting), asked.metric(used)), (0, 0));

        let [sleep, _] = slow(&url, 600);
        let asked = Asked::open(&url, "max: 2, timeout: 1s", &[&sleep]).await;
        let (_, _, third) = tokio::join!(asked.ask(0), asked.ask(0), asked.ask(0));
        assert!(unavailable(third).contains("in 1s"), "{url}");
        assert_eq!(asked.metric("pointsman_database_up"), 1, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_more_connections_is_not_lost() {
    let cluster = tokio::task::block_in_place(postgres::shared);
    let url = cluster.database("").await;
    execute(
        &url,
        "DO $$ BEGIN CREATE ROLE lonely LOGIN CONNECTION LIMIT 1; EXCEPTION WHEN duplicate_object THEN END $$",
    )
    .await;
    let url = url.replace("postgres@", "lonely@");
    let [sleep, _] = slow(&url, 1);
    let asked = Asked::open(&url, "max: 4, timeout: 5s", &[&sleep, "SELECT 7"]).await;
    let used = || asked.metric(r#"pointsman_database_connections{state="used"}"#);
    let second = async {
        eventually("the first is used", || used() == 1, || asked.metrics.render()).await;
        unavailable(asked.ask(1).await)
    };
    let (first, second) = tokio::join!(asked.ask(0), second);
    assert!(second.contains("too many connections for role"), "{second}");
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(asked.one(1).await, Scalar::Int(7));
    assert_eq!(asked.metric("pointsman_database_up"), 1);
}
