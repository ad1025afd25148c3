//! PostgreSQL.
//!
//! **Values in.** The server says of what type each bind is, from what it is compared with, and wants values in that
//! type's binary form. What the common types take is made here, so that a text that is no integer is known before the
//! server is asked; any other type gets its value as a text that the server casts: `($1::text)::inet`.
//!
//! **Values out.** Common types are read from their binary form. Where a query answers any other one, it is run inside
//! of another, `SELECT a, format('%s', b) FROM (…)`, which has every type's usual text. Why not `row_to_json` for all: it costs each row
//! of each query a detour, loses which of two columns of one name was first, and cannot be had of a statement that writes.

mod binds;
mod calendar;
mod columns;

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use compact_str::CompactString;
use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgDatabaseError, PgSeverity, PgStatement};
use sqlx::{
    Arguments, Column, ConnectOptions, Connection, Either, Executor, PgConnection, Row, SqlStr, Statement, TypeInfo,
};

use super::LookupError;
use super::answer::Answer;
use super::backend::name;
use super::compiled::{Compiled, operators_own};
use super::remote::{Fault, Server};
use crate::event::Scalar;

use binds::Encoded;
use columns::Form;

/// How PostgreSQL is spoken to.
pub(super) struct Postgres {
    options: PgConnectOptions,
    /// What is said on each new connection.
    greeting: SqlStr,
}

/// How one query is run on one connection.
struct Plan {
    /// Of each column.
    forms: Vec<Form>,
    /// The text to run instead of the query's own, where it has types that are not read or made here.
    text: Option<SqlStr>,
}

/// Reads a URL. The error is for people.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, String> {
    PgConnectOptions::from_str(url).map_err(|error| configuration(&error))
}

impl Postgres {
    /// The database that this URL names, whose server stops what takes longer than `longest`, and holds so many prepared
    /// statements for each connection. The error is for people.
    pub(super) fn new(url: &str, longest: Duration, statements: usize) -> Result<Self, String> {
        let mut options = options(url)?.statement_cache_capacity(statements).disable_statement_logging();
        if options.get_application_name().is_none() {
            options = options.application_name("pointsman");
        }
        // Not in the startup message, which connection poolers are particular about. Older servers do not look after
        // clients that have gone, and have no such setting.
        let greeting = format!(
            "SELECT set_config(name, CASE name WHEN 'statement_timeout' THEN '{}' ELSE '1000' END, false) \
             FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'client_connection_check_interval')",
            longest.as_millis()
        );
        Ok(Self { options, greeting: operators_own(greeting) })
    }

    fn place(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        }
    }
}

impl Server for Postgres {
    type Connection = PgConnection;

    async fn connect(&self) -> Result<PgConnection, String> {
        let connected = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(self.greeting.clone()).execute(&mut connection).await?;
            Ok(connection)
        };
        connected.await.map_err(|error| format!("{}: {}", self.place(), said(&error)))
    }

    async fn close(connection: PgConnection) {
        // It is closed anyway.
        connection.close().await.ok();
    }

    async fn prepare(&self, connection: &mut PgConnection, query: &Compiled) -> Result<Vec<CompactString>, Fault> {
        let statement = connection.prepare(query.text.clone()).await.map_err(|error| fault(&error, query))?;
        let plan = Plan::new(&statement, query);
        if let Some(text) = &plan.text {
            connection.prepare(text.clone()).await.map_err(|error| plan.fault(&error, query, &statement))?;
        }
        Ok(statement.columns().iter().map(name).collect())
    }

    async fn fetch(
        &self,
        connection: &mut PgConnection,
        query: &Compiled,
        values: &[Scalar],
        answer: &mut Answer,
    ) -> Result<(), Fault> {
        let failed = match run(connection, query, values, answer).await {
            Err(Failed { fault: Fault::Refused(_), is_stale: true }) if answer.is_empty() => {
                // The schema has changed under what was prepared.
                connection.clear_cached_statements().await.map_err(|error| fault(&error, query))?;
                run(connection, query, values, answer).await
            }
            other => other,
        };
        failed.map_err(|failed| failed.fault)
    }
}

struct Failed {
    fault: Fault,
    /// Whether a statement that was prepared before may be to blame.
    is_stale: bool,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self { fault, is_stale: false }
    }
}

