//! A lane's state under answers in any order and at its bounds, and lanes as threads.
#![expect(clippy::disallowed_methods, reason = "a test is an edge: events are received now")]

mod authorizing;
mod bounds;
mod order;
mod quarantine;
mod revoking;
mod rights;
mod scripts;
mod swapping;
mod threads;
mod waking;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use compact_str::format_compact;
use tokio::sync::mpsc;

use super::*;
use crate::config::{
    ActionRule, AudienceRule, ForgetRule, ListRule, Plugins, Query, QueryCache, QueryCall, QueryId, Route, RouteTarget,
    TopicAllow, TopicPlace, TopicRule, UsersRule,
};
use crate::event::{Envelope, Matcher, Path, Scalar, Shape, Template, TopicPattern};
use crate::lookup::{LookupError, Rows};
use crate::observe::{DropCause, Metrics, RoutedOutcome};
use crate::reload::{Generation, Queries, Rulebook, Rules};
use crate::route::Answer;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn template(text: &str) -> Template<Path> {
    Template::parse(text, |name| Ok(path(name))).unwrap()
}

fn query(id: u16) -> AudienceRule {
    by(id, "{data.id}")
}

fn by_record(id: u16) -> AudienceRule {
    by(id, "{data.record}")
}

fn by(id: u16, record: &str) -> AudienceRule {
    let with = vec![("record".into(), template(record))];
    AudienceRule { users: Some(UsersRule::Query(QueryCall { query: QueryId(id), with })), ..AudienceRule::default() }
}

/// Routes by an event's `kind`: `plain` asks nothing, `ask` one query, `twice` two; `nobody` and `all` say it. `kept` asks
/// query 3, whose answers are kept, by the event's `record`; `look` is for the topics of that record.
/// Topics: `free:{id}` is for all, `ask:{id}` asks query 7, `kept:{id}` query 8, whose answers are kept.
/// `forget` is about query 3, `revoke` about 3, 7 and 8, each by the record; `leaky` about query 4, which is nobody's own;
/// `kick` disconnects the user `record`.
fn rulebook() -> Arc<Rulebook> {
    Arc::new(rulebook_of(Generation(1), &ROUTES))
}

const ROUTES: [&str; 11] =
    ["plain", "ask", "twice", "nobody", "all", "kept", "look", "forget", "revoke", "leaky", "kick"];
/// Queries of which answers are kept.
const KEPT: [u16; 3] = [3, 4, 8];
const TTL: Duration = Duration::from_secs(30);

fn queries() -> Vec<Query> {
    let query = |id: u16| {
        let own = match id {
            7 | 8 => "id",
            4 => "",
            _ => "record",
        };
        let binds = [own, if id == 4 { "" } else { "tenant" }];
        Query {
            name: format_compact!("q{id}"),
            sql: String::new(),
            binds: binds.into_iter().filter(|bind| !bind.is_empty()).map(Into::into).collect(),
            timeout: None,
            needs: &[],
            cache: KEPT.contains(&id).then_some(QueryCache { ttl: TTL, max: 1_000 }),
        }
    };
    (0..9).map(query).collect()
}

fn forget(query: u16, bind: &str) -> ActionRule {
    let with = vec![(bind.into(), template("{data.record}"))];
    ActionRule::Forget(ForgetRule { query: QueryId(query), with, of_tenant: query != 4 })
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
    let topics = ["ask:{data.record}", "kept:{data.record}"].map(template);
    let look = AudienceRule { topics: Some(ListRule::Each(topics.into())), ..AudienceRule::default() };
    let mut routes = vec![
        route("plain", RouteTarget::Audiences(vec![AudienceRule::default()])),
        route("ask", RouteTarget::Audiences(vec![query(0)])),
        route("twice", RouteTarget::Audiences(vec![query(1), query(2)])),
        route("nobody", RouteTarget::Audiences(vec![nobody])),
        route("all", RouteTarget::Everyone),
        route("kept", RouteTarget::Audiences(vec![by_record(3)])),
        route("look", RouteTarget::Audiences(vec![look])),
        route("forget", RouteTarget::Act(vec![forget(3, "record")])),
        route("revoke", RouteTarget::Act(vec![forget(3, "record"), forget(7, "id"), forget(8, "id")])),
        route("leaky", RouteTarget::Act(vec![forget(4, "record")])),
        route("kick", RouteTarget::Act(vec![ActionRule::Disconnect(ListRule::Each(vec![template("{data.record}")]))])),
    ];
    let rank = |route: &Route| kinds.iter().position(|kind| *kind == route.name);
    routes.retain(|route| rank(route).is_some());
    routes.sort_by_key(rank);
    let id = Template::parse("{id}", |_| Ok(TopicPlace::Capture(0))).unwrap();
    let ask = |query| TopicAllow::Query(QueryCall { query: QueryId(query), with: vec![("id".into(), id.clone())] });
    let topic = |pattern: &str, allow| TopicRule { pattern: TopicPattern::parse(pattern).unwrap(), allow };
    let topics = vec![topic("free:{id}", TopicAllow::Always), topic("ask:{id}", ask(7)), topic("kept:{id}", ask(8))];
    let rules = Rules { event: shape(), largest_event: usize::MAX, routes, topics, plugins: Plugins::default() };
    let queries = Queries { epoch: 1, queries: queries().into(), ..Queries::default() };
    Rulebook::compile(generation, rules, Arc::new(queries)).unwrap()
}

