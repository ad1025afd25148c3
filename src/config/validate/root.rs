//! The small sections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{Queries, templates};
use crate::config::MAX_SHARDS;
use crate::config::diagnostics::Diagnostics;
use crate::config::model::{Admin, Limits, OutboxLimits, Ping, WhenFull};
use crate::config::place::Place;
use crate::config::raw::{Field, RawAdmin, RawConfig, RawEvent, RawLimits, RawPing, RawShards, RawWhenFull};
use crate::event::{Path, Shape};

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const DRAIN: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_mins(1);
const LIMITS: Limits = Limits {
    connections: 100_000,
    topics: 100,
    message: 16 << 10,
    event: 16 << 20,
    outbox: OutboxLimits { messages: 256, bytes: 1 << 20, when_full: WhenFull::Disconnect },
};
const EVENT_EXAMPLE: &str = "say where the tenant stands in a published body:\n\
    event:\n  payload: data\n  tenant: data.tenant_id";

pub(super) fn listen(raw: &RawConfig) -> SocketAddr {
    raw.listen.value().map_or(LISTEN, |address| address.0)
}

pub(super) fn drain(raw: &Field<crate::config::raw::Span<0>>) -> Duration {
    raw.value().map_or(DRAIN, |span| span.0)
}

pub(super) fn shards(raw: &Field<RawShards>) -> NonZeroUsize {
    let most = usize::from(MAX_SHARDS);
    let count = match raw.value() {
        Some(RawShards::Count(count)) => usize::try_from(*count).ok(),
        Some(RawShards::Auto) | None => std::thread::available_parallelism().ok().map(NonZeroUsize::get),
    };
    NonZeroUsize::new(count.unwrap_or(1).min(most)).unwrap_or(NonZeroUsize::MIN)
}

pub(super) fn admin(raw: &Field<RawAdmin>, diagnostics: &mut Diagnostics) -> Admin {
    let Some(admin) = raw.value() else {
        return Admin { listen: ADMIN_LISTEN, key: None };
    };
    let listen = admin.listen.value().map_or(ADMIN_LISTEN, |address| address.0);
    // An empty one, as from a variable that is not set, is none.
    let key = admin.key.value().map(|key| key.0.clone()).filter(|key| !key.expose_secret().is_empty());
    let keyless = key.is_none() && !matches!(admin.key, Field::Faulty);
    if let (Some(at), true, false) = (admin.listen.given(), keyless, listen.ip().is_loopback()) {
        let message = "the admin listener can be reached from other machines, and has no key";
        diagnostics.error(&at.place, message).help("give `admin.key`, or listen on 127.0.0.1");
    }
    Admin { listen, key }
}

/// Two listeners cannot have one address.
pub(super) fn listeners_differ(raw: &RawConfig, diagnostics: &mut Diagnostics) {
    let client = raw.listen.value().map_or(LISTEN, |address| address.0);
    let admin = raw.admin.value().map(|admin| &admin.listen);
    let admin_address = admin.and_then(|listen| listen.value()).map_or(ADMIN_LISTEN, |address| address.0);
    let one_ip =
        client.ip() == admin_address.ip() || client.ip().is_unspecified() || admin_address.ip().is_unspecified();
    if client.port() == admin_address.port() && client.port() != 0 && one_ip {
        let place = admin.and_then(|listen| listen.given()).map(|at| &at.place);
        if let Some(place) = place.or_else(|| raw.listen.given().map(|at| &at.place)) {
            let message = format!("`listen` and `admin.listen` have the same port {}", client.port());
            diagnostics.error(place, message).help("give each a port of its own");
        }
    }
}

pub(super) fn event(raw: &Field<RawEvent>, root: &Place, diagnostics: &mut Diagnostics) -> Option<Shape> {
    if raw.is_missing() {
        diagnostics.error(root, "`event` is missing").help(EVENT_EXAMPLE);
    }
    let raw = raw.value()?;
    let mut path = |field: &Field<_>| match field.given() {
        Some(at) => templates::path(at, diagnostics).map(Some),
        None => Some(None),
    };
    let (payload, tenant) = (path(&raw.payload), path(&raw.tenant));
    let (id, kind) = (path(&raw.id), path(&raw.kind));
    let whole = Path::parse(".").ok()?;
    Some(Shape { payload: payload?.unwrap_or(whole), tenant: Some(tenant??), id: id?, kind: kind? })
}

/// What the paths of the section start with: `data` for `data.tenant_id`.
pub(super) fn path_roots(raw: &Field<RawEvent>) -> Vec<String> {
    let fields = raw.value().map(|event| [&event.payload, &event.tenant, &event.id, &event.kind]);
    let paths = fields.into_iter().flatten().filter_map(Field::value);
    paths.filter_map(|path| path.text.split('.').next()).filter(|root| !root.is_empty()).map(str::to_owned).collect()
}

/// Where the payload stands in a body, where that is not the whole of it.
pub(super) fn payload_root(raw: &Field<RawEvent>) -> Option<&str> {
    let payload = raw.value()?.payload.value()?.text.as_str();
    (payload != ".").then_some(payload)
}

pub(super) fn ping(raw: &Field<RawPing>, queries: &Queries, diagnostics: &mut Diagnostics) -> Option<Ping> {
    let raw = match raw {
        Field::Missing => return Some(Ping { every: PING, last_event_id: None }),
        Field::Faulty => return None,
        Field::Given(raw) => &raw.value,
    };
    let last_event_id = super::optional(&raw.last_event_id, |call| {
        let name = call.query.given()?;
        let (id, query) = queries.resolve(name, diagnostics)?;
        for bind in query.binds.iter().filter(|bind| *bind != "tenant") {
            let message = format!("the query `{}` binds `:{bind}`, which a ping cannot give it", query.name);
            diagnostics.error(&name.place, message).help("it may bind `:tenant`, or nothing");
        }
        Some(id)
    });
    Some(Ping { every: raw.every.value().map_or(PING, |span| span.0), last_event_id: last_event_id? })
}

pub(super) fn limits(raw: &Field<RawLimits>) -> Limits {
    let Some(raw) = raw.value() else { return LIMITS };
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let outbox = raw.outbox.value();
    let messages = outbox.and_then(|outbox| outbox.messages.value());
    let bytes = outbox.and_then(|outbox| outbox.bytes.value());
    Limits {
        connections: raw.connections.value().map_or(LIMITS.connections, |number| count(number.0)),
        topics: raw.topics.value().map_or(LIMITS.topics, |number| count(number.0)),
        message: raw.message.value().map_or(LIMITS.message, |size| size.0),
        event: raw.event.value().map_or(LIMITS.event, |size| size.0),
        outbox: OutboxLimits {
            messages: messages.map_or(LIMITS.outbox.messages, |number| count(number.0)),
            bytes: bytes.map_or(LIMITS.outbox.bytes, |size| size.0),
            when_full: match outbox.and_then(|outbox| outbox.when_full.value()) {
                Some(RawWhenFull::DropOldest) => WhenFull::DropOldest,
                Some(RawWhenFull::Disconnect) | None => WhenFull::Disconnect,
            },
        },
    }
}
