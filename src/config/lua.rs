//! Which queries a plugin asks, as far as reading its text tells: `lookup("name"`, with the name written out, or not.
//!
//! Invariant: no Lua is run here, and text in comments and strings is none of the program's.

use std::ops::Range;

/// The queries that a plugin asks.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Those whose names are written out.
    pub(super) named: Vec<NamedLookup>,
    /// Whether there may be others, whose names the plugin makes or is handed.
    pub(super) others: bool,
}

/// A query that a plugin asks, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NamedLookup {
    pub(super) name: String,
    /// Where the name stands, in bytes, without its quotes.
    pub(super) range: Range<usize>,
}

/// All that a plugin's text says of `lookup`.
pub(super) fn lookups(text: &str) -> Lookups {
    let mut found = Lookups::default();
    let mut tokens = Tokens { text, at: 0 };
    // How much of `lookup (` has been seen; a member of something else (`x.lookup`) is another function.
    let (mut before, mut seen) = (Token::Other, 0);
    while let Some((token, range)) = tokens.next() {
        seen = match (&token, seen) {
            (Token::Word("lookup"), _) if before != Token::Sign(b'.') && before != Token::Sign(b':') => 1,
            (Token::Sign(b'('), 1) => 2,
            (Token::Text, 1 | 2) => {
                found.named.push(NamedLookup { name: text[range.clone()].to_owned(), range });
                0
            }
            (_, 1 | 2) => {
                found.others = true;
                0
            }
            _ => 0,
        };
        before = token;
    }
    found.others |= seen > 0;
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    /// A text in quotes.
    Text,
    /// A character that is part of nothing longer.
    Sign(u8),
    /// A long text, in brackets.
    Other,
}

/// Words, texts and signs, with comments left out. The range of a text is what its quotes hold.
struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    fn next(&mut self) -> Option<(Token<'t>, Range<usize>)> {
        loop {
            let rest = &self.text[self.at..];
            let first = rest.bytes().next()?;
            let start = self.at;
            if let Some(comment) = rest.strip_prefix("--") {
                let length = long(comment).map_or_else(|| comment.find('\n').unwrap_or(comment.len()), |(end, _)| end);
                self.at += "--".len() + length;
                continue;
            }
            if let Some((end, _)) = long(rest) {
                self.at += end;
                return Some((Token::Other, start..self.at));
            }
            return Some(match first {
                b'"' | b'\'' => {
                    let length = quoted(&rest[1..], first);
                    self.at = (start + length + 2).min(self.text.len());
                    (Token::Text, start + 1..start + 1 + length)
                }
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                    let is_part = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
                    let length = rest.bytes().position(|byte| !is_part(byte)).unwrap_or(rest.len());
                    self.at += length;
                    (Token::Word(&rest[..length]), start..self.at)
                }
                _ => {
                    self.at += rest.chars().next().map_or(1, char::len_utf8);
                    if first.is_ascii_whitespace() {
                        continue;
                    }
                    (Token::Sign(first), start..self.at)
                }
            });
        }
    }
}

/// The bytes of a text up to its closing quote, which may be missing: then the line's end ends it.
fn quoted(text: &str, quote: u8) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if is_escaped {
            is_escaped = false;
        } else if byte == b'\\' {
            is_escaped = true;
        } else if byte == quote || byte == b'\n' {
            return at;
        }
    }
    text.len()
}

/// Where a text in long brackets (`[[...]]`, `[==[...]==]`) ends that starts here, and where what it holds starts.
fn long(text: &str) -> Option<(usize, usize)> {
    let level = text.strip_prefix('[')?.bytes().position(|byte| byte != b'=')?;
    let open = level + 2;
    if text.as_bytes().get(open - 1) != Some(&b'[') {
        return None;
    }
    let close = format!("]{}]", "=".repeat(level));
    let end = text[open..].find(&close).map_or(text.len(), |at| open + at + close.len());
    Some((end, open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_written_out_are_found() {
        for (text, expected) in [
            ("lookup(\"a\", {})", &["a"][..]),
            ("lookup ( 'a' )", &["a"]),
            ("lookup 'a'", &["a"]),
            ("to:users(lookup(\"a\", { x = lookup(\"b\") }))", &["a", "b"]),
            ("local x = lookup(name)", &[]),
            ("-- lookup(\"a\")\nlookup(\"b\")", &["b"]),
            ("--[[ lookup(\"a\")\n]] lookup(\"b\")", &["b"]),
            ("--[==[ ]] lookup(\"a\") ]==] lookup(\"b\")", &["b"]),
            ("log.info(\"lookup('a')\")", &[]),
            ("log.info([[lookup('a')]])", &[]),
            ("log.info('it\\'s') lookup('b')", &["b"]),
            ("self.lookup(\"a\") self:lookup(\"b\") relookup(\"c\")", &[]),
            ("lookup(\"a", &["a"]),
            ("lookup(\"ü\")", &["ü"]),
            ("lookup(", &[]),
            ("x[ [[y]] ] = \"\\", &[]),
            ("ü lookup('a') \u{1f980}", &["a"]),
        ] {
            let found = lookups(text);
            let names: Vec<&str> = found.named.iter().map(|lookup| lookup.name.as_str()).collect();
            assert_eq!(names, expected, "{text}");
            assert!(found.named.iter().all(|lookup| text[lookup.range.clone()] == lookup.name), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_not_written_out_may_be_any() {
        for (text, expected) in [
            ("lookup(\"a\", {})", false),
            ("lookup(params.query, {})", true),
            ("lookup(\"a\") local ask = lookup", true),
            ("local ask = lookup ask(\"a\")", true),
            ("self.lookup(x) -- lookup(y)", false),
            ("lookup([[a]])", true),
        ] {
            assert_eq!(lookups(text).others, expected, "{text}");
        }
    }
}
