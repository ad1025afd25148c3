pub(super) mod cost;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::{
    AttributeMatch, Audience, Clause, Decoder, Envelope, Event, EveryTenant, Keep, Matcher, Path, Payload,
    PayloadFilter, Scalar, Shape,
};
use crate::shard::Routed;

#[expect(clippy::disallowed_methods, reason = "no time passes in these tests")]
fn event(tenant: Option<&str>) -> Event {
    let path = |text| Path::parse(text).unwrap();
    let decoder = Decoder::new(Shape { payload: path("."), tenant: Some(path("t")), id: None, kind: None });
    let body = tenant.map_or("{}".to_owned(), |tenant| format!("{{\"t\":\"{tenant}\"}}"));
    decoder.decode(Bytes::from(body), Envelope::NONE, Instant::now()).unwrap()
}

fn identity(tenant: &str, user: &str, role: &str) -> Identity {
    let attributes = [("role".into(), Scalar::Text(role.into()))].into_iter().collect();
    Identity {
        user: UserId::new(user).unwrap(),
        tenant: TenantId::new(tenant).unwrap(),
        attributes: Arc::new(attributes),
        expires_at: None,
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

/// What the indexes must agree with: a plain list, searched as the words of the specification say.
#[derive(Default)]
struct Model {
    sessions: BTreeMap<u32, Plain>,
}

struct Plain {
    id: SessionId,
    tenant: String,
    user: String,
    role: String,
    topics: BTreeSet<String>,
}

impl Plain {
    fn looks_at(&self, name: &str) -> bool {
        let wildcard = topic(name).wildcard().as_str().to_owned();
        self.topics.contains(name) || self.topics.contains(&wildcard)
    }
}

#[derive(Clone, Debug)]
struct ClauseSpec {
    users: Option<Vec<u8>>,
    topics: Option<Vec<u8>>,
    role: Option<u8>,
    except: Option<u8>,
    payload: Option<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Admit(u8, u8, u8),
    Remove(u8),
    Subscribe(u8, u8),
    Unsubscribe(u8, u8),
    Deliver(Option<u8>, Vec<ClauseSpec>),
    Everyone,
}

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const USERS: [&str; 3] = ["1", "2", "3"];
const ROLES: [&str; 2] = ["manager", "agent"];
/// Shared, as those of a rulebook are.
static PAYLOADS: LazyLock<[Payload; 3]> = LazyLock::new(|| {
    let part = |keep| Payload::Part(Arc::new(PayloadFilter::new(keep)));
    [part(Keep::Only), part(Keep::Without), Payload::Own(Bytes::from_static(b"1"))]
});
const TOPICS: [&str; 5] = ["deal:1", "deal:2", "deal:*", "board:a", "news"];

fn clause() -> impl Strategy<Value = ClauseSpec> {
    let some = |of: u8| prop::option::of(prop::collection::vec(0..of, 0..3));
    (some(3), some(5), prop::option::of(0..2_u8), prop::option::of(0..3_u8), prop::option::of(0..3_u8))
        .prop_map(|(users, topics, role, except, payload)| ClauseSpec { users, topics, role, except, payload })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, 0..3_u8, 0..2_u8).prop_map(|(tenant, user, role)| Step::Admit(tenant, user, role)),
        2 => any::<u8>().prop_map(Step::Remove),
        6 => (any::<u8>(), 0..5_u8).prop_map(|(session, topic)| Step::Subscribe(session, topic)),
        2 => (any::<u8>(), 0..5_u8).prop_map(|(session, topic)| Step::Unsubscribe(session, topic)),
        4 => (prop::option::of(0..3_u8), prop::collection::vec(clause(), 0..3)).prop_map(|(t, c)| Step::Deliver(t, c)),
        1 => Just(Step::Everyone),
    ]
}

