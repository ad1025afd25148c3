//! Named queries, and calls of them: names resolved, binds held against what the SQL has.

use compact_str::CompactString;

use super::{database_url, templates};
use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::model::{ForgetRule, Query, QueryCache, QueryCall, QueryId};
use crate::config::place::Place;
use crate::config::raw::{At, Field, RawDatabase, RawQuery, Scalars, Text};
use crate::event::{Path, Template};
use crate::lookup::scan::{self, Dialect};

/// Answers of a query that are kept, where `cache` does not say.
const CACHED: usize = 100_000;

/// What is bound, by name.
type Bound<R> = Vec<(CompactString, Template<R>)>;

/// All queries of the configuration, those that are faulty too.
pub(super) struct Queries {
    known: Vec<(String, Option<Query>)>,
    /// Whether the file has said all that it has: else an unknown name is not worth a word.
    whole: bool,
    /// Whether there is a database at all.
    database: bool,
}

impl Queries {
    pub(super) fn read(database: &Field<RawDatabase>, diagnostics: &mut Diagnostics) -> Self {
        let database_given = !database.is_missing();
        let Some(raw) = database.value() else {
            return Self { known: Vec::new(), whole: !database_given, database: database_given };
        };
        let Some(entries) = raw.queries.value() else {
            return Self { known: Vec::new(), whole: raw.queries.is_missing(), database: true };
        };
        // Whose SQL they are, the URL says. Where it does not, nobody can tell what is wrong with them.
        let dialect = raw.url.given().and_then(database_url::dialect);
        let mut known = Vec::new();
        for (name, entry) in &entries.0 {
            let read = entry.value().zip(dialect);
            let read = read.and_then(|(raw, dialect)| query(&name.value, raw, dialect, diagnostics));
            known.push((name.value.clone(), read));
        }
        if let Some((name, _)) = entries.0.get(usize::from(u16::MAX)) {
            diagnostics.error(&name.place, format!("more than {} queries", u16::MAX));
        }
        Self { known, whole: true, database: true }
    }

    /// The queries, where all are right.
    pub(super) fn all(&self) -> Option<Vec<Query>> {
        self.known.iter().map(|(_, query)| query.clone()).collect()
    }

    /// Whether answers of a query are kept.
    pub(super) fn is_cached(&self, query: QueryId) -> bool {
        let known = self.known.get(usize::from(query.0));
        known.and_then(|(_, query)| query.as_ref()).is_some_and(|query| query.cache.is_some())
    }

    /// The query of this name.
    pub(super) fn resolve(&self, name: &At<Text>, diagnostics: &mut Diagnostics) -> Option<(QueryId, &Query)> {
        let text = name.value.text.as_str();
        let index = self.known.iter().position(|(known, _)| known == text);
        if let Some(index) = index {
            return Some((QueryId(u16::try_from(index).ok()?), self.known[index].1.as_ref()?));
        }
        if !self.database {
            let message = format!("there is no query `{}`: there is no `database`", name.shown());
            diagnostics.error(&name.place, message).help("give `database.url` and `database.queries`");
        } else if self.whole {
            let names = self.known.iter().map(|(known, _)| known.as_str());
            let message = format!("there is no query `{}`{}", name.shown(), did_you_mean(name.shown(), names));
            diagnostics.error(&name.place, message);
        }
        None
    }

    /// A call of a query by a rule. What is bound is exactly what the query has, but `:tenant`.
    pub(super) fn call<R>(
        &self,
        name: &At<Text>,
        with: &Field<Scalars>,
        place: &dyn Fn(&str) -> Result<R, String>,
        diagnostics: &mut Diagnostics,
    ) -> Option<QueryCall<R>> {
        let (resolved, bound) = self.bound(name, with, place, diagnostics);
        let (id, query) = resolved?;
        let given = with.value().map_or(&[][..], |with| &with.0);
        for bind in query.binds.iter().filter(|bind| *bind != "tenant") {
            if !matches!(with, Field::Faulty) && !given.iter().any(|(given, _)| given.value == bind.as_str()) {
                let message = format!("nothing is bound to `:{bind}` of the query `{}`", query.name);
                diagnostics.error(&name.place, message).help(format!("add `with: {{ {bind}: ... }}`"));
            }
        }
        if !query.binds_tenant() {
            warn_of_no_tenant(&query.name, &name.place, diagnostics);
        }
        bound.map(|with| QueryCall { query: id, with })
    }

    /// Whether there is a query of the name that a plugin asks for. It may never come to ask it: not to know one is
    /// worth a warning.
    pub(super) fn knows(&self, name: &str, place: &Place, diagnostics: &mut Diagnostics) -> bool {
        let is_known = self.known.iter().any(|(known, _)| known == name);
        if !is_known && self.whole {
            let names = self.known.iter().map(|(known, _)| known.as_str());
            let message = format!("there is no query `{name}`{}", did_you_mean(name, names));
            diagnostics.warning(place, message).help("a call that comes here fails");
        }
        is_known
    }

