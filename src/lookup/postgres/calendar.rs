//! Dates and times as PostgreSQL writes them, from days and microseconds since 2000.

use std::fmt::Write as _;

use compact_str::{CompactString, format_compact};

const DAY: i64 = 86_400_000_000;
/// Days from 0000-03-01, with which a cycle of 400 years begins, to 2000-01-01.
const TO_2000: i64 = 730_425;

/// A `date`: days since 2000-01-01.
pub(super) fn date(days: i32) -> CompactString {
    match days {
        i32::MAX => "infinity".into(),
        i32::MIN => "-infinity".into(),
        _ => {
            let (day, era) = day(days.into());
            format_compact!("{day}{era}")
        }
    }
}

/// A `time`: microseconds since midnight.
pub(super) fn time(microseconds: i64) -> CompactString {
    let (seconds, rest) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
    let mut text = format_compact!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest != 0 {
        let digits = format!("{rest:06}");
        // Writing to a string does not fail.
        write!(text, ".{}", digits.trim_end_matches('0')).unwrap_or_default();
    }
    text
}

/// A `timestamp`: microseconds since 2000-01-01. With the name of its zone.
pub(super) fn timestamp(microseconds: i64, zone: &str) -> CompactString {
    match microseconds {
        i64::MAX => "infinity".into(),
        i64::MIN => "-infinity".into(),
        _ => {
            let (day, era) = day(microseconds.div_euclid(DAY));
            format_compact!("{day} {}{zone}{era}", time(microseconds.rem_euclid(DAY)))
        }
    }
}

/// The day, and what comes after it before our era.
fn day(since_2000: i64) -> (CompactString, &'static str) {
    // The year begins in March, so that the day that some years lack is its last one.
    let days = since_2000 + TO_2000;
    let (cycle, day_of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * cycle + year_of_cycle + i64::from(month <= 2);
    // There is no year 0: before the year 1 comes the year 1 BC.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format_compact!("{year:04}-{month:02}-{day:02}"), era)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, "2000-01-01"),
            (-1, "1999-12-31"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (9824, "2026-11-24"),
            (-10_957, "1970-01-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (2_921_940, "10000-01-01"),
            (i32::MAX, "infinity"),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn times_have_what_they_need_of_a_fraction() {
        assert_eq!(time(0), "00:00:00");
        assert_eq!(time(45_296_120_000), "12:34:56.12");
        assert_eq!(timestamp(-1, "+00"), "1999-12-31 23:59:59.999999+00");
        assert_eq!(timestamp(DAY, ""), "2000-01-02 00:00:00");
        assert_eq!(timestamp(i64::MIN, ""), "-infinity");
    }
}
