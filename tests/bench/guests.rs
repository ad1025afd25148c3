//! One tenant's plugins run away, again and again; the time that other tenants' events take meanwhile.
//!
//! All share one lane. The others' events are those of T5; beside them come 50 events a second of a tenant for which each
//! is another call of a plugin that does not end by itself.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::runtime::Runtime;

use crate::broker::{Broker, Stamps};
use crate::feed::Feed;
use crate::report::Report;
use crate::server::Server;
use crate::stats::{Grouped, Summary, float, percentile};
use crate::t4::configuration;
use crate::targeted::{Mailboxes, Users};
use crate::{Options, Outcome};

/// From one event of the others to the next.
const EVERY: Duration = Duration::from_millis(1);
/// From one call of a plugin that runs away to the next.
const WILD: Duration = Duration::from_millis(20);

/// What is called: its name here and as a file, and what its `route` does.
const GUESTS: [(&str, &str, &str); 6] = [
    ("nothing but the others' events", "", ""),
    ("a plugin that does what it should", "well", "to:tenant()"),
    ("a loop that never ends", "loop", "while true do end"),
    ("a table that grows for ever", "memory", "local t = {} while true do t = { t, string.rep('x', 100) } end"),
    ("a query to a database that is locked", "hang", "to:users(lookup('hang', {}))"),
    // Never so many failures in a row that it is put aside for that.
    ("a loop that ends in one of ten calls", "sly", "while event.data.n % 10 ~= 0 do end"),
];

#[derive(Clone, Copy, Debug)]
struct Plan {
    users: Users,
    rounds: u16,
    /// The others' events of a turn.
    events: u64,
}

/// What one round of one guest came to, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Measured {
    median: f64,
    p99: f64,
    worst: f64,
    calls: u64,
}

/// Measures, and answers the table.
pub(crate) fn run(options: Options, broker: &Broker) -> Outcome<Report> {
    let users = Users::new(options);
    let plan =
        if options.short { Plan { users, rounds: 1, events: 300 } } else { Plan { users, rounds: 5, events: 5_000 } };
    let plan = Plan { rounds: options.rounds.unwrap_or(plan.rounds), ..plan };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        let round = round(plan, options, broker, &runtime)?;
        let figures = round.iter().map(|one| format!("{:.2}", one.p99)).collect::<Vec<_>>().join(", ");
        eprintln!("guests round {number}/{}: p99 {figures} ms", plan.rounds);
        rounds.push(round);
    }
    Ok(report(plan, &rounds))
}

fn round(plan: Plan, options: Options, broker: &Broker, runtime: &Runtime) -> Outcome<Vec<Measured>> {
    let exchange = broker.exchange();
    let folder = tempfile::tempdir()?;
    let mut text = configuration(broker, &exchange).replace(
        "sqlite::memory:'\n  queries:\n",
        "sqlite:app.db'\n  queries:\n    hang: { sql: 'SELECT person FROM people WHERE tenant = :tenant' }\n",
    );
    text = text.replace("'sqlite:app.db'", &format!("'sqlite:{}'", folder.path().join("app.db").display()));
    for (_, file, body) in GUESTS.iter().filter(|(_, file, _)| !file.is_empty()) {
        writeln!(text, "  - {{ name: {file}, when: {{ data.type: {file} }}, script: {file}.lua }}")?;
        let plugin = format!("return {{ fields = {{ 'data.n' }}, route = function(event, to) {body} end }}\n");
        fs::write(folder.path().join(format!("{file}.lua")), plugin)?;
    }
    fs::write(folder.path().join("pointsman.yaml"), text)?;
    let mut database = runtime.block_on(Database::make(&folder.path().join("app.db")))?;
    let mut server = Server::start_in(folder, "pointsman.yaml", options.cores)?;
    server.wait_until_it_consumes()?;
    let mut mailboxes = server.explain(Mailboxes::connect(&server, plan.users))?;
    let stamps = Stamps::new(plan.events * (GUESTS.len() as u64 + 1))?;
    let mut measured = Vec::new();
    // The first turn warms up.
    for (turn, &(_, file, _)) in std::iter::once(&GUESTS[0]).chain(&GUESTS).enumerate() {
        if file == "hang" {
            runtime.block_on(database.run("BEGIN EXCLUSIVE"))?;
        }
        let wild = (!file.is_empty())
            .then(|| {
                let body = move |number| format!(r#"{{"data":{{"type":"{file}","tenant_id":"wild","n":{number}}}}}"#);
                Feed::start(server.admin, WILD, 1, Stamps::new(plan.events)?, body)
            })
            .transpose()?;
        let numbers = mailboxes.expect(plan.events);
        let pacing = broker.post().pace(&exchange, plan.users, numbers, EVERY, &stamps);
        let mut latencies = Vec::new();
        let outcome = mailboxes.collect(|number| {
            latencies.push(stamps.age(number)?);
            Ok(())
        });
        server.explain(outcome)?;
        broker.post().join(pacing)?;
        let calls = wild.map_or(Ok(0), Feed::join)?;
        if file == "hang" {
            runtime.block_on(database.run("COMMIT"))?;
        }
        if turn > 0 {
            latencies.sort_unstable();
            let of = |hundredths| percentile(&latencies, hundredths) / 1e6;
            measured.push(Measured { median: of(50), p99: of(99), worst: of(100), calls });
        }
    }
    Ok(measured)
}

/// The database's file, from outside of the program.
struct Database(SqliteConnection);

impl Database {
    async fn make(path: &Path) -> Outcome<Self> {
        let mut database = Self(SqliteConnection::connect(&format!("sqlite:{}?mode=rwc", path.display())).await?);
        database.run("CREATE TABLE people (tenant TEXT, person INTEGER)").await?;
        Ok(database)
    }

    async fn run(&mut self, sql: &'static str) -> Outcome<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.0).await?;
        Ok(())
    }
}

fn report(plan: Plan, rounds: &[Vec<Measured>]) -> Report {
    let mut rows = Vec::new();
    for (place, (name, ..)) in GUESTS.iter().enumerate() {
        let of = |value: fn(&Measured) -> f64| Summary::of(rounds.iter().map(|round| value(&round[place])));
        let ratio = |value: fn(&Measured) -> f64| {
            Summary::of(rounds.iter().map(|round| value(&round[place]) / value(&round[0])))
        };
        rows.push(vec![
            (*name).to_owned(),
            of(|one| float(one.calls)).median.to_string(),
            format!("{} ms", of(|one| one.median).show(2)),
            ratio(|one| one.median).show(2),
            format!("{} ms", of(|one| one.p99).show(2)),
            ratio(|one| one.p99).show(2),
            format!("{} ms", of(|one| one.worst).show(1)),
        ]);
    }
    Report {
        title: format!(
            "One tenant's plugins run away: delivery of {} events/s of 100 other tenants on the same lane (median and range of {} rounds)",
            Grouped(1.0 / EVERY.as_secs_f64(), 0),
            plan.rounds
        ),
        columns: vec!["meanwhile", "calls", "p50", "ratio", "p99", "ratio", "worst"],
        rows,
        notes: vec![format!(
            "{} events of the others a turn; {} calls a second of what runs away, at a budget of 10 ms. Every client got \
             exactly its own events, in order.",
            plan.events,
            Grouped(1.0 / WILD.as_secs_f64(), 0)
        )],
    }
}
