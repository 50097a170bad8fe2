//! Dates and durations as people read them.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAY: u64 = 86_400;

/// Unix seconds as `20 May 2027, 14:03:07 UTC`.
pub fn utc(time: u64) -> String {
    let (year, month, day) = civil(time / DAY);
    let second = time % DAY;

    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let month = usize::try_from(month).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"?");
    format!("{day} {month} {year}, {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month (from 0) and day of a day since 1 January 1970 in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year.
const fn civil(days: u64) -> (u64, u64, u64) {
    // 719,468 days lie between 1 March of year 0 and 1 January 1970; 146,097 days are 400 years.
    let since = days + 719_468;
    let era = since / 146_097;
    let of_era = since % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 2 } else { from_march - 10 };
    let year = era * 400 + year + (month < 2) as u64;
    (year, month, day)
}

/// Seconds as `3 days 4 hours`; nothing smaller than minutes.
pub(super) fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / DAY, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let text: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| plural(*n, unit)).take(2).collect();
    if text.is_empty() { "no time".to_owned() } else { text.join(" ") }
}

/// `1 record`, `2 records`.
pub(super) fn plural(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::{duration, utc};

    #[test]
    fn dates_are_gregorian_and_utc() {
        for (time, text) in [
            (0, "1 January 1970, 00:00:00 UTC"),
            (951_782_399, "28 February 2000, 23:59:59 UTC"),
            (951_782_400, "29 February 2000, 00:00:00 UTC"),
            (1_810_771_200, "20 May 2027, 00:00:00 UTC"),
            (4_107_542_399, "28 February 2100, 23:59:59 UTC"),
            (4_107_542_400, "1 March 2100, 00:00:00 UTC"),
            ((1 << 48) - 1, "7 December 8921556, 10:44:15 UTC"),
        ] {
            assert_eq!(utc(time), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(0), "no time");
        assert_eq!(duration(3_601), "1 hour 1 second");
        assert_eq!(duration(90_000), "1 day 1 hour");
    }
}
