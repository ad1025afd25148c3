//! Tokens that a plugin knows.
//!
//! The plugin has a thread of its own: what it takes of time is taken from other tokens of its own alone. Queries that it
//! asks are run elsewhere, and other calls go on meanwhile.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::authenticator::Answer;
use super::named;
use crate::config::Breaker;
use crate::event::Scalar;
use crate::lookup::LookupError;
use crate::observe::Throttle;
use crate::reload::Queries;
use crate::route;
use crate::route::script::{Asks, LogLine, LogSink, Plugin, ScriptError, ScriptFailure, Step, Vm};

/// Calls that may wait for the thread. More wait before it.
const WAITING: usize = 64;
/// How often it is logged what a plugin may do at any rate.
const LOG_PERIOD: Duration = Duration::from_secs(1);
/// How many of its lines are logged in that time.
const LINES: u64 = 50;

/// A plugin's `authenticate` hook.
pub(super) struct Script {
    plugin: Arc<Plugin>,
    queries: Arc<Queries>,
    calls: mpsc::Sender<Call>,
}

/// What a plugin says of a token: names and values of a person, or that it does not know it.
type Said = Result<Option<Vec<(CompactString, Scalar)>>, ScriptError>;

struct Call {
    token: SecretString,
    remote: IpAddr,
    answer: oneshot::Sender<Said>,
}

/// The plugin in its thread.
struct Host {
    plugin: Arc<Plugin>,
    site: usize,
    queries: Arc<Queries>,
    /// Where queries are run.
    control: Handle,
    machine: RefCell<Option<Rc<Vm>>>,
    log: LogSink,
    fuse: RefCell<Fuse>,
}

/// Puts a plugin aside that fails again and again.
#[derive(Debug)]
struct Fuse {
    breaker: Breaker,
    failures: u32,
    /// Until when it is put aside. Then one call tries it.
    until: Option<Instant>,
}

impl Script {
    /// Starts the plugin's thread. Must be called within the runtime that shall run its queries.
    pub(super) fn new(
        plugin: &Arc<Plugin>,
        site: usize,
        queries: &Arc<Queries>,
        breaker: Breaker,
    ) -> Result<Self, String> {
        // Full, it makes those wait who have a place before it.
        let (calls, called) = mpsc::channel(WAITING);
        let control = Handle::current();
        let runtime = Builder::new_current_thread().enable_time().build().map_err(|error| error.to_string())?;
        let (own, own_queries) = (Arc::clone(plugin), Arc::clone(queries));
        let thread = std::thread::Builder::new().name("auth-script".to_owned()).spawn(move || {
            let host = Host {
                plugin: own,
                site,
                queries: own_queries,
                control,
                machine: RefCell::default(),
                log: log(),
                fuse: RefCell::new(Fuse { breaker, failures: 0, until: None }),
            };
            LocalSet::new().block_on(&runtime, serve(Rc::new(host), called));
        });
        thread.map_err(|error| error.to_string())?;
        Ok(Self { plugin: Arc::clone(plugin), queries: Arc::clone(queries), calls })
    }

    /// Whether it may have asked this query.
    pub(super) fn asks(&self, query: crate::config::QueryId) -> bool {
        let name = self.queries.queries.get(usize::from(query.0)).map(|query| &query.name);
        match self.plugin.asks() {
            Asks::Nothing => false,
            Asks::Named(names) => name.is_none_or(|name| names.contains(name)),
            Asks::Any => true,
        }
    }

    /// Has the plugin say whose token it is at this time.
    pub(super) async fn ask(&self, token: &SecretString, remote: IpAddr, now: SystemTime) -> Answer {
        let (answer, said) = oneshot::channel();
        let call = Call { token: token.clone(), remote: remote.to_canonical(), answer };
        let ended = || Answer::Unavailable("its thread has ended".into());
        if self.calls.send(call).await.is_err() {
            return ended();
        }
        match said.await {
            Ok(Ok(None)) => Answer::Unknown,
            Ok(Ok(Some(pairs))) => named::read("field", &pairs, now)
                .unwrap_or_else(|said| Answer::Unavailable(format!("plugin `{}`: {said}", self.plugin.name).into())),
            Ok(Err(error)) => Answer::Unavailable(error.to_string().into()),
            Err(_) => ended(),
        }
    }
}

