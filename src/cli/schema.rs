//! `schema`: JSON Schema of the configuration, for editors.

use super::Format;
use crate::config;

/// The schema's text: indented for people, on one line for programs.
pub(super) fn schema(format: Format) -> String {
    let schema = config::schema();
    match format {
        Format::Human => format!("{schema:#}"),
        Format::Json => schema.to_string(),
    }
}
