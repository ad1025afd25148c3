//! The rules of `routes`.

use std::cell::RefCell;

use hashbrown::{HashMap, HashSet};

use super::plugins::{Registry, belongs_to_script};
use super::{Queries, actions, conditions, or, payload, templates};
use crate::config::diagnostics::Diagnostics;
use crate::config::model::{AudienceRule, Hook, ListRule, OnError, QueryId, Route, RouteTarget, UsersRule};
use crate::config::place::Place;
use crate::config::raw::{
    At, Field, Literal, RawAudience, RawConditions, RawNames, RawOnError, RawRoute, RawTarget, RawUsers, is_empty,
};
use crate::event::{Matcher, Path, Scalar, Template, Topic};
use crate::runtime::let_pass;

const EXAMPLE: &str = "say which event goes to whom:\n\
    routes:\n  - name: deals\n    when: { data.type: \"deal.*\" }\n    to: { topic: \"deal:{data.deal_id}\" }";
const AUDIENCE: &str = "write { tenant: true } for all of the tenant, { user: \"...\" } or { topic: \"...\" }";

/// Different fields that routes may name: each takes a place in each event.
const MAX_FIELDS: usize = 10_000;

/// The different fields that routes name.
#[derive(Debug, Default)]
pub(super) struct Fields(RefCell<HashSet<Path>>);

/// What routes refer to.
pub(super) struct Scope<'v> {
    pub(super) queries: &'v Queries,
    /// The queries that topic rules ask.
    pub(super) asked_for_topics: Vec<QueryId>,
    /// What the paths of the `event` section start with.
    pub(super) roots: Vec<String>,
    /// Where the payload stands in a body, where that is not the whole of it.
    pub(super) payload: Option<&'v str>,
    /// The fields that routes have named so far.
    pub(super) fields: Fields,
}

impl Scope<'_> {
    /// The field path that a name stands for.
    pub(super) fn field(&self, name: &str) -> Result<Path, String> {
        let path = templates::field(name)?;
        let mut fields = self.fields.0.borrow_mut();
        // Said once, at the first field that is too many.
        if fields.insert(path.clone()) && fields.len() == MAX_FIELDS + 1 {
            return Err(format!("`{name}` is one field too many: all routes name at most {MAX_FIELDS} different ones"));
        }
        Ok(path)
    }
}