/// Takes calls until nobody can make any more, and finishes those that it has.
async fn serve(host: Rc<Host>, mut calls: mpsc::Receiver<Call>) {
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            call = calls.recv() => match call {
                Some(call) => { under_way.spawn_local(call_once(Rc::clone(&host), call)); }
                None => break,
            },
            Some(_) = under_way.join_next() => {}
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn call_once(host: Rc<Host>, call: Call) {
    let Call { token, remote, mut answer } = call;
    let said = tokio::select! {
        said = host.call(&token, remote) => said,
        // Nobody waits for it any more: it ends here, wherever it is.
        () = answer.closed() => return,
    };
    answer.send(said).ok();
}

impl Host {
    async fn call(&self, token: &SecretString, remote: IpAddr) -> Said {
        let now = Instant::now();
        if self.fuse.borrow_mut().is_out(now) {
            let message = format!("plugin `{}` is put aside, as it has failed again and again", self.plugin.name);
            return Err(ScriptError { kind: ScriptFailure::Breaker, line: None, message });
        }
        let said = self.run(token, remote).await;
        // A query without an answer is no fault of the plugin.
        let failed = said.as_ref().is_err_and(|error| error.kind != ScriptFailure::Lookup);
        if self.fuse.borrow_mut().note(failed, Instant::now()) {
            let reason = said.as_ref().err().map(ToString::to_string);
            tracing::error!(plugin = %self.plugin.name, reason, "a plugin is put aside, as it fails again and again");
        }
        said
    }

    async fn run(&self, token: &SecretString, remote: IpAddr) -> Said {
        let machine = self.machine()?;
        let mut step = machine.authenticate(self.site, token.expose_secret(), &remote.to_string());
        loop {
            match step {
                Step::Done(said) => {
                    if machine.is_spent() {
                        self.machine.take();
                    }
                    return said;
                }
                Step::Asks(lookup, suspended) => step = suspended.resume(self.look_up(lookup).await),
            }
        }
    }

    fn machine(&self) -> Result<Rc<Vm>, ScriptError> {
        if let Some(machine) = self.machine.borrow().as_ref().filter(|machine| !machine.is_spent()) {
            return Ok(Rc::clone(machine));
        }
        let machine = Rc::new(Vm::new(&self.plugin, &self.log)?);
        *self.machine.borrow_mut() = Some(Rc::clone(&machine));
        Ok(machine)
    }

    /// Nobody's tenant is known yet: a query that binds `:tenant` finds nothing.
    async fn look_up(&self, lookup: route::script::Lookup) -> route::Answer {
        let route::script::Lookup { query, binds } = lookup;
        let Some(id) = self.queries.by_name(&query) else {
            return Err(LookupError::Failed(format!("there is no query `{query}`")));
        };
        let Some(lookups) = self.queries.lookups.clone() else {
            return Err(LookupError::Unavailable("no database is configured".to_owned()));
        };
        let rows = self.control.spawn(async move { lookups.run(id, None, &binds).await }).await;
        rows.unwrap_or_else(|error| Err(LookupError::Failed(format!("the lookup ended early: {error}"))))
    }
}

impl Fuse {
    fn is_out(&mut self, now: Instant) -> bool {
        match self.until {
            Some(until) if now < until => true,
            Some(_) => {
                // This call tries it. Others wait for what comes of that.
                self.until = Some(now + self.breaker.retry);
                false
            }
            None => false,
        }
    }

    /// Notes what came of a call. Whether the plugin is put aside by that.
    fn note(&mut self, failed: bool, now: Instant) -> bool {
        if !failed {
            (self.failures, self.until) = (0, None);
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.breaker.failures {
            return false;
        }
        self.until = Some(now + self.breaker.retry);
        self.failures == self.breaker.failures
    }
}

/// Logs what the plugin says, up to a rate.
fn log() -> LogSink {
    let throttle = Throttle::of(LINES, LOG_PERIOD);
    Rc::new(move |plugin: &Plugin, line: LogLine| {
        let Some(held_back) = throttle.admit() else { return };
        let LogLine { is_warning, line, text } = line;
        if is_warning {
            tracing::warn!(plugin = %plugin.name, line, held_back, "{text}");
        } else {
            tracing::info!(plugin = %plugin.name, line, held_back, "{text}");
        }
    })
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.plugin.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_fails_in_a_row_is_put_aside_and_tried_again() {
        let breaker = Breaker { failures: 3, retry: Duration::from_secs(10) };
        let mut fuse = Fuse { breaker, failures: 0, until: None };
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for failed in [true, true, false, true, true] {
            assert!(!fuse.is_out(at(0)) && !fuse.note(failed, at(0)));
        }
        assert!(fuse.note(true, at(1)), "the third in a row");
        assert!(fuse.is_out(at(10)));
        assert!(!fuse.is_out(at(11)), "one call tries it");
        assert!(fuse.is_out(at(12)), "and no other one");
        assert!(!fuse.note(true, at(12)), "it is told once");
        assert!(fuse.is_out(at(21)) && !fuse.is_out(at(22)));
        fuse.note(false, at(23));
        assert!(!fuse.is_out(at(23)));
    }
}
