//! Sharing by proxies: what the people who should open do open, and what everybody else can make of all that
//! they hold.

use curve25519_dalek::Scalar;
use galen_crypto::{
    Answer, Capsule, Error, Header, KeySplit, OpenError, OpenKey, ReaderHalf, SealContext,
    SegmentKey, ShareKeys, open,
};
use proptest::prelude::*;

use crate::fixture::{EPOCH, FIXTURE, SEGMENT, payload};

/// One sealed record, and who may ask for it.
struct Case {
    context: SealContext,
    sealed: Vec<u8>,
    header: Header,
    split: KeySplit,
}

impl Case {
    fn new(threshold: u8, proxies: u8) -> Self {
        let (context, sealed) = FIXTURE.seal(&payload(100));
        let header = Header::parse(&sealed).unwrap();
        let split = FIXTURE.segment.split(threshold, proxies).unwrap();
        Self { context, sealed, header, split }
    }

    fn capsule(&self) -> &Capsule {
        self.header.capsule().unwrap()
    }

    fn answers(&self, indexes: &[u8]) -> Vec<Answer> {
        let shares = indexes.iter().map(|index| &self.split.shares[usize::from(index - 1)]);
        shares.map(|share| share.answer(&self.context, self.capsule()).unwrap()).collect()
    }

    fn open(&self, answers: &[Answer]) -> Result<(), OpenError> {
        let KeySplit { half, keys, .. } = &self.split;
        self.open_with(half, keys, answers)
    }

    fn open_with(
        &self,
        half: &ReaderHalf,
        keys: &ShareKeys,
        answers: &[Answer],
    ) -> Result<(), OpenError> {
        let key = self.header.unwrap_shared(&self.context, half, keys, answers)?;
        let opened = open(&self.sealed, self.context, OpenKey::Data(&key))?;
        assert_eq!(opened.payload.expose(), payload(100));
        Ok(())
    }
}

fn scalar(bytes: &[u8]) -> Scalar {
    Scalar::from_canonical_bytes(bytes[..32].try_into().unwrap()).unwrap()
}

fn secret() -> Scalar {
    scalar(FIXTURE.segment.expose().as_slice())
}

/// Lagrange's interpolation at 0, from the definition.
fn interpolate(points: &[(u8, Scalar)]) -> Scalar {
    let factor = |at: u8| {
        let others = points.iter().map(|it| it.0).filter(|other| *other != at);
        others.fold(Scalar::ONE, |product, other| {
            let (at, other) = (Scalar::from(at), Scalar::from(other));
            product * other * (other - at).invert()
        })
    };
    points.iter().map(|(at, value)| factor(*at) * value).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any of them in any order, as many as it takes, open; the rest of them, however wrong, changes nothing.
    #[test]
    fn enough_answers_open(proxies in 1u8..=9, seed in any::<u64>(), junk in any::<[u8; 97]>()) {
        let threshold = u8::try_from(seed % u64::from(proxies)).unwrap() + 1;
        let case = Case::new(threshold, proxies);
        let mut indexes: Vec<u8> = (1..=proxies).collect();
        indexes.rotate_left((seed >> 8) as usize % usize::from(proxies));
        let answers = case.answers(&indexes[..usize::from(threshold)]);
        prop_assert_eq!(case.open(&answers), Ok(()));
        let mut crowd = vec![Answer::from_bytes(&junk)];
        crowd.extend(answers.iter().flat_map(|answer| [answer.clone(), answer.clone()]));
        prop_assert_eq!(case.open(&crowd), Ok(()));
        // One fewer does not, however often each is repeated.
        let mut few = answers[1..].to_vec();
        few.extend(few.clone());
        prop_assert_eq!(case.open(&few), Err(OpenError));
    }

    #[test]
    fn bytes_of_all_parts_come_back(threshold in 1u8..=5, more in 0u8..=5) {
        let case = Case::new(threshold, threshold + more);
        let KeySplit { half, shares, keys } = &case.split;
        let again = ReaderHalf::from_bytes(SEGMENT, EPOCH, &half.expose()).unwrap();
        let keys_again = ShareKeys::from_bytes(&keys.to_bytes()).unwrap();
        prop_assert_eq!(&keys_again, keys);
        prop_assert!(again.completes(&keys_again, &FIXTURE.segment_public));
        for share in shares {
            let bytes = share.expose();
            let share = galen_crypto::ProxyShare::from_bytes(share.index(), SEGMENT, EPOCH, &bytes);
            prop_assert!(share.unwrap().fits(&keys_again));
        }
        let answers: Vec<u8> = (1..=threshold).collect();
        let answers: Vec<Answer> = case
            .answers(&answers)
            .iter()
            .map(|answer| Answer::from_bytes(&answer.to_bytes()))
            .collect();
        prop_assert_eq!(case.open_with(&again, &keys_again, &answers), Ok(()));
    }
}

