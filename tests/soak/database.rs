//! The database's content: tokens, and who may see which record.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::cast::{RECORDS, TENANTS, USERS, UserSet, tenant_name, token};
use crate::endpoint::Endpoint;

/// Makes and fills the tables.
pub(crate) fn script() -> String {
    let mut script = "
CREATE TABLE users (id text NOT NULL, tenant_id text NOT NULL, token text PRIMARY KEY);
CREATE TABLE record_access (tenant_id text NOT NULL, record_id integer NOT NULL, user_id text NOT NULL);
CREATE INDEX ON record_access (tenant_id, record_id);
"
    .to_owned();
    for tenant in 0..TENANTS {
        for user in (0..USERS).filter(|_| !Endpoint::knows(tenant)) {
            let (name, token) = (tenant_name(tenant), token(tenant, user));
            writeln!(script, "INSERT INTO users VALUES ('u{user}', '{name}', '{token}');").expect("a string takes it");
        }
        for record in 0..RECORDS {
            script += &insert(tenant, record, UserSet::initial(tenant, record));
        }
    }
    script
}

/// Changes who may see a record, as one.
pub(crate) async fn set_rights(url: &str, tenant: u8, record: u8, users: UserSet) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let mut change = connection.begin().await?;
    let forget =
        format!("DELETE FROM record_access WHERE tenant_id = '{}' AND record_id = {record};\n", tenant_name(tenant));
    sqlx::raw_sql(AssertSqlSafe(forget + &insert(tenant, record, users))).execute(&mut *change).await?;
    change.commit().await?;
    connection.close().await
}

fn insert(tenant: u8, record: u8, users: UserSet) -> String {
    let row = |user| format!("INSERT INTO record_access VALUES ('{}', {record}, 'u{user}');\n", tenant_name(tenant));
    users.users().map(row).collect()
}
