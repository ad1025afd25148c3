//! Rules held against events: a table of rules and what they must say, and the index against trying each route.
#![expect(clippy::disallowed_methods, reason = "a test is an edge: events are received now")]

mod acting;
mod deciding;
mod indexing;
mod scripting;
mod subscribing;
mod twin;

use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::config::{AudienceRule, ListRule, Route, RouteTarget};
use crate::event::{Decoder, Envelope, Event, Matcher, Path, Scalar, Shape, Template};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn text(value: &str) -> Scalar {
    Scalar::Text(value.into())
}

fn template(text: &str) -> Template<Path> {
    Template::parse(text, |name| Path::parse(name).map_err(|error| error.to_string())).unwrap()
}

fn each(templates: &[&str]) -> ListRule {
    ListRule::Each(templates.iter().map(|text| template(text)).collect())
}

fn shape() -> Shape {
    Shape { payload: path("data"), tenant: Some(path("data.tenant")), id: Some(path("data.id")), kind: None }
}

/// A route that sends to the whole tenant.
fn route(name: &str, when: Vec<(Path, Matcher<Path>)>) -> Route {
    let to = RouteTarget::Audiences(vec![AudienceRule::default()]);
    Route { name: name.into(), when, to, all_tenants: false, go_on: false }
}

fn is(field: &str, value: &str) -> (Path, Matcher<Path>) {
    (path(field), Matcher::from_scalar(text(value)))
}

/// The number of the query that is asked.
fn query_of(question: &Question) -> u16 {
    question.query().expect("a query").query.0
}

fn decode(decoder: &Decoder, body: &str) -> Event {
    decoder.decode(Bytes::copy_from_slice(body.as_bytes()), Envelope::NONE, Instant::now()).unwrap()
}
