//! What the pieces of a query's text are, in each dialect: as little of SQL as it takes to tell a bind from what only
//! looks like one.
//!
//! The servers can be told to read differently. What is meant here is how they read by themselves:
//! `standard_conforming_strings` is on in PostgreSQL, `NO_BACKSLASH_ESCAPES` and `ANSI_QUOTES` are off in MySQL.

use super::Dialect;

/// What a piece of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// White space, a comment.
    Blank,
    /// `:name`
    Bind,
    /// `;`
    End,
    /// Anything else.
    Other,
}

/// Reads a text piece by piece, and knows of those before what it must.
pub(super) struct Lexer {
    dialect: Dialect,
    /// The brackets and parentheses that are open.
    open: Vec<char>,
    /// Whether the piece just before ends a value: `a` in `a[x:y]`, and `x`.
    after_value: bool,
}

impl Lexer {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, open: Vec::new(), after_value: false }
    }

    /// What a text that is not empty begins with, and its length in bytes. The error is for people.
    pub(super) fn piece(&mut self, text: &str) -> Result<(Kind, usize), String> {
        let (kind, length) = self.look(text)?;
        let part = &text[..length];
        match part {
            "(" | "[" => self.open.extend(part.chars()),
            ")" | "]" => {
                self.open.pop();
            }
            _ => {}
        }
        self.after_value = kind == Kind::Bind
            || (kind == Kind::Other && part.ends_with(|c| is_name(c) || matches!(c, ')' | ']' | '"' | '\'' | '$')));
        Ok((kind, length))
    }

    fn look(&self, text: &str) -> Result<(Kind, usize), String> {
        if let Some(length) = comment(self.dialect, text)? {
            return Ok((Kind::Blank, length));
        }
        if let Some(length) = quoted(self.dialect, text)? {
            return Ok((Kind::Other, length));
        }
        let first = text.chars().next().unwrap_or_default();
        match (self.dialect, first) {
            (_, ':') => self.colon(text),
            (_, ';') => Ok((Kind::End, 1)),
            (_, _) if first.is_ascii_whitespace() => Ok((Kind::Blank, 1)),
            // An identifier may have a `$` inside.
            (_, _) if is_name(first) => Ok((Kind::Other, run(text, |c| is_name(c) || c == '$'))),
            (Dialect::Sqlite, '?' | '@' | '$') | (Dialect::Postgres, '$') | (Dialect::Mysql, '?') => {
                Err(format!("`{}` is no bind here: write `:name`", start_of(text)))
            }
            _ => Ok((Kind::Other, first.len_utf8())),
        }
    }

    fn colon(&self, text: &str) -> Result<(Kind, usize), String> {
        if text.starts_with("::") || text.starts_with(":=") {
            return Ok((Kind::Other, 2));
        }
        let name = &text[1..];
        let is_named = name.starts_with(|c: char| is_name(c) && !c.is_numeric());
        // The colon of a slice: of `a[1:2]`, `a[lo:hi]`, `a[:]`. A bind never follows a value.
        if self.dialect == Dialect::Postgres && self.open.last() == Some(&'[') && (self.after_value || !is_named) {
            return Ok((Kind::Other, 1));
        }
        if !is_named {
            return Err(format!("`{}` is no bind: a name of letters, digits and `_` follows the `:`", start_of(text)));
        }
        Ok((Kind::Bind, 1 + run(name, is_name)))
    }
}

