//! Events for one user each, at a steady pace over AMQP: the time from publish to receipt.
//!
//! Both ends are in this process and have one clock. The baseline is the broker alone: the same publisher, and a bare
//! consumer beside it.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use crate::broker::{Broker, Stamps};
use crate::consumer::ConsumerHere;
use crate::machine::Disturbance;
use crate::report::Report;
use crate::server::{Server, Subject};
use crate::stats::{Grouped, Summary, float, percentile};
use crate::t4::configuration;
use crate::targeted::{Letter, Mailboxes, Users};
use crate::{Options, Outcome};

/// The ratio to the broker alone, of both percentiles, that the program shall keep to in quiet rounds.
const TARGET: f64 = 1.6;
/// From one event to the next.
const EVERY: Duration = Duration::from_millis(1);
/// How long an event may take to the bare consumer.
const STALL: Duration = Duration::from_secs(5);

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
    end: End,
    exchange: String,
    stamps: Stamps,
    published: u64,
    /// In nanoseconds, one for each receipt.
    latencies: Vec<u64>,
}

/// Where events arrive.
#[derive(Debug)]
enum End {
    Bare { ages: Receiver<u64>, _consumer: ConsumerHere },
    Program(Box<Server>, Box<Mailboxes>),
}

/// What one round of one subject came to, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Measured {
    median: f64,
    p99: f64,
}

/// All subjects of one round.
#[derive(Debug)]
struct Round {
    results: Vec<Measured>,
    quiet: bool,
}

/// Measures, and answers the table.
pub(crate) fn run(options: Options, broker: &Broker) -> Outcome<Report> {
    let users = Users::new(options);
    let plan = if options.short {
        Plan { users, rounds: 1, turns: 1, events: 200 }
    } else {
        Plan { users, rounds: 7, turns: 10, events: 500 }
    };
    let plan = Plan { rounds: options.rounds.unwrap_or(plan.rounds), ..plan };
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        let watch = Disturbance::watch();
        let results = round(plan, options, broker)?;
        let quiet = watch.note().is_none();
        let figures = results.iter().map(|result| format!("p50 {:.3} p99 {:.3} ms", result.median, result.p99));
        let figures = figures.collect::<Vec<_>>().join(" and ");
        eprintln!("t5 round {number}/{}: {figures}{}", plan.rounds, if quiet { "" } else { " (noisy)" });
        rounds.push(Round { results, quiet });
    }
    Ok(report(plan, options, &rounds))
}

/// All subjects anew, in short turns.
fn round(plan: Plan, options: Options, broker: &Broker) -> Outcome<Vec<Measured>> {
    let start = |subject: &Subject| Contender::start(*subject, plan, options, broker);
    let mut contenders = options.subjects.iter().map(start).collect::<Outcome<Vec<_>>>()?;
    for turn in 0..=plan.turns {
        for contender in &mut contenders {
            contender.turn(plan, broker)?;
            if turn == 0 {
                // It was the warm-up.
                contender.latencies.clear();
            }
        }
    }
    Ok(contenders.into_iter().map(Contender::finish).collect())
}

impl Contender {
    fn start(subject: Subject, plan: Plan, options: Options, broker: &Broker) -> Outcome<Self> {
        let exchange = broker.exchange();
        let all = plan.events * (u64::from(plan.turns) + 1);
        let stamps = Stamps::new(all)?;
        let end = match subject {
            Subject::Bare => {
                // Room for all, so that it never waits for whoever reads along.
                let (tell, told) = sync_channel(usize::try_from(all)?);
                let consumer = ConsumerHere::start(broker, &exchange, tell_ages(stamps.clone(), tell))?;
                End::Bare { ages: told, _consumer: consumer }
            }
            Subject::Pointsman => {
                let mut server = Server::start(subject, &configuration(broker, &exchange), options.cores)?;
                server.wait_until_it_consumes()?;
                let mailboxes = server.explain(Mailboxes::connect(&server, plan.users))?;
                End::Program(Box::new(server), Box::new(mailboxes))
            }
        };
        let latencies = Vec::with_capacity(usize::try_from(all * 3)?);
        Ok(Self { end, exchange, stamps, published: 0, latencies })
    }

