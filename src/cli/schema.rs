//! `pointsman schema`: JSON Schema of the configuration, for editors.

use std::io::{self, Write};

use crate::config;

/// Prints the schema.
pub fn schema(out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &config::schema())?;
    writeln!(out)
}
