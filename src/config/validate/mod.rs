//! From what the files say to what the program may assume: names resolved, templates parsed, defaults filled in.
//!
//! Invariant: every part is looked at, whatever is wrong with the others, so that all is reported at once. A reference to
//! something faulty is not reported again.

mod actions;
mod amqp;
mod amqp_tls;
mod auth;
mod conditions;
mod database;
mod database_url;
mod overlap;
mod payload;
mod plugins;
mod providers;
mod public_key;
mod queries;
mod root;
mod routes;
mod rule_tests;
mod templates;
mod tls;
mod topics;
mod web_url;

use super::diagnostics::Diagnostics;
use super::files::Files;
use super::model::Config;
use super::place::Place;
use super::raw::{At, Field, RawConfig};

use self::plugins::Registry;
use self::queries::Queries;

pub(super) use self::rule_tests::{Known, identity, mocks, rule_tests, topic};

/// Checks the whole. `None` where something is wrong, which is then reported. `root` is where the main file starts.
pub(super) fn validate(
    raw: &RawConfig,
    root: &Place,
    instance: &str,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Option<Config> {
    let queries = Queries::read(&raw.database, diagnostics);
    let listen = root::listen(raw);
    files.enter("tls");
    let tls = optional(&raw.tls, |raw| tls::tls(raw, files, diagnostics));
    let admin = root::admin(&raw.admin, diagnostics);
    root::listeners_differ(raw, diagnostics);
    files.enter("amqp");
    let amqp = optional(&raw.amqp, |raw| amqp::amqp(raw, instance, files, diagnostics));
    files.enter("database");
    let mut database = optional(&raw.database, |raw| database::database(raw, &queries, files, diagnostics));
    let event = root::event(&raw.event, root, diagnostics);
    let mut plugins = Registry::new(&raw.plugins, files);
    let auth = auth::auth(&raw.auth, &queries, root, &mut plugins, diagnostics);
    if let (Some(Some(database)), Some(auth)) = (&mut database, &auth) {
        database::note_needs(database, auth);
    }
    let ping = root::ping(&raw.ping, &queries, diagnostics);
    let topics = topics::topics(&raw.topics, &queries, &mut plugins, diagnostics);
    let scope = routes::Scope {
        queries: &queries,
        asked_for_topics: topics::asked(topics.as_deref()),
        roots: root::path_roots(&raw.event),
        payload: root::payload_root(&raw.event),
        fields: routes::Fields::default(),
    };
    let routes = routes::routes(&raw.routes, &scope, root, &mut plugins, diagnostics);
    let plugins = plugins.finish(&raw.plugins, &queries, diagnostics);
    let limits = root::limits(&raw.limits);
    Some(Config {
        listen,
        tls: tls?,
        shards: root::shards(&raw.shards),
        drain: root::drain(&raw.drain),
        demo: or(&raw.demo, false),
        admin,
        amqp: amqp?,
        database: database?,
        event: event?,
        auth: auth?,
        ping: ping?,
        topics: topics?,
        routes: routes?,
        plugins: plugins?,
        reload: plugins::reload(&raw.reload),
        limits,
    })
}

/// What a section that may be left out comes to: `Some(None)` where it is.
#[expect(clippy::option_option, reason = "whether it is right, and whether it is there")]
fn optional<T, U>(field: &Field<T>, validate: impl FnOnce(&T) -> Option<U>) -> Option<Option<U>> {
    optional_at(field, |at| validate(&at.value))
}

/// As [`optional`], with the place where it stands.
#[expect(clippy::option_option, reason = "whether it is right, and whether it is there")]
fn optional_at<T, U>(field: &Field<T>, validate: impl FnOnce(&At<T>) -> Option<U>) -> Option<Option<U>> {
    match field {
        Field::Missing => Some(None),
        Field::Faulty => None,
        Field::Given(at) => validate(at).map(Some),
    }
}

/// A value, or its default.
fn or<T: Copy>(field: &Field<T>, default: T) -> T {
    field.value().copied().unwrap_or(default)
}
