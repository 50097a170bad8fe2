//! The pinned digests and leaves, recomputed by the Rust types. The contracts' tests read the same files,
//! and another implementation (eth-account) agrees with them.

use std::fs;

use alloy::sol_types::{Eip712Domain, SolStruct};
use alloy_primitives::{Address, B256, FixedBytes, U256, aliases::U48};
use galen_chain::typed;
use galen_types::{
    Consent, ConsentId, ConsentTree, DelegateTerms, LedgerId, PowerSet, PurposeSet, RecordKey,
    Salt, Segment, SegmentSet, hash_pair,
};
use serde_json::Value;

/// A value of a vector file: a number, or a text that holds one.
trait Read: Sized {
    fn read(value: &Value) -> Self;
}

macro_rules! read_numbers {
    ($($number:ty),*) => {
        $(impl Read for $number {
            fn read(value: &Value) -> Self {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                text.parse().expect("a number that fits")
            }
        })*
    };
}

read_numbers!(u8, u16, u32, u64, U48, U256, bool);

macro_rules! read_texts {
    ($($text:ty),*) => {
        $(impl Read for $text {
            fn read(value: &Value) -> Self {
                value.as_str().expect("a text").parse().expect("hex digits")
            }
        })*
    };
}

read_texts!(Address, B256, FixedBytes<28>);

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value) -> Self {
        value.as_array().expect("an array").iter().map(T::read).collect()
    }
}

