//! Another configuration while there is a connection: done on that, or by way of another one.

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use super::Change;
use super::change::{Asked, Refused};
use super::connection::{End, News, Order, Task};
use super::endpoint::Endpoint;
use super::fault::Fault;
use super::link::Link;
use super::plan::{Step, Topology};
use super::supervisor::{self, Supervisor, same_urls};
use crate::config::Amqp;

/// What a configuration means for the connection that is there, by the place of the URL in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is the one that is wanted.
    Stays(usize),
    /// It is where it should be, but was made as somebody else, or in trust of others.
    Proves(usize),
    /// It is elsewhere.
    Moves,
}

impl Supervisor {
    /// Goes on as a change says. Answers how the connection ended, where it did.
    pub(super) async fn change(&mut self, link: &mut Link, Change { amqp, done }: Change) -> Option<End> {
        let way = self.way(link, &amqp);
        let end = match way {
            Way::Stays(turn) | Way::Proves(turn) => {
                self.adopt(amqp);
                self.turn = turn;
                let proven = if way == Way::Proves(turn) { self.prove(link).await } else { Ok(Vec::new()) };
                match proven {
                    Ok(mut unapplied) => self.renew(link).await.map(|refused| {
                        unapplied.extend(refused);
                        unapplied
                    }),
                    Err(end) => Err(end),
                }
            }
            Way::Moves => self.moves(link, amqp).await,
        };
        let (unapplied, end) = match end {
            Ok(unapplied) => (unapplied, None),
            // All of it is for the next connection.
            Err(end) => (Vec::new(), Some(end)),
        };
        answer(done, unapplied);
        end
    }

    fn way(&self, link: &Link, amqp: &Amqp) -> Way {
        let same_tls = !link.endpoint.tls() || link.tls == amqp.tls;
        let same = amqp.urls.iter().position(|url| same_url(url, &link.url));
        if let Some(turn) = same.filter(|_| same_tls) {
            return Way::Stays(turn);
        }
        let is_place = |url: &SecretString| Endpoint::parse(url).is_ok_and(|other| other.is_place_of(&link.endpoint));
        match amqp.urls.iter().position(is_place) {
            // It was found out before how that does.
            Some(turn) if same_urls(amqp, &self.wanted) && amqp.tls == self.wanted.tls => Way::Stays(turn),
            Some(turn) => Way::Proves(turn),
            None => Way::Moves,
        }
    }

    /// Has the connection that is there do what makes `current` of it, which it is not yet. Answers what it could not.
    pub(super) async fn renew(&mut self, link: &mut Link) -> Result<Vec<String>, End> {
        let wanted = Topology::of(&self.wanted).named(&self.part);
        let steps = self.current.plan(&wanted);
        if steps.is_empty() {
            self.current = wanted;
            return Ok(Vec::new());
        }
        let mut asked = Vec::with_capacity(steps.len());
        for step in &steps {
            let tap = match step {
                Step::Open(queue) | Step::Consume(queue) => Some(self.taps.of(queue)),
                _ => None,
            };
            asked.push(Asked { step: step.clone(), tap });
        }
        link.order(Order::Change(asked)).await;
        let refused = loop {
            match self.hear(link).await {
                News::Changed(refused) => break refused,
                News::End(end) => return Err(end),
                _ => {}
            }
        };
        let is_refused = |index: usize| refused.iter().any(|refused| refused.index == index);
        for (_, step) in steps.iter().enumerate().filter(|(index, _)| !is_refused(*index)) {
            self.current.apply(step);
        }
        self.taps.keep(&self.current.queues);
        tracing::info!(steps = steps.len(), refused = refused.len(), "what is declared at the broker has changed");
        Ok(refused.iter().map(|Refused { index, fault }| said(&steps[*index], fault)).collect())
    }

    /// Finds out, by a connection beside, whether the next one will come in.
    async fn prove(&mut self, link: &mut Link) -> Result<Vec<String>, End> {
        let beside = match self.link(self.turn, &Topology::default(), true) {
            Ok(mut next) => self.beside(link, &mut next).await?,
            Err(fault) => Err(fault),
        };
        Ok(match beside {
            Ok(()) => {
                tracing::info!(broker = %link.endpoint, "the next connection to the broker is made in another way");
                Vec::new()
            }
            Err(fault) => {
                vec![format!("{fault}; the connection that is there stays, and the next one would be refused")]
            }
        })
    }

