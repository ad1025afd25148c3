//! What plugins call of the program: `to`'s methods, `lookup`, `log`, `json`, `now`.
//!
//! Invariant: every function here either answers at once or says what is wrong, and holds on to nothing of the script's.
//! Invariant: a function that touches a value of Lua's runs without the memory limit: see [`Host::function`].

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mlua::{BString, FromLuaMulti, Function, IntoLuaMulti, LightUserData, Lua, MultiValue, Table, Value};

use super::builder::{Builder, METHODS, NUMBER_METHODS, TEXT_METHODS};
use super::guard::Guard;
use super::json::{self, Making, Writing};
use super::value::{describe, scalar};
use super::{LogLine, Lookup, ScriptLimits};
use crate::event::Scalar;
use crate::lookup::Binds;

/// Lines that one call of a hook may log.
const MOST_LINES: u32 = 100;
/// Bytes of one of them.
const LONGEST_LINE: usize = 4096;
/// Bytes that `json.encode` makes at most.
const LARGEST_JSON: usize = 1 << 20;
/// Binds of one `lookup`, and bytes of each.
const MOST_BINDS: usize = 64;
const LONGEST_BIND: usize = 64 << 10;
/// Bytes of the name of a query, a bind or an attribute.
pub(super) const LONGEST_NAME: usize = 255;

/// What the functions of one machine work on.
pub(super) struct Host {
    pub(super) guard: Guard,
    log: Box<dyn Fn(LogLine)>,
    /// The call of a hook that runs at the moment.
    pub(super) call: RefCell<Option<Box<Call>>>,
    /// The last error of a plugin's top level that was no text: it is no call of a hook.
    pub(super) raised: RefCell<Option<Raised>>,
    /// The `to` of the last call that had one.
    to: Cell<usize>,
    /// The metatable of what was an array.
    arrays: Cell<*const c_void>,
}

/// One call of a hook.
pub(super) struct Call {
    /// The `to` of this very call, where it has one.
    to: Option<LightUserData>,
    pub(super) builder: Builder,
    /// What it waits for.
    pub(super) asked: Option<Lookup>,
    /// Why a query had no answer.
    pub(super) unanswered: Option<String>,
    /// The last error that was no text, as it was raised.
    pub(super) raised: Option<Raised>,
    lines: u32,
}

/// An error that is no text.
pub(super) struct Raised {
    pub(super) line: Option<usize>,
    pub(super) shown: String,
}

impl Call {
    pub(super) fn new(to: Option<LightUserData>) -> Box<Self> {
        Box::new(Self { to, builder: Builder::default(), asked: None, unanswered: None, raised: None, lines: 0 })
    }
}

impl Host {
    pub(super) fn new(limits: ScriptLimits, log: Box<dyn Fn(LogLine)>) -> Rc<Self> {
        let (call, raised) = (RefCell::new(None), RefCell::new(None));
        Rc::new(Self { guard: Guard::new(limits), log, call, raised, to: Cell::new(0), arrays: Cell::new(ptr::null()) })
    }

    /// The `to` of a new call: no other call of this machine has had it. A script cannot make one.
    pub(super) fn next_to(&self) -> LightUserData {
        self.to.set(self.to.get() + 1);
        LightUserData(ptr::without_provenance_mut(self.to.get()))
    }

    /// Puts the functions into a machine: those of the prelude, the methods of `to`, and the mark of arrays.
    pub(super) fn functions(self: &Rc<Self>, lua: &Lua) -> mlua::Result<Functions> {
        let arrays = lua.create_table()?;
        arrays.set("__metatable", false)?;
        arrays.set_readonly(true);
        self.arrays.set(arrays.to_pointer());
        let (prelude, methods) = (self.prelude(lua, &arrays)?, self.methods(lua)?);
        prelude.set("methods", &methods)?;
        prelude.set("text_methods", self.text_methods(lua)?)?;
        prelude.set("number_methods", self.number_methods(lua)?)?;
        let to = lua.create_table()?;
        // The prelude freezes them.
        to.set("__index", methods)?;
        to.set("__metatable", false)?;
        to.set_readonly(true);
        // There are no others of this kind.
        lua.set_type_metatable::<LightUserData>(Some(to));
        Ok(Functions { prelude, arrays })
    }

    /// A function for scripts, that runs without the memory limit.
    fn function<A: FromLuaMulti, R: IntoLuaMulti>(
        self: &Rc<Self>,
        lua: &Lua,
        run: impl Fn(&Self, &Lua, A) -> mlua::Result<R> + 'static,
    ) -> mlua::Result<Function> {
        let host = Rc::clone(self);
        lua.create_function(move |lua, arguments: A| host.guard.host(lua, || run(&host, lua, arguments)))
    }

