//! A lane's state under answers in any order and at its bounds, and lanes as threads.
#![expect(clippy::disallowed_methods, reason = "a test is an edge: events are received now")]

mod authorizing;
mod bounds;
mod order;
mod threads;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use compact_str::format_compact;
use tokio::sync::mpsc;

use super::*;
use crate::config::{
    AudienceRule, ListRule, QueryCall, QueryId, Route, RouteTarget, TopicAllow, TopicPlace, TopicRule, UsersRule,
};
use crate::event::{Envelope, Matcher, Path, Scalar, Shape, Template, TopicPattern};
use crate::lookup::{LookupError, Rows};
use crate::observe::{DropCause, Metrics, RoutedOutcome};
use crate::reload::{Generation, Rulebook};
use crate::route::Answer;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn template(text: &str) -> Template<Path> {
    Template::parse(text, |name| Ok(path(name))).unwrap()
}

fn query(id: u16) -> AudienceRule {
    let with = vec![("record".into(), template("{data.id}"))];
    AudienceRule { users: Some(UsersRule::Query(QueryCall { query: QueryId(id), with })), ..AudienceRule::default() }
}

/// Routes by an event's `kind`: `plain` asks nothing, `ask` one query, `twice` two; `nobody` and `all` say it.
/// Topics: `free:{id}` is for all, `ask:{id}` asks query 7.
fn rulebook() -> Arc<Rulebook> {
    Arc::new(rulebook_of(Generation(1), &["plain", "ask", "twice", "nobody", "all"]))
}

/// Those of these routes that are named, in that order.
fn rulebook_of(generation: Generation, kinds: &[&str]) -> Rulebook {
    let route = |kind: &str, to: RouteTarget| Route {
        name: kind.into(),
        when: vec![(path("kind"), Matcher::Equals(Scalar::Text(kind.into())))],
        to,
        all_tenants: false,
        go_on: false,
    };
    let nobody = AudienceRule { topics: Some(ListRule::Each(Vec::new())), ..AudienceRule::default() };
    let mut routes = vec![
        route("plain", RouteTarget::Audiences(vec![AudienceRule::default()])),
        route("ask", RouteTarget::Audiences(vec![query(0)])),
        route("twice", RouteTarget::Audiences(vec![query(1), query(2)])),
        route("nobody", RouteTarget::Audiences(vec![nobody])),
        route("all", RouteTarget::Everyone),
    ];
    let rank = |route: &Route| kinds.iter().position(|kind| *kind == route.name);
    routes.retain(|route| rank(route).is_some());
    routes.sort_by_key(rank);
    let id = Template::parse("{id}", |_| Ok(TopicPlace::Capture(0))).unwrap();
    let ask = TopicAllow::Query(QueryCall { query: QueryId(7), with: vec![("id".into(), id)] });
    let topic = |pattern: &str, allow| TopicRule { pattern: TopicPattern::parse(pattern).unwrap(), allow };
    let topics = vec![topic("free:{id}", TopicAllow::Always), topic("ask:{id}", ask)];
    let shape =
        Shape { payload: path("data"), tenant: Some(path("data.tenant")), id: Some(path("data.id")), kind: None };
    Rulebook::compile(generation, shape, routes, topics)
}

fn delivery(rulebook: &Arc<Rulebook>, tenant: Option<&str>, kind: &str, id: u64, receipt: Receipt) -> Delivery {
    let tenant = tenant.map_or_else(|| "null".to_owned(), |tenant| format!("\"{tenant}\""));
    let body = format!(r#"{{"kind":"{kind}","data":{{"tenant":{tenant},"id":{id}}}}}"#);
    let event = rulebook.decoder.decode(Bytes::from(body), Envelope::NONE, Instant::now()).unwrap();
    Delivery { event, rulebook: Arc::clone(rulebook), receipt }
}

/// A query's answer: user 7.
#[expect(clippy::unnecessary_wraps, reason = "one of two kinds of answers")]
fn found() -> Answer {
    let row = Box::from([Scalar::Int(7)]);
    Ok(Arc::new(Rows { columns: Arc::from(["user_id".into()]), rows: vec![row] }))
}

fn failed() -> Answer {
    Err(LookupError::Unavailable("down".to_owned()))
}

/// A lane, and what it has asked for and not been given.
struct Bench {
    lane: Lane,
    rulebook: Arc<Rulebook>,
    metrics: Arc<Metrics>,
    now: Instant,
    asked: Vec<Ask>,
    /// What was handed over: tenant and id, in order.
    handed: Vec<(Option<TenantId>, u64)>,
    authorized: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        Self {
            lane: Lane::new(Arc::clone(&metrics)),
            rulebook: rulebook(),
            metrics,
            now: Instant::now(),
            asked: Vec::new(),
            handed: Vec::new(),
            authorized: Vec::new(),
        }
    }

    fn offer(&mut self, tenant: Option<&str>, kind: &str, id: u64) {
        self.offer_with(tenant, kind, id, Receipt::none());
    }

    fn offer_with(&mut self, tenant: Option<&str>, kind: &str, id: u64, receipt: Receipt) {
        let delivery = delivery(&self.rulebook, tenant, kind, id, receipt);
        let mut effects = Vec::new();
        self.lane.offer(delivery, self.now, &mut effects);
        self.take(effects);
    }

    /// Answers what has been asked at this place in the order of asking.
    fn answer(&mut self, place: usize, answer: Answer) {
        let ask = self.asked.remove(place);
        let mut effects = Vec::new();
        self.lane.answered(ask.ticket, answer, self.now, &mut effects);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::HandOver(handover) => {
                    let id = handover.event().id().unwrap().as_json().parse().unwrap();
                    self.handed.push((handover.event().tenant().cloned(), id));
                }
                Effect::Ask(ask) => self.asked.push(ask),
                authorized @ Effect::Authorized { .. } => self.authorized.push(authorized),
            }
        }
    }

    fn handed_of(&self, tenant: Option<&str>) -> Vec<u64> {
        let tenant = tenant.and_then(TenantId::new);
        self.handed.iter().filter(|(of, _)| *of == tenant).map(|(_, id)| *id).collect()
    }

    fn asked_of(&self, tenant: &str) -> usize {
        self.asked.iter().filter(|ask| ask.tenant.as_ref().is_some_and(|of| of.as_str() == tenant)).count()
    }

    fn drops(&self, cause: DropCause) -> u64 {
        self.metrics.drops(cause).get()
    }
}
