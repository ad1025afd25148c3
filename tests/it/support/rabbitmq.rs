//! Real RabbitMQ nodes, on free ports, in temporary folders, with an `epmd` and a cookie of their own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;

use super::keeper::{Keeper, signal};

/// The server's own script: the one in the path insists on the user `rabbitmq`.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// As [`SERVER`], for the administrator's commands.
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
/// Every test takes one of the shared node's, so there must be more than tests. Each makes the node start later.
const VHOSTS: usize = 100;
/// A node of one test has fewer.
const OWN_VHOSTS: usize = 2;

/// A node. Ends when it is dropped, and with the tests.
#[derive(Debug)]
pub(crate) struct Rabbit {
    /// `None` while it is stopped.
    server: Option<Child>,
    port: u16,
    distribution: u16,
    epmd: u16,
    vhosts: usize,
    taken: AtomicUsize,
    keeper: Keeper,
}

/// The node that tests share: started by the first that asks. Each test has a vhost of its own there.
pub(crate) fn shared_vhost() -> String {
    shared().vhost()
}

/// That node.
pub(crate) fn shared() -> &'static Rabbit {
    static SHARED: OnceLock<Rabbit> = OnceLock::new();
    SHARED.get_or_init(|| {
        let mut rabbit = Rabbit::with_vhosts(VHOSTS);
        rabbit.start();
        rabbit
    })
}

impl Rabbit {
    /// A node for whoever needs one alone.
    #[allow(dead_code, reason = "the benchmarks do, and these tests start theirs late")]
    pub(crate) fn own() -> Self {
        let mut rabbit = Self::absent();
        rabbit.start();
        rabbit
    }

    /// As [`own`](Self::own), not started yet.
    pub(crate) fn absent() -> Self {
        Self::with_vhosts(OWN_VHOSTS)
    }

    fn with_vhosts(vhosts: usize) -> Self {
        assert!(
            Path::new(SERVER).exists(),
            "{SERVER} is not there: install RabbitMQ (`apt-get install rabbitmq-server`), or run tests/run, which does"
        );
        let [port, distribution, epmd] = free_ports();
        let keeper = Keeper::new(&format!("epmd -port {epmd} -address 127.0.0.1"));
        let folder = keeper.folder().display();
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nload_definitions = {folder}/definitions.json\nloopback_users = none\n"
        );
        fs::write(keeper.folder().join("rabbitmq.conf"), config).unwrap();
        fs::write(keeper.folder().join("definitions.json"), definitions(vhosts)).unwrap();
        fs::write(keeper.folder().join("plugins"), "[].").unwrap();
        Self { server: None, port, distribution, epmd, vhosts, taken: AtomicUsize::new(0), keeper }
    }

    /// The URL of a vhost that nobody else uses.
    pub(crate) fn vhost(&self) -> String {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        assert!(number < self.vhosts, "more tests than vhosts: raise VHOSTS");
        self.url("guest:guest", &format!("test{number}"))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// A URL for these credentials and this vhost.
    pub(crate) fn url(&self, credentials: &str, vhost: &str) -> String {
        format!("amqp://{credentials}@127.0.0.1:{}/{vhost}", self.port)
    }

    /// Starts it, and returns when it is up.
    pub(crate) fn start(&mut self) {
        let folder = self.keeper.folder();
        let at = |name: &str| folder.join(name);
        let mut command = self.keeper.command(SERVER);
        self.identify(&mut command);
        command
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            // The script then becomes the server, instead of watching over it.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput");
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let output = BufReader::new(server.stdout.take().unwrap());
        let (up, is_up) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            // Read to its end, so that the server never waits for it.
            for line in output.lines().map_while(Result::ok) {
                if line.contains("completed with") {
                    up.try_send(()).unwrap();
                }
            }
        });
        is_up.recv_timeout(Duration::from_mins(1)).expect("RabbitMQ starts within a minute");
        self.server = Some(server);
    }

    /// Shuts it down in order.
    pub(crate) fn stop(&mut self) {
        let mut command = Command::new(CONTROL);
        self.identify(&mut command);
        let mut shutdown = command.arg("shutdown").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // The command waits until the server's process is gone, and it is that when it has been waited for here.
        self.server.take().expect("it runs").wait().unwrap();
        assert!(shutdown.wait().unwrap().success());
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        signal(&server, Signal::KILL);
        server.wait().unwrap();
    }

    /// Makes it fall silent: connections stay, and nobody answers.
    pub(crate) fn pause(&self) {
        signal(self.server.as_ref().unwrap(), Signal::STOP);
    }

    /// Lets it speak again.
    pub(crate) fn resume(&self) {
        signal(self.server.as_ref().unwrap(), Signal::CONT);
    }

    /// How many messages of a queue are with its consumers and not acknowledged, as the node itself knows it.
    pub(crate) fn unacknowledged(&self, vhost_url: &str, queue: &str) -> usize {
        let vhost = vhost_of(vhost_url);
        let question = format!(
            r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)),
               [{{_, N}}] = rabbit_amqqueue:info(Q, [messages_unacknowledged]), N.
