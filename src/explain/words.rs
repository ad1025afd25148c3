//! Values and lists as a person reads them.

use std::fmt::Display;

use crate::event::Value;

/// Characters of a text that are shown.
const LONGEST: usize = 80;
/// Entries of a list that are shown.
const MOST: usize = 8;

/// A value: text in quotes, so that `"7"` and `7`, `"true"` and `true` are told apart.
pub(super) fn value(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::List(items) => {
            let shown = items.iter().take(MOST).map(|item| self::value(item.as_value()));
            let shown: Vec<String> = shown.collect();
            let more = if items.len() > MOST { ", ..." } else { "" };
            format!("[{}{more}]", shown.join(", "))
        }
        Value::Object => "an object".to_owned(),
        Value::Absent => "missing".to_owned(),
        other => other.text().map(std::borrow::Cow::into_owned).unwrap_or_default(),
    }
}

/// A text in quotes, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// `a`, `a or b`, `a, b or c`, and of a long list how many more.
pub(super) fn any_of<T: Display>(all: &[T]) -> String {
    joined(all, "or")
}

/// As [`any_of`], with `and`.
pub(super) fn all_of<T: Display>(all: &[T]) -> String {
    joined(all, "and")
}

/// `1 session`, `2 sessions`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn joined<T: Display>(all: &[T], word: &str) -> String {
    let mut shown: Vec<String> = all.iter().take(MOST).map(ToString::to_string).collect();
    let last = if all.len() > MOST { Some(format!("{} more", all.len() - MOST)) } else { shown.pop() };
    match last {
        None => "nobody".to_owned(),
        Some(last) if shown.is_empty() => last,
        Some(last) => format!("{} {word} {last}", shown.join(", ")),
    }
}
