//! Everything that can be done with everything that somebody holds: proxies, readers, both, and readers who were
//! thrown out. What is beyond the limit is shown too, so that nobody believes otherwise.
//!
//! An attacker here computes with the secrets as numbers, by his own arithmetic, not by this crate's functions; what
//! he finds is judged by whether it opens a record that he should not open.

use std::collections::BTreeMap;

use curve25519_dalek::{
    RistrettoPoint, Scalar, constants::RISTRETTO_BASEPOINT_POINT, ristretto::CompressedRistretto,
};
use galen_crypto::{
    Answer, Capsule, DataKey, Error, Header, KeySplit, OpenError, OpenKey, ReaderHalf, SealContext,
    SegmentKey, ShareKeys, open,
};
use galen_types::{RecordId, Segment};
use hkdf::Hkdf;
use sha2::{Digest, Sha256, Sha512};
use x_wing::{Decapsulate, DecapsulationKey};

use crate::fixture::{EPOCH, FIXTURE, Fixture, SEGMENT, payload};

/// A record of the patient, in its sealed form.
struct Target {
    context: SealContext,
    sealed: Vec<u8>,
    header: Header,
}

fn target(byte: u8, segment: Segment, epoch: u32) -> Target {
    let public = FIXTURE.keys.segment(segment, epoch).public();
    let record = RecordId([byte; 32].into());
    let mut request = FIXTURE.request();
    (request.record, request.epoch, request.segment) = (record, epoch, Some((segment, &public)));
    let (committed, sealed) = galen_crypto::seal_bytes(&request, &payload(64)).unwrap();
    let Fixture { ledger, .. } = *FIXTURE;
    let context = SealContext { ledger, record, commitment: committed.commitment };
    let header = Header::parse(&sealed).unwrap();
    Target { context, sealed, header }
}

impl Target {
    fn capsule(&self) -> &Capsule {
        self.header.capsule().unwrap()
    }

    fn base(&self) -> RistrettoPoint {
        CompressedRistretto(*self.capsule().point()).decompress().unwrap()
    }

    fn answer(&self, split: &KeySplit, index: u8) -> Answer {
        split.shares[usize::from(index) - 1].answer(&self.context, self.capsule()).unwrap()
    }

    /// Whether a point is the capsule's secret: with it and the X-Wing secret, by the schedule of the protocol, the
    /// record opens. Written out here, since the crate offers no such door.
    fn opens_with(
        &self,
        point: &RistrettoPoint,
        kem: &[u8; 32],
        epoch: u32,
        place: Segment,
    ) -> bool {
        let bytes = self.header.to_bytes();
        let (kem_text, ciphertext) = segment_wrap(&bytes);
        let shared = DecapsulationKey::from(*kem).decapsulate(&kem_text.into());
        let ikm = [point.compress().as_bytes().as_slice(), shared.as_slice()].concat();
        let info = [
            b"galen.wrap.segment.v1".as_slice(),
            &self.context.to_bytes(),
            &[place.0],
            &epoch.to_be_bytes(),
            self.capsule().point(),
            &Sha256::digest(kem_text),
        ]
        .concat();
        let mut kek = [0; 32];
        Hkdf::<Sha256>::new(None, &ikm).expand(&info, &mut kek).unwrap();
        let Some(key) = open_gcm(&kek, self.header.key_commitment(), ciphertext) else {
            return false;
        };
        let key = DataKey::from_bytes(key);
        let opened = open(&self.sealed, self.context, OpenKey::Data(&key));
        opened.is_ok_and(|opened| opened.payload.expose() == payload(64))
    }
}

