//! The admin listener: health, readiness, metrics, publish, the rulebook and its reloads.
//!
//! With a key, everything but `/healthz` and `/readyz` asks for it as a bearer token, `/metrics` too: those two are for
//! probes, which carry no secrets and learn none. Without a key, what a web page of another origin sends is refused, so
//! that no website can publish into the server of somebody who visits it.
//!
//! Invariant: nobody can hold this listener up, and nothing delays a probe. The listener has a thread of its own. It accepts
//! every connection, and closes an idle one if too many are open. Requests other than probes need a place of their class.
//! Heads and bodies must come within a time, and answers must be read.

mod connections;
mod door;
mod listener;
mod patience;
mod places;
mod readiness;
mod reloads;
mod routes;

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::observe::Metrics;
use crate::reload::Reloader;
use crate::source::Intake;

pub use self::listener::start;
pub use self::readiness::{Fact, Readiness};

/// What the admin listener shows and reaches.
#[derive(Clone, Debug)]
pub struct AdminParts {
    /// What `/metrics` renders.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` answers.
    pub readiness: Readiness,
    /// Where published events go.
    pub intake: Intake,
    /// Who takes up changes, and knows what is in force.
    pub reloader: Reloader,
    /// The bearer token to ask for, now and from now on. None: whoever reaches the listener is trusted.
    pub key: watch::Receiver<Option<Arc<SecretString>>>,
}