fn shape() -> Shape {
    Shape { payload: path("data"), tenant: Some(path("data.tenant")), id: Some(path("data.id")), kind: None }
}

/// An event of this kind, or of `kind record`.
fn delivery(rulebook: &Arc<Rulebook>, tenant: Option<&str>, kind: &str, id: u64, receipt: Receipt) -> Delivery {
    let tenant = tenant.map_or_else(|| "null".to_owned(), |tenant| format!("\"{tenant}\""));
    let (kind, record) = kind.split_once(' ').unwrap_or((kind, "null"));
    let body = if record == "null" {
        format!(r#"{{"kind":"{kind}","data":{{"tenant":{tenant},"id":{id}}}}}"#)
    } else {
        format!(r#"{{"kind":"{kind}","data":{{"tenant":{tenant},"id":{id},"record":{record}}}}}"#)
    };
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

/// What is done to sessions.
fn say(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Unsubscribe { connection, topics, .. } => {
            let topics: Vec<String> = topics.iter().map(|(topic, verdict)| format!("{topic} {verdict:?}")).collect();
            Some(format!("unsubscribe {}: {}", connection.index, topics.join(", ")))
        }
        Effect::Withdraw { shard, order } => Some(format!("withdraw {} of {}", shard.index(), order.tenant)),
        Effect::Disconnect { tenant, users } => {
            let users: Vec<&str> = users.iter().map(crate::event::UserId::as_str).collect();
            Some(format!("disconnect {} of {tenant}", users.join(", ")))
        }
        _ => None,
    }
}

/// A lane, and what it has asked for and not been given.
struct Bench {
    lane: Lane,
    rulebook: Arc<Rulebook>,
    metrics: Arc<Metrics>,
    now: Instant,
    asked: Vec<Ask>,
    /// What is to run beside it, and where.
    runs: Vec<Run>,
    quarantine: Quarantine,
    /// What was handed over: tenant and id, in order.
    handed: Vec<(Option<TenantId>, u64)>,
    authorized: Vec<Effect>,
    /// The other effects.
    others: Vec<Effect>,
    /// All that is done to sessions, in order.
    done: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        Self::with(rulebook())
    }

    fn with(rulebook: Arc<Rulebook>) -> Self {
        let metrics = Arc::new(Metrics::new());
        let mut lane = Lane::new(NonZeroUsize::MIN, Arc::clone(&metrics));
        lane.adopt(&rulebook);
        Self {
            lane,
            runs: Vec::new(),
            quarantine: Quarantine::new(Arc::clone(&metrics)),
            rulebook,
            metrics,
            now: Instant::now(),
            asked: Vec::new(),
            handed: Vec::new(),
            authorized: Vec::new(),
            others: Vec::new(),
            done: Vec::new(),
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
    #[expect(clippy::needless_pass_by_value, reason = "answers are made where they are given")]
    fn answer(&mut self, place: usize, answer: Answer) {
        let ask = self.asked.remove(place);
        let mut effects = Vec::new();
        self.lane.answered(ask.ticket, &answer, self.now, &mut effects);
        self.take(effects);
    }

    /// Runs what is to run beside the lane, at this place in the order in which it came up.
    fn run(&mut self, place: usize) {
        let ticket = self.quarantine.run(self.runs.remove(place), self.now);
        let mut effects = Vec::new();
        self.lane.has_run(ticket, self.now, &mut effects);
        self.take(effects);
    }

    fn run_all(&mut self) {
        while !self.runs.is_empty() {
            self.run(0);
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::HandOver(handover) => {
                    let id = handover.event().id().unwrap().as_json().parse().unwrap();
                    self.handed.push((handover.event().tenant().cloned(), id));
                    self.done.push(format!("event {id}"));
                }
                Effect::Ask(ask) => self.asked.push(ask),
                Effect::Run(run) => self.runs.push(run),
                authorized @ Effect::Authorized { .. } => self.authorized.push(authorized),
                other => {
                    if let Some(done) = say(&other) {
                        self.done.push(done);
                    }
                    self.others.push(other);
                }
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