/// Encapsulation and ciphertext of the segment wrap, the last of a header without padding.
fn segment_wrap(header: &[u8]) -> ([u8; 1120], [u8; 48]) {
    // Wrap kind 1 in an array of five: 0x85 0x01, capsule, proof, kem, ciphertext with their heads.
    let at = header.windows(4).rposition(|it| it == [0x85, 0x01, 0x58, 0x20]).unwrap();
    let kem = at + 4 + 32 + 2 + 64 + 3;
    let ciphertext = kem + 1120 + 2;
    let part = |at: usize, len: usize| &header[at..at + len];
    (part(kem, 1120).try_into().unwrap(), part(ciphertext, 48).try_into().unwrap())
}

fn open_gcm(key: &[u8; 32], aad: &[u8], sealed: [u8; 48]) -> Option<[u8; 32]> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let mut bytes = sealed;
    key.open_in_place(nonce, Aad::from(aad), &mut bytes).ok()?.as_ref().try_into().ok()
}

fn scalar(bytes: &[u8]) -> Scalar {
    Scalar::from_canonical_bytes(bytes[..32].try_into().unwrap()).unwrap()
}

fn kem(half: &ReaderHalf) -> [u8; 32] {
    half.expose()[32..].try_into().unwrap()
}

fn point(answer: &Answer) -> RistrettoPoint {
    let bytes = answer.to_bytes();
    CompressedRistretto(bytes[1..33].try_into().unwrap()).decompress().unwrap()
}

fn lagrange(index: u8, indexes: &[u8]) -> Scalar {
    let own = Scalar::from(index);
    let others = indexes.iter().filter(|other| **other != index);
    others.fold(Scalar::ONE, |product, other| {
        let other = Scalar::from(*other);
        product * other * (other - own).invert()
    })
}

/// Sums of products of a few numbers with small factors: the ways in which an attacker combines what he has.
fn combinations(known: &[Scalar]) -> Vec<Scalar> {
    let mut found = vec![Scalar::ZERO];
    for number in known {
        let factors = [1_i8, -1, 2, -2, 3, -3].map(|it| {
            let factor = Scalar::from(it.unsigned_abs());
            if it < 0 { -factor } else { factor }
        });
        let more: Vec<Scalar> =
            found.iter().flat_map(|sum| factors.map(|factor| sum + factor * number)).collect();
        found.extend(more);
    }
    found
}

/// All proxies with all their shares of all grants, without a reader: neither the curve's half nor the other.
#[test]
fn all_proxies_without_a_reader_open_nothing() {
    let record = target(1, SEGMENT, EPOCH);
    let grants: Vec<KeySplit> = (0..3).map(|_| FIXTURE.segment.split(2, 3).unwrap()).collect();
    let theirs: Vec<Scalar> = grants
        .iter()
        .map(|split| {
            let shares = split.shares[..2].iter();
            shares.map(|it| scalar(it.expose().as_slice()) * lagrange(it.index(), &[1, 2])).sum()
        })
        .collect();
    let secret = FIXTURE.segment.expose();
    let kem = secret[32..].try_into().unwrap();
    // What each grant's proxies hold together is uniform: a minus a half that only the reader has. Even with the
    // X-Wing secret for a gift no combination of several grants gives the capsule's secret.
    for guess in combinations(&theirs) {
        assert_ne!(guess, scalar(secret.as_slice()));
    }
    for guess in &theirs {
        assert!(!record.opens_with(&(record.base() * guess), &kem, EPOCH, SEGMENT));
    }
    // The right secret opens, so that the schedule written out above is the right one; without the X-Wing secret,
    // which no proxy of a grant to somebody has, not even that.
    let right = record.base() * scalar(secret.as_slice());
    assert!(record.opens_with(&right, &kem, EPOCH, SEGMENT));
    assert!(!record.opens_with(&right, &[7; 32], EPOCH, SEGMENT));
}