async fn run(
    connection: &mut PgConnection,
    query: &Compiled,
    values: &[Scalar],
    answer: &mut Answer,
) -> Result<(), Failed> {
    // Prepared once a connection: the driver knows it by its text.
    let statement = connection
        .prepare(query.text.clone())
        .await
        .map_err(|error| Failed { is_stale: code(&error) == Some(code::NO_STATEMENT), fault: fault(&error, query) })?;
    let plan = Plan::new(&statement, query);
    let arguments = arguments(&statement, query, values).map_err(Fault::Refused)?;
    let text = match &plan.text {
        None => &query.text,
        Some(text) => {
            connection.prepare(text.clone()).await.map_err(|error| plan.fault(&error, query, &statement))?;
            text
        }
    };
    let failed = |error: sqlx::Error| Failed {
        is_stale: is_stale(&error),
        fault: unfit(&error, &statement, query, values).unwrap_or_else(|| fault(&error, query)),
    };
    let mut rows = sqlx::query_with(text.clone(), arguments).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let value = |(index, form): (usize, &Form)| {
            let value = row.try_get_raw(index).map_err(|error| error.to_string());
            let value = value.and_then(|value| columns::scalar(*form, &value));
            value.map_err(|error| Fault::Unread(format!("column `{}`: {error}", statement.columns()[index].name())))
        };
        let values = plan.forms.iter().enumerate().map(value).collect::<Result<Box<[Scalar]>, Fault>>()?;
        answer.add(statement.columns().iter().map(name), values).map_err(Fault::Unread)?;
    }
    Ok(())
}

impl Plan {
    fn new(statement: &PgStatement, query: &Compiled) -> Self {
        let forms: Vec<Form> = statement.columns().iter().map(|column| columns::form(column.type_info())).collect();
        let casts: Vec<Option<String>> = parameters(statement)
            .iter()
            .enumerate()
            .map(|(bind, info)| binds::is_cast(info).then(|| format!("(${}::text)::{}", bind + 1, info.name())))
            .collect();
        let has_casts = casts.iter().any(Option::is_some);
        let has_others = forms.contains(&Form::Other);
        let text = (has_casts || has_others).then(|| {
            let inner = query.sql.inner_text(&|bind| casts.get(bind).cloned().flatten());
            operators_own(if has_others { as_text(&inner, &forms) } else { inner })
        });
        Self { forms, text }
    }

    /// Why the text that was made of the query is refused, where the query itself is not.
    fn fault(&self, error: &sqlx::Error, query: &Compiled, statement: &PgStatement) -> Fault {
        let other = self.forms.iter().position(|form| *form == Form::Other);
        match (fault(error, query), other) {
            (Fault::Refused(LookupError::Failed(said)), Some(index)) => {
                let column = &statement.columns()[index];
                Fault::Refused(LookupError::Failed(format!(
                    "column `{}` is of type {}, cast it to text in the query: {said}",
                    column.name(),
                    column.type_info().name().to_lowercase(),
                )))
            }
            (fault, _) => fault,
        }
    }
}

/// A query whose columns of other types are made texts.
fn as_text(query: &str, forms: &[Form]) -> String {
    let mut text = "SELECT ".to_owned();
    for (index, form) in forms.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let column = format!("q.c{index}");
        // What the type's own output is: a cast may have something to add, such as `/32`.
        let column = match form {
            Form::Other => format!("CASE WHEN {column} IS NOT NULL THEN format('%s', {column}) END"),
            _ => column,
        };
        // Writing to a string does not fail.
        write!(text, "{comma}{column}").unwrap_or_default();
    }
    let names: Vec<String> = (0..forms.len()).map(|index| format!("c{index}")).collect();
    // The query may end in a comment.
    write!(text, " FROM (\n{query}\n) AS q({})", names.join(", ")).unwrap_or_default();
    text
}

fn parameters(statement: &PgStatement) -> &[sqlx::postgres::PgTypeInfo] {
    match statement.parameters() {
        Some(Either::Left(parameters)) => parameters,
        Some(Either::Right(_)) | None => &[],
    }
}

/// The values as the server wants them. The error names the bind whose value does not fit, and not the value, which may
/// be a secret.
fn arguments(statement: &PgStatement, query: &Compiled, values: &[Scalar]) -> Result<PgArguments, LookupError> {
    let mut arguments = PgArguments::default();
    for ((info, value), name) in parameters(statement).iter().zip(values).zip(query.sql.names()) {
        let encoded = Encoded::new(value, info).ok_or_else(|| LookupError::Unfit(misfit(name, info)))?;
        arguments.add(encoded).map_err(|error| LookupError::Failed(error.to_string()))?;
    }
    Ok(arguments)
}

mod code {
    /// The server does not know what was prepared: a pooler has changed connections.
    pub(super) const NO_STATEMENT: &str = "26000";
    /// What was prepared would answer other columns now.
    pub(super) const CHANGED: &str = "0A000";
    /// Names and types that are not there any more, or do not fit.
    pub(super) const CLASS_OF_NAMES: &str = "42";
    /// A value that does not fit its type.
    pub(super) const CLASS_OF_VALUES: &str = "22";
    /// What says nothing about the query: connections, resources, an operator's doing, the system; also a query that was
    /// cancelled, a deadlock, a lock that is not to be had.
    pub(super) const OUTAGES: [&str; 7] = ["08", "53", "57", "58", "40001", "40P01", "55P03"];
}

