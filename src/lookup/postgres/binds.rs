//! Values in the binary form of a bind's type.

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind};
use sqlx::{Postgres, Type, TypeInfo};

use super::columns::is_unresolved;
use crate::event::Scalar;

/// A value in the form that the server wants, or null.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded(Option<Vec<u8>>);

/// What a bind wants, of the types whose form is made here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Uuid,
    Json,
    Jsonb,
    /// The text's own bytes.
    Text,
}

/// Whether values for this type are bound as a text that the server casts.
pub(super) fn is_cast(info: &PgTypeInfo) -> bool {
    wanted(info).is_none()
}

/// Whether the server alone can tell if a value is of this type.
pub(super) fn is_judged_by_server(info: &PgTypeInfo) -> bool {
    is_cast(info) || matches!(info.kind(), PgTypeKind::Enum(_))
}

impl Encoded {
    /// This value for a bind of this type. `None` where the type has no such value.
    pub(super) fn new(value: &Scalar, info: &PgTypeInfo) -> Option<Self> {
        let borrowed = value.as_value();
        let Some(text) = borrowed.text() else { return Some(Self(None)) };
        let bytes = match wanted(info) {
            Some(wanted) => bytes(wanted, value, &text)?,
            None => text.as_bytes().to_vec(),
        };
        Some(Self(Some(bytes)))
    }
}

impl Encode<'_, Postgres> for Encoded {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(bytes) = &self.0 else { return Ok(IsNull::Yes) };
        buffer.extend_from_slice(bytes);
        Ok(IsNull::No)
    }
}

impl Type<Postgres> for Encoded {
    /// None in particular: the server has said which one it is.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

fn wanted(info: &PgTypeInfo) -> Option<Wanted> {
    Some(match info.oid()?.0 {
        16 => Wanted::Bool,
        20 => Wanted::Int8,
        21 => Wanted::Int2,
        23 => Wanted::Int4,
        26 => Wanted::Oid,
        700 => Wanted::Float4,
        701 => Wanted::Float8,
        2950 => Wanted::Uuid,
        114 => Wanted::Json,
        3802 => Wanted::Jsonb,
        // "char", name, text, xml, unknown, bpchar, varchar
        18 | 19 | 25 | 142 | 705 | 1042 | 1043 => Wanted::Text,
        _ if is_unresolved(info) => Wanted::Text,
        _ => match info.kind() {
            PgTypeKind::Domain(base) => return wanted(base),
            PgTypeKind::Enum(_) => Wanted::Text,
            PgTypeKind::Simple if super::columns::is_citext(info.name()) => Wanted::Text,
            _ => return None,
        },
    })
}

fn bytes(wanted: Wanted, value: &Scalar, text: &str) -> Option<Vec<u8>> {
    let text = if wanted == Wanted::Text { text } else { text.trim() };
    Some(match wanted {
        Wanted::Bool => vec![u8::from(truth(text)?)],
        Wanted::Int2 => i16::try_from(integer(value, text)?).ok()?.to_be_bytes().to_vec(),
        Wanted::Int4 => i32::try_from(integer(value, text)?).ok()?.to_be_bytes().to_vec(),
        Wanted::Int8 => integer(value, text)?.to_be_bytes().to_vec(),
        Wanted::Oid => u32::try_from(integer(value, text)?).ok()?.to_be_bytes().to_vec(),
        Wanted::Float4 => text.parse::<f32>().ok()?.to_be_bytes().to_vec(),
        Wanted::Float8 => text.parse::<f64>().ok()?.to_be_bytes().to_vec(),
        Wanted::Uuid => uuid(text)?.to_be_bytes().to_vec(),
        Wanted::Json => json(text)?,
        // Its only version.
        Wanted::Jsonb => [vec![1], json(text)?].concat(),
        // A zero byte stands in no text of the server's.
        Wanted::Text if text.contains('\0') => return None,
        Wanted::Text => text.as_bytes().to_vec(),
    })
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

fn integer(value: &Scalar, text: &str) -> Option<i64> {
    match value {
        Scalar::Float(number) if number.fract() == 0.0 => format!("{number:.0}").parse().ok(),
        _ => text.parse().ok(),
    }
}

/// 32 hexadecimal digits, with or without hyphens and braces.
fn uuid(text: &str) -> Option<u128> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let digits: String = inner.chars().filter(|c| *c != '-').collect();
    let is_it = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_it.then(|| u128::from_str_radix(&digits, 16).ok())?
}

fn json(text: &str) -> Option<Vec<u8>> {
    let valid: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    valid.is_ok().then(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(oid: u32, value: &Scalar, expected: Option<&[u8]>) {
        let encoded = Encoded::new(value, &PgTypeInfo::with_oid(Oid(oid)));
        assert_eq!(encoded, expected.map(|bytes| Encoded(Some(bytes.to_vec()))), "{value:?} as {oid}");
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    #[test]
    fn values_take_the_form_that_is_wanted_or_do_not_fit() {
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let bytes = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11_u128.to_be_bytes();
        for (oid, value, expected) in [
            (20, text("42"), Some(&[0, 0, 0, 0, 0, 0, 0, 42][..])),
            (20, Scalar::Int(-1), Some(&[255; 8])),
            (20, Scalar::Float(7.0), Some(&[0, 0, 0, 0, 0, 0, 0, 7])),
            (20, Scalar::Float(7.5), None),
            (20, text("abc"), None),
            (20, text(""), None),
            (20, text("7; DROP TABLE users"), None),
            (20, text("9223372036854775808"), None),
            (20, Scalar::Bool(true), None),
            (23, text("2147483647"), Some(&[127, 255, 255, 255])),
            (23, Scalar::Int(2_147_483_648), None),
            (21, Scalar::Int(258), Some(&[1, 2])),
            (26, Scalar::Int(-1), None),
            (16, text("true"), Some(&[1])),
            (16, Scalar::Bool(false), Some(&[0])),
            (16, text("maybe"), None),
            (25, Scalar::Int(7), Some(b"7")),
            (25, text(" ö "), Some(" ö ".as_bytes())),
            (25, text("a\0b"), None),
            (701, Scalar::Int(1), Some(&[0x3f, 0xf0, 0, 0, 0, 0, 0, 0])),
            (2950, text(uuid), Some(&bytes)),
            (2950, text("{A0EEBC999C0B4EF8BB6D6BB9BD380A11}"), Some(&bytes)),
            (2950, text("a0eebc99"), None),
            (2950, Scalar::Int(7), None),
            (114, text("{\"a\":1}"), Some(b"{\"a\":1}")),
            (3802, Scalar::Int(7), Some(b"\x017")),
            (114, text("{a"), None),
            // inet: as a text that is cast.
            (869, text("10.0.0.1"), Some(b"10.0.0.1")),
        ] {
            check(oid, &value, expected);
        }
        let null = Encoded::new(&Scalar::Null, &PgTypeInfo::with_oid(Oid(20)));
        assert_eq!(null, Some(Encoded(None)));
    }
}
