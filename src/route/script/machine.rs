//! One plugin's machine: its hooks, called within the limits.
//!
//! A plugin that never says `lookup` is called; one that does is run as a coroutine, which the prelude's `lookup` yields
//! from. Scripts have no other way to yield.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use compact_str::CompactString;
use mlua::thread::ThreadStatus;
use mlua::{Function, IntoLua as _, Lua, Table, Thread, Value};

use super::compile::HOOKS;
use super::fault::{failure, plain};
use super::guard::Used;
use super::host::{Call, Host, LONGEST_NAME};
use super::json::{self, Making};
use super::sandbox::Sandbox;
use super::value::{describe, piece, scalar};
use super::view::Outline;
use super::{Asks, EventView, LogSink, Plugin, Routing, ScriptError, ScriptFailure, Step, Suspended};
use crate::config::Hook;
use crate::event::{Event, Scalar, Topic};
use crate::lookup::{LookupError, Rows};
use crate::route::{Answer, SessionView};

/// Rows of one `lookup`.
const MOST_ROWS: usize = 10_000;
/// What `authenticate` says of a user.
const MOST_ATTRIBUTES: usize = 100;
/// Bytes of each: every session of the user holds them.
const LONGEST_ATTRIBUTE: usize = 64 << 10;

/// A machine that has run its plugin's top level.
pub(super) struct Machine {
    plugin: Arc<Plugin>,
    sandbox: Sandbox,
    hooks: [Option<Function>; HOOKS.len()],
    /// What `with` says, by site.
    params: Box<[Value]>,
    outline: Option<Outline>,
    is_spent: Cell<bool>,
}

/// What comes of a hook that has ended.
pub(super) type Finish<T> = fn(Box<Call>, Value) -> Result<T, String>;

/// A call that waits for rows.
pub(super) struct Waiting<T> {
    machine: Rc<Machine>,
    hook: Hook,
    thread: Thread,
    call: Box<Call>,
    used: Used,
    finish: Finish<T>,
}

impl Machine {
    pub(super) fn new(plugin: &Arc<Plugin>, log: &LogSink) -> Result<Self, ScriptError> {
        let (sink, of) = (Rc::clone(log), Arc::clone(plugin));
        let host = Host::new(plugin.limits, Box::new(move |line| sink(&of, line)));
        let stopped = || host.guard.has_stopped().then(|| host.guard.complaint());
        Self::load(plugin, &host).map_err(|error| failure(&plugin.name, &error, None, stopped()))
    }

    fn load(plugin: &Arc<Plugin>, host: &Rc<Host>) -> mlua::Result<Self> {
        let sandbox = Sandbox::new(Rc::clone(host))?;
        // Before the plugin can have changed what its function is made of.
        let outline = plugin.fields.as_deref().map(|fields| Outline::new(&sandbox.lua, fields)).transpose()?;
        let returned = sandbox.run(&plugin.name, &plugin.bytecode)?;
        let Value::Table(table) = returned else {
            return Err(mlua::Error::runtime("the plugin returned no table of hooks this time"));
        };
        let mut hooks = [const { None }; HOOKS.len()];
        for (slot, hook) in hooks.iter_mut().zip(HOOKS) {
            *slot = table.raw_get(hook.name())?;
        }
        let making = making(&sandbox);
        let params =
            plugin.sites.iter().map(|(_, with)| json::read(&sandbox.lua, with, making)?.into_lua(&sandbox.lua));
        let params = params.collect::<mlua::Result<_>>()?;
        Ok(Self { plugin: Arc::clone(plugin), sandbox, hooks, params, outline, is_spent: Cell::new(false) })
    }

    pub(super) fn route(self: &Rc<Self>, site: usize, event: &Event, view: &EventView) -> Step<Routing> {
        let arguments = || {
            let event = Outline::fill(self.outline.as_ref(), self.lua(), event, view, making(&self.sandbox))?;
            let to = self.sandbox.host.next_to();
            Ok((Call::new(Some(to)), Value::Table(event), Value::LightUserData(to)))
        };
        self.begin(Hook::Route, site, arguments, |call, _| {
            call.builder.finish().map_err(|fault| format!("`route`: {fault}"))
        })
    }

    pub(super) fn authorize(self: &Rc<Self>, site: usize, session: &SessionView<'_>, topic: &Topic) -> Step<bool> {
        let arguments = || {
            let table = self.lua().create_table()?;
            for (name, value) in session.attributes.iter() {
                table.raw_set(name, piece(self.lua(), value)?)?;
            }
            table.raw_set("user", session.user.as_str())?;
            table.raw_set("tenant", session.tenant.as_str())?;
            table.set_readonly(true);
            let topic = self.lua().create_string(topic.as_str())?;
            Ok((Call::new(None), Value::Table(table), Value::String(topic)))
        };
        self.begin(Hook::Authorize, site, arguments, |_, answer| match answer {
            Value::Boolean(is_allowed) => Ok(is_allowed),
            Value::Nil => Ok(false),
            other => Err(format!("`authorize` answers true or false, and this is {}", describe(&other))),
        })
    }

