//! What queries would answer, as somebody has said beforehand.

use std::sync::Arc;

use crate::config::{MockAnswer, MockCase, MockQuery, Query};
use crate::event::{Scalar, TenantId};
use crate::lookup::{Binds, LookupError, value_of};
use crate::route::Answer;

/// Answers that were given beforehand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mocks<'m>(pub(crate) &'m [MockQuery]);

impl Mocks<'_> {
    /// What this query answers to these binds. `None` where nobody has said.
    pub(crate) fn answer(self, query: &str, tenant: Option<&TenantId>, binds: &Binds) -> Option<Answer> {
        let mocks = self.0.iter().filter(|mock| mock.name == query);
        let case = mocks.flat_map(|mock| &mock.cases).find(|case| fits(case, tenant, binds))?;
        Some(match &case.answer {
            MockAnswer::Rows(rows) => Ok(Arc::clone(rows)),
            MockAnswer::Unavailable => Err(LookupError::Unavailable("so it was given".to_owned())),
            MockAnswer::Failed => Err(LookupError::Failed("so it was given".to_owned())),
        })
    }

    /// Whether anything is said of this query.
    pub(crate) fn names(self, query: &str) -> bool {
        self.0.iter().any(|mock| mock.name == query)
    }
}

fn fits(case: &MockCase, tenant: Option<&TenantId>, binds: &Binds) -> bool {
    case.with.iter().all(|(name, wanted)| {
        if name == "tenant" {
            return tenant.map(TenantId::as_str) == wanted.as_value().text().as_deref();
        }
        let bound = binds.iter().find(|(bound, _)| bound == name).map_or(&Scalar::Null, |(_, value)| value);
        bound.as_value().text() == wanted.as_value().text()
    })
}

/// Why a query has no answer whatever the database holds: what it binds was not given.
pub(crate) fn unbound(query: &Query, tenant: Option<&TenantId>, binds: &Binds) -> Option<Answer> {
    query.binds.iter().find_map(|name| value_of(name, tenant, binds).err()).map(Err)
}

/// Binds as a person reads them, those of the core last: `record = 7, tenant = acme`.
pub(crate) fn shown_binds(tenant: Option<&TenantId>, binds: &Binds) -> String {
    let own = binds.iter().map(|(name, value)| format!("{name} = {value}"));
    own.chain(tenant.map(|tenant| format!("tenant = {tenant}"))).collect::<Vec<_>>().join(", ")
}