    /// The methods of `to`, whatever they are called with.
    fn methods(self: &Rc<Self>, lua: &Lua) -> mlua::Result<Table> {
        let methods = lua.create_table()?;
        for (name, method) in METHODS {
            let function = move |host: &Self, lua: &Lua, (to, value, more): (Value, Value, Value)| {
                host.build(name, &to, |builder| {
                    if more.is_nil() {
                        method(builder, &value, host.writing(lua, usize::MAX))
                    } else {
                        Err("it takes one value at most".to_owned())
                    }
                })?;
                Ok(to)
            };
            methods.set(name, self.function(lua, function)?)?;
        }
        Ok(methods)
    }

    /// The methods that the prelude calls with a text. They touch no Lua value, so the memory limit may stay.
    fn text_methods(self: &Rc<Self>, lua: &Lua) -> mlua::Result<Table> {
        let methods = lua.create_table()?;
        for (name, method) in TEXT_METHODS {
            let host = Rc::clone(self);
            // A copy of the bytes costs less than a reference to Lua's own.
            let function = move |_: &Lua, (to, text): (Value, BString)| host.build(name, &to, |to| method(to, &text));
            methods.set(name, lua.create_function(function)?)?;
        }
        Ok(methods)
    }

    /// The methods that the prelude calls with a number. They touch no Lua value either.
    fn number_methods(self: &Rc<Self>, lua: &Lua) -> mlua::Result<Table> {
        let methods = lua.create_table()?;
        for (name, method) in NUMBER_METHODS {
            let host = Rc::clone(self);
            let function = move |_: &Lua, (to, number): (Value, f64)| host.build(name, &to, |to| method(to, number));
            methods.set(name, lua.create_function(function)?)?;
        }
        Ok(methods)
    }

    fn prelude(self: &Rc<Self>, lua: &Lua, arrays: &Table) -> mlua::Result<Table> {
        let functions = lua.create_table()?;
        for (name, is_warning) in [("info", false), ("warn", true)] {
            let log = move |host: &Self, lua: &Lua, values: MultiValue| {
                host.write_line(lua, is_warning, &values);
                Ok(())
            };
            functions.set(name, self.function(lua, log)?)?;
        }
        let ask = |host: &Self, _: &Lua, (query, binds): (Value, Value)| Ok(host.ask(&query, &binds).err());
        functions.set("ask", self.function(lua, ask)?)?;
        let raised = |host: &Self, lua: &Lua, value: Value| {
            host.note_raised(lua, &value);
            Ok(())
        };
        functions.set("raised", self.function(lua, raised)?)?;
        let encode = |host: &Self, lua: &Lua, value: Value| {
            let text = json::write(&value, host.writing(lua, LARGEST_JSON));
            text.map_err(|fault| mlua::Error::runtime(format!("json.encode: {fault}")))
        };
        functions.set("encode", self.function(lua, encode)?)?;
        let marks = arrays.clone();
        let decode = move |host: &Self, lua: &Lua, text: Value| {
            let text = text.as_string().and_then(|text| text.to_str().ok());
            let text = text.ok_or_else(|| mlua::Error::runtime("json.decode takes a text of UTF-8"))?;
            json::check_and_read(lua, &text, Making { arrays: &marks, frozen: false, guard: &host.guard })
        };
        functions.set("decode", self.function(lua, decode)?)?;
        let marks = arrays.clone();
        let array = move |_: &Self, _: &Lua, list: Option<Table>| match list {
            Some(list) => list.set_metatable(Some(marks.clone())).map(|()| list),
            None => Err(mlua::Error::runtime("json.array takes a list")),
        };
        functions.set("array", self.function(lua, array)?)?;
        functions.set("now", lua.create_function(|_, ()| Ok(now().as_secs_f64()))?)?;
        Ok(functions)
    }

    fn build(&self, name: &str, to: &Value, say: impl FnOnce(&mut Builder) -> Result<(), String>) -> mlua::Result<()> {
        let mut call = self.call.borrow_mut();
        let said = match (to, call.as_mut()) {
            (Value::LightUserData(to), Some(call)) if Some(*to) == call.to => say(&mut call.builder),
            _ => Err("it is called with a colon, on the `to` that the present call of the hook was handed".to_owned()),
        };
        said.map_err(|fault| mlua::Error::runtime(format!("to:{name}: {fault}")))
    }

    /// Notes what `lookup` shall be answered.
    fn ask(&self, query: &Value, binds: &Value) -> Result<(), String> {
        let mut call = self.call.borrow_mut();
        let call = call.as_mut().ok_or("lookup: a plugin can ask within a hook, and not while it is loaded")?;
        let Ok(Scalar::Text(query)) = scalar(query) else {
            return Err(format!("lookup: it takes the name of a query, and this is {}", describe(query)));
        };
        if query.len() > LONGEST_NAME {
            return Err(format!("lookup: no query has a name of {} bytes", query.len()));
        }
        call.asked = Some(Lookup { query, binds: read_binds(binds).map_err(|fault| format!("lookup: {fault}"))? });
        Ok(())
    }

