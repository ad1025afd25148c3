//! Matchers: what `when` and `where` hold a value against.

use std::cmp::Ordering;
use std::convert::Infallible;

use compact_str::CompactString;

use super::{Scalar, Template, Value};

/// One condition on one value. `R` says what a template's place refers to; without one there are no templates left.
#[derive(Clone, Debug, PartialEq)]
pub enum Matcher<R = Infallible> {
    /// Equal to this. Integers and text are compared as ids are: `7` and `"7"` are equal.
    Equals(Scalar),
    /// Equal to this text, once its places are filled. Does not hold where one cannot be.
    Template(Template<R>),
    /// A text (or integer, as text) that the glob matches.
    Glob(Glob),
    /// At least one holds: a list in a rule.
    Any(Vec<Matcher<R>>),
    /// All hold: several keys in one condition.
    All(Vec<Matcher<R>>),
    /// There is a value (`true`), or none (`false`). `null` is none.
    Exists(bool),
    /// The condition does not hold.
    Not(Box<Matcher<R>>),
    /// A text (or integer, as text) that starts so.
    Prefix(CompactString),
    /// A number on this side of the bound: `gt`, `gte`, `lt`, `lte`. Text is no number.
    Compare(Comparison, f64),
}

/// Which side of a bound a number must be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `gt`
    Greater,
    /// `gte`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `lte`
    LessOrEqual,
}

/// A pattern over text: `*` stands for any run of characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(CompactString);

impl<R> Matcher<R> {
    /// The matcher that a scalar written in a rule means: a glob where it is a text with `*` or `?`.
    pub fn from_scalar(value: Scalar) -> Self {
        match value {
            Scalar::Text(text) if Glob::is_glob(&text) => Self::Glob(Glob(text)),
            value => Self::Equals(value),
        }
    }

    /// Whether the condition holds for `value`; `resolve` fills the places of templates.
    pub fn matches<'v>(&self, value: Value<'_>, resolve: &mut impl FnMut(&R) -> Value<'v>) -> bool {
        match self {
            Self::Equals(expected) => equal(value, expected.as_value()),
            Self::Template(template) => match (value, template.render(resolve)) {
                (Value::Absent, _) | (_, None) => false,
                (value, Some(text)) => equal(value, Value::Text(&text)),
            },
            Self::Glob(glob) => id_text(value, |text| glob.matches(text)),
            Self::Prefix(prefix) => id_text(value, |text| text.starts_with(prefix.as_str())),
            Self::Any(matchers) => matchers.iter().any(|matcher| matcher.matches(value, resolve)),
            Self::All(matchers) => matchers.iter().all(|matcher| matcher.matches(value, resolve)),
            Self::Exists(expected) => value.exists() == *expected,
            Self::Not(matcher) => !matcher.matches(value, resolve),
            Self::Compare(comparison, bound) => number(value)
                .and_then(|number| number.partial_cmp(bound))
                .is_some_and(|ordering| comparison.allows(ordering)),
        }
    }

    /// The same matcher with the places of its templates replaced by what they compile to.
    pub fn map<S>(self, place: &mut impl FnMut(R) -> S) -> Matcher<S> {
        let mut each = |matchers: Vec<Self>| matchers.into_iter().map(|matcher| matcher.map(place)).collect();
        match self {
            Self::Any(matchers) => Matcher::Any(each(matchers)),
            Self::All(matchers) => Matcher::All(each(matchers)),
            Self::Not(matcher) => Matcher::Not(Box::new(matcher.map(place))),
            Self::Template(template) => Matcher::Template(template.map(place)),
            Self::Equals(value) => Matcher::Equals(value),
            Self::Glob(glob) => Matcher::Glob(glob),
            Self::Exists(expected) => Matcher::Exists(expected),
            Self::Prefix(prefix) => Matcher::Prefix(prefix),
            Self::Compare(comparison, bound) => Matcher::Compare(comparison, bound),
        }
    }

    /// The same matcher with its templates filled, or `None` where one cannot be.
    pub fn fill<'v>(&self, resolve: &mut impl FnMut(&R) -> Value<'v>) -> Option<Matcher> {
        Some(match self {
            Self::Template(template) => Matcher::Equals(Scalar::Text(template.render(resolve)?)),
            Self::Any(matchers) => Matcher::Any(fill_all(matchers, resolve)?),
            Self::All(matchers) => Matcher::All(fill_all(matchers, resolve)?),
            Self::Not(matcher) => Matcher::Not(Box::new(matcher.fill(resolve)?)),
            Self::Equals(value) => Matcher::Equals(value.clone()),
            Self::Glob(glob) => Matcher::Glob(glob.clone()),
            Self::Exists(expected) => Matcher::Exists(*expected),
            Self::Prefix(prefix) => Matcher::Prefix(prefix.clone()),
            Self::Compare(comparison, bound) => Matcher::Compare(*comparison, *bound),
        })
    }

    /// What the places of all templates refer to.
    pub fn places(&self) -> Vec<&R> {
        match self {
            Self::Template(template) => template.places().collect(),
            Self::Any(matchers) | Self::All(matchers) => matchers.iter().flat_map(Self::places).collect(),
            Self::Not(matcher) => matcher.places(),
            Self::Equals(_) | Self::Glob(_) | Self::Exists(_) | Self::Prefix(_) | Self::Compare(..) => Vec::new(),
        }
    }
}