    fn turn(&mut self, plan: Plan, broker: &Broker) -> Outcome<()> {
        let numbers = self.published..self.published + plan.events;
        self.published = numbers.end;
        if let End::Program(_, mailboxes) = &mut self.end {
            mailboxes.expect(plan.events);
        }
        let pacing = broker.post().pace(&self.exchange, plan.users, numbers, EVERY, &self.stamps);
        let (stamps, latencies) = (&self.stamps, &mut self.latencies);
        match &mut self.end {
            End::Bare { ages, .. } => {
                for _ in 0..plan.events {
                    latencies.push(ages.recv_timeout(STALL).map_err(|_| "the bare consumer lost an event")?);
                }
                if !matches!(ages.try_recv(), Err(TryRecvError::Empty)) {
                    return Err("the bare consumer got more than what was published".into());
                }
            }
            End::Program(server, mailboxes) => {
                let outcome = mailboxes.collect(|number| {
                    latencies.push(stamps.age(number)?);
                    Ok(())
                });
                server.explain(outcome)?;
            }
        }
        broker.post().join(pacing)
    }

    fn finish(mut self) -> Measured {
        self.latencies.sort_unstable();
        let milliseconds = |hundredths| percentile(&self.latencies, hundredths) / 1e6;
        Measured { median: milliseconds(50), p99: milliseconds(99) }
    }
}

/// What the bare consumer does with a body.
fn tell_ages(stamps: Stamps, tell: SyncSender<u64>) -> impl FnMut(&[u8]) -> Outcome<()> + Send + 'static {
    let letter = Letter::new();
    move |body| Ok(tell.send(stamps.age(letter.number_of(body)?)?)?)
}

fn report(plan: Plan, options: Options, rounds: &[Round]) -> Report {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    let quiet = rounds.iter().filter(|round| round.quiet).count();
    // Where none was quiet there is nothing better than all of them.
    let counted: Vec<_> = rounds.iter().filter(|round| round.quiet || quiet == 0).map(|round| &round.results).collect();
    for (place, subject) in options.subjects.iter().enumerate() {
        let of = |value: fn(&Measured) -> f64| Summary::of(counted.iter().map(|round| value(&round[place])));
        let ratio = |value: fn(&Measured) -> f64| {
            Summary::of(counted.iter().map(|round| value(&round[place]) / value(&round[0])))
        };
        let (median, p99) = (|result: &Measured| result.median, |result: &Measured| result.p99);
        let shown = |ratio: Summary| if place == 0 { "1".to_owned() } else { ratio.show(2) };
        rows.push(vec![
            match subject {
                Subject::Bare => "the broker alone: publisher to bare consumer".to_owned(),
                Subject::Pointsman => "Pointsman: publisher to client".to_owned(),
            },
            format!("{} ms", of(median).show(3)),
            shown(ratio(median)),
            format!("{} ms", of(p99).show(3)),
            shown(ratio(p99)),
        ]);
        if *subject == Subject::Pointsman && !options.short {
            let met = |ratio: Summary| if ratio.median <= TARGET { "met" } else { "missed" };
            let (median, p99) = (met(ratio(median)), met(ratio(p99)));
            notes
                .push(format!("Target: at most {TARGET} × the broker alone in quiet rounds; p50 {median}, p99 {p99}."));
        }
    }
    notes.push(if quiet == 0 && !options.short {
        "Noisy: no round was quiet, the figures are of all of them. Measure again on a quiet machine.".to_owned()
    } else {
        format!("{quiet} of {} rounds were quiet; the figures are theirs.", rounds.len())
    });
    notes.push(format!(
        "{} turns of {} events of each subject in a round; the ratios are the medians of the rounds' own ratios. Every \
         client got exactly its own events, in order.",
        plan.turns,
        Grouped(float(plan.events), 0),
    ));
    Report {
        title: format!(
            "Latency from publish to receipt, {} events/s for one user each, {} connections (median and range of rounds)",
            Grouped(1.0 / EVERY.as_secs_f64(), 0),
            Grouped(float(plan.users.connections() as u64), 0),
        ),
        columns: vec!["", "p50", "ratio", "p99", "ratio"],
        rows,
        notes,
    }
}
