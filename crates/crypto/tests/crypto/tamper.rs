//! Nothing changed opens, and no byte of a bad block is released.

use galen_crypto::{Error, Header, OpenError, OpenKey, Opener, SealContext, open};

use crate::{
    fixture::{EPOCH, FIXTURE, SEGMENT, payload},
    forge,
};

const BLOCK: usize = 65_536;

/// Opens with the data key, which skips the wraps and so is the weakest reader.
struct Weakest {
    context: SealContext,
    sealed: Vec<u8>,
    payload: Vec<u8>,
    key: galen_crypto::DataKey,
}

impl Weakest {
    fn of(len: usize) -> Self {
        let payload = payload(len);
        let (context, sealed) = FIXTURE.seal(&payload);
        let header = Header::parse(&sealed).unwrap();
        let key = header.unwrap_identity(&context, &FIXTURE.identity).unwrap();
        Self { context, sealed, payload, key }
    }

    fn open(&self, sealed: &[u8]) -> Result<galen_crypto::Opened, OpenError> {
        open(sealed, self.context, OpenKey::Data(&self.key))
    }

    /// The steps of opening up to the first block, without the buffers of a stream.
    fn opens_first_block(&self, sealed: &[u8]) -> bool {
        Header::parse(sealed)
            .and_then(|header| Opener::new(&header, self.context, OpenKey::Data(&self.key)))
            .and_then(|opener| opener.layout(&sealed[4096..]))
            .is_ok()
    }

    /// Refuses, and what a streaming reader got before is a prefix of the true payload, in whole
    /// blocks, of no block at or after the first bad one.
    fn assert_refused(&self, sealed: &[u8], first_bad_block: usize, what: &str) {
        assert_eq!(self.open(sealed), Err(OpenError), "{what}");
        let Ok(header) = Header::parse(sealed) else { return };
        let key = OpenKey::Data(&self.key);
        let Ok(opener) = Opener::new(&header, self.context, key) else { return };
        let mut released = Vec::new();
        let result = opener.open_to(&sealed[4096..], &mut released);
        assert!(matches!(result, Err(Error::Open(OpenError))), "{what}");
        assert!(released.len() <= first_bad_block * 65_520, "{what}: a bad block was released");
        assert!(self.payload.starts_with(&released), "{what}: wrong bytes were released");
    }
}

#[test]
fn every_flipped_bit_of_the_header_is_refused() {
    let weakest = Weakest::of(20);
    let mut sealed = weakest.sealed.clone();
    for bit in 0..4096 * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert!(!weakest.opens_first_block(&sealed), "bit {bit}");
        if bit % 23 == 0 {
            assert_eq!(weakest.open(&sealed), Err(OpenError), "bit {bit}");
        }
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(weakest.opens_first_block(&sealed) && weakest.open(&sealed).is_ok());
}

#[test]
fn every_flipped_bit_of_a_small_body_is_refused() {
    let weakest = Weakest::of(20);
    let mut sealed = weakest.sealed.clone();
    for bit in 4096 * 8..sealed.len() * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        weakest.assert_refused(&sealed, 0, &format!("bit {bit}"));
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
}

/// By the wraps too: bits all over the header, read as patient and as segment reader.
#[test]
fn flipped_bits_of_the_wraps_are_refused_by_their_readers() {
    let (context, sealed) = FIXTURE.seal(b"x");
    for bit in (0..2600 * 8).step_by(131) {
        let mut sealed = sealed.clone();
        sealed[bit / 8] ^= 1 << (bit % 8);
        for key in [OpenKey::Identity(&FIXTURE.identity), OpenKey::Segment(&FIXTURE.segment)] {
            assert_eq!(open(&sealed, context, key), Err(OpenError), "bit {bit}");
        }
    }
}

#[test]
fn flipped_bits_of_a_large_body_release_nothing_of_their_block() {
    let weakest = Weakest::of(3 * 65_520);
    let mut sealed = weakest.sealed.clone();
    for at in (4096..sealed.len()).step_by(4_099) {
        sealed[at] ^= 0x10;
        weakest.assert_refused(&sealed, (at - 4096) / BLOCK, &format!("byte {at}"));
        sealed[at] ^= 0x10;
    }
}

