//! The `plugins` and `reload` sections, and what rules hand to plugins.

use serde_json::{Value, json};

use super::read::{At, Field, FromNode, any_of, map_of};
use super::scalars::{Number, Text};
use super::secrets::{FileName, Values, hide};
use super::section::section;
use super::tree::{self, MOST};
use super::units::{Size, Span};
use crate::config::diagnostics::Diagnostics;
use crate::config::node::{Kind, Node};

section! {
    /// Plugins: Lua files that rules name by `script`, and what they may cost.
    RawPlugins (Plain) {
        /// The folder that they are in, relative to the file that says so. Default: that of the file that names them.
        "dir" dir: Text = Optional,
        /// CPU time of one call at most. Default: 10ms.
        "budget" budget: Span<1> = Optional,
        /// Memory of one plugin at most, in each thread that calls it. Default: 8MiB.
        "memory" memory: Size<0x0008_0000, 0x4000_0000> = Optional,
        /// When a plugin that fails is put aside.
        "breaker" breaker: RawBreaker = Optional,
    }
    later []
}

section! {
    /// When a plugin that fails is put aside, and for how long.
    RawBreaker (Plain) {
        /// After so many failures in a row. Default: 20.
        "failures" failures: Number<1, 1_000_000> = Optional,
        /// For so long; then one call tries it again. Default: 10s.
        "retry" retry: Span<1> = Optional,
    }
    later []
}

section! {
    /// What a change of the files leads to.
    RawReload (Plain) {
        /// They are watched, and a change is taken up. Default: true.
        "watch" watch: bool = Optional,
        /// The rule tests must pass before a rulebook comes into force. Default: true.
        "tests" tests: bool = Optional,
    }
    later []
}

section! {
    /// A plugin that is asked whose a token is, by its hook `authenticate`.
    RawScriptProviderMap (SecretKeys) {
        /// The plugin's file.
        "plugin" plugin: FileName = Required,
        /// What it is handed: a map of anything.
        "with" with: RawParameters = Optional,
        /// How long its answer counts for a token. Default: 0s: it is asked each time.
        "cache" cache: Span<0> = Optional,
    }
    later []
}

/// A plugin that is asked whose a token is: its file's name, or a map.
pub(in crate::config) struct RawScriptProvider {
    pub(in crate::config) plugin: Field<FileName>,
    pub(in crate::config) with: Field<RawParameters>,
    pub(in crate::config) cache: Field<Span<0>>,
}

/// What a plugin is handed: an object.
pub(in crate::config) struct RawParameters(pub(in crate::config) Value);

impl FromNode for RawScriptProvider {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        if matches!(node.kind, Kind::Scalar(_)) {
            let plugin = Field::Given(At::read(node, diagnostics)?);
            return Some(Self { plugin, with: Field::Missing, cache: Field::Missing });
        }
        let RawScriptProviderMap { plugin, with, cache } = RawScriptProviderMap::read(node, diagnostics)?;
        Some(Self { plugin, with, cache })
    }

    fn schema() -> Value {
        any_of([FileName::schema(), RawScriptProviderMap::schema()])
    }
}

impl FromNode for RawParameters {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        if !matches!(node.kind, Kind::Map(_)) {
            hide(node, diagnostics);
        }
        map_of(node, "a map, which the plugin gets as a table", diagnostics)?;
        let value = tree::json(node, Values::Secret, diagnostics)?;
        if value.to_string().len() > MOST {
            diagnostics.error(&node.place, format!("what a plugin is handed is at most {} KiB", MOST >> 10));
            return None;
        }
        Some(Self(if value.is_null() { json!({}) } else { value }))
    }

    fn schema() -> Value {
        json!({ "type": "object" })
    }
}