    /// Connects to the first of the new brokers that lets itself be connected to, and leaves the old one then. Answers
    /// why it stays where it is.
    async fn moves(&mut self, link: &mut Link, amqp: Amqp) -> Result<Vec<String>, End> {
        // It may be the same broker by another name, where the connection that is there holds its queues.
        let part = supervisor::part();
        let topology = Topology::of(&amqp).named(&part);
        let before = self.turn;
        self.adopt(amqp);
        let mut refused = Vec::new();
        for turn in 0..self.endpoints.len() {
            let beside = match self.link(turn, &topology, true) {
                Ok(mut next) => self.beside(link, &mut next).await?.map(|()| Some(next)),
                Err(fault) => Err(fault),
            };
            let next = match beside {
                Ok(next) => next,
                // The same broker by another name: our own connection holds what the next one needs.
                Err(fault) if fault.passes() => None,
                Err(fault) => {
                    refused.push(format!("{fault}; the connection to {} stays until it is lost", link.endpoint));
                    continue;
                }
            };
            (self.turn, self.part) = (turn, part);
            return self.hand_over(link, next, topology).await.map(|()| Vec::new());
        }
        self.turn = before.min(self.endpoints.len() - 1);
        Ok(refused)
    }

    /// Leaves the old connection for the next one: for the one that waits where there is one, and else for one that is
    /// made when the old one is over.
    async fn hand_over(&mut self, link: &mut Link, next: Option<Link>, topology: Topology) -> Result<(), End> {
        link.order(Order::Leave(self.current.queues.clone())).await;
        loop {
            match self.hear(link).await {
                News::HandedOn if next.is_some() => break,
                News::End(_) => break,
                _ => {}
            }
        }
        let next = if let Some(next) = next {
            next
        } else {
            let why = "it is the same broker by another name, and an exclusive queue with a fixed name stays locked until \
                       the old connection ends: events that are published to it in between are missed";
            tracing::warn!(from = %link.endpoint, why, "the old connection to the broker ends before the next begins");
            self.link(self.turn, &topology, false).map_err(|fault| End::Lost(fault, None))?
        };
        tracing::info!(from = %link.endpoint, to = %next.endpoint, "events come from another broker from now on");
        next.order(Order::Go).await;
        // The old one ends by itself, when what lanes hold is acknowledged.
        *link = next;
        loop {
            match self.hear(link).await {
                News::Up => break,
                News::End(end) => return Err(end),
                _ => {}
            }
        }
        self.current = topology;
        self.taps.keep(&self.current.queues);
        self.up(link);
        Ok(())
    }

    /// Waits until a connection that is made beside the one that is there has declared what it should. Answers why not.
    async fn beside(&self, link: &mut Link, next: &mut Link) -> Result<Result<(), Fault>, End> {
        loop {
            tokio::select! {
                biased;
                news = self.hear(link) => if let News::End(end) = news {
                    return Err(end);
                },
                news = next.news() => match news {
                    News::Ready => return Ok(Ok(())),
                    News::End(End::Lost(fault, _)) => return Ok(Err(fault)),
                    News::End(End::Stopped) => return Ok(Err(Fault::local("it was stopped"))),
                    _ => {}
                },
            }
        }
    }

    /// Begins a connection by the URL of this place that declares this, and then waits for the word, where it should.
    pub(super) fn link(&mut self, turn: usize, topology: &Topology, waits: bool) -> Result<Link, Fault> {
        let endpoint = self.endpoints[turn].clone()?;
        let task = Task {
            endpoint,
            tls: self.wanted.tls.clone(),
            name: self.name.clone(),
            exchanges: topology.exchanges.clone(),
            taps: topology.queues.iter().map(|queue| self.taps.of(queue)).collect(),
            waits,
        };
        Link::start(self.wanted.urls[turn].clone(), task, &self.feed).map_err(Fault::local)
    }
}

fn answer(done: oneshot::Sender<Result<(), Vec<String>>>, unapplied: Vec<String>) {
    warn_of(&unapplied);
    // Who asked may have lost patience.
    done.send(if unapplied.is_empty() { Ok(()) } else { Err(unapplied) }).ok();
}

/// Says in the log what could not be done.
pub(super) fn warn_of(unapplied: &[String]) {
    for reason in unapplied {
        tracing::warn!(reason, "a change of `amqp` could not be applied");
    }
}

/// What could not be done, and what that means.
fn said(step: &Step, fault: &Fault) -> String {
    match step {
        Step::Exchange(_) | Step::Redeclare(_) => format!("{fault}; where it was there before, it is used as it is"),
        _ => fault.to_string(),
    }
}

/// Whether it is the same, as the same user.
pub(super) fn same_url(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}
