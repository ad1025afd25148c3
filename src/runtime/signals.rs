//! SIGTERM and SIGINT, which end the process, and SIGHUP, which does not.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks the process to leave. From its making on, these signals no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens for them. Must be called inside of a runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one. Returns its name, and its number.
    pub async fn next(&mut self) -> (&'static str, u8) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 15),
            _ = self.interrupt.recv() => ("SIGINT", 2),
        }
    }
}

/// What asks the process to take up its files. From its making on, the signal no longer ends the process by itself.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Listens for it. Must be called inside of a runtime.
    pub fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one. Those that come meanwhile are one.
    pub async fn next(&mut self) {
        // It ends with the process.
        self.0.recv().await;
    }
}
