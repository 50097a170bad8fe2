//! The two wraps of a data key.

use std::fmt;

use galen_types::Segment;
use minicbor::Decoder;
use x_wing::Encapsulate;
use zeroize::Zeroizing;

use crate::{
    Answer, Error, IdentityKey, IdentityPublic, OpenError, ReaderHalf, SegmentKey, SegmentPublic,
    ShareKeys,
    cbor::{self, Malformed, Writer, Written},
    content::SealContext,
    header::{Capsule, DataKey},
    hpke_box::{ENC_LEN, HpkeBox},
    keys::KemSecret,
    primitives::{
        DrawnRandomness, ENCAPSULATION_RANDOMNESS, SEALED_KEY_LEN, hkdf, open_key, seal_key, sha256,
    },
};

const IDENTITY: u8 = 0;
const SEGMENT: u8 = 1;
/// Most wraps in a header: one of each kind.
const MAX_WRAPS: u64 = 2;

/// The wraps of a header. At least one is there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wraps {
    pub(crate) identity: Option<IdentityWrap>,
    pub(crate) segment: Option<SegmentWrap>,
}

impl Wraps {
    /// Wraps the key for each recipient that is named.
    pub(crate) fn seal(
        context: &SealContext,
        epoch: u32,
        identity: Option<&IdentityPublic>,
        segment: Option<(Segment, &SegmentPublic)>,
        key: &DataKey,
    ) -> Result<Self, Error> {
        if identity.is_none() && segment.is_none() {
            return Err(Error::NoRecipient);
        }
        let identity = identity.map(|to| IdentityWrap::seal(context, to, key)).transpose()?;
        let segment = segment
            .map(|(segment, to)| SegmentWrap::seal(context, segment, epoch, to, key))
            .transpose()?;
        Ok(Self { identity, segment })
    }

    pub(super) fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let mut wraps = Self { identity: None, segment: None };
        // A kind that comes twice or out of order does not survive the comparison with what
        // `write` makes of it.
        for _ in 0..cbor::array(reader, MAX_WRAPS)? {
            let len = cbor::array(reader, 5)?;
            match (reader.u8()?, len) {
                (IDENTITY, 3) => wraps.identity = Some(IdentityWrap::read(reader)?),
                (SEGMENT, 5) => wraps.segment = Some(SegmentWrap::read(reader)?),
                _ => return Err(Malformed),
            }
        }
        if wraps.len() == 0 { Err(Malformed) } else { Ok(wraps) }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Written {
        writer.array(self.len())?;
        if let Some(IdentityWrap(sealed)) = &self.identity {
            writer.array(3)?.u8(IDENTITY)?.bytes(&sealed.enc)?.bytes(&sealed.ciphertext)?;
        }
        if let Some(wrap) = &self.segment {
            writer.array(5)?.u8(SEGMENT)?;
            writer.bytes(wrap.capsule.point())?.bytes(wrap.capsule.proof())?;
            writer.bytes(&wrap.kem)?.bytes(&wrap.ciphertext)?;
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        u64::from(self.identity.is_some()) + u64::from(self.segment.is_some())
    }
}

impl fmt::Debug for Wraps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wraps")
            .field("identity", &self.identity.is_some())
            .field("segment", &self.segment.as_ref().map(|wrap| &wrap.capsule))
            .finish()
    }
}

/// The data key, sealed to an identity key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct IdentityWrap(HpkeBox);

impl IdentityWrap {
    pub(crate) fn seal(
        context: &SealContext,
        to: &IdentityPublic,
        key: &DataKey,
    ) -> Result<Self, Error> {
        let aad = key.commitment(context);
        HpkeBox::seal(to, &identity_info(context), &aad, key.expose()).map(Self)
    }

    pub(super) fn open(
        &self,
        context: &SealContext,
        key: &IdentityKey,
        key_commitment: &[u8; 32],
    ) -> Result<DataKey, OpenError> {
        let opened = self.0.open(key, &identity_info(context), key_commitment)?;
        let bytes = Zeroizing::new(opened.as_slice().try_into().map_err(|_| OpenError)?);
        Ok(DataKey(bytes))
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let enc = cbor::bytes::<ENC_LEN>(reader)?;
        let ciphertext = cbor::bytes::<SEALED_KEY_LEN>(reader)?.to_vec();
        Ok(Self(HpkeBox { enc, ciphertext }))
    }
}

