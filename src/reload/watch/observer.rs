//! When to look at the files, and when what is seen is taken up: without files, hints and clock.
//!
//! A hint says that something may have changed. When it has been quiet for half a while there is a look, and after the
//! other half there is another one. What both have seen, and is not what is known already, is taken up. Without any hint
//! there is a look every few seconds all the same.

use std::time::{Duration, Instant};

/// How long it must be quiet where one file has changed: short enough that who saves it sees at once what comes of it.
pub(super) const QUIET: Duration = Duration::from_millis(150);
/// How much longer where several have: whoever writes them one after the other may be held up in between, and half of a
/// change is none that anybody wants. No more than leaves time to be in force within a quarter of a second.
const SEVERAL: Duration = Duration::from_millis(50);
/// How far apart two looks are at least, if they are to agree.
const APART: Duration = Duration::from_millis(75);
/// After so long, quiet is no longer waited for: somebody else writes into the same folder all the time.
const LONGEST: Duration = Duration::from_secs(3);
/// How soon there is another look if the last one could not see anything.
const AGAIN: Duration = Duration::from_secs(1);
/// How often there is a look in any case.
pub(super) const POLL: Duration = Duration::from_secs(10);

/// What has been seen of something.
#[derive(Debug)]
pub(super) struct Observer<S> {
    /// What was taken up last.
    known: S,
    /// What the last look saw, where that is something else.
    seen: Option<S>,
    stirred: Option<Stirred>,
    due: Instant,
}

/// There were hints.
#[derive(Clone, Copy, Debug)]
struct Stirred {
    since: Instant,
    /// When it counts as quiet, unless another hint comes.
    until: Instant,
}

impl<S: PartialEq> Observer<S> {
    /// This is known.
    pub(super) fn new(known: S, now: Instant) -> Self {
        Self { known, seen: None, stirred: None, due: now }
    }

