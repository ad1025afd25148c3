//! The `auth` section.

use std::time::Duration;

use super::Queries;
use crate::config::diagnostics::Diagnostics;
use crate::config::model::{Accept, Auth, Provider, TokenIdentity};
use crate::config::place::Place;
use crate::config::raw::{At, Field, Literal, RawAccept, RawAuth, RawProvider, RawTokenOwner, RawTokens};
use crate::event::{Scalar, TenantId, UserId};

const DEADLINE: Duration = Duration::from_secs(10);
const EXAMPLE: &str = "say who knows whose token it is:\n\
    auth:\n  providers:\n    - tokens: { demo-ann: { user: 1, tenant: acme } }";

pub(super) fn auth(
    raw: &Field<RawAuth>,
    queries: &Queries,
    root: &Place,
    diagnostics: &mut Diagnostics,
) -> Option<Auth> {
    if raw.is_missing() {
        diagnostics.error(root, "`auth` is missing: nobody could connect").help(EXAMPLE);
    }
    let raw = raw.given()?;
    let accept = accept(&raw.value.accept, diagnostics);
    let providers = match &raw.value.providers {
        Field::Given(providers) if !providers.value.is_empty() => {
            let each = |raw: &At<RawProvider>| provider(raw, queries, diagnostics);
            let all: Vec<_> = providers.value.iter().map(each).collect();
            all.into_iter().collect()
        }
        Field::Faulty => None,
        Field::Missing | Field::Given(_) => {
            let place = raw.value.providers.given().map_or(&raw.place, |at| &at.place);
            diagnostics.error(place, "`auth.providers` names nobody: nobody could connect").help(EXAMPLE);
            None
        }
    };
    let deadline = raw.value.deadline.value().map_or(DEADLINE, |span| span.0);
    Some(Auth { deadline, accept: accept?, providers: providers? })
}

fn accept(raw: &Field<Vec<At<RawAccept>>>, diagnostics: &mut Diagnostics) -> Option<Accept> {
    let raw = match raw {
        Field::Missing => return Some(Accept { message: true, header: true, query: true }),
        Field::Faulty => return None,
        Field::Given(raw) => raw,
    };
    if raw.value.is_empty() {
        let help = "name at least one of message, header and query";
        diagnostics.error(&raw.place, "no token could come in").help(help);
    }
    let has = |place: RawAccept| raw.value.iter().any(|at| at.value == place);
    Some(Accept { message: has(RawAccept::Message), header: has(RawAccept::Header), query: has(RawAccept::Query) })
}

fn provider(raw: &At<RawProvider>, queries: &Queries, diagnostics: &mut Diagnostics) -> Option<Provider> {
    if let (Some(_), Some(tokens)) = (raw.value.sql.given(), raw.value.tokens.given()) {
        diagnostics
            .error(&tokens.place, "a provider is one of `sql` and `tokens`")
            .help("make it two items of the list");
    }
    if let Some(sql) = raw.value.sql.value() {
        return self::sql(sql.query.given()?, queries, diagnostics);
    }
    tokens(raw.value.tokens.given()?, diagnostics)
}

fn sql(name: &At<crate::config::raw::Text>, queries: &Queries, diagnostics: &mut Diagnostics) -> Option<Provider> {
    let (id, query) = queries.resolve(name, diagnostics)?;
    if !query.binds.iter().any(|bind| bind == "token") {
        let message = format!("the query `{}` does not bind `:token`", query.name);
        diagnostics.error(&name.place, message).help("it must ask whose `:token` it is, and for nothing else");
    }
    for bind in query.binds.iter().filter(|bind| *bind != "token") {
        let message = format!("the query `{}` binds `:{bind}`, which is not known before a token is", query.name);
        diagnostics.error(&name.place, message).help("it may bind `:token` alone");
    }
    Some(Provider::Sql(id))
}

fn tokens(raw: &At<RawTokens>, diagnostics: &mut Diagnostics) -> Option<Provider> {
    if raw.value.0.is_empty() {
        diagnostics.error(&raw.place, "`tokens` holds none").help(EXAMPLE);
    }
    let mut whole = true;
    let mut tokens = Vec::new();
    for (token, owner) in &raw.value.0 {
        match owner.given().and_then(|owner| identity(owner, diagnostics)) {
            Some(identity) => tokens.push((token.value.clone(), identity)),
            None => whole = false,
        }
    }
    whole.then_some(Provider::Tokens(tokens))
}

fn identity(owner: &At<RawTokenOwner>, diagnostics: &mut Diagnostics) -> Option<TokenIdentity> {
    let user = id(&owner.value.user, UserId::from_scalar, diagnostics);
    let tenant = id(&owner.value.tenant, TenantId::from_scalar, diagnostics);
    let each =
        |(name, value): &(At<String>, Field<Literal>)| Some((name.value.as_str().into(), value.value()?.value.clone()));
    let attributes: Option<Vec<_>> = owner.value.attributes.iter().map(each).collect();
    Some(TokenIdentity { user: user?, tenant: tenant?, attributes: attributes? })
}

fn id<T>(field: &Field<Literal>, read: impl FnOnce(&Scalar) -> Option<T>, diagnostics: &mut Diagnostics) -> Option<T> {
    let at = field.given()?;
    let id = read(&at.value.value);
    if id.is_none() {
        diagnostics.error(&at.place, "an id is text or a whole number, and not empty");
    }
    id
}