fn identity_info(context: &SealContext) -> Vec<u8> {
    [b"galen.wrap.identity.v1".as_slice(), &context.to_bytes()].concat()
}

/// The data key, sealed to the two public keys of a segment and epoch.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SegmentWrap {
    pub(crate) capsule: Capsule,
    kem: [u8; ENC_LEN],
    ciphertext: [u8; SEALED_KEY_LEN],
}

impl SegmentWrap {
    pub(crate) fn seal(
        context: &SealContext,
        segment: Segment,
        epoch: u32,
        to: &SegmentPublic,
        key: &DataKey,
    ) -> Result<Self, Error> {
        let (capsule, secret) = Capsule::create(context, segment, epoch)?;
        let shared_point = Zeroizing::new((to.point() * *secret).compress().to_bytes());
        let mut randomness = DrawnRandomness::draw(ENCAPSULATION_RANDOMNESS)?;
        let (kem, shared) = to.kem().encapsulate_with_rng(&mut randomness);
        let shared: Zeroizing<[u8; 32]> = Zeroizing::new(shared.into());
        let kem: [u8; ENC_LEN] = kem.into();
        let kek = kek(context, segment, epoch, capsule.point(), &kem, &shared_point, &shared);
        let ciphertext = seal_key(&kek, &key.commitment(context), key.expose());
        Ok(Self { capsule, kem, ciphertext })
    }

    pub(super) fn open(
        &self,
        context: &SealContext,
        key: &SegmentKey,
        key_commitment: &[u8; 32],
    ) -> Result<DataKey, OpenError> {
        let (segment, epoch) = (key.segment(), key.epoch());
        let point = self.capsule.verified_point(context, segment, epoch)?;
        let shared_point = Zeroizing::new((point * key.scalar()).compress().to_bytes());
        self.open_with(context, (segment, epoch), &shared_point, key.kem(), key_commitment)
    }

    /// As [`SegmentWrap::open`], by a reader's half and proxies' answers.
    pub(super) fn open_shared(
        &self,
        context: &SealContext,
        half: &ReaderHalf,
        keys: &ShareKeys,
        answers: &[Answer],
        key_commitment: &[u8; 32],
    ) -> Result<DataKey, OpenError> {
        let shared_point = half.combine(keys, answers, context, &self.capsule)?;
        let place = (half.segment(), half.epoch());
        self.open_with(context, place, &shared_point, half.kem(), key_commitment)
    }

    fn open_with(
        &self,
        context: &SealContext,
        (segment, epoch): (Segment, u32),
        shared_point: &[u8; 32],
        kem: &KemSecret,
        key_commitment: &[u8; 32],
    ) -> Result<DataKey, OpenError> {
        let shared = kem.decapsulate(&self.kem);
        let encoded = self.capsule.point();
        let kek = kek(context, segment, epoch, encoded, &self.kem, shared_point, &shared);
        open_key(&kek, key_commitment, &self.ciphertext).map(DataKey)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let capsule = Capsule::from_bytes(cbor::bytes(reader)?, cbor::bytes(reader)?);
        Ok(Self { capsule, kem: cbor::bytes(reader)?, ciphertext: cbor::bytes(reader)? })
    }
}

fn kek(
    context: &SealContext,
    segment: Segment,
    epoch: u32,
    capsule: &[u8; 32],
    kem: &[u8; ENC_LEN],
    shared_point: &[u8; 32],
    shared: &[u8; 32],
) -> Zeroizing<[u8; 32]> {
    let ikm = Zeroizing::new([*shared_point, *shared].concat());
    hkdf(
        &ikm,
        &[
            b"galen.wrap.segment.v1",
            &context.to_bytes(),
            &[segment.0],
            &epoch.to_be_bytes(),
            capsule,
            &sha256(&[kem]),
        ],
    )
}
