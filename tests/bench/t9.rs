//! Reload of 500 routes and 20 plugins while events flow: how long a change takes until it is in force, and what it does
//! to events meanwhile.
//!
//! Events are those of T5: for one user each, over AMQP. Turns without a change, with
//! one that is asked for, and with those that the watcher sees follow each other, on one server.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, Stamps};
use crate::report::Report;
use crate::server::Server;
use crate::stats::{Grouped, Summary, float, percentile};
use crate::t4::configuration;
use crate::targeted::{Mailboxes, Users};
use crate::{Options, Outcome};

/// Milliseconds from change to force, and the ratio of the 99th percentile to that without.
const TARGETS: (f64, f64) = (250.0, 2.0);
const ROUTES: usize = 500;
const PLUGINS: usize = 20;
const MAIN: &str = "pointsman.yaml";
/// From one event to the next.
const EVERY: Duration = Duration::from_millis(1);

/// What happens in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Quiet,
    /// The API is asked when the files have changed.
    Api,
    /// Nobody is asked. The configuration has changed, with all its routes.
    Watch,
    /// Nobody is asked, and all files have changed.
    WatchAll,
}

const TURNS: [(Turn, &str); 4] = [
    (Turn::Quiet, "without a change"),
    (Turn::Api, "all files, asked for by the API"),
    (Turn::Watch, "the file of all routes, seen by the watcher"),
    (Turn::WatchAll, "all files, seen by the watcher"),
];

#[derive(Clone, Copy, Debug)]
struct Plan {
    users: Users,
    rounds: u16,
    /// Of each kind of turn in a round.
    turns: u16,
    /// Events of a turn: more than what a change takes.
    events: u64,
}

/// What all turns of one kind in a round came to.
#[derive(Clone, Debug, Default)]
struct Measured {
    /// Milliseconds from change to force.
    took: Vec<f64>,
    /// Nanoseconds of events that were published before it was in force.
    latencies: Vec<u64>,
}

/// The files of one server.
#[derive(Clone, Debug)]
struct Files {
    folder: PathBuf,
    /// The configuration without its routes.
    head: String,
    /// How often they have changed.
    changes: u64,
}

/// Measures, and answers the table.
pub(crate) fn run(options: Options, broker: &Broker) -> Outcome<Report> {
    let users = Users::new(options);
    let plan = if options.short {
        Plan { users, rounds: 1, turns: 1, events: 600 }
    } else {
        Plan { users, rounds: 5, turns: 10, events: 600 }
    };
    let plan = Plan { rounds: options.rounds.unwrap_or(plan.rounds), ..plan };
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        let round = round(plan, options, broker)?;
        let figures = round.iter().map(|turns| {
            let p99 = percentile(&turns.latencies, 99) / 1e6;
            if turns.took.is_empty() {
                format!("p99 {p99:.2}")
            } else {
                format!("{:.0} p99 {p99:.2}", Summary::of(turns.took.iter().copied()).median)
            }
        });
        eprintln!("t9 round {number}/{}: {} ms", plan.rounds, figures.collect::<Vec<_>>().join(", "));
        rounds.push(round);
    }
    Ok(report(plan, options, &rounds))
}

/// A server anew, and all turns in turn.
fn round(plan: Plan, options: Options, broker: &Broker) -> Outcome<Vec<Measured>> {
    let exchange = broker.exchange();
    let folder = tempfile::tempdir()?;
    let head = configuration(broker, &exchange).replace("routes:\n", "");
    let (head, deals) = head.trim_end().rsplit_once('\n').ok_or("no routes")?;
    let mut files = Files { folder: folder.path().to_owned(), head: head.to_owned(), changes: 0 };
    files.change(deals, true)?;
    let mut server = Server::start_in(folder, MAIN, options.cores)?;
    server.wait_until_it_consumes()?;
    let mut mailboxes = server.explain(Mailboxes::connect(&server, plan.users))?;
    let all = plan.events * (u64::from(plan.turns) + 1) * TURNS.len() as u64;
    let stamps = Stamps::new(all)?;
    let mut measured = vec![Measured::default(); TURNS.len()];
    for number in 0..=plan.turns {
        for ((turn, _), measured) in TURNS.iter().zip(&mut measured) {
            let numbers = mailboxes.expect(plan.events);
            let pacing = broker.post().pace(&exchange, plan.users, numbers, EVERY, &stamps);
            let change = {
                let (mut files, deals, tail, admin, stamps) =
                    (files.clone(), deals.to_owned(), server.tail()?, server.admin, stamps.clone());
                let turn = *turn;
                thread::spawn(move || change(turn, &mut files, &deals, tail, admin, &stamps))
            };
            if *turn != Turn::Quiet {
                files.changes += 1;
            }
            let mut receipts = Vec::new();
            let outcome = mailboxes.collect(|number| {
                receipts.push((stamps.at(number)?, stamps.age(number)?));
                Ok(())
            });
            server.explain(outcome)?;
            broker.post().join(pacing)?;
            let (begun, done) = server.explain(change.join().map_err(|_| "who changes files has panicked")?)?;
            // The first ones warm up.
            if number > 0 {
                let during = receipts.iter().filter(|(at, _)| *turn == Turn::Quiet || (begun..done).contains(at));
                measured.latencies.extend(during.map(|(_, age)| age));
                if *turn != Turn::Quiet {
                    measured.took.push(float(done - begun) / 1e6);
                }
            }
        }
    }
    for turns in &mut measured {
        turns.latencies.sort_unstable();
    }
    Ok(measured)
}

