//! What names and values say of a person: a row of a query, or an endpoint's answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use compact_str::CompactString;

use super::authenticator::Answer;
use super::{Attributes, Identity};
use crate::event::{Scalar, TenantId, UserId};

/// Names that are no attributes.
const USER: &str = "user";
const TENANT: &str = "tenant";
const EXPIRES_AT: &str = "expires_at";

/// Why nobody signs in by such an id.
pub(super) const CONTROL_CHARACTERS: &str = "its user or tenant holds control characters";

/// What the names and values come to at this time. The error is a fault of who gave them, whatever the token, and calls
/// a name a `what`.
pub(super) fn read(what: &str, pairs: &[(CompactString, Scalar)], now: SystemTime) -> Result<Answer, String> {
    let value = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let required = |name: &str| value(name).ok_or_else(|| format!("there is no {what} `{name}`"));
    let no_id = |name: &str| format!("{what} `{name}` is neither an integer nor a text with something in it");
    let user = UserId::from_scalar(required(USER)?).ok_or_else(|| no_id(USER))?;
    let tenant = TenantId::from_scalar(required(TENANT)?).ok_or_else(|| no_id(TENANT))?;
    if !(user.is_plain() && tenant.is_plain()) {
        return Ok(Answer::Denied(CONTROL_CHARACTERS));
    }
    let expires_at = value(EXPIRES_AT).map_or(Some(None), expiry);
    let expires_at = expires_at.ok_or_else(|| format!("{what} `{EXPIRES_AT}` is no time in seconds of Unix"))?;
    if expires_at.is_some_and(|at| at <= now) {
        return Ok(Answer::Denied("it has expired"));
    }
    let attributes: Attributes = pairs
        .iter()
        .filter(|(name, value)| ![USER, TENANT, EXPIRES_AT].contains(&name.as_str()) && *value != Scalar::Null)
        .cloned()
        .collect();
    Ok(Answer::Known(Identity { user, tenant, attributes: Arc::new(attributes), expires_at }))
}

/// A point in time in seconds of Unix, as a number or its text. `NULL` is none.
#[expect(clippy::option_option, reason = "whether it is right, and whether it is there")]
fn expiry(value: &Scalar) -> Option<Option<SystemTime>> {
    let seconds = match value {
        Scalar::Null => return Some(None),
        // What is before 1970 has expired as well as what is then.
        Scalar::Int(seconds) => Some(Duration::from_secs(u64::try_from(*seconds).unwrap_or_default())),
        Scalar::Float(seconds) => Duration::try_from_secs_f64(seconds.max(0.0)).ok(),
        Scalar::Text(text) => match (text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(seconds), _) => Some(Duration::from_secs(seconds)),
            (Err(_), Ok(seconds)) => Duration::try_from_secs_f64(seconds.max(0.0)).ok(),
            (Err(_), Err(_)) => None,
        },
        Scalar::Bool(_) => None,
    };
    seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(seconds)).map(Some)
}
