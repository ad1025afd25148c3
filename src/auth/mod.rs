//! Whose token is it? One file a provider.

mod asking;
mod authenticator;
mod cache;
mod comeback;
mod gate;
mod http;
mod in_force;
mod jwks;
mod jwt;
mod named;
pub(crate) mod offline;
mod provider;
mod queue;
mod script;
mod serve;
mod sql;
mod tokens;
mod web;

use std::sync::Arc;
use std::time::SystemTime;

use compact_str::CompactString;

use crate::event::{Scalar, TenantId, UserId, Value};
use crate::lookup::Forgotten;

pub use authenticator::{Authenticator, Foundation, ProviderError};
pub use comeback::Comeback;
pub use in_force::InForce;
pub use serve::{forget, serve};

/// Who a token stands for: the proof that makes a connection a session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The tenant. A session never changes it.
    pub tenant: TenantId,
    /// What else is known of the user.
    pub attributes: Arc<Attributes>,
    /// When the session ends, where the provider says so.
    pub expires_at: Option<SystemTime>,
}

/// What is known of a user beside id and tenant, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Box<[(CompactString, Scalar)]>);

/// Why there is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No provider knows the token.
    Denied,
    /// A provider could not be asked. The client should come back.
    Unavailable,
}

/// What an event has made void of what is known of people. Whoever comes from now on is asked for anew.
#[derive(Clone, Debug)]
pub enum Void {
    /// Answers of a query.
    Answers(Forgotten),
    /// All that is known of these users, whoever said it.
    Users {
        /// Of which tenant.
        tenant: TenantId,
        /// Which users.
        users: Arc<[UserId]>,
    },
}

impl FromIterator<(CompactString, Scalar)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (CompactString, Scalar)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Attributes {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_value()))
    }

    /// The bytes that they hold, at most.
    pub fn size(&self) -> usize {
        let text = |value: &Scalar| if let Scalar::Text(text) = value { text.len() } else { 0 };
        self.0.iter().map(|(name, value)| size_of::<(CompactString, Scalar)>() + name.len() + text(value)).sum()
    }

    /// The attribute of this name.
    pub fn get(&self, name: &str) -> Value<'_> {
        self.0.iter().find(|(known, _)| known == name).map_or(Value::Absent, |(_, value)| value.as_value())
    }
}
