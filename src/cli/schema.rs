//! `pointsman schema`: JSON Schema of the configuration, for editors.

use std::io::{self, Write};

/// Prints the schema.
pub(super) fn schema(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{{}}")
}