/// Reads each struct field by field, and gives all of them by name.
macro_rules! read_structs {
    ($($name:ident { $($field:ident),* })*) => {
        $(impl Read for typed::$name {
            fn read(value: &Value) -> Self {
                Self { $($field: Read::read(&value[stringify!($field)])),* }
            }
        })*

        fn digest(name: &str, message: &Value, domain: &Eip712Domain) -> B256 {
            match name {
                $(stringify!($name) => typed::$name::read(message).eip712_signing_hash(domain),)*
                _ => panic!("{name} is signed nowhere"),
            }
        }

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

read_structs! {
    Leaf { kind, segment, number, store, content, commitment, previous }
    Proposal { patient, author, rotations, count, deadline, policy, leaves }
    Withdrawal { patient, author, rotations, proposal, deadline }
    Settlement { patient, signer, rotations, sequence, proposal, accepted, rejected, deadline }
    Cosignature { cosigner, rotations, proposal, deadline }
    ConsentChange { patient, signer, rotations, version, root, revoked, granted, deadline }
    Resealed { segment, number, store, content, previous }
    Reseal { patient, author, signer, rotations, items, deadline }
    BulkAnchor { author, rotations, root, count, store, manifest, deadline }
    Access { patient, grantee, rotations, purpose, consent, records, deadline }
    AccessRequest { patient, organization, rotations, purposes, store, message, deadline }
    Rotation { id, controller, sequence, nonce, deadline }
    KeyBundle { id, rotations, previous, bundle, store, content, deadline }
    GuardianChange { id, rotations, commitment, delay, nonce, deadline }
    Recovery { id, guardian, guardianRotations, controller, isFinal, nonce, deadline }
    Cancellation { id, rotations, nonce, deadline }
    Vote { motion, organization, counter, voter, rotations, deadline }
    Attestation { author, rotations, root, issued }
    Reply { patient, author, proposal, leaves, kind, ciphertext, deadline }
    Envelope { patient, grantee, consent, recipientKey, ciphertext, deadline }
    Contact { patient, author, bundle, ciphertext, deadline }
    Sharing { patient, epoch, envelopes, deadline }
    Offer { patient, consent, epoch, offer, issued }
    KeyRequest { patient, grantee, rotations, consent, records, deadline }
    ReportRequest { patient, rotations, since, deadline }
    ProxyReport { proxy, rotations, patient, since, until, served, refused, entries }
    Pieces { id, guardians, envelopes, deadline }
    PieceRequest { id, controller, rotations, recipientKey, deadline }
}

fn vectors(name: &str) -> Value {
    let path = galen_e2e::root().join("tests/vectors").join(name);
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("JSON")
}

fn domain(value: &Value) -> Eip712Domain {
    let ledger = LedgerId {
        chain_id: u64::read(&value["chainId"]),
        contract: Address::read(&value["verifyingContract"]),
    };
    match value["name"].as_str() {
        Some("Galen") => typed::ledger_domain(ledger),
        Some("Galen Consortium") => typed::consortium_domain(ledger.chain_id, ledger.contract),
        name => panic!("no domain {name:?}"),
    }
}

#[test]
fn every_signed_struct_has_its_pinned_digest() {
    let vectors = vectors("eip712.json");
    let vectors = vectors.as_array().expect("an array");
    for vector in vectors {
        let primary = vector["primaryType"].as_str().expect("a text");
        let found = digest(primary, &vector["message"], &domain(&vector["domain"]));
        assert_eq!(found, B256::read(&vector["digest"]), "{}", vector["name"]);
    }
    let pinned = |name: &&&str| vectors.iter().any(|vector| vector["primaryType"] == **name);
    let parts = ["Leaf", "Resealed"];
    let missing: Vec<_> =
        NAMES.iter().filter(|name| !parts.contains(name) && !pinned(name)).collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

#[test]
fn leaves_and_ids_are_as_pinned() {
    let vectors = vectors("leaves.json");
    let each = |name: &str| vectors[name].as_array().expect("an array").clone();
    for value in each("consents") {
        let consent = Consent {
            grantee: Read::read(&value["grantee"]),
            segments: SegmentSet(Read::read(&value["segments"])),
            purposes: PurposeSet(Read::read(&value["purposes"])),
            not_before: Read::read(&value["notBefore"]),
            expiry: Read::read(&value["expiry"]),
            salt: Salt(Read::read(&value["salt"])),
        };
        assert_eq!(consent.id().0, B256::read(&value["leaf"]));
    }
    for value in each("delegates") {
        let terms = DelegateTerms {
            delegate: Read::read(&value["delegate"]),
            powers: PowerSet(Read::read(&value["powers"])),
            not_before: Read::read(&value["notBefore"]),
            expiry: Read::read(&value["expiry"]),
            salt: Salt(Read::read(&value["salt"])),
        };
        assert_eq!(terms.id().0, B256::read(&value["leaf"]));
    }
    for value in each("records") {
        let key = RecordKey {
            patient: Read::read(&value["patient"]),
            author: Read::read(&value["author"]),
            segment: Segment(Read::read(&value["segment"])),
            number: Read::read(&value["number"]),
        };
        assert_eq!(key.id().0, B256::read(&value["record"]));
    }
}

/// The version that names a leaf is the struct hash that the wallet signs.
#[test]
fn a_version_is_the_struct_hash_of_its_leaf() {
    let vectors = vectors("eip712.json");
    let mut seen = 0;
    for leaf in vectors
        .as_array()
        .expect("an array")
        .iter()
        .flat_map(|vector| vector["message"]["leaves"].as_array().cloned().unwrap_or_default())
    {
        let signed = typed::Leaf::read(&leaf);
        let header = U256::from(signed.number)
            | U256::from(signed.segment) << 64
            | U256::from(signed.kind) << 72
            | U256::from(signed.store) << 80;
        let read = galen_types::Leaf::from_words(
            header,
            signed.content,
            signed.commitment,
            signed.previous,
        );
        assert_eq!(read.expect("a leaf").version().0, signed.eip712_hash_struct());
        seen += 1;
    }
    assert!(seen >= 4, "{seen} leaves");
}

#[test]
fn trees_have_their_pinned_roots_and_proofs() {
    for value in vectors("leaves.json")["trees"].as_array().expect("an array") {
        let leaves = Vec::<B256>::read(&value["leaves"]);
        let tree: ConsentTree = leaves.iter().copied().map(ConsentId).collect();
        assert_eq!(tree.root().0, FixedBytes::<28>::read(&value["consentRoot"]));
        let proofs = Vec::<Vec<B256>>::read(&value["proofs"]);
        for (leaf, pinned) in leaves.into_iter().zip(proofs) {
            let proof = tree.proof(ConsentId(leaf)).expect("the leaf is live");
            assert_eq!(proof, pinned);
            let root = proof.into_iter().fold(leaf, hash_pair);
            assert_eq!(&root[..28], tree.root().0.as_slice());
        }
    }
}