#[test]
fn counts_that_share_nothing_are_refused() {
    for (threshold, proxies) in [(0, 0), (0, 3), (4, 3), (1, 33), (255, 255)] {
        let split = FIXTURE.segment.split(threshold, proxies);
        assert!(matches!(split, Err(Error::Threshold { .. })), "{threshold} of {proxies}");
    }
    let case = Case::new(2, 3);
    let keys = case.split.keys.to_bytes();
    let mut bad = vec![Vec::new(), keys[..65].to_vec(), [keys.as_slice(), &[0]].concat()];
    for (at, value) in [(0, 0), (0, 1), (0, 3), (1, 1), (1, 33)] {
        let mut changed = keys.clone();
        changed[at] = value;
        bad.push(changed);
    }
    let identity = [keys[..34].to_vec(), vec![0; 32]].concat();
    let not_canonical = [keys[..34].to_vec(), vec![0xff; 32]].concat();
    // C_0 + C_1 is zero: a share of nothing.
    let first = curve25519_dalek::ristretto::CompressedRistretto(keys[2..34].try_into().unwrap());
    let opposite = (-first.decompress().unwrap()).compress();
    let zero_share = [&keys[..34], opposite.as_bytes()].concat();
    bad.extend([identity, not_canonical, zero_share]);
    for bytes in bad {
        assert!(ShareKeys::from_bytes(&bytes).is_err(), "{bytes:02x?}");
    }
    for (index, scalar) in [(0, [1; 32]), (33, [1; 32]), (1, [0; 32]), (1, [0xff; 32])] {
        assert!(galen_crypto::ProxyShare::from_bytes(index, SEGMENT, EPOCH, &scalar).is_err());
    }
}

/// Each bit of an answer counts, and so does everything that it is for.
#[test]
fn a_changed_or_moved_answer_is_refused() {
    let case = Case::new(2, 3);
    let answer = case.answers(&[2]).remove(0);
    let verify = |answer: &Answer, context: &SealContext, capsule: &Capsule| {
        answer.verify(&case.split.keys, context, SEGMENT, EPOCH, capsule)
    };
    assert_eq!(verify(&answer, &case.context, case.capsule()), Ok(()));
    for bit in 0..Answer::LEN * 8 {
        let mut bytes = answer.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let changed = Answer::from_bytes(&bytes);
        assert_eq!(verify(&changed, &case.context, case.capsule()), Err(OpenError), "bit {bit}");
    }
    // The same record sealed again: another capsule.
    let (context, sealed) = FIXTURE.seal(&payload(100));
    let other = Header::parse(&sealed).unwrap();
    assert_eq!(context, case.context);
    assert_eq!(verify(&answer, &context, other.capsule().unwrap()), Err(OpenError));
    // Another grant's keys.
    let other = FIXTURE.segment.split(2, 3).unwrap();
    let moved = answer.verify(&other.keys, &case.context, SEGMENT, EPOCH, case.capsule());
    assert_eq!(moved, Err(OpenError));
    for (segment, epoch) in [(galen_types::Segment(43), EPOCH), (SEGMENT, EPOCH + 1)] {
        let moved = answer.verify(&case.split.keys, &case.context, segment, epoch, case.capsule());
        assert_eq!(moved, Err(OpenError));
    }
}

