//! What can be said on the command line, and the help that explains it.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

use crate::observe::LogStyle;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "pointsman",
    version,
    about = "Delivers an application's events to the people who are looking at the data, the moment they happen.",
    styles = STYLES,
    args_conflicts_with_subcommands = true,
    help_template = TEMPLATE,
    after_help = EXAMPLES,
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run: take events in, decide who gets them, deliver them
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArguments),
    /// Read the configuration and say all that is wrong with it; touch nothing
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// Run the rule tests: events, sessions, and who must get what
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArguments),
    /// Say what the rules make of one event, and why; touch nothing
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArguments),
    /// Print the JSON Schema of the configuration, or of rule tests, for editors
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema(SchemaArguments),
    /// Send an event, or a file of them, to a running server
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(PublishArguments),
    /// Be a client: connect with a token and print what arrives
    #[command(after_help = LISTEN_EXAMPLES)]
    Listen(ListenArguments),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Which files a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// The configuration, and what it includes.
    Config,
    /// Rule tests.
    Tests,
}

/// What `serve` can be told.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// What `{instance}` in queue names stands for [default: the host's name and a random part]
    #[arg(long, value_name = "NAME", value_parser = instance)]
    pub instance: Option<String>,
    /// How logs are written to stderr: `auto` is for people on a terminal, JSON otherwise
    #[arg(long, value_name = "auto|human|json", hide_possible_values = true, default_value = "auto")]
    pub log: LogStyle,
}

#[derive(Clone, Debug, Args)]
struct ConfigArgument {
    /// The configuration [default: config/pointsman.yaml; where there is none, the embedded demo]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How the diagnostics are printed
    #[arg(long, value_name = "human|json", hide_possible_values = true, default_value = "human")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Run only the tests with this in their name, or in the name of their file
    #[arg(value_name = "FILTER")]
    pub(super) filter: Option<String>,
    /// How the outcome is printed
    #[arg(long, value_name = "human|json", hide_possible_values = true, default_value = "human")]
    pub(super) format: Format,
    /// Write the outcome to this file too, in the XML that CI systems read
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// A file that holds one JSON event; `-` is stdin
    #[arg(value_name = "EVENT")]
    pub(super) event: PathBuf,
    /// Somebody who is there, as in a rule test; may be given several times
    #[arg(long, value_name = "SESSION")]
    pub(super) session: Vec<String>,
    /// A file of them: a list, or a map by name; `-` is stdin
    #[arg(long, value_name = "FILE")]
    pub(super) sessions: Option<PathBuf>,
    /// What the database would say: a file, or the YAML or JSON itself, as in a rule test
    #[arg(long, value_name = "FILE|ROWS")]
    pub(super) queries: Option<String>,
    /// The routing key that the event comes with
    #[arg(long, value_name = "KEY")]
    pub(super) routing_key: Option<String>,
    /// A header that the event comes with; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) header: Vec<String>,
    /// How the explanation is printed
    #[arg(long, value_name = "human|json", hide_possible_values = true, default_value = "human")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct SchemaArguments {
    /// Of which files: `config`, or `tests` for rule tests
    #[arg(value_name = "config|tests", hide_possible_values = true, default_value = "config")]
    pub(super) of: SchemaOf,
    /// Taken by every command that prints; a schema is JSON either way
    #[arg(long, value_name = "human|json", hide_possible_values = true, default_value = "human")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct PublishArguments {
    /// A file that holds one JSON event, or several, one a line; `-` is stdin
    #[arg(value_name = "EVENT")]
    pub(super) event: PathBuf,
    /// The admin listener of the server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(super) server: String,
    /// The server's `admin.key`, where it asks for one
    #[arg(long, env = "POINTSMAN_ADMIN_KEY", hide_env_values = true)]
    pub(super) key: Option<SecretString>,
    /// How the outcome is printed
    #[arg(long, value_name = "human|json", hide_possible_values = true, default_value = "human")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ListenArguments {
    /// The access token to sign in with. A variable, unlike an argument, is not shown in lists of processes
    #[arg(long, value_name = "T", env = "POINTSMAN_TOKEN", hide_env_values = true)]
    pub(super) token: SecretString,
    /// Subscribe to this topic; may be given several times
    #[arg(long = "topic", value_name = "X")]
    pub(super) topics: Vec<String>,
    /// The client listener of the server
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8080/")]
    pub(super) server: String,
    /// End after this many events
    #[arg(long, value_name = "N")]
    pub(super) count: Option<NonZeroU64>,
    /// How remarks on stderr are written; stdout is JSON always
    #[arg(long, value_name = "human|json", hide_possible_values = true, default_value = "human")]
    pub(super) format: Format,
}

