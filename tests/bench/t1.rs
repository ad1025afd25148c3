//! Broadcast: many connections, each event to all of them, the next event when the last one has arrived everywhere.

use std::time::Duration;

use crate::client::{Client, Hello};
use crate::frame;
use crate::load::Load;
use crate::publish::Publisher;
use crate::report::Report;
use crate::server::{Server, Subject, own_cpu_seconds};
use crate::stats::{Grouped, Summary, float, now};
use crate::{Options, Outcome};

/// The ratio to the baseline that the program shall reach.
const TARGET: f64 = 0.90;
/// Customers that the sessions belong to.
const TENANTS: usize = 10;
/// After a round: time in which a message too many would show.
const AFTER: Duration = Duration::from_millis(200);

const CONFIGURATION: &str = "
listen: 127.0.0.1:0
shards: 1
admin: { listen: 127.0.0.1:0 }
event: { payload: data, tenant: data.tenant_id, type: data.type }
ping: { every: 1h }
limits: { connections: 20000 }
routes:
  - { name: broadcast, when: { send_to_all: true }, to: everyone }
auth:
  providers:
    - tokens:
";

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Plan {
    connections: usize,
    rounds: u16,
    /// Events before the clock starts.
    warm_up: u64,
    time: Duration,
}

/// What one round of one subject came to.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Deliveries a second.
    rate: f64,
    /// The server's CPU time for one delivery, in microseconds.
    cpu: f64,
    /// The share of its core that the load generator used.
    load: f64,
    /// The length of a message, in bytes.
    message: usize,
}

/// Measures, and answers the table.
pub(crate) fn run(options: Options) -> Outcome<Report> {
    let plan = if options.short {
        Plan { connections: 100, rounds: 1, warm_up: 10, time: Duration::from_millis(300) }
    } else {
        Plan { connections: 1000, rounds: 5, warm_up: 100, time: Duration::from_secs(5) }
    };
    let plan = Plan { rounds: options.rounds.unwrap_or(plan.rounds), ..plan };
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); options.subjects.len()];
    for number in 1..=plan.rounds {
        for (subject, results) in options.subjects.iter().zip(&mut measured) {
            let result = round(*subject, plan, options)?;
            eprintln!("t1 round {number}/{}: {subject:?} {:.0} deliveries/s", plan.rounds, result.rate);
            results.push(result);
        }
    }
    Ok(report(plan, options, &measured))
}

fn round(subject: Subject, plan: Plan, options: Options) -> Outcome<Measured> {
    let server = Server::start(subject, &configuration(), options.cores)?;
    server.explain(measure(&server, subject, plan))
}

fn measure(server: &Server, subject: Subject, plan: Plan) -> Outcome<Measured> {
    let mut load = Load::new(Publisher::connect(server.admin)?)?;
    for index in 0..plan.connections {
        let hello = Hello { token: token(index % TENANTS), topics: Vec::new() };
        load.add(Client::connect(server.clients, (subject == Subject::Pointsman).then_some(&hello))?)?;
    }
    let mut number = 0;
    let mut deliver = |load: &mut Load| {
        number += 1;
        let payload = payload(number);
        load.deliver(&body(subject, &payload), payload.as_bytes())
    };
    for _ in 0..plan.warm_up {
        deliver(&mut load)?;
    }

    let (cpu_before, own_before, start) = (server.cpu_seconds()?, own_cpu_seconds()?, now());
    let mut events = 0;
    let elapsed = loop {
        deliver(&mut load)?;
        events += 1;
        let elapsed = start.elapsed();
        if elapsed >= plan.time {
            break elapsed.as_secs_f64();
        }
    };
    let (cpu, own) = (server.cpu_seconds()? - cpu_before, own_cpu_seconds()? - own_before);

    load.stay_quiet(AFTER)?;
    let deliveries = float(events * plan.connections as u64);
    Ok(Measured {
        rate: deliveries / elapsed,
        cpu: cpu * 1e6 / deliveries,
        load: own / elapsed,
        message: load.message_length(),
    })
}

fn configuration() -> String {
    let token = |tenant| format!("        {}: {{ user: 1, tenant: tenant-{tenant} }}\n", token(tenant));
    CONFIGURATION.to_owned() + &(0..TENANTS).map(token).collect::<String>()
}

fn token(tenant: usize) -> String {
    format!("token-of-tenant-{tenant}")
}

/// What clients get: some 250 bytes, each time another, always as long.
fn payload(number: u64) -> String {
    format!(
        r#"{{"type":"deal.moved","event":"{number:012}","deal_id":4711,"board":"sales","from":"negotiation","to":"won","title":"A hundred and twenty office chairs, delivered in March","amount":"48,250.00","currency":"EUR","actor":{{"id":815,"name":"Ann Example"}}}}"#
    )
}

/// What is published: for the baseline it is the finished frame.
fn body(subject: Subject, payload: &str) -> Vec<u8> {
    match subject {
        Subject::Bare => frame::text(format!(r#"{{"status":"ok","data":{payload}}}"#).as_bytes()),
        Subject::Pointsman => format!(r#"{{"send_to_all":true,"data":{payload}}}"#).into_bytes(),
    }
}

fn report(plan: Plan, options: Options, measured: &[Vec<Measured>]) -> Report {
    let name = |subject| match subject {
        Subject::Bare => "bare epoll loop, one `send` per connection",
        Subject::Pointsman => "Pointsman",
    };
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for (subject, results) in options.subjects.iter().zip(measured) {
        let rate = Summary::of(results.iter().map(|result| result.rate));
        let ratio = Summary::of(results.iter().zip(&measured[0]).map(|(result, bare)| result.rate / bare.rate));
        let cpu = Summary::of(results.iter().map(|result| result.cpu));
        let load = Summary::of(results.iter().map(|result| result.load));
        rows.push(vec![
            name(*subject).to_owned(),
            rate.show(0),
            match subject {
                Subject::Bare => "1".to_owned(),
                Subject::Pointsman => ratio.show(3),
            },
            format!("{} µs", cpu.show(2)),
            format!("{:.0} %", load.median * 100.0),
        ]);
        if rate.is_noisy() {
            notes.push(format!("Noisy: the rounds of {} differ by more than 15 %.", name(*subject)));
        }
        if *subject == Subject::Pointsman && !options.short {
            let met = if ratio.median >= TARGET { "met" } else { "missed" };
            notes.push(format!("Target: at least {TARGET:.2} of the baseline; {met}."));
        }
        if let (Some(result), Some(bare)) = (results.first(), measured[0].first())
            && result.message != bare.message
        {
            notes.push(format!("Its messages have {} bytes, the baseline's {}.", result.message, bare.message));
        }
    }
    notes.push("The ratio is the median of the rounds' own ratios. Every client got every event exactly once.".into());
    Report {
        title: format!(
            "Broadcast to {} connections, one event at a time, payload of {} bytes (median and range of {} × {:?}, in turn)",
            Grouped(float(plan.connections as u64), 0),
            payload(1).len(),
            plan.rounds,
            plan.time
        ),
        columns: vec!["", "deliveries/s", "ratio", "server's CPU per delivery", "load generator's core in use"],
        rows,
        notes,
    }
}
