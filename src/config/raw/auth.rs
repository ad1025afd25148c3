//! The `auth` section.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::database::RawQueryName;
use super::plugins::RawScriptProvider;
use super::providers::{RawHttpProvider, RawJwtProvider};
use super::read::{At, Field, FromNode, map_of};
use super::scalars::Literal;
use super::secrets::{Values, hide};
use super::section::{choice, section};
use super::units::Span;
use crate::config::diagnostics::Diagnostics;
use crate::config::node::{Duplicate, Kind, Node};

section! {
    /// How connections become sessions.
    RawAuth (SecretKeys) {
        /// A connection that is not a session by then is closed. Default: 10s.
        "deadline" deadline: Span<100> = Optional,
        /// Where a token may come in. Default: all three.
        "accept" accept: Vec<At<RawAccept>> = Optional,
        /// Asked in order; the first that knows the token decides.
        "providers" providers: Vec<At<RawProvider>> = Optional,
    }
    later []
}

choice! {
    /// Where a token may come in.
    RawAccept {
        /// In the first message.
        "message" Message,
        /// In an `Authorization: Bearer` header.
        "header" Header,
        /// In an `access_token` query parameter.
        "query" Query,
    }
    later []
}

section! {
    /// Who knows whose token it is: one of these.
    RawProvider (SecretKeys) {
        /// A query that binds `:token` and answers `user`, `tenant` and any further attributes.
        "sql" sql: RawQueryName = Optional,
        /// An HTTP endpoint of the application, which gets the token and answers whose it is.
        "http" http: RawHttpProvider = Optional,
        /// JSON Web Tokens: what they say counts, where their signature is good.
        "jwt" jwt: RawJwtProvider = Optional,
        /// Tokens, and whom each stands for.
        "tokens" tokens: RawTokens = Optional,
        /// A plugin that says whose it is, by its hook `authenticate`: a Lua file, or a map.
        "script" script: RawScriptProvider = Optional,
    }
    later []
}

/// Tokens, and whom each stands for.
pub(in crate::config) struct RawTokens(pub(in crate::config) Vec<(At<SecretString>, Field<RawTokenOwner>)>);

/// Whom a token stands for: `user`, `tenant`, and attributes of any name.
pub(in crate::config) struct RawTokenOwner {
    pub(in crate::config) user: Field<Literal>,
    pub(in crate::config) tenant: Field<Literal>,
    pub(in crate::config) attributes: Vec<(At<String>, Field<Literal>)>,
}

impl FromNode for RawTokens {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        if !matches!(node.kind, Kind::Map(_)) {
            hide(node, diagnostics);
        }
        let map = map_of(node, "a map from tokens to whom they stand for", diagnostics)?;
        for Duplicate { key, first, .. } in &map.duplicates {
            diagnostics.secret(&key.place);
            let help = format!("first given at {first}");
            diagnostics.error(&key.place, "this token is given twice").help(help);
        }
        let mut tokens = Vec::new();
        for (key, value) in &map.entries {
            diagnostics.secret(&key.place);
            let token = At { value: SecretString::from(key.text.as_str()), place: key.place.clone() };
            tokens.push((token, Field::read(value, diagnostics)));
        }
        Some(Self(tokens))
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": RawTokenOwner::schema() })
    }
}

impl FromNode for RawTokenOwner {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let map = map_of(node, "a map of `user`, `tenant` and attributes", diagnostics)?;
        super::read::duplicates(&map, Values::Plain, diagnostics);
        let mut owner = Self { user: Field::Missing, tenant: Field::Missing, attributes: Vec::new() };
        for (key, value) in &map.entries {
            // A map is no attribute, but may be what a token stands for, slipped one level down.
            if matches!(value.kind, Kind::Map(_)) {
                diagnostics.secret(&key.place);
                hide(value, diagnostics);
            }
            let value = Field::read(value, diagnostics);
            match key.text.as_str() {
                "user" => owner.user = value,
                "tenant" => owner.tenant = value,
                name => owner.attributes.push((At { value: name.to_owned(), place: key.place.clone() }, value)),
            }
        }
        for (name, field) in [("user", &owner.user), ("tenant", &owner.tenant)] {
            if field.is_missing() {
                diagnostics.error(&node.place, format!("`{name}` is missing"));
            }
        }
        Some(owner)
    }

    fn schema() -> Value {
        let id = |what: &str| json!({ "type": ["string", "integer"], "description": what });
        json!({
            "type": "object",
            "properties": { "user": id("The user."), "tenant": id("The user's tenant.") },
            "required": ["user", "tenant"],
            "additionalProperties": Literal::schema(),
        })
    }
}
