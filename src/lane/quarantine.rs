//! Where plugins run that take long: beside the lane, so that they hold up nobody's events but their own tenant's.
//!
//! Each lane has one quarantine, with machines of its own, which it makes when they are needed and lets go of when they
//! no longer are. Its thread takes what no other thread wants of the processors.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::authorize::AUTHORIZE_IN_FLIGHT;
use super::scripts::{Generations, Guest};
use super::state::{LANE_WAITING, Ticket};
use crate::observe::Metrics;
use crate::reload::Rulebook;
use crate::route::script::{Routing, ScriptError, ScriptFailure, Step, Suspended, thread_time};
use crate::route::{Arrived, Came, Errand, Leg, Parked};
use crate::runtime::give_way;

/// How long machines are kept that nobody calls.
const IDLE: Duration = Duration::from_secs(10);
/// Errands of events, of which each waits for one, and of topics.
const ROOM: usize = LANE_WAITING + AUTHORIZE_IN_FLIGHT;

/// A leg of a plugin's call, to be run. The lane waits to be told that it was.
#[derive(Debug)]
#[must_use = "a lane waits for each of its errands"]
pub struct Run {
    /// What the lane is told it with.
    pub ticket: Ticket,
    pub(super) rulebook: Arc<Rulebook>,
    pub(super) job: Job,
}

#[derive(Debug)]
pub(super) enum Job {
    Route(Arc<Errand<Routing>>),
    Authorize(Arc<Errand<bool>>),
}

/// The plugins that run beside one lane.
#[derive(Debug)]
pub struct Quarantine {
    guests: Generations<Guest>,
    routes: Parking<Routing>,
    topics: Parking<bool>,
    metrics: Arc<Metrics>,
}

/// The calls that wait for rows.
#[derive(Debug)]
struct Parking<T> {
    calls: HashMap<u64, (Parked, Suspended<T>)>,
    numbered: u64,
}

impl Quarantine {
    /// One in which nothing runs.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { guests: Generations::new(), routes: Parking::new(), topics: Parking::new(), metrics }
    }

    /// Does what the lane asked for, and answers what it is told that with.
    pub fn run(&mut self, run: Run, now: Instant) -> Ticket {
        let Run { ticket, rulebook, job } = run;
        self.guests.sweep(now);
        let Self { guests, routes, topics, metrics } = self;
        match &job {
            Job::Route(errand) => routes.run(errand, guests, &rulebook, metrics),
            Job::Authorize(errand) => topics.run(errand, guests, &rulebook, metrics),
        }
        ticket
    }

    /// Lets go of what nobody waits for, and, where nobody waits for anything, of all machines. Whether it did.
    pub fn rest(&mut self) -> bool {
        self.routes.sweep();
        self.topics.sweep();
        let is_idle = self.routes.calls.is_empty() && self.topics.calls.is_empty();
        if is_idle {
            self.guests.clear();
        }
        is_idle
    }
}

impl<T> Parking<T> {
    fn new() -> Self {
        Self { calls: HashMap::new(), numbered: 0 }
    }

    fn run(
        &mut self,
        errand: &Arc<Errand<T>>,
        guests: &mut Generations<Guest>,
        rulebook: &Arc<Rulebook>,
        metrics: &Metrics,
    ) {
        self.sweep();
        // Its event was given up, or its topic is judged anew.
        if Arc::strong_count(errand) == 1 {
            return;
        }
        let Some(guest) = guests.get(rulebook, errand.call.plugin, |plugin| Guest::new(plugin, rulebook, metrics))
        else {
            return;
        };
        let before = thread_time();
        let step = match errand.leg() {
            Leg::First(first) => guest.begin(first).0,
            Leg::Next(parked, answer) => match self.calls.remove(&parked.number()) {
                Some((_, suspended)) => guest.go_on(|| suspended.resume(answer.clone())).0,
                None => Step::Done(Err(gone())),
            },
        };
        let how = match step {
            Step::Done(said) => Arrived::Done(said),
            Step::Asks(lookup, suspended) => Arrived::Asks(lookup, self.park(suspended)),
        };
        errand.tell(Came { how, took: thread_time().saturating_sub(before) });
    }

    fn park(&mut self, suspended: Suspended<T>) -> Parked {
        self.numbered += 1;
        let parked = Parked::new(self.numbered);
        self.calls.insert(self.numbered, (parked.clone(), suspended));
        parked
    }

    /// Lets go of calls that nobody will go on with.
    fn sweep(&mut self) {
        self.calls.retain(|_, (parked, _)| parked.is_held_beside(1));
    }
}

/// Starts the thread of a quarantine, named `quarantine-0` and so on. What it is sent it runs, and tells when it has. It ends
/// when nobody can ask it any more.
pub(super) fn spawn(
    index: usize,
    metrics: Arc<Metrics>,
) -> io::Result<(Sender<Run>, Receiver<Ticket>, JoinHandle<()>)> {
    // No I/O: the thread waits for what is to run, and for the time to let go of something.
    let runtime = Builder::new_current_thread().enable_time().build()?;
    // Full, an errand is not run, and its call has failed. There is room for all that a lane has under way.
    let (runs, asked) = channel(ROOM);
    // Nobody waits for room: it has run no more than that.
    let (done, ran) = channel(ROOM);
    let name = format!("quarantine-{index}");
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        give_way();
        runtime.block_on(serve(Quarantine::new(metrics), asked, done));
    })?;
    Ok((runs, ran, thread))
}

async fn serve(mut quarantine: Quarantine, mut asked: Receiver<Run>, done: Sender<Ticket>) {
    let mut is_idle = true;
    loop {
        let run = if is_idle { Ok(asked.recv().await) } else { timeout(IDLE, asked.recv()).await };
        match run {
            Ok(Some(run)) => {
                is_idle = false;
                // Nobody is told where the lane has ended.
                done.send(quarantine.run(run, now())).await.ok();
            }
            Ok(None) => return,
            Err(_) => is_idle = quarantine.rest(),
        }
    }
}

fn gone() -> ScriptError {
    let message = "the plugin's call is gone".to_owned();
    ScriptError { kind: ScriptFailure::Error, line: None, message }
}

#[expect(clippy::disallowed_methods, reason = "the edge: only to know when to let go of machines")]
fn now() -> Instant {
    Instant::now()
}
