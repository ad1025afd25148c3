//! `${NAME}` and `${NAME:-default}` in values, from the environment.
//!
//! Invariant: variables are filled in after parsing. Whatever one holds, it is part of one value, and never a key, a
//! list or another variable.

use std::ops::Range;

use super::diagnostics::Diagnostics;
use super::node::{Kind, Node, Written};
use super::place::Place;

/// Answers what a variable holds.
pub(super) type Environment<'e> = dyn Fn(&str) -> Option<String> + 'e;

/// A part of a scalar that needs work.
enum Part<'t> {
    /// `$${`: a literal `${`.
    Escaped,
    Variable {
        name: &'t str,
        default: Option<&'t str>,
    },
    /// `${` and then something else.
    Malformed,
}

/// Fills in the variables of all values below `node`.
pub(super) fn expand(node: &mut Node, environment: &Environment<'_>, diagnostics: &mut Diagnostics) {
    match &mut node.kind {
        Kind::Scalar(text) => {
            if !expand_text(text, &node.place, environment, diagnostics) {
                node.kind = Kind::Faulty;
            }
        }
        Kind::Faulty => {}
        Kind::List(items) => items.iter_mut().for_each(|item| expand(item, environment, diagnostics)),
        Kind::Map(map) => {
            for (key, value) in &mut map.entries {
                if key.text.contains("${") {
                    let message = "variables are filled in in values, not in keys";
                    diagnostics.error(&key.place, message).help("write the key itself");
                }
                expand(value, environment, diagnostics);
            }
        }
    }
}

/// `false` where a part could not be filled in.
fn expand_text(
    scalar: &mut Written,
    place: &Place,
    environment: &Environment<'_>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let mut whole = true;
    if !scalar.text.contains("${") {
        return whole;
    }
    let source = std::mem::take(&mut scalar.text);
    let mut rest = 0;
    while let Some((range, part)) = next(&source, rest) {
        scalar.text.push_str(&source[rest..range.start]);
        rest = range.end;
        match part {
            Part::Escaped => scalar.text.push_str("${"),
            Part::Malformed => {
                whole = false;
                let message = "`${` starts a variable, but this is none";
                let help = "write ${NAME}, or ${NAME:-default}, or $${ for the characters themselves";
                diagnostics.error(&within(place, &source[range.clone()]), message).help(help);
            }
            Part::Variable { name, default } => {
                scalar.expanded = true;
                let given = environment(name).filter(|value| default.is_none() || !value.is_empty());
                if let Some(value) = given.as_deref().or(default) {
                    scalar.text.push_str(value);
                } else {
                    whole = false;
                    let message = format!("the variable `{name}` is not set");
                    let help = format!("set it in the environment, or give a default: ${{{name}:-default}}");
                    diagnostics.error(&within(place, &source[range.clone()]), message).help(help);
                }
            }
        }
    }
    scalar.text.push_str(&source[rest..]);
    whole
}

/// The first variable, escape or malformed start from `from` on.
fn next(text: &str, from: usize) -> Option<(Range<usize>, Part<'_>)> {
    let open = from + text[from..].find("${")?;
    if open > from && text.as_bytes()[open - 1] == b'$' {
        return Some((open - 1..open + 2, Part::Escaped));
    }
    let Some(length) = text[open..].find('}') else {
        return Some((open..text.len(), Part::Malformed));
    };
    let (range, inner) = (open..open + length + 1, &text[open + 2..open + length]);
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    Some((range, if is_name { Part::Variable { name, default } } else { Part::Malformed }))
}

/// The place of `part` in a scalar, as far as it is written there as it reads.
fn within(place: &Place, part: &str) -> Place {
    place.text().find(part).map_or_else(|| place.clone(), |at| place.part(at..at + part.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::place::SourceFile;

    fn check(written: &str, expected: &str, said: &[&str]) {
        let file = SourceFile::new("x.yaml".into(), "x.yaml".to_owned(), written.to_owned());
        let place = Place::new(&file, 0..written.len());
        let mut text = Written { text: written.to_owned(), plain: true, expanded: false };
        let mut diagnostics = Diagnostics::default();
        let environment = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${SET}".to_owned()),
            _ => None,
        };
        assert_eq!(expand_text(&mut text, &place, &environment, &mut diagnostics), said.is_empty(), "{written}");
        let messages: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        assert_eq!(messages, said, "{written}");
        if said.is_empty() {
            assert_eq!(text.text, expected, "{written}");
        }
    }

    #[test]
    fn variables_are_filled_in_once() {
        for (written, expected) in [
            ("plain $ {x}", "plain $ {x}"),
            ("a ${SET} b ${SET}", "a value b value"),
            ("${SET:-x}", "value"),
            ("${UNSET:-x}", "x"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NESTED}", "${SET}"),
            ("$${SET}", "${SET}"),
            ("$$", "$$"),
            ("ü${SET}ü", "üvalueü"),
        ] {
            check(written, expected, &[]);
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_said() {
        let malformed = "`${` starts a variable, but this is none";
        check("${UNSET}", "", &["the variable `UNSET` is not set"]);
        check("${A} ${B}", "", &["the variable `A` is not set", "the variable `B` is not set"]);
        for written in ["${", "${SET", "${}", "${1A}", "${a b}", "${A:x}"] {
            check(written, "", &[malformed]);
        }
    }
}