#[test]
fn dropped_doubled_and_swapped_blocks_are_refused() {
    let weakest = Weakest::of(3 * 65_520);
    let (header, body) = weakest.sealed.split_at(4096);
    let blocks: Vec<&[u8]> = body.chunks(BLOCK).collect();
    assert_eq!(blocks.len(), 4);
    let join = |blocks: &[&[u8]]| [header, &blocks.concat()].concat();
    for at in 0..blocks.len() {
        let mut dropped = blocks.clone();
        dropped.remove(at);
        // Without its end even the block before is bad: it is not the last.
        weakest.assert_refused(&join(&dropped), at, &format!("block {at} dropped"));
        for to in 0..=blocks.len() {
            let mut doubled = blocks.clone();
            doubled.insert(to, blocks[at]);
            let bad = if at == to { at + 1 } else { to };
            weakest.assert_refused(&join(&doubled), bad, &format!("block {at} again at {to}"));
        }
        for other in at + 1..blocks.len() {
            let mut swapped = blocks.clone();
            swapped.swap(at, other);
            weakest.assert_refused(
                &join(&swapped),
                at,
                &format!("blocks {at} and {other} swapped"),
            );
        }
    }
    weakest.assert_refused(&join(&[]), 0, "no block");
}

#[test]
fn content_cut_or_grown_is_refused() {
    let small = Weakest::of(20);
    for len in 0..small.sealed.len() {
        small.assert_refused(&small.sealed[..len], 0, &format!("cut at {len}"));
    }
    let weakest = Weakest::of(2 * 65_520);
    let borders = [0, 1, 2].map(|n| 4096 + n * BLOCK);
    let near = borders.iter().flat_map(|at| at.saturating_sub(18)..at + 18);
    for len in near.chain((0..weakest.sealed.len()).step_by(6_151)) {
        let bad = len.saturating_sub(4096) / BLOCK;
        weakest.assert_refused(&weakest.sealed[..len], bad, &format!("cut at {len}"));
    }
    for extra in [1, 16, 17, 4096, BLOCK] {
        for weakest in [&small, &weakest] {
            let grown = [&weakest.sealed[..], &vec![0; extra]].concat();
            weakest.assert_refused(&grown, 2, &format!("{extra} more"));
        }
    }
}

#[test]
fn blocks_of_another_sealing_are_refused() {
    let (first, second) = (Weakest::of(2 * 65_520), Weakest::of(2 * 65_520));
    let mut mixed = first.sealed.clone();
    mixed[4096 + BLOCK..4096 + 2 * BLOCK]
        .copy_from_slice(&second.sealed[4096 + BLOCK..4096 + 2 * BLOCK]);
    first.assert_refused(&mixed, 1, "block of another sealing");
    let mut header = first.sealed.clone();
    header[..4096].copy_from_slice(&second.sealed[..4096]);
    assert_eq!(open(&header, first.context, OpenKey::Identity(&FIXTURE.identity)), Err(OpenError));
}

/// A capsule moved with its whole wrap into the header of another record.
#[test]
fn a_moved_capsule_is_refused() {
    let (context, sealed) = FIXTURE.seal(b"x");
    let header = Header::parse(&sealed).unwrap();
    let capsule = header.capsule().unwrap();
    assert_eq!(capsule.verify(&context, SEGMENT, EPOCH), Ok(()));
    let elsewhere = SealContext { record: galen_types::RecordId::default(), ..context };
    assert_eq!(capsule.verify(&elsewhere, SEGMENT, EPOCH), Err(OpenError));
    assert_eq!(capsule.verify(&context, galen_types::Segment(41), EPOCH), Err(OpenError));
    assert_eq!(capsule.verify(&context, SEGMENT, EPOCH + 1), Err(OpenError));
    for bit in 0..96 * 8 {
        let (mut point, mut proof) = (*capsule.point(), *capsule.proof());
        if bit < 256 {
            point[bit / 8] ^= 1 << (bit % 8);
        } else {
            proof[bit / 8 - 32] ^= 1 << (bit % 8);
        }
        let changed = galen_crypto::Capsule::from_bytes(point, proof);
        assert_eq!(changed.verify(&context, SEGMENT, EPOCH), Err(OpenError), "bit {bit}");
    }
    let zero = galen_crypto::Capsule::from_bytes([0; 32], [0; 64]);
    assert_eq!(zero.verify(&context, SEGMENT, EPOCH), Err(OpenError));
}

