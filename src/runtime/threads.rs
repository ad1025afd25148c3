//! Threads of the first path, and waiting for their end.

use std::cell::Cell;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

/// What [`give_way`] sets. The highest is 19, with which a busy machine would not come to it at all.
const MODEST: i32 = 10;
/// How long a thread that gives way keeps a core to itself. Each time that it lets others go first, all of them have a whole
/// turn: beside three threads that never rest, a reload that takes 15 ms alone and some 125 ms by its priority takes 1.2 s
/// so, and still ends. Shorter strides would cost more there, and parts of the work are not much shorter.
const STRIDE: Duration = Duration::from_micros(250);

thread_local! {
    /// Since when this thread has the core, where it gives way.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Threads that end by themselves, when what they serve has gone.
#[derive(Debug, Default)]
pub struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// These threads.
    pub fn new(threads: Vec<JoinHandle<()>>) -> Self {
        Self(threads)
    }

    /// Waits until all have ended, without holding up the runtime that waits. Says which ones died of a panic.
    pub async fn ended(self) -> Vec<String> {
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || {
            let mut died = Vec::new();
            for thread in self.0 {
                let name = thread.thread().name().unwrap_or("a thread").to_owned();
                if thread.join().is_err() {
                    died.push(name);
                }
            }
            // Whoever waited may have gone.
            tell.send(died).ok();
        });
        told.await.unwrap_or_default()
    }
}

/// From now on the threads that serve clients go before this one, where cores are too few for all.
pub fn give_way() {
    // On Linux each thread has a priority of its own. Where it cannot be set, nothing but that is lost.
    setpriority_process(Some(gettid()), MODEST).ok();
    SINCE.set(Some(now()));
}

/// Lets those go first who wait for this core, if this thread [gives way](give_way) and has not done so for a moment: for
/// work that takes some milliseconds, between its parts.
///
/// Priority alone is not enough. Linux lets whoever runs have its turn of a millisecond or some, however modest, and looks
/// again at its next tick, which is up to four later: an event that comes in between would wait that long.
pub fn let_pass() {
    if SINCE.get().is_some_and(|since| now() - since >= STRIDE) {
        std::thread::yield_now();
        SINCE.set(Some(now()));
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: how long a thread has run decides nothing")]
fn now() -> Instant {
    Instant::now()
}