/// One proxy of each of two grants, and both readers: below the threshold in each, every secret is as likely as any.
#[test]
fn readers_and_too_few_proxies_of_many_grants_open_nothing() {
    let record = target(1, SEGMENT, EPOCH);
    let grants: Vec<KeySplit> = (0..2).map(|_| FIXTURE.segment.split(2, 3).unwrap()).collect();
    // Indexes 1 and 2: with numbers of one grant they would be enough.
    let shares = [&grants[0].shares[0], &grants[1].shares[1]];
    let halves: Vec<Scalar> = grants.iter().map(|it| scalar(it.half.expose().as_slice())).collect();
    let shares: Vec<Scalar> = shares.iter().map(|it| scalar(it.expose().as_slice())).collect();
    let kem = kem(&grants[0].half);
    let mixed = shares[0] * lagrange(1, &[1, 2]) + shares[1] * lagrange(2, &[1, 2]);
    let mut known = halves.clone();
    known.extend(&shares);
    let mut guesses = combinations(&known);
    guesses.extend(halves.iter().map(|half| half + mixed));
    let secret = scalar(FIXTURE.segment.expose().as_slice());
    assert!(guesses.iter().all(|guess| *guess != secret));
    for guess in guesses.iter().step_by(97).chain(&guesses[guesses.len() - 2..]) {
        assert!(!record.opens_with(&(record.base() * guess), &kem, EPOCH, SEGMENT));
    }
    // Not by luck: for any claimed secret there are coefficients that explain all that they hold.
    let claimed = Scalar::from(99u32);
    for (half, (share, index)) in halves.iter().zip(shares.iter().zip([1u8, 2])) {
        let slope = (share - (claimed - half)) * Scalar::from(index).invert();
        assert_eq!(claimed - half + slope * Scalar::from(index), *share);
    }
}

/// A reader who was thrown out, with the halves of two grants that it had one after the other, the X-Wing secret, and
/// every answer and capsule that it ever saw.
#[test]
fn a_revoked_reader_with_all_it_ever_saw_opens_nothing_more() {
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let earlier = FIXTURE.segment.split(2, 3).unwrap();
    let seen: Vec<Target> = (1..=4).map(|byte| target(byte, SEGMENT, EPOCH)).collect();
    let answers: Vec<Vec<Answer>> =
        seen.iter().map(|it| (1..=3).map(|index| it.answer(&split, index)).collect()).collect();
    for (record, answers) in seen.iter().zip(&answers) {
        let open = |it: &[Answer]| {
            record.header.unwrap_shared(&record.context, &split.half, &split.keys, it)
        };
        assert!(open(&answers[..2]).is_ok());
    }
    let kem = kem(&split.half);
    let half = scalar(split.half.expose().as_slice());
    // Another record of the same segment and epoch; a resealing of one that was read is the same to it.
    for fresh in [target(5, SEGMENT, EPOCH), target(1, SEGMENT, EPOCH)] {
        for (old, grant) in answers.iter().flat_map(|it| [(it, &split), (it, &earlier)]) {
            let moved = fresh.header.unwrap_shared(&fresh.context, &grant.half, &grant.keys, old);
            assert_eq!(moved.err(), Some(OpenError));
        }
        // Sums of what the old answers gave, shifted by what is known of both capsules.
        let secrets: Vec<RistrettoPoint> = seen
            .iter()
            .zip(&answers)
            .map(|(record, it)| {
                let sum =
                    point(&it[0]) * lagrange(1, &[1, 2]) + point(&it[1]) * lagrange(2, &[1, 2]);
                sum + record.base() * half
            })
            .collect();
        let shift = fresh.base() * half;
        let other = fresh.base() * scalar(earlier.half.expose().as_slice());
        let mut guesses = vec![shift, other, shift - other, fresh.base() + shift];
        for (one, base) in secrets.iter().zip(&seen) {
            guesses.extend([*one, one + shift, one + other, one + fresh.base() - base.base()]);
            guesses.extend(secrets.iter().flat_map(|other| [one + other, one - other]));
        }
        for guess in guesses {
            assert!(!fresh.opens_with(&guess, &kem, EPOCH, SEGMENT));
        }
    }
    // The same grant's proxies would answer only for a record that the capsule is of, so nothing is gained by
    // asking for a capsule that hides another one.
    let fresh = target(6, SEGMENT, EPOCH);
    let blind = fresh.base() + RISTRETTO_BASEPOINT_POINT * Scalar::from(11u32);
    for forged in [
        Capsule::from_bytes(blind.compress().to_bytes(), *fresh.capsule().proof()),
        Capsule::from_bytes(blind.compress().to_bytes(), proof_of_nothing(&fresh, &blind)),
        Capsule::from_bytes(*fresh.capsule().point(), proof_of_nothing(&fresh, &fresh.base())),
    ] {
        let refused = split.shares[0].answer(&seen[0].context, &forged);
        assert!(matches!(refused, Err(Error::Open(OpenError))));
        assert!(split.shares[0].answer(&fresh.context, &forged).is_err());
    }
}

