//! The scanner of a query's text: finds its `:name` binds and numbers them for SQLite.
//!
//! A name that stands several times is one bind: `?1` may be repeated. Where another database comes, two things here
//! depend on it: what a bind is written as (`$1` for PostgreSQL; a bare `?` for MySQL, where a repeated name repeats
//! its value), and what is quoted (`$tag$…$tag$`, `E'…'` and nested comments in PostgreSQL, which knows no `[…]`;
//! backslashes and `#` comments in MySQL).
//!
//! Invariant: all that is no bind stays byte for byte.
//! Invariant: the result has no other parameter of SQLite's (`?`, `?1`, `@name`, `$name`), which would silently be
//! null or share a value.

use std::fmt::Write as _;

use compact_str::CompactString;

/// The names that a query binds, each once, in the order of their first appearance. The error says what is wrong,
/// for people.
pub fn binds(sql: &str) -> Result<Vec<CompactString>, String> {
    rewrite(sql).map(|(_, binds)| binds)
}

/// The query with its binds numbered (`?1` is the first of the names), and the names as of [`binds`].
pub(super) fn rewrite(sql: &str) -> Result<(String, Vec<CompactString>), String> {
    let mut text = String::with_capacity(sql.len());
    let mut names = Vec::<CompactString>::new();
    let mut statement = Statement::Awaited;
    let mut rest = sql;
    while !rest.is_empty() {
        let (kind, length) = piece(rest)?;
        let (part, after) = rest.split_at(length);
        statement = statement.follow(kind, part)?;
        if kind == Kind::Bind {
            let name = &part[1..];
            let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.into());
                names.len() - 1
            });
            // Writing to a string does not fail.
            write!(text, "?{}", index + 1).ok();
        } else {
            text.push_str(part);
        }
        rest = after;
    }
    match statement {
        Statement::Awaited => Err("there is no statement in it".to_owned()),
        Statement::Begun | Statement::Ended => Ok((text, names)),
    }
}

/// What a piece of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// White space, a comment.
    Blank,
    /// `:name`
    Bind,
    /// `;`
    End,
    /// Anything else.
    Other,
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
                Err(format!("a query is one statement, and `{}` begins a second one", start_of(part)))
            }
        }
    }
}

/// What a text that is not empty begins with, and its length in bytes.
fn piece(text: &str) -> Result<(Kind, usize), String> {
    let first = text.chars().next().unwrap_or_default();
    let comment = if text.starts_with("--") {
        Some(text.find('\n').unwrap_or(text.len()))
    } else if let Some(inside) = text.strip_prefix("/*") {
        Some(inside.find("*/").ok_or_else(|| unclosed(text))? + 4)
    } else {
        None
    };
    if let Some(length) = comment {
        return Ok((Kind::Blank, length));
    }
    match first {
        '\'' | '"' | '`' => quoted(text, first).map(|length| (Kind::Other, length)),
        '[' => text.find(']').map(|end| (Kind::Other, end + 1)).ok_or_else(|| unclosed(text)),
        ':' if text.starts_with("::") || text.starts_with(":=") => Ok((Kind::Other, 2)),
        ':' => match run(&text[1..], is_name) {
            length if length > 0 && !text[1..].starts_with(char::is_numeric) => Ok((Kind::Bind, 1 + length)),
            _ => Err(format!("`{}` is no bind: a name of letters, digits and `_` follows the `:`", start_of(text))),
        },
        '?' | '@' | '$' => Err(format!("`{}` is no bind here: write `:name`", start_of(text))),
        ';' => Ok((Kind::End, 1)),
        // An identifier may have a `$` inside.
        _ if is_name(first) => Ok((Kind::Other, run(text, |c| is_name(c) || c == '$'))),
        _ if first.is_ascii_whitespace() => Ok((Kind::Blank, 1)),
        _ => Ok((Kind::Other, first.len_utf8())),
    }
}

/// The length of a quoted text with both its quotes. A doubled quote inside stands for itself.
fn quoted(text: &str, quote: char) -> Result<usize, String> {
    let mut at = 1;
    loop {
        at += text[at..].find(quote).ok_or_else(|| unclosed(text))? + 1;
        if !text[at..].starts_with(quote) {
            return Ok(at);
        }
        at += 1;
    }
}

fn run(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c| !fits(c)).unwrap_or(text.len())
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn unclosed(text: &str) -> String {
    format!("`{}` is never closed", start_of(text))
}

