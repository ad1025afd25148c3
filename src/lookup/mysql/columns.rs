//! Columns' values, by the names of their types.

use std::fmt::Write as _;

use compact_str::{CompactString, format_compact};
use sqlx::mysql::MySqlRow;
use sqlx::{Column, Decode, MySql, Row, Type, TypeInfo, ValueRef};

use crate::event::Scalar;
use crate::lookup::number;

/// A value. The error is for people.
pub(super) fn scalar(row: &MySqlRow, index: usize) -> Result<Scalar, String> {
    let value = row.try_get_raw(index).map_err(|error| error.to_string())?;
    if value.is_null() {
        return Ok(Scalar::Null);
    }
    let info = row.column(index).type_info();
    let is_text = <str as Type<MySql>>::compatible(info);
    let bytes = <&[u8] as Decode<MySql>>::decode(value).map_err(|error| error.to_string())?;
    read(info.name(), is_text, bytes).ok_or_else(|| match info.name() {
        "GEOMETRY" => "it is no text: write ST_AsText(...)".to_owned(),
        _ => "it is no text: write HEX(...), or BIN_TO_UUID(...)".to_owned(),
    })
}

/// A value of the type of this name, whose bytes are characters or not.
fn read(name: &str, is_text: bool, bytes: &[u8]) -> Option<Scalar> {
    let text = || std::str::from_utf8(bytes).ok();
    Some(match name {
        // What is `TINYINT(1)` there is any small number, and means a truth value.
        "BOOLEAN" => match bytes {
            [0] => Scalar::Bool(false),
            [1] => Scalar::Bool(true),
            _ => Scalar::Int(signed(bytes)?),
        },
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => Scalar::Int(signed(bytes)?),
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "BIGINT UNSIGNED"
        | "YEAR" => whole(unsigned(bytes.iter().rev())?),
        "BIT" => whole(unsigned(bytes.iter())?),
        "FLOAT" => number::single(f32::from_le_bytes(bytes.try_into().ok()?)),
        "DOUBLE" => number::double(f64::from_le_bytes(bytes.try_into().ok()?)),
        "DECIMAL" => number::decimal(text()?),
        "DATE" | "DATETIME" | "TIMESTAMP" => Scalar::Text(moment(bytes.get(1..)?, name == "DATE")?),
        "TIME" => Scalar::Text(span(bytes.get(1..)?)?),
        "NULL" => Scalar::Null,
        "GEOMETRY" => return None,
        // What an application keeps in sixteen bytes is an id.
        "BINARY" if !is_text && bytes.len() == 16 => Scalar::Text(number::uuid(bytes.try_into().ok()?)),
        // Characters; or bytes, which functions answer that have made a text.
        _ => Scalar::Text(text()?.into()),
    })
}

fn whole(number: u64) -> Scalar {
    i64::try_from(number).map_or_else(|_| Scalar::Text(format_compact!("{number}")), Scalar::Int)
}

fn signed(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        1 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        2 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        4 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        8 => i64::from_le_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

/// From the most significant byte on.
fn unsigned<'b>(mut bytes: impl Iterator<Item = &'b u8>) -> Option<u64> {
    bytes.try_fold(0_u64, |number, byte| Some(number.checked_mul(256)? + u64::from(*byte)))
}

/// A day, and the time of it unless only the day is meant. The form has no more than it needs.
fn moment(bytes: &[u8], is_date: bool) -> Option<CompactString> {
    let [year @ .., month, day] = bytes.get(..4)? else { return None };
    let year = u16::from_le_bytes(year.try_into().ok()?);
    let mut text = format_compact!("{year:04}-{month:02}-{day:02}");
    if !is_date {
        let [hour, minute, second] = bytes.get(4..7).unwrap_or(&[0; 3]).try_into().ok()?;
        write!(text, " {hour:02}:{minute:02}:{second:02}").ok()?;
        fraction(&mut text, bytes.get(7..))?;
    }
    Some(text)
}

/// A `TIME`: a time of day, or a time that something takes.
fn span(bytes: &[u8]) -> Option<CompactString> {
    let Some((negative, rest)) = bytes.split_first() else { return Some("00:00:00".into()) };
    let days = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
    let [hour, minute, second] = rest.get(4..7)?.try_into().ok()?;
    let sign = if *negative == 0 { "" } else { "-" };
    let mut text = format_compact!("{sign}{:02}:{minute:02}:{second:02}", u64::from(days) * 24 + u64::from(hour));
    fraction(&mut text, rest.get(7..))?;
    Some(text)
}

fn fraction(text: &mut CompactString, bytes: Option<&[u8]>) -> Option<()> {
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Some(()) };
    let digits = format!("{:06}", u32::from_le_bytes(bytes.try_into().ok()?));
    write!(text, ".{}", digits.trim_end_matches('0')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    #[test]
    fn values_are_read_by_the_names_of_their_types() {
        for (name, is_text, bytes, expected) in [
            ("BOOLEAN", false, &[1][..], Some(Scalar::Bool(true))),
            ("BOOLEAN", false, &[5], Some(Scalar::Int(5))),
            ("TINYINT", false, &[255], Some(Scalar::Int(-1))),
            ("TINYINT UNSIGNED", false, &[255], Some(Scalar::Int(255))),
            ("BIGINT UNSIGNED", false, &[255; 8], Some(text("18446744073709551615"))),
            ("BIT", false, &[1, 2], Some(Scalar::Int(258))),
            ("DECIMAL", false, b"1.50", Some(Scalar::Float(1.5))),
            ("DATE", false, &[4, 0xea, 7, 11, 24], Some(text("2026-11-24"))),
            ("DATETIME", false, &[4, 0xea, 7, 11, 24], Some(text("2026-11-24 00:00:00"))),
            (
                "TIMESTAMP",
                false,
                &[11, 0xea, 7, 11, 24, 1, 2, 3, 0x20, 0xa1, 7, 0],
                Some(text("2026-11-24 01:02:03.5")),
            ),
            ("TIME", false, &[0], Some(text("00:00:00"))),
            ("TIME", false, &[8, 1, 2, 0, 0, 0, 3, 4, 5], Some(text("-51:04:05"))),
            ("VARCHAR", true, "ö".as_bytes(), Some(text("ö"))),
            ("BINARY", true, b"0123456789abcdef", Some(text("0123456789abcdef"))),
            ("BINARY", false, &[0xa0; 16], Some(text("a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"))),
            ("VARBINARY", false, b"made", Some(text("made"))),
            ("BLOB", false, &[0xff], None),
            ("GEOMETRY", false, b"x", None),
        ] {
            assert_eq!(read(name, is_text, bytes), expected, "{name} {bytes:?}");
        }
    }
}
