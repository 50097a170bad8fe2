//! The document that the shown parts make, from their paths alone.

use std::cmp::Ordering;

use alloy_primitives::{B256, hex};
use galen_types::Plaintext;

use super::{PartsError, ShownElement};
use crate::{MAX_DEPTH, json::Lexer};

/// Bytes of a path: [`MAX_DEPTH`] levels, the longest names of R4.
const MAX_PATH_LEN: usize = 4_096;

/// Digits of an ordinal.
const ORDINAL_DIGITS: usize = 20;

/// What is wrong is told by the element's index, which the caller knows.
#[derive(Debug)]
pub(super) struct Malformed;

/// Checks that each fragment is a path and one JSON value without white space around it.
pub(super) fn check_fragments(element: &ShownElement) -> Result<(), Malformed> {
    if element.fragments.is_empty() {
        return Err(Malformed);
    }
    for (path, value) in &element.fragments {
        let levels = path.split('/').count();
        if path.len() > MAX_PATH_LEN || levels > MAX_DEPTH {
            return Err(Malformed);
        }
        if is_ordinal(path.split('/').next().unwrap_or_default()) {
            return Err(Malformed);
        }
        if !path.split('/').all(|segment| is_ordinal(segment) || is_name(segment)) {
            return Err(Malformed);
        }
        let trimmed = value.trim_ascii().len() == value.len();
        let mut lexer = Lexer { bytes: value.as_bytes(), pos: 0 };
        if !trimmed || lexer.skip(levels).is_err() || lexer.pos != value.len() {
            return Err(Malformed);
        }
    }
    Ok(())
}

/// The hash of the whole document, in the only form that its element has.
pub(super) fn document_hash(element: &ShownElement) -> Result<B256, Malformed> {
    let [(path, value)] = &element.fragments[..] else { return Err(Malformed) };
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let digits = digits.filter(|digits| digits.len() == 64 && path.is_empty());
    let lower = |digits: &&str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let bytes = digits.filter(lower).and_then(|digits| hex::decode(digits).ok());
    bytes.and_then(|bytes| B256::try_from(&bytes[..]).ok()).ok_or(Malformed)
}

/// Puts the fragments together: objects in the order of their names, `resourceType` first, and arrays in the
/// order of their ordinals. Compact; each value byte for byte.
pub(super) fn build(elements: &[ShownElement]) -> Result<Plaintext, PartsError> {
    let all = elements.iter().flat_map(|element| &element.fragments);
    let mut fragments: Vec<(&str, &str)> = all
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, value)| (path.as_str(), value.as_str()))
        .collect();
    if fragments.is_empty() {
        return Err(PartsError::NothingShown);
    }
    fragments.sort_unstable_by(|(a, _), (b, _)| compare(a, b));
    let mut writer = Writer { out: Vec::with_capacity(capacity(&fragments)), open: Vec::new() };
    let mut before: Vec<&str> = Vec::new();
    for (path, value) in fragments {
        let segments: Vec<&str> = path.split('/').collect();
        let common = segments.iter().zip(&before).take_while(|(a, b)| a == b).count();
        if common == before.len() && !before.is_empty() || common == segments.len() {
            return Err(PartsError::Conflict);
        }
        writer.fragment(&segments, common, value)?;
        before = segments;
    }
    writer.close(0);
    Ok(Plaintext::new(writer.out))
}

/// Writes one JSON text from the front to the back.
struct Writer {
    /// Reserved at once: a growing vector would leave copies of health data behind.
    out: Vec<u8>,
    /// Whether each open container is an array, the root first.
    open: Vec<bool>,
}

impl Writer {
    /// A value whose first `common` segments are those of the one before.
    fn fragment(
        &mut self,
        segments: &[&str],
        common: usize,
        value: &str,
    ) -> Result<(), PartsError> {
        self.close(common + 1);
        for (level, segment) in segments.iter().enumerate().skip(common) {
            let array = is_ordinal(segment);
            match self.open.get(level) {
                None => {
                    self.out.push(if array { b'[' } else { b'{' });
                    self.open.push(array);
                }
                Some(open) if *open == array => self.out.push(b','),
                Some(_) => return Err(PartsError::Conflict),
            }
            if !array {
                self.out.push(b'"');
                self.out.extend_from_slice(segment.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
        }
        self.out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// Closes containers until `levels` are open.
    fn close(&mut self, levels: usize) {
        while self.open.len() > levels {
            let array = self.open.pop().unwrap_or_default();
            self.out.push(if array { b']' } else { b'}' });
        }
    }
}

/// No view is longer: each segment brings itself, quotes, colon, comma and two brackets.
fn capacity(fragments: &[(&str, &str)]) -> usize {
    fragments
        .iter()
        .map(|(path, value)| value.len() + path.len() + 6 * (1 + path.matches('/').count()))
        .sum()
}

/// Level by level: `resourceType`, then names, each before its `_` sibling; ordinals ascend.
fn compare(a: &str, b: &str) -> Ordering {
    fn rank(segment: &str) -> (u8, &str, bool) {
        match segment {
            "resourceType" => (0, "", false),
            _ => segment.strip_prefix('_').map_or((1, segment, false), |name| (1, name, true)),
        }
    }
    a.split('/').map(rank).cmp(b.split('/').map(rank))
}

fn is_ordinal(segment: &str) -> bool {
    let digits = segment.strip_prefix('~').filter(|digits| digits.len() == ORDINAL_DIGITS);
    digits.is_some_and(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_name(segment: &str) -> bool {
    let name = segment.strip_prefix('_').unwrap_or(segment);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
