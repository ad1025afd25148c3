//! When a plugin that fails again and again is put aside: its circuit breaker.
//!
//! Invariant: while it is put aside nothing calls it. Then one call tries it, and what comes of that decides.

use std::hash::Hash;
use std::time::Instant;

use hashbrown::HashMap;

use crate::config;

/// Tenants or addresses with a breaker of their own. More share one.
const COUNTED: usize = 1_024;

/// The breaker of one hook of a plugin, in one thread, for one tenant or address.
#[derive(Debug)]
struct Breaker {
    rule: config::Breaker,
    state: State,
}

/// The breakers of one hook of a plugin, in one thread, by tenant or address. What one of them sends can make the hook
/// fail: then it is put aside for that one, and goes on for the others.
#[derive(Debug)]
pub struct Breakers<K> {
    rule: config::Breaker,
    /// Of those for whom it failed last.
    own: HashMap<K, Breaker>,
    /// Of those for whom there was no room.
    others: Breaker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is called, and has failed so often in a row.
    Closed { failures: u32 },
    /// It is not called until then.
    Open { until: Instant },
    /// One call tries it. Should that never end, another one does then.
    Trying { until: Instant },
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has a result.
    Well,
    /// The plugin failed.
    Badly,
    /// What it needs was not there, which is no fault of its own.
    Neither,
}

/// What an ending changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is put aside.
    Opened,
    /// It is called again.
    Closed,
}

impl Breaker {
    /// One that lets calls through.
    fn new(rule: config::Breaker) -> Self {
        Self { rule, state: State::Closed { failures: 0 } }
    }

    /// Whether a call may be made now. One that was let through ends, or is dropped.
    fn admit(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } | State::Trying { until } if now < until => false,
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying { until: now + self.rule.retry };
                true
            }
        }
    }

    /// A call has ended like this.
    fn ended(&mut self, ending: Ending, now: Instant) -> Option<Change> {
        let open = State::Open { until: now + self.rule.retry };
        let (state, change) = match (self.state, ending) {
            (State::Closed { .. }, Ending::Well) => (State::Closed { failures: 0 }, None),
            (State::Closed { failures }, Ending::Badly) if failures + 1 < self.rule.failures => {
                (State::Closed { failures: failures + 1 }, None)
            }
            (State::Closed { .. }, Ending::Badly) => (open, Some(Change::Opened)),
            (State::Trying { .. }, Ending::Well) => (State::Closed { failures: 0 }, Some(Change::Closed)),
            (State::Trying { .. }, Ending::Badly) => (open, None),
            // The next call tries it.
            (State::Trying { .. }, Ending::Neither) => (State::Open { until: now }, None),
            // It began before.
            (State::Open { .. }, _) | (State::Closed { .. }, Ending::Neither) => return None,
        };
        self.state = state;
        change
    }

    /// Whether it is put aside, a call that tries it or not.
    fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

impl<K: Clone + Eq + Hash> Breakers<K> {
    /// Those that let calls through for everybody.
    pub fn new(rule: config::Breaker) -> Self {
        Self { rule, own: HashMap::new(), others: Breaker::new(rule) }
    }

    /// Whether a call may be made for this one now. One that was let through ends, or is dropped.
    pub fn admit(&mut self, whom: &K, now: Instant) -> bool {
        match self.own.get_mut(whom) {
            Some(own) => own.admit(now),
            None => self.own.len() < COUNTED || self.others.admit(now),
        }
    }

    /// A call for this one has ended like this.
    pub fn ended(&mut self, whom: &K, ending: Ending, now: Instant) -> Option<Change> {
        if let Some(own) = self.own.get_mut(whom) {
            let change = own.ended(ending, now);
            // For whom it works again, it is as for those for whom it always did.
            if ending == Ending::Well && !own.is_open() {
                self.own.remove(whom);
            }
            return change;
        }
        if ending == Ending::Badly && self.own.len() == COUNTED {
            // Room for those who are put aside: they cannot make it by being many.
            self.own.retain(|_, breaker| breaker.is_open());
        }
        if self.own.len() == COUNTED {
            return self.others.ended(ending, now);
        }
        if ending != Ending::Badly {
            return None;
        }
        self.own.entry(whom.clone()).or_insert_with(|| Breaker::new(self.rule)).ended(ending, now)
    }

