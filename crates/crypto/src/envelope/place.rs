//! Parts that several texts share: proxies, the terms of a consent, lists of keys.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use galen_types::{Consent, PurposeSet, Salt, Segment, SegmentSet};
use minicbor::{Decoder, data::Type};

use crate::{
    cbor::{self, Malformed, Writer, Written},
    proxy::MAX_PROXIES,
};

/// Most bytes of a proxy's URL.
pub const MAX_URL_LEN: usize = 200;

/// Most keys that one text carries.
pub(crate) const MAX_ENTRIES: usize = 256;

/// Where a proxy is. Its index in the keys of shares is its place in the list plus one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyPlace {
    /// Id of the proxy: shares are sealed to its published key.
    pub id: Address,
    /// Where it answers: `http://` or `https://`, at most [`MAX_URL_LEN`] printable ASCII characters.
    pub url: String,
}

/// What is wrong with a list of proxies.
pub(crate) fn places_fault(places: &[ProxyPlace]) -> Option<&'static str> {
    let distinct: BTreeSet<Address> = places.iter().map(|place| place.id).collect();
    let is_url = |url: &str| {
        let http = url.starts_with("http://") || url.starts_with("https://");
        http && url.len() <= MAX_URL_LEN && url.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if places.len() > usize::from(MAX_PROXIES) {
        Some("too many proxies")
    } else if distinct.len() < places.len() {
        Some("a proxy is named twice")
    } else if places.iter().any(|place| !is_url(&place.url)) {
        Some("a proxy's address is no short http URL")
    } else {
        None
    }
}

/// What is wrong with a list of keys: `places` in the order in which they are written, and the epoch that should be
/// the highest of them.
pub(crate) fn keys_fault(
    places: impl Iterator<Item = (Segment, u32)>,
    epoch: u32,
) -> Option<&'static str> {
    let places: Vec<(Segment, u32)> = places.collect();
    if places.is_empty() {
        Some("no segment")
    } else if places.len() > MAX_ENTRIES {
        Some("more keys than an envelope holds")
    } else if !places.is_sorted_by(|a, b| a < b) {
        Some("a segment is named twice, or out of order")
    } else if places.iter().map(|place| place.1).max() != Some(epoch) {
        Some("the epoch is not the highest of the keys")
    } else {
        None
    }
}

/// `[ [id, url], … ]`
pub(crate) fn write_places(writer: &mut Writer<'_>, places: &[ProxyPlace]) -> Written {
    writer.array(places.len() as u64)?;
    for place in places {
        writer.array(2)?.bytes(place.id.as_slice())?.str(&place.url)?;
    }
    Ok(())
}

pub(crate) fn read_places(reader: &mut Decoder<'_>) -> Result<Vec<ProxyPlace>, Malformed> {
    (0..cbor::array(reader, MAX_PROXIES.into())?)
        .map(|_| {
            cbor::tuple(reader, 2)?;
            let id = Address::new(cbor::bytes(reader)?);
            Ok(ProxyPlace { id, url: reader.str()?.to_owned() })
        })
        .collect()
}

/// Bytes that [`write_places`] takes at most.
pub(crate) const fn places_len(places: &[ProxyPlace]) -> usize {
    8 + (MAX_URL_LEN + 32) * places.len()
}

/// `[segments (32), purposes, not before, expiry, salt (32)]`: the opening of a consent but for its grantee.
pub(crate) fn write_consent(writer: &mut Writer<'_>, consent: &Consent) -> Written {
    writer.array(5)?.bytes(&consent.segments.0.to_be_bytes::<32>())?;
    writer.u32(consent.purposes.0)?.u64(consent.not_before)?.u64(consent.expiry)?;
    writer.bytes(consent.salt.as_bytes())?.ok()
}

pub(crate) fn read_consent(
    reader: &mut Decoder<'_>,
    grantee: Address,
) -> Result<Consent, Malformed> {
    cbor::tuple(reader, 5)?;
    Ok(Consent {
        grantee,
        segments: SegmentSet(U256::from_be_bytes::<32>(cbor::bytes(reader)?)),
        purposes: PurposeSet(reader.u32()?),
        not_before: reader.u64()?,
        expiry: reader.u64()?,
        salt: Salt(B256::new(cbor::bytes(reader)?)),
    })
}

/// What `write` writes, or null.
pub(crate) fn write_optional<T>(
    writer: &mut Writer<'_>,
    value: Option<T>,
    write: impl FnOnce(&mut Writer<'_>, T) -> Written,
) -> Written {
    match value {
        Some(value) => write(writer, value),
        None => writer.null()?.ok(),
    }
}

pub(crate) fn read_optional<'b, T>(
    reader: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if reader.datatype()? == Type::Null {
        reader.null()?;
        Ok(None)
    } else {
        read(reader).map(Some)
    }
}
