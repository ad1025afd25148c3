//! Rows as they come in, and what they weigh: an answer is bounded, whatever the database has to say.
//!
//! Invariant: whoever cannot add a row stops reading. What is left of the answer is not fetched to be thrown away.

use std::sync::Arc;

use compact_str::CompactString;

use super::Rows;
use crate::event::Scalar;

/// Rows of one answer at most.
const MAX_ROWS: usize = 100_000;
/// Bytes of one answer at most, as it is held here.
const MAX_BYTES: usize = MAX_MEBIBYTES << 20;
const MAX_MEBIBYTES: usize = 32;

/// What has come in so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    columns: Arc<[CompactString]>,
    rows: Vec<Box<[Scalar]>>,
    bytes: usize,
}

impl Answer {
    /// Whether nothing has come in.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the next row; its columns' names are asked for once. The error, for people, is that it is too much.
    pub(super) fn add(
        &mut self,
        columns: impl Iterator<Item = CompactString>,
        row: Box<[Scalar]>,
    ) -> Result<(), String> {
        if self.rows.is_empty() {
            self.columns = columns.collect();
        }
        if self.rows.len() == MAX_ROWS {
            return Err(format!("the answer has more than {MAX_ROWS} rows"));
        }
        self.bytes += row.iter().map(weight).sum::<usize>();
        if self.bytes > MAX_BYTES {
            return Err(format!("the answer has more than {MAX_MEBIBYTES} MiB"));
        }
        self.rows.push(row);
        Ok(())
    }

    /// All of it.
    pub(super) fn into_rows(self) -> Rows {
        Rows { columns: self.columns, rows: self.rows }
    }
}

fn weight(value: &Scalar) -> usize {
    let text = if let Scalar::Text(text) = value { text.len() } else { 0 };
    size_of::<Scalar>() + text
}
