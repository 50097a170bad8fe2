//! Sealing: from payload to sealed bytes.

use std::io::{Read, Write};

use alloy_primitives::B256;
use galen_types::{LedgerId, RecordId, Salt, Segment};
use zeroize::Zeroizing;

use crate::{
    DataKey, Error, Header, IdentityPublic, SegmentPublic,
    content::{
        BLOCK_LEN, Committed, Layout, MediaType, SEALED_BLOCK_LEN, SealContext, commit, commitment,
        fingerprint::{Fingerprint, Fingerprinter},
        stream::{BlockCipher, read_full},
    },
    header::Wraps,
};

/// What to seal content with: its place, its kind and its recipients.
#[derive(Clone, Copy, Debug)]
pub struct SealRequest<'a> {
    /// The ledger that the record is anchored on.
    pub ledger: LedgerId,
    /// The record.
    pub record: RecordId,
    /// The epoch of `segment`'s key; written into the header.
    pub epoch: u32,
    /// The salt of the commitment: fresh for a new version, kept when resealing.
    pub salt: Salt,
    /// What the payload is.
    pub media_type: &'a MediaType,
    /// Seals to the patient's identity key.
    pub identity: Option<&'a IdentityPublic>,
    /// Seals to the readers of the record's segment.
    pub segment: Option<(Segment, &'a SegmentPublic)>,
}

/// Seals a payload from `source` to `sink` in constant memory; returns the sealed length in bytes.
///
/// This is the second pass: `committed` comes from [`commit`] over the same bytes, with the salt and
/// media type of the request. Each call draws a new data key.
///
/// # Errors
///
/// - [`Error::NoRecipient`]: the request names neither identity nor segment.
/// - [`Error::SourceChanged`]: the source is not what was committed to. What the sink got is worthless.
/// - [`Error::Read`], [`Error::Write`], [`Error::PayloadTooLong`], [`Error::Randomness`].
pub fn seal(
    request: &SealRequest<'_>,
    committed: &Committed,
    source: impl Read,
    sink: impl Write,
) -> Result<u64, Error> {
    seal_with_key(request, committed, source, sink).map(|(len, _)| len)
}

/// As [`seal`], and hands out the data key: who seals to others alone can open with it what was sealed, before
/// anybody relies on it.
///
/// # Errors
///
/// As [`seal`].
pub fn seal_with_key(
    request: &SealRequest<'_>,
    committed: &Committed,
    mut source: impl Read,
    mut sink: impl Write,
) -> Result<(u64, DataKey), Error> {
    let Committed { sha256, len, fingerprint, .. } = *committed;
    if commitment(request.salt, sha256, len, request.media_type) != committed.commitment {
        return Err(Error::SourceChanged);
    }
    let layout = Layout::new(request.salt, request.media_type.clone(), len)?;
    let (header, cipher, key) = start(request, committed)?;
    sink.write_all(&header.to_bytes()).map_err(Error::Write)?;

    let mut plaintext = PlaintextReader::new(&layout, &mut source)?;
    let mut buffer = Zeroizing::new(vec![0; SEALED_BLOCK_LEN]);
    let mut left = layout.plaintext_len();
    let mut place = 0;
    while left > 0 {
        let len = block_len(left);
        left -= len as u64;
        let (block, rest) = buffer.split_at_mut(len);
        plaintext.fill(block)?;
        let tag = cipher.seal(place, left == 0, block);
        rest[..tag.len()].copy_from_slice(&tag);
        sink.write_all(&buffer[..len + tag.len()]).map_err(Error::Write)?;
        place += 1;
    }
    plaintext.finish(sha256, fingerprint)?;
    Ok((layout.sealed_len(), key))
}

/// Commits to a payload in memory and seals it.
///
/// # Errors
///
/// As [`seal`].
pub fn seal_bytes(
    request: &SealRequest<'_>,
    payload: &[u8],
) -> Result<(Committed, Vec<u8>), Error> {
    let committed = commit(payload, request.salt, request.media_type)?;
    let mut sealed = Vec::new();
    seal(request, &committed, payload, &mut sealed)?;
    Ok((committed, sealed))
}

/// A new data key, wrapped to the recipients, and the cipher under it.
fn start(
    request: &SealRequest<'_>,
    committed: &Committed,
) -> Result<(Header, BlockCipher, DataKey), Error> {
    let context = SealContext {
        ledger: request.ledger,
        record: request.record,
        commitment: committed.commitment,
    };
    let key = DataKey::generate()?;
    let wraps = Wraps::seal(&context, request.epoch, request.identity, request.segment, &key)?;
    let header = Header::new(request.epoch, key.commitment(&context), wraps);
    let cipher = BlockCipher::new(&context, &header.hash(), &key);
    Ok((header, cipher, key))
}

/// Length of the next block when `left` bytes of plaintext are to come.
fn block_len(left: u64) -> usize {
    usize::try_from(left).map_or(BLOCK_LEN, |left| left.min(BLOCK_LEN))
}

/// Preamble, payload and padding as one stream. Takes the payload's fingerprint on the way.
struct PlaintextReader<'a, R> {
    preamble: Zeroizing<Vec<u8>>,
    preamble_done: usize,
    source: &'a mut R,
    payload_left: u64,
    fingerprint: Fingerprinter,
}

impl<'a, R: Read> PlaintextReader<'a, R> {
    fn new(layout: &Layout, source: &'a mut R) -> Result<Self, Error> {
        Ok(Self {
            preamble: layout.preamble(),
            preamble_done: 0,
            source,
            payload_left: layout.payload_len(),
            fingerprint: Fingerprinter::new()?,
        })
    }

    /// The next bytes of the stream.
    fn fill(&mut self, block: &mut [u8]) -> Result<(), Error> {
        let preamble = &self.preamble[self.preamble_done..];
        let (head, block) = block.split_at_mut(preamble.len().min(block.len()));
        head.copy_from_slice(&preamble[..head.len()]);
        self.preamble_done += head.len();

        let payload_len =
            usize::try_from(self.payload_left).map_or(block.len(), |left| left.min(block.len()));
        let (payload, padding) = block.split_at_mut(payload_len);
        if read_full(self.source, payload)? < payload.len() {
            return Err(Error::SourceChanged);
        }
        self.fingerprint.update(payload);
        self.payload_left -= payload.len() as u64;
        padding.fill(0);
        Ok(())
    }

    /// The source must have ended and must have been what was committed to.
    fn finish(self, sha256: B256, expected: Fingerprint) -> Result<(), Error> {
        let ended = read_full(self.source, &mut [0])? == 0;
        let same = ended && self.fingerprint.finish(sha256) == expected;
        if same { Ok(()) } else { Err(Error::SourceChanged) }
    }
}
