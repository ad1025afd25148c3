//! Threads of the first path, and waiting for their end.

use std::cell::Cell;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

/// What [`give_way`] sets. The highest is 19, with which a busy machine would not come to it at all.
const MODEST: i32 = 10;
/// How long a thread that gives way keeps a core to itself, at least. Parts of its work are not much shorter.
const STRIDE: Duration = Duration::from_micros(250);

thread_local! {
    /// When this thread is to let others go first again, where it gives way.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
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
    UNTIL.set(Some(now()));
}

/// Lets those go first who wait for this core, if this thread [gives way](give_way) and has not done so for a moment: for
/// work that takes some milliseconds, between its parts.
///
/// Priority alone is not enough. Linux lets whoever runs have its turn of a millisecond or some, however modest, and looks
/// again at its next tick, which is up to four later: an event that comes in between would wait that long.
///
/// Where the core has no moment to spare, each time lasts long, as all others have whole turns. The longer it has lasted, the
/// longer it is until the next one, so that the work comes to its end by the share that its priority gives it.
pub fn let_pass() {
    let Some(until) = UNTIL.get() else { return };
    let before = now();
    if before >= until {
        std::thread::yield_now();
        let after = now();
        UNTIL.set(Some(after + STRIDE.max((after - before) / 4)));
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: how long a thread has run decides nothing")]
fn now() -> Instant {
    Instant::now()
}
