//! A scanner of JSON: it checks every byte of a text, and makes values of only what is asked for.
//!
//! Invariant: it takes what `serde_json` takes, and nothing else. Text that a value is made of is held to more than text
//! that is passed over, as there: halves of surrogate pairs have no text, and too large numbers no value.

use std::ops::Range;

use smallvec::SmallVec;

/// Where a scan stands in a text.
#[derive(Clone, Debug)]
pub(super) struct Scan<'t> {
    text: &'t str,
    at: usize,
}

/// Why a scan does not go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The text is not JSON.
    Syntax,
    /// It may be, but of the string or number where the scan now stands no value can be made.
    Literal,
}

/// A value without parts.
#[derive(Debug)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// What stands here: a string without escapes, or the digits of an integer beyond 63 bits.
    Text(Range<usize>),
    /// What a string with escapes says.
    Unescaped(String),
}

type Scanned<T> = Result<T, Fault>;

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// How far it has come.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The byte that comes next, beyond white space; 0, which JSON has no use for, at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    /// Passes over this byte if it comes next.
    #[inline]
    pub(super) fn passes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes over the comma before a further member, or over what closes their container: `false` then.
    #[inline]
    pub(super) fn goes_on(&mut self, closing: u8) -> Scanned<bool> {
        let next = self.peek();
        if next != b',' && next != closing {
            return Err(Fault::Syntax);
        }
        self.at += 1;
        Ok(next == b',')
    }

    /// Nothing is left but white space.
    pub(super) fn end(&mut self) -> Scanned<()> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Passes over a member's key and its colon, and answers what `of` makes of the key and its [`head`].
    #[inline]
    pub(super) fn key<R>(&mut self, of: impl FnOnce(u64, &str) -> R) -> Scanned<R> {
        self.peek();
        let start = self.at;
        let made = if self.string()? {
            let key = self.unescaped(start)?;
            of(head(key.as_bytes()), &key)
        } else {
            let key = start + 1..self.at - 1;
            let head = match self.text.as_bytes()[key.start..].first_chunk() {
                // What follows the key is no part of it.
                Some(first) if key.len() < 8 => u64::from_le_bytes(*first) & ((1 << (8 * key.len())) - 1),
                Some(first) => u64::from_le_bytes(*first),
                None => head(&self.text.as_bytes()[key.clone()]),
            };
            of(head, &self.text[key])
        };
        self.colon().map(|()| made)
    }

    /// Passes over a value.
    #[inline]
    pub(super) fn pass(&mut self) -> Scanned<()> {
        match self.peek() {
            b'{' | b'[' => self.containers(),
            _ => self.single(),
        }
    }

    /// Takes a value that is neither an object nor an array.
    pub(super) fn plain(&mut self) -> Scanned<Plain> {
        let first = self.peek();
        let start = self.at;
        match first {
            b'"' => {
                let has_escapes = self.string()?;
                if has_escapes {
                    self.unescaped(start).map(Plain::Unescaped)
                } else {
                    Ok(Plain::Text(start + 1..self.at - 1))
                }
            }
            b'-' | b'0'..=b'9' => {
                let is_integer = self.number()?;
                number(&self.text[start..self.at], is_integer, start).ok_or_else(|| self.no_value(start))
            }
            _ => self.word(),
        }
    }

    #[inline]
    fn single(&mut self) -> Scanned<()> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => self.word().map(drop),
        }
    }

    /// Passes over an object or array, with what is in it.
    fn containers(&mut self) -> Scanned<()> {
        // What closes each one that is open.
        let mut open = SmallVec::<[u8; 32]>::new();
        loop {
            let closing = match self.peek() {
                b'{' => b'}',
                b'[' => b']',
                _ => 0,
            };
            if closing == 0 {
                self.single()?;
            } else {
                self.at += 1;
                if !self.passes(closing) {
                    open.push(closing);
                    self.begin(closing)?;
                    continue;
                }
            }
            loop {
                let Some(closing) = open.last().copied() else { return Ok(()) };
                if self.goes_on(closing)? {
                    self.begin(closing)?;
                    break;
                }
                open.pop();
            }
        }
    }

    /// Passes over what comes before a member's value in a container that closes so.
    fn begin(&mut self, closing: u8) -> Scanned<()> {
        if closing == b']' {
            return Ok(());
        }
        self.string()?;
        self.colon()
    }

    #[inline]
    fn colon(&mut self) -> Scanned<()> {
        if self.passes(b':') { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Passes over a string. Whether there are escapes in it.
    #[inline]
    fn string(&mut self) -> Scanned<bool> {
        if !self.passes(b'"') {
            return Err(Fault::Syntax);
        }
        let bytes = self.text.as_bytes();
        let mut has_escapes = false;
        loop {
            self.at += plain_length(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += escape_length(&bytes[self.at + 1..]).ok_or(Fault::Syntax)? + 1;
                }
                // A control character, or the end.
                _ => return Err(Fault::Syntax),
            }
        }
        self.at += 1;
        Ok(has_escapes)
    }

    /// What the string says that began at `start` and was passed over.
    fn unescaped(&mut self, start: usize) -> Scanned<String> {
        serde_json::from_str(&self.text[start..self.at]).map_err(|_| self.no_value(start))
    }

    fn no_value(&mut self, start: usize) -> Fault {
        self.at = start;
        Fault::Literal
    }

    /// Passes over a number. Whether it is written as an integer.
    #[inline]
    fn number(&mut self) -> Scanned<bool> {
        let bytes = self.text.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let some_digits = |from: usize| Some(digits(from)).filter(|count| *count > 0).ok_or(Fault::Syntax);
        let mut at = self.at + usize::from(bytes.get(self.at) == Some(&b'-'));
        // After a leading zero no digit is part of the number.
        at += if bytes.get(at) == Some(&b'0') { 1 } else { some_digits(at)? };
        let whole = at;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            at += some_digits(at)?;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            at += some_digits(at)?;
        }
        self.at = at;
        Ok(at == whole)
    }

    /// Takes `true`, `false` or `null`.
    #[inline]
    fn word(&mut self) -> Scanned<Plain> {
        let rest = &self.text.as_bytes()[self.at..];
        let (value, length) = match rest {
            [b't', b'r', b'u', b'e', ..] => (Plain::Bool(true), 4),
            [b'f', b'a', b'l', b's', b'e', ..] => (Plain::Bool(false), 5),
            [b'n', b'u', b'l', b'l', ..] => (Plain::Null, 4),
            _ => return Err(Fault::Syntax),
        };
        self.at += length;
        Ok(value)
    }
}

