use std::sync::Arc;

use super::*;
use crate::auth::Attributes;
use crate::config::{QueryCall, QueryId, TopicAllow, TopicPlace, TopicRule};
use crate::event::{TenantId, Topic, TopicPattern, UserId};
use crate::lookup::{LookupError, Rows};
use crate::shard::Verdict;

fn places(text: &str) -> Template<TopicPlace> {
    let place = |name: &str| {
        Ok(match name {
            "session.user" => TopicPlace::User,
            "session.tenant" => TopicPlace::Tenant,
            "0" => TopicPlace::Capture(0),
            other => TopicPlace::Attribute(other.into()),
        })
    };
    Template::parse(text, place).unwrap()
}

fn rule(pattern: &str, allow: TopicAllow) -> TopicRule {
    TopicRule { pattern: TopicPattern::parse(pattern).unwrap(), allow }
}

fn ask(binds: &[(&str, &str)]) -> TopicAllow {
    let with = binds.iter().map(|(name, template)| ((*name).into(), places(template))).collect();
    TopicAllow::Query(QueryCall { query: QueryId(5), with })
}

fn rules() -> TopicRules {
    let role = |expected: &str| (TopicPlace::Attribute("role".into()), Matcher::Equals(text(expected)));
    let own = (TopicPlace::Capture(0), Matcher::Template(places("{session.user}")));
    TopicRules::compile(
        vec![
            rule("board:secret", TopicAllow::Never),
            rule("board:*", TopicAllow::Always),
            rule("inbox:{user}", TopicAllow::When(vec![own])),
            rule("managers:{board}", TopicAllow::When(vec![role("manager")])),
            rule("managers:sales", TopicAllow::Always),
            rule("deal:{id}", ask(&[("user", "{session.user}"), ("deal", "{0}"), ("level", "{level}")])),
            rule("team:{id}", ask(&[("team", "{team}")])),
            rule("none:{id}", TopicAllow::When(Vec::new())),
        ],
        &[],
    )
}

fn judge(topic: &str) -> Judgement {
    let (user, tenant) = (UserId::new("7").unwrap(), TenantId::new("acme").unwrap());
    let attributes: Attributes =
        [("role".into(), text("clerk")), ("level".into(), Scalar::Int(3))].into_iter().collect();
    let session = SessionView { user: &user, tenant: &tenant, attributes: &attributes };
    rules().judge(&session, &Topic::new(topic).unwrap())
}

#[test]
fn the_first_rule_that_matches_decides_and_none_denies() {
    for (topic, expected) in [
        ("board:sales", Verdict::Allowed),
        ("board:*", Verdict::Allowed),
        ("board:secret", Verdict::Denied),
        ("inbox:7", Verdict::Allowed),
        ("inbox:8", Verdict::Denied),
        ("inbox:*", Verdict::Denied),
        ("managers:sales", Verdict::Denied),
        ("deal:*", Verdict::Denied),
        ("unknown", Verdict::Denied),
        ("none:1", Verdict::Allowed),
        // The session has no `team`, so there is nothing to ask.
        ("team:1", Verdict::Denied),
    ] {
        assert_eq!(judge(topic), Judgement::Verdict(expected), "{topic}");
    }
}

#[test]
fn a_query_is_asked_about_session_and_topic() {
    let binds = [("user".into(), text("7")), ("deal".into(), text("42")), ("level".into(), Scalar::Int(3))];
    let call = Call { query: QueryId(5), binds: binds.into_iter().collect() };
    assert_eq!(judge("deal:42"), Judgement::Ask(call));
}

#[test]
fn any_row_allows() {
    let rows = |rows: Vec<Box<[Scalar]>>| Ok(Arc::new(Rows { columns: Arc::from([]), rows }));
    for (answer, expected) in [
        (rows(vec![Box::from([Scalar::Null])]), Verdict::Allowed),
        (rows(Vec::new()), Verdict::Denied),
        (Err(LookupError::Unfit("x".to_owned())), Verdict::Denied),
        (Err(LookupError::Failed("x".to_owned())), Verdict::Unavailable),
        (Err(LookupError::Unavailable("x".to_owned())), Verdict::Unavailable),
    ] {
        assert_eq!(TopicRules::verdict(&answer), expected, "{answer:?}");
    }
}
