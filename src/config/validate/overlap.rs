//! Rules that are never asked, because an earlier one always decides.

use hashbrown::HashMap;

use crate::event::TopicPattern;

/// Stands for every capture: which name it has does not matter here.
const CAPTURE: &str = "{}";

/// The patterns of earlier rules, by their parts.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// The first rule whose pattern ends here.
    first: Option<usize>,
    longer: HashMap<String, Earlier>,
}

impl Earlier {
    /// Adds the pattern of the rule with this number. Returns the first rule before it that matches every topic that this
    /// one matches.
    pub(super) fn add(&mut self, pattern: &TopicPattern, rule: usize) -> Option<usize> {
        let text = pattern.to_string();
        let parts: Vec<&str> = text.split(':').map(|part| if part.starts_with('{') { CAPTURE } else { part }).collect();
        let covering = self.covering(&parts);
        let mut end = self;
        for part in parts {
            end = end.longer.entry_ref(part).or_default();
        }
        end.first.get_or_insert(rule);
        covering
    }

    fn covering(&self, parts: &[&str]) -> Option<usize> {
        let [part, rest @ ..] = parts else { return self.first };
        // A `*` covers all; a capture covers all but a `*`; a text covers itself.
        let wider = match *part {
            "*" => &["*"][..],
            CAPTURE => &["*", CAPTURE],
            text => &["*", CAPTURE, text],
        };
        wider.iter().filter_map(|part| self.longer.get(*part)?.covering(rest)).min()
    }
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
            let mut patterns = Earlier::default();
            let [first, second] = [earlier, later].map(|text| TopicPattern::parse(text).unwrap());
            assert_eq!(patterns.add(&first, 0), None);
            assert_eq!(patterns.add(&second, 1), expected.then_some(0), "{earlier} over {later}");
        }
    }

    #[test]
    fn of_several_that_cover_a_pattern_the_first_is_named() {
        let mut patterns = Earlier::default();
        let mut add = |text, rule| patterns.add(&TopicPattern::parse(text).unwrap(), rule);
        assert_eq!([add("{a}:1", 0), add("x:{b}", 1), add("x:2", 2)], [None, None, Some(1)]);
        assert_eq!([add("x:1", 3), add("x:*", 4), add("x:2", 5)], [Some(0), None, Some(1)]);
    }
}
