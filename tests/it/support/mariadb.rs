//! Real MariaDB servers, on free ports, in temporary folders. They forget on a power cut, and start the faster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use super::keeper::{Account, Keeper, awaited, free_port, signal};

const SERVER: &str = "/usr/sbin/mariadbd";
const INSTALL: &str = "/usr/bin/mariadb-install-db";
/// The login that may do everything.
const OWNER: &str = "tester:s3cret-m";
/// Run at each start.
const LOGINS: &str = "
CREATE USER IF NOT EXISTS 'tester'@'%' IDENTIFIED BY 's3cret-m';
GRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION;
";

/// A server. Ends when it is dropped, and with the tests.
#[derive(Debug)]
pub(crate) struct MariaDb {
    /// `None` while it is stopped.
    server: Option<Child>,
    port: u16,
    /// More arguments of `mariadbd`.
    settings: Vec<String>,
    databases: AtomicUsize,
    account: Account,
    keeper: Keeper,
}

/// The server that tests share: started by the first that asks. Each test has a database of its own there.
pub(crate) fn shared() -> &'static MariaDb {
    static SHARED: OnceLock<MariaDb> = OnceLock::new();
    SHARED.get_or_init(|| MariaDb::own(&["--max-connections=200"]))
}

impl MariaDb {
    /// A server with these settings, for a test that breaks it: `--max-connections=10`.
    pub(crate) fn own(settings: &[&str]) -> Self {
        let mut mariadb = Self::absent(settings);
        mariadb.start();
        mariadb
    }

    /// A server that has not been started yet.
    pub(crate) fn absent(settings: &[&str]) -> Self {
        assert!(
            Path::new(SERVER).exists(),
            "{SERVER} is not there: install MariaDB (`apt-get install mariadb-server`), or run tests/run, which does"
        );
        let keeper = Keeper::new("sleep infinity");
        let account = Account::named("mysql");
        account.own(keeper.folder());
        let mut install = account.command(&PathBuf::from(INSTALL));
        install.arg("--no-defaults").arg(format!("--datadir={}/data", keeper.folder().display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-flush-method=nosync"]);
        let made =
            install.current_dir(keeper.folder()).env("TMPDIR", keeper.folder()).stdin(Stdio::null()).output().unwrap();
        let said = [made.stdout, made.stderr].concat();
        assert!(made.status.success(), "{INSTALL}: {}", String::from_utf8_lossy(&said));
        fs::write(keeper.folder().join("logins.sql"), LOGINS).unwrap();
        account.own(&keeper.folder().join("logins.sql"));
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
        format!("mysql://{credentials}@127.0.0.1:{}/{database}", self.port)
    }

    /// A new database, in which this script has run. Answers its URL.
    pub(crate) async fn database(&self, script: &str) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        execute(&self.url(OWNER, "mysql"), &format!("CREATE DATABASE {name}")).await;
        let url = self.url(OWNER, &name);
        if !script.is_empty() {
            execute(&url, script).await;
        }
        url
    }

    /// Starts it, and returns when it takes connections.
    pub(crate) fn start(&mut self) {
        let folder = self.keeper.folder().display();
        let mut command = self.account.kept(&self.keeper, &PathBuf::from(SERVER));
        command.arg("--no-defaults").arg(format!("--datadir={folder}/data")).arg(format!("--port={}", self.port));
        command.arg(format!("--socket={folder}/socket")).arg(format!("--init-file={folder}/logins.sql"));
        command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"]);
        command.args(["--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0"]);
        command.args(&self.settings).env("TMPDIR", self.keeper.folder());
        self.server = Some(awaited("MariaDB", &mut command, "ready for connections"));
    }

    /// Shuts it down in order.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Makes it fall silent: connections stay and come, and nobody answers.
    pub(crate) fn pause(&self) {
        signal(self.server.as_ref().expect("it runs"), Signal::STOP);
    }

    /// Lets it speak again.
    pub(crate) fn resume(&self) {
        signal(self.server.as_ref().expect("it runs"), Signal::CONT);
    }

    fn end(&mut self, how: Signal) {
        let mut server = self.server.take().expect("it runs");
        signal(&server, how);
        server.wait().unwrap();
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
    }
}

/// Runs a script there, on a connection of its own.
pub(crate) async fn execute(url: &str, script: &str) {
    let mut connection = MySqlConnection::connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    let run = sqlx::raw_sql(AssertSqlSafe(script.to_owned())).execute(&mut connection).await;
    run.unwrap_or_else(|error| panic!("{error} in {script}"));
    connection.close().await.unwrap();
}