impl ServeArguments {
    /// The configuration asked for.
    pub fn config(&self) -> crate::config::ConfigFile {
        self.config.file()
    }
}

impl CheckArguments {
    pub(super) fn config(&self) -> crate::config::ConfigFile {
        self.config.file()
    }
}

impl TestArguments {
    pub(super) fn config(&self) -> crate::config::ConfigFile {
        self.config.file()
    }
}

impl ExplainArguments {
    pub(super) fn config(&self) -> crate::config::ConfigFile {
        self.config.file()
    }

    /// The file that says what the database would, where `--queries` names one.
    pub(super) fn queries_file(&self) -> Option<&Path> {
        // Rows are a map, which begins with a brace; of more than one line it is no file's name either.
        let queries = self.queries.as_deref()?;
        let is_text = queries.trim_start().starts_with('{') || queries.contains('\n');
        (!is_text).then(|| Path::new(queries))
    }
}

impl ConfigArgument {
    fn file(&self) -> crate::config::ConfigFile {
        crate::config::ConfigFile::choose(self.config.clone())
    }
}

fn instance(text: &str) -> Result<String, &'static str> {
    let fits = (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("1 to 100 visible ASCII characters, without spaces") }
}

/// clap lists commands without groups; a test holds this list against them.
const TEMPLATE: &str = "\
{about-with-newline}
Back ends publish JSON events to RabbitMQ. For each one, the rules of a YAML file name an
audience: users, topics and roles of one tenant. Whoever belongs to it and is connected gets
the event at once, over a WebSocket.

{usage-heading} {usage}