fn code(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    Some(error.code())
}

fn is_stale(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| {
        code == code::NO_STATEMENT || code == code::CHANGED || code.starts_with(code::CLASS_OF_NAMES)
    })
}

fn fault(error: &sqlx::Error, query: &Compiled) -> Fault {
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    let Some(database) = database else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Fault::Dead(said(error)),
            _ => Fault::Unread(said(error)),
        };
    };
    if matches!(database.severity(), PgSeverity::Fatal | PgSeverity::Panic) {
        return Fault::Dead(said(error));
    }
    if code::OUTAGES.iter().any(|code| database.code().starts_with(code)) {
        return Fault::Refused(LookupError::Unavailable(said(error)));
    }
    let mut text = database.message().to_owned();
    if database.code().starts_with(code::CLASS_OF_VALUES) {
        text = without_value(&text);
    }
    // From the last: `$1` begins `$10`.
    for (index, name) in query.sql.names().iter().enumerate().rev() {
        text = text.replace(&format!("${}", index + 1), &format!(":{name}"));
    }
    Fault::Refused(LookupError::Failed(text))
}

/// Returns a fault if the server says that a value, which was bound as a text, does not fit its type. Only if the server's
/// message quotes that value is it not a fault of the rows.
fn unfit(error: &sqlx::Error, statement: &PgStatement, query: &Compiled, values: &[Scalar]) -> Option<Fault> {
    let database = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    let binds = parameters(statement).iter().zip(values).zip(query.sql.names());
    let judged = binds.filter(|((info, _), _)| binds::is_judged_by_server(info));
    let judged = judged.map(|((info, value), name)| (info, value, name));
    let (info, name) = blamed(database.code(), database.message(), judged)?;
    Some(Fault::Refused(LookupError::Unfit(misfit(name, info))))
}

/// The bind whose value the server quotes as one that does not fit its type.
fn blamed<'b, T, N>(code: &str, message: &str, mut binds: impl Iterator<Item = (T, &'b Scalar, N)>) -> Option<(T, N)> {
    let is_quoted =
        |value: &Scalar| value.as_value().text().is_some_and(|text| message.contains(&format!("\"{text}\"")));
    let blamed = binds.find(|(_, value, _)| code.starts_with(code::CLASS_OF_VALUES) && is_quoted(value));
    blamed.map(|(info, _, name)| (info, name))
}

/// Says that a value does not fit. Does not repeat the value, which may be a secret.
fn misfit(name: &str, info: &sqlx::postgres::PgTypeInfo) -> String {
    format!("what is bound to `:{name}` is no {}, which it is compared with", info.name().to_lowercase())
}

/// What the server says about a value, without the value, which stands in quotes and may have some itself.
fn without_value(text: &str) -> String {
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if last + 1 == text.len() => text[..first].trim_end_matches(": ").to_owned(),
        (Some(first), Some(last)) => format!("{}…{}", &text[..first], &text[last + 1..]),
        _ => text.to_owned(),
    }
}

/// What is wrong with a URL, for people.
pub(super) fn configuration(error: &sqlx::Error) -> String {
    error.to_string().replace("error with configuration: ", "")
}

/// What an error says, for people.
pub(super) fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_the_server_cannot_cast_is_told_from_a_fault_of_the_rows() {
        let text = |text: &str| Scalar::Text(text.into());
        let values = [Scalar::Null, text("x"), Scalar::Int(7)];
        for (code, message, expected) in [
            ("22P02", "invalid input syntax for type numeric: \"x\"", Some(1)),
            ("22008", "date/time field value out of range: \"7\"", Some(2)),
            ("22P02", "invalid input syntax for type integer: \"a row's\"", None),
            ("22012", "division by zero", None),
            ("42703", "column \"x\" does not exist", None),
        ] {
            let binds = values.iter().enumerate().map(|(index, value)| (index, value, ()));
            assert_eq!(blamed(code, message, binds).map(|(index, ())| index), expected, "{message}");
        }
    }

    #[test]
    fn what_is_not_read_here_is_cast() {
        let text = as_text("SELECT 1, x -- y", &[Form::Int4, Form::Other]);
        assert_eq!(
            text,
            "SELECT q.c0, CASE WHEN q.c1 IS NOT NULL THEN format('%s', q.c1) END FROM (\nSELECT 1, x -- y\n) AS q(c0, c1)"
        );
    }
}
