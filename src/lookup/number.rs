//! Numbers and ids of databases, as rules see them.

use compact_str::{CompactString, format_compact};

use crate::event::Scalar;

/// A decimal number, from its digits. An integer is one, however many zeros stand behind its point; another number is
/// one where that loses nothing; all that is left is its text.
pub(super) fn decimal(digits: &str) -> Scalar {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return whole.parse().map_or_else(|_| Scalar::Text(whole.into()), Scalar::Int);
    }
    match digits.parse::<f64>() {
        Ok(number) if number.to_string() == format!("{whole}.{fraction}") => Scalar::Float(number),
        _ => Scalar::Text(digits.into()),
    }
}

/// A number of double precision. What is none is its text.
pub(super) fn double(number: f64) -> Scalar {
    if number.is_finite() {
        Scalar::Float(number)
    } else if number.is_nan() {
        Scalar::Text("NaN".into())
    } else {
        Scalar::Text(if number > 0.0 { "Infinity" } else { "-Infinity" }.into())
    }
}

/// A number of single precision: the one that its digits name, and not its nearest neighbour of double precision.
pub(super) fn single(number: f32) -> Scalar {
    double(number.to_string().parse().unwrap_or_else(|_| number.into()))
}

/// The usual text of a uuid.
pub(super) fn uuid(bytes: [u8; 16]) -> CompactString {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format_compact!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_lose_no_digit() {
        for (digits, expected) in [
            ("42", Scalar::Int(42)),
            ("-7.00", Scalar::Int(-7)),
            ("1.50", Scalar::Float(1.5)),
            ("0.1", Scalar::Float(0.1)),
            ("9223372036854775807", Scalar::Int(i64::MAX)),
            ("9223372036854775808", Scalar::Text("9223372036854775808".into())),
            ("12345678901234567890.5", Scalar::Text("12345678901234567890.5".into())),
            ("NaN", Scalar::Text("NaN".into())),
        ] {
            assert_eq!(decimal(digits), expected, "{digits}");
        }
        assert_eq!(single(0.1), Scalar::Float(0.1));
        assert_eq!(double(f64::NEG_INFINITY), Scalar::Text("-Infinity".into()));
    }

    #[test]
    fn a_uuid_has_its_hyphens() {
        let bytes = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11_u128.to_be_bytes();
        assert_eq!(uuid(bytes), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    }
}