/// Whoever holds the data key can seal nonsense; a reader refuses every text but the one.
#[test]
fn second_texts_of_a_holder_of_the_key_are_refused() {
    let payload = payload(65_469);
    let context = SealContext { commitment: forge::commitment(&payload), ..FIXTURE.seal(b"").0 };
    let key = forge::data_key();
    let text = forge::header_text(&context);
    let plaintext = forge::plaintext(&payload);
    let check = |what: &str, text: &[u8], blocks: &[(Vec<u8>, bool)], good: bool| {
        let sealed = forge::seal(&context, text, blocks);
        assert_eq!(open(&sealed, context, OpenKey::Data(&key)).is_ok(), good, "{what}");
    };
    let blocks = forge::blocks(&plaintext);
    check("honest", &text, &blocks, true);
    check(
        "an empty last block",
        &text,
        &[(plaintext[..65_520].to_vec(), false), (vec![], true)],
        false,
    );
    check("last flag missing", &text, &[blocks[0].clone(), (blocks[1].0.clone(), false)], false);
    check("last flag twice", &text, &[(blocks[0].0.clone(), true), blocks[1].clone()], false);
    let mut dirty = plaintext.clone();
    *dirty.last_mut().unwrap() = 1;
    check("padding not zero", &text, &forge::blocks(&dirty), false);
    let longer = [&plaintext[..], &[0]].concat();
    check("padding too long", &text, &forge::blocks(&longer), false);
    let shorter = &plaintext[..plaintext.len() - 1];
    check("padding too short", &text, &forge::blocks(shorter), false);
    let mut lying = plaintext.clone();
    lying[39] -= 1;
    check("length lies", &text, &forge::blocks(&lying), false);
    lying[32..40].fill(0xff);
    check("length beyond all bounds", &text, &forge::blocks(&lying), false);
    let mut other = plaintext.clone();
    other[100] ^= 1;
    check("not what was committed to", &text, &forge::blocks(&other), false);
    let mut control = plaintext.clone();
    control[41] = 7;
    check("media type with a control character", &text, &forge::blocks(&control), false);
}

#[test]
fn second_texts_of_a_header_are_refused() {
    let context = SealContext { commitment: forge::commitment(b"x"), ..FIXTURE.seal(b"").0 };
    let text = forge::header_text(&context);
    let blocks = forge::blocks(&forge::plaintext(b"x"));
    let check = |what: &str, text: &[u8], good: bool| {
        let sealed = forge::seal(&context, text, &blocks);
        let opened = open(&sealed, context, OpenKey::Data(&forge::data_key()));
        assert_eq!(opened.is_ok(), good, "{what}");
    };
    let splice = |at: usize, remove: usize, insert: &[u8]| {
        [&text[..at], insert, &text[at + remove..]].concat()
    };
    check("honest", &text, true);
    check("format 2", &splice(2, 1, &[2]), false);
    check("epoch in two bytes", &splice(4, 1, &[0x18, 7]), false);
    check("epoch in nine bytes", &splice(4, 1, &[0x1b, 0, 0, 0, 0, 0, 0, 0, 7]), false);
    check("epoch beyond 32 bits", &splice(4, 1, &[0x1b, 0, 0, 0, 1, 0, 0, 0, 7]), false);
    check("key in two bytes", &splice(1, 1, &[0x18, 0]), false);
    check("map of unknown length", &[&splice(0, 1, &[0xbf])[..], &[0xff]].concat(), false);
    check("five pairs", &[&splice(0, 1, &[0xa5])[..], &[4, 0]].concat(), false);
    check("epoch before format", &splice(1, 4, &[1, 7, 0, 1]), false);
    check("no wrap", &[&text[..41], &[0x80]].concat(), false);
    check("list of unknown length", &[&splice(41, 1, &[0x9f])[..], &[0xff]].concat(), false);
    check(
        "two identity wraps",
        &[&splice(41, 1, &[0x82])[..], &forge::identity_wrap()].concat(),
        false,
    );
    check("unknown kind", &splice(43, 1, &[2]), false);
    check("trailing byte", &[&text[..], &[1]].concat(), false);
    check("longer commitment", &splice(7, 1, &[33]), false);
}
