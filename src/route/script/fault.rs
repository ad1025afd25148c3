//! Why a script failed, for people: with file and line, and with what would be right where that can be said.

use mlua::Error;

use super::host::{Call, method_names};
use super::sandbox::PRELUDE;
use super::{ScriptError, ScriptFailure};
use crate::config::did_you_mean;

/// Bytes of a message.
const LONGEST: usize = 1024;

/// The failure that this error of the plugin of this name is. `stopped` is the guard's complaint, where it has one.
pub(super) fn failure(plugin: &str, error: &Error, call: Option<&Call>, stopped: Option<String>) -> ScriptError {
    let (what, trace) = told(error);
    let (place, text) = split(plugin, &what);
    // What the prelude wraps fails there, and the plugin has called it.
    let text = split(PRELUDE, text).1;
    let mut line = place.or_else(|| traced(plugin, &trace));
    let raised = call.and_then(|call| call.raised.as_ref()).filter(|_| is_no_text(text));
    let unanswered = call.and_then(|call| call.unanswered.as_ref()).filter(|reason| text.contains(reason.as_str()));
    let kind = match () {
        () if stopped.is_some() => ScriptFailure::Budget,
        () if is_memory(error) || text.contains("not enough memory") => ScriptFailure::Memory,
        () if unanswered.is_some() => ScriptFailure::Lookup,
        () => ScriptFailure::Error,
    };
    let text = match (stopped, raised) {
        (Some(stopped), _) => stopped,
        (None, Some(raised)) => {
            line = raised.line.or(line);
            format!("an error was raised that is no text: {}", raised.shown)
        }
        (None, None) => helped(text, kind),
    };
    plain(plugin, kind, line, &text)
}

/// A failure without an error of the script.
pub(super) fn plain(plugin: &str, kind: ScriptFailure, line: Option<usize>, text: &str) -> ScriptError {
    let place = line.map_or_else(|| plugin.to_owned(), |line| format!("{plugin}:{line}"));
    let mut message = format!("{place}: {text}");
    message.truncate(message.floor_char_boundary(LONGEST));
    ScriptError { kind, line, message }
}

/// What an error says, and where the script was.
fn told(error: &Error) -> (String, String) {
    match error {
        Error::CallbackError { traceback, cause } => (told(cause).0, traceback.clone()),
        Error::RuntimeError(text) | Error::MemoryError(text) | Error::SyntaxError { message: text, .. } => {
            let (what, trace) = text.split_once("\nstack traceback:").unwrap_or((text, ""));
            (what.to_owned(), trace.to_owned())
        }
        other => (other.to_string(), String::new()),
    }
}

fn is_memory(error: &Error) -> bool {
    match error {
        Error::MemoryError(_) => true,
        Error::CallbackError { cause, .. } => is_memory(cause),
        _ => false,
    }
}

/// The line that a message begins with, `tasks.lua:12: ...`, and the rest of it.
pub(super) fn split<'t>(plugin: &str, text: &'t str) -> (Option<usize>, &'t str) {
    let after = text.strip_prefix(plugin).and_then(|rest| rest.strip_prefix(':')).and_then(|rest| rest.split_once(':'));
    match after.and_then(|(line, rest)| Some((line.parse().ok()?, rest))) {
        Some((line, rest)) => (Some(line), rest.trim_start()),
        None => (None, text),
    }
}

/// The innermost line of the plugin in a traceback.
fn traced(plugin: &str, trace: &str) -> Option<usize> {
    trace.lines().find_map(|entry| split(plugin, entry.trim_start()).0)
}

/// Whether a message is what is left of a value that is no text.
fn is_no_text(text: &str) -> bool {
    ["nil", "true", "false"].contains(&text)
        || ["table: ", "function: ", "userdata: "].iter().any(|kind| text.starts_with(kind))
        || text.parse::<f64>().is_ok()
}

fn helped(text: &str, kind: ScriptFailure) -> String {
    if kind == ScriptFailure::Memory {
        return "it took more memory than it may hold".to_owned();
    }
    if text.contains("attempt to modify a readonly table") {
        return format!(
            "{text}: globals, libraries and what a hook is handed stay as they are; keep things in a local"
        );
    }
    if text.contains("attempt to yield across") {
        return "lookup waits, and cannot within table.sort, string.gsub or a metamethod".to_owned();
    }
    let missing = text.split_once("missing method '").and_then(|(_, rest)| rest.split_once('\''));
    let meant = missing.map(|(name, _)| did_you_mean(name, method_names()));
    format!("{text}{}", meant.unwrap_or_default())
}
