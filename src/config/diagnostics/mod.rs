//! What is wrong with a configuration: all of it, each at its place, with what would be right.
//!
//! Invariant: a secret is never shown. Readers report where secrets stand before anything is rendered, and the lines of
//! a file that could not be read as far as that show the configuration's own words alone.

mod guess;
mod render;
mod suggest;
#[cfg(test)]
mod tests;

use std::io;

use super::place::Place;
use super::raw;

pub(crate) use suggest::{did_you_mean, similar};

/// Diagnostics that are shown of one configuration. The others are counted.
const SHOWN: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot come into force.
    Error,
    /// It can, but is probably not what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// Where.
    pub place: Place,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    secrets: Vec<Place>,
    left_out: LeftOut,
}

/// How many diagnostics were too many to be shown.
#[derive(Clone, Copy, Debug, Default)]
struct LeftOut {
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error) + self.left_out.errors
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning) + self.left_out.warnings
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many are counted and not shown. At most 100 are shown.
    pub fn left_out(&self) -> usize {
        self.left_out.errors + self.left_out.warnings
    }

    /// The diagnostics that are shown, by file and line.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// Writes them for people: message, place, the line with what is meant underlined, and help.
    pub fn render(&self, out: &mut dyn io::Write, colour: bool) -> io::Result<()> {
        self.found.iter().try_for_each(|diagnostic| render::human(diagnostic, &self.secrets, colour, out))?;
        match self.left_out() {
            0 => Ok(()),
            left_out => writeln!(out, "... and {left_out} more, which are not shown\n"),
        }
    }

    /// Them for programs: an array of objects with `severity`, `file`, `line`, `column`, `end_column`, `message`,
    /// `help` and `source`, which is the line with its secrets masked.
    pub fn to_json(&self) -> serde_json::Value {
        self.found.iter().map(|diagnostic| render::json(diagnostic, &self.secrets)).collect()
    }

    /// Something that must be put right.
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, place, &message.into())
    }

    /// Something that is probably not meant so.
    pub(crate) fn warning(&mut self, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, place, &message.into())
    }

    /// What stands there is not to be shown.
    pub(super) fn secret(&mut self, place: &Place) {
        self.secrets.push(place.clone());
    }

    /// The file could not be read far enough to know its secrets: nothing but the configuration's own words is shown.
    pub(super) fn guess_secrets(&mut self, place: &Place) {
        let (file, known) = (place.source(), raw::vocabulary());
        let secrets = guess::secrets(file.text(), |word| known.contains(word));
        self.secrets.extend(secrets.into_iter().map(|range| Place::new(file, range)));
    }

    /// Puts them in order, and leaves out what an alias made be said twice. Beyond [`SHOWN`] the rest is counted only,
    /// warnings first.
    pub(crate) fn finish(mut self) -> Self {
        self.found.sort_by(|left, right| key(left).cmp(&key(right)));
        self.found.dedup_by(|left, right| key(left) == key(right) && left.message == right.message);
        if self.found.len() > SHOWN {
            self.found.sort_by_key(|diagnostic| diagnostic.severity != Severity::Error);
            for diagnostic in self.found.drain(SHOWN..) {
                match diagnostic.severity {
                    Severity::Error => self.left_out.errors += 1,
                    Severity::Warning => self.left_out.warnings += 1,
                }
            }
            self.found.sort_by(|left, right| key(left).cmp(&key(right)));
        }
        self
    }

    fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    fn push(&mut self, severity: Severity, place: &Place, message: &str) -> &mut Diagnostic {
        let message = guess::without_credentials(message);
        self.found.push(Diagnostic { severity, message, help: None, place: place.clone() });
        self.found.last_mut().expect("just pushed")
    }
}

impl Diagnostic {
    /// Adds what would be right.
    pub(crate) fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}

fn key(diagnostic: &Diagnostic) -> (&str, usize, usize) {
    let place = &diagnostic.place;
    (place.file(), place.range().start, place.range().end)
}
