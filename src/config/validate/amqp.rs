//! The `amqp` section.

use hashbrown::HashMap;
use secrecy::{ExposeSecret, SecretString};

use super::{amqp_tls, or};
use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::files::Files;
use crate::config::model::{Amqp, Binding, Exchange, Queue, WhenLost};
use crate::config::place::Place;
use crate::config::raw::{
    At, Field, RawAmqp, RawBinding, RawExchange, RawQueue, RawWhenLost, Scalars, SecretUrl, Text,
};
use crate::event::{Scalar, Template, Value};

const PREFETCH: u16 = 1000;
/// Bytes that a connection adds to the name of a queue that is renewed, at most.
const RENEWED_PART: usize = 10;
/// Exchange types of AMQP itself. A broker's plugins add others, so that these are for suggestions.
const TYPES: [&str; 4] = ["direct", "fanout", "topic", "headers"];

pub(super) fn amqp(raw: &RawAmqp, instance: &str, files: &mut Files, diagnostics: &mut Diagnostics) -> Option<Amqp> {
    let urls = urls(raw, diagnostics);
    let tls = amqp_tls::amqp_tls(raw, files, diagnostics);
    let exchanges = exchanges(&raw.exchanges, diagnostics);
    let names: Option<Vec<&str>> = match &raw.exchanges {
        Field::Faulty => None,
        Field::Missing => Some(Vec::new()),
        Field::Given(at) => at.value.iter().map(|raw| raw.value.name.value().map(|name| name.text.as_str())).collect(),
    };
    let queues = queues(&raw.queues, names.as_deref(), instance, diagnostics);
    let when_lost = match or(&raw.when_lost, RawWhenLost::Reconnect) {
        RawWhenLost::Reconnect => WhenLost::Reconnect,
        RawWhenLost::Exit => WhenLost::Exit,
    };
    Some(Amqp { urls: urls?, tls: tls?, exchanges: exchanges?, queues: queues?, when_lost })
}

fn urls(raw: &RawAmqp, diagnostics: &mut Diagnostics) -> Option<Vec<SecretString>> {
    let given = raw.url.given()?;
    if given.value.0.is_empty() {
        diagnostics.error(&given.place, "`url` needs at least one URL");
    }
    for url in &given.value.0 {
        check_url(url, diagnostics);
    }
    Some(given.value.0.iter().map(|url| url.value.0.clone()).collect())
}

/// Never repeats the URL: a password may stand anywhere in one that is malformed.
fn check_url(url: &At<SecretUrl>, diagnostics: &mut Diagnostics) {
    let example = "amqp://user:password@host:5672/vhost";
    let text = url.value.0.expose_secret();
    let Some((scheme, rest)) = text.split_once("://") else {
        url.fault("this is no AMQP URL", diagnostics).help(format!("write {example}"));
        return;
    };
    if !matches!(scheme, "amqp" | "amqps") {
        url.fault("this URL's scheme is neither `amqp` nor `amqps`", diagnostics).help(format!("write {example}"));
        return;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        url.fault("this AMQP URL has no host", diagnostics).help(format!("write {example}"));
    } else if port.is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err()) {
        let help = "percent-encode `/`, `?`, `#` and `@` in the user and password";
        url.fault("this AMQP URL's port is no number up to 65535", diagnostics).help(help);
    }
}

fn exchanges(raw: &Field<Vec<At<RawExchange>>>, diagnostics: &mut Diagnostics) -> Option<Vec<Exchange>> {
    let raw = match raw {
        Field::Missing => return Some(Vec::new()),
        Field::Faulty => return None,
        Field::Given(raw) => &raw.value,
    };
    let mut seen = HashMap::new();
    let all: Vec<_> = raw.iter().map(|raw| exchange(&raw.value, &mut seen, diagnostics)).collect();
    all.into_iter().collect()
}

fn exchange(raw: &RawExchange, seen: &mut HashMap<String, Place>, diagnostics: &mut Diagnostics) -> Option<Exchange> {
    let (name, kind) = (raw.name.given(), raw.kind.given());
    if let Some(name) = name {
        named_once("exchange", name, seen, diagnostics);
        if name.value.text.is_empty() {
            diagnostics.error(&name.place, "the default exchange cannot be declared");
        }
    }
    if let Some(kind) = kind {
        let text = kind.value.text.as_str();
        if !TYPES.contains(&text) && !text.starts_with("x-") {
            let message = format!("`{}` is no type of exchange{}", kind.shown(), did_you_mean(kind.shown(), TYPES));
            let help = "write `direct`, `fanout`, `topic` or `headers`, or the `x-` type of a plugin of the broker";
            diagnostics.error(&kind.place, message).help(help);
        }
    }
    let arguments = arguments(&raw.arguments, diagnostics);
    Some(Exchange {
        name: name?.value.text.clone(),
        kind: kind?.value.text.clone(),
        durable: or(&raw.durable, true),
        auto_delete: or(&raw.auto_delete, false),
        internal: or(&raw.internal, false),
        passive: or(&raw.passive, false),
        arguments: arguments?,
    })
}

