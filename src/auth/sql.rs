//! Tokens that a named query knows.

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};

use super::authenticator::Answer;
use super::named;
use crate::config::QueryId;
use crate::event::Scalar;
use crate::lookup::{Binds, LookupError, Lookups, Rows};

/// A query that binds `:token` and answers one row for a token that it knows.
#[derive(Debug)]
pub(super) struct Sql {
    query: QueryId,
    /// `None` where the program runs without a database.
    lookups: Option<Lookups>,
}

impl Sql {
    pub(super) fn new(query: QueryId, lookups: Option<Lookups>) -> Self {
        Self { query, lookups }
    }

    /// Whether it asks the query of this name.
    pub(super) fn asks(&self, query: &str) -> bool {
        self.lookups.as_ref().is_some_and(|lookups| lookups.name(self.query) == query)
    }

    /// Asks the database whose token it is at this time.
    pub(super) async fn ask(&self, token: &SecretString, now: SystemTime) -> Answer {
        let Some(lookups) = &self.lookups else {
            return Answer::Unavailable("there is no database".into());
        };
        let mut binds = Binds::new();
        binds.push(("token".into(), Scalar::Text(token.expose_secret().into())));
        let answer = match lookups.run(self.query, None, &binds).await {
            Ok(rows) => read(&rows, now).map_err(|fault| LookupError::Failed(fault).to_string()),
            // Nobody can have such a token.
            Err(LookupError::Unfit(_)) => Ok(Answer::Unknown),
            Err(error) => Err(error.to_string()),
        };
        answer
            .unwrap_or_else(|said| Answer::Unavailable(format!("query `{}`: {said}", lookups.name(self.query)).into()))
    }
}

/// What the rows say. The error is a fault of the query, whatever the token.
pub(super) fn read(rows: &Rows, now: SystemTime) -> Result<Answer, String> {
    let row = match rows.rows.as_slice() {
        [] => return Ok(Answer::Unknown),
        [row] => row,
        more => return Err(format!("{} rows for one token, which must be one person's", more.len())),
    };
    let pairs: Vec<_> = rows.columns.iter().cloned().zip(row.iter().cloned()).collect();
    named::read("column", &pairs, now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use compact_str::CompactString;

    use super::*;
    use crate::auth::Identity;
    use crate::event::Value;

    const NOW: u64 = 1_790_000_000;

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    /// What is made of one row.
    fn check(row: &[(&str, Scalar)]) -> Result<Answer, String> {
        let columns = row.iter().map(|(name, _)| CompactString::from(*name)).collect();
        let rows = vec![row.iter().map(|(_, value)| value.clone()).collect()];
        read(&Rows { columns, rows }, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn known(row: &[(&str, Scalar)]) -> Identity {
        match check(row) {
            Ok(Answer::Known(identity)) => identity,
            other => panic!("{row:?}: {other:?}"),
        }
    }

    #[test]
    fn a_row_is_a_person_with_attributes() {
        let row =
            [("role", text("manager")), ("user", Scalar::Int(7)), ("tenant", text("acme")), ("team", Scalar::Null)];
        let identity = known(&row);
        assert_eq!((identity.user.as_str(), identity.tenant.as_str(), identity.expires_at), ("7", "acme", None));
        assert_eq!(identity.attributes.get("role"), Value::Text("manager"));
        for none in ["team", "user", "tenant", "expires_at"] {
            assert_eq!(identity.attributes.get(none), Value::Absent, "{none}");
        }
    }

    #[test]
    fn an_expiry_is_a_number_or_its_text() {
        let row = |value: Scalar| [("user", Scalar::Int(7)), ("tenant", Scalar::Int(1)), ("expires_at", value)];
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let later = (NOW + 5) as f64;
        for value in [Scalar::Int(1_790_000_005), Scalar::Float(later), text("1790000005"), text("1790000005.0")] {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 5);
            assert_eq!(known(&row(value)).expires_at, Some(expected));
        }
        assert_eq!(known(&row(Scalar::Null)).expires_at, None);
        for value in [Scalar::Int(1_790_000_000), Scalar::Int(-1), Scalar::Float(-1.5), text("0"), text("-3")] {
            assert!(matches!(check(&row(value.clone())), Ok(Answer::Denied(_))), "{value:?}");
        }
        for value in
            [Scalar::Bool(true), text("tomorrow"), text(""), Scalar::Float(f64::INFINITY), Scalar::Float(1e300)]
        {
            assert!(check(&row(value.clone())).unwrap_err().contains("is no time"), "{value:?}");
        }
    }

    #[test]
    fn an_id_with_control_characters_signs_nobody_in() {
        for (user, tenant) in [("7\0", "acme"), ("7", "ac\nme"), ("\u{7f}", "acme"), ("7", "\u{85}")] {
            let answer = check(&[("user", text(user)), ("tenant", text(tenant))]);
            assert!(
                matches!(answer, Ok(Answer::Denied(why)) if why.contains("control characters")),
                "{user:?} {tenant:?}"
            );
        }
        assert_eq!(known(&[("user", text("Ann Ä.")), ("tenant", text("a b"))]).user.as_str(), "Ann Ä.");
    }

    #[test]
    fn a_row_that_names_nobody_is_a_fault_of_the_query() {
        for (row, said) in [
            (&[("user", Scalar::Int(7))][..], "there is no column `tenant`"),
            (&[("tenant", Scalar::Int(7)), ("id", Scalar::Int(7))], "there is no column `user`"),
            (&[("user", Scalar::Null), ("tenant", Scalar::Int(7))], "column `user` is neither"),
            (&[("user", Scalar::Int(7)), ("tenant", text(""))], "column `tenant` is neither"),
        ] {
            let error = check(row).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
