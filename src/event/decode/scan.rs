//! A scanner of JSON: it checks every byte of a text, and makes values of only what is asked for.
//!
//! Invariant: it takes what `serde_json` takes, and nothing else. Text that a value is made of is held to more than text
//! that is passed over, as there: halves of surrogate pairs have no text, and too large numbers no value.

#![expect(clippy::inline_always, reason = "what is called for each token is a third slower where LLVM decides")]

use std::ops::Range;

use smallvec::SmallVec;

/// A text that is scanned.
///
/// Each step takes a place in it and answers the next one, so that where a scan stands is kept in a register. Kept in
/// memory, as a cursor that is borrowed, it takes half as long again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'t>(&'t str);

/// Why a scan does not go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The text is not JSON.
    Syntax,
    /// It may be, but of the string or number that begins here no value can be made.
    Literal(usize),
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

/// What a step finds, or that it cannot be made.
pub(super) type Scanned<T> = Result<T, Fault>;

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self(text)
    }

    pub(super) fn text(self) -> &'t str {
        self.0
    }

    /// Where the next token begins, beyond white space, and its first byte; 0, which JSON has no use for, at the end.
    #[inline(always)]
    pub(super) fn next(self, mut at: usize) -> (usize, u8) {
        loop {
            match self.0.as_bytes().get(at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => at += 1,
                Some(byte) => return (at, *byte),
                None => return (at, 0),
            }
        }
    }

    /// Steps into the container that begins at `start`: where its first member is, or its end, and whether there is one.
    #[inline(always)]
    pub(super) fn enters(self, start: usize, closing: u8) -> (usize, bool) {
        let (at, next) = self.next(start + 1);
        if next == closing { (at + 1, false) } else { (at, true) }
    }

    /// Passes over the comma before a further member, or over what closes their container: `false` then.
    #[inline(always)]
    pub(super) fn goes_on(self, at: usize, closing: u8) -> Scanned<(usize, bool)> {
        let (at, next) = self.next(at);
        if next != b',' && next != closing {
            return Err(Fault::Syntax);
        }
        Ok((at + 1, next == b','))
    }

    /// Nothing is left but white space.
    pub(super) fn ends(self, at: usize) -> Scanned<()> {
        if self.next(at).0 == self.0.len() { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Passes over a member's key and its colon, and answers what `of` makes of the key and its [`head`].
    #[inline(always)]
    pub(super) fn key<R>(self, at: usize, of: impl FnOnce(u64, &[u8]) -> R) -> Scanned<(usize, R)> {
        let (start, _) = self.next(at);
        let (end, has_escapes) = self.string(start)?;
        let made = if has_escapes {
            let key = self.unescaped(start, end)?;
            of(head(key.as_bytes()), key.as_bytes())
        } else {
            let key = &self.0.as_bytes()[start + 1..end - 1];
            let head = match self.0.as_bytes()[start + 1..].first_chunk() {
                // What follows the key is no part of it.
                Some(first) if key.len() < 8 => u64::from_le_bytes(*first) & ((1 << (8 * key.len())) - 1),
                Some(first) => u64::from_le_bytes(*first),
                None => head(key),
            };
            of(head, key)
        };
        Ok((self.colon(end)?, made))
    }

    /// Passes over a value.
    #[inline(always)]
    pub(super) fn pass(self, at: usize) -> Scanned<usize> {
        match self.next(at) {
            (start, b'{' | b'[') => self.containers(start),
            (start, first) => self.single(start, first),
        }
    }

    /// Takes the value at `start`, which is neither an object nor an array.
    pub(super) fn plain(self, start: usize) -> Scanned<(usize, Plain)> {
        match self.0.as_bytes().get(start) {
            Some(b'"') => match self.string(start)? {
                (end, false) => Ok((end, Plain::Text(start + 1..end - 1))),
                (end, true) => Ok((end, Plain::Unescaped(self.unescaped(start, end)?))),
            },
            Some(b'-' | b'0'..=b'9') => {
                let (end, is_integer) = self.number(start)?;
                let value = number(&self.0[start..end], is_integer, start).ok_or(Fault::Literal(start))?;
                Ok((end, value))
            }
            _ => self.word(start),
        }
    }

    /// Passes over the value at `start`, which begins so and is neither an object nor an array.
    #[inline(always)]
    fn single(self, start: usize, first: u8) -> Scanned<usize> {
        match first {
            b'"' => self.string(start).map(|(end, _)| end),
            b'-' | b'0'..=b'9' => self.number(start).map(|(end, _)| end),
            _ => self.word(start).map(|(end, _)| end),
        }
    }

    /// Passes over the object or array at `start`, with what is in it.
    fn containers(self, start: usize) -> Scanned<usize> {
        // What closes each one that is open.
        let mut open = SmallVec::<[u8; 32]>::new();
        let mut at = start;
        loop {
            let (start, first) = self.next(at);
            let closing = match first {
                b'{' => b'}',
                b'[' => b']',
                _ => 0,
            };
            if closing == 0 {
                at = self.single(start, first)?;
            } else {
                let (inside, has_members) = self.enters(start, closing);
                at = inside;
                if has_members {
                    open.push(closing);
                    at = self.begin(at, closing)?;
                    continue;
                }
            }
            loop {
                let Some(closing) = open.last().copied() else { return Ok(at) };
                let (next, goes_on) = self.goes_on(at, closing)?;
                at = next;
                if goes_on {
                    at = self.begin(at, closing)?;
                    break;
                }
                open.pop();
            }
        }
    }

    /// Passes over what comes before a member's value in a container that closes so.
    #[inline(always)]
    fn begin(self, at: usize, closing: u8) -> Scanned<usize> {
        if closing == b']' {
            return Ok(at);
        }
        let (start, _) = self.next(at);
        let (end, _) = self.string(start)?;
        self.colon(end)
    }

    #[inline(always)]
    fn colon(self, at: usize) -> Scanned<usize> {
        let (at, next) = self.next(at);
        if next == b':' { Ok(at + 1) } else { Err(Fault::Syntax) }
    }

    /// Passes over the string at `start`. Whether there are escapes in it.
    #[inline(always)]
    fn string(self, start: usize) -> Scanned<(usize, bool)> {
        let bytes = self.0.as_bytes();
        if bytes.get(start) != Some(&b'"') {
            return Err(Fault::Syntax);
        }
        let at = start + 1 + plain_length(&bytes[start + 1..]);
        if bytes.get(at) == Some(&b'"') {
            return Ok((at + 1, false));
        }
        self.escapes(at).map(|end| (end, true))
    }

    /// Passes over the rest of a string, from an escape on.
    fn escapes(self, mut at: usize) -> Scanned<usize> {
        let bytes = self.0.as_bytes();
        loop {
            match bytes.get(at) {
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') => at += 1 + escape_length(&bytes[at + 1..]).ok_or(Fault::Syntax)?,
                // A control character, or the end.
                _ => return Err(Fault::Syntax),
            }
            at += plain_length(&bytes[at..]);
        }
    }

    /// What the string says that stands here.
    #[cold]
    fn unescaped(self, start: usize, end: usize) -> Scanned<String> {
        serde_json::from_str(&self.0[start..end]).map_err(|_| Fault::Literal(start))
    }

    /// Passes over the number at `start`. Whether it is written as an integer.
    fn number(self, start: usize) -> Scanned<(usize, bool)> {
        let bytes = self.0.as_bytes();
        let some_digits = |from: usize| {
            let mut at = from;
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            if at > from { Ok(at) } else { Err(Fault::Syntax) }
        };
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        // After a leading zero no digit is part of the number.
        at = if bytes.get(at) == Some(&b'0') { at + 1 } else { some_digits(at)? };
        let whole = at;
        if bytes.get(at) == Some(&b'.') {
            at = some_digits(at + 1)?;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            at = some_digits(at)?;
        }
        Ok((at, at == whole))
    }

    /// Takes `true`, `false` or `null`.
    fn word(self, start: usize) -> Scanned<(usize, Plain)> {
        match &self.0.as_bytes()[start..] {
            [b't', b'r', b'u', b'e', ..] => Ok((start + 4, Plain::Bool(true))),
            [b'f', b'a', b'l', b's', b'e', ..] => Ok((start + 5, Plain::Bool(false))),
            [b'n', b'u', b'l', b'l', ..] => Ok((start + 4, Plain::Null)),
            _ => Err(Fault::Syntax),
        }
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

/// Returns the first eight bytes of a name as a number, which is compared faster. A shorter name is padded with zeros, so
/// names that differ in the number of NULs at their end have the same head.
pub(super) fn head(name: &[u8]) -> u64 {
    name.iter().take(8).rev().fold(0, |head, byte| head << 8 | u64::from(*byte))
}

/// How many bytes there are before the next quote, backslash or control character.
#[inline(always)]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        // Bytes that borrow where one is taken from each: with the quote's bit turned it is next to the control characters.
        let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
        let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
        // The first one is exact, those behind it may have been borrowed from.
        let found = (quote_or_control | backslash) & !word & (ONES << 7);
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes.len() - rest.len() + rest.iter().take_while(|byte| is_plain(byte)).count()
}

/// The length of the escape that these bytes, which follow a backslash, begin with.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(1),
        [b'u', digits @ ..] if digits.get(..4)?.iter().all(u8::is_ascii_hexdigit) => Some(5),
        _ => None,
    }
}