/// A Schnorr proof whose response is made up.
fn proof_of_nothing(target: &Target, base: &RistrettoPoint) -> [u8; 64] {
    let (response, challenge) = (Scalar::from(5u32), Scalar::from(7u32));
    let nonce = RISTRETTO_BASEPOINT_POINT * response - base * challenge;
    let mut proof = [0; 64];
    proof[..32].copy_from_slice(nonce.compress().as_bytes());
    proof[32..].copy_from_slice(response.as_bytes());
    assert_ne!(target.capsule().proof(), &proof);
    proof
}

/// The next epoch and the next segment have secrets that are unrelated, so whoever has all of one has none of the other.
#[test]
fn the_whole_secret_of_an_epoch_opens_no_other() {
    let now = target(1, SEGMENT, EPOCH);
    let later = target(2, SEGMENT, EPOCH + 1);
    let beside = target(3, Segment(43), EPOCH);
    let key = &FIXTURE.segment;
    assert!(now.header.unwrap_segment(&now.context, key).is_ok());
    let secret = key.expose();
    for (record, segment, epoch) in [(&later, SEGMENT, EPOCH + 1), (&beside, Segment(43), EPOCH)] {
        assert!(record.header.unwrap_segment(&record.context, key).is_err());
        let relabelled = SegmentKey::from_bytes(segment, epoch, &secret).unwrap();
        assert!(record.header.unwrap_segment(&record.context, &relabelled).is_err());
        let shared = record.base() * scalar(secret.as_slice());
        let kem = secret[32..].try_into().unwrap();
        assert!(!record.opens_with(&shared, &kem, epoch, segment));
        // Answers of the proxies for it, with a half of the old epoch that says it is of the new one.
        let old = key.split(2, 3).unwrap();
        let new = FIXTURE.keys.segment(segment, epoch).split(2, 3).unwrap();
        let half = ReaderHalf::from_bytes(segment, epoch, &old.half.expose()).unwrap();
        let answers = [record.answer(&new, 1), record.answer(&new, 2)];
        let opened = |half: &ReaderHalf, keys: &ShareKeys| {
            record.header.unwrap_shared(&record.context, half, keys, &answers).is_ok()
        };
        assert!(!opened(&half, &new.keys) && !opened(&half, &old.keys));
        assert!(opened(&new.half, &new.keys));
        assert!(old.shares[0].answer(&record.context, record.capsule()).is_err());
    }
}

