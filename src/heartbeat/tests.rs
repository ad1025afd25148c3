//! With shards that tests play: by a clock that tests move where no database takes part, else against real SQLite.

use std::path::PathBuf;

use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{Database, Pool, Query};
use crate::lookup::scan::Dialect;
use crate::observe::Metrics;
use crate::shard::{ShardId, test_pair};

const EVERY: Duration = Duration::from_mins(1);

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// The next ping's tenant and id.
async fn pinged(words: &mut mpsc::Receiver<ToShard>) -> (Option<String>, Option<String>) {
    match words.recv().await {
        Some(ToShard::Ping { tenant, last_event_id }) => {
            (tenant.map(|tenant| tenant.to_string()), last_event_id.map(|id| id.as_json().to_owned()))
        }
        other => panic!("{other:?}"),
    }
}

async fn lookups(sql: &[&str], url: &str) -> Lookups {
    let query = |sql: &&str| Query {
        name: "newest".into(),
        sql: (*sql).to_owned(),
        binds: crate::lookup::scan::binds(Dialect::Sqlite, sql).unwrap(),
        timeout: None,
        needs: &[],
        cache: None,
    };
    let schema = "CREATE TABLE events (id, tenant TEXT); INSERT INTO events VALUES (7, 'acme'), (9, 'globex');";
    let database = Database {
        url: SecretString::from(url.to_owned()),
        init: vec![(PathBuf::from("schema.sql"), schema.to_owned())],
        dialect: Dialect::Sqlite,
        pool: Pool { max: 2, timeout: Duration::from_secs(5), ..Pool::default() },
        queries: sql.iter().map(query).collect(),
    };
    Lookups::open(&database, &Metrics::new()).await.unwrap()
}

/// A heart that beats soon, for two shards; both have sessions of `acme`, the second one of `globex` also.
fn beat(
    lookups: &Lookups,
    each: bool,
    every: Duration,
) -> ([mpsc::Receiver<ToShard>; 2], Arc<Interest>, JoinHandle<()>) {
    let ((one, first), (two, second)) = (test_pair(64), test_pair(64));
    let interest = Arc::new(Interest::default());
    for (shard, name) in [(0, "acme"), (1, "acme"), (1, "globex")] {
        interest.join(ShardId::new(shard), &tenant(name));
    }
    let ping = Ping { every, last_event_id: Some(QueryId(0)) };
    let task = run(ping, each, Some(lookups.clone()), Arc::clone(&interest), Shards::new(vec![one, two]));
    ([first, second], interest, tokio::spawn(task))
}

