#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use galen_crypto::jose::Es256Key;
use miniz_oxide::deflate::compress_to_vec;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example/cards";
const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"resource:0","resource":{"resourceType":"Patient","birthDate":"1951-01-20"}},{"fullUrl":"resource:1","resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"resource:0"},"valueQuantity":{"value":1.0100}}}]}"#;

struct Issuer {
    pair: EcdsaKeyPair,
    key: Es256Key,
    x: String,
    y: String,
}

impl Issuer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        let key = Es256Key::from_coordinates(&x, &y).unwrap();
        Self { pair, key, x, y }
    }

    /// The key as a JWK with these members changed or added.
    fn jwk(&self, more: &str) -> String {
        let (kid, x, y) = (self.key.thumbprint(), &self.x, &self.y);
        format!(
            r#"{{"kty":"EC","kid":"{kid}","use":"sig","alg":"ES256","crv":"P-256","x":"{x}","y":"{y}"{more}}}"#
        )
    }

    fn keys(&self, more: &str) -> IssuerKeys {
        IssuerKeys::read(format!(r#"{{"keys":[{}]}}"#, self.jwk(more)).as_bytes()).unwrap()
    }

    fn sign(&self, payload: &[u8]) -> String {
        let kid = self.key.thumbprint();
        let header =
            URL_SAFE_NO_PAD.encode(format!(r#"{{"zip":"DEF","alg":"ES256","kid":"{kid}"}}"#));
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(compress_to_vec(payload, 9)));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn card(&self, payload: &str) -> CompactJws {
        CompactJws::parse(&self.sign(payload.as_bytes())).unwrap()
    }
}

static SIGNER: LazyLock<Issuer> = LazyLock::new(Issuer::new);

/// A payload in which these texts are replaced.
fn payload(changes: &[(&str, &str)]) -> String {
    let good = format!(
        r#"{{"iss":"{ISSUER}","nbf":1700000000.5,"exp":1900000000,"vc":{{"type":["{CARD_TYPE}"],"rid":"abc-_1","credentialSubject":{{"fhirVersion":"4.0.1","fhirBundle":{BUNDLE}}}}}}}"#
    );
    changes.iter().fold(good, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

#[test]
fn cards_that_hold_bring_their_bundle_byte_for_byte() {
    let card =
        verify_card(&SIGNER.card(&payload(&[])), &SIGNER.keys("").of_issuer(ISSUER), NOW).unwrap();
    assert_eq!(card.bundle.expose(), BUNDLE.as_bytes());
    assert_eq!(
        (card.issuer.as_str(), card.not_before, card.expires),
        (ISSUER, 1_700_000_000, Some(1_900_000_000))
    );
    assert_eq!((card.revocation, card.remarks.len()), (Revocation::NotOffered, 0));
    assert!(!format!("{card:?}").contains("1951"));
}

/// One row each: what is changed, when it is looked at, and the word of the error.
#[test]
fn cards_that_do_not_hold_say_why() {
    type Row<'a> = (&'a [(&'a str, &'a str)], u64, &'a str);
    let rows: &[Row<'_>] = &[
        (&[], 1_699_999_900, "does not hold before 1700000000"),
        (&[], 1_900_000_000, "ended at 1900000000"),
        (&[("https://issuer.example/cards", "http://issuer.example/cards")], NOW, "https"),
        (&[("https://issuer.example/cards", "https://issuer.example/cards/")], NOW, "slash"),
        (&[("https://issuer.example/cards", "https://issuer.example/cards?x")], NOW, "https"),
        (&[("https://issuer.example/cards", "https://me@issuer.example")], NOW, "https"),
        (&[("https://issuer.example/cards", "https://other.example")], NOW, "another issuer"),
        (&[("1700000000.5", "\"1700000000\"")], NOW, "shape"),
        (&[("1700000000.5", "-1")], NOW, "seconds"),
        (&[("1700000000.5", "1e300")], NOW, "seconds"),
        (&[("\"nbf\":1700000000.5,", "")], NOW, "shape"),
        (&[("#health-card", "#wrong-health-card")], NOW, "type"),
        (&[("abc-_1", "a.b")], NOW, "revocation id"),
        (&[("abc-_1", "abcdefghijklmnopqrstuvwxy")], NOW, "revocation id"),
        (&[("4.0.1", "5.0.0")], NOW, "release"),
        (&[(BUNDLE, r#"{"resourceType":"Patient"}"#)], NOW, "not a Bundle"),
        (&[("birthDate", "birthday")], NOW, "not acceptable FHIR"),
    ];
    for (changes, now, word) in rows {
        let error =
            verify_card(&SIGNER.card(&payload(changes)), &SIGNER.keys("").of_issuer(ISSUER), *now)
                .unwrap_err();
        assert!(error.to_string().contains(word), "{changes:?}: {error}");
        assert!(!error.help().is_empty() && !error.to_string().contains("1951"));
    }
    let trailing = SIGNER.card(&format!("{} x", payload(&[])));
    assert!(matches!(verify_card(&trailing, &SIGNER.keys(""), NOW), Err(CardError::Claims(_))));
}

/// A key of one issuer does not speak for another, and a name for a key is not the key.
#[test]
fn keys_are_not_confused() {
    let (ours, theirs) = (&*SIGNER, Issuer::new());
    let card = theirs.card(&payload(&[]));
    assert!(matches!(verify_card(&card, &ours.keys(""), NOW), Err(CardError::NoKey)));
    // The attacker's key under our key's id, and signed with our id in the header.
    let named = theirs.jwk("").replace(&theirs.key.thumbprint(), &ours.key.thumbprint());
    let set = format!(r#"{{"keys":[{named}]}}"#);
    assert!(
        matches!(IssuerKeys::read(set.as_bytes()), Err(CardError::Keys(why)) if why.contains("thumbprint"))
    );
    let (_, rest) = theirs
        .sign(payload(&[]).as_bytes())
        .split_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let header = ours.sign(b"{}").split_once('.').unwrap().0.to_owned();
    let forged = CompactJws::parse(&format!("{header}.{rest}")).unwrap();
    assert!(matches!(
        verify_card(&forged, &ours.keys(""), NOW),
        Err(CardError::Jose(JoseError::Signature))
    ));
    // A key given out by ours.example does not sign for issuer.example.
    let error = verify_card(
        &ours.card(&payload(&[])),
        &ours.keys("").of_issuer("https://ours.example"),
        NOW,
    );
    assert!(matches!(error, Err(CardError::OtherIssuer)));
}

#[test]
fn key_sets_for_something_else_are_refused() {
    let jwk = SIGNER.jwk("");
    for (set, word) in [
        ("no JSON".to_owned(), "not a JSON Web Key Set"),
        (r#"{"keys":[]}"#.to_owned(), "empty"),
        (format!(r#"{{"keys":[{}]}}"#, SIGNER.jwk(r#","d":"AAAA""#)), "private"),
        (format!(r#"{{"keys":[{}]}}"#, jwk.replace("\"ES256\"", "\"ES256K\"")), "ES256"),
        (format!(r#"{{"keys":[{}]}}"#, jwk.replace("\"sig\"", "\"enc\"")), "signatures"),
        (format!(r#"{{"keys":[{}]}}"#, jwk.replace("\"EC\"", "\"RSA\"")), "P-256"),
        (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.to_owned(), "lacks"),
    ] {
        let error = IssuerKeys::read(set.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(word), "{set}: {error}");
    }
    let mixed = format!(r#"{{"keys":[{{"kty":"RSA","kid":"x","n":"AQ","e":"AQ"}},{jwk}]}}"#);
    assert_eq!(IssuerKeys::read(mixed.as_bytes()).unwrap().skipped(), 1);
}

#[test]
fn revoked_cards_do_not_hold() {
    let kid = SIGNER.key.thumbprint();
    let list = |ctr: u64, rids: &str| {
        format!(r#"{{"kid":"{kid}","method":"rid","ctr":{ctr},"rids":[{rids}]}}"#)
    };
    let card = SIGNER.card(&payload(&[]));
    let judge = |list: Option<String>| {
        let mut keys = SIGNER.keys(r#","crlVersion":3"#);
        assert_eq!(keys.with_lists().count(), 1);
        list.map_or(Ok(()), |list| keys.add_revocations(list.as_bytes()))?;
        verify_card(&card, &keys, NOW).map(|card| card.revocation)
    };
    assert_eq!(judge(None).unwrap(), Revocation::NotChecked);
    assert_eq!(
        judge(Some(list(3, r#""x","abc-_1.1699999999","y.2000000000""#))).unwrap(),
        Revocation::NotRevoked
    );
    assert_eq!(judge(Some(list(4, ""))).unwrap(), Revocation::NotRevoked);
    for rids in [r#""abc-_1""#, r#""abc-_1.1700000001""#] {
        assert!(matches!(judge(Some(list(3, rids))), Err(CardError::Revoked)), "{rids}");
    }
    for wrong in [
        list(2, ""),
        list(3, r#""a","a""#),
        list(3, r#""a b""#),
        list(3, r#""a.x""#),
        list(3, "\"abcdefghijklmnopqrstuvwxyz\""),
        list(3, "").replace("\"rid\"", "\"other\""),
        "[]".to_owned(),
    ] {
        assert!(matches!(judge(Some(wrong.clone())), Err(CardError::Revocations(_))), "{wrong}");
    }
}

/// The QR code's digits of a text.
fn digits(text: &str) -> String {
    text.bytes().map(|byte| format!("{:02}", byte - 45)).collect()
}

#[test]
fn cards_are_found_in_files_and_codes() {
    let token = SIGNER.sign(payload(&[]).as_bytes());
    let (first, second) = token.split_at(500);
    let parts = [format!("shc:/1/2/{}", digits(first)), format!("shc:/2/2/{}", digits(second))];
    let file = format!(r#"{{"verifiableCredential":["{token}"]}}"#);
    let issued = format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"verifiableCredential","valueString":"{token}"}},{{"name":"resourceLink"}}]}}"#
    );
    let found = |inputs: &[&str]| {
        let inputs: Vec<&[u8]> = inputs.iter().map(|it| it.as_bytes()).collect();
        read_cards(&inputs)
            .map(|cards| cards.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>())
    };
    let whole = format!(" shc:/{}\n", digits(&token));
    let joined = format!("{}\n\n{}\n{}", parts[1], parts[0], parts[1]);
    for inputs in [
        &[&*token] as &[&str],
        &[&whole],
        &[&file],
        &[&issued],
        &[&parts[1], &parts[0]],
        &[&joined],
    ] {
        assert_eq!(found(inputs).unwrap(), std::slice::from_ref(&token));
        assert!(is_card_input(inputs[0].as_bytes()) || inputs[0].contains("Parameters"));
    }
    assert_eq!(found(&[&token, &file]).unwrap().len(), 2);
    assert!(!is_card_input(BUNDLE.as_bytes()) && !is_card_input(b"{}"));
    let broken = [
        String::new(),
        "{}".to_owned(),
        parts[0].clone(),
        format!("{}\nshc:/2/3/{}", parts[0], digits(second)),
        format!("{}\nshc:/1/2/{}", joined, digits(second)),
        parts[0].replace("1/2", "3/2"),
        parts[0].replace("1/2", "0/2"),
        parts[0].replace("1/2", "+1/2"),
        parts[0].replace("1/2", "1/65"),
        "shc:/5".to_owned(),
        "shc:/7899".to_owned(),
        "shc:/5a".to_owned(),
        "shc:/".to_owned(),
        "shc:/1/2/3/44".to_owned(),
    ];
    for text in broken {
        let error = found(&[&text]).unwrap_err();
        assert!(matches!(error, CardError::Source(_) | CardError::Jose(_)), "{text}: {error}");
    }
    let many =
        format!(r#"{{"verifiableCredential":[{}]}}"#, vec!["\"a\""; MAX_CARDS + 1].join(","));
    assert!(matches!(found(&[&many]), Err(CardError::Source(_))));
}

proptest! {
    /// Whatever is changed in a card's text, it does not hold any more.
    #[test]
    fn changed_cards_never_hold(at: prop::sample::Index, to in "[A-Za-z0-9._-]") {
        let token = SIGNER.sign(payload(&[]).as_bytes());
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != token);
        let cards = read_cards(&[changed.as_bytes()]);
        let held = cards.and_then(|cards| verify_card(&cards[0], &SIGNER.keys(""), NOW));
        prop_assert!(held.is_err());
    }

    /// No input panics.
    #[test]
    fn any_input_is_read_or_refused(bytes: Vec<u8>, digits in "shc:/[0-9/]{0,60}", json in "\\{\"verifiableCredential\":\\[[\"a-z.]{0,20}\\]\\}") {
        for input in [&bytes[..], digits.as_bytes(), json.as_bytes()] {
            let _ = read_cards(&[input]);
            let _ = is_card_input(input);
            let _ = IssuerKeys::read(input);
        }
    }
}