    pub(super) fn authenticate(
        self: &Rc<Self>,
        site: usize,
        token: &str,
        remote: &str,
    ) -> Step<Option<Vec<(CompactString, Scalar)>>> {
        let arguments = || {
            let request = self.lua().create_table()?;
            request.raw_set("remote_addr", remote)?;
            request.set_readonly(true);
            let token = self.lua().create_string(token)?;
            Ok((Call::new(None), Value::String(token), Value::Table(request)))
        };
        self.begin(Hook::Authenticate, site, arguments, |_, answer| match answer {
            Value::Nil | Value::Boolean(false) => Ok(None),
            Value::Table(identity) => {
                identity_of(&identity).map(Some).map_err(|fault| format!("`authenticate`: {fault}"))
            }
            other => Err(format!("`authenticate` answers a table or nil, and this is {}", describe(&other))),
        })
    }

    pub(super) fn is_spent(&self) -> bool {
        self.is_spent.get()
    }

    pub(super) fn used_memory(&self) -> usize {
        self.lua().used_memory()
    }

    fn lua(&self) -> &Lua {
        &self.sandbox.lua
    }

    fn begin<T>(
        self: &Rc<Self>,
        hook: Hook,
        site: usize,
        arguments: impl FnOnce() -> mlua::Result<(Box<Call>, Value, Value)>,
        finish: Finish<T>,
    ) -> Step<T> {
        let host = &self.sandbox.host;
        let (Some(function), Some(params)) = (&self.hooks[hook as usize], self.params.get(site)) else {
            let text = format!("the plugin has no `{}`", hook.name());
            return Step::Done(Err(plain(&self.plugin.name, ScriptFailure::Error, None, &text)));
        };
        let (call, first, second) = match arguments() {
            Ok(arguments) => arguments,
            Err(error) => return Step::Done(Err(self.failed(&error, None))),
        };
        if self.plugin.asks == Asks::Nothing {
            host.call.replace(Some(call));
            let returned =
                host.guard.leg(self.lua(), Used::default(), || function.call::<Value>((first, second, params)));
            return Step::Done(self.end(returned, finish));
        }
        match self.lua().create_thread(function.clone()) {
            Ok(thread) => {
                let waiting = Waiting { machine: Rc::clone(self), hook, thread, call, used: Used::default(), finish };
                waiting.go_on((first, second, params.clone()))
            }
            Err(error) => Step::Done(Err(self.failed(&error, None))),
        }
    }

    /// What comes of a call that has ended so.
    fn end<T>(&self, returned: mlua::Result<Value>, finish: Finish<T>) -> Result<T, ScriptError> {
        let host = &self.sandbox.host;
        let call = host.call.take();
        let has_stopped = host.guard.has_stopped();
        let result = match (returned, call) {
            (Ok(value), Some(call)) if !has_stopped => {
                finish(call, value).map_err(|fault| plain(&self.plugin.name, ScriptFailure::Error, None, &fault))
            }
            (Ok(_), _) => {
                let text = host.guard.complaint();
                Err(plain(&self.plugin.name, ScriptFailure::Budget, None, &text))
            }
            (Err(error), call) => Err(self.failed(&error, call.as_deref())),
        };
        self.look_at_memory();
        result
    }

    fn failed(&self, error: &mlua::Error, call: Option<&Call>) -> ScriptError {
        let guard = &self.sandbox.host.guard;
        let stopped = (call.is_some() && guard.has_stopped()).then(|| guard.complaint());
        let failure = failure(&self.plugin.name, error, call, stopped);
        // What has filled the memory may be kept for good.
        self.is_spent.set(self.is_spent.get() || failure.kind == ScriptFailure::Memory);
        failure
    }

    /// Whether what the plugin keeps leaves it room to work in. What it does not keep goes first.
    fn look_at_memory(&self) {
        let limit = self.sandbox.host.guard.memory();
        if self.used_memory() > limit / 8 * 7 && (self.lua().gc_collect().is_err() || self.used_memory() > limit / 2) {
            self.is_spent.set(true);
        }
    }
}

