//! One block of sealed content, and reading whole blocks from a source.

use std::io::{ErrorKind, Read};

use crate::{
    DataKey, Error, OpenError,
    content::{CONTEXT_LEN, SealContext},
    primitives::{Gcm, TAG_LEN},
};

const AAD_LEN: usize = CONTEXT_LEN + 32 + 5;

/// The cipher of all blocks of one content.
pub(crate) struct BlockCipher {
    gcm: Gcm,
    nonce_prefix: [u8; 7],
    /// Context and header hash, with room for position and last flag.
    aad: [u8; AAD_LEN],
}

impl BlockCipher {
    pub(crate) fn new(context: &SealContext, header_hash: &[u8; 32], key: &DataKey) -> Self {
        let mut aad = [0; AAD_LEN];
        aad[..CONTEXT_LEN].copy_from_slice(&context.to_bytes());
        aad[CONTEXT_LEN..CONTEXT_LEN + 32].copy_from_slice(header_hash);
        Self {
            gcm: Gcm::new(&key.content_key(context)),
            nonce_prefix: key.nonce_prefix(context),
            aad,
        }
    }

    /// Encrypts a block in place and returns its tag.
    pub(crate) fn seal(&self, place: u32, last: bool, block: &mut [u8]) -> [u8; TAG_LEN] {
        let (nonce, aad) = self.inputs(place, last);
        self.gcm.seal(nonce, &aad, block)
    }

    /// Decrypts a block, which ends with its tag, in place. On failure the bytes mean nothing.
    pub(crate) fn open<'a>(
        &self,
        place: u32,
        last: bool,
        block: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        // An empty block would be a second text of the same payload.
        if block.len() <= TAG_LEN {
            return Err(OpenError);
        }
        let (nonce, aad) = self.inputs(place, last);
        self.gcm.open(nonce, &aad, block)
    }

    fn inputs(&self, place: u32, last: bool) -> ([u8; 12], [u8; AAD_LEN]) {
        let mut tail = [u8::from(last); 5];
        tail[..4].copy_from_slice(&place.to_be_bytes());
        let mut nonce = [0; 12];
        nonce[..7].copy_from_slice(&self.nonce_prefix);
        nonce[7..].copy_from_slice(&tail);
        let mut aad = self.aad;
        aad[AAD_LEN - 5..].copy_from_slice(&tail);
        (nonce, aad)
    }
}

/// Fills the buffer as far as the source goes; less than the buffer's length means that it ended.
pub(crate) fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
    Ok(filled)
}