/// A capsule put into another record's header, whoever it is shown to.
#[test]
fn a_header_with_another_records_capsule_is_answered_by_nobody() {
    let split = FIXTURE.segment.split(1, 1).unwrap();
    let (one, other) = (target(1, SEGMENT, EPOCH), target(2, SEGMENT, EPOCH));
    let mut bytes = one.header.to_bytes().to_vec();
    let find =
        |point: &[u8; 32], bytes: &[u8]| bytes.windows(32).position(|it| it == point).unwrap();
    let from = find(other.capsule().point(), &other.header.to_bytes());
    let to = find(one.capsule().point(), &bytes);
    // Point, head of the proof, proof.
    bytes[to..to + 98].copy_from_slice(&other.header.to_bytes()[from..from + 98]);
    let forged = Header::parse(&bytes).unwrap();
    assert_eq!(forged.capsule(), other.header.capsule());
    let share = &split.shares[0];
    assert!(share.answer(&one.context, forged.capsule().unwrap()).is_err());
    assert!(share.answer(&other.context, forged.capsule().unwrap()).is_ok());
    // On another chain, under another contract, for another version of the same record: refused too.
    let mut contexts = [one.context; 3];
    contexts[0].ledger.chain_id ^= 1;
    contexts[1].ledger.contract = [9; 20].into();
    contexts[2].commitment = galen_types::Commitment([9; 32].into());
    assert!(contexts.iter().all(|context| share.answer(context, one.capsule()).is_err()));
}

/// A proxy that lies chooses its answer with all it knows; without the share of the published key no proof holds.
#[test]
fn a_lying_proxy_convinces_nobody() {
    let record = target(1, SEGMENT, EPOCH);
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let next = FIXTURE.segment.split(2, 3).unwrap();
    let good = record.answer(&split, 1);
    let verify = |answer: &Answer, keys: &ShareKeys| {
        answer.verify(keys, &record.context, SEGMENT, EPOCH, record.capsule()).is_ok()
    };
    let relabelled = |index: u8| {
        let mut bytes = good.to_bytes();
        bytes[0] = index;
        Answer::from_bytes(&bytes)
    };
    assert!(verify(&good, &split.keys) && !verify(&good, &next.keys));
    assert!([0, 2, 3, 4, 255].iter().all(|index| !verify(&relabelled(*index), &split.keys)));
    // A true proof of another scalar: right for the keys of another split, and for a share that was made up.
    assert!(!verify(&record.answer(&next, 1), &split.keys));
    let made_up =
        galen_crypto::ProxyShare::from_bytes(1, SEGMENT, EPOCH, &[3; 32].map(|it| it & 1));
    let made_up = made_up.unwrap().answer(&record.context, record.capsule()).unwrap();
    assert!(!verify(&made_up, &split.keys));
    // Malleable nowhere: s and c moved together, D moved with both, all with the wrong hash.
    let bytes = good.to_bytes();
    let (c, s) = (scalar(&bytes[33..65]), scalar(&bytes[65..]));
    let share = scalar(split.shares[0].expose().as_slice());
    let text = |point: RistrettoPoint, c: Scalar, s: Scalar| {
        let mut bytes = bytes;
        bytes[1..33].copy_from_slice(point.compress().as_bytes());
        bytes[33..65].copy_from_slice(c.as_bytes());
        bytes[65..].copy_from_slice(s.as_bytes());
        Answer::from_bytes(&bytes)
    };
    let one = Scalar::ONE;
    let point = point(&good);
    for (name, forged) in [
        ("shifted together", text(point, c + one, s + share)),
        ("negated", text(-point, -c, s)),
        ("a wrong point, consistent for it", text(point + record.base(), c, s + c)),
        ("zero for a proof", text(point, Scalar::ZERO, Scalar::ZERO)),
    ] {
        assert!(!verify(&forged, &split.keys), "{name}");
    }
    // The share itself in a fresh proof: answers are not unique, what they say is.
    let again = record.answer(&split, 1);
    assert!(verify(&again, &split.keys) && again != good);
    assert_eq!(self::point(&again), point);
}

