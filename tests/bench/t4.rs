//! Events for one user each, flat out over AMQP: how fast what waits at the broker reaches the last client.
//!
//! A turn: the subject is held up (SIGSTOP), the broker is given so many events, and the clock runs from when the subject
//! may go on until the last client has got everything. So no publisher takes part in what is measured, and the bare
//! consumer finds the same queue as the program does. The broker and the receiving clients share the other core.
//!
//! Who does not acknowledge cannot be held up so: all would wait in the buffers of its socket. The bare consumer that
//! stands at the end of the table, as the limit of the client library, subscribes anew in each turn instead.

use std::time::Duration;

use crate::broker::{Broker, LONGEST, PREFETCH, Settling};
use crate::consumer::Consumer;
use crate::process::Running;
use crate::report::Report;
use crate::server::{Server, Subject};
use crate::stats::{Grouped, Summary, float, now};
use crate::targeted::{Letter, Mailboxes, TENANTS, Users};
use crate::{Options, Outcome};

/// The ratio to the bare consumer, and the server's microseconds for an event with all its deliveries.
const TARGET: f64 = 0.7;
const TARGET_CPU: f64 = 18.0;
/// After a round: time in which a message too many would show.
const AFTER: Duration = Duration::from_millis(200);

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Plan {
    users: Users,
    rounds: u16,
    /// Turns of each subject in a round.
    turns: u16,
    /// Events of a turn.
    events: u64,
}

/// One subject in one round, and what it has come to so far.
#[derive(Debug)]
struct Contender {
    drain: Drain,
    exchange: String,
    events: f64,
    seconds: f64,
    cpu: f64,
    other_core: Option<f64>,
}

/// Who gets what the broker has.
#[derive(Debug)]
enum Drain {
    Bare(Consumer),
    Program(Box<Server>, Box<Mailboxes>),
}

/// What one round of one subject came to.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Events a second.
    rate: f64,
    /// The subject's CPU time for one event, in microseconds.
    cpu: f64,
    /// The share of the other core that was in use.
    other_core: Option<f64>,
}

/// The program's configuration in T4 and T5: the shipped topology, and rules for one user.
///
/// Whose token it is comes from a query that needs no table.
pub(crate) fn configuration(broker: &Broker, exchange: &str) -> String {
    let url = broker.url();
    format!(
        "
listen: 127.0.0.1:0
shards: 1
admin: {{ listen: 127.0.0.1:0 }}
amqp:
  url: {url}
  exchanges: [{{ name: {exchange}, type: fanout, durable: true }}]
  queues:
    - name: bench.{exchange}
      exclusive: true
      auto_delete: true
      arguments: {{ x-max-length: {LONGEST} }}
      bind: [{{ exchange: {exchange}, routing_key: '' }}]
      prefetch: {PREFETCH}
event: {{ payload: data, tenant: data.tenant_id, type: data.type }}
ping: {{ every: 1h }}
limits: {{ connections: 20000 }}
database:
  url: 'sqlite::memory:'
  queries:
    user_by_token: {{ sql: 'SELECT substr(:token, 5) AS user, substr(:token, 1, 3) AS tenant' }}
auth: {{ providers: [{{ sql: {{ query: user_by_token }} }}] }}
routes:
  - {{ name: deals, when: {{ data.type: 'deal.*' }}, to: {{ user: '{{data.user_id}}' }} }}
"
    )
}

/// Measures, and answers the table.
pub(crate) fn run(options: Options, broker: &Broker) -> Outcome<Report> {
    let users = Users::new(options);
    let plan = if options.short {
        Plan { users, rounds: 1, turns: 1, events: users.count() * 5 }
    } else {
        Plan { users, rounds: 5, turns: 8, events: users.count() * 6 }
    };
    let plan = Plan { rounds: options.rounds.unwrap_or(plan.rounds), ..plan };
    let mut measured = Vec::new();
    for number in 1..=plan.rounds {
        let results = round(plan, options, broker)?;
        let rates = results.iter().map(|result| format!("{:.0}", result.rate));
        eprintln!("t4 round {number}/{}: {} events/s", plan.rounds, rates.collect::<Vec<_>>().join(" and "));
        measured.push(results);
    }
    Ok(report(plan, options, &measured))
}

/// All subjects anew, in short turns.
fn round(plan: Plan, options: Options, broker: &Broker) -> Outcome<Vec<Measured>> {
    let start = |(subject, settling)| Contender::start(subject, settling, plan, options, broker);
    let mut contenders = subjects(options).map(start).collect::<Outcome<Vec<_>>>()?;
    for turn in 0..=plan.turns {
        for contender in &mut contenders {
            let outcome = contender.turn(plan, options, broker);
            contender.drain.explain(outcome)?;
            if turn == 0 {
                contender.forget_the_warm_up();
            }
        }
    }
    contenders.into_iter().map(Contender::finish).collect()
}

fn subjects(options: Options) -> impl Iterator<Item = (Subject, Settling)> {
    let acknowledged = options.subjects.iter().map(|subject| (*subject, Settling::Acknowledged));
    acknowledged.chain([(Subject::Bare, Settling::NoAck)])
}