    fn note_raised(&self, lua: &Lua, value: &Value) {
        let shown = json::write(value, self.writing(lua, 1024)).unwrap_or_else(|_| describe(value));
        // This function, the prelude's, and the one that has raised it.
        let raised = Some(Raised { line: line(lua, 2), shown });
        match self.call.borrow_mut().as_mut() {
            Some(call) => call.raised = raised,
            None => *self.raised.borrow_mut() = raised,
        }
    }

    fn write_line(&self, lua: &Lua, is_warning: bool, values: &MultiValue) {
        let lines = self.call.borrow_mut().as_mut().map_or(0, |call| {
            call.lines += 1;
            call.lines
        });
        let text = match lines {
            0..=MOST_LINES => on_one_line(self.shown(lua, values)),
            _ if lines == MOST_LINES + 1 => format!("this call has logged {MOST_LINES} lines: the others are left out"),
            _ => return,
        };
        (self.log)(LogLine { is_warning: is_warning || lines > MOST_LINES, line: line(lua, 1), text });
    }

    fn shown(&self, lua: &Lua, values: &MultiValue) -> String {
        let mut text = String::new();
        for value in values {
            if !text.is_empty() {
                text.push(' ');
            }
            match value {
                Value::String(value) => {
                    let bytes = value.as_bytes();
                    text.push_str(&String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_LINE)]));
                }
                Value::Integer(value) => text.push_str(&value.to_string()),
                Value::Number(value) => text.push_str(&value.to_string()),
                Value::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
                Value::Nil => text.push_str("nil"),
                Value::Error(error) => text.push_str(error.to_string().lines().next().unwrap_or_default()),
                table @ Value::Table(_) => {
                    let writing = self.writing(lua, LONGEST_LINE);
                    text.push_str(&json::write(table, writing).unwrap_or_else(|_| describe(table)));
                }
                other => text.push_str(&describe(other)),
            }
            if text.len() > LONGEST_LINE {
                text.truncate(text.floor_char_boundary(LONGEST_LINE));
                break;
            }
        }
        text
    }

    fn writing<'w>(&'w self, lua: &'w Lua, most: usize) -> Writing<'w> {
        Writing { lua, arrays: self.arrays.get(), most, guard: &self.guard }
    }
}

/// What a machine is furnished with.
pub(super) struct Functions {
    /// For the prelude, by name.
    pub(super) prelude: Table,
    /// The metatable of what was an array.
    pub(super) arrays: Table,
}

fn read_binds(binds: &Value) -> Result<Binds, String> {
    let table = match binds {
        Value::Nil => return Ok(Binds::new()),
        Value::Table(table) => table,
        other => return Err(format!("binds are a table of values by name, and this is {}", describe(other))),
    };
    let mut read = Binds::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair.map_err(|error| error.to_string())?;
        let Ok(Scalar::Text(name)) = scalar(&name) else {
            return Err(format!("binds have names, and this is {}", describe(&name)));
        };
        if name.len() > LONGEST_NAME {
            return Err(format!("a bind's name is at most {LONGEST_NAME} bytes long, and this has {}", name.len()));
        }
        if name == "tenant" {
            return Err("`tenant` is always the event's or session's own, and is not bound here".to_owned());
        }
        if matches!(&value, Value::String(text) if text.as_bytes().len() > LONGEST_BIND) || read.len() == MOST_BINDS {
            return Err(format!("at most {MOST_BINDS} binds of {LONGEST_BIND} bytes each"));
        }
        let value = scalar(&value).map_err(|what| format!("`{name}` is bound to one value, and this is {what}"))?;
        read.push((name, value));
    }
    // Equal questions are one question, in whatever order a table has its members.
    read.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    Ok(read)
}

/// A text in which nothing is a command to a terminal, or begins a line of a log that nobody has written.
fn on_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() { escaped.extend(c.escape_debug()) } else { escaped.push(c) }
    }
    escaped
}

/// The line of the plugin where the function at this level is.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method alone is not general enough in its lifetimes"
)]
fn line(lua: &Lua, level: usize) -> Option<usize> {
    lua.inspect_stack(level, |frame| frame.current_line()).flatten()
}

/// Seconds since 1970, for plugins.
#[expect(clippy::disallowed_methods, reason = "a plugin that asks what time it is shall know")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// For names that a message may have meant.
pub(super) fn method_names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|(name, _)| *name)
}
