//! Against real SQLite databases, in memory and in files.

use std::path::Path;

use secrecy::SecretString;

use super::*;
use crate::config::{Pool, Query};
use crate::event::Scalar;
use crate::lookup::scan::{self, Dialect};

const SCHEMA: &str = "
    CREATE TABLE users (id INTEGER, tenant_id INTEGER, name TEXT, admin BOOLEAN, score REAL, photo BLOB);
    INSERT INTO users VALUES (1, 7, 'ann', 1, 1.5, x'6869'), (2, 7, 'bob', 0, NULL, NULL), (3, 8, 'eve', NULL, 2, x'ff');
    CREATE TABLE labels (tenant TEXT, label TEXT);
    INSERT INTO labels VALUES ('7', 'seven'), ('acme', 'Acme');
";

fn database(url: &str, queries: &[&str]) -> Database {
    let query = |(index, sql): (usize, &&str)| Query {
        name: compact_str::format_compact!("q{index}"),
        sql: (*sql).to_owned(),
        binds: scan::binds(Dialect::Sqlite, sql).unwrap(),
        timeout: None,
        needs: &[],
        cache: None,
    };
    Database {
        url: SecretString::from(url.to_owned()),
        init: vec![(PathBuf::from("schema.sql"), SCHEMA.to_owned())],
        dialect: Dialect::Sqlite,
        pool: Pool { max: 2, timeout: Duration::from_secs(5), ..Pool::default() },
        queries: queries.iter().enumerate().map(query).collect(),
    }
}

async fn open(queries: &[&str]) -> Lookups {
    Lookups::open(&database("sqlite::memory:", queries), &Metrics::new()).await.unwrap()
}

async fn ask(lookups: &Lookups, tenant: Option<&str>, binds: &[(&str, Scalar)]) -> Result<Arc<Rows>, LookupError> {
    let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
    let binds = binds.iter().map(|(name, value)| (CompactString::from(*name), value.clone())).collect();
    lookups.run(QueryId(0), tenant.as_ref(), &binds).await
}

/// What the one query answers on the schema above.
async fn check(sql: &str, tenant: Option<&str>, binds: &[(&str, Scalar)]) -> Result<Vec<Vec<Scalar>>, String> {
    let rows = ask(&open(&[sql]).await, tenant, binds).await.map_err(|error| error.to_string())?;
    Ok(rows.rows.iter().map(|row| row.to_vec()).collect())
}

fn text(text: &str) -> Scalar {
    Scalar::Text(text.into())
}

/// A statement that never ends and answers no row.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0";

#[tokio::test]
async fn values_come_back_as_what_they_are() {
    let sql = "SELECT id, name, admin, score, photo, 'a' || 1, 1 = 1 AS expression FROM users WHERE id = :id";
    let ann =
        [Scalar::Int(1), text("ann"), Scalar::Bool(true), Scalar::Float(1.5), text("hi"), text("a1"), Scalar::Int(1)];
    let bob =
        [Scalar::Int(2), text("bob"), Scalar::Bool(false), Scalar::Null, Scalar::Null, text("a1"), Scalar::Int(1)];
    assert_eq!(check(sql, None, &[("id", Scalar::Int(1))]).await, Ok(vec![ann.to_vec()]));
    assert_eq!(check(sql, None, &[("id", text("2"))]).await, Ok(vec![bob.to_vec()]));
    assert_eq!(check(sql, None, &[("id", Scalar::Int(9))]).await, Ok(vec![]));

    let error = check(sql, None, &[("id", Scalar::Int(3))]).await.unwrap_err();
    assert_eq!(error, "the query failed: column `photo`: it is no text");
}

#[tokio::test]
async fn every_kind_of_value_can_be_bound() {
    let sql = "SELECT :null IS NULL, :yes, :float, :text, :big";
    let values = [
        ("null", Scalar::Null),
        ("yes", Scalar::Bool(true)),
        ("float", Scalar::Float(0.5)),
        ("text", text("ö'; --")),
        ("big", Scalar::Int(i64::MIN)),
    ];
    let expected = [Scalar::Int(1), Scalar::Int(1), Scalar::Float(0.5), text("ö'; --"), Scalar::Int(i64::MIN)];
    assert_eq!(check(sql, None, &values).await, Ok(vec![expected.to_vec()]));
}

