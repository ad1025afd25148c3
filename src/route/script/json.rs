//! JSON to Lua's tables in one pass, and back: no tree of values between.
//!
//! Invariant: whatever a plugin builds, writing it ends: text and levels are bounded, and every member is a safepoint.

use std::borrow::Cow;
use std::ffi::c_void;

use mlua::{Either, Lua, Table, Value};
use serde::de::IgnoredAny;

use super::guard::Guard;
use super::value::{EXACT, describe, float};

/// Tables in tables, at most.
const LEVELS: u8 = 128;
/// After so many values that are read it is looked at time and memory.
const LOOK_EVERY: u32 = 64;
/// Bytes that a member of an object takes at least: `"":0`.
const SHORTEST_MEMBER: usize = 4;

/// A value on its way to Lua: text is copied there at once.
pub(super) type Piece<'t> = Either<&'t str, Value>;

/// How tables are made of JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Making<'m> {
    /// Marks those that were arrays, so that an empty one stays one.
    pub(super) arrays: &'m Table,
    /// They cannot be changed.
    pub(super) frozen: bool,
    /// Bounds memory, and time where a script waits for it.
    pub(super) guard: &'m Guard,
}

/// How JSON is made of tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing<'w> {
    pub(super) lua: &'w Lua,
    /// The metatable that marks lists.
    pub(super) arrays: *const c_void,
    /// Bytes at most.
    pub(super) most: usize,
    /// Bounds the time.
    pub(super) guard: &'w Guard,
}

/// Makes Lua's values of one JSON value that is known to be valid.
pub(super) fn read<'t>(lua: &Lua, valid: &'t str, making: Making<'_>) -> mlua::Result<Piece<'t>> {
    // Most fields are plain texts, or numbers.
    match valid.as_bytes() {
        [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => Ok(Either::Left(&valid[1..valid.len() - 1])),
        [b'-' | b'0'..=b'9', ..] => Ok(number(valid)),
        _ => Reader::new(lua, valid, making).value(LEVELS),
    }
}

/// Makes Lua's values of a text that may be JSON.
pub(super) fn check_and_read(lua: &Lua, text: &str, making: Making<'_>) -> mlua::Result<Value> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| mlua::Error::runtime(format!("json.decode: {error}")))?;
    let mut reader = Reader::new(lua, text, making);
    let value = reader.value(LEVELS)?;
    if reader.has_half {
        return Err(mlua::Error::runtime("json.decode: a text holds one half of a surrogate pair"));
    }
    match value {
        Either::Left(text) => lua.create_string(text).map(Value::String),
        Either::Right(value) => Ok(value),
    }
}

struct Reader<'l, 't, 'm> {
    lua: &'l Lua,
    text: &'t str,
    at: usize,
    making: Making<'m>,
    /// Values that were read.
    values: u32,
    /// A text that was read has no characters: it holds one half of a surrogate pair.
    has_half: bool,
}

impl<'l, 't, 'm> Reader<'l, 't, 'm> {
    fn new(lua: &'l Lua, text: &'t str, making: Making<'m>) -> Self {
        Self { lua, text, at: 0, making, values: 0, has_half: false }
    }

    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or_default()
    }

    /// Passes over a sign if it is the next.
    fn passes(&mut self, sign: u8) -> bool {
        let is_next = self.peek() == sign;
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, levels: u8) -> mlua::Result<Piece<'t>> {
        let first = self.peek();
        let is_table = matches!(first, b'{' | b'[');
        self.values = self.values.wrapping_add(1);
        if is_table || self.values.is_multiple_of(LOOK_EVERY) {
            self.making.guard.safepoint()?;
            self.making.guard.look_at_memory(self.lua)?;
        }
        if is_table {
            if levels == 0 {
                return Err(mlua::Error::runtime(format!("the JSON is nested deeper than {LEVELS} levels")));
            }
            let table = if first == b'{' { self.object(levels - 1)? } else { self.array(levels - 1)? };
            if self.making.frozen {
                table.set_readonly(true);
            }
            return Ok(Either::Right(Value::Table(table)));
        }
        if first == b'"' {
            return Ok(match self.string() {
                Cow::Borrowed(text) => Either::Left(text),
                Cow::Owned(text) => Either::Right(Value::String(self.lua.create_string(text)?)),
            });
        }
        let rest = &self.text[self.at..];
        let length = rest.find([',', '}', ']', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
        self.at += length;
        Ok(match &rest[..length] {
            "null" => Either::Right(Value::Nil),
            "true" => Either::Right(Value::Boolean(true)),
            "false" => Either::Right(Value::Boolean(false)),
            digits => number(digits),
        })
    }

    fn object(&mut self, levels: u8) -> mlua::Result<Table> {
        self.at += 1;
        let (lua, mut fault) = (self.lua, None);
        let table = lua.create_table_from(std::iter::from_fn(|| {
            loop {
                if self.passes(b'}') {
                    return None;
                }
                self.passes(b',');
                self.peek();
                let key = self.string();
                self.passes(b':');
                match self.value(levels) {
                    // Not there, and not a place for nothing.
                    Ok(Either::Right(Value::Nil)) => {}
                    Ok(value) => return Some((key, value)),
                    Err(error) => {
                        fault = Some(error);
                        return None;
                    }
                }
            }
        }))?;
        fault.map_or(Ok(table), Err)
    }

    fn array(&mut self, levels: u8) -> mlua::Result<Table> {
        self.at += 1;
        let (lua, mut fault) = (self.lua, None);
        let table = lua.create_sequence_from(std::iter::from_fn(|| {
            if self.passes(b']') {
                return None;
            }
            self.passes(b',');
            self.value(levels).map_err(|error| fault = Some(error)).ok()
        }))?;
        table.set_metatable(Some(self.making.arrays.clone()))?;
        fault.map_or(Ok(table), Err)
    }

    /// The string that begins here.
    fn string(&mut self) -> Cow<'t, str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        let mut is_plain = true;
        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
            is_plain &= *byte != b'\\';
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        self.at = (end + 1).min(bytes.len());
        if is_plain {
            return Cow::Borrowed(self.text.get(start + 1..end).unwrap_or_default());
        }
        let text = serde_json::from_str(&self.text[start..self.at]);
        self.has_half |= text.is_err();
        Cow::Owned(text.unwrap_or_default())
    }
}

