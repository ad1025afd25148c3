//! Tokens that a plugin knows.
//!
//! The plugin has a thread of its own: what it takes of time is taken from other tokens of its own alone. Queries that it
//! asks are run elsewhere, and other calls go on meanwhile.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use super::authenticator::Answer;
use super::named;
use crate::config::{self, Hook};
use crate::event::Scalar;
use crate::lookup::LookupError;
use crate::observe::{Metrics, ScriptMeter, Throttle};
use crate::reload::Queries;
use crate::route;
use crate::route::script::{
    Asks, Breakers, Change, Ending, LogLine, LogSink, Lookup, Plugin, ScriptError, ScriptFailure, Step, Vm,
};

/// Calls that may wait for the thread. More wait before it.
const WAITING: usize = 64;
/// How often it is logged what a plugin may do at any rate.
const LOG_PERIOD: Duration = Duration::from_secs(1);
/// How many of its lines are logged in that time.
const LINES: u64 = 50;

/// How often it is logged what tokens of clients can do to a plugin: put it aside for an address, use up its memory.
const FAULT_PERIOD: Duration = Duration::from_secs(10);
/// How many lines of each kind are logged in that time.
const FAULT_LINES: u64 = 10;

/// A plugin's `authenticate` hook.
pub(super) struct Script {
    plugin: Arc<Plugin>,
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
    /// Bytes that were counted for it.
    weighed: Cell<usize>,
    log: LogSink,
    /// By where clients come from: see [`place`].
    breakers: RefCell<Breakers<IpAddr>>,
    meter: ScriptMeter,
    suspensions: Throttle,
    resumptions: Throttle,
    replacements: Throttle,
}

impl Script {
    /// Starts the plugin's thread. Must be called within the runtime that shall run its queries.
    pub(super) fn new(
        plugin: &Arc<Plugin>,
        site: usize,
        queries: &Arc<Queries>,
        breaker: config::Breaker,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        // Full, it makes those wait who have a place before it.
        let (calls, called) = mpsc::channel(WAITING);
        let control = Handle::current();
        let runtime = Builder::new_current_thread().enable_time().build().map_err(|error| error.to_string())?;
        let (own, queries, meter) = (Arc::clone(plugin), Arc::clone(queries), metrics.script(&plugin.name));
        let thread = std::thread::Builder::new().name("auth-script".to_owned()).spawn(move || {
            let host = Host {
                plugin: own,
                site,
                queries,
                control,
                machine: RefCell::default(),
                weighed: Cell::new(0),
                log: log(),
                breakers: RefCell::new(Breakers::new(breaker)),
                meter,
                suspensions: Throttle::of(FAULT_LINES, FAULT_PERIOD),
                resumptions: Throttle::of(FAULT_LINES, FAULT_PERIOD),
                replacements: Throttle::of(FAULT_LINES, FAULT_PERIOD),
            };
            LocalSet::new().block_on(&runtime, serve(Rc::new(host), called));
        });
        thread.map_err(|error| error.to_string())?;
        Ok(Self { plugin: Arc::clone(plugin), calls })
    }

    /// Whether it may have asked the query of this name.
    pub(super) fn asks(&self, query: &str) -> bool {
        match self.plugin.asks() {
            Asks::Nothing => false,
            Asks::Named(names) => names.iter().any(|name| name == query),
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
    let mut under_way = JoinSet::new();
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
        self.meter.call(Hook::Authenticate);
        if !self.breakers.borrow_mut().admit(&place(remote), now()) {
            self.meter.failure(ScriptFailure::Breaker.name());
            let message = format!("{} is put aside for a while, as it failed again and again", self.plugin.name);
            return Err(ScriptError { kind: ScriptFailure::Breaker, line: None, message });
        }
        let said = self.run(token, remote).await;
        self.came(&said, remote);
        said
    }

    async fn run(&self, token: &SecretString, remote: IpAddr) -> Said {
        let machine = self.machine()?;
        let (token, remote) = (token.expose_secret(), remote.to_string());
        let (mut step, _) = self.meter.timed(|| machine.authenticate(self.site, token, &remote));
        loop {
            match step {
                Step::Done(said) => return said,
                Step::Asks(lookup, suspended) => {
                    let answer = self.look_up(lookup).await;
                    (step, _) = self.meter.timed(|| suspended.resume(answer));
                }
            }
        }
    }

    /// This came of a call: counts it, and puts aside what is to be put aside.
    fn came(&self, said: &Said, remote: IpAddr) {
        let ending = match said {
            Ok(_) => Ending::Well,
            Err(ScriptError { kind: ScriptFailure::Lookup, .. }) => Ending::Neither,
            Err(_) => Ending::Badly,
        };
        if let Err(error) = said {
            self.meter.failure(error.kind.name());
        }
        let (plugin, hook) = (self.plugin.name.as_str(), Hook::Authenticate.name());
        let change = self.breakers.borrow_mut().ended(&place(remote), ending, now());
        match change {
            None => {}
            Some(Change::Opened) => {
                self.meter.put_aside(Hook::Authenticate, 1);
                if let Some(held_back) = self.suspensions.admit() {
                    let why = said.as_ref().err().map(ToString::to_string);
                    tracing::warn!(plugin, hook, %remote, why, held_back, "plugin put aside: it failed again and again");
                }
            }
            Some(Change::Closed) => {
                self.meter.put_aside(Hook::Authenticate, -1);
                if let Some(held_back) = self.resumptions.admit() {
                    tracing::info!(plugin, hook, %remote, held_back, "plugin in use again");
                }
            }
        }
        let spent = self.machine.borrow().as_ref().is_some_and(|machine| machine.is_spent());
        if spent {
            if let Some(held_back) = self.replacements.admit() {
                tracing::warn!(plugin, held_back, "a plugin has used up its memory: its VM is replaced");
            }
            self.machine.take();
        }
        let holds = self.machine.borrow().as_ref().map_or(0, |machine| machine.used_memory());
        self.meter.memory(self.weighed.replace(holds), holds);
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
    async fn look_up(&self, Lookup { query, binds }: Lookup) -> route::Answer {
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

impl Drop for Host {
    fn drop(&mut self) {
        self.meter.memory(self.weighed.get(), 0);
        let aside = i64::try_from(self.breakers.borrow().open()).unwrap_or_default();
        self.meter.put_aside(Hook::Authenticate, -aside);
    }
}

/// What stands for all addresses that one client may have.
fn place(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => remote,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
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
