//! What organizations need in order to read under a consent that names nobody.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_types::{Consent, LedgerId, Segment};
use minicbor::Decoder;

use crate::{
    Error, PieceDigests, ProxyPlace, ShareKeys,
    cbor::{self, Malformed, Writer, Written},
    envelope::{
        MAX_SIGNATURE_LEN, decode,
        place::{
            MAX_ENTRIES, keys_fault, places_fault, places_len, read_consent, read_places,
            write_consent, write_places,
        },
        read_bytes, read_ledger, write_ledger,
    },
};

const FORMAT: u8 = 6;

/// One segment of an offer, in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedSegment {
    /// The segment.
    pub segment: Segment,
    /// The epoch.
    pub epoch: u32,
    /// The category that the segment stands for.
    pub category: u8,
    /// Against which the proxies' answers are checked.
    pub keys: ShareKeys,
    /// Against which their pieces of the X-Wing seed are checked.
    pub kem: PieceDigests,
}

/// What a patient opens to every active organization through proxies, in clear: the proxies show it to those
/// organizations only.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    /// The ledger that the consent stands on.
    pub ledger: LedgerId,
    /// Pseudonym of the patient.
    pub patient: Address,
    /// The opening of the consent; its grantee is zero.
    pub consent: Consent,
    /// The highest epoch of the segments.
    pub epoch: u32,
    /// Whom to ask.
    pub proxies: Vec<ProxyPlace>,
    /// Ascending by segment and epoch, at most 256, all shared by these proxies.
    pub segments: Vec<OfferedSegment>,
    /// Unix second at which it was made: of two offers under one consent, the later counts.
    pub issued: u64,
    /// Signature of the patient's controller over `Offer`; not judged here.
    pub signature: Bytes,
}

impl Offer {
    /// What is wrong with it, if anything: [`Offer::decode`] refuses it then.
    pub fn fault(&self) -> Option<&'static str> {
        let proxies = self.proxies.len();
        let shared = |offered: &OfferedSegment| {
            let OfferedSegment { keys, kem, .. } = offered;
            usize::from(keys.proxies()) == proxies
                && (kem.threshold(), kem.count()) == (keys.threshold(), keys.proxies())
        };
        if !self.consent.is_network() {
            Some("an offer is made under a consent that names nobody")
        } else if !self.segments.iter().all(shared) {
            Some("a key is not shared by the proxies that are named")
        } else if self.signature.len() > MAX_SIGNATURE_LEN {
            Some("the signature is too long")
        } else {
            let places = self.segments.iter().map(|offered| (offered.segment, offered.epoch));
            places_fault(&self.proxies).or_else(|| keys_fault(places, self.epoch))
        }
    }

    /// What the patient signs: keccak256 of the encoding without the signature.
    pub fn text_hash(&self) -> B256 {
        keccak256(cbor::encode(self.capacity(), |writer| {
            writer.map(9)?;
            self.write(writer)
        }))
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self.capacity(), |writer| {
            writer.map(10)?;
            self.write(writer)?;
            writer.u8(9)?.bytes(&self.signature)?.ok()
        })
    }

    fn capacity(&self) -> usize {
        let keys = self
            .segments
            .iter()
            .map(|offered| 32 + offered.keys.to_bytes().len() + offered.kem.to_bytes().len());
        512 + self.signature.len() + places_len(&self.proxies) + keys.sum::<usize>()
    }

    fn write(&self, writer: &mut Writer<'_>) -> Written {
        writer.u8(0)?.u8(FORMAT)?;
        write_ledger(writer, &self.ledger)?;
        write_consent(writer.u8(3)?.bytes(self.patient.as_slice())?.u8(4)?, &self.consent)?;
        write_places(writer.u8(5)?.u32(self.epoch)?.u8(6)?, &self.proxies)?;
        writer.u8(7)?.array(self.segments.len() as u64)?;
        for OfferedSegment { segment, epoch, category, keys, kem } in &self.segments {
            writer.array(5)?.u8(segment.0)?.u32(*epoch)?.u8(*category)?;
            writer.bytes(&keys.to_bytes())?.bytes(&kem.to_bytes())?;
        }
        writer.u8(8)?.u64(self.issued)?.ok()
    }

    /// Reads what [`Offer::encode`] writes of an offer without fault, and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let offer = decode("offer", bytes, Self::read, Self::encode)?;
        if offer.fault().is_none() { Ok(offer) } else { Err(Error::Malformed { what: "offer" }) }
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        cbor::map(reader, 10)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        let ledger = read_ledger(reader)?;
        let patient = read_bytes(reader, 3)?.into();
        cbor::key(reader, 4)?;
        let consent = read_consent(reader, Address::ZERO)?;
        cbor::key(reader, 5)?;
        let epoch = reader.u32()?;
        cbor::key(reader, 6)?;
        let proxies = read_places(reader)?;
        cbor::key(reader, 7)?;
        let segments = (0..cbor::array(reader, MAX_ENTRIES as u64)?)
            .map(|_| read_offered(reader))
            .collect::<Result<_, _>>()?;
        cbor::key(reader, 8)?;
        let issued = reader.u64()?;
        cbor::key(reader, 9)?;
        let signature = reader.bytes()?.to_vec().into();
        Ok(Self { ledger, patient, consent, epoch, proxies, segments, issued, signature })
    }
}

fn read_offered(reader: &mut Decoder<'_>) -> Result<OfferedSegment, Malformed> {
    cbor::tuple(reader, 5)?;
    Ok(OfferedSegment {
        segment: Segment(reader.u8()?),
        epoch: reader.u32()?,
        category: reader.u8()?,
        keys: ShareKeys::from_bytes(reader.bytes()?).map_err(|_| Malformed)?,
        kem: PieceDigests::from_bytes(reader.bytes()?).map_err(|_| Malformed)?,
    })
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("ledger", &self.ledger)
            .field("patient", &self.patient)
            .field("consent", &self.consent.id())
            .field("epoch", &self.epoch)
            .field("proxies", &self.proxies)
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}
