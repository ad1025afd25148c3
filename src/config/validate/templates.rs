//! Templates and field paths, as the configuration writes them.

use crate::config::diagnostics::Diagnostics;
use crate::config::place::Place;
use crate::config::raw::{At, Literal, Text};
use crate::event::{Path, Scalar, Template};

/// A place of a template in a route: a field path.
pub(super) fn field(name: &str) -> Result<Path, String> {
    if name.contains(['{', '}', '*']) {
        return Err(format!("`{name}` is no field path"));
    }
    Path::parse(name).map_err(|error| error.to_string())
}

/// A field path.
pub(super) fn path(at: &At<Text>, diagnostics: &mut Diagnostics) -> Option<Path> {
    match field(&at.value.text) {
        Ok(path) => Some(path),
        Err(error) => report(&at.place, at.value.expanded, "field path", error, diagnostics),
    }
}

/// A template, of which `place` says what its places refer to. A number or a boolean is its own text.
pub(super) fn template<R>(
    at: &At<Literal>,
    place: impl FnMut(&str) -> Result<R, String>,
    diagnostics: &mut Diagnostics,
) -> Option<Template<R>> {
    if at.value.value == Scalar::Null {
        diagnostics.error(&at.place, "a value is missing here");
        return None;
    }
    match Template::parse(&at.value.value.to_string(), place) {
        Ok(template) => Some(template),
        Err(error) => report(&at.place, at.value.expanded, "template", error.to_string(), diagnostics),
    }
}

/// Warns of a text that was probably meant to be a template: `data.owner_id` for `{data.owner_id}`. `roots` are what
/// the paths of the `event` section start with.
pub(super) fn warn_of_bare_path(at: &At<Literal>, roots: &[String], diagnostics: &mut Diagnostics) {
    let Scalar::Text(text) = &at.value.value else { return };
    let root = text.split_once('.').map(|(root, _)| root);
    if !at.value.expanded && root.is_some_and(|root| roots.iter().any(|known| known == root)) {
        let message = format!("`{text}` is taken as it stands, not as a field");
        diagnostics.warning(&at.place, message).help(format!("write \"{{{text}}}\" for the field's value"));
    }
}

/// Reports what is wrong with a text. What came from the environment is not repeated.
pub(super) fn report<T>(
    place: &Place,
    expanded: bool,
    what: &str,
    error: String,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let message = if expanded || place.text().contains('\n') {
        format!("what `{}` holds is no {what}", place.shown())
    } else {
        error
    };
    diagnostics.error(place, message);
    None
}
