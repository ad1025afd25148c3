//! Why a condition of a route holds or does not, in words.

use super::told::ConditionTold;
use super::words;
use crate::event::{AttributeMatch, Comparison, Decoder, Event, Matcher, Scalar, Slot, Template};

/// One condition of a route, held against an event.
pub(super) fn condition(slot: Slot, matcher: &Matcher<Slot>, event: &Event, decoder: &Decoder) -> ConditionTold {
    let found = event.field(slot);
    ConditionTold {
        field: decoder.path(slot).to_string(),
        found: words::value(found),
        wanted: wanted(matcher, &|template| {
            let shown = template.clone().map(|slot| decoder.path(slot).clone()).to_string();
            match template.render(|slot| event.field(*slot)) {
                Some(text) => format!("{} ({shown})", words::quoted(&text)),
                None => format!("{shown}, which cannot be filled"),
            }
        }),
        holds: matcher.matches(found, &mut |slot| event.field(*slot)),
    }
}

/// What an audience asks of an attribute: `whose role is "manager"`.
pub(super) fn attribute(attribute: &AttributeMatch) -> String {
    format!("whose {} is {}", attribute.name, wanted_of(attribute))
}

/// What an attribute must be.
pub(super) fn wanted_of(attribute: &AttributeMatch) -> String {
    wanted(&attribute.matcher, &|_| String::new())
}

fn wanted<R>(matcher: &Matcher<R>, filled: &dyn Fn(&Template<R>) -> String) -> String {
    let each = |matchers: &[Matcher<R>]| matchers.iter().map(|matcher| wanted(matcher, filled)).collect::<Vec<_>>();
    match matcher {
        Matcher::Equals(Scalar::Null) | Matcher::Exists(false) => "nothing".to_owned(),
        Matcher::Equals(value) => words::value(value.as_value()),
        Matcher::Template(template) => filled(template),
        Matcher::Glob(glob) => format!("like {}", words::quoted(glob.as_str())),
        Matcher::Prefix(prefix) => format!("something that starts with {}", words::quoted(prefix)),
        Matcher::Any(matchers) => words::any_of(&each(matchers)),
        Matcher::All(matchers) => words::all_of(&each(matchers)),
        Matcher::Exists(true) => "anything".to_owned(),
        Matcher::Not(matcher) => format!("not {}", wanted(matcher, filled)),
        Matcher::Compare(comparison, bound) => match comparison {
            Comparison::Greater => format!("a number above {bound}"),
            Comparison::GreaterOrEqual => format!("a number of at least {bound}"),
            Comparison::Less => format!("a number below {bound}"),
            Comparison::LessOrEqual => format!("a number of at most {bound}"),
        },
    }
}
