//! Many changes of the rules while events flow: each event reaches whom it is for, once and in order, and is decided by
//! one state of the files. What is not so ends the run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::broker::Stamps;
use crate::client::{Client, Hello};
use crate::crowd::Crowd;
use crate::feed::{Feed, Pace};
use crate::report::Report;
use crate::server::{Server, Tail};
use crate::stats::{Grouped, Summary, float, now, percentile};
use crate::support::generations::{Book, Change, Files, Seats};
use crate::{Options, Outcome};

/// From one event to the next.
const EVERY: Duration = Duration::from_millis(2);
/// How long an event may take.
const STALL: Duration = Duration::from_secs(5);
/// Events of a run at most.
const MOST: u64 = 200_000;

/// Who takes up a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Api,
    /// The API, which is asked all the time, also while the files change.
    Racing,
    Watch,
}

const ALL: [(By, &str); 3] = [
    (By::Api, "asked for by the API"),
    (By::Racing, "the same, asked all the time, also while files change"),
    (By::Watch, "seen by the watcher"),
];

#[derive(Clone, Copy, Debug)]
struct Plan {
    seats: Seats,
    sessions: u64,
    changes: usize,
}

/// One change, from the files to the rulebook in force.
#[derive(Clone, Copy, Debug)]
struct Swap {
    by: By,
    begun: u64,
    done: u64,
}

/// Who changes the files.
struct Editor {
    files: Files,
    tail: Tail,
    admin: SocketAddr,
    stamps: Stamps,
    pace: Pace,
}

/// Measures, and answers the table.
pub(crate) fn run(options: Options) -> Outcome<Report> {
    let plan = if options.short {
        Plan { seats: Seats { tenants: 5, boards: 2 }, sessions: 100, changes: 12 }
    } else {
        Plan { seats: Seats { tenants: 20, boards: 2 }, sessions: 1000, changes: 200 }
    };
    let folder = tempfile::tempdir()?;
    let files = Files::create(folder.path(), plan.seats)?;
    let server = Server::start_in(folder, Files::MAIN, options.cores)?;
    let outcome = swaps(plan, files, &server);
    server.explain(outcome)
}

fn swaps(plan: Plan, files: Files, server: &Server) -> Outcome<Report> {
    let Plan { seats, sessions, changes } = plan;
    let mut crowd = Crowd::new()?;
    for session in 0..sessions {
        let hello = Hello { token: seats.token(session), topics: vec![seats.topic(session)] };
        crowd.add(Client::connect(server.clients, Some(&hello))?)?;
    }
    let mut book = Book::new(seats, sessions);
    let stamps = Stamps::new(MOST)?;
    let feed = Feed::start(server.admin, EVERY, seats.round(), stamps.clone(), move |number| seats.event(number))?;
    let (tail, admin) = (server.tail()?, server.admin);
    let mut editor = Editor { files, tail, admin, stamps: stamps.clone(), pace: feed.pace() };
    let editing = thread::spawn(move || {
        let swaps = editor.change_all(changes);
        editor.pace.stop();
        swaps.map(|swaps| (swaps, editor.files))
    });

    let mut receipts: Vec<(u64, u64)> = Vec::new();
    let mut turn = |book: &mut Book| {
        let turn = crowd.turn(Duration::from_millis(10), |session, message| {
            let message: Value = serde_json::from_slice(message)?;
            let number = book.note(session, &message["data"])?;
            receipts.push((stamps.at(number)?, stamps.age(number)?));
            Ok(())
        });
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(!turn?.quiet)
    };
    while !feed.has_ended() {
        turn(&mut book)?;
    }
    let events = feed.join()?;
    let mut last = now();
    while (0..usize::try_from(sessions)?).any(|session| !book.has_all(session, events)) && last.elapsed() < STALL {
        if turn(&mut book)? {
            last = now();
        }
    }
    let (swaps, files) = editing.join().map_err(|_| "the editor has panicked")??;
    let seen = book.close(events, files.states())?;
    if seen != files.states().len() {
        return Err(format!("{seen} of {} states of the files have decided something", files.states().len()).into());
    }
    Ok(report(plan, events, &swaps, &receipts))
}

