//! Memory: what a server holds for a session that is idle.

use std::time::Duration;

use crate::client::{Client, Hello};
use crate::load::Load;
use crate::publish::Publisher;
use crate::report::Report;
use crate::server::{Server, Subject};
use crate::stats::{Grouped, Summary, float};
use crate::{Options, Outcome};

/// Bytes per session that the program shall stay within.
const TARGET: f64 = 2000.0;
/// Sessions that come first and stay, so that what a server makes once for all is not counted.
const FIRST: usize = 100;
/// Memory is settled when it is the same twice, this far apart.
const SETTLE: Duration = Duration::from_millis(500);
/// How often it is looked at for that, at most.
const LOOKS: usize = 60;
const TENANTS: usize = 100;
const TOPICS: usize = 500;
const TOPICS_EACH: usize = 5;

/// Whose token it is comes from a query that needs no table: thousands of tokens in the file would leave freed memory
/// behind, which sessions would then take, and look smaller than they are.
const CONFIGURATION: &str = "
listen: 127.0.0.1:0
shards: 1
admin: { listen: 127.0.0.1:0 }
event: { payload: data, tenant: data.tenant_id, type: data.type }
ping: { every: 1h }
limits: { connections: 20000 }
database:
  url: 'sqlite::memory:'
  queries:
    user_by_token: { sql: 'SELECT substr(:token, 5) AS user, substr(:token, 1, 3) AS tenant' }
auth: { providers: [{ sql: { query: user_by_token } }] }
topics: [{ match: 'deal:{id}', allow: true }]
routes:
  - { name: deals, when: { data.type: 'deal.*' }, to: { topic: 'deal:{data.deal_id}' } }
";

/// Measures, and answers the table.
pub(crate) fn run(options: Options) -> Outcome<Report> {
    let (sessions, rounds) = if options.short { (200, 1) } else { (10_000, 3) };
    let rounds = options.rounds.unwrap_or(rounds);
    let mut measured: Vec<Vec<f64>> = vec![Vec::new(); options.subjects.len()];
    for number in 1..=rounds {
        for (subject, results) in options.subjects.iter().zip(&mut measured) {
            let server = Server::start(*subject, CONFIGURATION, options.cores)?;
            let bytes = server.explain(measure(&server, *subject, sessions))?;
            eprintln!("t3 round {number}/{rounds}: {subject:?} {bytes:.0} bytes a session");
            results.push(bytes);
        }
    }
    Ok(report(sessions, rounds, options, &measured))
}

/// Bytes per session.
fn measure(server: &Server, subject: Subject, sessions: usize) -> Outcome<f64> {
    let mut load = Load::new(Publisher::connect(server.admin)?)?;
    let join = |load: &mut Load, index| {
        let hello = hello(index);
        load.add(Client::connect(server.clients, (subject == Subject::Pointsman).then_some(&hello))?)
    };
    for index in 0..FIRST {
        join(&mut load, index)?;
    }
    let before = settled(server, &mut load)?;
    for index in FIRST..FIRST + sessions {
        join(&mut load, index)?;
    }
    let after = settled(server, &mut load)?;
    Ok((float(after) - float(before)) / float(sessions as u64))
}

/// Resident bytes, once they have stopped changing.
fn settled(server: &Server, load: &mut Load) -> Outcome<u64> {
    let mut last = server.process.resident()?;
    for _ in 0..LOOKS {
        load.stay_quiet(SETTLE)?;
        let resident = server.process.resident()?;
        if resident == last {
            return Ok(resident);
        }
        last = resident;
    }
    Err("the server's memory does not settle".into())
}

/// Each is another user; tenants and topics take turns, so that the five topics are never the same one twice.
fn hello(index: usize) -> Hello {
    let topic = |nth: usize| format!("deal:{}", (index * 7 + nth * 101) % TOPICS);
    Hello { token: format!("t{:02}-u{index:05}", index % TENANTS), topics: (0..TOPICS_EACH).map(topic).collect() }
}

fn report(sessions: usize, rounds: u16, options: Options, measured: &[Vec<f64>]) -> Report {
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for (subject, results) in options.subjects.iter().zip(measured) {
        let bytes = Summary::of(results.iter().copied());
        rows.push(vec![
            match subject {
                Subject::Bare => "bare table of sockets, no sessions".to_owned(),
                Subject::Pointsman => format!("Pointsman, each with a user and {TOPICS_EACH} topics"),
            },
            bytes.show(0),
        ]);
        if *subject == Subject::Pointsman && !options.short {
            let met = if bytes.median <= TARGET { "met" } else { "missed" };
            notes.push(format!("Target: at most {} bytes; {met}.", Grouped(TARGET, 0)));
        }
    }
    notes.push(format!(
        "Resident memory with {} connections less that with {FIRST}. Each user has one session; there are {TENANTS} tenants.",
        Grouped(float((sessions + FIRST) as u64), 0)
    ));
    Report {
        title: format!(
            "Memory of {} idle sessions (median and range of {rounds}, in turn)",
            Grouped(float(sessions as u64), 0)
        ),
        columns: vec!["", "bytes per session"],
        rows,
        notes,
    }
}