/// The length of the comment that the text begins with.
fn comment(dialect: Dialect, text: &str) -> Result<Option<usize>, String> {
    let to_line_end = |ends: &[char]| Ok(Some(text.find(ends).unwrap_or(text.len())));
    if let Some(after) = text.strip_prefix("--") {
        return match dialect {
            Dialect::Sqlite => to_line_end(&['\n']),
            Dialect::Postgres => to_line_end(&['\n', '\r']),
            // Without it, these are two minuses.
            Dialect::Mysql if after.is_empty() || after.starts_with(is_mysql_blank) => to_line_end(&['\n']),
            Dialect::Mysql => Ok(None),
        };
    }
    if dialect == Dialect::Mysql && text.starts_with('#') {
        return to_line_end(&['\n']);
    }
    let Some(inside) = text.strip_prefix("/*") else { return Ok(None) };
    if dialect == Dialect::Postgres {
        return nested(text).map(Some);
    }
    inside.find("*/").map(|end| Some(end + 4)).ok_or_else(|| unclosed(text))
}

/// The length of a comment that may hold others.
fn nested(text: &str) -> Result<usize, String> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let rest = &text[at..];
        let next = rest.find("/*").into_iter().chain(rest.find("*/")).min().ok_or_else(|| unclosed(text))?;
        depth = if rest[next..].starts_with("/*") { depth + 1 } else { depth - 1 };
        at += next + 2;
        if depth == 0 {
            return Ok(at);
        }
    }
}

/// The length of the quoted text or identifier that the text begins with, with its quotes.
fn quoted(dialect: Dialect, text: &str) -> Result<Option<usize>, String> {
    let first = text.chars().next().unwrap_or_default();
    match (dialect, first) {
        (Dialect::Mysql, '\'' | '"') => escaped(text, first).map(Some),
        (_, '\'' | '"') | (Dialect::Sqlite | Dialect::Mysql, '`') => doubled(text, first).map(Some),
        (Dialect::Sqlite, '[') => text.find(']').map(|end| Some(end + 1)).ok_or_else(|| unclosed(text)),
        (Dialect::Postgres, 'e' | 'E') if text[1..].starts_with('\'') => {
            let mut length = 1 + escaped(&text[1..], '\'')?;
            // A text that goes on in another line keeps its kind.
            while let Some(more) = continued(&text[length..]) {
                length += more + escaped(&text[length + more..], '\'')?;
            }
            Ok(Some(length))
        }
        (Dialect::Postgres, '$') => dollars(text),
        _ => Ok(None),
    }
}

/// How much white space, with a new line in it, stands before a quote.
fn continued(text: &str) -> Option<usize> {
    let blank = run(text, |c| c.is_ascii_whitespace());
    (text[..blank].contains(['\n', '\r']) && text[blank..].starts_with('\'')).then_some(blank)
}

/// The length of a text in which a doubled quote stands for itself, with both its quotes.
fn doubled(text: &str, quote: char) -> Result<usize, String> {
    let mut at = 1;
    loop {
        at += text[at..].find(quote).ok_or_else(|| unclosed(text))? + 1;
        if !text[at..].starts_with(quote) {
            return Ok(at);
        }
        at += 1;
    }
}

/// As [`doubled`], where a backslash makes the next character stand for itself, too.
fn escaped(text: &str, quote: char) -> Result<usize, String> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Ok(at + 1);
        }
    }
    Err(unclosed(text))
}

/// The length of `$tag$…$tag$`, where the text begins with one.
fn dollars(text: &str) -> Result<Option<usize>, String> {
    let tag = run(&text[1..], is_name);
    let is_tag = text[1 + tag..].starts_with('$') && !text[1..].starts_with(char::is_numeric);
    if !is_tag {
        return Ok(None);
    }
    let mark = &text[..tag + 2];
    let end = text[mark.len()..].find(mark).ok_or_else(|| unclosed(text))?;
    Ok(Some(end + 2 * mark.len()))
}

fn run(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c| !fits(c)).unwrap_or(text.len())
}

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_mysql_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c.is_ascii_control()
}

fn unclosed(text: &str) -> String {
    format!("`{}` is never closed", start_of(text))
}

/// The first characters, to show where in the query it is.
pub(super) fn start_of(text: &str) -> String {
    const SHOWN: usize = 20;
    let mut start: String = text.chars().take(SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}