impl Editor {
    /// So many changes, each when the one before is in force and has decided an event.
    fn change_all(&mut self, changes: usize) -> Outcome<Vec<Swap>> {
        let mut swaps = Vec::new();
        for (by, _) in ALL {
            let upto = swaps.len() + (changes - swaps.len()) / (ALL.len() - place(by));
            let racer = Racer::start(self.admin, by == By::Racing);
            while swaps.len() < upto {
                let change = [Change::Plugin, Change::Yaml, Change::Both][swaps.len() % 3];
                swaps.push(self.change(by, change)?);
                self.pace.wait_for_another()?;
            }
            racer.end()?;
        }
        Ok(swaps)
    }

    fn change(&mut self, by: By, change: Change) -> Outcome<Swap> {
        self.files.change(change)?;
        let begun = self.stamps.clock();
        let generation = self.files.states().len() as u64;
        if by == By::Api {
            let answer = Server::ask(self.admin, "POST", "/api/reload")?;
            if answer["generation"] != generation {
                return Err(format!("{change:?}: not generation {generation}: {answer}").into());
            }
        }
        self.tail.wait_for_generation(generation)?;
        Ok(Swap { by, begun, done: self.stamps.clock() })
    }
}

/// Asks for the files to be taken up, all the time.
struct Racer {
    thread: thread::JoinHandle<Outcome<()>>,
    stop: Arc<AtomicBool>,
}

impl Racer {
    fn start(admin: SocketAddr, is_on: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(!is_on));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                Server::ask(admin, "POST", "/api/reload")?;
            }
            Ok(())
        });
        Self { thread, stop }
    }

    fn end(self) -> Outcome<()> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| "who asks has panicked")?
    }
}

fn place(by: By) -> usize {
    ALL.iter().position(|(known, _)| *known == by).unwrap_or_default()
}

fn report(plan: Plan, events: u64, swaps: &[Swap], receipts: &[(u64, u64)]) -> Report {
    let latencies = |is_meant: &dyn Fn(u64) -> bool| {
        let mut of: Vec<u64> = receipts.iter().filter(|(at, _)| is_meant(*at)).map(|(_, age)| *age).collect();
        of.sort_unstable();
        [50, 99].map(|hundredths| format!("{:.2} ms", percentile(&of, hundredths) / 1e6))
    };
    let row = |name: &str, count: String, took: String, [median, p99]: [String; 2]| {
        vec![name.to_owned(), count, took, median, p99]
    };
    let mut rows = Vec::new();
    for (by, name) in ALL {
        let own: Vec<&Swap> = swaps.iter().filter(|swap| swap.by == by).collect();
        let took = Summary::of(own.iter().map(|swap| float(swap.done - swap.begun) / 1e6));
        let during = latencies(&|at| own.iter().any(|swap| (swap.begun..swap.done).contains(&at)));
        rows.push(row(name, own.len().to_string(), format!("{} ms", took.show(1)), during));
    }
    let between = latencies(&|at| !swaps.iter().any(|swap| (swap.begun..swap.done).contains(&at)));
    rows.push(row("between changes", String::new(), String::new(), between));
    let count = |count: u64| Grouped(float(count), 0).to_string();
    Report {
        title: format!(
            "{} changes of rules, {} events/s, {} sessions (median and range)",
            plan.changes,
            Grouped(1.0 / EVERY.as_secs_f64(), 0),
            count(plan.sessions)
        ),
        columns: vec!["", "changes", "change to force", "delivery p50 meanwhile", "p99"],
        rows,
        notes: vec![
            format!(
                "{} events, {} deliveries: each session got exactly its own events, in order; each event was decided by \
                 one state of the files, for all sessions the same; each of the {} states has decided some.",
                count(events),
                count(receipts.len() as u64),
                swaps.len() + 1
            ),
            "A plugin, the configuration, and both at once by a link change in turn. One of seven events waits for a \
             query. Publishing is by HTTP; an event's time counts from when it was due."
                .to_owned(),
        ],
    }
}
