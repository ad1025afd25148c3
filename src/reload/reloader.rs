//! Who takes up the files: one attempt at a time, whoever asks for it.
//!
//! Invariant: what runs waits for none of this, and none of this waits for a disk that does not answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::history::{Attempt, History, Outcome, Trigger};
use super::machinery::Machinery;
use super::ready::{Draft, Former, Origin};
use super::watch::{self as watching, Watched};
use super::{Generation, Ready, Refusal, Sources};
use crate::runtime::give_way;

/// How long reading, compiling and testing may take together.
const DRAFT: Duration = Duration::from_mins(1);
/// How long lanes may take to prepare.
const LANES: Duration = Duration::from_secs(10);
/// Those who may wait for an attempt. More wait to be heard.
const WAITING: usize = 64;

/// The way to who takes up the files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader {
    orders: mpsc::Sender<Order>,
    in_force: watch::Receiver<Arc<InForce>>,
    history: watch::Receiver<History>,
}

/// What is in force.
#[derive(Debug)]
pub struct InForce {
    /// What it is.
    pub ready: Ready,
    /// Since when.
    pub since: SystemTime,
}

#[derive(Debug)]
struct Order {
    trigger: Trigger,
    done: oneshot::Sender<Arc<Attempt>>,
}

/// At work.
struct Worker {
    origin: Origin,
    machinery: Machinery,
    in_force: watch::Sender<Arc<InForce>>,
    former: Option<Former>,
    history: watch::Sender<History>,
    watched: watch::Sender<Watched>,
    /// What was read last, whatever came of it.
    read: Sources,
    /// A reading that has not come back in its time.
    stuck: Option<oneshot::Receiver<()>>,
}

impl Reloader {
    /// Starts to take up changes of what is in force since the start, which took so long. Must be called within the
    /// control runtime.
    pub fn start(origin: Origin, machinery: Machinery, ready: Ready, took: Duration) -> Self {
        // Full, it makes those wait who ask.
        let (orders, ordered) = mpsc::channel(WAITING);
        let read = Sources::clone(&ready.sources);
        let watched = watch::Sender::new(Watched { sources: Arc::clone(&ready.sources), is_on: false });
        let first = InForce { since: wall_clock(), ready };
        let worker = Worker {
            origin,
            machinery,
            in_force: watch::Sender::new(Arc::new(first)),
            former: None,
            history: watch::Sender::new(History::default()),
            watched,
            read,
            stuck: None,
        };
        // One that waits stands for all changes up to then.
        let (changed, changes) = mpsc::channel(1);
        tokio::spawn(watching::run(worker.watched.subscribe(), changed));
        let (in_force, history) = (worker.in_force.subscribe(), worker.history.subscribe());
        tokio::spawn(worker.run(ordered, changes, took));
        Self { orders, in_force, history }
    }

    /// Has the files taken up, or the generation before brought back. Answers what came of it; `None` where the program
    /// ends.
    pub async fn attempt(&self, trigger: Trigger) -> Option<Arc<Attempt>> {
        let (done, attempt) = oneshot::channel();
        self.orders.send(Order { trigger, done }).await.ok()?;
        attempt.await.ok()
    }

    /// What is in force now.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.borrow())
    }

    /// The last attempts.
    pub fn history(&self) -> History {
        self.history.borrow().clone()
    }
}

