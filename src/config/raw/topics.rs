//! The rules of `topics`.

use serde_json::Value;

use super::condition::RawConditions;
use super::plugins::RawParameters;
use super::read::{FromNode, Scalars, any_of};
use super::scalars::Text;
use super::secrets::FileName;
use super::section::section;
use crate::config::diagnostics::Diagnostics;
use crate::config::node::{Kind, Node};

section! {
    /// Who may subscribe to the topics of a pattern.
    RawTopicRule (Plain) {
        /// Which topics: parts separated by `:`, each text, `{name}` for any one part, or `*`.
        "match" pattern: Text = Required,
        /// Who may.
        "allow" allow: RawAllow = Optional,
        /// A plugin that says who may, by its hook `authorize`: a Lua file.
        "script" script: FileName = Optional,
        /// What the plugin is handed: a map of anything.
        "with" with: RawParameters = Optional,
    }
    later []
}

/// The condition of a topic rule.
pub(in crate::config) enum RawAllow {
    /// Everyone, or nobody.
    Always(bool),
    /// Whom the rule lets.
    Rule(RawAllowRule),
}

section! {
    /// Whom a topic rule lets: `when`, or `query` with `with`.
    RawAllowRule (Plain) {
        /// What must hold of the pattern's captures and of `session.user`, `session.tenant` and `session.NAME`.
        "when" when: RawConditions = Optional,
        /// A query of which any row allows.
        "query" query: Text = Optional,
        /// What is bound, by name.
        "with" with: Scalars = Optional,
    }
    later []
}

impl FromNode for RawAllow {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(_) => bool::read(node, diagnostics).map(Self::Always),
            _ => RawAllowRule::read(node, diagnostics).map(Self::Rule),
        }
    }

    fn schema() -> Value {
        any_of([<bool as FromNode>::schema(), RawAllowRule::schema()])
    }
}