/// A proxy transforms no capsule that was made for something else, nor one that somebody derived from another.
#[test]
fn a_moved_capsule_is_refused() {
    let case = Case::new(1, 1);
    let share = &case.split.shares[0];
    let capsule = case.capsule();
    let refused = |context: &SealContext, capsule: &Capsule| {
        assert!(matches!(share.answer(context, capsule), Err(Error::Open(OpenError))));
    };
    let mut contexts = [case.context; 4];
    contexts[0].record = galen_types::RecordId([9; 32].into());
    contexts[1].commitment = galen_types::Commitment([9; 32].into());
    contexts[2].ledger.chain_id += 1;
    contexts[3].ledger.contract = [9; 20].into();
    contexts.iter().for_each(|context| refused(context, capsule));
    // Twice the capsule would give twice the secret.
    let point = curve25519_dalek::ristretto::CompressedRistretto(*capsule.point());
    let twice = (point.decompress().unwrap() * Scalar::from(2u8)).compress().to_bytes();
    refused(&case.context, &Capsule::from_bytes(twice, *capsule.proof()));
    refused(&case.context, &Capsule::from_bytes([0; 32], *capsule.proof()));
    // A share of another segment or epoch.
    let bytes = share.expose();
    for (segment, epoch) in [(galen_types::Segment(43), EPOCH), (SEGMENT, EPOCH + 1)] {
        let share = galen_crypto::ProxyShare::from_bytes(1, segment, epoch, &bytes).unwrap();
        assert!(share.answer(&case.context, capsule).is_err());
    }
}

/// With everything that fewer than the threshold and a reader hold, every secret is still as likely as the true one.
#[test]
fn below_the_threshold_nothing_is_known() {
    let case = Case::new(3, 5);
    let half = scalar(case.split.half.expose().as_slice());
    let known: Vec<(u8, Scalar)> = case.split.shares[..2]
        .iter()
        .map(|share| (share.index(), scalar(share.expose().as_slice())))
        .collect();
    // Any other secret has a polynomial through the same two shares: the third coefficient is free.
    let claimed = Scalar::from(12_345u32);
    let mut points = known.clone();
    points.push((0, claimed - half));
    let at = |index: u8| evaluate(&points, index);
    assert!(known.iter().all(|(index, share)| at(*index) == *share));
    assert_eq!(at(0) + half, claimed);
    assert_ne!(half + interpolate(&known), secret());
    // And the same by doing: proxies answer each other's capsules as they like, two are not three.
    assert_eq!(case.open(&case.answers(&[1, 2])), Err(OpenError));
}

/// The polynomial through these points, at `index`.
fn evaluate(points: &[(u8, Scalar)], index: u8) -> Scalar {
    let at = Scalar::from(index);
    let term = |(own, value): &(u8, Scalar)| {
        let own_at = Scalar::from(*own);
        let others = points.iter().map(|it| it.0).filter(|other| other != own);
        others.fold(*value, |product, other| {
            let other = Scalar::from(other);
            product * (at - other) * (own_at - other).invert()
        })
    };
    points.iter().map(term).sum()
}

/// What the design cannot prevent, so that nobody believes otherwise.
#[test]
fn the_threshold_and_a_reader_know_the_secret() {
    let case = Case::new(2, 3);
    let half = scalar(case.split.half.expose().as_slice());
    let shares: Vec<(u8, Scalar)> = case.split.shares[1..]
        .iter()
        .map(|share| (share.index(), scalar(share.expose().as_slice())))
        .collect();
    assert_eq!(half + interpolate(&shares), secret());
    // Without a reader the same proxies know a number that any secret could have given.
    assert_ne!(interpolate(&shares), secret());
}