    /// For how many the hook is put aside.
    pub fn open(&self) -> usize {
        self.own.values().chain([&self.others]).filter(|breaker| breaker.is_open()).count()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
mod tests {
    use std::time::Duration;

    use super::*;

    const RETRY: Duration = Duration::from_secs(10);

    /// Plays a script of letters, and says what came of each call: `w`ell, `b`adly, `n`either; `.` lets half of the time
    /// pass, `!` is a call that never ends.
    fn play(script: &str) -> String {
        let mut breaker = Breaker::new(config::Breaker { failures: 3, retry: RETRY });
        let mut now = Instant::now();
        let mut said = String::new();
        for letter in script.chars() {
            if letter == '.' {
                now += RETRY / 2;
                said.push('.');
                continue;
            }
            if !breaker.admit(now) {
                said.push('-');
                continue;
            }
            let ending = match letter {
                'w' => Ending::Well,
                'b' => Ending::Badly,
                'n' => Ending::Neither,
                _ => {
                    said.push('!');
                    continue;
                }
            };
            said.push(match breaker.ended(ending, now) {
                None => letter,
                Some(Change::Opened) => 'O',
                Some(Change::Closed) => 'C',
            });
        }
        said
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_call_tries_again() {
        let plays = [
            ("bbwbbb", "bbwbbO"),
            ("bbnbb", "bbnO-"),
            ("bbbww", "bbO--"),
            ("bbbw.w.ww", "bbO-.-.Cw"),
            ("bbb..bw.w.bw..wbbwbbb", "bbO..b-.-.b-..CbbwbbO"),
            // What the plugin is not to blame for says nothing of it.
            ("bbb..nnw", "bbO..nnC"),
            // A call that tries it and never ends is followed by another one.
            ("bbb..!w.w.w", "bbO..!-.-.C"),
        ];
        for (script, expected) in plays {
            assert_eq!(play(script), expected, "{script}");
        }
    }

    #[test]
    fn a_call_that_began_before_it_opened_changes_nothing() {
        let now = Instant::now();
        let mut breaker = Breaker::new(config::Breaker { failures: 1, retry: RETRY });
        assert!(breaker.admit(now) && breaker.admit(now));
        assert_eq!(breaker.ended(Ending::Badly, now), Some(Change::Opened));
        assert_eq!(breaker.ended(Ending::Well, now), None);
        assert!(breaker.is_open() && !breaker.admit(now));
    }

    #[test]
    fn one_for_whom_it_fails_puts_it_aside_for_nobody_else() {
        let mut now = Instant::now();
        let mut breakers = Breakers::new(config::Breaker { failures: 2, retry: RETRY });
        assert!(breakers.admit(&0, now));
        assert_eq!(breakers.ended(&0, Ending::Badly, now), None);
        assert_eq!(breakers.ended(&0, Ending::Badly, now), Some(Change::Opened));
        assert_eq!((breakers.admit(&0, now), breakers.admit(&1, now), breakers.open()), (false, true, 1));
        now += RETRY;
        assert!(breakers.admit(&0, now));
        assert_eq!(breakers.ended(&0, Ending::Well, now), Some(Change::Closed));
        assert_eq!((breakers.open(), breakers.own.len()), (0, 0));
    }

    #[test]
    fn those_who_are_too_many_share_one() {
        let now = Instant::now();
        let mut breakers = Breakers::new(config::Breaker { failures: 2, retry: RETRY });
        // Once each puts nobody aside, however many they are.
        for whom in 0..10 * COUNTED {
            assert_eq!(breakers.ended(&whom, Ending::Badly, now), None);
        }
        assert_eq!(breakers.open(), 0);
        for whom in 0..COUNTED {
            for _ in 0..2 {
                breakers.ended(&whom, Ending::Badly, now);
            }
        }
        assert!(breakers.own.len() <= COUNTED && breakers.open() >= COUNTED - 1);
        for whom in [20 * COUNTED, 20 * COUNTED + 1, 20 * COUNTED + 2] {
            breakers.ended(&whom, Ending::Badly, now);
        }
        assert!(!breakers.admit(&0, now) && !breakers.admit(&(30 * COUNTED), now));
    }
}