    /// Warns of a query whose answers may be another tenant's. A name that is none is none.
    pub(super) fn warn_of_leak(&self, name: &str, place: &Place, diagnostics: &mut Diagnostics) {
        if self.named(name).is_some_and(|query| !query.binds_tenant()) {
            warn_of_no_tenant(name, place, diagnostics);
        }
    }

    /// Warns of a query that is asked whose a token is, and needs to know of which tenant.
    pub(super) fn warn_of_no_tenant_yet(&self, name: &str, place: &Place, diagnostics: &mut Diagnostics) {
        if self.named(name).is_some_and(Query::binds_tenant) {
            let message = format!("the query `{name}` binds `:tenant`, and whose a token is nobody knows yet");
            diagnostics.warning(place, message).help("a call that comes here fails");
        }
    }

    fn named(&self, name: &str) -> Option<&Query> {
        self.known.iter().find(|(known, _)| known == name)?.1.as_ref()
    }

    /// Which answers of a query a rule means: by some of its binds, but `:tenant`.
    pub(super) fn forget(
        &self,
        name: &At<Text>,
        with: &Field<Scalars>,
        place: &dyn Fn(&str) -> Result<Path, String>,
        diagnostics: &mut Diagnostics,
    ) -> Option<ForgetRule> {
        let (resolved, bound) = self.bound(name, with, place, diagnostics);
        let (query, of_tenant) = resolved.map(|(id, query)| (id, query.binds_tenant()))?;
        bound.map(|with| ForgetRule { query, with, of_tenant })
    }

    /// A query, and what a rule binds to it: to binds that it has, but `:tenant`. `None` where some of that is faulty.
    fn bound<R>(
        &self,
        name: &At<Text>,
        with: &Field<Scalars>,
        place: &dyn Fn(&str) -> Result<R, String>,
        diagnostics: &mut Diagnostics,
    ) -> (Option<(QueryId, &Query)>, Option<Bound<R>>) {
        let resolved = self.resolve(name, diagnostics);
        let mut whole = !matches!(with, Field::Faulty);
        let mut bound = Vec::new();
        let given = with.value().map_or(&[][..], |with| &with.0);
        for (bind, value) in given {
            let bind_name = bind.value.as_str();
            let template = value.given().and_then(|at| templates::template(at, place, diagnostics));
            if bind_name == "tenant" {
                let message = "`:tenant` cannot be bound by a rule";
                diagnostics.error(&bind.place, message).help("it is always the event's or the session's own tenant");
            } else if let Some((_, query)) = resolved.filter(|(_, query)| !has(&query.binds, bind_name)) {
                let free = query.binds.iter().map(CompactString::as_str).filter(|bind| *bind != "tenant");
                let meant = did_you_mean(bind_name, free);
                diagnostics.error(&bind.place, format!("the query `{}` has no `:{bind_name}`{meant}", query.name));
            }
            match template {
                Some(template) => bound.push((bind_name.into(), template)),
                None => whole = false,
            }
        }
        (resolved, whole.then_some(bound))
    }
}

fn query(name: &str, raw: &RawQuery, dialect: Dialect, diagnostics: &mut Diagnostics) -> Option<Query> {
    let sql = raw.sql.given()?;
    let cache = match &raw.cache {
        Field::Missing => None,
        Field::Faulty => return None,
        Field::Given(cache) => Some(QueryCache {
            ttl: cache.value.ttl.value()?.0,
            max: cache.value.max.value().map_or(CACHED, |max| usize::try_from(max.0).unwrap_or(usize::MAX)),
        }),
    };
    if sql.value.text.trim().is_empty() {
        diagnostics.error(&sql.place, format!("the query `{name}` has no SQL"));
        return None;
    }
    let binds = match scan::binds(dialect, &sql.value.text) {
        Ok(binds) => binds,
        Err(error) => return templates::report(&sql.place, sql.value.expanded, "SQL", error, diagnostics),
    };
    let timeout = raw.timeout.value().map(|span| span.0);
    Some(Query { name: name.into(), sql: sql.value.text.clone(), binds, timeout, cache, needs: &[] })
}

fn warn_of_no_tenant(name: &str, place: &Place, diagnostics: &mut Diagnostics) {
    let message = format!("the query `{name}` does not bind `:tenant`: it may answer for another tenant");
    diagnostics.warning(place, message).help("add `tenant_id = :tenant` to its conditions");
}

fn has(binds: &[CompactString], name: &str) -> bool {
    binds.iter().any(|bind| bind == name)
}
