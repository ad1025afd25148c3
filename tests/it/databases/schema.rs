//! Queries and the schema: statements of every kind, tables that change, queries that do not fit.

use pointsman::event::Scalar;
use pointsman::lookup::LookupError;
use serde_json::Value;

use super::{Asked, databases, execute, text};
use crate::support::server::Server as Program;

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_write_answer_too() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, n int, i varchar(20))";
    let [postgres, mariadb] = databases(&table.replace("i varchar(20)", "i inet"), table).await;
    let insert = "INSERT INTO t (id, n) VALUES (:id, 1) RETURNING id, n; -- done";
    for url in [&postgres, &mariadb] {
        let asked = Asked::open(url, "max: 1", &[insert, "SELECT count(*) FROM t", "DELETE FROM t"]).await;
        let rows = asked.rows(0, None, &[("id", text("7"))]).await.unwrap();
        assert_eq!(*rows.rows[0], [Scalar::Int(7), Scalar::Int(1)], "{url}");
        assert_eq!(asked.one(1).await, Scalar::Int(1));
        assert_eq!(asked.ask(2).await, Ok(vec![]));
        assert_eq!(asked.one(1).await, Scalar::Int(0));
    }
    let asked = Asked::open(
        &postgres,
        "max: 1",
        &[
            "WITH w AS (INSERT INTO t VALUES (1, 2, '::1') RETURNING n) SELECT n FROM w",
            "UPDATE t SET n = 3 RETURNING n, i",
            "UPDATE t SET n = 4 RETURNING n, host(i)",
            "VALUES (1, '::1'::inet) /* and */ -- nothing",
        ],
    )
    .await;
    assert_eq!(asked.one(0).await, Scalar::Int(2));
    let error = asked.ask(1).await.unwrap_err();
    let said = "column `i` is of type inet, cast it to text in the query";
    assert!(matches!(&error, LookupError::Failed(message) if message.starts_with(said)), "{error}");
    assert_eq!(asked.ask(2).await, Ok(vec![vec![Scalar::Int(4), text("::1")]]));
    assert_eq!(asked.ask(3).await, Ok(vec![vec![Scalar::Int(1), text("::1")]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_changes_under_a_prepared_query_costs_nothing() {
    let table = "CREATE TABLE t (tenant bigint, a int); INSERT INTO t VALUES (7, 1);";
    for url in databases(table, table).await {
        let query = "SELECT t.*, 'end' AS e FROM t WHERE tenant = :tenant";
        let asked = Asked::open(&url, "max: 1", &[query]).await;
        let row = async || asked.rows(0, Some("7"), &[]).await.map(|rows| rows.rows[0].to_vec());
        assert_eq!(row().await, Ok(vec![Scalar::Int(7), Scalar::Int(1), text("end")]), "{url}");
        execute(&url, "ALTER TABLE t ADD COLUMN b varchar(5) DEFAULT 'new'").await;
        assert_eq!(row().await, Ok(vec![Scalar::Int(7), Scalar::Int(1), text("new"), text("end")]), "{url}");
        execute(&url, "DROP TABLE t; CREATE TABLE t (tenant varchar(9)); INSERT INTO t VALUES ('7');").await;
        assert_eq!(row().await, Ok(vec![text("7"), text("end")]), "{url}");
        execute(&url, "DROP TABLE t").await;
        let error = row().await.unwrap_err();
        assert!(matches!(error, LookupError::Failed(_)), "{error}");
        execute(&url, table).await;
        assert_eq!(row().await, Ok(vec![Scalar::Int(7), Scalar::Int(1), text("end")]), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_does_not_fit_is_told_of_and_fails_alone() {
    let table =
        "CREATE TABLE people (id int, tenant varchar(9), token varchar(9)); INSERT INTO people VALUES (1, 'a', 't');";
    for url in databases(table, table).await {
        let yaml = format!(
            "event: {{ payload: data, tenant: tenant }}
auth: {{ providers: [{{ sql: {{ query: person }} }}] }}
routes: [{{ name: all, to: {{ users: {{ query: missing }} }} }}]
topics: [{{ match: \"a:{{id}}\", allow: {{ query: late, with: {{ id: \"{{id}}\" }} }} }}]
database:
  url: {url}
  queries:
    person: {{ sql: 'SELECT id AS person, tenant FROM people WHERE token = :token' }}
    missing: {{ sql: 'SELECT user_id FROM nowhere WHERE tenant = :tenant' }}
    late: {{ sql: 'SELECT 1 FROM late WHERE id = :id AND tenant = :tenant' }}
"
        );
        let server = Program::start(&yaml).await;
        for (query, message, key, said) in [
            ("person", "the query lacks columns that it is asked for", "missing", "user"),
            ("missing", "the database refuses the query; check it against the schema", "said", "nowhere"),
            ("late", "the database refuses the query; check it against the schema", "said", "late"),
        ] {
            let is_it = |line: &Value| line["query"] == query && line["message"] == message;
            let line = server.wait_for_log(message, is_it).await;
            assert!(line[key].as_str().unwrap_or_default().contains(said), "{line}");
        }
        assert_eq!(server.metric("pointsman_database_up").await, 1, "{url}");
    }
}
