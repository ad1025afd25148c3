//! Columns' values, from their binary form.

use std::fmt::Write as _;

use compact_str::{CompactString, format_compact};
use sqlx::postgres::{PgTypeInfo, PgTypeKind, PgValueRef};
use sqlx::{TypeInfo, ValueRef};

use super::calendar;
use crate::event::Scalar;
use crate::lookup::number;

/// How a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Uuid,
    Jsonb,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    /// Nothing, which functions answer that have nothing to say.
    Void,
    /// Its bytes are a text.
    Text,
    /// Any other type: the query makes it a text.
    Other,
}

/// How a column of this type is read.
pub(super) fn form(info: &PgTypeInfo) -> Form {
    match info.oid().map(|oid| oid.0) {
        Some(16) => Form::Bool,
        Some(17) => Form::Bytea,
        Some(20) => Form::Int8,
        Some(21) => Form::Int2,
        Some(23) => Form::Int4,
        Some(26) => Form::Oid,
        Some(700) => Form::Float4,
        Some(701) => Form::Float8,
        Some(1082) => Form::Date,
        Some(1083) => Form::Time,
        Some(1114) => Form::Timestamp,
        Some(1184) => Form::Timestamptz,
        Some(1700) => Form::Numeric,
        Some(2278) => Form::Void,
        Some(2950) => Form::Uuid,
        Some(3802) => Form::Jsonb,
        // "char", name, text, json, xml, unknown, bpchar, varchar
        Some(18 | 19 | 25 | 114 | 142 | 705 | 1042 | 1043) => Form::Text,
        _ if is_unresolved(info) => Form::Other,
        _ => match info.kind() {
            PgTypeKind::Domain(base) => form(base),
            PgTypeKind::Enum(_) => Form::Text,
            PgTypeKind::Simple if is_citext(info.name()) => Form::Text,
            _ => Form::Other,
        },
    }
}

/// Whether the driver found nothing out about this type: it may have been dropped since. Its kind must not be asked for.
pub(super) fn is_unresolved(info: &PgTypeInfo) -> bool {
    info.name() == "?"
}

/// Whether this is the type of the extension `citext`, in whatever schema.
pub(super) fn is_citext(name: &str) -> bool {
    name == "citext" || name.ends_with(".citext")
}

/// A value. The error is for people.
pub(super) fn scalar(form: Form, value: &PgValueRef<'_>) -> Result<Scalar, String> {
    if value.is_null() || form == Form::Void {
        return Ok(Scalar::Null);
    }
    let bytes = value.as_bytes().map_err(|error| error.to_string())?;
    read(form, bytes).ok_or_else(|| "it has another form than its type".to_owned())
}

fn read(form: Form, bytes: &[u8]) -> Option<Scalar> {
    Some(match form {
        Form::Bool => Scalar::Bool(*bytes.first()? != 0),
        Form::Int2 => Scalar::Int(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Form::Int4 => Scalar::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Form::Int8 => Scalar::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        Form::Oid => Scalar::Int(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        Form::Float4 => number::single(f32::from_be_bytes(bytes.try_into().ok()?)),
        Form::Float8 => number::double(f64::from_be_bytes(bytes.try_into().ok()?)),
        Form::Numeric => number::decimal(&numeric(bytes)?),
        Form::Uuid => Scalar::Text(number::uuid(bytes.try_into().ok()?)),
        Form::Jsonb => Scalar::Text(std::str::from_utf8(bytes.strip_prefix(&[1])?).ok()?.into()),
        Form::Bytea => Scalar::Text(hexadecimal(bytes)),
        Form::Date => Scalar::Text(calendar::date(i32::from_be_bytes(bytes.try_into().ok()?))),
        Form::Time => Scalar::Text(calendar::time(i64::from_be_bytes(bytes.try_into().ok()?))),
        Form::Timestamp => Scalar::Text(calendar::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "")),
        Form::Timestamptz => Scalar::Text(calendar::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "+00")),
        Form::Void => Scalar::Null,
        Form::Text | Form::Other => Scalar::Text(std::str::from_utf8(bytes).ok()?.into()),
    })
}

/// As the server writes a `bytea`.
fn hexadecimal(bytes: &[u8]) -> CompactString {
    let mut text = CompactString::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// The digits of a `numeric`: how many groups of four, the place of the first one, the sign, how many decimals are
/// shown, then the groups.
fn numeric(bytes: &[u8]) -> Option<CompactString> {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let [_, weight, sign, decimals, groups @ ..] = words.as_slice() else { return None };
    let weight = i32::from(weight.cast_signed());
    let mut text = CompactString::default();
    match sign {
        0x0000 => {}
        0x4000 => text.push('-'),
        0xC000 => return Some("NaN".into()),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        _ => return None,
    }
    let group = |place: i32| usize::try_from(place).ok().and_then(|place| groups.get(place)).copied().unwrap_or(0);
    text.push_str(&format_compact!("{}", if weight < 0 { 0 } else { group(0) }));
    for place in 1..=weight {
        write!(text, "{:04}", group(place)).ok()?;
    }
    if *decimals > 0 {
        let mut fraction = String::new();
        let mut place = weight + 1;
        while fraction.len() < usize::from(*decimals) {
            write!(fraction, "{:04}", group(place)).ok()?;
            place += 1;
        }
        fraction.truncate(usize::from(*decimals));
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[u16], expected: &str) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(numeric(&bytes).as_deref(), Some(expected), "{words:?}");
    }

    #[test]
    fn numerics_have_all_their_digits() {
        check(&[0, 0, 0, 0], "0");
        check(&[1, 0, 0, 0, 42], "42");
        check(&[2, 1, 0x4000, 0, 1, 5], "-10005");
        check(&[1, 1, 0, 0, 3], "30000");
        check(&[2, 0, 0, 2, 1, 5000], "1.50");
        check(&[1, 0xFFFF, 0, 6, 12], "0.001200");
        check(&[1, 0xFFFE, 0, 5, 1000], "0.00001");
        check(&[0, 0, 0xC000, 0], "NaN");
        assert_eq!(numeric(&[0, 1]), None);
    }
}