\u{1b}[1;32mRun:\u{1b}[0m
  \u{1b}[1;36mserve\u{1b}[0m      Take events in, decide who gets them, deliver them (the default command)

\u{1b}[1;32mWrite rules:\u{1b}[0m
  \u{1b}[1;36mcheck\u{1b}[0m      Read the configuration and say all that is wrong with it; touch nothing
  \u{1b}[1;36mtest\u{1b}[0m       Run the rule tests: events, sessions, and who must get what
  \u{1b}[1;36mexplain\u{1b}[0m    Say what the rules make of one event, and why; touch nothing
  \u{1b}[1;36mschema\u{1b}[0m     Print the JSON Schema of the configuration, or of rule tests, for editors

\u{1b}[1;32mTry a running server:\u{1b}[0m
  \u{1b}[1;36mpublish\u{1b}[0m    Send an event, or a file of them
  \u{1b}[1;36mlisten\u{1b}[0m     Be a client: connect with a token and print what arrives

\u{1b}[1;32mOptions:\u{1b}[0m
{options}{after-help}";

const EXAMPLES: &str = "\
\u{1b}[1;32mA first walk, with nothing installed:\u{1b}[0m
  $ pointsman
    The demo, in memory: open http://127.0.0.1:8080 and see who gets what. Or in two terminals:
  $ pointsman listen --token demo-bob --topic deal:42
  $ pointsman publish examples/deal-moved.json

\u{1b}[1;32mWho would get it, and why:\u{1b}[0m
  $ pointsman explain examples/deal-moved.json \\
      --session '{\"user\": 2, \"tenant\": \"acme\", \"topics\": [\"deal:42\"]}'
  $ pointsman test

\u{1b}[1;32mIn production:\u{1b}[0m
  $ pointsman check --config /etc/pointsman/pointsman.yaml
  $ pointsman serve --config /etc/pointsman/pointsman.yaml

Exit codes: 0 fine; 1 the thing examined is at fault; 2 wrong usage; 3 the environment is.
`pointsman COMMAND --help` says more of each command.";

const SERVE_EXAMPLES: &str = "\
\u{1b}[1;32mExamples:\u{1b}[0m
  $ pointsman                                    # config/pointsman.yaml, or the embedded demo
  $ pointsman serve --config prod.yaml --instance push-1
  $ POINTSMAN_LOG=warn,pointsman::source=debug pointsman serve --log json

POINTSMAN_LOG filters the log; it is `info` where it is not set.

SIGTERM and Ctrl-C tell clients when to come back, and flush what waits for them; a second one
ends it at once. A change of the configuration comes into force while it runs; a setting that needs
a restart is named. SIGHUP takes the files up at once.

Exit codes: 0 ended as asked; 1 the configuration is at fault; 3 cannot bind, or the broker was
lost where `amqp.when_lost` is `exit`.";

const CHECK_EXAMPLES: &str = "\
\u{1b}[1;32mExamples:\u{1b}[0m
  $ pointsman check
  $ pointsman check --config prod.yaml --format json

Exit codes: 0 the configuration is valid; 1 it is not; 3 it cannot be read.";

const TEST_EXAMPLES: &str = "\
\u{1b}[1;32mExamples:\u{1b}[0m
  $ pointsman test
  $ pointsman test --config prod.yaml deals
  $ pointsman test --config prod.yaml --junit results.xml --format json

Tests stand in tests/*.yaml beside the configuration, and beside each plugin. A test says what
comes, who is there, and what must come of it:

  - name: a deal's viewers see it move, its author does not
    event: { data: { type: deal.moved, tenant_id: acme, deal_id: 42, actor_id: 8 } }
    sessions:
      viewer: { user: 7, tenant: acme, topics: [\"deal:42\"] }
      author: { user: 8, tenant: acme, topics: [\"deal:42\"] }
    expect: { route: deals, reaches: [viewer] }

Nothing is asked and nothing is sent: `queries: { NAME: [{ COLUMN: VALUE }] }` says what the
database would. The same tests run before a changed configuration comes into force.

Exit codes: 0 all passed; 1 one failed, or the configuration is at fault; 3 it cannot be read.";

const EXPLAIN_EXAMPLES: &str = "\
\u{1b}[1;32mExamples:\u{1b}[0m
  $ pointsman explain event.json
  $ pointsman explain event.json --session '{\"user\": 7, \"tenant\": \"acme\", \"topics\": [\"deal:42\"]}'
  $ pointsman explain event.json --sessions people.yaml \\
      --queries '{ users_with_access: [{ user_id: 7 }] }'
  $ echo '{\"data\":{\"type\":\"note.added\"}}' | pointsman explain - --format json | jq .decision

Each route that is tried, and what made it hold or not; the audience in words; the queries that
are asked; and for each session that is given, whether it gets the event, and why. Without
`--queries` no answer is known, and what depends on one is said to.

Exit codes: 0 explained; 1 the event or the configuration is at fault; 2 wrong usage; 3 a file
cannot be read.";

const SCHEMA_EXAMPLES: &str = "\
\u{1b}[1;32mExample:\u{1b}[0m
  $ pointsman schema > pointsman.schema.json
    And in the first line of a configuration, for editors with the YAML language server:
    # yaml-language-server: $schema=pointsman.schema.json
  $ pointsman schema tests > pointsman-tests.schema.json
    And in the first line of tests/*.yaml:
    # yaml-language-server: $schema=../pointsman-tests.schema.json";

const PUBLISH_EXAMPLES: &str = "\
\u{1b}[1;32mExamples:\u{1b}[0m
  $ pointsman publish event.json
  $ pointsman publish events.ndjson --server http://push-1.internal:9090 --format json
  $ echo '{\"send_to_all\":true,\"data\":{\"type\":\"hello\"}}' | pointsman publish -

All events of a file are taken, or none: the first that is no event is named by its line.

Exit codes: 0 taken; 1 refused; 3 the server cannot be reached, or the file cannot be read.";

const LISTEN_EXAMPLES: &str = "\
\u{1b}[1;32mExamples:\u{1b}[0m
  $ pointsman listen --token demo-ann
  $ pointsman listen --token demo-ann --topic deal:42 --topic 'board:*'
  $ pointsman listen --token demo-ann --count 1 | jq 'select(.data).data'

Each message of the server is one line of JSON on stdout; remarks go to stderr.

Exit codes: 0 ended by Ctrl-C, by --count, or by a reader that went away; 1 refused by the
server; 3 the server cannot be reached, or the connection was lost.";
