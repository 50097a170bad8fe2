//! Deterministic CBOR (RFC 8949, section 4.2.1) of what people hand each other: one text for one value.
//!
//! Readers are simple because none is trusted alone: what was read is encoded again and compared.

use std::convert::Infallible;

use minicbor::{Decoder, Encoder};

use crate::Error;

pub(crate) type Writer<'a> = Encoder<&'a mut Vec<u8>>;
pub(crate) type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// Encodes into a vector.
pub(crate) fn encode(write: impl FnOnce(&mut Writer<'_>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).expect("a vector takes every byte");
    bytes
}

/// Reads one value of at most `max` bytes that fills `bytes` whole and is encoded the one way.
pub(crate) fn decode<'b, T>(
    what: &'static str,
    bytes: &'b [u8],
    max: usize,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, Error> {
    let malformed = || Error::Crypto(galen_crypto::Error::Malformed { what });
    if bytes.len() > max {
        return Err(malformed());
    }
    let value = read(&mut Decoder::new(bytes)).map_err(|_| malformed())?;
    if encode(&value) == bytes { Ok(value) } else { Err(malformed()) }
}

/// A byte string of exactly `N` bytes.
pub(crate) fn bytes<const N: usize>(
    reader: &mut Decoder<'_>,
) -> Result<[u8; N], minicbor::decode::Error> {
    reader.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("another length"))
}

/// The head of a map or array that must have exactly this length.
pub(crate) fn exactly(found: Option<u64>, len: u64) -> Result<(), minicbor::decode::Error> {
    if found == Some(len) {
        Ok(())
    } else {
        Err(minicbor::decode::Error::message("another length"))
    }
}

/// The next key of a map, which must be this one.
pub(crate) fn key(reader: &mut Decoder<'_>, key: u8) -> Result<(), minicbor::decode::Error> {
    if reader.u8()? == key { Ok(()) } else { Err(minicbor::decode::Error::message("another key")) }
}
