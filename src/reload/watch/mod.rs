//! Watching the files.
//!
//! What the system tells is a hint and nothing more: it says nothing of some changes, such as in a folder behind a link
//! that was moved, and says too much of others. What counts is the content of all files: see [`Sources`].

mod folders;
mod hints;
mod observer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use self::hints::Hints;
use self::observer::Observer;
use super::{Refusal, Sources};
use crate::observe::Throttle;

/// A look that takes longer is worth a line in the log.
const LONG: Duration = Duration::from_secs(10);

/// How often it is logged that the system is short of descriptors.
const SHORTAGES: Duration = Duration::from_secs(10);

/// What the watcher has to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    /// What was read last, whatever came of it.
    pub(super) sources: Arc<Sources>,
    /// Whether a change is to be taken up.
    pub(super) is_on: bool,
}

/// Watches until nobody is left to tell, and tells when the files hold something that has not been read. What the system
/// has to give for that is taken at once.
pub(super) fn run(watched: watch::Receiver<Watched>, changed: mpsc::Sender<()>) -> impl Future<Output = ()> {
    let hint = Arc::new(Notify::new());
    let hints = Hints::new(Arc::clone(&hint));
    watch(hint, hints, watched, changed)
}

async fn watch(hint: Arc<Notify>, mut hints: Hints, mut watched: watch::Receiver<Watched>, changed: mpsc::Sender<()>) {
    let mut now = watched.borrow_and_update().clone();
    let shortages = Throttle::new(SHORTAGES);
    let mut observer = Observer::new(Arc::clone(&now.sources), Instant::now().into_std());
    loop {
        tokio::select! {
            learned = watched.changed() => {
                if learned.is_err() {
                    return;
                }
                now = watched.borrow_and_update().clone();
                observer.learn(Arc::clone(&now.sources), Instant::now().into_std());
            }
            () = hint.notified(), if now.is_on => observer.hint(Instant::now().into_std()),
            () = sleep_until(observer.due().into()), if now.is_on => {
                let Some((again, sight, is_new)) = look(hints, Arc::clone(observer.known())).await else { return };
                hints = again;
                if is_new {
                    observer.hint(Instant::now().into_std());
                }
                let sight = match sight {
                    Ok(sight) => sight,
                    Err(error) => {
                        if let Some(held_back) = shortages.admit() {
                            tracing::warn!(%error, held_back, "the files cannot be read now, and are looked at again");
                        }
                        observer.saw_nothing(Instant::now().into_std());
                        continue;
                    }
                };
                // Where one is told already, it finds what this one would.
                let count = sight.changed_since(observer.known()).count();
                if observer.saw(Arc::new(sight), count, Instant::now().into_std()) {
                    changed.try_send(()).ok();
                }
            }
        }
    }
}

/// Has a look, on a thread that may wait: a disk that hangs holds up nothing else.
async fn look(mut hints: Hints, known: Arc<Sources>) -> Option<(Hints, Result<Sources, Refusal>, bool)> {
    let mut looking = spawn_blocking(move || {
        // First: a change that comes after this is told of.
        let is_new = hints.watch(known.files().map(|(path, _)| path).chain(known.folders()));
        let sight = known.look_again();
        (hints, sight, is_new)
    });
    if let Ok(looked) = timeout(LONG, &mut looking).await {
        return looked.ok();
    }
    tracing::warn!(?LONG, "the files cannot be looked at: the disk does not answer");
    let looked = looking.await.ok();
    tracing::info!("the files can be looked at again");
    looked
}
