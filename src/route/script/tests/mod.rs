//! Plugins as operators write them, and as nobody should: what comes of each.

mod api;
mod attacks;
mod compiling;
mod hostile;
mod sandbox;
mod suspending;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::event::{Envelope, Payload, Shape};

const LIMITS: ScriptLimits = ScriptLimits { budget: Duration::from_millis(10), memory: 8 << 20 };

/// One plugin, with a machine and what it logs. Every hook that its text names is called, with `{"level": 5}`.
struct Stand {
    vm: Vm,
    plugin: Arc<Plugin>,
    decoder: Decoder,
    view: EventView,
    sink: LogSink,
    logged: Rc<RefCell<Vec<LogLine>>>,
}

fn file(text: &str) -> PluginFile {
    let mut file = PluginFile::of_text("p.lua", text);
    for hook in compile::HOOKS {
        if text.contains(&format!("{} = ", hook.name())) {
            file.call(hook, serde_json::json!({ "level": 5 }));
        }
    }
    file
}

fn compiled(text: &str) -> Arc<Plugin> {
    Arc::new(Plugin::compile(&file(text), LIMITS).unwrap_or_else(|faults| panic!("{text}: {faults:?}")))
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

impl Stand {
    fn new(text: &str) -> Self {
        let plugin = compiled(text);
        let mut decoder =
            Decoder::new(Shape { payload: path("data"), tenant: Some(path("data.tenant")), id: None, kind: None });
        let view = plugin.view(&mut decoder);
        let logged = Rc::new(RefCell::new(Vec::new()));
        let lines = Rc::clone(&logged);
        let sink: LogSink = Rc::new(move |_, line| lines.borrow_mut().push(line));
        Self { vm: Vm::new(&plugin, &sink).unwrap(), plugin, decoder, view, sink, logged }
    }

    /// One whose `route` does this.
    fn routing(body: &str) -> Self {
        Self::new(&format!("return {{ route = function(event, to, params)\n{body}\nend }}"))
    }

    fn event(&self, body: &str) -> Event {
        let headers = || Box::from([("source".into(), Scalar::Text("crm".into()))]);
        let header = |name: &str| if name == "source" { Scalar::Text("crm".into()) } else { Scalar::Null };
        let envelope = Envelope { routing_key: Some("deal.moved"), header: &header, headers: &headers };
        #[expect(clippy::disallowed_methods, reason = "no time passes in these tests")]
        self.decoder.decode(Bytes::copy_from_slice(body.as_bytes()), envelope, Instant::now()).unwrap()
    }

    fn step(&self, body: &str) -> Step<Routing> {
        self.vm.route(0, &self.event(body), &self.view)
    }

    fn route(&self, body: &str) -> Result<Routing, ScriptError> {
        done(self.step(body))
    }

    /// What the plugin has logged, as texts.
    fn log(&self) -> Vec<String> {
        self.logged.borrow_mut().drain(..).map(|line| line.text).collect()
    }

    /// A new machine in place of one that is spent.
    fn replace(&mut self) {
        self.vm = Vm::new(&self.plugin, &self.sink).unwrap();
    }
}

fn done<T: fmt::Debug>(step: Step<T>) -> Result<T, ScriptError> {
    match step {
        Step::Done(result) => result,
        Step::Asks(lookup, _) => panic!("it asks {lookup:?}"),
    }
}

/// What a routing names, on one line: clauses by `|`, what is in each by blanks.
fn shown(routing: &Routing) -> String {
    if let Some(reason) = &routing.dropped {
        return format!("drop {reason}").trim_end().to_owned();
    }
    let clause = |clause: &Clause| {
        let mut parts = Vec::new();
        parts.extend(clause.topics.iter().flatten().map(|topic| format!("topic={topic}")));
        parts.extend(clause.users.iter().flatten().map(|user| format!("user={user}")));
        let attributes = clause.attributes.iter().flat_map(|all| all.iter());
        parts.extend(attributes.map(|condition| format!("{}~{:?}", condition.name, condition.matcher)));
        parts.extend(clause.except.iter().map(|user| format!("not={user}")));
        if let Payload::Own(payload) = &clause.payload {
            parts.push(format!("payload={}", String::from_utf8_lossy(payload)));
        }
        if parts.is_empty() { "tenant".to_owned() } else { parts.join(" ") }
    };
    routing.clauses.iter().map(clause).collect::<Vec<_>>().join(" | ")
}
