//! What stands around a server in production, all of it real.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;

use crate::support::http::{self, Answer};
use crate::support::process::{Process, Stream};
use crate::support::rabbitmq::shared_vhost;
use crate::support::server::Server;
use crate::support::tools::{self, example};
use crate::support::web::Php;
use crate::support::{mariadb, postgres};

/// The shipped configuration.
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/rabbitmq.yaml");
/// The admin listener's.
pub(super) const KEY: &str = "s3cret-key";
/// What the endpoint knows the server by.
pub(super) const AUTH_KEY: &str = "s3cret-header";
/// A token that the database does not know and the endpoint does, and what its owner is told.
pub(super) const ENDPOINT_TOKEN: &str = "demo-api";
pub(super) const ENDPOINT_SAYS: &str = "Connected as user 9";

/// A database with the example's tables, by its URL.
pub(super) enum Database {
    Postgres(String),
    MariaDb(String),
    Sqlite(String),
}

impl Database {
    /// A file in this folder, made by a script.
    pub(super) async fn sqlite(folder: &Path, script: &str) -> Self {
        let file = folder.join("app.db");
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(script.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Self::Sqlite(format!("sqlite:{}", file.display()))
    }

    fn url(&self) -> &str {
        let (Self::Postgres(url) | Self::MariaDb(url) | Self::Sqlite(url)) = self;
        url
    }
}

/// A broker, a database, a back end and a server.
pub(super) struct World {
    pub(super) server: Server,
    database: Database,
    broker: String,
    /// And the folder of its users.
    _endpoint: (Php, TempDir),
}

impl World {
    /// Starts all of it, and returns when the server is ready.
    pub(super) async fn start(database: Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users.json");
        let known = json!({ ENDPOINT_TOKEN: { "id": 9, "company": "acme", "role": "sales" } });
        std::fs::write(&users, known.to_string()).unwrap();
        let script = PathBuf::from(example("auth/endpoint.php"));
        let environment = [("USERS_FILE", users.to_str().unwrap()), ("WS_AUTH_KEY", AUTH_KEY)];
        let endpoint = Php::start(Php::somewhere(), &[&script], &environment).await;
        let auth = format!("http://{}/ws-auth", endpoint.address);
        let broker = shared_vhost();
        let environment = [
            ("POINTSMAN_LISTEN", "127.0.0.1:0"),
            ("POINTSMAN_ADMIN_LISTEN", "127.0.0.1:0"),
            ("POINTSMAN_ADMIN_KEY", KEY),
            ("POINTSMAN_PING", "1s"),
            ("POINTSMAN_DRAIN", "500ms"),
            ("AMQP_URL", &broker),
            ("DATABASE_URL", database.url()),
            ("AUTH_URL", &auth),
            ("AUTH_KEY", AUTH_KEY),
        ];
        let server = Server::start_file(CONFIGURATION, &environment, &["--instance", "test"]).await;
        crate::broker::ready(&server).await;
        Self { server, database, broker, _endpoint: (endpoint, folder) }
    }

    /// Has the back end in PHP publish events, in this order.
    pub(super) async fn publish(&self, events: &[Value]) {
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        let file = self.server.folder().join("events.ndjson");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = tools::php_command(&example("publish.php"));
        command.arg(file).env("AMQP_URL", &self.broker);
        let publisher = Process::start("publish.php", &mut command, Stream::Stderr);
        assert!(publisher.ended().await.success(), "{:?}", publisher.lines());
    }

    /// Changes the database, as the application does.
    pub(super) async fn execute(&self, sql: &str) {
        match &self.database {
            Database::Postgres(url) => postgres::execute(url, sql).await,
            Database::MariaDb(url) => mariadb::execute(url, sql).await,
            Database::Sqlite(url) => {
                let mut connection = SqliteConnection::connect(url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// `GET` on the admin listener, with its key.
    pub(super) async fn get_with_key(&self, path: &str) -> Answer {
        let key = format!("Bearer {KEY}");
        http::request(self.server.admin, "GET", path, &[("authorization", &key)], String::new()).await
    }
}
