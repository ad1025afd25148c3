//! The places before a provider, for those that can wait for one.
//!
//! Invariant: a place or a wait that is dropped, for whatever reason, is given to the next one.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;

use super::queue::{Entrance, Origin, Queue, QueueBounds, Ticket};

/// Lets a few in at once, in turn by client address. Cheap to clone.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    queue: Mutex<Queue<oneshot::Sender<Place>>>,
    in_flight: Gauge,
    waiting: Gauge,
}

/// A place, given to the next one when it is dropped.
pub(super) struct Place(Option<Gate>);

/// Somebody who waits.
struct Waiting<'a> {
    gate: &'a Gate,
    origin: Origin,
    ticket: Ticket,
}

impl Gate {
    pub(super) fn new(bounds: QueueBounds, in_flight: Gauge, waiting: Gauge) -> Self {
        Self(Arc::new(Inner { queue: Mutex::new(Queue::new(bounds)), in_flight, waiting }))
    }

    /// Waits for a place. `None` where there is no room to wait, or no longer.
    pub(super) async fn enter(&self, remote: IpAddr) -> Option<Place> {
        let origin = Origin::of(remote);
        let (sender, place) = oneshot::channel();
        let entrance = self.lock().enter(origin, sender);
        match entrance {
            Entrance::Now(_) => {
                self.0.in_flight.inc();
                Some(Place(Some(self.clone())))
            }
            Entrance::Later { ticket, displaced } => {
                // It hears of it by that.
                drop(displaced);
                let _waiting = Waiting::new(self, origin, ticket);
                place.await.ok()
            }
            Entrance::Full(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<oneshot::Sender<Place>>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate, origin: Origin, ticket: Ticket) -> Self {
        gate.0.waiting.inc();
        Self { gate, origin, ticket }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.0.waiting.dec();
        self.gate.lock().leave(self.origin, self.ticket);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        loop {
            let next = gate.lock().next();
            let Some(next) = next else {
                gate.0.in_flight.dec();
                return;
            };
            match next.send(Self(Some(gate.clone()))) {
                Ok(()) => return,
                // It has just gone away: the place is the next one's, and not given back twice.
                Err(mut place) => place.0 = None,
            }
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({} waiting)", self.lock().waiting())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn gate(places: usize, waiting: usize) -> Gate {
        Gate::new(QueueBounds { places, waiting }, Gauge::default(), Gauge::default())
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    fn counts(gate: &Gate) -> (i64, i64) {
        (gate.0.in_flight.get(), gate.0.waiting.get())
    }

    #[tokio::test]
    async fn a_place_is_handed_on_and_in_the_end_given_back() {
        let gate = gate(1, 8);
        let place = gate.enter(address(1)).await.unwrap();
        let later = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(address(2)).await.is_some() }
        });
        while counts(&gate) != (1, 1) {
            tokio::task::yield_now().await;
        }
        drop(place);
        assert!(later.await.unwrap());
        assert_eq!(counts(&gate), (0, 0));
        assert!(gate.enter(address(3)).await.is_some());
    }

    #[tokio::test]
    async fn who_is_gone_before_its_turn_takes_no_place_with_it() {
        let gate = gate(1, 8);
        let place = gate.enter(address(1)).await.unwrap();
        let mut gone = Box::pin(gate.enter(address(2)));
        let mut late = Box::pin(gate.enter(address(3)));
        assert!((&mut gone).now_or_never().is_none() && (&mut late).now_or_never().is_none());
        drop(gone);
        assert_eq!(counts(&gate), (1, 1));
        drop(place);
        // It has got its place, and goes away without having taken it.
        drop(late);
        assert_eq!(counts(&gate), (0, 0));
        assert!(gate.enter(address(4)).await.is_some());
    }

    #[tokio::test]
    async fn without_room_there_is_no_waiting() {
        let gate = gate(1, 2);
        let _place = gate.enter(address(1)).await.unwrap();
        let mut first = Box::pin(gate.enter(address(1)));
        let mut second = Box::pin(gate.enter(address(1)));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert!(gate.enter(address(1)).await.is_none());
        // Another address has room, at the cost of the longest line.
        let mut other = Box::pin(gate.enter(address(2)));
        assert!((&mut other).now_or_never().is_none());
        assert!(second.await.is_none());
        assert_eq!(counts(&gate), (1, 2));
    }
}
