//! What is sealed opens, for whom it should and nobody else.

use std::io::{self, Read};

use alloy_primitives::{Address, B256};
use galen_crypto::{
    Committed, Error, Header, OpenError, OpenKey, Opener, RootSeed, SealContext, SealRequest,
    commit, content::BLOCK_LEN, open, seal, seal_bytes,
};
use galen_types::{Commitment, RecordId, Salt, Segment};
use proptest::prelude::*;

use crate::{
    fixture::{EPOCH, FIXTURE, SEGMENT, payload},
    forge,
};

/// The bytes before the payload, for the fixture's media type.
const PREAMBLE_LEN: usize = 41 + 21;

fn round_trip(bytes: &[u8]) {
    let (context, sealed) = FIXTURE.seal(bytes);
    for key in [OpenKey::Identity(&FIXTURE.identity), OpenKey::Segment(&FIXTURE.segment)] {
        let opened = open(&sealed, context, key).unwrap();
        assert_eq!(opened.payload.expose(), bytes);
        assert_eq!(opened.media_type, FIXTURE.media_type);
        assert_eq!(opened.salt, FIXTURE.salt);
    }
}

#[test]
fn payloads_around_block_borders_round_trip() {
    let full = BLOCK_LEN - PREAMBLE_LEN;
    for len in [0, 1, 2, full - 1, full, full + 1, full + BLOCK_LEN - 1, full + BLOCK_LEN, 3 * full]
    {
        round_trip(&payload(len));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_payload_round_trips(bytes: Vec<u8>) {
        round_trip(&bytes);
    }

    /// The padding depends on the length alone.
    #[test]
    fn sealed_length_follows_from_the_payload_length(len in 0..300_000_usize) {
        let (context, sealed) = FIXTURE.seal(&payload(len));
        let header = Header::parse(&sealed).unwrap();
        let opener = Opener::new(&header, context, OpenKey::Segment(&FIXTURE.segment)).unwrap();
        let first = &sealed[4096..sealed.len().min(4096 + 65_536)];
        let layout = opener.layout(first).unwrap();
        prop_assert_eq!(layout.sealed_len(), sealed.len() as u64);
        prop_assert_eq!(layout.payload_len(), len as u64);
        prop_assert!(sealed.len() < 4096 + (len + 128) * 113 / 100 + 16 * (len / BLOCK_LEN + 2));
    }
}

#[test]
fn a_second_implementation_seals_what_opens() {
    for len in [0, 5, 65_469, 65_470, 200_000] {
        let bytes = payload(len);
        let context = SealContext { commitment: forge::commitment(&bytes), ..FIXTURE.seal(b"").0 };
        let sealed = forge::honest(&context, &bytes);
        let opened = open(&sealed, context, OpenKey::Data(&forge::data_key())).unwrap();
        assert_eq!(opened.payload.expose(), bytes, "{len}");
        assert_eq!(opened.media_type.as_str(), forge::MEDIA_TYPE);
    }
}

#[test]
fn another_context_does_not_open() {
    let (context, sealed) = FIXTURE.seal(b"potassium 5.1");
    let other_ledger = |chain_id, contract| {
        let ledger = galen_types::LedgerId { chain_id, contract };
        SealContext { ledger, ..context }
    };
    let contexts = [
        other_ledger(context.ledger.chain_id + 1, context.ledger.contract),
        other_ledger(context.ledger.chain_id, Address::repeat_byte(0x34)),
        SealContext { record: RecordId(B256::repeat_byte(0x45)), ..context },
        SealContext { commitment: Commitment(B256::repeat_byte(1)), ..context },
    ];
    let header = Header::parse(&sealed).unwrap();
    let data_key = header.unwrap_identity(&context, &FIXTURE.identity).unwrap();
    for context in contexts {
        for key in [
            OpenKey::Identity(&FIXTURE.identity),
            OpenKey::Segment(&FIXTURE.segment),
            OpenKey::Data(&data_key),
        ] {
            assert_eq!(open(&sealed, context, key), Err(OpenError));
        }
        assert_eq!(header.capsule().unwrap().verify(&context, SEGMENT, EPOCH), Err(OpenError));
    }
}

#[test]
fn another_key_does_not_open() {
    let (context, sealed) = FIXTURE.seal(b"potassium 5.1");
    let keys = &FIXTURE.keys;
    let stranger = RootSeed::from_bytes([0x12; 32]).pseudonym(keys.id());
    let other_pseudonym = RootSeed::from_bytes([0x11; 32]).pseudonym(Address::repeat_byte(0x23));
    for keys in [&stranger, &other_pseudonym] {
        assert_eq!(open(&sealed, context, OpenKey::Identity(&keys.identity())), Err(OpenError));
        let segment = keys.segment(SEGMENT, EPOCH);
        assert_eq!(open(&sealed, context, OpenKey::Segment(&segment)), Err(OpenError));
    }
    for segment in [keys.segment(Segment(43), EPOCH), keys.segment(SEGMENT, EPOCH + 1)] {
        assert_eq!(open(&sealed, context, OpenKey::Segment(&segment)), Err(OpenError));
    }
    // The right secret under another label of segment or epoch.
    let secret = FIXTURE.segment.expose();
    for (segment, epoch) in [(Segment(43), EPOCH), (SEGMENT, EPOCH + 1)] {
        let key = galen_crypto::SegmentKey::from_bytes(segment, epoch, &secret).unwrap();
        assert_eq!(open(&sealed, context, OpenKey::Segment(&key)), Err(OpenError));
    }
    let data = galen_crypto::DataKey::from_bytes([1; 32]);
    assert_eq!(open(&sealed, context, OpenKey::Data(&data)), Err(OpenError));
}

#[test]
fn a_wrap_is_only_for_its_own_kind() {
    let request = SealRequest { segment: None, ..FIXTURE.request() };
    let (committed, sealed) = seal_bytes(&request, b"x").unwrap();
    let context = FIXTURE.context(&committed);
    assert!(open(&sealed, context, OpenKey::Identity(&FIXTURE.identity)).is_ok());
    assert_eq!(open(&sealed, context, OpenKey::Segment(&FIXTURE.segment)), Err(OpenError));
    assert!(Header::parse(&sealed).unwrap().capsule().is_none());

    let request = SealRequest { identity: None, ..FIXTURE.request() };
    let (_, sealed) = seal_bytes(&request, b"x").unwrap();
    assert!(open(&sealed, context, OpenKey::Segment(&FIXTURE.segment)).is_ok());
    assert_eq!(open(&sealed, context, OpenKey::Identity(&FIXTURE.identity)), Err(OpenError));
    assert!(!Header::parse(&sealed).unwrap().has_identity_wrap());
}

#[test]
fn resealing_keeps_the_commitment_and_changes_every_byte_string() {
    let (context, first) = FIXTURE.seal(b"potassium 5.1");
    let opened = open(&first, context, OpenKey::Identity(&FIXTURE.identity)).unwrap();
    let request =
        SealRequest { salt: opened.salt, media_type: &opened.media_type, ..FIXTURE.request() };
    let (committed, second) = seal_bytes(&request, opened.payload.expose()).unwrap();
    assert_eq!(committed.commitment, context.commitment);
    assert_eq!(committed.sha256, opened.sha256);
    assert_eq!(first.len(), second.len());
    let (a, b) = (Header::parse(&first).unwrap(), Header::parse(&second).unwrap());
    assert_ne!(a.key_commitment(), b.key_commitment());
    assert_ne!(a.capsule().unwrap().point(), b.capsule().unwrap().point());
    assert_ne!(first[4096..4112], second[4096..4112]);
}

/// Whatever changes between the two passes, wherever it lies, and however the source deals it out.
#[test]
fn a_payload_that_changes_between_the_passes_is_not_sealed() {
    let request = FIXTURE.request();
    // The payload's part of the first block, and two more parts.
    let first = BLOCK_LEN - PREAMBLE_LEN;
    let honest = payload(first + 2 * BLOCK_LEN);
    let committed = commit(honest.as_slice(), request.salt, request.media_type).unwrap();
    let sealing = |source: &[u8]| seal(&request, &committed, source, io::sink());
    sealing(&honest).unwrap();
    seal(&request, &committed, Bytewise(&honest), io::sink()).unwrap();
    let committed_bytewise = commit(Bytewise(&honest), request.salt, request.media_type).unwrap();
    assert_eq!(committed_bytewise, committed);

    let (end, second) = (honest.len(), first + BLOCK_LEN);
    let mut changed = Vec::new();
    for at in [0, 1, first - 1, first, first + 1, second - 1, second, end - 1] {
        for bit in 0..8 {
            changed.push(honest.clone());
            changed.last_mut().unwrap()[at] ^= 1 << bit;
        }
    }
    let swapped = [&honest[..first], &honest[second..], &honest[first..second]].concat();
    let moved = [&honest[1..], &honest[..1]].concat();
    let longer = [&honest[..], &[0]].concat();
    changed.extend([swapped, moved, longer, honest[..end - 1].to_vec(), honest[..first].to_vec()]);
    changed.push(vec![0; end]);
    for source in changed {
        assert!(matches!(sealing(&source), Err(Error::SourceChanged)));
    }
}

/// A source that gives one byte at a time.
struct Bytewise<'a>(&'a [u8]);

