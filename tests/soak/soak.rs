//! One run: those who stay, a calm time, faults and all the others, a calm time again, and what it all came to.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Plan;
use crate::cast::{TENANTS, TOPICS, USERS};
use crate::faults::{Done, Faults};
use crate::ledger::{Ledger, Verdict};
use crate::people::{self, Client, Memories, Over};
use crate::pests;
use crate::traffic::{Counter, RATE, Traffic};
use crate::vitals::{Vitals, comes_to};
use crate::weather::Weather;
use crate::world::World;

/// Those of each tenant who are there from the beginning to the end.
const STAYING: u8 = 24;
const PASSING: usize = 40;
const DAWDLING: usize = 8;
const HANGING: usize = 10;
const LITTERING: usize = 6;
/// After the last fault, connections of clients that have silently gone are noticed within this time.
const FORGETTING: Duration = Duration::from_mins(2);
/// After the last event: what is on its way arrives within this time.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// What it came to.
#[derive(Debug)]
pub(crate) struct Report {
    plan: Plan,
    faults: Vec<String>,
    verdict: Verdict,
    changes: usize,
    /// Of those that came and left.
    passed: usize,
    refused: u64,
    before: Vitals,
    after: Vitals,
    complaints: Vec<String>,
    /// All that the server has logged.
    pub(crate) log: String,
}

pub(crate) async fn run(plan: Plan) -> Report {
    let mut rng = fastrand::Rng::with_seed(plan.seed);
    eprintln!("seed {}; starting broker, database and server", plan.seed);
    let world = World::start().await;
    let begun = Instant::now();
    let (end_traffic, traffic_over) = watch::channel(false);
    let (end_staying, staying_over) = watch::channel(false);
    let (latest, seen) = watch::channel(0);
    let (weather, counter) = (Weather::new(), Counter::default());

    let mut staying = JoinSet::new();
    let mut latest = Some(latest);
    for tenant in 0..TENANTS {
        for index in 0..STAYING {
            let topics = rng.choose_multiple(0..TOPICS, 5);
            let name = format!("stayer {index}");
            let client = Client::enter_as(world.server.clients, &name, tenant, index % USERS, topics).await;
            let client = client.unwrap_or_else(|error| panic!("{name} of tenant {tenant} did not get in: {error}"));
            // The first is of a tenant whose events take the queue that is lost with a connection.
            staying.spawn(people::stay(client, staying_over.clone(), latest.take()));
        }
    }
    let traffic = Traffic {
        broker: world.vhost.clone(),
        database: world.database.clone(),
        rng: rng.fork(),
        weather: weather.clone(),
        counter: counter.clone(),
        over: traffic_over,
        events: Vec::new(),
        changes: Vec::new(),
    };
    let traffic = tokio::spawn(traffic.run());
    let pooled = [world.database_link.address(), world.endpoint_link.address()];
    sleep(plan.calm).await;
    let before = Vitals::take(&world.server.process, world.server.admin, &pooled).await;
    eprintln!("{:.0?}: faults begin", begun.elapsed());

    let (end_others, others_over) = watch::channel(false);
    let others = others(&world, &mut rng, &weather, &others_over);
    let until = Instant::now() + plan.faults;
    let gaps = if plan.quick { 50..300 } else { 300..3_000 };
    let faults = Faults { begun, until, gaps, quick: plan.quick, weather, counter, latest: seen };
    let World { rabbit, vhost, broker_link, postgres, database_link, server, .. } = world;
    let World { endpoint, endpoint_link, client_link, .. } = world;
    let of_broker = tokio::spawn(faults.clone().of_broker(rabbit, vhost, broker_link, rng.fork()));
    let of_database = tokio::spawn(faults.clone().of_database(postgres, database_link, rng.fork()));
    let of_endpoint = tokio::spawn(faults.clone().of_endpoint(endpoint, endpoint_link, rng.fork()));
    let of_clients = tokio::spawn(faults.of_clients(client_link, rng.fork()));
    // What is done to the parts must be over before they go: they are held until the end.
    let (broker, _rabbit, _broker_link) = of_broker.await.expect("no panic");
    let (database, _postgres, _database_link) = of_database.await.expect("no panic");
    let (web, _endpoint, _endpoint_link) = of_endpoint.await.expect("no panic");
    let (clients, _client_link) = of_clients.await.expect("no panic");
    eprintln!("{:.0?}: faults are over", begun.elapsed());

    end_others.send_replace(true);
    let mut complaints = Vec::new();
    let passed = gather(others).await;
    let all = i64::from(TENANTS) * i64::from(STAYING);
    if !comes_to(server.admin, "pointsman_connections", all, FORGETTING).await {
        complaints.push(format!("there are not {all} connections again {FORGETTING:?} after all others have left"));
    }
    sleep(plan.calm).await;
    let after = Vitals::take(&server.process, server.admin, &pooled).await;
    complaints.extend(before.compare(&after));
    end_traffic.send_replace(true);
    let (events, changes) = traffic.await.expect("no panic");
    sleep(ON_THE_WAY).await;
    end_staying.send_replace(true);
    let stayed = gather(staying).await;
    server.process.signal(Signal::TERM);
    let status = server.process.ended().await;
    if status.code() != Some(0) {
        complaints.push(format!("the program ended with {status}"));
    }

    let done = Done::all([broker, database, web, clients]);
    let mut ledger = Ledger { events, changes, windows: done.windows, sessions: stayed.sessions };
    let changes = ledger.changes.len();
    let passers = passed.sessions.len();
    ledger.sessions.extend(passed.sessions);
    let verdict = ledger.audit(begun);
    complaints.extend(stayed.complaints.into_iter().chain(passed.complaints).chain(done.complaints));
    let log = server.log();
    let refused = passed.refused;
    Report { plan, faults: done.told, verdict, changes, passed: passers, refused, before, after, complaints, log }
}

