//! Tokens that the configuration lists.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use secrecy::{ExposeSecret, SecretString};

use super::Identity;
use crate::config::TokenIdentity;

/// Whom each token of a list stands for.
pub(super) struct Tokens(HashMap<Box<str>, Identity>);

impl Tokens {
    /// The list. Of a token that stands in it twice, the first one counts.
    pub(super) fn new(list: &[(SecretString, TokenIdentity)]) -> Self {
        let mut tokens = HashMap::with_capacity(list.len());
        for (token, identity) in list {
            tokens.entry(Box::from(token.expose_secret())).or_insert_with(|| Identity {
                user: identity.user.clone(),
                tenant: identity.tenant.clone(),
                attributes: Arc::new(identity.attributes.iter().cloned().collect()),
                expires_at: None,
            });
        }
        Self(tokens)
    }

    /// Whose token it is. Found by a keyed hash, so that the time it takes tells nothing of the tokens of the list.
    pub(super) fn get(&self, token: &SecretString) -> Option<Identity> {
        self.0.get(token.expose_secret()).cloned()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}
