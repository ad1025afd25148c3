//! What an outage has been said to be: said once, and again now and then, however often it is found to be so.

use std::time::Duration;

use tokio::time::Instant;

/// The same reason is not said again before this.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

/// The reason that was said last, and when.
#[derive(Debug, Default)]
pub(super) struct Told(Option<(String, Instant)>);

impl Told {
    /// Whether this reason should be said now. Where it should, it counts as said.
    pub(super) fn says(&mut self, reason: &str, now: Instant) -> bool {
        let again = |(told, at): &(String, Instant)| told != reason || now.duration_since(*at) >= AGAIN_AFTER;
        let says = self.0.as_ref().is_none_or(again);
        if says {
            self.0 = Some((reason.to_owned(), now));
        }
        says
    }

    /// The outage is over: the next one is another, whatever its reason.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_when_it_is_new_and_once_a_minute() {
        let (mut told, start) = (Told::default(), Instant::now());
        for (seconds, reason, expected) in
            [(0, "a", true), (1, "a", false), (2, "b", true), (3, "a", true), (62, "a", false), (63, "a", true)]
        {
            assert_eq!(told.says(reason, start + Duration::from_secs(seconds)), expected, "{reason} at {seconds}");
        }
        told.forget();
        assert!(told.says("a", start + Duration::from_secs(64)));
    }
}