"#
        );
        let said = self.evaluate(&question);
        let number = said.trim().strip_prefix("{ok, ").and_then(|rest| rest.strip_suffix('}'));
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("the node says `{said}`"))
    }

    /// Cuts all connections of a vhost, as an administrator would.
    pub(crate) fn cut(&self, vhost_url: &str) {
        let vhost = vhost_of(vhost_url);
        self.evaluate(&format!(
            r#"[case rabbit_networking:connection_info(C, [vhost]) of
                 [{{_, <<"{vhost}">>}}] -> rabbit_networking:close_connection(C, "cut"); _ -> ok
               end || C <- rabbit_networking:connections()].
"#
        ));
    }

    /// Short of memory, or no more.
    pub(crate) fn memory_alarm(&self, on: bool) {
        let fraction = if on { "0.000001" } else { "0.9" };
        self.does(&format!("vm_memory_monitor:set_vm_memory_high_watermark({fraction})"));
    }

    /// Short of room on the disk, or no more.
    pub(crate) fn disk_alarm(&self, on: bool) {
        let limit = if on { "1000000GB" } else { "1MB" };
        self.does(&format!("rabbit_disk_monitor:set_disk_free_limit(\"{limit}\")"));
    }

    /// Publishes from inside of the node, which no alarm keeps from it.
    pub(crate) fn publish_inside(&self, vhost_url: &str, exchange: &str, body: &str) {
        let (vhost, body) = (vhost_of(vhost_url), body.replace('"', "\\\""));
        self.does(&format!(
            r#"rabbit_basic:publish(rabbit_misc:r(<<"{vhost}">>, exchange, <<"{exchange}">>), <<>>, [], <<"{body}">>)"#
        ));
    }

    /// Deletes a vhost with all that is in it.
    pub(crate) fn delete_vhost(&self, vhost: &str) {
        self.does(&format!(r#"rabbit_vhost:delete(<<"{vhost}">>, <<"test">>)"#));
    }

    /// Makes a vhost, and lets `guest` do everything in it.
    pub(crate) fn add_vhost(&self, vhost: &str) {
        self.does(&format!(r#"rabbit_vhost:add(<<"{vhost}">>, <<"test">>)"#));
        self.permit("guest", vhost);
    }

    /// Makes a user.
    pub(crate) fn add_user(&self, name: &str, password: &str) {
        let add = format!(r#"rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{password}">>, <<"test">>)"#);
        self.does(&add);
    }

    /// Lets a user do everything in a vhost.
    pub(crate) fn permit(&self, user: &str, vhost: &str) {
        self.does(&format!(
            r#"rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{vhost}">>, <<".*">>, <<".*">>, <<".*">>,
               <<"test">>)"#
        ));
    }

    /// Imports definitions, as `rabbitmqctl import_definitions` does.
    pub(crate) fn import(&self, definitions: &str) {
        let definitions = definitions.replace('"', "\\\"").replace('\n', " ");
        let said = self.evaluate(&format!("rabbit_definitions:import_raw(<<\"{definitions}\">>).\n"));
        assert!(said.contains("{ok, ok}"), "{said}");
    }

    /// Has a queue's process die, and waits until there is another.
    pub(crate) fn crash_queue(&self, vhost_url: &str, queue: &str) {
        let vhost = vhost_of(vhost_url);
        self.evaluate(&format!(
            r#"rabbit_amqqueue:kill_queue(node(), rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)).
"#
        ));
    }

    /// Listens for TLS also, with these options of Erlang's `ssl`. Answers the port.
    pub(crate) fn listen_for_tls(&self, options: &str) -> u16 {
        let [port] = free_ports();
        self.evaluate("application:ensure_all_started(ssl).\n");
        self.does(&format!(r#"rabbit_networking:start_ssl_listener({{"127.0.0.1", {port}}}, [{options}], 1)"#));
        port
    }

    /// Has the node do something that answers `ok`.
    fn does(&self, what: &str) {
        let said = self.evaluate(&format!("{what}.\n"));
        assert_eq!(said.trim(), "{ok, ok}", "{what}");
    }

    /// Has the node evaluate some Erlang. Answers what it says.
    pub(crate) fn evaluate(&self, question: &str) -> String {
        let cookie = fs::read_to_string(self.keeper.folder().join(".erlang.cookie")).unwrap();
        let mut command = Command::new("erl_call");
        // By a random name: two that call at once must not have the same.
        command.args(["-r", "-sname", &format!("test{}@localhost", self.port), "-c", cookie.trim(), "-e"]);
        let mut call = command
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("erl_call, which comes with Erlang");
        call.stdin.take().unwrap().write_all(question.as_bytes()).unwrap();
        String::from_utf8(call.wait_with_output().unwrap().stdout).unwrap()
    }

    /// Which node a command is about, and that it is allowed to: the cookie is in the folder.
    fn identify(&self, command: &mut Command) {
        let folder = self.keeper.folder();
        command
            .env("HOME", folder)
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .env("RABBITMQ_NODENAME", format!("test{}@localhost", self.port))
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("no-such-file"));
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
    }
}

/// The vhost of a URL.
pub(crate) fn vhost_of(url: &str) -> &str {
    let path = url.rsplit('/').next().unwrap();
    path.split('?').next().unwrap()
}

/// The users `guest`, `writer`, and `reader`, who may declare nothing, and the vhosts.
fn definitions(vhosts: usize) -> String {
    let vhosts: Vec<String> = std::iter::once("/".into()).chain((0..vhosts).map(|n| format!("test{n}"))).collect();
    let permissions = |vhost: &str| {
        serde_json::json!([
            { "user": "guest", "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*" },
            { "user": "writer", "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*" },
            { "user": "reader", "vhost": vhost, "configure": "^$", "write": "^$", "read": ".*" },
        ])
    };
    let permissions: Vec<_> = vhosts.iter().flat_map(|vhost| permissions(vhost).as_array().unwrap().clone()).collect();
    let vhosts: Vec<_> = vhosts.iter().map(|name| serde_json::json!({ "name": name })).collect();
    serde_json::json!({
        "users": [
            { "name": "guest", "password": "guest", "tags": "administrator" },
            { "name": "writer", "password": "s3cret-b", "tags": "" },
            { "name": "reader", "password": "reader", "tags": "" },
        ],
        "vhosts": vhosts,
        "permissions": permissions,
    })
    .to_string()
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All at once, so that no two are the same.
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
