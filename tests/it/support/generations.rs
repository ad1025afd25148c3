//! Rules that stamp what they deliver, files that change by renames, and the book of what was delivered: who changes
//! rules while events flow sees by which of them each event was decided.
//!
//! Two files decide, the configuration and a plugin, and each has a number. Every event goes to two sets of sessions: by
//! a route of YAML, which leaves in the payload one field that tells the configuration's number, and by the plugin, whose
//! payload holds its own number and that of the configuration that called it. Whatever is half of one state of the files
//! and half of another shows.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Fields that tell the configuration's number, by what is left of it when it is divided by this.
const TELLTALES: u64 = 4;
/// One of so many events waits for a query.
const ASKING: u64 = 7;

/// The numbers of both files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Of the configuration.
    pub(crate) yaml: u64,
    /// Of the plugin.
    pub(crate) script: u64,
}

/// What of the files changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The plugin, by a rename.
    Plugin,
    /// The configuration, by a rename.
    Yaml,
    /// Both at once: the link to the folder that holds them is replaced.
    Both,
}

/// Who gets which events: `sessions` of them, in turn at each of the boards of the tenants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seats {
    /// How many tenants there are.
    pub(crate) tenants: u64,
    /// Boards of each.
    pub(crate) boards: u64,
}

/// The files, in a folder.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    seats: Seats,
    states: Vec<State>,
}

/// What sessions have got.
#[derive(Debug)]
pub(crate) struct Book {
    seats: Seats,
    /// The event that is next for each session, by index.
    next: Vec<u64>,
    /// By event: what the plugin said, and what the configuration's field was.
    by_script: Vec<Option<State>>,
    by_yaml: Vec<Option<u64>>,
}

impl Seats {
    /// Events after which it begins again with the same board.
    pub(crate) fn round(self) -> u64 {
        self.tenants * self.boards
    }

    /// The token of a session.
    pub(crate) fn token(self, session: u64) -> String {
        format!("token-{}", session % self.tenants)
    }

    /// The topic that a session looks at.
    pub(crate) fn topic(self, session: u64) -> String {
        let kind = if (session / self.round()).is_multiple_of(2) { "plain" } else { "script" };
        format!("{kind}:{}", session / self.tenants % self.boards)
    }

