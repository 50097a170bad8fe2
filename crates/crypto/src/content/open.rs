//! Opening: from sealed bytes to a payload that is what was committed to.

use std::{
    fmt,
    io::{Read, Write},
};

use alloy_primitives::B256;
use galen_types::{Plaintext, Salt};
use zeroize::Zeroizing;

use crate::{
    DataKey, Error, HEADER_LEN, Header, IdentityKey, OpenError, SegmentKey,
    content::{
        BLOCK_LEN, Committed, Layout, MediaType, SEALED_BLOCK_LEN, SealContext, commitment,
        fingerprint::Fingerprinter,
        stream::{BlockCipher, read_full},
    },
    primitives::{Sha256Stream, TAG_LEN},
};

/// What a reader holds.
#[derive(Clone, Copy, Debug)]
pub enum OpenKey<'a> {
    /// The patient's identity key.
    Identity(&'a IdentityKey),
    /// The key of the record's segment and of the header's epoch.
    Segment(&'a SegmentKey),
    /// The data key itself, for example from proxies.
    Data(&'a DataKey),
}

/// What is known of content that was opened whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the payload is.
    pub media_type: MediaType,
    /// The salt of the commitment; resealing needs it.
    pub salt: Salt,
    /// What the payload was found to commit to; equals the context's commitment.
    pub committed: Committed,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Salt and hash would let a guess of the payload be checked against the chain.
        write!(f, "Manifest({}, {} bytes)", self.media_type, self.committed.len)
    }
}

/// Content that was opened whole in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What the payload is.
    pub media_type: MediaType,
    /// The payload.
    pub payload: Plaintext,
    /// The salt of the commitment; resealing needs it.
    pub salt: Salt,
    /// SHA-256 of the payload, as private as the payload.
    pub sha256: B256,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({}, {:?})", self.media_type, self.payload)
    }
}

/// Opens sealed content in memory. Nothing is returned unless everything is right.
///
/// # Errors
///
/// [`OpenError`] for every cause.
pub fn open(sealed: &[u8], context: SealContext, key: OpenKey<'_>) -> Result<Opened, OpenError> {
    let opener = Opener::new(&Header::parse(sealed)?, context, key)?;
    let body = &sealed[HEADER_LEN..];
    // Room for all of it, so that no copy stays behind when a vector grows.
    let mut payload = Zeroizing::new(Vec::with_capacity(body.len()));
    let manifest = opener.open_to(body, &mut *payload).map_err(|_| OpenError)?;
    let Manifest { media_type, salt, committed } = manifest;
    let payload = Plaintext::new(std::mem::take(&mut *payload));
    Ok(Opened { media_type, payload, salt, sha256: committed.sha256 })
}

/// The cipher of one sealed content, for a reader who holds a key to it.
pub struct Opener {
    context: SealContext,
    pub(super) cipher: BlockCipher,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Opener {
    /// Unwraps the data key and compares it with the header's key commitment.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn new(header: &Header, context: SealContext, key: OpenKey<'_>) -> Result<Self, OpenError> {
        let key = match key {
            OpenKey::Identity(key) => header.unwrap_identity(&context, key)?,
            OpenKey::Segment(key) => header.unwrap_segment(&context, key)?,
            OpenKey::Data(key) => {
                header.check_key(&context, key)?;
                key.clone()
            }
        };
        Ok(Self { context, cipher: BlockCipher::new(&context, &header.hash(), &key) })
    }

