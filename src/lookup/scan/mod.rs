//! The scanner of a query's text: finds its `:name` binds, so that each database gets them as it wants them.
//!
//! SQLite gets `?1` and PostgreSQL `$1`, where a name that stands several times has one number. MySQL knows no numbers:
//! it gets a bare `?`, and a value that is named twice is sent twice.
//!
//! Invariant: all that is no bind stays byte for byte.
//! Invariant: the result has no other parameter of its database's (`?1`, `@name`, `$1`), which would silently be null
//! or share a value.

mod lexer;

use std::fmt::Write as _;

use compact_str::CompactString;

use lexer::{Kind, Lexer};

/// Whose SQL a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// A query's text, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    dialect: Dialect,
    pieces: Vec<Piece>,
    names: Vec<CompactString>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A bind, by its place among the names.
    Bind(usize),
    /// `;`
    End,
}

impl Dialect {
    /// The dialect that the scheme of a URL names.
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::Mysql),
            _ => None,
        }
    }
}

/// The names that a query binds, each once, in the order of their first appearance. The error says what is wrong,
/// for people.
pub fn binds(dialect: Dialect, sql: &str) -> Result<Vec<CompactString>, String> {
    Sql::read(dialect, sql).map(|sql| sql.names)
}

impl Sql {
    /// Takes a text apart. The error says what is wrong, for people.
    pub(super) fn read(dialect: Dialect, sql: &str) -> Result<Self, String> {
        let mut read = Self { dialect, pieces: Vec::new(), names: Vec::new() };
        let mut statement = Statement::Awaited;
        let mut lexer = Lexer::new(dialect);
        let mut rest = sql;
        while !rest.is_empty() {
            let (kind, length) = lexer.piece(rest)?;
            let (part, after) = rest.split_at(length);
            statement = statement.follow(kind, part)?;
            match (kind, read.pieces.last_mut()) {
                (Kind::Bind, _) => {
                    let bind = read.name(&part[1..]);
                    read.pieces.push(Piece::Bind(bind));
                }
                (Kind::End, _) => read.pieces.push(Piece::End),
                (Kind::Blank | Kind::Other, Some(Piece::Text(text))) => text.push_str(part),
                (Kind::Blank | Kind::Other, _) => read.pieces.push(Piece::Text(part.to_owned())),
            }
            rest = after;
        }
        match statement {
            Statement::Awaited => Err("there is no statement in it".to_owned()),
            Statement::Begun | Statement::Ended => Ok(read),
        }
    }

    /// The names of its binds, each once.
    pub(super) fn names(&self) -> &[CompactString] {
        &self.names
    }

    /// The binds in the order in which their values are sent, by their places among the names.
    pub(super) fn sent(&self) -> Vec<usize> {
        let bind = |piece: &Piece| if let Piece::Bind(bind) = piece { Some(*bind) } else { None };
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => (0..self.names.len()).collect(),
            Dialect::Mysql => self.pieces.iter().filter_map(bind).collect(),
        }
    }

    /// The text as its database gets it.
    pub(super) fn text(&self) -> String {
        self.render(&|_| None, ";")
    }

    /// As [`text`](Self::text), without what ends the statement, and with another text for the binds for which
    /// `instead` has one.
    pub(super) fn inner_text(&self, instead: &dyn Fn(usize) -> Option<String>) -> String {
        self.render(instead, "")
    }

    fn render(&self, instead: &dyn Fn(usize) -> Option<String>, end: &str) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            let bind = match piece {
                Piece::Text(part) => {
                    text.push_str(part);
                    continue;
                }
                Piece::End => {
                    text.push_str(end);
                    continue;
                }
                Piece::Bind(bind) => *bind,
            };
            // Writing to a string does not fail.
            match (instead(bind), self.dialect) {
                (Some(other), _) => text.push_str(&other),
                (None, Dialect::Sqlite) => write!(text, "?{}", bind + 1).unwrap_or_default(),
                (None, Dialect::Postgres) => {
                    // `x$1` would be a name.
                    if text.ends_with(lexer::is_name) {
                        text.push(' ');
                    }
                    write!(text, "${}", bind + 1).unwrap_or_default();
                }
                (None, Dialect::Mysql) => text.push('?'),
            }
        }
        text
    }

    fn name(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }
}

/// How far the one statement of a query has come.
#[derive(Clone, Copy)]
enum Statement {
    Awaited,
    Begun,
    Ended,
}

impl Statement {
    fn follow(self, kind: Kind, part: &str) -> Result<Self, String> {
        match (self, kind) {
            (state, Kind::Blank) | (state @ (Self::Awaited | Self::Ended), Kind::End) => Ok(state),
            (Self::Begun, Kind::End) => Ok(Self::Ended),
            (Self::Awaited | Self::Begun, Kind::Bind | Kind::Other) => Ok(Self::Begun),
            (Self::Ended, Kind::Bind | Kind::Other) => {
                Err(format!("a query is one statement, and `{}` begins a second one", lexer::start_of(part)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