fn queues(
    raw: &Field<Vec<At<RawQueue>>>,
    exchanges: Option<&[&str]>,
    instance: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Queue>> {
    let raw = raw.given()?;
    if raw.value.is_empty() {
        let help = "- name: pointsman.{instance}\n  auto_delete: true\n  bind: [{ exchange: events }]";
        diagnostics.error(&raw.place, "`queues` needs at least one queue").help(help);
    }
    let mut seen = HashMap::new();
    let each = |raw: &At<RawQueue>| queue(&raw.value, exchanges, instance, &mut seen, diagnostics);
    let all: Vec<_> = raw.value.iter().map(each).collect();
    all.into_iter().collect()
}

fn queue(
    raw: &RawQueue,
    exchanges: Option<&[&str]>,
    instance: &str,
    seen: &mut HashMap<String, Place>,
    diagnostics: &mut Diagnostics,
) -> Option<Queue> {
    // Such a queue ends with its connection, and the broker may be late to notice that: the next one must not have its
    // name. A name that is given in full is for others to know, too, and stays.
    let is_renewed = or(&raw.exclusive, false) && !or(&raw.passive, false);
    let name = raw.name.given().and_then(|name| {
        named_once("queue", name, seen, diagnostics);
        queue_name(name, instance, is_renewed, diagnostics)
    });
    let arguments = arguments(&raw.arguments, diagnostics);
    let bind = match &raw.bind {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(raw) => {
            let all: Vec<_> = raw.value.iter().map(|raw| binding(&raw.value, exchanges, diagnostics)).collect();
            all.into_iter().collect()
        }
    };
    let (name, stem) = name?;
    Some(Queue {
        name,
        stem,
        durable: or(&raw.durable, false),
        exclusive: or(&raw.exclusive, false),
        auto_delete: or(&raw.auto_delete, false),
        passive: or(&raw.passive, false),
        arguments: arguments?,
        bind: bind?,
        prefetch: raw.prefetch.value().map_or(PREFETCH, |number| u16::try_from(number.0).unwrap_or(u16::MAX)),
        no_ack: or(&raw.no_ack, false),
    })
}

/// A queue's name, and its stem if it is one that is renewed and holds `{instance}`.
fn queue_name(
    name: &At<Text>,
    instance: &str,
    is_renewed: bool,
    diagnostics: &mut Diagnostics,
) -> Option<(String, Option<String>)> {
    let mut is_of_instance = false;
    let place = |place: &str| match place {
        "instance" => {
            is_of_instance = true;
            Ok(())
        }
        other => Err(format!("`{{{other}}}` is not known in a queue's name; only `{{instance}}` is")),
    };
    let filled = match Template::parse(&name.value.text, place) {
        Ok(template) => template.render(|()| Value::Text(instance))?.to_string(),
        Err(error) => {
            return super::templates::report(&name.place, name.value.expanded, "name", error.to_string(), diagnostics);
        }
    };
    if filled.is_empty() {
        diagnostics.error(&name.place, "a queue needs a name").help("write pointsman.{instance}");
        return None;
    }
    let stem = (is_renewed && is_of_instance).then(|| filled.clone());
    let most = if stem.is_some() { 255 - RENEWED_PART } else { 255 };
    if filled.len() > most {
        diagnostics.error(&name.place, format!("this queue's name is at most {most} bytes long"));
        return None;
    }
    Some((filled, stem))
}

fn binding(raw: &RawBinding, exchanges: Option<&[&str]>, diagnostics: &mut Diagnostics) -> Option<Binding> {
    let exchange = raw.exchange.given();
    if let Some(exchange) = exchange {
        let name = exchange.value.text.as_str();
        if name.is_empty() {
            let message = "a queue cannot be bound to the default exchange";
            diagnostics.error(&exchange.place, message).help("it gets what is published with its name as routing key");
        } else if let Some(exchanges) = exchanges {
            // The broker's own exchanges need no declaration.
            if !exchanges.contains(&name) && !name.starts_with("amq.") {
                let meant = did_you_mean(exchange.shown(), exchanges.iter().copied());
                let message = format!("the exchange `{}` is not declared here{meant}", exchange.shown());
                diagnostics.warning(&exchange.place, message).help("the broker must know it already");
            }
        }
    }
    let arguments = arguments(&raw.arguments, diagnostics);
    Some(Binding {
        exchange: exchange?.value.text.clone(),
        routing_key: match &raw.routing_key {
            Field::Missing => String::new(),
            Field::Faulty => return None,
            Field::Given(key) => key.value.text.clone(),
        },
        arguments: arguments?,
    })
}

fn named_once(what: &str, name: &At<Text>, seen: &mut HashMap<String, Place>, diagnostics: &mut Diagnostics) {
    if let Some(first) = seen.get(&name.value.text) {
        let message = format!("the {what} `{}` is declared twice", name.shown());
        diagnostics.error(&name.place, message).help(format!("first declared at {first}"));
    } else {
        seen.insert(name.value.text.clone(), name.place.clone());
    }
}

fn arguments(raw: &Field<Scalars>, diagnostics: &mut Diagnostics) -> Option<Vec<(String, Scalar)>> {
    let raw = match raw {
        Field::Missing => return Some(Vec::new()),
        Field::Faulty => return None,
        Field::Given(raw) => &raw.value,
    };
    let mut all = Some(Vec::new());
    for (name, value) in &raw.0 {
        if name.value.len() > 255 {
            diagnostics.error(&name.place, "an argument's name is at most 255 bytes long");
        }
        match (value.value(), &mut all) {
            (Some(value), Some(all)) => all.push((name.value.clone(), value.value.clone())),
            _ => all = None,
        }
    }
    all
}
