//! FHIR dates as stretches of time.

const DAY: i64 = 86_400;

/// The stretch that a FHIR date, dateTime or instant covers at its precision: `2026-03` is all of March.
///
/// Unix seconds; a date without a zone is read as UTC, since no document says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// The first second.
    pub(crate) from: i64,
    /// The first second that is no longer part of it.
    pub(crate) until: i64,
}

impl Span {
    /// Reads what the FHIR reader has accepted as a date; `None` for anything else.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
        let year = parts.next()??;
        let month = parts.next();
        let day = parts.next();
        let (month, day) =
            (month.map_or(Some(None), |m| m.map(Some))?, day.map_or(Some(None), |d| d.map(Some))?);
        let (from, until) = match (month, day) {
            (None, _) => (days(year, 1, 1), days(year + 1, 1, 1)),
            (Some(12), None) => (days(year, 12, 1), days(year + 1, 1, 1)),
            (Some(month), None) => (days(year, month, 1), days(year, month + 1, 1)),
            (Some(month), Some(day)) => (days(year, month, day), days(year, month, day) + 1),
        };
        match time {
            None => Some(Self { from: from * DAY, until: until * DAY }),
            Some(time) => {
                let second = from * DAY + seconds(time)?;
                Some(Self { from: second, until: second + 1 })
            }
        }
    }

    /// The day on which it begins, as a number.
    pub(crate) const fn day(self) -> i64 {
        self.from.div_euclid(DAY)
    }
}

/// Seconds after midnight UTC of `14:30:00.123+02:00`.
fn seconds(time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let clock = number(0..2)? * 3_600 + number(3..5)? * 60 + number(6..8)?;
    let zone = time.get(8..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes().first() {
        None | Some(b'Z') => 0,
        Some(sign) => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let offset = hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60;
            if *sign == b'-' { -offset } else { offset }
        }
    };
    Some(clock - offset)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that start in March, so that the leap day is the last of its year.
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A Unix second as FHIR's `instant`, in UTC.
pub(crate) fn instant(second: u64) -> String {
    let days = (second / 86_400) as i64 + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let day = day - (153 * shifted + 2) / 5 + 1;
    let rest = second % 86_400;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_long_as_the_date_is_exact() {
        for (text, from, until) in [
            ("1970", 0, 365 * DAY),
            ("2000-02", 949_363_200, 949_363_200 + 29 * DAY),
            ("2027-05-20", 1_810_771_200, 1_810_771_200 + DAY),
            ("2026-12", 1_796_083_200, 1_798_761_600),
            ("2027-05-20T14:30:05Z", 1_810_823_405, 1_810_823_406),
            ("2027-05-20T16:30:05.250+02:00", 1_810_823_405, 1_810_823_406),
            ("2027-05-20T09:00:05-05:30", 1_810_823_405, 1_810_823_406),
            ("1969-12-31", -DAY, 0),
        ] {
            assert_eq!(Span::of(text), Some(Span { from, until }), "{text}");
        }
        for text in ["", "soon", "2027-05-20T", "20.5.2027"] {
            assert_eq!(Span::of(text), None, "{text}");
        }
    }

    #[test]
    fn instants_read_back() {
        for second in [0, 951_782_399, 951_782_400, 1_810_823_405, 4_102_444_799] {
            assert_eq!(Span::of(&instant(second)).map(|span| span.from), Some(second as i64));
        }
    }
}
