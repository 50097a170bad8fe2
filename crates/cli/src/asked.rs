//! What people ask for, held against what there is: shortened ids, numbers of documents, roles.

use std::fmt;

use alloy_primitives::B256;
use galen_types::{ErrorKind, Purpose};

/// Fewest hex digits of a shortened id. Fewer would soon fit something else.
const MIN_DIGITS: usize = 8;

/// What was asked for does not fit what there is. Holds ids, numbers and paths; never health data.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Not an id or the start of one.
    #[error("not the id of a {what}: {text}")]
    NotAnId { what: &'static str, text: String },
    /// No id starts so.
    #[error("no {what} {text}")]
    NoSuch { what: &'static str, text: String },
    /// Several ids start so.
    #[error("{count} {what}s start with {text}")]
    Ambiguous { what: &'static str, text: String, count: usize },
    /// A proposal has no document with this number.
    #[error("the proposal has no document {index}: it has {count}, counted from 0")]
    NoDocument { index: usize, count: usize },
    /// The profile has another role.
    #[error("this profile is for {is}, the command for {needs}")]
    Role { needs: &'static str, is: &'static str },
    /// A purpose is needed to read under a grant.
    #[error("a record of somebody else is read for a purpose")]
    NoPurpose,
    /// No grant covers what was asked for.
    #[error("no grant covers the record")]
    NotGranted,
    /// Nothing is open to every organization.
    #[error("the proxies show nothing of this patient that is open to every organization")]
    NothingOpen,
    /// Nobody is asked.
    #[error("no proxy is named, and you know none")]
    NoProxy,
    /// What was not logged is not opened.
    #[error("no read of these records was logged within the last hour")]
    NotLogged,
    /// The grants are for other purposes.
    #[error("nothing is granted for the purpose {purpose}")]
    OtherPurpose { purpose: Purpose },
    /// An end before the start, or a start in the past.
    #[error("{0}")]
    Time(&'static str),
    /// There is nothing to do it with.
    #[error("{0}")]
    Nothing(&'static str),
    /// A policy that nobody could fulfil, or with somebody in it who may not be.
    #[error("{0}")]
    Policy(&'static str),
    /// Somebody must sign first.
    #[error("the proposal {proposal} needs cosigners, and their sheet was not given")]
    NoSheet { proposal: String },
    /// One document is needed.
    #[error("{count} documents, where one is needed")]
    Several { count: usize },
    /// Bytes that are not text would go to a terminal.
    #[error("the document is not text")]
    NotText,
    /// A folder holds more than is taken at once.
    #[error("more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    /// A document was found not to be what it says, and would have been accepted.
    #[error("{count} of the proposed documents are not what they say")]
    Misproposed { count: usize },
}

impl AskError {
    /// What the caller can do about it.
    pub(crate) const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnId { .. }
            | Self::Ambiguous { .. }
            | Self::NoDocument { .. }
            | Self::Role { .. }
            | Self::NoPurpose
            | Self::NoProxy
            | Self::Time(_)
            | Self::Policy(_)
            | Self::Several { .. }
            | Self::NotText
            | Self::TooMany { .. } => ErrorKind::Invalid,
            Self::NoSuch { .. } | Self::Nothing(_) | Self::NotLogged => ErrorKind::NotFound,
            Self::NotGranted
            | Self::NothingOpen
            | Self::OtherPurpose { .. }
            | Self::NoSheet { .. } => ErrorKind::Denied,
            Self::Misproposed { .. } => ErrorKind::Integrity,
        }
    }

    /// One line that says what to do.
    pub(crate) const fn help(&self) -> &'static str {
        match self {
            Self::NotAnId { .. } => "give 0x and 8 to 64 hex digits, as the lists show them",
            Self::NoSuch { .. } => "look it up in the list; it may belong to another profile",
            Self::Ambiguous { .. } => "give more digits",
            Self::NoDocument { .. } => "`galen record show` lists the documents with their numbers",
            Self::Role { .. } => "choose another profile with --profile",
            Self::NoPurpose => "say why you read it, for example --purpose TREAT",
            Self::NotGranted => {
                "ask the patient for consent; `galen grant list` shows what you have"
            }
            Self::NothingOpen => {
                "only active organizations of the network are shown it; ask another proxy of the patient with \
                 --proxy, or ask the patient for consent"
            }
            Self::NoProxy => {
                "name one of the patient's with --proxy, or add it with `galen proxy add`"
            }
            Self::NotLogged => "leave --logged out: the reads are logged, then opened",
            Self::OtherPurpose { .. } => {
                "`galen grant list` shows the purposes; for another one ask the patient for consent"
            }
            Self::Time(_) => "check --from, --until and --for; times are UTC",
            Self::Nothing(_) => "see the help of the command for what it takes",
            Self::Policy(_) => "name each cosigner once, and a threshold they can reach",
            Self::NoSheet { .. } => {
                "ask the author for the cosigners' sheet, and give it with --cosignature"
            }
            Self::Several { .. } => "choose one with --only, or give one document of one category",
            Self::NotText => "write it to a file with --out",
            Self::TooMany { .. } => "split the work",
            Self::Misproposed { .. } => {
                "reject them, or accept the others with --only; then ask the author"
            }
        }
    }
}

/// The one id that starts with `text`.
///
/// # Errors
///
/// [`AskError::NotAnId`], [`AskError::NoSuch`], [`AskError::Ambiguous`].
pub(crate) fn pick<T>(
    what: &'static str,
    text: &str,
    ids: impl IntoIterator<Item = T>,
) -> Result<T, AskError>
where
    T: Copy + PartialEq + Into<B256>,
{
    let digits = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
    let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex || !(MIN_DIGITS..=64).contains(&digits.len()) {
        return Err(AskError::NotAnId { what, text: shortened(text) });
    }
    let mut found: Vec<T> = Vec::new();
    for id in ids {
        let word: B256 = id.into();
        if hex::encode(word).starts_with(&digits) && !found.contains(&id) {
            found.push(id);
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(AskError::NoSuch { what, text: shortened(text) }),
        many => Err(AskError::Ambiguous { what, text: shortened(text), count: many.len() }),
    }
}

/// Numbers of documents, each once and in order; all of them if none was named.
pub(crate) fn documents(only: &[usize], count: usize) -> Result<Vec<usize>, AskError> {
    if let Some(index) = only.iter().copied().find(|index| *index >= count) {
        return Err(AskError::NoDocument { index, count });
    }
    let mut chosen = if only.is_empty() { (0..count).collect() } else { only.to_vec() };
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// What somebody typed, made fit for an error: short, and nothing in it that a terminal obeys.
fn shortened(text: &str) -> String {
    crate::table::cell(&text.chars().take(80).collect::<String>())
}

/// Wraps ids that are shown shortened.
pub(crate) struct Short(pub(crate) B256);

impl fmt::Display for Short {
    /// As many digits as [`pick`] needs, and two more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", &hex::encode(self.0)[..MIN_DIGITS + 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pick_takes_a_start_that_fits_one_id() {
        let ids = [B256::repeat_byte(0x11), B256::repeat_byte(0x22), {
            let mut other = B256::repeat_byte(0x11);
            other.0[31] = 0;
            other
        }];
        let full = format!("{:#x}", ids[0]);
        for (text, expected) in [
            (full.as_str(), Ok(ids[0])),
            ("0x22222222", Ok(ids[1])),
            ("22222222", Ok(ids[1])),
            ("0X22222222", Err("not the id")),
            ("0x2222222", Err("not the id")),
            ("0x33333333", Err("no record")),
            ("0x11111111", Err("2 records start")),
            ("0x2222222g", Err("not the id")),
            ("", Err("not the id")),
            (
                "0x22222222222222222222222222222222222222222222222222222222222222222",
                Err("not the id"),
            ),
            ("\u{1b}[31mred", Err("not the id of a record: \u{fffd}[31mred")),
        ] {
            match (pick("record", text, ids), expected) {
                (Ok(id), Ok(expected)) => assert_eq!(id, expected, "{text}"),
                (Err(error), Err(start)) => {
                    assert!(error.to_string().starts_with(start), "{text}: {error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        assert!(pick("record", "0x22222222", [ids[1], ids[1]]).is_ok(), "the same id twice is one");
    }

    #[test]
    fn documents_are_within_the_proposal() {
        assert_eq!(documents(&[], 3).ok(), Some(vec![0, 1, 2]));
        assert_eq!(documents(&[2, 0, 2], 3).ok(), Some(vec![0, 2]));
        assert!(documents(&[3], 3).is_err());
    }
}
