//! From when to when a certificate is valid: the one thing that is read of it here. All else is for those who connect.

use std::time::{Duration, SystemTime};

/// DER's tags (X.690) of what stands before the validity, and of what that is made of.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Validity {
    /// That of an X.509 certificate (RFC 5280, 4.1). `None` where it is not found.
    pub(super) fn of(mut der: &[u8]) -> Option<Self> {
        let mut certificate = take(&mut der, SEQUENCE)?;
        let mut body = take(&mut certificate, SEQUENCE)?;
        // The version may be left out; then come the serial number, the algorithm and the issuer.
        take(&mut body, VERSION);
        take(&mut body, INTEGER)?;
        take(&mut body, SEQUENCE)?;
        take(&mut body, SEQUENCE)?;
        let mut validity = take(&mut body, SEQUENCE)?;
        let mut time = || {
            let utc = take(&mut validity, UTC_TIME).map(|text| (text, 2));
            let (text, digits) = utc.or_else(|| Some((take(&mut validity, GENERALIZED_TIME)?, 4)))?;
            parse(text, digits)
        };
        Some(Self { from: time()?, until: time()? })
    }
}

/// Takes a member with this tag off `der`, and answers its content. Where another one is next, nothing is taken.
fn take<'d>(der: &mut &'d [u8], tag: u8) -> Option<&'d [u8]> {
    let (&[first, length], rest) = der.split_first_chunk()?;
    if first != tag {
        return None;
    }
    // From 0x80 on, that is how many bytes of length follow.
    let more = usize::from(length.saturating_sub(0x80));
    let (long, rest) = rest.split_at_checked(more)?;
    let length = match long {
        [] => usize::from(length),
        [_, _, _, _, ..] => return None,
        bytes => bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some(content)
}

/// A time such as `261124080000Z`, with so many digits for the year.
fn parse(text: &[u8], digits: usize) -> Option<SystemTime> {
    let text = std::str::from_utf8(text.strip_suffix(b"Z")?).ok()?;
    let (year, rest) = text.split_at_checked(digits)?;
    if rest.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| rest[at..at + 2].parse::<u64>().ok();
    let year = match (digits, year.parse::<u64>().ok()?) {
        (2, short) if short < 50 => 2000 + short,
        (2, short) => 1900 + short,
        (_, year) => year,
    };
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar that is not before it. A year is counted from its March on,
/// so that the day that only some years have is its last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month < 3 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn times_read_as_others_read_them() {
        for (text, digits, expected) in [
            ("700101000000Z", 2, Some(0)),
            ("000229235959Z", 2, Some(951_868_799)),
            ("491231235959Z", 2, Some(2_524_607_999)),
            ("20261124080000Z", 4, Some(1_795_507_200)),
            ("20500101000000Z", 4, Some(2_524_608_000)),
            ("99991231235959Z", 4, Some(253_402_300_799)),
            ("500101000000Z", 2, None),
            ("20261324080000Z", 4, None),
            ("2026112408000Z", 4, None),
            ("20261124080000", 4, None),
            ("2026112408000üZ", 4, None),
            ("", 2, None),
        ] {
            assert_eq!(parse(text.as_bytes(), digits), expected.map(at), "{text}");
        }
    }

    #[test]
    fn the_validity_of_a_certificate_is_found() {
        let key = rcgen::KeyPair::generate().unwrap();
        for (from, until) in [(2020, 2049), (2049, 2051), (2050, 9999)] {
            let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            parameters.not_before = rcgen::date_time_ymd(from, 2, 28);
            parameters.not_after = rcgen::date_time_ymd(until, 12, 1);
            let certificate = parameters.self_signed(&key).unwrap();
            let year = |year: i32| u64::try_from(year).unwrap();
            let expected =
                Validity { from: at(days(year(from), 2, 28) * 86_400), until: at(days(year(until), 12, 1) * 86_400) };
            assert_eq!(Validity::of(certificate.der()), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn what_is_no_certificate_has_none(bytes in prop::collection::vec(prop_oneof![Just(0x30_u8), any::<u8>()], 0..40)) {
            prop_assert_eq!(Validity::of(&bytes), None);
        }
    }
}