/// Starts those that do not stay.
fn others(world: &World, rng: &mut fastrand::Rng, weather: &Weather, over: &Over) -> JoinSet<Memories> {
    let mut others = JoinSet::new();
    let (clients, link) = (world.server.clients, world.client_link.address());
    for index in 0..PASSING {
        others.spawn(people::pass(clients, index, rng.fork(), weather.clone(), over.clone()));
    }
    for index in 0..DAWDLING {
        others.spawn(pests::dawdle(clients, index, rng.fork(), over.clone()));
    }
    for index in 0..HANGING {
        others.spawn(pests::hang(link, index, rng.fork(), over.clone()));
    }
    for _ in 0..LITTERING {
        others.spawn(pests::litter(clients, rng.fork(), over.clone()));
    }
    others
}

async fn gather(mut tasks: JoinSet<Memories>) -> Memories {
    let mut all = Memories::default();
    while let Some(memories) = tasks.join_next().await {
        let memories = memories.expect("no panic");
        all.sessions.extend(memories.sessions);
        all.complaints.extend(memories.complaints);
        all.refused += memories.refused;
    }
    all
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        self.complaints.is_empty() && self.verdict.lost == 0 && self.verdict.strayed == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plan, verdict) = (self.plan, &self.verdict);
        writeln!(f, "### Soak of {:.1?} with random faults, {RATE} events/s, seed {}\n", plan.faults, plan.seed)?;
        writeln!(f, "Faults: {}", self.faults.len())?;
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        let events = verdict.confirmed + verdict.unconfirmed + verdict.unroutable;
        writeln!(f, "\nEvents: {events}, of which the broker confirmed {}", verdict.confirmed)?;
        writeln!(f, "  no queue was there for: {}; without an answer: {}", verdict.unroutable, verdict.unconfirmed)?;
        writeln!(f, "  changes of rights: {}", self.changes)?;
        writeln!(f, "Sessions: {} stayed, {} came and left", u64::from(TENANTS) * u64::from(STAYING), self.passed)?;
        writeln!(f, "  refused on their way in, while what knows tokens was away: {}", self.refused)?;
        writeln!(f, "Messages: {}; owed {}", verdict.deliveries, verdict.owed)?;
        writeln!(f, "  excused by a fault: {}, of which came {}", verdict.excused, verdict.excused_and_came)?;
        writeln!(f, "  lost: {}; at the wrong place: {}", verdict.lost, verdict.strayed)?;
        writeln!(f, "\n| the server holds | before | after |\n| --- | --- | --- |")?;
        let mebibytes = |vitals: &Vitals| format!("{} MiB", vitals.resident >> 20);
        writeln!(f, "| memory | {} | {} |", mebibytes(&self.before), mebibytes(&self.after))?;
        writeln!(f, "| threads | {} | {} |", self.before.threads.len(), self.after.threads.len())?;
        writeln!(f, "| descriptors | {} | {} |", self.before.descriptors, self.after.descriptors)?;
        for ((name, before), (_, after)) in self.before.gauges.iter().zip(&self.after.gauges) {
            writeln!(f, "| {name} | {before} | {after} |")?;
        }
        if self.is_good() {
            return writeln!(f, "\nGood: nothing owed was lost, nothing came twice, out of order or to somebody else.");
        }
        writeln!(f, "\nBAD. To see it again: cargo bench --bench soak -- --seed {}", plan.seed)?;
        for complaint in self.complaints.iter().take(40).chain(&verdict.told) {
            writeln!(f, "- {complaint}")?;
        }
        Ok(())
    }
}
