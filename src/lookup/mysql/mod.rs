//! MySQL and MariaDB.
//!
//! Binds have no types there: the server makes a number of a text that is compared with a number. A text that only begins
//! with one counts as that (`'7abc'` is 7), as everywhere in MySQL.
//!
//! Columns are read by their type's name.

mod columns;

use std::str::FromStr;
use std::time::Duration;

use compact_str::CompactString;
use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlDatabaseError};
use sqlx::{Arguments, Column, ConnectOptions, Connection, Executor, MySqlConnection, Row, SqlStr, Statement};

use super::LookupError;
use super::answer::Answer;
use super::backend::name;
use super::compiled::{Compiled, operators_own};
use super::remote::{Fault, Server};
use crate::event::Scalar;

/// How MySQL is spoken to.
pub(super) struct Mysql {
    options: MySqlConnectOptions,
    /// What is said on each new connection.
    greeting: SqlStr,
}

/// Reads a URL. The error is for people.
pub(super) fn options(url: &str) -> Result<MySqlConnectOptions, String> {
    MySqlConnectOptions::from_str(url).map_err(|error| super::postgres::configuration(&error))
}

impl Mysql {
    /// The database that this URL names, whose server stops what takes longer than `longest`, and holds so many prepared
    /// statements for each connection. The error is for people.
    pub(super) fn new(url: &str, longest: Duration, statements: usize) -> Result<Self, String> {
        let options = options(url)?.statement_cache_capacity(statements).disable_statement_logging();
        // Each server takes the first for a comment, or the second.
        let greeting = format!(
            "SET @pointsman = 1 /*M!100101 , SESSION max_statement_time = {} */ /*!50708 , SESSION max_execution_time = {} */",
            longest.as_secs_f64(),
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

impl Server for Mysql {
    type Connection = MySqlConnection;

    async fn connect(&self) -> Result<MySqlConnection, String> {
        let connected = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(self.greeting.clone()).execute(&mut connection).await?;
            Ok(connection)
        };
        connected.await.map_err(|error| format!("{}: {}", self.place(), said(&error)))
    }

    async fn close(connection: MySqlConnection) {
        // It is closed anyway.
        connection.close().await.ok();
    }

    async fn prepare(&self, connection: &mut MySqlConnection, query: &Compiled) -> Result<Vec<CompactString>, Fault> {
        let statement = connection.prepare(query.text.clone()).await.map_err(|error| fault(&error))?;
        Ok(statement.columns().iter().map(name).collect())
    }

    async fn fetch(
        &self,
        connection: &mut MySqlConnection,
        query: &Compiled,
        values: &[Scalar],
        answer: &mut Answer,
    ) -> Result<(), Fault> {
        match run(connection, query, values, answer).await {
            Err(Failed::Stale) if answer.is_empty() => {
                connection.clear_cached_statements().await.map_err(|error| fault(&error))?;
                run(connection, query, values, answer).await.map_err(Failed::into_fault)
            }
            other => other.map_err(Failed::into_fault),
        }
    }
}

enum Failed {
    Fault(Fault),
    /// The server wants the statement prepared again.
    Stale,
}

impl Failed {
    fn new(error: &sqlx::Error) -> Self {
        if number(error).is_some_and(|number| number::STALE.contains(&number)) {
            return Self::Stale;
        }
        Self::Fault(fault(error))
    }

    fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Stale => Fault::Dead("the server does not keep what is prepared".to_owned()),
        }
    }
}

async fn run(
    connection: &mut MySqlConnection,
    query: &Compiled,
    values: &[Scalar],
    answer: &mut Answer,
) -> Result<(), Failed> {
    let unread = |said| Failed::Fault(Fault::Unread(said));
    let arguments = arguments(query, values).map_err(|error| Failed::new(&error))?;
    // Prepared once a connection: the driver knows it by its text.
    let mut rows = sqlx::query_with(query.text.clone(), arguments).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await.map_err(|error| Failed::new(&error))? {
        let value = |index| {
            let value = columns::scalar(&row, index);
            value.map_err(|error| unread(format!("column `{}`: {error}", row.column(index).name())))
        };
        let values = (0..row.len()).map(value).collect::<Result<Box<[Scalar]>, Failed>>()?;
        answer.add(row.columns().iter().map(name), values).map_err(unread)?;
    }
    Ok(())
}

fn arguments(query: &Compiled, values: &[Scalar]) -> Result<MySqlArguments, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for bind in &query.sent {
        match &values[*bind] {
            Scalar::Null => arguments.add(None::<&str>),
            Scalar::Bool(value) => arguments.add(*value),
            Scalar::Int(value) => arguments.add(*value),
            Scalar::Float(value) => arguments.add(*value),
            Scalar::Text(text) => arguments.add(text.as_str()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Numbers of errors.
mod number {
    /// Prepared statements that the server has lost or wants anew.
    pub(super) const STALE: [u16; 2] = [1243, 1615];
    /// With which the server says farewell: shutdown, gone away, lost, killed, idle for too long.
    pub(super) const FAREWELLS: [u16; 5] = [1053, 1927, 2006, 2013, 4031];
    /// That say nothing about the query: connections, memory, disk, files, threads, hosts, the network, locks,
    /// deadlocks, statements that were interrupted or took too long.
    pub(super) const OUTAGES: [u16; 24] = [
        1021, 1023, 1030, 1037, 1038, 1040, 1041, 1042, 1080, 1129, 1135, 1152, 1158, 1159, 1160, 1161, 1203, 1205,
        1213, 1226, 1317, 1461, 1969, 3024,
    ];
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

fn fault(error: &sqlx::Error) -> Fault {
    let Some(number) = number(error) else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => Fault::Dead(said(error)),
            _ => Fault::Unread(said(error)),
        };
    };
    if number::FAREWELLS.contains(&number) {
        return Fault::Dead(said(error));
    }
    Fault::Refused(if number::OUTAGES.contains(&number) {
        LookupError::Unavailable(said(error))
    } else {
        let class = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let is_about_names = class.is_some_and(|class| class.starts_with(CLASS_OF_NAMES));
        LookupError::Failed(if is_about_names { said(error) } else { without_values(&said(error)) })
    })
}

/// Errors of this class are about the text of the query, and hold no values.
const CLASS_OF_NAMES: &str = "42";

/// Returns the server's message without its quotations, which may hold a part of a token.
fn without_values(text: &str) -> String {
    match (text.find('\''), text.rfind('\'')) {
        (Some(first), Some(last)) if first < last => format!("{}'…'{}", &text[..first], &text[last + 1..]),
        _ => text.to_owned(),
    }
}

/// What an error says, for people.
fn said(error: &sqlx::Error) -> String {
    super::postgres::said(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_quotes_is_not_repeated() {
        for (text, expected) in [
            (
                "Incorrect string value: 's3cret' for function uuid_to_bin",
                "Incorrect string value: '…' for function uuid_to_bin",
            ),
            ("Incorrect DATE value: 'it's'", "Incorrect DATE value: '…'"),
            ("Division by 0", "Division by 0"),
            ("odd ' quote", "odd ' quote"),
        ] {
            assert_eq!(without_values(text), expected);
        }
    }
}
