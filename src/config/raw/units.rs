//! Durations (`250ms 10s 5m 1h`) and sizes (`16KiB 1MiB`).

use std::time::Duration;

use serde_json::{Value, json};

use super::read::{FromNode, or_variable};
use super::scalars::scalar;
use crate::config::diagnostics::Diagnostics;
use crate::config::node::Node;

/// The longest duration: a week. What is longer is a slip of the unit.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// A duration of at least `MIN` milliseconds, and at most a week.
#[derive(Clone, Copy)]
pub(in crate::config) struct Span<const MIN: u64>(pub(in crate::config) Duration);

/// A size of at least `MIN` and at most `MAX` bytes.
#[derive(Clone, Copy)]
pub(in crate::config) struct Size<const MIN: usize, const MAX: usize>(pub(in crate::config) usize);

impl<const MIN: u64> FromNode for Span<MIN> {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = scalar(node, "a duration such as 10s", diagnostics)?;
        let shown = node.shown();
        let Some(duration) = parse_duration(&text.text) else {
            let message = format!("`{shown}` is not a duration; write 250ms, 10s, 5m or 1h");
            diagnostics.error(&node.place, message);
            return None;
        };
        let shortest = Duration::from_millis(MIN);
        if duration < shortest {
            diagnostics.error(&node.place, format!("`{shown}` is too short: at least {shortest:?}"));
            return None;
        }
        if duration > LONGEST {
            diagnostics.error(&node.place, format!("`{shown}` is too long: at most a week"));
            return None;
        }
        Some(Self(duration))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$|\\$\\{" })
    }
}

impl<const MIN: usize, const MAX: usize> FromNode for Size<MIN, MAX> {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = scalar(node, "a size such as 16KiB", diagnostics)?;
        let shown = node.shown();
        let Some(size) = parse_size(&text.text) else {
            let message = format!("`{shown}` is not a size; write 16KiB, 1MiB, or a number of bytes");
            diagnostics.error(&node.place, message);
            return None;
        };
        if !(MIN..=MAX).contains(&size) {
            diagnostics.error(&node.place, format!("`{shown}` is not from {MIN} to {MAX} bytes"));
            return None;
        }
        Some(Self(size))
    }

    fn schema() -> Value {
        or_variable(super::read::any_of([
            json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" }),
            json!({ "type": "integer", "minimum": MIN, "maximum": MAX }),
        ]))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number.checked_mul(bytes)?).ok()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", "10", "10 s", "10sec", "s", "-1s", "1.5s", "1m30s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("16KiB", 16_384), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("100", 100), ("7B", 7)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "16KB", "16 KiB", "KiB", "-1", "1.5MiB", "99999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