impl Worker {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut changes: mpsc::Receiver<()>, took: Duration) {
        self.machinery.note(&self.ready());
        self.note(Trigger::Boot, took, Outcome::Applied(Vec::new()), Vec::new());
        self.tell_watcher();
        let mut waiting: Vec<Order> = Vec::new();
        loop {
            // One that waits already came with others, of another kind.
            let trigger = if let Some(first) = waiting.first() {
                first.trigger
            } else {
                tokio::select! {
                    _ = orders.recv_many(&mut waiting, WAITING) => match waiting.first() {
                        Some(first) => first.trigger,
                        None => return,
                    },
                    Some(()) = changes.recv() => Trigger::Watch,
                }
            };
            // All who wait now are answered by one reading: it sees what each of them has written.
            let is_rollback = trigger == Trigger::Rollback;
            let same = |order: &mut Order| (order.trigger == Trigger::Rollback) == is_rollback;
            let answered: Vec<Order> = waiting.extract_if(.., same).collect();
            if let Some(attempt) = self.attempt(trigger).await {
                for order in answered {
                    // Who has gone away is not told.
                    order.done.send(Arc::clone(&attempt)).ok();
                }
            }
        }
    }

    /// One attempt. `None` where there was nothing to attempt.
    async fn attempt(&mut self, trigger: Trigger) -> Option<Arc<Attempt>> {
        let begun = Instant::now();
        let before = self.ready();
        let last = self.read.clone();
        let outcome = match trigger {
            Trigger::Rollback => self.roll_back(&before).await,
            _ => self.take_up(&before, trigger == Trigger::Watch).await,
        };
        if trigger == Trigger::Watch && matches!(outcome, Outcome::Unchanged) && self.read.hold_the_same(&last) {
            // The folder is another one, or a file was touched: nothing that was not attempted before.
            return None;
        }
        if trigger == Trigger::Watch
            && let Outcome::Refused(refusal) = &outcome
            && refusal.is_shortage()
        {
            // The watcher looks again, finds the same change, and says so if it cannot look.
            return None;
        }
        let shown = |path: &std::path::Path| path.display().to_string();
        let changed = match &outcome {
            Outcome::Applied(_) => self.ready().sources.changed_since(&before.sources).map(shown).collect(),
            _ => self.read.changed_since(&before.sources).map(shown).collect(),
        };
        Some(self.note(trigger, begun.elapsed(), outcome, changed))
    }

    /// The second path: files → draft → ready → prepared → in force.
    ///
    /// With `only_news`, what was read before is not attempted again: a generation that was rolled back stays so until
    /// somebody changes a file, or asks.
    async fn take_up(&mut self, before: &Ready, only_news: bool) -> Outcome {
        let draft = match self.draft(before, only_news).await {
            Ok(Some(draft)) => draft,
            Ok(None) => return Outcome::Unchanged,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        self.put_into_force(draft, before).await
    }

    async fn roll_back(&mut self, before: &Ready) -> Outcome {
        let Some(former) = self.former.clone() else { return Outcome::Refused(Refusal::NothingBefore) };
        let (generation, own) = (next(before), before.clone());
        let draft = self.on_a_thread(move || Draft::again(former, generation, &own));
        match draft.await {
            Ok(draft) => self.put_into_force(draft, before).await,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Reads, compiles and proves. `None` where there is nothing to take up.
    async fn draft(&mut self, before: &Ready, only_news: bool) -> Result<Option<Draft>, Refusal> {
        let (origin, generation, own) = (self.origin.clone(), next(before), before.clone());
        let mut read = self.read.clone();
        let drafted = self.on_a_thread(move || {
            let draft = origin.draft(generation, Some(&own), &mut read, only_news);
            Ok((draft, read))
        });
        let (draft, read) = drafted.await?;
        self.read = read;
        self.tell_watcher();
        draft
    }

    async fn put_into_force(&mut self, draft: Draft, before: &Ready) -> Outcome {
        let metrics = Arc::clone(&self.machinery.metrics);
        let ready = match draft.make_ready(Some(before), &metrics).await {
            Ok(ready) => ready,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        match timeout(LANES, self.machinery.lanes.prepare(&ready.rulebook)).await {
            Ok(Ok(())) => {}
            Ok(Err(said)) => return Outcome::Refused(Refusal::Lanes(said)),
            Err(_) => return Outcome::Refused(Refusal::Lanes(format!("no answer in {LANES:?}"))),
        }
        self.machinery.swap(&ready, before);
        self.former = Some(before.former());
        self.in_force.send_replace(Arc::new(InForce { ready: ready.clone(), since: wall_clock() }));
        self.tell_watcher();
        let review = (!ready.allows_as(before)).then(|| Arc::clone(&before.rulebook));
        let lanes = self.machinery.lanes.clone();
        // A lane that is busy hears of it when it comes to that.
        let mut told = tokio::spawn(async move { lanes.swapped(review.as_ref()).await });
        timeout(LANES, &mut told).await.ok();
        let not_applied = self.machinery.change_broker(&ready, before).await;
        Outcome::Applied(not_applied)
    }

    /// Runs what may take its time, on a thread that may wait, and that gives way to what serves clients. One that does not
    /// come back is waited for by the next attempt, not by a second thread.
    async fn on_a_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        if let Some(stuck) = &mut self.stuck {
            // Nothing is said: it is dropped.
            timeout(DRAFT, stuck).await.map_err(|_| Refusal::Hangs)?.ok();
            self.stuck = None;
        }
        let ((done, result), (alive, end)) = (oneshot::channel(), oneshot::channel());
        let work = move || {
            give_way();
            drop(done.send(work()));
            drop(alive);
        };
        let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(work);
        thread.map_err(|error| Refusal::Broken(format!("the system has no thread for it: {error}")))?;
        match timeout(DRAFT, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Refusal::Broken("its thread has panicked".to_owned())),
            Err(_) => {
                self.stuck = Some(end);
                Err(Refusal::Hangs)
            }
        }
    }

    fn ready(&self) -> Ready {
        self.in_force.borrow().ready.clone()
    }

    fn tell_watcher(&self) {
        let is_on = self.in_force.borrow().ready.config.reload.watch && self.origin.is_on_disk();
        self.watched.send_replace(Watched { sources: Arc::new(self.read.clone()), is_on });
    }

    /// Counts, logs and keeps what came of an attempt.
    fn note(&self, trigger: Trigger, took: Duration, outcome: Outcome, changed: Vec<String>) -> Arc<Attempt> {
        let ready = self.ready();
        let needs_restart = match outcome {
            Outcome::Refused(_) => Vec::new(),
            _ => self.machinery.needs_restart(&ready.config),
        };
        let attempt = Attempt {
            trigger,
            at: wall_clock(),
            took,
            generation: ready.rulebook.generation,
            changed,
            tests_passed: match outcome {
                Outcome::Applied(_) => ready.proof.passed(),
                _ => 0,
            },
            needs_restart,
            not_applied: match &outcome {
                Outcome::Applied(what) => what.clone(),
                _ => Vec::new(),
            },
            outcome,
        };
        let refusal = attempt.refusal();
        self.machinery.metrics.reloaded(attempt.result(), refusal.map(Refusal::reason), took, attempt.at);
        log(&attempt, &ready);
        self.history.send_modify(|history| history.add(&attempt));
        Arc::new(attempt)
    }
}

fn log(attempt: &Attempt, ready: &Ready) {
    let Attempt { trigger, took, generation, changed, tests_passed, needs_restart, .. } = attempt;
    let (trigger, generation) = (trigger.name(), generation.0);
    match &attempt.outcome {
        Outcome::Applied(_) => {
            tracing::info!(trigger, generation, ?took, ?changed, tests_passed, hash = %ready.hash, "rulebook in force");
            for warning in ready.warnings.iter() {
                tracing::warn!(place = %warning.place, help = warning.help, "{}", warning.message);
            }
        }
        Outcome::Unchanged => tracing::info!(trigger, generation, "the files hold what is in force"),
        Outcome::Refused(refusal) => {
            for fault in refusal.diagnostics().into_iter().flat_map(crate::config::Diagnostics::iter) {
                tracing::error!(place = %fault.place, help = fault.help, "{}", fault.message);
            }
            if let Refusal::Tests(proof) = refusal {
                for failed in proof.failed() {
                    tracing::error!("a rule test failed: {failed}");
                }
            }
            let reason = refusal.reason();
            if refusal.is_shortage() {
                tracing::warn!(trigger, generation, reason, error = %refusal, "the files cannot be read now");
                return;
            }
            tracing::error!(trigger, generation, reason, ?changed, error = %refusal, "the files do not come into force");
        }
    }
    if !needs_restart.is_empty() {
        tracing::warn!(?needs_restart, "this takes a restart to be as the files say; the rest applies");
    }
}

fn next(before: &Ready) -> Generation {
    Generation(before.rulebook.generation.0 + 1)
}

#[expect(clippy::disallowed_methods, reason = "the edge: people are told when")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
