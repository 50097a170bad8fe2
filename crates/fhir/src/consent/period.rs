//! Periods of FHIR, exact to the second.

use crate::Node;

const DAY: i64 = 86_400;

/// A stretch of time from a FHIR Period: Unix seconds, the first inside, the end outside.
///
/// FHIR's end is inclusive at its precision, so `2026-03` ends at 2026-04-01T00:00:00. A time without a
/// zone is UTC. Inside of a second that a fraction cuts, a period neither certainly holds nor certainly
/// does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    start: Option<Edge>,
    end: Option<Edge>,
    /// An end that is stated but not readable, such as one that only has an extension.
    unclear: bool,
}

/// A point in time, known to lie in this closed range of whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    floor: i64,
    ceil: i64,
}

impl Span {
    /// Reads a Period of an accepted document.
    pub(super) fn read(period: Node<'_>) -> Self {
        let mut span = Self::default();
        for (name, value) in period.members() {
            let moment = value.text().and_then(|text| Moment::read(&text));
            match (name.as_ref(), moment) {
                ("start", Some(moment)) => span.start = Some(moment.start()),
                ("end", Some(moment)) => span.end = Some(moment.end()),
                ("id" | "extension", _) => {}
                _ => span.unclear = true,
            }
        }
        span
    }

    /// Whether a second lies inside; `None` if that cannot be said.
    pub fn contains(&self, second: i64) -> Option<bool> {
        let after = self.start.map_or(Some(true), |edge| edge.reached(second));
        let before = self.end.map_or(Some(true), |edge| edge.reached(second).map(|past| !past));
        match (after, before) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) if !self.unclear => Some(true),
            _ => None,
        }
    }

    /// The seconds at which the answer of [`Span::contains`] can change.
    pub(super) fn edges(&self) -> impl Iterator<Item = i64> {
        [self.start, self.end].into_iter().flatten().flat_map(|edge| [edge.floor, edge.ceil])
    }
}

impl Edge {
    const fn reached(self, second: i64) -> Option<bool> {
        if second >= self.ceil {
            Some(true)
        } else if second < self.floor {
            Some(false)
        } else {
            None
        }
    }
}

/// A FHIR dateTime: its first second, how long it lasts, and whether a fraction cuts it.
struct Moment {
    first: i64,
    lasts: i64,
    cut: bool,
}

impl Moment {
    fn start(&self) -> Edge {
        Edge { floor: self.first, ceil: self.first + i64::from(self.cut) }
    }

    fn end(&self) -> Edge {
        let floor = if self.cut { self.first } else { self.first + self.lasts };
        Edge { floor, ceil: self.first + self.lasts }
    }

    fn read(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T').map_or((text, None), |(d, t)| (d, Some(t)));
        let mut parts = date.split('-').map(number);
        let year = parts.next()??;
        let month = parts.next();
        let day = parts.next();
        let (first_month, first_day) = (month.unwrap_or(Some(1))?, day.unwrap_or(Some(1))?);
        if !(1..=12).contains(&first_month) {
            return None;
        }
        let first = days(year, first_month, first_day) * DAY;
        let next = match (month, day) {
            (None, _) => days(year + 1, 1, 1) * DAY,
            (_, None) => days(year + first_month / 12, first_month % 12 + 1, 1) * DAY,
            _ => first + DAY,
        };
        let Some(time) = time else {
            return Some(Self { first, lasts: next - first, cut: false });
        };
        let (clock, zone) = split_zone(time)?;
        let mut parts = clock.split(':');
        let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
        let seconds = parts.next().unwrap_or("0");
        let (second, cut) = match seconds.split_once('.') {
            // An instant with a fraction lasts no whole second, even if the fraction is zero.
            Some((second, _)) => (number(second)?, true),
            None => (number(seconds)?, false),
        };
        let first = first + hour * 3_600 + minute * 60 + second - zone;
        Some(Self { first, lasts: 1, cut })
    }
}

/// The clock's text, and how many seconds it is ahead of UTC.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (hour, minute) = time[at + 1..].split_once(':')?;
    let ahead = number(hour)? * 3_600 + number(minute)? * 60;
    Some((&time[..at], if time[at..].starts_with('-') { -ahead } else { ahead }))
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Days from 1970-01-01 to a day, in the proleptic Gregorian calendar; `year` from 1 to 10,000.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that start in March, so that the leap day is the last of its year.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Last second inside and first second outside of a period that ends so.
    #[test]
    fn span_ends_with_the_last_second_of_its_precision() {
        for (end, first_outside) in [
            ("2026", 1_798_761_600),
            ("2026-03", 1_775_001_600),
            ("2026-12", 1_798_761_600),
            ("2024-02", 1_709_251_200),
            ("2024-02-28", 1_709_164_800),
            ("2016-06-23T17:32:33+10:00", 1_466_667_154),
            ("2016-06-23T02:32:33-05:00", 1_466_667_154),
            ("2016-06-23T07:32:33Z", 1_466_667_154),
            ("1964-01-01", -189_302_400),
        ] {
            let text = format!("{{\"end\":\"{end}\"}}");
            let span = Span::read(Node::new(text.as_bytes()));
            assert_eq!(span.contains(first_outside - 1), Some(true), "{end}");
            assert_eq!(span.contains(first_outside), Some(false), "{end}");
            let text = format!("{{\"start\":\"{end}\"}}");
            let span = Span::read(Node::new(text.as_bytes()));
            let lasts = Moment::read(end).expect("a date").lasts;
            assert_eq!(span.contains(first_outside - lasts), Some(true), "{end}");
            assert_eq!(span.contains(first_outside - lasts - 1), Some(false), "{end}");
        }
    }

    #[test]
    fn span_does_not_guess_inside_a_second_or_behind_an_extension() {
        let span = |text: &str| Span::read(Node::new(text.as_bytes()));
        let cut = span("{\"start\":\"1970-01-01T00:00:01.5Z\",\"end\":\"1970-01-01T00:00:03.5Z\"}");
        let answers: Vec<_> = (0..6).map(|second| cut.contains(second)).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(answers, [no, None, yes, None, no, no]);
        let extended = span("{\"start\":\"1970\",\"_end\":{\"extension\":[{\"url\":\"x\"}]}}");
        assert_eq!((extended.contains(-1), extended.contains(0)), (no, None));
        assert_eq!(span("{}").contains(i64::MIN), yes);
    }
}