fn build(spec: &ClauseSpec) -> Clause {
    let user = |index: &u8| UserId::new(USERS[usize::from(*index)]).unwrap();
    Clause {
        users: spec.users.as_ref().map(|users| users.iter().map(user).collect()),
        topics: spec
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(|index| topic(TOPICS[usize::from(*index)])).collect()),
        attributes: spec.role.map(|role| {
            let matcher = Matcher::Equals(Scalar::Text(ROLES[usize::from(role)].into()));
            Arc::from([AttributeMatch { name: "role".into(), matcher }])
        }),
        except: spec.except.iter().map(user).collect(),
        payload: spec.payload.map_or(Payload::Whole, |index| PAYLOADS[usize::from(index)].clone()),
    }
}

/// The name of a frame: what is in it.
fn encoded(payload: &Payload) -> Bytes {
    let known = PAYLOADS.iter().position(|known| known.is_same(payload));
    Bytes::from(known.map_or("whole".to_owned(), |known| known.to_string()))
}

impl Model {
    /// Whom the clauses reach, and with what.
    fn expected(&self, tenant: &str, clauses: &[ClauseSpec]) -> BTreeMap<u32, String> {
        let holds = |plain: &Plain, clause: &ClauseSpec| {
            clause.users.as_ref().is_none_or(|users| users.iter().any(|user| USERS[usize::from(*user)] == plain.user))
                && clause
                    .topics
                    .as_ref()
                    .is_none_or(|topics| topics.iter().any(|name| plain.looks_at(TOPICS[usize::from(*name)])))
                && clause.role.is_none_or(|role| ROLES[usize::from(role)] == plain.role)
                && clause.except.is_none_or(|user| USERS[usize::from(user)] != plain.user)
        };
        let first = |plain: &Plain| clauses.iter().find(|clause| plain.tenant == tenant && holds(plain, clause));
        let payload = |clause: &ClauseSpec| clause.payload.map_or("whole".to_owned(), |index| index.to_string());
        let reached =
            self.sessions.iter().filter_map(|(connection, plain)| Some((*connection, payload(first(plain)?))));
        reached.collect()
    }

    fn pick(&self, index: u8) -> Option<u32> {
        let connections: Vec<u32> = self.sessions.keys().copied().collect();
        connections.get(usize::from(index) % connections.len().max(1)).copied()
    }
}

fn reached(sessions: &mut Sessions, audiences: impl IntoIterator<Item = Audience>) -> BTreeMap<u32, String> {
    let routed = Routed::new(audiences.into_iter().collect(), event(None).received(), Arc::default(), encoded);
    let frames: Vec<_> = routed.frames().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect();
    assert_eq!(frames.iter().collect::<BTreeSet<_>>().len(), frames.len(), "a frame is encoded once");
    let mut reached = BTreeMap::new();
    sessions.deliver(routed.audiences(), |connection, clause| {
        let before = reached.insert(connection, frames[routed.frame_of(clause)].clone());
        assert_eq!(before, None, "a session is reached once at most");
    });
    reached
}