pub(super) fn routes(
    raw: &Field<Vec<At<RawRoute>>>,
    scope: &Scope<'_>,
    root: &Place,
    plugins: &mut Registry<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Route>> {
    let place = match raw {
        Field::Missing => root,
        Field::Faulty => return None,
        Field::Given(routes) => &routes.place,
    };
    let routes = raw.value().map_or(&[][..], Vec::as_slice);
    if routes.is_empty() {
        diagnostics.error(place, "there is no route: no event would go to anybody").help(EXAMPLE);
        return None;
    }
    let mut names = HashMap::new();
    // The first route that leaves nothing to those after it.
    let mut catch_all: Option<(String, Place)> = None;
    let mut all = Vec::new();
    for raw in routes {
        let_pass();
        let name = raw.value.name.given();
        if let Some(name) = name {
            named_once(name, &mut names, diagnostics);
        }
        let place = name.map_or(&raw.place, |name| &name.place);
        if let Some((first, at)) = &catch_all {
            let message = format!("never tried: the route `{first}` before decides every event");
            diagnostics
                .warning(place, message)
                .help(format!("it has no `when`, at {at}; `continue: true` lets others follow"));
        } else if is_empty(&raw.value.when) && !matches!(raw.value.go_on.value(), Some(true)) {
            let name = name.map_or("?", |name| name.shown());
            catch_all = Some((name.to_owned(), place.clone()));
        }
        all.push(route(raw, scope, plugins, diagnostics));
    }
    if let Some(on_error) = routes.last().and_then(|last| last.value.on_error.given())
        && matches!(on_error.value, RawOnError::Next)
    {
        let message = "no route follows this one: an event on which its plugin fails is dropped";
        diagnostics.warning(&on_error.place, message).help("let a route follow, or write `on_error: drop`");
    }
    all.into_iter().collect()
}

fn named_once(name: &At<crate::config::raw::Text>, names: &mut HashMap<String, Place>, diagnostics: &mut Diagnostics) {
    if name.value.text.is_empty() {
        diagnostics.error(&name.place, "a route's name is not empty");
    }
    if let Some(first) = names.get(&name.value.text) {
        let message = format!("the route `{}` stands here a second time", name.shown());
        diagnostics.error(&name.place, message).help(format!("first at {first}; give each a name of its own"));
    } else {
        names.insert(name.value.text.clone(), name.place.clone());
    }
}

fn route(
    raw: &At<RawRoute>,
    scope: &Scope<'_>,
    plugins: &mut Registry<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Route> {
    let when = when(&raw.value.when, scope, diagnostics);
    let to = target(raw, scope, plugins, diagnostics);
    if let (Some(mark), Some(RouteTarget::Audiences(_) | RouteTarget::Act(_) | RouteTarget::Script(..))) =
        (raw.value.all_tenants.given(), &to)
        && mark.value
    {
        let message = "`all_tenants` means something with `to: everyone` alone";
        diagnostics.warning(&mark.place, message).help("an audience is always of the event's own tenant");
    }
    Some(Route {
        name: raw.value.name.value()?.text.as_str().into(),
        when: when?,
        to: to?,
        all_tenants: or(&raw.value.all_tenants, false),
        go_on: or(&raw.value.go_on, false),
    })
}

fn target(
    raw: &At<RawRoute>,
    scope: &Scope<'_>,
    plugins: &mut Registry<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<RouteTarget> {
    let RawRoute { to, actions, script, with, on_error, .. } = &raw.value;
    // All that is there is looked at, though one of them alone is right.
    let by_rule = match to {
        Field::Missing | Field::Faulty => None,
        Field::Given(to) => match &to.value {
            RawTarget::Everyone => Some(RouteTarget::Everyone),
            RawTarget::Audiences(audiences) => {
                let all: Vec<_> = audiences.iter().map(|raw| audience(raw, scope, diagnostics)).collect();
                all.into_iter().collect::<Option<_>>().map(RouteTarget::Audiences)
            }
        },
    };
    let acts = actions.given().and_then(|given| actions::actions(&given.value.0, scope, diagnostics));
    if script.is_missing() {
        belongs_to_script(with, "with", diagnostics);
        belongs_to_script(on_error, "on_error", diagnostics);
    }
    let by_script = script.given().and_then(|script| plugins.call(script, with, Hook::Route, diagnostics));
    let given = [!to.is_missing(), !actions.is_missing(), !script.is_missing()];
    match given {
        [false, false, false] => {
            diagnostics.error(&raw.place, "`to` is missing").help(AUDIENCE);
            None
        }
        [true, false, false] => by_rule,
        [false, true, false] => acts.map(RouteTarget::Act),
        [false, false, true] => {
            let on_error = match on_error {
                Field::Missing => OnError::default(),
                Field::Faulty => return None,
                Field::Given(at) => match at.value {
                    RawOnError::Drop => OnError::Drop,
                    RawOnError::Next => OnError::Next,
                },
            };
            by_script.map(|call| RouteTarget::Script(call, on_error))
        }
        _ => {
            let places = [
                to.given().map(|at| &at.place),
                actions.given().map(|at| &at.place),
                script.given().map(|at| &at.place),
            ];
            if let Some(place) = places.into_iter().flatten().next_back() {
                let help = "write two routes; the first of them says `continue: true`";
                diagnostics.error(place, "a route has one of `to`, `do` and `script`").help(help);
            }
            None
        }
    }
}

fn when(
    raw: &Field<RawConditions>,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(Path, Matcher<Path>)>> {
    match raw {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(raw) => {
            let field = |name: &str| scope.field(name);
            conditions::conditions(&raw.value, &raw.place, field, &field, diagnostics)
        }
    }
}

fn audience(raw: &At<RawAudience>, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<AudienceRule> {
    let given = &raw.value;
    if says_nothing(given) {
        diagnostics.error(&raw.place, "this audience names nobody").help(AUDIENCE);
        return None;
    }
    if let Some(tenant) = given.tenant.given().filter(|tenant| !tenant.value) {
        diagnostics.error(&tenant.place, "`tenant` can only be true").help("leave it out, and name users or topics");
    }
    let users = users(given, scope, diagnostics);
    let topics = topics(given, scope, diagnostics);
    let attributes = match &given.attributes {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(raw) => {
            let field = |name: &str| scope.field(name);
            conditions::conditions(&raw.value, &raw.place, |name| Ok(name.into()), &field, diagnostics)
        }
    };
    let except = match &given.except {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(raw) => each(&raw.value.0, scope, diagnostics),
    };
    let payload = match &given.payload {
        Field::Missing => Some(None),
        Field::Faulty => None,
        Field::Given(raw) => payload::filter(raw, scope.payload, diagnostics).map(Some),
    };
    Some(AudienceRule { users: users?, topics: topics?, attributes: attributes?, except: except?, payload: payload? })
}

fn says_nothing(raw: &RawAudience) -> bool {
    raw.tenant.is_missing()
        && raw.user.is_missing()
        && raw.users.is_missing()
        && raw.topic.is_missing()
        && raw.topics.is_missing()
        && raw.except.is_missing()
        && is_empty(&raw.attributes)
}

/// `Some(None)` where the audience does not speak of users.
#[expect(clippy::option_option, reason = "whether it is right, and whether it is there")]
fn users(raw: &RawAudience, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<Option<UsersRule>> {
    if let (Some(_), Some(users)) = (raw.user.given(), raw.users.given()) {
        diagnostics.error(&users.place, "an audience has either `user` or `users`").help("put all into `users`");
    }
    match (&raw.user, &raw.users) {
        (Field::Missing, Field::Missing) => Some(None),
        (Field::Given(user), _) => one(user, scope, diagnostics).map(|list| Some(UsersRule::List(list))),
        (_, Field::Given(users)) => match &users.value {
            RawUsers::Names(names) => list(names, scope, diagnostics).map(|list| Some(UsersRule::List(list))),
            RawUsers::Query(call) => {
                let name = call.value.query.given()?;
                let call = scope.queries.call(name, &call.value.with, &|name| scope.field(name), diagnostics);
                call.map(|call| Some(UsersRule::Query(call)))
            }
        },
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "whether it is right, and whether it is there")]
fn topics(raw: &RawAudience, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<Option<ListRule>> {
    if let (Some(_), Some(topics)) = (raw.topic.given(), raw.topics.given()) {
        diagnostics.error(&topics.place, "an audience has either `topic` or `topics`").help("put all into `topics`");
    }
    let rule = match (&raw.topic, &raw.topics) {
        (Field::Missing, Field::Missing) => return Some(None),
        (Field::Given(topic), _) => one(topic, scope, diagnostics).map(|list| (list, &topic.place)),
        (_, Field::Given(topics)) => list(&topics.value, scope, diagnostics).map(|list| (list, &topics.place)),
        _ => None,
    };
    let (list, place) = rule?;
    if let ListRule::Each(templates) = &list {
        for text in templates.iter().filter_map(Template::as_text) {
            if let Err(error) = Topic::new(text) {
                diagnostics.error(place, format!("`{text}` is no topic: {error}"));
            }
        }
    }
    Some(Some(list))
}

pub(super) fn one(at: &At<Literal>, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<ListRule> {
    each(std::slice::from_ref(at), scope, diagnostics).map(ListRule::Each)
}

/// One text is a field path, with or without braces; with more than one place in it, it is a template.
pub(super) fn list(names: &RawNames, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<ListRule> {
    let at = match names {
        RawNames::Each(items) => return each(items, scope, diagnostics).map(ListRule::Each),
        RawNames::One(at) => at,
    };
    match &at.value.value {
        Scalar::Text(text) if !text.contains('{') => match scope.field(text) {
            Ok(path) => Some(ListRule::Field(path)),
            Err(error) => templates::report(&at.place, at.value.expanded, "field path", error, diagnostics),
        },
        _ => {
            let template = templates::template(at, |name| scope.field(name), diagnostics)?;
            Some(match template.as_place() {
                Some(path) => ListRule::Field(path.clone()),
                None => ListRule::Each(vec![template]),
            })
        }
    }
}

fn each(items: &[At<Literal>], scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Template<Path>>> {
    let each = |at: &At<Literal>| {
        templates::warn_of_bare_path(at, &scope.roots, diagnostics);
        templates::template(at, |name| scope.field(name), diagnostics)
    };
    let all: Vec<_> = items.iter().map(each).collect();
    all.into_iter().collect()
}