impl<T> Waiting<T> {
    /// Goes on with the answer to what it asked.
    pub(super) fn answer(self, answer: Answer) -> Step<T> {
        let machine = Rc::clone(&self.machine);
        match rows(&machine.sandbox, answer, self.hook) {
            Ok((rows, reason)) => {
                let reason = reason.map(|reason| {
                    let query = self.call.asked.as_ref().map_or("", |asked| asked.query.as_str());
                    format!("lookup: `{query}`: {reason}")
                });
                let lua_reason = match reason.as_ref().map(|reason| machine.lua().create_string(reason)).transpose() {
                    Ok(text) => text.map_or(Value::Nil, Value::String),
                    Err(error) => return Step::Done(Err(machine.failed(&error, None))),
                };
                let mut waiting = self;
                waiting.call.unanswered = reason.or(waiting.call.unanswered);
                waiting.go_on((rows, lua_reason, Value::Nil))
            }
            Err(error) => Step::Done(Err(machine.failed(&error, None))),
        }
    }

    fn go_on(mut self, arguments: (Value, Value, Value)) -> Step<T> {
        let machine = Rc::clone(&self.machine);
        let host = &machine.sandbox.host;
        self.call.asked = None;
        host.call.replace(Some(self.call));
        let returned = host.guard.leg(machine.lua(), self.used, || self.thread.resume::<Value>(arguments));
        let is_waiting =
            returned.is_ok() && !host.guard.has_stopped() && self.thread.status() == ThreadStatus::Resumable;
        if !is_waiting {
            return Step::Done(machine.end(returned, self.finish));
        }
        let call = host.call.take().and_then(|call| Some((call.asked.clone()?, call)));
        match call {
            Some((lookup, call)) => {
                let used = host.guard.used();
                Step::Asks(lookup, Suspended(Waiting { machine: Rc::clone(&machine), call, used, ..self }))
            }
            // Only `lookup` yields, and it asks before.
            None => Step::Done(Err(plain(&machine.plugin.name, ScriptFailure::Error, None, "it waits for nothing"))),
        }
    }
}

fn making(sandbox: &Sandbox) -> Making<'_> {
    Making { arrays: &sandbox.arrays, frozen: true, guard: &sandbox.host.guard }
}

/// The rows for a script, or why there are none.
fn rows(sandbox: &Sandbox, answer: Answer, hook: Hook) -> mlua::Result<(Value, Option<String>)> {
    let rows = match answer {
        Ok(rows) => rows,
        // A client has named what cannot be: there is no row for it, and that is no fault of the plugin.
        Err(LookupError::Unfit(_)) if hook != Hook::Route => Arc::default(),
        Err(error) => return Ok((Value::Nil, Some(error.to_string()))),
    };
    if rows.rows.len() > MOST_ROWS {
        return Ok((Value::Nil, Some(format!("{} rows are too many: at most {MOST_ROWS}", rows.rows.len()))));
    }
    table_of(sandbox, &rows).map(|table| (Value::Table(table), None))
}

fn table_of(sandbox: &Sandbox, rows: &Rows) -> mlua::Result<Table> {
    let lua = &sandbox.lua;
    let columns: Vec<_> = rows.columns.iter().map(|column| lua.create_string(column)).collect::<Result<_, _>>()?;
    let table = lua.create_table_with_capacity(rows.rows.len(), 0)?;
    for row in &rows.rows {
        let line = lua.create_table_with_capacity(0, columns.len())?;
        for (column, value) in columns.iter().zip(row) {
            line.raw_set(column, piece(lua, value.as_value())?)?;
        }
        line.set_readonly(true);
        table.raw_push(line)?;
        sandbox.host.guard.look_at_memory(lua)?;
    }
    table.set_metatable(Some(sandbox.arrays.clone()))?;
    table.set_readonly(true);
    Ok(table)
}

/// Whom `authenticate` names: scalars by name.
fn identity_of(identity: &Table) -> Result<Vec<(CompactString, Scalar)>, String> {
    let mut all = Vec::new();
    for pair in identity.pairs::<Value, Value>() {
        let (name, value) = pair.map_err(|error| error.to_string())?;
        let Ok(Scalar::Text(name)) = scalar(&name) else {
            return Err(format!("what is known of a user has a name, and this is {}", describe(&name)));
        };
        let value = scalar(&value)
            .map_err(|what| format!("`{name}` is a text, a number, true or false, and this is {what}"))?;
        if matches!(&value, Scalar::Text(text) if text.len() > LONGEST_ATTRIBUTE) || name.len() > LONGEST_NAME {
            return Err(format!("what is known of a user has {LONGEST_ATTRIBUTE} bytes each at most"));
        }
        if all.len() == MOST_ATTRIBUTES {
            return Err(format!("at most {MOST_ATTRIBUTES} things are known of a user"));
        }
        all.push((name, value));
    }
    all.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    Ok(all)
}