proptest! {
    #[test]
    fn the_indexes_find_whom_a_plain_search_finds(steps in prop::collection::vec(step(), 1..120)) {
        let (mut sessions, mut model) = (Sessions::default(), Model::default());
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Admit(tenant, user, role) => {
                    let (tenant, user) = (TENANTS[usize::from(tenant)], USERS[usize::from(user)]);
                    let (connection, role) = (u32::try_from(at).unwrap(), ROLES[usize::from(role)]);
                    let first = !model.sessions.values().any(|plain| plain.tenant == tenant);
                    let (id, said_first) = sessions.admit(connection, identity(tenant, user, role));
                    prop_assert_eq!(first, said_first);
                    let plain = Plain { id, tenant: tenant.into(), user: user.into(), role: role.into(), topics: BTreeSet::new() };
                    model.sessions.insert(connection, plain);
                }
                Step::Remove(session) => {
                    let Some(connection) = model.pick(session) else { continue };
                    let plain = model.sessions.remove(&connection).unwrap();
                    let last = !model.sessions.values().any(|other| other.tenant == plain.tenant);
                    let gone = sessions.remove(plain.id);
                    prop_assert_eq!(gone.map(|tenant| tenant.to_string()), last.then_some(plain.tenant));
                }
                Step::Subscribe(session, name) => {
                    let Some(connection) = model.pick(session) else { continue };
                    let plain = model.sessions.get_mut(&connection).unwrap();
                    sessions.subscribe(plain.id, topic(TOPICS[usize::from(name)]));
                    plain.topics.insert(TOPICS[usize::from(name)].into());
                    prop_assert_eq!(sessions.view(plain.id).topics, plain.topics.len());
                }
                Step::Unsubscribe(session, name) => {
                    let Some(connection) = model.pick(session) else { continue };
                    let plain = model.sessions.get_mut(&connection).unwrap();
                    let had = plain.topics.remove(TOPICS[usize::from(name)]);
                    prop_assert_eq!(sessions.unsubscribe(plain.id, &topic(TOPICS[usize::from(name)])), had);
                }
                Step::Deliver(tenant, clauses) => {
                    let tenant = TENANTS[usize::from(tenant.unwrap_or(0))];
                    // Whether it is one route that says all of it, or several that follow each other.
                    for size in [1, clauses.len().max(1)] {
                        let audience = |clauses: &[ClauseSpec]| {
                            Audience::of_tenant(&event(Some(tenant)), clauses.iter().map(build).collect()).unwrap()
                        };
                        let audiences = clauses.chunks(size).map(audience);
                        prop_assert_eq!(reached(&mut sessions, audiences), model.expected(tenant, &clauses));
                    }
                }
                Step::Everyone => {
                    let audience = Audience::everyone(&event(None), None);
                    let everyone = model.sessions.keys().map(|connection| (*connection, "whole".to_owned())).collect();
                    prop_assert_eq!(reached(&mut sessions, audience), everyone);
                }
            }
            let subscriptions = model.sessions.values().map(|plain| plain.topics.len()).sum::<usize>();
            prop_assert_eq!(sessions.subscribed(), subscriptions);
        }
        for tenant in TENANTS {
            let name = TenantId::new(tenant).unwrap();
            let of_tenant = || model.sessions.iter().filter(|(_, plain)| plain.tenant == tenant);
            let topics = of_tenant().flat_map(|(connection, plain)| plain.topics.iter().map(|name| (*connection, topic(name))));
            let expected: BTreeSet<(u32, Topic)> = topics.filter(|(_, topic)| topic.as_str() != "news").collect();
            let found = sessions.subscriptions(&name, |topic| topic.as_str() != "news");
            prop_assert!(found.is_sorted_by_key(|(connection, _)| *connection));
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
            let users = ["1", "3", "1"].map(|user| UserId::new(user).unwrap());
            let expected: Vec<u32> =
                of_tenant().filter(|(_, plain)| ["1", "3"].contains(&plain.user.as_str())).map(|(at, _)| *at).collect();
            prop_assert_eq!(sessions.connections_of(&name, &users), expected);
            for (_, plain) in of_tenant() {
                let own: BTreeSet<String> = sessions.topics(plain.id).map(ToString::to_string).collect();
                prop_assert_eq!(&own, &plain.topics);
            }
        }
        for (_, plain) in std::mem::take(&mut model.sessions) {
            sessions.remove(plain.id);
        }
        prop_assert_eq!(sessions.subscribed(), 0);
        prop_assert!(sessions.is_empty() && sessions.tenants.is_empty() && sessions.by_name.is_empty());
    }
}

#[test]
fn an_audience_has_the_events_own_tenant_or_the_mark() {
    assert!(Audience::of_tenant(&event(None), Vec::new()).is_none());
    assert!(Audience::everyone(&event(Some("acme")), None).is_none());
    assert!(Audience::everyone(&event(Some("acme")), EveryTenant::if_configured(true)).is_some());
}

#[test]
fn union_of_audiences_reaches_a_session_once() {
    let mut sessions = Sessions::default();
    let (id, _) = sessions.admit(5, identity("acme", "1", "manager"));
    sessions.subscribe(id, topic("deal:1"));
    let spec = ClauseSpec { users: None, topics: Some(vec![0, 2]), role: None, except: None, payload: Some(1) };
    let audience = || Audience::of_tenant(&event(Some("acme")), vec![build(&spec), Clause::default()]).unwrap();
    assert_eq!(reached(&mut sessions, [audience(), audience()]), [(5, "1".to_owned())].into());
}