    /// The body of an event.
    pub(crate) fn event(self, number: u64) -> String {
        let (tenant, board) = (number % self.tenants, number / self.tenants % self.boards);
        let telltales = (0..TELLTALES).map(|at| format!(r#","y{at}":1"#)).collect::<Vec<_>>().concat();
        format!(r#"{{"data":{{"n":{number},"tenant":"tenant-{tenant}","board":{board}{telltales}}}}}"#)
    }
}

impl Files {
    /// The main file, in its folder.
    pub(crate) const MAIN: &str = "live/pointsman.yaml";

    /// Makes them.
    pub(crate) fn create(folder: &Path, seats: Seats) -> io::Result<Self> {
        let mut files = Self { folder: folder.to_owned(), seats, states: Vec::new() };
        files.release(State { yaml: 0, script: 0 })?;
        Ok(files)
    }

    /// Changes them. Nothing is half written at any time.
    pub(crate) fn change(&mut self, change: Change) -> io::Result<()> {
        let State { yaml, script } = *self.states.last().expect("a first one");
        match change {
            Change::Plugin => self.replace("stamp.lua", &plugin(script + 1), State { yaml, script: script + 1 }),
            Change::Yaml => {
                let text = configuration(self.seats, yaml + 1);
                self.replace("pointsman.yaml", &text, State { yaml: yaml + 1, script })
            }
            Change::Both => self.release(State { yaml: yaml + 1, script: script + 1 }),
        }
    }

    /// All that they have held so far.
    pub(crate) fn states(&self) -> &[State] {
        &self.states
    }

    fn replace(&mut self, name: &str, text: &str, state: State) -> io::Result<()> {
        let live = self.folder.join("live");
        fs::write(live.join("new"), text)?;
        fs::rename(live.join("new"), live.join(name))?;
        self.states.push(state);
        Ok(())
    }

    /// Both files in a folder of their own, to which the link is turned.
    fn release(&mut self, state: State) -> io::Result<()> {
        let name = format!("release-{}-{}", state.yaml, state.script);
        let folder = self.folder.join(&name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("pointsman.yaml"), configuration(self.seats, state.yaml))?;
        fs::write(folder.join("stamp.lua"), plugin(state.script))?;
        symlink(name, self.folder.join("live.new"))?;
        fs::rename(self.folder.join("live.new"), self.folder.join("live"))?;
        self.states.push(state);
        Ok(())
    }
}

fn configuration(seats: Seats, number: u64) -> String {
    let token = |tenant| format!("        token-{tenant}: {{ user: 1, tenant: tenant-{tenant} }}\n");
    let tokens: String = (0..seats.tenants).map(token).collect();
    let telltale = number % TELLTALES;
    format!(
        r#"
listen: 127.0.0.1:0
admin: {{ listen: 127.0.0.1:0 }}
event: {{ payload: data, tenant: data.tenant }}
ping: {{ every: 1h }}
database:
  url: "sqlite::memory:"
  queries: {{ pause: {{ sql: "SELECT 1 AS one WHERE :tenant IS NOT NULL" }} }}
topics:
  - {{ match: "plain:{{board}}", allow: true }}
  - {{ match: "script:{{board}}", allow: true }}
routes:
  - name: plain
    when: {{ data.n: {{ exists: true }} }}
    to: {{ topic: "plain:{{data.board}}", payload: {{ only: [n, y{telltale}] }} }}
    continue: true
  - {{ name: script, script: stamp.lua, with: {{ yaml: {number} }} }}
auth:
  providers:
    - tokens:
{tokens}"#
    )
}

fn plugin(number: u64) -> String {
    format!(
        r#"local NUMBER = {number}
return {{
  fields = {{ "data.n", "data.board" }},
  route = function(event, to, params)
    if event.data.n % {ASKING} == 0 then
      lookup("pause", {{}})
    end
    to:topic("script:" .. event.data.board)
    to:payload({{ n = event.data.n, yaml = params.yaml, script = NUMBER }})
  end,
}}
"#
    )
}

impl Book {
    /// Of so many sessions, none of which has got anything. As many as make each board have both kinds.
    pub(crate) fn new(seats: Seats, sessions: u64) -> Self {
        assert!(sessions >= 2 * seats.round(), "too few sessions");
        let next = (0..sessions).map(|session| session % seats.round()).collect();
        Self { seats, next, by_script: Vec::new(), by_yaml: Vec::new() }
    }

    /// A session has got this payload. Answers the event's number. An error where another one was due.
    pub(crate) fn note(&mut self, session: usize, payload: &Value) -> Result<u64, String> {
        let fault = |what: String| Err(format!("session {session}: {what}: {payload}"));
        let Some(number) = payload["n"].as_u64() else { return fault("no event".to_owned()) };
        if number != self.next[session] {
            return fault(format!("not event {}, which was due", self.next[session]));
        }
        self.next[session] += self.seats.round();
        let at = usize::try_from(number).expect("small");
        if self.by_yaml.len() <= at {
            self.by_yaml.resize(at + 1, None);
            self.by_script.resize(at + 1, None);
        }
        let is_same = if let (Some(yaml), Some(script)) = (payload["yaml"].as_u64(), payload["script"].as_u64()) {
            let state = State { yaml, script };
            *self.by_script[at].get_or_insert(state) == state
        } else if let Some(told) = (0..TELLTALES).find(|told| payload.get(format!("y{told}")).is_some()) {
            *self.by_yaml[at].get_or_insert(told) == told
        } else {
            return fault("no stamp".to_owned());
        };
        if is_same { Ok(number) } else { fault("others have got it by other rules".to_owned()) }
    }

    /// Whether a session has got all of so many events.
    pub(crate) fn has_all(&self, session: usize, events: u64) -> bool {
        self.next[session] >= events
    }

    /// So many events were published, while the files held these states, one after the other. Answers how many of those
    /// have decided events. An error where an event is missing, or was decided by what never was.
    pub(crate) fn close(&self, events: u64, states: &[State]) -> Result<usize, String> {
        if let Some(session) = (0..self.next.len()).find(|session| !self.has_all(*session, events)) {
            return Err(format!("session {session} lacks event {} of {events}", self.next[session]));
        }
        let (mut last, mut seen) = (0, vec![false; states.len()]);
        for (number, (script, yaml)) in self.by_script.iter().zip(&self.by_yaml).enumerate() {
            let place = states.iter().position(|state| Some(*state) == *script);
            let Some(place) = place else {
                return Err(format!("event {number} was decided by {script:?}, which the files never held"));
            };
            if *yaml != Some(states[place].yaml % TELLTALES) {
                return Err(format!("event {number} was decided by {:?} and by field {yaml:?}", states[place]));
            }
            if place < last {
                return Err(format!("event {number} was decided by state {place}, and one before by state {last}"));
            }
            (last, seen[place]) = (place, true);
        }
        Ok(seen.into_iter().filter(|seen| *seen).count())
    }
}
