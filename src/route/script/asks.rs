//! Which queries a plugin may ask, read from its text: where `lookup` stands, and with what name.
//!
//! Invariant: on the safe side. What cannot be told means that it may ask any.

use super::Asks;

/// Reads a plugin's text, which compiles.
pub(super) fn asks(text: &str) -> Asks {
    if !text.contains("lookup") {
        return Asks::Nothing;
    }
    // A text in backticks may hold code. Who writes one is run as though it asked anything.
    if text.contains('`') {
        return Asks::Any;
    }
    let mut names = Vec::new();
    let mut tokens = Tokens { rest: text }.peekable();
    while let Some(token) = tokens.next() {
        if token != Token::Word("lookup") {
            continue;
        }
        let is_call = tokens.next() == Some(Token::Sign('('));
        match (is_call, tokens.next(), tokens.peek()) {
            (true, Some(Token::Text(name)), Some(Token::Sign(',' | ')'))) => names.push(name),
            _ => return Asks::Any,
        }
    }
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { Asks::Nothing } else { Asks::Named(names.into_iter().map(Into::into).collect()) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    /// A text in quotes. With escapes it is none that can be told, and a sign.
    Text(&'t str),
    Sign(char),
}

/// Lua's words, texts and signs, without comments and white space.
struct Tokens<'t> {
    rest: &'t str,
}

impl<'t> Tokens<'t> {
    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// `[[...]]` or `[==[...]==]`, from here on: what is in it. Lua leaves out a line break at its beginning.
    fn long(&mut self) -> Option<&'t str> {
        let level = self.rest.strip_prefix('[')?.bytes().take_while(|byte| *byte == b'=').count();
        let opened = self.rest.get(level + 1..)?.strip_prefix('[')?;
        let closing = format!("]{}]", "=".repeat(level));
        let length = opened.find(&closing).unwrap_or(opened.len());
        self.rest = opened.get(length + closing.len()..).unwrap_or_default();
        let inside = &opened[..length];
        Some(inside.strip_prefix("\r\n").or_else(|| inside.strip_prefix('\n')).unwrap_or(inside))
    }

    fn quoted(&mut self, quote: char) -> Token<'t> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let taken = self.take(end.map_or(self.rest.len(), |(at, _)| at + 1));
        let inside = taken.trim_matches(quote);
        if inside.contains('\\') { Token::Sign(quote) } else { Token::Text(inside) }
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("--") else { break };
            self.rest = comment;
            if self.long().is_none() {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            }
        }
        let first = self.rest.chars().next()?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        Some(match first {
            '"' | '\'' => self.quoted(first),
            '[' => match self.long() {
                // Lua reads each line break as one character.
                Some(inside) if inside.contains('\r') => Token::Sign('['),
                Some(inside) => Token::Text(inside),
                None => Token::Sign(self.take(1).chars().next()?),
            },
            _ if is_word(first) => Token::Word(self.take(self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len()))),
            _ => {
                self.take(first.len_utf8());
                Token::Sign(first)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stand_in_the_text_are_known() {
        let named = |names: &[&str]| Asks::Named(names.iter().map(|name| (*name).into()).collect());
        for (text, expected) in [
            ("return {}", Asks::Nothing),
            ("-- lookup('a')\nreturn {}", Asks::Nothing),
            ("--[[ lookup('a') \n lookup ]] return {}", Asks::Nothing),
            ("--[==[ ]] lookup ]==] return {}", Asks::Nothing),
            ("local s = 'lookup' .. \"it's lookup\" .. [[lookup]]", Asks::Nothing),
            ("local s = 'it\\'s lookup'", Asks::Nothing),
            ("local relookup, lookups = 1, 2", Asks::Nothing),
            ("lookup('b') lookup(\"a\", { x = 1 }) lookup( 'b' )", named(&["a", "b"])),
            ("lookup([[a]])", named(&["a"])),
            ("lookup([[\na]])", named(&["a"])),
            ("lookup([==[\r\na]==])", named(&["a"])),
            ("lookup([[\n\na]])", named(&["\na"])),
            ("lookup([[a\r\nb]])", Asks::Any),
            ("lookup --[[ so ]] ( -- now\n 'a')", named(&["a"])),
            ("lookup('a' .. x)", Asks::Any),
            ("lookup('a\\65')", Asks::Any),
            ("lookup(name)", Asks::Any),
            ("lookup 'a'", Asks::Any),
            ("local ask = lookup", Asks::Any),
            ("lookup('a') local f = lookup", Asks::Any),
            ("local s = `{lookup('a')}`", Asks::Any),
        ] {
            assert_eq!(asks(text), expected, "{text}");
        }
    }
}
