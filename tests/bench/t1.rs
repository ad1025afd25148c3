//! Broadcast: many connections, each event to all of them, the next event when the last one has arrived everywhere.

use std::time::Duration;

use crate::client::{Client, Hello};
use crate::frame;
use crate::load::Load;
use crate::process::own_cpu_seconds;
use crate::publish::Publisher;
use crate::report::Report;
use crate::server::{Server, Subject};
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
    /// Turns of each subject in a round.
    turns: u16,
    /// How long a turn is.
    time: Duration,
    /// Events before the clock starts.
    warm_up: u64,
}

/// One subject in one round, with its clients and what it has come to so far.
#[derive(Debug)]
struct Contender {
    subject: Subject,
    server: Server,
    load: Load,
    /// Of the last event.
    number: u64,
    deliveries: f64,
    seconds: f64,
    server_cpu: f64,
    load_cpu: f64,
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
        Plan { connections: 100, rounds: 1, turns: 2, time: Duration::from_millis(150), warm_up: 10 }
    } else {
        Plan { connections: 1000, rounds: 5, turns: 20, time: Duration::from_millis(250), warm_up: 100 }
    };
    let plan = Plan { rounds: options.rounds.unwrap_or(plan.rounds), ..plan };
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); options.subjects.len()];
    for number in 1..=plan.rounds {
        for (results, result) in measured.iter_mut().zip(round(plan, options)?) {
            results.push(result);
        }
        let rates = measured.iter().filter_map(|results| results.last()).map(|result| format!("{:.0}", result.rate));
        eprintln!("t1 round {number}/{}: {} deliveries/s", plan.rounds, rates.collect::<Vec<_>>().join(" and "));
    }
    Ok(report(plan, options, &measured))
}

/// All subjects anew, in short turns: a machine is quiet or not for seconds, and each shall have its share of both.
/// Whoever has no turn has nothing to do.
fn round(plan: Plan, options: Options) -> Outcome<Vec<Measured>> {
    let start = |subject: &Subject| Contender::start(*subject, plan, options);
    let mut contenders = options.subjects.iter().map(start).collect::<Outcome<Vec<_>>>()?;
    for _ in 0..plan.turns {
        for contender in &mut contenders {
            let outcome = contender.turn(plan);
            contender.server.explain(outcome)?;
        }
    }
    contenders.into_iter().map(Contender::finish).collect()
}

impl Contender {
    fn start(subject: Subject, plan: Plan, options: Options) -> Outcome<Self> {
        let server = Server::start(subject, &configuration(), options.cores)?;
        let load = server.explain(connect(&server, subject, plan))?;
        let mut contender =
            Self { subject, server, load, number: 0, deliveries: 0.0, seconds: 0.0, server_cpu: 0.0, load_cpu: 0.0 };
        for _ in 0..plan.warm_up {
            let outcome = contender.deliver();
            contender.server.explain(outcome)?;
        }
        Ok(contender)
    }

    fn turn(&mut self, plan: Plan) -> Outcome<()> {
        let (first, server_cpu, load_cpu, start) =
            (self.number, self.server.process.cpu_seconds()?, own_cpu_seconds()?, now());
        let elapsed = loop {
            self.deliver()?;
            let elapsed = start.elapsed();
            if elapsed >= plan.time {
                break elapsed;
            }
        };
        self.deliveries += float((self.number - first) * plan.connections as u64);
        self.seconds += elapsed.as_secs_f64();
        self.server_cpu += self.server.process.cpu_seconds()? - server_cpu;
        self.load_cpu += own_cpu_seconds()? - load_cpu;
        Ok(())
    }

    fn deliver(&mut self) -> Outcome<()> {
        self.number += 1;
        let payload = payload(self.number);
        self.load.deliver(&body(self.subject, &payload), payload.as_bytes())
    }

    fn finish(mut self) -> Outcome<Measured> {
        let outcome = self.load.stay_quiet(AFTER);
        self.server.explain(outcome)?;
        Ok(Measured {
            rate: self.deliveries / self.seconds,
            cpu: self.server_cpu * 1e6 / self.deliveries,
            load: self.load_cpu / self.seconds,
            message: self.load.message_length(),
        })
    }
}

fn connect(server: &Server, subject: Subject, plan: Plan) -> Outcome<Load> {
    let mut load = Load::new(Publisher::connect(server.admin)?)?;
    for index in 0..plan.connections {
        let hello = Hello { token: token(index % TENANTS), topics: Vec::new() };
        load.add(Client::connect(server.clients, (subject == Subject::Pointsman).then_some(&hello))?)?;
    }
    Ok(load)
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
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    let mut noisy = false;
    let bare = &measured[0];
    for (place, (subject, results)) in options.subjects.iter().zip(measured).enumerate() {
        let of = |value: fn(&Measured) -> f64| Summary::of(results.iter().map(value));
        let rate = of(|result| result.rate);
        let ratio = Summary::of(results.iter().zip(bare).map(|(result, bare)| result.rate / bare.rate));
        noisy |= rate.is_noisy();
        rows.push(vec![
            match subject {
                Subject::Bare => "bare epoll loop, one `send` per connection".to_owned(),
                Subject::Pointsman => "Pointsman".to_owned(),
            },
            rate.show(0),
            if place == 0 { "1".to_owned() } else { ratio.show(3) },
            format!("{} µs", of(|result| result.cpu).show(2)),
            format!("{:.0} %", of(|result| result.load).median * 100.0),
        ]);
        if *subject == Subject::Pointsman && !options.short {
            let met = if ratio.median >= TARGET { "met" } else { "missed" };
            notes.push(format!("Target: at least {TARGET:.2} of the baseline; {met}."));
        }
        if results[0].message != bare[0].message {
            notes.push(format!("Its messages have {} bytes, the baseline's {}.", results[0].message, bare[0].message));
        }
    }
    if noisy {
        notes.push(
            "Noisy: deliveries/s differ by more than 15 % between rounds. Trust the ratio, not the figures.".into(),
        );
    }
    notes.push(format!(
        "In each round the subjects take turns of {:?}; the ratio is the median of the rounds' own ratios. Every client \
         got every event exactly once.",
        plan.time
    ));
    Report {
        title: format!(
            "Broadcast to {} connections, one event at a time, payload of {} bytes (median and range of {} rounds of {:?})",
            Grouped(float(plan.connections as u64), 0),
            payload(1).len(),
            plan.rounds,
            plan.time * u32::from(plan.turns)
        ),
        columns: vec!["", "deliveries/s", "ratio", "server's CPU per delivery", "load generator's core in use"],
        rows,
        notes,
    }
}