impl Read for Bytewise<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(1);
        self.0.read(&mut buffer[..len])
    }
}

#[test]
fn callers_mistakes_are_named() {
    let request = FIXTURE.request();
    let committed = commit(&b"abc"[..], request.salt, request.media_type).unwrap();
    let sealing = |request: &SealRequest<'_>, committed: &Committed, source: &[u8]| {
        seal(request, committed, source, io::sink()).unwrap_err()
    };
    for source in [&b"abd"[..], b"ab", b"abcd", b""] {
        assert!(matches!(sealing(&request, &committed, source), Error::SourceChanged));
    }
    let other_salt = SealRequest { salt: Salt(B256::ZERO), ..request };
    assert!(matches!(sealing(&other_salt, &committed, b"abc"), Error::SourceChanged));
    let nobody = SealRequest { identity: None, segment: None, ..request };
    assert!(matches!(sealing(&nobody, &committed, b"abc"), Error::NoRecipient));
    for text in ["", "text/pläin", "a\nb", &"x".repeat(128)] {
        assert!(matches!(text.parse::<galen_crypto::MediaType>(), Err(Error::MediaType)));
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    assert!(matches!(commit(Broken, request.salt, request.media_type), Err(Error::Read(_))));
    let (context, sealed) = FIXTURE.seal(b"abc");
    let header = Header::parse(&sealed).unwrap();
    let opener = Opener::new(&header, context, OpenKey::Identity(&FIXTURE.identity)).unwrap();
    assert!(matches!(opener.open_to(Broken, io::sink()), Err(Error::Read(_))));
    let no_room: &mut [u8] = &mut [];
    assert!(matches!(opener.open_to(&sealed[4096..], no_room), Err(Error::Write(_))));
}

/// 256 MiB through a pipe of buffers: the peak of the process grows by far less.
#[test]
fn memory_stays_constant() {
    const LEN: u64 = 256 << 20;
    let source = || io::repeat(0x5a).take(LEN);
    let request = FIXTURE.request();
    let committed = commit(source(), request.salt, request.media_type).unwrap();
    let context = FIXTURE.context(&committed);
    let (reader, writer) = io::pipe().unwrap();
    let before = peak_kib();
    let manifest = std::thread::scope(|scope| {
        scope.spawn(|| seal(&request, &committed, source(), writer).unwrap());
        let mut reader = reader;
        let mut header = [0; 4096];
        reader.read_exact(&mut header).unwrap();
        let header = Header::parse(&header).unwrap();
        let opener = Opener::new(&header, context, OpenKey::Segment(&FIXTURE.segment)).unwrap();
        opener.open_to(reader, io::sink()).unwrap()
    });
    assert_eq!(manifest.committed, committed);
    let growth = peak_kib() - before;
    // Other tests of this process run beside this one; all of them together stay far below 256 MiB.
    assert!(growth < 128 << 10, "peak grew by {growth} KiB");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
