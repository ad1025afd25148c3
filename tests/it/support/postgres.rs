//! Real PostgreSQL clusters, on free ports, in temporary folders. They forget on a power cut, and start the faster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::keeper::{Account, Keeper, awaited, free_port};

/// What comes with Debian's package, a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The login that may do everything, without a password.
const OWNER: &str = "postgres";
/// Who may connect: `locked` by its password, everyone else by name.
const ACCESS: &str = "
local all all trust
host all locked 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
";

/// A cluster. Ends when it is dropped, and with the tests.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// `None` while it is stopped.
    server: Option<Child>,
    port: u16,
    /// More of `postgres -c`.
    settings: Vec<String>,
    databases: AtomicUsize,
    account: Account,
    keeper: Keeper,
}

/// The cluster that tests share: started by the first that asks. Each test has a database of its own there.
pub(crate) fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::own(&["max_connections=200"]))
}

impl Postgres {
    /// A cluster with these settings, for a test that breaks it: `max_connections=10`.
    pub(crate) fn own(settings: &[&str]) -> Self {
        let mut postgres = Self::absent(settings);
        postgres.start();
        postgres
    }

    /// A cluster that has not been started yet.
    pub(crate) fn absent(settings: &[&str]) -> Self {
        let keeper = Keeper::new("sleep infinity");
        let account = Account::named(OWNER);
        account.own(keeper.folder());
        let mut initdb = account.command(&program("initdb"));
        initdb.args(["--pgdata", "data", "--username", OWNER, "--auth", "trust", "--encoding", "UTF8"]);
        initdb.args(["--locale", "C.UTF-8", "--no-sync", "--no-instructions"]);
        let made = initdb.current_dir(keeper.folder()).stdin(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(keeper.folder().join("data/pg_hba.conf"), ACCESS).unwrap();
        Self {
            server: None,
            port: free_port(),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            databases: AtomicUsize::new(0),
            account,
            keeper,
        }
    }

    /// Where its files are; relative paths in its settings start in `data` there.
    pub(crate) fn folder(&self) -> &Path {
        self.keeper.folder()
    }

    /// Gives a file in its folder to the account that it runs as.
    pub(crate) fn own_file(&self, path: &Path) {
        self.account.own(path);
    }

    /// A URL for these credentials and this database.
    pub(crate) fn url(&self, credentials: &str, database: &str) -> String {
        format!("postgres://{credentials}@127.0.0.1:{}/{database}", self.port)
    }

    /// A new database, in which this script has run. Answers its URL.
    pub(crate) async fn database(&self, script: &str) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        execute(&self.url(OWNER, "postgres"), &format!("CREATE DATABASE {name}")).await;
        let url = self.url(OWNER, &name);
        if !script.is_empty() {
            execute(&url, script).await;
        }
        url
    }

    /// Starts it, and returns when it takes connections.
    pub(crate) fn start(&mut self) {
        let account = &self.account;
        let mut command = account.kept(&self.keeper, &program("postgres"));
        command.args(["-D", "data", "-k"]).arg(self.keeper.folder()).arg("-p").arg(self.port.to_string());
        // What is committed outlives a killed server, though not a machine that loses its power.
        let always = ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off"];
        for setting in always.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        self.server = Some(awaited("PostgreSQL", &mut command, "database system is ready to accept connections"));
    }

    /// Shuts it down in order: connections are told and cut.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Ends it at once, with all that it runs.
    pub(crate) fn kill(&mut self) {
        // It starts no more processes then.
        super::keeper::signal(self.server.as_ref().expect("it runs"), Signal::STOP);
        let children = self.children();
        self.end(Signal::KILL);
        for child in &children {
            // Some have noticed by themselves.
            kill_process(*child, Signal::KILL).ok();
        }
        // What they share is free when they are gone, which happens at once.
        while children.iter().any(|child| state(&child.as_raw_nonzero().to_string()).is_some_and(|it| it.0 != "Z")) {
            std::thread::yield_now();
        }
    }

    /// Makes it fall silent: connections stay and come, and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets it speak again.
    pub(crate) fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn end(&mut self, signal: Signal) {
        let mut server = self.server.take().expect("it runs");
        super::keeper::signal(&server, signal);
        server.wait().unwrap();
    }

    fn signal_all(&self, signal: Signal) {
        let server = Pid::from_child(self.server.as_ref().expect("it runs"));
        for process in std::iter::once(server).chain(self.children()) {
            kill_process(process, signal).ok();
        }
    }

    /// The processes of its connections and its own work: each is a session of its own.
    fn children(&self) -> Vec<Pid> {
        let server = self.server.as_ref().expect("it runs").id().to_string();
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_child = |id: &String| state(id).is_some_and(|it| it.1 == server);
        processes.filter(is_child).filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
    }
}

/// The state of a process and its parent, while it is there.
fn state(id: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // They come after the name, which may hold anything.
    let mut after = stat.rsplit(')').next()?.split_whitespace().map(str::to_owned);
    after.next().zip(after.next())
}

/// Runs a script there, on a connection of its own.
pub(crate) async fn execute(url: &str, script: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    let run = sqlx::raw_sql(AssertSqlSafe(script.to_owned())).execute(&mut connection).await;
    run.unwrap_or_else(|error| panic!("{error} in {script}"));
    connection.close().await.unwrap();
}

/// A program of the newest version that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let newest = versions.filter(|version| version.join("bin").join(name).exists()).max();
    let newest = newest.unwrap_or_else(|| {
        panic!(
            "no {name} in {VERSIONS}: install PostgreSQL (`apt-get install postgresql`), or run tests/run, which does"
        )
    });
    newest.join("bin").join(name)
}
