//! Vectors of drafts and RFCs. Each file in `tests/data` names its origin.

use curve25519_dalek::{RistrettoPoint, Scalar, ristretto::CompressedRistretto};
use hkdf::Hkdf;
use hpke::rand_core::TryRng;
use serde_json::Value;
use sha2::Sha256;
use x_wing::{Decapsulate, DecapsulationKey, Decapsulator, Encapsulate, KeyExport};

use crate::{
    IdentityKey,
    hpke_box::HpkeBox,
    keys::{KemSecret, point_from_bytes},
    primitives::{DrawnRandomness, Gcm},
};

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

#[test]
fn x_wing_keeps_the_vectors_of_its_draft() {
    let file: Value = serde_json::from_str(include_str!("../../tests/data/xwing.json")).unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        let key = DecapsulationKey::from(array::<32>(&vector["sk"]));
        assert_eq!(key.encapsulation_key().to_bytes()[..], bytes(&vector["pk"])[..]);
        let identity = IdentityKey::from_seed(&array(&vector["sk"]));
        assert_eq!(identity.public().as_bytes()[..], bytes(&vector["pk"])[..]);
        let mut randomness = DrawnRandomness::fixed(&bytes(&vector["eseed"]));
        let (ciphertext, shared) = key.encapsulation_key().encapsulate_with_rng(&mut randomness);
        assert_eq!(ciphertext[..], bytes(&vector["ct"])[..]);
        assert_eq!(shared[..], bytes(&vector["ss"])[..]);
        assert_eq!(key.decapsulate(&ciphertext)[..], shared[..]);
        let secret = KemSecret::from(&array::<32>(&vector["sk"]));
        assert_eq!(secret.encapsulation_key().to_bytes()[..], bytes(&vector["pk"])[..]);
        assert_eq!(secret.decapsulate(&array(&vector["ct"]))[..], shared[..]);
        // What was made for nobody gives a secret too, and the same one as the other implementation.
        let mut other: [u8; 1120] = array(&vector["ct"]);
        for at in [3, 1100] {
            other[at] ^= 1;
            assert_eq!(secret.decapsulate(&other)[..], key.decapsulate(&other.into())[..]);
            assert_ne!(secret.decapsulate(&other)[..], shared[..]);
        }
    }
}

/// RFC 9180, sections 4 and 5.1, written anew: key and nonce of the first message in base mode.
fn rfc_9180_key_schedule(suite: &[u8; 10], shared: &[u8], info: &[u8]) -> ([u8; 32], [u8; 12]) {
    let extract = |salt: &[u8], label: &str, ikm: &[u8]| {
        let ikm = [b"HPKE-v1", &suite[..], label.as_bytes(), ikm].concat();
        Hkdf::<Sha256>::extract(Some(salt), &ikm)
    };
    let context =
        [&[0][..], &extract(b"", "psk_id_hash", b"").0, &extract(b"", "info_hash", info).0]
            .concat();
    let (_, secret) = extract(shared, "secret", b"");
    let expand = |label: &str, out: &mut [u8]| {
        let len = u16::try_from(out.len()).unwrap().to_be_bytes();
        let info = [&len[..], b"HPKE-v1", suite, label.as_bytes(), &context].concat();
        secret.expand(&info, out).unwrap();
    };
    let (mut key, mut nonce) = ([0; 32], [0; 12]);
    expand("key", &mut key);
    expand("base_nonce", &mut nonce);
    (key, nonce)
}

#[test]
fn hpke_agrees_with_a_published_key_schedule_and_a_second_implementation() {
    let vector: Value =
        serde_json::from_str(include_str!("../../tests/data/hpke-xwing.json")).unwrap();
    let (shared, info) = (bytes(&vector["shared_secret"]), bytes(&vector["info"]));
    let (key, nonce) = rfc_9180_key_schedule(&array(&vector["suite_id"]), &shared, &info);
    assert_eq!((key, nonce), (array(&vector["key"]), array(&vector["base_nonce"])));

    // Our suite differs in the AEAD: the same encapsulation, then the second implementation's key.
    let secret = array::<32>(&vector["skRm"]);
    let identity = IdentityKey::from_seed(&secret);
    assert_eq!(identity.public().as_bytes()[..], bytes(&vector["pkRm"])[..]);
    let mut randomness = DrawnRandomness::fixed(&bytes(&vector["ikmE"]));
    let sealed =
        HpkeBox::seal_with(identity.public(), &info, b"aad", b"text", &mut randomness).unwrap();
    assert_eq!(sealed.enc[..], bytes(&vector["enc"])[..]);
    let decapsulated = DecapsulationKey::from(secret).decapsulate(&sealed.enc.into());
    assert_eq!(decapsulated[..], shared[..]);
    let (key, nonce) = rfc_9180_key_schedule(b"HPKE\x64\x7a\0\x01\0\x02", &shared, &info);
    let mut text = sealed.ciphertext.clone();
    assert_eq!(Gcm::new(&key).open(nonce, b"aad", &mut text).unwrap(), b"text");
    assert_eq!(sealed.open(&identity, &info, b"aad").unwrap().as_slice(), b"text");
}

#[test]
fn ristretto255_keeps_the_vectors_of_rfc_9496() {
    let file: Value =
        serde_json::from_str(include_str!("../../tests/data/ristretto255.json")).unwrap();
    let multiples = file["multiples"].as_array().unwrap();
    assert_eq!(multiples.len(), 16);
    for (factor, encoding) in (0_u64..).zip(multiples) {
        let point = RistrettoPoint::mul_base(&Scalar::from(factor));
        assert_eq!(point.compress().to_bytes(), array(encoding));
        // The identity is a valid encoding of RFC 9496 that Galen refuses.
        assert_eq!(point_from_bytes(&array(encoding)), (factor > 0).then_some(point));
    }
    let invalid = file["invalid"].as_array().unwrap();
    assert_eq!(invalid.len(), 29);
    for encoding in invalid {
        assert_eq!(point_from_bytes(&array(encoding)), None, "{encoding}");
        assert_eq!(CompressedRistretto(array(encoding)).decompress(), None);
    }
}

#[test]
#[should_panic(expected = "nobody asks for more than was drawn")]
fn encapsulation_randomness_is_never_given_twice() {
    let mut randomness = DrawnRandomness::fixed(&[1; 64]);
    randomness.try_fill_bytes(&mut [0; 64]).unwrap();
    randomness.try_fill_bytes(&mut [0; 1]).unwrap();
}