impl Contender {
    fn start(subject: Subject, settling: Settling, plan: Plan, options: Options, broker: &Broker) -> Outcome<Self> {
        let exchange = broker.exchange();
        let drain = match subject {
            Subject::Bare => Drain::Bare(Consumer::start(broker, &exchange, settling, plan.events, options.cores)?),
            Subject::Pointsman => {
                let mut server = Server::start(subject, &configuration(broker, &exchange), options.cores)?;
                server.wait_until_it_consumes()?;
                let mailboxes = server.explain(Mailboxes::connect(&server, plan.users))?;
                Drain::Program(Box::new(server), Box::new(mailboxes))
            }
        };
        Ok(Self { drain, exchange, events: 0.0, seconds: 0.0, cpu: 0.0, other_core: None })
    }

    fn turn(&mut self, plan: Plan, options: Options, broker: &Broker) -> Outcome<()> {
        let numbers = match &mut self.drain {
            Drain::Bare(_) => 0..plan.events,
            Drain::Program(_, mailboxes) => mailboxes.expect(plan.events),
        };
        self.drain.hold()?;
        broker.post().fill(&self.exchange, plan.users, numbers)?;
        let (cpu, other_core) = (self.drain.process().cpu_seconds()?, options.cores.load_core_seconds());
        let start = now();
        self.drain.release()?;
        match &mut self.drain {
            Drain::Bare(consumer) => consumer.drained()?,
            Drain::Program(_, mailboxes) => mailboxes.collect_at_leisure()?,
        }
        self.seconds += start.elapsed().as_secs_f64();
        self.events += float(plan.events);
        self.cpu += self.drain.process().cpu_seconds()? - cpu;
        let used = options.cores.load_core_seconds().zip(other_core).map(|(after, before)| after - before);
        self.other_core = used.map(|used| used + self.other_core.unwrap_or_default());
        Ok(())
    }

    fn forget_the_warm_up(&mut self) {
        (self.events, self.seconds, self.cpu, self.other_core) = (0.0, 0.0, 0.0, None);
    }

    fn finish(mut self) -> Outcome<Measured> {
        if let Drain::Program(server, mailboxes) = &mut self.drain {
            let outcome = mailboxes.stay_quiet(AFTER);
            server.explain(outcome)?;
        }
        Ok(Measured {
            rate: self.events / self.seconds,
            cpu: self.cpu * 1e6 / self.events,
            other_core: self.other_core.map(|used| used / self.seconds),
        })
    }
}

impl Drain {
    fn process(&self) -> &Running {
        match self {
            Self::Bare(consumer) => &consumer.process,
            Self::Program(server, _) => &server.process,
        }
    }

    /// Lets what comes wait at the broker.
    fn hold(&self) -> Outcome<()> {
        match self {
            // It does not consume until it is told to.
            Self::Bare(consumer) if consumer.settling == Settling::NoAck => Ok(()),
            _ => self.process().pause(),
        }
    }

    fn release(&mut self) -> Outcome<()> {
        match self {
            Self::Bare(consumer) if consumer.settling == Settling::NoAck => consumer.subscribe(),
            _ => self.process().resume(),
        }
    }

    fn explain<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        match self {
            Self::Bare(_) => outcome,
            Self::Program(server, _) => server.explain(outcome),
        }
    }
}

fn report(plan: Plan, options: Options, measured: &[Vec<Measured>]) -> Report {
    let (mut rows, mut notes, mut noisy) = (Vec::new(), Vec::new(), false);
    for (place, (subject, settling)) in subjects(options).enumerate() {
        let of = |value: fn(&Measured) -> f64| Summary::of(measured.iter().map(|round| value(&round[place])));
        let (rate, cpu) = (of(|result| result.rate), of(|result| result.cpu));
        let ratio = Summary::of(measured.iter().map(|round| round[place].rate / round[0].rate));
        noisy |= rate.is_noisy();
        rows.push(vec![
            match (subject, settling) {
                (Subject::Bare, Settling::Acknowledged) => "bare consumer, acknowledged by 100",
                (Subject::Bare, Settling::NoAck) => "bare consumer, `no_ack`",
                (Subject::Pointsman, _) => "Pointsman",
            }
            .to_owned(),
            rate.show(0),
            if place == 0 { "1".to_owned() } else { ratio.show(3) },
            format!("{} µs", cpu.show(1)),
            format!("{:.0} %", of(|result| result.other_core.unwrap_or(f64::NAN)).median * 100.0),
        ]);
        if subject == Subject::Pointsman && !options.short {
            let met = |met| if met { "met" } else { "missed" };
            notes.push(format!(
                "Targets: at least {TARGET:.2} of the bare consumer; {}. At most {TARGET_CPU:.0} µs of CPU an event with \
                 all its deliveries; {}.",
                met(ratio.median >= TARGET),
                met(cpu.median <= TARGET_CPU)
            ));
        }
    }
    if noisy {
        notes.push("Noisy: events/s differ by more than 15 % between rounds. Trust the ratio, not the figures.".into());
    }
    notes.push(format!(
        "{} turns of {} events in a round; the events wait at the broker when a turn begins, and it ends with the last \
         client's last message. The ratio is the median of the rounds' own ratios. Each event is for one user of {} in \
         {TENANTS} tenants, who has one to three connections. Every client got exactly its own events, in order.",
        plan.turns,
        Grouped(float(plan.events), 0),
        Grouped(float(plan.users.count()), 0),
    ));
    Report {
        title: format!(
            "Events for one user each, to {} connections, flat out over AMQP, payload of {} bytes (median and range of \
             {} rounds)",
            Grouped(float(plan.users.connections() as u64), 0),
            Letter::new().payload().len(),
            plan.rounds,
        ),
        columns: vec!["", "events/s", "ratio", "CPU per event", "other core in use"],
        rows,
        notes,
    }
}
