//! A change of the topology, applied to a connection that goes on.
//!
//! Whatever is asked goes over a channel of its own: one that the broker closes, because it refuses what was asked,
//! takes nothing else with it.

use std::time::Duration;

use lapin::{Channel, Connection};
use tokio::time::{Instant, interval, timeout};

use super::crew::Crew;
use super::endpoint::Endpoint;
use super::fault::{self, Fault};
use super::plan::Step;
use super::taps::Tap;
use super::topology::{self, Asking};
use crate::config::Queue;
use crate::event::Scalar;

/// What is asked is answered in this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What waits in a queue that goes is taken out of it in this time, and the rest is lost with it.
const EMPTY_WITHIN: Duration = Duration::from_secs(3);
/// How often it is asked meanwhile whether it is empty.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A step, and the tap of the queue that it is about, where it is one to consume.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) step: Step,
    pub(super) tap: Option<Tap>,
}

/// What could not be done, by its place among what was asked.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) index: usize,
    pub(super) fault: Fault,
}

/// Does all of it, as far as the broker lets it be done.
pub(super) async fn apply(
    connection: &Connection,
    endpoint: &Endpoint,
    crew: &mut Crew,
    all: Vec<Asked>,
) -> Vec<Refused> {
    let mut refused = Vec::new();
    for (index, asked) in all.into_iter().enumerate() {
        let mut step = asked.step.asks();
        let mut at_work = AtWork { connection, asking: Asking { endpoint, step: &mut step } };
        // Taking leave of a queue has bounds of its own.
        let within = if matches!(asked.step, Step::Retire(_)) { ANSWER_WITHIN + EMPTY_WITHIN } else { ANSWER_WITHIN };
        let done = timeout(within, at_work.does(crew, asked)).await;
        let done = done.unwrap_or_else(|_elapsed| Err(Fault::silent(endpoint, &step, within)));
        if let Err(fault) = done {
            refused.push(Refused { index, fault });
        }
    }
    refused
}

/// Hands on all that has come or waits in a queue that goes with this connection, and ends all lines.
pub(super) async fn leave(connection: &Connection, endpoint: &Endpoint, crew: &mut Crew, queues: &[Queue]) {
    let mut step = fault::Step::Opening;
    for queue in queues {
        let mut at_work = AtWork { connection, asking: Asking { endpoint, step: &mut step } };
        let retired = timeout(ANSWER_WITHIN + EMPTY_WITHIN, at_work.retire(crew, queue)).await;
        if let Ok(Err(fault)) = retired {
            tracing::debug!(queue = queue.name, reason = %fault, "left in disorder");
        }
    }
}

struct AtWork<'a> {
    connection: &'a Connection,
    asking: Asking<'a>,
}

