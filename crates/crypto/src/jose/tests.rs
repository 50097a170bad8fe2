#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use miniz_oxide::deflate::compress_to_vec;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A JWE with a header of the attacker's choice, by somebody who has the key.
fn jwe(key: &LinkKey, header: &str, plaintext: &[u8]) -> String {
    let (header, mut bytes) = (b64(header.as_bytes()), plaintext.to_vec());
    let tag = Gcm::new(&key.0).seal([7; 12], header.as_bytes(), &mut bytes);
    format!("{header}..{}.{}.{}", b64(&[7; 12]), b64(&bytes), b64(&tag))
}

fn signer() -> (EcdsaKeyPair, Es256Key) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let key = Es256Key::from_coordinates(&b64(&point[1..33]), &b64(&point[33..])).unwrap();
    (pair, key)
}

fn jws(pair: &EcdsaKeyPair, header: &str, payload: &[u8]) -> String {
    let signed = format!("{}.{}", b64(header.as_bytes()), b64(payload));
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature.as_ref()))
}

#[test]
fn link_keys_have_one_text() {
    let key = LinkKey::generate().unwrap();
    let text = key.to_text();
    assert_eq!(text.len(), 43);
    assert_eq!(LinkKey::from_text(&text).unwrap(), key);
    assert_eq!(format!("{key:?}"), "LinkKey(..)");
    let zeros = "A".repeat(43);
    assert!(LinkKey::from_text(&zeros).is_ok());
    for wrong in [
        "",
        &zeros[1..],
        &format!("{zeros}A"),
        &format!("{}B", &zeros[1..]),
        &format!("{}=", &zeros[1..]),
    ] {
        assert!(matches!(LinkKey::from_text(wrong), Err(JoseError::Key(_))), "{wrong}");
    }
}

