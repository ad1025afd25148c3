//! What is made of a provider's answer, for rule tests, which ask no provider but those that need nobody outside.

use std::time::SystemTime;

use compact_str::CompactString;
use secrecy::SecretString;

use super::authenticator::Answer;
use super::tokens::Tokens;
use super::{Identity, named, sql};
use crate::config::TokenIdentity;
use crate::event::Scalar;
use crate::lookup::{LookupError, Rows};

/// What one provider says of a token.
#[derive(Debug)]
pub(crate) enum Said {
    /// It is this person's.
    Known(Identity),
    /// It was somebody's, and is not good.
    Denied(&'static str),
    /// It means nothing here: the next provider is asked.
    Unknown,
    /// There is no saying, for this reason.
    Unavailable(String),
}

impl Said {
    /// A list of tokens says this.
    pub(crate) fn by_list(list: &[(SecretString, TokenIdentity)], token: &SecretString) -> Self {
        Tokens::new(list).get(token).map_or(Self::Unknown, Self::Known)
    }

    /// A query that was answered so says this, at this time.
    pub(crate) fn by_query(answer: &Result<std::sync::Arc<Rows>, LookupError>, now: SystemTime) -> Self {
        match answer {
            Ok(rows) => Self::of(sql::read(rows, now)),
            Err(LookupError::Unfit(_)) => Self::Unknown,
            Err(error) => Self::Unavailable(error.to_string()),
        }
    }

    /// A plugin that answers so says this, at this time.
    pub(crate) fn by_plugin(said: Option<&[(CompactString, Scalar)]>, now: SystemTime) -> Self {
        said.map_or(Self::Unknown, |pairs| Self::of(named::read("field", pairs, now)))
    }

    fn of(answer: Result<Answer, String>) -> Self {
        match answer {
            Ok(Answer::Known(identity)) => Self::Known(identity),
            Ok(Answer::Denied(why)) => Self::Denied(why),
            Ok(Answer::Unknown) => Self::Unknown,
            Ok(Answer::Unavailable(why)) => Self::Unavailable(why.to_string()),
            Err(fault) => Self::Unavailable(fault),
        }
    }
}
