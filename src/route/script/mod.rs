//! Plugins: the only home of Lua.
//!
//! A plugin is compiled once, on the control side ([`Plugin`], which threads share), and run by virtual machines that
//! never leave their thread ([`Vm`], one for a plugin in each thread that calls it).
//!
//! Invariant: a script is a guest. What it may take of time and memory, and whom and what it can reach, is limited from
//! outside; its failure is an error of one call.

mod asks;
mod breaker;
mod builder;
mod compile;
mod fault;
mod guard;
mod host;
mod json;
mod machine;
mod sandbox;
mod value;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use self::machine::{Machine, Waiting};
use super::{Answer, SessionView};
use crate::config::{Hook, PluginFile};
use crate::event::{Clause, Decoder, Event, Path, Scalar, Topic};
use crate::lookup::Binds;

pub use self::breaker::{Breakers, Change, Ending};
pub use self::guard::thread_time;
pub use self::view::EventView;

/// What one plugin may take in one thread.
#[derive(Clone, Copy, Debug)]
pub struct ScriptLimits {
    /// CPU time of one call.
    pub budget: Duration,
    /// Bytes of memory.
    pub memory: usize,
}

/// A plugin that compiled, and has the hooks that rules ask of it.
pub struct Plugin {
    /// What it is called.
    pub name: CompactString,
    fields: Option<Box<[Path]>>,
    asks: Asks,
    says_payload: bool,
    limits: ScriptLimits,
    bytecode: Box<[u8]>,
    /// Which hook is called, and what it is handed as parameters, as JSON.
    sites: Box<[(Hook, String)]>,
}

/// Which queries a plugin may ask, as far as its text tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// None: it never says `lookup`.
    Nothing,
    /// These: it says `lookup` with a literal name each time.
    Named(Box<[CompactString]>),
    /// Whichever.
    Any,
}

/// Why a plugin is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFault {
    /// The line of its file, counted from 1, where there is one to name.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right, where that can be said.
    pub help: Option<String>,
}

/// A line that a plugin writes to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `log.warn`, not `log.info`.
    pub is_warning: bool,
    /// The line of the plugin's file.
    pub line: Option<usize>,
    /// What it says.
    pub text: String,
}

/// Where what plugins log goes.
pub type LogSink = Rc<dyn Fn(&Plugin, LogLine)>;

/// One plugin's virtual machine.
pub struct Vm(Rc<Machine>);

/// How far a call came.
#[derive(Debug)]
#[must_use]
pub enum Step<T> {
    /// It has ended.
    Done(Result<T, ScriptError>),
    /// It waits for rows.
    Asks(Lookup, Suspended<T>),
}

/// What a plugin wants to know: a query by its name, which may be none of the configuration's.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// The query's name.
    pub query: CompactString,
    /// What is bound, beside `:tenant`, which scripts cannot bind.
    pub binds: Binds,
}

/// A call that waits for rows. It may be dropped: then it never ends.
pub struct Suspended<T>(Waiting<T>);

/// Why a call has no result. It costs this one event, topic or token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScriptError {
    /// What kind of failure it is.
    pub kind: ScriptFailure,
    /// The plugin's line, where it is known.
    pub line: Option<usize>,
    /// What happened, for people, with file and line.
    pub message: String,
}

/// Kinds of failures, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptFailure {
    /// The script raised an error, or answered what makes no sense.
    Error,
    /// It took more CPU time than its budget.
    Budget,
    /// It took more memory than it may.
    Memory,
    /// A query that it needs had no answer.
    Lookup,
    /// It is put aside, as it failed too often.
    Breaker,
}

impl ScriptFailure {
    /// What metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Budget => "budget",
            Self::Memory => "memory",
            Self::Lookup => "lookup",
            Self::Breaker => "breaker",
        }
    }
}

/// Whom a `route` hook names.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// The audience's parts: those of whom one must hold.
    pub clauses: Vec<Clause>,
    /// `to:drop(reason)` was called: nobody gets the event.
    pub dropped: Option<CompactString>,
}

impl Plugin {
    /// Compiles a plugin and runs its top level once, within `limits`. All that is wrong is said.
    pub fn compile(file: &PluginFile, limits: ScriptLimits) -> Result<Self, Vec<PluginFault>> {
        compile::compile(file, limits)
    }

    /// What its `route` hook reads of events: these become parts of `decoder`.
    pub fn view(&self, decoder: &mut Decoder) -> EventView {
        EventView::new(self.fields.as_deref(), decoder)
    }

    /// Whether it may give some another payload than the event's, as far as its text tells.
    pub fn says_payload(&self) -> bool {
        self.says_payload
    }

    /// Which queries it may ask.
    pub fn asks(&self) -> &Asks {
        &self.asks
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("asks", &self.asks).finish_non_exhaustive()
    }
}

impl Vm {
    /// A machine that has run the plugin's top level.
    pub fn new(plugin: &Arc<Plugin>, log: &LogSink) -> Result<Self, ScriptError> {
        Machine::new(plugin, log).map(|machine| Self(Rc::new(machine)))
    }

    /// Who gets the event, by a site of the `route` hook.
    pub fn route(&self, site: usize, event: &Event, view: &EventView) -> Step<Routing> {
        self.0.route(site, event, view)
    }

    /// Whether the session may subscribe to the topic, by a site of the `authorize` hook.
    pub fn authorize(&self, site: usize, session: &SessionView<'_>, topic: &Topic) -> Step<bool> {
        self.0.authorize(site, session, topic)
    }

    /// Whose token it is, by a site of the `authenticate` hook: names and values, `user` and `tenant` among them, or
    /// `None` where the plugin does not know it. `remote` is the client's address.
    pub fn authenticate(&self, site: usize, token: &str, remote: &str) -> Step<Option<Vec<(CompactString, Scalar)>>> {
        self.0.authenticate(site, token, remote)
    }

    /// Whether it must be replaced by a new one: it has no memory left to work with. Calls that wait end on it.
    pub fn is_spent(&self) -> bool {
        self.0.is_spent()
    }

    /// Bytes that it holds.
    pub fn used_memory(&self) -> usize {
        self.0.used_memory()
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("used_memory", &self.used_memory()).finish_non_exhaustive()
    }
}

impl<T> Suspended<T> {
    /// Goes on with the answer. What CPU time the call has taken before counts.
    pub fn resume(self, answer: Answer) -> Step<T> {
        self.0.answer(answer)
    }
}

impl<T> fmt::Debug for Suspended<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspended").finish_non_exhaustive()
    }
}
