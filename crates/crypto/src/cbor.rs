//! Deterministic CBOR (RFC 8949, section 4.2.1): one text for one value.
//!
//! Readers here are simple because no reader is trusted alone: every decoder encodes what it read and
//! compares, so that long integers, indefinite lengths, other orders and trailing bytes are refused.

use std::convert::Infallible;

use minicbor::{Decoder, Encoder};

/// The bytes are not what they should be. Never leaves the crate.
#[derive(Debug)]
pub(crate) struct Malformed;

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

pub(crate) type Writer<'a> = Encoder<&'a mut Vec<u8>>;
pub(crate) type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// Encodes into a vector of `capacity` bytes, which does not move if the capacity suffices.
pub(crate) fn encode(capacity: usize, write: impl FnOnce(&mut Writer<'_>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity);
    write(&mut Encoder::new(&mut bytes)).expect("a vector takes every byte");
    bytes
}

/// Reads one value that fills `bytes` whole and is encoded the one way.
pub(crate) fn decode_whole<'b, T>(
    bytes: &'b [u8],
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Malformed>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, Malformed> {
    let value = read(&mut Decoder::new(bytes))?;
    if encode(&value) == bytes { Ok(value) } else { Err(Malformed) }
}

/// The head of a map of exactly `len` pairs.
pub(crate) fn map(reader: &mut Decoder<'_>, len: u64) -> Result<(), Malformed> {
    if reader.map()? == Some(len) { Ok(()) } else { Err(Malformed) }
}

/// The next key of a map, which must be this one.
pub(crate) fn key(reader: &mut Decoder<'_>, key: u8) -> Result<(), Malformed> {
    if reader.u8()? == key { Ok(()) } else { Err(Malformed) }
}

/// The head of an array of at most `max` items.
pub(crate) fn array(reader: &mut Decoder<'_>, max: u64) -> Result<u64, Malformed> {
    match reader.array()? {
        Some(len) if len <= max => Ok(len),
        _ => Err(Malformed),
    }
}

/// The head of an array of exactly `len` items.
pub(crate) fn tuple(reader: &mut Decoder<'_>, len: u64) -> Result<(), Malformed> {
    if reader.array()? == Some(len) { Ok(()) } else { Err(Malformed) }
}

/// A byte string of exactly `N` bytes.
pub(crate) fn bytes<const N: usize>(reader: &mut Decoder<'_>) -> Result<[u8; N], Malformed> {
    reader.bytes()?.try_into().map_err(|_| Malformed)
}