/// Keys of shares that somebody replaced are noticed when a grant is taken, and do no harm if they were not.
#[test]
fn replaced_keys_of_shares_complete_no_half() {
    let record = target(1, SEGMENT, EPOCH);
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let foreign = SegmentKey::from_bytes(SEGMENT, EPOCH, &{
        let mut bytes = *FIXTURE.segment.expose();
        bytes[0] ^= 1;
        bytes
    });
    let foreign = foreign.unwrap().split(2, 3).unwrap();
    let mut swapped = split.keys.to_bytes();
    let own = swapped.clone();
    swapped[2..34].copy_from_slice(&own[34..]);
    swapped[34..].copy_from_slice(&own[2..34]);
    let swapped = ShareKeys::from_bytes(&swapped).unwrap();
    for keys in [&foreign.keys, &swapped] {
        assert!(!split.half.completes(keys, &FIXTURE.segment_public));
        // At 1 both polynomials of the swapped keys have the same value.
        assert!(split.shares[1..].iter().all(|share| !share.fits(keys)));
    }
    assert!(!foreign.half.completes(&foreign.keys, &FIXTURE.segment_public));
    let answers = [record.answer(&foreign, 1), record.answer(&foreign, 2)];
    let opened = record.header.unwrap_shared(&record.context, &split.half, &foreign.keys, &answers);
    assert_eq!(opened.err(), Some(OpenError));
    // A lower threshold in the same bytes names other shares, which nobody has.
    let mut lower = own[..34].to_vec();
    lower[0] = 1;
    let lower = ShareKeys::from_bytes(&lower).unwrap();
    assert!(split.shares.iter().all(|share| !share.fits(&lower)));
    let answers: Vec<Answer> = (1..=3).map(|index| record.answer(&split, index)).collect();
    let opened = record.header.unwrap_shared(&record.context, &split.half, &lower, &answers);
    assert_eq!(opened.err(), Some(OpenError));
}

/// The identity, points outside the group's one encoding and scalars in a second text, wherever bytes come in.
#[test]
fn what_is_not_canonical_comes_in_nowhere() {
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let record = target(1, SEGMENT, EPOCH);
    let order = Scalar::ZERO - Scalar::ONE;
    let mut above = order.to_bytes();
    above[0] += 1;
    let points: BTreeMap<&str, [u8; 32]> = BTreeMap::from([
        ("identity", [0; 32]),
        ("identity above the field", {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed, 0x7f);
            bytes
        }),
        ("negative", {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        }),
        ("all ones", [0xff; 32]),
    ]);
    for (name, bytes) in points {
        let mut keys = split.keys.to_bytes();
        keys[2..34].copy_from_slice(&bytes);
        assert!(ShareKeys::from_bytes(&keys).is_err(), "{name}");
        let capsule = Capsule::from_bytes(bytes, *record.capsule().proof());
        assert!(capsule.verify(&record.context, SEGMENT, EPOCH).is_err(), "{name}");
        let mut answer = record.answer(&split, 1).to_bytes();
        answer[1..33].copy_from_slice(&bytes);
        let answer = Answer::from_bytes(&answer);
        let verified =
            answer.verify(&split.keys, &record.context, SEGMENT, EPOCH, record.capsule());
        assert!(verified.is_err(), "{name}");
    }
    for bytes in [[0xff; 32], above] {
        assert!(galen_crypto::ProxyShare::from_bytes(1, SEGMENT, EPOCH, &bytes).is_err());
        let half = [bytes, [1; 32]].concat().try_into().unwrap();
        assert!(ReaderHalf::from_bytes(SEGMENT, EPOCH, &half).is_err());
    }
    // Shares of zero, which would answer with the identity.
    assert!(galen_crypto::ProxyShare::from_bytes(1, SEGMENT, EPOCH, &[0; 32]).is_err());
    let zero = [&[2, 3][..], generator(-1).as_slice(), generator(1).as_slice()].concat();
    assert!(ShareKeys::from_bytes(&zero).is_err(), "P_1 = -G + G is the identity");
    let fine = [&[2, 3][..], generator(1).as_slice(), generator(1).as_slice()].concat();
    assert!(ShareKeys::from_bytes(&fine).is_ok());
}

