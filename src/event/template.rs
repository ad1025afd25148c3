//! Templates: text with `{field}` places, such as `deal:{data.deal_id}`.

use std::fmt;

use compact_str::CompactString;
use smallvec::SmallVec;

use super::{Scalar, Value};

/// A text with places to fill. `R` says what a place refers to: a field path as written, a slot once compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template<R> {
    parts: SmallVec<[Part<R>; 2]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part<R> {
    Text(CompactString),
    Place(R),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`.
    #[error("`{{` has no `}}` in `{0}`; write `{{{{` for a brace itself")]
    Unclosed(String),
    /// A place whose name is not known or not well-formed: the text says why.
    #[error("{0}")]
    Place(String),
}

impl<R> Template<R> {
    /// Parses `text`, asking `place` what each `{...}` refers to. `{{` stands for a brace.
    pub fn parse(text: &str, mut place: impl FnMut(&str) -> Result<R, String>) -> Result<Self, TemplateError> {
        let mut parts = SmallVec::new();
        let mut literal = CompactString::default();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            literal.push_str(&rest[..open]);
            rest = &rest[open + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                literal.push('{');
                rest = after;
                continue;
            }
            let close = rest.find('}').ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Place(place(rest[..close].trim()).map_err(TemplateError::Place)?));
            rest = &rest[close + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// What the places refer to, in order.
    pub fn places(&self) -> impl Iterator<Item = &R> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place(place) => Some(place),
            Part::Text(_) => None,
        })
    }

    /// The text, where it has no places.
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The place, where the template is nothing else: `{data.owner_id}`.
    pub fn as_place(&self) -> Option<&R> {
        match self.parts.as_slice() {
            [Part::Place(place)] => Some(place),
            _ => None,
        }
    }

    /// The same template with each place replaced by what it compiles to.
    pub fn map<S>(self, mut place: impl FnMut(R) -> S) -> Template<S> {
        let parts = self.parts.into_iter().map(|part| match part {
            Part::Text(text) => Part::Text(text),
            Part::Place(old) => Part::Place(place(old)),
        });
        Template { parts: parts.collect() }
    }

    /// The text with all places filled, or `None` where one has no text to fill in.
    #[inline]
    pub fn render<'v>(&self, mut resolve: impl FnMut(&R) -> Value<'v>) -> Option<CompactString> {
        let (mut text, parts) = match self.parts.as_slice() {
            [Part::Text(first), rest @ ..] => (first.clone(), rest),
            parts => (CompactString::default(), parts),
        };
        for part in parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Place(place) => resolve(place).append_to(&mut text)?,
            }
        }
        Some(text)
    }

    /// As [`render`](Self::render), but a template that is one place keeps the value's type: `{data.deal_id}` binds
    /// an integer to a query where the event holds one.
    pub fn scalar<'v>(&self, mut resolve: impl FnMut(&R) -> Value<'v>) -> Option<Scalar> {
        match self.as_place() {
            Some(place) => match resolve(place).to_scalar() {
                Scalar::Null => None,
                value => Some(value),
            },
            None => self.render(resolve).map(Scalar::Text),
        }
    }
}

impl<R: fmt::Display> fmt::Display for Template<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{"))?,
                Part::Place(place) => write!(f, "{{{place}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Template<String> {
        Template::parse(text, |name| Ok(name.to_owned())).unwrap()
    }

    #[test]
    fn places_are_filled_from_values_with_text() {
        let resolve = |name: &String| match name.as_str() {
            "id" => Value::Int(42),
            "name" => Value::Text("ann"),
            "list" => Value::List(&[]),
            _ => Value::Absent,
        };
        for (text, expected) in [
            ("deal:{id}", Some("deal:42")),
            ("{name}/{ id }", Some("ann/42")),
            ("plain", Some("plain")),
            ("", Some("")),
            ("{{id}", Some("{id}")),
            ("deal:{nothing}", None),
            ("deal:{list}", None),
        ] {
            assert_eq!(parse(text).render(resolve).as_deref(), expected, "{text}");
        }
        assert_eq!(parse("{id}").scalar(resolve), Some(Scalar::Int(42)));
        assert_eq!(parse("x{id}").scalar(resolve), Some(Scalar::Text("x42".into())));
        assert_eq!(parse("{nothing}").scalar(resolve), None);
    }

    #[test]
    fn templates_print_as_they_were_written() {
        for text in ["deal:{id}", "{a}{b}", "{{x}", ""] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn an_open_brace_is_an_error() {
        let error = Template::parse("deal:{id", |name| Ok(name.to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "`{` has no `}` in `deal:{id`; write `{{` for a brace itself");
    }
}
