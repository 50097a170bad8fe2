//! Contents that are really sealed, and the shares of their keys that a proxy gets.

use std::collections::HashMap;

use alloy::signers::SignerSync as _;
use alloy_primitives::{B256, aliases::U48, keccak256};
use galen_chain::{Account, Ledger, typed};
use galen_crypto::{
    PatientKeys, ReaderHalf, RootSeed, SealContext, SealRequest, SegmentKey, ShareEnvelope,
    ShareKeys, ShareTerms, ShareText, SharedSegment, seal_bytes,
};
use galen_sdk::{Galen, Identity};
use galen_storage::Storage;
use galen_types::{Commitment, ContentRef, LedgerId, Salt, Segment};
use tempfile::TempDir;

use crate::{
    steps::{CONSENTS, MEMBER, PERSON, RECORDS},
    world::{
        CONTENTS, LATER, NOW, PATIENT, PROXY, VERSIONS, consent, key, number_of, patient, record,
    },
};

/// The epoch of everything here.
pub(crate) const EPOCH: u32 = 1;

/// Who somebody is, by the number of the key.
pub(crate) fn identity(number: u8) -> Identity {
    let account = Account::from(key(number).clone());
    Identity::new(account, &RootSeed::from_bytes([number; 32]))
}

fn patient_keys() -> PatientKeys {
    RootSeed::from_bytes([PATIENT; 32]).pseudonym(patient())
}

/// What one consent needs beside its leaf.
#[derive(Debug)]
pub(crate) struct Given {
    /// For the proxy, as it is sent.
    pub(crate) envelope: Vec<u8>,
    /// For the reader, by segment; of no use under a consent that names nobody.
    pub(crate) halves: Vec<(Segment, ReaderHalf, ShareKeys)>,
    /// What the proxy must keep to itself.
    pub(crate) secrets: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct Vault {
    _directory: TempDir,
    pub(crate) storage: Storage,
    /// By record, version and number.
    contents: Vec<ContentRef>,
    commitments: Vec<Commitment>,
    sealed: HashMap<ContentRef, Vec<u8>>,
    /// By consent.
    pub(crate) given: Vec<Given>,
}

impl Vault {
    /// Seals every content that a story may need, and publishes keys with the help of who pays.
    pub(crate) async fn new(ledger: &Ledger) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::local(directory.path()).await.unwrap();
        let galen = Galen::new(ledger.clone(), storage.clone());
        for who in [PERSON, MEMBER] {
            galen.grantee(identity(number_of(who))).publish_keys().await.unwrap();
        }
        let mut this = Self {
            _directory: directory,
            storage,
            contents: Vec::new(),
            commitments: Vec::new(),
            sealed: HashMap::new(),
            given: (0..CONSENTS).map(|number| given(ledger.id(), number)).collect(),
        };
        for number in 0..RECORDS {
            for version in 0..VERSIONS {
                this.seal(ledger.id(), number, version).await;
            }
        }
        this
    }

    /// All contents of one version: the same payload, each time under another data key.
    async fn seal(&mut self, ledger: LedgerId, number: u8, version: u8) {
        let (keys, key) = (patient_keys(), record(number));
        let media_type = "text/plain".parse().unwrap();
        let (identity, public) = (keys.identity(), keys.segment(key.segment, EPOCH).public());
        let request = SealRequest {
            ledger,
            record: key.id(),
            epoch: EPOCH,
            salt: Salt(keccak256([number, version])),
            media_type: &media_type,
            identity: Some(identity.public()),
            segment: Some((key.segment, &public)),
        };
        for content in 0..CONTENTS {
            let (committed, sealed) = seal_bytes(&request, &payload(number, version)).unwrap();
            let at = self.storage.put_bytes(sealed.clone()).await.unwrap();
            self.contents.push(at);
            self.sealed.insert(at, sealed);
            if content == 0 {
                self.commitments.push(committed.commitment);
            }
        }
    }

    pub(crate) fn content(&self, record: u8, version: u8, content: u8) -> ContentRef {
        let version = usize::from(record) * usize::from(VERSIONS) + usize::from(version);
        self.contents[version * usize::from(CONTENTS) + usize::from(content)]
    }

    pub(crate) fn commitment(&self, record: u8, version: u8) -> Commitment {
        self.commitments[usize::from(record) * usize::from(VERSIONS) + usize::from(version)]
    }

    /// The sealed bytes.
    pub(crate) fn bytes(&self, at: &ContentRef) -> &[u8] {
        &self.sealed[at]
    }

    pub(crate) fn context(&self, ledger: LedgerId, number: u8, version: u8) -> SealContext {
        let commitment = self.commitment(number, version);
        SealContext { ledger, record: record(number).id(), commitment }
    }
}

/// What a version says.
pub(crate) fn payload(number: u8, version: u8) -> Vec<u8> {
    format!("version {version} of record {number}").into_bytes()
}

/// One proxy that is needed, for each segment of a consent.
fn given(ledger: LedgerId, number: u8) -> Given {
    let (keys, terms) = (patient_keys(), consent(number));
    let (mut halves, mut segments, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
    for segment in terms.segments.iter() {
        let secret: SegmentKey = keys.segment(segment, EPOCH);
        let split = if terms.is_network() { secret.share_whole(1, 1) } else { secret.split(1, 1) };
        let split = split.unwrap();
        let kem = terms.is_network().then(|| {
            let (mut pieces, digests) = secret.split_kem(1, 1).unwrap();
            (pieces.remove(0), digests)
        });
        let share = split.shares.into_iter().next().unwrap();
        secrets.push(share.expose().to_vec());
        secrets.extend(kem.iter().map(|(piece, _)| piece.to_bytes()[1..].to_vec()));
        halves.push((segment, split.half, split.keys.clone()));
        segments.push(SharedSegment { share, keys: split.keys, kem });
    }
    let text = ShareText {
        grantee: terms.grantee,
        issued: *NOW,
        expiry: terms.expiry,
        oldest_epoch: EPOCH,
        grant: None,
        offer: None,
        segments,
    };
    Given { envelope: share_envelope(ledger, number, &text).encode(), halves, secrets }
}

/// A share envelope for the proxy, signed by the patient.
pub(crate) fn share_envelope(ledger: LedgerId, number: u8, text: &ShareText) -> ShareEnvelope {
    let proxy = identity(PROXY);
    let terms = ShareTerms {
        ledger,
        patient: patient(),
        proxy: proxy.id(),
        consent: consent(number).id(),
        epoch: EPOCH,
    };
    let public = proxy.keys().identity().public().clone();
    let mut envelope = ShareEnvelope::seal(terms, &public, text).unwrap();
    envelope.deadline = *LATER;
    envelope.siblings = vec![envelope.leaf()];
    sign(&mut envelope, PATIENT);
    envelope
}

/// Signs what an envelope says beside its shares with somebody's key.
pub(crate) fn sign(envelope: &mut ShareEnvelope, by: u8) {
    let message = typed::Sharing {
        patient: envelope.terms().patient,
        epoch: envelope.terms().epoch,
        envelopes: envelope.siblings.clone(),
        deadline: U48::from(envelope.deadline),
    };
    let digest: B256 = typed::digest(&message, envelope.terms().ledger);
    envelope.signature = key(by).sign_hash_sync(&digest).unwrap().as_erc2098().into();
}