#[tokio::test]
async fn columns_are_named_where_there_are_rows() {
    let lookups = open(&["SELECT id AS user, tenant_id FROM users WHERE id = :id"]).await;
    let rows = ask(&lookups, None, &[("id", Scalar::Int(1))]).await.unwrap();
    assert_eq!(*rows.columns, ["user", "tenant_id"]);
    let none = ask(&lookups, None, &[("id", Scalar::Int(9))]).await.unwrap();
    assert_eq!(*none, Rows::default());
}

#[tokio::test]
async fn the_tenant_is_the_callers_and_no_rules() {
    let sql = "SELECT name FROM users WHERE tenant_id = :tenant ORDER BY id";
    let other = [("tenant", text("8"))];
    assert_eq!(check(sql, Some("7"), &other).await, Ok(vec![vec![text("ann")], vec![text("bob")]]));

    let error = check(sql, None, &other).await.unwrap_err();
    assert_eq!(error, "the query failed: it binds `:tenant`, and what it is asked for has no tenant");
}

#[tokio::test]
async fn the_tenant_is_found_in_columns_of_text_and_of_integers() {
    for (sql, tenant, found) in [
        ("SELECT label FROM labels WHERE tenant = :tenant", "7", "seven"),
        ("SELECT label FROM labels WHERE tenant = :tenant", "acme", "Acme"),
        ("SELECT name FROM users WHERE tenant_id = :tenant", "8", "eve"),
        ("SELECT 'cast' WHERE json_extract('[7]', '$[0]') = CAST(:tenant AS INTEGER)", "7", "cast"),
        ("SELECT typeof(:tenant)", "7", "text"),
    ] {
        assert_eq!(check(sql, Some(tenant), &[]).await, Ok(vec![vec![text(found)]]), "{sql} for {tenant}");
    }
}

#[tokio::test]
async fn a_bind_that_was_not_given_is_an_error() {
    let error = check("SELECT :a, :b", None, &[("a", Scalar::Int(1))]).await.unwrap_err();
    assert_eq!(error, "the query failed: it binds `:b`, which was not given");
}

#[tokio::test]
async fn a_query_that_does_not_fit_the_schema_fails_alone() {
    let lookups = open(&["SELECT 1 FROM missing", "SELECT 1"]).await;
    let error = ask(&lookups, None, &[]).await.unwrap_err();
    assert_eq!(error, LookupError::Failed("no such table: missing".to_owned()));
    assert!(lookups.run(QueryId(1), None, &Binds::new()).await.is_ok());
    assert!(lookups.run(QueryId(2), None, &Binds::new()).await.is_err(), "a number that no query has");
}

#[tokio::test]
async fn answers_are_bounded() {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) SELECT i FROM n";
    assert_eq!(check(rows, None, &[("count", Scalar::Int(100_000))]).await.map(|rows| rows.len()), Ok(100_000));
    let error = check(rows, None, &[("count", Scalar::Int(100_001))]).await.unwrap_err();
    assert!(error.contains("more than 100000 rows"), "{error}");

    let bytes = "SELECT hex(zeroblob(:size))";
    let size = |megabytes: i64| [("size", Scalar::Int(megabytes << 20))];
    assert_eq!(check(bytes, None, &size(15)).await.map(|rows| rows.len()), Ok(1));
    let error = check(bytes, None, &size(16)).await.unwrap_err();
    assert!(error.contains("more than 32 MiB"), "{error}");
}

