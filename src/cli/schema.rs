//! `schema`: JSON Schema of the configuration, or of rule tests, for editors.

use super::Format;
use super::arguments::SchemaOf;
use crate::config;

/// The schema's text: indented for people, on one line for programs.
pub(super) fn schema(of: SchemaOf, format: Format) -> String {
    let schema = match of {
        SchemaOf::Config => config::schema(),
        SchemaOf::Tests => config::tests_schema(),
    };
    match format {
        Format::Human => format!("{schema:#}"),
        Format::Json => schema.to_string(),
    }
}