/// Answers when the files had changed, and when that was in force.
fn change(
    turn: Turn,
    files: &mut Files,
    deals: &str,
    mut tail: crate::server::Tail,
    admin: std::net::SocketAddr,
    stamps: &Stamps,
) -> Outcome<(u64, u64)> {
    if turn == Turn::Quiet {
        return Ok((0, 0));
    }
    files.change(deals, turn != Turn::Watch)?;
    let begun = stamps.clock();
    if turn == Turn::Api {
        let answer = Server::ask(admin, "POST", "/api/reload")?;
        if answer["result"] != "applied" || answer["tests_passed"] != PLUGINS {
            return Err(format!("not what was meant: {answer}").into());
        }
    } else {
        tail.wait_for_change(MAIN)?;
    }
    Ok((begun, stamps.clock()))
}

impl Files {
    /// All of them become others, or the configuration alone. It is the last one in any case.
    fn change(&mut self, deals: &str, all: bool) -> Outcome<()> {
        self.changes += 1;
        let change = self.changes;
        fs::create_dir_all(self.folder.join("tests"))?;
        let mut routes = String::new();
        for number in 0..ROUTES - PLUGINS - 1 {
            writeln!(
                routes,
                "  - {{ name: route-{number}, when: {{ data.type: kind.{number} }}, to: {{ topic: 'deal:{change}-{{data.deal_id}}', except_user: '{{data.actor_id}}' }} }}"
            )?;
        }
        writeln!(routes, "{deals}")?;
        let mut tests = String::new();
        for number in 0..PLUGINS {
            writeln!(
                routes,
                "  - {{ name: script-{number}, when: {{ data.type: script.{number} }}, script: p{number}.lua }}"
            )?;
            if all {
                self.replace(&format!("p{number}.lua"), &plugin(number, change))?;
            }
            writeln!(
                tests,
                "- name: plugin {number}\n  event: {{ data: {{ type: script.{number}, tenant_id: acme, deal_id: 4, board: b, owner_id: 7 }} }}\n  \
                 sessions: {{ ann: {{ user: 7, tenant: acme, topics: ['deal:4'] }} }}\n  expect: {{ route: script-{number}, reaches: ann }}"
            )?;
        }
        self.replace("tests/plugins.yaml", &tests)?;
        self.replace(MAIN, &format!("{}\nroutes:\n{routes}", self.head))
    }

    fn replace(&self, name: &str, text: &str) -> Outcome<()> {
        let path: &Path = &self.folder.join(name);
        let beside = path.with_extension("new");
        fs::write(&beside, text)?;
        Ok(fs::rename(beside, path)?)
    }
}

/// Some 1.7 KB.
fn plugin(number: usize, change: u64) -> String {
    let mut text = format!("-- Plugin {number}, as of change {change}.\nlocal CHANGE = {change}\n");
    for rule in 0..12 {
        writeln!(
            text,
            "local function rule_{rule}(data, to)\n  if data.board == \"board-{rule}\" and data.owner_id ~= nil then\n    to:topic(\"board:\" .. data.board .. \":\" .. CHANGE)\n  end\nend"
        )
        .ok();
    }
    let calls = (0..12).map(|rule| format!("    rule_{rule}(data, to)\n")).collect::<Vec<_>>().concat();
    format!(
        "{text}return {{\n  fields = {{ \"data.deal_id\", \"data.board\", \"data.owner_id\" }},\n  route = function(event, to)\n    local data = event.data\n    to:topic(\"deal:\" .. data.deal_id)\n{calls}    to:user(data.owner_id)\n  end,\n}}\n"
    )
}

fn report(plan: Plan, options: Options, rounds: &[Vec<Measured>]) -> Report {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for (place, (turn, name)) in TURNS.iter().enumerate() {
        let of =
            |hundredths| Summary::of(rounds.iter().map(|round| percentile(&round[place].latencies, hundredths) / 1e6));
        let ratio = Summary::of(
            rounds.iter().map(|round| percentile(&round[place].latencies, 99) / percentile(&round[0].latencies, 99)),
        );
        let took = (*turn != Turn::Quiet)
            .then(|| Summary::of(rounds.iter().flat_map(|round| round[place].took.iter().copied())));
        rows.push(vec![
            (*name).to_owned(),
            took.map_or_else(String::new, |took| format!("{} ms", took.show(0))),
            format!("{} ms", of(50).show(2)),
            format!("{} ms", of(99).show(2)),
            if place == 0 { "1".to_owned() } else { ratio.show(2) },
        ]);
        if let (Some(took), false) = (took, options.short) {
            let met = |is_met: bool| if is_met { "met" } else { "missed" };
            notes.push(format!(
                "Target, {name}: at most {} ms from change to force, {}; p99 meanwhile at most {} × without, {}.",
                TARGETS.0,
                met(took.median <= TARGETS.0),
                TARGETS.1,
                met(ratio.median <= TARGETS.1)
            ));
        }
    }
    notes.push(format!(
        "{ROUTES} routes, {PLUGINS} plugins and their {PLUGINS} tests; files change by renames, and time counts from the last one. \
         The watcher waits until it has been quiet for 150 ms, and for 200 ms where several files have changed. Of {} events of a turn \
         those count that were published before the change was in force; {} turns of each kind in a round; the ratios are the medians of the \
         rounds' own ratios. Every client got exactly its own events, in order.",
        plan.events, plan.turns
    ));
    Report {
        title: format!(
            "Reload of {ROUTES} routes and {PLUGINS} plugins, {} events/s for one user each, {} connections (median and range)",
            Grouped(1.0 / EVERY.as_secs_f64(), 0),
            Grouped(float(plan.users.connections() as u64), 0)
        ),
        columns: vec!["", "change to force", "delivery p50 meanwhile", "p99", "p99 to that without"],
        rows,
        notes,
    }
}
