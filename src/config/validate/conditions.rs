//! Conditions: `when` and `where`, with their templates parsed.

use compact_str::CompactString;

use super::templates;
use crate::config::diagnostics::Diagnostics;
use crate::config::place::Place;
use crate::config::raw::{At, Literal, RawCondition, RawConditions};
use crate::event::{Glob, Matcher, Scalar};

/// What a place of a template refers to.
type Resolve<'r, R> = dyn Fn(&str) -> Result<R, String> + 'r;

/// Conditions by what they are about, which `subject` reads from the key.
pub(super) fn conditions<S, R>(
    raw: &RawConditions,
    at: &Place,
    subject: impl Fn(&str) -> Result<S, String>,
    place: &Resolve<'_, R>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(S, Matcher<R>)>> {
    let mut whole = true;
    if raw.0.is_empty() {
        // It would hold for everything, which nobody writes on purpose: least of all where it allows something.
        diagnostics.error(at, "there is no condition here").help("say what must hold, or leave the key out");
        return None;
    }
    let mut all = Vec::new();
    for (key, condition) in &raw.0 {
        let subject = subject(&key.value).map_err(|error| diagnostics.error(&key.place, error).message.clone());
        let matcher = condition.given().and_then(|at| matcher(&at.value, place, diagnostics));
        match (subject, matcher) {
            (Ok(subject), Some(matcher)) => all.push((subject, matcher)),
            _ => whole = false,
        }
    }
    whole.then_some(all)
}

/// One condition.
fn matcher<R>(raw: &RawCondition, place: &Resolve<'_, R>, diagnostics: &mut Diagnostics) -> Option<Matcher<R>> {
    Some(match raw {
        RawCondition::Value(at) => value(at, place, diagnostics)?,
        RawCondition::Any(any) => Matcher::Any(each(any, place, diagnostics)?),
        RawCondition::All(all) => match each(all, place, diagnostics)? {
            mut one if one.len() == 1 => one.remove(0),
            all => Matcher::All(all),
        },
        RawCondition::Exists(expected) => Matcher::Exists(*expected),
        RawCondition::Not(inner) => Matcher::Not(Box::new(matcher(inner, place, diagnostics)?)),
        RawCondition::Prefix(text) => Matcher::Prefix(CompactString::from(&text.text)),
        RawCondition::Compare(comparison, bound) => Matcher::Compare(*comparison, *bound),
    })
}

fn each<R>(raw: &[At<RawCondition>], place: &Resolve<'_, R>, diagnostics: &mut Diagnostics) -> Option<Vec<Matcher<R>>> {
    // All of them, and not only up to the first that is wrong.
    let all: Vec<_> = raw.iter().map(|condition| matcher(&condition.value, place, diagnostics)).collect();
    all.into_iter().collect()
}

fn value<R>(at: &At<Literal>, place: &Resolve<'_, R>, diagnostics: &mut Diagnostics) -> Option<Matcher<R>> {
    let Scalar::Text(text) = &at.value.value else {
        return Some(Matcher::from_scalar(at.value.value.clone()));
    };
    if !text.contains('{') {
        return Some(Matcher::from_scalar(at.value.value.clone()));
    }
    let template = templates::template(at, place, diagnostics)?;
    if let Some(text) = template.as_text() {
        return Some(Matcher::from_scalar(Scalar::Text(text.into())));
    }
    if Glob::is_glob(&literal_part(text)) {
        let message = "a template cannot also be a glob";
        diagnostics.error(&at.place, message).help("match either a glob such as \"deal.*\" or a template");
        return None;
    }
    Some(Matcher::Template(template))
}

/// A template's text without its places.
fn literal_part(text: &str) -> String {
    let mut rest = text;
    let mut literal = String::new();
    while let Some((before, after)) = rest.split_once('{') {
        literal.push_str(before);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    literal + rest
}
