//! The published public keys of one id.
//!
//! Deterministic CBOR (RFC 8949, section 4.2.1), at most [`MAX_KEY_BUNDLE_LEN`] bytes:
//!
//! ```text
//! { 0: 1,                                        format
//!   1: id,                                       byte string, 20
//!   2: epoch,                                    of all segment keys; unsigned, below 2^32
//!   3: identity public key,                      byte string, 1216
//!   4: [ [segment, point (32), kem (1216)], … ] }  ascending by segment, possibly empty
//! ```
//!
//! Points that are the identity or not canonical, and ML-KEM keys with a coefficient that is not
//! reduced, are refused. The chain names a bundle by keccak256 of these bytes.

use std::collections::BTreeMap;

use alloy_primitives::{Address, keccak256};
use galen_types::{KeyBundleId, Segment};
use minicbor::Decoder;

use crate::{
    Error, IdentityPublic, SegmentPublic,
    cbor::{self, Malformed},
};

/// Most bytes of an encoded bundle: all 256 segments fit.
pub const MAX_KEY_BUNDLE_LEN: usize = 330_000;

const FORMAT: u8 = 1;

/// The public keys of a patient's pseudonym or of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBundle {
    /// Whose keys these are.
    pub id: Address,
    /// The epoch of all segment keys.
    pub epoch: u32,
    /// For identity wraps and envelopes.
    pub identity: IdentityPublic,
    /// For segment wraps. Organizations have none.
    pub segments: BTreeMap<Segment, SegmentPublic>,
}

impl KeyBundle {
    /// The one encoding of the bundle.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(2048 + 1256 * self.segments.len(), |writer| {
            writer.map(5)?.u8(0)?.u8(FORMAT)?.u8(1)?.bytes(self.id.as_slice())?;
            writer.u8(2)?.u32(self.epoch)?.u8(3)?.bytes(self.identity.as_bytes())?;
            writer.u8(4)?.array(self.segments.len() as u64)?;
            for (segment, public) in &self.segments {
                writer.array(3)?.u8(segment.0)?;
                writer.bytes(public.point_bytes())?.bytes(public.kem_bytes())?;
            }
            Ok(())
        })
    }

    /// Reads what [`KeyBundle::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let error = Error::Malformed { what: "key bundle" };
        if bytes.len() > MAX_KEY_BUNDLE_LEN {
            return Err(error);
        }
        cbor::decode_whole(bytes, Self::read, Self::encode).map_err(|_| error)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        cbor::map(reader, 5)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        cbor::key(reader, 1)?;
        let id = Address::new(cbor::bytes(reader)?);
        cbor::key(reader, 2)?;
        let epoch = reader.u32()?;
        cbor::key(reader, 3)?;
        let identity = IdentityPublic::from_bytes(&cbor::bytes(reader)?).map_err(|_| Malformed)?;
        cbor::key(reader, 4)?;
        let mut segments = BTreeMap::new();
        for _ in 0..cbor::array(reader, 256)? {
            cbor::tuple(reader, 3)?;
            let segment = Segment(reader.u8()?);
            let (point, kem) = (cbor::bytes(reader)?, cbor::bytes(reader)?);
            let public = SegmentPublic::from_bytes(&point, &kem).map_err(|_| Malformed)?;
            segments.insert(segment, public);
        }
        Ok(Self { id, epoch, identity, segments })
    }

    /// keccak256 of the encoding.
    pub fn id(&self) -> KeyBundleId {
        KeyBundleId(keccak256(self.encode()))
    }
}
