//! A database behind a network: what holds for every kind of server.
//!
//! A connection may have died while nobody used it; a restart of the server kills all of them. Whoever finds one dead
//! drops those that are idle and tries once more on a new one, so that a restart costs no call. A query may so be
//! run twice, where its connection dies under it: queries of the configuration are meant to look things up.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::Answer;
use super::compiled::Compiled;
use super::health::Health;
use super::pool::{Lease, Pool};
use super::progress::Progress;
use super::{LookupError, Rows};
use crate::config::Pool as Settings;
use crate::event::Scalar;
use crate::observe::Metrics;

/// How long a connection that is closed may take to say so.
const FAREWELL: Duration = Duration::from_secs(1);

/// How one kind of server is spoken to.
pub(super) trait Server: Send + Sync + 'static {
    /// A connection. Dropped, it is closed at once.
    type Connection: Send + 'static;

    /// Connects. The error, for people, says where and why not.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, String>> + Send;

    /// Closes a connection in order.
    fn close(connection: Self::Connection) -> impl Future<Output = ()> + Send;

    /// The columns that the query answers.
    fn prepare(
        &self,
        connection: &mut Self::Connection,
        query: &Compiled,
    ) -> impl Future<Output = Result<Vec<CompactString>, Fault>> + Send;

    /// Runs the query with these values for its binds, by their places among the names.
    fn fetch(
        &self,
        connection: &mut Self::Connection,
        query: &Compiled,
        values: &[Scalar],
        answer: &mut Answer,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Why a query has no answer, and what that means for its connection.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is as good as before.
    Refused(LookupError),
    /// There was more of an answer than is wanted, and it is on its way.
    Unread(String),
    /// The connection is of no use any more.
    Dead(String),
}

/// A server, and the connections to it.
pub(super) struct Remote<S: Server> {
    server: S,
    pool: Arc<Pool<S::Connection>>,
    health: Health,
}

impl<S: Server> Remote<S> {
    /// Connects later.
    pub(super) fn new(server: S, settings: Settings, metrics: &Metrics) -> Arc<Self> {
        let pool = Arc::new(Pool::new(settings, metrics));
        Arc::new(Self { server, pool, health: Health::new(metrics.database_up()) })
    }

    /// How many connections there are at most.
    pub(super) fn connections(&self) -> usize {
        self.pool.settings().max as usize
    }

    /// Runs a query. Whoever gives up on it closes its connection by that.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        query: &Compiled,
        values: &[Scalar],
        progress: &Progress,
    ) -> Result<Rows, LookupError> {
        if let Some(refusal) = self.health.refusal() {
            return Err(refusal);
        }
        let mut lease = self.pool.lease().await;
        let mut is_old = lease.connection().is_some();
        loop {
            let Some(connection) = lease.connection() else {
                progress.connects();
                lease = self.filled(lease).await?;
                continue;
            };
            progress.asks();
            let mut answer = Answer::default();
            match self.server.fetch(connection, query, values, &mut answer).await {
                Ok(()) => {
                    lease.give_back();
                    return Ok(answer.into_rows());
                }
                Err(Fault::Refused(error)) => {
                    lease.give_back();
                    return Err(error);
                }
                Err(Fault::Unread(said)) => return Err(LookupError::Failed(said)),
                Err(Fault::Dead(said)) if !is_old || !answer.is_empty() => {
                    lease.drop_connection();
                    self.is_of_no_use(&said);
                    return Err(LookupError::Unavailable(said));
                }
                Err(Fault::Dead(_)) => {
                    is_old = false;
                    lease.drop_connection();
                    self.pool.forget_idle();
                }
            }
        }
    }

    /// Makes the first connection, and checks the queries on it.
    pub(super) async fn open(&self, queries: &[Compiled]) {
        if let Some(lease) = self.pool.lease_for_more(true) {
            self.revive(lease, queries).await;
        }
    }

    /// What is to be done now and then: closes connections that are old, makes those that are wanted, finds out whether
    /// a server that was lost is back, and checks the queries there.
    pub(super) async fn tend(&self, queries: &[Compiled]) {
        for connection in self.pool.take_old() {
            timeout(FAREWELL, S::close(connection)).await.ok();
        }
        let lost = self.health.refusal().is_some();
        let Some(mut lease) = self.pool.lease_for_more(lost) else { return };
        if lost {
            self.revive(lease, queries).await;
        } else if self.connect(&mut lease).await.is_ok() {
            lease.give_back();
        }
    }

    async fn revive(&self, mut lease: Lease<S::Connection>, queries: &[Compiled]) {
        let Ok(connection) = self.connect(&mut lease).await else { return };
        for query in queries {
            match timeout(self.pool.settings().timeout, self.server.prepare(connection, query)).await {
                Ok(Ok(columns)) => query.check(Ok(columns)),
                Ok(Err(Fault::Refused(LookupError::Failed(said) | LookupError::Unfit(said)))) => query.check(Err(said)),
                // It has gone again, or is too slow to say. Each call says so for itself.
                Ok(Err(Fault::Refused(LookupError::Unavailable(_)) | Fault::Unread(_) | Fault::Dead(_))) | Err(_) => {
                    return;
                }
            }
        }
        lease.give_back();
    }

    /// A lease with a new connection. It comes about in a task of its own: whoever waits for it may have little time left,
    /// and where many wait before a server that was silent, nobody would ever have enough. So the next one has it, or
    /// knows that there is none to be had.
    async fn filled(self: &Arc<Self>, mut lease: Lease<S::Connection>) -> Result<Lease<S::Connection>, LookupError> {
        // Who waited for a place has waited while others tried.
        if let Some(refusal) = self.health.refusal() {
            return Err(refusal);
        }
        let (remote, (done, outcome)) = (Arc::clone(self), oneshot::channel());
        tokio::spawn(async move {
            let connected = remote.connect(&mut lease).await.map(drop);
            if let Err(Ok(unwanted)) = done.send(connected.map(|()| lease)) {
                unwanted.give_back();
            }
        });
        let ended = |_| Err(LookupError::Unavailable("the attempt to connect ended early".to_owned()));
        outcome.await.unwrap_or_else(ended)
    }

    /// Connects, in the time that a connection may take.
    async fn connect<'l>(&self, lease: &'l mut Lease<S::Connection>) -> Result<&'l mut S::Connection, LookupError> {
        let patience = self.pool.settings().timeout;
        let late = |_| Err(format!("no connection came about in {patience:?}"));
        match timeout(patience, self.server.connect()).await.unwrap_or_else(late) {
            Ok(connection) => {
                let connection = lease.fill(connection);
                self.health.is_up();
                Ok(connection)
            }
            Err(said) => {
                self.is_of_no_use(&said);
                Err(LookupError::Unavailable(said))
            }
        }
    }

    /// A new connection did not come about, or was lost at once. A server that answers on others is not lost.
    fn is_of_no_use(&self, said: &str) {
        if self.pool.live() == 0 {
            self.health.is_lost(said);
        }
    }
}
