//! The application's endpoint that knows tokens: PHP's web server with the example, which can be ended, paused, and made
//! to fail.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::cast::{TENANTS, USERS, tenant_name, token};
use crate::support::web::Php;

/// The key that the server shows to the endpoint.
pub(crate) const KEY: &str = "k3y";

/// The endpoint. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `None` while it is stopped.
    php: Option<Php>,
    address: SocketAddr,
    folder: TempDir,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        let mut endpoint = Self { php: None, address: Php::somewhere(), folder: tempfile::tempdir().unwrap() };
        endpoint.mend();
        endpoint.run().await;
        endpoint
    }

    /// Whether it knows a tenant's tokens: the database knows those of the others.
    pub(crate) fn knows(tenant: u8) -> bool {
        tenant.is_multiple_of(2)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the web server.
    pub(crate) async fn run(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/auth/endpoint.php");
        let users = self.users();
        let environment =
            [("USERS_FILE", users.to_str().unwrap()), ("WS_AUTH_KEY", KEY), ("PHP_CLI_SERVER_WORKERS", "4")];
        self.php = Some(Php::start(self.address, &[&script], &environment).await);
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) {
        let php = self.php.take().expect("it runs");
        php.signal(Signal::KILL);
        php.ended().await;
    }

    /// Makes it fall silent: connections stay and come, and nobody answers.
    pub(crate) fn pause(&self) {
        self.php.as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it speak again.
    pub(crate) fn resume(&self) {
        self.php.as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// Makes every request a fault of its own.
    pub(crate) fn spoil(&self) {
        fs::write(self.users(), "{").unwrap();
    }

    /// Makes it know tokens again.
    pub(crate) fn mend(&self) {
        let tokens = (0..TENANTS).filter(|tenant| Self::knows(*tenant)).flat_map(|tenant| {
            let user =
                move |user| (token(tenant, user), json!({ "id": format!("u{user}"), "company": tenant_name(tenant) }));
            (0..USERS).map(user)
        });
        let users: Map<String, Value> = tokens.collect();
        // As one, so that nobody reads half of it.
        let new = self.folder.path().join("new.json");
        fs::write(&new, Value::from(users).to_string()).unwrap();
        fs::rename(new, self.users()).unwrap();
    }

    fn users(&self) -> std::path::PathBuf {
        self.folder.path().join("users.json")
    }
}
