//! Medians, their spread, and the clock.

use std::fmt;
use std::time::Instant;

/// A spread, as a share of the median, from which on a table says that the machine was noisy.
const NOISY: f64 = 0.15;

/// What several rounds of one measurement say together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Summary {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(low, high), min: values[0], max: values[values.len() - 1] }
    }

    /// Whether the rounds differ so much that the median says little.
    pub(crate) fn is_noisy(self) -> bool {
        self.max - self.min > NOISY * self.median
    }

    /// The median, with the least and the greatest value, in this many decimals.
    pub(crate) fn show(self, decimals: usize) -> String {
        let [median, min, max] = [self.median, self.min, self.max].map(|value| Grouped(value, decimals));
        format!("{median} ({min} – {max})")
    }
}

/// A number as people read it: `188,000.5`.
pub(crate) struct Grouped(pub(crate) f64, pub(crate) usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, decimals) = *self;
        let text = format!("{:.decimals$}", value.abs());
        let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
        if value < 0.0 {
            f.write_str("−")?;
        }
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        f.write_str(fraction)
    }
}

/// The value below which this share of the sorted ones lies.
pub(crate) fn percentile(sorted: &[u64], hundredths: usize) -> f64 {
    let at = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().map_or(f64::NAN, float)
}

/// For arithmetic: counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// What time it is.
#[expect(clippy::disallowed_methods, reason = "measuring time is what this program does")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
