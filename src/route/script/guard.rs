//! What a call may take of CPU time and memory, and what stops it.
//!
//! Luau calls the guard at its safepoints: calls and returns, turns of loops, steps of patterns. They are counted; now
//! and then a cheap clock is read, and only where that says that the budget may be used up, the CPU time of the thread:
//! a call is never stopped for having had to wait for a core. From the budget's end on every safepoint raises an error,
//! so that no `pcall` goes on.
//!
//! Invariant: what a call takes counts over all its legs; each may take twice the budget of CPU time at most, and what
//! the operation that is under way then still takes, which the memory limit bounds.

use std::cell::Cell;
use std::time::Duration;

use mlua::{Lua, VmState};
use rustix::time::{ClockId, clock_gettime};

use super::ScriptLimits;
use crate::runtime::let_pass;

/// At which safepoint of a leg a clock is read first: what does little shall cost little.
const FIRST: u32 = 4;
/// Between two looks at a clock lie so many safepoints at most...
const STRIDE: u32 = 16;
/// ...and just one where they have come this slowly.
const SLOW: Duration = Duration::from_micros(50);

/// What stops a call. One for a virtual machine.
#[derive(Debug)]
pub(super) struct Guard {
    limits: ScriptLimits,
    /// Safepoints of this leg.
    safepoints: Cell<u32>,
    /// At which of them a clock is read.
    next: Cell<u32>,
    /// When a clock was read the last time.
    looked: Cell<Duration>,
    /// When this leg began.
    began: Cell<Duration>,
    /// What the call took in earlier legs, and has taken of CPU time.
    used: Cell<Used>,
    /// CPU time of the thread when this call's began to be measured, where it is.
    measured_from: Cell<Option<Duration>>,
    stopped: Cell<bool>,
}

/// What a call has taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// By the clock on the wall, which is the most that it can have taken of CPU time.
    wall: Duration,
    /// CPU time since the wall clock's sum passed the budget.
    measured: Option<Duration>,
}

impl Guard {
    /// A guard that no call has begun under: it stops nothing yet.
    pub(super) fn new(limits: ScriptLimits) -> Self {
        Self {
            limits,
            safepoints: Cell::new(0),
            next: Cell::new(u32::MAX),
            looked: Cell::default(),
            began: Cell::default(),
            used: Cell::default(),
            measured_from: Cell::default(),
            stopped: Cell::new(false),
        }
    }

    /// Runs one leg of a call, that has taken `used` before, within the limits.
    pub(super) fn leg<R>(&self, lua: &Lua, used: Used, run: impl FnOnce() -> R) -> R {
        self.safepoints.set(0);
        self.next.set(FIRST);
        self.used.set(used);
        self.stopped.set(false);
        let began = clock(ClockId::Monotonic);
        self.began.set(began);
        self.looked.set(began);
        self.measured_from.set(used.measured.map(|measured| clock(ClockId::ThreadCPUTime).saturating_sub(measured)));
        // The limit is for scripts alone: see `host`.
        limit_memory(lua, self.limits.memory);
        let result = run();
        limit_memory(lua, 0);
        self.next.set(u32::MAX);
        result
    }

    /// Runs what a script calls of the program, without the memory limit. Fails if the VM holds more than it may by then.
    ///
    /// Under a limit mlua cannot always make room for a reference to a value, and panics in some of its functions if so.
    /// It is also many times slower there.
    pub(super) fn host<R>(&self, lua: &Lua, run: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
        limit_memory(lua, 0);
        let result = run();
        limit_memory(lua, self.limits.memory);
        result.and_then(|result| self.look_at_memory(lua).map(|()| result))
    }

    /// What the call has taken by the end of its last leg.
    pub(super) fn used(&self) -> Used {
        Used { wall: self.wall(clock(ClockId::Monotonic)), measured: self.measured() }
    }

    /// Whether the last leg was stopped.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Fails where the machine holds more than it may. Host code works without the machine's own limit.
    pub(super) fn look_at_memory(&self, lua: &Lua) -> mlua::Result<()> {
        if lua.used_memory() <= self.limits.memory {
            return Ok(());
        }
        Err(mlua::Error::MemoryError("not enough memory".to_owned()))
    }

    /// Bytes that the machine may hold.
    pub(super) fn memory(&self) -> usize {
        self.limits.memory
    }

    /// A safepoint. The error is raised in the script. Outside of a leg nothing is counted.
    pub(super) fn safepoint(&self) -> mlua::Result<VmState> {
        let count = self.safepoints.get().wrapping_add(1);
        self.safepoints.set(count);
        if count >= self.next.get() { self.look(count) } else { Ok(VmState::Continue) }
    }

    fn look(&self, count: u32) -> mlua::Result<VmState> {
        // Where it runs beside events, these go first.
        let_pass();
        let now = clock(ClockId::Monotonic);
        if self.stopped.get() || self.is_over(now) {
            self.stopped.set(true);
            return Err(mlua::Error::runtime(self.complaint()));
        }
        let is_slow = now.saturating_sub(self.looked.replace(now)) > SLOW;
        self.next.set(count.saturating_add(if is_slow { 1 } else { STRIDE }));
        Ok(VmState::Continue)
    }

    fn is_over(&self, now: Duration) -> bool {
        if self.measured_from.get().is_none() {
            if self.wall(now) <= self.limits.budget {
                return false;
            }
            self.measured_from.set(Some(clock(ClockId::ThreadCPUTime)));
        }
        self.measured().is_some_and(|measured| measured > self.limits.budget)
    }

    fn measured(&self) -> Option<Duration> {
        Some(clock(ClockId::ThreadCPUTime).saturating_sub(self.measured_from.get()?))
    }

    fn wall(&self, now: Duration) -> Duration {
        self.used.get().wall + now.saturating_sub(self.began.get())
    }

    /// What is said of a call that was stopped.
    pub(super) fn complaint(&self) -> String {
        format!("it took more CPU time than its budget, which is {:?}", self.limits.budget)
    }
}

fn limit_memory(lua: &Lua, bytes: usize) {
    // It fails in machines of other makers alone.
    lua.set_memory_limit(bytes).ok();
}

/// CPU time of the calling thread since some instant.
pub fn thread_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// What a clock says. Both clocks are always there.
fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
