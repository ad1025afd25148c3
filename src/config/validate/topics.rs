//! The rules of `topics`.

use super::overlap::Earlier;
use super::plugins::{Registry, belongs_to_script};
use super::{Queries, conditions, templates};
use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::model::{Hook, QueryId, TopicAllow, TopicPlace, TopicRule};
use crate::config::place::Place;
use crate::config::raw::{At, Field, RawAllow, RawAllowRule, RawTopicRule};
use crate::event::TopicPattern;

pub(super) fn topics(
    raw: &Field<Vec<At<RawTopicRule>>>,
    queries: &Queries,
    plugins: &mut Registry<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<TopicRule>> {
    let raw = match raw {
        Field::Missing => return Some(Vec::new()),
        Field::Faulty => return None,
        Field::Given(raw) => &raw.value,
    };
    let mut earlier = (Earlier::default(), Vec::new());
    let mut rules = Vec::new();
    for rule in raw {
        let pattern = pattern(&rule.value, &mut earlier, diagnostics);
        let captures: Option<Vec<String>> =
            pattern.as_ref().map(|pattern| pattern.captures().map(str::to_owned).collect());
        let allow = who(rule, captures.as_deref(), queries, plugins, diagnostics);
        rules.push(pattern.zip(allow).map(|(pattern, allow)| TopicRule { pattern, allow }));
    }
    rules.into_iter().collect()
}

/// Whom a rule lets: by `allow`, or by `script`.
fn who(
    rule: &At<RawTopicRule>,
    captures: Option<&[String]>,
    queries: &Queries,
    plugins: &mut Registry<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<TopicAllow> {
    let RawTopicRule { pattern: _, allow: condition, script, with } = &rule.value;
    if script.is_missing() {
        belongs_to_script(with, "with", diagnostics);
    }
    let by_script = script.given().and_then(|script| plugins.call(script, with, Hook::Authorize, diagnostics));
    if let (Some(_), Some(script)) = (condition.given(), script.given()) {
        let help = "let the plugin decide all of it, or none";
        diagnostics.error(&script.place, "a rule has either `allow` or `script`").help(help);
        return None;
    }
    match condition {
        Field::Missing if script.is_missing() => {
            diagnostics.error(&rule.place, "`allow` is missing").help(
                "write `allow: true`, { when: { user: \"{session.user}\" } } or { query: NAME, with: { ... } }, or \
                 `script: FILE` for a plugin",
            );
            None
        }
        Field::Missing => by_script.map(TopicAllow::Script),
        Field::Faulty => None,
        Field::Given(at) => match &at.value {
            RawAllow::Always(true) => Some(TopicAllow::Always),
            RawAllow::Always(false) => Some(TopicAllow::Never),
            RawAllow::Rule(rule) => allow(rule, &at.place, captures, queries, diagnostics),
        },
    }
}

/// The queries that these rules ask.
pub(super) fn asked(rules: Option<&[TopicRule]>) -> Vec<QueryId> {
    let query = |rule: &TopicRule| match &rule.allow {
        TopicAllow::Query(call) => Some(call.query),
        _ => None,
    };
    rules.unwrap_or_default().iter().filter_map(query).collect()
}

fn pattern(
    rule: &RawTopicRule,
    (earlier, known): &mut (Earlier, Vec<(TopicPattern, Place)>),
    diagnostics: &mut Diagnostics,
) -> Option<TopicPattern> {
    let at = rule.pattern.given()?;
    let pattern = match TopicPattern::parse(&at.value.text) {
        Ok(pattern) => pattern,
        Err(error) => {
            return templates::report(&at.place, at.value.expanded, "topic pattern", error, diagnostics);
        }
    };
    if let Some((first, place)) = earlier.add(&pattern, known.len()).and_then(|rule| known.get(rule)) {
        let message = format!("never asked: `{first}` matches all of `{}` before", at.shown());
        diagnostics.warning(&at.place, message).help(format!("the first match decides, and it is at {place}"));
    }
    known.push((pattern.clone(), at.place.clone()));
    Some(pattern)
}

/// `captures` is `None` where the pattern is faulty, and then every name is taken for one of its own.
fn allow(
    rule: &RawAllowRule,
    place: &Place,
    captures: Option<&[String]>,
    queries: &Queries,
    diagnostics: &mut Diagnostics,
) -> Option<TopicAllow> {
    let resolve = |name: &str| match captures {
        Some(captures) => topic_place(name, captures),
        None => Ok(TopicPlace::User),
    };
    if let (Some(_), Some(query)) = (rule.when.given(), rule.query.given()) {
        diagnostics.error(&query.place, "a rule has either `when` or `query`").help("ask the query for the rest also");
    }
    if let Some(query) = rule.query.given() {
        return queries.call(query, &rule.with, &resolve, diagnostics).map(TopicAllow::Query);
    }
    if let Some(with) = rule.with.given() {
        diagnostics.error(&with.place, "`with` belongs to `query`, and there is none");
    }
    match &rule.when {
        Field::Given(when) => {
            conditions::conditions(&when.value, &when.place, resolve, &resolve, diagnostics).map(TopicAllow::When)
        }
        Field::Missing if rule.query.is_missing() => {
            diagnostics.error(place, "`allow` says nothing").help("write `true`, or give it `when` or `query`");
            None
        }
        Field::Missing | Field::Faulty => None,
    }
}

/// What a name in a topic rule refers to.
fn topic_place(name: &str, captures: &[String]) -> Result<TopicPlace, String> {
    if let Some(index) = captures.iter().position(|capture| capture == name) {
        return Ok(TopicPlace::Capture(index));
    }
    match name.strip_prefix("session.") {
        Some("user") => Ok(TopicPlace::User),
        Some("tenant") => Ok(TopicPlace::Tenant),
        Some(attribute) if !attribute.is_empty() => Ok(TopicPlace::Attribute(attribute.into())),
        _ => {
            let known = captures.iter().map(String::as_str).chain(["session.user", "session.tenant"]);
            let meant = did_you_mean(name, known);
            Err(format!("`{name}` is neither caught by the pattern nor `session.NAME`{meant}"))
        }
    }
}
