//! Tests of whose token it is. Providers outside (HTTP endpoints, keys of JSON Web Tokens) are passed over.
//!
//! Invariant: a token is not shown, whatever comes of it.

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::{Difference, Unmocked};
use crate::auth::Identity;
use crate::auth::offline::Said;
use crate::config::{Provider, QueryId, RuleTest, ScriptProvider, TokenExpectation, TokenIdentity, TokenTest};
use crate::event::{Scalar, Value};
use crate::explain::words::counted;
use crate::explain::{Machines, unbound};
use crate::lookup::{Binds, LookupError};
use crate::reload::Rulebook;
use crate::route::script::Step;
use crate::route::{Answer, Scripts};

/// When it is, in a test of a token: so long ago that nothing that ends has ended. A test that passes shall not fail one
/// day by itself.
const NOW: Duration = Duration::from_secs(1);

/// What came of a token.
enum Came {
    Identity(Identity),
    Denied(String),
    Unavailable(String),
}

/// What came otherwise than the test says.
pub(super) fn differences(
    rulebook: &Rulebook,
    providers: &[Provider],
    test: &RuleTest,
    case: &TokenTest,
) -> Vec<Difference> {
    let mocked = Unmocked::new(test);
    let mut outside = 0;
    let came = came(rulebook, providers, case, &mocked, &mut outside);
    let mut differences = mocked.into_differences();
    if differences.is_empty() && !is_expected(&came, &case.expect.value) {
        let mut notes = Vec::new();
        if outside > 0 {
            let passed = counted(outside, "provider", "providers");
            notes.push(format!("{passed} (http, jwt) passed over: a rule test asks nobody outside"));
        }
        differences.push(Difference {
            about: "identity",
            place: case.expect.place.to_string(),
            expected: match &case.expect.value {
                TokenExpectation::Identity(identity) => shown(identity),
                TokenExpectation::Denied => "denied".to_owned(),
                TokenExpectation::Unavailable => "unavailable".to_owned(),
            },
            got: match (&came, &case.expect.value) {
                (Came::Identity(identity), expected) => shown_identity(identity, expected),
                (Came::Denied(why), _) => format!("denied: {why}"),
                // A plugin may have put the token into what it says.
                (Came::Unavailable(why), _) => {
                    format!("unavailable: {}", why.replace(case.token.expose_secret(), "***"))
                }
            },
            notes,
        });
    }
    differences
}

/// What the providers say, in order: the first that knows the token decides.
fn came(
    rulebook: &Rulebook,
    providers: &[Provider],
    case: &TokenTest,
    mocked: &Unmocked<'_>,
    outside: &mut usize,
) -> Came {
    let now = SystemTime::UNIX_EPOCH + NOW;
    let mut unavailable = None;
    for provider in providers {
        let said = match provider {
            Provider::Tokens(list) => Said::by_list(list, &case.token),
            Provider::Sql(query) => Said::by_query(&query_answer(rulebook, *query, &case.token, mocked), now),
            Provider::Script(script) => plugin(rulebook, *script, case, mocked, now),
            Provider::Http(_) | Provider::Jwt(_) => {
                *outside += 1;
                Said::Unknown
            }
        };
        match said {
            Said::Known(identity) => return Came::Identity(identity),
            Said::Denied(why) => return Came::Denied(why.to_owned()),
            Said::Unavailable(why) => drop(unavailable.get_or_insert(why)),
            Said::Unknown => {}
        }
    }
    unavailable.map_or_else(|| Came::Denied("no provider knows it".to_owned()), Came::Unavailable)
}

fn query_answer(rulebook: &Rulebook, query: QueryId, token: &SecretString, mocked: &Unmocked<'_>) -> Answer {
    let name = rulebook.queries.queries.get(usize::from(query.0)).map_or("?", |query| query.name.as_str());
    let mut binds = Binds::new();
    binds.push(("token".into(), Scalar::Text(token.expose_secret().into())));
    mocked.answer_secretly(name, None, &binds).unwrap_or_else(Unmocked::otherwise)
}

fn plugin(
    rulebook: &Rulebook,
    ScriptProvider { call, .. }: ScriptProvider,
    case: &TokenTest,
    mocked: &Unmocked<'_>,
    now: SystemTime,
) -> Said {
    let mut machines = Machines::new(rulebook);
    let mut step = machines.authenticate(call, case.token.expose_secret(), &case.remote);
    loop {
        match step {
            Step::Done(Ok(said)) => return Said::by_plugin(said.as_deref(), now),
            Step::Done(Err(error)) => return Said::Unavailable(error.to_string()),
            Step::Asks(lookup, suspended) => {
                let answer = match machines.query(&lookup.query) {
                    Some(query) => {
                        let asked = rulebook.queries.queries.get(usize::from(query.0));
                        let unbound = asked.and_then(|asked| unbound(asked, None, &lookup.binds));
                        unbound.or_else(|| mocked.answer_secretly(&lookup.query, None, &lookup.binds))
                    }
                    None => Some(Err(LookupError::Failed(format!("no query is named `{}`", lookup.query)))),
                };
                step = suspended.resume(answer.unwrap_or_else(Unmocked::otherwise));
            }
        }
    }
}

fn is_expected(came: &Came, expected: &TokenExpectation) -> bool {
    match (came, expected) {
        (Came::Identity(got), TokenExpectation::Identity(TokenIdentity { user, tenant, attributes })) => {
            let has = |(name, value): &(_, Scalar)| {
                let got: Value<'_> = got.attributes.get(name as &compact_str::CompactString);
                got == value.as_value() || got.text().is_some_and(|got| value.as_value().text() == Some(got))
            };
            got.user == *user && got.tenant == *tenant && attributes.iter().all(has)
        }
        (Came::Denied(_), TokenExpectation::Denied) | (Came::Unavailable(_), TokenExpectation::Unavailable) => true,
        _ => false,
    }
}

fn shown(TokenIdentity { user, tenant, attributes }: &TokenIdentity) -> String {
    let attributes = attributes.iter().map(|(name, value)| format!(", {name}: {value}"));
    format!("user {user} of {tenant}{}", attributes.collect::<String>())
}

/// Those attributes of it that the test names.
fn shown_identity(identity: &Identity, expected: &TokenExpectation) -> String {
    let attributes = match expected {
        TokenExpectation::Identity(TokenIdentity { attributes, .. }) => attributes.as_slice(),
        TokenExpectation::Denied | TokenExpectation::Unavailable => &[],
    };
    let attributes = attributes.iter().map(|(name, _)| (name.clone(), identity.attributes.get(name).to_scalar()));
    let (user, tenant) = (identity.user.clone(), identity.tenant.clone());
    shown(&TokenIdentity { user, tenant, attributes: attributes.collect() })
}
