//! A second implementation of sealing, from the documentation, that also makes what no honest author
//! would: any header text, any block, any flag.

use alloy_primitives::keccak256;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use galen_crypto::{DataKey, SealContext};
use galen_types::Commitment;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

pub(crate) const DATA_KEY: [u8; 32] = [0x66; 32];
pub(crate) const SALT: [u8; 32] = [0x55; 32];
pub(crate) const MEDIA_TYPE: &str = "text/plain";

pub(crate) fn data_key() -> DataKey {
    DataKey::from_bytes(DATA_KEY)
}

pub(crate) fn commitment(payload: &[u8]) -> Commitment {
    let parts = [
        &keccak256("galen.commitment.v1")[..],
        &SALT,
        &Sha256::digest(payload),
        &(payload.len() as u64).to_be_bytes(),
        MEDIA_TYPE.as_bytes(),
    ];
    Commitment(keccak256(parts.concat()))
}

fn derive<const N: usize>(label: &str, context: &SealContext) -> [u8; N] {
    let mut out = [0; N];
    let info = [label.as_bytes(), &context.to_bytes()].concat();
    Hkdf::<Sha256>::new(None, &DATA_KEY).expand(&info, &mut out).unwrap();
    out
}

pub(crate) fn key_commitment(context: &SealContext) -> [u8; 32] {
    derive("galen.seal.commit.v1", context)
}

/// A header text with an identity wrap of zero bytes, which opens nothing.
pub(crate) fn header_text(context: &SealContext) -> Vec<u8> {
    let mut text = vec![0xa4, 0, 1, 1, 7, 2, 0x58, 32];
    text.extend(key_commitment(context));
    text.extend([3, 0x81]);
    text.extend(identity_wrap());
    text
}

pub(crate) fn identity_wrap() -> Vec<u8> {
    let mut wrap = vec![0x83, 0, 0x59, 0x04, 0x60];
    wrap.extend([0; 1120]);
    wrap.extend([0x58, 48]);
    wrap.extend([0; 48]);
    wrap
}

pub(crate) fn preamble(payload_len: u64, media_type: &str) -> Vec<u8> {
    let mut bytes = SALT.to_vec();
    bytes.extend(payload_len.to_be_bytes());
    bytes.push(media_type.len() as u8);
    bytes.extend(media_type.as_bytes());
    bytes
}

/// Preamble, payload and padding as an honest author writes them.
pub(crate) fn plaintext(payload: &[u8]) -> Vec<u8> {
    let mut text = preamble(payload.len() as u64, MEDIA_TYPE);
    text.extend(payload);
    let exponent = text.len().ilog2();
    let unit = 1 << (exponent - exponent.ilog2() - 1);
    text.resize(text.len().div_ceil(unit) * unit, 0);
    text
}

/// Splits a plaintext into blocks with their last flags.
pub(crate) fn blocks(plaintext: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let count = plaintext.len().div_ceil(65_520);
    let flagged = plaintext.chunks(65_520).enumerate();
    flagged.map(|(place, block)| (block.to_vec(), place + 1 == count)).collect()
}

/// Header and blocks, each block at its place in the list.
pub(crate) fn seal(context: &SealContext, text: &[u8], blocks: &[(Vec<u8>, bool)]) -> Vec<u8> {
    let mut sealed = text.to_vec();
    sealed.resize(4096, 0);
    let header_hash = Sha256::digest(&sealed);
    let key = UnboundKey::new(&AES_256_GCM, &derive::<32>("galen.seal.key.v1", context)).unwrap();
    let key = LessSafeKey::new(key);
    let prefix = derive::<7>("galen.seal.nonce.v1", context);
    for (place, (block, last)) in blocks.iter().enumerate() {
        let tail = [&(place as u32).to_be_bytes()[..], &[u8::from(*last)]].concat();
        let nonce = [&prefix[..], &tail].concat();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let aad = [&context.to_bytes()[..], &header_hash, &tail].concat();
        let mut block = block.clone();
        key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut block).unwrap();
        sealed.extend(block);
    }
    sealed
}

pub(crate) fn honest(context: &SealContext, payload: &[u8]) -> Vec<u8> {
    seal(context, &header_text(context), &blocks(&plaintext(payload)))
}
