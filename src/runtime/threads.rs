//! Threads of the first path, and waiting for their end.

use std::thread::JoinHandle;

use tokio::sync::oneshot;

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
