//! What surrounds a rule test: who is there, and what the database would say.

use std::sync::Arc;

use compact_str::CompactString;

use super::{Known, is_known, scalars};
use crate::config::diagnostics::Diagnostics;
use crate::config::model::{MockAnswer, MockCase, MockQuery, TestSession, TokenIdentity};
use crate::config::raw::{At, Entries, Field, Literal, RawMock, RawMockCase, RawRows, RawTestSession, Text};
use crate::config::validate::auth;
use crate::event::{Scalar, TenantId, Topic, UserId};
use crate::lookup::Rows;

pub(super) fn sessions(
    raw: &Field<Entries<RawTestSession>>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<TestSession>> {
    let raw = match raw {
        Field::Missing => return Some(Vec::new()),
        Field::Faulty => return None,
        Field::Given(raw) => &raw.value.0,
    };
    let each = |(name, session): &(At<String>, Field<RawTestSession>)| {
        let session = session.given()?;
        let identity = identity(&session.value, diagnostics);
        let topics = match &session.value.topics {
            Field::Missing => Some(Vec::new()),
            Field::Faulty => None,
            Field::Given(topics) => {
                let all: Vec<_> = topics.value.0.iter().map(|at| topic(at, diagnostics)).collect();
                all.into_iter().collect()
            }
        };
        let name_text = CompactString::from(name.value.as_str());
        Some(TestSession { name: name_text, place: name.place.clone(), identity: identity?, topics: topics? })
    };
    let all: Vec<_> = raw.iter().map(each).collect();
    all.into_iter().collect()
}

pub(in crate::config) fn identity(raw: &RawTestSession, diagnostics: &mut Diagnostics) -> Option<TokenIdentity> {
    let user = auth::id(&raw.user, UserId::from_scalar, diagnostics);
    let tenant = auth::id(&raw.tenant, TenantId::from_scalar, diagnostics);
    let each =
        |(name, value): &(At<String>, Field<Literal>)| Some((name.value.as_str().into(), value.value()?.value.clone()));
    let attributes: Option<Vec<_>> = raw.attributes.iter().map(each).collect();
    Some(TokenIdentity { user: user?, tenant: tenant?, attributes: attributes? })
}

pub(in crate::config) fn topic(at: &At<Text>, diagnostics: &mut Diagnostics) -> Option<Topic> {
    match Topic::new(at.value.text.as_str()) {
        Ok(topic) => Some(topic),
        Err(error) => {
            diagnostics.error(&at.place, format!("`{}` is no topic: {error}", at.shown()));
            None
        }
    }
}

pub(in crate::config) fn mocks(
    raw: &Field<Entries<RawMock>>,
    known: &Known<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<MockQuery>> {
    let raw = match raw {
        Field::Missing => return Some(Vec::new()),
        Field::Faulty => return None,
        Field::Given(raw) => &raw.value.0,
    };
    let mut all = Vec::new();
    for (name, mock) in raw {
        is_known(&name.value, &name.place, "query", known.queries().as_deref(), diagnostics);
        let cases = mock.value().and_then(|mock| match mock {
            RawMock::Always(rows) => {
                answer(rows, diagnostics).map(|answer| vec![MockCase { with: Vec::new(), answer }])
            }
            RawMock::Cases(cases) => {
                let each = |case: &At<RawMockCase>| {
                    let with = scalars(&case.value.with);
                    let answer = answer(case.value.rows.given()?, diagnostics);
                    Some(MockCase { with: with?, answer: answer? })
                };
                let all: Vec<_> = cases.iter().map(each).collect();
                all.into_iter().collect()
            }
        });
        all.push(cases.map(|cases| MockQuery { name: name.value.as_str().into(), cases }));
    }
    all.into_iter().collect()
}

/// The rows that a database would answer: all have the same columns.
fn answer(raw: &At<RawRows>, diagnostics: &mut Diagnostics) -> Option<MockAnswer> {
    let raw = match &raw.value {
        RawRows::Unavailable => return Some(MockAnswer::Unavailable),
        RawRows::Failed => return Some(MockAnswer::Failed),
        RawRows::Rows(rows) => rows,
    };
    let first = raw.first().map_or(&[][..], |row| &row.value.0);
    let columns: Arc<[CompactString]> = first.iter().map(|(name, _)| name.value.as_str().into()).collect();
    let mut whole = true;
    let mut rows = Vec::new();
    for row in raw {
        let value = |column: &CompactString| row.value.0.iter().find(|(name, _)| name.value == column.as_str());
        let values: Option<Box<[Scalar]>> =
            columns.iter().map(|column| Some(value(column)?.1.value()?.value.clone())).collect();
        if row.value.0.len() != columns.len() || columns.iter().any(|column| value(column).is_none()) {
            let help = format!("each row of an answer has all of its columns: {}", columns.join(", "));
            diagnostics.error(&row.place, "this row has other columns than the first").help(help);
            whole = false;
        }
        match values {
            Some(values) => rows.push(values),
            None => whole = false,
        }
    }
    whole.then(|| MockAnswer::Rows(Arc::new(Rows { columns, rows })))
}
