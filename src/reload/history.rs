//! What has become of the last attempts to take up the files: for people who ask.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Generation, Refusal};

/// Attempts that are kept.
pub const KEPT_ATTEMPTS: usize = 50;
/// Files that are named of one attempt.
const NAMED_FILES: usize = 100;

/// What led to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The start.
    Boot,
    /// The files have changed.
    Watch,
    /// The signal.
    Sighup,
    /// `POST /api/reload`.
    Api,
    /// `POST /api/rollback`.
    Rollback,
}

impl Trigger {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Watch => "watch",
            Self::Sighup => "SIGHUP",
            Self::Api => "api",
            Self::Rollback => "rollback",
        }
    }
}

/// What an attempt came to.
#[derive(Debug)]
pub enum Outcome {
    /// The files are in force. The broker did not take this of them.
    Applied(Vec<String>),
    /// They were in force already.
    Unchanged,
    /// They do not come into force.
    Refused(Refusal),
}

/// One attempt to take up the files.
#[derive(Debug)]
pub struct Attempt {
    /// What led to it.
    pub trigger: Trigger,
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The generation in force afterwards.
    pub generation: Generation,
    /// What came of it.
    pub outcome: Outcome,
    /// Files that held something else than those in force before.
    pub changed: Vec<String>,
    /// Rule tests that passed.
    pub tests_passed: usize,
    /// Sections that need a restart to be what the files say. The rest applies.
    pub needs_restart: Vec<&'static str>,
    /// What the broker did not take, and what to do about it.
    pub not_applied: Vec<String>,
}

/// The last attempts as JSON, the newest first. Each is rendered once, when it is noted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Arc<str>>);

impl Attempt {
    /// The name of what came of it.
    pub fn result(&self) -> &'static str {
        match self.outcome {
            Outcome::Applied(_) => "applied",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused(_) => "refused",
        }
    }

    /// Why nothing came of it, where that is so.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.outcome {
            Outcome::Refused(refusal) => Some(refusal),
            Outcome::Applied(_) | Outcome::Unchanged => None,
        }
    }

    /// For programs. Holds no secret: diagnostics mask theirs.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "at": seconds(self.at),
            "trigger": self.trigger.name(),
            "result": self.result(),
            "unchanged": matches!(self.outcome, Outcome::Unchanged),
            "generation": self.generation.0,
            "files_changed": self.changed.iter().take(NAMED_FILES).collect::<Vec<_>>(),
            "duration_ms": self.took.as_secs_f64() * 1e3,
            "tests_passed": self.tests_passed,
            "needs_restart": self.needs_restart,
            "not_applied": self.not_applied,
        });
        if let Some(refusal) = self.refusal() {
            value["reason"] = json!(refusal.reason());
            value["error"] = json!(refusal.to_string());
            if let Some(diagnostics) = refusal.diagnostics() {
                let mut text = Vec::new();
                // Writing to memory does not fail.
                diagnostics.render(&mut text, false).ok();
                value["diagnostics"] = diagnostics.to_json();
                value["diagnostics_left_out"] = json!(diagnostics.left_out());
                value["text"] = json!(String::from_utf8_lossy(&text));
            }
            if let Refusal::Tests(proof) = refusal {
                value["tests_failed"] = json!(proof.failed().map(ToString::to_string).collect::<Vec<_>>());
            }
        }
        value
    }
}

impl History {
    /// Adds one. The oldest gives way to it.
    pub(super) fn add(&mut self, attempt: &Attempt) {
        self.0.truncate(KEPT_ATTEMPTS - 1);
        self.0.push_front(attempt.to_json().to_string().into());
    }

    /// For programs: an object with all of them as `reloads`.
    pub fn to_json(&self) -> String {
        let attempts: Vec<&str> = self.0.iter().map(Arc::as_ref).collect();
        format!("{{\"reloads\":[{}]}}", attempts.join(","))
    }
}

/// Seconds since 1970.
pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u64) -> Attempt {
        Attempt {
            trigger: Trigger::Watch,
            at: SystemTime::UNIX_EPOCH,
            took: Duration::from_millis(2),
            generation: Generation(number),
            outcome: Outcome::Refused(Refusal::Unsteady),
            changed: vec!["a.yaml".to_owned()],
            tests_passed: 0,
            needs_restart: Vec::new(),
            not_applied: Vec::new(),
        }
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut history = History::default();
        (0..80).for_each(|number| history.add(&attempt(number)));
        let told: Value = serde_json::from_str(&history.to_json()).unwrap();
        let kept: Vec<u64> =
            told["reloads"].as_array().unwrap().iter().filter_map(|one| one["generation"].as_u64()).collect();
        assert_eq!((kept.len(), kept[0], kept[49]), (50, 79, 30));
    }

    #[test]
    fn a_refusal_says_why() {
        let value = attempt(3).to_json();
        for (key, expected) in [
            ("trigger", json!("watch")),
            ("result", json!("refused")),
            ("reason", json!("read")),
            ("generation", json!(3)),
            ("files_changed", json!(["a.yaml"])),
            ("duration_ms", json!(2.0)),
        ] {
            assert_eq!(value[key], expected, "{key}");
        }
    }
}
