//! The primitive types of R4 and their formats (specification, section 2.24.0.1).

/// A primitive type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Primitive {
    Base64Binary,
    Boolean,
    Canonical,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Markdown,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Url,
    Uuid,
    Xhtml,
}

/// The kind of JSON value that a primitive type is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonKind {
    Boolean,
    Number,
    String,
}

const ALL: [(&str, Primitive); 20] = [
    ("base64Binary", Primitive::Base64Binary),
    ("boolean", Primitive::Boolean),
    ("canonical", Primitive::Canonical),
    ("code", Primitive::Code),
    ("date", Primitive::Date),
    ("dateTime", Primitive::DateTime),
    ("decimal", Primitive::Decimal),
    ("id", Primitive::Id),
    ("instant", Primitive::Instant),
    ("integer", Primitive::Integer),
    ("markdown", Primitive::Markdown),
    ("oid", Primitive::Oid),
    ("positiveInt", Primitive::PositiveInt),
    ("string", Primitive::String),
    ("time", Primitive::Time),
    ("unsignedInt", Primitive::UnsignedInt),
    ("uri", Primitive::Uri),
    ("url", Primitive::Url),
    ("uuid", Primitive::Uuid),
    ("xhtml", Primitive::Xhtml),
];

impl Primitive {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        ALL.iter().find(|(known, _)| *known == name).map(|(_, primitive)| *primitive)
    }

    pub(crate) fn name(self) -> &'static str {
        ALL.iter().find(|(_, known)| *known == self).map_or("primitive", |(name, _)| name)
    }

    pub(crate) const fn json(self) -> JsonKind {
        match self {
            Self::Boolean => JsonKind::Boolean,
            Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt => {
                JsonKind::Number
            }
            _ => JsonKind::String,
        }
    }

    /// Whether `text`, not empty, is of this type. Numbers come as JSON numbers; narratives are checked
    /// by [`crate::narrative`].
    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Boolean | Self::Decimal | Self::Xhtml => true,
            // Control characters never get past the lexer.
            Self::String | Self::Markdown => true,
            Self::Base64Binary => is_base64(text.as_bytes()),
            Self::Canonical | Self::Uri | Self::Url => {
                !text.bytes().any(|b| b.is_ascii_whitespace())
            }
            Self::Code => is_code(text),
            Self::Date => date(text).is_some_and(|(_, rest)| rest.is_empty()),
            Self::DateTime => is_date_time(text),
            Self::Id => is_id(text),
            Self::Instant => is_instant(text),
            Self::Integer => integer(text).is_some(),
            Self::PositiveInt => integer(text).is_some_and(|value| value > 0),
            Self::UnsignedInt => integer(text).is_some_and(|value| value >= 0),
            Self::Oid => text.strip_prefix("urn:oid:").is_some_and(is_oid),
            Self::Time => time(text).is_some_and(str::is_empty),
            Self::Uuid => text.strip_prefix("urn:uuid:").is_some_and(is_uuid),
        }
    }
}

fn integer(text: &str) -> Option<i32> {
    // JSON has no plus sign and no leading zero; FHIR has no minus zero, fraction or exponent.
    if text == "-0" { None } else { text.parse().ok() }
}

fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    text.len() <= 64 && text.bytes().all(allowed)
}

/// No white space at either end, and only single spaces inside.
fn is_code(text: &str) -> bool {
    text.split(' ').all(|word| !word.is_empty() && !word.bytes().any(|b| b.is_ascii_whitespace()))
}

fn is_oid(text: &str) -> bool {
    let mut arcs = text.split('.');
    let arc = |arc: &str| {
        let zeros = arc.len() > 1 && arc.starts_with('0');
        !arc.is_empty() && !zeros && arc.bytes().all(|b| b.is_ascii_digit())
    };
    matches!(arcs.next(), Some("0" | "1" | "2")) && text.contains('.') && arcs.all(arc)
}

fn is_uuid(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => hex(b),
        })
}

/// Base64 with padding (RFC 4648, section 4); white space may stand anywhere.
fn is_base64(text: &[u8]) -> bool {
    let (mut digits, mut padding) = (0_usize, 0_usize);
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => digits += 1,
            b'=' => padding += 1,
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => return false,
        }
    }
    digits > 0 && padding <= 2 && (digits + padding).is_multiple_of(4)
}

/// Takes `count` digits as a number of at most `max`.
fn digits(text: &str, count: usize, max: u32) -> Option<(u32, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    if !head.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    head.parse().ok().filter(|value| *value <= max).map(|value| (value, rest))
}