#[tokio::test]
async fn a_slow_query_is_stopped_and_the_next_one_runs_on_its_connection() {
    let mut slow = database("sqlite::memory:", &[ENDLESS, "SELECT count(*) FROM users"]);
    slow.pool.timeout = Duration::from_millis(300);
    let metrics = Metrics::new();
    let lookups = Lookups::open(&slow, &metrics).await.unwrap();
    let error = ask(&lookups, None, &[]).await.unwrap_err();
    assert!(matches!(&error, LookupError::Unavailable(said) if said.starts_with("no answer in 300ms")), "{error}");

    let rows = lookups.run(QueryId(1), None, &Binds::new()).await.unwrap();
    assert_eq!(*rows.rows[0], [Scalar::Int(3)], "the data in memory has stayed");
    let text = metrics.render();
    for line in [
        r#"pointsman_lookups_total{query="q0",outcome="unavailable"} 1"#,
        r#"pointsman_lookups_total{query="q1",outcome="ok"} 1"#,
        r#"pointsman_lookup_seconds_count{query="q1"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_stops_its_query() {
    let lookups = open(&[ENDLESS, "SELECT 1"]).await;
    let binds = Binds::new();
    let gives_up = timeout(Duration::from_millis(50), lookups.run(QueryId(0), None, &binds)).await;
    assert!(gives_up.is_err());
    lookups.run(QueryId(1), None, &binds).await.unwrap();
}

#[tokio::test]
async fn a_database_in_memory_is_one_for_all_callers() {
    for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite:here?mode=memory&cache=shared"] {
        let lookups = Lookups::open(&database(url, &["SELECT count(*) FROM users"]), &Metrics::new()).await.unwrap();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let lookups = lookups.clone();
                tokio::spawn(async move { lookups.run(QueryId(0), None, &Binds::new()).await })
            })
            .collect();
        for call in calls {
            assert_eq!(*call.await.unwrap().unwrap().rows[0], [Scalar::Int(3)], "{url}");
        }
    }
}

#[tokio::test]
async fn a_script_that_does_not_run_says_which_and_why() {
    let mut broken = database("sqlite::memory:", &[]);
    broken.init.push((PathBuf::from("demo.sql"), "CREATE TABLE users (id)".to_owned()));
    let error = Lookups::open(&broken, &Metrics::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "the script `demo.sql` did not run: table users already exists");
}

#[tokio::test]
async fn what_no_retry_mends_is_an_error_at_open() {
    for (url, said) in [
        ("postgres://u:hunter2@db/x", "does not begin with `sqlite:`"),
        ("sqlite:x?mode=sometimes", "unknown value \"sometimes\" for `mode`"),
    ] {
        let error = Lookups::open(&database(url, &[]), &Metrics::new()).await.unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_unavailable_until_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    let url = |mode: &str| format!("sqlite:{}{mode}", file.display());
    let lookups = Lookups::open(&database(&url(""), &["SELECT 1"]), &Metrics::new()).await.unwrap();
    let error = ask(&lookups, None, &[]).await.unwrap_err();
    let said = format!("there is no file `{}`; a URL with `?mode=rwc` creates it", file.display());
    assert_eq!(error, LookupError::Unavailable(said));
    assert!(!file.exists());

    let creating = Lookups::open(&database(&url("?mode=rwc"), &["SELECT 1"]), &Metrics::new()).await.unwrap();
    ask(&creating, None, &[]).await.unwrap();
    ask(&lookups, None, &[]).await.unwrap();
}

#[tokio::test]
async fn a_locked_or_broken_file_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}?mode=rwc", folder.path().join(name).display());

    let mut held = database(&url("locked.db"), &["BEGIN EXCLUSIVE", "CREATE TABLE t (i)", "SELECT * FROM t"]);
    held.pool.max = 1;
    let holder = Lookups::open(&held, &Metrics::new()).await.unwrap();
    for query in [1, 0] {
        holder.run(QueryId(query), None, &Binds::new()).await.unwrap();
    }
    let mut impatient = database(&url("locked.db"), &["SELECT * FROM t"]);
    impatient.pool.timeout = Duration::from_millis(300);
    let error = ask(&Lookups::open(&impatient, &Metrics::new()).await.unwrap(), None, &[]).await.unwrap_err();
    assert!(matches!(error, LookupError::Unavailable(_)), "{error}");

    write(&folder.path().join("broken.db"), &"no database ".repeat(500));
    let broken = Lookups::open(&database(&url("broken.db"), &["SELECT 1 FROM t"]), &Metrics::new()).await.unwrap();
    let error = ask(&broken, None, &[]).await.unwrap_err();
    assert_eq!(error, LookupError::Unavailable("file is not a database".to_owned()));
}

fn write(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
}

#[test]
fn a_handle_and_its_calls_can_be_sent_between_threads() {
    fn sent<T: Send>(_: &T) {}
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lookups = runtime.block_on(open(&["SELECT 1"]));
    let binds = Binds::new();
    sent(&lookups);
    sent(&lookups.run(QueryId(0), None, &binds));
    assert_eq!(format!("{lookups:?}"), r#"["q0"]"#);
    runtime.block_on(async { drop(lookups) });
}
