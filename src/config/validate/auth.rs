//! The `auth` section.

use std::time::Duration;

use super::plugins::Registry;
use super::{Queries, providers};
use crate::config::diagnostics::Diagnostics;
use crate::config::model::{Accept, Auth, Provider, TokenIdentity};
use crate::config::place::Place;
use crate::config::raw::{At, Field, Literal, RawAccept, RawAuth, RawProvider, RawTokenOwner, RawTokens};
use crate::event::{Scalar, TenantId, UserId};

const DEADLINE: Duration = Duration::from_secs(10);
const KINDS: &str = "`sql`, `http`, `jwt`, `tokens` and `script`";
const EXAMPLE: &str = "say who knows whose token it is:\n\
    auth:\n  providers:\n    - tokens: { demo-ann: { user: 1, tenant: acme } }";

pub(super) fn auth(
    raw: &Field<RawAuth>,
    queries: &Queries,
    root: &Place,
    plugins: &mut Registry<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Auth> {
    if raw.is_missing() {
        diagnostics.error(root, "`auth` is missing: nobody could connect").help(EXAMPLE);
    }
    let raw = raw.given()?;
    let accept = accept(&raw.value.accept, diagnostics);
    let providers = match &raw.value.providers {
        Field::Given(providers) if !providers.value.is_empty() => {
            let each = |raw: &At<RawProvider>| provider(raw, queries, plugins, diagnostics);
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

fn provider(
    raw: &At<RawProvider>,
    queries: &Queries,
    plugins: &mut Registry<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Provider> {
    let RawProvider { sql, http, jwt, tokens, script } = &raw.value;
    let given = [place(sql), place(http), place(jwt), place(tokens), place(script)];
    for second in given.iter().flatten().skip(1) {
        diagnostics.error(second, format!("a provider is one of {KINDS}")).help("make it two items of the list");
    }
    let missing =
        sql.is_missing() && http.is_missing() && jwt.is_missing() && tokens.is_missing() && script.is_missing();
    if missing {
        diagnostics.error(&raw.place, format!("this provider is none of {KINDS}")).help(EXAMPLE);
    }
    // All that is there is looked at, though one of them alone is right.
    let sql = sql.value().and_then(|sql| self::sql(sql.query.given()?, queries, diagnostics));
    let http = http.given().and_then(|http| providers::http(http, diagnostics)).map(Provider::Http);
    let jwt = jwt.given().and_then(|jwt| providers::jwt(jwt, plugins.files(), diagnostics)).map(Provider::Jwt);
    let tokens = tokens.given().and_then(|tokens| self::tokens(tokens, diagnostics));
    let script = script.given().and_then(|script| plugins.provider(script, diagnostics));
    sql.or(http).or(jwt).or(tokens).or(script)
}

fn place<T>(field: &Field<T>) -> Option<&Place> {
    field.given().map(|at| &at.place)
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

pub(super) fn id<T>(
    field: &Field<Literal>,
    read: impl FnOnce(&Scalar) -> Option<T>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let at = field.given()?;
    if matches!(&at.value.value, Scalar::Text(text) if text.contains(char::is_control)) {
        diagnostics.error(&at.place, "an id holds no control characters");
        return None;
    }
    let id = read(&at.value.value);
    if id.is_none() {
        diagnostics.error(&at.place, "an id is text or a whole number, and not empty");
    }
    id
}