    /// What is known.
    pub(super) fn known(&self) -> &S {
        &self.known
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Something may have changed.
    pub(super) fn hint(&mut self, now: Instant) {
        match &mut self.stirred {
            None => {
                self.stirred = Some(Stirred { since: now, until: now + QUIET });
                self.due = self.due.min(now + APART);
            }
            Some(stirred) => {
                stirred.until = (now + QUIET).min(stirred.since + LONGEST);
                if stirred.until > now {
                    self.due = (now + APART).min(stirred.until);
                }
            }
        }
    }

    /// This is what a look has seen, of which so many files are others than those that are known. Whether it is to be taken
    /// up: it is known from then on.
    pub(super) fn saw(&mut self, sight: S, changed: usize, now: Instant) -> bool {
        let longer = if changed > 1 { SEVERAL } else { Duration::ZERO };
        let quiet_at = self.stirred.map_or(now, |stirred| stirred.until + longer);
        if sight == self.known {
            self.seen = None;
            if quiet_at > now {
                self.due = quiet_at;
            } else {
                (self.stirred, self.due) = (None, now + POLL);
            }
            return false;
        }
        if self.seen.as_ref() == Some(&sight) && quiet_at <= now {
            (self.known, self.seen) = (sight, None);
            (self.stirred, self.due) = (None, now + POLL);
            return true;
        }
        self.seen = Some(sight);
        self.due = (now + APART).max(quiet_at);
        false
    }

    /// A look could not see anything, and will be able to later.
    pub(super) fn saw_nothing(&mut self, now: Instant) {
        self.due = now + AGAIN;
    }

    /// Somebody else has taken up this.
    pub(super) fn learn(&mut self, known: S, now: Instant) {
        (self.known, self.seen) = (known, None);
        // It may have changed since.
        self.stirred = Some(Stirred { since: now, until: now + QUIET });
        self.due = now + QUIET;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays what happens: at these milliseconds a hint comes (`Some(false)`), or the content becomes another one
    /// (`Some(content)`), with or without a hint. Answers what is taken up, and when.
    fn play(events: &[(u64, Option<&'static str>, bool)], until: u64) -> Vec<(u64, &'static str)> {
        #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut observer = Observer::new("old", start);
        let (mut content, mut taken) = ("old", Vec::new());
        for millis in 0..=until {
            for (_, change, hint) in events.iter().filter(|(when, ..)| *when == millis) {
                content = change.unwrap_or(content);
                if *hint {
                    observer.hint(at(millis));
                }
            }
            if observer.due() <= at(millis) && observer.saw(content, changed(content), at(millis)) {
                taken.push((millis, content));
            }
        }
        taken
    }

    /// As many files as the content has words that are new.
    fn changed(content: &str) -> usize {
        content.split(' ').filter(|word| word.starts_with("new")).count()
    }

    #[test]
    fn several_files_are_waited_for_longer_than_one() {
        assert_eq!(play(&[(1000, Some("new new"), true)], 9_000), [(1200, "new new")]);
        let held_up = [(1000, Some("new new old"), true), (1190, Some("new new new"), true)];
        assert_eq!(play(&held_up, 9_000), [(1390, "new new new")]);
    }

    #[test]
    fn what_is_written_at_once_is_taken_up_when_it_has_been_quiet() {
        assert_eq!(play(&[(1000, Some("new"), true)], 9_000), [(1150, "new")]);
    }

    #[test]
    fn what_is_written_in_parts_is_taken_up_as_a_whole() {
        let parts = [(1000, Some("n"), true), (1120, Some("ne"), true), (1240, Some("new"), true)];
        assert_eq!(play(&parts, 9_000), [(1390, "new")]);
        let hints_come_first = [(1000, None, true), (1020, Some("new"), false)];
        assert_eq!(play(&hints_come_first, 9_000), [(1150, "new")]);
    }

    #[test]
    fn a_file_that_is_empty_for_a_moment_is_not_taken_up_so() {
        assert_eq!(play(&[(1000, Some(""), true), (1040, Some("new"), true)], 9_000), [(1190, "new")]);
        assert_eq!(play(&[(1000, Some(""), true), (1040, Some("old"), true)], 9_000), []);
    }

    #[test]
    fn hints_without_a_change_lead_to_nothing() {
        assert_eq!(play(&[(1000, None, true), (1100, None, true)], 9_000), []);
    }

    #[test]
    fn a_change_without_a_hint_is_seen_by_the_next_look() {
        let taken = play(&[(1000, Some("new"), false)], 25_000);
        assert_eq!(taken, [(10_075, "new")]);
    }

    #[test]
    fn who_writes_beside_it_all_the_time_does_not_hold_it_up_for_ever() {
        let noise: Vec<_> = (1000..9_000).step_by(50).map(|at| (at, (at == 1000).then_some("new"), true)).collect();
        let taken = play(&noise, 9_000);
        assert_eq!(taken.len(), 1);
        assert!(taken[0].0 <= 4_100, "{taken:?}");
    }

    #[test]
    fn a_look_that_sees_nothing_is_repeated_soon_and_takes_nothing_up() {
        #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut observer = Observer::new("old", start);
        observer.hint(at(0));
        observer.saw_nothing(at(75));
        assert_eq!((observer.due(), *observer.known()), (at(1_075), "old"));
        assert!(!observer.saw("new", 1, at(1_075)));
        assert!(observer.saw("new", 1, at(1_150)));
    }

    #[test]
    fn what_somebody_else_has_taken_up_is_not_taken_up_again_but_what_came_after_is() {
        #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut observer = Observer::new("old", start);
        observer.hint(at(0));
        assert!(!observer.saw("new", 1, at(0)));
        observer.learn("new", at(50));
        assert!(!observer.saw("new", 1, at(300)));
        assert!(observer.due() > at(10_000));
        observer.learn("new", at(20_000));
        assert!(!observer.saw("newer", 1, at(20_250)));
        assert!(observer.saw("newer", 1, at(20_350)));
    }
}
