//! Diagnostics on paper: for people, with the line and what is meant underlined; for programs, as JSON.

use std::io;
use std::ops::Range;

use serde_json::json;

use super::{Diagnostic, Severity, guess};
use crate::config::place::Place;

/// Columns of a line that are shown at most. A longer line is shown around what is meant.
const WIDTH: usize = 160;
/// Bytes of a line that is looked at as a whole. The columns that are shown of a longer one lie well within as many bytes
/// around what is meant.
const LONG_LINE: usize = 4096;
/// Stands for a secret, however long.
const MASK: &str = "***";

/// A line as it may be shown, and the columns of it that are meant.
struct Shown {
    text: String,
    marked: Range<usize>,
}

pub(super) fn human(
    diagnostic: &Diagnostic,
    secrets: &[Place],
    colour: bool,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (bold, blue, reset) = (paint("\x1b[1m"), paint("\x1b[1;34m"), paint("\x1b[0m"));
    let (word, accent) = match diagnostic.severity {
        Severity::Error => ("error", paint("\x1b[1;31m")),
        Severity::Warning => ("warning", paint("\x1b[1;33m")),
    };
    let place = &diagnostic.place;
    let line = place.line().to_string();
    let margin = " ".repeat(line.len());
    let shown = Shown::of(place, secrets);
    writeln!(out, "{accent}{word}{reset}{bold}: {}{reset}", printable(&diagnostic.message))?;
    writeln!(out, "{margin}{blue}-->{reset} {}", printable(&place.to_string()))?;
    if !shown.text.is_empty() {
        let underline = "^".repeat(shown.marked.len().max(1));
        writeln!(out, "{margin} {blue}|{reset}")?;
        writeln!(out, "{blue}{line} |{reset} {}", shown.text)?;
        writeln!(out, "{margin} {blue}|{reset} {}{accent}{underline}{reset}", " ".repeat(shown.marked.start))?;
    }
    if let Some(help) = &diagnostic.help {
        let mut lines = help.lines().map(printable);
        writeln!(out, "{margin} {blue}={reset} {bold}help{reset}: {}", lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "{margin}         {line}")?;
        }
    }
    writeln!(out)
}

pub(super) fn json(diagnostic: &Diagnostic, secrets: &[Place]) -> serde_json::Value {
    let place = &diagnostic.place;
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let first_line = place.text().lines().next().unwrap_or_default();
    json!({
        "severity": severity,
        "file": place.file(),
        "line": place.line(),
        "column": place.column(),
        "end_column": place.column() + first_line.chars().count(),
        "message": diagnostic.message,
        "help": diagnostic.help,
        "source": source_line(place, secrets),
    })
}

/// The line of a place as written, secrets masked. Of a very long line, the part around the place.
fn source_line(place: &Place, secrets: &[Place]) -> String {
    let line = place.source().line(place.line() - 1);
    if line.len() > LONG_LINE {
        return Shown::of(place, secrets).text;
    }
    let text = &place.source().text()[line.clone()];
    let hidden = hidden(place, &line, secrets);
    let mut shown = String::new();
    for (at, c) in text.char_indices() {
        match containing(&hidden, at) {
            Some(range) if range.start == at => shown.push_str(MASK),
            Some(_) => {}
            None => shown.push(c),
        }
    }
    shown
}

impl Shown {
    fn of(place: &Place, secrets: &[Place]) -> Self {
        let line = place.source().line(place.line() - 1);
        let text = &place.source().text()[line.clone()];
        let meant = place.range().start - line.start..place.range().end.min(line.end).saturating_sub(line.start);
        let hidden = hidden(place, &line, secrets);
        let mut cells: Vec<(String, usize)> = Vec::new();
        let (mut column, mut start, mut end) = (0, None, None);
        let near = near(text, meant.start);
        for (at, c) in text[near.clone()].char_indices().map(|(at, c)| (near.start + at, c)) {
            if at >= meant.start {
                start.get_or_insert(column);
            }
            if at >= meant.end {
                end.get_or_insert(column);
            }
            let cell = match containing(&hidden, at) {
                Some(range) if range.start == at => (MASK.to_owned(), MASK.len()),
                Some(_) => continue,
                None => cell(c),
            };
            column += cell.1;
            cells.push(cell);
        }
        let start = start.unwrap_or(column);
        let end = end.unwrap_or(column).max(start);
        let mut shown = Self::window(cells, start..end);
        shown.text.truncate(shown.text.trim_end().len());
        shown
    }

    /// Cuts what is too long for a screen, keeping the start of what is meant in sight.
    fn window(cells: Vec<(String, usize)>, marked: Range<usize>) -> Self {
        let total: usize = cells.iter().map(|(_, width)| width).sum();
        if total <= WIDTH {
            return Self { text: cells.into_iter().map(|(text, _)| text).collect(), marked };
        }
        let first = marked.start.saturating_sub(WIDTH / 3);
        let (mut text, mut column, mut skipped) = (String::new(), 0, 0);
        if first > 0 {
            text.push_str("... ");
        }
        let lead = text.len();
        for (cell, width) in cells {
            if column < first {
                skipped += width;
            } else if column - first < WIDTH {
                text.push_str(&cell);
            }
            column += width;
        }
        if total - skipped > WIDTH {
            text.push_str(" ...");
        }
        let shift = |at: usize| (at.saturating_sub(skipped) + lead).min(lead + WIDTH);
        Self { text, marked: shift(marked.start)..shift(marked.end) }
    }
}

/// The part of a line to look at for what is meant.
fn near(line: &str, meant: usize) -> Range<usize> {
    if line.len() <= LONG_LINE {
        return 0..line.len();
    }
    line.floor_char_boundary(meant.saturating_sub(LONG_LINE / 2))..line.ceil_char_boundary(meant + LONG_LINE / 2)
}

/// Which of these ranges contains this place. They are sorted, and none touches another.
fn containing(ranges: &[Range<usize>], at: usize) -> Option<&Range<usize>> {
    let next = ranges.partition_point(|range| range.end <= at);
    ranges.get(next).filter(|range| range.start <= at)
}

/// The parts of a line that must not be shown, by bytes from its start.
fn hidden(place: &Place, line: &Range<usize>, secrets: &[Place]) -> Vec<Range<usize>> {
    let text = &place.source().text()[line.clone()];
    let mut hidden = guess::credentials(text);
    // In Lua a `#` is an operator.
    if place.source().path().extension().is_none_or(|ending| ending != "lua") {
        hidden.extend(guess::comment(text));
    }
    for secret in secrets.iter().filter(|secret| std::sync::Arc::ptr_eq(secret.source(), place.source())) {
        let range = secret.range();
        let (start, end) = (range.start.max(line.start), range.end.min(line.end));
        if start < end {
            hidden.push(start - line.start..end - line.start);
        }
    }
    merge(hidden)
}

fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// How a character is shown, and how many columns that takes. Nothing here moves a terminal's cursor or turns its text.
fn cell(c: char) -> (String, usize) {
    match c {
        '\t' => ("    ".to_owned(), 4),
        c if is_unprintable(c) => ("\u{fffd}".to_owned(), 1),
        c => (c.to_string(), width(c)),
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect()
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The columns of a character in a terminal: none for a combining mark, two for the scripts and signs that are wide.
fn width(c: char) -> usize {
    match c {
        '\u{0300}'..='\u{036f}' | '\u{fe00}'..='\u{fe0f}' | '\u{20d0}'..='\u{20ff}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
