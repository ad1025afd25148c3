//! A machine with what plugins may use, and nothing else, that has run a plugin's top level.
//!
//! Invariant: from then on globals, libraries and what hooks are handed cannot be changed. What a plugin keeps, it keeps
//! in locals of its own.

use std::rc::Rc;
use std::sync::LazyLock;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Lua, LuaOptions, StdLib, Table, Value};

use super::guard::Used;
use super::host::Host;

/// What scripts find of Lua's libraries. The last one is taken away again.
const LIBRARIES: [StdLib; 6] =
    [StdLib::STRING, StdLib::TABLE, StdLib::MATH, StdLib::UTF8, StdLib::BIT, StdLib::COROUTINE];

/// What the prelude is called in messages.
pub(super) const PRELUDE: &str = "pointsman";

static COMPILED: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| compiler().compile(include_str!("prelude.lua")).ok());

/// A furnished machine.
pub(super) struct Sandbox {
    pub(super) lua: Lua,
    pub(super) host: Rc<Host>,
    /// The metatable of what was an array.
    pub(super) arrays: Table,
}

/// How everything is compiled. The level above loses the lines of callers.
pub(super) fn compiler() -> Compiler {
    Compiler::new().set_optimization_level(1).set_debug_level(1)
}

impl Sandbox {
    /// A new one, without a plugin.
    pub(super) fn new(host: Rc<Host>) -> mlua::Result<Self> {
        let libraries = LIBRARIES.into_iter().fold(StdLib::NONE, |all, library| all | library);
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        let functions = host.functions(&lua)?;
        let prelude = COMPILED.as_ref().ok_or_else(|| mlua::Error::runtime("the prelude does not compile"))?;
        lua.load(&prelude[..])
            .set_name(format!("={PRELUDE}"))
            .set_mode(ChunkMode::Binary)
            .into_function()?
            .call::<()>(functions.prelude)?;
        lua.sandbox(true)?;
        let guard = Rc::clone(&host);
        lua.set_interrupt(move |_| guard.guard.safepoint());
        Ok(Self { lua, host, arrays: functions.arrays })
    }

    /// Runs a plugin's top level within the limits, and answers what it returns.
    pub(super) fn run(&self, name: &str, bytecode: &[u8]) -> mlua::Result<Value> {
        let chunk = self.lua.load(bytecode).set_name(format!("@{name}")).set_mode(ChunkMode::Binary).into_function()?;
        #[expect(clippy::disallowed_methods, reason = "no plugin has run yet, so there is room for a reference")]
        let globals = self.lua.globals();
        let returned = self.host.guard.leg(&self.lua, Used::default(), || chunk.call::<Value>(()));
        globals.set_readonly(true);
        if self.host.guard.has_stopped() {
            return Err(mlua::Error::runtime(self.host.guard.complaint()));
        }
        returned
    }
}
