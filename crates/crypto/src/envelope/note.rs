//! Anything, sealed to a published key.

use zeroize::Zeroizing;

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError,
    hpke_box::{ENC_LEN, HpkeBox},
};

/// Longest text of a note, in bytes.
pub const MAX_NOTE_LEN: usize = (1 << 20) - 4;

const MIN_PADDED_LEN: usize = 1024;

/// Seals a text to a published key. `label` says what it is, `place` what it belongs to; both must be given again
/// to open it. Nobody signs a note: who needs to know the sender learns it from elsewhere.
///
/// # Errors
///
/// - [`Error::PayloadTooLong`] above [`MAX_NOTE_LEN`].
/// - [`Error::Randomness`].
pub fn seal_note(
    to: &IdentityPublic,
    label: &str,
    place: &[u8],
    text: Zeroizing<Vec<u8>>,
) -> Result<Vec<u8>, Error> {
    let len = u32::try_from(text.len())
        .ok()
        .filter(|_| text.len() <= MAX_NOTE_LEN)
        .ok_or(Error::PayloadTooLong { len: text.len() as u64, max: MAX_NOTE_LEN as u64 })?;
    let mut padded = Zeroizing::new(vec![0; padded_len(text.len())]);
    padded[..4].copy_from_slice(&len.to_be_bytes());
    padded[4..4 + text.len()].copy_from_slice(&text);
    let HpkeBox { enc, ciphertext } = HpkeBox::seal(to, &info(to, label, place), &[], &padded)?;
    Ok([enc.as_slice(), &ciphertext].concat())
}

/// The text that was sealed to this key under this label, for this place.
///
/// # Errors
///
/// [`OpenError`] for every cause.
pub fn open_note(
    key: &IdentityKey,
    label: &str,
    place: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (enc, ciphertext) = sealed.split_first_chunk::<ENC_LEN>().ok_or(OpenError)?;
    let sealed = HpkeBox { enc: *enc, ciphertext: ciphertext.to_vec() };
    if sealed.plaintext_len().is_none_or(|len| len > padded_len(MAX_NOTE_LEN)) {
        return Err(OpenError);
    }
    let padded = sealed.open(key, &info(key.public(), label, place), &[])?;
    let (len, rest) = padded.split_first_chunk().ok_or(OpenError)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| OpenError)?;
    let (text, padding) = rest.split_at_checked(len).ok_or(OpenError)?;
    let one_form = padding.iter().all(|byte| *byte == 0) && padded_len(len) == padded.len();
    if one_form { Ok(Zeroizing::new(text.to_vec())) } else { Err(OpenError) }
}

/// The label has a length in front, so that no other label and place give the same bytes.
fn info(to: &IdentityPublic, label: &str, place: &[u8]) -> Vec<u8> {
    let len = (label.len() as u64).to_be_bytes();
    let key = to.hash();
    [b"galen.note.v1".as_slice(), key.as_slice(), &len, label.as_bytes(), place].concat()
}

const fn padded_len(text: usize) -> usize {
    let len = (text + 4).next_power_of_two();
    if len < MIN_PADDED_LEN { MIN_PADDED_LEN } else { len }
}
