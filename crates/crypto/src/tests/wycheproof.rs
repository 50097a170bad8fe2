//! Every primitive against the Wycheproof vectors.

use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use ml_kem::{B32, KeyExport, MlKem768, Seed, kem::Decapsulate};
use sha2::Sha256;
use wycheproof::{TestResult, aead, hkdf as kdf, mlkem, xdh};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::primitives::Gcm;

type Decapsulation = ml_kem::DecapsulationKey<MlKem768>;
type Encapsulation = ml_kem::EncapsulationKey<MlKem768>;

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in &group.tests {
            let gcm = Gcm::new(&test.key[..].try_into().unwrap());
            let nonce = test.nonce[..].try_into().unwrap();
            let mut bytes = [&test.ct[..], &test.tag[..]].concat();
            let opened = gcm.open(nonce, &test.aad, &mut bytes);
            assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "case {}", test.tc_id);
            if let Ok(opened) = opened {
                assert_eq!(*opened, test.pt[..], "case {}", test.tc_id);
                let mut bytes = test.pt.to_vec();
                let tag = gcm.seal(nonce, &test.aad, &mut bytes);
                assert_eq!((&bytes[..], &tag[..]), (&test.ct[..], &test.tag[..]));
            }
            count += 1;
        }
    }
    assert!(count >= 60, "only {count} cases");
}

#[test]
fn hkdf_sha256_agrees_with_wycheproof() {
    let set = kdf::TestSet::load(kdf::TestName::HkdfSha256).unwrap();
    let mut count = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let done = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        assert_eq!(done.is_ok(), !test.result.must_fail(), "case {}", test.tc_id);
        assert!(done.is_err() || okm == test.okm[..], "case {}", test.tc_id);
        if test.salt.is_empty() && test.size == 32 {
            let ours = crate::primitives::hkdf::<32>(&test.ikm, &[&test.info]);
            assert_eq!(ours[..], test.okm[..], "case {}", test.tc_id);
        }
        count += 1;
    }
    assert!(count >= 80, "only {count} cases");
}

#[test]
fn x25519_agrees_with_wycheproof() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut count = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let secret: [u8; 32] = test.private_key[..].try_into().unwrap();
        let public: [u8; 32] = test.public_key[..].try_into().unwrap();
        let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(public));
        assert_eq!(shared.as_bytes()[..], test.shared_secret[..], "case {}", test.tc_id);
        assert_eq!(MontgomeryPoint(public).mul_clamped(secret).0, *shared.as_bytes());
        count += 1;
    }
    assert!(count >= 500, "only {count} cases");
}

#[test]
fn ml_kem_768_agrees_with_wycheproof() {
    let mut count = 0;
    for name in [
        mlkem::TestName::MlKem768,
        mlkem::TestName::MlKem768KeyGenSeed,
        mlkem::TestName::MlKem768Encaps,
    ] {
        let set = mlkem::TestSet::load(name).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            assert_eq!(ml_kem_case(test), Some(!test.result.must_fail()), "case {}", test.tc_id);
            count += 1;
        }
    }
    assert!(count >= 100, "only {count} cases");
}

/// Whether the case is accepted with the right results; `None` if accepted with wrong ones.
fn ml_kem_case(test: &mlkem::Test) -> Option<bool> {
    let key_bytes = part(&test.encaps_key);
    if let Some(seed) = part(&test.seed) {
        let Ok(seed) = Seed::try_from(seed) else { return Some(false) };
        let key = Decapsulation::from_seed(seed);
        let encoded = key.encapsulation_key().to_bytes();
        if key_bytes.is_some_and(|expected| encoded[..] != *expected) {
            return None;
        }
        let Some(ciphertext) = part(&test.ct) else { return Some(true) };
        let Ok(ciphertext) = ciphertext.try_into() else { return Some(false) };
        let shared = key.decapsulate(&ciphertext);
        let expected = part(&test.shared_secret);
        return expected.is_none_or(|expected| shared[..] == *expected).then_some(true);
    }
    let Ok(key) = key_bytes.unwrap().try_into() else { return Some(false) };
    let Ok(key) = Encapsulation::new(&key) else { return Some(false) };
    let message = B32::try_from(part(&test.msg).unwrap()).unwrap();
    let (ciphertext, shared) = key.encapsulate_deterministic(&message);
    let same = ciphertext[..] == *part(&test.ct).unwrap()
        && shared[..] == *part(&test.shared_secret).unwrap();
    same.then_some(true)
}

fn part(value: &Option<wycheproof::ByteString>) -> Option<&[u8]> {
    value.as_ref().map(|bytes| &bytes[..])
}