/// How much of a date is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Precision {
    Partial,
    Day,
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`, a day that exists; and what follows.
fn date(text: &str) -> Option<(Precision, &str)> {
    let (year, rest) = digits(text, 4, 9999).filter(|(year, _)| *year > 0)?;
    let Some(rest) = rest.strip_prefix('-') else { return Some((Precision::Partial, rest)) };
    let (month, rest) = digits(rest, 2, 12).filter(|(month, _)| *month > 0)?;
    let Some(rest) = rest.strip_prefix('-') else { return Some((Precision::Partial, rest)) };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (_, rest) = digits(rest, 2, last).filter(|(day, _)| *day > 0)?;
    Some((Precision::Day, rest))
}

/// `hh:mm:ss` with an optional fraction; and what follows.
fn time(text: &str) -> Option<&str> {
    let (_, rest) = digits(text, 2, 23)?;
    let (_, rest) = digits(rest.strip_prefix(':')?, 2, 59)?;
    // Second 60 is a leap second.
    let (_, rest) = digits(rest.strip_prefix(':')?, 2, 60)?;
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let end = fraction.bytes().take_while(u8::is_ascii_digit).count();
    (end > 0).then(|| &fraction[end..])
}

fn is_zone(text: &str) -> bool {
    let Some(offset) = text.strip_prefix(['+', '-']) else { return text == "Z" };
    let minutes = |rest: &str| digits(rest, 2, 59).is_some_and(|(_, rest)| rest.is_empty());
    match digits(offset, 2, 14) {
        Some((14, rest)) => rest == ":00",
        Some((_, rest)) => rest.strip_prefix(':').is_some_and(minutes),
        None => false,
    }
}

fn is_date_time(text: &str) -> bool {
    date(text).is_some_and(|(_, rest)| rest.is_empty()) || is_instant(text)
}

fn is_instant(text: &str) -> bool {
    match date(text) {
        Some((Precision::Day, rest)) => rest.strip_prefix('T').and_then(time).is_some_and(is_zone),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Primitive::{self, *};

    #[test]
    fn primitives_accept_what_r4_allows_and_nothing_else() {
        let rows: &[(Primitive, &[&str], &[&str])] = &[
            (
                Base64Binary,
                &["AA==", "AAA=", "AAAA", "AA\n==", "+/+/"],
                &["A", "AA=", "A===", "AA==AA==", "====", "AA_-"],
            ),
            (Code, &["a", "a b"], &[" a", "a ", "a  b", "a\tb"]),
            (
                Date,
                &["2020", "2020-02", "2020-02-29", "0001"],
                &[
                    "2021-02-29",
                    "0000",
                    "2020-2",
                    "2020-00",
                    "2020-01-32",
                    "02/29/2020",
                    "2020-02-29T00:00:00Z",
                    "+020",
                    "２０２０",
                ],
            ),
            (
                DateTime,
                &["2020", "2020-02-29T23:59:60Z", "2020-02-29T00:00:00.123+14:00"],
                &[
                    "2020-02-29T00:00:00",
                    "2020-02T00:00:00Z",
                    "2020-02-29T24:00:00Z",
                    "2020-02-29T00:00Z",
                    "2020-02-29T00:00:00+14:01",
                    "2020-02-29 00:00:00Z",
                    "2020-02-29T00:00:00.Z",
                    "2020-02-29T00:00:00z",
                ],
            ),
            (Id, &["a.B-9"], &["a_b", "a b", "é", &"a".repeat(65)]),
            (Instant, &["2020-02-29T00:00:00-05:30"], &["2020-02-29", "2020"]),
            (
                Integer,
                &["0", "-1", "2147483647", "-2147483648"],
                &["2147483648", "1.0", "1e3", "-0"],
            ),
            (PositiveInt, &["1"], &["0", "-1"]),
            (UnsignedInt, &["0"], &["-1"]),
            (
                Oid,
                &["urn:oid:1.2.840", "urn:oid:0.0"],
                &["urn:oid:3.1", "urn:oid:1", "urn:oid:1.", "urn:oid:1.02", "1.2"],
            ),
            (Time, &["00:00:00", "23:59:59.999"], &["24:00:00", "00:00", "00:00:00Z"]),
            (Uri, &["urn:x", "http://a/é"], &["a b"]),
            (
                Uuid,
                &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
                &[
                    "urn:uuid:C757873D-EC9A-4326-A141-556F43239520",
                    "c757873d-ec9a-4326-a141-556f43239520",
                ],
            ),
        ];
        for (primitive, good, bad) in rows {
            for text in *good {
                assert!(primitive.accepts(text), "{} {text}", primitive.name());
            }
            for text in *bad {
                assert!(!primitive.accepts(text), "{} {text}", primitive.name());
            }
        }
    }
}