#[tokio::test(start_paused = true)]
async fn without_a_query_all_shards_are_pinged_each_interval() {
    let (shard, mut words) = test_pair(8);
    let begun = Instant::now();
    let ping = Ping { every: EVERY, last_event_id: None };
    let task = tokio::spawn(run(ping, false, None, Arc::default(), Shards::new(vec![shard])));
    for count in 1..=3 {
        assert_eq!(pinged(&mut words).await, (None, None));
        assert_eq!(begun.elapsed().as_secs(), 60 * count);
    }
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_lags_holds_up_no_other_and_gets_its_ping_when_it_can() {
    let ((lagging, mut late), (quick, mut words)) = (test_pair(1), test_pair(8));
    let begun = Instant::now();
    let ping = Ping { every: EVERY, last_event_id: None };
    let task = tokio::spawn(run(ping, false, None, Arc::default(), Shards::new(vec![lagging, quick])));
    for count in 1..=3 {
        pinged(&mut words).await;
        assert_eq!(begun.elapsed().as_secs(), 60 * count);
    }
    for _ in 0..2 {
        pinged(&mut late).await;
    }
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn tenants_are_spread_over_the_interval_and_each_keeps_its_distance() {
    let (shard, mut words) = test_pair(1024);
    let interest = Arc::new(Interest::default());
    let count: u32 = 200;
    for index in 0..count {
        interest.join(ShardId::new(0), &tenant(&index.to_string()));
    }
    let heart = Heart {
        every: EVERY,
        question: None,
        asking: Semaphore::new(1),
        interest: Arc::clone(&interest),
        shards: Shards::new(vec![shard]),
        trouble: Throttle::new(TROUBLE_LOG),
    };
    let task = tokio::spawn(Arc::new(heart).beat_for_each());
    let mut seen = HashMap::<String, Vec<Instant>>::new();
    for _ in 0..3 * count {
        let (tenant, _) = pinged(&mut words).await;
        seen.entry(tenant.unwrap()).or_default().push(Instant::now());
    }
    task.abort();
    assert_eq!(seen.len(), 200);
    let mut moments = HashSet::new();
    for (tenant, times) in &seen {
        assert_eq!(
            [times[1] - times[0], times[2] - times[1]].map(|distance| distance.as_millis()),
            [60_000; 2],
            "{tenant}"
        );
        moments.insert(times[0]);
    }
    assert!(moments.len() > 30, "200 tenants at {} moments of 64", moments.len());
}

#[test]
fn an_interval_has_steps_that_are_not_too_short() {
    for (millis, expected) in [(1, 1), (250, 1), (1_000, 4), (16_000, 64), (60_000, 64), (86_400_000, 64)] {
        assert_eq!(steps(Duration::from_millis(millis)), expected, "{millis} ms");
    }
}

#[tokio::test]
async fn one_query_for_all_is_told_to_all() {
    let lookups = lookups(&["SELECT max(id) FROM events"], "sqlite::memory:").await;
    let (mut shards, _, task) = beat(&lookups, false, Duration::from_secs(1));
    for words in &mut shards {
        assert_eq!(pinged(words).await, (None, Some("9".to_owned())));
    }
    task.abort();
}

#[tokio::test]
async fn a_query_of_the_tenant_is_told_to_the_shards_that_have_its_sessions() {
    let lookups = lookups(&["SELECT max(id) FROM events WHERE tenant = :tenant"], "sqlite::memory:").await;
    let (mut shards, interest, task) = beat(&lookups, true, Duration::from_secs(1));
    let acme = (Some("acme".to_owned()), Some("7".to_owned()));
    let globex = (Some("globex".to_owned()), Some("9".to_owned()));
    assert_eq!(pinged(&mut shards[0]).await, acme);
    let mut second = [pinged(&mut shards[1]).await, pinged(&mut shards[1]).await];
    second.sort();
    assert_eq!(second, [acme.clone(), globex]);
    interest.leave(ShardId::new(1), &tenant("globex"));
    interest.leave(ShardId::new(1), &tenant("acme"));
    for _ in 0..2 {
        assert_eq!(pinged(&mut shards[0]).await, acme);
    }
    assert!(shards[1].try_recv().is_err());
    task.abort();
}

#[tokio::test]
async fn while_the_database_is_away_the_last_known_id_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    let url = format!("sqlite:{}?mode=rwc", file.display());
    let script = ["CREATE TABLE events (id, tenant)", "INSERT INTO events VALUES ('e-1', 'acme')", "DROP TABLE events"];
    for each in [false, true] {
        let sql = if each { "SELECT id FROM events WHERE tenant = :tenant" } else { "SELECT id FROM events" };
        let lookups = lookups(&[&[sql], &script[..]].concat(), &url).await;
        for step in [1, 2] {
            lookups.run(QueryId(step), None, &Binds::new()).await.unwrap();
        }
        let (mut shards, _, task) = beat(&lookups, each, Duration::from_secs(1));
        let expected = (each.then(|| "acme".to_owned()), Some("\"e-1\"".to_owned()));
        assert_eq!(pinged(&mut shards[0]).await, expected);
        lookups.run(QueryId(3), None, &Binds::new()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(pinged(&mut shards[0]).await, expected);
        }
        task.abort();
    }
}

#[test]
fn the_first_value_is_the_id() {
    let rows = |value: Option<Scalar>| Rows {
        columns: Arc::new(["id".into()]),
        rows: value.into_iter().map(|value| Box::from([value])).collect(),
    };
    let id = |value| read(&rows(value)).map(|id| id.map(|id| id.as_json().to_owned()));
    assert_eq!(id(None), Ok(None));
    assert_eq!(id(Some(Scalar::Null)), Ok(None));
    assert_eq!(id(Some(Scalar::Int(5))), Ok(Some("5".to_owned())));
    assert_eq!(id(Some(Scalar::Text("a\"b".into()))), Ok(Some("\"a\\\"b\"".to_owned())));
    assert!(id(Some(Scalar::Float(0.5))).is_err());
}
