//! Rules that are never asked, because an earlier one always decides.

use crate::event::TopicPattern;

/// Whether every topic that `later` matches is matched by `earlier` too.
pub(super) fn covers(earlier: &TopicPattern, later: &TopicPattern) -> bool {
    let (earlier, later) = (earlier.to_string(), later.to_string());
    let (earlier, later): (Vec<_>, Vec<_>) = (earlier.split(':').collect(), later.split(':').collect());
    earlier.len() == later.len() && earlier.iter().zip(&later).all(|(earlier, later)| part_covers(earlier, later))
}

/// A `*` covers all; a capture all but a `*`; text itself.
fn part_covers(earlier: &str, later: &str) -> bool {
    earlier == "*" || earlier == later || (earlier.starts_with('{') && later != "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_match_all_of() {
        for (earlier, later, expected) in [
            ("deal:{id}", "deal:{deal}", true),
            ("deal:{id}", "deal:42", true),
            ("deal:{id}", "deal:*", false),
            ("deal:*", "deal:{id}", true),
            ("deal:*", "deal:*", true),
            ("deal:42", "deal:{id}", false),
            ("{a}:{b}", "deal:{id}", true),
            ("deal:{id}", "deal:{id}:x", false),
            ("board:{id}", "deal:{id}", false),
        ] {
            let [earlier, later] = [earlier, later].map(|text| TopicPattern::parse(text).unwrap());
            assert_eq!(covers(&earlier, &later), expected, "{earlier} over {later}");
        }
    }
}
