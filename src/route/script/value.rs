//! Values between plugins and the program: what a plugin hands over, and how it is spoken of.

use mlua::{Lua, Value};
use smallvec::SmallVec;

use super::json::Piece;
use crate::event::{Scalar, UserId};

/// From here on a number of Lua does not tell an integer from its neighbours.
pub(super) const EXACT: i64 = 1 << 53;
/// Bytes of a text that stands for somebody or something: an id, a name.
const LONGEST_ID: usize = 255;

/// What a value is called in messages.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Boolean(value) => format!("`{value}`"),
        Value::Integer(value) => format!("the number {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(text) => describe_text(&text.as_bytes()),
        other => format!("a {}", other.type_name()),
    }
}

/// What a text is called in messages.
pub(super) fn describe_text(text: &[u8]) -> String {
    match str::from_utf8(text) {
        Ok(text) if text.chars().count() <= 40 => format!("the text {text:?}"),
        Ok(text) => format!("a text of {} bytes", text.len()),
        Err(_) => "a text that is not UTF-8".to_owned(),
    }
}

/// The scalar that a value is. The error says what it is instead.
pub(super) fn scalar(value: &Value) -> Result<Scalar, String> {
    match value {
        Value::Boolean(value) => Ok(Scalar::Bool(*value)),
        Value::Integer(value) => Ok(if value.unsigned_abs() <= EXACT.unsigned_abs() {
            Scalar::Int(*value)
        } else {
            // What is beyond is no integer that anybody has meant: those come and go as texts.
            Scalar::Float(float(*value))
        }),
        Value::Number(value) => Ok(Scalar::Float(*value)),
        Value::String(text) => match text.to_str() {
            Ok(text) => Ok(Scalar::Text((&*text).into())),
            Err(_) => Err(describe(value)),
        },
        other => Err(describe(other)),
    }
}

/// The user that a value names. `None` for a scalar that is not an id: as in a rule, it names nobody.
pub(super) fn user(value: &Value) -> Result<Option<UserId>, String> {
    match value {
        Value::String(text) => user_of(&text.as_bytes()),
        Value::Integer(number) if number.unsigned_abs() > EXACT.unsigned_abs() => {
            Err(format!("an id beyond 2^53 is a text, and this is {}", describe(value)))
        }
        Value::Integer(number) => Ok(UserId::from_scalar(&Scalar::Int(*number))),
        Value::Number(_) | Value::Boolean(_) => Ok(None),
        other => Err(no_user(&describe(other))),
    }
}

/// The user that a text names.
pub(super) fn user_of(text: &[u8]) -> Result<Option<UserId>, String> {
    if text.len() > LONGEST_ID {
        return Err(format!("an id is at most {LONGEST_ID} bytes long, and this is {}", describe_text(text)));
    }
    str::from_utf8(text).map(UserId::new).map_err(|_| no_user(&describe_text(text)))
}

fn no_user(what: &str) -> String {
    format!("an id is a text or an integer, and this is {what}")
}

/// A number as a value: an integer where it is one.
#[expect(clippy::cast_possible_truncation, reason = "compared with what it was")]
pub(super) fn numeric(number: f64) -> Value {
    let whole = number as i64;
    if float(whole).to_bits() == number.to_bits() { Value::Integer(whole) } else { Value::Number(number) }
}

/// Reads the items of a list in order, up to the first `nil`. Leaves out the items for which `item` returns nothing.
pub(super) fn list<T>(
    value: &Value,
    most: usize,
    mut item: impl FnMut(&Value) -> Result<Option<T>, String>,
) -> Result<SmallVec<[T; 1]>, String> {
    let Value::Table(table) = value else { return Err(format!("a list is needed, and this is {}", describe(value))) };
    let length = table.raw_len();
    if length == 0 && !table.is_empty() {
        return Err("a list is needed, and this is a table with names".to_owned());
    }
    if length > most {
        return Err(format!("{length} are too many: at most {most} in one call of the hook"));
    }
    let read = |index| table.raw_get::<Value>(index).map_err(|error| error.to_string());
    (1..=length).filter_map(|index| read(index).and_then(|value| item(&value)).transpose()).collect()
}

/// A value of the program, for Lua. `null` is `nil`, and a large integer is a text.
pub(super) fn piece<'v>(lua: &Lua, value: crate::event::Value<'v>) -> mlua::Result<Piece<'v>> {
    use crate::event::Value as Ours;
    use mlua::Either::{Left, Right};
    Ok(match value {
        Ours::Absent | Ours::Object => Right(Value::Nil),
        Ours::Bool(value) => Right(Value::Boolean(value)),
        Ours::Int(value) if value.unsigned_abs() > EXACT.unsigned_abs() => {
            Right(Value::String(lua.create_string(itoa::Buffer::new().format(value))?))
        }
        Ours::Int(value) => Right(Value::Number(float(value))),
        Ours::Float(value) => Right(Value::Number(value)),
        Ours::Text(text) => Left(text),
        Ours::List(items) => {
            let items: mlua::Result<Vec<Piece<'_>>> = items.iter().map(|item| piece(lua, item.as_value())).collect();
            let table = lua.create_sequence_from(items?)?;
            table.set_readonly(true);
            Right(Value::Table(table))
        }
    })
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and beyond that nobody asks for digits")]
pub(super) fn float(value: i64) -> f64 {
    value as f64
}
