//! Events for one user each, as T4 and T5 publish them: who the users are, and whether each client got exactly its own.
//!
//! Event `n` is for user `n × STEP mod users`. So every user gets one event of so many in a row, which of them is known
//! without a table, and a client's next event comes `users` after its last one.
//!
//! Invariant: nothing is allocated per message, and every payload is compared, byte for byte, with what was published.

use std::ops::Range;
use std::time::Duration;

use crate::client::{Client, Hello};
use crate::crowd::Crowd;
use crate::server::Server;
use crate::stats::now;
use crate::{Options, Outcome};

/// Customers that the users belong to.
pub(crate) const TENANTS: u64 = 100;
/// A prime that divides no number of users here: neighbours in time are no neighbours otherwise.
const STEP: u64 = 7919;
/// A server that sends nothing for this long, while something is awaited, has lost it.
const STALL: Duration = Duration::from_secs(5);
const NAP: Duration = Duration::from_micros(500);

/// All users, by index. Three of them have six connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Users(u64);

/// What an event for one user looks like: some 270 bytes, always as long.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    body: Vec<u8>,
    payload: Range<usize>,
    tenant: usize,
    user: usize,
    number: usize,
}

/// All clients, and what each of them is still to get.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    crowd: Crowd,
    due: Due,
}

#[derive(Debug)]
struct Due {
    users: Users,
    /// The user of each client, and the number of the event that is next for it.
    next: Vec<(u64, u64)>,
    /// Events below this number are published.
    published: u64,
    missing: usize,
    letter: Letter,
    /// Where in a message the payload begins, and how long a message is: of the first one that came.
    shape: Option<(usize, usize)>,
}

impl Users {
    pub(crate) fn new(options: Options) -> Self {
        Self(if options.short { 120 } else { 2_500 })
    }

    /// How many there are.
    pub(crate) fn count(self) -> u64 {
        self.0
    }

    /// Whom an event is for.
    pub(crate) fn of(self, event: u64) -> u64 {
        event * STEP % self.0
    }

    /// How many connections a user has: one to three.
    pub(crate) fn sessions(user: u64) -> usize {
        [2, 1, 3][usize::try_from(user % 3).expect("below three")]
    }

    /// The connections of all.
    pub(crate) fn connections(self) -> usize {
        (0..self.0).map(Self::sessions).sum()
    }
}

impl Letter {
    pub(crate) fn new() -> Self {
        let text = r#"{"data":{"type":"deal.moved","tenant_id":"t00","user_id":"u00000","event":"000000000000","deal_id":4711,"board":"sales","from":"negotiation","to":"won","title":"A hundred and twenty office chairs, delivered in March","amount":"48,250.00","currency":"EUR","actor":{"id":815,"name":"Ann"}}}"#;
        let at = |part: &str| text.find(part).expect("part of it") + 1;
        Self {
            payload: at(":{")..text.len() - 1,
            tenant: at("\"t00") + 1,
            user: at("\"u00000") + 1,
            number: at("\"0000000"),
            body: text.into(),
        }
    }

    /// What is published for this user under this number.
    pub(crate) fn write(&mut self, number: u64, user: u64) -> &[u8] {
        digits(&mut self.body[self.tenant..][..2], user % TENANTS);
        digits(&mut self.body[self.user..][..5], user);
        digits(&mut self.body[self.number..][..12], number);
        &self.body
    }

    /// What of it clients get.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.body[self.payload.clone()]
    }

    /// The number in something that [`write`](Self::write) made.
    pub(crate) fn number_of(&self, body: &[u8]) -> Outcome<u64> {
        let digits = body.get(self.number..self.number + 12).ok_or("something else than what was published")?;
        Ok(std::str::from_utf8(digits)?.parse()?)
    }
}

impl Mailboxes {
    /// Connects all of them; the first event will be number 0.
    pub(crate) fn connect(server: &Server, users: Users) -> Outcome<Self> {
        let mut first = vec![0; usize::try_from(users.count())?];
        for event in 0..users.count() {
            first[usize::try_from(users.of(event))?] = event;
        }
        let mut crowd = Crowd::new()?;
        let mut next = Vec::with_capacity(users.connections());
        for (user, first) in (0..).zip(first) {
            let token = format!("t{:02}-u{user:05}", user % TENANTS);
            for _ in 0..Users::sessions(user) {
                let hello = Hello { token: token.clone(), topics: Vec::new() };
                crowd.add(Client::connect(server.clients, Some(&hello))?)?;
                next.push((user, first));
            }
        }
        let due = Due { users, next, published: 0, missing: 0, letter: Letter::new(), shape: None };
        Ok(Self { crowd, due })
    }

    /// So many events more will be published. Answers their numbers.
    pub(crate) fn expect(&mut self, events: u64) -> Range<u64> {
        let due = &mut self.due;
        let numbers = due.published..due.published + events;
        due.missing += numbers.clone().map(|number| Users::sessions(due.users.of(number))).sum::<usize>();
        due.published = numbers.end;
        numbers
    }

    /// Comes back when all that is due has arrived. `each` gets the number of each message's event.
    pub(crate) fn collect(&mut self, mut each: impl FnMut(u64) -> Outcome<()>) -> Outcome<()> {
        while self.due.missing > 0 {
            if self.turn(STALL, &mut each)? {
                return self.stalled();
            }
        }
        Ok(())
    }

    /// As [`collect`](Self::collect), but looks only every [`NAP`]. A reader that waits for each message has to be woken
    /// for it, by whoever sends: on one machine that is a third of what sending costs the server, and no client that is
    /// elsewhere has it pay that.
    pub(crate) fn collect_at_leisure(&mut self) -> Outcome<()> {
        let mut last = now();
        while self.due.missing > 0 {
            if !self.turn(Duration::ZERO, |_| Ok(()))? {
                last = now();
            } else if last.elapsed() > STALL {
                return self.stalled();
            } else {
                std::thread::park_timeout(NAP);
            }
        }
        Ok(())
    }

    /// Waits for a while in which nothing may arrive: whatever does is one message too many.
    pub(crate) fn stay_quiet(&mut self, time: Duration) -> Outcome<()> {
        let deadline = now() + time;
        while let Some(left) = deadline.checked_duration_since(now()).filter(|left| !left.is_zero()) {
            self.turn(left, |_| Ok(()))?;
        }
        Ok(())
    }

    /// Answers whether nothing came in this time.
    fn turn(&mut self, timeout: Duration, mut each: impl FnMut(u64) -> Outcome<()>) -> Outcome<bool> {
        let due = &mut self.due;
        Ok(self.crowd.turn(timeout, |client, message| each(due.arrived(client, message)?))?.quiet)
    }

    fn stalled(&self) -> Outcome<()> {
        Err(format!("{} messages did not arrive within {STALL:?}", self.due.missing).into())
    }
}

impl Due {
    fn arrived(&mut self, client: usize, message: &[u8]) -> Outcome<u64> {
        let (user, number) = self.next[client];
        self.letter.write(number, user);
        let payload = self.letter.payload();
        let (start, length) = *self.shape.get_or_insert_with(|| {
            let start = message.windows(payload.len()).position(|part| part == payload);
            (start.unwrap_or_default(), message.len())
        });
        let same = message.get(start..start + payload.len()) == Some(payload) && message.len() == length;
        if !same || number >= self.published {
            let message = String::from_utf8_lossy(message);
            return Err(format!("user {user} was to get event {number}, but a client of theirs got {message}").into());
        }
        self.next[client].1 += self.users.count();
        self.missing -= 1;
        Ok(number)
    }
}

/// Writes a number with leading zeros.
fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}