impl AtWork<'_> {
    async fn does(&mut self, crew: &mut Crew, asked: Asked) -> Result<(), Fault> {
        match (asked.step, asked.tap) {
            (Step::Exchange(exchange), _) => {
                let channel = self.channel().await?;
                topology::declare_exchange(&mut self.asking, &channel, &exchange).await?;
                close(channel).await;
            }
            (Step::Forget(name), _) => {
                tracing::info!(exchange = name, "no longer declared; it stays at the broker until it is deleted there");
            }
            (Step::Open(queue), Some(tap)) => {
                let opened = self.open(crew, &queue, tap).await;
                if opened.is_err() && queue.exclusive && !queue.passive {
                    self.discard(&queue.name).await;
                }
                opened?;
            }
            (Step::Redeclare(queue), _) => {
                let channel = self.channel().await?;
                topology::declare_queue(&mut self.asking, &channel, &queue).await?;
                close(channel).await;
            }
            (Step::Bind(queue, binding), _) => {
                let channel = self.channel().await?;
                topology::bind(&mut self.asking, &channel, &queue, &binding).await?;
                close(channel).await;
            }
            (Step::Unbind(queue, binding), _) => {
                let channel = self.channel().await?;
                topology::unbind(&mut self.asking, &channel, &queue, &binding).await?;
                close(channel).await;
            }
            (Step::Consume(queue), Some(tap)) => {
                if is_stream(&queue) {
                    return Err(Fault::stream(&queue.name));
                }
                // Where it is over there is a fault to come that says why.
                crew.switch(tap).await;
            }
            (Step::Retire(queue), _) => self.retire(crew, &queue).await?,
            (Step::Open(_) | Step::Consume(_), None) => unreachable!("who consumes has a tap"),
        }
        Ok(())
    }

    async fn open(&mut self, crew: &mut Crew, queue: &Queue, tap: Tap) -> Result<(), Fault> {
        let channel = self.channel().await?;
        topology::declare_queue(&mut self.asking, &channel, queue).await?;
        for binding in &queue.bind {
            topology::bind(&mut self.asking, &channel, &queue.name, binding).await?;
        }
        let consumer = topology::consume(&mut self.asking, &channel, queue).await?;
        crew.add(tap, channel, consumer);
        Ok(())
    }

    /// Gives up a queue. One that is ours alone gets nothing more, is emptied first, and then deleted; of others, what
    /// waits in it stays there.
    async fn retire(&mut self, crew: &mut Crew, queue: &Queue) -> Result<(), Fault> {
        let ours = self.is_ours(queue).await;
        let mut emptied = Ok(());
        if matches!(ours, Ok(true)) {
            emptied = self.empty(queue).await;
        }
        crew.retire(&queue.name).await;
        if matches!(ours, Ok(true)) && !queue.auto_delete {
            let channel = self.channel().await?;
            topology::delete(&mut self.asking, &channel, &queue.name).await?;
            close(channel).await;
        } else if matches!(ours, Ok(false)) {
            let queue = &queue.name;
            tracing::info!(
                queue,
                "no longer consumed; it stays at the broker, bound as it is, until it is deleted there"
            );
        }
        ours?;
        emptied
    }

    /// Whether a queue goes when it is consumed here no longer.
    async fn is_ours(&mut self, queue: &Queue) -> Result<bool, Fault> {
        if queue.passive || !queue.auto_delete {
            return Ok(queue.exclusive && !queue.passive);
        }
        let channel = self.channel().await?;
        let (_, consumers) = topology::look(&mut self.asking, &channel, &queue.name).await?;
        close(channel).await;
        Ok(queue.exclusive || consumers <= 1)
    }

    /// Takes away all bindings, and waits until all that waits has come.
    async fn empty(&mut self, queue: &Queue) -> Result<(), Fault> {
        let channel = self.channel().await?;
        for binding in &queue.bind {
            topology::unbind(&mut self.asking, &channel, &queue.name, binding).await?;
        }
        let until = Instant::now() + EMPTY_WITHIN;
        let mut ticks = interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let (left, _) = topology::look(&mut self.asking, &channel, &queue.name).await?;
            if left == 0 {
                break;
            }
            if Instant::now() >= until {
                let queue = &queue.name;
                tracing::warn!(
                    queue,
                    events = left,
                    "lanes lag behind a queue that is given up: what it holds is lost"
                );
                break;
            }
        }
        close(channel).await;
        Ok(())
    }

    /// What was declared for nothing.
    async fn discard(&mut self, queue: &str) {
        if let Ok(channel) = self.channel().await
            && topology::delete(&mut self.asking, &channel, queue).await.is_ok()
        {
            close(channel).await;
        }
    }

    async fn channel(&mut self) -> Result<Channel, Fault> {
        let step = self.asking.step.clone();
        self.asking.ask(step, self.connection.create_channel()).await
    }
}

/// One that is refused closes by itself.
async fn close(channel: Channel) {
    channel.close(200, "OK".into()).await.ok();
}

/// Whether each consumer of the queue reads all of it, from where it likes.
fn is_stream(queue: &Queue) -> bool {
    let is_kind = |(name, value): &(String, Scalar)| {
        name == "x-queue-type" && matches!(value, Scalar::Text(kind) if kind == "stream")
    };
    queue.arguments.iter().any(is_kind)
}
