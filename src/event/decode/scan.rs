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
#[derive(Debug)]
pub(super) enum Fault {
    /// The text is not JSON.
    Syntax,
    /// It is, but of what stands here no value can be made.
    Literal(Range<usize>),
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

/// A string, as it is written.
#[derive(Debug)]
struct Quoted {
    /// What stands between its quotes.
    inside: Range<usize>,
    has_escapes: bool,
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
    pub(super) fn peek(&mut self) -> u8 {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// Passes over this byte if it comes next.
    pub(super) fn passes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes over the comma before a further member, or over what closes their container: `false` then.
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

    /// Passes over a member's key and its colon, and answers what `of` makes of the key.
    pub(super) fn key<R>(&mut self, of: impl FnOnce(&str) -> R) -> Scanned<R> {
        let key = self.quoted()?;
        let made = match self.unescaped(&key)? {
            None => of(&self.text[key.inside]),
            Some(text) => of(&text),
        };
        self.colon().map(|()| made)
    }

    /// Passes over a value.
    pub(super) fn pass(&mut self) -> Scanned<()> {
        // What closes each container that is open.
        let mut open = SmallVec::<[u8; 32]>::new();
        loop {
            match self.peek() {
                b'{' => {
                    self.at += 1;
                    if !self.passes(b'}') {
                        open.push(b'}');
                        self.quoted()?;
                        self.colon()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.passes(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                b'"' => _ = self.quoted()?,
                b'-' | b'0'..=b'9' => drop(self.number()?),
                _ => drop(self.word()?),
            }
            loop {
                let Some(closing) = open.last() else { return Ok(()) };
                if self.goes_on(*closing)? {
                    break;
                }
                open.pop();
            }
            if open.last() == Some(&b'}') {
                self.quoted()?;
                self.colon()?;
            }
        }
    }

    /// Takes a value that is neither an object nor an array.
    pub(super) fn plain(&mut self) -> Scanned<Plain> {
        match self.peek() {
            b'"' => {
                let string = self.quoted()?;
                Ok(self.unescaped(&string)?.map_or(Plain::Text(string.inside), Plain::Unescaped))
            }
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                let is_integer = self.number()?;
                number(&self.text[start..self.at], is_integer, start).ok_or(Fault::Literal(start..self.at))
            }
            _ => self.word(),
        }
    }

    fn colon(&mut self) -> Scanned<()> {
        if self.passes(b':') { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Passes over a string.
    fn quoted(&mut self) -> Scanned<Quoted> {
        if !self.passes(b'"') {
            return Err(Fault::Syntax);
        }
        let bytes = self.text.as_bytes();
        let (start, mut end, mut has_escapes) = (self.at, self.at, false);
        loop {
            end += plain_length(&bytes[end..]);
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    end += escape_length(&bytes[end + 1..]).ok_or(Fault::Syntax)? + 1;
                }
                // A control character, or the end.
                _ => return Err(Fault::Syntax),
            }
        }
        self.at = end + 1;
        Ok(Quoted { inside: start..end, has_escapes })
    }

    /// What a string says, where that is not what stands there.
    fn unescaped(&self, string: &Quoted) -> Scanned<Option<String>> {
        if !string.has_escapes {
            return Ok(None);
        }
        let written = string.inside.start - 1..string.inside.end + 1;
        serde_json::from_str(&self.text[written.clone()]).map(Some).map_err(|_| Fault::Literal(written))
    }

    /// Passes over a number. Whether it is written as an integer.
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

/// How many bytes there are before the next quote, backslash or control character.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    /// A high bit for each byte that is 0, and perhaps for such as follow it.
    fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & HIGH
    }
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\'))) | below_space;
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
