//! What a change of the configuration asks of a broker, step by step: a pure function.
//!
//! What is new comes first and what is gone last, so that an event always has a way. Nothing that others may use is
//! deleted: an exchange or a lasting queue that is configured no longer stays at the broker.
//!
//! Invariant: a topology to which each step of its plan was applied is the one that was wanted.

use super::fault;
use crate::config::{Amqp, Binding, Exchange, Queue};

/// What is declared at a broker, and consumed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Topology {
    pub(super) exchanges: Vec<Exchange>,
    pub(super) queues: Vec<Queue>,
}

/// One thing to ask. Each may be refused by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Declare this exchange: it is new, or has changed, which the broker accepts of one that it has not.
    Exchange(Exchange),
    /// This exchange is configured no longer. Nothing is asked for that.
    Forget(String),
    /// Declare and bind this new queue, and consume it.
    Open(Queue),
    /// Declare this queue as what it has become, as the broker accepts it of one that it has as such.
    Redeclare(Queue),
    /// Bind the queue of this name.
    Bind(String, Binding),
    /// It is bound so no longer.
    Unbind(String, Binding),
    /// Consume this queue by another prefetch, or acknowledge where that was not done, or the other way round.
    Consume(Queue),
    /// Consume this queue no longer.
    Retire(Queue),
}

impl Topology {
    /// That of a configuration.
    pub(super) fn of(amqp: &Amqp) -> Self {
        Self { exchanges: amqp.exchanges.clone(), queues: amqp.queues.clone() }
    }

    /// The same with the names that its queues have at a connection of this part.
    pub(super) fn named(mut self, part: &str) -> Self {
        for queue in &mut self.queues {
            if let Some(stem) = &queue.stem {
                queue.name = format!("{stem}.{part}");
            }
        }
        self
    }

    /// What makes `wanted` of this.
    pub(super) fn plan(&self, wanted: &Self) -> Vec<Step> {
        let mut steps = Vec::new();
        let changed: Vec<&Exchange> = wanted.exchanges.iter().filter(|own| !self.exchanges.contains(own)).collect();
        steps.extend(changed.iter().map(|exchange| Step::Exchange((*exchange).clone())));
        let (mut open, mut redeclare, mut bind, mut unbind, mut consume) = (vec![], vec![], vec![], vec![], vec![]);
        for queue in &wanted.queues {
            let Some(own) = self.queue(&queue.name) else {
                open.push(Step::Open(queue.clone()));
                continue;
            };
            if !is_declared_alike(own, queue) {
                redeclare.push(Step::Redeclare(queue.clone()));
            }
            // An exchange that is declared anew may have been away, and its bindings with it.
            let anew = |binding: &&Binding| {
                !own.bind.contains(binding) || changed.iter().any(|exchange| exchange.name == binding.exchange)
            };
            bind.extend(queue.bind.iter().filter(anew).map(|binding| Step::Bind(queue.name.clone(), binding.clone())));
            let gone = own.bind.iter().filter(|binding| !queue.bind.contains(binding));
            unbind.extend(gone.map(|binding| Step::Unbind(queue.name.clone(), binding.clone())));
            if (own.no_ack, own.prefetch) != (queue.no_ack, queue.prefetch) {
                consume.push(Step::Consume(queue.clone()));
            }
        }
        for part in [open, redeclare, bind, unbind, consume] {
            steps.extend(part);
        }
        let gone = self.queues.iter().filter(|own| wanted.queue(&own.name).is_none());
        steps.extend(gone.map(|own| Step::Retire(own.clone())));
        let gone = self.exchanges.iter().filter(|own| !wanted.exchanges.iter().any(|other| other.name == own.name));
        steps.extend(gone.map(|own| Step::Forget(own.name.clone())));
        steps
    }

    /// This has been done.
    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Exchange(exchange) => {
                self.exchanges.retain(|own| own.name != exchange.name);
                self.exchanges.push(exchange.clone());
            }
            Step::Forget(name) => self.exchanges.retain(|own| own.name != *name),
            Step::Open(queue) => self.queues.push(queue.clone()),
            Step::Redeclare(queue) => self.with(&queue.name, |own| {
                let (bind, prefetch, no_ack) = (std::mem::take(&mut own.bind), own.prefetch, own.no_ack);
                *own = Queue { bind, prefetch, no_ack, ..queue.clone() };
            }),
            Step::Bind(queue, binding) => self.with(queue, |own| {
                if !own.bind.contains(binding) {
                    own.bind.push(binding.clone());
                }
            }),
            Step::Unbind(queue, binding) => self.with(queue, |own| own.bind.retain(|own| own != binding)),
            Step::Consume(queue) => {
                self.with(&queue.name, |own| (own.prefetch, own.no_ack) = (queue.prefetch, queue.no_ack));
            }
            Step::Retire(queue) => self.queues.retain(|own| own.name != queue.name),
        }
    }

    fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.iter().find(|own| own.name == name)
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut Queue)) {
        if let Some(own) = self.queues.iter_mut().find(|own| own.name == name) {
            change(own);
        }
    }
}

impl Step {
    /// What is asked, as faults name it.
    pub(super) fn asks(&self) -> fault::Step {
        match self {
            Self::Exchange(exchange) => fault::Step::Exchange(exchange.name.clone()),
            Self::Forget(name) => fault::Step::Exchange(name.clone()),
            Self::Open(queue) | Self::Redeclare(queue) => fault::Step::Queue(queue.name.clone()),
            Self::Bind(queue, binding) => fault::Step::Binding(queue.clone(), binding.exchange.clone()),
            Self::Unbind(queue, binding) => fault::Step::Unbinding(queue.clone(), binding.exchange.clone()),
            Self::Consume(queue) => fault::Step::Consuming(queue.name.clone()),
            Self::Retire(queue) => fault::Step::Retiring(queue.name.clone()),
        }
    }
}

/// Whether the broker could not tell the two by how they are declared.
fn is_declared_alike(one: &Queue, other: &Queue) -> bool {
    let declared = |queue: &Queue| (queue.durable, queue.exclusive, queue.auto_delete, queue.passive);
    declared(one) == declared(other) && one.arguments == other.arguments
}

#[cfg(test)]
mod tests;