impl Matcher {
    /// Whether the condition, which has no templates, holds for `value`.
    pub fn holds(&self, value: Value<'_>) -> bool {
        self.matches(value, &mut |never: &Infallible| match *never {})
    }
}

fn fill_all<'v, R>(matchers: &[Matcher<R>], resolve: &mut impl FnMut(&R) -> Value<'v>) -> Option<Vec<Matcher>> {
    matchers.iter().map(|matcher| matcher.fill(resolve)).collect()
}

/// Equality of rules: ids by their text, numbers by their size, truth values by themselves.
fn equal(left: Value<'_>, right: Value<'_>) -> bool {
    match (left, right) {
        (Value::Absent, Value::Absent) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        (Value::Int(number), Value::Text(text)) | (Value::Text(text), Value::Int(number)) => {
            itoa::Buffer::new().format(number) == text
        }
        (Value::Float(_), _) | (_, Value::Float(_)) => match (number(left), number(right)) {
            (Some(left), Some(right)) => left.partial_cmp(&right) == Some(Ordering::Equal),
            _ => false,
        },
        _ => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bound on a number beyond 2^53 is not worth a second number type")]
fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Int(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

fn id_text(value: Value<'_>, test: impl FnOnce(&str) -> bool) -> bool {
    match value {
        Value::Text(text) => test(text),
        Value::Int(number) => test(itoa::Buffer::new().format(number)),
        _ => false,
    }
}

impl Comparison {
    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }
}

impl Glob {
    /// Whether a text in a rule is a glob and no plain value.
    pub fn is_glob(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    /// The glob that this text is.
    pub fn new(text: impl Into<CompactString>) -> Self {
        Self(text.into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `text` fits. Linear for one `*`, and never worse than the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where the last `*` stands, and how much of the text it has been given.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(b'?') => {
                    t += char_len(text[t]);
                    p += 1;
                }
                Some(&byte) if byte == text[t] => {
                    t += 1;
                    p += 1;
                }
                _ => match &mut star {
                    Some((at, given)) => {
                        *given += char_len(text[*given]);
                        (p, t) = (*at + 1, *given);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }
}

/// The length of the UTF-8 character that starts with this byte.
fn char_len(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: i64) -> Scalar {
        Scalar::Int(value)
    }

    fn text(value: &str) -> Scalar {
        Scalar::Text(value.into())
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("deal.*", "deal.moved", true),
            ("deal.*", "deal.", true),
            ("deal.*", "deal", false),
            ("*.moved", "deal.moved", true),
            ("*.moved", "deal.moved.x", false),
            ("a*b*c", "a12b3b4c", true),
            ("a*b*c", "a12c", false),
            ("d?al", "deal", true),
            ("d?al", "dal", false),
            ("?", "ü", true),
            ("*ü", "aüü", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn conditions() {
        type M = Matcher;
        let not = |matcher: M| M::Not(Box::new(matcher));
        let cases: Vec<(M, Value<'_>, bool)> = vec![
            (M::Equals(int(7)), Value::Int(7), true),
            (M::Equals(int(7)), Value::Text("7"), true),
            (M::Equals(text("7")), Value::Int(7), true),
            (M::Equals(int(7)), Value::Float(7.0), true),
            (M::Equals(int(7)), Value::Text("07"), false),
            (M::Equals(Scalar::Bool(true)), Value::Bool(true), true),
            (M::Equals(Scalar::Bool(true)), Value::Text("true"), false),
            (M::Equals(Scalar::Bool(true)), Value::Absent, false),
            (M::Equals(Scalar::Null), Value::Absent, true),
            (M::Equals(text("a")), Value::Object, false),
            (M::from_scalar(text("a*")), Value::Text("abc"), true),
            (M::from_scalar(text("4*")), Value::Int(42), true),
            (M::Any(vec![M::Equals(int(1)), M::Equals(text("x"))]), Value::Text("x"), true),
            (M::Any(vec![]), Value::Text("x"), false),
            (M::Exists(true), Value::Object, true),
            (M::Exists(false), Value::Absent, true),
            (not(M::Equals(int(1))), Value::Absent, true),
            (not(M::Exists(true)), Value::Int(1), false),
            (M::Prefix("ab".into()), Value::Text("abc"), true),
            (M::Compare(Comparison::Greater, 1.0), Value::Int(1), false),
            (M::Compare(Comparison::GreaterOrEqual, 1.0), Value::Int(1), true),
            (M::Compare(Comparison::Less, 1.5), Value::Float(1.25), true),
            (M::Compare(Comparison::LessOrEqual, 1.0), Value::Text("1"), false),
        ];
        for (matcher, value, expected) in cases {
            assert_eq!(matcher.holds(value), expected, "{matcher:?} on {value:?}");
        }
    }

    #[test]
    fn templates_hold_where_they_can_be_filled() {
        let matcher = Matcher::Template(Template::parse("{me}", |name| Ok(name.to_owned())).unwrap());
        let mut resolve = |name: &String| if name == "me" { Value::Int(7) } else { Value::Absent };
        assert!(matcher.matches(Value::Text("7"), &mut resolve));
        assert!(!matcher.matches(Value::Text("8"), &mut resolve));
        assert_eq!(matcher.fill(&mut resolve), Some(Matcher::Equals(text("7"))));
        assert!(!matcher.matches(Value::Absent, &mut |_: &String| Value::Absent));
        assert_eq!(matcher.fill(&mut |_: &String| Value::Absent), None);
    }
}
