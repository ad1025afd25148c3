//! What an audience gets of a payload.

use crate::config::diagnostics::Diagnostics;
use crate::config::raw::{At, Field, RawPayload, Text};
use crate::event::{Keep, PayloadFilter};

use super::templates;

const EXAMPLE: &str = "write { only: [title, actor.name] } or { without: [price] }";

/// The filter that a `payload` describes. `root` is where the payload stands in a body.
pub(super) fn filter(raw: &At<RawPayload>, root: Option<&str>, diagnostics: &mut Diagnostics) -> Option<PayloadFilter> {
    let (keep, names) = match (&raw.value.only, &raw.value.without) {
        (Field::Missing, Field::Missing) => {
            diagnostics.error(&raw.place, "`payload` says neither what is kept nor what is left out").help(EXAMPLE);
            return None;
        }
        (Field::Given(_), Field::Given(without)) => {
            diagnostics.error(&without.place, "a payload has either `only` or `without`").help(EXAMPLE);
            return None;
        }
        (only, Field::Missing) => (Keep::Only, only),
        (_, without) => (Keep::Without, without),
    };
    let names = names.given()?;
    if names.value.is_empty() {
        let help = match keep {
            Keep::Only => "name the fields that are kept",
            Keep::Without => "name the fields that are left out, or leave `payload` out",
        };
        diagnostics.error(&names.place, "this list names no field").help(help);
        return None;
    }
    let (mut filter, mut is_right) = (PayloadFilter::new(keep), true);
    for name in &names.value {
        if let Err(fault) = filter.name(&name.value.text) {
            is_right = false;
            templates::report::<()>(
                &name.place,
                name.value.expanded,
                "path within the payload",
                fault.to_string(),
                diagnostics,
            );
        } else {
            warn_of_slips(name, root, diagnostics);
        }
    }
    is_right.then_some(filter)
}

/// What is a path, and probably not the one that is meant.
fn warn_of_slips(name: &At<Text>, root: Option<&str>, diagnostics: &mut Diagnostics) {
    if name.value.expanded {
        return;
    }
    let text = name.value.text.as_str();
    let within = |root| text.strip_prefix(root).and_then(|rest: &str| rest.strip_prefix('.'));
    if let Some(rest) = root.and_then(within) {
        let message = format!("`{text}` is taken as a path within the payload");
        diagnostics.warning(&name.place, message).help(format!("write `{rest}` for that field of the payload"));
    }
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(part) = text.split('.').find(is_number) {
        let message = format!("`{part}` is taken as the name of a field, not as a place in an array");
        diagnostics.warning(&name.place, message).help("a path applies to each element of an array that it passes");
    }
}