/// The value of a number that is written so at `start`. `None` where it is too large for one.
fn number(digits: &str, is_integer: bool, start: usize) -> Option<Plain> {
    if is_integer && digits != "-0" {
        if let Ok(value) = digits.parse() {
            return Some(Plain::Int(value));
        }
        if digits.parse::<u64>().is_ok() {
            return Some(Plain::Text(start..start + digits.len()));
        }
    }
    digits.parse().ok().filter(|value: &f64| value.is_finite()).map(Plain::Float)
}

/// The first eight bytes of a name as a number, which is compared faster. Those of a shorter one are followed by zeros,
/// which no name holds.
pub(super) fn head(name: &[u8]) -> u64 {
    name.iter().take(8).rev().fold(0, |head, byte| head << 8 | u64::from(*byte))
}

/// How many bytes there are before the next quote, backslash or control character.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Bytes that borrow where one is taken from each: with the quote's bit turned it is next to the control characters.
        let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
        let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
        // The first one is exact, those behind it may have been borrowed from.
        let found = (quote_or_control | backslash) & !word & (ONES << 7);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().take_while(|byte| is_plain(byte)).count()
}

/// The length of the escape that these bytes, which follow a backslash, begin with.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(1),
        [b'u', digits @ ..] if digits.get(..4)?.iter().all(u8::is_ascii_hexdigit) => Some(5),
        _ => None,
    }
}