    /// Opens the body, which is everything after the header, in constant memory.
    ///
    /// The payload bytes of a block are written once that block is verified, those of the last block
    /// once everything is; never a byte of a bad block. Only `Ok` says that the payload is complete and is what was committed to: on an error the
    /// caller throws away what the sink got.
    ///
    /// # Errors
    ///
    /// - [`Error::Open`]: for every cause in the bytes, a missing or spare byte too.
    /// - [`Error::Read`], [`Error::Write`]: the caller's source or sink failed.
    /// - [`Error::Randomness`] if the operating system gives none.
    pub fn open_to(&self, mut source: impl Read, mut sink: impl Write) -> Result<Manifest, Error> {
        let mut this = Zeroizing::new(vec![0; SEALED_BLOCK_LEN]);
        // Grows once a second block is there; most records have one.
        let mut next = Zeroizing::new(Vec::new());
        let mut unpacker = Unpacker::new()?;
        let mut place = 0;
        let mut len = read_full(&mut source, &mut this)?;
        loop {
            // Whether a full block is the last one shows in what follows it.
            let mut next_len = 0;
            if len == SEALED_BLOCK_LEN {
                next.resize(SEALED_BLOCK_LEN, 0);
                next_len = read_full(&mut source, &mut next)?;
            }
            let last = next_len == 0;
            let plaintext = self.cipher.open(place, last, &mut this[..len])?;
            let payload = unpacker.unpack(plaintext)?;
            if last {
                // The verdict comes first, so that content of one block is all or nothing.
                let manifest = unpacker.finish(&self.context)?;
                sink.write_all(payload).map_err(Error::Write)?;
                return Ok(manifest);
            }
            sink.write_all(payload).map_err(Error::Write)?;
            std::mem::swap(&mut this, &mut next);
            len = next_len;
            place = u32::checked_add(place, 1).ok_or(OpenError)?;
        }
    }

    /// Opens block 0 and reads the preamble. `block` is the sealed block, tag included.
    pub(super) fn first_block(&self, block: &[u8]) -> Result<Layout, OpenError> {
        if block.len() > SEALED_BLOCK_LEN {
            return Err(OpenError);
        }
        let layout = self.open_copy(0, false, block).or_else(|_| self.open_copy(0, true, block));
        let plaintext = layout?;
        let layout = Layout::parse(&plaintext)?;
        let expected = layout.plaintext_len().min(BLOCK_LEN as u64);
        let same = plaintext.len() as u64 == expected;
        if same { Ok(layout) } else { Err(OpenError) }
    }

    /// Opens one block without changing what the caller holds.
    pub(super) fn open_copy(
        &self,
        place: u32,
        last: bool,
        block: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut copy = Zeroizing::new(block.to_vec());
        let len = self.cipher.open(place, last, &mut copy)?.len();
        copy.truncate(len);
        Ok(copy)
    }
}

/// Takes the payload out of the plaintext of blocks and checks everything around it.
struct Unpacker {
    layout: Option<Layout>,
    /// Plaintext bytes seen so far.
    seen: u64,
    hash: Sha256Stream,
    fingerprint: Fingerprinter,
}

impl Unpacker {
    fn new() -> Result<Self, Error> {
        let (hash, fingerprint) = (Sha256Stream::new(), Fingerprinter::new()?);
        Ok(Self { layout: None, seen: 0, hash, fingerprint })
    }

    /// The payload's part of the next block.
    fn unpack<'a>(&mut self, plaintext: &'a [u8]) -> Result<&'a [u8], OpenError> {
        if self.layout.is_none() {
            self.layout = Some(Layout::parse(plaintext)?);
        }
        let layout = self.layout.as_ref().ok_or(OpenError)?;
        let start = self.seen;
        let end = start + plaintext.len() as u64;
        if end > layout.plaintext_len() {
            return Err(OpenError);
        }
        self.seen = end;

        let payload_start = layout.preamble_len();
        let payload_end = payload_start + layout.payload_len();
        let within = |at: u64| usize::try_from(at.clamp(start, end) - start).map_err(|_| OpenError);
        let payload = &plaintext[within(payload_start)?..within(payload_end)?];
        if plaintext[within(payload_end)?..].iter().any(|byte| *byte != 0) {
            return Err(OpenError);
        }
        self.hash.update(payload);
        self.fingerprint.update(payload);
        Ok(payload)
    }

    /// After the last block.
    fn finish(self, context: &SealContext) -> Result<Manifest, OpenError> {
        let layout = self.layout.ok_or(OpenError)?;
        let sha256 = B256::new(self.hash.finish());
        let (salt, len) = (layout.salt(), layout.payload_len());
        let found = commitment(salt, sha256, len, layout.media_type());
        if self.seen != layout.plaintext_len() || found != context.commitment {
            return Err(OpenError);
        }
        let fingerprint = self.fingerprint.finish(sha256);
        let committed = Committed { commitment: found, sha256, len, fingerprint };
        Ok(Manifest { media_type: layout.media_type().clone(), salt, committed })
    }
}

/// Tag bytes of a block, as a length in sealed bytes.
pub(super) const TAG: u64 = TAG_LEN as u64;