/// The shares of the next grant do not complete an older reader's half, nor do a few of each.
#[test]
fn grants_do_not_mix() {
    let case = Case::new(2, 3);
    let next = FIXTURE.segment.split(2, 3).unwrap();
    assert!(next.half.completes(&next.keys, &FIXTURE.segment_public));
    assert!(!case.split.half.completes(&next.keys, &FIXTURE.segment_public));
    let fresh: Vec<Answer> = next.shares[..2]
        .iter()
        .map(|share| share.answer(&case.context, case.capsule()).unwrap())
        .collect();
    assert_eq!(case.open_with(&next.half, &next.keys, &fresh), Ok(()));
    assert_eq!(case.open_with(&case.split.half, &next.keys, &fresh), Err(OpenError));
    assert_eq!(case.open_with(&case.split.half, &case.split.keys, &fresh), Err(OpenError));
    let mixed = [case.answers(&[1]), fresh[1..].to_vec()].concat();
    assert_eq!(case.open(&mixed), Err(OpenError));
    // Two halves and one share of each: the secret is in neither sum.
    let sums = [
        scalar(case.split.half.expose().as_slice())
            + scalar(case.split.shares[0].expose().as_slice()),
        scalar(next.half.expose().as_slice()) + scalar(next.shares[0].expose().as_slice()),
    ];
    assert!(sums.iter().all(|sum| *sum != secret()));
}

/// Without the segment's X-Wing secret the right answers open nothing: that is the guard that outlives the curve.
#[test]
fn the_curve_alone_opens_nothing() {
    let case = Case::new(1, 1);
    let mut bytes = case.split.half.expose();
    bytes[32..].fill(7);
    let half = ReaderHalf::from_bytes(SEGMENT, EPOCH, &bytes).unwrap();
    assert!(!half.completes(&case.split.keys, &FIXTURE.segment_public));
    let answers = case.answers(&[1]);
    assert_eq!(case.open_with(&half, &case.split.keys, &answers), Err(OpenError));
    // Whoever knows the scalar has what a quantum computer would find in A.
    let key = SegmentKey::from_bytes(SEGMENT, EPOCH, &{
        let mut bytes = FIXTURE.segment.expose();
        bytes[32..].fill(7);
        *bytes
    });
    assert_eq!(case.header.unwrap_segment(&case.context, &key.unwrap()).err(), Some(OpenError));
}

/// For a segment that is open to the network the proxies need no reader's half.
#[test]
fn a_whole_secret_is_shared_too() {
    let case = Case::new(2, 3);
    let whole = FIXTURE.segment.share_whole(2, 3).unwrap();
    let shares: Vec<(u8, Scalar)> = whole.shares[..2]
        .iter()
        .map(|share| (share.index(), scalar(share.expose().as_slice())))
        .collect();
    assert_eq!(interpolate(&shares), secret());
    assert_eq!(scalar(whole.half.expose().as_slice()), Scalar::ZERO);
    let answers: Vec<Answer> = whole.shares[1..]
        .iter()
        .map(|share| share.answer(&case.context, case.capsule()).unwrap())
        .collect();
    assert_eq!(case.open_with(&whole.half, &whole.keys, &answers), Ok(()));
}

#[test]
fn nothing_secret_is_in_debug() {
    let case = Case::new(2, 3);
    let text = format!("{:?} {:?}", case.split, case.answers(&[1]));
    let secrets = [
        hex::encode(case.split.half.expose().as_slice()),
        hex::encode(case.split.shares[0].expose().as_slice()),
    ];
    for secret in secrets {
        assert!(!text.contains(&secret[..16]), "{text}");
    }
    assert!(text.contains("ShareKeys(2 of 3)"), "{text}");
}
