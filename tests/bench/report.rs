//! What a benchmark prints: a table in Markdown, and remarks below it.

use std::fmt;

/// The results of one benchmark.
#[derive(Debug)]
pub(crate) struct Report {
    /// What was measured.
    pub(crate) title: String,
    /// What the columns hold.
    pub(crate) columns: Vec<&'static str>,
    /// One a subject, as long as `columns`.
    pub(crate) rows: Vec<Vec<String>>,
    /// What a reader has to know beside.
    pub(crate) notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(f, "| {} |", self.columns.join(" | "))?;
        writeln!(f, "|{}", " --- |".repeat(self.columns.len()))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        Ok(())
    }
}
