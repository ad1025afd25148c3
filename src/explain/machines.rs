//! Plugins, run for a rehearsal: machines of its own, and what they write to the log is kept.
//!
//! Invariant: a machine lives as long as one rehearsal. What a plugin keeps in its own locals carries nothing from one
//! rule test to the next.

use std::cell::RefCell;
use std::rc::Rc;

use compact_str::CompactString;

use crate::config::{QueryId, ScriptCall};
use crate::event::{Event, Scalar, TenantId, Topic};
use crate::reload::Rulebook;
use crate::route::script::{EventView, LogLine, LogSink, Plugin, Routing, ScriptError, Step, Vm};
use crate::route::{Answer, Held, Progress, Scripts, SessionView};

/// A line that a plugin wrote to the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) plugin: CompactString,
    pub(crate) line: LogLine,
}

/// The machines of one rehearsal, each made when it is first called.
pub(crate) struct Machines<'r> {
    rulebook: &'r Rulebook,
    by_plugin: Vec<Option<Vm>>,
    log: Rc<RefCell<Vec<Logged>>>,
    sink: LogSink,
}

impl<'r> Machines<'r> {
    pub(crate) fn new(rulebook: &'r Rulebook) -> Self {
        let log = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&log);
        let sink: LogSink = Rc::new(move |plugin: &Plugin, line| {
            into.borrow_mut().push(Logged { plugin: plugin.name.clone(), line });
        });
        Self { rulebook, by_plugin: Vec::new(), log, sink }
    }

    /// What was written to the log, in order. Taken once.
    pub(crate) fn take_log(&mut self) -> Vec<Logged> {
        self.log.take()
    }

    /// Calls an `authenticate` hook.
    pub(crate) fn authenticate(
        &mut self,
        call: ScriptCall,
        token: &str,
        remote: &str,
    ) -> Step<Option<Vec<(CompactString, Scalar)>>> {
        match self.machine(call) {
            Ok(machine) => machine.authenticate(call.site, token, remote),
            Err(error) => Step::Done(Err(error)),
        }
    }

    fn machine(&mut self, call: ScriptCall) -> Result<&Vm, ScriptError> {
        let index = usize::from(call.plugin.0);
        if self.by_plugin.len() <= index {
            self.by_plugin.resize_with(index + 1, || None);
        }
        // One that has no memory left is made anew, as in a lane.
        let kept = self.by_plugin[index].take().filter(|machine| !machine.is_spent());
        let machine = match kept {
            Some(machine) => machine,
            None => Vm::new(&self.rulebook.plugins[index], &self.sink)?,
        };
        Ok(self.by_plugin[index].insert(machine))
    }
}

impl Scripts for Machines<'_> {
    fn query(&self, name: &str) -> Option<QueryId> {
        self.rulebook.queries.by_name(name)
    }

    fn route(&mut self, call: ScriptCall, event: &Event, view: &EventView) -> Progress<Routing> {
        match self.machine(call) {
            Ok(machine) => machine.route(call.site, event, view).into(),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    fn resume_route(&mut self, _: ScriptCall, _: &Event, held: Held<Routing>, answer: Answer) -> Progress<Routing> {
        held.resume(answer)
    }

    fn authorize(&mut self, call: ScriptCall, session: &SessionView<'_>, topic: &Topic) -> Progress<bool> {
        match self.machine(call) {
            Ok(machine) => machine.authorize(call.site, session, topic).into(),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    fn resume_authorize(&mut self, _: ScriptCall, _: &TenantId, held: Held<bool>, answer: Answer) -> Progress<bool> {
        held.resume(answer)
    }
}