fn generator(sign: i8) -> [u8; 32] {
    let point = if sign < 0 { -RISTRETTO_BASEPOINT_POINT } else { RISTRETTO_BASEPOINT_POINT };
    point.compress().to_bytes()
}

/// The limit: enough proxies and one reader of a grant, even a revoked one that kept its half, have the segment's
/// secret of that epoch, and open every record under it without another log.
#[test]
fn enough_proxies_and_a_revoked_reader_open_the_whole_segment_and_epoch() {
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let shares = [&split.shares[0], &split.shares[2]];
    let theirs: Scalar = shares
        .iter()
        .map(|it| scalar(it.expose().as_slice()) * lagrange(it.index(), &[1, 3]))
        .sum();
    let mut bytes = *split.half.expose();
    let secret = theirs + scalar(&bytes);
    bytes[..32].copy_from_slice(secret.as_bytes());
    let key = SegmentKey::from_bytes(SEGMENT, EPOCH, &bytes).unwrap();
    for byte in 1..=3 {
        let record = target(byte, SEGMENT, EPOCH);
        assert!(record.header.unwrap_segment(&record.context, &key).is_ok());
    }
    let later = target(4, SEGMENT, EPOCH + 1);
    assert!(later.header.unwrap_segment(&later.context, &key).is_err());
}

/// The other limit: who computes discrete logarithms, as a quantum computer would, and has the X-Wing secret of any
/// reader of the epoch opens without proxies. Without a reader it does not.
#[test]
fn a_broken_curve_and_one_reader_open_and_a_broken_curve_alone_does_not() {
    let record = target(1, SEGMENT, EPOCH);
    let logarithm = scalar(FIXTURE.segment.expose().as_slice());
    let reader = FIXTURE.segment.split(2, 3).unwrap().half;
    let shared = record.base() * logarithm;
    assert!(record.opens_with(&shared, &kem(&reader), EPOCH, SEGMENT));
    let elsewhere = FIXTURE.keys.segment(SEGMENT, EPOCH + 1).split(2, 3).unwrap().half;
    assert!(!record.opens_with(&shared, &kem(&elsewhere), EPOCH, SEGMENT));
}

/// Nonces are not shared between answers: two answers with one nonce would give the share away.
#[test]
fn answers_never_repeat_a_nonce() {
    let record = target(1, SEGMENT, EPOCH);
    let split = FIXTURE.segment.split(1, 1).unwrap();
    let share = scalar(split.shares[0].expose().as_slice());
    let nonces: Vec<[u8; 32]> = (0..64)
        .map(|_| {
            let bytes = record.answer(&split, 1).to_bytes();
            (scalar(&bytes[65..]) - scalar(&bytes[33..65]) * share).to_bytes()
        })
        .collect();
    let mut distinct = nonces.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), nonces.len());
    // And what one answer gives away is a hash: the challenge covers every word that it should.
    let answer = record.answer(&split, 1).to_bytes();
    let (c, s) = (scalar(&answer[33..65]), scalar(&answer[65..]));
    let (g, base) = (RISTRETTO_BASEPOINT_POINT, record.base());
    let (key, answered) = (g * share, CompressedRistretto(answer[1..33].try_into().unwrap()));
    let first = g * s - key * c;
    let second = base * s - answered.decompress().unwrap() * c;
    let hash = Sha512::new()
        .chain_update(b"galen.proxy.answer.v1")
        .chain_update(record.context.to_bytes())
        .chain_update([SEGMENT.0])
        .chain_update(EPOCH.to_be_bytes())
        .chain_update([1])
        .chain_update(key.compress().as_bytes())
        .chain_update(record.capsule().point())
        .chain_update(answered.as_bytes())
        .chain_update(first.compress().as_bytes())
        .chain_update(second.compress().as_bytes())
        .finalize();
    assert_eq!(Scalar::from_bytes_mod_order_wide(&hash.into()), c);
}
