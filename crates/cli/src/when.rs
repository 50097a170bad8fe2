//! Times as people write them, and as Galen shows them. Always UTC.

use std::{fmt, str::FromStr};

use galen_types::ParseError;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Longest time that can be asked for: a hundred years, in seconds. Longer is a slip of the hand.
const MAX_LIFETIME: u64 = 36_525 * DAY;

/// Last Unix second that can be written: the end of the year 9999.
const MAX_INSTANT: u64 = 253_402_300_799;

/// A length of time in seconds, written as a number and a unit: `90s`, `15m`, `12h`, `30d`, `4w`, `1y`
/// (365 days). More than zero and at most a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lifetime(u64);

impl Lifetime {
    /// In seconds.
    pub(crate) const fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError {
            what: "length of time",
            expected: "a number and one of s, m, h, d, w, y, at most 100 years, such as 30d",
        };
        let unit = text.chars().last().ok_or_else(error)?;
        let seconds = match unit {
            's' => 1,
            'm' => MINUTE,
            'h' => HOUR,
            'd' => DAY,
            'w' => 7 * DAY,
            'y' => 365 * DAY,
            _ => return Err(error()),
        };
        let count = number(&text[..text.len() - 1]).ok_or_else(error)?;
        let total = count.checked_mul(seconds).filter(|total| (1..=MAX_LIFETIME).contains(total));
        total.map(Self).ok_or_else(error)
    }
}

/// A point in time as a Unix second, written `2027-05-20`, `2027-05-20T14:30` or
/// `2027-05-20T14:30:00Z`; shown in the last form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

impl Instant {
    /// From a Unix second. What lies after the year 9999 is shown as its end.
    pub(crate) const fn from_unix(seconds: u64) -> Self {
        Self(if seconds > MAX_INSTANT { MAX_INSTANT } else { seconds })
    }

    /// As a Unix second.
    pub(crate) const fn unix(self) -> u64 {
        self.0
    }
}

impl FromStr for Instant {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError {
            what: "date",
            expected: "2027-05-20, 2027-05-20T14:30 or 2027-05-20T14:30:00Z (UTC), from 1970 on",
        };
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, seconds_of_day(time).ok_or_else(error)?),
            None => (text, 0),
        };
        let days = days_from_date(date).ok_or_else(error)?;
        Ok(Self(days * DAY + time))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_from_days(self.0 / DAY);
        let (hour, minute, second) = (self.0 % DAY / HOUR, self.0 % HOUR / MINUTE, self.0 % MINUTE);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// `14:30` or `14:30:00Z`.
fn seconds_of_day(text: &str) -> Option<u64> {
    let (hour, minute, second) = match text.len() {
        5 => (text.get(..2)?, text.get(3..5)?, "00"),
        9 if text.ends_with('Z') && text.as_bytes()[5] == b':' => {
            (text.get(..2)?, text.get(3..5)?, text.get(6..8)?)
        }
        _ => return None,
    };
    if text.as_bytes()[2] != b':' {
        return None;
    }
    let (hour, minute, second) = (number(hour)?, number(minute)?, number(second)?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * HOUR + minute * MINUTE + second)
}

/// Days since 1970-01-01 of `2027-05-20`; `None` before that day and for days that do not exist.
fn days_from_date(text: &str) -> Option<u64> {
    if text.len() != 10 || text.as_bytes()[4] != b'-' || text.as_bytes()[7] != b'-' {
        return None;
    }
    let year = number(text.get(..4)?)?;
    let (month, day) = (number(text.get(5..7)?)?, number(text.get(8..10)?)?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Years that start in March, so that the leap day is the last of its year.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let days = days.checked_sub(719_468)?;
    // A day that its month does not have comes back as another one.
    (date_from_days(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
const fn date_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    // An era is the 400 years, 146,097 days, after which the calendar repeats itself.
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + (month <= 2) as u64;
    (year, month, day - (153 * shifted + 2) / 5 + 1)
}

/// Digits alone: no sign and no space, which `u64` would take.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    #[test]
    fn lifetime_reads_a_number_and_a_unit() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("12h", Some(43_200)),
            ("30d", Some(2_592_000)),
            ("4w", Some(2_419_200)),
            ("1y", Some(31_536_000)),
            ("100y", Some(3_153_600_000)),
            ("101y", None),
            ("0d", None),
            ("", None),
            ("d", None),
            ("30", None),
            ("-1d", None),
            ("+1d", None),
            ("1.5d", None),
            ("30 d", None),
            ("30D", None),
            ("30é", None),
            ("99999999999999999999d", None),
            ("18446744073709551615y", None),
        ] {
            assert_eq!(text.parse::<Lifetime>().ok().map(Lifetime::seconds), seconds, "{text}");
        }
    }

    #[test]
    fn instant_reads_dates_that_exist() {
        for (text, unix) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400)),
            ("2027-05-20", Some(1_810_771_200)),
            ("2027-05-20T14:30", Some(1_810_823_400)),
            ("2027-05-20T14:30:05Z", Some(1_810_823_405)),
            ("9999-12-31T23:59:59Z", Some(MAX_INSTANT)),
            ("1969-12-31", None),
            ("2027-02-29", None),
            ("2100-02-29", None),
            ("2027-04-31", None),
            ("2027-13-01", None),
            ("2027-00-10", None),
            ("2027-05-00", None),
            ("2027-5-20", None),
            ("20.5.2027", None),
            ("2027-05-20T24:00", None),
            ("2027-05-20T14:60", None),
            ("2027-05-20T14:30:05", None),
            ("2027-05-20T14:30:05+02:00", None),
            ("2027-05-20 14:30", None),
            ("２027-05-2", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Instant>().ok().map(Instant::unix), unix, "{text}");
        }
    }

    /// Every day of 400 years is written as the day after the one before, and reads back.
    #[test]
    fn instant_shows_what_it_reads() {
        let mut before = String::new();
        for day in 0..146_097 {
            let shown = Instant::from_unix(day * DAY + 3_661).to_string();
            assert!(shown > before, "{shown} after {before}");
            assert_eq!(shown.parse::<Instant>().unwrap().unix(), day * DAY + 3_661);
            before = shown;
        }
        assert_eq!(Instant::from_unix(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }
}
