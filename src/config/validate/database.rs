//! The `database` section.

use std::path::PathBuf;

use super::Queries;
use super::database_url::{Url, url};
use crate::config::diagnostics::Diagnostics;
use crate::config::files::Files;
use crate::config::model::{Auth, Database, Pool, Provider};
use crate::config::raw::{Field, RawDatabase, RawPool};
use crate::lookup::scan::Dialect;

/// Without them, nobody knows whose a token is.
const IDENTITY: &[&str] = &["user", "tenant"];

pub(super) fn database(
    raw: &RawDatabase,
    queries: &Queries,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Option<Database> {
    let url = raw.url.given().and_then(|given| url(given, files, diagnostics));
    let init = init(raw, url.as_ref(), files, diagnostics);
    let pool = pool(raw.pool.value(), diagnostics);
    let url = url?;
    Some(Database { url: url.text, dialect: url.dialect, init: init?, pool: pool?, queries: queries.all()? })
}

/// Notes which columns cannot be done without.
pub(super) fn note_needs(database: &mut Database, auth: &Auth) {
    for provider in &auth.providers {
        if let Provider::Sql(id) = provider
            && let Some(query) = database.queries.get_mut(usize::from(id.0))
        {
            query.needs = IDENTITY;
        }
    }
}

fn pool(raw: Option<&RawPool>, diagnostics: &mut Diagnostics) -> Option<Pool> {
    let default = Pool::default();
    let Some(raw) = raw else { return Some(default) };
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let max = raw.max.value().map_or(default.max, |max| count(max.0));
    let min = raw.min.value().map_or(default.min, |min| count(min.0));
    if min > max {
        if let Some(given) = raw.min.given() {
            diagnostics.error(&given.place, format!("`min` is more than `max`, which is {max}"));
        }
        return None;
    }
    Some(Pool {
        max,
        min,
        timeout: raw.timeout.value().map_or(default.timeout, |span| span.0),
        idle_timeout: raw.idle_timeout.value().map_or(default.idle_timeout, |span| span.0),
        max_lifetime: raw.max_lifetime.value().map_or(default.max_lifetime, |span| span.0),
    })
}

fn init(
    raw: &RawDatabase,
    url: Option<&Url>,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(PathBuf, String)>> {
    let scripts = match &raw.init {
        Field::Missing => return Some(Vec::new()),
        Field::Faulty => return None,
        Field::Given(scripts) => scripts,
    };
    if let Some(url) = url.filter(|url| !url.in_memory && !scripts.value.is_empty()) {
        let (what, whose) =
            if url.dialect == Dialect::Sqlite { ("a file", "the file's") } else { ("a server's", "its") };
        let message = format!("`init` is for databases in memory, and this one is {what}");
        diagnostics.error(&scripts.place, message).help(format!("create {whose} tables once, by hand"));
    }
    let each = |script: &crate::config::raw::At<_>| {
        let source = files.read_beside(script, diagnostics)?;
        Some((source.path().to_owned(), source.text().to_owned()))
    };
    let all: Vec<_> = scripts.value.iter().map(each).collect();
    all.into_iter().collect()
}
