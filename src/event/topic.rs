//! Topics: what a session looks at, by name (`deal:42`), and the patterns that rules match them with (`deal:{id}`).

use std::fmt;

use compact_str::CompactString;
use smallvec::SmallVec;

/// The name of a topic: parts separated by `:`. As a subscription, its last part may be `*`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(CompactString);

/// Why a text names no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing at all, or a part that is empty.
    #[error("a topic has no empty parts")]
    Empty,
    /// Longer than [`Topic::MAX_BYTES`].
    #[error("a topic is at most {} bytes long", Topic::MAX_BYTES)]
    TooLong,
    /// A control character, which would make logs and SSE lie.
    #[error("a topic has no control characters")]
    Control,
    /// `*` beside other characters of its part, or before the last part.
    #[error("`*` stands alone as the last part of a topic")]
    Wildcard,
}

impl Topic {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// The topic that this text names.
    #[inline]
    pub fn new(text: impl Into<CompactString>) -> Result<Self, TopicError> {
        let text = text.into();
        Self::check(&text)?;
        Ok(Self(text))
    }

    fn check(text: &str) -> Result<(), TopicError> {
        if text.len() > Self::MAX_BYTES {
            return Err(TopicError::TooLong);
        }
        // Where the present part begins.
        let mut begins = 0;
        for (at, byte) in text.bytes().enumerate() {
            // Most are letters and digits.
            if matches!(byte, b'0'..=b'9' | b';'..=b'~') {
                continue;
            }
            match byte {
                b':' if at == begins => return Err(TopicError::Empty),
                b':' => begins = at + 1,
                b'*' if at > begins || at + 1 < text.len() => return Err(TopicError::Wildcard),
                0..0x20 | 0x7f => return Err(TopicError::Control),
                _ => {}
            }
        }
        if begins == text.len() {
            return Err(TopicError::Empty);
        }
        if !text.is_ascii() && text.chars().any(char::is_control) {
            return Err(TopicError::Control);
        }
        Ok(())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a wildcard subscription: `board:*`.
    pub fn is_wildcard(&self) -> bool {
        self.0 == "*" || self.0.ends_with(":*")
    }

    /// The one wildcard that holds this topic: `board:*` for `board:sales`, itself for a wildcard.
    #[must_use]
    pub fn wildcard(&self) -> Self {
        let stem = self.0.rfind(':').map_or(0, |colon| colon + 1);
        let mut text = CompactString::with_capacity(stem + 1);
        text.push_str(&self.0[..stem]);
        text.push('*');
        Self(text)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

/// What a topic rule matches: literal parts, `{name}` for any one part but `*`, `*` for any one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    parts: SmallVec<[PatternPart; 3]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternPart {
    Literal(CompactString),
    Capture(CompactString),
    Any,
}

impl TopicPattern {
    /// Parses a pattern such as `deal:{id}` or `board:*`. The error says what is wrong, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = SmallVec::<[PatternPart; 3]>::new();
        for part in text.split(':') {
            if parts.last() == Some(&PatternPart::Any) {
                return Err("`*` stands for the last part of a topic alone".to_owned());
            }
            let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            parts.push(match (part, name) {
                ("", _) => return Err("a topic pattern has no empty parts".to_owned()),
                ("*", _) => PatternPart::Any,
                (_, Some(name)) if is_name(name) => {
                    if parts.iter().any(|part| matches!(part, PatternPart::Capture(other) if other == name)) {
                        return Err(format!("`{{{name}}}` stands twice in the pattern"));
                    }
                    PatternPart::Capture(name.into())
                }
                _ if part.contains(['{', '}', '*']) => {
                    return Err(format!("`{part}` mixes text with a wildcard: a part is text, `{{name}}` or `*`"));
                }
                _ => PatternPart::Literal(part.into()),
            });
        }
        Ok(Self { parts })
    }

    /// The names of the parts that the pattern catches, in order.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            PatternPart::Capture(name) => Some(name.as_str()),
            PatternPart::Literal(_) | PatternPart::Any => None,
        })
    }

    /// The parts of `topic` that the pattern catches, in order, or `None` where it does not match.
    /// A `*` in the topic is matched by a `*` in the pattern alone.
    pub fn matches<'t>(&self, topic: &'t Topic) -> Option<SmallVec<[&'t str; 3]>> {
        let mut caught = SmallVec::new();
        let mut texts = topic.as_str().split(':');
        for part in &self.parts {
            let text = texts.next()?;
            match part {
                PatternPart::Any => {}
                PatternPart::Literal(literal) if literal == text => {}
                PatternPart::Capture(_) if text != "*" => caught.push(text),
                PatternPart::Literal(_) | PatternPart::Capture(_) => return None,
            }
        }
        texts.next().is_none().then_some(caught)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            match part {
                PatternPart::Literal(text) => f.write_str(text)?,
                PatternPart::Capture(name) => write!(f, "{{{name}}}")?,
                PatternPart::Any => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "x".repeat(256);
        let cases: [(&str, Result<(), TopicError>); 12] = [
            ("deal:42", Ok(())),
            ("board:*", Ok(())),
            ("*", Ok(())),
            ("", Err(TopicError::Empty)),
            ("deal:", Err(TopicError::Empty)),
            ("a::b", Err(TopicError::Empty)),
            ("*:a", Err(TopicError::Wildcard)),
            ("board:s*", Err(TopicError::Wildcard)),
            ("deal:4\n2", Err(TopicError::Control)),
            ("deal:ü\u{85}", Err(TopicError::Control)),
            ("deal:ü", Ok(())),
            (&long, Err(TopicError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(Topic::new(text).map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn a_topic_has_one_wildcard() {
        for (text, wildcard) in [("board:sales", "board:*"), ("a:b:c", "a:b:*"), ("news", "*"), ("board:*", "board:*")]
        {
            assert_eq!(Topic::new(text).unwrap().wildcard().as_str(), wildcard);
        }
    }

    #[test]
    fn patterns_catch_parts_and_never_a_wildcard() {
        let cases: [(&str, &str, Option<&[&str]>); 9] = [
            ("deal:{id}", "deal:42", Some(&["42"])),
            ("deal:{id}", "deal:*", None),
            ("deal:{id}", "deal:42:x", None),
            ("deal:{id}", "deal", None),
            ("board:*", "board:*", Some(&[])),
            ("board:*", "board:sales", Some(&[])),
            ("board:sales", "board:*", None),
            ("{a}:x:{b}", "1:x:2", Some(&["1", "2"])),
            ("{a}:x:{b}", "1:y:2", None),
        ];
        for (pattern, topic, expected) in cases {
            let pattern = TopicPattern::parse(pattern).unwrap();
            let topic = Topic::new(topic).unwrap();
            assert_eq!(pattern.matches(&topic).as_deref(), expected, "{pattern} on {topic}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, said) in [
            ("deal:", "no empty parts"),
            ("deal:x{id}", "mixes text"),
            ("deal:{}", "mixes text"),
            ("{id}:{id}", "stands twice"),
            ("board:s*", "mixes text"),
            ("*:a", "the last part"),
            ("a:*:b", "the last part"),
        ] {
            let error = TopicPattern::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
