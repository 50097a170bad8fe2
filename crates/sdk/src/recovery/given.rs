//! What passes between guardians and who lost their keys, after the recovery.
//!
//! ```text
//! request = { 0: 1, 1: chain id, 2: contract (20), 3: id (20), 4: recipient key (1,216), 5: deadline, 6: signature }
//! piece   = { 0: 1, 1: chain id, 2: contract (20), 3: id (20), 4: holder (20), 5: half, 6: digest of the request,
//!             7: note }
//! ```
//!
//! Deterministic CBOR (RFC 8949, section 4.2.1). The note is the text of a piece envelope, sealed to the recipient key
//! under the label `galen.guardian.piece.v1` (half 0) or `galen.proxy.piece.v1` (half 1), with the digest of the
//! request as its place. Nobody signs a piece: whether it is right shows when the seed is put together.

use alloy_primitives::{Address, B256, Bytes};
use galen_types::LedgerId;
use minicbor::{Decoder, decode};

use crate::{
    Error, cbor,
    proxies::wire::PieceAsk,
    recovery::{GUARDIANS_HALF, PROXIES_HALF},
};

/// Most bytes of an encoded piece, or of a request for pieces.
pub const MAX_GIVEN_LEN: usize = 32_768;

const FORMAT: u8 = 1;

/// A piece of a seed on its way to who took the id over, sealed to their new key.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenPiece {
    /// The ledger that the id is on.
    pub ledger: LedgerId,
    /// Whose seed it is.
    pub id: Address,
    /// The guardian or proxy that gives it.
    pub holder: Address,
    /// 0 from a guardian, 1 from a proxy.
    pub half: u8,
    /// Digest of the request that it answers.
    pub request: B256,
    /// The note.
    pub sealed: Vec<u8>,
}

impl GivenPiece {
    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(|writer| {
            writer.map(8)?.u8(0)?.u8(FORMAT)?.u8(1)?.u64(self.ledger.chain_id)?;
            writer.u8(2)?.bytes(self.ledger.contract.as_slice())?;
            writer.u8(3)?.bytes(self.id.as_slice())?.u8(4)?.bytes(self.holder.as_slice())?;
            writer.u8(5)?.u8(self.half)?.u8(6)?.bytes(self.request.as_slice())?;
            writer.u8(7)?.bytes(&self.sealed)?.ok()
        })
    }

    /// Reads what [`GivenPiece::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] (malformed).
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        cbor::decode("piece", bytes, MAX_GIVEN_LEN, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        cbor::exactly(reader.map()?, 8)?;
        let (ledger, id) = read_place(reader)?;
        cbor::key(reader, 4)?;
        let holder = cbor::bytes(reader)?.into();
        cbor::key(reader, 5)?;
        let half = reader.u8()?;
        if ![GUARDIANS_HALF, PROXIES_HALF].contains(&half) {
            return Err(decode::Error::message("half"));
        }
        cbor::key(reader, 6)?;
        let request = B256::new(cbor::bytes(reader)?);
        cbor::key(reader, 7)?;
        Ok(Self { ledger, id, holder, half, request, sealed: reader.bytes()?.to_vec() })
    }
}

impl std::fmt::Debug for GivenPiece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GivenPiece({:#x} by {:#x}, half {})", self.id, self.holder, self.half)
    }
}

/// A request for pieces on its way to guardians.
pub fn encode_piece_ask(ledger: LedgerId, ask: &PieceAsk) -> Vec<u8> {
    cbor::encode(|writer| {
        writer.map(7)?.u8(0)?.u8(FORMAT)?.u8(1)?.u64(ledger.chain_id)?;
        writer.u8(2)?.bytes(ledger.contract.as_slice())?.u8(3)?.bytes(ask.id.as_slice())?;
        writer.u8(4)?.bytes(&ask.recipient)?.u8(5)?.u64(ask.deadline)?;
        writer.u8(6)?.bytes(&ask.signature)?.ok()
    })
}

/// Reads what [`encode_piece_ask`] writes and nothing else.
///
/// # Errors
///
/// [`Error::Crypto`] (malformed).
pub fn decode_piece_ask(bytes: &[u8]) -> Result<(LedgerId, PieceAsk), Error> {
    let encode = |(ledger, ask): &(LedgerId, PieceAsk)| encode_piece_ask(*ledger, ask);
    cbor::decode("request for pieces", bytes, MAX_GIVEN_LEN, read_ask, encode)
}

fn read_ask(reader: &mut Decoder<'_>) -> Result<(LedgerId, PieceAsk), decode::Error> {
    cbor::exactly(reader.map()?, 7)?;
    let (ledger, id) = read_place(reader)?;
    cbor::key(reader, 4)?;
    let recipient = Bytes::copy_from_slice(reader.bytes()?);
    cbor::key(reader, 5)?;
    let deadline = reader.u64()?;
    cbor::key(reader, 6)?;
    let signature = Bytes::copy_from_slice(reader.bytes()?);
    Ok((ledger, PieceAsk { id, recipient, deadline, signature }))
}

fn read_place(reader: &mut Decoder<'_>) -> Result<(LedgerId, Address), decode::Error> {
    cbor::key(reader, 0)?;
    cbor::key(reader, FORMAT)?;
    cbor::key(reader, 1)?;
    let chain_id = reader.u64()?;
    cbor::key(reader, 2)?;
    let ledger = LedgerId { chain_id, contract: cbor::bytes(reader)?.into() };
    cbor::key(reader, 3)?;
    Ok((ledger, cbor::bytes(reader)?.into()))
}
