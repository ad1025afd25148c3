//! Word that what a query has answered is no longer good.

use std::borrow::Cow;

use compact_str::CompactString;

use super::Binds;
use crate::config::{Query, QueryId};
use crate::event::Scalar;

/// Which answers are no longer good: those of a query to calls that agree in these binds. Without binds, all of them.
///
/// Whoever keeps answers (lanes, the authenticator) lets go of them when it hears this; what is being asked at that
/// moment is not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Forget {
    /// Which query.
    pub query: QueryId,
    /// Some of its binds, or all. Never `:tenant`.
    pub binds: Binds,
}

impl Forget {
    /// The word by the query's name among these, where it has one.
    pub fn named(self, queries: &[Query]) -> Option<Forgotten> {
        let query = queries.get(usize::from(self.query.0))?.name.clone();
        Some(Forgotten { query, binds: self.binds })
    }

    /// Whether it is about this call.
    ///
    /// Values agree in more ways than one: `7` and `"7"`, and texts whatever their case, since databases compare like
    /// that. To forget too much costs a query; to forget too little shows somebody what is not theirs.
    pub fn concerns(&self, query: QueryId, binds: &Binds) -> bool {
        query == self.query && agree(&self.binds, binds)
    }
}

/// The same word among those who may know the queries by other numbers, as in another generation: by the query's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Forgotten {
    /// Which query.
    pub query: CompactString,
    /// As in [`Forget`].
    pub binds: Binds,
}

impl Forgotten {
    /// Whether it is about this call of one of these queries: see [`Forget::concerns`].
    pub fn concerns(&self, queries: &[Query], query: QueryId, binds: &Binds) -> bool {
        let name = queries.get(usize::from(query.0)).map(|query| &query.name);
        name == Some(&self.query) && agree(&self.binds, binds)
    }

    /// The word in the numbering of these queries, where one has the name.
    pub fn among(&self, queries: &[Query]) -> Option<Forget> {
        let index = queries.iter().position(|query| query.name == self.query)?;
        Some(Forget { query: QueryId(u16::try_from(index).ok()?), binds: self.binds.clone() })
    }
}

/// Whether a call with these binds is one of those with these values.
fn agree(values: &Binds, binds: &Binds) -> bool {
    let agrees = |(name, value): &(CompactString, Scalar)| {
        binds.iter().find(|(other, _)| other == name).is_none_or(|(_, other)| loose(other) == loose(value))
    };
    values.iter().all(agrees)
}

/// What a value is to a database that compares loosely.
pub fn loose(value: &Scalar) -> Cow<'_, str> {
    match value {
        Scalar::Null => Cow::Borrowed(""),
        Scalar::Bool(value) => Cow::Borrowed(if *value { "1" } else { "0" }),
        Scalar::Int(value) => Cow::Owned(value.to_string()),
        Scalar::Float(value) => Cow::Owned(value.to_string()),
        Scalar::Text(text) => {
            let text = text.trim();
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(number), _) => Cow::Owned(number.to_string()),
                (Err(_), Ok(number)) if number.is_finite() => Cow::Owned(number.to_string()),
                _ if text.chars().all(|c| c.is_ascii() && !c.is_ascii_uppercase()) => Cow::Borrowed(text),
                _ => Cow::Owned(text.to_lowercase()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(values: &[(&str, Scalar)]) -> Binds {
        values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    fn text(value: &str) -> Scalar {
        Scalar::Text(value.into())
    }

    #[test]
    fn it_is_about_all_calls_that_agree_in_what_it_names() {
        let call = binds(&[("user", text("7")), ("deal", Scalar::Int(42))]);
        for (of, expected) in [
            (binds(&[]), true),
            (binds(&[("deal", Scalar::Int(42))]), true),
            (binds(&[("deal", text("42"))]), true),
            (binds(&[("deal", text(" 042.0 "))]), true),
            (binds(&[("deal", Scalar::Float(42.0)), ("user", Scalar::Int(7))]), true),
            (binds(&[("deal", Scalar::Int(42)), ("user", Scalar::Int(8))]), false),
            (binds(&[("deal", Scalar::Int(43))]), false),
            (binds(&[("deal", text("x"))]), false),
        ] {
            let forget = Forget { query: QueryId(1), binds: of };
            assert_eq!(forget.concerns(QueryId(1), &call), expected, "{forget:?}");
            assert!(!forget.concerns(QueryId(2), &call), "of another query");
        }
    }

    #[test]
    fn texts_agree_whatever_their_case() {
        for (one, other) in [("Ann", "ann"), ("ÉVA", "éva"), ("a-1", "A-1"), ("inf", "INF")] {
            assert_eq!(loose(&text(one)), loose(&text(other)), "{one}");
        }
        assert_ne!(loose(&text("a1")), loose(&text("a2")));
    }
}