#[test]
fn jwe_headers_are_not_negotiated() {
    let key = LinkKey::generate().unwrap();
    let deflated = compress_to_vec(b"hello", 6);
    let ok = |header: &str, bytes: &[u8]| {
        key.open(&jwe(&key, header, bytes), LIMIT).map(|it| it.plaintext.expose().to_vec())
    };
    assert_eq!(ok(r#"{"alg":"dir","enc":"A256GCM","kid":"x"}"#, b"hello").unwrap(), b"hello");
    assert_eq!(ok(r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#, &deflated).unwrap(), b"hello");
    let malformed = JoseError::Malformed("protected header");
    for (header, error) in [
        (r#"{"alg":"none","enc":"A256GCM"}"#, JoseError::Header("alg")),
        (r#"{"alg":"A256KW","enc":"A256GCM"}"#, JoseError::Header("alg")),
        (r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, JoseError::Header("alg")),
        (r#"{"alg":"DIR","enc":"A256GCM"}"#, JoseError::Header("alg")),
        (r#"{"alg":"dir","enc":"A128GCM"}"#, JoseError::Header("enc")),
        (r#"{"alg":"dir","enc":"A256CBC-HS512"}"#, JoseError::Header("enc")),
        (r#"{"alg":"dir","enc":"A256GCM","zip":"GZ"}"#, JoseError::Header("zip")),
        (r#"{"alg":"dir","enc":"A256GCM","crit":["exp"]}"#, JoseError::Header("crit")),
        (r#"{"alg":"dir","enc":"A256GCM","enc":"A128GCM"}"#, malformed),
        (r#"{"alg":"dir"}"#, malformed),
        (r#"{"alg":["dir"],"enc":"A256GCM"}"#, malformed),
        ("[]", malformed),
    ] {
        assert_eq!(ok(header, b"hello").unwrap_err(), error, "{header}");
    }
    assert_eq!(
        ok(r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#, b"\xff\xff").unwrap_err(),
        JoseError::Inflate
    );
    let long = format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{}"}}"#, "k".repeat(MAX_HEADER_LEN));
    assert_eq!(ok(&long, b"").unwrap_err(), JoseError::TooLong { limit: MAX_HEADER_LEN });
}

#[test]
fn jwe_parts_are_what_they_must_be() {
    let key = LinkKey::generate().unwrap();
    let good = key.seal("application/fhir+json", b"hello").unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let with = |at: usize, part: &str| {
        let mut parts = parts.clone();
        parts[at] = part;
        key.open(&parts.join("."), LIMIT).unwrap_err()
    };
    let short_tag = b64(&URL_SAFE_NO_PAD.decode(parts[4]).unwrap()[..12]);
    assert_eq!(with(4, &short_tag), JoseError::Malformed("tag of 16 bytes"));
    assert_eq!(with(4, ""), JoseError::Malformed("tag of 16 bytes"));
    assert_eq!(with(2, &b64(&[0; 16])), JoseError::Malformed("nonce of 12 bytes"));
    assert_eq!(
        with(1, "AAAA"),
        JoseError::Malformed("JWE with `dir`, which carries no encrypted key")
    );
    assert_eq!(with(3, "++++"), JoseError::Malformed("base64url text"));
    assert_eq!(with(4, &format!("{}=", parts[4])), JoseError::Malformed("base64url text"));
    let other_type = b64(br#"{"alg":"dir","enc":"A256GCM","cty":"application/smart-health-card"}"#);
    assert_eq!(with(0, &other_type), JoseError::DoesNotOpen);
    for text in ["", "a.b", &parts[..4].join("."), &format!("{good}."), &format!("{good}.AA")] {
        assert_eq!(
            key.open(text, LIMIT).unwrap_err(),
            JoseError::Malformed("compact JWE"),
            "{text}"
        );
    }
    assert_eq!(
        LinkKey::generate().unwrap().open(&good, LIMIT).unwrap_err(),
        JoseError::DoesNotOpen
    );
}

/// What comes out is bounded however small what goes in is: 100 MB of zeros are about 100 kB.
#[test]
fn compressed_bytes_cannot_fill_the_memory() {
    let bomb = compress_to_vec(&vec![0; 100 << 20], 6);
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    let key = LinkKey::generate().unwrap();
    let file = jwe(&key, r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#, &bomb);
    assert_eq!(key.open(&file, LIMIT).unwrap_err(), JoseError::TooLong { limit: LIMIT });
    let (pair, key) = signer();
    let header = format!(r#"{{"alg":"ES256","zip":"DEF","kid":"{}"}}"#, key.thumbprint());
    let signed = CompactJws::parse(&jws(&pair, &header, &bomb)).unwrap();
    assert_eq!(signed.payload(LIMIT).unwrap_err(), JoseError::TooLong { limit: LIMIT });
    // To the byte.
    let exact = CompactJws::parse(&jws(&pair, &header, &compress_to_vec(&[1; 1_000], 6))).unwrap();
    assert_eq!(exact.payload(1_000).unwrap().expose(), [1; 1_000]);
    assert_eq!(exact.payload(999).unwrap_err(), JoseError::TooLong { limit: 999 });
}

#[test]
fn jws_by_another_way_are_refused() {
    let ((pair, key), (other_pair, other)) = (signer(), signer());
    let kid = key.thumbprint();
    let header = |alg: &str, more: &str| format!(r#"{{"alg":"{alg}","kid":"{kid}"{more}}}"#);
    let good = jws(&pair, &header("ES256", ""), b"{}");
    assert_eq!(CompactJws::parse(&good).unwrap().verify(&key), Ok(()));
    assert_eq!(CompactJws::parse(&good).unwrap().verify(&other), Err(JoseError::Header("kid")));
    // Signed by somebody else in this key's name.
    let forged = jws(&other_pair, &header("ES256", ""), b"{}");
    assert_eq!(CompactJws::parse(&forged).unwrap().verify(&key), Err(JoseError::Signature));
    for alg in ["none", "None", "HS256", "ES256K", "ES384", "RS256", "es256", ""] {
        let text = jws(&pair, &header(alg, ""), b"{}");
        assert_eq!(CompactJws::parse(&text).unwrap_err(), JoseError::Header("alg"), "{alg}");
    }
    for (more, error) in [
        (r#","zip":"GZ""#, JoseError::Header("zip")),
        (r#","crit":["b64"],"b64":false"#, JoseError::Header("crit")),
        (r#","alg":"none""#, JoseError::Malformed("protected header")),
    ] {
        assert_eq!(
            CompactJws::parse(&jws(&pair, &header("ES256", more), b"{}")).unwrap_err(),
            error
        );
    }
    let (signed, _) = good.rsplit_once('.').unwrap();
    for (signature, error) in [
        ("", JoseError::Malformed("signature of 64 bytes")),
        (&*b64(&[0; 71]), JoseError::Malformed("signature of 64 bytes")),
        (&*b64(&[0; 63]), JoseError::Malformed("signature of 64 bytes")),
    ] {
        assert_eq!(CompactJws::parse(&format!("{signed}.{signature}")).unwrap_err(), error);
    }
    let zero = CompactJws::parse(&format!("{signed}.{}", b64(&[0; 64]))).unwrap();
    assert_eq!(zero.verify(&key), Err(JoseError::Signature));
    // A point that is not on the curve verifies nothing.
    let off = Es256Key { x: [1; 32], y: [1; 32] };
    let text = jws(&pair, &format!(r#"{{"alg":"ES256","kid":"{}"}}"#, off.thumbprint()), b"{}");
    assert_eq!(CompactJws::parse(&text).unwrap().verify(&off), Err(JoseError::Signature));
}

/// RFC 7638 prints a thumbprint of RSA only; this one is of the example key of SMART Health Cards, whose id is
/// published beside its coordinates.
#[test]
fn thumbprints_are_those_of_rfc_7638() {
    let (x, y) = (
        "11XvRWy1I2S0EyJlyf_bWfw_TQ5CJJNLw78bHXNxcgw",
        "eZXwxvO1hvCY0KucrPfKo7yAyMT6Ajc3N7OkAB6VYy8",
    );
    let key = Es256Key::from_coordinates(x, y).unwrap();
    assert_eq!(key.thumbprint(), "3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s");
    for (x, y) in [("", y), (x, ""), (&x[..42], y), (x, "AA")] {
        assert!(matches!(Es256Key::from_coordinates(x, y), Err(JoseError::Key(_))));
    }
}

proptest! {
    #[test]
    fn jwe_round_trips_and_notices_any_changed_character(
        plaintext in prop::collection::vec(any::<u8>(), 0..300),
        at: prop::sample::Index,
    ) {
        let key = LinkKey::generate().unwrap();
        let text = key.seal("application/fhir+json", &plaintext).unwrap();
        let opened = key.open(&text, LIMIT).unwrap();
        prop_assert_eq!(opened.plaintext.expose(), &plaintext[..]);
        prop_assert_eq!(opened.content_type.as_deref(), Some("application/fhir+json"));
        prop_assert_ne!(key.seal("application/fhir+json", &plaintext).unwrap(), text.clone());
        let mut changed = text.into_bytes();
        let at = at.index(changed.len());
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        prop_assert!(key.open(std::str::from_utf8(&changed).unwrap(), LIMIT).is_err());
    }

    #[test]
    fn jws_notices_any_changed_character(payload in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index) {
        let (pair, key) = signer();
        let text = jws(&pair, &format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key.thumbprint()), &payload);
        let signed = CompactJws::parse(&text).unwrap();
        prop_assert_eq!(signed.verify(&key), Ok(()));
        let inside = signed.payload(LIMIT).unwrap();
        prop_assert_eq!(inside.expose(), &payload[..]);
        let mut changed = text.into_bytes();
        let at = at.index(changed.len());
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = CompactJws::parse(std::str::from_utf8(&changed).unwrap());
        prop_assert!(changed.and_then(|it| it.verify(&key)).is_err());
    }
}