fn number(digits: &str) -> Piece<'_> {
    if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return match digits.parse::<i64>() {
            Ok(value) if value.unsigned_abs() <= EXACT.unsigned_abs() => Either::Right(Value::Number(float(value))),
            _ => Either::Left(digits),
        };
    }
    Either::Right(Value::Number(digits.parse().unwrap_or_default()))
}

/// Writes a value as JSON. Names are sorted. The error says what cannot be written.
pub(super) fn write(value: &Value, writing: Writing<'_>) -> Result<String, String> {
    let mut writer = Writer { writing, out: String::new(), pending: 0 };
    writer.value(value, LEVELS)?;
    Ok(writer.out)
}

struct Writer<'w> {
    writing: Writing<'w>,
    out: String,
    /// Members of objects that are still to be written, of all levels: the program refers to each.
    pending: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, levels: u8) -> Result<(), String> {
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Boolean(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Integer(value) => self.out.push_str(itoa::Buffer::new().format(*value)),
            Value::Number(value) if value.is_finite() => self.json(value)?,
            Value::String(text) => {
                self.fits(text.as_bytes().len())?;
                match text.to_str() {
                    Ok(text) => self.json(&*text)?,
                    Err(_) => return Err("a text that is not UTF-8 has no JSON".to_owned()),
                }
            }
            Value::Table(table) if levels > 0 => self.table(table, levels - 1)?,
            Value::Table(_) => return Err(format!("tables nested deeper than {LEVELS} levels have no JSON")),
            other => return Err(format!("{} has no JSON", describe(other))),
        }
        self.fits(0)
    }

    fn json(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Result<(), String> {
        self.out.push_str(&serde_json::to_string(value).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn fits(&self, more: usize) -> Result<(), String> {
        let fits = self.out.len() + more <= self.writing.most;
        if fits { Ok(()) } else { Err(format!("the JSON is longer than {} bytes", self.writing.most)) }
    }

    fn table(&mut self, table: &Table, levels: u8) -> Result<(), String> {
        let length = table.raw_len();
        if self.is_marked(table)? || (length > 0 && self.members(table, length)? == length) {
            return self.array(table, length, levels);
        }
        let mut pairs = Vec::new();
        let collected = table.for_each::<Value, Value>(|key, value| {
            self.writing.guard.safepoint()?;
            pairs.push((name(&key).map_err(mlua::Error::runtime)?, value));
            self.fits(SHORTEST_MEMBER * (self.pending + pairs.len())).map_err(mlua::Error::runtime)
        });
        collected.map_err(|error| told(&error))?;
        self.pending += pairs.len();
        pairs.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        for (index, (key, value)) in pairs.iter().enumerate() {
            self.pending -= 1;
            self.out.push(if index == 0 { '{' } else { ',' });
            self.json(key)?;
            self.out.push(':');
            self.value(value, levels)?;
        }
        self.out.push_str(if pairs.is_empty() { "{}" } else { "}" });
        Ok(())
    }

    /// Whether a table is marked as an array.
    fn is_marked(&self, table: &Table) -> Result<bool, String> {
        // Leaves a free place for the reference that `metatable` makes, and fails without one.
        drop(self.writing.lua.create_string("").map_err(|error| told(&error))?);
        #[expect(clippy::disallowed_methods, reason = "there is a place for the reference")]
        let metatable = table.metatable();
        Ok(metatable.is_some_and(|metatable| metatable.to_pointer() == self.writing.arrays))
    }

    /// How many members a table has, or more than `most`.
    fn members(&self, table: &Table, most: usize) -> Result<usize, String> {
        let mut count = 0;
        let counted = table.for_each::<Value, Value>(|_, _| {
            self.writing.guard.safepoint()?;
            count += 1;
            if count > most { Err(mlua::Error::runtime("that is enough")) } else { Ok(()) }
        });
        match counted {
            Err(error) if count <= most => Err(told(&error)),
            _ => Ok(count),
        }
    }

    fn array(&mut self, table: &Table, length: usize, levels: u8) -> Result<(), String> {
        self.out.push('[');
        for index in 1..=length {
            if index > 1 {
                self.out.push(',');
            }
            self.writing.guard.safepoint().map_err(|error| told(&error))?;
            let item: Value = table.raw_get(index).map_err(|error| told(&error))?;
            self.value(&item, levels)?;
        }
        self.out.push(']');
        Ok(())
    }
}

fn told(error: &mlua::Error) -> String {
    match error {
        mlua::Error::RuntimeError(text) => text.clone(),
        other => other.to_string(),
    }
}

fn name(key: &Value) -> Result<String, String> {
    match key {
        Value::String(text) => text.to_str().map(|text| text.to_owned()).map_err(|_| "a name is not UTF-8".to_owned()),
        Value::Integer(number) => Ok(number.to_string()),
        other => Err(format!("a name in JSON is a text, and this is {}", describe(other))),
    }
}
