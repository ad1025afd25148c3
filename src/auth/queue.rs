//! Who is asked for next: places for a few requests at once, and fair lines of those that wait. No I/O, no clock.
//!
//! Whose token it is, and so which tenant's, is not known before the answer. So the lines are of client addresses.
//!
//! Invariant: nobody waits while there is a place.
//! Invariant: those who wait get places in turn, one for each address, however many wait behind it.
//! Invariant: no more wait than the bound says. Where it is reached, the longest line gives way to shorter ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use hashbrown::HashMap;

/// How much may be under way, and how much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueBounds {
    /// Places: at least 1.
    pub(super) places: usize,
    /// Waiting, of all addresses together.
    pub(super) waiting: usize,
}

/// Whose turn it is: an address, or for IPv6 the network of 64 bits that one customer of a provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin(IpAddr);

/// A place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What becomes of somebody who comes.
#[derive(Debug)]
pub(super) enum Entrance<T> {
    /// There is a place: given back by [`Queue::next`].
    Now(T),
    /// It waits.
    Later {
        /// For [`Queue::leave`].
        ticket: Ticket,
        /// Who has to go for it: the last one of the longest line.
        displaced: Option<T>,
    },
    /// There is no room even to wait.
    Full(T),
}

/// Places, and the lines before them.
#[derive(Debug)]
pub(super) struct Queue<T> {
    bounds: QueueBounds,
    under_way: usize,
    waiting: usize,
    lines: HashMap<Origin, Line<T>>,
    /// The lines by their turns.
    turns: BTreeMap<u64, Origin>,
    /// The lines by their lengths.
    lengths: BTreeSet<(usize, Origin)>,
    tickets: u64,
    last_turn: u64,
}

#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<(Ticket, T)>,
    turn: u64,
}

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            under_way: 0,
            waiting: 0,
            lines: HashMap::new(),
            turns: BTreeMap::new(),
            lengths: BTreeSet::new(),
            tickets: 0,
            last_turn: 0,
        }
    }

    /// Somebody comes.
    pub(super) fn enter(&mut self, origin: Origin, who: T) -> Entrance<T> {
        if self.under_way < self.bounds.places {
            self.under_way += 1;
            return Entrance::Now(who);
        }
        let own = self.lines.get(&origin).map_or(0, |line| line.waiting.len());
        let mut displaced = None;
        if self.waiting >= self.bounds.waiting {
            match self.lengths.last() {
                Some((longest, other)) if *longest > own + 1 => displaced = self.take_last(*other),
                _ => return Entrance::Full(who),
            }
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting += 1;
        let turn = self.last_turn + 1;
        let line = self.lines.entry(origin).or_insert_with(|| Line { waiting: VecDeque::new(), turn });
        line.waiting.push_back((ticket, who));
        if own == 0 {
            self.last_turn = turn;
            self.turns.insert(turn, origin);
        }
        self.lengths.remove(&(own, origin));
        self.lengths.insert((own + 1, origin));
        Entrance::Later { ticket, displaced }
    }

    /// Somebody who waits goes away. Nothing where it has got its place, or lost it.
    pub(super) fn leave(&mut self, origin: Origin, ticket: Ticket) {
        let Some(line) = self.lines.get_mut(&origin) else { return };
        let Ok(index) = line.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else { return };
        line.waiting.remove(index);
        self.shortened(origin);
    }

    /// A place is free: who gets it, or nobody, where nobody waits.
    pub(super) fn next(&mut self) -> Option<T> {
        let Some((_, origin)) = self.turns.pop_first() else {
            self.under_way = self.under_way.saturating_sub(1);
            return None;
        };
        self.last_turn += 1;
        let line = self.lines.get_mut(&origin)?;
        line.turn = self.last_turn;
        let who = line.waiting.pop_front();
        self.turns.insert(self.last_turn, origin);
        self.shortened(origin);
        who.map(|(_, who)| who)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    fn take_last(&mut self, origin: Origin) -> Option<T> {
        let (_, who) = self.lines.get_mut(&origin)?.waiting.pop_back()?;
        self.shortened(origin);
        Some(who)
    }

    /// One has left this line.
    fn shortened(&mut self, origin: Origin) {
        self.waiting -= 1;
        let Some(line) = self.lines.get(&origin) else { return };
        let left = line.waiting.len();
        self.lengths.remove(&(left + 1, origin));
        if left > 0 {
            self.lengths.insert((left, origin));
        } else {
            self.turns.remove(&line.turn);
            self.lines.remove(&origin);
        }
    }
}

#[cfg(test)]
mod tests;