/// The first characters, to show where in the query it is.
fn start_of(text: &str) -> String {
    const SHOWN: usize = 20;
    let mut start: String = text.chars().take(SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(sql: &str, expected: &str, names: &[&str]) {
        let (text, found) = rewrite(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(
            (text.as_str(), found.iter().map(CompactString::as_str).collect::<Vec<_>>()),
            (expected, names.to_vec()),
            "{sql}"
        );
    }

    #[test]
    fn binds_are_numbered_and_repeats_share_a_number() {
        for (sql, expected, names) in [
            ("SELECT 1", "SELECT 1", &[][..]),
            ("SELECT :a", "SELECT ?1", &["a"]),
            ("SELECT :b, :a, :b", "SELECT ?1, ?2, ?1", &["b", "a"]),
            ("SELECT x WHERE a=:a_1AND b", "SELECT x WHERE a=?1 b", &["a_1AND"]),
            ("SELECT (:a)||:b;", "SELECT (?1)||?2;", &["a", "b"]),
            ("SELECT :größe", "SELECT ?1", &["größe"]),
            ("SELECT :a :b ; -- done\n;", "SELECT ?1 ?2 ; -- done\n;", &["a", "b"]),
        ] {
            check(sql, expected, names);
        }
    }

    #[test]
    fn what_is_quoted_commented_or_an_operator_is_no_bind() {
        for sql in [
            "SELECT ':a'",
            "SELECT 'it''s :a'",
            "SELECT \"a:b\"\":c\"",
            "SELECT `a:b``:c`",
            "SELECT [a:b]",
            "SELECT 1 -- :a",
            "SELECT 1 -- :a\n",
            "SELECT /* :a ' */ 1",
            "SELECT /*/ :a */ 1",
            "SELECT a::text",
            "SELECT a:=1",
            "SELECT '?', \"@x\", a$b",
            "SELECT a - b / c * d",
        ] {
            check(sql, sql, &[]);
        }
        check("SELECT ':a'||:a||'--'||:b", "SELECT ':a'||?1||'--'||?2", &["a", "b"]);
        check("SELECT 1 -- '\n, :a", "SELECT 1 -- '\n, ?1", &["a"]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (sql, said) in [
            ("SELECT 'abc", "`'abc` is never closed"),
            ("SELECT 'abc''", "`'abc''` is never closed"),
            ("SELECT \"a", "`\"a` is never closed"),
            ("SELECT [a", "`[a` is never closed"),
            ("SELECT /* a very long comment it is", "`/* a very long comme…` is never closed"),
            ("SELECT ?", "write `:name`"),
            ("SELECT ?1", "write `:name`"),
            ("SELECT @a", "write `:name`"),
            ("SELECT $a", "write `:name`"),
            ("SELECT :a$b", "write `:name`"),
            ("SELECT :", "is no bind"),
            ("SELECT :1", "is no bind"),
            ("SELECT 1; DELETE FROM t", "`DELETE` begins a second one"),
            ("SELECT 1;:a", "begins a second one"),
            ("", "there is no statement"),
            (" -- nothing\n;", "there is no statement"),
        ] {
            let error = rewrite(sql).expect_err(sql);
            assert!(error.contains(said), "{sql}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*|[':\"`;a/*\\-\\[\\]\n$?@=é]*") {
            let answer = rewrite(&text);
            if let Ok((rewritten, names)) = answer && !text.contains(':') {
                prop_assert_eq!(rewritten, text);
                prop_assert!(names.is_empty());
            }
        }

        #[test]
        fn everything_but_the_binds_stays(pieces in proptest::collection::vec(piece_of_sql(), 1..30)) {
            let mut sql = "x".to_owned();
            let mut names = Vec::<&str>::new();
            let mut expected = "x".to_owned();
            for (text, bind) in &pieces {
                sql.push_str(if *bind { ":" } else { "" });
                sql.push_str(text);
                if *bind {
                    let index = names.iter().position(|name| name == text).unwrap_or(names.len());
                    if index == names.len() {
                        names.push(text);
                    }
                    write!(expected, "?{}", index + 1).unwrap();
                } else {
                    expected.push_str(text);
                }
            }
            let (rewritten, found) = rewrite(&sql).unwrap();
            prop_assert_eq!(rewritten, expected);
            prop_assert_eq!(found, names);
        }
    }

    /// A piece that keeps apart from its neighbours, and whether it is a bind.
    fn piece_of_sql() -> impl Strategy<Value = (&'static str, bool)> {
        let verbatim =
            [" ", "\n", "( ", "'a:b'' ' ", "\":x\" ", "`:y` ", "[:z] ", "/* :c */", "-- :d '\n", "::", " é ", "<> "];
        let names = ["a", "tenant", "b2", "_x"];
        prop_oneof![
            proptest::sample::select(verbatim.to_vec()).prop_map(|text| (text, false)),
            proptest::sample::select(names.to_vec()).prop_map(|text| (text, true)),
        ]
    }
}
